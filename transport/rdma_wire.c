/* SPDX-License-Identifier: Apache-2.0 */
/* Private data and keyed SGL descriptors of NVMe/RDMA; see rdma_wire.h. */
#include "transport/rdma_wire.h"

#include <string.h>

/* Offsets in the private data */
#define OFF_RECFMT  0u
#define OFF_QID	    2u /* of a request */
#define OFF_HRQSIZE 4u
#define OFF_HSQSIZE 6u
#define OFF_CNTLID  8u
#define OFF_CRQSIZE 2u /* of an accept */
#define OFF_STS	    2u /* of a reject */

static void put16(uint8_t *b, uint16_t v)
{
	v = htole16(v);
	memcpy(b, &v, sizeof(v));
}

static uint16_t get16(const uint8_t *b)
{
	uint16_t v;

	memcpy(&v, b, sizeof(v));
	return le16toh(v);
}

void rdma_wire_put_request(uint8_t *b, const struct rdma_wire_request *r)
{
	memset(b, 0, RDMA_PRIVATE_LEN);
	put16(b + OFF_QID, r->qid);
	put16(b + OFF_HRQSIZE, r->hrqsize);
	put16(b + OFF_HSQSIZE, r->hsqsize);
	put16(b + OFF_CNTLID, r->cntlid);
}

enum rdma_rej rdma_wire_get_request(const uint8_t *b, size_t len, struct rdma_wire_request *r)
{
	if (len < RDMA_PRIVATE_LEN)
		return RDMA_REJ_LENGTH;
	if (get16(b + OFF_RECFMT))
		return RDMA_REJ_RECFMT;
	r->qid = get16(b + OFF_QID);
	r->hrqsize = get16(b + OFF_HRQSIZE);
	r->hsqsize = get16(b + OFF_HSQSIZE);
	r->cntlid = get16(b + OFF_CNTLID);
	if (r->qid == 0xffff)
		return RDMA_REJ_QID;
	/* A queue of one entry holds no command. */
	if (!r->hsqsize || r->hsqsize == 0xffff)
		return RDMA_REJ_HSQSIZE;
	if (!r->hrqsize)
		return RDMA_REJ_HRQSIZE;
	return RDMA_REJ_NONE;
}

void rdma_wire_put_accept(uint8_t *b, uint16_t crqsize)
{
	memset(b, 0, RDMA_PRIVATE_LEN);
	put16(b + OFF_CRQSIZE, crqsize);
}

bool rdma_wire_get_accept(const uint8_t *b, size_t len, uint16_t *crqsize)
{
	if (len < OFF_CRQSIZE + 2 || get16(b + OFF_RECFMT))
		return false;
	*crqsize = get16(b + OFF_CRQSIZE);
	return true;
}

void rdma_wire_put_reject(uint8_t *b, enum rdma_rej why)
{
	put16(b + OFF_RECFMT, 0);
	put16(b + OFF_STS, (uint16_t)why);
}

enum rdma_rej rdma_wire_get_reject(const uint8_t *b, size_t len)
{
	if (len < RDMA_REJECT_LEN || get16(b + OFF_RECFMT))
		return RDMA_REJ_NONE;
	return (enum rdma_rej)get16(b + OFF_STS);
}

const char *rdma_rej_str(enum rdma_rej why)
{
	static const char *const text[] = {
		[RDMA_REJ_NONE] = "no reason given",
		[RDMA_REJ_LENGTH] = "invalid length of the private data",
		[RDMA_REJ_RECFMT] = "invalid format of the private data",
		[RDMA_REJ_QID] = "invalid queue ID",
		[RDMA_REJ_HSQSIZE] = "invalid send queue size of the host",
		[RDMA_REJ_HRQSIZE] = "invalid receive queue size of the host",
		[RDMA_REJ_NO_RSC] = "out of resources",
		[RDMA_REJ_IRD] = "invalid inbound read depth",
		[RDMA_REJ_ORD] = "invalid outbound read depth",
		[RDMA_REJ_CNTLID] = "invalid controller ID",
	};

	return (unsigned)why < sizeof(text) / sizeof(text[0]) ? text[why] : "unknown reason";
}

/* ---- SGL ---- */

/* Keyed SGL Data Block descriptor: address, 3 bytes of length, 4 of key, type */
#define KEYED_LEN 8u
#define KEYED_KEY 11u

void rdma_wire_get_keyed(const struct nvme_sgl_desc *sgl, struct rdma_data *d)
{
	const uint8_t *b = (const uint8_t *)sgl;
	uint32_t len = 0, key;

	memcpy(&len, b + KEYED_LEN, 3);
	memcpy(&key, b + KEYED_KEY, sizeof(key));
	d->addr = le64toh(sgl->addr);
	d->len = le32toh(len);
	d->key = le32toh(key);
	d->in_capsule = false;
	d->invalidate = sgl->type == NVME_SGL_KEYED_INV;
}

void rdma_wire_put_keyed(struct nvme_sgl_desc *sgl, uint64_t addr, uint32_t len, uint32_t key)
{
	uint8_t *b = (uint8_t *)sgl;

	len = htole32(len);
	key = htole32(key);
	sgl->addr = htole64(addr);
	memcpy(b + KEYED_LEN, &len, 3);
	memcpy(b + KEYED_KEY, &key, sizeof(key));
	sgl->type = NVME_SGL_KEYED;
}

static uint16_t check_in_capsule(const struct nvme_sgl_desc *sgl, enum nvme_dir dir, uint32_t icd,
				 struct rdma_data *d)
{
	uint64_t off = le64toh(sgl->addr);
	uint32_t len = le32toh(sgl->length);

	if (dir != NVME_DIR_H2C)
		return NVME_STATUS(0, NVME_SC_SGL_INVALID_TYPE) | NVME_DNR;
	if (off > icd)
		return NVME_STATUS(0, NVME_SC_SGL_INVALID_OFFSET) | NVME_DNR;
	if (len > icd - off)
		return NVME_STATUS(0, NVME_SC_SGL_INVALID_DATA) | NVME_DNR;
	*d = (struct rdma_data){.len = len, .in_capsule = true, .addr = off};
	return 0;
}

uint16_t rdma_sgl_check(const struct nvme_sqe *sqe, uint32_t icd, struct rdma_data *d)
{
	enum nvme_dir dir = nvme_sqe_dir(sqe);

	*d = (struct rdma_data){.len = 0};
	/* What the SGL of a command without data describes is of no interest, but a key that is to
	 * be invalidated is all the same. */
	if (dir == NVME_DIR_NONE || dir == NVME_DIR_BIDI) {
		if (sqe->sgl.type == NVME_SGL_KEYED_INV)
			rdma_wire_get_keyed(&sqe->sgl, d);
		d->len = 0;
		return 0;
	}
	/* PRPs have no meaning over a fabric (Base 2.0, 3.3.3.1). */
	if (!(sqe->flags & NVME_PSDT_MASK) || (sqe->flags & NVME_PSDT_MASK) == NVME_PSDT_MASK)
		return NVME_ST_INVALID_FIELD;
	switch (sqe->sgl.type) {
	case NVME_SGL_KEYED:
	case NVME_SGL_KEYED_INV:
		rdma_wire_get_keyed(&sqe->sgl, d);
		return 0;
	case NVME_SGL_DATA_OFFSET:
		return check_in_capsule(&sqe->sgl, dir, icd, d);
	default:
		break;
	}
	return NVME_STATUS(0, NVME_SC_SGL_INVALID_TYPE) | NVME_DNR;
}
