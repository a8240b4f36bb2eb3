/* SPDX-License-Identifier: Apache-2.0 */
/* Last words on a TCP connection. See tcp_linger.h. */
#include "transport/tcp_linger.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINGER_MAX	 64
#define LINGER_TIME	 (1 * NSEC_PER_SEC)
#define LINGER_READ_MAX	 (4u * 1024 * 1024)
#define LINGER_TURN_READ 4

struct linger_conn {
	LIST_ENTRY(linger_conn) link;
	struct loop_fd watch;
	struct loop_timer timer;
	uint8_t *bytes;
	size_t len, sent, drained;
	int fd;
};

/* Rare and off the I/O path, hence a lock. The list keeps those of a loop that is freed findable.
 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, linger_conn) all = LIST_HEAD_INITIALIZER(all);
static unsigned count;

static void linger_end(struct linger_conn *l)
{
	pthread_mutex_lock(&lock);
	LIST_REMOVE(l, link);
	count--;
	pthread_mutex_unlock(&lock);
	loop_timer_fini(&l->timer);
	loop_fd_fini(&l->watch);
	close(l->fd);
	free(l->bytes);
	free(l);
}

static void on_timeout(void *arg)
{
	linger_end(arg);
}

/* False when the connection is of no use any more. */
static bool speak(struct linger_conn *l)
{
	ssize_t n = send(l->fd, l->bytes + l->sent, l->len - l->sent, MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	l->sent += (size_t)n;
	if (l->sent == l->len)
		shutdown(l->fd, SHUT_WR);
	return true;
}

static bool drain(struct linger_conn *l)
{
	for (unsigned i = 0; i < LINGER_TURN_READ; i++) {
		/* What is drained is of no interest, so the shared scratch may hold it. */
		ssize_t n = recv(l->fd, loop_scratch(l->watch.loop), LOOP_SCRATCH_SIZE, 0);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		l->drained += (size_t)n;
		if (!n || l->drained > LINGER_READ_MAX)
			return false;
	}
	return true;
}

static void on_event(void *arg, unsigned events)
{
	struct linger_conn *l = arg;

	if (!(events & LOOP_WRITE ? speak(l) : drain(l))) {
		linger_end(l);
		return;
	}
	loop_fd_want(&l->watch, LOOP_READ | (l->sent < l->len ? LOOP_WRITE : 0));
}

static bool enlist(struct linger_conn *l)
{
	bool ok;

	pthread_mutex_lock(&lock);
	ok = count < LINGER_MAX;
	if (ok) {
		count++;
		LIST_INSERT_HEAD(&all, l, link);
	}
	pthread_mutex_unlock(&lock);
	return ok;
}

void tcp_linger(struct loop *loop, int fd, uint8_t *bytes, size_t len)
{
	struct linger_conn *l = calloc(1, sizeof(*l));

	if (!l || !enlist(l)) {
		/* One try is all that it gets. */
		if (send(fd, bytes, len, MSG_NOSIGNAL) > 0)
			shutdown(fd, SHUT_WR);
		close(fd);
		free(bytes);
		free(l);
		return;
	}
	l->fd = fd;
	l->bytes = bytes;
	l->len = len;
	loop_fd_init(&l->watch, loop, fd, on_event, l);
	loop_timer_init(&l->timer, loop, on_timeout, l);
	loop_timer_arm(&l->timer, LINGER_TIME);
	on_event(l, LOOP_WRITE);
}

unsigned tcp_linger_count(void)
{
	unsigned n;

	pthread_mutex_lock(&lock);
	n = count;
	pthread_mutex_unlock(&lock);
	return n;
}
