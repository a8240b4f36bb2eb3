/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_config.h"

#include "gateway/gateway.h"
#include "gateway/live.h"
#include "gateway/rpc_later.h"

bool rpc_is_live(const struct gateway *gw, struct rpc_error *err)
{
	if (!gw->live)
		rpc_fail(err, RPC_REFUSED, "this daemon has no configuration file");
	return gw->live;
}

bool rpc_may_set(const struct gateway *gw, struct rpc_error *err)
{
	bool may = !gw->live || !live_is_changing(gw->live);

	if (!may)
		rpc_fail(err, RPC_REFUSED,
			 "another configuration is about to be applied: try again when it is");
	return may;
}

void rpc_live_done(void *later, json_t *result, const struct rpc_error *err)
{
	rpc_later_answer(later, result, err);
}

/* "text" is what the client has read of "file": it may be nowhere that the daemon can read. */
static json_t *with_config(struct gateway *gw, const json_t *params, enum live_what what,
			   struct rpc_error *err)
{
	const char *file = json_string_value(json_object_get(params, "file"));
	const char *text = json_string_value(json_object_get(params, "text"));

	if (!rpc_is_live(gw, err))
		return NULL;
	if (file && !text)
		rpc_fail(err, RPC_INVALID_PARAMS,
			 "\"file\" is only the name of a \"text\"; without both, the daemon reads "
			 "its own file %s",
			 live_file(gw->live));
	else
		live_config(gw->live, what, file ? file : "text", text, rpc_live_done,
			    rpc_answer_later(err));
	return NULL;
}

static json_t *check(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	return with_config(gw, params, LIVE_CHECK, err);
}

static json_t *diff(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	return with_config(gw, params, LIVE_DIFF, err);
}

static json_t *apply(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	return with_config(gw, params, LIVE_APPLY, err);
}

static json_t *save(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	if (rpc_is_live(gw, err))
		live_save(gw->live, rpc_live_done, rpc_answer_later(err));
	return NULL;
}

static json_t *show(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	return rpc_is_live(gw, err) ? live_show(gw->live) : NULL;
}

const struct rpc_method rpc_config_methods[] = {
	{"config.check", .call = check}, {"config.diff", .call = diff},
	{"config.apply", .call = apply}, {"config.show", .call = show},
	{"config.save", .call = save},	 {0},
};
