/* SPDX-License-Identifier: Apache-2.0 */
/* JSON-RPC 2.0: from a request's text to its answer. Control loop only. */
#ifndef GATEWAY_RPC_METHODS_H
#define GATEWAY_RPC_METHODS_H

#include <jansson.h>
#include <stddef.h>

struct gateway;

/* Reserved by JSON-RPC 2.0, section 5.1; ours are positive. */
enum rpc_code {
	RPC_PARSE = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_NO_METHOD = -32601,
	RPC_INVALID_PARAMS = -32602,
	RPC_NOT_FOUND = 1, /* nothing of the name given */
	RPC_AMBIGUOUS = 2, /* several of it */
	RPC_REFUSED = 3,   /* not now, or not with that */
};

struct rpc_error {
	enum rpc_code code;
	char message[640];
};

/* Fills in @err, with a message that names the thing and the next step. */
__attribute__((format(printf, 3, 4))) void rpc_fail(struct rpc_error *err, enum rpc_code code,
						    const char *fmt, ...);

/* The answer to a request of @len bytes, the caller's to free; NULL: none is due. */
json_t *rpc_answer(struct gateway *gw, const char *text, size_t len);
/* The same for a request that was not read to its end. */
json_t *rpc_answer_too_long(void);

#endif
