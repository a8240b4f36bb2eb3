/* SPDX-License-Identifier: Apache-2.0 */
/* NVMe/TCP as target: listeners. All of it runs on the control loop. */
#include "transport/tcp_target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/inherited.h"
#include "transport/log.h"

#define BACKLOG	     1024
#define ACCEPT_TURN  16
#define ACCEPT_RETRY (200 * NSEC_PER_MSEC) /* when the process is out of fds */

void tcp_listener_put(struct tgt_listener *l)
{
	l->connections--;
	if (l->gone && !l->connections)
		free(l);
}

static void on_retry(void *arg)
{
	struct tgt_listener *l = arg;

	loop_fd_want(&l->watch, LOOP_READ);
}

static void on_accept(void *arg, unsigned events)
{
	struct tgt_listener *l = arg;

	for (unsigned i = 0; i < ACCEPT_TURN; i++) {
		struct sockaddr_storage peer = {0};
		socklen_t len = sizeof(peer);
		int fd = accept4(l->fd, (struct sockaddr *)&peer, &len,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			log_debug(TCP, "accepted socket %d, connection %u of the listener", fd,
				  l->connections + 1);
			if (l->connections < l->cfg.max_connections) {
				tcp_tgt_new(l, fd, &peer, len);
				continue;
			}
			close(fd);
			log_ratelimited(LOG_WARNING, "more than %u connections: one more refused",
					l->cfg.max_connections);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			/* The backlog stays readable: look away rather than spin. */
			log_ratelimited(LOG_ERR, "cannot accept a connection: %s", strerror(errno));
			loop_fd_want(&l->watch, 0);
			loop_timer_arm(&l->retry, ACCEPT_RETRY);
		}
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

static int new_socket(const struct addr *addr)
{
	int fd = socket(addr->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1, e;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* So that 0.0.0.0 and [::] can be listened on with the same port. */
	if (addr->ss.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&addr->ss, addr->len) == 0 &&
	    listen(fd, BACKLOG) == 0)
		return fd;
	e = errno;
	close(fd);
	errno = e;
	return -1;
}

struct tgt_listener *tcp_listen(struct loop *control, const struct addr *addr,
				const struct tgt_config *cfg, const struct tgt_ops *ops, void *arg)
{
	struct tgt_listener *l = calloc(1, sizeof(*l));
	int e;

	if (!l)
		return NULL;
	l->cfg = *cfg;
	l->ops = ops;
	l->arg = arg;
	l->loop = control;
	TAILQ_INIT(&l->unopened);
	l->fd = inherited_socket(addr);
	if (l->fd < 0)
		l->fd = new_socket(addr);
	if (l->fd < 0)
		goto fail;
	l->addr.len = sizeof(l->addr.ss);
	if (getsockname(l->fd, (struct sockaddr *)&l->addr.ss, &l->addr.len))
		goto fail;
	loop_timer_init(&l->retry, control, on_retry, l);
	loop_fd_init(&l->watch, control, l->fd, on_accept, l);
	loop_fd_want(&l->watch, LOOP_READ);
	return l;
fail:
	e = errno;
	if (l->fd >= 0)
		close(l->fd);
	free(l);
	errno = e;
	return NULL;
}

const struct addr *tcp_listener_addr(const struct tgt_listener *l)
{
	return &l->addr;
}

void *tcp_listener_arg(const struct tgt_listener *l)
{
	return l->arg;
}

/* Whose handshake is not through goes too: there is nobody else to end it. */
void tcp_unlisten(struct tgt_listener *l)
{
	struct tcp_tgt *t;

	loop_timer_fini(&l->retry);
	loop_fd_fini(&l->watch);
	close(l->fd);
	l->gone = true;
	TAILQ_FOREACH(t, &l->unopened, unopened_link)
		tcp_tgt_shut(t, "nobody listens any more");
	if (!l->connections)
		free(l);
}
