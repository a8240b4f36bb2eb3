/* SPDX-License-Identifier: Apache-2.0 */
/* Results of the daemon's methods for people, on stdout. */
#ifndef CLI_SHOW_H
#define CLI_SHOW_H

#include <jansson.h>

void show_status(const json_t *result);
void show_version(const json_t *result);
void show_paths(const json_t *result);
void show_path(const json_t *result);
void show_path_admin(const json_t *result); /* what enabling or disabling it has come to */
void show_namespaces(const json_t *result);
void show_controllers(const json_t *result);

#endif
