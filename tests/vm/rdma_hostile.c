/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host on raw verbs that does one thing wrong: rdma_hostile ADDRESS PORT NQN CASE. Prints in one
 * line what it gets for that: "rejected N" with the reason of the private data, "status 0xN" of the
 * response, or "disconnected". Nothing in here waits for more than ten seconds; then "nothing".
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/vm/raw_rdma.h"
#include "transport/nvme.h"

#define BIG   (64 + 16384)
#define FLOOD (8 * RAW_QUEUE) /* also of the answers that a target has sent and not got rid of */

#define CC_ENABLE 0x460001u /* entries of 64 and 16 bytes, enabled */

static const char *address, *port, *nqn;
static struct raw host;
static struct raw admin; /* its admin queue, once it has become an I/O queue */
static uint16_t cntlid;
static struct {
	_Alignas(4096) uint8_t capsule[BIG];
	uint8_t answer[64];
	uint8_t data[4096];
} mem;

__attribute__((noreturn)) static void say(const char *what)
{
	puts(what);
	fflush(stdout);
	_exit(0); /* as it is: connections and all */
}

static void receive(void)
{
	raw_receive(&host, mem.answer, sizeof(mem.answer));
}

static void dial(void)
{
	raw_dial(&host, address, port);
	raw_make_queue(&host, &mem, sizeof(mem), FLOOD);
}

static void call(const uint8_t *private_data)
{
	enum rdma_rej why;

	if (raw_call(&host, private_data, &why))
		return;
	printf("rejected %d\n", why);
	exit(0);
}

/* ---- commands ---- */

static void send_capsule(uint32_t len)
{
	raw_send(&host, mem.capsule, len, 0);
}

static void look_for_end(void)
{
	struct raw_event e;
	struct ibv_wc wc;

	while (raw_done(host.sends, &wc))
		if (wc.status)
			say("disconnected");
	if (raw_event(&host, &e))
		say("disconnected");
}

__attribute__((noreturn)) static void wait_for_end(void)
{
	for (unsigned ms = 0; ms < RAW_PATIENT; ms++) {
		look_for_end();
		raw_rest();
	}
	say("nothing");
}

/* True with a response in mem.answer; says so itself when there will be none. */
static bool answered(void)
{
	struct ibv_wc wc;

	if (raw_done(host.receives, &wc)) {
		if (wc.status)
			say("disconnected");
		return true;
	}
	look_for_end();
	return false;
}

/* The response to the command that is out. */
static struct nvme_cqe wait_answer(void)
{
	struct nvme_cqe cqe;

	if (!RAW_UNTIL(answered()))
		say("nothing");
	memcpy(&cqe, mem.answer, sizeof(cqe));
	receive();
	return cqe;
}

static struct nvme_sqe *fresh(uint8_t opcode)
{
	struct nvme_sqe *sqe = (struct nvme_sqe *)mem.capsule;

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcode;
	sqe->flags = NVME_PSDT_SGL;
	rdma_wire_put_keyed(&sqe->sgl, (uintptr_t)mem.data, sizeof(mem.data), host.mr->rkey);
	return sqe;
}

static struct nvme_cqe must_succeed(const char *what)
{
	struct nvme_cqe cqe;

	send_capsule(sizeof(struct nvme_sqe));
	cqe = wait_answer();
	if (!nvme_cqe_status(&cqe))
		return cqe;
	printf("%s: status 0x%x\n", what, nvme_cqe_status(&cqe));
	exit(1);
}

static void put_connect(uint16_t qid, uint16_t of)
{
	struct nvmf_connect_payload *data = (struct nvmf_connect_payload *)mem.data;
	struct nvme_sqe *sqe = fresh(NVME_OPC_FABRICS);

	memset(data, 0, sizeof(*data));
	memset(data->hostid, 7, sizeof(data->hostid));
	data->cntlid = htole16(of);
	snprintf(data->subnqn, sizeof(data->subnqn), "%s", nqn);
	strcpy(data->hostnqn, "nqn.2014-08.org.example:hostile");
	rdma_wire_put_keyed(&sqe->sgl, (uintptr_t)data, sizeof(*data), host.mr->rkey);
	sqe->nsid = htole32(nvme_fabrics_type_connect);
	sqe->cdw10 = htole32((uint32_t)qid << 16);
	sqe->cdw11 = htole32(RAW_QUEUE - 1);
}

static void fabrics_connect(void)
{
	struct nvme_cqe cqe;

	put_connect(0, NVMF_CNTLID_DYNAMIC);
	cqe = must_succeed("the Connect");
	cntlid = (uint16_t)le32toh(cqe.result);
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

	rdma_wire_put_keyed(&sqe->sgl, (uintptr_t)mem.data, sizeof(mem.data),
			    host.mr->rkey ^ 0x5a5a5a);
	send_capsule(64);
}

static void bad_address(void)
{
	struct nvme_sqe *sqe = identify();

	rdma_wire_put_keyed(&sqe->sgl, (uintptr_t)&mem + sizeof(mem), 4096, host.mr->rkey);
	send_capsule(64);
}

/* A Connect, for its data is fetched. */
static void bad_read_key(void)
{
	struct nvme_sqe *sqe = fresh(NVME_OPC_FABRICS);

	sqe->nsid = htole32(nvme_fabrics_type_connect);
	rdma_wire_put_keyed(&sqe->sgl, (uintptr_t)mem.data, NVMF_CONNECT_DATA_SIZE,
			    host.mr->rkey ^ 0x5a5a5a);
	send_capsule(64);
}

static void huge_length(void)
{
	struct nvme_sqe *sqe = identify();

	rdma_wire_put_keyed(&sqe->sgl, (uintptr_t)mem.data, RDMA_KEYED_MAX, host.mr->rkey);
	send_capsule(64);
}

/* More than the queue has entries, with room for one answer. */
static void flood(void)
{
	fresh(NVME_OPC_FABRICS);
	for (unsigned i = 0; i < FLOOD; i++)
		send_capsule(64);
	wait_for_end();
}

/* An I/O queue beside the admin queue; nothing receives yet. */
static void call_io(void)
{
	struct rdma_wire_request r = {.qid = 1, .hrqsize = RAW_QUEUE, .hsqsize = RAW_QUEUE - 1};
	uint8_t private_data[RDMA_PRIVATE_LEN];

	admin = host;
	dial();
	rdma_wire_put_request(private_data, &r);
	call(private_data);
	put_connect(r.qid, cntlid);
}

/* It takes no answer to its Connect; it moves to a worker only behind that. */
static void deaf(void)
{
	call_io();
	send_capsule(64);
	wait_for_end();
}

/* Data of a read cannot leave, when the buffers for capsules are those of others too. */
static void io_bad_key(void)
{
	struct nvme_sqe *sqe;

	call_io();
	receive();
	must_succeed("the Connect of an I/O queue");
	sqe = fresh(nvme_cmd_read);
	rdma_wire_put_keyed(&sqe->sgl, (uintptr_t)mem.data, sizeof(mem.data),
			    host.mr->rkey ^ 0x5a5a5a);
	sqe->nsid = htole32(1);
	sqe->cdw12 = htole32(sizeof(mem.data) / 512 - 1);
	send_capsule(64);
}

/* Sent one by one, as if each had been answered, and no answer is taken: each keeps memory. */
static void trickle(void (*command)(void))
{
	for (unsigned i = 0; i < 5 * RAW_QUEUE / 2; i++) {
		command();
		for (unsigned ms = 0; ms < 10; ms++) {
			look_for_end();
			raw_rest();
		}
	}
	say("all taken");
}

static void write_some(void)
{
	set_features(0, 16);
	send_capsule(64 + 16);
}

static void admin_trickle(void)
{
	trickle(good);
}

static void io_trickle(void)
{
	trickle(write_some);
}

/*
 * A command goes before the Connect, and their answers are taken one by one: both have to be before
 * the queue goes to its worker. Then it works.
 */
static void io_late_connect(void)
{
	struct nvme_sqe *sqe;
	struct nvme_cqe cqe;

	call_io();
	write_some();
	for (unsigned ms = 0; ms < 100; ms++)
		raw_rest();
	put_connect(1, cntlid);
	sqe = (struct nvme_sqe *)mem.capsule;
	memset(&sqe->sgl, 0, sizeof(sqe->sgl));
	sqe->sgl.type = NVME_SGL_DATA_OFFSET;
	sqe->sgl.length = htole32(NVMF_CONNECT_DATA_SIZE);
	memcpy(mem.capsule + 64, mem.data, NVMF_CONNECT_DATA_SIZE);
	send_capsule(64 + NVMF_CONNECT_DATA_SIZE);
	for (unsigned ms = 0; ms < 100; ms++)
		raw_rest();
	receive();
	cqe = wait_answer();
	printf("status 0x%x, ", nvme_cqe_status(&cqe));
	cqe = wait_answer();
	printf("status 0x%x, ", nvme_cqe_status(&cqe));
	sqe = fresh(nvme_cmd_flush);
	sqe->nsid = htole32(1);
	rdma_wire_put_keyed(&sqe->sgl, 0, 0, 0);
	send_capsule(64);
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
	{.name = "trickle", .command = admin_trickle},
	{.name = "deaf", .command = deaf},
	{.name = "io-bad-key", .command = io_bad_key},
	{.name = "io-late-connect", .command = io_late_connect},
	{.name = "io-trickle", .command = io_trickle, .no_connect = true, .io = true},
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
	raw_die(name);
}

int main(int argc, char **argv)
{
	struct rdma_wire_request r = {.hrqsize = RAW_QUEUE, .hsqsize = RAW_QUEUE - 1};
	uint8_t private_data[RDMA_PRIVATE_LEN];
	const struct wrong *w;
	struct nvme_cqe cqe;

	if (argc != 5)
		return 2;
	address = argv[1];
	port = argv[2];
	nqn = argv[3];
	w = find(argv[4]);
	r.qid = w->io;
	rdma_wire_put_request(private_data, &r);
	if (!w->command) {
		private_data[w->offset] = (uint8_t)w->value;
		private_data[w->offset + 1] = (uint8_t)(w->value >> 8);
	}
	dial();
	receive();
	call(private_data);
	if (!w->command)
		say("connected");
	if (!w->no_connect) {
		fabrics_connect();
		enable();
	}
	w->command();
	cqe = wait_answer();
	printf("status 0x%x\n", nvme_cqe_status(&cqe));
	return 0;
}
