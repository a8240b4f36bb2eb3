/* SPDX-License-Identifier: Apache-2.0 */
/* Where hosts connect. */
#include <stdlib.h>
#include <string.h>

#include "gateway/config_field.h"
#include "gateway/config_parts.h"

static const struct tgt_transport *const targets[] = {&tgt_tcp, &tgt_rdma};
static const struct cfg_word transports[] = {{"tcp", 0}, {"rdma", 1}, {0}};

const char *cfg_check_traddr(const char *traddr)
{
	struct addr a;

	return addr_parse(&a, traddr, "1") ? "an IPv4 or IPv6 address in digits" : NULL;
}

static const char *check_advertise(const char *traddr)
{
	struct addr a;

	if (addr_parse(&a, traddr, "1") || addr_is_any(&a))
		return "the IPv4 or IPv6 address, in digits, at which hosts reach the listener";
	return NULL;
}

#define AT(member) CFG_AT(struct listener_cfg, member)
static const struct cfg_field fields[] = {
	{"transport", CFG_WORD, AT(kind), .required = true, .words = transports, .live = CFG_LIVE},
	{"traddr", CFG_TEXT, AT(traddr), .required = true, .check = cfg_check_traddr,
	 .live = CFG_LIVE},
	{"trsvcid", CFG_PORT, AT(port), .min = 1, .max = 65535, .def = 4420, .live = CFG_LIVE},
	{"advertise", CFG_TEXT, AT(traddr_out), .check = check_advertise, .live = CFG_LIVE},
	{"in_capsule_data", CFG_UINT, AT(tgt.in_capsule_data), .max = SEG_SIZE, .def = 8192,
	 .multiple = 16, .live = CFG_LIVE},
	/* NVMe/TCP: MAXH2CDATA is at least 4096 and in dwords */
	{"max_h2c_data", CFG_UINT, AT(tgt.max_h2c_data), .min = 4096, .max = REQUEST_MAX_DATA,
	 .def = 131072, .multiple = 4, .live = CFG_LIVE},
	{"hdr_digest", CFG_BOOL, AT(tgt.hdr_digest), .def = true, .live = CFG_LIVE},
	{"data_digest", CFG_BOOL, AT(tgt.data_digest), .def = true, .live = CFG_LIVE},
	{"cpda", CFG_UINT, AT(tgt.cpda), .max = 31, .live = CFG_LIVE},
	{"max_connections", CFG_UINT, AT(tgt.max_connections), .min = 1, .max = 1000000,
	 .def = 1024, .live = CFG_LIVE},
	{"handshake_timeout", CFG_SECONDS, AT(tgt.handshake_timeout), .min = 0.1, .max = 3600,
	 .def = 10, .live = CFG_LIVE},
	{"stall_timeout", CFG_SECONDS, AT(tgt.stall_timeout), .min = 0.1, .max = 3600, .def = 30,
	 .live = CFG_LIVE},
	{0},
};

/* Two sockets cannot have the same port where one has it at any address. */
static bool collide(const struct addr *a, const struct addr *b)
{
	if (addr_equal(a, b))
		return true;
	return a->ss.ss_family == b->ss.ss_family && addr_port(a) == addr_port(b) &&
	       (addr_is_any(a) || addr_is_any(b));
}

static void check_others(const struct cfg_node *n, const struct listener_cfg *all, unsigned i)
{
	const struct cfg_node *at = cfg_member(n, "traddr");
	char buf[ADDR_STR_MAX];

	for (unsigned j = 0; j < i; j++) {
		if (all[j].addr.len && all[j].transport == all[i].transport &&
		    collide(&all[i].addr, &all[j].addr)) {
			cfg_problem(at,
				    "the address is taken by listeners[%u] on %s, expected "
				    "another address or trsvcid",
				    j, addr_str(&all[j].addr, buf));
			return;
		}
	}
}

static void check_advertised(const struct cfg_node *n, const struct listener_cfg *l)
{
	struct addr out;

	if (!l->traddr_out[0] || addr_parse(&out, l->traddr_out, "1"))
		return;
	if (!addr_is_any(&l->addr))
		cfg_key_problem(cfg_member(n, "advertise"),
				"fits a wildcard traddr only, expected not to be there: hosts are "
				"told the traddr %s",
				l->traddr);
	else if (out.ss.ss_family != l->addr.ss.ss_family)
		cfg_problem(cfg_member(n, "advertise"),
			    "is not of the address family of traddr, expected both IPv4 or both "
			    "IPv6");
}

static void read_listener(const struct cfg_node *n, struct listener_cfg *all, unsigned i)
{
	struct listener_cfg *l = &all[i];
	char port[8];

	cfg_read(n, fields, NULL, l);
	l->transport = targets[l->kind];
	snprintf(port, sizeof(port), "%u", l->port);
	if (!l->traddr[0] || addr_parse(&l->addr, l->traddr, port))
		return;
	check_others(n, all, i);
	check_advertised(n, l);
}

void cfg_compare_listener(const struct listener_cfg *was, const struct listener_cfg *is,
			  struct cfg_delta *d)
{
	cfg_compare(fields, NULL, was, is, d);
}

void cfg_listeners(const struct cfg_node *root, struct gw_config *cfg)
{
	const struct cfg_node *list = cfg_array(root, "listeners", 1, CFG_MAX_LISTENERS);

	if (!list)
		return;
	cfg->listeners = cfg_alloc(list->nr, sizeof(cfg->listeners[0]));
	cfg->nr_listeners = list->nr;
	for (unsigned i = 0; i < list->nr; i++)
		read_listener(&list->children[i], cfg->listeners, i);
}
