/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A subsystem's own copy of its configuration, which changes with what admins set of paths and
 * policies, and how that looks in the file. Control loop only.
 */
#ifndef GATEWAY_SUBSYS_CFG_H
#define GATEWAY_SUBSYS_CFG_H

#include <jansson.h>

#include "gateway/config.h"

struct subsys_cfg *subsys_cfg_copy(const struct subsys_cfg *cfg);
void subsys_cfg_free(struct subsys_cfg *cfg);

/* NULL: nothing is set of it. */
const struct subsys_path_cfg *subsys_cfg_path(const struct subsys_cfg *cfg, const char *path);
/* @admin: PATH_ADMIN_COUNT, @weight: 0: as its upstream says. False: the file holds no more. */
bool subsys_cfg_set_path(struct subsys_cfg *cfg, const char *path, enum path_admin admin,
			 unsigned weight);
/* Of the namespace; false: the same, or it has no identifier by which the file could name it. */
bool subsys_cfg_set_policy(struct subsys_cfg *cfg, const struct ns_ident *ident,
			   enum mp_policy policy);
/* Of all namespaces, also those that had one of their own. */
void subsys_cfg_set_all_policies(struct subsys_cfg *cfg, enum mp_policy policy);

/* Sets the member, but leaves alone what says so already, if only by not being there. */
void subsys_cfg_put_word(json_t *o, const char *key, const char *value, const char *def);
/* Puts what may have been set into @o, the subsystem's object in the file that @cfg was read from.
 */
void subsys_cfg_write(const struct subsys_cfg *cfg, json_t *o);

#endif
