/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/apply.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/admin.h"
#include "gateway/config_diff.h"
#include "gateway/config_parts.h"
#include "gateway/helper.h"
#include "gateway/listener.h"
#include "gateway/rpc_show.h"
#include "gateway/rpc_value.h"
#include "gateway/settle.h"
#include "gateway/subsys_cfg.h"
#include "transport/log.h"

/* From the start, as SETTLE_MAX is. */
#define MOVE_MAX (14 * NSEC_PER_SEC)

/* A file of an upstream that is new in a subsystem that there is. */
struct new_file {
	const char *nqn;
	const struct upstream_cfg *up;
	struct file_ns *ns; /* NULL: not open, or the upstream's now */
};

enum step_kind {
	STEP_SETTLE,	/* wait for an upstream that was added */
	STEP_RECONNECT, /* a changed one */
	STEP_REMOVE,	/* one that is configured no more */
	STEP_PATHS,	/* wait for the paths of a subsystem that was added or changed */
	STEP_DENIED,	/* and for hosts that may not be connected to it any more to go */
	STEP_END,	/* and for one that is exported no more to go */
};

struct step {
	enum step_kind kind;
	struct subsystem *ss;
	char name[MP_NAME_MAX]; /* of the upstream */
	const struct upstream_config *cfg;
};

struct apply {
	struct gateway *gw;
	const struct gw_config *cfg;
	const struct apply_ops *ops;
	void *arg;
	uint64_t started;
	/* what can fail */
	struct helper helper;
	bool threaded;	/* else there was no thread to be had */
	bool opening;	/* the thread runs, or its message is on the way */
	bool abandoned; /* nobody waits for that message any more */
	struct new_file *files;
	struct subsystem **added;
	unsigned nr_files, nr_added;
	char why[SUBSYSTEM_ERROR_MAX];
	bool log_changes; /* the discovery log */
	/* what takes time */
	struct step *steps;
	unsigned nr_steps, next;
	struct loop_timer timer;
	json_t *notes;
};

static uint64_t age(const struct apply *a)
{
	return loop_now(a->gw->control) - a->started;
}

__attribute__((format(printf, 2, 3))) static void note(struct apply *a, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_warn("%s", text);
	json_array_append_new(a->notes, rpc_text(text));
}

/* ---- the end ---- */

static void free_apply(struct apply *a)
{
	for (unsigned i = 0; i < a->nr_files; i++)
		file_ns_close(a->files[i].ns);
	for (unsigned i = 0; i < a->nr_added; i++)
		if (a->added[i])
			subsystem_free(a->added[i]);
	free(a->files);
	free(a->added);
	free(a->steps);
	loop_timer_fini(&a->timer);
	json_decref(a->notes);
	free(a);
}

static void finish(struct apply *a, const char *why)
{
	a->ops->done(a->arg, why, json_incref(a->notes));
	free_apply(a);
}

/* ---- third: what takes time ---- */

static void run_steps(void *arg);

static void next_step(struct apply *a)
{
	a->next++;
	run_steps(a);
}

static void look_again(struct apply *a)
{
	loop_timer_arm(&a->timer, SETTLE_LOOK);
}

static void settle(struct apply *a)
{
	const struct step *s = &a->steps[a->next];
	const struct upstream *up = upstream_find(s->ss->mp, s->name);
	const struct upstream *late = up ? upstream_unsettled(up) : NULL;

	if (late && age(a) < SETTLE_MAX) {
		look_again(a);
		return;
	}
	if (late && late->state == UPSTREAM_CONNECTING)
		note(a, "upstream %s is not connected yet", late->cfg.name);
	else if (up && up->state != UPSTREAM_LIVE)
		note(a, "upstream %s is not connected: %s", s->name, up->reason);
	next_step(a); /* paths that are not there yet are for the end: see await_paths() */
}

static unsigned passing_paths(const struct subsystem *ss, const struct path **first)
{
	const struct upstream *up;
	const struct path *p;
	unsigned n = 0;

	TAILQ_FOREACH(up, &ss->mp->upstreams, link)
		TAILQ_FOREACH(p, &up->paths, up_link)
			if (path_is_passing(p) && !n++)
				*first = p;
	return n;
}

/*
 * Those of all its upstreams: a namespace that gets another NSID leaves with all its paths first,
 * and one that has gone may have been what others were refused for. Upstreams that were not
 * connected before are not waited for.
 */
static void await_paths(struct apply *a)
{
	const struct path *first = NULL;
	unsigned n = passing_paths(a->steps[a->next].ss, &first);
	char name[PATH_NAME_MAX];

	if (n && age(a) < SETTLE_MAX) {
		look_again(a);
		return;
	}
	if (n)
		note(a, "%u paths are not in use yet, like %s: %s", n,
		     subsystem_path_name(first, name), first->reason);
	next_step(a);
}

static unsigned denied_controllers(const struct subsystem *ss, const struct controller **first)
{
	const struct controller *c;
	unsigned n = 0;

	TAILQ_FOREACH(c, &ss->controllers, link)
		if (c->denied && !n++)
			*first = c;
	return n;
}

static void await_denied(struct apply *a)
{
	const struct controller *first = NULL;
	unsigned n = denied_controllers(a->steps[a->next].ss, &first);

	if (n && age(a) < SETTLE_MAX) {
		look_again(a);
		return;
	}
	if (n)
		note(a,
		     "%u controllers of hosts that are no longer allowed have not ended yet, like "
		     "%u of %s",
		     n, first->ident.cntlid, first->ident.hostnqn);
	next_step(a);
}

/* Its own paths are drained, so what is usable is another's. */
static void note_namespaces(struct apply *a, const struct upstream *up)
{
	const struct path *p;
	uint32_t first = 0;
	unsigned n = 0;

	TAILQ_FOREACH(p, &up->paths, up_link) {
		if (!p->head || rpc_usable_paths(p->head))
			continue;
		first = n++ ? first : p->head->nsid;
	}
	if (n)
		note(a,
		     "upstream %s had the last usable path of %u namespaces, like %u: their I/O "
		     "waits, and fails after no_path_timeout",
		     up->cfg.name, n, first);
}

static void on_drained(void *arg, uint64_t left)
{
	struct apply *a = arg;
	struct step *s = &a->steps[a->next];
	struct upstream *up = upstream_find(s->ss->mp, s->name);

	if (a->gw->stopping || !up) {
		next_step(a);
		return;
	}
	if (left)
		note(a,
		     "upstream %s has not answered %llu commands in time: they go to other paths",
		     s->name, (unsigned long long)left);
	if (s->kind == STEP_REMOVE) {
		note_namespaces(a, up);
		upstream_withdraw(up);
		next_step(a);
		return;
	}
	upstream_reconfigure(up, s->cfg);
	s->kind = STEP_SETTLE;
	run_steps(a);
}

static void drain(struct apply *a)
{
	const struct step *s = &a->steps[a->next];
	struct upstream *up = upstream_find(s->ss->mp, s->name);
	uint64_t past = age(a);

	if (up)
		upstream_drain(up, past < MOVE_MAX ? MOVE_MAX - past : 0, on_drained, a);
	else
		next_step(a);
}

static bool is_leaving(const struct gateway *gw, const struct subsystem *ss)
{
	const struct subsystem *each;

	TAILQ_FOREACH(each, &gw->leaving, link)
		if (each == ss)
			return true;
	return false;
}

static void await_end(struct apply *a)
{
	const struct subsystem *ss = a->steps[a->next].ss;
	bool leaves = is_leaving(a->gw, ss); /* else it is freed */

	if (leaves && age(a) < MOVE_MAX) {
		look_again(a);
		return;
	}
	if (leaves)
		note(a, "subsystem %s has not ended yet: %s", ss->nqn,
		     ss->nr_controllers ? "some of its hosts are still being disconnected"
					: "its upstreams still have commands");
	next_step(a);
}

static void run_steps(void *arg)
{
	static void (*const run[])(struct apply * a) = {
		[STEP_SETTLE] = settle,	    [STEP_RECONNECT] = drain,	  [STEP_REMOVE] = drain,
		[STEP_PATHS] = await_paths, [STEP_DENIED] = await_denied, [STEP_END] = await_end,
	};
	struct apply *a = arg;

	if (a->gw->stopping || a->next == a->nr_steps)
		finish(a, NULL);
	else
		run[a->steps[a->next].kind](a);
}

static void add_step(struct apply *a, enum step_kind kind, struct subsystem *ss, const char *name,
		     const struct upstream_config *cfg)
{
	struct step *s;

	a->steps = realloc(a->steps, (a->nr_steps + 1) * sizeof(a->steps[0]));
	if (!a->steps)
		abort();
	s = &a->steps[a->nr_steps++];
	*s = (struct step){.kind = kind, .ss = ss, .cfg = cfg};
	if (name)
		strcpy(s->name, name);
}

/* ---- second: what takes none ---- */

static struct file_ns *take_file(struct apply *a, const struct upstream_cfg *up)
{
	for (unsigned i = 0; i < a->nr_files; i++) {
		struct file_ns *ns = a->files[i].ns;

		if (a->files[i].up != up)
			continue;
		a->files[i].ns = NULL;
		return ns;
	}
	return NULL;
}

static void add_upstreams(struct apply *a, struct subsystem *ss, const struct subsys_cfg *cfg)
{
	for (unsigned i = 0; i < cfg->nr_upstreams; i++) {
		const struct upstream_cfg *up = &cfg->upstreams[i];
		struct upstream_config mp = up->mp;

		if (upstream_find(ss->mp, mp.name))
			continue;
		mp.file_ns = take_file(a, up);
		upstream_add(ss->mp, &mp);
		add_step(a, STEP_SETTLE, ss, mp.name, NULL);
	}
}

/* One that a discovery log has named is not ours to change. */
static struct upstream *configured(const struct subsystem *ss, const char *name)
{
	struct upstream *up = upstream_find(ss->mp, name);

	return up && !up->source ? up : NULL;
}

static void change_upstreams(struct apply *a, struct subsystem *ss, const struct subsys_cfg *cfg)
{
	for (unsigned i = 0; i < ss->cfg->nr_upstreams; i++) {
		const struct upstream_cfg *was = &ss->cfg->upstreams[i];
		const struct upstream_cfg *is = config_upstream(cfg, was->mp.name);
		struct upstream *up = configured(ss, was->mp.name);
		struct cfg_delta d = {0};

		if (!up || !is)
			continue;
		cfg_compare_upstream(was, is, &d);
		if (d.reconnect)
			add_step(a, STEP_RECONNECT, ss, was->mp.name, &is->mp);
		else if (d.changed)
			upstream_reconfigure(up, &is->mp);
	}
}

/* After all that replaces them. */
static void remove_upstreams(struct apply *a, struct subsystem *ss, const struct subsys_cfg *cfg)
{
	for (unsigned i = 0; i < ss->cfg->nr_upstreams; i++) {
		const char *name = ss->cfg->upstreams[i].mp.name;

		if (configured(ss, name) && !config_upstream(cfg, name))
			add_step(a, STEP_REMOVE, ss, name, NULL);
	}
}

static void order_upstreams(struct subsystem *ss, const struct subsys_cfg *cfg)
{
	struct upstream *last = NULL;

	for (unsigned i = 0; i < cfg->nr_upstreams; i++) {
		struct upstream *up = configured(ss, cfg->upstreams[i].mp.name);

		if (up) {
			upstream_place(up, last);
			last = up;
		}
	}
}

/* Some of those that are changed may be all that there is: they come first, one at a time. */
static void change_subsystem(struct apply *a, struct subsystem *ss, const struct subsys_cfg *cfg)
{
	add_upstreams(a, ss, cfg);
	change_upstreams(a, ss, cfg);
	remove_upstreams(a, ss, cfg);
	order_upstreams(ss, cfg);
	subsystem_reconfigure(ss, cfg);
	add_step(a, STEP_PATHS, ss, NULL, NULL);
	add_step(a, STEP_DENIED, ss, NULL, NULL);
}

static struct subsystem *exported(const struct gateway *gw, const char *nqn)
{
	struct subsystem *ss;

	TAILQ_FOREACH(ss, &gw->subsystems, link)
		if (!strcmp(ss->nqn, nqn))
			return ss;
	return NULL;
}

static void change_subsystems(struct apply *a)
{
	for (unsigned i = 0; i < a->cfg->nr_subsystems; i++) {
		const struct subsys_cfg *cfg = &a->cfg->subsystems[i];
		struct subsystem *ss = exported(a->gw, cfg->mp.nqn);

		if (!ss || config_same_subsystem(ss->cfg, cfg))
			continue;
		change_subsystem(a, ss, cfg);
		a->log_changes = true; /* hosts may see it that did not */
	}
}

static void remove_subsystems(struct apply *a)
{
	struct subsystem *ss, *next;

	for (ss = TAILQ_FIRST(&a->gw->subsystems); ss; ss = next) {
		next = TAILQ_NEXT(ss, link);
		if (config_subsystem(a->cfg, ss->nqn))
			continue;
		log_notice("subsystem %s: no longer exported", ss->nqn);
		subsystem_leave(ss);
		add_step(a, STEP_END, ss, NULL, NULL);
		a->log_changes = true;
	}
}

static void add_subsystems(struct apply *a)
{
	for (unsigned i = 0; i < a->nr_added; i++) {
		struct subsystem *ss = a->added[i];

		a->added[i] = NULL;
		TAILQ_INSERT_TAIL(&a->gw->subsystems, ss, link);
		subsystem_start(ss);
		for (unsigned u = 0; u < ss->cfg->nr_upstreams; u++)
			add_step(a, STEP_SETTLE, ss, ss->cfg->upstreams[u].mp.name, NULL);
		add_step(a, STEP_PATHS, ss, NULL, NULL);
		a->log_changes = true;
		log_notice("subsystem %s: exported", ss->nqn);
	}
}

static void take_effect(struct apply *a)
{
	log_set_level(a->cfg->log_level);
	change_subsystems(a);
	remove_subsystems(a);
	add_subsystems(a);
	if (a->log_changes)
		discovery_changed(a->gw);
	a->ops->taken(a->arg);
	run_steps(a);
}

/* ---- first: what can fail ---- */

static void list_files(struct apply *a, const struct subsystem *ss, const struct subsys_cfg *cfg)
{
	for (unsigned i = 0; i < cfg->nr_upstreams; i++) {
		const struct upstream_cfg *up = &cfg->upstreams[i];

		if (!up->is_file || upstream_find(ss->mp, up->mp.name))
			continue;
		a->files = realloc(a->files, (a->nr_files + 1) * sizeof(a->files[0]));
		if (!a->files)
			abort();
		a->files[a->nr_files++] = (struct new_file){.nqn = ss->nqn, .up = up};
	}
}

/*
 * What is to be opened; that of new subsystems is theirs to list. One of the same name that has not
 * ended may still carry out old writes, where hosts of the new one have written since.
 */
static void list_new(struct apply *a)
{
	const struct gw_config *cfg = a->cfg;
	const struct subsystem *ss;

	TAILQ_FOREACH(ss, &a->gw->leaving, link)
		if (config_subsystem(cfg, ss->nqn))
			snprintf(a->why, sizeof(a->why),
				 "the old subsystem %s has not ended yet; try again later",
				 ss->nqn);
	a->added = cfg_alloc(cfg->nr_subsystems, sizeof(a->added[0]));
	for (unsigned i = 0; i < cfg->nr_subsystems; i++) {
		const struct subsys_cfg *ss_cfg = &cfg->subsystems[i];

		ss = exported(a->gw, ss_cfg->mp.nqn);
		if (ss)
			list_files(a, ss, ss_cfg);
		else
			a->nr_added++;
	}
}

/* On the helper thread: nothing that is listed is known to anybody else yet. */
static void open_new(void *arg)
{
	struct apply *a = arg;
	unsigned n = 0;

	for (unsigned i = 0; i < a->nr_files; i++) {
		a->files[i].ns = subsystem_open_file(a->files[i].up, a->why);
		if (!a->files[i].ns)
			return;
	}
	for (unsigned i = 0; n < a->nr_added; i++) {
		const struct subsys_cfg *cfg = &a->cfg->subsystems[i];

		/* The list of those that there are is only changed by an apply. */
		if (exported(a->gw, cfg->mp.nqn))
			continue;
		a->added[n] = subsystem_new(a->gw, cfg, a->why);
		if (!a->added[n++])
			return;
	}
}

static void start_listeners(struct apply *a)
{
	char why[LISTENER_ERROR_MAX];

	if (a->gw->stopping)
		finish(a, "the gateway is stopping");
	else if (a->why[0])
		finish(a, a->why);
	else if (!listeners_apply(a->gw, a->cfg, &a->log_changes, why))
		finish(a, why);
	else
		take_effect(a);
}

static void join(struct apply *a)
{
	if (a->threaded)
		helper_join(&a->helper);
}

static void on_opened(void *arg)
{
	struct apply *a = arg;

	if (a->abandoned) {
		free_apply(a);
		return;
	}
	join(a);
	a->opening = false;
	start_listeners(a);
}

struct apply *apply_start(struct gateway *gw, const struct gw_config *cfg,
			  const struct apply_ops *ops, void *arg)
{
	struct apply *a = cfg_alloc(1, sizeof(*a));

	*a = (struct apply){.gw = gw, .cfg = cfg, .ops = ops};
	a->arg = arg;
	a->started = loop_now(gw->control);
	a->notes = json_array();
	loop_timer_init(&a->timer, gw->control, run_steps, a);
	a->helper = (struct helper){gw->control, open_new, on_opened, a, 0};
	list_new(a);
	a->opening = true;
	a->threaded = !a->why[0] && !helper_start(&a->helper);
	if (a->threaded)
		return a;
	if (!a->why[0])
		snprintf(a->why, sizeof(a->why), "cannot start a thread");
	loop_post(gw->control, on_opened, a);
	return a;
}

void apply_abandon(struct apply *a)
{
	a->abandoned = a->opening;
	/* The thread reads the configuration, which is not there any more after done(). */
	if (a->opening)
		join(a);
	a->ops->done(a->arg, "the gateway is stopping", json_array());
	if (!a->abandoned)
		free_apply(a); /* else its message is in the loop, and does that */
}
