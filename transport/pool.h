/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One loop's memory for I/O: request slots and data segments, sized once, LIFO so that what is used
 * is warm. An empty pool is back-pressure: the caller waits its turn. No locks: one loop only.
 */
#ifndef TRANSPORT_POOL_H
#define TRANSPORT_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "transport/request.h"
#include "transport/stats.h"

struct loop;

struct pool_waiter {
	TAILQ_ENTRY(pool_waiter) link;
	/* Called at the end of a turn in which something was put back; may wait again. */
	void (*fn)(void *arg);
	void *arg;
	bool queued;
	bool for_request; /* the pool's: which of its two queues it is in */
};

/**
 * pool_new() - reserve address space for @requests slots and @segments of SEG_SIZE bytes
 *
 * Segments are SEG_SIZE-aligned, backed by huge pages when the kernel gives them; pages are touched
 * only on use. The pool belongs to @loop and is set there. Returns NULL with errno.
 */
struct pool *pool_new(struct loop *loop, unsigned requests, unsigned segments);
void pool_free(struct pool *pool);

/* A zeroed request (data fields and callbacks; not the segs array), or NULL when there is none. */
struct request *pool_get(struct pool *pool);
/* Gives back the request and its segments. Its tx must not be queued, its ini must be NULL. */
void pool_put(struct request *req);

/* Takes segments for @len bytes, all or nothing: 0, or -ENOBUFS. req->nsegs must be 0; len at most
 * REQUEST_MAX_DATA. They lie in one run where there is one (segments.h). */
int request_alloc_data(struct request *req, uint32_t len);
/* The same for those that do not overtake: refused too while somebody else waits. In a waiter's own
 * call it is its turn, for one allocation. */
int request_alloc_data_in_turn(struct request *req, uint32_t len);
void request_free_data(struct request *req);

/*
 * First come, first served, once per call; to be called after a refusal by pool_get() or
 * request_alloc_data*(). It waits for whichever of the two, slot or segments, was refused last. A
 * waiter that gets nothing in its own call and waits again keeps its place; hence a pool must have
 * segments for the largest request that is ever asked for. One that got something and wants more
 * goes to the end of the line.
 */
void pool_wait(struct pool *pool, struct pool_waiter *w);
void pool_wait_cancel(struct pool *pool, struct pool_waiter *w);

/* What is handed out now, and how often somebody has had to wait for more. */
struct pool_use {
	uint64_t requests, segments, waits;
};
/* Any thread. */
void pool_use(const struct pool *pool, struct pool_use *use);

/* Where all segments are, for those that have to tell a device of it. */
void *pool_memory(const struct pool *pool, size_t *len);

unsigned pool_free_segments(const struct pool *pool);
unsigned pool_free_requests(const struct pool *pool);
unsigned pool_total_segments(const struct pool *pool);
unsigned pool_total_requests(const struct pool *pool);

#endif
