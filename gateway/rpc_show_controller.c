/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_show.h"
#include "gateway/rpc_value.h"

static const char *state_of(const struct controller *c)
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
	rpc_put_u64(o, "cntlid", c->ident.cntlid);
	rpc_put_text(o, "subsystem", c->ss->nqn);
	rpc_put_text(o, "state", state_of(c));
	rpc_put_text(o, "hostnqn", c->ident.hostnqn);
	rpc_put_uuid(o, "hostid", c->ident.hostid);
	rpc_put_text(o, "peer", addr_str(&c->peer, buf));
	rpc_put_text(o, "local", addr_str(&c->local, buf));
	rpc_put_u64(o, "kato_ms", c->kato);
	rpc_put_u64(o, "io_queues", c->nr_queues);
	rpc_put_since(o, "since_seconds", c->ss->gw, c->since);
	rpc_put_io_totals(o, &t);
	return o;
}
