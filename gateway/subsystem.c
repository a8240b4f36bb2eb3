/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/subsystem.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/admin.h"
#include "gateway/event_of.h"
#include "gateway/state.h"
#include "gateway/subsys_cfg.h"
#include "multipath/control.h"
#include "transport/log.h"

#define DISC_MAX_CONTROLLERS 1024u
#define CNTLID_FIRST	     1u
#define CNTLID_LAST	     0xffefu /* above are reserved values */

/* ---- life ---- */

static void init(struct subsystem *ss, struct gateway *gw, const char *nqn, uint16_t cntlid_min,
		 uint16_t cntlid_max, unsigned max_controllers)
{
	ss->gw = gw;
	ss->nqn = nqn;
	ss->cntlid_min = cntlid_min;
	ss->cntlid_max = cntlid_max;
	ss->cntlid_next = cntlid_min;
	ss->max_controllers = max_controllers;
	TAILQ_INIT(&ss->controllers);
	TAILQ_INIT(&ss->ccrs);
}

void subsystem_init_discovery(struct subsystem *ss, struct gateway *gw)
{
	init(ss, gw, NVMF_DISCOVERY_NQN, CNTLID_FIRST, CNTLID_LAST, DISC_MAX_CONTROLLERS);
}

/* A host gives ANA up when the log of all groups does not fit one transfer. */
uint32_t subsystem_max_nsid(uint32_t max_transfer)
{
	uint32_t each = sizeof(struct nvme_ana_group_desc) + sizeof(uint32_t);
	uint32_t n = (max_transfer - (uint32_t)sizeof(struct nvme_ana_log)) / each;

	return n < SUBSYS_MAX_NSID ? n : SUBSYS_MAX_NSID;
}

struct file_ns *subsystem_open_file(const struct upstream_cfg *up, char why[SUBSYSTEM_ERROR_MAX])
{
	char err[256];
	struct file_ns *ns = file_ns_open(&up->file, err, sizeof(err));

	if (!ns)
		snprintf(why, SUBSYSTEM_ERROR_MAX, "upstream %s: %s", up->mp.name, err);
	return ns;
}

static bool open_files(struct subsystem *ss, char why[SUBSYSTEM_ERROR_MAX])
{
	const struct subsys_cfg *cfg = ss->cfg;

	for (unsigned i = 0; i < cfg->nr_upstreams; i++) {
		if (!cfg->upstreams[i].is_file)
			continue;
		ss->files[i] = subsystem_open_file(&cfg->upstreams[i], why);
		if (!ss->files[i])
			return false;
	}
	return true;
}

/* Those that no upstream has taken over. */
static void close_files(struct subsystem *ss)
{
	for (unsigned i = 0; ss->files && i < ss->cfg->nr_upstreams; i++)
		if (ss->files[i])
			file_ns_close(ss->files[i]);
	free(ss->files);
	ss->files = NULL;
}

struct subsystem *subsystem_new(struct gateway *gw, const struct subsys_cfg *cfg,
				char why[SUBSYSTEM_ERROR_MAX])
{
	struct subsystem *ss = calloc(1, sizeof(*ss));

	if (!ss)
		abort();
	ss->cfg = subsys_cfg_copy(cfg);
	init(ss, gw, ss->cfg->mp.nqn, cfg->cntlid_min, cfg->cntlid_max, cfg->max_controllers);
	ss->max_nsid = subsystem_max_nsid(cfg->max_transfer);
	ss->files = calloc(cfg->nr_upstreams + 1, sizeof(ss->files[0]));
	if (!ss->files)
		abort();
	if (!open_files(ss, why)) {
		subsystem_free(ss);
		return NULL;
	}
	return ss;
}

void subsystem_start(struct subsystem *ss)
{
	const struct subsys_cfg *cfg = ss->cfg;

	ss->mp = mp_subsys_add(ss->gw->mp, &cfg->mp, &subsystem_events, ss);
	for (unsigned i = 0; i < cfg->nr_upstreams; i++) {
		struct upstream_config up = cfg->upstreams[i].mp;

		up.file_ns = ss->files[i];
		if (upstream_add(ss->mp, &up))
			ss->files[i] = NULL; /* the upstream's now */
	}
	close_files(ss);
}

static void on_removed(void *arg)
{
	struct subsystem *ss = arg;

	TAILQ_REMOVE(&ss->gw->leaving, ss, link);
	subsystem_free(ss);
}

/* When the gateway stops, its upstreams end with all others. */
static void remove_upstreams(void *arg)
{
	struct subsystem *ss = arg;

	if (!ss->gw->stopping)
		mp_subsys_remove(ss->mp, on_removed, ss);
}

void subsystem_hosts_gone(struct subsystem *ss)
{
	if (ss->leaving)
		loop_post(ss->gw->control, remove_upstreams, ss);
}

void subsystem_leave(struct subsystem *ss)
{
	TAILQ_REMOVE(&ss->gw->subsystems, ss, link);
	TAILQ_INSERT_TAIL(&ss->gw->leaving, ss, link);
	ss->leaving = true;
	subsystem_end_hosts(ss, "the subsystem is no longer exported");
	if (!ss->nr_controllers)
		subsystem_hosts_gone(ss);
}

void subsystem_free(struct subsystem *ss)
{
	close_files(ss);
	subsys_cfg_free(ss->cfg);
	free(ss);
}

/* ---- changes ---- */

char *subsystem_path_name(const struct path *p, char buf[PATH_NAME_MAX])
{
	snprintf(buf, PATH_NAME_MAX, "%s/%u", p->up->cfg.name, p->nsid);
	return buf;
}

/* Controllers that there are keep their IDs. */
static void take_range(struct subsystem *ss)
{
	ss->cntlid_min = ss->cfg->cntlid_min;
	ss->cntlid_max = ss->cfg->cntlid_max;
	if (ss->cntlid_next < ss->cntlid_min || ss->cntlid_next > ss->cntlid_max)
		ss->cntlid_next = ss->cntlid_min;
	ss->max_controllers = ss->cfg->max_controllers;
}

static void end_denied(struct subsystem *ss)
{
	struct controller *c;

	TAILQ_FOREACH(c, &ss->controllers, link) {
		if (subsystem_host_allowed(ss, c->ident.hostnqn))
			continue;
		c->denied = true;
		controller_end(c, "its host is no longer allowed");
	}
}

void subsystem_take_cfg(struct subsystem *ss, const struct subsys_cfg *cfg)
{
	subsys_cfg_free(ss->cfg);
	ss->cfg = subsys_cfg_copy(cfg);
	ss->nqn = ss->cfg->mp.nqn;
}

void subsystem_reconfigure(struct subsystem *ss, const struct subsys_cfg *cfg)
{
	subsystem_take_cfg(ss, cfg);
	take_range(ss);
	end_denied(ss);
	mp_subsys_reconfigure(ss->mp, &ss->cfg->mp);
}

/* As its upstream is configured, without what is set of it alone. */
static enum path_admin admin_of_upstream(const struct path *p)
{
	const struct upstream_config *cfg = &p->up->cfg;

	return !cfg->enabled ? PATH_DISABLED : cfg->standby ? PATH_STANDBY : PATH_ENABLED;
}

static void remember_path(struct subsystem *ss, const struct path *p)
{
	unsigned weight = p->weight == p->up->cfg.weight ? 0 : p->weight;
	enum path_admin admin = p->admin == admin_of_upstream(p) ? PATH_ADMIN_COUNT : p->admin;
	char name[PATH_NAME_MAX];

	if (!subsys_cfg_set_path(ss->cfg, subsystem_path_name(p, name), admin, weight))
		log_warn("path %s: what is set of it is not kept, as of too many others", name);
}

void subsystem_set_path_admin(struct subsystem *ss, struct path *p, enum path_admin admin)
{
	path_set_admin(p, admin);
	remember_path(ss, p);
}

void subsystem_set_path_weight(struct subsystem *ss, struct path *p, unsigned weight)
{
	path_set_weight(p, weight);
	remember_path(ss, p);
}

void subsystem_set_policy(struct subsystem *ss, enum mp_policy policy)
{
	subsys_cfg_set_all_policies(ss->cfg, policy);
	mp_subsys_set_policy(ss->mp, policy);
}

void subsystem_set_head_policy(struct subsystem *ss, struct head *h, enum mp_policy policy)
{
	if (!subsys_cfg_set_policy(ss->cfg, &h->ident, policy))
		log_warn("namespace %u of %s has no identifier, or there are too many: its policy "
			 "is not kept",
			 h->nsid, ss->nqn);
	head_set_policy(h, policy);
}

/* ---- hosts ---- */

void subsystem_end_hosts(struct subsystem *ss, const char *reason)
{
	struct controller *c;

	TAILQ_FOREACH(c, &ss->controllers, link)
		controller_end(c, reason);
}

bool subsystem_host_allowed(const struct subsystem *ss, const char *hostnqn)
{
	if (!ss->cfg || ss->cfg->allow_any_host)
		return true;
	for (unsigned i = 0; i < ss->cfg->nr_allowed_hosts; i++)
		if (!strcmp(ss->cfg->allowed_hosts[i], hostnqn))
			return true;
	return false;
}

static bool cntlid_in_use(const struct subsystem *ss, uint16_t cntlid)
{
	const struct controller *c;

	TAILQ_FOREACH(c, &ss->controllers, link)
		if (c->ident.cntlid == cntlid)
			return true;
	return false;
}

uint16_t subsystem_new_cntlid(struct subsystem *ss)
{
	unsigned range = ss->cntlid_max - ss->cntlid_min + 1u;

	for (unsigned i = 0; i < range; i++) {
		uint16_t id = ss->cntlid_next;

		ss->cntlid_next = id == ss->cntlid_max ? ss->cntlid_min : (uint16_t)(id + 1);
		if (!cntlid_in_use(ss, id))
			return id;
	}
	return 0xffff;
}

struct controller *subsystem_controller(const struct subsystem *ss, uint16_t cntlid)
{
	struct controller *c;

	TAILQ_FOREACH(c, &ss->controllers, link)
		if (c->ident.cntlid == cntlid && !c->dying)
			return c;
	return NULL;
}

void subsystem_io_totals(const struct subsystem *ss, struct io_totals *t)
{
	const struct controller *c;

	*t = ss->gone;
	TAILQ_FOREACH(c, &ss->controllers, link) {
		struct io_totals one;

		controller_io_totals(c, &one);
		/* What its closed queues did is in ss->gone already. */
		t->commands += one.commands - c->gone.commands;
		t->reads += one.reads - c->gone.reads;
		t->writes += one.writes - c->gone.writes;
		t->read_bytes += one.read_bytes - c->gone.read_bytes;
		t->write_bytes += one.write_bytes - c->gone.write_bytes;
	}
}

/* ---- what upstreams can do ---- */

/* Dead upstreams do not hold hosts up for longer than this. */
#define SETTLE_TIME (3 * NSEC_PER_SEC)

bool subsystem_settling(const struct subsystem *ss)
{
	const struct gateway *gw = ss->gw;
	const struct upstream *up;

	if (!ss->mp || loop_now(gw->control) - gw->started >= SETTLE_TIME)
		return false;
	TAILQ_FOREACH(up, &ss->mp->upstreams, link)
		if (up->state == UPSTREAM_CONNECTING && up->attempts <= 1)
			return true;
	return false;
}

static uint16_t later(uint16_t a, uint16_t wire)
{
	uint16_t b = le16toh(wire);

	return a > b ? a : b;
}

void subsystem_crdt(const struct subsystem *ss, uint16_t crdt[3])
{
	const struct upstream *up;

	crdt[0] = MP_PUT_OFF_CRDT;
	crdt[1] = crdt[2] = 0;
	TAILQ_FOREACH(up, &ss->mp->upstreams, link) {
		if (!up->have_idctrl)
			continue;
		crdt[0] = later(crdt[0], up->idctrl.crdt1);
		crdt[1] = later(crdt[1], up->idctrl.crdt2);
		crdt[2] = later(crdt[2], up->idctrl.crdt3);
	}
}

/* ---- namespaces: identity ---- */

#define UUID_VERSION_CUSTOM 0x80 /* RFC 9562, version 8 */
#define UUID_VARIANT	    0x80

/* A UUID of its own for what this subsystem shows of an upstream identity; always the same. */
static void derive_uuid(const struct subsystem *ss, const struct ns_ident *id, uint8_t uuid[16])
{
	char name[NVMF_NQN_MAX + 1 + IDENT_STR_MAX];
	unsigned char hash[EVP_MAX_MD_SIZE];
	size_t n = strlen(ss->nqn) + 1;

	memcpy(name, ss->nqn, n);
	ident_str(id, name + n);
	if (!EVP_Digest(name, n + strlen(name + n), hash, NULL, EVP_sha256(), NULL))
		abort();
	memcpy(uuid, hash, 16);
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | UUID_VERSION_CUSTOM);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | UUID_VARIANT);
}

void subsystem_ns_ident(const struct subsystem *ss, const struct head *head, struct ns_ident *out)
{
	const struct ns_ident *id = &head->ident;

	*out = *id;
	/* A namespace that upstream has no identifier of gets one: hosts want at least one. */
	if (ss->cfg->identity == IDENTITY_PASSTHROUGH &&
	    (id->has_uuid || id->has_nguid || id->has_eui64))
		return;
	out->has_uuid = true;
	out->has_nguid = out->has_eui64 = false;
	derive_uuid(ss, id, out->uuid);
}

/* ---- namespaces: NSIDs ---- */

static bool nsid_configured(const void *arg, uint32_t nsid)
{
	const struct subsystem *ss = arg;

	for (unsigned i = 0; i < ss->cfg->nr_namespaces; i++)
		if (ss->cfg->namespaces[i].nsid == nsid)
			return true;
	return false;
}

static const struct subsys_namespace_cfg *find_configured(const struct subsystem *ss,
							  const struct ns_ident *id)
{
	for (unsigned i = 0; i < ss->cfg->nr_namespaces; i++)
		if (ident_compare(&ss->cfg->namespaces[i].ident, id) == IDENT_SAME)
			return &ss->cfg->namespaces[i];
	return NULL;
}

/* The remembered or a new one; 0 with *why set when it cannot be used, or not yet. */
static uint32_t automatic_nsid(const struct subsystem *ss, const struct ns_ident *id,
			       struct mp_refusal *why)
{
	struct state_nsid_rules rules = {ss->max_nsid, nsid_configured, ss};
	bool waiting = false;
	uint32_t nsid = state_nsid(ss->gw->state, ss->nqn, id, &rules, &waiting);

	if (!nsid)
		why->reason =
			"no NSID is free: the state file remembers other namespaces under all";
	if (!waiting)
		return nsid;
	*why = (struct mp_refusal){"its new NSID is being saved", .expected = true,
				   .passing = true};
	return 0;
}

static bool head_policy(void *arg, const struct head *head, enum mp_policy *policy)
{
	const struct subsys_namespace_cfg *configured = find_configured(arg, &head->ident);

	if (!configured || configured->policy == MP_POLICY_COUNT)
		return false;
	*policy = configured->policy;
	return true;
}

/*
 * By what no two controllers have in common. Another gateway may well export the same subsystem,
 * with the same serial number, and be an upstream.
 */
static bool own_controller(void *arg, const struct nvme_id_ctrl *id)
{
	const struct subsystem *ss = arg, *own;
	const struct controller *c;
	uint64_t cirn;

	memcpy(&cirn, (const uint8_t *)id + NVME_ID_CTRL_CIRN, sizeof(cirn));
	TAILQ_FOREACH(own, &ss->gw->subsystems, link) {
		if (strncmp(own->nqn, id->subnqn, sizeof(id->subnqn)))
			continue;
		c = subsystem_controller(own, le16toh(id->cntlid));
		return c && c->ident.cirn == le64toh(cirn);
	}
	return false;
}

static void path_settings(void *arg, const struct path *p, enum path_admin *admin, unsigned *weight)
{
	const struct subsystem *ss = arg;
	const struct subsys_path_cfg *set;
	char name[PATH_NAME_MAX];

	set = subsys_cfg_path(ss->cfg, subsystem_path_name(p, name));
	if (set && set->admin != PATH_ADMIN_COUNT)
		*admin = set->admin;
	if (set && set->weight)
		*weight = set->weight;
}

static bool head_stays(void *arg, const struct head *head)
{
	const struct subsystem *ss = arg;
	const struct subsys_namespace_cfg *configured = find_configured(ss, &head->ident);

	if (!configured)
		return (!ss->cfg->nr_namespaces || ss->cfg->export_all) &&
		       !nsid_configured(ss, head->nsid);
	if (configured->nsid)
		return configured->nsid == head->nsid;
	return !nsid_configured(ss, head->nsid);
}

static uint32_t assign_nsid(void *arg, const struct ns_ident *id, struct mp_refusal *why)
{
	const struct subsystem *ss = arg;
	const struct subsys_namespace_cfg *configured = find_configured(ss, id);
	uint32_t nsid;

	if (id->csi != NVME_CSI_NVM) {
		why->reason = "its I/O command set is not supported";
		return 0;
	}
	if (ss->cfg->nr_namespaces && !ss->cfg->export_all && !configured) {
		*why = (struct mp_refusal){
			"not among the namespaces that the configuration exports",
			.expected = true};
		return 0;
	}
	nsid = configured && configured->nsid ? configured->nsid : automatic_nsid(ss, id, why);
	if (!nsid)
		return 0;
	if (nsid > ss->max_nsid) {
		why->reason = "more namespaces than max_transfer leaves NSIDs for";
		return 0;
	}
	/* Remembered by identifiers that its paths no longer report together. */
	if (mp_subsys_head(ss->mp, nsid)) {
		why->reason = "its NSID is that of a namespace whose identifiers are others";
		return 0;
	}
	return nsid;
}

void subsystem_nsids_tried(struct subsystem *ss)
{
	mp_subsys_reconsider(ss->mp);
}

/* ---- namespaces: what hosts are told ---- */

static void note_changed(struct controller *c, uint32_t nsid)
{
	c->changed_ns[nsid / 64] |= 1ull << nsid % 64;
	aer_raise(c, AEN_NS);
}

static void tell_ana(struct subsystem *ss, const struct head *head)
{
	struct controller *c;

	ss->ana_changes++;
	ss->ana_group_changes[head->nsid]++;
	TAILQ_FOREACH(c, &ss->controllers, link)
		aer_raise(c, AEN_ANA);
}

static void tell_changed(struct subsystem *ss, const struct head *head)
{
	struct controller *c;

	TAILQ_FOREACH(c, &ss->controllers, link)
		note_changed(c, head->nsid);
}

static void emit(const struct subsystem *ss, enum event_type type, const struct head *head)
{
	events_emit(ss->gw->events, type, event_of_namespace(ss, head));
}

static void head_ana_changed(void *arg, struct head *head)
{
	tell_ana(arg, head);
	emit(arg, EVENT_NAMESPACE_ANA, head);
}

static void head_changed(void *arg, struct head *head)
{
	tell_changed(arg, head);
	emit(arg, EVENT_NAMESPACE_CHANGED, head);
}

/* The ANA event goes first: a host that looks at the new namespace has to know its group. */
static void head_added(void *arg, struct head *head)
{
	tell_ana(arg, head);
	tell_changed(arg, head);
	emit(arg, EVENT_NAMESPACE_ADDED, head);
}

static void head_removed(void *arg, struct head *head)
{
	struct subsystem *ss = arg;

	ss->ana_changes++;
	tell_changed(ss, head);
	emit(ss, EVENT_NAMESPACE_REMOVED, head);
}

/* ---- paths and upstreams: for those who watch ---- */

static void path_changed(void *arg, struct path *p, enum path_change what)
{
	static const enum event_type types[] = {
		[PATH_CHANGE_USE] = EVENT_PATH_DOWN,
		[PATH_CHANGE_RANK] = EVENT_PATH_RANK,
		[PATH_CHANGE_ANA] = EVENT_PATH_ANA,
		[PATH_CHANGE_REFUSED] = EVENT_PATH_REFUSED,
		[PATH_CHANGE_REMOVED] = EVENT_PATH_REMOVED,
	};
	bool up = what == PATH_CHANGE_USE && p->usable;
	struct subsystem *ss = arg;

	events_emit(ss->gw->events, up ? EVENT_PATH_UP : types[what], event_of_path(ss, p));
}

static void upstream_changed(void *arg, const struct upstream *up)
{
	const struct subsystem *ss = arg;

	events_emit(ss->gw->events, EVENT_UPSTREAM_STATE, event_of_upstream(ss, up));
}

const struct mp_events subsystem_events = {
	.assign_nsid = assign_nsid,
	.head_added = head_added,
	.head_changed = head_changed,
	.head_ana_changed = head_ana_changed,
	.head_removed = head_removed,
	.head_policy = head_policy,
	.own_controller = own_controller,
	.path_changed = path_changed,
	.upstream_changed = upstream_changed,
	.head_stays = head_stays,
	.path_settings = path_settings,
};
