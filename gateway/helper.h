/* SPDX-License-Identifier: Apache-2.0 */
/* A short-lived thread for what may block: files are read, written and opened beside the loop. */
#ifndef GATEWAY_HELPER_H
#define GATEWAY_HELPER_H

#include <pthread.h>

struct loop;

struct helper {
	struct loop *control;
	void (*work)(void *arg); /* on the thread */
	void (*done)(void *arg); /* on control, after that */
	void *arg;
	pthread_t thread;
};

/* Control loop; the fields above are set. 0, or -errno: there is no thread, and nothing is called.
 */
int helper_start(struct helper *h);
/* Waits for the end of the work; once for each start, in done() or before it. */
void helper_join(struct helper *h);

#endif
