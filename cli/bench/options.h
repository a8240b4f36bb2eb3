/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of nvmegw-bench. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/addr.h"
#include "transport/initiator.h"
#include "transport/nvme.h"

struct options {
	const struct ini_transport *transport;
	struct addr addr;
	char nqn[NVMF_NQN_MAX + 1];
	char hostnqn[NVMF_NQN_MAX + 1];
	uint8_t hostid[16];
	uint32_t nsid; /* 0: the first that is there */
	unsigned queues, depth, threads;
	uint32_t bs;	   /* bytes of one I/O */
	unsigned read_pct; /* of the I/Os */
	bool sequential;
	uint64_t size; /* bytes of the namespace to use; 0: all of it */
	bool verify, apart, hdr_digest, data_digest, idle, json;
	uint64_t rate; /* I/Os per second over all threads; 0: no limit */
	uint64_t seed;
	/* ns */
	uint64_t time, interval, wait, keep_alive;
};

/* Exits with 2 on anything wrong, with 0 for --help. */
void options_parse(struct options *o, int argc, char **argv);

#endif
