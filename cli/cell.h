/* SPDX-License-Identifier: Apache-2.0 */
/* How members of JSON objects read. Each returns text that the caller frees. */
#ifndef CLI_CELL_H
#define CLI_CELL_H

#include <jansson.h>

/* What a cell says of the row's member @key. */
typedef char *(*cell_fn)(const json_t *row, const char *key);

char *cell_text(const json_t *row, const char *key);	/* as it is; "-" for null */
char *cell_if_said(const json_t *row, const char *key); /* the same; NULL for none and "" */
char *cell_count(const json_t *row, const char *key);
char *cell_bytes(const json_t *row, const char *key);
char *cell_ago(const json_t *row, const char *key); /* of seconds */
char *cell_ms(const json_t *row, const char *key);
char *cell_latency(const json_t *row, const char *key); /* of microseconds; "-" for 0 */
char *cell_address(const json_t *row, const char *key); /* of "traddr" and "trsvcid" */
/* "3/4" of the members "usable_X" and "X", or "live_upstreams" and "upstreams". */
char *cell_share(const json_t *row, const char *key);

/* Formats into memory that the caller frees. */
__attribute__((format(printf, 1, 2))) char *format(const char *fmt, ...);

#endif
