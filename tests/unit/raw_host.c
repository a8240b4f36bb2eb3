/* SPDX-License-Identifier: Apache-2.0 */
/* The NVMe/TCP target between two scripted ends. See raw_host.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/raw_host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <isa-l/crc.h>

#include "transport/tcp_linger.h"

#define MAX_GATES 2048

struct loop *raw_control, *raw_worker;
struct tgt_config raw_cfg;
struct tgt_listener *raw_listener;
unsigned raw_requests, raw_segments;
uint16_t raw_connect_status;
bool raw_fetch_connect;
int raw_rcvbuf;

static pthread_t worker_thread;
static bool threaded;
/* Reads that found no segments, on each of the loops. */
static struct starving {
	struct pool_waiter waiter;
	TAILQ_HEAD(, request) reads;
} starving[2];

static uint8_t pattern[REQUEST_MAX_DATA + SEG_SIZE];

static struct gate gates[MAX_GATES];
static unsigned nr_gates;

struct gate *raw_gate(unsigned i)
{
	return &gates[i];
}

const uint8_t *raw_pattern(uint32_t off)
{
	return pattern + off;
}

static void make_pattern(void)
{
	static bool made;

	for (uint32_t i = 0; !made && i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 7 + (i >> 10));
	made = true;
}

/* ---- the gateway ---- */

static void on_opened(struct tgt_qpair *qp)
{
	struct gate *g = &gates[nr_gates++];

	assert_in_range(nr_gates, 1, MAX_GATES);
	g->qp = qp;
	g->opened++;
	qp->priv = g;
}

static void accept_connect(struct tgt_qpair *qp, struct request *req)
{
	uint16_t qid = (uint16_t)(le32toh(req->sqe.cdw10) >> 16);

	nvme_cqe_set_status(&req->cqe, raw_connect_status);
	if (raw_connect_status) {
		tgt_complete(req);
		return;
	}
	qp->qid = qid;
	qp->sq_size = (uint16_t)((le32toh(req->sqe.cdw11) & 0xffff) + 1);
	qp->sqflow_disabled = le32toh(req->sqe.cdw11) >> 16 & NVMF_CATTR_DISABLE_SQFLOW;
	qp->connected = true;
	req->cqe.result = htole32(77);
	if (qid)
		qp->tr->complete_and_move(req, raw_worker);
	else
		tgt_complete(req);
}

static bool is_connect(const struct request *req)
{
	return req->sqe.opcode == NVME_OPC_FABRICS &&
	       nvme_sqe_fctype(&req->sqe) == nvme_fabrics_type_connect;
}

static void on_command(struct tgt_qpair *qp, struct request *req)
{
	struct gate *g = qp->priv;

	assert_int_equal(req->tgt_state, TGT_REQ_EXECUTING);
	if (is_connect(req)) {
		assert_int_equal(req->data_len, NVMF_CONNECT_DATA_SIZE);
		if (req->filled < req->data_len)
			tgt_fetch(req);
		else
			accept_connect(qp, req);
		return;
	}
	g->commands++;
	g->last = req;
	if (g->on_command)
		g->on_command(g, req);
}

static void on_data_ready(struct tgt_qpair *qp, struct request *req)
{
	struct gate *g = qp->priv;

	assert_int_equal(req->filled, req->data_len);
	if (is_connect(req)) {
		accept_connect(qp, req);
		return;
	}
	g->ready++;
	g->last = req;
	if (g->on_ready)
		g->on_ready(g, req);
}

static void on_data_failed(struct tgt_qpair *qp, struct request *req, uint16_t status)
{
	struct gate *g = qp->priv;

	g->failed++;
	g->fail_status = status;
	tgt_complete_status(req, status);
}

static void on_moved(struct tgt_qpair *qp)
{
	struct gate *g = qp->priv;

	assert_ptr_equal(qp->loop, raw_worker);
	g->moved++;
}

static void on_gone(void *arg)
{
	struct gate *g = arg;

	g->qp = NULL;
}

static void on_closed(struct tgt_qpair *qp, const char *reason)
{
	struct gate *g = qp->priv;
	struct request *req, *next;

	snprintf(g->reason, sizeof(g->reason), "%s", reason);
	g->end = qp->end;
	for (req = TAILQ_FIRST(&qp->requests); req && !g->keep_orphans; req = next) {
		next = TAILQ_NEXT(req, tgt_link);
		if (req->complete_arg)
			TAILQ_REMOVE(&((struct starving *)req->complete_arg)->reads, req, link);
		tgt_complete_status(req, NVME_STATUS(0, NVME_SC_ABORT_QUEUE));
	}
	if (qp->loop == raw_control)
		on_gone(g);
	else
		loop_post(raw_control, on_gone, g);
	g->closed++;
}

static const struct tgt_ops ops = {
	.opened = on_opened,
	.command = on_command,
	.data_ready = on_data_ready,
	.data_failed = on_data_failed,
	.moved = on_moved,
	.closed = on_closed,
};

static void write_pattern(struct request *req)
{
	request_copy_in(req, 0, pattern, req->data_len);
	req->filled = req->data_len;
}

void raw_fill(struct request *req, uint32_t len)
{
	assert_int_equal(request_alloc_data(req, len), 0);
	req->data_len = len;
	write_pattern(req);
}

static void on_segments(void *arg)
{
	struct starving *s = arg;
	struct request *req;

	while ((req = TAILQ_FIRST(&s->reads))) {
		if (request_alloc_data(req, req->data_len)) {
			pool_wait(req->pool, &s->waiter);
			return;
		}
		TAILQ_REMOVE(&s->reads, req, link);
		req->complete_arg = NULL;
		write_pattern(req);
		tgt_complete_status(req, 0);
	}
}

static void serve_read(struct request *req)
{
	struct starving *s = &starving[req->tgt->loop == raw_worker];

	req->complete_arg = s;
	TAILQ_INSERT_TAIL(&s->reads, req, link);
	if (TAILQ_FIRST(&s->reads) == req)
		on_segments(s);
}

void raw_check(const struct request *req, uint32_t len)
{
	assert_int_equal(req->data_len, len);
	assert_int_equal(req->filled, len);
	for (uint32_t at = 0, n; at < len; at += n) {
		n = len - at < SEG_SIZE ? len - at : SEG_SIZE;
		assert_memory_equal(req->segs[at >> SEG_SHIFT], pattern + at, n);
	}
}

void raw_serve(struct gate *g, struct request *req)
{
	if (req->dir == NVME_DIR_H2C && req->filled < req->data_len) {
		tgt_fetch(req);
		return;
	}
	if (req->dir == NVME_DIR_C2H && req->data_len) {
		serve_read(req);
		return;
	}
	if (req->dir == NVME_DIR_H2C)
		raw_check(req, req->data_len);
	tgt_complete_status(req, 0);
}

void raw_serve_ready(struct gate *g, struct request *req)
{
	raw_check(req, req->data_len);
	tgt_complete_status(req, 0);
}

/* ---- life ---- */

void raw_turns(unsigned n)
{
	while (n--) {
		loop_turn(raw_control, false);
		if (!threaded)
			loop_turn(raw_worker, false);
	}
}

static void *run_worker(void *arg)
{
	loop_run(raw_worker);
	return arg;
}

void raw_start_thread(void)
{
	if (!raw_listener)
		raw_start();
	assert_int_equal(pthread_create(&worker_thread, NULL, run_worker, NULL), 0);
	threaded = true;
}

static void join_thread(void)
{
	if (!threaded)
		return;
	loop_stop(raw_worker);
	pthread_join(worker_thread, NULL);
	threaded = false;
}

int raw_setup(void **state)
{
	raw_control = loop_new(0, -1);
	raw_worker = loop_new(1, -1);
	make_pattern();
	raw_requests = 128;
	raw_segments = 512;
	raw_connect_status = 0;
	raw_fetch_connect = false;
	raw_rcvbuf = 0;
	raw_listener = NULL;
	memset(gates, 0, sizeof(gates));
	nr_gates = 0;
	for (unsigned i = 0; i < 2; i++) {
		starving[i].waiter = (struct pool_waiter){.fn = on_segments, .arg = &starving[i]};
		TAILQ_INIT(&starving[i].reads);
	}
	raw_cfg = (struct tgt_config){
		.in_capsule_data = RAW_ICD,
		.max_h2c_data = RAW_MAX_H2C,
		.hdr_digest = true,
		.data_digest = true,
		.max_connections = 1000,
		.handshake_timeout = 60 * NSEC_PER_SEC,
		.stall_timeout = 60 * NSEC_PER_SEC,
	};
	return 0;
}

void raw_start(void)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	struct addr addr = {.len = sizeof(sin)};

	assert_non_null(pool_new(raw_control, raw_requests, raw_segments));
	assert_non_null(pool_new(raw_worker, raw_requests, raw_segments));
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	memcpy(&addr.ss, &sin, sizeof(sin));
	raw_listener = tgt_tcp.listen(raw_control, &addr, &raw_cfg, &ops, NULL);
	assert_non_null(raw_listener);
}

static void check_pool(struct loop *loop)
{
	struct pool *pool = loop_pool(loop);

	assert_int_equal(pool_free_requests(pool), pool_total_requests(pool));
	assert_int_equal(pool_free_segments(pool), pool_total_segments(pool));
	pool_free(pool);
}

int raw_teardown(void **state)
{
	if (!raw_listener)
		raw_start();
	tgt_tcp.unlisten(raw_listener);
	for (unsigned i = 0; i < nr_gates; i++) {
		if (gates[i].qp)
			tgt_tcp.close(gates[i].qp, "the test is over");
		RAW_WAIT(gates[i].closed && !gates[i].qp);
		assert_int_equal(gates[i].opened, 1);
		assert_int_equal(gates[i].closed, 1);
	}
	RAW_WAIT(!tcp_linger_count());
	join_thread();
	raw_turns(10);
	check_pool(raw_control);
	check_pool(raw_worker);
	loop_free(raw_worker);
	loop_free(raw_control);
	return 0;
}

/* ---- the host ---- */

struct host raw_dial(void)
{
	struct host h = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	const struct addr *addr;
	int one = 1;

	if (!raw_listener)
		raw_start();
	if (raw_rcvbuf)
		setsockopt(h.fd, SOL_SOCKET, SO_RCVBUF, &raw_rcvbuf, sizeof(raw_rcvbuf));
	addr = tgt_tcp.listener_addr(raw_listener);
	assert_int_equal(connect(h.fd, (const struct sockaddr *)&addr->ss, addr->len), 0);
	setsockopt(h.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return h;
}

void raw_hang_up(struct host *h)
{
	close(h->fd);
	h->fd = -1;
}

void raw_put(struct host *h, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	while (len) {
		ssize_t n;

		RAW_WAIT((n = send(h->fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL)) >= 0 ||
			 errno != EAGAIN);
		if (n < 0) /* the target may have hung up in the middle of what is wrong */
			return;
		p += n;
		len -= (size_t)n;
	}
}

/* False at the end of the connection. */
static bool get(struct host *h, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n;

		RAW_WAIT((n = recv(h->fd, p, len, MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

void raw_get(struct host *h, void *buf, size_t len)
{
	assert_true(get(h, buf, len));
}

static uint32_t crc_of(const void *data, uint32_t len)
{
	return htole32(~crc32_iscsi((unsigned char *)data, (int)len, ~0u));
}

static bool hear(struct host *h, struct heard *out)
{
	struct tcp_err err;
	size_t have = 0;
	int need;

	while ((need = tcp_pdu_decode(&h->rules, out->head, have, &out->pdu, &err)) > 0) {
		if (!get(h, out->head + have, (size_t)need - have))
			return false;
		have = (size_t)need;
	}
	if (need)
		fail_msg("the target's PDU is wrong: %s", err.what);
	assert_in_range(out->pdu.data_len, 0, sizeof(out->data));
	raw_get(h, out->data, out->pdu.data_len);
	if (out->pdu.ddgst) {
		uint32_t digest;

		raw_get(h, &digest, sizeof(digest));
		assert_int_equal(digest, crc_of(out->data, out->pdu.data_len));
	}
	return true;
}

void raw_hear(struct host *h, struct heard *out)
{
	assert_true(hear(h, out));
}

void raw_hear_status(struct host *h, uint16_t cid, uint16_t status)
{
	static struct heard in;
	struct nvme_cqe cqe;

	raw_hear(h, &in);
	assert_int_equal(in.pdu.type, TCP_CAPSULE_RESP);
	memcpy(&cqe, tcp_pdu_entry(&in.pdu), sizeof(cqe));
	assert_int_equal(le16toh(cqe.cid), cid);
	assert_int_equal(nvme_cqe_status(&cqe), status);
}

void raw_hear_end(struct host *h)
{
	uint8_t byte;

	assert_false(get(h, &byte, 1));
	raw_hang_up(h);
}

void raw_hear_term(struct host *h, uint16_t fes, uint32_t fei, const uint8_t *bad, size_t bad_len)
{
	static struct heard in;

	do {
		raw_hear(h, &in);
	} while (in.pdu.type != TCP_C2H_TERM);
	assert_int_equal(in.pdu.term.fes, fes);
	assert_int_equal(in.pdu.term.fei, fei);
	assert_int_equal(in.pdu.data_len, bad_len);
	assert_memory_equal(in.data, bad, bad_len);
	raw_hear_end(h);
}

/* ---- getting connected ---- */

struct host raw_shake(uint8_t hpda, bool hdgst, bool ddgst)
{
	static struct heard in;
	struct host h = raw_dial();
	uint8_t ic[TCP_IC_LEN];

	tcp_put_ic(ic, TCP_ICREQ, hpda, hdgst, ddgst, 0);
	raw_put(&h, ic, sizeof(ic));
	raw_hear(&h, &in);
	assert_int_equal(in.pdu.type, TCP_ICRESP);
	h.wire = (struct tcp_wire){in.pdu.ic.hdgst, in.pdu.ic.ddgst, in.pdu.ic.pda};
	h.rules.ic_done = true;
	h.rules.hdgst = in.pdu.ic.hdgst;
	h.rules.ddgst = in.pdu.ic.ddgst;
	h.rules.pda = hpda;
	h.max_h2c = in.pdu.ic.max;
	h.gate = &gates[nr_gates - 1];
	return h;
}

void raw_connect(struct host *h, uint16_t qid, uint16_t sq_size, uint8_t cattr)
{
	struct nvme_sqe sqe =
		raw_sqe(NVME_OPC_FABRICS, 0xc0, NVME_SGL_DATA_OFFSET, NVMF_CONNECT_DATA_SIZE);
	uint8_t b[TCP_HEAD_MAX + NVMF_CONNECT_DATA_SIZE + 4];

	sqe.nsid = htole32(nvme_fabrics_type_connect);
	sqe.cdw10 = htole32((uint32_t)qid << 16);
	sqe.cdw11 = htole32((uint32_t)cattr << 16 | (sq_size - 1u));
	if (raw_fetch_connect) {
		sqe.sgl.type = NVME_SGL_TRANSPORT;
		raw_put(h, b, raw_capsule(h, b, &sqe, 0));
		raw_serve_r2t(h, 0xc0, raw_hear_r2t(h, 0xc0, NVMF_CONNECT_DATA_SIZE),
			      NVMF_CONNECT_DATA_SIZE);
	} else {
		raw_put(h, b, raw_capsule(h, b, &sqe, NVMF_CONNECT_DATA_SIZE));
	}
	raw_hear_status(h, 0xc0, raw_connect_status);
	if (qid && !raw_connect_status)
		RAW_WAIT(h->gate->moved);
}

struct host raw_admin(void)
{
	struct host h = raw_shake(0, false, false);

	raw_connect(&h, 0, RAW_SQ_SIZE, 0);
	return h;
}

struct host raw_io(void)
{
	struct host h = raw_shake(0, false, false);

	raw_connect(&h, 1, RAW_SQ_SIZE, NVMF_CATTR_DISABLE_SQFLOW);
	return h;
}

/* ---- commands ---- */

struct nvme_sqe raw_sqe(uint8_t opcode, uint16_t cid, uint8_t sgl_type, uint32_t len)
{
	struct nvme_sqe sqe = {.opcode = opcode, .flags = NVME_PSDT_SGL, .cid = htole16(cid)};

	sqe.sgl.type = sgl_type;
	sqe.sgl.length = htole32(len);
	return sqe;
}

static size_t put_data(const struct host *h, uint8_t *b, size_t head, uint32_t off, uint32_t len)
{
	uint32_t digest;

	memcpy(b + head, pattern + off % REQUEST_MAX_DATA, len);
	if (!len || !h->wire.ddgst)
		return head + len;
	digest = crc_of(b + head, len);
	memcpy(b + head + len, &digest, sizeof(digest));
	return head + len + sizeof(digest);
}

size_t raw_capsule(const struct host *h, uint8_t *b, const struct nvme_sqe *sqe, uint32_t icd_len)
{
	return put_data(h, b, tcp_put_cmd(b, &h->wire, sqe, icd_len), 0, icd_len);
}

size_t raw_h2c(const struct host *h, uint8_t *b, uint16_t cid, uint16_t ttag, uint32_t off,
	       uint32_t len, uint8_t flags)
{
	return put_data(h, b, tcp_put_data(b, &h->wire, TCP_H2C_DATA, flags, cid, ttag, off, len),
			off, len);
}

static void send_command(struct host *h, uint8_t opcode, uint16_t cid, uint8_t sgl_type,
			 uint32_t len, uint32_t icd_len)
{
	static uint8_t b[TCP_HEAD_MAX + SEG_SIZE + 4];
	struct nvme_sqe sqe = raw_sqe(opcode, cid, sgl_type, len);

	raw_put(h, b, raw_capsule(h, b, &sqe, icd_len));
}

void raw_write(struct host *h, uint16_t cid, uint32_t len)
{
	send_command(h, 1, cid, NVME_SGL_TRANSPORT, len, 0);
}

void raw_write_icd(struct host *h, uint16_t cid, uint32_t len)
{
	send_command(h, 1, cid, NVME_SGL_DATA_OFFSET, len, len);
}

void raw_read(struct host *h, uint16_t cid, uint32_t len)
{
	send_command(h, 2, cid, NVME_SGL_TRANSPORT, len, 0);
}

void raw_flush(struct host *h, uint16_t cid)
{
	send_command(h, 0, cid, NVME_SGL_TRANSPORT, 0, 0);
}

uint16_t raw_hear_r2t(struct host *h, uint16_t cid, uint32_t len)
{
	static struct heard in;

	raw_hear(h, &in);
	assert_int_equal(in.pdu.type, TCP_R2T);
	assert_int_equal(in.pdu.cccid, cid);
	assert_int_equal(in.pdu.off, 0);
	assert_int_equal(in.pdu.len, len);
	return in.pdu.ttag;
}

void raw_serve_r2t(struct host *h, uint16_t cid, uint16_t ttag, uint32_t len)
{
	uint8_t *b = malloc(TCP_HEAD_MAX + h->max_h2c + 4);

	for (uint32_t off = 0, n; off < len; off += n) {
		n = len - off < h->max_h2c ? len - off : h->max_h2c;
		raw_put(h, b, raw_h2c(h, b, cid, ttag, off, n, off + n == len ? TCP_F_LAST : 0));
	}
	free(b);
}

void raw_hear_read(struct host *h, uint16_t cid, uint32_t len, bool success_flag)
{
	static struct heard in;
	uint32_t at = 0;

	while (at < len) {
		raw_hear(h, &in);
		assert_int_equal(in.pdu.type, TCP_C2H_DATA);
		assert_int_equal(in.pdu.cccid, cid);
		assert_int_equal(in.pdu.off, at);
		assert_in_range(in.pdu.len, 1, len - at);
		assert_memory_equal(in.data, pattern + at, in.pdu.len);
		at += in.pdu.len;
		assert_int_equal(!!(in.pdu.flags & TCP_F_LAST), at == len);
		assert_int_equal(!!(in.pdu.flags & TCP_F_SUCCESS), success_flag && at == len);
	}
	if (!success_flag)
		raw_hear_status(h, cid, 0);
}
