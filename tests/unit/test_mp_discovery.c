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

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(many_subsystems_behind_one_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
