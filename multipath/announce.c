/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A path takes I/O only when every worker knows of it and its association. Otherwise a worker that
 * learns of them first could acknowledge a write there, and another one, asked to Flush, would not
 * know that this controller has to be flushed too. So a path is published without rank at first,
 * and with it when all workers have that view.
 */
#include <stdlib.h>

#include "multipath/control.h"
#include "transport/log.h"

struct announcement {
	struct mp *mp;
	uint64_t id;
};

static void on_known(void *arg)
{
	struct announcement *a = arg;
	struct rank_batch batch = {.mp = a->mp};
	struct mp_subsys *ss;
	struct upstream *up;
	struct path *p;

	TAILQ_FOREACH(ss, &a->mp->subsystems, link)
		TAILQ_FOREACH(up, &ss->upstreams, link)
			TAILQ_FOREACH(p, &up->paths, up_link) {
				if (p->announcing != a->id)
					continue;
				log_debug(PATH, "%s/%u: known to all workers", up->cfg.name,
					  p->nsid);
				p->announcing = 0;
				if (p->head)
					rank_batch_add(&batch, p);
			}
	rank_batch_publish(&batch);
	free(a);
}

static void start(void *arg)
{
	struct mp *mp = arg;
	struct announcement *a = malloc(sizeof(*a));

	if (!a)
		abort();
	*a = (struct announcement){mp, mp->announcement++};
	mp->announcing = false;
	mp_barrier(mp, on_known, a);
	mp_object_gone(mp);
}

void announce(struct path *p)
{
	struct mp *mp = p->up->ss->mp;

	p->fresh = false;
	p->announcing = mp->announcement;
	if (mp->announcing)
		return;
	/* In a later turn, for all that this one publishes. */
	mp->announcing = true;
	mp->objects++;
	loop_post(mp->control, start, mp);
}
