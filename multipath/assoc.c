/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One association: the admin qpair from Connect to loss, the order in which its chapters follow
 * each other, and its I/O qpairs on the workers.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "multipath/control.h"
#include "transport/log.h"

#define ADMIN_QUEUE_SIZE 32
#define ADMIN_IOCCSZ	 4
/* Nobody waits for Aborts; those that are not answered leave room for what has to be. */
#define MAX_ABORTS (ADMIN_QUEUE_SIZE - 1 - 8)

/* ---- the end ---- */

static void maybe_free(struct assoc *a)
{
	struct upstream *up = a->up;

	if (!a->torn || a->conns_closed < a->nr_conns)
		return;
	for (unsigned i = 0; i < a->nr_conns; i++)
		free(a->conns[i]);
	free(a->ana_log);
	free(a->nsids);
	free(a->disc_log);
	free(a);
	upstream_put(up);
}

static void fini_timer(struct loop_timer *t)
{
	if (t->fn)
		loop_timer_fini(t);
}

static void close_on_worker(void *arg)
{
	conn_close(arg);
}

static void tear_down(void *arg)
{
	struct assoc *a = arg;

	if (a->admin)
		a->tr->close(a->admin);
	a->admin = NULL;
	fini_timer(&a->poll);
	fini_timer(&a->keep_alive);
	fini_timer(&a->ana_delay);
	fini_timer(&a->rescan);
	fini_timer(&a->disc_pause);
	fini_timer(&a->admin_expiry);
	a->torn = true;
	if (a->nr_conns)
		quarantine_lost(a->up->ss->mp, a->serial);
	for (unsigned i = 0; i < a->nr_conns; i++)
		loop_post(a->conns[i]->mw->loop, close_on_worker, a->conns[i]);
	maybe_free(a);
}

void assoc_drop(struct assoc *a)
{
	if (a->dead)
		return;
	a->dead = true;
	if (a->up->assoc == a)
		a->up->assoc = NULL;
	/* In a later turn: this may be running inside one of the admin qpair's callbacks. */
	loop_post(a->up->ss->mp->control, tear_down, a);
}

void assoc_fail(struct assoc *a, bool final, const char *fmt, ...)
{
	char reason[160];
	va_list ap;

	if (a->dead)
		return;
	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	assoc_drop(a);
	upstream_lost(a->up, final, reason);
}

/* ---- I/O qpairs ---- */

void conn_opened(struct conn *conn, int error, uint16_t status)
{
	struct assoc *a = conn->assoc;

	if (a->dead)
		return;
	if (error) {
		assoc_fail(a, false, "connecting I/O queue %u failed: %s", conn->params.qid,
			   status ? admin_status_str(status) : strerror(-error));
		return;
	}
	if (++a->conns_up == a->nr_conns)
		upstream_live(a->up);
}

void conn_lost(struct conn *conn)
{
	assoc_fail(conn->assoc, false, "I/O queue %u: %s", conn->params.qid, conn->reason);
}

void conn_closed(struct conn *conn)
{
	struct assoc *a = conn->assoc;

	if (++a->conns_closed == a->nr_conns)
		quarantine_closed(a->up->ss->mp, a->serial);
	maybe_free(a);
}

static void on_aborted(struct assoc *a, struct request *req, uint16_t status)
{
	a->aborts--;
}

void conn_abort(struct conn *conn, uint16_t cid)
{
	struct assoc *a = conn->assoc;
	struct nvme_sqe sqe = {.opcode = nvme_admin_abort_cmd};

	/* Abort Command Limit, 0's based; those beyond it are left to the time limit. */
	if (a->dead || a->aborts > a->id.acl || a->aborts == MAX_ABORTS)
		return;
	log_warn("upstream %s: a command on I/O queue %u takes longer than io_timeout: aborting it",
		 a->up->cfg.name, conn->params.qid);
	a->aborts++;
	sqe.cdw10 = htole32((uint32_t)cid << 16 | conn->params.qid);
	admin_send(a, &sqe, 0, 0, on_aborted);
}

static void open_on_worker(void *arg)
{
	conn_open(arg);
}

static void fill_params(const struct upstream *up, struct ini_params *p)
{
	const struct upstream_config *c = &up->cfg;

	memset(p, 0, sizeof(*p));
	p->addr = c->addr;
	p->host_addr = c->host_addr;
	strcpy(p->subnqn, c->nqn);
	strcpy(p->hostnqn, c->hostnqn);
	memcpy(p->hostid, c->hostid, sizeof(p->hostid));
	p->hdr_digest = c->hdr_digest;
	p->data_digest = c->data_digest;
	p->register_always = c->register_always;
	p->connect_timeout = c->connect_timeout;
	p->user_timeout = c->keep_alive_tmo;
	p->file_ns = c->file_ns;
}

bool upstream_lingers(const struct upstream *up)
{
	return up->cfg.transport->trtype != NVMF_TRTYPE_LOOP;
}

static void open_conns(struct assoc *a)
{
	struct upstream *up = a->up;
	struct mp *mp = up->ss->mp;

	if (upstream_lingers(up))
		quarantine_open(a);
	for (unsigned i = 0; i < mp->n; i++) {
		struct conn *conn = calloc(1, sizeof(*conn));

		if (!conn)
			abort();
		conn->mw = &mp->workers[i];
		conn->assoc = a;
		conn->serial = a->serial;
		conn->lingers = upstream_lingers(up);
		conn->crdt[1] = le16toh(a->id.crdt1);
		conn->crdt[2] = le16toh(a->id.crdt2);
		conn->crdt[3] = le16toh(a->id.crdt3);
		conn->tr = a->tr;
		conn->io_timeout = up->cfg.io_timeout;
		fill_params(up, &conn->params);
		conn->params.qid = (uint16_t)(i + 1);
		conn->params.cntlid = up->cntlid;
		conn->params.sq_size = a->io_queue_size;
		conn->params.ioccsz = le32toh(a->id.ioccsz);
		a->conns[a->nr_conns++] = conn;
	}
	for (unsigned i = 0; i < a->nr_conns; i++)
		loop_post(a->conns[i]->mw->loop, open_on_worker, a->conns[i]);
}

/* ---- chapters ---- */

void assoc_scanned(struct assoc *a)
{
	/* New namespaces have ANA states that only the log tells. */
	a->scanned = a->settle = true;
	ana_start(a);
}

void assoc_ana_read(struct assoc *a)
{
	/* An event may have had the log read before the first scan is through. */
	if (!a->scanned)
		return;
	if (!a->opened) {
		a->opened = true;
		open_conns(a);
	} else if (a->settle) {
		upstream_refresh_paths(a->up);
	}
	a->settle = false;
}

void assoc_disc_read(struct assoc *a, unsigned entries)
{
	log_info("upstream %s: discovery log names %u paths", a->up->cfg.name, entries);
	if (a->up->state != UPSTREAM_LIVE)
		upstream_live(a->up);
}

static void on_queues(struct assoc *a, struct request *req, uint16_t status)
{
	uint32_t granted = le32toh(req->cqe.result);
	unsigned n = granted & 0xffff, cq = granted >> 16, want = a->up->ss->mp->n;

	if (cq < n)
		n = cq;
	n++; /* 0's based */
	if (status)
		assoc_fail(a, false, "Set Features Number of Queues failed: %s",
			   admin_status_str(status));
	else if (n < want)
		assoc_fail(a, false,
			   "the controller grants %u I/O queues, and %u workers need one each", n,
			   want);
	else
		scan_start(a);
}

static void ask_queues(struct assoc *a)
{
	struct nvme_sqe sqe = {.opcode = nvme_admin_set_features};
	unsigned n = a->up->cfg.nr_io_queues;

	if (n < a->up->ss->mp->n)
		n = a->up->ss->mp->n;
	sqe.cdw10 = htole32(NVME_FEAT_FID_NUM_QUEUES);
	sqe.cdw11 = htole32((n - 1) << 16 | (n - 1));
	admin_send(a, &sqe, 0, a->up->cfg.connect_timeout, on_queues);
}

static void on_retry_delays(struct assoc *a, struct request *req, uint16_t status)
{
	if (status)
		log_info("upstream %s: Host Behavior Support refused: %s", a->up->cfg.name,
			 admin_status_str(status));
}

/* A controller says how long to wait before a retry (CRD) only to hosts that set ACRE (Base 2.0,
 * 5.27.1.18). */
static void ask_retry_delays(struct assoc *a)
{
	struct nvme_sqe sqe = {.opcode = nvme_admin_set_features};
	struct nvme_feat_host_behavior behavior = {.acre = NVME_ENABLE_ACRE};

	if (!a->id.crdt1 && !a->id.crdt2 && !a->id.crdt3)
		return;
	sqe.cdw10 = htole32(NVME_FEAT_FID_HOST_BEHAVIOR);
	admin_send_data(a, &sqe, &behavior, sizeof(behavior), a->up->cfg.connect_timeout,
			on_retry_delays);
}

/* The same controller of the same subsystem over two configured paths would count as two. */
static const struct upstream *same_controller(const struct assoc *a)
{
	struct mp_subsys *ss;
	struct upstream *up;

	TAILQ_FOREACH(ss, &a->up->ss->mp->subsystems, link)
		TAILQ_FOREACH(up, &ss->upstreams, link)
			if (up != a->up && up->assoc && up->assoc->enabled &&
			    up->assoc->admin->cntlid == a->admin->cntlid &&
			    !strcmp(up->cfg.nqn, a->up->cfg.nqn) &&
			    up->cfg.transport == a->up->cfg.transport && upstream_lingers(up))
				return up;
	return NULL;
}

void assoc_identified(struct assoc *a)
{
	struct upstream *up = a->up;
	const struct upstream *twin;
	unsigned mqes = (unsigned)(a->cap & 0xffff) + 1, maxcmd = le16toh(a->id.maxcmd);
	char why[160];

	if (le16toh(a->id.cntlid) != a->admin->cntlid) {
		assoc_fail(a, false, "Identify says controller ID %u, Connect said %u",
			   le16toh(a->id.cntlid), a->admin->cntlid);
		return;
	}
	up->cntlid = a->admin->cntlid;
	if (up->cfg.discovery) {
		up->idctrl = a->id;
		events_start(a);
		disc_start(a);
		return;
	}
	twin = same_controller(a);
	if (twin) {
		assoc_fail(a, false, "controller ID %u of this subsystem is in use by upstream %s",
			   up->cntlid, twin->cfg.name);
		return;
	}
	if (up->ss->ev->own_controller && up->ss->ev->own_controller(up->ss->ev_arg, &a->id)) {
		assoc_fail(a, false, "it is a controller of this gateway itself");
		return;
	}
	if (!limits_keep(&a->limits, &up->ss->promised, why, sizeof(why))) {
		assoc_fail(a, false, "%s", why);
		return;
	}
	if (le32toh(a->id.ioccsz) < 4 || le32toh(a->id.iorcsz) < 1) {
		assoc_fail(a, false, "Identify has impossible capsule sizes");
		return;
	}
	up->idctrl = a->id;
	up->have_idctrl = true;
	up->limits = a->limits;
	a->io_queue_size = (uint16_t)up->cfg.queue_size;
	if (a->io_queue_size > mqes)
		a->io_queue_size = (uint16_t)mqes;
	if (maxcmd && a->io_queue_size > maxcmd + 1u)
		a->io_queue_size = (uint16_t)(maxcmd + 1);
	if (a->io_queue_size < 2) {
		assoc_fail(a, false, "the controller's queues hold no command");
		return;
	}
	events_start(a);
	ask_retry_delays(a);
	if (!a->dead)
		ask_queues(a);
}

static void on_connected(struct ini_qpair *qp, int error, const struct nvme_cqe *cqe)
{
	struct assoc *a = qp->priv;
	uint16_t status = cqe ? nvme_cqe_status(cqe) : 0;

	if (a->dead)
		return;
	if (status)
		assoc_fail(a, status & NVME_DNR, "Connect refused: %s", connect_status_str(status));
	else if (error)
		assoc_fail(a, false, "connecting failed: %s",
			   qp->reason ? qp->reason : strerror(-error));
	else
		enable_start(a);
}

static void on_lost(struct ini_qpair *qp, int error, const char *reason)
{
	assoc_fail(qp->priv, false, "connection lost: %s", reason);
}

static const struct ini_ops admin_ops = {.connected = on_connected, .lost = on_lost};

struct assoc *assoc_new(struct upstream *up)
{
	struct assoc *a = calloc(1, sizeof(*a));
	struct ini_params params;

	if (!a)
		abort();
	a->up = up;
	a->tr = up->cfg.transport;
	a->serial = up->ss->mp->serials++;
	up->refs++;
	TAILQ_INIT(&a->cmds);
	fill_params(up, &params);
	params.cntlid = NVMF_CNTLID_DYNAMIC;
	params.sq_size = ADMIN_QUEUE_SIZE;
	params.ioccsz = ADMIN_IOCCSZ;
	params.kato = (uint32_t)(up->cfg.keep_alive_tmo / NSEC_PER_MSEC);
	a->admin = a->tr->connect(up->ss->mp->control, &params, &admin_ops, a);
	if (!a->admin)
		a->start_error = errno;
	return a;
}
