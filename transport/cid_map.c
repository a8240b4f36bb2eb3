/* SPDX-License-Identifier: Apache-2.0 */
/* Commands in flight by CID and by slot. See cid_map.h. */
#include "transport/cid_map.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define MIN_SIZE 8

void cid_map_init(struct cid_map *m)
{
	*m = (struct cid_map){.free = CID_MAP_NONE};
}

void cid_map_fini(struct cid_map *m)
{
	free(m->slots);
	cid_map_init(m);
}

static uint16_t *bucket_of(struct cid_map *m, uint16_t cid)
{
	return &m->slots[cid & (m->size - 1)].bucket;
}

static void chain(struct cid_map *m, uint16_t slot)
{
	uint16_t *b = bucket_of(m, m->slots[slot].cid);

	m->slots[slot].next = *b;
	*b = slot;
}

/* Only called when no slot is free: every old one is in a chain. */
static int grow(struct cid_map *m)
{
	unsigned old = m->size, size = old ? old * 2 : MIN_SIZE;
	struct cid_slot *slots;

	if (size > CID_MAP_MAX)
		return -ENOMEM;
	slots = realloc(m->slots, size * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	m->slots = slots;
	m->size = size;
	for (unsigned i = old; i < size; i++)
		slots[i] = (struct cid_slot){.next = (uint16_t)(i + 1)};
	slots[size - 1].next = CID_MAP_NONE;
	m->free = (uint16_t)old;
	for (unsigned i = 0; i < size; i++)
		slots[i].bucket = CID_MAP_NONE;
	for (unsigned i = 0; i < old; i++)
		chain(m, (uint16_t)i);
	return 0;
}

int cid_map_add(struct cid_map *m, uint16_t cid, struct request *req)
{
	struct cid_slot *s;
	uint16_t slot;

	if (m->size) {
		for (slot = *bucket_of(m, cid); slot != CID_MAP_NONE; slot = m->slots[slot].next) {
			if (m->slots[slot].cid == cid)
				return -EEXIST;
		}
	}
	if (m->free == CID_MAP_NONE) {
		int e = grow(m);

		if (e)
			return e;
	}
	slot = m->free;
	s = &m->slots[slot];
	m->free = s->next;
	s->req = req;
	s->cid = cid;
	s->bad_data = false;
	chain(m, slot);
	return slot;
}

void cid_map_del(struct cid_map *m, uint16_t slot)
{
	struct cid_slot *s = &m->slots[slot];
	uint16_t *p;

	assert(slot < m->size && s->req);
	for (p = bucket_of(m, s->cid); *p != slot; p = &m->slots[*p].next)
		;
	*p = s->next;
	s->req = NULL;
	s->next = m->free;
	m->free = slot;
}

uint16_t cid_map_new_tag(struct cid_map *m, uint16_t slot)
{
	uint8_t gen = ++m->slots[slot].gen & (0xffff >> CID_MAP_SLOT_BITS);

	m->slots[slot].gen = gen;
	return (uint16_t)(gen << CID_MAP_SLOT_BITS | slot);
}

struct cid_slot *cid_map_by_tag(struct cid_map *m, uint16_t tag)
{
	uint16_t slot = tag & (CID_MAP_MAX - 1);
	struct cid_slot *s = slot < m->size ? &m->slots[slot] : NULL;

	return s && s->req && s->gen == tag >> CID_MAP_SLOT_BITS ? s : NULL;
}
