/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables: which member of which object of the state is which metric. What the state has is for the
 * control socket to say (rpc_show.h); here it only gets names and units by the rules of Prometheus.
 */
#include "gateway/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/metrics_format.h"
#include "multipath/latency.h"

#define MAX_LABELS 5

enum kind {
	NUMBER,
	COUNT,	   /* elements of an array */
	SAID,	   /* 1: the text is not empty */
	STATES,	   /* a text that is one of `words`: one sample for each, 1 for the one that is */
	INFO,	   /* always 1, with the members `words` as labels */
	HISTOGRAM, /* of `key`, with `sum` in microseconds */
};

struct family {
	const char *name, *key;
	enum kind kind;
	const char *help;
	double scale; /* what 1 in the state is in the metric; 0: 1 */
	const char *const *words;
	const char *sum;
};

struct label {
	const char *name, *key;
};

/* Objects that have the same metrics. */
struct scope {
	const char *list[2]; /* where in the state: one object, or an array of them */
	struct label labels[MAX_LABELS];
	const struct family *families;
};

static const char counter_end[] = "_total", *const gauge = "gauge";

/* ---- the daemon ---- */

static const struct family daemon_families[] = {
	{"nvmegw_build_info", NULL, INFO, .help = "The version of the daemon, as a label.",
	 .words = (const char *const[]){"version", NULL}},
	{"process_start_time_seconds", "started_at",
	 .help = "Start of the daemon, in seconds since 1970."},
	{"process_cpu_seconds_total", "cpu_seconds", .help = "Time that its threads have used."},
	{"process_resident_memory_bytes", "resident_bytes", .help = "Memory that it has now."},
	{"nvmegw_stopping", "stopping", .help = "1 while it is ending in order."},
	{"nvmegw_connections_without_controller", "connections_without_controller",
	 .help = "Connections of hosts that have not completed Connect."},
	{"nvmegw_quarantines", "quarantines", COUNT,
	 .help = "Lost associations whose controller may still execute what was sent to it."},
	{0},
};

static const struct family nsid_families[] = {
	{"nvmegw_nsids", "namespaces", .help = "Namespaces whose NSID is remembered."},
	{"nvmegw_nsids_saved", "saved", .help = "1 when all of them are on disk."},
	{"nvmegw_nsids_write_failed", "error", SAID,
	 .help = "1 when the last attempt to write them has failed."},
	{0},
};

/* ---- what hosts see ---- */

static const struct family subsystem_families[] = {
	{"nvmegw_subsystem_controllers", "controllers", .help = "Controllers of hosts."},
	{"nvmegw_subsystem_namespaces", "namespaces", .help = "Namespaces that hosts see."},
	{"nvmegw_subsystem_commands_total", "commands", .help = "I/O commands of hosts."},
	{"nvmegw_subsystem_reads_total", "reads", .help = "Those of them that were Reads."},
	{"nvmegw_subsystem_writes_total", "writes", .help = "Those of them that were Writes."},
	{"nvmegw_subsystem_read_bytes_total", "read_bytes", .help = "Bytes that hosts have read."},
	{"nvmegw_subsystem_written_bytes_total", "write_bytes",
	 .help = "Bytes that hosts have written."},
	{0},
};

static const struct family listener_families[] = {
	{"nvmegw_listener_up", "listening", .help = "1 while hosts can connect."},
	{"nvmegw_listener_controllers", "controllers",
	 .help = "Controllers of hosts that came in here."},
	{0},
};

static const struct family worker_families[] = {
	{"nvmegw_worker_host_queues", "host_queues", .help = "I/O queues of hosts on this worker."},
	{"nvmegw_worker_requests", "requests_used", .help = "Commands in progress."},
	{"nvmegw_worker_requests_limit", "requests", .help = "Commands that can be in progress."},
	{"nvmegw_worker_memory_bytes", "memory_used_bytes", .help = "Data buffers in use."},
	{"nvmegw_worker_memory_limit_bytes", "memory_bytes",
	 .help = "Data buffers that there are."},
	{"nvmegw_worker_waits_total", "waits",
	 .help = "How often something had to wait for buffers or commands."},
	{0},
};

static const struct family controller_families[] = {
	{"nvmegw_controller_state", "state", STATES,
	 .help = "1 for the state that the controller is in.",
	 .words = (const char *const[]){"ready", "not enabled", "fatal", "ending", NULL}},
	{"nvmegw_controller_io_queues", "io_queues", .help = "Its I/O queues."},
	{"nvmegw_controller_commands_total", "commands", .help = "I/O commands of the host."},
	{"nvmegw_controller_reads_total", "reads", .help = "Those of them that were Reads."},
	{"nvmegw_controller_writes_total", "writes", .help = "Those of them that were Writes."},
	{"nvmegw_controller_read_bytes_total", "read_bytes",
	 .help = "Bytes that the host has read."},
	{"nvmegw_controller_written_bytes_total", "write_bytes",
	 .help = "Bytes that the host has written."},
	{0},
};

/* ---- namespaces ---- */

static const char *const ana_states[] = {"optimized",	    "non-optimized", "inaccessible",
					 "persistent-loss", "change",	     NULL};

static const struct family namespace_families[] = {
	{"nvmegw_namespace_info", NULL, INFO, .help = "Identifiers and policy, as labels.",
	 .words = (const char *const[]){"uuid", "nguid", "eui64", "policy", NULL}},
	{"nvmegw_namespace_size_bytes", "size_bytes", .help = "Its size."},
	{"nvmegw_namespace_ana_state", "ana_state", STATES,
	 .help = "1 for the ANA state that hosts are told.", .words = ana_states},
	{"nvmegw_namespace_paths", "paths", .help = "Paths that it has, usable or not."},
	{"nvmegw_namespace_usable_paths", "usable_paths", .help = "Paths that can take commands."},
	{"nvmegw_namespace_held_commands", "held", .help = "Commands that wait for a path."},
	{"nvmegw_namespace_failed_commands_total", "failed_no_path",
	 .help = "Commands that were failed because there was no path."},
	{"nvmegw_namespace_retried_commands_total", "retried",
	 .help = "Commands that were sent again."},
	{"nvmegw_namespace_fences", "fences",
	 .help = "Lost writes that may still be executed, and keep later ones from their blocks."},
	{"nvmegw_namespace_fenced_commands", "fenced", .help = "Writes that wait behind one."},
	{"nvmegw_namespace_fenced_commands_total", "fenced_total", .help = "Writes that ever did."},
	{"nvmegw_namespace_put_off_commands_total", "put_off",
	 .help = "Writes that were told to come again later, as too much waited so."},
	{"nvmegw_namespace_longest_command_seconds", "longest_ms",
	 .help = "The longest time from the arrival of a command to its end.", .scale = 1e-3},
	{0},
};

/* ---- upstreams and paths ---- */

static const struct family upstream_families[] = {
	{"nvmegw_upstream_info", NULL, INFO, .help = "Where it is, as labels.",
	 .words = (const char *const[]){"transport", "traddr", "trsvcid", "nqn", NULL}},
	{"nvmegw_upstream_state", "state", STATES,
	 .help = "1 for the state that the association is in.",
	 .words = (const char *const[]){"live", "connecting", "waiting to reconnect", "failed",
					"deleting", NULL}},
	{"nvmegw_upstream_losses_total", "losses", .help = "Associations that were lost."},
	{"nvmegw_upstream_damped_seconds", "damped_seconds",
	 .help = "How much longer its paths are used last, because it was lost again and again."},
	{0},
};

static const struct family path_families[] = {
	{"nvmegw_path_state", "state", STATES, .help = "1 for the state that the path is in.",
	 .words = (const char *const[]){"optimized", "non-optimized", "standby", "last", "down",
					"disabled", "unusable", "refused", "empty", "discovery",
					NULL}},
	{"nvmegw_path_usable", "usable", .help = "1 when the path can take commands."},
	{"nvmegw_path_ana_state", "ana_state", STATES,
	 .help = "1 for the ANA state that the upstream reports.", .words = ana_states},
	{"nvmegw_path_inflight_commands", "inflight",
	 .help = "Commands that are with the upstream."},
	{"nvmegw_path_reads_total", "reads", .help = "Reads that it has completed."},
	{"nvmegw_path_writes_total", "writes", .help = "Writes that it has completed."},
	{"nvmegw_path_others_total", "others", .help = "Other commands that it has completed."},
	{"nvmegw_path_read_bytes_total", "read_bytes", .help = "Bytes read over it."},
	{"nvmegw_path_written_bytes_total", "write_bytes", .help = "Bytes written over it."},
	{"nvmegw_path_errors_total", "errors",
	 .help = "Commands that it has completed with an error for the host."},
	{"nvmegw_path_failovers_total", "failovers",
	 .help = "Commands that have left it for another path."},
	{0},
};

/* By far the most text, hence the first to be left out. */
static const struct family latency_families[] = {
	{"nvmegw_path_latency_seconds", "latency_histogram", HISTOGRAM,
	 .help = "Time that commands take on the path.", .sum = "total_latency_us"},
	{0},
};

#define NAMESPACE                   \
	{"subsystem", "subsystem"}, \
	{                           \
		"nsid", "nsid"      \
	}
#define PATH {"path", "path"}, {"upstream", "upstream"}, NAMESPACE

static const struct scope scopes[] = {
	{{"status"}, {{0}}, daemon_families},
	{{"status", "nsids"}, {{0}}, nsid_families},
	{{"status", "subsystems"}, {{"subsystem", "nqn"}}, subsystem_families},
	{{"status", "listeners"},
	 {{"transport", "transport"}, {"traddr", "traddr"}, {"trsvcid", "trsvcid"}},
	 listener_families},
	{{"status", "workers"}, {{"worker", "worker"}}, worker_families},
	{{"namespaces"}, {NAMESPACE}, namespace_families},
	{{"status", "upstreams"},
	 {{"upstream", "name"}, {"subsystem", "subsystem"}},
	 upstream_families},
	{{"paths"}, {PATH}, path_families},
	{{"controllers"},
	 {{"hostnqn", "hostnqn"}, {"cntlid", "cntlid"}, {"subsystem", "subsystem"}},
	 controller_families},
	{{"paths"}, {PATH}, latency_families},
};

/* ---- from the tables to the text ---- */

/* What is not there or null has no label. */
static void put_label(struct metrics_out *labels, const char *name, const json_t *value)
{
	char number[24];

	if (json_is_string(value)) {
		metrics_put_label(labels, name, json_string_value(value));
	} else if (json_is_integer(value)) {
		snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT,
			 json_integer_value(value));
		metrics_put_label(labels, name, number);
	}
}

static void put_info(struct metrics_out *out, const struct family *f, const json_t *o,
		     const char *labels)
{
	struct metrics_out all = {0};

	metrics_put(&all, "%s", labels);
	for (const char *const *key = f->words; *key; key++)
		put_label(&all, *key, json_object_get(o, *key));
	metrics_put_name(out, f->name, all.text);
	metrics_put(out, "1\n");
	free(all.text);
}

static void put_states(struct metrics_out *out, const struct family *f, const char *state,
		       const char *labels)
{
	for (const char *const *word = f->words; state && *word; word++)
		metrics_put(out, "%s{%s,state=\"%s\"} %d\n", f->name, labels, *word,
			    !strcmp(*word, state));
}

static void put_histogram(struct metrics_out *out, const struct family *f, const json_t *o,
			  const char *labels)
{
	const json_t *list = json_object_get(o, f->key);
	uint64_t counts[LATENCY_BUCKETS];

	for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
		counts[i] = (uint64_t)json_integer_value(json_array_get(list, i));
	metrics_put_histogram(out, f->name, labels, counts, LATENCY_BUCKETS,
			      (double)json_integer_value(json_object_get(o, f->sum)) / 1e6);
}

static void put_value(struct metrics_out *out, const struct family *f, const json_t *value,
		      const char *labels)
{
	if (!value || json_is_null(value))
		return;
	metrics_put_name(out, f->name, labels);
	if (f->kind == COUNT)
		metrics_put(out, "%zu\n", json_array_size(value));
	else if (f->kind == SAID)
		metrics_put(out, "%d\n", json_string_length(value) > 0);
	else if (json_is_boolean(value))
		metrics_put(out, "%d\n", json_is_true(value));
	else if (json_is_integer(value) && !f->scale)
		metrics_put(out, "%" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
	else
		metrics_put(out, "%.15g\n", json_number_value(value) * (f->scale ? f->scale : 1));
}

static void put_sample(struct metrics_out *out, const struct family *f, const json_t *o,
		       const char *labels)
{
	if (f->kind == INFO)
		put_info(out, f, o, labels);
	else if (f->kind == STATES)
		put_states(out, f, json_string_value(json_object_get(o, f->key)), labels);
	else if (f->kind == HISTOGRAM)
		put_histogram(out, f, o, labels);
	else
		put_value(out, f, json_object_get(o, f->key), labels);
}

static const char *type_of(const struct family *f)
{
	size_t len = strlen(f->name), end = sizeof(counter_end) - 1;

	if (f->kind == HISTOGRAM)
		return "histogram";
	return len > end && !strcmp(f->name + len - end, counter_end) ? "counter" : gauge;
}

struct object {
	const json_t *json;
	struct metrics_out labels;
};

/* False: it did not fit, and is not there. */
static bool put_family(struct metrics_out *out, const struct family *f,
		       const struct object *objects, size_t n)
{
	size_t start = out->len;

	metrics_put_family(out, f->name, type_of(f), f->help);
	for (size_t i = 0; i < n; i++) {
		put_sample(out, f, objects[i].json, objects[i].labels.text);
		if (out->len > METRICS_MAX) {
			out->len = start;
			out->text[start] = '\0';
			return false;
		}
	}
	return true;
}

static const json_t *list_of(const struct scope *s, const json_t *state)
{
	const json_t *list = json_object_get(state, s->list[0]);

	return s->list[1] ? json_object_get(list, s->list[1]) : list;
}

static bool put_scope(struct metrics_out *out, const struct scope *s, const json_t *state)
{
	const json_t *list = list_of(s, state);
	bool array = json_is_array(list), all = true;
	size_t n = array ? json_array_size(list) : list ? 1 : 0;
	struct object *objects = calloc(n + 1, sizeof(*objects));

	if (!objects)
		abort();
	for (size_t i = 0; i < n; i++) {
		struct object *o = &objects[i];

		o->json = array ? json_array_get(list, i) : list;
		metrics_put(&o->labels, "%s", "");
		for (const struct label *l = s->labels; l < s->labels + MAX_LABELS && l->name; l++)
			put_label(&o->labels, l->name, json_object_get(o->json, l->key));
	}
	for (const struct family *f = s->families; f->name; f++)
		all = put_family(out, f, objects, n) && all;
	for (size_t i = 0; i < n; i++)
		free(objects[i].labels.text);
	free(objects);
	return all;
}

char *metrics_text(const json_t *state)
{
	struct metrics_out out = {0};
	bool all = true;

	for (unsigned i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++)
		all = put_scope(&out, &scopes[i], state) && all;
	metrics_put_family(&out, "nvmegw_metrics_truncated", gauge,
			   "1 when metrics were left out, because they would be too much text.");
	metrics_put_name(&out, "nvmegw_metrics_truncated", NULL);
	metrics_put(&out, "%d\n", !all);
	return out.text;
}
