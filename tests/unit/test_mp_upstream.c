/* SPDX-License-Identifier: Apache-2.0 */
/* Upstreams: connecting, refusals, losses, and what an admin does to them. */
#include <string.h>

#include "tests/unit/mp_world.h"

static void limits(void **state)
{
	struct limits l;

	assert_false(mp_subsys_limits(world.ss, &l));
	live_upstream(1);
	fake_ctrls[2].down = true; /* nothing is known of it */
	add_upstream(2);
	settle();
	assert_true(mp_subsys_limits(world.ss, &l));
	assert_int_equal(l.max_transfer, UINT32_MAX);
	assert_int_equal(l.oncs, NVME_CTRL_ONCS_WRITE_ZEROES);
}

static void same_name_is_refused(void **state)
{
	assert_non_null(add_upstream(1));
	assert_null(add_upstream(1));
}

static void refusal_for_good_waits_for_the_admin(void **state)
{
	struct upstream *up;

	fake_ctrls[1].connect_status = NVME_STATUS(1, NVME_SC_CONNECT_INVALID_HOST) | NVME_DNR;
	up = add_upstream(1);
	WAIT_FOR(up->state == UPSTREAM_FAILED);
	assert_true(strlen(up->reason) > 0);
	fake_ctrls[1].connect_status = 0;
	pass(60 * NSEC_PER_SEC);
	assert_int_equal(up->state, UPSTREAM_FAILED);
	upstream_reset(up);
	WAIT_FOR(up->state == UPSTREAM_LIVE);
}

static void refusal_for_now_is_tried_again(void **state)
{
	struct upstream *up;

	fake_ctrls[1].connect_status = NVME_STATUS(1, NVME_SC_CONNECT_CTRL_BUSY);
	up = add_upstream(1);
	WAIT_FOR(up->state == UPSTREAM_WAITING);
	fake_ctrls[1].connect_status = 0;
	WAIT_FOR(up->state == UPSTREAM_LIVE);
}

static void twin_controller_is_refused(void **state)
{
	struct upstream *up;

	fake_ctrls[1].twin = fake_ctrls[2].twin = true;
	live_upstream(1);
	up = add_upstream(2);
	WAIT_FOR(up->state == UPSTREAM_WAITING);
	assert_non_null(strstr(up->reason, "up1"));
}

static void small_mdts_is_refused(void **state)
{
	struct upstream *up;

	world.ss->promised.max_transfer = 1024 * 1024;
	fake_ctrls[1].mdts = 5; /* 128 KiB */
	up = add_upstream(1);
	WAIT_FOR(up->state == UPSTREAM_WAITING);
	assert_non_null(strstr(up->reason, "largest transfer"));
	world.ss->promised.max_transfer = 128 * 1024;
	WAIT_FOR(up->state == UPSTREAM_LIVE);
}

static void missing_commands_are_refused(void **state)
{
	struct upstream *up;

	world.ss->promised.oncs = NVME_CTRL_ONCS_COMPARE | NVME_CTRL_ONCS_WRITE_ZEROES;
	up = add_upstream(1);
	WAIT_FOR(up->state == UPSTREAM_WAITING);
	assert_non_null(strstr(up->reason, "ONCS"));
	world.ss->promised.oncs = NVME_CTRL_ONCS_WRITE_ZEROES;
	WAIT_FOR(up->state == UPSTREAM_LIVE);
}

/* Its Write Zeroes are aborted beyond 16 KiB, and it has them at all only by that limit. */
static void bounded_commands(void **state)
{
	struct upstream *up;
	struct limits l;

	fake_ctrls[1].no_write_zeroes = true;
	fake_ctrls[1].nvm.wzsl = 2;
	live_upstream(1);
	fake_ctrls[2].nvm.vsl = 3;
	live_upstream(2);
	assert_true(mp_subsys_limits(world.ss, &l));
	assert_int_equal(l.oncs, NVME_CTRL_ONCS_WRITE_ZEROES);
	assert_int_equal(l.bounded, NVME_CTRL_ONCS_WRITE_ZEROES);
	assert_int_equal(l.write_zeroes, 14);
	limits_promise(&world.ss->promised, &l);
	fake_ctrls[3].no_write_zeroes = true;
	fake_ctrls[3].nvm.wzsl = 1;
	up = add_upstream(3);
	WAIT_FOR(up->state == UPSTREAM_WAITING);
	assert_non_null(strstr(up->reason, "limit for Write Zeroes, 2^13 bytes"));
	fake_ctrls[3].nvm.wzsl = 2;
	WAIT_FOR(up->state == UPSTREAM_LIVE);
}

/* Controllers that do not know the form, and others that do not answer well. */
static void unknown_size_limits(void **state)
{
	struct limits l;

	fake_ctrls[1].nvm_status = NVME_ST_INVALID_FIELD;
	fake_ctrls[2].nvm_status = NVME_STATUS(0, NVME_SC_INTERNAL);
	fake_ctrls[1].nvm.wzsl = fake_ctrls[2].nvm.wzsl = 2;
	live_upstream(1);
	live_upstream(2);
	assert_true(mp_subsys_limits(world.ss, &l));
	assert_int_equal(l.oncs, NVME_CTRL_ONCS_WRITE_ZEROES);
	assert_int_equal(l.bounded, 0);
	assert_int_equal(l.write_zeroes, LIMITS_ANY_SHIFT);
}

/* It asks for delays only if it is told that they are kept; and is told only if it can ask. */
static void retry_delays_are_welcome(void **state)
{
	fake_ctrls[1].crdt[2] = 1;
	live_upstream(1);
	live_upstream(2);
	assert_true(fake_ctrls[1].acre);
	assert_false(fake_ctrls[2].acre);
}

static void too_few_queues_are_refused(void **state)
{
	struct upstream *up;

	fake_ctrls[1].queues = 1;
	up = add_upstream(1);
	WAIT_FOR(up->state == UPSTREAM_WAITING);
	assert_non_null(strstr(up->reason, "grants 1"));
	fake_ctrls[1].queues = 2;
	WAIT_FOR(up->state == UPSTREAM_LIVE);
}

static void lost_for_too_long_is_given_up(void **state)
{
	struct upstream_config brief = {.ctrl_loss_tmo = 10 * (int64_t)NSEC_PER_SEC};
	struct upstream *up = live_upstream_with(1, &brief);

	fake_ctrls[1].down = true;
	fake_cut(1);
	pass(5 * NSEC_PER_SEC);
	assert_int_equal(up->state, UPSTREAM_WAITING);
	WAIT_FOR(up->state == UPSTREAM_FAILED);
	fake_ctrls[1].down = false;
	pass(60 * NSEC_PER_SEC);
	assert_int_equal(up->state, UPSTREAM_FAILED);
}

static void silence_is_found_by_keep_alive(void **state)
{
	struct upstream_config cfg = {.keep_alive_tmo = 2 * NSEC_PER_SEC};
	struct upstream *up = live_upstream_with(1, &cfg);
	struct answer *read;

	pass(20 * NSEC_PER_SEC);
	assert_in_range(fake_ctrls[1].keep_alives, 18, 20);
	assert_int_equal(up->losses, 0);
	fake_ctrls[1].silent = true;
	read = submit(nvme_cmd_read);
	pass(2500 * NSEC_PER_MSEC);
	assert_int_equal(up->losses, 1);
	assert_int_equal(read->times, 0);
	fake_ctrls[1].silent = false;
	WAIT_FOR(read->times);
	assert_int_equal(read->status, 0);
}

/* However many it takes: those that it does not answer are not to fill the admin queue. */
static void aborts_leave_room_for_others(void **state)
{
	struct upstream_config cfg = {.io_timeout = 2 * NSEC_PER_SEC, .queue_size = 64};
	struct upstream *up;

	fake_ctrls[1].acl = 255;
	up = live_upstream_with(1, &cfg);
	live_upstream(2);
	fake_ctrls[1].silent = true;
	for (int i = 0; i < 40; i++)
		submit(nvme_cmd_read);
	pass(2500 * NSEC_PER_MSEC);
	assert_int_equal(up->losses, 0);
	assert_in_range(up->assoc->aborts, 20, 25);
	WAIT_FOR(up->losses);
	assert_non_null(strstr(up->reason, "io_timeout"));
	WAIT_FOR(world.done == 40);
}

/*
 * An event may come before the namespaces have been looked at. Reading the ANA log for it must not
 * open the I/O queues yet.
 */
static void event_during_the_first_scan(void **state)
{
	static const uint8_t infos[] = {NVME_AER_NOTICE_ANA, NVME_AER_NOTICE_NS_CHANGED};
	struct upstream *up;

	for (unsigned port = 1; port <= 2; port++) {
		fake_ctrls[port].holds_list = true;
		up = add_upstream(port);
		settle();
		assert_true(up->assoc->scan_busy);
		fake_notice(port, infos[port - 1]);
		settle();
		assert_int_equal(fake_ctrls[port].connects, 1);
		assert_int_equal(up->state, UPSTREAM_CONNECTING);
		fake_ctrls[port].holds_list = false;
		fake_look(port);
		WAIT_FOR(up->state == UPSTREAM_LIVE);
		WAIT_FOR(only_path(up)->usable);
	}
}

/* From the request for the namespace list to the next one, in a scan that was not the last. */
static void change_during_a_scan(struct upstream *up, struct fake_ctrl *c, unsigned port)
{
	c->holds_idns = true;
	c->holds_list = false;
	fake_look(port);
	settle();
	assert_true(up->assoc->scan_busy);
	fake_notice(port, NVME_AER_NOTICE_NS_CHANGED);
	settle();
	assert_true(up->assoc->scan_again);
	c->holds_list = true;
	c->holds_idns = false;
	fake_look(port);
	settle();
	assert_true(up->assoc->scan_busy);
}

/* Where something else has changed whenever the namespaces have been read, that is no reason not to
 * use them. */
static void changes_without_end(void **state)
{
	struct upstream *up;

	fake_ctrls[1].holds_list = true;
	up = add_upstream(1);
	settle();
	change_during_a_scan(up, &fake_ctrls[1], 1);
	change_during_a_scan(up, &fake_ctrls[1], 1);
	assert_int_equal(up->state, UPSTREAM_LIVE);
	assert_true(only_path(up)->usable);
	fake_ctrls[1].ns[1].nsze = 2000;
	change_during_a_scan(up, &fake_ctrls[1], 1);
	assert_int_equal(only_head()->geo.nsze, 2000);
	run(nvme_cmd_read, 0);
}

static void reset_connects_anew(void **state)
{
	struct upstream *up = live_upstream(1);
	unsigned connects = fake_ctrls[1].connects;
	const struct assoc *before = up->assoc;
	uint64_t serial = before->serial;

	upstream_reset(up);
	assert_int_equal(up->state, UPSTREAM_CONNECTING);
	assert_false(only_path(up)->usable);
	WAIT_FOR(up->state == UPSTREAM_LIVE);
	settle();
	assert_int_equal(fake_ctrls[1].connects, 2 * connects);
	assert_int_not_equal(up->assoc->serial, serial);
	assert_int_equal(up->losses, 0);
	run(nvme_cmd_read, 0);
}

static void removed_with_commands_on_it(void **state)
{
	struct upstream *up = live_upstream(1);
	struct answer *read;

	live_upstream(2);
	fake_ctrls[1].stuck = true;
	read = submit(nvme_cmd_read);
	assert_int_equal(out_on(up, 0), 1);
	upstream_remove(up);
	WAIT_FOR(read->times);
	assert_int_equal(read->status, 0);
	assert_int_equal(fake_ctrls[2].reads, 1);
	assert_null(TAILQ_NEXT(TAILQ_FIRST(&world.ss->upstreams), link));
}

static void the_first_retry_is_quick(void **state)
{
	struct upstream_config cfg = {.reconnect_delay = 10 * NSEC_PER_SEC};
	struct upstream *up = live_upstream_with(1, &cfg);

	fake_cut(1);
	WAIT_FOR(up->state == UPSTREAM_WAITING);
	pass(NSEC_PER_SEC);
	assert_int_equal(up->state, UPSTREAM_LIVE);
	fake_ctrls[1].down = true;
	fake_cut(1);
	pass(NSEC_PER_SEC); /* once more, and in vain */
	assert_int_equal(up->attempts, 1);
	fake_ctrls[1].down = false;
	pass(8 * NSEC_PER_SEC);
	assert_int_equal(up->attempts, 1);
	WAIT_FOR(up->state == UPSTREAM_LIVE);
	assert_int_equal(up->losses, 2);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(limits),
		T(same_name_is_refused),
		T(refusal_for_good_waits_for_the_admin),
		T(refusal_for_now_is_tried_again),
		T(twin_controller_is_refused),
		T(small_mdts_is_refused),
		T(missing_commands_are_refused),
		T(bounded_commands),
		T(unknown_size_limits),
		T(retry_delays_are_welcome),
		cmocka_unit_test_setup_teardown(too_few_queues_are_refused, world_setup_two,
						world_teardown),
		T(lost_for_too_long_is_given_up),
		T(silence_is_found_by_keep_alive),
		T(aborts_leave_room_for_others),
		T(event_during_the_first_scan),
		T(changes_without_end),
		T(reset_connects_anew),
		T(removed_with_commands_on_it),
		T(the_first_retry_is_quick),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
