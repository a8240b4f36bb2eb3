/* SPDX-License-Identifier: Apache-2.0 */
/* Identify and log pages of simulated controllers. Each namespace is an ANA group of its own. */
#include <string.h>

#include "tests/sim/sim.h"

#define PAGE 4096

static void answer(struct request *req, const void *page)
{
	request_copy_in(req, 0, page, req->data_len < PAGE ? req->data_len : PAGE);
	req->filled = req->data_len;
}

static void identify_ctrl(const struct sim_ctrl *c, const struct sim_ident *ident, uint8_t *page)
{
	struct nvme_id_ctrl *id = (void *)page;
	uint16_t cqt = htole16(sim_cqt);

	id->cntlid = htole16(ident->cntlid);
	id->oaes = htole32(NVME_AEN_NS_ATTR | NVME_AEN_ANA_CHANGE);
	id->ctratt = htole32(sim_tbkas ? NVME_CTRL_CTRATT_TBKAS : 0);
	id->kas = htole16(1);
	id->acl = 3;
	id->crdt1 = htole16(1);
	id->crdt2 = htole16(5);
	id->crdt3 = htole16(20);
	id->cmic =
		NVME_CTRL_CMIC_MULTI_CTRL | (sim_no_ana ? 0 : NVME_CTRL_CMIC_MULTI_ANA_REPORTING);
	id->anagrpmax = id->nanagrpid = htole32(SIM_NAMESPACES);
	id->mnan = id->nn = htole32(SIM_NAMESPACES);
	id->ioccsz = htole32(4);
	id->iorcsz = htole32(1);
	id->oncs = htole16(c->zeroes_limit ? 0 : NVME_CTRL_ONCS_WRITE_ZEROES);
	id->vwc = 1;
	memcpy(page + 386, &cqt, sizeof(cqt));
	page[135] = ident->ciu;
	memcpy(page + 136, &ident->cirn, sizeof(ident->cirn));
	page[1807] = c->offers_reset;
}

static bool present(const struct sim_ctrl *c, uint32_t nsid)
{
	return nsid >= 1 && nsid <= SIM_NAMESPACES && c->attached[nsid - 1];
}

static void identify_ns(const struct sim_ctrl *c, uint32_t nsid, uint8_t *page)
{
	struct nvme_id_ns *id = (void *)page;

	if (!present(c, nsid))
		return;
	id->nsze = id->ncap = id->nuse = htole64(c->size[nsid - 1]);
	id->lbaf[0].ds = 9;
	id->nmic = NVME_NS_NMIC_SHARED;
	id->anagrpid = htole32(nsid);
}

void sim_identify(const struct sim_ctrl *c, const struct sim_ident *ident, struct request *req)
{
	_Alignas(8) uint8_t page[PAGE] = {0};
	uint32_t nsid = le32toh(req->sqe.nsid);

	switch (le32toh(req->sqe.cdw10) & 0xff) {
	case NVME_IDENTIFY_CNS_CTRL:
		identify_ctrl(c, ident, page);
		break;
	case NVME_IDENTIFY_CNS_CSI_CTRL:
		((struct nvme_id_ctrl_nvm *)page)->wzsl = c->zeroes_limit;
		break;
	case NVME_IDENTIFY_CNS_NS_ACTIVE_LIST:
		for (uint32_t i = nsid + 1, n = 0; i <= SIM_NAMESPACES; i++)
			if (present(c, i))
				((uint32_t *)page)[n++] = htole32(i);
		break;
	case NVME_IDENTIFY_CNS_NS:
		identify_ns(c, nsid, page);
		break;
	case NVME_IDENTIFY_CNS_NS_DESC_LIST:
		page[0] = NVME_NIDT_UUID;
		page[1] = 16;
		memset(page + 4, nsid == 1 && c->swapped ? 0xee : (int)nsid, 16);
		break;
	}
	answer(req, page);
}

void sim_log_page(const struct sim_ctrl *c, struct request *req)
{
	_Alignas(8) uint8_t page[PAGE] = {0};

	if ((le32toh(req->sqe.cdw10) & 0xff) == NVME_LOG_LID_ANA) {
		struct nvme_ana_log *log = (void *)page;

		log->ngrps = htole16(SIM_NAMESPACES);
		for (unsigned i = 0; i < SIM_NAMESPACES; i++) {
			log->descs[i].grpid = htole32(i + 1);
			log->descs[i].state = c->ana_state[i];
		}
	}
	answer(req, page);
}
