/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection manager's event channel on a loop. What it says is copied and acknowledged before
 * anybody hears of it: the end of an ID waits until its events have been acknowledged, so this way
 * it never waits, and a handler may end the ID that the event is about.
 */
#ifndef TRANSPORT_RDMA_CM_H
#define TRANSPORT_RDMA_CM_H

#include <rdma/rdma_cma.h>

#include "transport/loop.h"
#include "transport/rdma_wire.h"

struct rdma_cm_note {
	enum rdma_cm_event_type type;
	int status; /* 0, -errno, or for a rejection the CM's reason */
	struct rdma_cm_id *id, *listen_id;
	uint8_t responder_resources, initiator_depth;
	size_t private_len;
	uint8_t private_data[RDMA_PRIVATE_LEN]; /* the first of it */
};

struct rdma_cm {
	struct rdma_event_channel *channel;
	struct loop_fd watch;
	void (*fn)(void *arg, const struct rdma_cm_note *note);
	void *arg;
};

/* 0 or -errno, -ENODEV without any RDMA device; fini is right after a failure too. @fn must not
 * call fini. */
int rdma_cm_init(struct rdma_cm *cm, struct loop *loop,
		 void (*fn)(void *arg, const struct rdma_cm_note *note), void *arg);
/* With no ID left on the channel. */
void rdma_cm_fini(struct rdma_cm *cm);

/* What an event that ends a connection, or the making of one, means; NULL: it is none of these. */
const char *rdma_cm_end_str(const struct rdma_cm_note *note);

#endif
