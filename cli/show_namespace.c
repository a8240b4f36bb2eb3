/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/member.h"
#include "cli/show.h"
#include "cli/table.h"
#include "cli/units.h"

enum colour show_paths_colour(const json_t *row)
{
	json_int_t usable = number_of(row, "usable_paths");

	if (usable == 0)
		return COLOUR_BAD;
	return usable == number_of(row, "paths") ? COLOUR_GOOD : COLOUR_NONE;
}

/* ---- lists ---- */

static char *cell_identity(const json_t *row, const char *key)
{
	const char *uuid = text_of(row, "uuid"), *nguid = text_of(row, "nguid");

	if (*uuid)
		return format("%s", uuid);
	return *nguid ? format("nguid.%s", nguid) : format("eui.%s", text_of(row, "eui64"));
}

static const struct column namespace_columns[] = {
	{"NS", "nsid", cell_text, .right = true},
	{.title = "IDENTITY", .key = NULL, .cell = cell_identity},
	{"SIZE", "size_bytes", cell_bytes, .right = true},
	{"PATHS", "paths", cell_share, .right = true, .colour = show_paths_colour},
	{.title = "POLICY", .key = "policy", .cell = cell_text},
	{.title = "WRITE RETRY", .key = "write_retry", .cell = cell_text},
	{"HELD", "held", cell_count, .right = true},
	{"FENCED", "fenced", cell_count, .right = true},
	{"RETRIED", "retried", cell_count, .right = true},
	{"FAILED", "failed_no_path", cell_count, .right = true},
	{"LONGEST", "longest_ms", cell_ms, .right = true},
	{0},
};

void show_namespaces(const json_t *result)
{
	table_print_by(result, "subsystem", namespace_columns,
		       "There are no namespaces: no upstream has shown one yet that is exported.");
}

/* ---- one namespace ---- */

static char *cell_size(const json_t *row, const char *key)
{
	char buf[UNITS_MAX];

	return format("%s, %" JSON_INTEGER_FORMAT " blocks of %d bytes",
		      units_bytes(buf, (uint64_t)number_of(row, key)), number_of(row, "blocks"),
		      (int)number_of(row, "block_size"));
}

static char *cell_paths(const json_t *row, const char *key)
{
	double lost = json_number_value(json_object_get(row, "without_path_seconds"));
	char buf[UNITS_MAX];

	if (number_of(row, "usable_paths") == 0)
		return format("none of %d usable, for %s", (int)number_of(row, key),
			      units_time(buf, lost));
	return format("%d of %d usable", (int)number_of(row, "usable_paths"),
		      (int)number_of(row, key));
}

static char *cell_held(const json_t *row, const char *key)
{
	return format("%d now, %d at most at once", (int)number_of(row, "held"),
		      (int)number_of(row, "held_max"));
}

static char *cell_fenced(const json_t *row, const char *key)
{
	return format("%d now, %d in all", (int)number_of(row, "fenced"),
		      (int)number_of(row, "fenced_total"));
}

static const struct column namespace_fields[] = {
	{.title = "namespace", .key = "nsid", .cell = cell_text},
	{.title = "subsystem", .key = "subsystem", .cell = cell_text},
	{.title = "UUID", .key = "uuid", .cell = cell_if_said},
	{.title = "NGUID", .key = "nguid", .cell = cell_if_said},
	{.title = "EUI-64", .key = "eui64", .cell = cell_if_said},
	{.title = "size", .key = "size_bytes", .cell = cell_size},
	{.title = "ANA state", .key = "ana_state", .cell = cell_text},
	{"paths", "paths", cell_paths, .colour = show_paths_colour},
	{.title = "policy", .key = "policy", .cell = cell_text},
	{.title = "write retry", .key = "write_retry", .cell = cell_text},
	{.title = "retried", .key = "retried", .cell = cell_count},
	{.title = "held", .key = NULL, .cell = cell_held},
	{.title = "failed", .key = "failed_no_path", .cell = cell_count},
	{.title = "fences up", .key = "fences", .cell = cell_count},
	{.title = "writes fenced", .key = NULL, .cell = cell_fenced},
	{.title = "put off", .key = "put_off", .cell = cell_count},
	{.title = "longest", .key = "longest_ms", .cell = cell_ms},
	{.title = ""},
	{0},
};

void show_namespace(const json_t *result)
{
	table_print_object(result, namespace_fields);
	show_paths(json_object_get(result, "path_list"));
}

void show_policy(const json_t *result)
{
	bool one = !is_null(result, "nsid");

	if (one)
		printf("namespace %d of ", (int)number_of(result, "nsid"));
	else
		printf("every namespace of ");
	text_print(text_of(result, "subsystem"), COLOUR_NONE, 0, false);
	printf(" has the policy %s\n", text_of(result, "policy"));
}
