/* SPDX-License-Identifier: Apache-2.0 */
/* The loop over libevent. See loop.h for the rules. */
#include "transport/loop.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "transport/log.h"
#include "transport/numa.h"

/* How often the hooks queued by hooks are run within one turn's end. */
#define HOOK_ROUNDS 16

struct message {
	struct message *next;
	void (*fn)(void *arg);
	void *arg;
};

struct signal_watch {
	SLIST_ENTRY(signal_watch) link;
	struct event *ev;
	void (*fn)(void *arg);
	void *arg;
};

struct loop {
	struct event_base *base;
	struct pool *pool;
	uint8_t *scratch;
	uint64_t now; /* 0: not read in this turn yet */
	bool in_turn;
	unsigned id;
	int cpu, node;
	uint64_t timer_slack; /* ns by which libevent's clock may lag behind the exact one */
	TAILQ_HEAD(hook_list, loop_hook) hooks;
	struct loop_hook fence;
	SLIST_HEAD(, signal_watch) signals;
	struct event *wake_ev;
	int wake_fd;

	/* What other threads touch, away from what the loop itself uses all the time. */
	_Alignas(64) _Atomic(struct message *) messages; /* newest first */
	atomic_bool stop;
	_Atomic(const void *) owner; /* &thread_mark of the running thread; NULL: anybody */
};

static _Thread_local char thread_mark;

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

__attribute__((noreturn)) static void out_of_memory(void)
{
	log_err("loop: out of memory");
	abort();
}

static void *must(void *p)
{
	if (!p)
		out_of_memory();
	return p;
}

/* ---- messages ---- */

static void wake(struct loop *loop)
{
	uint64_t one = 1;

	/* Only a full counter can fail here, and then the loop is awake anyway. */
	if (write(loop->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void loop_post(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	struct message *m = must(malloc(sizeof(*m)));
	struct message *head = atomic_load_explicit(&loop->messages, memory_order_relaxed);

	m->fn = fn;
	m->arg = arg;
	do {
		m->next = head;
	} while (!atomic_compare_exchange_weak_explicit(
		&loop->messages, &head, m, memory_order_acq_rel, memory_order_relaxed));
	/* Whoever found it empty wakes the loop, and that wake-up takes all that came after. */
	if (!head)
		wake(loop);
}

static void run_messages(struct loop *loop)
{
	struct message *m = atomic_exchange_explicit(&loop->messages, NULL, memory_order_acq_rel);
	struct message *ordered = NULL, *next;

	for (; m; m = next) {
		next = m->next;
		m->next = ordered;
		ordered = m;
	}
	for (m = ordered; m; m = next) {
		next = m->next;
		m->fn(m->arg);
		free(m);
	}
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct loop *loop = arg;
	uint64_t n;

	/* Emptied before the messages are taken: a later post then wakes us anew. */
	if (read(fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		log_err("loop %u: reading the wake-up fd: %s", loop->id, strerror(errno));
	run_messages(loop);
}

/* ---- life ---- */

static struct event_base *base_new(void)
{
	struct event_config *cfg = event_config_new();
	struct event_base *base = NULL;

	if (cfg && !event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV))
		base = event_base_new_with_config(cfg);
	if (cfg)
		event_config_free(cfg);
	return base;
}

static void loop_release(struct loop *loop)
{
	struct signal_watch *s;

	while ((s = SLIST_FIRST(&loop->signals))) {
		SLIST_REMOVE_HEAD(&loop->signals, link);
		event_free(s->ev);
		free(s);
	}
	if (loop->wake_ev)
		event_free(loop->wake_ev);
	if (loop->base)
		event_base_free(loop->base);
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	free(loop->scratch);
	free(loop);
}

struct loop *loop_new(unsigned id, int cpu)
{
	struct loop *loop = aligned_alloc(64, sizeof(*loop));
	struct timespec res;

	if (!loop)
		return NULL;
	memset(loop, 0, sizeof(*loop));
	loop->id = id;
	loop->cpu = cpu;
	loop->node = numa_node_of_cpu(cpu);
	TAILQ_INIT(&loop->hooks);
	SLIST_INIT(&loop->signals);
	clock_getres(CLOCK_MONOTONIC_COARSE, &res);
	loop->timer_slack = (uint64_t)res.tv_nsec;
	loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (loop->wake_fd < 0)
		goto fail;
	errno = ENOMEM;
	loop->scratch = malloc(LOOP_SCRATCH_SIZE);
	if (!loop->scratch)
		goto fail;
	loop->base = base_new();
	if (!loop->base)
		goto fail;
	loop->wake_ev = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, on_wake, loop);
	if (!loop->wake_ev || event_add(loop->wake_ev, NULL))
		goto fail;
	return loop;
fail:;
	int e = errno ? errno : ENOMEM;

	loop_release(loop);
	errno = e;
	return NULL;
}

/* ---- turns ---- */

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

static void turn(struct loop *loop, bool wait)
{
	int flags = EVLOOP_ONCE;

	if (!wait || !TAILQ_EMPTY(&loop->hooks))
		flags |= EVLOOP_NONBLOCK;
	loop->now = 0;
	loop->in_turn = true;
	if (event_base_loop(loop->base, flags) < 0) {
		log_err("loop %u: the event engine failed: %s", loop->id, strerror(errno));
		abort();
	}
	run_hooks(loop);
	loop->in_turn = false;
}

void loop_turn(struct loop *loop, bool wait)
{
	atomic_store_explicit(&loop->owner, &thread_mark, memory_order_relaxed);
	turn(loop, wait);
}

static void pin(const struct loop *loop)
{
	cpu_set_t set;
	int e;

	CPU_ZERO(&set);
	CPU_SET((size_t)loop->cpu, &set);
	e = pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	if (e)
		log_warn("loop %u: not pinned to core %d: %s", loop->id, loop->cpu, strerror(e));
}

void loop_run(struct loop *loop)
{
	atomic_store_explicit(&loop->owner, &thread_mark, memory_order_relaxed);
	if (loop->cpu >= 0)
		pin(loop);
	while (!atomic_load_explicit(&loop->stop, memory_order_acquire))
		turn(loop, true);
	atomic_store_explicit(&loop->stop, false, memory_order_relaxed);
	atomic_store_explicit(&loop->owner, NULL, memory_order_relaxed);
}

void loop_stop(struct loop *loop)
{
	atomic_store_explicit(&loop->stop, true, memory_order_release);
	wake(loop);
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	do {
		run_messages(loop);
		run_hooks(loop);
	} while (atomic_load_explicit(&loop->messages, memory_order_acquire));
	loop_release(loop);
}

unsigned loop_id(const struct loop *loop)
{
	return loop->id;
}

uint64_t loop_now_exact(const struct loop *loop)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t loop_now(const struct loop *loop)
{
	if (!loop->in_turn)
		return loop_now_exact(loop);
	if (!loop->now)
		((struct loop *)loop)->now = loop_now_exact(loop);
	return loop->now;
}

uint32_t loop_random(struct loop *loop)
{
	uint32_t r = 0;

	if (getrandom(&r, sizeof(r), GRND_NONBLOCK) != sizeof(r))
		r = (uint32_t)loop_now_exact(loop);
	return r;
}

int loop_node(const struct loop *loop)
{
	return loop->node;
}

bool loop_is_current(const struct loop *loop)
{
	const void *owner =
		atomic_load_explicit(&((struct loop *)loop)->owner, memory_order_relaxed);

	return !owner || owner == &thread_mark;
}

void loop_set_pool(struct loop *loop, struct pool *pool)
{
	loop->pool = pool;
}

struct pool *loop_pool(const struct loop *loop)
{
	return loop->pool;
}

uint8_t *loop_scratch(const struct loop *loop)
{
	return loop->scratch;
}

/* ---- timers ---- */

static void on_timer(evutil_socket_t fd, short what, void *arg)
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
	struct timeval tv;

	if (!t->ev)
		t->ev = must(event_new(t->loop->base, -1, 0, on_timer, t));
	/* libevent counts from its coarse clock: without the slack a timer could be early. */
	if (ns)
		ns += t->loop->timer_slack + NSEC_PER_USEC - 1;
	tv.tv_sec = (time_t)(ns / NSEC_PER_SEC);
	tv.tv_usec = (suseconds_t)(ns % NSEC_PER_SEC / NSEC_PER_USEC);
	t->armed = true;
	if (event_add(t->ev, &tv))
		out_of_memory();
}

void loop_timer_cancel(struct loop_timer *t)
{
	if (!t->armed)
		return;
	event_del(t->ev);
	t->armed = false;
}

void loop_timer_fini(struct loop_timer *t)
{
	if (t->ev)
		event_free(t->ev);
	t->ev = NULL;
	t->armed = false;
}

/* ---- file descriptors ---- */

static void on_fd(evutil_socket_t fd, short what, void *arg)
{
	struct loop_fd *w = arg;

	w->fn(w->arg, what & EV_READ ? LOOP_READ : LOOP_WRITE);
}

void loop_fd_init(struct loop_fd *w, struct loop *loop, int fd, void (*fn)(void *, unsigned),
		  void *arg)
{
	*w = (struct loop_fd){.loop = loop, .fn = fn, .arg = arg, .fd = fd};
}

static void fd_watch(struct loop_fd *w, struct event **ev, short what, bool on)
{
	if (!on) {
		event_del(*ev);
		return;
	}
	if (!*ev)
		*ev = must(event_new(w->loop->base, w->fd, what | EV_PERSIST, on_fd, w));
	if (event_add(*ev, NULL))
		log_err("loop %u: cannot watch fd %d: %s", w->loop->id, w->fd, strerror(errno));
}

void loop_fd_want(struct loop_fd *w, unsigned events)
{
	unsigned changed = w->want ^ events;

	w->want = events;
	if (changed & LOOP_READ)
		fd_watch(w, &w->rd, EV_READ, events & LOOP_READ);
	if (changed & LOOP_WRITE)
		fd_watch(w, &w->wr, EV_WRITE, events & LOOP_WRITE);
}

void loop_fd_fini(struct loop_fd *w)
{
	if (w->rd)
		event_free(w->rd);
	if (w->wr)
		event_free(w->wr);
	w->rd = w->wr = NULL;
	w->want = 0;
}

/* ---- signals ---- */

static void on_signal(evutil_socket_t signo, short what, void *arg)
{
	struct signal_watch *s = arg;

	s->fn(s->arg);
}

int loop_signal(struct loop *loop, int signo, void (*fn)(void *arg), void *arg)
{
	struct signal_watch *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->fn = fn;
	s->arg = arg;
	s->ev = evsignal_new(loop->base, signo, on_signal, s);
	if (!s->ev || event_add(s->ev, NULL)) {
		if (s->ev)
			event_free(s->ev);
		free(s);
		return -EINVAL;
	}
	SLIST_INSERT_HEAD(&loop->signals, s, link);
	return 0;
}

/* ---- end of turn ---- */

void loop_hook_queue(struct loop *loop, struct loop_hook *h)
{
	if (h->queued)
		return;
	h->queued = true;
	TAILQ_INSERT_TAIL(&loop->hooks, h, link);
}

void loop_hook_cancel(struct loop *loop, struct loop_hook *h)
{
	if (!h->queued)
		return;
	h->queued = false;
	TAILQ_REMOVE(&loop->hooks, h, link);
}
