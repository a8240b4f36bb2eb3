/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of JSON objects, and how single values of them read. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <jansson.h>
#include <stdbool.h>

#include "cli/text.h"

/* What a cell says of the row's member @key; the caller's to free. */
typedef char *(*cell_fn)(const json_t *row, const char *key);

char *cell_text(const json_t *row, const char *key); /* as it is; "-" for null */
char *cell_count(const json_t *row, const char *key);
char *cell_bytes(const json_t *row, const char *key);
char *cell_ago(const json_t *row, const char *key);	/* of seconds */
char *cell_latency(const json_t *row, const char *key); /* of microseconds */

struct column {
	const char *title;
	const char *key;
	cell_fn cell;
	bool right;
	bool if_varied; /* left out when all rows say the same */
	enum colour (*colour)(const json_t *row);
};

/* Columns end with one without a title. An empty list says @none. */
void table_print(const json_t *rows, const struct column *columns, const char *none);

/* One member a line, with units that the ends of their names tell. */
void table_print_object(const json_t *object);

/* Formats into memory that the caller frees. */
__attribute__((format(printf, 1, 2))) char *format(const char *fmt, ...);

#endif
