/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The aggregation engine. Control loop: upstream associations, the namespaces they show, heads and
 * paths. Workers: for each head a small view of usable lanes, selection, retry and hold.
 *
 * Control decides and publishes; a worker only ever touches its own head_worker and lane structs,
 * which change by messages that control posts in order.
 */
#ifndef MULTIPATH_MULTIPATH_H
#define MULTIPATH_MULTIPATH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "multipath/ident.h"
#include "multipath/latency.h"
#include "multipath/limits.h"
#include "transport/initiator.h"
#include "transport/loop.h"
#include "transport/request.h"
#include "transport/stats.h"

/* What commands are told that cannot wait here: to come again after CRDT1 (Base 2.0, 3.3.3.2.1). */
#define MP_ST_PUT_OFF (NVME_STATUS(0, NVME_SC_CMD_INTERRUPTED) | NVME_CRD(1))
/*
 * The least that CRDT1 may be towards hosts, 100 ms units. Linux repeats five times: together as
 * long as commands wait here.
 */
#define MP_PUT_OFF_CRDT 50

#define MP_MAX_WORKERS 64
#define MP_NAME_MAX    64

struct mp;
struct mp_subsys;
struct upstream;
struct head;
struct path;
struct head_worker;
struct lane;

/* ---- configuration ---- */
enum mp_policy {
	MP_POLICY_FAILOVER,
	MP_POLICY_ROUND_ROBIN,
	MP_POLICY_QUEUE_DEPTH,
	MP_POLICY_SERVICE_TIME,
	MP_POLICY_NUMA,
	MP_POLICY_COUNT,
};
const char *mp_policy_name(enum mp_policy p);
/* 0 and *p set, or -EINVAL */
int mp_policy_parse(const char *name, enum mp_policy *p);

/* A write whose connection was lost, and which the old controller may still execute, is ... */
enum mp_write_retry {
	MP_WRITE_RETRY_FENCED, /* sent again; overlapping later ones wait for the old one's end */
	MP_WRITE_RETRY_IMMEDIATE, /* sent again, and that is all: late execution goes unnoticed */
	MP_WRITE_RETRY_QUIESCE,	  /* sent again only after the old one's end */
};
const char *mp_write_retry_name(enum mp_write_retry r);

struct upstream_config {
	char name[MP_NAME_MAX]; /* unique within its subsystem; first, see reconfigure.c */
	const struct ini_transport *transport;
	struct addr addr, host_addr;
	char nqn[NVMF_NQN_MAX +
		 1]; /* the upstream subsystem's; discovery NQN for a discovery source */
	char hostnqn[NVMF_NQN_MAX + 1];
	uint8_t hostid[16];
	bool discovery;		  /* a discovery controller: its log names the upstreams */
	unsigned nr_io_queues;	  /* 0: one per worker; else at least the number of workers is asked
				     for */
	unsigned queue_size;	  /* entries per I/O queue */
	uint64_t keep_alive_tmo;  /* ns; 0: no keep-alive */
	uint64_t reconnect_delay; /* ns */
	int64_t ctrl_loss_tmo;	  /* ns; < 0: retry for ever */
	int64_t fast_io_fail_tmo; /* ns; < 0: off. With no path, I/O of a head whose all upstreams
				     have been lost for this long fails */
	uint64_t io_timeout;	  /* ns for one command before the association is taken for dead */
	uint64_t connect_timeout; /* ns */
	bool hdr_digest, data_digest;
	bool register_always;	 /* RDMA: no key opens more than the data of one command */
	unsigned weight;	 /* 1..; share of the I/O where the policy divides it */
	bool enabled;		 /* admin state that its paths start in */
	bool standby;		 /* the same: used only when there is no other path */
	struct file_ns *file_ns; /* kind "file"; taken over */
};

struct mp_subsys_config {
	char nqn[NVMF_NQN_MAX + 1];
	enum mp_policy policy;
	enum mp_write_retry write_retry;
	uint64_t no_path_timeout; /* ns that I/O is held when a head has no usable path; 0: fails */
	unsigned max_held; /* requests held per head and worker; more fail with a path status */
	uint64_t max_held_bytes; /* of host data in them */
	int64_t persistent_loss; /* ns without a path until hosts are told that it is for good; < 0:
				    never */
	uint64_t delayed_removal; /* ns that a namespace stays after its last path was removed */
	/* A path whose 99th percentile is above both is used last; 0: none is. */
	unsigned slow_factor;  /* times that of the quickest other path */
	uint64_t slow_latency; /* ns */
	uint64_t flap_hold;    /* ns that a flapping path is used last, at first; then it grows */
};

/* Why a namespace is not exported. */
struct mp_refusal {
	const char *reason;
	bool expected; /* it is meant to be so, or soon will not be so any more: no error */
	bool passing;  /* by itself it will not be so any more */
};

/* What has happened to a path; it says itself how it is now. In the order in which it is told. */
enum path_change {
	PATH_CHANGE_ANA,
	PATH_CHANGE_USE, /* usable or not */
	PATH_CHANGE_RANK,
	PATH_CHANGE_REFUSED,
	PATH_CHANGE_REMOVED, /* freed after this */
	PATH_CHANGE_COUNT,
};

enum path_admin { PATH_ENABLED, PATH_STANDBY, PATH_DISABLED, PATH_ADMIN_COUNT };
const char *path_admin_name(enum path_admin a);

/* What the gateway is told, on the control loop. */
struct mp_events {
	/* The NSID to export this namespace under, or 0 (and *why) not to. Asked once per head. */
	uint32_t (*assign_nsid)(void *arg, const struct ns_ident *id, struct mp_refusal *why);
	void (*head_added)(void *arg, struct head *head);
	void (*head_changed)(void *arg,
			     struct head *head); /* size or other Identify Namespace data */
	void (*head_ana_changed)(void *arg, struct head *head);
	void (*head_removed)(void *arg, struct head *head); /* head is freed after this */
	/* Optional: the policy of this namespace instead of the subsystem's; false: none. */
	bool (*head_policy)(void *arg, const struct head *head, enum mp_policy *policy);
	/* Optional: is this upstream controller one that the gateway itself offers to hosts? */
	bool (*own_controller)(void *arg, const struct nvme_id_ctrl *id);
	/* Optional. They are told in the middle of it: nothing may be changed from within. */
	void (*path_changed)(void *arg, struct path *path, enum path_change what);
	/* Its state; not that it is tried once more, with the same result. */
	void (*upstream_changed)(void *arg, const struct upstream *up);
	/* Optional: false when it is no longer to be exported, or no longer under its NSID. */
	bool (*head_stays)(void *arg, const struct head *head);
	/* Optional: what is set of this path alone; the others are left as they are. */
	void (*path_settings)(void *arg, const struct path *p, enum path_admin *admin,
			      unsigned *weight);
};

/* ---- control loop ---- */

/* @workers[0..n) have pools set; @control too. Nothing runs yet. */
struct mp *mp_new(struct loop *control, struct loop **workers, unsigned n);
/* Tears everything down (workers must run until it says so): done(arg) runs on control at the end.
 */
void mp_shutdown(struct mp *mp, void (*done)(void *arg), void *arg);
void mp_free(struct mp *mp);

struct mp_subsys *mp_subsys_add(struct mp *mp, const struct mp_subsys_config *cfg,
				const struct mp_events *ev, void *arg);
/* Copies @cfg and starts to connect. Returns NULL with errno: EEXIST when the name is taken. */
struct upstream *upstream_add(struct mp_subsys *ss, const struct upstream_config *cfg);
/* Drops the association and its paths; frees it later. */
void upstream_remove(struct upstream *up);
/*
 * The same for one that is configured no more. A namespace that loses its last path by it stays for
 * as long as its I/O is held, so that another upstream can take its place.
 */
void upstream_withdraw(struct upstream *up);
/* Drops and connects anew (also out of a final failure), at once; forgets that it flapped. */
void upstream_reset(struct upstream *up);
/* Drops and does not connect again before upstream_reset(). */
void upstream_disconnect(struct upstream *up);

/* ---- changes while all is running ---- */

/* Everything but the NQN may differ from what it has been. Takes effect at once. */
void mp_subsys_reconfigure(struct mp_subsys *ss, const struct mp_subsys_config *cfg);
/* Starts the end of the subsystem, which no host uses any more; done(@arg) when it is freed. */
void mp_subsys_remove(struct mp_subsys *ss, void (*done)(void *arg), void *arg);
struct upstream *upstream_find(const struct mp_subsys *ss, const char *name);
/* Whether @cfg, of the same name, asks for another connection than the present one. */
bool upstream_must_reconnect(const struct upstream *up, const struct upstream_config *cfg);
/*
 * Takes @cfg on, and connects anew if that is needed for it; so do those that it has named. What
 * it is stays: over a network or of a local kind (with the file that it has), a discovery source
 * or none.
 */
void upstream_reconfigure(struct upstream *up, const struct upstream_config *cfg);
/* Its place in the order is now behind @after; NULL: the first one. */
void upstream_place(struct upstream *up, struct upstream *after);
/*
 * Moves I/O off its paths, and off those of upstreams that it has named: no new command is sent on
 * them. done() is called when none is out any more, or after @limit ns, with how many still are. It
 * stays so until upstream_reconfigure(), upstream_reset() or the end of the upstream.
 */
void upstream_drain(struct upstream *up, uint64_t limit, void (*done)(void *arg, uint64_t left),
		    void *arg);
/* The same for one path, which is disabled already. */
void path_drain(struct path *p, uint64_t limit, void (*done)(void *arg, uint64_t left), void *arg);

enum upstream_state {
	UPSTREAM_CONNECTING, /* transport, Connect, enable, identify, scan, lanes */
	UPSTREAM_LIVE,
	UPSTREAM_WAITING, /* until the reconnect delay is over */
	UPSTREAM_FAILED,  /* given up: ctrl_loss_tmo, or a refusal that an admin must look into */
	UPSTREAM_DELETING,
};
const char *upstream_state_name(enum upstream_state s);

struct path {
	TAILQ_ENTRY(path) up_link;   /* in upstream->paths */
	TAILQ_ENTRY(path) head_link; /* in head->paths; only while head is set */
	struct upstream *up;
	struct head *head; /* NULL: refused, see reason */
	bool passing;	   /* refused for a while only, see struct mp_refusal */
	uint32_t nsid;	   /* upstream's */
	uint32_t anagrpid;
	uint8_t ana_state; /* NVME_ANA_STATE_*; optimized when the upstream has no ANA */
	enum path_admin admin;
	unsigned weight;
	struct ns_ident ident;
	struct nvme_id_ns idns;
	bool usable;	     /* published to workers as selectable */
	uint8_t rank;	     /* enum path_rank, as published */
	bool counted;	     /* where the head counts it while usable */
	char reason[160];    /* why not usable, why refused, or why used last; else empty */
	uint64_t changed;    /* loop time of the last change of usable or rank */
	unsigned slot;	     /* among the head's paths */
	bool identified;     /* over the upstream's present association */
	bool fresh;	     /* its lane or association is new to the workers */
	uint64_t announcing; /* until all of them have said that they know; 0: they do */
	uint8_t untold;	     /* changes that the gateway has not been told of, by bit */
	bool suspect;	     /* a worker saw a path status; its ANA state is being read */
	struct path_health *health;
	struct lane_set *lanes;
	unsigned retiring; /* lane sets that workers have not all let go of */
	bool removed;
	unsigned refs; /* others that still look at it */
};

struct head {
	TAILQ_ENTRY(head) link; /* in subsys->heads, by NSID ascending */
	struct mp_subsys *ss;
	uint32_t nsid; /* ours */
	struct ns_ident ident;
	struct ns_geometry geo;
	struct nvme_id_ns idns; /* what hosts are told: intersection over the paths */
	uint8_t ana_state;	/* what hosts are told: best of the usable paths, else inaccessible
				   or, after a while, persistent loss */
	TAILQ_HEAD(, path) paths;
	unsigned usable[2]; /* usable paths, optimized and non-optimized */
	struct head_worker *hw[MP_MAX_WORKERS];
	uint64_t lost_since; /* loop time since when no path is usable; 0: some is */
	bool loss_told;	     /* hosts were told of a persistent loss */
	struct loop_timer loss_timer, removal_timer;
	enum mp_policy policy;
	uint64_t slots; /* in use, bit set */
	unsigned acks;	/* workers that have freed their part, when removed */
	bool removed;
};

/* Counters of one path on one worker; the worker writes, anybody reads. */
struct lane_stats {
	stat_t reads, writes, others, read_bytes, write_bytes;
	stat_t errors;	  /* statuses other than success handed up */
	stat_t failovers; /* commands that left this lane for another */
	stat_t inflight;
	stat_t latency_ns_sum;
};
/* Sum over workers. */
struct path_totals {
	uint64_t reads, writes, others, read_bytes, write_bytes, errors, failovers, inflight,
		latency_ns_sum;
};
void path_totals(const struct path *p, struct path_totals *t);
/* How many of the path's commands took how long, see struct latency. */
void path_histogram(const struct path *p, uint64_t counts[LATENCY_BUCKETS]);
/* 99th percentile etc. of all that the path has done, in microseconds; 0: nothing yet. */
uint64_t path_latency(const struct path *p, double percent);

/* Counters of one head on one worker; the worker writes, anybody reads. */
struct head_stats {
	stat_t held, held_max; /* waiting without a path */
	stat_t retried, failed_no_path;
	stat_t put_off;		     /* told to come again later: too much waits behind fences */
	stat_t fences;		     /* that are up, without copies of other workers' */
	stat_t fenced, fenced_total; /* writes waiting behind one; that ever did */
	stat_t longest_ns;
};
struct head_totals {
	uint64_t held, held_max, retried, failed_no_path, put_off;
	uint64_t fences; /* losses whose writes may still be executed late */
	uint64_t fenced, fenced_total;
	uint64_t longest_ns; /* longest time from arrival to completion of a command */
};
void head_totals(const struct head *h, struct head_totals *t);

struct upstream {
	TAILQ_ENTRY(upstream) link; /* in subsys->upstreams, in configured order */
	struct mp_subsys *ss;
	struct upstream_config cfg;
	enum upstream_state state;
	char reason[160]; /* of the state when not live */
	uint64_t changed; /* loop time of the last state change */
	uint32_t losses;  /* associations lost since start */
	uint16_t cntlid;
	struct nvme_id_ctrl idctrl; /* valid while or after live */
	bool have_idctrl;
	struct limits limits; /* the same */
	TAILQ_HEAD(, path) paths;
	struct assoc *assoc; /* the present one; NULL while waiting */
	struct loop_timer retry;
	struct upstream *source;      /* the discovery source whose configuration it has, or NULL */
	TAILQ_HEAD(, naming) namings; /* by discovery sources; it stays as long as one names it */
	uint64_t lost_at;	      /* loop time of the loss (or start) that is being made good */
	unsigned attempts;	      /* since then */
	unsigned flaps;		      /* lives in a row that were short */
	uint64_t damped_until; /* loop time; its paths are used last until then. 0: not damped */
	struct loop_timer undamp;
	bool draining;	   /* its paths take no new I/O */
	bool withdrawn;	   /* see upstream_withdraw() */
	uint32_t readings; /* of its log, if it is a discovery source */
	unsigned refs;	   /* associations and paths that still point here */
};

struct mp_subsys {
	TAILQ_ENTRY(mp_subsys) link;
	struct mp *mp;
	struct mp_subsys_config cfg;
	const struct mp_events *ev;
	void *ev_arg;
	TAILQ_HEAD(upstream_list, upstream) upstreams;
	TAILQ_HEAD(, head) heads;
	struct subsys_worker *sw[MP_MAX_WORKERS]; /* each belongs to its worker */
	struct limits promised;	  /* to hosts, all zero: nobody yet. Upstreams below are refused */
	struct loop_timer health; /* judges the paths' latencies */
	unsigned objects;	  /* upstreams and heads not yet freed */
	void (*removed)(void *arg); /* set by mp_subsys_remove() */
	void *removed_arg;
};

/*
 * Enabled: takes part in selection. Standby: only when no enabled path is there. A disabled path
 * gets no new I/O; what is on it finishes.
 */
void path_set_admin(struct path *p, enum path_admin admin);
/* Of a usable path: "optimized", "non-optimized", "standby" or "last". */
const char *path_rank_name(const struct path *p);
/* @weight: 1..PATH_WEIGHT_MAX, for policies that divide I/O up. */
#define PATH_WEIGHT_MAX 1000
void path_set_weight(struct path *p, unsigned weight);
/* Whether it is about to be in use, or to have another try, by itself. Control loop only. */
bool path_is_passing(const struct path *p);
/* Refused paths get another try: a reason may be gone (an NSID is free, say). */
void mp_subsys_reconsider(struct mp_subsys *ss);
/* Of all its namespaces, or of one. */
void mp_subsys_set_policy(struct mp_subsys *ss, enum mp_policy policy);
void head_set_policy(struct head *h, enum mp_policy policy);
struct head *mp_subsys_head(const struct mp_subsys *ss, uint32_t nsid);

/* Runs @fn(@arg) on control when every worker has done what it was told before. */
void mp_barrier(struct mp *mp, void (*fn)(void *arg), void *arg);

/* An association that is lost, but whose controller may still execute writes. */
struct quarantine_info {
	const char *upstream;
	uint16_t cntlid;
	uint64_t until; /* loop time */
	bool fenced;	/* some writes wait for its end */
};
/* Calls @fn for each, the oldest first. */
void mp_quarantines(const struct mp *mp, void (*fn)(void *arg, const struct quarantine_info *q),
		    void *arg);

/* ---- reads and writes of an admin's, see admin_io.c ---- */
struct mp_io {
	bool write;
	uint64_t slba;
	uint32_t blocks, block_bytes; /* mp_block_bytes() of the head */
	void *data;		      /* len bytes, the caller's, until done() */
	uint32_t len;
	void (*done)(struct mp_io *io); /* on control */
	/* set by then */
	int error; /* -errno: nothing was done. EBUSY, ESTALE (it is not what it was), ENOTCONN */
	uint16_t status;
	uint64_t ns;	   /* that it took */
	struct path *path; /* that carried it out, until done() returns; NULL: not known */
};

/* With metadata. */
uint32_t mp_block_bytes(const struct ns_geometry *geo);
/* Over @only, which is one of the head's, however that is used; NULL: as a host's command. */
void mp_io_start(struct head *h, const struct path *only, struct mp_io *io);

/*
 * ns that a command which nobody waits for any more may still be executed for: until its upstream
 * answers, or is given up and has ended by itself. UINT64_MAX: no bound. Those of local kinds do
 * not count: what they do is under way in the kernel of this machine, which ends it.
 */
uint64_t mp_subsys_quiesce_time(const struct mp_subsys *ss);

/* What every upstream can do (live or last known); false: none has been identified yet. */
bool mp_subsys_limits(const struct mp_subsys *ss, struct limits *l);

/* ---- worker loops ---- */

/* The head that @nsid names on worker @w (0-based index; loop id - 1), or NULL. */
struct head_worker *mp_lookup(struct mp_subsys *ss, unsigned w, uint32_t nsid);
const struct ns_geometry *head_geometry(const struct head_worker *hw);

/**
 * head_admit() - whether it makes sense to fetch a command's data from the host now
 *
 * True: fetch it, then head_submit(). False: the command waits for a path or behind a fence without
 * data, so without buffers, and req->proceed is called in a later turn, when it is to be asked for
 * anew (the namespace may have changed, or gone); or it could not wait and has been completed.
 */
bool head_admit(struct head_worker *hw, struct request *req);

/**
 * head_submit() - carry out a command on the namespace, whatever path it takes
 *
 * req->sqe is the host's (the NSID is rewritten per path), checked by the caller. H2C data is
 * complete. For C2H the segments are taken here, waiting for them if needed. req->complete is
 * called once with req->cqe set, maybe from within this call; req->progress as read data arrives.
 */
void head_submit(struct head_worker *hw, struct request *req);

/*
 * Takes back a command that is held or waits for buffers: completes it with @status at once and
 * returns true. False: it is with an upstream now and will complete by itself.
 */
bool head_cancel(struct request *req, uint16_t status);

/*
 * The command's host has gone, and head_cancel() could not take it back: if it changes data, later
 * commands that change the same blocks wait until it is back.
 */
void head_abandon(struct request *req);

#endif
