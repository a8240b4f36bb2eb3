/* SPDX-License-Identifier: Apache-2.0 */
/* The methods io.read and io.write: a few blocks of a namespace, for diagnosis. */
#ifndef GATEWAY_RPC_IO_H
#define GATEWAY_RPC_IO_H

#include "gateway/rpc_methods.h"

#define RPC_IO_MAX_READ	 (64u << 10) /* bytes */
#define RPC_IO_MAX_WRITE (32u << 10) /* in base 64 it has to fit a request */
#define RPC_IO_MAX_OUT	 8u	     /* at once, whoever asks */

json_t *rpc_io_read(struct gateway *gw, const json_t *params, struct rpc_error *err);
json_t *rpc_io_write(struct gateway *gw, const json_t *params, struct rpc_error *err);

#endif
