/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The NVMe/TCP PDU codec (NVMe over TCP Transport 1.0, section 3.6): bytes in, a struct or a
 * protocol error out. Pure: no sockets, no allocation, no state but what the caller passes.
 *
 * Whatever a peer can get wrong in a PDU is found here: tcp_pdu_decode() judges a header by itself
 * and the state of the connection, the tcp_check_*() functions judge it against the command that it
 * names, tcp_sgl_check() judges the SGL of a command capsule.
 */
#ifndef TRANSPORT_TCP_PDU_H
#define TRANSPORT_TCP_PDU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/nvme.h"

enum tcp_pdu_type {
	TCP_ICREQ = 0x00,
	TCP_ICRESP = 0x01,
	TCP_H2C_TERM = 0x02,
	TCP_C2H_TERM = 0x03,
	TCP_CAPSULE_CMD = 0x04,
	TCP_CAPSULE_RESP = 0x05,
	TCP_H2C_DATA = 0x06,
	TCP_C2H_DATA = 0x07,
	TCP_R2T = 0x09,
};

/* FLAGS of the common header */
#define TCP_F_HDGST   0x01
#define TCP_F_DDGST   0x02
#define TCP_F_LAST    0x04
#define TCP_F_SUCCESS 0x08

/* Bytes of the common header, and HLEN of each type */
#define TCP_CH_LEN   8u
#define TCP_IC_LEN   128u
#define TCP_TERM_LEN 24u
#define TCP_CMD_LEN  72u
#define TCP_RESP_LEN 24u
#define TCP_DATA_LEN 24u
#define TCP_R2T_LEN  24u

#define TCP_DIGEST_LEN	   4u
#define TCP_TERM_MAX	   152u /* PLEN of a term-req: its header and at most 128 bytes */
#define TCP_HEAD_MAX	   256u /* more than whatever precedes PDU data: PDO is one byte */
#define TCP_PDA_MAX	   31	/* HPDA, CPDA: 0's based dwords */
#define TCP_MIN_H2C_DATA   4096u
#define TCP_ADMIN_ICD	   8192u /* in-capsule data of admin and Fabrics commands */
#define TCP_ICREQ_HDGST	   0x01	 /* DGST of ICReq and ICResp */
#define TCP_ICREQ_DDGST	   0x02
#define TCP_MAX_QUEUE_SIZE 4096u /* so that a slot number and a generation fit 16 bits */

/* Where fields are: what FEI says */
enum tcp_field {
	TCP_OFF_TYPE = 0,
	TCP_OFF_FLAGS = 1,
	TCP_OFF_HLEN = 2,
	TCP_OFF_PDO = 3,
	TCP_OFF_PLEN = 4,
	TCP_OFF_PFV = 8,
	TCP_OFF_PDA = 10,
	TCP_OFF_DGST = 11,
	TCP_OFF_MAXH2CDATA = 12,
	TCP_OFF_CCCID = 8,
	TCP_OFF_TTAG = 10,
	TCP_OFF_DATAO = 12,
	TCP_OFF_DATAL = 16,
	TCP_OFF_RESP_CID = 20,
};

/* Fatal Error Status of the term-reqs */
enum tcp_fes {
	TCP_FES_NONE = 0x00,	 /* ours: nothing is said, the connection just ends */
	TCP_FES_FIELD = 0x01,	 /* Invalid PDU Header Field; FEI: its offset */
	TCP_FES_SEQUENCE = 0x02, /* PDU Sequence Error */
	TCP_FES_HDGST = 0x03,	 /* Header Digest Error; FEI: the digest received */
	TCP_FES_RANGE = 0x04,	 /* Data Transfer Out of Range */
	TCP_FES_LIMIT = 0x05,	 /* C2H: Data Transfer Limit Exceeded; H2C: R2T Limit Exceeded */
	TCP_FES_PARAM = 0x06,	 /* Unsupported Parameter; FEI: its offset */
};

/* A protocol error: what the term-req will say, and a few words for the log. */
struct tcp_err {
	uint16_t fes;
	uint32_t fei;
	const char *what;
};

/* What the receiver holds its peer to. */
struct tcp_rules {
	bool target;  /* we are the controller: H2C PDUs come in */
	bool ic_done; /* ICReq and ICResp are behind us */
	bool hdgst, ddgst;
	uint8_t pda;	   /* the PDU data alignment that we asked for (CPDA or HPDA) */
	uint32_t max_data; /* MAXH2CDATA that we announced (target) */
};

struct tcp_pdu {
	uint8_t type, flags;
	bool ddgst;	   /* a data digest follows the data */
	uint16_t head_len; /* bytes before the data: header, header digest, padding */
	uint32_t data_len;
	const uint8_t *head; /* the header as received; valid as long as the caller's bytes are */
	union {
		struct {
			uint16_t cccid, ttag;
			uint32_t off, len; /* DATAO and DATAL, or R2TO and R2TL */
		};
		struct {
			uint8_t pda;
			bool hdgst, ddgst;
			uint32_t max; /* MAXR2T (0's based) or MAXH2CDATA */
		} ic;
		struct {
			uint16_t fes;
			uint32_t fei;
		} term;
	};
};

/**
 * tcp_pdu_decode() - decode and check the header at @buf, of which @len bytes are there
 *
 * Returns 0 with *pdu set when the whole head (pdu->head_len bytes) was there; or the number of
 * bytes needed from @buf on before there is more to say, which is more than @len; or -EPROTO with
 * *err set.
 */
int tcp_pdu_decode(const struct tcp_rules *r, const uint8_t *buf, size_t len, struct tcp_pdu *pdu,
		   struct tcp_err *err);

/* The submission or completion queue entry of a decoded capsule, at any alignment: copy it. */
static inline const void *tcp_pdu_entry(const struct tcp_pdu *pdu)
{
	return pdu->head + TCP_CH_LEN;
}

/* Puts *err together and returns -EPROTO. */
int tcp_error(struct tcp_err *err, enum tcp_fes fes, uint32_t fei, const char *what);

/* What data PDUs are expected for a command. */
struct tcp_xfer {
	uint16_t cccid;
	uint32_t next, end; /* next data byte, and where the data (or what the R2T asked) ends */
};

/* All return 0, or -EPROTO with *err. @x is NULL when the tag in the PDU names nothing. */
int tcp_check_h2c_data(const struct tcp_pdu *pdu, const struct tcp_xfer *x, struct tcp_err *err);
int tcp_check_c2h_data(const struct tcp_pdu *pdu, const struct tcp_xfer *x, struct tcp_err *err);
/* @busy: an R2T for that command is not served yet, and we offered MAXR2T of one. */
int tcp_check_r2t(const struct tcp_pdu *pdu, const struct tcp_xfer *x, bool busy,
		  struct tcp_err *err);

/**
 * tcp_sgl_check() - the data that a command capsule describes
 * @icd_len:  bytes of in-capsule data that came
 * @data_len: set to the bytes that the command moves
 *
 * Returns 0 or the status that the command gets.
 */
uint16_t tcp_sgl_check(const struct nvme_sqe *sqe, uint32_t icd_len, uint32_t *data_len);

/* How PDUs are written to the peer. */
struct tcp_wire {
	bool hdgst, ddgst;
	uint8_t pda; /* the peer's CPDA or HPDA */
};

/*
 * All of these write a head at @b, with header digest and padding as the wire wants them, and
 * return its length. The sizes: TCP_IC_LEN; 144 for a command; 128 for data; 28 for the others.
 */
unsigned tcp_put_ic(uint8_t *b, enum tcp_pdu_type type, uint8_t pda, bool hdgst, bool ddgst,
		    uint32_t max);
unsigned tcp_put_cmd(uint8_t *b, const struct tcp_wire *w, const struct nvme_sqe *sqe,
		     uint32_t data_len);
unsigned tcp_put_resp(uint8_t *b, const struct tcp_wire *w, const struct nvme_cqe *cqe);
unsigned tcp_put_data(uint8_t *b, const struct tcp_wire *w, enum tcp_pdu_type type, uint8_t flags,
		      uint16_t cccid, uint16_t ttag, uint32_t off, uint32_t len);
unsigned tcp_put_r2t(uint8_t *b, const struct tcp_wire *w, uint16_t cccid, uint16_t ttag,
		     uint32_t off, uint32_t len);
/* A whole term-req (TCP_TERM_MAX bytes) with @bad_len bytes of the header in error, cut to what
 * fits. */
unsigned tcp_put_term(uint8_t *b, enum tcp_pdu_type type, const struct tcp_err *err,
		      const uint8_t *bad, size_t bad_len);

/* "PDU Sequence Error"...; @type is that of the term-req, which FES 5 depends on. */
const char *tcp_fes_name(enum tcp_pdu_type type, uint16_t fes);

#endif
