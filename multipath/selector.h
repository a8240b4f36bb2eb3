/* SPDX-License-Identifier: Apache-2.0 */
/* Path selection policies: one small file each behind this table. Worker loops only. */
#ifndef MULTIPATH_SELECTOR_H
#define MULTIPATH_SELECTOR_H

#include "multipath/worker.h"

/* Classes of paths, best first: ANA state within how willingly the path is used at all. */
enum path_rank {
	RANK_BEST,
	RANK_OPTIMIZED = RANK_BEST,
	RANK_NONOPTIMIZED,
	RANK_STANDBY, /* the admin's: only when there is no other */
	RANK_STANDBY_NONOPTIMIZED,
	RANK_LAST, /* slow or flapping: even after those */
	RANK_LAST_NONOPTIMIZED,
	RANK_NONE, /* takes no I/O */
};

struct selector {
	const char *name;
	/*
	 * The entry for the next command among those of class @rank that selector_ready() passes,
	 * or NULL when there is none.
	 */
	struct view_entry *(*pick)(struct head_worker *hw, enum path_rank rank,
				   const struct request *req);
};

extern const struct selector selector_failover, selector_round_robin, selector_queue_depth,
	selector_service_time, selector_numa;

/* Connected and not under suspicion: may be used now or as soon as its queue has room. */
static inline bool selector_alive(const struct view_entry *e)
{
	return e->conn && e->conn->up && !e->avoid;
}

static inline bool selector_ready(const struct view_entry *e, enum path_rank rank)
{
	return e->rank == rank && selector_alive(e) && ini_room(e->conn->qp) > 0;
}

/* The classes that have a path that is alive, as bits. */
static inline unsigned selector_ranks(const struct view *v)
{
	unsigned ranks = 0;

	for (unsigned i = 0; i < v->n; i++)
		if (selector_alive(&v->e[i]))
			ranks |= 1u << v->e[i].rank;
	return ranks & ((1u << RANK_NONE) - 1);
}

/* By enum mp_policy. */
const struct selector *selector_of(enum mp_policy policy);

#endif
