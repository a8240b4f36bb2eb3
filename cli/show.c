/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/table.h"
#include "cli/units.h"
#include "transport/version.h"

/* ---- reading members ---- */

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static json_int_t number_of(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static bool is(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static bool is_null(const json_t *o, const char *key)
{
	return json_is_null(json_object_get(o, key));
}

/* ---- paths ---- */

static bool live(const json_t *path)
{
	return !strcmp(text_of(path, "upstream_state"), "live");
}

/* One word; the reason tells the rest. */
static const char *state_of(const json_t *path)
{
	if (is(path, "usable"))
		return "usable";
	if (!live(path))
		return "down";
	if (is(path, "discovery"))
		return "discovery";
	if (!strcmp(text_of(path, "admin"), "disabled"))
		return "disabled";
	return is_null(path, "upstream_nsid") ? "empty"
	       : is_null(path, "nsid")	      ? "refused"
					      : "unusable";
}

static char *cell_state(const json_t *row, const char *key)
{
	return format("%s", state_of(row));
}

static enum colour state_colour(const json_t *row)
{
	if (is(row, "usable"))
		return COLOUR_GOOD;
	return is(row, "discovery") && live(row) ? COLOUR_NONE : COLOUR_BAD;
}

static char *cell_address(const json_t *row, const char *key)
{
	const char *host = text_of(row, "traddr");

	if (is_null(row, "trsvcid"))
		return format("%s", host);
	return format(strchr(host, ':') ? "[%s]:%d" : "%s:%d", host,
		      (int)number_of(row, "trsvcid"));
}

/* Of an upstream that is not there it is not known. */
static char *cell_ana(const json_t *row, const char *key)
{
	return live(row) ? cell_text(row, key) : format("-");
}

static const struct column path_columns[] = {
	{.title = "PATH", .key = "path", .cell = cell_text},
	{"SUBSYSTEM", "subsystem", cell_text, .if_varied = true},
	{"NS", "nsid", cell_text, .right = true},
	{.title = "ADDRESS", .key = NULL, .cell = cell_address},
	{"STATE", NULL, cell_state, .colour = state_colour},
	{.title = "ANA", .key = "ana_state", .cell = cell_ana},
	{"READS", "reads", cell_count, .right = true},
	{"WRITES", "writes", cell_count, .right = true},
	{"INFLIGHT", "inflight", cell_count, .right = true},
	{"LATENCY", "average_latency_us", cell_latency, .right = true},
	{"FAILOVERS", "failovers", cell_count, .right = true},
	{"SINCE", "since_seconds", cell_ago, .right = true},
	{.title = "REASON", .key = "reason", .cell = cell_text},
	{0},
};

void show_paths(const json_t *result)
{
	table_print(result, path_columns, "There are no paths: no upstreams are configured.");
}

void show_path(const json_t *result)
{
	table_print_object(result);
}

void show_path_admin(const json_t *result)
{
	const char *reason = text_of(result, "reason");
	bool enabled = !strcmp(text_of(result, "admin"), "enabled");

	printf("path %s is %s", text_of(result, "path"), enabled ? "enabled" : "disabled");
	if (enabled && is(result, "usable"))
		printf(" and usable");
	else if (enabled)
		printf(", but not usable: %s", reason);
	putchar('\n');
	if (!is_null(result, "nsid") && number_of(result, "namespace_usable_paths") == 0)
		printf("namespace %d has no usable path now: its I/O waits, and fails after "
		       "no_path_timeout\n",
		       (int)number_of(result, "nsid"));
}

/* ---- namespaces ---- */

static char *cell_identity(const json_t *row, const char *key)
{
	const char *uuid = text_of(row, "uuid"), *nguid = text_of(row, "nguid");

	if (*uuid)
		return format("%s", uuid);
	return *nguid ? format("nguid.%s", nguid) : format("eui.%s", text_of(row, "eui64"));
}

/* "3/4" of two members "usable_X" and "X", or the like. */
static char *cell_share(const json_t *row, const char *key)
{
	char *part = format("%s_%s", strcmp(key, "upstreams") ? "usable" : "live", key), *s;

	s = format("%d/%d", (int)number_of(row, part), (int)number_of(row, key));
	free(part);
	return s;
}

static char *cell_ms(const json_t *row, const char *key)
{
	return format("%" JSON_INTEGER_FORMAT " ms", number_of(row, key));
}

static enum colour paths_colour(const json_t *row)
{
	return number_of(row, "usable_paths") == 0			   ? COLOUR_BAD
	       : number_of(row, "usable_paths") == number_of(row, "paths") ? COLOUR_GOOD
									   : COLOUR_NONE;
}

static const struct column namespace_columns[] = {
	{"NS", "nsid", cell_text, .right = true},
	{"SUBSYSTEM", "subsystem", cell_text, .if_varied = true},
	{.title = "IDENTITY", .key = NULL, .cell = cell_identity},
	{"SIZE", "size_bytes", cell_bytes, .right = true},
	{"BLOCK", "block_size", cell_text, .right = true},
	{"PATHS", "paths", cell_share, .right = true, .colour = paths_colour},
	{.title = "ANA", .key = "ana_state", .cell = cell_text},
	{.title = "POLICY", .key = "policy", .cell = cell_text},
	{"HELD", "held", cell_count, .right = true},
	{"RETRIED", "retried", cell_count, .right = true},
	{"FAILED", "failed_no_path", cell_count, .right = true},
	{"LONGEST", "longest_ms", cell_ms, .right = true},
	{0},
};

void show_namespaces(const json_t *result)
{
	table_print(result, namespace_columns,
		    "There are no namespaces: no upstream has shown one yet that is exported.");
}

/* ---- controllers ---- */

static const struct column controller_columns[] = {
	{"ID", "cntlid", cell_text, .right = true},
	{"SUBSYSTEM", "subsystem", cell_text, .if_varied = true},
	{.title = "HOST", .key = "hostnqn", .cell = cell_text},
	{.title = "PEER", .key = "peer", .cell = cell_text},
	{.title = "STATE", .key = "state", .cell = cell_text},
	{"QUEUES", "io_queues", cell_count, .right = true},
	{"READS", "reads", cell_count, .right = true},
	{"WRITES", "writes", cell_count, .right = true},
	{"READ", "read_bytes", cell_bytes, .right = true},
	{"WRITTEN", "write_bytes", cell_bytes, .right = true},
	{"SINCE", "since_seconds", cell_ago, .right = true},
	{0},
};

void show_controllers(const json_t *result)
{
	table_print(result, controller_columns, "No host is connected.");
}

/* ---- the daemon ---- */

static const struct column subsystem_columns[] = {
	{.title = "SUBSYSTEM", .key = "nqn", .cell = cell_text},
	{.title = "POLICY", .key = "policy", .cell = cell_text},
	{"UPSTREAMS", "upstreams", cell_share, .right = true},
	{"PATHS", "paths", cell_share, .right = true, .colour = paths_colour},
	{"NAMESPACES", "namespaces", cell_count, .right = true},
	{"HOSTS", "controllers", cell_count, .right = true},
	{"READS", "reads", cell_count, .right = true},
	{"WRITES", "writes", cell_count, .right = true},
	{"HELD", "held", cell_count, .right = true},
	{0},
};

static void show_listeners(const json_t *list)
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

void show_status(const json_t *result)
{
	const json_t *workers = json_object_get(result, "workers");
	char up[UNITS_MAX], memory[UNITS_MAX];

	printf("daemon     nvmegwd %s, process %d, up for %s%s\n", text_of(result, "version"),
	       (int)number_of(result, "pid"),
	       units_time(up, (double)number_of(result, "uptime_seconds")),
	       is(result, "stopping") ? ", stopping" : "");
	show_listeners(json_object_get(result, "listeners"));
	printf("workers    %zu, each with %s of buffers\n", json_array_size(workers),
	       units_bytes(memory,
			   (uint64_t)number_of(json_array_get(workers, 0), "memory_bytes")));
	show_nsids(json_object_get(result, "nsids"));
	putchar('\n');
	table_print(json_object_get(result, "subsystems"), subsystem_columns,
		    "No subsystem is exported.");
}

void show_version(const json_t *result)
{
	printf("nvmegw %s\nnvmegwd %s\n", NVMEGW_VERSION, text_of(result, "version"));
}
