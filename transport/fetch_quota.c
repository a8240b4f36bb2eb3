/* SPDX-License-Identifier: Apache-2.0 */
/* The share of a pool that fetches may take. See fetch_quota.h. */
#include "transport/fetch_quota.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "transport/loop.h"
#include "transport/pool.h"

#define RESERVE_MAX 64u

/* Of slots or of segments. */
struct share {
	unsigned limit, used;
	bool divided; /* nobody may have most of it */
	TAILQ_HEAD(, fetch_user) waiters;
	struct loop_hook hook;
	struct fetch_user *calling; /* whose turn it is */
	bool served;		    /* ...and it has got something in it */
};

struct fetch_quota {
	LIST_ENTRY(fetch_quota) link;
	struct loop *loop;
	struct pool *pool;
	unsigned refs;
	struct share shares[2]; /* by enum fetch_kind */
};

/* Held when a qpair comes to a loop or leaves it, never for I/O. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, fetch_quota) all = LIST_HEAD_INITIALIZER(all);

static void run_waiters(void *arg)
{
	struct share *s = arg;
	struct fetch_user *u;

	while ((u = TAILQ_FIRST(&s->waiters))) {
		TAILQ_REMOVE(&s->waiters, u, link);
		u->queued = false;
		s->calling = u;
		s->served = false;
		u->fn(u->arg);
		/* Refused, and first in the line again. */
		if (u->queued && !s->served)
			break;
	}
	s->calling = NULL;
}

static void share_init(struct share *s, unsigned total, bool divided)
{
	unsigned reserve = total / 8 < RESERVE_MAX ? total / 8 : RESERVE_MAX;

	s->limit = total - (reserve ? reserve : 1);
	s->divided = divided;
	TAILQ_INIT(&s->waiters);
	loop_hook_init(&s->hook, run_waiters, s);
}

static struct fetch_quota *quota_new(struct loop *loop)
{
	struct fetch_quota *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->loop = loop;
	q->pool = loop_pool(loop);
	share_init(&q->shares[FETCH_SLOTS], pool_total_requests(q->pool), false);
	share_init(&q->shares[FETCH_SEGMENTS], pool_total_segments(q->pool), true);
	LIST_INSERT_HEAD(&all, q, link);
	return q;
}

struct fetch_quota *fetch_quota_get(struct loop *loop)
{
	struct pool *pool = loop_pool(loop);
	struct fetch_quota *q;

	pthread_mutex_lock(&lock);
	LIST_FOREACH(q, &all, link) {
		if (q->pool == pool)
			break;
	}
	if (!q)
		q = quota_new(loop);
	if (q)
		q->refs++;
	pthread_mutex_unlock(&lock);
	return q;
}

void fetch_quota_release(struct fetch_quota *q)
{
	bool last;

	pthread_mutex_lock(&lock);
	last = !--q->refs;
	if (last)
		LIST_REMOVE(q, link);
	pthread_mutex_unlock(&lock);
	if (!last)
		return;
	assert(!q->shares[FETCH_SLOTS].used && !q->shares[FETCH_SEGMENTS].used);
	loop_hook_cancel(q->loop, &q->shares[FETCH_SLOTS].hook);
	loop_hook_cancel(q->loop, &q->shares[FETCH_SEGMENTS].hook);
	free(q);
}

/* Whoever has something takes no more than is left for others. */
static bool is_over(const struct share *s, unsigned n, const struct fetch_user *u)
{
	return s->divided && u->held && s->used + u->held + n > s->limit;
}

bool fetch_quota_take(struct fetch_quota *q, enum fetch_kind kind, unsigned n, struct fetch_user *u)
{
	struct share *s = &q->shares[kind];
	/* One that is bigger than the whole share goes alone. */
	bool fits = !s->used || s->used + n <= s->limit;
	bool turn = s->calling == u && !s->served;

	u->over = is_over(s, n, u);
	if (u->over)
		return false;
	if (fits && (turn || TAILQ_EMPTY(&s->waiters))) {
		s->used += n;
		u->held += n;
		s->served = true;
		return true;
	}
	if (u->queued)
		return false;
	u->queued = true;
	/* With something in hand it stands behind those that have waited meanwhile. */
	if (turn)
		TAILQ_INSERT_HEAD(&s->waiters, u, link);
	else
		TAILQ_INSERT_TAIL(&s->waiters, u, link);
	return false;
}

static void wake(struct fetch_quota *q, struct share *s)
{
	if (!TAILQ_EMPTY(&s->waiters))
		loop_hook_queue(q->loop, &s->hook);
}

void fetch_quota_put(struct fetch_quota *q, enum fetch_kind kind, unsigned n, struct fetch_user *u)
{
	struct share *s = &q->shares[kind];

	assert(s->used >= n && u->held >= n);
	s->used -= n;
	u->held -= n;
	if (u->over && !u->queued) {
		u->queued = true;
		TAILQ_INSERT_TAIL(&s->waiters, u, link);
	}
	u->over = false;
	wake(q, s);
}

void fetch_quota_cancel(struct fetch_quota *q, enum fetch_kind kind, struct fetch_user *u)
{
	struct share *s = &q->shares[kind];

	u->over = false;
	if (!u->queued)
		return;
	u->queued = false;
	TAILQ_REMOVE(&s->waiters, u, link);
	/* The next one may fit. */
	wake(q, s);
}
