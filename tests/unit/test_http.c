/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server: what is answered, and what clients that misbehave cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/http.h"
#include "gateway/http_request.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/fake_upstream.h"

#define PATIENCE  (60 * NSEC_PER_SEC)
#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"

static struct http_request r;
static char *got;
static size_t got_len;

/* ---- requests ---- */

static void parse(const char *text)
{
	http_parse(text, strlen(text), &r);
}

static void heads_end_at_an_empty_line(void **state)
{
	assert_int_equal(http_head_len("", 0), 0);
	assert_int_equal(http_head_len("GET / HTTP/1.1\r\n", 16), 0);
	assert_int_equal(http_head_len("G\r\n\r\n", 4), 0);
	assert_int_equal(http_head_len("G\r\n\r\nmore", 9), 5);
	assert_int_equal(http_head_len("G\n\nmore", 7), 3);
}

static void well_formed(void **state)
{
	parse("GET /metrics?x=/y HTTP/1.1\r\nHOST: [::1]:8420 \r\nAccept: */*\r\n\r\n");
	assert_int_equal(r.problem, 0);
	assert_true(r.get && !r.head && r.keep && !r.body);
	assert_string_equal(r.path, "/metrics");
	assert_string_equal(r.host, "::1");
	parse("HEAD / HTTP/1.1\r\nhost:a.example:80\r\nConnection: x , Close\r\n\r\n");
	assert_int_equal(r.problem, 0);
	assert_true(!r.get && r.head && !r.keep);
	assert_string_equal(r.host, "a.example");
	parse("GET / HTTP/1.0\r\n\r\n");
	assert_int_equal(r.problem, 0);
	assert_true(r.get && !r.keep);
	parse("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n");
	assert_int_equal(r.problem, 0);
	assert_true(!r.get && !r.head && r.body && !r.keep);
	parse("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
	assert_true(!r.body && r.keep);
}

static void malformed(void **state)
{
	static const struct {
		const char *text;
		unsigned problem;
	} bad[] = {
		{"\r\n\r\n", 400},
		{"GET\r\n\r\n", 400},
		{"GET /\r\n\r\n", 400},
		{"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
		{"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 505},
		{"GET / FTP/1.1\r\nHost: h\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n\r\n", 400}, /* no host */
		{"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400},
	};
	char zero[] = "GET / HTTP/1.1\r\nHost: a?\r\n\r\n";

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		parse(bad[i].text);
		if (r.problem != bad[i].problem || r.keep)
			fail_msg("%s: %u", bad[i].text, r.problem);
	}
	*strchr(zero, '?') = '\0';
	http_parse(zero, sizeof(zero) - 1, &r);
	assert_int_equal(r.problem, 400);
}

static void long_ones_are_cut(void **state)
{
	char text[1024], path[301], host[301];

	memset(path, 'p', 300);
	memset(host, 'h', 300);
	path[0] = '/';
	path[300] = host[300] = '\0';
	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
	parse(text);
	assert_int_equal(r.problem, 0);
	assert_int_equal(strlen(r.path), sizeof(r.path) - 1);
	snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host);
	parse(text);
	assert_int_equal(r.problem, 400);
}

static void local_hosts(void **state)
{
	static const char *const yes[] = {"localhost", "LocalHost", "127.0.0.1", "::1",
					  "192.0.2.1"};
	static const char *const no[] = {"", "evil.example", "localhost.evil.example",
					 "127.0.0.1.evil.example", "127.1"};

	for (unsigned i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		assert_true(http_host_is_local(yes[i]));
	for (unsigned i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		assert_false(http_host_is_local(no[i]));
}

/* ---- a server ---- */

static int setup(void **state)
{
	gw_defaults();
	addr_parse(&gw_cfg.http, "127.0.0.1", "1");
	((struct sockaddr_in *)(void *)&gw_cfg.http.ss)->sin_port = 0; /* any free one */
	gw_start(2);
	got = calloc(1, 1);
	return 0;
}

static int teardown(void **state)
{
	gw_end();
	free(got);
	got_len = 0;
	return 0;
}

static int client(void)
{
	const struct addr *at = http_addr(gw->http);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&at->ss, at->len), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Takes in what is there; false once the server has ended the connection. */
static bool hear(int fd)
{
	char buf[65536];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return true;
	if (n <= 0)
		return false;
	got = realloc(got, got_len + (size_t)n + 1);
	memcpy(got + got_len, buf, (size_t)n);
	got_len += (size_t)n;
	got[got_len] = '\0';
	return true;
}

static void forget(void)
{
	got_len = 0;
	got[0] = '\0';
}

static void until_ended(int fd)
{
	uint64_t end = loop_now_exact(gw->control) + PATIENCE;

	while (loop_now_exact(gw->control) < end) {
		gw_spin(1);
		if (!hear(fd)) {
			close(fd);
			return;
		}
	}
	fail_msg("the server does not end the connection; it said: %s", got);
}

/* One whole answer with its body. */
static void until_answered(int fd)
{
	uint64_t end = loop_now_exact(gw->control) + PATIENCE;

	while (loop_now_exact(gw->control) < end) {
		const char *body = strstr(got, "\r\n\r\n"), *len = strstr(got, "Content-Length: ");

		if (body && len && len < body &&
		    got_len >= (size_t)(body + 4 - got) + strtoul(len + 16, NULL, 10))
			return;
		gw_spin(1);
		assert_true(hear(fd));
	}
	fail_msg("no answer, but: %s", got);
}

static void says(const char *part)
{
	if (!strstr(got, part))
		fail_msg("not \"%s\" in: %.2000s", part, got);
}

static void documents(void **state)
{
	int fd = client();

	say(fd, GET("/"));
	until_answered(fd);
	says("HTTP/1.1 200 OK\r\n");
	says("Content-Type: text/html; charset=utf-8\r\n");
	says("script-src 'sha256-");
	says("frame-ancestors 'none'");
	says("<!DOCTYPE html>");
	forget();
	say(fd, GET("/state.json?now"));
	until_answered(fd);
	says("Content-Type: application/json\r\n");
	says("\"path\":\"up1/1\"");
	forget();
	say(fd, GET("/metrics"));
	until_answered(fd);
	says("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
	says("\nnvmegw_build_info{version=\"");
	forget();
	say(fd, GET("/etc/passwd"));
	until_answered(fd);
	says("HTTP/1.1 404 Not Found\r\n");
	assert_null(strstr(got, "Connection: close"));
	close(fd);
}

static void head_has_no_body(void **state)
{
	int fd = client();

	say(fd, "HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
	until_ended(fd);
	says("HTTP/1.1 200 OK\r\n");
	assert_string_equal(strstr(got, "\r\n\r\n"), "\r\n\r\n");
}

static void nothing_can_be_changed(void **state)
{
	static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "get"};
	char text[256];

	for (unsigned i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		int fd = client();

		forget();
		snprintf(text, sizeof(text),
			 "%s / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody",
			 methods[i]);
		say(fd, text);
		shutdown(fd, SHUT_WR);
		until_ended(fd);
		says("HTTP/1.1 405 Method Not Allowed\r\n");
		says("Allow: GET, HEAD\r\n");
	}
	forget();
	int fd = client();

	say(fd, "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
	shutdown(fd, SHUT_WR);
	until_ended(fd);
	says("HTTP/1.1 413 ");
}

static void other_names_are_refused(void **state)
{
	int fd = client();

	say(fd, "GET /state.json HTTP/1.1\r\nHost: evil.example\r\n\r\n");
	shutdown(fd, SHUT_WR);
	until_ended(fd);
	says("HTTP/1.1 421 Misdirected Request\r\n");
	assert_null(strstr(got, "up1"));
}

static void byte_by_byte(void **state)
{
	const char *text = GET("/nothing");
	int fd = client();

	for (; *text; text++) {
		assert_int_equal(send(fd, text, 1, 0), 1);
		gw_spin(2);
	}
	until_answered(fd);
	says("HTTP/1.1 404 ");
	close(fd);
}

static void many_in_one_write(void **state)
{
	unsigned n = 0;
	int fd = client();

	say(fd, GET("/1") GET("/2") GET("/3") "GET /4 HTTP/1.0\r\n\r\n");
	until_ended(fd);
	for (const char *at = got; (at = strstr(at, "404 Not Found")); at++)
		n++;
	assert_int_equal(n, 4);
}

static void too_long_requests(void **state)
{
	char line[1001];
	int fd = client();

	memset(line, 'x', 1000);
	line[1000] = '\0';
	say(fd, "GET / HTTP/1.1\r\n");
	for (unsigned i = 0; i < 10; i++)
		say(fd, line);
	shutdown(fd, SHUT_WR);
	until_ended(fd);
	says("HTTP/1.1 431 ");
}

static void nonsense(void **state)
{
	int fd = client();

	say(fd, "\x16\x03\x01\x02 hello\r\n\r\n");
	shutdown(fd, SHUT_WR);
	until_ended(fd);
	says("HTTP/1.1 400 ");
}

/* The one that says nothing makes room for those that do. */
static void quietest_connection_makes_room(void **state)
{
	int fds[HTTP_MAX_CONNECTIONS], quiet = client();

	gw_spin(5);
	for (unsigned i = 0; i < HTTP_MAX_CONNECTIONS; i++) {
		fds[i] = client();
		gw_spin(5);
	}
	until_ended(quiet);
	assert_int_equal(got_len, 0);
	say(fds[0], GET("/metrics"));
	until_answered(fds[0]);
	for (unsigned i = 0; i < HTTP_MAX_CONNECTIONS; i++)
		close(fds[i]);
	gw_spin(50);
}

/* What this thread has computed: it is the same on a busy machine. */
static uint64_t cpu_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

/* A flood that is not read: the loop goes on, and all of it is gone at the end. */
static void floods_are_bounded(void **state)
{
	int fds[HTTP_MAX_CONNECTIONS];

	for (unsigned i = 0; i < HTTP_MAX_CONNECTIONS; i++) {
		fds[i] = client();
		for (unsigned n = 0; n < 8; n++)
			say(fds[i], GET("/state.json"));
	}
	for (unsigned i = 0; i < 500; i++) {
		uint64_t before = cpu_time();

		gw_spin(1);
		/* One answer a turn at most. */
		assert_true(cpu_time() - before < 500 * NSEC_PER_MSEC);
	}
	for (unsigned i = 0; i < HTTP_MAX_CONNECTIONS; i++)
		close(fds[i]);
	gw_spin(200);
}

static void vanishing_clients(void **state)
{
	static const char *const parts[] = {"", "GET", GET("/metrics"), GET("/") GET("/")};

	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		for (unsigned turns = 0; turns < 6; turns++) {
			int fd = client();
			struct linger hard = {1, 0};

			setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
			if (*parts[i])
				say(fd, parts[i]);
			gw_spin(turns);
			close(fd);
			gw_spin(3);
		}
}

static void ends_with_clients_connected(void **state)
{
	int idle = client(), half = client(), asking = client();

	say(half, "GET / HT");
	say(asking, GET("/metrics"));
	gw_spin(3);
	close(idle);
	close(half);
	close(asking);
}

static void taken_ports_are_told(void **state)
{
	assert_null(http_open(gw, http_addr(gw->http)));
	assert_int_equal(errno, EADDRINUSE);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heads_end_at_an_empty_line),
		cmocka_unit_test(well_formed),
		cmocka_unit_test(malformed),
		cmocka_unit_test(long_ones_are_cut),
		cmocka_unit_test(local_hosts),
		T(documents),
		T(head_has_no_body),
		T(nothing_can_be_changed),
		T(other_names_are_refused),
		T(byte_by_byte),
		T(many_in_one_write),
		T(too_long_requests),
		T(nonsense),
		T(quietest_connection_makes_room),
		T(floods_are_bounded),
		T(vanishing_clients),
		T(ends_with_clients_connected),
		T(taken_ports_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
