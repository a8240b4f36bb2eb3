/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods by which upstreams, hosts and listeners come and go. Each edits the running configuration
 * and has that applied, see live.h. Control loop only.
 */
#ifndef GATEWAY_RPC_CHANGE_H
#define GATEWAY_RPC_CHANGE_H

#include "gateway/rpc_methods.h"

extern const struct rpc_method rpc_change_methods[]; /* end with one without a name */

#endif
