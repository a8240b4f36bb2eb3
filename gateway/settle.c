/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/settle.h"

static bool is_settled(const struct upstream *up)
{
	const struct path *p;

	if (up->state == UPSTREAM_CONNECTING)
		return false;
	TAILQ_FOREACH(p, &up->paths, up_link)
		if (path_is_passing(p))
			return false;
	return true;
}

const struct upstream *upstream_unsettled(const struct upstream *up)
{
	const struct upstream *u;

	TAILQ_FOREACH(u, &up->ss->upstreams, link)
		if ((u == up || u->source == up) && !is_settled(u))
			return u;
	return NULL;
}
