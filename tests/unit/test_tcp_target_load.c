/* SPDX-License-Identifier: Apache-2.0 */
/* NVMe/TCP as target: many hosts, little memory, two threads, and noise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/unit/raw_player.h"
#include "transport/tcp_target.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

static uint8_t bytes[1024 * 1024];

static struct host io_queue(bool digests, uint16_t sq_size, uint8_t cattr)
{
	struct host h = raw_shake(digests ? 3 : 0, digests, digests);

	raw_connect(&h, 1, sq_size, cattr);
	h.gate->on_command = raw_serve;
	h.gate->on_ready = raw_serve_ready;
	return h;
}

static void play(unsigned hosts, unsigned depth, unsigned commands, uint32_t max_len)
{
	struct player *p[32];

	assert_in_range(hosts, 1, N(p));
	for (unsigned i = 0; i < hosts; i++)
		p[i] = player_new(io_queue(i % 3 == 1, (uint16_t)(depth + 1), i % 2 ? 0 : 4), depth,
				  commands, max_len, i + 1);
	players_run(p, hosts);
	for (unsigned i = 0; i < hosts; i++) {
		assert_int_equal(p[i]->done, commands);
		player_free(p[i]);
	}
}

static void test_mixed_load(void **state)
{
	play(6, 31, 1000, 64 * 1024);
}

static void test_large_transfers(void **state)
{
	play(3, 4, 60, REQUEST_MAX_DATA);
}

/* All queues full take several times the segments that there are. */
static void test_few_segments(void **state)
{
	raw_requests = 1024;
	raw_segments = 72;
	play(8, 32, 150, 256 * 1024);
}

/* Not even one of each host's largest fits. */
static void test_fewer_segments_than_one_needs(void **state)
{
	raw_segments = 64;
	play(4, 15, 60, REQUEST_MAX_DATA);
}

/* All queues full take several times the slots that there are. */
static void test_few_slots(void **state)
{
	raw_requests = 64;
	play(8, 31, 1000, 32 * 1024);
}

/* The same where every command is a write whose data is behind those that follow it. */
static void test_few_slots_for_writes(void **state)
{
	player_only_large_writes = true;
	raw_requests = 128;
	play(16, 31, 300, 64 * 1024);
	raw_teardown(state);
	raw_setup(state);
	raw_requests = 64;
	raw_segments = 72;
	play(16, 31, 100, 64 * 1024);
	player_only_large_writes = false;
}

/* Two queues are more than there are slots: still one after the other. */
static void test_queues_as_large_as_the_pool(void **state)
{
	player_only_large_writes = true;
	raw_requests = 64;
	play(4, 60, 300, 16 * 1024);
	player_only_large_writes = false;
}

/* Three of four slots are for writes whose data has to be fetched. The others wait, and keep nobody
 * else waiting. */
static void test_writes_without_slots(void **state)
{
	enum { LEN = 3000, CMDS = 100 };
	struct host h;

	raw_requests = 4;
	h = io_queue(true, 256, 0);
	for (uint16_t i = 0; i < CMDS; i++)
		raw_write(&h, i, LEN);
	for (uint16_t i = 0; i < 3; i++)
		raw_hear_r2t(&h, i, LEN);
	for (uint16_t i = CMDS; i < CMDS + 20; i++) {
		raw_flush(&h, i);
		raw_hear_status(&h, i, 0);
	}
	assert_int_equal(h.gate->qp->inflight, CMDS);
	assert_int_equal(tcp_tgt_of_qp(h.gate->qp)->stash.ring.n, CMDS - 3);
	raw_hang_up(&h);
}

static void test_writes_get_slots_in_order(void **state)
{
	enum { LEN = 3000, CMDS = 100 };
	uint16_t tags[CMDS];
	struct host h;

	raw_requests = 4;
	h = io_queue(true, 256, 0);
	for (uint16_t i = 0; i < CMDS; i++)
		raw_write(&h, i, LEN);
	for (uint16_t i = 0; i < 3; i++)
		tags[i] = raw_hear_r2t(&h, i, LEN);
	for (uint16_t i = 0; i < CMDS; i++) {
		raw_serve_r2t(&h, i, tags[i], LEN);
		raw_hear_status(&h, i, 0);
		if (i + 3 < CMDS)
			tags[i + 3] = raw_hear_r2t(&h, i + 3, LEN);
	}
	assert_int_equal(tcp_tgt_of_qp(h.gate->qp)->stash.ring.n, 0);
	raw_hang_up(&h);
}

/* What is wrong with a command is said when it has a slot; here the first two have the same CID. */
static void test_wrong_writes_without_slots(void **state)
{
	const uint16_t conflict = NVME_STATUS(0, NVME_SC_CMDID_CONFLICT) | NVME_DNR;
	struct nvme_sqe sqe = raw_sqe(1, 9, 0x40, 512);
	struct host h;
	uint16_t tag;

	raw_requests = 2;
	h = io_queue(false, 256, 0);
	raw_write(&h, 1, 512);
	raw_write(&h, 1, 512);
	raw_put(&h, bytes, raw_capsule(&h, bytes, &sqe, 0));
	tag = raw_hear_r2t(&h, 1, 512);
	RAW_UNTIL(tcp_tgt_of_qp(h.gate->qp)->stash.ring.n == 2);
	h.gate->on_ready = NULL; /* not answered yet, so that the CID is still in use */
	raw_serve_r2t(&h, 1, tag, 512);
	raw_hear_status(&h, 1, conflict);
	raw_hear_status(&h, 9, NVME_STATUS(0, NVME_SC_SGL_INVALID_TYPE) | NVME_DNR);
	tgt_complete_status(h.gate->last, 0);
	raw_hear_status(&h, 1, 0);
	raw_hang_up(&h);
}

/* Commands that find no slot wait in the socket, or in what was read with others; in order. */
static struct request *kept[256];
static unsigned nr_kept;

static void keep(struct gate *g, struct request *req)
{
	kept[nr_kept++] = req;
}

static void commands_without_slots(unsigned requests, unsigned commands, uint32_t icd)
{
	struct host h;
	size_t len = 0;

	nr_kept = 0;
	raw_requests = requests;
	h = io_queue(true, 256, 0);
	h.gate->on_command = keep;
	for (uint16_t i = 0; i < commands; i++) {
		struct nvme_sqe sqe = raw_sqe(icd ? 1 : 0, i, NVME_SGL_DATA_OFFSET, icd);

		len += raw_capsule(&h, bytes + len, &sqe, icd);
	}
	raw_put(&h, bytes, len);
	RAW_UNTIL(nr_kept == requests);
	raw_turns(10);
	assert_int_equal(nr_kept, requests);
	for (unsigned i = 0; i < commands; i++) {
		RAW_UNTIL(nr_kept > i);
		assert_int_equal(kept[i]->cid, i);
		raw_check(kept[i], icd);
		tgt_complete_status(kept[i], 0);
		raw_hear_status(&h, (uint16_t)i, 0);
	}
	raw_hang_up(&h);
}

static void test_no_slots(void **state)
{
	static const struct {
		unsigned requests, commands;
		uint32_t icd;
	} cases[] = {{1, 10, 0}, {4, 200, 0}, {4, 50, 512}, {64, 200, 0}, {64, 200, 1001}};

	for (unsigned i = 0; i < N(cases); i++) {
		commands_without_slots(cases[i].requests, cases[i].commands, cases[i].icd);
		raw_teardown(state);
		raw_setup(state);
	}
}

/* A host that asks for much and reads nothing is bounded, and the others do not notice. */
static void test_greedy_host(void **state)
{
	struct tcp_tgt *t;
	struct player *p;
	struct host h;

	raw_rcvbuf = 4096;
	raw_segments = 4096;
	h = io_queue(false, 256, 4);
	raw_rcvbuf = 0;
	t = tcp_tgt_of_qp(h.gate->qp);
	for (uint16_t i = 0; i < 8; i++)
		raw_read(&h, i, REQUEST_MAX_DATA);
	RAW_UNTIL(t->s.paused);
	for (uint16_t i = 8; i < 60; i++)
		raw_read(&h, i, REQUEST_MAX_DATA);
	raw_turns(100);
	assert_in_range(h.gate->commands, 1, 16);
	p = player_new(io_queue(false, 33, 4), 32, 2000, 32768, 1);
	players_run(&p, 1);
	assert_int_equal(p->done, 2000);
	player_free(p);
	assert_true(t->s.paused);
	/* When it reads it gets all it asked for. */
	for (uint16_t i = 0; i < 60; i++)
		raw_hear_read(&h, i, REQUEST_MAX_DATA, true);
	raw_hang_up(&h);
}

/* Keeps reads, with their segments as the engine would have them, or without. */
static bool keep_with_segments;

static void keep_read(struct gate *g, struct request *req)
{
	if (keep_with_segments && pool_free_segments(req->pool) >= tcp_tgt_segments(req))
		raw_fill(req, req->data_len);
	keep(g, req);
}

static void many_reads_at_once(struct host *h, unsigned n)
{
	size_t len = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct nvme_sqe sqe = raw_sqe(2, i, NVME_SGL_TRANSPORT, REQUEST_MAX_DATA);

		len += raw_capsule(h, bytes + len, &sqe, 0);
	}
	raw_put(h, bytes, len);
}

/* All at once, and what they ask for comes later: the same, and the host is read on. */
static void much_at_once(bool with_segments)
{
	enum { READS = 100 };
	struct pool *pool;
	struct player *p;
	struct host h[2];

	raw_segments = 4096;
	raw_requests = 512;
	nr_kept = 0;
	keep_with_segments = with_segments;
	for (unsigned i = 0; i < N(h); i++) {
		h[i] = io_queue(false, 256, 4);
		h[i].gate->on_command = keep_read;
	}
	pool = loop_pool(raw_worker);
	many_reads_at_once(&h[0], READS);
	RAW_UNTIL(h[0].gate->qp->inflight == READS);
	raw_turns(10);
	assert_int_equal(nr_kept, 32);
	if (with_segments) {
		assert_int_equal(pool_free_segments(pool), 2048);
		many_reads_at_once(&h[1], READS);
		RAW_UNTIL(h[1].gate->qp->inflight == READS);
		raw_turns(10);
		assert_int_equal(h[1].gate->commands, 16);
		assert_int_equal(pool_free_segments(pool), 1024);
	}
	/* Commands behind them are carried out, their data comes in. */
	h[0].gate->on_command = raw_serve;
	raw_write(&h[0], 200, 65536);
	raw_serve_r2t(&h[0], 200, raw_hear_r2t(&h[0], 200, 65536), 65536);
	raw_hear_status(&h[0], 200, 0);
	h[0].gate->on_command = keep_read;
	p = player_new(io_queue(false, 33, 4), 32, 1000, 65536, 1);
	players_run(&p, 1);
	assert_int_equal(p->done, 1000);
	player_free(p);
	raw_hang_up(&h[1]);
	RAW_UNTIL(h[1].gate->closed);
	nr_kept = 32;
	for (uint16_t i = 0; i < READS; i++) {
		RAW_UNTIL(nr_kept > i);
		if (!with_segments)
			raw_fill(kept[i], REQUEST_MAX_DATA);
		tgt_complete_status(kept[i], 0);
		raw_hear_read(&h[0], i, REQUEST_MAX_DATA, true);
	}
	assert_int_equal(h[0].gate->qp->inflight, 0);
	assert_int_equal(tcp_tgt_of_qp(h[0].gate->qp)->asked, 0);
	raw_hang_up(&h[0]);
}

static void test_much_at_once(void **state)
{
	much_at_once(true);
	raw_teardown(state);
	raw_setup(state);
	much_at_once(false);
}

/* What waits is forgotten when the host goes. */
static void test_gone_with_reads_waiting(void **state)
{
	struct host h;

	keep_with_segments = true;
	nr_kept = 0;
	h = io_queue(false, 256, 4);
	h.gate->on_command = keep_read;
	many_reads_at_once(&h, 100);
	RAW_UNTIL(h.gate->qp->inflight == 100);
	assert_in_range(nr_kept, 1, 4);
	raw_hang_up(&h);
	RAW_UNTIL(h.gate->closed);
}

/* A slow host is not a dead one. */
static void test_slow_host(void **state)
{
	struct player *p;

	raw_rcvbuf = 8192;
	p = player_new(io_queue(true, 17, 0), 16, 40, 65536, 3);
	p->rx_budget = 500;
	players_run(&p, 1);
	assert_int_equal(p->done, 40);
	player_free(p);
}

/* Fetches that wait take turns: one host with many does not keep out one with few. */
static void test_waiting_fetches_take_turns(void **state)
{
	enum { LEN = 40 * SEG_SIZE };
	struct host many, few;
	static struct heard in;
	unsigned before = 0;

	raw_segments = 64;
	many = io_queue(false, 33, 0);
	few = io_queue(false, 33, 0);
	for (uint16_t i = 0; i < 30; i++)
		raw_write(&many, i, LEN);
	RAW_UNTIL(many.gate->commands == 30);
	raw_write(&few, 1, LEN);
	RAW_UNTIL(few.gate->commands);
	/* The first host serves its R2Ts as they come; how many before the other gets one? */
	while (!tcp_tgt_of_qp(few.gate->qp)->fetching) {
		raw_hear(&many, &in);
		if (in.pdu.type != TCP_R2T)
			continue;
		raw_serve_r2t(&many, in.pdu.cccid, in.pdu.ttag, LEN);
		before++;
	}
	assert_in_range(before, 1, 6);
	raw_hang_up(&many);
	raw_hang_up(&few);
}

/* Hosts that do not send what they were asked for, much as it may be, do not keep the others from
 * sending; and one that goes on gets all of its R2Ts. */
static void test_unserved_fetches(void **state)
{
	enum { LEN = REQUEST_MAX_DATA, DEPTH = 60 };
	struct host many[3], few;
	static struct heard in;
	unsigned asked = 0, answers = 0;

	raw_requests = 1024;
	raw_segments = 4096;
	raw_cfg.max_h2c_data = 128 * 1024;
	for (unsigned i = 0; i < N(many); i++) {
		many[i] = io_queue(false, DEPTH + 1, 0);
		for (uint16_t k = 0; k < DEPTH; k++)
			raw_write(&many[i], k, LEN);
		RAW_UNTIL(many[i].gate->commands == DEPTH);
		asked += tcp_tgt_of_qp(many[i].gate->qp)->fetching;
	}
	assert_in_range(asked, 48, 58);
	few = io_queue(false, 33, 0);
	for (uint16_t k = 0; k < 4; k++) {
		raw_write(&few, k, 65536);
		raw_turns(20);
		assert_int_equal(tcp_tgt_of_qp(few.gate->qp)->fetching, 1);
		raw_serve_r2t(&few, k, raw_hear_r2t(&few, k, 65536), 65536);
		raw_hear_status(&few, k, 0);
	}
	while (answers < DEPTH) {
		raw_hear(&many[2], &in);
		if (in.pdu.type == TCP_R2T)
			raw_serve_r2t(&many[2], in.pdu.cccid, in.pdu.ttag, LEN);
		else
			answers++;
	}
	for (unsigned i = 0; i < N(many); i++)
		raw_hang_up(&many[i]);
	raw_hang_up(&few);
}

/* Of a worker with 128 segments. */
static struct request *hogs[2];

static void take_all(void)
{
	for (unsigned i = 0; i < N(hogs); i++) {
		hogs[i] = pool_get(loop_pool(raw_worker));
		assert_int_equal(request_alloc_data(hogs[i], 64 * SEG_SIZE), 0);
	}
	assert_int_equal(pool_free_segments(loop_pool(raw_worker)), 0);
}

static void give_all(void)
{
	for (unsigned i = 0; i < N(hogs); i++)
		pool_put(hogs[i]);
}

/* The gateway asks for data in another order than that of arrival, while there are no segments:
 * what the one that asked first has of the quota is not taken for the other's. */
static void fetch_out_of_order(struct host *h, uint32_t first_came, uint32_t first_asked)
{
	struct request *came, *asked;
	uint16_t tags[2];

	take_all();
	nr_kept = 0;
	raw_write(h, 0, first_came);
	raw_write(h, 1, first_asked);
	RAW_UNTIL(nr_kept == 2);
	came = kept[0];
	asked = kept[1];
	tgt_fetch(asked);
	tgt_fetch(came);
	give_all();
	tags[1] = raw_hear_r2t(h, 1, first_asked);
	tags[0] = raw_hear_r2t(h, 0, first_came);
	raw_serve_r2t(h, 1, tags[1], first_asked);
	raw_hear_status(h, 1, 0);
	raw_serve_r2t(h, 0, tags[0], first_came);
	raw_hear_status(h, 0, 0);
}

static void test_fetches_out_of_order(void **state)
{
	struct host h;

	raw_segments = 128;
	h = io_queue(false, 33, 0);
	h.gate->on_command = keep;
	for (unsigned i = 0; i < 30; i++) {
		fetch_out_of_order(&h, (i & 1 ? 1 : 20) * SEG_SIZE, (i & 1 ? 20 : 1) * SEG_SIZE);
		/* Nothing is held by now: one gets its R2T at once. */
		raw_write(&h, 2, SEG_SIZE);
		RAW_UNTIL(nr_kept == 3);
		tgt_fetch(kept[2]);
		raw_serve_r2t(&h, 2, raw_hear_r2t(&h, 2, SEG_SIZE), SEG_SIZE);
		raw_hear_status(&h, 2, 0);
	}
	raw_hang_up(&h);
}

/* Both can be answered while they wait, in either order. */
static void test_parked_are_answered(void **state)
{
	const uint16_t aborted = NVME_STATUS(0, NVME_SC_ABORT_REQ);
	struct host h;

	raw_segments = 128;
	h = io_queue(false, 33, 0);
	h.gate->on_command = keep;
	for (unsigned i = 0; i < 8; i++) {
		uint16_t tags[3];

		take_all();
		nr_kept = 0;
		for (uint16_t k = 0; k < 3; k++)
			raw_write(&h, k, (30 - 10 * k) * SEG_SIZE);
		RAW_UNTIL(nr_kept == 3);
		for (unsigned k = 0; k < 3; k++)
			tgt_fetch(kept[(i + k) % 3]);
		tgt_complete_status(kept[i % 2], aborted);
		raw_hear_status(&h, i % 2, aborted);
		give_all();
		for (unsigned k = i; k < i + 3; k++)
			if (k % 3 != i % 2)
				tags[k % 3] =
					raw_hear_r2t(&h, k % 3, (30 - 10 * (k % 3)) * SEG_SIZE);
		for (uint16_t k = 0; k < 3; k++) {
			if (k == i % 2)
				continue;
			raw_serve_r2t(&h, k, tags[k], (30 - 10u * k) * SEG_SIZE);
			raw_hear_status(&h, k, 0);
		}
	}
	raw_hang_up(&h);
}

/* ---- the worker on a thread of its own ---- */

static void test_threads(void **state)
{
	struct player *p[12];

	raw_start_thread();
	for (unsigned i = 0; i < N(p); i++)
		p[i] = player_new(io_queue(i & 1, 32, i & 2 ? 0 : 4), 31, 300, 40000, i + 7);
	players_run(p, N(p));
	for (unsigned i = 0; i < N(p); i++) {
		assert_int_equal(p[i]->done, 300);
		player_free(p[i]);
	}
}

static void turn_all(struct player *const *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		player_turn(p[i]);
	raw_turns(1);
}

/* Control closes qpairs under load, while hosts hang up by themselves. */
static void test_threads_closing(void **state)
{
	struct player *p[16];

	raw_start_thread();
	for (unsigned i = 0; i < N(p); i++)
		p[i] = player_new(io_queue(false, 32, 4), 31, 100000, 20000, i + 7);
	for (unsigned i = 0; i < N(p); i++) {
		for (unsigned k = 0; k < 20; k++)
			turn_all(p + i, N(p) - i);
		if (i % 3 != 1)
			tgt_tcp.close(p[i]->h.gate->qp, "enough");
		if (i % 3)
			player_free(p[i]);
		/* It may wait for what the others have. */
		RAW_WAIT((turn_all(p + i + 1, N(p) - i - 1), !raw_gate(i)->qp));
		if (i % 3 == 0) {
			RAW_WAIT(!player_turn(p[i]));
			player_free(p[i]);
		}
	}
}

/* A close that overtakes the move to the worker. */
static void test_threads_close_in_transit(void **state)
{
	struct nvme_sqe sqe = raw_sqe(NVME_OPC_FABRICS, 9, NVME_SGL_DATA_OFFSET, 1024);

	sqe.nsid = htole32(nvme_fabrics_type_connect);
	sqe.cdw10 = htole32(1 << 16);
	sqe.cdw11 = htole32(15);
	raw_start_thread();
	for (unsigned i = 0; i < 100; i++) {
		struct host h = raw_shake(0, false, false);

		raw_put(&h, bytes, raw_capsule(&h, bytes, &sqe, 1024));
		while (h.gate->qp->loop == raw_control)
			raw_turns(1);
		tgt_tcp.close(h.gate->qp, "at once");
		RAW_WAIT(!h.gate->qp);
		raw_hang_up(&h);
	}
}

/* ---- noise ---- */

static unsigned seed;

static unsigned roll(unsigned n)
{
	return (unsigned)rand_r(&seed) / 16 % n;
}

/* A write whose data has been asked for, and how far it has come. */
struct fetch {
	uint16_t cid, ttag;
	uint32_t at, len;
};

/* One PDU as a host might send it. */
static size_t some_pdu(const struct host *h, uint8_t *b, uint16_t cid, struct fetch *f)
{
	uint32_t n = 1 + roll(RAW_ICD), left = f->len - f->at;
	uint8_t opcode = (uint8_t)roll(3);
	bool icd = opcode == 1 && roll(2);
	struct nvme_sqe sqe;

	if (left && roll(2)) {
		uint32_t off = f->at;

		n = n < left ? n : left;
		f->at += n;
		return raw_h2c(h, b, f->cid, f->ttag, off, n, n == left ? TCP_F_LAST : 0);
	}
	sqe = raw_sqe(opcode, cid, icd ? NVME_SGL_DATA_OFFSET : NVME_SGL_TRANSPORT, n);
	return raw_capsule(h, b, &sqe, icd ? n : 0);
}

/* A few of them, and perhaps one is damaged. */
static size_t noise(const struct host *h, uint16_t cid, struct fetch *f)
{
	size_t len = 0;

	for (unsigned i = 1 + roll(4); i; i--) {
		size_t n = some_pdu(h, bytes + len, cid++, f);

		if (!roll(12))
			bytes[len + roll(TCP_DATA_LEN)] = (uint8_t)rand_r(&seed);
		if (!roll(12))
			bytes[len + roll((unsigned)n)] ^= (uint8_t)(1 << roll(8));
		len += n;
	}
	return len;
}

/* Damaged data is not what it was. */
static void serve_blindly(struct gate *g, struct request *req)
{
	if (req->dir == NVME_DIR_H2C && req->filled < req->data_len)
		tgt_fetch(req);
	else if (req->dir == NVME_DIR_H2C)
		tgt_complete_status(req, 0);
	else
		raw_serve(g, req);
}

/*
 * Many damaged conversations: each ends or goes on, nothing is read outside of what came, all
 * memory comes back, and a host that behaves is served all the time.
 */
static void test_noise(void **state)
{
	unsigned ended = 0, served = 0;
	struct player *p;

	seed = 12345;
	raw_cfg.cpda = 1;
	p = player_new(io_queue(true, 17, 4), 16, 1000000, 20000, 9);
	for (unsigned i = 0; i < 1500; i++) {
		struct host h = raw_shake((uint8_t)roll(32), roll(2), roll(2));
		struct fetch f = {.cid = 0xff, .len = 1 + roll(20000)};

		raw_connect(&h, 1, 65, roll(2) ? 4 : 0);
		h.gate->on_command = h.gate->on_ready = serve_blindly;
		raw_write(&h, f.cid, f.len);
		f.ttag = raw_hear_r2t(&h, f.cid, f.len);
		for (unsigned k = 0; k < 8 && !h.gate->closed; k++) {
			raw_put(&h, bytes, noise(&h, (uint16_t)(k * 8), &f));
			raw_turns(1 + roll(3));
			player_turn(p);
		}
		served += h.gate->commands;
		ended += h.gate->closed;
		raw_hang_up(&h);
		RAW_UNTIL(h.gate->closed);
	}
	/* It got everywhere. */
	assert_in_range(ended, 500, 1400);
	assert_in_range(served, 5000, 100000);
	assert_false(p->ended);
	assert_in_range(p->done, 100, 1000000);
	player_free(p);
}

#define T(f) cmocka_unit_test_setup_teardown(f, raw_setup, raw_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_mixed_load),
		T(test_large_transfers),
		T(test_few_segments),
		T(test_fewer_segments_than_one_needs),
		T(test_few_slots),
		T(test_few_slots_for_writes),
		T(test_queues_as_large_as_the_pool),
		T(test_writes_without_slots),
		T(test_writes_get_slots_in_order),
		T(test_wrong_writes_without_slots),
		T(test_no_slots),
		T(test_greedy_host),
		T(test_much_at_once),
		T(test_gone_with_reads_waiting),
		T(test_slow_host),
		T(test_waiting_fetches_take_turns),
		T(test_unserved_fetches),
		T(test_fetches_out_of_order),
		T(test_parked_are_answered),
		T(test_threads),
		T(test_threads_closing),
		T(test_threads_close_in_transit),
		T(test_noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
