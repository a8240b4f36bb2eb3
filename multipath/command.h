/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine has to know of an I/O command: what it changes, and whether it may be repeated.
 */
#ifndef MULTIPATH_COMMAND_H
#define MULTIPATH_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/request.h"

enum repeat {
	REPEAT_FREELY, /* changes nothing: any number of times, any time */
	REPEAT_FENCED, /* the same twice is the same, but what comes after must not be overtaken */
	REPEAT_NEVER,  /* a second execution does something else, or we do not know */
};

/*
 * May a command whose outcome is unknown be sent again (over another path)? Opcodes of the NVM
 * command set 1.0, chapter 3, and of Base 2.0, chapter 7.
 */
enum repeat command_repeat(const struct nvme_sqe *sqe);

/* Success of it leaves something that a Flush must cover. */
bool command_changes_data(uint8_t opcode);

/* Blocks that a command changes: [start, end); empty when it changes none. */
struct lba_range {
	uint64_t start, end;
};

/* For Dataset Management the span from the first to the last block that it names. */
struct lba_range command_writes(const struct request *req);

static inline bool lba_overlap(struct lba_range a, struct lba_range b)
{
	return a.start < b.end && b.start < a.end;
}

#endif
