/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_host.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/rpc_namespace.h"
#include "gateway/rpc_show.h"
#include "gateway/rpc_value.h"
#include "gateway/rpc_wait.h"

static const char *text_of(const json_t *params, const char *name)
{
	return json_string_value(json_object_get(params, name));
}

/* ---- who may connect ---- */

static unsigned controllers_of(const struct subsystem *ss, const char *host)
{
	const struct controller *c;
	unsigned n = 0;

	TAILQ_FOREACH(c, &ss->controllers, link)
		n += !host || !strcmp(c->ident.hostnqn, host);
	return n;
}

/* @host NULL: any. */
static void append_host(json_t *list, const struct subsystem *ss, const char *host)
{
	json_t *o = json_object();

	json_object_set_new(o, "hostnqn", host ? rpc_text(host) : json_null());
	rpc_put_text(o, "subsystem", ss->nqn);
	rpc_put_u64(o, "controllers", controllers_of(ss, host));
	json_array_append_new(list, o);
}

static json_t *list_hosts(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	const char *nqn = text_of(params, "subsystem");
	const struct subsystem *only = nqn ? rpc_subsystem(gw, nqn, err) : NULL, *ss;
	json_t *list;

	if (nqn && !only)
		return NULL;
	list = json_array();
	TAILQ_FOREACH(ss, &gw->subsystems, link) {
		if (only && ss != only)
			continue;
		if (ss->cfg->allow_any_host)
			append_host(list, ss, NULL);
		for (unsigned i = 0; i < ss->cfg->nr_allowed_hosts; i++)
			append_host(list, ss, ss->cfg->allowed_hosts[i]);
	}
	return list;
}

/* ---- where, and to what ---- */

static json_t *list_listeners(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	return show_listeners(gw);
}

static json_t *list_subsystems(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	return show_subsystems(gw);
}

/* ---- who is connected ---- */

struct search {
	const struct subsystem *only;
	uint16_t cntlid;
	struct controller *found;
	unsigned n;
};

static void look_in(struct search *s, const struct subsystem *ss)
{
	struct controller *c = subsystem_controller(ss, s->cntlid);

	if (!c || (s->only && s->only != ss))
		return;
	s->found = c;
	s->n++;
}

/* Among them those of the discovery subsystem. */
static struct controller *find_controller(struct gateway *gw, const json_t *params,
					  struct rpc_error *err)
{
	const char *nqn = text_of(params, "subsystem");
	struct search s = {
		.cntlid = (uint16_t)json_integer_value(json_object_get(params, "controller"))};
	const struct subsystem *ss;

	if (nqn) {
		s.only = strcmp(nqn, gw->discovery.nqn) ? rpc_subsystem(gw, nqn, err)
							: &gw->discovery;
		if (!s.only)
			return NULL;
	}
	TAILQ_FOREACH(ss, &gw->subsystems, link)
		look_in(&s, ss);
	look_in(&s, &gw->discovery);
	if (s.n == 1)
		return s.found;
	if (s.n)
		rpc_fail(err, RPC_AMBIGUOUS,
			 "%u subsystems have a controller %u; say which one is meant (parameter "
			 "\"subsystem\", option --subsystem NQN)",
			 s.n, s.cntlid);
	else
		rpc_fail(err, RPC_NOT_FOUND,
			 "there is no controller %u; \"nvmegw controller list\" lists those that "
			 "there are under ID",
			 s.cntlid);
	return NULL;
}

static json_t *get_controller(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	const struct controller *c = find_controller(gw, params, err);

	return c ? show_controller(c) : NULL;
}

/* A controller that ends, by what no other one has: a new one may get its ID. */
struct ending {
	struct rpc_wait wait;
	uint64_t cirn;
};

static const struct controller *look_for_ending(const struct subsystem *ss, uint64_t cirn)
{
	const struct controller *c;

	TAILQ_FOREACH(c, &ss->controllers, link)
		if (c->ident.cirn == cirn)
			return c;
	return NULL;
}

static const struct controller *find_ending(const struct ending *e)
{
	const struct gateway *gw = e->wait.gw;
	const struct controller *c = look_for_ending(&gw->discovery, e->cirn);
	const struct subsystem *ss;

	TAILQ_FOREACH(ss, &gw->subsystems, link)
		if (!c)
			c = look_for_ending(ss, e->cirn);
	TAILQ_FOREACH(ss, &gw->leaving, link)
		if (!c)
			c = look_for_ending(ss, e->cirn);
	return c;
}

static bool has_ended(const struct rpc_wait *w)
{
	return !find_ending((const struct ending *)w);
}

static json_t *show_ending(struct rpc_wait *w, struct rpc_error *err)
{
	const struct controller *c = find_ending((const struct ending *)w);

	if (c)
		return show_controller(c);
	rpc_put_text(w->shown, "state", "ended");
	rpc_put_u64(w->shown, "io_queues", 0);
	return json_incref(w->shown);
}

static json_t *disconnect_controller(struct gateway *gw, const json_t *params,
				     struct rpc_error *err)
{
	static const struct rpc_wait_ops ops = {has_ended, show_ending};
	struct controller *c = find_controller(gw, params, err);
	struct ending *e;

	if (!c)
		return NULL;
	e = calloc(1, sizeof(*e));
	if (!e)
		abort();
	controller_end(c, "disconnected by the administrator");
	e->cirn = c->ident.cirn;
	e->wait.shown = show_controller(c);
	rpc_wait(gw, &e->wait, &ops, err);
	return NULL;
}

/* ---- the table ---- */

const struct rpc_method rpc_host_methods[] = {
	{"host.list", .call = list_hosts},
	{"listener.list", .call = list_listeners},
	{"subsystem.list", .call = list_subsystems},
	{"controller.show", .call = get_controller},
	{"controller.disconnect", .call = disconnect_controller},
	{0},
};
