/* SPDX-License-Identifier: Apache-2.0 */
/* The text format of the metrics, and what of the state becomes which metric. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/http_site.h"
#include "gateway/metrics.h"
#include "gateway/metrics_format.h"
#include "multipath/ana.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/fake_upstream.h"

static struct metrics_out out;
static char *text;

static int teardown(void **state)
{
	free(out.text);
	out = (struct metrics_out){0};
	free(text);
	text = NULL;
	return 0;
}

static int setup_gateway(void **state)
{
	gw_defaults();
	gw_start(2);
	return 0;
}

static int teardown_gateway(void **state)
{
	gw_end();
	return teardown(state);
}

/* ---- the format ---- */

static void labels_are_escaped(void **state)
{
	metrics_put_label(&out, "a", "x\\y\"z\n");
	metrics_put_label(&out, "b", "");
	metrics_put_label(&out, "c", "{},= \t\xc3\xa4");
	assert_string_equal(out.text, "a=\"x\\\\y\\\"z\\n\",b=\"\",c=\"{},= \t\xc3\xa4\"");
}

static void long_text_grows(void **state)
{
	char value[3000];

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (unsigned i = 0; i < 20; i++)
		metrics_put(&out, "%s", value);
	metrics_put_label(&out, "l", value);
	assert_int_equal(out.len, 21 * (sizeof(value) - 1) + strlen(",l=\"\""));
	assert_int_equal(strlen(out.text), out.len);
}

static void samples_with_and_without_labels(void **state)
{
	metrics_put_family(&out, "m", "gauge", "What it is.");
	metrics_put_name(&out, "m", NULL);
	metrics_put_name(&out, "m", "");
	metrics_put_name(&out, "m", "a=\"b\"");
	assert_string_equal(out.text, "# HELP m What it is.\n# TYPE m gauge\nm m m{a=\"b\"} ");
}

static void histograms_are_cumulative(void **state)
{
	static const uint64_t counts[] = {3, 0, 4, 5};

	metrics_put_histogram(&out, "h", "p=\"q\"", counts, 4, 0.25);
	assert_string_equal(out.text, "h_bucket{p=\"q\",le=\"2e-06\"} 3\n"
				      "h_bucket{p=\"q\",le=\"4e-06\"} 3\n"
				      "h_bucket{p=\"q\",le=\"8e-06\"} 7\n"
				      "h_bucket{p=\"q\",le=\"+Inf\"} 12\n"
				      "h_sum{p=\"q\"} 0.25\n"
				      "h_count{p=\"q\"} 12\n");
	out.len = 0;
	metrics_put_histogram(&out, "h", NULL, counts, 2, 0);
	assert_string_equal(out.text, "h_bucket{le=\"2e-06\"} 3\nh_bucket{le=\"+Inf\"} 3\n"
				      "h_sum 0\nh_count 3\n");
}

/* ---- the tables ---- */

static void of_state(const char *json)
{
	json_t *state = json_loads(json, 0, NULL);

	assert_non_null(state);
	free(text);
	text = metrics_text(state);
	json_decref(state);
}

static void has(const char *line)
{
	size_t len = strlen(line);

	for (const char *at = text; (at = strstr(at, line)); at++)
		if ((at == text || at[-1] == '\n') && at[len] == '\n')
			return;
	fail_msg("no line \"%s\" in:\n%s", line, text);
}

static void values_have_their_units(void **state)
{
	of_state("{\"status\":{\"version\":\"1\\\"2\",\"cpu_seconds\":1.5,\"stopping\":true,"
		 "\"quarantines\":[{},{}],\"nsids\":{\"error\":\"No space\",\"saved\":false}},"
		 "\"namespaces\":[{\"subsystem\":\"s\",\"nsid\":7,\"longest_ms\":1250,"
		 "\"size_bytes\":9007199254740993,\"ana_state\":\"inaccessible\"}]}");
	has("nvmegw_build_info{version=\"1\\\"2\"} 1");
	has("process_cpu_seconds_total 1.5");
	has("# TYPE process_cpu_seconds_total counter");
	has("nvmegw_stopping 1");
	has("nvmegw_quarantines 2");
	has("nvmegw_nsids_saved 0");
	has("nvmegw_nsids_write_failed 1");
	has("nvmegw_namespace_longest_command_seconds{subsystem=\"s\",nsid=\"7\"} 1.25");
	has("nvmegw_namespace_size_bytes{subsystem=\"s\",nsid=\"7\"} 9007199254740993");
	has("nvmegw_namespace_ana_state{subsystem=\"s\",nsid=\"7\",state=\"inaccessible\"} 1");
	has("nvmegw_namespace_ana_state{subsystem=\"s\",nsid=\"7\",state=\"optimized\"} 0");
	has("nvmegw_metrics_truncated 0");
}

static void what_is_null_is_left_out(void **state)
{
	of_state("{\"paths\":[{\"path\":\"a\",\"upstream\":\"a\",\"subsystem\":\"s\",\"nsid\":null,"
		 "\"ana_state\":null,\"reads\":null,\"writes\":1}]}");
	assert_null(strstr(text, "nvmegw_path_reads_total{"));
	assert_null(strstr(text, "nvmegw_path_ana_state{"));
	has("nvmegw_path_writes_total{path=\"a\",upstream=\"a\",subsystem=\"s\"} 1");
	of_state("{}");
	has("nvmegw_metrics_truncated 0");
}

static void hostile_names_stay_in_their_labels(void **state)
{
	of_state("{\"controllers\":[{\"subsystem\":\"s\",\"cntlid\":1,"
		 "\"hostnqn\":\"x\\\"} 1\\nnvmegw_fake 1\",\"commands\":5}]}");
	has("nvmegw_controller_commands_total{hostnqn=\"x\\\"} 1\\nnvmegw_fake 1\",cntlid=\"1\","
	    "subsystem=\"s\"} 5");
	assert_null(strstr(text, "\nnvmegw_fake"));
}

/* The histograms go first, then whatever comes after the limit; whole families. */
static void text_is_bounded(void **state)
{
	json_t *list = json_array(), *s;

	for (unsigned i = 0; i < 20000; i++)
		json_array_append_new(list, json_pack("{s:i, s:s, s:s, s:s, s:i, s:s}", "nsid", i,
						      "path", "p", "subsystem", "s", "state",
						      "down", "reads", 1, "upstream", "u"));
	s = json_pack("{s:o}", "paths", list);
	text = metrics_text(s);
	json_decref(s);
	assert_true(strlen(text) < METRICS_MAX + 1024);
	has("nvmegw_path_reads_total{path=\"p\",upstream=\"u\",subsystem=\"s\",nsid=\"19999\"} 1");
	assert_null(strstr(text, "nvmegw_path_latency_seconds"));
	has("nvmegw_metrics_truncated 1");
}

/* ---- a gateway ---- */

/* Every state and counter that the tables name is there, under the name that they expect. */
static void of_a_gateway(void **state)
{
	struct tgt_qpair *admin = host_controller(FAKE_GW_NQN);
	struct tgt_qpair *io = host_io_queue(admin, 1);
	struct nvme_sqe read = {.opcode = nvme_cmd_read, .nsid = htole32(gw_nsid())};
	json_t *s;

	assert_int_equal(host_command(io, &read, NULL, 512)->status, 0);
	s = http_state(gw);
	text = metrics_text(s);
	json_decref(s);
	has("nvmegw_subsystem_reads_total{subsystem=\"" FAKE_GW_NQN "\"} 1");
	has("nvmegw_subsystem_controllers{subsystem=\"" FAKE_GW_NQN "\"} 1");
	has("nvmegw_listener_controllers{transport=\"fake\",traddr=\"192.0.2.1\",trsvcid=\"4420\"}"
	    " 1");
	has("nvmegw_worker_host_queues{worker=\"1\"} 1");
	has("nvmegw_worker_requests{worker=\"1\"} 0");
	has("nvmegw_namespace_usable_paths{subsystem=\"" FAKE_GW_NQN "\",nsid=\"1\"} 2");
	has("nvmegw_upstream_state{upstream=\"up1\",subsystem=\"" FAKE_GW_NQN
	    "\",state=\"live\"} 1");
	has("nvmegw_path_state{path=\"up1/1\",upstream=\"up1\",subsystem=\"" FAKE_GW_NQN
	    "\",nsid=\"1\",state=\"optimized\"} 1");
	has("nvmegw_path_reads_total{path=\"up1/1\",upstream=\"up1\",subsystem=\"" FAKE_GW_NQN
	    "\",nsid=\"1\"} 1");
	has("nvmegw_path_latency_seconds_count{path=\"up1/1\",upstream=\"up1\",subsystem=\"" FAKE_GW_NQN
	    "\",nsid=\"1\"} 1");
	has("nvmegw_controller_state{hostnqn=\"" FAKE_HOSTNQN
	    "\",cntlid=\"1\",subsystem=\"" FAKE_GW_NQN "\",state=\"ready\"} 1");
	has("nvmegw_controller_reads_total{hostnqn=\"" FAKE_HOSTNQN
	    "\",cntlid=\"1\",subsystem=\"" FAKE_GW_NQN "\"} 1");
}

static void is_one_of(const char *metric, const char *word)
{
	char part[64];

	snprintf(part, sizeof(part), "state=\"%s\"} ", word);
	for (const char *at = text; (at = strstr(at, metric)); at++) {
		const char *line_end = strchr(at, '\n'), *found = strstr(at, part);

		if (found && found < line_end)
			return;
	}
	fail_msg("%s has no state %s", metric, word);
}

static void all_states_are_known(void **state)
{
	json_t *s = http_state(gw);

	text = metrics_text(s);
	json_decref(s);
	for (enum upstream_state u = UPSTREAM_CONNECTING; u <= UPSTREAM_DELETING; u++)
		is_one_of("nvmegw_upstream_state{", upstream_state_name(u));
	for (unsigned a = NVME_ANA_STATE_OPTIMIZED; a <= NVME_ANA_STATE_PERSISTENT_LOSS; a++)
		is_one_of("nvmegw_path_ana_state{", ana_state_name((uint8_t)a));
	is_one_of("nvmegw_path_ana_state{", ana_state_name(NVME_ANA_STATE_CHANGE));
}

int main(void)
{
#define T(f)	cmocka_unit_test_teardown(f, teardown)
#define T_GW(f) cmocka_unit_test_setup_teardown(f, setup_gateway, teardown_gateway)
	const struct CMUnitTest tests[] = {
		T(labels_are_escaped),
		T(long_text_grows),
		T(samples_with_and_without_labels),
		T(histograms_are_cumulative),
		T(values_have_their_units),
		T(what_is_null_is_left_out),
		T(hostile_names_stay_in_their_labels),
		T(text_is_bounded),
		T_GW(of_a_gateway),
		T_GW(all_states_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
