/* SPDX-License-Identifier: Apache-2.0 */
/* Where hosts connect. */
#include <stdlib.h>
#include <string.h>

#include "gateway/config_field.h"
#include "gateway/config_parts.h"

/* As in the file, beside what goes into the struct as it is. */
struct listener_text {
	struct listener_cfg l;
	unsigned transport; /* index into targets */
	char traddr[64];
	uint16_t port;
};

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

#define AT(member) CFG_AT(struct listener_text, member)
static const struct cfg_field fields[] = {
	{"transport", CFG_WORD, AT(transport), .required = true, .words = transports},
	{"traddr", CFG_TEXT, AT(traddr), .required = true, .check = cfg_check_traddr},
	{"trsvcid", CFG_PORT, AT(port), .min = 1, .max = 65535, .def = 4420},
	{"advertise", CFG_TEXT, AT(l.traddr_out), .check = check_advertise},
	{"in_capsule_data", CFG_UINT, AT(l.tgt.in_capsule_data), .max = SEG_SIZE, .def = 8192,
	 .multiple = 16},
	/* NVMe/TCP: MAXH2CDATA is at least 4096 and in dwords */
	{"max_h2c_data", CFG_UINT, AT(l.tgt.max_h2c_data), .min = 4096, .max = REQUEST_MAX_DATA,
	 .def = 131072, .multiple = 4},
	{"hdr_digest", CFG_BOOL, AT(l.tgt.hdr_digest), .def = true},
	{"data_digest", CFG_BOOL, AT(l.tgt.data_digest), .def = true},
	{"cpda", CFG_UINT, AT(l.tgt.cpda), .max = 31},
	{"max_connections", CFG_UINT, AT(l.tgt.max_connections), .min = 1, .max = 1000000,
	 .def = 1024},
	{"handshake_timeout", CFG_SECONDS, AT(l.tgt.handshake_timeout), .min = 0.1, .max = 3600,
	 .def = 10},
	{"stall_timeout", CFG_SECONDS, AT(l.tgt.stall_timeout), .min = 0.1, .max = 3600, .def = 30},
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

static void check_advertised(const struct cfg_node *n, const struct listener_text *t,
			     const struct addr *at)
{
	struct addr out;

	if (!t->l.traddr_out[0] || addr_parse(&out, t->l.traddr_out, "1"))
		return;
	if (!addr_is_any(at))
		cfg_key_problem(cfg_member(n, "advertise"),
				"fits a wildcard traddr only, expected not to be there: hosts are "
				"told the traddr %s",
				t->traddr);
	else if (out.ss.ss_family != at->ss.ss_family)
		cfg_problem(cfg_member(n, "advertise"),
			    "is not of the address family of traddr, expected both IPv4 or both "
			    "IPv6");
}

static void read_listener(const struct cfg_node *n, struct listener_cfg *all, unsigned i)
{
	struct listener_text t = {0};
	char port[8];

	cfg_read(n, fields, NULL, &t);
	all[i] = t.l;
	all[i].transport = targets[t.transport];
	snprintf(port, sizeof(port), "%u", t.port);
	if (!t.traddr[0] || addr_parse(&all[i].addr, t.traddr, port))
		return;
	check_others(n, all, i);
	check_advertised(n, &t, &all[i].addr);
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
