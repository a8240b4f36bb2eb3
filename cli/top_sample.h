/* SPDX-License-Identifier: Apache-2.0 */
/* What paths and namespaces do between two looks at their counters. */
#ifndef CLI_TOP_SAMPLE_H
#define CLI_TOP_SAMPLE_H

#include <jansson.h>
#include <stdint.h>

#include "cli/client.h"

struct sample {
	uint64_t ns; /* monotonic, when it was taken */
	json_t *paths, *namespaces;
	json_t *index; /* of the paths, by subsystem and name */
};

/* 0 or an exit status. */
int sample_take(struct sample *s, struct client *c);
void sample_free(struct sample *s);

/**
 * sample_rates() - what has happened from @from to @to, a new reference
 *
 * "seconds"; "total", "namespaces" and "paths": objects with iops, read_bytes_per_second,
 * write_bytes_per_second, mean_latency_us and p99_latency_us (0: nothing was done), inflight, and
 * what else is shown of them. What has been there in one of them only does nothing.
 */
json_t *sample_rates(const struct sample *from, const struct sample *to);

#endif
