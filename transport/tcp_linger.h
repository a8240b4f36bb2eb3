/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Last words on a TCP connection: sends a few bytes (a term-req), then shuts down our side and
 * waits for the peer to hang up, so that a reset does not overtake what was said. Bounded in time,
 * in what it reads, and in how many there are at once (more are closed at once).
 */
#ifndef TRANSPORT_TCP_LINGER_H
#define TRANSPORT_TCP_LINGER_H

#include <stdint.h>

#include "transport/loop.h"

/* Takes over @fd (non-blocking, watched by nobody) and @bytes (malloc'ed, @len of them). */
void tcp_linger(struct loop *loop, int fd, uint8_t *bytes, size_t len);

/* How many there are, on all loops. */
unsigned tcp_linger_count(void);

#endif
