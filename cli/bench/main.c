/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nvmegw-bench: a host that puts load on a namespace. The main thread is the control loop with the
 * admin queue; generators (gen.h) have a thread each.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cli/bench/gen.h"
#include "cli/bench/report.h"
#include "transport/log.h"

/* How long the rest of the I/O may take once the load has ended: the read-back of --verify reads at
 * most what was written, so twice the time of the load is generous. */
#define DRAIN_NS(load) (60 * NSEC_PER_SEC + 2 * (load))

struct bench {
	struct options opt;
	struct loop *loop;
	struct host host;
	struct gen *gens;
	unsigned nr_started, nr_connected, nr_finished, nr_intervals;
	struct loop_timer end_timer, interval_timer;
	struct gen_interval ivl;
	uint64_t started, ivl_start;
	bool running, stopping, over;
	struct gen_result result;
	char error[200];
};

static void shutdown_done(void *arg)
{
	struct bench *b = arg;

	loop_stop(b->loop);
}

static void wind_up(struct bench *b)
{
	if (b->over)
		return;
	b->over = true;
	loop_timer_cancel(&b->end_timer);
	loop_timer_cancel(&b->interval_timer);
	host_shutdown(&b->host, shutdown_done);
}

static void abort_all(struct bench *b, const char *why)
{
	if (!b->error[0])
		snprintf(b->error, sizeof(b->error), "%s", why);
	b->stopping = true;
	for (unsigned i = 0; i < b->nr_started; i++)
		gen_abort(&b->gens[i]);
	if (b->nr_finished == b->nr_started)
		wind_up(b);
}

static void drain_expired(struct bench *b)
{
	abort_all(b, "I/O did not come back in time after the load ended");
}

static void stop_all(void *arg)
{
	struct bench *b = arg;

	if (b->stopping) {
		drain_expired(b);
		return;
	}
	b->stopping = true;
	for (unsigned i = 0; i < b->nr_started; i++)
		gen_stop(&b->gens[i]);
	loop_timer_arm(&b->end_timer, DRAIN_NS(b->opt.time));
}

static void interrupted(void *arg)
{
	struct bench *b = arg;

	if (b->running)
		stop_all(b);
	else
		abort_all(b, "interrupted");
}

/* ---- intervals: ask all, print when all have answered ---- */

static void interval_fired(void *arg)
{
	struct bench *b = arg;

	memset(&b->ivl, 0, sizeof(b->ivl));
	b->nr_intervals = 0;
	for (unsigned i = 0; i < b->nr_started; i++)
		gen_ask_interval(&b->gens[i]);
}

static void gen_interval_in(struct gen *g, const struct gen_interval *ivl)
{
	struct bench *b = g->ev_arg;
	uint64_t now = loop_now_exact(b->loop);

	b->ivl.ios += ivl->ios;
	b->ivl.bytes += ivl->bytes;
	b->ivl.errors += ivl->errors;
	if (ivl->longest_pause > b->ivl.longest_pause)
		b->ivl.longest_pause = ivl->longest_pause;
	if (ivl->longest_latency > b->ivl.longest_latency)
		b->ivl.longest_latency = ivl->longest_latency;
	if (++b->nr_intervals < b->nr_started || b->stopping)
		return;
	report_interval(&b->opt, &b->ivl, now - b->started, now - b->ivl_start);
	b->ivl_start = now;
	loop_timer_arm(&b->interval_timer, b->opt.interval);
}

/* ---- generators ---- */

static void gen_connected(struct gen *g)
{
	struct bench *b = g->ev_arg;

	if (++b->nr_connected < b->nr_started || b->stopping)
		return;
	b->running = true;
	b->started = b->ivl_start = loop_now_exact(b->loop);
	loop_timer_arm(&b->end_timer, b->opt.time);
	if (b->opt.idle) {
		report_connected(&b->opt);
		return;
	}
	for (unsigned i = 0; i < b->nr_started; i++)
		gen_go(&b->gens[i]);
	if (b->opt.interval)
		loop_timer_arm(&b->interval_timer, b->opt.interval);
}

static void gen_failed(struct gen *g, const char *why)
{
	abort_all(g->ev_arg, why);
}

static void gen_finished(struct gen *g)
{
	struct bench *b = g->ev_arg;

	gen_result_merge(&b->result, &g->result);
	if (++b->nr_finished == b->nr_started)
		wind_up(b);
}

static const struct gen_events gen_events = {
	.connected = gen_connected,
	.interval = gen_interval_in,
	.finished = gen_finished,
	.failed = gen_failed,
};

/* ---- the host ---- */

/* What the options ask of the namespace; false with b->error set. */
static bool fits(struct bench *b)
{
	const struct options *o = &b->opt;
	const struct host *h = &b->host;
	uint64_t units, slots = (uint64_t)(o->queues / o->threads + 1) * o->depth;

	if (o->bs % h->lba_size) {
		snprintf(b->error, sizeof(b->error), "I/O of %u bytes on blocks of %u", o->bs,
			 h->lba_size);
		return false;
	}
	units = h->lbas / (o->bs / h->lba_size);
	if (o->size && o->size / o->bs < units)
		units = o->size / o->bs;
	if (!(units / o->threads) || (o->verify && units / o->threads <= slots)) {
		snprintf(b->error, sizeof(b->error), "the range is too small for this load");
		return false;
	}
	return true;
}

static void host_ready(void *arg)
{
	struct bench *b = arg;
	int err;

	if (!b->opt.idle && !fits(b)) {
		abort_all(b, b->error);
		return;
	}
	for (unsigned i = 0; i < b->opt.threads; i++) {
		err = gen_start(&b->gens[i], i, b->loop, &b->host, &b->opt, &gen_events, b);
		if (err) {
			fprintf(stderr, "nvmegw-bench: thread: %s\n", strerror(-err));
			exit(1);
		}
		b->nr_started++;
	}
}

static void host_failed(void *arg, const char *why)
{
	abort_all(arg, why);
}

static const struct host_ops host_ops = {.ready = host_ready, .failed = host_failed};

static void raise_nofile(void)
{
	struct rlimit rl;

	if (!getrlimit(RLIMIT_NOFILE, &rl)) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
}

static void bench_run(struct bench *b)
{
	b->gens = calloc(b->opt.threads, sizeof(*b->gens));
	b->loop = loop_new(0, -1);
	if (!b->gens || !b->loop || !pool_new(b->loop, 64, 64) ||
	    loop_signal(b->loop, SIGINT, interrupted, b) ||
	    loop_signal(b->loop, SIGTERM, interrupted, b)) {
		perror("nvmegw-bench");
		exit(1);
	}
	loop_timer_init(&b->end_timer, b->loop, stop_all, b);
	loop_timer_init(&b->interval_timer, b->loop, interval_fired, b);
	host_start(&b->host, b->loop, &b->opt, &host_ops, b);
	if (!b->over)
		loop_run(b->loop);
	for (unsigned i = 0; i < b->nr_started; i++)
		gen_free(&b->gens[i]);
	host_free(&b->host);
	loop_timer_fini(&b->end_timer);
	loop_timer_fini(&b->interval_timer);
	pool_free(loop_pool(b->loop));
	loop_free(b->loop);
	free(b->gens);
}

int main(int argc, char **argv)
{
	static struct bench b;

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_WARNING);
	options_parse(&b.opt, argc, argv);
	raise_nofile();
	bench_run(&b);
	if (!b.opt.idle)
		report_result(&b.opt, &b.result, b.error[0] ? b.error : NULL);
	else if (b.error[0])
		fprintf(stderr, "nvmegw-bench: %s\n", b.error);
	return b.error[0] || b.result.errors || b.result.verify_failures || b.result.unfinished;
}
