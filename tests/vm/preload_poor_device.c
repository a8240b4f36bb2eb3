/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For LD_PRELOAD: RDMA devices can do as little as any may. Nothing is shared or sent inline, a
 * work request has one piece of memory, and there are few of them.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>

#include <infiniband/verbs.h>

static void *next(const char *name)
{
	void *f = dlsym(RTLD_NEXT, name);

	if (!f)
		abort();
	return f;
}

int ibv_query_device(struct ibv_context *context, struct ibv_device_attr *attr)
{
	int (*query)(struct ibv_context *, struct ibv_device_attr *);
	int e;

	*(void **)&query = next("ibv_query_device");
	e = query(context, attr);
	attr->max_srq = 0;
	attr->max_sge = 1;
	attr->max_sge_rd = 1;
	attr->max_qp_wr = 256;
	attr->max_qp_rd_atom = 1;
	attr->max_qp_init_rd_atom = 1;
	return e;
}

struct ibv_qp *ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *init)
{
	struct ibv_qp *(*create)(struct ibv_pd *, struct ibv_qp_init_attr *);

	*(void **)&create = next("ibv_create_qp");
	if (init->cap.max_inline_data || init->cap.max_send_sge > 1 ||
	    init->cap.max_send_wr > 256) {
		errno = EINVAL;
		return NULL;
	}
	return create(pd, init);
}
