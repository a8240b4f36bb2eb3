/* SPDX-License-Identifier: Apache-2.0 */
/* Commands in flight by CID and by transfer tag. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "transport/cid_map.h"
#include "transport/request.h"

static struct cid_map map;
static struct request reqs[CID_MAP_MAX + 1];

static int setup(void **state)
{
	cid_map_init(&map);
	return 0;
}

static int teardown(void **state)
{
	cid_map_fini(&map);
	return 0;
}

static void test_idle_costs_nothing(void **state)
{
	assert_null(map.slots);
	assert_null(cid_map_by_tag(&map, 0));
	assert_null(cid_map_by_tag(&map, 0xffff));
	assert_int_equal(cid_map_add(&map, 0xffff, &reqs[0]), 0);
	assert_in_range(map.size, 1, 8);
	cid_map_fini(&map);
	assert_null(map.slots);
}

static void test_duplicates(void **state)
{
	int a = cid_map_add(&map, 7, &reqs[0]);
	int b = cid_map_add(&map, 7 + 8, &reqs[1]); /* the same chain */

	assert_true(a >= 0 && b >= 0 && a != b);
	assert_int_equal(cid_map_add(&map, 7, &reqs[2]), -EEXIST);
	assert_int_equal(cid_map_add(&map, 7 + 8, &reqs[2]), -EEXIST);
	cid_map_del(&map, (uint16_t)a);
	assert_int_equal(cid_map_add(&map, 7 + 8, &reqs[2]), -EEXIST);
	assert_true(cid_map_add(&map, 7, &reqs[2]) >= 0);
}

/* CIDs far apart, so that every chain is used; all of them are found again after each growth. */
static void test_full(void **state)
{
	uint16_t slots[CID_MAP_MAX];

	for (unsigned i = 0; i < CID_MAP_MAX; i++) {
		int slot = cid_map_add(&map, (uint16_t)(i * 16 + i / 4096), &reqs[i]);

		assert_in_range(slot, 0, CID_MAP_MAX - 1);
		slots[i] = (uint16_t)slot;
	}
	assert_int_equal(cid_map_add(&map, 1, &reqs[CID_MAP_MAX]), -ENOMEM);
	for (unsigned i = 0; i < CID_MAP_MAX; i++) {
		uint16_t cid = (uint16_t)(i * 16 + i / 4096);

		assert_int_equal(cid_map_add(&map, cid, &reqs[CID_MAP_MAX]), -EEXIST);
		assert_ptr_equal(map.slots[slots[i]].req, &reqs[i]);
		assert_int_equal(map.slots[slots[i]].cid, cid);
	}
	cid_map_del(&map, slots[100]);
	assert_int_equal(cid_map_add(&map, 1, &reqs[CID_MAP_MAX]), slots[100]);
}

static void test_tags(void **state)
{
	uint16_t a = (uint16_t)cid_map_add(&map, 1, &reqs[1]);
	uint16_t b = (uint16_t)cid_map_add(&map, 2, &reqs[2]);
	uint16_t ta = cid_map_new_tag(&map, a), tb = cid_map_new_tag(&map, b), again;

	assert_int_not_equal(ta, tb);
	assert_ptr_equal(cid_map_by_tag(&map, ta)->req, &reqs[1]);
	assert_ptr_equal(cid_map_by_tag(&map, tb)->req, &reqs[2]);
	/* A new one voids the old. */
	again = cid_map_new_tag(&map, a);
	assert_int_not_equal(again, ta);
	assert_null(cid_map_by_tag(&map, ta));
	assert_non_null(cid_map_by_tag(&map, again));
	/* The command is answered. */
	cid_map_del(&map, a);
	assert_null(cid_map_by_tag(&map, again));
	/* Another command in its slot: the tag of the first is not that of the second. */
	assert_int_equal(cid_map_add(&map, 3, &reqs[3]), a);
	assert_int_not_equal(cid_map_new_tag(&map, a), again);
	assert_null(cid_map_by_tag(&map, again));
	/* Tags out of the map's range */
	assert_null(cid_map_by_tag(&map, (uint16_t)(again | (CID_MAP_MAX - 1))));
}

/* The generation has four bits: a tag comes back after sixteen others of its slot. */
static void test_tag_generations(void **state)
{
	uint16_t slot = (uint16_t)cid_map_add(&map, 1, &reqs[1]);
	uint16_t first = cid_map_new_tag(&map, slot);

	for (unsigned i = 0; i < 15; i++) {
		assert_int_not_equal(cid_map_new_tag(&map, slot), first);
		assert_null(cid_map_by_tag(&map, first));
	}
	assert_int_equal(cid_map_new_tag(&map, slot), first);
	assert_non_null(cid_map_by_tag(&map, first));
}

static void test_damage_is_of_one_command(void **state)
{
	uint16_t slot = (uint16_t)cid_map_add(&map, 1, &reqs[1]);

	assert_false(map.slots[slot].bad_data);
	map.slots[slot].bad_data = true;
	cid_map_del(&map, slot);
	assert_int_equal(cid_map_add(&map, 2, &reqs[2]), slot);
	assert_false(map.slots[slot].bad_data);
}

/* Random adds and removals against a plain table. */
static void test_random(void **state)
{
	static uint16_t slot_of[1 << 16];
	static bool there[1 << 16];
	unsigned seed = 1, n = 0;

	for (unsigned i = 0; i < 200000; i++) {
		uint16_t cid = (uint16_t)(rand_r(&seed) % 6000 * 11);

		if (there[cid]) {
			assert_int_equal(cid_map_add(&map, cid, &reqs[0]), -EEXIST);
			cid_map_del(&map, slot_of[cid]);
			there[cid] = false;
			n--;
		} else {
			int slot = cid_map_add(&map, cid, &reqs[0]);

			if (n == CID_MAP_MAX) {
				assert_int_equal(slot, -ENOMEM);
				continue;
			}
			assert_in_range(slot, 0, CID_MAP_MAX - 1);
			slot_of[cid] = (uint16_t)slot;
			there[cid] = true;
			n++;
		}
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_idle_costs_nothing),
		T(test_duplicates),
		T(test_full),
		T(test_tags),
		T(test_tag_generations),
		T(test_damage_is_of_one_command),
		T(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
