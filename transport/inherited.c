/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/inherited.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

unsigned inherited_sockets(void)
{
	int n = sd_listen_fds(0);

	return n < 0 ? 0 : (unsigned)n;
}

int inherited_addr(unsigned n, struct addr *addr)
{
	int fd = SD_LISTEN_FDS_START + (int)n;

	if (sd_is_socket_inet(fd, AF_UNSPEC, SOCK_STREAM, 1, 0) <= 0)
		return -1;
	addr->len = sizeof(addr->ss);
	return getsockname(fd, (struct sockaddr *)&addr->ss, &addr->len);
}

/* The inherited fd itself stays open: a listener may come back. */
int inherited_socket(const struct addr *addr)
{
	unsigned n = inherited_sockets();
	struct addr a;

	for (unsigned i = 0; i < n; i++) {
		int fd;

		if (inherited_addr(i, &a) || !addr_equal(&a, addr))
			continue;
		fd = fcntl(SD_LISTEN_FDS_START + (int)i, F_DUPFD_CLOEXEC, 0);
		if (fd >= 0)
			fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		return fd;
	}
	return -1;
}
