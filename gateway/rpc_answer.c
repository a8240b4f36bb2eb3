/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_answer.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/rpc.h"
#include "gateway/rpc_methods.h"
#include "gateway/rpc_value.h"

/* ---- parameters ---- */

static const struct rpc_param *find_param(const struct rpc_method *m, const char *name)
{
	for (const struct rpc_param *p = m->params; p->name; p++)
		if (!strcmp(p->name, name))
			return p;
	return NULL;
}

static bool check_value(const struct rpc_method *m, const struct rpc_param *p, const json_t *value,
			struct rpc_error *err)
{
	json_int_t v = json_integer_value(value);

	if (p->object ? json_is_object(value)
	    : p->max  ? json_is_integer(value) && v >= 1 && v <= p->max
		      : json_is_string(value))
		return true;
	if (p->object)
		rpc_fail(err, RPC_INVALID_PARAMS, "%s: \"%s\" must be an object", m->name, p->name);
	else if (p->max)
		rpc_fail(err, RPC_INVALID_PARAMS,
			 "%s: \"%s\" must be an integer from 1 to %" JSON_INTEGER_FORMAT, m->name,
			 p->name, p->max);
	else
		rpc_fail(err, RPC_INVALID_PARAMS, "%s: \"%s\" must be a string", m->name, p->name);
	return false;
}

static bool check_given(const struct rpc_method *m, const json_t *params, struct rpc_error *err)
{
	const struct rpc_param *p;
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)params, name, value) {
		p = find_param(m, name);
		if (!p) {
			rpc_fail(err, RPC_INVALID_PARAMS, "%s: unknown parameter \"%.100s\"",
				 m->name, name);
			return false;
		}
		if (!check_value(m, p, value, err))
			return false;
	}
	return true;
}

static bool check_params(const struct rpc_method *m, const json_t *params, struct rpc_error *err)
{
	if (!json_is_object(params)) {
		rpc_fail(err, RPC_INVALID_PARAMS, "%s: \"params\" must be an object", m->name);
		return false;
	}
	if (!check_given(m, params, err))
		return false;
	for (const struct rpc_param *p = m->params; p->name; p++)
		if (!p->optional && !json_object_get(params, p->name)) {
			rpc_fail(err, RPC_INVALID_PARAMS, "%s: parameter \"%s\" is missing",
				 m->name, p->name);
			return false;
		}
	return true;
}

/* ---- requests ---- */

static json_t *call(struct gateway *gw, const char *name, json_t *given, struct rpc_error *err)
{
	const struct rpc_method *m = rpc_method(name);
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
					      rpc_text(err->message)));
	return a;
}

struct rpc_later *rpc_answer_later(struct rpc_error *err)
{
	err->later = calloc(1, sizeof(*err->later));
	if (!err->later)
		abort();
	return err->later;
}

/* NULL: nobody wants one. Takes over @result. */
static json_t *answer_if_asked(json_t *id, json_t *result, const struct rpc_error *err)
{
	if (id)
		return answer(id, result, err);
	json_decref(result);
	return NULL;
}

void rpc_later_answer(struct rpc_later *l, json_t *result, const struct rpc_error *err)
{
	if (!l->asked) { /* while it is being asked: rpc_answer() sees to it */
		l->result = result;
		l->err = err ? *err : (struct rpc_error){0};
		l->ended = true;
		return;
	}
	result = answer_if_asked(l->id, result, err);
	if (l->answered)
		l->answered(l->arg, result);
	else
		json_decref(result);
	json_decref(l->id);
	free(l);
}

/* The answer when it has come already; else NULL with *later set. */
static json_t *ask_later(struct rpc_later *l, json_t *id, struct rpc_later **later)
{
	json_t *a = NULL;

	if (l->ended) {
		a = answer_if_asked(id, l->result, &l->err);
		free(l);
	} else {
		l->id = json_incref(id);
		l->asked = true;
		*later = l;
	}
	return a;
}

static json_t *answer_request(struct gateway *gw, json_t *req, struct rpc_later **later)
{
	json_t *id = json_object_get(req, "id"), *result;
	const char *problem = invalid(req);
	struct rpc_error err;

	if (problem) {
		rpc_fail(&err, RPC_INVALID_REQUEST, "%s", problem);
		return answer(valid_id(id) ? id : NULL, NULL, &err);
	}
	err.later = NULL;
	result = call(gw, json_string_value(json_object_get(req, "method")),
		      json_object_get(req, "params"), &err);
	return err.later ? ask_later(err.later, id, later) : answer_if_asked(id, result, &err);
}

json_t *rpc_answer(struct gateway *gw, const char *text, size_t len, struct rpc_later **later)
{
	json_error_t e;
	json_t *req = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e), *a;
	struct rpc_error err;

	*later = NULL;
	if (!req) {
		rpc_fail(&err, RPC_PARSE, "not JSON at byte %d: %s", e.position, e.text);
		return answer(NULL, NULL, &err);
	}
	a = answer_request(gw, req, later);
	json_decref(req);
	return a;
}

json_t *rpc_answer_too_long(void)
{
	struct rpc_error err;

	rpc_fail(&err, RPC_INVALID_REQUEST, "a request may have %u bytes at most", RPC_MAX_LINE);
	return answer(NULL, NULL, &err);
}
