/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slow paths. Every half second the commands that each path of a head completed are looked at: a
 * path whose 99th percentile is many times that of the quickest other path, twice in a row, is used
 * last. From then on a read of our own tells how it does; when enough of these are quick in a row
 * it is back.
 *
 * A path that has commands in flight and completed none of them for the whole period counts as if
 * they had taken that long. When the others carry no I/O to compare with, they are probed too.
 */
#include <stdio.h>
#include <stdlib.h>

#include "multipath/control.h"
#include "multipath/head.h"
#include "multipath/selector.h"
#include "transport/log.h"

#define PERIOD	    (500 * NSEC_PER_MSEC)
#define FRESH	    (4 * PERIOD) /* a measurement is worth something for this long */
#define MANY	    200		 /* commands whose 99th percentile says something */
#define ENOUGH	    10		 /* commands that say something at all */
#define BAD_PERIODS 2
#define GOOD_PROBES 6

struct path_health {
	uint64_t seen[LATENCY_BUCKETS]; /* histogram at the end of the last period */
	uint64_t tail;			/* microseconds */
	uint64_t measured;		/* loop time of `tail`; 0: never */
	bool stuck;			/* had commands in flight at the end of the last period */
	unsigned bad;			/* periods in a row */
	unsigned good;			/* probes in a row */
	bool probing;			/* a probe is out: one is enough for a path that is stuck */
	bool slow;
	char why[80];
};

struct path_health *path_health_new(void)
{
	struct path_health *h = calloc(1, sizeof(*h));

	if (!h)
		abort();
	return h;
}

const char *path_slow(const struct path *p)
{
	return p->health->slow ? p->health->why : NULL;
}

static uint64_t now_of(const struct path *p)
{
	return loop_now(p->up->ss->mp->control);
}

void path_histogram(const struct path *p, uint64_t sum[LATENCY_BUCKETS])
{
	for (unsigned b = 0; b < LATENCY_BUCKETS; b++) {
		sum[b] = 0;
		for (unsigned i = 0; p->lanes && i < p->lanes->n; i++)
			sum[b] += stat_get(&p->lanes->lane[i]->latency.histogram[b]);
	}
}

uint64_t path_latency(const struct path *p, double percent)
{
	uint64_t sum[LATENCY_BUCKETS];

	path_histogram(p, sum);
	return latency_percentile(sum, percent);
}

static uint64_t inflight(const struct path *p)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < p->lanes->n; i++)
		n += stat_get(&p->lanes->lane[i]->stats.inflight);
	return n;
}

/* Takes in what the period brought; true when it says something. */
static bool measure(struct path *p)
{
	struct path_health *h = p->health;
	uint64_t sum[LATENCY_BUCKETS], fresh[LATENCY_BUCKETS], n = 0;
	bool was_stuck = h->stuck;

	path_histogram(p, sum);
	for (unsigned b = 0; b < LATENCY_BUCKETS; b++) {
		fresh[b] = sum[b] - h->seen[b];
		n += fresh[b];
		h->seen[b] = sum[b];
	}
	h->stuck = inflight(p) > 0;
	if (n >= ENOUGH)
		h->tail = latency_percentile(fresh, n >= MANY ? 99 : 90);
	else if (!n && h->stuck && was_stuck)
		h->tail = PERIOD / NSEC_PER_USEC;
	else
		return false;
	h->measured = now_of(p);
	return true;
}

static bool known(const struct path *p)
{
	return p->health->measured && now_of(p) - p->health->measured <= FRESH;
}

/* The quickest of the others, in microseconds; 0: there is none to compare with. */
static uint64_t reference(const struct path *p)
{
	const struct path *q;
	uint64_t least = 0;

	TAILQ_FOREACH(q, &p->head->paths, head_link)
		if (q != p && q->usable && !q->health->slow && known(q) &&
		    (!least || q->health->tail < least))
			least = q->health->tail;
	return least;
}

static uint64_t limit(const struct path *p, uint64_t ref)
{
	const struct mp_subsys_config *cfg = &p->up->ss->cfg;
	uint64_t least = cfg->slow_latency / NSEC_PER_USEC;

	return ref * cfg->slow_factor > least ? ref * cfg->slow_factor : least;
}

struct probe_on {
	struct head_worker *hw;
	struct lane *lane;
};

static void probe_on_worker(void *arg)
{
	struct probe_on *m = arg;

	probe_send(m->hw, m->lane);
	free(m);
}

/* Over the first worker. Lanes and heads are retired by later messages, so both are there. */
static void probe(struct path *p)
{
	struct mp *mp = p->up->ss->mp;
	struct probe_on *m;

	if (p->health->probing)
		return;
	m = malloc(sizeof(*m));
	if (!m)
		abort();
	p->health->probing = true;
	*m = (struct probe_on){p->head->hw[0], p->lanes->lane[0]};
	loop_post(mp->workers[0].loop, probe_on_worker, m);
}

static void probe_others(struct path *p)
{
	struct path *q;

	TAILQ_FOREACH(q, &p->head->paths, head_link)
		if (q != p && q->usable && !known(q))
			probe(q);
}

static void set_slow(struct path *p, bool slow)
{
	struct rank_batch batch = {.mp = p->up->ss->mp};

	p->health->slow = slow;
	p->health->bad = p->health->good = 0;
	log_warn("path %s/%u: %s%s", p->up->cfg.name, p->nsid,
		 slow ? "used last: " : "no longer slow", slow ? p->health->why : "");
	rank_batch_add(&batch, p);
	rank_batch_publish(&batch);
}

static void judge(struct path *p)
{
	struct path_health *h = p->health;
	uint64_t ref = reference(p);
	bool fresh = measure(p);

	if (h->slow) {
		probe(p);
		return;
	}
	if (!fresh)
		return;
	if (h->tail < p->up->ss->cfg.slow_latency / NSEC_PER_USEC) {
		h->bad = 0;
	} else if (!ref) {
		probe_others(p);
	} else if (h->tail < limit(p, ref)) {
		h->bad = 0;
	} else if (++h->bad >= BAD_PERIODS) {
		snprintf(h->why, sizeof(h->why), "slow: %llu us where another takes %llu us",
			 (unsigned long long)h->tail, (unsigned long long)ref);
		set_slow(p, true);
	}
}

void path_probed(struct lane_set *set, enum probe_result result, uint64_t ns)
{
	struct path *p = set->path;
	struct path_health *h = p->health;
	uint64_t us = ns / NSEC_PER_USEC, ref;

	if (p->lanes != set) /* of a namespace that it no longer has */
		return;
	h->probing = false;
	if (result == PROBE_NOT_SENT)
		return;
	if (!h->slow) {
		if (result == PROBE_GOOD && !known(p)) {
			h->tail = us ? us : 1;
			h->measured = now_of(p);
		}
		return;
	}
	ref = reference(p);
	if (result == PROBE_BAD || us >= limit(p, ref) / 2)
		h->good = 0;
	else if (++h->good >= GOOD_PROBES)
		set_slow(p, false);
}

static void on_period(void *arg)
{
	struct mp_subsys *ss = arg;
	struct head *h;
	struct path *p;

	loop_timer_arm(&ss->health, PERIOD);
	TAILQ_FOREACH(h, &ss->heads, link)
		TAILQ_FOREACH(p, &h->paths, head_link)
			if (p->usable)
				judge(p);
}

void health_start(struct mp_subsys *ss)
{
	loop_timer_init(&ss->health, ss->mp->control, on_period, ss);
	if (ss->cfg.slow_factor)
		loop_timer_arm(&ss->health, PERIOD);
}

void health_stop(struct mp_subsys *ss)
{
	loop_timer_fini(&ss->health);
}
