/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/live.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/apply.h"
#include "gateway/config_diff.h"
#include "gateway/config_parts.h"
#include "gateway/event_of.h"
#include "gateway/helper.h"
#include "gateway/replace_file.h"
#include "gateway/rpc_value.h"
#include "gateway/subsys_cfg.h"
#include "transport/log.h"

#define RUNNING	      "the running configuration"
#define BACKUP_SUFFIX ".bak"
#define TEXT_FLAGS    (JSON_INDENT(2) | JSON_REAL_PRECISION(15))
/* The same for the same, however it was written. */
#define SAME_FLAGS (JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(15))

/* One configuration on its way, or the running one on its way to the file. */
struct job {
	TAILQ_ENTRY(job) link;
	struct live *live; /* NULL: nobody waits for it any more */
	enum live_what what;
	char *name;	/* of the file */
	char *text;	/* NULL: to be read from there */
	char *was_text; /* the running configuration */
	bool is_own;	/* the daemon's file */
	struct helper helper;
	bool threaded;
	live_done done;
	void *arg;
	/* by the thread */
	struct gw_config *was, *cfg;
	char *said;
	/* saving */
	char *filed, *folder, *base;
	bool is_new; /* there was no file */
	int error;
	/* applying */
	json_t *changes;
	bool taken;
};

struct live {
	struct gateway *gw;
	char *file;  /* the daemon's own, without symbolic links */
	json_t *doc; /* what runs, but for what has been set of paths, policies and logs since */
	char *filed; /* what the file held when it was last read or written, by SAME_FLAGS */
	TAILQ_HEAD(, job) jobs;
	struct job *applying, *saving;
	struct apply *apply; /* of the first, once it has been read */
	bool again;	     /* to be reloaded after that */
};

/* ---- what runs ---- */

static json_t *find_subsystem(const json_t *doc, const char *nqn)
{
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(doc, "subsystems"), i, o) {
		const char *its = json_string_value(json_object_get(o, "nqn"));

		if (its && !strcmp(its, nqn))
			return o;
	}
	return NULL;
}

json_t *live_show(const struct live *l)
{
	json_t *doc = json_deep_copy(l->doc);
	const struct subsystem *ss;

	if (!doc)
		abort();
	subsys_cfg_put_word(doc, "log_level", log_level_name(log_level()),
			    log_level_name(LOG_INFO));
	TAILQ_FOREACH(ss, &l->gw->subsystems, link) {
		json_t *o = find_subsystem(doc, ss->nqn);

		if (o)
			subsys_cfg_write(ss->cfg, o);
	}
	return doc;
}

bool live_is_changing(const struct live *l)
{
	return l->applying && !l->applying->taken;
}

const char *live_file(const struct live *l)
{
	return l->file;
}

static char *text_of(const json_t *doc, size_t flags)
{
	char *text = json_dumps(doc, flags);

	if (!text)
		abort();
	return text;
}

static char *running_text(const struct live *l)
{
	json_t *doc = live_show(l);
	char *text = text_of(doc, TEXT_FLAGS), *lines;

	if (asprintf(&lines, "%s\n", text) < 0)
		abort();
	free(text);
	json_decref(doc);
	return lines;
}

/* The lists of the subsystems are those of the file, entry by entry: see subsys_cfg_write(). */
static void take_doc(struct live *l, const struct job *j)
{
	struct subsystem *ss;

	TAILQ_FOREACH(ss, &l->gw->subsystems, link)
		subsystem_take_cfg(ss, config_subsystem(j->cfg, ss->nqn));
	json_decref(l->doc);
	l->doc = json_incref(j->cfg->doc);
	if (!j->is_own)
		return;
	free(l->filed);
	l->filed = text_of(l->doc, SAME_FLAGS);
}

/* ---- jobs ---- */

static char *copy(const char *text)
{
	char *c = text ? strdup(text) : NULL;

	if (text && !c)
		abort();
	return c;
}

static struct job *new_job(struct live *l, enum live_what what, live_done done, void *arg)
{
	struct job *j = cfg_alloc(1, sizeof(*j));

	*j = (struct job){.live = l, .what = what, .done = done, .arg = arg};
	j->was_text = running_text(l);
	TAILQ_INSERT_TAIL(&l->jobs, j, link);
	return j;
}

static void free_job(struct job *j)
{
	config_free(j->was);
	config_free(j->cfg);
	json_decref(j->changes);
	free(j->name);
	free(j->text);
	free(j->was_text);
	free(j->said);
	free(j->filed);
	free(j->folder);
	free(j->base);
	free(j);
}

static void end_job(struct job *j, json_t *result, const struct rpc_error *err)
{
	struct live *l = j->live;

	TAILQ_REMOVE(&l->jobs, j, link);
	if (l->applying == j)
		l->applying = NULL;
	if (l->saving == j)
		l->saving = NULL;
	j->done(j->arg, result, err);
	free_job(j);
	if (l->again && !l->applying)
		live_reload(l);
}

static void refuse(struct job *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void refuse(struct job *j, const char *fmt, ...)
{
	struct rpc_error err;
	char text[sizeof(err.message)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	rpc_fail(&err, RPC_REFUSED, "%s", text);
	if (j->what == LIVE_APPLY)
		events_emit(j->live->gw->events, EVENT_CONFIG_REFUSED,
			    event_of_config(j->name, j->changes, text));
	end_job(j, NULL, &err);
}

static void refuse_at_once(live_done done, void *arg, const char *why)
{
	struct rpc_error err;

	rpc_fail(&err, RPC_REFUSED, "%s", why);
	done(arg, NULL, &err);
}

static void start(struct job *j, void (*work)(void *arg), void (*done)(void *arg))
{
	j->helper = (struct helper){j->live->gw->control, work, done, j, 0};
	j->threaded = !helper_start(&j->helper);
	if (!j->threaded)
		refuse(j, "cannot start a thread");
}

/* Whether anybody still waits; else the job has gone. */
static bool is_awaited(struct job *j)
{
	if (j->live) {
		helper_join(&j->helper);
		j->threaded = false;
		return true;
	}
	free_job(j);
	return false;
}

/* ---- reading ---- */

/* Nothing that could keep the thread waiting for ever. */
static bool is_regular(const char *file, FILE *err)
{
	struct stat st;

	if (stat(file, &st))
		fprintf(err, "%s: cannot open: %s\n", file, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		fprintf(err, "%s: cannot read: it is no regular file\n", file);
	else
		return true;
	return false;
}

static void read_both(void *arg)
{
	struct job *j = arg;
	size_t size;
	FILE *err = open_memstream(&j->said, &size);

	if (!err)
		abort();
	j->was = config_parse(RUNNING, j->was_text, strlen(j->was_text), err);
	if (j->was && j->text)
		j->cfg = config_parse(j->name, j->text, strlen(j->text), err);
	else if (j->was && is_regular(j->name, err))
		j->cfg = config_load(j->name, err);
	fclose(err);
}

/* ---- what is done with it ---- */

static json_t *with_file(const struct job *j)
{
	return json_pack("{s:o}", "file", rpc_text(j->name));
}

static void check(struct job *j)
{
	end_job(j, with_file(j), NULL);
}

static void diff(struct job *j)
{
	json_t *result = with_file(j);
	struct config_diff d;

	config_diff(j->was, j->cfg, j->live->gw->max_connections, &d);
	json_object_set_new(result, "changes", d.changes);
	json_object_set_new(result, "restart", json_boolean(d.restart));
	end_job(j, result, NULL);
}

/* The keys that stand in the way. */
static void list_restarts(const json_t *changes, FILE *out)
{
	const json_t *c, *k;
	size_t i, n;

	json_array_foreach((json_t *)changes, i, c) {
		const char *name = json_string_value(json_object_get(c, "name"));

		if (strcmp(json_string_value(json_object_get(c, "takes")), "a restart"))
			continue;
		fprintf(out, "\n  %s%s%s:", json_string_value(json_object_get(c, "what")),
			name ? " " : "", name ? name : "");
		if (!json_array_size(json_object_get(c, "keys")))
			fprintf(out, " %s", json_string_value(json_object_get(c, "change")));
		json_array_foreach(json_object_get(c, "keys"), n, k)
			fprintf(out, " %s", json_string_value(json_object_get(k, "key")));
	}
}

/*
 * All or nothing: what runs is always one whole configuration, which can be shown and saved, and
 * not a part of a file with the rest still to come.
 */
static void refuse_restart(struct job *j)
{
	char *list = NULL;
	size_t size;
	FILE *out = open_memstream(&list, &size);

	if (!out)
		abort();
	list_restarts(j->changes, out);
	fclose(out);
	refuse(j,
	       "%s: nothing is applied, since some of it takes a restart:%s\nrestart the daemon, or "
	       "leave that as it is; \"nvmegw config diff\" shows all changes",
	       j->name, list);
	free(list);
}

static void on_taken(void *arg)
{
	struct job *j = arg;

	j->taken = true;
	take_doc(j->live, j);
}

static void on_applied(void *arg, const char *why, json_t *notes)
{
	struct job *j = arg;
	json_t *result;

	j->live->apply = NULL;
	if (why) {
		json_decref(notes);
		refuse(j, "nothing has been changed: %s", why);
		return;
	}
	result = with_file(j);
	json_object_set(result, "changes", j->changes);
	json_object_set_new(result, "notes", notes);
	events_emit(j->live->gw->events, EVENT_CONFIG_APPLIED,
		    event_of_config(j->name, j->changes, ""));
	end_job(j, result, NULL);
}

static void apply(struct job *j)
{
	static const struct apply_ops ops = {.taken = on_taken, .done = on_applied};
	struct gateway *gw = j->live->gw;
	struct config_diff d;

	config_diff(j->was, j->cfg, gw->max_connections, &d);
	j->changes = d.changes;
	if (d.restart) {
		refuse_restart(j);
		return;
	}
	/* Also without any: from now on it is what runs, as it is written. */
	log_notice("%s: %zu changes", j->name, json_array_size(d.changes));
	j->live->apply = apply_start(gw, j->cfg, &ops, j);
}

static void cut_newline(char *text)
{
	size_t n = strlen(text);

	if (n && text[n - 1] == '\n')
		text[n - 1] = '\0';
}

static void on_read(void *arg)
{
	static void (*const next[])(struct job * j) = {
		[LIVE_CHECK] = check,
		[LIVE_DIFF] = diff,
		[LIVE_APPLY] = apply,
	};
	struct job *j = arg;

	if (!is_awaited(j))
		return;
	cut_newline(j->said);
	if (j->live->gw->stopping)
		refuse(j, "the gateway is stopping");
	else if (!j->cfg)
		refuse(j, "%s", j->said);
	else
		next[j->what](j);
}

static void take(struct live *l, enum live_what what, const char *name, const char *text,
		 live_done done, void *arg)
{
	struct job *j;

	if (what == LIVE_APPLY && l->applying) {
		refuse_at_once(done, arg,
			       "another change is being applied: try again when it is done, which "
			       "takes some seconds at most");
		return;
	}
	j = new_job(l, what, done, arg);
	j->is_own = !text;
	j->name = copy(text ? name : l->file);
	j->text = copy(text);
	if (what == LIVE_APPLY)
		l->applying = j;
	start(j, read_both, on_read);
}

void live_config(struct live *l, enum live_what what, const char *name, const char *text,
		 live_done done, void *arg)
{
	take(l, what, name, text, done, arg);
}

void live_edit(struct live *l, json_t *doc, live_done done, void *arg)
{
	char *text = text_of(doc, TEXT_FLAGS);

	json_decref(doc);
	take(l, LIVE_APPLY, RUNNING, text, done, arg);
	free(text);
}

/* ---- reload ---- */

static void log_lines(const char *text)
{
	char *lines = copy(text), *rest = lines;

	for (char *line; (line = strsep(&rest, "\n"));)
		log_err("%s", line);
	free(lines);
}

static void on_reloaded(void *arg, json_t *result, const struct rpc_error *err)
{
	const struct live *l = arg;

	if (!result) {
		log_lines(err->message);
		log_err("%s: not applied, all goes on as before", l->file);
		return;
	}
	log_notice("%s: applied, %zu changes", l->file,
		   json_array_size(json_object_get(result, "changes")));
	json_decref(result);
}

void live_reload(void *live)
{
	struct live *l = live;

	l->again = l->applying;
	if (!l->again && !l->gw->stopping)
		take(l, LIVE_APPLY, NULL, NULL, on_reloaded, l);
}

/* ---- saving ---- */

/*
 * What somebody has written into the file since we have read it is not for us to lose, even if the
 * backup has it.
 */
static bool is_as_known(struct job *j)
{
	json_t *doc;
	char *text;
	bool same;

	j->is_new = access(j->name, F_OK) && errno == ENOENT;
	if (j->is_new)
		return true;
	doc = json_load_file(j->name, JSON_REJECT_DUPLICATES, NULL);
	if (!doc)
		return false;
	text = text_of(doc, SAME_FLAGS);
	same = !strcmp(text, j->filed);
	free(text);
	json_decref(doc);
	return same;
}

static void write_file(void *arg)
{
	struct job *j = arg;
	char backup[NAME_MAX + 1];
	int dirfd;

	if (!is_as_known(j)) {
		j->error = -ESTALE;
		return;
	}
	dirfd = open(j->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0) {
		j->error = -errno;
		return;
	}
	if (snprintf(backup, sizeof(backup), "%s" BACKUP_SUFFIX, j->base) > NAME_MAX)
		j->error = -ENAMETOOLONG;
	else
		j->error = replace_file(dirfd, j->base, j->was_text, backup);
	close(dirfd);
}

static void refuse_save(struct job *j)
{
	if (j->error == -ESTALE)
		refuse(j,
		       "%s has been changed since it was read, and that would be lost: \"nvmegw "
		       "config apply\" applies it, or move it away",
		       j->name);
	else
		refuse(j,
		       "%s is not written, and is as it was: %s; the daemon needs to write to its "
		       "folder, see nvmegwd(8)",
		       j->name, strerror(-j->error));
}

static void on_written(void *arg)
{
	struct job *j = arg;
	json_t *result, *doc;

	if (!is_awaited(j))
		return;
	if (j->error) {
		refuse_save(j);
		return;
	}
	doc = json_loads(j->was_text, 0, NULL);
	free(j->live->filed);
	j->live->filed = text_of(doc, SAME_FLAGS);
	json_decref(doc);
	log_notice("%s: written", j->name);
	result = with_file(j);
	json_object_set_new(result, "backup",
			    j->is_new ? json_null() : json_sprintf("%s" BACKUP_SUFFIX, j->name));
	end_job(j, result, NULL);
}

void live_save(struct live *l, live_done done, void *arg)
{
	char *slash;
	struct job *j;

	if (l->saving) {
		refuse_at_once(done, arg, "it is being saved already: try again");
		return;
	}
	j = new_job(l, LIVE_CHECK, done, arg);
	l->saving = j;
	j->name = copy(l->file);
	j->filed = copy(l->filed);
	j->folder = copy(l->file);
	slash = strrchr(j->folder, '/');
	j->base = copy(slash + 1);
	slash[slash == j->folder] = '\0';
	start(j, write_file, on_written);
}

/* ---- life ---- */

struct live *live_new(struct gateway *gw, const char *file, const struct gw_config *cfg)
{
	struct live *l;
	char *path = realpath(file, NULL);

	if (!path) {
		log_err("%s: %s", file, strerror(errno));
		return NULL;
	}
	l = cfg_alloc(1, sizeof(*l));
	l->gw = gw;
	l->file = path;
	l->doc = json_incref(cfg->doc);
	l->filed = text_of(l->doc, SAME_FLAGS);
	TAILQ_INIT(&l->jobs);
	return l;
}

/* The message of a thread that runs is in the loop then, and frees the job. */
static void abandon(struct job *j)
{
	struct rpc_error err;

	TAILQ_REMOVE(&j->live->jobs, j, link);
	rpc_fail(&err, RPC_REFUSED, "the gateway is stopping");
	j->done(j->arg, NULL, &err);
	helper_join(&j->helper);
	j->live = NULL;
}

void live_free(struct live *l)
{
	struct job *j;

	if (!l)
		return;
	l->again = false;
	if (l->apply)
		apply_abandon(l->apply);
	while ((j = TAILQ_FIRST(&l->jobs)))
		abandon(j);
	json_decref(l->doc);
	free(l->filed);
	free(l->file);
	free(l);
}
