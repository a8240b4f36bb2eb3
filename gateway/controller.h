/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host-facing controller, made at Connect and gone with its admin queue, and the queues that
 * hosts connect.
 *
 * Controllers live on control. A host_queue is born there with its connection; after Connect an I/O
 * queue's connection moves to a worker while control keeps the struct, and the two talk by
 * messages. The struct is freed on control, once the connection has gone and no message points to
 * it.
 */
#ifndef GATEWAY_CONTROLLER_H
#define GATEWAY_CONTROLLER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gateway/gateway.h"
#include "transport/target.h"

#define CTRL_ERROR_ENTRIES     64u  /* ELPE + 1 */
#define CTRL_AER_LIMIT	       4u   /* AERL + 1 */
#define CTRL_ABORT_LIMIT       4u   /* ACL + 1 */
#define CTRL_CCR_LIMIT	       4u   /* CCRL */
#define CTRL_ADMIN_QUEUE_MAX   128u /* entries */
#define CTRL_MIN_ADMIN_ENTRIES 32u
/* Data segments for admin commands that each host is sure to get (see admin.c) */
#define CTRL_ADMIN_COMMANDS 8u /* commands with one segment each, */
#define CTRL_ADMIN_SEGMENTS 4u /* or one with as many as the ANA log needs before those */
#define CTRL_NS_WORDS	    (SUBSYS_MAX_NSID / 64 + 1)
#define CSTS_SHST_MASK	    (3u << NVME_CSTS_SHST_SHIFT)
#define CSTS_SHST_OCCURRING ((uint32_t)NVME_CSTS_SHST_OCCUR << NVME_CSTS_SHST_SHIFT)
#define CSTS_SHST_DONE	    ((uint32_t)NVME_CSTS_SHST_CMPLT << NVME_CSTS_SHST_SHIFT)
#define CTRL_READY_TIMEOUT  30u /* CAP.TO and CRTO.CRWMT, 500 ms units */

/* What an Error Information log entry says of a command. */
struct error_entry {
	uint64_t count; /* 1.. over the controller's life */
	uint64_t lba;
	uint32_t nsid;
	uint16_t sqid, cid, status;
};

struct host_queue {
	/* control's */
	TAILQ_ENTRY(host_queue) link; /* in gateway.strangers while ctrl is NULL */
	struct gateway *gw;
	struct controller *ctrl;
	struct addr peer, local;
	uint16_t qid;
	unsigned refs;	      /* the connection, and messages on their way */
	unsigned worker;      /* index; for I/O queues */
	bool placed;	      /* it counts there */
	bool closing;	      /* control has asked for the end */
	struct tgt_qpair *qp; /* NULL: control knows that it has gone */

	/* admin commands that wait for the host to take the answers to earlier ones */
	TAILQ_HEAD(, request) postponed;
	unsigned nr_postponed;
	bool in_line; /* of gateway.line, or it has none */
	TAILQ_ENTRY(host_queue) line;

	/* of the loop that has the connection */
	bool closed;
	bool disconnected; /* Disconnect was accepted */

	/* set before the move, then read only */
	struct mp_subsys *mp;
	struct limits limits;	 /* the controller's */
	const atomic_bool *acre; /* the controller's */

	/* the worker writes, anybody reads */
	stat_t commands, reads, writes, read_bytes, write_bytes;
	/* one failed command on its way to control's error log */
	atomic_bool error_busy;
	struct error_entry error;
};

struct controller {
	TAILQ_ENTRY(controller) link; /* in subsystem.controllers */
	struct subsystem *ss;
	struct controller_ident ident;
	unsigned refs;		 /* host_queue structs that point here */
	bool dying;		 /* its queues are being closed */
	bool denied;		 /* the same, as its host is no longer allowed */
	struct addr peer, local; /* of the admin connection */
	const struct gw_listener *listener;
	uint64_t since; /* loop time of Connect */

	struct host_queue *admin; /* NULL: gone */
	unsigned max_io_queues;	  /* 0: discovery controller */
	unsigned granted;	  /* I/O queues, by Set Features */
	unsigned nr_queues;	  /* I/O queues there are */

	uint32_t cc, csts;
	bool enabling;	   /* EN was set, RDY is not yet */
	bool resetting;	   /* EN was cleared, I/O queues are closing */
	uint64_t shutdown; /* of the runs of shutdown.c the one that its host waits for; 0: none */

	/* told at enable, kept while enabled */
	struct limits limits;

	struct loop_timer keep_alive;
	uint32_t kato;	  /* ms; 0: none asked for */
	uint64_t ka_seen; /* commands when the timer was armed */

	/* features, as the host set them */
	uint32_t arbitration, temp_over, temp_under, write_atomicity, aen_config;
	uint16_t error_recovery[SUBSYS_MAX_NSID + 1];
	atomic_bool acre; /* statuses may carry a retry delay; workers read it */

	/* asynchronous events */
	TAILQ_HEAD(, request) aers;
	unsigned nr_aers;
	uint8_t aen_pending; /* bit set by enum aen */
	uint8_t aen_masked;  /* until the log page is read */
	/* bit sets by NSID: what is new, and what is in the list that the host reads */
	uint64_t changed_ns[CTRL_NS_WORDS], listed_ns[CTRL_NS_WORDS];

	unsigned nr_aborts; /* being carried out */
	unsigned nr_ccrs;   /* the same */
	uint64_t admin_commands;
	struct io_totals gone; /* by I/O queues that have gone */
	uint64_t errors;
	struct error_entry error_log[CTRL_ERROR_ENTRIES]; /* ring: entry n is at n % size */

	struct host_queue *queues[]; /* by QID, [0..max_io_queues]; [0] unused */
};

extern const struct tgt_ops gateway_tgt_ops;

static inline bool controller_is_discovery(const struct controller *c)
{
	return !c->ss->cfg;
}

static inline bool controller_ready(const struct controller *c)
{
	return (c->csts & NVME_CSTS_READY) && !c->resetting;
}

/* Takes the connection of @q as admin queue. NULL when there are too many controllers. */
struct controller *controller_new(struct subsystem *ss, struct host_queue *q, const char *hostnqn,
				  const uint8_t hostid[16], uint32_t kato);
/* Takes the connection of @q as I/O queue @qid: sets its worker. */
void controller_add_queue(struct controller *c, struct host_queue *q, uint16_t qid);
/* Ends the controller with all its connections; freed later. @reason is for the log. */
void controller_end(struct controller *c, const char *reason);
uint64_t controller_cap(const struct controller *c);
/* To be called before CSTS.RDY is looked at for the host: what it waits for may have come. */
void controller_check_ready(struct controller *c);
/* The host writes CC. */
void controller_set_cc(struct controller *c, uint32_t cc);
/* ms, rounded up to what KAS says; takes effect at once. */
void controller_set_kato(struct controller *c, uint32_t kato);
void controller_io_totals(const struct controller *c, struct io_totals *t);
/* Enters a failed command; e.count is filled in here. */
void controller_log_error(struct controller *c, struct error_entry e);

/* Asks for the end of the connection, wherever it is. */
void queue_close(struct host_queue *q, const char *reason);
/* For messages to a worker that carry @q. */
void queue_get(struct host_queue *q);
void queue_put(struct host_queue *q);

#endif
