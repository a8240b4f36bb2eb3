/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long commands take on one lane: smoothed by direction and size for choosing a path, and
 * histograms by size for judging the tail. Worker loop, but for reading the histograms.
 */
#ifndef MULTIPATH_LATENCY_H
#define MULTIPATH_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/stats.h"

#define LATENCY_SIZES	5  /* up to 4, 16, 64, 256 KiB, more */
#define LATENCY_BUCKETS 24 /* [n]: 2^n to 2^(n+1) microseconds; [0] also what is less */

struct latency {
	uint32_t smooth[2][LATENCY_SIZES]; /* microseconds by read/write; 0: not known */
	uint64_t last[2][LATENCY_SIZES];   /* loop time of the last sample */
	stat_t histogram[LATENCY_SIZES][LATENCY_BUCKETS];
};

/* Which of the sizes; and what is typical of each: the most that it takes in, if that is bounded.
 */
unsigned latency_size(uint32_t len);
uint32_t latency_size_typical(unsigned size);

/* A command of @len bytes was completed after @ns. */
void latency_sample(struct latency *l, bool write, uint32_t len, uint64_t ns, uint64_t now);
/*
 * Microseconds to expect of the next one, without regard to what is in flight; 0: not known. A
 * value that nothing has confirmed for a while fades, so that a path once slow is tried again.
 */
uint32_t latency_expect(const struct latency *l, bool write, uint32_t len, uint64_t now);
/* The share of a command in the load of a path: its bytes, and a constant for being a command. */
static inline uint64_t latency_cost(uint32_t len)
{
	return 4096 + (uint64_t)len;
}

/* Upper end, in microseconds, of the bucket that holds the @percent'th of all samples; 0: none. */
uint64_t latency_percentile(const uint64_t histogram[LATENCY_BUCKETS], double percent);

#endif
