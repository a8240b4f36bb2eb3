/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/event_of.h"

#include "gateway/rpc_path.h"
#include "gateway/rpc_show.h"
#include "gateway/rpc_value.h"
#include "multipath/ana.h"

json_t *event_of_daemon(void)
{
	return json_pack("{s:s}", "version", NVMEGW_VERSION);
}

json_t *event_of_path(struct subsystem *ss, struct path *p)
{
	const struct rpc_path path = {ss, p->up, p};
	char name[RPC_PATH_NAME_MAX];
	json_t *o = json_object();

	rpc_put_text(o, "path", rpc_path_name(&path, name));
	rpc_put_text(o, "subsystem", ss->nqn);
	rpc_put_optional(o, "nsid", p->head, p->head ? p->head->nsid : 0);
	rpc_put_text(o, "state", rpc_path_state(&path));
	rpc_put_text(o, "ana_state", ana_state_name(p->ana_state));
	rpc_put_text(o, "admin", path_admin_name(p->admin));
	rpc_put_u64(o, "weight", p->weight);
	rpc_put_text(o, "reason", p->reason);
	return o;
}

json_t *event_of_namespace(const struct subsystem *ss, const struct head *h)
{
	json_t *o = json_object();

	rpc_put_u64(o, "nsid", h->nsid);
	rpc_put_text(o, "subsystem", ss->nqn);
	rpc_put_u64(o, "blocks", h->geo.nsze);
	rpc_put_u64(o, "block_size", 1ull << h->geo.lbads);
	rpc_put_text(o, "ana_state", ana_state_name(h->ana_state));
	rpc_put_u64(o, "usable_paths", rpc_usable_paths(h));
	return o;
}

json_t *event_of_upstream(const struct subsystem *ss, const struct upstream *up)
{
	json_t *o = json_object();

	rpc_put_text(o, "upstream", up->cfg.name);
	rpc_put_text(o, "subsystem", ss->nqn);
	rpc_put_text(o, "state", upstream_state_name(up->state));
	rpc_put_text(o, "reason", up->reason);
	return o;
}

json_t *event_of_host(const struct controller *c, const char *reason)
{
	char buf[ADDR_STR_MAX];
	json_t *o = json_object();

	rpc_put_text(o, "hostnqn", c->ident.hostnqn);
	rpc_put_text(o, "subsystem", c->ss->nqn);
	rpc_put_u64(o, "cntlid", c->ident.cntlid);
	rpc_put_text(o, "peer", addr_str(&c->peer, buf));
	rpc_put_text(o, "reason", reason);
	return o;
}

json_t *event_of_policy(const struct subsystem *ss, const struct head *h)
{
	json_t *o = json_object();

	rpc_put_text(o, "policy", mp_policy_name(h ? h->policy : ss->mp->cfg.policy));
	rpc_put_text(o, "subsystem", ss->nqn);
	rpc_put_optional(o, "nsid", h, h ? h->nsid : 0);
	return o;
}

json_t *event_of_config(const char *file, const json_t *changes, const char *reason)
{
	json_t *o = json_object();

	rpc_put_text(o, "file", file);
	if (changes)
		rpc_put_u64(o, "changes", json_array_size(changes));
	rpc_put_text(o, "reason", reason);
	return o;
}
