/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O path of a head on one worker: choose a lane, submit, and on the way back decide between
 * the host, another lane, and the hold queue.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "multipath/retry.h"
#include "multipath/selector.h"
#include "multipath/worker.h"
#include "transport/log.h"
#include "transport/pool.h"
#include "transport/target.h"

static void on_done(struct request *req, int error);
static void drain(struct head_worker *hw);

/* ---- classes of commands ---- */

static bool changes_data(uint8_t opcode)
{
	switch (opcode) {
	case nvme_cmd_read:
	case nvme_cmd_compare:
	case nvme_cmd_verify:
	case nvme_cmd_flush:
		return false;
	default:
		return true;
	}
}

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

/* Nobody waits for the answer any more. */
static bool host_gone(const struct request *req)
{
	return req->mp_from_host && !req->tgt;
}

/* ---- the end of a command ---- */

static void maybe_free(struct head_worker *hw);

static void finish(struct head_worker *hw, struct request *req)
{
	uint64_t took = loop_now(hw->mw->loop) - req->arrived;

	if (took > stat_get(&hw->longest_ns))
		stat_set(&hw->longest_ns, took);
	req->mp_state = MP_REQ_IDLE;
	req->mp_head = NULL;
	hw->out--;
	req->complete(req);
	if (hw->retired)
		maybe_free(hw);
}

static void finish_status(struct head_worker *hw, struct request *req, uint16_t status)
{
	req->cqe.result64 = 0;
	nvme_cqe_set_status(&req->cqe, status);
	finish(hw, req);
}

/* ---- waiting: held without a path, or for room or buffers ---- */

static bool any_path(const struct head_worker *hw)
{
	for (unsigned i = 0; i < hw->view->n; i++)
		if (hw->view->e[i].rank != ANA_RANK_NONE && selector_alive(&hw->view->e[i]))
			return true;
	return false;
}

/*
 * First in, first out by arrival, so that what comes back from a lost path goes on before what came
 * later.
 */
static void wait_in(struct head_worker *hw, struct request *req)
{
	struct request *before;

	req->mp_state = MP_REQ_WAITING;
	TAILQ_FOREACH_REVERSE(before, &hw->waiting, waiting_list, link) {
		if (before->arrived <= req->arrived)
			break;
	}
	if (before)
		TAILQ_INSERT_AFTER(&hw->waiting, before, req, link);
	else
		TAILQ_INSERT_HEAD(&hw->waiting, req, link);
	hw->nr_waiting++;
	if (!hw->starved) {
		hw->starved = true;
		TAILQ_INSERT_TAIL(&hw->mw->starved, hw, starved_link);
	}
}

static void wait_out(struct head_worker *hw, struct request *req)
{
	TAILQ_REMOVE(&hw->waiting, req, link);
	hw->nr_waiting--;
	req->mp_state = MP_REQ_IDLE;
}

static void note_held(struct head_worker *hw)
{
	uint64_t held = hw->no_path_since ? hw->nr_waiting : 0;

	stat_set(&hw->held, held);
	if (held > stat_get(&hw->held_max))
		stat_set(&hw->held_max, held);
}

static void fail_waiting(struct head_worker *hw, uint16_t status)
{
	struct request *req;

	while ((req = TAILQ_FIRST(&hw->waiting))) {
		wait_out(hw, req);
		if (hw->no_path_since)
			stat_add(&hw->failed_no_path, 1);
		finish_status(hw, req, status);
	}
	note_held(hw);
}

static void on_hold_expired(void *arg)
{
	struct head_worker *hw = arg;

	if (!hw->no_path_since)
		return;
	log_ratelimited(LOG_ERR, "namespace %u: no path for %llu ms, failing held I/O", hw->nsid,
			(unsigned long long)(hw->view->hold_ns / NSEC_PER_MSEC));
	fail_waiting(hw, NVME_ST_ANA_INACCESSIBLE);
}

static bool hold_expired(const struct head_worker *hw)
{
	return hw->no_path_since && loop_now(hw->mw->loop) - hw->no_path_since >= hw->view->hold_ns;
}

/* Keeps no_path_since and its timer true to what the view and the conns say. */
static void note_paths(struct head_worker *hw)
{
	if (any_path(hw)) {
		hw->no_path_since = 0;
		loop_timer_cancel(&hw->hold_timer);
	} else if (!hw->no_path_since) {
		hw->no_path_since = loop_now(hw->mw->loop);
		loop_timer_arm(&hw->hold_timer, hw->view->hold_ns);
	}
	note_held(hw);
}

/* ---- submitting ---- */

static struct view_entry *pick(struct head_worker *hw)
{
	const struct selector *s = selector_of(hw->view->policy);
	struct view_entry *e = s->pick(hw, ANA_RANK_OPTIMIZED);

	if (e)
		return e;
	/* A busy optimized path is better than a free non-optimized one */
	for (unsigned i = 0; i < hw->view->n; i++)
		if (hw->view->e[i].rank == ANA_RANK_OPTIMIZED && selector_alive(&hw->view->e[i]))
			return NULL;
	return s->pick(hw, ANA_RANK_NONOPTIMIZED);
}

static uint64_t dirty_sum(const struct lane *lane)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < lane->set->n; i++)
		sum += stat_get(&lane->set->lane[i]->dirty);
	return sum;
}

/*
 * Flush speaks of one controller's completed commands (NVM command set 1.0, 3.2.1), so it must
 * visit every controller that acknowledged a write since its last Flush, usable for I/O or not. At
 * least one is visited, for caches that we know nothing of.
 */
static struct view_entry *pick_flush(struct head_worker *hw, const struct request *req)
{
	for (unsigned i = 0; i < hw->view->n; i++) {
		struct view_entry *e = &hw->view->e[i];

		if (e->conn && e->conn->up && !(req->mp_mask & 1ull << e->lane->slot) &&
		    dirty_sum(e->lane) != e->lane->flushed)
			return ini_room(e->conn->qp) ? e : NULL;
	}
	return pick(hw);
}

/* 0: sent or finished; -EAGAIN: has to wait */
static int try_submit(struct head_worker *hw, struct request *req)
{
	bool flush = req->sqe.opcode == nvme_cmd_flush;
	struct view_entry *e;
	int err;

	if (req->dir == NVME_DIR_C2H && req->data_len && !req->nsegs &&
	    request_alloc_data(req, req->data_len)) {
		pool_wait(req->pool, &hw->buffers);
		return -EAGAIN;
	}
	e = flush ? pick_flush(hw, req) : pick(hw);
	if (!e)
		return -EAGAIN;
	req->sqe.nsid = htole32(e->nsid);
	req->mp_lane = e->lane;
	req->ini_done = on_done;
	if (flush)
		req->mp_mark = dirty_sum(e->lane);
	err = conn_submit(e->conn, req);
	if (err)
		return -EAGAIN; /* on a dying conn: a new view or another turn will tell */
	req->mp_conn = e->conn;
	req->mp_state = MP_REQ_OUT;
	e->lane->out++;
	stat_add(&e->lane->stats.inflight, 1);
	return 0;
}

static void dispatch(struct head_worker *hw, struct request *req)
{
	if (try_submit(hw, req) == 0)
		return;
	note_paths(hw);
	if (hw->retired) {
		finish_status(hw, req, NVME_ST_INVALID_NS);
	} else if (hold_expired(hw) ||
		   (hw->no_path_since && hw->nr_waiting >= hw->view->max_held)) {
		stat_add(&hw->failed_no_path, 1);
		finish_status(hw, req, NVME_ST_ANA_INACCESSIBLE);
	} else {
		wait_in(hw, req);
		note_held(hw);
	}
}

void head_submit(struct head_worker *hw, struct request *req)
{
	req->mp_head = hw;
	req->mp_from_host = req->tgt != NULL;
	req->mp_mask = 0;
	req->retries = 0;
	req->arrived = loop_now(hw->mw->loop);
	hw->out++;
	/* Newcomers do not overtake those who wait, or a wait might never end. */
	if (hw->nr_waiting && !hw->draining && !hold_expired(hw)) {
		if (hw->no_path_since && hw->nr_waiting >= hw->view->max_held) {
			stat_add(&hw->failed_no_path, 1);
			finish_status(hw, req, NVME_ST_ANA_INACCESSIBLE);
			return;
		}
		wait_in(hw, req);
		note_held(hw);
		return;
	}
	dispatch(hw, req);
}

static void drain(struct head_worker *hw)
{
	struct request *req;

	note_paths(hw);
	if (hw->draining || hw->no_path_since)
		return;
	hw->draining = true;
	while ((req = TAILQ_FIRST(&hw->waiting))) {
		wait_out(hw, req);
		if (host_gone(req)) {
			finish_status(hw, req, NVME_STATUS(0, NVME_SC_ABORT_REQ));
			continue;
		}
		if (try_submit(hw, req)) {
			wait_in(hw, req);
			break;
		}
	}
	hw->draining = false;
	note_paths(hw);
}

static void on_buffers(void *arg)
{
	drain(arg);
}

bool head_cancel(struct request *req, uint16_t status)
{
	struct head_worker *hw = req->mp_head;

	if (!hw || req->mp_state != MP_REQ_WAITING)
		return false;
	wait_out(hw, req);
	note_held(hw);
	finish_status(hw, req, status);
	return true;
}

/* ---- completions ---- */

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
	stat_add(&hw->retried, 1);
	dispatch(hw, req);
}

static void flush_done(struct head_worker *hw, struct request *req, struct lane *lane)
{
	lane->flushed = req->mp_mark;
	req->mp_mask |= 1ull << lane->slot;
	for (unsigned i = 0; i < hw->view->n; i++) {
		struct view_entry *e = &hw->view->e[i];

		if (e->conn && e->conn->up && !(req->mp_mask & 1ull << e->lane->slot) &&
		    dirty_sum(e->lane) != e->lane->flushed) {
			dispatch(hw, req);
			return;
		}
	}
	finish(hw, req);
}

static void decide(struct head_worker *hw, struct request *req, struct lane *lane, int error)
{
	uint16_t status = nvme_cqe_status(&req->cqe);

	if (error) {
		stat_add(&lane->stats.failovers, 1);
		if (host_gone(req))
			finish_status(hw, req, NVME_ST_HOST_PATH);
		else
			again(hw, req);
		return;
	}
	if (status == 0) {
		if (changes_data(req->sqe.opcode))
			stat_add(&lane->dirty, 1);
		if (req->sqe.opcode == nvme_cmd_flush)
			flush_done(hw, req, lane);
		else
			finish(hw, req);
		return;
	}
	switch (host_gone(req) ? RETRY_NOT : retry_action(status)) {
	case RETRY_OTHER_PATH:
		avoid(hw, lane);
		if (req->retries++ < MP_MAX_ATTEMPTS) {
			stat_add(&lane->stats.failovers, 1);
			again(hw, req);
			return;
		}
		break;
	case RETRY_SAME_PATH:
		if (req->retries++ < MP_MAX_SAME) {
			again(hw, req);
			return;
		}
		break;
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

	conn_returned(req->mp_conn, req, error);
	req->mp_conn = NULL;
	req->mp_state = MP_REQ_IDLE;
	stat_sub(&lane->stats.inflight, 1);
	if (!error) {
		stat_add(&lane->stats.latency_ns_sum, loop_now(mw->loop) - req->submitted);
		count(lane, req);
	}
	/* decide() may finish the request and with it the head: only mw and the lane are safe after
	 */
	decide(hw, req, lane, error);
	lane_put(lane, mw);
	mp_worker_kick(mw);
}

/* ---- heads with something waiting ---- */

static void unstarve(struct head_worker *hw)
{
	if (hw->starved)
		TAILQ_REMOVE(&hw->mw->starved, hw, starved_link);
	hw->starved = false;
}

static void on_kick(void *arg)
{
	struct mp_worker *mw = arg;
	TAILQ_HEAD(, head_worker) now = TAILQ_HEAD_INITIALIZER(now);
	struct head_worker *hw;

	/* Each once: those that have to wait on put themselves back in the list. */
	TAILQ_CONCAT(&now, &mw->starved, starved_link);
	while ((hw = TAILQ_FIRST(&now))) {
		TAILQ_REMOVE(&now, hw, starved_link);
		hw->starved = false;
		drain(hw);
	}
}

void mp_worker_kick(struct mp_worker *mw)
{
	if (!TAILQ_EMPTY(&mw->starved))
		loop_hook_queue(mw->loop, &mw->kick_hook);
}

void mp_worker_init(struct mp_worker *mw, struct loop *loop, struct loop *control, unsigned index)
{
	mw->loop = loop;
	mw->control = control;
	mw->index = index;
	TAILQ_INIT(&mw->starved);
	loop_hook_init(&mw->kick_hook, on_kick, mw);
}

/* ---- control's messages ---- */

void head_worker_init(struct head_worker *hw, struct mp_worker *mw, struct head *head,
		      uint32_t nsid, struct view *view)
{
	hw->mw = mw;
	hw->head = head;
	hw->nsid = nsid;
	hw->view = view;
	TAILQ_INIT(&hw->waiting);
	hw->buffers.fn = on_buffers;
	hw->buffers.arg = hw;
	loop_timer_init(&hw->hold_timer, mw->loop, on_hold_expired, hw);
}

void head_worker_publish(struct head_worker *hw, struct view *view)
{
	free(hw->view);
	hw->view = view;
	drain(hw);
}

void head_worker_retire(struct head_worker *hw)
{
	hw->retired = true;
	hw->view->n = 0; /* its lanes are about to go */
	hw->out++;	 /* against being freed by the last of the waiting */
	fail_waiting(hw, NVME_ST_INVALID_NS);
	hw->out--;
	maybe_free(hw);
}

static void head_gone(void *arg)
{
	head_worker_freed(arg);
}

static void maybe_free(struct head_worker *hw)
{
	if (hw->out)
		return;
	unstarve(hw);
	pool_wait_cancel(loop_pool(hw->mw->loop), &hw->buffers);
	loop_timer_fini(&hw->hold_timer);
	loop_post(hw->mw->control, head_gone, hw->head);
	free(hw->view);
	free(hw);
}

static void lane_gone(void *arg)
{
	lane_freed(arg);
}

static void lane_report(struct lane *lane, struct mp_worker *mw)
{
	loop_post(mw->control, lane_gone, lane->set);
}

void lane_put(struct lane *lane, struct mp_worker *mw)
{
	if (--lane->out == 0 && lane->retired)
		lane_report(lane, mw);
}

void lane_retire(struct lane *lane, struct mp_worker *mw)
{
	lane->retired = true;
	if (lane->out == 0)
		lane_report(lane, mw);
}

const struct ns_geometry *head_geometry(const struct head_worker *hw)
{
	return &hw->view->geo;
}
