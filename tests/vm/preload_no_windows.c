/* SPDX-License-Identifier: Apache-2.0 */
/* For LD_PRELOAD: RDMA devices have no memory windows of type 2, whatever they say. */
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
	if (!e)
		attr->device_cap_flags &=
			~(unsigned)(IBV_DEVICE_MEM_WINDOW_TYPE_2A | IBV_DEVICE_MEM_WINDOW_TYPE_2B);
	return e;
}
