/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting: for a path when there is none, for room in a queue, for buffers. */
#include "tests/unit/mp_world.h"
#include "transport/pool.h"

#define ABORTED	  NVME_STATUS(0, NVME_SC_ABORT_REQ)
#define LOST	  NVME_ST_ANA_INACCESSIBLE
#define FULL	  (NVME_ST_ANA_INACCESSIBLE | NVME_CRD(1))
#define LOST_LONG NVME_STATUS(3, NVME_SC_ANA_PERSISTENT_LOSS)

static struct upstream *up;

static void go_down(void)
{
	fake_ctrls[1].down = true;
	fake_cut(1);
	WAIT_FOR(up->state == UPSTREAM_WAITING);
	settle();
}

static void come_back(void)
{
	fake_ctrls[1].down = fake_ctrls[1].stuck = false;
	WAIT_FOR(up->state == UPSTREAM_LIVE);
	settle();
}

/* One controller, and it is down. */
static void without_path(void)
{
	up = live_upstream(1);
	go_down();
}

/* ---- for a path ---- */

static void held_and_released(void **state)
{
	struct answer *out, *later;

	up = live_upstream(1);
	fake_ctrls[1].stuck = true;
	out = submit(nvme_cmd_write);
	go_down();
	later = submit(nvme_cmd_read);
	pass(NSEC_PER_SEC);
	assert_int_equal(out->times + later->times, 0);
	assert_int_equal(totals().held, 2);
	assert_int_equal(only_head()->ana_state, NVME_ANA_STATE_INACCESSIBLE);
	come_back();
	assert_int_equal(out->times + later->times, 2);
	assert_int_equal(out->status | later->status, 0);
	assert_int_equal(totals().held, 0);
	assert_int_equal(totals().held_max, 2);
	assert_int_equal(only_head()->ana_state, NVME_ANA_STATE_OPTIMIZED);
}

static void the_time_is_bounded(void **state)
{
	struct answer *early, *late;
	uint64_t start;

	without_path();
	start = sim_now;
	early = submit(nvme_cmd_write);
	pass(19 * NSEC_PER_SEC);
	late = submit(nvme_cmd_read); /* the time is that of the loss, not its own */
	settle();
	assert_int_equal(early->times + late->times, 0);
	WAIT_FOR(early->times && late->times);
	assert_in_range(sim_now - start, 19 * NSEC_PER_SEC, 21 * NSEC_PER_SEC);
	assert_int_equal(early->status, LOST);
	assert_int_equal(late->status, LOST);
	assert_int_equal(totals().failed_no_path, 2);
	late = submit(nvme_cmd_write); /* the time is up for newcomers too */
	assert_int_equal(late->times, 1);
	assert_int_equal(late->status, LOST);
	come_back();
	run(nvme_cmd_write, 0);
	assert_int_equal(fake_ctrls[1].writes, 1);
	go_down(); /* and it begins anew */
	early = submit(nvme_cmd_write);
	pass(10 * NSEC_PER_SEC);
	assert_int_equal(early->times, 0);
}

static void no_time_at_all(void **state)
{
	world.ss->cfg.no_path_timeout = 0;
	without_path();
	assert_int_equal(submit(nvme_cmd_write)->status, LOST);
	come_back();
	run(nvme_cmd_write, 0);
}

static void the_number_is_bounded(void **state)
{
	struct answer *held[3], *refused;

	world.ss->cfg.max_held = 3;
	without_path();
	for (int i = 0; i < 3; i++)
		held[i] = submit(nvme_cmd_write);
	refused = submit(nvme_cmd_read);
	assert_int_equal(refused->times, 1);
	assert_int_equal(refused->status, FULL);
	assert_true(abort_it(held[0]));
	assert_int_equal(held[0]->status, ABORTED);
	held[0] = submit(nvme_cmd_write); /* there is room again */
	assert_int_equal(held[0]->times, 0);
	leave(held[1]);
	assert_int_equal(held[1]->times, 1);
	come_back();
	assert_int_equal(world.done, world.submitted);
	assert_int_equal(fake_ctrls[1].writes, 2); /* what was taken back never went out */
}

/* In segments, as that is what they take; reads take none before they are sent. */
static void the_bytes_are_bounded(void **state)
{
	struct answer *refused, *read, *big;

	world.ss->cfg.max_held_bytes = 3 * SEG_SIZE;
	without_path();
	big = submit_at(0, nvme_cmd_write, 0, 2 * SEG_SIZE / 512);
	submit(nvme_cmd_write);
	refused = submit(nvme_cmd_write);
	assert_int_equal(refused->times, 1);
	assert_int_equal(refused->status, FULL);
	read = submit_at(0, nvme_cmd_read, 0, 256);
	submit(nvme_cmd_write_zeroes);
	assert_int_equal(read->times, 0);
	assert_true(abort_it(big));
	refused = submit_at(0, nvme_cmd_write, 0, 2 * SEG_SIZE / 512 + 1);
	assert_int_equal(refused->times, 1);
	assert_int_equal(submit_at(0, nvme_cmd_write, 0, 2 * SEG_SIZE / 512)->times, 0);
	assert_int_equal(totals().held, 4);
	come_back();
	assert_int_equal(world.done, world.submitted);
	assert_int_equal(world.last_status, 0);
}

/* All namespaces together may have half of a worker's slots and buffers. */
static void half_of_the_worker_is_left_for_others(void **state)
{
	unsigned half = pool_total_segments(world.pool[0]) / 2, slots;

	world.ss->cfg.max_held = 10000;
	world.ss->cfg.max_held_bytes = 1 << 30;
	without_path();
	for (unsigned i = 0; i < half; i++)
		assert_int_equal(submit(nvme_cmd_write)->times, 0);
	assert_int_equal(submit(nvme_cmd_write)->status, FULL);
	slots = pool_total_requests(world.pool[0]) / 2 - half;
	for (unsigned i = 0; i < slots; i++)
		assert_int_equal(submit(nvme_cmd_read)->times, 0);
	assert_int_equal(submit(nvme_cmd_read)->status, FULL);
	assert_int_equal(pool_free_segments(world.pool[0]), half);
	come_back();
	assert_int_equal(world.done, world.submitted);
	go_down();
	assert_int_equal(submit(nvme_cmd_write)->times, 0);
}

/* What waits for a path has no use for its data yet. */
static void data_stays_with_the_host(void **state)
{
	unsigned segments;
	struct answer *held[8], *aborted;

	without_path();
	segments = pool_free_segments(world.pool[0]);
	world.ss->cfg.max_held_bytes = SEG_SIZE;
	for (int i = 0; i < 8; i++)
		held[i] = submit_unfetched(0, 100 * (unsigned)i, 100);
	aborted = submit_unfetched(0, 0, 1);
	settle();
	assert_int_equal(totals().held, 9);
	assert_int_equal(pool_free_segments(world.pool[0]), segments);
	assert_true(abort_it(aborted));
	assert_int_equal(aborted->status, ABORTED);
	leave(held[7]);
	assert_int_equal(held[7]->times, 1);
	come_back();
	for (int i = 0; i < 7; i++) {
		assert_int_equal(held[i]->times, 1);
		assert_int_equal(held[i]->status, 0);
		assert_int_equal(held[i]->fetched, 1);
	}
	assert_int_equal(fake_ctrls[1].writes, 7);
	assert_int_equal(aborted->fetched + held[7]->fetched, 0);
}

static void data_is_not_asked_for_in_vain(void **state)
{
	struct answer *held[2];

	world.ss->cfg.max_held = 1;
	without_path();
	held[0] = submit_unfetched(0, 0, 8);
	held[1] = submit_unfetched(0, 8, 8);
	assert_int_equal(held[1]->status, FULL);
	WAIT_FOR(held[0]->times);
	assert_int_equal(held[0]->status, LOST);
	assert_int_equal(submit_unfetched(0, 0, 8)->status, LOST);
	assert_int_equal(held[0]->fetched + held[1]->fetched, 0);
	come_back();
	held[0] = submit_unfetched(0, 0, 8);
	WAIT_FOR(held[0]->times);
	assert_int_equal(held[0]->status, 0);
	go_down();
	held[0] = submit_unfetched(0, 0, 8);
	upstream_remove(up);
	settle();
	assert_int_equal(held[0]->status, NVME_ST_INVALID_NS);
	assert_int_equal(held[0]->fetched, 0);
}

/* A path that refuses the first of them: the others go on waiting, and nothing goes round. */
static void the_path_goes_while_they_are_released(void **state)
{
	struct answer *held[6];

	without_path();
	for (unsigned i = 0; i < 6; i++)
		held[i] = i % 2 ? submit_unfetched(0, 8 * i, 8) : submit_at(0, nvme_cmd_read, 0, 8);
	fake_ctrls[1].io_status = LOST;
	fake_ctrls[1].io_statuses = 3;
	come_back();
	for (unsigned i = 0; i < 6; i++) {
		WAIT_FOR(held[i]->times);
		assert_int_equal(held[i]->status, 0);
		assert_int_equal(held[i]->fetched, i % 2);
	}
}

/* The longest of the upstreams' times, if all have one. */
static void fast_io_fail(void **state)
{
	struct upstream_config two = {.fast_io_fail_tmo = 2 * (int64_t)NSEC_PER_SEC};
	struct upstream_config five = {.fast_io_fail_tmo = 5 * (int64_t)NSEC_PER_SEC};
	struct upstream *second, *third;
	struct answer *held;

	up = live_upstream_with(1, &five);
	second = live_upstream_with(2, &two);
	fake_ctrls[2].down = true;
	fake_cut(2);
	go_down();
	held = submit(nvme_cmd_read);
	pass(4 * NSEC_PER_SEC);
	assert_int_equal(held->times, 0);
	pass(2 * NSEC_PER_SEC);
	assert_int_equal(held->times, 1);
	assert_int_equal(held->status, LOST);
	come_back();
	third = live_upstream(3); /* one that has none */
	fake_ctrls[3].down = true;
	fake_cut(3);
	go_down();
	held = submit(nvme_cmd_read);
	pass(15 * NSEC_PER_SEC);
	assert_int_equal(held->times, 0);
	assert_int_equal(second->state + third->state, 2 * UPSTREAM_WAITING);
}

/* With the upstream that allowed for more, the time that is left goes. */
static void a_shorter_time_counts_at_once(void **state)
{
	struct upstream_config two = {.fast_io_fail_tmo = 2 * (int64_t)NSEC_PER_SEC};
	struct upstream *patient;
	struct answer *held;

	up = live_upstream_with(1, &two);
	patient = live_upstream(2);
	fake_ctrls[2].down = true;
	fake_cut(2);
	go_down();
	held = submit(nvme_cmd_read);
	pass(NSEC_PER_SEC);
	upstream_remove(patient);
	pass(NSEC_PER_SEC / 2);
	assert_int_equal(held->times, 0);
	pass(NSEC_PER_SEC);
	assert_int_equal(held->status, LOST);
	assert_int_equal(held->times, 1);
}

static int setup_persistent(void **state)
{
	struct mp_subsys_config cfg = world_config();

	cfg.persistent_loss = 60 * (int64_t)NSEC_PER_SEC;
	world_start(1, &cfg);
	return 0;
}

static void persistent_loss_is_told(void **state)
{
	without_path();
	pass(58 * NSEC_PER_SEC);
	assert_int_equal(only_head()->ana_state, NVME_ANA_STATE_INACCESSIBLE);
	run(nvme_cmd_read, LOST);
	pass(4 * NSEC_PER_SEC);
	assert_int_equal(only_head()->ana_state, NVME_ANA_STATE_PERSISTENT_LOSS);
	run(nvme_cmd_read, LOST_LONG);
	come_back();
	assert_int_equal(only_head()->ana_state, NVME_ANA_STATE_OPTIMIZED);
	run(nvme_cmd_read, 0);
}

/* After that the next loss is a new one, even if only an ANA group has moved away. */
static void persistent_loss_is_over(void **state)
{
	without_path();
	pass(70 * NSEC_PER_SEC);
	assert_int_equal(only_head()->ana_state, NVME_ANA_STATE_PERSISTENT_LOSS);
	come_back();
	fake_ctrls[1].ana_state = NVME_ANA_STATE_INACCESSIBLE;
	fake_notice(1, NVME_AER_NOTICE_ANA);
	settle();
	assert_int_equal(only_head()->ana_state, NVME_ANA_STATE_INACCESSIBLE);
	pass(30 * NSEC_PER_SEC);
	run(nvme_cmd_read, LOST);
	pass(40 * NSEC_PER_SEC);
	assert_int_equal(only_head()->ana_state, NVME_ANA_STATE_PERSISTENT_LOSS);
	run(nvme_cmd_read, LOST_LONG);
}

/* ---- in which order ---- */

/* What comes back from a lost path came before what was held meanwhile. */
static void first_come_first_served(void **state)
{
	struct upstream_config narrow = {.queue_size = 2};
	struct answer *a[6];

	up = live_upstream_with(1, &narrow);
	fake_ctrls[1].stuck = true;
	for (unsigned i = 0; i < 4; i++) {
		a[i] = submit_at(0, nvme_cmd_read, i, 1);
		settle();
	}
	assert_int_equal(out_on(up, 0), 1);
	go_down();
	for (unsigned i = 4; i < 6; i++)
		a[i] = submit_at(0, nvme_cmd_read, i, 1);
	fake_ctrls[1].latency = 10 * NSEC_PER_MSEC;
	fake_ctrls[1].down = fake_ctrls[1].stuck = false;
	for (unsigned i = 0; i < 6; i++) {
		WAIT_FOR(a[i]->times);
		assert_int_equal(world.done, i + 1);
		assert_int_equal(fake_ctrls[1].last_slba, i);
	}
}

/* ---- for room and buffers ---- */

/* However many commands one namespace has, the next room is that of who got none. */
static void namespaces_take_turns(void **state)
{
	struct upstream_config narrow = {.queue_size = 3};
	struct answer *busy[6], *other, *third;

	fake_ctrls[1].ns[2] = (struct fake_ns){true, 1000, 6, 0, false};
	fake_ctrls[1].ns[3] = (struct fake_ns){true, 1000, 7, 0, false};
	up = live_upstream_with(1, &narrow);
	fake_ctrls[1].latency = NSEC_PER_MSEC;
	for (unsigned i = 0; i < 6; i++)
		busy[i] = submit_to(5, nvme_cmd_read);
	other = submit_to(6, nvme_cmd_read);
	third = submit_to(7, nvme_cmd_read);
	for (unsigned turns = 0; turns < 60 && !(other->times && third->times); turns++) {
		pass(NSEC_PER_MSEC);
		for (unsigned i = 0; i < 6; i++)
			if (busy[i]->times)
				busy[i] = submit_to(5, nvme_cmd_read);
	}
	assert_int_equal(other->times, 1);
	assert_int_equal(third->times, 1);
	assert_in_range(world.done, 2, 20);
}

static void full_queue_waits(void **state)
{
	struct answer *aborted;

	up = live_upstream(1); /* 31 commands */
	fake_ctrls[1].stuck = true;
	for (int i = 0; i < 100; i++)
		submit(nvme_cmd_read);
	aborted = submit(nvme_cmd_read);
	settle();
	assert_int_equal(out_on(up, 0), 31);
	assert_int_equal(totals().held, 0); /* there is a path */
	assert_true(abort_it(aborted));
	fake_ctrls[1].stuck = false;
	fake_look(1);
	WAIT_FOR(world.done == 101);
	assert_int_equal(world.last_status, 0);
	assert_int_equal(fake_ctrls[1].reads, 100);
}

static struct upstream *sick, *well;

/* A Flush that has to visit a path which takes nothing more, and answers nothing. */
static struct answer *flush_of_a_full_path(void)
{
	struct upstream_config narrow = {.queue_size = 3};
	struct answer *flush;

	sick = live_upstream_with(1, &narrow);
	well = live_upstream_with(2, &narrow);
	mp_subsys_set_policy(world.ss, MP_POLICY_ROUND_ROBIN);
	settle();
	run(nvme_cmd_write, 0);
	run(nvme_cmd_write, 0);
	fake_ctrls[1].stuck = true;
	while (out_on(sick, 0) < 2) {
		submit(nvme_cmd_read);
		settle();
	}
	flush = submit(nvme_cmd_flush);
	settle();
	assert_int_equal(flush->times, 0);
	return flush;
}

static void a_flush_holds_up_nobody_who_has_a_path(void **state)
{
	struct answer *first = flush_of_a_full_path(), *second = submit(nvme_cmd_flush);

	for (unsigned i = 0; i < 20; i++)
		submit(i % 2 ? nvme_cmd_read : nvme_cmd_write);
	settle();
	assert_int_equal(world.submitted - world.done, 4); /* and two reads */
	assert_true(abort_it(second));
	assert_int_equal(second->status, ABORTED);
	assert_int_equal(first->times + fake_ctrls[1].flushes, 0);
	fake_ctrls[1].stuck = false;
	fake_look(1);
	WAIT_FOR(first->times);
	assert_int_equal(first->status, 0);
	assert_int_equal(fake_ctrls[1].flushes, 1);
	assert_int_equal(fake_ctrls[2].flushes, 1);
}

/* Whatever stands in the line for room behind it: what comes back there is the Flush's first. */
static void a_flush_gets_the_next_room_on_its_path(void **state)
{
	struct answer *flush = flush_of_a_full_path(), *reads[20];

	fake_ctrls[2].stuck = true;
	for (unsigned i = 0; i < 20; i++)
		reads[i] = submit(nvme_cmd_read);
	settle();
	fake_ctrls[1].stuck = false;
	fake_ctrls[1].latency = NSEC_PER_MSEC;
	fake_look(1);
	WAIT_FOR(fake_ctrls[1].flushes);
	assert_int_equal(reads[19]->times, 0);
	fake_ctrls[2].stuck = false;
	fake_look(2);
	WAIT_FOR(flush->times && world.done == world.submitted);
	assert_int_equal(flush->status, 0);
}

/* Then its place is with the others that wait for a path, for as long as they do. */
static void a_flush_waits_on_without_a_path(void **state)
{
	struct answer *flush = flush_of_a_full_path(), *read;

	fake_ctrls[1].down = fake_ctrls[2].down = true;
	fake_cut(1);
	fake_cut(2);
	settle();
	read = submit(nvme_cmd_read);
	assert_int_equal(flush->times + read->times, 0);
	assert_int_equal(totals().held, 4);
	WAIT_FOR(flush->times && read->times);
	assert_int_equal(flush->status, LOST);
	assert_int_equal(totals().held, 0);
	fake_ctrls[1].down = fake_ctrls[1].stuck = fake_ctrls[2].down = false;
	WAIT_FOR(sick->state == UPSTREAM_LIVE && well->state == UPSTREAM_LIVE);
	settle();
	run(nvme_cmd_flush, 0);
}

static void a_flush_ends_with_the_namespace(void **state)
{
	struct answer *flush = flush_of_a_full_path();

	upstream_remove(well);
	upstream_remove(sick);
	WAIT_FOR(flush->times);
	assert_int_equal(flush->status, NVME_ST_INVALID_NS);
}

static void on_read(struct mp_io *io)
{
	assert_int_equal(io->error, 0);
}

static void on_drained(void *arg, uint64_t left)
{
	assert_int_equal(left, 0);
}

/* Whatever it was that had the room. */
static void room_comes_back_from_commands_of_our_own(void **state)
{
	struct upstream_config narrow = {.queue_size = 2};
	char block[512];
	struct mp_io io = {
		.blocks = 1, .block_bytes = 512, .data = block, .len = 512, .done = on_read};
	struct path *p;

	up = live_upstream_with(1, &narrow);
	p = only_path(up);
	fake_ctrls[1].latency = 100 * NSEC_PER_MSEC;
	mp_io_start(only_head(), p, &io);
	settle();
	run(nvme_cmd_read, 0);
	probe_send(only_head()->hw[0], p->lanes->lane[0], 512);
	run(nvme_cmd_read, 0);
	path_drain(p, NSEC_PER_SEC, on_drained, NULL);
	settle();
	run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[1].reads, 5);
	assert_int_equal(fake_ctrls[1].flushes, 1);
}

static void out_of_buffers_waits(void **state)
{
	struct request *hog = pool_get(world.pool[0]);
	struct answer *read, *write, *zeroes;

	up = live_upstream(1);
	write = submit(nvme_cmd_write);
	settle();
	assert_int_equal(
		request_alloc_data(hog, (pool_free_segments(world.pool[0]) - 1) * SEG_SIZE), 0);
	read = submit_at(0, nvme_cmd_read, 0, 2 * SEG_SIZE / 512);
	zeroes = submit(nvme_cmd_write_zeroes); /* needs none, and does not overtake */
	pass(NSEC_PER_SEC);
	assert_int_equal(write->times, 1);
	assert_int_equal(read->times + zeroes->times, 0);
	pool_put(hog);
	WAIT_FOR(read->times && zeroes->times);
	assert_int_equal(read->status | zeroes->status, 0);
}

/* Nobody there to read it when the buffers come. */
static void waiting_ones_end_with_their_host(void **state)
{
	struct request *hog = pool_get(world.pool[0]);
	struct answer *read;

	up = live_upstream(1);
	assert_int_equal(request_alloc_data(hog, pool_free_segments(world.pool[0]) * SEG_SIZE), 0);
	read = submit(nvme_cmd_read);
	settle();
	leave(read);
	assert_int_equal(read->times, 1);
	pool_put(hog);
	settle();
	assert_int_equal(fake_ctrls[1].reads, 0);
}

static void namespace_goes_while_commands_wait(void **state)
{
	struct request *hog = pool_get(world.pool[0]);
	struct answer *read;

	up = live_upstream(1);
	assert_int_equal(request_alloc_data(hog, pool_free_segments(world.pool[0]) * SEG_SIZE), 0);
	read = submit(nvme_cmd_read);
	settle();
	upstream_remove(up);
	settle();
	assert_int_equal(world.removed, 1);
	assert_int_equal(read->times, 1);
	assert_int_equal(read->status, NVME_ST_INVALID_NS);
	pool_put(hog); /* nobody is called for it any more */
	settle();
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
#define P(f) cmocka_unit_test_setup_teardown(f, setup_persistent, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(held_and_released),
		T(the_time_is_bounded),
		T(no_time_at_all),
		T(the_number_is_bounded),
		T(the_bytes_are_bounded),
		T(half_of_the_worker_is_left_for_others),
		T(data_stays_with_the_host),
		T(data_is_not_asked_for_in_vain),
		T(the_path_goes_while_they_are_released),
		T(fast_io_fail),
		T(a_shorter_time_counts_at_once),
		P(persistent_loss_is_told),
		P(persistent_loss_is_over),
		T(first_come_first_served),
		T(namespaces_take_turns),
		T(full_queue_waits),
		T(a_flush_holds_up_nobody_who_has_a_path),
		T(a_flush_gets_the_next_room_on_its_path),
		T(a_flush_waits_on_without_a_path),
		T(a_flush_ends_with_the_namespace),
		T(room_comes_back_from_commands_of_our_own),
		T(out_of_buffers_waits),
		T(waiting_ones_end_with_their_host),
		T(namespace_goes_while_commands_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
