/* SPDX-License-Identifier: Apache-2.0 */
#include "multipath/ana.h"

#include <errno.h>
#include <string.h>

bool ana_usable(uint8_t state)
{
	return state == NVME_ANA_STATE_OPTIMIZED || state == NVME_ANA_STATE_NONOPTIMIZED;
}

const char *ana_state_name(uint8_t state)
{
	switch (state) {
	case NVME_ANA_STATE_OPTIMIZED:
		return "optimized";
	case NVME_ANA_STATE_NONOPTIMIZED:
		return "non-optimized";
	case NVME_ANA_STATE_INACCESSIBLE:
		return "inaccessible";
	case NVME_ANA_STATE_PERSISTENT_LOSS:
		return "persistent-loss";
	case NVME_ANA_STATE_CHANGE:
		return "change";
	default:
		return "unknown";
	}
}

static int walk(const uint8_t *log, size_t len, uint32_t grpmax, ana_group_fn fn, void *arg,
		const char **reason)
{
	struct nvme_ana_log hdr;
	size_t pos = sizeof(hdr);

	memcpy(&hdr, log, sizeof(hdr));
	for (unsigned i = 0; i < le16toh(hdr.ngrps); i++) {
		struct nvme_ana_group_desc d;
		uint32_t grpid, nnsids;

		if (len - pos < sizeof(d)) {
			*reason = "ANA log ends within a group descriptor";
			return -EBADMSG;
		}
		memcpy(&d, log + pos, sizeof(d));
		pos += sizeof(d);
		grpid = le32toh(d.grpid);
		nnsids = le32toh(d.nnsids);
		if (grpid == 0 || grpid > grpmax) {
			*reason = "ANA log names a group that is 0 or above ANAGRPMAX";
			return -EBADMSG;
		}
		if (!strcmp(ana_state_name(d.state & 0x0f), "unknown")) {
			*reason = "ANA log has an unknown state";
			return -EBADMSG;
		}
		if (nnsids > (len - pos) / sizeof(uint32_t)) {
			*reason = "ANA log ends within a namespace list";
			return -EBADMSG;
		}
		pos += (size_t)nnsids * sizeof(uint32_t);
		if (fn)
			fn(arg, grpid, d.state & 0x0f, le64toh(d.chgcnt));
	}
	return 0;
}

int ana_parse(const uint8_t *log, size_t len, uint32_t grpmax, ana_group_fn fn, void *arg,
	      const char **reason)
{
	if (len < sizeof(struct nvme_ana_log)) {
		*reason = "ANA log is shorter than its header";
		return -EBADMSG;
	}
	if (walk(log, len, grpmax, NULL, NULL, reason))
		return -EBADMSG;
	return walk(log, len, grpmax, fn, arg, reason);
}
