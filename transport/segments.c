/* SPDX-License-Identifier: Apache-2.0 */
/* Data segments in runs; see segments.h. */
#include "transport/segments.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* Blocks in use that are looked at for a run before memory is taken that is not in use. */
#define LOOK_AT 8u

int segments_init(struct segments *s, void *base, unsigned total)
{
	*s = (struct segments){.base = base, .total = total, .nr_free = total};
	TAILQ_INIT(&s->partly);
	TAILQ_INIT(&s->wholly);
	s->nr_blocks = (total + SEG_BLOCK - 1) / SEG_BLOCK;
	s->blocks = calloc(s->nr_blocks ? s->nr_blocks : 1, sizeof(s->blocks[0]));
	return s->blocks ? 0 : -ENOMEM;
}

void segments_fini(struct segments *s)
{
	free(s->blocks);
}

/* The bits of the segments that there are in the block. */
static uint64_t all_of(const struct segments *s, const struct seg_block *b)
{
	unsigned first = (unsigned)(b - s->blocks) * SEG_BLOCK;

	return s->total - first >= SEG_BLOCK ? UINT64_MAX : (1ull << (s->total - first)) - 1;
}

/* The lowest bit at which a run of @n ones starts, as a mask of that bit; 0: there is none. */
static uint64_t run_of(uint64_t free, unsigned n)
{
	/* A bit survives when the @have - 1 bits above it are set too. */
	for (unsigned have = 1; have < n && free;) {
		unsigned step = have < n - have ? have : n - have;

		free &= free >> step;
		have += step;
	}
	return free & -free;
}

/* Takes the @n lowest of the free bits from @from (a mask of one bit) on. */
static void take_from(struct segments *s, struct seg_block *b, uint64_t from, void **segs,
		      unsigned n)
{
	uint8_t *mem = s->base + (size_t)(b - s->blocks) * SEG_BLOCK * SEG_SIZE;
	uint64_t left = b->free & ~(from - 1);

	for (unsigned i = 0; i < n; i++, left &= left - 1)
		segs[i] = mem + (size_t)__builtin_ctzll(left) * SEG_SIZE;
	b->free &= left | (from - 1);
	s->nr_free -= n;
}

/* Takes as many as @n of the block's segments. */
static unsigned take_some(struct segments *s, struct seg_block *b, void **segs, unsigned n)
{
	unsigned have = (unsigned)__builtin_popcountll(b->free);

	if (have < n)
		n = have;
	take_from(s, b, 1, segs, n);
	return n;
}

/* A block in use is in the list of those if it has anything left. */
static void relist(struct segments *s, struct seg_block *b)
{
	if (b->free)
		TAILQ_INSERT_HEAD(&s->partly, b, link);
}

static bool take_run_in_use(struct segments *s, void **segs, unsigned n)
{
	struct seg_block *b;
	unsigned looked = 0;

	TAILQ_FOREACH(b, &s->partly, link) {
		uint64_t at = run_of(b->free, n);

		if (at) {
			take_from(s, b, at, segs, n);
			if (!b->free)
				TAILQ_REMOVE(&s->partly, b, link);
			return true;
		}
		if (++looked == LOOK_AT)
			break;
	}
	return false;
}

/* A block of at least @n segments of which none is in use, no longer in a list; NULL: there is
 * none. Only the very last block can be too short, so this looks at two at most. */
static struct seg_block *unused_block(struct segments *s, unsigned n)
{
	struct seg_block *b;

	TAILQ_FOREACH(b, &s->wholly, link) {
		if (run_of(b->free, n)) {
			TAILQ_REMOVE(&s->wholly, b, link);
			return b;
		}
	}
	if (s->fresh == s->nr_blocks || !run_of(all_of(s, &s->blocks[s->fresh]), n))
		return NULL;
	b = &s->blocks[s->fresh++];
	b->free = all_of(s, b);
	return b;
}

static void take_scattered(struct segments *s, void **segs, unsigned n)
{
	struct seg_block *b;
	unsigned got;

	while (n && (b = TAILQ_FIRST(&s->partly))) {
		got = take_some(s, b, segs, n);
		segs += got;
		n -= got;
		if (!b->free)
			TAILQ_REMOVE(&s->partly, b, link);
	}
	while (n) {
		b = unused_block(s, 1);
		got = take_some(s, b, segs, n);
		segs += got;
		n -= got;
		relist(s, b);
	}
}

void segments_take(struct segments *s, void **segs, unsigned n)
{
	struct seg_block *b;

	assert(n && n <= SEG_BLOCK && n <= s->nr_free);
	if (take_run_in_use(s, segs, n))
		return;
	b = unused_block(s, n);
	if (!b) {
		take_scattered(s, segs, n);
		return;
	}
	take_from(s, b, 1, segs, n);
	relist(s, b);
}

void segments_put(struct segments *s, void *seg)
{
	size_t off = (size_t)((uint8_t *)seg - s->base), i = off / SEG_SIZE;
	struct seg_block *b = &s->blocks[i / SEG_BLOCK];
	uint64_t bit = 1ull << i % SEG_BLOCK, before = b->free;

	assert((uint8_t *)seg >= s->base && off % SEG_SIZE == 0 && i < s->total);
	assert(i / SEG_BLOCK < s->fresh && !(before & bit));
	b->free |= bit;
	s->nr_free++;
	if (b->free == all_of(s, b)) {
		if (before)
			TAILQ_REMOVE(&s->partly, b, link);
		TAILQ_INSERT_HEAD(&s->wholly, b, link);
	} else if (!before) {
		TAILQ_INSERT_HEAD(&s->partly, b, link);
	}
}
