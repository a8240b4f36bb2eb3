/* SPDX-License-Identifier: Apache-2.0 */
/* The ANA log page as an initiator reads it (Base 2.0, 5.16.1.13), checked in full before use. */
#ifndef MULTIPATH_ANA_H
#define MULTIPATH_ANA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/nvme.h"

/* I/O may use a path in this ANA state: optimized or non-optimized. */
bool ana_usable(uint8_t state);
const char *ana_state_name(uint8_t state);

typedef void (*ana_group_fn)(void *arg, uint32_t grpid, uint8_t state, uint64_t chgcnt);

/**
 * ana_parse() - check the log of @len bytes, then call @fn for each group
 *
 * Refused whole, before any call: descriptors past the end, group id 0 or above @grpmax, states
 * that the spec does not know. Returns 0, or -EBADMSG with *reason.
 */
int ana_parse(const uint8_t *log, size_t len, uint32_t grpmax, ana_group_fn fn, void *arg,
	      const char **reason);

#endif
