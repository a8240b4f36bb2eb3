/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#include <string.h>

#include "cli/show.h"

static const struct command commands[] = {
	{.words = {"status"},
	 .method = "status",
	 .show = show_status,
	 .help = "the daemon, and in short what it exports"},
	{.words = {"path", "list"},
	 .method = "path.list",
	 .show = show_paths,
	 .help = "all paths: usable or why not, and what they carried",
	 .subsystem = true},
	{.words = {"path", "show"},
	 .method = "path.show",
	 .show = show_path,
	 .help = "all that is known of one path",
	 .path = true,
	 .subsystem = true},
	{.words = {"path", "enable"},
	 .method = "path.enable",
	 .show = show_path_admin,
	 .help = "let I/O use the path",
	 .path = true,
	 .subsystem = true},
	{.words = {"path", "disable"},
	 .method = "path.disable",
	 .show = show_path_admin,
	 .help = "no new I/O on the path; what is on it finishes",
	 .path = true,
	 .subsystem = true},
	{.words = {"namespace", "list"},
	 .method = "namespace.list",
	 .show = show_namespaces,
	 .help = "the namespaces that hosts see",
	 .subsystem = true},
	{.words = {"controller", "list"},
	 .method = "controller.list",
	 .show = show_controllers,
	 .help = "the hosts that are connected",
	 .subsystem = true},
	{.words = {"version"},
	 .method = "version",
	 .show = show_version,
	 .help = "versions of this tool and of the daemon"},
	{0},
};

static int words_of(const struct command *c)
{
	int n = 0;

	while (n < COMMAND_WORDS && c->words[n])
		n++;
	return n;
}

/* The first @n words are the same. */
static bool same(const struct command *c, char **words, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(c->words[i], words[i]))
			return false;
	return true;
}

const struct command *command_find(char **words, int nr_words, int *used)
{
	for (const struct command *c = commands; c->method; c++) {
		*used = words_of(c);
		if (*used <= nr_words && same(c, words, *used))
			return c;
	}
	return NULL;
}

char *command_name(const struct command *c, char buf[COMMAND_NAME_MAX])
{
	snprintf(buf, COMMAND_NAME_MAX, "%s%s%s", c->words[0], c->words[1] ? " " : "",
		 c->words[1] ? c->words[1] : "");
	return buf;
}

static void print_line(FILE *out, const struct command *c)
{
	char name[COMMAND_NAME_MAX], usage[COMMAND_NAME_MAX + sizeof(" PATH")];

	snprintf(usage, sizeof(usage), "%s%s", command_name(c, name), c->path ? " PATH" : "");
	fprintf(out, "  %-24s %s\n", usage, c->help);
}

bool command_list(FILE *out, char **words, int nr_words)
{
	bool any = false;

	for (const struct command *c = commands; c->method; c++) {
		int n = words_of(c);

		/* The words may be fewer, or go on with a path. */
		if (!same(c, words, nr_words < n ? nr_words : n))
			continue;
		print_line(out, c);
		any = true;
	}
	return any;
}
