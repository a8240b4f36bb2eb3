/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gateway/config_diff.h"
#include "gateway/rpc_show.h"
#include "gateway/rpc_value.h"
#include "gateway/state.h"
#include "transport/version.h"

static json_t *show_workers(const struct gateway *gw)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < gw->nr_workers; i++) {
		json_t *o = json_object();

		struct pool_use use;

		pool_use(loop_pool(gw->workers[i].loop), &use);
		rpc_put_u64(o, "worker", i + 1);
		rpc_put_u64(o, "host_queues", gw->workers[i].queues);
		rpc_put_u64(o, "requests", gw->cfg->requests);
		rpc_put_u64(o, "requests_used", use.requests);
		rpc_put_u64(o, "memory_bytes", gw->cfg->memory);
		rpc_put_u64(o, "memory_used_bytes", use.segments * SEG_SIZE);
		rpc_put_u64(o, "waits", use.waits);
		json_array_append_new(list, o);
	}
	return list;
}

static unsigned controllers_at(const struct gw_listener *l, const struct subsystem *ss)
{
	const struct controller *c;
	unsigned n = 0;

	TAILQ_FOREACH(c, &ss->controllers, link)
		n += c->listener == l;
	return n;
}

static unsigned all_controllers_at(const struct gw_listener *l)
{
	unsigned n = controllers_at(l, &l->gw->discovery);
	const struct subsystem *ss;

	TAILQ_FOREACH(ss, &l->gw->subsystems, link)
		n += controllers_at(l, ss);
	return n;
}

static json_t *show_listener(const struct gw_listener *l)
{
	const struct tgt_transport *tr = l->cfg.transport;
	const struct addr *at = l->tgt ? tr->listener_addr(l->tgt) : NULL;
	char name[LISTENER_NAME_MAX];
	json_t *o = json_object();

	rpc_put_text(o, "listener", listener_name(&l->cfg, name));
	rpc_put_text(o, "transport", tr->name);
	rpc_put_address(o, at ? at : &l->cfg.addr);
	rpc_put_bool(o, "listening", at);
	rpc_put_u64(o, "controllers", all_controllers_at(l));
	return o;
}

json_t *show_listeners(const struct gateway *gw)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < gw->nr_listeners; i++) {
		if (!gw->listeners[i]->removed)
			json_array_append_new(list, show_listener(gw->listeners[i]));
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

json_t *show_subsystems(const struct gateway *gw)
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

json_t *show_upstreams(const struct gateway *gw)
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

/* Bytes of memory that the process has now. */
static uint64_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long long pages = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%*u %llu", &pages) != 1)
		pages = 0;
	fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void put_process(json_t *o)
{
	struct rusage u;

	rpc_put_u64(o, "resident_bytes", resident_bytes());
	if (getrusage(RUSAGE_SELF, &u))
		return;
	json_object_set_new(o, "cpu_seconds",
			    json_real((double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
				      (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6));
}

json_t *show_status(const struct gateway *gw)
{
	json_t *o = json_object();

	rpc_put_text(o, "version", NVMEGW_VERSION);
	rpc_put_u64(o, "pid", (uint64_t)getpid());
	rpc_put_u64(o, "uptime_seconds", (loop_now(gw->control) - gw->started) / NSEC_PER_SEC);
	rpc_put_u64(o, "started_at", (uint64_t)gw->started_at);
	put_process(o);
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
