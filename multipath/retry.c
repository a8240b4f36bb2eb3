/* SPDX-License-Identifier: Apache-2.0 */
#include "multipath/retry.h"

#include <stdbool.h>
#include <stddef.h>

#include "transport/nvme.h"

/*
 * Sections are those of Base 2.0. What is not in the table is the host's to see: it concerns the
 * command or the medium, and would be the same over every path.
 */
static const struct rule {
	uint16_t status; /* SCT and SC */
	bool despite_dnr;
	enum retry_action action;
} rules[] = {
	/* Generic Command Status, 3.3.3.2.1.1 */
	{NVME_STATUS(0, NVME_SC_DATA_XFER_ERROR), false, RETRY_AGAIN},
	/* our own Abort after io_timeout, or the controller gave the command up: none of the host's
	 * doing, whose Aborts stay with us */
	{NVME_STATUS(0, NVME_SC_ABORT_REQ), true, RETRY_OTHER_PATH},
	/* the controller dropped its queue under the command */
	{NVME_STATUS(0, NVME_SC_ABORT_QUEUE), true, RETRY_OTHER_PATH},
	/* we checked the NSID: this controller has lost the namespace */
	{NVME_STATUS(0, NVME_SC_INVALID_NS), true, RETRY_OTHER_PATH},
	{NVME_STATUS(0, NVME_SC_CMD_INTERRUPTED), false, RETRY_AGAIN},
	{NVME_STATUS(0, NVME_SC_TRAN_TPORT_ERROR), false, RETRY_AGAIN},
	{NVME_STATUS(0, NVME_SC_NS_NOT_READY), false, RETRY_AGAIN},
	/* Path Related Status, 3.3.3.2.1.4, is below: all of it */
};

enum retry_action retry_action(uint16_t status)
{
	/* These speak of this path, whatever DNR says of it. */
	if ((nvme_sct_sc(status) >> 8) == NVME_SCT_PATH)
		return RETRY_OTHER_PATH;
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		const struct rule *r = &rules[i];

		if (r->status == nvme_sct_sc(status))
			return status & NVME_DNR && !r->despite_dnr ? RETRY_NOT : r->action;
	}
	return RETRY_NOT;
}
