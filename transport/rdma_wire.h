/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/RDMA on the wire: what the two sides say in the private data of the connection manager's
 * messages (RDMA transport 1.0, 3.2), and keyed SGL descriptors (Base 2.0, 4.1.2.1). Pure: bytes
 * in, values or a verdict out.
 */
#ifndef TRANSPORT_RDMA_WIRE_H
#define TRANSPORT_RDMA_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/nvme.h"

#define RDMA_PRIVATE_LEN 32u /* of a request and of an accept */
#define RDMA_REJECT_LEN	 4u

/* A keyed descriptor's length has 24 bits. */
#define RDMA_KEYED_MAX ((1u << 24) - 1)

/* Why a connection is rejected */
enum rdma_rej {
	RDMA_REJ_NONE,
	RDMA_REJ_LENGTH,  /* the private data is too short */
	RDMA_REJ_RECFMT,  /* unknown format */
	RDMA_REJ_QID,	  /* invalid queue ID */
	RDMA_REJ_HSQSIZE, /* invalid send queue size of the host */
	RDMA_REJ_HRQSIZE, /* invalid receive queue size of the host */
	RDMA_REJ_NO_RSC,  /* out of resources */
	RDMA_REJ_IRD,	  /* invalid inbound read depth */
	RDMA_REJ_ORD,	  /* invalid outbound read depth */
	RDMA_REJ_CNTLID,  /* invalid controller ID; since 1.1 */
};

/* What a host asks for. */
struct rdma_wire_request {
	uint16_t qid;
	uint16_t hrqsize; /* entries of its receive queue, for our responses */
	uint16_t hsqsize; /* commands that it has out at most: entries of the SQ, 0's based */
	uint16_t cntlid;  /* since 1.1; 0 on the admin queue and from those that know only 1.0 */
};

/* @b holds RDMA_PRIVATE_LEN. */
void rdma_wire_put_request(uint8_t *b, const struct rdma_wire_request *r);
/* RDMA_REJ_NONE with *r set, or what is wrong with the form. @b may be longer than what was sent.
 */
enum rdma_rej rdma_wire_get_request(const uint8_t *b, size_t len, struct rdma_wire_request *r);

/* @crqsize: entries of our receive queue. */
void rdma_wire_put_accept(uint8_t *b, uint16_t crqsize);
/* False when it is not of a form that we know. */
bool rdma_wire_get_accept(const uint8_t *b, size_t len, uint16_t *crqsize);

/* @b holds RDMA_REJECT_LEN. */
void rdma_wire_put_reject(uint8_t *b, enum rdma_rej why);
/* RDMA_REJ_NONE: the private data says nothing. May be a value that the enum does not have. */
enum rdma_rej rdma_wire_get_reject(const uint8_t *b, size_t len);
const char *rdma_rej_str(enum rdma_rej why);

/* Where a command's data is. */
struct rdma_data {
	uint32_t len; /* 0: it has none */
	bool in_capsule;
	bool invalidate; /* the host wants its key invalidated by our response */
	uint32_t key;
	uint64_t addr; /* the host's; or the offset within the in-capsule data */
};

/* Judges a command's SGL; @icd: bytes that came behind the command. 0, or the status it gets. */
uint16_t rdma_sgl_check(const struct nvme_sqe *sqe, uint32_t icd, struct rdma_data *d);

/* Of a descriptor of one of the two keyed types. */
void rdma_wire_get_keyed(const struct nvme_sgl_desc *sgl, struct rdma_data *d);
void rdma_wire_put_keyed(struct nvme_sgl_desc *sgl, uint64_t addr, uint32_t len, uint32_t key);

#endif
