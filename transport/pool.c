/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request slots and data segments. Slots are an array of which only a front part has ever been
 * used, and a stack of the indexes given back; segments are in segments.h. So memory becomes
 * resident only as far as use has ever gone at once, and giving back touches nothing of what is
 * given back.
 */
#include "transport/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "transport/loop.h"
#include "transport/segments.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#define HUGE_SIZE (2u * 1024 * 1024)

/* Memory from the kernel, aligned. */
struct region {
	uint8_t *start;
	size_t len;
	void *map;
	size_t map_len;
};

struct slots {
	struct region mem;
	struct request *items;
	uint32_t *returned; /* stack */
	unsigned nr_returned;
	unsigned used; /* items below this have been handed out at some time */
	unsigned total;
	stat_t out; /* for other threads */
};

struct waiting {
	TAILQ_HEAD(, pool_waiter) list;
	unsigned n;
};

struct pool {
	struct loop *loop;
	struct slots requests;
	struct region data;
	struct segments segments;
	stat_t segments_out; /* for other threads */
	struct waiting for_request, for_segments;
	stat_t waits;
	struct loop_hook hook;
	bool lacks_request; /* what was refused last, a request or segments */
	bool refused;	    /* something was, in the waiter's call that runs now */
	bool served;	    /* ...and something was not */
	struct pool_waiter *calling;
};

static int region_init(struct region *r, size_t len, size_t align)
{
	r->map_len = len + align;
	r->map = mmap(NULL, r->map_len, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->map == MAP_FAILED) {
		r->map = NULL;
		return -errno;
	}
	r->start = (uint8_t *)(((uintptr_t)r->map + align - 1) & ~(align - 1));
	r->len = len;
	return 0;
}

static void region_fini(struct region *r)
{
	if (!r->map)
		return;
	UNPOISON(r->start, r->len);
	munmap(r->map, r->map_len);
}

static int slots_init(struct slots *s, unsigned total)
{
	size_t items = (total * sizeof(struct request) + 63) & ~(size_t)63;
	int e = region_init(&s->mem, items + total * sizeof(uint32_t), 4096);

	if (e)
		return e;
	s->items = (struct request *)s->mem.start;
	s->returned = (uint32_t *)(s->mem.start + items);
	s->total = total;
	POISON(s->items, items);
	return 0;
}

static unsigned slots_free(const struct slots *s)
{
	return s->total - s->used + s->nr_returned;
}

static struct request *slots_get(struct slots *s)
{
	unsigned i = s->nr_returned ? s->returned[--s->nr_returned] : s->used++;

	UNPOISON(&s->items[i], sizeof(s->items[i]));
	stat_add(&s->out, 1);
	return &s->items[i];
}

static void slots_put(struct slots *s, struct request *req)
{
	size_t i = (size_t)(req - s->items);

	assert(req >= s->items && i < s->used && s->nr_returned < s->used);
	s->returned[s->nr_returned++] = (uint32_t)i;
	POISON(req, sizeof(*req));
	stat_sub(&s->out, 1);
}

/* ---- waiters ---- */

static struct waiting *waiting_of(struct pool *pool, const struct pool_waiter *w)
{
	return w->for_request ? &pool->for_request : &pool->for_segments;
}

void pool_wait(struct pool *pool, struct pool_waiter *w)
{
	struct waiting *q;

	if (w->queued)
		return;
	w->queued = true;
	w->for_request = pool->lacks_request;
	stat_add(&pool->waits, 1);
	q = waiting_of(pool, w);
	q->n++;
	/* Nothing to be had in its turn: it keeps its place, so that many small needs cannot starve
	 * a big one. With something in hand it stands behind those that have waited meanwhile. */
	if (pool->calling == w && pool->refused && !pool->served)
		TAILQ_INSERT_HEAD(&q->list, w, link);
	else
		TAILQ_INSERT_TAIL(&q->list, w, link);
}

static void dequeue(struct pool *pool, struct pool_waiter *w)
{
	struct waiting *q = waiting_of(pool, w);

	w->queued = false;
	TAILQ_REMOVE(&q->list, w, link);
	q->n--;
}

static void wake_waiters(struct pool *pool)
{
	if (pool->for_request.n || pool->for_segments.n)
		loop_hook_queue(pool->loop, &pool->hook);
}

void pool_wait_cancel(struct pool *pool, struct pool_waiter *w)
{
	if (!w->queued)
		return;
	dequeue(pool, w);
	/* What is there may do for the next in line. */
	wake_waiters(pool);
}

/*
 * Calls those waiting now once each, until there is nothing more to have or one was refused. True
 * when somebody waits although there is something.
 */
static bool run_waiters(struct pool *pool, struct waiting *q,
			unsigned (*nr_free)(const struct pool *pool))
{
	for (unsigned n = q->n; n && q->n && nr_free(pool); n--) {
		struct pool_waiter *w = TAILQ_FIRST(&q->list);

		dequeue(pool, w);
		pool->calling = w;
		pool->refused = pool->served = false;
		w->fn(w->arg);
		pool->calling = NULL;
		if (pool->refused && TAILQ_FIRST(&q->list) == w)
			return false;
	}
	return q->n && nr_free(pool);
}

static void on_put(void *arg)
{
	struct pool *pool = arg;
	bool more = run_waiters(pool, &pool->for_request, pool_free_requests);

	if (run_waiters(pool, &pool->for_segments, pool_free_segments) || more)
		loop_hook_queue(pool->loop, &pool->hook);
}

/* ---- the pool ---- */

struct pool *pool_new(struct loop *loop, unsigned requests, unsigned segments)
{
	struct pool *pool = calloc(1, sizeof(*pool));
	size_t bytes = (size_t)segments * SEG_SIZE;
	int e;

	if (!pool)
		return NULL;
	pool->loop = loop;
	TAILQ_INIT(&pool->for_request.list);
	TAILQ_INIT(&pool->for_segments.list);
	loop_hook_init(&pool->hook, on_put, pool);
	e = slots_init(&pool->requests, requests);
	if (!e)
		e = region_init(&pool->data, bytes, HUGE_SIZE);
	if (!e)
		e = segments_init(&pool->segments, pool->data.start, segments);
	if (e) {
		pool_free(pool);
		errno = -e;
		return NULL;
	}
	/* Use starts at the front and stays as low as it can, so huge pages waste one at most. */
	if (bytes >= HUGE_SIZE)
		madvise(pool->data.start, bytes & ~(size_t)(HUGE_SIZE - 1), MADV_HUGEPAGE);
	POISON(pool->data.start, bytes);
	loop_set_pool(loop, pool);
	return pool;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	if (loop_pool(pool->loop) == pool)
		loop_set_pool(pool->loop, NULL);
	loop_hook_cancel(pool->loop, &pool->hook);
	region_fini(&pool->requests.mem);
	region_fini(&pool->data);
	segments_fini(&pool->segments);
	free(pool);
}

static void tx_reset(struct tx *tx)
{
	memset(tx, 0, offsetof(struct tx, hdr));
}

struct request *pool_get(struct pool *pool)
{
	struct request *req;

	if (!slots_free(&pool->requests)) {
		pool->lacks_request = pool->refused = true;
		return NULL;
	}
	req = slots_get(&pool->requests);
	pool->served = true;
	memset(req, 0, offsetof(struct request, ttx));
	tx_reset(&req->ttx);
	tx_reset(&req->tresp);
	tx_reset(&req->itx);
	req->pool = pool;
	return req;
}

void pool_put(struct request *req)
{
	struct pool *pool = req->pool;

	assert(pool); /* else it was put back before */
	assert(loop_is_current(pool->loop));
	assert(!req->ini && !req->ttx.queued && !req->tresp.queued && !req->itx.queued);
	request_free_data(req);
	req->pool = NULL;
	slots_put(&pool->requests, req);
	wake_waiters(pool);
}

static int refuse_segments(struct pool *pool)
{
	pool->lacks_request = false;
	pool->refused = true;
	return -ENOBUFS;
}

int request_alloc_data(struct request *req, uint32_t len)
{
	struct pool *pool = req->pool;
	unsigned n = (len + SEG_SIZE - 1) >> SEG_SHIFT;

	assert(req->nsegs == 0 && len <= REQUEST_MAX_DATA);
	if (n > pool->segments.nr_free)
		return refuse_segments(pool);
	if (n)
		segments_take(&pool->segments, req->segs, n);
	for (unsigned i = 0; i < n; i++)
		UNPOISON(req->segs[i], SEG_SIZE);
	req->nsegs = (uint16_t)n;
	stat_add(&pool->segments_out, n);
	pool->served = true;
	return 0;
}

int request_alloc_data_in_turn(struct request *req, uint32_t len)
{
	struct pool *pool = req->pool;
	bool turn = pool->calling && !pool->served;

	if (!turn && pool->for_segments.n)
		return refuse_segments(pool);
	return request_alloc_data(req, len);
}

void request_free_data(struct request *req)
{
	struct pool *pool = req->pool;

	if (!req->nsegs)
		return;
	stat_sub(&pool->segments_out, req->nsegs);
	/* Last first: taken again, they come in the same order. */
	while (req->nsegs) {
		void *seg = req->segs[--req->nsegs];

		segments_put(&pool->segments, seg);
		POISON(seg, SEG_SIZE);
	}
	wake_waiters(pool);
}

void pool_use(const struct pool *pool, struct pool_use *use)
{
	use->requests = stat_get(&pool->requests.out);
	use->segments = stat_get(&pool->segments_out);
	use->waits = stat_get(&pool->waits);
}

unsigned pool_free_segments(const struct pool *pool)
{
	return pool->segments.nr_free;
}

unsigned pool_free_requests(const struct pool *pool)
{
	return slots_free(&pool->requests);
}

unsigned pool_total_segments(const struct pool *pool)
{
	return pool->segments.total;
}

unsigned pool_total_requests(const struct pool *pool)
{
	return pool->requests.total;
}

void *pool_memory(const struct pool *pool, size_t *len)
{
	*len = pool->data.len;
	return pool->data.start;
}
