/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes of commands: from Identify, over several controllers, to Identify, and what was promised.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "multipath/limits.h"

#define VERIFY NVME_CTRL_ONCS_VERIFY
#define ZEROES NVME_CTRL_ONCS_WRITE_ZEROES
#define DSM    NVME_CTRL_ONCS_DSM

#define MPSMIN(n) ((uint64_t)(n) << 48)

static struct limits limits(uint64_t cap, uint16_t oncs, struct nvme_id_ctrl_nvm nvm)
{
	struct nvme_id_ctrl id = {.oncs = htole16(oncs), .mdts = 5};
	struct limits l;

	nvm.dmrsl = htole32(nvm.dmrsl);
	nvm.dmsl = htole64(nvm.dmsl);
	limits_of(&l, cap, &id, &nvm);
	return l;
}

static struct nvme_id_ctrl_nvm told(const struct limits *l)
{
	struct nvme_id_ctrl_nvm nvm;

	limits_tell(l, &nvm);
	nvm.dmrsl = le32toh(nvm.dmrsl);
	nvm.dmsl = le64toh(nvm.dmsl);
	return nvm;
}

static void units(void **state)
{
	struct limits l = limits(MPSMIN(0), VERIFY | ZEROES, (struct nvme_id_ctrl_nvm){.wzsl = 3});

	assert_int_equal(l.max_transfer, 128 << 10);
	assert_int_equal(l.write_zeroes, 15); /* 32 KiB */
	assert_int_equal(l.verify, LIMITS_ANY_SHIFT);
	l = limits(MPSMIN(4), VERIFY | ZEROES, (struct nvme_id_ctrl_nvm){.vsl = 255, .wzsl = 3});
	assert_int_equal(l.max_transfer, 2 << 20);
	assert_int_equal(l.write_zeroes, 19); /* 512 KiB */
	assert_int_equal(l.verify, LIMITS_ANY_SHIFT - 1);
}

/* Without the bit of ONCS, a limit says that the command is there and bounded. */
static void variants(void **state)
{
	struct nvme_id_ctrl_nvm all = {.vsl = 1, .wzsl = 1, .dmrl = 1, .dmrsl = 1, .dmsl = 1};
	struct nvme_id_ctrl_nvm part = {.dmrl = 1, .dmrsl = 1};
	struct nvme_id_ctrl id = {.oncs = htole16(DSM)};
	struct limits l = limits(0, VERIFY, all);

	assert_int_equal(l.oncs, VERIFY | ZEROES | DSM);
	assert_int_equal(l.bounded, ZEROES | DSM);
	l = limits(0, ZEROES, part);
	assert_int_equal(l.oncs, ZEROES);
	assert_int_equal(l.bounded, 0);
	limits_of(&l, 0, &id, NULL);
	assert_int_equal(l.max_transfer, UINT32_MAX);
	assert_int_equal(l.oncs, DSM);
	assert_int_equal(l.ranges, LIMITS_ANY_RANGES);
}

static void least_of_two(void **state)
{
	struct limits l = limits(0, VERIFY | ZEROES | DSM, (struct nvme_id_ctrl_nvm){.wzsl = 4});
	struct limits m = limits(
		0, ZEROES,
		(struct nvme_id_ctrl_nvm){.wzsl = 6, .dmrl = 8, .dmrsl = 1000, .dmsl = 4000});

	limits_narrow(&l, &m);
	assert_int_equal(l.oncs, ZEROES | DSM);
	assert_int_equal(l.bounded, DSM);
	assert_int_equal(l.write_zeroes, 16);
	assert_int_equal(l.ranges, 8);
	assert_int_equal(l.range_blocks, 1000);
	assert_int_equal(l.blocks, 4000);
}

static void what_hosts_are_told(void **state)
{
	struct limits l =
		limits(MPSMIN(2), VERIFY | ZEROES, (struct nvme_id_ctrl_nvm){.vsl = 2, .dmrl = 8});
	struct nvme_id_ctrl_nvm nvm = told(&l);

	assert_int_equal(nvm.vsl, 4); /* in pages of 4 KiB */
	assert_int_equal(nvm.wzsl, 0);
	/* A limit of what is not there would offer it. */
	assert_int_equal(nvm.dmrl, 0);
	l.oncs = DSM;
	nvm = told(&l);
	assert_int_equal(nvm.vsl, 0);
	/* All three, or none. */
	assert_int_equal(nvm.dmrl, 8);
	assert_int_equal(nvm.dmrsl, UINT32_MAX);
	assert_true(nvm.dmsl == UINT64_MAX);
	l.ranges = LIMITS_ANY_RANGES;
	nvm = told(&l);
	assert_int_equal(nvm.dmrl, 0);
	assert_int_equal(nvm.dmrsl, 0);
	l.range_blocks = 1;
	nvm = told(&l);
	assert_int_equal(nvm.dmrl, 255);
	assert_int_equal(nvm.dmrsl, 1);
}

static void assert_kept(const struct limits *promised, uint16_t oncs, struct nvme_id_ctrl_nvm nvm)
{
	struct limits l = limits(0, oncs, nvm);
	char why[160];

	assert_true(limits_keep(&l, promised, why, sizeof(why)));
}

static void assert_broken(const struct limits *promised, uint16_t oncs, struct nvme_id_ctrl_nvm nvm,
			  const char *word)
{
	struct limits l = limits(0, oncs, nvm);
	char why[160];

	assert_false(limits_keep(&l, promised, why, sizeof(why)));
	assert_non_null(strstr(why, word));
	assert_non_null(strstr(why, "that hosts were promised"));
}

static void promises_of_bounded_commands(void **state)
{
	struct nvme_id_ctrl_nvm nvm = {.vsl = 4, .wzsl = 4, .dmrl = 4, .dmrsl = 100, .dmsl = 400};
	struct limits promised = {0}, l = limits(0, 0, nvm);

	limits_promise(&promised, &l);
	assert_kept(&promised, 0, nvm);
	/* Of any size is more than that, with whatever recommendation. */
	assert_kept(&promised, VERIFY | ZEROES | DSM, (struct nvme_id_ctrl_nvm){.wzsl = 1});
	assert_broken(&promised, VERIFY | ZEROES, (struct nvme_id_ctrl_nvm){0}, "lacks");
	nvm.wzsl = 3;
	assert_broken(&promised, 0, nvm, "Write Zeroes");
	nvm.wzsl = 5;
	nvm.vsl = 3;
	assert_broken(&promised, 0, nvm, "Verify");
	nvm.vsl = 5;
	nvm.dmrl = 3;
	assert_broken(&promised, 0, nvm, "Dataset");
	nvm.dmrl = 5;
	nvm.dmrsl = 99;
	assert_broken(&promised, 0, nvm, "Dataset");
	nvm.dmrsl = 101;
	nvm.dmsl = 399;
	assert_broken(&promised, 0, nvm, "Dataset");
	nvm.dmsl = 401;
	assert_kept(&promised, 0, nvm);
	/* The most that any host was told counts. */
	l = limits(0, 0, nvm);
	limits_promise(&promised, &l);
	nvm.vsl = 4;
	assert_broken(&promised, 0, nvm, "Verify");
}

static void promises_without_limits(void **state)
{
	struct nvme_id_ctrl_nvm bounded = {.vsl = 4, .wzsl = 4};
	struct limits promised = {0}, l = limits(0, ZEROES, (struct nvme_id_ctrl_nvm){.wzsl = 9});

	limits_promise(&promised, &l);
	/* A recommendation is none. */
	assert_kept(&promised, ZEROES, bounded);
	assert_broken(&promised, VERIFY, bounded, "any size");
	/* What one host was told of any size is so, whatever another one was told later. */
	l = limits(0, VERIFY, bounded);
	limits_promise(&promised, &l);
	assert_broken(&promised, VERIFY, bounded, "any size");
	assert_kept(&promised, ZEROES | VERIFY, bounded);
	promised.max_transfer = 256 << 10;
	assert_broken(&promised, ZEROES | VERIFY, bounded, "largest transfer");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(units),
		cmocka_unit_test(variants),
		cmocka_unit_test(least_of_two),
		cmocka_unit_test(what_hosts_are_told),
		cmocka_unit_test(promises_of_bounded_commands),
		cmocka_unit_test(promises_without_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
