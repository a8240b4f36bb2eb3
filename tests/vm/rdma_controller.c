/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A controller on raw verbs that does one thing oddly or wrong, and our initiator that has to do
 * with it: rdma_controller ADDRESS PORT MODE CASE. MODE is "windows" for an initiator with
 * register_always, or "plain". Prints in one line what has come of it: what the controller saw,
 * whether the queue was connected, lost or is still live, and how each command came back.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/vm/raw_rdma.h"
#include "transport/initiator.h"
#include "transport/pool.h"
#include "transport/rdma_dev.h"

#define DEPTH	 8u
#define SIZE	 (2 * SEG_SIZE)
#define SEGMENTS 64u

/* What memory is filled with, to see whose bytes are where. */
#define THEIRS 0x22
#define KEPT   0x33
#define BLANK  0x44

/* A command from both ends. */
struct command {
	struct request *req;
	unsigned back; /* how often it came back; with this: */
	int error;
	bool carried_out; /* as far as the response */
	bool wrong;	  /* with other data than was meant */
	const struct nvme_sqe *sqe;
	struct rdma_data data;
};

struct queue {
	struct ini_qpair *qp;
	struct {
		bool connected, lost;
		int error;
		uint16_t status; /* of the Connect, where it was refused */
		char reason[128];
	} seen;
	struct raw peer;
	unsigned heard, answered;
	struct {
		struct nvme_sqe capsules[RAW_QUEUE];
		struct nvme_cqe answers[RAW_QUEUE];
		uint8_t data[SIZE];
	} mem;
};

struct kase {
	const char *name;
	void (*run)(const struct kase *k);
	unsigned value; /* what it means is the case's business */
	bool invalidate;
};

static struct loop *loop;
static struct ini_params params;
static struct raw listener;
static const char *port;
static struct queue queues[2], *q = &queues[0];
static struct command commands[RAW_QUEUE];
static unsigned nr_commands;
static char line[1024];

__attribute__((format(printf, 1, 2))) static void note(const char *fmt, ...)
{
	size_t at = strlen(line);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line + at, sizeof(line) - at, fmt, ap);
	va_end(ap);
}

/* ---- our end ---- */

static void on_connected(struct ini_qpair *qp, int error, const struct nvme_cqe *cqe)
{
	struct queue *mine = qp->priv;

	mine->seen.connected = true;
	mine->seen.error = error;
	mine->seen.status = cqe ? nvme_cqe_status(cqe) : 0;
	if (error)
		snprintf(mine->seen.reason, sizeof(mine->seen.reason), "%s", qp->reason);
}

static void on_lost(struct ini_qpair *qp, int error, const char *reason)
{
	struct queue *mine = qp->priv;

	mine->seen.lost = true;
	mine->seen.error = error;
	snprintf(mine->seen.reason, sizeof(mine->seen.reason), "%s", reason);
}

static const struct ini_ops ops = {.connected = on_connected, .lost = on_lost};

static void turn(void)
{
	loop_turn(loop, false);
}

static void dial(uint64_t timeout)
{
	params.connect_timeout = timeout;
	params.qid++;
	q->qp = ini_rdma.connect(loop, &params, &ops, q);
	if (!q->qp)
		raw_die("connect");
}

/* Data that is no other command's, nor that of another part of the command. */
static const uint8_t *pattern(const struct command *c)
{
	static uint8_t bytes[SIZE];

	for (uint32_t i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)((c - commands) << 4 | i / (SIZE / 16));
	return bytes;
}

static void put_pattern(const struct command *c)
{
	request_copy_in(c->req, 0, pattern(c), SIZE);
}

static bool has_pattern(const struct command *c)
{
	static uint8_t bytes[SIZE];

	request_copy_out(c->req, 0, bytes, SIZE);
	return !memcmp(bytes, pattern(c), SIZE);
}

static void on_back(struct request *req, int error)
{
	struct command *c = req->complete_arg;

	c->back++;
	c->error = error;
	if (!error && c->carried_out && req->dir == NVME_DIR_C2H && !has_pattern(c))
		c->wrong = true;
}

static void fill(struct request *req, uint8_t with)
{
	for (unsigned i = 0; i < req->nsegs; i++)
		memset(req->segs[i], with, SEG_SIZE);
}

static bool filled(const void *mem, size_t len, uint8_t with)
{
	const uint8_t *b = mem;

	return b[0] == with && !memcmp(b, b + 1, len - 1);
}

static bool holds(const struct request *req, uint8_t what)
{
	for (unsigned i = 0; i < req->nsegs; i++)
		if (!filled(req->segs[i], SEG_SIZE, what))
			return false;
	return true;
}

/* ---- the controller's end ---- */

static void take_request(void)
{
	if (!listener.id)
		raw_listen(&listener, "0.0.0.0", port);
	raw_wait_request(&listener, &q->peer);
}

static const struct nvme_sqe *hear(void)
{
	struct ibv_wc wc;

	RAW_MUST(raw_done(q->peer.receives, &wc), "a command");
	errno = EPROTO;
	if (wc.status)
		raw_die("a command");
	return &q->mem.capsules[q->heard++];
}

static void send_answer(uint16_t cid, uint16_t status, uint32_t invalidate, uint32_t len)
{
	struct nvme_cqe *cqe = &q->mem.answers[q->answered++];

	*cqe = (struct nvme_cqe){.cid = htole16(cid)};
	nvme_cqe_set_status(cqe, status);
	raw_send(&q->peer, cqe, len, invalidate);
}

static void answer(const struct command *c, uint32_t invalidate)
{
	send_answer(le16toh(c->sqe->cid), 0, invalidate, sizeof(struct nvme_cqe));
}

/* Lets the host in as far as its Connect, which is what this returns. */
static struct command take_connect(const uint8_t *private_data, size_t len)
{
	struct raw_event e;
	struct command c;

	raw_make_queue(&q->peer, &q->mem, sizeof(q->mem), RAW_QUEUE);
	for (unsigned i = 0; i < RAW_QUEUE; i++)
		raw_receive(&q->peer, &q->mem.capsules[i], sizeof(struct nvme_sqe));
	raw_accept(&q->peer, private_data, len);
	raw_expect(&listener, RDMA_CM_EVENT_ESTABLISHED, &e);
	c.sqe = hear();
	rdma_wire_get_keyed(&c.sqe->sgl, &c.data);
	return c;
}

static struct command meet(void)
{
	uint8_t private_data[RDMA_PRIVATE_LEN];

	rdma_wire_put_accept(private_data, RAW_QUEUE);
	take_request();
	return take_connect(private_data, sizeof(private_data));
}

static void wait_connected(void)
{
	RAW_MUST(q->seen.connected, "the end of connecting");
}

static void connect_well(void)
{
	struct command c;

	dial(RAW_PATIENT * NSEC_PER_MSEC);
	c = meet();
	answer(&c, 0);
	wait_connected();
}

/* What the controller does to memory of ours; @len bytes of it. */
static enum ibv_wc_status move(const struct command *c, enum ibv_wr_opcode opcode, uint32_t len)
{
	raw_move(&q->peer, opcode, q->mem.data, len, c->data.addr, c->data.key);
	return raw_sent(&q->peer);
}

/* ---- both ---- */

/* @scattered: its data is in more than one piece of memory. */
static struct command *submit(uint8_t opcode, bool scattered)
{
	struct command *c = &commands[nr_commands++];
	struct request *req = pool_get(loop_pool(loop));
	int e;

	errno = ENOMEM;
	if (!req)
		raw_die("request");
	c->req = req;
	req->sqe.opcode = opcode;
	req->sqe.nsid = htole32(1);
	req->dir = (uint8_t)nvme_sqe_dir(&req->sqe);
	req->data_len = req->dir == NVME_DIR_NONE ? 0 : SIZE;
	if (req->data_len && request_alloc_data(req, req->data_len))
		raw_die("segments");
	if (scattered) {
		void *first = req->segs[0];

		req->segs[0] = req->segs[1];
		req->segs[1] = first;
	}
	fill(req, KEPT);
	if (req->dir == NVME_DIR_H2C) {
		put_pattern(c);
		req->filled = req->data_len;
	}
	req->ini_done = on_back;
	req->complete_arg = c;
	e = q->qp->tr->submit(q->qp, req);
	errno = -e;
	if (e)
		raw_die("submit");
	return c;
}

/* The next command that the controller gets must be this one. */
static void arrive(struct command *c)
{
	c->sqe = hear();
	errno = EPROTO;
	if (c->sqe->opcode != c->req->sqe.opcode)
		raw_die("another command");
	rdma_wire_get_keyed(&c->sqe->sgl, &c->data);
}

/* A command that has reached the controller. */
static struct command *start(uint8_t opcode)
{
	struct command *c = submit(opcode, false);

	arrive(c);
	return c;
}

static void wait_back(const struct command *c)
{
	RAW_MUST(c->back, "the command's end");
}

static void wait_lost(void)
{
	RAW_UNTIL(q->seen.lost);
}

static void hang_up(void)
{
	raw_hang_up(&q->peer);
	wait_lost();
}

static enum ibv_wr_opcode mover(const struct command *c)
{
	return nvme_sqe_dir(c->sqe) == NVME_DIR_C2H ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ;
}

/* The controller tries a key on memory that is none of its business, or not in this way. */
static void trespass(const char *what, const struct command *c, enum ibv_wr_opcode opcode,
		     struct request *of)
{
	enum ibv_wc_status status;
	bool reached;

	fill(of, KEPT);
	memset(q->mem.data, THEIRS, SIZE);
	status = move(c, opcode, SIZE);
	reached =
		opcode == IBV_WR_RDMA_WRITE ? !holds(of, KEPT) : !filled(q->mem.data, SIZE, THEIRS);
	note("%s: %s%s; ", what, ibv_wc_status_str(status), reached ? ", memory reached" : "");
}

/* Carries out the command as a good controller would, as far as the response. */
static void carry_out(struct command *c)
{
	bool read = mover(c) == IBV_WR_RDMA_WRITE;

	if (read)
		memcpy(q->mem.data, pattern(c), SIZE);
	else
		memset(q->mem.data, BLANK, SIZE);
	if (move(c, mover(c), SIZE))
		note("cannot move the data; ");
	c->carried_out = true;
	c->wrong = memcmp(q->mem.data, pattern(c), SIZE);
}

/* ---- while connecting ---- */

static void reject(const struct kase *k)
{
	uint8_t private_data[RDMA_REJECT_LEN];

	dial(RAW_PATIENT * NSEC_PER_MSEC);
	take_request();
	rdma_wire_put_reject(private_data, (enum rdma_rej)k->value);
	rdma_reject(q->peer.id, private_data, sizeof(private_data));
}

static void reject_without_reason(const struct kase *k)
{
	dial(RAW_PATIENT * NSEC_PER_MSEC);
	take_request();
	rdma_reject(q->peer.id, NULL, 0);
}

static void nobody(const struct kase *k)
{
	dial(RAW_PATIENT * NSEC_PER_MSEC);
}

static void never_accept(const struct kase *k)
{
	dial(NSEC_PER_SEC / 4);
	take_request();
}

static void accept_format(const struct kase *k)
{
	uint8_t private_data[RDMA_PRIVATE_LEN] = {1};

	dial(RAW_PATIENT * NSEC_PER_MSEC);
	take_request();
	raw_make_queue(&q->peer, &q->mem, sizeof(q->mem), RAW_QUEUE);
	raw_accept(&q->peer, private_data, sizeof(private_data));
}

/* The connection manager fills up with zeros, which are of a known format. */
static void accept_empty(const struct kase *k)
{
	struct command c;

	dial(RAW_PATIENT * NSEC_PER_MSEC);
	take_request();
	c = take_connect(NULL, 0);
	answer(&c, 0);
}

static void connect_status(const struct kase *k)
{
	struct command c;

	dial(RAW_PATIENT * NSEC_PER_MSEC);
	c = meet();
	send_answer(le16toh(c.sqe->cid), (uint16_t)k->value, k->invalidate ? c.data.key : 0,
		    sizeof(struct nvme_cqe));
}

static void connect_cid(const struct kase *k)
{
	dial(RAW_PATIENT * NSEC_PER_MSEC);
	meet();
	send_answer(1, 0, 0, sizeof(struct nvme_cqe));
}

static void connect_short(const struct kase *k)
{
	dial(RAW_PATIENT * NSEC_PER_MSEC);
	meet();
	send_answer(0, 0, 0, k->value);
}

static void connect_silent(const struct kase *k)
{
	dial(NSEC_PER_SEC / 4);
	meet();
}

static void connect_closed(const struct kase *k)
{
	dial(RAW_PATIENT * NSEC_PER_MSEC);
	meet();
	raw_hang_up(&q->peer);
}

/* The Connect's data is open till its response and no longer. */
static void connect_key(const struct kase *k)
{
	enum ibv_wc_status status;
	struct command c;

	dial(RAW_PATIENT * NSEC_PER_MSEC);
	c = meet();
	if (move(&c, IBV_WR_RDMA_READ, NVMF_CONNECT_DATA_SIZE))
		note("cannot read the Connect's data; ");
	answer(&c, k->invalidate ? c.data.key : 0);
	wait_connected();
	/* What closes the key was sent before this. */
	answer(start(nvme_cmd_flush), 0);
	wait_back(&commands[0]);
	memset(q->mem.data, BLANK, SIZE);
	status = move(&c, IBV_WR_RDMA_READ, NVMF_CONNECT_DATA_SIZE);
	note("old key: %s%s; ", ibv_wc_status_str(status),
	     filled(q->mem.data, SIZE, BLANK) ? "" : ", memory reached");
	hang_up();
}

static void connect_repeated(const struct kase *k)
{
	struct command c;

	dial(RAW_PATIENT * NSEC_PER_MSEC);
	c = meet();
	answer(&c, 0);
	wait_connected();
	answer(&c, 0);
	wait_lost();
}

/* ---- keys ---- */

static void good(const struct kase *k)
{
	struct command *c = start((uint8_t)k->value);

	carry_out(c);
	answer(c, k->invalidate ? c->data.key : 0);
	wait_back(c);
}

static void old_key(const struct kase *k)
{
	struct command *c = start((uint8_t)k->value);

	carry_out(c);
	answer(c, k->invalidate ? c->data.key : 0);
	wait_back(c);
	trespass("old key", c, mover(c), c->req);
	hang_up();
}

/* The key of a command that failed is as dead as any. */
static void old_key_of_failed(const struct kase *k)
{
	struct command *c = start(nvme_cmd_read);

	send_answer(le16toh(c->sqe->cid), NVME_STATUS(2, NVME_SC_READ_ERROR), 0,
		    sizeof(struct nvme_cqe));
	wait_back(c);
	trespass("old key", c, mover(c), c->req);
	hang_up();
}

/* Many at a time, which end in another order, each in one of the two ways. */
static void mixed(const struct kase *k)
{
	static const uint8_t opcodes[] = {nvme_cmd_read, nvme_cmd_write, nvme_cmd_flush};

	for (unsigned round = 0; round < 4; round++) {
		struct command *c = &commands[nr_commands];

		for (unsigned i = 0; i < DEPTH - 1; i++)
			start(opcodes[i % 3]);
		for (unsigned i = DEPTH - 1; i-- > 0;) {
			bool has_data = c[i].req->data_len;

			if (has_data)
				carry_out(&c[i]);
			answer(&c[i], has_data && k->invalidate && i % 2 ? c[i].data.key : 0);
		}
		for (unsigned i = 0; i < DEPTH - 1; i++)
			wait_back(&c[i]);
	}
}

/* Data in pieces goes through one buffer, so the next waits for the key to be dead; and what comes
 * behind that waits too. */
static void scattered(const struct kase *k)
{
	struct command *c = submit((uint8_t)k->value, true);
	struct command *next = submit((uint8_t)k->value, true);
	struct command *last = submit(nvme_cmd_flush, false);
	struct ibv_wc wc;

	arrive(c);
	carry_out(c);
	if (raw_done(q->peer.receives, &wc))
		note("two at a time; ");
	answer(c, k->invalidate ? c->data.key : 0);
	wait_back(c);
	arrive(next);
	arrive(last);
	carry_out(next);
	answer(next, 0);
	answer(last, 0);
	wait_back(next);
	wait_back(last);
}

static void old_key_scattered(const struct kase *k)
{
	struct command *c = submit(nvme_cmd_read, true), *next = submit(nvme_cmd_read, true);

	arrive(c);
	carry_out(c);
	answer(c, k->invalidate ? c->data.key : 0);
	arrive(next);
	if (next->data.addr != c->data.addr)
		note("other memory; ");
	trespass("old key", c, mover(c), next->req);
	hang_up();
}

/* The same window opens another command's data by now. */
static void old_key_later(const struct kase *k)
{
	struct command *c = start(nvme_cmd_read), *later;

	carry_out(c);
	answer(c, k->invalidate ? c->data.key : 0);
	wait_back(c);
	request_free_data(c->req);
	later = start(nvme_cmd_read);
	if (later->data.addr != c->data.addr)
		note("other memory; ");
	if (later->data.key >> 8 != c->data.key >> 8)
		note("another window; ");
	trespass("old key", c, mover(c), later->req);
	hang_up();
}

static void wrong_direction(const struct kase *k)
{
	struct command *c = start((uint8_t)k->value);

	trespass("the other way", c,
		 mover(c) == IBV_WR_RDMA_READ ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ, c->req);
	hang_up();
}

static void other_queue(const struct kase *k)
{
	struct command *c = start((uint8_t)k->value);

	q = &queues[1];
	connect_well();
	trespass("on another queue", c, mover(c), c->req);
	hang_up();
	q = &queues[0];
	put_pattern(c);
	carry_out(c);
	answer(c, 0);
	wait_back(c);
}

/* The queue ends at our end, with the controller in the middle of things. */
static void closed_by_us(const struct kase *k)
{
	struct command *c = start((uint8_t)k->value);

	start(nvme_cmd_flush);
	q->qp->tr->close(q->qp);
	q->qp = NULL;
	fill(c->req, KEPT);
	memset(q->mem.data, THEIRS, SIZE);
	raw_move(&q->peer, mover(c), q->mem.data, SIZE, c->data.addr, c->data.key);
	/* Nobody acknowledges it, and what must not happen would be quick to. */
	for (unsigned ms = 0; ms < 100; ms++)
		raw_rest();
	if (!holds(c->req, KEPT) || !filled(q->mem.data, SIZE, THEIRS))
		note("memory reached; ");
}

/* ---- responses ---- */

/* Three commands that are out, and a response that is none to any of them as it should be. */
static struct command *three(void)
{
	struct command *c = start(nvme_cmd_read);

	start(nvme_cmd_write);
	start(nvme_cmd_flush);
	return c;
}

static void answer_length(const struct kase *k)
{
	send_answer(le16toh(three()->sqe->cid), 0, 0, k->value);
	wait_lost();
}

static void answer_cid(const struct kase *k)
{
	three();
	send_answer((uint16_t)k->value, 0, 0, sizeof(struct nvme_cqe));
	wait_lost();
}

/* The entry has another command by now. */
static void answer_stale(const struct kase *k)
{
	struct command *c = start(nvme_cmd_flush);

	answer(c, 0);
	wait_back(c);
	three();
	answer(c, 0);
	wait_lost();
}

static void answer_repeated(const struct kase *k)
{
	struct command *c = three();

	answer(c, 0);
	wait_back(c);
	answer(c, 0);
	wait_lost();
}

static void answer_twice(const struct kase *k)
{
	struct command *c = three();

	/* Both are there before we look. */
	raw_turn = NULL;
	answer(c, 0);
	answer(c, 0);
	raw_sent(&q->peer);
	raw_turn = turn;
	wait_lost();
}

static void invalidate_other(const struct kase *k)
{
	struct command *c = three();

	answer(&c[k->value], c[!k->value].data.key);
	wait_lost();
}

/* Of a window, or a registration, that there is none of. */
static void invalidate_no_key(const struct kase *k)
{
	struct command *c = three();

	answer(c, c->data.key + (k->value << 8));
	wait_lost();
}

/* What the same window had before. */
static void invalidate_previous(const struct kase *k)
{
	struct command *c = three();

	answer(c, (c->data.key & ~0xffu) | ((c->data.key - 1) & 0xff));
	wait_lost();
}

/* With a registration's key: that is not the controller's to invalidate. */
static void invalidate_own(const struct kase *k)
{
	struct command *c = three();

	answer(c, c->data.key);
	wait_lost();
}

static void closed(const struct kase *k)
{
	carry_out(three());
	hang_up();
}

static const struct kase connecting[] = {
	{.name = "reject", .run = reject, .value = 0},
	{.name = "reject-length", .run = reject, .value = RDMA_REJ_LENGTH},
	{.name = "reject-recfmt", .run = reject, .value = RDMA_REJ_RECFMT},
	{.name = "reject-qid", .run = reject, .value = RDMA_REJ_QID},
	{.name = "reject-hsqsize", .run = reject, .value = RDMA_REJ_HSQSIZE},
	{.name = "reject-hrqsize", .run = reject, .value = RDMA_REJ_HRQSIZE},
	{.name = "reject-resources", .run = reject, .value = RDMA_REJ_NO_RSC},
	{.name = "reject-ird", .run = reject, .value = RDMA_REJ_IRD},
	{.name = "reject-ord", .run = reject, .value = RDMA_REJ_ORD},
	{.name = "reject-cntlid", .run = reject, .value = RDMA_REJ_CNTLID},
	{.name = "reject-unknown", .run = reject, .value = 10},
	{.name = "reject-nothing", .run = reject_without_reason},
	{.name = "nobody", .run = nobody},
	{.name = "never-accept", .run = never_accept},
	{.name = "accept-format", .run = accept_format},
	{.name = "accept-empty", .run = accept_empty},
	{.name = "connect-status",
	 .run = connect_status,
	 .value = NVME_STATUS(1, NVME_SC_CONNECT_INVALID_HOST)},
	{.name = "connect-status-inv",
	 .run = connect_status,
	 .value = NVME_STATUS(1, NVME_SC_CONNECT_INVALID_HOST),
	 .invalidate = true},
	{.name = "connect-cid", .run = connect_cid},
	{.name = "connect-short", .run = connect_short, .value = 15},
	{.name = "connect-silent", .run = connect_silent},
	{.name = "connect-closed", .run = connect_closed},
	{.name = "connect-repeated", .run = connect_repeated},
	{.name = "connect-key", .run = connect_key},
	{.name = "connect-key-inv", .run = connect_key, .invalidate = true},
};

/* With a queue that is live. */
static const struct kase living[] = {
	{.name = "read", .run = good, .value = nvme_cmd_read},
	{.name = "write", .run = good, .value = nvme_cmd_write},
	{.name = "old-key-read", .run = old_key, .value = nvme_cmd_read},
	{.name = "old-key-write", .run = old_key, .value = nvme_cmd_write},
	{.name = "old-key-read-inv", .run = old_key, .value = nvme_cmd_read, .invalidate = true},
	{.name = "old-key-write-inv", .run = old_key, .value = nvme_cmd_write, .invalidate = true},
	{.name = "old-key-failed", .run = old_key_of_failed},
	{.name = "old-key-later", .run = old_key_later},
	{.name = "old-key-later-inv", .run = old_key_later, .invalidate = true},
	{.name = "mixed", .run = mixed},
	{.name = "mixed-inv", .run = mixed, .invalidate = true},
	{.name = "scattered-read", .run = scattered, .value = nvme_cmd_read},
	{.name = "scattered-read-inv",
	 .run = scattered,
	 .value = nvme_cmd_read,
	 .invalidate = true},
	{.name = "scattered-write", .run = scattered, .value = nvme_cmd_write},
	{.name = "old-key-scattered", .run = old_key_scattered},
	{.name = "old-key-scattered-inv", .run = old_key_scattered, .invalidate = true},
	{.name = "wrong-way-read", .run = wrong_direction, .value = nvme_cmd_read},
	{.name = "wrong-way-write", .run = wrong_direction, .value = nvme_cmd_write},
	{.name = "other-queue-read", .run = other_queue, .value = nvme_cmd_read},
	{.name = "other-queue-write", .run = other_queue, .value = nvme_cmd_write},
	{.name = "our-close-read", .run = closed_by_us, .value = nvme_cmd_read},
	{.name = "our-close-write", .run = closed_by_us, .value = nvme_cmd_write},
	{.name = "answer-0", .run = answer_length, .value = 0},
	{.name = "answer-15", .run = answer_length, .value = 15},
	{.name = "answer-17", .run = answer_length, .value = 17},
	{.name = "answer-no-slot", .run = answer_cid, .value = DEPTH},
	{.name = "answer-no-command", .run = answer_cid, .value = DEPTH - 1},
	{.name = "answer-ffff", .run = answer_cid, .value = 0xffff},
	{.name = "answer-stale", .run = answer_stale},
	{.name = "answer-repeated", .run = answer_repeated},
	{.name = "answer-twice", .run = answer_twice},
	{.name = "inv-other", .run = invalidate_other, .value = 0},
	{.name = "inv-no-data", .run = invalidate_other, .value = 2},
	{.name = "inv-unknown", .run = invalidate_no_key, .value = 1000},
	{.name = "inv-previous", .run = invalidate_previous},
	{.name = "inv-own", .run = invalidate_own},
	{.name = "closed", .run = closed},
};

/* ---- the report ---- */

static void tell_queue(const struct queue *mine)
{
	const char *what = mine->seen.lost    ? "lost"
			   : mine->seen.error ? "not connected"
			   : !mine->qp	      ? "closed"
					      : "live";

	note("%s", what);
	if (mine->seen.error)
		note(": %s, %s", strerrorname_np(-mine->seen.error), mine->seen.reason);
	if (mine->seen.status)
		note(", status 0x%x", mine->seen.status);
}

static void tell_command(const struct command *c)
{
	uint16_t status = nvme_cqe_status(&c->req->cqe);

	if (c->back != 1)
		note(" %u-times", c->back);
	else if (c->error)
		note(" %s", strerrorname_np(-c->error));
	else if (status)
		note(" 0x%x", status);
	else if (c->wrong)
		note(" wrong-data");
	else
		note(" done");
}

/* With nothing left of it, so that every command had its chance to come back. */
static void end_and_tell(void)
{
	tell_queue(&queues[0]);
	for (unsigned i = 0; i < 2; i++)
		if (queues[i].qp)
			queues[i].qp->tr->close(queues[i].qp);
	if (nr_commands)
		note("; commands:");
	for (unsigned i = 0; i < nr_commands; i++) {
		tell_command(&commands[i]);
		pool_put(commands[i].req);
	}
	puts(line);
}

static const struct kase *find(const struct kase *from, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(name, from[i].name))
			return &from[i];
	return NULL;
}

static void run(const char *name)
{
	const struct kase *k = find(connecting, sizeof(connecting) / sizeof(*k), name);

	if (k) {
		k->run(k);
		wait_connected();
		return;
	}
	k = find(living, sizeof(living) / sizeof(*k), name);
	errno = ENOENT;
	if (!k)
		raw_die(name);
	connect_well();
	k->run(k);
}

int main(int argc, char **argv)
{
	struct pool *pool;

	if (argc != 5)
		return 2;
	port = argv[2];
	params = (struct ini_params){
		.subnqn = "nqn.2014-08.org.example:odd",
		.hostnqn = "nqn.2014-08.org.example:host",
		.cntlid = 1,
		.sq_size = DEPTH,
		.ioccsz = 4,
		.register_always = !strcmp(argv[3], "windows"),
	};
	loop = loop_new(0, -1);
	pool = loop ? pool_new(loop, RAW_QUEUE, SEGMENTS) : NULL;
	if (!pool || addr_parse(&params.addr, argv[1], port))
		raw_die("start");
	rdma_start(loop);
	raw_turn = turn;
	run(argv[4]);
	end_and_tell();
	rdma_stop();
	pool_free(pool);
	loop_free(loop);
	return 0;
}
