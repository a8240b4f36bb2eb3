/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the running configuration to another one. What can fail comes first and is undone when it
 * does: files are opened, listeners started. Then all that takes no time is done within one turn.
 * Last, one after the other, connections are ended and made anew: I/O is moved off them first, and
 * not before what has been added had time to be there. Control loop only.
 */
#ifndef GATEWAY_APPLY_H
#define GATEWAY_APPLY_H

#include "gateway/gateway.h"

struct apply;

struct apply_ops {
	/* It has taken effect: from here on it is only brought to its end. */
	void (*taken)(void *arg);
	/*
	 * @why: NULL, or why nothing was changed. @notes: else what should be known, an array of
	 * texts, taken over.
	 */
	void (*done)(void *arg, const char *why, json_t *notes);
};

/* @cfg differs in nothing that takes a restart, and stays until done(). */
struct apply *apply_start(struct gateway *gw, const struct gw_config *cfg,
			  const struct apply_ops *ops, void *arg);
/* At the end of the gateway: calls done(). */
void apply_abandon(struct apply *a);

#endif
