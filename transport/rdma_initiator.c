/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/RDMA as initiator: commands in, completions back, and the end.
 *
 * Data in pool segments is named to the controller by the key of a whole registration, or with
 * register_always by that of a window. It moves the data, and its response is the end of it. So a
 * request may come back only when the controller has answered and no window is open, or when the
 * queue pair is no more: then nobody can reach the memory by that key over this connection.
 *
 * A qpair's end is told in one place, on_hook(): whatever finds the end stops the queue pair and
 * queues the hook, so that no request comes back and nothing is closed beneath a callback.
 */
#include "transport/rdma_initiator.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/log.h"
#include "transport/numa.h"

static struct rdma_ini *of_qp(struct ini_qpair *qp)
{
	return (struct rdma_ini *)((char *)qp - offsetof(struct rdma_ini, qp));
}

/* ---- the end ---- */

void rdma_ini_fail(struct rdma_ini *t, int error, const char *fmt, ...)
{
	va_list ap;

	if (t->phase == RDMA_INI_DEAD)
		return;
	t->phase = RDMA_INI_DEAD;
	t->error = error;
	va_start(ap, fmt);
	vsnprintf(t->reason, sizeof(t->reason), fmt, ap);
	va_end(ap);
	rdma_qp_stop(&t->q);
	loop_hook_queue(t->qp.loop, &t->event);
}

/* Takes the request off its slot. */
static void detach(struct rdma_ini *t, struct request *req)
{
	struct rdma_ini_slot *slot = &t->slots[req->ini_slot];

	slot->req = NULL;
	slot->next = t->free;
	t->free = req->ini_slot;
	req->ini = NULL;
	t->qp.inflight--;
}

/* With the queue pair gone: neither side can reach the requests' memory any more. */
static void give_back_all(struct rdma_ini *t, int error)
{
	for (unsigned i = 0; i < t->qp.sq_size; i++) {
		struct request *req = t->slots[i].req;

		if (!req)
			continue;
		rdma_ini_unbounce(t, &t->slots[i], false);
		detach(t, req);
		req->ini_done(req, error);
	}
}

static void end_connection(struct rdma_ini *t)
{
	t->qp.live = false;
	loop_hook_cancel(t->qp.loop, &t->flush);
	t->commands.n = t->closes.n = 0;
	rdma_ini_windows_fini(t);
	rdma_qp_fini(&t->q);
}

static void release(struct rdma_ini *t)
{
	rdma_slab_fini(&t->bounce);
	rdma_slab_fini(&t->slab);
	rdma_ini_hang_up(t);
}

static void free_memory(struct rdma_ini *t)
{
	free(t->commands.slots);
	free(t->closes.slots);
	free(t->slots);
	free(t);
}

/* For the admin qpair only: the others leave the same way, and are on loops with other work. */
static int node_of(const struct rdma_ini *t)
{
	return t->qp.qid ? -1 : numa_node_of_addr(rdma_get_local_addr(t->id));
}

/* The last call may close, that is free, the qpair. */
static void on_hook(void *arg)
{
	struct rdma_ini *t = arg;
	bool was_live = t->qp.live;
	char where[ADDR_STR_MAX];

	if (t->phase == RDMA_INI_CONNECTED) {
		loop_timer_fini(&t->timer);
		t->phase = RDMA_INI_LIVE;
		t->qp.live = true;
		t->qp.node = node_of(t);
		t->qp.ops->connected(&t->qp, 0, &t->connect_cqe);
		return;
	}
	if (t->phase != RDMA_INI_DEAD || t->told)
		return;
	t->told = true;
	end_connection(t);
	give_back_all(t, t->error);
	release(t);
	if (!was_live)
		log_debug(RDMA, "to %s: %s", addr_str(&t->params.addr, where), t->reason);
	t->qp.reason = t->reason;
	if (was_live)
		t->qp.ops->lost(&t->qp, t->error, t->reason);
	else
		t->qp.ops->connected(&t->qp, t->error, t->refused ? &t->connect_cqe : NULL);
}

static void ini_rdma_close(struct ini_qpair *qp)
{
	struct rdma_ini *t = of_qp(qp);

	t->told = true;
	loop_hook_cancel(qp->loop, &t->event);
	end_connection(t);
	give_back_all(t, -ECANCELED);
	release(t);
	free_memory(t);
}

/* ---- commands ---- */

static int ini_rdma_submit(struct ini_qpair *qp, struct request *req)
{
	struct rdma_ini *t = of_qp(qp);
	struct rdma_ini_slot *slot;

	if (!qp->live || t->phase != RDMA_INI_LIVE)
		return -ENOTCONN;
	if (!ini_room(qp))
		return -EAGAIN;
	/* One without data may be of no pool, and makes do without registered memory. */
	if (req->data_len && rdma_ini_use_pool(t, req->pool)) {
		rdma_ini_fail(t, -ENOMEM, "memory cannot be registered");
		return -ENOTCONN;
	}
	slot = &t->slots[t->free];
	req->ini_slot = t->free;
	t->free = slot->next;
	slot->cid = (uint16_t)(slot->cid + (1u << RDMA_SLOT_BITS));
	slot->req = req;
	slot->sending = slot->answered = false;
	req->ini = qp;
	req->ini_cid = slot->cid;
	if (req->dir != NVME_DIR_H2C)
		req->filled = 0;
	qp->inflight++;
	stat_add(&qp->commands, 1);
	rdma_ini_send(t, req->ini_slot);
	return 0;
}

/* ---- completions ---- */

static void finish(struct rdma_ini *t, struct rdma_ini_slot *slot)
{
	struct request *req = slot->req;
	bool good = nvme_cqe_status(&req->cqe) == 0;

	rdma_ini_unbounce(t, slot, good);
	if (good && req->dir == NVME_DIR_C2H) {
		req->filled = req->data_len;
		stat_add(&t->qp.rx_bytes, req->data_len);
	}
	detach(t, req);
	req->ini_done(req, 0);
}

/* The device may still send the command again, from memory that must not change till then; and an
 * open window lets the controller at the data. */
static void finish_if_over(struct rdma_ini *t, struct rdma_ini_slot *slot)
{
	if (slot->answered && !slot->sending && !slot->window.open)
		finish(t, slot);
}

static void on_response(struct rdma_ini *t, const struct nvme_cqe *cqe, const struct ibv_wc *wc)
{
	unsigned i = le16toh(cqe->cid) & RDMA_SLOT_MASK;
	struct rdma_ini_slot *slot = i < t->qp.sq_size ? &t->slots[i] : NULL;

	if (!slot || !slot->req || slot->cid != le16toh(cqe->cid) || slot->answered ||
	    slot->queued) {
		rdma_ini_fail(t, -EPROTO,
			      "protocol error of the controller: response to no command (CID %u)",
			      le16toh(cqe->cid));
		return;
	}
	slot->req->cqe = *cqe;
	slot->answered = true;
	switch (rdma_ini_window_answered(t, &slot->window, wc)) {
	case 0:
		finish_if_over(t, slot);
		break;
	case 1:
		rdma_ini_send_close(t, (uint16_t)i);
		break;
	default:
		rdma_ini_fail(t, -EPROTO,
			      "protocol error of the controller: a key invalidated that is not the "
			      "command's");
		break;
	}
}

static void on_received(struct rdma_ini *t, const struct ibv_wc *wc)
{
	unsigned i = RDMA_WR_INDEX(wc->wr_id);
	struct nvme_cqe cqe;
	int e;

	if (wc->byte_len < sizeof(cqe)) {
		rdma_ini_fail(t, -EPROTO, "protocol error of the controller: response of %u bytes",
			      wc->byte_len);
		return;
	}
	memcpy(&cqe, rdma_ini_response(t, i), sizeof(cqe));
	stat_add(&t->qp.rx_bytes, sizeof(cqe));
	e = rdma_ini_receive(t, i);
	if (e)
		rdma_ini_fail(t, e, "cannot receive: %s", strerror(-e));
	else if (t->phase == RDMA_INI_CONNECT)
		rdma_ini_connect_resp(t, &cqe, wc);
	else if (t->phase == RDMA_INI_LIVE)
		on_response(t, &cqe, wc);
	else
		rdma_ini_fail(t, -EPROTO,
			      "protocol error of the controller: response to no "
			      "command");
}

static void on_sent(struct rdma_ini *t, const struct ibv_wc *wc)
{
	struct rdma_ini_slot *slot;

	rdma_ini_sent(t, wc->wr_id);
	if (RDMA_WR_INDEX(wc->wr_id) == RDMA_WR_NO_SLOT)
		return;
	slot = &t->slots[RDMA_WR_INDEX(wc->wr_id)];
	if (wc->wr_id & RDMA_WR_CLOSE)
		slot->window.open = false;
	else
		slot->sending = false;
	finish_if_over(t, slot);
}

static void on_done(struct rdma_qp *q, const struct ibv_wc *wc)
{
	struct rdma_ini *t = rdma_ini_of_q(q);

	if (wc->status == IBV_WC_WR_FLUSH_ERR)
		rdma_ini_fail(t, -ECONNRESET, "closed by the peer");
	else if (wc->status)
		rdma_ini_fail(t, -ECONNRESET, "%s", ibv_wc_status_str(wc->status));
	else if (wc->wr_id & RDMA_WR_RECV)
		on_received(t, wc);
	else
		on_sent(t, wc);
}

const struct rdma_qp_ops rdma_ini_qp_ops = {.done = on_done};

/* ---- life ---- */

static bool make_ring(struct rdma_ini_ring *r, unsigned n)
{
	r->slots = calloc(n, sizeof(r->slots[0]));
	r->size = (uint16_t)n;
	return r->slots;
}

static bool make_slots(struct rdma_ini *t)
{
	unsigned n = t->qp.sq_size;

	t->slots = calloc(n, sizeof(t->slots[0]));
	if (!t->slots || !make_ring(&t->commands, n) || !make_ring(&t->closes, n))
		return false;
	for (unsigned i = 0; i < n; i++) {
		t->slots[i].cid = (uint16_t)i;
		t->slots[i].next = (uint16_t)(i + 1);
	}
	return true;
}

static struct ini_qpair *ini_rdma_connect(struct loop *loop, const struct ini_params *params,
					  const struct ini_ops *ops, void *priv)
{
	struct rdma_ini *t;
	int e = -ENOMEM;

	if (params->sq_size < 2 || params->sq_size > RDMA_MAX_QUEUE) {
		errno = EINVAL;
		return NULL;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->qp.loop = loop;
	t->qp.tr = &ini_rdma;
	t->qp.ops = ops;
	t->qp.priv = priv;
	t->qp.qid = params->qid;
	t->qp.cntlid = params->cntlid;
	t->qp.sq_size = params->sq_size;
	t->params = *params;
	t->windows = params->register_always;
	loop_hook_init(&t->event, on_hook, t);
	loop_hook_init(&t->flush, rdma_ini_flush, t);
	if (make_slots(t))
		e = rdma_ini_dial(t);
	if (e) {
		free_memory(t);
		errno = -e;
		return NULL;
	}
	return &t->qp;
}

const struct ini_transport ini_rdma = {
	.name = "rdma",
	.trtype = NVMF_TRTYPE_RDMA,
	.connect = ini_rdma_connect,
	.submit = ini_rdma_submit,
	.close = ini_rdma_close,
};
