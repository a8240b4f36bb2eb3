/* SPDX-License-Identifier: Apache-2.0 */
/* Data segments: in runs where there are any, never twice, all of them when it has to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

#include "transport/segments.h"

#define TOTAL (3 * SEG_BLOCK + 10)

static struct segments s;
static uint8_t *const base = (uint8_t *)0x100000000; /* never touched */

static int setup(void **state)
{
	return segments_init(&s, base, TOTAL);
}

static int teardown(void **state)
{
	segments_fini(&s);
	return 0;
}

static unsigned index_of(const void *seg)
{
	return (unsigned)(((const uint8_t *)seg - base) / SEG_SIZE);
}

static bool is_run(void *const *segs, unsigned n)
{
	for (unsigned i = 1; i < n; i++)
		if ((uint8_t *)segs[i] != (uint8_t *)segs[0] + i * SEG_SIZE)
			return false;
	return true;
}

static void test_runs(void **state)
{
	void *one[SEG_BLOCK], *two[SEG_BLOCK], *three[SEG_BLOCK], *rest[SEG_BLOCK];

	segments_take(&s, one, 60);
	segments_take(&s, two, 5); /* does not fit behind it */
	segments_take(&s, three, 4);
	assert_true(is_run(one, 60));
	assert_true(is_run(two, 5));
	assert_true(is_run(three, 4));
	assert_int_equal(index_of(two[0]), SEG_BLOCK);
	assert_int_equal(s.nr_free, TOTAL - 69);

	/* A hole of 7 in the middle of the first block takes 7, and not 8. */
	for (unsigned i = 20; i < 27; i++)
		segments_put(&s, one[i]);
	segments_take(&s, two + 5, 8);
	assert_true(is_run(two + 5, 8));
	assert_int_not_equal(index_of(two[5]), 20);
	segments_take(&s, rest, SEG_BLOCK - 5 - 4 - 8);
	assert_true(is_run(rest, SEG_BLOCK - 5 - 4 - 8));
	segments_take(&s, one + 20, 7);
	assert_int_equal(index_of(one[20]), 20);
	assert_true(is_run(one, 60));
}

/* What is used again is what was used before, not memory that nobody has touched yet. */
static void test_stays_low(void **state)
{
	void *a[SEG_BLOCK], *b[SEG_BLOCK];

	for (unsigned i = 0; i < 1000; i++) {
		segments_take(&s, a, 40);
		segments_take(&s, b, 40);
		assert_true(is_run(a, 40) && is_run(b, 40));
		for (unsigned k = 0; k < 40; k++)
			segments_put(&s, a[k]);
		for (unsigned k = 40; k--;)
			segments_put(&s, b[k]);
	}
	assert_int_equal(s.fresh, 2);
	assert_int_equal(s.nr_free, TOTAL);
}

/* Without a run it takes what there is, down to the last. */
static void test_scattered(void **state)
{
	void *all[TOTAL], *got[SEG_BLOCK];

	for (unsigned i = 0; i < TOTAL; i++)
		segments_take(&s, &all[i], 1);
	assert_int_equal(s.nr_free, 0);
	for (unsigned i = 0; i < 2 * SEG_BLOCK; i += 2)
		segments_put(&s, all[i]);
	assert_int_equal(s.nr_free, SEG_BLOCK);
	segments_take(&s, got, SEG_BLOCK);
	assert_false(is_run(got, SEG_BLOCK));
	assert_int_equal(s.nr_free, 0);
	for (unsigned i = 0; i < SEG_BLOCK; i++)
		segments_put(&s, got[i]);
	for (unsigned i = 0; i < TOTAL; i++)
		if (i >= 2 * SEG_BLOCK || i % 2)
			segments_put(&s, all[i]);
	assert_int_equal(s.nr_free, TOTAL);
	segments_take(&s, got, SEG_BLOCK);
	assert_true(is_run(got, SEG_BLOCK));
}

/* The last block, a short one, does not hide the whole ones. */
static void test_short_block(void **state)
{
	void *all[TOTAL], *got[SEG_BLOCK];

	for (unsigned i = 0; i < TOTAL; i++)
		segments_take(&s, &all[i], 1);
	for (unsigned i = 0; i < TOTAL; i++)
		segments_put(&s, all[i]);
	segments_take(&s, got, 10);
	segments_take(&s, got, SEG_BLOCK);
	assert_true(is_run(got, SEG_BLOCK));
}

struct taken {
	void *segs[SEG_BLOCK];
	unsigned n;
};

/* Any order of taking and giving back: what is out is out once, and a sole request gets a run. */
static void test_random(void **state)
{
	static struct taken t[24];
	uint8_t out[TOTAL] = {0};

	srandom(7);
	for (unsigned round = 0; round < 200000; round++) {
		struct taken *k = &t[(unsigned)random() % 24];

		if (k->n) {
			for (unsigned i = 0; i < k->n; i++) {
				out[index_of(k->segs[i])] = 0;
				segments_put(&s, k->segs[i]);
			}
			k->n = 0;
			continue;
		}
		k->n = 1 + (unsigned)random() % (random() % 4 ? 4 : SEG_BLOCK);
		if (k->n > s.nr_free) {
			k->n = 0;
			continue;
		}
		segments_take(&s, k->segs, k->n);
		for (unsigned i = 0; i < k->n; i++) {
			assert_in_range(index_of(k->segs[i]), 0, TOTAL - 1);
			assert_int_equal(out[index_of(k->segs[i])], 0);
			out[index_of(k->segs[i])] = 1;
		}
	}
	for (unsigned i = 0; i < 24; i++)
		while (t[i].n)
			segments_put(&s, t[i].segs[--t[i].n]);
	assert_int_equal(s.nr_free, TOTAL);
	segments_take(&s, t[0].segs, SEG_BLOCK);
	assert_true(is_run(t[0].segs, SEG_BLOCK));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stays_low, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scattered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_short_block, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
