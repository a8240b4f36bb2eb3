/* SPDX-License-Identifier: Apache-2.0 */
/* nvmegw, the admin's tool: options, and one question to the daemon. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/complain.h"
#include "cli/complete.h"
#include "cli/csv.h"
#include "cli/options.h"
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
	"  -o, --output table|json|csv|raw  for people or for scripts (table)\n"
	"  --subsystem NQN          only what belongs to this exported subsystem\n"
	"  --namespace NSID         only this namespace\n"
	"  --last N                 also the last N events\n"
	"  --type TYPE,...          only events of these types, like path or path.down\n"
	"  --blocks N               how many to read (1)\n"
	"  --path PATH              read over this path\n"
	"  --yes-write              overwriting is meant\n"
	"  -d, --delay SECONDS      between looks (1)\n"
	"  -b, --batch              print instead of drawing on the screen\n"
	"  -n, --count N            look so often, then end\n"
	"  -V, --version            print the version of this tool and exit\n"
	"  -h, --help               print this, or that of a command, and exit\n"
	"\n"
	"Exit status: 0 done, 1 refused by the daemon, 2 wrong usage, 3 no daemon reached.\n";

/* ---- options ---- */

static enum output parse_output(const char *word)
{
	static const char *const names[] = {[OUTPUT_TABLE] = "table",
					    [OUTPUT_JSON] = "json",
					    [OUTPUT_CSV] = "csv",
					    [OUTPUT_RAW] = "raw"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(word, names[i]))
			return i;
	bad_usage("--output %s: table, json, csv or raw is expected", word);
}

/* Options without a letter */
enum { LONG_SUBSYSTEM = 256, LONG_NAMESPACE, LONG_MORE /* and OPTION_* */ };

static const struct option longs[] = {
	{"socket", required_argument, NULL, 's'},
	{"output", required_argument, NULL, 'o'},
	{"subsystem", required_argument, NULL, LONG_SUBSYSTEM},
	{"namespace", required_argument, NULL, LONG_NAMESPACE},
	{"last", required_argument, NULL, LONG_MORE + OPTION_LAST},
	{"type", required_argument, NULL, LONG_MORE + OPTION_TYPE},
	{"blocks", required_argument, NULL, LONG_MORE + OPTION_BLOCKS},
	{"path", required_argument, NULL, LONG_MORE + OPTION_PATH},
	{"yes-write", no_argument, NULL, LONG_MORE + OPTION_YES_WRITE},
	{"delay", required_argument, NULL, 'd'},
	{"batch", no_argument, NULL, 'b'},
	{"count", required_argument, NULL, 'n'},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

static void parse_options(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt_long(argc, argv, "s:o:d:bn:Vh", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			o->socket = optarg;
			break;
		case 'o':
			o->output = parse_output(optarg);
			break;
		case LONG_SUBSYSTEM:
			o->subsystem = optarg;
			break;
		case LONG_NAMESPACE:
			o->namespace = optarg;
			break;
		case 'd':
			o->value[OPTION_DELAY] = optarg;
			break;
		case 'b':
			o->value[OPTION_BATCH] = "";
			break;
		case 'n':
			o->value[OPTION_FRAMES] = optarg;
			break;
		case 'V':
			printf("nvmegw %s\n", NVMEGW_VERSION);
			exit(0);
		case 'h':
			o->help = true;
			break;
		case '?':
			bad_usage("\"nvmegw --help\" lists the options");
		default:
			o->value[c - LONG_MORE] = optarg ? optarg : "";
			break;
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

static void set_list(json_t *params, const char *name, const char *value)
{
	json_t *list = json_array();
	const char *comma;

	do {
		comma = strchrnul(value, ',');
		json_array_append_new(list, json_stringn(value, (size_t)(comma - value)));
		value = comma + 1;
	} while (*comma);
	json_object_set_new(params, name, list);
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
	else if (arg->list)
		set_list(params, arg->param, value);
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
	if (o->output == OUTPUT_RAW && (!c->raw || isatty(STDOUT_FILENO)))
		bad_usage(c->raw ? "%s: raw bytes are not for a terminal" : "%s has no raw output",
			  name);
	for (unsigned i = 0; i < OPTION_COUNT; i++)
		if (o->value[i] && !(c->takes & 1u << i))
			bad_usage("%s does not take %s", name, option_args[i].name);
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
	for (unsigned i = 0; i < OPTION_COUNT; i++)
		if (o->value[i] && option_args[i].param)
			set_argument(params, &option_args[i], o->value[i]);
	if (c->prepare)
		c->prepare(o, params);
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

static int print_csv(struct client *c, const struct command *cmd, const json_t *result)
{
	struct csv csv;
	int status = csv_begin(&csv, c, cmd->method, cmd->rows);

	if (status)
		return status;
	csv_print(&csv, cmd->rows ? json_object_get(result, cmd->rows) : result);
	csv_end(&csv);
	return 0;
}

static int print(const struct options *o, struct client *c, const struct command *cmd,
		 const json_t *result)
{
	switch (o->output) {
	case OUTPUT_CSV:
		return print_csv(c, cmd, result);
	case OUTPUT_JSON:
		print_json(result);
		return 0;
	case OUTPUT_RAW:
		cmd->raw(result);
		return 0;
	default:
		cmd->show(result);
		return 0;
	}
}

/* Takes over @params. */
static int ask(const struct options *o, const struct command *cmd, json_t *params)
{
	struct client *c = client_open(o->socket);
	json_t *result = NULL;
	int status;

	if (!c) {
		json_decref(params);
		return EXIT_UNREACHABLE;
	}
	status = client_ask(c, cmd->method, params, &result);
	if (!status)
		status = print(o, c, cmd, result);
	json_decref(result);
	client_close(c);
	return status ? status : finish_output();
}

static int run(const struct options *o)
{
	const struct command *c;
	json_t *params;
	int used;

	c = command_find(o->words, o->nr_words, &used);
	if (!c)
		return no_command(o);
	params = params_of(c, o, used);
	return c->run ? c->run(o, params) : ask(o, c, params);
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
