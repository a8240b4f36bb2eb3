/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that their hosts have left behind may still be out to upstreams. The next life of the
 * daemon knows nothing of them, so the end waits for them: a write that an upstream executes after
 * its host has come back and overwritten the same blocks would bring old data back. Control loop
 * only.
 */
#ifndef GATEWAY_DRAIN_H
#define GATEWAY_DRAIN_H

#include "gateway/roll_call.h"
#include "transport/loop.h"

#define DRAIN_MAX (5 * NSEC_PER_SEC)

struct drain {
	struct roll_call roll;
	struct loop_timer timer;
	uint64_t started;
	void (*done)(struct gateway *gw);
};

/* With no host connected any more: calls @done when no command is out, or after DRAIN_MAX. */
void drain_start(struct drain *d, struct gateway *gw, void (*done)(struct gateway *gw));
/* Before the loops go; right for a struct of zeroes too. */
void drain_fini(struct drain *d);

#endif
