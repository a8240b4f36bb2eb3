/* SPDX-License-Identifier: Apache-2.0 */
/* The state as metrics in the text format of Prometheus (version 0.0.4). */
#ifndef GATEWAY_METRICS_H
#define GATEWAY_METRICS_H

#include <jansson.h>

/* Bytes of text; families that do not fit are left out whole, and nvmegw_metrics_truncated says so.
 */
#define METRICS_MAX (16u << 20)

/* The text of @state, which is as http_state() makes it; to be freed. */
char *metrics_text(const json_t *state);

#endif
