/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fences. A write whose connection was lost may still be executed by the old controller, at any
 * time until its association is known to be dead; so may each of its retries that is lost. Executed
 * after a newer write to the same blocks it would bring old data back. Therefore, from the loss to
 * that death:
 *
 * - a write that overlaps a lost one waits, unless it is that one;
 * - the lost one is sent again (over another path) only when no overlapping write is out, on any
 *   worker: then it is the last of them, and a late execution of the old copy changes nothing. Of
 * two overlapping lost ones neither can be the last, so both wait;
 * - it is answered, well or not, only when all workers have the fence: a host that has the answer
 *   may send the next write of these blocks on any queue.
 *
 * Everybody else goes on. With MP_WRITE_RETRY_QUIESCE the lost write itself waits for the death
 * too.
 *
 * The worker that lost the writes makes a fence per head and association, and copies of it on the
 * other workers by messages. Control says when the association is dead; the origin then takes its
 * own fence down and, by messages behind those that brought them, the copies.
 */
#include <stdlib.h>

#include "multipath/control.h"
#include "multipath/dispatch.h"
#include "transport/log.h"

/* A host's own patience is 30 s (Linux): it should hear from us before that. */
#define PATIENCE (25 * NSEC_PER_SEC)

/* The serial of no association: what is fenced is out over a good path, but its host has gone. */
#define ABANDONED UINT64_MAX

struct fenced_range {
	struct lba_range range;
	const struct request *owner; /* while it is not answered; only on the origin */
};

struct fence {
	TAILQ_ENTRY(fence) link;     /* in head_worker->fences */
	TAILQ_ENTRY(fence) new_link; /* in on_lost() */
	struct head_worker *hw;
	uint64_t serial;  /* of the association that may still execute the writes */
	struct fence *of; /* the origin's, itself on the origin */
	unsigned origin;  /* index of its worker */
	uint64_t id;	  /* unique on the origin */
	bool draining;	  /* overlapping writes are out on this worker */
	/* on the origin */
	unsigned installing, drains; /* workers that do not have it yet; that have writes out */
	bool dead;		     /* the association is, and that was too early */
	struct request_list lost;    /* wait for drains to be 0 */
	struct lba_range span;	     /* of all ranges */
	unsigned n;
	struct fenced_range r[];
};

static void ready(struct fence *f);
static void on_lost(void *arg);

/* ---- who waits for whom ---- */

static bool overlaps(const struct fence *f, struct lba_range range, const struct request *self)
{
	if (!lba_overlap(f->span, range))
		return false;
	for (unsigned i = 0; i < f->n; i++)
		if (lba_overlap(f->r[i].range, range) && (!self || f->r[i].owner != self))
			return true;
	return false;
}

bool fence_blocks(const struct head_worker *hw, const struct request *req)
{
	const struct request *self = hw->view->write_retry == MP_WRITE_RETRY_QUIESCE ? NULL : req;
	struct lba_range range = command_writes(req);
	const struct fence *f;

	if (range.start == range.end)
		return false;
	TAILQ_FOREACH(f, &hw->fences, link)
		if (overlaps(f, range, self))
			return true;
	return false;
}

/* ---- waiting behind a fence ---- */

static void arm_for(struct head_worker *hw, uint64_t due)
{
	uint64_t now = loop_now(hw->mw->loop);

	hw->fence_due = due;
	loop_timer_arm(&hw->fence_timer, due > now ? due - now : 0);
}

/* Looks at all, so not for each of them. */
static void arm(struct head_worker *hw)
{
	uint64_t due = UINT64_MAX;
	const struct request *req;

	TAILQ_FOREACH(req, &hw->fenced, link)
		if (req->mp_due < due)
			due = req->mp_due;
	if (TAILQ_EMPTY(&hw->fenced))
		loop_timer_cancel(&hw->fence_timer);
	else
		arm_for(hw, due);
}

static void count(struct head_worker *hw, struct share now)
{
	share_count(hw->mw, &hw->fenced_share, now);
	stat_set(&hw->stats.fenced, now.n);
}

static void enter(struct head_worker *hw, struct request *req)
{
	struct share now = hw->fenced_share;

	req->mp_state = MP_REQ_FENCED;
	req->mp_due = req->arrived + PATIENCE;
	TAILQ_INSERT_TAIL(&hw->fenced, req, link);
	share_add(&now, req);
	count(hw, now);
	if (!hw->fence_timer.armed || req->mp_due < hw->fence_due)
		arm_for(hw, req->mp_due);
}

/* It is in no list any more. */
static void leave(struct head_worker *hw, struct request *req)
{
	struct share now = hw->fenced_share;

	req->mp_state = MP_REQ_IDLE;
	share_sub(&now, req);
	count(hw, now);
}

void fence_in(struct head_worker *hw, struct request *req)
{
	/* What was lost has its place: its association had it before. */
	if (!req->mp_owned && share_full(hw, &hw->fenced_share, req)) {
		log_ratelimited(LOG_WARNING,
				"namespace %u: too many writes wait for a lost association's end: "
				"hosts are told to repeat later",
				hw->nsid);
		stat_add(&hw->stats.put_off, 1);
		dispatch_finish(hw, req, MP_ST_PUT_OFF);
		return;
	}
	stat_add(&hw->stats.fenced_total, 1);
	enter(hw, req);
}

void fence_out(struct head_worker *hw, struct request *req)
{
	TAILQ_REMOVE(&hw->fenced, req, link);
	leave(hw, req);
}

void fence_fail_all(struct head_worker *hw, uint16_t status)
{
	struct request *req;

	hw->out++;
	while ((req = TAILQ_FIRST(&hw->fenced))) {
		fence_out(hw, req);
		dispatch_finish(hw, req, status);
	}
	hw->out--;
	head_worker_put(hw);
}

static void on_overdue(void *arg)
{
	struct head_worker *hw = arg;
	struct request *req, *next;

	hw->out++;
	for (req = TAILQ_FIRST(&hw->fenced); req; req = next) {
		next = TAILQ_NEXT(req, link);
		if (req->mp_due > loop_now(hw->mw->loop))
			continue;
		log_ratelimited(
			LOG_ERR,
			"namespace %u: a write waited too long for a lost association's end",
			hw->nsid);
		fence_out(hw, req);
		dispatch_finish(hw, req, NVME_STATUS(3, NVME_SC_ANA_INTERNAL_PATH_ERROR));
	}
	arm(hw);
	hw->out--;
	head_worker_put(hw);
}

/* A fence has gone: each is looked at once. */
static void release(struct head_worker *hw)
{
	struct request_list all = TAILQ_HEAD_INITIALIZER(all);
	struct request *req;

	hw->out++;
	TAILQ_CONCAT(&all, &hw->fenced, link);
	while ((req = TAILQ_FIRST(&all))) {
		TAILQ_REMOVE(&all, req, link);
		leave(hw, req);
		if (request_orphaned(req))
			dispatch_finish(hw, req, NVME_STATUS(0, NVME_SC_ABORT_REQ));
		else if (fence_blocks(hw, req))
			enter(hw, req);
		else if (request_unfetched(req))
			dispatch_proceed(hw, req);
		else
			dispatch(hw, req);
	}
	arm(hw);
	hw->out--;
	head_worker_put(hw);
}

/* ---- writes that are out and overlap ---- */

static bool tag(struct fence *f)
{
	struct head_worker *hw = f->hw;
	struct request *req;
	struct conn *conn;
	bool any = false;

	TAILQ_FOREACH(conn, &hw->mw->conns, link)
		TAILQ_FOREACH(req, &conn->inflight, link) {
			struct lba_range range;

			if (req->mp_head != hw)
				continue;
			range = command_writes(req);
			if (range.start == range.end || !overlaps(f, range, NULL))
				continue;
			req->mp_tagged = true;
			any = true;
		}
	return any;
}

static bool any_tagged(const struct fence *f, const struct request *first)
{
	for (const struct request *req = first; req; req = TAILQ_NEXT(req, link))
		if (req->mp_head == f->hw && req->mp_tagged &&
		    overlaps(f, command_writes(req), NULL))
			return true;
	return false;
}

/* What has been lost counts until its own fence is up. */
static bool still_draining(const struct fence *f)
{
	const struct mp_worker *mw = f->hw->mw;
	const struct conn *conn;

	TAILQ_FOREACH(conn, &mw->conns, link)
		if (any_tagged(f, TAILQ_FIRST(&conn->inflight)))
			return true;
	return any_tagged(f, TAILQ_FIRST(&mw->lost));
}

/* ---- between workers ---- */

struct fence_msg {
	struct mp_worker *to;
	/* whose part is meant; the head itself may be gone by the time of arrival */
	const struct head *head;
	struct subsys_worker *sw;
	uint32_t nsid;
	struct fence *f; /* a copy to keep, or the origin's for answers */
	unsigned origin; /* to take down: which */
	uint64_t id;
	bool drained;
};

static void post(struct mp_worker *to, void (*fn)(void *), struct fence_msg m)
{
	struct fence_msg *copy = malloc(sizeof(*copy));

	if (!copy)
		abort();
	*copy = m;
	copy->to = to;
	loop_post(to->loop, fn, copy);
}

static struct fence *copy_of(const struct fence *f)
{
	struct fence *copy = malloc(sizeof(*f) + f->n * sizeof(f->r[0]));

	if (!copy)
		abort();
	*copy = *f;
	for (unsigned i = 0; i < f->n; i++)
		copy->r[i] = (struct fenced_range){f->r[i].range, NULL};
	return copy;
}

/* The same to all other workers' parts of the head; @f, if any, as copies. */
static void post_to_others(const struct fence *f, void (*fn)(void *), bool with_copy)
{
	const struct head_worker *hw = f->hw;
	struct mp *mp = hw->mw->mp;

	for (unsigned w = 0; w < mp->n; w++) {
		if (w == hw->mw->index)
			continue;
		post(&mp->workers[w], fn,
		     (struct fence_msg){.head = hw->head,
					.sw = hw->head->ss->sw[w],
					.nsid = hw->nsid,
					.f = with_copy ? copy_of(f) : NULL,
					.origin = f->origin,
					.id = f->id});
	}
}

static struct mp_worker *origin_of(const struct fence *f)
{
	return &f->hw->mw->mp->workers[f->origin];
}

/* This worker's part of the head, or NULL: then nothing of it is or will be out here. */
static struct head_worker *part_of(const struct fence_msg *m)
{
	struct head_worker *hw = m->sw->heads[m->nsid];

	return hw && hw->head == m->head ? hw : NULL;
}

static void insert(struct head_worker *hw, struct fence *f)
{
	if (TAILQ_EMPTY(&hw->fences))
		TAILQ_INSERT_TAIL(&hw->mw->fenced, hw, fences_link);
	f->hw = hw;
	TAILQ_INSERT_TAIL(&hw->fences, f, link);
	stat_add(&hw->stats.fences, f->of == f);
}

static void drop(struct fence *f)
{
	struct head_worker *hw = f->hw;

	TAILQ_REMOVE(&hw->fences, f, link);
	if (TAILQ_EMPTY(&hw->fences))
		TAILQ_REMOVE(&hw->mw->fenced, hw, fences_link);
	stat_sub(&hw->stats.fences, f->of == f);
	free(f);
}

/* Origin: a worker has drained. The head lives: the fence counts in hw->out until this is over. */
static void on_drained(void *arg)
{
	struct fence_msg *m = arg;
	struct fence *f = m->f;

	free(m);
	f->drains--;
	ready(f);
}

static void on_installed(void *arg)
{
	struct fence_msg *m = arg;
	struct fence *f = m->f;

	f->installing--;
	if (m->drained)
		f->drains--;
	free(m);
	ready(f);
}

/* Another worker: keep the copy. */
static void on_install(void *arg)
{
	struct fence_msg *m = arg;
	struct fence *f = m->f, *of = f->of;
	struct mp_worker *origin = &m->to->mp->workers[f->origin];
	struct head_worker *hw;
	bool drained = true;

	/* What has been lost here has to be known there before our answer. */
	on_lost(m->to);
	hw = part_of(m);
	if (hw) {
		insert(hw, f);
		f->draining = tag(f);
		drained = !f->draining;
	} else {
		free(f);
	}
	post(origin, on_installed, (struct fence_msg){.f = of, .drained = drained});
	free(m);
}

/* Another worker: take the copy down. */
static void on_remove(void *arg)
{
	struct fence_msg *m = arg;
	struct head_worker *hw = part_of(m);
	struct fence *f;

	if (hw) {
		TAILQ_FOREACH(f, &hw->fences, link)
			if (f->origin == m->origin && f->id == m->id)
				break;
		if (f)
			drop(f);
		release(hw);
	}
	free(m);
}

/* Tags have gone: who waited for that? */
static void look_for_drained(struct head_worker *hw)
{
	struct fence *f, *next;

	hw->out++;
	for (f = TAILQ_FIRST(&hw->fences); f; f = next) {
		next = TAILQ_NEXT(f, link);
		if (!f->draining || still_draining(f))
			continue;
		f->draining = false;
		if (f->of != f) {
			post(origin_of(f), on_drained, (struct fence_msg){.f = f->of});
			continue;
		}
		f->drains--;
		ready(f);
	}
	hw->out--;
	head_worker_put(hw);
}

void fence_untag(struct head_worker *hw, struct request *req)
{
	req->mp_tagged = false;
	look_for_drained(hw);
}

/* ---- the origin ---- */

static void take_down(struct fence *f)
{
	struct head_worker *hw = f->hw;

	post_to_others(f, on_remove, false);
	drop(f);
	release(hw);
}

/* The lost writes go on once no overlapping write is out anywhere. */
static void ready(struct fence *f)
{
	struct head_worker *hw = f->hw;
	struct request *req;

	if (f->installing || f->drains)
		return;
	while ((req = TAILQ_FIRST(&f->lost))) {
		TAILQ_REMOVE(&f->lost, req, link);
		req->mp_state = MP_REQ_IDLE;
		if (request_orphaned(req)) {
			dispatch_finish(hw, req, NVME_ST_HOST_PATH);
			continue;
		}
		stat_add(&hw->stats.retried, 1);
		dispatch(hw, req);
	}
	if (f->dead)
		take_down(f);
	hw->out--;
	head_worker_put(hw);
}

static void on_report(void *arg)
{
	struct fence_msg *m = arg;

	quarantine_fenced(m->to->mp, m->id);
	free(m);
}

/* Control may know a quicker way to be sure that the association is dead. */
static void report(struct mp_worker *mw, uint64_t serial)
{
	struct fence_msg *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	m->to = mw;
	m->id = serial;
	loop_post(mw->control, on_report, m);
}

static struct fence *make(struct head_worker *hw, uint64_t serial, unsigned n)
{
	struct fence *f = calloc(1, sizeof(*f) + n * sizeof(f->r[0]));

	if (!f)
		abort();
	f->serial = serial;
	f->of = f;
	f->origin = hw->mw->index;
	f->id = hw->mw->fence_ids++;
	f->span.start = UINT64_MAX;
	TAILQ_INIT(&f->lost);
	return f;
}

static void add_range(struct fence *f, struct request *req)
{
	struct lba_range range = command_writes(req);

	f->r[f->n++] = (struct fenced_range){range, req};
	req->mp_owned = true;
	if (range.start < f->span.start)
		f->span.start = range.start;
	if (range.end > f->span.end)
		f->span.end = range.end;
}

static void put_up(struct head_worker *hw, struct fence *f)
{
	struct mp_worker *mw = hw->mw;
	struct request *req;

	insert(hw, f);
	hw->out++; /* until ready() */
	f->draining = tag(f);
	f->installing = mw->mp->n - 1;
	f->drains = mw->mp->n - 1 + f->draining + 1; /* one until go() */
	post_to_others(f, on_install, true);
	if (f->serial != ABANDONED)
		report(mw, f->serial);
	TAILQ_FOREACH(req, &f->lost, link)
		req->mp_tagged = false;
}

/* What waited for its writes finds it from now on. */
static void go(struct fence *f)
{
	look_for_drained(f->hw);
	f->drains--;
	ready(f);
}

/* All that were lost in this turn: a fence per head and association, before any of them goes. */
static void on_lost(void *arg)
{
	struct fence_list all = TAILQ_HEAD_INITIALIZER(all);
	struct mp_worker *mw = arg;
	struct request *first, *req, *next;
	struct fence *f;

	while ((first = TAILQ_FIRST(&mw->lost))) {
		struct head_worker *hw = first->mp_head;
		uint64_t serial = first->mp_mark;
		unsigned n = 0;

		TAILQ_FOREACH(req, &mw->lost, link)
			n += req->mp_head == hw && req->mp_mark == serial;
		f = make(hw, serial, n);
		for (req = first; req; req = next) {
			next = TAILQ_NEXT(req, link);
			if (req->mp_head != hw || req->mp_mark != serial)
				continue;
			TAILQ_REMOVE(&mw->lost, req, link);
			add_range(f, req);
			TAILQ_INSERT_TAIL(&f->lost, req, link);
		}
		put_up(hw, f);
		TAILQ_INSERT_TAIL(&all, f, new_link);
	}
	while ((f = TAILQ_FIRST(&all))) {
		TAILQ_REMOVE(&all, f, new_link);
		go(f);
	}
}

void fence_lost(struct head_worker *hw, struct request *req, uint64_t serial)
{
	req->mp_state = MP_REQ_LOST;
	req->mp_mark = serial;
	TAILQ_INSERT_TAIL(&hw->mw->lost, req, link);
	loop_hook_queue(hw->mw->loop, &hw->mw->lost_hook);
}

void head_abandon(struct request *req)
{
	struct head_worker *hw = req->mp_head;
	struct lba_range range;
	struct fence *f;

	if (!hw || req->mp_state != MP_REQ_OUT || hw->view->write_retry == MP_WRITE_RETRY_IMMEDIATE)
		return;
	range = command_writes(req);
	if (range.start == range.end)
		return;
	f = make(hw, ABANDONED, 1);
	add_range(f, req);
	put_up(hw, f);
	go(f);
}

/* Now, or as soon as all have answered. */
static void retire(struct fence *f)
{
	if (f->installing || f->drains)
		f->dead = true;
	else
		take_down(f);
}

void fence_forget(struct head_worker *hw, struct request *req)
{
	struct fence *f, *next;

	req->mp_owned = false;
	for (f = TAILQ_FIRST(&hw->fences); f; f = next) {
		bool its = false;

		next = TAILQ_NEXT(f, link);
		for (unsigned i = 0; i < f->n; i++) {
			if (f->r[i].owner != req)
				continue;
			f->r[i].owner = NULL;
			its = true;
		}
		if (its && f->serial == ABANDONED)
			retire(f);
	}
}

static void bury(struct head_worker *hw, uint64_t serial)
{
	struct fence *f, *next;

	hw->out++;
	for (f = TAILQ_FIRST(&hw->fences); f; f = next) {
		next = TAILQ_NEXT(f, link);
		if (f->serial == serial && f->of == f)
			retire(f);
	}
	hw->out--;
	head_worker_put(hw);
}

void mp_worker_dead(struct mp_worker *mw, uint64_t serial)
{
	struct head_worker *hw, *next;

	/* A worker that got no core for long may see the loss and the death in one turn. */
	on_lost(mw);
	for (hw = TAILQ_FIRST(&mw->fenced); hw; hw = next) {
		next = TAILQ_NEXT(hw, fences_link);
		bury(hw, serial);
	}
}

/* ---- life ---- */

void fence_init(struct head_worker *hw)
{
	TAILQ_INIT(&hw->fences);
	TAILQ_INIT(&hw->fenced);
	loop_timer_init(&hw->fence_timer, hw->mw->loop, on_overdue, hw);
}

void fence_fini(struct head_worker *hw)
{
	struct fence *f;

	while ((f = TAILQ_FIRST(&hw->fences)))
		drop(f);
	loop_timer_fini(&hw->fence_timer);
}

void fence_worker_init(struct mp_worker *mw)
{
	TAILQ_INIT(&mw->fenced);
	TAILQ_INIT(&mw->lost);
	loop_hook_init(&mw->lost_hook, on_lost, mw);
}
