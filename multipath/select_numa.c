/* SPDX-License-Identifier: Apache-2.0 */
/* The nearest: the first in configured order of those on the worker's NUMA node, else the first. */
#include "multipath/selector.h"

static struct view_entry *pick(struct head_worker *hw, enum path_rank rank,
			       const struct request *req)
{
	struct view_entry *best = NULL;

	for (unsigned i = 0; i < hw->view->n; i++) {
		struct view_entry *e = &hw->view->e[i];

		if (e->rank == rank && selector_alive(e) && (!best || e->distance < best->distance))
			best = e;
	}
	/* A full queue is waited for: a remote path costs more. */
	return best && ini_room(best->conn->qp) ? best : NULL;
}

const struct selector selector_numa = {.name = "numa", .pick = pick};
