/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of a daemon that runs: what it is now, what a file would change of it, and the
 * change. Control loop only.
 *
 * There is one way to change it: a whole configuration, checked as at the start and compared to the
 * running one, is applied or is not. Who adds an upstream edits the running configuration and
 * applies that. Paths and policies, which are set at once, find their way back into it when it is
 * asked for. So it can be shown, compared and saved at any time.
 */
#ifndef GATEWAY_LIVE_H
#define GATEWAY_LIVE_H

#include <jansson.h>

#include "gateway/gateway.h"
#include "gateway/rpc_error.h"

/* @cfg is what @file was read as. NULL after logging why. */
struct live *live_new(struct gateway *gw, const char *file, const struct gw_config *cfg);
/* NULL is right too. */
void live_free(struct live *l);

/* The running configuration as the file has it, a new reference. */
json_t *live_show(const struct live *l);
const char *live_file(const struct live *l);
/* A new one is being read: what is set of paths and policies now would be lost. */
bool live_is_changing(const struct live *l);

enum live_what {
	LIVE_CHECK, /* -> {"file"} */
	LIVE_DIFF,  /* -> {"file", "changes", "restart"}, see config_diff.h */
	LIVE_APPLY, /* -> {"file", "changes", "notes"} */
};

/* NULL @result: refused, nothing has changed, @err says why. Takes over @result. */
typedef void (*live_done)(void *arg, json_t *result, const struct rpc_error *err);

/**
 * live_config() - what is to be done with a configuration
 * @name: the file that @text is of; without text the daemon's own file is read
 *
 * One apply at a time: another is refused meanwhile.
 */
void live_config(struct live *l, enum live_what what, const char *name, const char *text,
		 live_done done, void *arg);
/* Applies @doc, an edited live_show(); takes it over. */
void live_edit(struct live *l, json_t *doc, live_done done, void *arg);
/* Writes the running configuration to the daemon's file -> {"file", "backup"} */
void live_save(struct live *l, live_done done, void *arg);
/* Applies the daemon's own file and logs what comes of it. */
void live_reload(void *live);

#endif
