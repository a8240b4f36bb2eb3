/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files as files: what is no JSON, lines and paths, and hostile sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/config_json.h"
#include "tests/unit/config_try.h"

static int teardown(void **state)
{
	try_end();
	return 0;
}

/* ---- files ---- */

/* What is said of a file that is there, or not, under this name. */
static void file_refused(const char *name, const char *said)
{
	char *report;
	size_t size;
	FILE *err = open_memstream(&report, &size);

	assert_null(config_load(name, err));
	fclose(err);
	assert_string_equal(report, said);
	free(report);
}

static void test_no_file(void **state)
{
	char dir[] = "/tmp/nvmegw-config-XXXXXX", said[128];

	file_refused("/nonexistent/nvmegw.json",
		     "/nonexistent/nvmegw.json: cannot open: No such file or directory\n");
	assert_non_null(mkdtemp(dir));
	snprintf(said, sizeof(said), "%s: cannot read: Is a directory\n", dir);
	file_refused(dir, said);
	rmdir(dir);
}

static void test_no_json(void **state)
{
	static const struct {
		const char *text, *said;
	} bad[] = {
		{"", "1: '[' or '{' expected near end of file, expected correct JSON\n"},
		{"\n\n", "3: '[' or '{' expected near end of file, expected correct JSON\n"},
		{"nvmegw", "1: '[' or '{' expected near 'nvmegw', expected correct JSON\n"},
		{"{ \"listeners\": [ }", "1: unexpected token near '}', expected correct JSON\n"},
		{"{\n\"pin\": true,\n}",
		 "3: string or '}' expected near '}', expected correct JSON\n"},
		{"{\n\"pin\": true\n\"workers\": 1}",
		 "3: '}' expected near '\"workers\"', expected correct JSON\n"},
		{"{\n} {}", "2: end of file expected near '{', expected correct JSON\n"},
		{"{\"a\":\n\"b\nc\"}", "2: unexpected newline near '\"b', expected correct JSON\n"},
		{"{\"a\": \"\\u0000\"}",
		 "1: \\u0000 is not allowed without JSON_ALLOW_NUL near '\"\\u0000\"', expected "
		 "correct JSON\n"},
		{"{\"workers\":\n99999999999999999999}",
		 "2: too big integer near '99999999999999999999', expected correct JSON\n"},
		{"{\"workers\": 1e999}",
		 "1: real number overflow near '1e999', expected correct JSON\n"},
		{"{\"workers\": 01}", "1: invalid token near '0', expected correct JSON\n"},
		{"{\"workers\": NaN}", "1: invalid token near 'NaN', expected correct JSON\n"},
		{"{\"a\": \"\xff\"}",
		 "1: unable to decode byte 0xff near '\"', expected correct JSON\n"},
		{"\xef\xbb\xbf{}",
		 "1: '[' or '{' expected near '\xef\xbb\xbf', expected correct JSON\n"},
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		try_refused(bad[i].text, bad[i].said);
}

static void test_zero_bytes(void **state)
{
	static const char within[] = "{\"pin\": true\0, \"x\": 1}", after[] = "{\n\n}\0";

	assert_null(try_bytes(within, sizeof(within) - 1));
	assert_string_equal(try_said, "1: there is a zero byte, expected correct JSON\n");
	assert_null(try_bytes(after, sizeof(after) - 1));
	assert_string_equal(try_said, "3: there is a zero byte, expected correct JSON\n");
	assert_null(try_bytes("", 1));
	assert_string_equal(try_said, "1: there is a zero byte, expected correct JSON\n");
}

static void test_duplicates(void **state)
{
	try_refused("{\n\"workers\": 1,\n\"pin\": true,\n\"workers\": 1}",
		    "4: duplicate object key near '\"workers\"', expected each key once\n");
	try_refused("{\"listeners\": [{\"traddr\": \"::1\",\n\"traddr\": \"::1\"}]}",
		    "2: duplicate object key near '\"traddr\"', expected each key once\n");
}

/* ---- lines and paths ---- */

static void test_lines(void **state)
{
	try_refused("\r\n{\r\n"
		    "\t\"pin\"\r\n"
		    "\t:\n"
		    "\tnull,\n"	     /* the value's line is told, not the key's */
		    "\t\"colour\"\n" /* but the key's, when that is wrong */
		    "\t: 1,\n"
		    "\"control_socket\": \"a \\\" { [ , \\\\\", \"state_dir\": \"\\\\\\\"\",\n"
		    "\"listeners\": [\n"
		    "  {\"transport\": \"tcp\", \"traddr\": \"127.0.0.1\", \"trsvcid\": 1},\n"
		    "  {},\n"
		    "  [ [ ], { \"a\": [ 1.5e3, {} ] } ],\n"
		    "  -1.5e+3\n"
		    "],\n"
		    "\"subsystems\": \n"
		    "{ }\n"
		    "}",
		    "5: $.pin: is null, expected true or false\n"
		    "6: $.colour: unknown key, expected one of nvmegw.json(5)\n"
		    "11: $.listeners[1]: has no \"transport\", which is required\n"
		    "11: $.listeners[1]: has no \"traddr\", which is required\n"
		    "12: $.listeners[2]: is an array, expected an object\n"
		    "13: $.listeners[3]: is -1500.0, expected an object\n"
		    "16: $.subsystems: is an object, expected an array\n");
}

static void test_paths(void **state)
{
	try_refused("{\"listeners\": [],\n"
		    " \"\": 1,\n"
		    " \"a.b\": 1,\n"
		    " \"new\\nline\\u007f\": 1,\n"
		    " \"\xc3\xa9t\xc3\xa9\": {\"nqn\": 1},\n"
		    " \"subsystems\": [\n"
		    "  {\"nqn\": \"" TRY_NQN "\", \"upstreams\": [\n"
		    "   {\"transport\": \"file\", \"path\": \"/a\"},\n"
		    "   {\"transport\": \"file\", \"path\": \"/b\",\n"
		    "    \"cntlid\": 0}]}]}",
		    "2: $[\"\"]: unknown key, expected one of nvmegw.json(5)\n"
		    "3: $[\"a.b\"]: unknown key, expected one of nvmegw.json(5)\n"
		    "4: $[\"new?line?\"]: unknown key, expected one of nvmegw.json(5)\n"
		    "5: $[\"\xc3\xa9t\xc3\xa9\"]: unknown key, expected one of nvmegw.json(5)\n"
		    "1: $.listeners: has 0 elements, expected 1 to 64\n"
		    "10: $.subsystems[0].upstreams[1].cntlid: is 0, expected an integer from 1 to "
		    "65519\n");
}

static void test_not_an_object(void **state)
{
	try_refused("[\n{}]", "1: $: is an array, expected an object\n");
	try_refused("\n{}", "2: $: has no \"listeners\", which is required\n"
			    "2: $: has no \"subsystems\", which is required\n");
}

/* Long ones are cut, between characters. */
static void test_long_texts(void **state)
{
	char key[1001], value[1100], said[1200];

	memset(key, 'k', 1000);
	key[1000] = '\0';
	snprintf(said, sizeof(said), "6: $.%.74s...: unknown key, expected one of nvmegw.json(5)\n",
		 key);
	char *text = try_with(TRY_TOP, key, "1");

	try_refused(text, said);
	free(text);
	/* 1 + 2 * 36 bytes are shown: the next character would end in the 75th byte. */
	strcpy(value, "\"x");
	for (unsigned i = 0; i < 500; i++)
		strcat(value, "\xc3\xa9");
	strcat(value, "\"");
	snprintf(said, sizeof(said), "is \"%.73s...\", expected true or false", value + 1);
	try_refused_with(TRY_TOP, "pin", value, said);
}

/* ---- hostile sizes ---- */

static char *nested(unsigned depth)
{
	char *text = malloc(2 * depth + 32), *to = text;

	to += sprintf(to, "{\"listeners\": ");
	memset(to, '[', depth);
	memset(to + depth, ']', depth);
	strcpy(to + 2 * depth, "}");
	return text;
}

static void test_deep(void **state)
{
	char *text = nested(2000);

	try_refused(text, "1: $: has no \"subsystems\", which is required\n"
			  "1: $.listeners[0]: is an array, expected an object\n");
	free(text);
	text = nested(1000000);
	try_refused(text, "1: maximum parsing depth reached near '[', expected correct JSON\n");
	free(text);
}

static void test_large(void **state)
{
	char *text = try_with(TRY_TOP, NULL, NULL);
	size_t len = strlen(text);

	text = realloc(text, CFG_FILE_MAX + 2);
	memset(text + len, ' ', CFG_FILE_MAX + 1 - len);
	text[CFG_FILE_MAX + 1] = '\0';
	assert_null(try_bytes(text, CFG_FILE_MAX + 1));
	assert_string_equal(try_said, " too large: expected at most 16 MiB\n");
	assert_non_null(try_bytes(text, CFG_FILE_MAX));
	assert_string_equal(try_said, "");
	free(text);
}

static char *with_unknown_keys(unsigned n)
{
	char *text = malloc(n * 20 + 32), *to = text;

	to += sprintf(to, "{");
	for (unsigned i = 0; i < n; i++)
		to += sprintf(to, "\n\"worker%u\": 1,", i);
	sprintf(to, "\n\"listeners\": 1}");
	return text;
}

/* As many as a person reads, however many there are. */
static void test_many_problems(void **state)
{
	char *text = with_unknown_keys(97);
	unsigned lines = 0;

	/* with those of the rest: exactly the limit */
	assert_null(try_text(text));
	assert_non_null(strstr(try_said, "99: $.listeners: is 1, expected an array\n"));
	assert_null(strstr(try_said, "more problems"));
	free(text);
	text = with_unknown_keys(200000);
	assert_null(try_text(text));
	for (const char *p = try_said; *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, CFG_PROBLEMS_MAX + 1);
	assert_non_null(strstr(try_said,
			       "\n100: $.worker98: unknown key, did you mean \"workers\"?\n"
			       " there are more problems, expected fewer\n"));
	free(text);
}

/* Each refused by its number, before anything is made of its elements. */
static void test_many_elements(void **state)
{
	static const struct {
		const char *before, *element, *after, *said;
		unsigned n;
	} bad[] = {
		{"{\"subsystems\": 1, \"listeners\": [", "1", "]}",
		 "1: $.listeners: has 65 elements, expected 1 to 64\n"
		 "1: $.subsystems: is 1, expected an array\n",
		 65},
		{"{\"listeners\": 1, \"subsystems\": [", "1", "]}",
		 "1: $.listeners: is 1, expected an array\n"
		 "1: $.subsystems: has 257 elements, expected 1 to 256\n",
		 257},
		{"{\"listeners\": 1, \"subsystems\": [{\"nqn\": \"" TRY_NQN "\", \"upstreams\": [",
		 "{}", "]}]}",
		 "1: $.listeners: is 1, expected an array\n"
		 "1: $.subsystems[0].upstreams: has 1025 elements, expected 1 to 1024\n",
		 1025},
		{"{\"listeners\": 1, \"subsystems\": [{\"nqn\": \"" TRY_NQN
		 "\", \"upstreams\": 1, \"allowed_hosts\": [",
		 "1", "]}]}",
		 "1: $.listeners: is 1, expected an array\n"
		 "1: $.subsystems[0].allowed_hosts: has 4097 elements, expected 0 to 4096\n"
		 "1: $.subsystems[0].upstreams: is 1, expected an array\n",
		 4097},
		{"{\"listeners\": 1, \"subsystems\": [{\"nqn\": \"" TRY_NQN
		 "\", \"upstreams\": 1, \"namespaces\": [",
		 "1", "]}]}",
		 "1: $.listeners: is 1, expected an array\n"
		 "1: $.subsystems[0].namespaces: has 1025 elements, expected 1 to 1024\n"
		 "1: $.subsystems[0].upstreams: is 1, expected an array\n",
		 1025},
	};
	char text[1 << 14];

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *to = text + sprintf(text, "%s", bad[i].before);

		for (unsigned j = 0; j < bad[i].n; j++)
			to += sprintf(to, "%s%s", j ? "," : "", bad[i].element);
		sprintf(to, "%s", bad[i].after);
		try_refused(text, bad[i].said);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_teardown(f, teardown)
	const struct CMUnitTest tests[] = {
		T(test_no_file), T(test_no_json), T(test_zero_bytes),	 T(test_duplicates),
		T(test_lines),	 T(test_paths),	  T(test_not_an_object), T(test_long_texts),
		T(test_deep),	 T(test_large),	  T(test_many_problems), T(test_many_elements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
