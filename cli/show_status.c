/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/member.h"
#include "cli/show.h"
#include "cli/table.h"
#include "cli/units.h"
#include "transport/version.h"

static const struct column subsystem_columns[] = {
	{.title = "SUBSYSTEM", .key = "nqn", .cell = cell_text},
	{.title = "POLICY", .key = "policy", .cell = cell_text},
	{"UPSTREAMS", "upstreams", cell_share, .right = true},
	{"PATHS", "paths", cell_share, .right = true, .colour = show_paths_colour},
	{"NAMESPACES", "namespaces", cell_count, .right = true},
	{"HOSTS", "controllers", cell_count, .right = true},
	{"READS", "reads", cell_count, .right = true},
	{"WRITES", "writes", cell_count, .right = true},
	{"HELD", "held", cell_count, .right = true},
	{"FENCED", "fenced", cell_count, .right = true},
	{0},
};

void show_subsystems(const json_t *result)
{
	table_print(result, subsystem_columns, "No subsystem is exported.");
}

static void print_listeners(const json_t *list)
{
	const json_t *l;
	size_t i;

	json_array_foreach((json_t *)list, i, l) {
		char *address = cell_address(l, NULL);

		printf("%s  %s %s%s\n", i ? "         " : "listeners", text_of(l, "transport"),
		       address, is(l, "listening") ? "" : " (stopped)");
		free(address);
	}
}

static void show_nsids(const json_t *nsids)
{
	const char *folder = text_of(nsids, "folder"), *error = text_of(nsids, "error");

	printf("NSIDs      %d remembered", (int)number_of(nsids, "namespaces"));
	if (!*folder)
		puts(", for as long as the daemon runs: state_dir is empty");
	else if (is(nsids, "saved"))
		printf(", saved in %s\n", folder);
	else
		printf(", not saved in %s%s%s\n", folder, *error ? ": " : " yet", error);
}

/* Those that are not there, or not relied on. */
static json_t *in_trouble(const json_t *upstreams)
{
	json_t *list = json_array(), *up;
	size_t i;

	json_array_foreach((json_t *)upstreams, i, up)
		if (!says(up, "state", "live") || number_of(up, "damped_seconds"))
			json_array_append(list, up);
	return list;
}

static char *cell_upstream_reason(const json_t *row, const char *key)
{
	json_int_t damped = number_of(row, "damped_seconds");
	char buf[UNITS_MAX];

	if (!damped)
		return format("%s", text_of(row, key));
	return format("lost %d times in a row; used last for %s more", (int)number_of(row, "flaps"),
		      units_time(buf, (double)damped));
}

static enum colour upstream_colour(const json_t *row)
{
	return says(row, "state", "live") ? COLOUR_NONE : COLOUR_BAD;
}

static const struct column upstream_columns[] = {
	{.title = "UPSTREAM", .key = "name", .cell = cell_text},
	{.title = "ADDRESS", .key = NULL, .cell = cell_address},
	{"STATE", "state", cell_text, .colour = upstream_colour},
	{"LOSSES", "losses", cell_count, .right = true},
	{"SINCE", "since_seconds", cell_ago, .right = true},
	{.title = "REASON", .key = "reason", .cell = cell_upstream_reason},
	{0},
};

static void show_trouble(const json_t *upstreams)
{
	json_t *list = in_trouble(upstreams);

	if (json_array_size(list)) {
		putchar('\n');
		table_print_by(list, "subsystem", upstream_columns, NULL);
	}
	json_decref(list);
}

static char *cell_left(const json_t *row, const char *key)
{
	char buf[UNITS_MAX];

	return format("%s", units_time(buf, (double)number_of(row, key)));
}

static const struct column quarantine_columns[] = {
	{.title = "LOST UPSTREAM", .key = "upstream", .cell = cell_text},
	{"CONTROLLER ID", "cntlid", cell_text, .right = true},
	{"MAY STILL WRITE FOR", "seconds_left", cell_left, .right = true},
	{"WRITES WAIT", "writes_wait", cell_text, .right = true},
	{0},
};

static void show_quarantines(const json_t *quarantines)
{
	if (!json_array_size(quarantines))
		return;
	putchar('\n');
	table_print(quarantines, quarantine_columns, NULL);
}

void show_status(const json_t *result)
{
	const json_t *workers = json_object_get(result, "workers");
	char up[UNITS_MAX], memory[UNITS_MAX];

	printf("daemon     nvmegwd %s, process %d, up for %s%s\n", text_of(result, "version"),
	       (int)number_of(result, "pid"),
	       units_time(up, (double)number_of(result, "uptime_seconds")),
	       is(result, "stopping") ? ", stopping" : "");
	print_listeners(json_object_get(result, "listeners"));
	printf("workers    %zu, each with %s of buffers\n", json_array_size(workers),
	       units_bytes(memory,
			   (uint64_t)number_of(json_array_get(workers, 0), "memory_bytes")));
	show_nsids(json_object_get(result, "nsids"));
	putchar('\n');
	show_subsystems(json_object_get(result, "subsystems"));
	show_trouble(json_object_get(result, "upstreams"));
	show_quarantines(json_object_get(result, "quarantines"));
}

void show_log(const json_t *result)
{
	const json_t *list = json_object_get(result, "debug"), *name;
	size_t i;

	printf("level  %s\ndebug ", text_of(result, "level"));
	json_array_foreach((json_t *)list, i, name)
		printf(" %s", json_string_value(name));
	puts(json_array_size(list) ? "" : " none");
}

void show_version(const json_t *result)
{
	printf("nvmegw %s\nnvmegwd %s\n", NVMEGW_VERSION, text_of(result, "version"));
}
