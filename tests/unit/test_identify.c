/* SPDX-License-Identifier: Apache-2.0 */
/* Identify, as hosts read it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "tests/unit/fake_host.h"
#include "tests/unit/fake_upstream.h"

static struct tgt_qpair *admin;

static int setup(void **state)
{
	gw_defaults();
	gw_start(2);
	admin = host_controller(FAKE_GW_NQN);
	return 0;
}

static int teardown(void **state)
{
	gw_end();
	return 0;
}

static const void *identify(uint8_t cns, uint32_t nsid)
{
	struct answer *a = host_identify(admin, cns, nsid);

	assert_int_equal(a->status, 0);
	assert_int_equal(a->len, 4096);
	return a->data;
}

static uint16_t identify_status(uint8_t cns, uint32_t nsid)
{
	return host_identify(admin, cns, nsid)->status;
}

static bool all_zero(const void *p)
{
	const uint8_t *b = p;

	for (unsigned i = 0; i < 4096; i++)
		if (b[i])
			return false;
	return true;
}

/* What the Linux host refuses to live without. */
static void controller_for_linux(void **state)
{
	const struct nvme_id_ctrl *id = identify(NVME_IDENTIFY_CNS_CTRL, 0);
	uint32_t nanagrpid = le32toh(id->nanagrpid), mnan = le32toh(id->mnan);

	assert_int_equal(le16toh(id->cntlid), host_ctrl(admin)->ident.cntlid);
	assert_int_not_equal(le16toh(id->kas), 0);
	assert_int_equal(le32toh(id->ioccsz), (64 + 8192) / 16);
	assert_int_equal(le32toh(id->iorcsz), 1);
	assert_int_equal(le16toh(id->icdoff), 0);
	assert_int_equal(id->fcatt & 1, 0);
	assert_int_equal(id->msdbd, 1);
	assert_int_equal(le16toh(id->crdt1), MP_PUT_OFF_CRDT);
	assert_int_equal(le16toh(id->maxcmd), 128);
	assert_int_equal(id->cntrltype, NVME_CTRL_CNTRLTYPE_IO);
	assert_int_equal(id->cmic, NVME_CTRL_CMIC_MULTI_PORT | NVME_CTRL_CMIC_MULTI_CTRL |
					   NVME_CTRL_CMIC_MULTI_ANA_REPORTING);
	assert_string_equal(id->subnqn, FAKE_GW_NQN);
	assert_int_equal(le32toh(id->ver), 0x20000);
	assert_int_equal(id->sqes, 0x66);
	assert_int_equal(id->cqes, 0x44);
	assert_int_not_equal(mnan, 0);
	assert_true(mnan <= le32toh(id->nn));
	assert_int_equal(nanagrpid, le32toh(id->anagrpmax));
	assert_true(16 + 32 * nanagrpid + 4 * mnan <= 4096u << id->mdts);
	assert_int_equal(le32toh(id->oaes), NVME_AEN_NS_ATTR | NVME_AEN_ANA_CHANGE);
	assert_int_equal(le32toh(id->sgls) & 3, 1);
	assert_true(le32toh(id->ctratt) & NVME_CTRL_CTRATT_TBKAS);
	assert_memory_equal(id->sn, "SERIAL              ", 20);
	assert_int_equal(memcmp(id->mn, "MODEL     ", 10), 0);
	assert_int_equal(id->fr[5], ' ');
}

/* The fake upstreams have Write Zeroes and a volatile cache. */
static void controller_within_upstream_limits(void **state)
{
	const struct nvme_id_ctrl *id = identify(NVME_IDENTIFY_CNS_CTRL, 0);

	assert_int_equal(id->mdts, 8); /* 1 MiB */
	assert_int_equal(le16toh(id->oncs),
			 NVME_CTRL_ONCS_WRITE_ZEROES | NVME_CTRL_ONCS_SAVE_FEATURES);
	assert_true(id->vwc & NVME_CTRL_VWC_PRESENT);
	assert_int_equal(id->vwc >> 1 & 3, 2);
	assert_int_equal(gw_ss->mp->promised.max_transfer, 1 << 20);
}

static uint16_t quiesce_time(void)
{
	const uint8_t *id = identify(NVME_IDENTIFY_CNS_CTRL, 0);

	return (uint16_t)(id[NVME_ID_CTRL_CQT] | id[NVME_ID_CTRL_CQT + 1] << 8);
}

/* As long as a command may be out to an upstream, and its upstream may go on after that. */
static int setup_quiesce(void **state)
{
	gw_defaults();
	fake_ctrls[1].cqt = 1000;
	for (unsigned i = 0; i < 2; i++) {
		gw_upstream_cfg[i].mp.io_timeout = (3 - i) * NSEC_PER_SEC;
		gw_upstream_cfg[i].mp.keep_alive_tmo = 4 * NSEC_PER_SEC;
	}
	gw_start(2);
	admin = host_controller(FAKE_GW_NQN);
	return 0;
}

static void quiesce_time_is_the_upstreams(void **state)
{
	struct upstream *up = TAILQ_FIRST(&gw_ss->mp->upstreams);

	assert_int_equal(quiesce_time(), 3000 + 1500 + 2 * 4000 + 1000);
	up->have_idctrl = false; /* nothing is known of its keep-alive */
	assert_int_equal(quiesce_time(), 3000 + 1500 + 3 * 4000);
	up->cfg.transport = &ini_fake_local;
	assert_int_equal(quiesce_time(), 2000 + 1000 + 2 * 4000);
	up->cfg.transport = &ini_fake;
	up->cfg.io_timeout = 60 * NSEC_PER_SEC;
	assert_int_equal(quiesce_time(), UINT16_MAX);
	up->cfg.io_timeout = 0;
	assert_int_equal(quiesce_time(), UINT16_MAX);
	up->cfg.io_timeout = 3 * NSEC_PER_SEC;
	up->have_idctrl = true;
}

static int setup_small(void **state)
{
	gw_defaults();
	fake_ctrls[2].mdts = 5; /* 128 KiB */
	gw_start(2);
	admin = host_controller(FAKE_GW_NQN);
	return 0;
}

static void smallest_mdts_counts(void **state)
{
	const struct nvme_id_ctrl *id = identify(NVME_IDENTIFY_CNS_CTRL, 0);

	assert_int_equal(id->mdts, 5);
	assert_int_equal(gw_ss->mp->promised.max_transfer, 128 << 10);
}

/* Verify is there in one of them only, and Write Zeroes in both, each in its way. */
static int setup_bounded(void **state)
{
	gw_defaults();
	fake_ctrls[1].oncs = NVME_CTRL_ONCS_VERIFY | NVME_CTRL_ONCS_DSM;
	fake_ctrls[1].nvm.vsl = 5;
	fake_ctrls[1].nvm.wzsl = 9;
	fake_ctrls[2].oncs = NVME_CTRL_ONCS_DSM;
	fake_ctrls[2].no_write_zeroes = true;
	fake_ctrls[2].nvm.wzsl = 8;
	fake_ctrls[2].nvm.dmrl = 16;
	gw_start(2);
	admin = host_controller(FAKE_GW_NQN);
	return 0;
}

static void size_limits_of_all_upstreams(void **state)
{
	const struct nvme_id_ctrl_nvm *nvm = identify(NVME_IDENTIFY_CNS_CSI_CTRL, 0);
	const struct nvme_id_ctrl *id;

	assert_int_equal(nvm->vsl, 0);
	assert_int_equal(nvm->wzsl, 8);
	assert_int_equal(nvm->dmrl, 16);
	id = identify(NVME_IDENTIFY_CNS_CTRL, 0);
	assert_int_equal(le16toh(id->oncs), NVME_CTRL_ONCS_DSM | NVME_CTRL_ONCS_SAVE_FEATURES);
	assert_int_equal(gw_ss->mp->promised.bounded, NVME_CTRL_ONCS_WRITE_ZEROES);
	assert_int_equal(gw_ss->mp->promised.write_zeroes, 20);
}

static int setup_small_config(void **state)
{
	gw_defaults();
	gw_subsys_cfg.max_transfer = 16384;
	gw_start(2);
	admin = host_controller(FAKE_GW_NQN);
	return 0;
}

static void ana_log_fits_a_small_transfer(void **state)
{
	const struct nvme_id_ctrl *id = identify(NVME_IDENTIFY_CNS_CTRL, 0);

	assert_int_equal(id->mdts, 2);
	assert_true(16 + 36 * le32toh(id->nn) <= 16384);
	assert_true(le32toh(id->nn) > 400);
}

static void namespace_is_rewritten(void **state)
{
	uint32_t nsid = gw_nsid();
	const struct nvme_id_ns *ns = identify(NVME_IDENTIFY_CNS_NS, nsid);

	assert_int_equal(le64toh(ns->nsze), 1000);
	assert_int_equal(ns->lbaf[0].ds, 9);
	assert_int_equal(ns->nmic, NVME_NS_NMIC_SHARED);
	assert_int_equal(le32toh(ns->anagrpid), nsid);
	/* Errors of deallocated blocks cannot be turned on, so they are not offered. */
	TAILQ_FIRST(&gw_ss->mp->heads)->idns.nsfeat = NVME_NS_FEAT_DULBE | NVME_NS_FEAT_THIN;
	ns = identify(NVME_IDENTIFY_CNS_NS, nsid);
	assert_int_equal(ns->nsfeat, NVME_NS_FEAT_THIN);
}

static void nsid_rules(void **state)
{
	uint32_t other = gw_nsid() + 1;

	assert_int_equal(identify_status(NVME_IDENTIFY_CNS_NS, 0), NVME_ST_INVALID_NS);
	assert_int_equal(identify_status(NVME_IDENTIFY_CNS_NS, NVME_NSID_ALL), NVME_ST_INVALID_NS);
	assert_int_equal(identify_status(NVME_IDENTIFY_CNS_NS, 1025), NVME_ST_INVALID_NS);
	assert_true(all_zero(identify(NVME_IDENTIFY_CNS_NS, other)));
	assert_true(all_zero(identify(NVME_IDENTIFY_CNS_CSI_NS, other)));
	assert_true(all_zero(identify(NVME_IDENTIFY_CNS_CSI_INDEPENDENT_ID_NS, other)));
	assert_int_equal(identify_status(NVME_IDENTIFY_CNS_NS_DESC_LIST, other),
			 NVME_ST_INVALID_NS);
	assert_int_equal(identify_status(NVME_IDENTIFY_CNS_NS_ACTIVE_LIST, 0xfffffffe),
			 NVME_ST_INVALID_NS);
}

static void active_list(void **state)
{
	uint32_t nsid = gw_nsid();
	const uint32_t *list = identify(NVME_IDENTIFY_CNS_NS_ACTIVE_LIST, 0);

	assert_int_equal(le32toh(list[0]), nsid);
	assert_int_equal(list[1], 0);
	list = identify(NVME_IDENTIFY_CNS_CSI_NS_ACTIVE_LIST, 0);
	assert_int_equal(le32toh(list[0]), nsid);
	assert_true(all_zero(identify(NVME_IDENTIFY_CNS_NS_ACTIVE_LIST, nsid)));
}

static void descriptors_pass_through(void **state)
{
	const uint8_t *d = identify(NVME_IDENTIFY_CNS_NS_DESC_LIST, gw_nsid());
	uint8_t uuid[16];

	memset(uuid, 5, sizeof(uuid));
	assert_int_equal(d[0], NVME_NIDT_UUID);
	assert_int_equal(d[1], 16);
	assert_memory_equal(d + 4, uuid, 16);
	assert_int_equal(d[20], NVME_NIDT_CSI);
	assert_int_equal(d[21], 1);
	assert_int_equal(d[24], NVME_CSI_NVM);
	assert_int_equal(d[25], 0);
}

static int setup_derived(void **state)
{
	gw_defaults();
	gw_subsys_cfg.identity = IDENTITY_DERIVED;
	for (unsigned i = 1; i < 3; i++)
		fake_ctrls[i].ns[1].nguid_fill = 9;
	gw_start(2);
	admin = host_controller(FAKE_GW_NQN);
	return 0;
}

static void descriptors_derived(void **state)
{
	const uint8_t *d = identify(NVME_IDENTIFY_CNS_NS_DESC_LIST, gw_nsid());
	const struct nvme_id_ns *ns;
	uint8_t uuid[16];

	assert_int_equal(d[0], NVME_NIDT_UUID);
	memset(uuid, 5, sizeof(uuid));
	assert_memory_not_equal(d + 4, uuid, 16);
	assert_int_equal(d[4 + 6] >> 4, 8);
	assert_int_equal(d[4 + 8] >> 6, 2);
	assert_int_equal(d[20], NVME_NIDT_CSI);
	memcpy(uuid, d + 4, 16);
	d = identify(NVME_IDENTIFY_CNS_NS_DESC_LIST, gw_nsid());
	assert_memory_equal(d + 4, uuid, 16);
	ns = identify(NVME_IDENTIFY_CNS_NS, gw_nsid());
	assert_int_equal(ns->nguid[0], 0);
}

static void command_set_forms(void **state)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_identify,
		.cdw10 = htole32(NVME_IDENTIFY_CNS_CSI_CTRL),
		.cdw11 = htole32((uint32_t)NVME_CSI_ZNS << 24),
	};
	const struct nvme_id_independent_id_ns *ind;
	const uint64_t *sets;

	assert_true(all_zero(identify(NVME_IDENTIFY_CNS_CSI_CTRL, 0)));
	assert_int_equal(host_command(admin, &sqe, NULL, 4096)->status, NVME_ST_INVALID_FIELD);
	assert_true(all_zero(identify(NVME_IDENTIFY_CNS_CSI_NS, gw_nsid())));
	ind = identify(NVME_IDENTIFY_CNS_CSI_INDEPENDENT_ID_NS, gw_nsid());
	assert_int_equal(ind->nmic, NVME_NS_NMIC_SHARED);
	assert_int_equal(ind->nstat, 1);
	assert_int_equal(le32toh(ind->anagrpid), gw_nsid());
	sqe.cdw10 = htole32(0xffff0000u | NVME_IDENTIFY_CNS_COMMAND_SET_STRUCTURE);
	sets = (const void *)host_command(admin, &sqe, NULL, 4096)->data;
	assert_int_equal(le64toh(sets[0]), 1);
	assert_int_equal(sets[1], 0);
}

static void allocated_is_active(void **state)
{
	uint32_t nsid = gw_nsid();
	static uint8_t active[4096];
	const uint32_t *list = identify(NVME_IDENTIFY_CNS_ALLOCATED_NS_LIST, 0);

	assert_int_equal(le32toh(list[0]), nsid);
	assert_int_equal(list[1], 0);
	memcpy(active, identify(NVME_IDENTIFY_CNS_NS, nsid), sizeof(active));
	assert_memory_equal(identify(NVME_IDENTIFY_CNS_ALLOCATED_NS, nsid), active, 4096);
	assert_true(all_zero(identify(NVME_IDENTIFY_CNS_ALLOCATED_NS, nsid + 1)));
	assert_int_equal(identify_status(NVME_IDENTIFY_CNS_ALLOCATED_NS, 0), NVME_ST_INVALID_NS);
}

static const struct nvme_ctrl_list *controllers(uint8_t cns, uint32_t nsid, uint16_t from)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_identify,
		.nsid = htole32(nsid),
		.cdw10 = htole32((uint32_t)from << 16 | cns),
	};
	struct answer *a = host_command(admin, &sqe, NULL, 4096);

	assert_int_equal(a->status, 0);
	return (const void *)a->data;
}

static void controller_lists(void **state)
{
	static const uint8_t forms[] = {NVME_IDENTIFY_CNS_CTRL_LIST,
					NVME_IDENTIFY_CNS_NS_CTRL_LIST};
	struct tgt_qpair *gone = host_controller(FAKE_GW_NQN);
	uint16_t own = host_ctrl(admin)->ident.cntlid;
	const struct nvme_ctrl_list *l;
	uint16_t last;

	last = host_ctrl(host_controller(FAKE_GW_NQN))->ident.cntlid;
	host_close(gone);
	for (unsigned i = 0; i < 2; i++) {
		l = controllers(forms[i], gw_nsid(), 0);
		assert_int_equal(le16toh(l->num), 2);
		assert_int_equal(le16toh(l->identifier[0]), own);
		assert_int_equal(le16toh(l->identifier[1]), last);
		assert_int_equal(l->identifier[2], 0);
		l = controllers(forms[i], gw_nsid(), (uint16_t)(own + 1));
		assert_int_equal(le16toh(l->num), 1);
		assert_int_equal(le16toh(l->identifier[0]), last);
		l = controllers(forms[i], gw_nsid(), 0xffff);
		assert_int_equal(l->num, 0);
	}
	assert_int_equal(controllers(NVME_IDENTIFY_CNS_NS_CTRL_LIST, gw_nsid() + 1, 0)->num, 0);
	assert_int_equal(identify_status(NVME_IDENTIFY_CNS_NS_CTRL_LIST, NVME_NSID_ALL),
			 NVME_ST_INVALID_NS);
}

static void unknown_forms_and_short_buffers(void **state)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_identify,
		.cdw10 = htole32(NVME_IDENTIFY_CNS_CTRL),
	};

	assert_int_equal(identify_status(NVME_IDENTIFY_CNS_NVMSET_LIST, 0), NVME_ST_INVALID_FIELD);
	assert_int_equal(identify_status(0xff, 0), NVME_ST_INVALID_FIELD);
	assert_int_equal(host_command(admin, &sqe, NULL, 4095)->status,
			 NVME_STATUS(0, NVME_SC_SGL_INVALID_DATA) | NVME_DNR);
	assert_int_equal(host_command(admin, &sqe, NULL, 8192)->len, 4096);
}

static void discovery_controller(void **state)
{
	const struct nvme_id_ctrl *id;

	admin = host_controller(NVMF_DISCOVERY_NQN);
	id = identify(NVME_IDENTIFY_CNS_CTRL, 0);
	assert_int_equal(id->cntrltype, NVME_CTRL_CNTRLTYPE_DISCOVERY);
	assert_string_equal(id->subnqn, NVMF_DISCOVERY_NQN);
	assert_int_equal(4096u << id->mdts, REQUEST_MAX_DATA);
	assert_int_equal(le32toh(id->oaes), NVME_AEN_DISC_CHANGE);
	assert_int_equal(le32toh(id->nn), 0);
	assert_int_not_equal(le16toh(id->kas), 0);
	assert_int_not_equal(le16toh(id->maxcmd), 0);
	assert_int_equal(identify_status(NVME_IDENTIFY_CNS_NS, 1), NVME_ST_INVALID_FIELD);
}

int main(void)
{
#define T(f)		cmocka_unit_test_setup_teardown(f, setup, teardown)
#define T_WITH(f, with) cmocka_unit_test_setup_teardown(f, with, teardown)
	const struct CMUnitTest tests[] = {
		T(controller_for_linux),
		T(controller_within_upstream_limits),
		T_WITH(quiesce_time_is_the_upstreams, setup_quiesce),
		T_WITH(smallest_mdts_counts, setup_small),
		T_WITH(size_limits_of_all_upstreams, setup_bounded),
		T_WITH(ana_log_fits_a_small_transfer, setup_small_config),
		T(namespace_is_rewritten),
		T(nsid_rules),
		T(active_list),
		T(descriptors_pass_through),
		T_WITH(descriptors_derived, setup_derived),
		T(command_set_forms),
		T(allocated_is_active),
		T(controller_lists),
		T(unknown_forms_and_short_buffers),
		T(discovery_controller),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
