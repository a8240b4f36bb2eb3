/* SPDX-License-Identifier: Apache-2.0 */
/* Cross-Controller Reset, as hosts use it after they lost a controller. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "tests/unit/fake_upstream.h"

static struct tgt_qpair *a, *b; /* admin queues of two controllers of one host */

static int setup(void **state)
{
	gw_defaults();
	gw_start(2);
	a = host_controller(FAKE_GW_NQN);
	b = host_controller(FAKE_GW_NQN);
	return 0;
}

static int teardown(void **state)
{
	gw_end();
	return 0;
}

static struct answer *reset(struct tgt_qpair *by, const struct controller_ident *id)
{
	struct nvme_sqe sqe = {
		.opcode = NVME_ADMIN_CROSS_CONTROLLER_RESET,
		.cdw10 = htole32((uint32_t)id->ciu << 16 | id->cntlid),
		.cdw12 = htole32((uint32_t)id->cirn),
		.cdw13 = htole32((uint32_t)(id->cirn >> 32)),
	};

	return host_command(by, &sqe, NULL, 0);
}

static void identify_has_what_the_command_needs(void **state)
{
	const uint8_t *page = host_identify(a, NVME_IDENTIFY_CNS_CTRL, 0)->data;
	const struct controller_ident *id = &host_ctrl(a)->ident;
	uint64_t cirn;

	memcpy(&cirn, page + NVME_ID_CTRL_CIRN, sizeof(cirn));
	assert_int_equal(page[NVME_ID_CTRL_CIU], id->ciu);
	assert_true(le64toh(cirn) == id->cirn && cirn);
	assert_int_not_equal(page[NVME_ID_CTRL_CCRL], 0);
	assert_int_not_equal(id->ciu, host_ctrl(b)->ident.ciu);
}

static void a_living_controller_ends(void **state)
{
	struct tgt_qpair *io = host_io_queue(a, 1);
	struct controller_ident id = host_ctrl(a)->ident;
	struct answer *answer = reset(b, &id);

	assert_int_equal(answer->status, 0);
	assert_int_equal(answer->result, NVME_CCR_DONE);
	/* Not only asked to end: it has. */
	assert_false(host_is_open(a));
	assert_false(host_is_open(io));
	assert_int_equal(gw_ss->nr_controllers, 1);
	assert_true(host_is_open(b));
	/* Once more: it is gone, and that is what was asked for. */
	answer = reset(b, &id);
	assert_int_equal(answer->status, 0);
	assert_int_equal(answer->result, NVME_CCR_DONE);
}

static void one_that_was_lost_before(void **state)
{
	struct controller_ident id = host_ctrl(a)->ident;
	struct answer *answer;

	host_close(a);
	gw_spin(10);
	answer = reset(b, &id);
	assert_int_equal(answer->status, 0);
	assert_int_equal(answer->result, NVME_CCR_DONE);
}

static void others_are_safe(void **state)
{
	struct controller_ident id = host_ctrl(a)->ident, wrong;
	struct connect_args args = host_connect_args();
	struct tgt_qpair *stranger = host_open();

	wrong = id;
	wrong.cirn++;
	assert_int_equal(reset(b, &wrong)->status, NVME_ST_INVALID_FIELD);
	wrong = id;
	wrong.ciu++;
	assert_int_equal(reset(b, &wrong)->status, NVME_ST_INVALID_FIELD);
	wrong = id;
	wrong.cntlid = 999;
	assert_int_equal(reset(b, &wrong)->status, NVME_ST_INVALID_FIELD);
	assert_int_equal(reset(a, &id)->status, NVME_ST_INVALID_FIELD); /* itself */
	/* Another host that knows all there is to know */
	args.hostid_fill = 0x77;
	strcpy(args.hostnqn, "nqn.2014-08.org.example:stranger");
	assert_int_equal(host_connect(stranger, &args)->status, 0);
	host_property_set(stranger, NVMF_PROP_CC, HOST_CC_ENABLE);
	assert_int_equal(reset(stranger, &id)->status, NVME_ST_INVALID_FIELD);
	assert_true(host_is_open(a));
	assert_int_equal(gw_ss->nr_controllers, 3);
}

/* The one who asks goes before the answer. */
static void nobody_left_to_answer(void **state)
{
	struct controller_ident id = host_ctrl(a)->ident;
	struct nvme_sqe sqe = {
		.opcode = NVME_ADMIN_CROSS_CONTROLLER_RESET,
		.cdw10 = htole32((uint32_t)id.ciu << 16 | id.cntlid),
		.cdw12 = htole32((uint32_t)id.cirn),
		.cdw13 = htole32((uint32_t)(id.cirn >> 32)),
	};

	host_io_queue(a, 1);
	host_send(b, &sqe, NULL, 0);
	host_close(b);
	gw_spin(20);
	assert_int_equal(gw_ss->nr_controllers, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(identify_has_what_the_command_needs),
		T(a_living_controller_ends),
		T(one_that_was_lost_before),
		T(others_are_safe),
		T(nobody_left_to_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
