/* SPDX-License-Identifier: Apache-2.0 */
/* The fewest commands in flight for its weight; among equals in turn. */
#include "multipath/selector.h"

static bool emptier(const struct view_entry *a, const struct view_entry *b)
{
	return (uint64_t)a->conn->qp->inflight * b->weight <
	       (uint64_t)b->conn->qp->inflight * a->weight;
}

static struct view_entry *pick(struct head_worker *hw, enum path_rank rank,
			       const struct request *req)
{
	struct view_entry *best = NULL;
	unsigned n = hw->view->n;

	for (unsigned i = 0; i < n; i++) {
		struct view_entry *e = &hw->view->e[(hw->next + i) % n];

		if (selector_ready(e, rank) && (!best || emptier(e, best)))
			best = e;
	}
	if (best)
		hw->next = (unsigned)(best - hw->view->e) + 1;
	return best;
}

const struct selector selector_queue_depth = {.name = "queue-depth", .pick = pick};
