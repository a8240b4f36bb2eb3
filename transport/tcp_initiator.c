/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/TCP as initiator: commands out, data both ways, completions back. Bytes and PDUs are the
 * socket engine's (tcp_sock.h).
 *
 * A qpair's end is told in one place, on_hook(): whatever finds the end stops the socket and queues
 * the hook, so that no request comes back and nothing is closed beneath a callback.
 */
#include "transport/tcp_initiator.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "transport/numa.h"

/* req->ini_state */
#define R2T_SERVED 0x1u /* H2CData for an R2T is on its way out */
#define ANSWERED                                                                         \
	0x2u /* the response is here and waits for a PDU of ours that has begun to leave \
	      */

static struct tcp_ini *of_qp(struct ini_qpair *qp)
{
	return (struct tcp_ini *)((char *)qp - offsetof(struct tcp_ini, qp));
}

static struct tcp_ini *of_sock(struct tcp_sock *s)
{
	return (struct tcp_ini *)((char *)s - offsetof(struct tcp_ini, s));
}

/* ---- the end ---- */

void tcp_ini_fail(struct tcp_ini *t, int error, const char *fmt, ...)
{
	va_list ap;

	if (t->phase == INI_DEAD)
		return;
	t->phase = INI_DEAD;
	t->error = error;
	va_start(ap, fmt);
	vsnprintf(t->reason, sizeof(t->reason), fmt, ap);
	va_end(ap);
	if (t->has_sock)
		tcp_sock_stop(&t->s);
	loop_hook_queue(t->qp.loop, &t->event);
}

static void violation(struct tcp_ini *t, const struct tcp_err *err, const uint8_t *head, size_t len)
{
	if (t->phase == INI_DEAD)
		return;
	if (err->fes != TCP_FES_NONE)
		t->term_len = (uint16_t)tcp_put_term(t->term, TCP_H2C_TERM, err, head, len);
	tcp_ini_fail(t, -EPROTO, "protocol error of the controller: %s (%s, offset or value %u)",
		     err->what, tcp_fes_name(TCP_H2C_TERM, err->fes), err->fei);
}

void tcp_ini_violation(struct tcp_ini *t, const struct tcp_pdu *pdu, const struct tcp_err *err)
{
	violation(t, err, pdu->head, pdu->head[TCP_OFF_HLEN]);
}

/* Takes the request off its slot. */
static void detach(struct tcp_ini *t, struct request *req)
{
	struct ini_slot *slot = &t->slots[req->ini_slot];

	slot->req = NULL;
	slot->next = t->free;
	t->free = req->ini_slot;
	req->ini = NULL;
	t->qp.inflight--;
}

/* With the socket closed: neither side can reach the requests' memory any more. */
static void give_back_all(struct tcp_ini *t, int error)
{
	for (unsigned i = 0; i < t->qp.sq_size; i++) {
		struct request *req = t->slots[i].req;

		if (!req)
			continue;
		detach(t, req);
		req->ini_done(req, error);
	}
}

static void close_sock(struct tcp_ini *t)
{
	t->qp.live = false;
	/* The socket may still hold the Connect, or part of it. */
	if (t->has_sock && t->s.fd >= 0)
		tcp_sock_close(&t->s, t->term, t->term_len);
	tcp_ini_connect_fini(t);
}

/* For the admin qpair only: the others leave the same way, and are on loops with other work. */
static int node_of(const struct tcp_ini *t)
{
	struct sockaddr_storage local;
	socklen_t len = sizeof(local);

	if (t->qp.qid || getsockname(t->s.fd, (struct sockaddr *)&local, &len))
		return -1;
	return numa_node_of_addr((struct sockaddr *)&local);
}

/* The last call may close, that is free, the qpair. */
static void on_hook(void *arg)
{
	struct tcp_ini *t = arg;
	bool was_live = t->qp.live;

	if (t->phase == INI_CONNECTED) {
		tcp_ini_connect_fini(t);
		t->phase = INI_LIVE;
		t->qp.live = true;
		t->qp.node = node_of(t);
		t->qp.ops->connected(&t->qp, 0, &t->connect_cqe);
		return;
	}
	if (t->phase != INI_DEAD || t->told)
		return;
	t->told = true;
	close_sock(t);
	give_back_all(t, t->error);
	if (was_live)
		t->qp.ops->lost(&t->qp, t->error, t->reason);
	else
		t->qp.ops->connected(&t->qp, t->error, t->refused ? &t->connect_cqe : NULL);
}

static void ini_tcp_close(struct ini_qpair *qp)
{
	struct tcp_ini *t = of_qp(qp);

	t->phase = INI_DEAD;
	t->told = true;
	loop_hook_cancel(qp->loop, &t->event);
	close_sock(t);
	give_back_all(t, -ECANCELED);
	free(t->slots);
	free(t);
}

/* ---- commands ---- */

static void set_digest(const struct tcp_ini *t, struct tx *tx)
{
	uint32_t crc;

	tx->trail_len = 0;
	if (!t->s.wire.ddgst || !tx->len)
		return;
	crc = htole32(request_crc32c(tx->req, tx->off, tx->len));
	memcpy(tx->trail, &crc, sizeof(crc));
	tx->trail_len = sizeof(crc);
}

/* TCP transport 1.0, 3.3.2: in the capsule if it fits, else the controller moves it. */
static void send_command(struct tcp_ini *t, struct request *req, uint16_t cid)
{
	struct nvme_sqe sqe = req->sqe;
	struct tx *tx = &req->itx;
	bool in_capsule = req->dir == NVME_DIR_H2C && req->data_len && req->data_len <= t->icd_max;

	sqe.cid = htole16(cid);
	sqe.flags = (uint8_t)((sqe.flags & ~NVME_PSDT_MASK) | NVME_PSDT_SGL);
	memset(&sqe.sgl, 0, sizeof(sqe.sgl));
	sqe.sgl.type = in_capsule ? NVME_SGL_DATA_OFFSET : NVME_SGL_TRANSPORT;
	sqe.sgl.length = htole32(req->data_len);
	tx->req = req;
	tx->kind = INI_TX_CMD | TCP_TX_SEALED;
	tx->off = 0;
	tx->len = in_capsule ? req->data_len : 0;
	tx->hdr_len = (uint8_t)tcp_put_cmd(tx->hdr, &t->s.wire, &sqe, tx->len);
	set_digest(t, tx);
	req->ini_aux = tx->len; /* H2C: how far the controller has got or asked for the data */
	tcp_tx_queue(&t->s, tx);
}

static int ini_tcp_submit(struct ini_qpair *qp, struct request *req)
{
	struct tcp_ini *t = of_qp(qp);
	struct ini_slot *slot;

	if (!qp->live || t->phase != INI_LIVE)
		return -ENOTCONN;
	if (!ini_room(qp))
		return -EAGAIN;
	slot = &t->slots[t->free];
	req->ini_slot = t->free;
	t->free = slot->next;
	slot->cid = (uint16_t)(slot->cid + (1u << INI_SLOT_BITS));
	slot->req = req;
	req->ini = qp;
	req->ini_cid = slot->cid;
	req->ini_state = 0;
	if (req->dir != NVME_DIR_H2C)
		req->filled = 0;
	qp->inflight++;
	stat_add(&qp->commands, 1);
	send_command(t, req, slot->cid);
	return 0;
}

static struct ini_slot *find(struct tcp_ini *t, uint16_t cid)
{
	struct ini_slot *slot = &t->slots[cid & INI_SLOT_MASK];

	if ((cid & INI_SLOT_MASK) >= t->qp.sq_size || !slot->req || slot->cid != cid)
		return NULL;
	return slot;
}

/* ---- data out ---- */

/* The next piece of what the R2T at hand asked for. */
static void send_data(struct tcp_ini *t, struct request *req, uint32_t off)
{
	const struct ini_slot *slot = &t->slots[req->ini_slot];
	struct tx *tx = &req->itx;
	uint32_t left = req->ini_aux - off;

	tx->kind = INI_TX_DATA | TCP_TX_SEALED;
	tx->off = off;
	tx->len = left < t->max_h2c ? left : t->max_h2c;
	tx->hdr_len = (uint8_t)tcp_put_data(tx->hdr, &t->s.wire, TCP_H2C_DATA,
					    tx->len == left ? TCP_F_LAST : 0, slot->cid, slot->ttag,
					    off, tx->len);
	set_digest(t, tx);
	tcp_tx_queue(&t->s, tx);
}

static void on_r2t(struct tcp_ini *t, const struct tcp_pdu *pdu)
{
	struct ini_slot *slot = find(t, pdu->cccid);
	struct request *req = slot ? slot->req : NULL;
	struct tcp_xfer x;
	struct tcp_err err;
	bool busy;

	/* In-capsule data has been sent: there is nothing to ask for. */
	if (req && (req->dir != NVME_DIR_H2C || !req->data_len || req->ini_state & ANSWERED))
		req = NULL;
	/* While the command itself is leaving, an R2T for it is a guess. */
	busy = req && (req->ini_state & R2T_SERVED || req->itx.queued);
	if (req)
		x = (struct tcp_xfer){pdu->cccid, req->ini_aux, req->data_len};
	if (tcp_check_r2t(pdu, req ? &x : NULL, busy, &err)) {
		tcp_ini_violation(t, pdu, &err);
		return;
	}
	slot->ttag = pdu->ttag;
	req->ini_state |= R2T_SERVED;
	req->ini_aux = pdu->off + pdu->len;
	send_data(t, req, pdu->off);
}

/* ---- completions ---- */

static void finish(struct tcp_ini *t, struct request *req)
{
	detach(t, req);
	req->ini_done(req, 0);
}

/* What the response claims against what was seen: NULL, or what is wrong. */
static const char *implausible(const struct request *req)
{
	bool success = nvme_cqe_status(&req->cqe) == 0;

	if (req->itx.queued && (req->itx.kind & ~TCP_TX_SEALED) == INI_TX_CMD)
		return "response to a command that has not been sent";
	if (!success || !req->data_len)
		return NULL;
	if (req->dir == NVME_DIR_C2H && req->filled < req->data_len)
		return "success without all of the data";
	if (req->dir == NVME_DIR_H2C &&
	    (req->ini_aux < req->data_len || req->ini_state & R2T_SERVED))
		return "success before all of the data was sent";
	return NULL;
}

static void on_response(struct tcp_ini *t, const struct tcp_pdu *pdu)
{
	struct ini_slot *slot;
	struct request *req;
	struct nvme_cqe cqe;
	struct tcp_err err;
	const char *wrong;

	memcpy(&cqe, tcp_pdu_entry(pdu), sizeof(cqe));
	slot = find(t, le16toh(cqe.cid));
	req = slot ? slot->req : NULL;
	if (!req || req->ini_state & ANSWERED) {
		tcp_error(&err, TCP_FES_FIELD, TCP_OFF_RESP_CID, "response to no command");
		tcp_ini_violation(t, pdu, &err);
		return;
	}
	req->cqe = cqe;
	wrong = implausible(req);
	if (wrong) {
		tcp_error(&err, TCP_FES_SEQUENCE, 0, wrong);
		tcp_ini_violation(t, pdu, &err);
		return;
	}
	/* An error may come while we are still sending: the PDU at hand must leave whole. */
	if (req->itx.queued && !tcp_tx_unqueue(&t->s, &req->itx)) {
		req->ini_state |= ANSWERED;
		return;
	}
	finish(t, req);
}

static void sent(struct tcp_sock *s, struct tx *tx)
{
	struct tcp_ini *t = of_sock(s);
	struct request *req = tx->req;
	uint32_t end = tx->off + tx->len;

	if ((tx->kind & ~TCP_TX_SEALED) != INI_TX_DATA)
		return;
	if (req->ini_state & ANSWERED)
		finish(t, req);
	else if (end < req->ini_aux)
		send_data(t, req, end);
	else
		req->ini_state &= (uint16_t)~R2T_SERVED;
}

/* ---- data in ---- */

static void on_c2h_data(struct tcp_ini *t, const struct tcp_pdu *pdu)
{
	struct ini_slot *slot = find(t, pdu->cccid);
	struct request *req = slot ? slot->req : NULL;
	struct tcp_xfer x;
	struct tcp_err err;

	if (req && (req->dir != NVME_DIR_C2H || !req->data_len || req->itx.queued))
		req = NULL;
	if (req)
		x = (struct tcp_xfer){pdu->cccid, req->filled, req->data_len};
	if (tcp_check_c2h_data(pdu, req ? &x : NULL, &err)) {
		tcp_ini_violation(t, pdu, &err);
		return;
	}
	t->rx = req;
	t->rx_last = pdu->flags & TCP_F_SUCCESS;
	tcp_rx_into(&t->s, req, pdu->off);
}

static void advance(struct request *req, uint32_t n)
{
	req->filled += n;
	if (req->progress)
		req->progress(req);
}

/* Data that a digest has yet to prove is nobody's. */
static void landed(struct tcp_sock *s, uint32_t n)
{
	if (!s->rules.ddgst)
		advance(of_sock(s)->rx, n);
}

static void on_data(struct tcp_sock *s, bool good)
{
	struct tcp_ini *t = of_sock(s);
	struct request *req = t->rx;

	t->rx = NULL;
	if (!req) /* what a term-req brought along */
		return;
	if (!good) {
		tcp_ini_fail(t, -EBADMSG, "data digest error in read data");
		return;
	}
	if (s->rules.ddgst)
		advance(req, s->rx_off - s->rx_start);
	if (t->rx_last) {
		memset(&req->cqe, 0, sizeof(req->cqe));
		finish(t, req);
	}
}

/* ---- the engine's callbacks ---- */

static enum tcp_rx_verdict on_pdu(struct tcp_sock *s, const struct tcp_pdu *pdu)
{
	struct tcp_ini *t = of_sock(s);
	struct tcp_err err;

	switch (pdu->type) {
	case TCP_C2H_TERM:
		tcp_ini_fail(t, -ECONNRESET, "ended by the controller: %s (offset or value %u)",
			     tcp_fes_name(TCP_C2H_TERM, pdu->term.fes), pdu->term.fei);
		break;
	case TCP_ICRESP:
		tcp_ini_icresp(t, pdu);
		break;
	case TCP_CAPSULE_RESP:
		if (t->phase == INI_CONNECT) {
			tcp_ini_connect_resp(t, pdu);
			break;
		}
		/* fall through */
	default:
		if (t->phase != INI_LIVE) {
			tcp_error(&err, TCP_FES_SEQUENCE, 0, "PDU before the Connect's response");
			tcp_ini_violation(t, pdu, &err);
		} else if (pdu->type == TCP_CAPSULE_RESP) {
			on_response(t, pdu);
		} else if (pdu->type == TCP_C2H_DATA) {
			on_c2h_data(t, pdu);
		} else { /* the codec lets no other type pass */
			on_r2t(t, pdu);
		}
		break;
	}
	return TCP_RX_GO;
}

static void turn(struct tcp_sock *s)
{
}

static void on_bad(struct tcp_sock *s, const struct tcp_err *err, const uint8_t *head, size_t len)
{
	violation(of_sock(s), err, head, len);
}

static void on_lost(struct tcp_sock *s, int error)
{
	tcp_ini_fail(of_sock(s), error ? error : -ECONNRESET, "%s",
		     error ? strerror(-error) : "closed by the controller");
}

const struct tcp_sock_ops tcp_ini_sock_ops = {
	.pdu = on_pdu,
	.landed = landed,
	.data = on_data,
	.sent = sent,
	.turn = turn,
	.bad = on_bad,
	.lost = on_lost,
};

/* ---- life ---- */

static bool make_slots(struct tcp_ini *t)
{
	t->slots = calloc(t->qp.sq_size, sizeof(t->slots[0]));
	if (!t->slots)
		return false;
	for (unsigned i = 0; i < t->qp.sq_size; i++) {
		t->slots[i].cid = (uint16_t)i;
		t->slots[i].next = (uint16_t)(i + 1);
	}
	return true;
}

static struct ini_qpair *ini_tcp_connect(struct loop *loop, const struct ini_params *params,
					 const struct ini_ops *ops, void *priv)
{
	struct tcp_ini *t;
	int e = -ENOMEM;

	if (params->sq_size < 2 || params->sq_size > TCP_MAX_QUEUE_SIZE) {
		errno = EINVAL;
		return NULL;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->qp.loop = loop;
	t->qp.tr = &ini_tcp;
	t->qp.ops = ops;
	t->qp.priv = priv;
	t->qp.qid = params->qid;
	t->qp.cntlid = params->cntlid;
	t->qp.sq_size = params->sq_size;
	t->params = *params;
	loop_hook_init(&t->event, on_hook, t);
	if (make_slots(t))
		e = tcp_ini_dial(t);
	if (e) {
		free(t->slots);
		free(t);
		errno = -e;
		return NULL;
	}
	return &t->qp;
}

const struct ini_transport ini_tcp = {
	.name = "tcp",
	.trtype = NVMF_TRTYPE_TCP,
	.connect = ini_tcp_connect,
	.submit = ini_tcp_submit,
	.close = ini_tcp_close,
};
