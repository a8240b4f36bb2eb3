/* SPDX-License-Identifier: Apache-2.0 */
/* What hosts get: the exported subsystems. */
#include <stdlib.h>
#include <string.h>

#include "gateway/config_field.h"
#include "gateway/config_parts.h"
#include "gateway/subsystem.h"

static const char *check_subsystem_nqn(const char *nqn)
{
	if (!strcmp(nqn, NVMF_DISCOVERY_NQN))
		return "another NQN: the discovery subsystem is always there";
	return cfg_check_nqn(nqn);
}

/* Base 2.0, Identify Controller: ASCII, padded with spaces */
static const char *check_ascii(const char *s)
{
	size_t len = strlen(s);

	for (size_t i = 0; i < len; i++)
		if (s[i] < ' ' || s[i] > '~')
			return "printable ASCII characters";
	return s[0] == ' ' || s[len - 1] == ' ' ? "no space at either end" : NULL;
}

static const struct cfg_word identities[] = {
	{"passthrough", IDENTITY_PASSTHROUGH},
	{"derived", IDENTITY_DERIVED},
	{0},
};

static const struct cfg_word policies[] = {
	{"failover", MP_POLICY_FAILOVER},
	{"round-robin", MP_POLICY_ROUND_ROBIN},
	{"queue-depth", MP_POLICY_QUEUE_DEPTH},
	{"service-time", MP_POLICY_SERVICE_TIME},
	{"numa", MP_POLICY_NUMA},
	{0},
};

static const struct cfg_word write_retries[] = {
	{"fenced", MP_WRITE_RETRY_FENCED},
	{"immediate", MP_WRITE_RETRY_IMMEDIATE},
	{"quiesce", MP_WRITE_RETRY_QUIESCE},
	{0},
};

#define AT(member) CFG_AT(struct subsys_cfg, member)
static const struct cfg_field fields[] = {
	{"nqn", CFG_TEXT, AT(mp.nqn), .required = true, .check = check_subsystem_nqn},
	{"serial", CFG_TEXT, AT(serial), .check = check_ascii},
	{"model", CFG_TEXT, AT(model), .text = "nvmegw", .check = check_ascii},
	{"cntlid_min", CFG_UINT, AT(cntlid_min), .min = 1, .max = 0xffef, .def = 1,
	 .live = CFG_LIVE},
	{"cntlid_max", CFG_UINT, AT(cntlid_max), .min = 1, .max = 0xffef, .def = 0xffef,
	 .live = CFG_LIVE},
	{"policy", CFG_WORD, AT(mp.policy), .words = policies, .live = CFG_LIVE},
	{"no_path_timeout", CFG_SECONDS, AT(mp.no_path_timeout), .max = 86400, .def = 20,
	 .live = CFG_LIVE},
	{"max_held", CFG_UINT, AT(mp.max_held), .min = 1, .max = 65536, .live = CFG_LIVE},
	{"max_held_mib", CFG_UINT, AT(mp.max_held_bytes), .min = 1, .max = 65536, .def = 16,
	 .unit = 1 << 20, .live = CFG_LIVE},
	{"write_retry", CFG_WORD, AT(mp.write_retry), .words = write_retries, .live = CFG_LIVE},
	{"persistent_loss", CFG_SECONDS, AT(mp.persistent_loss), .max = 31536000, .def = -1,
	 .or_never = true, .live = CFG_LIVE},
	{"delayed_removal", CFG_SECONDS, AT(mp.delayed_removal), .max = 31536000, .live = CFG_LIVE},
	{"slow_path_factor", CFG_UINT, AT(mp.slow_factor), .max = 1000, .def = 8, .live = CFG_LIVE},
	{"slow_path_latency", CFG_SECONDS, AT(mp.slow_latency), .min = 0.001, .max = 3600,
	 .def = 0.02, .live = CFG_LIVE},
	{"flap_hold", CFG_SECONDS, AT(mp.flap_hold), .max = 3600, .def = 5, .live = CFG_LIVE},
	{"max_transfer_kib", CFG_UINT, AT(max_transfer), .min = 8, .max = REQUEST_MAX_DATA / 1024,
	 .def = 1024, .unit = 1024, .power_of_two = true},
	{"max_io_queues", CFG_UINT, AT(max_io_queues), .min = 1, .max = 1024, .def = 64,
	 .live = CFG_LIVE},
	{"queue_size", CFG_UINT, AT(max_queue_size), .min = 2, .max = 1024, .def = 128},
	{"max_controllers", CFG_UINT, AT(max_controllers), .min = 1, .max = 0xffef, .def = 256,
	 .live = CFG_LIVE},
	{"identity", CFG_WORD, AT(identity), .words = identities},
	{"allow_any_host", CFG_BOOL, AT(allow_any_host), .live = CFG_LIVE},
	{.name = "allowed_hosts", .type = CFG_OTHER},
	{.name = "namespaces", .type = CFG_OTHER},
	{"export_all", CFG_BOOL, AT(export_all), .live = CFG_LIVE},
	{.name = "paths", .type = CFG_OTHER},
	{"upstreams", CFG_OTHER, .required = true},
	{0},
};

/* ---- hosts ---- */

/* Each once; the later ones are reported. */
static void check_hosts(const struct cfg_node *list, const struct subsys_cfg *ss)
{
	for (unsigned i = 0; i < list->nr; i++)
		for (unsigned j = 0; j < i; j++)
			if (ss->allowed_hosts[i][0] &&
			    !strcmp(ss->allowed_hosts[i], ss->allowed_hosts[j])) {
				cfg_problem(&list->children[i],
					    "is the same as allowed_hosts[%u], expected each once",
					    j);
				break;
			}
}

static void read_hosts(const struct cfg_node *n, struct subsys_cfg *ss)
{
	const struct cfg_node *list = cfg_array(n, "allowed_hosts", 0, CFG_MAX_HOSTS);
	const struct cfg_node *any = cfg_member(n, "allow_any_host");

	if (!cfg_member(n, "allowed_hosts")) {
		if (any && json_is_false(any->value))
			cfg_problem(any, "is false and there are no \"allowed_hosts\", expected a "
					 "list of them, empty when no host may connect");
		ss->allow_any_host = true;
		return;
	}
	if (ss->allow_any_host)
		cfg_problem(any,
			    "is true and there are \"allowed_hosts\", expected one of the two");
	if (!list)
		return;
	ss->allowed_hosts = cfg_alloc(list->nr, sizeof(ss->allowed_hosts[0]));
	ss->nr_allowed_hosts = list->nr;
	for (unsigned i = 0; i < list->nr; i++)
		cfg_text(&list->children[i], ss->allowed_hosts[i], sizeof(ss->allowed_hosts[i]),
			 cfg_check_foreign_nqn);
	check_hosts(list, ss);
}

/* ---- namespaces ---- */

/* The first is what there is without the key. */
static const struct cfg_word namespace_policies[] = {
	{"subsystem", MP_POLICY_COUNT},
	{"failover", MP_POLICY_FAILOVER},
	{"round-robin", MP_POLICY_ROUND_ROBIN},
	{"queue-depth", MP_POLICY_QUEUE_DEPTH},
	{"service-time", MP_POLICY_SERVICE_TIME},
	{"numa", MP_POLICY_NUMA},
	{0},
};

#define NS_AT(member) CFG_AT(struct subsys_namespace_cfg, member)
static const struct cfg_field namespace_fields[] = {
	{"nsid", CFG_UINT, NS_AT(nsid), .min = 1, .max = SUBSYS_MAX_NSID, .live = CFG_LIVE},
	{"uuid", CFG_ID, NS_AT(ident.uuid)},
	{"nguid", CFG_ID, NS_AT(ident.nguid)},
	{"eui64", CFG_ID, NS_AT(ident.eui64)},
	{"policy", CFG_WORD, NS_AT(policy), .words = namespace_policies, .live = CFG_LIVE},
	{0},
};

static bool same_ident(const struct ns_ident *a, const struct ns_ident *b)
{
	return a->has_uuid == b->has_uuid && a->has_nguid == b->has_nguid &&
	       a->has_eui64 == b->has_eui64 && !memcmp(a->uuid, b->uuid, sizeof(a->uuid)) &&
	       !memcmp(a->nguid, b->nguid, sizeof(a->nguid)) &&
	       !memcmp(a->eui64, b->eui64, sizeof(a->eui64));
}

static void check_nsid(const struct cfg_node *n, const struct subsys_cfg *ss, uint32_t nsid)
{
	uint32_t max = subsystem_max_nsid(ss->max_transfer);

	if (nsid > max)
		cfg_problem(cfg_member(n, "nsid"),
			    "is %u, expected 1 to %u, as many as the ANA log has room for within "
			    "max_transfer_kib",
			    nsid, max);
}

static void check_namespace(const struct cfg_node *n, const struct subsys_namespace_cfg *all,
			    unsigned i)
{
	for (unsigned j = 0; j < i; j++) {
		if (all[i].nsid && all[i].nsid == all[j].nsid)
			cfg_problem(cfg_member(n, "nsid"),
				    "%u is the NSID of namespaces[%u] too, expected each once",
				    all[i].nsid, j);
		if (same_ident(&all[i].ident, &all[j].ident))
			cfg_problem(n,
				    "is the same namespace as namespaces[%u], expected each once",
				    j);
	}
}

static void read_namespace(const struct cfg_node *n, struct subsys_cfg *ss, unsigned i)
{
	struct subsys_namespace_cfg *all = ss->namespaces;
	struct ns_ident *id = &all[i].ident;
	unsigned before = n->doc->problems;

	cfg_read(n, namespace_fields, NULL, &all[i]);
	check_nsid(n, ss, all[i].nsid);
	id->has_uuid = cfg_member(n, "uuid");
	id->has_nguid = cfg_member(n, "nguid");
	id->has_eui64 = cfg_member(n, "eui64");
	if (json_is_object(n->value) && id->has_uuid + id->has_nguid + id->has_eui64 != 1)
		cfg_problem(n, "has %s, expected exactly one of \"uuid\", \"nguid\" and \"eui64\"",
			    id->has_uuid || id->has_nguid || id->has_eui64 ? "several identifiers"
									   : "no identifier");
	if (n->doc->problems == before)
		check_namespace(n, all, i);
}

static void read_namespaces(const struct cfg_node *n, struct subsys_cfg *ss)
{
	const struct cfg_node *list = cfg_array(n, "namespaces", 1, SUBSYS_MAX_NSID);
	const struct cfg_node *all = cfg_member(n, "export_all");

	if (!cfg_member(n, "namespaces")) {
		if (all && json_is_false(all->value))
			cfg_problem(all, "is false and there are no \"namespaces\", expected a "
					 "list of those to export");
		ss->export_all = true;
	}
	if (!list)
		return;
	ss->namespaces = cfg_alloc(list->nr, sizeof(ss->namespaces[0]));
	ss->nr_namespaces = list->nr;
	for (unsigned i = 0; i < list->nr; i++)
		read_namespace(&list->children[i], ss, i);
}

/* ---- paths ---- */

/* The first is what there is without the key. */
static const struct cfg_word path_admins[] = {
	{"upstream", PATH_ADMIN_COUNT},
	{"enabled", PATH_ENABLED},
	{"standby", PATH_STANDBY},
	{"disabled", PATH_DISABLED},
	{0},
};

/* What stands before the last slash is checked nowhere: discovery makes names of its own. */
static const char *check_path(const char *path)
{
	const char *nsid = strrchr(path, '/');

	if (!nsid || nsid == path || !nsid[1] || strspn(nsid + 1, "0123456789") != strlen(nsid + 1))
		return "UPSTREAM/NSID as \"nvmegw path list\" has it";
	return NULL;
}

#define PATH_AT(member) CFG_AT(struct subsys_path_cfg, member)
static const struct cfg_field path_fields[] = {
	{"path", CFG_TEXT, PATH_AT(path), .required = true, .check = check_path},
	{"admin", CFG_WORD, PATH_AT(admin), .words = path_admins, .live = CFG_LIVE},
	{"weight", CFG_UINT, PATH_AT(weight), .min = 1, .max = PATH_WEIGHT_MAX, .live = CFG_LIVE},
	{0},
};

static void check_path_once(const struct cfg_node *n, const struct subsys_path_cfg *all, unsigned i)
{
	for (unsigned j = 0; j < i; j++)
		if (all[i].path[0] && !strcmp(all[i].path, all[j].path))
			cfg_problem(cfg_member(n, "path"),
				    "\"%s\" is that of paths[%u] too, expected each once",
				    all[i].path, j);
}

static void read_paths(const struct cfg_node *n, struct subsys_cfg *ss)
{
	const struct cfg_node *list = cfg_array(n, "paths", 0, CFG_MAX_PATHS);

	if (!list)
		return;
	ss->paths = cfg_alloc(list->nr, sizeof(ss->paths[0]));
	ss->nr_paths = list->nr;
	for (unsigned i = 0; i < list->nr; i++) {
		cfg_read(&list->children[i], path_fields, NULL, &ss->paths[i]);
		check_path_once(&list->children[i], ss->paths, i);
	}
}

/* ---- changes ---- */

void cfg_compare_subsystem(const struct subsys_cfg *was, const struct subsys_cfg *is,
			   struct cfg_delta *d)
{
	cfg_compare(fields, NULL, was, is, d);
}

void cfg_compare_namespace(const struct subsys_namespace_cfg *was,
			   const struct subsys_namespace_cfg *is, struct cfg_delta *d)
{
	cfg_compare(namespace_fields, NULL, was, is, d);
}

void cfg_compare_path(const struct subsys_path_cfg *was, const struct subsys_path_cfg *is,
		      struct cfg_delta *d)
{
	cfg_compare(path_fields, NULL, was, is, d);
}

bool cfg_same_namespace(const struct subsys_namespace_cfg *a, const struct subsys_namespace_cfg *b)
{
	return same_ident(&a->ident, &b->ident);
}

/* ---- all ---- */

/* The same for the same NQN, so that hosts see no other device after a reinstallation. */
static void derive_serial(struct subsys_cfg *ss)
{
	uint8_t uuid[16];

	cfg_uuid_from(ss->mp.nqn, uuid);
	for (unsigned i = 0; i < 10; i++)
		sprintf(ss->serial + 2 * i, "%02x", uuid[i]);
}

static void check_others(const struct cfg_node *n, const struct subsys_cfg *all, unsigned i)
{
	for (unsigned j = 0; j < i; j++) {
		if (all[i].mp.nqn[0] && !strcmp(all[i].mp.nqn, all[j].mp.nqn)) {
			cfg_problem(cfg_member(n, "nqn"),
				    "is the NQN of subsystems[%u] too, expected another", j);
			return;
		}
	}
}

static void read_subsystem(const struct cfg_node *n, const struct cfg_defaults *defaults,
			   struct subsys_cfg *all, unsigned i)
{
	struct subsys_cfg *ss = &all[i];

	cfg_read(n, fields, NULL, ss);
	if (!ss->mp.max_held)
		ss->mp.max_held = defaults->requests / 2;
	if (!ss->serial[0])
		derive_serial(ss);
	if (ss->cntlid_min > ss->cntlid_max) {
		const struct cfg_node *max = cfg_member(n, "cntlid_max");

		cfg_problem(max ? max : cfg_member(n, "cntlid_min"),
			    "cntlid_min %u is above cntlid_max %u, expected it not to be",
			    ss->cntlid_min, ss->cntlid_max);
	}
	check_others(n, all, i);
	read_hosts(n, ss);
	read_namespaces(n, ss);
	read_paths(n, ss);
	cfg_upstreams(n, defaults, ss);
}

void cfg_subsystems(const struct cfg_node *root, const struct cfg_defaults *defaults,
		    struct gw_config *cfg)
{
	const struct cfg_node *list = cfg_array(root, "subsystems", 1, CFG_MAX_SUBSYSTEMS);

	if (!list)
		return;
	cfg->subsystems = cfg_alloc(list->nr, sizeof(cfg->subsystems[0]));
	cfg->nr_subsystems = list->nr;
	for (unsigned i = 0; i < list->nr; i++)
		read_subsystem(&list->children[i], defaults, cfg->subsystems, i);
}
