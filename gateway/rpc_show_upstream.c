/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "gateway/rpc_show.h"
#include "gateway/rpc_value.h"

/* The address, or of the kind "file" what it is a namespace on. */
static void put_address(json_t *o, const struct subsystem *ss, const struct upstream *up)
{
	const struct subsys_cfg *cfg = ss->cfg;

	if (up->cfg.addr.len) {
		rpc_put_address(o, &up->cfg.addr);
		return;
	}
	for (unsigned i = 0; i < cfg->nr_upstreams; i++)
		if (!strcmp(cfg->upstreams[i].mp.name, up->cfg.name))
			rpc_put_text(o, "traddr", cfg->upstreams[i].file_path);
	rpc_put_optional(o, "trsvcid", false, 0);
}

void rpc_put_upstream(json_t *o, const struct subsystem *ss, const struct upstream *up)
{
	rpc_put_text(o, "transport", up->cfg.transport->name);
	put_address(o, ss, up);
	rpc_put_bool(o, "discovery", up->cfg.discovery);
	json_object_set_new(o, "named_by",
			    up->source ? rpc_text(up->source->cfg.name) : json_null());
	rpc_put_optional(o, "cntlid", up->have_idctrl, up->cntlid);
	rpc_put_u64(o, "losses", up->losses);
	rpc_put_u64(o, "flaps", up->flaps);
	rpc_put_until(o, "damped_seconds", ss->gw, up->damped_until);
}

/* An attempt to reconnect is no news. */
uint64_t rpc_upstream_since(const struct upstream *up)
{
	return up->state != UPSTREAM_LIVE && up->lost_at ? up->lost_at : up->changed;
}

static void put_path_sums(json_t *o, const struct upstream *up)
{
	unsigned paths = 0, usable = 0;
	const struct path *p;

	TAILQ_FOREACH(p, &up->paths, up_link) {
		paths++;
		usable += p->usable;
	}
	rpc_put_u64(o, "paths", paths);
	rpc_put_u64(o, "usable_paths", usable);
}

json_t *show_upstream(const struct subsystem *ss, const struct upstream *up)
{
	json_t *o = json_object();

	rpc_put_text(o, "name", up->cfg.name);
	rpc_put_text(o, "subsystem", ss->nqn);
	rpc_put_text(o, "state", upstream_state_name(up->state));
	rpc_put_text(o, "reason", up->reason);
	rpc_put_since(o, "since_seconds", ss->gw, rpc_upstream_since(up));
	rpc_put_text(o, "nqn", up->cfg.nqn);
	rpc_put_upstream(o, ss, up);
	put_path_sums(o, up);
	return o;
}
