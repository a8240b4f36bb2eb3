/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker does when control says so: heads, views, lanes, and their ends. */
#include <stdlib.h>
#include <string.h>

#include "multipath/dispatch.h"

/* ---- the worker ---- */

static void on_kick(void *arg)
{
	struct mp_worker *mw = arg;
	struct head_worker_list now = TAILQ_HEAD_INITIALIZER(now);
	struct head_worker_list served = TAILQ_HEAD_INITIALIZER(served);
	struct head_worker *hw;

	/* Each once: those that have to wait on put themselves back in the list. Who got something
	 * stands behind who did not, or one with enough commands would get all room for ever. */
	TAILQ_CONCAT(&now, &mw->starved, starved_link);
	while ((hw = TAILQ_FIRST(&now))) {
		TAILQ_REMOVE(&now, hw, starved_link);
		hw->starved = false;
		if (hold_drain(hw)) {
			TAILQ_REMOVE(&mw->starved, hw, starved_link);
			TAILQ_INSERT_TAIL(&served, hw, starved_link);
		}
	}
	TAILQ_CONCAT(&mw->starved, &served, starved_link);
}

void mp_worker_kick(struct mp_worker *mw)
{
	if (!TAILQ_EMPTY(&mw->starved))
		loop_hook_queue(mw->loop, &mw->kick_hook);
}

void mp_worker_init(struct mp_worker *mw, struct mp *mp, struct loop *loop, struct loop *control,
		    unsigned index)
{
	mw->mp = mp;
	mw->loop = loop;
	mw->control = control;
	mw->index = index;
	TAILQ_INIT(&mw->conns);
	TAILQ_INIT(&mw->starved);
	loop_hook_init(&mw->kick_hook, on_kick, mw);
	share_init(mw);
	fence_worker_init(mw);
}

/* ---- heads ---- */

void head_worker_init(struct head_worker *hw, struct mp_worker *mw, struct head *head,
		      uint32_t nsid, struct view *view)
{
	hw->mw = mw;
	hw->head = head;
	hw->nsid = nsid;
	hw->view = view;
	hold_init(hw);
	delay_init(hw);
	fence_init(hw);
}

void head_worker_publish(struct head_worker *hw, struct view *view)
{
	free(hw->view);
	hw->view = view;
	hold_time_changed(hw);
	hold_drain(hw);
}

void head_worker_rank(struct head_worker *hw, const struct lane *lane, uint8_t rank)
{
	for (unsigned i = 0; i < hw->view->n; i++) {
		struct view_entry *e = &hw->view->e[i];

		if (e->lane != lane)
			continue;
		e->rank = rank;
		e->avoid = false;
		break;
	}
	hold_drain(hw);
}

void head_worker_retire(struct head_worker *hw)
{
	hw->retired = true;
	hw->view->n = 0; /* its lanes are about to go */
	hw->out++;	 /* against being freed by the last of the waiting */
	hold_fail_all(hw, NVME_ST_INVALID_NS);
	delay_fail_all(hw, NVME_ST_INVALID_NS);
	fence_fail_all(hw, NVME_ST_INVALID_NS);
	hw->out--;
	head_worker_put(hw);
}

static void head_gone(void *arg)
{
	head_worker_freed(arg);
}

void head_worker_put(struct head_worker *hw)
{
	if (!hw->retired || hw->out)
		return;
	hold_fini(hw);
	delay_fini(hw);
	fence_fini(hw);
	loop_post(hw->mw->control, head_gone, hw->head);
	free(hw->view);
	free(hw);
}

const struct ns_geometry *head_geometry(const struct head_worker *hw)
{
	return &hw->view->geo;
}

/* ---- lanes ---- */

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
