/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A well-behaved host that keeps its queue full of random commands: reads, writes with and without
 * in-capsule data, and commands without data. It never waits, so that one thread can run many. What
 * it has to say leaves in the order in which it came up: data that was asked for is behind commands
 * sent before.
 */
#ifndef TESTS_RAW_PLAYER_H
#define TESTS_RAW_PLAYER_H

#include "tests/unit/raw_host.h"

#define PLAYER_DEPTH 256u

/* Instead of the mix. */
extern bool player_only_large_writes;

struct player_cmd {
	uint8_t opcode; /* 0xff: the CID is free */
	uint32_t len, got;
};

struct player {
	struct host h;
	unsigned depth, to_send, out, done;
	uint32_t max_len, max_icd;
	unsigned seed;
	struct player_cmd cmds[PLAYER_DEPTH];
	uint8_t *tx, *rx;
	size_t tx_at, tx_len, rx_len;
	size_t rx_budget; /* bytes it reads in a turn; 0: all there is */
	bool ended;	  /* the target has hung up */
};

/* Takes over @h, on which an I/O queue is connected with room for @depth commands. */
struct player *player_new(struct host h, unsigned depth, unsigned commands, uint32_t max_len,
			  unsigned seed);
/* Hangs up. */
void player_free(struct player *p);
/* Does what can be done now; false when all is done or the connection has ended. */
bool player_turn(struct player *p);
/* Turns all of them, and the loops, until each is done. */
void players_run(struct player *const *p, unsigned n);

#endif
