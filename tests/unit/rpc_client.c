/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/rpc_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "tests/unit/fake_host.h"

#define PATIENCE 60 /* seconds */

/* What was said is heard after the end of the gateway too: its clock may have gone. */
static time_t seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

int client_of(const char *socket_path)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	strcpy(name.sun_path, socket_path);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	return fd;
}

void say(int fd, const char *text, size_t len)
{
	time_t end = seconds() + PATIENCE;

	while (len && seconds() < end) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n > 0) {
			text += n;
			len -= (size_t)n;
		} else {
			assert_int_equal(errno, EAGAIN);
		}
		gw_spin(1);
	}
	assert_int_equal(len, 0);
}

json_t *hear(int fd)
{
	static char line[1 << 20];
	time_t end = seconds() + PATIENCE;
	size_t len = 0;

	while (seconds() < end) {
		ssize_t n = recv(fd, line + len, 1, 0);

		if (n == 0 || (n < 0 && errno != EAGAIN))
			return NULL;
		if (n < 0) {
			gw_spin(1);
			continue;
		}
		if (line[len] == '\n') {
			json_t *answer = json_loadb(line, len, 0, NULL);

			assert_non_null(answer);
			return answer;
		}
		assert_true(++len < sizeof(line));
	}
	fail_msg("no answer");
	return NULL;
}
