/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/RDMA as initiator: from nothing to a qpair that takes commands. Address and route, the
 * connection manager's handshake with the private data of both sides (RDMA transport 1.0, 3.2),
 * then the Fabrics Connect (Base 2.0, 6.3); one time limit for all.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/rdma_initiator.h"

#define SQE_DWORDS 4u /* ioccsz of a capsule without data, 16-byte units */

#define RESOLVE_MS    2000
#define RETRIES	      7u /* of a packet; 7 also says "for ever" where the peer is not ready */
#define ACK_UNIT_NS   4096u
#define ACK_SHIFT_MAX 31u

static void on_timeout(void *arg)
{
	rdma_ini_fail(arg, -ETIMEDOUT, "no answer within connect_timeout");
}

/* ---- Connect ---- */

static void fill_connect(struct rdma_ini *t)
{
	const struct ini_params *p = &t->params;
	struct nvmf_connect_payload *data = rdma_ini_connect_data(t);
	struct nvme_sqe *sqe = rdma_ini_capsule(t, 0);

	memset(data, 0, sizeof(*data));
	memcpy(data->hostid, p->hostid, sizeof(data->hostid));
	data->cntlid = htole16(p->cntlid);
	strcpy(data->subnqn, p->subnqn);
	strcpy(data->hostnqn, p->hostnqn);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = NVME_OPC_FABRICS;
	sqe->flags = NVME_PSDT_SGL;
	sqe->nsid = htole32(nvme_fabrics_type_connect);
	sqe->cdw10 = htole32((uint32_t)p->qid << 16);
	sqe->cdw11 = htole32((uint32_t)NVMF_CATTR_DISABLE_SQFLOW << 16 | (t->qp.sq_size - 1u));
	sqe->cdw12 = htole32(p->kato);
}

void rdma_ini_connect_resp(struct rdma_ini *t, const struct nvme_cqe *cqe, const struct ibv_wc *wc)
{
	int open, e;

	t->connect_cqe = *cqe;
	open = rdma_ini_window_answered(t, &t->slots[0].window, wc);
	if (cqe->cid || open < 0) {
		rdma_ini_fail(t, -EPROTO,
			      "protocol error of the controller: response to no "
			      "command");
		return;
	}
	e = open ? rdma_ini_close_connect(t) : 0;
	if (e) {
		rdma_ini_fail(t, e, "cannot send: %s", strerror(-e));
		return;
	}
	if (nvme_cqe_status(cqe)) {
		t->refused = true;
		rdma_ini_fail(t, -ECONNREFUSED, "Connect refused");
		return;
	}
	if (!t->qp.qid)
		t->qp.cntlid = (uint16_t)le32toh(cqe->result);
	t->phase = RDMA_INI_CONNECTED;
	loop_hook_queue(t->qp.loop, &t->event);
}

/* ---- the connection manager's handshake ---- */

static uint32_t in_capsule_max(const struct ini_params *p)
{
	uint32_t max = p->ioccsz > SQE_DWORDS ? (p->ioccsz - SQE_DWORDS) * 16 : 0;

	/* Not on the admin queue; elsewhere one segment, which is one piece. */
	if (!p->qid)
		return 0;
	return p->ioccsz > 0xffff || max > SEG_SIZE ? SEG_SIZE : max;
}

/* Fewer commands at a time than asked for, when the device does not hold as many. */
static void fit_queue(struct rdma_ini *t, const struct ibv_device_attr *attr)
{
	while (t->qp.sq_size > 2) {
		unsigned send = rdma_ini_send_size(t, t->qp.sq_size);

		if (send <= (unsigned)attr->max_qp_wr &&
		    send + t->qp.sq_size <= (unsigned)attr->max_cqe)
			break;
		t->qp.sq_size /= 2;
	}
}

static int make_queue(struct rdma_ini *t)
{
	struct rdma_qp_size size = {.sge = 2, .inlined = sizeof(struct nvme_sqe)};
	struct rdma_dev *dev = rdma_dev_get(t->id);
	int e;

	if (!dev)
		return -errno;
	if (t->windows && !rdma_dev_has_windows(dev)) {
		rdma_dev_put(dev);
		return -EOPNOTSUPP;
	}
	fit_queue(t, rdma_dev_attr(dev));
	size.send = rdma_ini_send_size(t, t->qp.sq_size);
	size.recv = t->qp.sq_size;
	e = rdma_qp_init(&t->q, t->qp.loop, dev, t->id, rdma_ini_role(t), &size, &rdma_ini_qp_ops);
	if (!e && t->windows)
		e = rdma_ini_windows_init(t);
	if (e)
		return e;
	t->sq_free = size.send;
	t->icd_max = t->q.size.sge < 2 ? 0 : in_capsule_max(&t->params);
	/* I/O is the loop's pool's business; admin commands may come from any. */
	if (t->qp.qid) {
		e = rdma_ini_use_pool(t, loop_pool(t->qp.loop));
		if (e)
			return e;
	}
	e = rdma_slab_init(&t->slab, t->q.dev, rdma_ini_role(t),
			   t->qp.sq_size * (sizeof(struct nvme_sqe) + sizeof(struct nvme_cqe)) +
				   sizeof(struct nvmf_connect_payload));
	for (unsigned i = 0; !e && i < t->qp.sq_size; i++)
		e = rdma_ini_receive(t, i);
	return e;
}

/*
 * How long a packet may stay unacknowledged, so that all retries together last about as long as the
 * caller lets a peer be silent; a hint to the device.
 */
static void set_ack_timeout(struct rdma_ini *t)
{
	uint64_t each = t->params.user_timeout / (RETRIES + 1);
	uint8_t shift = 0;

	if (!each)
		return;
	while (shift < ACK_SHIFT_MAX && (uint64_t)ACK_UNIT_NS << (shift + 1) <= each)
		shift++;
	if (shift)
		rdma_set_option(t->id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &shift,
				sizeof(shift));
}

static void call(struct rdma_ini *t)
{
	uint8_t private_data[RDMA_PRIVATE_LEN];
	struct rdma_conn_param param = {
		.private_data = private_data,
		.private_data_len = sizeof(private_data),
		.flow_control = 1,
		.retry_count = RETRIES,
		.rnr_retry_count = RETRIES,
	};
	struct rdma_wire_request r;
	int max, e = make_queue(t);

	if (e == -EOPNOTSUPP && t->windows) {
		rdma_ini_fail(t, e, "register_always: device %s has no memory windows of type 2",
			      ibv_get_device_name(t->id->verbs->device));
		return;
	}
	if (e) {
		rdma_ini_fail(t, e, "cannot make a queue pair: %s", strerror(-e));
		return;
	}
	r = (struct rdma_wire_request){
		.qid = t->params.qid,
		.hrqsize = t->qp.sq_size,
		.hsqsize = (uint16_t)(t->qp.sq_size - 1),
		.cntlid = t->params.qid ? t->params.cntlid : 0,
	};
	rdma_wire_put_request(private_data, &r);
	/* The controller reads and writes our memory; we never read its. */
	max = rdma_dev_attr(t->q.dev)->max_qp_rd_atom;
	param.responder_resources = (uint8_t)(max < 255 ? max : 254);
	param.initiator_depth = 0;
	param.qp_num = t->q.qp->qp_num;
	t->phase = RDMA_INI_MEETING;
	set_ack_timeout(t);
	if (rdma_connect(t->id, &param))
		rdma_ini_fail(t, -errno, "rdma_connect: %s", strerror(errno));
}

static void on_accepted(struct rdma_ini *t, const struct rdma_cm_note *note)
{
	uint16_t crqsize;
	int e;

	if (!rdma_wire_get_accept(note->private_data, note->private_len, &crqsize)) {
		rdma_ini_fail(t, -EPROTO, "the controller's private data is of no form we know");
		return;
	}
	e = rdma_qp_ready(&t->q, t->id, RDMA_MAX_RESP_RES, 0);
	if (e) {
		rdma_ini_fail(t, e, "cannot make the queue pair ready: %s", strerror(-e));
		return;
	}
	if (rdma_establish(t->id)) {
		rdma_ini_fail(t, -errno, "rdma_establish: %s", strerror(errno));
		return;
	}
	t->met = true;
	t->phase = RDMA_INI_CONNECT;
	fill_connect(t);
	e = rdma_ini_send_connect(t, rdma_ini_connect_data(t));
	if (e)
		rdma_ini_fail(t, e, "cannot send the Connect: %s", strerror(-e));
}

static void on_rejected(struct rdma_ini *t, const struct rdma_cm_note *note)
{
	enum rdma_rej why = rdma_wire_get_reject(note->private_data, note->private_len);

	/* IB 12.6.7.2: 28 is the consumer's own, all others are the connection manager's; of these
	 * 8 is that the service ID is not known. iWARP has errors of its TCP. */
	if (note->status == 28)
		rdma_ini_fail(t, -ECONNREFUSED, "rejected: %s", rdma_rej_str(why));
	else if (note->status == 8)
		rdma_ini_fail(t, -ECONNREFUSED, "rejected: nobody listens there");
	else if (note->status < 0)
		rdma_ini_fail(t, note->status, "rejected: %s", strerror(-note->status));
	else
		rdma_ini_fail(t, -ECONNREFUSED,
			      "rejected by the connection manager there (reason %d)", note->status);
}

static void on_end(struct rdma_ini *t, const struct rdma_cm_note *note)
{
	const char *what = rdma_cm_end_str(note);
	int error = note->status < 0 ? note->status : -ECONNRESET;

	if (note->type == RDMA_CM_EVENT_DEVICE_REMOVAL)
		rdma_dev_removed(t->id);
	if (what)
		rdma_ini_fail(t, error, "%s", what);
}

static void on_note(void *arg, const struct rdma_cm_note *note)
{
	struct rdma_ini *t = arg;

	if (t->phase == RDMA_INI_DEAD)
		return;
	switch (note->type) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		if (rdma_resolve_route(t->id, RESOLVE_MS))
			rdma_ini_fail(t, -errno, "rdma_resolve_route: %s", strerror(errno));
		break;
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		call(t);
		break;
	case RDMA_CM_EVENT_CONNECT_RESPONSE:
		on_accepted(t, note);
		break;
	case RDMA_CM_EVENT_REJECTED:
		on_rejected(t, note);
		break;
	default:
		on_end(t, note);
		break;
	}
}

int rdma_ini_dial(struct rdma_ini *t)
{
	struct ini_params *p = &t->params;
	struct sockaddr *src = p->host_addr.len ? (struct sockaddr *)&p->host_addr.ss : NULL;
	int e;

	loop_timer_init(&t->timer, t->qp.loop, on_timeout, t);
	e = rdma_cm_init(&t->cm, t->qp.loop, on_note, t);
	if (!e && rdma_create_id(t->cm.channel, &t->id, t, RDMA_PS_TCP))
		e = -errno;
	if (!e && rdma_resolve_addr(t->id, src, (struct sockaddr *)&p->addr.ss, RESOLVE_MS))
		e = -errno;
	if (e) {
		rdma_ini_hang_up(t);
		return e;
	}
	if (p->connect_timeout)
		loop_timer_arm(&t->timer, p->connect_timeout);
	return 0;
}

void rdma_ini_hang_up(struct rdma_ini *t)
{
	loop_timer_fini(&t->timer);
	if (t->id) {
		if (t->met)
			rdma_disconnect(t->id);
		rdma_destroy_id(t->id);
	}
	t->id = NULL;
	rdma_cm_fini(&t->cm);
}
