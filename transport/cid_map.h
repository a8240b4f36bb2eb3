/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands in flight on one target qpair, by CID (which the host chooses, any 16 bits) and by
 * slot (ours, small, with a generation: together a transfer tag that a host cannot reuse by
 * mistake). Grows with the commands ever in flight at once, so an idle queue costs next to nothing.
 */
#ifndef TRANSPORT_CID_MAP_H
#define TRANSPORT_CID_MAP_H

#include <stdbool.h>
#include <stdint.h>

struct request;

#define CID_MAP_SLOT_BITS 12
#define CID_MAP_MAX	  (1u << CID_MAP_SLOT_BITS)
#define CID_MAP_NONE	  0xffffu

struct cid_slot {
	struct request *req; /* NULL: free */
	uint16_t cid;
	uint16_t next;	 /* in the chain of the CID, or of free slots */
	uint16_t bucket; /* first slot of the chain of CIDs that map to this index */
	uint8_t gen;
	bool bad_data; /* for the owner: data arrived damaged */
};

struct cid_map {
	struct cid_slot *slots;
	unsigned size; /* a power of two */
	uint16_t free;
};

void cid_map_init(struct cid_map *m);
void cid_map_fini(struct cid_map *m);
/* The slot; -EEXIST when the CID is in flight; -ENOMEM, also beyond CID_MAP_MAX. */
int cid_map_add(struct cid_map *m, uint16_t cid, struct request *req);
void cid_map_del(struct cid_map *m, uint16_t slot);

/* A new tag for the slot; older ones are void. */
uint16_t cid_map_new_tag(struct cid_map *m, uint16_t slot);
/* The slot that the tag was last made for and whose command is in flight, or NULL. */
struct cid_slot *cid_map_by_tag(struct cid_map *m, uint16_t tag);

#endif
