/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/RDMA as initiator, inside: what connecting (rdma_ini_connect.c), carrying commands
 * (rdma_initiator.c) and sending them (rdma_ini_send.c) share.
 */
#ifndef TRANSPORT_RDMA_INITIATOR_H
#define TRANSPORT_RDMA_INITIATOR_H

#include "transport/initiator.h"
#include "transport/rdma_cm.h"
#include "transport/rdma_qp.h"

enum rdma_ini_phase {
	RDMA_INI_RESOLVING, /* address, then route */
	RDMA_INI_MEETING,   /* the connection manager's handshake */
	RDMA_INI_CONNECT,   /* the Fabrics Connect is out */
	RDMA_INI_CONNECTED, /* the hook will tell */
	RDMA_INI_LIVE,
	RDMA_INI_DEAD, /* the hook will close and tell, if it has not */
};

/* A CID is a slot number with a generation above it, so that a late or repeated answer to an
 * earlier command does not pass for one to the present. */
#define RDMA_SLOT_BITS 12
#define RDMA_SLOT_MASK ((1u << RDMA_SLOT_BITS) - 1)
#define RDMA_MAX_QUEUE (1u << RDMA_SLOT_BITS)

/* Of a work request's ID: what it is, and which slot or how many it stands for. */
#define RDMA_WR_RECV	    (1ull << 32)
#define RDMA_WR_COVERS(n)   ((uint64_t)(n) << 16)
#define RDMA_WR_COVERED(id) ((unsigned)((id) >> 16 & 0xffff))
#define RDMA_WR_INDEX(id)   ((unsigned)((id)&0xffff))
#define RDMA_WR_NO_SLOT	    0xffffu

struct rdma_ini_slot {
	struct request *req; /* NULL: free */
	uint16_t cid;	     /* of the present or last command */
	uint16_t next;	     /* in the list of free slots */
	bool queued;	     /* waits to be sent */
	bool sending;	     /* the device may still read capsule or in-capsule data */
	bool answered;	     /* the response is here */
	bool bounced;	     /* its data is in the bounce buffer */
};

struct rdma_ini {
	struct ini_qpair qp;
	struct rdma_qp q;
	enum rdma_ini_phase phase;
	bool met;  /* the connection manager knows it as connected */
	bool told; /* connected() with an error, or lost(), has been called */
	struct loop_hook event;

	struct rdma_ini_slot *slots; /* sq_size of them */
	uint16_t free;
	uint32_t icd_max;     /* bytes of in-capsule data */
	struct rdma_mem *mem; /* of the pool that requests come from */

	/* sending: slots in order, a ring of RDMA_MAX_QUEUE at most */
	uint16_t *fifo;
	uint16_t fifo_head, fifo_n, fifo_size;
	unsigned sq_free;
	unsigned quiet; /* requests sent since the last that tells when it is done */
	struct loop_hook flush;

	/* capsules, responses and the Connect's data: registered memory */
	struct rdma_slab slab;
	/* for the rare data that is in scattered segments; made when first needed */
	struct rdma_slab bounce;
	bool bouncing; /* some slot has it */

	/* connecting */
	struct ini_params params;
	struct rdma_cm cm;
	struct rdma_cm_id *id;
	struct loop_timer timer;
	struct nvme_cqe connect_cqe;

	int error;    /* -errno of the end */
	bool refused; /* it was the Connect's status, in connect_cqe */
	char reason[128];
};

static inline struct rdma_ini *rdma_ini_of_q(struct rdma_qp *q)
{
	return (struct rdma_ini *)((char *)q - offsetof(struct rdma_ini, q));
}

/* The slab: a capsule and a response for each slot, then the Connect's data. */
static inline struct nvme_sqe *rdma_ini_capsule(const struct rdma_ini *t, unsigned slot)
{
	return (struct nvme_sqe *)t->slab.mem + slot;
}

static inline struct nvme_cqe *rdma_ini_response(const struct rdma_ini *t, unsigned i)
{
	return (struct nvme_cqe *)((struct nvme_sqe *)t->slab.mem + t->qp.sq_size) + i;
}

static inline struct nvmf_connect_payload *rdma_ini_connect_data(const struct rdma_ini *t)
{
	return (struct nvmf_connect_payload *)rdma_ini_response(t, t->qp.sq_size);
}

/* Ends it: nothing more is sent or received, and the hook tells. */
__attribute__((format(printf, 3, 4))) void rdma_ini_fail(struct rdma_ini *t, int error,
							 const char *fmt, ...);
extern const struct rdma_qp_ops rdma_ini_qp_ops;

/* ---- connecting ---- */
/* 0, or -errno when there is nothing to wait for. */
int rdma_ini_dial(struct rdma_ini *t);
void rdma_ini_connect_resp(struct rdma_ini *t, const struct nvme_cqe *cqe);
/* Tells the peer and lets go of the connection manager's ID. */
void rdma_ini_hang_up(struct rdma_ini *t);

/* ---- sending ---- */
/* Work requests that the send queue must hold for @sq_size commands. */
unsigned rdma_ini_send_size(unsigned sq_size);
void rdma_ini_send(struct rdma_ini *t, uint16_t slot);
/* Makes the pool's memory known for requests of it: 0 or -errno. */
int rdma_ini_use_pool(struct rdma_ini *t, const struct pool *pool);
/* The hook for it; @arg: struct rdma_ini. */
void rdma_ini_flush(void *arg);
/* Sends the Connect, which is capsule 0 and belongs to no request. */
int rdma_ini_send_connect(struct rdma_ini *t);
/* A send request has ended well, and with it those before it. */
void rdma_ini_sent(struct rdma_ini *t, uint64_t wr_id);
/* The slot's command is over: whoever waits for the bounce buffer may have it. @good: read data in
 * it is to be copied out. */
void rdma_ini_unbounce(struct rdma_ini *t, struct rdma_ini_slot *slot, bool good);
/* Gives the device one more buffer for a response. 0 or -errno. */
int rdma_ini_receive(struct rdma_ini *t, unsigned i);

#endif
