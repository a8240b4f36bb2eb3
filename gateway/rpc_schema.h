/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the methods take and give: rpc_schema.json, which is part of the program. A method has a
 * member of "methods" there, and what several share is in "$defs". Control loop only.
 */
#ifndef GATEWAY_RPC_SCHEMA_H
#define GATEWAY_RPC_SCHEMA_H

#include <jansson.h>

/* "description", "params" and "result" of the method, borrowed; NULL: it has none. */
const json_t *rpc_schema(const char *method);

#endif
