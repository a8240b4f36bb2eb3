/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/subsys_cfg.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/config_parts.h"
#include "gateway/rpc_value.h"
#include "gateway/subsystem.h"

/* ---- copies ---- */

static void *copy_array(const void *from, unsigned n, size_t size)
{
	void *to = cfg_alloc(n, size);

	if (n)
		memcpy(to, from, n * size);
	return to;
}

struct subsys_cfg *subsys_cfg_copy(const struct subsys_cfg *cfg)
{
	struct subsys_cfg *c = copy_array(cfg, 1, sizeof(*cfg));

	c->allowed_hosts = copy_array(cfg->allowed_hosts, cfg->nr_allowed_hosts,
				      sizeof(cfg->allowed_hosts[0]));
	c->namespaces = copy_array(cfg->namespaces, cfg->nr_namespaces, sizeof(cfg->namespaces[0]));
	c->paths = copy_array(cfg->paths, cfg->nr_paths, sizeof(cfg->paths[0]));
	c->upstreams = copy_array(cfg->upstreams, cfg->nr_upstreams, sizeof(cfg->upstreams[0]));
	for (unsigned i = 0; i < c->nr_upstreams; i++) {
		c->upstreams[i].file.path = c->upstreams[i].file_path;
		c->upstreams[i].file.subnqn = c->upstreams[i].mp.nqn;
	}
	return c;
}

void subsys_cfg_free(struct subsys_cfg *cfg)
{
	if (!cfg)
		return;
	free(cfg->allowed_hosts);
	free(cfg->namespaces);
	free(cfg->paths);
	free(cfg->upstreams);
	free(cfg);
}

static void *grow(void *array, unsigned n, size_t size)
{
	void *p = realloc(array, (n + 1) * size);

	if (!p)
		abort();
	memset((char *)p + n * size, 0, size);
	return p;
}

/* ---- paths ---- */

const struct subsys_path_cfg *subsys_cfg_path(const struct subsys_cfg *cfg, const char *path)
{
	for (unsigned i = 0; i < cfg->nr_paths; i++)
		if (!strcmp(cfg->paths[i].path, path))
			return &cfg->paths[i];
	return NULL;
}

static struct subsys_path_cfg *path_entry(struct subsys_cfg *cfg, const char *path)
{
	struct subsys_path_cfg *p = (struct subsys_path_cfg *)subsys_cfg_path(cfg, path);

	if (p)
		return p;
	cfg->paths = grow(cfg->paths, cfg->nr_paths, sizeof(cfg->paths[0]));
	p = &cfg->paths[cfg->nr_paths++];
	strcpy(p->path, path);
	return p;
}

bool subsys_cfg_set_path(struct subsys_cfg *cfg, const char *path, enum path_admin admin,
			 unsigned weight)
{
	bool is_set = admin != PATH_ADMIN_COUNT || weight, was_set = subsys_cfg_path(cfg, path);
	struct subsys_path_cfg *p;

	if (!is_set && !was_set)
		return true;
	if (!was_set && cfg->nr_paths == CFG_MAX_PATHS)
		return false;
	p = path_entry(cfg, path);
	p->admin = admin;
	p->weight = weight;
	if (!is_set)
		*p = cfg->paths[--cfg->nr_paths];
	return true;
}

/* ---- policies ---- */

static struct subsys_namespace_cfg *namespace_entry(struct subsys_cfg *cfg,
						    const struct ns_ident *ident)
{
	for (unsigned i = 0; i < cfg->nr_namespaces; i++)
		if (ident_compare(&cfg->namespaces[i].ident, ident) == IDENT_SAME)
			return &cfg->namespaces[i];
	return NULL;
}

/* The file names a namespace by one identifier. */
static bool strongest(const struct ns_ident *ident, struct ns_ident *one)
{
	*one = (struct ns_ident){0};
	if (ident->has_uuid)
		memcpy(one->uuid, ident->uuid, sizeof(one->uuid));
	else if (ident->has_nguid)
		memcpy(one->nguid, ident->nguid, sizeof(one->nguid));
	else
		memcpy(one->eui64, ident->eui64, sizeof(one->eui64));
	one->has_uuid = ident->has_uuid;
	one->has_nguid = !one->has_uuid && ident->has_nguid;
	one->has_eui64 = !one->has_uuid && !one->has_nguid && ident->has_eui64;
	return one->has_uuid || one->has_nguid || one->has_eui64;
}

bool subsys_cfg_set_policy(struct subsys_cfg *cfg, const struct ns_ident *ident,
			   enum mp_policy policy)
{
	struct subsys_namespace_cfg *ns = namespace_entry(cfg, ident);
	struct ns_ident one;

	if (!ns) {
		if (!strongest(ident, &one) || cfg->nr_namespaces == SUBSYS_MAX_NSID)
			return false;
		if (!cfg->nr_namespaces)
			cfg->export_all = true;
		cfg->namespaces = grow(cfg->namespaces, cfg->nr_namespaces, sizeof(*ns));
		ns = &cfg->namespaces[cfg->nr_namespaces++];
		ns->ident = one;
	}
	ns->policy = policy;
	return true;
}

void subsys_cfg_set_all_policies(struct subsys_cfg *cfg, enum mp_policy policy)
{
	cfg->mp.policy = policy;
	for (unsigned i = 0; i < cfg->nr_namespaces; i++)
		cfg->namespaces[i].policy = MP_POLICY_COUNT;
}

/* ---- the file ---- */

void subsys_cfg_put_word(json_t *o, const char *key, const char *value, const char *def)
{
	const char *said = json_string_value(json_object_get(o, key));

	if (strcmp(said ? said : def, value))
		json_object_set_new(o, key, json_string(value));
}

static void put_namespaces(const struct subsys_cfg *cfg, json_t *o)
{
	json_t *list = json_object_get(o, "namespaces");

	if (!cfg->nr_namespaces)
		return;
	if (!list) {
		json_object_set_new(o, "namespaces", list = json_array());
		json_object_set_new(o, "export_all", json_true());
	}
	for (unsigned i = 0; i < cfg->nr_namespaces; i++) {
		const struct subsys_namespace_cfg *ns = &cfg->namespaces[i];
		json_t *entry = json_array_get(list, i);

		if (!entry) {
			json_array_append_new(list, entry = json_object());
			rpc_put_ident(entry, &ns->ident);
		}
		subsys_cfg_put_word(entry, "policy",
				    ns->policy == MP_POLICY_COUNT ? "subsystem"
								  : mp_policy_name(ns->policy),
				    "subsystem");
	}
}

static void put_paths(const struct subsys_cfg *cfg, json_t *o)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < cfg->nr_paths; i++) {
		const struct subsys_path_cfg *p = &cfg->paths[i];
		json_t *entry = json_pack("{s:s}", "path", p->path);

		if (p->admin != PATH_ADMIN_COUNT)
			json_object_set_new(entry, "admin", json_string(path_admin_name(p->admin)));
		if (p->weight)
			json_object_set_new(entry, "weight", json_integer(p->weight));
		json_array_append_new(list, entry);
	}
	if (cfg->nr_paths || json_object_get(o, "paths"))
		json_object_set(o, "paths", list);
	json_decref(list);
}

void subsys_cfg_write(const struct subsys_cfg *cfg, json_t *o)
{
	subsys_cfg_put_word(o, "policy", mp_policy_name(cfg->mp.policy),
			    mp_policy_name(MP_POLICY_FAILOVER));
	put_namespaces(cfg, o);
	put_paths(cfg, o);
}
