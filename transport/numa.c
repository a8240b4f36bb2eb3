/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/numa.h"

#include <dirent.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int numa_node_of_cpu(int cpu)
{
	char path[64];
	struct dirent *e;
	int node = -1;
	DIR *dir;

	if (cpu < 0)
		return -1;
	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d", cpu);
	dir = opendir(path);
	if (!dir)
		return -1;
	while ((e = readdir(dir)))
		if (sscanf(e->d_name, "node%d", &node) == 1)
			break;
	closedir(dir);
	return node;
}

static int node_of_adapter(const char *name)
{
	char path[64 + IF_NAMESIZE];
	int node = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/net/%s/device/numa_node", name);
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (fscanf(f, "%d", &node) != 1)
		node = -1;
	fclose(f);
	return node;
}

static bool same_address(const struct sockaddr *a, const struct sockaddr *b)
{
	if (!b || a->sa_family != b->sa_family)
		return false;
	if (a->sa_family == AF_INET)
		return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
		       ((const struct sockaddr_in *)b)->sin_addr.s_addr;
	return a->sa_family == AF_INET6 &&
	       !memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
		       &((const struct sockaddr_in6 *)b)->sin6_addr, sizeof(struct in6_addr));
}

int numa_node_of_addr(const struct sockaddr *addr)
{
	struct ifaddrs *all, *i;
	int node = -1;

	if (getifaddrs(&all))
		return -1;
	for (i = all; i && node < 0; i = i->ifa_next)
		if (same_address(addr, i->ifa_addr))
			node = node_of_adapter(i->ifa_name);
	freeifaddrs(all);
	return node;
}
