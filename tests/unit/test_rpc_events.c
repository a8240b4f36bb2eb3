/* SPDX-License-Identifier: Apache-2.0 */
/* Events over the control socket: what is told, what is kept, and what a slow reader loses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/event_of.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/fake_upstream.h"
#include "tests/unit/rpc_client.h"

static char folder[64], socket_path[100];

static int setup(void **state)
{
	gw_defaults();
	strcpy(folder, "/tmp/test_rpc_events.XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(socket_path, sizeof(socket_path), "%s/control.sock", folder);
	strcpy(gw_cfg.control_socket, socket_path);
	gw_start(2);
	return 0;
}

static int teardown(void **state)
{
	gw_end();
	assert_int_equal(rmdir(folder), 0);
	return 0;
}

/* ---- a subscriber ---- */

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static json_int_t number_of(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

/* Its result, the caller's to free. */
static json_t *subscribe(int fd, const char *params)
{
	char text[256];
	json_t *answer, *result;

	snprintf(text, sizeof(text),
		 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"events.subscribe\",\"params\":%s}\n",
		 params);
	say(fd, text, strlen(text));
	answer = hear(fd);
	result = json_incref(json_object_get(answer, "result"));
	assert_non_null(result);
	json_decref(answer);
	return result;
}

static int subscriber(const char *params)
{
	int fd = client_of(socket_path);

	json_decref(subscribe(fd, params));
	return fd;
}

/* The next one of the type, the caller's. */
static json_t *event(int fd, const char *type)
{
	for (;;) {
		json_t *line = hear(fd), *params = json_incref(json_object_get(line, "params"));

		assert_string_equal(text_of(line, "method"), "event");
		json_decref(line);
		if (!strcmp(text_of(params, "type"), type))
			return params;
		json_decref(params);
	}
}

static void said(int fd, const char *type, const char *key, const char *value)
{
	json_t *e = event(fd, type);

	assert_string_equal(text_of(e, key), value);
	json_decref(e);
}

static void emit(unsigned n)
{
	while (n--)
		events_emit(gw->events, EVENT_POLICY_SET, event_of_policy(gw_ss, NULL));
}

/* ---- what is told ---- */

static void paths_and_upstreams(void **state)
{
	int fd = subscriber("{}");
	json_t *e;

	fake_cut(1);
	said(fd, "upstream.state", "state", "waiting to reconnect");
	e = event(fd, "path.down");
	assert_string_equal(text_of(e, "path"), "up1/1");
	assert_string_equal(text_of(e, "subsystem"), FAKE_GW_NQN);
	assert_string_equal(text_of(e, "state"), "down");
	assert_int_equal(number_of(e, "nsid"), gw_nsid());
	assert_string_not_equal(text_of(e, "reason"), "");
	json_decref(e);
	for (unsigned i = 0; gw_usable() < 2 && i < 10000; i++) {
		usleep(1000);
		gw_spin(1);
	}
	said(fd, "upstream.state", "state", "live");
	said(fd, "path.up", "path", "up1/1");
	close(fd);
}

static void ana(void **state)
{
	int fd = subscriber("{}");

	for (unsigned port = 1; port <= 2; port++) {
		fake_ctrls[port].ana_state = NVME_ANA_STATE_NONOPTIMIZED;
		fake_notice(port, NVME_AER_NOTICE_ANA);
	}
	said(fd, "path.ana", "ana_state", "non-optimized");
	said(fd, "path.rank", "state", "non-optimized");
	said(fd, "namespace.ana", "ana_state", "non-optimized");
	close(fd);
}

static void namespaces_come_and_go(void **state)
{
	int fd = subscriber("{}");
	json_t *e;

	for (unsigned port = 1; port <= 2; port++) {
		fake_ctrls[port].ns[1].nsze *= 2;
		fake_notice(port, NVME_AER_NOTICE_NS_CHANGED);
	}
	e = event(fd, "namespace.changed");
	assert_int_equal(number_of(e, "nsid"), gw_nsid());
	assert_int_equal(number_of(e, "blocks"), fake_ctrls[1].ns[1].nsze);
	json_decref(e);
	for (unsigned port = 1; port <= 2; port++) {
		fake_ctrls[port].ns[1].present = false;
		fake_notice(port, NVME_AER_NOTICE_NS_CHANGED);
	}
	said(fd, "path.removed", "path", "up1/1");
	json_decref(event(fd, "namespace.removed"));
	for (unsigned port = 1; port <= 2; port++) {
		fake_ctrls[port].ns[2] =
			(struct fake_ns){.present = true, .nsze = 1000, .uuid_fill = 9};
		fake_notice(port, NVME_AER_NOTICE_NS_CHANGED);
	}
	json_decref(event(fd, "namespace.added"));
	said(fd, "path.up", "path", "up1/2");
	close(fd);
}

static void hosts_come_and_go(void **state)
{
	int fd = subscriber("{}");
	struct tgt_qpair *host = host_controller(FAKE_GW_NQN);

	said(fd, "host.connected", "hostnqn", FAKE_HOSTNQN);
	host_close(host);
	said(fd, "host.disconnected", "subsystem", FAKE_GW_NQN);
	close(fd);
}

static void admins_are_told_of(void **state)
{
	static const char text[] =
		"{\"jsonrpc\":\"2.0\",\"method\":\"path.disable\",\"params\":{\"path\":\"up1/1\"}}\n"
		"{\"jsonrpc\":\"2.0\",\"method\":\"policy.set\",\"params\":{\"policy\":\"numa\"}}\n";
	int fd = subscriber("{}"), other = client_of(socket_path);

	say(other, text, strlen(text));
	said(fd, "path.admin", "admin", "disabled");
	said(fd, "policy.set", "policy", "numa");
	close(other);
	close(fd);
}

static void end_is_told(void **state)
{
	int fd = subscriber("{}");

	gw_end();
	json_decref(event(fd, "daemon.stop"));
	close(fd);
	gw_start(2);
}

static void numbered_and_dated(void **state)
{
	int fd = subscriber("{}");
	json_t *first, *second;
	unsigned n[7];

	emit(2);
	first = event(fd, "policy.set");
	second = event(fd, "policy.set");
	assert_int_equal(number_of(second, "seq"), number_of(first, "seq") + 1);
	assert_int_equal(sscanf(text_of(first, "time"), "%4u-%2u-%2uT%2u:%2u:%2u.%3uZ", &n[0],
				&n[1], &n[2], &n[3], &n[4], &n[5], &n[6]),
			 7);
	assert_int_equal(strlen(text_of(first, "time")), 24);
	json_decref(first);
	json_decref(second);
	close(fd);
}

/* ---- what is kept ---- */

static void last_ones_first(void **state)
{
	int fd = client_of(socket_path);
	json_t *result = subscribe(fd, "{\"last\":4096}"), *list, *first;

	list = json_object_get(result, "events");
	first = json_array_get(list, 0);
	assert_string_equal(text_of(first, "type"), "daemon.start");
	assert_int_equal(number_of(first, "seq"), 1);
	assert_int_equal(number_of(result, "next"), json_array_size(list) + 1);
	json_decref(result);
	close(fd);
	emit(3);
	fd = client_of(socket_path);
	result = subscribe(fd, "{\"last\":2}");
	list = json_object_get(result, "events");
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(text_of(json_array_get(list, 1), "type"), "policy.set");
	json_decref(result);
	close(fd);
}

/* What it has not taken when its place is needed is lost, and it is told how much that is. */
static void slow_reader_loses_some(void **state)
{
	int fd = subscriber("{}"), other = subscriber("{}");
	uint64_t lost = 0, got = 0, emitted = 0, seq = 0;

	for (unsigned i = 0; i < 20; i++) {
		emit(EVENTS_KEPT / 2);
		emitted += EVENTS_KEPT / 2;
		for (unsigned n = 0; n < EVENTS_KEPT / 2; n++)
			json_decref(event(other, "policy.set"));
	}
	while (lost + got < emitted) {
		json_t *line = hear(fd), *params = json_object_get(line, "params");

		if (!strcmp(text_of(line, "method"), "events.lost")) {
			lost += (uint64_t)number_of(params, "lost");
			seq += (uint64_t)number_of(params, "lost");
		} else {
			assert_true(!seq || (uint64_t)number_of(params, "seq") == seq + 1);
			seq = (uint64_t)number_of(params, "seq");
			got++;
		}
		json_decref(line);
	}
	assert_true(lost > 0);
	assert_int_equal(lost + got, emitted);
	close(fd);
	close(other);
}

/* What is not asked for is not told, and not lost either. */
static void types_that_are_wanted(void **state)
{
	int fd = subscriber("{\"types\":[\"host\",\"path.admin\"]}"), other;
	json_t *line, *result;

	emit(3 * EVENTS_KEPT);
	host_close(host_controller(FAKE_GW_NQN));
	line = hear(fd);
	assert_string_equal(text_of(json_object_get(line, "params"), "type"), "host.connected");
	json_decref(line);
	line = hear(fd);
	assert_string_equal(text_of(json_object_get(line, "params"), "type"), "host.disconnected");
	json_decref(line);
	emit(5);
	other = client_of(socket_path);
	result = subscribe(other, "{\"types\":[\"host.connected\"],\"last\":10}");
	assert_int_equal(json_array_size(json_object_get(result, "events")), 1);
	json_decref(result);
	close(fd);
	close(other);
}

/* A subscriber may go on asking, and hears answers and events, each whole. */
static void subscriber_asks_too(void **state)
{
	static const char text[] = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"version\"}\n";
	int fd = subscriber("{}"), answers = 0, events = 0;

	for (unsigned i = 0; i < 10; i++) {
		emit(100);
		say(fd, text, strlen(text));
	}
	while (answers < 10 || events < 1000) {
		json_t *line = hear(fd);

		answers += number_of(line, "id") == 7;
		events += !strcmp(text_of(line, "method"), "event");
		json_decref(line);
	}
	close(fd);
}

static void subscriber_that_vanishes(void **state)
{
	int fd = subscriber("{}"), other = subscriber("{}");

	close(fd);
	emit(3 * EVENTS_KEPT);
	gw_spin(100);
	emit(1);
	close(other);
	gw_spin(100);
	emit(1);
}

static void types_by_name(void **state)
{
	assert_int_equal(events_named("path.up"), 1u << EVENT_PATH_UP);
	assert_int_equal(events_named("host"),
			 1u << EVENT_HOST_CONNECTED | 1u << EVENT_HOST_DISCONNECTED);
	assert_int_equal(events_named("pat"), 0);
	assert_int_equal(events_named("path.upper"), 0);
	assert_int_equal(events_named(""), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(paths_and_upstreams),	   T(ana),
		T(namespaces_come_and_go), T(hosts_come_and_go),
		T(admins_are_told_of),	   T(end_is_told),
		T(numbered_and_dated),	   T(last_ones_first),
		T(slow_reader_loses_some), T(types_that_are_wanted),
		T(subscriber_asks_too),	   T(subscriber_that_vanishes),
		T(types_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
