/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that take a while. A method that cannot answer at once takes one of these and returns
 * NULL; the connection is asked nothing else until the answer comes, and may be gone by then.
 */
#ifndef GATEWAY_RPC_LATER_H
#define GATEWAY_RPC_LATER_H

#include "gateway/rpc_methods.h"

struct rpc_later {
	struct rpc_caller *caller; /* NULL: it has gone */
	json_t *id;		   /* NULL: a notification */
};

struct rpc_later *rpc_later_take(struct rpc_caller *caller);
/* Answers and frees it; takes over @result. @err counts when that is NULL. */
void rpc_later_answer(struct rpc_later *later, json_t *result, const struct rpc_error *err);
/* The connection ends. */
void rpc_later_forget(struct rpc_caller *caller);

#endif
