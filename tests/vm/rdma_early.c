/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our target, a gateway that has a read's data bit by bit, and a host on raw verbs that looks at
 * its memory meanwhile: rdma_early ADDRESS PORT CASE. Prints in one line how far the data had got
 * when the gateway had so many bytes of it, and how it ended.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/vm/raw_rdma.h"
#include "transport/pool.h"
#include "transport/rdma_dev.h"
#include "transport/target.h"

#define KIB	 1024u
#define SIZE	 (512 * KIB)
#define UNIT	 (64 * KIB) /* what data leaves in before its response */
#define REQUESTS 8u
#define SEGMENTS 64u

/* What memory is filled with, to see whose bytes are where. */
#define DATA   0x11 /* of the read */
#define AGAIN  0x22 /* of its second attempt */
#define SECRET 0x33 /* what segments hold that no data has come to */
#define BLANK  0x44 /* the host's */

static struct loop *loop;
static struct tgt_qpair *gate;
static struct request *read_req;
static bool closed;
static struct raw host;
static struct {
	struct nvme_sqe capsule;
	struct nvme_cqe answer;
	_Alignas(4096) uint8_t data[SIZE];
} mem;

static void turn(void)
{
	loop_turn(loop, false);
}

/* ---- the gateway ---- */

static void on_opened(struct tgt_qpair *qp)
{
	gate = qp;
	qp->connected = true;
	qp->sq_size = REQUESTS;
}

static void on_command(struct tgt_qpair *qp, struct request *req)
{
	read_req = req;
}

static void on_data_ready(struct tgt_qpair *qp, struct request *req)
{
	raw_die("data of a read");
}

static void on_closed(struct tgt_qpair *qp, const char *reason)
{
	struct request *req = TAILQ_FIRST(&qp->requests);

	closed = true;
	if (req)
		tgt_complete(req);
}

static const struct tgt_ops ops = {
	.opened = on_opened,
	.command = on_command,
	.data_ready = on_data_ready,
	.closed = on_closed,
};

static void fill(uint32_t from, uint32_t to, uint8_t with)
{
	static uint8_t bytes[SIZE];

	memset(bytes, with, to - from);
	request_copy_in(read_req, from, bytes, to - from);
}

/* The upstream has brought the data up to @to. */
static void bring(uint32_t to, uint8_t with)
{
	fill(read_req->filled, to, with);
	read_req->filled = to;
	tgt_progress(read_req);
}

/* Another path carries the read out from the start. */
static void restart(void)
{
	read_req->submitted++;
	read_req->filled = 0;
	fill(0, SIZE, SECRET);
}

static void answer(uint16_t status)
{
	tgt_complete_status(read_req, status);
}

/* ---- the host ---- */

static void connect_host(const char *address, const char *port)
{
	struct rdma_wire_request r = {.hrqsize = REQUESTS, .hsqsize = REQUESTS - 1};
	uint8_t private_data[RDMA_PRIVATE_LEN];
	enum rdma_rej why;

	rdma_wire_put_request(private_data, &r);
	raw_dial(&host, address, port);
	raw_make_queue(&host, &mem, sizeof(mem), RAW_QUEUE);
	raw_receive(&host, &mem.answer, sizeof(mem.answer));
	if (!raw_call(&host, private_data, &why)) {
		errno = ECONNREFUSED;
		raw_die("connect");
	}
}

static void send_read(void)
{
	memset(mem.data, BLANK, SIZE);
	mem.capsule.opcode = nvme_cmd_read;
	mem.capsule.flags = NVME_PSDT_SGL;
	rdma_wire_put_keyed(&mem.capsule.sgl, (uintptr_t)mem.data, SIZE, host.mr->rkey);
	raw_send(&host, &mem.capsule, sizeof(mem.capsule), 0);
	RAW_MUST(read_req, "the read");
	errno = ENOBUFS;
	if (request_alloc_data(read_req, SIZE))
		raw_die("the read");
	fill(0, SIZE, SECRET);
}

static uint32_t run_of(uint32_t from, uint8_t what)
{
	while (from < SIZE && ((volatile uint8_t *)mem.data)[from] == what)
		from++;
	return from;
}

static bool answered(void)
{
	struct ibv_wc wc;

	return raw_done(host.receives, &wc) && !wc.status;
}

/* Waits until the host has all that it is to have now, and a moment more for what it is not. */
static void look(uint8_t what)
{
	uint32_t due = read_req->filled & ~(UNIT - 1), is;

	RAW_UNTIL(run_of(0, what) >= due);
	for (unsigned i = 0; i < 5; i++)
		raw_rest();
	is = run_of(0, what);
	printf("%u of %u%s, ", is, read_req->filled, answered() ? " and an answer" : "");
}

/* The same of a first attempt: nothing but its data is there. */
static void look_at_first(void)
{
	look(DATA);
	if (run_of(run_of(0, DATA), BLANK) != SIZE)
		printf("something behind it, ");
}

static void look_at_end(uint8_t what)
{
	if (!RAW_UNTIL(answered()))
		puts("no answer");
	else
		printf("status 0x%x, %u in all\n", nvme_cqe_status(&mem.answer), run_of(0, what));
}

/* ---- cases ---- */

static void early(void)
{
	bring(100 * KIB, DATA);
	look_at_first();
	bring(128 * KIB, DATA);
	look_at_first();
	bring(SIZE, DATA);
	answer(0);
	look_at_end(DATA);
}

/* At every place where something could be off by one. */
static void bit_by_bit(void)
{
	static const uint32_t places[] = {
		1, SEG_SIZE, UNIT - 1, UNIT, UNIT + 1, 2 * UNIT - 1, 5 * UNIT + SEG_SIZE, SIZE - 1,
	};

	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		bring(places[i], DATA);
		look_at_first();
	}
	bring(SIZE, DATA);
	answer(0);
	look_at_end(DATA);
}

static void restarted(void)
{
	bring(200 * KIB, DATA);
	look_at_first();
	restart();
	bring(100 * KIB, AGAIN);
	look(AGAIN);
	bring(SIZE, AGAIN);
	answer(0);
	look_at_end(AGAIN);
}

/* The second attempt has nothing to show before it is complete. */
static void restarted_at_once(void)
{
	bring(SIZE - UNIT, DATA);
	look_at_first();
	restart();
	bring(SIZE, AGAIN);
	answer(0);
	look_at_end(AGAIN);
}

/* It is answered while what it brought still waits to leave. */
static void restarted_in_one_turn(void)
{
	bring(200 * KIB, DATA);
	restart();
	bring(100 * KIB, AGAIN);
	bring(SIZE, AGAIN);
	answer(0);
	look_at_end(AGAIN);
}

/* What has left has left; nothing follows it. */
static void failed(void)
{
	bring(200 * KIB, DATA);
	look_at_first();
	bring(300 * KIB, DATA);
	answer(NVME_STATUS(2, NVME_SC_READ_ERROR));
	look_at_end(DATA);
}

static void gone(void)
{
	bring(200 * KIB, DATA);
	look_at_first();
	bring(300 * KIB, DATA);
	raw_hang_up(&host);
	puts(RAW_UNTIL(closed) ? "closed" : "still there");
}

static const struct kase {
	const char *name;
	void (*run)(void);
} kases[] = {
	{"early", early},
	{"bit-by-bit", bit_by_bit},
	{"restarted", restarted},
	{"restarted-at-once", restarted_at_once},
	{"restarted-in-one-turn", restarted_in_one_turn},
	{"failed", failed},
	{"gone", gone},
};

static const struct kase *find(const char *name)
{
	for (unsigned i = 0; i < sizeof(kases) / sizeof(kases[0]); i++)
		if (!strcmp(name, kases[i].name))
			return &kases[i];
	errno = ENOENT;
	raw_die(name);
}

static void end(struct tgt_listener *listener, struct pool *pool)
{
	if (!closed)
		raw_hang_up(&host);
	RAW_MUST(closed, "the end");
	tgt_rdma.unlisten(listener);
	loop_turn(loop, false);
	rdma_stop();
	if (pool_free_requests(pool) != pool_total_requests(pool) ||
	    pool_free_segments(pool) != pool_total_segments(pool))
		puts("the pool is not whole");
	pool_free(pool);
	loop_free(loop);
}

int main(int argc, char **argv)
{
	struct tgt_config cfg = {.max_connections = 1,
				 .stall_timeout = RAW_PATIENT * NSEC_PER_MSEC};
	struct tgt_listener *listener;
	const struct kase *k;
	struct pool *pool;
	struct addr addr;

	if (argc != 4)
		return 2;
	k = find(argv[3]);
	loop = loop_new(0, -1);
	pool = loop ? pool_new(loop, REQUESTS, SEGMENTS) : NULL;
	if (!pool || addr_parse(&addr, argv[1], argv[2]))
		raw_die("start");
	rdma_start(loop);
	raw_turn = turn;
	listener = tgt_rdma.listen(loop, &addr, &cfg, &ops, NULL);
	if (!listener)
		raw_die("listen");
	connect_host(argv[1], argv[2]);
	send_read();
	k->run();
	end(listener, pool);
	return 0;
}
