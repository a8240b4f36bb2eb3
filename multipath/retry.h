/* SPDX-License-Identifier: Apache-2.0 */
/* What to do with a status that an upstream gave. */
#ifndef MULTIPATH_RETRY_H
#define MULTIPATH_RETRY_H

#include <stdint.h>

enum retry_action {
	RETRY_NOT,	  /* the host's to see, unchanged */
	RETRY_OTHER_PATH, /* about the path, not the command */
	RETRY_SAME_PATH,  /* passing trouble of the transport: try again */
};

enum retry_action retry_action(uint16_t status);

#endif
