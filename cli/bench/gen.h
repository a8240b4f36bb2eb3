/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One generator: a thread's I/O queues and the load on them. It owns a share of the namespace for
 * --verify, so that nothing is shared between threads while I/O runs.
 *
 * Control makes it, starts its thread, and talks to it by the gen_*() calls below, which post; it
 * answers by posts to control, the callbacks.
 */
#ifndef BENCH_GEN_H
#define BENCH_GEN_H

#include <pthread.h>

#include "cli/bench/hist.h"
#include "cli/bench/host.h"
#include "cli/bench/verify.h"

#define GEN_MAX_STATUSES 16

struct gen;

struct gen_status {
	uint16_t status; /* as nvme_cqe_status(); or 0xffff: the connection went */
	uint64_t count;
};

/* What came out; added up over generators. */
struct gen_result {
	struct hist latency;
	uint64_t ios, reads, writes, bytes;
	uint64_t errors, retries;
	uint64_t longest_pause; /* ns */
	uint64_t blocks_checked, verify_failures;
	uint64_t readback_ios; /* of the pass at the end, not in the numbers above */
	uint64_t elapsed;      /* ns of the load, without that pass */
	unsigned unfinished;   /* I/Os that never came back */
	unsigned nr_statuses;
	struct gen_status statuses[GEN_MAX_STATUSES];
};

/* What went on since the last one. */
struct gen_interval {
	uint64_t ios, bytes, errors;
	uint64_t longest_pause, longest_latency; /* ns; the pause may still last */
};

/* All run on control. */
struct gen_events {
	void (*connected)(struct gen *g);
	void (*interval)(struct gen *g, const struct gen_interval *ivl);
	void (*finished)(struct gen *g); /* g->result is complete, and the queues are closed */
	void (*failed)(struct gen *g, const char *why); /* finished() follows */
};

struct gen_queue {
	struct gen *gen;
	struct ini_qpair *qp;
	uint16_t qid;
	unsigned out;  /* I/Os begun and not finished, waiting for a retry or not */
	uint64_t last; /* when one finished last, or the queue stopped being empty */
};

/* One I/O at a time, on one queue. */
struct slot {
	TAILQ_ENTRY(slot) link; /* idle, or waiting for a retry */
	struct gen_queue *queue;
	struct request *req;
	uint64_t unit;
	uint64_t begun;	   /* first submission */
	uint64_t retry_at; /* loop time */
	uint32_t oldest;   /* verify_read_begin() */
	bool write;
};
TAILQ_HEAD(slot_list, slot);

enum gen_phase { GEN_CONNECT, GEN_READY, GEN_LOAD, GEN_DRAIN, GEN_READBACK, GEN_CLOSING };

struct gen {
	struct loop *loop, *control;
	pthread_t thread;
	const struct options *opt;
	const struct host *host;
	const struct gen_events *ev;
	void *ev_arg;
	unsigned index;

	enum gen_phase phase;
	bool failed;
	struct gen_queue *queues;
	unsigned nr_queues, nr_connected;
	struct slot *slots;
	unsigned nr_slots, out;
	struct slot_list idle, retry;
	struct loop_timer retry_timer, rate_timer;
	struct loop_hook close_hook;

	uint64_t first_unit, units; /* our share; a unit is one I/O's range */
	uint64_t cursor;	    /* next unit of sequential I/O and of the read-back */
	uint64_t rng;
	uint64_t rate_step; /* ns between I/Os; 0: no limit */
	uint64_t rate_next;
	uint64_t started;
	bool verifying;
	struct verify verify;

	struct gen_result result;
	struct gen_interval ivl;
};

/* Makes generator @index of opt->threads and starts its thread and its connecting. 0 or -errno. */
int gen_start(struct gen *g, unsigned index, struct loop *control, const struct host *host,
	      const struct options *opt, const struct gen_events *ev, void *ev_arg);
/* Begins the load; after connected(). */
void gen_go(struct gen *g);
/* Ends the load; finished() follows when all is back and, with verify, read back. */
void gen_stop(struct gen *g);
/* Does not wait for anything; finished() follows. */
void gen_abort(struct gen *g);
void gen_ask_interval(struct gen *g);
/* After finished(). */
void gen_free(struct gen *g);

void gen_result_merge(struct gen_result *into, const struct gen_result *from);

#endif
