/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon, as reached over its control socket. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <jansson.h>

/**
 * client_call() - have the daemon at @socket carry out @method
 * @params: taken over
 *
 * 0 with *@result the caller's to free, or an exit status after saying on stderr what went wrong.
 * Waits for a limited time only.
 */
int client_call(const char *socket, const char *method, json_t *params, json_t **result);

#endif
