/* SPDX-License-Identifier: Apache-2.0 */
/* Path selection policies: one small file each behind this table. Worker loops only. */
#ifndef MULTIPATH_SELECTOR_H
#define MULTIPATH_SELECTOR_H

#include "multipath/ana.h"
#include "multipath/worker.h"

struct selector {
	const char *name;
	/*
	 * The entry for the next command among those of class @rank that selector_ready() passes,
	 * or NULL when there is none.
	 */
	struct view_entry *(*pick)(struct head_worker *hw, enum ana_rank rank);
};

extern const struct selector selector_failover, selector_round_robin;

/* Connected and not under suspicion: may be used now or as soon as its queue has room. */
static inline bool selector_alive(const struct view_entry *e)
{
	return e->conn && e->conn->up && !e->avoid;
}

static inline bool selector_ready(const struct view_entry *e, enum ana_rank rank)
{
	return e->rank == rank && selector_alive(e) && ini_room(e->conn->qp) > 0;
}

/* By enum mp_policy. */
const struct selector *selector_of(enum mp_policy policy);

#endif
