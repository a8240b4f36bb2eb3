/* SPDX-License-Identifier: Apache-2.0 */
#include "multipath/limits.h"

#include <stdio.h>

#define PAGE_SHIFT 12u /* of CAP.MPSMIN 0 */

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

void limits_none(struct limits *l)
{
	*l = (struct limits){
		.max_transfer = UINT32_MAX,
		.oncs = UINT16_MAX,
		.verify = LIMITS_ANY_SHIFT,
		.write_zeroes = LIMITS_ANY_SHIFT,
		.ranges = LIMITS_ANY_RANGES,
		.range_blocks = UINT32_MAX,
		.blocks = UINT64_MAX,
	};
}

/* ---- from and to Identify ---- */

static unsigned page_shift(uint64_t cap)
{
	return PAGE_SHIFT + (cap >> 48 & 0xf); /* CAP.MPSMIN */
}

static uint32_t max_transfer(uint64_t cap, const struct nvme_id_ctrl *id)
{
	unsigned shift = id->mdts + page_shift(cap);

	return id->mdts == 0 || shift > 31 ? UINT32_MAX : 1u << shift;
}

static uint8_t size_shift(uint64_t cap, uint8_t field)
{
	unsigned shift = field + page_shift(cap);

	/* One that no command can reach is one all the same: it may make the command bounded. */
	return field == 0 ? LIMITS_ANY_SHIFT : (uint8_t)MIN(shift, LIMITS_ANY_SHIFT - 1u);
}

static void sizes_of(struct limits *l, uint64_t cap, const struct nvme_id_ctrl_nvm *nvm)
{
	uint16_t limited = 0;

	l->verify = size_shift(cap, nvm->vsl);
	l->write_zeroes = size_shift(cap, nvm->wzsl);
	if (nvm->dmrl)
		l->ranges = nvm->dmrl;
	if (nvm->dmrsl)
		l->range_blocks = le32toh(nvm->dmrsl);
	if (nvm->dmsl)
		l->blocks = le64toh(nvm->dmsl);
	if (nvm->vsl)
		limited |= NVME_CTRL_ONCS_VERIFY;
	if (nvm->wzsl)
		limited |= NVME_CTRL_ONCS_WRITE_ZEROES;
	if (nvm->dmrl && nvm->dmrsl && nvm->dmsl)
		limited |= NVME_CTRL_ONCS_DSM;
	l->bounded = limited & ~l->oncs;
	l->oncs |= l->bounded;
}

void limits_of(struct limits *l, uint64_t cap, const struct nvme_id_ctrl *id,
	       const struct nvme_id_ctrl_nvm *nvm)
{
	limits_none(l);
	l->max_transfer = max_transfer(cap, id);
	l->oncs = le16toh(id->oncs);
	if (nvm)
		sizes_of(l, cap, nvm);
}

static uint8_t size_field(const struct limits *l, uint16_t command, uint8_t shift)
{
	/* To say a limit of a command that is not there would say that it is. */
	return (l->oncs & command) && shift != LIMITS_ANY_SHIFT ? (uint8_t)(shift - PAGE_SHIFT) : 0;
}

/* All three or none is what the specification wants; the highest value is no limit. */
static void tell_ranges(const struct limits *l, struct nvme_id_ctrl_nvm *nvm)
{
	if (!(l->oncs & NVME_CTRL_ONCS_DSM) ||
	    (l->ranges == LIMITS_ANY_RANGES && l->range_blocks == UINT32_MAX &&
	     l->blocks == UINT64_MAX))
		return;
	nvm->dmrl = (uint8_t)MIN(l->ranges, LIMITS_ANY_RANGES - 1);
	nvm->dmrsl = htole32(l->range_blocks);
	nvm->dmsl = htole64(l->blocks);
}

void limits_tell(const struct limits *l, struct nvme_id_ctrl_nvm *nvm)
{
	*nvm = (struct nvme_id_ctrl_nvm){
		.vsl = size_field(l, NVME_CTRL_ONCS_VERIFY, l->verify),
		.wzsl = size_field(l, NVME_CTRL_ONCS_WRITE_ZEROES, l->write_zeroes),
	};
	tell_ranges(l, nvm);
}

/* ---- of several ---- */

void limits_narrow(struct limits *l, const struct limits *by)
{
	l->max_transfer = MIN(l->max_transfer, by->max_transfer);
	l->oncs &= by->oncs;
	l->bounded = (l->bounded | by->bounded) & l->oncs;
	l->verify = MIN(l->verify, by->verify);
	l->write_zeroes = MIN(l->write_zeroes, by->write_zeroes);
	l->ranges = MIN(l->ranges, by->ranges);
	l->range_blocks = MIN(l->range_blocks, by->range_blocks);
	l->blocks = MIN(l->blocks, by->blocks);
}

void limits_promise(struct limits *promised, const struct limits *told)
{
	uint16_t unbounded = (promised->oncs & ~promised->bounded) | (told->oncs & ~told->bounded);

	promised->max_transfer = MAX(promised->max_transfer, told->max_transfer);
	promised->oncs |= told->oncs;
	promised->bounded = promised->oncs & ~unbounded;
	if (told->bounded & NVME_CTRL_ONCS_VERIFY)
		promised->verify = MAX(promised->verify, told->verify);
	if (told->bounded & NVME_CTRL_ONCS_WRITE_ZEROES)
		promised->write_zeroes = MAX(promised->write_zeroes, told->write_zeroes);
	if (told->bounded & NVME_CTRL_ONCS_DSM) {
		promised->ranges = MAX(promised->ranges, told->ranges);
		promised->range_blocks = MAX(promised->range_blocks, told->range_blocks);
		promised->blocks = MAX(promised->blocks, told->blocks);
	}
}

static bool keeps_sizes(const struct limits *l, const struct limits *promised, char *why,
			size_t len)
{
	uint16_t both = l->bounded & promised->bounded;

	if ((both & NVME_CTRL_ONCS_VERIFY) && l->verify < promised->verify)
		snprintf(
			why, len,
			"its limit for Verify, 2^%u bytes, is below the 2^%u that hosts were promised",
			l->verify, promised->verify);
	else if ((both & NVME_CTRL_ONCS_WRITE_ZEROES) && l->write_zeroes < promised->write_zeroes)
		snprintf(
			why, len,
			"its limit for Write Zeroes, 2^%u bytes, is below the 2^%u that hosts were promised",
			l->write_zeroes, promised->write_zeroes);
	else if ((both & NVME_CTRL_ONCS_DSM) &&
		 (l->ranges < promised->ranges || l->range_blocks < promised->range_blocks ||
		  l->blocks < promised->blocks))
		snprintf(
			why, len,
			"its limits for Dataset Management are below those that hosts were promised");
	else
		return true;
	return false;
}

bool limits_keep(const struct limits *l, const struct limits *promised, char *why, size_t len)
{
	uint16_t unbounded = promised->oncs & ~promised->bounded;

	if (l->max_transfer < promised->max_transfer)
		snprintf(why, len,
			 "its largest transfer, %u bytes, is below the %u that hosts were promised",
			 l->max_transfer, promised->max_transfer);
	else if (promised->oncs & ~l->oncs)
		snprintf(why, len,
			 "it lacks optional commands (ONCS %#x) that hosts were promised (%#x)",
			 l->oncs, promised->oncs);
	else if (unbounded & l->bounded)
		snprintf(why, len,
			 "it limits commands (ONCS %#x) that hosts were promised of any size",
			 unbounded & l->bounded);
	else
		return keeps_sizes(l, promised, why, len);
	return false;
}
