/* SPDX-License-Identifier: Apache-2.0 */
/* Upstreams as admins name them, and what is done with their connections. Control loop only. */
#ifndef GATEWAY_RPC_UPSTREAM_H
#define GATEWAY_RPC_UPSTREAM_H

#include "gateway/gateway.h"
#include "gateway/rpc_methods.h"

/* The one of that name, *ss is the subsystem that it is in; @nqn may be NULL. NULL with @err set
 * when there is none or several. */
struct upstream *rpc_upstream(const struct gateway *gw, const char *name, const char *nqn,
			      struct subsystem **ss, struct rpc_error *err);

/* upstream.list, .show, .connect, .disconnect, path.reset and .drain; end with one without a name
 */
extern const struct rpc_method rpc_upstream_methods[];

#endif
