/* SPDX-License-Identifier: Apache-2.0 */
/* Get Log Page, and the asynchronous events that point to log pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/admin.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/fake_upstream.h"

#define ANA_MAX 4096u

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

static const void *get_log(uint8_t lid, uint64_t offset, uint32_t len)
{
	struct answer *a = host_log(admin, lid, offset, len, false);

	assert_int_equal(a->status, 0);
	assert_int_equal(a->len, len);
	return a->data;
}

static uint16_t log_status(const struct nvme_sqe *sqe)
{
	return host_command(admin, sqe, NULL, 4096)->status;
}

static void set_events(uint32_t value)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_set_features,
		.cdw10 = htole32(NVME_FEAT_FID_ASYNC_EVENT),
		.cdw11 = htole32(value),
	};

	assert_int_equal(host_command(admin, &sqe, NULL, 0)->status, 0);
}

static uint16_t send_aer(void)
{
	struct nvme_sqe sqe = {.opcode = nvme_admin_async_event};

	return host_send(admin, &sqe, NULL, 0);
}

#define EVENT(info, lid) (2u | (info) << 8 | (uint32_t)(lid) << 16)
#define ANA_EVENT	 EVENT(NVME_AER_NOTICE_ANA, NVME_LOG_LID_ANA)
#define NS_EVENT	 EVENT(NVME_AER_NOTICE_NS_CHANGED, NVME_LOG_LID_CHANGED_NS)

/* ---- pages ---- */

static void bad_fields(void **state)
{
	const struct nvme_sqe good = {
		.opcode = nvme_admin_get_log_page,
		.cdw10 = htole32(3 << 16 | NVME_LOG_LID_SMART),
	};
	struct nvme_sqe sqe = good;

	assert_int_equal(log_status(&sqe), 0);
	sqe.cdw10 = htole32(3 << 16 | 0xee);
	assert_int_equal(log_status(&sqe), NVME_STATUS(1, NVME_SC_INVALID_LOG_PAGE) | NVME_DNR);
	sqe = good;
	sqe.nsid = htole32(1);
	assert_int_equal(log_status(&sqe), NVME_ST_INVALID_FIELD);
	sqe = good;
	sqe.cdw12 = htole32(2);
	assert_int_equal(log_status(&sqe), NVME_ST_INVALID_FIELD);
	sqe.cdw12 = htole32(516); /* the page has 512 bytes */
	assert_int_equal(log_status(&sqe), NVME_ST_INVALID_FIELD);
	sqe = good;
	sqe.cdw13 = htole32(1);
	assert_int_equal(log_status(&sqe), NVME_ST_INVALID_FIELD);
	sqe = good;
	sqe.cdw14 = htole32(1 << 23);
	assert_int_equal(log_status(&sqe), NVME_ST_INVALID_FIELD);
	sqe = good;
	sqe.cdw11 = htole32(0xffff);
	assert_int_equal(log_status(&sqe), NVME_STATUS(0, NVME_SC_SGL_INVALID_DATA) | NVME_DNR);
}

static void longer_than_mdts(void **state)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_get_log_page,
		.cdw10 = htole32(0xffffu << 16 | NVME_LOG_LID_SMART),
	};

	host_ctrl(admin)->limits.max_transfer = 8192;
	assert_int_equal(host_command(admin, &sqe, NULL, 0x40000)->status, NVME_ST_INVALID_FIELD);
}

static void supported_pages_are_those_that_answer(void **state)
{
	uint32_t lids[256];

	memcpy(lids, get_log(NVME_LOG_LID_SUPPORTED_LOG_PAGES, 0, sizeof(lids)), sizeof(lids));
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(host_log(admin, (uint8_t)i, 0, 16, true)->status == 0,
				 le32toh(lids[i]) & 1);
	assert_true(lids[NVME_LOG_LID_ANA]);
	assert_false(lids[NVME_LOG_LID_DISCOVER]);
}

static void effects_follow_what_is_offered(void **state)
{
	const struct nvme_cmd_effects_log *e = get_log(NVME_LOG_LID_CMD_EFFECTS, 0, 4096);

	assert_int_equal(le32toh(e->acs[nvme_admin_identify]), NVME_CMD_EFFECTS_CSUPP);
	assert_int_equal(le32toh(e->acs[nvme_admin_format_nvm]), 0);
	assert_int_equal(le32toh(e->iocs[nvme_cmd_write]),
			 NVME_CMD_EFFECTS_CSUPP | NVME_CMD_EFFECTS_LBCC);
	assert_int_equal(le32toh(e->iocs[nvme_cmd_read]), NVME_CMD_EFFECTS_CSUPP);
	assert_true(e->iocs[nvme_cmd_write_zeroes]);
	assert_false(e->iocs[nvme_cmd_compare]); /* the upstreams have none */
}

static void smart_counts_io(void **state)
{
	struct tgt_qpair *io = host_io_queue(admin, 1);
	struct nvme_sqe read = {
		.opcode = nvme_cmd_read,
		.nsid = htole32(gw_nsid()),
		.cdw12 = htole32(7),
	};
	const struct nvme_smart_log *s;

	assert_int_equal(host_command(io, &read, NULL, 4096)->status, 0);
	s = get_log(NVME_LOG_LID_SMART, 0, 512);
	assert_int_equal(s->host_reads[0], 1);
	assert_int_equal(s->data_units_read[0], 1);
	host_close(io);
	s = get_log(NVME_LOG_LID_SMART, 0, 512);
	assert_int_equal(s->host_reads[0], 1);
	assert_int_equal(s->critical_warning, 0);
}

static void failed_commands_are_logged(void **state)
{
	struct tgt_qpair *io = host_io_queue(admin, 2);
	struct nvme_sqe read = {
		.opcode = nvme_cmd_read,
		.nsid = htole32(gw_nsid()),
		.cdw10 = htole32(123456),
		.cdw12 = htole32(7),
	};
	const struct nvme_error_log_page *e;
	uint16_t cid;

	host_identify(admin, 0xff, 0);
	cid = host_send(io, &read, NULL, 4096);
	gw_spin(3);
	e = get_log(NVME_LOG_LID_ERROR, 0, 4096);
	assert_int_equal(le64toh(e[0].error_count), 2);
	assert_int_equal(le16toh(e[0].sqid), 2);
	assert_int_equal(le16toh(e[0].cmdid), cid);
	assert_int_equal(le16toh(e[0].status_field) >> 1,
			 NVME_STATUS(0, NVME_SC_LBA_RANGE) | NVME_DNR);
	assert_int_equal(le64toh(e[0].lba), 123456);
	assert_int_equal(le32toh(e[0].nsid), gw_nsid());
	assert_int_equal(le64toh(e[1].error_count), 1);
	assert_int_equal(le16toh(e[1].sqid), 0);
	assert_int_equal(le64toh(e[2].error_count), 0);
}

static void error_log_keeps_the_newest(void **state)
{
	const struct nvme_error_log_page *e;

	for (int i = 0; i < 100; i++)
		host_identify(admin, 0xff, 0);
	e = get_log(NVME_LOG_LID_ERROR, 0, 4096);
	assert_int_equal(le64toh(e[0].error_count), 100);
	assert_int_equal(le64toh(e[63].error_count), 37);
}

static void firmware_slot(void **state)
{
	const struct nvme_firmware_slot *fw = get_log(NVME_LOG_LID_FW_SLOT, 0, 512);

	assert_int_equal(fw->afi, 1);
	assert_memory_equal(fw->frs[0], NVMEGW_VERSION, strlen(NVMEGW_VERSION));
}

static void more_namespaces(void)
{
	for (unsigned port = 1; port < 3; port++)
		for (unsigned nsid = 2; nsid <= 3; nsid++)
			fake_ctrls[port].ns[nsid] =
				(struct fake_ns){true, 2000, (uint8_t)(nsid + 20), 0, false};
	fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
	fake_notice(2, NVME_AER_NOTICE_NS_CHANGED);
	for (unsigned i = 0; i < 1000 && gw_usable() < 6; i++)
		gw_spin(1);
	assert_int_equal(gw_usable(), 6);
	gw_spin(5);
}

static void ana_log_one_group_each(void **state)
{
	const struct nvme_ana_log *log;
	const uint8_t *p;
	uint32_t last = 0;

	more_namespaces();
	log = get_log(NVME_LOG_LID_ANA, 0, ANA_MAX);
	assert_int_equal(le16toh(log->ngrps), 3);
	assert_true(le64toh(log->chgcnt) >= 3);
	p = (const uint8_t *)log->descs;
	for (unsigned i = 0; i < 3; i++, p += 36) {
		struct nvme_ana_group_desc d;
		uint32_t nsid;

		memcpy(&d, p, sizeof(d));
		memcpy(&nsid, p + sizeof(d), sizeof(nsid));
		assert_true(le32toh(d.grpid) > last);
		assert_int_equal(le32toh(d.nnsids), 1);
		assert_int_equal(nsid, d.grpid);
		assert_int_equal(d.state, NVME_ANA_STATE_OPTIMIZED);
		assert_true(le64toh(d.chgcnt) > 0);
		last = le32toh(d.grpid);
	}
}

static void ana_log_groups_only(void **state)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_get_log_page,
		.cdw10 = htole32(63 << 16 | 1 << 8 | NVME_LOG_LID_ANA),
	};
	const struct nvme_ana_log *log;

	more_namespaces();
	log = (const void *)host_command(admin, &sqe, NULL, 256)->data;
	assert_int_equal(le16toh(log->ngrps), 3);
	assert_int_equal(le32toh(log->descs[0].nnsids), 0);
	assert_int_equal(log->descs[2].state, NVME_ANA_STATE_OPTIMIZED);
}

static void offsets_give_the_same_bytes(void **state)
{
	static uint8_t whole[128], *parts = whole;

	more_namespaces();
	memcpy(whole, get_log(NVME_LOG_LID_ANA, 0, 124), 124);
	for (uint32_t off = 0; off <= 120; off += 4)
		assert_memory_equal(get_log(NVME_LOG_LID_ANA, off, 4), parts + off, 4);
	/* It is as long as it could be with all namespaces there, but no longer */
	assert_int_equal(*(const uint32_t *)get_log(NVME_LOG_LID_ANA, 124, 4), 0);
	assert_int_equal(*(const uint32_t *)get_log(NVME_LOG_LID_ANA, 36876, 4), 0);
	assert_int_equal(host_log(admin, NVME_LOG_LID_ANA, 36884, 4, true)->status,
			 NVME_ST_INVALID_FIELD);
}

static void cleared_by_reading(void **state)
{
	const uint32_t *list;

	more_namespaces();
	list = (const void *)host_log(admin, NVME_LOG_LID_CHANGED_NS, 0, 4096, true)->data;
	assert_int_not_equal(list[0], 0);
	assert_true(le32toh(list[0]) < le32toh(list[1]));
	assert_int_equal(list[2], 0);
	list = get_log(NVME_LOG_LID_CHANGED_NS, 0, 4096);
	assert_int_not_equal(list[1], 0);
	list = get_log(NVME_LOG_LID_CHANGED_NS, 0, 4096);
	assert_int_equal(list[0], 0);
}

static const uint32_t *changed_ns(uint64_t offset, uint32_t len, bool rae)
{
	return (const void *)host_log(admin, NVME_LOG_LID_CHANGED_NS, offset, len, rae)->data;
}

/* What changes between two of them is told after the last. */
static void changed_namespaces_in_pieces(void **state)
{
	struct head *low = TAILQ_FIRST(&gw_ss->mp->heads);
	uint32_t nsid[2];
	uint16_t cid[3];

	set_events(NVME_AEN_NS_ATTR);
	for (unsigned i = 0; i < 3; i++)
		cid[i] = send_aer();
	more_namespaces();
	assert_true(host_answer(cid[0])->there);
	nsid[0] = changed_ns(0, 4, true)[0];
	subsystem_events.head_changed(gw_ss, low);
	nsid[1] = changed_ns(4, 4, true)[0];
	assert_true(low->nsid < nsid[0]);
	assert_true(nsid[0] < nsid[1]);
	/* Also one that is in the list: the host may have looked at it before. */
	subsystem_events.head_changed(gw_ss, mp_subsys_head(gw_ss->mp, nsid[0]));
	assert_false(host_answer(cid[1])->there);
	assert_int_equal(changed_ns(8, 4088, false)[0], 0);
	assert_true(host_answer(cid[1])->there);
	assert_int_equal(host_answer(cid[1])->result, NS_EVENT);
	assert_int_equal(changed_ns(0, 4096, true)[0], low->nsid);
	assert_int_equal(changed_ns(0, 4096, false)[1], nsid[0]);
	assert_int_equal(changed_ns(0, 4096, false)[0], 0);
	assert_false(host_answer(cid[2])->there);
}

static void reset_clears_changed_namespaces(void **state)
{
	more_namespaces();
	assert_int_not_equal(changed_ns(0, 4096, true)[0], 0);
	subsystem_events.head_changed(gw_ss, TAILQ_FIRST(&gw_ss->mp->heads));
	host_property_set(admin, NVMF_PROP_CC, HOST_CC_ENABLE & ~1u);
	host_property_set(admin, NVMF_PROP_CC, HOST_CC_ENABLE);
	assert_int_equal(changed_ns(0, 4096, true)[0], 0);
}

/* ---- events ---- */

static void ana_event_comes_before_namespace_event(void **state)
{
	uint16_t first, second;

	set_events(NVME_AEN_NS_ATTR | NVME_AEN_ANA_CHANGE);
	first = send_aer();
	second = send_aer();
	assert_false(host_answer(first)->there);
	more_namespaces();
	assert_true(host_answer(first)->there);
	assert_int_equal(host_answer(first)->result, ANA_EVENT);
	assert_true(host_answer(second)->there);
	assert_int_equal(host_answer(second)->result, NS_EVENT);
}

static void events_wait_for_a_request(void **state)
{
	uint16_t cid;

	set_events(NVME_AEN_NS_ATTR);
	more_namespaces();
	cid = send_aer();
	assert_true(host_answer(cid)->there);
	assert_int_equal(host_answer(cid)->result, NS_EVENT);
	assert_false(host_answer(send_aer())->there);
}

static void events_not_asked_for(void **state)
{
	uint16_t cid = send_aer();

	more_namespaces();
	assert_false(host_answer(cid)->there);
}

static void events_not_asked_for_any_more(void **state)
{
	struct head *h = TAILQ_FIRST(&gw_ss->mp->heads);
	uint16_t cid;

	set_events(NVME_AEN_ANA_CHANGE | NVME_AEN_NS_ATTR);
	subsystem_events.head_ana_changed(gw_ss, h);
	more_namespaces();
	set_events(NVME_AEN_NS_ATTR);
	cid = send_aer();
	assert_true(host_answer(cid)->there);
	assert_int_equal(host_answer(cid)->result, NS_EVENT);
	cid = send_aer();
	assert_false(host_answer(cid)->there);
	set_events(NVME_AEN_ANA_CHANGE | NVME_AEN_NS_ATTR);
	subsystem_events.head_ana_changed(gw_ss, h);
	assert_true(host_answer(cid)->there);
	assert_int_equal(host_answer(cid)->result, ANA_EVENT);
}

static void masked_until_the_log_is_read(void **state)
{
	struct head *h = TAILQ_FIRST(&gw_ss->mp->heads);
	uint16_t cid[3] = {0};

	set_events(NVME_AEN_ANA_CHANGE);
	cid[0] = send_aer();
	cid[1] = send_aer();
	subsystem_events.head_ana_changed(gw_ss, h);
	assert_true(host_answer(cid[0])->there);
	subsystem_events.head_ana_changed(gw_ss, h);
	assert_false(host_answer(cid[1])->there);
	/* RAE keeps it masked */
	host_log(admin, NVME_LOG_LID_ANA, 0, 64, true);
	subsystem_events.head_ana_changed(gw_ss, h);
	assert_false(host_answer(cid[1])->there);
	/* Another page does not unmask it either */
	get_log(NVME_LOG_LID_CHANGED_NS, 0, 64);
	subsystem_events.head_ana_changed(gw_ss, h);
	assert_false(host_answer(cid[1])->there);
	get_log(NVME_LOG_LID_ANA, 0, 64);
	assert_false(host_answer(cid[1])->there);
	subsystem_events.head_ana_changed(gw_ss, h);
	assert_true(host_answer(cid[1])->there);
}

static void path_loss_is_an_ana_event(void **state)
{
	const struct nvme_ana_log *log;
	uint16_t cid;

	set_events(NVME_AEN_ANA_CHANGE);
	cid = send_aer();
	fake_ctrls[1].down = fake_ctrls[2].down = true;
	fake_cut(1);
	gw_spin(20);
	assert_false(host_answer(cid)->there);
	fake_cut(2);
	gw_spin(20);
	assert_true(host_answer(cid)->there);
	log = get_log(NVME_LOG_LID_ANA, 0, 64);
	assert_int_equal(log->descs[0].state, NVME_ANA_STATE_INACCESSIBLE);
}

static void too_many_requests_for_events(void **state)
{
	struct answer *a;

	for (unsigned i = 0; i < CTRL_AER_LIMIT; i++)
		send_aer();
	a = host_answer(send_aer());
	assert_true(a->there);
	assert_int_equal(a->status, NVME_STATUS(1, NVME_SC_ASYNC_LIMIT) | NVME_DNR);
}

static void reset_ends_requests_for_events(void **state)
{
	uint16_t cid = send_aer();

	host_property_set(admin, NVMF_PROP_CC, HOST_CC_ENABLE & ~1u);
	assert_true(host_answer(cid)->there);
	assert_int_equal(host_answer(cid)->status, NVME_STATUS(0, NVME_SC_ABORT_QUEUE));
}

/* ---- discovery ---- */

static const struct nvmf_discovery_log *discovery_log_of(void)
{
	return get_log(NVME_LOG_LID_DISCOVER, 0, 4096);
}

static void discovery_lists_subsystems(void **state)
{
	const struct nvmf_discovery_log *log;
	const struct nvmf_disc_log_entry *e;

	admin = host_controller(NVMF_DISCOVERY_NQN);
	log = discovery_log_of();
	assert_int_equal(le64toh(log->numrec), 2);
	e = &log->entries[0];
	assert_int_equal(e->subtype, NVME_NQN_CURR);
	assert_string_equal(e->subnqn, NVMF_DISCOVERY_NQN);
	assert_int_equal(le16toh(e->eflags), NVMF_DISC_EFLAGS_BOTH);
	e = &log->entries[1];
	assert_int_equal(le16toh(e->eflags), 0);
	assert_int_equal(e->subtype, NVME_NQN_NVME);
	assert_int_equal(e->trtype, NVMF_TRTYPE_TCP);
	assert_int_equal(e->adrfam, NVMF_ADDR_FAMILY_IP4);
	assert_string_equal(e->subnqn, FAKE_GW_NQN);
	assert_string_equal(e->traddr, "192.0.2.1");
	assert_string_equal(e->trsvcid, "4420");
	assert_int_equal(le16toh(e->cntlid), NVMF_CNTLID_DYNAMIC);
	assert_int_equal(le16toh(e->asqsz), 32);
	assert_int_equal(le16toh(e->portid), 1);
}

static int setup_other_hosts_only(void **state)
{
	gw_defaults();
	gw_subsys_cfg.allow_any_host = false;
	gw_start(2);
	return 0;
}

static void discovery_hides_what_a_host_may_not_have(void **state)
{
	admin = host_controller(NVMF_DISCOVERY_NQN);
	assert_int_equal(le64toh(discovery_log_of()->numrec), 1);
}

static int setup_any_address(void **state)
{
	gw_defaults();
	addr_parse(&((struct listener_cfg *)gw_cfg.listeners)->addr, "0.0.0.0", "4420");
	gw_start(2);
	return 0;
}

static void discovery_of_a_wildcard(void **state)
{
	admin = host_controller(NVMF_DISCOVERY_NQN);
	assert_string_equal(discovery_log_of()->entries[1].traddr, "192.0.2.1");
	strcpy(gw->listeners[0]->cfg.traddr_out, "2001:db8::1");
	assert_string_equal(discovery_log_of()->entries[1].traddr, "2001:db8::1");
	assert_int_equal(discovery_log_of()->entries[1].adrfam, NVMF_ADDR_FAMILY_IP6);
}

static void discovery_change_is_an_event(void **state)
{
	uint64_t genctr;
	uint16_t cid;

	admin = host_controller(NVMF_DISCOVERY_NQN);
	genctr = le64toh(discovery_log_of()->genctr);
	set_events(NVME_AEN_DISC_CHANGE);
	cid = send_aer();
	discovery_changed(gw);
	assert_int_equal(host_answer(cid)->result,
			 EVENT(NVME_AER_NOTICE_DISC_CHANGED, NVME_LOG_LID_DISCOVER));
	assert_int_equal(le64toh(discovery_log_of()->genctr), genctr + 1);
}

int main(void)
{
#define T(f)		cmocka_unit_test_setup_teardown(f, setup, teardown)
#define T_WITH(f, with) cmocka_unit_test_setup_teardown(f, with, teardown)
	const struct CMUnitTest tests[] = {
		T(bad_fields),
		T(longer_than_mdts),
		T(supported_pages_are_those_that_answer),
		T(effects_follow_what_is_offered),
		T(smart_counts_io),
		T(failed_commands_are_logged),
		T(error_log_keeps_the_newest),
		T(firmware_slot),
		T(ana_log_one_group_each),
		T(ana_log_groups_only),
		T(offsets_give_the_same_bytes),
		T(cleared_by_reading),
		T(changed_namespaces_in_pieces),
		T(reset_clears_changed_namespaces),
		T(ana_event_comes_before_namespace_event),
		T(events_wait_for_a_request),
		T(events_not_asked_for),
		T(events_not_asked_for_any_more),
		T(masked_until_the_log_is_read),
		T(path_loss_is_an_ana_event),
		T(too_many_requests_for_events),
		T(reset_ends_requests_for_events),
		T(discovery_lists_subsystems),
		T_WITH(discovery_hides_what_a_host_may_not_have, setup_other_hosts_only),
		T_WITH(discovery_of_a_wildcard, setup_any_address),
		T(discovery_change_is_an_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
