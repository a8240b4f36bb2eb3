/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/RDMA as target: connections as they come. What the host asks for in the private data is
 * judged (RDMA transport 1.0, 3.2), then it has a queue pair, or a reject with the reason. All of
 * it runs on the control loop, and so does everything that the connection manager says later.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/log.h"
#include "transport/rdma_target.h"

#define MAX_DEPTH 1024u /* entries of an SQ: a bound on what a host costs before its Connect */
#define MAX_SGE	  16u

/* The same where buffers are shared, but there are none to be had at present. */
#define MAX_UNSHARED 128u

/* Completions that a queue pair has room for beyond its entries: a host that sends too much is to
 * be found out before it costs the buffers that others use too. */
#define SLACK	256u
#define RETRIES 7u /* 7: for ever, where the host is not ready to receive */

static void reject(const struct rdma_cm_note *note, enum rdma_rej why)
{
	uint8_t private_data[RDMA_REJECT_LEN];

	log_ratelimited(LOG_WARNING, "RDMA: a connection is rejected: %s", rdma_rej_str(why));
	rdma_wire_put_reject(private_data, why);
	rdma_reject(note->id, private_data, sizeof(private_data));
	rdma_destroy_id(note->id);
}

static void set_addr(struct addr *a, const struct sockaddr *sa)
{
	a->len = sa->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
					   : sizeof(struct sockaddr_in);
	memcpy(&a->ss, sa, a->len);
}

static uint32_t in_capsule_max(const struct rdma_tgt *t)
{
	return t->asked_qid ? t->qp.listener->cfg.in_capsule_data : 0;
}

/* I/O queues take from the buffers of the worker that they are for, where there are any. */
static int find_shared_buffers(struct rdma_tgt *t, struct rdma_dev *dev, struct rdma_qp_size *size)
{
	int spare = rdma_dev_attr(dev)->max_cqe - (int)(size->send + size->recv);
	struct rdma_rx *rx;

	if (!t->qp.home || !rdma_dev_attr(dev)->max_srq)
		return 0;
	rx = rdma_rx_join(dev, t->qp.home, in_capsule_max(t), t->depth);
	if (!rx)
		return t->depth > MAX_UNSHARED ? -ENOBUFS : 0;
	t->rx = rx;
	size->srq = rx->srq;
	if (spare > 0)
		size->recv += (unsigned)spare < SLACK ? (unsigned)spare : SLACK;
	return 0;
}

/* Memory for capsules as they arrive, and for responses where they do not go inline. */
static int make_buffers(struct rdma_tgt *t)
{
	int e = 0;

	t->arrived = calloc(t->depth, sizeof(t->arrived[0]));
	if (!t->arrived)
		return -ENOMEM;
	if (!t->q.size.inlined)
		e = rdma_slab_init(&t->responses, t->q.dev, RDMA_TARGET,
				   t->q.size.send * sizeof(struct nvme_cqe));
	if (!e && !t->rx->srq)
		e = rdma_rx_init(&t->own_rx, t->q.dev, t->q.qp, t->depth, in_capsule_max(t));
	return e;
}

static int make_queue(struct rdma_tgt *t, const struct rdma_cm_note *note)
{
	struct rdma_qp_size size = {
		.send = rdma_tgt_send_size(t->depth),
		.recv = t->depth,
		.sge = MAX_SGE,
		.inlined = sizeof(struct nvme_cqe),
	};
	struct rdma_dev *dev = rdma_dev_get(note->id);
	const struct ibv_device_attr *attr;
	int e;

	if (!dev)
		return -errno;
	attr = rdma_dev_attr(dev);
	if (size.send > (unsigned)attr->max_qp_wr)
		size.send = (unsigned)attr->max_qp_wr;
	e = find_shared_buffers(t, dev, &size);
	if (e) {
		rdma_dev_put(dev);
		return e;
	}
	e = rdma_qp_init(&t->q, t->qp.loop, dev, note->id, RDMA_TARGET, &size, &rdma_tgt_qp_ops);
	if (e)
		return e;
	if (size.send <= REQUEST_MAX_SEGS)
		return -EINVAL;
	t->sq_free = size.send;
	t->read_sges = t->q.size.sge;
	/* iWARP takes less here */
	if (attr->max_sge_rd && t->read_sges > (unsigned)attr->max_sge_rd)
		t->read_sges = (unsigned)attr->max_sge_rd;
	t->may_invalidate = attr->device_cap_flags & IBV_DEVICE_MEM_MGT_EXTENSIONS;
	t->mem = rdma_dev_mem(t->q.dev, RDMA_TARGET, loop_pool(t->qp.loop));
	if (!t->mem)
		return -errno;
	return make_buffers(t);
}

/* Reads that may be out at one time: as many as the host can answer and the device can ask. */
static uint8_t read_depth(const struct rdma_tgt *t, const struct rdma_cm_note *note)
{
	int max = rdma_dev_attr(t->q.dev)->max_qp_init_rd_atom;

	return note->initiator_depth < max ? note->initiator_depth : (uint8_t)max;
}

static int accept_it(struct rdma_tgt *t, const struct rdma_cm_note *note)
{
	uint8_t private_data[RDMA_PRIVATE_LEN];
	struct rdma_conn_param param = {
		.private_data = private_data,
		.private_data_len = sizeof(private_data),
		.flow_control = 1,
		.rnr_retry_count = RETRIES,
		.initiator_depth = (uint8_t)t->max_reads,
		.responder_resources = 0, /* nobody reads from us */
		.qp_num = t->q.qp->qp_num,
	};
	int e = rdma_qp_ready(&t->q, note->id, 0, (uint8_t)t->max_reads);

	if (e)
		return e;
	rdma_wire_put_accept(private_data, t->depth);
	return rdma_accept(note->id, &param) ? -errno : 0;
}

static void free_early(struct rdma_tgt *t)
{
	rdma_tgt_leave_loop(t);
	rdma_qp_fini(&t->q);
	rdma_tgt_free_buffers(t);
	rdma_tgt_leave_buffers(t);
	free(t);
}

static struct rdma_tgt *make(struct tgt_listener *l, const struct rdma_cm_note *note,
			     const struct rdma_wire_request *r)
{
	struct rdma_tgt *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->qp.loop = l->loop;
	t->qp.tr = &tgt_rdma;
	t->qp.listener = l;
	set_addr(&t->qp.peer, rdma_get_peer_addr(note->id));
	set_addr(&t->qp.local, rdma_get_local_addr(note->id));
	TAILQ_INIT(&t->qp.requests);
	TAILQ_INIT(&t->outgoing);
	TAILQ_INIT(&t->answers);
	TAILQ_INIT(&t->reads);
	cid_map_init(&t->cids);
	loop_hook_init(&t->event, rdma_tgt_on_hook, t);
	loop_hook_init(&t->flush, rdma_tgt_flush, t);
	atomic_init(&t->refs, 1);
	t->depth = (uint16_t)(r->hsqsize + 1);
	t->asked_qid = r->qid;
	t->rx = &t->own_rx;
	if (r->qid && l->ops->place)
		t->qp.home = l->ops->place(l->arg);
	rdma_tgt_join_loop(t, l->loop);
	return t;
}

static enum rdma_rej judge(const struct tgt_listener *l, const struct rdma_cm_note *note,
			   struct rdma_wire_request *r)
{
	enum rdma_rej why = rdma_wire_get_request(note->private_data, note->private_len, r);

	if (why)
		return why;
	if (r->hsqsize >= MAX_DEPTH)
		return RDMA_REJ_HSQSIZE;
	/* Without reads no command with data outside of the capsule could be carried out. */
	if (!note->initiator_depth)
		return RDMA_REJ_IRD;
	if (l->connections >= l->cfg.max_connections)
		return RDMA_REJ_NO_RSC;
	return RDMA_REJ_NONE;
}

void rdma_tgt_request(struct tgt_listener *l, const struct rdma_cm_note *note)
{
	struct rdma_wire_request r;
	enum rdma_rej why = judge(l, note, &r);
	struct rdma_tgt *t;
	int e;

	note->id->context = NULL;
	t = why ? NULL : make(l, note, &r);
	if (!t) {
		reject(note, why ? why : RDMA_REJ_NO_RSC);
		return;
	}
	e = make_queue(t, note);
	if (!e) {
		t->max_reads = read_depth(t, note);
		e = accept_it(t, note);
	}
	if (e) {
		log_ratelimited(LOG_ERR, "RDMA: cannot take a connection: %s", strerror(-e));
		free_early(t);
		reject(note, RDMA_REJ_NO_RSC);
		return;
	}
	t->id = note->id;
	t->id->context = t;
	l->connections++;
	if (l->cfg.handshake_timeout)
		loop_timer_arm(&t->timer, l->cfg.handshake_timeout);
	l->ops->opened(&t->qp);
}

void rdma_tgt_note(struct rdma_tgt *t, const struct rdma_cm_note *note)
{
	const char *what = rdma_cm_end_str(note);

	if (note->type == RDMA_CM_EVENT_DEVICE_REMOVAL)
		rdma_dev_removed(t->id);
	if (what)
		rdma_tgt_over(
			t, note->type == RDMA_CM_EVENT_DISCONNECTED ? TGT_END_HOST : TGT_END_FAULT,
			what);
}
