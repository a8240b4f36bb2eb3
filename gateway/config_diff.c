/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/config_diff.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/config_parts.h"

/* ---- by name ---- */

char *listener_name(const struct listener_cfg *l, char buf[LISTENER_NAME_MAX])
{
	char where[ADDR_STR_MAX];

	snprintf(buf, LISTENER_NAME_MAX, "%s/%s", l->transport->name, addr_str(&l->addr, where));
	return buf;
}

const struct listener_cfg *config_listener(const struct gw_config *cfg,
					   const struct listener_cfg *like)
{
	for (unsigned i = 0; i < cfg->nr_listeners; i++)
		if (cfg->listeners[i].transport == like->transport &&
		    addr_equal(&cfg->listeners[i].addr, &like->addr))
			return &cfg->listeners[i];
	return NULL;
}

const struct subsys_cfg *config_subsystem(const struct gw_config *cfg, const char *nqn)
{
	for (unsigned i = 0; i < cfg->nr_subsystems; i++)
		if (!strcmp(cfg->subsystems[i].mp.nqn, nqn))
			return &cfg->subsystems[i];
	return NULL;
}

const struct upstream_cfg *config_upstream(const struct subsys_cfg *ss, const char *name)
{
	for (unsigned i = 0; i < ss->nr_upstreams; i++)
		if (!strcmp(ss->upstreams[i].mp.name, name))
			return &ss->upstreams[i];
	return NULL;
}

unsigned config_connections(const struct gw_config *cfg)
{
	unsigned n = 0;

	for (unsigned i = 0; i < cfg->nr_listeners; i++)
		n += cfg->listeners[i].tgt.max_connections;
	return n;
}

/* ---- two structs ---- */

static const char *takes(bool reconnect, bool restart)
{
	return restart ? "a restart" : reconnect ? "a reconnect" : "nothing";
}

static bool differs(const struct cfg_field *f, const void *was, const void *is)
{
	const char *a = (const char *)was + f->off, *b = (const char *)is + f->off;

	return f->type == CFG_TEXT ? strcmp(a, b) : memcmp(a, b, f->size);
}

void cfg_compare(const struct cfg_field *f, const struct cfg_variant *variant, const void *was,
		 const void *is, struct cfg_delta *d)
{
	for (; f->name; f++) {
		bool reconnect = f->live == CFG_RECONNECT, restart = f->live == CFG_RESTART;

		if (f->type == CFG_OTHER || !cfg_applies(f, variant) || !differs(f, was, is))
			continue;
		d->changed = true;
		d->reconnect |= reconnect;
		d->restart |= restart;
		if (d->keys)
			json_array_append_new(d->keys, json_pack("{s:s, s:o, s:o, s:s}", "key",
								 f->name, "from", cfg_value(f, was),
								 "to", cfg_value(f, is), "takes",
								 takes(reconnect, restart)));
	}
}

/* ---- the list ---- */

struct diff {
	struct config_diff *out;
	const char *nqn; /* of the subsystem that is being compared; NULL: none */
};

static json_t *text_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

/* Takes over delta->keys. */
static void add(struct diff *d, const char *what, const char *name, const char *change,
		struct cfg_delta *delta)
{
	json_t *keys = delta->keys ? delta->keys : json_array();

	d->out->restart |= delta->restart;
	json_array_append_new(d->out->changes,
			      json_pack("{s:s, s:o, s:o, s:s, s:s, s:o}", "what", what, "subsystem",
					text_or_null(d->nqn), "name", text_or_null(name), "change",
					change, "takes", takes(delta->reconnect, delta->restart),
					"keys", keys));
	delta->keys = NULL;
}

static void add_plain(struct diff *d, const char *what, const char *name, const char *change)
{
	add(d, what, name, change, &(struct cfg_delta){0});
}

static struct cfg_delta new_delta(void)
{
	return (struct cfg_delta){.keys = json_array()};
}

/* Takes over delta->keys. */
static void add_if_changed(struct diff *d, const char *what, const char *name,
			   struct cfg_delta *delta)
{
	if (delta->changed)
		add(d, what, name, "changed", delta);
	else
		json_decref(delta->keys);
}

/* ---- the daemon ---- */

static void compare_top(struct diff *d, const struct gw_config *was, const struct gw_config *is)
{
	struct cfg_delta delta = new_delta();
	bool same_http = was->http.len == is->http.len &&
			 (!was->http.len || addr_equal(&was->http, &is->http));
	char a[ADDR_STR_MAX], b[ADDR_STR_MAX];

	cfg_compare_top(was, is, &delta);
	if (!same_http) {
		delta.changed = delta.restart = true;
		json_array_append_new(
			delta.keys,
			json_pack("{s:s, s:o, s:o, s:s}", "key", "http", "from",
				  text_or_null(was->http.len ? addr_str(&was->http, a) : NULL),
				  "to", text_or_null(is->http.len ? addr_str(&is->http, b) : NULL),
				  "takes", takes(false, true)));
	}
	add_if_changed(d, "daemon", NULL, &delta);
}

/* ---- listeners ---- */

static uint32_t least_in_capsule(const struct gw_config *cfg)
{
	uint32_t least = UINT32_MAX;

	for (unsigned i = 0; i < cfg->nr_listeners; i++)
		if (cfg->listeners[i].tgt.in_capsule_data < least)
			least = cfg->listeners[i].tgt.in_capsule_data;
	return least;
}

/* Hosts have been told how much every listener takes in a capsule: one that takes less has to wait
 * until they are told anew. */
static void compare_listeners(struct diff *d, const struct gw_config *was,
			      const struct gw_config *is, unsigned room)
{
	uint32_t promised = least_in_capsule(was);
	char name[LISTENER_NAME_MAX];

	for (unsigned i = 0; i < was->nr_listeners; i++)
		if (!config_listener(is, &was->listeners[i]))
			add_plain(d, "listener", listener_name(&was->listeners[i], name),
				  "removed");
	for (unsigned i = 0; i < is->nr_listeners; i++) {
		const struct listener_cfg *l = &is->listeners[i], *old = config_listener(was, l);
		struct cfg_delta delta = new_delta();

		delta.restart = l->tgt.in_capsule_data < promised;
		if (old) {
			cfg_compare_listener(old, l, &delta);
			add_if_changed(d, "listener", listener_name(l, name), &delta);
		} else {
			add(d, "listener", listener_name(l, name), "added", &delta);
		}
	}
	if (config_connections(is) > room) {
		struct cfg_delta delta = {.restart = true};

		delta.keys = json_pack("[{s:s, s:i, s:i, s:s}]", "key", "max_connections", "from",
				       (int)room, "to", (int)config_connections(is), "takes",
				       takes(false, true));
		add(d, "daemon", NULL, "changed", &delta);
	}
}

/* ---- hosts ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* A copy in order, to search in. */
static char (*sorted(const struct subsys_cfg *ss))[NVMF_NQN_MAX + 1]
{
	char(*hosts)[NVMF_NQN_MAX + 1] = cfg_alloc(ss->nr_allowed_hosts, sizeof(hosts[0]));

	if (ss->nr_allowed_hosts)
		memcpy(hosts, ss->allowed_hosts, ss->nr_allowed_hosts * sizeof(hosts[0]));
	qsort(hosts, ss->nr_allowed_hosts, sizeof(hosts[0]), by_text);
	return hosts;
}

/* Those of @list that @others have not. */
static void add_hosts(struct diff *d, const struct subsys_cfg *list,
		      const struct subsys_cfg *others, const char *change)
{
	char(*there)[NVMF_NQN_MAX + 1] = sorted(others);

	for (unsigned i = 0; i < list->nr_allowed_hosts; i++)
		if (!bsearch(list->allowed_hosts[i], there, others->nr_allowed_hosts,
			     sizeof(there[0]), by_text))
			add_plain(d, "host", list->allowed_hosts[i], change);
	free(there);
}

/* ---- namespaces and paths ---- */

static const struct subsys_namespace_cfg *find_namespace(const struct subsys_cfg *ss,
							 const struct subsys_namespace_cfg *like)
{
	for (unsigned i = 0; i < ss->nr_namespaces; i++)
		if (cfg_same_namespace(&ss->namespaces[i], like))
			return &ss->namespaces[i];
	return NULL;
}

static void compare_namespaces(struct diff *d, const struct subsys_cfg *was,
			       const struct subsys_cfg *is)
{
	char name[IDENT_STR_MAX];

	for (unsigned i = 0; i < was->nr_namespaces; i++) {
		ident_str(&was->namespaces[i].ident, name);
		if (!find_namespace(is, &was->namespaces[i]))
			add_plain(d, "namespace", name, "removed");
	}
	for (unsigned i = 0; i < is->nr_namespaces; i++) {
		const struct subsys_namespace_cfg *ns = &is->namespaces[i];
		const struct subsys_namespace_cfg *old = find_namespace(was, ns);
		struct cfg_delta delta = new_delta();

		ident_str(&ns->ident, name);
		if (old) {
			cfg_compare_namespace(old, ns, &delta);
			add_if_changed(d, "namespace", name, &delta);
		} else {
			add(d, "namespace", name, "added", &delta);
		}
	}
}

static const struct subsys_path_cfg *find_path(const struct subsys_cfg *ss, const char *path)
{
	for (unsigned i = 0; i < ss->nr_paths; i++)
		if (!strcmp(ss->paths[i].path, path))
			return &ss->paths[i];
	return NULL;
}

/* One without settings is as its upstream says. */
static void compare_path(struct diff *d, const struct subsys_path_cfg *was,
			 const struct subsys_path_cfg *is)
{
	static const struct subsys_path_cfg plain = {.admin = PATH_ADMIN_COUNT};
	struct subsys_path_cfg a = was ? *was : plain, b = is ? *is : plain;
	struct cfg_delta delta = new_delta();

	strcpy(a.path, was ? was->path : is->path);
	strcpy(b.path, a.path);
	cfg_compare_path(&a, &b, &delta);
	add_if_changed(d, "path", a.path, &delta);
}

static void compare_paths(struct diff *d, const struct subsys_cfg *was, const struct subsys_cfg *is)
{
	for (unsigned i = 0; i < was->nr_paths; i++)
		if (!find_path(is, was->paths[i].path))
			compare_path(d, &was->paths[i], NULL);
	for (unsigned i = 0; i < is->nr_paths; i++)
		compare_path(d, find_path(was, is->paths[i].path), &is->paths[i]);
}

/* ---- upstreams ---- */

/* Those that both have come in another order. */
static bool reordered(const struct subsys_cfg *was, const struct subsys_cfg *is)
{
	unsigned next = 0;

	for (unsigned i = 0; i < is->nr_upstreams; i++) {
		const char *name = is->upstreams[i].mp.name;

		if (!config_upstream(was, name))
			continue;
		while (!config_upstream(is, was->upstreams[next].mp.name))
			next++;
		if (strcmp(was->upstreams[next++].mp.name, name))
			return true;
	}
	return false;
}

static void compare_upstreams(struct diff *d, const struct subsys_cfg *was,
			      const struct subsys_cfg *is)
{
	for (unsigned i = 0; i < was->nr_upstreams; i++)
		if (!config_upstream(is, was->upstreams[i].mp.name))
			add_plain(d, "upstream", was->upstreams[i].mp.name, "removed");
	for (unsigned i = 0; i < is->nr_upstreams; i++) {
		const struct upstream_cfg *up = &is->upstreams[i];
		const struct upstream_cfg *old = config_upstream(was, up->mp.name);
		struct cfg_delta delta = new_delta();

		if (old) {
			cfg_compare_upstream(old, up, &delta);
			add_if_changed(d, "upstream", up->mp.name, &delta);
		} else {
			add(d, "upstream", up->mp.name, "added", &delta);
		}
	}
	if (reordered(was, is))
		add_plain(d, "upstreams", NULL, "moved");
}

/* ---- subsystems ---- */

static void compare_subsystem(struct diff *d, const struct subsys_cfg *was,
			      const struct subsys_cfg *is)
{
	struct cfg_delta delta = new_delta();

	d->nqn = is->mp.nqn;
	cfg_compare_subsystem(was, is, &delta);
	add_if_changed(d, "subsystem", is->mp.nqn, &delta);
	add_hosts(d, was, is, "removed");
	add_hosts(d, is, was, "added");
	compare_namespaces(d, was, is);
	compare_paths(d, was, is);
	compare_upstreams(d, was, is);
	d->nqn = NULL;
}

bool config_same_subsystem(const struct subsys_cfg *was, const struct subsys_cfg *is)
{
	struct config_diff out = {.changes = json_array()};
	bool same;

	compare_subsystem(&(struct diff){.out = &out}, was, is);
	same = !json_array_size(out.changes);
	json_decref(out.changes);
	return same;
}

static void compare_subsystems(struct diff *d, const struct gw_config *was,
			       const struct gw_config *is)
{
	for (unsigned i = 0; i < was->nr_subsystems; i++)
		if (!config_subsystem(is, was->subsystems[i].mp.nqn))
			add_plain(d, "subsystem", was->subsystems[i].mp.nqn, "removed");
	for (unsigned i = 0; i < is->nr_subsystems; i++) {
		const struct subsys_cfg *ss = &is->subsystems[i];
		const struct subsys_cfg *old = config_subsystem(was, ss->mp.nqn);

		if (old)
			compare_subsystem(d, old, ss);
		else
			add_plain(d, "subsystem", ss->mp.nqn, "added");
	}
}

void config_diff(const struct gw_config *was, const struct gw_config *is, unsigned room,
		 struct config_diff *out)
{
	struct diff d = {.out = out};

	*out = (struct config_diff){.changes = json_array()};
	compare_top(&d, was, is);
	compare_listeners(&d, was, is, room);
	compare_subsystems(&d, was, is);
}
