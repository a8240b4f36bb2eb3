/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The multipath engine against controllers in memory: aggregation, selection, failover, hold,
 * refusals. One loop is control and worker at once, so every run is the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "multipath/multipath.h"
#include "tests/unit/fake_upstream.h"
#include "transport/log.h"
#include "transport/pool.h"

static struct loop *loop;
static struct pool *pool;
static struct mp *mp;
static struct mp_subsys *ss;
static unsigned added, removed, ana_changes, changes;

static uint32_t assign_nsid(void *arg, const struct ns_ident *id, const char **reason)
{
	return id->uuid[0];
}

static void on_added(void *arg, struct head *h)
{
	added++;
}

static void on_changed(void *arg, struct head *h)
{
	changes++;
}

static void on_ana(void *arg, struct head *h)
{
	ana_changes++;
}

static void on_removed(void *arg, struct head *h)
{
	removed++;
}

static const struct mp_events events = {
	.assign_nsid = assign_nsid,
	.head_added = on_added,
	.head_changed = on_changed,
	.head_ana_changed = on_ana,
	.head_removed = on_removed,
};

static void spin(unsigned turns)
{
	while (turns--)
		loop_turn(loop, false);
}

static void spin_ms(unsigned ms)
{
	uint64_t end = loop_now_exact(loop) + ms * NSEC_PER_MSEC;

	while (loop_now_exact(loop) < end)
		loop_turn(loop, false);
}

#define WAIT_FOR(cond)                                                       \
	do {                                                                 \
		uint64_t end_ = loop_now_exact(loop) + 5 * NSEC_PER_SEC;     \
		while (!(cond)) {                                            \
			loop_turn(loop, false);                              \
			if (loop_now_exact(loop) > end_)                     \
				fail_msg("timed out waiting for %s", #cond); \
		}                                                            \
	} while (0)

static int setup(void **state)
{
	struct mp_subsys_config cfg = {
		.nqn = "nqn.2014-08.org.example:gw",
		.no_path_timeout = 20 * NSEC_PER_SEC,
		.max_held = 100,
		.max_held_bytes = 1 << 20,
		.persistent_loss = -1,
	};

	log_set_level(LOG_CRIT);
	memset(fake_ctrls, 0, sizeof(fake_ctrls));
	for (unsigned i = 1; i < 8; i++) {
		fake_ctrls[i].ana_state = NVME_ANA_STATE_OPTIMIZED;
		fake_ctrls[i].ns[1] = (struct fake_ns){true, 1000, 5, 0, false};
	}
	added = removed = ana_changes = changes = 0;
	loop = loop_new(0, -1);
	pool = pool_new(loop, 256, 60);
	mp = mp_new(loop, &loop, 1);
	ss = mp_subsys_add(mp, &cfg, &events, NULL);
	return 0;
}

static bool all_down;

static void on_down(void *arg)
{
	all_down = true;
}

static int teardown(void **state)
{
	unsigned requests = pool_total_requests(pool), segments = pool_total_segments(pool);

	all_down = false;
	mp_shutdown(mp, on_down, NULL);
	WAIT_FOR(all_down);
	assert_int_equal(pool_free_requests(pool), requests);
	assert_int_equal(pool_free_segments(pool), segments);
	mp_free(mp);
	pool_free(pool);
	loop_free(loop);
	return 0;
}

static struct upstream *add_up_with(unsigned port, const struct upstream_config *base)
{
	struct upstream_config cfg = base ? *base : (struct upstream_config){0};
	char svc[8];

	snprintf(cfg.name, sizeof(cfg.name), "up%u", port);
	snprintf(svc, sizeof(svc), "%u", port);
	cfg.transport = &ini_fake;
	assert_int_equal(addr_parse(&cfg.addr, "127.0.0.1", svc), 0);
	if (!cfg.nqn[0])
		strcpy(cfg.nqn, "nqn.2014-08.org.example:array");
	cfg.queue_size = 32;
	cfg.reconnect_delay = 20 * NSEC_PER_MSEC;
	cfg.connect_timeout = NSEC_PER_SEC;
	if (!cfg.ctrl_loss_tmo)
		cfg.ctrl_loss_tmo = -1;
	if (!cfg.fast_io_fail_tmo)
		cfg.fast_io_fail_tmo = -1;
	if (!cfg.io_timeout)
		cfg.io_timeout = 30 * NSEC_PER_SEC;
	cfg.enabled = true;
	return upstream_add(ss, &cfg);
}

static struct upstream *add_up(unsigned port)
{
	return add_up_with(port, NULL);
}

static struct path *only_path(struct upstream *up)
{
	return TAILQ_FIRST(&up->paths);
}

/* ---- I/O ---- */

static unsigned done;
static uint16_t last_status;

static void on_complete(struct request *req)
{
	done++;
	last_status = nvme_cqe_status(&req->cqe);
	pool_put(req);
}

/* Each at another place: 8 blocks of 512 bytes. */
static struct request *submit(uint8_t opcode)
{
	static unsigned next_place;
	struct head_worker *hw = mp_lookup(ss, 0, 5);
	struct request *req = pool_get(pool);

	assert_non_null(hw);
	req->sqe.opcode = opcode;
	req->sqe.nsid = htole32(5);
	req->sqe.cdw10 = htole32(8 * (next_place++ % 100));
	req->sqe.cdw12 = htole32(7);
	req->complete = on_complete;
	req->dir = nvme_sqe_dir(&req->sqe);
	if (req->dir != NVME_DIR_NONE) {
		req->data_len = 4096;
		if (req->dir == NVME_DIR_H2C) {
			assert_int_equal(request_alloc_data(req, 4096), 0);
			req->filled = 4096;
		}
	}
	head_submit(hw, req);
	return req;
}

static void run(uint8_t opcode, uint16_t want)
{
	unsigned before = done;

	submit(opcode);
	WAIT_FOR(done > before);
	assert_int_equal(last_status, want);
}

/* ---- tests ---- */

static void two_paths_one_head(void **state)
{
	struct upstream *a = add_up(1), *b = add_up(2);

	WAIT_FOR(a->state == UPSTREAM_LIVE && b->state == UPSTREAM_LIVE);
	assert_int_equal(added, 1);
	assert_ptr_equal(only_path(a)->head, only_path(b)->head);
	WAIT_FOR(only_path(a)->usable && only_path(b)->usable);
	assert_int_equal(only_path(a)->head->nsid, 5);
	spin(5);
	run(nvme_cmd_read, 0);
	run(nvme_cmd_write, 0);
	assert_int_equal(fake_ctrls[1].reads, 1);
	assert_int_equal(fake_ctrls[1].last_nsid, 1); /* rewritten to the upstream's */
	assert_int_equal(fake_ctrls[2].reads, 0);
}

static void cut_moves_commands(void **state)
{
	struct upstream *a = add_up(1), *b = add_up(2);

	WAIT_FOR(a->state == UPSTREAM_LIVE && b->state == UPSTREAM_LIVE);
	spin(5);
	fake_ctrls[1].stuck = true;
	done = 0;
	for (int i = 0; i < 10; i++)
		submit(i & 1 ? nvme_cmd_read : nvme_cmd_write);
	spin(5);
	assert_int_equal(done, 0);
	fake_ctrls[1].down = true;
	fake_cut(1);
	WAIT_FOR(done == 10);
	assert_int_equal(last_status, 0);
	assert_int_equal(fake_ctrls[2].reads + fake_ctrls[2].writes, 10);
	WAIT_FOR(a->state == UPSTREAM_WAITING);
	assert_false(only_path(a)->usable);
	assert_true(strlen(only_path(a)->reason) > 0);
	assert_int_equal(ana_changes, 1); /* only the first arrival: hosts saw no change since */
	/* and back: failover prefers the first again */
	fake_ctrls[1].down = fake_ctrls[1].stuck = false;
	WAIT_FOR(a->state == UPSTREAM_LIVE);
	spin(5);
	fake_ctrls[1].reads = 0;
	run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[1].reads, 1);
}

static void hold_and_release(void **state)
{
	struct upstream *a = add_up(1);
	struct head_totals t;

	WAIT_FOR(a->state == UPSTREAM_LIVE);
	spin(5);
	fake_ctrls[1].stuck = true;
	done = 0;
	submit(nvme_cmd_write);
	fake_ctrls[1].down = true;
	fake_cut(1);
	WAIT_FOR(a->state == UPSTREAM_WAITING);
	submit(nvme_cmd_read);
	spin_ms(60);
	assert_int_equal(done, 0);
	head_totals(mp_subsys_head(ss, 5), &t);
	assert_int_equal(t.held, 2);
	assert_int_equal(mp_subsys_head(ss, 5)->ana_state, NVME_ANA_STATE_INACCESSIBLE);
	fake_ctrls[1].down = fake_ctrls[1].stuck = false;
	WAIT_FOR(done == 2);
	assert_int_equal(last_status, 0);
	head_totals(mp_subsys_head(ss, 5), &t);
	assert_int_equal(t.held, 0);
	assert_int_equal(mp_subsys_head(ss, 5)->ana_state, NVME_ANA_STATE_OPTIMIZED);
}

static void hold_expires(void **state)
{
	struct upstream *a;

	ss->cfg.no_path_timeout = 100 * NSEC_PER_MSEC;
	a = add_up(1);
	WAIT_FOR(a->state == UPSTREAM_LIVE);
	spin(5);
	fake_ctrls[1].down = true;
	fake_cut(1);
	WAIT_FOR(a->state == UPSTREAM_WAITING);
	spin(5);
	done = 0;
	submit(nvme_cmd_write);
	spin_ms(30);
	assert_int_equal(done, 0);
	WAIT_FOR(done == 1);
	assert_int_equal(last_status, NVME_ST_ANA_INACCESSIBLE);
	submit(nvme_cmd_write); /* the time is up for newcomers too */
	assert_int_equal(done, 2);
	assert_int_equal(last_status, NVME_ST_ANA_INACCESSIBLE);
	fake_ctrls[1].down = false;
	WAIT_FOR(a->state == UPSTREAM_LIVE);
	spin(5);
	run(nvme_cmd_write, 0);
}

static void hold_is_bounded_and_cancellable(void **state)
{
	struct upstream *a;
	struct request *first;

	ss->cfg.max_held = 3;
	a = add_up(1);
	WAIT_FOR(a->state == UPSTREAM_LIVE);
	spin(5);
	fake_ctrls[1].down = true;
	fake_cut(1);
	WAIT_FOR(a->state == UPSTREAM_WAITING);
	spin(5);
	done = 0;
	first = submit(nvme_cmd_write);
	submit(nvme_cmd_write);
	submit(nvme_cmd_write);
	assert_int_equal(done, 0);
	submit(nvme_cmd_write);
	assert_int_equal(done, 1);
	assert_int_equal(last_status, NVME_ST_ANA_INACCESSIBLE);
	assert_true(head_cancel(first, NVME_STATUS(0, NVME_SC_ABORT_REQ)));
	assert_int_equal(done, 2);
	assert_int_equal(last_status, NVME_STATUS(0, NVME_SC_ABORT_REQ));
	fake_ctrls[1].down = false;
	WAIT_FOR(done == 4);
	assert_int_equal(fake_ctrls[1].writes, 2); /* the cancelled one never went out */
}

static void ana_state_is_honoured(void **state)
{
	struct upstream *a, *b;

	fake_ctrls[1].ana_state = NVME_ANA_STATE_NONOPTIMIZED;
	a = add_up(1);
	b = add_up(2);
	WAIT_FOR(a->state == UPSTREAM_LIVE && b->state == UPSTREAM_LIVE);
	spin(5);
	run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[2].reads, 1); /* optimized before non-optimized */
	fake_ctrls[2].ana_state = NVME_ANA_STATE_INACCESSIBLE;
	fake_notice(2, NVME_AER_NOTICE_ANA);
	WAIT_FOR(!only_path(b)->usable);
	assert_int_equal(mp_subsys_head(ss, 5)->ana_state, NVME_ANA_STATE_NONOPTIMIZED);
	spin(5);
	run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[1].reads, 1);
}

static void ana_status_moves_command(void **state)
{
	struct upstream *a = add_up(1), *b = add_up(2);

	WAIT_FOR(a->state == UPSTREAM_LIVE && b->state == UPSTREAM_LIVE);
	spin(5);
	fake_ctrls[1].ana_state = NVME_ANA_STATE_INACCESSIBLE; /* without a notice */
	run(nvme_cmd_write, 0);
	assert_int_equal(fake_ctrls[2].writes, 1);
	WAIT_FOR(!only_path(a)->usable); /* the failing command had the log read */
	assert_int_equal(a->state, UPSTREAM_LIVE);
}

static void path_status_without_ana(void **state)
{
	struct upstream *a, *b;

	fake_ctrls[1].no_ana = true;
	a = add_up(1);
	b = add_up(2);
	WAIT_FOR(a->state == UPSTREAM_LIVE && b->state == UPSTREAM_LIVE);
	spin(5);
	fake_ctrls[1].io_status = NVME_STATUS(3, NVME_SC_CTRL_PATH_ERROR);
	run(nvme_cmd_write, 0);
	assert_int_equal(fake_ctrls[2].writes, 1);
	fake_ctrls[1].io_status = 0;
	spin_ms(250); /* probed again after a while */
	run(nvme_cmd_write, 0);
	assert_int_equal(fake_ctrls[1].writes, 2);
}

static void other_statuses_reach_the_host(void **state)
{
	struct upstream *a = add_up(1), *b = add_up(2);

	WAIT_FOR(a->state == UPSTREAM_LIVE && b->state == UPSTREAM_LIVE);
	spin(5);
	fake_ctrls[1].io_status = NVME_STATUS(2, NVME_SC_READ_ERROR) | NVME_DNR;
	run(nvme_cmd_read, NVME_STATUS(2, NVME_SC_READ_ERROR) | NVME_DNR);
	assert_int_equal(fake_ctrls[2].reads, 0);
	fake_ctrls[1].io_status = NVME_STATUS(0, NVME_SC_TRAN_TPORT_ERROR);
	run(nvme_cmd_read, NVME_STATUS(0, NVME_SC_TRAN_TPORT_ERROR));
	assert_int_equal(fake_ctrls[1].reads, 1 + 6); /* tried again, but not for ever */
}

static void path_error_everywhere_ends(void **state)
{
	struct upstream *a = add_up(1);

	WAIT_FOR(a->state == UPSTREAM_LIVE);
	spin(5);
	fake_ctrls[1].io_status = NVME_STATUS(3, NVME_SC_CTRL_PATH_ERROR);
	run(nvme_cmd_read, NVME_STATUS(3, NVME_SC_CTRL_PATH_ERROR));
}

static void round_robin_by_weight(void **state)
{
	struct upstream_config heavy = {.weight = 3};
	struct upstream *a = add_up_with(1, &heavy), *b = add_up(2);

	WAIT_FOR(a->state == UPSTREAM_LIVE && b->state == UPSTREAM_LIVE);
	mp_subsys_set_policy(ss, MP_POLICY_ROUND_ROBIN);
	spin(5);
	for (int i = 0; i < 40; i++)
		run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[1].reads, 30);
	assert_int_equal(fake_ctrls[2].reads, 10);
}

static void full_queue_waits(void **state)
{
	struct upstream *a = add_up(1);

	WAIT_FOR(a->state == UPSTREAM_LIVE);
	spin(5);
	done = 0;
	for (int i = 0; i < 100; i++) /* queue_size 32 */
		submit(nvme_cmd_read);
	WAIT_FOR(done == 100);
	assert_int_equal(last_status, 0);
	assert_int_equal(fake_ctrls[1].reads, 100);
}

static void out_of_buffers_waits(void **state)
{
	struct upstream *a = add_up(1);
	struct request *hog = pool_get(pool);

	WAIT_FOR(a->state == UPSTREAM_LIVE);
	spin(5);
	assert_int_equal(request_alloc_data(hog, pool_free_segments(pool) * SEG_SIZE), 0);
	done = 0;
	submit(nvme_cmd_read);
	spin(10);
	assert_int_equal(done, 0);
	pool_put(hog);
	WAIT_FOR(done == 1);
	assert_int_equal(last_status, 0);
}

static void flush_visits_every_dirty_path(void **state)
{
	struct upstream *a = add_up(1), *b = add_up(2);

	WAIT_FOR(a->state == UPSTREAM_LIVE && b->state == UPSTREAM_LIVE);
	mp_subsys_set_policy(ss, MP_POLICY_ROUND_ROBIN);
	spin(5);
	run(nvme_cmd_write, 0);
	run(nvme_cmd_write, 0);
	run(nvme_cmd_flush, 0);
	assert_int_equal(fake_ctrls[1].flushes, 1);
	assert_int_equal(fake_ctrls[2].flushes, 1);
	run(nvme_cmd_flush, 0); /* clean: one is enough */
	assert_int_equal(fake_ctrls[1].flushes + fake_ctrls[2].flushes, 3);
	/* a path that is disabled after it took a write still has to be flushed */
	run(nvme_cmd_write, 0);
	run(nvme_cmd_write, 0);
	path_set_admin(only_path(a), PATH_DISABLED);
	spin(5);
	fake_ctrls[1].flushes = fake_ctrls[2].flushes = 0;
	run(nvme_cmd_flush, 0);
	assert_int_equal(fake_ctrls[1].flushes, 1);
	assert_int_equal(fake_ctrls[2].flushes, 1);
}

static void disable_and_enable(void **state)
{
	struct upstream *a = add_up(1), *b = add_up(2);

	WAIT_FOR(a->state == UPSTREAM_LIVE && b->state == UPSTREAM_LIVE);
	path_set_admin(only_path(a), PATH_DISABLED);
	spin(5);
	run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[2].reads, 1);
	path_set_admin(only_path(a), PATH_ENABLED);
	spin(5);
	run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[1].reads, 1);
}

static void refusals(void **state)
{
	struct upstream *a, *b, *c, *d;

	fake_ctrls[1].ns[1].nguid_fill = fake_ctrls[2].ns[1].nguid_fill = 7;
	fake_ctrls[2].ns[1].nguid_fill = 8; /* same UUID, other NGUID */
	fake_ctrls[3].ns[1].nsze = 2000;
	fake_ctrls[4].ns[1].private = true;
	fake_ctrls[5].ns[2] = fake_ctrls[5].ns[1]; /* twice on one upstream */
	a = add_up(1);
	WAIT_FOR(a->state == UPSTREAM_LIVE);
	b = add_up(2);
	c = add_up(3);
	d = add_up(4);
	WAIT_FOR(b->state == UPSTREAM_LIVE && c->state == UPSTREAM_LIVE &&
		 d->state == UPSTREAM_LIVE);
	assert_null(only_path(b)->head);
	assert_non_null(strstr(only_path(b)->reason, "identifiers"));
	assert_false(only_path(c)->usable);
	assert_non_null(strstr(only_path(c)->reason, "size"));
	assert_null(only_path(d)->head);
	assert_non_null(strstr(only_path(d)->reason, "NMIC"));
	b = add_up(5);
	WAIT_FOR(b->state == UPSTREAM_LIVE && only_path(b)->usable);
	assert_null(TAILQ_NEXT(only_path(b), up_link)->head);
}

static void grow(void **state)
{
	struct upstream *a = add_up(1), *b = add_up(2);

	WAIT_FOR(a->state == UPSTREAM_LIVE && b->state == UPSTREAM_LIVE);
	changes = 0;
	fake_ctrls[1].ns[1].nsze = 5000;
	fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
	WAIT_FOR(!only_path(a)->usable); /* alone with the new size */
	spin(20);
	run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[2].reads, 1);
	fake_ctrls[2].ns[1].nsze = 5000;
	fake_notice(2, NVME_AER_NOTICE_NS_CHANGED);
	WAIT_FOR(only_path(a)->usable && only_path(b)->usable);
	assert_int_equal(mp_subsys_head(ss, 5)->geo.nsze, 5000);
	assert_int_equal(changes, 1);
	assert_int_equal(le64toh(mp_subsys_head(ss, 5)->idns.nsze), 5000);
	run(nvme_cmd_read, 0);
}

static void identity_change_cuts_the_path(void **state)
{
	struct upstream *a = add_up(1), *b = add_up(2);

	WAIT_FOR(a->state == UPSTREAM_LIVE && b->state == UPSTREAM_LIVE);
	fake_ctrls[1].ns[1].uuid_fill = 6;
	fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
	WAIT_FOR(added == 2);
	assert_int_equal(only_path(a)->head->nsid, 6);
	assert_int_equal(only_path(b)->head->nsid, 5);
	spin(10);
	run(nvme_cmd_write, 0);
	assert_int_equal(fake_ctrls[1].writes, 0);
	assert_int_equal(fake_ctrls[2].writes, 1);
}

static void namespace_comes_and_goes(void **state)
{
	struct upstream *a = add_up(1);

	WAIT_FOR(a->state == UPSTREAM_LIVE);
	fake_ctrls[1].ns[1].present = false;
	fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
	WAIT_FOR(removed == 1);
	spin(5);
	assert_null(mp_lookup(ss, 0, 5));
	fake_ctrls[1].ns[2] = (struct fake_ns){true, 1000, 5, 0, false};
	fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
	WAIT_FOR(added == 2);
	WAIT_FOR(mp_lookup(ss, 0, 5) && only_path(a)->usable);
	spin(5);
	run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[1].last_nsid, 2);
}

static void upstream_is_refused(void **state)
{
	struct upstream *a, *b;

	fake_ctrls[1].connect_status = NVME_STATUS(1, NVME_SC_CONNECT_INVALID_HOST) | NVME_DNR;
	a = add_up(1);
	WAIT_FOR(a->state == UPSTREAM_FAILED); /* DNR: until an admin acts */
	fake_ctrls[1].connect_status = 0;
	upstream_reset(a);
	WAIT_FOR(a->state == UPSTREAM_LIVE);
	fake_ctrls[2].connect_status = NVME_STATUS(1, NVME_SC_CONNECT_CTRL_BUSY);
	b = add_up(2);
	WAIT_FOR(b->state == UPSTREAM_WAITING);
	fake_ctrls[2].connect_status = 0;
	WAIT_FOR(b->state == UPSTREAM_LIVE);
}

static void twin_controller_is_refused(void **state)
{
	struct upstream *a, *b;

	fake_ctrls[1].twin = fake_ctrls[2].twin = true;
	a = add_up(1);
	WAIT_FOR(a->state == UPSTREAM_LIVE);
	b = add_up(2);
	WAIT_FOR(b->state == UPSTREAM_WAITING);
	assert_non_null(strstr(b->reason, "up1"));
}

static void small_mdts_is_refused(void **state)
{
	struct upstream *a;

	ss->mdts_limit = 1024 * 1024;
	fake_ctrls[1].mdts = 5; /* 128 KiB */
	a = add_up(1);
	WAIT_FOR(a->state == UPSTREAM_WAITING);
	assert_non_null(strstr(a->reason, "largest transfer"));
	ss->mdts_limit = 128 * 1024;
	WAIT_FOR(a->state == UPSTREAM_LIVE);
}

static void too_few_queues_are_refused(void **state)
{
	struct upstream *a;

	/* Only more workers than queues can be too many: see with the second of two on one loop. */
	struct loop *two[2] = {loop, loop};
	struct mp_subsys_config cfg = ss->cfg;

	mp_shutdown(mp, on_down, NULL);
	all_down = false;
	WAIT_FOR(all_down);
	mp_free(mp);
	mp = mp_new(loop, two, 2);
	ss = mp_subsys_add(mp, &cfg, &events, NULL);
	fake_ctrls[1].queues = 1;
	a = add_up(1);
	WAIT_FOR(a->state == UPSTREAM_WAITING);
	assert_non_null(strstr(a->reason, "grants 1"));
	fake_ctrls[1].queues = 2;
	WAIT_FOR(a->state == UPSTREAM_LIVE);
}

static void limits(void **state)
{
	struct mp_limits l;
	struct upstream *a = add_up(1);

	WAIT_FOR(a->state == UPSTREAM_LIVE);
	mp_subsys_limits(ss, &l);
	assert_true(l.any);
	assert_int_equal(l.max_transfer, UINT32_MAX);
	assert_int_equal(l.oncs, NVME_CTRL_ONCS_WRITE_ZEROES);
}

static void stuck_command_costs_the_association(void **state)
{
	struct upstream_config quick = {.io_timeout = 50 * NSEC_PER_MSEC};
	struct upstream *a = add_up_with(1, &quick), *b = add_up(2);

	WAIT_FOR(a->state == UPSTREAM_LIVE && b->state == UPSTREAM_LIVE);
	spin(5);
	fake_ctrls[1].stuck = true;
	run(nvme_cmd_write, 0);
	assert_int_equal(fake_ctrls[2].writes, 1);
	assert_int_equal(a->losses, 1);
}

static void ctrl_loss_ends(void **state)
{
	struct upstream_config brief = {.ctrl_loss_tmo = 50 * (int64_t)NSEC_PER_MSEC};
	struct upstream *a;

	fake_ctrls[1].down = true;
	a = add_up_with(1, &brief);
	WAIT_FOR(a->state == UPSTREAM_FAILED);
}

static void fast_io_fail(void **state)
{
	struct upstream_config quick = {.fast_io_fail_tmo = 50 * (int64_t)NSEC_PER_MSEC};
	struct upstream *a = add_up_with(1, &quick);

	WAIT_FOR(a->state == UPSTREAM_LIVE);
	spin(5);
	fake_ctrls[1].down = true;
	fake_cut(1);
	WAIT_FOR(a->state == UPSTREAM_WAITING);
	run(nvme_cmd_read, NVME_ST_ANA_INACCESSIBLE);
}

static void same_name_is_refused(void **state)
{
	assert_non_null(add_up(1));
	assert_null(add_up(1));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(two_paths_one_head),
		T(cut_moves_commands),
		T(hold_and_release),
		T(hold_expires),
		T(hold_is_bounded_and_cancellable),
		T(ana_state_is_honoured),
		T(ana_status_moves_command),
		T(path_status_without_ana),
		T(other_statuses_reach_the_host),
		T(path_error_everywhere_ends),
		T(round_robin_by_weight),
		T(full_queue_waits),
		T(out_of_buffers_waits),
		T(flush_visits_every_dirty_path),
		T(disable_and_enable),
		T(refusals),
		T(grow),
		T(identity_change_cuts_the_path),
		T(namespace_comes_and_goes),
		T(upstream_is_refused),
		T(twin_controller_is_refused),
		T(small_mdts_is_refused),
		T(too_few_queues_are_refused),
		T(limits),
		T(stuck_command_costs_the_association),
		T(ctrl_loss_ends),
		T(fast_io_fail),
		T(same_name_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
