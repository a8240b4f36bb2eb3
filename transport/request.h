/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct request: one command from arrival to completion, and its data.
 *
 * It lives on one loop for its whole life and comes from that loop's pool. Three parties hang on to
 * it, each with its own fields: the target qpair that received it (or nobody, for commands of our
 * own), the multipath layer, and the initiator qpair that carries it now.
 *
 * Data is in pool segments. `filled` is the watermark of the producer (host for H2C, upstream for
 * C2H): bytes [0, filled) are valid. `sent` is the target side's watermark of what it has handed
 * to the host. A retry of a read resets `filled`, never `sent`: where data can only leave once the
 * rest follows, and where the device of an RDMA target puts it is written again (`sent_of`). What
 * stays sent ends with a whole `block`: the other attempt may find newer data, and a host must not
 * see a block half written (NVM command set 1.0, 2.1.4).
 */
#ifndef TRANSPORT_REQUEST_H
#define TRANSPORT_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>

#include "transport/nvme.h"

#define SEG_SHIFT	 14
#define SEG_SIZE	 (1u << SEG_SHIFT)
#define REQUEST_MAX_DATA (1024u * 1024) /* bytes: the largest MDTS we offer */
#define REQUEST_MAX_SEGS (REQUEST_MAX_DATA / SEG_SIZE)

struct pool;
struct tgt_qpair;
struct ini_qpair;
struct request;

/* One run of bytes queued on a socket: a PDU header, then data of the request, then a digest. */
struct tx {
	TAILQ_ENTRY(tx) link;
	struct request *req;
	uint32_t off, len; /* data range of req that follows the header */
	uint32_t done;	   /* bytes of the whole run that have left */
	uint8_t hdr_len;   /* header, header digest and padding together */
	uint8_t trail_len; /* data digest: 0 or 4 */
	bool queued;
	uint8_t kind;	  /* for the owner: what to do once it has left */
	uint8_t hdr[144]; /* CapsuleCmd is 72 + 4, padded up to PDO */
	uint8_t trail[4];
};
TAILQ_HEAD(tx_list, tx);

enum request_state { /* of the target side */
		     TGT_REQ_FREE,
		     TGT_REQ_RECEIVING_CAPSULE, /* in-capsule data is arriving */
		     TGT_REQ_WAIT_BUFFERS,	/* fetch asked for, no segments yet */
		     TGT_REQ_FETCHING,		/* R2T queued or sent, data arriving */
		     TGT_REQ_EXECUTING,		/* with the gateway */
		     TGT_REQ_COMPLETING,	/* response and last data on their way out */
};

struct request {
	struct nvme_sqe
		sqe; /* as the host sent it; initiators send a copy with their own CID, SGL */
	struct nvme_cqe cqe; /* result and status; the CID and SQHD are the transport's to fill */
	struct pool *pool;
	TAILQ_ENTRY(request) link; /* of whoever owns the request now: pool, hold list, lane... */

	/* data */
	uint32_t data_len; /* bytes that the command moves; 0 if none */
	uint32_t filled;
	uint32_t sent;
	uint64_t sent_of; /* `submitted` of the attempt whose data has left, on an RDMA target */
	uint32_t block;	  /* C2H: bytes of one block, which must be of one attempt; 0: no matter */
	uint16_t nsegs;
	uint8_t dir; /* enum nvme_dir */

	/* target side */
	uint8_t tgt_state;     /* enum request_state */
	uint16_t tgt_slot;     /* TTAG for R2T */
	uint16_t cid;	       /* the host's */
	struct tgt_qpair *tgt; /* NULL: not from a host, or its connection has gone */
	TAILQ_ENTRY(request) tgt_link;
	bool tgt_owes;	   /* the host's data is to come: the slot is one of those for fetches */
	uint8_t tgt_asked; /* C2H: segments that its connection has asked for by it */

	/* initiator side */
	struct ini_qpair *ini; /* set while an initiator qpair has it */
	uint16_t ini_slot;
	uint16_t ini_cid;   /* on the wire, for an Abort; set by ini_submit() */
	uint16_t ini_state; /* the transport's */
	uint32_t ini_aux;   /* the transport's */
	/* Gives the request back, exactly once per ini_submit(): error 0 and cqe set, or -errno. */
	void (*ini_done)(struct request *req, int error);

	/* multipath */
	void *mp_head, *mp_lane, *mp_conn;
	/* `filled` advanced (C2H); may be NULL. Set by whoever consumes the data, the gateway. */
	void (*progress)(struct request *req);
	/* Its data is still with the host: ask head_admit() again. Set by the gateway. */
	void (*proceed)(struct request *req);
	/* The command is finished: cqe is the host's answer. Set by the gateway. */
	void (*complete)(struct request *req);
	void *complete_arg;
	uint64_t submitted; /* loop time of the present attempt */
	uint64_t arrived;  /* loop time of the first, or since when it waits for that; 0: not yet */
	uint8_t failovers; /* attempts that ended with a status about the path, */
	uint8_t repeats;   /* or in passing trouble */
	uint8_t mp_state;
	bool mp_from_host; /* tgt was set on submission */
	bool mp_aborted;   /* its present attempt took too long: an Abort was sent */
	bool mp_owned;	   /* some fence is about it */
	bool mp_tagged;	   /* some fence waits until it is back */
	uint64_t mp_due;   /* loop time at which waiting ends */
	uint64_t mp_mark;  /* Flush: what it covers of the path it is on; lost: association */
	uint64_t mp_mask;  /* paths that a Flush has been to, by slot */

	/* outputs */
	struct tx ttx;	 /* target: R2T, C2HData */
	struct tx tresp; /* target: response capsule */
	struct tx itx;	 /* initiator: command capsule, H2CData */

	void *segs[REQUEST_MAX_SEGS];
};

/*
 * Fills iov with the memory of data bytes [off, off + len); returns the count used, at most max
 * (what does not fit is left out: the caller sees it by the lengths).
 */
unsigned request_iov(const struct request *req, uint32_t off, uint32_t len, struct iovec *iov,
		     unsigned max);

/* Copies between data bytes [off, off + len) and flat memory; the range must lie in the segments.
 */
void request_copy_in(struct request *req, uint32_t off, const void *src, uint32_t len);
void request_copy_out(const struct request *req, uint32_t off, void *dst, uint32_t len);
void request_zero(struct request *req, uint32_t off, uint32_t len);

/* CRC32C (as digests have it, final value) of data bytes [off, off + len). */
uint32_t request_crc32c(const struct request *req, uint32_t off, uint32_t len);

#endif
