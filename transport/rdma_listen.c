/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/RDMA as target: listeners. All of it runs on the control loop.
 *
 * RDMA devices come and go, on soft-RoCE with every `rdma link`, and so does what listens on them.
 * A listener is therefore a standing wish: as long as there is no device for its address it tries
 * again and again, and nobody else suffers from that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/log.h"
#include "transport/rdma_target.h"

#define BACKLOG 128
#define RETRY	(2 * NSEC_PER_SEC)

void rdma_listener_put(struct tgt_listener *l)
{
	l->connections--;
	if (l->gone && !l->connections) {
		rdma_cm_fini(&l->cm);
		free(l);
	}
}

static void stop_listening(struct tgt_listener *l)
{
	if (l->id)
		rdma_destroy_id(l->id);
	l->id = NULL;
}

static void on_note(void *arg, const struct rdma_cm_note *note)
{
	struct tgt_listener *l = arg;

	if (note->type == RDMA_CM_EVENT_CONNECT_REQUEST) {
		rdma_tgt_request(l, note);
	} else if (note->id != l->id) {
		if (note->id->context)
			rdma_tgt_note(note->id->context, note);
	} else if (note->type == RDMA_CM_EVENT_DEVICE_REMOVAL ||
		   note->type == RDMA_CM_EVENT_ADDR_CHANGE) {
		log_warn("RDMA listener: %s", rdma_cm_end_str(note));
		if (note->type == RDMA_CM_EVENT_DEVICE_REMOVAL)
			rdma_dev_removed(note->id);
		stop_listening(l);
		l->failing = true;
		loop_timer_arm(&l->retry, RETRY);
	}
}

static int try_listen(struct tgt_listener *l)
{
	int e = 0, one = 1;

	if (!l->has_cm) {
		e = rdma_cm_init(&l->cm, l->loop, on_note, l);
		if (e) {
			rdma_cm_fini(&l->cm);
			return e;
		}
		l->has_cm = true;
	}
	/* Its context is NULL: that tells it from a connection's. */
	if (rdma_create_id(l->cm.channel, &l->id, NULL, RDMA_PS_TCP)) {
		l->id = NULL;
		return -errno;
	}
	rdma_set_option(l->id, RDMA_OPTION_ID, RDMA_OPTION_ID_REUSEADDR, &one, sizeof(one));
	/* So that 0.0.0.0 and [::] can be listened on with the same port. */
	if (l->addr.ss.ss_family == AF_INET6)
		rdma_set_option(l->id, RDMA_OPTION_ID, RDMA_OPTION_ID_AFONLY, &one, sizeof(one));
	if (rdma_bind_addr(l->id, (struct sockaddr *)&l->addr.ss) || rdma_listen(l->id, BACKLOG)) {
		e = -errno;
		stop_listening(l);
	}
	return e;
}

static void listen_or_retry(void *arg)
{
	struct tgt_listener *l = arg;
	char where[ADDR_STR_MAX];
	int e = try_listen(l);

	if (!e && l->failing)
		log_info("listening on %s for RDMA", addr_str(&l->addr, where));
	if (e && !l->failing)
		log_err("cannot listen on %s for RDMA: %s; trying until it can be done",
			addr_str(&l->addr, where), strerror(-e));
	l->failing = e;
	if (e)
		loop_timer_arm(&l->retry, RETRY);
}

struct tgt_listener *rdma_tgt_listen(struct loop *control, const struct addr *addr,
				     const struct tgt_config *cfg, const struct tgt_ops *ops,
				     void *arg)
{
	struct tgt_listener *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->cfg = *cfg;
	l->ops = ops;
	l->arg = arg;
	l->loop = control;
	l->addr = *addr;
	loop_timer_init(&l->retry, control, listen_or_retry, l);
	listen_or_retry(l);
	return l;
}

const struct addr *rdma_listener_addr(const struct tgt_listener *l)
{
	return l->id ? &l->addr : NULL;
}

void *rdma_listener_arg(const struct tgt_listener *l)
{
	return l->arg;
}

void rdma_unlisten(struct tgt_listener *l)
{
	loop_timer_fini(&l->retry);
	stop_listening(l);
	l->gone = true;
	if (!l->connections) {
		if (l->has_cm)
			rdma_cm_fini(&l->cm);
		free(l);
	}
}
