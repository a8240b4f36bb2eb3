/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An upstream controller in memory behind struct ini_transport: what the multipath engine is tested
 * against. A controller is found by its port; tests set what it shows and how it behaves.
 */
#ifndef TESTS_FAKE_UPSTREAM_H
#define TESTS_FAKE_UPSTREAM_H

#include "transport/initiator.h"

#define FAKE_MAX_NS 4

struct fake_ns {
	bool present;
	uint64_t nsze;
	uint8_t uuid_fill;  /* every byte of its UUID */
	uint8_t nguid_fill; /* 0: none */
	bool private;
};

struct fake_ctrl {
	bool down;  /* refuses to connect */
	bool stuck; /* accepts I/O commands and never completes them */
	uint16_t connect_status;
	uint16_t io_status; /* of every I/O command, when not 0 */
	uint8_t ana_state;  /* of its one group */
	bool no_ana;
	bool twin;	 /* has the CNTLID of its sibling */
	uint16_t queues; /* granted; 0: what is asked */
	uint8_t mdts;
	struct fake_ns ns[FAKE_MAX_NS + 1]; /* by NSID */
	unsigned reads, writes, flushes, connects;
	uint32_t last_nsid;
};

/* Ports 1.. of 127.0.0.1 */
extern struct fake_ctrl fake_ctrls[8];
extern const struct ini_transport ini_fake;

/* Every connection of the controller breaks. */
void fake_cut(unsigned port);
/* A notice to every host that waits for one. */
void fake_notice(unsigned port, uint8_t info);

#endif
