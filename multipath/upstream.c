/* SPDX-License-Identifier: Apache-2.0 */
/* A configured upstream over its lives: connect, live, lost, wait, again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "multipath/control.h"
#include "multipath/head.h"
#include "transport/log.h"

#define FIRST_RETRY (50 * NSEC_PER_MSEC)

const char *upstream_state_name(enum upstream_state s)
{
	static const char *const names[] = {
		[UPSTREAM_CONNECTING] = "connecting",
		[UPSTREAM_LIVE] = "live",
		[UPSTREAM_WAITING] = "waiting to reconnect",
		[UPSTREAM_FAILED] = "failed",
		[UPSTREAM_DELETING] = "deleting",
	};

	return names[s];
}

/*
 * Flap damping. A path that is lost again and again soon after it came back is connected like any
 * other, but used last, for a time that doubles with each short life; so it is there when there is
 * no other, and disturbs nobody when there is.
 */
#define FLAP_LIFE      (60 * NSEC_PER_SEC) /* a life shorter than this is a flap */
#define FLAPS_FREE     2		   /* that many in a row are bad luck */
#define FLAP_DOUBLINGS 6

static uint64_t now(const struct upstream *up)
{
	return loop_now(up->ss->mp->control);
}

static void set_state(struct upstream *up, enum upstream_state s, const char *reason)
{
	log_debug(UPSTREAM, "%s: %s, attempt %u: %s", up->cfg.name, upstream_state_name(s),
		  up->attempts, reason);
	up->state = s;
	up->changed = now(up);
	if (reason != up->reason) /* one may keep what it has */
		snprintf(up->reason, sizeof(up->reason), "%s", reason);
}

static void tell(const struct upstream *up)
{
	if (up->ss->ev->upstream_changed)
		up->ss->ev->upstream_changed(up->ss->ev_arg, up);
}

static void note_flap(struct upstream *up, uint64_t lived)
{
	up->flaps = lived < FLAP_LIFE ? up->flaps + 1 : 0;
}

static void on_undamp(void *arg)
{
	struct upstream *up = arg;

	up->damped_until = 0;
	upstream_refresh_paths(up);
}

static void forgive_flaps(struct upstream *up)
{
	up->flaps = 0;
	up->damped_until = 0;
	loop_timer_cancel(&up->undamp);
}

static void damp(struct upstream *up)
{
	unsigned doublings = up->flaps - FLAPS_FREE - 1;
	uint64_t delay = up->ss->cfg.flap_hold;

	if (up->flaps <= FLAPS_FREE || !delay)
		return;
	delay <<= doublings < FLAP_DOUBLINGS ? doublings : FLAP_DOUBLINGS;
	up->damped_until = now(up) + delay;
	loop_timer_arm(&up->undamp, delay);
	log_warn("upstream %s: lost %u times in a row, used last for %llu s", up->cfg.name,
		 up->flaps, (unsigned long long)(delay / NSEC_PER_SEC));
}

void upstream_live(struct upstream *up)
{
	struct path *p;

	TAILQ_FOREACH(p, &up->paths, up_link)
		p->fresh = true;
	damp(up);
	set_state(up, UPSTREAM_LIVE, "");
	up->attempts = 0;
	up->lost_at = 0;
	log_notice("upstream %s: live, controller ID %u", up->cfg.name, up->cntlid);
	tell(up);
	upstream_refresh_paths(up);
	quarantine_ask(up->ss->mp);
}

void upstream_start(struct upstream *up)
{
	struct assoc *a;
	struct path *p;

	TAILQ_FOREACH(p, &up->paths, up_link)
		p->identified = false;
	up->attempts++;
	if (!up->lost_at)
		up->lost_at = now(up);
	set_state(up, UPSTREAM_CONNECTING, up->reason);
	a = assoc_new(up);
	up->assoc = a;
	if (!a->admin)
		assoc_fail(a, false, "cannot connect: %s", strerror(a->start_error));
}

static void on_retry(void *arg)
{
	upstream_start(arg);
}

/* The delay with up to a quarter more, so that many paths do not come back in step. */
static uint64_t with_jitter(const struct upstream *up, uint64_t delay)
{
	return delay + delay / 4 * (loop_random(up->ss->mp->control) & 0xffff) / 0x10000;
}

void upstream_lost(struct upstream *up, bool final, const char *reason)
{
	bool was_live = up->state == UPSTREAM_LIVE;
	bool news = was_live || strcmp(reason, up->reason);
	int64_t tmo = up->cfg.ctrl_loss_tmo;

	if (was_live) {
		up->losses++;
		note_flap(up, now(up) - up->changed);
		up->lost_at = now(up);
	}
	if (news)
		log_warn("upstream %s: %s", up->cfg.name, reason);
	if (!final && tmo >= 0 && now(up) - up->lost_at >= (uint64_t)tmo) {
		log_err("upstream %s: given up after ctrl_loss_tmo", up->cfg.name);
		final = true;
	}
	set_state(up, final ? UPSTREAM_FAILED : UPSTREAM_WAITING, reason);
	if (news || final)
		tell(up);
	upstream_refresh_paths(up);
	if (!final)
		loop_timer_arm(&up->retry, up->attempts == 0
						   ? with_jitter(up, FIRST_RETRY)
						   : with_jitter(up, up->cfg.reconnect_delay));
}

struct upstream *upstream_find(const struct mp_subsys *ss, const char *name)
{
	struct upstream *up;

	TAILQ_FOREACH(up, &ss->upstreams, link)
		if (!strcmp(up->cfg.name, name))
			return up;
	return NULL;
}

struct upstream *upstream_add(struct mp_subsys *ss, const struct upstream_config *cfg)
{
	struct upstream *up;

	if (upstream_find(ss, cfg->name)) {
		errno = EEXIST;
		return NULL;
	}
	up = calloc(1, sizeof(*up));
	if (!up)
		abort();
	up->ss = ss;
	up->cfg = *cfg;
	up->refs = 1;
	TAILQ_INIT(&up->paths);
	TAILQ_INIT(&up->namings);
	TAILQ_INSERT_TAIL(&ss->upstreams, up, link);
	mp_object_new(ss);
	loop_timer_init(&up->retry, ss->mp->control, on_retry, up);
	loop_timer_init(&up->undamp, ss->mp->control, on_undamp, up);
	tell(up);
	upstream_start(up);
	return up;
}

void upstream_put(struct upstream *up)
{
	struct mp_subsys *ss = up->ss;

	if (--up->refs)
		return;
	if (up->cfg.file_ns)
		file_ns_close(up->cfg.file_ns);
	free(up);
	mp_object_freed(ss);
}

void upstream_remove(struct upstream *up)
{
	struct path *p;

	if (up->state == UPSTREAM_DELETING)
		return;
	set_state(up, UPSTREAM_DELETING, "removed");
	tell(up);
	disc_source_gone(up); /* what it has named is never a source itself: one level deep */
	disc_forget_namings(up);
	upstream_refresh_paths(up);
	while ((p = TAILQ_FIRST(&up->paths)))
		path_remove(p);
	TAILQ_REMOVE(&up->ss->upstreams, up, link);
	loop_timer_fini(&up->retry);
	loop_timer_fini(&up->undamp);
	if (up->assoc)
		assoc_drop(up->assoc);
	upstream_put(up);
}

void upstream_withdraw(struct upstream *up)
{
	struct upstream *u;

	up->withdrawn = true;
	TAILQ_FOREACH(u, &up->ss->upstreams, link)
		if (u->source == up)
			u->withdrawn = true;
	upstream_remove(up);
}

/* Neither connected nor about to be. */
static void stop(struct upstream *up)
{
	if (up->assoc)
		assoc_drop(up->assoc);
	loop_timer_cancel(&up->retry);
	forgive_flaps(up);
	up->attempts = 0;
	up->lost_at = 0;
	up->draining = false;
}

void upstream_restart(struct upstream *up, const char *reason)
{
	if (up->state == UPSTREAM_DELETING)
		return;
	stop(up);
	set_state(up, UPSTREAM_CONNECTING, reason);
	tell(up);
	upstream_refresh_paths(up);
	upstream_start(up);
}

void upstream_reset(struct upstream *up)
{
	upstream_restart(up, "reset by the administrator");
}

void upstream_disconnect(struct upstream *up)
{
	if (up->state == UPSTREAM_DELETING)
		return;
	stop(up);
	set_state(up, UPSTREAM_FAILED, "disconnected by the administrator");
	tell(up);
	upstream_refresh_paths(up);
}
