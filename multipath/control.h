/* SPDX-License-Identifier: Apache-2.0 */
/* The control side of the engine, inside multipath/. Control loop only. */
#ifndef MULTIPATH_CONTROL_H
#define MULTIPATH_CONTROL_H

#include "multipath/ana.h"
#include "multipath/worker.h"

struct mp {
	struct loop *control;
	struct pool *admin_pool;
	unsigned n;
	struct mp_worker workers[MP_MAX_WORKERS];
	TAILQ_HEAD(, mp_subsys) subsystems;
	uint64_t announcement;		      /* id of the next one, 1.. */
	bool announcing;		      /* it has been queued */
	uint64_t serials;		      /* given to associations */
	TAILQ_HEAD(, quarantine) quarantines; /* in the order of their serials */
	TAILQ_HEAD(, grave) graves;	      /* of subsystems too that are not there any more */
	unsigned objects;		      /* upstreams and heads not yet freed */
	void (*done)(void *arg);	      /* shutdown */
	void *done_arg;
};

/* Something that mp->objects counts has ended. */
void mp_object_gone(struct mp *mp);
/* An upstream or a head: made, freed. */
void mp_object_new(struct mp_subsys *ss);
void mp_object_freed(struct mp_subsys *ss);

/* ---- association: one life of the connection to an upstream ---- */

struct assoc {
	struct upstream *up;
	const struct ini_transport *tr; /* that it was made with: the upstream's may change */
	uint64_t serial;
	struct ini_qpair *admin; /* NULL when not even starting to connect worked: start_error */
	int start_error;
	bool dead;    /* given up; only torn down from here on */
	bool torn;    /* the teardown has run */
	bool enabled; /* CC.EN set and CSTS.RDY seen */
	uint64_t cap;
	struct nvme_id_ctrl id;
	struct limits limits;
	uint64_t ready_by; /* loop time by which CSTS.RDY must show */
	struct loop_timer poll, keep_alive, ana_delay, admin_expiry;
	TAILQ_HEAD(, admin_cmd) cmds;
	/* ANA log */
	uint8_t *ana_log;
	size_t ana_len, ana_pos;
	bool ana_busy, ana_again;
	unsigned ana_tries; /* that a change has spoilt */
	uint64_t ana_read_at;
	/* namespace scan */
	bool scan_busy, scan_again;
	bool scanned;	  /* once at least: before that nothing is known to be what it was */
	bool settle;	  /* more than ANA states may have changed when the ANA log has been read */
	bool scan_missed; /* some namespace did not say what it is, but may if asked again */
	bool scan_owed;	  /* one is that a path waits for */
	unsigned rescans; /* for that reason, since the last event */
	struct loop_timer rescan;
	uint32_t *nsids;
	unsigned nr_nsids, nsid_pos;
	struct nvme_id_ns idns;
	/* discovery log */
	uint8_t *disc_log;
	size_t disc_len, disc_pos;
	bool disc_busy, disc_again;
	struct loop_timer disc_pause;
	/* I/O qpairs */
	struct conn *conns[MP_MAX_WORKERS];
	bool opened;
	unsigned nr_conns, conns_up, conns_closed;
	uint16_t io_queue_size;
	unsigned aborts; /* Abort commands out */
};

/* Starts to connect; the caller looks at start_error. */
struct assoc *assoc_new(struct upstream *up);
/* Gives the association up; upstream_lost() is told at once, the rest happens in a later turn. */
__attribute__((format(printf, 3, 4))) void assoc_fail(struct assoc *a, bool final, const char *fmt,
						      ...);
/* A controller that has gone (upstream removed or reset): no word to the upstream. */
void assoc_drop(struct assoc *a);

/* ---- admin commands ---- */
typedef void (*admin_fn)(struct assoc *a, struct request *req, uint16_t status);

/**
 * admin_send() - one command on the association's admin qpair
 *
 * @len: bytes that come back.
 * @timeout: ns, 0 for ever (AER). @fn gets the status; loss and timeout do not reach it, they end
 * the association. When the command cannot even be sent, the association fails too.
 */
void admin_send(struct assoc *a, const struct nvme_sqe *sqe, uint32_t len, uint64_t timeout,
		admin_fn fn);
/* The same with @len bytes that go out. */
void admin_send_data(struct assoc *a, const struct nvme_sqe *sqe, const void *out, uint32_t len,
		     uint64_t timeout, admin_fn fn);
/* "Invalid Field in Command: ..." */
const char *admin_status_str(uint16_t status);
const char *connect_status_str(uint16_t status);

/* ---- chapters of an association's life, each ending in the call named ---- */
void enable_start(struct assoc *a); /* -> assoc_identified() */
void assoc_identified(struct assoc *a);
void events_start(struct assoc *a); /* keep-alive and AERs */
void ana_start(struct assoc *a);    /* -> assoc_ana_read() every time */
void assoc_ana_read(struct assoc *a);
void scan_start(struct assoc *a); /* -> assoc_scanned() every time */
void assoc_scanned(struct assoc *a);
void disc_start(struct assoc *a); /* -> assoc_disc_read() every time */
void assoc_disc_read(struct assoc *a, unsigned entries);
void assoc_suspect(struct assoc *a); /* read the ANA log soon */
bool assoc_has_ana(const struct assoc *a);

/* ---- lost associations whose controllers may still execute what they were sent ---- */
/* From now on it carries I/O. */
void quarantine_open(const struct assoc *a);
/* It is lost: nothing is sent on it any more. */
void quarantine_lost(struct mp *mp, uint64_t serial);
/* All its commands are back. */
void quarantine_closed(struct mp *mp, uint64_t serial);
/* Another controller of some subsystem can be asked to reset lost ones. */
void quarantine_ask(struct mp *mp);
/* Some write is fenced because of an association with a serial below @serial. */
bool quarantine_fenced_below(const struct mp *mp, uint64_t serial);
void quarantine_free_all(struct mp *mp);

/* ---- what discovery logs name ---- */
/* The source is removed: what no other one names goes too. */
void disc_source_gone(struct upstream *source);
/* The upstream is removed. */
void disc_forget_namings(struct upstream *up);
/* What another source has named is now this one's, by whose configuration it goes on. */
void upstream_take_source(struct upstream *up, struct upstream *source);

/* ---- upstream ---- */
void upstream_start(struct upstream *up);
void upstream_live(struct upstream *up);
void upstream_lost(struct upstream *up, bool final, const char *reason);
void upstream_put(struct upstream *up);
/* False: of a local kind. It has no connection, and closing it waits for what is under way. */
bool upstream_lingers(const struct upstream *up);
/* As upstream_reset(), for that reason. */
void upstream_restart(struct upstream *up, const char *reason);

/* ---- heads and paths ---- */
/* The upstream shows this namespace: make, update, move or refuse its path. */
void path_seen(struct upstream *up, uint32_t nsid, const struct nvme_id_ns *idns,
	       const struct ns_ident *ident);
void path_remove(struct path *p);
/* Admin state and weight as they are configured. */
void path_configure(struct path *p);
/* Its place among the paths of its head, by the order of the upstreams. */
void path_reorder(struct path *p);
struct path *path_find(struct upstream *up, uint32_t nsid);
/* To be told of by path_tell(), after workers have been sent what follows from it. */
void path_note(struct path *p, enum path_change what);
/* Tells the gateway what has been noted. */
void path_tell(struct path *p);
/* What the path can do may have changed: upstream's state, ANA, admin. Publishes when it has. */
void path_refresh(struct path *p);
/* The same for all paths of the upstream, publishing each head once. */
void upstream_refresh_paths(struct upstream *up);
void head_publish(struct head *h);

/* The path has just been published without rank: it may have one when all workers know. */
void announce(struct path *p);

/*
 * Many paths that changed rank and nothing else, published with one message per worker. The paths'
 * ANA states (or what else makes their ranks) are set already.
 */
struct rank_batch {
	struct mp *mp;
	struct path **paths;
	unsigned n, size;
};
void rank_batch_add(struct rank_batch *b, struct path *p);
/* Also tells hosts, and frees what the batch holds. */
void rank_batch_publish(struct rank_batch *b);

/* ---- latencies ---- */
void health_start(struct mp_subsys *ss);
void health_stop(struct mp_subsys *ss);
struct path_health *path_health_new(void);
/* NULL: not slow; else why it is taken for slow. */
const char *path_slow(const struct path *p);

#endif
