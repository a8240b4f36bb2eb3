/* SPDX-License-Identifier: Apache-2.0 */
/* Smoothed latencies and their histogram: pure functions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "multipath/latency.h"
#include "transport/loop.h"

#define KIB 1024u
#define US  NSEC_PER_USEC

static struct latency l;
static uint64_t now;

static int setup(void **state)
{
	memset(&l, 0, sizeof(l));
	now = 1000 * NSEC_PER_SEC;
	return 0;
}

static void sample(uint64_t us)
{
	latency_sample(&l, false, 4 * KIB, us * US, now);
}

static uint32_t expect(void)
{
	return latency_expect(&l, false, 4 * KIB, now);
}

/* ---- smoothed ---- */

static void unknown_at_first(void **state)
{
	assert_int_equal(expect(), 0);
	sample(100);
	assert_int_equal(expect(), 100);
}

static void trouble_is_believed_at_once(void **state)
{
	sample(100);
	sample(10100); /* half the way up */
	assert_int_equal(expect(), 5100);
	for (int i = 0; i < 6; i++)
		sample(10100);
	assert_in_range(expect(), 10000, 10100);
}

static void and_forgotten_slowly(void **state)
{
	sample(8000);
	sample(0); /* an eighth of the way down */
	assert_int_equal(expect(), 7000);
	for (int i = 0; i < 4; i++)
		sample(0);
	assert_in_range(expect(), 3500, 4500);
	for (int i = 0; i < 200; i++)
		sample(10);
	assert_int_equal(expect(), 10); /* and it does get there */
}

static void never_becomes_unknown_by_being_quick(void **state)
{
	for (int i = 0; i < 100; i++)
		sample(0);
	assert_int_equal(expect(), 1);
}

static void stays_where_it_is(void **state)
{
	for (int i = 0; i < 100; i++) {
		sample(777);
		assert_int_equal(expect(), 777);
	}
}

static void fades_without_samples(void **state)
{
	sample(1024);
	now += 511 * NSEC_PER_MSEC;
	assert_int_equal(expect(), 1024);
	now += 1 * NSEC_PER_MSEC;
	assert_int_equal(expect(), 512);
	now += 3 * 512 * NSEC_PER_MSEC;
	assert_int_equal(expect(), 64);
	now += 100000 * NSEC_PER_SEC;
	assert_int_equal(expect(), 0);
}

/* What has faded is not what the next sample is mixed with. */
static void fading_counts_for_the_next_sample(void **state)
{
	sample(8000);
	now += 3 * 512 * NSEC_PER_MSEC; /* 1000 */
	sample(200);
	assert_int_equal(expect(), 900);
	now += 100 * NSEC_PER_SEC;
	sample(5);
	assert_int_equal(expect(), 5);
}

static void hours_do_not_overflow(void **state)
{
	for (int i = 0; i < 3; i++)
		sample(UINT64_MAX / US);
	assert_int_equal(expect(), UINT32_MAX / 2);
	sample(0);
	assert_in_range(expect(), 1, UINT32_MAX / 2);
}

static void kinds_and_sizes_are_apart(void **state)
{
	static const struct {
		uint32_t from, to; /* bytes of one class */
	} classes[LATENCY_SIZES] = {{0, 4 * KIB},
				    {4 * KIB + 1, 16 * KIB},
				    {16 * KIB + 1, 64 * KIB},
				    {64 * KIB + 1, 256 * KIB},
				    {256 * KIB + 1, UINT32_MAX}};

	for (unsigned i = 0; i < LATENCY_SIZES; i++) {
		latency_sample(&l, false, classes[i].from, (100 + i) * US, now);
		latency_sample(&l, true, classes[i].to, (200 + i) * US, now);
	}
	for (unsigned i = 0; i < LATENCY_SIZES; i++) {
		assert_int_equal(latency_expect(&l, false, classes[i].from, now), 100 + i);
		assert_int_equal(latency_expect(&l, false, classes[i].to, now), 100 + i);
		assert_int_equal(latency_expect(&l, true, classes[i].from, now), 200 + i);
		assert_int_equal(latency_expect(&l, true, classes[i].to, now), 200 + i);
	}
}

/* ---- histogram ---- */

static void copy(uint64_t to[LATENCY_BUCKETS])
{
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
		to[i] = stat_get(&l.histogram[0][i]);
}

static void buckets_are_powers_of_two(void **state)
{
	static const struct {
		uint64_t us;
		unsigned bucket;
	} samples[] = {{0, 0},	   {1, 0},	  {2, 1},
		       {3, 1},	   {4, 2},	  {1023, 9},
		       {1024, 10}, {8388608, 23}, {UINT64_MAX / US, 23}};
	uint64_t h[LATENCY_BUCKETS];

	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		memset(&l, 0, sizeof(l));
		sample(samples[i].us);
		copy(h);
		for (unsigned b = 0; b < LATENCY_BUCKETS; b++)
			assert_int_equal(h[b], b == samples[i].bucket);
	}
}

/* Of each size one, and each size has its own. */
static void sizes(void **state)
{
	for (unsigned size = 0; size < LATENCY_SIZES; size++) {
		assert_int_equal(latency_size(latency_size_typical(size)), size);
		latency_sample(&l, size & 1, latency_size_typical(size), 100 * US, now);
		for (unsigned other = 0; other < LATENCY_SIZES; other++)
			assert_int_equal(stat_get(&l.histogram[other][6]), other <= size);
	}
	assert_int_equal(latency_size(0), 0);
	assert_int_equal(latency_size(4097), 1);
	assert_int_equal(latency_size(262145), 4);
	assert_int_equal(latency_size(UINT32_MAX), 4);
}

static void percentiles(void **state)
{
	uint64_t h[LATENCY_BUCKETS] = {0};

	assert_int_equal(latency_percentile(h, 99), 0);
	h[3] = 98; /* 8 to 16 us */
	h[10] = 1;
	h[20] = 1;
	assert_int_equal(latency_percentile(h, 50), 16);
	assert_int_equal(latency_percentile(h, 98), 16);
	assert_int_equal(latency_percentile(h, 99), 2048);
	assert_int_equal(latency_percentile(h, 100), 2u << 20);
}

static void percentile_of_one(void **state)
{
	uint64_t h[LATENCY_BUCKETS] = {0};

	h[LATENCY_BUCKETS - 1] = 1;
	assert_int_equal(latency_percentile(h, 1), 2u << (LATENCY_BUCKETS - 1));
	assert_int_equal(latency_percentile(h, 99), 2u << (LATENCY_BUCKETS - 1));
}

/* A command weighs something even without data, and more with. */
static void cost(void **state)
{
	assert_int_equal(latency_cost(0), 4096);
	assert_int_equal(latency_cost(4096), 8192);
	assert_int_equal(latency_cost(UINT32_MAX), 4096ull + UINT32_MAX);
}

#define T(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(unknown_at_first),
		T(trouble_is_believed_at_once),
		T(and_forgotten_slowly),
		T(never_becomes_unknown_by_being_quick),
		T(stays_where_it_is),
		T(fades_without_samples),
		T(fading_counts_for_the_next_sample),
		T(hours_do_not_overflow),
		T(kinds_and_sizes_are_apart),
		T(buckets_are_powers_of_two),
		T(sizes),
		T(percentiles),
		T(percentile_of_one),
		T(cost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
