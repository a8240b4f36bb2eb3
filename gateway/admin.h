/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admin and Fabrics commands, inside gateway/: one table per kind of thing that a host may name
 * (opcode, CNS, log page, feature), so what is supported, what is reported as supported and what is
 * carried out are one. Control loop only, but for fabrics_io_command().
 */
#ifndef GATEWAY_ADMIN_H
#define GATEWAY_ADMIN_H

#include "gateway/controller.h"

/* Kinds of controllers that a table entry is for. */
#define FOR_IO	 0x1
#define FOR_DISC 0x2
#define FOR_BOTH (FOR_IO | FOR_DISC)

static inline uint8_t admin_kind(const struct controller *c)
{
	return controller_is_discovery(c) ? FOR_DISC : FOR_IO;
}

/* A handler's answer when the command completes later; no status has this value. */
#define ADMIN_LATER 0xffffu

/* What the commands of all hosts share; fini is right without init. */
void admin_init(struct gateway *gw);
void admin_fini(struct gateway *gw);
/* A command on a qpair that control has. */
void admin_command(struct host_queue *q, struct request *req);
/* Its host data is there. */
void admin_data_ready(struct host_queue *q, struct request *req);
/* Answers a command of a connected controller; enters failures in its error log. */
void admin_complete(struct controller *c, struct request *req, uint16_t status);
/* The connection is gone: finishes what waits for something here. */
void admin_closed(struct host_queue *q);
/* Commands Supported and Effects entry of an admin opcode. */
uint32_t admin_effects(const struct controller *c, uint8_t opcode);

/*
 * Handlers. C2H data: len() tells how much the command's fields ask for, run() finds it allocated,
 * zeroed and of that size in req->data_len. Both return 0 or a status (run() also ADMIN_LATER).
 */
uint16_t identify_run(struct controller *c, struct request *req);
uint32_t log_page_len(const struct nvme_sqe *sqe);
uint16_t log_page_run(struct controller *c, struct request *req);
uint32_t feature_get_len(const struct nvme_sqe *sqe);
uint16_t feature_get_run(struct controller *c, struct request *req);
uint32_t feature_set_len(const struct nvme_sqe *sqe);
uint16_t feature_set_run(struct controller *c, struct request *req);
uint16_t aer_run(struct controller *c, struct request *req);
uint16_t abort_run(struct controller *c, struct request *req);
uint16_t ccr_run(struct controller *c, struct request *req);

/* The controller is about to be freed: answers what waits for that. */
void ccr_controller_gone(struct controller *c);

/* ---- Fabrics commands (fabrics.c) ---- */
void fabrics_command(struct host_queue *q, struct request *req);
/* Those that may come on a connected I/O queue. Worker loop. */
void fabrics_io_command(struct host_queue *q, struct request *req);
/* How a qpair is named in log lines; buf holds ADDR_STR_MAX. */
const char *queue_peer(const struct host_queue *q, char *buf);

/* ---- asynchronous events (aer.c) ---- */
enum aen { AEN_ANA, AEN_NS, AEN_DISC, AEN_COUNT }; /* in the order of delivery */

/* What the controller offers in OAES. */
uint32_t aer_offered(const struct controller *c);
/* Tells the host now or when it can be told, unless it did not ask or need not know. */
void aer_raise(struct controller *c, enum aen ev);
/* The host has read log page @lid, and events that point there are cleared. */
void aer_log_read(struct controller *c, uint8_t lid);
/* Ends the AER with @cid: true, or false when there is none. */
bool aer_abort(struct controller *c, uint16_t cid);
/* Ends them all and forgets all events. */
void aer_reset(struct controller *c);

/* ---- log pages ---- */

/* A log page being written from its start, of which the host wants [from, from + len). */
struct log_out {
	struct request *req;
	uint64_t pos, from;
	uint32_t len;
};
/* Appends @n bytes; NULL: zeroes. */
void log_put(struct log_out *o, const void *src, uint64_t n);
void discovery_log(const struct controller *c, struct log_out *o);
/* What the discovery log says has changed. */
void discovery_changed(struct gateway *gw);

/* Space padded ASCII field. */
void ascii_field(char *dst, size_t len, const char *src);

#endif
