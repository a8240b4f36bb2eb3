/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The NVMe/TCP target on loopback between two scripted ends: a gateway that does what the test
 * says, and hosts that send whatever bytes the test wants. No threads: every wait turns both loops.
 */
#ifndef TESTS_RAW_HOST_H
#define TESTS_RAW_HOST_H

#include <pthread.h>
#include <stdatomic.h>

#include "transport/pool.h"
#include "transport/target.h"
#include "transport/tcp_pdu.h"

#define RAW_ICD	    4096u
#define RAW_MAX_H2C 8192u
#define RAW_SQ_SIZE 16u

/* ---- the gateway's end ---- */

/* What the gateway has of one connection. */
struct gate {
	struct tgt_qpair *qp; /* NULL once control has heard of closed() */
	unsigned opened, commands, ready, failed;
	atomic_uint closed, moved;
	uint16_t fail_status;
	char reason[160];
	enum tgt_end end;
	struct request *last; /* the newest command */
	/* What to do with a command that is not a Connect; NULL: keep it for the test. */
	void (*on_command)(struct gate *g, struct request *req);
	void (*on_ready)(struct gate *g, struct request *req);
	bool keep_orphans; /* closed() leaves the requests alone */
};

extern struct loop *raw_control, *raw_worker;
extern struct tgt_config raw_cfg;
extern struct tgt_listener *raw_listener;
extern unsigned raw_requests, raw_segments; /* of the pools; set before raw_start() */
extern uint16_t raw_connect_status;	    /* what a Connect gets */
extern bool raw_fetch_connect;		    /* Connect data is not in the capsule */
extern int raw_rcvbuf;			    /* of hosts to come; 0: the kernel's choice */

/* cmocka's setup and teardown. The teardown checks that nothing is left in the pools. */
int raw_setup(void **state);
int raw_teardown(void **state);
/* Starts to listen, with raw_cfg; done by the first raw_dial() if not before. */
void raw_start(void);
/* The gate of the @i-th connection that got as far as ICResp. */
struct gate *raw_gate(unsigned i);

/* From here on the worker has a thread of its own, until the teardown. */
void raw_start_thread(void);
/* Turns of the loops; the worker's only while it has no thread. */
void raw_turns(unsigned n);

/* Nothing but the loops and the sockets of this process take part, so this is bounded. */
#define RAW_UNTIL(cond)                                        \
	do {                                                   \
		unsigned tries_ = 0;                           \
		while (!(cond)) {                              \
			assert_in_range(tries_++, 0, 1000000); \
			raw_turns(1);                          \
		}                                              \
	} while (0)

/* Waits for timers too: at most a minute. */
#define RAW_WAIT(cond)                                                           \
	do {                                                                     \
		uint64_t end_ = loop_now_exact(raw_control) + 60 * NSEC_PER_SEC; \
		while (!(cond)) {                                                \
			assert_true(loop_now_exact(raw_control) < end_);         \
			raw_turns(1);                                            \
		}                                                                \
	} while (0)

/* ---- a host's end ---- */

struct host {
	int fd;
	struct tcp_wire wire;	/* how it writes: pda is the CPDA it obeys */
	struct tcp_rules rules; /* how it reads: pda is the HPDA it asked for */
	uint32_t max_h2c;
	struct gate *gate;
};

struct heard {
	uint8_t head[TCP_HEAD_MAX];
	struct tcp_pdu pdu;
	uint8_t data[1024 * 1024];
};

/* A connection without a word said. */
struct host raw_dial(void);
/* ICReq and ICResp. */
struct host raw_shake(uint8_t hpda, bool hdgst, bool ddgst);
/* The same and a Connect: of the admin queue, or of an I/O queue which is then on the worker. */
struct host raw_admin(void);
struct host raw_io(void);
/* With what the test wants of all that. */
void raw_connect(struct host *h, uint16_t qid, uint16_t sq_size, uint8_t cattr);
void raw_hang_up(struct host *h);

void raw_put(struct host *h, const void *buf, size_t len);
void raw_get(struct host *h, void *buf, size_t len);
/* One PDU, checked with the codec as a host would, and its data digest. */
void raw_hear(struct host *h, struct heard *out);
/* The next PDU is the response to @cid, with @status. */
void raw_hear_status(struct host *h, uint16_t cid, uint16_t status);
/* The connection ends without another byte. */
void raw_hear_end(struct host *h);
/* The connection ends with a C2HTermReq that quotes @bad; what comes before is skipped. */
void raw_hear_term(struct host *h, uint16_t fes, uint32_t fei, const uint8_t *bad, size_t bad_len);

/* The data that all tests move, from byte @off on; REQUEST_MAX_DATA bytes and a few more. */
const uint8_t *raw_pattern(uint32_t off);

/* A command entry: opcode 1 moves data to us, 2 to the host, 0 none. */
struct nvme_sqe raw_sqe(uint8_t opcode, uint16_t cid, uint8_t sgl_type, uint32_t len);
/* The bytes of a capsule with @icd_len bytes of the pattern; returns their number. */
size_t raw_capsule(const struct host *h, uint8_t *b, const struct nvme_sqe *sqe, uint32_t icd_len);
/* The bytes of an H2CData PDU with bytes [off, off + len) of the pattern. */
size_t raw_h2c(const struct host *h, uint8_t *b, uint16_t cid, uint16_t ttag, uint32_t off,
	       uint32_t len, uint8_t flags);
/* Sends: a write whose data is asked for, a write with its data, a read, a command without data. */
void raw_write(struct host *h, uint16_t cid, uint32_t len);
void raw_write_icd(struct host *h, uint16_t cid, uint32_t len);
void raw_read(struct host *h, uint16_t cid, uint32_t len);
void raw_flush(struct host *h, uint16_t cid);
/* Hears the R2T for all of @cid's data; its tag. */
uint16_t raw_hear_r2t(struct host *h, uint16_t cid, uint32_t len);
/* Sends all that the R2T asked for, in PDUs of at most MAXH2CDATA. */
void raw_serve_r2t(struct host *h, uint16_t cid, uint16_t ttag, uint32_t len);
/* Hears the data of a read, then the response unless the data stands for it. */
void raw_hear_read(struct host *h, uint16_t cid, uint32_t len, bool success_flag);

/* Makes the pattern the data of a read, all of it, without answering. */
void raw_fill(struct request *req, uint32_t len);
/* The request's data is the pattern. */
void raw_check(const struct request *req, uint32_t len);

/* ---- commands that the gateway carries out by itself ---- */
/* Reads return the pattern, writes are fetched and checked, all succeed. */
void raw_serve(struct gate *g, struct request *req);
void raw_serve_ready(struct gate *g, struct request *req);

#endif
