/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_show.h"
#include "gateway/rpc_value.h"
#include "multipath/ana.h"

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

unsigned rpc_usable_paths(const struct head *h)
{
	const struct path *p;
	unsigned n = 0;

	TAILQ_FOREACH(p, &h->paths, head_link)
		n += p->usable;
	return n;
}

static void put_ident(json_t *o, const struct subsystem *ss, const struct head *h)
{
	struct ns_ident id;

	subsystem_ns_ident(ss, h, &id);
	rpc_put_ident(o, &id);
}

static void put_totals(json_t *o, const struct head *h)
{
	struct head_totals t;

	head_totals(h, &t);
	rpc_put_u64(o, "held", t.held);
	rpc_put_u64(o, "held_max", t.held_max);
	rpc_put_u64(o, "retried", t.retried);
	rpc_put_u64(o, "failed_no_path", t.failed_no_path);
	rpc_put_u64(o, "fences", t.fences);
	rpc_put_u64(o, "fenced", t.fenced);
	rpc_put_u64(o, "fenced_total", t.fenced_total);
	rpc_put_u64(o, "put_off", t.put_off);
	rpc_put_u64(o, "longest_ms", t.longest_ns / NSEC_PER_MSEC);
}

json_t *show_namespace(const struct subsystem *ss, const struct head *h)
{
	json_t *o = json_object();

	rpc_put_u64(o, "nsid", h->nsid);
	rpc_put_text(o, "subsystem", ss->nqn);
	put_ident(o, ss, h);
	rpc_put_u64(o, "size_bytes", size_of(&h->geo));
	rpc_put_u64(o, "blocks", h->geo.nsze);
	rpc_put_u64(o, "block_size", 1ull << h->geo.lbads);
	rpc_put_text(o, "ana_state", ana_state_name(h->ana_state));
	rpc_put_text(o, "policy", mp_policy_name(h->policy));
	rpc_put_text(o, "write_retry", mp_write_retry_name(ss->mp->cfg.write_retry));
	rpc_put_u64(o, "paths", all_paths(h));
	rpc_put_u64(o, "usable_paths", rpc_usable_paths(h));
	put_totals(o, h);
	return o;
}

json_t *show_namespace_and_paths(struct subsystem *ss, const struct head *h)
{
	json_t *o = show_namespace(ss, h), *list = json_array();
	struct path *p;

	if (h->lost_since)
		rpc_put_since(o, "without_path_seconds", ss->gw, h->lost_since);
	else
		rpc_put_optional(o, "without_path_seconds", false, 0);
	TAILQ_FOREACH(p, &h->paths, head_link)
		json_array_append_new(list, show_path(ss->gw, &(struct rpc_path){ss, p->up, p}));
	json_object_set_new(o, "path_list", list);
	return o;
}
