/* SPDX-License-Identifier: Apache-2.0 */
/* Which namespaces does an upstream show, and what are they: active list, Identify, descriptors. */
#include <stdlib.h>
#include <string.h>

#include "multipath/control.h"
#include "transport/log.h"
#include "transport/request.h"

#define PAGE	  4096u
#define PER_LIST  (PAGE / 4)
#define MAX_NSIDS (64 * PER_LIST)
/*
 * After that and twice as long each time a scan is repeated that missed something: for two minutes,
 * or for as long as hosts are without a path for it.
 */
#define FIRST_RESCAN (500 * NSEC_PER_MSEC)
#define RESCANS	     8

static void identify(struct assoc *a, uint8_t cns, uint32_t nsid, admin_fn fn)
{
	struct nvme_sqe sqe = {.opcode = nvme_admin_identify};

	sqe.nsid = htole32(nsid);
	sqe.cdw10 = htole32(cns);
	admin_send(a, &sqe, PAGE, a->up->cfg.connect_timeout, fn);
}

static void next_namespace(struct assoc *a);
static void start(struct assoc *a);

static void drop_unseen(struct assoc *a)
{
	struct path *p, *next;

	for (p = TAILQ_FIRST(&a->up->paths); p; p = next) {
		unsigned i;

		next = TAILQ_NEXT(p, up_link);
		for (i = 0; i < a->nr_nsids && a->nsids[i] != p->nsid; i++)
			;
		if (i == a->nr_nsids)
			path_remove(p);
	}
}

static void on_rescan(void *arg)
{
	start(arg);
}

/* No event tells that a namespace could say what it is now. */
static void rescan_later(struct assoc *a)
{
	if (a->rescans == RESCANS && !a->scan_owed) {
		log_err("upstream %s: namespaces that could not be identified: not tried again",
			a->up->cfg.name);
		return;
	}
	if (!a->rescan.fn)
		loop_timer_init(&a->rescan, a->up->ss->mp->control, on_rescan, a);
	if (a->rescans < RESCANS)
		a->rescans++;
	loop_timer_arm(&a->rescan, FIRST_RESCAN << (a->rescans - 1));
}

static void finish(struct assoc *a)
{
	drop_unseen(a);
	a->scan_busy = false;
	/* Whatever has changed meanwhile: that may go on for ever, and paths are wanted. */
	assoc_scanned(a);
	if (a->dead)
		return;
	if (a->scan_again)
		scan_start(a);
	else if (a->scan_missed)
		rescan_later(a);
}

static void seen(struct assoc *a, const uint8_t *descs)
{
	struct ns_ident id = {.nsid = a->nsids[a->nsid_pos]};
	const char *reason;

	strcpy(id.subnqn, a->up->cfg.nqn);
	if (ident_parse(&id, &a->idns, descs, descs ? PAGE : 0, &reason)) {
		log_warn("upstream %s: namespace %u: %s", a->up->cfg.name, id.nsid, reason);
		memset(&id, 0, sizeof(id));
		id.nsid = a->nsids[a->nsid_pos];
		id.csi = 0xff; /* refused by path_seen(): nothing is known of it */
	}
	path_seen(a->up, id.nsid, &a->idns, &id);
	a->nsid_pos++;
	next_namespace(a);
}

/*
 * Not for what it is but for once: nothing is learned, and a path that is there stays as it is. One
 * that is not there, or that has not been identified since the connection was made, would have to
 * wait for the next event, so it is asked for again before.
 */
static void not_now(struct assoc *a, const char *what, uint16_t status)
{
	const struct path *p = path_find(a->up, a->nsids[a->nsid_pos]);

	log_warn("upstream %s: %s of namespace %u failed: %s", a->up->cfg.name, what,
		 a->nsids[a->nsid_pos], admin_status_str(status));
	if (p && !p->identified)
		a->scan_owed = true;
	a->scan_missed |= a->scan_owed || !(status & NVME_DNR);
	a->nsid_pos++;
	next_namespace(a);
}

/* Detached between the list and now. */
static void gone(struct assoc *a)
{
	a->nsids[a->nsid_pos] = a->nsids[--a->nr_nsids];
	next_namespace(a);
}

static void on_descs(struct assoc *a, struct request *req, uint16_t status)
{
	uint8_t descs[PAGE];

	switch (nvme_sct_sc(status)) {
	case 0:
		request_copy_out(req, 0, descs, PAGE);
		seen(a, descs);
		break;
	case NVME_SC_INVALID_FIELD: /* optional before NVMe 1.3 */
		seen(a, NULL);
		break;
	case NVME_SC_INVALID_NS:
		gone(a);
		break;
	default:
		not_now(a, "reading the identification descriptors", status);
		break;
	}
}

static void on_idns(struct assoc *a, struct request *req, uint16_t status)
{
	if (!status) {
		request_copy_out(req, 0, &a->idns, sizeof(a->idns));
		if (a->idns.nsze)
			identify(a, NVME_IDENTIFY_CNS_NS_DESC_LIST, a->nsids[a->nsid_pos],
				 on_descs);
		else
			gone(a);
	} else if (nvme_sct_sc(status) == NVME_SC_INVALID_NS) {
		gone(a);
	} else {
		not_now(a, "Identify", status);
	}
}

static void next_namespace(struct assoc *a)
{
	if (a->dead)
		return;
	if (a->nsid_pos == a->nr_nsids)
		finish(a);
	else
		identify(a, NVME_IDENTIFY_CNS_NS, a->nsids[a->nsid_pos], on_idns);
}

static void on_list(struct assoc *a, struct request *req, uint16_t status)
{
	uint32_t list[PER_LIST], last = a->nr_nsids ? a->nsids[a->nr_nsids - 1] : 0;
	unsigned n;

	if (status) {
		assoc_fail(a, false, "reading the namespace list failed: %s",
			   admin_status_str(status));
		return;
	}
	request_copy_out(req, 0, list, PAGE);
	for (n = 0; n < PER_LIST && list[n]; n++) {
		list[n] = le32toh(list[n]);
		if (list[n] <= last || a->nr_nsids + n >= MAX_NSIDS) {
			assoc_fail(a, false, "the namespace list is not ascending, or endless");
			return;
		}
		last = list[n];
	}
	a->nsids = realloc(a->nsids, (a->nr_nsids + n + 1) * sizeof(*a->nsids));
	if (!a->nsids)
		abort();
	memcpy(a->nsids + a->nr_nsids, list, n * sizeof(*list));
	a->nr_nsids += n;
	if (n == PER_LIST)
		identify(a, NVME_IDENTIFY_CNS_NS_ACTIVE_LIST, last, on_list);
	else
		next_namespace(a);
}

/* Reading it re-arms the event that told of the change (Base 2.0, 5.16.1.5) */
static void on_changed_list(struct assoc *a, struct request *req, uint16_t status)
{
	a->nr_nsids = a->nsid_pos = 0;
	identify(a, NVME_IDENTIFY_CNS_NS_ACTIVE_LIST, 0, on_list);
}

static void start(struct assoc *a)
{
	struct nvme_sqe sqe = {.opcode = nvme_admin_get_log_page};

	a->scan_again = a->scan_busy;
	if (a->scan_busy)
		return;
	a->scan_busy = true;
	a->scan_missed = a->scan_owed = false;
	if (a->rescan.armed)
		loop_timer_cancel(&a->rescan);
	sqe.nsid = htole32(NVME_NSID_ALL);
	sqe.cdw10 = htole32((PAGE / 4 - 1) << 16 | NVME_LOG_LID_CHANGED_NS);
	admin_send(a, &sqe, PAGE, a->up->cfg.connect_timeout, on_changed_list);
}

void scan_start(struct assoc *a)
{
	a->rescans = 0;
	start(a);
}
