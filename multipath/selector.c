/* SPDX-License-Identifier: Apache-2.0 */
#include "multipath/selector.h"

#include <errno.h>
#include <string.h>

static const struct selector *const selectors[] = {
	[MP_POLICY_FAILOVER] = &selector_failover,
	[MP_POLICY_ROUND_ROBIN] = &selector_round_robin,
	[MP_POLICY_QUEUE_DEPTH] = &selector_queue_depth,
	[MP_POLICY_SERVICE_TIME] = &selector_service_time,
	[MP_POLICY_NUMA] = &selector_numa,
};

const struct selector *selector_of(enum mp_policy policy)
{
	return selectors[policy];
}

const char *mp_policy_name(enum mp_policy p)
{
	return selectors[p]->name;
}

int mp_policy_parse(const char *name, enum mp_policy *p)
{
	for (unsigned i = 0; i < sizeof(selectors) / sizeof(selectors[0]); i++) {
		if (!strcmp(selectors[i]->name, name)) {
			*p = (enum mp_policy)i;
			return 0;
		}
	}
	return -EINVAL;
}
