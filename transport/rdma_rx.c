/* SPDX-License-Identifier: Apache-2.0 */
/* Receive buffers, own and shared; see rdma_rx.h. */
#include "transport/rdma_rx.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "transport/log.h"
#include "transport/loop.h"
#include "transport/nvme.h"
#include "transport/pool.h"

/* Shared buffers are registered, that is pinned, as they are needed. */
#define PER_MR 64u

/*
 * Buffers that may be lost before nobody else joins. Those that are there go on with what is left,
 * which is enough: this many were spare. The next begin anew, up to so many times while there is
 * anybody left of the earlier; and after that they get their own buffers.
 */
#define SPARE	    16u
#define GENERATIONS 4u

/* Control's. */
static LIST_HEAD(, rdma_rx) shared = LIST_HEAD_INITIALIZER(shared);

static size_t memory_len(const struct rdma_rx *rx)
{
	return rx->max * rx->buf_size;
}

static unsigned mrs(const struct rdma_rx *rx)
{
	return (rx->max + rx->per_mr - 1) / rx->per_mr;
}

int rdma_rx_give(const struct rdma_rx *rx, struct ibv_qp *qp, uint64_t wr_id)
{
	/* What never was a receive would be given to whoever takes the buffer next. */
	assert(rdma_rx_index(wr_id) < rx->max &&
	       rx->mr[rdma_rx_index(wr_id) / rx->per_mr]->lkey == (uint32_t)(wr_id >> 32));
	struct ibv_sge sge = {
		.addr = (uintptr_t)rdma_rx_buffer(rx, wr_id),
		.length = (uint32_t)(sizeof(struct nvme_sqe) + rx->icd),
		.lkey = (uint32_t)(wr_id >> 32),
	};
	struct ibv_recv_wr wr = {.wr_id = wr_id, .sg_list = &sge, .num_sge = 1}, *bad;

	return -(rx->srq ? ibv_post_srq_recv(rx->srq, &wr, &bad) : ibv_post_recv(qp, &wr, &bad));
}

/* Up to @n buffers in all. */
static int grow(struct rdma_rx *rx, struct ibv_qp *qp, unsigned n)
{
	while (rx->n < n) {
		unsigned i = rx->n / rx->per_mr, first = i * rx->per_mr;
		unsigned count = rx->max - first < rx->per_mr ? rx->max - first : rx->per_mr;
		int e;

		if (!rx->mr[i])
			rx->mr[i] = rdma_dev_register(rx->dev, RDMA_TARGET,
						      rx->mem + first * rx->buf_size,
						      count * rx->buf_size);
		if (!rx->mr[i])
			return -ENOMEM;
		e = rdma_rx_give(rx, qp, (uint64_t)rx->mr[i]->lkey << 32 | rx->n << RDMA_RX_BITS);
		if (e)
			return e;
		rx->n++;
	}
	return 0;
}

static int set_up(struct rdma_rx *rx, struct rdma_dev *dev, unsigned max, unsigned per_mr,
		  uint32_t icd)
{
	*rx = (struct rdma_rx){.dev = dev, .icd = icd, .max = max, .per_mr = per_mr};
	rdma_dev_hold(dev);
	rx->buf_size = (sizeof(struct nvme_sqe) + icd + 63) & ~(size_t)63;
	rx->mr = calloc(mrs(rx), sizeof(struct ibv_mr *));
	if (!rx->mr)
		return -ENOMEM;
	rx->mem = mmap(NULL, memory_len(rx), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (rx->mem == MAP_FAILED) {
		rx->mem = NULL;
		return -errno;
	}
	return 0;
}

int rdma_rx_init(struct rdma_rx *rx, struct rdma_dev *dev, struct ibv_qp *qp, unsigned n,
		 uint32_t icd)
{
	int e = set_up(rx, dev, n, n, icd);

	return e ? e : grow(rx, qp, n);
}

void rdma_rx_fini(struct rdma_rx *rx)
{
	if (rx->srq)
		ibv_destroy_srq(rx->srq);
	for (unsigned i = 0; rx->mr && i < mrs(rx); i++)
		if (rx->mr[i])
			ibv_dereg_mr(rx->mr[i]);
	free(rx->mr);
	if (rx->mem)
		munmap(rx->mem, memory_len(rx));
	if (rx->dev)
		rdma_dev_put(rx->dev);
	*rx = (struct rdma_rx){.max = 0};
}

/* ---- shared ---- */

static struct rdma_rx *make(struct rdma_dev *dev, const struct loop *loop, uint32_t icd)
{
	unsigned limit = (unsigned)rdma_dev_attr(dev)->max_srq_wr;
	/* One for each command that there can be at a time, and as many for queue pairs to keep. */
	unsigned max = 2 * pool_total_requests(loop_pool(loop)) + SPARE;
	struct ibv_srq_init_attr attr = {.attr = {.max_sge = 1}};
	struct rdma_rx *rx;
	int e;

	if (!rdma_dev_attr(dev)->max_srq)
		return NULL;
	rx = calloc(1, sizeof(*rx));
	if (!rx)
		return NULL;
	attr.attr.max_wr = max < limit ? max : limit;
	e = set_up(rx, dev, attr.attr.max_wr, PER_MR, icd);
	rx->srq = e ? NULL : ibv_create_srq(rdma_dev_pd(dev, RDMA_TARGET), &attr);
	if (!rx->srq) {
		log_ratelimited(LOG_WARNING,
				"RDMA device %s: no shared receive queue can be made: queues get "
				"buffers of their own",
				ibv_get_device_name(rdma_dev_verbs(dev)->device));
		rdma_rx_fini(rx);
		free(rx);
		return NULL;
	}
	rx->loop = loop;
	log_debug(RDMA, "device %s, loop %u: a shared receive queue for up to %u capsules",
		  ibv_get_device_name(rdma_dev_verbs(dev)->device), loop_id(loop), rx->max);
	LIST_INSERT_HEAD(&shared, rx, link);
	return rx;
}

static void let_go(struct rdma_rx *rx)
{
	LIST_REMOVE(rx, link);
	rdma_rx_fini(rx);
	free(rx);
}

struct rdma_rx *rdma_rx_join(struct rdma_dev *dev, const struct loop *loop, uint32_t icd,
			     unsigned depth)
{
	unsigned enough, generations = 0;
	struct rdma_rx *rx, *found = NULL;

	LIST_FOREACH(rx, &shared, link) {
		if (rx->dev != dev || rx->loop != loop || rx->icd != icd)
			continue;
		generations++;
		if (rx->kept < SPARE)
			found = rx;
	}
	if (!found && generations < GENERATIONS)
		found = make(dev, loop, icd);
	if (!found)
		return NULL;
	enough = found->depths + depth;
	if (enough > pool_total_requests(loop_pool(loop)))
		enough = pool_total_requests(loop_pool(loop));
	enough += found->queues + 1 + SPARE;
	if (enough > found->max || grow(found, NULL, enough)) {
		if (!found->queues)
			let_go(found);
		return NULL;
	}
	found->queues++;
	found->depths += depth;
	return found;
}

void rdma_rx_leave(struct rdma_rx *rx, unsigned depth, unsigned kept)
{
	rx->queues--;
	rx->depths -= depth;
	rx->kept += kept;
	if (!rx->queues)
		let_go(rx);
}
