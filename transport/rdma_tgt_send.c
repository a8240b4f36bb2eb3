/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/RDMA as target: work requests. A write's data is fetched by RDMA READ; a read's data goes
 * out by RDMA WRITE, what is there of a large one at once and the rest with the response behind it,
 * all of which the device keeps in order. Only the response tells when it is done, for what went
 * before it too. All of a turn leaves with one ring of the doorbell.
 *
 * What the send queue or the depth of reads does not take waits here, in order.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "transport/rdma_target.h"

#define CHAIN	  (REQUEST_MAX_SEGS + 16)
#define CHAIN_SGE 256u

/* Read data leaves before all of it is here in pieces of this; a power of two. */
#define CUT_THROUGH (64u * 1024)
static_assert(CUT_THROUGH % SEG_SIZE == 0);

/* Two for each command and all of one whose data is in as many pieces as can be, one by one. */
unsigned rdma_tgt_send_size(unsigned depth)
{
	return 2 * depth + REQUEST_MAX_SEGS + 1;
}

static struct tx_list *list_of(struct rdma_tgt *t, const struct request *req)
{
	return req->ttx.kind == RDMA_TX_READ ? &t->reads : &t->answers;
}

void rdma_tgt_queue(struct rdma_tgt *t, struct request *req, enum rdma_tgt_tx kind)
{
	struct tx *tx = &req->ttx;

	tx->req = req;
	tx->kind = (uint8_t)kind;
	tx->queued = true;
	if (kind == RDMA_TX_ANSWER)
		t->answering++;
	TAILQ_INSERT_TAIL(list_of(t, req), tx, link);
	loop_hook_queue(t->qp.loop, &t->flush);
}

static void dequeue(struct rdma_tgt *t, struct request *req)
{
	req->ttx.queued = false;
	TAILQ_REMOVE(list_of(t, req), &req->ttx, link);
}

bool rdma_tgt_unqueue(struct rdma_tgt *t, struct request *req)
{
	if (!req->ttx.queued)
		return false;
	dequeue(t, req);
	if (req->ttx.kind == RDMA_TX_ANSWER)
		t->answering--;
	return true;
}

/* ---- pieces of data ---- */

/* Memory that lies behind each other in one registration counts as one piece. */
static uint32_t piece_at(const struct rdma_tgt *t, const struct request *req, uint32_t off,
			 uint32_t end)
{
	uint32_t seg = off >> SEG_SHIFT, len = SEG_SIZE;
	size_t chunk = rdma_mem_index(t->mem, req->segs[seg]);

	while (seg + 1 < req->nsegs &&
	       (uint8_t *)req->segs[seg + 1] == (uint8_t *)req->segs[seg] + SEG_SIZE &&
	       rdma_mem_index(t->mem, req->segs[seg + 1]) == chunk) {
		seg++;
		len += SEG_SIZE;
	}
	return len < end - off ? len : end - off;
}

static unsigned pieces(const struct rdma_tgt *t, const struct request *req, uint32_t off,
		       uint32_t end)
{
	unsigned n = 0;

	for (; off < end; off += piece_at(t, req, off, end))
		n++;
	return n;
}

static unsigned sges_max(const struct rdma_tgt *t, const struct request *req)
{
	return req->dir == NVME_DIR_H2C ? t->read_sges : t->q.size.sge;
}

/* Work requests that move its data [off, end); @off is where a segment begins. */
static unsigned transfers(const struct rdma_tgt *t, const struct request *req, uint32_t off,
			  uint32_t end)
{
	unsigned max = sges_max(t, req);

	return (pieces(t, req, off, end) + max - 1) / max;
}

/* Whether the answer carries data: reads that went well. */
static bool has_data(const struct request *req)
{
	return req->dir == NVME_DIR_C2H && req->data_len && !nvme_cqe_status(&req->cqe);
}

/*
 * What left of an earlier attempt is written again. The device may have read it, or read it again,
 * from segments that the new attempt fills; so the host's memory may be a mixture of both, until
 * what is behind it in the queue has overwritten it and the answer says that it may be looked at.
 */
static void drop_earlier(struct request *req)
{
	if (req->sent_of != req->submitted)
		req->sent = 0;
	req->sent_of = req->submitted;
}

uint32_t rdma_tgt_early_end(struct request *req)
{
	uint32_t end = req->filled & ~(CUT_THROUGH - 1);

	drop_earlier(req);
	/* With all of it here the answer is near, and takes the rest along. */
	return req->filled < req->data_len && end > req->sent ? end : 0;
}

/* ---- chains ---- */

struct chain {
	struct ibv_send_wr wr[CHAIN];
	struct ibv_sge sge[CHAIN_SGE];
	unsigned n, sges;
};

static struct ibv_send_wr *add(struct chain *c, enum ibv_wr_opcode opcode)
{
	struct ibv_send_wr *wr = &c->wr[c->n];

	assert(c->n < CHAIN && c->sges < CHAIN_SGE);
	*wr = (struct ibv_send_wr){
		.wr_id = RDMA_TGT_SILENT, .opcode = opcode, .sg_list = &c->sge[c->sges]};
	if (c->n)
		c->wr[c->n - 1].next = wr;
	c->n++;
	return wr;
}

static void add_sge(struct chain *c, struct ibv_send_wr *wr, const void *mem, uint32_t len,
		    uint32_t lkey)
{
	c->sge[c->sges++] = (struct ibv_sge){(uintptr_t)mem, len, lkey};
	wr->num_sge++;
}

/* The last one; NULL: memory cannot be registered. */
static struct ibv_send_wr *add_transfers(struct rdma_tgt *t, struct chain *c, struct request *req,
					 enum ibv_wr_opcode opcode, uint32_t off, uint32_t end)
{
	struct ibv_send_wr *wr = NULL;
	const struct ibv_mr *mr;
	struct rdma_data d;
	uint32_t len;

	rdma_wire_get_keyed(&req->sqe.sgl, &d);
	for (; off < end; off += len) {
		if (!wr || (unsigned)wr->num_sge == sges_max(t, req)) {
			wr = add(c, opcode);
			wr->wr.rdma.remote_addr = d.addr + off;
			wr->wr.rdma.rkey = d.key;
		}
		len = piece_at(t, req, off, end);
		mr = rdma_mem_of(t->mem, req->segs[off >> SEG_SHIFT]);
		if (!mr)
			return NULL;
		add_sge(c, wr, req->segs[off >> SEG_SHIFT], len, mr->lkey);
	}
	return wr;
}

static int add_read(struct rdma_tgt *t, struct chain *c, struct request *req)
{
	struct ibv_send_wr *wr = add_transfers(t, c, req, IBV_WR_RDMA_READ, 0, req->data_len);

	if (!wr)
		return -ENOMEM;
	wr->send_flags = IBV_SEND_SIGNALED;
	wr->wr_id = (uintptr_t)req | RDMA_TGT_READ;
	return 0;
}

static int add_early(struct rdma_tgt *t, struct chain *c, struct request *req, uint32_t end)
{
	if (!add_transfers(t, c, req, IBV_WR_RDMA_WRITE, req->sent, end))
		return -ENOMEM;
	stat_add(&t->qp.tx_bytes, end - req->sent);
	req->sent = end;
	return 0;
}

/* Memory that the device sends the response from; inline it has a copy at once. There are as many
 * places as the send queue has entries, and those end in order. */
static const struct nvme_cqe *response(struct rdma_tgt *t, const struct request *req)
{
	struct nvme_cqe *cqe;

	if (t->q.size.inlined)
		return &req->cqe;
	cqe = (struct nvme_cqe *)t->responses.mem + t->answered++ % t->q.size.send;
	*cqe = req->cqe;
	return cqe;
}

/*
 * From here on the host may have the response, and use its entry and its CID for another command,
 * before we are told that it was sent. Or it does not take it, and keeps memory of ours: no more
 * than it must.
 */
static void has_left(struct rdma_tgt *t, struct request *req)
{
	if (req->dir == NVME_DIR_H2C)
		request_free_data(req);
	req->ttx.kind = RDMA_TX_LEFT;
	t->qp.inflight--;
	t->qp.left++;
	if (req->tgt_slot != CID_MAP_NONE)
		cid_map_del(&t->cids, req->tgt_slot);
	req->tgt_slot = CID_MAP_NONE;
}

static int add_answer(struct rdma_tgt *t, struct chain *c, struct request *req)
{
	bool inlined = t->q.size.inlined;
	struct ibv_send_wr *wr;
	struct rdma_data d = {.invalidate = false};

	if (has_data(req) && add_early(t, c, req, req->data_len))
		return -ENOMEM;
	if (req->sqe.sgl.type == NVME_SGL_KEYED_INV)
		rdma_wire_get_keyed(&req->sqe.sgl, &d);
	wr = add(c, d.invalidate && t->may_invalidate ? IBV_WR_SEND_WITH_INV : IBV_WR_SEND);
	if (wr->opcode == IBV_WR_SEND_WITH_INV)
		wr->invalidate_rkey = d.key;
	add_sge(c, wr, response(t, req), sizeof(struct nvme_cqe),
		inlined ? 0 : t->responses.mr->lkey);
	wr->send_flags = IBV_SEND_SIGNALED | (inlined ? IBV_SEND_INLINE : 0);
	wr->wr_id = (uintptr_t)req | RDMA_TGT_ANSWER;
	stat_add(&t->qp.tx_bytes, sizeof(struct nvme_cqe));
	has_left(t, req);
	return 0;
}

static int post(struct rdma_tgt *t, struct chain *c)
{
	struct ibv_send_wr *bad;
	int e = c->n ? ibv_post_send(t->q.qp, c->wr, &bad) : 0;

	c->n = c->sges = 0;
	return -e;
}

/* Room for one more of @n work requests in the chain, which may have to leave for that. */
static int make_room(struct rdma_tgt *t, struct chain *c, unsigned n, unsigned sges)
{
	return c->n + n > CHAIN || c->sges + sges > CHAIN_SGE ? post(t, c) : 0;
}

/* The request's next @n work requests are about to be added. */
static int take_room(struct rdma_tgt *t, struct chain *c, struct request *req, unsigned n)
{
	int e = make_room(t, c, n, REQUEST_MAX_SEGS + 1);

	dequeue(t, req);
	t->sq_free -= n;
	req->ttx.done += n;
	return e;
}

/* Nothing says that these are done but their answer: there must be room left for any one of those.
 */
static int flush_early(struct rdma_tgt *t, struct chain *c, struct request *req)
{
	uint32_t end = rdma_tgt_early_end(req);
	unsigned n = end ? transfers(t, req, req->sent, end) : 0;
	int e;

	if (!n || n + REQUEST_MAX_SEGS + 1 > t->sq_free) {
		dequeue(t, req);
		return 0;
	}
	e = take_room(t, c, req, n);
	return e ? e : add_early(t, c, req, end);
}

static unsigned answer_size(const struct rdma_tgt *t, struct request *req)
{
	if (!has_data(req))
		return 1;
	drop_earlier(req);
	return transfers(t, req, req->sent, req->data_len) + 1;
}

static int flush_answers(struct rdma_tgt *t, struct chain *c)
{
	struct tx *tx;
	int e = 0;

	while (!e && (tx = TAILQ_FIRST(&t->answers))) {
		struct request *req = tx->req;
		unsigned n;

		if (tx->kind == RDMA_TX_DATA) {
			e = flush_early(t, c, req);
			continue;
		}
		n = answer_size(t, req);
		if (n > t->sq_free)
			return 0;
		e = take_room(t, c, req, n);
		if (!e)
			e = add_answer(t, c, req);
	}
	return e;
}

static int flush_reads(struct rdma_tgt *t, struct chain *c)
{
	struct tx *tx;
	int e = 0;

	while (!e && (tx = TAILQ_FIRST(&t->reads))) {
		struct request *req = tx->req;
		unsigned n = transfers(t, req, 0, req->data_len);

		/* More than the depth would hold up the answers behind them in the send queue. */
		if (n > t->sq_free || (t->reading && t->reading + n > t->max_reads))
			return 0;
		e = take_room(t, c, req, n);
		t->reading += n;
		if (!e)
			e = add_read(t, c, req);
	}
	return e;
}

void rdma_tgt_flush(void *arg)
{
	struct rdma_tgt *t = arg;
	struct chain c;
	int e;

	if (!t->q.qp || t->q.dead)
		return;
	c.n = c.sges = 0;
	e = flush_answers(t, &c);
	if (!e && t->phase < RDMA_TGT_CLOSING)
		e = flush_reads(t, &c);
	if (!e)
		e = post(t, &c);
	if (e)
		rdma_tgt_shut(t, "cannot send: %s", strerror(-e));
	else
		rdma_tgt_watch_progress(t);
}

static void go_on(struct rdma_tgt *t)
{
	if (!TAILQ_EMPTY(&t->answers) || !TAILQ_EMPTY(&t->reads))
		loop_hook_queue(t->qp.loop, &t->flush);
}

static void has_ended(struct rdma_tgt *t, struct request *req)
{
	t->sq_free += req->ttx.done;
	req->ttx.done = 0;
}

void rdma_tgt_read_done(struct rdma_tgt *t, struct request *req)
{
	t->reading -= req->ttx.done;
	has_ended(t, req);
	t->moved_on++;
	go_on(t);
	stat_add(&t->qp.rx_bytes, req->data_len);
	req->filled = req->data_len;
	/* Then it waits to be given back with all others. */
	if (t->phase >= RDMA_TGT_CLOSING)
		return;
	if (req->tgt_state == RDMA_REQ_DISCARDING) {
		rdma_tgt_answer(t, req);
		return;
	}
	req->tgt_state = TGT_REQ_EXECUTING;
	t->qp.listener->ops->data_ready(&t->qp, req);
}

void rdma_tgt_answer_done(struct rdma_tgt *t, struct request *req)
{
	has_ended(t, req);
	t->answering--;
	t->moved_on++;
	go_on(t);
	rdma_tgt_release(t, req);
	if (t->phase == RDMA_TGT_UP) {
		rdma_tgt_run_arrived(t);
	} else if (!t->answering) {
		/* A host may have had others before its Connect; all are of this loop's pool. */
		t->leave = t->phase == RDMA_TGT_MOVING;
		loop_hook_queue(t->qp.loop, &t->event);
	}
}
