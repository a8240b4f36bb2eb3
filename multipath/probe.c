/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of our own that tell how quick a path is that hosts' commands avoid. */
#include <errno.h>
#include <stdlib.h>

#include "multipath/worker.h"

struct probe_msg {
	struct lane_set *set;
	enum probe_result result;
	uint32_t len;
	uint64_t ns;
};

static void probed_on_control(void *arg)
{
	struct probe_msg *m = arg;

	path_probed(m->set, m->result, m->len, m->ns);
	free(m);
}

/* While the lane is held: its set is there as long as that. */
static void tell(struct mp_worker *mw, struct lane *lane, enum probe_result result, uint32_t len,
		 uint64_t ns)
{
	struct probe_msg *m = malloc(sizeof(*m));

	if (!m)
		abort();
	*m = (struct probe_msg){lane->set, result, len, ns};
	loop_post(mw->control, probed_on_control, m);
}

static void on_done(struct request *req, int error)
{
	struct conn *conn = req->mp_conn;
	struct mp_worker *mw = conn->mw;
	struct lane *lane = req->mp_lane;
	bool good = !error && nvme_cqe_status(&req->cqe) == 0;
	uint64_t ns = loop_now(mw->loop) - req->submitted;

	conn_returned(conn, req, error);
	tell(mw, lane, good ? PROBE_GOOD : PROBE_BAD, req->data_len, ns);
	lane_put(lane, mw);
	pool_put(req);
}

static struct view_entry *entry_of(struct head_worker *hw, const struct lane *lane)
{
	for (unsigned i = 0; i < hw->view->n; i++)
		if (hw->view->e[i].lane == lane)
			return &hw->view->e[i];
	return NULL;
}

int lane_submit(struct head_worker *hw, struct lane *lane, struct request *req)
{
	struct view_entry *e = entry_of(hw, lane);
	int err;

	if (!e || !e->conn || !e->conn->up)
		return -ENOTCONN;
	if (!ini_room(e->conn->qp))
		return -EAGAIN;
	req->sqe.nsid = htole32(e->nsid);
	req->mp_lane = lane;
	req->mp_conn = e->conn;
	err = conn_submit(e->conn, req);
	if (!err)
		lane->out++;
	return err;
}

static uint32_t blocks_in(uint32_t len, const struct ns_geometry *geo, uint32_t block)
{
	if (len < block)
		return 1;
	return len / block < geo->nsze ? len / block : (uint32_t)geo->nsze;
}

static bool sent(struct head_worker *hw, struct lane *lane, uint32_t len)
{
	const struct ns_geometry *geo = &hw->view->geo;
	uint32_t block = mp_block_bytes(geo), blocks = blocks_in(len, geo, block);
	struct request *req = pool_get(loop_pool(hw->mw->loop));

	if (!req)
		return false;
	req->sqe.opcode = nvme_cmd_read;
	req->dir = NVME_DIR_C2H;
	req->sqe.cdw12 = htole32(blocks - 1);
	req->data_len = blocks * block;
	req->ini_done = on_done;
	if (request_alloc_data(req, req->data_len) || lane_submit(hw, lane, req)) {
		pool_put(req);
		return false;
	}
	return true;
}

void probe_send(struct head_worker *hw, struct lane *lane, uint32_t len)
{
	if (!sent(hw, lane, len))
		tell(hw->mw, lane, PROBE_NOT_SENT, 0, 0);
}
