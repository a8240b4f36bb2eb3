/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to paths, namespaces, upstreams, hosts and the configuration, for those who watch.
 * The last EVENTS_KEPT events are kept, and a reader is no more than a place among them: what it
 * has not taken before newer ones took the place is lost to it, and costs nobody anything. Control
 * loop only.
 */
#ifndef GATEWAY_EVENTS_H
#define GATEWAY_EVENTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define EVENTS_KEPT 4096u

enum event_type {
	EVENT_DAEMON_START,
	EVENT_DAEMON_STOP,
	EVENT_PATH_UP,
	EVENT_PATH_DOWN,
	EVENT_PATH_RANK,
	EVENT_PATH_ANA,
	EVENT_PATH_REFUSED,
	EVENT_PATH_REMOVED,
	EVENT_PATH_ADMIN,
	EVENT_NAMESPACE_ADDED,
	EVENT_NAMESPACE_CHANGED,
	EVENT_NAMESPACE_REMOVED,
	EVENT_NAMESPACE_ANA,
	EVENT_UPSTREAM_STATE,
	EVENT_HOST_CONNECTED,
	EVENT_HOST_DISCONNECTED,
	EVENT_POLICY_SET,
	EVENT_CONFIG_APPLIED,
	EVENT_CONFIG_REFUSED,
	EVENT_COUNT,
};
/* "path.up" and so on: what it is about, a dot, what happened. */
const char *event_type_name(enum event_type t);

struct events *events_new(void);
/* Readers must be closed by then; NULL is right too. */
void events_free(struct events *ev);

/* @o: the members besides "seq", "time" and "type"; taken over. */
void events_emit(struct events *ev, enum event_type type, json_t *o);

struct event_reader {
	TAILQ_ENTRY(event_reader) link;
	struct events *ev;
	uint64_t next;		  /* sequence number */
	uint32_t types;		  /* a bit for each that is wanted; 0: none, it is not open */
	void (*there)(void *arg); /* something to read has come; not to be read from within */
	void *arg;
};

/* The types that @name means: one, or all with what comes before the dot. 0: there are none. */
uint32_t events_named(const char *name);

/*
 * From now on @r is told of what comes. Returns the last @last events of its types as an array.
 * Opening an open one only changes what it is told.
 */
json_t *event_reader_open(struct event_reader *r, struct events *ev, uint32_t types, unsigned last);
void event_reader_close(struct event_reader *r);
/* Something to read: an event, or the loss of some. */
bool event_reader_ready(struct event_reader *r);
/* The next event as JSON text, good until the next one is emitted; NULL: none, or some were lost.
 */
const char *event_reader_next(struct event_reader *r);
/* How many were lost, of whatever type, since this was asked. */
uint64_t event_reader_lost(struct event_reader *r);

#endif
