/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A path takes I/O only when every worker knows of it and its association. Otherwise a worker that
 * learns of them first could acknowledge a write there, and another one, asked to Flush, would not
 * know that this controller has to be flushed too. So a path is published without rank at first,
 * and with it when all workers have said that they have that view.
 */
#include <stdlib.h>

#include "multipath/control.h"

struct announcement {
	struct mp *mp;
	uint64_t id;
	unsigned left; /* workers that have not answered */
};

struct worker_msg {
	struct announcement *a;
	struct mp_worker *mw;
};

static void finish(const struct announcement *a)
{
	struct rank_batch batch = {.mp = a->mp};
	struct mp_subsys *ss;
	struct upstream *up;
	struct path *p;

	TAILQ_FOREACH(ss, &a->mp->subsystems, link)
		TAILQ_FOREACH(up, &ss->upstreams, link)
			TAILQ_FOREACH(p, &up->paths, up_link) {
				if (p->announcing != a->id)
					continue;
				p->announcing = 0;
				if (p->head)
					rank_batch_add(&batch, p);
			}
	rank_batch_publish(&batch);
}

static void on_answer(void *arg)
{
	struct announcement *a = arg;

	if (--a->left)
		return;
	finish(a);
	mp_object_gone(a->mp);
	free(a);
}

static void on_worker(void *arg)
{
	struct worker_msg *m = arg;

	loop_post(m->mw->control, on_answer, m->a);
	free(m);
}

static void start(void *arg)
{
	struct mp *mp = arg;
	struct announcement *a = malloc(sizeof(*a));

	if (!a)
		abort();
	*a = (struct announcement){mp, mp->announcement++, mp->n};
	mp->announcing = false;
	for (unsigned w = 0; w < mp->n; w++) {
		struct worker_msg *m = malloc(sizeof(*m));

		if (!m)
			abort();
		*m = (struct worker_msg){a, &mp->workers[w]};
		loop_post(mp->workers[w].loop, on_worker, m);
	}
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
