/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data segments of a pool: which are free, and which are taken so that several of one request
 * lie behind each other. An RDMA upstream is told of a command's data by one address, one length
 * and one key, so only data in one run can be moved without a copy; for all others a run is merely
 * pleasant. Hence a run where there is one, and scattered segments where not.
 *
 * Blocks of 64 segments, as many as a request has at most, with one bit for each. What is taken is
 * taken from blocks in use first, then from those that have been, last from untouched memory: so
 * memory becomes resident only about as far as use has ever gone at once.
 */
#ifndef TRANSPORT_SEGMENTS_H
#define TRANSPORT_SEGMENTS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "transport/request.h"

#define SEG_BLOCK 64u
static_assert(REQUEST_MAX_SEGS <= SEG_BLOCK);

struct seg_block {
	TAILQ_ENTRY(seg_block) link; /* in the list for how many of it are free; none when none */
	uint64_t free;
};

TAILQ_HEAD(seg_block_list, seg_block);

struct segments {
	uint8_t *base;
	struct seg_block *blocks;
	struct seg_block_list partly, wholly; /* free ones of the blocks below `fresh` */
	unsigned nr_blocks;
	unsigned fresh; /* blocks from here on have never been used */
	unsigned total, nr_free;
};

/* @base: memory of @total segments, SEG_SIZE-aligned, the caller's. 0 or -ENOMEM. */
int segments_init(struct segments *s, void *base, unsigned total);
void segments_fini(struct segments *s);

/* Takes @n (1..SEG_BLOCK, at most nr_free) segments: in one run when that is found soon. */
void segments_take(struct segments *s, void **segs, unsigned n);
void segments_put(struct segments *s, void *seg);

#endif
