/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_events.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/gateway.h"

#define BATCH	  (16u << 10) /* bytes after which no further event is added */
#define ALL_TYPES ((1u << EVENT_COUNT) - 1)

static uint32_t types_of(const json_t *names)
{
	const json_t *name;
	uint32_t types = 0;
	size_t i;

	json_array_foreach(names, i, name)
		types |= events_named(json_string_value(name));
	return types ? types : ALL_TYPES;
}

json_t *rpc_subscribe(struct rpc_caller *caller, const json_t *params, struct rpc_error *err)
{
	uint32_t types = types_of(json_object_get(params, "types"));
	json_int_t last = json_integer_value(json_object_get(params, "last"));
	json_t *past = event_reader_open(caller->events, caller->gw->events, types, (unsigned)last);

	return json_pack("{s:o, s:I}", "events", past, "next", (json_int_t)caller->events->next);
}

char *rpc_event_lines(struct event_reader *r, size_t *len)
{
	uint64_t lost = event_reader_lost(r);
	const char *event;
	char *lines = NULL;
	FILE *f;

	if (!lost && !event_reader_ready(r))
		return NULL;
	f = open_memstream(&lines, len);
	if (!f)
		abort();
	if (lost)
		fprintf(f,
			"{\"jsonrpc\":\"2.0\",\"method\":\"events.lost\",\"params\":{\"lost\":%llu}}\n",
			(unsigned long long)lost);
	while (ftell(f) < (long)BATCH && (event = event_reader_next(r)))
		fprintf(f, "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":%s}\n", event);
	if (fclose(f))
		abort();
	return lines;
}
