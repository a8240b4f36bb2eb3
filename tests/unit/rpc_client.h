/* SPDX-License-Identifier: Apache-2.0 */
/* A client of the control socket, which turns the gateway's loops while it waits. */
#ifndef TESTS_RPC_CLIENT_H
#define TESTS_RPC_CLIENT_H

#include <jansson.h>
#include <stddef.h>

int client_of(const char *socket_path);
/* All of it, while the daemon reads. */
void say(int fd, const char *text, size_t len);
/* One line; NULL: the connection has ended. */
json_t *hear(int fd);

#endif
