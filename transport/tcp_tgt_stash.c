/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/TCP as target: writes whose data has to be fetched, from their capsule to their slot. Only
 * so many slots may wait for hosts (fetch_quota.h), and while there is none the connection still
 * has to be read, for the data of those that have one is behind. So what has no slot is kept as the
 * entry that it is, at most one queue of them, and begins when there is a slot, in order.
 */
#include "transport/tcp_target.h"

#include <stdlib.h>

#define MIN_SIZE 8u

static unsigned at(const struct tcp_tgt_stash *s, unsigned i)
{
	return (s->first + i) & (s->size - 1);
}

static bool grow(struct tcp_tgt_stash *s)
{
	unsigned size = s->size ? s->size * 2 : MIN_SIZE;
	struct nvme_sqe *sqes = malloc(size * sizeof(*sqes));

	if (!sqes)
		return false;
	for (unsigned i = 0; i < s->n; i++)
		sqes[i] = s->sqes[at(s, i)];
	free(s->sqes);
	s->sqes = sqes;
	s->size = size;
	s->first = 0;
	return true;
}

/* One of the slots that fetches may have, or NULL with a waiter queued. */
static struct request *take_slot(struct tcp_tgt *t)
{
	struct tcp_tgt_stash *s = &t->stash;
	struct request *req;

	if (!s->quota_held && !fetch_quota_take(t->quota, FETCH_SLOTS, 1, &s->quota_user))
		return NULL;
	s->quota_held = true;
	req = pool_get(loop_pool(t->qp.loop));
	if (!req) {
		pool_wait(loop_pool(t->qp.loop), &s->pool_waiter);
		return NULL;
	}
	s->quota_held = false;
	req->tgt_owes = true;
	return req;
}

static void on_room(void *arg)
{
	struct tcp_tgt *t = arg;
	struct tcp_tgt_stash *s = &t->stash;
	struct request *req;

	while (s->n && t->phase < PHASE_CLOSING && (req = take_slot(t))) {
		struct nvme_sqe sqe = s->sqes[s->first];

		s->first = at(s, 1);
		s->n--;
		tcp_tgt_begin(t, req, &sqe, 0);
	}
}

void tcp_tgt_begin_write(struct tcp_tgt *t, const struct nvme_sqe *sqe)
{
	struct tcp_tgt_stash *s = &t->stash;
	struct request *req = s->n ? NULL : take_slot(t);

	if (req) {
		tcp_tgt_begin(t, req, sqe, 0);
		return;
	}
	if (s->n == s->size && !grow(s)) {
		tcp_tgt_shut(t, "out of memory");
		return;
	}
	s->sqes[at(s, s->n++)] = *sqe;
}

void tcp_tgt_has_data(struct tcp_tgt *t, struct request *req)
{
	if (!req->tgt_owes)
		return;
	req->tgt_owes = false;
	fetch_quota_put(t->quota, FETCH_SLOTS, 1, &t->stash.quota_user);
}

void tcp_tgt_stash_init(struct tcp_tgt *t)
{
	t->stash = (struct tcp_tgt_stash){
		.pool_waiter = {.fn = on_room, .arg = t},
		.quota_user = {.fn = on_room, .arg = t},
	};
}

void tcp_tgt_stash_fini(struct tcp_tgt *t)
{
	struct tcp_tgt_stash *s = &t->stash;

	pool_wait_cancel(loop_pool(t->qp.loop), &s->pool_waiter);
	fetch_quota_cancel(t->quota, FETCH_SLOTS, &s->quota_user);
	if (s->quota_held)
		fetch_quota_put(t->quota, FETCH_SLOTS, 1, &s->quota_user);
	free(s->sqes);
}
