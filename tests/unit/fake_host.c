/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "multipath/control.h"
#include "tests/unit/fake_upstream.h"
#include "transport/log.h"

#define MAX_TURNS 2000
#define MAX_CIDS  1024

struct tgt_listener {
	struct addr addr;
	const struct tgt_ops *ops;
	void *arg;
};

struct fake_qp {
	struct tgt_qpair qp;
	TAILQ_ENTRY(fake_qp) link;
	bool closing, closed;
	struct tgt_req_list unheard;
	struct loop *next;
};

struct gateway *gw;
struct subsystem *gw_ss;
struct gw_config gw_cfg;
struct subsys_cfg gw_subsys_cfg;
struct upstream_cfg gw_upstream_cfg[2];
bool host_fetch, host_deaf;

static struct listener_cfg listener_cfg;
static struct answer *answers[MAX_CIDS];
static const uint8_t *fetch_data[MAX_CIDS];
static uint16_t next_cid;
static TAILQ_HEAD(, fake_qp) all = TAILQ_HEAD_INITIALIZER(all);

/* ---- the transport ---- */

static struct tgt_listener *fake_listen(struct loop *control, const struct addr *addr,
					const struct tgt_config *cfg, const struct tgt_ops *ops,
					void *arg)
{
	struct tgt_listener *l = calloc(1, sizeof(*l));

	*l = (struct tgt_listener){*addr, ops, arg};
	return l;
}

static const struct addr *fake_listener_addr(const struct tgt_listener *l)
{
	return &l->addr;
}

static void *fake_listener_arg(const struct tgt_listener *l)
{
	return l->arg;
}

static struct tgt_listener *listener; /* kept: connections outlive it */

static void fake_unlisten(struct tgt_listener *l)
{
}

static void bring(void *arg)
{
	struct request *req = arg;
	struct tgt_qpair *qp = req->tgt;

	if (!qp)
		return;
	if (!req->nsegs)
		assert_int_equal(request_alloc_data(req, req->data_len), 0);
	request_copy_in(req, 0, fetch_data[req->cid], req->data_len);
	req->filled = req->data_len;
	req->tgt_state = TGT_REQ_EXECUTING;
	qp->listener->ops->data_ready(qp, req);
}

static void fake_fetch(struct request *req)
{
	assert_int_equal(req->dir, NVME_DIR_H2C);
	assert_true(req->filled < req->data_len);
	req->tgt_state = TGT_REQ_FETCHING;
	loop_post(req->tgt->loop, bring, req);
}

static void fake_progress(struct request *req)
{
	assert_true(req->filled <= req->data_len);
}

static void fake_complete(struct request *req)
{
	struct answer *a = answers[req->cid];

	assert_false(a->there);
	assert_int_equal(req->tgt_state, TGT_REQ_EXECUTING);
	a->there = true;
	a->status = nvme_cqe_status(&req->cqe);
	a->result = le64toh(req->cqe.result64);
	a->len = 0;
	if (!a->status && req->dir == NVME_DIR_C2H && req->data_len) {
		assert_int_equal(req->filled, req->data_len);
		a->len = req->data_len < sizeof(a->data) ? req->data_len : sizeof(a->data);
		request_copy_out(req, 0, a->data, a->len);
	}
	TAILQ_REMOVE(&req->tgt->requests, req, tgt_link);
	TAILQ_INSERT_TAIL(&((struct fake_qp *)req->tgt)->unheard, req, tgt_link);
	if (!host_deaf || ((struct fake_qp *)req->tgt)->closed)
		host_hear(req->tgt);
}

void host_hear(struct tgt_qpair *qp)
{
	struct fake_qp *f = (struct fake_qp *)qp;
	struct request *req;

	while ((req = TAILQ_FIRST(&f->unheard))) {
		TAILQ_REMOVE(&f->unheard, req, tgt_link);
		qp->inflight--;
		req->tgt = NULL;
		pool_put(req);
	}
}

static void arrive(void *arg)
{
	struct fake_qp *f = arg;

	if (!f->closed)
		f->qp.listener->ops->moved(&f->qp);
}

static void depart(void *arg)
{
	struct fake_qp *f = arg;

	if (f->closing)
		return;
	f->qp.loop = f->next;
	loop_post(f->next, arrive, f);
}

/* Once the response has left. */
static void fake_complete_and_move(struct request *req, struct loop *loop)
{
	struct fake_qp *f = (struct fake_qp *)req->tgt;

	fake_complete(req);
	f->next = loop;
	loop_post(f->qp.loop, depart, f);
}

static void do_close(void *arg)
{
	struct fake_qp *f = arg;
	struct request *req;

	if (f->closed)
		return;
	f->closed = true;
	host_hear(&f->qp);
	f->qp.listener->ops->closed(&f->qp, "closed by the test");
	while ((req = TAILQ_FIRST(&f->qp.requests))) {
		TAILQ_REMOVE(&f->qp.requests, req, tgt_link);
		req->tgt = NULL;
		if (req->tgt_state == TGT_REQ_FETCHING)
			pool_put(req);
	}
}

static void fake_close(struct tgt_qpair *qp, const char *reason)
{
	struct fake_qp *f = (struct fake_qp *)qp;

	if (!f->closing)
		loop_post(qp->loop, do_close, f);
	f->closing = true;
}

static const struct tgt_transport tgt_fake = {
	.name = "fake",
	.trtype = NVMF_TRTYPE_TCP,
	.listen = fake_listen,
	.listener_addr = fake_listener_addr,
	.listener_arg = fake_listener_arg,
	.unlisten = fake_unlisten,
	.fetch = fake_fetch,
	.progress = fake_progress,
	.complete = fake_complete,
	.complete_and_move = fake_complete_and_move,
	.close = fake_close,
};

/* ---- the gateway ---- */

void gw_defaults(void)
{
	log_set_level(LOG_CRIT);
	memset(fake_ctrls, 0, sizeof(fake_ctrls));
	for (unsigned i = 1; i < 8; i++) {
		fake_ctrls[i].ana_state = NVME_ANA_STATE_OPTIMIZED;
		fake_ctrls[i].ns[1] = (struct fake_ns){true, 1000, 5, 0, false};
	}
	listener_cfg = (struct listener_cfg){
		.transport = &tgt_fake,
		.tgt = {.in_capsule_data = 8192},
	};
	addr_parse(&listener_cfg.addr, "192.0.2.1", "4420");
	memset(gw_upstream_cfg, 0, sizeof(gw_upstream_cfg));
	for (unsigned i = 0; i < 2; i++) {
		struct upstream_config *up = &gw_upstream_cfg[i].mp;
		char port[8];

		snprintf(port, sizeof(port), "%u", i + 1);
		snprintf(up->name, sizeof(up->name), "up%u", i + 1);
		addr_parse(&up->addr, "127.0.0.1", port);
		up->transport = &ini_fake;
		strcpy(up->nqn, "nqn.2014-08.org.example:array");
		up->queue_size = 32;
		up->reconnect_delay = 20 * NSEC_PER_MSEC;
		up->connect_timeout = NSEC_PER_SEC;
		up->ctrl_loss_tmo = -1;
		up->fast_io_fail_tmo = -1;
		up->io_timeout = 30 * NSEC_PER_SEC;
		up->weight = 1;
		up->enabled = true;
	}
	gw_subsys_cfg = (struct subsys_cfg){
		.mp = {.nqn = FAKE_GW_NQN,
		       .no_path_timeout = 20 * NSEC_PER_SEC,
		       .max_held = 100,
		       .max_held_bytes = 1 << 20,
		       .persistent_loss = -1},
		.serial = "SERIAL",
		.model = "MODEL",
		.cntlid_min = 1,
		.cntlid_max = 100,
		.max_transfer = 1 << 20,
		.max_io_queues = 4,
		.max_queue_size = 128,
		.max_controllers = 8,
		.allow_any_host = true,
		.upstreams = gw_upstream_cfg,
		.nr_upstreams = 2,
	};
	gw_cfg = (struct gw_config){
		.workers = 1,
		.memory = 4 << 20,
		.requests = 256,
		.listeners = &listener_cfg,
		.nr_listeners = 1,
		.subsystems = &gw_subsys_cfg,
		.nr_subsystems = 1,
	};
}

void gw_spin(unsigned turns)
{
	while (turns--) {
		loop_turn(gw->control, false);
		loop_turn(gw->workers[0].loop, false);
	}
}

uint32_t gw_nsid(void)
{
	return TAILQ_FIRST(&gw_ss->mp->heads)->nsid;
}

unsigned gw_usable(void)
{
	const struct head *h;
	const struct path *p;
	unsigned n = 0;

	TAILQ_FOREACH(h, &gw_ss->mp->heads, link)
		TAILQ_FOREACH(p, &h->paths, head_link)
			n += p->usable;
	return n;
}

void gw_start(unsigned paths)
{
	gw = gateway_new(&gw_cfg);
	assert_non_null(gw);
	gw_ss = TAILQ_FIRST(&gw->subsystems);
	listener = gw->listeners[0]->tgt;
	for (unsigned i = 0; i < MAX_TURNS && gw_usable() < paths; i++)
		gw_spin(1);
	assert_int_equal(gw_usable(), paths);
	gw_spin(10);
}

static void check_pool(const struct loop *loop)
{
	const struct pool *pool = loop_pool(loop);

	assert_int_equal(pool_free_requests(pool), pool_total_requests(pool));
	assert_int_equal(pool_free_segments(pool), pool_total_segments(pool));
}

void gw_end(void)
{
	struct fake_qp *f;

	if (!gw->stopping)
		gateway_stop(gw);
	for (unsigned i = 0; i < MAX_TURNS && gw->mp->objects; i++) {
		gw_spin(1);
		usleep(10);
	}
	assert_true(gw->ending);
	assert_int_equal(gw->mp->objects, 0);
	gw_spin(20);
	check_pool(gw->control);
	check_pool(gw->workers[0].loop);
	gateway_free(gw);
	gw = NULL;
	while ((f = TAILQ_FIRST(&all))) {
		assert_true(f->closed);
		TAILQ_REMOVE(&all, f, link);
		free(f);
	}
	for (unsigned i = 0; i < MAX_CIDS; i++) {
		free(answers[i]);
		answers[i] = NULL;
	}
	free(listener);
}

/* ---- hosts ---- */

static struct tgt_qpair *open_at(struct loop *home)
{
	struct fake_qp *f = calloc(1, sizeof(*f));

	f->qp.home = home;
	f->qp.loop = gw->control;
	f->qp.tr = &tgt_fake;
	f->qp.listener = listener;
	addr_parse(&f->qp.peer, "192.0.2.7", "1234");
	addr_parse(&f->qp.local, "192.0.2.1", "4420");
	TAILQ_INIT(&f->qp.requests);
	TAILQ_INIT(&f->unheard);
	TAILQ_INSERT_TAIL(&all, f, link);
	listener->ops->opened(&f->qp);
	return &f->qp;
}

struct tgt_qpair *host_open(void)
{
	return open_at(NULL);
}

struct tgt_qpair *host_open_placed(void)
{
	return open_at(listener->ops->place(listener->arg));
}

void host_close(struct tgt_qpair *qp)
{
	fake_close(qp, "");
	gw_spin(10);
}

bool host_is_open(const struct tgt_qpair *qp)
{
	return !((const struct fake_qp *)qp)->closed;
}

uint16_t host_send(struct tgt_qpair *qp, const struct nvme_sqe *sqe, const void *data, uint32_t len)
{
	struct request *req = pool_get(loop_pool(qp->loop));
	uint16_t cid = next_cid++ % MAX_CIDS;

	assert_non_null(req);
	assert_true(host_is_open(qp));
	if (!answers[cid])
		answers[cid] = calloc(1, sizeof(*answers[cid]));
	answers[cid]->there = false;
	req->sqe = *sqe;
	req->sqe.cid = htole16(cid);
	req->sqe.flags |= NVME_PSDT_SGL;
	req->cid = cid;
	req->dir = (uint8_t)nvme_sqe_dir(sqe);
	req->tgt = qp;
	req->tgt_state = TGT_REQ_EXECUTING;
	if (req->dir == NVME_DIR_C2H || req->dir == NVME_DIR_H2C)
		req->data_len = len;
	fetch_data[cid] = data;
	if (req->dir == NVME_DIR_H2C && len && !host_fetch) {
		assert_int_equal(request_alloc_data(req, len), 0);
		request_copy_in(req, 0, data, len);
		req->filled = len;
	}
	TAILQ_INSERT_TAIL(&qp->requests, req, tgt_link);
	qp->inflight++;
	listener->ops->command(qp, req);
	return cid;
}

struct answer *host_answer(uint16_t cid)
{
	return answers[cid];
}

struct answer *host_command(struct tgt_qpair *qp, const struct nvme_sqe *sqe, const void *data,
			    uint32_t len)
{
	uint16_t cid = host_send(qp, sqe, data, len);

	for (unsigned i = 0; i < MAX_TURNS && !answers[cid]->there; i++)
		gw_spin(1);
	assert_true(answers[cid]->there);
	return answers[cid];
}

struct connect_args host_connect_args(void)
{
	return (struct connect_args){
		.sqsize = 31,
		.cntlid = NVMF_CNTLID_DYNAMIC,
		.kato = 120000,
		.hostid_fill = 7,
		.subnqn = FAKE_GW_NQN,
		.hostnqn = FAKE_HOSTNQN,
	};
}

struct answer *host_connect(struct tgt_qpair *qp, const struct connect_args *a)
{
	static struct nvmf_connect_payload d;
	struct nvme_sqe sqe = {
		.opcode = NVME_OPC_FABRICS,
		.nsid = htole32(nvme_fabrics_type_connect),
		.cdw10 = htole32((uint32_t)a->qid << 16 | a->recfmt),
		.cdw11 = htole32((uint32_t)a->cattr << 16 | a->sqsize),
		.cdw12 = htole32(a->kato),
	};

	memset(&d, 0, sizeof(d));
	memset(d.hostid, a->hostid_fill, sizeof(d.hostid));
	d.cntlid = htole16(a->cntlid);
	memcpy(d.subnqn, a->subnqn, sizeof(d.subnqn));
	memcpy(d.hostnqn, a->hostnqn, sizeof(d.hostnqn));
	return host_command(qp, &sqe, &d, sizeof(d));
}

struct controller *host_ctrl(const struct tgt_qpair *qp)
{
	return ((struct host_queue *)qp->priv)->ctrl;
}

struct tgt_qpair *host_controller(const char *subnqn)
{
	struct connect_args a = host_connect_args();
	struct tgt_qpair *qp = host_open();

	strcpy(a.subnqn, subnqn);
	assert_int_equal(host_connect(qp, &a)->status, 0);
	assert_int_equal(host_property_set(qp, NVMF_PROP_CC, HOST_CC_ENABLE)->status, 0);
	assert_int_equal(host_property_get(qp, NVMF_PROP_CSTS, 0)->result, NVME_CSTS_READY);
	return qp;
}

struct tgt_qpair *host_io_queue(struct tgt_qpair *admin, uint16_t qid)
{
	struct connect_args a = host_connect_args();
	struct tgt_qpair *qp = host_open();

	a.qid = qid;
	a.cntlid = host_ctrl(admin)->ident.cntlid;
	strcpy(a.subnqn, host_ctrl(admin)->ss->nqn);
	assert_int_equal(host_connect(qp, &a)->status, 0);
	gw_spin(2);
	return qp;
}

struct answer *host_property_set(struct tgt_qpair *qp, uint32_t offset, uint32_t value)
{
	struct nvme_sqe sqe = {
		.opcode = NVME_OPC_FABRICS,
		.nsid = htole32(nvme_fabrics_type_property_set),
		.cdw11 = htole32(offset),
		.cdw12 = htole32(value),
	};

	return host_command(qp, &sqe, NULL, 0);
}

struct answer *host_property_get(struct tgt_qpair *qp, uint32_t offset, unsigned attrib)
{
	struct nvme_sqe sqe = {
		.opcode = NVME_OPC_FABRICS,
		.nsid = htole32(nvme_fabrics_type_property_get),
		.cdw10 = htole32(attrib),
		.cdw11 = htole32(offset),
	};

	return host_command(qp, &sqe, NULL, 0);
}

struct answer *host_identify(struct tgt_qpair *qp, uint8_t cns, uint32_t nsid)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_identify,
		.nsid = htole32(nsid),
		.cdw10 = htole32(cns),
	};

	return host_command(qp, &sqe, NULL, 4096);
}

struct answer *host_log(struct tgt_qpair *qp, uint8_t lid, uint64_t offset, uint32_t len, bool rae)
{
	struct nvme_sqe sqe = {
		.opcode = nvme_admin_get_log_page,
		.nsid = htole32(NVME_NSID_ALL),
		.cdw10 = htole32((len / 4 - 1) << 16 | (uint32_t)rae << 15 | lid),
		.cdw12 = htole32((uint32_t)offset),
		.cdw13 = htole32((uint32_t)(offset >> 32)),
	};

	return host_command(qp, &sqe, NULL, len);
}
