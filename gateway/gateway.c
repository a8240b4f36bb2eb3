/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gateway.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "gateway/admin.h"
#include "gateway/config_diff.h"
#include "gateway/event_of.h"
#include "gateway/http.h"
#include "gateway/listener.h"
#include "gateway/live.h"
#include "gateway/rpc.h"
#include "gateway/rpc_wait.h"
#include "gateway/state.h"
#include "gateway/watchdog.h"
#include "transport/log.h"
#include "transport/pool.h"
#include "transport/rdma_dev.h"

/*
 * Control's pool, for the admin commands of hosts. Every connection can have a full admin queue,
 * and segments for some of its commands; what is beyond is for those that need more.
 */
#define CONTROL_REQUESTS    64u
#define CONTROL_SEGMENTS    512u
#define CONNECTION_REQUESTS (CTRL_ADMIN_QUEUE_MAX - 1)
#define CONNECTION_SEGMENTS (CTRL_ADMIN_COMMANDS + CTRL_ADMIN_SEGMENTS)
/* Of listeners that are added later. What is never used costs addresses and no memory. */
#define SPARE_CONNECTIONS 1024u

/* ---- loops ---- */

/* The @n'th of the cores that this process may use, counted round; -1 when that is unknown. */
static int core(unsigned n)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) || !CPU_COUNT(&set))
		return -1;
	n %= (unsigned)CPU_COUNT(&set);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set) && n-- == 0)
			return cpu;
	return -1;
}

static struct loop *make_loop(unsigned id, int cpu, unsigned requests, unsigned segments)
{
	struct loop *loop = loop_new(id, cpu);

	if (loop && !pool_new(loop, requests, segments)) {
		loop_free(loop);
		loop = NULL;
	}
	if (!loop)
		log_err("cannot make loop %u: %s", id, strerror(errno));
	return loop;
}

static void drop_loop(struct loop *loop)
{
	if (!loop)
		return;
	pool_free(loop_pool(loop));
	loop_free(loop);
}

/* With no thread running any more: the last messages between the loops, and their answers. */
static void drain_loops(struct gateway *gw)
{
	for (int round = 0; round < 4; round++) {
		for (unsigned i = 0; i < gw->nr_workers; i++)
			loop_turn(gw->workers[i].loop, false);
		loop_turn(gw->control, false);
	}
}

static void make_control(struct gateway *gw)
{
	unsigned connections = config_connections(gw->cfg) + SPARE_CONNECTIONS;

	gw->max_connections = connections;
	gw->reserved_segments = connections * CONNECTION_SEGMENTS;
	gw->control = make_loop(0, -1, CONTROL_REQUESTS + connections * CONNECTION_REQUESTS,
				CONTROL_SEGMENTS + gw->reserved_segments);
}

static bool make_loops(struct gateway *gw)
{
	const struct gw_config *cfg = gw->cfg;

	make_control(gw);
	if (!gw->control)
		return false;
	for (unsigned i = 0; i < cfg->workers; i++) {
		gw->workers[i].loop = make_loop(i + 1, cfg->pin ? core(i) : -1, cfg->requests,
						(unsigned)(cfg->memory / SEG_SIZE));
		if (!gw->workers[i].loop)
			return false;
		gw->nr_workers++;
	}
	return true;
}

static void *worker_main(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void start_workers(struct gateway *gw)
{
	for (unsigned i = 0; i < gw->nr_workers; i++) {
		struct gw_worker *w = &gw->workers[i];
		char name[16];

		if (pthread_create(&w->thread, NULL, worker_main, w->loop)) {
			log_err("cannot start a thread");
			abort();
		}
		snprintf(name, sizeof(name), "worker-%u", (i + 1) % 1000);
		pthread_setname_np(w->thread, name);
		w->running = true;
	}
}

static void stop_workers(struct gateway *gw)
{
	for (unsigned i = 0; i < gw->nr_workers; i++) {
		if (!gw->workers[i].running)
			continue;
		loop_stop(gw->workers[i].loop);
		pthread_join(gw->workers[i].thread, NULL);
		gw->workers[i].running = false;
	}
}

/* ---- assembly ---- */

static bool make_subsystems(struct gateway *gw)
{
	for (unsigned i = 0; i < gw->cfg->nr_subsystems; i++) {
		char why[SUBSYSTEM_ERROR_MAX];
		struct subsystem *ss = subsystem_new(gw, &gw->cfg->subsystems[i], why);

		if (!ss) {
			log_err("%s", why);
			return false;
		}
		TAILQ_INSERT_TAIL(&gw->subsystems, ss, link);
	}
	subsystem_init_discovery(&gw->discovery, gw);
	return true;
}

static bool listen_all(struct gateway *gw)
{
	const struct gw_config *cfg = gw->cfg;

	warn_of_unused_sockets(cfg);
	rdma_start(gw->control);
	for (unsigned i = 0; i < cfg->nr_listeners; i++) {
		char why[LISTENER_ERROR_MAX];

		if (!listener_open(gw, &cfg->listeners[i], why)) {
			log_err("%s", why);
			return false;
		}
	}
	return true;
}

static void start_subsystems(struct gateway *gw)
{
	struct loop *workers[MP_MAX_WORKERS];
	struct subsystem *ss;

	for (unsigned i = 0; i < gw->nr_workers; i++)
		workers[i] = gw->workers[i].loop;
	gw->mp = mp_new(gw->control, workers, gw->nr_workers);
	TAILQ_FOREACH(ss, &gw->subsystems, link)
		subsystem_start(ss);
}

/* Namespaces may have waited for their NSIDs to be on disk. */
static void on_state_tried(void *arg)
{
	struct gateway *gw = arg;
	struct subsystem *ss;

	if (gw->stopping)
		return;
	TAILQ_FOREACH(ss, &gw->subsystems, link)
		subsystem_nsids_tried(ss);
}

static bool open_state(struct gateway *gw)
{
	gw->state = state_open(gw->control, gw->cfg->state_dir, on_state_tried, gw);
	return gw->state;
}

static bool open_rpc(struct gateway *gw)
{
	if (!gw->cfg->control_socket[0])
		return true;
	gw->rpc = rpc_open(gw, gw->cfg->control_socket);
	return gw->rpc;
}

static bool open_http(struct gateway *gw)
{
	if (!gw->cfg->http.len)
		return true;
	gw->http = http_open(gw, &gw->cfg->http);
	return gw->http;
}

struct gateway *gateway_new(const struct gw_config *cfg)
{
	struct gateway *gw = calloc(1, sizeof(*gw));

	if (!gw)
		abort();
	gw->cfg = cfg;
	gw->disc_genctr = 1;
	gw->events = events_new();
	TAILQ_INIT(&gw->subsystems);
	TAILQ_INIT(&gw->leaving);
	TAILQ_INIT(&gw->strangers);
	TAILQ_INIT(&gw->waits);
	/* All that can fail comes before anything that would have to be ended in order. */
	if (!make_loops(gw) || !open_state(gw) || !make_subsystems(gw) || !open_rpc(gw) ||
	    !open_http(gw) || !listen_all(gw)) {
		gateway_free(gw);
		return NULL;
	}
	admin_init(gw);
	gw->started = loop_now(gw->control);
	gw->started_at = time(NULL);
	events_emit(gw->events, EVENT_DAEMON_START, event_of_daemon());
	start_subsystems(gw);
	return gw;
}

void gateway_free(struct gateway *gw)
{
	struct subsystem *ss;

	http_close(gw->http);
	rpc_close(gw->rpc);
	rpc_waits_end(gw);
	live_free(gw->live);
	listeners_close(gw);
	admin_fini(gw);
	watchdog_free(gw->watchdog);
	drain_fini(&gw->drain);
	state_close(gw->state);
	rdma_stop();
	for (unsigned i = 0; i < gw->nr_workers; i++)
		drop_loop(gw->workers[i].loop);
	drop_loop(gw->control);
	if (gw->mp)
		mp_free(gw->mp);
	while ((ss = TAILQ_FIRST(&gw->subsystems))) {
		TAILQ_REMOVE(&gw->subsystems, ss, link);
		subsystem_free(ss);
	}
	while ((ss = TAILQ_FIRST(&gw->leaving))) {
		TAILQ_REMOVE(&gw->leaving, ss, link);
		subsystem_free(ss);
	}
	events_free(gw->events);
	listeners_free(gw);
	free(gw);
}

struct subsystem *gateway_subsystem(struct gateway *gw, const char *nqn)
{
	struct subsystem *ss;

	if (!strcmp(nqn, gw->discovery.nqn))
		return &gw->discovery;
	TAILQ_FOREACH(ss, &gw->subsystems, link)
		if (!strcmp(nqn, ss->nqn))
			return ss;
	return NULL;
}

/* ---- running and stopping ---- */

void gateway_run(struct gateway *gw)
{
	start_workers(gw);
	gw->watchdog = watchdog_start(gw);
	sd_notify(0, "READY=1");
	log_notice("ready: %u workers, %u listeners, %u subsystems", gw->nr_workers,
		   gw->nr_listeners, gw->cfg->nr_subsystems);
	loop_run(gw->control);
	stop_workers(gw);
	drain_loops(gw);
}

static void upstreams_gone(void *arg)
{
	loop_stop(((struct gateway *)arg)->control);
}

static void end_upstreams(struct gateway *gw)
{
	mp_shutdown(gw->mp, upstreams_gone, gw);
}

static bool hosts_left(const struct gateway *gw)
{
	const struct subsystem *ss;

	TAILQ_FOREACH(ss, &gw->subsystems, link)
		if (ss->nr_controllers)
			return true;
	TAILQ_FOREACH(ss, &gw->leaving, link)
		if (ss->nr_controllers)
			return true;
	return gw->discovery.nr_controllers || gw->nr_strangers;
}

void gateway_host_gone(struct gateway *gw)
{
	if (!gw->stopping || gw->ending || hosts_left(gw))
		return;
	gw->ending = true;
	drain_start(&gw->drain, gw, end_upstreams);
}

void gateway_stop(struct gateway *gw)
{
	struct host_queue *q;
	struct subsystem *ss;

	log_notice("stopping");
	sd_notify(0, "STOPPING=1");
	gw->stopping = true;
	events_emit(gw->events, EVENT_DAEMON_STOP, event_of_daemon());
	listeners_close(gw);
	discovery_changed(gw);
	TAILQ_FOREACH(ss, &gw->subsystems, link)
		subsystem_end_hosts(ss, "the gateway is stopping");
	subsystem_end_hosts(&gw->discovery, "the gateway is stopping");
	TAILQ_FOREACH(q, &gw->strangers, link)
		queue_close(q, "the gateway is stopping");
	gateway_host_gone(gw);
}
