/* SPDX-License-Identifier: Apache-2.0 */
/* Debug lines: which of them are logged, and what that costs when they are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "transport/log.h"

static int evaluated;

static int count(void)
{
	return ++evaluated;
}

static void log_all(void)
{
	log_debug(TCP, "one %d", count());
	log_debug(IO, "two %d", count());
	log_info("three");
}

/* What is written to standard error meanwhile. */
static const char *said(void (*fn)(void))
{
	static char text[4096];
	int fds[2], before = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe(fds), 0);
	dup2(fds[1], STDERR_FILENO);
	fn();
	assert_int_equal(write(STDERR_FILENO, "end", 3), 3);
	n = read(fds[0], text, sizeof(text) - 1);
	assert_true(n >= 3);
	text[n - 3] = 0;
	dup2(before, STDERR_FILENO);
	close(before);
	close(fds[0]);
	close(fds[1]);
	return text;
}

static int reset(void **state)
{
	log_set_level(LOG_INFO);
	log_set_debug(0);
	evaluated = 0;
	return 0;
}

static void none_at_first(void **state)
{
	assert_null(strstr(said(log_all), "debug"));
	assert_int_equal(evaluated, 0);
}

static void one_category(void **state)
{
	const char *text;

	log_set_debug(1u << DEBUG_IO);
	text = said(log_all);
	assert_non_null(strstr(text, " debug: io: two 1\n"));
	assert_null(strstr(text, "one"));
	assert_non_null(strstr(text, "three"));
	assert_int_equal(evaluated, 1);
}

/* Whatever the level is. */
static void with_few_other_lines(void **state)
{
	const char *text;

	log_set_level(LOG_ERR);
	log_set_debug(DEBUG_ALL);
	text = said(log_all);
	assert_non_null(strstr(text, "tcp: one"));
	assert_null(strstr(text, "three"));
}

static void level_debug_is_all(void **state)
{
	log_set_debug(1u << DEBUG_IO);
	log_set_level(LOG_DEBUG);
	assert_non_null(strstr(said(log_all), "tcp: one"));
	assert_int_equal(log_debug_categories(), 1u << DEBUG_IO);
	log_set_level(LOG_INFO);
	assert_null(strstr(said(log_all), "tcp: one"));
}

static void names(void **state)
{
	const char *unknown;
	unsigned c;

	assert_true(debug_parse("tcp,io", &c, &unknown));
	assert_int_equal(c, 1u << DEBUG_TCP | 1u << DEBUG_IO);
	assert_true(debug_parse("all", &c, &unknown));
	assert_int_equal(c, DEBUG_ALL);
	assert_true(debug_parse("none", &c, &unknown));
	assert_int_equal(c, 0);
	assert_false(debug_parse("tcp,ioo", &c, &unknown));
	assert_string_equal(unknown, "ioo");
	assert_false(debug_parse("", &c, &unknown));
	assert_false(debug_parse("tc", &c, &unknown));
	assert_false(debug_parse("tcp,", &c, &unknown));
	for (unsigned i = 0; i < DEBUG_COUNT; i++) {
		assert_true(debug_parse(debug_name(i), &c, &unknown));
		assert_int_equal(c, 1u << i);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, reset)
	const struct CMUnitTest tests[] = {
		T(none_at_first),      T(one_category), T(with_few_other_lines),
		T(level_debug_is_all), T(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
