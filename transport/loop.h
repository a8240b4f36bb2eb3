/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread's event loop: fds, timers, messages from other loops, and end-of-turn hooks.
 *
 * Loop 0 is control, the others are workers. Everything but loop_post() and loop_stop() is to be
 * called on the loop's own thread (or before loop_run() starts). A turn is: wait for events, run
 * their callbacks, then run the hooks that the callbacks asked for; that is where output leaves,
 * so that one turn costs one send call per touched socket.
 *
 * Time comes from loop_now() only. A simulator may stand in for this file's implementation.
 */
#ifndef TRANSPORT_LOOP_H
#define TRANSPORT_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define NSEC_PER_SEC  1000000000ull
#define NSEC_PER_MSEC 1000000ull
#define NSEC_PER_USEC 1000ull

struct loop;
struct pool;
struct event;

/**
 * loop_new() - make a loop; it does not run yet
 * @id:   0 for control, 1.. for workers
 * @cpu:  the core to pin the running thread to, or -1
 *
 * Returns NULL with errno set when fds or memory run out.
 */
struct loop *loop_new(unsigned id, int cpu);

/* Frees a loop that is not running; messages still queued are run first. */
void loop_free(struct loop *loop);

/* Runs turns on the calling thread until loop_stop(). */
void loop_run(struct loop *loop);

/* Any thread: makes loop_run() return after its present turn. */
void loop_stop(struct loop *loop);

/* Runs one turn; waits for an event only when @wait. For tests and tools. */
void loop_turn(struct loop *loop, bool wait);

unsigned loop_id(const struct loop *loop);

/* Monotonic nanoseconds, read once a turn (so: cheap, and the same for one turn's callbacks). */
uint64_t loop_now(const struct loop *loop);

/* Monotonic nanoseconds, read at once; for measuring within a turn. */
uint64_t loop_now_exact(const struct loop *loop);

/* 32 random bits, for jitter; not for secrets. */
uint32_t loop_random(struct loop *loop);

/* The NUMA node of the core that the loop is pinned to; -1: not pinned, or not known. */
int loop_node(const struct loop *loop);

/* False on a thread that does not run @loop while another does; for asserts. */
bool loop_is_current(const struct loop *loop);

/* The loop's buffers and request slots; set once by whoever sizes them, before the loop runs. */
void loop_set_pool(struct loop *loop, struct pool *pool);
struct pool *loop_pool(const struct loop *loop);

/*
 * Receive scratch shared by all sockets of the loop; valid within one callback only.
 */
#define LOOP_SCRATCH_SIZE (256u * 1024)
uint8_t *loop_scratch(const struct loop *loop);

/**
 * loop_post() - any thread: run @fn(@arg) on @loop, in the order of posting per posting thread
 *
 * Allocates a small node, so not for use per I/O. What @arg points to passes to @fn.
 */
void loop_post(struct loop *loop, void (*fn)(void *arg), void *arg);

/* ---- timers ---- */
struct loop_timer {
	struct loop *loop;
	void (*fn)(void *arg);
	void *arg;
	struct event *ev; /* made on first arming, kept for reuse */
	bool armed;
};

void loop_timer_init(struct loop_timer *t, struct loop *loop, void (*fn)(void *arg), void *arg);
/* Fires once, @ns from now or a few milliseconds later, never earlier; arming an armed timer moves
 * it. */
void loop_timer_arm(struct loop_timer *t, uint64_t ns);
void loop_timer_cancel(struct loop_timer *t);
/* Cancels and releases what the timer holds; needed before its memory goes. */
void loop_timer_fini(struct loop_timer *t);

/* ---- file descriptors ---- */
#define LOOP_READ  1u
#define LOOP_WRITE 2u

struct loop_fd {
	struct loop *loop;
	void (*fn)(void *arg, unsigned events);
	void *arg;
	struct event *rd, *wr;
	int fd;
	unsigned want;
};

/* Level-triggered; nothing is watched before loop_fd_want(). The fd stays the caller's. */
void loop_fd_init(struct loop_fd *w, struct loop *loop, int fd, void (*fn)(void *, unsigned),
		  void *arg);
void loop_fd_want(struct loop_fd *w, unsigned events);
void loop_fd_fini(struct loop_fd *w);

/* ---- signals (control loop) ---- */
/* Runs @fn(@arg) on the loop whenever @signo is delivered, for the life of the loop. */
int loop_signal(struct loop *loop, int signo, void (*fn)(void *arg), void *arg);

/* ---- end of turn ---- */
struct loop_hook {
	TAILQ_ENTRY(loop_hook) link;
	void (*fn)(void *arg);
	void *arg;
	bool queued;
};

static inline void loop_hook_init(struct loop_hook *h, void (*fn)(void *arg), void *arg)
{
	h->fn = fn;
	h->arg = arg;
	h->queued = false;
}

/*
 * Runs the hook once at the end of this turn, after the hooks queued before it; queueing a queued
 * hook does nothing. A hook that queues hooks (itself too) has them run in the same turn's end, up
 * to a bound; what is left runs in the next turn, which then does not wait.
 */
void loop_hook_queue(struct loop *loop, struct loop_hook *h);
void loop_hook_cancel(struct loop *loop, struct loop_hook *h);

#endif
