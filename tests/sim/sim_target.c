/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upstream controllers in memory, behind struct ini_transport. What is unusual about them is what
 * real ones do and tests rarely see: commands whose connection was lost may stay in a queue of the
 * controller and be executed much later, up to the end that the specification sets: Keep Alive
 * Timeout, then Command Quiesce Time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"
#include "transport/file.h"

#define ADMIN_CCR	0x38
#define CONNECT_TIMEOUT (500 * NSEC_PER_MSEC)

/* One life of a controller as one host sees it: made by its Connect. */
struct instance {
	TAILQ_ENTRY(instance) link;
	struct sim_ctrl *c;
	struct sim_ident ident;
	uint32_t number;
	bool gone;	  /* lost, or reset: takes no new connection */
	bool crashed;	  /* all that it had is gone too */
	uint64_t lost_at; /* its host stopped talking to it; 0: not yet */
	uint32_t aen_config, aen_pending;
	TAILQ_HEAD(, cmd) late; /* lost, and still in the controller */
};

struct sim_qp {
	struct ini_qpair qp; /* first */
	TAILQ_ENTRY(sim_qp) link;
	struct instance *in;
	struct sim_ctrl *c;
	struct ini_params params;
	TAILQ_HEAD(, cmd) cmds;
	struct sim_event *connecting, *breaking;
};

struct cmd {
	TAILQ_ENTRY(cmd) link; /* of the qpair, or of the instance's late ones */
	struct sim_qp *qp;     /* NULL: late */
	struct instance *in;
	struct request *req;
	struct nvme_sqe sqe;
	uint32_t value; /* of a write */
	uint32_t instance_number;
	uint64_t when;	      /* executed */
	struct sim_event *ev; /* execution or answer */
	bool executed, muted; /* muted: the answer waits for the end of a silence */
	uint32_t read[SIM_BLOCKS];
	struct nvme_cqe cqe;
};

struct sim_ctrl sim_ctrls[SIM_CTRLS];
struct sim_medium sim_media[SIM_NAMESPACES + 1];
unsigned sim_nr_ctrls;
uint64_t sim_kato;
uint16_t sim_cqt;
bool sim_tbkas, sim_no_ana;
static TAILQ_HEAD(, instance) instances;
static TAILQ_HEAD(, sim_qp) qps;
static uint32_t instance_numbers;
static uint16_t cntlids, cids;

static void on_execute(void *arg);
static void on_answer(void *arg);

/* The only kind of upstream here has no files. */
void file_ns_close(struct file_ns *ns)
{
	abort();
}

/* ---- media ---- */

static struct sim_medium *medium_of(const struct sim_ctrl *c, uint32_t nsid)
{
	return &sim_media[nsid == 1 && c->swapped ? SIM_NAMESPACES : nsid - 1];
}

static uint32_t blocks_of(const struct nvme_sqe *sqe)
{
	return (le32toh(sqe->cdw12) & 0xffff) + 1;
}

static void change(struct cmd *cmd, uint32_t value)
{
	struct sim_medium *m = medium_of(cmd->in->c, le32toh(cmd->sqe.nsid));
	uint64_t slba = nvme_sqe_slba(&cmd->sqe);

	for (uint32_t i = 0; i < blocks_of(&cmd->sqe); i++)
		m->value[slba + i] = value;
}

static void look(struct cmd *cmd)
{
	struct sim_medium *m = medium_of(cmd->in->c, le32toh(cmd->sqe.nsid));
	uint64_t slba = nvme_sqe_slba(&cmd->sqe);

	for (uint32_t i = 0; i < blocks_of(&cmd->sqe); i++)
		cmd->read[i] = m->value[slba + i];
}

/* ---- executing ---- */

static void execute_io(struct cmd *cmd)
{
	struct sim_ctrl *c = cmd->in->c;
	uint32_t nsid = le32toh(cmd->sqe.nsid);
	uint16_t status = 0;

	if (nsid < 1 || nsid > SIM_NAMESPACES || !c->attached[nsid - 1])
		status = NVME_ST_INVALID_NS;
	else if (!sim_no_ana && c->ana_state[nsid - 1] > NVME_ANA_STATE_NONOPTIMIZED)
		status = NVME_STATUS(3, c->ana_state[nsid - 1] == NVME_ANA_STATE_CHANGE
						? NVME_SC_ANA_TRANSITION
						: NVME_SC_ANA_INACCESSIBLE);
	else if (c->fault_count) {
		c->fault_count--;
		status = c->fault_status;
	}
	nvme_cqe_set_status(&cmd->cqe, status);
	if (status)
		return;
	switch (cmd->sqe.opcode) {
	case nvme_cmd_read:
		look(cmd);
		break;
	case nvme_cmd_write:
		change(cmd, cmd->value);
		break;
	case nvme_cmd_write_zeroes:
		if (c->zeroes_limit &&
		    blocks_of(&cmd->sqe) * SIM_BLOCK_SIZE > 4096u << c->zeroes_limit)
			sim_fail("controller %u: %u blocks to be zeroed are beyond its limit",
				 c->port, blocks_of(&cmd->sqe));
		change(cmd, SIM_ZERO);
		break;
	case nvme_cmd_flush:
		c->flushed[nsid - 1] = sim_now;
		break;
	default:
		nvme_cqe_set_status(&cmd->cqe, NVME_ST_INVALID_OPCODE);
		break;
	}
	sim_trace("controller %u: executes %s of command %u, blocks %llu+%u%s", c->port,
		  cmd->sqe.opcode == nvme_cmd_read    ? "read"
		  : cmd->sqe.opcode == nvme_cmd_write ? "write"
		  : cmd->sqe.opcode == nvme_cmd_flush ? "flush"
						      : "zeroes",
		  cmd->value, (unsigned long long)nvme_sqe_slba(&cmd->sqe), blocks_of(&cmd->sqe),
		  cmd->qp ? "" : ", LATE");
	if (!cmd->qp)
		c->nr_late++;
}

static void drop_late(struct cmd *cmd)
{
	if (cmd->ev)
		sim_cancel(cmd->ev);
	TAILQ_REMOVE(&cmd->in->late, cmd, link);
	free(cmd);
}

static void drop_all_late(struct instance *in)
{
	while (!TAILQ_EMPTY(&in->late))
		drop_late(TAILQ_FIRST(&in->late));
}

static void break_instance(struct instance *in, const char *why, bool told);

/* Base 2.3, 5.4.3: only with the right CIU and CIRN, which name one life of the controller. */
static void cross_controller_reset(struct cmd *cmd)
{
	uint32_t dw10 = le32toh(cmd->sqe.cdw10);
	struct instance *in;
	uint64_t cirn;

	memcpy(&cirn, &cmd->sqe.cdw12, sizeof(cirn));
	TAILQ_FOREACH(in, &instances, link) {
		if (in->ident.cntlid != (dw10 & 0xffff) || in->ident.ciu != dw10 >> 16 ||
		    in->ident.cirn != cirn)
			continue;
		sim_trace("controller %u: resets controller ID %u", cmd->in->c->port,
			  in->ident.cntlid);
		drop_all_late(in);
		break_instance(in, "reset by another", true);
		cmd->cqe.result = htole32(1);
		return;
	}
	nvme_cqe_set_status(&cmd->cqe, NVME_ST_INVALID_FIELD);
}

static void abort_command(struct cmd *cmd)
{
	uint32_t dw10 = le32toh(cmd->sqe.cdw10);
	struct sim_qp *qp;
	struct cmd *victim;

	cmd->cqe.result = htole32(1); /* not aborted */
	TAILQ_FOREACH(qp, &qps, link) {
		if (qp->in != cmd->in || qp->qp.qid != (dw10 & 0xffff))
			continue;
		TAILQ_FOREACH(victim, &qp->cmds, link)
			if (victim->req->ini_cid == dw10 >> 16 && !victim->executed &&
			    sim_chance(50)) {
				if (victim->ev)
					sim_cancel(victim->ev);
				victim->executed = true;
				nvme_cqe_set_status(&victim->cqe,
						    NVME_STATUS(0, NVME_SC_ABORT_REQ));
				victim->ev = sim_at(sim_now, qp->qp.loop, on_answer, victim);
				cmd->cqe.result = 0;
				return;
			}
	}
}

/* False: it stays out. */
static bool execute_admin(struct cmd *cmd)
{
	struct instance *in = cmd->in;

	switch (cmd->sqe.opcode) {
	case NVME_OPC_FABRICS:
		cmd->cqe.result64 = htole64(le32toh(cmd->sqe.cdw11) == NVMF_PROP_CAP ? 127 : 1);
		break;
	case nvme_admin_set_features:
		cmd->cqe.result = cmd->sqe.cdw11;
		if ((le32toh(cmd->sqe.cdw10) & 0xff) == NVME_FEAT_FID_ASYNC_EVENT)
			in->aen_config = le32toh(cmd->sqe.cdw11);
		break;
	case nvme_admin_async_event:
		if (!in->aen_pending)
			return false;
		for (unsigned info = 0; info < 8; info++)
			if (in->aen_pending & 1u << info) {
				in->aen_pending &= ~(1u << info);
				cmd->cqe.result = htole32(NVME_AER_NOTICE | info << 8);
				break;
			}
		break;
	case nvme_admin_abort_cmd:
		abort_command(cmd);
		break;
	case ADMIN_CCR:
		cross_controller_reset(cmd);
		break;
	default:
		break;
	}
	return true;
}

static void answer_later(struct cmd *cmd)
{
	if (!cmd->qp)
		return;
	if (cmd->in->c->silent)
		cmd->muted = true;
	else
		cmd->ev = sim_at(sim_now + sim_between(5000, 60000), cmd->qp->qp.loop, on_answer,
				 cmd);
}

static void on_execute(void *arg)
{
	struct cmd *cmd = arg;

	cmd->ev = NULL;
	if (cmd->qp && cmd->qp->qp.qid == 0) {
		if (!execute_admin(cmd))
			return;
	} else {
		if (cmd->qp && cmd->in->c->stuck)
			return;
		execute_io(cmd);
	}
	cmd->executed = true;
	cmd->when = sim_now;
	if (!cmd->qp) {
		drop_late(cmd);
		return;
	}
	answer_later(cmd);
}

static void fill_read(struct cmd *cmd)
{
	struct request *req = cmd->req;
	uint8_t block[SIM_BLOCK_SIZE] = {0};

	for (uint32_t i = 0; i < blocks_of(&cmd->sqe); i++) {
		memcpy(block, &cmd->read[i], sizeof(cmd->read[i]));
		request_copy_in(req, i * SIM_BLOCK_SIZE, block, sizeof(block));
	}
	req->filled = req->data_len;
}

static void take_off(struct cmd *cmd)
{
	struct sim_qp *qp = cmd->qp;

	TAILQ_REMOVE(&qp->cmds, cmd, link);
	qp->qp.inflight--;
	cmd->req->ini = NULL;
}

/* On the loop of the initiator. */
static void on_answer(void *arg)
{
	struct cmd *cmd = arg;
	struct request *req = cmd->req;
	struct sim_qp *qp = cmd->qp;
	bool good = nvme_cqe_status(&cmd->cqe) == 0;

	cmd->ev = NULL;
	req->cqe = cmd->cqe;
	if (good && req->dir == NVME_DIR_C2H && qp->qp.qid)
		fill_read(cmd);
	else if (good && cmd->sqe.opcode == nvme_admin_identify && !qp->qp.qid)
		sim_identify(qp->c, &cmd->in->ident, req);
	else if (good && cmd->sqe.opcode == nvme_admin_get_log_page && !qp->qp.qid)
		sim_log_page(qp->c, req);
	if (good && qp->qp.qid && req->complete_arg) {
		struct sim_op *op = req->complete_arg;

		op->acked_by = (int)(qp->c - sim_ctrls);
		op->acked_instance = cmd->instance_number;
		op->executed = cmd->when;
	}
	take_off(cmd);
	free(cmd);
	req->ini_done(req, 0);
}

/* ---- what becomes of a command whose connection is gone ---- */

/* The latest that it can be executed. */
static uint64_t latest(const struct instance *in)
{
	return (in->lost_at ? in->lost_at : sim_now) + (sim_tbkas ? 3 : 2) * sim_kato +
	       sim_cqt * NSEC_PER_MSEC - NSEC_PER_MSEC;
}

/* Takes it from the qpair; its request is the caller's to give back. */
static void lose(struct cmd *cmd)
{
	struct instance *in = cmd->in;
	unsigned fate = (unsigned)sim_between(0, 99);
	bool never = cmd->executed || cmd->qp->qp.qid == 0 || in->crashed || fate < 30 ||
		     latest(in) <= sim_now;

	take_off(cmd);
	if (cmd->ev)
		sim_cancel(cmd->ev);
	if (never) {
		free(cmd);
		return;
	}
	cmd->req = NULL;
	cmd->qp = NULL;
	TAILQ_INSERT_TAIL(&in->late, cmd, link);
	cmd->ev = sim_at(fate < 60 ? sim_now + sim_between(0, NSEC_PER_MSEC / 2)
				   : sim_between(sim_now, latest(in)),
			 NULL, on_execute, cmd);
}

static void lose_all(struct sim_qp *f, int error)
{
	struct cmd *cmd;

	while ((cmd = TAILQ_FIRST(&f->cmds))) {
		struct request *req = cmd->req;

		lose(cmd);
		req->ini_done(req, error);
	}
}

static void on_break(void *arg)
{
	struct sim_qp *f = arg;
	bool was_live = f->qp.live;

	f->breaking = NULL;
	f->qp.live = false;
	lose_all(f, -ECONNRESET);
	if (was_live)
		f->qp.ops->lost(&f->qp, -ECONNRESET, "reset");
	else
		f->qp.ops->connected(&f->qp, -ECONNRESET, NULL);
}

static void break_qp(struct sim_qp *f)
{
	if (f->connecting) {
		sim_cancel(f->connecting);
		f->connecting = NULL;
	} else if (!f->qp.live || f->breaking) {
		return;
	}
	f->breaking = sim_at(sim_now + sim_between(1000, 200000), f->qp.loop, on_break, f);
}

static void break_instance(struct instance *in, const char *why, bool told)
{
	struct sim_qp *f;
	bool any = false;

	in->gone = true;
	TAILQ_FOREACH(f, &qps, link)
		any = any || f->in == in;
	if (!told || !any)
		return;
	sim_trace("controller %u: its connections break: %s", in->c->port, why);
	TAILQ_FOREACH(f, &qps, link)
		if (f->in == in)
			break_qp(f);
}

/* ---- faults ---- */

static bool of_ctrl(const struct instance *in, const struct sim_ctrl *c)
{
	return in->c == c && !in->gone;
}

void sim_reset(struct sim_ctrl *c)
{
	struct instance *in;

	TAILQ_FOREACH(in, &instances, link)
		if (of_ctrl(in, c))
			break_instance(in, "reset", true);
}

void sim_crash(struct sim_ctrl *c, bool told)
{
	struct instance *in;
	struct sim_qp *f;
	struct cmd *cmd;

	c->down = true;
	if (c->limit_changes)
		c->zeroes_limit = (uint8_t)sim_between(0, 2);
	sim_trace("controller %u: crashes", c->port);
	if (!told)
		sim_silence(c);
	TAILQ_FOREACH(in, &instances, link) {
		if (in->c != c)
			continue;
		drop_all_late(in);
		in->crashed = true;
		/* What it had not executed is gone, what it had not answered is not answered. */
		TAILQ_FOREACH(f, &qps, link)
			if (f->in == in)
				TAILQ_FOREACH(cmd, &f->cmds, link) {
					if (cmd->ev)
						sim_cancel(cmd->ev);
					cmd->ev = NULL;
					cmd->executed = true;
				}
		break_instance(in, "crash", told);
	}
}

void sim_silence(struct sim_ctrl *c)
{
	sim_trace("controller %u: falls silent", c->port);
	c->silent = true;
	c->silent_since = sim_now;
}

void sim_heal(struct sim_ctrl *c)
{
	bool forgotten = sim_now - c->silent_since > sim_kato;
	struct instance *in;
	struct sim_qp *f;
	struct cmd *cmd;

	if (c->down)
		sim_trace("controller %u: is up again", c->port);
	if (c->silent || c->stuck)
		sim_trace("controller %u: is itself again", c->port);
	c->down = false;
	TAILQ_FOREACH(in, &instances, link)
		if (in->c == c && (in->gone || (c->silent && forgotten)))
			break_instance(in, "keep alive timeout", true);
	TAILQ_FOREACH(f, &qps, link) {
		if (f->c != c || !f->in || f->in->gone)
			continue;
		TAILQ_FOREACH(cmd, &f->cmds, link) {
			if (cmd->muted) {
				cmd->muted = false;
				cmd->ev = sim_at(sim_now + sim_between(5000, 60000), f->qp.loop,
						 on_answer, cmd);
			} else if (!cmd->executed && !cmd->ev &&
				   cmd->sqe.opcode != nvme_admin_async_event) {
				cmd->ev = sim_at(sim_now + sim_between(5000, 60000), NULL,
						 on_execute, cmd);
			}
		}
	}
	c->silent = c->stuck = false;
}

void sim_notice(struct sim_ctrl *c, uint8_t info)
{
	struct instance *in;
	struct sim_qp *f;
	struct cmd *cmd;

	TAILQ_FOREACH(in, &instances, link) {
		if (!of_ctrl(in, c))
			continue;
		in->aen_pending |= 1u << info;
		TAILQ_FOREACH(f, &qps, link) {
			if (f->in != in || f->qp.qid)
				continue;
			TAILQ_FOREACH(cmd, &f->cmds, link)
				if (cmd->sqe.opcode == nvme_admin_async_event && !cmd->executed &&
				    !cmd->ev) {
					cmd->ev = sim_at(sim_now, NULL, on_execute, cmd);
					break;
				}
		}
	}
}

unsigned sim_late_pending(void)
{
	struct instance *in;
	struct cmd *cmd;
	unsigned n = 0;

	TAILQ_FOREACH(in, &instances, link)
		TAILQ_FOREACH(cmd, &in->late, link)
			n++;
	return n;
}

bool sim_instance_gone(uint32_t instance)
{
	struct instance *in;

	TAILQ_FOREACH(in, &instances, link)
		if (in->number == instance)
			return in->gone;
	return true;
}

/* ---- the initiator's side ---- */

static struct instance *instance_new(struct sim_ctrl *c)
{
	struct instance *in = calloc(1, sizeof(*in));

	if (!in)
		abort();
	in->c = c;
	in->number = ++instance_numbers;
	in->ident.cntlid = ++cntlids;
	in->ident.ciu = (uint8_t)sim_between(1, 255);
	in->ident.cirn = sim_rand();
	TAILQ_INIT(&in->late);
	TAILQ_INSERT_TAIL(&instances, in, link);
	return in;
}

static struct instance *instance_find(const struct sim_ctrl *c, uint16_t cntlid)
{
	struct instance *in;

	TAILQ_FOREACH(in, &instances, link)
		if (in->c == c && in->ident.cntlid == cntlid && !in->gone)
			return in;
	return NULL;
}

static void on_connected(void *arg)
{
	struct sim_qp *f = arg;
	struct sim_ctrl *c = f->c;
	int err = 0;

	f->connecting = NULL;
	if (c->silent)
		err = -ETIMEDOUT;
	else if (c->down)
		err = -ECONNREFUSED;
	else if (f->qp.qid == 0)
		f->in = instance_new(c);
	else
		f->in = instance_find(c, f->params.cntlid);
	if (!err && !f->in)
		err = -ECONNRESET;
	f->qp.live = !err;
	f->qp.cntlid = f->in ? f->in->ident.cntlid : 0;
	f->qp.ops->connected(&f->qp, err, NULL);
}

static struct ini_qpair *target_connect(struct loop *loop, const struct ini_params *params,
					const struct ini_ops *ops, void *priv)
{
	struct sim_qp *f = calloc(1, sizeof(*f));
	uint64_t delay;

	if (!f)
		abort();
	f->c = &sim_ctrls[addr_port(&params->addr) - 1];
	f->params = *params;
	f->qp.loop = loop;
	f->qp.tr = &ini_sim;
	f->qp.ops = ops;
	f->qp.priv = priv;
	f->qp.qid = params->qid;
	f->qp.sq_size = params->sq_size;
	f->qp.node = (int)(f->c - sim_ctrls) % 2;
	TAILQ_INIT(&f->cmds);
	TAILQ_INSERT_TAIL(&qps, f, link);
	delay = f->c->silent ? CONNECT_TIMEOUT : sim_between(50000, 2000000);
	f->connecting = sim_at(sim_now + delay, loop, on_connected, f);
	return &f->qp;
}

static uint64_t latency(const struct sim_ctrl *c)
{
	uint64_t base = sim_chance(90) ? sim_between(20000, 300000)
				       : sim_between(300000, 5 * NSEC_PER_MSEC);

	return base * (c->slow ? c->slow : 1);
}

static int target_submit(struct ini_qpair *qp, struct request *req)
{
	struct sim_qp *f = (struct sim_qp *)qp;
	struct cmd *cmd;

	if (!qp->live)
		return -ENOTCONN;
	if (!ini_room(qp))
		return -EAGAIN;
	cmd = calloc(1, sizeof(*cmd));
	if (!cmd)
		abort();
	cmd->qp = f;
	cmd->in = f->in;
	cmd->instance_number = f->in->number;
	cmd->req = req;
	cmd->sqe = req->sqe;
	if (qp->qid && req->dir == NVME_DIR_H2C)
		request_copy_out(req, 0, &cmd->value, sizeof(cmd->value));
	qp->inflight++;
	req->ini = qp;
	req->ini_cid = ++cids;
	if (req->dir == NVME_DIR_C2H)
		req->filled = 0;
	TAILQ_INSERT_TAIL(&f->cmds, cmd, link);
	/* In a silence it does not arrive before the end, if the connection lives to see it. */
	if (!f->c->silent && !f->in->crashed && !(f->in->gone && latest(f->in) <= sim_now))
		cmd->ev = sim_at(sim_now + latency(f->c), NULL, on_execute, cmd);
	return 0;
}

static void target_close(struct ini_qpair *qp)
{
	struct sim_qp *f = (struct sim_qp *)qp;

	qp->live = false;
	if (f->connecting)
		sim_cancel(f->connecting);
	if (f->breaking)
		sim_cancel(f->breaking);
	if (f->in && !qp->qid) {
		f->in->gone = true; /* no I/O queue joins it any more */
		f->in->lost_at = sim_now;
	}
	lose_all(f, -ECANCELED);
	TAILQ_REMOVE(&qps, f, link);
	free(f);
}

const struct ini_transport ini_sim = {
	.name = "sim",
	.trtype = NVMF_TRTYPE_TCP,
	.connect = target_connect,
	.submit = target_submit,
	.close = target_close,
};

void sim_target_init(void)
{
	TAILQ_INIT(&instances);
	TAILQ_INIT(&qps);
	memset(sim_media, 0, sizeof(sim_media));
	memset(sim_ctrls, 0, sizeof(sim_ctrls));
	instance_numbers = 0;
	cntlids = cids = 0;
	for (unsigned i = 0; i < SIM_CTRLS; i++) {
		struct sim_ctrl *c = &sim_ctrls[i];

		c->port = i + 1;
		for (unsigned n = 0; n < SIM_NAMESPACES; n++) {
			c->ana_state[n] = NVME_ANA_STATE_OPTIMIZED;
			c->attached[n] = true;
			c->size[n] = SIM_BLOCKS;
		}
	}
}

void sim_target_free(void)
{
	struct instance *in;

	while ((in = TAILQ_FIRST(&instances))) {
		drop_all_late(in);
		TAILQ_REMOVE(&instances, in, link);
		free(in);
	}
}
