/* SPDX-License-Identifier: Apache-2.0 */
/* Heads and their paths, inside multipath/. Control loop only. */
#ifndef MULTIPATH_HEAD_H
#define MULTIPATH_HEAD_H

#include "multipath/multipath.h"

/* A head for a namespace seen first through @first; NULL with *why when it is not exported. */
struct head *head_add(struct mp_subsys *ss, const struct path *first, struct mp_refusal *why);
/* The last path is gone for good: the namespace leaves the subsystem, at once or after
 * delayed_removal without a new one; with @hold not before its I/O has been held in vain. */
void head_abandoned(struct head *h, bool hold);
/* It is not to be exported as it was: takes its paths from it, to be attached anew. */
void head_evict(struct head *h);
/* How it is judged, told and held has changed: by the configuration. */
void head_reconfigure(struct head *h);
void head_remove(struct head *h);
/* The head has a path again. */
void head_adopted(struct head *h);
/*
 * Judges all paths of the head anew, adopts a new size or format when that is all that the usable
 * associations still show, and tells workers and hosts what has changed.
 */
void head_settle(struct head *h);

/* Tells hosts what its paths' states add up to now, if that has changed. */
void head_tell(struct head *h);

/* ---- grave.c: namespaces that have left while writes to them may still be executed ---- */
/* The head leaves the subsystem. */
void grave_dig(const struct head *h);
/* All its commands have ended, and it is about to be freed. */
void grave_close(const struct head *h);
/* Some quarantine has ended. */
void graves_look(struct mp *mp);
/* False, and why the namespace gets no new head yet; it is reconsidered when that may change. */
bool grave_allows(const struct mp *mp, const struct ns_ident *ident, struct mp_refusal *why);
void graves_free(struct mp *mp);

/*
 * Its upstream is live, and has said over this connection which namespace it is. Until then nothing
 * is sent to it: the NSID may have become another namespace's.
 */
bool path_connected(const struct path *p);
/* Brings usable, rank and reason of a path with a head up to date. */
void path_judge(struct path *p);
/* Frees a removed path that no worker points to any more. */
void path_put(struct path *p);

#endif
