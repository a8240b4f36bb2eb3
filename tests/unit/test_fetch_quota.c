/* SPDX-License-Identifier: Apache-2.0 */
/* The share of a pool that may wait for hosts: its limit, and who gets it first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "transport/fetch_quota.h"
#include "transport/loop.h"
#include "transport/pool.h"

#define SEGMENTS 128u
#define RESERVE	 (SEGMENTS / 8)
#define LIMIT	 (SEGMENTS - RESERVE)

static struct loop *loop;
static struct pool *pool;
static struct fetch_quota *quota;

/* Takes @want segments in its turn, up to @max times a turn. */
struct taker {
	struct fetch_waiter w;
	unsigned want, max, calls, got;
};

static char order[16]; /* of the takers that got something, by their names */
static struct taker taker[3];

static void take(struct taker *t)
{
	for (unsigned i = 0; i < t->max; i++) {
		if (!fetch_quota_take(quota, t->want, &t->w))
			return;
		t->got++;
		order[strlen(order)] = (char)('a' + (t - taker));
	}
}

static void on_turn(void *arg)
{
	struct taker *t = arg;

	t->calls++;
	take(t);
}

static void want(unsigned i, unsigned segments, unsigned max)
{
	taker[i].want = segments;
	taker[i].max = max;
	take(&taker[i]);
}

static int setup(void **state)
{
	loop = loop_new(1, -1);
	pool = pool_new(loop, 8, SEGMENTS);
	quota = fetch_quota_get(loop);
	memset(order, 0, sizeof(order));
	memset(taker, 0, sizeof(taker));
	for (unsigned i = 0; i < 3; i++)
		taker[i].w = (struct fetch_waiter){.fn = on_turn, .arg = &taker[i]};
	return quota ? 0 : -1;
}

static int teardown(void **state)
{
	fetch_quota_release(quota);
	pool_free(pool);
	loop_free(loop);
	return 0;
}

static void test_limit(void **state)
{
	want(0, LIMIT - 1, 1);
	assert_int_equal(taker[0].got, 1);
	want(1, 2, 1);
	assert_int_equal(taker[1].got, 0);
	assert_true(taker[1].w.queued);
	/* It would fit, but somebody waits. */
	want(2, 1, 1);
	assert_int_equal(taker[2].got, 0);
	loop_turn(loop, false);
	assert_int_equal(taker[1].calls, 0);
	fetch_quota_put(quota, 1);
	loop_turn(loop, false);
	assert_string_equal(order, "ab");
	assert_true(taker[2].w.queued);
	fetch_quota_put(quota, LIMIT);
	loop_turn(loop, false);
	assert_string_equal(order, "abc");
	fetch_quota_put(quota, 1);
}

/* A pool that is smaller than the largest request still serves it. */
static void test_bigger_than_all(void **state)
{
	want(0, LIMIT + 10, 1);
	assert_int_equal(taker[0].got, 1);
	want(1, LIMIT + 10, 1);
	want(2, 1, 1);
	assert_string_equal(order, "a");
	fetch_quota_put(quota, LIMIT + 10);
	loop_turn(loop, false);
	assert_string_equal(order, "ab");
	fetch_quota_put(quota, LIMIT + 10);
	loop_turn(loop, false);
	assert_string_equal(order, "abc");
	fetch_quota_put(quota, 1);
}

/* A big one is not starved by small ones behind it. */
static void test_refused_keeps_its_place(void **state)
{
	want(0, LIMIT, 1);
	want(1, 60, 1);
	want(2, 1, 1);
	for (unsigned i = 0; i < 59; i++) {
		fetch_quota_put(quota, 1);
		loop_turn(loop, false);
		assert_string_equal(order, "a");
	}
	fetch_quota_put(quota, 2);
	loop_turn(loop, false);
	assert_string_equal(order, "abc");
	fetch_quota_put(quota, LIMIT);
}

/* One that always wants more takes turns with the others. */
static void test_turns(void **state)
{
	want(0, LIMIT, 1);
	want(1, LIMIT / 2, 100);
	want(2, LIMIT / 2, 100);
	for (unsigned i = 0; i < 6; i++) {
		fetch_quota_put(quota, i ? LIMIT / 2 : LIMIT);
		loop_turn(loop, false);
	}
	assert_string_equal(order, "abcbcbcb");
	fetch_quota_cancel(quota, &taker[1].w);
	fetch_quota_cancel(quota, &taker[2].w);
	fetch_quota_put(quota, LIMIT);
}

static void test_cancel(void **state)
{
	want(0, LIMIT - 1, 1);
	want(1, 2, 1);
	want(2, 1, 1);
	fetch_quota_cancel(quota, &taker[1].w);
	fetch_quota_cancel(quota, &taker[1].w);
	loop_turn(loop, false);
	assert_string_equal(order, "ac");
	assert_int_equal(taker[1].calls, 0);
	fetch_quota_put(quota, LIMIT);
}

static void test_one_per_pool(void **state)
{
	struct loop *other = loop_new(2, -1);
	struct pool *other_pool = pool_new(other, 8, SEGMENTS);
	struct fetch_quota *a = fetch_quota_get(loop), *b = fetch_quota_get(other);

	assert_ptr_equal(a, quota);
	assert_ptr_not_equal(b, quota);
	want(0, LIMIT, 1);
	assert_true(fetch_quota_take(b, LIMIT, &taker[1].w));
	assert_false(fetch_quota_take(a, 1, &taker[1].w));
	fetch_quota_cancel(a, &taker[1].w);
	fetch_quota_put(a, LIMIT);
	fetch_quota_put(b, LIMIT);
	fetch_quota_release(a);
	fetch_quota_release(b);
	/* Gone with its last user: a new one starts empty. */
	b = fetch_quota_get(other);
	assert_true(fetch_quota_take(b, LIMIT, &taker[1].w));
	fetch_quota_put(b, LIMIT);
	fetch_quota_release(b);
	pool_free(other_pool);
	loop_free(other);
}

/* ---- qpairs come and go on all loops at the same time ---- */

static void *come_and_go(void *arg)
{
	struct loop *l = loop_new(3, -1);
	struct pool *p = pool_new(l, 8, SEGMENTS);
	struct fetch_waiter w = {0};

	for (unsigned i = 0; i < 2000; i++) {
		struct fetch_quota *a = fetch_quota_get(l), *b = fetch_quota_get(l);

		if (a != b || !fetch_quota_take(a, LIMIT, &w))
			return NULL;
		fetch_quota_release(b);
		fetch_quota_put(a, LIMIT);
		fetch_quota_release(a);
	}
	pool_free(p);
	loop_free(l);
	return arg;
}

static void test_threads(void **state)
{
	pthread_t thread[4];
	bool mark;

	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, come_and_go, &mark), 0);
	for (unsigned i = 0; i < 4; i++) {
		void *r;

		pthread_join(thread[i], &r);
		assert_ptr_equal(r, &mark);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_limit),	 T(test_bigger_than_all), T(test_refused_keeps_its_place),
		T(test_turns),	 T(test_cancel),	  T(test_one_per_pool),
		T(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
