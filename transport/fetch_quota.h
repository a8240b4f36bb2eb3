/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of a pool may wait for hosts at one time: what keeps everybody from waiting for
 * everybody. The slots and segments that a fetch (R2T) has come back only when that host has sent
 * its data, which may be behind a command that needs some too. If fetches could take them all, that
 * command would never get any. So a part of both is kept from fetches; all other users finish by
 * themselves.
 *
 * One per pool, shared by the target qpairs of its loop; first come, first served. Of the segments
 * nobody who has some gets more than are left: so one host with much to send, or one that has
 * stopped sending, gets half of them, two such get a third each, and a newcomer always finds some.
 * Slots are not divided: a queue is all that a connection can take, and writes that the engine
 * holds back have theirs too, which must not keep the connection's others waiting.
 */
#ifndef TRANSPORT_FETCH_QUOTA_H
#define TRANSPORT_FETCH_QUOTA_H

#include <stdbool.h>
#include <sys/queue.h>

struct fetch_quota;
struct loop;

enum fetch_kind { FETCH_SLOTS, FETCH_SEGMENTS };

/* Of one of the two kinds. */
struct fetch_user {
	TAILQ_ENTRY(fetch_user) link;
	void (*fn)(void *arg); /* asks again; called from a hook */
	void *arg;
	unsigned held;
	bool queued;
	bool over; /* waits for something of its own to come back */
};

/* The quota of the loop's pool; counted, give it back with fetch_quota_release(). */
struct fetch_quota *fetch_quota_get(struct loop *loop);
void fetch_quota_release(struct fetch_quota *q);

/* True, or false and the user will be called. In its turn it is before the others, once. */
bool fetch_quota_take(struct fetch_quota *q, enum fetch_kind kind, unsigned n,
		      struct fetch_user *u);
void fetch_quota_put(struct fetch_quota *q, enum fetch_kind kind, unsigned n, struct fetch_user *u);
/* It waits no more. */
void fetch_quota_cancel(struct fetch_quota *q, enum fetch_kind kind, struct fetch_user *u);

#endif
