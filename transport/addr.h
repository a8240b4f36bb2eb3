/* SPDX-License-Identifier: Apache-2.0 */
/* Transport addresses. Numeric only: no name look-ups anywhere, so nothing here can block. */
#ifndef TRANSPORT_ADDR_H
#define TRANSPORT_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct addr {
	struct sockaddr_storage ss;
	socklen_t len; /* 0: unset */
};

#define ADDR_STR_MAX 80 /* "[ipv6%scope]:port" and its terminating zero */

/* 0, or -EINVAL if traddr is no IPv4 or IPv6 literal (IPv6 scope allowed) or trsvcid no
 * port 1..65535. */
int addr_parse(struct addr *a, const char *traddr, const char *trsvcid);
/* "a.b.c.d:port" or "[v6]:port"; buf holds ADDR_STR_MAX. Returns buf. */
char *addr_str(const struct addr *a, char *buf);
/* The address alone, without port or brackets. */
char *addr_host_str(const struct addr *a, char *buf);
uint16_t addr_port(const struct addr *a);
bool addr_equal(const struct addr *a, const struct addr *b);
bool addr_is_any(const struct addr *a);
/* Only processes on this machine reach it. */
bool addr_is_loopback(const struct addr *a);

#endif
