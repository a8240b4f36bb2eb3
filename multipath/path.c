/* SPDX-License-Identifier: Apache-2.0 */
/* Paths: which head a namespace of an upstream belongs to, and whether I/O may use it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "multipath/control.h"
#include "multipath/head.h"
#include "multipath/selector.h"
#include "transport/log.h"

/* ---- lanes ---- */

void lane_freed(struct lane_set *set)
{
	struct path *p = set->path;

	if (++set->acks < set->n)
		return;
	for (unsigned i = 0; i < set->n; i++)
		free(set->lane[i]);
	free(set);
	p->retiring--;
	path_put(p);
}

struct retire_msg {
	struct mp_worker *mw;
	struct lane *lane;
};

static void retire_on_worker(void *arg)
{
	struct retire_msg *m = arg;

	lane_retire(m->lane, m->mw);
	free(m);
}

static void make_lanes(struct path *p)
{
	struct mp *mp = p->up->ss->mp;
	struct lane_set *set = calloc(1, sizeof(*set));

	if (!set)
		abort();
	set->path = p;
	set->n = mp->n;
	for (unsigned i = 0; i < mp->n; i++) {
		struct lane *lane = aligned_alloc(_Alignof(struct lane), sizeof(struct lane));

		if (!lane)
			abort();
		memset(lane, 0, sizeof(*lane));
		lane->set = set;
		lane->slot = p->slot;
		stat_set(&lane->dirty, 1); /* by whom we do not know: the first Flush goes there */
		set->lane[i] = lane;
	}
	p->lanes = set;
	p->retiring++;
}

/* After the head's views have been published without the path. */
static void retire_lanes(struct path *p)
{
	struct mp *mp = p->up->ss->mp;
	struct lane_set *set = p->lanes;

	p->lanes = NULL;
	for (unsigned i = 0; i < set->n; i++) {
		struct retire_msg *m = malloc(sizeof(*m));

		if (!m)
			abort();
		*m = (struct retire_msg){&mp->workers[i], set->lane[i]};
		loop_post(mp->workers[i].loop, retire_on_worker, m);
	}
}

/* ---- life ---- */

struct path *path_find(struct upstream *up, uint32_t nsid)
{
	struct path *p;

	TAILQ_FOREACH(p, &up->paths, up_link)
		if (p->nsid == nsid)
			return p;
	return NULL;
}

void path_put(struct path *p)
{
	if (!p->removed || p->retiring || p->refs)
		return;
	upstream_put(p->up);
	free(p->health);
	free(p);
}

/* What the head counts of its paths. */
static void uncount(struct path *p)
{
	if (p->usable)
		p->head->usable[p->counted]--;
}

static void count(struct path *p)
{
	p->counted = p->ana_state == NVME_ANA_STATE_NONOPTIMIZED;
	if (p->usable)
		p->head->usable[p->counted]++;
}

static void detach(struct path *p)
{
	struct head *h = p->head;

	if (!h)
		return;
	uncount(p);
	p->head = NULL;
	p->usable = false;
	TAILQ_REMOVE(&h->paths, p, head_link);
	h->slots &= ~(1ull << p->slot);
	if (TAILQ_EMPTY(&h->paths))
		head_abandoned(h, p->up->withdrawn);
	else
		head_settle(h);
	retire_lanes(p);
}

void path_note(struct path *p, enum path_change what)
{
	p->untold |= 1u << what;
}

void path_tell(struct path *p)
{
	const struct mp_subsys *ss = p->up->ss;

	for (enum path_change c = 0; p->untold && c < PATH_CHANGE_COUNT; c++) {
		if (!(p->untold & 1u << c))
			continue;
		p->untold &= (uint8_t) ~(1u << c);
		if (ss->ev->path_changed)
			ss->ev->path_changed(ss->ev_arg, p, c);
	}
}

void path_remove(struct path *p)
{
	log_notice("path %s/%u: removed", p->up->cfg.name, p->nsid);
	path_note(p, PATH_CHANGE_REMOVED);
	path_tell(p);
	TAILQ_REMOVE(&p->up->paths, p, up_link);
	detach(p);
	p->removed = true;
	path_put(p);
}

static void refuse(struct path *p, const struct mp_refusal *why)
{
	p->passing = why->passing;
	if (!strcmp(p->reason, why->reason))
		return;
	log_line(why->expected ? LOG_INFO : LOG_ERR, "path %s/%u: refused: %s", p->up->cfg.name,
		 p->nsid, why->reason);
	p->changed = loop_now(p->up->ss->mp->control);
	snprintf(p->reason, sizeof(p->reason), "%s", why->reason);
	path_note(p, PATH_CHANGE_REFUSED);
	path_tell(p);
}

/* The place in the head by the configured order of upstreams, then NSID. */
static void insert_ordered(struct head *h, struct path *p)
{
	struct upstream *up;
	struct path *q;

	TAILQ_FOREACH(q, &h->paths, head_link) {
		for (up = TAILQ_NEXT(p->up, link); up && up != q->up; up = TAILQ_NEXT(up, link))
			;
		if (up)
			break;
	}
	if (q)
		TAILQ_INSERT_BEFORE(q, p, head_link);
	else
		TAILQ_INSERT_TAIL(&h->paths, p, head_link);
}

static void join(struct head *h, struct path *p)
{
	for (p->slot = 0; h->slots & 1ull << p->slot; p->slot++)
		;
	h->slots |= 1ull << p->slot;
	p->head = h;
	p->fresh = true;
	make_lanes(p);
	free(p->health); /* of another namespace */
	p->health = path_health_new();
	insert_ordered(h, p);
	head_adopted(h);
}

/* NULL, or why the path may not join the head. */
static const char *may_join(const struct head *h, const struct path *p)
{
	const struct path *q;

	if (~h->slots == 0)
		return "the namespace has as many paths as are supported";
	TAILQ_FOREACH(q, &h->paths, head_link) {
		if (q->up == p->up)
			return "another namespace of the same upstream has the same identity";
		if (!(q->idns.nmic & NVME_NS_NMIC_SHARED) || !(p->idns.nmic & NVME_NS_NMIC_SHARED))
			return "not reported as shared (NMIC), yet seen over another path";
	}
	return NULL;
}

/* NULL and the head that the path belongs to, or NULL for a new one; else why it has none. */
static const char *find_head(const struct path *p, struct head **same)
{
	struct mp_subsys *ss = p->up->ss;
	struct head *h;

	*same = NULL;
	if (p->ident.csi == 0xff)
		return "its identification descriptors are invalid";
	if (p->ident.csi != NVME_CSI_NVM)
		return "its I/O command set is not NVM";
	TAILQ_FOREACH(h, &ss->heads, link) {
		switch (ident_compare(&h->ident, &p->ident)) {
		case IDENT_CONFLICT:
			return "its identifiers agree only in part with those of another path";
		case IDENT_SAME:
			if (*same)
				return "its identifiers are those of two namespaces";
			*same = h;
			break;
		case IDENT_DIFFERENT:
			break;
		}
	}
	return NULL;
}

static void attach(struct path *p)
{
	struct head *h;
	struct mp_refusal why = {.reason = find_head(p, &h)};

	if (!why.reason && h)
		why.reason = may_join(h, p);
	else if (!why.reason)
		h = head_add(p->up->ss, p, &why);
	if (why.reason) {
		refuse(p, &why);
		return;
	}
	p->passing = false;
	p->reason[0] = 0;
	ident_merge(&h->ident, &p->ident);
	join(h, p);
	log_notice("path %s/%u: joins namespace %u", p->up->cfg.name, p->nsid, h->nsid);
}

void path_configure(struct path *p)
{
	const struct upstream_config *cfg = &p->up->cfg;
	struct mp_subsys *ss = p->up->ss;

	p->weight = cfg->weight ? cfg->weight : 1;
	p->admin = !cfg->enabled ? PATH_DISABLED : cfg->standby ? PATH_STANDBY : PATH_ENABLED;
	if (ss->ev->path_settings)
		ss->ev->path_settings(ss->ev_arg, p, &p->admin, &p->weight);
}

void path_reorder(struct path *p)
{
	struct head *h = p->head;

	if (!h)
		return;
	TAILQ_REMOVE(&h->paths, p, head_link);
	insert_ordered(h, p);
	head_publish(h);
}

void head_evict(struct head *h)
{
	struct path *p;

	log_notice("namespace %u: not to be exported as it was", h->nsid);
	while ((p = TAILQ_FIRST(&h->paths)))
		detach(p);
	if (!h->removed) /* delayed_removal is for paths that might come back */
		head_remove(h);
}

/* By what it said itself before, and by what all paths of its head have said. */
static bool is_what_it_was(const struct path *p, const struct ns_ident *ident)
{
	return ident_compare(&p->ident, ident) == IDENT_SAME &&
	       ident_compare(&p->head->ident, ident) == IDENT_SAME;
}

void path_seen(struct upstream *up, uint32_t nsid, const struct nvme_id_ns *idns,
	       const struct ns_ident *ident)
{
	struct path *p = path_find(up, nsid);

	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			abort();
		p->up = up;
		up->refs++;
		p->nsid = nsid;
		path_configure(p);
		p->ana_state = NVME_ANA_STATE_INACCESSIBLE; /* until the log says better */
		TAILQ_INSERT_TAIL(&up->paths, p, up_link);
	} else if (p->head && !is_what_it_was(p, ident)) {
		log_err("path %s/%u: identity changed", up->cfg.name, nsid);
		detach(p);
	}
	p->identified = true;
	p->ident = *ident;
	p->idns = *idns;
	p->anagrpid = le32toh(idns->anagrpid);
	if (p->head)
		ident_merge(&p->head->ident, ident);
	else
		attach(p);
}

void mp_subsys_reconsider(struct mp_subsys *ss)
{
	struct upstream *up;
	struct path *p;

	TAILQ_FOREACH(up, &ss->upstreams, link)
		TAILQ_FOREACH(p, &up->paths, up_link) {
			if (p->head)
				continue;
			attach(p);
			path_refresh(p);
		}
}

/* ---- usability ---- */

bool path_connected(const struct path *p)
{
	return p->up->state == UPSTREAM_LIVE && p->up->assoc && p->identified;
}

/* NULL when usable, else why not; *buf may be used for it. */
static const char *unusable(const struct path *p, char *buf, size_t len)
{
	struct ns_geometry geo;
	const char *why;

	if (p->up->state != UPSTREAM_LIVE) {
		snprintf(buf, len, "%s%s%.120s", upstream_state_name(p->up->state),
			 p->up->reason[0] ? ": " : "", p->up->reason);
		return buf;
	}
	if (!path_connected(p))
		return "has not said what it is since its upstream was connected";
	if (p->admin == PATH_DISABLED)
		return "disabled by the administrator";
	if (p->up->draining)
		return "its upstream is about to be changed or removed";
	geometry_of(&geo, &p->idns);
	why = geometry_mismatch(&p->head->geo, &geo);
	if (why)
		return why;
	if (!ana_usable(p->ana_state)) {
		snprintf(buf, len, "ANA state %s", ana_state_name(p->ana_state));
		return buf;
	}
	if (p->fresh || p->announcing)
		return "about to be used";
	return NULL;
}

/* NULL, or why a usable path is used after all others. */
static const char *used_last(const struct path *p, char *buf, size_t len)
{
	uint64_t now = loop_now(p->up->ss->mp->control);

	if (p->up->damped_until > now) {
		snprintf(buf, len, "used last: lost %u times in a row", p->up->flaps);
		return buf;
	}
	return path_slow(p);
}

static uint8_t rank_of(const struct path *p, bool last)
{
	unsigned rank = last ? RANK_LAST : p->admin == PATH_STANDBY ? RANK_STANDBY : RANK_OPTIMIZED;

	return (uint8_t)(rank + (p->ana_state == NVME_ANA_STATE_NONOPTIMIZED));
}

void path_judge(struct path *p)
{
	char buf[sizeof(p->reason)] = "";
	const char *why = unusable(p, buf, sizeof(buf)), *last = NULL;
	bool was_usable = p->usable;
	uint8_t rank, old = p->rank;

	if (p->usable != !why)
		log_notice("path %s/%u of namespace %u: %s%s", p->up->cfg.name, p->nsid,
			   p->head->nsid, why ? "not usable: " : "usable, ANA ",
			   why ? why : ana_state_name(p->ana_state));
	if (!why)
		last = used_last(p, buf, sizeof(buf));
	rank = why ? RANK_NONE : rank_of(p, last);
	if (p->usable != !why || p->rank != rank)
		p->changed = loop_now(p->up->ss->mp->control);
	uncount(p);
	p->usable = !why;
	count(p);
	p->rank = rank;
	p->suspect = false;
	snprintf(p->reason, sizeof(p->reason), "%s", why ? why : last ? last : "");
	log_debug(PATH, "%s/%u: rank %u, was %u: %s", p->up->cfg.name, p->nsid, p->rank, old,
		  p->reason);
	if (p->usable != was_usable)
		path_note(p, PATH_CHANGE_USE);
	else if (p->usable && p->rank != old)
		path_note(p, PATH_CHANGE_RANK);
}

void path_refresh(struct path *p)
{
	if (p->head)
		head_settle(p->head);
}

void upstream_refresh_paths(struct upstream *up)
{
	struct path *p, *next;

	for (p = TAILQ_FIRST(&up->paths); p; p = next) {
		next = TAILQ_NEXT(p, up_link);
		path_refresh(p);
	}
}

const char *path_admin_name(enum path_admin a)
{
	static const char *const names[] = {
		[PATH_ENABLED] = "enabled",
		[PATH_STANDBY] = "standby",
		[PATH_DISABLED] = "disabled",
	};

	return names[a];
}

const char *path_rank_name(const struct path *p)
{
	static const char *const names[] = {
		[RANK_OPTIMIZED] = "optimized", [RANK_NONOPTIMIZED] = "non-optimized",
		[RANK_STANDBY] = "standby",	[RANK_STANDBY_NONOPTIMIZED] = "standby",
		[RANK_LAST] = "last",		[RANK_LAST_NONOPTIMIZED] = "last",
	};

	return names[p->rank];
}

void path_set_admin(struct path *p, enum path_admin admin)
{
	p->admin = admin;
	path_refresh(p);
}

void path_set_weight(struct path *p, unsigned weight)
{
	p->weight = weight;
	path_refresh(p);
}

bool path_is_passing(const struct path *p)
{
	if (!path_connected(p))
		return false;
	return p->passing || (p->head && (p->fresh || p->announcing));
}

void path_suspect(struct path *p)
{
	p->suspect = true;
	if (p->up->assoc && p->head)
		assoc_suspect(p->up->assoc);
}

void path_totals(const struct path *p, struct path_totals *t)
{
	memset(t, 0, sizeof(*t));
	for (unsigned i = 0; p->lanes && i < p->lanes->n; i++) {
		const struct lane_stats *s = &p->lanes->lane[i]->stats;

		t->reads += stat_get(&s->reads);
		t->writes += stat_get(&s->writes);
		t->others += stat_get(&s->others);
		t->read_bytes += stat_get(&s->read_bytes);
		t->write_bytes += stat_get(&s->write_bytes);
		t->errors += stat_get(&s->errors);
		t->failovers += stat_get(&s->failovers);
		t->inflight += stat_get(&s->inflight);
		t->latency_ns_sum += stat_get(&s->latency_ns_sum);
	}
}
