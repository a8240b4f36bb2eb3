/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "transport/loop.h"

static struct loop *loop;
static char trace[256];
static unsigned traced;

static int setup(void **state)
{
	loop = loop_new(1, -1);
	traced = 0;
	trace[0] = '\0';
	return !loop;
}

static int teardown(void **state)
{
	loop_free(loop);
	return 0;
}

static void note(char c)
{
	trace[traced++] = c;
	trace[traced] = '\0';
}

static void note_arg(void *arg)
{
	note((char)(intptr_t)arg);
}

static void *ch(char c)
{
	return (void *)(intptr_t)c;
}

static void test_post_order(void **state)
{
	for (char c = 'a'; c <= 'e'; c++)
		loop_post(loop, note_arg, ch(c));
	loop_turn(loop, true);
	assert_string_equal(trace, "abcde");
	loop_turn(loop, false);
	assert_string_equal(trace, "abcde");
	loop_post(loop, note_arg, ch('f'));
	loop_turn(loop, true);
	assert_string_equal(trace, "abcdef");
}

static void post_again(void *arg)
{
	note('1');
	loop_post(loop, note_arg, ch('2'));
}

static void test_post_from_message(void **state)
{
	loop_post(loop, post_again, NULL);
	loop_turn(loop, true);
	loop_turn(loop, true);
	assert_string_equal(trace, "12");
}

static void test_free_runs_messages(void **state)
{
	struct loop *l = loop_new(2, -1);

	loop_post(l, note_arg, ch('x'));
	loop_post(l, post_again, NULL);
	loop_free(l);
	assert_string_equal(trace, "x1"); /* "2" went to the other loop */
}

/* Many threads post to one running loop; each thread's messages keep their order. */
#define POSTERS	 4
#define MESSAGES 20000

struct poster {
	pthread_t thread;
	struct loop *to;
	unsigned seen;
	bool disordered;
};

struct numbered {
	struct poster *p;
	unsigned n;
};

static unsigned arrived;

static void on_numbered(void *arg)
{
	struct numbered *m = arg;

	if (m->n != m->p->seen++)
		m->p->disordered = true;
	if (++arrived == POSTERS * MESSAGES)
		loop_stop(m->p->to);
	free(m);
}

static void *poster_main(void *arg)
{
	struct poster *p = arg;

	for (unsigned i = 0; i < MESSAGES; i++) {
		struct numbered *m = malloc(sizeof(*m));

		*m = (struct numbered){.p = p, .n = i};
		loop_post(p->to, on_numbered, m);
	}
	return NULL;
}

static void *loop_main(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void test_post_threads(void **state)
{
	struct poster posters[POSTERS] = {0};
	pthread_t runner;

	arrived = 0;
	pthread_create(&runner, NULL, loop_main, loop);
	for (unsigned i = 0; i < POSTERS; i++) {
		posters[i].to = loop;
		pthread_create(&posters[i].thread, NULL, poster_main, &posters[i]);
	}
	for (unsigned i = 0; i < POSTERS; i++)
		pthread_join(posters[i].thread, NULL);
	pthread_join(runner, NULL);
	assert_int_equal(arrived, POSTERS * MESSAGES);
	for (unsigned i = 0; i < POSTERS; i++)
		assert_false(posters[i].disordered);
}

/* Two loops on two threads play ping-pong: each wake-up arrives, or this hangs. */
struct pong {
	struct loop *at, *other;
	unsigned left;
};

static void bounce(void *arg)
{
	struct pong *p = arg;
	struct loop *next = p->other;

	assert_true(loop_is_current(p->at));
	assert_false(loop_is_current(p->other));
	if (!p->left--) {
		loop_stop(p->at);
		loop_stop(p->other);
		return;
	}
	p->other = p->at;
	p->at = next;
	loop_post(next, bounce, p);
}

static void test_ping_pong(void **state)
{
	struct loop *other = loop_new(2, -1);
	struct pong p = {.at = other, .other = loop, .left = 5000};
	pthread_t a, b;

	/* Both must be running first: an idle loop belongs to whoever asks. */
	pthread_create(&a, NULL, loop_main, loop);
	pthread_create(&b, NULL, loop_main, other);
	while (loop_is_current(loop) || loop_is_current(other))
		usleep(1000);
	loop_post(other, bounce, &p);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	loop_free(other);
}

static void test_stop_before_run(void **state)
{
	loop_stop(loop);
	loop_run(loop);
	loop_post(loop, note_arg, ch('a'));
	loop_turn(loop, true);
	assert_string_equal(trace, "a");
}

#define NEVER (3600 * NSEC_PER_SEC)

static void test_timer(void **state)
{
	struct loop_timer a, b;
	uint64_t start;

	loop_timer_init(&a, loop, note_arg, ch('a'));
	loop_timer_init(&b, loop, note_arg, ch('b'));
	loop_timer_arm(&a, NEVER);
	loop_timer_arm(&b, 1);
	loop_turn(loop, true);
	assert_string_equal(trace, "b");
	assert_true(a.armed);
	assert_false(b.armed);

	/* Moved, and cancelled. */
	start = loop_now_exact(loop);
	loop_timer_arm(&a, 20 * NSEC_PER_MSEC);
	while (a.armed)
		loop_turn(loop, true);
	assert_string_equal(trace, "ba");
	assert_true(loop_now_exact(loop) - start >= 20 * NSEC_PER_MSEC);
	loop_timer_arm(&a, NEVER);
	loop_timer_arm(&a, 0);
	loop_timer_arm(&b, 0);
	loop_timer_cancel(&b);
	loop_turn(loop, true);
	loop_turn(loop, false);
	assert_string_equal(trace, "baa");
	loop_timer_arm(&a, 0);
	loop_timer_fini(&a);
	loop_timer_fini(&b);
	loop_turn(loop, false);
	assert_string_equal(trace, "baa");
}

static void test_timers_never_early(void **state)
{
	struct loop_timer t;

	loop_timer_init(&t, loop, note_arg, ch('t'));
	for (unsigned i = 0; i < 20; i++) {
		uint64_t start = loop_now_exact(loop), ns = (i * 137 % 1000 + 1) * NSEC_PER_USEC;

		loop_timer_arm(&t, ns);
		while (t.armed)
			loop_turn(loop, true);
		assert_true(loop_now_exact(loop) - start >= ns);
	}
	loop_timer_fini(&t);
}

static uint64_t seen[3];

static void read_clock(void *arg)
{
	usleep(2000);
	*(uint64_t *)arg = loop_now(loop);
}

static void test_now(void **state)
{
	loop_post(loop, read_clock, &seen[0]);
	loop_post(loop, read_clock, &seen[1]);
	loop_turn(loop, true);
	loop_post(loop, read_clock, &seen[2]);
	loop_turn(loop, true);
	assert_true(seen[0] == seen[1]);
	assert_true(seen[2] > seen[1]);
	assert_true(loop_now(loop) >= seen[2]);
}

static struct loop_fd w;

static void on_pipe(void *arg, unsigned events)
{
	note(events == LOOP_READ ? 'r' : 'w');
}

static void test_fd(void **state)
{
	int p[2];

	assert_int_equal(pipe(p), 0);
	loop_fd_init(&w, loop, p[0], on_pipe, NULL);
	assert_int_equal(write(p[1], "x", 1), 1);
	loop_turn(loop, false);
	assert_string_equal(trace, "");
	loop_fd_want(&w, LOOP_READ);
	loop_turn(loop, true);
	loop_turn(loop, true); /* level-triggered */
	assert_string_equal(trace, "rr");
	loop_fd_want(&w, 0);
	loop_turn(loop, false);
	assert_string_equal(trace, "rr");
	loop_fd_fini(&w);

	loop_fd_init(&w, loop, p[1], on_pipe, NULL);
	loop_fd_want(&w, LOOP_WRITE);
	loop_turn(loop, true);
	assert_string_equal(trace, "rrw");
	loop_fd_fini(&w);
	loop_turn(loop, false);
	assert_string_equal(trace, "rrw");
	close(p[0]);
	close(p[1]);
}

static struct loop_hook h1, h2, endless;
static unsigned endless_runs;

static void hook1(void *arg)
{
	note('1');
	loop_hook_queue(loop, &h2);
}

static void hook_endless(void *arg)
{
	endless_runs++;
	loop_hook_queue(loop, &endless);
}

static void queue_hooks(void *arg)
{
	loop_hook_queue(loop, &h1);
	loop_hook_queue(loop, &h1);
	note('m');
}

static void test_hooks(void **state)
{
	unsigned runs;

	loop_hook_init(&h1, hook1, NULL);
	loop_hook_init(&h2, note_arg, ch('2'));
	loop_post(loop, queue_hooks, NULL);
	loop_turn(loop, true);
	assert_string_equal(trace, "m12");

	/* Queued outside a turn: the next one does not wait. */
	loop_hook_queue(loop, &h2);
	loop_turn(loop, true);
	assert_string_equal(trace, "m122");
	loop_hook_queue(loop, &h2);
	loop_hook_cancel(loop, &h2);
	loop_turn(loop, false);
	assert_string_equal(trace, "m122");

	loop_hook_init(&endless, hook_endless, NULL);
	loop_hook_queue(loop, &endless);
	loop_turn(loop, true);
	assert_true(endless_runs > 1);
	runs = endless_runs;
	loop_turn(loop, true);
	assert_true(endless_runs > runs);
	loop_hook_cancel(loop, &endless);
}

static void test_signal(void **state)
{
	assert_int_equal(loop_signal(loop, SIGUSR1, note_arg, ch('u')), 0);
	kill(getpid(), SIGUSR1);
	loop_turn(loop, true);
	assert_string_equal(trace, "u");
}

static void stop_loop(void *arg)
{
	loop_stop(loop);
}

static void test_idle_sleeps(void **state)
{
	struct loop_timer t;
	struct rusage before, after;

	loop_timer_init(&t, loop, stop_loop, NULL);
	loop_timer_arm(&t, 300 * NSEC_PER_MSEC);
	getrusage(RUSAGE_THREAD, &before);
	loop_run(loop);
	getrusage(RUSAGE_THREAD, &after);
	assert_true(after.ru_nvcsw - before.ru_nvcsw <= 10);
	loop_timer_fini(&t);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_post_order),   T(test_post_from_message),
		T(test_post_threads), T(test_free_runs_messages),
		T(test_ping_pong),    T(test_stop_before_run),
		T(test_timer),	      T(test_timers_never_early),
		T(test_now),	      T(test_fd),
		T(test_hooks),	      T(test_signal),
		T(test_idle_sleeps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
