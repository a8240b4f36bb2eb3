/* SPDX-License-Identifier: Apache-2.0 */
/* I/O commands of hosts: checks, and the way to the head and back. Worker loops. */
#ifndef GATEWAY_IO_H
#define GATEWAY_IO_H

#include "gateway/controller.h"

void io_command(struct host_queue *q, struct request *req);
void io_data_ready(struct host_queue *q, struct request *req);
/* The connection is gone: takes back what is held. */
void io_closed(struct host_queue *q);
/* Takes back the command with @cid if it is held: true. */
bool io_abort(struct host_queue *q, uint16_t cid);

/* Commands Supported and Effects entry of an I/O opcode when ONCS is @oncs. */
uint32_t io_effects(uint8_t opcode, uint16_t oncs);
/* ONCS bits of all commands that are implemented here. */
uint16_t io_oncs(void);

#endif
