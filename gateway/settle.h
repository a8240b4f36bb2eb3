/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has been asked for takes a moment: an upstream connects, a path comes into use, a host goes.
 * Who tells what has come of it waits for that, but not for ever. Control loop only.
 */
#ifndef GATEWAY_SETTLE_H
#define GATEWAY_SETTLE_H

#include "multipath/multipath.h"

#define SETTLE_LOOK (10 * NSEC_PER_MSEC)
/* What takes longer than that is not waited for. */
#define SETTLE_MAX (6 * NSEC_PER_SEC)

/*
 * One that is about to be something else, of @up and those that it has named. NULL: live or not, it
 * is known by now, and so are they.
 */
const struct upstream *upstream_unsettled(const struct upstream *up);

#endif
