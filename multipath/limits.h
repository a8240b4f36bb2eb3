/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which commands there are and how large they may be: of one controller, and what holds over
 * several.
 *
 * An optional command comes in two variants (NVM command set 1.0, 3.2.3.1, 3.2.5, 3.2.8). With its
 * bit in ONCS it is carried out whatever its size, and the size limit, if any, is a recommendation.
 * Without the bit but with a size limit it is bounded: beyond the limit it is aborted.
 */
#ifndef MULTIPATH_LIMITS_H
#define MULTIPATH_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/nvme.h"

#define LIMITS_ANY_SHIFT  UINT8_MAX
#define LIMITS_ANY_RANGES 256u /* as many as the command has room for */

struct limits {
	uint32_t max_transfer; /* bytes; UINT32_MAX: any */
	uint16_t oncs;	       /* optional commands, of either variant: bits of ONCS */
	uint16_t bounded;      /* those of them that are aborted beyond the limits below */
	/* Blocks that one command names, in bytes, as a power of two; LIMITS_ANY_SHIFT: any */
	uint8_t verify, write_zeroes;
	/* Dataset Management */
	uint16_t ranges;       /* LIMITS_ANY_RANGES: any */
	uint32_t range_blocks; /* of one range; UINT32_MAX: any */
	uint64_t blocks;       /* of all; UINT64_MAX: any */
};

/* Everything of any size: what narrowing starts from. */
void limits_none(struct limits *l);
/* What Identify says. @nvm: of the NVM command set (CNS 06h), or NULL: not known. */
void limits_of(struct limits *l, uint64_t cap, const struct nvme_id_ctrl *id,
	       const struct nvme_id_ctrl_nvm *nvm);
/* Down to what @by can as well. */
void limits_narrow(struct limits *l, const struct limits *by);
/* The way back, for telling a host; the host's page size unit is 4 KiB. ONCS is not in there. */
void limits_tell(const struct limits *l, struct nvme_id_ctrl_nvm *nvm);

/*
 * @promised is what all hosts together were told, all zero when none was: adds one. A
 * recommendation is no promise.
 */
void limits_promise(struct limits *promised, const struct limits *told);
/* False, and why: @l is less than what was promised. */
bool limits_keep(const struct limits *l, const struct limits *promised, char *why, size_t len);

#endif
