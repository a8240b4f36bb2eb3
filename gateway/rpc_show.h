/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's state as JSON, for the control socket. Each returns a new reference. Of what belongs
 * to workers only counters are read. Control loop only.
 */
#ifndef GATEWAY_RPC_SHOW_H
#define GATEWAY_RPC_SHOW_H

#include <jansson.h>

#include "gateway/controller.h"
#include "gateway/rpc_path.h"

json_t *show_status(const struct gateway *gw);
json_t *show_path(const struct gateway *gw, const struct rpc_path *p);
json_t *show_upstream(const struct subsystem *ss, const struct upstream *up);
json_t *show_namespace(const struct subsystem *ss, const struct head *h);
/* The same with its paths. */
json_t *show_namespace_and_paths(struct subsystem *ss, const struct head *h);
json_t *show_controller(const struct controller *c);

/* Arrays, as status has them. */
json_t *show_listeners(const struct gateway *gw);
json_t *show_subsystems(const struct gateway *gw);
json_t *show_upstreams(const struct gateway *gw);

/* ---- parts of them ---- */

/* Its address, what it is named by, how often it was lost: the same for an upstream and a path. */
void rpc_put_upstream(json_t *o, const struct subsystem *ss, const struct upstream *up);
/* Loop time since when the upstream is in its state. */
uint64_t rpc_upstream_since(const struct upstream *up);
unsigned rpc_usable_paths(const struct head *h);
/* One word; the reason tells the rest. */
const char *rpc_path_state(const struct rpc_path *p);

#endif
