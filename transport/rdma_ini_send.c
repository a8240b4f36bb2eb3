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

/* What a command may need at one time: itself, and its window bound, or closed. */
static unsigned sends_each(const struct rdma_ini *t)
{
	return t->windows ? 2 : 1;
}

unsigned rdma_ini_send_size(const struct rdma_ini *t, unsigned sq_size)
{
	return sends_each(t) * (sq_size + QUIET_MAX + 1);
}

/* ---- slots that wait ---- */

static void ring_put(struct rdma_ini_ring *r, uint16_t slot)
{
	assert(r->n < r->size);
	r->slots[(r->head + r->n++) % r->size] = slot;
}

static uint16_t ring_first(const struct rdma_ini_ring *r)
{
	return r->slots[r->head];
}

static void ring_drop(struct rdma_ini_ring *r)
{
	r->head = (uint16_t)((r->head + 1) % r->size);
	r->n--;
}

/* Something has become free that what waits may need. */
static void go_on(struct rdma_ini *t)
{
	if (t->commands.n || t->closes.n)
		loop_hook_queue(t->qp.loop, &t->flush);
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
		e = rdma_slab_init(&t->bounce, t->q.dev, rdma_ini_role(t), REQUEST_MAX_DATA);
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
	go_on(t);
}

/* ---- work requests ---- */

struct chain {
	struct ibv_send_wr wr[CHAIN];
	struct ibv_sge sge[CHAIN][2];
	unsigned n;
};

/* Room for a work request behind the last; link() makes it part of the chain. */
static struct ibv_send_wr *next_of(struct chain *c)
{
	return &c->wr[c->n];
}

static void link_next(struct rdma_ini *t, struct chain *c)
{
	if (c->n)
		c->wr[c->n - 1].next = &c->wr[c->n];
	c->n++;
	t->sq_free--;
}

static struct ibv_send_wr *add_send(struct rdma_ini *t, struct chain *c, unsigned slot)
{
	struct ibv_sge *sge = c->sge[c->n];
	struct ibv_send_wr *wr = next_of(c);

	sge[0] = (struct ibv_sge){(uintptr_t)rdma_ini_capsule(t, slot), sizeof(struct nvme_sqe),
				  t->slab.mr->lkey};
	*wr = (struct ibv_send_wr){.opcode = IBV_WR_SEND, .sg_list = sge, .num_sge = 1};
	link_next(t, c);
	return wr;
}

static void tell_end(struct rdma_ini *t, struct ibv_send_wr *wr, uint64_t id)
{
	wr->send_flags |= IBV_SEND_SIGNALED;
	wr->wr_id = RDMA_WR_COVERS(t->quiet + 1) | id;
	t->quiet = 0;
}

/* Says in the work request whether its end is to be told. */
static void close_send(struct rdma_ini *t, struct ibv_send_wr *wr, unsigned slot, bool tell)
{
	if (tell)
		tell_end(t, wr, slot);
	else if (t->quiet >= QUIET_MAX)
		/* The slot of a command that does not wait for this may be another's by then. */
		tell_end(t, wr, RDMA_WR_NO_SLOT);
	else
		t->quiet++;
}

/* Names memory to the controller: by the registration's key, or by that of the slot's window, which
 * is bound to it in front of the command. */
static void name_memory(struct rdma_ini *t, struct chain *c, unsigned i, struct ibv_mr *mr,
			const void *mem, uint32_t len, enum nvme_dir dir)
{
	struct nvme_sgl_desc *sgl = &rdma_ini_capsule(t, i)->sgl;
	struct rdma_window *w = &t->slots[i].window;

	if (!t->windows) {
		rdma_wire_put_keyed(sgl, (uintptr_t)mem, len, mr->rkey);
		return;
	}
	rdma_ini_window_bind(w, next_of(c), mr, mem, len, dir);
	link_next(t, c);
	t->quiet++;
	rdma_wire_put_keyed(sgl, (uintptr_t)mem, len, w->key);
	sgl->type = NVME_SGL_KEYED_INV;
}

/* The capsule as it goes out: our CID, and where the data is. */
static void fill_capsule(struct rdma_ini *t, struct chain *c, unsigned i, struct ibv_mr *mr,
			 bool in_capsule)
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
		name_memory(t, c, i, t->bounce.mr, t->bounce.mem, req->data_len, req->dir);
	} else if (req->data_len) {
		name_memory(t, c, i, mr, req->segs[0], req->data_len, req->dir);
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
	struct ibv_mr *mr = NULL;
	struct ibv_send_wr *wr;

	if (req->data_len) {
		assert(t->mem->pool == req->pool);
		mr = rdma_mem_of(t->mem, req->segs[0]);
		if (!mr) {
			rdma_ini_fail(t, -ENOMEM, "memory cannot be registered");
			return false;
		}
		if (!in_capsule && !in_one_run(t, req) && !take_bounce(t, slot))
			return false;
	}
	fill_capsule(t, c, i, mr, in_capsule);
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

static void add_close(struct rdma_ini *t, struct chain *c, unsigned i, uint64_t id)
{
	struct ibv_send_wr *wr = next_of(c);

	rdma_ini_window_close(&t->slots[i].window, wr);
	link_next(t, c);
	tell_end(t, wr, id);
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
	unsigned each = sends_each(t);
	struct chain c = {.n = 0};
	int e = 0;

	/* First those that others may wait for: for their slot, or the bounce buffer. */
	while (!e && t->closes.n && t->sq_free && t->phase == RDMA_INI_LIVE) {
		uint16_t i = ring_first(&t->closes);

		add_close(t, &c, i, RDMA_WR_CLOSE | i);
		ring_drop(&t->closes);
		if (c.n == CHAIN)
			e = post(t, &c);
	}
	while (!e && t->commands.n && t->sq_free >= each && t->phase == RDMA_INI_LIVE) {
		if (c.n + each > CHAIN)
			e = post(t, &c);
		if (e || !add_command(t, &c, ring_first(&t->commands)))
			break;
		ring_drop(&t->commands);
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
	t->mem = rdma_dev_mem(t->q.dev, rdma_ini_role(t), pool);
	return t->mem ? rdma_mem_fill(t->mem) : -errno;
}

void rdma_ini_send(struct rdma_ini *t, uint16_t slot)
{
	t->slots[slot].queued = true;
	ring_put(&t->commands, slot);
	loop_hook_queue(t->qp.loop, &t->flush);
}

void rdma_ini_send_close(struct rdma_ini *t, uint16_t slot)
{
	ring_put(&t->closes, slot);
	loop_hook_queue(t->qp.loop, &t->flush);
}

int rdma_ini_send_connect(struct rdma_ini *t, const struct nvmf_connect_payload *data)
{
	struct chain c = {.n = 0};

	name_memory(t, &c, 0, t->slab.mr, data, sizeof(*data), NVME_DIR_H2C);
	/* No slot's: the first command may have it, and be over, before this is known to be sent.
	 */
	tell_end(t, add_send(t, &c, 0), RDMA_WR_NO_SLOT);
	return post(t, &c);
}

int rdma_ini_close_connect(struct rdma_ini *t)
{
	struct chain c = {.n = 0};

	add_close(t, &c, 0, RDMA_WR_NO_SLOT);
	t->slots[0].window.open = false;
	return post(t, &c);
}

void rdma_ini_sent(struct rdma_ini *t, uint64_t wr_id)
{
	t->sq_free += RDMA_WR_COVERED(wr_id);
	go_on(t);
}
