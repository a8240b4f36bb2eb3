/* SPDX-License-Identifier: Apache-2.0 */
/* The methods log.*: what is logged, until the daemon ends. */
#ifndef GATEWAY_RPC_LOG_H
#define GATEWAY_RPC_LOG_H

#include "gateway/rpc_methods.h"

json_t *rpc_log_show(struct gateway *gw, const json_t *params, struct rpc_error *err);
json_t *rpc_log_level(struct gateway *gw, const json_t *params, struct rpc_error *err);
json_t *rpc_log_debug(struct gateway *gw, const json_t *params, struct rpc_error *err);

#endif
