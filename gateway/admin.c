/* SPDX-License-Identifier: Apache-2.0 */
/* Admin commands: the opcode table, their data, and those too small for a file of their own. */
#include "gateway/admin.h"

#include <stdlib.h>

#include "gateway/io.h"
#include "transport/pool.h"

#define ST(sct, sc)   (uint16_t)(NVME_STATUS(sct, sc) | NVME_DNR)
#define ST_SEQUENCE   ST(0, NVME_SC_CMD_SEQ_ERROR)
#define ST_SGL_LENGTH ST(0, NVME_SC_SGL_INVALID_DATA)

#define IDENTIFY_SIZE 4096u

/* ---- small ones ---- */

/* Any command keeps the controller alive; this one does nothing else. */
static uint16_t keep_alive_run(struct controller *c, struct request *req)
{
	return 0;
}

static uint32_t identify_len(const struct nvme_sqe *sqe)
{
	return IDENTIFY_SIZE;
}

/* ---- Abort (Base 2.0, 5.1): result bit 0 set says that nothing was aborted ---- */

#define NOT_ABORTED 1u

struct abort_msg {
	struct host_queue *q;
	struct request *req; /* the Abort */
	uint16_t cid;
	bool aborted;
};

static void abort_answered(void *arg)
{
	struct abort_msg *m = arg;
	struct controller *c = m->q->ctrl;

	c->nr_aborts--;
	m->req->cqe.result = htole32(m->aborted ? 0 : NOT_ABORTED);
	tgt_complete_status(m->req, 0);
	queue_put(m->q);
	free(m);
}

static void abort_on_worker(void *arg)
{
	struct abort_msg *m = arg;

	m->aborted = !m->q->closed && io_abort(m->q, m->cid);
	loop_post(m->q->gw->control, abort_answered, m);
}

uint16_t abort_run(struct controller *c, struct request *req)
{
	uint32_t dw10 = le32toh(req->sqe.cdw10);
	uint16_t sqid = dw10 & 0xffff, cid = (uint16_t)(dw10 >> 16);
	struct host_queue *q = sqid <= c->max_io_queues ? c->queues[sqid] : NULL;
	struct abort_msg *m;

	/* Of what the admin queue has, only AERs take long; and a queue that is not on its worker
	 * yet, where it could be looked at, has no commands. */
	if (!q || q->qp->loop == q->gw->control) {
		bool aborted = sqid == 0 && aer_abort(c, cid);

		req->cqe.result = htole32(aborted ? 0 : NOT_ABORTED);
		return 0;
	}
	if (c->nr_aborts >= CTRL_ABORT_LIMIT)
		return ST(1, NVME_SC_ABORT_LIMIT);
	m = malloc(sizeof(*m));
	if (!m)
		abort();
	*m = (struct abort_msg){.q = q, .req = req, .cid = cid};
	queue_get(q);
	c->nr_aborts++;
	loop_post(q->gw->workers[q->worker].loop, abort_on_worker, m);
	return ADMIN_LATER;
}

/* ---- the table ---- */

struct admin_op {
	uint8_t kinds;
	/* Bytes of data by the command's fields; NULL: none. The opcode says the direction. */
	uint32_t (*len)(const struct nvme_sqe *sqe);
	uint16_t (*run)(struct controller *c, struct request *req);
};

static const struct admin_op ops[256] = {
	[nvme_admin_get_log_page] = {FOR_BOTH, log_page_len, log_page_run},
	[nvme_admin_identify] = {FOR_BOTH, identify_len, identify_run},
	[nvme_admin_abort_cmd] = {FOR_BOTH, NULL, abort_run},
	[nvme_admin_set_features] = {FOR_BOTH, feature_set_len, feature_set_run},
	[nvme_admin_get_features] = {FOR_BOTH, feature_get_len, feature_get_run},
	[nvme_admin_async_event] = {FOR_BOTH, NULL, aer_run},
	[NVME_ADMIN_CROSS_CONTROLLER_RESET] = {FOR_IO, NULL, ccr_run},
	[nvme_admin_keep_alive] = {FOR_BOTH, NULL, keep_alive_run},
};

uint32_t admin_effects(const struct controller *c, uint8_t opcode)
{
	return ops[opcode].kinds & admin_kind(c) ? NVME_CMD_EFFECTS_CSUPP : 0;
}

/* ---- dispatch ---- */

void admin_complete(struct controller *c, struct request *req, uint16_t status)
{
	if (status)
		controller_log_error(c, (struct error_entry){
						.nsid = le32toh(req->sqe.nsid),
						.cid = req->cid,
						.status = status,
					});
	if (!status && req->dir == NVME_DIR_C2H)
		req->filled = req->data_len;
	tgt_complete_status(req, status);
}

/* ---- memory ----
 *
 * A host that asks and does not read, or that does not send the data of its commands, keeps their
 * memory until the transport loses patience with it. So each gets a little that nobody else can
 * have: CTRL_ADMIN_COMMANDS commands with a segment each, and before those one with up to
 * CTRL_ADMIN_SEGMENTS. Commands beyond that wait for the host's earlier ones, and what needs more
 * shares what the pool has besides.
 */

#define RETRY_LATER (10 * NSEC_PER_MSEC)

/* Commands of the queue that hold memory or are about to, besides the one that is looked at. */
static unsigned holders(const struct host_queue *q)
{
	return q->qp->inflight + q->qp->left - 1 - q->nr_postponed - q->ctrl->nr_aers;
}

static bool may_take(const struct host_queue *q, uint32_t len)
{
	const struct pool *pool = loop_pool(q->gw->control);
	unsigned segments = (len + SEG_SIZE - 1) >> SEG_SHIFT, before = holders(q);

	/* And none before those that wait already. */
	if (before >= CTRL_ADMIN_COMMANDS || (q->nr_postponed && !q->gw->retrying))
		return false;
	return segments <= 1 || (!before && segments <= CTRL_ADMIN_SEGMENTS) ||
	       pool_free_segments(pool) >= q->gw->reserved_segments + segments;
}

/* Waits for what a pool that is empty now lacks. */
static void starve(struct host_queue *q, struct request *req)
{
	req->complete_arg = &q->gw->starved;
	TAILQ_INSERT_TAIL(&q->gw->starved, req, link);
	pool_wait(loop_pool(q->gw->control), &q->gw->buffers);
}

/* Waits for the host to take its answers: mostly they leave at the end of this turn. */
static void postpone(struct host_queue *q, struct request *req)
{
	struct gateway *gw = q->gw;

	/* One that is retried is older than those. */
	if (gw->retrying)
		TAILQ_INSERT_HEAD(&q->postponed, req, link);
	else
		TAILQ_INSERT_TAIL(&q->postponed, req, link);
	q->nr_postponed++;
	if (!q->in_line) {
		q->in_line = true;
		TAILQ_INSERT_TAIL(&gw->line, q, line);
	}
	if (gw->retrying)
		loop_timer_arm(&gw->retry_later, RETRY_LATER);
	else
		loop_hook_queue(gw->control, &gw->retry_soon);
}

static struct request *next_postponed(struct host_queue *q)
{
	struct request *req = TAILQ_FIRST(&q->postponed);

	if (req) {
		TAILQ_REMOVE(&q->postponed, req, link);
		q->nr_postponed--;
	}
	return req;
}

/* Makes room for @len bytes to send: 0, a status, or ADMIN_LATER when it has to wait. */
static uint16_t prepare_c2h(struct controller *c, struct request *req, uint32_t len)
{
	if (len > req->data_len)
		return ST_SGL_LENGTH;
	if (c->limits.max_transfer && len > c->limits.max_transfer)
		return NVME_ST_INVALID_FIELD;
	if (len && !may_take(c->admin, len)) {
		postpone(c->admin, req);
		return ADMIN_LATER;
	}
	if (len && request_alloc_data(req, len)) {
		starve(c->admin, req);
		return ADMIN_LATER;
	}
	req->data_len = len;
	request_zero(req, 0, len);
	return 0;
}

/* Has the host's data brought: 0 when it is there, a status, or ADMIN_LATER. */
static uint16_t prepare_h2c(struct controller *c, struct request *req, uint32_t len)
{
	if (!len)
		return 0;
	if (req->data_len != len)
		return ST_SGL_LENGTH;
	if (req->filled == len)
		return 0;
	if (may_take(c->admin, len))
		tgt_fetch(req);
	else
		postpone(c->admin, req);
	return ADMIN_LATER;
}

static uint16_t run(struct controller *c, struct request *req)
{
	const struct admin_op *op = &ops[req->sqe.opcode];
	uint32_t len;
	uint16_t status;

	controller_check_ready(c);
	if (!controller_ready(c))
		return ST_SEQUENCE;
	if (!(op->kinds & admin_kind(c)))
		return NVME_ST_INVALID_OPCODE;
	if (req->sqe.flags & NVME_FUSE_MASK)
		return NVME_ST_INVALID_FIELD;
	len = op->len ? op->len(&req->sqe) : 0;
	if (req->dir == NVME_DIR_C2H)
		status = prepare_c2h(c, req, len);
	else
		status = prepare_h2c(c, req, len);
	return status ? status : op->run(c, req);
}

static void dispatch(struct host_queue *q, struct request *req)
{
	uint16_t status;

	if (req->sqe.opcode == NVME_OPC_FABRICS) {
		fabrics_command(q, req);
		return;
	}
	if (!q->ctrl) {
		tgt_complete_status(req, ST_SEQUENCE);
		return;
	}
	status = run(q->ctrl, req);
	if (status != ADMIN_LATER)
		admin_complete(q->ctrl, req, status);
}

void admin_command(struct host_queue *q, struct request *req)
{
	if (q->ctrl)
		q->ctrl->admin_commands++;
	dispatch(q, req);
}

void admin_data_ready(struct host_queue *q, struct request *req)
{
	dispatch(q, req);
}

static void retry_starved(void *arg)
{
	TAILQ_HEAD(, request) now = TAILQ_HEAD_INITIALIZER(now);
	struct gateway *gw = arg;
	struct request *req;

	gw->retrying = true;
	/* Each once: those that have to wait on put themselves back in the list. */
	TAILQ_CONCAT(&now, &gw->starved, link);
	while ((req = TAILQ_FIRST(&now))) {
		TAILQ_REMOVE(&now, req, link);
		req->complete_arg = NULL;
		dispatch(req->tgt->priv, req);
	}
	gw->retrying = false;
}

/*
 * One after the other, until one has to wait on: a host that takes no answers costs a look at one
 * command, however many it has sent.
 */
static void retry_queue(struct host_queue *q)
{
	struct request *req;

	while ((req = next_postponed(q))) {
		dispatch(q, req);
		if (TAILQ_FIRST(&q->postponed) == req)
			break;
	}
}

static void retry_postponed(void *arg)
{
	TAILQ_HEAD(, host_queue) now = TAILQ_HEAD_INITIALIZER(now);
	struct gateway *gw = arg;
	struct host_queue *q;

	gw->retrying = true;
	TAILQ_CONCAT(&now, &gw->line, line);
	while ((q = TAILQ_FIRST(&now))) {
		TAILQ_REMOVE(&now, q, line);
		q->in_line = false;
		retry_queue(q);
	}
	gw->retrying = false;
}

void admin_closed(struct host_queue *q)
{
	const uint16_t status = NVME_STATUS(0, NVME_SC_ABORT_QUEUE);
	struct request *req, *next;

	if (q->ctrl)
		aer_reset(q->ctrl);
	if (q->in_line)
		TAILQ_REMOVE(&q->gw->line, q, line);
	while ((req = next_postponed(q)))
		tgt_complete_status(req, status);
	for (req = TAILQ_FIRST(&q->qp->requests); req; req = next) {
		next = TAILQ_NEXT(req, tgt_link);
		if (req->complete_arg != &q->gw->starved)
			continue;
		TAILQ_REMOVE(&q->gw->starved, req, link);
		tgt_complete_status(req, status);
	}
}

void admin_init(struct gateway *gw)
{
	TAILQ_INIT(&gw->starved);
	TAILQ_INIT(&gw->line);
	gw->buffers = (struct pool_waiter){.fn = retry_starved, .arg = gw};
	loop_hook_init(&gw->retry_soon, retry_postponed, gw);
	loop_timer_init(&gw->retry_later, gw->control, retry_postponed, gw);
}

void admin_fini(struct gateway *gw)
{
	if (gw->retry_later.fn)
		loop_timer_fini(&gw->retry_later);
}
