/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cross-Controller Reset (Base 2.3, 5.4.3): a host that has lost one of its controllers ends it
 * through another one, and then knows that nothing it sent there can overtake what it sends now. A
 * controller is told apart from others that had its ID before or get it later by CIU and CIRN.
 *
 * The answer comes when the controller has gone and every worker knows which of its writes are
 * still out (they are fenced then). So it always says that the reset is done, and no log page is
 * needed.
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/admin.h"
#include "transport/target.h"

#define ST_IN_PROGRESS (NVME_STATUS(1, 0x3f) | NVME_DNR)
#define ST_LIMIT       (NVME_STATUS(1, 0x41) | NVME_DNR)

struct ccr {
	TAILQ_ENTRY(ccr) link; /* in subsystem.ccrs until the controller has gone */
	struct host_queue *q;  /* that the command came on */
	struct request *req;
	struct controller_ident ident;
};

static bool same(const struct controller_ident *a, const struct controller_ident *b)
{
	return a->cntlid == b->cntlid && a->ciu == b->ciu && a->cirn == b->cirn &&
	       !strcmp(a->hostnqn, b->hostnqn) && !memcmp(a->hostid, b->hostid, sizeof(a->hostid));
}

static void answer(void *arg)
{
	struct ccr *r = arg;

	r->q->ctrl->nr_ccrs--;
	r->req->cqe.result = htole32(NVME_CCR_DONE);
	tgt_complete_status(r->req, 0);
	queue_put(r->q);
	free(r);
}

void ccr_controller_gone(struct controller *c)
{
	struct subsystem *ss = c->ss;
	struct ccr *r, *next;

	if (!ss->mp)
		return;
	ss->ended[ss->nr_ended++ % SUBSYS_ENDED] = c->ident;
	for (r = TAILQ_FIRST(&ss->ccrs); r; r = next) {
		next = TAILQ_NEXT(r, link);
		if (!same(&r->ident, &c->ident))
			continue;
		TAILQ_REMOVE(&ss->ccrs, r, link);
		mp_barrier(ss->gw->mp, answer, r);
	}
}

static struct controller *find(const struct subsystem *ss, const struct controller_ident *ident)
{
	struct controller *c;

	TAILQ_FOREACH(c, &ss->controllers, link)
		if (same(&c->ident, ident))
			return c;
	return NULL;
}

static bool has_ended(const struct subsystem *ss, const struct controller_ident *ident)
{
	for (unsigned i = 0; i < SUBSYS_ENDED; i++)
		if (same(&ss->ended[i], ident))
			return true;
	return false;
}

static bool in_progress(const struct subsystem *ss, const struct controller_ident *ident)
{
	const struct ccr *r;

	TAILQ_FOREACH(r, &ss->ccrs, link)
		if (same(&r->ident, ident))
			return true;
	return false;
}

uint16_t ccr_run(struct controller *c, struct request *req)
{
	uint32_t dw10 = le32toh(req->sqe.cdw10);
	struct controller_ident ident = c->ident; /* the same host's */
	struct subsystem *ss = c->ss;
	struct controller *impacted;
	struct ccr *r;

	ident.cntlid = (uint16_t)dw10;
	ident.ciu = (uint8_t)(dw10 >> 16);
	memcpy(&ident.cirn, &req->sqe.cdw12, sizeof(ident.cirn));
	ident.cirn = le64toh(ident.cirn);
	impacted = find(ss, &ident);
	if (impacted == c || (!impacted && !has_ended(ss, &ident)))
		return NVME_ST_INVALID_FIELD;
	if (in_progress(ss, &ident))
		return ST_IN_PROGRESS;
	if (c->nr_ccrs >= CTRL_CCR_LIMIT)
		return ST_LIMIT;
	r = calloc(1, sizeof(*r));
	if (!r)
		abort();
	r->q = c->admin;
	r->req = req;
	r->ident = ident;
	queue_get(r->q);
	c->nr_ccrs++;
	if (!impacted) {
		mp_barrier(ss->gw->mp, answer, r);
		return ADMIN_LATER;
	}
	TAILQ_INSERT_TAIL(&ss->ccrs, r, link);
	controller_end(impacted, "reset by its host through another controller");
	return ADMIN_LATER;
}
