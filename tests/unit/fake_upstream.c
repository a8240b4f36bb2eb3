/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_upstream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct fake_qp {
	struct ini_qpair qp;
	TAILQ_ENTRY(fake_qp) link;
	unsigned port;
	struct ini_params params;
	struct request *queue[1024]; /* oldest first */
	unsigned n;
	struct loop_hook hook;
	bool told, cut;
};

struct fake_ctrl fake_ctrls[8];
static TAILQ_HEAD(, fake_qp) all = TAILQ_HEAD_INITIALIZER(all);

static struct fake_ctrl *ctrl(const struct fake_qp *f)
{
	return &fake_ctrls[f->port];
}

static void give_back(struct fake_qp *f, struct request *req, int error)
{
	unsigned i = 0;

	while (f->queue[i] != req)
		i++;
	memmove(&f->queue[i], &f->queue[i + 1], (--f->n - i) * sizeof(req));
	f->qp.inflight--;
	req->ini = NULL;
	req->ini_done(req, error);
}

static void identify(const struct fake_qp *f, struct request *req)
{
	uint8_t page[4096] = {0};
	uint32_t nsid = le32toh(req->sqe.nsid);
	struct fake_ctrl *c = ctrl(f);

	switch (le32toh(req->sqe.cdw10) & 0xff) {
	case NVME_IDENTIFY_CNS_CTRL: {
		struct nvme_id_ctrl *id = (void *)page;

		id->cntlid = htole16(f->qp.cntlid);
		id->mdts = c->mdts;
		id->oaes = htole32(NVME_AEN_NS_ATTR | NVME_AEN_ANA_CHANGE);
		id->cmic = NVME_CTRL_CMIC_MULTI_CTRL |
			   (c->no_ana ? 0 : NVME_CTRL_CMIC_MULTI_ANA_REPORTING);
		id->anagrpmax = id->nanagrpid = htole32(1);
		id->mnan = htole32(FAKE_MAX_NS);
		id->nn = htole32(FAKE_MAX_NS);
		id->ioccsz = htole32(4);
		id->iorcsz = htole32(1);
		id->oncs = htole16(NVME_CTRL_ONCS_WRITE_ZEROES);
		id->vwc = 1;
		break;
	}
	case NVME_IDENTIFY_CNS_NS_ACTIVE_LIST: {
		uint32_t *list = (void *)page;

		for (uint32_t i = nsid + 1; i <= FAKE_MAX_NS; i++)
			if (c->ns[i].present)
				*list++ = htole32(i);
		break;
	}
	case NVME_IDENTIFY_CNS_NS: {
		struct nvme_id_ns *id = (void *)page;

		if (nsid > FAKE_MAX_NS || !c->ns[nsid].present)
			break;
		id->nsze = id->ncap = id->nuse = htole64(c->ns[nsid].nsze);
		id->lbaf[0].ds = 9;
		id->nmic = c->ns[nsid].private ? 0 : NVME_NS_NMIC_SHARED;
		id->anagrpid = htole32(1);
		break;
	}
	case NVME_IDENTIFY_CNS_NS_DESC_LIST:
		page[0] = NVME_NIDT_UUID;
		page[1] = 16;
		memset(page + 4, c->ns[nsid].uuid_fill, 16);
		if (c->ns[nsid].nguid_fill) {
			page[20] = NVME_NIDT_NGUID;
			page[21] = 16;
			memset(page + 24, c->ns[nsid].nguid_fill, 16);
		}
		break;
	}
	request_copy_in(req, 0, page, sizeof(page));
	req->filled = req->data_len;
}

static void log_page(const struct fake_qp *f, struct request *req)
{
	_Alignas(8) uint8_t page[4096] = {0};

	if ((le32toh(req->sqe.cdw10) & 0xff) == NVME_LOG_LID_ANA) {
		struct nvme_ana_log *log = (void *)page;

		log->ngrps = htole16(1);
		log->descs[0].grpid = htole32(1);
		log->descs[0].state = ctrl(f)->ana_state;
	}
	request_copy_in(req, 0, page, req->data_len);
	req->filled = req->data_len;
}

/* False: the command stays out. */
static bool execute(struct fake_qp *f, struct request *req)
{
	struct fake_ctrl *c = ctrl(f);
	uint16_t status = 0;

	memset(&req->cqe, 0, sizeof(req->cqe));
	if (f->qp.qid == 0) {
		switch (req->sqe.opcode) {
		case NVME_OPC_FABRICS:
			req->cqe.result64 =
				htole64(le32toh(req->sqe.cdw11) == NVMF_PROP_CAP ? 127 : 1);
			break;
		case nvme_admin_identify:
			identify(f, req);
			break;
		case nvme_admin_get_log_page:
			log_page(f, req);
			break;
		case nvme_admin_set_features:
			req->cqe.result = req->sqe.cdw11;
			if (c->queues)
				req->cqe.result = htole32((c->queues - 1u) * 0x10001u);
			break;
		case nvme_admin_async_event:
			return false;
		}
	} else {
		if (c->stuck)
			return false;
		c->last_nsid = le32toh(req->sqe.nsid);
		c->reads += req->sqe.opcode == nvme_cmd_read;
		c->writes += req->sqe.opcode == nvme_cmd_write;
		c->flushes += req->sqe.opcode == nvme_cmd_flush;
		status = c->io_status;
		if (ctrl(f)->ana_state == NVME_ANA_STATE_INACCESSIBLE)
			status = NVME_ST_ANA_INACCESSIBLE;
		if (!status && req->dir == NVME_DIR_C2H) {
			request_zero(req, 0, req->data_len);
			req->filled = req->data_len;
		}
	}
	nvme_cqe_set_status(&req->cqe, status);
	return true;
}

static void on_hook(void *arg)
{
	struct fake_qp *f = arg;
	struct request *req;
	unsigned i = 0;

	if (!f->told) {
		struct nvme_cqe cqe = {0};
		int err = ctrl(f)->down ? -ECONNREFUSED : 0;

		f->told = true;
		nvme_cqe_set_status(&cqe, ctrl(f)->connect_status);
		if (ctrl(f)->connect_status)
			err = -ECONNREFUSED;
		f->qp.live = err == 0;
		f->qp.ops->connected(&f->qp, err, ctrl(f)->connect_status ? &cqe : NULL);
		return;
	}
	if (f->cut && f->qp.live) {
		f->qp.live = false;
		while (f->n)
			give_back(f, f->queue[0], -ECONNRESET);
		f->qp.ops->lost(&f->qp, -ECONNRESET, "cut");
		return;
	}
	while (i < f->n) {
		req = f->queue[i];
		if (execute(f, req))
			give_back(f, req, 0);
		else
			i++;
	}
}

static struct ini_qpair *fake_connect(struct loop *loop, const struct ini_params *params,
				      const struct ini_ops *ops, void *priv)
{
	struct fake_qp *f = calloc(1, sizeof(*f));

	f->port = addr_port(&params->addr);
	f->params = *params;
	f->qp.loop = loop;
	f->qp.tr = &ini_fake;
	f->qp.ops = ops;
	f->qp.priv = priv;
	f->qp.qid = params->qid;
	f->qp.cntlid = ctrl(f)->twin ? 100 : (uint16_t)(100 + f->port);
	f->qp.sq_size = params->sq_size;
	f->qp.node = -1;
	TAILQ_INSERT_TAIL(&all, f, link);
	ctrl(f)->connects++;
	loop_hook_init(&f->hook, on_hook, f);
	loop_hook_queue(loop, &f->hook);
	return &f->qp;
}

static int fake_submit(struct ini_qpair *qp, struct request *req)
{
	struct fake_qp *f = (struct fake_qp *)qp;

	if (!qp->live)
		return -ENOTCONN;
	if (qp->inflight >= qp->sq_size - 1)
		return -EAGAIN;
	qp->inflight++;
	req->ini = qp;
	req->filled = req->dir == NVME_DIR_C2H ? 0 : req->filled;
	f->queue[f->n++] = req;
	loop_hook_queue(qp->loop, &f->hook);
	return 0;
}

static void fake_close(struct ini_qpair *qp)
{
	struct fake_qp *f = (struct fake_qp *)qp;

	qp->live = false;
	while (f->n)
		give_back(f, f->queue[0], -ECANCELED);
	loop_hook_cancel(qp->loop, &f->hook);
	TAILQ_REMOVE(&all, f, link);
	free(f);
}

const struct ini_transport ini_fake = {
	.name = "fake",
	.trtype = NVMF_TRTYPE_TCP,
	.connect = fake_connect,
	.submit = fake_submit,
	.close = fake_close,
};

void fake_cut(unsigned port)
{
	struct fake_qp *f;

	TAILQ_FOREACH(f, &all, link) {
		if (f->port == port) {
			f->cut = true;
			loop_hook_queue(f->qp.loop, &f->hook);
		}
	}
}

void fake_notice(unsigned port, uint8_t info)
{
	struct fake_qp *f;
	struct request *req;

	TAILQ_FOREACH(f, &all, link) {
		if (f->port != port || f->qp.qid)
			continue;
		for (unsigned i = 0; i < f->n; i++) {
			req = f->queue[i];
			if (req->sqe.opcode != nvme_admin_async_event)
				continue;
			memset(&req->cqe, 0, sizeof(req->cqe));
			req->cqe.result = htole32(NVME_AER_NOTICE | (uint32_t)info << 8);
			give_back(f, req, 0);
			return;
		}
	}
}
