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

#define TOTAL	128u /* of slots and of segments */
#define RESERVE (TOTAL / 8)
#define LIMIT	(TOTAL - RESERVE)

static struct loop *loop;
static struct pool *pool;
static struct fetch_quota *quota;
static enum fetch_kind kind;

/* Takes @want of them in its turn, up to @max times a turn. */
struct taker {
	struct fetch_user w;
	unsigned want, max, calls, got;
};

static char order[2048]; /* of the takers that got something, by their names */
static struct taker taker[3];

static void take(struct taker *t)
{
	for (unsigned i = 0; i < t->max; i++) {
		if (!fetch_quota_take(quota, kind, t->want, &t->w))
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

static void put(unsigned i, unsigned n)
{
	fetch_quota_put(quota, kind, n, &taker[i].w);
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
	pool = pool_new(loop, TOTAL, TOTAL);
	quota = fetch_quota_get(loop);
	memset(order, 0, sizeof(order));
	memset(taker, 0, sizeof(taker));
	for (unsigned i = 0; i < 3; i++)
		taker[i].w = (struct fetch_user){.fn = on_turn, .arg = &taker[i]};
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
	put(0, 1);
	loop_turn(loop, false);
	assert_string_equal(order, "ab");
	assert_true(taker[2].w.queued);
	put(0, LIMIT - 2);
	loop_turn(loop, false);
	assert_string_equal(order, "abc");
	put(1, 2);
	put(2, 1);
}

/* A pool that is smaller than the largest request still serves it. */
static void test_bigger_than_all(void **state)
{
	want(0, LIMIT + 10, 1);
	assert_int_equal(taker[0].got, 1);
	want(1, LIMIT + 10, 1);
	want(2, 1, 1);
	assert_string_equal(order, "a");
	put(0, LIMIT + 10);
	loop_turn(loop, false);
	assert_string_equal(order, "ab");
	put(1, LIMIT + 10);
	loop_turn(loop, false);
	assert_string_equal(order, "abc");
	put(2, 1);
}

/* A big one is not starved by small ones behind it. */
static void test_refused_keeps_its_place(void **state)
{
	want(0, LIMIT, 1);
	want(1, 60, 1);
	want(2, 1, 1);
	for (unsigned i = 0; i < 59; i++) {
		put(0, 1);
		loop_turn(loop, false);
		assert_string_equal(order, "a");
	}
	put(0, 2);
	loop_turn(loop, false);
	assert_string_equal(order, "abc");
	put(0, LIMIT - 61);
	put(1, 60);
	put(2, 1);
}

/* One that always wants more takes turns with the others. */
static void test_turns(void **state)
{
	want(0, LIMIT, 1);
	want(1, LIMIT, 100);
	want(2, LIMIT, 100);
	for (unsigned i = 0; i < 6; i++) {
		put((unsigned)(order[strlen(order) - 1] - 'a'), LIMIT);
		loop_turn(loop, false);
	}
	assert_string_equal(order, "abcbcbc");
	fetch_quota_cancel(quota, kind, &taker[1].w);
	fetch_quota_cancel(quota, kind, &taker[2].w);
	put(2, LIMIT);
}

/* Those that want more than there is get the same, and leave as much for a newcomer. */
static void test_divided(void **state)
{
	want(0, 1, 1000);
	assert_int_equal(taker[0].got, kind == FETCH_SEGMENTS ? LIMIT / 2 : LIMIT);
	if (kind == FETCH_SEGMENTS) {
		assert_false(taker[0].w.queued);
		want(1, 1, 1000);
		assert_int_equal(taker[1].got, LIMIT / 4);
		want(2, LIMIT / 4, 1);
		assert_int_equal(taker[2].got, 1);
		put(2, LIMIT / 4);
		/* Others make room: it is asked again when something of its own comes back. */
		fetch_quota_cancel(quota, kind, &taker[1].w);
		put(1, LIMIT / 4);
		loop_turn(loop, false);
		assert_int_equal(taker[0].calls, 0);
		assert_int_equal(taker[0].w.held, LIMIT / 2);
		for (unsigned i = 0; i < 10; i++) {
			unsigned got = taker[0].got;

			put(0, i);
			loop_turn(loop, false);
			assert_int_equal(taker[0].got, got + i);
			assert_int_equal(taker[0].w.held, LIMIT / 2);
		}
		/* It stands in the line like anybody. */
		want(2, LIMIT, 1);
		put(0, 5);
		loop_turn(loop, false);
		assert_int_equal(taker[0].w.held, LIMIT / 2 - 5);
		assert_true(taker[0].w.queued && taker[2].w.queued);
		fetch_quota_cancel(quota, kind, &taker[2].w);
		loop_turn(loop, false);
		assert_int_equal(taker[0].w.held, LIMIT / 2);
	}
	fetch_quota_cancel(quota, kind, &taker[0].w);
	put(0, taker[0].w.held);
	loop_turn(loop, false);
	assert_int_equal(taker[0].w.held, 0);
}

/* It has something: that is enough for it never to need more than what is left. */
static void test_divided_without_deadlock(void **state)
{
	want(0, LIMIT / 2, 1);
	want(1, LIMIT / 2, 1);
	for (unsigned i = 0; i < 20; i++) {
		unsigned t = i & 1;

		want(t, LIMIT / 2, 1);
		put(t, LIMIT / 2);
		loop_turn(loop, false);
		assert_int_equal(taker[t].w.held, LIMIT / 2);
	}
	put(0, LIMIT / 2);
	put(1, LIMIT / 2);
}

static void test_cancel(void **state)
{
	want(0, LIMIT - 1, 1);
	want(1, 2, 1);
	want(2, 1, 1);
	fetch_quota_cancel(quota, kind, &taker[1].w);
	fetch_quota_cancel(quota, kind, &taker[1].w);
	loop_turn(loop, false);
	assert_string_equal(order, "ac");
	assert_int_equal(taker[1].calls, 0);
	put(0, LIMIT - 1);
	put(2, 1);
}

static void test_one_per_pool(void **state)
{
	struct loop *other = loop_new(2, -1);
	struct pool *other_pool = pool_new(other, TOTAL, TOTAL);
	struct fetch_quota *a = fetch_quota_get(loop), *b = fetch_quota_get(other);

	assert_ptr_equal(a, quota);
	assert_ptr_not_equal(b, quota);
	want(0, LIMIT, 1);
	assert_true(fetch_quota_take(b, kind, LIMIT, &taker[1].w));
	assert_false(fetch_quota_take(a, kind, 1, &taker[2].w));
	fetch_quota_cancel(a, kind, &taker[2].w);
	put(0, LIMIT);
	fetch_quota_put(b, kind, LIMIT, &taker[1].w);
	fetch_quota_release(a);
	fetch_quota_release(b);
	/* Gone with its last user: a new one starts empty. */
	b = fetch_quota_get(other);
	assert_true(fetch_quota_take(b, kind, LIMIT, &taker[1].w));
	fetch_quota_put(b, kind, LIMIT, &taker[1].w);
	fetch_quota_release(b);
	pool_free(other_pool);
	loop_free(other);
}

/* ---- qpairs come and go on all loops at the same time ---- */

static void *come_and_go(void *arg)
{
	struct loop *l = loop_new(3, -1);
	struct pool *p = pool_new(l, TOTAL, TOTAL);
	struct fetch_user w = {0};

	for (unsigned i = 0; i < 2000; i++) {
		struct fetch_quota *a = fetch_quota_get(l), *b = fetch_quota_get(l);

		if (a != b || !fetch_quota_take(a, kind, LIMIT, &w))
			return NULL;
		fetch_quota_release(b);
		fetch_quota_put(a, kind, LIMIT, &w);
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

/* The two kinds have nothing to do with each other. */
static void test_kinds_apart(void **state)
{
	enum fetch_kind other = kind == FETCH_SLOTS ? FETCH_SEGMENTS : FETCH_SLOTS;

	want(0, LIMIT, 1);
	want(1, 1, 1);
	assert_true(taker[1].w.queued);
	assert_true(fetch_quota_take(quota, other, LIMIT, &taker[2].w));
	fetch_quota_put(quota, other, LIMIT, &taker[2].w);
	loop_turn(loop, false);
	assert_int_equal(taker[1].calls, 0);
	fetch_quota_cancel(quota, kind, &taker[1].w);
	put(0, LIMIT);
}

/* However small a pool is, something of it is kept from fetches; a big one keeps enough. */
static void check_limit(unsigned total, unsigned limit)
{
	struct loop *l = loop_new(2, -1);
	struct pool *p = pool_new(l, total, total);
	struct fetch_quota *q = fetch_quota_get(l);
	static struct fetch_user users[4096 + 1];
	unsigned got = 0;

	while (fetch_quota_take(q, kind, 1, &users[got]))
		got++;
	assert_int_equal(got, limit);
	fetch_quota_cancel(q, kind, &users[got]);
	while (got)
		fetch_quota_put(q, kind, 1, &users[--got]);
	fetch_quota_release(q);
	pool_free(p);
	loop_free(l);
}

static void test_limits(void **state)
{
	check_limit(1, 1); /* alone */
	check_limit(2, 1);
	check_limit(7, 6);
	check_limit(64, 56);
	check_limit(512, 448);
	check_limit(4096, 4032);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_limit),
		T(test_bigger_than_all),
		T(test_refused_keeps_its_place),
		T(test_turns),
		T(test_cancel),
		T(test_one_per_pool),
		T(test_divided),
		T(test_divided_without_deadlock),
		T(test_threads),
		T(test_kinds_apart),
		T(test_limits),
	};

	int failed = cmocka_run_group_tests_name("slots", tests, NULL, NULL);

	kind = FETCH_SEGMENTS;
	return failed + cmocka_run_group_tests_name("segments", tests, NULL, NULL);
}
