/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/TCP as target, inside: what listening (tcp_listen.c), commands (tcp_target.c,
 * tcp_tgt_stash.c), their data (tcp_tgt_fetch.c), their answers (tcp_tgt_answer.c) and the end
 * (tcp_tgt_close.c) share.
 */
#ifndef TRANSPORT_TCP_TARGET_H
#define TRANSPORT_TCP_TARGET_H

#include <stdatomic.h>

#include "transport/cid_map.h"
#include "transport/fetch_quota.h"
#include "transport/pool.h"
#include "transport/target.h"
#include "transport/tcp_sock.h"

enum tcp_tgt_phase {
	PHASE_INIT, /* ICReq has not come */
	PHASE_UP,
	PHASE_MOVING,  /* the Connect's response is on its way out */
	PHASE_TRANSIT, /* between two loops */
	PHASE_CLOSING, /* tcp_tgt_do_close() will run */
	PHASE_CLOSED,
};

/* tx->kind */
enum tcp_tgt_tx { TX_ICRESP, TX_R2T, TX_DATA, TX_RESP };

/* A state of our own besides enum request_state: the gateway has answered while the host's data is
 * still coming; the answer leaves after that. */
#define TGT_REQ_DISCARDING (TGT_REQ_COMPLETING + 1)

struct tgt_listener {
	struct tgt_config cfg;
	const struct tgt_ops *ops;
	void *arg;
	struct loop *loop;
	struct addr addr;
	struct loop_fd watch;
	struct loop_timer retry;
	int fd;
	unsigned connections;
	TAILQ_HEAD(, tcp_tgt) unopened; /* those that nobody else knows of yet */
	bool gone;			/* unlisten() was called: freed with the last connection */
};

/* Commands that have not begun. */
struct sqe_ring {
	struct nvme_sqe *sqes;
	unsigned size; /* a power of two, or 0 */
	unsigned first, n;
};

/* Writes without a slot: see tcp_tgt_stash.c. */
struct tcp_tgt_stash {
	struct sqe_ring ring;
	struct pool_waiter pool_waiter;
	struct fetch_user quota_user;
	bool quota_held; /* for the first of them */
};

struct tcp_tgt {
	struct tgt_qpair qp;
	struct tcp_sock s;
	enum tcp_tgt_phase phase;
	TAILQ_ENTRY(tcp_tgt) unopened_link;
	bool opened;
	bool leave;	   /* the Connect's response has left: time to move */
	struct loop *next; /* where to */
	struct loop_hook event;
	struct loop_timer timer;
	atomic_uint refs; /* the connection, and close requests from other loops */

	struct request *rx;	      /* whose data is being received */
	struct tgt_req_list outgoing; /* answered by the gateway, or never seen by it */
	struct cid_map cids;

	/* waiting for resources */
	struct tcp_tgt_stash stash;
	struct sqe_ring reads;		 /* those that wait until earlier ones have left */
	struct pool_waiter read_waiter;	 /* a slot for the first of them */
	unsigned asked;			 /* segments, by the reads that have begun */
	struct pool_waiter rx_waiter;	 /* a slot or segment for the capsule at hand */
	struct pool_waiter fetch_waiter; /* segments for the first of the parked */
	struct fetch_user quota_user;
	struct fetch_quota *quota;
	/* Fetches that wait, in the order of tgt_fetch(): not that of arrival, since the gateway
	 * may take its time before it asks for data. By req->link: the transport owns them. */
	TAILQ_HEAD(, request) parked;
	bool quota_held; /* for the first of them, as many as it has segments */

	/* lack of progress */
	unsigned fetching; /* R2Ts that the host has not served */
	uint64_t fetched;  /* bytes of H2CData PDUs taken */
	uint64_t owed;	   /* bytes that R2Ts have asked for and that have not come */
	struct {	   /* what the counters have to reach until the timer fires */
		uint64_t rx, tx, fetched, moved;
	} due;

	uint16_t term_len;
	uint8_t term[TCP_TERM_MAX];
	char reason[128];
	struct tx ictx;
};

static inline struct tcp_tgt *tcp_tgt_of_qp(struct tgt_qpair *qp)
{
	return (struct tcp_tgt *)((char *)qp - offsetof(struct tcp_tgt, qp));
}

static inline struct tcp_tgt *tcp_tgt_of_sock(struct tcp_sock *s)
{
	return (struct tcp_tgt *)((char *)s - offsetof(struct tcp_tgt, s));
}

static inline unsigned tcp_tgt_segments(const struct request *req)
{
	return (req->data_len + SEG_SIZE - 1) >> SEG_SHIFT;
}

/* ---- listeners ---- */
struct tgt_listener *tcp_listen(struct loop *control, const struct addr *addr,
				const struct tgt_config *cfg, const struct tgt_ops *ops, void *arg);
const struct addr *tcp_listener_addr(const struct tgt_listener *l);
void *tcp_listener_arg(const struct tgt_listener *l);
void tcp_unlisten(struct tgt_listener *l);
/* One of its connections has gone. */
void tcp_listener_put(struct tgt_listener *l);
/* Makes a connection of what was accepted; without memory for it the fd is closed. */
void tcp_tgt_new(struct tgt_listener *l, int fd, const struct sockaddr_storage *peer,
		 socklen_t peer_len);

/* ---- commands ---- */
/* A command has its slot, and segments for @icd_len bytes that are about to come. */
void tcp_tgt_begin(struct tcp_tgt *t, struct request *req, const struct nvme_sqe *sqe,
		   uint32_t icd_len);
/* The same for one whose data has to be fetched, as soon as there is a slot for it. */
void tcp_tgt_begin_write(struct tcp_tgt *t, const struct nvme_sqe *sqe);
/* True: there is no room for the read, it begins as soon as there is. False: it can begin now. */
bool tcp_tgt_postpone_read(struct tcp_tgt *t, const struct nvme_sqe *sqe);
/* Begins reads that had to wait. Not from a callback of the engine. */
void tcp_tgt_run_reads(struct tcp_tgt *t);
/* The request's data is here, or not needed: its slot waits for the host no more. */
void tcp_tgt_has_data(struct tcp_tgt *t, struct request *req);
void tcp_tgt_stash_init(struct tcp_tgt *t);
/* Forgets what has not begun, and leaves the lines. */
void tcp_tgt_stash_fini(struct tcp_tgt *t);

/* ---- the host's data ---- */
void tcp_tgt_fetch(struct request *req);
/* A fetch that has no buffers yet leaves the line: it is answered, or given up. */
void tcp_tgt_unpark(struct tcp_tgt *t, struct request *req);
/* Gives up what is held and awaited for the first in the line. */
void tcp_tgt_drop_turn(struct tcp_tgt *t);
/* Goes on with fetches that wait, in order. */
void tcp_tgt_run_parked(struct tcp_tgt *t);
/* The request leaves TGT_REQ_FETCHING or TGT_REQ_DISCARDING: what it had of the quota goes back. */
void tcp_tgt_fetch_end(struct tcp_tgt *t, struct request *req);
void tcp_tgt_h2c_data(struct tcp_tgt *t, const struct tcp_pdu *pdu);
/* @len bytes of a PDU's data are in; @good: not damaged. */
void tcp_tgt_fetched(struct tcp_tgt *t, struct request *req, uint32_t len, bool good);
/* Called by pool and quota when it is our turn; @arg: struct tcp_tgt. */
void tcp_tgt_on_fetch_room(void *arg);

/* ---- answers ---- */
void tcp_tgt_progress(struct request *req);
bool tcp_tgt_leaving(const struct request *req);
void tcp_tgt_complete(struct request *req);
/* Sends the answer of a request that is in t->outgoing with its status set. */
void tcp_tgt_answer(struct tcp_tgt *t, struct request *req);
/* The engine's callbacks for output */
void tcp_tgt_seal(struct tcp_sock *s, struct tx *tx);
void tcp_tgt_sent(struct tcp_sock *s, struct tx *tx);

/* ---- the end ---- */
/* Ends the connection: from here on there are no callbacks of the engine, and the hook closes. */
__attribute__((format(printf, 2, 3))) void tcp_tgt_shut(struct tcp_tgt *t, const char *fmt, ...);
/* The host broke the protocol: it is told how, and the connection ends. */
void tcp_tgt_violation(struct tcp_tgt *t, const struct tcp_err *err, const uint8_t *head,
		       size_t len);
void tcp_tgt_pdu_violation(struct tcp_tgt *t, const struct tcp_pdu *pdu, const struct tcp_err *err);
/* The same, by somebody and in order. */
void tcp_tgt_end(struct tcp_tgt *t, enum tgt_end by, const char *reason);
void tcp_tgt_close(struct tgt_qpair *qp, const char *reason);
/* From the hook, in PHASE_CLOSING. */
void tcp_tgt_do_close(struct tcp_tgt *t);
/* The request is done with, whatever its state: back to the pool. Nothing of it may be partly sent
 * unless the socket is closed. */
void tcp_tgt_release(struct tcp_tgt *t, struct request *req);
/* Lets go of what belongs to the loop: timer, and places in its lines. */
void tcp_tgt_leave_loop(struct tcp_tgt *t);

/* True when something is under way that the host can keep from ending. */
bool tcp_tgt_must_progress(const struct tcp_tgt *t);
/* Takes note of how far everything is; it must have moved on when the timer fires. */
void tcp_tgt_mark_progress(struct tcp_tgt *t);
/* What the host owes could not come for a while: its time starts anew. */
void tcp_tgt_reading_again(struct tcp_tgt *t);
void tcp_tgt_on_timer(void *arg);

#endif
