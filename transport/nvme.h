/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the wire structures of libnvme's <nvme/types.h> lack: the submission and completion queue
 * entries, SGL descriptors, and the Fabrics command forms. All fields are little endian on the
 * wire; read and write them with le16toh() and friends.
 *
 * NVMe Base 2.0: 3.3.3.1 (SQE), 3.3.3.2 (CQE), 4.1.2 (SGL), chapter 6 (Fabrics commands).
 */
#ifndef TRANSPORT_NVME_H
#define TRANSPORT_NVME_H

#include <assert.h>
#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <nvme/types.h>

struct nvme_sgl_desc {
	uint64_t addr;
	uint32_t length;
	uint8_t rsvd[3];
	uint8_t type; /* NVME_SGL_* */
};
static_assert(sizeof(struct nvme_sgl_desc) == 16);

/* SGL descriptor type (bits 7:4) and subtype (bits 3:0), Base 2.0 figures 115 and 116 */
#define NVME_SGL_DATA_OFFSET 0x01 /* Data Block, offset: in-capsule data */
#define NVME_SGL_TRANSPORT   0x5a /* Transport Data Block, transport specific */
#define NVME_SGL_KEYED	     0x40 /* Keyed Data Block, address (RDMA) */
#define NVME_SGL_KEYED_INV   0x4f /* the same, with remote invalidate */

#define NVME_PSDT_MASK 0xc0 /* of flags: PRP or SGL for data transfer */
#define NVME_PSDT_SGL  0x40
#define NVME_FUSE_MASK 0x03

struct nvme_sqe {
	uint8_t opcode;
	uint8_t flags;
	uint16_t cid;
	uint32_t nsid; /* for Fabrics commands: fctype is the lowest byte on the wire */
	uint32_t cdw2;
	uint32_t cdw3;
	uint64_t mptr;
	struct nvme_sgl_desc sgl;
	uint32_t cdw10;
	uint32_t cdw11;
	uint32_t cdw12;
	uint32_t cdw13;
	uint32_t cdw14;
	uint32_t cdw15;
};
static_assert(sizeof(struct nvme_sqe) == 64);

struct nvme_cqe {
	union {
		uint32_t result;
		uint64_t result64;
	};
	uint16_t sqhd;
	uint16_t sqid;
	uint16_t cid;
	uint16_t status; /* wire form: bit 0 is the phase tag (0 on fabrics), the status above it */
};
static_assert(sizeof(struct nvme_cqe) == 16);

/*
 * A status in this code base is 15 bits as libnvme has it: SC in bits 7:0, SCT in 10:8, CRD in
 * 12:11, More 13, DNR 14. nvme_sct_sc() is that without CRD, More and DNR.
 */
static inline uint16_t nvme_cqe_status(const struct nvme_cqe *cqe)
{
	return le16toh(cqe->status) >> 1;
}

static inline void nvme_cqe_set_status(struct nvme_cqe *cqe, uint16_t status)
{
	cqe->status = htole16((uint16_t)(status << 1));
}

static inline uint16_t nvme_sct_sc(uint16_t status)
{
	return status & 0x7ff;
}

#define NVME_STATUS(sct, sc) ((uint16_t)(((sct) << 8) | (sc)))
#define NVME_DNR	     0x4000u
#define NVME_CRD(i)	     ((i) << 11) /* Command Retry Delay: wait for CRDTi */
/* Full statuses that the code names often */
#define NVME_ST_INVALID_OPCODE	 (NVME_STATUS(0, NVME_SC_INVALID_OPCODE) | NVME_DNR)
#define NVME_ST_INVALID_FIELD	 (NVME_STATUS(0, NVME_SC_INVALID_FIELD) | NVME_DNR)
#define NVME_ST_INVALID_NS	 (NVME_STATUS(0, NVME_SC_INVALID_NS) | NVME_DNR)
#define NVME_ST_ANA_INACCESSIBLE NVME_STATUS(3, NVME_SC_ANA_INACCESSIBLE)
#define NVME_ST_HOST_PATH	 NVME_STATUS(3, NVME_SC_HOST_PATH_ERROR)

#define NVME_OPC_FABRICS 0x7f

/* Direction of data by opcode, bits 1:0 (Base 2.0 figure 138); of Fabrics commands by fctype. */
enum nvme_dir { NVME_DIR_NONE = 0, NVME_DIR_H2C = 1, NVME_DIR_C2H = 2, NVME_DIR_BIDI = 3 };

static inline enum nvme_dir nvme_sqe_dir(const struct nvme_sqe *sqe)
{
	uint8_t code = sqe->opcode == NVME_OPC_FABRICS ? le32toh(sqe->nsid) & 0xff : sqe->opcode;

	return (enum nvme_dir)(code & 3);
}

static inline uint8_t nvme_sqe_fctype(const struct nvme_sqe *sqe)
{
	return le32toh(sqe->nsid) & 0xff;
}

/* Starting LBA of the commands that have one */
static inline uint64_t nvme_sqe_slba(const struct nvme_sqe *sqe)
{
	return (uint64_t)le32toh(sqe->cdw11) << 32 | le32toh(sqe->cdw10);
}

/* Fabrics command words within nvme_sqe (Base 2.0, 6.3 and 6.5, 6.6) */
/* Connect: cdw10 = QID << 16 | RECFMT, cdw11 = CATTR << 16 | SQSIZE (0's based), cdw12 = KATO ms */
#define NVMF_CATTR_DISABLE_SQFLOW 0x04
#define NVMF_CNTLID_DYNAMIC	  0xffff
#define NVMF_CONNECT_DATA_SIZE	  1024

struct nvmf_connect_payload {
	uint8_t hostid[16];
	uint16_t cntlid;
	uint8_t rsvd18[238];
	char subnqn[256];
	char hostnqn[256];
	uint8_t rsvd768[256];
};
static_assert(sizeof(struct nvmf_connect_payload) == NVMF_CONNECT_DATA_SIZE);

/* Property Get/Set: cdw10 low byte = ATTRIB (bits 2:0 size, 1 = 8 bytes), cdw11 = OFST, cdw12-13 =
 * value */
#define NVMF_PROP_CAP  0x00
#define NVMF_PROP_VS   0x08
#define NVMF_PROP_CC   0x14
#define NVMF_PROP_CSTS 0x1c
#define NVMF_PROP_NSSR 0x20

#define NVME_CSTS_READY (1u << 0)
#define NVME_CSTS_FATAL (1u << 1)

/* Asynchronous Event Configuration and OAES bits (Base 2.0 figures 275 and 302) */
#define NVME_AEN_NS_ATTR     (1u << 8)
#define NVME_AEN_ANA_CHANGE  (1u << 11)
#define NVME_AEN_DISC_CHANGE (1u << 31)
/* What is younger than libnvme's structures: Cross-Controller Reset (Base 2.3, 5.4.3): CDW10 has
 * ICID in bits 15:0 and CIU in 23:16, CDW12 and 13 have CIRN. */
#define NVME_ADMIN_CROSS_CONTROLLER_RESET 0x38
#define NVME_CCR_DONE			  1u /* of the result: Immediate Reset Successful */
/* Offsets in Identify Controller */
#define NVME_ID_CTRL_CIU  135  /* Controller Instance Uniquifier, 1 byte */
#define NVME_ID_CTRL_CIRN 136  /* Controller Instance Random Number, 8 bytes */
#define NVME_ID_CTRL_CQT  386  /* Command Quiesce Time, 2 bytes, milliseconds */
#define NVME_ID_CTRL_CCRL 1807 /* Cross-Controller Reset Limit, 1 byte; 0: not supported */

#define NVMF_DISCOVERY_NQN "nqn.2014-08.org.nvmexpress.discovery"
#define NVMF_NQN_MAX	   223 /* bytes, without the terminating zero (Base 2.0, 4.5) */

#endif
