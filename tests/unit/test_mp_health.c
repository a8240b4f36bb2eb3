/* SPDX-License-Identifier: Apache-2.0 */
/* Paths that are used last: because they are slow, or because they are lost again and again. */
#include <string.h>

#include "multipath/selector.h"
#include "tests/unit/mp_world.h"

#define MS NSEC_PER_MSEC

/* Slow: 8 times as slow as another, and above 20 ms. */
static struct mp_subsys_config slow_config(void)
{
	struct mp_subsys_config cfg = world_config();

	cfg.policy = MP_POLICY_ROUND_ROBIN;
	cfg.slow_factor = 8;
	cfg.slow_latency = 20 * MS;
	return cfg;
}

static int setup_slow(void **state)
{
	struct mp_subsys_config cfg = slow_config();

	world_start(1, &cfg);
	return 0;
}

/* A read every 5 ms, without waiting for any. */
static void work(uint64_t ns)
{
	for (uint64_t end = sim_now + ns; sim_now < end; pass(5 * MS))
		submit(nvme_cmd_read);
}

static bool is_last(const struct upstream *up)
{
	return only_path(up)->rank == RANK_LAST;
}

/* Their latencies in ms. */
static void two_paths(struct upstream *up[2], unsigned first, unsigned second)
{
	fake_ctrls[1].latency = first * MS;
	fake_ctrls[2].latency = second * MS;
	up[0] = live_upstream(1);
	up[1] = live_upstream(2);
}

/* ---- slow ---- */

static void slow_path_is_used_last(void **state)
{
	struct upstream *up[2];

	two_paths(up, 150, 1);
	work(3 * NSEC_PER_SEC);
	assert_true(is_last(up[0]));
	assert_true(only_path(up[0])->usable);
	assert_non_null(strstr(only_path(up[0])->reason, "slow"));
	assert_int_equal(only_path(up[1])->rank, RANK_OPTIMIZED);
	fake_ctrls[2].reads = 0;
	for (int i = 0; i < 20; i++)
		run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[2].reads, 20);
	/* hosts are told nothing of it */
	assert_int_equal(only_head()->ana_state, NVME_ANA_STATE_OPTIMIZED);
	assert_int_equal(world.ana_changed, 1);
}

static void slow_path_comes_back(void **state)
{
	struct upstream *up[2];

	two_paths(up, 150, 1);
	work(3 * NSEC_PER_SEC);
	assert_true(is_last(up[0]));
	pass(2 * NSEC_PER_SEC);
	fake_ctrls[1].latency = 1 * MS;
	work(2 * NSEC_PER_SEC); /* a few good answers do not count yet */
	assert_true(is_last(up[0]));
	fake_ctrls[1].latency = 150 * MS;
	work(1 * NSEC_PER_SEC);
	fake_ctrls[1].latency = 1 * MS;
	work(2 * NSEC_PER_SEC); /* nor do they with bad ones between them */
	assert_true(is_last(up[0]));
	work(3 * NSEC_PER_SEC);
	assert_false(is_last(up[0]));
	assert_string_equal(only_path(up[0])->reason, "");
	fake_ctrls[1].reads = 0;
	for (int i = 0; i < 20; i++)
		run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[1].reads, 10);
}

/* Reads that fail do not show that it is well. */
static void failing_probes_are_not_good(void **state)
{
	struct upstream *up[2];

	two_paths(up, 150, 1);
	work(3 * NSEC_PER_SEC);
	assert_true(is_last(up[0]));
	fake_ctrls[1].latency = 0;
	fake_ctrls[1].io_status = NVME_STATUS(2, NVME_SC_READ_ERROR);
	work(8 * NSEC_PER_SEC);
	assert_true(is_last(up[0]));
}

static void not_slow(const char *what, unsigned first, unsigned second)
{
	struct upstream *up[2];

	setup_slow(NULL);
	two_paths(up, first, second);
	work(4 * NSEC_PER_SEC);
	if (is_last(up[0]) || is_last(up[1]))
		fail_msg("%s", what);
	world_teardown(NULL);
}

static void what_is_not_slow(void **state)
{
	not_slow("both are", 150, 150);
	not_slow("below the factor", 100, 30);
	not_slow("below the latency", 12, 0);
}

static void one_bad_moment_is_not_enough(void **state)
{
	struct upstream *up[2];

	two_paths(up, 1, 1);
	for (int i = 0; i < 4; i++) {
		work(2 * NSEC_PER_SEC);
		fake_ctrls[1].latency = 150 * MS;
		work(200 * MS);
		fake_ctrls[1].latency = 1 * MS;
	}
	work(NSEC_PER_SEC);
	assert_false(is_last(up[0]));
}

/* A handful of commands says nothing of a path. */
static void a_few_commands_are_not_enough(void **state)
{
	struct upstream *up[2];

	two_paths(up, 150, 1);
	for (int i = 0; i < 80; i++) {
		submit(nvme_cmd_read);
		pass(50 * MS);
	}
	assert_false(is_last(up[0]));
}

static void off_unless_asked_for(void **state)
{
	struct mp_subsys_config cfg = slow_config();
	struct upstream *up[2];

	cfg.slow_factor = 0;
	world_start(1, &cfg);
	two_paths(up, 150, 1);
	work(4 * NSEC_PER_SEC);
	assert_false(is_last(up[0]));
	world_teardown(state);
}

/* ---- with whom it is compared ---- */

static void alone_is_never_slow(void **state)
{
	struct upstream *up[2];

	two_paths(up, 150, 1);
	path_set_admin(only_path(up[1]), PATH_DISABLED);
	settle();
	work(4 * NSEC_PER_SEC);
	assert_false(is_last(up[0]));
	fake_cut(2); /* nor is there anything to compare with here */
	fake_ctrls[2].down = true;
	path_set_admin(only_path(up[1]), PATH_ENABLED);
	settle();
	work(4 * NSEC_PER_SEC);
	assert_false(is_last(up[0]));
	assert_int_equal(fake_ctrls[2].reads, 0);
}

/* What it was compared with a moment ago is no choice any more. */
static void alone_from_now_on(void **state)
{
	struct upstream *up[2];

	two_paths(up, 1, 1);
	work(2 * NSEC_PER_SEC);
	fake_ctrls[1].latency = 150 * MS;
	path_set_admin(only_path(up[1]), PATH_DISABLED);
	work(4 * NSEC_PER_SEC);
	assert_false(is_last(up[0]));
}

/* By a policy that leaves others idle they are asked, but only if there is something to find. */
static void idle_ones_are_probed(void **state)
{
	struct upstream *up[2];

	two_paths(up, 1, 1);
	mp_subsys_set_policy(world.ss, MP_POLICY_FAILOVER);
	settle();
	work(4 * NSEC_PER_SEC);
	assert_int_equal(fake_ctrls[2].reads, 0);
	fake_ctrls[1].latency = 100 * MS;
	work(4 * NSEC_PER_SEC);
	assert_true(is_last(up[0]));
	assert_true(fake_ctrls[2].reads > 0);
}

/* Reads of 64 KiB, which take long everywhere. */
static void large_work(uint64_t ns)
{
	for (uint64_t end = sim_now + ns; sim_now < end; pass(20 * MS))
		submit_at(0, nvme_cmd_read, 0, 128);
}

static void large_commands_are_compared_with_large_ones(void **state)
{
	struct upstream *up[2];

	two_paths(up, 1, 1);
	fake_ctrls[1].latency_kib = fake_ctrls[2].latency_kib = MS;
	mp_subsys_set_policy(world.ss, MP_POLICY_FAILOVER);
	settle();
	large_work(4 * NSEC_PER_SEC);
	assert_true(fake_ctrls[2].reads > 0);
	assert_false(is_last(up[0]));
	/* Nor are they the same path's small ones. */
	for (unsigned i = 0; i < 200; i++, pass(20 * MS)) {
		submit_at(0, nvme_cmd_read, 0, 128);
		submit(nvme_cmd_read);
	}
	assert_false(is_last(up[0]));
}

static void slow_with_large_commands_only(void **state)
{
	struct upstream *up[2];

	two_paths(up, 1, 1);
	fake_ctrls[1].latency_kib = 2 * MS;
	mp_subsys_set_policy(world.ss, MP_POLICY_FAILOVER);
	settle();
	large_work(3 * NSEC_PER_SEC);
	assert_true(is_last(up[0]));
	/* It is not small ones that bring it back. */
	large_work(5 * NSEC_PER_SEC);
	assert_true(is_last(up[0]));
	fake_ctrls[1].latency_kib = 0;
	large_work(4 * NSEC_PER_SEC);
	assert_false(is_last(up[0]));
}

static void idle_ones_that_are_no_better(void **state)
{
	struct upstream *up[2];

	two_paths(up, 100, 100);
	mp_subsys_set_policy(world.ss, MP_POLICY_FAILOVER);
	settle();
	work(4 * NSEC_PER_SEC);
	assert_false(is_last(up[0]));
	assert_in_range(fake_ctrls[2].reads, 1, 8);
}

/* What completes nothing has no latencies at all. */
static void stuck_path_is_slow(void **state)
{
	struct upstream *up[2];

	two_paths(up, 1, 1);
	mp_subsys_set_policy(world.ss, MP_POLICY_FAILOVER);
	settle();
	work(NSEC_PER_SEC);
	fake_ctrls[1].stuck = true;
	submit(nvme_cmd_read);
	pass(4 * NSEC_PER_SEC);
	assert_true(is_last(up[0]));
	assert_int_equal(up[0]->losses, 0);
	run(nvme_cmd_read, 0);
	fake_ctrls[1].stuck = false;
	fake_look(1);
	WAIT_FOR(!is_last(up[0]));
}

/* One probe waits with the command that is stuck, and no others pile up behind it. */
static void a_stuck_path_is_probed_once(void **state)
{
	struct upstream *up[2];

	two_paths(up, 1, 1);
	mp_subsys_set_policy(world.ss, MP_POLICY_FAILOVER);
	settle();
	work(NSEC_PER_SEC);
	fake_ctrls[1].stuck = true;
	submit(nvme_cmd_read);
	pass(10 * NSEC_PER_SEC);
	assert_true(is_last(up[0]));
	assert_int_equal(out_on(up[0], 0), 2);
	fake_ctrls[1].stuck = false;
	fake_look(1);
	WAIT_FOR(!is_last(up[0]));
}

/* A probe that finds no room is not waited for. */
static void a_probe_without_room(void **state)
{
	const struct upstream_config cfg = {.queue_size = 3};
	struct upstream *up;

	fake_ctrls[1].latency = fake_ctrls[2].latency = MS;
	up = live_upstream_with(1, &cfg);
	live_upstream(2);
	mp_subsys_set_policy(world.ss, MP_POLICY_FAILOVER);
	settle();
	work(NSEC_PER_SEC);
	fake_ctrls[1].stuck = true;
	submit(nvme_cmd_read);
	submit(nvme_cmd_read);
	pass(5 * NSEC_PER_SEC);
	assert_true(is_last(up));
	assert_int_equal(out_on(up, 0), 2);
	fake_ctrls[1].stuck = false;
	fake_look(1);
	WAIT_FOR(!is_last(up));
}

/* An idle path with nothing in flight is not stuck. */
static void idle_path_is_not_slow(void **state)
{
	struct upstream *up[2];

	two_paths(up, 1, 1);
	mp_subsys_set_policy(world.ss, MP_POLICY_FAILOVER);
	settle();
	work(3 * NSEC_PER_SEC);
	path_set_admin(only_path(up[0]), PATH_STANDBY);
	settle();
	work(3 * NSEC_PER_SEC);
	assert_int_equal(only_path(up[0])->rank, RANK_STANDBY);
	assert_int_equal(only_path(up[1])->rank, RANK_OPTIMIZED);
}

static void the_last_good_one_is_kept(void **state)
{
	struct upstream *up[2], *third;

	two_paths(up, 150, 150);
	fake_ctrls[3].latency = 1 * MS;
	third = live_upstream(3);
	work(4 * NSEC_PER_SEC);
	assert_true(is_last(up[0]));
	assert_true(is_last(up[1]));
	fake_ctrls[3].latency = 200 * MS; /* now it is the worst, and there is no better one */
	work(4 * NSEC_PER_SEC);
	assert_false(is_last(third));
	fake_ctrls[3].down = true;
	fake_cut(3);
	WAIT_FOR(third->state == UPSTREAM_WAITING);
	run(nvme_cmd_read, 0); /* slow ones are better than none */
	WAIT_FOR(world.done == world.submitted);
	assert_int_equal(only_head()->ana_state, NVME_ANA_STATE_OPTIMIZED);
}

/* What was found was found of the namespace that it had. */
static void another_namespace_begins_anew(void **state)
{
	struct upstream *up[2];

	two_paths(up, 150, 1);
	work(3 * NSEC_PER_SEC);
	assert_true(is_last(up[0]));
	fake_ctrls[1].ns[1].uuid_fill = 6;
	fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
	WAIT_FOR(world.added == 2);
	settle();
	assert_int_equal(only_path(up[0])->rank, RANK_OPTIMIZED);
	assert_int_equal(path_latency(only_path(up[0]), 99), 0);
}

static void latencies_are_shown(void **state)
{
	struct upstream *up[2];

	two_paths(up, 0, 60);
	assert_int_equal(path_latency(only_path(up[0]), 50), 0);
	for (int i = 0; i < 20; i++)
		run(nvme_cmd_read, 0);
	assert_in_range(path_latency(only_path(up[0]), 99), 1, 1000);
	assert_int_equal(path_latency(only_path(up[1]), 50), 65536); /* us */
	assert_int_equal(path_latency(only_path(up[1]), 99), 65536);
}

/* ---- lost again and again ---- */

static int setup_flap(void **state)
{
	struct mp_subsys_config cfg = world_config();

	cfg.flap_hold = 5 * NSEC_PER_SEC;
	world_start(1, &cfg);
	return 0;
}

/* Lost and back after a life of @ns. */
static void flap(struct upstream *up, uint64_t ns)
{
	pass(ns);
	fake_cut(1);
	WAIT_FOR(up->state == UPSTREAM_WAITING);
	WAIT_FOR(up->state == UPSTREAM_LIVE);
	settle();
}

static uint64_t damped(const struct upstream *up)
{
	return up->damped_until > sim_now ? up->damped_until - sim_now : 0;
}

static void flapping_path_is_used_last(void **state)
{
	struct upstream *up = live_upstream(1);

	live_upstream(2);
	for (int i = 0; i < 2; i++) { /* bad luck */
		flap(up, NSEC_PER_SEC);
		assert_false(is_last(up));
	}
	flap(up, NSEC_PER_SEC);
	assert_true(is_last(up));
	assert_true(only_path(up)->usable);
	assert_non_null(strstr(only_path(up)->reason, "lost 3 times in a row"));
	run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[1].reads, 0);
	pass(4900 * MS);
	assert_true(is_last(up));
	pass(200 * MS);
	assert_false(is_last(up));
	assert_string_equal(only_path(up)->reason, "");
	run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[1].reads, 1);
}

static void the_time_grows(void **state)
{
	struct upstream *up = live_upstream(1);

	flap(up, NSEC_PER_SEC);
	flap(up, NSEC_PER_SEC);
	for (unsigned i = 0; i < 10; i++) {
		uint64_t want = (5ull << (i < 6 ? i : 6)) * NSEC_PER_SEC;

		flap(up, NSEC_PER_SEC);
		assert_in_range(damped(up), want - NSEC_PER_SEC, want);
	}
}

static void a_long_life_is_forgiven(void **state)
{
	struct upstream *up = live_upstream(1);

	for (int i = 0; i < 4; i++)
		flap(up, NSEC_PER_SEC);
	assert_true(is_last(up));
	flap(up, 61 * NSEC_PER_SEC);
	assert_int_equal(up->flaps, 0);
	assert_false(is_last(up));
	flap(up, NSEC_PER_SEC);
	flap(up, NSEC_PER_SEC);
	assert_false(is_last(up));
}

static void the_admin_forgives(void **state)
{
	struct upstream *up = live_upstream(1);

	for (int i = 0; i < 4; i++)
		flap(up, NSEC_PER_SEC);
	assert_true(is_last(up));
	upstream_reset(up);
	WAIT_FOR(up->state == UPSTREAM_LIVE);
	settle();
	assert_int_equal(damped(up), 0);
	assert_false(is_last(up));
	flap(up, NSEC_PER_SEC);
	assert_false(is_last(up));
}

static void used_last_is_used(void **state)
{
	struct upstream *up = live_upstream(1);

	for (int i = 0; i < 4; i++)
		flap(up, NSEC_PER_SEC);
	assert_true(is_last(up));
	assert_int_equal(only_head()->ana_state, NVME_ANA_STATE_OPTIMIZED);
	run(nvme_cmd_write, 0);
	assert_int_equal(fake_ctrls[1].writes, 1);
}

static void without_a_hold_nothing_is_damped(void **state)
{
	struct upstream *up;

	world_setup(state);
	up = live_upstream(1);
	for (int i = 0; i < 5; i++)
		flap(up, NSEC_PER_SEC);
	assert_false(is_last(up));
	world_teardown(state);
}

/* Connecting in vain is no life at all. */
static void failing_to_connect_is_no_flap(void **state)
{
	struct upstream *up = live_upstream(1);

	fake_ctrls[1].down = true;
	fake_cut(1);
	pass(60 * NSEC_PER_SEC);
	assert_int_equal(up->losses, 1);
	fake_ctrls[1].down = false;
	WAIT_FOR(up->state == UPSTREAM_LIVE);
	settle();
	assert_false(is_last(up));
}

#define S(f) cmocka_unit_test_setup_teardown(f, setup_slow, world_teardown)
#define F(f) cmocka_unit_test_setup_teardown(f, setup_flap, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		S(slow_path_is_used_last),
		S(slow_path_comes_back),
		S(failing_probes_are_not_good),
		cmocka_unit_test(what_is_not_slow),
		S(one_bad_moment_is_not_enough),
		S(a_few_commands_are_not_enough),
		cmocka_unit_test(off_unless_asked_for),
		S(alone_is_never_slow),
		S(alone_from_now_on),
		S(idle_ones_are_probed),
		S(large_commands_are_compared_with_large_ones),
		S(slow_with_large_commands_only),
		S(idle_ones_that_are_no_better),
		S(stuck_path_is_slow),
		S(a_stuck_path_is_probed_once),
		S(a_probe_without_room),
		S(idle_path_is_not_slow),
		S(the_last_good_one_is_kept),
		S(another_namespace_begins_anew),
		S(latencies_are_shown),
		F(flapping_path_is_used_last),
		F(the_time_grows),
		F(a_long_life_is_forgiven),
		F(the_admin_forgives),
		F(used_last_is_used),
		cmocka_unit_test(without_a_hold_nothing_is_damped),
		F(failing_to_connect_is_no_flap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
