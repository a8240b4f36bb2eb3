/* SPDX-License-Identifier: Apache-2.0 */
/* Which namespaces of upstreams are one, what hosts are shown of them, and when a path is used. */
#include <stdlib.h>
#include <string.h>

#include "multipath/selector.h"
#include "tests/unit/mp_world.h"

static void two_paths_one_head(void **state)
{
	struct upstream *a = add_upstream(1), *b = add_upstream(2);

	WAIT_FOR(a->state == UPSTREAM_LIVE && b->state == UPSTREAM_LIVE);
	assert_int_equal(world.added, 1);
	assert_ptr_equal(only_path(a)->head, only_path(b)->head);
	WAIT_FOR(only_path(a)->usable && only_path(b)->usable);
	assert_int_equal(only_path(a)->head->nsid, 5);
	settle();
	run(nvme_cmd_read, 0);
	run(nvme_cmd_write, 0);
	assert_int_equal(fake_ctrls[1].reads, 1);
	assert_int_equal(fake_ctrls[1].last_nsid, 1); /* rewritten to the upstream's */
	assert_int_equal(fake_ctrls[2].reads, 0);
}

/* ---- identity ---- */

/* What each of three controllers reports; 0: not. */
static const struct identity_case {
	uint8_t uuid[3], nguid[3];
	unsigned heads;	     /* that come of it */
	const char *refusal; /* of the last, or NULL */
} identity_cases[] = {
	{{5, 5, 5}, {7, 7, 7}, 1, NULL},
	{{5, 6, 7}, {0, 0, 0}, 3, NULL},
	{{5, 6, 0}, {0, 0, 7}, 3, NULL},
	{{5, 5, 5}, {0, 7, 0}, 1, NULL},
	{{5, 5, 0}, {0, 7, 7}, 1, NULL},	   /* the second knows both */
	{{5, 5, 5}, {0, 7, 8}, 1, "only in part"}, /* unlike the second */
	{{5, 6, 5}, {7, 8, 8}, 2, "only in part"}, /* half the first, half the second */
	{{5, 0, 5}, {0, 7, 7}, 2, "two namespaces"},
};

static void identities_are_compared(void **state)
{
	for (size_t i = 0; i < sizeof(identity_cases) / sizeof(identity_cases[0]); i++) {
		const struct identity_case *c = &identity_cases[i];
		struct upstream *last = NULL;

		world_setup(state);
		for (unsigned k = 0; k < 3; k++) {
			fake_ctrls[k + 1].ns[1].uuid_fill = c->uuid[k];
			fake_ctrls[k + 1].ns[1].nguid_fill = c->nguid[k];
			last = live_upstream(k + 1);
		}
		assert_int_equal(world.added, c->heads);
		assert_int_equal(only_path(last)->head != NULL, c->refusal == NULL);
		if (c->refusal)
			assert_non_null(strstr(only_path(last)->reason, c->refusal));
		world_teardown(state);
	}
}

/* Without identifiers it is known by its place, which nobody else can have. */
static void no_identifiers_at_all(void **state)
{
	struct upstream *a, *b;

	fake_ctrls[1].ns[1].uuid_fill = fake_ctrls[2].ns[1].uuid_fill = 0;
	a = live_upstream(1);
	b = live_upstream(2); /* of the same subsystem: a namespace of one NSID is one */
	assert_ptr_equal(only_path(a)->head, only_path(b)->head);
	assert_int_equal(only_path(a)->head->nsid, 201);
}

static void refusals(void **state)
{
	struct upstream *b, *c, *d;

	fake_ctrls[2].ns[1].nsze = 2000;
	fake_ctrls[3].ns[1].private = true;
	fake_ctrls[4].ns[2] = fake_ctrls[4].ns[1]; /* twice on one upstream */
	live_upstream(1);
	b = live_upstream(2);
	c = live_upstream(3);
	d = live_upstream(4);
	assert_false(only_path(b)->usable);
	assert_non_null(strstr(only_path(b)->reason, "size"));
	assert_null(only_path(c)->head);
	assert_non_null(strstr(only_path(c)->reason, "NMIC"));
	assert_true(only_path(d)->usable);
	assert_null(TAILQ_NEXT(only_path(d), up_link)->head);
	assert_int_equal(world.added, 1);
}

/* That it is refused again is nothing new. */
static void refused_since(void **state)
{
	struct upstream *up;
	uint64_t since;

	fake_ctrls[2].ns[1].private = true;
	live_upstream(1);
	up = live_upstream(2);
	assert_null(only_path(up)->head);
	since = only_path(up)->changed;
	pass(NSEC_PER_SEC);
	fake_notice(2, NVME_AER_NOTICE_NS_CHANGED);
	settle();
	assert_null(only_path(up)->head);
	assert_true(only_path(up)->changed == since);
}

/* Of what the configuration wants, or will be well in a moment, no error is logged. */
static void refusals_that_are_no_errors(void **state)
{
	unsigned errors = sim_errors;
	struct upstream *up;

	world.refusal = (struct mp_refusal){"not now", .expected = true};
	up = live_upstream(1);
	assert_string_equal(only_path(up)->reason, "not now");
	assert_int_equal(sim_errors, errors);
	world.refusal = (struct mp_refusal){.reason = "no room"};
	mp_subsys_reconsider(world.ss);
	assert_string_equal(only_path(up)->reason, "no room");
	assert_int_equal(sim_errors, errors + 1);
	world.refusal.reason = NULL;
	mp_subsys_reconsider(world.ss);
	settle();
	assert_true(only_path(up)->usable);
}

/* Refused for a while is not what it will be, refused for good is; and neither is about to be used.
 */
static void refusals_that_pass(void **state)
{
	struct upstream *up;
	const struct path *p;

	world.refusal = (struct mp_refusal){"not now", .passing = true};
	up = live_upstream(1);
	p = only_path(up);
	assert_true(path_is_passing(p));
	world.refusal = (struct mp_refusal){.reason = "no room"};
	mp_subsys_reconsider(world.ss);
	assert_false(path_is_passing(p));
	world.refusal.reason = NULL;
	mp_subsys_reconsider(world.ss);
	assert_false(p->usable); /* not before all workers know of it */
	assert_true(path_is_passing(p));
	settle();
	assert_true(p->usable);
	assert_false(path_is_passing(p));
}

static void identity_change_cuts_the_path(void **state)
{
	struct upstream *a = live_upstream(1), *b = live_upstream(2);

	fake_ctrls[1].ns[1].uuid_fill = 6;
	fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
	WAIT_FOR(world.added == 2);
	assert_int_equal(only_path(a)->head->nsid, 6);
	assert_int_equal(only_path(b)->head->nsid, 5);
	settle();
	run(nvme_cmd_write, 0);
	assert_int_equal(fake_ctrls[1].writes, 0);
	assert_int_equal(fake_ctrls[2].writes, 1);
}

/* What it says from now on has to agree with what the other paths of the namespace say. */
static void a_path_that_says_more_is_compared_with_all(void **state)
{
	struct upstream *a, *b;

	fake_ctrls[2].ns[1].nguid_fill = 7;
	a = live_upstream(1);
	b = live_upstream(2);
	assert_ptr_equal(only_path(a)->head, only_path(b)->head);
	fake_ctrls[1].ns[1].nguid_fill = 8;
	fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
	settle();
	assert_null(only_path(a)->head);
	assert_non_null(strstr(only_path(a)->reason, "only in part"));
	run(nvme_cmd_write, 0);
	assert_int_equal(fake_ctrls[1].writes, 0);
	fake_ctrls[1].ns[1].nguid_fill = 7;
	fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
	settle();
	assert_true(only_path(a)->usable);
}

static void what_a_path_says_later_counts_too(void **state)
{
	struct upstream *a = live_upstream(1), *b, *c;

	fake_ctrls[1].ns[1].nguid_fill = 7;
	fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
	settle();
	assert_true(only_path(a)->usable);
	fake_ctrls[2].ns[1].uuid_fill = 0;
	fake_ctrls[2].ns[1].nguid_fill = 7;
	b = live_upstream(2);
	assert_ptr_equal(only_path(a)->head, only_path(b)->head);
	fake_ctrls[3].ns[1].nguid_fill = 8;
	c = live_upstream(3);
	assert_null(only_path(c)->head);
	assert_int_equal(world.added, 1);
}

/* A controller that for once does not say what it has: what is known stays. */
static void identify_that_fails_changes_nothing(void **state)
{
	const uint16_t error = NVME_STATUS(0, NVME_SC_INTERNAL);
	struct upstream *a = live_upstream(1);
	struct path *p = only_path(a);

	for (int i = 0; i < 2; i++) {
		fake_ctrls[1].idns_status = i == 0 ? error : 0;
		fake_ctrls[1].descs_status = i == 1 ? error : 0;
		fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
		settle();
		assert_false(a->assoc->scan_busy);
		assert_ptr_equal(only_path(a), p);
		assert_true(p->usable);
		run(nvme_cmd_read, 0);
	}
	assert_int_equal(world.added, 1);
	assert_int_equal(world.removed, 0);
	/* but that it is gone is believed */
	fake_ctrls[1].idns_status = NVME_ST_INVALID_NS;
	fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
	WAIT_FOR(world.removed == 1);
}

static void no_io_for_a_while(struct upstream *up)
{
	struct path *p = only_path(up);

	assert_int_equal(p->head->nsid, 5);
	assert_false(p->usable);
	assert_non_null(strstr(p->reason, "has not said what it is"));
	run(nvme_cmd_write, 0);
	run(nvme_cmd_flush, 0);
	assert_int_equal(fake_ctrls[1].writes + fake_ctrls[1].flushes, 0);
}

/* What the NSID was before the connection was made is no more than a guess. */
static void a_new_connection_has_to_say_what_it_leads_to(void **state)
{
	static const uint16_t errors[] = {
		NVME_STATUS(0, NVME_SC_NS_NOT_READY),
		NVME_STATUS(0, NVME_SC_INTERNAL) | NVME_DNR,
	};
	struct upstream *up;

	for (int i = 0; i < 4; i++) {
		world_setup(state);
		up = live_upstream(1);
		live_upstream(2);
		fake_ctrls[1].ns[1].uuid_fill = 6;
		fake_ctrls[1].idns_status = i < 2 ? errors[i] : 0;
		fake_ctrls[1].descs_status = i < 2 ? 0 : errors[i - 2];
		fake_cut(1);
		WAIT_FOR(up->losses);
		WAIT_FOR(up->state == UPSTREAM_LIVE);
		no_io_for_a_while(up);
		pass(600 * NSEC_PER_SEC);
		no_io_for_a_while(up);
		fake_ctrls[1].idns_status = fake_ctrls[1].descs_status = 0;
		WAIT_FOR(world.added == 2);
		assert_int_equal(only_path(up)->head->nsid, 6);
		world_teardown(state);
	}
}

/* It is what it was, and now that it says so it is used again. */
static void said_late_is_soon_enough(void **state)
{
	struct upstream *up = live_upstream(1);
	struct answer *flush;

	fake_ctrls[1].idns_status = NVME_STATUS(0, NVME_SC_NS_NOT_READY);
	fake_cut(1);
	WAIT_FOR(up->losses);
	WAIT_FOR(up->state == UPSTREAM_LIVE);
	flush = submit(nvme_cmd_flush);
	settle();
	assert_int_equal(flush->times, 0);
	fake_ctrls[1].idns_status = 0;
	WAIT_FOR(only_path(up)->usable);
	WAIT_FOR(flush->times);
	assert_int_equal(flush->status, 0);
	run(nvme_cmd_write, 0);
	assert_int_equal(world.added, 1);
	assert_false(up->assoc->rescan.armed);
}

/* No event tells that a namespace can be asked again. */
static void a_namespace_that_fails_once_is_asked_again(void **state)
{
	struct upstream *up;

	fake_ctrls[1].ns[2] = (struct fake_ns){true, 1000, 6, 0, false};
	fake_ctrls[1].descs_status = NVME_STATUS(0, NVME_SC_INTERNAL);
	up = live_upstream(1);
	assert_true(TAILQ_EMPTY(&up->paths));
	pass(3 * NSEC_PER_SEC);
	fake_ctrls[1].descs_status = 0;
	WAIT_FOR(world.added == 2);
	assert_false(up->assoc->rescan.armed);
}

/* Not for ever, and not when the controller says that it is of no use. */
static void asking_again_ends(void **state)
{
	struct upstream *up;

	fake_ctrls[1].idns_status = NVME_STATUS(0, NVME_SC_INTERNAL);
	up = live_upstream(1);
	pass(100 * NSEC_PER_SEC);
	assert_true(up->assoc->rescan.armed);
	pass(100 * NSEC_PER_SEC);
	assert_false(up->assoc->rescan.armed);
	fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
	settle();
	assert_true(up->assoc->rescan.armed);
	fake_ctrls[1].idns_status |= NVME_DNR;
	pass(10 * NSEC_PER_SEC);
	assert_false(up->assoc->rescan.armed);
	assert_true(TAILQ_EMPTY(&up->paths));
}

/* Controllers before NVMe 1.3 have no descriptors, and say so. */
static void descriptors_are_optional(void **state)
{
	struct upstream *a;

	fake_ctrls[1].descs_status = NVME_ST_INVALID_FIELD;
	a = live_upstream(1);
	assert_true(only_path(a)->usable);
	assert_int_equal(only_path(a)->head->nsid, 201);
}

/* ---- size, coming and going ---- */

static void atomic(unsigned port, uint16_t units, uint16_t boundary)
{
	fake_ctrls[port].idns.nsfeat = NVME_NS_FEAT_NATOMIC | NVME_NS_FEAT_IO_OPT;
	fake_ctrls[port].idns.nawun = htole16(units);
	fake_ctrls[port].idns.nawupf = htole16(units);
	fake_ctrls[port].idns.nacwu = htole16(units);
	fake_ctrls[port].idns.nabsn = htole16(boundary);
	fake_ctrls[port].idns.dlfeat = 9;
}

static void what_holds_over_all_paths(void **state)
{
	const struct nvme_id_ns *told;

	atomic(1, 31, 63);
	atomic(2, 15, 63);
	fake_ctrls[2].idns.nsattr = 1;
	live_upstream(1);
	live_upstream(2);
	told = &only_head()->idns;
	assert_int_equal(told->nsfeat, NVME_NS_FEAT_NATOMIC | NVME_NS_FEAT_IO_OPT);
	assert_int_equal(le16toh(told->nawun), 15);
	assert_int_equal(le16toh(told->nawupf), 15);
	assert_int_equal(le16toh(told->nabsn), 63);
	assert_int_equal(told->dlfeat, 9);
	assert_int_equal(told->nsattr, 1);
	/* Without common boundaries a write of 16 blocks may cross those of one path. */
	atomic(3, 63, 0);
	fake_ctrls[3].idns.dlfeat = 10;
	fake_ctrls[3].idns.nsfeat = NVME_NS_FEAT_NATOMIC;
	live_upstream(3);
	assert_int_equal(told->nsfeat, NVME_NS_FEAT_NATOMIC);
	assert_int_equal(le16toh(told->nabsn), 0);
	assert_int_equal(le16toh(told->nawun), 0);
	assert_int_equal(le16toh(told->nawupf), 0);
	assert_int_equal(le16toh(told->nacwu), 0);
	assert_int_equal(told->dlfeat, 0);
}

static void grow(void **state)
{
	struct upstream *a = live_upstream(1), *b = live_upstream(2);

	world.changed = 0;
	fake_ctrls[1].ns[1].nsze = 5000;
	fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
	WAIT_FOR(!only_path(a)->usable); /* alone with the new size */
	settle();
	run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[2].reads, 1);
	fake_ctrls[2].ns[1].nsze = 5000;
	fake_notice(2, NVME_AER_NOTICE_NS_CHANGED);
	WAIT_FOR(only_path(a)->usable && only_path(b)->usable);
	assert_int_equal(only_head()->geo.nsze, 5000);
	assert_int_equal(world.changed, 1);
	assert_int_equal(le64toh(only_head()->idns.nsze), 5000);
	run(nvme_cmd_read, 0);
}

static void namespace_comes_and_goes(void **state)
{
	struct upstream *a = live_upstream(1);

	fake_ctrls[1].ns[1].present = false;
	fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
	WAIT_FOR(world.removed == 1);
	settle();
	assert_null(mp_lookup(world.ss, 0, 5));
	fake_ctrls[1].ns[2] = (struct fake_ns){true, 1000, 5, 0, false};
	fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
	WAIT_FOR(world.added == 2);
	WAIT_FOR(mp_lookup(world.ss, 0, 5) && only_path(a)->usable);
	settle();
	run(nvme_cmd_read, 0);
	assert_int_equal(fake_ctrls[1].last_nsid, 2);
}

static int setup_delayed_removal(void **state)
{
	struct mp_subsys_config cfg = world_config();

	cfg.delayed_removal = 10 * NSEC_PER_SEC;
	cfg.no_path_timeout = 60 * NSEC_PER_SEC;
	world_start(1, &cfg);
	return 0;
}

static void show(unsigned port, bool present)
{
	fake_ctrls[port].ns[1].present = present;
	fake_notice(port, NVME_AER_NOTICE_NS_CHANGED);
	settle();
}

static void namespace_outlives_its_last_path(void **state)
{
	struct upstream *a = live_upstream(1);
	struct head *head = only_head();
	struct answer *write;

	show(1, false);
	assert_true(TAILQ_EMPTY(&a->paths));
	assert_int_equal(head->ana_state, NVME_ANA_STATE_INACCESSIBLE);
	write = submit(nvme_cmd_write);
	pass(9 * NSEC_PER_SEC);
	assert_int_equal(write->times, 0);
	show(1, true); /* in time */
	WAIT_FOR(write->times);
	assert_int_equal(write->status, 0);
	pass(20 * NSEC_PER_SEC);
	assert_int_equal(world.added, 1);
	assert_int_equal(world.removed, 0);
	assert_ptr_equal(only_head(), head);
	assert_int_equal(head->ana_state, NVME_ANA_STATE_OPTIMIZED);
	run(nvme_cmd_read, 0);
}

static void namespace_outlives_its_last_path_for_a_while(void **state)
{
	struct upstream *a = live_upstream(1);
	struct answer *write;

	upstream_remove(a);
	settle();
	write = submit(nvme_cmd_write);
	pass(9 * NSEC_PER_SEC);
	assert_int_equal(world.removed, 0);
	assert_int_equal(write->times, 0);
	WAIT_FOR(write->times);
	assert_int_equal(write->status, NVME_ST_INVALID_NS);
	assert_int_equal(world.removed, 1);
	settle();
	assert_null(mp_lookup(world.ss, 0, 5));
	live_upstream(2); /* too late: it is a new one */
	assert_int_equal(world.added, 2);
	run(nvme_cmd_read, 0);
}

/* ---- ANA groups ---- */

/* In group 2 of both controllers, besides the one in group 1. */
static void many_namespaces(struct upstream *up[2])
{
	for (unsigned port = 1; port <= 2; port++) {
		fake_ctrls[port].ana_state_2 = NVME_ANA_STATE_OPTIMIZED;
		for (uint32_t nsid = 2; nsid <= FAKE_MAX_NS; nsid++) {
			fake_ctrls[port].ns[nsid] =
				(struct fake_ns){true, 1000, (uint8_t)(nsid + 10), 0, false};
			fake_ctrls[port].group[nsid] = 2;
		}
	}
	up[0] = live_upstream(1);
	up[1] = live_upstream(2);
	assert_int_equal(world.added, FAKE_MAX_NS);
}

static void remember_views(const struct view *views[2][FAKE_MAX_NS])
{
	const struct head *h;
	unsigned i = 0;

	TAILQ_FOREACH(h, &world.ss->heads, link) {
		for (unsigned w = 0; w < 2; w++)
			views[w][i] = h->hw[w]->view;
		i++;
	}
}

static void move_group(unsigned port, uint8_t ana_state)
{
	for (unsigned w = 0; w < 2; w++)
		sim_stall(world.worker[w]);
	fake_ctrls[port].ana_state_2 = ana_state;
	fake_notice(port, NVME_AER_NOTICE_ANA);
	settle();
	/* All namespaces in one message to each worker. */
	for (unsigned w = 0; w < 2; w++) {
		assert_int_equal(sim_overdue(world.worker[w]), 1);
		sim_resume(world.worker[w]);
	}
	settle();
}

static void assert_ranks(struct upstream *up, uint8_t rank)
{
	struct path *p;

	TAILQ_FOREACH(p, &up->paths, up_link) {
		uint8_t want = p->nsid == 1 ? RANK_OPTIMIZED : rank;

		assert_int_equal(p->rank, want);
		assert_int_equal(p->usable, want != RANK_NONE);
		for (unsigned w = 0; w < 2; w++)
			assert_int_equal(p->head->hw[w]->view->e[up->cfg.name[2] - '1'].rank, want);
	}
}

static void groups_move_in_bulk(void **state)
{
	const struct view *before[2][FAKE_MAX_NS], *after[2][FAKE_MAX_NS];
	struct upstream *up[2];

	many_namespaces(up);
	remember_views(before);
	world.ana_changed = 0;
	move_group(1, NVME_ANA_STATE_INACCESSIBLE);
	assert_ranks(up[0], RANK_NONE);
	assert_ranks(up[1], RANK_OPTIMIZED);
	assert_int_equal(world.ana_changed, 0); /* hosts see no difference */
	move_group(2, NVME_ANA_STATE_NONOPTIMIZED);
	assert_ranks(up[1], RANK_NONOPTIMIZED);
	assert_int_equal(world.ana_changed, FAKE_MAX_NS - 1);
	move_group(1, NVME_ANA_STATE_OPTIMIZED);
	assert_ranks(up[0], RANK_OPTIMIZED);
	assert_int_equal(world.ana_changed, 2 * (FAKE_MAX_NS - 1));
	/* Nothing else of the views has changed, so none was made anew. */
	remember_views(after);
	assert_memory_equal(before, after, sizeof(before));
}

static void a_group_that_goes_nowhere_costs_nothing(void **state)
{
	struct upstream *up[2];

	many_namespaces(up);
	for (unsigned w = 0; w < 2; w++)
		sim_stall(world.worker[w]);
	fake_notice(1, NVME_AER_NOTICE_ANA);
	settle();
	for (unsigned w = 0; w < 2; w++)
		assert_int_equal(sim_overdue(world.worker[w]), 0);
}

/*
 * A log that is read in several parts changes between them. No event tells of that: the one that
 * has been told is not done with before the log has been read.
 */
static void groups_that_move_while_the_log_is_read(void **state)
{
	struct upstream *up;

	fake_ctrls[1].mnan = 2000;
	fake_ctrls[1].ana_state = NVME_ANA_STATE_INACCESSIBLE;
	fake_ctrls[1].ana_state_moved = NVME_ANA_STATE_OPTIMIZED;
	fake_ctrls[1].ana_moves = 1;
	up = live_upstream(1);
	assert_int_equal(fake_ctrls[1].ana_reads, 4); /* each time the beginning twice */
	assert_true(only_path(up)->usable);
	run(nvme_cmd_read, 0);
}

/* It is read until it stands still for once, but not all the time. */
static void a_log_that_does_not_stand_still(void **state)
{
	struct upstream *up = add_upstream(1);

	fake_ctrls[1].mnan = 2000;
	fake_ctrls[1].ana_state_moved = NVME_ANA_STATE_NONOPTIMIZED;
	fake_ctrls[1].ana_moves = 1000;
	pass(NSEC_PER_SEC);
	assert_int_equal(up->state, UPSTREAM_CONNECTING);
	assert_in_range(fake_ctrls[1].ana_reads, 20, 100);
	fake_ctrls[1].ana_moves = 1;
	WAIT_FOR(up->state == UPSTREAM_LIVE);
	settle();
	assert_int_equal(only_path(up)->rank, RANK_NONOPTIMIZED);
	/* and one that is known already is not lost by it */
	fake_ctrls[1].ana_state_moved = NVME_ANA_STATE_OPTIMIZED;
	fake_ctrls[1].ana_moves = 20;
	fake_notice(1, NVME_AER_NOTICE_ANA);
	WAIT_FOR(only_path(up)->rank == RANK_OPTIMIZED);
	assert_int_equal(up->losses, 0);
}

/* ---- all workers know of a path before one of them uses it ---- */

static void no_io_before_all_workers_know(void **state)
{
	struct upstream *a = live_upstream(1), *b;
	struct answer *early[2];

	mp_subsys_set_policy(world.ss, MP_POLICY_ROUND_ROBIN);
	settle();
	b = add_upstream(2);
	WAIT_FOR(b->assoc->conns_up == 1);
	sim_stall(world.worker[1]); /* before it knows of the association */
	pass(NSEC_PER_SEC);
	sim_resume(world.worker[1]);
	WAIT_FOR(b->state == UPSTREAM_LIVE);
	sim_stall(world.worker[1]);
	pass(NSEC_PER_SEC);
	assert_false(only_path(b)->usable);
	assert_non_null(strstr(only_path(b)->reason, "about to be used"));
	for (int i = 0; i < 10; i++)
		run_at(0, nvme_cmd_write, 8 * i, 8, 0);
	assert_int_equal(fake_ctrls[1].writes, 10);
	assert_int_equal(fake_ctrls[2].writes, 0);
	/* not even when there is no other */
	path_set_admin(only_path(a), PATH_DISABLED);
	settle();
	early[0] = submit_at(0, nvme_cmd_write, 0, 8);
	pass(NSEC_PER_SEC);
	assert_int_equal(early[0]->times, 0);
	sim_resume(world.worker[1]);
	WAIT_FOR(only_path(b)->usable);
	WAIT_FOR(early[0]->times);
	early[1] = submit_at(1, nvme_cmd_write, 0, 8);
	WAIT_FOR(early[1]->times);
	assert_int_equal(early[0]->status | early[1]->status, 0);
	assert_int_equal(fake_ctrls[2].writes, 2);
}

/* It may have been lost again before they answered: then that answer is of no worth. */
static void answers_about_a_lost_association_do_not_count(void **state)
{
	struct upstream *a = live_upstream(1);
	uint64_t first;

	fake_cut(1);
	WAIT_FOR(a->state == UPSTREAM_WAITING);
	WAIT_FOR(a->state == UPSTREAM_LIVE);
	sim_stall(world.worker[1]);
	settle();
	first = only_path(a)->announcing;
	assert_true(first);
	fake_cut(1); /* on the worker that runs */
	WAIT_FOR(a->state == UPSTREAM_WAITING);
	pass(NSEC_PER_SEC);
	assert_false(only_path(a)->usable);
	sim_resume(world.worker[1]);
	WAIT_FOR(a->state == UPSTREAM_LIVE);
	WAIT_FOR(only_path(a)->usable);
	run_at(0, nvme_cmd_read, 0, 8, 0);
	run_at(1, nvme_cmd_read, 0, 8, 0);
}

#define T(f)   cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
#define TWO(f) cmocka_unit_test_setup_teardown(f, world_setup_two, world_teardown)
#define DEL(f) cmocka_unit_test_setup_teardown(f, setup_delayed_removal, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(two_paths_one_head),
		cmocka_unit_test(identities_are_compared),
		T(no_identifiers_at_all),
		T(refusals),
		T(refused_since),
		T(refusals_that_are_no_errors),
		T(refusals_that_pass),
		T(identity_change_cuts_the_path),
		T(a_path_that_says_more_is_compared_with_all),
		T(what_a_path_says_later_counts_too),
		T(identify_that_fails_changes_nothing),
		cmocka_unit_test(a_new_connection_has_to_say_what_it_leads_to),
		T(said_late_is_soon_enough),
		T(a_namespace_that_fails_once_is_asked_again),
		T(asking_again_ends),
		T(descriptors_are_optional),
		T(what_holds_over_all_paths),
		T(grow),
		T(namespace_comes_and_goes),
		DEL(namespace_outlives_its_last_path),
		DEL(namespace_outlives_its_last_path_for_a_while),
		TWO(groups_move_in_bulk),
		TWO(a_group_that_goes_nowhere_costs_nothing),
		T(groups_that_move_while_the_log_is_read),
		T(a_log_that_does_not_stand_still),
		TWO(no_io_before_all_workers_know),
		TWO(answers_about_a_lost_association_do_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
