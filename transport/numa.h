/* SPDX-License-Identifier: Apache-2.0 */
/* Which NUMA node a core or a network adapter is on, as the kernel says in /sys. */
#ifndef TRANSPORT_NUMA_H
#define TRANSPORT_NUMA_H

#include <sys/socket.h>

/* -1: not known, or @cpu is negative. */
int numa_node_of_cpu(int cpu);
/* Of the adapter that has this local address. -1: not known, as for virtual ones. */
int numa_node_of_addr(const struct sockaddr *addr);

#endif
