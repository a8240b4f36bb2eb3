/* SPDX-License-Identifier: Apache-2.0 */
/* An upstream I/O qpair on its worker: life, command timeout, loss. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "multipath/worker.h"

struct opened_msg {
	struct conn *conn;
	int error;
	uint16_t status;
};

static void opened_on_control(void *arg)
{
	struct opened_msg *m = arg;

	conn_opened(m->conn, m->error, m->status);
	free(m);
}

static void lost_on_control(void *arg)
{
	conn_lost(arg);
}

static void closed_on_control(void *arg)
{
	conn_closed(arg);
}

static void report_opened(struct conn *conn, int error, uint16_t status)
{
	struct opened_msg *m = malloc(sizeof(*m));

	if (!m)
		abort();
	*m = (struct opened_msg){conn, error, status};
	loop_post(conn->mw->control, opened_on_control, m);
}

static void on_connected(struct ini_qpair *qp, int error, const struct nvme_cqe *cqe)
{
	struct conn *conn = qp->priv;

	conn->up = error == 0;
	report_opened(conn, error, cqe ? nvme_cqe_status(cqe) : 0);
}

static void mark_lost(struct conn *conn, const char *reason)
{
	conn->up = false;
	if (conn->reported)
		return;
	conn->reported = true;
	snprintf(conn->reason, sizeof(conn->reason), "%s", reason);
	loop_post(conn->mw->control, lost_on_control, conn);
}

static void on_lost(struct ini_qpair *qp, int error, const char *reason)
{
	mark_lost(qp->priv, reason);
}

static const struct ini_ops conn_ops = {.connected = on_connected, .lost = on_lost};

/* ---- commands that take too long: Abort, and when that does not help the association ---- */

struct abort_msg {
	struct conn *conn;
	uint16_t cid;
};

static void abort_on_control(void *arg)
{
	struct abort_msg *m = arg;

	conn_abort(m->conn, m->cid);
	free(m);
}

/* How long the Abort may take. */
static uint64_t grace(uint64_t io_timeout)
{
	return io_timeout / 2 < 5 * NSEC_PER_SEC ? io_timeout / 2 : 5 * NSEC_PER_SEC;
}

uint64_t conn_patience(uint64_t io_timeout)
{
	return io_timeout ? io_timeout + grace(io_timeout) : UINT64_MAX;
}

static void ask_abort(struct conn *conn, struct request *req)
{
	struct abort_msg *m = malloc(sizeof(*m));

	if (!m)
		abort();
	req->mp_aborted = true;
	req->mp_due = loop_now(conn->mw->loop) + grace(conn->io_timeout);
	*m = (struct abort_msg){conn, req->ini_cid};
	loop_post(conn->mw->control, abort_on_control, m);
}

/* An Abort has its time from when it was asked for: a worker that got no core may be late with
 * that.
 */
static uint64_t due(const struct conn *conn, const struct request *req)
{
	return req->mp_aborted ? req->mp_due : req->submitted + conn->io_timeout;
}

/* All have the same time, so those in front are the next to be late. */
static void on_expiry(void *arg)
{
	struct conn *conn = arg;
	uint64_t now = loop_now(conn->mw->loop), next = 0;
	struct request *req;

	if (!conn->up)
		return;
	TAILQ_FOREACH(req, &conn->inflight, link) {
		if (due(conn, req) <= now && req->mp_aborted) {
			/* Control closes the qpair as for every other loss; until then `up` keeps
			 * new commands away. */
			mark_lost(conn, "an I/O command was not completed within io_timeout, nor "
					"aborted");
			return;
		}
		if (due(conn, req) <= now)
			ask_abort(conn, req);
		if (!next || due(conn, req) < next)
			next = due(conn, req);
		if (!req->mp_aborted)
			break;
	}
	if (next)
		loop_timer_arm(&conn->expiry, next - now);
}

/* ---- life ---- */

void conn_open(struct conn *conn)
{
	TAILQ_INIT(&conn->inflight);
	TAILQ_INSERT_TAIL(&conn->mw->conns, conn, link);
	loop_timer_init(&conn->expiry, conn->mw->loop, on_expiry, conn);
	conn->qp = conn->tr->connect(conn->mw->loop, &conn->params, &conn_ops, conn);
	if (!conn->qp)
		report_opened(conn, -errno, 0);
}

void conn_close(struct conn *conn)
{
	conn->up = false;
	if (conn->qp)
		conn->tr->close(conn->qp);
	conn->qp = NULL;
	TAILQ_REMOVE(&conn->mw->conns, conn, link);
	loop_timer_fini(&conn->expiry);
	loop_post(conn->mw->control, closed_on_control, conn);
}

/* ---- commands ---- */

int conn_submit(struct conn *conn, struct request *req)
{
	int err;

	if (!conn->up)
		return -ENOTCONN;
	err = conn->tr->submit(conn->qp, req);
	if (err)
		return err;
	req->submitted = loop_now(conn->mw->loop);
	req->mp_aborted = false;
	conn->cost += latency_cost(req->data_len);
	TAILQ_INSERT_TAIL(&conn->inflight, req, link);
	if (!conn->expiry.armed && conn->io_timeout)
		loop_timer_arm(&conn->expiry, conn->io_timeout);
	return 0;
}

void conn_returned(struct conn *conn, struct request *req, int error)
{
	TAILQ_REMOVE(&conn->inflight, req, link);
	conn->cost -= latency_cost(req->data_len);
	if (error)
		conn->up = false; /* the qpair is on its way down: what comes back now goes
				     elsewhere */
	mp_worker_kick(conn->mw);
}
