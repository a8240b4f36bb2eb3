/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/RDMA as initiator: commands to the device. They leave at the end of the turn, chained, so
 * that one turn rings the doorbell once.
 *
 * A command whose capsule was copied into the work request, with data that the controller moves,
 * needs no word of its having been sent: the response says it all. So only some of these ask for a
 * completion, for room in the send queue; those that the device still reads from always do.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "transport/rdma_initiator.h"

#define QUIET_MAX 15u /* sends without a completion in between */
#define CHAIN	  32u

unsigned rdma_ini_send_size(unsigned sq_size)
{
	return sq_size + QUIET_MAX + 1;
}

int rdma_ini_receive(struct rdma_ini *t, unsigned i)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)rdma_ini_response(t, i),
		.length = sizeof(struct nvme_cqe),
		.lkey = t->slab.mr->lkey,
	};
	struct ibv_recv_wr wr = {.wr_id = RDMA_WR_RECV | i, .sg_list = &sge, .num_sge = 1}, *bad;

	return -ibv_post_recv(t->q.qp, &wr, &bad);
}

/* ---- data in scattered segments ---- */

static bool in_one_run(const struct rdma_ini *t, const struct request *req)
{
	const uint8_t *first = req->segs[0];

	for (unsigned i = 1; i < req->nsegs; i++)
		if (req->segs[i] != first + (size_t)i * SEG_SIZE)
			return false;
	return rdma_mem_index(t->mem, first) ==
	       rdma_mem_index(t->mem, req->segs[(req->data_len - 1) >> SEG_SHIFT]);
}

/* True when the slot has the buffer; false: another has it, and its end will call again. */
static bool take_bounce(struct rdma_ini *t, struct rdma_ini_slot *slot)
{
	struct request *req = slot->req;
	int e = 0;

	if (slot->bounced)
		return true;
	if (t->bouncing)
		return false;
	if (!t->bounce.mem)
		e = rdma_slab_init(&t->bounce, t->q.dev, RDMA_INITIATOR, REQUEST_MAX_DATA);
	if (e) {
		rdma_ini_fail(t, e, "no memory for data in scattered segments");
		return false;
	}
	t->bouncing = slot->bounced = true;
	if (req->dir == NVME_DIR_H2C)
		request_copy_out(req, 0, t->bounce.mem, req->data_len);
	return true;
}

void rdma_ini_unbounce(struct rdma_ini *t, struct rdma_ini_slot *slot, bool good)
{
	struct request *req = slot->req;

	if (!slot->bounced)
		return;
	if (good && req->dir == NVME_DIR_C2H)
		request_copy_in(req, 0, t->bounce.mem, req->data_len);
	slot->bounced = t->bouncing = false;
	if (t->fifo_n)
		loop_hook_queue(t->qp.loop, &t->flush);
}

/* ---- work requests ---- */

struct chain {
	struct ibv_send_wr wr[CHAIN];
	struct ibv_sge sge[CHAIN][2];
	unsigned n;
};

static struct ibv_send_wr *add_send(struct rdma_ini *t, struct chain *c, unsigned slot)
{
	struct ibv_sge *sge = c->sge[c->n];
	struct ibv_send_wr *wr = &c->wr[c->n];

	sge[0] = (struct ibv_sge){(uintptr_t)rdma_ini_capsule(t, slot), sizeof(struct nvme_sqe),
				  t->slab.mr->lkey};
	*wr = (struct ibv_send_wr){.opcode = IBV_WR_SEND, .sg_list = sge, .num_sge = 1};
	if (c->n)
		c->wr[c->n - 1].next = wr;
	c->n++;
	return wr;
}

/* Says in the work request whether its end is to be told. */
static void close_send(struct rdma_ini *t, struct ibv_send_wr *wr, unsigned slot, bool tell)
{
	t->sq_free--;
	if (!tell && t->quiet < QUIET_MAX) {
		t->quiet++;
		return;
	}
	wr->send_flags |= IBV_SEND_SIGNALED;
	/* The slot of a command that does not wait for this may be another's by then. */
	wr->wr_id = RDMA_WR_COVERS(t->quiet + 1) | (tell ? slot : RDMA_WR_NO_SLOT);
	t->quiet = 0;
}

/* The capsule as it goes out: our CID, and where the data is. */
static void fill_capsule(struct rdma_ini *t, unsigned i, const struct ibv_mr *mr, bool in_capsule)
{
	struct rdma_ini_slot *slot = &t->slots[i];
	const struct request *req = slot->req;
	struct nvme_sqe *sqe = rdma_ini_capsule(t, i);

	*sqe = req->sqe;
	sqe->cid = htole16(slot->cid);
	sqe->flags = (uint8_t)((sqe->flags & ~NVME_PSDT_MASK) | NVME_PSDT_SGL);
	memset(&sqe->sgl, 0, sizeof(sqe->sgl));
	if (in_capsule) {
		sqe->sgl.length = htole32(req->data_len);
		sqe->sgl.type = NVME_SGL_DATA_OFFSET;
	} else if (slot->bounced) {
		rdma_wire_put_keyed(&sqe->sgl, (uintptr_t)t->bounce.mem, req->data_len,
				    t->bounce.mr->rkey);
	} else if (req->data_len) {
		rdma_wire_put_keyed(&sqe->sgl, (uintptr_t)req->segs[0], req->data_len, mr->rkey);
	} else {
		sqe->sgl.type = NVME_SGL_KEYED;
	}
}

/* False: it has to wait. */
static bool add_command(struct rdma_ini *t, struct chain *c, unsigned i)
{
	struct rdma_ini_slot *slot = &t->slots[i];
	const struct request *req = slot->req;
	bool in_capsule = req->dir == NVME_DIR_H2C && req->data_len && req->data_len <= t->icd_max;
	const struct ibv_mr *mr = NULL;
	struct ibv_send_wr *wr;

	if (req->data_len) {
		mr = rdma_mem_of(t->mem, req->segs[0]);
		if (!mr) {
			rdma_ini_fail(t, -ENOMEM, "memory cannot be registered");
			return false;
		}
		if (!in_capsule && !in_one_run(t, req) && !take_bounce(t, slot))
			return false;
	}
	fill_capsule(t, i, mr, in_capsule);
	wr = add_send(t, c, i);
	if (in_capsule) {
		wr->sg_list[1] = (struct ibv_sge){(uintptr_t)req->segs[0], req->data_len, mr->lkey};
		wr->num_sge = 2;
	} else if (t->q.size.inlined) {
		wr->send_flags |= IBV_SEND_INLINE;
	}
	slot->queued = false;
	slot->sending = !(wr->send_flags & IBV_SEND_INLINE);
	stat_add(&t->qp.tx_bytes, sizeof(struct nvme_sqe) + (in_capsule ? req->data_len : 0));
	close_send(t, wr, i, slot->sending);
	return true;
}

static int post(struct rdma_ini *t, struct chain *c)
{
	struct ibv_send_wr *bad;
	int e = c->n ? ibv_post_send(t->q.qp, c->wr, &bad) : 0;

	c->n = 0;
	return -e;
}

void rdma_ini_flush(void *arg)
{
	struct rdma_ini *t = arg;
	struct chain c = {.n = 0};
	int e = 0;

	while (!e && t->fifo_n && t->sq_free && t->phase == RDMA_INI_LIVE) {
		if (!add_command(t, &c, t->fifo[t->fifo_head]))
			break;
		t->fifo_head = (uint16_t)((t->fifo_head + 1) % t->fifo_size);
		t->fifo_n--;
		if (c.n == CHAIN)
			e = post(t, &c);
	}
	if (!e)
		e = post(t, &c);
	if (e)
		rdma_ini_fail(t, e, "cannot send: %s", strerror(-e));
}

int rdma_ini_use_pool(struct rdma_ini *t, const struct pool *pool)
{
	if (t->mem && t->mem->pool == pool)
		return 0;
	t->mem = rdma_dev_mem(t->q.dev, RDMA_INITIATOR, pool);
	return t->mem ? rdma_mem_fill(t->mem) : -errno;
}

void rdma_ini_send(struct rdma_ini *t, uint16_t slot)
{
	assert(t->fifo_n < t->fifo_size);
	t->slots[slot].queued = true;
	t->fifo[(t->fifo_head + t->fifo_n++) % t->fifo_size] = slot;
	loop_hook_queue(t->qp.loop, &t->flush);
}

int rdma_ini_send_connect(struct rdma_ini *t)
{
	struct chain c = {.n = 0};

	close_send(t, add_send(t, &c, 0), 0, true);
	t->slots[0].sending = true;
	return post(t, &c);
}

void rdma_ini_sent(struct rdma_ini *t, uint64_t wr_id)
{
	t->sq_free += RDMA_WR_COVERED(wr_id);
	if (t->fifo_n)
		loop_hook_queue(t->qp.loop, &t->flush);
}
