/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is being read and written right now, by page, over all queues of a namespace. A block must
 * never be seen half written (NVM command set 1.0, 2.1.4: AWUN is one block at least), and the page
 * cache does not promise that: a read copies out of a page while a write copies into it.
 *
 * A command claims all pages of its extent or none, and does not wait while it holds any, so there
 * is no deadlock. Pages share counters by hash; that costs a wait now and then, never a mistake.
 */
#include "transport/file.h"

#define PAGE_SHIFT 12
#define WRITER	   (1u << 31)
/* A writer was refused: no new readers, or they could keep it out for ever. */
#define WANTED (1u << 30)
/* Below: the number of readers. */

static atomic_uint *counter(struct file_ns *ns, uint64_t page)
{
	return &ns->claims[page % FILE_CLAIMS];
}

static bool take_shared(atomic_uint *c)
{
	unsigned v = atomic_load_explicit(c, memory_order_relaxed);

	do {
		if (v & (WRITER | WANTED))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(c, &v, v + 1, memory_order_acquire,
							memory_order_relaxed));
	return true;
}

static bool take_exclusive(atomic_uint *c)
{
	unsigned v = atomic_load_explicit(c, memory_order_relaxed);

	do {
		if (v & ~WANTED)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(c, &v, WRITER, memory_order_acquire,
							memory_order_relaxed));
	return true;
}

static void give_back(struct file_ns *ns, const struct file_claim *k, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++) {
		if (k->writes)
			atomic_fetch_and_explicit(counter(ns, k->page + i), ~WRITER,
						  memory_order_release);
		else
			atomic_fetch_sub_explicit(counter(ns, k->page + i), 1,
						  memory_order_release);
	}
}

static void want(struct file_ns *ns, struct file_claim *k, uint64_t page)
{
	k->wants = true;
	k->wanted = page;
	atomic_fetch_or_explicit(counter(ns, page), WANTED, memory_order_relaxed);
}

/* Other writers that want the same say so again when they try again. */
static void want_no_more(struct file_ns *ns, struct file_claim *k)
{
	if (k->wants)
		atomic_fetch_and_explicit(counter(ns, k->wanted), ~WANTED, memory_order_relaxed);
	k->wants = false;
}

bool file_claim_take(struct file_ns *ns, struct file_claim *k, uint64_t pos, uint64_t len)
{
	uint64_t pages = ((pos + len - 1) >> PAGE_SHIFT) - (pos >> PAGE_SHIFT) + 1;

	want_no_more(ns, k);
	k->page = pos >> PAGE_SHIFT;
	if (pages > FILE_CLAIMS)
		pages = FILE_CLAIMS;
	for (uint64_t i = 0; i < pages; i++) {
		atomic_uint *c = counter(ns, k->page + i);

		if (k->writes ? take_exclusive(c) : take_shared(c))
			continue;
		give_back(ns, k, i);
		if (k->writes)
			want(ns, k, k->page + i);
		return false;
	}
	k->pages = (uint32_t)pages;
	return true;
}

void file_claim_drop(struct file_ns *ns, struct file_claim *k)
{
	want_no_more(ns, k);
	give_back(ns, k, k->pages);
	k->pages = 0;
}
