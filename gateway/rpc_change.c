/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_change.h"

#include <stdio.h>
#include <string.h>

#include "gateway/config_diff.h"
#include "gateway/live.h"
#include "gateway/rpc_config.h"
#include "gateway/rpc_later.h"
#include "gateway/rpc_namespace.h"
#include "gateway/rpc_upstream.h"

static const char *text_of(const json_t *params, const char *name)
{
	return json_string_value(json_object_get(params, name));
}

/* The running configuration to be edited, and in it the object of a subsystem. */
struct edit {
	struct subsystem *ss;
	json_t *doc, *object;
};

static bool begin(struct gateway *gw, struct edit *e, struct rpc_error *err)
{
	*e = (struct edit){0};
	if (!rpc_is_live(gw, err))
		return false;
	e->doc = live_show(gw->live);
	return true;
}

/* Subsystems are in the file in whatever order. */
static json_t *object_of(const json_t *doc, const char *nqn)
{
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(doc, "subsystems"), i, o)
		if (!strcmp(text_of(o, "nqn"), nqn))
			return o;
	return NULL;
}

static bool begin_at(struct gateway *gw, struct subsystem *ss, struct edit *e,
		     struct rpc_error *err)
{
	if (!ss || !begin(gw, e, err))
		return false;
	e->ss = ss;
	e->object = object_of(e->doc, ss->nqn);
	return true;
}

static bool begin_named(struct gateway *gw, const json_t *params, struct edit *e,
			struct rpc_error *err)
{
	return begin_at(gw, rpc_subsystem_or_only(gw, text_of(params, "subsystem"), err), e, err);
}

static json_t *commit(struct gateway *gw, struct edit *e, struct rpc_error *err)
{
	live_edit(gw->live, e->doc, rpc_live_done, rpc_answer_later(err));
	return NULL;
}

__attribute__((format(printf, 4, 5))) static json_t *
cancel(struct edit *e, struct rpc_error *err, enum rpc_code code, const char *fmt, ...)
{
	va_list ap;

	json_decref(e->doc);
	err->code = code;
	va_start(ap, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	return NULL;
}

/* ---- upstreams ---- */

static json_t *add_upstream(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	struct edit e;

	if (!begin_named(gw, params, &e, err))
		return NULL;
	json_array_append(json_object_get(e.object, "upstreams"),
			  json_object_get(params, "settings"));
	return commit(gw, &e, err);
}

/* What is set of its paths goes with it. */
static void forget_paths(const struct edit *e, const char *name)
{
	json_t *list = json_object_get(e->object, "paths");
	size_t len = strlen(name), i = 0;

	while (i < json_array_size(list)) {
		const char *path = text_of(json_array_get(list, i), "path");

		if (!strncmp(path, name, len) && path[len] == '/' && !strchr(path + len + 1, '/'))
			json_array_remove(list, i);
		else
			i++;
	}
}

static json_t *remove_upstream(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	const char *name = text_of(params, "upstream");
	struct subsystem *ss;
	struct upstream *up = rpc_upstream(gw, name, text_of(params, "subsystem"), &ss, err);
	const struct upstream_cfg *cfg;
	struct edit e;

	if (!up || !begin_at(gw, ss, &e, err))
		return NULL;
	if (up->source)
		return cancel(
			&e, err, RPC_REFUSED,
			"upstream %s is named by the discovery controller %s; remove that, or "
			"disconnect it: \"nvmegw upstream disconnect %s\"",
			name, up->source->cfg.name, name);
	cfg = config_upstream(ss->cfg, name);
	if (!cfg)
		return cancel(&e, err, RPC_REFUSED, "upstream %s is being removed already", name);
	if (ss->cfg->nr_upstreams == 1)
		return cancel(&e, err, RPC_REFUSED,
			      "upstream %s is the only one of %s, which needs one; add another "
			      "first, or disconnect it: \"nvmegw upstream disconnect %s\"",
			      name, ss->nqn, name);
	/* The array of the file is that of the struct. */
	json_array_remove(json_object_get(e.object, "upstreams"),
			  (size_t)(cfg - ss->cfg->upstreams));
	forget_paths(&e, name);
	return commit(gw, &e, err);
}

/* ---- hosts ---- */

/* Where the host is in the list, which ends before that when it is not in it. */
static size_t find_host(const json_t *list, const char *host)
{
	const json_t *entry;
	size_t i;

	json_array_foreach((json_t *)list, i, entry)
		if (!strcmp(json_string_value(entry), host))
			break;
	return i;
}

#define SET_A_LIST \
	"to change that, list those that may as \"allowed_hosts\" in the file, and apply it"

/* The list of the subsystem that is meant; NULL with @err set. */
static json_t *begin_hosts(struct gateway *gw, const json_t *params, struct edit *e,
			   struct rpc_error *err)
{
	json_t *list;

	if (!begin_named(gw, params, e, err))
		return NULL;
	list = json_object_get(e->object, "allowed_hosts");
	if (!list)
		cancel(e, err, RPC_REFUSED, "every host may connect to %s; " SET_A_LIST,
		       e->ss->nqn);
	return list;
}

static json_t *allow_host(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	const char *host = text_of(params, "host");
	struct edit e;
	json_t *list = begin_hosts(gw, params, &e, err);

	if (!list)
		return NULL;
	if (find_host(list, host) < json_array_size(list))
		return cancel(&e, err, RPC_REFUSED, "host %s may connect to %s already", host,
			      e.ss->nqn);
	json_array_append_new(list, json_string(host));
	return commit(gw, &e, err);
}

static json_t *deny_host(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	const char *host = text_of(params, "host");
	struct edit e;
	json_t *list = begin_hosts(gw, params, &e, err);

	if (!list)
		return NULL;
	if (find_host(list, host) == json_array_size(list))
		return cancel(&e, err, RPC_NOT_FOUND,
			      "host %s is not among those that may connect to %s; \"nvmegw host "
			      "list\" lists them",
			      host, e.ss->nqn);
	json_array_remove(list, find_host(list, host));
	return commit(gw, &e, err);
}

/* ---- listeners ---- */

static json_t *add_listener(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	struct edit e;

	if (!begin(gw, &e, err))
		return NULL;
	json_array_append(json_object_get(e.doc, "listeners"), json_object_get(params, "settings"));
	return commit(gw, &e, err);
}

static struct gw_listener *find_listener(const struct gateway *gw, const char *name)
{
	char its[LISTENER_NAME_MAX];

	for (unsigned i = 0; i < gw->nr_listeners; i++)
		if (!gw->listeners[i]->removed &&
		    !strcmp(listener_name(&gw->listeners[i]->cfg, its), name))
			return gw->listeners[i];
	return NULL;
}

/* What the file says of an address may be spelled in several ways. */
static bool says_listener(const json_t *o, const struct listener_cfg *l)
{
	const json_t *port = json_object_get(o, "trsvcid");
	char digits[24];
	struct addr a;

	snprintf(digits, sizeof(digits), "%" JSON_INTEGER_FORMAT,
		 port ? json_integer_value(port) : 4420);
	return !strcmp(text_of(o, "transport"), l->transport->name) &&
	       !addr_parse(&a, text_of(o, "traddr"),
			   json_is_string(port) ? json_string_value(port) : digits) &&
	       addr_equal(&a, &l->addr);
}

static json_t *remove_listener(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	const char *name = text_of(params, "listener");
	const struct gw_listener *l = find_listener(gw, name);
	json_t *list, *o;
	struct edit e;
	size_t i;

	if (!begin(gw, &e, err))
		return NULL;
	if (!l)
		return cancel(&e, err, RPC_NOT_FOUND,
			      "there is no listener %s; \"nvmegw listener list\" lists those that "
			      "there are",
			      name);
	list = json_object_get(e.doc, "listeners");
	if (json_array_size(list) == 1)
		return cancel(&e, err, RPC_REFUSED,
			      "listener %s is the only one; add another first", name);
	json_array_foreach(list, i, o)
		if (says_listener(o, &l->cfg))
			break;
	json_array_remove(list, i);
	return commit(gw, &e, err);
}

/* ---- the table ---- */

const struct rpc_method rpc_change_methods[] = {
	{"upstream.add", .call = add_upstream},
	{"upstream.remove", .call = remove_upstream},
	{"host.allow", .call = allow_host},
	{"host.deny", .call = deny_host},
	{"listener.add", .call = add_listener},
	{"listener.remove", .call = remove_listener},
	{0},
};
