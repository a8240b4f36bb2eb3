/* SPDX-License-Identifier: Apache-2.0 */
/* Paths that change rank in bulk, as an ANA group that moves takes all its namespaces along. */
#include <stdlib.h>

#include "multipath/control.h"
#include "multipath/head.h"

struct move {
	struct head_worker *hw;
	const struct lane *lane;
	uint8_t rank;
};

struct moves_msg {
	unsigned n;
	struct move m[];
};

static void move_on_worker(void *arg)
{
	struct moves_msg *msg = arg;

	for (unsigned i = 0; i < msg->n; i++)
		head_worker_rank(msg->m[i].hw, msg->m[i].lane, msg->m[i].rank);
	free(msg);
}

void rank_batch_add(struct rank_batch *b, struct path *p)
{
	if (b->n == b->size) {
		b->size = b->size ? 2 * b->size : 64;
		b->paths = realloc(b->paths, b->size * sizeof(struct path *));
		if (!b->paths)
			abort();
	}
	b->paths[b->n++] = p;
}

static void post_moves(const struct rank_batch *b, unsigned w)
{
	struct moves_msg *msg = malloc(sizeof(*msg) + b->n * sizeof(msg->m[0]));

	if (!msg)
		abort();
	msg->n = b->n;
	for (unsigned i = 0; i < b->n; i++) {
		const struct path *p = b->paths[i];

		msg->m[i] = (struct move){p->head->hw[w], p->lanes->lane[w], p->rank};
	}
	loop_post(b->mp->workers[w].loop, move_on_worker, msg);
}

void rank_batch_publish(struct rank_batch *b)
{
	for (unsigned i = 0; i < b->n; i++)
		path_judge(b->paths[i]);
	for (unsigned w = 0; b->n && w < b->mp->n; w++)
		post_moves(b, w);
	for (unsigned i = 0; i < b->n; i++) {
		path_tell(b->paths[i]);
		head_tell(b->paths[i]->head);
	}
	free(b->paths);
}
