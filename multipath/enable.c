/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a connected admin qpair to an identified controller: CAP, CC.EN, CSTS.RDY, Identify
 * Controller (Base 2.0, 3.5.1 and, for fabrics, 3.5.2) and its form for the NVM command set.
 */
#include <string.h>

#include "multipath/control.h"
#include "transport/log.h"

#define POLL_INTERVAL (10 * NSEC_PER_MSEC)
#define CC_VALUE \
	(1u | 6u << 16 | 4u << 20) /* EN, NVM command set, 4 KiB pages, IOSQES 64, IOCQES 16 */

static uint64_t patience(const struct assoc *a)
{
	return a->up->cfg.connect_timeout;
}

static void prop_get(struct assoc *a, uint32_t ofst, bool eight, admin_fn fn)
{
	struct nvme_sqe sqe = {.opcode = NVME_OPC_FABRICS};

	sqe.nsid = htole32(nvme_fabrics_type_property_get);
	sqe.cdw10 = htole32(eight);
	sqe.cdw11 = htole32(ofst);
	admin_send(a, &sqe, 0, patience(a), fn);
}

static void on_limits(struct assoc *a, struct request *req, uint16_t status)
{
	struct nvme_id_ctrl_nvm nvm;

	/*
	 * Controllers before 2.0 do not know the form. Whatever the reason, one whose limits are
	 * not known is taken to have no bounded commands, so none is promised that it might abort.
	 */
	if (status && nvme_sct_sc(status) != NVME_SC_INVALID_FIELD)
		log_info("upstream %s: reading its size limits failed: %s", a->up->cfg.name,
			 admin_status_str(status));
	if (!status)
		request_copy_out(req, 0, &nvm, sizeof(nvm));
	limits_of(&a->limits, a->cap, &a->id, status ? NULL : &nvm);
	assoc_identified(a);
}

static void ask_limits(struct assoc *a)
{
	struct nvme_sqe sqe = {.opcode = nvme_admin_identify};

	sqe.cdw10 = htole32(NVME_IDENTIFY_CNS_CSI_CTRL);
	sqe.cdw11 = htole32((uint32_t)NVME_CSI_NVM << 24);
	admin_send(a, &sqe, sizeof(struct nvme_id_ctrl_nvm), patience(a), on_limits);
}

static void on_identify(struct assoc *a, struct request *req, uint16_t status)
{
	if (status) {
		assoc_fail(a, false, "Identify Controller failed: %s", admin_status_str(status));
		return;
	}
	request_copy_out(req, 0, &a->id, sizeof(a->id));
	if (a->up->cfg.discovery)
		assoc_identified(a);
	else
		ask_limits(a);
}

static void on_csts(struct assoc *a, struct request *req, uint16_t status)
{
	uint32_t csts = le32toh(req->cqe.result);

	if (status) {
		assoc_fail(a, false, "reading CSTS failed: %s", admin_status_str(status));
	} else if (csts & NVME_CSTS_FATAL) {
		assoc_fail(a, false, "the controller reports a fatal status");
	} else if (csts & NVME_CSTS_READY) {
		struct nvme_sqe sqe = {.opcode = nvme_admin_identify};

		a->enabled = true;
		sqe.cdw10 = htole32(NVME_IDENTIFY_CNS_CTRL);
		admin_send(a, &sqe, sizeof(a->id), patience(a), on_identify);
	} else if (loop_now(a->up->ss->mp->control) >= a->ready_by) {
		assoc_fail(a, false, "the controller does not become ready");
	} else {
		loop_timer_arm(&a->poll, POLL_INTERVAL);
	}
}

static void poll_csts(void *arg)
{
	prop_get(arg, NVMF_PROP_CSTS, false, on_csts);
}

static void on_cc(struct assoc *a, struct request *req, uint16_t status)
{
	if (status)
		assoc_fail(a, false, "enabling the controller failed: %s",
			   admin_status_str(status));
	else
		poll_csts(a);
}

static void on_cap(struct assoc *a, struct request *req, uint16_t status)
{
	struct nvme_sqe sqe = {.opcode = NVME_OPC_FABRICS};
	uint64_t to;

	if (status) {
		assoc_fail(a, false, "reading CAP failed: %s", admin_status_str(status));
		return;
	}
	a->cap = le64toh(req->cqe.result64);
	to = (a->cap >> 24 & 0xff) * 500 * NSEC_PER_MSEC; /* CAP.TO, 500 ms units */
	if (to < NSEC_PER_SEC)
		to = NSEC_PER_SEC;
	a->ready_by = loop_now(a->up->ss->mp->control) + to;
	loop_timer_init(&a->poll, a->up->ss->mp->control, poll_csts, a);
	sqe.nsid = htole32(nvme_fabrics_type_property_set);
	sqe.cdw11 = htole32(NVMF_PROP_CC);
	sqe.cdw12 = htole32(CC_VALUE);
	admin_send(a, &sqe, 0, patience(a), on_cc);
}

void enable_start(struct assoc *a)
{
	prop_get(a, NVMF_PROP_CAP, true, on_cap);
}
