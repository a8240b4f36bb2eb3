/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/member.h"
#include "cli/show.h"
#include "cli/table.h"
#include "cli/units.h"

/* ---- cells ---- */

static bool live(const json_t *path)
{
	return says(path, "upstream_state", "live");
}

enum colour show_state_colour(const json_t *row)
{
	if (says(row, "state", "optimized") || says(row, "state", "non-optimized"))
		return COLOUR_GOOD;
	return says(row, "state", "standby") || says(row, "state", "discovery") ? COLOUR_NONE
										: COLOUR_BAD;
}

/* With the time that damping goes on. */
static char *cell_reason(const json_t *row, const char *key)
{
	json_int_t damped = number_of(row, "damped_seconds");
	char buf[UNITS_MAX];

	if (!damped || !says(row, "state", "last"))
		return format("%s", text_of(row, key));
	return format("%s; for %s more", text_of(row, key), units_time(buf, (double)damped));
}

static char *cell_reason_if_said(const json_t *row, const char *key)
{
	return *text_of(row, key) ? cell_reason(row, key) : NULL;
}

static char *cell_namespace(const json_t *row, const char *key)
{
	if (is_null(row, key))
		return format("-");
	return format("%d of %s, policy %s", (int)number_of(row, key), text_of(row, "subsystem"),
		      text_of(row, "namespace_policy"));
}

/* Of an upstream that is not there the last one is known. */
static char *cell_ana(const json_t *row, const char *key)
{
	if (is_null(row, key))
		return format("-");
	return format("%s, group %d%s", text_of(row, key), (int)number_of(row, "ana_group"),
		      live(row) ? "" : ", when last connected");
}

static char *cell_address_of_transport(const json_t *row, const char *key)
{
	char *address = cell_address(row, key);
	char *s = format("%s %s", text_of(row, "transport"), address);

	free(address);
	return s;
}

static char *cell_flaps(const json_t *row, const char *key)
{
	json_int_t flaps = number_of(row, key), damped = number_of(row, "damped_seconds");
	char buf[UNITS_MAX];

	if (!flaps)
		return format("-");
	if (!damped)
		return format("%d in a row", (int)flaps);
	return format("%d in a row, used last for %s more", (int)flaps,
		      units_time(buf, (double)damped));
}

/* Of the member "reads" also "read_bytes", and so on. */
static char *cell_commands(const json_t *row, const char *key)
{
	bool reads = !strcmp(key, "reads");
	char n[UNITS_MAX], bytes[UNITS_MAX];

	return format(
		"%s, %s", units_count(n, (uint64_t)number_of(row, key)),
		units_bytes(bytes, (uint64_t)number_of(row, reads ? "read_bytes" : "write_bytes")));
}

static char *cell_latencies(const json_t *row, const char *key)
{
	char average[UNITS_MAX], p50[UNITS_MAX], p99[UNITS_MAX], p999[UNITS_MAX];

	if (!number_of(row, "p50_latency_us"))
		return format("-");
	units_latency(average, (uint64_t)number_of(row, "average_latency_us"));
	units_latency(p50, (uint64_t)number_of(row, "p50_latency_us"));
	units_latency(p99, (uint64_t)number_of(row, "p99_latency_us"));
	units_latency(p999, (uint64_t)number_of(row, "p999_latency_us"));
	return format("%s on average, 50%% within %s, 99%% within %s, 99.9%% within %s", average,
		      p50, p99, p999);
}

/* ---- lists ---- */

/* Wide addresses and all, it has to leave room for the reason. */
static const struct column path_columns[] = {
	{.title = "PATH", .key = "path", .cell = cell_text},
	{"NS", "nsid", cell_text, .right = true},
	{.title = "ADDRESS", .key = NULL, .cell = cell_address},
	{"STATE", "state", cell_text, .colour = show_state_colour},
	{"READS", "reads", cell_count, .right = true},
	{"WRITES", "writes", cell_count, .right = true},
	{"INFLIGHT", "inflight", cell_count, .right = true},
	{"P99", "p99_latency_us", cell_latency, .right = true},
	{"SINCE", "since_seconds", cell_ago, .right = true},
	{.title = "REASON", .key = "reason", .cell = cell_reason},
	{0},
};

void show_paths(const json_t *result)
{
	table_print_by(result, "subsystem", path_columns,
		       "There are no paths: no upstreams are configured.");
}

/* ---- one path ---- */

static const struct column path_fields[] = {
	{.title = "path", .key = "path", .cell = cell_text},
	{.title = "namespace", .key = "nsid", .cell = cell_namespace},
	{"state", "state", cell_text, .colour = show_state_colour},
	{.title = "since", .key = "since_seconds", .cell = cell_ago},
	{.title = "reason", .key = "reason", .cell = cell_reason_if_said},
	{.title = "ANA state", .key = "ana_state", .cell = cell_ana},
	{.title = "admin state", .key = "admin", .cell = cell_text},
	{.title = "weight", .key = "weight", .cell = cell_text},
	{.title = "UUID", .key = "uuid", .cell = cell_if_said},
	{.title = "NGUID", .key = "nguid", .cell = cell_if_said},
	{.title = "EUI-64", .key = "eui64", .cell = cell_if_said},
	{.title = ""},
	{.title = "upstream", .key = "upstream", .cell = cell_text},
	{.title = "its state", .key = "upstream_state", .cell = cell_text},
	{.title = "since", .key = "upstream_since_seconds", .cell = cell_ago},
	{.title = "reason", .key = "upstream_reason", .cell = cell_if_said},
	{.title = "address", .key = NULL, .cell = cell_address_of_transport},
	{.title = "NQN", .key = "upstream_nqn", .cell = cell_if_said},
	{.title = "controller ID", .key = "cntlid", .cell = cell_text},
	{.title = "NSID", .key = "upstream_nsid", .cell = cell_text},
	{.title = "named by", .key = "named_by", .cell = cell_if_said},
	{.title = "losses", .key = "losses", .cell = cell_text},
	{.title = "flaps", .key = "flaps", .cell = cell_flaps},
	{.title = ""},
	{.title = "reads", .key = "reads", .cell = cell_commands},
	{.title = "writes", .key = "writes", .cell = cell_commands},
	{.title = "others", .key = "others", .cell = cell_count},
	{.title = "errors", .key = "errors", .cell = cell_count},
	{.title = "failovers", .key = "failovers", .cell = cell_count},
	{.title = "in flight", .key = "inflight", .cell = cell_count},
	{.title = "latency", .key = NULL, .cell = cell_latencies},
	{0},
};

void show_path(const json_t *result)
{
	table_print_object(result, path_fields);
}

/* ---- what changing one has come to ---- */

static void show_use(const json_t *path)
{
	const char *reason = text_of(path, "reason");

	if (!is(path, "usable"))
		printf(", but not usable: ");
	else if (says(path, "state", "standby"))
		printf(": used only while no other path is usable");
	else if (says(path, "state", "last"))
		printf(", but ");
	else
		printf(" and usable");
	text_print(reason, COLOUR_NONE, 0, false);
}

static void show_whether_any(const json_t *path)
{
	if (!is_null(path, "nsid") && number_of(path, "namespace_usable_paths") == 0)
		printf("namespace %d has no usable path now: its I/O waits, and fails after "
		       "no_path_timeout\n",
		       (int)number_of(path, "nsid"));
}

static void show_name(const json_t *path)
{
	printf("path ");
	text_print(text_of(path, "path"), COLOUR_NONE, 0, false);
}

void show_path_admin(const json_t *result)
{
	show_name(result);
	printf(" is %s", text_of(result, "admin"));
	if (!says(result, "admin", "disabled"))
		show_use(result);
	putchar('\n');
	show_whether_any(result);
}

static bool has_shares(const char *policy)
{
	return strcmp(policy, "failover") && strcmp(policy, "numa");
}

void show_path_weight(const json_t *result)
{
	const char *policy = text_of(result, "namespace_policy");

	show_name(result);
	printf(" has the weight %d\n", (int)number_of(result, "weight"));
	if (*policy && !has_shares(policy))
		printf("namespace %d does not use weights: its policy is %s; see \"nvmegw policy "
		       "set\"\n",
		       (int)number_of(result, "nsid"), policy);
}

void show_path_reset(const json_t *result)
{
	printf("upstream ");
	text_print(text_of(result, "upstream"), COLOUR_NONE, 0, false);
	show_connection(result, "upstream_state", "upstream_reason", "connected anew");
	putchar('\n');
	show_whether_any(result);
}

void show_path_drain(const json_t *result)
{
	int left = (int)number_of(result, "left");

	show_name(result);
	printf(" is %s", text_of(result, "admin"));
	if (left)
		printf(", and has not answered %d commands yet: try again\n", left);
	else
		printf(", and no command is out on it\n");
	show_whether_any(result);
}
