/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a head's I/O path on one worker, for each other: choosing a lane (dispatch.c),
 * waiting for one (hold.c), waiting as the controller asked (delay.c), and fences (fence.c).
 * Worker loop only.
 */
#ifndef MULTIPATH_DISPATCH_H
#define MULTIPATH_DISPATCH_H

#include "multipath/command.h"
#include "multipath/worker.h"

/* Nobody waits for the answer any more. */
static inline bool request_orphaned(const struct request *req)
{
	return req->mp_from_host && !req->tgt;
}

/* Its data is still with the host. */
static inline bool request_unfetched(const struct request *req)
{
	return req->dir == NVME_DIR_H2C && req->filled < req->data_len;
}

/* ---- share.c ---- */
void share_init(struct mp_worker *mw);
/* One more, or one less, of those that wait. */
void share_add(struct share *s, const struct request *req);
void share_sub(struct share *s, const struct request *req);
/* Makes @counted, which is part of mw->parked, equal to @now. */
void share_count(struct mp_worker *mw, struct share *counted, struct share now);
/* There is no more room for this one in @s, by what the head or by what the worker may keep. */
bool share_full(const struct head_worker *hw, const struct share *s, const struct request *req);

/* ---- dispatch.c ---- */
/* Sends it over a path now, or has it wait for what it lacks. */
void dispatch(struct head_worker *hw, struct request *req);
/*
 * 0: it is out; -EAGAIN: it has to wait for a path, room or buffers; -EXFULL: it is a Flush and
 * waits for room on the very path that it has to visit; -EBUSY: for a fence.
 */
int dispatch_try(struct head_worker *hw, struct request *req);
/* Of one whose data is with the host: gives it back for head_admit(). The same holds. */
void dispatch_proceed(struct head_worker *hw, struct request *req);
/* Ends it with @status. The head may be gone afterwards. */
void dispatch_finish(struct head_worker *hw, struct request *req, uint16_t status);
/* Frees a retired head that nothing points to any more. */
void head_worker_put(struct head_worker *hw);

/* ---- hold.c ---- */
void hold_init(struct head_worker *hw);
void hold_fini(struct head_worker *hw);
/* Keeps no_path_since, its timer and the counters true to what the view and the conns say. */
void hold_note_paths(struct head_worker *hw);
/* 0, or what the request gets without a path when the time is up or too many wait already. */
uint16_t hold_refusal(const struct head_worker *hw, const struct request *req);
void hold_in(struct head_worker *hw, struct request *req);
/* Where nobody stands behind it. */
void hold_in_aside(struct head_worker *hw, struct request *req);
void hold_out(struct head_worker *hw, struct request *req);
/* The view says another time than before. */
void hold_time_changed(struct head_worker *hw);
/* Sends what can be sent of what waits. True: something was, and the head is in mw->starved. */
bool hold_drain(struct head_worker *hw);
void hold_fail_all(struct head_worker *hw, uint16_t status);

/* ---- delay.c ---- */
void delay_init(struct head_worker *hw);
void delay_fini(struct head_worker *hw);
/* @as: MP_REQ_DELAYED or MP_REQ_PAUSED */
void delay_in(struct head_worker *hw, struct request *req, uint64_t ns, enum mp_req_state as);
void delay_out(struct head_worker *hw, struct request *req);
void delay_fail_all(struct head_worker *hw, uint16_t status);

/* ---- fence.c ---- */
void fence_init(struct head_worker *hw);
void fence_fini(struct head_worker *hw);
/* It may not be sent yet: it changes blocks that a lost write may still reach. */
bool fence_blocks(const struct head_worker *hw, const struct request *req);
/* Until the fences that block it are gone; where too much waits so already it is put off. */
void fence_in(struct head_worker *hw, struct request *req);
void fence_out(struct head_worker *hw, struct request *req);
void fence_fail_all(struct head_worker *hw, uint16_t status);
/*
 * A write whose connection was lost. Fences go up on all workers before it is sent again, or
 * answered: what comes after the answer must find them.
 */
void fence_lost(struct head_worker *hw, struct request *req, uint64_t serial);
/* A write that a fence waits for (mp_tagged) is no longer out. */
void fence_untag(struct head_worker *hw, struct request *req);
/* The request is about to be answered. */
void fence_forget(struct head_worker *hw, struct request *req);
void fence_worker_init(struct mp_worker *mw);

#endif
