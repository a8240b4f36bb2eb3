/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker side of the engine, and the messages by which control drives it. Every struct here
 * belongs to one worker loop from the message that introduces it to the one that retires it;
 * control only keeps the pointer. The counters are readable by anybody.
 */
#ifndef MULTIPATH_WORKER_H
#define MULTIPATH_WORKER_H

#include "multipath/multipath.h"
#include "transport/pool.h"

#define MP_MAX_NSID  1024
#define MP_MAX_PATHS 64 /* per head: a Flush keeps track of them in one word */
#define MP_MAX_ATTEMPTS                                                                     \
	16	      /* failovers by status of one command before the host gets the status \
		       */
#define MP_MAX_SAME 5 /* repeats on the same path */

/* One upstream I/O qpair on one worker. */
struct conn {
	struct mp_worker *mw;
	struct assoc *assoc; /* control's; passed back in messages only */
	struct ini_params params;
	const struct ini_transport *tr;
	uint64_t io_timeout;
	struct ini_qpair *qp;
	bool up;       /* takes commands */
	bool reported; /* lost: control has been told, and reads `reason` */
	struct loop_timer expiry;
	TAILQ_HEAD(, request)
	inflight; /* by link, oldest first: one timeout for all, so also next to expire */
	char reason[160];
};

/* One path on one worker. */
struct lane {
	struct lane_set *set;
	unsigned slot; /* index among the head's paths */
	struct lane_stats stats;
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
	uint8_t rank; /* enum ana_rank; ANA_RANK_NONE also when the admin or identity forbids use */
	bool avoid;   /* a path status was seen; until control publishes the next view */
	int credit;   /* for weighted round-robin */
};

/* What control publishes of one head to one worker; never changed by control afterwards. */
struct view {
	enum mp_policy policy;
	struct ns_geometry geo;
	uint64_t hold_ns; /* how long I/O waits without a path */
	unsigned max_held;
	unsigned n;
	struct view_entry e[];
};

enum mp_req_state { MP_REQ_IDLE, MP_REQ_WAITING, MP_REQ_OUT };

struct head_worker {
	struct mp_worker *mw;
	struct head *head; /* control's; passed back in messages only */
	uint32_t nsid;
	struct view *view;
	TAILQ_HEAD(waiting_list, request)
	waiting; /* no path, no room or no buffers; first in, first out */
	unsigned nr_waiting;
	TAILQ_ENTRY(head_worker) starved_link;
	bool starved, draining;
	struct pool_waiter buffers;
	struct loop_timer hold_timer;
	uint64_t no_path_since; /* 0: a path is usable */
	uint32_t out;
	bool retired;
	stat_t held, held_max, retried, failed_no_path, longest_ns;
};

struct mp_worker {
	struct loop *loop, *control;
	unsigned index;
	TAILQ_HEAD(, head_worker) starved; /* heads with waiting requests */
	struct loop_hook kick_hook;
};

/* Per exported subsystem and worker: NSID to head. */
struct subsys_worker {
	struct head_worker *heads[MP_MAX_NSID + 1];
};

void mp_worker_init(struct mp_worker *mw, struct loop *loop, struct loop *control, unsigned index);

/* Before the worker knows it. @view is taken over. */
void head_worker_init(struct head_worker *hw, struct mp_worker *mw, struct head *head,
		      uint32_t nsid, struct view *view);
/* Worker loop. Takes @view over and looks at the waiting requests again. */
void head_worker_publish(struct head_worker *hw, struct view *view);
/* Worker loop. Fails what waits with Invalid Namespace, then frees the struct once nothing is out.
 */
void head_worker_retire(struct head_worker *hw);
/* Worker loop. lane_freed() is posted to control once no request points here any more. */
void lane_retire(struct lane *lane, struct mp_worker *mw);
void lane_put(struct lane *lane, struct mp_worker *mw);
/* Has the heads with waiting requests looked at, at the end of the turn: room has come back. */
void mp_worker_kick(struct mp_worker *mw);

/* Worker loop. Starts to connect; conn_opened() and conn_lost() are posted to control. */
void conn_open(struct conn *conn);
/* Worker loop. Drops the qpair (requests come back and fail over); conn_closed() is posted to
 * control. */
void conn_close(struct conn *conn);
/* 0, -EAGAIN (full) or -ENOTCONN */
int conn_submit(struct conn *conn, struct request *req);
/* The request has come back from the conn's qpair. */
void conn_returned(struct conn *conn, struct request *req, int error);

/* Control's side of the above (upstream.c). */
void conn_opened(struct conn *conn, int error, uint16_t status);
void conn_lost(struct conn *conn);
void conn_closed(struct conn *conn);
/* A worker has let go of its lane of the set. Control loop. */
void lane_freed(struct lane_set *set);
/* A worker has freed its part of the head. Control loop. */
void head_worker_freed(struct head *head);
/* A command on @path got a path related status: its ANA state wants a look. Control loop. */
void path_suspect(struct path *path);

#endif
