/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of the configuration while I/O runs: what is not about a thing does not touch it. */
#include <stddef.h>
#include <string.h>

#include "multipath/control.h"
#include "multipath/head.h"
#include "transport/log.h"

/* ---- subsystems ---- */

static void evict_heads(struct mp_subsys *ss)
{
	struct head *h, *next;

	for (h = TAILQ_FIRST(&ss->heads); h && ss->ev->head_stays; h = next) {
		next = TAILQ_NEXT(h, link);
		if (!ss->ev->head_stays(ss->ev_arg, h))
			head_evict(h);
	}
}

void mp_subsys_reconfigure(struct mp_subsys *ss, const struct mp_subsys_config *cfg)
{
	struct upstream *up;
	struct path *p;
	struct head *h;

	ss->cfg = *cfg;
	health_stop(ss);
	health_start(ss);
	TAILQ_FOREACH(up, &ss->upstreams, link)
		TAILQ_FOREACH(p, &up->paths, up_link)
			path_configure(p);
	evict_heads(ss);
	TAILQ_FOREACH(h, &ss->heads, link)
		head_reconfigure(h);
	mp_subsys_reconsider(ss);
}

/* ---- upstreams ---- */

static bool same_addr(const struct addr *a, const struct addr *b)
{
	return a->len == b->len && (!a->len || addr_equal(a, b));
}

bool upstream_must_reconnect(const struct upstream *up, const struct upstream_config *cfg)
{
	const struct upstream_config *is = &up->cfg;

	bool other_host = strcmp(is->hostnqn, cfg->hostnqn) ||
			  memcmp(is->hostid, cfg->hostid, sizeof(is->hostid));

	return is->transport != cfg->transport || !same_addr(&is->addr, &cfg->addr) ||
	       !same_addr(&is->host_addr, &cfg->host_addr) || strcmp(is->nqn, cfg->nqn) ||
	       (cfg->addr.len && other_host) || is->nr_io_queues != cfg->nr_io_queues ||
	       is->queue_size != cfg->queue_size || is->keep_alive_tmo != cfg->keep_alive_tmo ||
	       is->io_timeout != cfg->io_timeout || is->hdr_digest != cfg->hdr_digest ||
	       is->data_digest != cfg->data_digest || is->register_always != cfg->register_always;
}

/* One that a discovery log has named keeps what the log said of it. */
static void reconfigure_named(struct upstream *up, const struct upstream_config *source)
{
	struct upstream_config cfg = *source;

	strcpy(cfg.name, up->cfg.name);
	strcpy(cfg.nqn, up->cfg.nqn);
	cfg.addr = up->cfg.addr;
	cfg.discovery = false;
	upstream_reconfigure(up, &cfg);
}

void upstream_take_source(struct upstream *up, struct upstream *source)
{
	log_notice("upstream %s: named by %s from now on", up->cfg.name, source->cfg.name);
	up->source = source;
	up->withdrawn = false;
	reconfigure_named(up, &source->cfg);
}

/*
 * All but the name, which is the same: workers read that, and nothing else of it, for their debug
 * lines.
 */
static void take_cfg(struct upstream *up, const struct upstream_config *cfg)
{
	const size_t rest = offsetof(struct upstream_config, transport);
	struct file_ns *file_ns = up->cfg.file_ns;

	memcpy((char *)&up->cfg + rest, (const char *)cfg + rest, sizeof(*cfg) - rest);
	up->cfg.file_ns = file_ns;
}

void upstream_reconfigure(struct upstream *up, const struct upstream_config *cfg)
{
	bool reconnect = upstream_must_reconnect(up, cfg);
	struct upstream *u;
	struct path *p;

	take_cfg(up, cfg);
	up->draining = false;
	TAILQ_FOREACH(u, &up->ss->upstreams, link)
		if (u->source == up)
			reconfigure_named(u, cfg);
	TAILQ_FOREACH(p, &up->paths, up_link)
		path_configure(p);
	if (reconnect)
		upstream_restart(up, "its configuration has changed");
	else
		upstream_refresh_paths(up);
}

void upstream_place(struct upstream *up, struct upstream *after)
{
	struct mp_subsys *ss = up->ss;
	struct path *p;

	if (TAILQ_PREV(up, upstream_list, link) == after)
		return;
	TAILQ_REMOVE(&ss->upstreams, up, link);
	if (after)
		TAILQ_INSERT_AFTER(&ss->upstreams, after, up, link);
	else
		TAILQ_INSERT_HEAD(&ss->upstreams, up, link);
	TAILQ_FOREACH(p, &up->paths, up_link)
		path_reorder(p);
}
