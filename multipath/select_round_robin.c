/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In turn, by weight: every ready path earns its weight, the richest goes and pays the sum, so that
 * a path of weight 3 beside one of 1 goes three times in four, spread evenly.
 */
#include "multipath/selector.h"

static struct view_entry *pick(struct head_worker *hw, enum path_rank rank,
			       const struct request *req)
{
	struct view_entry *best = NULL;
	int sum = 0;

	for (unsigned i = 0; i < hw->view->n; i++) {
		struct view_entry *e = &hw->view->e[i];

		if (!selector_ready(e, rank))
			continue;
		e->credit += (int)e->weight;
		sum += (int)e->weight;
		if (!best || e->credit > best->credit)
			best = e;
	}
	if (best)
		best->credit -= sum;
	return best;
}

const struct selector selector_round_robin = {.name = "round-robin", .pick = pick};
