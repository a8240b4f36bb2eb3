/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RDMA devices, and the memory that they are told of. One protection domain per device and role:
 * what hosts connect to knows pools without any remote access, so that no host can reach memory by
 * a key that an upstream was given; only the domain of the upstreams hands out keys. Upstreams that
 * are told of memory by windows only (rdma_ini_window.c) have a third, where a registration's own
 * key opens nothing.
 *
 * Any loop; a lock is held when a queue pair is made or ends and when memory is first used.
 */
#ifndef TRANSPORT_RDMA_DEV_H
#define TRANSPORT_RDMA_DEV_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <infiniband/verbs.h>

#include <rdma/rdma_cma.h>

struct loop;
struct pool;
struct rdma_dev;

#define RDMA_CHUNKS 64u /* of a pool, at most */

enum rdma_role { RDMA_TARGET, RDMA_INITIATOR, RDMA_WINDOWS };
#define RDMA_ROLES 3u

/*
 * Says in one log line when there is no device, and watches on @control over those that come into
 * use. Optional: without it nobody is told of a device's errors.
 */
void rdma_start(struct loop *control);
/* With no queue pair left, and before the pools go: lets go of everything. */
void rdma_stop(void);

/*
 * The device that the connection manager has found for @id; counted, give it back with
 * rdma_dev_put(). NULL with errno. It has a context of its own: that of the connection manager may
 * be closed with the last ID on a device that was removed.
 */
struct rdma_dev *rdma_dev_get(struct rdma_cm_id *id);
/* One more count of it. */
void rdma_dev_hold(struct rdma_dev *dev);
void rdma_dev_put(struct rdma_dev *dev);
/* The connection manager says that the device of @id is being taken away: nobody else gets it, and
 * it is closed after the last put. */
void rdma_dev_removed(struct rdma_cm_id *id);

struct ibv_context *rdma_dev_verbs(const struct rdma_dev *dev);
const struct ibv_device_attr *rdma_dev_attr(const struct rdma_dev *dev);
struct ibv_pd *rdma_dev_pd(const struct rdma_dev *dev, enum rdma_role role);
/* Whether it has memory windows of type 2: RDMA_WINDOWS can be had. */
bool rdma_dev_has_windows(const struct rdma_dev *dev);
/* Whether it says when a queue pair takes no more from a shared receive queue, as all should. */
bool rdma_dev_tells_last(const struct rdma_dev *dev);
/* The flags of a completion of which any says that the peer has invalidated a key. */
unsigned rdma_dev_inv_flags(const struct rdma_dev *dev);
/*
 * A pool's segments as a domain knows them; there for as long as the device is. Registered, that is
 * pinned, chunk by chunk as they are first used: control's pool has room for everything that hosts
 * may ever ask at once, and most of it is never touched. A worker's is registered ahead, by
 * rdma_mem_fill(), and then I/O finds it so.
 */
struct rdma_mem {
	SLIST_ENTRY(rdma_mem) link;
	struct rdma_dev *dev;
	enum rdma_role role;
	const struct pool *pool;
	const uint8_t *base;
	size_t len;
	size_t chunk;	      /* bytes; a multiple of what segments of a run lie in */
	pthread_mutex_t lock; /* held to register */
	struct ibv_mr *mr[RDMA_CHUNKS];
};

/* Memory of the caller's as a domain knows it, for ibv_dereg_mr(); NULL with errno after logging
 * why. */
struct ibv_mr *rdma_dev_register(struct rdma_dev *dev, enum rdma_role role, void *mem, size_t len);

/* NULL with errno. */
struct rdma_mem *rdma_dev_mem(struct rdma_dev *dev, enum rdma_role role, const struct pool *pool);
/* 0 or -errno. */
int rdma_mem_fill(struct rdma_mem *m);
/* Registers the @i'th chunk: NULL after logging why. */
struct ibv_mr *rdma_mem_register(struct rdma_mem *m, size_t i);

static inline size_t rdma_mem_index(const struct rdma_mem *m, const void *seg)
{
	return (size_t)((const uint8_t *)seg - m->base) / m->chunk;
}

/* The registration that a segment is in; NULL: there is none to be had. */
static inline struct ibv_mr *rdma_mem_of(struct rdma_mem *m, const void *seg)
{
	size_t i = rdma_mem_index(m, seg);

	return m->mr[i] ? m->mr[i] : rdma_mem_register(m, i);
}

/* Memory of a queue pair's own. */
struct rdma_slab {
	struct rdma_dev *dev;
	uint8_t *mem;
	size_t len;
	struct ibv_mr *mr;
};

/* Zeroed. 0 or -errno; fini is right after a failure and on zeroed memory too. */
int rdma_slab_init(struct rdma_slab *s, struct rdma_dev *dev, enum rdma_role role, size_t len);
void rdma_slab_fini(struct rdma_slab *s);

#endif
