/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each connection has one request in the making and one answer on its way at most, and a time for
 * either. Answers are made one after the other, with rests between them that keep control free for
 * its own work. So neither a flood nor a client that stalls costs more than that.
 */
#include "gateway/http.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "gateway/gateway.h"
#include "gateway/http_site.h"
#include "transport/log.h"

#define BACKLOG	     64
#define ACCEPT_RETRY (100 * NSEC_PER_MSEC)
#define FIELDS_MAX   1024

enum phase {
	HTTP_READING, /* a request, or waiting for one */
	HTTP_READY,   /* it is there, and waits for its turn */
	HTTP_SENDING,
	HTTP_ENDING, /* all is sent; what still comes is thrown away, so that it can be received */
};

struct http_conn {
	TAILQ_ENTRY(http_conn) link;  /* in http.conns, the longest quiet first */
	TAILQ_ENTRY(http_conn) ready; /* in http.ready while HTTP_READY */
	struct http *http;
	struct loop_fd watch;
	struct loop_timer timeout;
	enum phase phase;
	bool keep;			  /* after the answer */
	char fields[FIELDS_MAX];	  /* of the answer, with its status line */
	char *body;			  /* NULL: none */
	size_t fields_len, body_len, pos; /* pos: sent of both */
	size_t in_len;
	char in[HTTP_MAX_HEAD];
};

struct http {
	struct gateway *gw;
	struct addr addr;
	bool loopback;
	struct loop_fd watch;
	struct loop_timer retry; /* accepting, when there was no fd for it */
	struct loop_timer rest;	 /* armed: no answer is made now */
	TAILQ_HEAD(http_conns, http_conn) conns, ready;
	unsigned nr_conns;
	uint64_t pending; /* bytes of all bodies */
};

static void wait_for_request(struct http_conn *c);
static void look_for_request(struct http_conn *c);

/* ---- life of a connection ---- */

static void free_body(struct http_conn *c)
{
	c->http->pending -= c->body_len;
	free(c->body);
	c->body = NULL;
	c->body_len = 0;
}

static void drop(struct http_conn *c)
{
	int fd = c->watch.fd;

	if (c->phase == HTTP_READY)
		TAILQ_REMOVE(&c->http->ready, c, ready);
	TAILQ_REMOVE(&c->http->conns, c, link);
	c->http->nr_conns--;
	loop_fd_fini(&c->watch);
	loop_timer_fini(&c->timeout);
	close(fd);
	free_body(c);
	free(c);
}

static void on_timeout(void *arg)
{
	drop(arg);
}

static void set_phase(struct http_conn *c, enum phase phase, unsigned events, uint64_t ms)
{
	c->phase = phase;
	loop_fd_want(&c->watch, events);
	loop_timer_arm(&c->timeout, ms * NSEC_PER_MSEC);
}

/* ---- answers out ---- */

static const char *reason_of(unsigned status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 413:
		return "Content Too Large";
	case 421:
		return "Misdirected Request";
	case 431:
		return "Request Header Fields Too Large";
	case 503:
		return "Service Unavailable";
	default:
		return "HTTP Version Not Supported";
	}
}

static void write_fields(struct http_conn *c, const struct http_document *d)
{
	time_t now = time(NULL);
	char date[40];
	struct tm tm;
	int n;

	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
	n = snprintf(c->fields, sizeof(c->fields),
		     "HTTP/1.1 %u %s\r\n"
		     "Date: %s\r\n"
		     "Content-Type: %s\r\n"
		     "Content-Length: %zu\r\n"
		     "Content-Security-Policy: %s\r\n"
		     "X-Content-Type-Options: nosniff\r\n"
		     "X-Frame-Options: DENY\r\n"
		     "Referrer-Policy: no-referrer\r\n"
		     "Cross-Origin-Resource-Policy: same-origin\r\n"
		     "Cache-Control: no-store\r\n"
		     "%s%s"
		     "\r\n",
		     d->status, reason_of(d->status), date, d->type, d->len, d->policy,
		     d->status == 405 ? "Allow: GET, HEAD\r\n" : "",
		     c->keep ? "" : "Connection: close\r\n");
	if (n < 0 || (size_t)n >= sizeof(c->fields))
		abort();
	c->fields_len = (size_t)n;
}

/* All of the answer has left. */
static void answered(struct http_conn *c)
{
	free_body(c);
	if (c->keep) {
		wait_for_request(c);
		look_for_request(c);
		return;
	}
	shutdown(c->watch.fd, SHUT_WR);
	set_phase(c, HTTP_ENDING, LOOP_READ, HTTP_TIMEOUT_MS);
}

static void send_answer(struct http_conn *c)
{
	size_t in_fields = c->pos < c->fields_len ? c->pos : c->fields_len;
	size_t in_body = c->pos - in_fields;
	struct iovec iov[2] = {
		{c->fields + in_fields, c->fields_len - in_fields},
		{c->body + in_body, c->body_len - in_body},
	};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = c->body ? 2 : 1};
	ssize_t n = sendmsg(c->watch.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		drop(c);
		return;
	}
	if (n > 0)
		c->pos += (size_t)n;
	if (c->pos == c->fields_len + c->body_len)
		answered(c);
}

/* Takes over the document's body. */
static void start_answer(struct http_conn *c, struct http_document *d, bool body)
{
	write_fields(c, d);
	c->pos = 0;
	if (body) {
		c->body = d->body;
		c->body_len = d->len;
		c->http->pending += d->len;
	} else {
		free(d->body);
	}
	set_phase(c, HTTP_SENDING, LOOP_WRITE, HTTP_TIMEOUT_MS);
	send_answer(c);
}

static void refuse(struct http_conn *c, unsigned status, bool body)
{
	struct http_document d;

	c->keep = false;
	http_problem(status, &d);
	start_answer(c, &d, body);
}

static void answer(struct http_conn *c)
{
	size_t len = http_head_len(c->in, c->in_len);
	struct http *http = c->http;
	struct http_document d;
	struct http_request r;

	http_parse(c->in, len, &r);
	c->in_len -= len;
	memmove(c->in, c->in + len, c->in_len);
	if (r.problem) {
		refuse(c, r.problem, !r.head);
	} else if (http->loopback && r.host[0] && !http_host_is_local(r.host)) {
		/* A page from elsewhere whose name was made to lead here could read it all. */
		refuse(c, 421, !r.head);
	} else if (http->pending > HTTP_MAX_PENDING) {
		refuse(c, 503, !r.head);
	} else {
		c->keep = r.keep;
		http_document(http->gw, &r, &d);
		start_answer(c, &d, !r.head);
	}
}

static void answer_next(struct http *http)
{
	uint64_t start = loop_now_exact(http->gw->control), took;
	struct http_conn *c = TAILQ_FIRST(&http->ready);

	if (!c || http->rest.armed)
		return;
	TAILQ_REMOVE(&http->ready, c, ready);
	c->phase = HTTP_READING;
	/* First of all, since answering may lead here again. */
	loop_timer_arm(&http->rest, NSEC_PER_MSEC);
	answer(c);
	took = loop_now_exact(http->gw->control) - start;
	loop_timer_arm(&http->rest, took * (HTTP_TIME_SHARE - 1));
}

static void on_rested(void *arg)
{
	answer_next(arg);
}

/* ---- requests in ---- */

static void wait_for_request(struct http_conn *c)
{
	set_phase(c, HTTP_READING, LOOP_READ, c->in_len ? HTTP_TIMEOUT_MS : HTTP_IDLE_MS);
}

static void look_for_request(struct http_conn *c)
{
	if (http_head_len(c->in, c->in_len)) {
		loop_timer_cancel(&c->timeout);
		loop_fd_want(&c->watch, 0);
		c->phase = HTTP_READY;
		TAILQ_INSERT_TAIL(&c->http->ready, c, ready);
		answer_next(c->http);
	} else if (c->in_len == sizeof(c->in)) {
		refuse(c, 431, true);
	}
}

static void receive(struct http_conn *c)
{
	bool first = !c->in_len;
	ssize_t n = recv(c->watch.fd, c->in + c->in_len, sizeof(c->in) - c->in_len, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(c);
		return;
	}
	c->in_len += (size_t)n;
	if (first)
		wait_for_request(c); /* for the rest of it */
	look_for_request(c);
}

static void discard(struct http_conn *c)
{
	ssize_t n = recv(c->watch.fd, c->in, sizeof(c->in), MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		drop(c);
}

static void on_ready(void *arg, unsigned events)
{
	struct http_conn *c = arg;

	TAILQ_REMOVE(&c->http->conns, c, link);
	TAILQ_INSERT_TAIL(&c->http->conns, c, link);
	if (c->phase == HTTP_READING)
		receive(c);
	else if (c->phase == HTTP_SENDING)
		send_answer(c);
	else if (c->phase == HTTP_ENDING)
		discard(c);
}

/* ---- accepting ---- */

static void conn_new(struct http *http, int fd)
{
	struct http_conn *c = malloc(sizeof(*c));

	if (!c)
		abort();
	if (http->nr_conns == HTTP_MAX_CONNECTIONS) {
		log_ratelimited(LOG_WARNING, "http: %u connections: the quietest ends",
				http->nr_conns);
		drop(TAILQ_FIRST(&http->conns));
	}
	memset(c, 0, offsetof(struct http_conn, in)); /* not the memory of a request to come */
	c->http = http;
	loop_timer_init(&c->timeout, http->gw->control, on_timeout, c);
	loop_fd_init(&c->watch, http->gw->control, fd, on_ready, c);
	TAILQ_INSERT_TAIL(&http->conns, c, link);
	http->nr_conns++;
	wait_for_request(c);
}

static void on_connection(void *arg, unsigned events)
{
	struct http *http = arg;
	int fd = accept4(http->watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		conn_new(http, fd);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		/* The backlog stays readable: look away rather than spin. */
		log_ratelimited(LOG_ERR, "http: cannot accept: %s", strerror(errno));
		loop_fd_want(&http->watch, 0);
		loop_timer_arm(&http->retry, ACCEPT_RETRY);
	}
}

static void on_retry(void *arg)
{
	loop_fd_want(&((struct http *)arg)->watch, LOOP_READ);
}

/* The listening socket, or -1 with errno; @addr becomes what it has got. */
static int listen_at(struct addr *addr)
{
	int fd = socket(addr->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1, err;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* As with listeners: :: does not include IPv4. */
	if (addr->ss.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&addr->ss, addr->len) == 0 &&
	    listen(fd, BACKLOG) == 0) {
		addr->len = sizeof(addr->ss);
		if (getsockname(fd, (struct sockaddr *)&addr->ss, &addr->len) == 0)
			return fd;
	}
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

struct http *http_open(struct gateway *gw, const struct addr *addr)
{
	struct http *http = calloc(1, sizeof(*http));
	char where[ADDR_STR_MAX];
	int fd;

	if (!http)
		abort();
	http->gw = gw;
	http->addr = *addr;
	fd = listen_at(&http->addr);
	if (fd < 0) {
		log_err("http: cannot listen on %s: %s", addr_str(addr, where), strerror(errno));
		free(http);
		return NULL;
	}
	http->loopback = addr_is_loopback(addr);
	TAILQ_INIT(&http->conns);
	TAILQ_INIT(&http->ready);
	loop_timer_init(&http->retry, gw->control, on_retry, http);
	loop_timer_init(&http->rest, gw->control, on_rested, http);
	loop_fd_init(&http->watch, gw->control, fd, on_connection, http);
	loop_fd_want(&http->watch, LOOP_READ);
	log_info("status page and metrics at http://%s/", addr_str(&http->addr, where));
	return http;
}

const struct addr *http_addr(const struct http *http)
{
	return &http->addr;
}

void http_close(struct http *http)
{
	struct http_conn *c;
	int fd;

	if (!http)
		return;
	while ((c = TAILQ_FIRST(&http->conns)))
		drop(c);
	fd = http->watch.fd;
	loop_fd_fini(&http->watch);
	loop_timer_fini(&http->retry);
	loop_timer_fini(&http->rest);
	close(fd);
	free(http);
}
