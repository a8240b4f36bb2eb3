/* SPDX-License-Identifier: Apache-2.0 */
/* NQNs, and the identity that we show as a host where none is configured. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "gateway/config_parts.h"

#define PREFIX	  "nqn.2014-08.org.nvmexpress:uuid:"
#define UUID_1	  "0c7e6a52-93d1-4b57-8f0c-6a1de2b4f3a7"
#define UUID_2	  "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
#define OTHER_NQN "nqn.2014-08.org.example:host"
#define MACHINE	  "5a9d2f0c3b7e4a11b2c3d4e5f6071829"

/* ---- NQNs ---- */

static void test_nqns(void **state)
{
	static const char *const good[] = {
		"nqn.2014-08.org.example:a",	   "nqn.2014-12.com.example:sub:system/7",
		"nqn.1999-01.x:\xc3\xa9",	   PREFIX UUID_1,
		"nqn.2014-08.org.nvmexpress:uuid", "nqn.2014-08.org.nvmexpress:other",
	};
	static const char *const bad[] = {
		"",
		"nqn",
		"nqn.2014-08.",
		"nqn.2014-08.:a",
		"nqn.2014-08.org.example",
		"nqn.2014-08.org.example:",
		"nqn.2014-00.org.example:a",
		"nqn.2014-13.org.example:a",
		"nqn.2014-8.org.example:a",
		"nqn.201-08.org.example:a",
		"NQN.2014-08.org.example:a",
		"iqn.2014-08.org.example:a",
		" nqn.2014-08.org.example:a",
		"nqn:2014-08.org.example:a",
		"nqn.2014-08.org.nvmexpress.discovery",
	};

	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_null(cfg_check_nqn(good[i]));
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_non_null(cfg_check_nqn(bad[i]));
	assert_string_equal(cfg_check_nqn("nqn.2014-08.org.example:a b"),
			    "an NQN without spaces and control characters");
	assert_string_equal(cfg_check_nqn("nqn.2014-08.org.example:a\x7f"),
			    "an NQN without spaces and control characters");
	assert_string_equal(cfg_check_nqn(PREFIX "0c7e6a52"), "a UUID after " PREFIX);
	assert_string_equal(cfg_check_nqn(PREFIX), "a UUID after " PREFIX);
}

static void test_longest_nqn(void **state)
{
	char nqn[NVMF_NQN_MAX + 2] = "nqn.2014-08.org.example:";

	memset(nqn + strlen(nqn), 'x', NVMF_NQN_MAX - strlen(nqn));
	assert_int_equal(strlen(nqn), NVMF_NQN_MAX);
	assert_null(cfg_check_nqn(nqn));
	assert_null(cfg_check_foreign_nqn(nqn));
	strcat(nqn, "x");
	assert_string_equal(cfg_check_nqn(nqn), "at most 223 bytes");
	assert_string_equal(cfg_check_foreign_nqn(nqn), "at most 223 bytes");
}

static void test_uuid_from(void **state)
{
	uint8_t a[16], b[16];

	cfg_uuid_from("one", a);
	cfg_uuid_from("one", b);
	assert_memory_equal(a, b, 16);
	assert_int_equal(a[6] >> 4, 8); /* RFC 9562: version 8 */
	assert_int_equal(a[8] >> 6, 2);
	cfg_uuid_from("two", b);
	assert_memory_not_equal(a, b, 16);
}

/* ---- identity ---- */

static char etc[] = "/tmp/nvmegw-etc-XXXXXX";
static const char *const names[] = {"nvme/hostnqn", "nvme/hostid", "machine-id"};

static char *path_of(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%s", etc, name);
	return path;
}

static int setup(void **state)
{
	strcpy(etc + sizeof(etc) - 7, "XXXXXX");
	return !mkdtemp(etc) || mkdir(path_of("nvme"), 0755);
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < 3; i++)
		unlink(path_of(names[i]));
	rmdir(path_of("nvme"));
	return rmdir(etc);
}

static void put(const char *name, const char *text)
{
	FILE *f = fopen(path_of(name), "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void hostid_is(const struct host_id *id, const char *uuid)
{
	char text[UUID_STR_LEN];

	uuid_unparse_lower(id->hostid, text);
	assert_string_equal(text, uuid);
}

static struct host_id identity(const char *hostnqn)
{
	struct host_id id = {0};

	strcpy(id.hostnqn, hostnqn);
	host_id_of(&id, etc);
	return id;
}

static void test_of_the_system(void **state)
{
	struct host_id id;

	put("nvme/hostnqn", PREFIX UUID_1 "\n");
	id = identity("");
	assert_string_equal(id.hostnqn, PREFIX UUID_1);
	hostid_is(&id, UUID_1);
	put("nvme/hostid", UUID_2 "\n");
	id = identity("");
	assert_string_equal(id.hostnqn, PREFIX UUID_1);
	hostid_is(&id, UUID_2);
	/* Also when the configuration names it. */
	id = identity(PREFIX UUID_1);
	hostid_is(&id, UUID_2);
}

static void test_of_another_host(void **state)
{
	struct host_id id;
	uint8_t uuid[16];

	put("nvme/hostnqn", PREFIX UUID_1 "\n");
	put("nvme/hostid", UUID_1 "\n");
	id = identity(PREFIX UUID_2);
	assert_string_equal(id.hostnqn, PREFIX UUID_2);
	hostid_is(&id, UUID_2);
	id = identity(OTHER_NQN);
	cfg_uuid_from(OTHER_NQN, uuid);
	assert_string_equal(id.hostnqn, OTHER_NQN);
	assert_memory_equal(id.hostid, uuid, 16);
}

static void test_configured_stays(void **state)
{
	struct host_id id = {.hostnqn = OTHER_NQN};

	put("nvme/hostnqn", PREFIX UUID_1 "\n");
	put("nvme/hostid", UUID_1 "\n");
	uuid_parse(UUID_2, id.hostid);
	host_id_of(&id, etc);
	assert_string_equal(id.hostnqn, OTHER_NQN);
	hostid_is(&id, UUID_2);
	/* A host ID alone goes with the system's NQN. */
	id.hostnqn[0] = '\0';
	host_id_of(&id, etc);
	assert_string_equal(id.hostnqn, PREFIX UUID_1);
	hostid_is(&id, UUID_2);
}

/* Always the same on a machine, never on two, and not the secret machine ID itself. */
static void test_from_the_machine(void **state)
{
	struct host_id first, again;
	uint8_t uuid[16];

	put("machine-id", MACHINE "\n");
	first = identity("");
	again = identity("");
	assert_null(cfg_check_nqn(first.hostnqn));
	assert_memory_equal(first.hostnqn, PREFIX, strlen(PREFIX));
	assert_string_equal(first.hostnqn, again.hostnqn);
	assert_null(strstr(first.hostnqn, "5a9d2f0c"));
	hostid_is(&first, first.hostnqn + strlen(PREFIX));
	uuid_parse(first.hostnqn + strlen(PREFIX), uuid);
	assert_int_equal(uuid[6] >> 4, 8);
	put("machine-id", "6a9d2f0c3b7e4a11b2c3d4e5f6071829\n");
	again = identity("");
	assert_string_not_equal(first.hostnqn, again.hostnqn);
}

/* Without a machine ID, the host name has to do. */
static void test_from_the_host_name(void **state)
{
	static const char *const no_ids[] = {"uninitialized\n", "", "\n", MACHINE "0\n",
					     "5A9D2F0C3B7E4A11B2C3D4E5F6071829\n"};
	char name[128] = "", seed[160], text[UUID_STR_LEN];
	uint8_t uuid[16];

	gethostname(name, sizeof(name) - 1);
	snprintf(seed, sizeof(seed), "nvmegw host of %s", name);
	cfg_uuid_from(seed, uuid);
	uuid_unparse_lower(uuid, text);
	assert_string_equal(identity("").hostnqn + strlen(PREFIX), text);
	for (unsigned i = 0; i < sizeof(no_ids) / sizeof(no_ids[0]); i++) {
		put("machine-id", no_ids[i]);
		assert_string_equal(identity("").hostnqn + strlen(PREFIX), text);
	}
}

static void test_damaged_files(void **state)
{
	static const char *const bad_ids[] = {"", "\n", "00000000-0000-0000-0000-000000000000\n",
					      UUID_2 "0\n", "x\n"};
	char longest[NVMF_NQN_MAX + 3] = "nqn.2014-08.org.example:";
	struct host_id id, made;

	put("machine-id", MACHINE "\n");
	made = identity("");
	put("nvme/hostnqn", "\n" PREFIX UUID_1 "\n");
	id = identity("");
	assert_string_equal(id.hostnqn, made.hostnqn);
	put("nvme/hostnqn", "nqn.\x01\n");
	id = identity("");
	assert_string_equal(id.hostnqn, made.hostnqn);
	put("nvme/hostnqn", PREFIX UUID_1 "\n");
	for (unsigned i = 0; i < sizeof(bad_ids) / sizeof(bad_ids[0]); i++) {
		put("nvme/hostid", bad_ids[i]);
		id = identity("");
		hostid_is(&id, UUID_1);
	}
	/* The longest is right, one more byte is not; none of them is cut. */
	memset(longest + strlen(longest), 'x', NVMF_NQN_MAX - strlen(longest));
	put("nvme/hostnqn", longest);
	id = identity("");
	assert_string_equal(id.hostnqn, longest);
	strcat(longest, "y");
	put("nvme/hostnqn", longest);
	id = identity("");
	assert_string_equal(id.hostnqn, made.hostnqn);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nqns),
		cmocka_unit_test(test_longest_nqn),
		cmocka_unit_test(test_uuid_from),
		T(test_of_the_system),
		T(test_of_another_host),
		T(test_configured_stays),
		T(test_from_the_machine),
		T(test_from_the_host_name),
		T(test_damaged_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
