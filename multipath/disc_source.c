/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upstreams by discovery: the log of a discovery controller names them. A source that cannot be
 * reached keeps what it named before; only a log that was read whole removes anything, and only
 * what no other source names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "multipath/control.h"
#include "transport/log.h"
#include "transport/request.h"

#define ENTRY_SIZE 1024u /* of the header too (Base 2.0 figures 264 and 265) */
#define CHUNK	   4096u
#define MAX_LOG	   (1024 * ENTRY_SIZE)
/* Before a log is read anew that has changed while it was read: it may be one that always does. */
#define PAUSE (100 * NSEC_PER_MSEC)

static uint64_t log_field(const struct assoc *a, size_t off)
{
	uint64_t v;

	memcpy(&v, a->disc_log + off, sizeof(v));
	return le64toh(v);
}

/* A text field of an entry: padded with spaces or zeroes, not necessarily terminated. */
static void text(char *to, size_t size, const char *from, size_t len)
{
	while (len && (from[len - 1] == ' ' || from[len - 1] == 0))
		len--;
	if (len >= size)
		len = size - 1;
	memcpy(to, from, len);
	to[len] = 0;
}

static struct upstream *find(struct mp_subsys *ss, const struct upstream_config *cfg)
{
	struct upstream *up;

	TAILQ_FOREACH(up, &ss->upstreams, link)
		if (!up->cfg.discovery && up->cfg.transport == cfg->transport &&
		    addr_equal(&up->cfg.addr, &cfg->addr) && !strcmp(up->cfg.nqn, cfg->nqn))
			return up;
	return NULL;
}

/* Named by its address, which several subsystems may be behind, under one port ID too. */
static struct upstream *add(struct upstream *source, struct upstream_config *cfg, unsigned portid)
{
	char where[ADDR_STR_MAX], base[52];
	struct upstream *up;

	snprintf(base, sizeof(base), "%.10s/%.40s", source->cfg.name, addr_str(&cfg->addr, where));
	strcpy(cfg->name, base);
	up = upstream_add(source->ss, cfg);
	for (unsigned n = 1; !up && n <= MAX_LOG / ENTRY_SIZE; n++) {
		if (n == 1)
			snprintf(cfg->name, sizeof(cfg->name), "%s#%u", base, portid);
		else
			snprintf(cfg->name, sizeof(cfg->name), "%s#%u.%u", base, portid, n);
		up = upstream_add(source->ss, cfg);
	}
	if (!up)
		log_warn("upstream %s: too many subsystems behind %s", source->cfg.name, where);
	return up;
}

/* ---- which sources name an upstream ---- */

struct naming {
	TAILQ_ENTRY(naming) link; /* in upstream->namings */
	struct upstream *source;
	uint32_t seen; /* the reading of its log that named the upstream last */
};

static struct naming *naming_by(const struct upstream *up, const struct upstream *source)
{
	struct naming *n;

	TAILQ_FOREACH(n, &up->namings, link)
		if (n->source == source)
			return n;
	return NULL;
}

static void name(struct upstream *up, struct upstream *source)
{
	struct naming *n = naming_by(up, source);

	if (!n) {
		n = calloc(1, sizeof(*n));
		if (!n)
			abort();
		n->source = source;
		TAILQ_INSERT_TAIL(&up->namings, n, link);
	}
	n->seen = source->readings;
}

static void forget(struct upstream *up, struct naming *n)
{
	TAILQ_REMOVE(&up->namings, n, link);
	free(n);
}

/* It goes to another source, if there is one, and goes on. */
static void unname(struct upstream *up, struct naming *n)
{
	const struct upstream *source = n->source;

	forget(up, n);
	if (up->source != source)
		return;
	n = TAILQ_FIRST(&up->namings);
	if (n)
		upstream_take_source(up, n->source);
	else
		upstream_remove(up);
}

void disc_source_gone(struct upstream *source)
{
	struct upstream *up, *next;
	struct naming *n;

	for (up = TAILQ_FIRST(&source->ss->upstreams); up; up = next) {
		next = TAILQ_NEXT(up, link);
		n = naming_by(up, source);
		if (n)
			unname(up, n);
	}
}

void disc_forget_namings(struct upstream *up)
{
	while (!TAILQ_EMPTY(&up->namings))
		forget(up, TAILQ_FIRST(&up->namings));
}

/* ---- the log ---- */

static bool take_entry(struct upstream *source, const struct nvmf_disc_log_entry *e)
{
	struct upstream_config cfg = source->cfg;
	char traddr[NVMF_TRADDR_SIZE + 1], trsvcid[NVMF_TRSVCID_SIZE + 1];
	struct upstream *up;

	if (e->subtype != NVME_NQN_NVME || e->trtype != cfg.transport->trtype)
		return false;
	text(traddr, sizeof(traddr), e->traddr, sizeof(e->traddr));
	text(trsvcid, sizeof(trsvcid), e->trsvcid, sizeof(e->trsvcid));
	text(cfg.nqn, sizeof(cfg.nqn), e->subnqn, sizeof(e->subnqn));
	cfg.discovery = false;
	if (addr_parse(&cfg.addr, traddr, trsvcid) || !cfg.nqn[0]) {
		log_warn("upstream %s: discovery log entry with a bad address: %s:%s",
			 source->cfg.name, traddr, trsvcid);
		return false;
	}
	up = find(source->ss, &cfg);
	if (!up) {
		up = add(source, &cfg, le16toh(e->portid));
		if (!up)
			return false;
		up->source = source;
	}
	if (up->source) /* else it is configured, whatever logs say */
		name(up, source);
	return true;
}

static void apply(struct assoc *a)
{
	const struct nvmf_disc_log_entry *e = (const void *)(a->disc_log + ENTRY_SIZE);
	size_t n = a->disc_len / ENTRY_SIZE - 1;
	struct upstream *source = a->up, *up, *next;
	struct naming *naming;
	unsigned taken = 0;

	source->readings++;
	for (size_t i = 0; i < n; i++)
		taken += take_entry(source, &e[i]);
	for (up = TAILQ_FIRST(&source->ss->upstreams); up; up = next) {
		next = TAILQ_NEXT(up, link);
		naming = naming_by(up, source);
		if (naming && naming->seen != source->readings)
			unname(up, naming);
	}
	assoc_disc_read(a, taken);
}

static void read_log(struct assoc *a, uint32_t len, admin_fn fn)
{
	struct nvme_sqe sqe = {.opcode = nvme_admin_get_log_page};

	sqe.cdw10 = htole32((len / 4 - 1) << 16 | NVME_LOG_LID_DISCOVER);
	sqe.cdw12 = htole32((uint32_t)a->disc_pos);
	admin_send(a, &sqe, len, a->up->cfg.connect_timeout, fn);
}

static void on_pause(void *arg)
{
	disc_start(arg);
}

static void read_later(struct assoc *a)
{
	if (!a->disc_pause.fn)
		loop_timer_init(&a->disc_pause, a->up->ss->mp->control, on_pause, a);
	loop_timer_arm(&a->disc_pause, PAUSE);
}

static void on_recheck(struct assoc *a, struct request *req, uint16_t status)
{
	uint64_t genctr = 0;

	a->disc_busy = false;
	if (status) {
		assoc_fail(a, false, "reading the discovery log failed: %s",
			   admin_status_str(status));
		return;
	}
	request_copy_out(req, 0, &genctr, sizeof(genctr));
	if (le64toh(genctr) != log_field(a, 0) || a->disc_again)
		read_later(a);
	else
		apply(a);
}

static void read_entries(struct assoc *a);

static void on_entries(struct assoc *a, struct request *req, uint16_t status)
{
	if (status) {
		assoc_fail(a, false, "reading the discovery log failed: %s",
			   admin_status_str(status));
		return;
	}
	request_copy_out(req, 0, a->disc_log + a->disc_pos, req->data_len);
	a->disc_pos += req->data_len;
	read_entries(a);
}

static void read_entries(struct assoc *a)
{
	uint32_t len = CHUNK;

	if (a->disc_pos == a->disc_len) {
		a->disc_pos = 0;
		read_log(a, ENTRY_SIZE, on_recheck);
		return;
	}
	if (a->disc_len - a->disc_pos < len)
		len = (uint32_t)(a->disc_len - a->disc_pos);
	read_log(a, len, on_entries);
}

static void on_header(struct assoc *a, struct request *req, uint16_t status)
{
	uint64_t numrec;

	if (status) {
		assoc_fail(a, false, "reading the discovery log failed: %s",
			   admin_status_str(status));
		return;
	}
	request_copy_out(req, 0, a->disc_log, ENTRY_SIZE);
	numrec = log_field(a, 8);
	if (numrec >= MAX_LOG / ENTRY_SIZE) {
		assoc_fail(a, false, "the discovery log claims %llu entries",
			   (unsigned long long)numrec);
		return;
	}
	a->disc_len = (numrec + 1) * ENTRY_SIZE;
	a->disc_log = realloc(a->disc_log, a->disc_len);
	if (!a->disc_log)
		abort();
	a->disc_pos = ENTRY_SIZE;
	read_entries(a);
}

void disc_start(struct assoc *a)
{
	a->disc_again = a->disc_busy;
	if (a->disc_busy || a->dead)
		return;
	a->disc_busy = true;
	a->disc_pos = 0;
	a->disc_log = realloc(a->disc_log, ENTRY_SIZE);
	if (!a->disc_log)
		abort();
	read_log(a, ENTRY_SIZE, on_header);
}
