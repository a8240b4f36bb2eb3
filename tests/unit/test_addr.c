/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "transport/addr.h"

static void test_text(void **state)
{
	static const struct {
		const char *traddr, *port, *str, *host;
	} good[] = {
		{"10.0.0.1", "4420", "10.0.0.1:4420", "10.0.0.1"},
		{"::1", "1", "[::1]:1", "::1"},
		{"2001:db8:0:0::7", "65535", "[2001:db8::7]:65535", "2001:db8::7"},
		{"fe80::1%lo", "8009", "[fe80::1%lo]:8009", "fe80::1%lo"},
		{"fe80::1%1", "8009", "[fe80::1%lo]:8009", "fe80::1%lo"},
		{"fe80::1%4000000", "8009", "[fe80::1%4000000]:8009", "fe80::1%4000000"},
		{"0.0.0.0", "04420", "0.0.0.0:4420", "0.0.0.0"},
	};
	char buf[ADDR_STR_MAX];
	struct addr a;

	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(addr_parse(&a, good[i].traddr, good[i].port), 0);
		assert_string_equal(addr_str(&a, buf), good[i].str);
		assert_string_equal(addr_host_str(&a, buf), good[i].host);
	}
	assert_int_equal(addr_port(&a), 4420);
}

static void test_refused(void **state)
{
	static const char *const bad[][2] = {
		{"localhost", "4420"},
		{"", "4420"},
		{"10.0.0", "4420"},
		{"10.0.0.256", "4420"},
		{"010.0.0.1", "4420"},
		{"10.0.0.1 ", "4420"},
		{"[::1]", "4420"},
		{"::1%", "4420"},
		{"::1%nosuchinterface0", "4420"},
		{"10.0.0.1%lo", "4420"},
		{"::g", "4420"},
		{"10.0.0.1", ""},
		{"10.0.0.1", "0"},
		{"10.0.0.1", "65536"},
		{"10.0.0.1", "-1"},
		{"10.0.0.1", "+1"},
		{"10.0.0.1", " 1"},
		{"10.0.0.1", "4420x"},
		{"10.0.0.1", "4294967297"},
		{"10.0.0.1", "99999999999999999999"},
		{"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb", "1"},
	};
	struct addr a = {.len = 0};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(addr_parse(&a, bad[i][0], bad[i][1]), -EINVAL);
		assert_int_equal(a.len, 0);
	}
}

static bool same(const char *h1, const char *p1, const char *h2, const char *p2)
{
	struct addr a, b;

	assert_int_equal(addr_parse(&a, h1, p1), 0);
	assert_int_equal(addr_parse(&b, h2, p2), 0);
	return addr_equal(&a, &b);
}

static void test_equal(void **state)
{
	struct addr unset = {.len = 0}, unset2 = {.len = 0}, set;

	assert_true(same("10.0.0.1", "1", "10.0.0.1", "1"));
	assert_false(same("10.0.0.1", "1", "10.0.0.2", "1"));
	assert_false(same("10.0.0.1", "1", "10.0.0.1", "2"));
	assert_true(same("::0:1", "1", "::1", "1"));
	assert_false(same("fe80::1%1", "1", "fe80::1%2", "1"));
	assert_false(same("::", "1", "0.0.0.0", "1"));
	assert_int_equal(addr_parse(&set, "0.0.0.0", "1"), 0);
	assert_true(addr_equal(&unset, &unset2));
	assert_false(addr_equal(&unset, &set));
}

static void test_loopback(void **state)
{
	static const char *const yes[] = {"127.0.0.1", "127.8.9.1", "::1"};
	static const char *const no[] = {"0.0.0.0", "::", "192.0.2.1", "128.0.0.1", "fe80::1"};
	struct addr a = {0};

	assert_false(addr_is_loopback(&a));
	for (unsigned i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		assert_int_equal(addr_parse(&a, yes[i], "1"), 0);
		assert_true(addr_is_loopback(&a));
	}
	for (unsigned i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		assert_int_equal(addr_parse(&a, no[i], "1"), 0);
		assert_false(addr_is_loopback(&a));
	}
}

static void test_any(void **state)
{
	char buf[ADDR_STR_MAX];
	struct addr a = {.len = 0};

	assert_true(addr_is_any(&a));
	assert_string_equal(addr_str(&a, buf), "-");
	assert_string_equal(addr_host_str(&a, buf), "");
	assert_int_equal(addr_port(&a), 0);
	addr_parse(&a, "::", "1");
	assert_true(addr_is_any(&a));
	addr_parse(&a, "127.0.0.1", "1");
	assert_false(addr_is_any(&a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),	 cmocka_unit_test(test_refused),
		cmocka_unit_test(test_equal),	 cmocka_unit_test(test_any),
		cmocka_unit_test(test_loopback),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
