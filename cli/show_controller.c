/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/member.h"
#include "cli/show.h"
#include "cli/table.h"

static const struct column controller_columns[] = {
	{"ID", "cntlid", cell_text, .right = true},
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
	table_print_by(result, "subsystem", controller_columns, "No host is connected.");
}

static char *cell_kato(const json_t *row, const char *key)
{
	return number_of(row, key) ? cell_ms(row, key) : format("none");
}

static const struct column controller_fields[] = {
	{.title = "controller ID", .key = "cntlid", .cell = cell_text},
	{.title = "subsystem", .key = "subsystem", .cell = cell_text},
	{.title = "state", .key = "state", .cell = cell_text},
	{.title = "since", .key = "since_seconds", .cell = cell_ago},
	{.title = "host", .key = "hostnqn", .cell = cell_text},
	{.title = "host ID", .key = "hostid", .cell = cell_text},
	{.title = "from", .key = "peer", .cell = cell_text},
	{.title = "to", .key = "local", .cell = cell_text},
	{.title = "keep-alive", .key = "kato_ms", .cell = cell_kato},
	{.title = "I/O queues", .key = "io_queues", .cell = cell_count},
	{.title = "commands", .key = "commands", .cell = cell_count},
	{.title = "reads", .key = "reads", .cell = cell_count},
	{.title = "writes", .key = "writes", .cell = cell_count},
	{.title = "read", .key = "read_bytes", .cell = cell_bytes},
	{.title = "written", .key = "write_bytes", .cell = cell_bytes},
	{0},
};

void show_controller(const json_t *result)
{
	table_print_object(result, controller_fields);
}

void show_controller_disconnect(const json_t *result)
{
	printf("controller %d of %s ", (int)number_of(result, "cntlid"),
	       text_of(result, "subsystem"));
	if (says(result, "state", "ending"))
		puts("has not ended yet: its connections are being closed");
	else
		puts("is disconnected; its host may come back: \"nvmegw host deny\" keeps it off");
}
