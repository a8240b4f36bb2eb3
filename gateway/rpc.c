/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket's connections. Each has one request in the making and one answer on its way at
 * most: nothing is read while an answer is awaited, or waits for the client to take it, and each
 * turn of the loop answers one request of a connection. So neither a flood nor a client that does
 * not read costs more than that. Events go out in the same way, a few at a time, and wait where
 * everybody's do.
 */
#include "gateway/rpc.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/gateway.h"
#include "gateway/rpc_answer.h"
#include "gateway/rpc_events.h"
#include "gateway/rpc_methods.h"
#include "gateway/rpc_socket.h"
#include "transport/log.h"

#define ACCEPT_RETRY (100 * NSEC_PER_MSEC)
#define IN_ROOM	     4096u /* bytes for requests at first; few are longer */

struct rpc_conn {
	TAILQ_ENTRY(rpc_conn) link; /* in rpc.conns, the longest quiet first */
	struct rpc *rpc;
	struct loop_fd watch;
	struct loop_timer stall;
	struct rpc_caller caller;
	struct event_reader events;
	struct rpc_later *later; /* whose answer is awaited */
	json_t *late;		 /* an answer that has come and is not on its way yet */
	bool ended;		 /* nothing more is read */
	bool answering;		 /* what goes out is an answer, and no events */
	char *out;		 /* NULL: nothing */
	size_t out_len, out_pos;
	size_t in_len, in_room;
	char *in; /* at most a request with its newline */
};

struct rpc {
	struct gateway *gw;
	struct rpc_socket socket;
	struct loop_fd watch;
	struct loop_timer retry; /* accepting, when there was no fd for it */
	TAILQ_HEAD(, rpc_conn) conns;
	unsigned nr_conns;
};

/* ---- life of a connection ---- */

static void drop(struct rpc_conn *c)
{
	int fd = c->watch.fd;

	event_reader_close(&c->events);
	if (c->later)
		c->later->answered = NULL;
	json_decref(c->late);
	TAILQ_REMOVE(&c->rpc->conns, c, link);
	c->rpc->nr_conns--;
	loop_fd_fini(&c->watch);
	loop_timer_fini(&c->stall);
	close(fd);
	free(c->out);
	free(c->in);
	free(c);
}

static void on_stall(void *arg)
{
	log_ratelimited(LOG_WARNING, "control socket: a client does not take its answer: dropped");
	drop(arg);
}

/* ---- answers out ---- */

static void put_answer(struct rpc_conn *c, json_t *answer)
{
	if (!answer)
		return;
	c->out = json_dumps(answer, JSON_COMPACT | JSON_REAL_PRECISION(15));
	json_decref(answer);
	if (!c->out)
		abort();
	c->out_len = strlen(c->out);
	c->out[c->out_len++] = '\n'; /* where the zero was */
	c->out_pos = 0;
	c->answering = true;
}

static void put_events(struct rpc_conn *c)
{
	c->out = rpc_event_lines(&c->events, &c->out_len);
	c->out_pos = 0;
	c->answering = false;
}

/* False: the connection is lost. */
static bool send_out(struct rpc_conn *c)
{
	ssize_t n;

	if (!c->out)
		return true;
	n = send(c->watch.fd, c->out + c->out_pos, c->out_len - c->out_pos,
		 MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->out_pos += (size_t)n;
	if (c->out_pos < c->out_len)
		return true;
	free(c->out);
	c->out = NULL;
	return true;
}

/* ---- requests in ---- */

static bool is_full(const struct rpc_conn *c)
{
	return c->in_len == RPC_MAX_LINE + 1;
}

static void make_room(struct rpc_conn *c)
{
	if (c->in_len < c->in_room || is_full(c))
		return;
	c->in_room = c->in_room ? 2 * c->in_room : IN_ROOM;
	if (c->in_room > RPC_MAX_LINE + 1)
		c->in_room = RPC_MAX_LINE + 1;
	c->in = realloc(c->in, c->in_room);
	if (!c->in)
		abort();
}

/* After a request that was long. */
static void give_room_back(struct rpc_conn *c)
{
	if (c->in_len || c->in_room == IN_ROOM)
		return;
	free(c->in);
	c->in = NULL;
	c->in_room = 0;
}

/* False: the connection is lost. */
static bool receive(struct rpc_conn *c)
{
	ssize_t n;

	make_room(c);
	n = recv(c->watch.fd, c->in + c->in_len, c->in_room - c->in_len, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->in_len += (size_t)n;
	c->ended = n == 0;
	return true;
}

/* Bytes of the first request in the buffer with its newline, 0: it is not all there. */
static size_t whole_line(const struct rpc_conn *c)
{
	const char *newline = c->in_len ? memchr(c->in, '\n', c->in_len) : NULL;

	if (newline)
		return (size_t)(newline - c->in) + 1;
	return c->ended ? c->in_len : 0; /* the end of it all ends a line too */
}

static void on_answered(void *arg, json_t *answer);

static void answer_next(struct rpc_conn *c)
{
	size_t n = whole_line(c);

	if (c->late) {
		put_answer(c, c->late);
		c->late = NULL;
	} else if (n) {
		json_t *answer = rpc_answer(&c->caller, c->in, n, &c->later);

		if (c->later) {
			c->later->answered = on_answered;
			c->later->arg = c;
		}
		c->in_len -= n;
		memmove(c->in, c->in + n, c->in_len);
		give_room_back(c);
		put_answer(c, answer);
	} else if (is_full(c)) {
		c->in_len = 0;
		c->ended = true; /* where the next one begins is anybody's guess */
		put_answer(c, rpc_answer_too_long());
	}
}

/* An answer is due, and nothing is read before it is taken. */
static bool answering(const struct rpc_conn *c)
{
	if (c->out && c->answering)
		return true;
	return !c->later && (c->late || whole_line(c));
}

/*
 * For room in the socket when there is something to say, else for requests. Events may wait for as
 * long as they please: it is the reader who loses some.
 */
static void wait_on(struct rpc_conn *c)
{
	unsigned want = c->out || event_reader_ready(&c->events) ? LOOP_WRITE : 0;

	if (answering(c)) {
		loop_fd_want(&c->watch, LOOP_WRITE);
		loop_timer_arm(&c->stall, RPC_STALL_MS * NSEC_PER_MSEC);
		return;
	}
	if (!c->later && !is_full(c))
		want |= LOOP_READ;
	loop_fd_want(&c->watch, want);
	loop_timer_cancel(&c->stall);
}

static void on_ready(void *arg, unsigned events)
{
	struct rpc_conn *c = arg;

	TAILQ_REMOVE(&c->rpc->conns, c, link);
	TAILQ_INSERT_TAIL(&c->rpc->conns, c, link);
	if ((events & LOOP_READ && !receive(c)) || !send_out(c)) {
		drop(c);
		return;
	}
	if (!c->out && !c->later)
		answer_next(c);
	if (!c->out)
		put_events(c);
	if (!send_out(c) || (c->ended && !answering(c) && !c->later))
		drop(c);
	else
		wait_on(c);
}

static void on_event(void *arg)
{
	struct rpc_conn *c = arg;

	loop_fd_want(&c->watch, c->watch.want | LOOP_WRITE);
}

static void on_answered(void *arg, json_t *answer)
{
	struct rpc_conn *c = arg;

	c->later = NULL;
	c->late = answer;
	loop_fd_want(&c->watch, LOOP_WRITE);
}

/* ---- accepting ---- */

static void conn_new(struct rpc *rpc, int fd)
{
	struct rpc_conn *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	if (rpc->nr_conns == RPC_MAX_CONNECTIONS) {
		log_ratelimited(LOG_WARNING, "control socket: %u connections: the quietest ends",
				rpc->nr_conns);
		drop(TAILQ_FIRST(&rpc->conns));
	}
	c->rpc = rpc;
	c->caller = (struct rpc_caller){.gw = rpc->gw, .events = &c->events};
	c->events.there = on_event;
	c->events.arg = c;
	loop_timer_init(&c->stall, rpc->gw->control, on_stall, c);
	loop_fd_init(&c->watch, rpc->gw->control, fd, on_ready, c);
	TAILQ_INSERT_TAIL(&rpc->conns, c, link);
	rpc->nr_conns++;
	loop_fd_want(&c->watch, LOOP_READ);
}

static void on_connection(void *arg, unsigned events)
{
	struct rpc *rpc = arg;
	int fd = accept4(rpc->socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		conn_new(rpc, fd);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		/* The backlog stays readable: look away rather than spin. */
		log_ratelimited(LOG_ERR, "control socket: cannot accept: %s", strerror(errno));
		loop_fd_want(&rpc->watch, 0);
		loop_timer_arm(&rpc->retry, ACCEPT_RETRY);
	}
}

static void on_retry(void *arg)
{
	loop_fd_want(&((struct rpc *)arg)->watch, LOOP_READ);
}

struct rpc *rpc_open(struct gateway *gw, const char *path)
{
	struct rpc *rpc = calloc(1, sizeof(*rpc));

	if (!rpc)
		abort();
	if (rpc_socket_open(&rpc->socket, path)) {
		free(rpc);
		return NULL;
	}
	rpc->gw = gw;
	TAILQ_INIT(&rpc->conns);
	loop_timer_init(&rpc->retry, gw->control, on_retry, rpc);
	loop_fd_init(&rpc->watch, gw->control, rpc->socket.fd, on_connection, rpc);
	loop_fd_want(&rpc->watch, LOOP_READ);
	return rpc;
}

void rpc_close(struct rpc *rpc)
{
	struct rpc_conn *c;

	if (!rpc)
		return;
	while ((c = TAILQ_FIRST(&rpc->conns)))
		drop(c);
	loop_fd_fini(&rpc->watch);
	loop_timer_fini(&rpc->retry);
	rpc_socket_close(&rpc->socket);
	free(rpc);
}
