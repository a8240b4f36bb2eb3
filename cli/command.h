/* SPDX-License-Identifier: Apache-2.0 */
/* The commands: each one method of the daemon, and how its result is shown. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#define COMMAND_WORDS 2 /* of a command's name at most */

struct command {
	const char *method;
	const char *words[COMMAND_WORDS];
	void (*show)(const json_t *result);
	const char *help;
	bool path;	/* takes the name of a path */
	bool subsystem; /* takes --subsystem */
};

#define COMMAND_NAME_MAX 64
char *command_name(const struct command *c, char buf[COMMAND_NAME_MAX]);
/* The command that the words begin with, and how many they are; NULL: none. */
const struct command *command_find(char **words, int nr_words, int *used);
/* Lists the commands that begin with the words; false when there is none. */
bool command_list(FILE *out, char **words, int nr_words);

#endif
