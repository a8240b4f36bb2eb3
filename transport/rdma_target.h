/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/RDMA as target, inside: what listening (rdma_listen.c), connections coming
 * (rdma_tgt_accept.c), commands (rdma_target.c), work requests (rdma_tgt_send.c) and the end
 * (rdma_tgt_close.c) share.
 */
#ifndef TRANSPORT_RDMA_TARGET_H
#define TRANSPORT_RDMA_TARGET_H

#include <assert.h>
#include <stdatomic.h>

#include "transport/cid_map.h"
#include "transport/pool.h"
#include "transport/rdma_cm.h"
#include "transport/rdma_qp.h"
#include "transport/rdma_rx.h"
#include "transport/target.h"

enum rdma_tgt_phase {
	RDMA_TGT_UP,
	RDMA_TGT_MOVING,  /* the Connect's response is on its way out */
	RDMA_TGT_TRANSIT, /* between two loops */
	RDMA_TGT_CLOSING, /* rdma_tgt_do_close() will run */
	RDMA_TGT_CLOSED,
};

/* tx->kind: what a request waits to have sent. tx->done counts its work requests that are out. */
enum rdma_tgt_tx {
	RDMA_TX_READ,
	RDMA_TX_DATA, /* of a read, before the answer */
	RDMA_TX_ANSWER,
	RDMA_TX_LEFT,
};

/*
 * A work request's ID is the request, or for a receive what rdma_rx.h has it be, with this below
 * it. Those that do not tell when they are done do so all the same when they fail.
 */
enum rdma_tgt_wr { RDMA_TGT_RECV, RDMA_TGT_READ, RDMA_TGT_ANSWER, RDMA_TGT_SILENT };
#define RDMA_TGT_WR_MASK ((1u << RDMA_RX_BITS) - 1)
static_assert(RDMA_TGT_RECV == 0 && RDMA_TGT_SILENT <= RDMA_TGT_WR_MASK);

/* States of our own besides enum request_state. The gateway has answered while the host's data is
 * still being read; the answer leaves after that. */
#define RDMA_REQ_DISCARDING (TGT_REQ_COMPLETING + 1)

struct tgt_listener {
	struct tgt_config cfg;
	const struct tgt_ops *ops;
	void *arg;
	struct loop *loop;
	struct addr addr;
	struct rdma_cm cm;
	bool has_cm;
	bool failing;	       /* and that was said */
	struct rdma_cm_id *id; /* NULL: not listening at present */
	struct loop_timer retry;
	unsigned connections;
	bool gone; /* unlisten() was called: freed with the last connection */
};

/* A capsule that has come and waits. */
struct rdma_arrival {
	uint64_t wr_id; /* of the receive */
	uint32_t len;
};

struct rdma_tgt {
	struct tgt_qpair qp;
	struct rdma_qp q;
	enum rdma_tgt_phase phase;
	bool leave; /* the Connect's response has left: time to move */
	struct loop *next;
	struct rdma_mem *next_mem;
	struct loop_hook event, flush;
	struct loop_timer timer;
	atomic_uint refs;      /* the connection, and close requests from other loops */
	struct rdma_cm_id *id; /* control's */
	uint16_t asked_qid;    /* of the private data */

	uint16_t depth; /* entries of the SQ */
	struct rdma_rx own_rx, *rx;
	struct rdma_arrival *arrived; /* depth of them */
	uint16_t arrived_head, arrived_n;
	struct rdma_slab responses; /* where they do not go inline */
	struct rdma_mem *mem;	    /* of the loop's pool */

	struct tgt_req_list outgoing; /* answered by the gateway, or never seen by it */
	struct cid_map cids;

	/* waiting for resources */
	struct pool_waiter rx_waiter;	 /* a slot or segment for the oldest arrival */
	struct pool_waiter fetch_waiter; /* segments for the oldest fetch */
	unsigned parked;		 /* fetches that wait */

	/* work requests, in order; what goes to the host before what comes from it */
	struct tx_list answers, reads;
	unsigned sq_free;
	unsigned read_sges;	     /* pieces of memory that one read can fill */
	unsigned reading, max_reads; /* read requests out */
	uint64_t moved_on, mark;     /* requests that ended; how many at the last look */
	bool may_invalidate;	     /* the device can send with invalidate */
	unsigned answering;	     /* answers queued or out */
	unsigned answered;	     /* that ever left */

	bool graceful;	   /* answers may still leave before it closes */
	bool hasten;	   /* they had their time */
	bool draining;	   /* buffers that others use too are coming back */
	uint64_t patience; /* till when */
	unsigned kept;	   /* of them that may not have */
	char reason[128];
};

static inline struct rdma_tgt *rdma_tgt_of_qp(struct tgt_qpair *qp)
{
	return (struct rdma_tgt *)((char *)qp - offsetof(struct rdma_tgt, qp));
}

static inline struct rdma_tgt *rdma_tgt_of_q(struct rdma_qp *q)
{
	return (struct rdma_tgt *)((char *)q - offsetof(struct rdma_tgt, q));
}

/* ---- listeners (control) ---- */
struct tgt_listener *rdma_tgt_listen(struct loop *control, const struct addr *addr,
				     const struct tgt_config *cfg, const struct tgt_ops *ops,
				     void *arg);
const struct addr *rdma_listener_addr(const struct tgt_listener *l);
void *rdma_listener_arg(const struct tgt_listener *l);
void rdma_unlisten(struct tgt_listener *l);
/* One of its connections has gone. */
void rdma_listener_put(struct tgt_listener *l);
/* A host wants to connect: makes a connection, or rejects it. */
void rdma_tgt_request(struct tgt_listener *l, const struct rdma_cm_note *note);
/* The connection manager says something of a connection. */
void rdma_tgt_note(struct rdma_tgt *t, const struct rdma_cm_note *note);

/* ---- commands ---- */
extern const struct rdma_qp_ops rdma_tgt_qp_ops;
extern const struct tgt_transport tgt_rdma;
/* Waiters, timer: what a connection has of its loop. */
void rdma_tgt_join_loop(struct rdma_tgt *t, struct loop *loop);
void rdma_tgt_on_hook(void *arg);
/* Takes commands that have arrived, as far as there is room; more when answers have been sent. */
void rdma_tgt_run_arrived(struct rdma_tgt *t);
/* The buffers of capsules that wait go back to the device, unseen. */
void rdma_tgt_drop_arrived(struct rdma_tgt *t);

/* ---- work requests ---- */
/* Entries of the send queue for a queue of @depth commands. */
unsigned rdma_tgt_send_size(unsigned depth);
void rdma_tgt_queue(struct rdma_tgt *t, struct request *req, enum rdma_tgt_tx kind);
/* Takes back what has not left: true. */
bool rdma_tgt_unqueue(struct rdma_tgt *t, struct request *req);
/* How far a read's data may leave before its answer; 0: nothing new to speak of. */
uint32_t rdma_tgt_early_end(struct request *req);
void rdma_tgt_flush(void *arg);
/* A read or an answer has ended well. */
void rdma_tgt_read_done(struct rdma_tgt *t, struct request *req);
void rdma_tgt_answer_done(struct rdma_tgt *t, struct request *req);

/* ---- the host's data ---- */
void rdma_tgt_fetch(struct request *req);
void rdma_tgt_unpark(struct rdma_tgt *t);
/* Goes on with fetches that wait, oldest first; @arg: struct rdma_tgt. */
void rdma_tgt_run_parked(void *arg);

/* ---- answers ---- */
void rdma_tgt_progress(struct request *req);
void rdma_tgt_complete(struct request *req);
/* Sends the answer of a request that is in t->outgoing with its status set. */
void rdma_tgt_answer(struct rdma_tgt *t, struct request *req);

/* ---- the end ---- */
__attribute__((format(printf, 2, 3))) void rdma_tgt_shut(struct rdma_tgt *t, const char *fmt, ...);
/* The same, by somebody and in order; when by the gateway, answers may leave before. */
void rdma_tgt_end(struct rdma_tgt *t, enum tgt_end by, const char *reason);
void rdma_tgt_close(struct tgt_qpair *qp, const char *reason);
/* Control: the connection manager says that it is over. */
void rdma_tgt_over(struct rdma_tgt *t, enum tgt_end by, const char *reason);
/* From the hook, in RDMA_TGT_CLOSING. */
void rdma_tgt_do_close(struct rdma_tgt *t);
/* With the queue pair gone: what only this connection has; and, on control, its part of what it has
 * with others. */
void rdma_tgt_free_buffers(struct rdma_tgt *t);
void rdma_tgt_leave_buffers(struct rdma_tgt *t);
/* The request is done with, whatever its state: back to the pool. */
void rdma_tgt_release(struct rdma_tgt *t, struct request *req);
/* Lets go of what belongs to the loop: timer, hooks, and places in its lines. */
void rdma_tgt_leave_loop(struct rdma_tgt *t);
/* Something is under way that the host can keep from ending: it must move on in time. */
void rdma_tgt_watch_progress(struct rdma_tgt *t);
void rdma_tgt_on_timer(void *arg);

#endif
