/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/listener.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/config_diff.h"
#include "gateway/config_parts.h"
#include "gateway/controller.h"
#include "transport/inherited.h"
#include "transport/log.h"

/* ---- one ---- */

static bool is_at(const struct gw_listener *l, const struct listener_cfg *like)
{
	return l->cfg.transport == like->transport && addr_equal(&l->cfg.addr, &like->addr);
}

/* One that has been there before is used again: hosts that came in by it may still be there. */
static struct gw_listener *slot_for(struct gateway *gw, const struct listener_cfg *cfg)
{
	struct gw_listener *l;

	for (unsigned i = 0; i < gw->nr_listeners; i++)
		if (is_at(gw->listeners[i], cfg))
			return gw->listeners[i];
	l = calloc(1, sizeof(*l));
	gw->listeners = realloc(gw->listeners, (gw->nr_listeners + 1) * sizeof(gw->listeners[0]));
	if (!l || !gw->listeners)
		abort();
	l->gw = gw;
	l->removed = true;
	gw->listeners[gw->nr_listeners++] = l;
	l->portid = (uint16_t)gw->nr_listeners;
	l->cfg = *cfg;
	return l;
}

struct gw_listener *listener_open(struct gateway *gw, const struct listener_cfg *cfg,
				  char why[LISTENER_ERROR_MAX])
{
	struct gw_listener *l = slot_for(gw, cfg);
	const struct addr *at;
	char where[ADDR_STR_MAX];

	l->tgt = cfg->transport->listen(gw->control, &cfg->addr, &cfg->tgt, &gateway_tgt_ops, l);
	if (!l->tgt) {
		snprintf(why, LISTENER_ERROR_MAX, "cannot listen on %s: %s",
			 addr_str(&cfg->addr, where), strerror(errno));
		return NULL;
	}
	l->cfg = *cfg;
	l->removed = false;
	at = cfg->transport->listener_addr(l->tgt);
	if (at)
		log_info("listening on %s for %s", addr_str(at, where), cfg->transport->name);
	return l;
}

struct gw_listener *listener_find(const struct gateway *gw, const struct listener_cfg *like)
{
	for (unsigned i = 0; i < gw->nr_listeners; i++)
		if (!gw->listeners[i]->removed && is_at(gw->listeners[i], like))
			return gw->listeners[i];
	return NULL;
}

static void stop(struct gw_listener *l)
{
	if (l->tgt)
		l->cfg.transport->unlisten(l->tgt);
	l->tgt = NULL;
}

void listener_remove(struct gw_listener *l)
{
	char where[ADDR_STR_MAX];

	log_info("no longer listening on %s for %s", addr_str(&l->cfg.addr, where),
		 l->cfg.transport->name);
	stop(l);
	l->removed = true;
}

/* ---- all ---- */

void listeners_close(struct gateway *gw)
{
	for (unsigned i = 0; i < gw->nr_listeners; i++)
		stop(gw->listeners[i]);
}

void listeners_free(struct gateway *gw)
{
	for (unsigned i = 0; i < gw->nr_listeners; i++)
		free(gw->listeners[i]);
	free(gw->listeners);
}

static bool is_configured(const struct gw_config *cfg, const struct addr *addr)
{
	for (unsigned i = 0; i < cfg->nr_listeners; i++)
		if (addr_equal(&cfg->listeners[i].addr, addr))
			return true;
	return false;
}

void warn_of_unused_sockets(const struct gw_config *cfg)
{
	char where[ADDR_STR_MAX];
	struct addr addr;

	for (unsigned i = 0; i < inherited_sockets(); i++) {
		if (inherited_addr(i, &addr))
			log_warn("inherited socket %u is no listening TCP socket and not used", i);
		else if (!is_configured(cfg, &addr))
			log_warn("the inherited socket on %s is not used: no listener is "
				 "configured there",
				 addr_str(&addr, where));
	}
}

/* ---- changes ---- */

static bool same(const struct listener_cfg *a, const struct listener_cfg *b)
{
	struct cfg_delta d = {0};

	cfg_compare_listener(a, b, &d);
	return !d.changed;
}

/* What is to be done, and what there was in case it cannot be. */
struct listener_change {
	struct gateway *gw;
	struct listener_cfg *stopped;
	struct gw_listener **started;
	unsigned nr_stopped, nr_started;
};

static void undo(struct listener_change *c)
{
	char why[LISTENER_ERROR_MAX];

	for (unsigned i = 0; i < c->nr_started; i++)
		listener_remove(c->started[i]);
	for (unsigned i = 0; i < c->nr_stopped; i++)
		if (!listener_open(c->gw, &c->stopped[i], why))
			log_err("%s", why); /* somebody else was quicker */
}

/* First, so that an address is free for one that takes it over. */
static void stop_old(struct listener_change *c, const struct gw_config *cfg)
{
	for (unsigned i = 0; i < c->gw->nr_listeners; i++) {
		struct gw_listener *l = c->gw->listeners[i];
		const struct listener_cfg *now = config_listener(cfg, &l->cfg);

		if (l->removed || (now && same(&l->cfg, now)))
			continue;
		c->stopped[c->nr_stopped++] = l->cfg;
		listener_remove(l);
	}
}

static bool start_new(struct listener_change *c, const struct gw_config *cfg,
		      char why[LISTENER_ERROR_MAX])
{
	for (unsigned i = 0; i < cfg->nr_listeners; i++) {
		struct gw_listener *l;

		if (listener_find(c->gw, &cfg->listeners[i]))
			continue;
		l = listener_open(c->gw, &cfg->listeners[i], why);
		if (!l)
			return false;
		c->started[c->nr_started++] = l;
	}
	return true;
}

bool listeners_apply(struct gateway *gw, const struct gw_config *cfg, bool *any,
		     char why[LISTENER_ERROR_MAX])
{
	struct listener_change c = {.gw = gw};
	bool ok;

	c.stopped = cfg_alloc(gw->nr_listeners, sizeof(c.stopped[0]));
	c.started = cfg_alloc(cfg->nr_listeners, sizeof(c.started[0]));
	stop_old(&c, cfg);
	ok = start_new(&c, cfg, why);
	if (!ok)
		undo(&c);
	*any = c.nr_stopped || c.nr_started;
	if (ok && *any)
		warn_of_unused_sockets(cfg);
	free(c.stopped);
	free(c.started);
	return ok;
}
