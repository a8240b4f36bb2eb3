/* SPDX-License-Identifier: Apache-2.0 */
/* Get Log Page (Base 2.0, 5.16). Each page is written from its start; what the host wants is kept.
 */
#include <string.h>

#include "gateway/admin.h"
#include "gateway/io.h"

#define DW10_RAE     (1u << 15)
#define DW14_OT	     (1u << 23)
#define ANA_RGO	     0x1u /* of LSP */
#define DATA_UNIT    (512u * 1000)
#define TEMPERATURE  300u /* kelvin; there is no sensor, and 0 would look like a broken one */
#define SPARE_ALL    100u
#define SPARE_THRESH 10u
#define LSUPP	     0x1u
#define NS_PER_HOUR  (3600 * NSEC_PER_SEC)

void log_put(struct log_out *o, const void *src, uint64_t n)
{
	uint64_t end = o->pos + n, want = o->from + o->len;
	uint64_t from = o->pos > o->from ? o->pos : o->from;
	uint64_t to = end < want ? end : want;

	if (src && from < to)
		request_copy_in(o->req, (uint32_t)(from - o->from),
				(const uint8_t *)src + (from - o->pos), (uint32_t)(to - from));
	o->pos = end;
}

/* ---- error information ---- */

static void put_error(const struct controller *c, struct log_out *o, const struct error_entry *e)
{
	struct nvme_error_log_page page = {
		.error_count = htole64(e->count),
		.sqid = htole16(e->sqid),
		.cmdid = htole16(e->cid),
		.status_field = htole16((uint16_t)(e->status << 1)),
		.parm_error_location = htole16(0xffff), /* not said */
		.lba = htole64(e->lba),
		.nsid = htole32(e->nsid),
		.trtype = c->admin->qp->tr->trtype,
	};

	log_put(o, &page, sizeof(page));
}

static void log_errors(struct controller *c, struct log_out *o, uint8_t lsp)
{
	uint64_t n = c->errors < CTRL_ERROR_ENTRIES ? c->errors : CTRL_ERROR_ENTRIES;

	for (uint64_t i = 0; i < n; i++)
		put_error(c, o, &c->error_log[(c->errors - i) % CTRL_ERROR_ENTRIES]);
	log_put(o, NULL, (CTRL_ERROR_ENTRIES - n) * sizeof(struct nvme_error_log_page));
}

/* ---- SMART / health ---- */

static void put_128(uint8_t field[16], uint64_t value)
{
	value = htole64(value);
	memcpy(field, &value, sizeof(value));
}

static void log_smart(struct controller *c, struct log_out *o, uint8_t lsp)
{
	struct nvme_smart_log s = {
		.temperature = {TEMPERATURE & 0xff, TEMPERATURE >> 8},
		.avail_spare = SPARE_ALL,
		.spare_thresh = SPARE_THRESH,
	};
	const struct gateway *gw = c->ss->gw;
	struct io_totals t;

	subsystem_io_totals(c->ss, &t);
	put_128(s.data_units_read, (t.read_bytes + DATA_UNIT - 1) / DATA_UNIT);
	put_128(s.data_units_written, (t.write_bytes + DATA_UNIT - 1) / DATA_UNIT);
	put_128(s.host_reads, t.reads);
	put_128(s.host_writes, t.writes);
	put_128(s.power_on_hours, (loop_now(gw->control) - gw->started) / NS_PER_HOUR);
	put_128(s.num_err_log_entries, c->errors);
	log_put(o, &s, sizeof(s));
}

/* ---- firmware slots ---- */

static void log_firmware(struct controller *c, struct log_out *o, uint8_t lsp)
{
	struct nvme_firmware_slot fw = {.afi = 1};

	ascii_field(fw.frs[0], sizeof(fw.frs[0]), NVMEGW_VERSION);
	log_put(o, &fw, sizeof(fw));
}

/* ---- changed namespaces ---- */

static bool is_listed(const struct controller *c, uint32_t nsid)
{
	return c->listed_ns[nsid / 64] & 1ull << nsid % 64;
}

/*
 * A host may read the list in pieces, which have to be of one: what changes after its start has
 * been read is in the next one.
 */
static void log_changed_ns(struct controller *c, struct log_out *o, uint8_t lsp)
{
	uint32_t list[SUBSYS_MAX_NSID] = {0};
	unsigned n = 0;

	for (unsigned i = 0; !o->from && i < CTRL_NS_WORDS; i++) {
		c->listed_ns[i] |= c->changed_ns[i];
		c->changed_ns[i] = 0;
	}
	for (uint32_t nsid = 1; nsid <= SUBSYS_MAX_NSID; nsid++)
		if (is_listed(c, nsid))
			list[n++] = htole32(nsid);
	log_put(o, list, sizeof(list));
}

static void clear_changed_ns(struct controller *c)
{
	bool more = false;

	memset(c->listed_ns, 0, sizeof(c->listed_ns));
	for (unsigned i = 0; i < CTRL_NS_WORDS; i++)
		more |= c->changed_ns[i];
	if (more)
		aer_raise(c, AEN_NS);
}

/* ---- commands supported and effects ---- */

static void log_effects(struct controller *c, struct log_out *o, uint8_t lsp)
{
	struct nvme_cmd_effects_log e = {0};

	for (unsigned i = 0; i < 256; i++) {
		e.acs[i] = htole32(admin_effects(c, (uint8_t)i));
		if (!controller_is_discovery(c))
			e.iocs[i] = htole32(io_effects((uint8_t)i, c->limits.oncs));
	}
	log_put(o, &e, sizeof(e));
}

/* ---- asymmetric namespace access ---- */

static void put_group(const struct subsystem *ss, struct log_out *o, const struct head *h,
		      bool groups_only)
{
	struct nvme_ana_group_desc d = {
		.grpid = htole32(h->nsid),
		.nnsids = htole32(groups_only ? 0 : 1),
		.chgcnt = htole64(ss->ana_group_changes[h->nsid]),
		.state = h->ana_state,
	};
	uint32_t nsid = htole32(h->nsid);

	log_put(o, &d, sizeof(d));
	if (!groups_only)
		log_put(o, &nsid, sizeof(nsid));
}

static void log_ana(struct controller *c, struct log_out *o, uint8_t lsp)
{
	const struct subsystem *ss = c->ss;
	struct nvme_ana_log hdr = {.chgcnt = htole64(ss->ana_changes)};
	const struct head *h;
	uint16_t n = 0;

	TAILQ_FOREACH(h, &ss->mp->heads, link)
		n++;
	hdr.ngrps = htole16(n);
	log_put(o, &hdr, sizeof(hdr));
	TAILQ_FOREACH(h, &ss->mp->heads, link)
		put_group(ss, o, h, lsp & ANA_RGO);
	/* Hosts read as much as there can be (MNAN, NANAGRPID), in pieces. */
	log_put(o, NULL,
		(ss->max_nsid - n) * (sizeof(struct nvme_ana_group_desc) + sizeof(uint32_t)));
}

static void log_discovery(struct controller *c, struct log_out *o, uint8_t lsp)
{
	discovery_log(c, o);
}

/* ---- the table ---- */

static void log_supported(struct controller *c, struct log_out *o, uint8_t lsp);

static const struct {
	uint8_t kinds;
	void (*write)(struct controller *c, struct log_out *o, uint8_t lsp);
} pages[256] = {
	[NVME_LOG_LID_SUPPORTED_LOG_PAGES] = {FOR_BOTH, log_supported},
	[NVME_LOG_LID_ERROR] = {FOR_BOTH, log_errors},
	[NVME_LOG_LID_SMART] = {FOR_IO, log_smart},
	[NVME_LOG_LID_FW_SLOT] = {FOR_IO, log_firmware},
	[NVME_LOG_LID_CHANGED_NS] = {FOR_IO, log_changed_ns},
	[NVME_LOG_LID_CMD_EFFECTS] = {FOR_BOTH, log_effects},
	[NVME_LOG_LID_ANA] = {FOR_IO, log_ana},
	[NVME_LOG_LID_DISCOVER] = {FOR_DISC, log_discovery},
};

static void log_supported(struct controller *c, struct log_out *o, uint8_t lsp)
{
	struct nvme_supported_log_pages s = {0};

	for (unsigned i = 0; i < 256; i++)
		if (pages[i].kinds & admin_kind(c))
			s.lid_support[i] = htole32(LSUPP);
	log_put(o, &s, sizeof(s));
}

/* ---- the command ---- */

uint32_t log_page_len(const struct nvme_sqe *sqe)
{
	uint64_t numd = (uint64_t)(le32toh(sqe->cdw11) & 0xffff) << 16 | le32toh(sqe->cdw10) >> 16;
	uint64_t len = (numd + 1) * 4;

	return len > UINT32_MAX ? UINT32_MAX : (uint32_t)len;
}

static uint16_t check(const struct controller *c, const struct nvme_sqe *sqe, uint64_t lpo)
{
	uint8_t lid = le32toh(sqe->cdw10) & 0xff;
	uint32_t nsid = le32toh(sqe->nsid);

	if (!(pages[lid].kinds & admin_kind(c)))
		return NVME_STATUS(1, NVME_SC_INVALID_LOG_PAGE) | NVME_DNR;
	/* No page is of one namespace, and none is read by index. */
	if ((nsid && nsid != NVME_NSID_ALL) || (le32toh(sqe->cdw14) & DW14_OT) || (lpo & 3))
		return NVME_ST_INVALID_FIELD;
	if (lid == NVME_LOG_LID_CMD_EFFECTS && le32toh(sqe->cdw14) >> 24 != NVME_CSI_NVM)
		return NVME_ST_INVALID_FIELD;
	return 0;
}

/* Reading a page whole or in part, without RAE, clears the events that point to it. */
static void clear_events(struct controller *c, uint8_t lid)
{
	aer_log_read(c, lid);
	if (lid == NVME_LOG_LID_CHANGED_NS)
		clear_changed_ns(c);
}

uint16_t log_page_run(struct controller *c, struct request *req)
{
	const struct nvme_sqe *sqe = &req->sqe;
	uint32_t dw10 = le32toh(sqe->cdw10);
	uint8_t lid = dw10 & 0xff;
	struct log_out o = {
		.req = req,
		.from = (uint64_t)le32toh(sqe->cdw13) << 32 | le32toh(sqe->cdw12),
		.len = req->data_len,
	};
	uint16_t status = check(c, sqe, o.from);

	if (status)
		return status;
	pages[lid].write(c, &o, dw10 >> 8 & 0x7f);
	if (o.from > o.pos)
		return NVME_ST_INVALID_FIELD;
	if (!(dw10 & DW10_RAE))
		clear_events(c, lid);
	return 0;
}
