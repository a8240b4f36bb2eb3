/* SPDX-License-Identifier: Apache-2.0 */
/* JSON-RPC 2.0: from a request's text to its answer. Control loop only. */
#ifndef GATEWAY_RPC_ANSWER_H
#define GATEWAY_RPC_ANSWER_H

#include <jansson.h>
#include <stddef.h>

#include "gateway/rpc_later.h"

struct gateway;

/*
 * The answer to a request of @len bytes, the caller's to free; NULL: none is due, or with *later
 * set, none yet: to be told of it, set what is in there for that.
 */
json_t *rpc_answer(struct gateway *gw, const char *text, size_t len, struct rpc_later **later);
/* The same for a request that was not read to its end. */
json_t *rpc_answer_too_long(void);

#endif
