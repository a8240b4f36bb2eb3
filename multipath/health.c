/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slow paths. Every half second the commands that each path of a head completed are looked at,
 * those of each size by themselves: a path whose 99th percentile is many times that of the quickest
 * other path for that size, twice in a row, is used last. From then on a read of that size of our
 * own tells how it does; when enough of these are quick in a row it is back.
 *
 * A path that has commands in flight and completed none of them for the whole period counts as if
 * they had taken that long. When the others carry no I/O to compare with, they are probed too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	struct {
		uint64_t seen[LATENCY_BUCKETS]; /* histogram at the end of the last period */
		uint64_t tail;			/* microseconds */
		uint64_t measured;		/* loop time of `tail`; 0: never */
	} of[LATENCY_SIZES];
	bool stuck;    /* had commands in flight at the end of the last period */
	unsigned bad;  /* periods in a row */
	unsigned good; /* probes in a row */
	bool probing;  /* a probe is out: one is enough for a path that is stuck */
	bool slow;
	unsigned size; /* that it was slow with */
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

static void add_histogram(const struct path *p, unsigned size, uint64_t sum[LATENCY_BUCKETS])
{
	for (unsigned b = 0; b < LATENCY_BUCKETS; b++)
		for (unsigned i = 0; p->lanes && i < p->lanes->n; i++)
			sum[b] += stat_get(&p->lanes->lane[i]->latency.histogram[size][b]);
}

void path_histogram(const struct path *p, uint64_t sum[LATENCY_BUCKETS])
{
	memset(sum, 0, LATENCY_BUCKETS * sizeof(sum[0]));
	for (unsigned size = 0; size < LATENCY_SIZES; size++)
		add_histogram(p, size, sum);
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

static void note(struct path *p, unsigned size, uint64_t tail)
{
	p->health->of[size].tail = tail;
	p->health->of[size].measured = now_of(p);
}

/* Takes in what the period brought of one size: how many commands, and whether they say something.
 */
static bool measure_size(struct path *p, unsigned size, uint64_t *n)
{
	uint64_t sum[LATENCY_BUCKETS] = {0}, fresh[LATENCY_BUCKETS], of_size = 0;
	uint64_t *seen = p->health->of[size].seen;

	add_histogram(p, size, sum);
	for (unsigned b = 0; b < LATENCY_BUCKETS; b++) {
		fresh[b] = sum[b] - seen[b];
		of_size += fresh[b];
		seen[b] = sum[b];
	}
	*n += of_size;
	if (of_size >= ENOUGH)
		note(p, size, latency_percentile(fresh, of_size >= MANY ? 99 : 90));
	return of_size >= ENOUGH;
}

static bool known(const struct path *p, unsigned size)
{
	uint64_t measured = p->health->of[size].measured;

	return measured && now_of(p) - measured <= FRESH;
}

/* The quickest of the others, in microseconds; 0: there is none to compare with. */
static uint64_t reference(const struct path *p, unsigned size)
{
	const struct path *q;
	uint64_t least = 0;

	TAILQ_FOREACH(q, &p->head->paths, head_link)
		if (q != p && q->usable && !q->health->slow && known(q, size) &&
		    (!least || q->health->of[size].tail < least))
			least = q->health->of[size].tail;
	return least;
}

/* The size that the others take longest with: what is in flight may be of any. */
static unsigned slowest_size(const struct path *p)
{
	unsigned slowest = 0;

	for (unsigned size = 1; size < LATENCY_SIZES; size++)
		if (reference(p, size) > reference(p, slowest))
			slowest = size;
	return slowest;
}

/* Takes in what the period brought; returns the sizes of which it says something, bit set. */
static unsigned measure(struct path *p)
{
	struct path_health *h = p->health;
	bool was_stuck = h->stuck;
	unsigned sizes = 0;
	uint64_t n = 0;

	for (unsigned size = 0; size < LATENCY_SIZES; size++)
		if (measure_size(p, size, &n))
			sizes |= 1u << size;
	h->stuck = inflight(p) > 0;
	if (n || !h->stuck || !was_stuck)
		return sizes;
	for (unsigned size = 0; size < LATENCY_SIZES; size++)
		note(p, size, PERIOD / NSEC_PER_USEC);
	return 1u << slowest_size(p);
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
	uint32_t len;
};

static void probe_on_worker(void *arg)
{
	struct probe_on *m = arg;

	probe_send(m->hw, m->lane, m->len);
	free(m);
}

/* Over the first worker. Lanes and heads are retired by later messages, so both are there. */
static void probe(struct path *p, unsigned size)
{
	struct mp *mp = p->up->ss->mp;
	struct probe_on *m;

	if (p->health->probing)
		return;
	m = malloc(sizeof(*m));
	if (!m)
		abort();
	p->health->probing = true;
	*m = (struct probe_on){p->head->hw[0], p->lanes->lane[0], latency_size_typical(size)};
	if (m->len > p->up->limits.max_transfer)
		m->len = p->up->limits.max_transfer;
	loop_post(mp->workers[0].loop, probe_on_worker, m);
}

static void probe_others(struct path *p, unsigned size)
{
	struct path *q;

	TAILQ_FOREACH(q, &p->head->paths, head_link)
		if (q != p && q->usable && !known(q, size))
			probe(q, size);
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

enum verdict { UNKNOWN, WELL, BAD };

static enum verdict judge_size(struct path *p, unsigned size)
{
	uint64_t tail = p->health->of[size].tail, ref = reference(p, size);

	if (tail < p->up->ss->cfg.slow_latency / NSEC_PER_USEC)
		return WELL;
	if (!ref) {
		probe_others(p, size);
		return UNKNOWN;
	}
	return tail < limit(p, ref) ? WELL : BAD;
}

static void judge(struct path *p)
{
	struct path_health *h = p->health;
	enum verdict worst = UNKNOWN;
	unsigned sizes = measure(p);

	if (h->slow) {
		probe(p, h->size);
		return;
	}
	for (unsigned size = 0; size < LATENCY_SIZES; size++) {
		enum verdict v = sizes & 1u << size ? judge_size(p, size) : UNKNOWN;

		if (v == BAD)
			h->size = size;
		if (v > worst)
			worst = v;
	}
	if (worst == WELL)
		h->bad = 0;
	if (worst != BAD || ++h->bad < BAD_PERIODS)
		return;
	snprintf(h->why, sizeof(h->why), "slow: %llu us where another takes %llu us",
		 (unsigned long long)h->of[h->size].tail,
		 (unsigned long long)reference(p, h->size));
	set_slow(p, true);
}

void path_probed(struct lane_set *set, enum probe_result result, uint32_t len, uint64_t ns)
{
	struct path *p = set->path;
	struct path_health *h = p->health;
	unsigned size = latency_size(len);
	uint64_t us = ns / NSEC_PER_USEC;

	if (p->lanes != set) /* of a namespace that it no longer has */
		return;
	h->probing = false;
	if (result == PROBE_NOT_SENT)
		return;
	if (!h->slow) {
		if (result == PROBE_GOOD && !known(p, size))
			note(p, size, us ? us : 1);
		return;
	}
	if (result == PROBE_BAD || us >= limit(p, reference(p, size)) / 2)
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
