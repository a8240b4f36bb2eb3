/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_upstream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ADMIN_CROSS_CONTROLLER_RESET 0x38
#define DISC_ENTRY		     1024
#define ANA_PART		     4096 /* of the log, that is read at a time */

struct command {
	struct request *req;
	uint64_t due; /* loop time */
	bool aborted;
};

struct fake_qp {
	struct ini_qpair qp;
	TAILQ_ENTRY(fake_qp) link;
	unsigned port;
	struct ini_params params;
	struct command queue[1024]; /* oldest first */
	unsigned n;
	struct loop_hook hook;
	struct loop_timer timer;
	bool told, cut;
};

struct fake_ctrl fake_ctrls[8];
static TAILQ_HEAD(, fake_qp) all = TAILQ_HEAD_INITIALIZER(all);
static uint16_t cids;

static struct fake_ctrl *ctrl(const struct fake_qp *f)
{
	return &fake_ctrls[f->port];
}

static void give_back(struct fake_qp *f, struct request *req, int error)
{
	unsigned i = 0;

	while (f->queue[i].req != req)
		i++;
	memmove(&f->queue[i], &f->queue[i + 1], (--f->n - i) * sizeof(f->queue[0]));
	f->qp.inflight--;
	req->ini = NULL;
	req->ini_done(req, error);
}

static void identify_ctrl(const struct fake_qp *f, uint8_t *page)
{
	struct nvme_id_ctrl *id = (void *)page;
	const struct fake_ctrl *c = ctrl(f);
	uint64_t cirn = htole64(c->cirn);
	uint16_t cqt = htole16(c->cqt);

	id->cntlid = htole16(f->qp.cntlid);
	id->mdts = c->mdts;
	id->oaes = htole32(NVME_AEN_NS_ATTR | NVME_AEN_ANA_CHANGE);
	id->ctratt = htole32(c->tbkas ? NVME_CTRL_CTRATT_TBKAS : 0);
	id->cmic = NVME_CTRL_CMIC_MULTI_CTRL | (c->no_ana ? 0 : NVME_CTRL_CMIC_MULTI_ANA_REPORTING);
	id->crdt1 = htole16(c->crdt[0]);
	id->crdt2 = htole16(c->crdt[1]);
	id->crdt3 = htole16(c->crdt[2]);
	id->acl = c->acl;
	id->kas = htole16(c->kas);
	id->anagrpmax = id->nanagrpid = htole32(FAKE_GROUPS);
	id->mnan = htole32(c->mnan ? c->mnan : FAKE_MAX_NS);
	id->nn = htole32(FAKE_MAX_NS);
	id->ioccsz = htole32(4);
	id->iorcsz = htole32(1);
	id->oncs = htole16(c->oncs | (c->no_write_zeroes ? 0 : NVME_CTRL_ONCS_WRITE_ZEROES));
	id->vwc = 1;
	if (c->subnqn)
		strcpy(id->subnqn, c->subnqn);
	/* Younger than the library's structure. */
	page[135] = c->ciu;
	memcpy(page + 136, &cirn, sizeof(cirn));
	memcpy(page + 386, &cqt, sizeof(cqt));
	page[1807] = c->ccrl;
}

static uint16_t identify(const struct fake_qp *f, struct request *req)
{
	_Alignas(8) uint8_t page[4096] = {0};
	uint32_t nsid = le32toh(req->sqe.nsid);
	struct fake_ctrl *c = ctrl(f);

	switch (le32toh(req->sqe.cdw10) & 0xff) {
	case NVME_IDENTIFY_CNS_CTRL:
		identify_ctrl(f, page);
		break;
	case NVME_IDENTIFY_CNS_CSI_CTRL:
		if (c->nvm_status)
			return c->nvm_status;
		memcpy(page, &c->nvm, sizeof(c->nvm));
		break;
	case NVME_IDENTIFY_CNS_NS_ACTIVE_LIST: {
		uint32_t *list = (void *)page;

		for (uint32_t i = nsid + 1; i <= FAKE_MAX_NS; i++)
			if (c->ns[i].present)
				*list++ = htole32(i);
		break;
	}
	case NVME_IDENTIFY_CNS_NS: {
		struct nvme_id_ns *id = (void *)page;

		if (c->idns_status)
			return c->idns_status;
		if (nsid > FAKE_MAX_NS || !c->ns[nsid].present)
			break;
		*id = c->idns;
		id->nsze = id->ncap = id->nuse = htole64(c->ns[nsid].nsze);
		id->lbaf[0].ds = 9;
		id->nmic = c->ns[nsid].private ? 0 : NVME_NS_NMIC_SHARED;
		id->anagrpid = htole32(c->group[nsid] ? c->group[nsid] : 1);
		break;
	}
	case NVME_IDENTIFY_CNS_NS_DESC_LIST:
		if (c->descs_status)
			return c->descs_status;
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
	return 0;
}

/* Between its first part and the next one; whoever waits for an event has one already. */
static void move_ana(struct fake_ctrl *c, const struct request *req)
{
	if (req->sqe.cdw12)
		return;
	c->ana_reads++;
	if (req->data_len < ANA_PART || !c->ana_moves)
		return;
	c->ana_chgcnt++;
	if (--c->ana_moves == 0)
		c->ana_state = c->ana_state_moved;
}

static void ana_log(struct fake_ctrl *c, uint8_t *page)
{
	struct nvme_ana_log *log = (void *)page;

	log->chgcnt = htole64(c->ana_chgcnt);
	log->ngrps = htole16(FAKE_GROUPS);
	log->descs[0].grpid = htole32(1);
	log->descs[0].state = c->ana_state;
	log->descs[1].grpid = htole32(2);
	log->descs[1].state = c->ana_state_2 ? c->ana_state_2 : NVME_ANA_STATE_OPTIMIZED;
}

static void disc_log(struct fake_ctrl *c, struct request *req)
{
	struct {
		uint64_t genctr, numrec;
		uint8_t rest[DISC_ENTRY - 16];
		struct nvmf_disc_log_entry e[FAKE_ENTRIES];
	} log = {.genctr = htole64(c->genctr)};
	uint32_t n = 0;

	for (; n < FAKE_ENTRIES && c->disc[n].port; n++) {
		log.e[n].trtype = NVMF_TRTYPE_TCP;
		log.e[n].subtype = NVME_NQN_NVME;
		log.e[n].portid = htole16(7);
		strcpy(log.e[n].traddr, "127.0.0.1");
		snprintf(log.e[n].trsvcid, sizeof(log.e[n].trsvcid), "%u", c->disc[n].port);
		strcpy(log.e[n].subnqn, c->disc[n].nqn);
	}
	log.numrec = htole64(n);
	request_copy_in(req, 0, (uint8_t *)&log + le32toh(req->sqe.cdw12), req->data_len);
	req->filled = req->data_len;
	if (req->sqe.cdw12)
		return;
	c->disc_reads++;
	c->genctr += c->genctr_moves;
}

static void log_page(const struct fake_qp *f, struct request *req)
{
	bool ana = (le32toh(req->sqe.cdw10) & 0xff) == NVME_LOG_LID_ANA;
	_Alignas(8) uint8_t page[ANA_PART] = {0};

	if ((le32toh(req->sqe.cdw10) & 0xff) == NVME_LOG_LID_DISCOVER) {
		disc_log(ctrl(f), req);
		return;
	}
	if (ana && !req->sqe.cdw12)
		ana_log(ctrl(f), page);
	request_copy_in(req, 0, page, req->data_len);
	req->filled = req->data_len;
	if (ana)
		move_ana(ctrl(f), req);
}

static void look(struct fake_qp *f)
{
	loop_hook_queue(f->qp.loop, &f->hook);
}

static void abort_command(const struct fake_qp *admin, struct request *req)
{
	uint32_t cdw10 = le32toh(req->sqe.cdw10);
	struct fake_qp *f;

	ctrl(admin)->aborts++;
	req->cqe.result = htole32(1); /* not aborted */
	if (!ctrl(admin)->aborts_work)
		return;
	TAILQ_FOREACH(f, &all, link) {
		if (f->port != admin->port || f->qp.qid != (cdw10 & 0xffff))
			continue;
		for (unsigned i = 0; i < f->n; i++) {
			if (f->queue[i].req->ini_cid != cdw10 >> 16)
				continue;
			f->queue[i].aborted = true;
			req->cqe.result = 0;
			look(f);
		}
	}
}

static uint16_t reset_another(const struct fake_qp *f, struct request *req)
{
	struct fake_ctrl *c = ctrl(f);

	c->resets++;
	c->reset_cdw10 = le32toh(req->sqe.cdw10);
	c->reset_cirn = (uint64_t)le32toh(req->sqe.cdw13) << 32 | le32toh(req->sqe.cdw12);
	req->cqe.result = htole32(!c->reset_later);
	return c->reset_status;
}

static void set_feature(struct fake_ctrl *c, struct request *req)
{
	struct nvme_feat_host_behavior behavior;

	switch (le32toh(req->sqe.cdw10)) {
	case NVME_FEAT_FID_NUM_QUEUES:
		req->cqe.result = c->queues ? htole32((c->queues - 1u) * 0x10001u) : req->sqe.cdw11;
		break;
	case NVME_FEAT_FID_HOST_BEHAVIOR:
		request_copy_out(req, 0, &behavior, sizeof(behavior));
		c->acre = behavior.acre;
		break;
	}
}

static bool withholds(const struct fake_ctrl *c, const struct request *req)
{
	uint32_t cns = le32toh(req->sqe.cdw10) & 0xff;

	return (c->holds_list && cns == NVME_IDENTIFY_CNS_NS_ACTIVE_LIST) ||
	       (c->holds_idns && cns == NVME_IDENTIFY_CNS_NS);
}

/* False: the command stays out. */
static bool execute_admin(const struct fake_qp *f, struct request *req, uint16_t *status)
{
	struct fake_ctrl *c = ctrl(f);

	switch (req->sqe.opcode) {
	case NVME_OPC_FABRICS:
		req->cqe.result64 = htole64(le32toh(req->sqe.cdw11) == NVMF_PROP_CAP ? 127 : 1);
		break;
	case nvme_admin_identify:
		if (withholds(c, req))
			return false;
		*status = identify(f, req);
		break;
	case nvme_admin_get_log_page:
		log_page(f, req);
		break;
	case nvme_admin_set_features:
		set_feature(c, req);
		break;
	case nvme_admin_abort_cmd:
		abort_command(f, req);
		break;
	case nvme_admin_keep_alive:
		c->keep_alives++;
		break;
	case ADMIN_CROSS_CONTROLLER_RESET:
		*status = reset_another(f, req);
		break;
	case nvme_admin_async_event:
		return false;
	}
	return true;
}

static uint8_t ana_state_of(const struct fake_ctrl *c, uint32_t nsid)
{
	return c->group[nsid] == 2 ? c->ana_state_2 : c->ana_state;
}

static uint16_t io_status(struct fake_ctrl *c, uint32_t nsid)
{
	uint16_t status = c->io_status;

	if (ana_state_of(c, nsid) == NVME_ANA_STATE_INACCESSIBLE)
		return NVME_ST_ANA_INACCESSIBLE;
	if (!c->ns[nsid].present)
		return NVME_ST_INVALID_NS;
	if (c->io_statuses && --c->io_statuses == 0)
		c->io_status = 0;
	return status;
}

static void execute_io(struct fake_ctrl *c, struct request *req, uint16_t *status)
{
	c->last_nsid = le32toh(req->sqe.nsid);
	c->last_slba = nvme_sqe_slba(&req->sqe);
	switch (req->sqe.opcode) {
	case nvme_cmd_read:
		c->reads++;
		break;
	case nvme_cmd_write:
		c->writes++;
		break;
	case nvme_cmd_flush:
		c->flushes++;
		break;
	default:
		c->others++;
		break;
	}
	*status = io_status(c, c->last_nsid);
	if (!*status && req->dir == NVME_DIR_C2H) {
		request_zero(req, 0, req->data_len);
		req->filled = req->data_len;
	}
}

/* False: the command stays out. */
static bool execute(struct fake_qp *f, const struct command *cmd)
{
	struct fake_ctrl *c = ctrl(f);
	struct request *req = cmd->req;
	uint16_t status = 0;

	if (c->silent)
		return false;
	memset(&req->cqe, 0, sizeof(req->cqe));
	if (cmd->aborted)
		status = NVME_STATUS(0, NVME_SC_ABORT_REQ);
	else if (f->qp.qid && (c->stuck || cmd->due > loop_now(f->qp.loop)))
		return false;
	else if (f->qp.qid)
		execute_io(c, req, &status);
	else if (!execute_admin(f, req, &status))
		return false;
	nvme_cqe_set_status(&req->cqe, status);
	return true;
}

static void tell(struct fake_qp *f)
{
	struct nvme_cqe cqe = {0};
	int err = ctrl(f)->down ? -ECONNREFUSED : 0;

	f->told = true;
	nvme_cqe_set_status(&cqe, ctrl(f)->connect_status);
	if (ctrl(f)->connect_status)
		err = -ECONNREFUSED;
	f->qp.live = err == 0;
	f->qp.ops->connected(&f->qp, err, ctrl(f)->connect_status ? &cqe : NULL);
}

static void on_hook(void *arg)
{
	struct fake_qp *f = arg;
	unsigned i = 0;

	if (!f->told) {
		tell(f);
		return;
	}
	if (f->cut && f->qp.live) {
		f->qp.live = false;
		while (f->n)
			give_back(f, f->queue[0].req, -ECONNRESET);
		f->qp.ops->lost(&f->qp, -ECONNRESET, "cut");
		return;
	}
	while (i < f->n) {
		if (execute(f, &f->queue[i]))
			give_back(f, f->queue[i].req, 0);
		else
			i++;
	}
}

static void arm(struct fake_qp *f)
{
	uint64_t now = loop_now(f->qp.loop), next = 0;

	for (unsigned i = 0; i < f->n; i++)
		if (f->queue[i].due > now && (!next || f->queue[i].due < next))
			next = f->queue[i].due;
	if (next)
		loop_timer_arm(&f->timer, next - now);
}

static void on_due(void *arg)
{
	on_hook(arg);
	arm(arg);
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
	f->qp.node = (int)ctrl(f)->numa - 1;
	TAILQ_INSERT_TAIL(&all, f, link);
	ctrl(f)->connects++;
	loop_hook_init(&f->hook, on_hook, f);
	loop_timer_init(&f->timer, loop, on_due, f);
	look(f);
	return &f->qp;
}

static int fake_submit(struct ini_qpair *qp, struct request *req)
{
	struct fake_qp *f = (struct fake_qp *)qp;
	uint64_t latency = ctrl(f)->latency + ctrl(f)->latency_kib * (req->data_len / 1024);

	if (!qp->qid)
		latency = 0;
	if (!qp->live)
		return -ENOTCONN;
	if (qp->inflight >= qp->sq_size - 1)
		return -EAGAIN;
	qp->inflight++;
	req->ini = qp;
	req->ini_cid = ++cids;
	req->filled = req->dir == NVME_DIR_C2H ? 0 : req->filled;
	f->queue[f->n++] = (struct command){.req = req, .due = loop_now(qp->loop) + latency};
	if (latency)
		arm(f);
	else
		look(f);
	return 0;
}

static void fake_close(struct ini_qpair *qp)
{
	struct fake_qp *f = (struct fake_qp *)qp;

	qp->live = false;
	while (f->n)
		give_back(f, f->queue[0].req, -ECANCELED);
	loop_hook_cancel(qp->loop, &f->hook);
	loop_timer_fini(&f->timer);
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

const struct ini_transport ini_fake_local = {
	.name = "fake-local",
	.trtype = NVMF_TRTYPE_LOOP,
	.connect = fake_connect,
	.submit = fake_submit,
	.close = fake_close,
};

void fake_cut(unsigned port)
{
	struct fake_qp *f;

	TAILQ_FOREACH(f, &all, link)
		if (f->port == port)
			f->cut = true;
	fake_look(port);
}

void fake_look(unsigned port)
{
	struct fake_qp *f;

	TAILQ_FOREACH(f, &all, link)
		if (f->port == port)
			look(f);
}

void fake_notice(unsigned port, uint8_t info)
{
	struct fake_qp *f;
	struct request *req;

	TAILQ_FOREACH(f, &all, link) {
		if (f->port != port || f->qp.qid)
			continue;
		for (unsigned i = 0; i < f->n; i++) {
			req = f->queue[i].req;
			if (req->sqe.opcode != nvme_admin_async_event)
				continue;
			memset(&req->cqe, 0, sizeof(req->cqe));
			req->cqe.result = htole32(NVME_AER_NOTICE | (uint32_t)info << 8);
			give_back(f, req, 0);
			return;
		}
	}
}
