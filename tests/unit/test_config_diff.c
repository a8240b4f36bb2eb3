/* SPDX-License-Identifier: Apache-2.0 */
/* What one configuration changes of another, and what it takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/config_diff.h"
#include "gateway/config_parts.h"
#include "multipath/control.h"
#include "tests/unit/config_try.h"

#define ROOM 4096u

static struct gw_config *parse(const char *text)
{
	char *said = NULL;
	size_t size;
	FILE *err = open_memstream(&said, &size);
	struct gw_config *cfg = config_parse("test", text, strlen(text), err);

	fclose(err);
	if (!cfg)
		fail_msg("%s: %s", text, said);
	free(said);
	return cfg;
}

/* Each change a line: "+ what name", "~ what name key=takes key=takes". */
static char *lines_of(const json_t *changes)
{
	char *text = NULL;
	const json_t *c, *k;
	size_t size, i, n;
	FILE *out = open_memstream(&text, &size);

	json_array_foreach((json_t *)changes, i, c) {
		const char *change = json_string_value(json_object_get(c, "change"));
		const char *name = json_string_value(json_object_get(c, "name"));

		fprintf(out, "%c %s %s",
			change[0] == 'a'   ? '+'
			: change[0] == 'r' ? '-'
					   : '~',
			json_string_value(json_object_get(c, "what")), name ? name : "*");
		json_array_foreach(json_object_get(c, "keys"), n, k)
			fprintf(out, " %s=%s", json_string_value(json_object_get(k, "key")),
				json_string_value(json_object_get(k, "takes")));
		fputc('\n', out);
	}
	fclose(out);
	return text;
}

static void changes(const char *was_text, const char *is_text, unsigned room, const char *lines,
		    bool restart)
{
	struct gw_config *was = parse(was_text), *is = parse(is_text);
	struct config_diff d;
	char *got;

	config_diff(was, is, room, &d);
	got = lines_of(d.changes);
	if (strcmp(got, lines) || d.restart != restart)
		fail_msg("%s:\n%sexpected:\n%s", is_text, got, lines);
	free(got);
	json_decref(d.changes);
	config_free(was);
	config_free(is);
}

/* ---- one key at a time ---- */

static const struct {
	enum try_place place;
	const char *key, *value;
	const char *line;
} keys[] = {
	{TRY_TOP, "workers", "63", "~ daemon * workers=a restart\n"},
	{TRY_TOP, "pin", "false", "~ daemon * pin=a restart\n"},
	{TRY_TOP, "memory_mib", "65", "~ daemon * memory_mib=a restart\n"},
	{TRY_TOP, "state_dir", "\"/x\"", "~ daemon * state_dir=a restart\n"},
	{TRY_TOP, "control_socket", "\"/x\"", "~ daemon * control_socket=a restart\n"},
	{TRY_TOP, "http", "{}", "~ daemon * http=a restart\n"},
	{TRY_TOP, "log_level", "\"debug\"", "~ daemon * log_level=nothing\n"},
	{TRY_TOP, "log_level", "\"info\"", ""},
	{TRY_LISTENER, "trsvcid", "4421",
	 "- listener tcp/127.0.0.1:4420\n+ listener tcp/127.0.0.1:4421\n"},
	{TRY_LISTENER, "trsvcid", "\"4420\"", ""},
	{TRY_LISTENER, "data_digest", "false",
	 "~ listener tcp/127.0.0.1:4420 data_digest=nothing\n"},
	{TRY_LISTENER, "in_capsule_data", "16384",
	 "~ listener tcp/127.0.0.1:4420 in_capsule_data=nothing\n"},
	{TRY_SUBSYSTEM, "serial", "\"x\"", "~ subsystem " TRY_NQN " serial=a restart\n"},
	{TRY_SUBSYSTEM, "identity", "\"derived\"", "~ subsystem " TRY_NQN " identity=a restart\n"},
	{TRY_SUBSYSTEM, "queue_size", "64", "~ subsystem " TRY_NQN " queue_size=a restart\n"},
	{TRY_SUBSYSTEM, "policy", "\"numa\"", "~ subsystem " TRY_NQN " policy=nothing\n"},
	{TRY_SUBSYSTEM, "policy", "\"failover\"", ""},
	{TRY_SUBSYSTEM, "no_path_timeout", "0.5",
	 "~ subsystem " TRY_NQN " no_path_timeout=nothing\n"},
	{TRY_SUBSYSTEM, "write_retry", "\"quiesce\"",
	 "~ subsystem " TRY_NQN " write_retry=nothing\n"},
	{TRY_SUBSYSTEM, "allowed_hosts", "[\"" TRY_ARRAY "\"]",
	 "~ subsystem " TRY_NQN " allow_any_host=nothing\n+ host " TRY_ARRAY "\n"},
	{TRY_SUBSYSTEM, "namespaces", "[{\"eui64\": \"0000000000000001\", \"policy\": \"numa\"}]",
	 "~ subsystem " TRY_NQN " export_all=nothing\n+ namespace eui.0000000000000001\n"},
	{TRY_SUBSYSTEM, "paths", "[{\"path\": \"a/1\", \"weight\": 3, \"admin\": \"standby\"}]",
	 "~ path a/1 admin=nothing weight=nothing\n"},
	{TRY_SUBSYSTEM, "paths", "[{\"path\": \"a/1\"}]", ""},
	{TRY_TCP, "name", "\"x\"", "- upstream 192.0.2.1:4420\n+ upstream x\n"},
	{TRY_TCP, "weight", "2", "~ upstream 192.0.2.1:4420 weight=nothing\n"},
	{TRY_TCP, "enabled", "false", "~ upstream 192.0.2.1:4420 enabled=nothing\n"},
	{TRY_TCP, "reconnect_delay", "1", "~ upstream 192.0.2.1:4420 reconnect_delay=nothing\n"},
	{TRY_TCP, "reconnect_delay", "2.0", ""},
	{TRY_TCP, "ctrl_loss_tmo", "1", "~ upstream 192.0.2.1:4420 ctrl_loss_tmo=nothing\n"},
	{TRY_TCP, "fast_io_fail_tmo", "1", "~ upstream 192.0.2.1:4420 fast_io_fail_tmo=nothing\n"},
	{TRY_TCP, "connect_timeout", "1", "~ upstream 192.0.2.1:4420 connect_timeout=nothing\n"},
	{TRY_TCP, "keep_alive_tmo", "1", "~ upstream 192.0.2.1:4420 keep_alive_tmo=a reconnect\n"},
	{TRY_TCP, "queue_size", "64", "~ upstream 192.0.2.1:4420 queue_size=a reconnect\n"},
	{TRY_TCP, "io_timeout", "1", "~ upstream 192.0.2.1:4420 io_timeout=a reconnect\n"},
	{TRY_TCP, "nr_io_queues", "7", "~ upstream 192.0.2.1:4420 nr_io_queues=a reconnect\n"},
	{TRY_TCP, "hostnqn", "\"nqn.2014-08.org.example:h\"",
	 "~ upstream 192.0.2.1:4420 hostnqn=a reconnect hostid=a reconnect\n"},
	{TRY_TCP, "hostid", "\"00000000000000000000000000000001\"",
	 "~ upstream 192.0.2.1:4420 hostid=a reconnect\n"},
	{TRY_TOP, "hostid", "\"00000000000000000000000000000001\"",
	 "~ daemon * hostid=nothing\n~ upstream 192.0.2.1:4420 hostid=a reconnect\n"},
	{TRY_TCP, "hdr_digest", "true", "~ upstream 192.0.2.1:4420 hdr_digest=a reconnect\n"},
	{TRY_TCP, "host_traddr", "\"192.0.2.9\"",
	 "~ upstream 192.0.2.1:4420 host_traddr=a reconnect\n"},
	{TRY_TCP, "discovery", "true", "- upstream 192.0.2.1:4420\n+ upstream 192.0.2.1:8009\n"},
	{TRY_FILE, "weight", "2", "~ upstream disk weight=nothing\n"},
	{TRY_FILE, "io_timeout", "2", "~ upstream disk io_timeout=a reconnect\n"},
	{TRY_FILE, "size", "\"1MiB\"", "~ upstream disk size=a restart\n"},
	{TRY_FILE, "read_only", "true", "~ upstream disk read_only=a restart\n"},
};

static void test_keys(void **state)
{
	char *plain = try_with(TRY_TOP, NULL, NULL);

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		char *text = try_with(keys[i].place, keys[i].key, keys[i].value);

		changes(plain, text, ROOM, keys[i].line, strstr(keys[i].line, "=a restart"));
		free(text);
	}
	free(plain);
}

/* The engine decides for itself when an upstream has to be connected anew; it must say the same. */
static void test_engine_agrees(void **state)
{
	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		char *plain = try_with(TRY_TOP, NULL, NULL), *text;
		struct gw_config *was = parse(plain), *is;
		struct upstream up = {.cfg = was->subsystems[0].upstreams[0].mp};

		text = try_with(keys[i].place, keys[i].key, keys[i].value);
		is = parse(text);
		if (keys[i].place == TRY_TCP && keys[i].line[0] == '~')
			assert_int_equal(
				upstream_must_reconnect(&up, &is->subsystems[0].upstreams[0].mp),
				strstr(keys[i].line, "=a reconnect") != NULL);
		free(plain);
		free(text);
		config_free(was);
		config_free(is);
	}
}

/* Of the keys that upstreams over TCP do not have. */
static void test_engine_agrees_of_rdma(void **state)
{
	static const char text[] =
		"{\"listeners\": [{\"transport\": \"rdma\", \"traddr\": "
		"\"192.0.2.9\"}], \"subsystems\": [{\"nqn\": \"" TRY_NQN
		"\", \"upstreams\": [{\"transport\": \"rdma\", \"nqn\": \"" TRY_ARRAY
		"\", \"traddr\": \"192.0.2.1\"%s}]}]}";
	char was_text[sizeof(text)], is_text[sizeof(text) + 32];
	struct gw_config *was, *is;
	struct upstream up = {0};

	snprintf(was_text, sizeof(was_text), text, "");
	snprintf(is_text, sizeof(is_text), text, ", \"register_always\": true");
	changes(was_text, is_text, ROOM, "~ upstream 192.0.2.1:4420 register_always=a reconnect\n",
		false);
	was = parse(was_text);
	is = parse(is_text);
	up.cfg = was->subsystems[0].upstreams[0].mp;
	assert_true(upstream_must_reconnect(&up, &is->subsystems[0].upstreams[0].mp));
	assert_false(upstream_must_reconnect(&up, &was->subsystems[0].upstreams[0].mp));
	config_free(was);
	config_free(is);
}

/* ---- lists ---- */

#define SS(nqn, more) "{\"nqn\": \"nqn.2014-08.org.example:" nqn "\", \"upstreams\": [" more "]}"
#define UP(name)      "{\"transport\": \"file\", \"path\": \"/" name "\", \"cntlid\": 1}"
#define LISTEN(port, more) \
	"{\"transport\": \"tcp\", \"traddr\": \"127.0.0.1\", \"trsvcid\": " port more "}"
#define CFG(listeners, subsystems) \
	"{\"listeners\": [" listeners "], \"subsystems\": [" subsystems "]}"
#define PLAIN CFG(LISTEN("1", ""), SS("a", UP("x") "," UP("y")))

static void test_lists(void **state)
{
	static const struct {
		const char *was, *is, *lines;
		bool restart;
	} cases[] = {
		{PLAIN, PLAIN, "", false},
		{PLAIN, CFG(LISTEN("1", ""), SS("a", UP("y") "," UP("x"))), "~ upstreams *\n",
		 false},
		{PLAIN, CFG(LISTEN("1", ""), SS("a", UP("x") "," UP("z") "," UP("y"))),
		 "+ upstream z\n", false},
		{PLAIN, CFG(LISTEN("1", ""), SS("a", UP("z") "," UP("y"))),
		 "- upstream x\n+ upstream z\n", false},
		{PLAIN, CFG(LISTEN("1", ""), SS("a", UP("x") "," UP("y")) "," SS("b", UP("x"))),
		 "+ subsystem nqn.2014-08.org.example:b\n", false},
		{PLAIN, CFG(LISTEN("1", ""), SS("b", UP("x"))),
		 "- subsystem nqn.2014-08.org.example:a\n+ subsystem nqn.2014-08.org.example:b\n",
		 false},
		{PLAIN, CFG(LISTEN("2", "") "," LISTEN("1", ""), SS("a", UP("x") "," UP("y"))),
		 "+ listener tcp/127.0.0.1:2\n", false},
		/* less in a capsule than hosts have been told that any listener takes */
		{PLAIN,
		 CFG(LISTEN("2", ", \"in_capsule_data\": 4096") "," LISTEN("1", ""),
		     SS("a", UP("x") "," UP("y"))),
		 "+ listener tcp/127.0.0.1:2\n", true},
		/* more connections than there is memory for */
		{PLAIN,
		 CFG(LISTEN("1", ", \"max_connections\": 5000"), SS("a", UP("x") "," UP("y"))),
		 "~ listener tcp/127.0.0.1:1 max_connections=nothing\n"
		 "~ daemon * max_connections=a restart\n",
		 true},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		changes(cases[i].was, cases[i].is, ROOM, cases[i].lines, cases[i].restart);
}

static void test_hosts(void **state)
{
	char *was = try_with(TRY_SUBSYSTEM, "allowed_hosts", "[\"h1\", \"h2\", \"h3\"]");
	char *is = try_with(TRY_SUBSYSTEM, "allowed_hosts", "[\"h4\", \"h3\", \"h1\"]");

	changes(was, is, ROOM, "- host h2\n+ host h4\n", false);
	free(was);
	free(is);
}

static void test_values(void **state)
{
	char *was_text = try_with(TRY_SUBSYSTEM, "no_path_timeout", "0.25");
	char *is_text = try_with(TRY_SUBSYSTEM, "persistent_loss", "3");
	struct gw_config *was = parse(was_text), *is = parse(is_text);
	struct config_diff d;
	char *got;

	config_diff(was, is, ROOM, &d);
	got = json_dumps(json_object_get(json_array_get(d.changes, 0), "keys"),
			 JSON_COMPACT | JSON_REAL_PRECISION(15));
	assert_string_equal(got, "[{\"key\":\"no_path_timeout\",\"from\":0.25,\"to\":20,\"takes\":"
				 "\"nothing\"},{\"key\":\"persistent_loss\",\"from\":-1,\"to\":3,"
				 "\"takes\":\"nothing\"}]");
	free(got);
	json_decref(d.changes);
	config_free(was);
	config_free(is);
	free(was_text);
	free(is_text);
}

#define T(f) cmocka_unit_test(f)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_keys),  T(test_engine_agrees), T(test_engine_agrees_of_rdma),
		T(test_lists), T(test_hosts),	      T(test_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
