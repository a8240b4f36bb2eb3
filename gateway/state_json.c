/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/state_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

#define VERSION 1

/* ---- in memory ---- */

struct state_map *state_map_add(struct state_maps *maps, const char *nqn)
{
	struct state_map *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	snprintf(m->nqn, sizeof(m->nqn), "%s", nqn);
	TAILQ_INIT(&m->namespaces);
	TAILQ_INSERT_TAIL(maps, m, link);
	return m;
}

struct state_ns *state_map_nsid(const struct state_map *m, uint32_t nsid)
{
	struct state_ns *ns;

	TAILQ_FOREACH(ns, &m->namespaces, link)
		if (ns->nsid == nsid)
			return ns;
	return NULL;
}

struct state_ns *state_ns_add(struct state_map *m, const struct ns_ident *id)
{
	struct state_ns *ns = calloc(1, sizeof(*ns));

	if (!ns)
		abort();
	ns->id = *id;
	TAILQ_INSERT_TAIL(&m->namespaces, ns, link);
	return ns;
}

void state_maps_free(struct state_maps *maps)
{
	struct state_map *m;
	struct state_ns *ns;

	while ((m = TAILQ_FIRST(maps))) {
		while ((ns = TAILQ_FIRST(&m->namespaces))) {
			TAILQ_REMOVE(&m->namespaces, ns, link);
			free(ns);
		}
		TAILQ_REMOVE(maps, m, link);
		free(m);
	}
}

/* ---- to JSON ---- */

/* A discovery log may give an upstream's NQN as any bytes, and JSON takes UTF-8 only. */
#define ESCAPED_MAX (3 * NVMF_NQN_MAX + 1)

static void escape(const char *nqn, char text[ESCAPED_MAX])
{
	for (; *nqn; nqn++)
		if (*nqn > ' ' && *nqn <= '~' && *nqn != '%')
			*text++ = *nqn;
		else
			text += sprintf(text, "%%%02x", (unsigned char)*nqn);
	*text = '\0';
}

static void set_hex(json_t *o, const char *key, const uint8_t *id, size_t n)
{
	char text[33];

	for (size_t i = 0; i < n; i++)
		sprintf(text + 2 * i, "%02x", id[i]);
	json_object_set_new(o, key, json_string(text));
}

static json_t *ns_json(const struct state_ns *ns)
{
	json_t *o = json_pack("{s:I}", "nsid", (json_int_t)ns->nsid);
	const struct ns_ident *id = &ns->id;
	char uuid[UUID_STR_LEN], nqn[ESCAPED_MAX];

	if (id->has_uuid) {
		uuid_unparse_lower(id->uuid, uuid);
		json_object_set_new(o, "uuid", json_string(uuid));
	}
	if (id->has_nguid)
		set_hex(o, "nguid", id->nguid, sizeof(id->nguid));
	if (id->has_eui64)
		set_hex(o, "eui64", id->eui64, sizeof(id->eui64));
	if (!id->has_uuid && !id->has_nguid && !id->has_eui64) {
		escape(id->subnqn, nqn);
		json_object_set_new(o, "upstream_nqn", json_string(nqn));
		json_object_set_new(o, "upstream_nsid", json_integer(id->nsid));
	}
	return o;
}

char *state_maps_text(const struct state_maps *maps)
{
	json_t *subsystems = json_object();
	const struct state_map *m;
	const struct state_ns *ns;
	json_t *doc;
	char *text;

	TAILQ_FOREACH(m, maps, link) {
		json_t *list = json_array();

		TAILQ_FOREACH(ns, &m->namespaces, link)
			json_array_append_new(list, ns_json(ns));
		json_object_set_new(subsystems, m->nqn, list);
	}
	doc = json_pack("{s:i,s:o}", "version", VERSION, "subsystems", subsystems);
	text = json_dumps(doc, JSON_INDENT(2));
	if (!text)
		abort();
	json_decref(doc);
	return text;
}

/* ---- from JSON ---- */

static bool parse_hex(const char *text, uint8_t *id, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	if (strlen(text) != 2 * n)
		return false;
	for (size_t i = 0; i < 2 * n; i++) {
		const char *d = strchr(digits, text[i]);

		if (!d)
			return false;
		id[i / 2] = (uint8_t)(id[i / 2] << 4 | (d - digits));
	}
	return true;
}

static bool unescape(const char *text, char nqn[NVMF_NQN_MAX + 1])
{
	for (size_t i = 0; i < NVMF_NQN_MAX; i++, text++) {
		uint8_t byte = (uint8_t)*text;

		if (byte == '%') {
			char hex[3] = {text[1], text[1] ? text[2] : '\0'};

			if (!parse_hex(hex, &byte, 1) || !byte)
				return false;
			text += 2;
		}
		nqn[i] = (char)byte;
		if (!byte)
			return i > 0;
	}
	nqn[NVMF_NQN_MAX] = '\0';
	return !*text;
}

/* What is left out is fine; what is there must be right. */
static bool parse_id(struct ns_ident *id, const char *uuid, const char *nguid, const char *eui64)
{
	id->has_uuid = uuid;
	id->has_nguid = nguid;
	id->has_eui64 = eui64;
	return (!uuid || !uuid_parse(uuid, id->uuid)) &&
	       (!nguid || parse_hex(nguid, id->nguid, sizeof(id->nguid))) &&
	       (!eui64 || parse_hex(eui64, id->eui64, sizeof(id->eui64)));
}

static bool is_nsid(json_int_t nsid)
{
	return nsid >= 1 && nsid < NVME_NSID_ALL;
}

static const char *parse_ns(struct state_map *m, json_t *o)
{
	const char *uuid = NULL, *nguid = NULL, *eui64 = NULL, *nqn = NULL;
	json_int_t nsid, upstream_nsid = 0;
	struct ns_ident id = {0};
	bool upstream;

	if (json_unpack_ex(o, NULL, JSON_STRICT, "{s:I,s?s,s?s,s?s,s?s,s?I}", "nsid", &nsid, "uuid",
			   &uuid, "nguid", &nguid, "eui64", &eui64, "upstream_nqn", &nqn,
			   "upstream_nsid", &upstream_nsid))
		return "missing, unknown or wrong fields";
	if (!is_nsid(nsid))
		return "an NSID that cannot be";
	if (state_map_nsid(m, (uint32_t)nsid))
		return "an NSID given twice";
	if (!parse_id(&id, uuid, nguid, eui64) || (nqn && !unescape(nqn, id.subnqn)))
		return "an identifier that cannot be read";
	upstream = nqn && is_nsid(upstream_nsid);
	if ((uuid || nguid || eui64) ? nqn || upstream_nsid : !upstream)
		return "it does not say which namespace it is for";
	id.nsid = (uint32_t)upstream_nsid;
	state_ns_add(m, &id)->nsid = (uint32_t)nsid;
	return NULL;
}

static bool parse_map(struct state_maps *maps, const char *nqn, json_t *list, char *what,
		      size_t len)
{
	struct state_map *m;
	size_t i;
	json_t *o;

	if (!json_is_array(list) || strlen(nqn) > NVMF_NQN_MAX) {
		snprintf(what, len, "\"%.*s\" is no NQN with a list", NVMF_NQN_MAX, nqn);
		return false;
	}
	m = state_map_add(maps, nqn);
	json_array_foreach(list, i, o) {
		const char *problem = parse_ns(m, o);

		if (problem) {
			snprintf(what, len, "\"%s\", entry %zu: %s", nqn, i + 1, problem);
			return false;
		}
	}
	return true;
}

bool state_maps_parse(struct state_maps *maps, json_t *doc, char *what, size_t len)
{
	json_t *subsystems, *list;
	const char *nqn;
	json_error_t e;
	int version;

	if (json_unpack_ex(doc, &e, 0, "{s:i}", "version", &version)) {
		snprintf(what, len, "%s", e.text);
		return false;
	}
	if (version != VERSION) {
		snprintf(what, len, "version %d is not known to this nvmegwd", version);
		return false;
	}
	if (json_unpack_ex(doc, &e, JSON_STRICT, "{s:i,s:o}", "version", &version, "subsystems",
			   &subsystems)) {
		snprintf(what, len, "%s", e.text);
		return false;
	}
	if (!json_is_object(subsystems)) {
		snprintf(what, len, "\"subsystems\" is no object");
		return false;
	}
	json_object_foreach(subsystems, nqn, list)
		if (!parse_map(maps, nqn, list, what, len))
			return false;
	return true;
}
