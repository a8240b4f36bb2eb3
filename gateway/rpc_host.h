/* SPDX-License-Identifier: Apache-2.0 */
/* Methods of what hosts see and have: host.list, listener.list, subsystem.list, controller.show and
 * controller.disconnect. Control loop only. */
#ifndef GATEWAY_RPC_HOST_H
#define GATEWAY_RPC_HOST_H

#include "gateway/rpc_methods.h"

extern const struct rpc_method rpc_host_methods[]; /* end with one without a name */

#endif
