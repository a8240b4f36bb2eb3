/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_upstream.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/event_of.h"
#include "gateway/rpc_config.h"
#include "gateway/rpc_later.h"
#include "gateway/rpc_namespace.h"
#include "gateway/rpc_path.h"
#include "gateway/rpc_show.h"
#include "gateway/rpc_value.h"
#include "gateway/rpc_wait.h"
#include "gateway/settle.h"
#include "transport/log.h"

/* Answers come within the time that clients wait for one. */
#define MOVE_MAX (12 * NSEC_PER_SEC)

static const char *text_of(const json_t *params, const char *name)
{
	return json_string_value(json_object_get(params, name));
}

struct upstream *rpc_upstream(const struct gateway *gw, const char *name, const char *nqn,
			      struct subsystem **ss, struct rpc_error *err)
{
	struct upstream *found = NULL;
	struct subsystem *only = NULL, *each;
	unsigned n = 0;

	if (nqn) {
		only = rpc_subsystem(gw, nqn, err);
		if (!only)
			return NULL;
	}
	TAILQ_FOREACH(each, &gw->subsystems, link) {
		struct upstream *up = upstream_find(each->mp, name);

		if (!up || (only && each != only))
			continue;
		found = up;
		*ss = each;
		n++;
	}
	if (n == 1)
		return found;
	if (n)
		rpc_fail(err, RPC_AMBIGUOUS,
			 "%u subsystems have an upstream %s; say which one is meant (parameter "
			 "\"subsystem\", option --subsystem NQN)",
			 n, name);
	else
		rpc_fail(err, RPC_NOT_FOUND,
			 "there is no upstream %s; \"nvmegw upstream list\" lists those that there "
			 "are",
			 name);
	return NULL;
}

static struct upstream *find(struct gateway *gw, const json_t *params, struct subsystem **ss,
			     struct rpc_error *err)
{
	return rpc_upstream(gw, text_of(params, "upstream"), text_of(params, "subsystem"), ss, err);
}

/* ---- looking ---- */

static json_t *list_upstreams(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	const char *nqn = text_of(params, "subsystem");
	const struct subsystem *only = nqn ? rpc_subsystem(gw, nqn, err) : NULL, *ss;
	const struct upstream *up;
	json_t *list;

	if (nqn && !only)
		return NULL;
	list = json_array();
	TAILQ_FOREACH(ss, &gw->subsystems, link) {
		if (only && ss != only)
			continue;
		TAILQ_FOREACH(up, &ss->mp->upstreams, link)
			json_array_append_new(list, show_upstream(ss, up));
	}
	return list;
}

/* With its paths. */
static json_t *show_whole(struct subsystem *ss, struct upstream *up)
{
	json_t *o = show_upstream(ss, up), *list = json_array();
	struct rpc_path p = {.ss = ss, .up = up};

	TAILQ_FOREACH(p.path, &up->paths, up_link)
		json_array_append_new(list, show_path(ss->gw, &p));
	json_object_set_new(o, "path_list", list);
	return o;
}

static json_t *get_upstream(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	struct subsystem *ss;
	struct upstream *up = find(gw, params, &ss, err);

	return up ? show_whole(ss, up) : NULL;
}

/* ---- connecting ---- */

/* What is about to connect, and of its paths the one that was asked for. */
struct connecting {
	struct rpc_wait wait;
	char nqn[NVMF_NQN_MAX + 1], name[MP_NAME_MAX];
	uint32_t nsid;
};

static struct upstream *find_connecting(const struct connecting *c, struct subsystem **ss,
					struct rpc_error *err)
{
	return rpc_upstream(c->wait.gw, c->name, c->nqn, ss, err);
}

static bool is_connected(const struct rpc_wait *w)
{
	struct subsystem *ss;
	struct rpc_error err;
	const struct upstream *up = find_connecting((const struct connecting *)w, &ss, &err);

	return !up || !upstream_unsettled(up);
}

static void await_connected(struct subsystem *ss, const struct upstream *up, const struct path *p,
			    const struct rpc_wait_ops *ops, struct rpc_error *err)
{
	struct connecting *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	strcpy(c->nqn, ss->nqn);
	strcpy(c->name, up->cfg.name);
	c->nsid = p ? p->nsid : 0;
	rpc_wait(ss->gw, &c->wait, ops, err);
}

static json_t *show_connected(struct rpc_wait *w, struct rpc_error *err)
{
	struct subsystem *ss;
	struct upstream *up = find_connecting((struct connecting *)w, &ss, err);

	return up ? show_whole(ss, up) : NULL;
}

static json_t *connect_upstream(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	static const struct rpc_wait_ops ops = {is_connected, show_connected};
	struct subsystem *ss;
	struct upstream *up = find(gw, params, &ss, err);

	if (!up)
		return NULL;
	log_notice("upstream %s: to be connected, says the administrator", up->cfg.name);
	if (up->state != UPSTREAM_LIVE)
		upstream_reset(up);
	await_connected(ss, up, NULL, &ops, err);
	return NULL;
}

/* The path, or what the upstream shows instead: it may have shown nothing before. */
static json_t *show_reset(struct rpc_wait *w, struct rpc_error *err)
{
	struct connecting *c = (struct connecting *)w;
	struct rpc_path p = {0};
	struct path *each;

	p.up = find_connecting(c, &p.ss, err);
	if (!p.up)
		return NULL;
	TAILQ_FOREACH(each, &p.up->paths, up_link)
		if (!p.path || each->nsid == c->nsid)
			p.path = each;
	return show_path(w->gw, &p);
}

static json_t *reset_path(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	static const struct rpc_wait_ops ops = {is_connected, show_reset};
	struct rpc_path p;

	if (!rpc_path_find(gw, text_of(params, "path"), text_of(params, "subsystem"), &p, err))
		return NULL;
	log_notice("upstream %s: reset by the administrator", p.up->cfg.name);
	upstream_reset(p.up);
	await_connected(p.ss, p.up, p.path, &ops, err);
	return NULL;
}

/* ---- moving I/O off first ---- */

/* What is looked for again when it is done: it may have gone meanwhile. */
struct moved {
	struct gateway *gw;
	struct rpc_later *later;
	char nqn[NVMF_NQN_MAX + 1], name[PATH_NAME_MAX];
};

static struct moved *new_moved(const struct subsystem *ss, const char *name, struct rpc_error *err)
{
	struct moved *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	m->gw = ss->gw;
	m->later = rpc_answer_later(err);
	strcpy(m->nqn, ss->nqn);
	strcpy(m->name, name);
	return m;
}

static void answer(struct moved *m, json_t *result, uint64_t left, const struct rpc_error *err)
{
	if (result)
		rpc_put_u64(result, "left", left);
	rpc_later_answer(m->later, result, err);
	free(m);
}

static void on_upstream_moved(void *arg, uint64_t left)
{
	struct moved *m = arg;
	struct rpc_error err;
	struct subsystem *ss;
	struct upstream *up = rpc_upstream(m->gw, m->name, m->nqn, &ss, &err);

	if (up)
		upstream_disconnect(up);
	answer(m, up ? show_whole(ss, up) : NULL, left, &err);
}

static json_t *disconnect_upstream(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	struct subsystem *ss;
	struct upstream *up = find(gw, params, &ss, err);

	if (!up)
		return NULL;
	log_notice("upstream %s: to be disconnected, says the administrator", up->cfg.name);
	if (up->cfg.discovery) { /* what it has named goes on without it */
		upstream_disconnect(up);
		return show_whole(ss, up);
	}
	upstream_drain(up, MOVE_MAX, on_upstream_moved, new_moved(ss, up->cfg.name, err));
	return NULL;
}

static void on_path_moved(void *arg, uint64_t left)
{
	struct moved *m = arg;
	struct rpc_error err;
	struct rpc_path p;
	bool is_there = rpc_path_find(m->gw, m->name, m->nqn, &p, &err);

	answer(m, is_there ? show_path(m->gw, &p) : NULL, left, &err);
}

static json_t *drain_path(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	char name[PATH_NAME_MAX];
	struct rpc_path p;

	if (!rpc_may_set(gw, err) ||
	    !rpc_path_find_real(gw, text_of(params, "path"), text_of(params, "subsystem"), &p, err))
		return NULL;
	log_notice("path %s: to be drained", rpc_path_name(&p, name));
	subsystem_set_path_admin(p.ss, p.path, PATH_DISABLED);
	events_emit(gw->events, EVENT_PATH_ADMIN, event_of_path(p.ss, p.path));
	path_drain(p.path, MOVE_MAX, on_path_moved, new_moved(p.ss, name, err));
	return NULL;
}

/* ---- the table ---- */

const struct rpc_method rpc_upstream_methods[] = {
	{"upstream.list", .call = list_upstreams},
	{"upstream.show", .call = get_upstream},
	{"upstream.connect", .call = connect_upstream},
	{"upstream.disconnect", .call = disconnect_upstream},
	{"path.reset", .call = reset_path},
	{"path.drain", .call = drain_path},
	{0},
};
