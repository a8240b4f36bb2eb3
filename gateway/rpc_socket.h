/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket's place in the file system. */
#ifndef GATEWAY_RPC_SOCKET_H
#define GATEWAY_RPC_SOCKET_H

#include <sys/stat.h>
#include <sys/un.h>

struct rpc_socket {
	struct sockaddr_un name;
	struct stat made; /* what was put there, so that nothing else is removed */
	int fd;
};

/*
 * Makes a listening, non-blocking socket at @path, which its owner and group may use. A socket that
 * a dead daemon left there is replaced; a missing folder is made. 0, or -1 after logging why.
 */
int rpc_socket_open(struct rpc_socket *s, const char *path);
/* Closes it and removes the file if it is still ours. */
void rpc_socket_close(struct rpc_socket *s);

#endif
