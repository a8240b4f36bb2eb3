/* SPDX-License-Identifier: Apache-2.0 */
/* What a command changes, and whether it may be sent twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "multipath/command.h"
#include "transport/loop.h"
#include "transport/pool.h"

static struct loop *loop;
static struct pool *pool;
static struct request *req;

static int setup(void **state)
{
	loop = loop_new(0, -1);
	pool = pool_new(loop, 4, 4);
	req = pool_get(pool);
	return 0;
}

static int teardown(void **state)
{
	pool_put(req);
	pool_free(pool);
	loop_free(loop);
	return 0;
}

/* ---- again? ---- */

static enum repeat expected(unsigned opcode)
{
	switch (opcode) {
	case nvme_cmd_flush:
	case nvme_cmd_read:
	case nvme_cmd_compare:
	case nvme_cmd_verify:
		return REPEAT_FREELY;
	case nvme_cmd_write:
	case nvme_cmd_write_uncor:
	case nvme_cmd_write_zeroes:
	case nvme_cmd_dsm:
		return REPEAT_FENCED;
	default: /* Copy, Zone Append, reservations, vendors' */
		return REPEAT_NEVER;
	}
}

static void only_known_opcodes_are_repeated(void **state)
{
	for (unsigned opcode = 0; opcode < 256; opcode++) {
		struct nvme_sqe sqe = {.opcode = (uint8_t)opcode};

		assert_int_equal(command_repeat(&sqe), expected(opcode));
		sqe.flags = NVME_PSDT_SGL;
		assert_int_equal(command_repeat(&sqe), expected(opcode));
	}
}

static void halves_of_a_fused_pair_are_not(void **state)
{
	static const uint8_t opcodes[] = {nvme_cmd_compare, nvme_cmd_write, nvme_cmd_read};

	for (size_t i = 0; i < sizeof(opcodes); i++)
		for (uint8_t half = 1; half <= 2; half++) {
			struct nvme_sqe sqe = {.opcode = opcodes[i], .flags = NVME_PSDT_SGL | half};

			assert_int_equal(command_repeat(&sqe), REPEAT_NEVER);
		}
}

static void what_a_flush_must_cover(void **state)
{
	/* also all that we do not know */
	for (unsigned opcode = 0; opcode < 256; opcode++)
		assert_int_equal(command_changes_data((uint8_t)opcode),
				 expected(opcode) != REPEAT_FREELY);
}

/* ---- which blocks? ---- */

static void assert_range(uint64_t start, uint64_t end)
{
	struct lba_range r = command_writes(req);

	assert_int_equal(r.start, start);
	assert_int_equal(r.end, end);
}

static void set_blocks(uint8_t opcode, uint64_t slba, uint32_t n)
{
	req->sqe.opcode = opcode;
	req->sqe.cdw10 = htole32((uint32_t)slba);
	req->sqe.cdw11 = htole32((uint32_t)(slba >> 32));
	req->sqe.cdw12 = htole32(0xffff0000u | (n - 1)); /* the upper half says other things */
}

static void writes_change_their_blocks(void **state)
{
	static const uint8_t opcodes[] = {nvme_cmd_write, nvme_cmd_write_zeroes,
					  nvme_cmd_write_uncor};

	for (size_t i = 0; i < sizeof(opcodes); i++) {
		set_blocks(opcodes[i], 0, 1);
		assert_range(0, 1);
		set_blocks(opcodes[i], 0xfffffffe, 65536);
		assert_range(0xfffffffe, 0xfffffffeull + 65536);
		set_blocks(opcodes[i], 1ull << 63, 8);
		assert_range(1ull << 63, (1ull << 63) + 8);
	}
}

static void others_change_none(void **state)
{
	for (unsigned opcode = 0; opcode < 256; opcode++) {
		struct lba_range r;

		if (expected(opcode) == REPEAT_FENCED)
			continue;
		set_blocks((uint8_t)opcode, 5, 8);
		r = command_writes(req);
		assert_int_equal(r.start, r.end);
	}
}

static void set_ranges(const struct nvme_dsm_range *r, unsigned n)
{
	request_free_data(req);
	req->sqe.opcode = nvme_cmd_dsm;
	req->sqe.cdw10 = htole32(n - 1);
	req->sqe.cdw11 = htole32(4); /* deallocate */
	req->data_len = n * (uint32_t)sizeof(*r);
	assert_int_equal(request_alloc_data(req, req->data_len), 0);
	request_copy_in(req, 0, r, req->data_len);
	req->filled = req->data_len;
}

static struct nvme_dsm_range blocks(uint64_t slba, uint32_t n)
{
	return (struct nvme_dsm_range){.slba = htole64(slba), .nlb = htole32(n)};
}

static void dsm_spans_all_its_ranges(void **state)
{
	struct nvme_dsm_range r[256];

	r[0] = blocks(100, 10);
	set_ranges(r, 1);
	assert_range(100, 110);
	r[1] = blocks(20, 5);
	r[2] = blocks(105, 20);
	set_ranges(r, 3);
	assert_range(20, 125);
	for (unsigned i = 0; i < 256; i++)
		r[i] = blocks(1000 + i, 1);
	r[255] = blocks(7, 1);
	set_ranges(r, 256);
	assert_range(7, 1255);
	r[0] = blocks(1ull << 40, UINT32_MAX);
	set_ranges(r, 1);
	assert_range(1ull << 40, (1ull << 40) + UINT32_MAX);
}

static void dsm_ranges_that_say_nothing(void **state)
{
	struct nvme_dsm_range r[4];

	r[0] = blocks(100, 0);
	set_ranges(r, 1);
	assert_range(0, 0);
	/* past the end of what 64 bits count: refused by every controller */
	r[0] = blocks(UINT64_MAX, 2);
	set_ranges(r, 1);
	assert_range(0, 0);
	r[0] = blocks(UINT64_MAX - 3, UINT32_MAX);
	r[1] = blocks(50, 0);
	r[2] = blocks(60, 4);
	r[3] = blocks(UINT64_MAX, 1);
	set_ranges(r, 4);
	assert_range(60, 64);
}

/* The host may have sent less than the command claims, and more. */
static void dsm_data_is_what_is_there(void **state)
{
	struct nvme_dsm_range r[3];

	r[0] = blocks(10, 1);
	r[1] = blocks(20, 1);
	r[2] = blocks(30, 1);
	set_ranges(r, 3);
	req->sqe.cdw10 = htole32(255);
	assert_range(10, 31);
	req->filled = 2 * sizeof(r[0]) + 15;
	assert_range(10, 21);
	req->filled = 0;
	assert_range(0, 0);
	req->filled = req->data_len;
	req->sqe.cdw10 = htole32(0xffffff00u | 1); /* NR is 8 bits */
	assert_range(10, 21);
}

static void overlap(void **state)
{
	struct lba_range a = {10, 20}, empty = {0, 0};

	assert_true(lba_overlap(a, a));
	assert_true(lba_overlap(a, (struct lba_range){19, 30}));
	assert_true(lba_overlap(a, (struct lba_range){0, 11}));
	assert_true(lba_overlap(a, (struct lba_range){12, 13}));
	assert_true(lba_overlap((struct lba_range){12, 13}, a));
	assert_false(lba_overlap(a, (struct lba_range){20, 30}));
	assert_false(lba_overlap(a, (struct lba_range){0, 10}));
	assert_false(lba_overlap(a, empty));
	assert_false(lba_overlap((struct lba_range){0, UINT64_MAX}, empty));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(only_known_opcodes_are_repeated),
		T(halves_of_a_fused_pair_are_not),
		T(what_a_flush_must_cover),
		T(writes_change_their_blocks),
		T(others_change_none),
		T(dsm_spans_all_its_ranges),
		T(dsm_ranges_that_say_nothing),
		T(dsm_data_is_what_is_there),
		T(overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
