/* SPDX-License-Identifier: Apache-2.0 */
/* What one configuration would change of another, and what it takes. */
#ifndef GATEWAY_CONFIG_DIFF_H
#define GATEWAY_CONFIG_DIFF_H

#include <jansson.h>
#include <stdbool.h>

#include "gateway/config.h"

struct config_diff {
	/*
	 * An array of objects: "what" ("daemon", "listener", "subsystem", "host", "namespace",
	 * "path", "upstream", "upstreams"), "subsystem" (its NQN or null), "name" (or null),
	 * "change" ("added", "removed", "changed", "moved"), "takes" ("nothing", "a reconnect", "a
	 * restart") and "keys": of what has changed an array of "key", "from", "to", "takes".
	 */
	json_t *changes;
	bool restart; /* some of them cannot be made while the daemon runs */
};

/**
 * config_diff() - fill in @d
 * @room: connections that there is memory for, see gateway.h
 *
 * Objects are the same when they have the same name: NQN, address, name of an upstream.
 */
void config_diff(const struct gw_config *was, const struct gw_config *is, unsigned room,
		 struct config_diff *d);

#define LISTENER_NAME_MAX (ADDR_STR_MAX + 8)
/* TRANSPORT/ADDRESS:PORT. Returns buf. */
char *listener_name(const struct listener_cfg *l, char buf[LISTENER_NAME_MAX]);
const struct listener_cfg *config_listener(const struct gw_config *cfg,
					   const struct listener_cfg *like);
const struct subsys_cfg *config_subsystem(const struct gw_config *cfg, const char *nqn);
const struct upstream_cfg *config_upstream(const struct subsys_cfg *ss, const char *name);
/* Whether the two, of one NQN, are the same. */
bool config_same_subsystem(const struct subsys_cfg *was, const struct subsys_cfg *is);
/* All connections that its listeners allow. */
unsigned config_connections(const struct gw_config *cfg);

#endif
