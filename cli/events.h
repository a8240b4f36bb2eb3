/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_EVENTS_H
#define CLI_EVENTS_H

#include <jansson.h>

#include "cli/options.h"

/* Shows what happens until it is interrupted, or the daemon or the reader of it has gone. Takes
 * over @params. */
int events_run(const struct options *o, json_t *params);

#endif
