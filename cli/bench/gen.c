/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench/gen.h"
#include "transport/log.h"

#define RETRY_NS       (100 * NSEC_PER_MSEC) /* as Linux's multipath requeue does it */
#define RATE_CATCHUP   (10 * NSEC_PER_MSEC)  /* how far a limited rate may lag and catch up */
#define RATE_TICK      NSEC_PER_MSEC
#define STATUS_LOST    0xffff
#define FAILURES_SHOWN 10

static void gen_pump(struct gen *g);

/* ---- reports to control ---- */

struct gen_msg {
	struct gen *gen;
	struct gen_interval ivl;
	char why[200];
};

static struct gen_msg *msg_new(struct gen *g)
{
	struct gen_msg *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	m->gen = g;
	return m;
}

static void tell_connected(void *arg)
{
	struct gen *g = arg;

	g->ev->connected(g);
}

static void tell_finished(void *arg)
{
	struct gen *g = arg;

	g->ev->finished(g);
}

static void tell_failed(void *arg)
{
	struct gen_msg *m = arg;

	m->gen->ev->failed(m->gen, m->why);
	free(m);
}

static void tell_interval(void *arg)
{
	struct gen_msg *m = arg;

	m->gen->ev->interval(m->gen, &m->ivl);
	free(m);
}

/* ---- ending ---- */

static void close_queues(void *arg)
{
	struct gen *g = arg;

	g->result.unfinished = g->out;
	for (unsigned i = 0; i < g->nr_queues; i++) {
		if (g->queues[i].qp)
			g->queues[i].qp->tr->close(g->queues[i].qp);
		g->queues[i].qp = NULL;
	}
	loop_timer_fini(&g->retry_timer);
	loop_timer_fini(&g->rate_timer);
	for (unsigned i = 0; i < g->nr_slots; i++)
		if (g->slots[i].req)
			pool_put(g->slots[i].req);
	g->nr_slots = 0;
	if (g->verifying) {
		g->result.blocks_checked = g->verify.blocks_checked;
		verify_fini(&g->verify);
	}
	loop_post(g->control, tell_finished, g);
}

/* The hook, because a qpair may not be closed from within its callbacks. */
static void finish(struct gen *g)
{
	if (g->phase == GEN_CLOSING)
		return;
	if (g->phase == GEN_LOAD || g->phase == GEN_DRAIN)
		g->result.elapsed = loop_now_exact(g->loop) - g->started;
	g->phase = GEN_CLOSING;
	loop_hook_queue(g->loop, &g->close_hook);
}

static void fail(struct gen *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct gen *g, const char *fmt, ...)
{
	struct gen_msg *m;
	va_list ap;

	if (!g->failed && g->phase != GEN_CLOSING) {
		g->failed = true;
		m = msg_new(g);
		va_start(ap, fmt);
		vsnprintf(m->why, sizeof(m->why), fmt, ap);
		va_end(ap);
		loop_post(g->control, tell_failed, m);
	}
	finish(g);
}

static void load_drained(struct gen *g)
{
	g->result.elapsed = loop_now_exact(g->loop) - g->started;
	if (!g->verifying) {
		finish(g);
		return;
	}
	g->phase = GEN_READBACK;
	g->cursor = 0;
	gen_pump(g);
}

/* ---- results ---- */

static void status_add(struct gen_result *r, uint16_t status, uint64_t count)
{
	unsigned i = 0;

	while (i < r->nr_statuses && r->statuses[i].status != status)
		i++;
	if (i == GEN_MAX_STATUSES)
		i--; /* so many kinds: the last entry takes the rest */
	else if (i == r->nr_statuses)
		r->statuses[r->nr_statuses++] = (struct gen_status){.status = status};
	r->statuses[i].count += count;
}

void gen_result_merge(struct gen_result *into, const struct gen_result *from)
{
	hist_merge(&into->latency, &from->latency);
	into->ios += from->ios;
	into->reads += from->reads;
	into->writes += from->writes;
	into->bytes += from->bytes;
	into->errors += from->errors;
	into->retries += from->retries;
	into->blocks_checked += from->blocks_checked;
	into->verify_failures += from->verify_failures;
	into->readback_ios += from->readback_ios;
	into->unfinished += from->unfinished;
	if (from->longest_pause > into->longest_pause)
		into->longest_pause = from->longest_pause;
	if (from->elapsed > into->elapsed)
		into->elapsed = from->elapsed;
	for (unsigned i = 0; i < from->nr_statuses; i++)
		status_add(into, from->statuses[i].status, from->statuses[i].count);
}

/* Only while there is a load: after it, a queue that empties has fewer and fewer to wait for. */
static void note_pause(struct gen *g, uint64_t ns)
{
	if (g->phase != GEN_LOAD)
		return;
	if (ns > g->result.longest_pause)
		g->result.longest_pause = ns;
	if (ns > g->ivl.longest_pause)
		g->ivl.longest_pause = ns;
}

static void note_success(struct gen *g, const struct slot *s, uint64_t now)
{
	uint64_t latency = now - s->begun;

	note_pause(g, now - s->queue->last);
	s->queue->last = now;
	if (g->phase == GEN_READBACK) {
		g->result.readback_ios++;
		return;
	}
	hist_add(&g->result.latency, latency);
	if (latency > g->ivl.longest_latency)
		g->ivl.longest_latency = latency;
	g->result.ios++;
	g->result.reads += !s->write;
	g->result.writes += s->write;
	g->result.bytes += g->opt->bs;
	g->ivl.ios++;
	g->ivl.bytes += g->opt->bs;
}

static void note_error(struct gen *g, const struct slot *s, uint16_t status)
{
	if (g->result.errors++ < FAILURES_SHOWN && status != STATUS_LOST)
		log_err("%s of LBA %" PRIu64 " failed with status 0x%x",
			s->write ? "write" : "read",
			(g->first_unit + s->unit) * (g->opt->bs / g->host->lba_size), status);
	g->ivl.errors++;
	status_add(&g->result, status, 1);
}

/*
 * A write always keeps other writes away. A read may come together with one, since a controller
 * keeps each logical block whole (NVM command set 1.0, 2.1.4). But not two controllers in two
 * processes that have one image open: there a read over one path can see half of what is being
 * written over the other, so with --apart reads and writes keep away from each other, too.
 */
static bool claims(const struct gen *g, bool write)
{
	return g->verifying && (write || g->opt->apart);
}

static void check_data(struct gen *g, const struct slot *s, bool ok)
{
	char why[160];

	if (!g->verifying)
		return;
	if (claims(g, s->write))
		verify_claim(&g->verify, s->unit, false);
	if (s->write)
		verify_write_end(&g->verify, s->unit, ok);
	else if (ok && !verify_read_end(&g->verify, s->unit, s->oldest, s->req, why, sizeof(why)) &&
		 g->result.verify_failures++ < FAILURES_SHOWN)
		log_err("verify: %s", why);
}

/* ---- one I/O ---- */

static void slot_submit(struct gen *g, struct slot *s)
{
	struct request *req = s->req;
	int err;

	req->filled = s->write ? req->data_len : 0;
	err = s->queue->qp->tr->submit(s->queue->qp, req);
	if (err)
		fail(g, "queue %u: submit: %s", s->queue->qid, strerror(-err));
}

static void slot_retry(struct gen *g, struct slot *s)
{
	g->result.retries++;
	s->retry_at = loop_now(g->loop) + RETRY_NS;
	TAILQ_INSERT_TAIL(&g->retry, s, link);
	if (!g->retry_timer.armed)
		loop_timer_arm(&g->retry_timer, RETRY_NS);
}

static void retry_timer_fired(void *arg)
{
	struct gen *g = arg;
	struct slot *s;

	while ((s = TAILQ_FIRST(&g->retry)) && s->retry_at <= loop_now(g->loop)) {
		TAILQ_REMOVE(&g->retry, s, link);
		slot_submit(g, s);
		if (g->phase == GEN_CLOSING)
			return;
	}
	if (s)
		loop_timer_arm(&g->retry_timer, s->retry_at - loop_now(g->loop));
}

static void slot_finished(struct gen *g, struct slot *s)
{
	s->queue->out--;
	g->out--;
	TAILQ_INSERT_TAIL(&g->idle, s, link);
	gen_pump(g);
}

static void slot_done(struct request *req, int error)
{
	struct slot *s = req->complete_arg;
	struct gen *g = s->queue->gen;
	uint16_t status = nvme_cqe_status(&req->cqe);

	if (g->phase == GEN_CLOSING)
		return;
	if (error) { /* the end of everything: queue_lost() follows */
		note_error(g, s, STATUS_LOST);
		return;
	}
	if ((status >> 8 & 7) == NVME_SCT_PATH && !(status & NVME_DNR)) {
		slot_retry(g, s);
		return;
	}
	if (status)
		note_error(g, s, status);
	else
		note_success(g, s, loop_now_exact(g->loop));
	check_data(g, s, !status);
	slot_finished(g, s);
}

static void slot_begin(struct gen *g, struct slot *s, uint64_t unit, bool write)
{
	struct nvme_sqe *sqe = &s->req->sqe;
	uint32_t lbas = g->opt->bs / g->host->lba_size;
	uint64_t slba = (g->first_unit + unit) * lbas;

	s->unit = unit;
	s->write = write;
	if (claims(g, write))
		verify_claim(&g->verify, unit, true);
	sqe->opcode = write ? nvme_cmd_write : nvme_cmd_read;
	sqe->nsid = htole32(g->host->nsid);
	sqe->cdw10 = htole32((uint32_t)slba);
	sqe->cdw11 = htole32((uint32_t)(slba >> 32));
	sqe->cdw12 = htole32(lbas - 1);
	s->req->dir = nvme_sqe_dir(sqe);
	if (g->verifying && write)
		verify_write_begin(&g->verify, unit, s->req);
	else if (g->verifying)
		s->oldest = verify_read_begin(&g->verify, unit);
	s->begun = loop_now_exact(g->loop);
	if (!s->queue->out++)
		s->queue->last = s->begun;
	g->out++;
	slot_submit(g, s);
}

/* ---- which I/O comes next ---- */

static uint64_t next_random(struct gen *g)
{
	g->rng ^= g->rng >> 12;
	g->rng ^= g->rng << 25;
	g->rng ^= g->rng >> 27;
	return g->rng * 0x2545f4914f6cdd1dull;
}

static uint64_t next_unit(struct gen *g)
{
	if (!g->opt->sequential)
		return (uint64_t)((unsigned __int128)next_random(g) * g->units >> 64);
	if (g->cursor == g->units)
		g->cursor = 0;
	return g->cursor++;
}

static bool rate_permits(struct gen *g)
{
	uint64_t now = loop_now(g->loop);

	if (!g->rate_step)
		return true;
	if (g->rate_next + RATE_CATCHUP < now)
		g->rate_next = now - RATE_CATCHUP;
	if (g->rate_next > now) {
		if (!g->rate_timer.armed)
			loop_timer_arm(&g->rate_timer, RATE_TICK);
		return false;
	}
	g->rate_next += g->rate_step;
	return true;
}

static void begin_load_io(struct gen *g, struct slot *s)
{
	bool write = next_random(g) % 100 >= g->opt->read_pct;
	uint64_t unit = next_unit(g);

	/* There are more units than slots, so this ends. */
	while (claims(g, write) && verify_claimed(&g->verify, unit))
		unit = unit + 1 == g->units ? 0 : unit + 1;
	slot_begin(g, s, unit, write);
}

/* False when every unit has been read back. */
static bool begin_readback_io(struct gen *g, struct slot *s)
{
	while (g->cursor < g->units && !verify_written(&g->verify, g->cursor))
		g->cursor++;
	if (g->cursor == g->units)
		return false;
	slot_begin(g, s, g->cursor++, false);
	return true;
}

static void gen_pump(struct gen *g)
{
	struct slot *s;

	while ((s = TAILQ_FIRST(&g->idle))) {
		if (g->phase == GEN_LOAD ? !rate_permits(g) : g->phase != GEN_READBACK)
			break;
		TAILQ_REMOVE(&g->idle, s, link);
		if (g->phase == GEN_LOAD) {
			begin_load_io(g, s);
		} else if (!begin_readback_io(g, s)) {
			TAILQ_INSERT_HEAD(&g->idle, s, link);
			break;
		}
	}
	if (g->out)
		return;
	if (g->phase == GEN_DRAIN)
		load_drained(g);
	else if (g->phase == GEN_READBACK)
		finish(g);
}

static void rate_timer_fired(void *arg)
{
	gen_pump(arg);
}

/* ---- connecting ---- */

static void slots_make(struct gen *g)
{
	g->slots = calloc((size_t)g->nr_queues * g->opt->depth, sizeof(*g->slots));
	if (!g->slots) {
		fail(g, "out of memory");
		return;
	}
	for (unsigned i = 0; i < g->nr_queues * g->opt->depth; i++) {
		struct slot *s = &g->slots[i];

		s->queue = &g->queues[i % g->nr_queues];
		s->req = pool_get(loop_pool(g->loop));
		g->nr_slots++;
		if (!s->req || request_alloc_data(s->req, g->opt->bs)) {
			fail(g, "out of buffers");
			return;
		}
		s->req->data_len = g->opt->bs;
		s->req->complete_arg = s;
		s->req->ini_done = slot_done;
		for (uint32_t off = 0; off < g->opt->bs; off += 8) {
			uint64_t word = next_random(g);

			request_copy_in(s->req, off, &word, 8);
		}
		TAILQ_INSERT_TAIL(&g->idle, s, link);
	}
}

static void verify_make(struct gen *g)
{
	uint32_t lbas = g->opt->bs / g->host->lba_size;

	if (verify_init(&g->verify, g->opt->seed, g->first_unit * lbas, g->units, lbas,
			g->host->lba_size)) {
		fail(g, "out of memory for the table of what was written: use --size");
		return;
	}
	g->verifying = true;
}

static void all_connected(struct gen *g)
{
	g->phase = GEN_READY;
	if (!g->opt->idle) {
		slots_make(g);
		if (g->opt->verify)
			verify_make(g);
	}
	if (!g->failed)
		loop_post(g->control, tell_connected, g);
}

static void connect_next(struct gen *g);

static void queue_connected(struct ini_qpair *qp, int error, const struct nvme_cqe *cqe)
{
	struct gen_queue *q = qp->priv;
	struct gen *g = q->gen;

	if (error == -ECONNREFUSED && cqe && cqe->status)
		fail(g, "queue %u: Connect was refused with status 0x%x", q->qid,
		     nvme_cqe_status(cqe));
	else if (error)
		fail(g, "queue %u: cannot connect: %s", q->qid, strerror(-error));
	else if (++g->nr_connected < g->nr_queues)
		connect_next(g);
	else
		all_connected(g);
}

static void queue_lost(struct ini_qpair *qp, int error, const char *reason)
{
	struct gen_queue *q = qp->priv;

	fail(q->gen, "queue %u lost: %s", q->qid, reason ? reason : strerror(-error));
}

static const struct ini_ops queue_ops = {.connected = queue_connected, .lost = queue_lost};

/* One after the other, as hosts do it. */
static void connect_next(struct gen *g)
{
	struct gen_queue *q = &g->queues[g->nr_connected];
	struct ini_params p;

	if (g->phase != GEN_CONNECT)
		return;
	host_queue_params(g->host, q->qid, &p);
	q->qp = g->opt->transport->connect(g->loop, &p, &queue_ops, q);
	if (!q->qp)
		fail(g, "queue %u: cannot connect: %s", q->qid, strerror(errno));
}

/* ---- orders from control, run on our loop ---- */

static void do_connect(void *arg)
{
	connect_next(arg);
}

static void do_go(void *arg)
{
	struct gen *g = arg;

	if (g->phase != GEN_READY)
		return;
	g->phase = GEN_LOAD;
	g->started = loop_now_exact(g->loop);
	g->rate_next = g->started;
	gen_pump(g);
}

static void do_stop(void *arg)
{
	struct gen *g = arg;

	if (g->phase == GEN_LOAD) {
		g->phase = GEN_DRAIN;
		gen_pump(g);
	} else if (g->phase < GEN_LOAD) {
		finish(g);
	}
}

static void do_abort(void *arg)
{
	finish(arg);
}

static void do_interval(void *arg)
{
	struct gen *g = arg;
	struct gen_msg *m;
	uint64_t now = loop_now_exact(g->loop);

	for (unsigned i = 0; i < g->nr_queues && g->phase != GEN_CLOSING; i++)
		if (g->queues[i].out)
			note_pause(g, now - g->queues[i].last);
	m = msg_new(g);
	m->ivl = g->ivl;
	memset(&g->ivl, 0, sizeof(g->ivl));
	loop_post(g->control, tell_interval, m);
}

void gen_go(struct gen *g)
{
	loop_post(g->loop, do_go, g);
}

void gen_stop(struct gen *g)
{
	loop_post(g->loop, do_stop, g);
}

void gen_abort(struct gen *g)
{
	loop_post(g->loop, do_abort, g);
}

void gen_ask_interval(struct gen *g)
{
	loop_post(g->loop, do_interval, g);
}

/* ---- life ---- */

static void *gen_thread(void *arg)
{
	struct gen *g = arg;

	loop_run(g->loop);
	return NULL;
}

/* Which queues, and which part of the namespace. */
static int gen_share(struct gen *g)
{
	const struct options *o = g->opt;
	uint64_t units = 0;

	g->nr_queues = (o->queues - g->index + o->threads - 1) / o->threads;
	g->queues = calloc(g->nr_queues, sizeof(*g->queues));
	if (!g->queues)
		return -ENOMEM;
	for (unsigned i = 0; i < g->nr_queues; i++) {
		g->queues[i].gen = g;
		g->queues[i].qid = (uint16_t)(1 + g->index + i * o->threads);
	}
	if (!o->idle) {
		units = g->host->lbas / (o->bs / g->host->lba_size);
		if (o->size && o->size / o->bs < units)
			units = o->size / o->bs;
	}
	g->units = units / o->threads;
	g->first_unit = g->units * g->index;
	return 0;
}

int gen_start(struct gen *g, unsigned index, struct loop *control, const struct host *host,
	      const struct options *opt, const struct gen_events *ev, void *ev_arg)
{
	unsigned segs = (opt->bs + SEG_SIZE - 1) / SEG_SIZE, slots;
	int err;

	memset(g, 0, sizeof(*g));
	g->index = index;
	g->control = control;
	g->host = host;
	g->opt = opt;
	g->ev = ev;
	g->ev_arg = ev_arg;
	g->rng = (opt->seed + index) * 0x9e3779b97f4a7c15ull | 1;
	g->rate_step = opt->rate ? NSEC_PER_SEC * opt->threads / opt->rate : 0;
	TAILQ_INIT(&g->idle);
	TAILQ_INIT(&g->retry);
	err = gen_share(g);
	if (err)
		return err;
	slots = opt->idle ? 0 : g->nr_queues * opt->depth;
	g->loop = loop_new(1 + index, -1);
	/* Each queue's Connect takes a request and a segment, too. */
	if (!g->loop ||
	    !pool_new(g->loop, slots + g->nr_queues + 16, slots * segs + g->nr_queues + 16))
		return -errno;
	loop_timer_init(&g->retry_timer, g->loop, retry_timer_fired, g);
	loop_timer_init(&g->rate_timer, g->loop, rate_timer_fired, g);
	loop_hook_init(&g->close_hook, close_queues, g);
	loop_post(g->loop, do_connect, g);
	return -pthread_create(&g->thread, NULL, gen_thread, g);
}

void gen_free(struct gen *g)
{
	loop_stop(g->loop);
	pthread_join(g->thread, NULL);
	pool_free(loop_pool(g->loop));
	loop_free(g->loop);
	free(g->slots);
	free(g->queues);
}
