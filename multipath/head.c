/* SPDX-License-Identifier: Apache-2.0 */
/* Heads: one namespace each, as hosts see it, kept in step with what its paths can do. */
#include <stdlib.h>
#include <string.h>

#include "multipath/control.h"
#include "multipath/head.h"
#include "transport/log.h"

struct publish_msg {
	struct head_worker *hw;
	struct view *view;
};

static void publish_on_worker(void *arg)
{
	struct publish_msg *m = arg;

	head_worker_publish(m->hw, m->view);
	free(m);
}

struct table_msg {
	struct subsys_worker *sw;
	struct head_worker *hw;
	uint32_t nsid;
};

static void add_on_worker(void *arg)
{
	struct table_msg *m = arg;

	m->sw->heads[m->nsid] = m->hw;
	free(m);
}

static void remove_on_worker(void *arg)
{
	struct table_msg *m = arg;

	if (m->sw->heads[m->nsid] == m->hw)
		m->sw->heads[m->nsid] = NULL;
	head_worker_retire(m->hw);
	free(m);
}

static void post_table(struct head *h, unsigned w, void (*fn)(void *))
{
	struct table_msg *m = malloc(sizeof(*m));

	if (!m)
		abort();
	*m = (struct table_msg){h->ss->sw[w], h->hw[w], h->nsid};
	loop_post(h->ss->mp->workers[w].loop, fn, m);
}

/* ---- views ---- */

/*
 * How long I/O waits without a path: no_path_timeout, or less when every upstream of the head has a
 * shorter fast_io_fail_tmo.
 */
static uint64_t hold_time(const struct head *h)
{
	uint64_t longest = 0;
	const struct path *p;

	if (TAILQ_EMPTY(&h->paths))
		return h->ss->cfg.no_path_timeout;
	TAILQ_FOREACH(p, &h->paths, head_link) {
		int64_t t = p->up->cfg.fast_io_fail_tmo;

		if (t < 0 || (uint64_t)t > h->ss->cfg.no_path_timeout)
			return h->ss->cfg.no_path_timeout;
		if ((uint64_t)t > longest)
			longest = (uint64_t)t;
	}
	return longest;
}

/* 1 when the path is known to leave from another NUMA node than the worker's. */
static uint8_t distance(const struct upstream *up, unsigned w)
{
	int path = up->assoc->admin ? up->assoc->admin->node : -1;
	int worker = loop_node(up->ss->mp->workers[w].loop);

	return path >= 0 && worker >= 0 && path != worker;
}

static struct view *make_view(const struct head *h, unsigned w)
{
	const struct path *p;
	unsigned n = 0;
	struct view *v;

	TAILQ_FOREACH(p, &h->paths, head_link)
		n++;
	v = calloc(1, sizeof(*v) + n * sizeof(v->e[0]));
	if (!v)
		abort();
	v->policy = h->policy;
	v->write_retry = h->ss->cfg.write_retry;
	v->geo = h->geo;
	v->hold_ns = hold_time(h);
	v->max_held = h->ss->cfg.max_held;
	v->max_held_bytes = h->ss->cfg.max_held_bytes;
	v->persistent_loss = h->loss_told;
	TAILQ_FOREACH(p, &h->paths, head_link) {
		bool connected = path_connected(p);

		v->e[v->n++] = (struct view_entry){
			.lane = p->lanes->lane[w],
			.conn = connected ? p->up->assoc->conns[w] : NULL,
			.nsid = p->nsid,
			.weight = p->weight,
			.rank = p->rank,
			.distance = connected ? distance(p->up, w) : 0,
		};
		v->geo.runs |= p->idns.nawun != 0;
	}
	return v;
}

void head_publish(struct head *h)
{
	struct mp *mp = h->ss->mp;
	struct path *p;

	for (unsigned w = 0; w < mp->n; w++) {
		struct publish_msg *m = malloc(sizeof(*m));

		if (!m)
			abort();
		*m = (struct publish_msg){h->hw[w], make_view(h, w)};
		loop_post(mp->workers[w].loop, publish_on_worker, m);
	}
	TAILQ_FOREACH(p, &h->paths, head_link)
		if (p->fresh && path_connected(p))
			announce(p);
}

/* ---- what the paths add up to ---- */

static uint8_t best_ana(const struct head *h)
{
	if (h->usable[0])
		return NVME_ANA_STATE_OPTIMIZED;
	if (h->usable[1])
		return NVME_ANA_STATE_NONOPTIMIZED;
	return h->loss_told ? NVME_ANA_STATE_PERSISTENT_LOSS : NVME_ANA_STATE_INACCESSIBLE;
}

/* What hosts are told of the namespace: what holds over every path that has its geometry. */
static void intersect(const struct head *h, struct nvme_id_ns *out)
{
	const struct path *p;
	bool first = true;

	TAILQ_FOREACH(p, &h->paths, head_link) {
		struct ns_geometry geo;

		geometry_of(&geo, &p->idns);
		if (geometry_mismatch(&h->geo, &geo))
			continue;
		if (first) {
			*out = p->idns;
			first = false;
			continue;
		}
		out->nsfeat &= p->idns.nsfeat;
		out->dpc &= p->idns.dpc;
		out->mc &= p->idns.mc;
		out->rescap &= p->idns.rescap;
		if ((out->dlfeat & 7) != (p->idns.dlfeat & 7))
			out->dlfeat = 0;       /* deallocated blocks read as anything */
		out->nsattr |= p->idns.nsattr; /* write protected by one is write protected */
		if (le16toh(p->idns.nawupf) < le16toh(out->nawupf))
			out->nawupf = p->idns.nawupf;
		if (le16toh(p->idns.nawun) < le16toh(out->nawun))
			out->nawun = p->idns.nawun;
		if (le16toh(p->idns.nacwu) < le16toh(out->nacwu))
			out->nacwu = p->idns.nacwu;
		/* Boundaries of 0 are none: all writes up to the sizes above would be atomic. */
		if (out->nabo != p->idns.nabo || out->nabspf != p->idns.nabspf ||
		    out->nabsn != p->idns.nabsn) {
			out->nabo = out->nabspf = out->nabsn = 0;
			out->nawun = out->nawupf = out->nacwu = 0;
		}
	}
}

/*
 * A namespace may grow or be formatted: one path shows it before the others. As long as some
 * connected path has the head's geometry the changed ones are not used; once none has, the first
 * connected path's geometry becomes the head's.
 */
static void adopt_geometry(struct head *h)
{
	const struct path *p, *first = NULL;
	struct ns_geometry geo;

	TAILQ_FOREACH(p, &h->paths, head_link) {
		if (!path_connected(p))
			continue;
		geometry_of(&geo, &p->idns);
		if (!geometry_mismatch(&h->geo, &geo))
			return;
		if (!first)
			first = p;
	}
	if (!first)
		return;
	geometry_of(&h->geo, &first->idns);
	log_notice("namespace %u: now %llu blocks of %u bytes", h->nsid,
		   (unsigned long long)h->geo.nsze, 1u << h->geo.lbads);
}

static bool lost(const struct head *h)
{
	return !h->usable[0] && !h->usable[1];
}

/* No path for so long that hosts should stop waiting for one. */
static void on_loss(void *arg)
{
	struct head *h = arg;

	if (!lost(h))
		return;
	log_err("namespace %u: lost for good, as far as hosts are told", h->nsid);
	h->loss_told = true;
	head_publish(h);
	head_tell(h);
}

static void note_loss(struct head *h)
{
	int64_t patience = h->ss->cfg.persistent_loss;

	if (!lost(h)) {
		h->lost_since = 0;
		h->loss_told = false;
		loop_timer_cancel(&h->loss_timer);
	} else if (!h->lost_since) {
		h->lost_since = loop_now(h->ss->mp->control);
		if (patience >= 0)
			loop_timer_arm(&h->loss_timer, (uint64_t)patience);
	}
}

void head_tell(struct head *h)
{
	bool loss_told = h->loss_told;
	uint8_t ana;

	if (h->removed)
		return;
	note_loss(h);
	if (loss_told && !h->loss_told)
		head_publish(h); /* the next loss is a new one, to workers too */
	ana = best_ana(h);
	if (ana == h->ana_state)
		return;
	h->ana_state = ana;
	h->ss->ev->head_ana_changed(h->ss->ev_arg, h);
}

void head_settle(struct head *h)
{
	struct nvme_id_ns idns = h->idns;
	struct path *p;

	if (h->removed)
		return;
	adopt_geometry(h);
	TAILQ_FOREACH(p, &h->paths, head_link)
		path_judge(p);
	note_loss(h);
	intersect(h, &idns);
	head_publish(h);
	TAILQ_FOREACH(p, &h->paths, head_link)
		path_tell(p);
	head_tell(h);
	if (memcmp(&idns, &h->idns, sizeof(idns))) {
		h->idns = idns;
		h->ss->ev->head_changed(h->ss->ev_arg, h);
	}
}

/* Persistent loss counts from the loss, whatever it was set to then. */
static void rearm_loss(struct head *h)
{
	uint64_t now = loop_now(h->ss->mp->control), past = now - h->lost_since;
	int64_t patience = h->ss->cfg.persistent_loss;

	loop_timer_cancel(&h->loss_timer);
	if (!h->lost_since || h->loss_told || patience < 0)
		return;
	loop_timer_arm(&h->loss_timer, (uint64_t)patience > past ? (uint64_t)patience - past : 0);
}

static void take_policy(struct head *h)
{
	struct mp_subsys *ss = h->ss;

	h->policy = ss->cfg.policy;
	if (ss->ev->head_policy)
		ss->ev->head_policy(ss->ev_arg, h, &h->policy);
}

void head_reconfigure(struct head *h)
{
	take_policy(h);
	rearm_loss(h);
	head_settle(h);
}

void head_set_policy(struct head *h, enum mp_policy policy)
{
	h->policy = policy;
	head_publish(h);
}

/* ---- life ---- */

static void insert_by_nsid(struct mp_subsys *ss, struct head *h)
{
	struct head *next;

	TAILQ_FOREACH(next, &ss->heads, link)
		if (next->nsid > h->nsid)
			break;
	if (next)
		TAILQ_INSERT_BEFORE(next, h, link);
	else
		TAILQ_INSERT_TAIL(&ss->heads, h, link);
}

static void on_removal(void *arg)
{
	head_remove(arg);
}

void head_abandoned(struct head *h, bool hold)
{
	uint64_t delay = h->ss->cfg.delayed_removal;

	if (hold && delay < h->ss->cfg.no_path_timeout)
		delay = h->ss->cfg.no_path_timeout;
	if (!delay) {
		head_remove(h);
		return;
	}
	log_notice("namespace %u: no path is left, removed in %llu s unless one comes", h->nsid,
		   (unsigned long long)(delay / NSEC_PER_SEC));
	loop_timer_arm(&h->removal_timer, delay);
	head_settle(h);
}

void head_adopted(struct head *h)
{
	loop_timer_cancel(&h->removal_timer);
}

struct head *head_add(struct mp_subsys *ss, const struct path *first, struct mp_refusal *why)
{
	struct mp *mp = ss->mp;
	struct head *h;
	uint32_t nsid;

	/* In this order: what is not exported anyway is not said to wait for something. */
	nsid = ss->ev->assign_nsid(ss->ev_arg, &first->ident, why);
	if (!nsid || !grave_allows(mp, &first->ident, why))
		return NULL;
	h = calloc(1, sizeof(*h));
	if (!h)
		abort();
	h->ss = ss;
	h->nsid = nsid;
	h->ident = first->ident;
	h->idns = first->idns;
	geometry_of(&h->geo, &first->idns);
	h->ana_state = NVME_ANA_STATE_INACCESSIBLE;
	take_policy(h);
	loop_timer_init(&h->loss_timer, mp->control, on_loss, h);
	loop_timer_init(&h->removal_timer, mp->control, on_removal, h);
	TAILQ_INIT(&h->paths);
	for (unsigned w = 0; w < mp->n; w++) {
		h->hw[w] = calloc(1, sizeof(*h->hw[w]));
		if (!h->hw[w])
			abort();
		head_worker_init(h->hw[w], &mp->workers[w], h, nsid, make_view(h, w));
		post_table(h, w, add_on_worker);
	}
	insert_by_nsid(ss, h);
	mp_object_new(ss);
	ss->ev->head_added(ss->ev_arg, h);
	return h;
}

void head_remove(struct head *h)
{
	h->removed = true;
	loop_timer_fini(&h->loss_timer);
	loop_timer_fini(&h->removal_timer);
	TAILQ_REMOVE(&h->ss->heads, h, link);
	log_notice("namespace %u: removed", h->nsid);
	grave_dig(h);
	h->ss->ev->head_removed(h->ss->ev_arg, h);
	for (unsigned w = 0; w < h->ss->mp->n; w++)
		post_table(h, w, remove_on_worker);
}

void head_worker_freed(struct head *h)
{
	struct mp_subsys *ss = h->ss;

	if (++h->acks < ss->mp->n)
		return;
	grave_close(h);
	free(h);
	mp_object_freed(ss);
}

void head_totals(const struct head *h, struct head_totals *t)
{
	memset(t, 0, sizeof(*t));
	for (unsigned w = 0; w < h->ss->mp->n; w++) {
		const struct head_stats *s = &h->hw[w]->stats;

		t->held += stat_get(&s->held);
		t->held_max += stat_get(&s->held_max);
		t->retried += stat_get(&s->retried);
		t->failed_no_path += stat_get(&s->failed_no_path);
		t->put_off += stat_get(&s->put_off);
		t->fences += stat_get(&s->fences);
		t->fenced += stat_get(&s->fenced);
		t->fenced_total += stat_get(&s->fenced_total);
		if (stat_get(&s->longest_ns) > t->longest_ns)
			t->longest_ns = stat_get(&s->longest_ns);
	}
}
