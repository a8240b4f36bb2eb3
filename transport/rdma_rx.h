/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers that the capsules of hosts are received into: a queue pair's own, or those that all I/O
 * queue pairs of a worker take from (a shared receive queue per device, worker and size). A buffer
 * is empty again as soon as its command has been looked at, so a worker needs about as many as it
 * has commands at one time, and not as many as all of its hosts may send.
 *
 * What a host can keep from the others is one buffer, by a capsule that it sends half of; so there
 * is one more for each queue pair. When a host sends more than all of them hold, the device has it
 * wait and send again.
 */
#ifndef TRANSPORT_RDMA_RX_H
#define TRANSPORT_RDMA_RX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "transport/rdma_dev.h"

struct loop;

struct rdma_rx {
	struct rdma_dev *dev;
	struct ibv_srq *srq; /* NULL: the queue pair's own */
	uint32_t icd;	     /* bytes of in-capsule data that a buffer takes */
	size_t buf_size;     /* of one */
	uint8_t *mem;
	unsigned max, n; /* buffers that there may be; that there are */
	struct ibv_mr **mr;
	unsigned per_mr; /* buffers that are registered at one time */

	/* of a shared one, control's */
	LIST_ENTRY(rdma_rx) link;
	const struct loop *loop;
	unsigned queues, depths; /* queue pairs that take from it; entries of their SQs together */
	unsigned kept;		 /* buffers that may be lost */
};

/* A receive's work request ID: the caller's bits, which buffer, and its key. */
#define RDMA_RX_BITS 2u

static inline unsigned rdma_rx_index(uint64_t wr_id)
{
	return (uint32_t)wr_id >> RDMA_RX_BITS;
}

static inline uint8_t *rdma_rx_buffer(const struct rdma_rx *rx, uint64_t wr_id)
{
	return rx->mem + rdma_rx_index(wr_id) * rx->buf_size;
}

/* Gives the device a buffer, again. Any thread for a shared one, @qp's for its own. 0 or -errno. */
int rdma_rx_give(const struct rdma_rx *rx, struct ibv_qp *qp, uint64_t wr_id);

/*
 * @n buffers of @qp's own, all of which the device has then; the caller's bits are 0. 0 or -errno;
 * fini, after the queue pair, is right after a failure and on zeroed memory too.
 */
int rdma_rx_init(struct rdma_rx *rx, struct rdma_dev *dev, struct ibv_qp *qp, unsigned n,
		 uint32_t icd);
void rdma_rx_fini(struct rdma_rx *rx);

/*
 * Control. The buffers that queue pairs of @loop share, with enough for one more of @depth entries;
 * NULL: there are none to be had, and the queue pair needs its own. Those who join leave, after the
 * queue pair's end.
 */
struct rdma_rx *rdma_rx_join(struct rdma_dev *dev, const struct loop *loop, uint32_t icd,
			     unsigned depth);
/* @kept: buffers that the device took for it and may never have told of; RDMA_RX_UNKNOWN: any. */
#define RDMA_RX_UNKNOWN 1000u
void rdma_rx_leave(struct rdma_rx *rx, unsigned depth, unsigned kept);

#endif
