/* SPDX-License-Identifier: Apache-2.0 */
/* A log-linear histogram: 64 steps per power of two, so a value is known to 1.6 %. */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 6
#define HIST_MAX_BITS 45 /* larger values count as the largest: 9 hours in ns */
#define HIST_BUCKETS  ((HIST_MAX_BITS - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

struct hist {
	uint64_t count, sum, max;
	uint64_t bucket[HIST_BUCKETS];
};

void hist_add(struct hist *h, uint64_t value);
void hist_merge(struct hist *into, const struct hist *from);
/* The value that @percent (0..100) of all are not above; 0 when empty. */
uint64_t hist_percentile(const struct hist *h, double percent);

#endif
