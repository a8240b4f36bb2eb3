/* SPDX-License-Identifier: Apache-2.0 */
/* The NVMe/TCP codec: what it writes byte for byte, and what it says of everything that is wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/tcp_pdu.h"

#define MAX_DATA  8192u /* MAXH2CDATA */
#define DATA_LEN  512u
#define N(array)  (sizeof(array) / sizeof((array)[0]))
#define FLAG_BITS 4u /* hdgst, ddgst, and two choices of alignment: all combinations of a wire */

static const enum tcp_pdu_type types[] = {
	TCP_ICREQ,	  TCP_ICRESP,	TCP_H2C_TERM, TCP_C2H_TERM, TCP_CAPSULE_CMD,
	TCP_CAPSULE_RESP, TCP_H2C_DATA, TCP_C2H_DATA, TCP_R2T,
};

/* The definition of CRC32C, bit by bit. */
static uint32_t crc32c(const uint8_t *p, size_t len)
{
	uint32_t crc = ~0u;

	while (len--) {
		crc ^= *p++;
		for (unsigned i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

static uint32_t get32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}

static bool to_target(enum tcp_pdu_type type)
{
	return type % 2 == 0;
}

static bool is_ic(enum tcp_pdu_type type)
{
	return type == TCP_ICREQ || type == TCP_ICRESP;
}

static bool is_term(enum tcp_pdu_type type)
{
	return type == TCP_H2C_TERM || type == TCP_C2H_TERM;
}

static bool is_data(enum tcp_pdu_type type)
{
	return type == TCP_H2C_DATA || type == TCP_C2H_DATA;
}

/* What the receiver of that PDU goes by, at a time when it may come. */
static struct tcp_rules rules_for(enum tcp_pdu_type type, const struct tcp_wire *w)
{
	return (struct tcp_rules){
		.target = to_target(type),
		.ic_done = !is_ic(type),
		.hdgst = w->hdgst,
		.ddgst = w->ddgst,
		.pda = w->pda,
		.max_data = MAX_DATA,
	};
}

/* A good PDU's head, with recognizable fields; capsules have DATA_LEN of data. */
static unsigned write_head(uint8_t *b, enum tcp_pdu_type type, const struct tcp_wire *w)
{
	struct nvme_sqe sqe = {.opcode = 1, .cid = htole16(0x1234), .cdw15 = 0xdeadbeef};
	struct nvme_cqe cqe = {.result = 0x55aa, .cid = htole16(0x1234), .status = htole16(0x4004)};
	struct tcp_err err = {TCP_FES_RANGE, 0x01020304, ""};
	static const uint8_t bad[24] = {1, 2, 3};

	switch (type) {
	case TCP_ICREQ:
		return tcp_put_ic(b, type, 5, true, false, 3);
	case TCP_ICRESP:
		return tcp_put_ic(b, type, 5, false, true, MAX_DATA);
	case TCP_H2C_TERM:
	case TCP_C2H_TERM:
		return tcp_put_term(b, type, &err, bad, sizeof(bad));
	case TCP_CAPSULE_CMD:
		return tcp_put_cmd(b, w, &sqe, DATA_LEN);
	case TCP_CAPSULE_RESP:
		return tcp_put_resp(b, w, &cqe);
	case TCP_H2C_DATA:
		return tcp_put_data(b, w, type, TCP_F_LAST, 0x1234, 0x5678, 4096, DATA_LEN);
	case TCP_C2H_DATA:
		return tcp_put_data(b, w, type, TCP_F_LAST | TCP_F_SUCCESS, 0x1234, 0, 4096,
				    DATA_LEN);
	case TCP_R2T:
		return tcp_put_r2t(b, w, 0x1234, 0x5678, 4096, 8192);
	}
	return 0;
}

/* Writes the header digest again, after the header was changed. */
static void digest_again(uint8_t *b)
{
	uint8_t hlen = b[TCP_OFF_HLEN];

	if (b[TCP_OFF_FLAGS] & TCP_F_HDGST && hlen <= TCP_CMD_LEN)
		put32(b + hlen, crc32c(b, hlen));
}

static struct tcp_wire wire_nr(unsigned i)
{
	static const uint8_t pdas[] = {0, 1, 7, 31};

	return (struct tcp_wire){i & 1, i & 2, pdas[i >> 2]};
}

/* ---- bytes ---- */

static void expect_bytes(const uint8_t *got, unsigned len, const uint8_t *want, unsigned want_len)
{
	assert_int_equal(len, want_len);
	assert_memory_equal(got, want, want_len);
}

static void test_bytes_ic(void **state)
{
	uint8_t b[TCP_IC_LEN], want[TCP_IC_LEN] = {0x00, 0, 128, 0, 128, 0, 0, 0, 0, 0, 3, 0x01, 2};

	memset(b, 0xee, sizeof(b));
	expect_bytes(b, tcp_put_ic(b, TCP_ICREQ, 3, true, false, 2), want, sizeof(want));
	want[0] = 0x01;
	want[TCP_OFF_PDA] = 0;
	want[TCP_OFF_DGST] = 0x03;
	put32(want + TCP_OFF_MAXH2CDATA, 131072);
	expect_bytes(b, tcp_put_ic(b, TCP_ICRESP, 0, true, true, 131072), want, sizeof(want));
}

static void test_bytes_r2t(void **state)
{
	static const struct tcp_wire plain;
	uint8_t b[64], want[28] = {0x09, 0,    24,   0,	   24,	 0, 0,	0, 0x34, 0x12, 0x78, 0x56,
				   0,	 0x10, 0x20, 0x30, 0x40, 0, 16, 0, 0,	 0,    0,    0};

	memset(b, 0xee, sizeof(b));
	expect_bytes(b, tcp_put_r2t(b, &plain, 0x1234, 0x5678, 0x30201000, 0x100040), want, 24);
	want[1] = 0x01;
	want[4] = 28;
	put32(want + 24, crc32c(want, 24));
	expect_bytes(b,
		     tcp_put_r2t(b, &(struct tcp_wire){.hdgst = true}, 0x1234, 0x5678, 0x30201000,
				 0x100040),
		     want, 28);
}

/* PDO is the head's length rounded up, PLEN counts padding and both digests, padding is zero. */
static void test_bytes_data(void **state)
{
	static const struct {
		struct tcp_wire w;
		uint8_t flags, pdo, plen;
	} cases[] = {
		{{false, false, 0}, 0x04, 24, 24 + 64},
		{{true, false, 0}, 0x05, 28, 28 + 64},
		{{false, true, 0}, 0x06, 24, 24 + 64 + 4},
		{{true, true, 0}, 0x07, 28, 28 + 64 + 4},
		{{false, false, 3}, 0x04, 32, 32 + 64},
		{{true, true, 6}, 0x07, 28, 28 + 64 + 4},
		{{true, true, 7}, 0x07, 32, 32 + 64 + 4},
		{{true, true, 31}, 0x07, 128, 128 + 64 + 4},
	};

	for (unsigned i = 0; i < N(cases); i++) {
		uint8_t b[256], want[256] = {0};

		want[0] = TCP_H2C_DATA;
		want[1] = cases[i].flags;
		want[2] = 24;
		want[3] = cases[i].pdo;
		want[4] = cases[i].plen;
		want[8] = 0x0a;
		want[10] = 0x0b;
		want[12] = 0x80;
		want[16] = 64;
		if (cases[i].w.hdgst)
			put32(want + 24, crc32c(want, 24));
		memset(b, 0xee, sizeof(b));
		expect_bytes(b,
			     tcp_put_data(b, &cases[i].w, TCP_H2C_DATA, TCP_F_LAST, 0x0a, 0x0b,
					  0x80, 64),
			     want, cases[i].pdo);
	}
}

static void test_bytes_capsules(void **state)
{
	static const struct tcp_wire w = {true, true, 7};
	struct nvme_sqe sqe;
	struct nvme_cqe cqe;
	uint8_t b[256], want[256] = {TCP_CAPSULE_CMD, 0x01, 72, 0, 76};

	memset(&sqe, 0xa5, sizeof(sqe));
	memset(want + 8, 0xa5, 64);
	put32(want + 72, crc32c(want, 72));
	expect_bytes(b, tcp_put_cmd(b, &w, &sqe, 0), want, 76);
	/* With data there is a data digest and a PDO: 76 rounded up to 96. */
	want[1] = 0x03;
	want[3] = 96;
	put32(want + 4, 96 + 512 + 4);
	put32(want + 72, crc32c(want, 72));
	memset(want + 76, 0, 20);
	memset(b, 0xee, sizeof(b));
	expect_bytes(b, tcp_put_cmd(b, &w, &sqe, 512), want, 96);

	memset(&cqe, 0x5a, sizeof(cqe));
	memcpy(want, (uint8_t[]){TCP_CAPSULE_RESP, 0x01, 24, 0, 28, 0, 0, 0}, 8);
	memset(want + 8, 0x5a, 16);
	put32(want + 24, crc32c(want, 24));
	expect_bytes(b, tcp_put_resp(b, &w, &cqe), want, 28);
}

/* The header in error follows, as much of it as the specification allows. */
static void test_bytes_term(void **state)
{
	const struct tcp_err err = {TCP_FES_HDGST, 0x11223344, ""};
	uint8_t b[TCP_TERM_MAX], bad[200],
		want[TCP_TERM_MAX] = {TCP_C2H_TERM, 0, 24,   0,	   72 + 24, 0,	 0, 0,
				      0x03,	    0, 0x44, 0x33, 0x22,    0x11};

	memset(bad, 0x77, sizeof(bad));
	memset(want + 24, 0x77, 128);
	expect_bytes(b, tcp_put_term(b, TCP_C2H_TERM, &err, bad, 72), want, 72 + 24);
	want[0] = TCP_H2C_TERM;
	want[4] = 152;
	expect_bytes(b, tcp_put_term(b, TCP_H2C_TERM, &err, bad, sizeof(bad)), want, 152);
}

static void test_known_vector(void **state)
{
	static const struct tcp_wire w = {.hdgst = true};
	struct nvme_sqe sqe;
	uint8_t b[256];

	assert_int_equal(crc32c((const uint8_t *)"123456789", 9), 0xe3069283);
	memset(&sqe, 0, sizeof(sqe));
	tcp_put_cmd(b, &w, &sqe, 0);
	assert_int_equal(get32(b + 72), crc32c(b, 72));
}

/* ---- there and back ---- */

/* Decodes every prefix: each asks for more than there is, and the whole head is enough. */
static void decode_prefixes(const struct tcp_rules *r, const uint8_t *b, unsigned len,
			    struct tcp_pdu *pdu)
{
	struct tcp_err err;
	unsigned need = 0;

	while (need < len) {
		uint8_t *exact = malloc(need ? need : 1);
		int more;

		memcpy(exact, b, need);
		more = tcp_pdu_decode(r, exact, need, pdu, &err);
		free(exact);
		assert_in_range(more, need + 1, len);
		need = (unsigned)more;
	}
	assert_int_equal(tcp_pdu_decode(r, b, len, pdu, &err), 0);
	assert_ptr_equal(pdu->head, b);
}

static void check_fields(enum tcp_pdu_type type, const struct tcp_pdu *pdu)
{
	struct nvme_sqe sqe;
	struct nvme_cqe cqe;

	switch (type) {
	case TCP_ICREQ:
	case TCP_ICRESP:
		assert_int_equal(pdu->ic.pda, 5);
		assert_int_equal(pdu->ic.hdgst, type == TCP_ICREQ);
		assert_int_equal(pdu->ic.ddgst, type == TCP_ICRESP);
		assert_int_equal(pdu->ic.max, type == TCP_ICREQ ? 3 : MAX_DATA);
		break;
	case TCP_H2C_TERM:
	case TCP_C2H_TERM:
		assert_int_equal(pdu->term.fes, TCP_FES_RANGE);
		assert_int_equal(pdu->term.fei, 0x01020304);
		break;
	case TCP_CAPSULE_CMD:
		memcpy(&sqe, tcp_pdu_entry(pdu), sizeof(sqe));
		assert_int_equal(sqe.cid, htole16(0x1234));
		assert_int_equal(sqe.cdw15, 0xdeadbeef);
		break;
	case TCP_CAPSULE_RESP:
		memcpy(&cqe, tcp_pdu_entry(pdu), sizeof(cqe));
		assert_int_equal(cqe.cid, htole16(0x1234));
		assert_int_equal(cqe.result, 0x55aa);
		assert_int_equal(nvme_cqe_status(&cqe), 0x2002);
		break;
	default:
		assert_int_equal(pdu->cccid, 0x1234);
		assert_int_equal(pdu->ttag, type == TCP_C2H_DATA ? 0 : 0x5678);
		assert_int_equal(pdu->off, 4096);
		assert_int_equal(pdu->len, type == TCP_R2T ? 8192 : DATA_LEN);
		break;
	}
}

static void test_round_trips(void **state)
{
	for (unsigned i = 0; i < N(types); i++) {
		for (unsigned n = 0; n < 1u << FLAG_BITS; n++) {
			enum tcp_pdu_type type = types[i];
			struct tcp_wire w = wire_nr(n);
			struct tcp_rules r = rules_for(type, &w);
			uint32_t data = type == TCP_CAPSULE_CMD || is_data(type) ? DATA_LEN : 0;
			uint8_t b[TCP_HEAD_MAX];
			struct tcp_pdu pdu;
			unsigned len = write_head(b, type, &w);

			if (is_term(type)) {
				data = 24;
				len -= data;
			}
			decode_prefixes(&r, b, len, &pdu);
			assert_int_equal(pdu.type, type);
			assert_int_equal(pdu.flags, b[TCP_OFF_FLAGS]);
			assert_int_equal(pdu.head_len, len);
			assert_int_equal(pdu.data_len, data);
			assert_int_equal(pdu.ddgst, w.ddgst && data && !is_term(type));
			check_fields(type, &pdu);
		}
	}
}

static void test_command_without_data(void **state)
{
	static const struct nvme_sqe sqe;

	for (unsigned n = 0; n < 1u << FLAG_BITS; n++) {
		struct tcp_wire w = wire_nr(n);
		struct tcp_rules r = rules_for(TCP_CAPSULE_CMD, &w);
		uint8_t b[TCP_HEAD_MAX];
		struct tcp_pdu pdu;
		unsigned len = tcp_put_cmd(b, &w, &sqe, 0);

		assert_int_equal(len, w.hdgst ? 76 : 72);
		decode_prefixes(&r, b, len, &pdu);
		assert_int_equal(pdu.data_len, 0);
		assert_false(pdu.ddgst);
	}
}

/* A sender may pad more than it was asked to, as long as PDO is a multiple of the alignment. */
static void test_more_padding_than_needed(void **state)
{
	const struct tcp_wire w = {true, true, 3};
	struct tcp_rules r = rules_for(TCP_H2C_DATA, &w);
	uint8_t b[TCP_HEAD_MAX] = {0};
	struct tcp_pdu pdu;

	tcp_put_data(b, &w, TCP_H2C_DATA, 0, 1, 2, 0, DATA_LEN);
	b[TCP_OFF_PDO] = 240;
	put32(b + TCP_OFF_PLEN, 240 + DATA_LEN + 4);
	digest_again(b);
	decode_prefixes(&r, b, 240, &pdu);
	assert_int_equal(pdu.data_len, DATA_LEN);
}

/* Reserved bits and bytes, and PDO where there is no data, are nobody's business. */
static void test_reserved_is_ignored(void **state)
{
	static const struct {
		enum tcp_pdu_type type;
		uint8_t at, value;
	} cases[] = {
		{TCP_ICREQ, TCP_OFF_FLAGS, 0xff},
		{TCP_ICREQ, TCP_OFF_PDO, 77},
		{TCP_ICREQ, TCP_OFF_DGST, 0xfd},
		{TCP_ICREQ, 16, 1},
		{TCP_ICREQ, 127, 1},
		{TCP_ICRESP, TCP_OFF_DGST, 0xfe},
		{TCP_H2C_TERM, TCP_OFF_FLAGS, 3},
		{TCP_H2C_TERM, TCP_OFF_PDO, 1},
		{TCP_H2C_TERM, 23, 1},
		{TCP_CAPSULE_RESP, TCP_OFF_FLAGS, 0xfe},
		{TCP_R2T, TCP_OFF_PDO, 3},
		{TCP_R2T, 20, 1},
		{TCP_H2C_DATA, 23, 1},
		{TCP_H2C_DATA, TCP_OFF_FLAGS, 0xf4},
	};

	for (unsigned i = 0; i < N(cases); i++) {
		static const struct tcp_wire plain;
		struct tcp_rules r = rules_for(cases[i].type, &plain);
		uint8_t b[TCP_HEAD_MAX];
		struct tcp_pdu pdu;
		struct tcp_err err;

		write_head(b, cases[i].type, &plain);
		b[cases[i].at] = cases[i].value;
		assert_int_equal(tcp_pdu_decode(&r, b, sizeof(b), &pdu, &err), 0);
	}
}

/* ---- what is wrong ---- */

static void expect_error(const struct tcp_rules *r, const uint8_t *b, size_t len, uint16_t fes,
			 uint32_t fei)
{
	struct tcp_pdu pdu;
	struct tcp_err err = {0xffff, 0xffff, NULL};

	assert_int_equal(tcp_pdu_decode(r, b, len, &pdu, &err), -EPROTO);
	assert_int_equal(err.fes, fes);
	assert_int_equal(err.fei, fei);
	assert_non_null(err.what);
}

static void test_unknown_types(void **state)
{
	for (unsigned type = 0; type < 256; type++) {
		uint8_t b[TCP_CH_LEN] = {(uint8_t)type, 0, 24, 0, 24};

		for (unsigned i = 0; i < N(types); i++)
			if (types[i] == type)
				goto known;
		for (unsigned i = 0; i < 4; i++) {
			struct tcp_rules r = {.target = i & 1, .ic_done = i & 2};

			expect_error(&r, b, sizeof(b), TCP_FES_FIELD, TCP_OFF_TYPE);
		}
known:;
	}
}

static void test_wrong_direction(void **state)
{
	for (unsigned i = 0; i < N(types); i++) {
		for (unsigned ic_done = 0; ic_done < 2; ic_done++) {
			static const struct tcp_wire plain;
			struct tcp_rules r = rules_for(types[i], &plain);
			uint8_t b[TCP_HEAD_MAX];

			write_head(b, types[i], &plain);
			r.target = !r.target;
			r.ic_done = ic_done;
			expect_error(&r, b, TCP_CH_LEN, TCP_FES_FIELD, TCP_OFF_TYPE);
		}
	}
}

static void test_wrong_time(void **state)
{
	for (unsigned i = 0; i < N(types); i++) {
		static const struct tcp_wire plain;
		struct tcp_rules r = rules_for(types[i], &plain);
		uint8_t b[TCP_HEAD_MAX];
		struct tcp_pdu pdu;
		struct tcp_err err;

		write_head(b, types[i], &plain);
		r.ic_done = !r.ic_done;
		if (is_term(types[i])) /* at any time */
			assert_int_equal(tcp_pdu_decode(&r, b, sizeof(b), &pdu, &err), 0);
		else
			expect_error(&r, b, TCP_CH_LEN, TCP_FES_SEQUENCE, 0);
	}
}

/* One field of a good PDU changed. */
struct damage {
	enum tcp_pdu_type type;
	struct tcp_wire wire;
	uint8_t at;
	uint32_t value;
	unsigned size;
	uint16_t fes;
	uint32_t fei;
};

static const struct damage damages[] = {
	/* HLEN is fixed. */
	{TCP_ICREQ, {}, TCP_OFF_HLEN, 127, 1, TCP_FES_FIELD, TCP_OFF_HLEN},
	{TCP_ICREQ, {}, TCP_OFF_HLEN, 0, 1, TCP_FES_FIELD, TCP_OFF_HLEN},
	{TCP_ICRESP, {}, TCP_OFF_HLEN, 129, 1, TCP_FES_FIELD, TCP_OFF_HLEN},
	{TCP_CAPSULE_CMD, {}, TCP_OFF_HLEN, 71, 1, TCP_FES_FIELD, TCP_OFF_HLEN},
	{TCP_CAPSULE_CMD, {true, true, 0}, TCP_OFF_HLEN, 76, 1, TCP_FES_FIELD, TCP_OFF_HLEN},
	{TCP_CAPSULE_RESP, {}, TCP_OFF_HLEN, 25, 1, TCP_FES_FIELD, TCP_OFF_HLEN},
	{TCP_H2C_DATA, {}, TCP_OFF_HLEN, 28, 1, TCP_FES_FIELD, TCP_OFF_HLEN},
	{TCP_C2H_DATA, {}, TCP_OFF_HLEN, 255, 1, TCP_FES_FIELD, TCP_OFF_HLEN},
	{TCP_R2T, {}, TCP_OFF_HLEN, 20, 1, TCP_FES_FIELD, TCP_OFF_HLEN},

	/* Digest flags say what was negotiated. */
	{TCP_CAPSULE_CMD, {true, false, 0}, TCP_OFF_FLAGS, 0, 1, TCP_FES_FIELD, TCP_OFF_FLAGS},
	{TCP_CAPSULE_CMD, {}, TCP_OFF_FLAGS, TCP_F_HDGST, 1, TCP_FES_FIELD, TCP_OFF_FLAGS},
	{TCP_CAPSULE_CMD, {}, TCP_OFF_FLAGS, TCP_F_DDGST, 1, TCP_FES_FIELD, TCP_OFF_FLAGS},
	{TCP_CAPSULE_CMD, {false, true, 0}, TCP_OFF_FLAGS, 0, 1, TCP_FES_FIELD, TCP_OFF_FLAGS},
	{TCP_CAPSULE_RESP, {true, false, 0}, TCP_OFF_FLAGS, 0, 1, TCP_FES_FIELD, TCP_OFF_FLAGS},
	{TCP_CAPSULE_RESP, {}, TCP_OFF_FLAGS, TCP_F_HDGST, 1, TCP_FES_FIELD, TCP_OFF_FLAGS},
	{TCP_H2C_DATA,
	 {true, true, 0},
	 TCP_OFF_FLAGS,
	 TCP_F_DDGST,
	 1,
	 TCP_FES_FIELD,
	 TCP_OFF_FLAGS},
	{TCP_H2C_DATA,
	 {true, true, 0},
	 TCP_OFF_FLAGS,
	 TCP_F_HDGST,
	 1,
	 TCP_FES_FIELD,
	 TCP_OFF_FLAGS},
	{TCP_C2H_DATA, {}, TCP_OFF_FLAGS, TCP_F_DDGST, 1, TCP_FES_FIELD, TCP_OFF_FLAGS},
	{TCP_R2T, {}, TCP_OFF_FLAGS, TCP_F_HDGST, 1, TCP_FES_FIELD, TCP_OFF_FLAGS},
	{TCP_R2T, {true, false, 0}, TCP_OFF_FLAGS, 0, 1, TCP_FES_FIELD, TCP_OFF_FLAGS},
	{TCP_C2H_DATA, {}, TCP_OFF_FLAGS, TCP_F_SUCCESS, 1, TCP_FES_FIELD, TCP_OFF_FLAGS},

	/* PDO is behind the header and its digest, and aligned. */
	{TCP_CAPSULE_CMD, {}, TCP_OFF_PDO, 71, 1, TCP_FES_FIELD, TCP_OFF_PDO},
	{TCP_CAPSULE_CMD, {}, TCP_OFF_PDO, 0, 1, TCP_FES_FIELD, TCP_OFF_PDO},
	{TCP_CAPSULE_CMD, {}, TCP_OFF_PDO, 73, 1, TCP_FES_FIELD, TCP_OFF_PDO},
	{TCP_CAPSULE_CMD, {}, TCP_OFF_PDO, 74, 1, TCP_FES_FIELD, TCP_OFF_PDO},
	{TCP_CAPSULE_CMD, {true, false, 0}, TCP_OFF_PDO, 72, 1, TCP_FES_FIELD, TCP_OFF_PDO},
	{TCP_CAPSULE_CMD, {false, false, 1}, TCP_OFF_PDO, 76, 1, TCP_FES_FIELD, TCP_OFF_PDO},
	{TCP_CAPSULE_CMD, {false, false, 31}, TCP_OFF_PDO, 72, 1, TCP_FES_FIELD, TCP_OFF_PDO},
	{TCP_H2C_DATA, {}, TCP_OFF_PDO, 20, 1, TCP_FES_FIELD, TCP_OFF_PDO},
	{TCP_H2C_DATA, {true, true, 0}, TCP_OFF_PDO, 24, 1, TCP_FES_FIELD, TCP_OFF_PDO},
	{TCP_H2C_DATA, {false, false, 2}, TCP_OFF_PDO, 28, 1, TCP_FES_FIELD, TCP_OFF_PDO},
	{TCP_C2H_DATA, {false, false, 7}, TCP_OFF_PDO, 40, 1, TCP_FES_FIELD, TCP_OFF_PDO},

	/* PLEN is the header alone, or has room for data and its digest. */
	{TCP_ICREQ, {}, TCP_OFF_PLEN, 127, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_ICREQ, {}, TCP_OFF_PLEN, 129, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_ICREQ, {}, TCP_OFF_PLEN, 0, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_ICRESP, {}, TCP_OFF_PLEN, 0x80000080, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_CAPSULE_CMD, {}, TCP_OFF_PLEN, 71, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_CAPSULE_CMD, {true, true, 0}, TCP_OFF_PLEN, 72, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_CAPSULE_CMD, {false, true, 0}, TCP_OFF_PLEN, 73, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_CAPSULE_CMD, {false, true, 0}, TCP_OFF_PLEN, 76, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_CAPSULE_CMD, {false, false, 31}, TCP_OFF_PLEN, 128, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_CAPSULE_RESP, {}, TCP_OFF_PLEN, 23, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_CAPSULE_RESP, {}, TCP_OFF_PLEN, 25, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_CAPSULE_RESP, {true, false, 0}, TCP_OFF_PLEN, 24, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_R2T, {}, TCP_OFF_PLEN, 28, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_H2C_DATA, {}, TCP_OFF_PLEN, 24, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_H2C_DATA, {}, TCP_OFF_PLEN, 0, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_H2C_DATA, {false, true, 0}, TCP_OFF_PLEN, 28, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_C2H_DATA, {false, false, 31}, TCP_OFF_PLEN, 127, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	/* ...and is what DATAL says. */
	{TCP_H2C_DATA, {}, TCP_OFF_DATAL, DATA_LEN - 1, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_H2C_DATA, {}, TCP_OFF_DATAL, 0, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_H2C_DATA, {}, TCP_OFF_PLEN, 24 + DATA_LEN + 1, 4, TCP_FES_FIELD, TCP_OFF_PLEN},
	{TCP_C2H_DATA, {}, TCP_OFF_DATAL, DATA_LEN + 1, 4, TCP_FES_FIELD, TCP_OFF_PLEN},

	/* ICReq and ICResp */
	{TCP_ICREQ, {}, TCP_OFF_PFV, 1, 2, TCP_FES_PARAM, TCP_OFF_PFV},
	{TCP_ICREQ, {}, TCP_OFF_PFV, 0x100, 2, TCP_FES_PARAM, TCP_OFF_PFV},
	{TCP_ICRESP, {}, TCP_OFF_PFV, 1, 2, TCP_FES_PARAM, TCP_OFF_PFV},
	{TCP_ICREQ, {}, TCP_OFF_PDA, 32, 1, TCP_FES_FIELD, TCP_OFF_PDA},
	{TCP_ICRESP, {}, TCP_OFF_PDA, 255, 1, TCP_FES_FIELD, TCP_OFF_PDA},
	{TCP_ICRESP, {}, TCP_OFF_MAXH2CDATA, 4092, 4, TCP_FES_FIELD, TCP_OFF_MAXH2CDATA},
	{TCP_ICRESP, {}, TCP_OFF_MAXH2CDATA, 0, 4, TCP_FES_FIELD, TCP_OFF_MAXH2CDATA},
	{TCP_ICRESP, {}, TCP_OFF_MAXH2CDATA, 4098, 4, TCP_FES_FIELD, TCP_OFF_MAXH2CDATA},

	/* Term-reqs that are wrong get no answer. */
	{TCP_H2C_TERM, {}, TCP_OFF_HLEN, 23, 1, TCP_FES_NONE, TCP_OFF_HLEN},
	{TCP_C2H_TERM, {}, TCP_OFF_HLEN, 0, 1, TCP_FES_NONE, TCP_OFF_HLEN},
	{TCP_H2C_TERM, {}, TCP_OFF_PLEN, 23, 4, TCP_FES_NONE, TCP_OFF_PLEN},
	{TCP_H2C_TERM, {}, TCP_OFF_PLEN, 153, 4, TCP_FES_NONE, TCP_OFF_PLEN},
	{TCP_C2H_TERM, {}, TCP_OFF_PLEN, 0xffffffff, 4, TCP_FES_NONE, TCP_OFF_PLEN},
};

static void test_wrong_fields(void **state)
{
	for (unsigned i = 0; i < N(damages); i++) {
		const struct damage *d = &damages[i];
		struct tcp_rules r = rules_for(d->type, &d->wire);
		uint8_t b[TCP_HEAD_MAX] = {0};

		write_head(b, d->type, &d->wire);
		for (unsigned k = 0; k < d->size; k++)
			b[d->at + k] = (uint8_t)(d->value >> 8 * k);
		/* Else the digest would be what is wrong. */
		if (d->at != TCP_OFF_HLEN)
			digest_again(b);
		expect_error(&r, b, sizeof(b), d->fes, d->fei);
	}
}

/* Of several wrong fields it is the first that is told. */
static void test_first_field_is_told(void **state)
{
	static const uint8_t order[] = {TCP_OFF_PLEN, TCP_OFF_PDO, TCP_OFF_HLEN, TCP_OFF_FLAGS,
					TCP_OFF_TYPE};
	static const uint8_t bad[] = {[TCP_OFF_TYPE] = TCP_C2H_DATA,
				      [TCP_OFF_FLAGS] = TCP_F_HDGST,
				      [TCP_OFF_HLEN] = 1,
				      [TCP_OFF_PDO] = 1,
				      [TCP_OFF_PLEN] = 1};
	static const struct tcp_wire plain;
	struct tcp_rules r = rules_for(TCP_H2C_DATA, &plain);
	uint8_t b[TCP_HEAD_MAX];

	write_head(b, TCP_H2C_DATA, &plain);
	put32(b + TCP_OFF_PLEN, 0);
	for (unsigned i = 0; i < N(order); i++) {
		b[order[i]] = bad[order[i]];
		expect_error(&r, b, TCP_CH_LEN, TCP_FES_FIELD, order[i]);
	}
}

static void test_more_than_maxh2cdata(void **state)
{
	static const struct tcp_wire plain;
	struct tcp_rules r = rules_for(TCP_H2C_DATA, &plain);
	uint8_t b[TCP_HEAD_MAX];
	struct tcp_pdu pdu;
	struct tcp_err err;

	tcp_put_data(b, &plain, TCP_H2C_DATA, 0, 1, 2, 0, MAX_DATA);
	assert_int_equal(tcp_pdu_decode(&r, b, sizeof(b), &pdu, &err), 0);
	tcp_put_data(b, &plain, TCP_H2C_DATA, 0, 1, 2, 0, MAX_DATA + 1);
	expect_error(&r, b, sizeof(b), TCP_FES_LIMIT, 0);
}

/* Any bit of the header or of the digest: FEI is the digest that came. */
static void test_header_digest(void **state)
{
	const struct tcp_wire w = {.hdgst = true};

	for (unsigned i = 0; i < N(types); i++) {
		struct tcp_rules r = rules_for(types[i], &w);
		uint8_t b[TCP_HEAD_MAX];

		if (is_ic(types[i]) || is_term(types[i]))
			continue;
		write_head(b, types[i], &w);
		for (unsigned bit = TCP_CH_LEN * 8; bit < (b[TCP_OFF_HLEN] + 4u) * 8; bit++) {
			write_head(b, types[i], &w);
			b[bit / 8] ^= (uint8_t)(1 << bit % 8);
			expect_error(&r, b, sizeof(b), TCP_FES_HDGST, get32(b + b[TCP_OFF_HLEN]));
		}
	}
}

/* ---- against the command ---- */

struct xfer_case {
	uint32_t off, len;
	uint8_t flags;
	int fes; /* -1: good */
	uint32_t fei;
};

/* Bytes [4096, 12288) of the command with CID 7 are expected. */
static const struct tcp_xfer expected = {.cccid = 7, .next = 4096, .end = 12288};

static void expect_verdict(int r, const struct tcp_err *err, int fes, uint32_t fei)
{
	assert_int_equal(r, fes < 0 ? 0 : -EPROTO);
	if (fes < 0)
		return;
	assert_int_equal(err->fes, fes);
	assert_int_equal(err->fei, fei);
}

static void test_check_h2c_data(void **state)
{
	static const struct xfer_case cases[] = {
		{4096, 8192, TCP_F_LAST, -1, 0},
		{4096, 4096, 0, -1, 0},
		{4096, 1, 0, -1, 0},
		{4096, 8192, 0, TCP_FES_SEQUENCE, 0},
		{4096, 4096, TCP_F_LAST, TCP_FES_SEQUENCE, 0},
		{0, 4096, 0, TCP_FES_SEQUENCE, 0},
		{8192, 4096, TCP_F_LAST, TCP_FES_SEQUENCE, 0},
		{4097, 4096, 0, TCP_FES_SEQUENCE, 0},
		{4096, 8193, TCP_F_LAST, TCP_FES_RANGE, 0},
		{12288, 1, TCP_F_LAST, TCP_FES_RANGE, 0},
		{0xffffffff, 4097, 0, TCP_FES_RANGE, 0},
		{4096, 0xfffff000, 0, TCP_FES_RANGE, 0},
	};
	struct tcp_err err;

	for (unsigned i = 0; i < N(cases); i++) {
		struct tcp_pdu pdu = {.type = TCP_H2C_DATA,
				      .flags = cases[i].flags,
				      .cccid = 7,
				      .off = cases[i].off,
				      .len = cases[i].len};

		expect_verdict(tcp_check_h2c_data(&pdu, &expected, &err), &err, cases[i].fes,
			       cases[i].fei);
		expect_verdict(tcp_check_h2c_data(&pdu, NULL, &err), &err, TCP_FES_FIELD,
			       TCP_OFF_TTAG);
		pdu.cccid = 8;
		expect_verdict(tcp_check_h2c_data(&pdu, &expected, &err), &err, TCP_FES_FIELD,
			       TCP_OFF_CCCID);
	}
}

static void test_check_c2h_data(void **state)
{
	static const struct xfer_case cases[] = {
		{4096, 8192, TCP_F_LAST, -1, 0},
		{4096, 8192, TCP_F_LAST | TCP_F_SUCCESS, -1, 0},
		{4096, 8192, 0, -1, 0},
		{4096, 100, 0, -1, 0},
		{4096, 100, TCP_F_LAST, -1, 0}, /* an error may follow */
		{4096, 100, TCP_F_LAST | TCP_F_SUCCESS, TCP_FES_FIELD, TCP_OFF_FLAGS},
		{0, 8192, 0, TCP_FES_SEQUENCE, 0},
		{8192, 4096, TCP_F_LAST, TCP_FES_SEQUENCE, 0},
		{4096, 8196, TCP_F_LAST, TCP_FES_RANGE, 0},
		{0xfffff000, 0x2000, 0, TCP_FES_RANGE, 0},
	};
	struct tcp_err err;

	for (unsigned i = 0; i < N(cases); i++) {
		struct tcp_pdu pdu = {.type = TCP_C2H_DATA,
				      .flags = cases[i].flags,
				      .cccid = 7,
				      .off = cases[i].off,
				      .len = cases[i].len};

		expect_verdict(tcp_check_c2h_data(&pdu, &expected, &err), &err, cases[i].fes,
			       cases[i].fei);
		expect_verdict(tcp_check_c2h_data(&pdu, NULL, &err), &err, TCP_FES_FIELD,
			       TCP_OFF_CCCID);
	}
}

static void test_check_r2t(void **state)
{
	static const struct xfer_case cases[] = {
		{4096, 8192, 0, -1, 0},
		{4096, 1, 0, -1, 0},
		{4096, 0, 0, TCP_FES_RANGE, 0},
		{0, 4096, 0, TCP_FES_SEQUENCE, 0},
		{8192, 4096, 0, TCP_FES_SEQUENCE, 0},
		{4096, 8193, 0, TCP_FES_RANGE, 0},
		{12289, 1, 0, TCP_FES_RANGE, 0},
	};
	struct tcp_err err;

	for (unsigned i = 0; i < N(cases); i++) {
		struct tcp_pdu pdu = {
			.type = TCP_R2T, .cccid = 7, .off = cases[i].off, .len = cases[i].len};

		expect_verdict(tcp_check_r2t(&pdu, &expected, false, &err), &err, cases[i].fes,
			       cases[i].fei);
		expect_verdict(tcp_check_r2t(&pdu, &expected, true, &err), &err, TCP_FES_LIMIT, 0);
		expect_verdict(tcp_check_r2t(&pdu, NULL, false, &err), &err, TCP_FES_FIELD,
			       TCP_OFF_CCCID);
	}
}

static void test_sgl(void **state)
{
	enum { READ = 2, WRITE = 1, FLUSH = 0, BIDI = 3 };
	const uint16_t bad_type = NVME_STATUS(0, NVME_SC_SGL_INVALID_TYPE) | NVME_DNR;
	const uint16_t bad_offset = NVME_STATUS(0, NVME_SC_SGL_INVALID_OFFSET) | NVME_DNR;
	const uint16_t bad_len = NVME_STATUS(0, NVME_SC_SGL_INVALID_DATA) | NVME_DNR;
	const struct {
		uint8_t opcode, psdt, type;
		uint64_t addr;
		uint32_t len, icd_len, data_len;
		uint16_t status;
	} cases[] = {
		{READ, 0x40, NVME_SGL_TRANSPORT, 0, 4096, 0, 4096, 0},
		{READ, 0x80, NVME_SGL_TRANSPORT, 0, 4096, 0, 4096, 0},
		{WRITE, 0x40, NVME_SGL_TRANSPORT, 0, 0xffffffff, 0, 0xffffffff, 0},
		{WRITE, 0x40, NVME_SGL_DATA_OFFSET, 0, 4096, 4096, 4096, 0},
		{READ, 0x40, NVME_SGL_TRANSPORT, 0, 0, 0, 0, 0},
		{WRITE, 0x40, NVME_SGL_DATA_OFFSET, 0, 0, 0, 0, 0},
		/* Without data to move nobody looks. */
		{FLUSH, 0x00, 0x77, 5, 4096, 0, 0, 0},
		{BIDI, 0x00, 0x77, 5, 4096, 0, 0, 0},
		{READ, 0x00, NVME_SGL_TRANSPORT, 0, 0, 0, 0, 0},
		/* Data that cannot be meant. */
		{FLUSH, 0x40, NVME_SGL_DATA_OFFSET, 0, 4096, 4096, 0, NVME_ST_INVALID_FIELD},
		{BIDI, 0x40, NVME_SGL_DATA_OFFSET, 0, 4096, 4096, 0, NVME_ST_INVALID_FIELD},
		{READ, 0x40, NVME_SGL_DATA_OFFSET, 0, 4096, 4096, 0, NVME_ST_INVALID_FIELD},
		{READ, 0x40, NVME_SGL_TRANSPORT, 0, 4096, 4096, 0, NVME_ST_INVALID_FIELD},
		{READ, 0x40, NVME_SGL_DATA_OFFSET, 0, 4096, 0, 0, bad_type},
		{WRITE, 0x40, NVME_SGL_TRANSPORT, 0, 4096, 4096, 0, bad_type},
		{WRITE, 0x40, NVME_SGL_TRANSPORT, 0, 0, 4096, 0, bad_type},
		/* PRPs, and what is reserved. */
		{READ, 0x00, NVME_SGL_TRANSPORT, 0, 4096, 0, 0, NVME_ST_INVALID_FIELD},
		{READ, 0xc0, NVME_SGL_TRANSPORT, 0, 4096, 0, 0, NVME_ST_INVALID_FIELD},
		/* Lengths and offsets. */
		{WRITE, 0x40, NVME_SGL_DATA_OFFSET, 0, 4096, 4095, 0, bad_len},
		{WRITE, 0x40, NVME_SGL_DATA_OFFSET, 0, 4096, 0, 0, bad_len},
		{WRITE, 0x40, NVME_SGL_DATA_OFFSET, 0, 0, 4096, 0, bad_len},
		{WRITE, 0x40, NVME_SGL_DATA_OFFSET, 1, 4096, 4096, 0, bad_offset},
		{WRITE, 0x40, NVME_SGL_DATA_OFFSET, 1ull << 63, 4096, 4096, 0, bad_offset},
		/* Other descriptors. */
		{READ, 0x40, NVME_SGL_KEYED, 0, 4096, 0, 0, bad_type},
		{READ, 0x40, 0x00, 0, 4096, 0, 0, bad_type},
		{WRITE, 0x40, 0x5b, 0, 4096, 0, 0, bad_type},
	};

	for (unsigned i = 0; i < N(cases); i++) {
		struct nvme_sqe sqe = {.opcode = cases[i].opcode, .flags = cases[i].psdt};
		uint32_t data_len = 1;

		sqe.sgl.type = cases[i].type;
		sqe.sgl.addr = htole64(cases[i].addr);
		sqe.sgl.length = htole32(cases[i].len);
		assert_int_equal(tcp_sgl_check(&sqe, cases[i].icd_len, &data_len), cases[i].status);
		assert_int_equal(data_len, cases[i].data_len);
	}
}

static void test_sgl_of_fabrics_commands(void **state)
{
	struct nvme_sqe sqe = {.opcode = NVME_OPC_FABRICS, .flags = NVME_PSDT_SGL};
	uint32_t data_len;

	sqe.nsid = htole32(nvme_fabrics_type_connect);
	sqe.sgl.type = NVME_SGL_DATA_OFFSET;
	sqe.sgl.length = htole32(1024);
	assert_int_equal(tcp_sgl_check(&sqe, 1024, &data_len), 0);
	assert_int_equal(data_len, 1024);
	/* Property Get: no data, whatever the opcode's lowest bits say. */
	sqe.nsid = htole32(nvme_fabrics_type_property_get);
	assert_int_equal(tcp_sgl_check(&sqe, 0, &data_len), 0);
	assert_int_equal(data_len, 0);
	assert_int_equal(tcp_sgl_check(&sqe, 1024, &data_len), NVME_ST_INVALID_FIELD);
}

static void test_fes_names(void **state)
{
	assert_string_equal(tcp_fes_name(TCP_H2C_TERM, TCP_FES_LIMIT), "R2T Limit Exceeded");
	assert_string_equal(tcp_fes_name(TCP_C2H_TERM, TCP_FES_LIMIT),
			    "Data Transfer Limit Exceeded");
	assert_string_equal(tcp_fes_name(TCP_C2H_TERM, 7), "unknown error");
	for (uint16_t i = 0; i <= TCP_FES_PARAM; i++)
		assert_non_null(tcp_fes_name(TCP_C2H_TERM, i));
}

/* ---- mutation fuzzing: always the same, so that a failure can be looked into ---- */

#define FUZZ_ROUNDS 300000u

static uint64_t fuzz_state;

static uint32_t fuzz_random(void)
{
	fuzz_state ^= fuzz_state << 13;
	fuzz_state ^= fuzz_state >> 7;
	fuzz_state ^= fuzz_state << 17;
	return (uint32_t)(fuzz_state >> 32);
}

static uint32_t below(uint32_t n)
{
	return fuzz_random() % n;
}

static uint32_t odd_value(void)
{
	static const uint32_t odd[] = {
		0,    1,    3,	   4,	  7,	      8,	  23,	      24,	 28,   72,
		76,   127,  128,   129,	  152,	      153,	  255,	      256,	 4095, 4096,
		8192, 8193, 65535, 65536, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff};

	return odd[below(N(odd))];
}

static void mutate(uint8_t *b, unsigned len)
{
	for (unsigned n = below(5); n; n--) {
		unsigned at = below(4) ? below(TCP_CH_LEN + 16) : below(len);

		switch (below(4)) {
		case 0:
			b[at] = (uint8_t)fuzz_random();
			break;
		case 1:
			b[at] ^= (uint8_t)(1 << below(8));
			break;
		case 2:
			b[at] = (uint8_t)odd_value();
			break;
		default:
			if (at + 4 <= len)
				put32(b + at, odd_value());
			break;
		}
	}
	if (below(2))
		digest_again(b);
}

/* A data PDU of another size, right in itself. */
static void resize(uint8_t *b, enum tcp_pdu_type type, const struct tcp_wire *w)
{
	uint32_t len = odd_value();

	if (is_data(type) && len && len < 0x80000000)
		tcp_put_data(b, w, type, 0, 0x1234, 0, odd_value(), len);
}

static unsigned trail_of(const struct tcp_pdu *pdu)
{
	return pdu->ddgst ? TCP_DIGEST_LEN : 0;
}

/* All that must be true of a PDU that the codec lets pass. */
static void check_accepted(const struct tcp_rules *r, const uint8_t *b, size_t len,
			   const struct tcp_pdu *pdu)
{
	enum tcp_pdu_type type = b[0];
	uint32_t plen = get32(b + TCP_OFF_PLEN);
	uint8_t hlen = b[TCP_OFF_HLEN];

	assert_int_equal(pdu->type, b[0]);
	assert_int_equal(to_target(type), r->target);
	assert_in_range(pdu->head_len, hlen, len);
	assert_int_equal((uint64_t)pdu->head_len + pdu->data_len + trail_of(pdu), plen);
	if (is_term(type)) {
		assert_in_range(plen, TCP_TERM_LEN, TCP_TERM_MAX);
		return;
	}
	assert_int_equal(is_ic(type), !r->ic_done);
	if (pdu->data_len) {
		assert_int_equal(pdu->head_len % ((r->pda + 1) * 4), 0);
		assert_int_equal(pdu->ddgst, r->ddgst);
	}
	if (r->hdgst && !is_ic(type)) {
		assert_in_range(pdu->head_len, hlen + 4, 255);
		assert_int_equal(get32(b + hlen), crc32c(b, hlen));
	}
	if (is_data(type))
		assert_int_equal(pdu->len, pdu->data_len);
	if (type == TCP_H2C_DATA)
		assert_in_range(pdu->data_len, 1, r->max_data);
	if (is_ic(type))
		assert_in_range(pdu->ic.pda, 0, TCP_PDA_MAX);
}

/* What passes the check against a command lies where that command expects it. */
static void check_against_command(const struct tcp_pdu *pdu)
{
	struct tcp_xfer x = {.cccid = 0x1234, .next = odd_value(), .end = odd_value()};
	struct tcp_err err;
	int r;

	if (x.end < x.next)
		return;
	if (pdu->type == TCP_H2C_DATA)
		r = tcp_check_h2c_data(pdu, &x, &err);
	else if (pdu->type == TCP_C2H_DATA)
		r = tcp_check_c2h_data(pdu, &x, &err);
	else if (pdu->type == TCP_R2T)
		r = tcp_check_r2t(pdu, &x, false, &err);
	else
		return;
	if (r) {
		assert_in_range(err.fes, TCP_FES_FIELD, TCP_FES_PARAM);
		return;
	}
	assert_int_equal(pdu->off, x.next);
	assert_in_range((uint64_t)pdu->off + pdu->len, (uint64_t)x.next + 1, x.end);
}

struct tally {
	unsigned good, more, wrong;
	unsigned fes[TCP_FES_PARAM + 1];
};

/* @b is exactly @len bytes of heap, so that a byte too far is seen. */
static void judge(const struct tcp_rules *r, const uint8_t *b, size_t len, struct tally *t)
{
	struct tcp_pdu pdu;
	struct tcp_err err = {0xffff, 0, NULL};
	int e = tcp_pdu_decode(r, b, len, &pdu, &err);

	if (e > 0) {
		assert_in_range((unsigned)e, len + 1, TCP_HEAD_MAX);
		t->more++;
	} else if (e) {
		assert_int_equal(e, -EPROTO);
		assert_in_range(err.fes, TCP_FES_NONE, TCP_FES_PARAM);
		assert_non_null(err.what);
		if (err.fes == TCP_FES_FIELD || err.fes == TCP_FES_PARAM)
			assert_in_range(err.fei, 0, TCP_IC_LEN - 1);
		t->wrong++;
		t->fes[err.fes]++;
	} else {
		check_accepted(r, b, len, &pdu);
		check_against_command(&pdu);
		t->good++;
	}
}

/* A prefix may only ask for more or say at once what the whole says. */
static void judge_prefixes(const struct tcp_rules *r, const uint8_t *b, size_t len)
{
	struct tcp_pdu pdu;
	struct tcp_err whole = {0}, part = {0};
	int e = tcp_pdu_decode(r, b, len, &pdu, &whole);

	for (size_t n = 0; n < len; n += 1 + below(16)) {
		int p = tcp_pdu_decode(r, b, n, &pdu, &part);

		if (p > 0)
			continue;
		assert_int_equal(p, e);
		if (p) {
			assert_int_equal(part.fes, whole.fes);
			assert_int_equal(part.fei, whole.fei);
		}
	}
}

static void test_mutations(void **state)
{
	struct tally t = {0};

	fuzz_state = 0x9e3779b97f4a7c15ull;
	for (unsigned i = 0; i < FUZZ_ROUNDS; i++) {
		enum tcp_pdu_type type = types[below(N(types))];
		struct tcp_wire w = wire_nr(below(1u << FLAG_BITS));
		struct tcp_rules r = rules_for(type, &w);
		uint8_t whole[TCP_HEAD_MAX], *exact;
		unsigned len;

		memset(whole, 0, sizeof(whole));
		len = write_head(whole, type, &w);
		if (!below(4))
			resize(whole, type, &w);
		mutate(whole, len);
		if (!below(8))
			r.ic_done = !r.ic_done;
		if (!below(16))
			r.target = !r.target;
		if (!below(4))
			len = below(len + 1);
		else if (!below(4))
			len = sizeof(whole);
		exact = malloc(len ? len : 1);
		memcpy(exact, whole, len);
		judge(&r, exact, len, &t);
		judge_prefixes(&r, exact, len);
		free(exact);
	}
	/* It got everywhere. */
	assert_in_range(t.good, FUZZ_ROUNDS / 10, FUZZ_ROUNDS);
	assert_in_range(t.more, FUZZ_ROUNDS / 20, FUZZ_ROUNDS);
	assert_in_range(t.wrong, FUZZ_ROUNDS / 10, FUZZ_ROUNDS);
	for (unsigned i = 0; i < N(t.fes); i++)
		if (i != TCP_FES_RANGE) /* only a command says what the range is */
			assert_in_range(t.fes[i], 100, FUZZ_ROUNDS);
}

static void test_noise(void **state)
{
	struct tally t = {0};

	fuzz_state = 0xd1b54a32d192ed03ull;
	for (unsigned i = 0; i < FUZZ_ROUNDS / 3; i++) {
		struct tcp_wire w = wire_nr(below(1u << FLAG_BITS));
		struct tcp_rules r = rules_for(types[below(N(types))], &w);
		size_t len = below(TCP_HEAD_MAX + 1);
		uint8_t *b = malloc(len ? len : 1);

		for (size_t k = 0; k < len; k++)
			b[k] = (uint8_t)fuzz_random();
		if (len >= TCP_CH_LEN && below(2))
			b[0] = (uint8_t)types[below(N(types))];
		judge(&r, b, len, &t);
		free(b);
	}
	assert_in_range(t.wrong, 1, FUZZ_ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_ic),
		cmocka_unit_test(test_bytes_r2t),
		cmocka_unit_test(test_bytes_data),
		cmocka_unit_test(test_bytes_capsules),
		cmocka_unit_test(test_bytes_term),
		cmocka_unit_test(test_known_vector),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_command_without_data),
		cmocka_unit_test(test_more_padding_than_needed),
		cmocka_unit_test(test_reserved_is_ignored),
		cmocka_unit_test(test_unknown_types),
		cmocka_unit_test(test_wrong_direction),
		cmocka_unit_test(test_wrong_time),
		cmocka_unit_test(test_wrong_fields),
		cmocka_unit_test(test_first_field_is_told),
		cmocka_unit_test(test_more_than_maxh2cdata),
		cmocka_unit_test(test_header_digest),
		cmocka_unit_test(test_check_h2c_data),
		cmocka_unit_test(test_check_c2h_data),
		cmocka_unit_test(test_check_r2t),
		cmocka_unit_test(test_sgl),
		cmocka_unit_test(test_sgl_of_fabrics_commands),
		cmocka_unit_test(test_fes_names),
		cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
