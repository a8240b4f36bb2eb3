/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes of an admin's over the control socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/rpc_io.h"
#include "gateway/rpc_schema.h"
#include "gateway/schema.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/fake_upstream.h"
#include "tests/unit/rpc_client.h"

#define VERSION "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"version\"}\n"

static char folder[64], socket_path[100];
static int fd;

static int setup(void **state)
{
	gw_defaults();
	strcpy(folder, "/tmp/test_rpc_io.XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(socket_path, sizeof(socket_path), "%s/control.sock", folder);
	strcpy(gw_cfg.control_socket, socket_path);
	gw_start(2);
	gw_cfg.admin_writes = true;
	fd = client_of(socket_path);
	return 0;
}

static int teardown(void **state)
{
	if (fd >= 0)
		close(fd);
	gw_cfg.admin_writes = false;
	gw_end();
	assert_int_equal(rmdir(folder), 0);
	return 0;
}

static void ask(const char *method, const char *more)
{
	char text[1024];

	snprintf(
		text, sizeof(text),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":{\"namespace\":%u%s}}\n",
		method, gw_nsid(), more);
	say(fd, text, strlen(text));
}

/* The caller's. */
static json_t *result_of(const char *method, const char *more)
{
	json_t *answer, *result;
	char problem[512];

	ask(method, more);
	answer = hear(fd);
	result = json_incref(json_object_get(answer, "result"));
	if (!result)
		fail_msg("%s", json_string_value(json_object_get(json_object_get(answer, "error"),
								 "message")));
	if (!schema_fits(json_object_get(rpc_schema(method), "result"), result, method, problem,
			 sizeof(problem)))
		fail_msg("%s", problem);
	json_decref(answer);
	return result;
}

static void is_error(json_t *answer, int code, const char *part)
{
	const char *message = "";
	int got = 0;

	json_unpack(answer, "{s:{s:i, s:s}}", "error", "code", &got, "message", &message);
	assert_int_equal(got, code);
	if (!strstr(message, part))
		fail_msg("\"%s\" does not say \"%s\"", message, part);
	json_decref(answer);
}

static void refused(const char *method, const char *more, int code, const char *part)
{
	ask(method, more);
	is_error(hear(fd), code, part);
}

static json_int_t number_of(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* ---- reading ---- */

static void a_block_is_read(void **state)
{
	json_t *r = result_of("io.read", ",\"lba\":5");

	assert_int_equal(fake_ctrls[1].reads + fake_ctrls[2].reads, 1);
	assert_int_equal(number_of(r, "lba"), 5);
	assert_int_equal(number_of(r, "blocks"), 1);
	assert_int_equal(number_of(r, "block_size"), 512);
	assert_int_equal(strlen(text_of(r, "data")), 684);
	assert_string_equal(text_of(r, "path"), fake_ctrls[1].reads ? "up1/1" : "up2/1");
	assert_int_equal(fake_ctrls[fake_ctrls[1].reads ? 1 : 2].last_slba, 5);
	json_decref(r);
}

static void over_one_path(void **state)
{
	for (unsigned port = 1; port <= 2; port++) {
		char more[64];
		json_t *r;

		snprintf(more, sizeof(more), ",\"lba\":1,\"blocks\":128,\"path\":\"up%u/1\"", port);
		r = result_of("io.read", more);
		assert_int_equal(fake_ctrls[port].reads, 1);
		assert_int_equal(number_of(r, "blocks"), 128);
		json_decref(r);
	}
}

/* How a path ranks does not matter, whether it is there does. */
static void over_a_path_that_hosts_do_not_use(void **state)
{
	static const char disable[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"path.disable\","
				      "\"params\":{\"path\":\"up1/1\"}}\n";

	say(fd, disable, strlen(disable));
	json_decref(hear(fd));
	json_decref(result_of("io.read", ",\"lba\":1,\"path\":\"up1/1\""));
	fake_ctrls[1].down = true;
	fake_cut(1);
	gw_spin(100);
	refused("io.read", ",\"lba\":1,\"path\":\"up1/1\"", RPC_REFUSED, "not connected");
	json_decref(result_of("io.read", ",\"lba\":1"));
}

static void what_is_refused(void **state)
{
	char more[64];

	snprintf(more, sizeof(more), ",\"lba\":%llu,\"blocks\":2",
		 (unsigned long long)fake_ctrls[1].ns[1].nsze - 1);
	refused("io.read", more, RPC_REFUSED, "ends before");
	refused("io.read", ",\"lba\":9007199254740991", RPC_REFUSED, "ends before");
	refused("io.read", ",\"lba\":1,\"blocks\":129", RPC_INVALID_PARAMS, "128");
	refused("io.read", ",\"lba\":1,\"path\":\"up9/1\"", RPC_NOT_FOUND, "up9/1");
	refused("io.read", "", RPC_INVALID_PARAMS, "lba");
}

static void errors_are_told(void **state)
{
	fake_ctrls[1].io_status = fake_ctrls[2].io_status =
		NVME_STATUS(2, NVME_SC_READ_ERROR) | NVME_DNR;
	refused("io.read", ",\"lba\":1", RPC_FAILED, "Unrecovered Read Error");
	refused("io.read", ",\"lba\":1,\"path\":\"up2/1\"", RPC_FAILED, "0x281");
}

/* ---- answers that take a while ---- */

static void others_do_not_wait(void **state)
{
	int other = client_of(socket_path);
	json_t *answer;

	fake_ctrls[1].stuck = fake_ctrls[2].stuck = true;
	ask("io.read", ",\"lba\":1");
	say(fd, VERSION, strlen(VERSION)); /* of the same connection: in order */
	say(other, VERSION, strlen(VERSION));
	json_decref(hear(other));
	fake_ctrls[1].stuck = fake_ctrls[2].stuck = false;
	fake_look(1);
	fake_look(2);
	answer = hear(fd);
	assert_int_equal(number_of(answer, "id"), 1);
	assert_non_null(json_object_get(answer, "result"));
	json_decref(answer);
	answer = hear(fd);
	assert_int_equal(number_of(answer, "id"), 9);
	json_decref(answer);
	close(other);
}

static void events_come_meanwhile(void **state)
{
	static const char subscribe[] =
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"events.subscribe\"}\n";
	json_t *line;

	say(fd, subscribe, strlen(subscribe));
	json_decref(hear(fd));
	fake_ctrls[1].stuck = fake_ctrls[2].stuck = true;
	ask("io.read", ",\"lba\":1");
	gw_spin(10);
	host_close(host_controller(FAKE_GW_NQN));
	for (unsigned i = 0; i < 2; i++) {
		line = hear(fd);
		assert_string_equal(text_of(line, "method"), "event");
		json_decref(line);
	}
	fake_ctrls[1].stuck = fake_ctrls[2].stuck = false;
	fake_look(1);
	fake_look(2);
	line = hear(fd);
	assert_int_equal(number_of(line, "id"), 1);
	json_decref(line);
}

/* Its command goes on, and its answer to nobody. */
static void client_that_vanishes(void **state)
{
	fake_ctrls[1].stuck = fake_ctrls[2].stuck = true;
	for (unsigned i = 0; i < RPC_IO_MAX_OUT; i++) {
		ask("io.read", ",\"lba\":1");
		close(fd);
		fd = client_of(socket_path);
		gw_spin(10);
	}
	refused("io.read", ",\"lba\":1", RPC_REFUSED, "8 commands");
	fake_ctrls[1].stuck = fake_ctrls[2].stuck = false;
	fake_look(1);
	fake_look(2);
	gw_spin(20);
	json_decref(result_of("io.read", ",\"lba\":1"));
}

static void daemon_that_ends(void **state)
{
	fake_ctrls[1].latency = fake_ctrls[2].latency = NSEC_PER_MSEC;
	ask("io.read", ",\"lba\":1");
	gw_end();
	close(fd);
	fd = -1;
	gw_start(2);
}

/* Over one path that goes, and whose namespace goes with it. */
static void path_that_goes(void **state)
{
	fake_ctrls[1].stuck = true;
	ask("io.read", ",\"lba\":1,\"path\":\"up1/1\"");
	gw_spin(10);
	fake_ctrls[1].ns[1].present = fake_ctrls[2].ns[1].present = false;
	fake_notice(1, NVME_AER_NOTICE_NS_CHANGED);
	fake_notice(2, NVME_AER_NOTICE_NS_CHANGED);
	gw_spin(100);
	fake_cut(1);
	is_error(hear(fd), RPC_FAILED, "ost");
}

static void asked_without_an_id(void **state)
{
	char text[256];

	snprintf(text, sizeof(text),
		 "{\"jsonrpc\":\"2.0\",\"method\":\"io.read\",\"params\":{\"namespace\":%u,"
		 "\"lba\":1}}\n" VERSION,
		 gw_nsid());
	say(fd, text, strlen(text));
	json_decref(hear(fd)); /* that of version */
	assert_int_equal(fake_ctrls[1].reads + fake_ctrls[2].reads, 1);
}

/* ---- writing ---- */

/* So many blocks of zeros, as a parameter. */
static const char *blocks(unsigned n, unsigned bytes_more)
{
	static char text[1024];
	unsigned bytes = n * 512 + bytes_more, groups = bytes / 3, rest = bytes % 3;
	char *end = text + sprintf(text, ",\"lba\":7,\"data\":\"");

	for (unsigned i = 0; i < groups; i++)
		end += sprintf(end, "AAAA");
	if (rest)
		end += sprintf(end, rest == 1 ? "AA==" : "AAA=");
	sprintf(end, "\"");
	return text;
}

static void a_block_is_written(void **state)
{
	json_t *r = result_of("io.write", blocks(1, 0));

	assert_int_equal(fake_ctrls[1].writes + fake_ctrls[2].writes, 1);
	assert_int_equal(number_of(r, "lba"), 7);
	assert_int_equal(number_of(r, "blocks"), 1);
	assert_null(json_object_get(r, "data"));
	json_decref(r);
}

static void writes_are_guarded(void **state)
{
	refused("io.write", blocks(1, 1), RPC_REFUSED, "whole blocks");
	refused("io.write", blocks(0, 100), RPC_REFUSED, "whole blocks");
	refused("io.write", ",\"lba\":7,\"data\":\"!!!!\"", RPC_REFUSED, "base 64");
	refused("io.write", ",\"lba\":7,\"data\":\"====\"", RPC_REFUSED, "base 64");
	gw_cfg.admin_writes = false;
	refused("io.write", blocks(1, 0), RPC_REFUSED, "admin_writes");
	assert_int_equal(fake_ctrls[1].writes + fake_ctrls[2].writes, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_block_is_read),
		T(over_one_path),
		T(over_a_path_that_hosts_do_not_use),
		T(what_is_refused),
		T(errors_are_told),
		T(others_do_not_wait),
		T(events_come_meanwhile),
		T(client_that_vanishes),
		T(daemon_that_ends),
		T(path_that_goes),
		T(asked_without_an_id),
		T(a_block_is_written),
		T(writes_are_guarded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
