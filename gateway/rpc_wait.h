/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A method that is answered when what it has asked for has taken effect, or after SETTLE_MAX: then
 * its result shows what is not done yet. Control loop only.
 */
#ifndef GATEWAY_RPC_WAIT_H
#define GATEWAY_RPC_WAIT_H

#include "gateway/gateway.h"
#include "gateway/rpc_later.h"

struct rpc_wait;

/* What is waited for may go meanwhile: both look for it each time. */
struct rpc_wait_ops {
	bool (*is_done)(const struct rpc_wait *w);
	/* NULL: refused, @err says why. */
	json_t *(*result)(struct rpc_wait *w, struct rpc_error *err);
};

/* The head of what a method remembers. */
struct rpc_wait {
	json_t *shown; /* for result(), where it is that of what has gone; or NULL */
	/* rpc_wait()'s */
	TAILQ_ENTRY(rpc_wait) link; /* in gateway.waits */
	struct gateway *gw;
	const struct rpc_wait_ops *ops;
	struct rpc_later *later;
	struct loop_timer timer;
	uint64_t started;
};

/* For a method, which returns NULL then. Takes over @w, from malloc(), and its reference. */
void rpc_wait(struct gateway *gw, struct rpc_wait *w, const struct rpc_wait_ops *ops,
	      struct rpc_error *err);
/* At the end of the gateway: nobody is answered any more. */
void rpc_waits_end(struct gateway *gw);

#endif
