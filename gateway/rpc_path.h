/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths as admins name them: UPSTREAM/NSID, where NSID is the upstream's. An upstream that shows no
 * namespace stands for itself, named UPSTREAM. Control loop only.
 */
#ifndef GATEWAY_RPC_PATH_H
#define GATEWAY_RPC_PATH_H

#include "gateway/gateway.h"
#include "gateway/rpc_error.h"

#define RPC_PATH_NAME_MAX PATH_NAME_MAX

struct rpc_path {
	struct subsystem *ss;
	struct upstream *up;
	struct path *path; /* NULL: the upstream shows no namespace */
};

char *rpc_path_name(const struct rpc_path *p, char buf[RPC_PATH_NAME_MAX]);

/* The path after @p, or the first one for an all zero @p; only of @only unless that is NULL. */
bool rpc_path_next(const struct gateway *gw, const struct subsystem *only, struct rpc_path *p);

/* The one path of that name; @nqn may be NULL. False with @err set when there is none or several.
 */
bool rpc_path_find(const struct gateway *gw, const char *name, const char *nqn,
		   struct rpc_path *out, struct rpc_error *err);
/* The same of those that show a namespace: what is set of a path is set of one that is there. */
bool rpc_path_find_real(const struct gateway *gw, const char *name, const char *nqn,
			struct rpc_path *out, struct rpc_error *err);

#endif
