/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for transport/loop.c and transport/log.c: the same rules, on virtual time. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"
#include "transport/log.h"
#include "transport/loop.h"

#define MAX_LOOPS   8
#define HOOK_ROUNDS 16

struct loop {
	unsigned id;
	struct pool *pool;
	TAILQ_HEAD(hook_list, loop_hook) hooks;
	struct loop_hook fence;
	uint64_t last_from[MAX_LOOPS]; /* arrival of the last message from each loop */
	bool busy;		       /* a turn is queued to run its hooks */
	bool stalled;
	TAILQ_HEAD(, sim_event) overdue; /* came while it was stalled */
};

struct sim_event {
	TAILQ_ENTRY(sim_event) link; /* in loop->overdue */
	uint64_t when, order;
	struct loop *loop;
	void (*fn)(void *arg);
	void *arg;
	bool cancelled;
	struct sim_event **handle; /* cleared when it runs */
};

uint64_t sim_now;
unsigned sim_errors;
static struct sim_event **heap;
static size_t nr, size;
static uint64_t order;
static struct loop *running, *loops[MAX_LOOPS];

/* ---- chance: xorshift64* (Vigna 2016) over a mixed seed ---- */

static uint64_t state;

void sim_seed(uint64_t seed)
{
	state = (seed + 1) * 0x9e3779b97f4a7c15ull;
	sim_now = NSEC_PER_SEC;
	order = 0;
	for (int i = 0; i < 8; i++)
		sim_rand();
}

uint64_t sim_rand(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1dull;
}

uint64_t sim_between(uint64_t lo, uint64_t hi)
{
	return lo + (sim_rand() >> 11) % (hi - lo + 1);
}

bool sim_chance(unsigned percent)
{
	return sim_between(1, 100) <= percent;
}

/* ---- events: a binary heap by time, then order of queueing ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->when < b->when || (a->when == b->when && a->order < b->order);
}

static void push(struct sim_event *ev)
{
	size_t i = nr++;

	if (nr > size) {
		size = size ? 2 * size : 1024;
		heap = realloc(heap, size * sizeof(struct sim_event *));
		if (!heap)
			abort();
	}
	for (; i && before(ev, heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = ev;
}

static struct sim_event *pop(void)
{
	struct sim_event *top = heap[0], *last = heap[--nr];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < nr) {
		if (child + 1 < nr && before(heap[child + 1], heap[child]))
			child++;
		if (!before(heap[child], last))
			break;
		heap[i] = heap[child];
		i = child;
	}
	if (nr)
		heap[i] = last;
	return top;
}

struct sim_event *sim_at(uint64_t when, struct loop *loop, void (*fn)(void *arg), void *arg)
{
	struct sim_event *ev = calloc(1, sizeof(*ev));

	if (!ev)
		abort();
	ev->when = when;
	ev->order = order++;
	ev->loop = loop;
	ev->fn = fn;
	ev->arg = arg;
	push(ev);
	return ev;
}

void sim_cancel(struct sim_event *ev)
{
	ev->cancelled = true;
	ev->handle = NULL;
}

static void run_hooks(struct loop *loop)
{
	struct loop_hook *h;

	for (unsigned i = 0; i < HOOK_ROUNDS && !TAILQ_EMPTY(&loop->hooks); i++) {
		TAILQ_INSERT_TAIL(&loop->hooks, &loop->fence, link);
		while ((h = TAILQ_FIRST(&loop->hooks)) != &loop->fence) {
			TAILQ_REMOVE(&loop->hooks, h, link);
			h->queued = false;
			h->fn(h->arg);
		}
		TAILQ_REMOVE(&loop->hooks, &loop->fence, link);
	}
}

static void on_turn(void *arg)
{
	struct loop *loop = arg;

	loop->busy = false;
}

/* Hooks queued from outside a turn, or left over, get one. */
static void want_turn(struct loop *loop)
{
	if (loop->busy || running == loop)
		return;
	loop->busy = true;
	sim_at(sim_now, loop, on_turn, loop);
}

static void run(struct sim_event *ev)
{
	if (!ev->cancelled) {
		if (ev->handle)
			*ev->handle = NULL;
		ev->fn(ev->arg);
	}
	free(ev);
}

static void turn(struct sim_event *ev)
{
	struct loop *loop = ev->loop;

	running = loop;
	run(ev);
	if (!loop)
		return;
	run_hooks(loop);
	running = NULL;
	if (!TAILQ_EMPTY(&loop->hooks))
		want_turn(loop);
}

bool sim_step(uint64_t until)
{
	struct sim_event *ev;

	while (nr && heap[0]->cancelled)
		free(pop());
	if (!nr || heap[0]->when > until) {
		sim_now = until;
		return false;
	}
	ev = pop();
	if (ev->when > sim_now)
		sim_now = ev->when;
	if (ev->loop && ev->loop->stalled)
		TAILQ_INSERT_TAIL(&ev->loop->overdue, ev, link);
	else
		turn(ev);
	return true;
}

struct loop *sim_any_worker(void)
{
	unsigned n = 0;

	while (n + 1 < MAX_LOOPS && loops[n + 1])
		n++;
	return loops[sim_between(1, n)];
}

void sim_stall(struct loop *loop)
{
	loop->stalled = true;
}

static void on_resume(void *arg)
{
	struct loop *loop = arg;
	struct sim_event *ev;

	while ((ev = TAILQ_FIRST(&loop->overdue))) {
		TAILQ_REMOVE(&loop->overdue, ev, link);
		run(ev);
	}
}

void sim_resume(struct loop *loop)
{
	loop->stalled = false;
	sim_at(sim_now, loop, on_resume, loop);
}

unsigned sim_overdue(const struct loop *loop)
{
	const struct sim_event *ev;
	unsigned n = 0;

	TAILQ_FOREACH(ev, &loop->overdue, link)
		n += !ev->cancelled;
	return n;
}

void sim_events_free(void)
{
	while (nr)
		free(pop());
	free(heap);
	heap = NULL;
	size = 0;
}

/* ---- loops ---- */

struct loop *loop_new(unsigned id, int cpu)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop || id >= MAX_LOOPS)
		abort();
	loop->id = id;
	TAILQ_INIT(&loop->hooks);
	TAILQ_INIT(&loop->overdue);
	loops[id] = loop;
	return loop;
}

void loop_free(struct loop *loop)
{
	struct sim_event *ev;

	while ((ev = TAILQ_FIRST(&loop->overdue))) {
		TAILQ_REMOVE(&loop->overdue, ev, link);
		free(ev);
	}
	loops[loop->id] = NULL;
	free(loop);
}

unsigned loop_id(const struct loop *loop)
{
	return loop->id;
}

uint64_t loop_now(const struct loop *loop)
{
	return sim_now;
}

uint64_t loop_now_exact(const struct loop *loop)
{
	return sim_now;
}

uint32_t loop_random(struct loop *loop)
{
	return (uint32_t)sim_rand();
}

int loop_node(const struct loop *loop)
{
	return (int)loop->id % 2;
}

bool loop_is_current(const struct loop *loop)
{
	return !running || running == loop;
}

void loop_set_pool(struct loop *loop, struct pool *pool)
{
	loop->pool = pool;
}

struct pool *loop_pool(const struct loop *loop)
{
	return loop->pool;
}

/* Mostly soon; now and then a thread that gets no core for a while. */
static uint64_t delivery(void)
{
	return sim_chance(97) ? sim_between(200, 20000) : sim_between(20000, 3000000);
}

void loop_post(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	unsigned from = running ? running->id : 0;
	uint64_t when = sim_now + delivery();

	/* In order for each pair of loops, as the real ones are. */
	if (when < loop->last_from[from])
		when = loop->last_from[from];
	loop->last_from[from] = when;
	sim_at(when, loop, fn, arg);
}

/* ---- timers ---- */

static void on_timer(void *arg)
{
	struct loop_timer *t = arg;

	t->armed = false;
	t->fn(t->arg);
}

void loop_timer_init(struct loop_timer *t, struct loop *loop, void (*fn)(void *arg), void *arg)
{
	*t = (struct loop_timer){.loop = loop, .fn = fn, .arg = arg};
}

void loop_timer_arm(struct loop_timer *t, uint64_t ns)
{
	struct sim_event *ev;

	assert(ns <= INT64_MAX); /* a difference that has wrapped around */
	loop_timer_cancel(t);
	/* As late as the real ones may be. */
	ev = sim_at(sim_now + ns + sim_between(0, 4 * NSEC_PER_MSEC), t->loop, on_timer, t);
	ev->handle = (struct sim_event **)&t->ev;
	t->ev = (struct event *)ev;
	t->armed = true;
}

void loop_timer_cancel(struct loop_timer *t)
{
	if (t->ev)
		sim_cancel((struct sim_event *)t->ev);
	t->ev = NULL;
	t->armed = false;
}

void loop_timer_fini(struct loop_timer *t)
{
	loop_timer_cancel(t);
}

/* ---- hooks ---- */

void loop_hook_queue(struct loop *loop, struct loop_hook *h)
{
	if (h->queued)
		return;
	h->queued = true;
	TAILQ_INSERT_TAIL(&loop->hooks, h, link);
	want_turn(loop);
}

void loop_hook_cancel(struct loop *loop, struct loop_hook *h)
{
	if (!h->queued)
		return;
	h->queued = false;
	TAILQ_REMOVE(&loop->hooks, h, link);
}

/* ---- log lines and traces ---- */

static void vsay(const char *fmt, va_list ap)
{
	printf("%12.6f %-8s ", (double)(sim_now - NSEC_PER_SEC) / 1e9,
	       !running	     ? "-"
	       : running->id ? (char[]){'w', 'o', 'r', 'k', 'e', 'r', (char)('0' + running->id), 0}
			     : "control");
	vprintf(fmt, ap);
	putchar('\n');
}

void sim_say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
}

void log_set_level(int level)
{
}

int log_level(void)
{
	return LOG_INFO;
}

void log_line(int level, const char *fmt, ...)
{
	va_list ap;

	if (level <= LOG_ERR)
		sim_errors++;
	if (!sim_opt.trace)
		return;
	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
}

_Atomic unsigned log_debugging;

void log_debug_line(enum debug_category c, const char *fmt, ...)
{
}

void log_limited(struct log_limit *l, int level, const char *fmt, ...)
{
	va_list ap;

	if (!sim_opt.trace)
		return;
	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
}
