/* SPDX-License-Identifier: Apache-2.0 */
/* nvmegw, the admin's tool: options, and one question to the daemon. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/complain.h"
#include "cli/complete.h"
#include "cli/pairs.h"
#include "cli/read_file.h"
#include "transport/version.h"

#define DEFAULT_SOCKET "/run/nvmegw/control.sock"

static const char usage[] = "usage: nvmegw [options] COMMAND\n"
			    "\n"
			    "Looks at a running nvmegwd and controls it.\n"
			    "\n"
			    "Commands:\n";

static const char more_usage[] =
	"\n"
	"PATH is UPSTREAM/NSID, as \"nvmegw path list\" shows it. POLICY is failover, round-robin,\n"
	"queue-depth, service-time or numa. NSID is the one that hosts see. KEY=VALUE are keys of\n"
	"nvmegw.json(5). LISTENER is TRANSPORT/ADDRESS:PORT, as \"nvmegw listener list\" shows it.\n"
	"\n"
	"Options, before or after the command:\n"
	"  -s, --socket FILE        the daemon's control socket (" DEFAULT_SOCKET ")\n"
	"  -o, --output table|json  for people or for scripts (table)\n"
	"  --subsystem NQN          only what belongs to this exported subsystem\n"
	"  --namespace NSID         only this namespace\n"
	"  -V, --version            print the version of this tool and exit\n"
	"  -h, --help               print this, or that of a command, and exit\n"
	"\n"
	"Exit status: 0 done, 1 refused by the daemon, 2 wrong usage, 3 no daemon reached.\n";

struct options {
	const char *socket, *subsystem, *namespace;
	bool json, help;
	char **words; /* what is no option */
	int nr_words;
};

/* ---- options ---- */

static bool is_json(const char *word)
{
	if (strcmp(word, "json") && strcmp(word, "table"))
		bad_usage("--output %s: table or json is expected", word);
	return !strcmp(word, "json");
}

static const struct option longs[] = {
	{"socket", required_argument, NULL, 's'},
	{"output", required_argument, NULL, 'o'},
	{"subsystem", required_argument, NULL, 'S'},
	{"namespace", required_argument, NULL, 'N'},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

static void parse_options(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt_long(argc, argv, "s:o:Vh", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			o->socket = optarg;
			break;
		case 'o':
			o->json = is_json(optarg);
			break;
		case 'S':
			o->subsystem = optarg;
			break;
		case 'N':
			o->namespace = optarg;
			break;
		case 'V':
			printf("nvmegw %s\n", NVMEGW_VERSION);
			exit(0);
		case 'h':
			o->help = true;
			break;
		default:
			bad_usage("\"nvmegw --help\" lists the options");
		}
	}
	o->words = argv + optind;
	o->nr_words = argc - optind;
}

/* ---- commands ---- */

static void print_help(const struct options *o)
{
	fputs(usage, stdout);
	if (!command_list(stdout, o->words, o->nr_words))
		command_list(stdout, NULL, 0);
	fputs(more_usage, stdout);
}

static int no_command(const struct options *o)
{
	if (!o->nr_words) {
		complain("a command is missing, one of these:");
		command_list(stderr, NULL, 0);
		return EXIT_USAGE;
	}
	complain("%s%s%s is no command, but these are:", o->words[0], o->nr_words > 1 ? " " : "",
		 o->nr_words > 1 ? o->words[1] : "");
	if (!command_list(stderr, o->words, 1))
		command_list(stderr, NULL, 0);
	return EXIT_USAGE;
}

static void set_text(json_t *params, const char *name, const char *value)
{
	json_t *s = json_string(value);

	if (!s)
		bad_usage("%s: the %s is not in UTF-8", value, name);
	json_object_set_new(params, name, s);
}

/* The range is the daemon's to check. */
static void set_number(json_t *params, const char *name, const char *value, const char *hint)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(value, &end, 10);
	if (errno || end == value || *end)
		bad_usage("%s: that is no %s; %s", value, name, hint);
	json_object_set_new(params, name, json_integer(n));
}

/* Ends the program when it cannot be read. */
static void set_file(json_t *params, const struct argument *arg, const char *name)
{
	char *text = read_text_file(name);

	if (!text)
		exit(EXIT_USAGE);
	set_text(params, arg->param, text);
	set_text(params, "file", name);
	free(text);
}

static void set_argument(json_t *params, const struct argument *arg, const char *value)
{
	if (arg->file)
		set_file(params, arg, value);
	else if (arg->number)
		set_number(params, arg->param, value, arg->hint);
	else
		set_text(params, arg->param, value);
}

static void set_pairs(json_t *params, const struct argument *arg, char **words, int n)
{
	json_t *o = json_object();

	for (int i = 0; i < n; i++)
		pair_set(o, words[i]);
	json_object_set_new(params, arg->param, o);
}

static void check_usage(const struct command *c, const struct options *o, int used)
{
	int given = o->nr_words - used;
	char name[COMMAND_NAME_MAX];

	command_name(c, name);
	if (given < command_least_args(c))
		bad_usage("%s: %s %s", name, c->args[given]->question, c->args[given]->hint);
	if (given && !command_arg(c, given - 1))
		bad_usage("%s: \"%s\" is one word too many", name,
			  o->words[used + command_args(c)]);
	if (o->subsystem && !c->subsystem)
		bad_usage("%s does not take --subsystem", name);
	if (o->namespace && !c->namespace)
		bad_usage("%s does not take --namespace", name);
}

/* The command's parameters; ends the program when the words do not fit it. */
static json_t *params_of(const struct command *c, const struct options *o, int used)
{
	json_t *params = json_object();

	check_usage(c, o, used);
	for (int i = 0; i < command_args(c) && used + i < o->nr_words; i++) {
		if (c->args[i]->pairs)
			set_pairs(params, c->args[i], o->words + used + i, o->nr_words - used - i);
		else
			set_argument(params, c->args[i], o->words[used + i]);
	}
	if (o->subsystem)
		set_text(params, "subsystem", o->subsystem);
	if (o->namespace)
		set_argument(params, &namespace_arg, o->namespace);
	return params;
}

/* What peers said may be in it: as plain ASCII it does nothing to a terminal. */
static void print_json(const json_t *result)
{
	json_dumpf(result, stdout,
		   JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15) | JSON_ENCODE_ANY);
	putchar('\n');
}

static int finish_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	perror("nvmegw: cannot write the result");
	return EXIT_REFUSED;
}

static int run(const struct options *o)
{
	const struct command *c;
	json_t *result = NULL;
	int status, used;

	c = command_find(o->words, o->nr_words, &used);
	if (!c)
		return no_command(o);
	status = client_call(o->socket, c->method, params_of(c, o, used), &result);
	if (status)
		return status;
	if (o->json)
		print_json(result);
	else
		c->show(result);
	json_decref(result);
	return finish_output();
}

int main(int argc, char **argv)
{
	struct options o = {.socket = DEFAULT_SOCKET};

	/* For the completion of shells, hence no option like others. */
	if (argc > 1 && !strcmp(argv[1], "--complete")) {
		complete(argc - 2, argv + 2, longs, DEFAULT_SOCKET);
		return finish_output();
	}
	parse_options(argc, argv, &o);
	if (!o.help)
		return run(&o);
	print_help(&o);
	return finish_output();
}
