/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker side of the engine, and the messages by which control drives it. Every struct here
 * belongs to one worker loop from the message that introduces it to the one that retires it;
 * control only keeps the pointer. The counters are readable by anybody.
 */
#ifndef MULTIPATH_WORKER_H
#define MULTIPATH_WORKER_H

#include "multipath/latency.h"
#include "multipath/multipath.h"
#include "transport/pool.h"

#define MP_MAX_NSID  1024
#define MP_MAX_PATHS 64 /* per head: a Flush keeps track of them in one word */
#define MP_MAX_ATTEMPTS                                                                     \
	16	      /* failovers by status of one command before the host gets the status \
		       */
#define MP_MAX_SAME 5 /* repeats after passing trouble */

/* One upstream I/O qpair on one worker. */
struct conn {
	TAILQ_ENTRY(conn) link; /* in mp_worker->conns */
	struct mp_worker *mw;
	struct assoc *assoc; /* control's; passed back in messages only */
	uint64_t serial;     /* of the association */
	struct ini_params params;
	const struct ini_transport *tr;
	uint64_t io_timeout;
	uint16_t crdt[4]; /* Command Retry Delay Times by CRD, 100 ms units; [0] is 0 */
	bool lingers;	  /* once lost, the controller may still execute what was sent */
	struct ini_qpair *qp;
	bool up;       /* takes commands */
	bool reported; /* lost: control has been told, and reads `reason` */
	uint64_t cost; /* of the commands in flight, see latency_cost() */
	struct loop_timer expiry;
	TAILQ_HEAD(, request) inflight; /* by link, oldest first */
	char reason[160];
};

/* One path on one worker. */
struct lane {
	struct lane_set *set;
	unsigned slot; /* index among the head's paths */
	struct lane_stats stats;
	struct latency latency;
	stat_t dirty; /* acknowledged commands that changed data: what a Flush must cover */
	uint64_t
		flushed; /* sum of dirty when the last successful Flush from this worker was sent */
	uint32_t out;	 /* requests that point here */
	bool retired;
} __attribute__((aligned(64)));

/* A path's lanes. Control makes it, and frees it when every worker has let go of its lane. */
struct lane_set {
	struct path *path;
	unsigned n, acks;
	struct lane *lane[MP_MAX_WORKERS];
};

struct view_entry {
	struct lane *lane;
	struct conn *conn; /* NULL: no association */
	uint32_t nsid;
	unsigned weight;
	uint8_t rank; /* enum path_rank; RANK_NONE also when the admin or identity forbids use */
	uint8_t distance; /* 0: same NUMA node as the worker, or not known */
	bool avoid;	  /* a path status was seen; until control publishes again */
	int credit;	  /* for weighted round-robin */
};

/* What control publishes of one head to one worker; control changes single ranks later. */
struct view {
	enum mp_policy policy;
	enum mp_write_retry write_retry;
	struct ns_geometry geo;
	uint64_t hold_ns; /* how long I/O waits without a path */
	unsigned max_held;
	uint64_t max_held_bytes;
	bool persistent_loss; /* without a path: hosts were told that it is for good */
	unsigned n;
	struct view_entry e[];
};

/* Commands that wait, and the memory of their data. */
struct share {
	unsigned n;
	uint64_t bytes;
};

enum mp_req_state {
	MP_REQ_IDLE,
	MP_REQ_WAITING, /* for a path, room or buffers; its data may be with the host still */
	MP_REQ_ASIDE,	/* a Flush: for room on one path, while others use the rest */
	MP_REQ_DELAYED, /* for the time that the controller asked for */
	MP_REQ_PAUSED,	/* for a moment, then there is another look */
	MP_REQ_LOST,	/* its outcome is unknown: until all workers know of the fence */
	MP_REQ_FENCED,	/* behind a fence; the same */
	MP_REQ_OUT,	/* with an initiator qpair */
};
TAILQ_HEAD(request_list, request);

struct head_worker {
	struct mp_worker *mw;
	struct head *head; /* control's; const parts of it may be read */
	uint32_t nsid;
	struct view *view;
	struct request_list waiting; /* first in, first out */
	struct request_list aside;   /* Flushes that nobody stands behind */
	struct share waiting_share;  /* of both */
	struct share
		held_share; /* of that, what counts in mw->parked: all while there is no path */
	TAILQ_ENTRY(head_worker) starved_link;
	bool starved, draining;
	struct pool_waiter buffers;
	struct loop_timer hold_timer;
	uint64_t no_path_since;	     /* 0: a path is usable */
	struct request_list delayed; /* by due time */
	struct share delayed_share;  /* of those MP_REQ_DELAYED; counts in mw->parked */
	struct loop_timer delay_timer;
	TAILQ_HEAD(fence_list, fence) fences;
	TAILQ_ENTRY(head_worker) fences_link; /* in mp_worker->fenced while there are fences */
	struct request_list fenced;	      /* oldest first */
	struct share fenced_share;	      /* counts in mw->parked */
	struct loop_timer fence_timer;
	uint64_t fence_due; /* that of the timer: no later than that of any of them */
	unsigned next;	    /* where policies that go round begin */
	uint32_t out;	    /* requests with us, and fences being put up */
	bool retired;
	struct head_stats stats;
};

TAILQ_HEAD(head_worker_list, head_worker);

struct mp_worker {
	struct mp *mp; /* control's; const parts of it may be read */
	struct loop *loop, *control;
	unsigned index;
	TAILQ_HEAD(, conn) conns;
	struct head_worker_list starved; /* heads with waiting requests */
	struct share parked, parked_max; /* see share.c */
	struct loop_hook kick_hook;
	struct head_worker_list fenced; /* heads with fences */
	struct request_list lost;	/* writes whose fences the hook will put up */
	struct loop_hook lost_hook;
	uint64_t fence_ids;
};

/* Per exported subsystem and worker: NSID to head. */
struct subsys_worker {
	struct head_worker *heads[MP_MAX_NSID + 1];
};

void mp_worker_init(struct mp_worker *mw, struct mp *mp, struct loop *loop, struct loop *control,
		    unsigned index);

/* Before the worker knows it. @view is taken over. */
void head_worker_init(struct head_worker *hw, struct mp_worker *mw, struct head *head,
		      uint32_t nsid, struct view *view);
/* Worker loop. Takes @view over and looks at the waiting requests again. */
void head_worker_publish(struct head_worker *hw, struct view *view);
/* Worker loop. The rank of one path has changed, and nothing else. */
void head_worker_rank(struct head_worker *hw, const struct lane *lane, uint8_t rank);
/* Worker loop. Fails what waits with Invalid Namespace, then frees the struct once nothing is out.
 */
void head_worker_retire(struct head_worker *hw);
/* Worker loop. lane_freed() is posted to control once no request points here any more. */
void lane_retire(struct lane *lane, struct mp_worker *mw);
void lane_put(struct lane *lane, struct mp_worker *mw);
/* Has the heads with waiting requests looked at, at the end of the turn: room has come back. */
void mp_worker_kick(struct mp_worker *mw);
/* Worker loop. The association of that serial can no longer execute anything. */
void mp_worker_dead(struct mp_worker *mw, uint64_t serial);

/* Worker loop. Starts to connect; conn_opened() and conn_lost() are posted to control. */
void conn_open(struct conn *conn);
/* Worker loop. Drops the qpair (requests come back and fail over); conn_closed() is posted to
 * control. */
void conn_close(struct conn *conn);
/* 0, -EAGAIN (full) or -ENOTCONN */
int conn_submit(struct conn *conn, struct request *req);
/* How long a command may be out before the association is given up. */
uint64_t conn_patience(uint64_t io_timeout);
/*
 * Sends the request over this path, however it ranks, and takes a hold of the lane. 0, -EAGAIN or
 * -ENOTCONN; req->ini_done is set.
 */
int lane_submit(struct head_worker *hw, struct lane *lane, struct request *req);
/* The request has come back from the conn's qpair; who waits for its room gets it at the end of the
 * turn. */
void conn_returned(struct conn *conn, struct request *req, int error);

enum probe_result { PROBE_GOOD, PROBE_BAD, PROBE_NOT_SENT };
/* Worker loop. One read over this path, however it ranks, of the first blocks, as many as @len has
 * room for, but one at least; path_probed() is posted to control, once. */
void probe_send(struct head_worker *hw, struct lane *lane, uint32_t len);

/* Control's side of the above. */
void conn_opened(struct conn *conn, int error, uint16_t status);
void conn_lost(struct conn *conn);
void conn_closed(struct conn *conn);
/* A command is out for longer than io_timeout: tell the controller to give it up. */
void conn_abort(struct conn *conn, uint16_t cid);
/* A worker has let go of its lane of the set. Control loop. */
void lane_freed(struct lane_set *set);
/* A worker has freed its part of the head. Control loop. */
void head_worker_freed(struct head *head);
/* A command on @path got a path related status: its ANA state wants a look. Control loop. */
void path_suspect(struct path *path);
/* A probe of @len bytes over one of these lanes has ended; a good one took @ns. Control loop. */
void path_probed(struct lane_set *set, enum probe_result result, uint32_t len, uint64_t ns);
/* A worker has put up fences against late writes of this association. Control loop. */
void quarantine_fenced(struct mp *mp, uint64_t serial);

#endif
