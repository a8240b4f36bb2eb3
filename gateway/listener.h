/* SPDX-License-Identifier: Apache-2.0 */
/* Where hosts connect, while the daemon runs. Control loop only. */
#ifndef GATEWAY_LISTENER_H
#define GATEWAY_LISTENER_H

#include "gateway/gateway.h"

#define LISTENER_ERROR_MAX 256

/* NULL with why set. */
struct gw_listener *listener_open(struct gateway *gw, const struct listener_cfg *cfg,
				  char why[LISTENER_ERROR_MAX]);
/* The one that is configured at the same address; NULL: none. */
struct gw_listener *listener_find(const struct gateway *gw, const struct listener_cfg *like);
/* Stops listening; connections that came in by it go on. */
void listener_remove(struct gw_listener *l);
/* Stops all of them, which stay configured: the gateway ends. */
void listeners_close(struct gateway *gw);
void listeners_free(struct gateway *gw);

/*
 * Stops those that @cfg has not, or not so, and starts the others; sets *any when there are some.
 * False with why set: one could not be started, and all is as it was.
 */
bool listeners_apply(struct gateway *gw, const struct gw_config *cfg, bool *any,
		     char why[LISTENER_ERROR_MAX]);
/* Hosts that connect to an inherited socket without a listener would wait for ever. */
void warn_of_unused_sockets(const struct gw_config *cfg);

#endif
