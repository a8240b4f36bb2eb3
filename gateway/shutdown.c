/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A subsystem is flushed for all controllers that are being shut down together, one time after the
 * other: so however often hosts ask for it, no more than one Flush per namespace is under way.
 */
#include "gateway/shutdown.h"

#include <stdlib.h>

#include "transport/log.h"

/* Of no pool: what hosts have in flight must not keep it from being sent. */
struct flush {
	struct request req;
	struct subsystem *ss;
	struct head_worker *hw;
};

static void start(struct subsystem *ss);

static void put(struct subsystem *ss)
{
	struct controller *c;

	if (--ss->shutdown.left)
		return;
	TAILQ_FOREACH(c, &ss->controllers, link) {
		if (c->shutdown != ss->shutdown.run)
			continue;
		c->csts = (c->csts & ~CSTS_SHST_MASK) | CSTS_SHST_DONE;
		c->shutdown = 0;
	}
	TAILQ_FOREACH(c, &ss->controllers, link) {
		if (!c->shutdown)
			continue;
		start(ss);
		break;
	}
}

static void on_flushed(void *arg)
{
	struct flush *f = arg;
	uint16_t status = nvme_cqe_status(&f->req.cqe);

	/* There is nothing that a host could do about it: it is told that all is over. */
	if (status)
		log_warn("%s: a Flush for a host's shutdown failed: status %#x", f->ss->nqn,
			 status);
	put(f->ss);
	free(f);
}

static void on_complete(struct request *req)
{
	struct flush *f = req->complete_arg;

	loop_post(f->ss->gw->control, on_flushed, f);
}

static void flush_on_worker(void *arg)
{
	struct flush *f = arg;

	head_submit(f->hw, &f->req);
}

/* On one worker: a Flush covers what the others have written as well. */
static void flush(struct subsystem *ss, struct head *h)
{
	struct flush *f = calloc(1, sizeof(*f));

	if (!f)
		abort();
	f->ss = ss;
	f->hw = h->hw[0]; /* retired by later messages, so it is there */
	f->req.sqe.opcode = nvme_cmd_flush;
	f->req.sqe.nsid = htole32(h->nsid);
	f->req.complete = on_complete;
	f->req.complete_arg = f;
	ss->shutdown.left++;
	loop_post(ss->gw->workers[0].loop, flush_on_worker, f);
}

static void start(struct subsystem *ss)
{
	struct head *h;

	ss->shutdown.run++;
	ss->shutdown.left = 1; /* until all have been sent */
	TAILQ_FOREACH(h, &ss->mp->heads, link)
		flush(ss, h);
	put(ss);
}

void shutdown_start(struct controller *c)
{
	struct subsystem *ss = c->ss;

	/* One that is under way may be too early for what this host has written. */
	c->shutdown = ss->shutdown.run + 1;
	c->csts |= CSTS_SHST_OCCURRING;
	if (!ss->shutdown.left)
		start(ss);
}

void shutdown_forget(struct controller *c)
{
	c->shutdown = 0;
}
