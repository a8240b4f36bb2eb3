/* SPDX-License-Identifier: Apache-2.0 */
/* The local kind "file", driven through a loop as the multipath layer does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transport/file.h"
#include "transport/pool.h"

#define BLOCK	     512u
#define SIZE	     (8u << 20)
#define BLOCKS	     (SIZE / BLOCK)
#define DEPTH	     16u
#define NQN	     "nqn.2024-01.org.nvmegw:test"
#define DNR(sct, sc) (NVME_STATUS(sct, sc) | NVME_DNR)

static struct loop *loop;
static struct pool *pool;
static char dir[] = "/tmp/nvmegw-file-XXXXXX";
static char path[64];
static struct file_ns *ns;
static struct ini_qpair *admin, *io;
static unsigned connects, losses;

static void on_connected(struct ini_qpair *qp, int error, const struct nvme_cqe *cqe)
{
	assert_int_equal(error, 0);
	assert_true(qp->live);
	connects++;
}

static void on_lost(struct ini_qpair *qp, int error, const char *reason)
{
	losses++;
}

static const struct ini_ops ops = {.connected = on_connected, .lost = on_lost};

static struct ini_qpair *connect_qpair(uint16_t qid)
{
	struct ini_params params = {.qid = qid, .cntlid = 0xffff, .sq_size = DEPTH, .file_ns = ns};
	unsigned before = connects;
	struct ini_qpair *qp = ini_file.connect(loop, &params, &ops, NULL);

	assert_non_null(qp);
	assert_int_equal(connects, before);
	assert_false(qp->live);
	loop_turn(loop, true);
	assert_int_equal(connects, before + 1);
	assert_int_equal(ini_room(qp), DEPTH - 1);
	return qp;
}

static struct file_ns_config config(void)
{
	return (struct file_ns_config){
		.path = path,
		.size = SIZE,
		.subnqn = NQN,
		.cntlid = 7,
		.ana_state = NVME_ANA_STATE_OPTIMIZED,
	};
}

static void open_ns(const struct file_ns_config *cfg)
{
	char err[256];

	ns = file_ns_open(cfg, err, sizeof(err));
	if (!ns)
		fail_msg("%s", err);
	admin = connect_qpair(0);
	io = connect_qpair(1);
}

static void close_ns(void)
{
	ini_file.close(io);
	ini_file.close(admin);
	file_ns_close(ns);
}

static int setup(void **state)
{
	struct file_ns_config cfg = config();

	loop = loop_new(1, -1);
	pool = pool_new(loop, 64, 256);
	snprintf(path, sizeof(path), "%s/disk", dir);
	open_ns(&cfg);
	return 0;
}

static int teardown(void **state)
{
	close_ns();
	assert_int_equal(losses, 0);
	assert_int_equal(pool_free_requests(pool), 64);
	assert_int_equal(pool_free_segments(pool), 256);
	pool_free(pool);
	loop_free(loop);
	unlink(path);
	return 0;
}

/* ---- commands ---- */

struct outcome {
	int error;
	unsigned times;
};

static void on_done(struct request *req, int error)
{
	struct outcome *out = req->complete_arg;

	assert_null(req->ini);
	out->error = error;
	out->times++;
}

static struct request *command(struct outcome *out, uint8_t opcode, uint32_t data_len)
{
	struct request *req = pool_get(pool);

	*out = (struct outcome){0};
	req->complete_arg = out;
	req->ini_done = on_done;
	req->sqe.opcode = opcode;
	req->sqe.nsid = htole32(1);
	req->dir = nvme_sqe_dir(&req->sqe);
	req->data_len = data_len;
	assert_int_equal(request_alloc_data(req, data_len), 0);
	if (req->dir == NVME_DIR_H2C)
		req->filled = data_len;
	return req;
}

static struct request *rw(struct outcome *out, uint8_t opcode, uint64_t slba, uint32_t blocks,
			  uint32_t data_len)
{
	struct request *req = command(out, opcode, data_len);

	req->sqe.cdw10 = htole32((uint32_t)slba);
	req->sqe.cdw11 = htole32((uint32_t)(slba >> 32));
	req->sqe.cdw12 = htole32(blocks - 1);
	return req;
}

/* Submits and waits; the status. */
static uint16_t run_on(struct ini_qpair *qp, struct request *req)
{
	struct outcome *out = req->complete_arg;

	assert_int_equal(ini_file.submit(qp, req), 0);
	assert_int_equal(out->times, 0);
	for (unsigned i = 0; i < 1000 && !out->times; i++)
		loop_turn(loop, true);
	assert_int_equal(out->times, 1);
	assert_int_equal(out->error, 0);
	return nvme_cqe_status(&req->cqe);
}

static uint16_t run_put(struct ini_qpair *qp, struct request *req)
{
	uint16_t status = run_on(qp, req);

	pool_put(req);
	return status;
}

static uint8_t pattern(uint64_t byte, uint8_t seed)
{
	return (uint8_t)(byte * 31 + (byte >> 9) + seed);
}

static void fill_request(struct request *req, uint64_t slba, uint8_t seed)
{
	uint8_t *buf = malloc(req->data_len);

	for (uint32_t i = 0; i < req->data_len; i++)
		buf[i] = pattern(slba * BLOCK + i, seed);
	request_copy_in(req, 0, buf, req->data_len);
	free(buf);
}

static void check_request(const struct request *req, uint64_t slba, uint8_t seed, bool zero)
{
	uint8_t *buf = malloc(req->data_len);

	assert_int_equal(req->filled, req->data_len);
	request_copy_out(req, 0, buf, req->data_len);
	for (uint32_t i = 0; i < req->data_len; i++)
		if (buf[i] != (zero ? 0 : pattern(slba * BLOCK + i, seed)))
			fail_msg("byte %u differs", i);
	free(buf);
}

static uint16_t do_write(uint64_t slba, uint32_t blocks, uint8_t seed, uint32_t flags)
{
	struct outcome out;
	struct request *req = rw(&out, nvme_cmd_write, slba, blocks, blocks * BLOCK);

	fill_request(req, slba, seed);
	req->sqe.cdw12 |= htole32(flags);
	return run_put(io, req);
}

static void do_read(uint64_t slba, uint32_t blocks, uint8_t seed, bool zero, uint32_t flags)
{
	struct outcome out;
	struct request *req = rw(&out, nvme_cmd_read, slba, blocks, blocks * BLOCK);

	req->sqe.cdw12 |= htole32(flags);
	assert_int_equal(run_on(io, req), 0);
	check_request(req, slba, seed, zero);
	pool_put(req);
}

#define FUA  (1u << 30)
#define DEAC (1u << 25)

/* ---- I/O ---- */

static void test_write_read(void **state)
{
	static const uint32_t lens[] = {1, 8, 31, 32, 33, 64, 1000, 2048};

	do_read(0, 8, 0, true, 0); /* a new file */
	for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		assert_int_equal(do_write(3 + i, lens[i], (uint8_t)i, i & 1 ? FUA : 0), 0);
		do_read(3 + i, lens[i], (uint8_t)i, false, 0);
	}
	assert_int_equal(do_write(BLOCKS - 8, 8, 9, 0), 0);
	do_read(BLOCKS - 8, 8, 9, false, FUA);
}

static void test_cold_cache(void **state)
{
	struct outcome out;
	int fd = open(path, O_RDONLY);

	for (unsigned i = 0; i < SIZE / REQUEST_MAX_DATA; i++)
		assert_int_equal(do_write(i * 2048, 2048, 5, 0), 0);
	assert_int_equal(run_put(io, command(&out, nvme_cmd_flush, 0)), 0);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	for (unsigned i = SIZE / REQUEST_MAX_DATA; i--;)
		do_read(i * 2048, 2048, 5, false, 0);
}

/* A full queue, more than one batch of gathers, and -EAGAIN beyond it. */
static void test_queue_full(void **state)
{
	struct request *req[DEPTH - 1], *extra;
	struct outcome out[DEPTH - 1], none;

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < DEPTH - 1; i++) {
			req[i] = rw(&out[i], round ? nvme_cmd_read : nvme_cmd_write, i * 512, 512,
				    512 * BLOCK);
			if (!round)
				fill_request(req[i], i * 512, 1);
			assert_int_equal(ini_file.submit(io, req[i]), 0);
		}
		assert_int_equal(ini_room(io), 0);
		extra = command(&none, nvme_cmd_flush, 0);
		assert_int_equal(ini_file.submit(io, extra), -EAGAIN);
		assert_null(extra->ini);
		pool_put(extra);
		while (io->inflight)
			loop_turn(loop, true);
		for (unsigned i = 0; i < DEPTH - 1; i++) {
			assert_int_equal(out[i].times, 1);
			assert_int_equal(nvme_cqe_status(&req[i]->cqe), 0);
			if (round)
				check_request(req[i], i * 512, 1, false);
			pool_put(req[i]);
		}
	}
}

/* Commands submitted from completions, as a busy host does it. */
static unsigned chain_left;

static void on_chain(struct request *req, int error)
{
	assert_int_equal(error, 0);
	assert_int_equal(nvme_cqe_status(&req->cqe), 0);
	if (chain_left && chain_left--)
		assert_int_equal(ini_file.submit(io, req), 0);
	else
		pool_put(req);
}

static void test_chain(void **state)
{
	struct outcome out;

	chain_left = 500;
	for (unsigned i = 0; i < 4; i++) {
		struct request *req = rw(&out, nvme_cmd_read, i, 8, 8 * BLOCK);

		req->ini_done = on_chain;
		assert_int_equal(ini_file.submit(io, req), 0);
	}
	while (io->inflight)
		loop_turn(loop, true);
	assert_int_equal(chain_left, 0);
	assert_int_equal(stat_get(&io->commands), 504);
}

static void test_ranges(void **state)
{
	static const uint8_t opcodes[] = {nvme_cmd_read, nvme_cmd_write, nvme_cmd_compare,
					  nvme_cmd_verify, nvme_cmd_write_zeroes};
	struct outcome out;

	for (unsigned i = 0; i < sizeof(opcodes); i++) {
		uint32_t len = i < 3 ? 2 * BLOCK : 0;
		uint8_t op = opcodes[i];

		assert_int_equal(run_put(io, rw(&out, op, BLOCKS - 1, 2, len)),
				 DNR(0, NVME_SC_LBA_RANGE));
		assert_int_equal(run_put(io, rw(&out, op, BLOCKS, 2, len)),
				 DNR(0, NVME_SC_LBA_RANGE));
		assert_int_equal(run_put(io, rw(&out, op, UINT64_MAX, 2, len)),
				 DNR(0, NVME_SC_LBA_RANGE));
	}
	assert_int_equal(run_put(io, rw(&out, nvme_cmd_read, 0, 2, BLOCK)),
			 DNR(0, NVME_SC_SGL_INVALID_DATA));
	assert_int_equal(run_put(io, rw(&out, nvme_cmd_write, 0, 1, 2 * BLOCK)),
			 DNR(0, NVME_SC_SGL_INVALID_DATA));
	assert_int_equal(run_put(io, rw(&out, nvme_cmd_read, 0, 4096, REQUEST_MAX_DATA)),
			 NVME_ST_INVALID_FIELD);
}

static void test_bad_commands(void **state)
{
	struct outcome out;
	struct request *req;

	assert_int_equal(run_put(io, command(&out, 0x04, 0)), NVME_ST_INVALID_OPCODE);
	assert_int_equal(run_put(io, command(&out, 0xff, 0)), NVME_ST_INVALID_OPCODE);
	req = command(&out, nvme_cmd_flush, 0);
	req->sqe.nsid = htole32(2);
	assert_int_equal(run_put(io, req), NVME_ST_INVALID_NS);
	req = command(&out, nvme_cmd_flush, 0);
	req->sqe.nsid = 0xffffffff;
	assert_int_equal(run_put(io, req), NVME_ST_INVALID_NS);
	req = command(&out, nvme_cmd_flush, 0);
	req->sqe.flags = 1;
	assert_int_equal(run_put(io, req), NVME_ST_INVALID_FIELD);
}

static void test_compare_verify(void **state)
{
	struct request *req[6];
	struct outcome out[6];

	assert_int_equal(do_write(0, 2048, 3, 0), 0);
	/* Several at once: they take turns. */
	for (unsigned i = 0; i < 6; i++) {
		bool verify = i == 4;

		req[i] = rw(&out[i], verify ? nvme_cmd_verify : nvme_cmd_compare, i, 600,
			    verify ? 0 : 600 * BLOCK);
		if (!verify)
			fill_request(req[i], i, 3);
		if (i == 2)
			request_zero(req[i], 599 * BLOCK + 511, 1);
		if (i == 5)
			request_zero(req[i], 0, 600 * BLOCK);
		req[i]->sqe.cdw12 |= htole32(i == 3 ? FUA : 0);
		assert_int_equal(ini_file.submit(io, req[i]), 0);
	}
	while (io->inflight)
		loop_turn(loop, true);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(out[i].times, 1);
		assert_int_equal(nvme_cqe_status(&req[i]->cqe),
				 i == 2 || i == 5 ? DNR(2, NVME_SC_COMPARE_FAILED) : 0);
		pool_put(req[i]);
	}
}

static void test_write_zeroes(void **state)
{
	static const uint32_t flags[] = {0, FUA, DEAC, DEAC | FUA};
	struct request *req;
	struct outcome out;

	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(do_write(0, 2000, 3, 0), 0);
		req = rw(&out, nvme_cmd_write_zeroes, 7, 1500, 0);
		req->sqe.cdw12 |= htole32(flags[i]);
		assert_int_equal(run_put(io, req), 0);
		do_read(0, 7, 3, false, 0);
		do_read(7, 1500, 0, true, 0);
		do_read(1507, 493, 3, false, 0);
	}
}

static uint16_t do_dsm(const struct nvme_dsm_range *ranges, unsigned n, uint32_t cdw11)
{
	struct outcome out;
	struct request *req = command(&out, nvme_cmd_dsm, n * (uint32_t)sizeof(*ranges));

	request_copy_in(req, 0, ranges, n * (uint32_t)sizeof(*ranges));
	req->sqe.cdw10 = htole32(n - 1);
	req->sqe.cdw11 = htole32(cdw11);
	return run_put(io, req);
}

static void test_deallocate(void **state)
{
	struct nvme_dsm_range ranges[256] = {0};
	struct request *req;
	struct outcome out;

	assert_int_equal(do_write(0, 2048, 3, 0), 0);
	ranges[0].slba = htole64(8);
	ranges[0].nlb = htole32(8);
	ranges[2].slba = htole64(64);
	ranges[2].nlb = htole32(16);
	ranges[255].slba = htole64(1024);
	ranges[255].nlb = htole32(1024);
	assert_int_equal(do_dsm(ranges, 256, 0), 0); /* no attribute: nothing happens */
	do_read(0, 2048, 3, false, 0);
	assert_int_equal(do_dsm(ranges, 256, 4), 0);
	do_read(0, 8, 3, false, 0);
	do_read(8, 8, 0, true, 0);
	do_read(16, 48, 3, false, 0);
	do_read(64, 16, 0, true, 0);
	do_read(80, 944, 3, false, 0);
	do_read(1024, 1024, 0, true, 0);

	/* One bad range: nothing is done. */
	ranges[1].slba = htole64(BLOCKS - 1);
	ranges[1].nlb = htole32(2);
	ranges[0].slba = 0;
	assert_int_equal(do_dsm(ranges, 2, 4), DNR(0, NVME_SC_LBA_RANGE));
	do_read(0, 8, 3, false, 0);
	req = command(&out, nvme_cmd_dsm, sizeof(ranges[0]));
	request_copy_in(req, 0, ranges, sizeof(ranges[0]));
	req->sqe.cdw10 = htole32(1);
	assert_int_equal(run_put(io, req), DNR(0, NVME_SC_SGL_INVALID_DATA));
}

static void test_read_only(void **state)
{
	struct nvme_dsm_range range = {.nlb = htole32(1)};
	struct file_ns_config cfg = config();
	struct outcome out;

	assert_int_equal(do_write(0, 8, 3, 0), 0);
	close_ns();
	cfg.read_only = true;
	open_ns(&cfg);
	do_read(0, 8, 3, false, FUA);
	assert_int_equal(do_write(0, 8, 4, 0), DNR(0, NVME_SC_NS_WRITE_PROTECTED));
	assert_int_equal(do_dsm(&range, 1, 4), DNR(0, NVME_SC_NS_WRITE_PROTECTED));
	assert_int_equal(run_put(io, rw(&out, nvme_cmd_write_zeroes, 0, 1, 0)),
			 DNR(0, NVME_SC_NS_WRITE_PROTECTED));
	assert_int_equal(run_put(io, command(&out, nvme_cmd_flush, 0)), 0);
	do_read(0, 8, 3, false, 0);
}

static void test_cut_file(void **state)
{
	struct outcome out;

	assert_int_equal(do_write(0, 16, 3, 0), 0);
	assert_int_equal(truncate(path, 4 * BLOCK), 0);
	assert_int_equal(run_put(io, rw(&out, nvme_cmd_read, 0, 8, 8 * BLOCK)),
			 NVME_STATUS(2, NVME_SC_READ_ERROR));
	assert_int_equal(run_put(io, rw(&out, nvme_cmd_verify, 0, 8, 0)),
			 NVME_STATUS(2, NVME_SC_READ_ERROR));
	do_read(0, 4, 3, false, 0);
}

static void test_ana_states(void **state)
{
	static const struct {
		uint8_t state;
		uint16_t status;
	} cases[] = {
		{NVME_ANA_STATE_NONOPTIMIZED, 0},
		{NVME_ANA_STATE_INACCESSIBLE, NVME_ST_ANA_INACCESSIBLE},
		{NVME_ANA_STATE_PERSISTENT_LOSS, NVME_STATUS(3, NVME_SC_ANA_PERSISTENT_LOSS)},
		{NVME_ANA_STATE_CHANGE, NVME_STATUS(3, NVME_SC_ANA_TRANSITION)},
	};
	struct file_ns_config cfg = config();
	struct outcome out;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		close_ns();
		cfg.ana_state = cases[i].state;
		open_ns(&cfg);
		assert_int_equal(run_put(io, command(&out, nvme_cmd_flush, 0)), cases[i].status);
	}
}

/* Whatever state a command is in, close() gives it back once and nobody writes to it after. */
static void test_close_in_flight(void **state)
{
	struct request *req[DEPTH - 1];
	struct outcome out[DEPTH - 1];

	for (unsigned turns = 0; turns < 4; turns++) {
		for (unsigned i = 0; i < DEPTH - 1; i++) {
			uint8_t op = i % 3 == 0	  ? nvme_cmd_write
				     : i % 3 == 1 ? nvme_cmd_compare
						  : nvme_cmd_read;

			req[i] = rw(&out[i], op, i * 512, 512, 512 * BLOCK);
			if (op == nvme_cmd_write)
				req[i]->sqe.cdw12 |= htole32(FUA);
			assert_int_equal(ini_file.submit(io, req[i]), 0);
		}
		for (unsigned i = 0; i < turns; i++)
			loop_turn(loop, false);
		ini_file.close(io);
		for (unsigned i = 0; i < DEPTH - 1; i++) {
			assert_int_equal(out[i].times, 1);
			assert_true(out[i].error == 0 || out[i].error == -ECANCELED);
			pool_put(req[i]);
		}
		io = connect_qpair(1);
	}
	do_read(0, 1, 0, true, 0);
}

/* ---- blocks are read and written whole ---- */

#define BIG   65536u
#define TURNS 2000u

static atomic_bool writing;

static void on_big_done(struct request *req, int error)
{
	assert_int_equal(error, 0);
	assert_int_equal(nvme_cqe_status(&req->cqe), 0);
	*(bool *)req->complete_arg = true;
}

static void big_io(struct loop *l, struct ini_qpair *qp, struct request *req)
{
	bool done = false;

	req->complete_arg = &done;
	assert_int_equal(ini_file.submit(qp, req), 0);
	while (!done)
		loop_turn(l, true);
}

static struct request *big_request(struct pool *from, uint8_t opcode)
{
	struct request *req = pool_get(from);

	req->sqe = (struct nvme_sqe){.opcode = opcode, .nsid = htole32(1)};
	req->dir = nvme_sqe_dir(&req->sqe);
	req->data_len = BIG;
	req->ini_done = on_big_done;
	assert_int_equal(request_alloc_data(req, BIG), 0);
	if (req->dir == NVME_DIR_H2C)
		req->filled = BIG;
	return req;
}

/* Another worker with a queue of its own; the number of reads that saw half of a write. */
static void *read_big(void *arg)
{
	struct ini_params params = {.qid = 2, .sq_size = DEPTH, .file_ns = ns};
	static const struct ini_ops quiet = {.connected = on_connected};
	struct loop *l = loop_new(2, -1);
	struct pool *p = pool_new(l, 4, 16);
	struct ini_qpair *qp = ini_file.connect(l, &params, &quiet, NULL);
	struct request *req = big_request(p, nvme_cmd_read);
	static uint8_t got[BIG];
	uintptr_t torn = 0;

	while (!qp->live)
		loop_turn(l, true);
	while (atomic_load(&writing)) {
		big_io(l, qp, req);
		request_copy_out(req, 0, got, BIG);
		torn += memcmp(got, got + 1, BIG - 1) != 0;
	}
	pool_put(req);
	ini_file.close(qp);
	pool_free(p);
	loop_free(l);
	return (void *)torn;
}

/* With big blocks what would be rare with small ones happens soon. */
static void test_no_torn_blocks(void **state)
{
	struct file_ns_config cfg = config();
	struct request *req;
	uint8_t fill[BIG];
	pthread_t reader;
	void *torn;

	close_ns();
	cfg.block_size = BIG;
	open_ns(&cfg);
	atomic_store(&writing, true);
	assert_int_equal(pthread_create(&reader, NULL, read_big, NULL), 0);
	req = big_request(pool, nvme_cmd_write);
	for (unsigned i = 0; i < TURNS; i++) {
		memset(fill, (int)(i & 0xff), BIG);
		request_copy_in(req, 0, fill, BIG);
		big_io(loop, io, req);
	}
	pool_put(req);
	atomic_store(&writing, false);
	pthread_join(reader, &torn);
	assert_null(torn);
}

static bool take(struct file_claim *k, bool writes, uint64_t pos, uint64_t len)
{
	k->writes = writes;
	return file_claim_take(ns, k, pos, len);
}

static void test_claims(void **state)
{
	struct file_claim r[2] = {0}, w[2] = {0}, far = {0};

	assert_true(take(&r[0], false, 0, 512));
	assert_true(take(&r[1], false, 3584, 1024)); /* in two pages */
	assert_false(take(&w[0], true, 4096, 512));
	assert_true(take(&far, true, 8192, 4096));
	file_claim_drop(ns, &r[1]);
	/* Who wants to write keeps new readers out, until it gives up. */
	assert_false(take(&r[1], false, 4096, 512));
	file_claim_drop(ns, &w[0]);
	assert_true(take(&r[1], false, 4096, 512));
	file_claim_drop(ns, &r[1]);
	assert_true(take(&w[0], true, 4096, 4096));
	assert_false(take(&w[1], true, 0, 8192));
	assert_false(take(&r[1], false, 4096, 512));
	/* Refused elsewhere the second time, it no longer wants what it was refused first. */
	file_claim_drop(ns, &r[0]);
	assert_false(take(&w[1], true, 0, 8192));
	assert_true(take(&r[0], false, 0, 512));
	file_claim_drop(ns, &w[0]);
	assert_false(take(&r[1], false, 4096, 512));
	file_claim_drop(ns, &r[0]);
	assert_true(take(&w[1], true, 0, 8192));
	file_claim_drop(ns, &w[1]);
	file_claim_drop(ns, &far);
	/* More than all */
	assert_true(take(&w[0], true, 4096, UINT64_C(1) << 40));
	assert_false(take(&r[0], false, 0, 512));
	file_claim_drop(ns, &w[0]);
	for (unsigned i = 0; i < FILE_CLAIMS; i++)
		assert_int_equal(atomic_load(&ns->claims[i]), 0);
}

static void test_submit_before_connected(void **state)
{
	struct ini_params params = {.qid = 2, .sq_size = 4, .file_ns = ns};
	struct ini_qpair *qp = ini_file.connect(loop, &params, &ops, NULL);
	struct outcome out;
	struct request *req = command(&out, nvme_cmd_flush, 0);

	assert_int_equal(ini_file.submit(qp, req), -ENOTCONN);
	pool_put(req);
	ini_file.close(qp);
	loop_turn(loop, false);
}

/* ---- admin ---- */

static uint64_t property(uint32_t off, uint8_t size, uint16_t status)
{
	struct outcome out;
	struct request *req = command(&out, NVME_OPC_FABRICS, 0);
	uint64_t value;

	req->sqe.nsid = htole32(nvme_fabrics_type_property_get);
	req->dir = NVME_DIR_NONE;
	req->sqe.cdw10 = htole32(size == 8);
	req->sqe.cdw11 = htole32(off);
	assert_int_equal(run_on(admin, req), status);
	value = le64toh(req->cqe.result64);
	pool_put(req);
	return value;
}

static void set_cc(uint32_t value)
{
	struct outcome out;
	struct request *req = command(&out, NVME_OPC_FABRICS, 0);

	req->sqe.nsid = htole32(nvme_fabrics_type_property_set);
	req->dir = NVME_DIR_NONE;
	req->sqe.cdw11 = htole32(NVMF_PROP_CC);
	req->sqe.cdw12 = htole32(value);
	assert_int_equal(run_put(admin, req), 0);
}

static void test_properties(void **state)
{
	struct outcome out;
	uint64_t cap = property(NVMF_PROP_CAP, 8, 0);

	assert_true(NVME_CAP_MQES(cap) >= 127);
	assert_int_equal(NVME_CAP_CSS(cap), NVME_CAP_CSS_NVM);
	assert_int_equal(NVME_CAP_MPSMIN(cap), 0);
	assert_int_equal(property(NVMF_PROP_VS, 4, 0), 0x20000);
	property(NVMF_PROP_CAP, 4, NVME_ST_INVALID_FIELD);
	property(NVMF_PROP_VS, 8, NVME_ST_INVALID_FIELD);
	property(0x1000, 4, NVME_ST_INVALID_FIELD);

	assert_int_equal(property(NVMF_PROP_CSTS, 4, 0), 0);
	assert_int_equal(run_put(admin, command(&out, nvme_admin_keep_alive, 0)),
			 DNR(0, NVME_SC_CMD_SEQ_ERROR));
	set_cc(0x460001);
	assert_int_equal(property(NVMF_PROP_CC, 4, 0), 0x460001);
	assert_int_equal(property(NVMF_PROP_CSTS, 4, 0), 1);
	assert_int_equal(run_put(admin, command(&out, nvme_admin_keep_alive, 0)), 0);
	set_cc(0x464001);
	assert_int_equal(NVME_CSTS_SHST(property(NVMF_PROP_CSTS, 4, 0)), NVME_CSTS_SHST_CMPLT);
	set_cc(0);
	assert_int_equal(property(NVMF_PROP_CSTS, 4, 0), 0);
}

static uint16_t identify(uint8_t cns, uint32_t nsid, uint8_t csi, void *data)
{
	struct outcome out;
	struct request *req = command(&out, nvme_admin_identify, 4096);
	uint16_t status;

	memset(req->segs[0], 0xaa, 4096);
	req->sqe.nsid = htole32(nsid);
	req->sqe.cdw10 = htole32(cns);
	req->sqe.cdw11 = htole32((uint32_t)csi << 24);
	status = run_on(admin, req);
	if (!status)
		assert_int_equal(req->filled, 4096);
	request_copy_out(req, 0, data, 4096);
	pool_put(req);
	return status;
}

static void test_identify_ctrl(void **state)
{
	struct nvme_id_ctrl id;

	set_cc(1);
	assert_int_equal(identify(NVME_IDENTIFY_CNS_CTRL, 0, 0, &id), 0);
	assert_int_equal(le16toh(id.cntlid), 7);
	assert_string_equal(id.subnqn, NQN);
	assert_int_equal(4096u << id.mdts, REQUEST_MAX_DATA);
	assert_int_equal(id.cmic, 0x0b);
	assert_int_equal(le16toh(id.oncs), 0x8d);
	assert_true(id.vwc & 1);
	assert_int_equal(le32toh(id.nn), 1);
	assert_int_equal(le32toh(id.mnan), 1);
	assert_true(le16toh(id.kas) && le16toh(id.maxcmd) && le32toh(id.ioccsz) >= 4);
	assert_int_equal(memcmp(id.mn, "nvmegw file ", 12), 0);
	assert_int_equal(id.mn[39], ' ');
}

static void test_identify_ns(void **state)
{
	uint32_t list[1024];
	uint8_t page[4096], first[4096];
	struct nvme_id_ns id;
	struct file_ns_config cfg = config();

	set_cc(1);
	assert_int_equal(identify(NVME_IDENTIFY_CNS_NS, 1, 0, &id), 0);
	assert_int_equal(le64toh(id.nsze), BLOCKS);
	assert_int_equal(id.lbaf[0].ds, 9);
	assert_int_equal(id.nmic, 1);
	assert_int_equal(le32toh(id.anagrpid), 1);
	assert_int_equal(id.nsattr, 0);
	assert_int_equal(identify(NVME_IDENTIFY_CNS_NS, 2, 0, page), NVME_ST_INVALID_NS);
	assert_int_equal(identify(NVME_IDENTIFY_CNS_NS, 0, 0, page), NVME_ST_INVALID_NS);

	assert_int_equal(identify(NVME_IDENTIFY_CNS_NS_ACTIVE_LIST, 0, 0, list), 0);
	assert_int_equal(le32toh(list[0]), 1);
	assert_int_equal(list[1], 0);
	assert_int_equal(identify(NVME_IDENTIFY_CNS_NS_ACTIVE_LIST, 1, 0, list), 0);
	assert_int_equal(list[0], 0);
	assert_int_equal(identify(NVME_IDENTIFY_CNS_NS_ACTIVE_LIST, ~0u, 0, list),
			 NVME_ST_INVALID_NS);

	/* Derived: a version 5 UUID, the same again at the next start. */
	assert_int_equal(identify(NVME_IDENTIFY_CNS_NS_DESC_LIST, 1, 0, first), 0);
	assert_int_equal(first[0], NVME_NIDT_UUID);
	assert_int_equal(first[4 + 6] >> 4, 5);
	assert_int_equal(first[20], NVME_NIDT_CSI);
	close_ns();
	open_ns(&cfg);
	set_cc(1);
	assert_int_equal(identify(NVME_IDENTIFY_CNS_NS_DESC_LIST, 1, 0, page), 0);
	assert_memory_equal(page, first, 4096);

	/* Given. */
	close_ns();
	memset(cfg.nguid, 0x11, 16);
	memset(cfg.eui64, 0x22, 8);
	cfg.block_size = 4096;
	cfg.read_only = true;
	open_ns(&cfg);
	set_cc(1);
	assert_int_equal(identify(NVME_IDENTIFY_CNS_NS, 1, 0, &id), 0);
	assert_memory_equal(id.nguid, cfg.nguid, 16);
	assert_memory_equal(id.eui64, cfg.eui64, 8);
	assert_int_equal(id.lbaf[0].ds, 12);
	assert_int_equal(le64toh(id.nsze), SIZE / 4096);
	assert_int_equal(id.nsattr, 1);
	assert_int_equal(identify(NVME_IDENTIFY_CNS_NS_DESC_LIST, 1, 0, page), 0);
	assert_int_equal(page[0], NVME_NIDT_EUI64);
	assert_int_equal(page[12], NVME_NIDT_NGUID);
	assert_int_equal(page[32], NVME_NIDT_CSI);
	assert_int_equal(page[37], 0);
}

static void test_identify_csi(void **state)
{
	struct nvme_id_independent_id_ns ind;
	struct nvme_id_iocs iocs;
	uint8_t page[4096];

	set_cc(1);
	assert_int_equal(identify(NVME_IDENTIFY_CNS_CSI_NS, 1, 0, page), 0);
	assert_int_equal(identify(NVME_IDENTIFY_CNS_CSI_NS, 1, 2, page), NVME_ST_INVALID_FIELD);
	assert_int_equal(identify(NVME_IDENTIFY_CNS_CSI_CTRL, 0, 0, page), 0);
	assert_int_equal(identify(NVME_IDENTIFY_CNS_CSI_NS_ACTIVE_LIST, 0, 0, page), 0);
	assert_int_equal(page[0], 1);
	assert_int_equal(identify(NVME_IDENTIFY_CNS_CSI_INDEPENDENT_ID_NS, 1, 0, &ind), 0);
	assert_int_equal(ind.nstat, 1);
	assert_int_equal(identify(NVME_IDENTIFY_CNS_COMMAND_SET_STRUCTURE, 0, 0, &iocs), 0);
	assert_int_equal(le64toh(iocs.iocsc[0]), 1);
	assert_int_equal(identify(0x04, 0, 0, page), NVME_ST_INVALID_FIELD);
	assert_int_equal(identify(0xff, 0, 0, page), NVME_ST_INVALID_FIELD);
}

static uint16_t get_log(uint8_t lid, uint8_t lsp, uint64_t off, uint32_t len, void *data)
{
	struct outcome out;
	struct request *req = command(&out, nvme_admin_get_log_page, len);
	uint32_t numd = len / 4 - 1;
	uint16_t status;

	req->sqe.cdw10 = htole32(numd << 16 | (uint32_t)lsp << 8 | lid);
	req->sqe.cdw11 = htole32(numd >> 16);
	req->sqe.cdw12 = htole32((uint32_t)off);
	req->sqe.cdw13 = htole32((uint32_t)(off >> 32));
	status = run_on(admin, req);
	request_copy_out(req, 0, data, len);
	pool_put(req);
	return status;
}

static void test_logs(void **state)
{
	static const uint8_t lids[] = {0, 1, 2, 3, 4, 5, 0xc};
	struct nvme_cmd_effects_log effects;
	uint8_t page[8192];
	uint32_t ana[16];

	set_cc(1);
	assert_int_equal(get_log(NVME_LOG_LID_ANA, 0, 0, sizeof(ana), ana), 0);
	assert_int_equal(le32toh(ana[2]), 1);	    /* groups */
	assert_int_equal(le32toh(ana[4]), 1);	    /* group id */
	assert_int_equal(le32toh(ana[5]), 1);	    /* namespaces */
	assert_int_equal(le32toh(ana[8]) & 0xf, 1); /* optimized */
	assert_int_equal(le32toh(ana[12]), 1);	    /* NSID */
	assert_int_equal(get_log(NVME_LOG_LID_ANA, 1, 0, sizeof(ana), ana), 0);
	assert_int_equal(ana[5], 0);
	assert_int_equal(ana[12], 0);
	assert_int_equal(get_log(NVME_LOG_LID_ANA, 0, 48, 4, ana), 0);
	assert_int_equal(le32toh(ana[0]), 1);

	for (unsigned i = 0; i < sizeof(lids); i++) {
		assert_int_equal(get_log(lids[i], 0, 0, sizeof(page), page), 0);
		assert_int_equal(get_log(lids[i], 0, 8192, 4, page), NVME_ST_INVALID_FIELD);
		assert_int_equal(get_log(lids[i], 0, UINT64_MAX - 3, 4, page),
				 NVME_ST_INVALID_FIELD);
		assert_int_equal(get_log(lids[i], 0, 2, 4, page), NVME_ST_INVALID_FIELD);
	}
	assert_int_equal(get_log(0x70, 0, 0, 512, page), DNR(1, NVME_SC_INVALID_LOG_PAGE));
	assert_int_equal(get_log(NVME_LOG_LID_CMD_EFFECTS, 0, 0, 4096, &effects), 0);
	assert_int_equal(le32toh(effects.iocs[nvme_cmd_read]), 1);
	assert_int_equal(le32toh(effects.iocs[nvme_cmd_write]), 3);
	assert_int_equal(le32toh(effects.iocs[0x0d]), 0);
}

static uint16_t feature(uint8_t opcode, uint32_t cdw10, uint32_t cdw11, uint32_t *result)
{
	struct outcome out;
	struct request *req = command(&out, opcode, 0);
	uint16_t status;

	req->sqe.cdw10 = htole32(cdw10);
	req->sqe.cdw11 = htole32(cdw11);
	status = run_on(admin, req);
	*result = le32toh(req->cqe.result);
	pool_put(req);
	return status;
}

static void test_features(void **state)
{
	uint32_t r;

	set_cc(1);
	assert_int_equal(feature(nvme_admin_set_features, 7, 0x00030003, &r), 0);
	assert_int_equal(r, 0x00030003);
	assert_int_equal(feature(nvme_admin_set_features, 7, 0xffff0003, &r),
			 NVME_ST_INVALID_FIELD);
	assert_int_equal(feature(nvme_admin_set_features, 7, 0xfffefffe, &r), 0);
	assert_true((r & 0xffff) < 0xfffe && r >> 16 < 0xfffe);
	assert_int_equal(feature(nvme_admin_set_features, 0x0b, 0x900, &r), 0);
	assert_int_equal(feature(nvme_admin_get_features, 0x0b, 0, &r), 0);
	assert_int_equal(r, 0x900);
	assert_int_equal(feature(nvme_admin_set_features, 0x0f, 15000, &r), 0);
	assert_int_equal(feature(nvme_admin_get_features, 0x0f, 0, &r), 0);
	assert_int_equal(r, 15000);
	assert_int_equal(feature(nvme_admin_get_features, 0x06, 0, &r), 0);
	assert_int_equal(r, 1);
	assert_int_equal(feature(nvme_admin_set_features, 0x06, 0, &r),
			 DNR(1, NVME_SC_FEATURE_NOT_CHANGEABLE));
	assert_int_equal(feature(nvme_admin_set_features, 0x8000000f, 1, &r),
			 DNR(1, NVME_SC_FEATURE_NOT_SAVEABLE));
	assert_int_equal(feature(nvme_admin_get_features, 0x7f, 0, &r), NVME_ST_INVALID_FIELD);
}

static void test_async_events(void **state)
{
	struct request *aer[4];
	struct outcome out[4], over;

	set_cc(1);
	for (unsigned i = 0; i < 4; i++) {
		aer[i] = command(&out[i], nvme_admin_async_event, 0);
		assert_int_equal(ini_file.submit(admin, aer[i]), 0);
	}
	assert_int_equal(run_put(admin, command(&over, nvme_admin_async_event, 0)),
			 DNR(1, NVME_SC_ASYNC_LIMIT));
	assert_int_equal(run_put(admin, command(&over, nvme_admin_abort_cmd, 0)), 0);
	assert_int_equal(run_put(admin, command(&over, 0xc1, 0)), NVME_ST_INVALID_OPCODE);
	ini_file.close(admin);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(out[i].times, 1);
		assert_int_equal(out[i].error, -ECANCELED);
		pool_put(aer[i]);
	}
	admin = connect_qpair(0);
}

/* ---- opening ---- */

static void refused(const struct file_ns_config *cfg, int error)
{
	char err[256] = "";

	assert_null(file_ns_open(cfg, err, sizeof(err)));
	assert_int_equal(errno, error);
	assert_int_equal(strncmp(err, cfg->path, strlen(cfg->path)), 0);
}

static void test_open_refused(void **state)
{
	struct file_ns_config cfg = config();
	char other[96];

	cfg.path = dir;
	refused(&cfg, EISDIR);
	cfg = config();
	cfg.block_size = 1000;
	refused(&cfg, EINVAL);
	cfg.block_size = 256;
	refused(&cfg, EINVAL);
	cfg = config();
	snprintf(other, sizeof(other), "%s/none/disk", dir);
	cfg.path = other;
	refused(&cfg, ENOENT);
	snprintf(other, sizeof(other), "%s/missing", dir);
	cfg.read_only = true;
	refused(&cfg, ENOENT);
	cfg.read_only = false;
	cfg.size = 0;
	refused(&cfg, ENOENT);
	cfg.path = "/dev/null";
	refused(&cfg, EINVAL);
	snprintf(other, sizeof(other), "%s/small", dir);
	cfg.path = other;
	cfg.size = 100;
	refused(&cfg, EINVAL);
	unlink(other);
}

static void test_open_keeps_larger(void **state)
{
	struct file_ns_config cfg = config();
	struct stat st;

	assert_int_equal(do_write(0, 8, 3, 0), 0);
	close_ns();
	cfg.size = SIZE / 2;
	open_ns(&cfg);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	do_read(0, 8, 3, false, 0);
	close_ns();
	cfg.size = 2 * SIZE;
	open_ns(&cfg);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 2 * SIZE);
	assert_int_equal(do_write(2 * BLOCKS - 1, 1, 1, 0), 0);
}

static int make_dir(void **state)
{
	return !mkdtemp(dir);
}

static int remove_dir(void **state)
{
	return rmdir(dir);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_write_read),
		T(test_cold_cache),
		T(test_queue_full),
		T(test_chain),
		T(test_ranges),
		T(test_bad_commands),
		T(test_compare_verify),
		T(test_write_zeroes),
		T(test_deallocate),
		T(test_read_only),
		T(test_cut_file),
		T(test_ana_states),
		T(test_close_in_flight),
		T(test_no_torn_blocks),
		T(test_claims),
		T(test_submit_before_connected),
		T(test_properties),
		T(test_identify_ctrl),
		T(test_identify_ns),
		T(test_identify_csi),
		T(test_logs),
		T(test_features),
		T(test_async_events),
		T(test_open_refused),
		T(test_open_keeps_larger),
	};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
