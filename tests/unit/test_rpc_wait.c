/* SPDX-License-Identifier: Apache-2.0 */
/* Methods that are answered when what they ask for has taken effect, or their time is over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "gateway/rpc_answer.h"
#include "gateway/rpc_methods.h"
#include "gateway/rpc_wait.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/fake_upstream.h"

#define TICK_US 200
/* It is looked every 10 ms: so many ticks are several looks. */
#define TICKS	 250
#define PATIENCE 10000

/* ---- instead of libc's ---- */

static _Atomic uint64_t skew; /* ns that have passed without anybody waiting */

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int r = (int)syscall(SYS_clock_gettime, id, ts);

	ts->tv_sec += (time_t)(atomic_load(&skew) / NSEC_PER_SEC);
	return r;
}

/* ---- one question ---- */

static json_t *answer; /* NULL: there is none yet */

static int setup(void **state)
{
	atomic_store(&skew, 0);
	gw_defaults();
	for (unsigned i = 0; i < 2; i++) {
		gw_upstream_cfg[i].mp.reconnect_delay = 3600 * NSEC_PER_SEC;
		gw_upstream_cfg[i].mp.connect_timeout = 3600 * NSEC_PER_SEC;
	}
	gw_start(2);
	return 0;
}

static int teardown(void **state)
{
	gw_end();
	json_decref(answer);
	answer = NULL;
	return 0;
}

static void on_answered(void *arg, json_t *a)
{
	json_decref(answer); /* of one before */
	answer = a;
}

static void ask(const char *method, const char *params)
{
	struct rpc_caller caller = {.gw = gw};
	struct rpc_later *later;
	char text[256];
	int len = snprintf(text, sizeof(text),
			   "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}", method,
			   params);

	json_decref(answer);
	answer = rpc_answer(&caller, text, (size_t)len, &later);
	if (later)
		later->answered = on_answered;
}

/* Time passes, and not a sign of the worker. */
static void worker_stalls(void)
{
	for (unsigned i = 0; i < TICKS; i++) {
		loop_turn(gw->control, false);
		usleep(TICK_US);
	}
}

static void stalls_for(unsigned seconds)
{
	atomic_fetch_add(&skew, seconds * NSEC_PER_SEC);
	worker_stalls();
}

static const json_t *result(void)
{
	for (unsigned i = 0; i < PATIENCE && !answer; i++) {
		gw_spin(1);
		usleep(TICK_US);
	}
	assert_non_null(json_object_get(answer, "result"));
	return json_object_get(answer, "result");
}

static void says(const char *key, const char *text)
{
	assert_string_equal(json_string_value(json_object_get(result(), key)), text);
}

static void disconnect(void)
{
	upstream_disconnect(upstream_find(gw_ss->mp, "up1"));
	gw_spin(20);
	assert_int_equal(gw_usable(), 1);
}

/* ---- upstreams ---- */

static void connected_upstream_is_in_use(void **state)
{
	disconnect();
	ask("upstream.connect", "{\"upstream\":\"up1\"}");
	worker_stalls();
	assert_null(answer);
	says("state", "live");
	assert_int_equal(json_integer_value(json_object_get(result(), "usable_paths")), 1);
	assert_int_equal(gw_usable(), 2);
	/* And when it is, that is known at once. */
	ask("upstream.connect", "{\"upstream\":\"up1\"}");
	assert_non_null(answer);
	says("state", "live");
}

static void reset_path_is_in_use(void **state)
{
	ask("path.reset", "{\"path\":\"up1/1\"}");
	worker_stalls();
	assert_null(answer);
	says("path", "up1/1");
	says("upstream_state", "live");
	says("state", "optimized");
	assert_int_equal(gw_usable(), 2);
}

static void upstream_that_refuses(void **state)
{
	disconnect();
	fake_ctrls[1].down = true;
	ask("upstream.connect", "{\"upstream\":\"up1\"}");
	says("state", "waiting to reconnect");
	assert_true(*json_string_value(json_object_get(result(), "reason")));
}

static void upstream_that_takes_long(void **state)
{
	disconnect();
	fake_ctrls[1].silent = true;
	ask("upstream.connect", "{\"upstream\":\"up1\"}");
	stalls_for(3);
	assert_null(answer);
	stalls_for(3);
	assert_non_null(answer);
	says("state", "connecting");
	ask("path.reset", "{\"path\":\"up1/1\"}");
	stalls_for(6);
	assert_non_null(answer);
	says("upstream_state", "connecting");
}

static void upstream_that_goes(void **state)
{
	disconnect();
	fake_ctrls[1].silent = true;
	ask("upstream.connect", "{\"upstream\":\"up1\"}");
	upstream_remove(upstream_find(gw_ss->mp, "up1"));
	worker_stalls();
	assert_non_null(answer);
	assert_null(json_object_get(answer, "result"));
}

/* The namespace may be another one. */
static void path_that_goes(void **state)
{
	fake_ctrls[1].ns[2] = fake_ctrls[1].ns[1];
	fake_ctrls[1].ns[1].present = false;
	ask("path.reset", "{\"path\":\"up1/1\"}");
	says("path", "up1/2");
}

/* ---- controllers ---- */

static void connect_host(void)
{
	struct tgt_qpair *admin = host_controller(FAKE_GW_NQN);

	host_io_queue(admin, 1);
	assert_int_equal(host_ctrl(admin)->ident.cntlid, 1);
}

static void disconnected_controller_has_gone(void **state)
{
	connect_host();
	ask("controller.disconnect", "{\"controller\":1}");
	worker_stalls();
	assert_null(answer);
	assert_int_equal(gw_ss->nr_controllers, 1);
	says("state", "ended");
	says("hostnqn", FAKE_HOSTNQN);
	assert_int_equal(gw_ss->nr_controllers, 0);
}

static void controller_that_does_not_go(void **state)
{
	connect_host();
	ask("controller.disconnect", "{\"controller\":1}");
	stalls_for(6);
	assert_non_null(answer);
	says("state", "ending");
}

/* ---- the end ---- */

static void ends_with_those_that_wait(void **state)
{
	disconnect();
	connect_host();
	fake_ctrls[1].silent = true;
	ask("upstream.connect", "{\"upstream\":\"up1\"}");
	ask("controller.disconnect", "{\"controller\":1}");
	assert_null(answer);
	rpc_waits_end(gw);
	assert_true(TAILQ_EMPTY(&gw->waits));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(connected_upstream_is_in_use),
		T(reset_path_is_in_use),
		T(upstream_that_refuses),
		T(upstream_that_takes_long),
		T(upstream_that_goes),
		T(path_that_goes),
		T(disconnected_controller_has_gone),
		T(controller_that_does_not_go),
		T(ends_with_those_that_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
