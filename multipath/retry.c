/* SPDX-License-Identifier: Apache-2.0 */
#include "multipath/retry.h"

#include "transport/nvme.h"

enum retry_action retry_action(uint16_t status)
{
	/* Path related statuses speak of this path whatever DNR says of it (Base 2.0, 3.3.3.2.1.5)
	 */
	if ((nvme_sct_sc(status) >> 8) == NVME_SCT_PATH)
		return RETRY_OTHER_PATH;
	if (status & NVME_DNR)
		return RETRY_NOT;
	switch (nvme_sct_sc(status)) {
	case NVME_STATUS(NVME_SCT_GENERIC, NVME_SC_ABORT_QUEUE):
		/* the upstream dropped its queue under the command: a path event, never the host's
		 * doing */
		return RETRY_OTHER_PATH;
	case NVME_STATUS(NVME_SCT_GENERIC, NVME_SC_TRAN_TPORT_ERROR):
		return RETRY_SAME_PATH;
	default:
		return RETRY_NOT;
	}
}
