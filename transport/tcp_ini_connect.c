/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/TCP as initiator: from nothing to a qpair that takes commands. TCP handshake, ICReq and
 * ICResp (TCP transport 1.0, 3.3), Fabrics Connect (Base 2.0, 6.3), one time limit for all.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/log.h"
#include "transport/tcp_initiator.h"

#define SQE_DWORDS 4u /* ioccsz of a capsule without data, 16-byte units */

static void on_timeout(void *arg)
{
	tcp_ini_fail(arg, -ETIMEDOUT, "no answer within connect_timeout");
}

/* ---- Connect ---- */

static struct request *connect_request(const struct ini_params *p)
{
	struct request *req = calloc(1, sizeof(*req));
	struct nvmf_connect_payload *data = calloc(1, sizeof(*data));
	struct nvme_sqe *sqe;

	if (!req || !data) {
		free(req);
		free(data);
		return NULL;
	}
	memcpy(data->hostid, p->hostid, sizeof(data->hostid));
	data->cntlid = htole16(p->cntlid);
	strcpy(data->subnqn, p->subnqn);
	strcpy(data->hostnqn, p->hostnqn);
	req->segs[0] = data;
	req->nsegs = 1;
	req->data_len = req->filled = sizeof(*data);
	sqe = &req->sqe;
	sqe->opcode = NVME_OPC_FABRICS;
	sqe->flags = NVME_PSDT_SGL;
	sqe->nsid = htole32(nvme_fabrics_type_connect);
	sqe->sgl.length = htole32(sizeof(*data));
	sqe->sgl.type = NVME_SGL_DATA_OFFSET;
	sqe->cdw10 = htole32((uint32_t)p->qid << 16);
	sqe->cdw11 = htole32((uint32_t)NVMF_CATTR_DISABLE_SQFLOW << 16 | (p->sq_size - 1u));
	sqe->cdw12 = htole32(p->kato);
	return req;
}

static void send_connect(struct tcp_ini *t)
{
	struct request *req = t->connect = connect_request(&t->params);
	struct tx *tx;

	if (!req) {
		tcp_ini_fail(t, -ENOMEM, "out of memory");
		return;
	}
	t->phase = INI_CONNECT;
	tx = &req->itx;
	tx->req = req;
	tx->kind = INI_TX_CONNECT | TCP_TX_SEALED;
	tx->hdr_len = (uint8_t)tcp_put_cmd(tx->hdr, &t->s.wire, &req->sqe, req->data_len);
	tx->len = req->data_len;
	if (t->s.wire.ddgst) {
		uint32_t crc = htole32(request_crc32c(req, 0, req->data_len));

		memcpy(tx->trail, &crc, sizeof(crc));
		tx->trail_len = sizeof(crc);
	}
	tcp_tx_queue(&t->s, tx);
}

void tcp_ini_connect_resp(struct tcp_ini *t, const struct tcp_pdu *pdu)
{
	struct nvme_cqe *cqe = &t->connect_cqe;
	struct tcp_err err;

	memcpy(cqe, tcp_pdu_entry(pdu), sizeof(*cqe));
	if (cqe->cid || t->connect->itx.queued) {
		tcp_error(&err, TCP_FES_FIELD, TCP_OFF_RESP_CID, "response to no command");
		tcp_ini_violation(t, pdu, &err);
		return;
	}
	log_debug(TCP, "queue %u: answer to Connect: status %#x", t->params.qid,
		  nvme_cqe_status(cqe));
	if (nvme_cqe_status(cqe)) {
		t->refused = true;
		tcp_ini_fail(t, -ECONNREFUSED, "Connect refused");
		return;
	}
	if (!t->qp.qid)
		t->qp.cntlid = (uint16_t)le32toh(cqe->result);
	t->phase = INI_CONNECTED;
	loop_hook_queue(t->qp.loop, &t->event);
}

/* ---- ICReq, ICResp ---- */

static void send_icreq(struct tcp_ini *t)
{
	struct tx *tx = &t->icreq;

	t->phase = INI_ICREQ;
	tx->kind = INI_TX_ICREQ | TCP_TX_SEALED;
	/* HPDA 0: no alignment wanted. MAXR2T 0: one at a time. */
	tx->hdr_len = (uint8_t)tcp_put_ic(tx->hdr, TCP_ICREQ, 0, t->params.hdr_digest,
					  t->params.data_digest, 0);
	tcp_tx_queue(&t->s, tx);
}

static uint32_t in_capsule_max(const struct ini_params *p)
{
	uint32_t ioccsz = p->ioccsz < 0xffff ? p->ioccsz : 0xffff;

	if (!p->qid)
		return TCP_ADMIN_ICD;
	return ioccsz > SQE_DWORDS ? (ioccsz - SQE_DWORDS) * 16 : 0;
}

void tcp_ini_icresp(struct tcp_ini *t, const struct tcp_pdu *pdu)
{
	struct tcp_err err;

	if (t->icreq.queued || (pdu->ic.hdgst && !t->params.hdr_digest) ||
	    (pdu->ic.ddgst && !t->params.data_digest)) {
		tcp_error(&err, TCP_FES_FIELD, TCP_OFF_DGST, "ICResp to no ICReq of ours");
		tcp_ini_violation(t, pdu, &err);
		return;
	}
	/* Who asks for digests does not want to do without: they are all that guards the data. */
	if (pdu->ic.hdgst != t->params.hdr_digest || pdu->ic.ddgst != t->params.data_digest) {
		tcp_ini_fail(t, -EPROTONOSUPPORT,
			     "the controller does not do the digests asked for");
		return;
	}
	log_debug(TCP, "queue %u: ICResp: digests %d %d, PDA %u, MAXH2CDATA %u", t->params.qid,
		  pdu->ic.hdgst, pdu->ic.ddgst, pdu->ic.pda, pdu->ic.max);
	t->s.wire = (struct tcp_wire){pdu->ic.hdgst, pdu->ic.ddgst, pdu->ic.pda};
	t->s.rules.ic_done = true;
	t->s.rules.hdgst = pdu->ic.hdgst;
	t->s.rules.ddgst = pdu->ic.ddgst;
	t->max_h2c = pdu->ic.max;
	t->icd_max = in_capsule_max(&t->params);
	send_connect(t);
}

/* ---- TCP ---- */

static void on_dialed(void *arg, unsigned events)
{
	struct tcp_ini *t = arg;
	int error = 0, fd = t->dial.fd;
	socklen_t len = sizeof(error);

	loop_fd_fini(&t->dial);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len))
		error = errno;
	tcp_sock_init(&t->s, t->qp.loop, fd, &tcp_ini_sock_ops, &t->qp.rx_bytes, &t->qp.tx_bytes);
	t->has_sock = true;
	if (error) {
		tcp_ini_fail(t, -error, "%s", strerror(error));
		return;
	}
	tcp_sock_start(&t->s);
	send_icreq(t);
}

static void set_user_timeout(int fd, uint64_t ns)
{
	unsigned ms = (unsigned)(ns / NSEC_PER_MSEC);

	if (ms)
		setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

int tcp_ini_dial(struct tcp_ini *t)
{
	const struct ini_params *p = &t->params;
	int fd, e;

	fd = socket(p->addr.ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	tcp_sock_options(fd);
	set_user_timeout(fd, p->user_timeout);
	if (p->host_addr.len &&
	    bind(fd, (const struct sockaddr *)&p->host_addr.ss, p->host_addr.len))
		goto fail;
	/* Also when it worked at once, the socket's being writable is what tells. */
	if (connect(fd, (const struct sockaddr *)&p->addr.ss, p->addr.len) && errno != EINPROGRESS)
		goto fail;
	t->phase = INI_DIALING;
	loop_fd_init(&t->dial, t->qp.loop, fd, on_dialed, t);
	loop_fd_want(&t->dial, LOOP_WRITE);
	loop_timer_init(&t->timer, t->qp.loop, on_timeout, t);
	if (p->connect_timeout)
		loop_timer_arm(&t->timer, p->connect_timeout);
	return 0;
fail:
	e = errno;
	close(fd);
	return -e;
}

void tcp_ini_connect_fini(struct tcp_ini *t)
{
	loop_timer_fini(&t->timer);
	if (!t->has_sock && t->dial.fd >= 0) {
		loop_fd_fini(&t->dial);
		close(t->dial.fd);
		t->dial.fd = -1;
	}
	if (t->connect) {
		free(t->connect->segs[0]);
		free(t->connect);
		t->connect = NULL;
	}
}
