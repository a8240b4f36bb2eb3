/* SPDX-License-Identifier: Apache-2.0 */
/* The connection manager's events on a loop; see rdma_cm.h. */
#include "transport/rdma_cm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "transport/log.h"

#define EVENTS_PER_TURN 16

static void take_note(const struct rdma_cm_event *e, struct rdma_cm_note *note)
{
	const struct rdma_conn_param *p = &e->param.conn;

	*note = (struct rdma_cm_note){
		.type = e->event,
		.status = e->status,
		.id = e->id,
		.listen_id = e->listen_id,
		.responder_resources = p->responder_resources,
		.initiator_depth = p->initiator_depth,
		.private_len = p->private_data ? p->private_data_len : 0,
	};
	if (note->private_len)
		memcpy(note->private_data, p->private_data,
		       note->private_len < sizeof(note->private_data) ? note->private_len
								      : sizeof(note->private_data));
}

static void on_readable(void *arg, unsigned events)
{
	struct rdma_cm *cm = arg;

	for (unsigned i = 0; i < EVENTS_PER_TURN; i++) {
		struct rdma_cm_note note;
		struct rdma_cm_event *e;

		if (rdma_get_cm_event(cm->channel, &e)) {
			if (errno != EAGAIN && errno != EINTR)
				log_ratelimited(LOG_ERR, "RDMA connection manager: %s",
						strerror(errno));
			return;
		}
		take_note(e, &note);
		rdma_ack_cm_event(e);
		log_debug(RDMA, "%s, status %d", rdma_event_str(note.type), note.status);
		cm->fn(cm->arg, &note);
	}
}

int rdma_cm_init(struct rdma_cm *cm, struct loop *loop,
		 void (*fn)(void *arg, const struct rdma_cm_note *note), void *arg)
{
	*cm = (struct rdma_cm){.fn = fn, .arg = arg};
	cm->channel = rdma_create_event_channel();
	if (!cm->channel)
		return errno == ENOENT ? -ENODEV : -errno;
	if (fcntl(cm->channel->fd, F_SETFL, fcntl(cm->channel->fd, F_GETFL) | O_NONBLOCK))
		return -errno;
	loop_fd_init(&cm->watch, loop, cm->channel->fd, on_readable, cm);
	loop_fd_want(&cm->watch, LOOP_READ);
	return 0;
}

void rdma_cm_fini(struct rdma_cm *cm)
{
	if (!cm->channel)
		return;
	loop_fd_fini(&cm->watch);
	rdma_destroy_event_channel(cm->channel);
	cm->channel = NULL;
}

const char *rdma_cm_end_str(const struct rdma_cm_note *note)
{
	switch (note->type) {
	case RDMA_CM_EVENT_ADDR_ERROR:
		return "no RDMA device leads to the address";
	case RDMA_CM_EVENT_ROUTE_ERROR:
		return "no route to the address";
	case RDMA_CM_EVENT_CONNECT_ERROR:
		return "error while connecting";
	case RDMA_CM_EVENT_UNREACHABLE:
		return "the peer does not answer";
	case RDMA_CM_EVENT_REJECTED:
		return "rejected";
	case RDMA_CM_EVENT_DISCONNECTED:
		return "closed by the peer";
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
		return "the RDMA device was removed";
	case RDMA_CM_EVENT_ADDR_CHANGE:
		return "the address has moved to another device";
	default:
		return NULL;
	}
}
