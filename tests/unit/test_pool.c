/* SPDX-License-Identifier: Apache-2.0 */
/* The pool, and the access to a request's data in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/loop.h"
#include "transport/pool.h"

#define REQUESTS 8
#define SEGMENTS 68

static struct loop *loop;
static struct pool *pool;

static int setup(void **state)
{
	loop = loop_new(1, -1);
	pool = pool_new(loop, REQUESTS, SEGMENTS);
	return !pool;
}

static int teardown(void **state)
{
	pool_free(pool);
	loop_free(loop);
	return 0;
}

static void test_get_put(void **state)
{
	struct request *r[REQUESTS];

	assert_ptr_equal(loop_pool(loop), pool);
	assert_int_equal(pool_total_requests(pool), REQUESTS);
	for (unsigned i = 0; i < REQUESTS; i++) {
		r[i] = pool_get(pool);
		assert_non_null(r[i]);
	}
	assert_null(pool_get(pool));
	assert_int_equal(pool_free_requests(pool), 0);
	r[3]->data_len = 77;
	r[3]->itx.hdr_len = 9;
	pool_put(r[3]);
	assert_ptr_equal(pool_get(pool), r[3]); /* the warm one, clean */
	assert_int_equal(r[3]->data_len, 0);
	assert_int_equal(r[3]->itx.hdr_len, 0);
	for (unsigned i = 0; i < REQUESTS; i++)
		pool_put(r[i]);
	assert_int_equal(pool_free_requests(pool), REQUESTS);
}

static void test_segments(void **state)
{
	struct request *a = pool_get(pool), *b = pool_get(pool);
	void *first;

	assert_int_equal(request_alloc_data(a, 0), 0);
	assert_int_equal(a->nsegs, 0);
	assert_int_equal(request_alloc_data(a, 1), 0);
	assert_int_equal(a->nsegs, 1);
	assert_int_equal((uintptr_t)a->segs[0] % SEG_SIZE, 0);
	memset(a->segs[0], 1, SEG_SIZE);
	assert_int_equal(request_alloc_data(b, REQUEST_MAX_DATA), 0);
	assert_int_equal(b->nsegs, REQUEST_MAX_SEGS);
	assert_int_equal(pool_free_segments(pool), SEGMENTS - 1 - REQUEST_MAX_SEGS);
	first = b->segs[0];
	request_free_data(b);
	assert_int_equal(pool_free_segments(pool), SEGMENTS - 1);
	assert_int_equal(request_alloc_data(b, SEG_SIZE + 1), 0);
	assert_ptr_equal(b->segs[0], first);
	pool_put(b); /* with its segments */
	pool_put(a);
	assert_int_equal(pool_free_segments(pool), SEGMENTS);
}

static void test_all_or_nothing(void **state)
{
	struct request *a = pool_get(pool), *b = pool_get(pool);

	assert_int_equal(request_alloc_data(a, REQUEST_MAX_DATA), 0);
	assert_int_equal(request_alloc_data(b, 5 * SEG_SIZE), -ENOBUFS);
	assert_int_equal(b->nsegs, 0);
	assert_int_equal(pool_free_segments(pool), 4);
	assert_int_equal(request_alloc_data(b, 4 * SEG_SIZE), 0);
	pool_put(a);
	pool_put(b);
}

/* ---- waiters ---- */
struct client {
	struct pool_waiter w;
	struct request *req;
	uint32_t len;
	unsigned calls;
};

static void want(struct client *c)
{
	if (request_alloc_data_in_turn(c->req, c->len))
		pool_wait(pool, &c->w);
}

static void on_turn(void *arg)
{
	struct client *c = arg;

	c->calls++;
	want(c);
}

static struct client client(uint32_t len)
{
	return (struct client){.w.fn = on_turn, .req = pool_get(pool), .len = len};
}

static void test_wait_in_order(void **state)
{
	struct request *hog = pool_get(pool);
	struct client big = client(60 * SEG_SIZE), small = client(SEG_SIZE);

	big.w.arg = &big;
	small.w.arg = &small;
	assert_int_equal(request_alloc_data(hog, 62 * SEG_SIZE), 0);
	want(&big);
	want(&small); /* would fit, but has to queue */
	assert_true(big.w.queued && small.w.queued);
	loop_turn(loop, false);
	assert_int_equal(big.calls, 0); /* nothing was put back */

	request_free_data(hog);
	assert_int_equal(request_alloc_data(hog, 50 * SEG_SIZE), 0);
	loop_turn(loop, false);
	/* Refused, it keeps its place and the small one does not overtake. */
	assert_int_equal(big.calls, 1);
	assert_int_equal(small.calls, 0);
	request_free_data(hog);
	assert_int_equal(big.req->nsegs, 0);
	loop_turn(loop, false);
	assert_int_equal(big.req->nsegs, 60);
	assert_int_equal(small.req->nsegs, 1);
	assert_int_equal(big.calls, 2);
	assert_false(big.w.queued || small.w.queued);
	pool_put(hog);
	pool_put(big.req);
	pool_put(small.req);
}

static void test_wait_cancel(void **state)
{
	struct request *hog = pool_get(pool);
	struct client c = client(5 * SEG_SIZE);

	c.w.arg = &c;
	request_alloc_data(hog, REQUEST_MAX_DATA);
	want(&c);
	assert_true(c.w.queued);
	pool_wait_cancel(pool, &c.w);
	pool_wait_cancel(pool, &c.w);
	assert_false(c.w.queued);
	pool_put(hog);
	loop_turn(loop, false);
	assert_int_equal(c.calls, 0);
	pool_put(c.req);
}

static void test_cancel_wakes_the_next(void **state)
{
	struct request *hog = pool_get(pool);
	struct client big = client(60 * SEG_SIZE), small = client(SEG_SIZE);

	big.w.arg = &big;
	small.w.arg = &small;
	request_alloc_data(hog, 62 * SEG_SIZE);
	want(&big);
	want(&small);
	pool_wait_cancel(pool, &big.w);
	loop_turn(loop, false);
	assert_int_equal(big.calls, 0);
	assert_int_equal(small.req->nsegs, 1);
	pool_put(hog);
	pool_put(big.req);
	pool_put(small.req);
}

/* A client that always wants more. */
static void on_greedy(void *arg)
{
	struct client *c = arg;

	c->calls++;
	for (unsigned i = 0; i < 3 && !request_alloc_data_in_turn(c->req, c->len); i++)
		request_free_data(c->req);
	pool_wait(pool, &c->w);
}

static void test_served_goes_to_the_end(void **state)
{
	struct request *hog = pool_get(pool);
	struct client greedy = client(5 * SEG_SIZE), other = client(5 * SEG_SIZE);

	greedy.w.fn = on_greedy;
	greedy.w.arg = &greedy;
	other.w.arg = &other;
	request_alloc_data(hog, REQUEST_MAX_DATA);
	want(&greedy);
	want(&other);
	request_free_data(hog);
	loop_turn(loop, false);
	assert_int_not_equal(greedy.calls, 0);
	assert_int_equal(other.req->nsegs, 5);
	pool_wait_cancel(pool, &greedy.w);
	pool_put(hog);
	pool_put(greedy.req);
	pool_put(other.req);
}

/* Whoever waits for a slot does not keep segments from anybody. */
static void test_slot_waiter_keeps_no_segments(void **state)
{
	struct request *r[REQUESTS - 1];
	struct client c = client(SEG_SIZE);
	struct pool_waiter slot = {.fn = on_turn};

	for (unsigned i = 0; i < REQUESTS - 1; i++)
		r[i] = pool_get(pool);
	assert_null(pool_get(pool));
	pool_wait(pool, &slot);
	want(&c);
	assert_int_equal(c.req->nsegs, 1);
	pool_wait_cancel(pool, &slot);
	for (unsigned i = 0; i < REQUESTS - 1; i++)
		pool_put(r[i]);
	pool_put(c.req);
}

/* Somebody who waits for segments must not keep a free slot from somebody who needs only that. */
static struct request *late;

static void on_slot(void *arg)
{
	late = pool_get(pool);
	if (!late)
		pool_wait(pool, arg);
}

static void test_slots_and_segments_apart(void **state)
{
	struct request *r[REQUESTS - 1], *hog = NULL;
	struct client c = client(5 * SEG_SIZE);
	struct pool_waiter slot = {.fn = on_slot};

	c.w.arg = &c;
	slot.arg = &slot;
	for (unsigned i = 0; i < REQUESTS - 1; i++)
		r[i] = pool_get(pool);
	hog = r[0];
	request_alloc_data(hog, REQUEST_MAX_DATA);
	want(&c);
	assert_null(pool_get(pool));
	pool_wait(pool, &slot);
	pool_put(r[1]);
	loop_turn(loop, false);
	assert_ptr_equal(late, r[1]);
	assert_int_equal(c.req->nsegs, 0);
	pool_put(late);
	for (unsigned i = 2; i < REQUESTS - 1; i++)
		pool_put(r[i]);
	pool_put(hog);
	loop_turn(loop, false);
	assert_int_equal(c.req->nsegs, 5);
	pool_put(c.req);
}

/* ---- data access ---- */

static uint8_t pattern(uint32_t i)
{
	return (uint8_t)(i * 7 + (i >> 8));
}

static void test_copy(void **state)
{
	struct request *req = pool_get(pool);
	uint32_t len = 3 * SEG_SIZE + 100, off = SEG_SIZE - 3;
	uint8_t *in = malloc(len), *out = malloc(len);

	for (uint32_t i = 0; i < len; i++)
		in[i] = pattern(i);
	assert_int_equal(request_alloc_data(req, len), 0);
	request_copy_in(req, 0, in, 10);
	request_copy_in(req, 10, in + 10, len - 10);
	request_copy_out(req, off, out, SEG_SIZE + 9);
	assert_memory_equal(out, in + off, SEG_SIZE + 9);
	request_zero(req, off, 5);
	request_copy_out(req, 0, out, len);
	memset(in + off, 0, 5);
	assert_memory_equal(out, in, len);
	pool_put(req);
	free(in);
	free(out);
}

static void test_use(void **state)
{
	struct pool_waiter w = {0};
	struct request *req = pool_get(pool);
	struct pool_use use;

	request_alloc_data(req, 2 * SEG_SIZE);
	pool_use(pool, &use);
	assert_int_equal(use.requests, 1);
	assert_int_equal(use.segments, 2);
	assert_int_equal(use.waits, 0);
	pool_wait(pool, &w);
	pool_wait(pool, &w); /* waits already */
	pool_wait_cancel(pool, &w);
	pool_put(req);
	pool_use(pool, &use);
	assert_int_equal(use.requests, 0);
	assert_int_equal(use.segments, 0);
	assert_int_equal(use.waits, 1);
}

static void test_iov(void **state)
{
	struct request *req = pool_get(pool);
	struct iovec iov[4];

	request_alloc_data(req, 4 * SEG_SIZE);
	assert_int_equal(request_iov(req, 0, 0, iov, 4), 0);
	assert_int_equal(request_iov(req, 100, 50, iov, 4), 1);
	assert_ptr_equal(iov[0].iov_base, (uint8_t *)req->segs[0] + 100);
	assert_int_equal(iov[0].iov_len, 50);
	assert_int_equal(request_iov(req, SEG_SIZE - 1, 2 + SEG_SIZE, iov, 4), 3);
	assert_int_equal(iov[0].iov_len, 1);
	assert_int_equal(iov[1].iov_len, SEG_SIZE);
	assert_int_equal(iov[2].iov_len, 1);
	assert_int_equal(request_iov(req, 0, 4 * SEG_SIZE, iov, 2), 2);
	pool_put(req);
}

static void test_crc32c(void **state)
{
	struct request *req = pool_get(pool);
	static const uint8_t zeros[32];

	request_alloc_data(req, 2 * SEG_SIZE);
	request_copy_in(req, SEG_SIZE - 4, "123456789", 9);
	assert_true(request_crc32c(req, SEG_SIZE - 4, 9) == 0xe3069283);
	request_copy_in(req, 0, zeros, sizeof(zeros)); /* RFC 3720, B.4 */
	assert_true(request_crc32c(req, 0, sizeof(zeros)) == 0x8a9136aa);
	assert_int_equal(request_crc32c(req, 0, 0), 0);
	pool_put(req);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_get_put),
		T(test_segments),
		T(test_all_or_nothing),
		T(test_wait_in_order),
		T(test_wait_cancel),
		T(test_cancel_wakes_the_next),
		T(test_served_goes_to_the_end),
		T(test_slot_waiter_keeps_no_segments),
		T(test_slots_and_segments_apart),
		T(test_use),
		T(test_copy),
		T(test_iov),
		T(test_crc32c),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
