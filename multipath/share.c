/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much may wait for what is not there: for a path, for the end of a lost association, or for as
 * long as a controller asks (CRD). That can last for many seconds, and everybody else on the worker
 * needs slots and buffers meanwhile. So all of it together may have half of them, and each head
 * what its subsystem says.
 */
#include "multipath/dispatch.h"

static uint64_t bytes_of(const struct request *req)
{
	return (uint64_t)req->nsegs * SEG_SIZE;
}

void share_init(struct mp_worker *mw)
{
	const struct pool *pool = loop_pool(mw->loop);

	mw->parked_max = (struct share){
		.n = pool_total_requests(pool) / 2,
		.bytes = (uint64_t)pool_total_segments(pool) / 2 * SEG_SIZE,
	};
}

void share_add(struct share *s, const struct request *req)
{
	s->n++;
	s->bytes += bytes_of(req);
}

void share_sub(struct share *s, const struct request *req)
{
	s->n--;
	s->bytes -= bytes_of(req);
}

void share_count(struct mp_worker *mw, struct share *counted, struct share now)
{
	mw->parked.n += now.n - counted->n;
	mw->parked.bytes += now.bytes - counted->bytes;
	*counted = now;
}

bool share_full(const struct head_worker *hw, const struct share *s, const struct request *req)
{
	const struct mp_worker *mw = hw->mw;
	uint64_t bytes = bytes_of(req);

	return s->n >= hw->view->max_held || s->bytes + bytes > hw->view->max_held_bytes ||
	       mw->parked.n >= mw->parked_max.n || mw->parked.bytes + bytes > mw->parked_max.bytes;
}
