/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_later.h"

#include <stdlib.h>

#include "gateway/rpc_answer.h"

struct rpc_later *rpc_later_take(struct rpc_caller *caller)
{
	struct rpc_later *later = calloc(1, sizeof(*later));

	if (!later)
		abort();
	later->caller = caller;
	caller->later = later;
	return later;
}

void rpc_later_answer(struct rpc_later *later, json_t *result, const struct rpc_error *err)
{
	struct rpc_caller *caller = later->caller;

	if (caller) {
		caller->later = NULL;
		caller->answered(caller->arg,
				 later->id ? rpc_answer_of(later->id, json_incref(result), err)
					   : NULL);
	}
	json_decref(result);
	json_decref(later->id);
	free(later);
}

void rpc_later_forget(struct rpc_caller *caller)
{
	if (caller->later)
		caller->later->caller = NULL;
	caller->later = NULL;
}
