/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uuid.h>

#include "gateway/state.h"
#include "multipath/ana.h"
#include "transport/version.h"

/* ---- values ---- */

json_t *show_text(const char *text)
{
	json_t *s = json_string(text);
	char *ascii;

	if (s)
		return s;
	ascii = strdup(text);
	if (!ascii)
		abort();
	for (char *c = ascii; *c; c++)
		if (*c & 0x80)
			*c = '?';
	s = json_string(ascii);
	free(ascii);
	return s;
}

/* JSON's integers are signed here; nothing real comes near the end of them. */
static json_t *show_u64(uint64_t v)
{
	return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v);
}

static void set_u64(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, show_u64(v));
}

static void set_text(json_t *o, const char *key, const char *text)
{
	json_object_set_new(o, key, show_text(text));
}

static void set_bool(json_t *o, const char *key, bool v)
{
	json_object_set_new(o, key, json_boolean(v));
}

/* To the millisecond. */
static void set_since(json_t *o, const struct gateway *gw, uint64_t then)
{
	uint64_t ms = (loop_now(gw->control) - then) / NSEC_PER_MSEC;

	json_object_set_new(o, "since_seconds", json_real((double)ms / 1000));
}

static void set_hex(json_t *o, const char *key, const uint8_t *bytes, size_t n)
{
	char hex[33];

	for (size_t i = 0; i < n; i++)
		snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	set_text(o, key, hex);
}

static void set_uuid(json_t *o, const char *key, const uint8_t uuid[16])
{
	char text[UUID_STR_LEN];

	uuid_unparse_lower(uuid, text);
	set_text(o, key, text);
}

static void set_io_totals(json_t *o, const struct io_totals *t)
{
	set_u64(o, "commands", t->commands);
	set_u64(o, "reads", t->reads);
	set_u64(o, "writes", t->writes);
	set_u64(o, "read_bytes", t->read_bytes);
	set_u64(o, "write_bytes", t->write_bytes);
}

static void set_address(json_t *o, const struct addr *a)
{
	char buf[ADDR_STR_MAX];

	set_text(o, "traddr", addr_host_str(a, buf));
	set_u64(o, "trsvcid", addr_port(a));
}

/* ---- paths ---- */

/* The address, or of the kind "file" what it is a namespace on. */
static void set_upstream_address(json_t *o, const struct rpc_path *p)
{
	const struct subsys_cfg *cfg = p->ss->cfg;

	if (p->up->cfg.addr.len) {
		set_address(o, &p->up->cfg.addr);
		return;
	}
	for (unsigned i = 0; i < cfg->nr_upstreams; i++)
		if (!strcmp(cfg->upstreams[i].mp.name, p->up->cfg.name))
			set_text(o, "traddr", cfg->upstreams[i].file_path);
	json_object_set_new(o, "trsvcid", json_null());
}

static void set_upstream(json_t *o, const struct rpc_path *p)
{
	const struct upstream *up = p->up;

	set_text(o, "subsystem", p->ss->nqn);
	set_text(o, "upstream", up->cfg.name);
	set_text(o, "upstream_state", upstream_state_name(up->state));
	set_text(o, "upstream_nqn", up->cfg.nqn);
	set_text(o, "transport", up->cfg.transport->name);
	set_upstream_address(o, p);
	set_bool(o, "discovery", up->cfg.discovery);
	json_object_set_new(o, "named_by",
			    up->source ? show_text(up->source->cfg.name) : json_null());
	set_u64(o, "losses", up->losses);
}

static void set_path_totals(json_t *o, const struct path *path)
{
	struct path_totals t = {0};
	uint64_t n;

	if (path)
		path_totals(path, &t);
	n = t.reads + t.writes + t.others;
	set_u64(o, "reads", t.reads);
	set_u64(o, "writes", t.writes);
	set_u64(o, "others", t.others);
	set_u64(o, "read_bytes", t.read_bytes);
	set_u64(o, "write_bytes", t.write_bytes);
	set_u64(o, "errors", t.errors);
	set_u64(o, "failovers", t.failovers);
	set_u64(o, "inflight", t.inflight);
	set_u64(o, "average_latency_us", n ? t.latency_ns_sum / n / NSEC_PER_USEC : 0);
}

/* Why an upstream has no path. */
static void set_upstream_reason(json_t *o, const struct upstream *up)
{
	char buf[sizeof(up->reason) + 32];

	if (up->state != UPSTREAM_LIVE) {
		snprintf(buf, sizeof(buf), "%s%s%s", upstream_state_name(up->state),
			 up->reason[0] ? ": " : "", up->reason);
		set_text(o, "reason", buf);
	} else {
		set_text(o, "reason",
			 up->cfg.discovery ? "a discovery controller: it names upstreams"
					   : "it shows no namespace");
	}
}

/* An attempt to reconnect is no news. */
static uint64_t upstream_since(const struct upstream *up)
{
	return up->state != UPSTREAM_LIVE && up->lost_at ? up->lost_at : up->changed;
}

static unsigned usable_paths(const struct head *h)
{
	const struct path *p;
	unsigned n = 0;

	TAILQ_FOREACH(p, &h->paths, head_link)
		n += p->usable;
	return n;
}

static json_t *or_null(bool there, uint32_t v)
{
	return there ? json_integer(v) : json_null();
}

static const char *admin_name(bool enabled)
{
	return enabled ? "enabled" : "disabled";
}

json_t *show_path(const struct gateway *gw, const struct rpc_path *p)
{
	const struct path *path = p->path;
	const struct head *h = path ? path->head : NULL;
	char name[RPC_PATH_NAME_MAX];
	json_t *o = json_object();

	set_text(o, "path", rpc_path_name(p, name));
	set_upstream(o, p);
	json_object_set_new(o, "nsid", or_null(h, h ? h->nsid : 0));
	json_object_set_new(o, "upstream_nsid", or_null(path, path ? path->nsid : 0));
	set_bool(o, "usable", path && path->usable);
	json_object_set_new(o, "ana_state",
			    path ? show_text(ana_state_name(path->ana_state)) : json_null());
	set_text(o, "admin", admin_name(path ? path->admin == PATH_ENABLED : p->up->cfg.enabled));
	if (path)
		set_text(o, "reason", path->reason);
	else
		set_upstream_reason(o, p->up);
	set_since(o, gw, path && path->changed ? path->changed : upstream_since(p->up));
	set_path_totals(o, path);
	set_u64(o, "weight", path ? path->weight : p->up->cfg.weight);
	json_object_set_new(o, "namespace_usable_paths", or_null(h, h ? usable_paths(h) : 0));
	return o;
}

/* ---- namespaces ---- */

static void set_ident(json_t *o, const struct subsystem *ss, const struct head *h)
{
	struct ns_ident id;

	subsystem_ns_ident(ss, h, &id);
	if (id.has_uuid)
		set_uuid(o, "uuid", id.uuid);
	if (id.has_nguid)
		set_hex(o, "nguid", id.nguid, sizeof(id.nguid));
	if (id.has_eui64)
		set_hex(o, "eui64", id.eui64, sizeof(id.eui64));
}

static uint64_t size_of(const struct ns_geometry *geo)
{
	return geo->nsze > UINT64_MAX >> geo->lbads ? UINT64_MAX : geo->nsze << geo->lbads;
}

static unsigned all_paths(const struct head *h)
{
	const struct path *p;
	unsigned n = 0;

	TAILQ_FOREACH(p, &h->paths, head_link)
		n++;
	return n;
}

json_t *show_namespace(const struct subsystem *ss, const struct head *h)
{
	json_t *o = json_object();
	struct head_totals t;

	head_totals(h, &t);
	set_u64(o, "nsid", h->nsid);
	set_text(o, "subsystem", ss->nqn);
	set_ident(o, ss, h);
	set_u64(o, "size_bytes", size_of(&h->geo));
	set_u64(o, "blocks", h->geo.nsze);
	set_u64(o, "block_size", 1ull << h->geo.lbads);
	set_text(o, "ana_state", ana_state_name(h->ana_state));
	set_text(o, "policy", mp_policy_name(ss->mp->cfg.policy));
	set_u64(o, "paths", all_paths(h));
	set_u64(o, "usable_paths", usable_paths(h));
	set_u64(o, "held", t.held);
	set_u64(o, "held_max", t.held_max);
	set_u64(o, "retried", t.retried);
	set_u64(o, "failed_no_path", t.failed_no_path);
	set_u64(o, "longest_ms", t.longest_ns / NSEC_PER_MSEC);
	return o;
}

/* ---- controllers ---- */

static const char *controller_state(const struct controller *c)
{
	if (c->dying)
		return "ending";
	if (c->csts & NVME_CSTS_FATAL)
		return "fatal";
	return controller_ready(c) ? "ready" : "not enabled";
}

json_t *show_controller(const struct controller *c)
{
	json_t *o = json_object();
	char buf[ADDR_STR_MAX];
	struct io_totals t;

	controller_io_totals(c, &t);
	set_u64(o, "cntlid", c->ident.cntlid);
	set_text(o, "subsystem", c->ss->nqn);
	set_text(o, "state", controller_state(c));
	set_text(o, "hostnqn", c->ident.hostnqn);
	set_uuid(o, "hostid", c->ident.hostid);
	set_text(o, "peer", addr_str(&c->peer, buf));
	set_text(o, "local", addr_str(&c->local, buf));
	set_u64(o, "kato_ms", c->kato);
	set_u64(o, "io_queues", c->nr_queues);
	set_since(o, c->ss->gw, c->since);
	set_io_totals(o, &t);
	return o;
}

/* ---- status ---- */

static json_t *show_workers(const struct gateway *gw)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < gw->nr_workers; i++) {
		json_t *o = json_object();

		set_u64(o, "host_queues", gw->workers[i].queues);
		set_u64(o, "requests", gw->cfg->requests);
		set_u64(o, "memory_bytes", gw->cfg->memory);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *show_listeners(const struct gateway *gw)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < gw->nr_listeners; i++) {
		const struct gw_listener *l = &gw->listeners[i];
		const struct tgt_transport *tr = l->cfg->transport;
		json_t *o = json_object();

		set_text(o, "transport", tr->name);
		set_address(o, l->tgt ? tr->listener_addr(l->tgt) : &l->cfg->addr);
		set_bool(o, "listening", l->tgt);
		json_array_append_new(list, o);
	}
	return list;
}

static void set_upstream_sums(json_t *o, const struct subsystem *ss)
{
	unsigned upstreams = 0, live = 0, paths = 0, usable = 0;
	const struct upstream *up;
	const struct path *p;

	TAILQ_FOREACH(up, &ss->mp->upstreams, link) {
		upstreams++;
		live += up->state == UPSTREAM_LIVE;
		TAILQ_FOREACH(p, &up->paths, up_link) {
			paths++;
			usable += p->usable;
		}
	}
	set_u64(o, "upstreams", upstreams);
	set_u64(o, "live_upstreams", live);
	set_u64(o, "paths", paths);
	set_u64(o, "usable_paths", usable);
}

static void set_namespace_sums(json_t *o, const struct subsystem *ss)
{
	unsigned namespaces = 0;
	struct head_totals t;
	const struct head *h;
	uint64_t held = 0;

	TAILQ_FOREACH(h, &ss->mp->heads, link) {
		namespaces++;
		head_totals(h, &t);
		held += t.held;
	}
	set_u64(o, "namespaces", namespaces);
	set_u64(o, "held", held);
}

static json_t *show_subsystems(const struct gateway *gw)
{
	const struct subsystem *ss;
	json_t *list = json_array();

	TAILQ_FOREACH(ss, &gw->subsystems, link) {
		json_t *o = json_object();
		struct io_totals t;

		set_text(o, "nqn", ss->nqn);
		set_text(o, "policy", mp_policy_name(ss->mp->cfg.policy));
		set_upstream_sums(o, ss);
		set_namespace_sums(o, ss);
		set_u64(o, "controllers", ss->nr_controllers);
		subsystem_io_totals(ss, &t);
		set_io_totals(o, &t);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *show_state(const struct gateway *gw)
{
	json_t *o = json_object();
	struct state_info info;

	state_info(gw->state, &info);
	set_text(o, "folder", gw->cfg->state_dir);
	set_u64(o, "namespaces", info.namespaces);
	set_bool(o, "saved", info.saved);
	set_u64(o, "writes", info.writes);
	set_text(o, "error", info.error ? strerror(info.error) : "");
	return o;
}

json_t *show_status(const struct gateway *gw)
{
	json_t *o = json_object();

	set_text(o, "version", NVMEGW_VERSION);
	set_u64(o, "pid", (uint64_t)getpid());
	set_u64(o, "uptime_seconds", (loop_now(gw->control) - gw->started) / NSEC_PER_SEC);
	set_bool(o, "stopping", gw->stopping);
	json_object_set_new(o, "workers", show_workers(gw));
	json_object_set_new(o, "listeners", show_listeners(gw));
	set_u64(o, "connections_without_controller", gw->nr_strangers);
	json_object_set_new(o, "subsystems", show_subsystems(gw));
	json_object_set_new(o, "nsids", show_state(gw));
	return o;
}
