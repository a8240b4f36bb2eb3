/* SPDX-License-Identifier: Apache-2.0 */
#include "multipath/latency.h"

#include "transport/loop.h"

#define FADE (512 * NSEC_PER_MSEC) /* without a sample for this long a value counts half */

unsigned latency_size(uint32_t len)
{
	unsigned i = 0;

	while (i < LATENCY_SIZES - 1 && len > latency_size_typical(i))
		i++;
	return i;
}

uint32_t latency_size_typical(unsigned size)
{
	return size < LATENCY_SIZES - 1 ? 4096u << 2 * size : 4096u << (2 * size - 1);
}

static unsigned bucket_of(uint64_t us)
{
	unsigned i = us ? 63u - (unsigned)__builtin_clzll(us) : 0;

	return i < LATENCY_BUCKETS ? i : LATENCY_BUCKETS - 1;
}

void latency_sample(struct latency *l, bool write, uint32_t len, uint64_t ns, uint64_t now)
{
	unsigned size = latency_size(len);
	uint32_t *smooth = &l->smooth[write][size];
	uint64_t us = ns / NSEC_PER_USEC;
	uint32_t old = latency_expect(l, write, len, now);

	stat_add(&l->histogram[size][bucket_of(us)], 1);
	if (us > UINT32_MAX / 2)
		us = UINT32_MAX / 2;
	/* Quick to believe in trouble, slow to forget it. */
	if (!old)
		*smooth = (uint32_t)us;
	else if (us > old)
		*smooth = old + ((uint32_t)us - old) / 2;
	else
		*smooth = old - (old - (uint32_t)us + 7) / 8;
	if (!*smooth)
		*smooth = 1;
	l->last[write][size] = now;
}

uint32_t latency_expect(const struct latency *l, bool write, uint32_t len, uint64_t now)
{
	unsigned size = latency_size(len);
	uint64_t fades = (now - l->last[write][size]) / FADE;

	return fades > 31 ? 0 : l->smooth[write][size] >> fades;
}

uint64_t latency_percentile(const uint64_t histogram[LATENCY_BUCKETS], double percent)
{
	uint64_t all = 0, below = 0;

	for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
		all += histogram[i];
	if (!all)
		return 0;
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
		below += histogram[i];
		if ((double)below * 100 >= (double)all * percent)
			return 2ull << i;
	}
	return 2ull << (LATENCY_BUCKETS - 1);
}
