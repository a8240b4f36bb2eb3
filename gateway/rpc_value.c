/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uuid.h>

#include "gateway/gateway.h"

json_t *rpc_text(const char *text)
{
	json_t *s = json_string(text);
	char *ascii;

	if (s)
		return s;
	ascii = strdup(text);
	if (!ascii)
		abort();
	for (char *c = ascii; *c; c++)
		if (*c & 0x80)
			*c = '?';
	s = json_string(ascii);
	free(ascii);
	return s;
}

void rpc_put_text(json_t *o, const char *key, const char *text)
{
	json_object_set_new(o, key, rpc_text(text));
}

/* JSON's integers are signed here; nothing real comes near the end of them. */
void rpc_put_u64(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v));
}

void rpc_put_bool(json_t *o, const char *key, bool v)
{
	json_object_set_new(o, key, json_boolean(v));
}

void rpc_put_optional(json_t *o, const char *key, bool there, uint64_t v)
{
	if (there)
		rpc_put_u64(o, key, v);
	else
		json_object_set_new(o, key, json_null());
}

void rpc_put_since(json_t *o, const char *key, const struct gateway *gw, uint64_t then)
{
	uint64_t ms = (loop_now(gw->control) - then) / NSEC_PER_MSEC;

	json_object_set_new(o, key, json_real((double)ms / 1000));
}

void rpc_put_until(json_t *o, const char *key, const struct gateway *gw, uint64_t then)
{
	uint64_t now = loop_now(gw->control);

	rpc_put_u64(o, key, then > now ? (then - now + NSEC_PER_SEC - 1) / NSEC_PER_SEC : 0);
}

static void put_hex(json_t *o, const char *key, const uint8_t *bytes, size_t n)
{
	char hex[33];

	for (size_t i = 0; i < n; i++)
		snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	rpc_put_text(o, key, hex);
}

void rpc_put_uuid(json_t *o, const char *key, const uint8_t uuid[16])
{
	char text[UUID_STR_LEN];

	uuid_unparse_lower(uuid, text);
	rpc_put_text(o, key, text);
}

void rpc_put_ident(json_t *o, const struct ns_ident *id)
{
	if (id->has_uuid)
		rpc_put_uuid(o, "uuid", id->uuid);
	if (id->has_nguid)
		put_hex(o, "nguid", id->nguid, sizeof(id->nguid));
	if (id->has_eui64)
		put_hex(o, "eui64", id->eui64, sizeof(id->eui64));
}

void rpc_put_address(json_t *o, const struct addr *a)
{
	char buf[ADDR_STR_MAX];

	rpc_put_text(o, "traddr", addr_host_str(a, buf));
	rpc_put_u64(o, "trsvcid", addr_port(a));
}

void rpc_put_io_totals(json_t *o, const struct io_totals *t)
{
	rpc_put_u64(o, "commands", t->commands);
	rpc_put_u64(o, "reads", t->reads);
	rpc_put_u64(o, "writes", t->writes);
	rpc_put_u64(o, "read_bytes", t->read_bytes);
	rpc_put_u64(o, "write_bytes", t->write_bytes);
}
