/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/watchdog.h"

#include <stdlib.h>
#include <systemd/sd-daemon.h>

#include "gateway/gateway.h"
#include "gateway/roll_call.h"
#include "transport/log.h"

struct watchdog {
	struct roll_call roll;
	struct loop_timer timer;
	uint64_t period;
};

static bool is_alive(struct loop *worker)
{
	return true;
}

static void on_answered(void *arg, bool all)
{
	sd_notify(0, "WATCHDOG=1");
}

static void on_timer(void *arg)
{
	struct watchdog *w = arg;

	if (w->roll.missing)
		log_warn("%u of %u workers have not answered for %u ms", w->roll.missing,
			 w->roll.gw->nr_workers, (unsigned)(w->period / NSEC_PER_MSEC));
	else
		roll_call(&w->roll);
	loop_timer_arm(&w->timer, w->period);
}

struct watchdog *watchdog_start(struct gateway *gw)
{
	struct watchdog *w;
	uint64_t usec;

	if (sd_watchdog_enabled(0, &usec) <= 0)
		return NULL;
	w = calloc(1, sizeof(*w));
	if (!w)
		abort();
	w->roll = (struct roll_call){.gw = gw, .ask = is_alive, .answered = on_answered, .arg = w};
	/* sd_watchdog_enabled(3) recommends half the time. */
	w->period = usec * NSEC_PER_USEC / 2;
	loop_timer_init(&w->timer, gw->control, on_timer, w);
	on_timer(w);
	return w;
}

void watchdog_free(struct watchdog *w)
{
	if (!w)
		return;
	loop_timer_fini(&w->timer);
	free(w);
}
