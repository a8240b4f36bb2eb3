/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the ANA log of an upstream, and what its groups' states mean for our paths. */
#include <stdlib.h>
#include <string.h>

#include "multipath/control.h"
#include "transport/log.h"
#include "transport/request.h"

#define CHUNK	     4096u
#define LOG_MAX	     (16u << 20)
#define RAE	     (1u << 15)		   /* Retain Asynchronous Event */
#define REREAD_DELAY (100 * NSEC_PER_MSEC) /* between readings that failing commands ask for */
#define TRIES	     4			   /* in a row, of a log that changes while it is read */

bool assoc_has_ana(const struct assoc *a)
{
	return a->id.cmic & NVME_CTRL_CMIC_MULTI_ANA_REPORTING;
}

struct group {
	uint32_t id;
	uint8_t state;
};

struct groups {
	struct group *g;
	unsigned n;
};

static void take_group(void *arg, uint32_t grpid, uint8_t state, uint64_t chgcnt)
{
	struct groups *groups = arg;

	groups->g[groups->n++] = (struct group){grpid, state};
}

static int by_id(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* A namespace whose group the log does not name may not be used. */
static uint8_t state_of(const struct groups *groups, uint32_t grpid)
{
	struct group key = {.id = grpid}, *g;

	g = bsearch(&key, groups->g, groups->n, sizeof(*g), by_id);
	return g ? g->state : NVME_ANA_STATE_INACCESSIBLE;
}

/* Only the namespaces that moved cost anything, and all of them one message per worker. */
static void apply_groups(struct assoc *a, const struct groups *groups)
{
	struct rank_batch batch = {.mp = a->up->ss->mp};
	struct path *p;

	TAILQ_FOREACH(p, &a->up->paths, up_link) {
		uint8_t state = groups ? state_of(groups, p->anagrpid) : NVME_ANA_STATE_OPTIMIZED;

		log_debug(ANA, "%s/%u: group %u is %s, was %s", a->up->cfg.name, p->nsid,
			  p->anagrpid, ana_state_name(state), ana_state_name(p->ana_state));
		if (state == p->ana_state && !p->suspect)
			continue;
		if (state != p->ana_state) {
			p->ana_state = state;
			path_note(p, PATH_CHANGE_ANA);
		}
		if (p->head)
			rank_batch_add(&batch, p);
		else
			path_tell(p);
	}
	rank_batch_publish(&batch);
}

static void apply(struct assoc *a)
{
	struct groups groups = {0};
	const char *reason;

	groups.g = calloc(a->ana_len / sizeof(struct nvme_ana_group_desc) + 1, sizeof(*groups.g));
	if (!groups.g)
		abort();
	if (ana_parse(a->ana_log, a->ana_len, le32toh(a->id.anagrpmax), take_group, &groups,
		      &reason)) {
		assoc_fail(a, false, "%s", reason);
	} else {
		qsort(groups.g, groups.n, sizeof(*groups.g), by_id);
		apply_groups(a, &groups);
	}
	free(groups.g);
}

static void done(struct assoc *a)
{
	a->ana_busy = false;
	a->ana_read_at = loop_now(a->up->ss->mp->control);
	apply(a);
	if (a->dead)
		return;
	assoc_ana_read(a);
	if (a->ana_again && !a->dead)
		ana_start(a);
}

static void read_part(struct assoc *a, uint32_t len, bool keeps_event, admin_fn fn)
{
	struct nvme_sqe sqe = {.opcode = nvme_admin_get_log_page};

	sqe.nsid = htole32(NVME_NSID_ALL);
	/* NUMDL in the upper half, 0's based dwords */
	sqe.cdw10 = htole32((len / 4 - 1) << 16 | (keeps_event ? RAE : 0) | NVME_LOG_LID_ANA);
	sqe.cdw12 = htole32((uint32_t)a->ana_pos);
	admin_send(a, &sqe, len, a->up->cfg.connect_timeout, fn);
}

static void read_whole(struct assoc *a);
static void read_later(struct assoc *a);

static uint64_t change_count(const uint8_t *log)
{
	struct nvme_ana_log hdr;

	memcpy(&hdr, log, sizeof(hdr));
	return le64toh(hdr.chgcnt);
}

static bool failed(struct assoc *a, uint16_t status)
{
	if (status)
		assoc_fail(a, false, "reading the ANA log failed: %s", admin_status_str(status));
	return status;
}

static void on_recheck(struct assoc *a, struct request *req, uint16_t status)
{
	uint8_t hdr[sizeof(struct nvme_ana_log)];

	if (failed(a, status))
		return;
	request_copy_out(req, 0, hdr, sizeof(hdr));
	if (change_count(hdr) == change_count(a->ana_log)) {
		done(a);
	} else if (++a->ana_tries < TRIES) {
		read_whole(a);
	} else {
		a->ana_busy = false;
		read_later(a);
	}
}

static void read_chunk(struct assoc *a);

static void on_chunk(struct assoc *a, struct request *req, uint16_t status)
{
	if (failed(a, status))
		return;
	request_copy_out(req, 0, a->ana_log + a->ana_pos, req->data_len);
	a->ana_pos += req->data_len;
	if (a->ana_pos < a->ana_len) {
		read_chunk(a);
	} else if (a->ana_len <= CHUNK) {
		done(a);
	} else {
		a->ana_pos = 0;
		read_part(a, sizeof(struct nvme_ana_log), false, on_recheck);
	}
}

/*
 * A log of several chunks may change between them. So the event stays as it is until the change
 * count has been read once more: a change before that shows there, and one after that is told.
 */
static void read_chunk(struct assoc *a)
{
	size_t left = a->ana_len - a->ana_pos;

	read_part(a, left < CHUNK ? (uint32_t)left : CHUNK, a->ana_len > CHUNK, on_chunk);
}

static void read_whole(struct assoc *a)
{
	a->ana_pos = 0;
	read_chunk(a);
}

void ana_start(struct assoc *a)
{
	uint64_t len;

	if (!assoc_has_ana(a)) {
		apply_groups(a, NULL);
		assoc_ana_read(a);
		return;
	}
	a->ana_again = a->ana_busy;
	if (a->ana_busy)
		return;
	len = sizeof(struct nvme_ana_log) +
	      (uint64_t)le32toh(a->id.nanagrpid) * sizeof(struct nvme_ana_group_desc) +
	      4ull * le32toh(a->id.mnan ? a->id.mnan : a->id.nn);
	if (len > LOG_MAX) {
		assoc_fail(a, false, "the controller claims an ANA log of %llu bytes",
			   (unsigned long long)len);
		return;
	}
	if (a->ana_len != len) {
		free(a->ana_log);
		a->ana_log = malloc(len);
		if (!a->ana_log)
			abort();
		a->ana_len = len;
	}
	a->ana_tries = 0;
	a->ana_busy = true;
	read_whole(a);
}

static void on_delay(void *arg)
{
	ana_start(arg);
}

static void read_later(struct assoc *a)
{
	if (!a->ana_delay.fn)
		loop_timer_init(&a->ana_delay, a->up->ss->mp->control, on_delay, a);
	if (!a->ana_delay.armed)
		loop_timer_arm(&a->ana_delay, REREAD_DELAY);
}

void assoc_suspect(struct assoc *a)
{
	uint64_t now = loop_now(a->up->ss->mp->control);

	if (a->ana_delay.armed)
		return;
	if (assoc_has_ana(a) && now - a->ana_read_at >= REREAD_DELAY)
		ana_start(a);
	else
		read_later(a);
}
