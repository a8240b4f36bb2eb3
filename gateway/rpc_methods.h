/* SPDX-License-Identifier: Apache-2.0 */
/* What can be asked for over the control socket. Control loop only. */
#ifndef GATEWAY_RPC_METHODS_H
#define GATEWAY_RPC_METHODS_H

#include <jansson.h>
#include <stdbool.h>

#include "gateway/rpc_error.h"

struct gateway;

struct rpc_param {
	const char *name;
	json_int_t max; /* of an integer, from 1 on; 0: it is a string */
	bool optional;
	bool object; /* it is one */
};

struct rpc_method {
	const char *name;
	/* The result, or NULL with @err set, if only to rpc_answer_later(). @params is an object
	 * that fits the list below. */
	json_t *(*call)(struct gateway *gw, const json_t *params, struct rpc_error *err);
	const struct rpc_param *params; /* end with one without a name */
};

/* NULL: there is none. */
const struct rpc_method *rpc_method(const char *name);

#endif
