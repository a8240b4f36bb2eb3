/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/helper.h"
#include "gateway/state_file.h"
#include "gateway/state_json.h"
#include "transport/log.h"

#define RETRY_DELAY (2 * NSEC_PER_SEC)

/* One write, with all that its thread touches. */
struct save {
	struct state *owner; /* NULL: nobody waits for it any more */
	const struct state_dir *dir;
	char *text;
	uint64_t version;
	int error;
	bool threaded; /* else it has failed without */
	struct helper helper;
};

struct state {
	struct loop *control;
	struct state_dir dir; /* fd -1: in memory only */
	void (*on_tried)(void *arg);
	void *arg;
	struct state_maps maps;
	uint64_t version; /* counts changes */
	uint64_t tried;	  /* version of the last write that has ended */
	uint64_t written; /* version on disk */
	uint64_t writes;
	int error;	   /* of the last write */
	struct save *save; /* under way; at most one */
	struct loop_timer retry;
};

/* ---- writing ---- */

static void note_result(struct state *s, uint64_t version, int error)
{
	s->tried = version;
	if (!error) {
		if (s->error)
			log_notice("%s/" STATE_FILE ": written again", s->dir.path);
		s->written = version;
	} else if (error != s->error) {
		log_err("%s/" STATE_FILE ": not written: %s; namespaces are exported all the same, "
			"and new ones may get other NSIDs after a restart. Trying again",
			s->dir.path, strerror(-error));
	}
	s->error = error;
}

static void join(struct save *save)
{
	if (save->threaded)
		helper_join(&save->helper);
}

static void start_save(struct state *s);

/* Called again when it is done, and does nothing when all is on disk. */
static void on_saved(void *arg)
{
	struct save *save = arg;
	struct state *s = save->owner;

	if (s) {
		join(save);
		s->save = NULL;
		note_result(s, save->version, save->error);
		if (s->version > s->tried)
			start_save(s);
		else if (s->error)
			loop_timer_arm(&s->retry, RETRY_DELAY);
		s->on_tried(s->arg);
	}
	free(save->text);
	free(save);
}

static void write_save(void *arg)
{
	struct save *save = arg;

	save->error = state_file_write(save->dir, save->text);
}

/* Changes made while a write is under way go into the one after it. */
static void start_save(struct state *s)
{
	struct save *save;
	int e;

	if (s->dir.fd < 0 || s->save || s->written == s->version)
		return;
	save = calloc(1, sizeof(*save));
	if (!save)
		abort();
	*save = (struct save){
		.owner = s,
		.dir = &s->dir,
		.text = state_maps_text(&s->maps),
		.version = s->version,
		.helper = {.control = s->control, .work = write_save, .done = on_saved},
	};
	save->helper.arg = save;
	s->save = save;
	s->writes++;
	e = helper_start(&save->helper);
	save->threaded = !e;
	if (e) {
		save->error = e;
		loop_post(s->control, on_saved, save);
	}
}

static void on_retry(void *arg)
{
	start_save(arg);
}

/* ---- life ---- */

static bool load(struct state *s)
{
	char what[512];
	json_t *doc;
	bool ok;

	if (!state_file_read(&s->dir, &doc))
		return false;
	ok = !doc || state_maps_parse(&s->maps, doc, what, sizeof(what));
	if (!ok)
		state_file_damaged(&s->dir, what);
	json_decref(doc);
	return ok;
}

struct state *state_open(struct loop *control, const char *dir, void (*tried)(void *arg), void *arg)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	s->control = control;
	s->on_tried = tried;
	s->arg = arg;
	s->dir.fd = s->dir.lock = -1;
	TAILQ_INIT(&s->maps);
	loop_timer_init(&s->retry, control, on_retry, s);
	if (!dir[0] || (state_dir_open(&s->dir, dir) && load(s)))
		return s;
	state_close(s);
	return NULL;
}

static void save_last(struct state *s)
{
	char *text;

	if (s->save) {
		join(s->save);
		note_result(s, s->save->version, s->save->error);
		s->save->owner = NULL; /* its message is in the loop, and frees it */
	}
	if (s->dir.fd < 0 || s->written == s->version)
		return;
	text = state_maps_text(&s->maps);
	note_result(s, s->version, state_file_write(&s->dir, text));
	free(text);
}

void state_close(struct state *s)
{
	if (!s)
		return;
	save_last(s);
	loop_timer_fini(&s->retry);
	state_dir_close(&s->dir);
	state_maps_free(&s->maps);
	free(s);
}

/* ---- NSIDs ---- */

static struct state_map *map_of(struct state *s, const char *nqn)
{
	struct state_map *m;

	TAILQ_FOREACH(m, &s->maps, link)
		if (!strcmp(m->nqn, nqn))
			return m;
	return state_map_add(&s->maps, nqn);
}

static struct state_ns *find(const struct state_map *m, const struct ns_ident *id)
{
	struct state_ns *ns;

	TAILQ_FOREACH(ns, &m->namespaces, link)
		if (ident_compare(&ns->id, id) == IDENT_SAME)
			return ns;
	return NULL;
}

static uint32_t lowest_free(const struct state_map *m, const struct state_nsid_rules *rules)
{
	uint32_t nsid;

	for (nsid = 1; nsid <= rules->max; nsid++)
		if (!rules->reserved(rules->arg, nsid) && !state_map_nsid(m, nsid))
			return nsid;
	return 0;
}

static bool learn_one(bool *has, uint8_t *to, bool known, const uint8_t *from, size_t n)
{
	if (*has || !known)
		return false;
	*has = true;
	memcpy(to, from, n);
	return true;
}

/*
 * Paths may report different sets of identifiers: with all of them remembered, it is the same
 * namespace whichever path comes first.
 */
static bool learn(struct ns_ident *to, const struct ns_ident *from)
{
	bool changed = false;

	changed |= learn_one(&to->has_uuid, to->uuid, from->has_uuid, from->uuid, 16);
	changed |= learn_one(&to->has_nguid, to->nguid, from->has_nguid, from->nguid, 16);
	changed |= learn_one(&to->has_eui64, to->eui64, from->has_eui64, from->eui64, 8);
	return changed;
}

uint32_t state_nsid(struct state *s, const char *nqn, const struct ns_ident *id,
		    const struct state_nsid_rules *rules, bool *waiting)
{
	struct state_map *m = map_of(s, nqn);
	struct state_ns *ns = find(m, id);

	if (!ns || rules->reserved(rules->arg, ns->nsid)) {
		uint32_t nsid = lowest_free(m, rules);

		if (!nsid)
			return 0;
		if (!ns)
			ns = state_ns_add(m, id);
		ns->nsid = nsid;
		ns->version = ++s->version;
	} else if (learn(&ns->id, id)) {
		s->version++;
	}
	*waiting = s->dir.fd >= 0 && ns->version > s->tried;
	if (s->version > s->tried) /* what has failed is for the timer */
		start_save(s);
	return ns->nsid;
}

void state_info(const struct state *s, struct state_info *info)
{
	const struct state_map *m;
	const struct state_ns *ns;

	*info = (struct state_info){
		.writes = s->writes,
		.saved = s->dir.fd >= 0 && s->written == s->version,
		.error = -s->error,
	};
	TAILQ_FOREACH(m, &s->maps, link)
		TAILQ_FOREACH(ns, &m->namespaces, link)
			info->namespaces++;
}
