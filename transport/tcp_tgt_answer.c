/* SPDX-License-Identifier: Apache-2.0 */
/* NVMe/TCP as target: what goes to the host for a command, read data and responses. */
#include "transport/tcp_target.h"

#include <assert.h>
#include <string.h>

/* Read data leaves before all of it is here in pieces no smaller than this, or, when the socket is
 * busy anyway and nothing is won in latency, than the second. */
#define CUT_THROUGH	 (32u * 1024)
#define CUT_THROUGH_BUSY (256u * 1024)

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

/* Read data [sent, end) is to leave; the header is written when it does (tcp_tgt_seal()). */
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

void tcp_tgt_seal(struct tcp_sock *s, struct tx *tx)
{
	struct tcp_tgt *t = tcp_tgt_of_sock(s);
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

void tcp_tgt_answer(struct tcp_tgt *t, struct request *req)
{
	req->tgt_state = TGT_REQ_COMPLETING;
	if (req->dir == NVME_DIR_C2H && req->data_len > req->sent && is_success(req)) {
		assert(tcp_tgt_segments(req) <= req->nsegs);
		/* A piece that is half out must be out first: then tcp_tgt_sent() goes on. */
		if (!req->ttx.done || !req->ttx.queued)
			queue_last_data(t, req);
		return;
	}
	tcp_tx_unqueue(&t->s, &req->ttx);
	queue_response(t, req);
}

void tcp_tgt_sent(struct tcp_sock *s, struct tx *tx)
{
	struct tcp_tgt *t = tcp_tgt_of_sock(s);
	struct request *req = tx->req;

	switch (tx->kind & ~TCP_TX_SEALED) {
	case TX_DATA:
		if (req->tgt_state != TGT_REQ_COMPLETING || !is_success(req))
			break;
		if (req->sent < req->data_len)
			queue_last_data(t, req);
		else if (implicit_response(t, req))
			tcp_tgt_release(t, req);
		break;
	case TX_RESP:
		tcp_tgt_release(t, req);
		if (t->phase == PHASE_MOVING) {
			t->leave = true;
			loop_hook_queue(t->qp.loop, &t->event);
		}
		break;
	default:
		break;
	}
}

/* What is behind it may come from another attempt. */
static uint32_t whole_blocks(const struct request *req)
{
	return req->block ? req->filled - req->filled % req->block : req->filled;
}

void tcp_tgt_progress(struct request *req)
{
	struct tcp_tgt *t = tcp_tgt_of_qp(req->tgt);
	uint32_t end = whole_blocks(req), fresh;

	if (t->phase != PHASE_UP || req->tgt_state != TGT_REQ_EXECUTING || end <= req->sent)
		return;
	/* With all of it here the response is near: the last PDU waits for it, to tell the end. */
	if (req->filled >= req->data_len)
		return;
	fresh = end - req->sent;
	if (req->ttx.queued) {
		if (!req->ttx.done)
			extend_data(t, req, end);
		return;
	}
	if (fresh >= CUT_THROUGH_BUSY || (fresh >= CUT_THROUGH && !t->s.tx_pending))
		queue_data(t, req, end);
}

bool tcp_tgt_leaving(const struct request *req)
{
	return req->ttx.queued;
}

void tcp_tgt_complete(struct request *req)
{
	struct tcp_tgt *t = tcp_tgt_of_qp(req->tgt);
	bool was_parked = req->tgt_state == TGT_REQ_WAIT_BUFFERS;

	if (t->phase >= PHASE_CLOSING) {
		/* The socket may still hold part of it: tcp_tgt_do_close() has the rest. */
		if (t->phase == PHASE_CLOSING && t->s.fd >= 0) {
			if (was_parked)
				tcp_tgt_unpark(t, req);
			if (req->tgt_state == TGT_REQ_FETCHING)
				tcp_tgt_fetch_end(t, req);
			TAILQ_REMOVE(&t->qp.requests, req, tgt_link);
			req->tgt_state = TGT_REQ_COMPLETING;
			TAILQ_INSERT_TAIL(&t->outgoing, req, tgt_link);
			return;
		}
		tcp_tgt_release(t, req);
		return;
	}
	TAILQ_REMOVE(&t->qp.requests, req, tgt_link);
	TAILQ_INSERT_TAIL(&t->outgoing, req, tgt_link);
	if (was_parked)
		tcp_tgt_unpark(t, req);
	if (req->tgt_state == TGT_REQ_FETCHING) {
		if (!tcp_tx_unqueue(&t->s, &req->ttx)) {
			req->tgt_state = TGT_REQ_DISCARDING;
			return;
		}
		tcp_tgt_fetch_end(t, req);
	}
	tcp_tgt_answer(t, req);
	if (was_parked)
		tcp_tgt_run_parked(t);
}
