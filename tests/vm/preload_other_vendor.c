/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For LD_PRELOAD: soft-RoCE does not say that it is that. So it is expected to tell when a queue
 * pair takes nothing more from a shared receive queue, which it never does.
 */
#include <dlfcn.h>
#include <stdlib.h>

#include <infiniband/verbs.h>

int ibv_query_device(struct ibv_context *context, struct ibv_device_attr *attr)
{
	int (*query)(struct ibv_context *, struct ibv_device_attr *);
	int e;

	*(void **)&query = dlsym(RTLD_NEXT, "ibv_query_device");
	if (!query)
		abort();
	e = query(context, attr);
	attr->vendor_id = 0x1234;
	return e;
}
