/* SPDX-License-Identifier: Apache-2.0 */
/* Members of the daemon's JSON objects; what is not there is "", 0, false. */
#ifndef CLI_MEMBER_H
#define CLI_MEMBER_H

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

static inline const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static inline json_int_t number_of(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static inline bool is(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static inline bool is_null(const json_t *o, const char *key)
{
	return json_is_null(json_object_get(o, key));
}

static inline bool says(const json_t *o, const char *key, const char *text)
{
	return !strcmp(text_of(o, key), text);
}

#endif
