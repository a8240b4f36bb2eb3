/* SPDX-License-Identifier: Apache-2.0 */
/* The engine as a whole: its workers, its subsystems, its end. */
#include <stdlib.h>
#include <string.h>

#include "multipath/control.h"
#include "multipath/head.h"

/* For admin commands to upstreams: hosts share control's own pool and may well use it up. */
#define ADMIN_REQUESTS 1024u
#define ADMIN_SEGMENTS 512u

static struct pool *make_admin_pool(struct loop *control)
{
	struct pool *of_loop = loop_pool(control);
	struct pool *pool = pool_new(control, ADMIN_REQUESTS, ADMIN_SEGMENTS);

	if (!pool)
		abort();
	loop_set_pool(control, of_loop);
	return pool;
}

struct mp *mp_new(struct loop *control, struct loop **workers, unsigned n)
{
	struct mp *mp = calloc(1, sizeof(*mp));

	if (!mp)
		abort();
	mp->control = control;
	mp->n = n;
	mp->admin_pool = make_admin_pool(control);
	TAILQ_INIT(&mp->subsystems);
	TAILQ_INIT(&mp->quarantines);
	TAILQ_INIT(&mp->graves);
	mp->announcement = 1;
	for (unsigned i = 0; i < n; i++)
		mp_worker_init(&mp->workers[i], mp, workers[i], control, i);
	return mp;
}

static void report_done(void *arg)
{
	struct mp *mp = arg;

	quarantine_free_all(mp);
	graves_free(mp);
	pool_free(mp->admin_pool);
	mp->done(mp->done_arg);
}

void mp_object_gone(struct mp *mp)
{
	if (--mp->objects == 0 && mp->done)
		loop_post(mp->control, report_done, mp);
}

void mp_object_new(struct mp_subsys *ss)
{
	ss->objects++;
	ss->mp->objects++;
}

static void free_subsys(struct mp_subsys *ss)
{
	TAILQ_REMOVE(&ss->mp->subsystems, ss, link);
	for (unsigned i = 0; i < ss->mp->n; i++)
		free(ss->sw[i]);
	free(ss);
}

/* In a turn of its own: whoever has freed the last object may still look at the subsystem. */
static void report_removed(void *arg)
{
	struct mp_subsys *ss = arg;
	struct mp *mp = ss->mp;
	void (*removed)(void *) = ss->removed;
	void *removed_arg = ss->removed_arg;

	free_subsys(ss);
	removed(removed_arg);
	mp_object_gone(mp);
}

static void subsys_object_gone(struct mp_subsys *ss)
{
	if (--ss->objects == 0 && ss->removed)
		loop_post(ss->mp->control, report_removed, ss);
}

void mp_object_freed(struct mp_subsys *ss)
{
	struct mp *mp = ss->mp;

	subsys_object_gone(ss);
	mp_object_gone(mp);
}

static void end_subsys(struct mp_subsys *ss)
{
	struct upstream *up;
	struct head *h;

	health_stop(ss);
	while ((up = TAILQ_FIRST(&ss->upstreams)))
		upstream_remove(up);
	while ((h = TAILQ_FIRST(&ss->heads)))
		head_remove(h);
}

void mp_subsys_remove(struct mp_subsys *ss, void (*done)(void *arg), void *arg)
{
	ss->removed = done;
	ss->removed_arg = arg;
	ss->mp->objects++; /* until it is freed */
	ss->objects++;	   /* until all have been told */
	end_subsys(ss);
	subsys_object_gone(ss);
}

void mp_shutdown(struct mp *mp, void (*done)(void *arg), void *arg)
{
	struct mp_subsys *ss;

	mp->done = done;
	mp->done_arg = arg;
	mp->objects++; /* until all have been told */
	TAILQ_FOREACH(ss, &mp->subsystems, link)
		if (!ss->removed)
			end_subsys(ss);
	mp_object_gone(mp);
}

void mp_free(struct mp *mp)
{
	struct mp_subsys *ss;

	while ((ss = TAILQ_FIRST(&mp->subsystems)))
		free_subsys(ss);
	free(mp);
}

struct mp_subsys *mp_subsys_add(struct mp *mp, const struct mp_subsys_config *cfg,
				const struct mp_events *ev, void *arg)
{
	struct mp_subsys *ss = calloc(1, sizeof(*ss));

	if (!ss)
		abort();
	ss->mp = mp;
	ss->cfg = *cfg;
	ss->ev = ev;
	ss->ev_arg = arg;
	TAILQ_INIT(&ss->upstreams);
	TAILQ_INIT(&ss->heads);
	for (unsigned i = 0; i < mp->n; i++) {
		ss->sw[i] = calloc(1, sizeof(*ss->sw[i]));
		if (!ss->sw[i])
			abort();
	}
	TAILQ_INSERT_TAIL(&mp->subsystems, ss, link);
	health_start(ss);
	return ss;
}

const char *mp_write_retry_name(enum mp_write_retry r)
{
	static const char *const names[] = {
		[MP_WRITE_RETRY_FENCED] = "fenced",
		[MP_WRITE_RETRY_IMMEDIATE] = "immediate",
		[MP_WRITE_RETRY_QUIESCE] = "quiesce",
	};

	return names[r];
}

struct head *mp_subsys_head(const struct mp_subsys *ss, uint32_t nsid)
{
	struct head *h;

	TAILQ_FOREACH(h, &ss->heads, link)
		if (h->nsid == nsid)
			return h;
	return NULL;
}

void mp_subsys_set_policy(struct mp_subsys *ss, enum mp_policy policy)
{
	struct head *h;

	ss->cfg.policy = policy;
	TAILQ_FOREACH(h, &ss->heads, link)
		head_set_policy(h, policy);
}

bool mp_subsys_limits(const struct mp_subsys *ss, struct limits *l)
{
	const struct upstream *up;
	bool any = false;

	limits_none(l);
	TAILQ_FOREACH(up, &ss->upstreams, link) {
		if (!up->have_idctrl)
			continue;
		any = true;
		limits_narrow(l, &up->limits);
	}
	return any;
}

struct head_worker *mp_lookup(struct mp_subsys *ss, unsigned w, uint32_t nsid)
{
	return nsid > MP_MAX_NSID ? NULL : ss->sw[w]->heads[nsid];
}
