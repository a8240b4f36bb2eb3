/* SPDX-License-Identifier: Apache-2.0 */
/* I/O commands of hosts: checks, the way through, Abort, and what a lost connection leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "multipath/control.h"
#include "multipath/worker.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/fake_upstream.h"

#define LBA_RANGE  (NVME_STATUS(0, NVME_SC_LBA_RANGE) | NVME_DNR)
#define SGL_LENGTH (NVME_STATUS(0, NVME_SC_SGL_INVALID_DATA) | NVME_DNR)
#define SIZE_LIMIT (NVME_STATUS(1, NVME_SC_CMD_SIZE_LIMIT_EXCEEDED) | NVME_DNR)

static struct tgt_qpair *admin, *io;
static uint8_t data[1 << 16];

static int setup(void **state)
{
	gw_defaults();
	gw_start(2);
	admin = host_controller(FAKE_GW_NQN);
	io = host_io_queue(admin, 1);
	return 0;
}

static int teardown(void **state)
{
	gw_end();
	return 0;
}

static struct nvme_sqe command(uint8_t opcode, uint64_t slba, uint32_t blocks)
{
	return (struct nvme_sqe){
		.opcode = opcode,
		.nsid = htole32(gw_nsid()),
		.cdw10 = htole32((uint32_t)slba),
		.cdw11 = htole32((uint32_t)(slba >> 32)),
		.cdw12 = htole32(blocks - 1),
	};
}

static uint16_t status_of(struct nvme_sqe sqe, uint32_t len)
{
	return host_command(io, &sqe, data, len)->status;
}

static void reads_and_writes(void **state)
{
	struct nvme_sqe sqe = command(nvme_cmd_read, 0, 8);

	assert_int_equal(host_command(io, &sqe, NULL, 4096)->len, 4096);
	assert_int_equal(status_of(command(nvme_cmd_write, 992, 8), 4096), 0);
	host_fetch = true;
	assert_int_equal(status_of(command(nvme_cmd_write, 0, 128), 65536), 0);
	host_fetch = false;
	assert_int_equal(fake_ctrls[1].reads + fake_ctrls[2].reads, 1);
	assert_int_equal(fake_ctrls[1].writes + fake_ctrls[2].writes, 2);
	assert_int_equal(status_of(command(nvme_cmd_write_zeroes, 0, 1000), 0), 0);
	assert_int_equal(status_of(command(nvme_cmd_flush, 0, 1), 0), 0);
}

static void ranges(void **state)
{
	assert_int_equal(status_of(command(nvme_cmd_read, 992, 8), 4096), 0);
	assert_int_equal(status_of(command(nvme_cmd_read, 993, 8), 4096), LBA_RANGE);
	assert_int_equal(status_of(command(nvme_cmd_read, 1000, 8), 4096), LBA_RANGE);
	assert_int_equal(status_of(command(nvme_cmd_read, UINT64_MAX, 8), 4096), LBA_RANGE);
	assert_int_equal(status_of(command(nvme_cmd_write, UINT64_MAX - 6, 8), 4096), LBA_RANGE);
	assert_int_equal(status_of(command(nvme_cmd_write_zeroes, 0, 1001), 0), LBA_RANGE);
	assert_int_equal(status_of(command(nvme_cmd_write_zeroes, 0, 65536), 0), LBA_RANGE);
}

/* All of the namespace, whatever blocks it names besides. */
static void zeroes_without_bounds(void **state)
{
	struct nvme_sqe sqe = command(nvme_cmd_write_zeroes, 0, 1000);

	sqe.cdw12 |= htole32(1u << 23);
	assert_int_equal(status_of(sqe, 0), NVME_ST_INVALID_FIELD);
	assert_int_equal(fake_ctrls[1].writes + fake_ctrls[2].writes, 0);
}

static void lengths(void **state)
{
	assert_int_equal(status_of(command(nvme_cmd_read, 0, 8), 4095), SGL_LENGTH);
	assert_int_equal(status_of(command(nvme_cmd_read, 0, 8), 0), SGL_LENGTH);
	assert_int_equal(status_of(command(nvme_cmd_read, 0, 8), 8192), SGL_LENGTH);
	assert_int_equal(status_of(command(nvme_cmd_write, 0, 8), 512), SGL_LENGTH);
	assert_int_equal(status_of(command(nvme_cmd_write, 0, 65536), 512), SGL_LENGTH);
}

static void more_than_mdts(void **state)
{
	((struct host_queue *)io->priv)->limits.max_transfer = 8192;
	assert_int_equal(status_of(command(nvme_cmd_read, 0, 16), 8192), 0);
	assert_int_equal(status_of(command(nvme_cmd_read, 0, 17), 8704), NVME_ST_INVALID_FIELD);
}

static void namespaces(void **state)
{
	static const uint32_t bad[] = {0, 77, 1024, 1025, 0xfffffffe, NVME_NSID_ALL};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct nvme_sqe sqe = command(nvme_cmd_read, 0, 8);

		sqe.nsid = htole32(bad[i]);
		assert_int_equal(status_of(sqe, 4096), NVME_ST_INVALID_NS);
		sqe = command(nvme_cmd_flush, 0, 1);
		sqe.nsid = htole32(bad[i]);
		assert_int_equal(status_of(sqe, 0), NVME_ST_INVALID_NS);
	}
}

static void fused_and_unknown(void **state)
{
	struct nvme_sqe sqe = command(nvme_cmd_write, 0, 8);

	sqe.flags = 1;
	assert_int_equal(status_of(sqe, 4096), NVME_ST_INVALID_FIELD);
	for (unsigned op = 0; op < 256; op++) {
		switch (op) {
		case nvme_cmd_flush:
		case nvme_cmd_write:
		case nvme_cmd_read:
		case nvme_cmd_write_zeroes:
		case NVME_OPC_FABRICS:
			continue;
		}
		assert_int_equal(status_of(command((uint8_t)op, 0, 1), 512),
				 NVME_ST_INVALID_OPCODE);
	}
}

static void dataset_management(void **state)
{
	struct nvme_sqe sqe = command(nvme_cmd_dsm, 0, 1);

	((struct host_queue *)io->priv)->limits.oncs |= NVME_CTRL_ONCS_DSM;
	sqe.cdw10 = htole32(1); /* two ranges */
	sqe.cdw11 = htole32(4);
	assert_int_equal(status_of(sqe, 16), SGL_LENGTH);
	assert_int_equal(status_of(sqe, 32), 0);
	assert_int_equal(status_of(sqe, 4096), 0);
	assert_int_equal(status_of(sqe, 4112), SGL_LENGTH);
}

/* Both upstreams abort what is beyond these. */
static int setup_bounded(void **state)
{
	gw_defaults();
	for (unsigned port = 1; port < 3; port++) {
		fake_ctrls[port].no_write_zeroes = true;
		fake_ctrls[port].nvm.wzsl = 1; /* 16 blocks */
		fake_ctrls[port].nvm.vsl = 2;  /* 32 blocks */
		fake_ctrls[port].nvm.dmrl = 2;
		fake_ctrls[port].nvm.dmrsl = htole32(100);
		fake_ctrls[port].nvm.dmsl = htole64(150);
	}
	gw_start(2);
	admin = host_controller(FAKE_GW_NQN);
	io = host_io_queue(admin, 1);
	return 0;
}

static void bounded_sizes(void **state)
{
	assert_int_equal(status_of(command(nvme_cmd_write_zeroes, 0, 16), 0), 0);
	assert_int_equal(status_of(command(nvme_cmd_write_zeroes, 0, 17), 0),
			 NVME_ST_INVALID_FIELD);
	assert_int_equal(status_of(command(nvme_cmd_verify, 0, 32), 0), 0);
	assert_int_equal(status_of(command(nvme_cmd_verify, 0, 33), 0), NVME_ST_INVALID_FIELD);
	/* A limit that no command reaches */
	((struct host_queue *)io->priv)->limits.verify = 64;
	assert_int_equal(status_of(command(nvme_cmd_verify, 0, 33), 0), 0);
}

static uint16_t deallocate(uint32_t n, const uint32_t *blocks)
{
	struct nvme_sqe sqe = command(nvme_cmd_dsm, 0, 1);
	struct nvme_dsm_range *r = (void *)data;

	sqe.cdw10 = htole32(n - 1);
	sqe.cdw11 = htole32(4);
	for (uint32_t i = 0; i < n; i++)
		r[i] = (struct nvme_dsm_range){.slba = htole64(i * 100), .nlb = htole32(blocks[i])};
	return status_of(sqe, n * (uint32_t)sizeof(*r));
}

static void bounded_dataset_management(void **state)
{
	static const uint32_t good[] = {100, 50}, many[] = {1, 1, 1}, large[] = {1, 101},
			      all[] = {100, 51};

	for (unsigned fetch = 0; fetch < 2; fetch++) {
		host_fetch = fetch;
		assert_int_equal(deallocate(2, good), 0);
		assert_int_equal(deallocate(3, many), SIZE_LIMIT);
		assert_int_equal(deallocate(2, large), SIZE_LIMIT);
		assert_int_equal(deallocate(2, all), SIZE_LIMIT);
	}
	host_fetch = false;
	/* With the bit of ONCS what is beyond is not an error. */
	((struct host_queue *)io->priv)->limits.bounded = 0;
	assert_int_equal(deallocate(3, many), 0);
	assert_int_equal(deallocate(2, all), 0);
	assert_int_equal(status_of(command(nvme_cmd_write_zeroes, 0, 17), 0), 0);
}

/* A retry delay is for hosts that know of it. */
static void retry_delay_bits(void **state)
{
	uint16_t status = NVME_STATUS(0, NVME_SC_NS_NOT_READY) | 1u << 11 | NVME_DNR;

	fake_ctrls[1].io_status = fake_ctrls[2].io_status = status;
	assert_int_equal(status_of(command(nvme_cmd_read, 0, 8), 4096), status & ~NVME_SC_CRD);
	host_ctrl(admin)->acre = true;
	assert_int_equal(status_of(command(nvme_cmd_read, 0, 8), 4096), status);
}

static void spin_ms(unsigned ms)
{
	uint64_t end = loop_now_exact(gw->control) + ms * NSEC_PER_MSEC;

	while (loop_now_exact(gw->control) < end) {
		gw_spin(1);
		usleep(1000);
	}
}

static uint16_t send_read(void)
{
	struct nvme_sqe sqe = command(nvme_cmd_read, 0, 8);

	return host_send(io, &sqe, NULL, 4096);
}

static void cut_all(void)
{
	for (unsigned port = 1; port < 3; port++) {
		fake_ctrls[port].down = true;
		fake_cut(port);
	}
	gw_spin(20);
}

static uint32_t abort_command(uint16_t sqid, uint16_t cid)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_abort_cmd,
		.cdw10 = htole32((uint32_t)cid << 16 | sqid),
	};
	struct answer *a = host_command(admin, &sqe, NULL, 0);

	assert_int_equal(a->status, 0);
	return (uint32_t)a->result;
}

static void abort_takes_back_what_is_held(void **state)
{
	uint16_t cid;

	cut_all();
	cid = send_read();
	gw_spin(5);
	assert_false(host_answer(cid)->there);
	assert_int_equal(abort_command(2, cid), 1);
	assert_int_equal(abort_command(99, cid), 1);
	assert_int_equal(abort_command(1, (uint16_t)(cid + 1)), 1);
	assert_false(host_answer(cid)->there);
	assert_int_equal(abort_command(1, cid), 0);
	assert_true(host_answer(cid)->there);
	assert_int_equal(host_answer(cid)->status, NVME_STATUS(0, NVME_SC_ABORT_REQ));
	assert_int_equal(abort_command(1, cid), 1);
}

static void unstick(void)
{
	for (unsigned port = 1; port < 3; port++) {
		fake_ctrls[port].stuck = false;
		fake_look(port);
	}
}

/* The transport is told what of a read must come from one attempt. */
static void reads_know_their_blocks(void **state)
{
	uint16_t cid;

	fake_ctrls[1].stuck = fake_ctrls[2].stuck = true;
	cid = send_read();
	gw_spin(5);
	assert_int_equal(TAILQ_FIRST(&io->requests)->block, 512);
	unstick();
	assert_int_equal(host_answer(cid)->status, 0);
}

/* A path where a write of eight blocks is done as one */
static int setup_runs(void **state)
{
	gw_defaults();
	fake_ctrls[2].idns.nawun = htole16(7);
	gw_start(2);
	admin = host_controller(FAKE_GW_NQN);
	io = host_io_queue(admin, 1);
	return 0;
}

static void reads_are_one_where_writes_are(void **state)
{
	uint16_t cid;

	fake_ctrls[1].stuck = fake_ctrls[2].stuck = true;
	cid = send_read();
	gw_spin(5);
	assert_int_equal(TAILQ_FIRST(&io->requests)->block, 4096);
	unstick();
	assert_int_equal(host_answer(cid)->status, 0);
}

static void abort_cannot_reach_upstream(void **state)
{
	uint16_t cid;

	fake_ctrls[1].stuck = fake_ctrls[2].stuck = true;
	cid = send_read();
	gw_spin(5);
	assert_int_equal(abort_command(1, cid), 1);
	assert_false(host_answer(cid)->there);
	unstick();
}

static void abort_event_request(void **state)
{
	struct nvme_sqe sqe = {.opcode = nvme_admin_async_event};
	uint16_t cid = host_send(admin, &sqe, NULL, 0);

	assert_int_equal(abort_command(0, cid), 0);
	assert_int_equal(host_answer(cid)->status, NVME_STATUS(0, NVME_SC_ABORT_REQ));
	assert_int_equal(abort_command(0, cid), 1);
}

static void abort_of_a_queue_that_goes(void **state)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_abort_cmd,
		.cdw10 = htole32(1),
	};
	uint16_t cid;

	io->tr->close(io, "");
	cid = host_send(admin, &sqe, NULL, 0);
	gw_spin(10);
	assert_true(host_answer(cid)->there);
	assert_int_equal(host_answer(cid)->result, 1);
	assert_int_equal(host_ctrl(admin)->nr_queues, 0);
}

/* Control still has its connection: no other thread may look at it. */
static void abort_of_a_queue_on_its_way(void **state)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_abort_cmd,
		.cdw10 = htole32(2),
	};
	struct connect_args a = host_connect_args();
	struct tgt_qpair *second = host_open();
	uint16_t cid;

	a.qid = 2;
	a.cntlid = host_ctrl(admin)->ident.cntlid;
	host_connect(second, &a);
	cid = host_send(admin, &sqe, NULL, 0);
	assert_ptr_equal(second->loop, gw->control);
	assert_true(host_answer(cid)->there);
	assert_int_equal(host_answer(cid)->result, 1);
	gw_spin(5);
	assert_ptr_equal(second->loop, gw->workers[0].loop);
}

static void abort_limit(void **state)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_abort_cmd,
		.cdw10 = htole32(1),
	};
	uint16_t cid;

	for (unsigned i = 0; i < CTRL_ABORT_LIMIT; i++)
		host_send(admin, &sqe, NULL, 0);
	cid = host_send(admin, &sqe, NULL, 0);
	assert_int_equal(host_answer(cid)->status, NVME_STATUS(1, NVME_SC_ABORT_LIMIT) | NVME_DNR);
	gw_spin(5);
}

static void held_commands_leave_with_their_host(void **state)
{
	cut_all();
	for (int i = 0; i < 5; i++)
		send_read();
	gw_spin(5);
	host_close(io);
	assert_int_equal(pool_free_requests(loop_pool(gw->workers[0].loop)),
			 pool_total_requests(loop_pool(gw->workers[0].loop)));
}

/* What cannot be sent on yet needs no memory here. */
static void held_writes_leave_their_data_with_the_host(void **state)
{
	struct nvme_sqe sqe = command(nvme_cmd_write, 0, 128);
	struct pool *pool = loop_pool(gw->workers[0].loop);
	uint16_t cid;

	cut_all();
	host_fetch = true;
	cid = host_send(io, &sqe, data, 65536);
	host_fetch = false;
	gw_spin(5);
	assert_false(host_answer(cid)->there);
	assert_int_equal(pool_free_requests(pool), pool_total_requests(pool) - 1);
	assert_int_equal(pool_free_segments(pool), pool_total_segments(pool));
	fake_ctrls[1].down = fake_ctrls[2].down = false;
	for (int i = 0; i < 1000 && !host_answer(cid)->there; i++)
		spin_ms(5);
	assert_true(host_answer(cid)->there);
	assert_int_equal(host_answer(cid)->status, 0);
	assert_int_equal(fake_ctrls[1].writes + fake_ctrls[2].writes, 1);
}

static void commands_upstream_outlive_their_host(void **state)
{
	fake_ctrls[1].stuck = fake_ctrls[2].stuck = true;
	for (int i = 0; i < 5; i++)
		send_read();
	gw_spin(5);
	host_close(admin);
	gw_spin(10);
	assert_false(host_is_open(io));
	assert_int_equal(gw_ss->nr_controllers, 0);
	assert_int_equal(pool_free_requests(loop_pool(gw->workers[0].loop)) + 5,
			 pool_total_requests(loop_pool(gw->workers[0].loop)));
	unstick();
}

static void the_end_waits_for_commands_upstream(void **state)
{
	fake_ctrls[1].stuck = fake_ctrls[2].stuck = true;
	send_read();
	gw_spin(5);
	gateway_stop(gw);
	for (int i = 0; i < 5; i++)
		spin_ms(10);
	assert_false(host_is_open(io));
	assert_true(gw->ending);
	assert_int_equal(gw_usable(), 2);
	unstick();
	for (int i = 0; i < 1000 && gw->mp->objects; i++)
		spin_ms(1);
	assert_int_equal(gw->mp->objects, 0);
}

static void the_end_does_not_wait_for_ever(void **state)
{
	fake_ctrls[1].stuck = fake_ctrls[2].stuck = true;
	send_read();
	gw_spin(5);
	gateway_stop(gw);
	gw_spin(5);
	gw->drain.started -= DRAIN_MAX;
	for (int i = 0; i < 1000 && gw->mp->objects; i++)
		spin_ms(1);
	assert_int_equal(gw->mp->objects, 0);
}

static void held_then_a_path_comes_back(void **state)
{
	uint16_t cid;

	cut_all();
	cid = send_read();
	gw_spin(5);
	assert_false(host_answer(cid)->there);
	fake_ctrls[2].down = false;
	for (int i = 0; i < 1000000 && !host_answer(cid)->there; i++)
		gw_spin(1);
	assert_true(host_answer(cid)->there);
	assert_int_equal(host_answer(cid)->status, 0);
}

static void connection_lost_while_data_is_fetched(void **state)
{
	struct nvme_sqe sqe = command(nvme_cmd_write, 0, 8);

	host_fetch = true;
	host_send(io, &sqe, data, 4096);
	host_fetch = false;
	host_close(io);
}

static void namespace_lost_while_data_is_fetched(void **state)
{
	struct nvme_sqe sqe = command(nvme_cmd_write, 0, 8);
	uint16_t cid;

	host_fetch = true;
	cid = host_send(io, &sqe, data, 4096);
	host_fetch = false;
	/* As the worker sees it when control has removed the head */
	gw_ss->mp->sw[0]->heads[gw_nsid()] = NULL;
	gw_spin(2);
	assert_true(host_answer(cid)->there);
	assert_int_equal(host_answer(cid)->status, NVME_ST_INVALID_NS);
	gw_ss->mp->sw[0]->heads[gw_nsid()] = TAILQ_FIRST(&gw_ss->mp->heads)->hw[0];
}

/* ---- admin commands that wait for buffers ---- */

static void admin_waits_for_buffers(void **state)
{
	struct pool *pool = loop_pool(gw->control);
	struct request *hog[256];
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_identify,
		.cdw10 = htole32(NVME_IDENTIFY_CNS_CTRL),
	};
	unsigned n = 0;
	uint16_t cid[3];

	while (pool_free_segments(pool)) {
		uint32_t len = pool_free_segments(pool) * SEG_SIZE;

		hog[n] = pool_get(pool);
		assert_int_equal(
			request_alloc_data(hog[n], len < REQUEST_MAX_DATA ? len : REQUEST_MAX_DATA),
			0);
		n++;
	}
	for (unsigned i = 0; i < 2; i++)
		cid[i] = host_send(admin, &sqe, NULL, 4096);
	gw_spin(3);
	assert_false(host_answer(cid[0])->there);
	pool_put(hog[--n]);
	gw_spin(3);
	assert_true(host_answer(cid[0])->there);
	assert_true(host_answer(cid[1])->there);
	assert_int_equal(host_answer(cid[1])->status, 0);
	/* And one whose connection goes while it waits */
	hog[n] = pool_get(pool);
	assert_int_equal(request_alloc_data(hog[n], pool_free_segments(pool) * SEG_SIZE), 0);
	n++;
	cid[2] = host_send(admin, &sqe, NULL, 4096);
	host_close(admin);
	assert_true(host_answer(cid[2])->there);
	assert_true(TAILQ_EMPTY(&gw->starved));
	while (n)
		pool_put(hog[--n]);
}

static int setup_shared(void **state)
{
	gw_defaults();
	((struct listener_cfg *)gw_cfg.listeners)->tgt.max_connections = 20;
	gw_subsys_cfg.max_controllers = 20;
	gw_start(2);
	admin = host_controller(FAKE_GW_NQN);
	return 0;
}

static unsigned answered(const uint16_t *cid, unsigned n)
{
	unsigned there = 0;

	for (unsigned i = 0; i < n; i++)
		there += host_answer(cid[i])->there;
	return there;
}

/* Hosts that ask for much and read nothing get so much memory and no more, and others get theirs.
 */
static void admin_memory_is_shared(void **state)
{
	struct nvme_sqe big = {
		.opcode = nvme_admin_get_log_page,
		.cdw10 = htole32(0xffffu << 16 | NVME_LOG_LID_SMART),
	};
	struct nvme_sqe small = {
		.opcode = nvme_admin_identify,
		.cdw10 = htole32(NVME_IDENTIFY_CNS_CTRL),
	};
	struct tgt_qpair *deaf[15];
	uint16_t cid[20];

	for (unsigned i = 0; i < 15; i++)
		deaf[i] = host_controller(FAKE_GW_NQN);
	host_deaf = true;
	for (unsigned i = 0; i < 15; i++) {
		for (unsigned n = 0; n < 20; n++)
			cid[n] = host_send(deaf[i], n & 1 ? &small : &big, NULL, 256 << 10);
		gw_spin(5);
		assert_in_range(answered(cid, 20), i < 8, CTRL_ADMIN_COMMANDS);
	}
	host_deaf = false;
	assert_int_equal(host_command(admin, &small, NULL, 4096)->status, 0);
	assert_int_equal(host_log(admin, NVME_LOG_LID_ANA, 0, 36880, false)->status, 0);
	/* And all that was asked once it is taken */
	for (unsigned i = 0; i < 15; i++)
		host_hear(deaf[i]);
	for (unsigned i = 0; i < 100 && answered(cid, 20) < 20; i++)
		spin_ms(10);
	assert_int_equal(answered(cid, 20), 20);
}

/* A burst of commands is answered in one go. */
static void admin_bursts_do_not_wait(void **state)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_identify,
		.cdw10 = htole32(NVME_IDENTIFY_CNS_CTRL),
	};
	uint16_t cid[31];

	host_deaf = true; /* as it is within one turn */
	for (unsigned n = 0; n < 31; n++)
		cid[n] = host_send(admin, &sqe, NULL, 4096);
	host_deaf = false;
	for (unsigned turns = 0; turns < 5; turns++) {
		host_hear(admin);
		gw_spin(1);
	}
	assert_int_equal(answered(cid, 31), 31);
}

static struct host_queue *admin_queue(void)
{
	return host_ctrl(admin)->admin;
}

static void postponed_are(unsigned n)
{
	const struct host_queue *q = admin_queue();
	const struct request *req;
	unsigned found = 0;

	TAILQ_FOREACH(req, &q->postponed, link)
		found++;
	assert_int_equal(found, n);
	assert_int_equal(q->nr_postponed, n);
	assert_int_equal(TAILQ_FIRST(&gw->line) == q, n != 0);
}

/* A host that takes no answers has as many commands looked at as any other: one. */
static void admin_commands_wait_in_line(void **state)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_identify,
		.cdw10 = htole32(NVME_IDENTIFY_CNS_CTRL),
	};
	struct request *req;
	uint16_t cid[121];

	host_deaf = true;
	for (unsigned n = 0; n < 120; n++)
		cid[n] = host_send(admin, &sqe, NULL, 4096);
	postponed_are(120 - CTRL_ADMIN_COMMANDS);
	/* Who looks at one of these answers it. */
	req = TAILQ_FIRST(&admin_queue()->postponed);
	while ((req = TAILQ_NEXT(req, link)))
		req->sqe.opcode = 0xff;
	spin_ms(40);
	assert_int_equal(answered(cid, 120), CTRL_ADMIN_COMMANDS);
	postponed_are(120 - CTRL_ADMIN_COMMANDS);
	/* There is room for one that comes now, but not before the others. */
	host_hear(admin);
	cid[120] = host_send(admin, &sqe, NULL, 4096);
	assert_false(host_answer(cid[120])->there);
	postponed_are(121 - CTRL_ADMIN_COMMANDS);
	host_deaf = false;
	for (unsigned i = 0; i < 100 && answered(cid, 121) < 121; i++)
		spin_ms(10);
	assert_int_equal(answered(cid, 121), 121);
	assert_int_equal(host_answer(cid[120])->status, 0);
	postponed_are(0);
}

/* Nor does one that needs more than there is at present wait for ever. */
static void admin_big_one_has_its_turn(void **state)
{
	struct nvme_sqe big = {
		.opcode = nvme_admin_get_log_page,
		.nsid = htole32(NVME_NSID_ALL),
		.cdw10 = htole32((36880u / 4 - 1) << 16 | NVME_LOG_LID_ANA),
	};
	struct nvme_sqe small = {
		.opcode = nvme_admin_identify,
		.cdw10 = htole32(NVME_IDENTIFY_CNS_CTRL),
	};
	unsigned reserved = gw->reserved_segments;
	uint16_t cid[3];

	gw->reserved_segments = pool_total_segments(loop_pool(gw->control));
	host_deaf = true;
	cid[0] = host_send(admin, &small, NULL, 4096);
	cid[1] = host_send(admin, &big, NULL, 36880);
	cid[2] = host_send(admin, &small, NULL, 4096);
	spin_ms(20);
	assert_int_equal(answered(cid, 3), 1);
	postponed_are(2);
	host_hear(admin);
	for (unsigned i = 0; i < 100 && answered(cid, 3) < 3; i++)
		spin_ms(10);
	assert_int_equal(answered(cid, 3), 3);
	assert_int_equal(host_answer(cid[1])->status, 0);
	postponed_are(0);
	host_deaf = false;
	host_hear(admin);
	gw->reserved_segments = reserved;
}

static void admin_queue_goes_with_those_that_wait(void **state)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_identify,
		.cdw10 = htole32(NVME_IDENTIFY_CNS_CTRL),
	};
	uint16_t cid[20];

	host_deaf = true;
	for (unsigned n = 0; n < 20; n++)
		cid[n] = host_send(admin, &sqe, NULL, 4096);
	postponed_are(20 - CTRL_ADMIN_COMMANDS);
	host_deaf = false;
	host_close(admin);
	assert_int_equal(answered(cid, 20), 20);
	assert_true(TAILQ_EMPTY(&gw->line));
}

/* However much hosts have of control's pool. */
static void upstreams_do_without_the_hosts_pool(void **state)
{
	struct pool *pool = loop_pool(gw->control);
	struct request *hog = NULL, *req;

	while ((req = pool_get(pool))) {
		req->complete_arg = hog;
		hog = req;
	}
	for (unsigned port = 1; port < 3; port++) {
		fake_ctrls[port].ns[2] = (struct fake_ns){true, 2000, 22, 0, false};
		fake_notice(port, NVME_AER_NOTICE_NS_CHANGED);
	}
	for (unsigned i = 0; i < 1000 && gw_usable() < 4; i++)
		gw_spin(1);
	assert_int_equal(gw_usable(), 4);
	for (; hog; hog = req) {
		req = hog->complete_arg;
		pool_put(hog);
	}
}

int main(void)
{
#define T(f)		cmocka_unit_test_setup_teardown(f, setup, teardown)
#define T_WITH(f, with) cmocka_unit_test_setup_teardown(f, with, teardown)
	const struct CMUnitTest tests[] = {
		T(reads_and_writes),
		T(ranges),
		T(zeroes_without_bounds),
		T(lengths),
		T(more_than_mdts),
		T(namespaces),
		T(fused_and_unknown),
		T(dataset_management),
		T_WITH(bounded_sizes, setup_bounded),
		T_WITH(bounded_dataset_management, setup_bounded),
		T(retry_delay_bits),
		T(abort_takes_back_what_is_held),
		T(reads_know_their_blocks),
		T_WITH(reads_are_one_where_writes_are, setup_runs),
		T(abort_cannot_reach_upstream),
		T(abort_event_request),
		T(abort_of_a_queue_that_goes),
		T(abort_of_a_queue_on_its_way),
		T(abort_limit),
		T(held_commands_leave_with_their_host),
		T(held_writes_leave_their_data_with_the_host),
		T(commands_upstream_outlive_their_host),
		T(the_end_waits_for_commands_upstream),
		T(the_end_does_not_wait_for_ever),
		T(held_then_a_path_comes_back),
		T(connection_lost_while_data_is_fetched),
		T(namespace_lost_while_data_is_fetched),
		T(admin_waits_for_buffers),
		T_WITH(admin_memory_is_shared, setup_shared),
		T(admin_bursts_do_not_wait),
		T(admin_commands_wait_in_line),
		T(admin_big_one_has_its_turn),
		T(admin_queue_goes_with_those_that_wait),
		T(upstreams_do_without_the_hosts_pool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
