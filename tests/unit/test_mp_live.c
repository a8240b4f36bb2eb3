/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration changes under I/O: what it is not about goes on. */
#include <string.h>

#include "tests/unit/mp_world.h"

#define LIMIT (5 * NSEC_PER_SEC)

static struct {
	unsigned times;
	uint64_t left;
} drained;

static void on_drained(void *arg, uint64_t left)
{
	drained.times++;
	drained.left = left;
}

static int setup(void **state)
{
	drained.times = 0;
	return world_setup_two(state);
}

static int setup_one(void **state)
{
	drained.times = 0;
	return world_setup(state);
}

static void answer_all(unsigned port)
{
	fake_ctrls[port].stuck = false;
	fake_look(port);
}

/* ---- moving I/O off ---- */

static void drained_when_all_has_come_back(void **state)
{
	struct upstream *up = live_upstream(1);
	struct answer *old, *new;

	live_upstream(2);
	fake_ctrls[1].stuck = true;
	old = submit(nvme_cmd_write);
	assert_int_equal(out_on(up, 0), 1);
	upstream_drain(up, LIMIT, on_drained, NULL);
	settle();
	assert_false(only_path(up)->usable);
	assert_non_null(strstr(only_path(up)->reason, "about to be changed"));
	new = submit(nvme_cmd_write);
	WAIT_FOR(new->times);
	assert_int_equal(drained.times, 0);
	answer_all(1);
	WAIT_FOR(drained.times);
	assert_int_equal(drained.left, 0);
	assert_int_equal(old->status, 0);
	assert_int_equal(fake_ctrls[2].writes, 1);
	assert_int_equal(fake_ctrls[1].flushes, 1); /* what it acknowledged is durable */
	assert_int_equal(fake_ctrls[2].flushes, 0);
	upstream_withdraw(up);
	settle();
	assert_int_equal(totals().fences, 0);
	assert_int_equal(totals().retried, 0);
	assert_int_equal(drained.times, 1);
}

static void not_waited_for_for_ever(void **state)
{
	struct upstream *up = live_upstream(1);
	struct answer *read;

	live_upstream(2);
	fake_ctrls[1].stuck = true;
	read = submit(nvme_cmd_read);
	upstream_drain(up, LIMIT, on_drained, NULL);
	pass(LIMIT - NSEC_PER_SEC);
	assert_int_equal(drained.times, 0);
	WAIT_FOR(drained.times);
	assert_int_equal(drained.left, 1);
	assert_int_equal(fake_ctrls[1].flushes, 0);
	upstream_withdraw(up);
	WAIT_FOR(read->times);
	assert_int_equal(read->status, 0);
}

/* Nor for a Flush, which may come back after the upstream has gone. */
static void slow_flush(void **state)
{
	struct upstream *up = live_upstream(1);

	live_upstream(2);
	run(nvme_cmd_write, 0);
	fake_ctrls[1].latency = 60 * NSEC_PER_SEC;
	upstream_drain(up, LIMIT, on_drained, NULL);
	pass(LIMIT - NSEC_PER_SEC);
	assert_int_equal(drained.times, 0);
	pass(2 * NSEC_PER_SEC);
	assert_int_equal(drained.times, 1);
	assert_int_equal(drained.left, 0);
	upstream_withdraw(up);
	settle();
	run(nvme_cmd_write, 0);
}

static void flush_that_fails(void **state)
{
	struct upstream *up = live_upstream(1);

	live_upstream(2);
	fake_ctrls[1].io_status = NVME_STATUS(2, NVME_SC_WRITE_FAULT);
	upstream_drain(up, LIMIT, on_drained, NULL);
	settle();
	assert_int_equal(drained.times, 1);
	assert_int_equal(fake_ctrls[1].flushes, 1);
}

/* Hosts have all slots of the worker. */
static void flush_needs_no_slot(void **state)
{
	struct upstream *up = live_upstream(1);
	struct request_list hogs = TAILQ_HEAD_INITIALIZER(hogs);
	struct request *req;

	live_upstream(2);
	run(nvme_cmd_write, 0);
	while ((req = pool_get(world.pool[0])))
		TAILQ_INSERT_TAIL(&hogs, req, link);
	upstream_drain(up, LIMIT, on_drained, NULL);
	settle();
	assert_int_equal(drained.times, 1);
	assert_int_equal(fake_ctrls[1].flushes, 1);
	while ((req = TAILQ_FIRST(&hogs))) {
		TAILQ_REMOVE(&hogs, req, link);
		pool_put(req);
	}
}

static void more_namespaces_than_the_queue_has_entries(void **state)
{
	struct upstream_config narrow = {.queue_size = 3};
	struct upstream *up;

	for (unsigned nsid = 2; nsid <= 8; nsid++)
		fake_ctrls[1].ns[nsid] =
			(struct fake_ns){true, 1000, (uint8_t)(8 + nsid), 0, false};
	up = live_upstream_with(1, &narrow);
	fake_ctrls[1].latency = 10 * NSEC_PER_MSEC;
	upstream_drain(up, LIMIT, on_drained, NULL);
	WAIT_FOR(drained.times);
	assert_int_equal(drained.left, 0);
	assert_int_equal(fake_ctrls[1].flushes, 8);
}

/* What a Flush waits for room on may go meanwhile, and the namespace with it. */
static void namespaces_go_while_flushes_wait(void **state)
{
	struct upstream_config narrow = {.queue_size = 2};
	struct upstream *up;

	fake_ctrls[1].ns[2] = (struct fake_ns){true, 1000, 6, 0, false};
	up = live_upstream_with(1, &narrow);
	fake_ctrls[1].stuck = true;
	upstream_drain(up, LIMIT, on_drained, NULL);
	settle();
	assert_int_equal(out_on(up, 0), 1);
	assert_int_equal(drained.times, 0);
	upstream_remove(up);
	WAIT_FOR(drained.times && world.removed == 2);
}

static void removed_while_it_is_drained(void **state)
{
	struct upstream *up = live_upstream(1);
	struct answer *read;

	live_upstream(2);
	fake_ctrls[1].stuck = true;
	read = submit(nvme_cmd_read);
	upstream_drain(up, LIMIT, on_drained, NULL);
	upstream_remove(up);
	WAIT_FOR(drained.times);
	assert_int_equal(drained.left, 0);
	WAIT_FOR(read->times);
}

static void one_path_alone(void **state)
{
	struct upstream *up = live_upstream(1);
	struct path *p = only_path(up);
	struct answer *read;

	live_upstream(2);
	fake_ctrls[1].stuck = true;
	read = submit(nvme_cmd_read);
	path_set_admin(p, PATH_DISABLED);
	path_drain(p, LIMIT, on_drained, NULL);
	settle();
	assert_int_equal(drained.times, 0);
	answer_all(1);
	WAIT_FOR(drained.times);
	assert_int_equal(drained.left, 0);
	assert_int_equal(read->status, 0);
	assert_int_equal(fake_ctrls[1].flushes, 1);
	assert_int_equal(up->state, UPSTREAM_LIVE);
}

static void path_that_goes_while_it_is_drained(void **state)
{
	struct upstream *up = live_upstream(1);

	live_upstream(2);
	fake_ctrls[1].stuck = true;
	submit(nvme_cmd_read);
	path_drain(only_path(up), LIMIT, on_drained, NULL);
	upstream_remove(up);
	WAIT_FOR(drained.times);
	assert_int_equal(drained.left, 0);
	settle();
}

/* ---- the last path ---- */

static void namespace_waits_for_a_successor(void **state)
{
	struct answer *write;

	upstream_withdraw(live_upstream(1));
	settle();
	assert_int_equal(world.removed, 0);
	write = submit(nvme_cmd_write);
	settle();
	assert_int_equal(write->times, 0);
	assert_int_equal(totals().held, 1);
	live_upstream(2);
	WAIT_FOR(write->times);
	assert_int_equal(write->status, 0);
	assert_int_equal(world.removed, 0);
	assert_int_equal(world.added, 1);
}

static void namespace_without_a_successor_leaves(void **state)
{
	struct answer *write;

	upstream_withdraw(live_upstream(1));
	settle();
	write = submit(nvme_cmd_write);
	WAIT_FOR(world.removed == 1);
	assert_int_equal(write->times, 1);
	assert_int_not_equal(write->status, 0);
}

/* ---- upstreams ---- */

static void settings_without_a_reconnect(void **state)
{
	struct upstream *up = live_upstream(1);
	struct upstream_config cfg = up->cfg;
	unsigned connects = fake_ctrls[1].connects;

	cfg.weight = 7;
	cfg.standby = true;
	cfg.reconnect_delay *= 2;
	cfg.ctrl_loss_tmo = 1;
	cfg.fast_io_fail_tmo = 1;
	cfg.connect_timeout *= 2;
	assert_false(upstream_must_reconnect(up, &cfg));
	upstream_reconfigure(up, &cfg);
	settle();
	assert_int_equal(fake_ctrls[1].connects, connects);
	assert_int_equal(only_path(up)->weight, 7);
	assert_int_equal(only_path(up)->admin, PATH_STANDBY);
	assert_true(only_path(up)->usable);
	cfg.enabled = false;
	upstream_reconfigure(up, &cfg);
	assert_false(only_path(up)->usable);
}

static void another_address(void **state)
{
	struct upstream *up = live_upstream(1);
	struct upstream_config cfg = up->cfg;
	struct answer *read;

	addr_parse(&cfg.addr, "127.0.0.1", "2");
	assert_true(upstream_must_reconnect(up, &cfg));
	upstream_drain(up, LIMIT, on_drained, NULL);
	WAIT_FOR(drained.times);
	read = submit(nvme_cmd_read);
	settle();
	assert_int_equal(read->times, 0);
	upstream_reconfigure(up, &cfg);
	WAIT_FOR(read->times);
	assert_int_equal(read->status, 0);
	assert_int_equal(fake_ctrls[2].reads, 1);
	assert_int_equal(world.removed, 0);
	assert_int_equal(up->losses, 0);
}

static void order_decides_anew(void **state)
{
	struct upstream *first = live_upstream(1), *second = live_upstream(2);

	run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[1].reads, 1);
	upstream_place(second, NULL);
	upstream_place(first, second);
	settle();
	assert_ptr_equal(TAILQ_FIRST(&world.ss->upstreams), second);
	assert_ptr_equal(TAILQ_FIRST(&only_head()->paths), only_path(second));
	run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[2].reads, 1);
}

static void disconnected_until_told(void **state)
{
	struct upstream *up = live_upstream(1);

	upstream_disconnect(up);
	pass(60 * NSEC_PER_SEC);
	assert_int_equal(up->state, UPSTREAM_FAILED);
	assert_non_null(strstr(up->reason, "administrator"));
	assert_false(only_path(up)->usable);
	upstream_reset(up);
	WAIT_FOR(only_path(up)->usable);
}

static void removed_while_it_connects(void **state)
{
	struct upstream *up = add_upstream(1);

	assert_int_equal(up->state, UPSTREAM_CONNECTING);
	upstream_drain(up, LIMIT, on_drained, NULL);
	WAIT_FOR(drained.times);
	if (up->state != UPSTREAM_DELETING)
		upstream_withdraw(up);
	settle();
	assert_true(TAILQ_EMPTY(&world.ss->upstreams));
}

/* ---- subsystems ---- */

static void settings_of_all(void **state)
{
	struct mp_subsys_config cfg = world.ss->cfg;
	struct answer *read;

	live_upstream(1);
	cfg.policy = MP_POLICY_ROUND_ROBIN;
	cfg.no_path_timeout = 0;
	cfg.slow_factor = 0;
	mp_subsys_reconfigure(world.ss, &cfg);
	settle();
	assert_int_equal(only_head()->policy, MP_POLICY_ROUND_ROBIN);
	upstream_disconnect(TAILQ_FIRST(&world.ss->upstreams));
	settle();
	read = submit(nvme_cmd_read);
	settle();
	assert_int_equal(read->times, 1);
	assert_int_not_equal(read->status, 0);
}

static void persistent_loss_counts_from_the_loss(void **state)
{
	struct mp_subsys_config cfg = world.ss->cfg;

	live_upstream(1);
	upstream_disconnect(TAILQ_FIRST(&world.ss->upstreams));
	pass(10 * NSEC_PER_SEC);
	cfg.persistent_loss = 15 * (int64_t)NSEC_PER_SEC;
	mp_subsys_reconfigure(world.ss, &cfg);
	pass(4 * NSEC_PER_SEC);
	assert_false(only_head()->loss_told);
	pass(2 * NSEC_PER_SEC);
	assert_true(only_head()->loss_told);
}

static bool gone;

static void on_gone(void *arg)
{
	gone = true;
}

static void subsystem_comes_and_goes(void **state)
{
	struct mp_subsys_config cfg = world.ss->cfg;
	struct upstream_config up;
	struct mp_subsys *other;

	up = live_upstream(1)->cfg;
	addr_parse(&up.addr, "127.0.0.1", "2");
	strcpy(cfg.nqn, "nqn.2014-08.org.example:other");
	other = mp_subsys_add(world.mp, &cfg, world.ss->ev, NULL);
	upstream_add(other, &up);
	WAIT_FOR(!TAILQ_EMPTY(&other->heads));
	settle();
	gone = false;
	mp_subsys_remove(other, on_gone, NULL);
	WAIT_FOR(gone);
	assert_ptr_equal(TAILQ_FIRST(&world.mp->subsystems), world.ss);
	assert_null(TAILQ_NEXT(world.ss, link));
	run(nvme_cmd_read, 0);
}

#define T(f)  cmocka_unit_test_setup_teardown(f, setup, world_teardown)
#define T1(f) cmocka_unit_test_setup_teardown(f, setup_one, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(drained_when_all_has_come_back),
		T(not_waited_for_for_ever),
		T(slow_flush),
		T(flush_that_fails),
		T(flush_needs_no_slot),
		T(more_namespaces_than_the_queue_has_entries),
		T(namespaces_go_while_flushes_wait),
		T(removed_while_it_is_drained),
		T(one_path_alone),
		T(path_that_goes_while_it_is_drained),
		T(namespace_waits_for_a_successor),
		T(namespace_without_a_successor_leaves),
		T(settings_without_a_reconnect),
		T(another_address),
		T1(order_decides_anew),
		T(disconnected_until_told),
		T(removed_while_it_connects),
		T1(settings_of_all),
		T(persistent_loss_counts_from_the_loss),
		T(subsystem_comes_and_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
