/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fences: what waits for a lost association that may still execute a write, and for how long. The
 * lost association is always that of controller 1; it is over 2 * keep_alive_tmo later.
 */
#include <string.h>

#include "tests/unit/mp_world.h"
#include "transport/pool.h"

#define KATO	  (5 * NSEC_PER_SEC)
#define PATH_LOST NVME_STATUS(3, NVME_SC_ANA_INTERNAL_PATH_ERROR)
#define ABORTED	  NVME_STATUS(0, NVME_SC_ABORT_REQ)

static struct upstream *up_with(unsigned port, uint64_t keep_alive_tmo)
{
	struct upstream_config cfg = {.keep_alive_tmo = keep_alive_tmo};

	return live_upstream_with(port, &cfg);
}

static struct upstream *up(unsigned port)
{
	return up_with(port, KATO);
}

static void lose(unsigned port)
{
	fake_ctrls[port].down = true;
	fake_cut(port);
}

static void answer_again(unsigned port)
{
	fake_ctrls[port].stuck = false;
	fake_look(port);
}

static struct answer *write_at(unsigned worker, uint64_t slba)
{
	return submit_at(worker, nvme_cmd_write, slba, 8);
}

/* A write of blocks 0 to 7 over controller 1 on worker 0, whose connection is lost. */
static struct answer *lost_write(void)
{
	struct answer *a;

	fake_ctrls[1].stuck = true;
	a = write_at(0, 0);
	settle();
	assert_int_equal(a->times, 0);
	lose(1);
	return a;
}

static unsigned quarantines;

static void count(void *arg, const struct quarantine_info *q)
{
	quarantines++;
	*(struct quarantine_info *)arg = *q;
}

/* Of lost associations; *q is the last. */
static unsigned lost_associations(struct quarantine_info *q)
{
	quarantines = 0;
	mp_quarantines(world.mp, count, q);
	return quarantines;
}

static unsigned lost_and_fenced(void)
{
	struct quarantine_info q = {0};

	return lost_associations(&q) && q.fenced;
}

/* ---- who waits ---- */

static void only_overlapping_writes_wait(void **state)
{
	struct answer *lost, *later;

	up(1);
	up(2);
	lost = lost_write();
	WAIT_FOR(lost->times);
	assert_int_equal(lost->status, 0);
	assert_int_equal(fake_ctrls[2].writes, 1);
	assert_int_equal(totals().fences, 1);
	settle();
	assert_true(lost_and_fenced());
	later = write_at(0, 7);
	run_at(0, nvme_cmd_write, 8, 8, 0);
	run_at(0, nvme_cmd_read, 0, 8, 0);
	run_at(0, nvme_cmd_compare, 0, 8, 0);
	run_at(0, nvme_cmd_verify, 0, 8, 0);
	run_at(0, nvme_cmd_flush, 0, 1, 0);
	run_at(0, nvme_cmd_write_zeroes, 100, 8, 0);
	assert_int_equal(later->times, 0);
	assert_int_equal(fake_ctrls[2].writes, 2);
	assert_int_equal(totals().fenced, 1);
	WAIT_FOR(later->times);
	assert_int_equal(later->status, 0);
	assert_int_equal(fake_ctrls[2].last_slba, 7);
	assert_int_equal(totals().fences, 0);
	assert_int_equal(totals().fenced, 0);
	assert_int_equal(totals().fenced_total, 1);
}

static void not_before_the_time_is_over(void **state)
{
	struct answer *lost, *later;
	uint64_t start;

	up(1);
	up(2);
	lost = lost_write();
	start = sim_now;
	WAIT_FOR(lost->times);
	later = write_at(0, 0);
	WAIT_FOR(later->times);
	assert_in_range(sim_now - start, 2 * KATO, 2 * KATO + NSEC_PER_SEC);
	/* and whoever comes then does not wait */
	run_at(0, nvme_cmd_write, 0, 8, 0);
	assert_in_range(sim_now - start, 2 * KATO, 2 * KATO + NSEC_PER_SEC);
}

static struct answer *deallocate(uint64_t slba, uint32_t blocks)
{
	struct nvme_sqe sqe = {.opcode = nvme_cmd_dsm, .nsid = htole32(5)};
	struct nvme_dsm_range range = {.slba = htole64(slba), .nlb = htole32(blocks)};

	sqe.cdw11 = htole32(4);
	return submit_sqe(0, &sqe, &range, sizeof(range));
}

/* All kinds of commands that change blocks are fenced, and fence. */
static void every_kind_of_change(void **state)
{
	struct answer *lost[3], *later[3], *beside;

	up(1);
	up(2);
	fake_ctrls[1].stuck = true;
	lost[0] = submit_at(0, nvme_cmd_write_zeroes, 0, 8);
	lost[1] = submit_at(0, nvme_cmd_write_uncor, 100, 8);
	lost[2] = deallocate(200, 8);
	settle();
	lose(1);
	WAIT_FOR(world.done == 3);
	later[0] = deallocate(7, 1);
	later[1] = submit_at(0, nvme_cmd_write_zeroes, 107, 8);
	later[2] = submit_at(0, nvme_cmd_write_uncor, 193, 8);
	beside = deallocate(300, 500);
	WAIT_FOR(beside->times);
	settle();
	for (int i = 0; i < 3; i++) {
		assert_int_equal(lost[i]->status, 0);
		assert_int_equal(later[i]->times, 0);
	}
	WAIT_FOR(world.done == 7);
}

/* What was written without a loss can be written again at once. */
static void completed_writes_leave_no_fence(void **state)
{
	struct answer *read;

	up(1);
	up(2);
	run_at(0, nvme_cmd_write, 0, 8, 0);
	fake_ctrls[1].stuck = true;
	read = submit_at(0, nvme_cmd_read, 0, 8);
	settle();
	lose(1);
	WAIT_FOR(read->times);
	assert_int_equal(read->status, 0);
	assert_int_equal(totals().fences, 0);
	assert_false(lost_and_fenced());
	run_at(0, nvme_cmd_write, 0, 8, 0);
	assert_int_equal(totals().fenced_total, 0);
}

static void other_namespaces_do_not_wait(void **state)
{
	struct answer *lost, *later;

	for (unsigned port = 1; port <= 2; port++)
		fake_ctrls[port].ns[2] = (struct fake_ns){true, 1000, 6, 0, false};
	up(1);
	up(2);
	lost = lost_write();
	WAIT_FOR(lost->times);
	later = submit_to(6, nvme_cmd_write);
	settle();
	assert_int_equal(later->times, 1);
}

/* One that waits for other reasons meets the fence when these are over. */
static void delayed_writes_meet_the_fence(void **state)
{
	struct answer *lost, *delayed;

	fake_ctrls[2].crdt[0] = 10; /* 1 s */
	up(1);
	up(2);
	mp_subsys_set_policy(world.ss, MP_POLICY_ROUND_ROBIN);
	settle();
	fake_ctrls[1].stuck = true;
	fake_ctrls[2].io_status = NVME_STATUS(0, NVME_SC_CMD_INTERRUPTED) | 1 << 11;
	fake_ctrls[2].io_statuses = 1;
	lost = write_at(0, 0);
	delayed = write_at(0, 0);
	settle();
	lose(1);
	WAIT_FOR(lost->times);
	pass(3 * NSEC_PER_SEC);
	assert_int_equal(delayed->times, 0);
	assert_int_equal(totals().fenced, 1);
	WAIT_FOR(delayed->times);
	assert_int_equal(delayed->status, 0);
}

static void held_writes_meet_the_fence(void **state)
{
	struct upstream *first = up(1);
	struct answer *lost, *later;

	lost = lost_write();
	WAIT_FOR(first->state == UPSTREAM_WAITING);
	settle();
	later = write_at(0, 0);
	assert_int_equal(totals().held, 2);
	fake_ctrls[1].down = fake_ctrls[1].stuck = false;
	WAIT_FOR(lost->times);
	assert_int_equal(lost->status, 0);
	settle();
	assert_int_equal(later->times, 0);
	assert_int_equal(totals().fenced, 1);
	WAIT_FOR(later->times);
	assert_int_equal(later->status, 0);
	assert_int_equal(fake_ctrls[1].writes, 2);
}

/* ---- the lost write waits for what is out ---- */

static struct answer *lost, *out;

/* Both over different controllers, neither of which answers; then the first is lost. */
static struct upstream *lost_and_out(unsigned worker_of_out, uint64_t slba_of_out)
{
	struct upstream *second;

	up(1);
	second = up(2);
	mp_subsys_set_policy(world.ss, MP_POLICY_ROUND_ROBIN);
	settle();
	fake_ctrls[1].stuck = fake_ctrls[2].stuck = true;
	lost = write_at(0, 0);
	if (worker_of_out)
		path_set_admin(only_path(TAILQ_FIRST(&world.ss->upstreams)), PATH_DISABLED);
	settle();
	out = write_at(worker_of_out, slba_of_out);
	settle();
	assert_int_equal(out_on(second, worker_of_out), 1);
	lose(1);
	settle();
	return second;
}

static void what_overlaps_and_is_out_goes_first(void **state)
{
	struct upstream *second = lost_and_out(0, 4);

	assert_int_equal(out_on(second, 0), 1);
	answer_again(2);
	WAIT_FOR(out->times && lost->times);
	assert_int_equal(out->status, 0);
	assert_int_equal(lost->status, 0);
	assert_int_equal(fake_ctrls[2].writes, 2);
	assert_int_equal(fake_ctrls[2].last_slba, 0);
	assert_int_equal(totals().fences, 1);
}

static void what_does_not_overlap_is_not_waited_for(void **state)
{
	struct upstream *second = lost_and_out(0, 8);

	assert_int_equal(out_on(second, 0), 2);
	answer_again(2);
	WAIT_FOR(out->times && lost->times);
}

/* It comes back with an error that sends it on: then it is the one that waits. */
static void what_is_out_fails_over(void **state)
{
	struct upstream *second = lost_and_out(0, 4);

	fake_ctrls[2].io_status = NVME_STATUS(3, NVME_SC_CTRL_PATH_ERROR);
	fake_ctrls[2].io_statuses = 1;
	answer_again(2);
	WAIT_FOR(lost->times);
	assert_int_equal(lost->status, 0);
	assert_int_equal(out->times, 0);
	assert_int_equal(totals().fenced, 1);
	assert_int_equal(second->state, UPSTREAM_LIVE);
	WAIT_FOR(out->times);
	assert_int_equal(out->status, 0);
	assert_int_equal(totals().fences, 0);
}

/* ---- several are lost ---- */

/* Neither can be the last on the medium as long as the other's old copy may be executed. */
static void two_overlapping_ones_of_one_association(void **state)
{
	struct answer *a, *b, *beside;
	uint64_t start;

	up(1);
	up(2);
	fake_ctrls[1].stuck = true;
	a = write_at(0, 0);
	b = write_at(0, 7);
	beside = write_at(0, 100);
	settle();
	lose(1);
	start = sim_now;
	WAIT_FOR(beside->times);
	pass(KATO);
	assert_int_equal(a->times + b->times, 0);
	assert_int_equal(fake_ctrls[2].writes, 1);
	WAIT_FOR(a->times && b->times);
	assert_in_range(sim_now - start, 2 * KATO, 2 * KATO + NSEC_PER_SEC);
	assert_int_equal(a->status | b->status | beside->status, 0);
	assert_int_equal(fake_ctrls[2].writes, 3);
}

static void two_overlapping_ones_of_two_associations(void **state)
{
	struct answer *first, *second;
	uint64_t start;

	up(1);
	up_with(2, 2 * NSEC_PER_SEC);
	up(3);
	mp_subsys_set_policy(world.ss, MP_POLICY_ROUND_ROBIN);
	settle();
	fake_ctrls[1].stuck = fake_ctrls[2].stuck = true;
	first = write_at(0, 0);
	second = write_at(0, 4);
	settle();
	lose(1);
	lose(2);
	start = sim_now;
	settle();
	assert_int_equal(totals().fences, 2);
	/* Each waits for the end of the other's association. */
	WAIT_FOR(first->times);
	assert_in_range(sim_now - start, 4 * NSEC_PER_SEC, 5 * NSEC_PER_SEC);
	assert_int_equal(second->times, 0);
	WAIT_FOR(second->times);
	assert_in_range(sim_now - start, 2 * KATO, 2 * KATO + NSEC_PER_SEC);
	assert_int_equal(first->status | second->status, 0);
}

/* Of two that it waits for one is lost and the other comes back, in one turn. */
static void lost_while_another_waits_for_it(void **state)
{
	struct answer *first, *second, *third;

	up(1);
	up(2);
	up(3);
	mp_subsys_set_policy(world.ss, MP_POLICY_ROUND_ROBIN);
	settle();
	for (unsigned port = 1; port <= 3; port++)
		fake_ctrls[port].stuck = true;
	first = write_at(0, 0);
	second = write_at(0, 1);
	third = write_at(0, 2);
	settle();
	lose(1);
	settle();
	lose(2);
	answer_again(3);
	pass(KATO);
	assert_int_equal(third->times, 1);
	assert_int_equal(first->times + second->times, 0);
	assert_int_equal(fake_ctrls[3].writes, 1);
	WAIT_FOR(first->times && second->times);
	assert_int_equal(first->status | second->status, 0);
}

static void lost_again_on_its_second_path(void **state)
{
	struct answer *a, *later;
	uint64_t start;

	up(1);
	up_with(2, 9 * NSEC_PER_SEC);
	up(3);
	fake_ctrls[2].stuck = true;
	a = lost_write();
	settle();
	assert_int_equal(a->times, 0);
	lose(2);
	start = sim_now;
	WAIT_FOR(a->times); /* its own fences do not keep it */
	assert_int_equal(a->status, 0);
	assert_in_range(sim_now - start, 0, NSEC_PER_SEC);
	assert_int_equal(fake_ctrls[3].writes, 1);
	assert_int_equal(totals().fences, 2);
	later = write_at(0, 0);
	WAIT_FOR(later->times); /* for both associations */
	assert_in_range(sim_now - start, 18 * NSEC_PER_SEC, 19 * NSEC_PER_SEC);
}

/* ---- other ways ---- */

static int setup_quiesce(void **state)
{
	struct mp_subsys_config cfg = world_config();

	cfg.write_retry = MP_WRITE_RETRY_QUIESCE;
	world_start(1, &cfg);
	return 0;
}

static void quiesce_keeps_the_lost_one_too(void **state)
{
	struct answer *a, *later;
	uint64_t start;

	up(1);
	up(2);
	a = lost_write();
	start = sim_now;
	pass(KATO);
	later = write_at(0, 0);
	run_at(0, nvme_cmd_write, 8, 8, 0);
	run_at(0, nvme_cmd_read, 0, 8, 0);
	assert_int_equal(a->times + later->times, 0);
	assert_int_equal(fake_ctrls[2].writes, 1);
	WAIT_FOR(a->times && later->times);
	assert_int_equal(a->status | later->status, 0);
	assert_in_range(sim_now - start, 2 * KATO, 2 * KATO + NSEC_PER_SEC);
}

static void quiesced_one_is_aborted(void **state)
{
	struct answer *a, *later;

	up(1);
	up(2);
	a = lost_write();
	settle();
	assert_true(abort_it(a));
	assert_int_equal(a->status, ABORTED);
	/* its old copy is still there */
	later = write_at(0, 0);
	pass(KATO);
	assert_int_equal(later->times, 0);
	WAIT_FOR(later->times);
	assert_int_equal(fake_ctrls[2].writes, 1);
}

static int setup_immediate(void **state)
{
	struct mp_subsys_config cfg = world_config();

	cfg.write_retry = MP_WRITE_RETRY_IMMEDIATE;
	world_start(1, &cfg);
	return 0;
}

static void immediate_has_no_fences(void **state)
{
	struct answer *a;

	up(1);
	up(2);
	a = lost_write();
	WAIT_FOR(a->times);
	assert_int_equal(a->status, 0);
	assert_int_equal(totals().fences, 0);
	assert_false(lost_and_fenced());
	run_at(0, nvme_cmd_write, 0, 8, 0);
	assert_int_equal(totals().fenced_total, 0);
}

/* Closing what has no connection waits for what is under way. */
static void local_kinds_need_no_fence(void **state)
{
	struct upstream_config local = {.transport = &ini_fake_local, .keep_alive_tmo = KATO};
	struct quarantine_info q;
	struct answer *a;

	live_upstream_with(1, &local);
	live_upstream_with(2, &local);
	a = lost_write();
	WAIT_FOR(a->times);
	assert_int_equal(a->status, 0);
	settle();
	assert_int_equal(totals().fences, 0);
	assert_int_equal(lost_associations(&q), 0);
	run_at(0, nvme_cmd_write, 0, 8, 0);
	assert_int_equal(totals().fenced_total, 0);
}

/* What must not be executed twice ends when it is lost, and the host is not to repeat it. */
static void some_commands_are_not_repeated(void **state)
{
	static const struct nvme_sqe never[] = {
		{.opcode = nvme_cmd_write, .flags = 2},	  /* second half of Compare and Write */
		{.opcode = nvme_cmd_compare, .flags = 1}, /* first half */
		{.opcode = nvme_cmd_copy},
		{.opcode = nvme_cmd_resv_acquire},
		{.opcode = nvme_zns_cmd_append},
		{.opcode = 0xc0}, /* a vendor's */
	};
	const unsigned n = sizeof(never) / sizeof(never[0]);
	struct answer *a[sizeof(never) / sizeof(never[0])];

	up(1);
	up(2);
	fake_ctrls[1].stuck = true;
	for (unsigned i = 0; i < n; i++) {
		struct nvme_sqe sqe = never[i];

		sqe.nsid = htole32(5);
		a[i] = submit_sqe(0, &sqe, NULL, 0);
	}
	settle();
	lose(1);
	WAIT_FOR(world.done == n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(a[i]->status, PATH_LOST | NVME_DNR);
	settle();
	assert_int_equal(fake_ctrls[2].writes + fake_ctrls[2].others, 0);
}

/* ---- ends of waiting ---- */

static void aborted_while_fenced(void **state)
{
	struct answer *a, *later;

	up(1);
	up(2);
	a = lost_write();
	WAIT_FOR(a->times);
	later = write_at(0, 0);
	settle();
	assert_true(abort_it(later));
	assert_int_equal(later->status, ABORTED);
	assert_int_equal(totals().fenced, 0);
	pass(3 * KATO);
	assert_int_equal(fake_ctrls[2].writes, 1);
}

static void host_leaves_while_fenced(void **state)
{
	struct answer *a, *mine, *others;

	up(1);
	up(2);
	a = lost_write();
	WAIT_FOR(a->times);
	mine = write_at(0, 0);
	others = write_at(0, 1);
	settle();
	leave(mine);
	assert_int_equal(mine->times, 1);
	pass(KATO);
	assert_int_equal(others->times, 0);
	WAIT_FOR(others->times);
	assert_int_equal(fake_ctrls[2].writes, 2);
}

/* Nobody wants its answer any more, but the old copy may still be executed. */
static void host_has_left_before_the_loss(void **state)
{
	struct answer *a, *later;

	up(1);
	up(2);
	fake_ctrls[1].stuck = true;
	a = write_at(0, 0);
	settle();
	leave(a);
	assert_int_equal(a->times, 0);
	lose(1);
	WAIT_FOR(a->times);
	assert_int_equal(fake_ctrls[2].writes, 0);
	later = write_at(0, 0);
	pass(KATO);
	assert_int_equal(later->times, 0);
	WAIT_FOR(later->times);
	assert_int_equal(fake_ctrls[2].writes, 1);
}

static void host_leaves_while_the_lost_one_waits(void **state)
{
	struct upstream *second = lost_and_out(0, 4);
	struct answer *later;

	assert_false(abort_it(lost));
	leave(lost);
	assert_int_equal(lost->times, 0);
	answer_again(2);
	WAIT_FOR(out->times && lost->times);
	assert_int_equal(fake_ctrls[2].writes, 1);
	assert_int_equal(out_on(second, 0), 0);
	later = write_at(0, 0);
	settle();
	assert_int_equal(later->times, 0);
}

/* Nothing is lost, but its host may be back and write the same blocks before it is executed. */
static void host_leaves_while_it_is_out(void **state)
{
	struct answer *left, *later, *beside;

	fake_ctrls[1].latency = 10 * NSEC_PER_SEC;
	up(1);
	left = write_at(0, 0);
	settle();
	leave(left);
	assert_int_equal(left->times, 0);
	fake_ctrls[1].latency = 0;
	later = write_at(0, 7);
	beside = write_at(0, 8);
	run_at(0, nvme_cmd_read, 0, 8, 0);
	assert_int_equal(beside->times, 1);
	pass(9 * NSEC_PER_SEC);
	assert_int_equal(left->times + later->times, 0);
	pass(NSEC_PER_SEC);
	assert_int_equal(left->times + later->times, 2);
	assert_int_equal(fake_ctrls[1].last_slba, 7);
	assert_int_equal(totals().fences, 0);
	assert_false(lost_and_fenced());
}

static void host_comes_back_on_another_worker(void **state)
{
	struct answer *left, *later;

	up(1);
	fake_ctrls[1].stuck = true;
	left = write_at(0, 0);
	settle();
	leave(left);
	settle();
	later = write_at(1, 0);
	settle();
	assert_int_equal(totals().fenced, 1);
	answer_again(1);
	settle();
	assert_int_equal(left->times + later->times, 2);
	assert_int_equal(later->status, 0);
	assert_int_equal(fake_ctrls[1].writes, 2);
	assert_int_equal(totals().fences, 0);
}

/* What is only on its way back does not make others wait for good. */
static void host_leaves_just_before_the_answer(void **state)
{
	struct answer *left;

	up(1);
	sim_stall(world.worker[1]);
	left = write_at(0, 0);
	leave(left);
	settle();
	assert_int_equal(left->times, 1);
	sim_resume(world.worker[1]);
	settle();
	assert_int_equal(totals().fences, 0);
	run_at(0, nvme_cmd_write, 0, 8, 0);
	run_at(1, nvme_cmd_write, 0, 8, 0);
}

static void left_alone_and_then_lost(void **state)
{
	struct answer *left, *later;
	uint64_t start;

	up(1);
	up(2);
	fake_ctrls[1].stuck = true;
	left = write_at(0, 0);
	settle();
	leave(left);
	later = write_at(1, 0);
	settle();
	lose(1);
	start = sim_now;
	WAIT_FOR(left->times);
	WAIT_FOR(later->times);
	assert_in_range(sim_now - start, 2 * KATO, 2 * KATO + NSEC_PER_SEC);
	assert_int_equal(later->status, 0);
	assert_int_equal(fake_ctrls[2].writes, 1);
	settle();
	assert_int_equal(totals().fences, 0);
}

/* Nobody wants it any more: it is not sent elsewhere. */
static void left_alone_and_then_refused(void **state)
{
	struct answer *left;

	up(1);
	up(2);
	fake_ctrls[1].stuck = true;
	left = write_at(0, 0);
	settle();
	leave(left);
	fake_ctrls[1].io_status = NVME_STATUS(3, NVME_SC_CTRL_PATH_ERROR);
	answer_again(1);
	WAIT_FOR(left->times);
	settle();
	assert_int_equal(fake_ctrls[2].writes, 0);
	assert_int_equal(totals().fences, 0);
}

static void several_are_left_alone(void **state)
{
	struct answer *left[3], *later;

	up(1);
	fake_ctrls[1].stuck = true;
	for (unsigned i = 0; i < 3; i++) /* they overlap */
		left[i] = write_at(0, 4 * i);
	settle();
	for (unsigned i = 0; i < 3; i++)
		leave(left[i]);
	later = write_at(0, 0);
	settle();
	assert_int_equal(world.done, 0);
	answer_again(1);
	WAIT_FOR(world.done == 4);
	settle();
	assert_int_equal(later->status, 0);
	assert_int_equal(fake_ctrls[1].writes, 4);
	assert_int_equal(totals().fences, 0);
}

/* Hosts lose patience after 30 s; they hear from us before that, and may try elsewhere. */
static void too_long_a_wait_gets_a_path_status(void **state)
{
	struct answer *a, *early, *late;

	up_with(1, 20 * NSEC_PER_SEC);
	up(2);
	a = lost_write();
	WAIT_FOR(a->times);
	early = write_at(0, 0);
	pass(20 * NSEC_PER_SEC);
	late = write_at(0, 0);
	WAIT_FOR(early->times);
	assert_int_equal(early->status, PATH_LOST);
	assert_int_equal(late->times, 0);
	assert_int_equal(totals().fences, 1);
	WAIT_FOR(late->times);
	assert_int_equal(late->status, 0);
	assert_int_equal(fake_ctrls[2].writes, 2);
}

/* It was the first to arrive, and is the last to come to the fence. */
static void the_time_is_that_of_its_arrival(void **state)
{
	struct answer *old, *young;
	uint64_t start;

	fake_ctrls[1].crdt[0] = 100;
	up_with(1, 20 * NSEC_PER_SEC);
	up(2);
	start = sim_now;
	fake_ctrls[1].io_status = NVME_STATUS(0, NVME_SC_CMD_INTERRUPTED) | NVME_CRD(1);
	fake_ctrls[1].io_statuses = 1;
	old = write_at(0, 0);
	pass(5 * NSEC_PER_SEC);
	lost_write();
	settle();
	young = write_at(0, 0);
	WAIT_FOR(old->times);
	assert_int_equal(old->status, PATH_LOST);
	assert_in_range(sim_now - start, 25 * NSEC_PER_SEC, 25100 * NSEC_PER_MSEC);
	WAIT_FOR(young->times);
	assert_int_equal(young->status, PATH_LOST);
	assert_in_range(sim_now - start, 30 * NSEC_PER_SEC, 30100 * NSEC_PER_MSEC);
}

static void show_none(void)
{
	for (unsigned port = 1; port <= 2; port++) {
		fake_ctrls[port].ns[1].present = false;
		fake_notice(port, NVME_AER_NOTICE_NS_CHANGED);
	}
}

static void head_goes_while_writes_are_fenced(void **state)
{
	struct answer *a, *later;

	up(1);
	up(2);
	a = lost_write();
	WAIT_FOR(a->times);
	later = write_at(0, 0);
	settle();
	upstream_remove(TAILQ_FIRST(&world.ss->upstreams));
	show_none();
	WAIT_FOR(world.removed == 1);
	settle();
	assert_int_equal(later->times, 1);
	assert_int_equal(later->status, NVME_ST_INVALID_NS);
	assert_int_equal(fake_ctrls[2].writes, 1);
}

static void shutdown_with_everything_waiting(void **state)
{
	lost_and_out(0, 4);
	write_at(0, 1);
	submit(nvme_cmd_read);
	settle();
	assert_int_equal(world.done, 0);
	/* the rest is the teardown's to see */
}

/* ---- two workers ---- */

/* A host that has the answer may send its next write on any queue. */
static void all_workers_have_it_before_the_answer(void **state)
{
	struct answer *a, *later;

	up(1);
	up(2);
	fake_ctrls[1].stuck = true;
	a = write_at(0, 0);
	settle();
	sim_stall(world.worker[1]);
	lose(1);
	pass(NSEC_PER_SEC);
	assert_int_equal(a->times, 0);
	assert_int_equal(fake_ctrls[2].writes, 0);
	sim_resume(world.worker[1]);
	WAIT_FOR(a->times);
	assert_int_equal(a->status, 0);
	assert_int_equal(totals().fences, 1); /* copies do not count */
	later = write_at(1, 0);
	run_at(1, nvme_cmd_write, 8, 8, 0);
	run_at(1, nvme_cmd_read, 0, 8, 0);
	pass(KATO);
	assert_int_equal(later->times, 0);
	WAIT_FOR(later->times);
	assert_int_equal(later->status, 0);
	settle();
	assert_int_equal(totals().fences, 0);
}

static void what_is_out_on_another_worker_goes_first(void **state)
{
	struct upstream *second = lost_and_out(1, 4);

	assert_int_equal(out_on(second, 0), 0);
	answer_again(2);
	WAIT_FOR(out->times && lost->times);
	assert_int_equal(lost->status | out->status, 0);
	assert_int_equal(fake_ctrls[2].writes, 2);
	assert_int_equal(fake_ctrls[2].last_slba, 0);
}

static void what_does_not_overlap_elsewhere_is_not_waited_for(void **state)
{
	struct upstream *second = lost_and_out(1, 8);

	assert_int_equal(out_on(second, 0), 1);
	answer_again(2);
	WAIT_FOR(out->times && lost->times);
}

static void overlapping_ones_lost_on_two_workers(void **state)
{
	struct answer *a, *b;
	uint64_t start;

	up(1);
	up(2);
	fake_ctrls[1].stuck = true;
	a = write_at(0, 0);
	b = write_at(1, 4);
	settle();
	lose(1);
	start = sim_now;
	pass(KATO);
	assert_int_equal(a->times + b->times, 0);
	assert_int_equal(fake_ctrls[2].writes, 0);
	assert_int_equal(totals().fences, 2);
	WAIT_FOR(a->times && b->times);
	assert_in_range(sim_now - start, 2 * KATO, 2 * KATO + NSEC_PER_SEC);
	assert_int_equal(a->status | b->status, 0);
}

/* The same when one worker is late to see its loss. */
static void overlapping_ones_lost_one_after_the_other(void **state)
{
	for (unsigned late = 0; late < 2; late++) {
		struct answer *a, *b;

		world_setup_two(state);
		up(1);
		up(2);
		fake_ctrls[1].stuck = true;
		a = write_at(0, 0);
		b = write_at(1, 4);
		settle();
		sim_stall(world.worker[late]);
		lose(1);
		pass(NSEC_PER_SEC);
		sim_resume(world.worker[late]);
		pass(KATO);
		assert_int_equal(a->times + b->times, 0);
		assert_int_equal(fake_ctrls[2].writes, 0);
		WAIT_FOR(a->times && b->times);
		assert_int_equal(a->status | b->status, 0);
		world_teardown(state);
	}
}

/* A worker hears in one turn that its own is lost, and of the other's fence. */
static void overlapping_ones_lost_as_control_says(void **state)
{
	struct answer *a, *b;

	up(1);
	up(2);
	fake_ctrls[1].stuck = true;
	a = write_at(0, 0);
	b = write_at(1, 4);
	settle();
	fake_ctrls[1].down = true;
	sim_stall(world.worker[1]);
	upstream_reset(TAILQ_FIRST(&world.ss->upstreams));
	settle();
	sim_resume(world.worker[1]);
	pass(KATO);
	assert_int_equal(a->times + b->times, 0);
	assert_int_equal(fake_ctrls[2].writes, 0);
	WAIT_FOR(a->times && b->times);
	assert_int_equal(a->status | b->status, 0);
}

static void separate_ones_lost_on_two_workers(void **state)
{
	struct answer *a, *b;

	up(1);
	up(2);
	fake_ctrls[1].stuck = true;
	a = write_at(0, 0);
	b = write_at(1, 8);
	settle();
	lose(1);
	pass(NSEC_PER_SEC);
	assert_int_equal(a->times + b->times, 2);
	assert_int_equal(a->status | b->status, 0);
}

static void host_leaves_while_a_worker_does_not_answer(void **state)
{
	struct answer *a, *later;

	up(1);
	up(2);
	fake_ctrls[1].stuck = true;
	a = write_at(0, 0);
	settle();
	sim_stall(world.worker[1]);
	lose(1);
	settle();
	leave(a);
	assert_int_equal(a->times, 0);
	sim_resume(world.worker[1]);
	WAIT_FOR(a->times);
	assert_int_equal(fake_ctrls[2].writes, 0);
	later = write_at(1, 0);
	pass(KATO);
	assert_int_equal(later->times, 0);
	WAIT_FOR(later->times);
	assert_int_equal(later->status, 0);
}

static void head_goes_while_a_worker_does_not_answer(void **state)
{
	struct answer *a, *later;

	up(1);
	up(2);
	fake_ctrls[1].stuck = true;
	a = write_at(0, 0);
	settle();
	sim_stall(world.worker[1]);
	later = write_at(1, 0);
	lose(1);
	settle();
	upstream_remove(TAILQ_FIRST(&world.ss->upstreams));
	show_none();
	WAIT_FOR(world.removed == 1);
	pass(NSEC_PER_SEC);
	sim_resume(world.worker[1]);
	WAIT_FOR(a->times && later->times);
	assert_int_equal(a->status, NVME_ST_INVALID_NS);
	pass(3 * KATO);
	assert_int_equal(fake_ctrls[2].writes, 0);
}

/* The association is over before the fence is up everywhere: then it goes at once. */
static void over_before_it_is_up(void **state)
{
	struct answer *a;

	up(1);
	up(2);
	fake_ctrls[1].stuck = true;
	a = write_at(0, 0);
	settle();
	sim_stall(world.worker[1]);
	lose(1);
	pass(3 * KATO);
	assert_int_equal(a->times, 0);
	sim_resume(world.worker[1]);
	WAIT_FOR(a->times);
	settle();
	assert_int_equal(a->status, 0);
	assert_int_equal(totals().fences, 0);
	run_at(0, nvme_cmd_write, 0, 8, 0);
	run_at(1, nvme_cmd_write, 0, 8, 0);
	assert_int_equal(totals().fenced_total, 0);
}

/* ---- how many wait ---- */

static void data_stays_with_the_host(void **state)
{
	struct answer *gone, *later[4], *aborted, *beside;
	unsigned segments;

	up(1);
	up(2);
	gone = lost_write();
	WAIT_FOR(gone->times);
	segments = pool_free_segments(world.pool[0]);
	for (unsigned i = 0; i < 4; i++)
		later[i] = submit_unfetched(0, i, 100);
	aborted = submit_unfetched(0, 0, 8);
	beside = submit_unfetched(0, 8, 8);
	settle();
	assert_int_equal(beside->times, 1);
	assert_int_equal(pool_free_segments(world.pool[0]), segments);
	assert_int_equal(totals().fenced, 5);
	assert_true(abort_it(aborted));
	leave(later[3]);
	WAIT_FOR(later[0]->times && later[1]->times && later[2]->times);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(later[i]->status, 0);
		assert_int_equal(later[i]->fetched, 1);
	}
	assert_int_equal(aborted->fetched + later[3]->fetched, 0);
	assert_int_equal(totals().fenced, 0);
	assert_int_equal(totals().fenced_total, 5);
}

/* The loss comes between a write's fetch and its data. */
static void too_many_are_put_off(void **state)
{
	struct answer *gone, *later[10];

	world.ss->cfg.max_held = 3;
	up(1);
	up(2);
	gone = lost_write();
	WAIT_FOR(gone->times);
	for (unsigned i = 0; i < 4; i++)
		later[i] = i < 2 ? write_at(0, 0) : submit_unfetched(0, 0, 8);
	assert_int_equal(later[2]->times, 0);
	assert_int_equal(later[3]->status, MP_ST_PUT_OFF);
	assert_int_equal(later[3]->times, 1);
	assert_int_equal(totals().put_off, 1);
	leave(later[0]);
	later[4] = write_at(0, 0);
	assert_int_equal(later[4]->times, 0);
	run_at(0, nvme_cmd_write, 8, 8, 0);
	WAIT_FOR(later[1]->times && later[2]->times && later[4]->times);
	assert_int_equal(later[1]->status | later[2]->status | later[4]->status, 0);
}

/* Whatever waits, others have buffers. */
static void half_of_the_worker_is_left_for_others(void **state)
{
	unsigned half = pool_total_segments(world.pool[0]) / 2;
	struct answer *gone, *a;

	world.ss->cfg.max_held = 10000;
	world.ss->cfg.max_held_bytes = 1 << 30;
	up(1);
	up(2);
	gone = lost_write();
	WAIT_FOR(gone->times);
	for (unsigned i = 0; i < half; i++)
		assert_int_equal(write_at(0, 0)->times, 0);
	for (unsigned i = 0; i < 10; i++) {
		a = write_at(0, 0);
		assert_int_equal(a->times, 1);
		assert_int_equal(a->status, MP_ST_PUT_OFF);
	}
	assert_int_equal(pool_free_segments(world.pool[0]), half);
	run_at(0, nvme_cmd_read, 0, 8, 0);
	a = submit_unfetched(0, 0, 8);
	assert_int_equal(a->times, 0);
	WAIT_FOR(a->times);
	settle();
	assert_int_equal(world.done, world.submitted);
	assert_int_equal(totals().put_off, 10);
}

/* It counts for nobody's share: what was lost is not told to come again. */
static void lost_ones_are_never_put_off(void **state)
{
	struct answer *gone[8];

	world.ss->cfg.max_held = 1;
	up(1);
	up(2);
	fake_ctrls[1].stuck = true;
	for (unsigned i = 0; i < 8; i++)
		gone[i] = write_at(0, 0);
	settle();
	lose(1);
	settle();
	assert_int_equal(totals().fenced, 8);
	for (unsigned i = 0; i < 8; i++) {
		WAIT_FOR(gone[i]->times);
		assert_int_equal(gone[i]->status, 0);
	}
	assert_int_equal(totals().put_off, 0);
}

/* ---- messages late and early ---- */

/* A worker hears of the loss and of the association's end at once: no fence must stay behind. */
static void over_before_the_loss_is_seen(void **state)
{
	struct answer *a, *later;

	up(1);
	up(2);
	fake_ctrls[1].stuck = true;
	a = write_at(0, 0);
	settle();
	sim_stall(world.worker[0]);
	lose(1);
	pass(3 * KATO);
	sim_resume(world.worker[0]);
	WAIT_FOR(a->times);
	assert_int_equal(a->status, 0);
	later = write_at(0, 0);
	WAIT_FOR(later->times);
	assert_int_equal(later->status, 0);
	settle();
	assert_int_equal(totals().fences, 0);
}

#define T(f)   cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
#define TWO(f) cmocka_unit_test_setup_teardown(f, world_setup_two, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(only_overlapping_writes_wait),
		T(not_before_the_time_is_over),
		T(every_kind_of_change),
		T(completed_writes_leave_no_fence),
		T(other_namespaces_do_not_wait),
		T(delayed_writes_meet_the_fence),
		T(held_writes_meet_the_fence),
		T(what_overlaps_and_is_out_goes_first),
		T(what_does_not_overlap_is_not_waited_for),
		T(what_is_out_fails_over),
		T(two_overlapping_ones_of_one_association),
		T(two_overlapping_ones_of_two_associations),
		T(lost_while_another_waits_for_it),
		T(lost_again_on_its_second_path),
		cmocka_unit_test_setup_teardown(quiesce_keeps_the_lost_one_too, setup_quiesce,
						world_teardown),
		cmocka_unit_test_setup_teardown(quiesced_one_is_aborted, setup_quiesce,
						world_teardown),
		cmocka_unit_test_setup_teardown(immediate_has_no_fences, setup_immediate,
						world_teardown),
		T(local_kinds_need_no_fence),
		T(some_commands_are_not_repeated),
		T(aborted_while_fenced),
		T(host_leaves_while_fenced),
		T(host_has_left_before_the_loss),
		T(host_leaves_while_the_lost_one_waits),
		T(host_leaves_while_it_is_out),
		TWO(host_comes_back_on_another_worker),
		TWO(host_leaves_just_before_the_answer),
		TWO(left_alone_and_then_lost),
		TWO(left_alone_and_then_refused),
		TWO(several_are_left_alone),
		T(too_long_a_wait_gets_a_path_status),
		T(the_time_is_that_of_its_arrival),
		T(head_goes_while_writes_are_fenced),
		T(shutdown_with_everything_waiting),
		TWO(all_workers_have_it_before_the_answer),
		TWO(what_is_out_on_another_worker_goes_first),
		TWO(what_does_not_overlap_elsewhere_is_not_waited_for),
		TWO(overlapping_ones_lost_on_two_workers),
		cmocka_unit_test(overlapping_ones_lost_one_after_the_other),
		TWO(overlapping_ones_lost_as_control_says),
		TWO(separate_ones_lost_on_two_workers),
		TWO(host_leaves_while_a_worker_does_not_answer),
		TWO(head_goes_while_a_worker_does_not_answer),
		TWO(over_before_it_is_up),
		TWO(over_before_the_loss_is_seen),
		TWO(shutdown_with_everything_waiting),
		T(data_stays_with_the_host),
		T(too_many_are_put_off),
		T(half_of_the_worker_is_left_for_others),
		T(lost_ones_are_never_put_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
