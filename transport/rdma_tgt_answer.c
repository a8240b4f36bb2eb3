/* SPDX-License-Identifier: Apache-2.0 */
/* NVMe/RDMA as target: the host's data on the way in, and what the gateway answers. */
#include <assert.h>

#include "transport/rdma_target.h"

/* ---- fetching ---- */

static bool fetch_segments(struct rdma_tgt *t, struct request *req)
{
	if (!request_alloc_data_in_turn(req, req->data_len))
		return true;
	pool_wait(loop_pool(t->qp.loop), &t->fetch_waiter);
	return false;
}

static void read_data(struct rdma_tgt *t, struct request *req)
{
	req->tgt_state = TGT_REQ_FETCHING;
	rdma_tgt_queue(t, req, RDMA_TX_READ);
}

void rdma_tgt_run_parked(void *arg)
{
	struct rdma_tgt *t = arg;
	struct request *req;

	if (t->phase >= RDMA_TGT_CLOSING)
		return;
	TAILQ_FOREACH(req, &t->qp.requests, tgt_link) {
		if (!t->parked)
			break;
		if (req->tgt_state != TGT_REQ_WAIT_BUFFERS)
			continue;
		if (!fetch_segments(t, req))
			break;
		t->parked--;
		read_data(t, req);
	}
}

/*
 * Unlike a fetch over TCP this ends without the host's doing, or the connection does: so it needs
 * no quota of the pool.
 */
void rdma_tgt_fetch(struct request *req)
{
	struct rdma_tgt *t = rdma_tgt_of_qp(req->tgt);

	if (req->filled == req->data_len) {
		t->qp.listener->ops->data_ready(&t->qp, req);
		return;
	}
	/* Behind others of this queue, or in vain: rdma_tgt_do_close() gives it back. */
	if (t->parked || t->phase >= RDMA_TGT_CLOSING || !fetch_segments(t, req)) {
		req->tgt_state = TGT_REQ_WAIT_BUFFERS;
		t->parked++;
	} else {
		read_data(t, req);
	}
}

void rdma_tgt_unpark(struct rdma_tgt *t)
{
	t->parked--;
	/* What was waited for by the oldest may be more than the next needs. */
	pool_wait_cancel(loop_pool(t->qp.loop), &t->fetch_waiter);
}

/* ---- answers ---- */

static void fill_response(struct rdma_tgt *t, struct request *req)
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
}

void rdma_tgt_answer(struct rdma_tgt *t, struct request *req)
{
	req->tgt_state = TGT_REQ_COMPLETING;
	fill_response(t, req);
	/* What was to go before it goes with it. */
	rdma_tgt_unqueue(t, req);
	rdma_tgt_queue(t, req, RDMA_TX_ANSWER);
}

void rdma_tgt_progress(struct request *req)
{
	struct rdma_tgt *t = rdma_tgt_of_qp(req->tgt);

	if (t->phase == RDMA_TGT_UP && req->tgt_state == TGT_REQ_EXECUTING && !req->ttx.queued &&
	    rdma_tgt_early_end(req))
		rdma_tgt_queue(t, req, RDMA_TX_DATA);
}

/* The connection is about to close: what the device may still touch is given back after that. */
static void complete_late(struct rdma_tgt *t, struct request *req)
{
	if (t->phase == RDMA_TGT_CLOSED || !t->q.qp) {
		rdma_tgt_release(t, req);
		return;
	}
	if (req->tgt_state == TGT_REQ_WAIT_BUFFERS)
		rdma_tgt_unpark(t);
	TAILQ_REMOVE(&t->qp.requests, req, tgt_link);
	req->tgt_state = TGT_REQ_COMPLETING;
	TAILQ_INSERT_TAIL(&t->outgoing, req, tgt_link);
}

void rdma_tgt_complete(struct request *req)
{
	struct rdma_tgt *t = rdma_tgt_of_qp(req->tgt);
	bool was_parked = req->tgt_state == TGT_REQ_WAIT_BUFFERS;

	if (t->phase >= RDMA_TGT_CLOSING) {
		complete_late(t, req);
		return;
	}
	TAILQ_REMOVE(&t->qp.requests, req, tgt_link);
	TAILQ_INSERT_TAIL(&t->outgoing, req, tgt_link);
	if (was_parked)
		rdma_tgt_unpark(t);
	if (req->tgt_state == TGT_REQ_FETCHING && !rdma_tgt_unqueue(t, req)) {
		req->tgt_state = RDMA_REQ_DISCARDING;
		return;
	}
	rdma_tgt_answer(t, req);
	if (was_parked)
		rdma_tgt_run_parked(t);
}
