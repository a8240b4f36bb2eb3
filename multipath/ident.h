/* SPDX-License-Identifier: Apache-2.0 */
/* Which namespace is this: identification descriptors, and the geometry that must match with them.
 */
#ifndef MULTIPATH_IDENT_H
#define MULTIPATH_IDENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/nvme.h"

struct ns_ident {
	bool has_uuid, has_nguid, has_eui64;
	uint8_t uuid[16], nguid[16], eui64[8];
	uint8_t csi;
	/* Fallback when none of the three is there: upstream subsystem and its NSID. */
	char subnqn[NVMF_NQN_MAX + 1];
	uint32_t nsid;
};

/* Parses CNS 03h data (4096 bytes) over what Identify Namespace said: 0, or -EBADMSG with a reason.
 */
int ident_parse(struct ns_ident *id, const struct nvme_id_ns *idns, const uint8_t *descs,
		size_t len, const char **reason);

enum ident_match {
	IDENT_DIFFERENT, /* no common descriptor agrees */
	IDENT_SAME,	 /* every descriptor that both report agrees, at least one */
	IDENT_CONFLICT,	 /* some agree and some differ: refuse */
};
enum ident_match ident_compare(const struct ns_ident *a, const struct ns_ident *b);

/* What @b reports and @a does not; they are the same. */
void ident_merge(struct ns_ident *a, const struct ns_ident *b);

/* "uuid.xxxxxxxx-...", "nguid.hex", "eui.hex" or "<nqn>:<nsid>": the strongest one; stable key of
 * the state file. */
#define IDENT_STR_MAX (NVMF_NQN_MAX + 16)
char *ident_str(const struct ns_ident *id, char *buf);

/* What I/O needs to know of a namespace. */
struct ns_geometry {
	uint64_t nsze; /* logical blocks */
	uint8_t lbads; /* log2 of the block's data size */
	uint16_t ms;   /* metadata bytes per block, interleaved (extended LBA) when not 0 */
	uint8_t dps;   /* protection type and place */
	bool runs;     /* in a view: hosts may be told that more than one block is written as one */
};
void geometry_of(struct ns_geometry *g, const struct nvme_id_ns *idns);
/* NULL when a path with @b may join a head with @a, else a sentence that says what differs. */
const char *geometry_mismatch(const struct ns_geometry *a, const struct ns_geometry *b);

#endif
