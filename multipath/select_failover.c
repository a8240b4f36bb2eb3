/* SPDX-License-Identifier: Apache-2.0 */
/* The first path in configured order. */
#include "multipath/selector.h"

static struct view_entry *pick(struct head_worker *hw, enum path_rank rank,
			       const struct request *req)
{
	/* A full queue is waited for, not overflowed to the next path: the order is the admin's
	 * wish. */
	for (unsigned i = 0; i < hw->view->n; i++) {
		struct view_entry *e = &hw->view->e[i];

		if (e->rank == rank && selector_alive(e))
			return ini_room(e->conn->qp) ? e : NULL;
	}
	return NULL;
}

const struct selector selector_failover = {.name = "failover", .pick = pick};
