/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of commands whose path is lost, or gives a status; and which paths a Flush visits.
 */
#include <string.h>

#include "tests/unit/mp_world.h"
#include "transport/pool.h"

#define ABORTED	    NVME_STATUS(0, NVME_SC_ABORT_REQ)
#define INTERRUPTED NVME_STATUS(0, NVME_SC_CMD_INTERRUPTED)
#define PATH_ERROR  NVME_STATUS(3, NVME_SC_CTRL_PATH_ERROR)

static struct upstream *a, *b;

static void two_paths(void)
{
	a = live_upstream(1);
	b = live_upstream(2);
}

/* ---- losses ---- */

static void cut_moves_commands(void **state)
{
	two_paths();
	fake_ctrls[1].stuck = true;
	for (int i = 0; i < 10; i++)
		submit(i & 1 ? nvme_cmd_read : nvme_cmd_write);
	settle();
	assert_int_equal(world.done, 0);
	fake_ctrls[1].down = true;
	fake_cut(1);
	WAIT_FOR(world.done == 10);
	assert_int_equal(world.last_status, 0);
	assert_int_equal(fake_ctrls[2].reads + fake_ctrls[2].writes, 10);
	assert_int_equal(fake_ctrls[1].reads + fake_ctrls[1].writes, 0);
	WAIT_FOR(a->state == UPSTREAM_WAITING);
	assert_false(only_path(a)->usable);
	assert_true(strlen(only_path(a)->reason) > 0);
	assert_int_equal(world.ana_changed, 1); /* only the first arrival: hosts saw none since */
	/* and back: failover prefers the first again */
	fake_ctrls[1].down = fake_ctrls[1].stuck = false;
	WAIT_FOR(a->state == UPSTREAM_LIVE);
	settle();
	run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[1].reads, 1);
}

/* Its next attempt may bring newer data into the segments that the first is still sent from. */
static void read_goes_on_when_what_was_sent_has_left(void **state)
{
	struct answer *begun, *fresh;

	two_paths();
	fake_ctrls[1].stuck = true;
	begun = submit(nvme_cmd_read);
	fresh = submit(nvme_cmd_read);
	settle();
	begun->req->sent = 512;
	world.leaving = true;
	fake_ctrls[1].down = true;
	fake_cut(1);
	WAIT_FOR(fresh->times);
	pass(NSEC_PER_SEC);
	assert_int_equal(begun->times, 0);
	assert_int_equal(fake_ctrls[2].reads, 1);
	world.leaving = false;
	WAIT_FOR(begun->times);
	assert_int_equal(begun->status, 0);
	assert_int_equal(totals().retried, 2);
}

static void one_by_one_until_none_is_left(void **state)
{
	struct answer *read;

	two_paths();
	live_upstream(3);
	for (unsigned port = 1; port <= 3; port++)
		fake_ctrls[port].stuck = true;
	read = submit(nvme_cmd_read);
	for (unsigned port = 1; port <= 3; port++) {
		fake_ctrls[port].down = true;
		fake_cut(port);
		settle();
		assert_int_equal(read->times, 0);
	}
	assert_int_equal(totals().held, 1);
	fake_ctrls[2].down = fake_ctrls[2].stuck = false;
	WAIT_FOR(read->times);
	assert_int_equal(read->status, 0);
}

/* ---- statuses ---- */

static void ana_status_moves_command(void **state)
{
	two_paths();
	fake_ctrls[1].ana_state = NVME_ANA_STATE_INACCESSIBLE; /* without a notice */
	run(nvme_cmd_write, 0);
	assert_int_equal(fake_ctrls[2].writes, 1);
	WAIT_FOR(!only_path(a)->usable); /* the failing command had the log read */
	assert_int_equal(a->state, UPSTREAM_LIVE);
}

/* The controller is asked at most ten times a second how it is, whatever fails there. */
static void path_status_puts_the_path_aside(void **state)
{
	two_paths();
	pass(NSEC_PER_SEC);
	fake_ctrls[1].io_status = PATH_ERROR;
	run(nvme_cmd_write, 0);
	assert_int_equal(fake_ctrls[1].writes, 1);
	assert_int_equal(fake_ctrls[2].writes, 1);
	for (int i = 0; i < 1000; i++) {
		run(nvme_cmd_write, 0);
		pass(NSEC_PER_MSEC);
	}
	assert_in_range(fake_ctrls[1].writes, 5, 15);
	fake_ctrls[1].io_status = 0;
	pass(NSEC_PER_SEC);
	fake_ctrls[1].writes = 0;
	run(nvme_cmd_write, 0);
	assert_int_equal(fake_ctrls[1].writes, 1);
}

static void path_status_without_ana(void **state)
{
	fake_ctrls[1].no_ana = true;
	two_paths();
	fake_ctrls[1].io_status = PATH_ERROR;
	run(nvme_cmd_write, 0);
	assert_int_equal(fake_ctrls[2].writes, 1);
	fake_ctrls[1].io_status = 0;
	pass(250 * NSEC_PER_MSEC); /* probed again after a while */
	run(nvme_cmd_write, 0);
	assert_int_equal(fake_ctrls[1].writes, 2);
}

static void other_statuses_reach_the_host(void **state)
{
	const uint16_t error = NVME_STATUS(2, NVME_SC_READ_ERROR);

	two_paths();
	fake_ctrls[1].io_status = error | NVME_DNR;
	run(nvme_cmd_read, error | NVME_DNR);
	fake_ctrls[1].io_status = error | 1 << 11 | 1 << 13; /* CRD and More */
	run(nvme_cmd_read, error | 1 << 11 | 1 << 13);
	assert_int_equal(fake_ctrls[1].reads, 2);
	assert_int_equal(fake_ctrls[2].reads, 0);
}

static void passing_trouble_is_tried_again(void **state)
{
	two_paths();
	fake_ctrls[1].io_status = INTERRUPTED;
	fake_ctrls[1].io_statuses = 5;
	run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[1].reads, 6);
	fake_ctrls[1].io_status = INTERRUPTED; /* but not for ever */
	run(nvme_cmd_read, INTERRUPTED);
	assert_int_equal(fake_ctrls[1].reads, 12);
	fake_ctrls[1].io_status = INTERRUPTED | NVME_DNR; /* and not against its will */
	run(nvme_cmd_read, INTERRUPTED | NVME_DNR);
	assert_int_equal(fake_ctrls[1].reads, 13);
	assert_int_equal(fake_ctrls[2].reads, 0);
}

static void path_error_everywhere_ends(void **state)
{
	two_paths();
	fake_ctrls[1].io_status = fake_ctrls[2].io_status = PATH_ERROR;
	run(nvme_cmd_read, PATH_ERROR);
	assert_int_equal(fake_ctrls[1].reads + fake_ctrls[2].reads, 17);
}

/* Neither counts for the other. */
static void path_errors_and_passing_trouble_are_counted_apart(void **state)
{
	two_paths();
	fake_ctrls[1].io_status = fake_ctrls[2].io_status = PATH_ERROR;
	fake_ctrls[1].io_statuses = fake_ctrls[2].io_statuses = 4;
	run(nvme_cmd_read, 0);
	settle();
	fake_ctrls[1].reads = fake_ctrls[2].reads = 0;
	fake_ctrls[1].io_status = PATH_ERROR;
	fake_ctrls[1].io_statuses = 1;
	fake_ctrls[2].io_status = INTERRUPTED;
	fake_ctrls[2].io_statuses = 5;
	run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[2].reads, 6);
}

/* One controller has lost the namespace, maybe before it told us. */
static void invalid_namespace_is_tried_elsewhere(void **state)
{
	two_paths();
	fake_ctrls[1].ns[1].present = false;
	run(nvme_cmd_read, 0);
	run(nvme_cmd_write, 0);
	assert_int_equal(fake_ctrls[1].reads, 1);
	assert_int_equal(fake_ctrls[2].reads, 1);
	fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
	WAIT_FOR(TAILQ_EMPTY(&a->paths));
	run(nvme_cmd_read, 0);
	assert_int_equal(world.removed, 0);
}

/* ---- delays that the controller asks for ---- */

static void delays_are_kept(void **state)
{
	static const uint16_t crdt[3] = {2, 5, 30};
	uint64_t start;

	memcpy(fake_ctrls[1].crdt, crdt, sizeof(crdt));
	two_paths();
	for (unsigned crd = 1; crd <= 3; crd++) {
		fake_ctrls[1].io_status = (uint16_t)(INTERRUPTED | crd << 11);
		fake_ctrls[1].io_statuses = 1;
		start = sim_now;
		run(nvme_cmd_write, 0);
		assert_in_range(sim_now - start, crdt[crd - 1] * 100 * NSEC_PER_MSEC,
				(crdt[crd - 1] * 100 + 20) * NSEC_PER_MSEC);
	}
	assert_int_equal(fake_ctrls[1].writes, 6);
}

static void delayed_ones_let_others_pass(void **state)
{
	struct answer *late, *soon;

	fake_ctrls[1].crdt[0] = 10;
	fake_ctrls[1].crdt[1] = 1;
	two_paths();
	fake_ctrls[1].io_status = INTERRUPTED | 1 << 11;
	late = submit(nvme_cmd_read);
	settle();
	fake_ctrls[1].io_status = INTERRUPTED | 2 << 11;
	soon = submit(nvme_cmd_read);
	settle();
	fake_ctrls[1].io_status = 0;
	run(nvme_cmd_read, 0);
	assert_int_equal(late->times + soon->times, 0);
	WAIT_FOR(soon->times);
	assert_int_equal(late->times, 0);
	WAIT_FOR(late->times);
	assert_int_equal(late->status | soon->status, 0);
}

static void delayed_ones_end_with_their_hosts(void **state)
{
	struct answer *aborted, *left;

	fake_ctrls[1].crdt[0] = 10;
	two_paths();
	fake_ctrls[1].io_status = INTERRUPTED | 1 << 11;
	aborted = submit(nvme_cmd_write);
	left = submit(nvme_cmd_write);
	settle();
	fake_ctrls[1].io_status = 0;
	assert_true(abort_it(aborted));
	assert_int_equal(aborted->status, ABORTED);
	leave(left);
	assert_int_equal(left->times, 1);
	pass(3 * NSEC_PER_SEC);
	assert_int_equal(fake_ctrls[1].writes, 2);
}

static void delayed_ones_end_with_the_namespace(void **state)
{
	struct answer *delayed;

	fake_ctrls[1].crdt[0] = 100;
	a = live_upstream(1);
	fake_ctrls[1].io_status = INTERRUPTED | 1 << 11;
	delayed = submit(nvme_cmd_write);
	settle();
	upstream_remove(a);
	settle();
	assert_int_equal(delayed->times, 1);
	assert_int_equal(delayed->status, NVME_ST_INVALID_NS);
}

static void let_them_end(void)
{
	fake_ctrls[1].io_status = 0;
	WAIT_FOR(world.done == world.submitted);
	assert_int_equal(world.last_status, 0);
	assert_int_equal(world.mp->workers[0].parked.n, 0);
	assert_int_equal(world.mp->workers[0].parked.bytes, 0);
}

/* What is beyond half of the worker's buffers, or of its slots, gets what the controller said. */
static void delayed_ones_leave_half_of_the_worker(void **state)
{
	unsigned half = pool_total_segments(world.pool[0]) / 2, slots;

	world.ss->cfg.max_held = 10000;
	world.ss->cfg.max_held_bytes = 1 << 30;
	fake_ctrls[1].crdt[0] = 50;
	a = live_upstream(1);
	fake_ctrls[1].io_status = INTERRUPTED | NVME_CRD(1);
	for (unsigned i = 0; i < half + 3; i++)
		submit(i % 2 ? nvme_cmd_write : nvme_cmd_read);
	settle();
	assert_int_equal(world.done, 3);
	assert_int_equal(world.last_status, INTERRUPTED | NVME_CRD(1));
	assert_int_equal(pool_free_segments(world.pool[0]), half);
	slots = pool_total_requests(world.pool[0]) / 2 - half;
	for (unsigned i = 0; i < slots + 5; i++)
		submit(nvme_cmd_write_zeroes);
	settle();
	assert_int_equal(world.done, 8);
	assert_int_equal(world.last_status, INTERRUPTED | NVME_CRD(1));
	let_them_end();
}

static void delayed_ones_stay_within_the_bound_of_the_head(void **state)
{
	struct answer *aborted;

	world.ss->cfg.max_held = 3;
	fake_ctrls[1].crdt[0] = 50;
	two_paths();
	fake_ctrls[1].io_status = INTERRUPTED | NVME_CRD(1);
	aborted = submit(nvme_cmd_write);
	submit(nvme_cmd_read);
	submit(nvme_cmd_read);
	settle();
	assert_int_equal(world.done, 0);
	run(nvme_cmd_read, INTERRUPTED | NVME_CRD(1));
	assert_true(abort_it(aborted));
	submit(nvme_cmd_read); /* there is room again */
	settle();
	assert_int_equal(world.done, 2);
	let_them_end();
}

/* It was out when the namespace left, and the controller asks for a delay now. */
static void none_is_delayed_after_the_namespace_has_left(void **state)
{
	struct answer *out;

	fake_ctrls[1].crdt[0] = 100;
	a = live_upstream(1);
	fake_ctrls[1].stuck = true;
	out = submit(nvme_cmd_write);
	settle();
	fake_ctrls[1].ns[1].present = false;
	fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
	WAIT_FOR(world.removed == 1);
	settle();
	assert_int_equal(out->times, 0);
	fake_ctrls[1].ns[1].present = true;
	fake_ctrls[1].io_status = INTERRUPTED | 1 << 11;
	fake_ctrls[1].stuck = false;
	fake_look(1);
	settle();
	assert_int_equal(out->times, 1);
	assert_int_equal(out->status, NVME_ST_INVALID_NS);
}

/* ---- commands that take too long ---- */

static void stuck_command_is_aborted_and_goes_elsewhere(void **state)
{
	struct upstream_config quick = {.io_timeout = 2 * NSEC_PER_SEC};
	struct answer *write;

	fake_ctrls[1].aborts_work = true;
	a = live_upstream_with(1, &quick);
	b = live_upstream(2);
	fake_ctrls[1].stuck = true;
	write = submit(nvme_cmd_write);
	pass(1900 * NSEC_PER_MSEC);
	assert_int_equal(fake_ctrls[1].aborts, 0);
	WAIT_FOR(write->times);
	assert_int_equal(write->status, 0);
	assert_int_equal(fake_ctrls[1].aborts, 1);
	assert_int_equal(fake_ctrls[2].writes, 1);
	assert_int_equal(a->losses, 0);
	assert_int_equal(totals().fences, 0); /* it is known to have ended */
}

static void stuck_command_that_cannot_be_aborted_costs_the_association(void **state)
{
	struct upstream_config quick = {.io_timeout = 2 * NSEC_PER_SEC};
	struct answer *write;

	a = live_upstream_with(1, &quick);
	b = live_upstream(2);
	fake_ctrls[1].stuck = true;
	write = submit(nvme_cmd_write);
	pass(1900 * NSEC_PER_MSEC);
	submit(nvme_cmd_read); /* one that is not late makes no difference */
	pass(NSEC_PER_SEC);
	assert_int_equal(fake_ctrls[1].aborts, 1);
	assert_int_equal(a->losses, 0);
	assert_int_equal(write->times, 0);
	pass(200 * NSEC_PER_MSEC);
	assert_int_equal(a->losses, 1);
	WAIT_FOR(world.done == 2);
	assert_int_equal(write->status, 0);
	assert_int_equal(fake_ctrls[1].aborts, 1);
	assert_int_equal(fake_ctrls[2].writes, 1);
	assert_int_equal(a->losses, 1);
}

/* More commands than it may be asked to abort at once: the rest is left to the time limit. */
static void aborts_stay_within_the_limit(void **state)
{
	struct upstream_config quick = {.io_timeout = 2 * NSEC_PER_SEC};

	fake_ctrls[1].acl = 3;
	a = live_upstream_with(1, &quick);
	b = live_upstream(2);
	fake_ctrls[1].stuck = true;
	for (int i = 0; i < 10; i++)
		submit(nvme_cmd_read);
	pass(1500 * NSEC_PER_MSEC);
	fake_ctrls[1].silent = true; /* so that the Aborts stay out too */
	pass(600 * NSEC_PER_MSEC);
	assert_int_equal(a->assoc->aborts, 4);
	WAIT_FOR(a->losses);
	WAIT_FOR(world.done == 10);
	assert_int_equal(world.last_status, 0);
	assert_int_equal(fake_ctrls[2].reads, 10);
}

static void each_late_command_is_aborted_when_it_is_late(void **state)
{
	struct upstream_config quick = {.io_timeout = 2 * NSEC_PER_SEC};

	fake_ctrls[1].aborts_work = true;
	fake_ctrls[1].acl = 10;
	a = live_upstream_with(1, &quick);
	b = live_upstream(2);
	fake_ctrls[1].stuck = true;
	for (int i = 0; i < 4; i++) {
		submit(nvme_cmd_read);
		pass(500 * NSEC_PER_MSEC);
	}
	for (unsigned i = 1; i <= 4; i++) {
		WAIT_FOR(world.done == i);
		assert_int_equal(fake_ctrls[1].aborts, i);
	}
	assert_int_equal(a->losses, 0);
}

/* The worker gets no core for long: the Abort is late, and has its time all the same. */
static void a_late_abort_has_its_time(void **state)
{
	struct upstream_config quick = {.io_timeout = 2 * NSEC_PER_SEC};
	struct answer *write;

	a = live_upstream_with(1, &quick);
	b = live_upstream(2);
	fake_ctrls[1].stuck = true;
	write = submit(nvme_cmd_write);
	pass(NSEC_PER_SEC);
	sim_stall(world.worker[0]);
	pass(1900 * NSEC_PER_MSEC);
	sim_resume(world.worker[0]);
	pass(800 * NSEC_PER_MSEC);
	assert_int_equal(fake_ctrls[1].aborts, 1);
	assert_int_equal(a->losses, 0);
	pass(400 * NSEC_PER_MSEC);
	assert_int_equal(a->losses, 1);
	WAIT_FOR(write->times);
	assert_int_equal(write->status, 0);
}

/* The time that the Abort has is over too, and nothing is forgotten. */
static void the_time_is_watched_after_a_long_stall(void **state)
{
	struct upstream_config quick = {.io_timeout = 2 * NSEC_PER_SEC};
	struct answer *write;

	a = live_upstream_with(1, &quick);
	b = live_upstream(2);
	fake_ctrls[1].stuck = true;
	write = submit(nvme_cmd_write);
	sim_stall(world.worker[0]);
	pass(6 * NSEC_PER_SEC);
	sim_resume(world.worker[0]);
	pass(900 * NSEC_PER_MSEC);
	assert_int_equal(fake_ctrls[1].aborts, 1);
	assert_int_equal(a->losses, 0);
	pass(300 * NSEC_PER_MSEC);
	assert_int_equal(a->losses, 1);
	WAIT_FOR(write->times);
	assert_int_equal(write->status, 0);
}

/* ---- Flush ---- */

static void flush_visits_every_dirty_path(void **state)
{
	two_paths();
	mp_subsys_set_policy(world.ss, MP_POLICY_ROUND_ROBIN);
	settle();
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
	settle();
	fake_ctrls[1].flushes = fake_ctrls[2].flushes = 0;
	run(nvme_cmd_flush, 0);
	assert_int_equal(fake_ctrls[1].flushes, 1);
	assert_int_equal(fake_ctrls[2].flushes, 1);
}

/* Writes of other workers count, and what one has flushed is not clean for the other. */
static void flush_covers_all_workers(void **state)
{
	two_paths();
	run(nvme_cmd_flush, 0);
	mp_subsys_set_policy(world.ss, MP_POLICY_ROUND_ROBIN);
	settle();
	run_at(1, nvme_cmd_write, 0, 8, 0);
	run_at(1, nvme_cmd_write, 8, 8, 0);
	assert_int_equal(fake_ctrls[2].writes, 1);
	for (unsigned w = 0; w < 2; w++) {
		fake_ctrls[1].flushes = fake_ctrls[2].flushes = 0;
		run_at(w, nvme_cmd_flush, 0, 1, 0);
		assert_int_equal(fake_ctrls[1].flushes, 1);
		assert_int_equal(fake_ctrls[2].flushes, 1);
	}
}

/* A write that ends while the Flush is under way is not covered by it. */
static void writes_during_a_flush_are_dirty_after_it(void **state)
{
	struct answer *write, *flush;

	a = live_upstream(1);
	fake_ctrls[1].latency = NSEC_PER_SEC;
	flush = submit(nvme_cmd_flush);
	fake_ctrls[1].latency = 0;
	write = submit(nvme_cmd_write);
	WAIT_FOR(write->times);
	assert_int_equal(flush->times, 0);
	WAIT_FOR(flush->times);
	live_upstream(2);
	path_set_admin(only_path(a), PATH_DISABLED);
	settle();
	fake_ctrls[1].flushes = 0;
	run(nvme_cmd_flush, 0);
	assert_int_equal(fake_ctrls[1].flushes, 1);
}

static void flush_error_reaches_the_host(void **state)
{
	const uint16_t error = NVME_STATUS(2, NVME_SC_WRITE_FAULT);

	two_paths();
	mp_subsys_set_policy(world.ss, MP_POLICY_ROUND_ROBIN);
	settle();
	run(nvme_cmd_write, 0);
	run(nvme_cmd_write, 0);
	fake_ctrls[2].io_status = error;
	run(nvme_cmd_flush, error);
	fake_ctrls[2].io_status = 0;
	fake_ctrls[2].flushes = 0;
	run(nvme_cmd_flush, 0); /* still to be flushed there */
	assert_int_equal(fake_ctrls[2].flushes, 1);
}

/* A controller that is cut off from the namespace cannot flush it; the others can. */
static void flush_with_an_inaccessible_path(void **state)
{
	two_paths();
	run(nvme_cmd_write, 0);
	assert_int_equal(fake_ctrls[1].writes, 1);
	fake_ctrls[1].ana_state = NVME_ANA_STATE_INACCESSIBLE;
	fake_notice(1, NVME_AER_NOTICE_ANA);
	WAIT_FOR(!only_path(a)->usable);
	settle();
	run(nvme_cmd_flush, 0);
	assert_int_equal(fake_ctrls[2].flushes, 1);
	run(nvme_cmd_write, 0);
	run(nvme_cmd_flush, 0);
	assert_int_equal(fake_ctrls[2].flushes, 2);
}

static void flush_where_the_namespace_is_gone(void **state)
{
	two_paths();
	run(nvme_cmd_write, 0);
	fake_ctrls[1].ns[1].present = false; /* it has not told us yet */
	run(nvme_cmd_flush, 0);
	assert_int_equal(fake_ctrls[2].flushes, 1);
}

/* What a path acknowledged only that path can flush: for a state that passes it is waited. */
static void flush_waits_for_a_changing_path(void **state)
{
	struct answer *flush;

	two_paths();
	run(nvme_cmd_write, 0);
	fake_ctrls[1].io_status = NVME_STATUS(3, NVME_SC_ANA_TRANSITION);
	flush = submit(nvme_cmd_flush);
	pass(5 * NSEC_PER_SEC);
	assert_int_equal(flush->times, 0);
	assert_in_range(fake_ctrls[1].flushes, 10, 60);
	fake_ctrls[1].io_status = 0;
	WAIT_FOR(flush->times);
	assert_int_equal(flush->status, 0);
	run(nvme_cmd_write, 0);
	fake_ctrls[1].io_status = fake_ctrls[2].io_status = PATH_ERROR; /* not for ever */
	run(nvme_cmd_flush, PATH_ERROR);
}

static void flush_moves_with_a_lost_path(void **state)
{
	struct answer *flush;

	two_paths();
	run(nvme_cmd_write, 0);
	fake_ctrls[1].stuck = true;
	flush = submit(nvme_cmd_flush);
	settle();
	fake_ctrls[1].down = true;
	fake_cut(1);
	WAIT_FOR(flush->times);
	assert_int_equal(flush->status, 0);
	assert_int_equal(fake_ctrls[2].flushes, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(cut_moves_commands),
		T(read_goes_on_when_what_was_sent_has_left),
		T(one_by_one_until_none_is_left),
		T(ana_status_moves_command),
		T(path_status_puts_the_path_aside),
		T(path_status_without_ana),
		T(other_statuses_reach_the_host),
		T(passing_trouble_is_tried_again),
		T(path_error_everywhere_ends),
		T(path_errors_and_passing_trouble_are_counted_apart),
		T(invalid_namespace_is_tried_elsewhere),
		T(delays_are_kept),
		T(delayed_ones_let_others_pass),
		T(delayed_ones_end_with_their_hosts),
		T(delayed_ones_end_with_the_namespace),
		T(delayed_ones_leave_half_of_the_worker),
		T(delayed_ones_stay_within_the_bound_of_the_head),
		T(none_is_delayed_after_the_namespace_has_left),
		T(stuck_command_is_aborted_and_goes_elsewhere),
		T(stuck_command_that_cannot_be_aborted_costs_the_association),
		T(aborts_stay_within_the_limit),
		T(each_late_command_is_aborted_when_it_is_late),
		T(a_late_abort_has_its_time),
		T(the_time_is_watched_after_a_long_stall),
		T(flush_visits_every_dirty_path),
		cmocka_unit_test_setup_teardown(flush_covers_all_workers, world_setup_two,
						world_teardown),
		T(writes_during_a_flush_are_dirty_after_it),
		T(flush_error_reaches_the_host),
		T(flush_with_an_inaccessible_path),
		T(flush_where_the_namespace_is_gone),
		T(flush_waits_for_a_changing_path),
		T(flush_moves_with_a_lost_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
