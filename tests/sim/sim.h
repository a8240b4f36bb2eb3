/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator: the multipath engine, unmodified, on virtual time. One seed decides everything:
 * what there is, what hosts do, what goes wrong and when, and how messages between threads
 * interleave. So a run that fails is repeated exactly by its seed.
 *
 *	sim_loop.c    event loops on a virtual clock
 *	sim_target.c  upstream controllers in memory, which may execute lost commands late
 *	sim_pages.c   what they answer to admin commands
 *	sim_fault.c   what goes wrong
 *	sim_host.c    hosts that read and write
 *	sim_check.c   what must hold, whatever happens
 *	sim_main.c    seeds
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "multipath/multipath.h"

/* ---- options of all runs ---- */
extern struct sim_options {
	bool trace;	 /* tell what happens */
	int write_retry; /* enum mp_write_retry; -1: the seed's choice of safe ones */
	unsigned ops;	 /* commands of hosts in a run */
} sim_opt;

/* ---- chance ---- */
void sim_seed(uint64_t seed);
uint64_t sim_rand(void);
/* lo to hi, both included */
uint64_t sim_between(uint64_t lo, uint64_t hi);
bool sim_chance(unsigned percent);

/* ---- time and events ---- */
extern uint64_t sim_now; /* ns, from 1 s on */
struct sim_event;
/* Runs @fn(@arg) as a turn of @loop, or outside any loop for NULL. */
struct sim_event *sim_at(uint64_t when, struct loop *loop, void (*fn)(void *arg), void *arg);
void sim_cancel(struct sim_event *ev);
/* The next event; false: there is none up to @until, and the time is now @until. */
bool sim_step(uint64_t until);
/*
 * The thread of @loop gets no core: what is for it waits, and on sim_resume() comes in one turn.
 * sim_overdue() counts it.
 */
void sim_stall(struct loop *loop);
void sim_resume(struct loop *loop);
unsigned sim_overdue(const struct loop *loop);
struct loop *sim_any_worker(void);
/* Frees what is left. */
void sim_events_free(void);

/* ---- telling ---- */
extern unsigned sim_errors; /* lines that the engine has logged as errors */
__attribute__((format(printf, 1, 2))) void sim_say(const char *fmt, ...);
#define sim_trace(...)                        \
	do {                                  \
		if (sim_opt.trace)            \
			sim_say(__VA_ARGS__); \
	} while (0)
/* Something that must hold does not: the end of the process. */
__attribute__((noreturn, format(printf, 1, 2))) void sim_fail(const char *fmt, ...);

/* ---- hosts' commands and what is on the medium ---- */
#define SIM_BLOCKS     32
#define SIM_BLOCK_SIZE 512
#define SIM_NAMESPACES 2
#define SIM_ZERO       0u /* the value of a block that was never written, or zeroed */

enum sim_kind { SIM_READ, SIM_WRITE, SIM_ZEROES, SIM_FLUSH };

struct sim_op {
	uint32_t id; /* 1..; the value that a write leaves in its blocks */
	unsigned ns;
	enum sim_kind kind;
	unsigned slba, n;
	uint64_t inv, resp; /* resp: 0 while it is out */
	bool ok;
	int acked_by; /* controller whose success ended it */
	uint32_t acked_instance;
	uint64_t executed; /* there */
	struct request *req;
	bool host_gone;
	bool unfetched; /* the data of a write stays with the host until it is asked for */
};

/* ---- sim_target.c ---- */
struct sim_medium {
	uint32_t value[SIM_BLOCKS];
};

struct sim_ctrl {
	unsigned port;
	bool down;   /* refuses connections */
	bool silent; /* loses everything that is sent to it, and says nothing */
	uint64_t silent_since;
	bool stuck; /* takes commands in and does nothing about them, but for admin ones */
	uint8_t ana_state[SIM_NAMESPACES];
	bool attached[SIM_NAMESPACES];
	bool swapped;		       /* NSID 1 is another namespace, with another identity */
	uint64_t size[SIM_NAMESPACES]; /* blocks that it shows */
	uint16_t fault_status;	       /* of the next commands, not executed */
	unsigned fault_count;
	unsigned slow; /* times as slow */
	bool offers_reset;
	uint8_t zeroes_limit;		   /* WZSL, of bounded Write Zeroes; 0: of any size */
	bool limit_changes;		   /* it is another one after a crash */
	uint64_t flushed[SIM_NAMESPACES];  /* time of the last Flush executed */
	uint64_t detached[SIM_NAMESPACES]; /* time of the last detaching */
	uint64_t cut_off[SIM_NAMESPACES];  /* time when it was inaccessible last, but for now */
	unsigned nr_late;		   /* commands executed after their connection was lost */
};

#define SIM_CTRLS 4
extern struct sim_ctrl sim_ctrls[SIM_CTRLS];
extern struct sim_medium sim_media[SIM_NAMESPACES + 1]; /* the last: what a swapped NSID 1 is */
extern unsigned sim_nr_ctrls;
extern uint64_t sim_kato; /* ns */
extern uint16_t sim_cqt;  /* ms */
extern bool sim_tbkas, sim_no_ana;
extern const struct ini_transport ini_sim;

void sim_target_init(void);
void sim_target_free(void);
/* All connections break: the initiator hears of it. */
void sim_reset(struct sim_ctrl *c);
/* It dies, with all that it had not executed. @told: its connections are reset. */
void sim_crash(struct sim_ctrl *c, bool told);
void sim_silence(struct sim_ctrl *c);
void sim_heal(struct sim_ctrl *c);
/* Something that an event tells of: NVME_AER_NOTICE_*. */
void sim_notice(struct sim_ctrl *c, uint8_t info);
/* Commands that may still be executed late. */
unsigned sim_late_pending(void);
/* The association that was its controller has been lost, or reset. */
bool sim_instance_gone(uint32_t instance);

/* ---- sim_pages.c ---- */
struct sim_ident {
	uint16_t cntlid;
	uint8_t ciu;
	uint64_t cirn;
};
/* Answers with data to an admin command: fills the request. */
void sim_identify(const struct sim_ctrl *c, const struct sim_ident *ident, struct request *req);
void sim_log_page(const struct sim_ctrl *c, struct request *req);

/* ---- sim_fault.c ---- */
void sim_faults_start(uint64_t until);
/* One more, while a command is out. */
void sim_fault_soon(void);

/* ---- sim_host.c ---- */
extern struct mp_subsys *sim_ss;
/* Their commands are spread over @duration ns. */
void sim_hosts_start(unsigned workers, struct loop **loops, uint64_t duration);
/* Commands that hosts have not been answered yet. */
unsigned sim_hosts_out(void);
unsigned sim_hosts_done(void);

/* ---- sim_check.c ---- */
void sim_check_init(void);
struct sim_op *sim_check_new(void);
struct sim_op *sim_check_op(uint32_t id);
/* The command ends: with @status, and for a read what its blocks held. */
void sim_check_done(struct sim_op *op, uint16_t status, const uint32_t *values);
/* Nothing is out and nothing comes any more: what the media hold. */
void sim_check_media(void);
void sim_check_free(void);

#endif
