/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/controller.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/admin.h"
#include "gateway/event_of.h"
#include "gateway/io.h"
#include "gateway/shutdown.h"
#include "transport/log.h"

#define KATO_UNIT_MS	  100u	  /* what KAS says */
#define DISC_ACTIVITY_MS  120000u /* a discovery controller without keep-alive ends after that */
#define MDTS_MIN	  8192u	  /* 4 KiB pages times a power of two, and 0 says: no limit */
#define MDTS_UNKNOWN	  (128u << 10)
#define SQES_NVM	  6u
#define CQES_NVM	  4u
#define TEMP_OVER_DEFAULT 343u
#define ARBITRATION_BURST 7u

/* ---- queues ---- */

static void controller_put(struct controller *c);

void queue_get(struct host_queue *q)
{
	q->refs++;
}

void queue_put(struct host_queue *q)
{
	struct controller *c = q->ctrl;

	if (--q->refs)
		return;
	free(q);
	if (c)
		controller_put(c);
}

void queue_close(struct host_queue *q, const char *reason)
{
	if (!q->qp || q->closing)
		return;
	q->closing = true;
	q->qp->tr->close(q->qp, reason);
}

static void queue_join(struct host_queue *q, struct controller *c, uint16_t qid)
{
	TAILQ_REMOVE(&q->gw->strangers, q, link);
	q->gw->nr_strangers--;
	q->ctrl = c;
	q->qid = qid;
	c->refs++;
}

/* ---- counters ---- */

static void add_queue_totals(struct io_totals *t, const struct host_queue *q)
{
	t->commands += stat_get(&q->commands);
	t->reads += stat_get(&q->reads);
	t->writes += stat_get(&q->writes);
	t->read_bytes += stat_get(&q->read_bytes);
	t->write_bytes += stat_get(&q->write_bytes);
}

void controller_io_totals(const struct controller *c, struct io_totals *t)
{
	*t = c->gone;
	for (unsigned i = 1; i <= c->max_io_queues; i++)
		if (c->queues[i])
			add_queue_totals(t, c->queues[i]);
}

void controller_log_error(struct controller *c, struct error_entry e)
{
	e.count = ++c->errors;
	c->error_log[e.count % CTRL_ERROR_ENTRIES] = e;
}

/* ---- keep-alive: any command counts (traffic based, Base 2.0, 3.9.4.2) ---- */

static uint64_t commands_seen(const struct controller *c)
{
	struct io_totals t;

	controller_io_totals(c, &t);
	return c->admin_commands + t.commands;
}

static void arm_keep_alive(struct controller *c)
{
	uint32_t ms = c->kato;

	if (!ms && controller_is_discovery(c))
		ms = DISC_ACTIVITY_MS;
	c->ka_seen = commands_seen(c);
	if (ms)
		loop_timer_arm(&c->keep_alive, ms * NSEC_PER_MSEC);
	else
		loop_timer_cancel(&c->keep_alive);
}

static void on_keep_alive(void *arg)
{
	struct controller *c = arg;

	if (commands_seen(c) != c->ka_seen)
		arm_keep_alive(c);
	else
		controller_end(c, "no command within the keep-alive timeout");
}

void controller_set_kato(struct controller *c, uint32_t kato)
{
	uint64_t up = ((uint64_t)kato + KATO_UNIT_MS - 1) / KATO_UNIT_MS * KATO_UNIT_MS;

	c->kato = up > UINT32_MAX ? kato : (uint32_t)up;
	arm_keep_alive(c);
}

/* ---- enable, reset, shutdown ---- */

uint64_t controller_cap(const struct controller *c)
{
	uint64_t entries = c->ss->cfg ? c->ss->cfg->max_queue_size : CTRL_ADMIN_QUEUE_MAX;

	return (entries - 1) | 1ull << NVME_CAP_CQR_SHIFT |
	       (uint64_t)CTRL_READY_TIMEOUT << NVME_CAP_TO_SHIFT |
	       (uint64_t)NVME_CAP_CRWMS << NVME_CAP_CRMS_SHIFT |
	       (uint64_t)(NVME_CAP_CSS_NVM | NVME_CAP_CSS_CSI) << NVME_CAP_CSS_SHIFT;
}

static bool cc_acceptable(const struct controller *c)
{
	uint32_t css = NVME_CC_CSS(c->cc);

	if ((css != NVME_CC_CSS_NVM && css != NVME_CC_CSS_CSI) || NVME_CC_MPS(c->cc) ||
	    NVME_CC_AMS(c->cc) != NVME_CC_AMS_RR)
		return false;
	return controller_is_discovery(c) ||
	       (NVME_CC_IOSQES(c->cc) == SQES_NVM && NVME_CC_IOCQES(c->cc) == CQES_NVM);
}

static void default_features(struct controller *c)
{
	c->granted = c->max_io_queues;
	c->arbitration = ARBITRATION_BURST;
	c->temp_over = TEMP_OVER_DEFAULT;
	c->temp_under = 0;
	memset(c->error_recovery, 0, sizeof(c->error_recovery));
	c->write_atomicity = 0;
	c->aen_config = 0;
	atomic_store_explicit(&c->acre, false, memory_order_relaxed);
}

/* The largest size of a transfer that MDTS can say, up to @max. */
static uint32_t mdts_bytes(uint32_t max)
{
	uint32_t bytes = MDTS_MIN;

	while (bytes * 2 <= max && bytes * 2 <= REQUEST_MAX_DATA)
		bytes *= 2;
	return bytes;
}

/*
 * What hosts will be told; it holds for as long as the controller is enabled. Before any upstream
 * is known that is little: nothing that it might lack, and a transfer size that all take.
 */
static void take_limits(struct controller *c)
{
	struct subsystem *ss = c->ss;
	struct limits own;

	limits_none(&own);
	own.max_transfer = ss->cfg->max_transfer;
	own.oncs = io_oncs();
	if (!mp_subsys_limits(ss->mp, &c->limits)) {
		c->limits.max_transfer = MDTS_UNKNOWN;
		c->limits.oncs = 0;
	}
	limits_narrow(&c->limits, &own);
	c->limits.max_transfer = mdts_bytes(c->limits.max_transfer);
	limits_promise(&ss->mp->promised, &c->limits);
}

/*
 * Not ready while the upstreams are about to be known: what hosts are told cannot change later, and
 * an upstream that can do less than that is of no use any more.
 */
void controller_check_ready(struct controller *c)
{
	if (!c->enabling || c->resetting || subsystem_settling(c->ss))
		return;
	c->enabling = false;
	if (c->ss->mp)
		take_limits(c);
	c->csts |= NVME_CSTS_READY;
}

static void enable(struct controller *c)
{
	c->enabling = cc_acceptable(c);
	if (c->enabling)
		controller_check_ready(c);
	else
		c->csts |= NVME_CSTS_FATAL;
}

static void reset_done(struct controller *c)
{
	c->resetting = false;
	c->csts &= CSTS_SHST_MASK; /* a shutdown asked for with the reset may be through already */
}

/* RDY is cleared when the last I/O queue has gone. */
static void reset(struct controller *c)
{
	c->enabling = false;
	c->resetting = true;
	aer_reset(c);
	memset(c->changed_ns, 0, sizeof(c->changed_ns));
	memset(c->listed_ns, 0, sizeof(c->listed_ns));
	default_features(c);
	for (unsigned i = 1; i <= c->max_io_queues; i++)
		if (c->queues[i])
			queue_close(c->queues[i], "controller reset by the host");
	if (!c->nr_queues)
		reset_done(c);
}

void controller_set_cc(struct controller *c, uint32_t cc)
{
	uint32_t old = c->cc;

	c->cc = cc;
	if (NVME_CC_EN(cc) && !NVME_CC_EN(old))
		enable(c);
	if (!NVME_CC_EN(cc) && NVME_CC_EN(old))
		reset(c);
	shutdown_forget(c);
	c->csts &= ~CSTS_SHST_MASK;
	if (NVME_CC_SHN(cc) == NVME_CC_SHN_NORMAL && c->ss->mp)
		shutdown_start(c);
	else if (NVME_CC_SHN(cc))
		c->csts |= CSTS_SHST_DONE;
}

/* ---- life ---- */

static void controller_put(struct controller *c)
{
	struct subsystem *ss = c->ss;

	if (--c->refs)
		return;
	TAILQ_REMOVE(&ss->controllers, c, link);
	if (--ss->nr_controllers == 0 && ss->mp)
		memset(&ss->mp->promised, 0, sizeof(ss->mp->promised));
	loop_timer_fini(&c->keep_alive);
	ccr_controller_gone(c);
	free(c);
	if (!ss->nr_controllers)
		subsystem_hosts_gone(ss);
	gateway_host_gone(ss->gw);
}

static void name_life(struct controller *c, uint16_t cntlid, const char *hostnqn,
		      const uint8_t hostid[16])
{
	struct controller_ident *id = &c->ident;
	struct loop *control = c->ss->gw->control;

	id->cntlid = cntlid;
	if (!++c->ss->ciu_next)
		c->ss->ciu_next = 1;
	id->ciu = c->ss->ciu_next;
	id->cirn = (uint64_t)loop_random(control) << 32 | loop_random(control) | 1;
	strcpy(id->hostnqn, hostnqn);
	memcpy(id->hostid, hostid, sizeof(id->hostid));
}

struct controller *controller_new(struct subsystem *ss, struct host_queue *q, const char *hostnqn,
				  const uint8_t hostid[16], uint32_t kato)
{
	unsigned max_io_queues = ss->cfg ? ss->cfg->max_io_queues : 0;
	uint16_t cntlid = 0xffff;
	char peer[ADDR_STR_MAX];
	struct controller *c;

	if (ss->nr_controllers < ss->max_controllers)
		cntlid = subsystem_new_cntlid(ss);
	if (cntlid == 0xffff)
		return NULL;
	c = calloc(1, sizeof(*c) + (max_io_queues + 1) * sizeof(c->queues[0]));
	if (!c)
		abort();
	c->ss = ss;
	name_life(c, cntlid, hostnqn, hostid);
	c->peer = q->peer;
	c->local = q->local;
	c->listener = q->qp->tr->listener_arg(q->qp->listener);
	c->since = loop_now(ss->gw->control);
	c->max_io_queues = max_io_queues;
	TAILQ_INIT(&c->aers);
	default_features(c);
	TAILQ_INSERT_TAIL(&ss->controllers, c, link);
	ss->nr_controllers++;
	queue_join(q, c, 0);
	c->admin = q;
	loop_timer_init(&c->keep_alive, ss->gw->control, on_keep_alive, c);
	controller_set_kato(c, kato);
	log_info("controller %u of %s: connected by %s from %s", cntlid, ss->nqn, hostnqn,
		 queue_peer(q, peer));
	events_emit(ss->gw->events, EVENT_HOST_CONNECTED, event_of_host(c, ""));
	return c;
}

/* The worker with the fewest queues of this controller, of those the one with the fewest at all. */
static unsigned choose_worker(const struct controller *c)
{
	const struct gateway *gw = c->ss->gw;
	unsigned own[MP_MAX_WORKERS] = {0}, best = 0;

	for (unsigned i = 1; i <= c->max_io_queues; i++)
		if (c->queues[i])
			own[c->queues[i]->worker]++;
	for (unsigned w = 1; w < gw->nr_workers; w++)
		if (own[w] < own[best] ||
		    (own[w] == own[best] && gw->workers[w].queues < gw->workers[best].queues))
			best = w;
	return best;
}

static void place(struct host_queue *q, unsigned worker)
{
	q->worker = worker;
	q->placed = true;
	q->gw->workers[worker].queues++;
}

void controller_add_queue(struct controller *c, struct host_queue *q, uint16_t qid)
{
	if (!q->placed)
		place(q, choose_worker(c));
	q->mp = c->ss->mp;
	q->limits = c->limits;
	q->acre = &c->acre;
	queue_join(q, c, qid);
	c->queues[qid] = q;
	c->nr_queues++;
}

void controller_end(struct controller *c, const char *reason)
{
	if (c->dying)
		return;
	c->dying = true;
	log_info("controller %u of %s: ended: %s", c->ident.cntlid, c->ss->nqn, reason);
	events_emit(c->ss->gw->events, EVENT_HOST_DISCONNECTED, event_of_host(c, reason));
	loop_timer_cancel(&c->keep_alive);
	if (c->admin)
		queue_close(c->admin, reason);
	for (unsigned i = 1; i <= c->max_io_queues; i++)
		if (c->queues[i])
			queue_close(c->queues[i], reason);
}

/* ---- connections coming and going ---- */

static void io_queue_gone(struct host_queue *q)
{
	struct controller *c = q->ctrl;

	add_queue_totals(&c->gone, q);
	add_queue_totals(&c->ss->gone, q);
	c->queues[q->qid] = NULL;
	if (--c->nr_queues == 0 && c->resetting)
		reset_done(c);
}

static void stranger_gone(struct host_queue *q)
{
	TAILQ_REMOVE(&q->gw->strangers, q, link);
	q->gw->nr_strangers--;
	gateway_host_gone(q->gw);
}

/* Control hears that the connection has gone. */
static void queue_gone(void *arg)
{
	struct host_queue *q = arg;

	q->qp = NULL;
	if (q->placed)
		q->gw->workers[q->worker].queues--;
	if (!q->ctrl)
		stranger_gone(q);
	else if (q->qid)
		io_queue_gone(q);
	else
		q->ctrl->admin = NULL;
	queue_put(q);
}

/* Whose controller it will be is not known yet; but hosts connect their queues one by one. */
static struct loop *on_place(void *arg)
{
	const struct gateway *gw = ((const struct gw_listener *)arg)->gw;
	unsigned best = 0;

	for (unsigned w = 1; w < gw->nr_workers; w++)
		if (gw->workers[w].queues < gw->workers[best].queues)
			best = w;
	return gw->workers[best].loop;
}

static unsigned worker_of(const struct gateway *gw, const struct loop *loop)
{
	unsigned w = 0;

	while (gw->workers[w].loop != loop)
		w++;
	return w;
}

static void on_opened(struct tgt_qpair *qp)
{
	const struct gw_listener *l = qp->tr->listener_arg(qp->listener);
	struct host_queue *q = calloc(1, sizeof(*q));

	if (!q)
		abort();
	q->gw = l->gw;
	q->qp = qp;
	q->refs = 1;
	q->peer = qp->peer;
	q->local = qp->local;
	TAILQ_INIT(&q->postponed);
	qp->priv = q;
	if (qp->home)
		place(q, worker_of(q->gw, qp->home));
	TAILQ_INSERT_TAIL(&q->gw->strangers, q, link);
	q->gw->nr_strangers++;
	if (q->gw->stopping)
		queue_close(q, "stopping");
}

/* A connected I/O qpair is on its worker, all others are on control. */
static bool is_io(const struct tgt_qpair *qp)
{
	return qp->connected && qp->qid;
}

static void on_command(struct tgt_qpair *qp, struct request *req)
{
	if (is_io(qp))
		io_command(qp->priv, req);
	else
		admin_command(qp->priv, req);
}

static void on_data_ready(struct tgt_qpair *qp, struct request *req)
{
	if (is_io(qp))
		io_data_ready(qp->priv, req);
	else
		admin_data_ready(qp->priv, req);
}

/* Nothing to do: the worker finds all it needs in the host_queue. */
static void on_moved(struct tgt_qpair *qp)
{
}

/* The end of an admin queue is that of its controller, which is told anyway. */
static void tell_end(const struct host_queue *q, const char *reason)
{
	char who[64] = "", peer[ADDR_STR_MAX];

	if (q->ctrl && !q->qid)
		return;
	if (q->ctrl)
		snprintf(who, sizeof(who), "controller %u, queue %u of ", q->ctrl->ident.cntlid,
			 q->qid);
	if (q->qp->end == TGT_END_FAULT)
		log_ratelimited(LOG_INFO, "%shost %s: ended: %s", who, queue_peer(q, peer), reason);
	else
		log_debug(FABRICS, "%shost %s: ended: %s", who, queue_peer(q, peer), reason);
}

static void on_closed(struct tgt_qpair *qp, const char *reason)
{
	struct host_queue *q = qp->priv;

	tell_end(q, reason);
	q->closed = true;
	if (is_io(qp))
		io_closed(q);
	else
		admin_closed(q);
	if (qp->loop != q->gw->control) {
		loop_post(q->gw->control, queue_gone, q);
		return;
	}
	q->closing = true;
	if (q->ctrl && !q->qid)
		controller_end(q->ctrl, reason);
	queue_gone(q);
}

const struct tgt_ops gateway_tgt_ops = {
	.place = on_place,
	.opened = on_opened,
	.command = on_command,
	.data_ready = on_data_ready,
	.moved = on_moved,
	.closed = on_closed,
};
