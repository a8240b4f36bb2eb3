/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold. Every write leaves its own number in its blocks, so a read tells which write it
 * saw. A write takes effect once or more between its submission and its answer (a retry may repeat
 * it), and one that was answered with an error may take effect until it is overwritten. Hence, for
 * each block, a read that returned what write W left is wrong
 *
 * - if W was submitted only after the read was over;
 * - if another write was submitted after W was answered, and was acknowledged before the read;
 * - if an earlier read saw something else although W had been acknowledged before that read.
 *
 * What is on the media in the end is read once more by the same rules. And a Flush that succeeds
 * must have been preceded, on the controller of each write acknowledged before it, by a Flush
 * there, unless that association has been lost: then the write cache is the others' too.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define NEVER UINT64_MAX

struct seen {
	uint64_t inv, resp;
	uint32_t value;
};

struct block {
	struct sim_op **writes; /* acknowledged ones */
	unsigned nr_writes, size_writes;
	struct seen *reads;
	unsigned nr_reads, size_reads;
};

static struct block blocks[SIM_NAMESPACES][SIM_BLOCKS];
static struct sim_op **ops; /* by number - 1 */
static unsigned nr_ops, size_ops;

static void *grow(void *p, unsigned n, unsigned *size, size_t item)
{
	if (n < *size)
		return p;
	*size = *size ? 2 * *size : 16;
	p = realloc(p, *size * item);
	if (!p)
		abort();
	return p;
}

struct sim_op *sim_check_new(void)
{
	struct sim_op *op = calloc(1, sizeof(*op));

	if (!op)
		abort();
	ops = grow(ops, nr_ops, &size_ops, sizeof(ops[0]));
	ops[nr_ops++] = op;
	op->id = nr_ops;
	op->inv = sim_now;
	op->acked_by = -1;
	return op;
}

struct sim_op *sim_check_op(uint32_t id)
{
	return id >= 1 && id <= nr_ops ? ops[id - 1] : NULL;
}

static bool covers(const struct sim_op *op, unsigned ns, unsigned lba)
{
	return op->ns == ns && lba >= op->slba && lba < op->slba + op->n;
}

static bool changes(const struct sim_op *op)
{
	return op->kind == SIM_WRITE || op->kind == SIM_ZEROES;
}

/* Was @w, or the initial zero for NULL, certainly overwritten before @when? By which? */
static const struct sim_op *overwritten(const struct block *b, const struct sim_op *w,
					uint64_t when)
{
	uint64_t end = w ? (w->resp ? w->resp : NEVER) : 0;

	for (unsigned i = b->nr_writes; i-- > 0;) {
		const struct sim_op *o = b->writes[i];

		if (o != w && o->inv > end && o->resp < when)
			return o;
	}
	return NULL;
}

/* A value that several commands leave (zero): right if it can be that of any of them. */
static bool zero_possible(const struct block *b, unsigned ns, unsigned lba, uint64_t inv,
			  uint64_t resp)
{
	if (!overwritten(b, NULL, inv))
		return true;
	for (unsigned i = 0; i < nr_ops; i++)
		if (ops[i]->kind == SIM_ZEROES && covers(ops[i], ns, lba) && ops[i]->inv < resp &&
		    !overwritten(b, ops[i], inv))
			return true;
	return false;
}

static void check_value(unsigned ns, unsigned lba, uint32_t value, uint64_t inv, uint64_t resp)
{
	struct block *b = &blocks[ns][lba];
	const struct sim_op *w, *by;

	if (value == SIM_ZERO) {
		if (!zero_possible(b, ns, lba, inv, resp))
			sim_fail("block %u of namespace %u is zero, which was overwritten", lba,
				 ns + 1);
		return;
	}
	w = sim_check_op(value);
	if (!w || w->kind != SIM_WRITE || !covers(w, ns, lba))
		sim_fail("block %u of namespace %u has %u, which nobody wrote there", lba, ns + 1,
			 value);
	if (w->inv >= resp)
		sim_fail("block %u of namespace %u has %u before it was written", lba, ns + 1,
			 value);
	by = overwritten(b, w, inv);
	if (by)
		sim_fail("STALE: block %u of namespace %u has %u, which was overwritten by %u", lba,
			 ns + 1, value, by->id);
	if (!w->ok || !w->resp)
		return;
	for (unsigned i = 0; i < b->nr_reads; i++) {
		const struct seen *r = &b->reads[i];

		if (r->resp < inv && r->value != value && w->resp < r->inv)
			sim_fail("STALE: block %u of namespace %u has %u again, after it had %u",
				 lba, ns + 1, value, r->value);
	}
}

static void note_read(unsigned ns, unsigned lba, uint32_t value, uint64_t inv, uint64_t resp)
{
	struct block *b = &blocks[ns][lba];

	b->reads = grow(b->reads, b->nr_reads, &b->size_reads, sizeof(b->reads[0]));
	b->reads[b->nr_reads++] = (struct seen){inv, resp, value};
}

static void note_write(struct sim_op *op)
{
	for (unsigned i = 0; i < op->n; i++) {
		struct block *b = &blocks[op->ns][op->slba + i];

		b->writes = grow(b->writes, b->nr_writes, &b->size_writes, sizeof(b->writes[0]));
		b->writes[b->nr_writes++] = op;
	}
}

/*
 * Nobody can flush it there any more: the association is lost, the controller has no access, or the
 * namespace was detached; the engine may take a while to see that, and to see that it is back.
 */
static bool out_of_reach(const struct sim_op *w)
{
	const struct sim_ctrl *c = &sim_ctrls[w->acked_by];
	uint64_t detached = c->detached[w->ns];

	return sim_instance_gone(w->acked_instance) ||
	       c->ana_state[w->ns] == NVME_ANA_STATE_INACCESSIBLE ||
	       c->cut_off[w->ns] >= w->executed ||
	       (detached && detached + 2 * NSEC_PER_SEC >= w->executed);
}

static void on_unflushed(void *arg)
{
	const struct sim_op *w = arg;

	if (!out_of_reach(w))
		sim_fail("a flush did not reach controller %d, which acknowledged write %u",
			 w->acked_by + 1, w->id);
}

static void check_flush(const struct sim_op *flush)
{
	for (unsigned i = 0; i < nr_ops; i++) {
		struct sim_op *w = ops[i];

		if (!changes(w) || !w->ok || w->ns != flush->ns || w->resp >= flush->inv)
			continue;
		/* The engine may have given the association up just now: we see that soon. */
		if (sim_ctrls[w->acked_by].flushed[w->ns] <= w->executed && !out_of_reach(w))
			sim_at(sim_now + 50 * NSEC_PER_MSEC, NULL, on_unflushed, w);
	}
}

void sim_check_done(struct sim_op *op, uint16_t status, const uint32_t *values)
{
	if (op->resp)
		sim_fail("command %u was answered twice", op->id);
	op->resp = sim_now;
	op->ok = status == 0;
	if (!op->ok)
		return;
	if (changes(op))
		note_write(op);
	if (op->kind == SIM_FLUSH)
		check_flush(op);
	for (unsigned i = 0; values && i < op->n; i++) {
		check_value(op->ns, op->slba + i, values[i], op->inv, op->resp);
		note_read(op->ns, op->slba + i, values[i], op->inv, op->resp);
	}
}

void sim_check_media(void)
{
	for (unsigned ns = 0; ns < SIM_NAMESPACES; ns++)
		for (unsigned lba = 0; lba < SIM_BLOCKS; lba++)
			check_value(ns, lba, sim_media[ns].value[lba], sim_now, NEVER);
	for (unsigned lba = 0; lba < SIM_BLOCKS; lba++)
		if (sim_media[SIM_NAMESPACES].value[lba])
			sim_fail("a write landed in a namespace that is not exported");
}

void sim_check_init(void)
{
	memset(blocks, 0, sizeof(blocks));
	ops = NULL;
	nr_ops = size_ops = 0;
}

void sim_check_free(void)
{
	for (unsigned ns = 0; ns < SIM_NAMESPACES; ns++)
		for (unsigned lba = 0; lba < SIM_BLOCKS; lba++) {
			free(blocks[ns][lba].writes);
			free(blocks[ns][lba].reads);
		}
	for (unsigned i = 0; i < nr_ops; i++)
		free(ops[i]);
	free(ops);
}
