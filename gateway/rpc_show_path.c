/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "gateway/rpc_show.h"
#include "gateway/rpc_value.h"
#include "multipath/ana.h"

const char *rpc_path_state(const struct rpc_path *p)
{
	const struct path *path = p->path;

	if (path && path->usable)
		return path_rank_name(path);
	if (p->up->state != UPSTREAM_LIVE)
		return "down";
	if (!path)
		return p->up->cfg.discovery ? "discovery" : "empty";
	if (path->admin == PATH_DISABLED)
		return "disabled";
	return path->head ? "unusable" : "refused";
}

/* Of the upstream's path to come when it has none. */
static enum path_admin admin_of(const struct rpc_path *p)
{
	if (p->path)
		return p->path->admin;
	if (!p->up->cfg.enabled)
		return PATH_DISABLED;
	return p->up->cfg.standby ? PATH_STANDBY : PATH_ENABLED;
}

/* Why an upstream has no path. */
static void put_upstream_reason(json_t *o, const struct upstream *up)
{
	char buf[sizeof(up->reason) + 32];

	if (up->state != UPSTREAM_LIVE) {
		snprintf(buf, sizeof(buf), "%s%s%s", upstream_state_name(up->state),
			 up->reason[0] ? ": " : "", up->reason);
		rpc_put_text(o, "reason", buf);
	} else {
		rpc_put_text(o, "reason",
			     up->cfg.discovery ? "a discovery controller: it names upstreams"
					       : "it shows no namespace");
	}
}

static void put_state(json_t *o, const struct gateway *gw, const struct rpc_path *p)
{
	const struct path *path = p->path;

	rpc_put_text(o, "state", rpc_path_state(p));
	rpc_put_bool(o, "usable", path && path->usable);
	if (path)
		rpc_put_text(o, "reason", path->reason);
	else
		put_upstream_reason(o, p->up);
	rpc_put_since(o, "since_seconds", gw,
		      path && path->changed ? path->changed : rpc_upstream_since(p->up));
	rpc_put_text(o, "admin", path_admin_name(admin_of(p)));
	rpc_put_u64(o, "weight", path ? path->weight : p->up->cfg.weight);
	json_object_set_new(o, "ana_state",
			    path ? rpc_text(ana_state_name(path->ana_state)) : json_null());
	rpc_put_optional(o, "ana_group", path, path ? path->anagrpid : 0);
}

static void put_upstream(json_t *o, const struct gateway *gw, const struct rpc_path *p)
{
	const struct upstream *up = p->up;

	rpc_put_text(o, "upstream", up->cfg.name);
	rpc_put_text(o, "upstream_state", upstream_state_name(up->state));
	rpc_put_text(o, "upstream_reason", up->reason);
	rpc_put_since(o, "upstream_since_seconds", gw, rpc_upstream_since(up));
	rpc_put_text(o, "upstream_nqn", up->cfg.nqn);
	rpc_put_upstream(o, p->ss, up);
}

static void put_namespace(json_t *o, const struct head *h)
{
	rpc_put_optional(o, "nsid", h, h ? h->nsid : 0);
	rpc_put_optional(o, "namespace_usable_paths", h, h ? rpc_usable_paths(h) : 0);
	json_object_set_new(o, "namespace_policy",
			    h ? rpc_text(mp_policy_name(h->policy)) : json_null());
}

/* Commands by the power of two of the microseconds that they took. */
static void put_histogram(json_t *o, const struct path *path)
{
	uint64_t counts[LATENCY_BUCKETS] = {0};
	json_t *list = json_array();

	if (path)
		path_histogram(path, counts);
	for (unsigned b = 0; b < LATENCY_BUCKETS; b++)
		json_array_append_new(list, json_integer((json_int_t)counts[b]));
	json_object_set_new(o, "latency_histogram", list);
}

static void put_latencies(json_t *o, const struct path *path, const struct path_totals *t)
{
	uint64_t n = t->reads + t->writes + t->others;

	rpc_put_u64(o, "average_latency_us", n ? t->latency_ns_sum / n / NSEC_PER_USEC : 0);
	rpc_put_u64(o, "total_latency_us", t->latency_ns_sum / NSEC_PER_USEC);
	rpc_put_u64(o, "p50_latency_us", path ? path_latency(path, 50) : 0);
	rpc_put_u64(o, "p99_latency_us", path ? path_latency(path, 99) : 0);
	rpc_put_u64(o, "p999_latency_us", path ? path_latency(path, 99.9) : 0);
	put_histogram(o, path);
}

static void put_totals(json_t *o, const struct path *path)
{
	struct path_totals t = {0};

	if (path)
		path_totals(path, &t);
	rpc_put_u64(o, "reads", t.reads);
	rpc_put_u64(o, "writes", t.writes);
	rpc_put_u64(o, "others", t.others);
	rpc_put_u64(o, "read_bytes", t.read_bytes);
	rpc_put_u64(o, "write_bytes", t.write_bytes);
	rpc_put_u64(o, "errors", t.errors);
	rpc_put_u64(o, "failovers", t.failovers);
	rpc_put_u64(o, "inflight", t.inflight);
	put_latencies(o, path, &t);
}

json_t *show_path(const struct gateway *gw, const struct rpc_path *p)
{
	char name[RPC_PATH_NAME_MAX];
	json_t *o = json_object();

	rpc_put_text(o, "path", rpc_path_name(p, name));
	rpc_put_text(o, "subsystem", p->ss->nqn);
	put_namespace(o, p->path ? p->path->head : NULL);
	put_state(o, gw, p);
	put_upstream(o, gw, p);
	rpc_put_optional(o, "upstream_nsid", p->path, p->path ? p->path->nsid : 0);
	if (p->path)
		rpc_put_ident(o, &p->path->ident);
	put_totals(o, p->path);
	return o;
}
