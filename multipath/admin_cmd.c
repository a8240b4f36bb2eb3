/* SPDX-License-Identifier: Apache-2.0 */
/* Admin commands of our own to an upstream, with their time limits. */
#include <errno.h>
#include <libnvme.h>
#include <stdlib.h>

#include "multipath/control.h"
#include "transport/log.h"
#include "transport/pool.h"

struct admin_cmd {
	TAILQ_ENTRY(admin_cmd) link;
	struct assoc *a;
	admin_fn fn;
	uint64_t deadline; /* loop time; 0: none */
};

const char *admin_status_str(uint16_t status)
{
	return nvme_status_to_string(status, false);
}

const char *connect_status_str(uint16_t status)
{
	return nvme_status_to_string(status, true);
}

static void arm_expiry(struct assoc *a)
{
	uint64_t first = 0, now = loop_now(a->up->ss->mp->control);
	struct admin_cmd *c;

	TAILQ_FOREACH(c, &a->cmds, link)
		if (c->deadline && (!first || c->deadline < first))
			first = c->deadline;
	if (!first)
		loop_timer_cancel(&a->admin_expiry);
	else
		loop_timer_arm(&a->admin_expiry, first > now ? first - now : 0);
}

static void on_expiry(void *arg)
{
	struct assoc *a = arg;
	uint64_t now = loop_now(a->up->ss->mp->control);
	struct admin_cmd *c;

	TAILQ_FOREACH(c, &a->cmds, link) {
		if (c->deadline && c->deadline <= now) {
			assoc_fail(a, false, "no answer from the controller");
			return;
		}
	}
	arm_expiry(a);
}

static void on_done(struct request *req, int error)
{
	struct admin_cmd *c = req->complete_arg;
	struct assoc *a = c->a;
	admin_fn fn = c->fn;

	log_debug(UPSTREAM, "%s: answer to admin command %#x: error %d, status %#x",
		  a->up->cfg.name, req->sqe.opcode, error, nvme_cqe_status(&req->cqe));
	TAILQ_REMOVE(&a->cmds, c, link);
	free(c);
	if (!a->dead) {
		arm_expiry(a);
		if (!error)
			fn(a, req, nvme_cqe_status(&req->cqe));
		/* else the qpair's lost() follows */
	}
	pool_put(req);
}

void admin_send(struct assoc *a, const struct nvme_sqe *sqe, uint32_t len, uint64_t timeout,
		admin_fn fn)
{
	admin_send_data(a, sqe, NULL, len, timeout, fn);
}

void admin_send_data(struct assoc *a, const struct nvme_sqe *sqe, const void *out, uint32_t len,
		     uint64_t timeout, admin_fn fn)
{
	struct loop *control = a->up->ss->mp->control;
	struct request *req;
	struct admin_cmd *c;
	int err;

	if (a->dead)
		return;
	if (!a->admin_expiry.fn)
		loop_timer_init(&a->admin_expiry, control, on_expiry, a);
	req = pool_get(a->up->ss->mp->admin_pool);
	if (!req) {
		assoc_fail(a, false, "out of request slots for admin commands");
		return;
	}
	if (len && request_alloc_data(req, len)) {
		pool_put(req);
		assoc_fail(a, false, "out of buffers for admin commands");
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		abort();
	c->a = a;
	c->fn = fn;
	c->deadline = timeout ? loop_now(control) + timeout : 0;
	TAILQ_INSERT_TAIL(&a->cmds, c, link);
	req->sqe = *sqe;
	req->data_len = len;
	req->dir = len ? nvme_sqe_dir(sqe) : NVME_DIR_NONE;
	if (out) {
		request_copy_in(req, 0, out, len);
		req->filled = len;
	}
	req->complete_arg = c;
	req->ini_done = on_done;
	log_debug(UPSTREAM, "%s: admin command %#x, dwords 10 and 11 %#x %#x", a->up->cfg.name,
		  sqe->opcode, le32toh(sqe->cdw10), le32toh(sqe->cdw11));
	err = a->tr->submit(a->admin, req);
	if (err) {
		TAILQ_REMOVE(&a->cmds, c, link);
		free(c);
		pool_put(req);
		assoc_fail(a, false, "the admin queue takes no command");
		return;
	}
	arm_expiry(a);
}
