/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/RDMA as target: commands as they arrive, and a connection's way from loop to loop. What a
 * command means is the gateway's (target.h).
 */
#include "transport/rdma_target.h"

#include <errno.h>
#include <string.h>

#include "transport/log.h"

/* From the Connect's completion until its response has left. */
#define MOVE_MAX (5 * NSEC_PER_SEC)

/* ---- receiving ---- */

/* The device has the buffer again. */
static void give(struct rdma_tgt *t, uint64_t wr_id)
{
	int e = rdma_rx_give(t->rx, t->q.qp, wr_id);

	if (!e)
		return;
	t->kept += t->rx->srq != NULL;
	rdma_tgt_shut(t, "cannot receive: %s", strerror(-e));
}

/* The command gets a status from here; the gateway never sees it. */
static void refuse(struct rdma_tgt *t, struct request *req, uint16_t status)
{
	nvme_cqe_set_status(&req->cqe, status);
	TAILQ_INSERT_TAIL(&t->outgoing, req, tgt_link);
	rdma_tgt_answer(t, req);
}

static void deliver(struct rdma_tgt *t, struct request *req)
{
	req->tgt_state = TGT_REQ_EXECUTING;
	TAILQ_INSERT_TAIL(&t->qp.requests, req, tgt_link);
	t->qp.listener->ops->command(&t->qp, req);
}

/* Judges the command's SGL and CID: 0, or the status that it gets. */
static uint16_t check_command(struct rdma_tgt *t, struct request *req, uint32_t icd,
			      struct rdma_data *d)
{
	uint16_t status = rdma_sgl_check(&req->sqe, icd, d);
	int slot;

	if (!status && d->len > REQUEST_MAX_DATA)
		status = NVME_ST_INVALID_FIELD;
	req->tgt_slot = CID_MAP_NONE;
	slot = cid_map_add(&t->cids, req->cid, req);
	if (slot == -EEXIST)
		return NVME_STATUS(0, NVME_SC_CMDID_CONFLICT) | NVME_DNR;
	if (slot < 0)
		return NVME_STATUS(0, NVME_SC_INTERNAL);
	req->tgt_slot = (uint16_t)slot;
	return status;
}

/* A copy of at most a segment: the receive buffer is the device's again at once, and the pool is
 * what upstreams of every kind take data from. */
static void take_in_capsule(struct request *req, const uint8_t *data, const struct rdma_data *d)
{
	request_copy_in(req, 0, data + d->addr, d->len);
	req->filled = d->len;
}

/* False: no resources, a waiter is queued. */
static bool take(struct rdma_tgt *t, const struct rdma_arrival *a)
{
	struct pool *pool = loop_pool(t->qp.loop);
	const uint8_t *buf = rdma_rx_buffer(t->rx, a->wr_id);
	uint32_t icd = a->len - (uint32_t)sizeof(struct nvme_sqe);
	struct request *req = pool_get(pool);
	struct rdma_data d;
	uint16_t status;

	if (!req) {
		pool_wait(pool, &t->rx_waiter);
		return false;
	}
	memcpy(&req->sqe, buf, sizeof(req->sqe));
	if (icd && request_alloc_data(req, icd)) {
		/* Wait first: giving the slot back must not look like what we wait for. */
		pool_wait(pool, &t->rx_waiter);
		pool_put(req);
		return false;
	}
	t->qp.inflight++;
	stat_add(&t->qp.commands, 1);
	stat_add(&t->qp.rx_bytes, a->len);
	req->tgt = &t->qp;
	req->cid = le16toh(req->sqe.cid);
	req->dir = (uint8_t)nvme_sqe_dir(&req->sqe);
	status = check_command(t, req, icd, &d);
	req->data_len = status ? 0 : d.len;
	if (!status && d.in_capsule)
		take_in_capsule(req, buf + sizeof(req->sqe), &d);
	else
		request_free_data(req);
	give(t, a->wr_id);
	if (status)
		refuse(t, req, status);
	else
		deliver(t, req);
	return true;
}

/* What its queue holds by both of what the host has said of it. */
static unsigned commands_max(const struct rdma_tgt *t)
{
	if (!t->qp.connected)
		return 1;
	return (t->qp.sq_size < t->depth ? t->qp.sq_size : t->depth) - 1u;
}

/*
 * As far as there is room: those that have arrived, oldest first. A host that has taken its answers
 * may be ahead of what we are told, as when acknowledgements get lost; one that does not take them
 * has no more memory of ours than its queue has entries, twice.
 */
void rdma_tgt_run_arrived(struct rdma_tgt *t)
{
	while (t->arrived_n && !t->rx_waiter.queued && t->phase == RDMA_TGT_UP &&
	       t->qp.left <= commands_max(t)) {
		struct rdma_arrival a = t->arrived[t->arrived_head];

		if (t->qp.inflight >= commands_max(t)) {
			rdma_tgt_shut(t, "the host sent more commands than the queue holds (%u)",
				      t->qp.inflight);
			return;
		}
		if (!take(t, &a))
			return;
		t->arrived_head = (uint16_t)((t->arrived_head + 1) % t->depth);
		t->arrived_n--;
	}
}

/* What is wrong with it; NULL: nothing. */
static const char *implausible(const struct rdma_tgt *t, const struct rdma_arrival *a)
{
	if (a->len < sizeof(struct nvme_sqe))
		return "a capsule of less than 64 bytes";
	return t->arrived_n < commands_max(t) ? NULL : "more commands than the queue holds";
}

static void on_received(struct rdma_tgt *t, const struct ibv_wc *wc)
{
	struct rdma_arrival a = {wc->wr_id, wc->byte_len};
	const char *wrong = implausible(t, &a);

	if (t->phase >= RDMA_TGT_CLOSING) {
		give(t, a.wr_id);
		return;
	}
	if (wrong) {
		give(t, a.wr_id);
		rdma_tgt_shut(t, "protocol error of the host: %s", wrong);
		return;
	}
	t->arrived[(t->arrived_head + t->arrived_n++) % t->depth] = a;
	rdma_tgt_run_arrived(t);
}

void rdma_tgt_drop_arrived(struct rdma_tgt *t)
{
	for (; t->arrived_n; t->arrived_n--) {
		give(t, t->arrived[t->arrived_head].wr_id);
		t->arrived_head = (uint16_t)((t->arrived_head + 1) % t->depth);
	}
}

static void on_rx_room(void *arg)
{
	rdma_tgt_run_arrived(arg);
}

/* ---- completions ---- */

/* Of a queue pair that ends; others may be waiting for the buffer. */
static void on_late(struct rdma_qp *q, const struct ibv_wc *wc)
{
	struct rdma_tgt *t = rdma_tgt_of_q(q);

	if (t->rx->srq && (wc->wr_id & RDMA_TGT_WR_MASK) == RDMA_TGT_RECV)
		give(t, wc->wr_id);
}

static void on_done(struct rdma_qp *q, const struct ibv_wc *wc)
{
	struct rdma_tgt *t = rdma_tgt_of_q(q);
	struct request *req =
		(struct request *)(uintptr_t)(wc->wr_id & ~(uint64_t)RDMA_TGT_WR_MASK);

	if (wc->status) {
		on_late(q, wc);
		/* The first of them says why; all that is flushed behind it says nothing. */
		if (wc->status == IBV_WC_WR_FLUSH_ERR)
			rdma_tgt_end(t, TGT_END_HOST, "closed by the host");
		else
			rdma_tgt_shut(t, "%s", ibv_wc_status_str(wc->status));
		return;
	}
	switch (wc->wr_id & RDMA_TGT_WR_MASK) {
	case RDMA_TGT_RECV:
		on_received(t, wc);
		break;
	case RDMA_TGT_READ:
		rdma_tgt_read_done(t, req);
		break;
	case RDMA_TGT_ANSWER:
		rdma_tgt_answer_done(t, req);
		break;
	default:
		break;
	}
}

const struct rdma_qp_ops rdma_tgt_qp_ops = {.done = on_done, .late = on_late};

/* ---- from loop to loop ---- */

void rdma_tgt_join_loop(struct rdma_tgt *t, struct loop *loop)
{
	loop_timer_init(&t->timer, loop, rdma_tgt_on_timer, t);
	t->rx_waiter = (struct pool_waiter){.fn = on_rx_room, .arg = t};
	t->fetch_waiter = (struct pool_waiter){.fn = rdma_tgt_run_parked, .arg = t};
}

/* The first thing on the new loop. */
static void arrive(void *arg)
{
	struct rdma_tgt *t = arg;

	t->phase = RDMA_TGT_UP;
	t->mem = t->next_mem;
	rdma_tgt_join_loop(t, t->qp.loop);
	rdma_qp_attach(&t->q, t->qp.loop);
	t->qp.listener->ops->moved(&t->qp);
	rdma_tgt_run_arrived(t);
}

/* From then on it is the other loop's. Commands that are faster than the word of the response's
 * having been sent wait in t->arrived. */
static void depart(struct rdma_tgt *t)
{
	rdma_tgt_leave_loop(t);
	rdma_qp_detach(&t->q);
	t->phase = RDMA_TGT_TRANSIT;
	t->qp.loop = t->next;
	loop_post(t->next, arrive, t);
}

void rdma_tgt_on_hook(void *arg)
{
	struct rdma_tgt *t = arg;

	if (t->leave && t->phase == RDMA_TGT_MOVING) {
		t->leave = false;
		depart(t);
	} else if (t->phase == RDMA_TGT_CLOSING) {
		rdma_tgt_do_close(t);
	}
}

static void complete_and_move(struct request *req, struct loop *loop)
{
	struct rdma_tgt *t = rdma_tgt_of_qp(req->tgt);

	if (t->phase == RDMA_TGT_UP) {
		/* A host that does not take the answer keeps what it sends behind it. */
		loop_timer_arm(&t->timer, MOVE_MAX);
		/* Here on control, which may take the time, and not on the worker. */
		t->next_mem = rdma_dev_mem(t->q.dev, RDMA_TARGET, loop_pool(loop));
		if (t->next_mem && !rdma_mem_fill(t->next_mem)) {
			t->phase = RDMA_TGT_MOVING;
			t->next = loop;
		} else {
			rdma_tgt_shut(t, "the worker's memory cannot be registered");
		}
	}
	rdma_tgt_complete(req);
}

const struct tgt_transport tgt_rdma = {
	.name = "rdma",
	.trtype = NVMF_TRTYPE_RDMA,
	.listen = rdma_tgt_listen,
	.listener_addr = rdma_listener_addr,
	.listener_arg = rdma_listener_arg,
	.unlisten = rdma_unlisten,
	.fetch = rdma_tgt_fetch,
	.progress = rdma_tgt_progress,
	.complete = rdma_tgt_complete,
	.complete_and_move = complete_and_move,
	.close = rdma_tgt_close,
};
