/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/io.h"

#include <string.h>

#include "gateway/admin.h"
#include "transport/log.h"

/* Of command dword 12. */
#define PRINFO_PRACT	 (1u << 29)
#define WRITE_ZEROES_NSZ (1u << 23) /* all of the namespace */

#define PI_BYTES     8u
#define DSM_MAX_DATA (256u * sizeof(struct nvme_dsm_range))

#define ST_LBA_RANGE  (NVME_STATUS(0, NVME_SC_LBA_RANGE) | NVME_DNR)
#define ST_SGL_LENGTH (NVME_STATUS(0, NVME_SC_SGL_INVALID_DATA) | NVME_DNR)
#define ST_SIZE_LIMIT (NVME_STATUS(1, NVME_SC_CMD_SIZE_LIMIT_EXCEEDED) | NVME_DNR)

/* ---- checks of one command each ---- */

static uint32_t blocks_of(const struct nvme_sqe *sqe)
{
	return (le32toh(sqe->cdw12) & 0xffff) + 1;
}

static uint16_t check_range(const struct nvme_sqe *sqe, const struct ns_geometry *geo)
{
	uint64_t slba = nvme_sqe_slba(sqe);
	uint32_t n = blocks_of(sqe);

	return n > geo->nsze || slba > geo->nsze - n ? ST_LBA_RANGE : 0;
}

/*
 * Bytes that one block moves. With PRACT and metadata that is nothing but protection information,
 * the controller inserts and strips it (NVM command set 1.0, 5.2.2).
 */
static uint64_t block_bytes(const struct nvme_sqe *sqe, const struct ns_geometry *geo)
{
	bool stripped = (geo->dps & NVME_NS_DPS_PI_MASK) && geo->ms == PI_BYTES &&
			(le32toh(sqe->cdw12) & PRINFO_PRACT);

	return (1ull << geo->lbads) + (stripped ? 0 : geo->ms);
}

static uint16_t check_transfer(const struct host_queue *q, const struct request *req,
			       const struct ns_geometry *geo)
{
	if (req->data_len > q->limits.max_transfer)
		return NVME_ST_INVALID_FIELD;
	if (req->data_len != blocks_of(&req->sqe) * block_bytes(&req->sqe, geo))
		return ST_SGL_LENGTH;
	return check_range(&req->sqe, geo);
}

/* Without data, of up to 2^@shift bytes where the command, a bit of ONCS, is a bounded one. */
static uint16_t check_size(const struct host_queue *q, const struct request *req,
			   const struct ns_geometry *geo, uint16_t command, uint8_t shift)
{
	uint64_t bytes = blocks_of(&req->sqe) * block_bytes(&req->sqe, geo);

	if ((q->limits.bounded & command) && shift < 64 && bytes > 1ull << shift)
		return NVME_ST_INVALID_FIELD;
	return check_range(&req->sqe, geo);
}

static uint16_t check_verify(const struct host_queue *q, const struct request *req,
			     const struct ns_geometry *geo)
{
	return check_size(q, req, geo, NVME_CTRL_ONCS_VERIFY, q->limits.verify);
}

static uint16_t check_write_zeroes(const struct host_queue *q, const struct request *req,
				   const struct ns_geometry *geo)
{
	/* NVM command set 1.1 has a command without bounds, which ONCS does not offer here: what
	 * may overlap with it is judged by the blocks that it names. */
	if (le32toh(req->sqe.cdw12) & WRITE_ZEROES_NSZ)
		return NVME_ST_INVALID_FIELD;
	return check_size(q, req, geo, NVME_CTRL_ONCS_WRITE_ZEROES, q->limits.write_zeroes);
}

/*
 * Where the command is a bounded one. Else blocks beyond the limits are merely not looked at (NVM
 * command set 1.0, 3.2.3.1), and which these are is up to the upstream.
 */
static uint16_t check_dsm_limits(const struct limits *l, const struct request *req, uint32_t ranges)
{
	uint64_t sum = 0;

	if (ranges > l->ranges)
		return ST_SIZE_LIMIT;
	if (req->filled < req->data_len)
		return 0; /* looked at again when it is there */
	for (uint32_t i = 0; i < ranges; i++) {
		struct nvme_dsm_range r;

		request_copy_out(req, i * (uint32_t)sizeof(r), &r, sizeof(r));
		sum += le32toh(r.nlb);
		if (le32toh(r.nlb) > l->range_blocks || sum > l->blocks)
			return ST_SIZE_LIMIT;
	}
	return 0;
}

/* Hosts may describe more than the ranges that the command has: Linux always sends room for 256. */
static uint16_t check_dsm(const struct host_queue *q, const struct request *req,
			  const struct ns_geometry *geo)
{
	uint32_t ranges = (le32toh(req->sqe.cdw10) & 0xff) + 1;

	if (req->data_len < ranges * sizeof(struct nvme_dsm_range) || req->data_len > DSM_MAX_DATA)
		return ST_SGL_LENGTH;
	return q->limits.bounded & NVME_CTRL_ONCS_DSM ? check_dsm_limits(&q->limits, req, ranges)
						      : 0;
}

static uint16_t check_flush(const struct host_queue *q, const struct request *req,
			    const struct ns_geometry *geo)
{
	return 0;
}

/* ---- what there is ---- */

struct io_op {
	uint16_t (*check)(const struct host_queue *q, const struct request *req,
			  const struct ns_geometry *geo);
	uint16_t oncs;	  /* the bit that offers it; 0: always there */
	uint32_t effects; /* besides being supported */
};

static const struct io_op ops[256] = {
	[nvme_cmd_flush] = {check_flush, 0, 0},
	[nvme_cmd_write] = {check_transfer, 0, NVME_CMD_EFFECTS_LBCC},
	[nvme_cmd_read] = {check_transfer, 0, 0},
	[nvme_cmd_compare] = {check_transfer, NVME_CTRL_ONCS_COMPARE, 0},
	[nvme_cmd_write_zeroes] = {check_write_zeroes, NVME_CTRL_ONCS_WRITE_ZEROES,
				   NVME_CMD_EFFECTS_LBCC},
	[nvme_cmd_dsm] = {check_dsm, NVME_CTRL_ONCS_DSM, NVME_CMD_EFFECTS_LBCC},
	[nvme_cmd_verify] = {check_verify, NVME_CTRL_ONCS_VERIFY, 0},
};

static bool offered(const struct io_op *op, uint16_t oncs)
{
	return op->check && (op->oncs & oncs) == op->oncs;
}

uint16_t io_oncs(void)
{
	uint16_t oncs = 0;

	for (unsigned i = 0; i < 256; i++)
		oncs |= ops[i].oncs;
	return oncs;
}

uint32_t io_effects(uint8_t opcode, uint16_t oncs)
{
	const struct io_op *op = &ops[opcode];

	return offered(op, oncs) ? op->effects | NVME_CMD_EFFECTS_CSUPP : 0;
}

/* ---- the way back ---- */

static void on_error_message(void *arg)
{
	struct host_queue *q = arg;

	controller_log_error(q->ctrl, q->error);
	atomic_store_explicit(&q->error_busy, false, memory_order_release);
}

/* One at a time; what fails while one is on its way is not logged, so a flood costs nothing. */
static void report_error(struct host_queue *q, const struct request *req, uint16_t status)
{
	if (atomic_load_explicit(&q->error_busy, memory_order_acquire))
		return;
	q->error = (struct error_entry){
		.lba = nvme_sqe_slba(&req->sqe),
		.nsid = (uint32_t)(uintptr_t)req->complete_arg,
		.sqid = q->qid,
		.cid = req->cid,
		.status = status,
	};
	atomic_store_explicit(&q->error_busy, true, memory_order_relaxed);
	loop_post(q->gw->control, on_error_message, q);
}

static void count(struct host_queue *q, const struct request *req)
{
	if (req->sqe.opcode == nvme_cmd_read) {
		stat_add(&q->reads, 1);
		stat_add(&q->read_bytes, req->data_len);
	} else if (req->sqe.opcode == nvme_cmd_write) {
		stat_add(&q->writes, 1);
		stat_add(&q->write_bytes, req->data_len);
	}
}

static void on_complete(struct request *req)
{
	struct host_queue *q = req->tgt ? req->tgt->priv : NULL;
	uint16_t status = nvme_cqe_status(&req->cqe);

	log_debug(IO, "command %u: status %#x", req->cid, status);
	if (q && !status) {
		count(q, req);
	} else if (q) {
		if (!atomic_load_explicit(q->acre, memory_order_relaxed))
			nvme_cqe_set_status(&req->cqe, status & ~NVME_SC_CRD);
		report_error(q, req, status);
	}
	tgt_complete(req);
}

static void refuse(struct request *req, uint16_t status)
{
	nvme_cqe_set_status(&req->cqe, status);
	on_complete(req);
}

/* ---- the way in ---- */

/* 0 and *hw, or the status that the command gets. */
static uint16_t check(const struct host_queue *q, const struct request *req,
		      struct head_worker **hw)
{
	const struct io_op *op = &ops[req->sqe.opcode];

	if (!offered(op, q->limits.oncs))
		return NVME_ST_INVALID_OPCODE;
	if (req->sqe.flags & NVME_FUSE_MASK)
		return NVME_ST_INVALID_FIELD;
	*hw = mp_lookup(q->mp, q->worker, le32toh(req->sqe.nsid));
	if (!*hw)
		return NVME_ST_INVALID_NS;
	return op->check(q, req, head_geometry(*hw));
}

/* What must not be made of two attempts. How long a run of blocks is that a write changes as one
 * (NAWUN), and where it begins, is not looked at. */
static uint32_t atomic_bytes(const struct request *req, const struct ns_geometry *geo)
{
	return geo->runs ? req->data_len : (uint32_t)block_bytes(&req->sqe, geo);
}

/*
 * Carries the command out, or with @fetch gets its data first. Namespace and size may change while
 * data is fetched, so it is checked again then.
 */
static void run(struct host_queue *q, struct request *req, bool fetch)
{
	struct head_worker *hw = NULL;
	uint16_t status = check(q, req, &hw);

	if (!status && req->dir == NVME_DIR_C2H)
		req->block = atomic_bytes(req, head_geometry(hw));
	if (status)
		refuse(req, status);
	else if (!fetch || req->dir != NVME_DIR_H2C || req->filled == req->data_len)
		head_submit(hw, req);
	else if (head_admit(hw, req))
		tgt_fetch(req);
}

static void proceed(struct request *req)
{
	run(req->tgt->priv, req, true);
}

void io_command(struct host_queue *q, struct request *req)
{
	stat_add(&q->commands, 1);
	log_debug(IO, "queue %u: command %u: opcode %#x, namespace %u, LBA %llu, %u bytes", q->qid,
		  req->cid, req->sqe.opcode, le32toh(req->sqe.nsid),
		  (unsigned long long)nvme_sqe_slba(&req->sqe), req->data_len);
	if (req->sqe.opcode == NVME_OPC_FABRICS || q->disconnected) {
		fabrics_io_command(q, req);
		return;
	}
	req->complete = on_complete;
	req->progress = tgt_progress;
	req->proceed = proceed;
	/* Kept for the error log: the head rewrites the one in the command. */
	req->complete_arg = (void *)(uintptr_t)le32toh(req->sqe.nsid);
	run(q, req, true);
}

void io_data_ready(struct host_queue *q, struct request *req)
{
	run(q, req, false);
}

/* ---- taking commands back ---- */

void io_closed(struct host_queue *q)
{
	struct request *req, *next;

	for (req = TAILQ_FIRST(&q->qp->requests); req; req = next) {
		next = TAILQ_NEXT(req, tgt_link);
		if (!head_cancel(req, NVME_STATUS(0, NVME_SC_ABORT_QUEUE)))
			head_abandon(req);
	}
}

bool io_abort(struct host_queue *q, uint16_t cid)
{
	struct request *req;

	TAILQ_FOREACH(req, &q->qp->requests, tgt_link)
		if (req->cid == cid)
			return head_cancel(req, NVME_STATUS(0, NVME_SC_ABORT_REQ));
	return false;
}
