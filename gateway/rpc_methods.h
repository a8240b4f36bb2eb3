/* SPDX-License-Identifier: Apache-2.0 */
/* What can be asked for over the control socket. Control loop only. */
#ifndef GATEWAY_RPC_METHODS_H
#define GATEWAY_RPC_METHODS_H

#include <jansson.h>
#include <stdbool.h>

#include "gateway/events.h"
#include "gateway/rpc_error.h"

struct gateway;

/* The connection that asks. */
struct rpc_caller {
	struct gateway *gw;
	struct event_reader *events; /* what it has subscribed to */
};

struct rpc_method {
	const char *name;
	/*
	 * The result, or NULL with @err set, if only to rpc_answer_later(). @params and the result
	 * fit what rpc_schema.json says.
	 */
	json_t *(*call)(struct gateway *gw, const json_t *params, struct rpc_error *err);
	/* Instead, of one that concerns the connection. */
	json_t *(*call_from)(struct rpc_caller *caller, const json_t *params,
			     struct rpc_error *err);
};

/* NULL: there is none. */
const struct rpc_method *rpc_method(const char *name);
/* The @n'th of all; NULL: there are not so many. */
const struct rpc_method *rpc_method_at(unsigned n);

#endif
