/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exported subsystems and their namespaces as admins name them: by NQN, and by the NSID that hosts
 * see. Each returns NULL with @err set when there is none or several. Control loop only.
 */
#ifndef GATEWAY_RPC_NAMESPACE_H
#define GATEWAY_RPC_NAMESPACE_H

#include "gateway/gateway.h"
#include "gateway/rpc_error.h"

struct subsystem *rpc_subsystem(const struct gateway *gw, const char *nqn, struct rpc_error *err);
/* The only one when @nqn is NULL. */
struct subsystem *rpc_subsystem_or_only(const struct gateway *gw, const char *nqn,
					struct rpc_error *err);

/* @nqn may be NULL; *ss is the subsystem that it is in. */
struct head *rpc_namespace(const struct gateway *gw, uint32_t nsid, const char *nqn,
			   struct subsystem **ss, struct rpc_error *err);

#endif
