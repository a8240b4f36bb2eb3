/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting, first in first out by arrival: for a path when there is none (held), or for room or
 * buffers. What is held is bounded in number, bytes and time.
 */
#include "multipath/dispatch.h"

#include <errno.h>

#include "multipath/selector.h"
#include "transport/log.h"

static void on_buffers(void *arg)
{
	hold_drain(arg);
}

/* What a request gets that is not held any longer. */
static uint16_t failure(const struct head_worker *hw)
{
	return hw->view->persistent_loss ? NVME_STATUS(3, NVME_SC_ANA_PERSISTENT_LOSS)
					 : NVME_ST_ANA_INACCESSIBLE;
}

static bool expired(const struct head_worker *hw)
{
	return loop_now(hw->mw->loop) - hw->no_path_since >= hw->view->hold_ns;
}

uint16_t hold_refusal(const struct head_worker *hw, const struct request *req)
{
	if (!hw->no_path_since)
		return 0;
	if (expired(hw))
		return failure(hw);
	return share_full(hw, &hw->waiting_share, req) ? failure(hw) | NVME_CRD(1) : 0;
}

static void note_held(struct head_worker *hw)
{
	struct share held = hw->no_path_since ? hw->waiting_share : (struct share){0, 0};

	share_count(hw->mw, &hw->held_share, held);
	stat_set(&hw->stats.held, held.n);
	if (held.n > stat_get(&hw->stats.held_max))
		stat_set(&hw->stats.held_max, held.n);
}

void hold_note_paths(struct head_worker *hw)
{
	if (selector_ranks(hw->view)) {
		hw->no_path_since = 0;
		loop_timer_cancel(&hw->hold_timer);
	} else if (!hw->no_path_since) {
		hw->no_path_since = loop_now(hw->mw->loop);
		loop_timer_arm(&hw->hold_timer, hw->view->hold_ns);
	}
	note_held(hw);
}

/* So that what comes back from a lost path goes on before what came later. */
static void insert(struct head_worker *hw, struct request *req)
{
	struct request *before;

	TAILQ_FOREACH_REVERSE(before, &hw->waiting, request_list, link) {
		if (before->arrived <= req->arrived)
			break;
	}
	if (before)
		TAILQ_INSERT_AFTER(&hw->waiting, before, req, link);
	else
		TAILQ_INSERT_HEAD(&hw->waiting, req, link);
}

/* It is in the list. */
static void note_in(struct head_worker *hw, struct request *req, enum mp_req_state state)
{
	req->mp_state = (uint8_t)state;
	share_add(&hw->waiting_share, req);
	if (!hw->starved) {
		hw->starved = true;
		TAILQ_INSERT_TAIL(&hw->mw->starved, hw, starved_link);
	}
	note_held(hw);
}

void hold_in(struct head_worker *hw, struct request *req)
{
	insert(hw, req);
	note_in(hw, req, MP_REQ_WAITING);
}

void hold_in_aside(struct head_worker *hw, struct request *req)
{
	TAILQ_INSERT_TAIL(&hw->aside, req, link);
	note_in(hw, req, MP_REQ_ASIDE);
}

void hold_out(struct head_worker *hw, struct request *req)
{
	if (req->mp_state == MP_REQ_ASIDE)
		TAILQ_REMOVE(&hw->aside, req, link);
	else
		TAILQ_REMOVE(&hw->waiting, req, link);
	share_sub(&hw->waiting_share, req);
	req->mp_state = MP_REQ_IDLE;
	note_held(hw);
}

/* Of one that has been in a list. As dispatch_try(); 0 also when it goes on in another way. */
static int go_on(struct head_worker *hw, struct request *req, bool *served)
{
	int err;

	hold_out(hw, req);
	if (request_orphaned(req)) {
		dispatch_finish(hw, req, NVME_STATUS(0, NVME_SC_ABORT_REQ));
		return 0;
	}
	if (request_unfetched(req)) {
		dispatch_proceed(hw, req);
		return 0;
	}
	err = dispatch_try(hw, req);
	if (!err)
		*served = true;
	if (err != -EBUSY)
		return err;
	fence_in(hw, req);
	return 0;
}

/* They have stood in the line before, so they come first; each once. */
static void drain_aside(struct head_worker *hw, bool *served)
{
	struct request *req;
	unsigned n = 0;

	TAILQ_FOREACH(req, &hw->aside, link)
		n++;
	while (n-- && (req = TAILQ_FIRST(&hw->aside))) {
		int err = go_on(hw, req, served);

		if (err == -EXFULL)
			hold_in_aside(hw, req);
		else if (err)
			hold_in(hw, req);
	}
}

static void drain_waiting(struct head_worker *hw, bool *served)
{
	struct request *req;

	/* A path can go meanwhile. */
	while (!hw->no_path_since && (req = TAILQ_FIRST(&hw->waiting))) {
		int err = go_on(hw, req, served);

		if (err == -EXFULL) {
			hold_in_aside(hw, req);
		} else if (err) {
			TAILQ_INSERT_HEAD(&hw->waiting, req, link);
			note_in(hw, req, MP_REQ_WAITING);
			break;
		}
	}
}

bool hold_drain(struct head_worker *hw)
{
	bool served = false;

	hold_note_paths(hw);
	if (hw->draining || hw->no_path_since)
		return false;
	hw->draining = true;
	hw->out++; /* against being freed by the last of them */
	drain_aside(hw, &served);
	drain_waiting(hw, &served);
	hw->draining = false;
	hold_note_paths(hw);
	served = served && hw->starved;
	hw->out--;
	head_worker_put(hw);
	return served;
}

static struct request *first_of(const struct head_worker *hw)
{
	struct request *req = TAILQ_FIRST(&hw->aside);

	return req ? req : TAILQ_FIRST(&hw->waiting);
}

void hold_fail_all(struct head_worker *hw, uint16_t status)
{
	struct request *req;

	hw->out++;
	while ((req = first_of(hw))) {
		hold_out(hw, req);
		if (hw->no_path_since)
			stat_add(&hw->stats.failed_no_path, 1);
		dispatch_finish(hw, req, status);
	}
	hw->out--;
	head_worker_put(hw);
}

void hold_time_changed(struct head_worker *hw)
{
	uint64_t now = loop_now(hw->mw->loop), end = hw->no_path_since + hw->view->hold_ns;

	if (hw->no_path_since)
		loop_timer_arm(&hw->hold_timer, end > now ? end - now : 0);
}

static void on_expired(void *arg)
{
	struct head_worker *hw = arg;

	if (first_of(hw))
		log_ratelimited(LOG_ERR, "namespace %u: no path for %llu ms, failing held I/O",
				hw->nsid, (unsigned long long)(hw->view->hold_ns / NSEC_PER_MSEC));
	hold_fail_all(hw, failure(hw));
}

void hold_init(struct head_worker *hw)
{
	TAILQ_INIT(&hw->waiting);
	TAILQ_INIT(&hw->aside);
	hw->buffers.fn = on_buffers;
	hw->buffers.arg = hw;
	loop_timer_init(&hw->hold_timer, hw->mw->loop, on_expired, hw);
}

void hold_fini(struct head_worker *hw)
{
	if (hw->starved)
		TAILQ_REMOVE(&hw->mw->starved, hw, starved_link);
	hw->starved = false;
	pool_wait_cancel(loop_pool(hw->mw->loop), &hw->buffers);
	loop_timer_fini(&hw->hold_timer);
}
