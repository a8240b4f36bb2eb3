/* SPDX-License-Identifier: Apache-2.0 */
/* One end of an RDMA connection on raw verbs; see raw_rdma.h. */
#include "tests/vm/raw_rdma.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void (*raw_turn)(void);

void raw_die(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

void raw_rest(void)
{
	if (raw_turn)
		raw_turn();
	poll(NULL, 0, 1);
}

/* ---- the connection manager ---- */

bool raw_event(struct raw *r, struct raw_event *e)
{
	struct rdma_cm_event *said;
	size_t len;

	if (rdma_get_cm_event(r->channel, &said)) {
		if (errno != EAGAIN)
			raw_die("event");
		return false;
	}
	*e = (struct raw_event){.type = said->event, .status = said->status, .id = said->id};
	len = said->param.conn.private_data ? said->param.conn.private_data_len : 0;
	e->private_len = len < sizeof(e->private_data) ? len : sizeof(e->private_data);
	if (e->private_len)
		memcpy(e->private_data, said->param.conn.private_data, e->private_len);
	rdma_ack_cm_event(said);
	return true;
}

static void wait_event(struct raw *r, struct raw_event *e)
{
	RAW_MUST(raw_event(r, e), "event");
}

void raw_expect(struct raw *r, enum rdma_cm_event_type type, struct raw_event *e)
{
	wait_event(r, e);
	if (e->type == type)
		return;
	errno = EPROTO;
	raw_die(rdma_event_str(e->type));
}

static void open_channel(struct raw *r)
{
	r->channel = rdma_create_event_channel();
	if (!r->channel || fcntl(r->channel->fd, F_SETFL, O_NONBLOCK) ||
	    rdma_create_id(r->channel, &r->id, NULL, RDMA_PS_TCP))
		raw_die("channel");
}

static struct sockaddr_in parse(const char *address, const char *port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};

	errno = EINVAL;
	if (inet_pton(AF_INET, address, &sin.sin_addr) != 1)
		raw_die(address);
	return sin;
}

void raw_listen(struct raw *r, const char *address, const char *port)
{
	struct sockaddr_in sin = parse(address, port);

	open_channel(r);
	if (rdma_bind_addr(r->id, (struct sockaddr *)&sin) || rdma_listen(r->id, 1))
		raw_die("listen");
}

struct raw_event raw_wait_request(struct raw *listener, struct raw *r)
{
	struct raw_event e;

	raw_expect(listener, RDMA_CM_EVENT_CONNECT_REQUEST, &e);
	*r = (struct raw){.channel = listener->channel, .id = e.id};
	return e;
}

void raw_dial(struct raw *r, const char *address, const char *port)
{
	struct sockaddr_in sin = parse(address, port);
	struct raw_event e;

	open_channel(r);
	if (rdma_resolve_addr(r->id, NULL, (struct sockaddr *)&sin, RAW_PATIENT))
		raw_die("address");
	raw_expect(r, RDMA_CM_EVENT_ADDR_RESOLVED, &e);
	if (rdma_resolve_route(r->id, RAW_PATIENT))
		raw_die("route");
	raw_expect(r, RDMA_CM_EVENT_ROUTE_RESOLVED, &e);
}

void raw_make_queue(struct raw *r, void *mem, size_t len, unsigned sends)
{
	struct ibv_qp_init_attr init = {
		.qp_type = IBV_QPT_RC,
		.cap = {.max_send_wr = sends,
			.max_recv_wr = RAW_QUEUE,
			.max_send_sge = 1,
			.max_recv_sge = 1},
	};

	r->pd = ibv_alloc_pd(r->id->verbs);
	init.send_cq = r->sends = ibv_create_cq(r->id->verbs, (int)sends, NULL, NULL, 0);
	init.recv_cq = r->receives = ibv_create_cq(r->id->verbs, RAW_QUEUE, NULL, NULL, 0);
	if (!r->pd || !r->sends || !r->receives || rdma_create_qp(r->id, r->pd, &init))
		raw_die("queue pair");
	r->mr = ibv_reg_mr(r->pd, mem, len,
			   IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ |
				   IBV_ACCESS_REMOTE_WRITE);
	if (!r->mr)
		raw_die("memory");
}

bool raw_call(struct raw *r, const uint8_t *private_data, enum rdma_rej *why)
{
	struct rdma_conn_param param = {
		.private_data = private_data,
		.private_data_len = RDMA_PRIVATE_LEN,
		.responder_resources = 1,
		.retry_count = 7,
		.rnr_retry_count = 7,
	};
	struct raw_event e;

	if (rdma_connect(r->id, &param))
		raw_die("connect");
	wait_event(r, &e);
	if (e.type == RDMA_CM_EVENT_ESTABLISHED)
		return true;
	errno = EPROTO;
	if (e.type != RDMA_CM_EVENT_REJECTED)
		raw_die(rdma_event_str(e.type));
	*why = rdma_wire_get_reject(e.private_data, e.private_len);
	return false;
}

void raw_accept(struct raw *r, const uint8_t *private_data, size_t len)
{
	struct rdma_conn_param param = {
		.private_data = private_data,
		.private_data_len = (uint8_t)len,
		.initiator_depth = RDMA_MAX_INIT_DEPTH,
		.rnr_retry_count = 7,
	};

	if (rdma_accept(r->id, &param))
		raw_die("accept");
}

void raw_hang_up(struct raw *r)
{
	if (r->id && r->id->qp) {
		rdma_disconnect(r->id);
		rdma_destroy_qp(r->id);
	}
}

/* ---- work requests ---- */

static struct ibv_sge sge_of(const struct raw *r, const void *mem, uint32_t len)
{
	return (struct ibv_sge){(uintptr_t)mem, len, r->mr->lkey};
}

void raw_receive(struct raw *r, void *mem, uint32_t len)
{
	struct ibv_sge sge = sge_of(r, mem, len);
	struct ibv_recv_wr wr = {.sg_list = &sge, .num_sge = 1}, *bad;

	if (ibv_post_recv(r->id->qp, &wr, &bad))
		raw_die("receive");
}

static void post(struct raw *r, struct ibv_send_wr *wr)
{
	struct ibv_send_wr *bad;

	wr->send_flags = IBV_SEND_SIGNALED;
	r->out++;
	if (ibv_post_send(r->id->qp, wr, &bad))
		raw_die("send");
}

void raw_send(struct raw *r, const void *mem, uint32_t len, uint32_t invalidate)
{
	struct ibv_sge sge = sge_of(r, mem, len);

	post(r, &(struct ibv_send_wr){
			.opcode = invalidate ? IBV_WR_SEND_WITH_INV : IBV_WR_SEND,
			.sg_list = &sge,
			.num_sge = 1,
			.invalidate_rkey = invalidate,
		});
}

void raw_move(struct raw *r, enum ibv_wr_opcode opcode, void *mem, uint32_t len, uint64_t addr,
	      uint32_t key)
{
	struct ibv_sge sge = sge_of(r, mem, len);

	post(r, &(struct ibv_send_wr){
			.opcode = opcode,
			.sg_list = &sge,
			.num_sge = 1,
			.wr.rdma = {.remote_addr = addr, .rkey = key},
		});
}

bool raw_done(struct ibv_cq *cq, struct ibv_wc *wc)
{
	int n = ibv_poll_cq(cq, 1, wc);

	if (n < 0)
		raw_die("completion queue");
	return n == 1;
}

enum ibv_wc_status raw_sent(struct raw *r)
{
	enum ibv_wc_status status = IBV_WC_SUCCESS;

	while (r->out) {
		struct ibv_wc wc;

		RAW_MUST(raw_done(r->sends, &wc), "send");
		r->out--;
		if (!status)
			status = wc.status;
	}
	return status;
}
