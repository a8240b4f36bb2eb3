/* SPDX-License-Identifier: Apache-2.0 */
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
