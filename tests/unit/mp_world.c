/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/mp_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/pool.h"
#include "transport/target.h"

#define REQUESTS    256
#define SEGMENTS    64
#define BLOCK	    512
#define MAX_ANSWERS 4096

struct world world;
struct sim_options sim_opt;
static struct answer answers[MAX_ANSWERS];

static bool is_leaving(const struct request *req)
{
	return world.leaving;
}

static const struct tgt_transport transport = {.leaving = is_leaving};
/* What commands point to whose host is there */
static struct tgt_qpair host = {.tr = &transport};
static unsigned next_place;

/* No upstream here is a file. */
void file_ns_close(struct file_ns *ns)
{
	abort();
}

/* ---- the gateway's part ---- */

static uint32_t assign_nsid(void *arg, const struct ns_ident *id, struct mp_refusal *why)
{
	if (world.refusal.reason) {
		*why = world.refusal;
		return 0;
	}
	return id->has_uuid ? id->uuid[0] : id->has_nguid ? id->nguid[0] : 200 + id->nsid;
}

static void on_added(void *arg, struct head *h)
{
	world.added++;
}

static void on_changed(void *arg, struct head *h)
{
	world.changed++;
}

static void on_ana_changed(void *arg, struct head *h)
{
	world.ana_changed++;
}

static void on_removed(void *arg, struct head *h)
{
	world.removed++;
}

static const struct mp_events events = {
	.assign_nsid = assign_nsid,
	.head_added = on_added,
	.head_changed = on_changed,
	.head_ana_changed = on_ana_changed,
	.head_removed = on_removed,
};

/* ---- life ---- */

struct mp_subsys_config world_config(void)
{
	return (struct mp_subsys_config){
		.nqn = "nqn.2014-08.org.example:gw",
		.no_path_timeout = 20 * NSEC_PER_SEC,
		.max_held = 100,
		.max_held_bytes = 4 << 20,
		.persistent_loss = -1,
	};
}

void world_start(unsigned workers, const struct mp_subsys_config *cfg)
{
	memset(&world, 0, sizeof(world));
	memset(answers, 0, sizeof(answers));
	memset(fake_ctrls, 0, sizeof(fake_ctrls));
	for (unsigned i = 1; i < sizeof(fake_ctrls) / sizeof(fake_ctrls[0]); i++) {
		fake_ctrls[i].ana_state = NVME_ANA_STATE_OPTIMIZED;
		fake_ctrls[i].ns[1] = (struct fake_ns){true, 1000, 5, 0, false};
	}
	next_place = 0;
	sim_seed(1);
	world.nr_workers = workers;
	world.control = loop_new(0, -1);
	for (unsigned w = 0; w < workers; w++) {
		world.worker[w] = loop_new(w + 1, -1);
		world.pool[w] = pool_new(world.worker[w], REQUESTS, SEGMENTS);
	}
	world.mp = mp_new(world.control, world.worker, workers);
	world.ss = mp_subsys_add(world.mp, cfg, &events, NULL);
}

static void start(unsigned workers)
{
	struct mp_subsys_config cfg = world_config();

	world_start(workers, &cfg);
}

int world_setup(void **state)
{
	start(1);
	return 0;
}

int world_setup_two(void **state)
{
	start(2);
	return 0;
}

static void on_down(void *arg)
{
	*(bool *)arg = true;
}

int world_teardown(void **state)
{
	bool down = false;

	for (unsigned w = 0; w < world.nr_workers; w++)
		sim_resume(world.worker[w]);
	mp_shutdown(world.mp, on_down, &down);
	WAIT_FOR(down);
	assert_int_equal(world.done, world.submitted);
	mp_free(world.mp);
	for (unsigned w = 0; w < world.nr_workers; w++) {
		assert_int_equal(pool_free_requests(world.pool[w]), REQUESTS);
		assert_int_equal(pool_free_segments(world.pool[w]), SEGMENTS);
		pool_free(world.pool[w]);
		loop_free(world.worker[w]);
	}
	loop_free(world.control);
	sim_events_free();
	return 0;
}

void world_replace_subsys(void)
{
	struct mp_subsys_config cfg = world_config();
	bool gone = false;

	mp_subsys_remove(world.ss, on_down, &gone);
	WAIT_FOR(gone);
	world.ss = mp_subsys_add(world.mp, &cfg, &events, NULL);
}

/* ---- upstreams, paths, heads ---- */

static void fill_in(struct upstream_config *cfg)
{
	if (!cfg->transport)
		cfg->transport = &ini_fake;
	if (!cfg->nqn[0])
		strcpy(cfg->nqn, "nqn.2014-08.org.example:array");
	if (!cfg->queue_size)
		cfg->queue_size = 32;
	if (!cfg->reconnect_delay)
		cfg->reconnect_delay = NSEC_PER_SEC;
	if (!cfg->connect_timeout)
		cfg->connect_timeout = NSEC_PER_SEC;
	if (!cfg->ctrl_loss_tmo)
		cfg->ctrl_loss_tmo = -1;
	if (!cfg->fast_io_fail_tmo)
		cfg->fast_io_fail_tmo = -1;
	if (!cfg->io_timeout)
		cfg->io_timeout = 30 * NSEC_PER_SEC;
	cfg->enabled = true;
}

struct upstream *add_upstream_with(unsigned port, const struct upstream_config *base)
{
	struct upstream_config cfg = base ? *base : (struct upstream_config){0};
	char service[8];

	snprintf(cfg.name, sizeof(cfg.name), "up%u", port);
	snprintf(service, sizeof(service), "%u", port);
	assert_int_equal(addr_parse(&cfg.addr, "127.0.0.1", service), 0);
	fill_in(&cfg);
	return upstream_add(world.ss, &cfg);
}

struct upstream *add_upstream(unsigned port)
{
	return add_upstream_with(port, NULL);
}

struct upstream *live_upstream_with(unsigned port, const struct upstream_config *base)
{
	struct upstream *up = add_upstream_with(port, base);

	WAIT_FOR(up->state == UPSTREAM_LIVE);
	settle();
	return up;
}

struct upstream *live_upstream(unsigned port)
{
	return live_upstream_with(port, NULL);
}

struct path *only_path(const struct upstream *up)
{
	struct path *p = TAILQ_FIRST(&up->paths);

	assert_non_null(p);
	return p;
}

struct head *only_head(void)
{
	return mp_subsys_head(world.ss, 5);
}

struct head_totals totals(void)
{
	struct head_totals t;

	head_totals(only_head(), &t);
	return t;
}

unsigned out_on(const struct upstream *up, unsigned worker)
{
	return up->assoc->conns[worker]->qp->inflight;
}

/* ---- time ---- */

void pass(uint64_t ns)
{
	uint64_t end = sim_now + ns;

	while (sim_step(end))
		;
}

void settle(void)
{
	pass(20 * NSEC_PER_MSEC);
}

/* ---- hosts' commands ---- */

static void on_complete(struct request *req)
{
	struct answer *a = req->complete_arg;

	assert_int_equal(a->times++, 0);
	a->status = nvme_cqe_status(&req->cqe);
	a->req = NULL;
	world.done++;
	world.last_status = a->status;
	if (!a->status && req->dir == NVME_DIR_C2H)
		assert_int_equal(req->filled, req->data_len);
	req->tgt = NULL;
	pool_put(req);
}

static void bring_data(struct request *req, const void *data)
{
	assert_int_equal(request_alloc_data(req, req->data_len), 0);
	if (data)
		request_copy_in(req, 0, data, req->data_len);
	req->filled = req->data_len;
}

/* Whose request it is. */
static unsigned worker_of(const struct request *req)
{
	return req->pool == world.pool[0] ? 0 : 1;
}

static struct head_worker *head_of(const struct request *req)
{
	return mp_lookup(world.ss, worker_of(req), le32toh(req->sqe.nsid));
}

static void on_proceed(struct request *req)
{
	struct answer *a = req->complete_arg;
	struct head_worker *hw = head_of(req);

	if (!hw) {
		nvme_cqe_set_status(&req->cqe, NVME_ST_INVALID_NS);
		on_complete(req);
	} else if (head_admit(hw, req)) {
		a->fetched++;
		bring_data(req, NULL);
		head_submit(hw, req);
	}
}

static struct answer *start_command(struct request *req)
{
	struct answer *a = &answers[world.submitted++];

	assert_non_null(head_of(req));
	assert_in_range(world.submitted, 1, MAX_ANSWERS);
	a->req = req;
	req->complete = on_complete;
	req->proceed = on_proceed;
	req->complete_arg = a;
	req->tgt = &host;
	if (req->dir == NVME_DIR_H2C && req->filled < req->data_len)
		on_proceed(req);
	else
		head_submit(head_of(req), req);
	return a;
}

struct answer *submit_sqe(unsigned worker, const struct nvme_sqe *sqe, const void *data,
			  uint32_t len)
{
	struct request *req = pool_get(world.pool[worker]);

	assert_non_null(req);
	req->sqe = *sqe;
	req->dir = (uint8_t)nvme_sqe_dir(sqe);
	req->data_len = len;
	if (len && req->dir == NVME_DIR_H2C)
		bring_data(req, data);
	return start_command(req);
}

struct answer *submit_unfetched(unsigned worker, uint64_t slba, unsigned blocks)
{
	struct request *req = pool_get(world.pool[worker]);

	assert_non_null(req);
	req->sqe = (struct nvme_sqe){
		.opcode = nvme_cmd_write,
		.nsid = htole32(5),
		.cdw10 = htole32((uint32_t)slba),
		.cdw12 = htole32(blocks - 1),
	};
	req->dir = NVME_DIR_H2C;
	req->data_len = blocks * BLOCK;
	return start_command(req);
}

static struct answer *submit_blocks(unsigned worker, uint32_t nsid, uint8_t opcode, uint64_t slba,
				    unsigned blocks)
{
	struct nvme_sqe sqe = {.opcode = opcode, .nsid = htole32(nsid)};
	bool moves =
		opcode == nvme_cmd_read || opcode == nvme_cmd_write || opcode == nvme_cmd_compare;

	sqe.cdw10 = htole32((uint32_t)slba);
	sqe.cdw11 = htole32((uint32_t)(slba >> 32));
	sqe.cdw12 = htole32(blocks - 1);
	return submit_sqe(worker, &sqe, NULL, moves ? blocks * BLOCK : 0);
}

struct answer *submit_at(unsigned worker, uint8_t opcode, uint64_t slba, unsigned blocks)
{
	return submit_blocks(worker, 5, opcode, slba, blocks);
}

struct answer *submit_to(uint32_t nsid, uint8_t opcode)
{
	return submit_blocks(0, nsid, opcode, 8 * (next_place++ % 100), 8);
}

struct answer *submit(uint8_t opcode)
{
	return submit_to(5, opcode);
}

static void expect(const struct answer *a, uint16_t want)
{
	WAIT_FOR(a->times);
	assert_int_equal(a->status, want);
}

void run(uint8_t opcode, uint16_t want)
{
	expect(submit(opcode), want);
}

void run_at(unsigned worker, uint8_t opcode, uint64_t slba, unsigned blocks, uint16_t want)
{
	expect(submit_at(worker, opcode, slba, blocks), want);
}

bool abort_it(const struct answer *a)
{
	return a->req && head_cancel(a->req, NVME_STATUS(0, NVME_SC_ABORT_REQ));
}

void leave(const struct answer *a)
{
	if (!a->req || head_cancel(a->req, NVME_STATUS(0, NVME_SC_ABORT_QUEUE)))
		return;
	head_abandon(a->req);
	a->req->tgt = NULL;
}
