/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#include <string.h>

#include "cli/events.h"
#include "cli/io.h"
#include "cli/show.h"
#include "cli/top.h"

static const struct argument path_arg = {
	.param = "path",
	.name = "PATH",
	.question = "which path?",
	.hint = "\"nvmegw path list\" lists them",
};
static const struct argument weight_arg = {
	.param = "weight",
	.name = "N",
	.question = "which weight?",
	.hint = "an integer from 1 to 1000 is expected",
	.number = true,
};
const struct argument namespace_arg = {
	.param = "namespace",
	.name = "NSID",
	.question = "which namespace?",
	.hint = "\"nvmegw namespace list\" lists them under NS",
	.number = true,
};
static const struct argument lba_arg = {
	.param = "lba",
	.name = "LBA",
	.question = "which block?",
	.hint = "the number of a block is expected, from 0 on",
	.number = true,
};
static const struct argument level_arg = {
	.param = "level",
	.name = "LEVEL",
	.question = "which level?",
	.hint = "error, warning, notice, info or debug is expected",
};
static const struct argument categories_arg = {
	.param = "categories",
	.name = "CATEGORY,...",
	.question = "which categories?",
	.hint = "tcp, rdma, fabrics, upstream, path, ana, io, config, rpc, all or none is expected",
	.list = true,
};
static const struct argument policy_arg = {
	.param = "policy",
	.name = "POLICY",
	.question = "which policy?",
	.hint = "failover, round-robin, queue-depth, service-time or numa is expected",
};

static const struct argument upstream_arg = {
	.param = "upstream",
	.name = "UPSTREAM",
	.question = "which upstream?",
	.hint = "\"nvmegw upstream list\" lists them",
};
static const struct argument host_arg = {
	.param = "host",
	.name = "HOSTNQN",
	.question = "which host?",
	.hint = "\"nvmegw host list\" lists those that may connect",
};
static const struct argument listener_arg = {
	.param = "listener",
	.name = "LISTENER",
	.question = "which listener?",
	.hint = "\"nvmegw listener list\" lists them",
};
static const struct argument controller_arg = {
	.param = "controller",
	.name = "ID",
	.question = "which controller?",
	.hint = "\"nvmegw controller list\" lists them under ID",
	.number = true,
};
static const struct argument settings_arg = {
	.param = "settings",
	.name = "KEY=VALUE...",
	.question = "with which settings?",
	.hint = "KEY=VALUE is expected, like transport=tcp traddr=192.0.2.1; nvmegw.json(5) has "
		"the keys",
	.pairs = true,
};
static const struct argument file_arg = {
	.param = "text",
	.name = "[FILE]",
	.optional = true,
	.file = true,
};

const struct argument option_args[OPTION_COUNT] = {
	[OPTION_LAST] = {.param = "last",
			 .name = "--last",
			 .hint = "a number of events is expected",
			 .number = true},
	[OPTION_DELAY] = {.name = "--delay"},
	[OPTION_BATCH] = {.name = "--batch"},
	[OPTION_FRAMES] = {.name = "--count"},
	[OPTION_BLOCKS] = {.param = "blocks",
			   .name = "--blocks",
			   .hint = "a number of blocks is expected",
			   .number = true},
	[OPTION_PATH] = {.param = "path", .name = "--path"},
	[OPTION_YES_WRITE] = {.name = "--yes-write"},
	[OPTION_TYPE] = {.param = "types", .name = "--type", .list = true},
};

static const struct command commands[] = {
	{.words = {"status"},
	 .method = "status",
	 .show = show_status,
	 .rows = "subsystems",
	 .help = "the daemon, and in short what it exports and what is wrong"},
	{.words = {"path", "list"},
	 .method = "path.list",
	 .show = show_paths,
	 .help = "all paths: how they are used or why not, and what they carried",
	 .subsystem = true},
	{.words = {"path", "show"},
	 .method = "path.show",
	 .show = show_path,
	 .help = "all that is known of one path",
	 .args = {&path_arg},
	 .subsystem = true},
	{.words = {"path", "enable"},
	 .method = "path.enable",
	 .show = show_path_admin,
	 .help = "let I/O use the path",
	 .args = {&path_arg},
	 .subsystem = true},
	{.words = {"path", "standby"},
	 .method = "path.standby",
	 .show = show_path_admin,
	 .help = "let I/O use the path only while there is no other",
	 .args = {&path_arg},
	 .subsystem = true},
	{.words = {"path", "disable"},
	 .method = "path.disable",
	 .show = show_path_admin,
	 .help = "no new I/O on the path; what is on it finishes",
	 .args = {&path_arg},
	 .subsystem = true},
	{.words = {"path", "drain"},
	 .method = "path.drain",
	 .show = show_path_drain,
	 .help = "no new I/O on the path, and wait for what is on it",
	 .args = {&path_arg},
	 .subsystem = true},
	{.words = {"path", "weight"},
	 .method = "path.weight",
	 .show = show_path_weight,
	 .help = "its share of the I/O, where the policy has shares",
	 .args = {&path_arg, &weight_arg},
	 .subsystem = true},
	{.words = {"path", "reset"},
	 .method = "path.reset",
	 .show = show_path_reset,
	 .help = "connect its upstream anew, and forget that it was lost",
	 .args = {&path_arg},
	 .subsystem = true},
	{.words = {"namespace", "list"},
	 .method = "namespace.list",
	 .show = show_namespaces,
	 .help = "the namespaces that hosts see",
	 .subsystem = true},
	{.words = {"namespace", "show"},
	 .method = "namespace.show",
	 .show = show_namespace,
	 .help = "all that is known of one namespace, and its paths",
	 .args = {&namespace_arg},
	 .subsystem = true},
	{.words = {"policy", "set"},
	 .method = "policy.set",
	 .show = show_policy,
	 .help = "how a path is chosen, in a subsystem or --namespace",
	 .args = {&policy_arg},
	 .subsystem = true,
	 .namespace = true},
	{.words = {"controller", "list"},
	 .method = "controller.list",
	 .show = show_controllers,
	 .help = "the hosts that are connected",
	 .subsystem = true},
	{.words = {"log", "show"},
	 .method = "log.show",
	 .show = show_log,
	 .help = "what the daemon logs"},
	{.words = {"log", "level"},
	 .method = "log.level",
	 .show = show_log,
	 .help = "log this and all that is more severe",
	 .args = {&level_arg}},
	{.words = {"log", "debug"},
	 .method = "log.debug",
	 .show = show_log,
	 .help = "log more of some things, all or none",
	 .args = {&categories_arg}},
	{.words = {"io", "read"},
	 .method = "io.read",
	 .show = show_io_read,
	 .raw = raw_io_read,
	 .help = "blocks of a namespace, by --path PATH or as hosts read them",
	 .args = {&namespace_arg, &lba_arg},
	 .subsystem = true,
	 .takes = TAKES(BLOCKS) | TAKES(PATH)},
	{.words = {"io", "write"},
	 .method = "io.write",
	 .prepare = prepare_io_write,
	 .show = show_io_write,
	 .help = "blocks of a namespace, from standard input",
	 .args = {&namespace_arg, &lba_arg},
	 .subsystem = true,
	 .takes = TAKES(YES_WRITE)},
	{.words = {"events"},
	 .method = "events.subscribe",
	 .run = events_run,
	 .help = "what happens, as it happens; --last N: and the last N events before",
	 .takes = TAKES(LAST) | TAKES(TYPE)},
	{.words = {"top"},
	 .run = top_run,
	 .help = "what paths and namespaces do now, on a screen or with --batch as lines",
	 .takes = TAKES(DELAY) | TAKES(BATCH) | TAKES(FRAMES)},
	{.words = {"method", "list"},
	 .method = "method.list",
	 .show = show_methods,
	 .help = "what programs can ask the daemon for; with -o json their schemas"},
	{.words = {"controller", "show"},
	 .method = "controller.show",
	 .show = show_controller,
	 .help = "all that is known of one host's controller",
	 .args = {&controller_arg},
	 .subsystem = true},
	{.words = {"controller", "disconnect"},
	 .method = "controller.disconnect",
	 .show = show_controller_disconnect,
	 .help = "end it; its host may connect again",
	 .args = {&controller_arg},
	 .subsystem = true},
	{.words = {"upstream", "list"},
	 .method = "upstream.list",
	 .show = show_upstreams,
	 .help = "where namespaces come from, and how it is connected",
	 .subsystem = true},
	{.words = {"upstream", "show"},
	 .method = "upstream.show",
	 .show = show_upstream,
	 .help = "all that is known of one upstream, and its paths",
	 .args = {&upstream_arg},
	 .subsystem = true},
	{.words = {"upstream", "add"},
	 .method = "upstream.add",
	 .rows = "changes",
	 .show = show_config_edit,
	 .help = "connect one more",
	 .args = {&settings_arg},
	 .subsystem = true},
	{.words = {"upstream", "remove"},
	 .method = "upstream.remove",
	 .rows = "changes",
	 .show = show_config_edit,
	 .help = "move I/O off it, then disconnect and forget it",
	 .args = {&upstream_arg},
	 .subsystem = true},
	{.words = {"upstream", "connect"},
	 .method = "upstream.connect",
	 .show = show_upstream_connect,
	 .help = "connect it now, if it is not connected",
	 .args = {&upstream_arg},
	 .subsystem = true},
	{.words = {"upstream", "disconnect"},
	 .method = "upstream.disconnect",
	 .show = show_upstream_disconnect,
	 .help = "move I/O off it, then disconnect it for a while",
	 .args = {&upstream_arg},
	 .subsystem = true},
	{.words = {"host", "list"},
	 .method = "host.list",
	 .show = show_hosts,
	 .help = "the hosts that may connect",
	 .subsystem = true},
	{.words = {"host", "allow"},
	 .method = "host.allow",
	 .rows = "changes",
	 .show = show_config_edit,
	 .help = "let a host connect",
	 .args = {&host_arg},
	 .subsystem = true},
	{.words = {"host", "deny"},
	 .method = "host.deny",
	 .rows = "changes",
	 .show = show_config_edit,
	 .help = "let it no more, and disconnect it",
	 .args = {&host_arg},
	 .subsystem = true},
	{.words = {"listener", "list"},
	 .method = "listener.list",
	 .show = show_listeners,
	 .help = "where hosts connect"},
	{.words = {"listener", "add"},
	 .method = "listener.add",
	 .rows = "changes",
	 .show = show_config_edit,
	 .help = "listen at one more address",
	 .args = {&settings_arg}},
	{.words = {"listener", "remove"},
	 .method = "listener.remove",
	 .rows = "changes",
	 .show = show_config_edit,
	 .help = "listen no more; hosts that came in by it stay",
	 .args = {&listener_arg}},
	{.words = {"subsystem", "list"},
	 .method = "subsystem.list",
	 .show = show_subsystems,
	 .help = "what is exported, and how it is"},
	{.words = {"config", "check"},
	 .method = "config.check",
	 .show = show_config_check,
	 .help = "whether a configuration is right: FILE, or the daemon's own",
	 .args = {&file_arg}},
	{.words = {"config", "diff"},
	 .method = "config.diff",
	 .rows = "changes",
	 .show = show_config_diff,
	 .help = "what applying it would change of what runs",
	 .args = {&file_arg}},
	{.words = {"config", "apply"},
	 .method = "config.apply",
	 .rows = "changes",
	 .show = show_config_apply,
	 .help = "change what runs to what it says",
	 .args = {&file_arg}},
	{.words = {"config", "show"},
	 .method = "config.show",
	 .show = show_config,
	 .help = "the configuration that runs"},
	{.words = {"config", "save"},
	 .method = "config.save",
	 .show = show_config_save,
	 .help = "write that to the daemon's own file"},
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

const struct command *command_at(unsigned n)
{
	return n < sizeof(commands) / sizeof(commands[0]) - 1 ? &commands[n] : NULL;
}

bool command_begins(const struct command *c, char **words, int nr_words)
{
	return words_of(c) >= nr_words && same(c, words, nr_words);
}

const struct command *command_find(char **words, int nr_words, int *used)
{
	for (const struct command *c = commands; c->words[0]; c++) {
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

int command_args(const struct command *c)
{
	int n = 0;

	while (n < COMMAND_ARGS && c->args[n])
		n++;
	return n;
}

const struct argument *command_arg(const struct command *c, int n)
{
	int last = command_args(c) - 1;

	if (n > last && last >= 0 && c->args[last]->pairs)
		n = last;
	return n <= last ? c->args[n] : NULL;
}

int command_least_args(const struct command *c)
{
	int n = command_args(c);

	while (n && c->args[n - 1]->optional)
		n--;
	return n;
}

static void print_line(FILE *out, const struct command *c)
{
	char text[2 * COMMAND_NAME_MAX];

	command_name(c, text);
	for (int i = 0; i < command_args(c); i++) {
		strcat(text, " ");
		strcat(text, c->args[i]->name);
	}
	fprintf(out, "  %-28s  %s\n", text, c->help);
}

bool command_list(FILE *out, char **words, int nr_words)
{
	bool any = false;

	for (const struct command *c = commands; c->words[0]; c++) {
		int n = words_of(c);

		/* The words may be fewer, or go on with arguments. */
		if (!same(c, words, nr_words < n ? nr_words : n))
			continue;
		print_line(out, c);
		any = true;
	}
	return any;
}
