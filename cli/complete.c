/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/complete.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/command.h"

#define PATIENCE   1  /* seconds */
#define MAX_VALUES 12 /* of one argument */

struct line {
	const char *prefix; /* of the word that is wanted */
	const char *socket;
	char **words; /* complete ones that are no options */
	int nr_words;
	const struct option *pending; /* the word is its argument */
};

static void offer(const struct line *l, const char *word, const char *what)
{
	/* What peers said may be in it: nothing that a shell could take for more than one word. */
	for (const char *p = word; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return;
	if (strncmp(word, l->prefix, strlen(l->prefix)) == 0)
		printf("%s\t%s\n", word, what);
}

/* ---- names that the daemon knows ---- */

struct live {
	const char *param;  /* what is being named */
	const char *method; /* has a list of those */
	const char *list;   /* this member of its result; NULL: the result itself */
	const char *name;   /* of each */
	const char *what[2];
};

static const struct live lives[] = {
	{"path", "path.list", NULL, "path", {"traddr", "subsystem"}},
	{"namespace", "namespace.list", NULL, "nsid", {"uuid", "subsystem"}},
	{"subsystem", "status", "subsystems", "nqn", {"policy"}},
	{"upstream", "upstream.list", NULL, "name", {"traddr", "subsystem"}},
	{"host", "host.list", NULL, "hostnqn", {"subsystem"}},
	{"listener", "listener.list", NULL, "listener", {"transport"}},
	{"controller", "controller.list", NULL, "cntlid", {"hostnqn", "subsystem"}},
	{0},
};

static void offer_row(const struct line *l, const struct live *live, const json_t *row)
{
	const json_t *name = json_object_get(row, live->name);
	const char *what = NULL;
	char number[32];

	for (unsigned i = 0; i < 2 && !what && live->what[i]; i++)
		what = json_string_value(json_object_get(row, live->what[i]));
	snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(name));
	if (json_is_string(name) || json_is_integer(name))
		offer(l, json_is_string(name) ? json_string_value(name) : number, what ? what : "");
}

static void offer_live(const struct line *l, const struct live *live)
{
	json_t *result = NULL;
	const json_t *list, *row;
	size_t i;

	if (client_call(l->socket, live->method, json_object(), &result))
		return;
	list = live->list ? json_object_get(result, live->list) : result;
	json_array_foreach(list, i, row)
		offer_row(l, live, row);
	json_decref(result);
}

/* ---- and those that are always the same ---- */

struct fixed {
	const char *param;
	const char *values[MAX_VALUES];
};

static const struct fixed fixeds[] = {
	{"policy", {"failover", "round-robin", "queue-depth", "service-time", "numa"}},
	{"level", {"error", "warning", "notice", "info", "debug"}},
	{"categories",
	 {"tcp", "rdma", "fabrics", "upstream", "path", "ana", "io", "config", "rpc", "all",
	  "none"}},
	{"output", {"table", "json", "csv", "raw"}},
	{"type", {"daemon", "path", "namespace", "upstream", "host", "policy"}},
	{"settings", {"transport=", "traddr=", "trsvcid=", "nqn=", "name=", "weight="}},
	{0},
};

static void offer_values(const struct line *l, const char *param)
{
	for (const struct live *live = lives; live->param; live++)
		if (!strcmp(live->param, param))
			offer_live(l, live);
	for (const struct fixed *f = fixeds; f->param; f++)
		for (unsigned i = 0; i < MAX_VALUES && f->values[i] && !strcmp(f->param, param);
		     i++)
			offer(l, f->values[i], "");
}

/* ---- the command line ---- */

static void offer_argument(const struct line *l)
{
	int used;
	const struct command *c = command_find(l->words, l->nr_words, &used);

	const struct argument *arg = c ? command_arg(c, l->nr_words - used) : NULL;

	if (!arg)
		return;
	if (arg->file)
		puts(":files");
	else
		offer_values(l, arg->param);
}

/* What comes after the words in the name of the @n'th command; NULL: it does not begin with them.
 */
static const char *next_word(const struct line *l, unsigned n)
{
	const struct command *c = command_at(n);

	return l->nr_words < COMMAND_WORDS && command_begins(c, l->words, l->nr_words)
		       ? c->words[l->nr_words]
		       : NULL;
}

/* A group of commands is offered once. */
static bool is_first(const struct line *l, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const char *other = next_word(l, i);

		if (other && !strcmp(other, next_word(l, n)))
			return false;
	}
	return true;
}

static void offer_word(const struct line *l)
{
	const struct command *c;

	for (unsigned n = 0; (c = command_at(n)); n++) {
		bool group = l->nr_words + 1 < COMMAND_WORDS && c->words[l->nr_words + 1];

		if (next_word(l, n) && is_first(l, n))
			offer(l, next_word(l, n), group ? "" : c->help);
	}
	offer_argument(l);
}

static void offer_options(const struct line *l, const struct option *options)
{
	char word[64];

	for (const struct option *o = options; o->name; o++) {
		snprintf(word, sizeof(word), "--%s", o->name);
		offer(l, word, "");
	}
}

static void offer_option_value(const struct line *l)
{
	if (!strcmp(l->pending->name, "socket"))
		puts(":files");
	else
		offer_values(l, l->pending->name);
}

/* The option that the word is and that takes the next one, or NULL. */
static const struct option *takes_next(const char *word, const struct option *options)
{
	for (const struct option *o = options; o->name; o++) {
		bool is_long = !strncmp(word, "--", 2) && !strcmp(word + 2, o->name);
		bool is_short = word[0] == '-' && word[1] == o->val && !word[2];

		if (o->has_arg == required_argument && (is_long || is_short))
			return o;
	}
	return NULL;
}

static void read_word(struct line *l, char *word, const struct option *options)
{
	if (l->pending) {
		if (!strcmp(l->pending->name, "socket"))
			l->socket = word;
		l->pending = NULL;
	} else if (word[0] == '-') {
		l->pending = takes_next(word, options);
	} else {
		l->words[l->nr_words++] = word;
	}
}

static void give_up(int signo)
{
	_exit(0);
}

void complete(int nr_words, char **words, const struct option *options, const char *socket)
{
	struct line l = {.prefix = nr_words ? words[nr_words - 1] : "", .socket = socket};

	/* Whoever types has not asked for messages, and does not wait. */
	if (!freopen("/dev/null", "w", stderr))
		return;
	signal(SIGALRM, give_up);
	alarm(PATIENCE);
	l.words = calloc((size_t)nr_words + 1, sizeof(l.words[0]));
	if (!l.words)
		return;
	for (int i = 0; i + 1 < nr_words; i++)
		read_word(&l, words[i], options);
	if (l.pending)
		offer_option_value(&l);
	else if (l.prefix[0] == '-')
		offer_options(&l, options);
	else
		offer_word(&l);
	free(l.words);
}
