/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon as a whole: loops, listeners, exported subsystems. Control loop only, but for what
 * says otherwise.
 */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <time.h>

#include "gateway/config.h"
#include "gateway/drain.h"
#include "gateway/subsystem.h"
#include "transport/pool.h"
#include "transport/version.h"

struct events;
struct host_queue;
struct http;
struct live;
struct rpc;
struct rpc_wait;
struct state;
struct watchdog;

/* Hosts that came in by it point to it: it stays after its end, for the next one at its address. */
struct gw_listener {
	struct gateway *gw;
	struct listener_cfg cfg;
	struct tgt_listener *tgt; /* NULL once it has stopped */
	uint16_t portid;	  /* in the discovery log, 1.. */
	bool removed;		  /* not configured any more */
};

struct gw_worker {
	struct loop *loop;
	pthread_t thread;
	bool running;
	unsigned queues; /* host I/O queues on it */
};

struct gateway {
	const struct gw_config *cfg;
	struct loop *control;
	struct gw_worker workers[MP_MAX_WORKERS];
	unsigned nr_workers;
	struct mp *mp;
	struct state *state; /* NSIDs that survive restarts */
	struct events *events;
	unsigned admin_ios;		/* reads and writes of admins that are out */
	struct rpc *rpc;		/* control socket; NULL: none */
	TAILQ_HEAD(, rpc_wait) waits;	/* its requests that are answered later, see rpc_wait.h */
	struct http *http;		/* status page and metrics; NULL: none */
	struct gw_listener **listeners; /* in the order of their port IDs */
	unsigned nr_listeners;
	unsigned max_connections; /* of all listeners together, that there is memory for */
	TAILQ_HEAD(, subsystem) subsystems; /* exported ones, in configured order */
	TAILQ_HEAD(, subsystem) leaving;    /* not exported any more, but not freed yet */
	struct subsystem discovery;	    /* the well-known one; not in the list */
	uint64_t disc_genctr;		    /* of the discovery log */
	/* connections without a successful Connect */
	TAILQ_HEAD(, host_queue) strangers;
	unsigned nr_strangers;
	/* admin commands that wait for data buffers; queues with some that wait for their host */
	TAILQ_HEAD(, request) starved;
	TAILQ_HEAD(, host_queue) line;
	struct pool_waiter buffers;
	struct loop_hook retry_soon;
	struct loop_timer retry_later;
	bool retrying;
	unsigned reserved_segments; /* of control's pool for those listeners, see admin.c */
	struct watchdog *watchdog;  /* NULL: nobody asks for it */
	uint64_t started;	    /* loop time */
	time_t started_at;
	bool stopping, ending; /* hosts are leaving; they have left */
	struct drain drain;
	struct live *live; /* changes while it runs; NULL: not made from a file */
};

/**
 * gateway_new() - assemble everything that @cfg describes; no thread runs yet
 *
 * @cfg must outlive it. Returns NULL after logging why.
 */
struct gateway *gateway_new(const struct gw_config *cfg);
/* Starts the workers, then runs control on this thread until gateway_stop() is through. */
void gateway_run(struct gateway *gw);
/*
 * Stops listening, ends all controllers, waits for what is out to upstreams, then ends these, then
 * gateway_run().
 */
void gateway_stop(struct gateway *gw);
void gateway_free(struct gateway *gw);

/* A host controller or a connection without one has gone: goes on with gateway_stop(). */
void gateway_host_gone(struct gateway *gw);
/* The subsystem that a host names in Connect, or NULL. */
struct subsystem *gateway_subsystem(struct gateway *gw, const char *nqn);

#endif
