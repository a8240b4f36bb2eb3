/* SPDX-License-Identifier: Apache-2.0 */
/* Get Features and Set Features (Base 2.0, 5.15 and 5.27). Nothing is saved over a reset. */
#include "gateway/admin.h"

#define SEL_CURRENT 0u
#define SEL_CAPS    3u

/* Answer to SEL_CAPS */
#define CAP_OF_NS      0x2u
#define CAP_CHANGEABLE 0x4u
#define SET_SAVE       (1u << 31)

#define ST(sct, sc) (uint16_t)(NVME_STATUS(sct, sc) | NVME_DNR)

#define TEMP_OVER_DEFAULT  343u /* kelvin */
#define TEMP_SEL(dw11)	   ((dw11) >> 16 & 0xf)
#define TEMP_TYPE(dw11)	   ((dw11) >> 20 & 0x3)
#define TEMP_ALL_SENSORS   0xfu
#define AEN_HEALTH	   0xffu /* SMART / health critical warnings; never raised here */
#define ARBITRATION_BURST  7u	 /* no limit */
#define HOST_BEHAVIOR_SIZE sizeof(struct nvme_feat_host_behavior)

enum scope { OF_CTRL, OF_NS };

struct feature {
	uint8_t kinds;
	enum scope scope;
	bool fixed; /* no other value than the present one is taken */
	uint32_t get_len, set_len;
	/* The value for dword 0, data for those that have it; or a status by *status. */
	uint32_t (*get)(const struct controller *c, struct request *req, bool current,
			uint16_t *status);
	uint16_t (*set)(struct controller *c, struct request *req, uint32_t value);
};

/* ---- one by one ---- */

static uint32_t get_arbitration(const struct controller *c, struct request *req, bool current,
				uint16_t *status)
{
	return current ? c->arbitration : ARBITRATION_BURST;
}

static uint16_t set_arbitration(struct controller *c, struct request *req, uint32_t value)
{
	c->arbitration = value;
	return 0;
}

/* There is one power state, 0. */
static uint32_t get_power(const struct controller *c, struct request *req, bool current,
			  uint16_t *status)
{
	return 0;
}

static uint16_t set_power(struct controller *c, struct request *req, uint32_t value)
{
	return value & 0x1f ? NVME_ST_INVALID_FIELD : 0;
}

static uint32_t get_temp(const struct controller *c, struct request *req, bool current,
			 uint16_t *status)
{
	uint32_t dw11 = le32toh(req->sqe.cdw11);

	if (TEMP_SEL(dw11) != 0 || TEMP_TYPE(dw11) > 1) {
		*status = NVME_ST_INVALID_FIELD;
		return 0;
	}
	if (TEMP_TYPE(dw11) == 1)
		return current ? c->temp_under : 0;
	return current ? c->temp_over : TEMP_OVER_DEFAULT;
}

static uint16_t set_temp(struct controller *c, struct request *req, uint32_t value)
{
	if ((TEMP_SEL(value) != 0 && TEMP_SEL(value) != TEMP_ALL_SENSORS) || TEMP_TYPE(value) > 1)
		return NVME_ST_INVALID_FIELD;
	if (TEMP_TYPE(value) == 1)
		c->temp_under = value & 0xffff;
	else
		c->temp_over = value & 0xffff;
	return 0;
}

static uint32_t get_error_recovery(const struct controller *c, struct request *req, bool current,
				   uint16_t *status)
{
	return current ? c->error_recovery[le32toh(req->sqe.nsid)] : 0;
}

/* Of it only the time limit (TLER) is taken; no namespace offers errors of deallocated blocks. */
static uint16_t set_error_recovery(struct controller *c, struct request *req, uint32_t value)
{
	uint32_t nsid = le32toh(req->sqe.nsid);

	if (value >> 16)
		return NVME_ST_INVALID_FIELD;
	for (uint32_t i = 1; i <= SUBSYS_MAX_NSID; i++)
		if (nsid == i || nsid == NVME_NSID_ALL)
			c->error_recovery[i] = (uint16_t)value;
	return 0;
}

static uint32_t get_write_cache(const struct controller *c, struct request *req, bool current,
				uint16_t *status)
{
	return 1;
}

/* The caches are the upstreams': not ours to turn off. */
static uint16_t set_write_cache(struct controller *c, struct request *req, uint32_t value)
{
	return value & 1 ? 0 : ST(1, NVME_SC_FEATURE_NOT_CHANGEABLE);
}

static uint32_t queues_value(unsigned n)
{
	return (n - 1) << 16 | (n - 1);
}

static uint32_t get_queues(const struct controller *c, struct request *req, bool current,
			   uint16_t *status)
{
	return queues_value(current ? c->granted : c->max_io_queues);
}

static uint16_t set_queues(struct controller *c, struct request *req, uint32_t value)
{
	uint32_t sqs = value & 0xffff, cqs = value >> 16;
	uint32_t n = sqs < cqs ? sqs : cqs; /* they come in pairs */

	if (sqs == 0xffff || cqs == 0xffff)
		return NVME_ST_INVALID_FIELD;
	if (c->nr_queues)
		return ST(0, NVME_SC_CMD_SEQ_ERROR);
	c->granted = n + 1 < c->max_io_queues ? n + 1 : c->max_io_queues;
	req->cqe.result = htole32(queues_value(c->granted));
	return 0;
}

static uint32_t get_atomicity(const struct controller *c, struct request *req, bool current,
			      uint16_t *status)
{
	return current ? c->write_atomicity : 0;
}

static uint16_t set_atomicity(struct controller *c, struct request *req, uint32_t value)
{
	c->write_atomicity = value & 1;
	return 0;
}

static uint32_t get_events(const struct controller *c, struct request *req, bool current,
			   uint16_t *status)
{
	return current ? c->aen_config : 0;
}

static uint16_t set_events(struct controller *c, struct request *req, uint32_t value)
{
	if (value & ~(aer_offered(c) | AEN_HEALTH))
		return NVME_ST_INVALID_FIELD;
	c->aen_config = value;
	return 0;
}

static uint32_t get_kato(const struct controller *c, struct request *req, bool current,
			 uint16_t *status)
{
	return current ? c->kato : 0;
}

static uint16_t set_kato(struct controller *c, struct request *req, uint32_t value)
{
	controller_set_kato(c, value);
	return 0;
}

static uint32_t get_behavior(const struct controller *c, struct request *req, bool current,
			     uint16_t *status)
{
	struct nvme_feat_host_behavior hb = {0};

	hb.acre = current && atomic_load_explicit(&c->acre, memory_order_relaxed);
	request_copy_in(req, 0, &hb, sizeof(hb));
	return 0;
}

static uint16_t set_behavior(struct controller *c, struct request *req, uint32_t value)
{
	uint8_t acre;

	request_copy_out(req, 0, &acre, sizeof(acre));
	if (acre > 1)
		return NVME_ST_INVALID_FIELD;
	atomic_store_explicit(&c->acre, acre, memory_order_relaxed);
	return 0;
}

#define HOSTID_EXTENDED 1u /* of dword 11: 128 bits, the only form over fabrics */

static uint32_t get_hostid(const struct controller *c, struct request *req, bool current,
			   uint16_t *status)
{
	if (!(le32toh(req->sqe.cdw11) & HOSTID_EXTENDED)) {
		*status = NVME_ST_INVALID_FIELD;
		return 0;
	}
	request_copy_in(req, 0, c->ident.hostid, sizeof(c->ident.hostid));
	return HOSTID_EXTENDED;
}

/* It came with Connect. */
static uint16_t set_hostid(struct controller *c, struct request *req, uint32_t value)
{
	return ST(0, NVME_SC_CMD_SEQ_ERROR);
}

/* There is one combination, of the NVM command set alone. */
static uint32_t get_command_sets(const struct controller *c, struct request *req, bool current,
				 uint16_t *status)
{
	return 0;
}

static uint16_t set_command_sets(struct controller *c, struct request *req, uint32_t value)
{
	return value & 0x1ff ? ST(1, NVME_SC_IOCS_COMBINATION_REJECTED) : 0;
}

/* ---- the table ---- */

static const struct feature features[256] = {
	[NVME_FEAT_FID_ARBITRATION] = {FOR_IO, .get = get_arbitration, .set = set_arbitration},
	[NVME_FEAT_FID_POWER_MGMT] = {FOR_IO, .get = get_power, .set = set_power},
	[NVME_FEAT_FID_TEMP_THRESH] = {FOR_IO, .get = get_temp, .set = set_temp},
	[NVME_FEAT_FID_ERR_RECOVERY] = {FOR_IO, OF_NS, .get = get_error_recovery,
					.set = set_error_recovery},
	[NVME_FEAT_FID_VOLATILE_WC] = {FOR_IO, .fixed = true, .get = get_write_cache,
				       .set = set_write_cache},
	[NVME_FEAT_FID_NUM_QUEUES] = {FOR_IO, .get = get_queues, .set = set_queues},
	[NVME_FEAT_FID_WRITE_ATOMIC] = {FOR_IO, .get = get_atomicity, .set = set_atomicity},
	[NVME_FEAT_FID_ASYNC_EVENT] = {FOR_BOTH, .get = get_events, .set = set_events},
	[NVME_FEAT_FID_KATO] = {FOR_BOTH, .get = get_kato, .set = set_kato},
	[NVME_FEAT_FID_HOST_BEHAVIOR] = {FOR_IO, .get_len = HOST_BEHAVIOR_SIZE,
					 .set_len = HOST_BEHAVIOR_SIZE, .get = get_behavior,
					 .set = set_behavior},
	[NVME_FEAT_FID_IOCS_PROFILE] = {FOR_IO, .get = get_command_sets, .set = set_command_sets},
	[NVME_FEAT_FID_HOST_ID] = {FOR_BOTH, .fixed = true, .get_len = 16, .get = get_hostid,
				   .set = set_hostid},
};

static const struct feature *find(const struct controller *c, const struct nvme_sqe *sqe)
{
	const struct feature *f = &features[le32toh(sqe->cdw10) & 0xff];

	return f->kinds & admin_kind(c) ? f : NULL;
}

static unsigned select_of(const struct nvme_sqe *sqe)
{
	return le32toh(sqe->cdw10) >> 8 & 7;
}

static uint32_t capabilities(const struct feature *f)
{
	return (f->fixed ? 0 : CAP_CHANGEABLE) | (f->scope == OF_NS ? CAP_OF_NS : 0);
}

static bool is_active(const struct controller *c, uint32_t nsid)
{
	return nsid != NVME_NSID_ALL && mp_subsys_head(c->ss->mp, nsid);
}

uint32_t feature_get_len(const struct nvme_sqe *sqe)
{
	uint8_t fid = le32toh(sqe->cdw10) & 0xff;

	if (select_of(sqe) == SEL_CAPS)
		return 0;
	if (fid == NVME_FEAT_FID_HOST_ID && !(le32toh(sqe->cdw11) & HOSTID_EXTENDED))
		return 0; /* to be refused, whatever room there is */
	return features[fid].get_len;
}

uint16_t feature_get_run(struct controller *c, struct request *req)
{
	const struct feature *f = find(c, &req->sqe);
	unsigned sel = select_of(&req->sqe);
	uint16_t status = 0;
	uint32_t value;

	if (!f || sel > SEL_CAPS)
		return NVME_ST_INVALID_FIELD;
	if (sel != SEL_CAPS && f->scope == OF_NS && !is_active(c, le32toh(req->sqe.nsid)))
		return NVME_ST_INVALID_NS;
	if (sel == SEL_CAPS)
		value = capabilities(f);
	else
		value = f->get(c, req, sel == SEL_CURRENT, &status);
	req->cqe.result = htole32(status ? 0 : value);
	return status;
}

uint32_t feature_set_len(const struct nvme_sqe *sqe)
{
	return features[le32toh(sqe->cdw10) & 0xff].set_len;
}

uint16_t feature_set_run(struct controller *c, struct request *req)
{
	const struct feature *f = find(c, &req->sqe);
	uint32_t nsid = le32toh(req->sqe.nsid);

	if (!f)
		return NVME_ST_INVALID_FIELD;
	if (le32toh(req->sqe.cdw10) & SET_SAVE)
		return ST(1, NVME_SC_FEATURE_NOT_SAVEABLE);
	if (f->scope == OF_CTRL && nsid && nsid != NVME_NSID_ALL)
		return ST(1, NVME_SC_FEATURE_NOT_PER_NS);
	if (f->scope == OF_NS && nsid != NVME_NSID_ALL && !is_active(c, nsid))
		return NVME_ST_INVALID_NS;
	return f->set(c, req, le32toh(req->sqe.cdw11));
}
