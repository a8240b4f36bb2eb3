/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of the multipath engine share: the whole engine with its loops, controllers in memory
 * (fake_upstream.h) and hosts' commands. Time is virtual (tests/sim/sim_loop.c): nothing takes real
 * time and every run is the same, so waits may be long. Control and the workers have a loop each;
 * sim_stall() holds one up while the others go on.
 */
#ifndef TESTS_MP_WORLD_H
#define TESTS_MP_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "multipath/control.h"
#include "tests/sim/sim.h"
#include "tests/unit/fake_upstream.h"

#define WORLD_WORKERS 2

extern struct world {
	unsigned nr_workers;
	struct loop *control, *worker[WORLD_WORKERS];
	struct pool *pool[WORLD_WORKERS]; /* of the workers */
	struct mp *mp;
	struct mp_subsys *ss;
	struct mp_refusal refusal; /* what the gateway says to new namespaces */
	/* what the gateway has been told */
	unsigned added, removed, changed, ana_changed;
	/* hosts' commands */
	unsigned submitted, done;
	uint16_t last_status; /* of the last that was answered */
	bool leaving;	      /* hosts take their time with what was sent of reads */
} world;

/* What tests change of, and give to world_start(). */
struct mp_subsys_config world_config(void);
/*
 * All controllers show one namespace as NSID 1, which hosts see as NSID 5: the first byte of its
 * UUID (or, without one, of its NGUID).
 */
void world_start(unsigned workers, const struct mp_subsys_config *cfg);
/* One worker, or two, and the configuration as it is. */
int world_setup(void **state);
int world_setup_two(void **state);
/* Removes the subsystem, upstreams and all; the one there is then has nothing but its NQN. */
void world_replace_subsys(void);
/* Everything has been given back, and every command answered once. */
int world_teardown(void **state);

/* Adds the controller of that port; fields of @base that are 0 get what suits most tests. */
struct upstream *add_upstream_with(unsigned port, const struct upstream_config *base);
struct upstream *add_upstream(unsigned port);
/* The same, and waits until its paths take I/O. */
struct upstream *live_upstream_with(unsigned port, const struct upstream_config *base);
struct upstream *live_upstream(unsigned port);
struct path *only_path(const struct upstream *up);
/* NSID 5 */
struct head *only_head(void);
struct head_totals totals(void);
/* Commands that its I/O qpair on that worker has been given and not answered. */
unsigned out_on(const struct upstream *up, unsigned worker);

/* ---- time ---- */

/* Lets @ns pass. */
void pass(uint64_t ns);
/* Lets messages arrive and commands end that take no time: 20 ms. */
void settle(void);

#define WORLD_PATIENCE (300 * NSEC_PER_SEC)
#define WAIT_FOR(cond)                                                    \
	do {                                                              \
		uint64_t limit_ = sim_now + WORLD_PATIENCE;               \
		while (!(cond))                                           \
			if (!sim_step(limit_))                            \
				fail_msg("waited in vain for %s", #cond); \
	} while (0)

/* ---- hosts' commands ---- */

struct answer {
	unsigned times;	  /* 0: not yet */
	unsigned fetched; /* times that its data was asked for */
	uint16_t status;
	struct request *req; /* until then */
};

/* To NSID 5 on worker 0; each at another place, 8 blocks. */
struct answer *submit(uint8_t opcode);
struct answer *submit_at(unsigned worker, uint8_t opcode, uint64_t slba, unsigned blocks);
struct answer *submit_to(uint32_t nsid, uint8_t opcode);
/* A write whose data stays with the host until it is asked for. */
struct answer *submit_unfetched(unsigned worker, uint64_t slba, unsigned blocks);
/* With its flags and command words as in @sqe; @len bytes of data, that of @data if any. */
struct answer *submit_sqe(unsigned worker, const struct nvme_sqe *sqe, const void *data,
			  uint32_t len);
/* Submits and waits for the answer, which is to be @want. */
void run(uint8_t opcode, uint16_t want);
void run_at(unsigned worker, uint8_t opcode, uint64_t slba, unsigned blocks, uint16_t want);
/* The host's Abort: false when it comes too late. */
bool abort_it(const struct answer *a);
/* The host's connection goes. */
void leave(const struct answer *a);

#endif
