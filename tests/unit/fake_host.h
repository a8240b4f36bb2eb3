/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole gateway in memory with hosts that send it commands: struct tgt_transport without a
 * network on one side, the upstreams of fake_upstream.h on the other. No threads: the test turns
 * the loops, control and one worker.
 */
#ifndef TESTS_FAKE_HOST_H
#define TESTS_FAKE_HOST_H

#include "gateway/controller.h"

#define FAKE_GW_NQN  "nqn.2014-08.org.example:gw"
#define FAKE_HOSTNQN "nqn.2014-08.org.example:host"

/* What came back for one command. */
struct answer {
	bool there;
	uint16_t status;
	uint64_t result;
	uint32_t len;
	_Alignas(8) uint8_t data[1 << 16];
};

extern struct gateway *gw;
extern struct subsystem *gw_ss; /* its one subsystem */
extern struct gw_config gw_cfg;
extern struct subsys_cfg gw_subsys_cfg;
extern struct upstream_cfg gw_upstream_cfg[2]; /* fake upstreams at ports 1 and 2 */

/* Sets the configuration to its defaults; change it before gw_start(). */
void gw_defaults(void);
/* Starts the gateway and waits until @paths paths are usable. */
void gw_start(unsigned paths);
/* Ends it in order and checks that nothing is left over. */
void gw_end(void);
/* Turns of both loops. */
void gw_spin(unsigned turns);
/* The NSID of its first namespace. */
uint32_t gw_nsid(void);
/* Usable paths of all namespaces. */
unsigned gw_usable(void);

/* A new connection. */
struct tgt_qpair *host_open(void);
/* One that is known to be for an I/O queue, as over RDMA. */
struct tgt_qpair *host_open_placed(void);
void host_close(struct tgt_qpair *qp);
/* True until the gateway has closed it or host_close() is through. */
bool host_is_open(const struct tgt_qpair *qp);
/*
 * Sends a command; @data of @len bytes goes in the capsule for H2C, or with host_fetch set is only
 * brought when asked for; for C2H @len is the room there is. Returns its CID.
 */
uint16_t host_send(struct tgt_qpair *qp, const struct nvme_sqe *sqe, const void *data,
		   uint32_t len);
extern bool host_fetch;
/* With host_deaf set, answers do not leave (and keep their memory) before host_hear(). */
extern bool host_deaf;
void host_hear(struct tgt_qpair *qp);
/* The answer to @cid; there is false when there is none yet. Valid until the CID is used again. */
struct answer *host_answer(uint16_t cid);
/* Sends and waits for the answer. */
struct answer *host_command(struct tgt_qpair *qp, const struct nvme_sqe *sqe, const void *data,
			    uint32_t len);

/* Connect with what is valid but for what the test changes before. */
struct connect_args {
	uint16_t recfmt, qid, sqsize, cntlid;
	uint8_t cattr;
	uint32_t kato;
	uint8_t hostid_fill;
	char subnqn[256], hostnqn[256];
};
struct connect_args host_connect_args(void);
struct answer *host_connect(struct tgt_qpair *qp, const struct connect_args *a);
/* An enabled controller on its admin qpair, and one of its I/O queues. */
struct tgt_qpair *host_controller(const char *subnqn);
struct tgt_qpair *host_io_queue(struct tgt_qpair *admin, uint16_t qid);
struct controller *host_ctrl(const struct tgt_qpair *qp);

struct answer *host_property_set(struct tgt_qpair *qp, uint32_t offset, uint32_t value);
struct answer *host_property_get(struct tgt_qpair *qp, uint32_t offset, unsigned attrib);
struct answer *host_identify(struct tgt_qpair *qp, uint8_t cns, uint32_t nsid);
/* Get Log Page of @len bytes from @offset; @rae: Retain Asynchronous Event. */
struct answer *host_log(struct tgt_qpair *qp, uint8_t lid, uint64_t offset, uint32_t len, bool rae);

#define HOST_CC_ENABLE (1u | 6u << NVME_CC_IOSQES_SHIFT | 4u << NVME_CC_IOCQES_SHIFT)

#endif
