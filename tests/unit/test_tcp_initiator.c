/* SPDX-License-Identifier: Apache-2.0 */
/* NVMe/TCP as initiator against a controller that says exactly what each test wants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/initiator.h"
#include "transport/pool.h"
#include "transport/tcp_pdu.h"

#define DEPTH	 8u
#define REQUESTS 32u
#define SEGMENTS 256u
#define MAX_H2C	 8192u
#define ICD	 4096u
#define NQN	 "nqn.2024-01.org.nvmegw:test"
#define HOSTNQN	 "nqn.2024-01.org.nvmegw:host"

static struct loop *loop;
static struct pool *pool;
static int listener, peer;
static struct tcp_wire wire; /* how the controller writes */
static struct ini_params params;
static struct ini_qpair *qp;

static struct {
	unsigned connected, lost;
	int error;
	uint16_t status;
	char reason[160];
} seen;

static void on_connected(struct ini_qpair *q, int error, const struct nvme_cqe *cqe)
{
	seen.connected++;
	seen.error = error;
	seen.status = cqe ? nvme_cqe_status(cqe) : 0;
}

static void on_lost(struct ini_qpair *q, int error, const char *reason)
{
	seen.lost++;
	seen.error = error;
	snprintf(seen.reason, sizeof(seen.reason), "%s", reason);
}

static const struct ini_ops ops = {.connected = on_connected, .lost = on_lost};

/* ---- the controller's end ---- */

static void turns(unsigned n)
{
	while (n--)
		loop_turn(loop, false);
}

/* Nothing but the loop and the sockets of this process take part, so this is bounded. */
#define UNTIL(cond)                                            \
	do {                                                   \
		unsigned tries_ = 0;                           \
		while (!(cond)) {                              \
			assert_in_range(tries_++, 0, 1000000); \
			loop_turn(loop, false);                \
		}                                              \
	} while (0)

static void get(void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n;

		UNTIL((n = recv(peer, p, len, MSG_DONTWAIT)) >= 0);
		assert_int_not_equal(n, 0);
		p += n;
		len -= (size_t)n;
	}
}

static void put(const void *buf, size_t len)
{
	const uint8_t *p = buf;

	while (len) {
		ssize_t n;

		UNTIL((n = send(peer, p, len, MSG_DONTWAIT | MSG_NOSIGNAL)) >= 0);
		p += n;
		len -= (size_t)n;
	}
}

struct heard {
	uint8_t head[TCP_HEAD_MAX];
	struct tcp_pdu pdu;
	uint8_t data[128 * 1024];
};

/* One PDU, checked with the codec as a controller would. */
static void hear(struct heard *h)
{
	struct tcp_rules rules = {true, true, wire.hdgst, wire.ddgst, 0, MAX_H2C};
	struct tcp_err err;
	size_t have = 0;
	int need;

	while ((need = tcp_pdu_decode(&rules, h->head, have, &h->pdu, &err)) > 0) {
		get(h->head + have, (size_t)need - have);
		have = (size_t)need;
	}
	if (need)
		fail_msg("%s", err.what);
	assert_in_range(h->pdu.data_len, 0, sizeof(h->data));
	get(h->data, h->pdu.data_len);
	if (h->pdu.ddgst) {
		uint8_t digest[4];

		get(digest, sizeof(digest));
	}
}

static void hear_command(struct heard *h, struct nvme_sqe *sqe)
{
	hear(h);
	assert_int_equal(h->pdu.type, TCP_CAPSULE_CMD);
	memcpy(sqe, tcp_pdu_entry(&h->pdu), sizeof(*sqe));
}

static void say_response(uint16_t cid, uint16_t status)
{
	struct nvme_cqe cqe = {.cid = cid, .sqhd = 0xffff};
	uint8_t b[64];

	nvme_cqe_set_status(&cqe, status);
	put(b, tcp_put_resp(b, &wire, &cqe));
}

static void say_data(uint16_t cid, uint32_t off, const uint8_t *data, uint32_t len, uint8_t flags)
{
	uint8_t b[TCP_HEAD_MAX];

	put(b, tcp_put_data(b, &wire, TCP_C2H_DATA, flags, le16toh(cid), 0, off, len));
	put(data, len);
	if (wire.ddgst) {
		struct request req = {.nsegs = (uint16_t)((len + SEG_SIZE - 1) / SEG_SIZE)};
		uint32_t crc;

		for (unsigned i = 0; i < req.nsegs; i++)
			req.segs[i] = (uint8_t *)data + i * SEG_SIZE;
		crc = htole32(request_crc32c(&req, 0, len));
		put(&crc, sizeof(crc));
	}
}

static void say_r2t(uint16_t cid, uint16_t ttag, uint32_t off, uint32_t len)
{
	uint8_t b[64];

	put(b, tcp_put_r2t(b, &wire, le16toh(cid), ttag, off, len));
}

static int listen_any(struct addr *addr)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(fd, 4), 0);
	addr->len = sizeof(addr->ss);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr->ss, &addr->len), 0);
	return fd;
}

static void dial(void)
{
	qp = ini_tcp.connect(loop, &params, &ops, NULL);
	assert_non_null(qp);
	assert_false(qp->live);
	peer = accept(listener, NULL, NULL);
	assert_int_not_equal(peer, -1);
}

/* Up to the Connect command, which it returns. */
static void shake_hands(struct heard *h, struct nvme_sqe *sqe)
{
	uint8_t ic[TCP_IC_LEN];

	dial();
	get(ic, sizeof(ic));
	assert_int_equal(ic[0], TCP_ICREQ);
	assert_int_equal(ic[TCP_OFF_DGST], params.hdr_digest | params.data_digest << 1);
	put(ic, tcp_put_ic(ic, TCP_ICRESP, 0, params.hdr_digest, params.data_digest, MAX_H2C));
	wire = (struct tcp_wire){params.hdr_digest, params.data_digest, 0};
	hear_command(h, sqe);
}

static void connect_qpair(void)
{
	static struct heard h;
	struct nvme_sqe sqe;

	shake_hands(&h, &sqe);
	say_response(sqe.cid, 0);
	UNTIL(seen.connected);
	assert_int_equal(seen.error, 0);
	assert_true(qp->live);
}

static void close_qpair(void)
{
	ini_tcp.close(qp);
	qp = NULL;
}

static int setup(void **state)
{
	loop = loop_new(1, -1);
	pool = pool_new(loop, REQUESTS, SEGMENTS);
	memset(&seen, 0, sizeof(seen));
	memset(&wire, 0, sizeof(wire));
	params = (struct ini_params){
		.subnqn = NQN,
		.hostnqn = HOSTNQN,
		.qid = 1,
		.cntlid = 7,
		.sq_size = DEPTH,
		.ioccsz = 4 + ICD / 16,
		.connect_timeout = 60 * NSEC_PER_SEC,
	};
	listener = listen_any(&params.addr);
	peer = -1;
	return 0;
}

static int teardown(void **state)
{
	if (qp)
		close_qpair();
	if (peer >= 0)
		close(peer);
	close(listener);
	turns(4);
	assert_int_equal(pool_free_requests(pool), REQUESTS);
	assert_int_equal(pool_free_segments(pool), SEGMENTS);
	pool_free(pool);
	loop_free(loop);
	return 0;
}

/* ---- commands ---- */

struct outcome {
	int error;
	unsigned times, progress;
	uint32_t last;
};

static void on_done(struct request *req, int error)
{
	struct outcome *out = req->complete_arg;

	assert_null(req->ini);
	assert_false(req->itx.queued);
	out->error = error;
	out->times++;
}

static void on_progress(struct request *req)
{
	struct outcome *out = req->complete_arg;

	assert_in_range(req->filled, out->last + 1, req->data_len);
	out->last = req->filled;
	out->progress++;
}

static uint8_t pattern(uint32_t i)
{
	return (uint8_t)(i * 7 + (i >> 10));
}

static struct request *command(struct outcome *out, uint8_t opcode, uint32_t len)
{
	struct request *req = pool_get(pool);

	*out = (struct outcome){0};
	req->complete_arg = out;
	req->ini_done = on_done;
	req->progress = on_progress;
	req->sqe.opcode = opcode;
	req->sqe.nsid = htole32(1);
	req->dir = (uint8_t)nvme_sqe_dir(&req->sqe);
	req->data_len = len;
	if (len)
		assert_int_equal(request_alloc_data(req, len), 0);
	if (req->dir == NVME_DIR_H2C) {
		for (uint32_t i = 0; i < len; i++)
			request_copy_in(req, i, &(uint8_t){pattern(i)}, 1);
		req->filled = len;
	}
	assert_int_equal(ini_tcp.submit(qp, req), 0);
	return req;
}

static void check_pattern(const uint8_t *data, uint32_t off, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		assert_int_equal(data[i], pattern(off + i));
}

static uint8_t *patterned(uint32_t len)
{
	uint8_t *data = malloc((len + SEG_SIZE - 1) / SEG_SIZE * SEG_SIZE);

	for (uint32_t i = 0; i < len; i++)
		data[i] = pattern(i);
	return data;
}

static void check_read(const struct request *req)
{
	uint8_t *data = malloc(req->data_len);

	assert_int_equal(req->filled, req->data_len);
	request_copy_out(req, 0, data, req->data_len);
	check_pattern(data, 0, req->data_len);
	free(data);
}

/* ---- connecting ---- */

static void test_connect_fields(void **state)
{
	static struct heard h;
	const struct nvmf_connect_payload *data = (const void *)h.data;
	struct nvme_sqe sqe;

	params.qid = 0;
	params.cntlid = NVMF_CNTLID_DYNAMIC;
	params.kato = 5000;
	memset(params.hostid, 0xab, sizeof(params.hostid));
	shake_hands(&h, &sqe);
	assert_int_equal(sqe.opcode, NVME_OPC_FABRICS);
	assert_int_equal(nvme_sqe_fctype(&sqe), nvme_fabrics_type_connect);
	assert_int_equal(sqe.sgl.type, NVME_SGL_DATA_OFFSET);
	assert_int_equal(le32toh(sqe.sgl.length), NVMF_CONNECT_DATA_SIZE);
	assert_int_equal(h.pdu.data_len, NVMF_CONNECT_DATA_SIZE);
	assert_int_equal(le32toh(sqe.cdw11),
			 (uint32_t)NVMF_CATTR_DISABLE_SQFLOW << 16 | (DEPTH - 1));
	assert_int_equal(le32toh(sqe.cdw12), 5000);
	assert_string_equal(data->subnqn, NQN);
	assert_string_equal(data->hostnqn, HOSTNQN);
	assert_int_equal(data->hostid[15], 0xab);
	assert_int_equal(data->cntlid, 0xffff);
	{
		struct nvme_cqe cqe = {.result = htole32(0x1234), .cid = sqe.cid};
		uint8_t b[64];

		put(b, tcp_put_resp(b, &wire, &cqe));
	}
	UNTIL(seen.connected);
	assert_int_equal(qp->cntlid, 0x1234);
}

static void test_connect_refused_by_status(void **state)
{
	static struct heard h;
	struct nvme_sqe sqe;

	shake_hands(&h, &sqe);
	say_response(sqe.cid, NVME_STATUS(1, NVME_SC_CONNECT_INVALID_PARAM) | NVME_DNR);
	UNTIL(seen.connected);
	assert_int_equal(seen.error, -ECONNREFUSED);
	assert_int_equal(seen.status, NVME_STATUS(1, NVME_SC_CONNECT_INVALID_PARAM) | NVME_DNR);
	assert_false(qp->live);
	assert_int_equal(seen.lost, 0);
}

static void test_connect_refused_by_tcp(void **state)
{
	close(listener);
	qp = ini_tcp.connect(loop, &params, &ops, NULL);
	listener = -1;
	if (!qp)
		return;
	assert_int_equal(seen.connected, 0);
	UNTIL(seen.connected);
	assert_int_equal(seen.error, -ECONNREFUSED);
	assert_int_equal(seen.status, 0);
}

static void test_connect_timeout(void **state)
{
	params.connect_timeout = 20 * NSEC_PER_MSEC;
	dial();
	while (!seen.connected)
		loop_turn(loop, true);
	assert_int_equal(seen.error, -ETIMEDOUT);
}

static void test_hangup_while_connecting(void **state)
{
	static struct heard h;
	struct nvme_sqe sqe;

	shake_hands(&h, &sqe);
	close(peer);
	peer = -1;
	UNTIL(seen.connected);
	assert_int_equal(seen.error, -ECONNRESET);
	assert_int_equal(seen.lost, 0);
}

/* Between its ICResp and our Connect, which then cannot leave. */
static void test_reset_before_connect(void **state)
{
	struct linger at_once = {.l_onoff = 1};
	uint8_t ic[TCP_IC_LEN];

	dial();
	get(ic, sizeof(ic));
	put(ic, tcp_put_ic(ic, TCP_ICRESP, 0, false, false, MAX_H2C));
	assert_int_equal(setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
	close(peer);
	peer = -1;
	UNTIL(seen.connected);
	assert_int_not_equal(seen.error, 0);
	assert_int_equal(seen.lost, 0);
}

static void test_close_while_connecting(void **state)
{
	static struct heard h;
	struct nvme_sqe sqe;

	dial();
	close_qpair();
	close(peer);
	shake_hands(&h, &sqe);
	close_qpair();
	turns(4);
	assert_int_equal(seen.connected, 0);
}

static void test_digests_refused(void **state)
{
	uint8_t ic[TCP_IC_LEN];

	params.data_digest = true;
	dial();
	get(ic, sizeof(ic));
	put(ic, tcp_put_ic(ic, TCP_ICRESP, 0, false, false, MAX_H2C));
	UNTIL(seen.connected);
	assert_int_equal(seen.error, -EPROTONOSUPPORT);
}

static void test_bad_params(void **state)
{
	params.sq_size = 1;
	assert_null(ini_tcp.connect(loop, &params, &ops, NULL));
	params.sq_size = TCP_MAX_QUEUE_SIZE + 1;
	assert_null(ini_tcp.connect(loop, &params, &ops, NULL));
}

/* ---- good controllers ---- */

static void test_read_with_response(void **state)
{
	static struct heard h;
	struct outcome out;
	struct nvme_sqe sqe;
	struct request *req;
	uint32_t len = 100000;
	uint8_t *data = patterned(len);

	connect_qpair();
	req = command(&out, nvme_cmd_read, len);
	hear_command(&h, &sqe);
	assert_int_equal(sqe.sgl.type, NVME_SGL_TRANSPORT);
	assert_int_equal(le32toh(sqe.sgl.length), len);
	say_data(sqe.cid, 0, data, 65536, 0);
	UNTIL(req->filled == 65536);
	assert_int_equal(out.times, 0);
	say_data(sqe.cid, 65536, data + 65536, len - 65536, TCP_F_LAST);
	turns(4);
	assert_int_equal(out.times, 0);
	say_response(sqe.cid, 0);
	UNTIL(out.times);
	assert_int_equal(out.error, 0);
	assert_int_equal(nvme_cqe_status(&req->cqe), 0);
	assert_int_equal(out.last, len);
	check_read(req);
	pool_put(req);
	free(data);
}

static void read_success(bool hdgst, bool ddgst)
{
	static struct heard h;
	uint32_t len = 40000;
	uint8_t *data = patterned(len);
	struct outcome out[3];
	struct request *req[3];
	struct nvme_sqe sqe[3];

	params.hdr_digest = hdgst;
	params.data_digest = ddgst;
	connect_qpair();
	for (unsigned i = 0; i < 3; i++)
		req[i] = command(&out[i], nvme_cmd_read, len);
	for (unsigned i = 0; i < 3; i++)
		hear_command(&h, &sqe[i]);
	/* Interleaved, and answered in another order. */
	for (unsigned i = 3; i-- > 0;)
		say_data(sqe[i].cid, 0, data, 16384, 0);
	for (unsigned i = 0; i < 3; i++)
		say_data(sqe[i].cid, 16384, data + 16384, len - 16384, TCP_F_LAST | TCP_F_SUCCESS);
	UNTIL(out[0].times && out[1].times && out[2].times);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(out[i].error, 0);
		check_read(req[i]);
		pool_put(req[i]);
	}
	assert_int_equal(qp->inflight, 0);
	free(data);
}

static void test_read_success_flag(void **state)
{
	read_success(false, false);
}

static void test_read_digests(void **state)
{
	read_success(true, true);
}

static void test_write_in_capsule(void **state)
{
	static struct heard h;
	struct outcome out;
	struct nvme_sqe sqe;
	struct request *req;

	params.data_digest = true;
	connect_qpair();
	req = command(&out, nvme_cmd_write, ICD);
	hear_command(&h, &sqe);
	assert_int_equal(sqe.sgl.type, NVME_SGL_DATA_OFFSET);
	assert_int_equal(h.pdu.data_len, ICD);
	check_pattern(h.data, 0, ICD);
	say_response(sqe.cid, 0);
	UNTIL(out.times);
	assert_int_equal(out.error, 0);
	pool_put(req);
}

static void hear_data(struct heard *h, uint16_t cid, uint16_t ttag, uint32_t off, uint32_t len)
{
	for (uint32_t at = off; at < off + len; at += h->pdu.len) {
		hear(h);
		assert_int_equal(h->pdu.type, TCP_H2C_DATA);
		assert_int_equal(h->pdu.cccid, le16toh(cid));
		assert_int_equal(h->pdu.ttag, ttag);
		assert_int_equal(h->pdu.off, at);
		check_pattern(h->data, at, h->pdu.len);
		assert_int_equal(!!(h->pdu.flags & TCP_F_LAST), at + h->pdu.len == off + len);
	}
}

static void test_write_r2t(void **state)
{
	static struct heard h;
	struct outcome out;
	struct nvme_sqe sqe;
	struct request *req;
	uint32_t len = 100000;

	params.hdr_digest = params.data_digest = true;
	connect_qpair();
	req = command(&out, nvme_cmd_write, len);
	hear_command(&h, &sqe);
	assert_int_equal(h.pdu.data_len, 0);
	say_r2t(sqe.cid, 0x77, 0, 60000);
	hear_data(&h, sqe.cid, 0x77, 0, 60000);
	say_r2t(sqe.cid, 0x78, 60000, 40000);
	hear_data(&h, sqe.cid, 0x78, 60000, 40000);
	say_response(sqe.cid, 0);
	UNTIL(out.times);
	assert_int_equal(out.error, 0);
	assert_int_equal(nvme_cqe_status(&req->cqe), 0);
	pool_put(req);
}

/* The status may come while we are still sending what was asked for. */
static void test_write_refused_midway(void **state)
{
	static struct heard h;
	struct outcome out;
	struct nvme_sqe sqe;
	struct request *req;
	int size = 4096;

	/* Before there is a connection: a window that was offered cannot be taken back. */
	setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	connect_qpair();
	req = command(&out, nvme_cmd_write, REQUEST_MAX_DATA);
	hear_command(&h, &sqe);
	say_r2t(sqe.cid, 1, 0, REQUEST_MAX_DATA);
	turns(100);
	say_response(sqe.cid, NVME_ST_INVALID_FIELD);
	/* Whole PDUs go on to come, or none, and then the next command. */
	turns(100);
	while (!out.times)
		hear(&h);
	assert_int_equal(out.error, 0);
	assert_int_equal(nvme_cqe_status(&req->cqe), NVME_ST_INVALID_FIELD);
	pool_put(req);
	req = command(&out, nvme_cmd_flush, 0);
	do {
		hear(&h);
	} while (h.pdu.type == TCP_H2C_DATA);
	memcpy(&sqe, tcp_pdu_entry(&h.pdu), sizeof(sqe));
	assert_int_equal(sqe.opcode, nvme_cmd_flush);
	say_response(sqe.cid, 0);
	UNTIL(out.times);
	pool_put(req);
	assert_int_equal(seen.lost, 0);
}

static void test_queue_full(void **state)
{
	static struct heard h;
	struct outcome out[DEPTH];
	struct request *req[DEPTH];
	struct nvme_sqe sqe;

	connect_qpair();
	for (unsigned i = 0; i < DEPTH - 1; i++)
		req[i] = command(&out[i], nvme_cmd_flush, 0);
	assert_int_equal(ini_room(qp), 0);
	req[DEPTH - 1] = pool_get(pool);
	req[DEPTH - 1]->ini_done = on_done;
	assert_int_equal(ini_tcp.submit(qp, req[DEPTH - 1]), -EAGAIN);
	for (unsigned i = 0; i < DEPTH - 1; i++) {
		hear_command(&h, &sqe);
		say_response(sqe.cid, 0);
	}
	for (unsigned i = 0; i < DEPTH - 1; i++) {
		UNTIL(out[i].times);
		pool_put(req[i]);
	}
	pool_put(req[DEPTH - 1]);
	assert_int_equal(ini_room(qp), DEPTH - 1);
}

static void test_byte_by_byte(void **state)
{
	static struct heard h;
	struct outcome out;
	struct nvme_sqe sqe;
	struct request *req;
	uint8_t *data = patterned(512), b[TCP_HEAD_MAX];
	unsigned n;

	connect_qpair();
	req = command(&out, nvme_cmd_read, 512);
	hear_command(&h, &sqe);
	n = tcp_put_data(b, &wire, TCP_C2H_DATA, TCP_F_LAST | TCP_F_SUCCESS, le16toh(sqe.cid), 0, 0,
			 512);
	memcpy(b + n, data, 128);
	for (unsigned i = 0; i < n; i++) {
		put(b + i, 1);
		turns(2);
	}
	for (unsigned i = 0; i < 512; i++) {
		assert_int_equal(out.times, 0);
		put(data + i, 1);
		turns(2);
	}
	UNTIL(out.times);
	check_read(req);
	pool_put(req);
	free(data);
}

/* ---- the end ---- */

static void test_hangup(void **state)
{
	struct outcome out[2];
	struct request *a, *b;

	connect_qpair();
	a = command(&out[0], nvme_cmd_read, 4096);
	b = command(&out[1], nvme_cmd_write, 100000);
	turns(4);
	close(peer);
	peer = -1;
	UNTIL(seen.lost);
	assert_int_equal(out[0].times, 1);
	assert_int_equal(out[1].times, 1);
	assert_true(out[0].error < 0 && out[1].error < 0);
	assert_false(qp->live);
	assert_int_equal(ini_tcp.submit(qp, a), -ENOTCONN);
	turns(10);
	assert_int_equal(seen.lost, 1);
	pool_put(a);
	pool_put(b);
}

static void test_close_returns_requests(void **state)
{
	static struct heard h;
	struct outcome out[2];
	struct request *a, *b;
	struct nvme_sqe sqe;

	connect_qpair();
	a = command(&out[0], nvme_cmd_read, 4096);
	hear_command(&h, &sqe);
	b = command(&out[1], nvme_cmd_write, 4096);
	close_qpair();
	assert_int_equal(out[0].error, -ECANCELED);
	assert_int_equal(out[1].error, -ECANCELED);
	assert_int_equal(seen.lost, 0);
	pool_put(a);
	pool_put(b);
}

static void test_term_req(void **state)
{
	struct tcp_err err = {TCP_FES_RANGE, 12, ""};
	uint8_t b[TCP_TERM_MAX], bad[TCP_DATA_LEN] = {0};

	connect_qpair();
	put(b, tcp_put_term(b, TCP_C2H_TERM, &err, bad, sizeof(bad)));
	UNTIL(seen.lost);
	assert_non_null(strstr(seen.reason, "Data Transfer Out of Range"));
}

/* One that is wrong itself gets no answer. */
static void test_bad_term_req(void **state)
{
	uint8_t b[TCP_TERM_LEN] = {TCP_C2H_TERM, 0, TCP_TERM_LEN, 0, 153};
	ssize_t n;

	connect_qpair();
	put(b, sizeof(b));
	UNTIL(seen.lost);
	assert_int_equal(seen.error, -EPROTO);
	UNTIL((n = recv(peer, b, 1, MSG_DONTWAIT)) >= 0);
	assert_int_equal(n, 0);
}

/* ---- bad controllers: each costs the connection, and hears why ---- */

/* What the test does with a read (A, CID a, 8192 bytes) and a write (B, CID b, 100000) out. */
typedef void (*misdeed)(uint16_t a, uint16_t b, const uint8_t *data);

static void expect_end(misdeed act, uint16_t fes)
{
	static struct heard h;
	struct outcome out[2];
	struct request *a, *b;
	struct nvme_sqe sqe[2];
	uint8_t *data = patterned(REQUEST_MAX_DATA), term[TCP_TERM_LEN];
	uint16_t got;

	connect_qpair();
	a = command(&out[0], nvme_cmd_read, 8192);
	b = command(&out[1], nvme_cmd_write, 100000);
	hear_command(&h, &sqe[0]);
	hear_command(&h, &sqe[1]);
	act(sqe[0].cid, sqe[1].cid, data);
	UNTIL(seen.lost);
	assert_int_equal(seen.error, fes ? -EPROTO : -EBADMSG);
	assert_int_equal(out[0].times, 1);
	assert_int_equal(out[1].times, 1);
	assert_true(out[0].error < 0 || out[1].error < 0);
	if (fes) {
		do {
			get(term, TCP_CH_LEN);
			if (term[0] == TCP_H2C_DATA) {
				uint32_t plen;

				memcpy(&plen, term + TCP_OFF_PLEN, sizeof(plen));
				get(data, le32toh(plen) - TCP_CH_LEN);
			}
		} while (term[0] == TCP_H2C_DATA);
		get(term + TCP_CH_LEN, TCP_TERM_LEN - TCP_CH_LEN);
		assert_int_equal(term[0], TCP_H2C_TERM);
		memcpy(&got, term + 8, sizeof(got));
		assert_int_equal(le16toh(got), fes);
	}
	pool_put(a);
	pool_put(b);
	free(data);
}

static void respond_wrong_cid(uint16_t a, uint16_t b, const uint8_t *data)
{
	say_response(htole16(5), 0);
}

static void respond_huge_cid(uint16_t a, uint16_t b, const uint8_t *data)
{
	say_response(0xffff, 0);
}

static void respond_old_generation(uint16_t a, uint16_t b, const uint8_t *data)
{
	say_response(htole16((uint16_t)(le16toh(a) - 4096)), 0);
}

static void respond_twice(uint16_t a, uint16_t b, const uint8_t *data)
{
	say_response(b, NVME_ST_INVALID_FIELD);
	say_response(b, NVME_ST_INVALID_FIELD);
}

static void read_success_without_data(uint16_t a, uint16_t b, const uint8_t *data)
{
	say_data(a, 0, data, 4096, 0);
	say_response(a, 0);
}

static void write_success_without_fetch(uint16_t a, uint16_t b, const uint8_t *data)
{
	say_response(b, 0);
}

static void data_for_write(uint16_t a, uint16_t b, const uint8_t *data)
{
	say_data(b, 0, data, 4096, TCP_F_LAST);
}

static void data_past_the_end(uint16_t a, uint16_t b, const uint8_t *data)
{
	say_data(a, 0, data, 8196, TCP_F_LAST);
}

static void data_skips(uint16_t a, uint16_t b, const uint8_t *data)
{
	say_data(a, 4096, data, 4096, TCP_F_LAST);
}

static void data_repeats(uint16_t a, uint16_t b, const uint8_t *data)
{
	say_data(a, 0, data, 4096, 0);
	say_data(a, 0, data, 4096, TCP_F_LAST);
}

static void success_too_early(uint16_t a, uint16_t b, const uint8_t *data)
{
	say_data(a, 0, data, 4096, TCP_F_LAST | TCP_F_SUCCESS);
}

static void r2t_for_read(uint16_t a, uint16_t b, const uint8_t *data)
{
	say_r2t(a, 1, 0, 4096);
}

static void r2t_past_the_end(uint16_t a, uint16_t b, const uint8_t *data)
{
	say_r2t(b, 1, 0, 100004);
}

static void r2t_skips(uint16_t a, uint16_t b, const uint8_t *data)
{
	say_r2t(b, 1, 4096, 4096);
}

static void r2t_for_nothing(uint16_t a, uint16_t b, const uint8_t *data)
{
	say_r2t(b, 1, 0, 0);
}

static void icresp_again(uint16_t a, uint16_t b, const uint8_t *data)
{
	uint8_t ic[TCP_IC_LEN];

	put(ic, tcp_put_ic(ic, TCP_ICRESP, 0, false, false, MAX_H2C));
}

static void command_capsule(uint16_t a, uint16_t b, const uint8_t *data)
{
	struct nvme_sqe sqe = {0};
	uint8_t head[TCP_HEAD_MAX];

	put(head, tcp_put_cmd(head, &wire, &sqe, 0));
}

static void test_bad_cid(void **state)
{
	expect_end(respond_wrong_cid, TCP_FES_FIELD);
}

static void test_bad_cid_huge(void **state)
{
	expect_end(respond_huge_cid, TCP_FES_FIELD);
}

static void test_bad_cid_generation(void **state)
{
	expect_end(respond_old_generation, TCP_FES_FIELD);
}

static void test_bad_double_response(void **state)
{
	expect_end(respond_twice, TCP_FES_FIELD);
}

static void test_bad_success_without_data(void **state)
{
	expect_end(read_success_without_data, TCP_FES_SEQUENCE);
}

static void test_bad_success_without_fetch(void **state)
{
	expect_end(write_success_without_fetch, TCP_FES_SEQUENCE);
}

static void test_bad_data_for_write(void **state)
{
	expect_end(data_for_write, TCP_FES_FIELD);
}

static void test_bad_data_past_the_end(void **state)
{
	expect_end(data_past_the_end, TCP_FES_RANGE);
}

static void test_bad_data_skips(void **state)
{
	expect_end(data_skips, TCP_FES_SEQUENCE);
}

static void test_bad_data_repeats(void **state)
{
	expect_end(data_repeats, TCP_FES_SEQUENCE);
}

static void test_bad_success_too_early(void **state)
{
	expect_end(success_too_early, TCP_FES_FIELD);
}

static void test_bad_r2t_for_read(void **state)
{
	expect_end(r2t_for_read, TCP_FES_FIELD);
}

static void test_bad_r2t_past_the_end(void **state)
{
	expect_end(r2t_past_the_end, TCP_FES_RANGE);
}

static void test_bad_r2t_skips(void **state)
{
	expect_end(r2t_skips, TCP_FES_SEQUENCE);
}

static void test_bad_r2t_for_nothing(void **state)
{
	expect_end(r2t_for_nothing, TCP_FES_RANGE);
}

static void test_bad_icresp_again(void **state)
{
	expect_end(icresp_again, TCP_FES_SEQUENCE);
}

static void test_bad_direction(void **state)
{
	expect_end(command_capsule, TCP_FES_FIELD);
}

static void damaged_data(uint16_t a, uint16_t b, const uint8_t *data)
{
	uint8_t head[TCP_HEAD_MAX];

	put(head, tcp_put_data(head, &wire, TCP_C2H_DATA, TCP_F_LAST, le16toh(a), 0, 0, 8192));
	put(data, 8192);
	put("\1\2\3\4", 4);
}

static void test_bad_data_digest(void **state)
{
	params.data_digest = true;
	expect_end(damaged_data, 0);
}

static void damaged_header(uint16_t a, uint16_t b, const uint8_t *data)
{
	uint8_t head[TCP_HEAD_MAX];
	unsigned n = tcp_put_data(head, &wire, TCP_C2H_DATA, TCP_F_LAST, le16toh(a), 0, 0, 8192);

	head[n - 1] ^= 1;
	put(head, n);
}

static void test_bad_header_digest(void **state)
{
	params.hdr_digest = true;
	expect_end(damaged_header, TCP_FES_HDGST);
}

static void test_r2t_too_many(void **state)
{
	static struct heard h;
	struct outcome out;
	struct nvme_sqe sqe;
	struct request *req;

	connect_qpair();
	req = command(&out, nvme_cmd_write, REQUEST_MAX_DATA);
	hear_command(&h, &sqe);
	say_r2t(sqe.cid, 1, 0, REQUEST_MAX_DATA / 2);
	say_r2t(sqe.cid, 2, REQUEST_MAX_DATA / 2, REQUEST_MAX_DATA / 2);
	UNTIL(seen.lost);
	assert_non_null(strstr(seen.reason, "R2T Limit Exceeded"));
	assert_int_equal(out.times, 1);
	pool_put(req);
}

static void test_data_before_connect(void **state)
{
	static struct heard h;
	struct nvme_sqe sqe;

	shake_hands(&h, &sqe);
	say_r2t(sqe.cid, 1, 0, 1024);
	UNTIL(seen.connected);
	assert_int_equal(seen.error, -EPROTO);
}

static void test_garbage(void **state)
{
	uint8_t junk[512];
	unsigned seed = 1;

	for (unsigned round = 0; round < 300; round++) {
		memset(&seen, 0, sizeof(seen));
		connect_qpair();
		for (unsigned i = 0; i < sizeof(junk); i++)
			junk[i] = (uint8_t)(rand_r(&seed) >> 7);
		if (round & 1) { /* so that more than the type is looked at */
			junk[0] = (uint8_t[]){3, 5, 7, 9}[round / 2 % 4];
			junk[1] &= TCP_F_LAST | TCP_F_SUCCESS;
			junk[2] = 24;
			junk[3] = 24;
			junk[4] = (uint8_t)(24 + junk[4] % 64);
			junk[5] = junk[6] = junk[7] = 0;
		}
		put(junk, sizeof(junk));
		shutdown(peer, SHUT_WR);
		UNTIL(seen.lost);
		close_qpair();
		close(peer);
	}
	peer = -1;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_connect_fields),
		T(test_connect_refused_by_status),
		T(test_connect_refused_by_tcp),
		T(test_connect_timeout),
		T(test_hangup_while_connecting),
		T(test_reset_before_connect),
		T(test_close_while_connecting),
		T(test_digests_refused),
		T(test_bad_params),
		T(test_read_with_response),
		T(test_read_success_flag),
		T(test_read_digests),
		T(test_write_in_capsule),
		T(test_write_r2t),
		T(test_write_refused_midway),
		T(test_queue_full),
		T(test_byte_by_byte),
		T(test_hangup),
		T(test_close_returns_requests),
		T(test_term_req),
		T(test_bad_term_req),
		T(test_bad_cid),
		T(test_bad_cid_huge),
		T(test_bad_cid_generation),
		T(test_bad_double_response),
		T(test_bad_success_without_data),
		T(test_bad_success_without_fetch),
		T(test_bad_data_for_write),
		T(test_bad_data_past_the_end),
		T(test_bad_data_skips),
		T(test_bad_data_repeats),
		T(test_bad_success_too_early),
		T(test_bad_r2t_for_read),
		T(test_bad_r2t_past_the_end),
		T(test_bad_r2t_skips),
		T(test_bad_r2t_for_nothing),
		T(test_bad_icresp_again),
		T(test_bad_direction),
		T(test_bad_data_digest),
		T(test_bad_header_digest),
		T(test_r2t_too_many),
		T(test_data_before_connect),
		T(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
