/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a lost association is over: by the clock, or because another controller was asked to reset
 * it. The lost one is that of controller 1, with a write on it whose blocks are written again.
 */
#include <string.h>

#include "tests/unit/mp_world.h"

#define KATO (60 * NSEC_PER_SEC) /* longer than anybody waits: 25 s */
#define SOON NSEC_PER_SEC
#define CIRN 0x1122334455667788ull

static struct upstream *up_with(unsigned port, uint64_t keep_alive_tmo)
{
	struct upstream_config cfg = {.keep_alive_tmo = keep_alive_tmo};

	return live_upstream_with(port, &cfg);
}

/* Controller 1 can be reset, by the others. */
static void offer_resets(void)
{
	for (unsigned port = 1; port < 8; port++) {
		fake_ctrls[port].ciu = (uint8_t)(6 + port);
		fake_ctrls[port].cirn = CIRN * port;
		fake_ctrls[port].ccrl = 1;
	}
}

static struct answer *lost, *later;

static void lose(unsigned port)
{
	fake_ctrls[port].down = true;
	fake_cut(port);
}

static void lose_write(unsigned worker)
{
	fake_ctrls[1].stuck = true;
	lost = submit_at(worker, nvme_cmd_write, 0, 8);
	settle();
	lose(1);
}

static void write_later(void)
{
	settle();
	later = submit_at(0, nvme_cmd_write, 0, 8);
}

static unsigned resets(void)
{
	unsigned n = 0;

	for (unsigned port = 1; port < 8; port++)
		n += fake_ctrls[port].resets;
	return n;
}

/* ---- by the clock ---- */

static unsigned quarantines;
static struct quarantine_info last;

static void note(void *arg, const struct quarantine_info *q)
{
	quarantines++;
	last = *q;
}

static void look(void)
{
	quarantines = 0;
	mp_quarantines(world.mp, note, NULL);
}

/* Controller 1 as the test has made it: how long is it feared? */
static uint64_t time_to_end(uint64_t keep_alive_tmo)
{
	uint64_t start;

	up_with(1, keep_alive_tmo);
	look();
	assert_int_equal(quarantines, 0);
	start = sim_now;
	lose(1);
	settle();
	look();
	assert_int_equal(quarantines, 1);
	assert_string_equal(last.upstream, "up1");
	assert_int_equal(last.cntlid, 101);
	assert_false(last.fenced);
	return last.until - start;
}

static void assert_about(uint64_t time, uint64_t ms)
{
	assert_in_range(time, ms * NSEC_PER_MSEC, (ms + 20) * NSEC_PER_MSEC);
}

static void twice_the_keep_alive_timeout(void **state)
{
	assert_about(time_to_end(5 * NSEC_PER_SEC), 10000);
	pass(11 * NSEC_PER_SEC);
	look();
	assert_int_equal(quarantines, 0);
}

static void three_times_where_traffic_counts(void **state)
{
	fake_ctrls[1].tbkas = true;
	assert_about(time_to_end(5 * NSEC_PER_SEC), 15000);
}

static void and_the_time_to_quiesce(void **state)
{
	fake_ctrls[1].cqt = 700;
	assert_about(time_to_end(5 * NSEC_PER_SEC), 10700);
}

static void rounded_up_as_the_controller_does(void **state)
{
	fake_ctrls[1].kas = 20;
	assert_about(time_to_end(5 * NSEC_PER_SEC), 12000);
}

static void a_minute_without_keep_alive(void **state)
{
	assert_about(time_to_end(0), 60000);
}

static void each_loss_has_its_own(void **state)
{
	struct upstream *up = up_with(1, 5 * NSEC_PER_SEC);

	up_with(2, 5 * NSEC_PER_SEC);
	for (int i = 0; i < 3; i++) {
		fake_cut(1);
		WAIT_FOR(up->state == UPSTREAM_WAITING);
		WAIT_FOR(up->state == UPSTREAM_LIVE);
		pass(NSEC_PER_SEC);
	}
	upstream_reset(up); /* we give it up: it may go on all the same */
	settle();
	look();
	assert_int_equal(quarantines, 4);
	pass(20 * NSEC_PER_SEC);
	look();
	assert_int_equal(quarantines, 0);
}

/* ---- by another controller ---- */

static void reset_ends_it_at_once(void **state)
{
	offer_resets();
	up_with(1, KATO);
	up_with(2, KATO);
	lose_write(0);
	write_later();
	pass(SOON);
	assert_int_equal(lost->times, 1);
	assert_int_equal(later->times, 1);
	assert_int_equal(lost->status | later->status, 0);
	assert_int_equal(fake_ctrls[2].resets, 1);
	assert_int_equal(fake_ctrls[2].reset_cdw10, 7u << 16 | 101);
	assert_int_equal(fake_ctrls[2].reset_cirn, CIRN);
	look();
	assert_int_equal(quarantines, 0);
	assert_int_equal(totals().fences, 0);
}

static void nobody_is_reset_without_need(void **state)
{
	struct answer *read;

	offer_resets();
	up_with(1, KATO);
	up_with(2, KATO);
	fake_ctrls[1].stuck = true;
	read = submit(nvme_cmd_read);
	settle();
	lose(1);
	WAIT_FOR(read->times);
	pass(SOON);
	assert_int_equal(resets(), 0);
}

/* Each leaves it to the clock, and the write to its host's patience. */
static void left_to_the_clock(unsigned expected_resets)
{
	lose_write(0);
	write_later();
	WAIT_FOR(later->times);
	assert_int_equal(later->status, NVME_STATUS(3, NVME_SC_ANA_INTERNAL_PATH_ERROR));
	assert_int_equal(resets(), expected_resets);
	look();
	assert_int_equal(quarantines, 1);
	assert_true(last.fenced);
}

static void instance_is_not_known(void **state)
{
	offer_resets();
	fake_ctrls[1].ciu = 0;
	fake_ctrls[1].cirn = 0;
	up_with(1, KATO);
	up_with(2, KATO);
	left_to_the_clock(0);
}

static void others_do_not_offer_it(void **state)
{
	offer_resets();
	fake_ctrls[2].ccrl = 0;
	up_with(1, KATO);
	up_with(2, KATO);
	left_to_the_clock(0);
}

static void others_are_of_another_subsystem(void **state)
{
	struct upstream_config other = {.nqn = "nqn.2014-08.org.example:other",
					.keep_alive_tmo = KATO};

	offer_resets();
	up_with(1, KATO);
	live_upstream_with(2, &other);
	left_to_the_clock(0);
}

static void all_refuse(void **state)
{
	offer_resets();
	fake_ctrls[2].reset_status = fake_ctrls[3].reset_status = NVME_ST_INVALID_FIELD;
	up_with(1, KATO);
	up_with(2, KATO);
	up_with(3, KATO);
	left_to_the_clock(2); /* each is asked once */
}

static void reset_is_only_on_its_way(void **state)
{
	offer_resets();
	fake_ctrls[2].reset_later = true;
	up_with(1, KATO);
	up_with(2, KATO);
	up_with(3, KATO);
	left_to_the_clock(1);
}

/* A new life of the controller is no other controller. */
static void it_is_not_asked_to_reset_itself(void **state)
{
	struct upstream *up;

	offer_resets();
	up = up_with(1, KATO);
	up_with(2, KATO);
	fake_ctrls[2].reset_status = NVME_ST_INVALID_FIELD;
	fake_ctrls[1].stuck = true;
	lost = submit_at(0, nvme_cmd_write, 0, 8);
	settle();
	fake_cut(1);
	WAIT_FOR(up->state == UPSTREAM_WAITING);
	WAIT_FOR(up->state == UPSTREAM_LIVE);
	pass(SOON);
	assert_int_equal(fake_ctrls[1].resets, 0);
	assert_int_equal(fake_ctrls[2].resets, 1);
}

static void refused_by_one_done_by_another(void **state)
{
	offer_resets();
	fake_ctrls[2].reset_status = NVME_ST_INVALID_FIELD;
	up_with(1, KATO);
	up_with(2, KATO);
	up_with(3, KATO);
	lose_write(0);
	write_later();
	pass(SOON);
	assert_int_equal(later->times, 1);
	assert_int_equal(fake_ctrls[2].resets, 1);
	assert_int_equal(fake_ctrls[3].resets, 1);
	assert_int_equal(fake_ctrls[3].reset_cdw10, 7u << 16 | 101);
}

static void who_was_asked_is_lost_too(void **state)
{
	offer_resets();
	up_with(1, KATO);
	up_with(2, KATO);
	up_with(3, KATO);
	lose_write(0);
	fake_ctrls[2].silent = true; /* but for a connection that is there */
	write_later();
	assert_int_equal(resets(), 0);
	assert_int_equal(later->times, 0);
	lose(2);
	WAIT_FOR(later->times);
	assert_int_equal(later->status, 0);
	assert_int_equal(fake_ctrls[3].resets, 2); /* it had the write as well */
}

static void one_that_comes_later_is_asked(void **state)
{
	offer_resets();
	fake_ctrls[2].ccrl = 0;
	up_with(1, KATO);
	up_with(2, KATO);
	lose_write(0);
	write_later();
	pass(SOON);
	assert_int_equal(later->times, 0);
	up_with(3, KATO);
	pass(SOON);
	assert_int_equal(later->times, 1);
	assert_int_equal(fake_ctrls[3].resets, 1);
}

/* One at a time of the same controller, and then the next. */
static void two_are_lost_at_once(void **state)
{
	struct answer *first, *second;
	struct upstream *third;

	offer_resets();
	up_with(1, KATO);
	up_with(2, KATO);
	third = up_with(3, KATO);
	mp_subsys_set_policy(world.ss, MP_POLICY_ROUND_ROBIN);
	settle();
	fake_ctrls[1].stuck = fake_ctrls[2].stuck = true;
	first = submit_at(0, nvme_cmd_write, 0, 8);
	second = submit_at(0, nvme_cmd_write, 4, 8); /* each waits for the other's end */
	settle();
	fake_ctrls[3].silent = true;
	lose(1);
	lose(2);
	settle();
	assert_int_equal(third->assoc->admin->inflight, 1 + 1); /* beside the one for events */
	fake_ctrls[3].silent = false;
	fake_look(3);
	pass(SOON);
	assert_int_equal(first->times + second->times, 2);
	assert_int_equal(first->status | second->status, 0);
	assert_int_equal(fake_ctrls[3].resets, 2);
	look();
	assert_int_equal(quarantines, 0);
}

/* What a worker has not given up yet might be executed by the next life of the controller. */
static void not_before_all_workers_have_given_up(void **state)
{
	offer_resets();
	up_with(1, KATO);
	up_with(2, KATO);
	fake_ctrls[1].stuck = true;
	lost = submit_at(0, nvme_cmd_write, 0, 8);
	settle();
	sim_stall(world.worker[1]);
	lose(1);
	pass(SOON);
	assert_int_equal(resets(), 0);
	sim_resume(world.worker[1]);
	pass(SOON);
	assert_int_equal(resets(), 1);
	assert_int_equal(lost->times, 1);
	run_at(0, nvme_cmd_write, 0, 8, 0);
	run_at(1, nvme_cmd_write, 0, 8, 0);
	assert_int_equal(totals().fenced_total, 0);
}

/* The clock was quicker: that answer is nobody's any more. */
static void answer_that_comes_too_late(void **state)
{
	offer_resets();
	up_with(1, 200 * NSEC_PER_MSEC);
	up_with(2, KATO);
	lose_write(0);
	fake_ctrls[2].silent = true;
	write_later();
	pass(500 * NSEC_PER_MSEC); /* less than the Keep Alive of 2 */
	look();
	assert_int_equal(quarantines, 0);
	fake_ctrls[2].silent = false;
	fake_look(2);
	WAIT_FOR(later->times);
	assert_int_equal(lost->status | later->status, 0);
	pass(SOON);
	look();
	assert_int_equal(quarantines, 0);
}

/* ---- namespaces that leave meanwhile ---- */

static void show(bool present)
{
	for (unsigned port = 1; port <= 2; port++) {
		fake_ctrls[port].ns[1].present = present;
		fake_notice(port, NVME_AER_NOTICE_NS_CHANGED);
	}
	settle();
}

/* The fences went with the namespace; so it comes back only when there is nothing to fear. */
static void namespace_comes_back_after_the_end(void **state)
{
	struct upstream *second;

	up_with(1, 5 * NSEC_PER_SEC);
	second = up_with(2, KATO);
	lose_write(0);
	upstream_remove(TAILQ_FIRST(&world.ss->upstreams));
	WAIT_FOR(lost->times);
	show(false);
	assert_int_equal(world.removed, 1);
	show(true);
	assert_null(only_path(second)->head);
	assert_non_null(strstr(only_path(second)->reason, "lost associations"));
	pass(9 * NSEC_PER_SEC);
	assert_int_equal(world.added, 1);
	pass(2 * NSEC_PER_SEC);
	assert_int_equal(world.added, 2); /* by itself */
	assert_true(only_path(second)->usable);
	run(nvme_cmd_write, 0);
}

/* Neither does it matter that the subsystem went along, and another has it. */
static void namespace_comes_back_in_another_subsystem(void **state)
{
	struct upstream *second;

	up_with(1, 5 * NSEC_PER_SEC);
	up_with(2, KATO);
	lose_write(0);
	upstream_remove(TAILQ_FIRST(&world.ss->upstreams));
	WAIT_FOR(lost->times);
	world_replace_subsys();
	assert_int_equal(world.removed, 1);
	second = up_with(2, KATO);
	assert_null(only_path(second)->head);
	assert_non_null(strstr(only_path(second)->reason, "lost associations"));
	pass(11 * NSEC_PER_SEC);
	assert_int_equal(world.added, 2); /* by itself */
	assert_true(only_path(second)->usable);
	run(nvme_cmd_write, 0);
}

/* Its own commands are what it waits for: there are no fences. */
static void namespace_comes_back_after_its_commands(void **state)
{
	struct upstream *first = up_with(1, KATO);

	up_with(2, KATO);
	sim_stall(world.worker[1]);
	show(false);
	assert_int_equal(world.removed, 1);
	show(true);
	assert_null(only_path(first)->head);
	assert_non_null(strstr(only_path(first)->reason, "have not all ended"));
	sim_resume(world.worker[1]);
	settle();
	assert_int_equal(world.added, 2); /* by itself */
	assert_true(only_path(first)->usable);
	run(nvme_cmd_write, 0);
}

/* Waiting ends by itself, and a path that is not connected waits for nothing. */
static void namespace_waits_for_its_commands(void **state)
{
	struct upstream *first = up_with(1, KATO);

	up_with(2, KATO);
	sim_stall(world.worker[1]);
	show(false);
	show(true);
	assert_true(path_is_passing(only_path(first)));
	upstream_disconnect(first);
	assert_false(path_is_passing(only_path(first)));
	upstream_reset(first);
	sim_resume(world.worker[1]);
	WAIT_FOR(only_path(first)->usable);
	assert_false(path_is_passing(only_path(first)));
}

static void namespace_waits_for_lost_associations(void **state)
{
	struct upstream *second;

	up_with(1, 5 * NSEC_PER_SEC);
	second = up_with(2, KATO);
	lose_write(0);
	upstream_remove(TAILQ_FIRST(&world.ss->upstreams));
	WAIT_FOR(lost->times);
	show(false);
	show(true);
	assert_true(path_is_passing(only_path(second)));
	WAIT_FOR(only_path(second)->usable);
	assert_false(path_is_passing(only_path(second)));
}

/* What is not exported waits for nothing, whatever has become of its commands. */
static void namespace_that_is_not_exported_waits_for_nothing(void **state)
{
	struct upstream *first = up_with(1, KATO);

	up_with(2, KATO);
	sim_stall(world.worker[1]);
	show(false);
	world.refusal = (struct mp_refusal){"not exported", .expected = true};
	show(true);
	assert_string_equal(only_path(first)->reason, "not exported");
	sim_resume(world.worker[1]);
	settle();
	assert_int_equal(world.added, 1);
	assert_string_equal(only_path(first)->reason, "not exported");
}

static void namespace_without_fences_comes_back_at_once(void **state)
{
	struct upstream *second;

	up_with(1, 5 * NSEC_PER_SEC);
	second = up_with(2, KATO);
	run(nvme_cmd_write, 0);
	lose(1);
	upstream_remove(TAILQ_FIRST(&world.ss->upstreams));
	show(false);
	assert_int_equal(world.removed, 1);
	show(true);
	assert_int_equal(world.added, 2);
	assert_true(only_path(second)->usable);
	run(nvme_cmd_write, 0);
}

#define T(f)   cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
#define TWO(f) cmocka_unit_test_setup_teardown(f, world_setup_two, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(twice_the_keep_alive_timeout),
		T(three_times_where_traffic_counts),
		T(and_the_time_to_quiesce),
		T(rounded_up_as_the_controller_does),
		T(a_minute_without_keep_alive),
		T(each_loss_has_its_own),
		T(reset_ends_it_at_once),
		T(nobody_is_reset_without_need),
		T(instance_is_not_known),
		T(others_do_not_offer_it),
		T(others_are_of_another_subsystem),
		T(all_refuse),
		T(reset_is_only_on_its_way),
		T(it_is_not_asked_to_reset_itself),
		T(refused_by_one_done_by_another),
		T(who_was_asked_is_lost_too),
		T(one_that_comes_later_is_asked),
		T(two_are_lost_at_once),
		TWO(not_before_all_workers_have_given_up),
		T(answer_that_comes_too_late),
		T(namespace_comes_back_after_the_end),
		T(namespace_comes_back_in_another_subsystem),
		TWO(namespace_comes_back_after_its_commands),
		TWO(namespace_that_is_not_exported_waits_for_nothing),
		TWO(namespace_waits_for_its_commands),
		T(namespace_waits_for_lost_associations),
		T(namespace_without_fences_comes_back_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
