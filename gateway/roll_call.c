/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/roll_call.h"

#include <stdlib.h>

#include "gateway/gateway.h"

struct question {
	struct roll_call *r;
	struct loop *worker;
	bool yes;
};

static void on_answer(void *arg)
{
	struct question *q = arg;
	struct roll_call *r = q->r;

	r->all = r->all && q->yes;
	free(q);
	if (--r->missing == 0)
		r->answered(r->arg, r->all);
}

static void on_question(void *arg)
{
	struct question *q = arg;

	q->yes = q->r->ask(q->worker);
	loop_post(q->r->gw->control, on_answer, q);
}

void roll_call(struct roll_call *r)
{
	r->all = true;
	r->missing = r->gw->nr_workers;
	for (unsigned i = 0; i < r->gw->nr_workers; i++) {
		struct question *q = malloc(sizeof(*q));

		if (!q)
			abort();
		*q = (struct question){.r = r, .worker = r->gw->workers[i].loop};
		loop_post(q->worker, on_question, q);
	}
}
