/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_TOP_H
#define CLI_TOP_H

#include <jansson.h>

#include "cli/options.h"

/* What paths do now, again and again, until it is ended. Takes over @params. */
int top_run(const struct options *o, json_t *params);

#endif
