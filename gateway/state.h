/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must survive a restart: which NSID each namespace has in each exported subsystem, so that
 * hosts find it where they left it. Kept in memory, written to state_dir/nsids.json by a helper
 * thread. Control loop only.
 */
#ifndef GATEWAY_STATE_H
#define GATEWAY_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "multipath/ident.h"
#include "transport/loop.h"

struct state;

/**
 * state_open() - lock the folder and read the file in it
 * @dir:   made if missing; "": nothing is read or written
 * @tried: called on @control whenever a write has ended, well or not
 *
 * A missing file is an empty one. Returns NULL after logging why: the folder cannot be used, a
 * running daemon uses it, or the file is damaged.
 */
struct state *state_open(struct loop *control, const char *dir, void (*tried)(void *arg),
			 void *arg);
/* Waits until all is written, or writing has failed once more. Before the loop is freed. */
void state_close(struct state *s);

/* The NSIDs that are given out: 1..max but the reserved ones. */
struct state_nsid_rules {
	uint32_t max;
	bool (*reserved)(const void *arg, uint32_t nsid);
	const void *arg;
};

/**
 * state_nsid() - the NSID of a namespace in the subsystem @nqn
 * @waiting: set when it is not on disk and writing it has not been tried: until then no host should
 *	     see it, since it might be another one after a crash. Ask again after tried().
 *
 * The remembered one, else the lowest that is neither reserved nor remembered for any other
 * namespace. 0: there is none. A remembered one may be above max, but not reserved.
 */
uint32_t state_nsid(struct state *s, const char *nqn, const struct ns_ident *id,
		    const struct state_nsid_rules *rules, bool *waiting);

struct state_info {
	unsigned namespaces; /* remembered, in all subsystems */
	uint64_t writes;     /* tried since the start */
	bool saved;	     /* all of them are on disk; false too without a folder */
	int error;	     /* errno of the last write */
};
void state_info(const struct state *s, struct state_info *info);

#endif
