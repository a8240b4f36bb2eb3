/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target role: what a transport does for the gateway. It receives command capsules, moves data
 * both ways and sends responses; it knows nothing of subsystems. Protocol errors end the connection
 * inside the transport (with the term-req that the spec asks for) and reach the gateway as
 * closed().
 *
 * A target qpair is born on the control loop, where the Fabrics Connect is answered. An I/O qpair
 * is then moved to a worker for the rest of its life (tgt_complete_and_move()).
 */
#ifndef TRANSPORT_TARGET_H
#define TRANSPORT_TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "transport/addr.h"
#include "transport/loop.h"
#include "transport/request.h"
#include "transport/stats.h"

struct tgt_qpair;
struct tgt_listener;

/* Gateway callbacks, on the loop that owns the qpair. */
struct tgt_ops {
	/*
	 * Optional: the worker loop that a new I/O qpair will be moved to; @arg is the listener's.
	 * opened() follows with it in qp->home, or nothing does. Asked by transports that have to
	 * know before the Connect.
	 */
	struct loop *(*place)(void *arg);
	/* A connection was accepted and its transport handshake done; set qp->priv here. */
	void (*opened)(struct tgt_qpair *qp);
	/*
	 * A command has arrived, with its in-capsule data (then data_len == filled). For other H2C
	 * data data_len says what the SGL describes and the gateway, once content with the command,
	 * calls tgt_fetch(). For C2H data_len says how much the host's buffer takes; the gateway
	 * sets it to what it returns (never more). Each command is answered by one tgt_complete().
	 */
	void (*command)(struct tgt_qpair *qp, struct request *req);
	/* All host data that tgt_fetch() asked for is there. */
	void (*data_ready)(struct tgt_qpair *qp, struct request *req);
	/*
	 * Optional: the data came damaged (data digest); answer with @status. Without this callback
	 * the transport completes the command with it by itself.
	 */
	void (*data_failed)(struct tgt_qpair *qp, struct request *req, uint16_t status);
	/* tgt_complete_and_move(): the qpair now runs on its new loop (and this call too). */
	void (*moved)(struct tgt_qpair *qp);
	/*
	 * The connection is gone; exactly once after opened(). qp->requests still lists every
	 * request not answered, and those may be completed from here (walk it with a safe loop);
	 * completing then only gives them back. When this returns the others get req->tgt == NULL
	 * and are finished by the same tgt_complete() later; qp is freed.
	 */
	void (*closed)(struct tgt_qpair *qp, const char *reason);
};

struct tgt_config {
	uint32_t in_capsule_data; /* bytes, multiple of 16, at most SEG_SIZE; I/O queues */
	uint32_t max_h2c_data;	  /* MAXH2CDATA, bytes */
	bool hdr_digest;	  /* granted when the host asks */
	bool data_digest;
	uint8_t cpda;		    /* controller PDU data alignment, 0..31 dwords, 0's based */
	unsigned max_connections;   /* per listener set; more are closed on accept */
	uint64_t handshake_timeout; /* ns from accept to a successful Connect */
	uint64_t stall_timeout; /* ns without progress of pending output, of a half-received PDU or
				   of data asked for */
};

/* Who has ended a connection, in order; or something has gone wrong. */
enum tgt_end { TGT_END_FAULT, TGT_END_HOST, TGT_END_GATEWAY };

/* Common head of every transport's qpair. */
struct tgt_qpair {
	struct loop *loop;
	const struct tgt_transport *tr;
	struct tgt_listener *listener;
	void *priv;	   /* the gateway's */
	struct loop *home; /* where an I/O qpair is to be moved, when that is decided; or NULL */
	struct addr peer, local;
	uint16_t qid;
	uint16_t sq_size;     /* entries; commands in flight are bounded by sq_size - 1 or, before
				 Connect, 1 */
	bool connected;	      /* the gateway accepted the Fabrics Connect */
	bool sqflow_disabled; /* no SQHD, hence C2HData SUCCESS may stand for the response */
	bool hdr_digest, data_digest;
	uint16_t sqhd;
	enum tgt_end end;  /* for closed() */
	unsigned inflight; /* commands whose answer has not left yet */
	unsigned left; /* commands whose answer has, and that keep memory until it is known to have
			  arrived */
	TAILQ_HEAD(tgt_req_list, request) requests; /* all of them, by tgt_link, oldest first */
	stat_t commands, rx_bytes, tx_bytes;
};

struct tgt_transport {
	const char *name; /* "tcp", "rdma" */
	uint8_t trtype;	  /* NVMF_TRTYPE_* */
	/**
	 * listen - start to accept on @addr; runs on the control loop
	 *
	 * Returns NULL with errno (EADDRINUSE...). @cfg is copied. Port 0 takes a free port: ask
	 * listener_addr.
	 */
	struct tgt_listener *(*listen)(struct loop *control, const struct addr *addr,
				       const struct tgt_config *cfg, const struct tgt_ops *ops,
				       void *arg);
	/* NULL: it cannot listen at present; it tries again by itself. */
	const struct addr *(*listener_addr)(const struct tgt_listener *l);
	void *(*listener_arg)(const struct tgt_listener *l);
	/* Stops accepting; connections that came from it go on. */
	void (*unlisten)(struct tgt_listener *l);

	/* Get the host's data: in-capsule data is there already, else R2T. Then data_ready(). */
	void (*fetch)(struct request *req);
	/* More of a C2H command's data may leave: bytes below req->filled. */
	void (*progress)(struct request *req);
	/* Optional: some of it is on its way out of the segments, which must not change till then.
	 */
	bool (*leaving)(const struct request *req);
	/*
	 * The command is finished: cqe.status and result are set. With success all data below
	 * data_len (== filled) is sent first; with an error what has not left yet is not sent. The
	 * request goes back to its pool when the last byte has left or the connection is gone.
	 */
	void (*complete)(struct request *req);
	/* The same for the Connect of an I/O qpair; then moves it to @loop and calls moved() there.
	 */
	void (*complete_and_move)(struct request *req, struct loop *loop);
	/* Ends the connection; closed() follows in a later turn (never from within this call). */
	void (*close)(struct tgt_qpair *qp, const char *reason);
};

extern const struct tgt_transport tgt_tcp;
extern const struct tgt_transport tgt_rdma;

static inline void tgt_fetch(struct request *req)
{
	req->tgt->tr->fetch(req);
}

static inline void tgt_progress(struct request *req)
{
	if (req->tgt)
		req->tgt->tr->progress(req);
}

/* The segments of a C2H command must not change yet: what they hold is still leaving. */
static inline bool tgt_leaving(const struct request *req)
{
	return req->sent && req->tgt && req->tgt->tr->leaving && req->tgt->tr->leaving(req);
}

/* Also right for a request whose connection has gone. */
void tgt_complete(struct request *req);

static inline void tgt_complete_status(struct request *req, uint16_t status)
{
	nvme_cqe_set_status(&req->cqe, status);
	tgt_complete(req);
}

#endif
