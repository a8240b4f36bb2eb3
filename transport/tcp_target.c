/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/TCP as target: listeners, and the state of a connection and of the commands on it. Bytes and
 * PDUs are the socket engine's (tcp_sock.h); what a command means is the gateway's (target.h).
 *
 * A connection ends in one place, do_close(), which runs from a hook: callbacks may ask for it at
 * any time and nothing is freed beneath anybody.
 */
#include "transport/target.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/cid_map.h"
#include "transport/fetch_quota.h"
#include "transport/log.h"
#include "transport/pool.h"
#include "transport/tcp_sock.h"

#define ACCEPT_TURN  16
#define ACCEPT_RETRY (200 * NSEC_PER_MSEC) /* when the process is out of fds */

/* Read data leaves before all of it is here in pieces no smaller than this, or, when the socket is
 * busy anyway and nothing is won in latency, than the second. */
#define CUT_THROUGH	 (32u * 1024)
#define CUT_THROUGH_BUSY (256u * 1024)

/* A host that has this much output waiting (or a share of the pool) is not read from. */
#define BACKLOG_MIN   (1024u * 1024)
#define BACKLOG_SHARE 16

/* Slots or segments below which nothing is read ahead: it might not find room. */
#define SCARCE 64

enum phase {
	PHASE_INIT, /* ICReq has not come */
	PHASE_UP,
	PHASE_MOVING,  /* the Connect's response is on its way out */
	PHASE_TRANSIT, /* between two loops */
	PHASE_CLOSING, /* do_close() will run */
	PHASE_CLOSED,
};

/* tx->kind */
enum tx_kind { TX_ICRESP, TX_R2T, TX_DATA, TX_RESP };

/* A state of our own besides enum request_state: the gateway has answered while the host's data is
 * still coming; the answer leaves after that. */
#define TGT_REQ_DISCARDING (TGT_REQ_COMPLETING + 1)

struct tgt_listener {
	struct tgt_config cfg;
	const struct tgt_ops *ops;
	void *arg;
	struct loop *loop;
	struct addr addr;
	struct loop_fd watch;
	struct loop_timer retry;
	int fd;
	unsigned connections;
	bool gone; /* unlisten() was called: freed with the last connection */
};

struct tcp_tgt {
	struct tgt_qpair qp;
	struct tcp_sock s;
	enum phase phase;
	bool opened;
	bool leave;	   /* the Connect's response has left: time to move */
	struct loop *next; /* where to */
	struct loop_hook event;
	struct loop_timer timer;
	atomic_uint refs; /* the connection, and close requests from other loops */

	struct request *rx;	      /* whose data is being received */
	struct tgt_req_list outgoing; /* answered by the gateway, or never seen by it */
	struct cid_map cids;

	/* waiting for resources */
	struct pool_waiter rx_waiter;	 /* a slot or segment for the capsule at hand */
	struct pool_waiter fetch_waiter; /* segments for the oldest fetch */
	struct fetch_waiter quota_waiter;
	struct fetch_quota *quota;
	unsigned quota_held; /* for the oldest fetch that waits for segments */
	unsigned parked;     /* fetches that wait */
	bool fetch_turn;     /* our turn in the pool's line */

	/* lack of progress */
	unsigned fetching; /* R2Ts that the host has not served */
	uint64_t fetched;  /* H2CData PDUs taken */
	uint64_t rx_mark, tx_mark, fetch_mark;

	uint16_t term_len;
	uint8_t term[TCP_TERM_MAX];
	char reason[128];
	struct tx ictx;
};

static const struct tcp_sock_ops sock_ops;

static struct tcp_tgt *of_qp(struct tgt_qpair *qp)
{
	return (struct tcp_tgt *)((char *)qp - offsetof(struct tcp_tgt, qp));
}

static struct tcp_tgt *of_sock(struct tcp_sock *s)
{
	return (struct tcp_tgt *)((char *)s - offsetof(struct tcp_tgt, s));
}

static unsigned segments(const struct request *req)
{
	return (req->data_len + SEG_SIZE - 1) >> SEG_SHIFT;
}

/* ---- the end of a connection ---- */

__attribute__((format(printf, 2, 3))) static void shut(struct tcp_tgt *t, const char *fmt, ...)
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

/* The host broke the protocol: it is told how, and the connection ends. */
static void violation(struct tcp_tgt *t, const struct tcp_err *err, const uint8_t *head, size_t len)
{
	if (t->phase >= PHASE_CLOSING)
		return;
	t->term_len = (uint16_t)tcp_put_term(t->term, TCP_C2H_TERM, err, head, len);
	shut(t, "protocol error of the host: %s (%s, offset or value %u)", err->what,
	     tcp_fes_name(TCP_C2H_TERM, err->fes), err->fei);
}

static void pdu_violation(struct tcp_tgt *t, const struct tcp_pdu *pdu, const struct tcp_err *err)
{
	violation(t, err, pdu->head, pdu->head[TCP_OFF_HLEN]);
}

static void unref(struct tcp_tgt *t)
{
	if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1)
		free(t);
}

static void listener_put(struct tgt_listener *l)
{
	l->connections--;
	if (l->gone && !l->connections)
		free(l);
}

/* Control loop. */
static void forget(void *arg)
{
	struct tcp_tgt *t = arg;

	listener_put(t->qp.listener);
	unref(t);
}

static void drop_tx(struct tcp_tgt *t, struct request *req)
{
	tcp_tx_unqueue(&t->s, &req->ttx);
	tcp_tx_unqueue(&t->s, &req->tresp);
}

/* The request is done with, whatever its state: back to the pool. Nothing of it may be partly sent
 * unless the socket is closed. */
static void release(struct tcp_tgt *t, struct request *req)
{
	switch (req->tgt_state) {
	case TGT_REQ_RECEIVING_CAPSULE:
		break;
	case TGT_REQ_COMPLETING:
		TAILQ_REMOVE(&t->outgoing, req, tgt_link);
		break;
	case TGT_REQ_DISCARDING:
		TAILQ_REMOVE(&t->outgoing, req, tgt_link);
		t->fetching--;
		fetch_quota_put(t->quota, segments(req));
		break;
	case TGT_REQ_FETCHING:
		t->fetching--;
		fetch_quota_put(t->quota, segments(req));
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
	t->qp.inflight--;
	req->tgt = NULL;
	req->tgt_state = TGT_REQ_FREE;
	pool_put(req);
}

static void leave_loop(struct tcp_tgt *t)
{
	struct pool *pool = loop_pool(t->qp.loop);

	loop_timer_fini(&t->timer);
	pool_wait_cancel(pool, &t->rx_waiter);
	pool_wait_cancel(pool, &t->fetch_waiter);
	fetch_quota_cancel(t->quota, &t->quota_waiter);
	if (t->quota_held)
		fetch_quota_put(t->quota, t->quota_held);
	t->quota_held = 0;
}

/* Those that the gateway still works on go on without a connection. */
static void orphan_requests(struct tcp_tgt *t)
{
	struct request *req;

	while ((req = TAILQ_FIRST(&t->qp.requests))) {
		if (req->tgt_state != TGT_REQ_EXECUTING) {
			/* Waiting for the host's data: nobody else would give it back. */
			release(t, req);
			continue;
		}
		TAILQ_REMOVE(&t->qp.requests, req, tgt_link);
		req->tgt = NULL;
	}
}

static void do_close(struct tcp_tgt *t)
{
	struct request *req;

	leave_loop(t);
	tcp_sock_close(&t->s, t->term, t->term_len);
	if (t->rx && t->rx->tgt_state == TGT_REQ_RECEIVING_CAPSULE)
		release(t, t->rx);
	while ((req = TAILQ_FIRST(&t->outgoing)))
		release(t, req);
	if (t->opened)
		t->qp.listener->ops->closed(&t->qp, t->reason);
	else
		log_debug("%s: connection ended early: %s", "tcp", t->reason);
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

	shut(m->t, "%s", m->reason);
	unref(m->t);
	free(m);
}

/*
 * Control may close a qpair that it has given to a worker, up to the time it learns of closed():
 * the memory goes through control's message queue before it is freed.
 */
static void tgt_close(struct tgt_qpair *qp, const char *reason)
{
	struct tcp_tgt *t = of_qp(qp);
	struct close_message *m;

	if (loop_is_current(qp->loop) && t->phase != PHASE_TRANSIT) {
		shut(t, "%s", reason);
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

static bool must_progress(const struct tcp_tgt *t)
{
	return t->s.full || t->fetching || tcp_sock_half(&t->s);
}

static void mark_progress(struct tcp_tgt *t)
{
	t->rx_mark = stat_get(&t->qp.rx_bytes);
	t->tx_mark = stat_get(&t->qp.tx_bytes);
	t->fetch_mark = t->fetched;
	loop_timer_arm(&t->timer, t->qp.listener->cfg.stall_timeout);
}

static const char *stalled(const struct tcp_tgt *t)
{
	if (t->s.full && stat_get(&t->qp.tx_bytes) == t->tx_mark)
		return "the host does not read";
	if (tcp_sock_half(&t->s) && stat_get(&t->qp.rx_bytes) == t->rx_mark)
		return "the host sent part of a PDU and no more";
	if (t->fetching && t->fetched == t->fetch_mark && stat_get(&t->qp.rx_bytes) == t->rx_mark)
		return "the host does not send the data it was asked for";
	return NULL;
}

static void on_timer(void *arg)
{
	struct tcp_tgt *t = arg;
	const char *why;

	if (t->phase >= PHASE_CLOSING)
		return;
	if (!t->qp.connected) {
		shut(t, "no Connect in time");
		return;
	}
	if (!must_progress(t))
		return;
	why = stalled(t);
	if (why)
		shut(t, "%s", why);
	else
		mark_progress(t);
}

/* ---- output ---- */

static void queue_response(struct tcp_tgt *t, struct request *req)
{
	struct tgt_qpair *qp = &t->qp;
	struct nvme_cqe *cqe = &req->cqe;

	/* An entry counts as consumed when its command is answered: then a host that keeps to SQ
	 * flow control never has more than sq_size - 1 commands out. */
	if (qp->sq_size && !qp->sqflow_disabled)
		qp->sqhd = (uint16_t)((qp->sqhd + 1) % qp->sq_size);
	cqe->cid = htole16(req->cid);
	cqe->sqid = htole16(qp->qid);
	cqe->sqhd = htole16(qp->sqflow_disabled ? 0 : qp->sqhd);
	/* Base 2.0, 6.3: FFFFh tells that the host's wish for no SQ flow control is granted. */
	if (qp->sqflow_disabled && req->sqe.opcode == NVME_OPC_FABRICS &&
	    nvme_sqe_fctype(&req->sqe) == nvme_fabrics_type_connect)
		cqe->sqhd = htole16(0xffff);
	req->tresp.req = req;
	req->tresp.kind = TX_RESP | TCP_TX_SEALED;
	req->tresp.len = 0;
	req->tresp.trail_len = 0;
	req->tresp.hdr_len = (uint8_t)tcp_put_resp(req->tresp.hdr, &t->s.wire, cqe);
	tcp_tx_queue(&t->s, &req->tresp);
}

static bool is_success(const struct request *req)
{
	return nvme_cqe_status(&req->cqe) == 0;
}

/* Whether C2HData with SUCCESS may stand for the response capsule. */
static bool implicit_response(const struct tcp_tgt *t, const struct request *req)
{
	return t->qp.sqflow_disabled && is_success(req) && !req->cqe.result64;
}

/* Read data [sent, end) is to leave; the header is written when it does (seal()). */
static void queue_data(struct tcp_tgt *t, struct request *req, uint32_t end)
{
	struct tx *tx = &req->ttx;

	tx->req = req;
	tx->kind = TX_DATA;
	tx->hdr_len = (uint8_t)tcp_data_head(&t->s.wire, TCP_DATA_LEN);
	tx->trail_len = t->s.wire.ddgst ? TCP_DIGEST_LEN : 0;
	tx->off = req->sent;
	tx->len = end - req->sent;
	req->sent = end;
	tcp_tx_queue(&t->s, tx);
}

/* Makes a queued run that has not begun to leave reach up to @end. */
static void extend_data(struct tcp_tgt *t, struct request *req, uint32_t end)
{
	struct tx *tx = &req->ttx;

	t->s.tx_pending += end - req->sent;
	tx->len += end - req->sent;
	tx->kind &= (uint8_t)~TCP_TX_SEALED;
	req->sent = end;
}

static void seal(struct tcp_sock *s, struct tx *tx)
{
	struct tcp_tgt *t = of_sock(s);
	struct request *req = tx->req;
	uint8_t flags = 0;

	if (req->tgt_state == TGT_REQ_COMPLETING && tx->off + tx->len == req->data_len) {
		flags = TCP_F_LAST;
		if (implicit_response(t, req))
			flags |= TCP_F_SUCCESS;
	}
	tcp_put_data(tx->hdr, &s->wire, TCP_C2H_DATA, flags, req->cid, 0, tx->off, tx->len);
	if (tx->trail_len) {
		uint32_t crc = htole32(request_crc32c(req, tx->off, tx->len));

		memcpy(tx->trail, &crc, sizeof(crc));
	}
}

/* The rest of a successful read, then the response unless the data can stand for it. */
static void queue_last_data(struct tcp_tgt *t, struct request *req)
{
	if (req->ttx.queued)
		extend_data(t, req, req->data_len);
	else
		queue_data(t, req, req->data_len);
	if (!implicit_response(t, req))
		queue_response(t, req);
}

/* The request is in t->outgoing with its status set. */
static void answer(struct tcp_tgt *t, struct request *req)
{
	req->tgt_state = TGT_REQ_COMPLETING;
	if (req->dir == NVME_DIR_C2H && req->data_len > req->sent && is_success(req)) {
		assert(segments(req) <= req->nsegs);
		/* A piece that is half out must be out first: then sent() goes on. */
		if (!req->ttx.done || !req->ttx.queued)
			queue_last_data(t, req);
		return;
	}
	tcp_tx_unqueue(&t->s, &req->ttx);
	queue_response(t, req);
}

static void sent(struct tcp_sock *s, struct tx *tx)
{
	struct tcp_tgt *t = of_sock(s);
	struct request *req = tx->req;

	switch (tx->kind & ~TCP_TX_SEALED) {
	case TX_DATA:
		if (req->tgt_state != TGT_REQ_COMPLETING || !is_success(req))
			break;
		if (req->sent < req->data_len)
			queue_last_data(t, req);
		else if (implicit_response(t, req))
			release(t, req);
		break;
	case TX_RESP:
		release(t, req);
		if (t->phase == PHASE_MOVING) {
			t->leave = true;
			loop_hook_queue(t->qp.loop, &t->event);
		}
		break;
	default:
		break;
	}
}

static void tgt_progress_data(struct request *req)
{
	struct tcp_tgt *t = of_qp(req->tgt);
	uint32_t fresh;

	if (t->phase != PHASE_UP || req->tgt_state != TGT_REQ_EXECUTING || req->filled <= req->sent)
		return;
	/* With all of it here the response is near: the last PDU waits for it, to tell the end. */
	if (req->filled >= req->data_len)
		return;
	fresh = req->filled - req->sent;
	if (req->ttx.queued) {
		if (!req->ttx.done)
			extend_data(t, req, req->filled);
		return;
	}
	if (fresh >= CUT_THROUGH_BUSY || (fresh >= CUT_THROUGH && !t->s.tx_pending))
		queue_data(t, req, req->filled);
}

/* ---- fetching the host's data ---- */

static void send_r2t(struct tcp_tgt *t, struct request *req)
{
	uint16_t tag = cid_map_new_tag(&t->cids, req->tgt_slot);
	struct tx *tx = &req->ttx;

	req->tgt_state = TGT_REQ_FETCHING;
	t->fetching++;
	tx->req = req;
	tx->kind = TX_R2T | TCP_TX_SEALED;
	tx->len = 0;
	tx->trail_len = 0;
	tx->hdr_len = (uint8_t)tcp_put_r2t(tx->hdr, &t->s.wire, req->cid, tag, 0, req->data_len);
	tcp_tx_queue(&t->s, tx);
}

/* Segments for the oldest parked fetch: true, or false with a waiter queued. */
static bool fetch_segments(struct tcp_tgt *t, struct request *req)
{
	struct pool *pool = loop_pool(t->qp.loop);

	if (!t->quota_held) {
		if (!fetch_quota_take(t->quota, segments(req), &t->quota_waiter))
			return false;
		t->quota_held = segments(req);
	}
	if ((!t->fetch_turn && pool_has_waiters(pool)) || request_alloc_data(req, req->data_len)) {
		pool_wait(pool, &t->fetch_waiter);
		return false;
	}
	/* Now the request holds it, until it leaves TGT_REQ_FETCHING. */
	t->quota_held = 0;
	return true;
}

static void run_parked(struct tcp_tgt *t)
{
	struct request *req;

	if (t->phase >= PHASE_CLOSING)
		return;
	TAILQ_FOREACH(req, &t->qp.requests, tgt_link) {
		if (!t->parked)
			break;
		if (req->tgt_state != TGT_REQ_WAIT_BUFFERS)
			continue;
		if (!fetch_segments(t, req))
			break;
		t->parked--;
		send_r2t(t, req);
	}
}

static void on_fetch_turn(void *arg)
{
	struct tcp_tgt *t = arg;

	t->fetch_turn = true;
	run_parked(t);
	t->fetch_turn = false;
}

static void on_quota(void *arg)
{
	run_parked(arg);
}

static void tgt_fetch_data(struct request *req)
{
	struct tcp_tgt *t = of_qp(req->tgt);

	if (t->phase >= PHASE_CLOSING)
		return;
	if (req->filled == req->data_len) {
		t->qp.listener->ops->data_ready(&t->qp, req);
		return;
	}
	req->tgt_state = TGT_REQ_WAIT_BUFFERS;
	t->parked++;
	if (t->parked == 1)
		run_parked(t);
}

/* The gateway answers a fetch that has no buffers yet. */
static void unpark(struct tcp_tgt *t)
{
	t->parked--;
	/* What was taken for the oldest may be too little for the next. */
	pool_wait_cancel(loop_pool(t->qp.loop), &t->fetch_waiter);
	fetch_quota_cancel(t->quota, &t->quota_waiter);
	if (t->quota_held)
		fetch_quota_put(t->quota, t->quota_held);
	t->quota_held = 0;
}

static void fetch_end(struct tcp_tgt *t, struct request *req)
{
	t->fetching--;
	fetch_quota_put(t->quota, segments(req));
}

/* ---- answers ---- */

static void tgt_complete_request(struct request *req)
{
	struct tcp_tgt *t = of_qp(req->tgt);
	bool was_parked = req->tgt_state == TGT_REQ_WAIT_BUFFERS;

	if (t->phase >= PHASE_CLOSING) {
		/* The socket may still hold part of it: do_close() has the rest. */
		if (t->phase == PHASE_CLOSING && t->s.fd >= 0) {
			if (was_parked)
				unpark(t);
			if (req->tgt_state == TGT_REQ_FETCHING)
				fetch_end(t, req);
			TAILQ_REMOVE(&t->qp.requests, req, tgt_link);
			req->tgt_state = TGT_REQ_COMPLETING;
			TAILQ_INSERT_TAIL(&t->outgoing, req, tgt_link);
			return;
		}
		release(t, req);
		return;
	}
	TAILQ_REMOVE(&t->qp.requests, req, tgt_link);
	TAILQ_INSERT_TAIL(&t->outgoing, req, tgt_link);
	if (was_parked)
		unpark(t);
	if (req->tgt_state == TGT_REQ_FETCHING) {
		if (!tcp_tx_unqueue(&t->s, &req->ttx)) {
			req->tgt_state = TGT_REQ_DISCARDING;
			return;
		}
		fetch_end(t, req);
	}
	answer(t, req);
	if (was_parked)
		run_parked(t);
}

static void tgt_complete_and_move(struct request *req, struct loop *loop)
{
	struct tcp_tgt *t = of_qp(req->tgt);

	if (t->phase == PHASE_UP) {
		t->phase = PHASE_MOVING;
		t->next = loop;
		tcp_sock_pause(&t->s, true);
	}
	tgt_complete_request(req);
}

/* ---- commands ---- */

/* The command gets a status from here; the gateway never sees it. */
static void refuse(struct tcp_tgt *t, struct request *req, uint16_t status)
{
	nvme_cqe_set_status(&req->cqe, status);
	TAILQ_INSERT_TAIL(&t->outgoing, req, tgt_link);
	answer(t, req);
}

static void deliver(struct tcp_tgt *t, struct request *req)
{
	req->tgt_state = TGT_REQ_EXECUTING;
	TAILQ_INSERT_TAIL(&t->qp.requests, req, tgt_link);
	t->qp.listener->ops->command(&t->qp, req);
}

/* TCP transport 1.0, 3.4: 8 KiB for admin and Fabrics commands, else what IOCCSZ says. */
static uint32_t capsule_data_max(const struct tcp_tgt *t, const struct nvme_sqe *sqe)
{
	if (!t->qp.qid || sqe->opcode == NVME_OPC_FABRICS)
		return TCP_ADMIN_ICD;
	return t->qp.listener->cfg.in_capsule_data;
}

static enum tcp_rx_verdict block(struct tcp_tgt *t)
{
	pool_wait(loop_pool(t->qp.loop), &t->rx_waiter);
	return TCP_RX_BLOCK;
}

/* Judges the command's SGL and CID: 0, or the status that it gets. */
static uint16_t check_command(struct tcp_tgt *t, struct request *req, uint32_t icd_len)
{
	uint16_t status = tcp_sgl_check(&req->sqe, icd_len, &req->data_len);
	int slot;

	req->tgt_slot = CID_MAP_NONE;
	if (!status && req->data_len > REQUEST_MAX_DATA)
		status = NVME_ST_INVALID_FIELD;
	slot = cid_map_add(&t->cids, req->cid, req);
	if (slot == -EEXIST)
		return NVME_STATUS(0, NVME_SC_CMDID_CONFLICT) | NVME_DNR;
	if (slot < 0)
		return NVME_STATUS(0, NVME_SC_INTERNAL);
	req->tgt_slot = (uint16_t)slot;
	return status;
}

static enum tcp_rx_verdict on_capsule(struct tcp_tgt *t, const struct tcp_pdu *pdu)
{
	struct tgt_qpair *qp = &t->qp;
	const struct nvme_sqe *sqe = tcp_pdu_entry(pdu);
	struct request *req;
	struct tcp_err err;
	uint16_t status;

	if (pdu->data_len > capsule_data_max(t, sqe)) {
		tcp_error(&err, TCP_FES_LIMIT, 0, "more in-capsule data than the queue takes");
		pdu_violation(t, pdu, &err);
		return TCP_RX_GO;
	}
	if (qp->inflight >= (qp->connected ? qp->sq_size - 1u : 1u)) {
		shut(t, "the host sent more commands than the queue holds (%u)", qp->inflight);
		return TCP_RX_GO;
	}
	req = pool_get(loop_pool(qp->loop));
	if (!req)
		return block(t);
	memcpy(&req->sqe, sqe, sizeof(*sqe));
	if (pdu->data_len && request_alloc_data(req, pdu->data_len)) {
		/* Wait first: giving the slot back must not look like what we wait for. */
		block(t);
		pool_put(req);
		return TCP_RX_BLOCK;
	}
	qp->inflight++;
	stat_add(&qp->commands, 1);
	req->tgt = qp;
	req->tgt_state = TGT_REQ_RECEIVING_CAPSULE;
	req->cid = le16toh(req->sqe.cid);
	req->dir = (uint8_t)nvme_sqe_dir(&req->sqe);
	req->arrived = loop_now(qp->loop);
	status = check_command(t, req, pdu->data_len);
	if (pdu->data_len) {
		nvme_cqe_set_status(&req->cqe, status);
		t->rx = req;
		if (!status)
			tcp_rx_into(&t->s, req, 0);
	} else if (status) {
		refuse(t, req, status);
	} else {
		deliver(t, req);
	}
	return TCP_RX_GO;
}

static void on_capsule_data(struct tcp_tgt *t, struct request *req, bool good)
{
	uint16_t status = nvme_cqe_status(&req->cqe);

	/* TCP transport 1.0, 3.3.1.1: a damaged payload costs the command, not the connection. */
	if (!status && !good)
		status = NVME_STATUS(0, NVME_SC_TRAN_TPORT_ERROR);
	if (status) {
		refuse(t, req, status);
		return;
	}
	req->filled = req->data_len;
	deliver(t, req);
}

static void on_h2c_data(struct tcp_tgt *t, const struct tcp_pdu *pdu)
{
	struct cid_slot *slot = cid_map_by_tag(&t->cids, pdu->ttag);
	struct request *req = slot ? slot->req : NULL;
	struct tcp_xfer x;
	struct tcp_err err;

	if (req && req->tgt_state != TGT_REQ_FETCHING && req->tgt_state != TGT_REQ_DISCARDING)
		req = NULL;
	if (req && req->ttx.queued) /* the R2T has not left: the tag was guessed */
		req = NULL;
	if (req)
		x = (struct tcp_xfer){req->cid, req->filled, req->data_len};
	if (tcp_check_h2c_data(pdu, req ? &x : NULL, &err)) {
		pdu_violation(t, pdu, &err);
		return;
	}
	t->rx = req;
	tcp_rx_into(&t->s, req, pdu->off);
}

static void on_fetched(struct tcp_tgt *t, struct request *req, uint32_t len, bool good)
{
	const struct tgt_ops *ops = t->qp.listener->ops;
	struct cid_slot *slot = &t->cids.slots[req->tgt_slot];
	uint16_t status = NVME_STATUS(0, NVME_SC_TRAN_TPORT_ERROR);
	bool answered = req->tgt_state == TGT_REQ_DISCARDING;

	t->fetched++;
	req->filled += len;
	slot->bad_data |= !good;
	if (req->filled < req->data_len)
		return;
	fetch_end(t, req);
	if (answered) {
		answer(t, req);
		return;
	}
	req->tgt_state = TGT_REQ_EXECUTING;
	if (!slot->bad_data) {
		ops->data_ready(&t->qp, req);
	} else if (ops->data_failed) {
		ops->data_failed(&t->qp, req, status);
	} else {
		nvme_cqe_set_status(&req->cqe, status);
		tgt_complete_request(req);
	}
}

/* ---- the engine's callbacks ---- */

static void on_icreq(struct tcp_tgt *t, const struct tcp_pdu *pdu)
{
	const struct tgt_config *cfg = &t->qp.listener->cfg;
	struct tx *tx = &t->ictx;

	t->qp.hdr_digest = pdu->ic.hdgst && cfg->hdr_digest;
	t->qp.data_digest = pdu->ic.ddgst && cfg->data_digest;
	t->s.wire = (struct tcp_wire){t->qp.hdr_digest, t->qp.data_digest, pdu->ic.pda};
	t->s.rules.ic_done = true;
	t->s.rules.hdgst = t->qp.hdr_digest;
	t->s.rules.ddgst = t->qp.data_digest;
	t->s.rules.pda = cfg->cpda;
	t->s.rules.max_data = cfg->max_h2c_data;
	tx->kind = TX_ICRESP | TCP_TX_SEALED;
	tx->hdr_len = (uint8_t)tcp_put_ic(tx->hdr, TCP_ICRESP, cfg->cpda, t->qp.hdr_digest,
					  t->qp.data_digest, cfg->max_h2c_data);
	tcp_tx_queue(&t->s, tx);
	t->phase = PHASE_UP;
	t->opened = true;
	t->qp.listener->ops->opened(&t->qp);
}

static enum tcp_rx_verdict on_pdu(struct tcp_sock *s, const struct tcp_pdu *pdu)
{
	struct tcp_tgt *t = of_sock(s);
	struct tcp_err err;

	if (pdu->type == TCP_H2C_TERM) {
		shut(t, "the host ended the connection: %s (offset or value %u)",
		     tcp_fes_name(TCP_H2C_TERM, pdu->term.fes), pdu->term.fei);
		return TCP_RX_GO;
	}
	if (t->ictx.queued || t->phase == PHASE_MOVING) {
		tcp_error(&err, TCP_FES_SEQUENCE, 0,
			  t->ictx.queued ? "PDU before our ICResp"
					 : "PDU before the Connect's response");
		pdu_violation(t, pdu, &err);
		return TCP_RX_GO;
	}
	switch (pdu->type) {
	case TCP_ICREQ:
		on_icreq(t, pdu);
		break;
	case TCP_CAPSULE_CMD:
		return on_capsule(t, pdu);
	default: /* the codec lets no other type pass */
		on_h2c_data(t, pdu);
		break;
	}
	return TCP_RX_GO;
}

static void on_data(struct tcp_sock *s, bool good)
{
	struct tcp_tgt *t = of_sock(s);
	struct request *req = t->rx;

	t->rx = NULL;
	if (!req)
		return;
	if (req->tgt_state == TGT_REQ_RECEIVING_CAPSULE)
		on_capsule_data(t, req, good);
	else
		on_fetched(t, req, s->rx_off - s->rx_start, good);
}

static bool scarce(struct tcp_sock *s)
{
	const struct pool *pool = loop_pool(s->loop);

	return pool_free_requests(pool) < SCARCE || pool_free_segments(pool) < SCARCE;
}

static void turn(struct tcp_sock *s)
{
	struct tcp_tgt *t = of_sock(s);

	if (t->phase == PHASE_UP) {
		size_t max =
			(size_t)pool_total_segments(loop_pool(s->loop)) * SEG_SIZE / BACKLOG_SHARE;

		if (max < BACKLOG_MIN)
			max = BACKLOG_MIN;
		tcp_sock_pause(s, s->tx_pending > (s->paused ? max / 2 : max));
	}
	if (!t->timer.armed && t->qp.listener->cfg.stall_timeout && must_progress(t))
		mark_progress(t);
}

static void on_bad(struct tcp_sock *s, const struct tcp_err *err, const uint8_t *head, size_t len)
{
	violation(of_sock(s), err, head, len);
}

static void on_lost(struct tcp_sock *s, int error)
{
	shut(of_sock(s), "%s", error ? strerror(-error) : "closed by the host");
}

static const struct tcp_sock_ops sock_ops = {
	.pdu = on_pdu,
	.scarce = scarce,
	.data = on_data,
	.seal = seal,
	.sent = sent,
	.turn = turn,
	.bad = on_bad,
	.lost = on_lost,
};

/* ---- from loop to loop ---- */

static void on_rx_room(void *arg)
{
	struct tcp_tgt *t = arg;

	tcp_sock_resume(&t->s);
}

static int join_loop(struct tcp_tgt *t, struct loop *loop)
{
	t->quota = fetch_quota_get(loop);
	if (!t->quota)
		return -ENOMEM;
	loop_timer_init(&t->timer, loop, on_timer, t);
	t->rx_waiter = (struct pool_waiter){.fn = on_rx_room, .arg = t};
	t->fetch_waiter = (struct pool_waiter){.fn = on_fetch_turn, .arg = t};
	t->quota_waiter = (struct fetch_waiter){.fn = on_quota, .arg = t};
	return 0;
}

/* The first thing on the new loop. */
static void arrive(void *arg)
{
	struct tcp_tgt *t = arg;

	tcp_sock_attach(&t->s, t->qp.loop);
	t->phase = PHASE_UP;
	if (join_loop(t, t->qp.loop)) {
		log_err("out of memory: a connection cannot be served");
		abort();
	}
	t->s.paused = false;
	tcp_sock_start(&t->s);
	t->qp.listener->ops->moved(&t->qp);
}

static void depart(struct tcp_tgt *t)
{
	if (t->s.hdr_len || t->qp.inflight) {
		shut(t, "the host did not wait for the Connect's response");
		return;
	}
	leave_loop(t);
	fetch_quota_release(t->quota);
	t->quota = NULL;
	tcp_sock_detach(&t->s);
	t->phase = PHASE_TRANSIT;
	t->qp.loop = t->next;
	loop_post(t->next, arrive, t);
}

static void on_hook(void *arg)
{
	struct tcp_tgt *t = arg;

	if (t->leave && t->phase == PHASE_MOVING) {
		t->leave = false;
		depart(t);
	}
	if (t->phase == PHASE_CLOSING)
		do_close(t);
}

/* ---- listeners ---- */

static void connection_new(struct tgt_listener *l, int fd, const struct sockaddr_storage *peer,
			   socklen_t peer_len)
{
	struct tcp_tgt *t = calloc(1, sizeof(*t));

	if (!t || join_loop(t, l->loop)) {
		close(fd);
		free(t);
		return;
	}
	t->qp.loop = l->loop;
	t->qp.tr = &tgt_tcp;
	t->qp.listener = l;
	t->qp.peer.ss = *peer;
	t->qp.peer.len = peer_len;
	t->qp.local.len = sizeof(t->qp.local.ss);
	getsockname(fd, (struct sockaddr *)&t->qp.local.ss, &t->qp.local.len);
	TAILQ_INIT(&t->qp.requests);
	TAILQ_INIT(&t->outgoing);
	cid_map_init(&t->cids);
	loop_hook_init(&t->event, on_hook, t);
	atomic_init(&t->refs, 1);
	l->connections++;
	tcp_sock_options(fd);
	tcp_sock_init(&t->s, l->loop, fd, &sock_ops, &t->qp.rx_bytes, &t->qp.tx_bytes);
	t->s.rules.target = true;
	tcp_sock_start(&t->s);
	if (l->cfg.handshake_timeout)
		loop_timer_arm(&t->timer, l->cfg.handshake_timeout);
}

static void on_retry(void *arg)
{
	struct tgt_listener *l = arg;

	loop_fd_want(&l->watch, LOOP_READ);
}

static void on_accept(void *arg, unsigned events)
{
	struct tgt_listener *l = arg;

	for (unsigned i = 0; i < ACCEPT_TURN; i++) {
		struct sockaddr_storage peer = {0};
		socklen_t len = sizeof(peer);
		int fd = accept4(l->fd, (struct sockaddr *)&peer, &len,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			if (l->connections < l->cfg.max_connections) {
				connection_new(l, fd, &peer, len);
				continue;
			}
			close(fd);
			log_ratelimited(LOG_WARNING, "more than %u connections: one more refused",
					l->cfg.max_connections);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			/* The backlog stays readable: look away rather than spin. */
			log_ratelimited(LOG_ERR, "cannot accept a connection: %s", strerror(errno));
			loop_fd_want(&l->watch, 0);
			loop_timer_arm(&l->retry, ACCEPT_RETRY);
		}
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

static struct tgt_listener *tgt_listen(struct loop *control, const struct addr *addr,
				       const struct tgt_config *cfg, const struct tgt_ops *ops,
				       void *arg)
{
	struct tgt_listener *l = calloc(1, sizeof(*l));
	int one = 1, e;

	if (!l)
		return NULL;
	l->cfg = *cfg;
	l->ops = ops;
	l->arg = arg;
	l->loop = control;
	l->fd = socket(addr->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		goto fail;
	setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* So that 0.0.0.0 and [::] can be listened on with the same port. */
	if (addr->ss.ss_family == AF_INET6)
		setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(l->fd, (const struct sockaddr *)&addr->ss, addr->len) || listen(l->fd, 1024))
		goto fail;
	l->addr.len = sizeof(l->addr.ss);
	if (getsockname(l->fd, (struct sockaddr *)&l->addr.ss, &l->addr.len))
		goto fail;
	loop_timer_init(&l->retry, control, on_retry, l);
	loop_fd_init(&l->watch, control, l->fd, on_accept, l);
	loop_fd_want(&l->watch, LOOP_READ);
	return l;
fail:
	e = errno;
	if (l->fd >= 0)
		close(l->fd);
	free(l);
	errno = e;
	return NULL;
}

static const struct addr *tgt_listener_addr(const struct tgt_listener *l)
{
	return &l->addr;
}

static void *tgt_listener_arg(const struct tgt_listener *l)
{
	return l->arg;
}

static void tgt_unlisten(struct tgt_listener *l)
{
	loop_timer_fini(&l->retry);
	loop_fd_fini(&l->watch);
	close(l->fd);
	l->gone = true;
	if (!l->connections)
		free(l);
}

const struct tgt_transport tgt_tcp = {
	.name = "tcp",
	.trtype = NVMF_TRTYPE_TCP,
	.listen = tgt_listen,
	.listener_addr = tgt_listener_addr,
	.listener_arg = tgt_listener_arg,
	.unlisten = tgt_unlisten,
	.fetch = tgt_fetch_data,
	.progress = tgt_progress_data,
	.complete = tgt_complete_request,
	.complete_and_move = tgt_complete_and_move,
	.close = tgt_close,
};
