/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon, as reached over its control socket. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <jansson.h>
#include <stdbool.h>

/**
 * client_call() - have the daemon at @socket carry out @method
 * @params: taken over
 *
 * 0 with *@result the caller's to free, or an exit status after saying on stderr what went wrong.
 * Waits for a limited time only.
 */
int client_call(const char *socket, const char *method, json_t *params, json_t **result);

/* ---- a connection for more than one question ---- */

struct client;

/* NULL after saying why. @socket must outlive it. */
struct client *client_open(const char *socket);
void client_close(struct client *c);
/* As client_call(). */
int client_ask(struct client *c, const char *method, json_t *params, json_t **result);
/* For poll(); readable when something comes. */
int client_fd(const struct client *c);
/* What the daemon says unasked: reads once, what there is. False: the daemon has gone. */
bool client_hear(struct client *c);
/* The next line of what was read, the caller's; NULL: it is not all here. */
json_t *client_line(struct client *c);

#endif
