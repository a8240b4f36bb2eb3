/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O path of a head on one worker: choose a lane, submit, and on the way back decide between
 * the host, another lane, and waiting.
 */
#include "multipath/dispatch.h"

#include <errno.h>
#include <stdlib.h>

#include "multipath/retry.h"
#include "multipath/selector.h"
#include "transport/log.h"
#include "transport/target.h"

/* Between looks at whether a host has taken what a lost attempt has brought. */
#define LEAVING_PAUSE (5 * NSEC_PER_MSEC)

/* Between attempts to flush a path whose ANA state is changing. */
#define FLUSH_PAUSE (100 * NSEC_PER_MSEC)

static void on_done(struct request *req, int error);

/* ---- the end of a command ---- */

static void finish(struct head_worker *hw, struct request *req)
{
	uint64_t took = loop_now(hw->mw->loop) - req->arrived;

	if (took > stat_get(&hw->stats.longest_ns))
		stat_set(&hw->stats.longest_ns, took);
	if (req->mp_owned)
		fence_forget(hw, req);
	req->mp_state = MP_REQ_IDLE;
	req->mp_head = NULL;
	hw->out--;
	req->complete(req);
	head_worker_put(hw);
}

void dispatch_proceed(struct head_worker *hw, struct request *req)
{
	req->mp_head = NULL;
	hw->out--;
	req->proceed(req);
	head_worker_put(hw);
}

void dispatch_finish(struct head_worker *hw, struct request *req, uint16_t status)
{
	req->cqe.result64 = 0;
	nvme_cqe_set_status(&req->cqe, status);
	finish(hw, req);
}

/* ---- submitting ---- */

/* The best class that has a path decides: one that is only busy is waited for. */
static struct view_entry *pick(struct head_worker *hw, unsigned ranks, const struct request *req)
{
	const struct selector *s = selector_of(hw->view->policy);

	for (unsigned rank = RANK_BEST; rank < RANK_NONE; rank++)
		if (ranks & 1u << rank)
			return s->pick(hw, (enum path_rank)rank, req);
	return NULL;
}

static uint64_t dirty_sum(const struct lane *lane)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < lane->set->n; i++)
		sum += stat_get(&lane->set->lane[i]->dirty);
	return sum;
}

static struct view_entry *unflushed(struct head_worker *hw, const struct request *req)
{
	for (unsigned i = 0; i < hw->view->n; i++) {
		struct view_entry *e = &hw->view->e[i];

		if (e->conn && e->conn->up && !(req->mp_mask & 1ull << e->lane->slot) &&
		    dirty_sum(e->lane) != e->lane->flushed)
			return e;
	}
	return NULL;
}

/*
 * Flush speaks of one controller's completed commands (NVM command set 1.0, 3.2.1), so it must
 * visit every controller that acknowledged a write since its last Flush, usable for I/O or not. At
 * least one is visited, for caches that we know nothing of.
 */
static struct view_entry *pick_flush(struct head_worker *hw, unsigned ranks,
				     const struct request *req)
{
	struct view_entry *e = unflushed(hw, req);

	if (!e)
		return pick(hw, ranks, req);
	return ini_room(e->conn->qp) ? e : NULL;
}

static bool lacks_buffers(struct head_worker *hw, struct request *req)
{
	if (req->dir != NVME_DIR_C2H || !req->data_len || req->nsegs)
		return false;
	if (!request_alloc_data(req, req->data_len))
		return false;
	pool_wait(req->pool, &hw->buffers);
	return true;
}

int dispatch_try(struct head_worker *hw, struct request *req)
{
	bool flush = req->sqe.opcode == nvme_cmd_flush;
	unsigned ranks = selector_ranks(hw->view);
	struct view_entry *e;

	if (!TAILQ_EMPTY(&hw->fences) && fence_blocks(hw, req))
		return -EBUSY;
	/* Without a path it waits without buffers. */
	if ((!ranks && !flush) || lacks_buffers(hw, req))
		return -EAGAIN;
	e = flush ? pick_flush(hw, ranks, req) : pick(hw, ranks, req);
	if (!e)
		return flush && unflushed(hw, req) ? -EXFULL : -EAGAIN;
	req->sqe.nsid = htole32(e->nsid);
	req->mp_lane = e->lane;
	req->ini_done = on_done;
	if (flush)
		req->mp_mark = dirty_sum(e->lane);
	if (conn_submit(e->conn, req))
		return -EAGAIN; /* on a dying conn: a new view or another turn will tell */
	log_debug(IO, "command %u: over %s/%u", req->cid, e->lane->set->path->up->cfg.name,
		  e->nsid);
	req->mp_conn = e->conn;
	req->mp_state = MP_REQ_OUT;
	e->lane->out++;
	stat_add(&e->lane->stats.inflight, 1);
	return 0;
}

static void hold(struct head_worker *hw, struct request *req, bool aside)
{
	uint16_t refusal;

	log_debug(IO, "command %u: waits for a path, room or buffers", req->cid);
	hold_note_paths(hw);
	refusal = hold_refusal(hw, req);
	if (hw->retired) {
		dispatch_finish(hw, req, NVME_ST_INVALID_NS);
	} else if (refusal) {
		stat_add(&hw->stats.failed_no_path, 1);
		dispatch_finish(hw, req, refusal);
	} else if (aside) {
		hold_in_aside(hw, req);
	} else {
		hold_in(hw, req);
	}
}

void dispatch(struct head_worker *hw, struct request *req)
{
	int err;

	/* Another attempt may bring newer data into the same segments; no block that is leaving
	 * may be made of both. */
	if (tgt_leaving(req) && !hw->retired) {
		delay_in(hw, req, LEAVING_PAUSE, MP_REQ_PAUSED);
		return;
	}
	err = hw->retired ? -EAGAIN : dispatch_try(hw, req);
	if (err == -EBUSY)
		fence_in(hw, req);
	else if (err)
		hold(hw, req, err == -EXFULL);
}

static void enter(struct head_worker *hw, struct request *req)
{
	req->mp_head = hw;
	req->mp_from_host = req->tgt != NULL;
	if (!req->arrived)
		req->arrived = loop_now(hw->mw->loop);
	hw->out++;
}

bool head_admit(struct head_worker *hw, struct request *req)
{
	bool fenced = !TAILQ_EMPTY(&hw->fences) && fence_blocks(hw, req);

	if (!fenced && selector_ranks(hw->view))
		return true;
	enter(hw, req);
	if (fenced)
		fence_in(hw, req);
	else
		hold(hw, req, false);
	return false;
}

void head_submit(struct head_worker *hw, struct request *req)
{
	enter(hw, req);
	/* Newcomers do not overtake those who wait, or a wait might never end. */
	if (!TAILQ_EMPTY(&hw->waiting) && !hw->draining)
		hold(hw, req, false);
	else
		dispatch(hw, req);
}

bool head_cancel(struct request *req, uint16_t status)
{
	struct head_worker *hw = req->mp_head;

	if (!hw)
		return false;
	switch (req->mp_state) {
	case MP_REQ_WAITING:
	case MP_REQ_ASIDE:
		hold_out(hw, req);
		break;
	case MP_REQ_DELAYED:
	case MP_REQ_PAUSED:
		delay_out(hw, req);
		break;
	case MP_REQ_FENCED:
		fence_out(hw, req);
		break;
	default:
		return false;
	}
	dispatch_finish(hw, req, status);
	return true;
}

/* ---- completions ---- */

static void count(struct lane *lane, const struct request *req)
{
	switch (req->sqe.opcode) {
	case nvme_cmd_read:
		stat_add(&lane->stats.reads, 1);
		stat_add(&lane->stats.read_bytes, req->data_len);
		break;
	case nvme_cmd_write:
		stat_add(&lane->stats.writes, 1);
		stat_add(&lane->stats.write_bytes, req->data_len);
		break;
	default:
		stat_add(&lane->stats.others, 1);
		break;
	}
}

static void post_suspect(void *arg)
{
	path_suspect(arg);
}

/* No more I/O for the lane until control has looked at the path and publishes again. */
static void avoid(struct head_worker *hw, struct lane *lane)
{
	for (unsigned i = 0; i < hw->view->n; i++) {
		struct view_entry *e = &hw->view->e[i];

		if (e->lane == lane && !e->avoid && !lane->retired) {
			e->avoid = true;
			loop_post(hw->mw->control, post_suspect, lane->set->path);
		}
	}
}

static void again(struct head_worker *hw, struct request *req)
{
	stat_add(&hw->stats.retried, 1);
	dispatch(hw, req);
}

static void again_after(struct head_worker *hw, struct request *req, uint64_t ns,
			enum mp_req_state as)
{
	if (hw->retired) { /* there is nothing to wait for, and who retired it waits for us */
		again(hw, req);
		return;
	}
	stat_add(&hw->stats.retried, 1);
	delay_in(hw, req, ns, as);
}

static void flush_done(struct head_worker *hw, struct request *req, struct lane *lane)
{
	lane->flushed = req->mp_mark;
	req->mp_mask |= 1ull << lane->slot;
	if (unflushed(hw, req))
		dispatch(hw, req);
	else
		finish(hw, req);
}

/* A path that left and came back while the command was out has another lane by now. */
static struct lane *present_lane(struct head_worker *hw, struct lane *lane, const struct conn *conn)
{
	if (!lane->retired)
		return lane;
	for (unsigned i = 0; i < hw->view->n; i++)
		if (hw->view->e[i].conn == conn)
			return hw->view->e[i].lane;
	return lane;
}

static void succeed(struct head_worker *hw, struct request *req, struct lane *lane,
		    const struct conn *conn)
{
	if (command_changes_data(req->sqe.opcode))
		stat_add(&present_lane(hw, lane, conn)->dirty, 1);
	if (req->sqe.opcode == nvme_cmd_flush)
		flush_done(hw, req, lane);
	else
		finish(hw, req);
}

/* The connection is gone, and whether the command was or will be executed is not known. */
static void lose(struct head_worker *hw, struct request *req, const struct conn *conn)
{
	enum repeat repeat = command_repeat(&req->sqe);

	if (repeat == REPEAT_FENCED && conn->lingers &&
	    hw->view->write_retry != MP_WRITE_RETRY_IMMEDIATE) {
		/* What waits for it to be back waits on until its own fence is up. */
		fence_lost(hw, req, conn->serial);
		return;
	}
	if (req->mp_tagged)
		fence_untag(hw, req);
	if (repeat == REPEAT_NEVER)
		dispatch_finish(hw, req,
				NVME_STATUS(3, NVME_SC_ANA_INTERNAL_PATH_ERROR) | NVME_DNR);
	else if (request_orphaned(req))
		dispatch_finish(hw, req, NVME_ST_HOST_PATH);
	else
		again(hw, req);
}

/*
 * The controller no longer has a part in the namespace: a Flush of what it acknowledged is the
 * others' to do, as after its loss.
 */
static bool cut_off(uint16_t status)
{
	switch (nvme_sct_sc(status)) {
	case NVME_STATUS(0, NVME_SC_INVALID_NS):
	case NVME_STATUS(3, NVME_SC_ANA_INACCESSIBLE):
	case NVME_STATUS(3, NVME_SC_ANA_PERSISTENT_LOSS):
		return true;
	default:
		return false;
	}
}

/* A Flush that has to go to this very path; until the time is up it waits for the path's state. */
static bool flush_stays(struct head_worker *hw, const struct request *req, const struct lane *lane)
{
	const struct view_entry *e;

	if (req->sqe.opcode != nvme_cmd_flush ||
	    loop_now(hw->mw->loop) - req->arrived >= hw->view->hold_ns)
		return false;
	e = unflushed(hw, req);
	return e && e->lane == lane;
}

static bool may_retry(const struct request *req)
{
	return !request_orphaned(req) && command_repeat(&req->sqe) != REPEAT_NEVER;
}

static void fail(struct head_worker *hw, struct request *req, struct lane *lane,
		 const struct conn *conn)
{
	uint16_t status = nvme_cqe_status(&req->cqe);
	uint16_t crdt = conn->crdt[retry_crd(status)];

	switch (may_retry(req) ? retry_action(status) : RETRY_NOT) {
	case RETRY_OTHER_PATH:
		avoid(hw, lane);
		if (cut_off(status))
			req->mp_mask |= 1ull << lane->slot;
		if (flush_stays(hw, req, lane)) {
			again_after(hw, req, FLUSH_PAUSE, MP_REQ_PAUSED);
			return;
		}
		if (req->failovers++ >= MP_MAX_ATTEMPTS)
			break;
		stat_add(&lane->stats.failovers, 1);
		again(hw, req);
		return;
	case RETRY_AGAIN:
		if (req->repeats++ >= MP_MAX_SAME)
			break;
		/* No room to wait in: the host is told to, and has slots of its own. */
		if (crdt && share_full(hw, &hw->delayed_share, req))
			break;
		if (crdt)
			again_after(hw, req, crdt * 100 * NSEC_PER_MSEC, MP_REQ_DELAYED);
		else
			again(hw, req);
		return;
	case RETRY_NOT:
		break;
	}
	stat_add(&lane->stats.errors, 1);
	finish(hw, req);
}

static void on_done(struct request *req, int error)
{
	struct head_worker *hw = req->mp_head;
	struct mp_worker *mw = hw->mw;
	struct lane *lane = req->mp_lane;
	struct conn *conn = req->mp_conn;

	conn_returned(conn, req, error);
	req->mp_conn = NULL;
	req->mp_state = MP_REQ_IDLE;
	stat_sub(&lane->stats.inflight, 1);
	/* These may finish the request and with it the head: only mw and the lane are safe after.
	 */
	if (error) {
		stat_add(&lane->stats.failovers, 1);
		lose(hw, req, conn);
	} else {
		uint64_t now = loop_now(mw->loop), took = now - req->submitted;

		latency_sample(&lane->latency, req->dir != NVME_DIR_C2H, req->data_len, took, now);
		stat_add(&lane->stats.latency_ns_sum, took);
		count(lane, req);
		if (req->mp_tagged)
			fence_untag(hw, req);
		if (nvme_cqe_status(&req->cqe) == 0)
			succeed(hw, req, lane, conn);
		else
			fail(hw, req, lane, conn);
	}
	lane_put(lane, mw);
}
