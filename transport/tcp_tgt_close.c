/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/TCP as target: the end of a connection, and what makes it end when the host does nothing.
 *
 * It ends in one place, tcp_tgt_do_close(), which runs from a hook: callbacks may ask for it at any
 * time and nothing is freed beneath anybody.
 */
#include "transport/tcp_target.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "transport/log.h"

#define STALL_STEP (64u * 1024)

void tcp_tgt_shut(struct tcp_tgt *t, const char *fmt, ...)
{
	va_list ap;

	if (t->phase >= PHASE_CLOSING)
		return;
	t->phase = PHASE_CLOSING;
	va_start(ap, fmt);
	vsnprintf(t->reason, sizeof(t->reason), fmt, ap);
	va_end(ap);
	tcp_sock_stop(&t->s);
	loop_hook_queue(t->qp.loop, &t->event);
}

void tcp_tgt_end(struct tcp_tgt *t, enum tgt_end by, const char *reason)
{
	if (t->phase < PHASE_CLOSING)
		t->qp.end = by;
	tcp_tgt_shut(t, "%s", reason);
}

void tcp_tgt_violation(struct tcp_tgt *t, const struct tcp_err *err, const uint8_t *head,
		       size_t len)
{
	if (t->phase >= PHASE_CLOSING)
		return;
	if (err->fes != TCP_FES_NONE)
		t->term_len = (uint16_t)tcp_put_term(t->term, TCP_C2H_TERM, err, head, len);
	tcp_tgt_shut(t, "protocol error of the host: %s (%s, offset or value %u)", err->what,
		     tcp_fes_name(TCP_C2H_TERM, err->fes), err->fei);
}

void tcp_tgt_pdu_violation(struct tcp_tgt *t, const struct tcp_pdu *pdu, const struct tcp_err *err)
{
	tcp_tgt_violation(t, err, pdu->head, pdu->head[TCP_OFF_HLEN]);
}

static void unref(struct tcp_tgt *t)
{
	if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1)
		free(t);
}

/* Control loop. */
static void forget(void *arg)
{
	struct tcp_tgt *t = arg;

	tcp_listener_put(t->qp.listener);
	unref(t);
}

static void drop_tx(struct tcp_tgt *t, struct request *req)
{
	tcp_tx_unqueue(&t->s, &req->ttx);
	tcp_tx_unqueue(&t->s, &req->tresp);
}

void tcp_tgt_release(struct tcp_tgt *t, struct request *req)
{
	switch (req->tgt_state) {
	case TGT_REQ_RECEIVING_CAPSULE:
		break;
	case TGT_REQ_COMPLETING:
		TAILQ_REMOVE(&t->outgoing, req, tgt_link);
		break;
	case TGT_REQ_DISCARDING:
		TAILQ_REMOVE(&t->outgoing, req, tgt_link);
		tcp_tgt_fetch_end(t, req);
		break;
	case TGT_REQ_WAIT_BUFFERS:
		tcp_tgt_unpark(t, req);
		TAILQ_REMOVE(&t->qp.requests, req, tgt_link);
		break;
	case TGT_REQ_FETCHING:
		tcp_tgt_fetch_end(t, req);
		/* fall through */
	default:
		TAILQ_REMOVE(&t->qp.requests, req, tgt_link);
		break;
	}
	if (t->rx == req)
		t->rx = NULL;
	drop_tx(t, req);
	if (req->tgt_slot != CID_MAP_NONE)
		cid_map_del(&t->cids, req->tgt_slot);
	tcp_tgt_has_data(t, req);
	t->qp.inflight--;
	t->asked -= req->tgt_asked;
	req->tgt = NULL;
	req->tgt_state = TGT_REQ_FREE;
	pool_put(req);
	if (t->reads.n && t->phase < PHASE_CLOSING)
		loop_hook_queue(t->qp.loop, &t->event);
}

void tcp_tgt_leave_loop(struct tcp_tgt *t)
{
	loop_timer_fini(&t->timer);
	pool_wait_cancel(loop_pool(t->qp.loop), &t->rx_waiter);
	tcp_tgt_drop_turn(t);
	tcp_tgt_stash_fini(t);
}

/* Those that the gateway still works on go on without a connection. */
static void orphan_requests(struct tcp_tgt *t)
{
	struct request *req;

	while ((req = TAILQ_FIRST(&t->qp.requests))) {
		if (req->tgt_state != TGT_REQ_EXECUTING) {
			/* Waiting for the host's data: nobody else would give it back. */
			tcp_tgt_release(t, req);
			continue;
		}
		TAILQ_REMOVE(&t->qp.requests, req, tgt_link);
		tcp_tgt_has_data(t, req);
		req->tgt = NULL;
	}
}

/* The gateway has never heard of it. */
static void end_handshake(struct tcp_tgt *t)
{
	char peer[ADDR_STR_MAX];

	addr_str(&t->qp.peer, peer);
	if (t->qp.end == TGT_END_FAULT)
		log_ratelimited(LOG_INFO, "host %s: ended: %s", peer, t->reason);
	else
		log_debug(TCP, "host %s: ended: %s", peer, t->reason);
	TAILQ_REMOVE(&t->qp.listener->unopened, t, unopened_link);
}

void tcp_tgt_do_close(struct tcp_tgt *t)
{
	struct request *req;

	tcp_tgt_leave_loop(t);
	tcp_sock_close(&t->s, t->term, t->term_len);
	if (t->rx && t->rx->tgt_state == TGT_REQ_RECEIVING_CAPSULE)
		tcp_tgt_release(t, t->rx);
	while ((req = TAILQ_FIRST(&t->outgoing)))
		tcp_tgt_release(t, req);
	if (t->opened)
		t->qp.listener->ops->closed(&t->qp, t->reason);
	else
		end_handshake(t);
	orphan_requests(t);
	fetch_quota_release(t->quota);
	cid_map_fini(&t->cids);
	t->phase = PHASE_CLOSED;
	if (t->qp.loop == t->qp.listener->loop)
		forget(t);
	else
		loop_post(t->qp.listener->loop, forget, t);
}

struct close_message {
	struct tcp_tgt *t;
	char reason[128];
};

static void on_close_message(void *arg)
{
	struct close_message *m = arg;

	tcp_tgt_end(m->t, TGT_END_GATEWAY, m->reason);
	unref(m->t);
	free(m);
}

/*
 * Control may close a qpair that it has given to a worker, up to the time it learns of closed():
 * the memory goes through control's message queue before it is freed.
 */
void tcp_tgt_close(struct tgt_qpair *qp, const char *reason)
{
	struct tcp_tgt *t = tcp_tgt_of_qp(qp);
	struct close_message *m;

	if (loop_is_current(qp->loop) && t->phase != PHASE_TRANSIT) {
		tcp_tgt_end(t, TGT_END_GATEWAY, reason);
		return;
	}
	m = malloc(sizeof(*m));
	if (!m) {
		log_err("out of memory: a connection is not closed");
		return;
	}
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	m->t = t;
	snprintf(m->reason, sizeof(m->reason), "%s", reason);
	loop_post(qp->loop, on_close_message, m);
}

/* ---- lack of progress ---- */

/* While we do not read, the data asked for cannot come. */
static bool awaits_data(const struct tcp_tgt *t)
{
	return t->fetching && tcp_sock_reading(&t->s);
}

bool tcp_tgt_must_progress(const struct tcp_tgt *t)
{
	return t->s.full || tcp_sock_half(&t->s) || awaits_data(t);
}

/* So much of @pending is progress. With less, a byte now and then would keep memory for ever. */
static uint64_t step(uint64_t pending)
{
	return pending < STALL_STEP ? pending : STALL_STEP;
}

/* Bytes of H2CData, also of the PDU at hand. */
static uint64_t fetched(const struct tcp_tgt *t)
{
	bool at_hand = t->rx && t->rx->tgt_state != TGT_REQ_RECEIVING_CAPSULE;

	return t->fetched + (at_hand ? t->s.rx_off - t->s.rx_start : 0);
}

void tcp_tgt_mark_progress(struct tcp_tgt *t)
{
	uint64_t rx = stat_get(&t->qp.rx_bytes), tx = stat_get(&t->qp.tx_bytes);
	uint64_t had = fetched(t);

	t->due.rx = rx + (tcp_sock_half(&t->s) ? step(tcp_sock_lacks(&t->s)) : 0);
	t->due.tx = tx + step(t->s.tx_pending);
	t->due.fetched = had + step(t->owed - (had - t->fetched));
	t->due.moved = rx + tx + STALL_STEP;
	loop_timer_arm(&t->timer, t->qp.listener->cfg.stall_timeout);
}

void tcp_tgt_reading_again(struct tcp_tgt *t)
{
	t->due.rx = t->due.fetched = 0;
}

static const char *stalled(const struct tcp_tgt *t)
{
	uint64_t rx = stat_get(&t->qp.rx_bytes), tx = stat_get(&t->qp.tx_bytes);

	if (t->s.full && tx < t->due.tx)
		return "the host does not read";
	if (tcp_sock_half(&t->s) && rx < t->due.rx)
		return "the host sent part of a PDU and no more";
	/* An R2T may be behind much else on a slow way. */
	if (awaits_data(t) && fetched(t) < t->due.fetched && rx + tx < t->due.moved)
		return "the host does not send the data it was asked for";
	return NULL;
}

void tcp_tgt_on_timer(void *arg)
{
	struct tcp_tgt *t = arg;
	const char *why;

	if (t->phase >= PHASE_CLOSING)
		return;
	if (!t->qp.connected) {
		tcp_tgt_shut(t, "no Connect in time");
		return;
	}
	if (!tcp_tgt_must_progress(t))
		return;
	why = stalled(t);
	if (why)
		tcp_tgt_shut(t, "%s", why);
	else
		tcp_tgt_mark_progress(t);
}
