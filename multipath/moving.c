/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving I/O off paths on purpose, so that a connection can be ended with no command on it: then
 * nothing has to be sent again, and nothing is fenced.
 */
#include <stdlib.h>

#include "multipath/control.h"
#include "multipath/head.h"

#define LOOK_AGAIN (2 * NSEC_PER_MSEC)

struct moving {
	struct upstream *up; /* of the path, when it is about one */
	struct path *path;   /* NULL: all of the upstream, and of those that it has named */
	struct loop_timer timer;
	uint64_t until; /* loop time */
	void (*done)(void *arg, uint64_t left);
	void *arg;
};

static struct loop *control_of(const struct moving *m)
{
	return m->up->ss->mp->control;
}

/* ---- how many commands are out ---- */

static uint64_t on_path(const struct path *p)
{
	struct path_totals t;

	path_totals(p, &t);
	return t.inflight;
}

static uint64_t on_upstream(const struct upstream *up)
{
	const struct path *p;
	uint64_t n = 0;

	TAILQ_FOREACH(p, &up->paths, up_link)
		n += on_path(p);
	return n;
}

static uint64_t left(const struct moving *m)
{
	const struct upstream *u;
	uint64_t n = 0;

	if (m->path)
		return m->path->removed ? 0 : on_path(m->path);
	if (m->up->state == UPSTREAM_DELETING)
		return 0;
	TAILQ_FOREACH(u, &m->up->ss->upstreams, link)
		if (u == m->up || u->source == m->up)
			n += on_upstream(u);
	return n;
}

/* ---- waiting ---- */

static void finish(struct moving *m, uint64_t n)
{
	struct upstream *up = m->up;
	struct path *p = m->path;

	loop_timer_fini(&m->timer);
	m->done(m->arg, n);
	free(m);
	if (p) {
		p->refs--;
		path_put(p);
	}
	upstream_put(up);
}

static void look(void *arg)
{
	struct moving *m = arg;
	uint64_t n = left(m);

	if (n && loop_now(control_of(m)) < m->until)
		loop_timer_arm(&m->timer, LOOK_AGAIN);
	else
		finish(m, n);
}

/* No worker sends anything new on it once all have seen the views that are on their way. */
static void start(struct upstream *up, struct path *p, uint64_t limit,
		  void (*done)(void *arg, uint64_t left), void *arg)
{
	struct moving *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	*m = (struct moving){.up = up, .path = p, .done = done, .arg = arg};
	up->refs++;
	if (p)
		p->refs++;
	m->until = loop_now(control_of(m)) + limit;
	loop_timer_init(&m->timer, control_of(m), look, m);
	mp_barrier(up->ss->mp, look, m);
}

void upstream_drain(struct upstream *up, uint64_t limit, void (*done)(void *arg, uint64_t left),
		    void *arg)
{
	struct upstream *u;

	TAILQ_FOREACH(u, &up->ss->upstreams, link) {
		if (u != up && u->source != up)
			continue;
		u->draining = true;
		upstream_refresh_paths(u);
	}
	start(up, NULL, limit, done, arg);
}

void path_drain(struct path *p, uint64_t limit, void (*done)(void *arg, uint64_t left), void *arg)
{
	start(p->up, p, limit, done, arg);
}
