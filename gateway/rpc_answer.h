/* SPDX-License-Identifier: Apache-2.0 */
/* JSON-RPC 2.0: from a request's text to its answer. Control loop only. */
#ifndef GATEWAY_RPC_ANSWER_H
#define GATEWAY_RPC_ANSWER_H

#include <jansson.h>
#include <stddef.h>

struct rpc_caller;
struct rpc_error;

/* The answer to a request of @len bytes, the caller's to free; NULL: none is due, or not yet. */
json_t *rpc_answer(struct rpc_caller *caller, const char *text, size_t len);
/* The same for a request that was not read to its end. */
json_t *rpc_answer_too_long(void);

/* The answer to a request with that id; takes over @result, and is an error when that is NULL. */
json_t *rpc_answer_of(json_t *id, json_t *result, const struct rpc_error *err);

#endif
