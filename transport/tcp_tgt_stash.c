/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/TCP as target: commands that wait between their capsule and their slot. Only so many slots
 * may wait for hosts' data (fetch_quota.h), and reads of one connection get only so many segments;
 * but the connection still has to be read, for the data of writes that have begun is behind. So a
 * command is kept as the entry that it is, at most one queue of them, and begins when there is
 * room, in order.
 */
#include "transport/tcp_target.h"

#include <stdlib.h>

#define MIN_SIZE 8u

static unsigned at(const struct sqe_ring *r, unsigned i)
{
	return (r->first + i) & (r->size - 1);
}

static bool grow(struct sqe_ring *r)
{
	unsigned size = r->size ? r->size * 2 : MIN_SIZE;
	struct nvme_sqe *sqes = malloc(size * sizeof(*sqes));

	if (!sqes)
		return false;
	for (unsigned i = 0; i < r->n; i++)
		sqes[i] = r->sqes[at(r, i)];
	free(r->sqes);
	r->sqes = sqes;
	r->size = size;
	r->first = 0;
	return true;
}

static void push(struct tcp_tgt *t, struct sqe_ring *r, const struct nvme_sqe *sqe)
{
	if (r->n == r->size && !grow(r)) {
		tcp_tgt_shut(t, "out of memory");
		return;
	}
	r->sqes[at(r, r->n++)] = *sqe;
}

static struct nvme_sqe pop(struct sqe_ring *r)
{
	struct nvme_sqe sqe = r->sqes[r->first];

	r->first = at(r, 1);
	r->n--;
	return sqe;
}

/* ---- writes ---- */

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

	while (s->ring.n && t->phase < PHASE_CLOSING && (req = take_slot(t))) {
		struct nvme_sqe sqe = pop(&s->ring);

		tcp_tgt_begin(t, req, &sqe, 0);
	}
}

void tcp_tgt_begin_write(struct tcp_tgt *t, const struct nvme_sqe *sqe)
{
	struct request *req = t->stash.ring.n ? NULL : take_slot(t);

	if (req)
		tcp_tgt_begin(t, req, sqe, 0);
	else
		push(t, &t->stash.ring, sqe);
}

void tcp_tgt_has_data(struct tcp_tgt *t, struct request *req)
{
	if (!req->tgt_owes)
		return;
	req->tgt_owes = false;
	fetch_quota_put(t->quota, FETCH_SLOTS, 1, &t->stash.quota_user);
}

/* ---- reads ---- */

/*
 * Like fetches (fetch_quota.h), a connection's reads get no more segments than are left: a host
 * that does not take its answers keeps them. Reads that the engine holds have none yet, hence the
 * half.
 */
static bool has_room(const struct tcp_tgt *t, const struct nvme_sqe *sqe)
{
	const struct pool *pool = loop_pool(t->qp.loop);
	uint32_t len = le32toh(sqe->sgl.length);
	unsigned n = len < REQUEST_MAX_DATA ? (len + SEG_SIZE - 1) >> SEG_SHIFT : REQUEST_MAX_SEGS;

	return !t->asked || (t->asked + 2 * n <= pool_free_segments(pool) &&
			     t->asked + n <= pool_total_segments(pool) / 2);
}

bool tcp_tgt_postpone_read(struct tcp_tgt *t, const struct nvme_sqe *sqe)
{
	/* For admin queues the gateway sees to it. */
	if (!t->qp.qid || nvme_sqe_dir(sqe) != NVME_DIR_C2H)
		return false;
	if (!t->reads.n && has_room(t, sqe))
		return false;
	push(t, &t->reads, sqe);
	return true;
}

void tcp_tgt_run_reads(struct tcp_tgt *t)
{
	while (t->reads.n && t->phase < PHASE_CLOSING &&
	       has_room(t, &t->reads.sqes[t->reads.first])) {
		struct request *req = pool_get(loop_pool(t->qp.loop));
		struct nvme_sqe sqe;

		if (!req) {
			pool_wait(loop_pool(t->qp.loop), &t->read_waiter);
			break;
		}
		sqe = pop(&t->reads);
		tcp_tgt_begin(t, req, &sqe, 0);
	}
}

static void on_read_room(void *arg)
{
	tcp_tgt_run_reads(arg);
}

/* ---- life ---- */

void tcp_tgt_stash_init(struct tcp_tgt *t)
{
	t->reads = (struct sqe_ring){0};
	t->read_waiter = (struct pool_waiter){.fn = on_read_room, .arg = t};
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
	free(s->ring.sqes);
	pool_wait_cancel(loop_pool(t->qp.loop), &t->read_waiter);
	free(t->reads.sqes);
}
