/* SPDX-License-Identifier: Apache-2.0 */
/* Queue pair and completion queue on a loop; see rdma_qp.h. */
#include "transport/rdma_qp.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "transport/log.h"

#define BATCH	 16u
#define PER_TURN 128u /* completions of one queue before others get their turn */

/* When a peer that found no buffer sends again: 0.64 ms (IB 9.7.5.2.8). Left to the connection
 * manager it is 655 ms. */
#define RNR_TIMER 12u

/* ---- completions ---- */

/* False: there are no more at present. */
static bool take_batch(struct rdma_qp *q)
{
	struct ibv_wc wc[BATCH];
	int n = ibv_poll_cq(q->cq, BATCH, wc);

	for (int i = 0; i < n; i++) {
		if (!q->dead)
			q->ops->done(q, &wc[i]);
		else if (q->ops->late)
			q->ops->late(q, &wc[i]);
	}
	return n == (int)BATCH;
}

/* Empties the queue, or goes on in the next turn. */
static void drain(struct rdma_qp *q)
{
	for (unsigned taken = 0; taken < PER_TURN; taken += BATCH)
		if (!take_batch(q) || q->dead)
			return;
	loop_hook_queue(q->loop, &q->more);
}

void rdma_qp_reap(struct rdma_qp *q)
{
	while (q->cq && take_batch(q))
		;
}

static void on_more(void *arg)
{
	drain(arg);
}

static void arm_and_drain(struct rdma_qp *q)
{
	int e = ibv_req_notify_cq(q->cq, 0);

	if (e)
		log_ratelimited(LOG_ERR, "RDMA: cannot arm a completion queue: %s", strerror(e));
	drain(q);
}

static void on_channel(void *arg, unsigned events)
{
	struct rdma_qp *q = arg;
	struct ibv_cq *cq;
	void *context;

	while (!ibv_get_cq_event(q->channel, &cq, &context))
		q->unacked++;
	arm_and_drain(q);
}

/* ---- making one ---- */

static int make_cq(struct rdma_qp *q, unsigned entries)
{
	struct ibv_context *verbs = rdma_dev_verbs(q->dev);
	int flags;

	if (entries > (unsigned)rdma_dev_attr(q->dev)->max_cqe)
		return -EINVAL;
	q->channel = ibv_create_comp_channel(verbs);
	if (!q->channel)
		return -errno;
	flags = fcntl(q->channel->fd, F_GETFL);
	if (flags < 0 || fcntl(q->channel->fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	q->cq = ibv_create_cq(verbs, (int)entries, q, q->channel, 0);
	return q->cq ? 0 : -errno;
}

static int make_qp(struct rdma_qp *q, enum rdma_role role)
{
	const struct ibv_device_attr *attr = rdma_dev_attr(q->dev);
	struct ibv_qp_init_attr init = {
		.qp_context = q,
		.send_cq = q->cq,
		.recv_cq = q->cq,
		.srq = q->size.srq,
		.qp_type = IBV_QPT_RC,
		.cap = {.max_send_wr = q->size.send,
			.max_recv_wr = q->size.srq ? 0 : q->size.recv,
			.max_recv_sge = q->size.srq ? 0 : 1},
	};

	if (q->size.send > (unsigned)attr->max_qp_wr ||
	    (!q->size.srq && q->size.recv > (unsigned)attr->max_qp_wr))
		return -EINVAL;
	if (q->size.sge > (unsigned)attr->max_sge)
		q->size.sge = (unsigned)attr->max_sge;
	init.cap.max_send_sge = q->size.sge;
	init.cap.max_inline_data = q->size.inlined;
	q->qp = ibv_create_qp(rdma_dev_pd(q->dev, role), &init);
	if (!q->qp && q->size.inlined) {
		/* It may not send inline that much, or not at all: that is known by trying. */
		init.cap.max_inline_data = q->size.inlined = 0;
		q->qp = ibv_create_qp(rdma_dev_pd(q->dev, role), &init);
	}
	return q->qp ? 0 : -errno;
}

static int to_state(struct rdma_qp *q, struct rdma_cm_id *id, enum ibv_qp_state state,
		    uint8_t responder, uint8_t reads)
{
	struct ibv_qp_attr attr = {.qp_state = state};
	int mask, e;

	if (rdma_init_qp_attr(id, &attr, &mask))
		return -errno;
	if (state == IBV_QPS_RTR) {
		if (responder != RDMA_MAX_RESP_RES)
			attr.max_dest_rd_atomic = responder;
		attr.min_rnr_timer = RNR_TIMER;
	}
	if (state == IBV_QPS_RTS)
		attr.max_rd_atomic = reads;
	e = ibv_modify_qp(q->qp, &attr, mask);
	return -e;
}

int rdma_qp_init(struct rdma_qp *q, struct loop *loop, struct rdma_dev *dev, struct rdma_cm_id *id,
		 enum rdma_role role, const struct rdma_qp_size *size,
		 const struct rdma_qp_ops *ops)
{
	int e;

	q->ops = ops;
	q->size = *size;
	q->dev = dev;
	loop_hook_init(&q->more, on_more, q);
	e = make_cq(q, size->send + size->recv);
	if (!e)
		e = make_qp(q, role);
	if (!e)
		e = to_state(q, id, IBV_QPS_INIT, 0, 0);
	if (!e)
		rdma_qp_attach(q, loop);
	return e;
}

int rdma_qp_ready(struct rdma_qp *q, struct rdma_cm_id *id, uint8_t responder, uint8_t reads)
{
	/* What the peer may access is part of INIT, and known only now. */
	int e = to_state(q, id, IBV_QPS_INIT, responder, reads);

	if (!e)
		e = to_state(q, id, IBV_QPS_RTR, responder, reads);
	return e ? e : to_state(q, id, IBV_QPS_RTS, responder, reads);
}

/* ---- loops, and the end ---- */

void rdma_qp_attach(struct rdma_qp *q, struct loop *loop)
{
	q->loop = loop;
	loop_fd_init(&q->watch, loop, q->channel->fd, on_channel, q);
	loop_fd_want(&q->watch, LOOP_READ);
	/* What came meanwhile has had its event, or has none because the queue is not armed. */
	loop_hook_queue(loop, &q->more);
	if (ibv_req_notify_cq(q->cq, 0))
		log_ratelimited(LOG_ERR, "RDMA: cannot arm a completion queue");
}

void rdma_qp_detach(struct rdma_qp *q)
{
	loop_fd_fini(&q->watch);
	loop_hook_cancel(q->loop, &q->more);
	q->loop = NULL;
}

void rdma_qp_stop(struct rdma_qp *q)
{
	q->dead = true;
	if (q->loop)
		rdma_qp_detach(q);
}

void rdma_qp_flush(struct rdma_qp *q)
{
	struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};

	if (q->qp)
		ibv_modify_qp(q->qp, &attr, IBV_QP_STATE);
}

void rdma_qp_note(const struct ibv_async_event *e)
{
	struct rdma_qp *q;

	switch (e->event_type) {
	case IBV_EVENT_QP_LAST_WQE_REACHED:
		q = e->element.qp->qp_context;
		atomic_store_explicit(&q->last_taken, true, memory_order_release);
		break;
	case IBV_EVENT_CQ_ERR:
		q = e->element.cq->cq_context;
		atomic_store_explicit(&q->overrun, true, memory_order_release);
		break;
	default:
		break;
	}
}

void rdma_qp_fini(struct rdma_qp *q)
{
	rdma_qp_stop(q);
	if (q->qp)
		ibv_destroy_qp(q->qp);
	q->qp = NULL;
	if (q->cq) {
		if (q->unacked)
			ibv_ack_cq_events(q->cq, q->unacked);
		ibv_destroy_cq(q->cq);
	}
	q->cq = NULL;
	if (q->channel)
		ibv_destroy_comp_channel(q->channel);
	q->channel = NULL;
	if (q->dev)
		rdma_dev_put(q->dev);
	q->dev = NULL;
}
