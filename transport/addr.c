/* SPDX-License-Identifier: Apache-2.0 */
/* Numeric transport addresses; see addr.h. */
#include "transport/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sockaddr_in *v4(const struct addr *a)
{
	return (struct sockaddr_in *)&a->ss;
}

static struct sockaddr_in6 *v6(const struct addr *a)
{
	return (struct sockaddr_in6 *)&a->ss;
}

static int parse_number(const char *s, unsigned long max, unsigned long *out)
{
	size_t n = strspn(s, "0123456789");

	if (!n || n > 10 || s[n])
		return -EINVAL;
	*out = strtoul(s, NULL, 10);
	return *out > max ? -EINVAL : 0;
}

/* An interface name or index. */
static int parse_scope(const char *s, uint32_t *scope)
{
	unsigned long n;

	*scope = if_nametoindex(s);
	if (*scope)
		return 0;
	if (parse_number(s, UINT32_MAX, &n) || !n)
		return -EINVAL;
	*scope = (uint32_t)n;
	return 0;
}

static int parse_v6(struct sockaddr_in6 *sa, const char *traddr)
{
	char host[INET6_ADDRSTRLEN];
	const char *scope = strchr(traddr, '%');
	size_t n = scope ? (size_t)(scope - traddr) : strlen(traddr);

	if (n >= sizeof(host))
		return -EINVAL;
	memcpy(host, traddr, n);
	host[n] = '\0';
	if (inet_pton(AF_INET6, host, &sa->sin6_addr) != 1)
		return -EINVAL;
	if (scope && parse_scope(scope + 1, &sa->sin6_scope_id))
		return -EINVAL;
	sa->sin6_family = AF_INET6;
	return 0;
}

int addr_parse(struct addr *a, const char *traddr, const char *trsvcid)
{
	struct addr out = {.len = 0};
	unsigned long port;

	if (parse_number(trsvcid, 65535, &port) || !port)
		return -EINVAL;
	if (inet_pton(AF_INET, traddr, &v4(&out)->sin_addr) == 1) {
		v4(&out)->sin_family = AF_INET;
		v4(&out)->sin_port = htons((uint16_t)port);
		out.len = sizeof(struct sockaddr_in);
	} else {
		if (parse_v6(v6(&out), traddr))
			return -EINVAL;
		v6(&out)->sin6_port = htons((uint16_t)port);
		out.len = sizeof(struct sockaddr_in6);
	}
	*a = out;
	return 0;
}

char *addr_host_str(const struct addr *a, char *buf)
{
	char name[IF_NAMESIZE];
	size_t n;

	buf[0] = '\0';
	if (!a->len)
		return buf;
	if (a->ss.ss_family == AF_INET) {
		inet_ntop(AF_INET, &v4(a)->sin_addr, buf, ADDR_STR_MAX);
		return buf;
	}
	inet_ntop(AF_INET6, &v6(a)->sin6_addr, buf, ADDR_STR_MAX);
	n = strlen(buf);
	if (!v6(a)->sin6_scope_id)
		return buf;
	if (if_indextoname(v6(a)->sin6_scope_id, name))
		snprintf(buf + n, ADDR_STR_MAX - n, "%%%s", name);
	else
		snprintf(buf + n, ADDR_STR_MAX - n, "%%%u", v6(a)->sin6_scope_id);
	return buf;
}

char *addr_str(const struct addr *a, char *buf)
{
	char host[ADDR_STR_MAX];
	/* Longest: 45 of the address, "%" and 15 of the interface; the precision tells gcc. */
	const int max = ADDR_STR_MAX - (int)sizeof("[]:65535");

	addr_host_str(a, host);
	if (!a->len)
		snprintf(buf, ADDR_STR_MAX, "-");
	else if (a->ss.ss_family == AF_INET)
		snprintf(buf, ADDR_STR_MAX, "%.*s:%u", max, host, addr_port(a));
	else
		snprintf(buf, ADDR_STR_MAX, "[%.*s]:%u", max, host, addr_port(a));
	return buf;
}

uint16_t addr_port(const struct addr *a)
{
	if (!a->len)
		return 0;
	return ntohs(a->ss.ss_family == AF_INET ? v4(a)->sin_port : v6(a)->sin6_port);
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	if (!a->len || !b->len)
		return a->len == b->len;
	if (a->ss.ss_family != b->ss.ss_family || addr_port(a) != addr_port(b))
		return false;
	if (a->ss.ss_family == AF_INET)
		return v4(a)->sin_addr.s_addr == v4(b)->sin_addr.s_addr;
	return !memcmp(&v6(a)->sin6_addr, &v6(b)->sin6_addr, sizeof(struct in6_addr)) &&
	       v6(a)->sin6_scope_id == v6(b)->sin6_scope_id;
}

bool addr_is_any(const struct addr *a)
{
	if (!a->len)
		return true;
	if (a->ss.ss_family == AF_INET)
		return v4(a)->sin_addr.s_addr == htonl(INADDR_ANY);
	return IN6_IS_ADDR_UNSPECIFIED(&v6(a)->sin6_addr);
}

bool addr_is_loopback(const struct addr *a)
{
	if (!a->len)
		return false;
	if (a->ss.ss_family == AF_INET)
		return ntohl(v4(a)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&v6(a)->sin6_addr);
}
