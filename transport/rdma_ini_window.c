/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/RDMA as initiator, with register_always: memory windows. A command's data is named to the
 * controller by the key of a window that opens these bytes and no others, in the direction that the
 * command moves them, on this queue pair. The controller's response closes it (send with
 * invalidate, RDMA transport 1.0, 2.4.1), or we do; only then is the command over, so no key in the
 * controller's hands ever opens memory that is another command's by now.
 *
 * A kernel registers memory anew for that. User space has no fast registration, and windows of type
 * 2 are the same thing: bound and invalidated by work requests, in the order of the send queue.
 * Each slot has a window of its own for life, whose key changes with every binding.
 */
#include <errno.h>

#include "transport/rdma_initiator.h"

int rdma_ini_windows_init(struct rdma_ini *t)
{
	struct ibv_pd *pd = rdma_dev_pd(t->q.dev, RDMA_WINDOWS);

	for (unsigned i = 0; i < t->qp.sq_size; i++) {
		struct rdma_window *w = &t->slots[i].window;

		w->mw = ibv_alloc_mw(pd, IBV_MW_TYPE_2);
		if (!w->mw)
			return errno ? -errno : -ENOMEM;
		w->key = w->mw->rkey;
	}
	return 0;
}

/*
 * Before the queue pair ends, for an open window holds on to it. Nothing comes in by a queue pair
 * in error; and memory goes back to its owners after its end only.
 */
void rdma_ini_windows_fini(struct rdma_ini *t)
{
	if (!t->windows)
		return;
	rdma_qp_flush(&t->q);
	for (unsigned i = 0; i < t->qp.sq_size; i++) {
		struct rdma_window *w = &t->slots[i].window;

		if (w->mw)
			ibv_dealloc_mw(w->mw);
		*w = (struct rdma_window){.open = false};
	}
}

void rdma_ini_window_bind(struct rdma_window *w, struct ibv_send_wr *wr, struct ibv_mr *mr,
			  const void *mem, uint32_t len, enum nvme_dir dir)
{
	/* What the library has to know is the key that the device knows now. */
	w->mw->rkey = w->key;
	w->key = ibv_inc_rkey(w->key);
	w->open = true;
	*wr = (struct ibv_send_wr){
		.opcode = IBV_WR_BIND_MW,
		.bind_mw =
			{
				.mw = w->mw,
				.rkey = w->key,
				.bind_info =
					{
						.mr = mr,
						.addr = (uintptr_t)mem,
						.length = len,
						.mw_access_flags =
							dir == NVME_DIR_H2C
								? IBV_ACCESS_REMOTE_READ
								: IBV_ACCESS_REMOTE_WRITE,
					},
			},
	};
}

void rdma_ini_window_close(const struct rdma_window *w, struct ibv_send_wr *wr)
{
	*wr = (struct ibv_send_wr){.opcode = IBV_WR_LOCAL_INV, .invalidate_rkey = w->key};
}

int rdma_ini_window_answered(struct rdma_ini *t, struct rdma_window *w, const struct ibv_wc *wc)
{
	if (!(wc->wc_flags & rdma_dev_inv_flags(t->q.dev)))
		return w->open ? 1 : 0;
	/* Another command's: that one's data could be cut off in the middle. */
	if (!w->open || wc->invalidated_rkey != w->key)
		return -EPROTO;
	w->open = false;
	return 0;
}
