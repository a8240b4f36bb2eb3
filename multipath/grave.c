/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespaces that have left their subsystem, for as long as writes to them may still be executed by
 * lost associations. The fences went with the head; so the namespace, should it come back, there or
 * in another subsystem, gets a new head only when there is nothing left to fence.
 */
#include <stdlib.h>

#include "multipath/control.h"
#include "multipath/head.h"

struct grave {
	TAILQ_ENTRY(grave) link;
	const struct head *head; /* NULL: freed, all its commands have ended */
	struct ns_ident ident;
	uint64_t serials; /* associations below this may have been sent its writes */
};

void grave_dig(const struct head *h)
{
	struct grave *g = calloc(1, sizeof(*g));

	if (!g)
		abort();
	g->head = h;
	g->ident = h->ident;
	TAILQ_INSERT_TAIL(&h->ss->mp->graves, g, link);
}

static bool over(const struct mp *mp, const struct grave *g)
{
	return !g->head && !quarantine_fenced_below(mp, g->serials);
}

void graves_look(struct mp *mp)
{
	struct grave *g, *next;
	struct mp_subsys *ss;
	bool any = false;

	for (g = TAILQ_FIRST(&mp->graves); g; g = next) {
		next = TAILQ_NEXT(g, link);
		if (!over(mp, g))
			continue;
		TAILQ_REMOVE(&mp->graves, g, link);
		free(g);
		any = true;
	}
	TAILQ_FOREACH(ss, &mp->subsystems, link)
		if (any && !ss->removed)
			mp_subsys_reconsider(ss);
}

void grave_close(const struct head *h)
{
	struct grave *g;

	TAILQ_FOREACH(g, &h->ss->mp->graves, link) {
		if (g->head != h)
			continue;
		g->head = NULL;
		g->serials = h->ss->mp->serials;
	}
	graves_look(h->ss->mp);
}

bool grave_allows(const struct mp *mp, const struct ns_ident *ident, struct mp_refusal *why)
{
	const struct grave *g;

	TAILQ_FOREACH(g, &mp->graves, link) {
		if (ident_compare(&g->ident, ident) == IDENT_DIFFERENT)
			continue;
		why->passing = true;
		why->expected = g->head;
		why->reason = g->head ? "it has left, and its commands have not all ended"
				      : "lost associations may still write to it";
		return false;
	}
	return true;
}

void graves_free(struct mp *mp)
{
	struct grave *g;

	while ((g = TAILQ_FIRST(&mp->graves))) {
		TAILQ_REMOVE(&mp->graves, g, link);
		free(g);
	}
}
