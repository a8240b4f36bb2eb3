/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/TCP as target: commands as they arrive, and a connection's way from loop to loop. Bytes and
 * PDUs are the socket engine's (tcp_sock.h); what a command means is the gateway's (target.h).
 */
#include "transport/tcp_target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/log.h"

/* Slots or segments below which nothing is read ahead: it might not find room. */
#define SCARCE 64

/* A host that has this much output waiting (or a share of the pool) is not read from. */
#define BACKLOG_MIN   (1024u * 1024)
#define BACKLOG_SHARE 16

/* ---- commands ---- */

/* The command gets a status from here; the gateway never sees it. */
static void refuse(struct tcp_tgt *t, struct request *req, uint16_t status)
{
	nvme_cqe_set_status(&req->cqe, status);
	TAILQ_INSERT_TAIL(&t->outgoing, req, tgt_link);
	tcp_tgt_answer(t, req);
}

static void deliver(struct tcp_tgt *t, struct request *req)
{
	req->tgt_state = TGT_REQ_EXECUTING;
	TAILQ_INSERT_TAIL(&t->qp.requests, req, tgt_link);
	t->qp.listener->ops->command(&t->qp, req);
}

/* TCP transport 1.0, 3.4: 8 KiB for admin and Fabrics commands, else what IOCCSZ says. */
static uint32_t capsule_data_max(const struct tcp_tgt *t, const struct nvme_sqe *sqe)
{
	if (!t->qp.qid || sqe->opcode == NVME_OPC_FABRICS)
		return TCP_ADMIN_ICD;
	return t->qp.listener->cfg.in_capsule_data;
}

static enum tcp_rx_verdict block(struct tcp_tgt *t)
{
	pool_wait(loop_pool(t->qp.loop), &t->rx_waiter);
	return TCP_RX_BLOCK;
}

/* Judges the command's SGL and CID: 0, or the status that it gets. */
static uint16_t check_command(struct tcp_tgt *t, struct request *req, uint32_t icd_len)
{
	uint16_t status = tcp_sgl_check(&req->sqe, icd_len, &req->data_len);
	int slot;

	req->tgt_slot = CID_MAP_NONE;
	if (!status && req->data_len > REQUEST_MAX_DATA)
		status = NVME_ST_INVALID_FIELD;
	slot = cid_map_add(&t->cids, req->cid, req);
	if (slot == -EEXIST)
		return NVME_STATUS(0, NVME_SC_CMDID_CONFLICT) | NVME_DNR;
	if (slot < 0)
		return NVME_STATUS(0, NVME_SC_INTERNAL);
	req->tgt_slot = (uint16_t)slot;
	return status;
}

void tcp_tgt_begin(struct tcp_tgt *t, struct request *req, const struct nvme_sqe *sqe,
		   uint32_t icd_len)
{
	uint16_t status;

	req->sqe = *sqe;
	req->tgt = &t->qp;
	req->tgt_state = TGT_REQ_RECEIVING_CAPSULE;
	req->cid = le16toh(sqe->cid);
	req->dir = (uint8_t)nvme_sqe_dir(sqe);
	status = check_command(t, req, icd_len);
	if (req->dir == NVME_DIR_C2H && !status) {
		req->tgt_asked = (uint8_t)tcp_tgt_segments(req);
		t->asked += req->tgt_asked;
	}
	if (icd_len) {
		nvme_cqe_set_status(&req->cqe, status);
		t->rx = req;
		if (!status)
			tcp_rx_into(&t->s, req, 0);
	} else if (status) {
		refuse(t, req, status);
	} else {
		deliver(t, req);
	}
}

static void arrived(struct tcp_tgt *t)
{
	t->qp.inflight++;
	stat_add(&t->qp.commands, 1);
}

/* A write whose data, if it is right, has to be fetched. */
static bool owes_data(const struct nvme_sqe *sqe, uint32_t icd_len)
{
	return nvme_sqe_dir(sqe) == NVME_DIR_H2C && !icd_len && sqe->sgl.length;
}

static enum tcp_rx_verdict on_capsule(struct tcp_tgt *t, const struct tcp_pdu *pdu)
{
	struct tgt_qpair *qp = &t->qp;
	struct request *req;
	struct nvme_sqe sqe;
	struct tcp_err err;

	memcpy(&sqe, tcp_pdu_entry(pdu), sizeof(sqe));
	if (pdu->data_len > capsule_data_max(t, &sqe)) {
		tcp_error(&err, TCP_FES_LIMIT, 0, "more in-capsule data than the queue takes");
		tcp_tgt_pdu_violation(t, pdu, &err);
		return TCP_RX_GO;
	}
	if (qp->inflight >= (qp->connected ? qp->sq_size - 1u : 1u)) {
		tcp_tgt_shut(t, "the host sent more commands than the queue holds (%u)",
			     qp->inflight);
		return TCP_RX_GO;
	}
	if (owes_data(&sqe, pdu->data_len)) {
		arrived(t);
		tcp_tgt_begin_write(t, &sqe);
		return TCP_RX_GO;
	}
	if (!pdu->data_len && tcp_tgt_postpone_read(t, &sqe)) {
		arrived(t);
		return TCP_RX_GO;
	}
	req = pool_get(loop_pool(qp->loop));
	if (!req)
		return block(t);
	if (pdu->data_len && request_alloc_data(req, pdu->data_len)) {
		/* Wait first: giving the slot back must not look like what we wait for. */
		block(t);
		pool_put(req);
		return TCP_RX_BLOCK;
	}
	arrived(t);
	tcp_tgt_begin(t, req, &sqe, pdu->data_len);
	return TCP_RX_GO;
}

static void on_capsule_data(struct tcp_tgt *t, struct request *req, bool good)
{
	uint16_t status = nvme_cqe_status(&req->cqe);

	/* TCP transport 1.0, 3.3.1.1: a damaged payload costs the command, not the connection. */
	if (!status && !good)
		status = NVME_STATUS(0, NVME_SC_TRAN_TPORT_ERROR);
	if (status) {
		refuse(t, req, status);
		return;
	}
	req->filled = req->data_len;
	deliver(t, req);
}

/* ---- the engine's callbacks ---- */

static void on_icreq(struct tcp_tgt *t, const struct tcp_pdu *pdu)
{
	const struct tgt_config *cfg = &t->qp.listener->cfg;
	struct tx *tx = &t->ictx;

	t->qp.hdr_digest = pdu->ic.hdgst && cfg->hdr_digest;
	t->qp.data_digest = pdu->ic.ddgst && cfg->data_digest;
	t->s.wire = (struct tcp_wire){t->qp.hdr_digest, t->qp.data_digest, pdu->ic.pda};
	t->s.rules.ic_done = true;
	t->s.rules.hdgst = t->qp.hdr_digest;
	t->s.rules.ddgst = t->qp.data_digest;
	t->s.rules.pda = cfg->cpda;
	t->s.rules.max_data = cfg->max_h2c_data;
	tx->kind = TX_ICRESP | TCP_TX_SEALED;
	tx->hdr_len = (uint8_t)tcp_put_ic(tx->hdr, TCP_ICRESP, cfg->cpda, t->qp.hdr_digest,
					  t->qp.data_digest, cfg->max_h2c_data);
	tcp_tx_queue(&t->s, tx);
	t->phase = PHASE_UP;
	t->opened = true;
	TAILQ_REMOVE(&t->qp.listener->unopened, t, unopened_link);
	t->qp.listener->ops->opened(&t->qp);
}

static enum tcp_rx_verdict on_pdu(struct tcp_sock *s, const struct tcp_pdu *pdu)
{
	struct tcp_tgt *t = tcp_tgt_of_sock(s);
	struct tcp_err err;

	if (pdu->type == TCP_H2C_TERM) {
		tcp_tgt_shut(t, "the host ended the connection: %s (offset or value %u)",
			     tcp_fes_name(TCP_H2C_TERM, pdu->term.fes), pdu->term.fei);
		return TCP_RX_GO;
	}
	if (t->ictx.queued || t->phase == PHASE_MOVING) {
		tcp_error(&err, TCP_FES_SEQUENCE, 0,
			  t->ictx.queued ? "PDU before our ICResp"
					 : "PDU before the Connect's response");
		tcp_tgt_pdu_violation(t, pdu, &err);
		return TCP_RX_GO;
	}
	switch (pdu->type) {
	case TCP_ICREQ:
		on_icreq(t, pdu);
		break;
	case TCP_CAPSULE_CMD:
		return on_capsule(t, pdu);
	default: /* the codec lets no other type pass */
		tcp_tgt_h2c_data(t, pdu);
		break;
	}
	return TCP_RX_GO;
}

static void on_data(struct tcp_sock *s, bool good)
{
	struct tcp_tgt *t = tcp_tgt_of_sock(s);
	struct request *req = t->rx;

	t->rx = NULL;
	if (!req)
		return;
	if (req->tgt_state == TGT_REQ_RECEIVING_CAPSULE)
		on_capsule_data(t, req, good);
	else
		tcp_tgt_fetched(t, req, s->rx_off - s->rx_start, good);
}

static bool scarce(struct tcp_sock *s)
{
	const struct pool *pool = loop_pool(s->loop);

	return pool_free_requests(pool) < SCARCE || pool_free_segments(pool) < SCARCE;
}

static void turn(struct tcp_sock *s)
{
	struct tcp_tgt *t = tcp_tgt_of_sock(s);

	if (t->phase == PHASE_UP) {
		size_t max =
			(size_t)pool_total_segments(loop_pool(s->loop)) * SEG_SIZE / BACKLOG_SHARE;

		if (max < BACKLOG_MIN)
			max = BACKLOG_MIN;
		if (s->paused && s->tx_pending <= max / 2) {
			tcp_tgt_reading_again(t);
			tcp_sock_pause(s, false);
		} else if (s->tx_pending > max) {
			tcp_sock_pause(s, true);
		}
	}
	if (!t->timer.armed && t->qp.listener->cfg.stall_timeout && tcp_tgt_must_progress(t))
		tcp_tgt_mark_progress(t);
}

static void on_bad(struct tcp_sock *s, const struct tcp_err *err, const uint8_t *head, size_t len)
{
	tcp_tgt_violation(tcp_tgt_of_sock(s), err, head, len);
}

static void on_lost(struct tcp_sock *s, int error)
{
	struct tcp_tgt *t = tcp_tgt_of_sock(s);

	if (error)
		tcp_tgt_shut(t, "%s", strerror(-error));
	else
		tcp_tgt_end(t, TGT_END_HOST, "closed by the host");
}

static const struct tcp_sock_ops sock_ops = {
	.pdu = on_pdu,
	.scarce = scarce,
	.data = on_data,
	.seal = tcp_tgt_seal,
	.sent = tcp_tgt_sent,
	.turn = turn,
	.bad = on_bad,
	.lost = on_lost,
};

/* ---- life, and from loop to loop ---- */

static void on_rx_room(void *arg)
{
	struct tcp_tgt *t = arg;

	tcp_tgt_reading_again(t);
	tcp_sock_resume(&t->s);
}

static int join_loop(struct tcp_tgt *t, struct loop *loop)
{
	t->quota = fetch_quota_get(loop);
	if (!t->quota)
		return -ENOMEM;
	loop_timer_init(&t->timer, loop, tcp_tgt_on_timer, t);
	t->rx_waiter = (struct pool_waiter){.fn = on_rx_room, .arg = t};
	t->fetch_waiter = (struct pool_waiter){.fn = tcp_tgt_on_fetch_room, .arg = t};
	t->quota_user = (struct fetch_user){.fn = tcp_tgt_on_fetch_room, .arg = t};
	tcp_tgt_stash_init(t);
	return 0;
}

/* The first thing on the new loop. */
static void arrive(void *arg)
{
	struct tcp_tgt *t = arg;

	tcp_sock_attach(&t->s, t->qp.loop);
	t->phase = PHASE_UP;
	if (join_loop(t, t->qp.loop)) {
		log_err("out of memory: a connection cannot be served");
		abort();
	}
	t->s.paused = false;
	tcp_sock_start(&t->s);
	t->qp.listener->ops->moved(&t->qp);
}

/* True when it has gone: from then on it is the other loop's. */
static bool depart(struct tcp_tgt *t)
{
	if (t->s.hdr_len || t->qp.inflight) {
		tcp_tgt_shut(t, "the host did not wait for the Connect's response");
		return false;
	}
	tcp_tgt_leave_loop(t);
	fetch_quota_release(t->quota);
	t->quota = NULL;
	tcp_sock_detach(&t->s);
	t->phase = PHASE_TRANSIT;
	t->qp.loop = t->next;
	loop_post(t->next, arrive, t);
	return true;
}

static void on_hook(void *arg)
{
	struct tcp_tgt *t = arg;

	if (t->leave && t->phase == PHASE_MOVING) {
		t->leave = false;
		if (depart(t))
			return;
	}
	if (t->phase == PHASE_CLOSING)
		tcp_tgt_do_close(t);
	else
		tcp_tgt_run_reads(t);
}

static void tgt_complete_and_move(struct request *req, struct loop *loop)
{
	struct tcp_tgt *t = tcp_tgt_of_qp(req->tgt);

	if (t->phase == PHASE_UP) {
		t->phase = PHASE_MOVING;
		t->next = loop;
		tcp_sock_pause(&t->s, true);
	}
	tcp_tgt_complete(req);
}

void tcp_tgt_new(struct tgt_listener *l, int fd, const struct sockaddr_storage *peer,
		 socklen_t peer_len)
{
	struct tcp_tgt *t = calloc(1, sizeof(*t));

	if (!t || join_loop(t, l->loop)) {
		close(fd);
		free(t);
		return;
	}
	t->qp.loop = l->loop;
	t->qp.tr = &tgt_tcp;
	t->qp.listener = l;
	t->qp.peer.ss = *peer;
	t->qp.peer.len = peer_len;
	t->qp.local.len = sizeof(t->qp.local.ss);
	getsockname(fd, (struct sockaddr *)&t->qp.local.ss, &t->qp.local.len);
	TAILQ_INIT(&t->qp.requests);
	TAILQ_INIT(&t->outgoing);
	TAILQ_INIT(&t->parked);
	cid_map_init(&t->cids);
	loop_hook_init(&t->event, on_hook, t);
	atomic_init(&t->refs, 1);
	l->connections++;
	TAILQ_INSERT_TAIL(&l->unopened, t, unopened_link);
	tcp_sock_options(fd);
	tcp_sock_init(&t->s, l->loop, fd, &sock_ops, &t->qp.rx_bytes, &t->qp.tx_bytes);
	t->s.rules.target = true;
	tcp_sock_start(&t->s);
	if (l->cfg.handshake_timeout)
		loop_timer_arm(&t->timer, l->cfg.handshake_timeout);
}

const struct tgt_transport tgt_tcp = {
	.name = "tcp",
	.trtype = NVMF_TRTYPE_TCP,
	.listen = tcp_listen,
	.listener_addr = tcp_listener_addr,
	.listener_arg = tcp_listener_arg,
	.unlisten = tcp_unlisten,
	.fetch = tcp_tgt_fetch,
	.progress = tcp_tgt_progress,
	.leaving = tcp_tgt_leaving,
	.complete = tcp_tgt_complete,
	.complete_and_move = tgt_complete_and_move,
	.close = tcp_tgt_close,
};
