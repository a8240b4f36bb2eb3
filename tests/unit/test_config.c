/* SPDX-License-Identifier: Apache-2.0 */
/* Every key of the configuration file: defaults, bounds, wrong types, and conflicts between keys.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "tests/unit/config_try.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIB	      (1ull << 20)
#define SEC(s)	      ((uint64_t)((s)*1e9))

static int teardown(void **state)
{
	try_end();
	return 0;
}

/* ---- numbers ---- */

#define IN(type, member) offsetof(struct type, member), sizeof(((struct type *)0)->member)
#define TOP(member)	 TRY_TOP, #member, IN(gw_config, member)
#define SS(key, member)	 TRY_SUBSYSTEM, key, IN(subsys_cfg, member)
#define TCP(member)	 TRY_TCP, #member, IN(upstream_cfg, mp.member)
#define TGT(member)	 TRY_LISTENER, #member, IN(listener_cfg, tgt.member)
#define ANY_VALUE	 (UINT64_MAX - 1) /* of a default that is tested elsewhere */

static const struct number {
	enum try_place place;
	const char *key;
	size_t off, size;
	const char *below, *low, *high, *above, *expected;
	uint64_t low_value, high_value, value; /* by default */
} numbers[] = {
	{TOP(workers), "0", "1", "64", "65", "an integer from 1 to 64", 1, 64, ANY_VALUE},
	{TRY_TOP, "memory_mib", IN(gw_config, memory), "3", "4", "65536", "65537",
	 "an integer from 4 to 65536", 4 * MIB, 65536 * MIB, 64 * MIB},
	{TOP(requests), "63", "64", "65536", "65537", "an integer from 64 to 65536", 64, 65536,
	 2048},

	{TGT(in_capsule_data), "-16", "0", "16384", "16400",
	 "an integer from 0 to 16384, a multiple of 16", 0, 16384, 8192},
	{TGT(max_h2c_data), "4092", "4096", "1048576", "1048580",
	 "an integer from 4096 to 1048576, a multiple of 4", 4096, 1048576, 131072},
	{TGT(cpda), "-1", "0", "31", "32", "an integer from 0 to 31", 0, 31, 0},
	{TGT(max_connections), "0", "1", "1000000", "1000001", "an integer from 1 to 1000000", 1,
	 1000000, 1024},
	{TGT(handshake_timeout), "0.09", "0.1", "3600", "3600.1", "seconds from 0.1 to 3600",
	 SEC(.1), SEC(3600), SEC(10)},
	{TGT(stall_timeout), "0", "0.1", "3600", "3601", "seconds from 0.1 to 3600", SEC(.1),
	 SEC(3600), SEC(30)},

	{SS("cntlid_min", cntlid_min), "0", "1", "65519", "65520", "an integer from 1 to 65519", 1,
	 65519, 1},
	{SS("cntlid_max", cntlid_max), "0", "1", "65519", "65536", "an integer from 1 to 65519", 1,
	 65519, 65519},
	{SS("no_path_timeout", mp.no_path_timeout), "-1", "0", "86400", "86401",
	 "seconds from 0 to 86400", 0, SEC(86400), SEC(20)},
	{SS("max_held", mp.max_held), "0", "1", "65536", "65537", "an integer from 1 to 65536", 1,
	 65536, 1024},
	{SS("max_held_mib", mp.max_held_bytes), "0", "1", "65536", "65537",
	 "an integer from 1 to 65536", MIB, 65536 * MIB, 16 * MIB},
	{SS("persistent_loss", mp.persistent_loss), "-2", "-1", "31536000", "31536001",
	 "seconds from 0 to 31536000, or -1 for never", UINT64_MAX, SEC(31536000), UINT64_MAX},
	{SS("delayed_removal", mp.delayed_removal), "-1", "0", "31536000", "31536001",
	 "seconds from 0 to 31536000", 0, SEC(31536000), 0},
	{SS("slow_path_factor", mp.slow_factor), "-1", "0", "1000", "1001",
	 "an integer from 0 to 1000", 0, 1000, 8},
	{SS("slow_path_latency", mp.slow_latency), "0", "0.001", "3600", "3601",
	 "seconds from 0.001 to 3600", SEC(.001), SEC(3600), SEC(.02)},
	{SS("flap_hold", mp.flap_hold), "-1", "0", "3600", "3601", "seconds from 0 to 3600", 0,
	 SEC(3600), SEC(5)},
	{SS("max_transfer_kib", max_transfer), "4", "8", "1024", "2048",
	 "a power of two from 8 to 1024", 8192, MIB, MIB},
	{SS("max_io_queues", max_io_queues), "0", "1", "1024", "1025", "an integer from 1 to 1024",
	 1, 1024, 64},
	{SS("queue_size", max_queue_size), "1", "2", "1024", "1025", "an integer from 2 to 1024", 2,
	 1024, 128},
	{SS("max_controllers", max_controllers), "0", "1", "65519", "4294967297",
	 "an integer from 1 to 65519", 1, 65519, 256},

	{TCP(weight), "0", "1", "1000", "1001", "an integer from 1 to 1000", 1, 1000, 1},
	{TCP(queue_size), "1", "2", "1024", "1025", "an integer from 2 to 1024", 2, 1024, 128},
	{TCP(io_timeout), "0.0999", "0.1", "3600", "1e4", "seconds from 0.1 to 3600", SEC(.1),
	 SEC(3600), SEC(30)},
	{TCP(nr_io_queues), "-1", "0", "1024", "1025", "an integer from 0 to 1024", 0, 1024, 0},
	{TCP(keep_alive_tmo), "0.05", "0", "3600", "3600.5",
	 "seconds from 0.1 to 3600, or 0 for none", 0, SEC(3600), SEC(5)},
	{TCP(keep_alive_tmo), "-1", "0.1", "2.5", "31536000",
	 "seconds from 0.1 to 3600, or 0 for none", SEC(.1), SEC(2.5), SEC(5)},
	{TCP(reconnect_delay), "0", "0.05", "3600", "3601", "seconds from 0.05 to 3600", SEC(.05),
	 SEC(3600), SEC(2)},
	{TCP(ctrl_loss_tmo), "-2", "-1", "31536000", "31536001",
	 "seconds from 0 to 31536000, or -1 for never", UINT64_MAX, SEC(31536000), UINT64_MAX},
	{TCP(ctrl_loss_tmo), "-0.5", "0", "0.5", "-1.5",
	 "seconds from 0 to 31536000, or -1 for never", 0, SEC(.5), UINT64_MAX},
	{TCP(fast_io_fail_tmo), "-0.001", "-1", "31536000", "1e9",
	 "seconds from 0 to 31536000, or -1 for never", UINT64_MAX, SEC(31536000), UINT64_MAX},
	{TCP(connect_timeout), "0", "0.1", "3600", "3601", "seconds from 0.1 to 3600", SEC(.1),
	 SEC(3600), SEC(10)},

	{TRY_FILE, "block_size", IN(upstream_cfg, file.block_size), "256", "512", "65536", "131072",
	 "a power of two from 512 to 65536", 512, 65536, 0},
	{TRY_FILE, "cntlid", IN(upstream_cfg, file.cntlid), "0", "1", "65519", "65520",
	 "an integer from 1 to 65519", 1, 65519, 2},
	{TRY_FILE, "queue_size", IN(upstream_cfg, mp.queue_size), "1", "2", "1024", "1025",
	 "an integer from 2 to 1024", 2, 1024, 128},
};

static uint64_t number_in(const struct gw_config *cfg, const struct number *n)
{
	const char *at = (const char *)try_struct(cfg, n->place) + n->off;

	switch (n->size) {
	case 1:
		return *(const uint8_t *)at;
	case 2:
		return *(const uint16_t *)(const void *)at;
	case 4:
		return *(const uint32_t *)(const void *)at;
	default:
		return *(const uint64_t *)(const void *)at;
	}
}

static void number_is(const struct number *n, const char *text, uint64_t value)
{
	const struct gw_config *cfg = try_good_with(n->place, text ? n->key : NULL, text);
	uint64_t got = number_in(cfg, n);

	if (value != ANY_VALUE && got != value)
		fail_msg("%s: %s is %" PRIu64 ", not %" PRIu64, n->key, text ? text : "by default",
			 got, value);
}

/* As it is shown in a message: a number in its shortest form. */
static void number_refused(const struct number *n, const char *text, const char *shown)
{
	char message[200];

	snprintf(message, sizeof(message), "is %s, expected %s", shown, n->expected);
	try_refused_with(n->place, n->key, text, message);
}

static const char *shown(const char *text)
{
	return !strcmp(text, "1e4") ? "10000.0" : !strcmp(text, "1e9") ? "1000000000.0" : text;
}

static void test_numbers(void **state)
{
	for (const struct number *n = numbers; n < numbers + ARRAY_SIZE(numbers); n++) {
		number_is(n, NULL, n->value);
		number_is(n, n->low, n->low_value);
		number_is(n, n->high, n->high_value);
		number_refused(n, n->below, shown(n->below));
		number_refused(n, n->above, shown(n->above));
	}
}

static void test_no_numbers(void **state)
{
	for (const struct number *n = numbers; n < numbers + ARRAY_SIZE(numbers); n++) {
		number_refused(n, "null", "null");
		number_refused(n, "true", "true");
		number_refused(n, "false", "false");
		number_refused(n, "\"16\"", "\"16\"");
		number_refused(n, "[16]", "an array");
		number_refused(n, "{\"a\": 16}", "an object");
		number_refused(n, "-9223372036854775808", "-9223372036854775808");
		number_refused(n, "9223372036854775807", "9223372036854775807");
		if (strncmp(n->expected, "seconds", 7)) {
			number_refused(n, "16.0", "16.0");
			number_refused(n, "1.6e1", "16.0");
		}
	}
}

static void test_number_forms(void **state)
{
	try_refused_with(TRY_LISTENER, "in_capsule_data", "8200",
			 "is 8200, expected an integer from 0 to 16384, a multiple of 16");
	try_refused_with(TRY_LISTENER, "max_h2c_data", "4098",
			 "is 4098, expected an integer from 4096 to 1048576, a multiple of 4");
	try_refused_with(TRY_SUBSYSTEM, "max_transfer_kib", "96",
			 "is 96, expected a power of two from 8 to 1024");
	try_refused_with(TRY_FILE, "block_size", "520",
			 "is 520, expected a power of two from 512 to 65536");
	try_refused_with(TRY_TCP, "keep_alive_tmo", "0.000001",
			 "is 1e-06, expected seconds from 0.1 to 3600, or 0 for none");
}

static void test_default_workers(void **state)
{
	unsigned n = try_good_with(TRY_TOP, NULL, NULL)->workers;
	cpu_set_t set, one;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	assert_int_equal(n, CPU_COUNT(&set) > MP_MAX_WORKERS ? MP_MAX_WORKERS : CPU_COUNT(&set));
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&one); cpu++)
		if (CPU_ISSET(cpu, &set))
			CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	n = try_good_with(TRY_TOP, NULL, NULL)->workers;
	sched_setaffinity(0, sizeof(set), &set);
	assert_int_equal(n, 1);
}

/* What is held at most is by default what a worker can hold. */
static void test_default_max_held(void **state)
{
	assert_int_equal(try_good_with(TRY_TOP, "requests", "778")->subsystems[0].mp.max_held, 389);
}

/* ---- true and false ---- */

static const struct flag {
	enum try_place place;
	const char *key;
	size_t off, size;
	bool value; /* by default */
} flags[] = {
	{TOP(pin), true},
	{TGT(hdr_digest), true},
	{TGT(data_digest), true},
	{TCP(enabled), true},
	{TCP(standby), false},
	{TCP(discovery), false},
	{TCP(hdr_digest), false},
	{TCP(data_digest), false},
	{TRY_FILE, "enabled", IN(upstream_cfg, mp.enabled), true},
	{TRY_FILE, "read_only", IN(upstream_cfg, file.read_only), false},
};

static bool flag_in(const struct flag *f, const char *value)
{
	const struct gw_config *cfg = try_good_with(f->place, value ? f->key : NULL, value);

	return *(const bool *)((const char *)try_struct(cfg, f->place) + f->off);
}

static void test_flags(void **state)
{
	for (const struct flag *f = flags; f < flags + ARRAY_SIZE(flags); f++) {
		assert_int_equal(flag_in(f, NULL), f->value);
		assert_true(flag_in(f, "true"));
		assert_false(flag_in(f, "false"));
		try_refused_with(f->place, f->key, "1", "is 1, expected true or false");
		try_refused_with(f->place, f->key, "\"yes\"", "is \"yes\", expected true or false");
		try_refused_with(f->place, f->key, "null", "is null, expected true or false");
	}
}

/* ---- words ---- */

static const char a_log_level[] =
	"expected \"info\" or \"error\" or \"warning\" or \"notice\" or \"debug\"";

static void test_words(void **state)
{
	static const struct {
		const char *word;
		int level;
	} levels[] = {{"\"error\"", LOG_ERR},
		      {"\"warning\"", LOG_WARNING},
		      {"\"notice\"", LOG_NOTICE},
		      {"\"info\"", LOG_INFO},
		      {"\"debug\"", LOG_DEBUG}};
	static const struct {
		const char *word;
		uint8_t state;
	} ana[] = {{"\"optimized\"", 1},
		   {"\"non-optimized\"", 2},
		   {"\"inaccessible\"", 3},
		   {"\"persistent-loss\"", 4},
		   {"\"change\"", 15}};
	const struct gw_config *cfg = try_good_with(TRY_TOP, NULL, NULL);
	char said[128];

	assert_int_equal(cfg->log_level, LOG_INFO);
	assert_int_equal(cfg->subsystems[0].upstreams[1].file.ana_state, 1);
	assert_int_equal(cfg->subsystems[0].identity, IDENTITY_PASSTHROUGH);
	for (unsigned i = 0; i < ARRAY_SIZE(levels); i++)
		assert_int_equal(try_good_with(TRY_TOP, "log_level", levels[i].word)->log_level,
				 levels[i].level);
	for (unsigned i = 0; i < ARRAY_SIZE(ana); i++) {
		cfg = try_good_with(TRY_FILE, "ana_state", ana[i].word);
		assert_int_equal(cfg->subsystems[0].upstreams[1].file.ana_state, ana[i].state);
	}
	cfg = try_good_with(TRY_SUBSYSTEM, "identity", "\"derived\"");
	assert_int_equal(cfg->subsystems[0].identity, IDENTITY_DERIVED);
	snprintf(said, sizeof(said), "is \"DEBUG\", %s", a_log_level);
	try_refused_with(TRY_TOP, "log_level", "\"DEBUG\"", said);
	snprintf(said, sizeof(said), "is 7, %s", a_log_level);
	try_refused_with(TRY_TOP, "log_level", "7", said);
	try_refused_with(TRY_SUBSYSTEM, "identity", "\"\"",
			 "is \"\", expected \"passthrough\" or \"derived\"");
	try_refused_with(TRY_FILE, "ana_state", "\"optimised\"",
			 "is \"optimised\", expected \"optimized\" or \"non-optimized\" or "
			 "\"inaccessible\" or \"persistent-loss\" or \"change\"");
}

static void test_policy(void **state)
{
	static const char *const names[] = {"failover", "round-robin", "queue-depth",
					    "service-time", "numa"};
	const struct gw_config *cfg = try_good_with(TRY_SUBSYSTEM, NULL, NULL);
	char value[32];

	assert_int_equal(cfg->subsystems[0].mp.policy, MP_POLICY_FAILOVER);
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(value, sizeof(value), "\"%s\"", names[i]);
		cfg = try_good_with(TRY_SUBSYSTEM, "policy", value);
		assert_string_equal(mp_policy_name(cfg->subsystems[0].mp.policy), names[i]);
	}
	try_refused_with(TRY_SUBSYSTEM, "policy", "\"roundrobin\"",
			 "is \"roundrobin\", expected \"failover\" or \"round-robin\" or "
			 "\"queue-depth\" or \"service-time\" or \"numa\"");
}

static void test_write_retry(void **state)
{
	static const char *const names[] = {"fenced", "immediate", "quiesce"};
	const struct gw_config *cfg = try_good_with(TRY_SUBSYSTEM, NULL, NULL);
	char value[32];

	assert_int_equal(cfg->subsystems[0].mp.write_retry, MP_WRITE_RETRY_FENCED);
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(value, sizeof(value), "\"%s\"", names[i]);
		cfg = try_good_with(TRY_SUBSYSTEM, "write_retry", value);
		assert_string_equal(mp_write_retry_name(cfg->subsystems[0].mp.write_retry),
				    names[i]);
	}
	try_refused_with(TRY_SUBSYSTEM, "write_retry", "true",
			 "is true, expected \"fenced\" or \"immediate\" or \"quiesce\"");
}

/* ---- texts ---- */

/* A JSON string of @n times @c; to be freed. */
static char *text_of(char c, unsigned n)
{
	char *s = malloc(n + 3);

	memset(s, c, n + 2);
	s[0] = s[n + 1] = '"';
	s[n + 2] = '\0';
	return s;
}

static const struct {
	enum try_place place;
	const char *key;
	size_t off, size;
	const char *value; /* by default */
	bool or_empty;
} texts[] = {
	{TOP(state_dir), "/var/lib/nvmegw", true},
	{TOP(control_socket), "/run/nvmegw/control.sock", true},
	{SS("model", model), "nvmegw", false},
	{SS("serial", serial), NULL, false},
	{TCP(name), "192.0.2.1:4420", false},
	{TRY_FILE, "name", IN(upstream_cfg, mp.name), "disk", false},
};

static const char *text_in(unsigned i, const char *value)
{
	const struct gw_config *cfg =
		try_good_with(texts[i].place, value ? texts[i].key : NULL, value);

	return (const char *)try_struct(cfg, texts[i].place) + texts[i].off;
}

static void test_texts(void **state)
{
	char *longest, *too_long, said[100];

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
		size_t max = texts[i].size - 1;

		if (texts[i].value)
			assert_string_equal(text_in(i, NULL), texts[i].value);
		assert_string_equal(text_in(i, "\"x~1\""), "x~1");
		longest = text_of('x', (unsigned)max);
		too_long = text_of('x', (unsigned)max + 1);
		assert_int_equal(strlen(text_in(i, longest)), max);
		snprintf(said, sizeof(said), "is %zu bytes long, expected at most %zu", max + 1,
			 max);
		try_refused_with(texts[i].place, texts[i].key, too_long, said);
		free(longest);
		free(too_long);
		try_refused_with(texts[i].place, texts[i].key, "7", "is 7, expected a string");
		try_refused_with(texts[i].place, texts[i].key, "null",
				 "is null, expected a string");
		if (texts[i].or_empty) {
			assert_string_equal(text_in(i, "\"\""), "");
			continue;
		}
		snprintf(said, sizeof(said), "is empty, expected a string of 1 to %zu bytes", max);
		try_refused_with(texts[i].place, texts[i].key, "\"\"", said);
	}
}

static void test_text_rules(void **state)
{
	try_refused_with(TRY_SUBSYSTEM, "model", "\"caf\xc3\xa9\"",
			 "is \"caf\xc3\xa9\", expected printable ASCII characters");
	try_refused_with(TRY_SUBSYSTEM, "serial", "\"a\\tb\"",
			 "is \"a?b\", expected printable ASCII characters");
	try_refused_with(TRY_SUBSYSTEM, "serial", "\" a\"",
			 "is \" a\", expected no space at either end");
	try_refused_with(TRY_SUBSYSTEM, "serial", "\"a \"",
			 "is \"a \", expected no space at either end");
	try_refused_with(TRY_TCP, "name", "\"a b\"",
			 "is \"a b\", expected a name without spaces, slashes and control "
			 "characters");
	try_refused_with(TRY_TCP, "name", "\"a/b\"",
			 "is \"a/b\", expected a name without spaces, slashes and control "
			 "characters");
	try_refused_with(TRY_FILE, "name", "\"a\\u007f\"",
			 "is \"a?\", expected a name without spaces, slashes and control "
			 "characters");
}

/* Always the same for one NQN, never for two. */
static void test_default_serial(void **state)
{
	char first[21];

	strcpy(first, try_good_with(TRY_TOP, NULL, NULL)->subsystems[0].serial);
	assert_int_equal(strspn(first, "0123456789abcdef"), 20);
	assert_string_equal(try_good_with(TRY_TOP, NULL, NULL)->subsystems[0].serial, first);
	try_good("{\"listeners\": [{\"transport\": \"tcp\", \"traddr\": \"::1\"}],"
		 " \"subsystems\": [{\"nqn\": \"" TRY_NQN "2\", \"upstreams\":"
		 "  [{\"transport\": \"file\", \"path\": \"/a\"}]}]}");
	assert_string_not_equal(
		try_good("{\"listeners\": [{\"transport\": \"tcp\", \"traddr\": \"::1\"}],"
			 " \"subsystems\": [{\"nqn\": \"" TRY_NQN "2\", \"upstreams\":"
			 "  [{\"transport\": \"file\", \"path\": \"/a\"}]}]}")
			->subsystems[0]
			.serial,
		first);
}

/* ---- identifiers and sizes ---- */

static void test_ids(void **state)
{
	static const struct {
		const char *key, *value, *expected;
	} bad[] = {
		{"uuid", "\"0c7e6a52-93d1-4b57-8f0c-6a1de2b4f3a\"", "32 hexadecimal digits or"},
		{"uuid", "\"0c7e6a5293d1-4b57-8f0c-6a1de2b4f3a71\"", "32 hexadecimal digits or"},
		{"uuid", "\"0c7e6a52-93d1-4b57-8f0c-6a1de2b4f3a70\"", "32 hexadecimal digits or"},
		{"uuid", "\"0c7e6a52-93d1-4b57-8f0c-6a1de2b4f3ag\"", "32 hexadecimal digits or"},
		{"uuid", "\"0x7e6a5293d14b578f0c6a1de2b4f3a7\"", "32 hexadecimal digits or"},
		{"uuid", "\"00000000-0000-0000-0000-000000000000\"", "32 hexadecimal digits or"},
		{"uuid", "\"\"", "32 hexadecimal digits or"},
		{"nguid", "\"00000000000000000000000000000000\"", "32 hexadecimal digits or"},
		{"eui64", "\"0011223344556677-\"", "16 hexadecimal digits,"},
		{"eui64", "\"001122334455667\"", "16 hexadecimal digits,"},
		{"eui64", "\"0000000000000000\"", "16 hexadecimal digits,"},
	};
	static const uint8_t uuid[16] = {0x0c, 0x7e, 0x6a, 0x52, 0x93, 0xd1, 0x4b, 0x57,
					 0x8f, 0x0c, 0x6a, 0x1d, 0xe2, 0xb4, 0xf3, 0xa7};
	static const uint8_t eui64[8] = {0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77}, none[16];
	const struct file_ns_config *f;
	char said[160];

	f = &try_good_with(TRY_FILE, NULL, NULL)->subsystems[0].upstreams[1].file;
	assert_memory_equal(f->uuid, none, 16);
	assert_memory_equal(f->nguid, none, 16);
	assert_memory_equal(f->eui64, none, 8);
	f = &try_good_with(TRY_FILE, "uuid", "\"0c7e6a52-93d1-4b57-8f0c-6a1de2b4f3a7\"")
		     ->subsystems[0]
		     .upstreams[1]
		     .file;
	assert_memory_equal(f->uuid, uuid, 16);
	f = &try_good_with(TRY_FILE, "nguid", "\"0C7E6A5293D14B578F0C6A1DE2B4F3A7\"")
		     ->subsystems[0]
		     .upstreams[1]
		     .file;
	assert_memory_equal(f->nguid, uuid, 16);
	f = &try_good_with(TRY_FILE, "eui64", "\"0011223344556677\"")
		     ->subsystems[0]
		     .upstreams[1]
		     .file;
	assert_memory_equal(f->eui64, eui64, 8);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(said, sizeof(said), "is %s, expected %s%s not all zero", bad[i].value,
			 bad[i].expected, bad[i].expected[0] == '3' ? " the form of a UUID," : "");
		try_refused_with(TRY_FILE, bad[i].key, bad[i].value, said);
	}
	try_refused_with(TRY_FILE, "eui64", "11",
			 "is 11, expected 16 hexadecimal digits, not all zero");
}

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"512", 512},
		{"9223372036854775296", 9223372036854775296},
		{"\"922337203685477376\"", 922337203685477376},
		{"\"512\"", 512},
		{"\"1024B\"", 1024},
		{"\"3KiB\"", 3072},
		{"\"64MiB\"", 64 * MIB},
		{"\"64GiB\"", 65536 * MIB},
		{"\"7TiB\"", 7 * MIB * MIB},
		{"\"8388607TiB\"", 8388607 * MIB * MIB},
	};
	static const char *const bad[] = {
		"0",
		"-512",
		"null",
		"true",
		"1.5",
		"\"\"",
		"\"0\"",
		"\"MiB\"",
		"\"1MB\"",
		"\"1M\"",
		"\"1 MiB\"",
		"\"-1MiB\"",
		"\"1mib\"",
		"\"0MiB\"",
		"\"8388608TiB\"",
		"\"9999999999999999999\"",
		"\"99999999999999999999TiB\"",
	};
	char said[160];

	assert_int_equal(try_good_with(TRY_FILE, NULL, NULL)->subsystems[0].upstreams[1].file.size,
			 0);
	for (unsigned i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(try_good_with(TRY_FILE, "size", good[i].text)
					 ->subsystems[0]
					 .upstreams[1]
					 .file.size,
				 good[i].bytes);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(said, sizeof(said),
			 "is %s, expected a number of bytes, or one with a unit like \"64MiB\" "
			 "(KiB, MiB, GiB, TiB)",
			 bad[i]);
		try_refused_with(TRY_FILE, "size", bad[i], said);
	}
	try_refused_with(TRY_FILE, "size", "1000",
			 "is 1000 bytes, expected a multiple of the block size 512");
	try_refused_with(TRY_FILE, "size", "\"1KiB\", \"block_size\": 4096",
			 "is 1024 bytes, expected a multiple of the block size 4096");
}

/* ---- keys ---- */

static void test_unknown_keys(void **state)
{
	static const struct {
		enum try_place place;
		const char *key, *meant;
	} near[] = {
		{TRY_TOP, "worker", "workers"},
		{TRY_TOP, "Listeners", "listeners"},
		{TRY_TOP, "bin", "pin"},
		{TRY_LISTENER, "trsvid", "trsvcid"},
		{TRY_LISTENER, "hdr-digest", "hdr_digest"},
		{TRY_SUBSYSTEM, "nqm", "nqn"},
		{TRY_SUBSYSTEM, "allowed_host", "allowed_hosts"},
		{TRY_TCP, "fast-io-fail-tmo", "fast_io_fail_tmo"},
		{TRY_TCP, "nr-io-queues", "nr_io_queues"},
		{TRY_TCP, "ctrl_loss_timeo", "ctrl_loss_tmo"},
		{TRY_FILE, "uid", "uuid"},
		{TRY_FILE, "blocksize", "block_size"},
	};
	static const struct {
		enum try_place place;
		const char *key;
	} far[] = {
		{TRY_TOP, "colour"},	   {TRY_TOP, "pinnacle"}, {TRY_LISTENER, "nqn"},
		{TRY_SUBSYSTEM, "traddr"}, {TRY_TCP, "listener"}, {TRY_FILE, "x"},
		{TRY_FILE, "traddrs"}, /* near to what a file has not */
	};
	char said[100];

	for (unsigned i = 0; i < ARRAY_SIZE(near); i++) {
		snprintf(said, sizeof(said), "unknown key, did you mean \"%s\"?", near[i].meant);
		try_refused_with(near[i].place, near[i].key, "1", said);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(far); i++)
		try_refused_with(far[i].place, far[i].key, "1",
				 "unknown key, expected one of nvmegw.json(5)");
}

static void test_missing_keys(void **state)
{
	try_refused("{\"listeners\": [\n{}],\n"
		    "\"subsystems\": [\n{\"upstreams\": [\n{},\n{\"transport\": \"tcp\"},\n"
		    "{\"transport\": \"file\"}]},\n{}]}",
		    "2: $.listeners[0]: has no \"transport\", which is required\n"
		    "2: $.listeners[0]: has no \"traddr\", which is required\n"
		    "4: $.subsystems[0]: has no \"nqn\", which is required\n"
		    "5: $.subsystems[0].upstreams[0]: has no \"transport\", which is required\n"
		    "6: $.subsystems[0].upstreams[1]: has no \"traddr\", which is required\n"
		    "6: $.subsystems[0].upstreams[1]: has no \"nqn\", expected one unless "
		    "\"discovery\" is true\n"
		    "7: $.subsystems[0].upstreams[2]: has no \"path\", which is required\n"
		    "8: $.subsystems[1]: has no \"nqn\", which is required\n"
		    "8: $.subsystems[1]: has no \"upstreams\", which is required\n");
}

/* With an unknown transport nothing is said of what would depend on it. */
static void test_unknown_transport(void **state)
{
	try_refused("{\"listeners\": [{\"transport\": \"fc\", \"traddr\": \"::1\"}],\n"
		    "\"subsystems\": [{\"nqn\": \"" TRY_NQN "\", \"upstreams\": [\n"
		    "{\"transport\": \"fc\", \"traddr\": \"::1\", \"path\": \"/a\", \"pat\": 1},\n"
		    "{\"transport\": null}]}]}",
		    "1: $.listeners[0].transport: is \"fc\", expected \"tcp\" or \"rdma\"\n"
		    "3: $.subsystems[0].upstreams[0].transport: is \"fc\", expected \"tcp\" or "
		    "\"rdma\" or \"file\"\n"
		    "3: $.subsystems[0].upstreams[0].pat: unknown key, did you mean \"path\"?\n"
		    "4: $.subsystems[0].upstreams[1].transport: is null, expected \"tcp\" or "
		    "\"rdma\" or \"file\"\n");
}

/* The same keys as over TCP but for digests; one address may serve both. */
static void test_rdma(void **state)
{
	const struct gw_config *cfg =
		try_good("{\"listeners\": [{\"transport\": \"tcp\", \"traddr\": \"::1\"},"
			 "{\"transport\": \"rdma\", \"traddr\": \"::1\"}],\n"
			 "\"subsystems\": [{\"nqn\": \"" TRY_NQN "\", \"upstreams\": [\n"
			 "{\"transport\": \"rdma\", \"name\": \"r\", \"traddr\": \"::2\", "
			 "\"nqn\": \"" TRY_NQN ":b\", \"keep_alive_tmo\": 2, "
			 "\"register_always\": true},"
			 "{\"transport\": \"rdma\", \"name\": \"s\", \"traddr\": \"::3\", "
			 "\"nqn\": \"" TRY_NQN ":b\"},"
			 "{\"transport\": \"tcp\", \"name\": \"t\", \"traddr\": \"::2\", "
			 "\"nqn\": \"" TRY_NQN ":b\"}]}]}");

	assert_ptr_equal(cfg->listeners[0].transport, &tgt_tcp);
	assert_ptr_equal(cfg->listeners[1].transport, &tgt_rdma);
	assert_ptr_equal(cfg->subsystems[0].upstreams[0].mp.transport, &ini_rdma);
	assert_true(cfg->subsystems[0].upstreams[0].mp.register_always);
	assert_false(cfg->subsystems[0].upstreams[1].mp.register_always);
	assert_ptr_equal(cfg->subsystems[0].upstreams[2].mp.transport, &ini_tcp);
	assert_int_equal(addr_port(&cfg->subsystems[0].upstreams[0].mp.addr), 4420);
	assert_int_equal(cfg->subsystems[0].upstreams[0].mp.keep_alive_tmo, 2 * NSEC_PER_SEC);
	try_refused("{\"listeners\": [{\"transport\": \"rdma\", \"traddr\": \"::1\"},\n"
		    "{\"transport\": \"rdma\", \"traddr\": \"::1\"}],\n"
		    "\"subsystems\": [{\"nqn\": \"" TRY_NQN "\", \"upstreams\": [\n"
		    "{\"transport\": \"rdma\", \"traddr\": \"::2\", \"nqn\": \"" TRY_NQN
		    ":b\", \"hdr_digest\": true}]}]}",
		    "2: $.listeners[1].traddr: the address is taken by listeners[0] on "
		    "[::1]:4420, expected another address or trsvcid\n"
		    "4: $.subsystems[0].upstreams[0].hdr_digest: does not fit transport \"rdma\", "
		    "expected not to be there\n");
}

static void test_keys_of_the_other_kind(void **state)
{
	static const char *const tcp[] = {
		"trsvcid",	 "host_traddr",	     "hostnqn",		"hostid",
		"discovery",	 "nr_io_queues",     "keep_alive_tmo",	"reconnect_delay",
		"ctrl_loss_tmo", "fast_io_fail_tmo", "connect_timeout", "hdr_digest",
		"data_digest",	 "traddr",	     "register_always",
	};
	static const char *const file[] = {
		"path",	 "size",   "block_size", "uuid",      "nguid",
		"eui64", "cntlid", "ana_state",	 "read_only",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(tcp); i++)
		try_refused_with(TRY_FILE, tcp[i], "null",
				 "does not fit transport \"file\", expected not to be there");
	for (unsigned i = 0; i < ARRAY_SIZE(file); i++)
		try_refused_with(TRY_TCP, file[i], "null",
				 "does not fit transport \"tcp\", expected not to be there");
	try_refused_with(TRY_TCP, "register_always", "true",
			 "does not fit transport \"tcp\", expected not to be there");
}

/* One run tells all. */
static void test_several_problems(void **state)
{
	char *text = try_with(TRY_LISTENER, "trsvcid",
			      "0}, {\"transport\": \"tcp\",\n"
			      "\"traddr\": \"localhost\"");

	try_refused(text, "2: $.listeners[0].trsvcid: is 0, expected an integer from 1 to 65535\n"
			  "3: $.listeners[1].traddr: is \"localhost\", expected an IPv4 or IPv6 "
			  "address in digits\n");
	free(text);
	text = try_with(TRY_TOP, "pin", "0,\n\"workers\": 0,\n\"colour\": [\n1,2]");
	try_refused(text, "6: $.pin: is 0, expected true or false\n"
			  "7: $.workers: is 0, expected an integer from 1 to 64\n"
			  "8: $.colour: unknown key, expected one of nvmegw.json(5)\n");
	free(text);
}

int main(void)
{
#define T(f) cmocka_unit_test_teardown(f, teardown)
	const struct CMUnitTest tests[] = {
		T(test_numbers),
		T(test_no_numbers),
		T(test_number_forms),
		T(test_default_workers),
		T(test_default_max_held),
		T(test_flags),
		T(test_words),
		T(test_policy),
		T(test_write_retry),
		T(test_texts),
		T(test_text_rules),
		T(test_default_serial),
		T(test_ids),
		T(test_sizes),
		T(test_unknown_keys),
		T(test_missing_keys),
		T(test_unknown_transport),
		T(test_rdma),
		T(test_keys_of_the_other_kind),
		T(test_several_problems),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
