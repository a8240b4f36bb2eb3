/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/drain.h"

#include "gateway/gateway.h"
#include "transport/log.h"

#define LOOK_AGAIN (5 * NSEC_PER_MSEC)

static bool is_idle(struct loop *worker)
{
	const struct pool *pool = loop_pool(worker);

	return pool_free_requests(pool) == pool_total_requests(pool);
}

static void look(void *arg)
{
	roll_call(&((struct drain *)arg)->roll);
}

static void on_answered(void *arg, bool idle)
{
	struct drain *d = arg;
	struct gateway *gw = d->roll.gw;

	if (!idle && loop_now(gw->control) - d->started < DRAIN_MAX) {
		loop_timer_arm(&d->timer, LOOK_AGAIN);
		return;
	}
	if (!idle)
		log_warn("upstreams have not answered all commands: what they do of them now, they "
			 "do unseen");
	d->done(gw);
}

void drain_start(struct drain *d, struct gateway *gw, void (*done)(struct gateway *gw))
{
	d->roll = (struct roll_call){.gw = gw, .ask = is_idle, .answered = on_answered, .arg = d};
	d->started = loop_now(gw->control);
	d->done = done;
	loop_timer_init(&d->timer, gw->control, look, d);
	look(d);
}

void drain_fini(struct drain *d)
{
	if (d->done)
		loop_timer_fini(&d->timer);
}
