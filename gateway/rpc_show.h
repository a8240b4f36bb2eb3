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

/* Of any bytes: what is not UTF-8 shows as question marks. */
json_t *show_text(const char *text);

json_t *show_status(const struct gateway *gw);
json_t *show_path(const struct gateway *gw, const struct rpc_path *p);
json_t *show_namespace(const struct subsystem *ss, const struct head *h);
json_t *show_controller(const struct controller *c);

#endif
