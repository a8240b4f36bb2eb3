/* SPDX-License-Identifier: Apache-2.0 */
/* A host that keeps its queue full. See raw_player.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/raw_player.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BUF_SIZE (4u * 1024 * 1024)
#define FREE	 0xff

bool player_only_large_writes;

struct player *player_new(struct host h, unsigned depth, unsigned commands, uint32_t max_len,
			  unsigned seed)
{
	struct player *p = calloc(1, sizeof(*p));

	assert_in_range(depth, 1, PLAYER_DEPTH);
	p->h = h;
	p->depth = depth;
	p->to_send = commands;
	p->max_len = max_len;
	p->max_icd = max_len < RAW_ICD ? max_len : RAW_ICD;
	p->seed = seed;
	p->tx = malloc(BUF_SIZE);
	p->rx = malloc(BUF_SIZE);
	for (unsigned i = 0; i < PLAYER_DEPTH; i++)
		p->cmds[i].opcode = FREE;
	return p;
}

void player_free(struct player *p)
{
	if (p->h.fd >= 0)
		raw_hang_up(&p->h);
	free(p->tx);
	free(p->rx);
	free(p);
}

static unsigned roll(struct player *p, unsigned n)
{
	return (unsigned)rand_r(&p->seed) / 16 % n;
}

/* ---- out ---- */

static uint8_t *tx_room(struct player *p, size_t len)
{
	if (p->tx_len + len > BUF_SIZE && p->tx_at) {
		memmove(p->tx, p->tx + p->tx_at, p->tx_len - p->tx_at);
		p->tx_len -= p->tx_at;
		p->tx_at = 0;
	}
	assert_in_range(p->tx_len + len, 0, BUF_SIZE);
	return p->tx + p->tx_len;
}

static void send_one(struct player *p)
{
	static const uint8_t opcodes[] = {0, 1, 1, 1, 2, 2};
	uint8_t opcode = player_only_large_writes ? 1 : opcodes[roll(p, sizeof(opcodes))];
	bool icd = opcode == 1 && roll(p, 2) && !player_only_large_writes;
	uint32_t len = opcode ? 1 + roll(p, icd ? p->max_icd : p->max_len) : 0;
	struct nvme_sqe sqe;
	uint16_t cid = 0;

	while (p->cmds[cid].opcode != FREE)
		cid++;
	p->cmds[cid] = (struct player_cmd){.opcode = opcode, .len = len};
	sqe = raw_sqe(opcode, cid, icd ? NVME_SGL_DATA_OFFSET : NVME_SGL_TRANSPORT, len);
	p->tx_len += raw_capsule(&p->h, tx_room(p, TCP_HEAD_MAX + len + 4), &sqe, icd ? len : 0);
	p->to_send--;
	p->out++;
}

static void fill_queue(struct player *p)
{
	while (p->to_send && p->out < p->depth && p->tx_len - p->tx_at < BUF_SIZE / 8)
		send_one(p);
}

static void push(struct player *p)
{
	while (p->tx_at < p->tx_len) {
		ssize_t n = send(p->h.fd, p->tx + p->tx_at, p->tx_len - p->tx_at,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0) {
			p->ended |= errno != EAGAIN;
			return;
		}
		p->tx_at += (size_t)n;
	}
}

/* ---- in ---- */

static struct player_cmd *command(struct player *p, uint16_t cid)
{
	assert_in_range(cid, 0, PLAYER_DEPTH - 1);
	assert_int_not_equal(p->cmds[cid].opcode, FREE);
	return &p->cmds[cid];
}

static void on_done(struct player *p, uint16_t cid)
{
	struct player_cmd *c = command(p, cid);

	if (c->opcode)
		assert_int_equal(c->got, c->len);
	c->opcode = FREE;
	p->out--;
	p->done++;
}

static void on_r2t(struct player *p, const struct tcp_pdu *pdu)
{
	struct player_cmd *c = command(p, pdu->cccid);
	uint32_t end = pdu->off + pdu->len;

	assert_int_equal(c->opcode, 1);
	assert_int_equal(pdu->len, c->len);
	for (uint32_t off = pdu->off, n; off < end; off += n) {
		n = end - off < p->h.max_h2c ? end - off : p->h.max_h2c;
		p->tx_len += raw_h2c(&p->h, tx_room(p, TCP_HEAD_MAX + n + 4), pdu->cccid, pdu->ttag,
				     off, n, off + n == end ? TCP_F_LAST : 0);
	}
}

static void on_data(struct player *p, const struct tcp_pdu *pdu, const uint8_t *data)
{
	struct player_cmd *c = command(p, pdu->cccid);

	assert_int_equal(c->opcode, 2);
	assert_int_equal(pdu->off, c->got);
	assert_memory_equal(data, raw_pattern(pdu->off), pdu->len);
	c->got += pdu->len;
	if (pdu->flags & TCP_F_SUCCESS)
		on_done(p, pdu->cccid);
}

static void on_response(struct player *p, const struct tcp_pdu *pdu)
{
	struct nvme_cqe cqe;

	memcpy(&cqe, tcp_pdu_entry(pdu), sizeof(cqe));
	assert_int_equal(nvme_cqe_status(&cqe), 0);
	if (command(p, le16toh(cqe.cid))->opcode == 1)
		p->cmds[le16toh(cqe.cid)].got = p->cmds[le16toh(cqe.cid)].len;
	on_done(p, le16toh(cqe.cid));
}

static void on_pdu(struct player *p, const struct tcp_pdu *pdu, const uint8_t *data)
{
	switch (pdu->type) {
	case TCP_R2T:
		on_r2t(p, pdu);
		break;
	case TCP_C2H_DATA:
		on_data(p, pdu, data);
		break;
	case TCP_CAPSULE_RESP:
		on_response(p, pdu);
		break;
	default:
		p->ended = true;
		break;
	}
}

static void work_through(struct player *p)
{
	size_t at = 0;

	while (!p->ended) {
		struct tcp_pdu pdu;
		struct tcp_err err;
		size_t whole;
		int r = tcp_pdu_decode(&p->h.rules, p->rx + at, p->rx_len - at, &pdu, &err);

		if (r < 0)
			fail_msg("the target's PDU is wrong: %s", err.what);
		if (r)
			break;
		whole = pdu.head_len + (size_t)pdu.data_len + (pdu.ddgst ? TCP_DIGEST_LEN : 0);
		if (p->rx_len - at < whole)
			break;
		on_pdu(p, &pdu, p->rx + at + pdu.head_len);
		at += whole;
	}
	memmove(p->rx, p->rx + at, p->rx_len - at);
	p->rx_len -= at;
}

static void pull(struct player *p)
{
	size_t room = BUF_SIZE - p->rx_len;
	ssize_t n;

	if (p->rx_budget && room > p->rx_budget)
		room = p->rx_budget;
	n = recv(p->h.fd, p->rx + p->rx_len, room, MSG_DONTWAIT);
	if (n > 0) {
		p->rx_len += (size_t)n;
		work_through(p);
	} else if (!n || errno != EAGAIN) {
		p->ended = true;
	}
}

bool player_turn(struct player *p)
{
	if (p->ended)
		return false;
	fill_queue(p);
	push(p);
	pull(p);
	return !p->ended && (p->to_send || p->out);
}

void players_run(struct player *const *p, unsigned n)
{
	uint64_t end = loop_now_exact(raw_control) + 60 * NSEC_PER_SEC;
	bool more = true;

	while (more) {
		more = false;
		assert_true(loop_now_exact(raw_control) < end);
		for (unsigned i = 0; i < n; i++)
			more |= player_turn(p[i]);
		raw_turns(1);
	}
}
