/* SPDX-License-Identifier: Apache-2.0 */
/* An exported subsystem: which hosts may connect, its controllers, its namespaces as hosts see
 * them. Control loop only. */
#ifndef GATEWAY_SUBSYSTEM_H
#define GATEWAY_SUBSYSTEM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gateway/config.h"
#include "multipath/multipath.h"
#include "transport/stats.h"

struct controller;
struct gateway;
struct file_ns;

/* NSIDs are 1..SUBSYS_MAX_NSID, each namespace is an ANA group of its own with the same number. */
#define SUBSYS_MAX_NSID 1024u

/* One life of a controller, as its host knows it. */
struct controller_ident {
	uint16_t cntlid;
	uint8_t ciu;   /* Controller Instance Uniquifier, never 0 */
	uint64_t cirn; /* Controller Instance Random Number, never 0 */
	char hostnqn[NVMF_NQN_MAX + 1];
	uint8_t hostid[16];
};
#define SUBSYS_ENDED 64u /* remembered lives */

/* Summed over queues. */
struct io_totals {
	uint64_t commands, reads, writes, read_bytes, write_bytes;
};

struct subsystem {
	TAILQ_ENTRY(subsystem) link;
	struct gateway *gw;
	struct subsys_cfg *cfg; /* its own; NULL: the discovery subsystem */
	struct mp_subsys *mp;	/* NULL: the same */
	const char *nqn;
	uint16_t cntlid_min, cntlid_max, cntlid_next;
	unsigned max_controllers;
	TAILQ_HEAD(, controller) controllers; /* by time of Connect */
	unsigned nr_controllers;
	struct io_totals gone; /* by queues that have gone */
	uint32_t max_nsid;     /* NN; its ANA log must fit a transfer */
	uint64_t ana_changes;  /* change count of the ANA log */
	uint64_t ana_group_changes[SUBSYS_MAX_NSID + 1];
	struct {
		uint64_t run;  /* the last one, 1.. */
		unsigned left; /* Flushes of it that are under way */
	} shutdown;	       /* see shutdown.c */
	/* Cross-Controller Reset */
	uint8_t ciu_next;
	struct controller_ident ended[SUBSYS_ENDED]; /* ring: entry n is at n % size */
	unsigned nr_ended;
	TAILQ_HEAD(, ccr) ccrs; /* that wait for their controllers to go */
	bool leaving;		/* see subsystem_leave() */
	struct file_ns **files; /* by upstream, of the kind "file"; until its start */
};

/* How many NSIDs there are when a transfer has up to @max_transfer bytes. */
uint32_t subsystem_max_nsid(uint32_t max_transfer);

#define SUBSYSTEM_ERROR_MAX 512
/* Copies @cfg and opens what can fail to open; NULL with why set. Any thread, may block. */
struct subsystem *subsystem_new(struct gateway *gw, const struct subsys_cfg *cfg,
				char why[SUBSYSTEM_ERROR_MAX]);
/* Opens the file of an upstream; the same. */
struct file_ns *subsystem_open_file(const struct upstream_cfg *up, char why[SUBSYSTEM_ERROR_MAX]);
/* Starts its upstreams; gateway.mp is set. */
void subsystem_start(struct subsystem *ss);
/*
 * It is exported no more: ends its hosts, then its upstreams, and frees it, when nothing that is
 * out needs it any more. Until then it is in gateway.leaving.
 */
void subsystem_leave(struct subsystem *ss);
/* Its last controller has gone. */
void subsystem_hosts_gone(struct subsystem *ss);
void subsystem_free(struct subsystem *ss);

/* ---- changes while it runs ---- */
/* Copies @cfg, of the same NQN, which says the same as the one before it, if in another order. */
void subsystem_take_cfg(struct subsystem *ss, const struct subsys_cfg *cfg);
/*
 * The same for one that says something else, which takes effect: all but the upstreams, which are
 * for who calls. Hosts that may not be connected any more are ended.
 */
void subsystem_reconfigure(struct subsystem *ss, const struct subsys_cfg *cfg);
/* Sets and remembers; they are part of the running configuration from now on. */
void subsystem_set_path_admin(struct subsystem *ss, struct path *p, enum path_admin admin);
void subsystem_set_path_weight(struct subsystem *ss, struct path *p, unsigned weight);
void subsystem_set_policy(struct subsystem *ss, enum mp_policy policy);
void subsystem_set_head_policy(struct subsystem *ss, struct head *h, enum mp_policy policy);

void subsystem_init_discovery(struct subsystem *ss, struct gateway *gw);

#define PATH_NAME_MAX (MP_NAME_MAX + 12)
/* UPSTREAM/NSID, where NSID is the upstream's. Returns buf. */
char *subsystem_path_name(const struct path *p, char buf[PATH_NAME_MAX]);

void subsystem_end_hosts(struct subsystem *ss, const char *reason);
bool subsystem_host_allowed(const struct subsystem *ss, const char *hostnqn);
/* A free controller ID, the longest unused first; 0xffff: none. */
uint16_t subsystem_new_cntlid(struct subsystem *ss);
struct controller *subsystem_controller(const struct subsystem *ss, uint16_t cntlid);
/* What hosts have done in all, closed queues included. */
void subsystem_io_totals(const struct subsystem *ss, struct io_totals *t);
/* True for a short time after the start, while an upstream connects for the first time. */
bool subsystem_settling(const struct subsystem *ss);
/* The longest Command Retry Delay Times (100 ms units) of all upstreams. */
void subsystem_crdt(const struct subsystem *ss, uint16_t crdt[3]);

/* The identifiers that hosts see of a head, by the subsystem's identity mode. */
void subsystem_ns_ident(const struct subsystem *ss, const struct head *head, struct ns_ident *out);

/* New NSIDs have been written to disk, or could not be: exports what waited for that. */
void subsystem_nsids_tried(struct subsystem *ss);

extern const struct mp_events subsystem_events;

#endif
