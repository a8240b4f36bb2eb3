/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be on the namespace: every logical block that we write carries its own address, a
 * generation and a CRC; a table in memory knows, per I/O-sized unit, which generation was last
 * acknowledged and which was last issued. A read may return any generation from the one
 * acknowledged when the read was issued up to the one last issued when it completes; each logical
 * block for itself, since only one block is written atomically.
 *
 * At most one write per unit is out at a time: what two overlapping ones leave is anybody's guess.
 * The caller sees to that, by claims. One thread only.
 */
#ifndef BENCH_VERIFY_H
#define BENCH_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/request.h"

struct verify_unit {
	uint32_t acked;
	uint32_t issued : 31;
	uint32_t claimed : 1;
};

struct verify {
	uint64_t run;	    /* distinguishes our stamps from those of earlier runs */
	uint64_t first_lba; /* of unit 0 */
	uint32_t lba_size, lbas_per_unit;
	uint64_t units;
	uint64_t blocks_checked;
	struct verify_unit *table;
};

/* 0, or -ENOMEM; lba_size is at most SEG_SIZE. */
int verify_init(struct verify *v, uint64_t run, uint64_t first_lba, uint64_t units,
		uint32_t lbas_per_unit, uint32_t lba_size);
void verify_fini(struct verify *v);

static inline bool verify_claimed(const struct verify *v, uint64_t unit)
{
	return v->table[unit].claimed;
}

static inline void verify_claim(struct verify *v, uint64_t unit, bool claimed)
{
	v->table[unit].claimed = claimed;
}

static inline bool verify_written(const struct verify *v, uint64_t unit)
{
	return v->table[unit].issued != 0;
}

/* Stamps the next generation of @unit into the request's data. */
void verify_write_begin(struct verify *v, uint64_t unit, struct request *req);
/* A write that failed may or may not be there: both are accepted from then on. */
void verify_write_end(struct verify *v, uint64_t unit, bool ok);

/* What verify_read_end() needs: the oldest generation that the read may return. */
uint32_t verify_read_begin(const struct verify *v, uint64_t unit);
/*
 * True when the data is right. Of units that this run has not written only stamps of earlier runs
 * can be checked, for their address and CRC. Else *why tells, in @len bytes.
 */
bool verify_read_end(struct verify *v, uint64_t unit, uint32_t oldest, const struct request *req,
		     char *why, size_t len);

#endif
