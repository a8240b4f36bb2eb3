/* SPDX-License-Identifier: Apache-2.0 */
/* Identify (Base 2.0, 5.17; NVM command set 1.0, 4.1.5). */
#include <string.h>

#include "gateway/admin.h"
#include "gateway/io.h"

#define VERSION_2_0   0x20000u
#define KAS	      1u  /* 100 ms units: the granularity of KATO */
#define ANATT	      10u /* s; we never report the state "change" */
#define RAB	      6u
#define IDENTIFY_SIZE 4096u

#define VWC_NO_BROADCAST_FLUSH (2u << 1) /* Flush to NSID FFFFFFFFh is refused */
#define FRMW_ONE_READ_ONLY     0x3u
#define LPA		       (NVME_CTRL_LPA_CMD_EFFECTS | NVME_CTRL_LPA_EXTENDED)
#define OFCS_DISCONNECT	       0x1u

#define DESC_MAX (4 + 16)

void ascii_field(char *dst, size_t len, const char *src)
{
	size_t n = strnlen(src, len);

	memcpy(dst, src, n);
	memset(dst + n, ' ', len - n);
}

/* ---- controller ---- */

/* MDTS counts in powers of two of 4 KiB pages. */
static uint8_t mdts_exponent(uint32_t bytes)
{
	return (uint8_t)(__builtin_ctz(bytes) - 12);
}

/* In-capsule data that every listener takes: a host's queues may come in by any of them. */
static uint32_t in_capsule_data(const struct gateway *gw)
{
	uint32_t least = UINT32_MAX;

	for (unsigned i = 0; i < gw->nr_listeners; i++)
		if (!gw->listeners[i]->removed && gw->listeners[i]->cfg.tgt.in_capsule_data < least)
			least = gw->listeners[i]->cfg.tgt.in_capsule_data;
	return least;
}

/* The descriptor for data outside of the capsule, which each transport has its own of. */
static uint32_t transport_sgls(const struct controller *c)
{
	return c->listener->cfg.transport->trtype == NVMF_TRTYPE_RDMA ? NVME_CTRL_SGLS_KEYED
								      : NVME_CTRL_SGLS_TPORT;
}

static void fabrics_part(const struct controller *c, struct nvme_id_ctrl *id)
{
	uint32_t icd = controller_is_discovery(c) ? 0 : in_capsule_data(c->ss->gw);

	id->sgls = htole32(1 | NVME_CTRL_SGLS_OFFSET | transport_sgls(c));
	strcpy(id->subnqn, c->ss->nqn);
	id->ioccsz = htole32((uint32_t)(sizeof(struct nvme_sqe) + icd) / 16);
	id->iorcsz = htole32(sizeof(struct nvme_cqe) / 16);
	id->msdbd = 1;
	id->ofcs = htole16(OFCS_DISCONNECT);
}

static void io_part(const struct controller *c, struct nvme_id_ctrl *id)
{
	const struct subsys_cfg *cfg = c->ss->cfg;
	uint16_t crdt[3];

	ascii_field(id->sn, sizeof(id->sn), cfg->serial);
	ascii_field(id->mn, sizeof(id->mn), cfg->model);
	id->cmic = NVME_CTRL_CMIC_MULTI_PORT | NVME_CTRL_CMIC_MULTI_CTRL |
		   NVME_CTRL_CMIC_MULTI_ANA_REPORTING;
	id->mdts = mdts_exponent(c->limits.max_transfer);
	id->cntrltype = NVME_CTRL_CNTRLTYPE_IO;
	subsystem_crdt(c->ss, crdt);
	id->crdt1 = htole16(crdt[0]);
	id->crdt2 = htole16(crdt[1]);
	id->crdt3 = htole16(crdt[2]);
	id->anatt = ANATT;
	id->anacap = NVME_CTRL_ANACAP_OPT | NVME_CTRL_ANACAP_NON_OPT |
		     NVME_CTRL_ANACAP_INACCESSIBLE | NVME_CTRL_ANACAP_PERSISTENT_LOSS |
		     NVME_CTRL_ANACAP_CHANGE | NVME_CTRL_ANACAP_GRPID_NO_CHG;
	id->anagrpmax = id->nanagrpid = id->nn = id->mnan = htole32(c->ss->max_nsid);
	id->sqes = 0x66;
	id->cqes = 0x44;
	id->maxcmd = htole16((uint16_t)cfg->max_queue_size);
	/* One bit says both: Save, which no feature here can, and Select. */
	id->oncs = htole16((c->limits.oncs & ~c->limits.bounded) | NVME_CTRL_ONCS_SAVE_FEATURES);
	/* Always: an upstream with a cache may come later, and a host told of none never flushes.
	 */
	id->vwc = VWC_NO_BROADCAST_FLUSH | NVME_CTRL_VWC_PRESENT;
}

static void discovery_part(const struct controller *c, struct nvme_id_ctrl *id)
{
	ascii_field(id->sn, sizeof(id->sn), "discovery");
	ascii_field(id->mn, sizeof(id->mn), "nvmegw");
	id->mdts = mdts_exponent(REQUEST_MAX_DATA);
	id->cntrltype = NVME_CTRL_CNTRLTYPE_DISCOVERY;
	id->maxcmd = htole16(CTRL_ADMIN_QUEUE_MAX);
}

/*
 * What is waiting here leaves with its host, but what is out to an upstream goes on. The fences
 * keep it from doing harm to whatever comes through this gateway; CQT is for those who come by
 * another way, and cannot have this controller reset. Linux does not look at it (6.12).
 */
static uint16_t quiesce_ms(const struct subsystem *ss)
{
	uint64_t ns = mp_subsys_quiesce_time(ss->mp), ms = ns / NSEC_PER_MSEC;

	return ms > UINT16_MAX ? UINT16_MAX : (uint16_t)ms;
}

/* The end of a controller that its host has lost (Base 2.3, 5.4.3; Base 2.1, 3.9). */
static void ending_part(const struct controller *c, struct nvme_id_ctrl *id)
{
	uint64_t cirn = htole64(c->ident.cirn);
	uint16_t cqt = htole16(quiesce_ms(c->ss));
	uint8_t *raw = (uint8_t *)id;

	raw[NVME_ID_CTRL_CIU] = c->ident.ciu;
	memcpy(raw + NVME_ID_CTRL_CIRN, &cirn, sizeof(cirn));
	memcpy(raw + NVME_ID_CTRL_CQT, &cqt, sizeof(cqt));
	raw[NVME_ID_CTRL_CCRL] = CTRL_CCR_LIMIT;
}

static uint16_t id_controller(const struct controller *c, struct request *req)
{
	struct nvme_id_ctrl id = {
		.rab = RAB,
		.cntlid = htole16(c->ident.cntlid),
		.ver = htole32(VERSION_2_0),
		.oaes = htole32(aer_offered(c)),
		.ctratt = htole32(NVME_CTRL_CTRATT_128_ID | NVME_CTRL_CTRATT_TBKAS),
		.acl = CTRL_ABORT_LIMIT - 1,
		.aerl = CTRL_AER_LIMIT - 1,
		.frmw = FRMW_ONE_READ_ONLY,
		.lpa = LPA,
		.elpe = CTRL_ERROR_ENTRIES - 1,
		.kas = htole16(KAS),
	};

	ascii_field(id.fr, sizeof(id.fr), NVMEGW_VERSION);
	fabrics_part(c, &id);
	if (controller_is_discovery(c))
		discovery_part(c, &id);
	else
		io_part(c, &id);
	if (!controller_is_discovery(c))
		ending_part(c, &id);
	request_copy_in(req, 0, &id, sizeof(id));
	return 0;
}

/* ---- namespaces ---- */

/*
 * For the forms where an inactive NSID is answered with zeroes: 0 and *head (NULL when inactive),
 * or the status.
 */
static uint16_t find_head(const struct controller *c, const struct request *req,
			  const struct head **head)
{
	uint32_t nsid = le32toh(req->sqe.nsid);

	if (nsid == 0 || nsid > c->ss->max_nsid)
		return NVME_ST_INVALID_NS;
	*head = mp_subsys_head(c->ss->mp, nsid);
	return 0;
}

static uint16_t id_namespace(const struct controller *c, struct request *req)
{
	const struct head *head;
	struct nvme_id_ns ns;
	struct ns_ident ident;
	uint16_t status = find_head(c, req, &head);

	if (status || !head)
		return status;
	ns = head->idns;
	subsystem_ns_ident(c->ss, head, &ident);
	ns.nmic = NVME_NS_NMIC_SHARED;
	ns.nsfeat &= (uint8_t)~NVME_NS_FEAT_DULBE; /* see the feature Error Recovery */
	ns.rescap = 0;
	ns.fpi = 0;
	ns.mssrl = 0;
	ns.mcl = 0;
	ns.msrc = 0;
	ns.anagrpid = htole32(head->nsid);
	ns.nvmsetid = 0;
	ns.endgid = 0;
	memset(ns.nguid, 0, sizeof(ns.nguid));
	memset(ns.eui64, 0, sizeof(ns.eui64));
	if (ident.has_nguid)
		memcpy(ns.nguid, ident.nguid, sizeof(ns.nguid));
	if (ident.has_eui64)
		memcpy(ns.eui64, ident.eui64, sizeof(ns.eui64));
	memset(ns.vs, 0, sizeof(ns.vs));
	request_copy_in(req, 0, &ns, sizeof(ns));
	return 0;
}

static uint16_t id_active_list(const struct controller *c, struct request *req)
{
	uint32_t after = le32toh(req->sqe.nsid), off = 0;
	const struct head *h;

	if (after >= NVME_NSID_ALL - 1)
		return NVME_ST_INVALID_NS;
	TAILQ_FOREACH(h, &c->ss->mp->heads, link) {
		uint32_t nsid = htole32(h->nsid);

		if (h->nsid <= after || off == IDENTIFY_SIZE)
			continue;
		request_copy_in(req, off, &nsid, sizeof(nsid));
		off += sizeof(nsid);
	}
	return 0;
}

static uint32_t put_desc(struct request *req, uint32_t off, uint8_t type, const void *id,
			 uint8_t len)
{
	uint8_t desc[DESC_MAX] = {type, len};

	memcpy(desc + 4, id, len);
	request_copy_in(req, off, desc, 4u + len);
	return off + 4 + len;
}

static uint16_t id_descriptors(const struct controller *c, struct request *req)
{
	const struct head *head;
	struct ns_ident ident;
	uint32_t off = 0;
	uint16_t status = find_head(c, req, &head);

	if (status)
		return status;
	if (!head)
		return NVME_ST_INVALID_NS;
	subsystem_ns_ident(c->ss, head, &ident);
	if (ident.has_uuid)
		off = put_desc(req, off, NVME_NIDT_UUID, ident.uuid, sizeof(ident.uuid));
	if (ident.has_nguid)
		off = put_desc(req, off, NVME_NIDT_NGUID, ident.nguid, sizeof(ident.nguid));
	if (ident.has_eui64)
		off = put_desc(req, off, NVME_NIDT_EUI64, ident.eui64, sizeof(ident.eui64));
	put_desc(req, off, NVME_NIDT_CSI, &ident.csi, sizeof(ident.csi));
	return 0;
}

static uint16_t id_independent(const struct controller *c, struct request *req)
{
	struct nvme_id_independent_id_ns ns = {.nmic = NVME_NS_NMIC_SHARED};
	const struct head *head;
	uint16_t status = find_head(c, req, &head);

	if (status || !head)
		return status;
	ns.anagrpid = htole32(head->nsid);
	ns.nsattr = head->idns.nsattr;
	ns.nstat = 1; /* ready */
	request_copy_in(req, 0, &ns, sizeof(ns));
	return 0;
}

/* ---- I/O command set specific forms, of which the NVM command set has little to say ---- */

static bool is_nvm(const struct request *req)
{
	return le32toh(req->sqe.cdw11) >> 24 == NVME_CSI_NVM;
}

/* Storage tags and extended formats: none. */
static uint16_t id_csi_namespace(const struct controller *c, struct request *req)
{
	const struct head *head;

	return is_nvm(req) ? find_head(c, req, &head) : NVME_ST_INVALID_FIELD;
}

static uint16_t id_csi_controller(const struct controller *c, struct request *req)
{
	struct nvme_id_ctrl_nvm nvm;

	if (!is_nvm(req))
		return NVME_ST_INVALID_FIELD;
	limits_tell(&c->limits, &nvm);
	request_copy_in(req, 0, &nvm, sizeof(nvm));
	return 0;
}

static uint16_t id_csi_active_list(const struct controller *c, struct request *req)
{
	return is_nvm(req) ? id_active_list(c, req) : NVME_ST_INVALID_FIELD;
}

/* One combination: the NVM command set. */
static uint16_t id_command_sets(const struct controller *c, struct request *req)
{
	uint16_t cntid = (uint16_t)(le32toh(req->sqe.cdw10) >> 16);
	uint64_t first = htole64(1ull << NVME_CSI_NVM);

	if (cntid != 0xffff && cntid != c->ident.cntlid)
		return NVME_ST_INVALID_FIELD;
	request_copy_in(req, 0, &first, sizeof(first));
	return 0;
}

/* ---- controllers of the subsystem: each has every namespace ---- */

static void put_ids(struct request *req, const uint64_t *exists, uint32_t first)
{
	struct nvme_ctrl_list list = {0};
	uint16_t n = 0;

	for (uint32_t id = first; id <= UINT16_MAX && n < NVME_ID_CTRL_LIST_MAX; id++)
		if (exists[id / 64] & 1ull << id % 64)
			list.identifier[n++] = htole16((uint16_t)id);
	list.num = htole16(n);
	request_copy_in(req, 0, &list, sizeof(list));
}

static uint16_t id_controller_list(const struct controller *c, struct request *req)
{
	uint64_t exists[(UINT16_MAX + 1) / 64] = {0};
	const struct controller *other;

	TAILQ_FOREACH(other, &c->ss->controllers, link)
		if (!other->dying)
			exists[other->ident.cntlid / 64] |= 1ull << other->ident.cntlid % 64;
	put_ids(req, exists, le32toh(req->sqe.cdw10) >> 16);
	return 0;
}

static uint16_t id_attached_controllers(const struct controller *c, struct request *req)
{
	const struct head *head;
	uint16_t status = find_head(c, req, &head);

	return status || !head ? status : id_controller_list(c, req);
}

/* ---- the table ---- */

static const struct {
	uint8_t kinds;
	uint16_t (*run)(const struct controller *c, struct request *req);
} forms[256] = {
	[NVME_IDENTIFY_CNS_NS] = {FOR_IO, id_namespace},
	[NVME_IDENTIFY_CNS_CTRL] = {FOR_BOTH, id_controller},
	[NVME_IDENTIFY_CNS_NS_ACTIVE_LIST] = {FOR_IO, id_active_list},
	[NVME_IDENTIFY_CNS_NS_DESC_LIST] = {FOR_IO, id_descriptors},
	[NVME_IDENTIFY_CNS_CSI_NS] = {FOR_IO, id_csi_namespace},
	[NVME_IDENTIFY_CNS_CSI_CTRL] = {FOR_IO, id_csi_controller},
	[NVME_IDENTIFY_CNS_CSI_NS_ACTIVE_LIST] = {FOR_IO, id_csi_active_list},
	[NVME_IDENTIFY_CNS_CSI_INDEPENDENT_ID_NS] = {FOR_IO, id_independent},
	/* What there is is attached: allocated and active namespaces are the same. */
	[NVME_IDENTIFY_CNS_ALLOCATED_NS_LIST] = {FOR_IO, id_active_list},
	[NVME_IDENTIFY_CNS_ALLOCATED_NS] = {FOR_IO, id_namespace},
	[NVME_IDENTIFY_CNS_NS_CTRL_LIST] = {FOR_IO, id_attached_controllers},
	[NVME_IDENTIFY_CNS_CTRL_LIST] = {FOR_IO, id_controller_list},
	[NVME_IDENTIFY_CNS_COMMAND_SET_STRUCTURE] = {FOR_IO, id_command_sets},
};

uint16_t identify_run(struct controller *c, struct request *req)
{
	uint8_t cns = le32toh(req->sqe.cdw10) & 0xff;

	if (!(forms[cns].kinds & admin_kind(c)))
		return NVME_ST_INVALID_FIELD;
	return forms[cns].run(c, req);
}
