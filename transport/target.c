/* SPDX-License-Identifier: Apache-2.0 */
/* What is the same for the target role of every transport. */
#include "transport/target.h"

#include "transport/pool.h"

void tgt_complete(struct request *req)
{
	if (req->tgt)
		req->tgt->tr->complete(req);
	else
		pool_put(req);
}
