/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/schema.h"

#include <stdio.h>
#include <string.h>

#define EXPECTED_MAX 512
#define WHERE_MAX    128

/* A value within the whole, for messages. */
struct place {
	const struct place *in; /* NULL: the whole, and key is its name */
	const char *key;	/* NULL: an element of an array */
	size_t index;
};

struct check {
	char *problem;
	size_t len;
};

/* ---- words ---- */

static size_t put_place(const struct place *p, char *buf, size_t len)
{
	size_t n = p->in && p->in->in ? put_place(p->in, buf, len) : 0;
	int more;

	if (n >= len)
		return n;
	if (p->key)
		more = snprintf(buf + n, len - n, "%s%.100s", n ? "." : "", p->key);
	else
		more = snprintf(buf + n, len - n, "[%zu]", p->index);
	return n + (size_t)more;
}

static void put_words(const json_t *words, char *buf, size_t len)
{
	const json_t *word;
	size_t i, n = 0;

	json_array_foreach((json_t *)words, i, word) {
		const char *s = json_is_string(word) ? json_string_value(word) : "null";

		if (n < len)
			n += (size_t)snprintf(buf + n, len - n, "%s%s", i ? ", " : "", s);
	}
}

static const char *a_type(const char *type)
{
	static const char *const names[][2] = {
		{"object", "an object"}, {"array", "an array"},	    {"string", "a string"},
		{"number", "a number"},	 {"integer", "an integer"}, {"boolean", "true or false"},
		{"null", "null"},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i][0], type))
			return names[i][1];
	return type;
}

/* "an integer from 1 to 1000" and so on */
static void put_expected(const json_t *schema, char buf[EXPECTED_MAX])
{
	const json_t *type = json_object_get(schema, "type"), *words;
	const json_t *min = json_object_get(schema, "minimum");
	const json_t *max = json_object_get(schema, "maximum");
	size_t n;

	words = json_object_get(schema, "enum");
	if (words) {
		n = (size_t)snprintf(buf, EXPECTED_MAX, "one of ");
		put_words(words, buf + n, EXPECTED_MAX - n);
		return;
	}
	if (json_is_array(type))
		type = json_array_get(type, 0);
	n = (size_t)snprintf(buf, EXPECTED_MAX, "%s", a_type(json_string_value(type)));
	if (min)
		n += (size_t)snprintf(buf + n, EXPECTED_MAX - n, " from %" JSON_INTEGER_FORMAT,
				      json_integer_value(min));
	if (max)
		snprintf(buf + n, EXPECTED_MAX - n, " %s %" JSON_INTEGER_FORMAT,
			 min ? "to" : "up to", json_integer_value(max));
	min = json_object_get(schema, "minLength");
	max = json_object_get(schema, "maxLength");
	if (max)
		snprintf(buf + n, EXPECTED_MAX - n,
			 " of %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT " characters",
			 json_integer_value(min), json_integer_value(max));
}

static bool wrong(const struct check *c, const struct place *at, const json_t *schema)
{
	char where[WHERE_MAX], expected[EXPECTED_MAX];

	put_place(at, where, sizeof(where));
	put_expected(schema, expected);
	snprintf(c->problem, c->len, "\"%s\" must be %s", where, expected);
	return false;
}

/* ---- checks ---- */

static bool is_type(const char *type, const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return !strcmp(type, "object");
	case JSON_ARRAY:
		return !strcmp(type, "array");
	case JSON_STRING:
		return !strcmp(type, "string");
	case JSON_INTEGER:
		return !strcmp(type, "integer") || !strcmp(type, "number");
	case JSON_REAL:
		return !strcmp(type, "number");
	case JSON_NULL:
		return !strcmp(type, "null");
	default:
		return !strcmp(type, "boolean");
	}
}

static bool type_fits(const json_t *schema, const json_t *v)
{
	const json_t *type = json_object_get(schema, "type"), *one;
	size_t i;

	if (json_is_string(type))
		return is_type(json_string_value(type), v);
	json_array_foreach((json_t *)type, i, one)
		if (is_type(json_string_value(one), v))
			return true;
	return !type;
}

static bool enum_fits(const json_t *schema, const json_t *v)
{
	const json_t *words = json_object_get(schema, "enum"), *word;
	size_t i;

	json_array_foreach((json_t *)words, i, word)
		if (json_equal(word, v))
			return true;
	return !words;
}

/* Bounds are integers. */
static bool range_fits(const json_t *schema, const json_t *v)
{
	const json_t *min = json_object_get(schema, "minimum");
	const json_t *max = json_object_get(schema, "maximum");

	if (json_is_integer(v))
		return (!min || json_integer_value(v) >= json_integer_value(min)) &&
		       (!max || json_integer_value(v) <= json_integer_value(max));
	return !json_is_real(v) ||
	       ((!min || json_real_value(v) >= (double)json_integer_value(min)) &&
		(!max || json_real_value(v) <= (double)json_integer_value(max)));
}

/* In characters; every byte of UTF-8 but those that go on with one begins one. */
static bool length_fits(const json_t *schema, const json_t *v)
{
	const json_t *min = json_object_get(schema, "minLength");
	const json_t *max = json_object_get(schema, "maxLength");
	json_int_t n = 0;

	if (!json_is_string(v))
		return true;
	for (const char *s = json_string_value(v); *s; s++)
		n += (*s & 0xc0) != 0x80;
	return (!min || n >= json_integer_value(min)) && (!max || n <= json_integer_value(max));
}

static bool fits(const struct check *c, const json_t *schema, const json_t *v,
		 const struct place *at);

static bool members_fit(const struct check *c, const json_t *schema, const json_t *v,
			const struct place *at)
{
	const json_t *known = json_object_get(schema, "properties");
	bool closed = json_is_false(json_object_get(schema, "additionalProperties"));
	const char *key;
	json_t *member;

	json_object_foreach((json_t *)v, key, member) {
		const json_t *its = json_object_get(known, key);
		struct place here = {at, key, 0};
		char where[WHERE_MAX];

		if (its) {
			if (!fits(c, its, member, &here))
				return false;
		} else if (closed) {
			put_place(&here, where, sizeof(where));
			snprintf(c->problem, c->len, "unknown parameter \"%s\"", where);
			return false;
		}
	}
	return true;
}

static bool none_missing(const struct check *c, const json_t *schema, const json_t *v,
			 const struct place *at)
{
	const json_t *required = json_object_get(schema, "required"), *name;
	size_t i;

	json_array_foreach((json_t *)required, i, name) {
		struct place here = {at, json_string_value(name), 0};
		char where[WHERE_MAX];

		if (json_object_get(v, here.key))
			continue;
		put_place(&here, where, sizeof(where));
		snprintf(c->problem, c->len, "parameter \"%s\" is missing", where);
		return false;
	}
	return true;
}

static bool items_fit(const struct check *c, const json_t *schema, const json_t *v,
		      const struct place *at)
{
	const json_t *items = json_object_get(schema, "items"), *item;
	size_t i;

	json_array_foreach((json_t *)v, i, item) {
		struct place here = {at, NULL, i};

		if (items && !fits(c, items, item, &here))
			return false;
	}
	return true;
}

static bool fits(const struct check *c, const json_t *schema, const json_t *v,
		 const struct place *at)
{
	if (!type_fits(schema, v) || !enum_fits(schema, v) || !range_fits(schema, v) ||
	    !length_fits(schema, v))
		return wrong(c, at, schema);
	if (json_is_object(v))
		return members_fit(c, schema, v, at) && none_missing(c, schema, v, at);
	return !json_is_array(v) || items_fit(c, schema, v, at);
}

bool schema_fits(const json_t *schema, const json_t *value, const char *name, char *problem,
		 size_t len)
{
	const struct place whole = {NULL, name, 0};
	const struct check c = {problem, len};

	return fits(&c, schema, value, &whole);
}
