/* SPDX-License-Identifier: Apache-2.0 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <isa-l/crc.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/bench/verify.h"

#define STAMP_MAGIC 0x706d617473776776ull /* "vgwstamp" in memory */

/* The start of every block; after it comes a sequence that depends on address and generation. */
struct stamp {
	uint64_t magic;
	uint64_t run;
	uint64_t lba;
	uint32_t gen;
	uint32_t crc; /* CRC32C of the block with this field left out */
	uint64_t fill[];
};

int verify_init(struct verify *v, uint64_t run, uint64_t first_lba, uint64_t units,
		uint32_t lbas_per_unit, uint32_t lba_size)
{
	v->run = run;
	v->first_lba = first_lba;
	v->units = units;
	v->lbas_per_unit = lbas_per_unit;
	v->lba_size = lba_size;
	v->blocks_checked = 0;
	v->table = calloc(units, sizeof(*v->table));
	return v->table ? 0 : -ENOMEM;
}

void verify_fini(struct verify *v)
{
	free(v->table);
	v->table = NULL;
}

static struct stamp *block_of(const struct verify *v, const struct request *req, uint32_t i)
{
	uint32_t off = i * v->lba_size;

	return (struct stamp *)((uint8_t *)req->segs[off >> SEG_SHIFT] + off % SEG_SIZE);
}

static uint32_t stamp_crc(const struct stamp *s, uint32_t size)
{
	uint32_t crc = crc32_iscsi((uint8_t *)s, offsetof(struct stamp, crc), ~0u);

	return crc32_iscsi((uint8_t *)s->fill, (int)(size - sizeof(*s)), crc);
}

static void stamp_make(const struct verify *v, struct stamp *s, uint64_t lba, uint32_t gen)
{
	const uint64_t odd = 0x9e3779b97f4a7c15ull;
	uint64_t x = (v->run ^ lba) * odd + gen;

	s->magic = htole64(STAMP_MAGIC);
	s->run = htole64(v->run);
	s->lba = htole64(lba);
	s->gen = htole32(gen);
	for (uint32_t i = 0; i < (v->lba_size - sizeof(*s)) / 8; i++)
		s->fill[i] = x += odd;
	s->crc = htole32(stamp_crc(s, v->lba_size));
}

void verify_write_begin(struct verify *v, uint64_t unit, struct request *req)
{
	struct verify_unit *u = &v->table[unit];
	uint64_t lba = v->first_lba + unit * v->lbas_per_unit;

	u->issued++;
	for (uint32_t i = 0; i < v->lbas_per_unit; i++)
		stamp_make(v, block_of(v, req, i), lba + i, u->issued);
}

void verify_write_end(struct verify *v, uint64_t unit, bool ok)
{
	struct verify_unit *u = &v->table[unit];

	if (ok)
		u->acked = u->issued;
}

uint32_t verify_read_begin(const struct verify *v, uint64_t unit)
{
	return v->table[unit].acked;
}

static bool block_check(const struct verify *v, const struct stamp *s, uint64_t lba,
			uint32_t oldest, uint32_t newest, char *why, size_t len)
{
	bool ours = s->magic == htole64(STAMP_MAGIC);

	if (!ours && !oldest)
		return true;
	if (!ours) {
		snprintf(why, len,
			 "LBA %" PRIu64 ": no stamp (first bytes %016" PRIx64
			 "), generation %u was acknowledged",
			 lba, be64toh(s->magic), oldest);
		return false;
	}
	if (s->crc != htole32(stamp_crc(s, v->lba_size))) {
		snprintf(why, len,
			 "LBA %" PRIu64 ": wrong CRC (stamped LBA %" PRIu64 ", generation %u)", lba,
			 le64toh(s->lba), le32toh(s->gen));
		return false;
	}
	if (s->lba != htole64(lba)) {
		snprintf(why, len, "LBA %" PRIu64 ": holds the data of LBA %" PRIu64, lba,
			 le64toh(s->lba));
		return false;
	}
	if (s->run != htole64(v->run)) {
		if (!oldest)
			return true;
		snprintf(why, len,
			 "LBA %" PRIu64 ": data of an earlier run, generation %u was acknowledged",
			 lba, oldest);
		return false;
	}
	if (le32toh(s->gen) >= oldest && le32toh(s->gen) <= newest)
		return true;
	snprintf(why, len, "LBA %" PRIu64 ": generation %u, but %u..%u is right", lba,
		 le32toh(s->gen), oldest, newest);
	return false;
}

bool verify_read_end(struct verify *v, uint64_t unit, uint32_t oldest, const struct request *req,
		     char *why, size_t len)
{
	uint64_t lba = v->first_lba + unit * v->lbas_per_unit;
	uint32_t newest = v->table[unit].issued;

	for (uint32_t i = 0; i < v->lbas_per_unit; i++) {
		if (!block_check(v, block_of(v, req, i), lba + i, oldest, newest, why, len))
			return false;
		v->blocks_checked += oldest != 0;
	}
	return true;
}
