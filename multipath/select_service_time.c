/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the command is expected to be done first: the smoothed time that commands of its kind and
 * size take on the path, stretched by what is in flight there. What has been in flight for longer
 * than that time counts as its lower bound, so a path that stops answering is left at once and not
 * when the first answer comes.
 */
#include "multipath/selector.h"

static uint64_t oldest_age(const struct conn *conn, uint64_t now)
{
	const struct request *oldest = TAILQ_FIRST(&conn->inflight);

	return oldest ? (now - oldest->submitted) / NSEC_PER_USEC : 0;
}

/* Microseconds times a constant. */
static uint64_t expected(const struct view_entry *e, const struct request *req, uint64_t now)
{
	uint64_t own = latency_cost(req->data_len);
	uint64_t us =
		latency_expect(&e->lane->latency, req->dir != NVME_DIR_C2H, req->data_len, now);
	uint64_t age = oldest_age(e->conn, now);

	if (age > us)
		us = age;
	/* Nothing known yet: only the load speaks, and it speaks little, so that it is tried. */
	if (!us)
		us = 1;
	return us * (own + e->conn->cost) / (own / 64) / e->weight;
}

static struct view_entry *pick(struct head_worker *hw, enum path_rank rank,
			       const struct request *req)
{
	uint64_t now = loop_now(hw->mw->loop), least = 0;
	struct view_entry *best = NULL;
	unsigned n = hw->view->n;

	for (unsigned i = 0; i < n; i++) {
		struct view_entry *e = &hw->view->e[(hw->next + i) % n];
		uint64_t t;

		if (!selector_ready(e, rank))
			continue;
		t = expected(e, req, now);
		if (best && t >= least)
			continue;
		best = e;
		least = t;
	}
	if (best)
		hw->next = (unsigned)(best - hw->view->e) + 1;
	return best;
}

const struct selector selector_service_time = {.name = "service-time", .pick = pick};
