/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host's normal shutdown of its controller (CC.SHN; Base 2.0, 3.6): when it is complete, all that
 * was acknowledged is durable, though the host has sent no Flush. Nothing is cached here, but what
 * upstreams have acknowledged may be in their caches. Control loop only.
 */
#ifndef GATEWAY_SHUTDOWN_H
#define GATEWAY_SHUTDOWN_H

#include "gateway/controller.h"

/*
 * Has every namespace flushed, and sets CSTS.SHST to complete when all have been, in a later turn.
 * How long one without a path may take is bounded as for any other Flush.
 */
void shutdown_start(struct controller *c);
/* The host has thought better of it. */
void shutdown_forget(struct controller *c);

#endif
