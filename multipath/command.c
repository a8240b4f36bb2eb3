/* SPDX-License-Identifier: Apache-2.0 */
#include "multipath/command.h"

enum repeat command_repeat(const struct nvme_sqe *sqe)
{
	/* Both halves of a fused operation belong together, on one queue (Base 2.0, 3.4.2). */
	if (sqe->flags & NVME_FUSE_MASK)
		return REPEAT_NEVER;
	switch (sqe->opcode) {
	case nvme_cmd_read:
	case nvme_cmd_compare:
	case nvme_cmd_verify:
	case nvme_cmd_flush:
		return REPEAT_FREELY;
	case nvme_cmd_write:
	case nvme_cmd_write_zeroes:
	case nvme_cmd_write_uncor:
	case nvme_cmd_dsm:
		return REPEAT_FENCED;
	default:
		/*
		 * Zone Append writes elsewhere the second time, Copy may read what it wrote itself,
		 * the second of two reservation commands finds what the first one left.
		 */
		return REPEAT_NEVER;
	}
}

bool command_changes_data(uint8_t opcode)
{
	struct nvme_sqe sqe = {.opcode = opcode};

	return command_repeat(&sqe) != REPEAT_FREELY;
}

static struct lba_range dsm_span(const struct request *req)
{
	uint32_t n = (le32toh(req->sqe.cdw10) & 0xff) + 1;
	struct lba_range span = {UINT64_MAX, 0};

	for (uint32_t i = 0; i < n && (i + 1) * sizeof(struct nvme_dsm_range) <= req->filled; i++) {
		struct nvme_dsm_range r;
		uint64_t start, end;

		request_copy_out(req, i * (uint32_t)sizeof(r), &r, sizeof(r));
		start = le64toh(r.slba);
		end = start + le32toh(r.nlb);
		if (end <= start)
			continue;
		if (start < span.start)
			span.start = start;
		if (end > span.end)
			span.end = end;
	}
	return span.end ? span : (struct lba_range){0, 0};
}

struct lba_range command_writes(const struct request *req)
{
	uint64_t slba = nvme_sqe_slba(&req->sqe);

	switch (req->sqe.opcode) {
	case nvme_cmd_write:
	case nvme_cmd_write_zeroes:
	case nvme_cmd_write_uncor:
		return (struct lba_range){slba, slba + (le32toh(req->sqe.cdw12) & 0xffff) + 1};
	case nvme_cmd_dsm:
		return dsm_span(req);
	default:
		return (struct lba_range){0, 0};
	}
}
