/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_namespace.h"

#include <string.h>

#define SAY_WHICH "say which one is meant (parameter \"subsystem\", option --subsystem NQN)"

struct subsystem *rpc_subsystem(const struct gateway *gw, const char *nqn, struct rpc_error *err)
{
	struct subsystem *ss;

	TAILQ_FOREACH(ss, &gw->subsystems, link)
		if (!strcmp(ss->nqn, nqn))
			return ss;
	rpc_fail(err, RPC_NOT_FOUND,
		 "no subsystem %s is exported; \"nvmegw status\" lists those that are", nqn);
	return NULL;
}

struct subsystem *rpc_subsystem_or_only(const struct gateway *gw, const char *nqn,
					struct rpc_error *err)
{
	struct subsystem *first = TAILQ_FIRST(&gw->subsystems);

	if (nqn)
		return rpc_subsystem(gw, nqn, err);
	if (first && !TAILQ_NEXT(first, link))
		return first;
	if (first)
		rpc_fail(err, RPC_AMBIGUOUS, "several subsystems are exported; " SAY_WHICH);
	else
		rpc_fail(err, RPC_NOT_FOUND,
			 "no subsystem is exported: the configuration has none");
	return NULL;
}

struct head *rpc_namespace(const struct gateway *gw, uint32_t nsid, const char *nqn,
			   struct subsystem **ss, struct rpc_error *err)
{
	struct subsystem *each, *only = NULL;
	struct head *found = NULL;
	unsigned n = 0;

	if (nqn) {
		only = rpc_subsystem(gw, nqn, err);
		if (!only)
			return NULL;
	}
	TAILQ_FOREACH(each, &gw->subsystems, link) {
		struct head *h = mp_subsys_head(each->mp, nsid);

		if (!h || (only && each != only))
			continue;
		found = h;
		*ss = each;
		n++;
	}
	if (n == 1)
		return found;
	if (n)
		rpc_fail(err, RPC_AMBIGUOUS, "%u subsystems have a namespace %u; " SAY_WHICH, n,
			 nsid);
	else
		rpc_fail(err, RPC_NOT_FOUND,
			 "there is no namespace %u%s%s; \"nvmegw namespace list\" lists those that "
			 "there are",
			 nsid, nqn ? " in " : "", nqn ? nqn : "");
	return NULL;
}
