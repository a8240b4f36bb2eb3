/* SPDX-License-Identifier: Apache-2.0 */
/* Upstreams that discovery controllers name. */
#include <string.h>

#include "tests/unit/mp_world.h"

#define NQN "nqn.2014-08.org.example:array"

static struct upstream *live_source(unsigned port)
{
	struct upstream_config cfg = {.discovery = true};
	struct upstream *up = live_upstream_with(port, &cfg);

	settle();
	return up;
}

/* Even under one port ID. */
static void many_subsystems_behind_one_address(void **state)
{
	static const char *const names[] = {"up7/127.0.0.1:1", "up7/127.0.0.1:1#7",
					    "up7/127.0.0.1:1#7.2", "up7/127.0.0.1:1#7.3"};
	static const char *const nqns[] = {NQN, NQN "2", NQN "3", NQN "4"};
	struct upstream *up;

	for (int i = 0; i < 4; i++)
		fake_ctrls[7].disc[i] = (struct fake_entry){1, nqns[i]};
	live_source(7);
	for (int i = 0; i < 4; i++) {
		up = upstream_find(world.ss, names[i]);
		assert_non_null(up);
		assert_string_equal(up->cfg.nqn, nqns[i]);
		assert_int_equal(up->state, UPSTREAM_LIVE);
	}
}

static struct upstream *left, *right, *named;

/* Both name port 1, and the left one named it first. */
static void two_sources(void)
{
	fake_ctrls[6].disc[0] = fake_ctrls[7].disc[0] = (struct fake_entry){1, NQN};
	left = live_source(6);
	right = live_source(7);
	named = upstream_find(world.ss, "up6/127.0.0.1:1");
	assert_non_null(named);
	assert_ptr_equal(named->source, left);
	assert_true(only_path(named)->usable);
}

static void change_log(unsigned port, unsigned entry)
{
	fake_ctrls[port].disc[0].port = entry;
	fake_ctrls[port].genctr++;
	fake_notice(port, NVME_AER_NOTICE_DISC_CHANGED);
	settle();
}

/* The association that it has had all the time. */
static void assert_goes_on(unsigned connects)
{
	assert_true(only_path(named)->usable);
	assert_int_equal(fake_ctrls[1].connects, connects);
	run(nvme_cmd_write, 0);
}

static void named_by_another_source_too(void **state)
{
	unsigned connects;

	two_sources();
	connects = fake_ctrls[1].connects;
	change_log(6, 0);
	assert_ptr_equal(named->source, right);
	assert_goes_on(connects);
	change_log(6, 1); /* and back, in the second place */
	change_log(7, 0);
	assert_ptr_equal(named->source, left);
	assert_goes_on(connects);
	change_log(6, 0);
	assert_null(upstream_find(world.ss, "up6/127.0.0.1:1"));
	assert_int_equal(world.removed, 1);
}

/* How often each has been read is nobody else's business. */
static void sources_count_for_themselves(void **state)
{
	unsigned connects;

	two_sources();
	connects = fake_ctrls[1].connects;
	for (int i = 0; i < 3; i++)
		change_log(7, 1);
	change_log(6, 1);
	assert_ptr_equal(named->source, left);
	assert_goes_on(connects);
	change_log(7, 0);
	assert_goes_on(connects);
}

static void a_source_is_configured_no_more(void **state)
{
	unsigned connects;

	two_sources();
	connects = fake_ctrls[1].connects;
	upstream_withdraw(left);
	settle();
	assert_ptr_equal(named->source, right);
	assert_false(named->withdrawn);
	assert_goes_on(connects);
	upstream_remove(right);
	assert_null(upstream_find(world.ss, "up6/127.0.0.1:1"));
	settle();
}

/* It is not read all the time, and what it names is there as soon as it stands still. */
static void a_log_that_does_not_stand_still(void **state)
{
	struct upstream_config cfg = {.discovery = true};
	struct upstream *source;

	fake_ctrls[7].disc[0] = (struct fake_entry){1, NQN};
	fake_ctrls[7].genctr_moves = true;
	source = add_upstream_with(7, &cfg);
	pass(NSEC_PER_SEC);
	assert_int_equal(source->state, UPSTREAM_CONNECTING);
	assert_in_range(fake_ctrls[7].disc_reads, 10, 30);
	fake_ctrls[7].genctr_moves = false;
	WAIT_FOR(upstream_find(world.ss, "up7/127.0.0.1:1"));
	fake_ctrls[7].genctr_moves = true;
	change_log(7, 1);
	upstream_remove(source); /* in the middle of it */
	settle();
}

/* One that is configured stays, whatever logs say. */
static void configured_and_named(void **state)
{
	named = live_upstream(1);
	fake_ctrls[7].disc[0] = (struct fake_entry){1, NQN};
	right = live_source(7);
	assert_null(named->source);
	change_log(7, 0);
	upstream_remove(right);
	settle();
	assert_true(only_path(named)->usable);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(many_subsystems_behind_one_address), T(named_by_another_source_too),
		T(sources_count_for_themselves),       T(a_source_is_configured_no_more),
		T(a_log_that_does_not_stand_still),    T(configured_and_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
