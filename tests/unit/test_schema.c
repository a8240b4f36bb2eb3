/* SPDX-License-Identifier: Apache-2.0 */
/* The part of JSON Schema that is known: what fits, and what is said of what does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "gateway/schema.h"

/* What is said; "": it fits. */
static const char *said(const char *schema, const char *value)
{
	static char problem[512];
	json_t *s = json_loads(schema, 0, NULL), *v = json_loads(value, JSON_DECODE_ANY, NULL);

	assert_non_null(s);
	assert_non_null(v);
	if (schema_fits(s, v, "it", problem, sizeof(problem)))
		problem[0] = 0;
	json_decref(s);
	json_decref(v);
	return problem;
}

static void types(void **state)
{
	static const char *const values[][2] = {
		{"object", "{}"},  {"array", "[]"},	{"string", "\"\""},   {"integer", "1"},
		{"number", "1.5"}, {"boolean", "true"}, {"boolean", "false"}, {"null", "null"},
	};
	char schema[64];

	for (unsigned t = 0; t < 8; t++) {
		snprintf(schema, sizeof(schema), "{\"type\":\"%s\"}", values[t][0]);
		for (unsigned v = 0; v < 8; v++) {
			bool same = !strcmp(values[t][0], values[v][0]);
			bool whole = t == 4 && v == 3;

			assert_int_equal(!*said(schema, values[v][1]), same || whole);
		}
	}
	assert_string_equal(said("{\"type\":[\"string\",\"null\"]}", "null"), "");
	assert_string_equal(said("{\"type\":[\"string\",\"null\"]}", "1"),
			    "\"it\" must be a string");
	assert_string_equal(said("{\"type\":\"boolean\"}", "1"), "\"it\" must be true or false");
	assert_string_equal(said("{\"type\":\"integer\"}", "1.0"), "\"it\" must be an integer");
	assert_string_equal(said("{}", "[1, null]"), "");
}

static void ranges(void **state)
{
	static const char whole[] = "{\"type\":\"integer\",\"minimum\":-2,\"maximum\":3}";
	static const char real[] = "{\"type\":\"number\",\"minimum\":0,\"maximum\":1}";

	assert_string_equal(said(whole, "-2"), "");
	assert_string_equal(said(whole, "3"), "");
	assert_string_equal(said(whole, "-3"), "\"it\" must be an integer from -2 to 3");
	assert_string_equal(said(whole, "4"), "\"it\" must be an integer from -2 to 3");
	assert_string_equal(said(real, "1.0"), "");
	assert_string_equal(said(real, "0"), "");
	assert_string_not_equal(said(real, "1.01"), "");
	assert_string_not_equal(said(real, "-0.01"), "");
	assert_string_equal(said("{\"type\":\"integer\",\"maximum\":3}", "4"),
			    "\"it\" must be an integer up to 3");
	assert_string_equal(said("{\"type\":\"integer\",\"minimum\":3}", "2"),
			    "\"it\" must be an integer from 3");
}

static void lengths(void **state)
{
	static const char schema[] = "{\"type\":\"string\",\"minLength\":1,\"maxLength\":3}";

	assert_string_equal(said(schema, "\"abc\""), "");
	assert_string_equal(said(schema, "\"\xc3\xa4\xc3\xb6\xc3\xbc\""), "");
	assert_string_equal(said(schema, "\"\""), "\"it\" must be a string of 1 to 3 characters");
	assert_string_not_equal(said(schema, "\"abcd\""), "");
}

static void words(void **state)
{
	static const char schema[] = "{\"type\":[\"string\",\"null\"],\"enum\":[\"a\",\"b\",null]}";

	assert_string_equal(said(schema, "\"b\""), "");
	assert_string_equal(said(schema, "null"), "");
	assert_string_equal(said(schema, "\"c\""), "\"it\" must be one of a, b, null");
}

static void objects(void **state)
{
	static const char schema[] =
		"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},"
		"\"b\":{\"type\":\"object\",\"properties\":{\"c\":{\"type\":\"string\"}},"
		"\"required\":[\"c\"],\"additionalProperties\":false}},\"required\":[\"a\"],"
		"\"additionalProperties\":false}";

	assert_string_equal(said(schema, "{\"a\":1}"), "");
	assert_string_equal(said(schema, "{\"a\":1,\"b\":{\"c\":\"x\"}}"), "");
	assert_string_equal(said(schema, "[]"), "\"it\" must be an object");
	assert_string_equal(said(schema, "{}"), "parameter \"a\" is missing");
	assert_string_equal(said(schema, "{\"a\":1,\"d\":1}"), "unknown parameter \"d\"");
	assert_string_equal(said(schema, "{\"a\":null}"), "\"a\" must be an integer");
	assert_string_equal(said(schema, "{\"a\":1,\"b\":{}}"), "parameter \"b.c\" is missing");
	assert_string_equal(said(schema, "{\"a\":1,\"b\":{\"c\":2}}"), "\"b.c\" must be a string");
	assert_string_equal(said(schema, "{\"a\":1,\"b\":{\"c\":\"\",\"e\":2}}"),
			    "unknown parameter \"b.e\"");
}

static void arrays(void **state)
{
	static const char schema[] =
		"{\"type\":\"object\",\"properties\":{\"l\":{\"type\":\"array\",\"items\":"
		"{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}}}}";

	assert_string_equal(said(schema, "{\"l\":[[],[1,2]]}"), "");
	assert_string_equal(said(schema, "{\"l\":[[],[1,\"2\"]]}"),
			    "\"l[1][1]\" must be an integer");
	assert_string_equal(said(schema, "{\"l\":[3]}"), "\"l[0]\" must be an array");
	assert_string_equal(said("{\"type\":\"array\",\"items\":{\"type\":\"null\"}}", "[1]"),
			    "\"[0]\" must be null");
}

/* Names are the client's: however long, they are cut. */
static void long_names(void **state)
{
	char value[2000], *end = value;

	for (unsigned i = 0; i < 10; i++)
		end += sprintf(end, "{\"%0150d\":", 0);
	end += sprintf(end, "1");
	for (unsigned i = 0; i < 10; i++)
		*end++ = '}';
	*end = 0;
	assert_non_null(strstr(said("{\"type\":\"object\",\"properties\":{},"
				    "\"additionalProperties\":false}",
				    value),
			       "unknown parameter \"000"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types),      cmocka_unit_test(ranges),	 cmocka_unit_test(lengths),
		cmocka_unit_test(words),      cmocka_unit_test(objects), cmocka_unit_test(arrays),
		cmocka_unit_test(long_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
