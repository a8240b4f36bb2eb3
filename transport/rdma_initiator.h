/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/RDMA as initiator, inside: what connecting (rdma_ini_connect.c), carrying commands
 * (rdma_initiator.c), sending them (rdma_ini_send.c) and memory windows (rdma_ini_window.c) share.
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
#define RDMA_WR_CLOSE	    (1ull << 33) /* of the slot's window */
#define RDMA_WR_COVERS(n)   ((uint64_t)(n) << 16)
#define RDMA_WR_COVERED(id) ((unsigned)((id) >> 16 & 0xffff))
#define RDMA_WR_INDEX(id)   ((unsigned)((id)&0xffff))
#define RDMA_WR_NO_SLOT	    0xffffu

/* A key that opens the data of one command; unused without register_always. */
struct rdma_window {
	struct ibv_mw *mw;
	uint32_t key; /* of the latest binding, whether that has been sent or not */
	bool open;    /* the controller has the key, or will have it */
};

struct rdma_ini_slot {
	struct request *req; /* NULL: free */
	uint16_t cid;	     /* of the present or last command */
	uint16_t next;	     /* in the list of free slots */
	bool queued;	     /* waits to be sent */
	bool sending;	     /* the device may still read capsule or in-capsule data */
	bool answered;	     /* the response is here */
	bool bounced;	     /* its data is in the bounce buffer */
	struct rdma_window window;
};

/* Slots in order, sq_size of them at most. */
struct rdma_ini_ring {
	uint16_t *slots;
	uint16_t head, n, size;
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
	bool windows;	      /* register_always */
	struct rdma_mem *mem; /* of the pool that requests come from */

	/* sending */
	struct rdma_ini_ring commands, closes; /* ... of windows */
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

static inline enum rdma_role rdma_ini_role(const struct rdma_ini *t)
{
	return t->windows ? RDMA_WINDOWS : RDMA_INITIATOR;
}

/* ---- connecting ---- */
/* 0, or -errno when there is nothing to wait for. */
int rdma_ini_dial(struct rdma_ini *t);
void rdma_ini_connect_resp(struct rdma_ini *t, const struct nvme_cqe *cqe, const struct ibv_wc *wc);
/* Tells the peer and lets go of the connection manager's ID. */
void rdma_ini_hang_up(struct rdma_ini *t);

/* ---- sending ---- */
/* Work requests that the send queue must hold for the commands of @sq_size slots. */
unsigned rdma_ini_send_size(const struct rdma_ini *t, unsigned sq_size);
void rdma_ini_send(struct rdma_ini *t, uint16_t slot);
/* Closes the slot's window: RDMA_WR_CLOSE tells when that is done. */
void rdma_ini_send_close(struct rdma_ini *t, uint16_t slot);
/* Makes the pool's memory known for requests of it: 0 or -errno. */
int rdma_ini_use_pool(struct rdma_ini *t, const struct pool *pool);
/* The hook for it; @arg: struct rdma_ini. */
void rdma_ini_flush(void *arg);
/* Sends the Connect, which is capsule 0 and belongs to no request; @data: what it names. */
int rdma_ini_send_connect(struct rdma_ini *t, const struct nvmf_connect_payload *data);
/* Closes the window that the Connect's data was named by. Nothing waits for that: what is sent
 * later comes after it. */
int rdma_ini_close_connect(struct rdma_ini *t);
/* A send request has ended well, and with it those before it. */
void rdma_ini_sent(struct rdma_ini *t, uint64_t wr_id);
/* The slot's command is over: whoever waits for the bounce buffer may have it. @good: read data in
 * it is to be copied out. */
void rdma_ini_unbounce(struct rdma_ini *t, struct rdma_ini_slot *slot, bool good);
/* Gives the device one more buffer for a response. 0 or -errno. */
int rdma_ini_receive(struct rdma_ini *t, unsigned i);

/* ---- windows ---- */
/* One for each slot, closed. 0 or -errno; fini is right after a failure and without any too. */
int rdma_ini_windows_init(struct rdma_ini *t);
void rdma_ini_windows_fini(struct rdma_ini *t);
/* Makes *@wr open the window, which is closed, on @len bytes of @mr; its key is w->key then. */
void rdma_ini_window_bind(struct rdma_window *w, struct ibv_send_wr *wr, struct ibv_mr *mr,
			  const void *mem, uint32_t len, enum nvme_dir dir);
/* Makes *@wr close it. */
void rdma_ini_window_close(const struct rdma_window *w, struct ibv_send_wr *wr);
/* What the response @wc has done to the window: 0 it is closed, 1 it is still open, -EPROTO the
 * controller has invalidated some other key. */
int rdma_ini_window_answered(struct rdma_ini *t, struct rdma_window *w, const struct ibv_wc *wc);

#endif
