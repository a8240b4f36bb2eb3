/* SPDX-License-Identifier: Apache-2.0 */
/* Which path a command takes: the policies by themselves, then in the engine. */
#include <stdlib.h>
#include <string.h>

#include "multipath/selector.h"
#include "tests/unit/mp_world.h"

#define KIB 1024u

/* ---- policies by themselves, on paths made up ---- */

#define PATHS 4

static struct {
	struct loop *loop;
	struct mp_worker mw;
	struct head_worker hw;
	struct lane lane[PATHS];
	struct conn conn[PATHS];
	struct ini_qpair qp[PATHS];
	struct request req;
} rig;

/* All optimized, connected, idle, of weight 1. */
static int setup_rig(void **state)
{
	struct view *v = calloc(1, sizeof(*v) + PATHS * sizeof(v->e[0]));

	memset(&rig, 0, sizeof(rig));
	sim_seed(1);
	rig.loop = loop_new(0, -1);
	rig.mw.loop = rig.loop;
	rig.hw.mw = &rig.mw;
	rig.hw.view = v;
	v->n = PATHS;
	for (unsigned i = 0; i < PATHS; i++) {
		rig.qp[i] = (struct ini_qpair){.live = true, .sq_size = 32};
		rig.conn[i].qp = &rig.qp[i];
		rig.conn[i].up = true;
		TAILQ_INIT(&rig.conn[i].inflight);
		v->e[i] = (struct view_entry){.lane = &rig.lane[i],
					      .conn = &rig.conn[i],
					      .weight = 1,
					      .rank = RANK_OPTIMIZED};
	}
	rig.req.dir = NVME_DIR_C2H;
	rig.req.data_len = 4 * KIB;
	return 0;
}

static int teardown_rig(void **state)
{
	free(rig.hw.view);
	loop_free(rig.loop);
	sim_events_free();
	return 0;
}

static struct view_entry *entry(unsigned i)
{
	return &rig.hw.view->e[i];
}

#define NONE (-1)

static int pick(enum mp_policy policy)
{
	struct view_entry *e = selector_of(policy)->pick(&rig.hw, RANK_OPTIMIZED, &rig.req);

	return e ? (int)(e - rig.hw.view->e) : NONE;
}

static void fill(unsigned i)
{
	rig.qp[i].inflight = rig.qp[i].sq_size - 1;
}

/* Counts who is picked; nothing is in flight. */
static void pick_many(enum mp_policy policy, unsigned times, unsigned counts[PATHS])
{
	memset(counts, 0, PATHS * sizeof(counts[0]));
	while (times--)
		counts[pick(policy)]++;
}

static void nobody_picks_what_cannot_be_used(void **state)
{
	for (int policy = 0; policy < MP_POLICY_COUNT; policy++) {
		rig.conn[0].up = false;
		entry(1)->avoid = true;
		entry(2)->rank = RANK_NONOPTIMIZED;
		entry(3)->conn = NULL;
		for (int i = 0; i < 5; i++)
			assert_int_equal(pick((enum mp_policy)policy), NONE);
		entry(2)->rank = RANK_OPTIMIZED;
		for (int i = 0; i < 5; i++)
			assert_int_equal(pick((enum mp_policy)policy), 2);
		fill(2);
		assert_int_equal(pick((enum mp_policy)policy), NONE);
		rig.qp[2].inflight--;
		assert_int_equal(pick((enum mp_policy)policy), 2);
		rig.qp[2].live = false;
		assert_int_equal(pick((enum mp_policy)policy), NONE);
		teardown_rig(state);
		setup_rig(state);
	}
}

static void names(void **state)
{
	enum mp_policy p;

	for (int policy = 0; policy < MP_POLICY_COUNT; policy++) {
		assert_int_equal(mp_policy_parse(mp_policy_name((enum mp_policy)policy), &p), 0);
		assert_int_equal(p, policy);
	}
	assert_int_not_equal(mp_policy_parse("fastest", &p), 0);
	assert_int_not_equal(mp_policy_parse("", &p), 0);
}

static void failover_takes_the_first(void **state)
{
	for (int i = 0; i < 5; i++)
		assert_int_equal(pick(MP_POLICY_FAILOVER), 0);
	fill(0); /* is waited for */
	assert_int_equal(pick(MP_POLICY_FAILOVER), NONE);
	rig.conn[0].up = false;
	assert_int_equal(pick(MP_POLICY_FAILOVER), 1);
}

static void round_robin_goes_round(void **state)
{
	unsigned counts[PATHS];

	for (int i = 0; i < 3 * PATHS; i++)
		assert_int_equal(pick(MP_POLICY_ROUND_ROBIN), i % PATHS);
	fill(1); /* passed by, and owed nothing later */
	pick_many(MP_POLICY_ROUND_ROBIN, 300, counts);
	for (int i = 0; i < PATHS; i++)
		assert_int_equal(counts[i], i == 1 ? 0 : 100);
	rig.qp[1].inflight = 0;
	pick_many(MP_POLICY_ROUND_ROBIN, 400, counts);
	for (int i = 0; i < PATHS; i++)
		assert_in_range(counts[i], 99, 101);
}

/* Spread evenly too: even the heaviest is not served for long at a time. */
static void round_robin_by_weight(void **state)
{
	unsigned counts[PATHS], in_a_row = 0;
	int last = NONE;

	entry(0)->weight = 1000;
	entry(1)->weight = 500;
	entry(2)->weight = 250;
	entry(3)->weight = 250;
	for (int i = 0; i < 2000; i++) {
		int now = pick(MP_POLICY_ROUND_ROBIN);

		in_a_row = now == last ? in_a_row + 1 : 1;
		last = now;
		assert_in_range(in_a_row, 1, 2);
	}
	pick_many(MP_POLICY_ROUND_ROBIN, 2000, counts);
	assert_int_equal(counts[0], 1000);
	assert_int_equal(counts[1], 500);
	assert_int_equal(counts[2], 250);
	assert_int_equal(counts[3], 250);
}

static void queue_depth_takes_the_emptiest(void **state)
{
	rig.qp[0].inflight = 5;
	rig.qp[1].inflight = 3;
	rig.qp[2].inflight = 4;
	rig.qp[3].inflight = 9;
	for (int i = 0; i < 5; i++)
		assert_int_equal(pick(MP_POLICY_QUEUE_DEPTH), 1);
	entry(0)->weight = 2; /* 5 / 2 */
	assert_int_equal(pick(MP_POLICY_QUEUE_DEPTH), 0);
	entry(3)->weight = 1000;
	assert_int_equal(pick(MP_POLICY_QUEUE_DEPTH), 3);
	rig.qp[3].sq_size = 10; /* emptiest, but full */
	assert_int_equal(pick(MP_POLICY_QUEUE_DEPTH), 0);
}

static void queue_depth_goes_round_among_equals(void **state)
{
	for (unsigned i = 0; i < 3 * PATHS; i++)
		assert_int_equal(pick(MP_POLICY_QUEUE_DEPTH), i % PATHS);
	rig.qp[2].inflight = 1;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(pick(MP_POLICY_QUEUE_DEPTH), 0);
		assert_int_equal(pick(MP_POLICY_QUEUE_DEPTH), 1);
		assert_int_equal(pick(MP_POLICY_QUEUE_DEPTH), 3);
	}
}

static void numa_takes_the_nearest(void **state)
{
	for (unsigned i = 0; i < PATHS; i++)
		entry(i)->distance = i < 2;
	for (int i = 0; i < 5; i++)
		assert_int_equal(pick(MP_POLICY_NUMA), 2);
	fill(2); /* is waited for */
	assert_int_equal(pick(MP_POLICY_NUMA), NONE);
	rig.conn[2].up = false;
	assert_int_equal(pick(MP_POLICY_NUMA), 3);
	rig.conn[3].up = false;
	assert_int_equal(pick(MP_POLICY_NUMA), 0); /* better than none */
}

/* ---- service time by itself ---- */

static void learn(unsigned i, bool write, uint32_t len, uint64_t us)
{
	latency_sample(&rig.lane[i].latency, write, len, us * NSEC_PER_USEC, sim_now);
}

static void service_time_tries_what_it_does_not_know(void **state)
{
	for (unsigned i = 0; i < PATHS - 1; i++)
		learn(i, false, 4 * KIB, 100);
	assert_int_equal(pick(MP_POLICY_SERVICE_TIME), 3);
	learn(3, false, 4 * KIB, 200);
	for (int i = 0; i < 10; i++)
		assert_int_not_equal(pick(MP_POLICY_SERVICE_TIME), 3);
	/* but not with all it has */
	rig.lane[3].latency = (struct latency){0};
	rig.conn[3].cost = 500 * latency_cost(4 * KIB);
	assert_int_not_equal(pick(MP_POLICY_SERVICE_TIME), 3);
}

static void service_time_takes_the_quickest(void **state)
{
	for (unsigned i = 0; i < PATHS; i++)
		learn(i, false, 4 * KIB, i == 2 ? 90 : 100);
	assert_int_equal(pick(MP_POLICY_SERVICE_TIME), 2);
	/* what is in flight there counts */
	rig.conn[2].cost = latency_cost(4 * KIB);
	assert_int_not_equal(pick(MP_POLICY_SERVICE_TIME), 2);
	/* and by its size: against 16 KiB one of 4 KiB is little */
	rig.req.data_len = 16 * KIB;
	for (unsigned i = 0; i < PATHS; i++)
		learn(i, false, 16 * KIB, i == 2 ? 60 : 100);
	assert_int_equal(pick(MP_POLICY_SERVICE_TIME), 2);
	/* full queues are passed by */
	fill(2);
	assert_int_not_equal(pick(MP_POLICY_SERVICE_TIME), 2);
	assert_int_not_equal(pick(MP_POLICY_SERVICE_TIME), NONE);
}

static void service_time_knows_kinds_and_sizes(void **state)
{
	for (unsigned i = 0; i < PATHS; i++) {
		learn(i, false, 4 * KIB, i == 0 ? 50 : 100);
		learn(i, true, 4 * KIB, i == 1 ? 50 : 100);
		learn(i, false, 256 * KIB, i == 2 ? 500 : 1000);
	}
	assert_int_equal(pick(MP_POLICY_SERVICE_TIME), 0);
	rig.req.dir = NVME_DIR_H2C;
	assert_int_equal(pick(MP_POLICY_SERVICE_TIME), 1);
	rig.req.dir = NVME_DIR_C2H;
	rig.req.data_len = 256 * KIB;
	assert_int_equal(pick(MP_POLICY_SERVICE_TIME), 2);
}

static void service_time_by_weight(void **state)
{
	for (unsigned i = 0; i < PATHS; i++)
		learn(i, false, 4 * KIB, 100);
	entry(3)->weight = 2;
	for (int i = 0; i < 5; i++)
		assert_int_equal(pick(MP_POLICY_SERVICE_TIME), 3);
	rig.conn[3].cost = latency_cost(4 * KIB) + 1; /* twice as long for half as much */
	assert_int_not_equal(pick(MP_POLICY_SERVICE_TIME), 3);
}

static void service_time_goes_round_among_equals(void **state)
{
	for (unsigned i = 0; i < PATHS; i++)
		learn(i, false, 4 * KIB, 100);
	for (unsigned i = 0; i < 3 * PATHS; i++)
		assert_int_equal(pick(MP_POLICY_SERVICE_TIME), i % PATHS);
}

/* What is out for longer than the path ever took shows what it takes now. */
static void service_time_leaves_who_does_not_answer(void **state)
{
	struct request stuck = {.submitted = sim_now, .data_len = 4 * KIB};

	for (unsigned i = 0; i < PATHS; i++)
		learn(i, false, 4 * KIB, i == 1 ? 10 : 1000);
	TAILQ_INSERT_TAIL(&rig.conn[1].inflight, &stuck, link);
	rig.conn[1].cost = latency_cost(4 * KIB);
	assert_int_equal(pick(MP_POLICY_SERVICE_TIME), 1);
	sim_now += 400 * NSEC_PER_USEC;
	assert_int_equal(pick(MP_POLICY_SERVICE_TIME), 1);
	sim_now += 200 * NSEC_PER_USEC; /* 600 us, two commands' share */
	for (int i = 0; i < 10; i++)
		assert_int_not_equal(pick(MP_POLICY_SERVICE_TIME), 1);
}

/* A path that was slow is tried again after some seconds. */
static void service_time_forgives(void **state)
{
	for (unsigned i = 0; i < PATHS; i++)
		learn(i, false, 4 * KIB, i == 1 ? 100000 : 100);
	for (unsigned tries = 0; pick(MP_POLICY_SERVICE_TIME) != 1; tries++) {
		assert_in_range(tries, 0, 60);
		sim_now += 100 * NSEC_PER_MSEC;
		for (unsigned i = 0; i < PATHS; i++)
			if (i != 1)
				learn(i, false, 4 * KIB, 100);
	}
}

/* ---- ranks ---- */

static unsigned reads(unsigned port)
{
	return fake_ctrls[port].reads;
}

static void read_many(unsigned n)
{
	for (unsigned port = 1; port <= 3; port++)
		fake_ctrls[port].reads = 0;
	while (n--)
		run(nvme_cmd_read, 0);
}

static void set_ana(unsigned port, uint8_t ana_state)
{
	fake_ctrls[port].ana_state = ana_state;
	fake_notice(port, NVME_AER_NOTICE_ANA);
	settle();
}

static void optimized_before_non_optimized(void **state)
{
	struct upstream *b;

	fake_ctrls[1].ana_state = NVME_ANA_STATE_NONOPTIMIZED;
	live_upstream(1);
	b = live_upstream(2);
	assert_int_equal(only_head()->ana_state, NVME_ANA_STATE_OPTIMIZED);
	for (int policy = 0; policy < MP_POLICY_COUNT; policy++) {
		mp_subsys_set_policy(world.ss, (enum mp_policy)policy);
		settle();
		read_many(10);
		assert_int_equal(reads(2), 10);
	}
	set_ana(2, NVME_ANA_STATE_INACCESSIBLE);
	assert_false(only_path(b)->usable);
	assert_int_equal(only_head()->ana_state, NVME_ANA_STATE_NONOPTIMIZED);
	read_many(10);
	assert_int_equal(reads(1), 10);
}

/* A busy path of a better class is waited for. */
static void busy_is_better_than_worse(void **state)
{
	struct upstream *a;

	fake_ctrls[2].ana_state = NVME_ANA_STATE_NONOPTIMIZED;
	a = live_upstream(1);
	live_upstream(2);
	mp_subsys_set_policy(world.ss, MP_POLICY_ROUND_ROBIN);
	settle();
	fake_ctrls[1].stuck = true;
	for (int i = 0; i < 40; i++)
		submit(nvme_cmd_read);
	settle();
	assert_int_equal(out_on(a, 0), 31);
	assert_int_equal(reads(2), 0);
	fake_ctrls[1].stuck = false;
	fake_look(1);
	WAIT_FOR(world.done == 40);
	assert_int_equal(reads(1), 40);
}

static void standby_only_without_others(void **state)
{
	struct upstream_config standby = {.standby = true};
	struct upstream *b;

	live_upstream_with(1, &standby);
	b = live_upstream(2);
	mp_subsys_set_policy(world.ss, MP_POLICY_ROUND_ROBIN);
	settle();
	read_many(10);
	assert_int_equal(reads(2), 10);
	set_ana(2, NVME_ANA_STATE_NONOPTIMIZED); /* still better */
	read_many(10);
	assert_int_equal(reads(2), 10);
	fake_ctrls[2].down = true;
	fake_cut(2);
	WAIT_FOR(b->state == UPSTREAM_WAITING);
	settle();
	assert_int_equal(only_head()->ana_state, NVME_ANA_STATE_OPTIMIZED);
	read_many(10);
	assert_int_equal(reads(1), 10);
}

static void disabled_takes_nothing(void **state)
{
	struct upstream *a = live_upstream(1), *b = live_upstream(2);
	struct answer *out;

	fake_ctrls[1].stuck = true;
	out = submit(nvme_cmd_read);
	path_set_admin(only_path(a), PATH_DISABLED);
	settle();
	assert_non_null(strstr(only_path(a)->reason, "disabled"));
	assert_int_equal(out->times, 0); /* what is on it finishes */
	fake_ctrls[1].stuck = false;
	fake_look(1);
	WAIT_FOR(out->times);
	assert_int_equal(out->status, 0);
	assert_int_equal(reads(1), 1);
	read_many(5);
	assert_int_equal(reads(2), 5);
	path_set_admin(only_path(b), PATH_DISABLED);
	settle();
	assert_int_equal(only_head()->ana_state, NVME_ANA_STATE_INACCESSIBLE);
	out = submit(nvme_cmd_read);
	settle();
	assert_int_equal(out->times, 0);
	path_set_admin(only_path(a), PATH_ENABLED);
	settle();
	assert_int_equal(out->times, 1);
	assert_int_equal(reads(1), 1);
}

/* ---- policies in the engine ---- */

static void weights_of_upstreams(void **state)
{
	struct upstream_config heavy = {.weight = 3};
	struct upstream *a = live_upstream_with(1, &heavy);

	live_upstream(2);
	mp_subsys_set_policy(world.ss, MP_POLICY_ROUND_ROBIN);
	settle();
	read_many(40);
	assert_int_equal(reads(1), 30);
	assert_int_equal(reads(2), 10);
	path_set_weight(only_path(a), 1);
	settle();
	read_many(40);
	assert_int_equal(reads(1), 20);
	assert_int_equal(reads(2), 20);
}

/* Each is used, by all workers, and no command is lost on the way. */
static void switching_while_io_runs(void **state)
{
	live_upstream(1);
	live_upstream(2);
	live_upstream(3);
	fake_ctrls[1].latency = 2 * NSEC_PER_MSEC;
	fake_ctrls[2].latency = 5 * NSEC_PER_MSEC;
	for (unsigned i = 0; i < 600; i++) {
		if (i % 20 == 0)
			mp_subsys_set_policy(world.ss, (enum mp_policy)(i / 20 % MP_POLICY_COUNT));
		if (i % 90 == 0)
			head_set_policy(only_head(), MP_POLICY_ROUND_ROBIN);
		submit_at(i % 2, i % 3 ? nvme_cmd_read : nvme_cmd_write, 8 * (i % 100), 8);
		pass(NSEC_PER_MSEC);
	}
	WAIT_FOR(world.done == 600);
	for (unsigned port = 1; port <= 3; port++)
		assert_in_range(reads(port) + fake_ctrls[port].writes, 50, 500);
	assert_int_equal(totals().retried, 0);
}

static void one_namespace_of_its_own_mind(void **state)
{
	for (unsigned port = 1; port <= 2; port++)
		fake_ctrls[port].ns[2] = (struct fake_ns){true, 1000, 6, 0, false};
	live_upstream(1);
	live_upstream(2);
	head_set_policy(mp_subsys_head(world.ss, 6), MP_POLICY_ROUND_ROBIN);
	settle();
	for (int i = 0; i < 10; i++) {
		submit_to(5, nvme_cmd_read);
		submit_to(6, nvme_cmd_write);
	}
	WAIT_FOR(world.done == 20);
	assert_int_equal(reads(1), 10);
	assert_int_equal(fake_ctrls[1].writes, 5);
	assert_int_equal(fake_ctrls[2].writes, 5);
}

static void service_time_leaves_a_path_that_stops(void **state)
{
	struct upstream *a = live_upstream(1);

	live_upstream(2);
	fake_ctrls[1].latency = 10 * NSEC_PER_MSEC;
	fake_ctrls[2].latency = 30 * NSEC_PER_MSEC;
	mp_subsys_set_policy(world.ss, MP_POLICY_SERVICE_TIME);
	settle();
	read_many(20);
	assert_in_range(reads(1), 15, 20);
	fake_ctrls[1].stuck = true;
	for (int i = 0; i < 100; i++) {
		submit(nvme_cmd_read);
		pass(10 * NSEC_PER_MSEC);
	}
	assert_in_range(out_on(a, 0), 1, 10);
	assert_in_range(world.done, 100, 120);
	fake_ctrls[1].stuck = false;
	fake_look(1);
	WAIT_FOR(world.done == 120);
	read_many(100); /* meanwhile it is forgiven */
	read_many(100);
	assert_in_range(reads(1), 90, 100);
}

/* Worker 0 runs on node 1, worker 1 on node 0. */
static void numa_keeps_workers_on_their_node(void **state)
{
	struct upstream *b;

	fake_ctrls[1].numa = 0 + 1;
	fake_ctrls[2].numa = 1 + 1;
	live_upstream(1);
	b = live_upstream(2);
	mp_subsys_set_policy(world.ss, MP_POLICY_NUMA);
	settle();
	for (int i = 0; i < 10; i++) {
		run_at(0, nvme_cmd_read, 0, 8, 0);
		run_at(1, nvme_cmd_write, 0, 8, 0);
	}
	assert_int_equal(reads(2), 10);
	assert_int_equal(fake_ctrls[1].writes, 10);
	fake_ctrls[2].down = true;
	fake_cut(2);
	WAIT_FOR(b->state == UPSTREAM_WAITING);
	run_at(0, nvme_cmd_read, 0, 8, 0);
	assert_int_equal(reads(1), 1);
}

static void numa_without_nodes_is_failover(void **state)
{
	live_upstream(1);
	fake_ctrls[2].numa = 1 + 1;
	live_upstream(2);
	mp_subsys_set_policy(world.ss, MP_POLICY_NUMA);
	settle();
	run_at(0, nvme_cmd_read, 0, 8, 0);
	run_at(1, nvme_cmd_read, 0, 8, 0);
	assert_int_equal(reads(1), 2);
}

#define RIG(f) cmocka_unit_test_setup_teardown(f, setup_rig, teardown_rig)
#define T(f)   cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
#define TWO(f) cmocka_unit_test_setup_teardown(f, world_setup_two, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		RIG(nobody_picks_what_cannot_be_used),
		RIG(failover_takes_the_first),
		RIG(round_robin_goes_round),
		RIG(round_robin_by_weight),
		RIG(queue_depth_takes_the_emptiest),
		RIG(queue_depth_goes_round_among_equals),
		RIG(numa_takes_the_nearest),
		RIG(service_time_tries_what_it_does_not_know),
		RIG(service_time_takes_the_quickest),
		RIG(service_time_knows_kinds_and_sizes),
		RIG(service_time_by_weight),
		RIG(service_time_goes_round_among_equals),
		RIG(service_time_leaves_who_does_not_answer),
		RIG(service_time_forgives),
		T(optimized_before_non_optimized),
		T(busy_is_better_than_worse),
		T(standby_only_without_others),
		T(disabled_takes_nothing),
		T(weights_of_upstreams),
		TWO(switching_while_io_runs),
		T(one_namespace_of_its_own_mind),
		T(service_time_leaves_a_path_that_stops),
		TWO(numa_keeps_workers_on_their_node),
		TWO(numa_without_nodes_is_failover),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
