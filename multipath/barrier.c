/* SPDX-License-Identifier: Apache-2.0 */
/* Until every worker has done what it was told before. */
#include <stdlib.h>

#include "multipath/control.h"

struct barrier {
	struct mp *mp;
	void (*fn)(void *arg);
	void *arg;
	unsigned left; /* workers that have not answered */
};

struct barrier_msg {
	struct barrier *b;
	struct mp_worker *mw;
};

static void on_answer(void *arg)
{
	struct barrier *b = arg;

	if (--b->left)
		return;
	b->fn(b->arg);
	mp_object_gone(b->mp);
	free(b);
}

static void on_worker(void *arg)
{
	struct barrier_msg *m = arg;

	loop_post(m->mw->control, on_answer, m->b);
	free(m);
}

void mp_barrier(struct mp *mp, void (*fn)(void *arg), void *arg)
{
	struct barrier *b = malloc(sizeof(*b));

	if (!b)
		abort();
	*b = (struct barrier){mp, fn, arg, mp->n};
	mp->objects++; /* until it is over */
	for (unsigned w = 0; w < mp->n; w++) {
		struct barrier_msg *m = malloc(sizeof(*m));

		if (!m)
			abort();
		*m = (struct barrier_msg){b, &mp->workers[w]};
		loop_post(mp->workers[w].loop, on_worker, m);
	}
}
