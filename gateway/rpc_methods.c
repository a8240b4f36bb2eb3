/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_methods.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "gateway/rpc.h"
#include "gateway/rpc_path.h"
#include "gateway/rpc_show.h"
#include "transport/version.h"

#define MAX_PARAMS 2

/* All parameters are strings so far. */
struct method {
	const char *name;
	/* The result, or NULL with @err set. @params is an object that has been checked. */
	json_t *(*call)(struct gateway *gw, const json_t *params, struct rpc_error *err);
	const char *required[MAX_PARAMS], *optional[MAX_PARAMS];
};

void rpc_fail(struct rpc_error *err, enum rpc_code code, const char *fmt, ...)
{
	va_list ap;

	err->code = code;
	va_start(ap, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
}

/* NULL when it was not given. */
static const char *param(const json_t *params, const char *name)
{
	return json_string_value(json_object_get(params, name));
}

/* ---- methods ---- */

static json_t *get_version(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	return json_pack("{s:s}", "version", NVMEGW_VERSION);
}

static json_t *get_status(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	return show_status(gw);
}

/* The subsystem that the list is of; NULL: of all. False with @err set. */
static bool list_of(const struct gateway *gw, const json_t *params, const struct subsystem **only,
		    struct rpc_error *err)
{
	const char *nqn = param(params, "subsystem");

	*only = nqn ? rpc_subsystem(gw, nqn, err) : NULL;
	return !nqn || *only;
}

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

static json_t *get_path(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	struct rpc_path p;

	if (!rpc_path_find(gw, param(params, "path"), param(params, "subsystem"), &p, err))
		return NULL;
	return show_path(gw, &p);
}

static json_t *set_path(struct gateway *gw, const json_t *params, enum path_admin admin,
			struct rpc_error *err)
{
	struct rpc_path p;

	if (!rpc_path_find(gw, param(params, "path"), param(params, "subsystem"), &p, err))
		return NULL;
	if (!p.path) {
		rpc_fail(err, RPC_REFUSED,
			 "upstream %s shows no namespace, so there is no path to enable or disable",
			 p.up->cfg.name);
		return NULL;
	}
	path_set_admin(p.path, admin);
	return show_path(gw, &p);
}

static json_t *enable_path(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	return set_path(gw, params, PATH_ENABLED, err);
}

static json_t *disable_path(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	return set_path(gw, params, PATH_DISABLED, err);
}

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

static const struct method methods[] = {
	{.name = "status", .call = get_status},
	{.name = "version", .call = get_version},
	{"path.list", list_paths, .optional = {"subsystem"}},
	{"path.show", get_path, .required = {"path"}, .optional = {"subsystem"}},
	{"path.enable", enable_path, .required = {"path"}, .optional = {"subsystem"}},
	{"path.disable", disable_path, .required = {"path"}, .optional = {"subsystem"}},
	{"namespace.list", list_namespaces, .optional = {"subsystem"}},
	{"controller.list", list_controllers, .optional = {"subsystem"}},
	{0},
};

/* ---- requests ---- */

static const struct method *find_method(const char *name)
{
	for (const struct method *m = methods; m->name; m++)
		if (!strcmp(m->name, name))
			return m;
	return NULL;
}

static bool among(const char *const names[MAX_PARAMS], const char *name)
{
	for (unsigned i = 0; i < MAX_PARAMS && names[i]; i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

static bool check_params(const struct method *m, const json_t *params, struct rpc_error *err)
{
	const char *name;
	json_t *value;

	if (!json_is_object(params)) {
		rpc_fail(err, RPC_INVALID_PARAMS, "%s: \"params\" must be an object", m->name);
		return false;
	}
	json_object_foreach((json_t *)params, name, value) {
		if (!among(m->required, name) && !among(m->optional, name)) {
			rpc_fail(err, RPC_INVALID_PARAMS, "%s: unknown parameter \"%.100s\"",
				 m->name, name);
			return false;
		}
		if (!json_is_string(value)) {
			rpc_fail(err, RPC_INVALID_PARAMS, "%s: \"%s\" must be a string", m->name,
				 name);
			return false;
		}
	}
	for (unsigned i = 0; i < MAX_PARAMS && m->required[i]; i++)
		if (!json_object_get(params, m->required[i])) {
			rpc_fail(err, RPC_INVALID_PARAMS, "%s: parameter \"%s\" is missing",
				 m->name, m->required[i]);
			return false;
		}
	return true;
}

static json_t *call(struct gateway *gw, const char *name, json_t *given, struct rpc_error *err)
{
	const struct method *m = find_method(name);
	json_t *params, *result = NULL;

	if (!m) {
		rpc_fail(err, RPC_NO_METHOD, "there is no method \"%.100s\"", name);
		return NULL;
	}
	params = given ? json_incref(given) : json_object();
	if (check_params(m, params, err))
		result = m->call(gw, params, err);
	json_decref(params);
	return result;
}

static bool valid_id(const json_t *id)
{
	return json_is_string(id) || json_is_number(id) || json_is_null(id);
}

/* NULL, or what is wrong (section 4 of JSON-RPC 2.0). */
static const char *invalid(const json_t *req)
{
	const char *version = json_string_value(json_object_get(req, "jsonrpc"));
	const json_t *id = json_object_get(req, "id");

	if (json_is_array(req))
		return "batches are not supported; send one request a line";
	if (!json_is_object(req))
		return "a request is an object";
	if (!version || strcmp(version, "2.0"))
		return "\"jsonrpc\" must be \"2.0\"";
	if (!json_is_string(json_object_get(req, "method")))
		return "\"method\" must be a string";
	if (id && !valid_id(id))
		return "\"id\" must be a string, a number or null";
	return NULL;
}

/* Takes over @result. */
static json_t *answer(json_t *id, json_t *result, const struct rpc_error *err)
{
	json_t *a = json_object();

	json_object_set_new(a, "jsonrpc", json_string("2.0"));
	json_object_set_new(a, "id", id ? json_incref(id) : json_null());
	if (result)
		json_object_set_new(a, "result", result);
	else
		json_object_set_new(a, "error",
				    json_pack("{s:i, s:o}", "code", (int)err->code, "message",
					      show_text(err->message)));
	return a;
}

static json_t *answer_request(struct gateway *gw, json_t *req)
{
	json_t *id = json_object_get(req, "id"), *result;
	const char *problem = invalid(req);
	struct rpc_error err;

	if (problem) {
		rpc_fail(&err, RPC_INVALID_REQUEST, "%s", problem);
		return answer(valid_id(id) ? id : NULL, NULL, &err);
	}
	result = call(gw, json_string_value(json_object_get(req, "method")),
		      json_object_get(req, "params"), &err);
	if (id)
		return answer(id, result, &err);
	json_decref(result); /* a notification */
	return NULL;
}

json_t *rpc_answer(struct gateway *gw, const char *text, size_t len)
{
	json_error_t e;
	json_t *req = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e), *a;
	struct rpc_error err;

	if (!req) {
		rpc_fail(&err, RPC_PARSE, "not JSON at byte %d: %s", e.position, e.text);
		return answer(NULL, NULL, &err);
	}
	a = answer_request(gw, req);
	json_decref(req);
	return a;
}

json_t *rpc_answer_too_long(void)
{
	struct rpc_error err;

	rpc_fail(&err, RPC_INVALID_REQUEST, "a request may have %u bytes at most", RPC_MAX_LINE);
	return answer(NULL, NULL, &err);
}
