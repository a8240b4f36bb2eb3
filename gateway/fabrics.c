/* SPDX-License-Identifier: Apache-2.0 */
/* Fabrics commands (Base 2.0, chapter 6): Connect, Property Get and Set, Disconnect. */
#include <stddef.h>
#include <string.h>

#include "gateway/admin.h"
#include "transport/log.h"

#define ST(sct, sc)   (uint16_t)(NVME_STATUS(sct, sc) | NVME_DNR)
#define ST_SEQUENCE   ST(0, NVME_SC_CMD_SEQ_ERROR)
#define ST_BAD_PARAM  ST(1, NVME_SC_CONNECT_INVALID_PARAM)
#define ST_BAD_HOST   ST(1, NVME_SC_CONNECT_INVALID_HOST)
#define ST_BUSY	      NVME_STATUS(1, NVME_SC_CONNECT_CTRL_BUSY)
#define ST_BAD_FORMAT ST(1, NVME_SC_CONNECT_FORMAT)
#define ST_BAD_QTYPE  ST(1, NVME_SC_DISCONNECT_INVALID_QTYPE)
#define ST_SGL_LENGTH ST(0, NVME_SC_SGL_INVALID_DATA)

/* Where Connect's fields are; what IPO says of a bad one */
#define SQE_QID	     42u
#define SQE_SQSIZE   44u
#define DATA_HOSTID  offsetof(struct nvmf_connect_payload, hostid)
#define DATA_CNTLID  offsetof(struct nvmf_connect_payload, cntlid)
#define DATA_SUBNQN  offsetof(struct nvmf_connect_payload, subnqn)
#define DATA_HOSTNQN offsetof(struct nvmf_connect_payload, hostnqn)
#define IATTR_DATA   (1u << 16)

#define VERSION_2_0    0x20000u
#define NVMF_PROP_CRTO 0x68u

const char *queue_peer(const struct host_queue *q, char *buf)
{
	return addr_str(&q->peer, buf);
}

/* ---- Connect ---- */

/* Connect's fields in host order. */
struct connect {
	uint16_t recfmt, qid, sqsize; /* entries, 0's based */
	uint8_t cattr;
	uint32_t kato;
	struct nvmf_connect_payload data;
};

static void parse_connect(const struct request *req, struct connect *k)
{
	uint32_t dw10 = le32toh(req->sqe.cdw10), dw11 = le32toh(req->sqe.cdw11);

	k->recfmt = dw10 & 0xffff;
	k->qid = (uint16_t)(dw10 >> 16);
	k->sqsize = dw11 & 0xffff;
	k->cattr = dw11 >> 16 & 0xff;
	k->kato = le32toh(req->sqe.cdw12);
	request_copy_out(req, 0, &k->data, sizeof(k->data));
}

static uint16_t bad_field(struct request *req, uint32_t iattr, size_t offset)
{
	req->cqe.result = htole32(iattr | (uint32_t)offset);
	return ST_BAD_PARAM;
}

static bool nqn_valid(const char *nqn)
{
	size_t len = strnlen(nqn, NVMF_NQN_MAX + 1);

	return len && len <= NVMF_NQN_MAX;
}

static bool is_zero(const uint8_t *p, size_t n)
{
	while (n--)
		if (*p++)
			return false;
	return true;
}

/* What does not depend on the state of anything. */
static uint16_t check_form(struct request *req, const struct connect *k)
{
	if (k->recfmt)
		return ST_BAD_FORMAT;
	if (!k->sqsize)
		return bad_field(req, 0, SQE_SQSIZE);
	if (!nqn_valid(k->data.subnqn))
		return bad_field(req, IATTR_DATA, DATA_SUBNQN);
	if (!nqn_valid(k->data.hostnqn))
		return bad_field(req, IATTR_DATA, DATA_HOSTNQN);
	if (is_zero(k->data.hostid, sizeof(k->data.hostid)))
		return bad_field(req, IATTR_DATA, DATA_HOSTID);
	return 0;
}

/* The qpair is now what Connect has made of it. */
static void settle_qpair(struct tgt_qpair *qp, const struct connect *k)
{
	qp->qid = k->qid;
	qp->sq_size = (uint16_t)(k->sqsize + 1);
	qp->sqflow_disabled = k->cattr & NVMF_CATTR_DISABLE_SQFLOW;
	qp->connected = true;
}

static uint16_t connect_admin(struct host_queue *q, struct request *req, struct subsystem *ss,
			      const struct connect *k)
{
	struct controller *c;

	if (le16toh(k->data.cntlid) != NVMF_CNTLID_DYNAMIC)
		return bad_field(req, IATTR_DATA, DATA_CNTLID);
	if (k->sqsize >= CTRL_ADMIN_QUEUE_MAX)
		return bad_field(req, 0, SQE_SQSIZE);
	c = controller_new(ss, q, k->data.hostnqn, k->data.hostid, k->kato);
	if (!c)
		return ST_BUSY;
	settle_qpair(q->qp, k);
	req->cqe.result = htole32(c->ident.cntlid);
	tgt_complete_status(req, 0);
	return 0;
}

static bool same_host(const struct controller *c, const struct connect *k)
{
	return !strcmp(c->ident.hostnqn, k->data.hostnqn) &&
	       !memcmp(c->ident.hostid, k->data.hostid, sizeof(c->ident.hostid));
}

static uint16_t connect_io(struct host_queue *q, struct request *req, struct subsystem *ss,
			   const struct connect *k)
{
	struct controller *c = subsystem_controller(ss, le16toh(k->data.cntlid));

	if (!c)
		return bad_field(req, IATTR_DATA, DATA_CNTLID);
	if (!same_host(c, k))
		return bad_field(req, IATTR_DATA, DATA_HOSTNQN);
	if (k->qid > c->granted)
		return bad_field(req, 0, SQE_QID);
	if (k->sqsize >= ss->cfg->max_queue_size)
		return bad_field(req, 0, SQE_SQSIZE);
	if (!controller_ready(c) || c->queues[k->qid])
		return ST_SEQUENCE;
	controller_add_queue(c, q, k->qid);
	settle_qpair(q->qp, k);
	req->cqe.result = htole32(c->ident.cntlid);
	nvme_cqe_set_status(&req->cqe, 0);
	q->qp->tr->complete_and_move(req, q->gw->workers[q->worker].loop);
	return 0;
}

/* Answers the request itself, or returns the status to answer with. */
static uint16_t try_connect(struct host_queue *q, struct request *req)
{
	struct connect k;
	struct subsystem *ss;
	uint16_t status;

	parse_connect(req, &k);
	status = check_form(req, &k);
	if (status)
		return status;
	if (q->gw->stopping)
		return ST_BUSY;
	ss = gateway_subsystem(q->gw, k.data.subnqn);
	if (!ss)
		return bad_field(req, IATTR_DATA, DATA_SUBNQN);
	if (!subsystem_host_allowed(ss, k.data.hostnqn)) {
		req->cqe.result = htole32(IATTR_DATA | DATA_HOSTNQN);
		return ST_BAD_HOST;
	}
	return k.qid ? connect_io(q, req, ss, &k) : connect_admin(q, req, ss, &k);
}

static void run_connect(struct host_queue *q, struct request *req)
{
	char peer[ADDR_STR_MAX];
	uint16_t status;

	if (q->ctrl) {
		tgt_complete_status(req, ST_SEQUENCE);
		return;
	}
	if (req->data_len != NVMF_CONNECT_DATA_SIZE) {
		tgt_complete_status(req, ST_SGL_LENGTH);
		return;
	}
	if (req->filled < req->data_len) {
		tgt_fetch(req);
		return;
	}
	status = try_connect(q, req);
	log_debug(FABRICS, "host %s: Connect: status %#x", queue_peer(q, peer), status);
	if (!status)
		return;
	log_ratelimited(LOG_WARNING, "host %s: Connect refused: status 0x%x, field 0x%x",
			queue_peer(q, peer), nvme_sct_sc(status), le32toh(req->cqe.result));
	tgt_complete_status(req, status);
}

/* ---- properties ---- */

#define ATTRIB_8_BYTES 1u

static uint16_t property_get(struct controller *c, struct request *req)
{
	unsigned attrib = le32toh(req->sqe.cdw10) & 7;
	uint32_t offset = le32toh(req->sqe.cdw11);
	uint64_t value;

	if (attrib != (offset == NVMF_PROP_CAP ? ATTRIB_8_BYTES : 0))
		return NVME_ST_INVALID_FIELD;
	switch (offset) {
	case NVMF_PROP_CAP:
		value = controller_cap(c);
		break;
	case NVMF_PROP_VS:
		value = VERSION_2_0;
		break;
	case NVMF_PROP_CC:
		value = c->cc;
		break;
	case NVMF_PROP_CSTS:
		controller_check_ready(c);
		value = c->csts;
		break;
	case NVMF_PROP_CRTO:
		value = CTRL_READY_TIMEOUT << NVME_CRTO_CRWMT_SHIFT;
		break;
	default:
		return NVME_ST_INVALID_FIELD;
	}
	log_debug(FABRICS, "controller %u: Property Get %#x: %#llx", c->ident.cntlid, offset,
		  (unsigned long long)value);
	req->cqe.result64 = htole64(value);
	return 0;
}

static uint16_t property_set(struct controller *c, struct request *req)
{
	log_debug(FABRICS, "controller %u: Property Set %#x: %#x", c->ident.cntlid,
		  le32toh(req->sqe.cdw11), le32toh(req->sqe.cdw12));
	if ((le32toh(req->sqe.cdw10) & 7) || le32toh(req->sqe.cdw11) != NVMF_PROP_CC)
		return NVME_ST_INVALID_FIELD;
	controller_set_cc(c, le32toh(req->sqe.cdw12));
	return 0;
}

/* ---- dispatch ---- */

void fabrics_command(struct host_queue *q, struct request *req)
{
	struct controller *c = q->ctrl;
	uint16_t status;

	if (nvme_sqe_fctype(&req->sqe) == nvme_fabrics_type_connect) {
		run_connect(q, req);
		return;
	}
	if (!c) {
		tgt_complete_status(req, ST_SEQUENCE);
		return;
	}
	switch (nvme_sqe_fctype(&req->sqe)) {
	case nvme_fabrics_type_property_get:
		status = property_get(c, req);
		break;
	case nvme_fabrics_type_property_set:
		status = property_set(c, req);
		break;
	case nvme_fabrics_type_disconnect:
		status = ST_BAD_QTYPE;
		break;
	default:
		status = NVME_ST_INVALID_OPCODE;
		break;
	}
	admin_complete(c, req, status);
}

static void on_disconnect(void *arg)
{
	queue_close(arg, "disconnected by the host");
}

/* Disconnect ends the queue once its own response is out; control knows how (Base 2.0, 6.4). */
void fabrics_io_command(struct host_queue *q, struct request *req)
{
	uint16_t status = ST_SEQUENCE;

	if (!q->disconnected && req->sqe.opcode == NVME_OPC_FABRICS) {
		switch (nvme_sqe_fctype(&req->sqe)) {
		case nvme_fabrics_type_disconnect:
			q->disconnected = true;
			loop_post(q->gw->control, on_disconnect, q);
			status = 0;
			break;
		case nvme_fabrics_type_connect:
			break;
		default:
			status = NVME_ST_INVALID_OPCODE;
			break;
		}
	}
	tgt_complete_status(req, status);
}
