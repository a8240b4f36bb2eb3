/* SPDX-License-Identifier: Apache-2.0 */
/* The service manager hears that the daemon is alive only while the workers are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "gateway/watchdog.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/fake_upstream.h"

#define PERIOD_MS 20 /* asked for; it is told twice as often */

static int manager;
static struct sockaddr_un name;

static int setup(void **state)
{
	char period[16];

	name.sun_family = AF_UNIX;
	snprintf(name.sun_path, sizeof(name.sun_path), "/tmp/test_watchdog.%d", getpid());
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(manager, (struct sockaddr *)&name, sizeof(name)), 0);
	setenv("NOTIFY_SOCKET", name.sun_path, 1);
	snprintf(period, sizeof(period), "%d", PERIOD_MS * 1000);
	setenv("WATCHDOG_USEC", period, 1);
	gw_defaults();
	gw_start(2);
	return 0;
}

static int teardown(void **state)
{
	gw_end();
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	close(manager);
	unlink(name.sun_path);
	return 0;
}

/* How often the manager was told since the last time that it was asked. */
static unsigned told(void)
{
	char buf[64];
	unsigned n = 0;
	ssize_t len;

	while ((len = recv(manager, buf, sizeof(buf), 0)) > 0)
		n += len == (ssize_t)strlen("WATCHDOG=1") &&
		     !memcmp(buf, "WATCHDOG=1", (size_t)len);
	return n;
}

static void spin(struct loop *loop, unsigned ms)
{
	uint64_t end = loop_now_exact(loop) + ms * NSEC_PER_MSEC;

	while (loop_now_exact(loop) < end) {
		loop_turn(loop, false);
		usleep(500);
	}
}

static void told_while_all_answer(void **state)
{
	unsigned again = 0;

	gw->watchdog = watchdog_start(gw);
	assert_non_null(gw->watchdog);
	gw_spin(3);
	assert_true(told() >= 1); /* more when this test was off the processor for a period */
	for (unsigned i = 0; i < 1000 && !again; i++) {
		usleep(1000);
		gw_spin(1);
		again = told();
	}
	assert_true(again >= 1);
}

static void not_told_while_a_worker_hangs(void **state)
{
	gw->watchdog = watchdog_start(gw);
	spin(gw->control, 5 * PERIOD_MS);
	assert_int_equal(told(), 0);
	/* The one question that it was asked is answered */
	loop_turn(gw->workers[0].loop, false);
	loop_turn(gw->control, false);
	assert_int_equal(told(), 1);
}

static void nothing_to_do_without_a_manager(void **state)
{
	unsetenv("WATCHDOG_USEC");
	assert_null(watchdog_start(gw));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(told_while_all_answer),
		T(not_told_while_a_worker_hangs),
		T(nothing_to_do_without_a_manager),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
