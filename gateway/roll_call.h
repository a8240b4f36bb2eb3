/* SPDX-License-Identifier: Apache-2.0 */
/* A question to all workers; its answer comes when the last of them has answered. */
#ifndef GATEWAY_ROLL_CALL_H
#define GATEWAY_ROLL_CALL_H

#include <stdbool.h>

struct gateway;
struct loop;

struct roll_call {
	struct gateway *gw;
	bool (*ask)(struct loop *worker); /* on the worker */
	/* On control; @all: every worker said yes. */
	void (*answered)(void *arg, bool all);
	void *arg;
	unsigned missing; /* answers; 0: none is under way */
	bool all;
};

/* Control loop; not while one is under way. The struct has to stay until the answer or the end of
 * all loops. */
void roll_call(struct roll_call *r);

#endif
