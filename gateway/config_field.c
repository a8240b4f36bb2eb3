/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/config_field.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "transport/loop.h"

/* ---- storing ---- */

static void store(const struct cfg_field *f, void *out, uint64_t value)
{
	char *to = (char *)out + f->off;

	switch (f->size) {
	case 1:
		*(uint8_t *)to = (uint8_t)value;
		break;
	case 2:
		*(uint16_t *)(void *)to = (uint16_t)value;
		break;
	case 4:
		*(uint32_t *)(void *)to = (uint32_t)value;
		break;
	default:
		*(uint64_t *)(void *)to = value;
	}
}

static void store_seconds(const struct cfg_field *f, void *out, double seconds)
{
	int64_t ns = seconds < 0 ? -1 : llround(seconds * (double)NSEC_PER_SEC);

	store(f, out, (uint64_t)ns);
}

static void store_default(const struct cfg_field *f, void *out)
{
	switch (f->type) {
	case CFG_OTHER:
		break;
	case CFG_TEXT:
		if (f->text)
			strcpy((char *)out + f->off, f->text);
		break;
	case CFG_ID:
		memset((char *)out + f->off, 0, f->size);
		break;
	case CFG_SECONDS:
		store_seconds(f, out, f->def);
		break;
	case CFG_WORD:
		store(f, out, f->words[0].value);
		break;
	default:
		store(f, out, (uint64_t)f->def * (f->unit ? f->unit : 1));
	}
}

/* ---- numbers ---- */

static void read_bool(const struct cfg_node *n, const struct cfg_field *f, void *out)
{
	char buf[CFG_SHOW_MAX];

	if (json_is_boolean(n->value))
		*(bool *)((char *)out + f->off) = json_is_true(n->value);
	else
		cfg_problem(n, "is %s, expected true or false", cfg_show(n, buf));
}

static void uint_problem(const struct cfg_node *n, const struct cfg_field *f, const char *what)
{
	const char *kind = f->power_of_two ? "a power of two" : "an integer";
	char multiple[32] = "";

	if (f->multiple)
		snprintf(multiple, sizeof(multiple), ", a multiple of %u", f->multiple);
	cfg_problem(n, "is %s, expected %s from %.15g to %.15g%s", what, kind, f->min, f->max,
		    multiple);
}

static bool uint_fits(const struct cfg_field *f, json_int_t v)
{
	if ((double)v < f->min || (double)v > f->max)
		return false;
	if (f->multiple && v % f->multiple)
		return false;
	return !f->power_of_two || !(v & (v - 1));
}

static void take_uint(const struct cfg_node *n, const struct cfg_field *f, json_int_t v, void *out)
{
	char buf[CFG_SHOW_MAX];

	if (uint_fits(f, v))
		store(f, out, (uint64_t)v * (f->unit ? f->unit : 1));
	else
		uint_problem(n, f, cfg_show(n, buf));
}

static void read_uint(const struct cfg_node *n, const struct cfg_field *f, void *out)
{
	char buf[CFG_SHOW_MAX];

	if (json_is_integer(n->value))
		take_uint(n, f, json_integer_value(n->value), out);
	else
		uint_problem(n, f, cfg_show(n, buf));
}

static void read_port(const struct cfg_node *n, const struct cfg_field *f, void *out)
{
	const char *s = json_string_value(n->value);
	size_t digits = s ? strspn(s, "0123456789") : 0;
	char buf[CFG_SHOW_MAX];

	if (!s)
		read_uint(n, f, out);
	else if (!digits || digits > 5 || s[digits])
		uint_problem(n, f, cfg_show(n, buf));
	else
		take_uint(n, f, atoi(s), out);
}

/* The multiplier of a unit, or 0. */
static uint64_t byte_unit(const char *s)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};

	for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (!strcmp(s, units[i]))
			return 1ull << 10 * i;
	return *s ? 0 : 1;
}

/* A positive number of bytes that fits off_t; 0 when @s is none. */
static uint64_t parse_bytes(const char *s)
{
	size_t digits = strspn(s, "0123456789");
	uint64_t v, unit = byte_unit(s + digits);

	if (!digits || digits > 18 || !unit)
		return 0;
	v = strtoull(s, NULL, 10);
	return v > INT64_MAX / unit ? 0 : v * unit;
}

static void read_bytes(const struct cfg_node *n, const struct cfg_field *f, void *out)
{
	const char *s = json_string_value(n->value);
	json_int_t i = json_integer_value(n->value);
	uint64_t v = s ? parse_bytes(s) : i > 0 ? (uint64_t)i : 0;
	char buf[CFG_SHOW_MAX];

	if (v)
		store(f, out, v);
	else
		cfg_problem(n,
			    "is %s, expected a number of bytes, or one with a unit like \"64MiB\" "
			    "(KiB, MiB, GiB, TiB)",
			    cfg_show(n, buf));
}

static void read_seconds(const struct cfg_node *n, const struct cfg_field *f, void *out)
{
	double v = json_number_value(n->value);
	char buf[CFG_SHOW_MAX];

	if (json_is_number(n->value) &&
	    ((v >= f->min && v <= f->max) || (v == 0 && f->or_off) || (v == -1 && f->or_never)))
		store_seconds(f, out, v);
	else
		cfg_problem(n, "is %s, expected seconds from %.15g to %.15g%s%s", cfg_show(n, buf),
			    f->min, f->max, f->or_off ? ", or 0 for none" : "",
			    f->or_never ? ", or -1 for never" : "");
}

/* ---- texts ---- */

void cfg_text(const struct cfg_node *n, char *out, size_t size, const char *(*check)(const char *))
{
	const char *s = json_string_value(n->value), *expected = NULL;
	char buf[CFG_SHOW_MAX];

	if (!s)
		cfg_problem(n, "is %s, expected a string", cfg_show(n, buf));
	else if (!*s)
		cfg_problem(n, "is empty, expected a string of 1 to %zu bytes", size - 1);
	else if (strlen(s) >= size)
		cfg_problem(n, "is %zu bytes long, expected at most %zu", strlen(s), size - 1);
	else if (check && (expected = check(s)))
		cfg_problem(n, "is %s, expected %s", cfg_show(n, buf), expected);
	else
		strcpy(out, s);
}

static void read_text(const struct cfg_node *n, const struct cfg_field *f, void *out)
{
	const char *s = json_string_value(n->value);
	char *to = (char *)out + f->off;

	if (s && !*s && f->or_empty)
		*to = '\0';
	else
		cfg_text(n, to, f->size, f->check);
}

static void read_word(const struct cfg_node *n, const struct cfg_field *f, void *out)
{
	const char *s = json_string_value(n->value);
	char expected[256] = "", buf[CFG_SHOW_MAX];

	for (const struct cfg_word *w = f->words; w->text; w++) {
		size_t len = strlen(expected);

		if (s && !strcmp(s, w->text)) {
			store(f, out, w->value);
			return;
		}
		snprintf(expected + len, sizeof(expected) - len, "%s\"%s\"",
			 w == f->words ? "" : " or ", w->text);
	}
	cfg_problem(n, "is %s, expected %s", cfg_show(n, buf), expected);
}

/* Digits, or 16 bytes in the form of a UUID. */
static bool parse_id(const char *s, uint8_t *id, size_t size)
{
	bool dashes = size == 16 && strlen(s) == 36;
	uint8_t any = 0;

	for (size_t i = 0; i < size; i++, s += 2) {
		if (dashes && (i == 4 || i == 6 || i == 8 || i == 10) && *s++ != '-')
			return false;
		if (!isxdigit((unsigned char)s[0]) || !isxdigit((unsigned char)s[1]))
			return false;
		id[i] = (uint8_t)strtoul((char[]){s[0], s[1], 0}, NULL, 16);
		any |= id[i];
	}
	return !*s && any;
}

static void read_id(const struct cfg_node *n, const struct cfg_field *f, void *out)
{
	const char *s = json_string_value(n->value);
	char buf[CFG_SHOW_MAX];
	uint8_t id[16];

	if (s && parse_id(s, id, f->size))
		memcpy((char *)out + f->off, id, f->size);
	else
		cfg_problem(n, "is %s, expected %zu hexadecimal digits%s, not all zero",
			    cfg_show(n, buf), 2 * f->size,
			    f->size == 16 ? " or the form of a UUID" : "");
}

/* ---- objects ---- */

static void read_field(const struct cfg_node *n, const struct cfg_field *f, void *out)
{
	static void (*const read[])(const struct cfg_node *, const struct cfg_field *, void *) = {
		[CFG_BOOL] = read_bool,	      [CFG_UINT] = read_uint, [CFG_PORT] = read_port,
		[CFG_BYTES] = read_bytes,     [CFG_TEXT] = read_text, [CFG_WORD] = read_word,
		[CFG_SECONDS] = read_seconds, [CFG_ID] = read_id,
	};

	if (f->type != CFG_OTHER)
		read[f->type](n, f, out);
}

static const struct cfg_field *find(const struct cfg_field *f, const char *name)
{
	for (; f->name; f++)
		if (!strcmp(f->name, name))
			return f;
	return NULL;
}

/* nvme-cli spells its long options with dashes. */
static bool same_letter(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b) || (a == '-' && b == '_');
}

/* Of inserting, deleting and replacing characters; @b is shorter than CFG_NAME_MAX. */
static unsigned edit_distance(const char *a, const char *b)
{
	unsigned row[CFG_NAME_MAX], n = (unsigned)strlen(b);

	for (unsigned j = 0; j <= n; j++)
		row[j] = j;
	for (unsigned i = 1; a[i - 1]; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= n; j++) {
			unsigned best = diagonal + !same_letter(a[i - 1], b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[n];
}

bool cfg_applies(const struct cfg_field *f, const struct cfg_variant *v)
{
	return !f->only || (v && (f->only & v->bit));
}

/* Whether an object of this variant may have it. */
static bool fits(const struct cfg_field *f, const struct cfg_variant *v)
{
	return !v || !v->bit || cfg_applies(f, v);
}

static void unknown_key(const struct cfg_node *n, const struct cfg_field *f,
			const struct cfg_variant *variant)
{
	const char *close = NULL;
	unsigned least = 3;

	/* Not for a file of nothing but problems, which are not shown anyway. */
	bool look = strlen(n->key) < CFG_NAME_MAX && n->doc->problems < CFG_PROBLEMS_MAX;

	for (; look && f->name; f++) {
		unsigned d = edit_distance(n->key, f->name);

		if (d < least && d < (strlen(f->name) + 1) / 2 && fits(f, variant)) {
			least = d;
			close = f->name;
		}
	}
	if (close)
		cfg_key_problem(n, "unknown key, did you mean \"%s\"?", close);
	else
		cfg_key_problem(n, "unknown key, expected one of nvmegw.json(5)");
}

void cfg_read(const struct cfg_node *n, const struct cfg_field *f,
	      const struct cfg_variant *variant, void *out)
{
	bool is_object = json_is_object(n->value);
	char buf[CFG_SHOW_MAX];

	if (!is_object)
		cfg_problem(n, "is %s, expected an object", cfg_show(n, buf));
	for (const struct cfg_field *i = f; i->name; i++) {
		assert(strlen(i->name) < CFG_NAME_MAX);
		store_default(i, out);
		if (is_object && i->required && cfg_applies(i, variant) && !cfg_member(n, i->name))
			cfg_problem(n, "has no \"%s\", which is required", i->name);
	}
	for (unsigned i = 0; is_object && i < n->nr; i++) {
		const struct cfg_node *member = &n->children[i];
		const struct cfg_field *field = find(f, member->key);

		if (!field)
			unknown_key(member, f, variant);
		else if (!fits(field, variant))
			cfg_key_problem(member, "does not fit %s, expected not to be there",
					variant->name);
		else
			read_field(member, field, out);
	}
}

const struct cfg_node *cfg_array(const struct cfg_node *n, const char *key, unsigned min,
				 unsigned max)
{
	const struct cfg_node *array = cfg_member(n, key);
	char buf[CFG_SHOW_MAX];

	if (!array)
		return NULL;
	if (json_is_array(array->value) && array->nr >= min && array->nr <= max)
		return array;
	if (json_is_array(array->value))
		cfg_problem(array, "has %u elements, expected %u to %u", array->nr, min, max);
	else
		cfg_problem(array, "is %s, expected an array", cfg_show(array, buf));
	return NULL;
}

void *cfg_alloc(size_t count, size_t size)
{
	void *p = calloc(count ? count : 1, size);

	if (!p)
		abort();
	return p;
}
