/* SPDX-License-Identifier: Apache-2.0 */
/* Why a request over the control socket has no result, or none yet. */
#ifndef GATEWAY_RPC_ERROR_H
#define GATEWAY_RPC_ERROR_H

/* Reserved by JSON-RPC 2.0, section 5.1; ours are positive. */
enum rpc_code {
	RPC_PARSE = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_NO_METHOD = -32601,
	RPC_INVALID_PARAMS = -32602,
	RPC_INTERNAL = -32603,
	RPC_NOT_FOUND = 1, /* nothing of the name given */
	RPC_AMBIGUOUS = 2, /* several of it */
	RPC_REFUSED = 3,   /* not now, or not with that */
	RPC_FAILED = 4,	   /* a command was carried out and failed */
};

struct rpc_later;

struct rpc_error {
	enum rpc_code code;
	char message[16384];	 /* a configuration can have many problems */
	struct rpc_later *later; /* set: it is to come, see rpc_later.h */
};

/* Fills in @err, with a message that names the thing and the next step. */
__attribute__((format(printf, 3, 4))) void rpc_fail(struct rpc_error *err, enum rpc_code code,
						    const char *fmt, ...);

#endif
