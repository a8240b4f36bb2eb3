/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lost associations whose controllers may still execute writes that they were sent. When that has
 * ended for certain, the workers are told and take their fences down. It has ended
 *
 * - some time after the loss: the controller hears nothing, so its Keep Alive Timer expires, at the
 *   latest after twice KATO (three times where traffic restarts the timer, Base 2.1, 3.9), and then
 *   Command Quiesce Time is what it needs to bring all commands to an end;
 * - or when another controller of the subsystem that we are connected to says that it has reset the
 *   lost one (Cross-Controller Reset, Base 2.3, 5.4.3), where they offer that.
 */
#include <stdlib.h>
#include <string.h>

#include "multipath/control.h"
#include "multipath/head.h"
#include "transport/log.h"

/* Without a keep-alive nothing tells the controller that we have gone; TCP itself might. */
#define WAIT_WITHOUT_KEEP_ALIVE (60 * NSEC_PER_SEC)

struct quarantine {
	TAILQ_ENTRY(quarantine) link;
	struct mp *mp;
	uint64_t serial;
	char upstream[MP_NAME_MAX];
	char subnqn[NVMF_NQN_MAX + 1];
	uint16_t cntlid;
	uint8_t ciu;
	uint8_t cirn[8];
	uint64_t wait; /* ns from the loss */
	bool lost;     /* the clock runs */
	bool closed;   /* all its commands are back */
	bool fenced;   /* some were writes */
	uint64_t until;
	const struct assoc *asked; /* whose answer to a reset is awaited */
	uint64_t next;		   /* serial: associations below have been asked */
	struct loop_timer timer;
};

/* How long a controller that lost us may go on executing; @id: NULL when it is not known. */
static uint64_t time_to_end(const struct upstream_config *cfg, const struct nvme_id_ctrl *id)
{
	uint64_t kato = cfg->keep_alive_tmo, unit;
	uint16_t cqt;

	if (!kato)
		return WAIT_WITHOUT_KEEP_ALIVE;
	if (!id)
		return 3 * kato;
	/* The controller rounds up to its granularity, KAS, 100 ms units. */
	unit = le16toh(id->kas) * 100 * NSEC_PER_MSEC;
	if (unit)
		kato = (kato + unit - 1) / unit * unit;
	memcpy(&cqt, (const uint8_t *)id + NVME_ID_CTRL_CQT, sizeof(cqt));
	return (le32toh(id->ctratt) & NVME_CTRL_CTRATT_TBKAS ? 3 : 2) * kato +
	       le16toh(cqt) * NSEC_PER_MSEC;
}

uint64_t mp_subsys_quiesce_time(const struct mp_subsys *ss)
{
	const struct upstream *up;
	uint64_t worst = 0;

	TAILQ_FOREACH(up, &ss->upstreams, link) {
		uint64_t patience = conn_patience(up->cfg.io_timeout), end;

		if (up->cfg.discovery || !upstream_lingers(up))
			continue;
		end = time_to_end(&up->cfg, up->have_idctrl ? &up->idctrl : NULL);
		if (patience > UINT64_MAX - end)
			return UINT64_MAX;
		if (patience + end > worst)
			worst = patience + end;
	}
	return worst;
}

static struct quarantine *find(struct mp *mp, uint64_t serial)
{
	struct quarantine *q;

	TAILQ_FOREACH(q, &mp->quarantines, link)
		if (q->serial == serial)
			return q;
	return NULL;
}

static void forget(struct quarantine *q)
{
	TAILQ_REMOVE(&q->mp->quarantines, q, link);
	loop_timer_fini(&q->timer);
	free(q);
}

/* ---- the end ---- */

struct dead_msg {
	struct mp_worker *mw;
	uint64_t serial;
};

static void dead_on_worker(void *arg)
{
	struct dead_msg *m = arg;

	mp_worker_dead(m->mw, m->serial);
	free(m);
}

static void end(struct quarantine *q)
{
	struct mp *mp = q->mp;

	for (unsigned w = 0; w < mp->n; w++) {
		struct dead_msg *m = malloc(sizeof(*m));

		if (!m)
			abort();
		*m = (struct dead_msg){&mp->workers[w], q->serial};
		loop_post(mp->workers[w].loop, dead_on_worker, m);
	}
	forget(q);
	graves_look(mp);
}

static void on_timer(void *arg)
{
	struct quarantine *q = arg;

	log_info("upstream %s: the lost association with controller ID %u is over", q->upstream,
		 q->cntlid);
	end(q);
}

/* ---- Cross-Controller Reset ---- */

/* The one that the command named; it may be over already. */
static struct quarantine *named(struct mp *mp, const struct nvme_sqe *sqe)
{
	struct quarantine *q;

	TAILQ_FOREACH(q, &mp->quarantines, link)
		if (sqe->cdw10 == htole32((uint32_t)q->ciu << 16 | q->cntlid) &&
		    !memcmp(&sqe->cdw12, q->cirn, sizeof(q->cirn)))
			return q;
	return NULL;
}

static void on_reset(struct assoc *a, struct request *req, uint16_t status)
{
	struct quarantine *q = named(a->up->ss->mp, &req->sqe);

	if (!q || q->asked != a)
		return;
	q->asked = NULL;
	if (status) {
		log_warn("upstream %s: controller ID %u was not reset: %s", a->up->cfg.name,
			 q->cntlid, admin_status_str(status));
	} else if (le32toh(req->cqe.result) & NVME_CCR_DONE) {
		log_notice("upstream %s: controller ID %u has been reset through it",
			   a->up->cfg.name, q->cntlid);
		end(q);
	} else { /* only on its way: that is left to the clock */
		q->next = UINT64_MAX;
	}
	quarantine_ask(a->up->ss->mp);
}

static bool busy(const struct mp *mp, const struct assoc *a)
{
	const struct quarantine *q;

	TAILQ_FOREACH(q, &mp->quarantines, link)
		if (q->asked == a)
			return true;
	return false;
}

static bool can_reset(const struct quarantine *q, const struct upstream *up)
{
	return up->state == UPSTREAM_LIVE && up->assoc && up->assoc->serial >= q->next &&
	       up->cntlid != q->cntlid && !strcmp(up->cfg.nqn, q->subnqn) &&
	       ((const uint8_t *)&up->assoc->id)[NVME_ID_CTRL_CCRL];
}

/* An association with another controller of the same subsystem: the oldest not asked yet. */
static struct assoc *who_resets(const struct quarantine *q)
{
	struct assoc *first = NULL;
	struct mp_subsys *ss;
	struct upstream *up;

	TAILQ_FOREACH(ss, &q->mp->subsystems, link)
		TAILQ_FOREACH(up, &ss->upstreams, link)
			if (can_reset(q, up) && (!first || up->assoc->serial < first->serial))
				first = up->assoc;
	return first;
}

static void try_reset(struct quarantine *q)
{
	struct nvme_sqe sqe = {.opcode = NVME_ADMIN_CROSS_CONTROLLER_RESET};
	struct assoc *a;
	uint64_t cirn;

	if (!q->lost || !q->closed || !q->fenced || q->asked)
		return;
	memcpy(&cirn, q->cirn, sizeof(cirn));
	if (!q->ciu && !cirn)
		return;
	a = who_resets(q);
	if (!a || busy(q->mp, a))
		return;
	q->asked = a;
	q->next = a->serial + 1;
	sqe.cdw10 = htole32((uint32_t)q->ciu << 16 | q->cntlid);
	memcpy(&sqe.cdw12, q->cirn, sizeof(q->cirn));
	admin_send(a, &sqe, 0, a->up->cfg.connect_timeout, on_reset);
}

void quarantine_ask(struct mp *mp)
{
	struct quarantine *q;

	TAILQ_FOREACH(q, &mp->quarantines, link)
		try_reset(q);
}

/* ---- life ---- */

void quarantine_open(const struct assoc *a)
{
	const uint8_t *id = (const uint8_t *)&a->id;
	struct quarantine *q = calloc(1, sizeof(*q));

	if (!q)
		abort();
	q->mp = a->up->ss->mp;
	q->serial = a->serial;
	strcpy(q->upstream, a->up->cfg.name);
	strcpy(q->subnqn, a->up->cfg.nqn);
	q->cntlid = a->up->cntlid;
	q->ciu = id[NVME_ID_CTRL_CIU];
	memcpy(q->cirn, id + NVME_ID_CTRL_CIRN, sizeof(q->cirn));
	q->wait = time_to_end(&a->up->cfg, &a->id);
	loop_timer_init(&q->timer, q->mp->control, on_timer, q);
	TAILQ_INSERT_TAIL(&q->mp->quarantines, q, link);
}

void quarantine_lost(struct mp *mp, uint64_t serial)
{
	struct quarantine *q = find(mp, serial), *other;

	if (!q)
		return;
	q->lost = true;
	q->until = loop_now(mp->control) + q->wait;
	loop_timer_arm(&q->timer, q->wait);
	/* It cannot answer for others any more. */
	TAILQ_FOREACH(other, &mp->quarantines, link)
		if (other->asked && other->asked->serial == serial)
			other->asked = NULL;
	quarantine_ask(mp);
}

void quarantine_closed(struct mp *mp, uint64_t serial)
{
	struct quarantine *q = find(mp, serial);

	if (!q)
		return;
	q->closed = true;
	try_reset(q);
}

void quarantine_fenced(struct mp *mp, uint64_t serial)
{
	struct quarantine *q = find(mp, serial);

	if (!q)
		return;
	q->fenced = true;
	try_reset(q);
}

bool quarantine_fenced_below(const struct mp *mp, uint64_t serial)
{
	const struct quarantine *q;

	TAILQ_FOREACH(q, &mp->quarantines, link)
		if (q->fenced && q->serial < serial)
			return true;
	return false;
}

void quarantine_free_all(struct mp *mp)
{
	struct quarantine *q;

	while ((q = TAILQ_FIRST(&mp->quarantines)))
		forget(q);
}

void mp_quarantines(const struct mp *mp, void (*fn)(void *arg, const struct quarantine_info *q),
		    void *arg)
{
	const struct quarantine *q;

	TAILQ_FOREACH(q, &mp->quarantines, link)
		if (q->lost)
			fn(arg,
			   &(struct quarantine_info){q->upstream, q->cntlid, q->until, q->fenced});
}
