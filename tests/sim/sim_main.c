/* SPDX-License-Identifier: Apache-2.0 */
/* Runs seeds: each a world of its own, from start to shutdown, checked to the end. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/sim.h"
#include "transport/pool.h"

#define MAX_WORKERS 3
#define REQUESTS    256
#define SEGMENTS    256

static const char usage[] =
	"usage: nvmegw-sim [OPTION]...\n"
	"\n"
	"The multipath engine under everything that can go wrong, on virtual time.\n"
	"\n"
	"  -n, --seeds N         run N seeds (default 1000)\n"
	"  -f, --first SEED      from this one on (default 1)\n"
	"  -s, --seed SEED       run this one and tell what happens\n"
	"  -r, --write-retry W   fenced, quiesce or immediate; default: the safe ones, by seed\n"
	"  -o, --ops N           commands of hosts in a run (default 1500)\n"
	"  -j, --jobs N          processes (default: one per core)\n"
	"  -q, --quiet           with --seed: only the verdict\n";

struct sim_options sim_opt = {.write_retry = -1, .ops = 1500};
static uint64_t current_seed;
static struct loop *control, *workers[MAX_WORKERS];
static struct pool *pools[MAX_WORKERS + 1];
static unsigned nr_workers;
static struct mp *mp;
static bool is_down;

/* Sums over all seeds of this process. */
static struct {
	uint64_t commands, late, seeds;
} total;

void sim_fail(const char *fmt, ...)
{
	va_list ap;

	printf("FAILED seed %llu at %.6f s: ", (unsigned long long)current_seed,
	       (double)(sim_now - NSEC_PER_SEC) / 1e9);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(3);
}

/* ---- one world ---- */

static uint32_t assign_nsid(void *arg, const struct ns_ident *id, struct mp_refusal *why)
{
	if (id->uuid[0] <= SIM_NAMESPACES)
		return id->uuid[0];
	why->reason = "not exported";
	return 0;
}

static void on_head(void *arg, struct head *h)
{
}

static const struct mp_events events = {
	.assign_nsid = assign_nsid,
	.head_added = on_head,
	.head_changed = on_head,
	.head_ana_changed = on_head,
	.head_removed = on_head,
};

static void make_loops(void)
{
	control = loop_new(0, -1);
	pools[0] = pool_new(control, REQUESTS, SEGMENTS);
	nr_workers = (unsigned)sim_between(1, MAX_WORKERS);
	for (unsigned i = 0; i < nr_workers; i++) {
		workers[i] = loop_new(i + 1, -1);
		pools[i + 1] = pool_new(workers[i], REQUESTS, SEGMENTS);
	}
}

static void add_upstreams(void)
{
	struct upstream_config cfg = {
		.transport = &ini_sim,
		.nqn = "nqn.2014-08.org.example:array",
		.hostnqn = "nqn.2014-08.org.example:gateway",
		.queue_size = (unsigned)sim_between(4, 64),
		.keep_alive_tmo = sim_kato,
		.reconnect_delay = sim_between(100, 1000) * NSEC_PER_MSEC,
		.ctrl_loss_tmo = -1,
		.fast_io_fail_tmo = -1,
		.io_timeout = sim_between(1500, 4000) * NSEC_PER_MSEC,
		.connect_timeout = NSEC_PER_SEC,
		.enabled = true,
	};

	for (unsigned i = 0; i < sim_nr_ctrls; i++) {
		char port[12];

		snprintf(cfg.name, sizeof(cfg.name), "up%u", i + 1);
		snprintf(port, sizeof(port), "%u", i + 1);
		addr_parse(&cfg.addr, "127.0.0.1", port);
		cfg.weight = (unsigned)sim_between(1, 3);
		cfg.standby = sim_chance(10);
		if (!upstream_add(sim_ss, &cfg))
			abort();
	}
}

static void make_engine(void)
{
	struct mp_subsys_config cfg = {
		.nqn = "nqn.2014-08.org.example:gw",
		.policy = (enum mp_policy)sim_between(0, MP_POLICY_COUNT - 1),
		.no_path_timeout =
			sim_chance(80) ? 15 * NSEC_PER_SEC : sim_between(0, 3000) * NSEC_PER_MSEC,
		.max_held = (unsigned)sim_between(2, 64),
		.max_held_bytes = 1 << 20,
		.persistent_loss = sim_chance(20) ? 2 * (int64_t)NSEC_PER_SEC : -1,
		.delayed_removal = sim_chance(30) ? 2 * NSEC_PER_SEC : 0,
		.slow_factor = 8,
		.slow_latency = 5 * NSEC_PER_MSEC,
		.flap_hold = 2 * NSEC_PER_SEC,
	};

	cfg.write_retry = sim_opt.write_retry >= 0 ? (enum mp_write_retry)sim_opt.write_retry
			  : sim_chance(20)	   ? MP_WRITE_RETRY_QUIESCE
						   : MP_WRITE_RETRY_FENCED;
	mp = mp_new(control, workers, nr_workers);
	sim_ss = mp_subsys_add(mp, &cfg, &events, NULL);
	sim_trace("policy %s, write_retry %s, %u workers, %u controllers",
		  mp_policy_name(cfg.policy), mp_write_retry_name(cfg.write_retry), nr_workers,
		  sim_nr_ctrls);
	add_upstreams();
}

static void make_targets(void)
{
	bool offers_reset = sim_chance(30), limits = sim_chance(20);

	sim_target_init();
	sim_nr_ctrls = (unsigned)sim_between(2, SIM_CTRLS);
	sim_kato = sim_between(300, 1500) * NSEC_PER_MSEC;
	sim_cqt = (uint16_t)sim_between(0, 300);
	sim_tbkas = sim_chance(30);
	sim_no_ana = sim_chance(20);
	for (unsigned i = 0; i < sim_nr_ctrls; i++) {
		sim_ctrls[i].offers_reset = offers_reset;
		sim_ctrls[i].limit_changes = limits;
		sim_ctrls[i].zeroes_limit = limits ? (uint8_t)sim_between(0, 2) : 0;
	}
}

static void on_down(void *arg)
{
	is_down = true;
}

static void shut_down(void *arg)
{
	mp_shutdown(mp, on_down, NULL);
}

static void run_until(uint64_t when)
{
	while (sim_step(when))
		;
}

/* Everything is mended: what hosts wait for has to come, and what is late too. */
static void run_out(uint64_t mended)
{
	uint64_t limit = mended + 120 * NSEC_PER_SEC;

	while (sim_hosts_out() || sim_late_pending() || sim_now < mended) {
		if (sim_now >= limit)
			sim_fail("%u commands are never answered", sim_hosts_out());
		run_until(sim_now + NSEC_PER_SEC);
	}
}

static void check_pools(void)
{
	for (unsigned i = 0; i <= nr_workers; i++)
		if (pool_free_requests(pools[i]) != REQUESTS ||
		    pool_free_segments(pools[i]) != SEGMENTS)
			sim_fail("loop %u: %u requests and %u segments were not given back", i,
				 REQUESTS - pool_free_requests(pools[i]),
				 SEGMENTS - pool_free_segments(pools[i]));
}

static void close_world(void)
{
	is_down = false;
	sim_at(sim_now, control, shut_down, NULL);
	run_until(sim_now + 10 * NSEC_PER_SEC);
	if (!is_down)
		sim_fail("the engine does not shut down");
	check_pools();
	mp_free(mp);
	sim_events_free();
	for (unsigned i = 0; i <= nr_workers; i++)
		pool_free(pools[i]);
	for (unsigned i = 0; i < nr_workers; i++)
		loop_free(workers[i]);
	loop_free(control);
}

static void count_seed(void)
{
	total.seeds++;
	total.commands += sim_hosts_done();
	for (unsigned i = 0; i < sim_nr_ctrls; i++)
		total.late += sim_ctrls[i].nr_late;
}

static void run_seed(uint64_t seed)
{
	uint64_t faults_end;

	current_seed = seed;
	sim_seed(seed);
	sim_check_init();
	make_targets();
	make_loops();
	make_engine();
	run_until(sim_now + sim_between(0, 300) * NSEC_PER_MSEC);
	faults_end = sim_now + sim_between(5, 25) * NSEC_PER_SEC;
	sim_faults_start(faults_end);
	sim_hosts_start(nr_workers, workers, faults_end - sim_now);
	run_out(faults_end + 8 * NSEC_PER_SEC);
	sim_check_media();
	count_seed();
	close_world();
	sim_target_free();
	sim_check_free();
}

/* ---- many ---- */

struct jobs {
	uint64_t first, seeds;
	unsigned n;
};

static void report(int fd)
{
	if (write(fd, &total, sizeof(total)) != sizeof(total))
		_exit(1);
}

static pid_t start_job(const struct jobs *j, unsigned job, int fd)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	for (uint64_t i = job; i < j->seeds; i += j->n)
		run_seed(j->first + i);
	report(fd);
	exit(0);
}

static int run_jobs(const struct jobs *j)
{
	int fds[2], bad = 0, status;

	if (pipe(fds))
		abort();
	for (unsigned i = 0; i < j->n; i++)
		if (start_job(j, i, fds[1]) < 0)
			abort();
	for (unsigned i = 0; i < j->n; i++) {
		typeof(total) part;

		if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status)) {
			bad++;
			if (!WIFEXITED(status))
				printf("a process died of signal %d\n", WTERMSIG(status));
			continue;
		}
		if (read(fds[0], &part, sizeof(part)) != sizeof(part))
			abort();
		total.seeds += part.seeds;
		total.commands += part.commands;
		total.late += part.late;
	}
	printf("%llu seeds, %llu commands, %llu executed late: %s\n",
	       (unsigned long long)total.seeds, (unsigned long long)total.commands,
	       (unsigned long long)total.late, bad ? "FAILED" : "all is well");
	return bad ? 1 : 0;
}

static int parse_retry(const char *name)
{
	for (int r = MP_WRITE_RETRY_FENCED; r <= MP_WRITE_RETRY_QUIESCE; r++)
		if (!strcmp(name, mp_write_retry_name((enum mp_write_retry)r)))
			return r;
	fprintf(stderr, "nvmegw-sim: no write-retry %s\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"seeds", required_argument, NULL, 'n'},
		{"first", required_argument, NULL, 'f'},
		{"seed", required_argument, NULL, 's'},
		{"write-retry", required_argument, NULL, 'r'},
		{"ops", required_argument, NULL, 'o'},
		{"jobs", required_argument, NULL, 'j'},
		{"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct jobs j = {.first = 1, .seeds = 1000, .n = (unsigned)sysconf(_SC_NPROCESSORS_ONLN)};
	bool one = false, quiet = false;
	int c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt_long(argc, argv, "n:f:s:r:o:j:qh", longs, NULL)) != -1) {
		switch (c) {
		case 'n':
			j.seeds = strtoull(optarg, NULL, 0);
			break;
		case 's':
			one = true;
			/* fall through */
		case 'f':
			j.first = strtoull(optarg, NULL, 0);
			break;
		case 'r':
			sim_opt.write_retry = parse_retry(optarg);
			break;
		case 'o':
			sim_opt.ops = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'j':
			j.n = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'q':
			quiet = true;
			break;
		default:
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
	}
	if (!one)
		return run_jobs(&j);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	sim_opt.trace = !quiet;
	run_seed(j.first);
	printf("seed %llu: %llu commands, %llu executed late: all is well\n",
	       (unsigned long long)j.first, (unsigned long long)total.commands,
	       (unsigned long long)total.late);
	return 0;
}
