/* SPDX-License-Identifier: Apache-2.0 */
/* The share of a pool that fetches may take. See fetch_quota.h. */
#include "transport/fetch_quota.h"

#include <pthread.h>
#include <stdlib.h>

#include "transport/loop.h"
#include "transport/pool.h"

#define RESERVE_MAX 64u

TAILQ_HEAD(fetch_waiter_list, fetch_waiter);

struct fetch_quota {
	LIST_ENTRY(fetch_quota) link;
	struct loop *loop;
	struct pool *pool;
	unsigned refs;
	unsigned limit, used; /* segments */
	struct fetch_waiter_list waiters;
	struct loop_hook hook;
	struct fetch_waiter *calling; /* whose turn it is */
	bool served;		      /* ...and it has got something in it */
};

/* Held when a qpair comes to a loop or leaves it, never for I/O. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, fetch_quota) all = LIST_HEAD_INITIALIZER(all);

static void on_hook(void *arg)
{
	struct fetch_quota *q = arg;
	struct fetch_waiter *w;

	while ((w = TAILQ_FIRST(&q->waiters))) {
		TAILQ_REMOVE(&q->waiters, w, link);
		w->queued = false;
		q->calling = w;
		q->served = false;
		w->fn(w->arg);
		/* Refused, and first in the line again. */
		if (w->queued && !q->served)
			break;
	}
	q->calling = NULL;
}

struct fetch_quota *fetch_quota_get(struct loop *loop)
{
	struct pool *pool = loop_pool(loop);
	struct fetch_quota *q;
	unsigned total, reserve;

	pthread_mutex_lock(&lock);
	LIST_FOREACH(q, &all, link) {
		if (q->pool == pool)
			break;
	}
	if (!q) {
		q = calloc(1, sizeof(*q));
		if (!q)
			goto out;
		total = pool_total_segments(pool);
		reserve = total / 8 < RESERVE_MAX ? total / 8 : RESERVE_MAX;
		q->loop = loop;
		q->pool = pool;
		q->limit = total - reserve;
		TAILQ_INIT(&q->waiters);
		loop_hook_init(&q->hook, on_hook, q);
		LIST_INSERT_HEAD(&all, q, link);
	}
	q->refs++;
out:
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
	loop_hook_cancel(q->loop, &q->hook);
	free(q);
}

bool fetch_quota_take(struct fetch_quota *q, unsigned segments, struct fetch_waiter *w)
{
	/* One that is bigger than the whole quota goes alone. */
	bool fits = !q->used || q->used + segments <= q->limit;
	bool turn = q->calling == w && !q->served;

	if (fits && (turn || TAILQ_EMPTY(&q->waiters))) {
		q->used += segments;
		q->served = true;
		return true;
	}
	if (w->queued)
		return false;
	w->queued = true;
	/* With something in hand it stands behind those that have waited meanwhile. */
	if (turn)
		TAILQ_INSERT_HEAD(&q->waiters, w, link);
	else
		TAILQ_INSERT_TAIL(&q->waiters, w, link);
	return false;
}

void fetch_quota_put(struct fetch_quota *q, unsigned segments)
{
	q->used -= segments;
	if (!TAILQ_EMPTY(&q->waiters))
		loop_hook_queue(q->loop, &q->hook);
}

void fetch_quota_cancel(struct fetch_quota *q, struct fetch_waiter *w)
{
	if (!w->queued)
		return;
	w->queued = false;
	TAILQ_REMOVE(&q->waiters, w, link);
	/* The next one may fit. */
	if (!TAILQ_EMPTY(&q->waiters))
		loop_hook_queue(q->loop, &q->hook);
}
