/* SPDX-License-Identifier: Apache-2.0 */
/* Who may connect, and where. */
#include <stdio.h>

#include "cli/member.h"
#include "cli/show.h"
#include "cli/table.h"

static char *cell_host(const json_t *row, const char *key)
{
	return is_null(row, key) ? format("any host") : cell_text(row, key);
}

static const struct column host_columns[] = {
	{.title = "HOST", .key = "hostnqn", .cell = cell_host},
	{"CONTROLLERS", "controllers", cell_count, .right = true},
	{0},
};

void show_hosts(const json_t *result)
{
	table_print_by(result, "subsystem", host_columns, "No host may connect.");
}

static char *cell_listening(const json_t *row, const char *key)
{
	return format("%s", is(row, key) ? "listening" : "not listening");
}

static enum colour listening_colour(const json_t *row)
{
	return is(row, "listening") ? COLOUR_GOOD : COLOUR_BAD;
}

static const struct column listener_columns[] = {
	{.title = "LISTENER", .key = "listener", .cell = cell_text},
	{"STATE", "listening", cell_listening, .colour = listening_colour},
	{"CONTROLLERS", "controllers", cell_count, .right = true},
	{0},
};

void show_listeners(const json_t *result)
{
	table_print(result, listener_columns, "There are no listeners.");
}
