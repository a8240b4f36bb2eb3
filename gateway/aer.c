/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asynchronous Event Requests (Base 2.0, 5.2). An event is told once and is then masked until the
 * host reads the log page that it points to: a change in between needs no word, the host will read
 * of it.
 */
#include "gateway/admin.h"

#define ST_AER_LIMIT (NVME_STATUS(1, NVME_SC_ASYNC_LIMIT) | NVME_DNR)

static const struct {
	uint32_t config; /* bit of OAES and of the Asynchronous Event Configuration feature */
	uint8_t kinds;
	uint8_t info, lid;
} events[AEN_COUNT] = {
	[AEN_ANA] = {NVME_AEN_ANA_CHANGE, FOR_IO, NVME_AER_NOTICE_ANA, NVME_LOG_LID_ANA},
	[AEN_NS] = {NVME_AEN_NS_ATTR, FOR_IO, NVME_AER_NOTICE_NS_CHANGED, NVME_LOG_LID_CHANGED_NS},
	[AEN_DISC] = {NVME_AEN_DISC_CHANGE, FOR_DISC, NVME_AER_NOTICE_DISC_CHANGED,
		      NVME_LOG_LID_DISCOVER},
};

uint32_t aer_offered(const struct controller *c)
{
	uint32_t oaes = 0;

	for (unsigned i = 0; i < AEN_COUNT; i++)
		if (events[i].kinds & admin_kind(c))
			oaes |= events[i].config;
	return oaes;
}

static struct request *take(struct controller *c, struct request *req)
{
	TAILQ_REMOVE(&c->aers, req, link);
	c->nr_aers--;
	return req;
}

static void deliver(struct controller *c)
{
	for (unsigned i = 0; i < AEN_COUNT && !TAILQ_EMPTY(&c->aers); i++) {
		struct request *req;

		if (!(c->aen_pending & 1u << i))
			continue;
		c->aen_pending &= ~(1u << i);
		/* It may not want to be told any more. */
		if (!(c->aen_config & events[i].config))
			continue;
		c->aen_masked |= 1u << i;
		req = take(c, TAILQ_FIRST(&c->aers));
		req->cqe.result = htole32(NVME_AER_NOTICE | (uint32_t)events[i].info << 8 |
					  (uint32_t)events[i].lid << 16);
		tgt_complete_status(req, 0);
	}
}

void aer_raise(struct controller *c, enum aen ev)
{
	if (!(c->aen_config & events[ev].config) || (c->aen_masked & 1u << ev))
		return;
	c->aen_pending |= 1u << ev;
	deliver(c);
}

void aer_log_read(struct controller *c, uint8_t lid)
{
	for (unsigned i = 0; i < AEN_COUNT; i++) {
		if (events[i].lid != lid)
			continue;
		c->aen_masked &= ~(1u << i);
		c->aen_pending &= ~(1u << i);
	}
}

uint16_t aer_run(struct controller *c, struct request *req)
{
	if (c->nr_aers >= CTRL_AER_LIMIT)
		return ST_AER_LIMIT;
	TAILQ_INSERT_TAIL(&c->aers, req, link);
	c->nr_aers++;
	deliver(c);
	return ADMIN_LATER;
}

bool aer_abort(struct controller *c, uint16_t cid)
{
	struct request *req;

	TAILQ_FOREACH(req, &c->aers, link) {
		if (req->cid == cid) {
			tgt_complete_status(take(c, req), NVME_STATUS(0, NVME_SC_ABORT_REQ));
			return true;
		}
	}
	return false;
}

void aer_reset(struct controller *c)
{
	while (!TAILQ_EMPTY(&c->aers))
		tgt_complete_status(take(c, TAILQ_FIRST(&c->aers)),
				    NVME_STATUS(0, NVME_SC_ABORT_QUEUE));
	c->aen_pending = 0;
	c->aen_masked = 0;
}
