/* SPDX-License-Identifier: Apache-2.0 */
/* A request whose answer comes in a later turn, or never: its client may go first. */
#ifndef GATEWAY_RPC_LATER_H
#define GATEWAY_RPC_LATER_H

#include <jansson.h>
#include <stdbool.h>

#include "gateway/rpc_error.h"

struct rpc_later {
	bool asked; /* by whoever gives the answer on */
	/* Of whoever waits for it; NULL: nobody does any more. Takes over the answer, which is NULL
	 * when none is due. */
	void (*answered)(void *arg, json_t *answer);
	void *arg;
	json_t *id; /* of the request; NULL: it has none */
	/* what has come before that */
	bool ended;
	json_t *result;
	struct rpc_error err;
};

/* For a method, which returns NULL then: its answer comes later, by one rpc_later_answer(). */
struct rpc_later *rpc_answer_later(struct rpc_error *err);
/* Answers it, takes over @result; NULL: @err says why not. @l is gone after that. */
void rpc_later_answer(struct rpc_later *l, json_t *result, const struct rpc_error *err);

#endif
