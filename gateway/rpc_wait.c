/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_wait.h"

#include <stdlib.h>

#include "gateway/settle.h"

static void end(struct rpc_wait *w, json_t *result, const struct rpc_error *err)
{
	TAILQ_REMOVE(&w->gw->waits, w, link);
	loop_timer_fini(&w->timer);
	rpc_later_answer(w->later, result, err);
	json_decref(w->shown);
	free(w);
}

static void look(void *arg)
{
	struct rpc_wait *w = arg;
	bool late = loop_now(w->gw->control) - w->started >= SETTLE_MAX;
	struct rpc_error err;
	json_t *result;

	if (!late && !w->gw->stopping && !w->ops->is_done(w)) {
		loop_timer_arm(&w->timer, SETTLE_LOOK);
		return;
	}
	result = w->ops->result(w, &err);
	end(w, result, &err);
}

void rpc_wait(struct gateway *gw, struct rpc_wait *w, const struct rpc_wait_ops *ops,
	      struct rpc_error *err)
{
	w->gw = gw;
	w->ops = ops;
	w->later = rpc_answer_later(err);
	w->started = loop_now(gw->control);
	loop_timer_init(&w->timer, gw->control, look, w);
	TAILQ_INSERT_TAIL(&gw->waits, w, link);
	look(w);
}

void rpc_waits_end(struct gateway *gw)
{
	struct rpc_error err;

	rpc_fail(&err, RPC_REFUSED, "the gateway is stopping");
	while (!TAILQ_EMPTY(&gw->waits))
		end(TAILQ_FIRST(&gw->waits), NULL, &err);
}
