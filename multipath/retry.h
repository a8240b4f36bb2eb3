/* SPDX-License-Identifier: Apache-2.0 */
/* What to do with a status that an upstream gave. */
#ifndef MULTIPATH_RETRY_H
#define MULTIPATH_RETRY_H

#include <stdint.h>

enum retry_action {
	RETRY_NOT,	  /* the host's to see, unchanged */
	RETRY_OTHER_PATH, /* about the path, not the command */
	RETRY_AGAIN,	  /* passing trouble: try again, after what CRD says */
};

/* @status: the 15 bits of a completion. */
enum retry_action retry_action(uint16_t status);

/* 0, or which of CRDT1 to CRDT3 the controller asks to wait for (Base 2.0, 3.3.3.2.1). */
static inline unsigned retry_crd(uint16_t status)
{
	return status >> 11 & 3;
}

#endif
