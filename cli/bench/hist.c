/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench/hist.h"

#define SUB (1u << HIST_SUB_BITS)

static unsigned bucket_of(uint64_t value)
{
	unsigned msb, shift;

	if (value < SUB)
		return value;
	msb = 63 - __builtin_clzll(value);
	if (msb >= HIST_MAX_BITS)
		return HIST_BUCKETS - 1;
	shift = msb - HIST_SUB_BITS;
	return ((shift + 1) << HIST_SUB_BITS) + ((value >> shift) - SUB);
}

/* The largest value that the bucket holds. */
static uint64_t bucket_top(unsigned bucket)
{
	unsigned shift;

	if (bucket < SUB)
		return bucket;
	shift = (bucket >> HIST_SUB_BITS) - 1;
	return ((uint64_t)(bucket % SUB + SUB + 1) << shift) - 1;
}

void hist_add(struct hist *h, uint64_t value)
{
	h->bucket[bucket_of(value)]++;
	h->count++;
	h->sum += value;
	if (value > h->max)
		h->max = value;
}

void hist_merge(struct hist *into, const struct hist *from)
{
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
	into->count += from->count;
	into->sum += from->sum;
	if (from->max > into->max)
		into->max = from->max;
}

uint64_t hist_percentile(const struct hist *h, double percent)
{
	uint64_t want = (uint64_t)(percent / 100 * (double)h->count + 0.5), seen = 0;

	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen >= want && seen)
			return bucket_top(i) < h->max ? bucket_top(i) : h->max;
	}
	return h->max;
}
