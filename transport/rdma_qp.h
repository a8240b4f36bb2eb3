/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reliable connected queue pair with its completion queue, as both roles of NVMe/RDMA use it.
 *
 * Each has a completion queue and a completion channel of its own: then a connection is free to
 * move from loop to loop with its file descriptor. Completions are taken in bounded batches; the
 * queue is armed before it is emptied, so that none is missed and an idle connection costs nothing.
 *
 * The queue pair belongs to us and not to the connection manager's ID: it is used and ended on the
 * loop of the connection, while the ID stays on the loop of its event channel.
 *
 * The owner ends one outside of its callbacks (from a hook), after rdma_qp_stop() or without.
 */
#ifndef TRANSPORT_RDMA_QP_H
#define TRANSPORT_RDMA_QP_H

#include <stdatomic.h>

#include <rdma/rdma_cma.h>

#include "transport/loop.h"
#include "transport/rdma_dev.h"

struct rdma_qp;

struct rdma_qp_ops {
	/* A work request has ended, well or not. */
	void (*done)(struct rdma_qp *q, const struct ibv_wc *wc);
	/* The same, after rdma_qp_stop(); may be NULL. */
	void (*late)(struct rdma_qp *q, const struct ibv_wc *wc);
};

/* What is asked for; init lowers it to what there is, as far as that is said here. */
struct rdma_qp_size {
	unsigned send, recv; /* work requests, at least; with @srq completions of receives */
	unsigned sge;	     /* per send request; lowered */
	unsigned inlined;    /* bytes; 0 when there is no such thing */
	struct ibv_srq *srq; /* where receives are taken from, or NULL */
};

struct rdma_qp {
	const struct rdma_qp_ops *ops;
	struct loop *loop;
	struct rdma_dev *dev;
	struct ibv_qp *qp;
	struct ibv_cq *cq;
	struct ibv_comp_channel *channel;
	struct loop_fd watch;
	struct loop_hook more;
	struct rdma_qp_size size;
	unsigned unacked; /* events of the channel */
	bool dead;	  /* stopped: no more done() */
	/* Control writes what the device has told of it, any loop reads. */
	atomic_bool last_taken; /* it takes nothing more from the shared receive queue */
	atomic_bool overrun;	/* completions were lost */
};

/* Zeroed. In state INIT, watched by @loop; the caller's count of @dev becomes its own. 0 or -errno;
 * fini is right after a failure and on zeroed memory too. */
int rdma_qp_init(struct rdma_qp *q, struct loop *loop, struct rdma_dev *dev, struct rdma_cm_id *id,
		 enum rdma_role role, const struct rdma_qp_size *size,
		 const struct rdma_qp_ops *ops);
/*
 * When this returns the device does not touch any memory that work requests or the peer named. The
 * completions not yet taken are lost.
 */
void rdma_qp_fini(struct rdma_qp *q);
/* Nothing but late() is called any more. */
void rdma_qp_stop(struct rdma_qp *q);
/* All work requests end; for one that was stopped. */
void rdma_qp_flush(struct rdma_qp *q);
/* Takes all completions that there are, by late(). */
void rdma_qp_reap(struct rdma_qp *q);
/* What a device has to say of one; it must be there till the event is acknowledged. Any loop. */
void rdma_qp_note(const struct ibv_async_event *e);

/*
 * Ready to receive and to send, with the peer that the connection manager has met. @responder:
 * reads of the peer's at one time, RDMA_MAX_RESP_RES: as agreed with it; @reads: of ours. 0 or
 * -errno.
 */
int rdma_qp_ready(struct rdma_qp *q, struct rdma_cm_id *id, uint8_t responder, uint8_t reads);

/* Off its loop; rdma_qp_attach() goes on elsewhere. */
void rdma_qp_detach(struct rdma_qp *q);
void rdma_qp_attach(struct rdma_qp *q, struct loop *loop);

#endif
