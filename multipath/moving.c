/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving I/O off paths on purpose, so that a connection can be ended with no command on it: then
 * nothing has to be sent again, and nothing is fenced. At the end what they have acknowledged is
 * flushed, since no Flush of a host's reaches a controller that we have left.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "multipath/control.h"
#include "multipath/dispatch.h"
#include "multipath/head.h"

#include "transport/log.h"

#define LOOK_AGAIN (2 * NSEC_PER_MSEC)
#define FLUSH_MIN  NSEC_PER_SEC

struct moving {
	struct upstream *up; /* of the path, when it is about one */
	struct path *path;   /* NULL: all of the upstream, and of those that it has named */
	struct loop_timer timer;
	uint64_t until;	   /* loop time */
	unsigned flushing; /* paths */
	bool over;	   /* done() has been called */
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

static void put(struct moving *m)
{
	struct upstream *up = m->up;
	struct path *p = m->path;

	if (!m->over || m->flushing)
		return;
	free(m);
	if (p) {
		p->refs--;
		path_put(p);
	}
	upstream_put(up);
}

static void finish(struct moving *m, uint64_t n)
{
	m->over = true;
	loop_timer_fini(&m->timer);
	m->done(m->arg, n);
	put(m);
}

/* ---- flushing: by the first worker, any will do ---- */

/* Its request is of no pool: what hosts have in flight must not keep it from being sent. */
struct flush {
	struct request req;
	struct moving *m;
	struct mp_worker *mw;
	struct head_worker *hw;
	struct lane *lane;
	struct loop_timer again; /* the worker's: there was no room */
	char name[MP_NAME_MAX];
	uint32_t nsid;
	int error;
	uint16_t status;
};

static void flushed_on_control(void *arg)
{
	struct flush *f = arg;
	struct moving *m = f->m;

	if (f->error || f->status)
		log_warn("path %s/%u: could not be flushed before it is left: %s", f->name, f->nsid,
			 f->error ? strerror(-f->error) : admin_status_str(f->status));
	free(f);
	if (!--m->flushing && !m->over)
		finish(m, 0);
	else
		put(m);
}

static void report(struct flush *f, int error, uint16_t status)
{
	f->error = error;
	f->status = status;
	loop_post(f->mw->control, flushed_on_control, f);
}

static void on_flushed(struct request *req, int error)
{
	struct flush *f = req->complete_arg;

	conn_returned(req->mp_conn, req, error);
	lane_put(req->mp_lane, f->mw);
	report(f, error, error ? 0 : nvme_cqe_status(&req->cqe));
}

/* An upstream may have more namespaces than its queue has entries. */
static void try_to_flush(void *arg)
{
	struct flush *f = arg;
	struct head_worker *hw = f->hw;
	struct lane *lane = f->lane;
	struct mp_worker *mw = f->mw;
	int err = lane_submit(hw, lane, &f->req);

	if (err == -EAGAIN) {
		loop_timer_arm(&f->again, LOOK_AGAIN);
		return;
	}
	loop_timer_fini(&f->again);
	if (err)
		report(f, err, 0);
	lane_put(lane, mw);
	hw->out--;
	head_worker_put(hw);
}

static void flush_on_worker(void *arg)
{
	struct flush *f = arg;

	f->req.sqe.opcode = nvme_cmd_flush;
	f->req.ini_done = on_flushed;
	f->req.complete_arg = f;
	loop_timer_init(&f->again, f->mw->loop, try_to_flush, f);
	/* Both may be retired while it waits. */
	f->hw->out++;
	f->lane->out++;
	try_to_flush(f);
}

/* Heads and lanes are retired by later messages. */
static void flush_path(struct moving *m, const struct path *p)
{
	struct mp *mp = p->up->ss->mp;
	struct flush *f;

	if (p->removed || !p->head || !p->lanes || p->up->state != UPSTREAM_LIVE)
		return;
	f = calloc(1, sizeof(*f));
	if (!f)
		abort();
	*f = (struct flush){.m = m,
			    .mw = &mp->workers[0],
			    .hw = p->head->hw[0],
			    .lane = p->lanes->lane[0],
			    .nsid = p->nsid};
	strcpy(f->name, p->up->cfg.name);
	m->flushing++;
	loop_post(mp->workers[0].loop, flush_on_worker, f);
}

static void flush_upstreams(struct moving *m)
{
	const struct upstream *u;
	const struct path *p;

	TAILQ_FOREACH(u, &m->up->ss->upstreams, link)
		if (u == m->up || u->source == m->up)
			TAILQ_FOREACH(p, &u->paths, up_link)
				flush_path(m, p);
}

/* ---- the order of it ---- */

static void look(void *arg)
{
	struct moving *m = arg;
	uint64_t n = left(m), now = loop_now(control_of(m));

	if (m->flushing) { /* and the time is up */
		finish(m, n);
		return;
	}
	if (n && now < m->until) {
		loop_timer_arm(&m->timer, LOOK_AGAIN);
		return;
	}
	if (!n && m->path)
		flush_path(m, m->path);
	else if (!n)
		flush_upstreams(m);
	if (!m->flushing) {
		finish(m, n);
		return;
	}
	/* Whoever waits is not kept for much longer than was agreed, though a Flush may take long.
	 */
	loop_timer_arm(&m->timer, m->until > now + FLUSH_MIN ? m->until - now : FLUSH_MIN);
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
