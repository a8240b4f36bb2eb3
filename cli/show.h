/* SPDX-License-Identifier: Apache-2.0 */
/* Results of the daemon's methods for people, on stdout. */
#ifndef CLI_SHOW_H
#define CLI_SHOW_H

#include <jansson.h>

#include "cli/text.h"

void show_status(const json_t *result);
void show_version(const json_t *result);
void show_paths(const json_t *result);
void show_path(const json_t *result);
/* What changing it has come to. */
void show_path_admin(const json_t *result);
void show_path_weight(const json_t *result);
void show_path_reset(const json_t *result);
void show_namespaces(const json_t *result);
void show_namespace(const json_t *result);
void show_policy(const json_t *result);
void show_controllers(const json_t *result);
void show_event(const json_t *event);
void show_log(const json_t *result);
void show_methods(const json_t *result);
void show_config(const json_t *result);
void show_config_check(const json_t *result);
void show_config_diff(const json_t *result);
/* What has been changed, by an apply or by what leads to one. */
void show_config_apply(const json_t *result);
void show_config_save(const json_t *result);
/* The same as an apply, of what is not in the file yet. */
void show_config_edit(const json_t *result);

void show_upstreams(const json_t *result);
void show_upstream(const json_t *result);
void show_upstream_connect(const json_t *result);
void show_upstream_disconnect(const json_t *result);
void show_path_drain(const json_t *result);
void show_hosts(const json_t *result);
void show_listeners(const json_t *result);
void show_subsystems(const json_t *result);
void show_controller(const json_t *result);
void show_controller_disconnect(const json_t *result);

/* Whether an upstream is connected, by the members named so; @live says that it is. */
void show_connection(const json_t *of, const char *state, const char *reason, const char *live);
/* Of rows with "paths" and "usable_paths". */
enum colour show_paths_colour(const json_t *row);
/* Of paths. */
enum colour show_state_colour(const json_t *row);

#endif
