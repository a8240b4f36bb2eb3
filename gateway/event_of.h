/* SPDX-License-Identifier: Apache-2.0 */
/* What an event says of the thing that it is about; each returns a new reference. */
#ifndef GATEWAY_EVENT_OF_H
#define GATEWAY_EVENT_OF_H

#include "gateway/controller.h"
#include "gateway/events.h"

json_t *event_of_daemon(void);
json_t *event_of_path(struct subsystem *ss, struct path *p);
json_t *event_of_namespace(const struct subsystem *ss, const struct head *h);
json_t *event_of_upstream(const struct subsystem *ss, const struct upstream *up);
json_t *event_of_host(const struct controller *c, const char *reason);
/* @h NULL: of all its namespaces, and those to come */
json_t *event_of_policy(const struct subsystem *ss, const struct head *h);
/* @file: what it was read from; @changes: an array, or NULL when it is not known what they were */
json_t *event_of_config(const char *file, const json_t *changes, const char *reason);

#endif
