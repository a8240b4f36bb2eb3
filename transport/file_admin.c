/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin queue of the emulated controller with one namespace. Nothing here touches the storage:
 * every command is answered from the end-of-turn hook after its submission.
 */
#include "transport/file.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_LEN       4096u
#define AER_LIMIT      4u
#define MAX_IO_QUEUES  1024u
#define MAX_ENTRIES    1024u
#define ANA_GROUP      1u
#define CAP_TIMEOUT    2u /* 500 ms units: enabling takes no time */
#define MDTS	       8u /* 4 KiB pages, as a power of two */
#define IN_CAPSULE_MAX (64u + REQUEST_MAX_DATA)

static_assert((4096u << MDTS) == REQUEST_MAX_DATA);
static_assert(sizeof(struct nvme_id_ctrl) == PAGE_LEN);
static_assert(sizeof(struct nvme_id_ns) == PAGE_LEN);

struct file_admin {
	struct ini_qpair qp;
	const struct file_ns *ns;
	struct file_slots slots;
	struct file_fifo todo;
	struct loop_hook hook;
	bool announced;
	uint32_t cc, csts;
	uint32_t aen_config, kato;
	unsigned nr_aers; /* held back until close: nothing ever happens to this namespace */
};

/* One command: its data page is zeroed before the handler runs. */
struct admin_cmd {
	struct file_admin *fa;
	struct request *req;
	const struct nvme_sqe *sqe;
	uint8_t *page;
	uint32_t page_len; /* of what the handler has put there */
};

#define ST(sct, sc) (uint16_t)(NVME_STATUS(sct, sc) | NVME_DNR)
#define ST_PENDING  0xffff /* answered later or never; no NVMe status has this value */

static uint32_t cdw(uint32_t field)
{
	return le32toh(field);
}

/* ---- properties (Base 2.0, 3.1.3) ---- */

static uint64_t cap(void)
{
	return (uint64_t)(MAX_ENTRIES - 1) << NVME_CAP_MQES_SHIFT |
	       (uint64_t)1 << NVME_CAP_CQR_SHIFT | (uint64_t)CAP_TIMEOUT << NVME_CAP_TO_SHIFT |
	       (uint64_t)NVME_CAP_CSS_NVM << NVME_CAP_CSS_SHIFT;
}

static uint16_t property_get(struct admin_cmd *c)
{
	const struct file_admin *fa = c->fa;
	bool wide = (cdw(c->sqe->cdw10) & 7) == 1;
	uint32_t off = cdw(c->sqe->cdw11);
	uint64_t value;

	if ((off == NVMF_PROP_CAP) != wide)
		return NVME_ST_INVALID_FIELD;
	switch (off) {
	case NVMF_PROP_CAP:
		value = cap();
		break;
	case NVMF_PROP_VS:
		value = 0x20000;
		break;
	case NVMF_PROP_CC:
		value = fa->cc;
		break;
	case NVMF_PROP_CSTS:
		value = fa->csts;
		break;
	default:
		return NVME_ST_INVALID_FIELD;
	}
	c->req->cqe.result64 = htole64(value);
	return 0;
}

static uint16_t property_set(struct admin_cmd *c)
{
	struct file_admin *fa = c->fa;
	uint32_t value = cdw(c->sqe->cdw12);

	if (cdw(c->sqe->cdw11) != NVMF_PROP_CC || (cdw(c->sqe->cdw10) & 7) != 0)
		return NVME_ST_INVALID_FIELD;
	fa->csts = NVME_CC_EN(value) ? 1u << NVME_CSTS_RDY_SHIFT : 0;
	if (NVME_CC_SHN(value))
		fa->csts |= NVME_CSTS_SHST_CMPLT << NVME_CSTS_SHST_SHIFT;
	fa->cc = value;
	return 0;
}

static uint16_t fabrics(struct admin_cmd *c)
{
	switch (nvme_sqe_fctype(c->sqe)) {
	case nvme_fabrics_type_property_get:
		return property_get(c);
	case nvme_fabrics_type_property_set:
		return property_set(c);
	default:
		return NVME_ST_INVALID_OPCODE;
	}
}

/* ---- Identify (Base 2.0, 5.17) ---- */

static void put_text(char *field, size_t len, const char *text)
{
	size_t n = strlen(text);

	memset(field, ' ', len);
	memcpy(field, text, n < len ? n : len);
}

static uint16_t id_ctrl(struct admin_cmd *c)
{
	struct nvme_id_ctrl *id = (void *)c->page;
	const struct file_ns *ns = c->fa->ns;

	put_text(id->sn, sizeof(id->sn), ns->serial);
	put_text(id->mn, sizeof(id->mn), "nvmegw file");
	put_text(id->fr, sizeof(id->fr), "1");
	id->cmic = NVME_CTRL_CMIC_MULTI_PORT | NVME_CTRL_CMIC_MULTI_CTRL |
		   NVME_CTRL_CMIC_MULTI_ANA_REPORTING;
	id->mdts = MDTS;
	id->cntlid = htole16(ns->cntlid);
	id->ver = htole32(0x20000);
	id->oaes = htole32(NVME_CTRL_OAES_NA | NVME_CTRL_OAES_ANA);
	id->ctratt = htole32(NVME_CTRL_CTRATT_128_ID | NVME_CTRL_CTRATT_TBKAS);
	id->cntrltype = NVME_CTRL_CNTRLTYPE_IO;
	id->acl = 3;
	id->aerl = AER_LIMIT - 1;
	id->frmw = 1 << 1 | 1;		    /* one slot, read only */
	id->lpa = 1 << 1 | 1 << 2 | 1 << 5; /* effects, offsets, supported pages */
	id->kas = htole16(10);
	id->anatt = 10;
	id->anacap = 0x1f | 1 << 6; /* every state; ANAGRPID never changes */
	id->anagrpmax = htole32(ANA_GROUP);
	id->nanagrpid = htole32(1);
	id->sqes = 0x66;
	id->cqes = 0x44;
	id->maxcmd = htole16(MAX_ENTRIES);
	id->nn = htole32(1);
	id->mnan = htole32(1);
	id->oncs = htole16(NVME_CTRL_ONCS_COMPARE | NVME_CTRL_ONCS_DSM |
			   NVME_CTRL_ONCS_WRITE_ZEROES | NVME_CTRL_ONCS_VERIFY);
	id->vwc = 1 | 2 << 1; /* there is a cache; Flush for all namespaces not supported */
	id->sgls = htole32(1 | 1 << 20);
	memcpy(id->subnqn, ns->subnqn, strlen(ns->subnqn));
	id->ioccsz = htole32(IN_CAPSULE_MAX / 16);
	id->iorcsz = htole32(1);
	id->msdbd = 1;
	return 0;
}

static uint16_t id_ns(struct admin_cmd *c)
{
	struct nvme_id_ns *id = (void *)c->page;
	const struct file_ns *ns = c->fa->ns;

	id->nsze = id->ncap = id->nuse = htole64(ns->blocks);
	id->nmic = 1;
	id->dlfeat = 1 | 1 << 3; /* deallocated blocks read as zeroes; DEAC in Write Zeroes */
	id->anagrpid = htole32(ANA_GROUP);
	id->nsattr = ns->read_only;
	memcpy(id->nguid, ns->nguid, sizeof(id->nguid));
	memcpy(id->eui64, ns->eui64, sizeof(id->eui64));
	id->lbaf[0].ds = ns->shift;
	return 0;
}

static uint16_t id_ns_independent(struct admin_cmd *c)
{
	struct nvme_id_independent_id_ns *id = (void *)c->page;

	id->nmic = 1;
	id->anagrpid = htole32(ANA_GROUP);
	id->nsattr = c->fa->ns->read_only;
	id->nstat = 1; /* ready */
	return 0;
}

static uint16_t id_active_list(struct admin_cmd *c)
{
	uint32_t after = cdw(c->sqe->nsid);

	if (after >= 0xfffffffe)
		return NVME_ST_INVALID_NS;
	if (after < FILE_NSID)
		*(uint32_t *)c->page = htole32(FILE_NSID);
	return 0;
}

static uint8_t *put_desc(uint8_t *at, uint8_t type, uint8_t len, const void *id)
{
	at[0] = type;
	at[1] = len;
	memcpy(at + sizeof(struct nvme_ns_id_desc), id, len);
	return at + sizeof(struct nvme_ns_id_desc) + len;
}

static uint16_t id_descriptors(struct admin_cmd *c)
{
	const struct file_ns *ns = c->fa->ns;
	static const uint8_t csi_nvm;
	uint8_t *at = c->page;

	if (ns->has_eui64)
		at = put_desc(at, NVME_NIDT_EUI64, sizeof(ns->eui64), ns->eui64);
	if (ns->has_nguid)
		at = put_desc(at, NVME_NIDT_NGUID, sizeof(ns->nguid), ns->nguid);
	if (ns->has_uuid)
		at = put_desc(at, NVME_NIDT_UUID, sizeof(ns->uuid), ns->uuid);
	put_desc(at, NVME_NIDT_CSI, 1, &csi_nvm);
	return 0;
}

static uint16_t id_command_sets(struct admin_cmd *c)
{
	((struct nvme_id_iocs *)(void *)c->page)->iocsc[0] = htole64(1); /* NVM alone */
	return 0;
}

static uint16_t id_zeroes(struct admin_cmd *c)
{
	return 0;
}

static const struct {
	uint16_t (*fn)(struct admin_cmd *c);
	bool of_ns;  /* NSID must name the namespace */
	bool of_csi; /* CSI must name the NVM command set */
} identify_cns[] = {
	[NVME_IDENTIFY_CNS_NS] = {id_ns, .of_ns = true},
	[NVME_IDENTIFY_CNS_CTRL] = {id_ctrl},
	[NVME_IDENTIFY_CNS_NS_ACTIVE_LIST] = {id_active_list},
	[NVME_IDENTIFY_CNS_NS_DESC_LIST] = {id_descriptors, .of_ns = true},
	[NVME_IDENTIFY_CNS_CSI_NS] = {id_zeroes, .of_ns = true, .of_csi = true},
	[NVME_IDENTIFY_CNS_CSI_CTRL] = {id_zeroes, .of_csi = true},
	[NVME_IDENTIFY_CNS_CSI_NS_ACTIVE_LIST] = {id_active_list, .of_csi = true},
	[NVME_IDENTIFY_CNS_CSI_INDEPENDENT_ID_NS] = {id_ns_independent, .of_ns = true},
	[NVME_IDENTIFY_CNS_COMMAND_SET_STRUCTURE] = {id_command_sets},
};

static uint16_t identify(struct admin_cmd *c)
{
	unsigned cns = cdw(c->sqe->cdw10) & 0xff;

	if (cns >= sizeof(identify_cns) / sizeof(identify_cns[0]) || !identify_cns[cns].fn)
		return NVME_ST_INVALID_FIELD;
	if (identify_cns[cns].of_csi && cdw(c->sqe->cdw11) >> 24 != NVME_CSI_NVM)
		return NVME_ST_INVALID_FIELD;
	if (identify_cns[cns].of_ns && cdw(c->sqe->nsid) != FILE_NSID)
		return NVME_ST_INVALID_NS;
	c->page_len = PAGE_LEN;
	return identify_cns[cns].fn(c);
}

/* ---- Get Log Page (Base 2.0, 5.16) ---- */

static const uint8_t log_pages[] = {
	NVME_LOG_LID_SUPPORTED_LOG_PAGES,
	NVME_LOG_LID_ERROR,
	NVME_LOG_LID_SMART,
	NVME_LOG_LID_FW_SLOT,
	NVME_LOG_LID_CHANGED_NS,
	NVME_LOG_LID_CMD_EFFECTS,
	NVME_LOG_LID_ANA,
};

static uint32_t log_supported(uint8_t *page)
{
	struct nvme_supported_log_pages *log = (void *)page;

	for (unsigned i = 0; i < sizeof(log_pages); i++)
		log->lid_support[log_pages[i]] = htole32(1);
	return sizeof(*log);
}

static uint32_t log_smart(uint8_t *page)
{
	struct nvme_smart_log *log = (void *)page;

	log->avail_spare = 100;
	return sizeof(*log);
}

static uint32_t log_firmware(uint8_t *page)
{
	struct nvme_firmware_slot *log = (void *)page;

	log->afi = 1;
	put_text(log->frs[0], sizeof(log->frs[0]), "1");
	return sizeof(*log);
}

static uint32_t log_effects(uint8_t *page)
{
	static const uint8_t admin[] = {
		nvme_admin_get_log_page, nvme_admin_identify,	  nvme_admin_abort_cmd,
		nvme_admin_set_features, nvme_admin_get_features, nvme_admin_async_event,
		nvme_admin_keep_alive,
	};
	static const uint8_t reading[] = {nvme_cmd_flush, nvme_cmd_read, nvme_cmd_compare,
					  nvme_cmd_verify};
	static const uint8_t writing[] = {nvme_cmd_write, nvme_cmd_write_zeroes, nvme_cmd_dsm};
	struct nvme_cmd_effects_log *log = (void *)page;

	for (unsigned i = 0; i < sizeof(admin); i++)
		log->acs[admin[i]] = htole32(NVME_CMD_EFFECTS_CSUPP);
	for (unsigned i = 0; i < sizeof(reading); i++)
		log->iocs[reading[i]] = htole32(NVME_CMD_EFFECTS_CSUPP);
	for (unsigned i = 0; i < sizeof(writing); i++)
		log->iocs[writing[i]] = htole32(NVME_CMD_EFFECTS_CSUPP | NVME_CMD_EFFECTS_LBCC);
	return sizeof(*log);
}

static uint32_t log_ana(uint8_t *page, const struct file_ns *ns, bool groups_only)
{
	struct nvme_ana_log *log = (void *)page;
	struct nvme_ana_group_desc *group = log->descs;

	log->ngrps = htole16(1);
	group->grpid = htole32(ANA_GROUP);
	group->state = ns->ana_state;
	if (groups_only)
		return sizeof(*log) + sizeof(*group);
	group->nnsids = htole32(1);
	group->nsids[0] = htole32(FILE_NSID);
	return sizeof(*log) + sizeof(*group) + sizeof(group->nsids[0]);
}

static uint16_t get_log_page(struct admin_cmd *c)
{
	uint32_t cdw10 = cdw(c->sqe->cdw10);
	uint64_t off = (uint64_t)cdw(c->sqe->cdw13) << 32 | cdw(c->sqe->cdw12);
	uint64_t len = (((uint64_t)(cdw(c->sqe->cdw11) & 0xffff) << 16 | cdw10 >> 16) + 1) * 4;
	uint32_t size;

	switch (cdw10 & 0xff) {
	case NVME_LOG_LID_SUPPORTED_LOG_PAGES:
		size = log_supported(c->page);
		break;
	case NVME_LOG_LID_ERROR:
		size = sizeof(struct nvme_error_log_page);
		break;
	case NVME_LOG_LID_SMART:
		size = log_smart(c->page);
		break;
	case NVME_LOG_LID_FW_SLOT:
		size = log_firmware(c->page);
		break;
	case NVME_LOG_LID_CHANGED_NS:
		size = PAGE_LEN;
		break;
	case NVME_LOG_LID_CMD_EFFECTS:
		size = log_effects(c->page);
		break;
	case NVME_LOG_LID_ANA:
		size = log_ana(c->page, c->fa->ns, cdw10 >> 8 & 1);
		break;
	default:
		return ST(1, NVME_SC_INVALID_LOG_PAGE);
	}
	if (off % 4 || off > size)
		return NVME_ST_INVALID_FIELD;
	if (len > c->req->data_len)
		return ST(0, NVME_SC_SGL_INVALID_DATA);
	c->page += off;
	c->page_len = size - (uint32_t)off;
	return 0;
}

/* ---- features (Base 2.0, 5.27) ---- */

static uint16_t set_features(struct admin_cmd *c)
{
	uint32_t cdw10 = cdw(c->sqe->cdw10), value = cdw(c->sqe->cdw11);

	if (cdw10 >> 31)
		return ST(1, NVME_SC_FEATURE_NOT_SAVEABLE);
	switch (cdw10 & 0xff) {
	case NVME_FEAT_FID_VOLATILE_WC:
		return value & 1 ? 0 : ST(1, NVME_SC_FEATURE_NOT_CHANGEABLE);
	case NVME_FEAT_FID_NUM_QUEUES:
		if ((value & 0xffff) == 0xffff || value >> 16 == 0xffff)
			return NVME_ST_INVALID_FIELD;
		if ((value & 0xffff) >= MAX_IO_QUEUES)
			value = (value & 0xffff0000) | (MAX_IO_QUEUES - 1);
		if (value >> 16 >= MAX_IO_QUEUES)
			value = (value & 0xffff) | (MAX_IO_QUEUES - 1) << 16;
		c->req->cqe.result = htole32(value);
		return 0;
	case NVME_FEAT_FID_ASYNC_EVENT:
		c->fa->aen_config = value;
		return 0;
	case NVME_FEAT_FID_KATO:
		c->fa->kato = value;
		return 0;
	default:
		return NVME_ST_INVALID_FIELD;
	}
}

static uint16_t get_features(struct admin_cmd *c)
{
	uint32_t value;

	switch (cdw(c->sqe->cdw10) & 0xff) {
	case NVME_FEAT_FID_VOLATILE_WC:
		value = 1;
		break;
	case NVME_FEAT_FID_NUM_QUEUES:
		value = (MAX_IO_QUEUES - 1) << 16 | (MAX_IO_QUEUES - 1);
		break;
	case NVME_FEAT_FID_ASYNC_EVENT:
		value = c->fa->aen_config;
		break;
	case NVME_FEAT_FID_KATO:
		value = c->fa->kato;
		break;
	default:
		return NVME_ST_INVALID_FIELD;
	}
	c->req->cqe.result = htole32(value);
	return 0;
}

/* ---- dispatch ---- */

static uint16_t handle(struct admin_cmd *c)
{
	if (c->sqe->opcode == NVME_OPC_FABRICS)
		return fabrics(c);
	if (!NVME_CSTS_RDY(c->fa->csts))
		return ST(0, NVME_SC_CMD_SEQ_ERROR);
	switch (c->sqe->opcode) {
	case nvme_admin_identify:
		return identify(c);
	case nvme_admin_get_log_page:
		return get_log_page(c);
	case nvme_admin_set_features:
		return set_features(c);
	case nvme_admin_get_features:
		return get_features(c);
	case nvme_admin_keep_alive:
		return 0;
	case nvme_admin_abort_cmd:
		c->req->cqe.result = htole32(1); /* not aborted: it has been answered already */
		return 0;
	case nvme_admin_async_event:
		if (c->fa->nr_aers >= AER_LIMIT)
			return ST(1, NVME_SC_ASYNC_LIMIT);
		c->fa->nr_aers++;
		return ST_PENDING;
	default:
		return NVME_ST_INVALID_OPCODE;
	}
}

static void answer(struct file_admin *fa, uint16_t slot)
{
	struct request *req = fa->slots.req[slot];
	_Alignas(8) uint8_t page[PAGE_LEN] = {0};
	struct admin_cmd c = {.fa = fa, .req = req, .sqe = &req->sqe, .page = page};
	uint16_t status;
	uint32_t n;

	memset(&req->cqe, 0, sizeof(req->cqe));
	status = handle(&c);
	if (status == ST_PENDING)
		return;
	if (!status && req->dir == NVME_DIR_C2H) {
		n = c.page_len < req->data_len ? c.page_len : req->data_len;
		request_copy_in(req, 0, c.page, n);
		request_zero(req, n, req->data_len - n);
		stat_add(&fa->qp.rx_bytes, req->data_len);
	}
	file_give_back(&fa->qp, &fa->slots, slot, 0, status);
}

static void on_hook(void *arg)
{
	struct file_admin *fa = arg;

	if (!fa->announced) {
		fa->announced = fa->qp.live = true;
		fa->qp.ops->connected(&fa->qp, 0, NULL);
		return; /* it may have closed us */
	}
	/* What is submitted meanwhile queues the hook anew. */
	for (uint16_t n = fa->todo.n; n; n--)
		answer(fa, file_fifo_pop(&fa->todo));
}

static void release(struct file_admin *fa)
{
	file_slots_fini(&fa->slots);
	file_fifo_fini(&fa->todo);
	free(fa);
}

struct ini_qpair *file_admin_connect(struct loop *loop, const struct ini_params *params,
				     const struct ini_ops *ops, void *priv)
{
	struct file_admin *fa = calloc(1, sizeof(*fa));

	if (!fa)
		return NULL;
	if (file_slots_init(&fa->slots, params->sq_size) ||
	    file_fifo_init(&fa->todo, params->sq_size)) {
		release(fa);
		errno = ENOMEM;
		return NULL;
	}
	file_qpair_init(&fa->qp, loop, params, ops, priv);
	fa->ns = params->file_ns;
	fa->kato = params->kato;
	loop_hook_init(&fa->hook, on_hook, fa);
	loop_hook_queue(loop, &fa->hook);
	return &fa->qp;
}

int file_admin_submit(struct ini_qpair *qp, struct request *req)
{
	struct file_admin *fa = (struct file_admin *)qp;
	int slot = file_take(qp, &fa->slots, req);

	if (slot < 0)
		return slot;
	file_fifo_push(&fa->todo, (uint16_t)slot);
	loop_hook_queue(qp->loop, &fa->hook);
	return 0;
}

void file_admin_close(struct ini_qpair *qp)
{
	struct file_admin *fa = (struct file_admin *)qp;

	qp->live = false;
	loop_hook_cancel(qp->loop, &fa->hook);
	file_cancel_all(qp, &fa->slots);
	release(fa);
}
