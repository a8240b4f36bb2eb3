/* SPDX-License-Identifier: Apache-2.0 */
/* NVMe/TCP as target: handshake, commands and their data, against hosts good and bad. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/raw_host.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

static struct heard in;
static uint8_t bytes[256 * 1024];

/* ---- ICReq, ICResp ---- */

static void test_icresp(void **state)
{
	for (unsigned i = 0; i < 16; i++) {
		bool ask_h = i & 1, ask_d = i & 2, have_h = i & 4, have_d = i & 8;
		uint8_t ic[TCP_IC_LEN], want[TCP_IC_LEN];
		struct host h;

		raw_cfg.hdr_digest = have_h;
		raw_cfg.data_digest = have_d;
		raw_cfg.cpda = 3;
		h = raw_dial();
		tcp_put_ic(ic, TCP_ICREQ, 7, ask_h, ask_d, 5);
		raw_put(&h, ic, sizeof(ic));
		raw_get(&h, ic, sizeof(ic));
		tcp_put_ic(want, TCP_ICRESP, 3, ask_h && have_h, ask_d && have_d, RAW_MAX_H2C);
		assert_memory_equal(ic, want, sizeof(ic));
		assert_int_equal(raw_gate(0)->opened, 1);
		assert_int_equal(raw_gate(0)->qp->hdr_digest, ask_h && have_h);
		assert_int_equal(raw_gate(0)->qp->data_digest, ask_d && have_d);
		assert_int_equal(raw_gate(0)->qp->local.len, raw_gate(0)->qp->peer.len);
		raw_hang_up(&h);
		raw_teardown(state);
		raw_setup(state);
	}
}

static void test_icreq_in_pieces(void **state)
{
	struct host h = raw_dial();
	uint8_t ic[TCP_IC_LEN];

	tcp_put_ic(ic, TCP_ICREQ, 0, false, false, 0);
	for (unsigned i = 0; i < sizeof(ic); i++) {
		assert_int_equal(raw_gate(0)->opened, 0);
		raw_put(&h, ic + i, 1);
		raw_turns(2);
	}
	raw_get(&h, ic, sizeof(ic));
	assert_int_equal(ic[0], TCP_ICRESP);
	raw_hang_up(&h);
}

/* The first PDU is wrong: the host hears why, and the gateway never hears of it. */
static void bad_start(const uint8_t *b, size_t len, uint16_t fes, uint32_t fei, size_t quoted)
{
	struct host h = raw_dial();

	raw_put(&h, b, len);
	raw_hear_term(&h, fes, fei, b, quoted);
	assert_int_equal(raw_gate(0)->opened, 0);
}

static void test_bad_icreq(void **state)
{
	static const struct {
		uint8_t at, value;
		uint16_t fes;
		uint32_t fei;
		size_t quoted;
	} cases[] = {
		{TCP_OFF_PFV, 1, TCP_FES_PARAM, TCP_OFF_PFV, TCP_IC_LEN},
		{TCP_OFF_PDA, 32, TCP_FES_FIELD, TCP_OFF_PDA, TCP_IC_LEN},
		{TCP_OFF_HLEN, 120, TCP_FES_FIELD, TCP_OFF_HLEN, 120},
		{TCP_OFF_HLEN, 0, TCP_FES_FIELD, TCP_OFF_HLEN, TCP_CH_LEN},
		{TCP_OFF_HLEN, 255, TCP_FES_FIELD, TCP_OFF_HLEN, TCP_IC_LEN},
		{TCP_OFF_PLEN, 129, TCP_FES_FIELD, TCP_OFF_PLEN, TCP_IC_LEN},
		{TCP_OFF_TYPE, 0x33, TCP_FES_FIELD, TCP_OFF_TYPE, TCP_IC_LEN},
		{TCP_OFF_TYPE, TCP_ICRESP, TCP_FES_FIELD, TCP_OFF_TYPE, TCP_IC_LEN},
		{TCP_OFF_TYPE, TCP_CAPSULE_CMD, TCP_FES_SEQUENCE, 0, TCP_IC_LEN},
		{TCP_OFF_TYPE, TCP_H2C_DATA, TCP_FES_SEQUENCE, 0, TCP_IC_LEN},
	};

	for (unsigned i = 0; i < N(cases); i++) {
		uint8_t ic[TCP_IC_LEN];

		tcp_put_ic(ic, TCP_ICREQ, 0, false, false, 0);
		ic[cases[i].at] = cases[i].value;
		bad_start(ic, sizeof(ic), cases[i].fes, cases[i].fei, cases[i].quoted);
	}
}

static void test_second_icreq(void **state)
{
	struct host h = raw_shake(0, false, false);
	uint8_t ic[TCP_IC_LEN];

	tcp_put_ic(ic, TCP_ICREQ, 0, false, false, 0);
	raw_put(&h, ic, sizeof(ic));
	raw_hear_term(&h, TCP_FES_SEQUENCE, 0, ic, sizeof(ic));
	RAW_UNTIL(h.gate->closed);
	assert_non_null(strstr(h.gate->reason, "PDU Sequence Error"));
}

/* The host may not speak before it has heard ICResp. */
static void test_command_behind_icreq(void **state)
{
	struct host h = raw_dial();
	struct nvme_sqe sqe = raw_sqe(0, 1, NVME_SGL_TRANSPORT, 0);
	unsigned len = tcp_put_ic(bytes, TCP_ICREQ, 0, false, false, 0);

	raw_put(&h, bytes, len + raw_capsule(&h, bytes + len, &sqe, 0));
	raw_hear_term(&h, TCP_FES_SEQUENCE, 0, bytes + len, TCP_CMD_LEN);
	RAW_UNTIL(raw_gate(0)->closed);
	assert_non_null(strstr(raw_gate(0)->reason, "before our ICResp"));
}

static void test_wrong_direction(void **state)
{
	static const uint8_t types[] = {TCP_ICRESP, TCP_C2H_TERM, TCP_CAPSULE_RESP, TCP_C2H_DATA,
					TCP_R2T};

	for (unsigned i = 0; i < N(types); i++) {
		struct host h = raw_admin();
		uint8_t b[24] = {types[i], 0, 24, 0, 24};

		raw_put(&h, b, sizeof(b));
		raw_hear_term(&h, TCP_FES_FIELD, TCP_OFF_TYPE, b, sizeof(b));
	}
}

/* ---- term-reqs ---- */

static void test_h2c_term(void **state)
{
	const struct tcp_err err = {TCP_FES_LIMIT, 0, ""};
	struct host h = raw_admin();

	raw_put(&h, bytes, tcp_put_term(bytes, TCP_H2C_TERM, &err, (uint8_t[72]){0}, 72));
	raw_hear_end(&h);
	RAW_UNTIL(h.gate->closed);
	assert_non_null(strstr(h.gate->reason, "R2T Limit Exceeded"));
}

static void test_h2c_term_first(void **state)
{
	const struct tcp_err err = {TCP_FES_FIELD, 0, ""};
	struct host h = raw_dial();

	raw_put(&h, bytes, tcp_put_term(bytes, TCP_H2C_TERM, &err, (uint8_t[8]){0}, 8));
	raw_hear_end(&h);
}

/* A term-req that is wrong itself gets no answer. */
static void test_bad_h2c_term(void **state)
{
	static const uint32_t plens[] = {0, 23, 153, 0xffffffff};

	for (unsigned i = 0; i < N(plens); i++) {
		struct host h = raw_admin();
		uint8_t b[24] = {TCP_H2C_TERM, 0, 24};
		uint32_t plen = htole32(plens[i]);

		memcpy(b + TCP_OFF_PLEN, &plen, sizeof(plen));
		raw_put(&h, b, sizeof(b));
		raw_hear_end(&h);
		RAW_UNTIL(h.gate->closed);
	}
}

/* ---- Connect ---- */

static void check_connect_response(bool sqflow_disabled)
{
	struct host h = raw_shake(0, false, false);
	struct nvme_sqe sqe = raw_sqe(NVME_OPC_FABRICS, 9, NVME_SGL_DATA_OFFSET, 1024);
	struct nvme_cqe cqe;

	sqe.nsid = htole32(nvme_fabrics_type_connect);
	sqe.cdw11 = htole32(15 | (sqflow_disabled ? NVMF_CATTR_DISABLE_SQFLOW << 16 : 0));
	raw_put(&h, bytes, raw_capsule(&h, bytes, &sqe, 1024));
	raw_hear(&h, &in);
	memcpy(&cqe, tcp_pdu_entry(&in.pdu), sizeof(cqe));
	assert_int_equal(le16toh(cqe.cid), 9);
	assert_int_equal(le32toh(cqe.result), 77);
	assert_int_equal(le16toh(cqe.sqhd), sqflow_disabled ? 0xffff : 1);
	raw_flush(&h, 10);
	RAW_UNTIL(h.gate->commands);
	tgt_complete_status(h.gate->last, 0);
	raw_hear(&h, &in);
	memcpy(&cqe, tcp_pdu_entry(&in.pdu), sizeof(cqe));
	assert_int_equal(le16toh(cqe.sqhd), sqflow_disabled ? 0 : 2);
	raw_hang_up(&h);
}

static void test_connect_response(void **state)
{
	check_connect_response(false);
	check_connect_response(true);
}

/* SQHD moves by one with every answer and wraps at the queue's size. */
static void test_sqhd(void **state)
{
	struct host h = raw_shake(0, false, false);
	struct nvme_cqe cqe;

	raw_connect(&h, 0, 4, 0);
	h.gate->on_command = raw_serve;
	for (unsigned i = 2; i < 12; i++) {
		raw_flush(&h, 1);
		raw_hear(&h, &in);
		memcpy(&cqe, tcp_pdu_entry(&in.pdu), sizeof(cqe));
		assert_int_equal(le16toh(cqe.sqhd), i % 4);
		assert_int_equal(le16toh(cqe.sqid), 0);
	}
	raw_hang_up(&h);
}

static void test_connect_by_r2t(void **state)
{
	struct host h;

	raw_fetch_connect = true;
	h = raw_io();
	assert_ptr_equal(h.gate->qp->loop, raw_worker);
	raw_hang_up(&h);
}

static void test_connect_refused_then_accepted(void **state)
{
	struct host h = raw_shake(0, false, false);

	raw_connect_status = NVME_STATUS(1, NVME_SC_CONNECT_INVALID_PARAM) | NVME_DNR;
	raw_connect(&h, 1, RAW_SQ_SIZE, 0);
	assert_false(h.gate->qp->connected);
	raw_connect_status = 0;
	raw_connect(&h, 1, RAW_SQ_SIZE, 0);
	assert_true(h.gate->qp->connected);
	raw_hang_up(&h);
}

static void test_one_command_before_connect(void **state)
{
	struct host h = raw_shake(0, false, false);
	size_t len = 0;

	for (uint16_t i = 0; i < 2; i++) {
		struct nvme_sqe sqe = raw_sqe(0, i, NVME_SGL_TRANSPORT, 0);

		len += raw_capsule(&h, bytes + len, &sqe, 0);
	}
	raw_put(&h, bytes, len);
	RAW_UNTIL(h.gate->closed);
	assert_int_equal(h.gate->commands, 1);
	assert_non_null(strstr(h.gate->reason, "more commands than the queue holds"));
	raw_hear_end(&h);
}

/* Admin and Fabrics commands may bring 8 KiB, whatever I/O queues take. */
static void test_admin_capsule_data(void **state)
{
	struct host h = raw_admin();

	raw_write_icd(&h, 1, TCP_ADMIN_ICD);
	RAW_UNTIL(h.gate->commands);
	raw_check(h.gate->last, TCP_ADMIN_ICD);
	tgt_complete_status(h.gate->last, 0);
	raw_hear_status(&h, 1, 0);
	raw_write_icd(&h, 2, TCP_ADMIN_ICD + 4);
	raw_get(&h, bytes, TCP_CH_LEN);
	assert_int_equal(bytes[0], TCP_C2H_TERM);
	raw_get(&h, bytes, TCP_TERM_LEN - TCP_CH_LEN);
	assert_int_equal(bytes[0], TCP_FES_LIMIT);
	raw_hang_up(&h);
}

/* A worker owns the connection from the Connect's response on, not before. */
static void test_pipelined_behind_connect(void **state)
{
	struct host h = raw_shake(0, false, false);
	struct nvme_sqe connect = raw_sqe(NVME_OPC_FABRICS, 9, NVME_SGL_DATA_OFFSET, 1024);
	struct nvme_sqe flush = raw_sqe(0, 10, NVME_SGL_TRANSPORT, 0);
	size_t len;

	connect.nsid = htole32(nvme_fabrics_type_connect);
	connect.cdw10 = htole32(1 << 16);
	connect.cdw11 = htole32(15);
	len = raw_capsule(&h, bytes, &connect, 1024);
	raw_put(&h, bytes, len + raw_capsule(&h, bytes + len, &flush, 0));
	RAW_UNTIL(h.gate->closed);
	assert_non_null(strstr(h.gate->reason, "before the Connect's response"));
	assert_int_equal(h.gate->moved, 0);
	raw_hang_up(&h);
}

/* ---- capsules ---- */

static void test_in_capsule_data(void **state)
{
	static const uint32_t sizes[] = {1, 3, 4, 511, 512, 4095, RAW_ICD};
	struct host h = raw_io();

	for (unsigned i = 0; i < N(sizes); i++) {
		raw_write_icd(&h, (uint16_t)i, sizes[i]);
		RAW_UNTIL(h.gate->commands == i + 1);
		assert_int_equal(h.gate->last->cid, i);
		assert_ptr_equal(h.gate->last->tgt, h.gate->qp);
		raw_check(h.gate->last, sizes[i]);
		/* Asked for, it is there at once. */
		tgt_fetch(h.gate->last);
		assert_int_equal(h.gate->ready, i + 1);
		tgt_complete_status(h.gate->last, 0);
		raw_hear_status(&h, (uint16_t)i, 0);
	}
	raw_hang_up(&h);
}

static void test_capsule_data_limit(void **state)
{
	struct host h = raw_io();
	struct nvme_sqe sqe = raw_sqe(1, 5, NVME_SGL_DATA_OFFSET, RAW_ICD + 1);
	size_t len = raw_capsule(&h, bytes, &sqe, RAW_ICD + 1);

	raw_put(&h, bytes, len);
	raw_hear_term(&h, TCP_FES_LIMIT, 0, bytes, TCP_CMD_LEN);
}

/* A bad SGL costs the command; its data, if it came, is skipped. */
static void test_bad_sgl(void **state)
{
	struct host h = raw_io();
	const uint16_t bad_type = NVME_STATUS(0, NVME_SC_SGL_INVALID_TYPE) | NVME_DNR;
	struct nvme_sqe sqe = raw_sqe(2, 1, 0x40, 512);

	raw_put(&h, bytes, raw_capsule(&h, bytes, &sqe, 0));
	raw_hear_status(&h, 1, bad_type);
	sqe = raw_sqe(1, 2, NVME_SGL_TRANSPORT, 512);
	raw_put(&h, bytes, raw_capsule(&h, bytes, &sqe, 512));
	raw_hear_status(&h, 2, bad_type);
	sqe = raw_sqe(1, 3, NVME_SGL_DATA_OFFSET, 512);
	raw_put(&h, bytes, raw_capsule(&h, bytes, &sqe, 511));
	raw_hear_status(&h, 3, NVME_STATUS(0, NVME_SC_SGL_INVALID_DATA) | NVME_DNR);
	/* More than any request has memory for */
	sqe = raw_sqe(2, 4, NVME_SGL_TRANSPORT, REQUEST_MAX_DATA + 1);
	raw_put(&h, bytes, raw_capsule(&h, bytes, &sqe, 0));
	raw_hear_status(&h, 4, NVME_ST_INVALID_FIELD);
	assert_int_equal(h.gate->commands, 0);
	raw_flush(&h, 5);
	RAW_UNTIL(h.gate->commands);
	tgt_complete_status(h.gate->last, 0);
	raw_hear_status(&h, 5, 0);
	raw_hang_up(&h);
}

static void test_duplicate_cid(void **state)
{
	const uint16_t conflict = NVME_STATUS(0, NVME_SC_CMDID_CONFLICT) | NVME_DNR;
	struct host h = raw_io();
	struct request *first;

	raw_flush(&h, 7);
	RAW_UNTIL(h.gate->commands == 1);
	first = h.gate->last;
	raw_flush(&h, 7);
	raw_hear_status(&h, 7, conflict);
	raw_write_icd(&h, 7, 512);
	raw_hear_status(&h, 7, conflict);
	raw_write(&h, 7, 8192);
	raw_hear_status(&h, 7, conflict);
	assert_int_equal(h.gate->commands, 1);
	tgt_complete_status(first, 0);
	raw_hear_status(&h, 7, 0);
	/* Now it may be used again. */
	raw_flush(&h, 7);
	RAW_UNTIL(h.gate->commands == 2);
	tgt_complete_status(h.gate->last, 0);
	raw_hear_status(&h, 7, 0);
	raw_hang_up(&h);
}

static void test_queue_overflow(void **state)
{
	struct host h = raw_io();

	for (uint16_t i = 0; i < RAW_SQ_SIZE - 1; i++)
		raw_flush(&h, i);
	RAW_UNTIL(h.gate->commands == RAW_SQ_SIZE - 1);
	assert_int_equal(h.gate->qp->inflight, RAW_SQ_SIZE - 1);
	raw_flush(&h, 100);
	RAW_UNTIL(h.gate->closed);
	assert_int_equal(h.gate->commands, RAW_SQ_SIZE - 1);
	raw_hear_end(&h);
}

/* Many capsules in one piece, and one in many. */
static void test_capsules_cut_anywhere(void **state)
{
	struct host h = raw_shake(0, true, true);
	size_t len = 0;

	raw_connect(&h, 1, RAW_SQ_SIZE, 0);
	h.gate->on_command = raw_serve;
	for (uint16_t i = 0; i < RAW_SQ_SIZE - 1; i++) {
		struct nvme_sqe sqe = raw_sqe(1, i, NVME_SGL_DATA_OFFSET, i * 7 + 1);

		len += raw_capsule(&h, bytes + len, &sqe, i * 7 + 1);
	}
	raw_put(&h, bytes, len);
	for (uint16_t i = 0; i < RAW_SQ_SIZE - 1; i++)
		raw_hear_status(&h, i, 0);
	for (size_t i = 0; i < len; i++) {
		raw_put(&h, bytes + i, 1);
		raw_turns(1);
	}
	for (uint16_t i = 0; i < RAW_SQ_SIZE - 1; i++)
		raw_hear_status(&h, i, 0);
	raw_hang_up(&h);
}

/* ---- R2T, H2CData ---- */

static void write_by_r2t(uint8_t hpda, bool hdgst, bool ddgst, uint32_t len)
{
	struct host h = raw_shake(hpda, hdgst, ddgst);

	raw_connect(&h, 1, RAW_SQ_SIZE, 0);
	h.gate->on_command = raw_serve;
	h.gate->on_ready = raw_serve_ready;
	raw_write(&h, 1, len);
	raw_serve_r2t(&h, 1, raw_hear_r2t(&h, 1, len), len);
	raw_hear_status(&h, 1, 0);
	raw_hang_up(&h);
}

static void test_r2t(void **state)
{
	static const uint32_t sizes[] = {
		1, 512, RAW_MAX_H2C, RAW_MAX_H2C + 1, 100000, REQUEST_MAX_DATA};

	for (unsigned i = 0; i < N(sizes); i++)
		write_by_r2t(0, false, false, sizes[i]);
	write_by_r2t(0, true, true, 100000);
}

/* Nothing is asked for before the gateway is content with the command. */
static void test_no_r2t_before_fetch(void **state)
{
	struct host h = raw_io();

	raw_write(&h, 1, 8192);
	RAW_UNTIL(h.gate->commands);
	raw_turns(10);
	assert_int_equal(recv(h.fd, bytes, 1, MSG_DONTWAIT), -1);
	assert_int_equal(h.gate->last->nsegs, 0);
	tgt_complete_status(h.gate->last, NVME_ST_INVALID_NS);
	raw_hear_status(&h, 1, NVME_ST_INVALID_NS);
	raw_hang_up(&h);
}

/* Several commands have an R2T out, never more than one each (MAXR2T); the data comes mixed. */
static void test_r2t_interleaved(void **state)
{
	enum { CMDS = 8, LEN = 3 * RAW_MAX_H2C };
	struct host h = raw_io();
	uint16_t tags[CMDS];

	h.gate->on_command = raw_serve;
	h.gate->on_ready = raw_serve_ready;
	for (uint16_t i = 0; i < CMDS; i++)
		raw_write(&h, i, LEN);
	for (uint16_t i = 0; i < CMDS; i++) {
		tags[i] = raw_hear_r2t(&h, i, LEN);
		for (unsigned k = 0; k < i; k++)
			assert_int_not_equal(tags[i], tags[k]);
	}
	for (uint32_t off = 0; off < LEN; off += RAW_MAX_H2C)
		for (uint16_t i = CMDS; i-- > 0;)
			raw_put(&h, bytes,
				raw_h2c(&h, bytes, i, tags[i], off, RAW_MAX_H2C,
					off + RAW_MAX_H2C == LEN ? TCP_F_LAST : 0));
	for (uint16_t i = CMDS; i-- > 0;)
		raw_hear_status(&h, i, 0);
	raw_hang_up(&h);
}

/* What the host does wrong with the data of command 1, of 16384 bytes. */
static void bad_h2c(uint16_t cid, int tag, uint32_t off, uint32_t len, uint8_t flags, uint16_t fes,
		    uint32_t fei)
{
	struct host h = raw_io();
	uint16_t ttag;

	h.gate->on_command = raw_serve;
	raw_write(&h, 1, 16384);
	ttag = raw_hear_r2t(&h, 1, 16384);
	raw_put(&h, bytes, raw_h2c(&h, bytes, cid, (uint16_t)(ttag + tag), off, len, flags));
	raw_hear_term(&h, fes, fei, bytes, TCP_DATA_LEN);
	RAW_UNTIL(h.gate->closed);
}

static void test_bad_h2c_data(void **state)
{
	bad_h2c(1, 1, 0, 8192, 0, TCP_FES_FIELD, TCP_OFF_TTAG);
	bad_h2c(1, 1 << 12, 0, 8192, 0, TCP_FES_FIELD, TCP_OFF_TTAG);
	bad_h2c(2, 0, 0, 8192, 0, TCP_FES_FIELD, TCP_OFF_CCCID);
	bad_h2c(1, 0, 8192, 8192, TCP_F_LAST, TCP_FES_SEQUENCE, 0);
	bad_h2c(1, 0, 0, 8192, TCP_F_LAST, TCP_FES_SEQUENCE, 0);
	bad_h2c(1, 0, 16384, 4, TCP_F_LAST, TCP_FES_RANGE, 0);
	bad_h2c(1, 0, 0xfffffffc, 8, TCP_F_LAST, TCP_FES_RANGE, 0);
	bad_h2c(1, 0, 0, RAW_MAX_H2C + 4, 0, TCP_FES_LIMIT, 0);
}

static void test_data_without_r2t(void **state)
{
	struct host h = raw_io();

	raw_flush(&h, 1);
	RAW_UNTIL(h.gate->commands);
	raw_put(&h, bytes, raw_h2c(&h, bytes, 1, 0, 0, 512, TCP_F_LAST));
	raw_hear_term(&h, TCP_FES_FIELD, TCP_OFF_TTAG, bytes, TCP_DATA_LEN);
}

static void test_data_twice(void **state)
{
	struct host h = raw_io();
	uint16_t ttag;

	h.gate->on_command = raw_serve;
	raw_write(&h, 1, 8192);
	ttag = raw_hear_r2t(&h, 1, 8192);
	raw_serve_r2t(&h, 1, ttag, 8192);
	RAW_UNTIL(h.gate->ready);
	raw_put(&h, bytes, raw_h2c(&h, bytes, 1, ttag, 0, 8192, TCP_F_LAST));
	raw_hear_term(&h, TCP_FES_FIELD, TCP_OFF_TTAG, bytes, TCP_DATA_LEN);
}

/* The gateway answers while the data is on its way: the host sends what it was asked for, and
 * hears the answer then. */
static void test_answered_while_fetching(void **state)
{
	struct host h = raw_io();
	struct request *req;
	uint16_t ttag;

	h.gate->on_command = raw_serve;
	raw_write(&h, 1, 16384);
	RAW_UNTIL(h.gate->commands);
	req = h.gate->last;
	ttag = raw_hear_r2t(&h, 1, 16384);
	raw_put(&h, bytes, raw_h2c(&h, bytes, 1, ttag, 0, 8192, 0));
	RAW_UNTIL(req->filled == 8192);
	tgt_complete_status(req, NVME_STATUS(0, NVME_SC_ABORT_REQ));
	raw_turns(10);
	assert_int_equal(recv(h.fd, bytes, 1, MSG_DONTWAIT), -1);
	raw_put(&h, bytes, raw_h2c(&h, bytes, 1, ttag, 8192, 8192, TCP_F_LAST));
	raw_hear_status(&h, 1, NVME_STATUS(0, NVME_SC_ABORT_REQ));
	assert_int_equal(h.gate->ready, 0);
	raw_hang_up(&h);
}

/* ---- C2HData ---- */

static void read_and_check(uint8_t cattr, uint32_t len)
{
	struct host h = raw_shake(0, false, false);

	raw_connect(&h, 1, RAW_SQ_SIZE, cattr);
	h.gate->on_command = raw_serve;
	raw_read(&h, 1, len);
	raw_hear_read(&h, 1, len, cattr);
	raw_hang_up(&h);
}

/* SUCCESS may stand for the response only where SQ flow control is off. */
static void test_read(void **state)
{
	static const uint32_t sizes[] = {1, 512, 1024, 1025, 16384, 16385, REQUEST_MAX_DATA};

	for (unsigned i = 0; i < N(sizes); i++) {
		read_and_check(0, sizes[i]);
		read_and_check(NVMF_CATTR_DISABLE_SQFLOW, sizes[i]);
	}
}

/* ...and only if the response has nothing to say. */
static void test_read_with_result(void **state)
{
	struct host h = raw_io();
	struct nvme_cqe cqe;

	raw_read(&h, 1, 512);
	RAW_UNTIL(h.gate->commands);
	raw_fill(h.gate->last, 512);
	h.gate->last->cqe.result64 = htole64(5);
	tgt_complete_status(h.gate->last, 0);
	raw_hear(&h, &in);
	assert_int_equal(in.pdu.flags & (TCP_F_LAST | TCP_F_SUCCESS), TCP_F_LAST);
	raw_hear(&h, &in);
	assert_int_equal(in.pdu.type, TCP_CAPSULE_RESP);
	memcpy(&cqe, tcp_pdu_entry(&in.pdu), sizeof(cqe));
	assert_int_equal(le64toh(cqe.result64), 5);
	raw_hang_up(&h);
}

static void test_read_less_than_asked(void **state)
{
	struct host h = raw_io();

	raw_read(&h, 1, 8192);
	RAW_UNTIL(h.gate->commands);
	assert_int_equal(h.gate->last->data_len, 8192);
	raw_fill(h.gate->last, 1000);
	tgt_complete_status(h.gate->last, 0);
	raw_hear_read(&h, 1, 1000, true);
	/* Nothing at all: then there is a response. */
	raw_read(&h, 2, 8192);
	RAW_UNTIL(h.gate->commands == 2);
	h.gate->last->data_len = 0;
	tgt_complete_status(h.gate->last, 0);
	raw_hear_status(&h, 2, 0);
	raw_hang_up(&h);
}

/* A large read leaves in pieces while it is still coming in. */
static void test_cut_through(void **state)
{
	enum { LEN = 512 * 1024 };
	struct host h = raw_io();
	struct request *req;
	uint32_t heard = 0;

	raw_read(&h, 1, LEN);
	RAW_UNTIL(h.gate->commands);
	req = h.gate->last;
	raw_fill(req, LEN);
	for (uint32_t at = 0; at < LEN; at += 65536) {
		req->filled = at + 65536;
		tgt_progress(req);
		raw_turns(2);
		if (req->filled == LEN) /* the end waits for the answer */
			break;
		raw_hear(&h, &in);
		assert_int_equal(in.pdu.off, heard);
		assert_int_equal(in.pdu.flags & (TCP_F_LAST | TCP_F_SUCCESS), 0);
		heard += in.pdu.len;
	}
	assert_int_equal(heard, LEN - 65536);
	tgt_complete_status(req, 0);
	raw_hear(&h, &in);
	assert_int_equal(in.pdu.off, heard);
	assert_int_equal(in.pdu.len, 65536);
	assert_int_equal(in.pdu.flags, TCP_F_LAST | TCP_F_SUCCESS);
	raw_hang_up(&h);
}

/* An error after some of the data: no last PDU, but the response. */
static void test_read_fails_midway(void **state)
{
	struct host h = raw_io();
	struct request *req;

	raw_read(&h, 1, 262144);
	RAW_UNTIL(h.gate->commands);
	req = h.gate->last;
	raw_fill(req, 262144);
	req->filled = 65536;
	tgt_progress(req);
	raw_hear(&h, &in);
	assert_int_equal(in.pdu.len, 65536);
	/* Queued, but not sent when the error comes: it is taken back. */
	req->filled = 131072;
	tgt_progress(req);
	tgt_complete_status(req, NVME_STATUS(2, NVME_SC_READ_ERROR));
	raw_hear_status(&h, 1, NVME_STATUS(2, NVME_SC_READ_ERROR));
	raw_hang_up(&h);
}

/* The read is tried again elsewhere: what has left stays sent. */
static void test_read_retried(void **state)
{
	struct host h = raw_io();
	struct request *req;

	raw_read(&h, 1, 131072);
	RAW_UNTIL(h.gate->commands);
	req = h.gate->last;
	raw_fill(req, 131072);
	req->filled = 65536;
	tgt_progress(req);
	raw_hear(&h, &in);
	req->filled = 0;
	tgt_progress(req);
	req->filled = 32768;
	tgt_progress(req);
	raw_turns(4);
	assert_int_equal(recv(h.fd, bytes, 1, MSG_DONTWAIT), -1);
	req->filled = 131072;
	tgt_complete_status(req, 0);
	raw_hear(&h, &in);
	assert_int_equal(in.pdu.off, 65536);
	assert_int_equal(in.pdu.len, 65536);
	raw_hang_up(&h);
}

/* What has left of the first attempt ends with a block: the second may bring newer data. */
static void test_read_retried_within_a_block(void **state)
{
	enum { LEN = 131072, BLOCK = 4096 };
	struct host h = raw_io();
	struct request *req;

	raw_read(&h, 1, LEN);
	RAW_UNTIL(h.gate->commands);
	req = h.gate->last;
	req->block = BLOCK;
	raw_fill(req, LEN);
	assert_false(tgt_leaving(req));
	for (uint32_t n = 0; n <= 10 * BLOCK + 100; n += 100) {
		req->filled = n;
		tgt_progress(req);
	}
	assert_true(tgt_leaving(req));
	raw_hear(&h, &in);
	assert_false(tgt_leaving(req));
	assert_int_equal(in.pdu.off, 0);
	assert_int_equal(in.pdu.len, 10 * BLOCK);
	req->filled = 0;
	tgt_progress(req);
	req->filled = LEN;
	tgt_complete_status(req, 0);
	raw_hear(&h, &in);
	assert_int_equal(in.pdu.off, 10 * BLOCK);
	assert_int_equal(in.pdu.len, LEN - 10 * BLOCK);
	raw_hang_up(&h);
}

/* ---- digests ---- */

static void test_header_digest_damaged(void **state)
{
	struct host h = raw_shake(0, true, false);
	struct nvme_sqe sqe = raw_sqe(0, 1, NVME_SGL_TRANSPORT, 0);
	uint32_t digest;
	size_t len;

	raw_connect(&h, 1, RAW_SQ_SIZE, 0);
	len = raw_capsule(&h, bytes, &sqe, 0);
	bytes[20] ^= 1;
	memcpy(&digest, bytes + TCP_CMD_LEN, sizeof(digest));
	raw_put(&h, bytes, len);
	raw_hear_term(&h, TCP_FES_HDGST, le32toh(digest), bytes, TCP_CMD_LEN);
}

/* A damaged payload costs the command, not the connection. */
static void test_data_digest_damaged(void **state)
{
	const uint16_t damaged = NVME_STATUS(0, NVME_SC_TRAN_TPORT_ERROR);
	struct host h = raw_shake(0, false, true);
	struct nvme_sqe sqe = raw_sqe(1, 1, NVME_SGL_DATA_OFFSET, 512);
	uint16_t ttag;
	size_t len;

	raw_connect(&h, 1, RAW_SQ_SIZE, 0);
	h.gate->on_command = raw_serve;
	h.gate->on_ready = raw_serve_ready;
	len = raw_capsule(&h, bytes, &sqe, 512);
	bytes[len - 100] ^= 1;
	raw_put(&h, bytes, len);
	raw_hear_status(&h, 1, damaged);
	assert_int_equal(h.gate->commands, 0);
	/* The first of two H2CData: the answer comes when all is there. */
	raw_write(&h, 2, 16384);
	ttag = raw_hear_r2t(&h, 2, 16384);
	len = raw_h2c(&h, bytes, 2, ttag, 0, 8192, 0);
	bytes[len - 1] ^= 0x80;
	raw_put(&h, bytes, len);
	raw_turns(4);
	assert_int_equal(h.gate->failed, 0);
	raw_put(&h, bytes, raw_h2c(&h, bytes, 2, ttag, 8192, 8192, TCP_F_LAST));
	raw_hear_status(&h, 2, damaged);
	assert_int_equal(h.gate->failed, 1);
	assert_int_equal(h.gate->fail_status, damaged);
	assert_int_equal(h.gate->ready, 0);
	/* The next command in the same slot is not damaged. */
	raw_write(&h, 3, 16384);
	raw_serve_r2t(&h, 3, raw_hear_r2t(&h, 3, 16384), 16384);
	raw_hear_status(&h, 3, 0);
	raw_hang_up(&h);
}

static void test_data_digest_of_reads(void **state)
{
	struct host h = raw_shake(0, true, true);

	raw_connect(&h, 1, RAW_SQ_SIZE, NVMF_CATTR_DISABLE_SQFLOW);
	h.gate->on_command = raw_serve;
	for (uint16_t i = 0; i < 20; i++) {
		raw_read(&h, i, 1000 * i + 1);
		raw_hear_read(&h, i, 1000 * i + 1, true);
	}
	raw_hang_up(&h);
}

/* ---- alignment ---- */

/* CPDA is what hosts pad to, HPDA what we pad to. */
static void test_alignment(void **state)
{
	static const uint8_t pdas[] = {0, 1, 2, 7, 15, 31};

	for (unsigned i = 0; i < N(pdas); i++) {
		for (unsigned digests = 0; digests < 4; digests++) {
			struct host h;

			raw_cfg.cpda = pdas[i];
			h = raw_shake(pdas[N(pdas) - 1 - i], digests & 1, digests & 2);
			assert_int_equal(h.wire.pda, pdas[i]);
			raw_connect(&h, 1, RAW_SQ_SIZE, NVMF_CATTR_DISABLE_SQFLOW);
			h.gate->on_command = raw_serve;
			h.gate->on_ready = raw_serve_ready;
			raw_write_icd(&h, 1, 4000);
			raw_hear_status(&h, 1, 0);
			raw_write(&h, 2, 10000);
			raw_serve_r2t(&h, 2, raw_hear_r2t(&h, 2, 10000), 10000);
			raw_hear_status(&h, 2, 0);
			raw_read(&h, 3, 50000);
			raw_hear_read(&h, 3, 50000, true);
			raw_hang_up(&h);
			raw_teardown(state);
			raw_setup(state);
		}
	}
}

static void test_unaligned_data(void **state)
{
	struct nvme_sqe sqe = raw_sqe(1, 1, NVME_SGL_DATA_OFFSET, 512);
	struct host h;
	size_t len;

	raw_cfg.cpda = 3;
	h = raw_io();
	h.wire.pda = 0;
	len = raw_capsule(&h, bytes, &sqe, 512);
	raw_put(&h, bytes, len);
	raw_hear_term(&h, TCP_FES_FIELD, TCP_OFF_PDO, bytes, TCP_CMD_LEN);
}

#define T(f) cmocka_unit_test_setup_teardown(f, raw_setup, raw_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_icresp),
		T(test_icreq_in_pieces),
		T(test_bad_icreq),
		T(test_second_icreq),
		T(test_command_behind_icreq),
		T(test_wrong_direction),
		T(test_h2c_term),
		T(test_h2c_term_first),
		T(test_bad_h2c_term),
		T(test_connect_response),
		T(test_sqhd),
		T(test_connect_by_r2t),
		T(test_connect_refused_then_accepted),
		T(test_one_command_before_connect),
		T(test_admin_capsule_data),
		T(test_pipelined_behind_connect),
		T(test_in_capsule_data),
		T(test_capsule_data_limit),
		T(test_bad_sgl),
		T(test_duplicate_cid),
		T(test_queue_overflow),
		T(test_capsules_cut_anywhere),
		T(test_r2t),
		T(test_no_r2t_before_fetch),
		T(test_r2t_interleaved),
		T(test_bad_h2c_data),
		T(test_data_without_r2t),
		T(test_data_twice),
		T(test_answered_while_fetching),
		T(test_read),
		T(test_read_with_result),
		T(test_read_less_than_asked),
		T(test_cut_through),
		T(test_read_fails_midway),
		T(test_read_retried),
		T(test_read_retried_within_a_block),
		T(test_header_digest_damaged),
		T(test_data_digest_damaged),
		T(test_data_digest_of_reads),
		T(test_alignment),
		T(test_unaligned_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
