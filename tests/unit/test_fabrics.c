/* SPDX-License-Identifier: Apache-2.0 */
/* Connect, properties, Disconnect, and the life of controllers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/fake_host.h"
#include "tests/unit/fake_upstream.h"

#define BAD_PARAM (NVME_STATUS(1, NVME_SC_CONNECT_INVALID_PARAM) | NVME_DNR)
#define BUSY	  NVME_STATUS(1, NVME_SC_CONNECT_CTRL_BUSY)
#define SEQUENCE  (NVME_STATUS(0, NVME_SC_CMD_SEQ_ERROR) | NVME_DNR)
#define IN_DATA	  (1u << 16)

static int setup(void **state)
{
	gw_defaults();
	gw_start(2);
	return 0;
}

static int teardown(void **state)
{
	gw_end();
	return 0;
}

static void refused(const struct connect_args *a, uint16_t status, uint32_t where)
{
	struct tgt_qpair *qp = host_open();
	struct answer *ans = host_connect(qp, a);

	assert_int_equal(ans->status, status);
	assert_int_equal(ans->result, where);
	assert_false(qp->connected);
	assert_null(host_ctrl(qp));
	host_close(qp);
	assert_int_equal(gw->nr_strangers, 0);
}

static void connect_refuses_bad_fields(void **state)
{
	const struct connect_args good = host_connect_args();
	struct connect_args a;

	a = good;
	a.recfmt = 1;
	refused(&a, NVME_STATUS(1, NVME_SC_CONNECT_FORMAT) | NVME_DNR, 0);
	a = good;
	a.sqsize = 0;
	refused(&a, BAD_PARAM, 44);
	a.sqsize = CTRL_ADMIN_QUEUE_MAX;
	refused(&a, BAD_PARAM, 44);
	a = good;
	a.hostid_fill = 0;
	refused(&a, BAD_PARAM, IN_DATA | 0);
	a = good;
	a.cntlid = 1;
	refused(&a, BAD_PARAM, IN_DATA | 16);
	a = good;
	strcpy(a.subnqn, "nqn.2014-08.org.example:other");
	refused(&a, BAD_PARAM, IN_DATA | 256);
	memset(a.subnqn, 'x', sizeof(a.subnqn));
	refused(&a, BAD_PARAM, IN_DATA | 256);
	a.subnqn[0] = 0;
	refused(&a, BAD_PARAM, IN_DATA | 256);
	a = good;
	memset(a.hostnqn, 'x', sizeof(a.hostnqn));
	refused(&a, BAD_PARAM, IN_DATA | 512);
	a.hostnqn[NVMF_NQN_MAX + 1] = 0;
	refused(&a, BAD_PARAM, IN_DATA | 512);
}

static void connect_data_has_one_length(void **state)
{
	static const uint8_t data[2048] = {0};
	struct tgt_qpair *qp = host_open();
	struct nvme_sqe sqe = {
		.opcode = NVME_OPC_FABRICS,
		.nsid = htole32(nvme_fabrics_type_connect),
	};
	uint16_t status = NVME_STATUS(0, NVME_SC_SGL_INVALID_DATA) | NVME_DNR;

	assert_int_equal(host_command(qp, &sqe, data, 1023)->status, status);
	assert_int_equal(host_command(qp, &sqe, data, 2048)->status, status);
	assert_int_equal(host_command(qp, &sqe, data, 0)->status, status);
}

static void connect_asks_for_its_data(void **state)
{
	struct connect_args a = host_connect_args();
	struct tgt_qpair *qp = host_open();

	host_fetch = true;
	assert_int_equal(host_connect(qp, &a)->status, 0);
	host_fetch = false;
	assert_true(qp->connected);
}

static int setup_closed_shop(void **state)
{
	static char allowed[1][NVMF_NQN_MAX + 1] = {"nqn.2014-08.org.example:friend"};

	gw_defaults();
	gw_subsys_cfg.allow_any_host = false;
	gw_subsys_cfg.allowed_hosts = allowed;
	gw_subsys_cfg.nr_allowed_hosts = 1;
	gw_start(2);
	return 0;
}

static void connect_checks_the_host(void **state)
{
	struct connect_args a = host_connect_args();

	refused(&a, NVME_STATUS(1, NVME_SC_CONNECT_INVALID_HOST) | NVME_DNR, IN_DATA | 512);
	strcpy(a.hostnqn, "nqn.2014-08.org.example:friend");
	assert_int_equal(host_connect(host_open(), &a)->status, 0);
}

static void first_command_is_connect(void **state)
{
	struct tgt_qpair *qp = host_open();

	assert_int_equal(host_property_get(qp, NVMF_PROP_CAP, 1)->status, SEQUENCE);
	assert_int_equal(host_identify(qp, NVME_IDENTIFY_CNS_CTRL, 0)->status, SEQUENCE);
}

static void second_connect_is_refused(void **state)
{
	struct connect_args a = host_connect_args();
	struct tgt_qpair *admin = host_controller(FAKE_GW_NQN);
	struct tgt_qpair *io = host_io_queue(admin, 1);

	assert_int_equal(host_connect(admin, &a)->status, SEQUENCE);
	assert_int_equal(host_connect(io, &a)->status, SEQUENCE);
}

static void cntlids_are_not_reused_at_once(void **state)
{
	struct connect_args a = host_connect_args();
	struct tgt_qpair *first = host_open(), *second;
	uint64_t id;

	id = host_connect(first, &a)->result;
	host_close(first);
	assert_int_equal(gw_ss->nr_controllers, 0);
	second = host_open();
	assert_int_not_equal(host_connect(second, &a)->result, id);
}

static int setup_few(void **state)
{
	gw_defaults();
	gw_subsys_cfg.max_controllers = 2;
	gw_subsys_cfg.cntlid_min = 10;
	gw_subsys_cfg.cntlid_max = 11;
	gw_start(2);
	return 0;
}

static void too_many_controllers(void **state)
{
	struct connect_args a = host_connect_args();
	struct tgt_qpair *qp[2] = {host_open(), host_open()};

	assert_int_equal(host_connect(qp[0], &a)->result, 10);
	assert_int_equal(host_connect(qp[1], &a)->result, 11);
	refused(&a, BUSY, 0);
	host_close(qp[0]);
	assert_int_equal(host_connect(host_open(), &a)->result, 10);
}

#define MANY 130u

static int setup_many(void **state)
{
	gw_defaults();
	((struct listener_cfg *)gw_cfg.listeners)->tgt.max_connections = MANY + 1;
	gw_subsys_cfg.max_controllers = MANY + 1;
	gw_subsys_cfg.cntlid_max = 1000;
	gw_start(2);
	return 0;
}

/* What all connections hold at rest leaves the pool room for more. */
static void many_hosts_wait_for_events(void **state)
{
	struct nvme_sqe aer = {.opcode = nvme_admin_async_event};

	for (unsigned i = 0; i < MANY; i++) {
		struct tgt_qpair *qp = host_controller(FAKE_GW_NQN);

		for (unsigned n = 0; n < CTRL_AER_LIMIT; n++)
			host_send(qp, &aer, NULL, 0);
	}
	host_controller(FAKE_GW_NQN);
}

static void io_connect_needs_its_controller(void **state)
{
	struct tgt_qpair *admin = host_controller(FAKE_GW_NQN);
	struct connect_args good = host_connect_args(), a;

	good.qid = 1;
	good.cntlid = host_ctrl(admin)->ident.cntlid;
	a = good;
	a.cntlid = 99;
	refused(&a, BAD_PARAM, IN_DATA | 16);
	a = good;
	a.hostid_fill = 8;
	refused(&a, BAD_PARAM, IN_DATA | 512);
	a = good;
	strcpy(a.hostnqn, "nqn.2014-08.org.example:thief");
	refused(&a, BAD_PARAM, IN_DATA | 512);
	a = good;
	a.qid = 5;
	refused(&a, BAD_PARAM, 42);
	a = good;
	a.sqsize = 128;
	refused(&a, BAD_PARAM, 44);
	host_io_queue(admin, 1);
	a = good;
	refused(&a, SEQUENCE, 0);
	/* A controller that is not enabled has no I/O queues */
	admin = host_open();
	a = host_connect_args();
	a.cntlid = NVMF_CNTLID_DYNAMIC;
	assert_int_equal(host_connect(admin, &a)->status, 0);
	a = good;
	a.cntlid = host_ctrl(admin)->ident.cntlid;
	refused(&a, SEQUENCE, 0);
}

static void io_connect_moves_to_the_worker(void **state)
{
	struct tgt_qpair *admin = host_controller(FAKE_GW_NQN);
	struct tgt_qpair *io = host_io_queue(admin, 3);

	assert_ptr_equal(io->loop, gw->workers[0].loop);
	assert_int_equal(io->qid, 3);
	assert_int_equal(io->sq_size, 32);
	assert_int_equal(gw->workers[0].queues, 1);
	host_close(io);
	assert_int_equal(gw->workers[0].queues, 0);
	assert_int_equal(host_ctrl(admin)->nr_queues, 0);
}

static void io_queue_is_placed_before_its_connect(void **state)
{
	struct tgt_qpair *admin = host_controller(FAKE_GW_NQN), *io = host_open_placed();
	struct connect_args a = host_connect_args();

	assert_ptr_equal(io->home, gw->workers[0].loop);
	assert_int_equal(gw->workers[0].queues, 1);
	a.qid = 1;
	a.cntlid = host_ctrl(admin)->ident.cntlid;
	assert_int_equal(host_connect(io, &a)->status, 0);
	gw_spin(10);
	assert_ptr_equal(io->loop, io->home);
	assert_int_equal(gw->workers[0].queues, 1);
	host_close(io);
	assert_int_equal(gw->workers[0].queues, 0);
	/* Without a Connect, and with one that makes it something else */
	host_close(host_open_placed());
	assert_int_equal(gw->workers[0].queues, 0);
	io = host_open_placed();
	a = host_connect_args();
	assert_int_equal(host_connect(io, &a)->status, 0);
	assert_int_equal(gw->workers[0].queues, 1);
	host_close(io);
	assert_int_equal(gw->workers[0].queues, 0);
}

static void sq_flow_control_off(void **state)
{
	struct connect_args a = host_connect_args();
	struct tgt_qpair *qp = host_open();

	a.cattr = NVMF_CATTR_DISABLE_SQFLOW;
	host_connect(qp, &a);
	assert_true(qp->sqflow_disabled);
}

static void properties(void **state)
{
	struct connect_args a = host_connect_args();
	struct tgt_qpair *qp = host_open();
	uint64_t cap;

	host_connect(qp, &a);
	cap = host_property_get(qp, NVMF_PROP_CAP, 1)->result;
	assert_int_equal(NVME_CAP_MQES(cap), 127);
	assert_true(NVME_CAP_CQR(cap));
	assert_int_equal(NVME_CAP_CSS(cap), NVME_CAP_CSS_NVM | NVME_CAP_CSS_CSI);
	assert_int_not_equal(NVME_CAP_TO(cap), 0);
	assert_int_equal(NVME_CAP_MPSMIN(cap), 0);
	assert_int_equal(NVME_CAP_CRMS(cap), NVME_CAP_CRWMS);
	assert_int_equal(host_property_get(qp, NVME_REG_CRTO, 0)->result, NVME_CAP_TO(cap));
	assert_int_equal(host_property_get(qp, NVMF_PROP_VS, 0)->result, 0x20000);
	assert_int_equal(host_property_get(qp, NVMF_PROP_CAP, 0)->status, NVME_ST_INVALID_FIELD);
	assert_int_equal(host_property_get(qp, NVMF_PROP_VS, 1)->status, NVME_ST_INVALID_FIELD);
	assert_int_equal(host_property_get(qp, NVMF_PROP_NSSR, 0)->status, NVME_ST_INVALID_FIELD);
	assert_int_equal(host_property_set(qp, NVMF_PROP_CSTS, 0)->status, NVME_ST_INVALID_FIELD);
}

static void enable_checks_cc(void **state)
{
	static const uint32_t bad[] = {
		HOST_CC_ENABLE | 7u << NVME_CC_CSS_SHIFT,
		HOST_CC_ENABLE | 1u << NVME_CC_MPS_SHIFT,
		HOST_CC_ENABLE | 1u << NVME_CC_AMS_SHIFT,
		1,
	};
	struct connect_args a = host_connect_args();
	struct tgt_qpair *qp = host_open();

	host_connect(qp, &a);
	/* Nothing but Fabrics commands before CC.EN */
	assert_int_equal(host_identify(qp, NVME_IDENTIFY_CNS_CTRL, 0)->status, SEQUENCE);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		host_property_set(qp, NVMF_PROP_CC, bad[i]);
		assert_int_equal(host_property_get(qp, NVMF_PROP_CSTS, 0)->result, NVME_CSTS_FATAL);
		host_property_set(qp, NVMF_PROP_CC, 0);
		assert_int_equal(host_property_get(qp, NVMF_PROP_CSTS, 0)->result, 0);
	}
	host_property_set(qp, NVMF_PROP_CC, HOST_CC_ENABLE | 6u << NVME_CC_CSS_SHIFT);
	assert_int_equal(host_property_get(qp, NVMF_PROP_CSTS, 0)->result, NVME_CSTS_READY);
}

static void host_send_property_set(struct tgt_qpair *qp, uint32_t cc)
{
	struct nvme_sqe sqe = {
		.opcode = NVME_OPC_FABRICS,
		.nsid = htole32(nvme_fabrics_type_property_set),
		.cdw11 = htole32(NVMF_PROP_CC),
		.cdw12 = htole32(cc),
	};

	host_send(qp, &sqe, NULL, 0);
}

static void ready_when_upstreams_are_known(void **state)
{
	struct upstream *up = TAILQ_FIRST(&gw_ss->mp->upstreams);
	struct connect_args a = host_connect_args();
	struct tgt_qpair *qp = host_open();

	/* As it is when hosts are back sooner than the upstreams after a restart */
	up->state = UPSTREAM_CONNECTING;
	up->attempts = 1;
	host_connect(qp, &a);
	host_property_set(qp, NVMF_PROP_CC, HOST_CC_ENABLE);
	assert_int_equal(host_property_get(qp, NVMF_PROP_CSTS, 0)->result, 0);
	assert_int_equal(host_identify(qp, NVME_IDENTIFY_CNS_CTRL, 0)->status, SEQUENCE);
	up->attempts = 2;
	assert_int_equal(host_property_get(qp, NVMF_PROP_CSTS, 0)->result, NVME_CSTS_READY);
	assert_int_equal(host_identify(qp, NVME_IDENTIFY_CNS_CTRL, 0)->status, 0);
	host_property_set(qp, NVMF_PROP_CC, HOST_CC_ENABLE & ~1u);
	/* Not for ever */
	up->attempts = 1;
	host_property_set(qp, NVMF_PROP_CC, HOST_CC_ENABLE);
	assert_int_equal(host_property_get(qp, NVMF_PROP_CSTS, 0)->result, 0);
	gw->started -= 10 * NSEC_PER_SEC;
	assert_int_equal(host_property_get(qp, NVMF_PROP_CSTS, 0)->result, NVME_CSTS_READY);
	up->state = UPSTREAM_LIVE;
}

/* The host does not wait for RDY to be cleared. */
static void enabled_while_resetting(void **state)
{
	struct tgt_qpair *admin = host_controller(FAKE_GW_NQN);

	host_io_queue(admin, 1);
	host_send_property_set(admin, HOST_CC_ENABLE & ~1u);
	host_send_property_set(admin, HOST_CC_ENABLE);
	gw_spin(10);
	assert_int_equal(host_property_get(admin, NVMF_PROP_CSTS, 0)->result, NVME_CSTS_READY);
	host_io_queue(admin, 1);
}

static void reset_ends_io_queues_first(void **state)
{
	struct tgt_qpair *admin = host_controller(FAKE_GW_NQN);
	struct tgt_qpair *io = host_io_queue(admin, 1);

	host_property_set(admin, NVMF_PROP_CC, HOST_CC_ENABLE & ~1u);
	gw_spin(10);
	assert_false(host_is_open(io));
	assert_true(host_is_open(admin));
	assert_int_equal(host_property_get(admin, NVMF_PROP_CSTS, 0)->result, 0);
	host_property_set(admin, NVMF_PROP_CC, HOST_CC_ENABLE);
	host_io_queue(admin, 1);
}

static uint8_t shutdown_status(struct tgt_qpair *admin)
{
	return NVME_CSTS_SHST(host_property_get(admin, NVMF_PROP_CSTS, 0)->result);
}

static struct tgt_qpair *shut_down(uint32_t shn)
{
	struct tgt_qpair *admin = host_controller(FAKE_GW_NQN);

	host_property_set(admin, NVMF_PROP_CC, HOST_CC_ENABLE | shn << NVME_CC_SHN_SHIFT);
	return admin;
}

static void unstick(void)
{
	for (unsigned port = 1; port < 3; port++) {
		fake_ctrls[port].stuck = false;
		fake_look(port);
	}
	gw_spin(20);
}

/* When it is, all upstreams have been flushed. */
static void shutdown_completes(void **state)
{
	struct tgt_qpair *admin;

	fake_ctrls[1].stuck = fake_ctrls[2].stuck = true;
	admin = shut_down(NVME_CC_SHN_NORMAL);
	gw_spin(20);
	assert_int_equal(shutdown_status(admin), NVME_CSTS_SHST_OCCUR);
	unstick();
	assert_int_equal(shutdown_status(admin), NVME_CSTS_SHST_CMPLT);
	assert_int_equal(fake_ctrls[1].flushes, 1);
	assert_int_equal(fake_ctrls[2].flushes, 1);
}

/* A Flush that is under way is too early for the second host; a third goes with it. */
static void shutdowns_share_their_flushes(void **state)
{
	struct tgt_qpair *admins[3];

	fake_ctrls[1].stuck = fake_ctrls[2].stuck = true;
	for (unsigned i = 0; i < 3; i++)
		admins[i] = shut_down(NVME_CC_SHN_NORMAL);
	gw_spin(20);
	assert_int_equal(gw_ss->shutdown.left, 1);
	unstick();
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(shutdown_status(admins[i]), NVME_CSTS_SHST_CMPLT);
	assert_int_equal(gw_ss->shutdown.run, 2);
	assert_int_equal(gw_ss->shutdown.left, 0);
}

static void abrupt_shutdown_completes_at_once(void **state)
{
	struct tgt_qpair *admin;

	fake_ctrls[1].stuck = fake_ctrls[2].stuck = true;
	admin = shut_down(NVME_CC_SHN_ABRUPT);
	assert_int_equal(shutdown_status(admin), NVME_CSTS_SHST_CMPLT);
	unstick();
	assert_int_equal(fake_ctrls[1].flushes + fake_ctrls[2].flushes, 0);
}

static void shutdown_that_fails_is_over(void **state)
{
	struct tgt_qpair *admin;

	fake_ctrls[1].io_status = fake_ctrls[2].io_status =
		NVME_STATUS(0, NVME_SC_INTERNAL) | NVME_DNR;
	admin = shut_down(NVME_CC_SHN_NORMAL);
	gw_spin(20);
	assert_int_equal(shutdown_status(admin), NVME_CSTS_SHST_CMPLT);
}

static int setup_empty(void **state)
{
	gw_defaults();
	fake_ctrls[1].ns[1].present = fake_ctrls[2].ns[1].present = false;
	gw_start(0);
	gw_spin(50);
	return 0;
}

/* With nothing to be flushed it is through before the I/O queue has gone. */
static void shutdown_with_a_reset(void **state)
{
	struct tgt_qpair *admin = host_controller(FAKE_GW_NQN);

	host_io_queue(admin, 1);
	host_property_set(admin, NVMF_PROP_CC,
			  (HOST_CC_ENABLE & ~1u) | NVME_CC_SHN_NORMAL << NVME_CC_SHN_SHIFT);
	assert_true(host_ctrl(admin)->resetting);
	assert_int_equal(shutdown_status(admin), NVME_CSTS_SHST_CMPLT);
	gw_spin(10);
	assert_int_equal(host_property_get(admin, NVMF_PROP_CSTS, 0)->result,
			 NVME_CSTS_SHST_CMPLT << NVME_CSTS_SHST_SHIFT);
	host_property_set(admin, NVMF_PROP_CC, HOST_CC_ENABLE);
	assert_int_equal(host_property_get(admin, NVMF_PROP_CSTS, 0)->result, NVME_CSTS_READY);
}

static void shutdown_that_nobody_waits_for(void **state)
{
	struct tgt_qpair *admin;

	fake_ctrls[1].stuck = fake_ctrls[2].stuck = true;
	admin = shut_down(NVME_CC_SHN_NORMAL);
	host_property_set(admin, NVMF_PROP_CC, 0);
	assert_int_equal(shutdown_status(admin), NVME_CSTS_SHST_NORMAL);
	host_property_set(admin, NVMF_PROP_CC, HOST_CC_ENABLE);
	admin = shut_down(NVME_CC_SHN_NORMAL); /* another controller's */
	host_close(admin);
	gw_spin(20);
	unstick();
	unstick();
	assert_int_equal(gw_ss->nr_controllers, 1);
	assert_int_equal(shutdown_status(TAILQ_FIRST(&gw_ss->controllers)->admin->qp),
			 NVME_CSTS_SHST_NORMAL);
}

/* Nor does the end of the gateway wait for it. */
static void shutdown_at_the_end(void **state)
{
	fake_ctrls[1].stuck = fake_ctrls[2].stuck = true;
	shut_down(NVME_CC_SHN_NORMAL);
	gw_spin(20);
	fake_ctrls[1].down = fake_ctrls[2].down = true;
	fake_cut(1);
	fake_cut(2);
	gw_spin(20);
}

static void disconnect(void **state)
{
	struct nvme_sqe sqe = {
		.opcode = NVME_OPC_FABRICS,
		.nsid = htole32(nvme_fabrics_type_disconnect),
	};
	struct tgt_qpair *admin = host_controller(FAKE_GW_NQN);
	struct tgt_qpair *io = host_io_queue(admin, 1);

	assert_int_equal(host_command(admin, &sqe, NULL, 0)->status,
			 NVME_STATUS(1, NVME_SC_DISCONNECT_INVALID_QTYPE) | NVME_DNR);
	assert_int_equal(host_command(io, &sqe, NULL, 0)->status, 0);
	gw_spin(10);
	assert_false(host_is_open(io));
	assert_int_equal(host_ctrl(admin)->nr_queues, 0);
	host_io_queue(admin, 1);
}

static void losing_the_admin_queue_ends_the_controller(void **state)
{
	struct tgt_qpair *admin = host_controller(FAKE_GW_NQN);
	struct tgt_qpair *io[2] = {host_io_queue(admin, 1), host_io_queue(admin, 2)};

	assert_int_not_equal(gw_ss->mp->promised.max_transfer, 0);
	host_close(admin);
	gw_spin(10);
	assert_false(host_is_open(io[0]));
	assert_false(host_is_open(io[1]));
	assert_int_equal(gw_ss->nr_controllers, 0);
	assert_int_equal(gw_ss->mp->promised.max_transfer, 0);
}

static void keep_alive_expires(void **state)
{
	struct connect_args a = host_connect_args();
	struct tgt_qpair *qp = host_open(), *io;
	uint64_t start = loop_now_exact(gw->control);

	a.kato = 950; /* rounded up to 1000 */
	host_connect(qp, &a);
	assert_int_equal(host_ctrl(qp)->kato, 1000);
	host_property_set(qp, NVMF_PROP_CC, HOST_CC_ENABLE);
	io = host_io_queue(qp, 1);
	while (gw_ss->nr_controllers) {
		assert_true(loop_now_exact(gw->control) - start < 60 * NSEC_PER_SEC);
		gw_spin(1);
		usleep(1000);
	}
	assert_true(loop_now_exact(gw->control) - start >= NSEC_PER_SEC);
	assert_false(host_is_open(qp));
	assert_false(host_is_open(io));
}

/* As when the timeout has passed, but whatever happens on the way there is in time. */
static void keep_alive_timeout(const struct tgt_qpair *admin)
{
	const struct loop_timer *t = &host_ctrl(admin)->keep_alive;

	assert_true(t->armed);
	t->fn(t->arg);
	gw_spin(10);
}

static void io_alone_keeps_alive(void **state)
{
	struct connect_args a = host_connect_args();
	struct tgt_qpair *qp = host_open(), *io;
	struct nvme_sqe flush = {.opcode = nvme_cmd_flush, .nsid = htole32(gw_nsid())};

	a.kato = 3600 * 1000;
	host_connect(qp, &a);
	host_property_set(qp, NVMF_PROP_CC, HOST_CC_ENABLE);
	io = host_io_queue(qp, 1);
	for (int i = 0; i < 6; i++) {
		host_command(io, &flush, NULL, 0);
		keep_alive_timeout(qp);
		assert_true(host_is_open(qp));
	}
	keep_alive_timeout(qp);
	assert_false(host_is_open(qp));
	assert_false(host_is_open(io));
	assert_int_equal(gw_ss->nr_controllers, 0);
}

static void stop_with_hosts_connected(void **state)
{
	struct tgt_qpair *admin = host_controller(FAKE_GW_NQN);
	struct tgt_qpair *stranger = host_open();
	struct tgt_qpair *io = host_io_queue(admin, 1);

	host_controller(NVMF_DISCOVERY_NQN);
	gateway_stop(gw);
	gw_spin(10);
	assert_false(host_is_open(admin));
	assert_false(host_is_open(stranger));
	assert_false(host_is_open(io));
	assert_true(gw->ending);
}

static void unknown_fabrics_commands(void **state)
{
	struct nvme_sqe sqe = {.opcode = NVME_OPC_FABRICS, .nsid = htole32(0x10)};
	struct tgt_qpair *admin = host_controller(FAKE_GW_NQN);
	struct tgt_qpair *io = host_io_queue(admin, 1);

	assert_int_equal(host_command(admin, &sqe, NULL, 0)->status, NVME_ST_INVALID_OPCODE);
	assert_int_equal(host_command(io, &sqe, NULL, 0)->status, NVME_ST_INVALID_OPCODE);
}

int main(void)
{
#define T(f)		cmocka_unit_test_setup_teardown(f, setup, teardown)
#define T_WITH(f, with) cmocka_unit_test_setup_teardown(f, with, teardown)
	const struct CMUnitTest tests[] = {
		T(connect_refuses_bad_fields),
		T(connect_data_has_one_length),
		T(connect_asks_for_its_data),
		T_WITH(connect_checks_the_host, setup_closed_shop),
		T(first_command_is_connect),
		T(second_connect_is_refused),
		T(cntlids_are_not_reused_at_once),
		T_WITH(too_many_controllers, setup_few),
		T_WITH(many_hosts_wait_for_events, setup_many),
		T(io_connect_needs_its_controller),
		T(io_connect_moves_to_the_worker),
		T(io_queue_is_placed_before_its_connect),
		T(sq_flow_control_off),
		T(properties),
		T(enable_checks_cc),
		T(ready_when_upstreams_are_known),
		T(enabled_while_resetting),
		T(reset_ends_io_queues_first),
		T(shutdown_completes),
		T(shutdowns_share_their_flushes),
		T(abrupt_shutdown_completes_at_once),
		T(shutdown_that_fails_is_over),
		T_WITH(shutdown_with_a_reset, setup_empty),
		T(shutdown_that_nobody_waits_for),
		T(shutdown_at_the_end),
		T(disconnect),
		T(losing_the_admin_queue_ends_the_controller),
		T(keep_alive_expires),
		T(io_alone_keeps_alive),
		T(stop_with_hosts_connected),
		T(unknown_fabrics_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
