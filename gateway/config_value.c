/* SPDX-License-Identifier: Apache-2.0 */
/* From the struct back to the file: what a member would be there. */
#include <stdio.h>
#include <string.h>

#include "gateway/config_field.h"
#include "transport/loop.h"

static uint64_t load(const struct cfg_field *f, const void *in)
{
	const void *from = (const char *)in + f->off;

	switch (f->size) {
	case 1:
		return *(const uint8_t *)from;
	case 2:
		return *(const uint16_t *)from;
	case 4:
		return *(const uint32_t *)from;
	default:
		return *(const uint64_t *)from;
	}
}

static json_t *seconds(int64_t ns)
{
	const int64_t second = (int64_t)NSEC_PER_SEC;

	if (ns < 0)
		return json_integer(-1);
	return ns % second ? json_real((double)ns / (double)second) : json_integer(ns / second);
}

static json_t *word(const struct cfg_field *f, uint64_t value)
{
	for (const struct cfg_word *w = f->words; w->text; w++)
		if (w->value == value)
			return json_string(w->text);
	return json_null();
}

static json_t *hex(const uint8_t *id, size_t size)
{
	char text[2 * 16 + 1];

	for (size_t i = 0; i < size; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
	return json_string(text);
}

json_t *cfg_value(const struct cfg_field *f, const void *in)
{
	const char *from = (const char *)in + f->off;

	switch (f->type) {
	case CFG_BOOL:
		return json_boolean(*(const bool *)from);
	case CFG_TEXT:
		return json_string(from);
	case CFG_ID:
		return hex((const uint8_t *)from, f->size);
	case CFG_WORD:
		return word(f, load(f, in));
	case CFG_SECONDS:
		return seconds((int64_t)load(f, in));
	default:
		return json_integer((json_int_t)(load(f, in) / (f->unit ? f->unit : 1)));
	}
}
