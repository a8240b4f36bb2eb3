/* SPDX-License-Identifier: Apache-2.0 */
/* Where namespaces come from: controllers over a network, and files. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/config_field.h"
#include "gateway/config_parts.h"

#define DISCOVERY_PORT 8009

enum { TCP = 1, FILE_KIND = 2, RDMA = 4, NETWORK = TCP | RDMA };
static const struct {
	const struct ini_transport *transport;
	struct cfg_variant variant;
} kinds[] = {
	{&ini_tcp, {TCP, "transport \"tcp\""}},
	{&ini_file, {FILE_KIND, "transport \"file\""}},
	{&ini_rdma, {RDMA, "transport \"rdma\""}},
};
static const struct cfg_word transports[] = {{"tcp", 0}, {"rdma", 2}, {"file", 1}, {0}};

static const struct cfg_word ana_states[] = {
	{"optimized", NVME_ANA_STATE_OPTIMIZED},
	{"non-optimized", NVME_ANA_STATE_NONOPTIMIZED},
	{"inaccessible", NVME_ANA_STATE_INACCESSIBLE},
	{"persistent-loss", NVME_ANA_STATE_PERSISTENT_LOSS},
	{"change", NVME_ANA_STATE_CHANGE},
	{0},
};

static const char *check_traddr(const char *traddr)
{
	struct addr a;

	if (addr_parse(&a, traddr, "1") || addr_is_any(&a))
		return "the IPv4 or IPv6 address, in digits, of one machine";
	return NULL;
}

static const char *check_name(const char *name)
{
	for (; *name; name++)
		if ((unsigned char)*name <= ' ' || *name == '/' || *name == 0x7f)
			return "a name without spaces, slashes and control characters";
	return NULL;
}

#define AT(member) CFG_AT(struct upstream_cfg, member)
static const struct cfg_field fields[] = {
	{"transport", CFG_WORD, AT(kind), .required = true, .words = transports,
	 .live = CFG_RECONNECT},
	{"name", CFG_TEXT, AT(mp.name), .check = check_name},
	{"nqn", CFG_TEXT, AT(mp.nqn), .check = cfg_check_foreign_nqn, .live = CFG_RECONNECT},
	{"weight", CFG_UINT, AT(mp.weight), .min = 1, .max = 1000, .def = 1, .live = CFG_LIVE},
	{"enabled", CFG_BOOL, AT(mp.enabled), .def = true, .live = CFG_LIVE},
	{"standby", CFG_BOOL, AT(mp.standby), .live = CFG_LIVE},
	{"queue_size", CFG_UINT, AT(mp.queue_size), .min = 2, .max = 1024, .def = 128,
	 .live = CFG_RECONNECT},
	{"io_timeout", CFG_SECONDS, AT(mp.io_timeout), .min = 0.1, .max = 3600, .def = 30,
	 .live = CFG_RECONNECT},

	{"traddr", CFG_TEXT, AT(traddr), .required = true, .only = NETWORK, .check = check_traddr,
	 .live = CFG_RECONNECT},
	{"trsvcid", CFG_PORT, AT(port), .only = NETWORK, .min = 1, .max = 65535,
	 .live = CFG_RECONNECT},
	{"host_traddr", CFG_TEXT, AT(host_traddr), .only = NETWORK, .check = check_traddr,
	 .live = CFG_RECONNECT},
	{"hostnqn", CFG_TEXT, AT(mp.hostnqn), .only = NETWORK, .check = cfg_check_nqn,
	 .live = CFG_RECONNECT},
	{"hostid", CFG_ID, AT(mp.hostid), .only = NETWORK, .live = CFG_RECONNECT},
	{"discovery", CFG_BOOL, AT(mp.discovery), .only = NETWORK},
	{"nr_io_queues", CFG_UINT, AT(mp.nr_io_queues), .only = NETWORK, .max = 1024,
	 .live = CFG_RECONNECT},
	{"keep_alive_tmo", CFG_SECONDS, AT(mp.keep_alive_tmo), .only = NETWORK, .min = 0.1,
	 .max = 3600, .def = 5, .or_off = true, .live = CFG_RECONNECT},
	{"reconnect_delay", CFG_SECONDS, AT(mp.reconnect_delay), .only = NETWORK, .min = 0.05,
	 .max = 3600, .def = 2, .live = CFG_LIVE},
	{"ctrl_loss_tmo", CFG_SECONDS, AT(mp.ctrl_loss_tmo), .only = NETWORK, .max = 31536000,
	 .def = -1, .or_never = true, .live = CFG_LIVE},
	{"fast_io_fail_tmo", CFG_SECONDS, AT(mp.fast_io_fail_tmo), .only = NETWORK, .max = 31536000,
	 .def = -1, .or_never = true, .live = CFG_LIVE},
	{"connect_timeout", CFG_SECONDS, AT(mp.connect_timeout), .only = NETWORK, .min = 0.1,
	 .max = 3600, .def = 10, .live = CFG_LIVE},
	{"hdr_digest", CFG_BOOL, AT(mp.hdr_digest), .only = TCP, .live = CFG_RECONNECT},
	{"data_digest", CFG_BOOL, AT(mp.data_digest), .only = TCP, .live = CFG_RECONNECT},
	{"register_always", CFG_BOOL, AT(mp.register_always), .only = RDMA, .live = CFG_RECONNECT},

	{"path", CFG_TEXT, AT(file_path), .required = true, .only = FILE_KIND},
	{"size", CFG_BYTES, AT(file.size), .only = FILE_KIND},
	{"block_size", CFG_UINT, AT(file.block_size), .only = FILE_KIND, .min = 512, .max = 65536,
	 .power_of_two = true},
	{"uuid", CFG_ID, AT(file.uuid), .only = FILE_KIND},
	{"nguid", CFG_ID, AT(file.nguid), .only = FILE_KIND},
	{"eui64", CFG_ID, AT(file.eui64), .only = FILE_KIND},
	{"cntlid", CFG_UINT, AT(file.cntlid), .only = FILE_KIND, .min = 1, .max = 0xffef},
	{"ana_state", CFG_WORD, AT(file.ana_state), .only = FILE_KIND, .words = ana_states},
	{"read_only", CFG_BOOL, AT(file.read_only), .only = FILE_KIND},
	{0},
};

/* The member that a problem is about, or the object when it was left out. */
static const struct cfg_node *member_or(const struct cfg_node *n, const char *key)
{
	const struct cfg_node *m = cfg_member(n, key);

	return m ? m : n;
}

static struct cfg_variant variant_of(const struct cfg_node *n)
{
	const struct cfg_node *transport = cfg_member(n, "transport");
	const char *s = transport ? json_string_value(transport->value) : NULL;

	for (const struct cfg_word *w = transports; s && w->text; w++)
		if (!strcmp(w->text, s))
			return kinds[w->value].variant;
	return (struct cfg_variant){0};
}

/* ---- over a network ---- */

static void any_port(struct addr *a)
{
	if (a->ss.ss_family == AF_INET)
		((struct sockaddr_in *)&a->ss)->sin_port = 0;
	else
		((struct sockaddr_in6 *)&a->ss)->sin6_port = 0;
}

static void set_addresses(const struct cfg_node *n, struct upstream_cfg *t)
{
	struct upstream_config *up = &t->mp;
	char text[8];

	if (!t->port)
		t->port = up->discovery ? DISCOVERY_PORT : 4420;
	snprintf(text, sizeof(text), "%u", t->port);
	if (!t->traddr[0] || addr_parse(&up->addr, t->traddr, text))
		return;
	if (!t->host_traddr[0] || addr_parse(&up->host_addr, t->host_traddr, text))
		return;
	any_port(&up->host_addr);
	if (up->host_addr.ss.ss_family != up->addr.ss.ss_family)
		cfg_problem(cfg_member(n, "host_traddr"),
			    "is not of the address family of traddr, expected both IPv4 or both "
			    "IPv6");
}

/* An NQN and a host ID that are configured apart may belong to different hosts. */
static void set_host(const struct cfg_defaults *d, struct upstream_config *up)
{
	static const uint8_t none[16];
	struct host_id id;

	strcpy(id.hostnqn, up->hostnqn);
	memcpy(id.hostid, up->hostid, sizeof(id.hostid));
	if (!id.hostnqn[0])
		strcpy(id.hostnqn, d->host.hostnqn);
	if (!strcmp(id.hostnqn, d->host.hostnqn) && !memcmp(id.hostid, none, sizeof(none)))
		memcpy(id.hostid, d->host.hostid, sizeof(id.hostid));
	host_id_of(&id, d->etc);
	strcpy(up->hostnqn, id.hostnqn);
	memcpy(up->hostid, id.hostid, sizeof(up->hostid));
}

static void finish_network(const struct cfg_node *n, struct upstream_cfg *up)
{
	const struct cfg_node *nqn = cfg_member(n, "nqn");
	char buf[ADDR_STR_MAX];

	set_addresses(n, up);
	if (!nqn && up->mp.discovery)
		strcpy(up->mp.nqn, NVMF_DISCOVERY_NQN);
	else if (!nqn)
		cfg_problem(n, "has no \"nqn\", expected one unless \"discovery\" is true");
	else if (!up->mp.discovery && !strcmp(up->mp.nqn, NVMF_DISCOVERY_NQN))
		cfg_problem(nqn, "is the discovery NQN, expected a subsystem's, or \"discovery\": "
				 "true");
	if (!up->mp.name[0] && up->mp.addr.len)
		snprintf(up->mp.name, sizeof(up->mp.name), "%s", addr_str(&up->mp.addr, buf));
}

/* ---- a file ---- */

static void name_by_path(const struct cfg_node *n, struct upstream_cfg *up)
{
	const char *slash = strrchr(up->file_path, '/');
	const char *base = slash ? slash + 1 : up->file_path;

	if (!base[0] || strlen(base) >= sizeof(up->mp.name) || check_name(base))
		cfg_problem(cfg_member(n, "path"), "its last part makes no name for the upstream, "
						   "expected a \"name\" too");
	else
		strcpy(up->mp.name, base);
}

static void finish_file(const struct cfg_node *n, const struct subsys_cfg *subsystem, unsigned i,
			struct upstream_cfg *up)
{
	uint32_t block = up->file.block_size ? up->file.block_size : 512;

	up->is_file = true;
	up->file.path = up->file_path;
	up->file.subnqn = up->mp.nqn;
	if (!cfg_member(n, "nqn"))
		strcpy(up->mp.nqn, subsystem->mp.nqn);
	up->any_cntlid = !up->file.cntlid;
	if (up->any_cntlid)
		up->file.cntlid = (uint16_t)(i + 1);
	if (!up->mp.name[0] && up->file_path[0])
		name_by_path(n, up);
	if (up->file.size % block)
		cfg_problem(cfg_member(n, "size"),
			    "is %llu bytes, expected a multiple of the block "
			    "size %u",
			    (unsigned long long)up->file.size, block);
}

/* ---- all ---- */

static bool same_path(const struct upstream_cfg *a, const struct upstream_cfg *b)
{
	return !a->is_file && !b->is_file && a->mp.transport == b->mp.transport && a->mp.addr.len &&
	       addr_equal(&a->mp.addr, &b->mp.addr) &&
	       addr_equal(&a->mp.host_addr, &b->mp.host_addr) && !strcmp(a->mp.nqn, b->mp.nqn);
}

static void check_others(const struct cfg_node *n, const struct upstream_cfg *all, unsigned i)
{
	const struct upstream_cfg *up = &all[i];

	for (unsigned j = 0; j < i; j++) {
		if (same_path(up, &all[j])) {
			cfg_problem(n,
				    "is the same as upstreams[%u], expected another traddr, "
				    "trsvcid, nqn or host_traddr",
				    j);
			return;
		}
		if (up->mp.name[0] && !strcmp(up->mp.name, all[j].mp.name)) {
			cfg_problem(member_or(n, "name"),
				    "\"%s\" is the name of upstreams[%u] too, expected another "
				    "\"name\"",
				    up->mp.name, j);
			return;
		}
	}
}

static void read_upstream(const struct cfg_node *n, const struct cfg_defaults *defaults,
			  struct subsys_cfg *cfg, unsigned i)
{
	struct cfg_variant variant = variant_of(n);
	struct upstream_cfg *up = &cfg->upstreams[i];

	cfg_read(n, fields, &variant, up);
	up->mp.transport = kinds[up->kind].transport;
	set_host(defaults, &up->mp);
	if (variant.bit & NETWORK)
		finish_network(n, up);
	else if (variant.bit == FILE_KIND)
		finish_file(n, cfg, i, up);
	check_others(n, cfg->upstreams, i);
}

/* What a file is opened as stays with it, its NQN too. */
void cfg_compare_upstream(const struct upstream_cfg *was, const struct upstream_cfg *is,
			  struct cfg_delta *d)
{
	struct upstream_cfg old = *was;

	if (is->any_cntlid)
		old.file.cntlid = is->file.cntlid;
	cfg_compare(fields, &kinds[is->kind].variant, &old, is, d);
	if (was->is_file != is->is_file || (is->is_file && strcmp(was->mp.nqn, is->mp.nqn)))
		d->restart = true;
}

void cfg_upstreams(const struct cfg_node *subsystem, const struct cfg_defaults *defaults,
		   struct subsys_cfg *cfg)
{
	const struct cfg_node *list = cfg_array(subsystem, "upstreams", 1, CFG_MAX_UPSTREAMS);

	if (!list)
		return;
	cfg->upstreams = cfg_alloc(list->nr, sizeof(cfg->upstreams[0]));
	cfg->nr_upstreams = list->nr;
	for (unsigned i = 0; i < list->nr; i++)
		read_upstream(&list->children[i], defaults, cfg, i);
}
