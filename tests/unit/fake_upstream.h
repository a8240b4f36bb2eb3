/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An upstream controller in memory behind struct ini_transport: what the multipath engine is tested
 * against. A controller is found by its port; tests set what it shows and how it behaves.
 */
#ifndef TESTS_FAKE_UPSTREAM_H
#define TESTS_FAKE_UPSTREAM_H

#include "transport/initiator.h"

#define FAKE_MAX_NS 40
#define FAKE_GROUPS 2

struct fake_ns {
	bool present;
	uint64_t nsze;
	uint8_t uuid_fill;  /* every byte of its UUID */
	uint8_t nguid_fill; /* 0: none */
	bool private;
};

#define FAKE_ENTRIES 4
/* Of a discovery log: what is behind that port of 127.0.0.1 */
struct fake_entry {
	unsigned port;
	const char *nqn;
};

struct fake_ctrl {
	bool down;   /* refuses to connect */
	bool stuck;  /* accepts I/O commands and does not complete them */
	bool silent; /* the same, and admin commands too */
	uint16_t connect_status;
	uint16_t io_status;   /* of every I/O command, when not 0 */
	unsigned io_statuses; /* only of so many, when not 0 */
	uint64_t latency;     /* ns that each I/O command takes */
	uint64_t latency_kib; /* and ns for each KiB that it moves */
	uint8_t ana_state;    /* of its group 1, where all namespaces are at first */
	uint8_t ana_state_2;
	uint8_t group[FAKE_MAX_NS + 1]; /* of a namespace; 0: group 1 */
	bool no_ana;
	uint32_t mnan;		 /* the more, the longer its ANA log; 0: all in one page */
	unsigned ana_moves;	 /* so often the log changes while it is read in parts, */
	uint8_t ana_state_moved; /* and this is what group 1 is in the end */
	uint64_t ana_chgcnt;
	unsigned ana_reads; /* from the beginning of the log */
	bool twin;	    /* has the CNTLID of its sibling */
	uint16_t queues;    /* granted; 0: what is asked */
	uint8_t mdts;
	uint16_t oncs;	      /* besides Write Zeroes */
	bool no_write_zeroes; /* bit in ONCS: there, all the same, with a size limit */
	struct nvme_id_ctrl_nvm nvm;
	uint16_t nvm_status; /* what it answers to Identify of these; 0: well */
	uint8_t acl;	     /* Abort Command Limit, 0's based */
	bool aborts_work;    /* a command that it is asked to abort ends */
	uint16_t crdt[3];    /* Command Retry Delay Times, 100 ms units */
	bool acre;	     /* the host has said that it honours them */
	uint16_t kas, cqt;   /* 100 ms units; ms */
	bool tbkas;	     /* any command restarts the Keep Alive Timer */
	unsigned numa;	     /* node that it is reached from, plus 1; 0: not known */
	const char *subnqn;  /* that Identify says; NULL: none */
	/* Cross-Controller Reset: of itself, and of others through it */
	uint8_t ciu, ccrl;
	uint64_t cirn;
	uint16_t reset_status;
	bool reset_later; /* is not done when the command is */
	unsigned resets;  /* commands, and what the last one said */
	uint32_t reset_cdw10;
	uint64_t reset_cirn;
	/* what it answers to Identify of a namespace, to the descriptors; 0: well */
	uint16_t idns_status, descs_status;
	struct nvme_id_ns idns; /* of every namespace, besides what struct fake_ns says */
	bool holds_list;	/* does not answer to a request for its namespace list, */
	bool holds_idns;	/* to Identify of a namespace */
	struct fake_ns ns[FAKE_MAX_NS + 1];   /* by NSID */
	struct fake_entry disc[FAKE_ENTRIES]; /* its discovery log, up to one without a port */
	uint64_t genctr;
	bool genctr_moves;   /* whenever the log has been read */
	unsigned disc_reads; /* from the beginning of the log */
	unsigned reads, writes, flushes, others, connects, aborts;
	unsigned keep_alives;
	uint32_t last_nsid;
	uint64_t last_slba;
};

/* Ports 1.. of 127.0.0.1 */
extern struct fake_ctrl fake_ctrls[8];
/* Over a network, and of the kinds that have no connection. */
extern const struct ini_transport ini_fake, ini_fake_local;

/* Every connection of the controller breaks. */
void fake_cut(unsigned port);
/* It looks at its commands again: `stuck` and the like have changed. */
void fake_look(unsigned port);
/* A notice to every host that waits for one. */
void fake_notice(unsigned port, uint8_t info);

#endif
