/* SPDX-License-Identifier: Apache-2.0 */
/* nvmegwd: options, signals, and the run of the gateway. */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gateway/gateway.h"
#include "gateway/live.h"
#include "transport/log.h"

static const char usage[] =
	"usage: nvmegwd -c FILE [-t] [-d CATEGORY,...]\n"
	"\n"
	"NVMe over Fabrics gateway: connects to upstream controllers over every path and exports\n"
	"each namespace once.\n"
	"\n"
	"  -c, --config FILE          configuration; see nvmegw.json(5)\n"
	"  -t, --test                 check the configuration and exit\n"
	"  -d, --debug CATEGORY,...   log more of tcp, rdma, fabrics, upstream, path, ana, io,\n"
	"                             config or rpc; or all\n"
	"  -V, --version              print the version and exit\n"
	"  -h, --help                 print this and exit\n";

struct options {
	const char *config;
	bool test;
};

static void debug(const char *names)
{
	const char *unknown;
	unsigned categories;

	if (!debug_parse(names, &categories, &unknown)) {
		fprintf(stderr, "nvmegwd: --debug: there is no category %s; see nvmegwd --help\n",
			unknown);
		exit(2);
	}
	log_set_debug(categories);
}

static void parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'}, {"test", no_argument, NULL, 't'},
		{"debug", required_argument, NULL, 'd'},  {"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},	  {0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:td:Vh", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->config = optarg;
			break;
		case 't':
			o->test = true;
			break;
		case 'd':
			debug(optarg);
			break;
		case 'V':
			printf("nvmegwd %s\n", NVMEGW_VERSION);
			exit(0);
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			fputs("try nvmegwd --help\n", stderr);
			exit(2);
		}
	}
	if (!o->config || optind < argc) {
		fputs(usage, stderr);
		exit(2);
	}
}

/* A connection is a file descriptor. */
static void raise_nofile(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return;
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r))
		log_warn("cannot raise the limit of open files");
}

/* The first one ends everything in order, the next one at once. */
static void on_stop_signal(void *arg)
{
	struct gateway *gw = arg;

	if (gw->stopping)
		_exit(1);
	gateway_stop(gw);
}

static void tell_config(const struct gw_config *cfg)
{
	log_debug(CONFIG, "%u workers with %llu bytes and %u requests each", cfg->workers,
		  (unsigned long long)cfg->memory, cfg->requests);
	for (unsigned i = 0; i < cfg->nr_subsystems; i++) {
		const struct subsys_cfg *ss = &cfg->subsystems[i];

		log_debug(CONFIG, "subsystem %s: %u upstreams, policy %s", ss->mp.nqn,
			  ss->nr_upstreams, mp_policy_name(ss->mp.policy));
		for (unsigned n = 0; n < ss->nr_upstreams; n++)
			log_debug(CONFIG, "upstream %s: %s, NQN %s", ss->upstreams[n].mp.name,
				  ss->upstreams[n].mp.transport->name, ss->upstreams[n].mp.nqn);
	}
}

/* What comes before there is somebody to handle it waits: as soon as it listens the daemon may be
 * taken for one that has started. */
static void hold_signals(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(how, &set, NULL);
}

static int run(const struct gw_config *cfg, const struct options *o)
{
	struct gateway *gw;

	hold_signals(SIG_BLOCK);
	gw = gateway_new(cfg);
	if (!gw)
		return 1;
	gw->live = live_new(gw, o->config, cfg);
	if (loop_signal(gw->control, SIGTERM, on_stop_signal, gw) ||
	    loop_signal(gw->control, SIGINT, on_stop_signal, gw) || !gw->live ||
	    loop_signal(gw->control, SIGHUP, live_reload, gw->live)) {
		log_err("cannot handle signals");
		return 1;
	}
	hold_signals(SIG_UNBLOCK);
	gateway_run(gw);
	gateway_free(gw);
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = {0};
	struct gw_config *cfg;
	int status;

	parse_options(argc, argv, &o);
	cfg = config_load(o.config, stderr);
	if (!cfg)
		return 1;
	if (o.test) {
		printf("%s: ok\n", o.config);
		config_free(cfg);
		return 0;
	}
	log_set_level(cfg->log_level);
	tell_config(cfg);
	signal(SIGPIPE, SIG_IGN);
	raise_nofile();
	status = run(cfg, &o);
	config_free(cfg);
	return status;
}
