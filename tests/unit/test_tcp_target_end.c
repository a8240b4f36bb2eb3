/* SPDX-License-Identifier: Apache-2.0 */
/* NVMe/TCP as target: how connections end, and hosts that make no progress. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/raw_host.h"
#include "transport/tcp_target.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

static struct heard in;
static uint8_t bytes[2 * 1024 * 1024];

static struct tcp_tgt *inside(const struct host *h)
{
	return tcp_tgt_of_qp(h->gate->qp);
}

/* ---- in each state ---- */

static struct host before_icreq(void)
{
	struct host h = raw_dial();

	raw_turns(4);
	return h;
}

static struct host half_icreq(void)
{
	struct host h = raw_dial();

	tcp_put_ic(bytes, TCP_ICREQ, 0, false, false, 0);
	raw_put(&h, bytes, 100);
	raw_turns(4);
	return h;
}

static struct host initialized(void)
{
	return raw_shake(0, true, true);
}

static struct host half_a_header(void)
{
	struct host h = raw_io();
	struct nvme_sqe sqe = raw_sqe(0, 1, NVME_SGL_TRANSPORT, 0);

	raw_capsule(&h, bytes, &sqe, 0);
	raw_put(&h, bytes, 50);
	raw_turns(4);
	assert_true(tcp_sock_half(&inside(&h)->s));
	return h;
}

static struct host half_in_capsule_data(void)
{
	struct host h = raw_io();
	struct nvme_sqe sqe = raw_sqe(1, 1, NVME_SGL_DATA_OFFSET, RAW_ICD);

	raw_capsule(&h, bytes, &sqe, RAW_ICD);
	raw_put(&h, bytes, 1000);
	raw_turns(4);
	assert_non_null(inside(&h)->rx);
	return h;
}

/* The same for data that is skipped, because the command has no good SGL. */
static struct host half_refused_data(void)
{
	struct host h = raw_io();
	struct nvme_sqe sqe = raw_sqe(1, 1, NVME_SGL_TRANSPORT, RAW_ICD);

	raw_capsule(&h, bytes, &sqe, RAW_ICD);
	raw_put(&h, bytes, 1000);
	raw_turns(4);
	assert_non_null(inside(&h)->rx);
	return h;
}

static struct host executing(void)
{
	struct host h = raw_io();

	raw_read(&h, 1, 65536);
	raw_flush(&h, 2);
	raw_write_icd(&h, 3, 4096);
	RAW_UNTIL(h.gate->commands == 3);
	return h;
}

static struct host asked_for_data(void)
{
	struct host h = raw_io();

	h.gate->on_command = raw_serve;
	raw_write(&h, 1, 65536);
	raw_hear_r2t(&h, 1, 65536);
	return h;
}

static struct host half_of_its_data(void)
{
	struct host h = asked_for_data();

	raw_h2c(&h, bytes, 1, cid_map_new_tag(&inside(&h)->cids, 0), 0, RAW_MAX_H2C, 0);
	raw_put(&h, bytes, 5000);
	raw_turns(4);
	assert_non_null(inside(&h)->rx);
	return h;
}

static struct host answered_before_its_data(void)
{
	struct host h = half_of_its_data();

	tgt_complete_status(h.gate->last, NVME_ST_INVALID_FIELD);
	raw_turns(4);
	assert_int_equal(inside(&h)->fetching, 1);
	return h;
}

/* One fetch has most of what fetches may have: the next of the connection waits for its end. */
static struct host waiting_for_buffers(void)
{
	struct host h;

	raw_segments = 160;
	h = raw_io();
	h.gate->on_command = raw_serve;
	raw_write(&h, 1, 60 * SEG_SIZE);
	raw_hear_r2t(&h, 1, 60 * SEG_SIZE);
	raw_write(&h, 2, 60 * SEG_SIZE);
	raw_write(&h, 3, 1);
	RAW_UNTIL(h.gate->commands == 3);
	assert_int_equal(TAILQ_FIRST(&inside(&h)->parked)->cid, 2);
	return h;
}

/* Another host has most of what fetches may have. */
static struct host other = {.fd = -1};

static struct host waiting_in_line(void)
{
	struct host h;

	raw_segments = 72;
	other = raw_io();
	other.gate->on_command = raw_serve;
	raw_write(&other, 1, 60 * SEG_SIZE);
	raw_hear_r2t(&other, 1, 60 * SEG_SIZE);
	h = raw_io();
	h.gate->on_command = raw_serve;
	raw_write(&h, 2, 60 * SEG_SIZE);
	raw_write(&h, 3, 1);
	RAW_UNTIL(h.gate->commands == 2);
	assert_int_equal(TAILQ_FIRST(&inside(&h)->parked)->cid, 2);
	assert_true(inside(&h)->quota_user.queued);
	return h;
}

/* The gateway has all segments: the fetch has its quota and waits in the pool's line. */
static struct request *hog;

static struct host waiting_for_segments(void)
{
	struct host h;

	raw_segments = 64;
	raw_start();
	hog = pool_get(loop_pool(raw_worker));
	assert_int_equal(request_alloc_data(hog, 60 * SEG_SIZE), 0);
	h = raw_io();
	h.gate->on_command = raw_serve;
	raw_write(&h, 1, 10 * SEG_SIZE);
	RAW_UNTIL(h.gate->commands);
	assert_true(inside(&h)->fetch_waiter.queued);
	return h;
}

/* A capsule finds no slot. */
static struct host waiting_for_a_slot(void)
{
	struct host h;

	raw_requests = 4;
	h = raw_io();
	for (uint16_t i = 0; i < 10; i++)
		raw_write_icd(&h, i, 300);
	RAW_UNTIL(inside(&h)->s.blocked);
	assert_int_equal(h.gate->commands, 4);
	return h;
}

/* Writes find no slot, and one has been asked for its data. */
static struct host writes_without_slots(void)
{
	struct host h;

	raw_requests = 2;
	h = raw_io();
	h.gate->on_command = raw_serve;
	for (uint16_t i = 0; i < 10; i++)
		raw_write(&h, i, 300);
	raw_hear_r2t(&h, 0, 300);
	RAW_UNTIL(inside(&h)->stash.ring.n == 9);
	return h;
}

/* The host does not read: the answer is half out. */
static struct host half_an_answer(void)
{
	struct host h;

	raw_rcvbuf = 4096;
	raw_segments = 4096;
	h = raw_io();
	h.gate->on_command = raw_serve;
	for (uint16_t i = 0; i < RAW_SQ_SIZE - 1; i++)
		raw_read(&h, i, REQUEST_MAX_DATA);
	RAW_UNTIL(inside(&h)->s.full);
	return h;
}

static struct host on_its_way(void)
{
	struct host h = raw_shake(0, false, false);
	struct nvme_sqe sqe = raw_sqe(NVME_OPC_FABRICS, 9, NVME_SGL_DATA_OFFSET, 1024);

	sqe.nsid = htole32(nvme_fabrics_type_connect);
	sqe.cdw10 = htole32(1 << 16);
	sqe.cdw11 = htole32(15);
	raw_put(&h, bytes, raw_capsule(&h, bytes, &sqe, 1024));
	while (inside(&h)->phase != PHASE_TRANSIT)
		loop_turn(raw_control, false);
	return h;
}

typedef struct host (*state_fn)(void);

static const state_fn states[] = {
	before_icreq,
	half_icreq,
	initialized,
	half_a_header,
	half_in_capsule_data,
	half_refused_data,
	executing,
	asked_for_data,
	half_of_its_data,
	answered_before_its_data,
	waiting_for_buffers,
	waiting_in_line,
	waiting_for_segments,
	writes_without_slots,
	waiting_for_a_slot,
	half_an_answer,
	on_its_way,
};

/* A connection whose commands find no slot is not read: it sees its end when there is one. */
static void unblock(struct host *h)
{
	struct request *req;

	while (!h->gate->closed && (req = TAILQ_FIRST(&h->gate->qp->requests))) {
		tgt_complete_status(req, 0);
		raw_turns(4);
	}
}

/* Ends a connection in that state; nothing is left of it (the teardown looks). */
static void end_in(void **state, state_fn get_there, void (*end)(struct host *h))
{
	struct host h = get_there();

	end(&h);
	if (get_there == waiting_for_a_slot)
		unblock(&h);
	if (h.gate)
		RAW_UNTIL(h.gate->closed);
	if (h.fd >= 0)
		raw_hang_up(&h);
	if (other.fd >= 0)
		raw_hang_up(&other);
	if (hog)
		pool_put(hog);
	hog = NULL;
	raw_teardown(state);
	raw_setup(state);
}

static void host_hangs_up(struct host *h)
{
	raw_hang_up(h);
}

static void host_resets(struct host *h)
{
	struct linger reset = {1, 0};

	setsockopt(h->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	raw_hang_up(h);
}

static void host_is_wrong(struct host *h)
{
	static uint8_t junk[8192];

	memset(junk, 0xff, sizeof(junk));
	raw_put(h, junk, sizeof(junk));
	if (!h->gate)
		return;
	/* Not read while the connection is blocked, moving or half way through data. */
	raw_turns(10);
	if (!h->gate->closed)
		tgt_tcp.close(h->gate->qp, "enough");
}

static void gateway_closes(struct host *h)
{
	if (!h->gate) {
		raw_hang_up(h);
		return;
	}
	tgt_tcp.close(h->gate->qp, "the gateway wants it");
	tgt_tcp.close(h->gate->qp, "twice");
	assert_int_equal(h->gate->closed, 0); /* not from within the call */
	RAW_UNTIL(h->gate->closed);
	assert_string_equal(h->gate->reason, "the gateway wants it");
	assert_int_equal(h->gate->end, TGT_END_GATEWAY);
}

static void gateway_closes_keeping_requests(struct host *h)
{
	if (!h->gate) {
		raw_hang_up(h);
		return;
	}
	h->gate->keep_orphans = true;
	tgt_tcp.close(h->gate->qp, "the gateway wants it");
	RAW_UNTIL(h->gate->closed);
}

static void test_host_hangs_up(void **state)
{
	for (unsigned i = 0; i < N(states); i++)
		end_in(state, states[i], host_hangs_up);
}

static void test_host_resets(void **state)
{
	for (unsigned i = 0; i < N(states); i++)
		end_in(state, states[i], host_resets);
}

static void test_host_is_wrong(void **state)
{
	for (unsigned i = 0; i < N(states); i++)
		end_in(state, states[i], host_is_wrong);
}

static void test_gateway_closes(void **state)
{
	for (unsigned i = 0; i < N(states); i++)
		end_in(state, states[i], gateway_closes);
}

/* Only commands that the gateway executes may be kept; all others come back by themselves. */
static void test_gateway_closes_keeping_requests(void **state)
{
	for (unsigned i = 0; i < N(states); i++)
		if (states[i] != executing && states[i] != waiting_for_a_slot)
			end_in(state, states[i], gateway_closes_keeping_requests);
}

/* ---- around the end ---- */

/* Commands outlive their connection, and are finished by the same call. */
static void test_orphans(void **state)
{
	struct host h = raw_io();
	struct request *read, *write;

	h.gate->keep_orphans = true;
	raw_read(&h, 1, 131072);
	RAW_UNTIL(h.gate->commands == 1);
	read = h.gate->last;
	raw_fill(read, 131072);
	raw_write_icd(&h, 2, 4096);
	RAW_UNTIL(h.gate->commands == 2);
	write = h.gate->last;
	raw_hang_up(&h);
	RAW_UNTIL(h.gate->closed);
	assert_null(read->tgt);
	assert_null(write->tgt);
	tgt_progress(read);
	tgt_complete_status(read, 0);
	tgt_complete_status(write, 0);
}

/* Answers given between the end and closed() go nowhere, and the requests come back. */
static void test_answers_after_the_end(void **state)
{
	struct host h = executing();
	struct request *req, *next;

	tgt_tcp.close(h.gate->qp, "x");
	for (req = TAILQ_FIRST(&h.gate->qp->requests); req; req = next) {
		next = TAILQ_NEXT(req, tgt_link);
		tgt_complete_status(req, NVME_ST_INVALID_FIELD);
	}
	assert_true(TAILQ_EMPTY(&h.gate->qp->requests));
	RAW_UNTIL(h.gate->closed);
	raw_hear_end(&h);
}

/* A fetch asked for after the end is not lost. */
static void close_and_fetch(struct gate *g, struct request *req)
{
	tgt_tcp.close(g->qp, "x");
	tgt_fetch(req);
}

static void test_fetch_after_the_end(void **state)
{
	struct host h = raw_io();

	h.gate->on_command = close_and_fetch;
	h.gate->keep_orphans = true;
	raw_write(&h, 1, 65536);
	RAW_UNTIL(h.gate->closed);
	raw_hang_up(&h);
}

static void close_at_once(struct gate *g, struct request *req)
{
	tgt_complete_status(req, 0);
	tgt_tcp.close(g->qp, "x");
}

/* The gateway closes from within a callback, with more commands behind. */
static void test_close_from_a_callback(void **state)
{
	struct host h = raw_io();
	size_t len = 0;

	h.gate->on_command = close_at_once;
	for (uint16_t i = 0; i < 5; i++) {
		struct nvme_sqe sqe = raw_sqe(0, i, NVME_SGL_TRANSPORT, 0);

		len += raw_capsule(&h, bytes + len, &sqe, 0);
	}
	raw_put(&h, bytes, len);
	RAW_UNTIL(h.gate->closed);
	assert_int_equal(h.gate->commands, 1);
	raw_hang_up(&h);
}

/* A term-req follows what has begun to leave, so that the host can make sense of it. */
static void test_term_behind_half_an_answer(void **state)
{
	struct host h;
	uint8_t bad[24] = {TCP_R2T, 0, 24, 0, 24};
	unsigned data = 0;

	raw_rcvbuf = 4096;
	raw_segments = 4096;
	h = raw_io();
	h.gate->on_command = raw_serve;
	for (uint16_t i = 0; i < RAW_SQ_SIZE - 1; i++)
		raw_read(&h, i, 20000);
	raw_turns(4);
	raw_put(&h, bad, sizeof(bad));
	RAW_UNTIL(h.gate->closed);
	do {
		raw_hear(&h, &in);
		data += in.pdu.type == TCP_C2H_DATA;
	} while (in.pdu.type != TCP_C2H_TERM);
	assert_int_equal(in.pdu.term.fes, TCP_FES_FIELD);
	raw_hear_end(&h);
}

/* ---- no progress ---- */

static void test_no_icreq(void **state)
{
	struct host h;

	raw_cfg.handshake_timeout = 20 * NSEC_PER_MSEC;
	h = raw_dial();
	RAW_WAIT(recv(h.fd, bytes, 1, MSG_DONTWAIT) == 0);
	raw_hang_up(&h);
}

static void test_no_connect(void **state)
{
	struct host h;

	raw_cfg.handshake_timeout = 20 * NSEC_PER_MSEC;
	h = raw_shake(0, false, false);
	RAW_WAIT(h.gate->closed);
	assert_string_equal(h.gate->reason, "no Connect in time");
	raw_hang_up(&h);
}

static void expect_stall(state_fn get_there, const char *why)
{
	struct host h;

	h = get_there();
	raw_listener->cfg.stall_timeout = 20 * NSEC_PER_MSEC;
	assert_true(inside(&h)->timer.armed);
	tcp_tgt_mark_progress(inside(&h));
	RAW_WAIT(h.gate->closed);
	assert_string_equal(h.gate->reason, why);
	assert_int_equal(h.gate->end, TGT_END_FAULT);
	raw_hang_up(&h);
}

static void test_half_a_pdu(void **state)
{
	expect_stall(half_a_header, "the host sent part of a PDU and no more");
}

static void test_half_a_capsule(void **state)
{
	expect_stall(half_in_capsule_data, "the host sent part of a PDU and no more");
}

static void test_no_data(void **state)
{
	expect_stall(asked_for_data, "the host does not send the data it was asked for");
}

static void test_host_does_not_read(void **state)
{
	expect_stall(half_an_answer, "the host does not read");
}

/* What arrives from a mark to the next counts. */
static void trickle(struct host *h, const uint8_t *b, size_t len)
{
	uint64_t rx;

	tcp_tgt_mark_progress(inside(h));
	rx = stat_get(&h->gate->qp->rx_bytes) + len;
	raw_put(h, b, len);
	RAW_UNTIL(stat_get(&h->gate->qp->rx_bytes) == rx);
	tcp_tgt_on_timer(inside(h));
}

static void expect_end(struct host *h, const char *why)
{
	assert_int_equal(inside(h)->phase, PHASE_CLOSING);
	RAW_UNTIL(h->gate->closed);
	assert_string_equal(h->gate->reason, why);
	raw_hang_up(h);
}

/* A byte now and then is not what keeps a connection. */
static void test_trickle_in_a_pdu(void **state)
{
	struct nvme_sqe sqe = raw_sqe(1, 1, NVME_SGL_DATA_OFFSET, 4096);
	struct host h = raw_io();
	uint16_t tag;

	raw_put(&h, bytes, raw_capsule(&h, bytes, &sqe, 4096) - 100);
	RAW_UNTIL(tcp_sock_half(&inside(&h)->s));
	trickle(&h, bytes, 1);
	expect_end(&h, "the host sent part of a PDU and no more");

	h = raw_io();
	raw_put(&h, bytes, 1);
	RAW_UNTIL(tcp_sock_half(&inside(&h)->s));
	trickle(&h, bytes + 1, 1);
	expect_end(&h, "the host sent part of a PDU and no more");

	h = raw_io();
	h.gate->on_command = raw_serve;
	raw_write(&h, 1, 65536);
	tag = raw_hear_r2t(&h, 1, 65536);
	raw_put(&h, bytes, raw_h2c(&h, bytes, 1, tag, 0, RAW_MAX_H2C, 0) - 100);
	RAW_UNTIL(inside(&h)->s.rx_left == 100);
	trickle(&h, bytes, 10);
	expect_end(&h, "the host sent part of a PDU and no more");
}

static void test_trickle_of_pdus(void **state)
{
	struct host h = raw_io();
	uint32_t at = 1024;
	uint16_t tag;
	size_t len = 0;

	h.gate->on_command = raw_serve;
	raw_write(&h, 1, REQUEST_MAX_DATA);
	tag = raw_hear_r2t(&h, 1, REQUEST_MAX_DATA);
	trickle(&h, bytes, raw_h2c(&h, bytes, 1, tag, 0, 1024, 0) - 1);
	expect_end(&h, "the host does not send the data it was asked for");

	h = raw_io();
	h.gate->on_command = raw_serve;
	raw_write(&h, 1, REQUEST_MAX_DATA);
	tag = raw_hear_r2t(&h, 1, REQUEST_MAX_DATA);
	raw_put(&h, bytes, raw_h2c(&h, bytes, 1, tag, 0, 1024, 0));
	RAW_UNTIL(inside(&h)->fetched == 1024);
	/* Enough of it... */
	for (unsigned i = 0; i < 8; i++, at += RAW_MAX_H2C)
		len += raw_h2c(&h, bytes + len, 1, tag, at, RAW_MAX_H2C, 0);
	trickle(&h, bytes, len);
	assert_int_equal(inside(&h)->phase, PHASE_UP);
	/* ...and not. */
	trickle(&h, bytes, raw_h2c(&h, bytes, 1, tag, at, 1, 0));
	expect_end(&h, "the host does not send the data it was asked for");
}

/* Small things are enough when they are all that there was. */
static void test_small_progress(void **state)
{
	struct host h = raw_io();

	h.gate->on_command = raw_serve;
	h.gate->on_ready = raw_serve_ready;
	for (uint16_t i = 0; i < 3; i++) {
		uint16_t tag;

		raw_write(&h, i, 512);
		tag = raw_hear_r2t(&h, i, 512);
		tcp_tgt_mark_progress(inside(&h));
		raw_write(&h, 10, 512);
		raw_serve_r2t(&h, i, tag, 512);
		tag = raw_hear_r2t(&h, 10, 512);
		raw_hear_status(&h, i, 0);
		tcp_tgt_on_timer(inside(&h));
		assert_int_equal(inside(&h)->phase, PHASE_UP);
		raw_serve_r2t(&h, 10, tag, 512);
		raw_hear_status(&h, 10, 0);
	}
	assert_int_equal(inside(&h)->owed, 0);
	raw_hang_up(&h);
}

static void test_host_reads_a_byte(void **state)
{
	struct host h = half_an_answer();

	raw_turns(100); /* what the kernel takes */
	tcp_tgt_mark_progress(inside(&h));
	assert_true(inside(&h)->s.full);
	stat_add(&h.gate->qp->tx_bytes, 64 * 1024);
	tcp_tgt_on_timer(inside(&h));
	assert_int_equal(inside(&h)->phase, PHASE_UP);
	stat_add(&h.gate->qp->tx_bytes, 1);
	tcp_tgt_on_timer(inside(&h));
	expect_end(&h, "the host does not read");
}

/* An idle connection, or one that the gateway takes its time with, is not a stalled one. */
static void test_idle_is_no_stall(void **state)
{
	struct host h = executing();

	assert_false(tcp_tgt_must_progress(inside(&h)));
	assert_false(inside(&h)->timer.armed);
	tcp_tgt_on_timer(inside(&h));
	assert_int_equal(inside(&h)->phase, PHASE_UP);
	raw_hang_up(&h);
}

/* A host that is not read from cannot send the rest of a PDU. */
static void test_unread_is_no_stall(void **state)
{
	struct nvme_sqe sqe = raw_sqe(2, 0, NVME_SGL_TRANSPORT, REQUEST_MAX_DATA);
	struct host h;
	size_t len = 0;

	raw_rcvbuf = 4096;
	raw_segments = 4096;
	h = raw_io();
	h.gate->on_command = raw_serve;
	for (uint16_t i = 0; i < RAW_SQ_SIZE - 1; i++) {
		sqe.cid = htole16(i);
		len += raw_capsule(&h, bytes + len, &sqe, 0);
	}
	raw_put(&h, bytes, len - 30);
	RAW_UNTIL(inside(&h)->s.paused);
	assert_int_equal(inside(&h)->s.hdr_len, TCP_CMD_LEN - 30);
	for (unsigned i = 0; i < 2; i++) {
		tcp_tgt_mark_progress(inside(&h));
		/* It reads, that much can be seen. */
		while (stat_get(&h.gate->qp->tx_bytes) < inside(&h)->due.tx)
			raw_hear(&h, &in);
		assert_true(inside(&h)->s.paused);
		tcp_tgt_on_timer(inside(&h));
		assert_int_equal(inside(&h)->phase, PHASE_UP);
	}
	/* Read from again, it has all the time there is. */
	tcp_tgt_mark_progress(inside(&h));
	while (inside(&h)->s.paused)
		raw_hear(&h, &in);
	tcp_tgt_on_timer(inside(&h));
	assert_int_equal(inside(&h)->phase, PHASE_UP);
	raw_hang_up(&h);
}

/* Nor can it send data that is behind a command which waits for segments. */
static void test_blocked_is_no_stall(void **state)
{
	struct host h;

	raw_segments = 64;
	raw_start();
	hog = pool_get(loop_pool(raw_worker));
	h = raw_io();
	h.gate->on_command = raw_serve;
	raw_write(&h, 1, 4096);
	raw_hear_r2t(&h, 1, 4096);
	assert_int_equal(request_alloc_data(hog, 63 * SEG_SIZE), 0);
	raw_write_icd(&h, 2, 4096);
	RAW_UNTIL(inside(&h)->s.blocked);
	tcp_tgt_mark_progress(inside(&h));
	tcp_tgt_on_timer(inside(&h));
	assert_int_equal(inside(&h)->phase, PHASE_UP);
	/* Then it gets its segment, and as much time again. */
	tcp_tgt_mark_progress(inside(&h));
	pool_put(hog);
	hog = NULL;
	RAW_UNTIL(h.gate->commands == 2);
	raw_hear_status(&h, 2, 0);
	tcp_tgt_on_timer(inside(&h));
	assert_int_equal(inside(&h)->phase, PHASE_UP);
	tcp_tgt_on_timer(inside(&h));
	assert_int_equal(inside(&h)->phase, PHASE_CLOSING);
	raw_hang_up(&h);
}

/* The gateway answers a write that waits for segments: the one behind it goes on. */
static void answered_while_waiting(state_fn get_there)
{
	struct host h = get_there();
	struct request *req = h.gate->last, *big = TAILQ_PREV(req, tgt_req_list, tgt_link);

	tgt_complete_status(big, NVME_STATUS(0, NVME_SC_ABORT_REQ));
	raw_hear_status(&h, 2, NVME_STATUS(0, NVME_SC_ABORT_REQ));
	raw_serve_r2t(&h, 3, raw_hear_r2t(&h, 3, 1), 1);
	RAW_UNTIL(h.gate->ready);
	tgt_complete_status(req, 0);
	raw_hear_status(&h, 3, 0);
	raw_hang_up(&h);
}

static void test_answered_while_waiting(void **state)
{
	answered_while_waiting(waiting_for_buffers);
	raw_teardown(state);
	raw_setup(state);
	answered_while_waiting(waiting_in_line);
	raw_hang_up(&other);
}

/* ---- listeners ---- */

static void test_max_connections(void **state)
{
	struct host h[3];

	raw_cfg.max_connections = 2;
	h[0] = raw_admin();
	h[1] = raw_io();
	h[2] = raw_dial();
	RAW_UNTIL(recv(h[2].fd, bytes, 1, MSG_DONTWAIT) == 0);
	raw_hang_up(&h[2]);
	raw_hang_up(&h[1]);
	RAW_UNTIL(h[1].gate->closed && raw_listener->connections == 1);
	h[1] = raw_io();
	h[0].gate->on_command = raw_serve;
	raw_flush(&h[0], 1);
	raw_hear_status(&h[0], 1, 0);
	raw_hang_up(&h[0]);
	raw_hang_up(&h[1]);
}

/* Out of fds it looks away, and tries again later. */
static void test_out_of_fds(void **state)
{
	struct rlimit old, few;
	struct host h;
	int spare;

	raw_start();
	h = raw_dial(); /* in the backlog */
	getrlimit(RLIMIT_NOFILE, &old);
	few = old;
	spare = fcntl(h.fd, F_DUPFD_CLOEXEC, 0);
	few.rlim_cur = (rlim_t)spare;
	close(spare);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	RAW_UNTIL(!raw_listener->watch.want);
	assert_int_equal(raw_listener->connections, 0);
	setrlimit(RLIMIT_NOFILE, &old);
	RAW_WAIT(raw_listener->connections == 1);
	raw_hang_up(&h);
}

/* Connections outlive their listener. */
static void test_unlisten(void **state)
{
	struct host h[2];
	struct addr addr;

	h[0] = raw_admin();
	h[1] = raw_io();
	addr = *tgt_tcp.listener_addr(raw_listener);
	raw_teardown(state); /* unlistens first, then closes */
	raw_setup(state);
	raw_hear_end(&h[0]);
	raw_hear_end(&h[1]);
	h[0].fd = socket(addr.ss.ss_family, SOCK_STREAM, 0);
	assert_int_equal(connect(h[0].fd, (struct sockaddr *)&addr.ss, addr.len), -1);
	raw_hang_up(&h[0]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, raw_setup, raw_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_host_hangs_up),
		T(test_host_resets),
		T(test_host_is_wrong),
		T(test_gateway_closes),
		T(test_gateway_closes_keeping_requests),
		T(test_orphans),
		T(test_answers_after_the_end),
		T(test_fetch_after_the_end),
		T(test_close_from_a_callback),
		T(test_term_behind_half_an_answer),
		T(test_no_icreq),
		T(test_no_connect),
		T(test_half_a_pdu),
		T(test_half_a_capsule),
		T(test_no_data),
		T(test_host_does_not_read),
		T(test_trickle_in_a_pdu),
		T(test_trickle_of_pdus),
		T(test_small_progress),
		T(test_host_reads_a_byte),
		T(test_idle_is_no_stall),
		T(test_unread_is_no_stall),
		T(test_blocked_is_no_stall),
		T(test_answered_while_waiting),
		T(test_max_connections),
		T(test_out_of_fds),
		T(test_unlisten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
