/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/RDMA as target: the end of a connection. It ends in one place, rdma_tgt_do_close(), which
 * runs from a hook: callbacks may ask for it at any time and nothing is freed beneath anybody.
 *
 * The queue pair ends first, on the connection's own loop; then no device touches the requests'
 * memory any more. The connection manager's ID ends last, on control, where its events arrive.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "transport/log.h"
#include "transport/rdma_target.h"

/* How long answers on their way out may hold up an end that the gateway asked for. */
#define GRACE (500 * NSEC_PER_MSEC)

/*
 * A queue pair in error tells of every buffer that it has taken from the shared receive queue, and
 * then that it takes no more, which is looked for this often. Soft-RoCE of Linux 6.1 does the
 * former at once and never the latter.
 */
#define DRAIN_LOOK	 (2 * NSEC_PER_MSEC)
#define DRAIN_MAX	 (1 * NSEC_PER_SEC)
#define DRAIN_MAX_SILENT (50 * NSEC_PER_MSEC)

static void shut(struct rdma_tgt *t, bool graceful, const char *fmt, va_list ap)
{
	if (t->phase >= RDMA_TGT_CLOSING) {
		/* What was to end in peace has failed meanwhile. */
		if (t->phase == RDMA_TGT_CLOSING && !graceful && t->graceful) {
			t->graceful = false;
			loop_hook_queue(t->qp.loop, &t->event);
		}
		return;
	}
	t->phase = RDMA_TGT_CLOSING;
	t->graceful = graceful;
	vsnprintf(t->reason, sizeof(t->reason), fmt, ap);
	if (graceful)
		loop_timer_arm(&t->timer, GRACE);
	else
		rdma_qp_stop(&t->q);
	loop_hook_queue(t->qp.loop, &t->event);
}

void rdma_tgt_shut(struct rdma_tgt *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	shut(t, false, fmt, ap);
	va_end(ap);
}

static void shut_gracefully(struct rdma_tgt *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	shut(t, true, fmt, ap);
	va_end(ap);
}

void rdma_tgt_end(struct rdma_tgt *t, enum tgt_end by, const char *reason)
{
	if (t->phase < RDMA_TGT_CLOSING)
		t->qp.end = by;
	if (by == TGT_END_GATEWAY)
		shut_gracefully(t, "%s", reason);
	else
		rdma_tgt_shut(t, "%s", reason);
}

static void unref(struct rdma_tgt *t)
{
	if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1)
		free(t);
}

/* Control: the peer hears of it, if it is there. */
static void forget(void *arg)
{
	struct rdma_tgt *t = arg;

	rdma_disconnect(t->id);
	rdma_destroy_id(t->id);
	t->id = NULL;
	rdma_tgt_leave_buffers(t);
	rdma_listener_put(t->qp.listener);
	unref(t);
}

void rdma_tgt_release(struct rdma_tgt *t, struct request *req)
{
	switch (req->tgt_state) {
	case TGT_REQ_COMPLETING:
	case RDMA_REQ_DISCARDING:
		TAILQ_REMOVE(&t->outgoing, req, tgt_link);
		break;
	default:
		TAILQ_REMOVE(&t->qp.requests, req, tgt_link);
		break;
	}
	rdma_tgt_unqueue(t, req);
	if (req->tgt_slot != CID_MAP_NONE)
		cid_map_del(&t->cids, req->tgt_slot);
	if (req->ttx.kind == RDMA_TX_LEFT)
		t->qp.left--;
	else
		t->qp.inflight--;
	req->tgt = NULL;
	req->tgt_state = TGT_REQ_FREE;
	pool_put(req);
}

void rdma_tgt_leave_loop(struct rdma_tgt *t)
{
	struct pool *pool = loop_pool(t->qp.loop);

	loop_timer_fini(&t->timer);
	loop_hook_cancel(t->qp.loop, &t->flush);
	pool_wait_cancel(pool, &t->rx_waiter);
	pool_wait_cancel(pool, &t->fetch_waiter);
}

/* Those that the gateway still works on go on without a connection. */
static void orphan_requests(struct rdma_tgt *t)
{
	struct request *req;

	while ((req = TAILQ_FIRST(&t->qp.requests))) {
		if (req->tgt_state != TGT_REQ_EXECUTING) {
			/* Waiting for the host's data: nobody else would give it back. */
			rdma_tgt_release(t, req);
			continue;
		}
		rdma_tgt_unqueue(t, req);
		TAILQ_REMOVE(&t->qp.requests, req, tgt_link);
		req->tgt = NULL;
	}
}

void rdma_tgt_free_buffers(struct rdma_tgt *t)
{
	rdma_rx_fini(&t->own_rx);
	rdma_slab_fini(&t->responses);
	free(t->arrived);
	t->arrived = NULL;
}

void rdma_tgt_leave_buffers(struct rdma_tgt *t)
{
	if (t->rx->srq)
		rdma_rx_leave(t->rx, t->depth, t->kept);
}

/* Buffers that others use too come back first. False: not all have; the timer looks again. */
static bool drained(struct rdma_tgt *t)
{
	uint64_t now = loop_now(t->qp.loop);
	bool last, tells;

	if (!t->rx->srq)
		return true;
	tells = rdma_dev_tells_last(t->q.dev);
	if (!t->draining) {
		t->draining = true;
		t->graceful = false;
		t->patience = now + (tells ? DRAIN_MAX : DRAIN_MAX_SILENT);
		rdma_qp_stop(&t->q);
		rdma_qp_flush(&t->q);
		rdma_tgt_drop_arrived(t);
	}
	last = atomic_load_explicit(&t->q.last_taken, memory_order_acquire);
	rdma_qp_reap(&t->q);
	if (!last && now < t->patience) {
		loop_timer_arm(&t->timer, DRAIN_LOOK);
		return false;
	}
	if (atomic_load_explicit(&t->q.overrun, memory_order_acquire))
		t->kept += RDMA_RX_UNKNOWN;
	else if (!last && tells)
		t->kept++;
	return true;
}

void rdma_tgt_do_close(struct rdma_tgt *t)
{
	struct request *req;

	if (t->graceful && t->answering && !t->hasten)
		return;
	if (!drained(t))
		return;
	rdma_qp_fini(&t->q);
	rdma_tgt_leave_loop(t);
	while ((req = TAILQ_FIRST(&t->outgoing)))
		rdma_tgt_release(t, req);
	t->qp.listener->ops->closed(&t->qp, t->reason);
	orphan_requests(t);
	rdma_tgt_free_buffers(t);
	cid_map_fini(&t->cids);
	t->phase = RDMA_TGT_CLOSED;
	if (t->qp.loop == t->qp.listener->loop)
		forget(t);
	else
		loop_post(t->qp.listener->loop, forget, t);
}

struct close_message {
	struct rdma_tgt *t;
	enum tgt_end by;
	char reason[128];
};

static void on_close_message(void *arg)
{
	struct close_message *m = arg;

	rdma_tgt_end(m->t, m->by, m->reason);
	unref(m->t);
	free(m);
}

/*
 * Control may close a qpair that it has given to a worker, up to the time it learns of closed():
 * the memory goes through control's message queue before it is freed.
 */
static void end_from_anywhere(struct rdma_tgt *t, enum tgt_end by, const char *reason)
{
	struct close_message *m;

	if (loop_is_current(t->qp.loop) && t->phase != RDMA_TGT_TRANSIT) {
		rdma_tgt_end(t, by, reason);
		return;
	}
	m = malloc(sizeof(*m));
	if (!m) {
		log_err("out of memory: a connection is not closed");
		return;
	}
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	m->t = t;
	m->by = by;
	snprintf(m->reason, sizeof(m->reason), "%s", reason);
	loop_post(t->qp.loop, on_close_message, m);
}

void rdma_tgt_close(struct tgt_qpair *qp, const char *reason)
{
	end_from_anywhere(rdma_tgt_of_qp(qp), TGT_END_GATEWAY, reason);
}

void rdma_tgt_over(struct rdma_tgt *t, enum tgt_end by, const char *reason)
{
	end_from_anywhere(t, by, reason);
}

/* ---- lack of progress ---- */

static bool must_move_on(const struct rdma_tgt *t)
{
	return t->answering || t->reading;
}

void rdma_tgt_watch_progress(struct rdma_tgt *t)
{
	uint64_t limit = t->qp.listener->cfg.stall_timeout;

	if (t->timer.armed || !limit || !must_move_on(t) || t->phase >= RDMA_TGT_CLOSING)
		return;
	t->mark = t->moved_on;
	loop_timer_arm(&t->timer, limit);
}

void rdma_tgt_on_timer(void *arg)
{
	struct rdma_tgt *t = arg;

	if (t->phase >= RDMA_TGT_CLOSING) {
		t->hasten = true;
		loop_hook_queue(t->qp.loop, &t->event);
	} else if (!t->qp.connected) {
		rdma_tgt_shut(t, "no Connect in time");
	} else if (t->phase == RDMA_TGT_MOVING) {
		rdma_tgt_shut(t, "the host does not take the Connect's response");
	} else if (must_move_on(t) && t->moved_on == t->mark) {
		rdma_tgt_shut(t, "the host takes no answers and gives no data");
	} else {
		rdma_tgt_watch_progress(t);
	}
}
