/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/member.h"
#include "cli/show.h"
#include "cli/table.h"
#include "cli/units.h"

static enum colour state_colour(const json_t *row)
{
	return says(row, "state", "live") ? COLOUR_GOOD : COLOUR_BAD;
}

static char *cell_reason(const json_t *row, const char *key)
{
	json_int_t damped = number_of(row, "damped_seconds");
	char buf[UNITS_MAX];

	if (!damped)
		return format("%s", text_of(row, key));
	return format("lost %d times in a row; used last for %s more", (int)number_of(row, "flaps"),
		      units_time(buf, (double)damped));
}

static char *cell_reason_if_any(const json_t *row, const char *key)
{
	return *text_of(row, key) || number_of(row, "damped_seconds") ? cell_reason(row, key)
								      : NULL;
}

static const struct column list_columns[] = {
	{.title = "UPSTREAM", .key = "name", .cell = cell_text},
	{.title = "TRANSPORT", .key = "transport", .cell = cell_text},
	{.title = "ADDRESS", .key = NULL, .cell = cell_address},
	{"STATE", "state", cell_text, .colour = state_colour},
	{"PATHS", "paths", cell_share, .right = true, .colour = show_paths_colour},
	{"LOSSES", "losses", cell_count, .right = true},
	{"SINCE", "since_seconds", cell_ago, .right = true},
	{.title = "REASON", .key = "reason", .cell = cell_reason},
	{0},
};

void show_upstreams(const json_t *result)
{
	table_print_by(result, "subsystem", list_columns, "There are no upstreams.");
}

static const struct column fields[] = {
	{.title = "upstream", .key = "name", .cell = cell_text},
	{.title = "subsystem", .key = "subsystem", .cell = cell_text},
	{"state", "state", cell_text, .colour = state_colour},
	{.title = "since", .key = "since_seconds", .cell = cell_ago},
	{.title = "reason", .key = "reason", .cell = cell_reason_if_any},
	{.title = "transport", .key = "transport", .cell = cell_text},
	{.title = "address", .key = NULL, .cell = cell_address},
	{.title = "NQN", .key = "nqn", .cell = cell_if_said},
	{.title = "controller ID", .key = "cntlid", .cell = cell_text},
	{.title = "discovery", .key = "discovery", .cell = cell_text},
	{.title = "named by", .key = "named_by", .cell = cell_if_said},
	{.title = "losses", .key = "losses", .cell = cell_text},
	{.title = "paths usable", .key = "paths", .cell = cell_share},
	{0},
};

void show_upstream(const json_t *result)
{
	table_print_object(result, fields);
	if (!json_array_size(json_object_get(result, "path_list")))
		return;
	putchar('\n');
	show_paths(json_object_get(result, "path_list"));
}

void show_connection(const json_t *of, const char *state, const char *reason, const char *live)
{
	if (says(of, state, "live")) {
		printf(" is %s", live);
	} else if (says(of, state, "connecting")) {
		printf(" is not connected yet");
	} else {
		printf(" is %s: ", text_of(of, state));
		text_print(text_of(of, reason), COLOUR_NONE, 0, false);
	}
}

static void print_name(const json_t *result)
{
	printf("upstream ");
	text_print(text_of(result, "name"), COLOUR_NONE, 0, false);
}

void show_upstream_connect(const json_t *result)
{
	int paths = (int)number_of(result, "paths");

	print_name(result);
	show_connection(result, "state", "reason", "live");
	if (says(result, "state", "live") && paths)
		printf(", and %d of %d paths are usable", (int)number_of(result, "usable_paths"),
		       paths);
	putchar('\n');
}

void show_upstream_disconnect(const json_t *result)
{
	print_name(result);
	puts(" is disconnected until \"nvmegw upstream connect\" or a restart");
	if (number_of(result, "left"))
		printf("%d commands had no answer in time: they are sent again on other paths\n",
		       (int)number_of(result, "left"));
}
