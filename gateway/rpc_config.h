/* SPDX-License-Identifier: Apache-2.0 */
/* The methods config.*: of the running configuration, and from it to another. Control loop only. */
#ifndef GATEWAY_RPC_CONFIG_H
#define GATEWAY_RPC_CONFIG_H

#include "gateway/rpc_methods.h"

extern const struct rpc_method rpc_config_methods[]; /* end with one without a name */

/* For live.h: the answer is @later's. */
void rpc_live_done(void *later, json_t *result, const struct rpc_error *err);
/* False with @err set: this daemon has no configuration file. */
bool rpc_is_live(const struct gateway *gw, struct rpc_error *err);
/* False with @err set: paths, policies and the log level cannot be set in this moment. */
bool rpc_may_set(const struct gateway *gw, struct rpc_error *err);

#endif
