/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host on raw verbs that does one thing wrong: rdma_hostile ADDRESS PORT NQN CASE. Prints in one
 * line what it gets for that: "rejected N" with the reason of the private data, "status 0xN" of the
 * response, or "disconnected". Nothing in here waits for more than ten seconds; then "nothing".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rdma/rdma_cma.h>

#include "transport/nvme.h"
#include "transport/rdma_wire.h"

#define QUEUE	32
#define BIG	(64 + 16384)
#define FLOOD	(8 * QUEUE) /* also of the answers that a target may have sent and not got rid of */
#define PATIENT 10000	    /* ms */

#define CC_ENABLE 0x460001u /* entries of 64 and 16 bytes, enabled */

static struct rdma_cm_id *id;
static struct ibv_pd *pd;
static struct ibv_cq *cq;
static struct ibv_mr *mr;
static struct {
	_Alignas(4096) uint8_t capsule[BIG];
	uint8_t answer[64];
	uint8_t data[4096];
} mem;

__attribute__((noreturn)) static void die(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

__attribute__((noreturn)) static void say(const char *what)
{
	puts(what);
	exit(0);
}

/* ---- the connection ---- */

static void make_queue(void)
{
	struct ibv_qp_init_attr init = {
		.qp_type = IBV_QPT_RC,
		.cap = {.max_send_wr = FLOOD,
			.max_recv_wr = QUEUE,
			.max_send_sge = 1,
			.max_recv_sge = 1},
	};

	pd = ibv_alloc_pd(id->verbs);
	cq = ibv_create_cq(id->verbs, FLOOD + QUEUE, NULL, NULL, 0);
	init.send_cq = init.recv_cq = cq;
	if (!pd || !cq || rdma_create_qp(id, pd, &init))
		die("queue pair");
	mr = ibv_reg_mr(pd, &mem, sizeof(mem),
			IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE);
	if (!mr)
		die("memory");
}

static void receive(void)
{
	struct ibv_sge sge = {(uintptr_t)mem.answer, sizeof(mem.answer), mr->lkey};
	struct ibv_recv_wr wr = {.wr_id = 1, .sg_list = &sge, .num_sge = 1}, *bad;

	if (ibv_post_recv(id->qp, &wr, &bad))
		die("receive");
}

static void call(const char *address, const char *port, const uint8_t *private_data)
{
	struct rdma_conn_param param = {
		.private_data = private_data,
		.private_data_len = RDMA_PRIVATE_LEN,
		.responder_resources = 1,
		.retry_count = 7,
		.rnr_retry_count = 7,
	};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};

	inet_pton(AF_INET, address, &to.sin_addr);
	/* Without a channel every call waits for its event. */
	if (rdma_create_id(NULL, &id, NULL, RDMA_PS_TCP) ||
	    rdma_resolve_addr(id, NULL, (struct sockaddr *)&to, PATIENT) ||
	    rdma_resolve_route(id, PATIENT))
		die("address");
	make_queue();
	receive();
	if (!rdma_connect(id, &param))
		return;
	if (id->event && id->event->event == RDMA_CM_EVENT_REJECTED) {
		printf("rejected %d\n",
		       rdma_wire_get_reject(id->event->param.conn.private_data,
					    id->event->param.conn.private_data_len));
		exit(0);
	}
	die("connect");
}

/* ---- commands ---- */

static void send_capsule(uint32_t len)
{
	struct ibv_sge sge = {(uintptr_t)mem.capsule, len, mr->lkey};
	struct ibv_send_wr wr = {.opcode = IBV_WR_SEND,
				 .sg_list = &sge,
				 .num_sge = 1,
				 .send_flags = IBV_SEND_SIGNALED},
			   *bad;

	if (ibv_post_send(id->qp, &wr, &bad))
		die("send");
}

/* In sync mode the event of the end is there to be had without waiting. */
static void wait_a_little(void)
{
	if (poll(&(struct pollfd){.fd = id->channel->fd, .events = POLLIN}, 1, 1) == 1)
		say("disconnected");
}

/* The response to the command that is out; says so itself when there will be none. */
static struct nvme_cqe wait_answer(void)
{
	struct nvme_cqe cqe;

	for (unsigned ms = 0; ms < PATIENT; ms++) {
		struct ibv_wc wc;

		if (ibv_poll_cq(cq, 1, &wc) == 1) {
			if (wc.status)
				say("disconnected");
			if (wc.wr_id != 1)
				continue;
			memcpy(&cqe, mem.answer, sizeof(cqe));
			receive();
			return cqe;
		}
		wait_a_little();
	}
	say("nothing");
}

static struct nvme_sqe *fresh(uint8_t opcode)
{
	struct nvme_sqe *sqe = (struct nvme_sqe *)mem.capsule;

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcode;
	sqe->flags = NVME_PSDT_SGL;
	rdma_wire_put_keyed(&sqe->sgl, (uintptr_t)mem.data, sizeof(mem.data), mr->rkey);
	return sqe;
}

static void must_succeed(const char *what)
{
	struct nvme_cqe cqe;

	send_capsule(sizeof(struct nvme_sqe));
	cqe = wait_answer();
	if (!nvme_cqe_status(&cqe))
		return;
	printf("%s: status 0x%x\n", what, nvme_cqe_status(&cqe));
	exit(1);
}

static void fabrics_connect(const char *nqn)
{
	struct nvmf_connect_payload *data = (struct nvmf_connect_payload *)mem.data;
	struct nvme_sqe *sqe = fresh(NVME_OPC_FABRICS);

	memset(data, 0, sizeof(*data));
	memset(data->hostid, 7, sizeof(data->hostid));
	data->cntlid = 0xffff;
	snprintf(data->subnqn, sizeof(data->subnqn), "%s", nqn);
	strcpy(data->hostnqn, "nqn.2014-08.org.example:hostile");
	rdma_wire_put_keyed(&sqe->sgl, (uintptr_t)data, sizeof(*data), mr->rkey);
	sqe->nsid = htole32(nvme_fabrics_type_connect);
	sqe->cdw11 = htole32(QUEUE - 1);
	must_succeed("the Connect");
}

/* Until then Identify is out of sequence. */
static void enable(void)
{
	struct nvme_sqe *sqe = fresh(NVME_OPC_FABRICS);

	sqe->nsid = htole32(nvme_fabrics_type_property_set);
	sqe->cdw11 = htole32(NVMF_PROP_CC);
	sqe->cdw12 = htole32(CC_ENABLE);
	must_succeed("the Property Set");
}

static struct nvme_sqe *identify(void)
{
	struct nvme_sqe *sqe = fresh(nvme_admin_identify);

	sqe->cdw10 = htole32(NVME_IDENTIFY_CNS_CTRL);
	return sqe;
}

/* ---- what is wrong ---- */

struct wrong {
	const char *name;
	/* Of the private data: */
	uint8_t offset;
	uint16_t value;
	/* of the command that comes after Connect */
	void (*command)(void);
	bool no_connect;
	bool io; /* it is to be an I/O queue, whose buffers are shared with others */
};

static void good(void)
{
	identify();
	send_capsule(64);
}

static void short_capsule(void)
{
	identify();
	send_capsule(63);
}

static void long_capsule(void)
{
	identify();
	send_capsule(BIG);
}

static void no_sgl(void)
{
	identify()->flags = 0;
	send_capsule(64);
}

static void bad_type(void)
{
	identify()->sgl.type = NVME_SGL_TRANSPORT;
	send_capsule(64);
}

static void segment_type(void)
{
	identify()->sgl.type = 0x30;
	send_capsule(64);
}

static void read_in_capsule(void)
{
	identify()->sgl.type = NVME_SGL_DATA_OFFSET;
	send_capsule(64);
}

/* In-capsule data of Set Features, a command with data to the controller. */
static struct nvme_sqe *set_features(uint64_t offset, uint32_t len)
{
	struct nvme_sqe *sqe = fresh(nvme_admin_set_features);

	memset(&sqe->sgl, 0, sizeof(sqe->sgl));
	sqe->cdw10 = htole32(NVME_FEAT_FID_HOST_ID);
	sqe->sgl.type = NVME_SGL_DATA_OFFSET;
	sqe->sgl.addr = htole64(offset);
	sqe->sgl.length = htole32(len);
	return sqe;
}

static void data_missing(void)
{
	set_features(0, 16);
	send_capsule(64);
}

static void bad_offset(void)
{
	set_features(1, 0);
	send_capsule(64);
}

static void bad_key(void)
{
	struct nvme_sqe *sqe = identify();

	rdma_wire_put_keyed(&sqe->sgl, (uintptr_t)mem.data, sizeof(mem.data), mr->rkey ^ 0x5a5a5a);
	send_capsule(64);
}

static void bad_address(void)
{
	struct nvme_sqe *sqe = identify();

	rdma_wire_put_keyed(&sqe->sgl, (uintptr_t)&mem + sizeof(mem), 4096, mr->rkey);
	send_capsule(64);
}

/* A Connect, for its data is fetched. */
static void bad_read_key(void)
{
	struct nvme_sqe *sqe = fresh(NVME_OPC_FABRICS);

	sqe->nsid = htole32(nvme_fabrics_type_connect);
	rdma_wire_put_keyed(&sqe->sgl, (uintptr_t)mem.data, NVMF_CONNECT_DATA_SIZE,
			    mr->rkey ^ 0x5a5a5a);
	send_capsule(64);
}

static void huge_length(void)
{
	struct nvme_sqe *sqe = identify();

	rdma_wire_put_keyed(&sqe->sgl, (uintptr_t)mem.data, RDMA_KEYED_MAX, mr->rkey);
	send_capsule(64);
}

/* More than the queue has entries, with room for one answer. */
static void flood(void)
{
	fresh(NVME_OPC_FABRICS);
	for (unsigned i = 0; i < FLOOD; i++)
		send_capsule(64);
	for (unsigned ms = 0; ms < PATIENT; ms++) {
		struct ibv_wc wc;

		while (ibv_poll_cq(cq, 1, &wc) == 1)
			if (wc.status)
				say("disconnected");
		wait_a_little();
	}
	say("nothing");
}

static const struct wrong wrongs[] = {
	{.name = "good", .command = good},
	{.name = "recfmt", .offset = 0, .value = 1},
	{.name = "qid", .offset = 2, .value = 0xffff},
	{.name = "hrqsize", .offset = 4, .value = 0},
	{.name = "hsqsize-0", .offset = 6, .value = 0},
	{.name = "hsqsize-big", .offset = 6, .value = 5000},
	{.name = "no-connect", .command = good, .no_connect = true},
	{.name = "short-capsule", .command = short_capsule},
	{.name = "long-capsule", .command = long_capsule},
	{.name = "no-sgl", .command = no_sgl},
	{.name = "bad-type", .command = bad_type},
	{.name = "segment-type", .command = segment_type},
	{.name = "read-in-capsule", .command = read_in_capsule},
	{.name = "data-missing", .command = data_missing},
	{.name = "bad-offset", .command = bad_offset},
	{.name = "bad-key", .command = bad_key},
	{.name = "bad-address", .command = bad_address},
	{.name = "bad-read-key", .command = bad_read_key, .no_connect = true},
	{.name = "huge-length", .command = huge_length},
	{.name = "flood", .command = flood},
	{.name = "io-flood", .command = flood, .no_connect = true, .io = true},
	{.name = "io-short-capsule", .command = short_capsule, .no_connect = true, .io = true},
	{.name = "io-long-capsule", .command = long_capsule, .no_connect = true, .io = true},
	{.name = "io-no-connect", .command = good, .no_connect = true, .io = true},
};

static const struct wrong *find(const char *name)
{
	for (unsigned i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++)
		if (!strcmp(name, wrongs[i].name))
			return &wrongs[i];
	errno = ENOENT;
	die(name);
}

int main(int argc, char **argv)
{
	struct rdma_wire_request r = {.hrqsize = QUEUE, .hsqsize = QUEUE - 1};
	uint8_t private_data[RDMA_PRIVATE_LEN];
	const struct wrong *w;
	struct nvme_cqe cqe;

	if (argc != 5)
		return 2;
	w = find(argv[4]);
	r.qid = w->io;
	rdma_wire_put_request(private_data, &r);
	if (!w->command) {
		private_data[w->offset] = (uint8_t)w->value;
		private_data[w->offset + 1] = (uint8_t)(w->value >> 8);
	}
	call(argv[1], argv[2], private_data);
	if (!w->command)
		say("connected");
	if (!w->no_connect) {
		fabrics_connect(argv[3]);
		enable();
	}
	w->command();
	cqe = wait_answer();
	printf("status 0x%x\n", nvme_cqe_status(&cqe));
	return 0;
}
