/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The initiator role: one qpair to an upstream controller, over a network or local. It connects
 * (the transport handshake and the Fabrics Connect), carries commands, and gives each back exactly
 * once. It keeps no timers for commands: whoever submits decides how long to wait, and closes the
 * qpair.
 */
#ifndef TRANSPORT_INITIATOR_H
#define TRANSPORT_INITIATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/addr.h"
#include "transport/loop.h"
#include "transport/request.h"
#include "transport/stats.h"

struct ini_qpair;

/* What a qpair connects to; strings and structs are copied by connect. */
struct ini_params {
	struct addr addr;
	struct addr host_addr; /* source address; len 0: any */
	char subnqn[NVMF_NQN_MAX + 1];
	char hostnqn[NVMF_NQN_MAX + 1];
	uint8_t hostid[16];
	uint16_t qid;
	uint16_t cntlid;  /* 0xffff on the admin qpair: dynamic */
	uint16_t sq_size; /* entries, 2.. */
	uint32_t kato;	  /* ms, admin qpair */
	uint32_t ioccsz;  /* of Identify Controller, 16-byte units; 4 (no in-capsule data) on admin:
			     it has 8 KiB by the TCP spec */
	bool hdr_digest, data_digest;
	bool register_always;	  /* RDMA: no key opens more than the data of one command */
	uint64_t connect_timeout; /* ns for the whole of it; 0: for ever */
	uint64_t user_timeout;	  /* ns that sent data may stay unacknowledged by the peer
				     (TCP_USER_TIMEOUT); 0: the system's */
	const struct file_ns
		*file_ns; /* for the local kind "file"; owned by the caller, outlives the qpair */
};

struct ini_ops {
	/*
	 * The end of connecting: error 0, or -errno with @cqe set if it was the Connect's status
	 * that refused (then error is -ECONNREFUSED). After an error the qpair is dead: close it.
	 * Never called from within connect().
	 */
	void (*connected)(struct ini_qpair *qp, int error, const struct nvme_cqe *cqe);
	/*
	 * The connection was lost or broke the protocol; at most once, after connected(0), and
	 * after every request has come back by ini_done(-ECONNRESET or such). Close it then. Not
	 * called for one's own close().
	 */
	void (*lost)(struct ini_qpair *qp, int error, const char *reason);
};

struct ini_qpair {
	struct loop *loop;
	const struct ini_transport *tr;
	const struct ini_ops *ops;
	void *priv;
	uint16_t qid, cntlid; /* cntlid: the granted one, after connected(0) */
	uint16_t sq_size;
	uint16_t inflight;
	int node; /* NUMA node of the adapter that it leaves from, after connected(0); -1: not known
		   */
	bool live;	    /* between connected(0) and lost() or close() */
	const char *reason; /* of connected() with an error, in words; NULL: the error says it all
			     */
	stat_t commands, rx_bytes, tx_bytes;
};

struct ini_transport {
	const char *name; /* "tcp", "rdma", "file" */
	uint8_t trtype;
	/**
	 * connect - start to connect on @loop (and called on it)
	 *
	 * Returns NULL with errno when not even that works (fds, memory).
	 */
	struct ini_qpair *(*connect)(struct loop *loop, const struct ini_params *params,
				     const struct ini_ops *ops, void *priv);
	/**
	 * submit - send req->sqe with req's data
	 *
	 * The transport fills CID, PSDT and SGL in the copy it sends. H2C data must be complete in
	 * the segments (filled == data_len); C2H segments must have been allocated for data_len
	 * bytes and filled is set to 0 here, advances as data arrives and calls req->progress (if
	 * set). On success of a C2H command filled == data_len, else it is an error of the peer's
	 * and costs the connection. ini_done is never called from within submit().
	 * Returns 0; -EAGAIN when sq_size - 1 commands are out; -ENOTCONN when not live.
	 */
	int (*submit)(struct ini_qpair *qp, struct request *req);
	/*
	 * Drops the connection and frees the qpair; requests still out come back by
	 * ini_done(-ECANCELED) before this returns. After that no peer can write their buffers.
	 * Not to be called from within ini_done or progress (post or use a hook).
	 */
	void (*close)(struct ini_qpair *qp);
};

extern const struct ini_transport ini_tcp;
extern const struct ini_transport ini_rdma;
extern const struct ini_transport ini_file;

/* Free entries of the submission queue. */
static inline unsigned ini_room(const struct ini_qpair *qp)
{
	return qp->live ? (unsigned)(qp->sq_size - 1 - qp->inflight) : 0;
}

/* ---- local kind "file" ---- */
/*
 * One namespace on a file or block device. The qpair of the kind behaves as a controller with that
 * namespace as NSID 1: qid 0 answers the admin commands that an initiator needs, qid > 0 does I/O
 * by io_uring on its loop. Writes are cached by the kernel (a volatile write cache); Flush is
 * fdatasync, FUA is RWF_DSYNC.
 */
struct file_ns;

struct file_ns_config {
	const char *path;
	uint32_t block_size; /* 512 or 4096.. power of two; 0: 512, or the device's own */
	uint64_t size;	     /* bytes: create or extend a regular file to it; 0: as it is */
	uint8_t uuid[16], nguid[16],
		eui64[8];   /* all zero: not reported; with none given a UUID is derived */
	const char *subnqn; /* of the emulated controller */
	uint16_t cntlid;
	uint8_t ana_state; /* NVME_ANA_STATE_*: reported in its ANA log */
	bool read_only;
};

/* Opens and checks; NULL with errno, and a sentence in err (err_len bytes). */
struct file_ns *file_ns_open(const struct file_ns_config *cfg, char *err, unsigned err_len);
void file_ns_close(struct file_ns *ns);

#endif
