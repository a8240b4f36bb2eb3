/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_path.h"

#include <stdio.h>
#include <string.h>

#include "gateway/rpc_namespace.h"

char *rpc_path_name(const struct rpc_path *p, char buf[RPC_PATH_NAME_MAX])
{
	if (p->path)
		subsystem_path_name(p->path, buf);
	else
		snprintf(buf, RPC_PATH_NAME_MAX, "%s", p->up->cfg.name);
	return buf;
}

bool rpc_path_next(const struct gateway *gw, const struct subsystem *only, struct rpc_path *p)
{
	if (p->path)
		p->path = TAILQ_NEXT(p->path, up_link);
	if (p->path)
		return true;
	if (p->up)
		p->up = TAILQ_NEXT(p->up, link);
	while (!p->up) {
		p->ss = p->ss ? TAILQ_NEXT(p->ss, link) : TAILQ_FIRST(&gw->subsystems);
		if (!p->ss)
			return false;
		if (!only || p->ss == only)
			p->up = TAILQ_FIRST(&p->ss->mp->upstreams);
	}
	p->path = TAILQ_FIRST(&p->up->paths);
	return true;
}

bool rpc_path_find(const struct gateway *gw, const char *name, const char *nqn,
		   struct rpc_path *out, struct rpc_error *err)
{
	const struct subsystem *only = NULL;
	char buf[RPC_PATH_NAME_MAX];
	struct rpc_path p = {0};
	unsigned found = 0;

	if (nqn) {
		only = rpc_subsystem(gw, nqn, err);
		if (!only)
			return false;
	}
	while (rpc_path_next(gw, only, &p)) {
		if (strcmp(rpc_path_name(&p, buf), name))
			continue;
		*out = p;
		found++;
	}
	if (!found)
		rpc_fail(err, RPC_NOT_FOUND,
			 "there is no path %s; \"nvmegw path list\" lists those that there are",
			 name);
	else if (found > 1)
		rpc_fail(err, RPC_AMBIGUOUS,
			 "%u subsystems have a path %s; say which one is meant (parameter "
			 "\"subsystem\", option --subsystem NQN)",
			 found, name);
	return found == 1;
}

bool rpc_path_find_real(const struct gateway *gw, const char *name, const char *nqn,
			struct rpc_path *out, struct rpc_error *err)
{
	if (!rpc_path_find(gw, name, nqn, out, err))
		return false;
	if (!out->path)
		rpc_fail(err, RPC_REFUSED,
			 "upstream %s shows no namespace, so there is no path to change; \"nvmegw "
			 "path show %s\" tells why",
			 out->up->cfg.name, out->up->cfg.name);
	return out->path;
}
