/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: what is answered, and what clients that misbehave cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "gateway/rpc.h"
#include "gateway/rpc_answer.h"
#include "gateway/rpc_methods.h"
#include "gateway/rpc_schema.h"
#include "gateway/schema.h"
#include "transport/log.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/fake_upstream.h"
#include "tests/unit/rpc_client.h"

#define OTHER_NQN "nqn.2014-08.org.example:other"
#define VERSION	  "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"version\"}"
#define STATUS	  "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n"

static char folder[64], socket_path[100];
static struct subsys_cfg two[2];
static struct upstream_cfg others[2];

/* ---- set up ---- */

static void defaults(void)
{
	gw_defaults();
	strcpy(folder, "/tmp/test_rpc.XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(socket_path, sizeof(socket_path), "%s/made/control.sock", folder);
	strcpy(gw_cfg.control_socket, socket_path);
}

static int setup(void **state)
{
	defaults();
	gw_start(2);
	return 0;
}

/* A second subsystem whose upstreams have the same names; only "up3" is another. */
static int setup_two(void **state)
{
	defaults();
	two[0] = two[1] = gw_subsys_cfg;
	strcpy(two[1].mp.nqn, OTHER_NQN);
	for (unsigned i = 0; i < 2; i++) {
		others[i] = gw_upstream_cfg[i];
		addr_parse(&others[i].mp.addr, "127.0.0.1", i ? "4" : "3");
	}
	strcpy(others[1].mp.name, "up3");
	two[1].upstreams = others;
	gw_cfg.subsystems = two;
	gw_cfg.nr_subsystems = 2;
	gw_start(2);
	return 0;
}

static int teardown(void **state)
{
	char *slash = strrchr(socket_path, '/');

	gw_end();
	assert_int_equal(access(socket_path, F_OK), -1);
	*slash = 0;
	assert_int_equal(rmdir(socket_path), 0);
	assert_int_equal(rmdir(folder), 0);
	return 0;
}

/* ---- questions without a socket ---- */

/* Whatever is asked here, a result is what its schema says. */
static void check_result(const char *text, size_t len, const json_t *answer)
{
	const json_t *result = json_object_get(answer, "result");
	json_t *request = json_loadb(text, len, JSON_DECODE_ANY, NULL);
	const char *method = json_string_value(json_object_get(request, "method"));
	char problem[512];

	if (result && !schema_fits(json_object_get(rpc_schema(method), "result"), result, method,
				   problem, sizeof(problem)))
		fail_msg("%s: %s", method, problem);
	json_decref(request);
}

static void on_late(void *arg, json_t *answer)
{
	*(json_t **)arg = answer;
}

static json_t *hear_late(struct rpc_later *later)
{
	uint64_t end = loop_now_exact(gw->control) + 60 * NSEC_PER_SEC;
	json_t *answer = NULL;

	later->answered = on_late;
	later->arg = &answer;
	while (!answer && loop_now_exact(gw->control) < end) {
		gw_spin(1);
		usleep(100);
	}
	assert_non_null(answer);
	return answer;
}

static json_t *ask_bytes(const char *text, size_t len)
{
	static struct event_reader reader;
	struct rpc_caller caller = {.gw = gw, .events = &reader};
	struct rpc_later *later;
	json_t *answer = rpc_answer(&caller, text, len, &later);

	if (later)
		answer = hear_late(later);
	check_result(text, len, answer);
	return answer;
}

static json_t *ask_text(const char *text)
{
	return ask_bytes(text, strlen(text));
}

static json_t *ask(const char *method, const char *params)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}", method, params);
	return ask_text(text);
}

static json_t *result_of(const char *method, const char *params)
{
	json_t *answer = ask(method, params), *result = json_object_get(answer, "result");

	assert_non_null(result);
	json_incref(result);
	json_decref(answer);
	return result;
}

/* Takes over @answer. */
static void is_error(json_t *answer, int code, const char *part)
{
	const char *message;
	int got;

	assert_non_null(answer);
	assert_null(json_object_get(answer, "result"));
	assert_int_equal(json_unpack(answer, "{s:s, s:{s:i, s:s}}", "jsonrpc", &message, "error",
				     "code", &got, "message", &message),
			 0);
	assert_int_equal(got, code);
	if (!strstr(message, part))
		fail_msg("\"%s\" does not say \"%s\"", message, part);
	json_decref(answer);
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	assert_non_null(s);
	return s;
}

static int number_of(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	assert_true(json_is_integer(v));
	return (int)json_integer_value(v);
}

static bool is_true(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	assert_true(json_is_boolean(v));
	return json_is_true(v);
}

/* ---- requests ---- */

static void parse_errors(void **state)
{
	static const char *const bad[] = {
		"",	    "\n",	   "hello", "{\"a\":", "{\"a\":1,\"a\":2}",
		"\xff\xfe", "\"\\u0000\"", "{} {}"};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		is_error(ask_text(bad[i]), RPC_PARSE, "JSON");
	is_error(ask_bytes("{}\0", 3), RPC_PARSE, "JSON");
}

static void deep_nesting_is_refused(void **state)
{
	char *text = malloc(RPC_MAX_LINE);

	memset(text, '[', RPC_MAX_LINE);
	is_error(ask_bytes(text, RPC_MAX_LINE), RPC_PARSE, "depth");
	free(text);
}

static void invalid_requests(void **state)
{
	static const char *const bad[][2] = {
		{"5", "object"},
		{"null", "object"},
		{"[]", "batch"},
		{"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"version\"}]", "batch"},
		{"{}", "jsonrpc"},
		{"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"version\"}", "jsonrpc"},
		{"{\"jsonrpc\":2.0,\"id\":1,\"method\":\"version\"}", "jsonrpc"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1}", "method"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":5}", "method"},
		{"{\"jsonrpc\":\"2.0\",\"id\":[1],\"method\":\"version\"}", "id"},
		{"{\"jsonrpc\":\"2.0\",\"id\":true,\"method\":\"version\"}", "id"},
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		is_error(ask_text(bad[i][0]), RPC_INVALID_REQUEST, bad[i][1]);
}

static void unknown_methods(void **state)
{
	is_error(ask("path.frobnicate", "{}"), RPC_NO_METHOD, "path.frobnicate");
	is_error(ask("", "{}"), RPC_NO_METHOD, "");
}

static void parameters_are_checked(void **state)
{
	is_error(ask("version", "[]"), RPC_INVALID_PARAMS, "object");
	is_error(ask("version", "null"), RPC_INVALID_PARAMS, "object");
	is_error(ask("version", "{\"colour\":\"blue\"}"), RPC_INVALID_PARAMS, "colour");
	is_error(ask("path.show", "{}"), RPC_INVALID_PARAMS, "path");
	is_error(ask("path.show", "{\"path\":1}"), RPC_INVALID_PARAMS, "string");
	is_error(ask("path.show", "{\"path\":\"up1/1\",\"subsystem\":null}"), RPC_INVALID_PARAMS,
		 "subsystem");
	is_error(ask("path.weight", "{\"path\":\"up1/1\"}"), RPC_INVALID_PARAMS, "weight");
	is_error(ask("policy.set", "{}"), RPC_INVALID_PARAMS, "policy");
	is_error(ask("namespace.show", "{}"), RPC_INVALID_PARAMS, "namespace");
}

static void numbers_are_checked(void **state)
{
	static const char *const bad[] = {"0",	   "1001", "-1",   "1.0", "1e2",
					  "\"1\"", "null", "true", "[1]", "9223372036854775807"};
	char params[128];

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(params, sizeof(params), "{\"path\":\"up1/1\",\"weight\":%s}", bad[i]);
		is_error(ask("path.weight", params), RPC_INVALID_PARAMS, "from 1 to 1000");
	}
	is_error(ask("namespace.show", "{\"namespace\":0}"), RPC_INVALID_PARAMS, "namespace");
	is_error(ask("namespace.show", "{\"namespace\":4294967296}"), RPC_INVALID_PARAMS,
		 "4294967295");
	is_error(ask("namespace.show", "{\"namespace\":4294967295}"), RPC_NOT_FOUND, "4294967295");
}

/* What keeps the handlers from values that they do not expect. */
static void every_method_has_schemas(void **state)
{
	const struct rpc_method *m;

	for (unsigned n = 0; (m = rpc_method_at(n)); n++) {
		const json_t *schema = rpc_schema(m->name);

		if (!json_string_value(json_object_get(schema, "description")) ||
		    !json_is_object(json_object_get(schema, "params")) ||
		    !json_is_object(json_object_get(schema, "result")))
			fail_msg("%s is not described in gateway/rpc_schema.json", m->name);
		assert_ptr_equal(rpc_method(m->name), m);
	}
}

static void methods_are_listed(void **state)
{
	json_t *list = result_of("method.list", "{}"), *m;
	size_t i;

	json_array_foreach(list, i, m)
		assert_string_equal(text_of(m, "method"), rpc_method_at((unsigned)i)->name);
	assert_null(rpc_method_at((unsigned)i));
	json_decref(list);
}

static bool is_among(const char *method, const char *part, const char *member, const char *word)
{
	const json_t *o = json_object_get(rpc_schema(method), part), *w;
	size_t i;

	o = json_object_get(json_object_get(o, "properties"), member);
	if (json_object_get(o, "items"))
		o = json_object_get(o, "items");
	json_array_foreach(json_object_get(o, "enum"), i, w)
		if (!strcmp(json_string_value(w), word))
			return true;
	return false;
}

/* The words of the schemas and those of the program. */
static void words_are_known(void **state)
{
	char params[64];

	for (enum mp_policy p = 0; p < MP_POLICY_COUNT; p++)
		assert_true(is_among("policy.set", "params", "policy", mp_policy_name(p)));
	for (unsigned t = 0; t < EVENT_COUNT; t++)
		assert_true(is_among("events.subscribe", "params", "types", event_type_name(t)));
	for (unsigned c = 0; c < DEBUG_COUNT; c++)
		assert_true(is_among("log.debug", "params", "categories", debug_name(c)));
	snprintf(params, sizeof(params), "{\"last\":%u}", EVENTS_KEPT + 1);
	is_error(ask("events.subscribe", params), RPC_INVALID_PARAMS, "4096");
}

static void logging_is_set(void **state)
{
	int level = log_level();
	json_t *r = result_of("log.level", "{\"level\":\"warning\"}");

	assert_string_equal(text_of(r, "level"), "warning");
	assert_int_equal(log_level(), LOG_WARNING);
	json_decref(r);
	r = result_of("log.debug", "{\"categories\":[\"rdma\",\"ana\"]}");
	assert_int_equal(json_array_size(json_object_get(r, "debug")), 2);
	assert_int_equal(log_debug_categories(), 1u << DEBUG_RDMA | 1u << DEBUG_ANA);
	json_decref(r);
	is_error(ask("log.debug", "{\"categories\":[\"rdma\",\"x\"]}"), RPC_INVALID_PARAMS,
		 "categories[1]");
	assert_int_equal(log_debug_categories(), 1u << DEBUG_RDMA | 1u << DEBUG_ANA);
	json_decref(result_of("log.debug", "{\"categories\":[\"none\"]}"));
	assert_int_equal(log_debug_categories(), 0);
	is_error(ask("log.level", "{\"level\":\"loud\"}"), RPC_INVALID_PARAMS, "notice");
	log_set_level(level);
}

static void id_comes_back(void **state)
{
	static const char *const ids[] = {"7", "-1.5", "\"x\"", "null"};

	for (unsigned i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		json_t *id = json_loads(ids[i], JSON_DECODE_ANY, NULL), *answer;
		char text[128];

		snprintf(text, sizeof(text),
			 "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"version\"}", ids[i]);
		answer = ask_text(text);
		assert_true(json_equal(json_object_get(answer, "id"), id));
		json_decref(answer);
		json_decref(id);
	}
}

static void notifications_get_no_answer(void **state)
{
	assert_null(ask_text("{\"jsonrpc\":\"2.0\",\"method\":\"version\"}"));
	assert_null(ask_text("{\"jsonrpc\":\"2.0\",\"method\":\"frobnicate\"}"));
	assert_null(ask_text("{\"jsonrpc\":\"2.0\",\"method\":\"path.disable\","
			     "\"params\":{\"path\":\"up1/1\"}}"));
	assert_int_equal(gw_usable(), 1);
}

/* ---- methods ---- */

static void paths_are_listed(void **state)
{
	json_t *list = result_of("path.list", "{}"), *p = json_array_get(list, 1);

	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(text_of(p, "path"), "up2/1");
	assert_string_equal(text_of(p, "subsystem"), FAKE_GW_NQN);
	assert_string_equal(text_of(p, "upstream"), "up2");
	assert_string_equal(text_of(p, "upstream_state"), "live");
	assert_string_equal(text_of(p, "traddr"), "127.0.0.1");
	assert_int_equal(number_of(p, "trsvcid"), 2);
	assert_int_equal(number_of(p, "nsid"), gw_nsid());
	assert_int_equal(number_of(p, "upstream_nsid"), 1);
	assert_true(is_true(p, "usable"));
	assert_string_equal(text_of(p, "state"), "optimized");
	assert_string_equal(text_of(p, "ana_state"), "optimized");
	assert_string_equal(text_of(p, "admin"), "enabled");
	assert_int_equal(number_of(p, "weight"), 1);
	assert_string_equal(text_of(p, "uuid"), "05050505-0505-0505-0505-050505050505");
	assert_int_equal(number_of(p, "cntlid"), 102);
	assert_int_equal(number_of(p, "flaps"), 0);
	assert_int_equal(number_of(p, "p99_latency_us"), 0);
	assert_string_equal(text_of(p, "reason"), "");
	assert_int_equal(number_of(p, "reads"), 0);
	json_decref(list);
}

static int setup_upstreams(void **state)
{
	defaults();
	fake_ctrls[1].ns[1].present = false;
	fake_ctrls[2].down = true;
	gw_start(0);
	gw_spin(100);
	return 0;
}

static void upstreams_without_paths_are_listed(void **state)
{
	json_t *list = result_of("path.list", "{}");
	static const char *const reasons[] = {"no namespace", "refused"};
	static const char *const states[] = {"empty", "down"};

	assert_int_equal(json_array_size(list), 2);
	for (unsigned i = 0; i < 2; i++) {
		const json_t *p = json_array_get(list, i);

		assert_string_equal(text_of(p, "path"), i ? "up2" : "up1");
		assert_true(json_is_null(json_object_get(p, "nsid")));
		assert_false(is_true(p, "usable"));
		assert_string_equal(text_of(p, "state"), states[i]);
		assert_non_null(strstr(text_of(p, "reason"), reasons[i]));
	}
	json_decref(list);
	json_decref(result_of("path.show", "{\"path\":\"up2\"}"));
	is_error(ask("path.disable", "{\"path\":\"up2\"}"), RPC_REFUSED, "up2");
	is_error(ask("path.weight", "{\"path\":\"up2\",\"weight\":2}"), RPC_REFUSED, "up2");
	is_error(ask("path.show", "{\"path\":\"up2/1\"}"), RPC_NOT_FOUND, "up2/1");
}

static void admin_state_of_paths(void **state)
{
	json_t *p = result_of("path.disable", "{\"path\":\"up1/1\"}");

	assert_string_equal(text_of(p, "admin"), "disabled");
	assert_string_equal(text_of(p, "state"), "disabled");
	assert_false(is_true(p, "usable"));
	assert_int_equal(number_of(p, "namespace_usable_paths"), 1);
	assert_int_equal(gw_usable(), 1);
	json_decref(p);
	p = result_of("path.standby", "{\"path\":\"up1/1\"}");
	assert_string_equal(text_of(p, "admin"), "standby");
	assert_string_equal(text_of(p, "state"), "standby");
	assert_true(is_true(p, "usable"));
	json_decref(p);
	p = result_of("path.enable", "{\"path\":\"up1/1\"}");
	assert_string_equal(text_of(p, "state"), "optimized");
	assert_int_equal(gw_usable(), 2);
	json_decref(p);
	is_error(ask("path.enable", "{\"path\":\"nowhere/1\"}"), RPC_NOT_FOUND, "nowhere/1");
	is_error(ask("path.show", "{\"path\":\"up1/1\",\"subsystem\":\"x\"}"), RPC_NOT_FOUND, "x");
}

/* Since it is what it is, not since it became usable. */
static void time_is_that_of_the_state(void **state)
{
	struct path *path = TAILQ_FIRST(&TAILQ_FIRST(&gw_ss->mp->upstreams)->paths);
	json_t *p;

	path->changed -= 1000 * NSEC_PER_SEC;
	p = result_of("path.weight", "{\"path\":\"up1/1\",\"weight\":2}");
	assert_true(json_real_value(json_object_get(p, "since_seconds")) >= 1000);
	json_decref(p);
	p = result_of("path.standby", "{\"path\":\"up1/1\"}");
	assert_true(json_real_value(json_object_get(p, "since_seconds")) < 500);
	json_decref(p);
}

static void weights_of_paths(void **state)
{
	json_t *p = result_of("path.weight", "{\"path\":\"up2/1\",\"weight\":1000}");

	assert_int_equal(number_of(p, "weight"), 1000);
	json_decref(p);
	p = result_of("path.show", "{\"path\":\"up1/1\"}");
	assert_int_equal(number_of(p, "weight"), 1);
	json_decref(p);
}

static void same_path_in_two_subsystems(void **state)
{
	json_t *p, *list;

	gw_spin(200);
	is_error(ask("path.disable", "{\"path\":\"up1/1\"}"), RPC_AMBIGUOUS, "--subsystem");
	assert_int_equal(gw_usable(), 2);
	p = result_of("path.show", "{\"path\":\"up1/1\",\"subsystem\":\"" OTHER_NQN "\"}");
	assert_int_equal(number_of(p, "trsvcid"), 3);
	json_decref(p);
	json_decref(result_of("path.show", "{\"path\":\"up3/1\"}"));
	list = result_of("path.list", "{}");
	assert_int_equal(json_array_size(list), 4);
	json_decref(list);
	list = result_of("path.list", "{\"subsystem\":\"" OTHER_NQN "\"}");
	assert_int_equal(json_array_size(list), 2);
	json_decref(list);
	list = result_of("namespace.list", "{\"subsystem\":\"" OTHER_NQN "\"}");
	assert_int_equal(json_array_size(list), 1);
	json_decref(list);
	is_error(ask("namespace.show", "{\"namespace\":1}"), RPC_AMBIGUOUS, "--subsystem");
	list = result_of("namespace.show", "{\"namespace\":1,\"subsystem\":\"" OTHER_NQN "\"}");
	assert_string_equal(text_of(list, "subsystem"), OTHER_NQN);
	json_decref(list);
	is_error(ask("namespace.show", "{\"namespace\":9,\"subsystem\":\"" OTHER_NQN "\"}"),
		 RPC_NOT_FOUND, OTHER_NQN);
}

/* By subsystem, in their order. */
static void policies_are(const char *first, const char *second)
{
	json_t *list = result_of("namespace.list", "{}");

	assert_string_equal(text_of(json_array_get(list, 0), "policy"), first);
	if (second)
		assert_string_equal(text_of(json_array_get(list, 1), "policy"), second);
	json_decref(list);
}

static void policies_of_two_subsystems(void **state)
{
	gw_spin(200);
	is_error(ask("policy.set", "{\"policy\":\"numa\"}"), RPC_AMBIGUOUS, "--subsystem");
	is_error(ask("policy.set", "{\"policy\":\"numa\",\"namespace\":1}"), RPC_AMBIGUOUS,
		 "--subsystem");
	policies_are("failover", "failover");
	json_decref(
		result_of("policy.set", "{\"policy\":\"numa\",\"subsystem\":\"" OTHER_NQN "\"}"));
	policies_are("failover", "numa");
	json_decref(result_of("policy.set", "{\"policy\":\"queue-depth\",\"subsystem\":"
					    "\"" FAKE_GW_NQN "\",\"namespace\":1}"));
	policies_are("queue-depth", "numa");
}

static void policies_are_set(void **state)
{
	json_t *p = result_of("policy.set", "{\"policy\":\"round-robin\"}"), *s;

	assert_string_equal(text_of(p, "policy"), "round-robin");
	assert_string_equal(text_of(p, "subsystem"), FAKE_GW_NQN);
	assert_true(json_is_null(json_object_get(p, "nsid")));
	json_decref(p);
	policies_are("round-robin", NULL);
	p = result_of("policy.set", "{\"policy\":\"service-time\",\"namespace\":1}");
	assert_int_equal(number_of(p, "nsid"), 1);
	json_decref(p);
	policies_are("service-time", NULL);
	s = result_of("status", "{}"); /* the subsystem's own is for namespaces to come */
	assert_string_equal(text_of(json_array_get(json_object_get(s, "subsystems"), 0), "policy"),
			    "round-robin");
	json_decref(s);
	is_error(ask("policy.set", "{\"policy\":\"best\"}"), RPC_INVALID_PARAMS, "queue-depth");
	is_error(ask("policy.set", "{\"policy\":\"numa\",\"namespace\":8}"), RPC_NOT_FOUND, "8");
	is_error(ask("policy.set", "{\"policy\":\"numa\",\"subsystem\":\"x\"}"), RPC_NOT_FOUND,
		 "x");
	policies_are("service-time", NULL);
}

static void namespaces_are_listed(void **state)
{
	json_t *list = result_of("namespace.list", "{}"), *n = json_array_get(list, 0);

	assert_int_equal(json_array_size(list), 1);
	assert_int_equal(number_of(n, "nsid"), gw_nsid());
	assert_string_equal(text_of(n, "uuid"), "05050505-0505-0505-0505-050505050505");
	assert_null(json_object_get(n, "nguid"));
	assert_int_equal(number_of(n, "blocks"), 1000);
	assert_int_equal(number_of(n, "size_bytes"), 1000 * number_of(n, "block_size"));
	assert_string_equal(text_of(n, "ana_state"), "optimized");
	assert_int_equal(number_of(n, "paths"), 2);
	assert_int_equal(number_of(n, "usable_paths"), 2);
	assert_int_equal(number_of(n, "held"), 0);
	assert_string_equal(text_of(n, "policy"), "failover");
	assert_string_equal(text_of(n, "write_retry"), "fenced");
	json_decref(list);
}

static void one_namespace_is_shown(void **state)
{
	json_t *n = result_of("namespace.show", "{\"namespace\":1}"), *paths;

	paths = json_object_get(n, "path_list");
	assert_int_equal(json_array_size(paths), 2);
	assert_string_equal(text_of(json_array_get(paths, 0), "path"), "up1/1");
	assert_string_equal(text_of(json_array_get(paths, 1), "path"), "up2/1");
	assert_true(json_is_null(json_object_get(n, "without_path_seconds")));
	json_decref(n);
	json_decref(result_of("path.disable", "{\"path\":\"up1/1\"}"));
	json_decref(result_of("path.disable", "{\"path\":\"up2/1\"}"));
	n = result_of("namespace.show", "{\"namespace\":1}");
	assert_true(json_is_real(json_object_get(n, "without_path_seconds")));
	assert_string_equal(text_of(n, "ana_state"), "inaccessible");
	json_decref(n);
}

/* ---- what goes wrong ---- */

/* An I/O command of 8 blocks. */
static uint16_t send_io(struct tgt_qpair *qp, uint8_t opcode, uint32_t lba)
{
	static const uint8_t data[4096];
	struct nvme_sqe sqe = {
		.opcode = opcode,
		.nsid = htole32(gw_nsid()),
		.cdw10 = htole32(lba),
		.cdw12 = htole32(7),
	};

	return host_send(qp, &sqe, opcode == nvme_cmd_write ? data : NULL, sizeof(data));
}

static json_t *path_of(const char *name)
{
	char params[64];

	snprintf(params, sizeof(params), "{\"path\":\"%s\"}", name);
	return result_of("path.show", params);
}

static void path_is(const char *name, const char *state)
{
	json_t *p = path_of(name);

	assert_string_equal(text_of(p, "state"), state);
	json_decref(p);
}

static void until_usable(unsigned paths)
{
	uint64_t begun = loop_now_exact(gw->control);

	while (gw_usable() != paths && loop_now_exact(gw->control) - begun < 60 * NSEC_PER_SEC)
		gw_spin(1);
	assert_int_equal(gw_usable(), paths);
}

static void latencies_are_shown(void **state)
{
	struct tgt_qpair *qp = host_io_queue(host_controller(FAKE_GW_NQN), 1);
	json_t *p;

	for (unsigned i = 0; i < 20; i++) {
		send_io(qp, nvme_cmd_read, 8 * i);
		gw_spin(5);
	}
	p = path_of("up1/1");
	assert_int_equal(number_of(p, "reads"), 20);
	assert_int_equal(number_of(p, "inflight"), 0);
	assert_true(number_of(p, "p50_latency_us") > 0);
	assert_true(number_of(p, "p99_latency_us") >= number_of(p, "p50_latency_us"));
	assert_true(number_of(p, "p999_latency_us") >= number_of(p, "p99_latency_us"));
	/* Percentiles are the upper ends of their buckets. */
	assert_true(number_of(p, "average_latency_us") <= number_of(p, "p999_latency_us"));
	json_decref(p);
}

static int setup_flapping(void **state)
{
	defaults();
	gw_subsys_cfg.mp.flap_hold = 60 * NSEC_PER_SEC;
	gw_start(2);
	return 0;
}

static void flapping_is_shown_and_forgotten(void **state)
{
	json_t *p;
	int left;

	for (unsigned i = 0; i < 3; i++) {
		path_is("up1/1", "optimized");
		fake_cut(1);
		until_usable(1);
		path_is("up1/1", "down");
		until_usable(2);
	}
	p = path_of("up1/1");
	assert_string_equal(text_of(p, "state"), "last");
	assert_true(is_true(p, "usable"));
	assert_non_null(strstr(text_of(p, "reason"), "lost 3 times in a row"));
	assert_int_equal(number_of(p, "flaps"), 3);
	assert_int_equal(number_of(p, "losses"), 3);
	left = number_of(p, "damped_seconds");
	assert_true(left > 50 && left <= 60);
	json_decref(p);
	p = result_of("path.reset", "{\"path\":\"up1/1\"}");
	assert_string_equal(text_of(p, "state"), "optimized");
	assert_string_equal(text_of(p, "reason"), "");
	assert_int_equal(number_of(p, "flaps"), 0);
	assert_int_equal(number_of(p, "damped_seconds"), 0);
	assert_int_equal(number_of(p, "losses"), 3);
	json_decref(p);
	is_error(ask("path.reset", "{\"path\":\"up9/1\"}"), RPC_NOT_FOUND, "up9/1");
}

static int setup_patient(void **state)
{
	defaults();
	fake_ctrls[2].down = true;
	gw_upstream_cfg[1].mp.reconnect_delay = 3600 * NSEC_PER_SEC;
	gw_start(1);
	gw_spin(50);
	return 0;
}

/* Also one that has never shown a namespace, and does not wait for its next attempt. */
static void reset_connects_at_once(void **state)
{
	unsigned before = fake_ctrls[2].connects;
	json_t *p;

	gw_spin(100);
	path_is("up2", "down");
	fake_ctrls[2].down = false;
	p = result_of("path.reset", "{\"path\":\"up2\"}");
	assert_string_equal(text_of(p, "path"), "up2/1");
	assert_true(is_true(p, "usable"));
	json_decref(p);
	assert_true(fake_ctrls[2].connects > before);
	path_is("up2/1", "optimized");
}

static void lost_writes_are_shown(void **state)
{
	struct tgt_qpair *qp = host_io_queue(host_controller(FAKE_GW_NQN), 1);
	uint16_t lost, later;
	json_t *s, *q, *n;

	fake_ctrls[1].stuck = true;
	lost = send_io(qp, nvme_cmd_write, 0);
	gw_spin(10);
	fake_ctrls[1].down = true;
	fake_cut(1);
	until_usable(1);
	gw_spin(20);
	assert_true(host_answer(lost)->there); /* over the other path */
	assert_int_equal(host_answer(lost)->status, 0);
	later = send_io(qp, nvme_cmd_write, 0);
	gw_spin(20);
	assert_false(host_answer(later)->there);

	s = result_of("status", "{}");
	assert_int_equal(json_array_size(json_object_get(s, "quarantines")), 1);
	q = json_array_get(json_object_get(s, "quarantines"), 0);
	assert_string_equal(text_of(q, "upstream"), "up1");
	assert_int_equal(number_of(q, "cntlid"), 101);
	assert_true(is_true(q, "writes_wait"));
	assert_true(number_of(q, "seconds_left") > 50 && number_of(q, "seconds_left") <= 60);
	json_decref(s);
	n = result_of("namespace.show", "{\"namespace\":1}");
	assert_int_equal(number_of(n, "fences"), 1);
	assert_int_equal(number_of(n, "fenced"), 1);
	assert_int_equal(number_of(n, "fenced_total"), 1);
	assert_int_equal(number_of(n, "retried"), 1);
	json_decref(n);
}

static void controllers_are_listed(void **state)
{
	struct tgt_qpair *admin = host_controller(FAKE_GW_NQN);
	json_t *list, *c;

	host_io_queue(admin, 1);
	host_controller(NVMF_DISCOVERY_NQN);
	list = result_of("controller.list", "{}");
	assert_int_equal(json_array_size(list), 2);
	c = json_array_get(list, 0);
	assert_int_equal(number_of(c, "cntlid"), host_ctrl(admin)->ident.cntlid);
	assert_string_equal(text_of(c, "hostnqn"), FAKE_HOSTNQN);
	assert_string_equal(text_of(c, "state"), "ready");
	assert_int_equal(number_of(c, "io_queues"), 1);
	assert_string_equal(text_of(json_array_get(list, 1), "subsystem"), NVMF_DISCOVERY_NQN);
	json_decref(list);
}

static void hostile_names_are_shown_safely(void **state)
{
	struct tgt_qpair *qp = host_open();
	struct connect_args a = host_connect_args();
	json_t *list;
	char *text;

	strcpy(a.hostnqn, "nqn.2014-08.org.example:\xff\x1b[2J\"");
	if (host_connect(qp, &a)->status)
		return; /* better still */
	list = result_of("controller.list", "{}");
	assert_string_equal(text_of(json_array_get(list, 0), "hostnqn"),
			    "nqn.2014-08.org.example:?\x1b[2J\"");
	text = json_dumps(list, 0);
	assert_null(strchr(text, '\x1b'));
	free(text);
	json_decref(list);
}

static void status_is_shown(void **state)
{
	json_t *s = result_of("status", "{}"), *ss;

	assert_int_equal(number_of(s, "pid"), getpid());
	assert_int_equal(json_array_size(json_object_get(s, "workers")), 1);
	assert_int_equal(json_array_size(json_object_get(s, "listeners")), 1);
	ss = json_array_get(json_object_get(s, "subsystems"), 0);
	assert_string_equal(text_of(ss, "nqn"), FAKE_GW_NQN);
	assert_int_equal(number_of(ss, "live_upstreams"), 2);
	assert_int_equal(number_of(ss, "usable_paths"), 2);
	assert_int_equal(number_of(ss, "namespaces"), 1);
	assert_int_equal(number_of(json_object_get(s, "nsids"), "namespaces"), 1);
	assert_int_equal(json_array_size(json_object_get(s, "quarantines")), 0);
	json_decref(s);
}

static void status_has_upstreams(void **state)
{
	json_t *s, *up;

	fake_ctrls[1].down = true;
	fake_cut(1);
	until_usable(1);
	s = result_of("status", "{}");
	assert_int_equal(json_array_size(json_object_get(s, "upstreams")), 2);
	up = json_array_get(json_object_get(s, "upstreams"), 0);
	assert_string_equal(text_of(up, "name"), "up1");
	assert_string_equal(text_of(up, "subsystem"), FAKE_GW_NQN);
	assert_string_not_equal(text_of(up, "state"), "live");
	assert_string_not_equal(text_of(up, "reason"), "");
	assert_int_equal(number_of(up, "losses"), 1);
	assert_int_equal(number_of(up, "flaps"), 1);
	assert_int_equal(number_of(up, "paths"), 1);
	assert_int_equal(number_of(up, "usable_paths"), 0);
	up = json_array_get(json_object_get(s, "upstreams"), 1);
	assert_string_equal(text_of(up, "state"), "live");
	assert_int_equal(number_of(up, "losses"), 0);
	assert_int_equal(number_of(up, "usable_paths"), 1);
	json_decref(s);
}

/* ---- the socket ---- */

static struct sockaddr_un name_of(const char *path)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};

	strcpy(name.sun_path, path);
	return name;
}

static int client(void)
{
	return client_of(socket_path);
}

static void hear_id(int fd, int id)
{
	json_t *answer = hear(fd);

	assert_int_equal(number_of(answer, "id"), id);
	json_decref(answer);
}

static void served(int fd, int id)
{
	char text[128];

	snprintf(text, sizeof(text), VERSION "\n", id);
	say(fd, text, strlen(text));
	hear_id(fd, id);
}

static void half_requests(void **state)
{
	int fd = client(), other = client();
	char text[128];

	snprintf(text, sizeof(text), VERSION "\n", 5);
	for (const char *c = text; *c; c++) {
		say(fd, c, 1);
		if (*c == ':')
			served(other, 1);
	}
	hear_id(fd, 5);
	served(fd, 6);
	close(fd);
	close(other);
}

static void many_in_one_write(void **state)
{
	char text[128 * 200];
	size_t len = 0;
	int fd = client();

	for (int i = 0; i < 200; i++) {
		if (i % 50 == 49)
			len += (size_t)sprintf(
				text + len,
				"{\"jsonrpc\":\"2.0\",\"method\":\"version\"}\nnonsense\n");
		len += (size_t)sprintf(text + len, VERSION "\n", i);
	}
	say(fd, text, len);
	for (int i = 0; i < 200; i++) {
		if (i % 50 == 49)
			is_error(hear(fd), RPC_PARSE, "JSON");
		hear_id(fd, i);
	}
	close(fd);
}

static void last_request_without_newline(void **state)
{
	int fd = client();
	char text[128];

	snprintf(text, sizeof(text), VERSION, 9);
	say(fd, text, strlen(text));
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	hear_id(fd, 9);
	assert_null(hear(fd));
	close(fd);
}

static char *long_request(size_t len)
{
	char *text = malloc(len + 1), end[128];

	assert_non_null(text);
	snprintf(end, sizeof(end), VERSION, 3);
	memset(text, ' ', len);
	memcpy(text + len - strlen(end), end, strlen(end));
	text[len] = '\n';
	return text;
}

static void longest_request(void **state)
{
	char *text = long_request(RPC_MAX_LINE);
	int fd = client();

	say(fd, text, RPC_MAX_LINE + 1);
	hear_id(fd, 3);
	served(fd, 4);
	close(fd);
	free(text);
}

static void too_long_request(void **state)
{
	char *text = long_request(RPC_MAX_LINE + 1);
	int fd = client();

	say(fd, text, RPC_MAX_LINE + 1); /* no newline yet, and no need to see more */
	is_error(hear(fd), RPC_INVALID_REQUEST, "1048576");
	assert_null(hear(fd));
	close(fd);
	free(text);
}

/* ---- answers that take more than a turn ---- */

#define DRAIN                                                                 \
	"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"path.drain\",\"params\":" \
	"{\"path\":\"up1/1\"}}\n"

static void answer_comes_later(void **state)
{
	int fd = client();
	json_t *answer;

	say(fd, DRAIN STATUS, strlen(DRAIN STATUS));
	answer = hear(fd);
	assert_int_equal(number_of(answer, "id"), 7);
	assert_int_equal(number_of(json_object_get(answer, "result"), "left"), 0);
	assert_string_equal(text_of(json_object_get(answer, "result"), "admin"), "disabled");
	json_decref(answer);
	answer = hear(fd); /* in order */
	assert_int_equal(number_of(answer, "id"), 1);
	json_decref(answer);
	close(fd);
}

static void client_goes_before_its_answer(void **state)
{
	int fd = client(), other = client();

	say(fd, DRAIN, strlen(DRAIN));
	close(fd);
	gw_spin(50);
	served(other, 1);
	close(other);
}

static void without_a_file(void **state)
{
	is_error(ask("config.show", "{}"), RPC_REFUSED, "no configuration file");
	is_error(ask("config.apply", "{}"), RPC_REFUSED, "no configuration file");
	is_error(ask("config.save", "{}"), RPC_REFUSED, "no configuration file");
	is_error(ask("host.allow", "{\"host\":\"x\"}"), RPC_REFUSED, "no configuration file");
	is_error(ask("upstream.remove", "{\"upstream\":\"x\"}"), RPC_NOT_FOUND, "upstream list");
	is_error(ask("upstream.add", "{\"settings\":1}"), RPC_INVALID_PARAMS, "must be an object");
	is_error(ask("upstream.add", "{}"), RPC_INVALID_PARAMS, "missing");
	is_error(ask("controller.show", "{\"controller\":1e99}"), RPC_INVALID_PARAMS, "65535");
	is_error(ask("controller.show", "{\"controller\":1}"), RPC_NOT_FOUND, "controller list");
}

static void client_that_vanishes(void **state)
{
	int fd = client(), other = client();

	say(fd, STATUS STATUS STATUS "{\"jsonrpc\"", 3 * strlen(STATUS) + 10);
	close(fd);
	gw_spin(20);
	served(other, 1);
	close(other);
}

/* Asks until nothing more is taken from it. */
static size_t flood(int fd)
{
	size_t len = 0;

	for (unsigned idle = 0; idle < 100;) {
		ssize_t n = send(fd, STATUS, strlen(STATUS), MSG_NOSIGNAL);

		/* A request in part is the last one. */
		if (n > 0)
			len += (size_t)n;
		idle = n > 0 ? 0 : idle + 1;
		assert_true(len < 64u << 20);
		gw_spin(1);
	}
	return len;
}

/* Nothing more is read of a client that does not read, and all of it is answered when it does. */
static void slow_reader_is_not_read(void **state)
{
	int fd = client(), other = client();
	size_t n = flood(fd) / strlen(STATUS);

	served(other, 1);
	while (n--)
		hear_id(fd, 1);
	close(fd);
	close(other);
}

static void reader_that_stalls_is_dropped(void **state)
{
	uint64_t begun = loop_now_exact(gw->control), took;
	int fd = client(), err;

	flood(fd);
	/* Its socket tells: nothing can be written to a peer that has gone. */
	do {
		err = send(fd, "x", 1, MSG_NOSIGNAL) < 0 ? errno : 0;
		gw_spin(1);
		usleep(1000);
		took = loop_now_exact(gw->control) - begun;
	} while (err != EPIPE && took < 30 * NSEC_PER_SEC);
	assert_int_equal(err, EPIPE);
	assert_true(took >= RPC_STALL_MS * NSEC_PER_MSEC);
	close(fd);
}

static void quietest_connection_makes_room(void **state)
{
	int fds[RPC_MAX_CONNECTIONS + 1];

	for (unsigned i = 0; i < RPC_MAX_CONNECTIONS; i++) {
		fds[i] = client();
		served(fds[i], (int)i);
	}
	served(fds[0], 0); /* so that the second one has been quiet for longest */
	fds[RPC_MAX_CONNECTIONS] = client();
	served(fds[RPC_MAX_CONNECTIONS], 1);
	assert_null(hear(fds[1]));
	for (unsigned i = 0; i <= RPC_MAX_CONNECTIONS; i++) {
		if (i != 1)
			served(fds[i], 2);
		close(fds[i]);
	}
}

static void ends_with_clients_connected(void **state)
{
	int fd = client(), half = client(), fresh = client();

	flood(fd);
	say(half, "{", 1);
	gw_end();
	close(fd);
	close(half);
	close(fresh);
	gw_start(2);
}

/* ---- its place ---- */

static void is_for_owner_and_group(void **state)
{
	struct stat st;

	assert_int_equal(stat(socket_path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0660);
}

static void live_daemon_keeps_its_socket(void **state)
{
	int fd;

	assert_null(rpc_open(gw, socket_path));
	gw_spin(5);
	fd = client();
	served(fd, 1);
	close(fd);
}

static void dead_daemon_does_not(void **state)
{
	char path[80];
	struct sockaddr_un name;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct rpc *rpc;

	snprintf(path, sizeof(path), "%s/stale", folder);
	name = name_of(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	close(fd);
	rpc = rpc_open(gw, path);
	assert_non_null(rpc);
	rpc_close(rpc);
	assert_int_equal(access(path, F_OK), -1);
}

static void other_files_are_left_alone(void **state)
{
	char path[80], longer[200];
	struct rpc *rpc;
	int fd;

	snprintf(path, sizeof(path), "%s/file", folder);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_null(rpc_open(gw, path));
	assert_int_equal(unlink(path), 0);
	rpc = rpc_open(gw, path);
	assert_non_null(rpc);
	/* What somebody else put in its place is not removed. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	rpc_close(rpc);
	assert_int_equal(rmdir(path), 0);
	close(fd);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	assert_null(rpc_open(gw, longer));
	assert_null(rpc_open(gw, "/proc/no/such/folder/control.sock"));
}

int main(void)
{
#define T(f)		cmocka_unit_test_setup_teardown(f, setup, teardown)
#define T_WITH(f, with) cmocka_unit_test_setup_teardown(f, with, teardown)
	const struct CMUnitTest tests[] = {
		T(parse_errors),
		T(deep_nesting_is_refused),
		T(invalid_requests),
		T(unknown_methods),
		T(parameters_are_checked),
		T(numbers_are_checked),
		T(every_method_has_schemas),
		T(methods_are_listed),
		T(words_are_known),
		T(logging_is_set),
		T(id_comes_back),
		T(notifications_get_no_answer),
		T(paths_are_listed),
		T_WITH(upstreams_without_paths_are_listed, setup_upstreams),
		T(admin_state_of_paths),
		T(time_is_that_of_the_state),
		T(weights_of_paths),
		T_WITH(same_path_in_two_subsystems, setup_two),
		T_WITH(policies_of_two_subsystems, setup_two),
		T(policies_are_set),
		T(namespaces_are_listed),
		T(one_namespace_is_shown),
		T(latencies_are_shown),
		T_WITH(flapping_is_shown_and_forgotten, setup_flapping),
		T_WITH(reset_connects_at_once, setup_patient),
		T(lost_writes_are_shown),
		T(controllers_are_listed),
		T(hostile_names_are_shown_safely),
		T(status_is_shown),
		T(status_has_upstreams),
		T(half_requests),
		T(many_in_one_write),
		T(last_request_without_newline),
		T(longest_request),
		T(too_long_request),
		T(answer_comes_later),
		T(client_goes_before_its_answer),
		T(without_a_file),
		T(client_that_vanishes),
		T(slow_reader_is_not_read),
		T(reader_that_stalls_is_dropped),
		T(quietest_connection_makes_room),
		T(ends_with_clients_connected),
		T(is_for_owner_and_group),
		T(live_daemon_keeps_its_socket),
		T(dead_daemon_does_not),
		T(other_files_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
