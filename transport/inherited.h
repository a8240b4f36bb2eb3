/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets that the service manager made and keeps while the daemon is restarted
 * (sd_listen_fds(3)): a host that connects meanwhile waits in their backlog.
 */
#ifndef TRANSPORT_INHERITED_H
#define TRANSPORT_INHERITED_H

#include "transport/addr.h"

/* How many there are, and where the @n'th listens; -1: it is no TCP socket that listens. */
unsigned inherited_sockets(void);
int inherited_addr(unsigned n, struct addr *addr);
/* A new fd, not blocking, of the one that listens on @addr; -1: there is none. */
int inherited_socket(const struct addr *addr);

#endif
