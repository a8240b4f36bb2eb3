/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nvmegw-relay: a bare TCP relay, the yardstick that the gateway is measured against. It forwards
 * bytes both ways between an accepted connection and one to the target, on one thread, and does
 * nothing else: one epoll_wait, one read and one write per piece of data.
 *
 * Sockets are watched edge-triggered for both directions from the start, so that no epoll_ctl is
 * needed while data flows. A short read means that the socket is drained: the next byte makes a new
 * edge.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUF_SIZE   (256u * 1024)
#define MAX_EVENTS 64

struct conn;

/* One socket of a pair, with what was read from it and not yet written to the other. */
struct side {
	struct conn *conn;
	struct side *other;
	int fd;
	size_t start, end; /* bytes of buf still to be written */
	bool closing;	   /* the end of input is in the socket: read on after a short read */
	bool eof;	   /* read from fd, and passed on to the other */
	uint8_t *buf;
};

struct conn {
	SLIST_ENTRY(conn) dead_link;
	struct side side[2];
	bool dead;
};

static int epfd;
static struct sockaddr_in target;
static SLIST_HEAD(, conn) dead = SLIST_HEAD_INITIALIZER(dead);

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* Closes at once; memory goes after the batch of events, which may still name it. */
static void conn_kill(struct conn *c)
{
	if (c->dead)
		return;
	c->dead = true;
	close(c->side[0].fd);
	close(c->side[1].fd);
	SLIST_INSERT_HEAD(&dead, c, dead_link);
}

static void reap(void)
{
	struct conn *c;

	while ((c = SLIST_FIRST(&dead))) {
		SLIST_REMOVE_HEAD(&dead, dead_link);
		free(c->side[0].buf);
		free(c->side[1].buf);
		free(c);
	}
}

/* Writes what is there: false when some is left or the connection died. */
static bool flush_to_other(struct side *s)
{
	while (s->start < s->end) {
		size_t want = s->end - s->start;
		ssize_t n = write(s->other->fd, s->buf + s->start, want);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				conn_kill(s->conn);
			return false;
		}
		s->start += n;
		if ((size_t)n < want)
			return false; /* a short write means full: the edge comes when there is room
				       */
	}
	return true;
}

static void pass_eof(struct side *s)
{
	s->eof = true;
	shutdown(s->other->fd, SHUT_WR);
	if (s->other->eof)
		conn_kill(s->conn);
}

static void forward(struct side *s)
{
	ssize_t n;

	if (s->eof || !flush_to_other(s))
		return;
	do {
		do
			n = read(s->fd, s->buf, BUF_SIZE);
		while (n < 0 && errno == EINTR);
		if (n < 0) {
			if (errno != EAGAIN)
				conn_kill(s->conn);
			return;
		}
		if (n == 0) {
			pass_eof(s);
			return;
		}
		s->start = 0;
		s->end = n;
	} while (flush_to_other(s) && (n == BUF_SIZE || s->closing));
}

static void side_event(struct side *s, uint32_t events)
{
	if (s->conn->dead)
		return;
	if (events & EPOLLERR) {
		conn_kill(s->conn);
		return;
	}
	if (events & (EPOLLRDHUP | EPOLLHUP))
		s->closing = true;
	if (events & EPOLLOUT && s->other->start < s->other->end)
		forward(s->other);
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP) && s->start == s->end)
		forward(s);
}

static int watch(struct side *s)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				 .data.ptr = s};

	return epoll_ctl(epfd, EPOLL_CTL_ADD, s->fd, &ev);
}

/* Until the connection to the target is made, writes to it get EAGAIN, then the edge comes. */
static void pair_up(int fd)
{
	int one = 1, out = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct conn *c = calloc(1, sizeof(*c));

	if (!c || out < 0)
		die("relay");
	for (int i = 0; i < 2; i++) {
		c->side[i].conn = c;
		c->side[i].other = &c->side[!i];
		c->side[i].fd = i ? out : fd;
		c->side[i].buf = malloc(BUF_SIZE);
		if (!c->side[i].buf)
			die("relay");
		setsockopt(c->side[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	}
	if ((connect(out, (struct sockaddr *)&target, sizeof(target)) && errno != EINPROGRESS) ||
	    watch(&c->side[0]) || watch(&c->side[1]))
		conn_kill(c);
}

static void accept_all(int lfd)
{
	int fd;

	while ((fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		pair_up(fd);
	if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
		die("accept");
}

static void parse(const char *text, struct sockaddr_in *sa)
{
	const char *colon = strrchr(text, ':');
	char host[INET_ADDRSTRLEN];
	int port = colon ? atoi(colon + 1) : 0;

	if (!colon || port < 1 || port > 65535 || (size_t)(colon - text) >= sizeof(host))
		goto bad;
	memcpy(host, text, colon - text);
	host[colon - text] = 0;
	sa->sin_family = AF_INET;
	sa->sin_port = htons(port);
	if (inet_pton(AF_INET, host, &sa->sin_addr) == 1)
		return;
bad:
	fprintf(stderr, "nvmegw-relay: '%s' is not an IPv4 ADDRESS:PORT\n", text);
	exit(2);
}

static int listen_on(const char *text)
{
	struct sockaddr_in sa = {0};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	parse(text, &sa);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, SOMAXCONN))
		die(text);
	return fd;
}

int main(int argc, char **argv)
{
	struct epoll_event events[MAX_EVENTS];
	struct epoll_event lev = {.events = EPOLLIN, .data.ptr = NULL};
	int lfd;

	if (argc != 3) {
		fprintf(stderr, "usage: nvmegw-relay LISTEN_ADDRESS:PORT TARGET_ADDRESS:PORT\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	parse(argv[2], &target);
	lfd = listen_on(argv[1]);
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (epfd < 0 || epoll_ctl(epfd, EPOLL_CTL_ADD, lfd, &lev))
		die("epoll");
	for (;;) {
		int n = epoll_wait(epfd, events, MAX_EVENTS, -1);

		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				side_event(events[i].data.ptr, events[i].events);
			else
				accept_all(lfd);
		}
		reap();
	}
}
