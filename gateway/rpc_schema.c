/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_schema.h"

#include <stdlib.h>
#include <string.h>

#define REF "#/$defs/"

__asm__(".section .rodata\n"
	"rpc_schema_text:\n"
	".incbin \"gateway/rpc_schema.json\"\n"
	".byte 0\n"
	".previous");
extern const char rpc_schema_text[];

static json_t *resolved(json_t *v, const json_t *defs);

static void resolve_members(json_t *v, const json_t *defs)
{
	json_t *member;
	const char *key;
	size_t i;

	json_object_foreach(v, key, member)
		json_object_set_new(v, key, resolved(member, defs));
	json_array_foreach(v, i, member)
		json_array_set_new(v, i, resolved(member, defs));
}

/* With definitions, which refer to no others, in the place of references to them. */
static json_t *resolved(json_t *v, const json_t *defs)
{
	const char *ref = json_string_value(json_object_get(v, "$ref"));
	json_t *def = ref ? json_object_get(defs, ref + strlen(REF)) : NULL;

	if (def)
		return json_incref(def);
	if (ref)
		abort();
	resolve_members(v, defs);
	return json_incref(v);
}

static json_t *load(void)
{
	json_t *all = json_loads(rpc_schema_text, JSON_REJECT_DUPLICATES, NULL);
	json_t *methods = json_object_get(all, "methods");

	if (!methods)
		abort(); /* a test has seen that it is right */
	resolve_members(methods, json_object_get(all, "$defs"));
	json_incref(methods);
	json_decref(all);
	return methods;
}

const json_t *rpc_schema(const char *method)
{
	static json_t *methods; /* for the life of the program */

	if (!methods)
		methods = load();
	return json_object_get(methods, method);
}
