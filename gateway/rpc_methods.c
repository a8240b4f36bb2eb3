/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_methods.h"

#include <stdio.h>
#include <string.h>

#include "gateway/event_of.h"
#include "gateway/rpc_change.h"
#include "gateway/rpc_config.h"
#include "gateway/rpc_events.h"
#include "gateway/rpc_host.h"
#include "gateway/rpc_io.h"
#include "gateway/rpc_log.h"
#include "gateway/rpc_namespace.h"
#include "gateway/rpc_path.h"
#include "gateway/rpc_schema.h"
#include "gateway/rpc_show.h"
#include "gateway/rpc_upstream.h"
#include "transport/log.h"
#include "transport/version.h"

/* NULL when it was not given. */
static const char *text_of(const json_t *params, const char *name)
{
	return json_string_value(json_object_get(params, name));
}

/* 0 when it was not given. */
static uint32_t number_of(const json_t *params, const char *name)
{
	return (uint32_t)json_integer_value(json_object_get(params, name));
}

/* ---- the daemon ---- */

static json_t *get_version(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	return json_pack("{s:s}", "version", NVMEGW_VERSION);
}

static json_t *get_status(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	return show_status(gw);
}

static json_t *list_methods(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	const struct rpc_method *m;
	json_t *list = json_array();

	for (unsigned n = 0; (m = rpc_method_at(n)); n++) {
		json_t *o = json_pack("{s:s}", "method", m->name);

		json_object_update_missing(o, (json_t *)rpc_schema(m->name));
		json_array_append_new(list, o);
	}
	return list;
}

/* The subsystem that the list is of; NULL: of all. False with @err set. */
static bool list_of(const struct gateway *gw, const json_t *params, const struct subsystem **only,
		    struct rpc_error *err)
{
	const char *nqn = text_of(params, "subsystem");

	*only = nqn ? rpc_subsystem(gw, nqn, err) : NULL;
	return !nqn || *only;
}

/* ---- paths ---- */

static json_t *list_paths(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	const struct subsystem *only;
	struct rpc_path p = {0};
	json_t *list;

	if (!list_of(gw, params, &only, err))
		return NULL;
	list = json_array();
	while (rpc_path_next(gw, only, &p))
		json_array_append_new(list, show_path(gw, &p));
	return list;
}

static bool find_path(struct gateway *gw, const json_t *params, struct rpc_path *p,
		      struct rpc_error *err)
{
	return rpc_path_find(gw, text_of(params, "path"), text_of(params, "subsystem"), p, err);
}

static json_t *get_path(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	struct rpc_path p;

	return find_path(gw, params, &p, err) ? show_path(gw, &p) : NULL;
}

static bool find_real_path(struct gateway *gw, const json_t *params, struct rpc_path *p,
			   struct rpc_error *err)
{
	return rpc_may_set(gw, err) && rpc_path_find_real(gw, text_of(params, "path"),
							  text_of(params, "subsystem"), p, err);
}

static json_t *set_admin(struct gateway *gw, const json_t *params, enum path_admin admin,
			 struct rpc_error *err)
{
	struct rpc_path p;

	if (!find_real_path(gw, params, &p, err))
		return NULL;
	log_notice("path %s/%u: %s", p.up->cfg.name, p.path->nsid, path_admin_name(admin));
	subsystem_set_path_admin(p.ss, p.path, admin);
	events_emit(gw->events, EVENT_PATH_ADMIN, event_of_path(p.ss, p.path));
	return show_path(gw, &p);
}

static json_t *enable_path(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	return set_admin(gw, params, PATH_ENABLED, err);
}

static json_t *standby_path(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	return set_admin(gw, params, PATH_STANDBY, err);
}

static json_t *disable_path(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	return set_admin(gw, params, PATH_DISABLED, err);
}

static json_t *set_weight(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	uint32_t weight = number_of(params, "weight");
	struct rpc_path p;

	if (!find_real_path(gw, params, &p, err))
		return NULL;
	log_notice("path %s/%u: weight %u", p.up->cfg.name, p.path->nsid, weight);
	subsystem_set_path_weight(p.ss, p.path, weight);
	events_emit(gw->events, EVENT_PATH_ADMIN, event_of_path(p.ss, p.path));
	return show_path(gw, &p);
}

/* ---- namespaces ---- */

static json_t *list_namespaces(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	const struct subsystem *only, *ss;
	const struct head *h;
	json_t *list;

	if (!list_of(gw, params, &only, err))
		return NULL;
	list = json_array();
	TAILQ_FOREACH(ss, &gw->subsystems, link) {
		if (only && ss != only)
			continue;
		TAILQ_FOREACH(h, &ss->mp->heads, link)
			json_array_append_new(list, show_namespace(ss, h));
	}
	return list;
}

static json_t *get_namespace(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	struct subsystem *ss;
	const struct head *h = rpc_namespace(gw, number_of(params, "namespace"),
					     text_of(params, "subsystem"), &ss, err);

	return h ? show_namespace_and_paths(ss, h) : NULL;
}

/* ---- policies ---- */

static json_t *show_policy(const struct subsystem *ss, enum mp_policy policy, uint32_t nsid)
{
	return json_pack("{s:s, s:s, s:o}", "policy", mp_policy_name(policy), "subsystem", ss->nqn,
			 "nsid", nsid ? json_integer(nsid) : json_null());
}

static json_t *set_one_policy(struct gateway *gw, const json_t *params, enum mp_policy policy,
			      struct rpc_error *err)
{
	struct subsystem *ss;
	struct head *h = rpc_namespace(gw, number_of(params, "namespace"),
				       text_of(params, "subsystem"), &ss, err);

	if (!h)
		return NULL;
	log_notice("namespace %u of %s: policy %s", h->nsid, ss->nqn, mp_policy_name(policy));
	subsystem_set_head_policy(ss, h, policy);
	events_emit(gw->events, EVENT_POLICY_SET, event_of_policy(ss, h));
	return show_policy(ss, policy, h->nsid);
}

static json_t *set_policy(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	enum mp_policy policy;
	struct subsystem *ss;

	if (!rpc_may_set(gw, err))
		return NULL;
	mp_policy_parse(text_of(params, "policy"), &policy); /* the schema names all there are */
	if (number_of(params, "namespace"))
		return set_one_policy(gw, params, policy, err);
	ss = rpc_subsystem_or_only(gw, text_of(params, "subsystem"), err);
	if (!ss)
		return NULL;
	log_notice("subsystem %s: policy %s", ss->nqn, mp_policy_name(policy));
	subsystem_set_policy(ss, policy);
	events_emit(gw->events, EVENT_POLICY_SET, event_of_policy(ss, NULL));
	return show_policy(ss, policy, 0);
}

/* ---- controllers ---- */

static void append_controllers(json_t *list, const struct subsystem *ss)
{
	const struct controller *c;

	TAILQ_FOREACH(c, &ss->controllers, link)
		json_array_append_new(list, show_controller(c));
}

static json_t *list_controllers(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	const struct subsystem *only, *ss;
	json_t *list;

	if (!list_of(gw, params, &only, err))
		return NULL;
	list = json_array();
	TAILQ_FOREACH(ss, &gw->subsystems, link)
		if (!only || ss == only)
			append_controllers(list, ss);
	if (!only)
		append_controllers(list, &gw->discovery);
	return list;
}

/* ---- the table ---- */

static const struct rpc_method methods[] = {
	{"status", .call = get_status},
	{"version", .call = get_version},
	{"method.list", .call = list_methods},
	{"path.list", .call = list_paths},
	{"path.show", .call = get_path},
	{"path.enable", .call = enable_path},
	{"path.standby", .call = standby_path},
	{"path.disable", .call = disable_path},
	{"path.weight", .call = set_weight},
	{"namespace.list", .call = list_namespaces},
	{"namespace.show", .call = get_namespace},
	{"policy.set", .call = set_policy},
	{"controller.list", .call = list_controllers},
	{"io.read", .call = rpc_io_read},
	{"io.write", .call = rpc_io_write},
	{"log.show", .call = rpc_log_show},
	{"log.level", .call = rpc_log_level},
	{"log.debug", .call = rpc_log_debug},
	{"events.subscribe", .call_from = rpc_subscribe},
	{0},
};

static const struct rpc_method *find(const struct rpc_method *m, const char *name)
{
	for (; m->name; m++)
		if (!strcmp(m->name, name))
			return m;
	return NULL;
}

static const struct rpc_method *const tables[] = {
	methods, rpc_config_methods, rpc_change_methods, rpc_upstream_methods, rpc_host_methods,
};
#define TABLES (sizeof(tables) / sizeof(tables[0]))

const struct rpc_method *rpc_method_at(unsigned n)
{
	for (unsigned i = 0; i < TABLES; i++)
		for (const struct rpc_method *m = tables[i]; m->name; m++)
			if (n-- == 0)
				return m;
	return NULL;
}

const struct rpc_method *rpc_method(const char *name)
{
	const struct rpc_method *m = NULL;

	for (unsigned i = 0; !m && i < TABLES; i++)
		m = find(tables[i], name);
	return m;
}
