/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/bench/host.h"

#define POLL_NS	   (100 * NSEC_PER_MSEC) /* between looks at something that may take a while */
#define CONNECT_NS (10 * NSEC_PER_SEC)
#define ADMIN_NS   (10 * NSEC_PER_SEC) /* for one admin command */
#define ADMIN_SQ   32

/* Whatever became of the shutdown, it is over; once. */
static void shutdown_done(struct host *h)
{
	void (*done)(void *arg) = h->done;

	h->failed = true;
	h->done = NULL;
	loop_timer_cancel(&h->step_timer);
	loop_timer_cancel(&h->ka_timer);
	if (done)
		done(h->arg);
}

static void host_fail(struct host *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void host_fail(struct host *h, const char *fmt, ...)
{
	char why[200];
	va_list ap;

	if (h->failed)
		return;
	h->failed = true;
	loop_timer_cancel(&h->step_timer);
	loop_timer_cancel(&h->ka_timer);
	if (h->done) {
		shutdown_done(h);
		return;
	}
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	h->ops->failed(h->arg, why);
}

static void step_timer_fired(void *arg)
{
	struct host *h = arg;

	h->step(h);
}

static void step_after(struct host *h, uint64_t ns, void (*step)(struct host *h))
{
	h->step = step;
	loop_timer_arm(&h->step_timer, ns);
}

static void no_answer(struct host *h)
{
	host_fail(h, "no answer to an admin command");
}

/* ---- admin commands: one at a time, besides keep-alives ---- */

static void admin_done(struct request *req, int error)
{
	struct host *h = req->complete_arg;

	loop_timer_cancel(&h->step_timer);
	if (!error && !h->failed)
		h->answer(h, req);
	pool_put(req);
}

static struct request *admin_request(struct host *h, uint8_t opcode, uint32_t data_len)
{
	struct request *req = pool_get(loop_pool(h->loop));

	if (!req || (data_len && request_alloc_data(req, data_len)))
		return NULL;
	req->sqe.opcode = opcode;
	req->data_len = data_len;
	req->complete_arg = h;
	return req;
}

static void admin_submit(struct host *h, struct request *req,
			 void (*answer)(struct host *h, struct request *req))
{
	int err;

	req->dir = nvme_sqe_dir(&req->sqe);
	req->ini_done = admin_done;
	h->answer = answer;
	step_after(h, ADMIN_NS, no_answer);
	err = h->admin->tr->submit(h->admin, req);
	if (err) {
		pool_put(req);
		host_fail(h, "admin command: %s", strerror(-err));
	}
}

/* The status of an answer that must be a success. */
static bool check(struct host *h, const struct request *req, const char *what)
{
	uint16_t status = nvme_cqe_status(&req->cqe);

	if (status)
		host_fail(h, "%s: status 0x%x", what, status);
	return !status;
}

static void property_get(struct host *h, uint32_t reg, bool wide,
			 void (*answer)(struct host *h, struct request *req))
{
	struct request *req = admin_request(h, NVME_OPC_FABRICS, 0);

	req->sqe.nsid = htole32(nvme_fabrics_type_property_get);
	req->sqe.cdw10 = htole32(wide);
	req->sqe.cdw11 = htole32(reg);
	admin_submit(h, req, answer);
}

static void property_set(struct host *h, uint32_t reg, uint32_t value,
			 void (*answer)(struct host *h, struct request *req))
{
	struct request *req = admin_request(h, NVME_OPC_FABRICS, 0);

	req->sqe.nsid = htole32(nvme_fabrics_type_property_set);
	req->sqe.cdw11 = htole32(reg);
	req->sqe.cdw12 = htole32(value);
	admin_submit(h, req, answer);
}

static void identify(struct host *h, uint8_t cns, uint32_t nsid,
		     void (*answer)(struct host *h, struct request *req))
{
	struct request *req = admin_request(h, nvme_admin_identify, NVME_IDENTIFY_DATA_SIZE);

	req->sqe.nsid = htole32(nsid);
	req->sqe.cdw10 = htole32(cns);
	admin_submit(h, req, answer);
}

/* ---- keep-alive: every half KATO, whatever else is going on ---- */

static void keep_alive_done(struct request *req, int error)
{
	struct host *h = req->complete_arg;

	if (!error && !h->failed)
		check(h, req, "Keep Alive");
	pool_put(req);
}

static void keep_alive(void *arg)
{
	struct host *h = arg;
	struct request *req = admin_request(h, nvme_admin_keep_alive, 0);

	if (!req) {
		host_fail(h, "no answer to keep-alives");
		return;
	}
	req->ini_done = keep_alive_done;
	if (h->admin->tr->submit(h->admin, req)) {
		pool_put(req);
		host_fail(h, "no answer to keep-alives");
		return;
	}
	loop_timer_arm(&h->ka_timer, h->opt->keep_alive / 2);
}

/* ---- the steps, last one first ---- */

static void ask_namespaces(struct host *h);

static void got_namespace(struct host *h, struct request *req)
{
	struct nvme_id_ns ns;
	uint8_t format;

	if (!check(h, req, "Identify Namespace"))
		return;
	request_copy_out(req, 0, &ns, sizeof(ns));
	format = ns.flbas & NVME_NS_FLBAS_LOWER_MASK;
	h->lba_size = 1u << (ns.lbaf[format].ds & 31);
	h->lbas = le64toh(ns.nsze);
	if (h->lba_size < 512 || h->lba_size > SEG_SIZE || ns.lbaf[format].ms) {
		host_fail(h, "namespace %u: a format with %u + %u bytes per block is not supported",
			  h->nsid, h->lba_size, le16toh(ns.lbaf[format].ms));
		return;
	}
	h->ops->ready(h->arg);
}

static void got_namespaces(struct host *h, struct request *req)
{
	uint32_t list[NVME_IDENTIFY_DATA_SIZE / 4];

	if (!check(h, req, "Active Namespace ID list"))
		return;
	request_copy_out(req, 0, list, sizeof(list));
	for (unsigned i = 0; i < NVME_IDENTIFY_DATA_SIZE / 4 && list[i]; i++) {
		if (h->opt->nsid && le32toh(list[i]) != h->opt->nsid)
			continue;
		h->nsid = le32toh(list[i]);
		identify(h, NVME_IDENTIFY_CNS_NS, h->nsid, got_namespace);
		return;
	}
	if (loop_now(h->loop) >= h->deadline)
		host_fail(h, "the subsystem shows no namespace%s",
			  h->opt->nsid ? " of that NSID" : "");
	else
		step_after(h, POLL_NS, ask_namespaces);
}

static void ask_namespaces(struct host *h)
{
	identify(h, NVME_IDENTIFY_CNS_NS_ACTIVE_LIST, h->opt->nsid ? h->opt->nsid - 1 : 0,
		 got_namespaces);
}

static void got_queues(struct host *h, struct request *req)
{
	uint32_t result = le32toh(req->cqe.result);

	if (!check(h, req, "Set Features, Number of Queues"))
		return;
	h->queues = (result & 0xffff) < result >> 16 ? (result & 0xffff) + 1 : (result >> 16) + 1;
	if (h->queues < h->opt->queues) {
		host_fail(h, "%u queues asked for, the controller allows %u", h->opt->queues,
			  h->queues);
		return;
	}
	if (h->opt->idle) {
		h->ops->ready(h->arg);
		return;
	}
	h->deadline = loop_now(h->loop) + h->opt->wait;
	ask_namespaces(h);
}

static void got_controller(struct host *h, struct request *req)
{
	unsigned page_shift = 12 + (h->cap >> 48 & 0xf);
	uint32_t n = h->opt->queues - 1;

	if (!check(h, req, "Identify Controller"))
		return;
	request_copy_out(req, 0, &h->id, sizeof(h->id));
	h->max_transfer = h->id.mdts && h->id.mdts + page_shift < 32
				  ? 1u << (h->id.mdts + page_shift)
				  : UINT32_MAX;
	if (h->opt->bs > h->max_transfer) {
		host_fail(h, "I/O of %u bytes, the controller allows %u", h->opt->bs,
			  h->max_transfer);
		return;
	}
	if (h->opt->depth > (h->cap & 0xffff) || h->opt->depth > le16toh(h->id.maxcmd)) {
		host_fail(h, "depth %u, the controller allows %u entries and %u commands",
			  h->opt->depth, (unsigned)(h->cap & 0xffff), le16toh(h->id.maxcmd));
		return;
	}
	req = admin_request(h, nvme_admin_set_features, 0);
	req->sqe.cdw10 = htole32(NVME_FEAT_FID_NUM_QUEUES);
	req->sqe.cdw11 = htole32(n << 16 | n);
	admin_submit(h, req, got_queues);
}

static void ask_ready(struct host *h);

static void got_csts(struct host *h, struct request *req)
{
	uint32_t csts = (uint32_t)le64toh(req->cqe.result64);

	if (!check(h, req, "Property Get CSTS"))
		return;
	if (csts & 1)
		identify(h, NVME_IDENTIFY_CNS_CTRL, 0, got_controller);
	else if (csts & 2 || loop_now(h->loop) >= h->deadline)
		host_fail(h, "the controller does not become ready (CSTS 0x%x)", csts);
	else
		step_after(h, POLL_NS, ask_ready);
}

static void ask_ready(struct host *h)
{
	property_get(h, NVMF_PROP_CSTS, false, got_csts);
}

static void enabled(struct host *h, struct request *req)
{
	if (!check(h, req, "Property Set CC"))
		return;
	/* CAP.TO is in units of 500 ms. */
	h->deadline = loop_now(h->loop) + ((h->cap >> 24 & 0xff) + 1) * 500 * NSEC_PER_MSEC;
	ask_ready(h);
}

#define CC_ENABLE     0x1u
#define CC_CSS_ALL    (6u << 4) /* I/O command sets: when CAP.CSS bit 6 offers them */
#define CC_SHN_NORMAL (1u << 14)
#define CC_IOSQES     (6u << 16)
#define CC_IOCQES     (4u << 20)

static uint32_t cc_value(const struct host *h)
{
	bool csi = h->cap >> 37 >> 6 & 1;

	return CC_ENABLE | CC_IOSQES | CC_IOCQES | (csi ? CC_CSS_ALL : 0);
}

static void got_cap(struct host *h, struct request *req)
{
	if (!check(h, req, "Property Get CAP"))
		return;
	h->cap = le64toh(req->cqe.result64);
	property_set(h, NVMF_PROP_CC, cc_value(h), enabled);
}

static void connected(struct ini_qpair *qp, int error, const struct nvme_cqe *cqe)
{
	struct host *h = qp->priv;

	if (error == -ECONNREFUSED && cqe && cqe->status) {
		host_fail(h, "Connect was refused with status 0x%x", nvme_cqe_status(cqe));
		return;
	}
	if (error) {
		host_fail(h, "cannot connect: %s", strerror(-error));
		return;
	}
	if (h->opt->keep_alive)
		loop_timer_arm(&h->ka_timer, h->opt->keep_alive / 2);
	property_get(h, NVMF_PROP_CAP, true, got_cap);
}

static void lost(struct ini_qpair *qp, int error, const char *reason)
{
	host_fail(qp->priv, "admin queue lost: %s", reason ? reason : strerror(-error));
}

static const struct ini_ops admin_ops = {.connected = connected, .lost = lost};

static void common_params(const struct options *o, struct ini_params *p)
{
	memset(p, 0, sizeof(*p));
	p->addr = o->addr;
	strcpy(p->subnqn, o->nqn);
	strcpy(p->hostnqn, o->hostnqn);
	memcpy(p->hostid, o->hostid, sizeof(p->hostid));
	p->hdr_digest = o->hdr_digest;
	p->data_digest = o->data_digest;
	p->connect_timeout = CONNECT_NS;
}

void host_start(struct host *h, struct loop *loop, const struct options *opt,
		const struct host_ops *ops, void *arg)
{
	struct ini_params p;

	memset(h, 0, sizeof(*h));
	h->loop = loop;
	h->opt = opt;
	h->ops = ops;
	h->arg = arg;
	loop_timer_init(&h->step_timer, loop, step_timer_fired, h);
	loop_timer_init(&h->ka_timer, loop, keep_alive, h);
	common_params(opt, &p);
	p.cntlid = NVMF_CNTLID_DYNAMIC;
	p.sq_size = ADMIN_SQ;
	p.kato = (uint32_t)(opt->keep_alive / NSEC_PER_MSEC);
	p.ioccsz = 4;
	h->admin = opt->transport->connect(loop, &p, &admin_ops, h);
	if (!h->admin)
		host_fail(h, "cannot connect: %s", strerror(errno));
}

void host_queue_params(const struct host *h, uint16_t qid, struct ini_params *p)
{
	uint32_t mqes = h->cap & 0xffff; /* 0's based */
	uint32_t want = h->opt->depth + 1;

	common_params(h->opt, p);
	p->qid = qid;
	p->cntlid = h->admin->cntlid;
	p->sq_size = (uint16_t)(want > mqes + 1 ? mqes + 1 : want);
	p->ioccsz = le32toh(h->id.ioccsz);
}

static void shutdown_answer(struct host *h, struct request *req)
{
	shutdown_done(h);
}

void host_shutdown(struct host *h, void (*done)(void *arg))
{
	h->done = done;
	if (h->failed || !h->admin || !h->admin->live) {
		shutdown_done(h);
		return;
	}
	property_set(h, NVMF_PROP_CC, cc_value(h) | CC_SHN_NORMAL, shutdown_answer);
	if (h->done)
		step_after(h, NSEC_PER_SEC, shutdown_done);
}

void host_free(struct host *h)
{
	if (h->admin)
		h->admin->tr->close(h->admin);
	loop_timer_fini(&h->step_timer);
	loop_timer_fini(&h->ka_timer);
}
