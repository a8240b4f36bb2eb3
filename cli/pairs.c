/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pairs.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli/complain.h"

#define NUMBER_MAX 9 /* characters; what has more is an identifier */

static bool is_json(const char *value)
{
	size_t len = strlen(value);

	if (!strcmp(value, "true") || !strcmp(value, "false") || strchr("[{\"", value[0]))
		return len;
	return len && len <= NUMBER_MAX && strspn(value, "-.0123456789") == len;
}

static json_t *value_of(const char *text)
{
	json_t *value = is_json(text) ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;

	return value ? value : json_string(text);
}

void pair_set(json_t *o, const char *word)
{
	const char *equals = strchr(word, '=');
	json_t *value;
	char *key;

	if (!equals || equals == word)
		bad_usage("%s: KEY=VALUE is expected, with a key of nvmegw.json(5)", word);
	key = strndup(word, (size_t)(equals - word));
	if (!key)
		abort();
	value = value_of(equals + 1);
	if (json_object_get(o, key))
		bad_usage("%s: this key is there twice", word);
	if (!value || json_object_set_new(o, key, value))
		bad_usage("%s: it is not in UTF-8", word);
	free(key);
}
