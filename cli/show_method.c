/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "cli/member.h"
#include "cli/show.h"
#include "cli/table.h"

/* Those that may be left out in brackets. */
static char *cell_params(const json_t *row, const char *key)
{
	const json_t *schema = json_object_get(row, key), *required, *name;
	json_t *param;
	char *all = format("%s", "");
	const char *param_name;
	size_t i;

	required = json_object_get(schema, "required");
	json_object_foreach(json_object_get(schema, "properties"), param_name, param) {
		bool needed = false;
		char *more;

		json_array_foreach((json_t *)required, i, name)
			needed |= !strcmp(json_string_value(name), param_name);
		more = format(needed ? "%s%s%s" : "%s%s[%s]", all, *all ? " " : "", param_name);
		free(all);
		all = more;
	}
	return all;
}

static const struct column method_columns[] = {
	{.title = "METHOD", .key = "method", .cell = cell_text},
	{.title = "PARAMETERS", .key = "params", .cell = cell_params},
	{.title = "WHAT", .key = "description", .cell = cell_text},
	{0},
};

void show_methods(const json_t *result)
{
	table_print(result, method_columns, "There are no methods.");
}
