/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts: each sends one command after the other, to any worker, in bursts; some give up or leave.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"
#include "transport/pool.h"
#include "transport/target.h"

#define MAX_CLIENTS 12
/* From leaving to the first command of a new connection: several round trips and messages. */
#define RECONNECT (8 * NSEC_PER_MSEC)
#define BURST	  30 /* commands of a host in a row, on average */

struct client {
	unsigned index;
	struct sim_op *op; /* NULL: thinking */
	unsigned burst;	   /* commands left of it */
};

struct mp_subsys *sim_ss;
static uint64_t longest_rest; /* ns, so that the commands last as long as the faults */
static struct client clients[MAX_CLIENTS];
static unsigned nr_clients, nr_workers, out, done, started;
static struct loop **workers;
static unsigned most_zeroes;	    /* blocks that one Write Zeroes may have */
static bool polite;		    /* no two writes at once to the same block */
static struct tgt_qpair connection; /* what requests of hosts that may leave point to */

static void on_think(void *arg);

static uint64_t think(struct client *c)
{
	if (!c->burst) {
		c->burst = (unsigned)sim_between(1, 2 * BURST);
		return sim_between(0, longest_rest);
	}
	c->burst--;
	return sim_between(0, 400) * NSEC_PER_USEC;
}

static void rest(struct client *c)
{
	struct loop *loop = workers[sim_between(0, nr_workers - 1)];

	if (started < sim_opt.ops)
		sim_at(sim_now + think(c), loop, on_think, c);
}

static void read_values(const struct request *req, unsigned n, uint32_t *values)
{
	for (unsigned i = 0; i < n; i++)
		request_copy_out(req, i * SIM_BLOCK_SIZE, &values[i], sizeof(values[i]));
}

static void on_complete(struct request *req)
{
	struct sim_op *op = req->complete_arg;
	uint16_t status = nvme_cqe_status(&req->cqe);
	uint32_t values[SIM_BLOCKS];
	bool has = op->kind == SIM_READ && status == 0;

	if (has && req->filled != req->data_len)
		sim_fail("read %u succeeded with %u of %u bytes", op->id, req->filled,
			 req->data_len);
	if (has)
		read_values(req, op->n, values);
	sim_trace("command %u ends with status %#x after %.3f ms", op->id, status,
		  (double)(sim_now - op->inv) / 1e6);
	if (!op->resp)
		sim_check_done(op, status, has ? values : NULL);
	op->req = NULL;
	req->tgt = NULL;
	pool_put(req);
	out--;
	done++;
	for (unsigned i = 0; i < nr_clients; i++)
		if (clients[i].op == op) {
			clients[i].op = NULL;
			rest(&clients[i]);
		}
}

static bool collides(const struct sim_op *op)
{
	for (unsigned i = 0; i < nr_clients; i++) {
		const struct sim_op *o = clients[i].op;

		if (o && o != op && o->ns == op->ns &&
		    (o->kind == SIM_WRITE || o->kind == SIM_ZEROES) && o->slba < op->slba + op->n &&
		    op->slba < o->slba + o->n)
			return true;
	}
	return false;
}

static void choose(struct sim_op *op)
{
	unsigned dice = (unsigned)sim_between(0, 99);

	op->ns = sim_chance(75) ? 0 : 1;
	op->kind = dice < 45		      ? SIM_READ
		   : dice < 90		      ? SIM_WRITE
		   : dice < 96 && most_zeroes ? SIM_ZEROES
					      : SIM_FLUSH;
	op->n = (unsigned)(sim_chance(70) ? 1 : sim_between(1, 4));
	if (op->kind == SIM_ZEROES && sim_chance(20))
		op->n = (unsigned)sim_between(1, most_zeroes);
	op->slba = (unsigned)sim_between(0, SIM_BLOCKS - op->n);
	if (op->kind == SIM_FLUSH)
		op->n = 0;
}

static const char *const kinds[] = {"read", "write", "zeroes", "flush"};

static bool bring_data(struct request *req, const struct sim_op *op)
{
	uint8_t block[SIM_BLOCK_SIZE] = {0};

	if (request_alloc_data(req, req->data_len))
		return false;
	memcpy(block, &op->id, sizeof(op->id));
	for (unsigned i = 0; i < op->n; i++)
		request_copy_in(req, i * SIM_BLOCK_SIZE, block, sizeof(block));
	req->filled = req->data_len;
	return true;
}

/* False: it is a write, and there is no memory for its data. */
static bool fill(struct request *req, const struct sim_op *op)
{
	static const uint8_t opcodes[] = {nvme_cmd_read, nvme_cmd_write, nvme_cmd_write_zeroes,
					  nvme_cmd_flush};

	req->sqe.opcode = opcodes[op->kind];
	req->sqe.nsid = htole32(op->ns + 1);
	req->sqe.cdw10 = htole32(op->slba);
	req->sqe.cdw12 = htole32(op->n ? op->n - 1 : 0);
	req->dir = NVME_DIR_NONE;
	if (op->kind == SIM_READ || op->kind == SIM_WRITE) {
		req->dir = (uint8_t)nvme_sqe_dir(&req->sqe);
		req->data_len = op->n * SIM_BLOCK_SIZE;
	}
	return op->kind != SIM_WRITE || op->unfetched || bring_data(req, op);
}

static unsigned current_worker(void)
{
	unsigned w = 0;

	while (!loop_is_current(workers[w]))
		w++;
	return w;
}

static void give_back(struct request *req, uint16_t status)
{
	nvme_cqe_set_status(&req->cqe, status);
	on_complete(req);
}

/* The data that a write was asked for is there. */
static void on_fetched(void *arg)
{
	struct sim_op *op = sim_check_op((uint32_t)(uintptr_t)arg);
	struct request *req = op->req;
	struct head_worker *hw;
	unsigned w = current_worker();

	if (!req->tgt) {
		give_back(req, NVME_ST_HOST_PATH);
		return;
	}
	hw = mp_lookup(sim_ss, w, op->ns + 1);
	if (!hw)
		give_back(req, NVME_ST_INVALID_NS);
	else if (bring_data(req, op))
		head_submit(hw, req);
	else
		sim_at(sim_now + NSEC_PER_MSEC, workers[w], on_fetched, arg);
}

static void proceed(struct request *req)
{
	struct sim_op *op = req->complete_arg;
	unsigned w = current_worker();
	struct head_worker *hw = mp_lookup(sim_ss, w, op->ns + 1);

	if (!hw)
		give_back(req, NVME_ST_INVALID_NS);
	else if (head_admit(hw, req))
		sim_at(sim_now + sim_between(10, 2000) * NSEC_PER_USEC, workers[w], on_fetched,
		       (void *)(uintptr_t)op->id);
}

static void on_gone(void *arg)
{
	struct sim_op *op = sim_check_op((uint32_t)(uintptr_t)arg);

	if (op->resp)
		return;
	sim_check_done(op, NVME_ST_HOST_PATH, NULL);
	for (unsigned i = 0; i < nr_clients; i++)
		if (clients[i].op == op) {
			clients[i].op = NULL;
			rest(&clients[i]);
		}
}

/* The host's Abort, or its leaving: what is held ends, what is out goes on. */
static void on_give_up(void *arg)
{
	struct sim_op *op = sim_check_op((uint32_t)(uintptr_t)arg);
	struct request *req;

	if (!op || !op->req)
		return;
	req = op->req;
	if (op->host_gone) {
		sim_trace("the host of command %u leaves", op->id);
		req->tgt = NULL;
	}
	if (head_cancel(req, NVME_STATUS(0, NVME_SC_ABORT_REQ)))
		return;
	sim_trace("command %u is out and cannot be aborted", op->id);
	if (!op->host_gone)
		return;
	head_abandon(req);
	/* For the host it is over; what it sends next comes by a new connection. */
	sim_at(sim_now + RECONNECT, NULL, on_gone, (void *)(uintptr_t)op->id);
}

static void maybe_give_up(struct sim_op *op, struct loop *loop)
{
	if (sim_chance(97))
		return;
	op->host_gone = sim_chance(40);
	sim_at(sim_now + sim_between(1, 3000) * NSEC_PER_MSEC, loop, on_give_up,
	       (void *)(uintptr_t)op->id);
}

static void on_think(void *arg)
{
	struct client *c = arg;
	unsigned w = current_worker();
	struct sim_op *op;
	struct head_worker *hw;
	struct request *req;
	struct loop *loop = workers[w];

	if (started >= sim_opt.ops)
		return;
	op = sim_check_new();
	choose(op);
	op->unfetched = sim_chance(30);
	for (unsigned tries = 0; polite && tries < 20 && collides(op); tries++)
		choose(op);
	hw = mp_lookup(sim_ss, w, op->ns + 1);
	req = hw ? pool_get(loop_pool(loop)) : NULL;
	if (!req || !fill(req, op)) {
		op->resp = sim_now; /* never sent */
		op->kind = SIM_FLUSH;
		if (req)
			pool_put(req);
		rest(c);
		return;
	}
	c->op = op;
	op->req = req;
	req->complete = on_complete;
	req->proceed = proceed;
	req->complete_arg = op;
	req->tgt = &connection;
	out++;
	started++;
	sim_trace("command %u: %s of namespace %u, blocks %u+%u", op->id, kinds[op->kind],
		  op->ns + 1, op->slba, op->n);
	maybe_give_up(op, loop);
	if (sim_chance(1))
		sim_fault_soon();
	if (op->kind == SIM_WRITE && op->unfetched)
		proceed(req);
	else
		head_submit(hw, req);
}

/* What hosts are told, as the gateway does it: controllers with less are of no use after that. */
static void take_limits(void)
{
	struct limits l;

	most_zeroes = 0;
	if (!mp_subsys_limits(sim_ss, &l))
		return;
	limits_promise(&sim_ss->promised, &l);
	if (l.bounded & NVME_CTRL_ONCS_WRITE_ZEROES)
		most_zeroes = (1u << l.write_zeroes) / SIM_BLOCK_SIZE;
	else if (l.oncs & NVME_CTRL_ONCS_WRITE_ZEROES)
		most_zeroes = SIM_BLOCKS;
	if (most_zeroes > SIM_BLOCKS)
		most_zeroes = SIM_BLOCKS;
}

void sim_hosts_start(unsigned n, struct loop **loops, uint64_t duration)
{
	memset(clients, 0, sizeof(clients));
	out = done = started = 0;
	nr_workers = n;
	workers = loops;
	take_limits();
	nr_clients = (unsigned)sim_between(1, MAX_CLIENTS);
	polite = sim_chance(50);
	longest_rest = 2 * duration * nr_clients / (sim_opt.ops / BURST + 1);
	for (unsigned i = 0; i < nr_clients; i++) {
		clients[i].index = i;
		rest(&clients[i]);
	}
}

unsigned sim_hosts_out(void)
{
	return out;
}

unsigned sim_hosts_done(void)
{
	return done;
}
