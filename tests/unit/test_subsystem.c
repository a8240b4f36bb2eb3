/* SPDX-License-Identifier: Apache-2.0 */
/* Which namespaces a subsystem exports, under which NSIDs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "tests/unit/fake_upstream.h"

static struct subsys_namespace_cfg namespaces[2];

static void defaults(void)
{
	gw_defaults();
	for (unsigned port = 1; port < 3; port++) {
		fake_ctrls[port].ns[2] = (struct fake_ns){true, 1000, 6, 0, false};
		fake_ctrls[port].ns[3] = (struct fake_ns){true, 1000, 7, 0, false};
	}
	memset(namespaces, 0, sizeof(namespaces));
	for (unsigned i = 0; i < 2; i++) {
		namespaces[i].ident.has_uuid = true;
		memset(namespaces[i].ident.uuid, (int)(6 + i), 16);
	}
}

static int teardown(void **state)
{
	gw_end();
	return 0;
}

static uint32_t nsid_of(uint8_t uuid_fill)
{
	const struct head *h;

	TAILQ_FOREACH(h, &gw_ss->mp->heads, link)
		if (h->ident.uuid[0] == uuid_fill)
			return h->nsid;
	return 0;
}

static int setup_all(void **state)
{
	defaults();
	gw_start(6);
	return 0;
}

static void all_are_exported(void **state)
{
	struct tgt_qpair *admin = host_controller(FAKE_GW_NQN);
	const uint32_t *list;

	list = (const void *)host_identify(admin, NVME_IDENTIFY_CNS_NS_ACTIVE_LIST, 0)->data;
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(le32toh(list[i]), i + 1);
	assert_int_equal(list[3], 0);
}

static int setup_two(void **state)
{
	defaults();
	namespaces[0].nsid = 1;
	gw_subsys_cfg.namespaces = namespaces;
	gw_subsys_cfg.nr_namespaces = 2;
	gw_start(4);
	return 0;
}

static void only_those_configured(void **state)
{
	const struct upstream *up = TAILQ_FIRST(&gw_ss->mp->upstreams);
	const struct path *p;

	assert_int_equal(nsid_of(6), 1);
	assert_int_equal(nsid_of(7), 2);
	assert_int_equal(nsid_of(5), 0);
	TAILQ_FOREACH(p, &up->paths, up_link)
		if (p->nsid == 1)
			assert_non_null(strstr(p->reason, "configuration"));
}

static int setup_beyond(void **state)
{
	defaults();
	namespaces[0].nsid = 1000;
	gw_subsys_cfg.namespaces = namespaces;
	gw_subsys_cfg.nr_namespaces = 2;
	gw_subsys_cfg.max_transfer = 8192;
	gw_start(2);
	return 0;
}

static void nsid_beyond_what_hosts_are_told(void **state)
{
	assert_int_equal(nsid_of(6), 0);
	assert_int_equal(nsid_of(7), 1);
}

static int setup_loop(void **state)
{
	defaults();
	gw_subsys_cfg.cntlid_min = 101; /* of the fake upstream at port 1 */
	gw_subsys_cfg.cntlid_max = 200;
	gw_start(6);
	return 0;
}

/* An upstream that is a controller of ours would be sent its own I/O. */
static void no_upstream_of_itself(void **state)
{
	struct upstream *up = TAILQ_FIRST(&gw_ss->mp->upstreams);
	const struct controller *c = host_ctrl(host_controller(FAKE_GW_NQN));

	assert_int_equal(c->ident.cntlid, 101);
	fake_ctrls[1].subnqn = FAKE_GW_NQN;
	fake_ctrls[1].cirn = c->ident.cirn + 1; /* another gateway's that exports the same */
	upstream_reset(up);
	gw_spin(100);
	assert_int_equal(up->state, UPSTREAM_LIVE);
	fake_ctrls[1].cirn = c->ident.cirn;
	upstream_reset(up);
	gw_spin(20);
	assert_int_not_equal(up->state, UPSTREAM_LIVE);
	assert_non_null(strstr(up->reason, "this gateway itself"));
}

int main(void)
{
#define T(f, with) cmocka_unit_test_setup_teardown(f, with, teardown)
	const struct CMUnitTest tests[] = {
		T(all_are_exported, setup_all),
		T(only_those_configured, setup_two),
		T(nsid_beyond_what_hosts_are_told, setup_beyond),
		T(no_upstream_of_itself, setup_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
