/* SPDX-License-Identifier: Apache-2.0 */
/* Get Features and Set Features. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "tests/unit/fake_upstream.h"

#define NOT_SAVEABLE  (NVME_STATUS(1, NVME_SC_FEATURE_NOT_SAVEABLE) | NVME_DNR)
#define NOT_CHANGABLE (NVME_STATUS(1, NVME_SC_FEATURE_NOT_CHANGEABLE) | NVME_DNR)
#define NOT_PER_NS    (NVME_STATUS(1, NVME_SC_FEATURE_NOT_PER_NS) | NVME_DNR)
#define COMBINATION   (NVME_STATUS(1, NVME_SC_IOCS_COMBINATION_REJECTED) | NVME_DNR)
#define SEQUENCE      (NVME_STATUS(0, NVME_SC_CMD_SEQ_ERROR) | NVME_DNR)

static struct tgt_qpair *admin;
static uint32_t of_nsid; /* of the next commands */

static int setup(void **state)
{
	gw_defaults();
	gw_start(2);
	admin = host_controller(FAKE_GW_NQN);
	of_nsid = 0;
	return 0;
}

static int teardown(void **state)
{
	gw_end();
	return 0;
}

static struct answer *get(uint8_t fid, unsigned sel, uint32_t dw11)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_get_features,
		.nsid = htole32(of_nsid),
		.cdw10 = htole32(sel << 8 | fid),
		.cdw11 = htole32(dw11),
	};

	return host_command(admin, &sqe, NULL, 512);
}

static struct answer *set(uint8_t fid, uint32_t dw11)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_set_features,
		.nsid = htole32(of_nsid),
		.cdw10 = htole32(fid),
		.cdw11 = htole32(dw11),
	};

	return host_command(admin, &sqe, NULL, 0);
}

static void value_is(uint8_t fid, unsigned sel, uint32_t value)
{
	struct answer *a = get(fid, sel, 0);

	assert_int_equal(a->status, 0);
	assert_int_equal(a->result, value);
}

static void which_there_are(void **state)
{
	static const uint8_t there[] = {1, 2, 4, 5, 6, 7, 0xa, 0xb, 0xf, 0x16, 0x19, 0x81};
	static const uint8_t fixed[] = {6, 0x81};

	for (unsigned fid = 0; fid < 256; fid++) {
		bool known = memchr(there, (int)fid, sizeof(there));
		struct answer *a = get((uint8_t)fid, 3, 0);

		assert_int_equal(a->status, known ? 0 : NVME_ST_INVALID_FIELD);
		if (known) /* what may be changed, and per namespace */
			assert_int_equal(a->result,
					 (memchr(fixed, (int)fid, sizeof(fixed)) ? 0 : 4) |
						 (fid == 5 ? 2 : 0));
	}
	assert_int_equal(get(1, 4, 0)->status, NVME_ST_INVALID_FIELD);
}

static void set_and_get(void **state)
{
	static const struct {
		uint8_t fid;
		uint32_t value, dflt;
	} plain[] = {
		{NVME_FEAT_FID_ARBITRATION, 0x01020304, 7},
		{NVME_FEAT_FID_TEMP_THRESH, 300, 343},
		{NVME_FEAT_FID_WRITE_ATOMIC, 1, 0},
		{NVME_FEAT_FID_ASYNC_EVENT, NVME_AEN_NS_ATTR | NVME_AEN_ANA_CHANGE | 1, 0},
	};

	for (unsigned i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		value_is(plain[i].fid, 0, plain[i].dflt);
		assert_int_equal(set(plain[i].fid, plain[i].value)->status, 0);
		value_is(plain[i].fid, 0, plain[i].value);
		value_is(plain[i].fid, 1, plain[i].dflt);
		value_is(plain[i].fid, 2, plain[i].dflt);
	}
	host_property_set(admin, NVMF_PROP_CC, HOST_CC_ENABLE & ~1u);
	host_property_set(admin, NVMF_PROP_CC, HOST_CC_ENABLE);
	for (unsigned i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		value_is(plain[i].fid, 0, plain[i].dflt);
}

static void error_recovery_is_per_namespace(void **state)
{
	uint32_t nsid = gw_nsid();
	static const uint32_t bad[] = {0, 77, 0xfffffffe};

	of_nsid = nsid;
	value_is(NVME_FEAT_FID_ERR_RECOVERY, 0, 0);
	assert_int_equal(set(NVME_FEAT_FID_ERR_RECOVERY, 50)->status, 0);
	value_is(NVME_FEAT_FID_ERR_RECOVERY, 0, 50);
	value_is(NVME_FEAT_FID_ERR_RECOVERY, 1, 0);
	assert_int_equal(set(NVME_FEAT_FID_ERR_RECOVERY, 1 << 16)->status, NVME_ST_INVALID_FIELD);
	for (unsigned i = 0; i < 3; i++) {
		of_nsid = bad[i];
		assert_int_equal(set(NVME_FEAT_FID_ERR_RECOVERY, 50)->status, NVME_ST_INVALID_NS);
		assert_int_equal(get(NVME_FEAT_FID_ERR_RECOVERY, 0, 0)->status, NVME_ST_INVALID_NS);
	}
	of_nsid = NVME_NSID_ALL;
	assert_int_equal(get(NVME_FEAT_FID_ERR_RECOVERY, 0, 0)->status, NVME_ST_INVALID_NS);
	assert_int_equal(set(NVME_FEAT_FID_ERR_RECOVERY, 60)->status, 0);
	of_nsid = nsid;
	value_is(NVME_FEAT_FID_ERR_RECOVERY, 0, 60);
	host_property_set(admin, NVMF_PROP_CC, HOST_CC_ENABLE & ~1u);
	host_property_set(admin, NVMF_PROP_CC, HOST_CC_ENABLE);
	value_is(NVME_FEAT_FID_ERR_RECOVERY, 0, 0);
}

static void bad_values(void **state)
{
	assert_int_equal(set(NVME_FEAT_FID_POWER_MGMT, 0)->status, 0);
	assert_int_equal(set(NVME_FEAT_FID_POWER_MGMT, 1)->status, NVME_ST_INVALID_FIELD);
	assert_int_equal(set(NVME_FEAT_FID_TEMP_THRESH, 1 << 16)->status, NVME_ST_INVALID_FIELD);
	assert_int_equal(set(NVME_FEAT_FID_TEMP_THRESH, 2 << 20)->status, NVME_ST_INVALID_FIELD);
	assert_int_equal(get(NVME_FEAT_FID_TEMP_THRESH, 0, 1 << 16)->status, NVME_ST_INVALID_FIELD);
	assert_int_equal(set(NVME_FEAT_FID_IOCS_PROFILE, 0)->status, 0);
	assert_int_equal(set(NVME_FEAT_FID_IOCS_PROFILE, 1)->status, COMBINATION);
	assert_int_equal(set(NVME_FEAT_FID_ASYNC_EVENT, NVME_AEN_DISC_CHANGE)->status,
			 NVME_ST_INVALID_FIELD);
	assert_int_equal(set(NVME_FEAT_FID_NUM_QUEUES, 0xffff)->status, NVME_ST_INVALID_FIELD);
	assert_int_equal(set(NVME_FEAT_FID_NUM_QUEUES, 0xffff0000)->status, NVME_ST_INVALID_FIELD);
	assert_int_equal(set(NVME_FEAT_FID_HOST_ID, 1)->status, SEQUENCE);
	assert_int_equal(set(NVME_FEAT_FID_VOLATILE_WC, 0)->status, NOT_CHANGABLE);
	assert_int_equal(set(NVME_FEAT_FID_VOLATILE_WC, 1)->status, 0);
}

static void scope_and_saving(void **state)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_set_features,
		.cdw10 = htole32(1u << 31 | NVME_FEAT_FID_KATO),
	};

	assert_int_equal(host_command(admin, &sqe, NULL, 0)->status, NOT_SAVEABLE);
	sqe.cdw10 = htole32(NVME_FEAT_FID_ARBITRATION);
	sqe.nsid = htole32(1);
	assert_int_equal(host_command(admin, &sqe, NULL, 0)->status, NOT_PER_NS);
	sqe.nsid = htole32(NVME_NSID_ALL);
	assert_int_equal(host_command(admin, &sqe, NULL, 0)->status, 0);
}

static void number_of_queues(void **state)
{
	value_is(NVME_FEAT_FID_NUM_QUEUES, 0, 3 << 16 | 3);
	assert_int_equal(set(NVME_FEAT_FID_NUM_QUEUES, 15 << 16 | 15)->result, 3 << 16 | 3);
	assert_int_equal(set(NVME_FEAT_FID_NUM_QUEUES, 1 << 16 | 1)->result, 1 << 16 | 1);
	value_is(NVME_FEAT_FID_NUM_QUEUES, 0, 1 << 16 | 1);
	host_io_queue(admin, 2);
	assert_int_equal(set(NVME_FEAT_FID_NUM_QUEUES, 3 << 16 | 3)->status, SEQUENCE);
}

static void keep_alive(void **state)
{
	assert_int_equal(set(NVME_FEAT_FID_KATO, 4950)->status, 0);
	value_is(NVME_FEAT_FID_KATO, 0, 5000);
	assert_true(host_ctrl(admin)->keep_alive.armed);
	assert_int_equal(set(NVME_FEAT_FID_KATO, 0)->status, 0);
	assert_false(host_ctrl(admin)->keep_alive.armed);
	assert_int_equal(set(NVME_FEAT_FID_KATO, UINT32_MAX)->status, 0);
	value_is(NVME_FEAT_FID_KATO, 0, UINT32_MAX);
}

static void host_id(void **state)
{
	struct answer *a = get(NVME_FEAT_FID_HOST_ID, 0, 1);
	uint8_t want[16];

	memset(want, 7, sizeof(want));
	assert_int_equal(a->status, 0);
	assert_int_equal(a->len, 16);
	assert_memory_equal(a->data, want, 16);
	assert_int_equal(get(NVME_FEAT_FID_HOST_ID, 0, 0)->status, NVME_ST_INVALID_FIELD);
	assert_int_equal(get(NVME_FEAT_FID_HOST_ID, 3, 0)->len, 0);
}

static void host_behavior(void **state)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_set_features,
		.cdw10 = htole32(NVME_FEAT_FID_HOST_BEHAVIOR),
	};
	uint8_t data[512] = {1};

	for (int fetch = 0; fetch < 2; fetch++) {
		host_fetch = fetch;
		data[0] = 1;
		assert_int_equal(host_command(admin, &sqe, data, 512)->status, 0);
		assert_true(host_ctrl(admin)->acre);
		assert_int_equal(get(NVME_FEAT_FID_HOST_BEHAVIOR, 0, 0)->data[0], 1);
		assert_int_equal(get(NVME_FEAT_FID_HOST_BEHAVIOR, 1, 0)->data[0], 0);
		data[0] = 0;
		assert_int_equal(host_command(admin, &sqe, data, 512)->status, 0);
		assert_false(host_ctrl(admin)->acre);
	}
	host_fetch = false;
	data[0] = 2;
	assert_int_equal(host_command(admin, &sqe, data, 512)->status, NVME_ST_INVALID_FIELD);
	assert_int_equal(host_command(admin, &sqe, data, 511)->status,
			 NVME_STATUS(0, NVME_SC_SGL_INVALID_DATA) | NVME_DNR);
}

static void discovery_has_few(void **state)
{
	admin = host_controller(NVMF_DISCOVERY_NQN);
	assert_int_equal(get(NVME_FEAT_FID_NUM_QUEUES, 0, 0)->status, NVME_ST_INVALID_FIELD);
	assert_int_equal(set(NVME_FEAT_FID_ASYNC_EVENT, NVME_AEN_DISC_CHANGE)->status, 0);
	assert_int_equal(set(NVME_FEAT_FID_ASYNC_EVENT, NVME_AEN_NS_ATTR)->status,
			 NVME_ST_INVALID_FIELD);
	/* Without keep-alive it still ends when nobody uses it */
	assert_int_equal(set(NVME_FEAT_FID_KATO, 0)->status, 0);
	assert_true(host_ctrl(admin)->keep_alive.armed);
}

static void admin_opcodes(void **state)
{
	static const uint8_t there[] = {nvme_admin_get_log_page,
					nvme_admin_identify,
					nvme_admin_abort_cmd,
					nvme_admin_set_features,
					nvme_admin_get_features,
					nvme_admin_async_event,
					nvme_admin_keep_alive,
					NVME_OPC_FABRICS,
					NVME_ADMIN_CROSS_CONTROLLER_RESET};
	struct nvme_sqe sqe = {0};

	for (unsigned op = 0; op < 256; op++) {
		if (memchr(there, (int)op, sizeof(there)))
			continue;
		sqe.opcode = (uint8_t)op;
		assert_int_equal(host_command(admin, &sqe, NULL, 0)->status,
				 NVME_ST_INVALID_OPCODE);
	}
	sqe.opcode = nvme_admin_keep_alive;
	assert_int_equal(host_command(admin, &sqe, NULL, 0)->status, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(which_there_are),   T(set_and_get),	   T(error_recovery_is_per_namespace),
		T(bad_values),	      T(scope_and_saving), T(number_of_queues),
		T(keep_alive),	      T(host_id),	   T(host_behavior),
		T(discovery_has_few), T(admin_opcodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
