/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that go on only after a while, for one because the controller asked for that (CRD; Base
 * 2.0, 3.3.3.2.1). */
#include "multipath/dispatch.h"

static uint64_t now(const struct head_worker *hw)
{
	return loop_now(hw->mw->loop);
}

static void arm(struct head_worker *hw)
{
	const struct request *first = TAILQ_FIRST(&hw->delayed);

	if (!first)
		loop_timer_cancel(&hw->delay_timer);
	else
		loop_timer_arm(&hw->delay_timer,
			       first->mp_due > now(hw) ? first->mp_due - now(hw) : 0);
}

void delay_in(struct head_worker *hw, struct request *req, uint64_t ns, enum mp_req_state as)
{
	struct share share = hw->delayed_share;
	struct request *before;

	req->mp_state = (uint8_t)as;
	req->mp_due = now(hw) + ns;
	TAILQ_FOREACH_REVERSE(before, &hw->delayed, request_list, link) {
		if (before->mp_due <= req->mp_due)
			break;
	}
	if (before)
		TAILQ_INSERT_AFTER(&hw->delayed, before, req, link);
	else
		TAILQ_INSERT_HEAD(&hw->delayed, req, link);
	if (as == MP_REQ_DELAYED) {
		share_add(&share, req);
		share_count(hw->mw, &hw->delayed_share, share);
	}
	arm(hw);
}

void delay_out(struct head_worker *hw, struct request *req)
{
	struct share share = hw->delayed_share;

	TAILQ_REMOVE(&hw->delayed, req, link);
	if (req->mp_state == MP_REQ_DELAYED) {
		share_sub(&share, req);
		share_count(hw->mw, &hw->delayed_share, share);
	}
	req->mp_state = MP_REQ_IDLE;
	arm(hw);
}

void delay_fail_all(struct head_worker *hw, uint16_t status)
{
	struct request *req;

	hw->out++;
	while ((req = TAILQ_FIRST(&hw->delayed))) {
		delay_out(hw, req);
		dispatch_finish(hw, req, status);
	}
	hw->out--;
	head_worker_put(hw);
}

static void on_due(void *arg)
{
	struct head_worker *hw = arg;
	struct request *req;

	hw->out++;
	while ((req = TAILQ_FIRST(&hw->delayed)) && req->mp_due <= now(hw)) {
		delay_out(hw, req);
		if (request_orphaned(req)) {
			dispatch_finish(hw, req, NVME_STATUS(0, NVME_SC_ABORT_REQ));
			continue;
		}
		dispatch(hw, req);
	}
	arm(hw);
	hw->out--;
	head_worker_put(hw);
}

void delay_init(struct head_worker *hw)
{
	TAILQ_INIT(&hw->delayed);
	loop_timer_init(&hw->delay_timer, hw->mw->loop, on_due, hw);
}

void delay_fini(struct head_worker *hw)
{
	loop_timer_fini(&hw->delay_timer);
}
