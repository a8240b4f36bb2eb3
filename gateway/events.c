/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const names[EVENT_COUNT] = {
	[EVENT_DAEMON_START] = "daemon.start",
	[EVENT_DAEMON_STOP] = "daemon.stop",
	[EVENT_PATH_UP] = "path.up",
	[EVENT_PATH_DOWN] = "path.down",
	[EVENT_PATH_RANK] = "path.rank",
	[EVENT_PATH_ANA] = "path.ana",
	[EVENT_PATH_REFUSED] = "path.refused",
	[EVENT_PATH_REMOVED] = "path.removed",
	[EVENT_PATH_ADMIN] = "path.admin",
	[EVENT_NAMESPACE_ADDED] = "namespace.added",
	[EVENT_NAMESPACE_CHANGED] = "namespace.changed",
	[EVENT_NAMESPACE_REMOVED] = "namespace.removed",
	[EVENT_NAMESPACE_ANA] = "namespace.ana",
	[EVENT_UPSTREAM_STATE] = "upstream.state",
	[EVENT_HOST_CONNECTED] = "host.connected",
	[EVENT_HOST_DISCONNECTED] = "host.disconnected",
	[EVENT_POLICY_SET] = "policy.set",
	[EVENT_CONFIG_APPLIED] = "config.applied",
	[EVENT_CONFIG_REFUSED] = "config.refused",
};

struct kept {
	enum event_type type;
	char *text;
};

struct events {
	uint64_t next; /* sequence number; the first is 1 */
	TAILQ_HEAD(, event_reader) readers;
	struct kept kept[EVENTS_KEPT]; /* number n is at n % size */
};

const char *event_type_name(enum event_type t)
{
	return names[t];
}

uint32_t events_named(const char *name)
{
	size_t len = strlen(name);
	uint32_t types = 0;

	for (unsigned t = 0; t < EVENT_COUNT; t++)
		if (!strncmp(names[t], name, len) && (!names[t][len] || names[t][len] == '.'))
			types |= 1u << t;
	return types;
}

struct events *events_new(void)
{
	struct events *ev = calloc(1, sizeof(*ev));

	if (!ev)
		abort();
	ev->next = 1;
	TAILQ_INIT(&ev->readers);
	return ev;
}

void events_free(struct events *ev)
{
	if (!ev)
		return;
	for (unsigned i = 0; i < EVENTS_KEPT; i++)
		free(ev->kept[i].text);
	free(ev);
}

static uint64_t oldest(const struct events *ev)
{
	return ev->next > EVENTS_KEPT ? ev->next - EVENTS_KEPT : 1;
}

/* RFC 3339, UTC */
static json_t *time_now(void)
{
	char text[40];
	struct timespec ts;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(text, sizeof(text), "%FT%T", &tm);
	snprintf(text + n, sizeof(text) - n, ".%03ldZ", ts.tv_nsec / 1000000);
	return json_string(text);
}

static char *text_of(uint64_t seq, enum event_type type, json_t *more)
{
	json_t *o = json_pack("{s:I, s:o, s:s}", "seq", (json_int_t)seq, "time", time_now(), "type",
			      names[type]);
	char *text;

	json_object_update(o, more);
	json_decref(more);
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (!text)
		abort();
	return text;
}

void events_emit(struct events *ev, enum event_type type, json_t *o)
{
	struct kept *k = &ev->kept[ev->next % EVENTS_KEPT];
	struct event_reader *r;

	free(k->text);
	k->text = text_of(ev->next++, type, o);
	k->type = type;
	TAILQ_FOREACH(r, &ev->readers, link)
		if (event_reader_ready(r))
			r->there(r->arg);
}

/* ---- readers ---- */

static const struct kept *at(const struct events *ev, uint64_t seq)
{
	return &ev->kept[seq % EVENTS_KEPT];
}

static bool wants(uint32_t types, const struct events *ev, uint64_t seq)
{
	return types & 1u << at(ev, seq)->type;
}

/* The sequence number from which on there are @last events of the types. */
static uint64_t back(const struct events *ev, uint32_t types, unsigned last)
{
	uint64_t seq = ev->next;

	while (last && seq > oldest(ev))
		last -= wants(types, ev, --seq);
	return seq;
}

json_t *event_reader_open(struct event_reader *r, struct events *ev, uint32_t types, unsigned last)
{
	json_t *list = json_array();

	for (uint64_t seq = back(ev, types, last); seq < ev->next; seq++)
		if (wants(types, ev, seq))
			json_array_append_new(list, json_loads(at(ev, seq)->text, 0, NULL));
	if (!r->types)
		TAILQ_INSERT_TAIL(&ev->readers, r, link);
	r->ev = ev;
	r->types = types;
	r->next = ev->next;
	return list;
}

void event_reader_close(struct event_reader *r)
{
	if (r->types)
		TAILQ_REMOVE(&r->ev->readers, r, link);
	r->types = 0;
}

/* The next one that is wanted; ev->next: none. */
static uint64_t find(const struct event_reader *r)
{
	uint64_t seq = r->next;

	while (seq < r->ev->next && !wants(r->types, r->ev, seq))
		seq++;
	return seq;
}

bool event_reader_ready(struct event_reader *r)
{
	if (!r->types)
		return false;
	if (r->next < oldest(r->ev))
		return true;
	r->next = find(r); /* what is not wanted is not lost either */
	return r->next < r->ev->next;
}

const char *event_reader_next(struct event_reader *r)
{
	if (!event_reader_ready(r) || r->next < oldest(r->ev))
		return NULL;
	return at(r->ev, r->next++)->text;
}

uint64_t event_reader_lost(struct event_reader *r)
{
	uint64_t first, lost;

	if (!r->types)
		return 0;
	first = oldest(r->ev);
	lost = r->next < first ? first - r->next : 0;
	r->next += lost;
	return lost;
}
