/* SPDX-License-Identifier: Apache-2.0 */
/* Values as JSON, for the control socket. rpc_put_* sets a member of an object. */
#ifndef GATEWAY_RPC_VALUE_H
#define GATEWAY_RPC_VALUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "multipath/ident.h"
#include "transport/addr.h"

struct gateway;
struct io_totals;

/* Of any bytes, a new reference: what is not UTF-8 shows as question marks. */
json_t *rpc_text(const char *text);

void rpc_put_text(json_t *o, const char *key, const char *text);
void rpc_put_u64(json_t *o, const char *key, uint64_t v);
void rpc_put_bool(json_t *o, const char *key, bool v);
/* Null unless @there. */
void rpc_put_optional(json_t *o, const char *key, bool there, uint64_t v);
/* Seconds since the loop time @then, to the millisecond. */
void rpc_put_since(json_t *o, const char *key, const struct gateway *gw, uint64_t then);
/* Whole seconds until the loop time @then, 0 when that is past. */
void rpc_put_until(json_t *o, const char *key, const struct gateway *gw, uint64_t then);
void rpc_put_uuid(json_t *o, const char *key, const uint8_t uuid[16]);
/* uuid, nguid, eui64: those that there are */
void rpc_put_ident(json_t *o, const struct ns_ident *id);
/* traddr, trsvcid */
void rpc_put_address(json_t *o, const struct addr *a);
void rpc_put_io_totals(json_t *o, const struct io_totals *t);

#endif
