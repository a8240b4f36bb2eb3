/* SPDX-License-Identifier: Apache-2.0 */
/* Keep-alive and asynchronous events of an association. */
#include "multipath/control.h"
#include "transport/log.h"

/* ---- keep alive: sent every half of KATO, answered within the other half ---- */

static void on_keep_alive(struct assoc *a, struct request *req, uint16_t status)
{
	if (status)
		assoc_fail(a, false, "Keep Alive failed: %s", admin_status_str(status));
}

static void send_keep_alive(void *arg)
{
	struct assoc *a = arg;
	struct nvme_sqe sqe = {.opcode = nvme_admin_keep_alive};

	loop_timer_arm(&a->keep_alive, a->up->cfg.keep_alive_tmo / 2);
	admin_send(a, &sqe, 0, a->up->cfg.keep_alive_tmo / 2, on_keep_alive);
}

/* ---- asynchronous events (Base 2.0, 5.2) ---- */

static void send_aer(struct assoc *a);

static void on_notice(struct assoc *a, uint8_t info)
{
	switch (info) {
	case NVME_AER_NOTICE_NS_CHANGED:
		scan_start(a);
		break;
	case NVME_AER_NOTICE_ANA:
		ana_start(a);
		break;
	case NVME_AER_NOTICE_DISC_CHANGED:
		if (a->up->cfg.discovery)
			disc_start(a);
		break;
	default:
		break;
	}
}

static void on_aer(struct assoc *a, struct request *req, uint16_t status)
{
	uint32_t result = le32toh(req->cqe.result);

	if (status) { /* e.g. no more allowed: live without */
		log_warn("upstream %s: asynchronous events refused: %s", a->up->cfg.name,
			 admin_status_str(status));
		return;
	}
	if ((result & 7) == NVME_AER_NOTICE)
		on_notice(a, result >> 8 & 0xff);
	else
		log_warn("upstream %s: asynchronous event %#x", a->up->cfg.name, result);
	send_aer(a);
}

static void send_aer(struct assoc *a)
{
	struct nvme_sqe sqe = {.opcode = nvme_admin_async_event};

	admin_send(a, &sqe, 0, 0, on_aer);
}

static void on_aen_config(struct assoc *a, struct request *req, uint16_t status)
{
	if (status)
		log_warn("upstream %s: Asynchronous Event Configuration refused: %s",
			 a->up->cfg.name, admin_status_str(status));
}

void events_start(struct assoc *a)
{
	uint32_t want = NVME_AEN_NS_ATTR | NVME_AEN_ANA_CHANGE | NVME_AEN_DISC_CHANGE;
	struct nvme_sqe sqe = {.opcode = nvme_admin_set_features};

	want &= le32toh(a->id.oaes);
	if (want) {
		sqe.cdw10 = htole32(NVME_FEAT_FID_ASYNC_EVENT);
		sqe.cdw11 = htole32(want);
		admin_send(a, &sqe, 0, a->up->cfg.connect_timeout, on_aen_config);
		send_aer(a);
	}
	if (a->up->cfg.keep_alive_tmo) {
		loop_timer_init(&a->keep_alive, a->up->ss->mp->control, send_keep_alive, a);
		loop_timer_arm(&a->keep_alive, a->up->cfg.keep_alive_tmo / 2);
	}
}
