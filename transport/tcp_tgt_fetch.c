/* SPDX-License-Identifier: Apache-2.0 */
/* NVMe/TCP as target: fetching the host's data, R2T out and H2CData in. */
#include "transport/tcp_target.h"

static void send_r2t(struct tcp_tgt *t, struct request *req)
{
	uint16_t tag = cid_map_new_tag(&t->cids, req->tgt_slot);
	struct tx *tx = &req->ttx;

	req->tgt_state = TGT_REQ_FETCHING;
	t->fetching++;
	t->owed += req->data_len;
	tx->req = req;
	tx->kind = TX_R2T | TCP_TX_SEALED;
	tx->len = 0;
	tx->trail_len = 0;
	tx->hdr_len = (uint8_t)tcp_put_r2t(tx->hdr, &t->s.wire, req->cid, tag, 0, req->data_len);
	tcp_tx_queue(&t->s, tx);
}

/* Segments for the fetch whose turn it is: true, or false with a waiter queued. Then it is to be
 * the first of the parked. */
static bool fetch_segments(struct tcp_tgt *t, struct request *req)
{
	if (!t->quota_held &&
	    !fetch_quota_take(t->quota, FETCH_SEGMENTS, tcp_tgt_segments(req), &t->quota_user))
		return false;
	t->quota_held = true;
	if (request_alloc_data_in_turn(req, req->data_len)) {
		pool_wait(loop_pool(t->qp.loop), &t->fetch_waiter);
		return false;
	}
	/* Now the request holds it, until it leaves TGT_REQ_FETCHING. */
	t->quota_held = false;
	return true;
}

static void park(struct tcp_tgt *t, struct request *req)
{
	req->tgt_state = TGT_REQ_WAIT_BUFFERS;
	TAILQ_INSERT_TAIL(&t->parked, req, link);
}

void tcp_tgt_run_parked(struct tcp_tgt *t)
{
	struct request *req;

	if (t->phase >= PHASE_CLOSING)
		return;
	while ((req = TAILQ_FIRST(&t->parked)) && fetch_segments(t, req)) {
		TAILQ_REMOVE(&t->parked, req, link);
		send_r2t(t, req);
	}
}

void tcp_tgt_on_fetch_room(void *arg)
{
	tcp_tgt_run_parked(arg);
}

void tcp_tgt_fetch(struct request *req)
{
	struct tcp_tgt *t = tcp_tgt_of_qp(req->tgt);

	if (req->filled == req->data_len) {
		t->qp.listener->ops->data_ready(&t->qp, req);
		return;
	}
	/* Behind others of this queue, or in vain: tcp_tgt_do_close() gives it back. */
	if (!TAILQ_EMPTY(&t->parked) || t->phase >= PHASE_CLOSING || !fetch_segments(t, req))
		park(t, req);
	else
		send_r2t(t, req);
}

void tcp_tgt_drop_turn(struct tcp_tgt *t)
{
	pool_wait_cancel(loop_pool(t->qp.loop), &t->fetch_waiter);
	fetch_quota_cancel(t->quota, FETCH_SEGMENTS, &t->quota_user);
	if (t->quota_held)
		fetch_quota_put(t->quota, FETCH_SEGMENTS, tcp_tgt_segments(TAILQ_FIRST(&t->parked)),
				&t->quota_user);
	t->quota_held = false;
}

void tcp_tgt_unpark(struct tcp_tgt *t, struct request *req)
{
	/* What was taken for it may be too little for the next. */
	if (TAILQ_FIRST(&t->parked) == req)
		tcp_tgt_drop_turn(t);
	TAILQ_REMOVE(&t->parked, req, link);
}

void tcp_tgt_fetch_end(struct tcp_tgt *t, struct request *req)
{
	t->fetching--;
	t->owed -= req->data_len - req->filled;
	fetch_quota_put(t->quota, FETCH_SEGMENTS, tcp_tgt_segments(req), &t->quota_user);
	tcp_tgt_has_data(t, req);
}

void tcp_tgt_h2c_data(struct tcp_tgt *t, const struct tcp_pdu *pdu)
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
		tcp_tgt_pdu_violation(t, pdu, &err);
		return;
	}
	t->rx = req;
	tcp_rx_into(&t->s, req, pdu->off);
}

void tcp_tgt_fetched(struct tcp_tgt *t, struct request *req, uint32_t len, bool good)
{
	const struct tgt_ops *ops = t->qp.listener->ops;
	struct cid_slot *slot = &t->cids.slots[req->tgt_slot];
	uint16_t status = NVME_STATUS(0, NVME_SC_TRAN_TPORT_ERROR);
	bool answered = req->tgt_state == TGT_REQ_DISCARDING;

	t->fetched += len;
	t->owed -= len;
	req->filled += len;
	slot->bad_data |= !good;
	if (req->filled < req->data_len)
		return;
	tcp_tgt_fetch_end(t, req);
	if (answered) {
		tcp_tgt_answer(t, req);
		return;
	}
	req->tgt_state = TGT_REQ_EXECUTING;
	if (!slot->bad_data) {
		ops->data_ready(&t->qp, req);
	} else if (ops->data_failed) {
		ops->data_failed(&t->qp, req, status);
	} else {
		nvme_cqe_set_status(&req->cqe, status);
		tcp_tgt_complete(req);
	}
}
