/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes of an admin's, for diagnosis: control asks, the first worker carries them out as
 * it would a host's or, over one path, as that path does it, and control hears of the end. Nothing
 * waits for a slot or for room: who diagnoses can ask again.
 */
#include <errno.h>
#include <stdlib.h>

#include "multipath/control.h"

struct task {
	struct mp_worker *mw;
	struct head_worker *hw; /* may be gone before a command over one path is back */
	struct lane *lane;	/* NULL: whichever the head chooses */
	struct mp_io *io;
	struct path *path; /* that carried it out */
};

/* ---- the end ---- */

static void done_on_control(void *arg)
{
	struct task *t = arg;
	struct mp *mp = t->mw->mp;

	t->io->path = t->path;
	t->io->done(t->io);
	free(t);
	mp_object_gone(mp);
}

static void report(struct task *t, int error)
{
	t->io->error = error;
	loop_post(t->mw->control, done_on_control, t);
}

/* While it is not let go of its lane yet: the path is there for as long as the message needs. */
static void take_result(struct task *t, struct request *req, const struct lane *lane)
{
	struct mp_io *io = t->io;

	io->status = nvme_cqe_status(&req->cqe);
	io->ns = loop_now(t->mw->loop) - req->arrived;
	if (lane)
		t->path = lane->set->path;
	if (!io->status && req->dir == NVME_DIR_C2H)
		request_copy_out(req, 0, io->data, io->len);
	report(t, 0);
}

/* Only what succeeded is sure to have come from the lane that it went to last. */
static void on_complete(struct request *req)
{
	bool well = !nvme_cqe_status(&req->cqe);

	take_result(req->complete_arg, req, well ? req->mp_lane : NULL);
	pool_put(req);
}

static void on_lane_done(struct request *req, int error)
{
	struct task *t = req->complete_arg;
	struct lane *lane = req->mp_lane;
	struct mp_worker *mw = t->mw;

	conn_returned(req->mp_conn, req, error);
	if (error)
		nvme_cqe_set_status(&req->cqe, NVME_ST_HOST_PATH);
	take_result(t, req, lane);
	lane_put(lane, mw);
	pool_put(req);
}

/* ---- the beginning ---- */

static bool in_range(const struct mp_io *io, const struct ns_geometry *geo)
{
	return io->blocks <= geo->nsze && io->slba <= geo->nsze - io->blocks;
}

static void fill(struct task *t, struct request *req)
{
	const struct mp_io *io = t->io;

	req->sqe.opcode = io->write ? nvme_cmd_write : nvme_cmd_read;
	req->sqe.nsid = htole32(t->hw->nsid);
	req->sqe.cdw10 = htole32((uint32_t)io->slba);
	req->sqe.cdw11 = htole32((uint32_t)(io->slba >> 32));
	req->sqe.cdw12 = htole32(io->blocks - 1);
	req->dir = io->write ? NVME_DIR_H2C : NVME_DIR_C2H;
	req->data_len = io->len;
	req->complete = on_complete;
	req->complete_arg = t;
	req->arrived = loop_now(t->mw->loop);
}

/* 0: its end will be reported. */
static int start(struct task *t)
{
	const struct ns_geometry *geo = &t->hw->view->geo;
	struct mp_io *io = t->io;
	struct request *req;
	int err = 0;

	if (t->hw->retired || io->block_bytes != mp_block_bytes(geo) || !in_range(io, geo))
		return -ESTALE;
	req = pool_get(loop_pool(t->mw->loop));
	if (!req)
		return -EBUSY;
	fill(t, req);
	if (request_alloc_data(req, io->len)) {
		pool_put(req);
		return -EBUSY;
	}
	if (io->write) {
		request_copy_in(req, 0, io->data, io->len);
		req->filled = io->len;
	}
	if (!t->lane) {
		head_submit(t->hw, req);
		return 0;
	}
	req->ini_done = on_lane_done;
	err = lane_submit(t->hw, t->lane, req);
	if (err)
		pool_put(req);
	return err;
}

static void start_on_worker(void *arg)
{
	struct task *t = arg;
	int err = start(t);

	if (err)
		report(t, err);
}

uint32_t mp_block_bytes(const struct ns_geometry *geo)
{
	return (1u << geo->lbads) + geo->ms;
}

/* Heads and lanes are retired by later messages. */
void mp_io_start(struct head *h, const struct path *only, struct mp_io *io)
{
	struct mp *mp = h->ss->mp;
	struct task *t = malloc(sizeof(*t));

	if (!t)
		abort();
	*t = (struct task){&mp->workers[0], h->hw[0], only ? only->lanes->lane[0] : NULL, io, NULL};
	mp->objects++;
	loop_post(mp->workers[0].loop, start_on_worker, t);
}
