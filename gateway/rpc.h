/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: JSON-RPC 2.0, one object a line, on a Unix socket. Control loop only. */
#ifndef GATEWAY_RPC_H
#define GATEWAY_RPC_H

struct gateway;
struct rpc;

#define RPC_MAX_LINE	    (1u << 20) /* bytes of one request, without its newline */
#define RPC_MAX_CONNECTIONS 32u	       /* one more ends the one that has been quiet for longest */
#define RPC_STALL_MS	    5000u      /* an answer of which nothing is taken for so long ends it */

/* Listens at @path, which no running daemon may have. Returns NULL after logging why. */
struct rpc *rpc_open(struct gateway *gw, const char *path);
/* Ends all connections and removes the socket; NULL is right too. */
void rpc_close(struct rpc *rpc);

#endif
