/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <unistd.h>

#include "gateway/rpc_show.h"
#include "gateway/rpc_value.h"
#include "gateway/state.h"
#include "transport/version.h"

static json_t *show_workers(const struct gateway *gw)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < gw->nr_workers; i++) {
		json_t *o = json_object();

		rpc_put_u64(o, "host_queues", gw->workers[i].queues);
		rpc_put_u64(o, "requests", gw->cfg->requests);
		rpc_put_u64(o, "memory_bytes", gw->cfg->memory);
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

		rpc_put_text(o, "transport", tr->name);
		rpc_put_address(o, l->tgt ? tr->listener_addr(l->tgt) : &l->cfg->addr);
		rpc_put_bool(o, "listening", l->tgt);
		json_array_append_new(list, o);
	}
	return list;
}

static void put_upstream_sums(json_t *o, const struct subsystem *ss)
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
	rpc_put_u64(o, "upstreams", upstreams);
	rpc_put_u64(o, "live_upstreams", live);
	rpc_put_u64(o, "paths", paths);
	rpc_put_u64(o, "usable_paths", usable);
}

static void put_namespace_sums(json_t *o, const struct subsystem *ss)
{
	unsigned namespaces = 0;
	uint64_t held = 0, fences = 0, fenced = 0;
	struct head_totals t;
	const struct head *h;

	TAILQ_FOREACH(h, &ss->mp->heads, link) {
		namespaces++;
		head_totals(h, &t);
		held += t.held;
		fences += t.fences;
		fenced += t.fenced;
	}
	rpc_put_u64(o, "namespaces", namespaces);
	rpc_put_u64(o, "held", held);
	rpc_put_u64(o, "fences", fences);
	rpc_put_u64(o, "fenced", fenced);
}

static json_t *show_subsystems(const struct gateway *gw)
{
	const struct subsystem *ss;
	json_t *list = json_array();

	TAILQ_FOREACH(ss, &gw->subsystems, link) {
		json_t *o = json_object();
		struct io_totals t;

		rpc_put_text(o, "nqn", ss->nqn);
		rpc_put_text(o, "policy", mp_policy_name(ss->mp->cfg.policy));
		rpc_put_text(o, "write_retry", mp_write_retry_name(ss->mp->cfg.write_retry));
		put_upstream_sums(o, ss);
		put_namespace_sums(o, ss);
		rpc_put_u64(o, "controllers", ss->nr_controllers);
		subsystem_io_totals(ss, &t);
		rpc_put_io_totals(o, &t);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *show_state(const struct gateway *gw)
{
	json_t *o = json_object();
	struct state_info info;

	state_info(gw->state, &info);
	rpc_put_text(o, "folder", gw->cfg->state_dir);
	rpc_put_u64(o, "namespaces", info.namespaces);
	rpc_put_bool(o, "saved", info.saved);
	rpc_put_u64(o, "writes", info.writes);
	rpc_put_text(o, "error", info.error ? strerror(info.error) : "");
	return o;
}

static json_t *show_upstreams(const struct gateway *gw)
{
	const struct subsystem *ss;
	const struct upstream *up;
	json_t *list = json_array();

	TAILQ_FOREACH(ss, &gw->subsystems, link)
		TAILQ_FOREACH(up, &ss->mp->upstreams, link)
			json_array_append_new(list, show_upstream(ss, up));
	return list;
}

struct quarantine_list {
	const struct gateway *gw;
	json_t *list;
};

static void append_quarantine(void *arg, const struct quarantine_info *q)
{
	const struct quarantine_list *l = arg;
	json_t *o = json_object();

	rpc_put_text(o, "upstream", q->upstream);
	rpc_put_u64(o, "cntlid", q->cntlid);
	rpc_put_until(o, "seconds_left", l->gw, q->until);
	rpc_put_bool(o, "writes_wait", q->fenced);
	json_array_append_new(l->list, o);
}

static json_t *show_quarantines(const struct gateway *gw)
{
	struct quarantine_list l = {gw, json_array()};

	mp_quarantines(gw->mp, append_quarantine, &l);
	return l.list;
}

json_t *show_status(const struct gateway *gw)
{
	json_t *o = json_object();

	rpc_put_text(o, "version", NVMEGW_VERSION);
	rpc_put_u64(o, "pid", (uint64_t)getpid());
	rpc_put_u64(o, "uptime_seconds", (loop_now(gw->control) - gw->started) / NSEC_PER_SEC);
	rpc_put_bool(o, "stopping", gw->stopping);
	json_object_set_new(o, "workers", show_workers(gw));
	json_object_set_new(o, "listeners", show_listeners(gw));
	rpc_put_u64(o, "connections_without_controller", gw->nr_strangers);
	json_object_set_new(o, "subsystems", show_subsystems(gw));
	json_object_set_new(o, "upstreams", show_upstreams(gw));
	json_object_set_new(o, "quarantines", show_quarantines(gw));
	json_object_set_new(o, "nsids", show_state(gw));
	return o;
}
