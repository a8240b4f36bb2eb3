/* SPDX-License-Identifier: Apache-2.0 */
/* Events over the control socket: how a connection asks for them, and the lines that it gets. */
#ifndef GATEWAY_RPC_EVENTS_H
#define GATEWAY_RPC_EVENTS_H

#include "gateway/rpc_methods.h"

/* The method events.subscribe */
json_t *rpc_subscribe(struct rpc_caller *caller, const json_t *params, struct rpc_error *err);

/*
 * The next lines for the reader, a few events at most, and their length: the caller's to free.
 * NULL: there is nothing new.
 */
char *rpc_event_lines(struct event_reader *r, size_t *len);

#endif
