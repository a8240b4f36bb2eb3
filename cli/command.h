/* SPDX-License-Identifier: Apache-2.0 */
/* The commands: each one method of the daemon, and how its result is shown. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "cli/options.h"

#define COMMAND_WORDS 2 /* of a command's name at most */
#define COMMAND_ARGS  2 /* words after it at most */

/* What a word after the command's name is. */
struct argument {
	const char *param; /* the method's */
	const char *name;  /* in help */
	const char *question, *hint;
	bool number;
	bool list; /* several, with commas between */
	bool optional;
	bool file;  /* its text is the parameter; its name is another one, "file" */
	bool pairs; /* KEY=VALUE, all words that are left: an object */
};

extern const struct argument namespace_arg;
/* Those of enum OPTION_*; without a name, the option is not a parameter of the method. */
extern const struct argument option_args[OPTION_COUNT];

struct command {
	const char *method; /* NULL: several, which it knows itself */
	const char *words[COMMAND_WORDS];
	void (*show)(const json_t *result);
	void (*raw)(const json_t *result); /* as bytes; NULL: it has none */
	const char *rows; /* the member of the result that is shown as CSV; NULL: all of it */
	const char *help;
	const struct argument *args[COMMAND_ARGS];
	bool subsystem; /* takes --subsystem */
	bool namespace; /* takes --namespace */
	unsigned takes; /* which other options: TAKES(...) */
	/* Adds to the parameters what is no word and no option, or ends the program. */
	void (*prepare)(const struct options *o, json_t *params);
	/* Instead of asking once and showing the result; @params are taken over. An exit status. */
	int (*run)(const struct options *o, json_t *params);
};

#define COMMAND_NAME_MAX 64
char *command_name(const struct command *c, char buf[COMMAND_NAME_MAX]);
/* How many words go after its name, at most and at least. */
int command_args(const struct command *c);
int command_least_args(const struct command *c);
/* What the @n'th of them is, from 0; NULL: there are not so many. Pairs go on for ever. */
const struct argument *command_arg(const struct command *c, int n);
/* The @n'th of all; NULL: there are not so many. */
const struct command *command_at(unsigned n);
/* Whether its name begins with the words. */
bool command_begins(const struct command *c, char **words, int nr_words);
/* The command that the words begin with, and how many they are; NULL: none. */
const struct command *command_find(char **words, int nr_words, int *used);
/* Lists the commands that begin with the words; false when there is none. */
bool command_list(FILE *out, char **words, int nr_words);

#endif
