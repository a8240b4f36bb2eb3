/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of an RDMA connection on raw verbs, for peers that do what no library would. Nothing
 * waits in the kernel and nothing has a thread, so that the other end may be in this process:
 * raw_turn is what that one needs to go on. What cannot be done at all ends the process, with a
 * line that says what it was.
 */
#ifndef TESTS_RAW_RDMA_H
#define TESTS_RAW_RDMA_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rdma/rdma_cma.h>

#include "transport/rdma_wire.h"

#define RAW_QUEUE   32u
#define RAW_PATIENT 10000u /* ms */

struct raw {
	struct rdma_event_channel *channel;
	struct rdma_cm_id *id;
	struct ibv_pd *pd;
	struct ibv_cq *sends, *receives;
	struct ibv_mr *mr;
	unsigned out; /* work requests that raw_sent() waits for */
};

/* What the connection manager has said. */
struct raw_event {
	enum rdma_cm_event_type type;
	int status;
	struct rdma_cm_id *id;
	uint8_t private_data[RDMA_PRIVATE_LEN];
	size_t private_len;
};

__attribute__((noreturn)) void raw_die(const char *what);

/* NULL: nothing has to be done while something is waited for. */
extern void (*raw_turn)(void);
/* A turn, and a moment's rest. */
void raw_rest(void);

/* Whether @cond comes true within RAW_PATIENT. */
#define RAW_UNTIL(cond)                                                             \
	({                                                                          \
		bool is_;                                                           \
		for (unsigned ms_ = 0; !(is_ = (cond)) && ms_ < RAW_PATIENT; ms_++) \
			raw_rest();                                                 \
		is_;                                                                \
	})

/* For what cannot but come true. */
#define RAW_MUST(cond, what)               \
	do {                               \
		if (!RAW_UNTIL(cond)) {    \
			errno = ETIMEDOUT; \
			raw_die(what);     \
		}                          \
	} while (0)

/* ---- connections ---- */

/* False: it has said nothing more. */
bool raw_event(struct raw *r, struct raw_event *e);
/* The next event, which must be of this type. */
void raw_expect(struct raw *r, enum rdma_cm_event_type type, struct raw_event *e);

void raw_listen(struct raw *r, const char *address, const char *port);
/* Waits for a connection that is asked for; it is heard of through the listener's events. */
struct raw_event raw_wait_request(struct raw *listener, struct raw *r);
/* Finds the way; the queue pair can be made then. */
void raw_dial(struct raw *r, const char *address, const char *port);
/* The peer is to reach @mem in every way; @sends: work requests at a time. */
void raw_make_queue(struct raw *r, void *mem, size_t len, unsigned sends);
/* Asks for the connection: true, or what the rejection said. */
bool raw_call(struct raw *r, const uint8_t *private_data, enum rdma_rej *why);
void raw_accept(struct raw *r, const uint8_t *private_data, size_t len);
void raw_hang_up(struct raw *r);

/* ---- work requests; all memory is of raw_make_queue() ---- */

void raw_receive(struct raw *r, void *mem, uint32_t len);
/* @invalidate: a key of the peer's; 0: none. */
void raw_send(struct raw *r, const void *mem, uint32_t len, uint32_t invalidate);
/* IBV_WR_RDMA_READ or IBV_WR_RDMA_WRITE, of one of the peer's keys. */
void raw_move(struct raw *r, enum ibv_wr_opcode opcode, void *mem, uint32_t len, uint64_t addr,
	      uint32_t key);
/* Waits for all that was sent and moved: success, or what became of the first that went wrong. */
enum ibv_wc_status raw_sent(struct raw *r);
/* False: none has ended. Work requests end in the order in which they were given. */
bool raw_done(struct ibv_cq *cq, struct ibv_wc *wc);

#endif
