/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of one controller, up to where I/O can begin: admin queue, enabling, identify,
 * keep-alive. It runs on the control loop.
 */
#ifndef BENCH_HOST_H
#define BENCH_HOST_H

#include "cli/bench/options.h"
#include "transport/initiator.h"
#include "transport/pool.h"

struct host_ops {
	void (*ready)(void *arg);
	/* At most once, before or after ready(). The host must not be used further, only freed. */
	void (*failed)(void *arg, const char *why);
};

struct host {
	struct loop *loop;
	const struct options *opt;
	const struct host_ops *ops;
	void *arg;
	struct ini_qpair *admin;
	struct loop_timer step_timer, ka_timer;
	void (*step)(struct host *h);			     /* what step_timer runs */
	void (*answer)(struct host *h, struct request *req); /* takes the command that is out */
	void (*done)(void *arg);			     /* of host_shutdown() */
	uint64_t deadline;				     /* of what is waited for */
	bool failed;

	/* what was learnt */
	uint64_t cap;
	struct nvme_id_ctrl id;
	uint32_t nsid;
	uint32_t lba_size;
	uint64_t lbas;
	uint32_t max_transfer; /* bytes */
	unsigned queues;       /* granted */
};

/* Starts; the loop must have a pool. */
void host_start(struct host *h, struct loop *loop, const struct options *opt,
		const struct host_ops *ops, void *arg);
/* Parameters for I/O queue @qid; once ready. */
void host_queue_params(const struct host *h, uint16_t qid, struct ini_params *p);
/* Tells the controller to shut down, if it is still there; then done(arg), then host_free(). */
void host_shutdown(struct host *h, void (*done)(void *arg));
void host_free(struct host *h);

#endif
