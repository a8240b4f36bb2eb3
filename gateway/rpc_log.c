/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_log.h"

#include <string.h>

#include "gateway/rpc_config.h"
#include "gateway/rpc_value.h"
#include "transport/log.h"

json_t *rpc_log_show(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	json_t *o = json_object(), *list = json_array();

	rpc_put_text(o, "level", log_level_name(log_level()));
	for (unsigned c = 0; c < DEBUG_COUNT; c++)
		if (log_debug_categories() & 1u << c)
			json_array_append_new(list, json_string(debug_name(c)));
	json_object_set_new(o, "debug", list);
	return o;
}

json_t *rpc_log_level(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	const char *name = json_string_value(json_object_get(params, "level"));

	if (!rpc_may_set(gw, err))
		return NULL;
	for (int level = LOG_ERR; level <= LOG_DEBUG; level++)
		if (!strcmp(log_level_name(level), name))
			log_set_level(level);
	return rpc_log_show(gw, params, err);
}

json_t *rpc_log_debug(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	const json_t *name;
	unsigned all = 0;
	size_t i;

	json_array_foreach(json_object_get(params, "categories"), i, name) {
		const char *unknown;
		unsigned some;

		debug_parse(json_string_value(name), &some, &unknown);
		all |= some;
	}
	log_set_debug(all);
	return rpc_log_show(gw, params, err);
}
