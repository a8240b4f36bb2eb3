/* SPDX-License-Identifier: Apache-2.0 */
/* The NVMe/TCP PDU codec. See tcp_pdu.h. */
#include "transport/tcp_pdu.h"

#include <errno.h>
#include <string.h>

#include <isa-l/crc.h>

struct common_header {
	uint8_t type, flags, hlen, pdo;
	uint32_t plen;
};
static_assert(sizeof(struct common_header) == TCP_CH_LEN);

struct pdu_kind {
	uint8_t hlen;
	bool to_target; /* host to controller */
	bool carries_data;
	bool digests; /* header digest applies */
};

static const struct pdu_kind kinds[] = {
	[TCP_ICREQ] = {TCP_IC_LEN, true, false, false},
	[TCP_ICRESP] = {TCP_IC_LEN, false, false, false},
	[TCP_H2C_TERM] = {TCP_TERM_LEN, true, true, false},
	[TCP_C2H_TERM] = {TCP_TERM_LEN, false, true, false},
	[TCP_CAPSULE_CMD] = {TCP_CMD_LEN, true, true, true},
	[TCP_CAPSULE_RESP] = {TCP_RESP_LEN, false, false, true},
	[TCP_H2C_DATA] = {TCP_DATA_LEN, true, true, true},
	[TCP_C2H_DATA] = {TCP_DATA_LEN, false, true, true},
	[TCP_R2T] = {TCP_R2T_LEN, false, false, true},
};

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static void put16(uint8_t *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof(v));
}

static void put32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static uint32_t digest(const uint8_t *p, size_t len)
{
	return ~crc32_iscsi((unsigned char *)p, (int)len, ~0u);
}

static unsigned align_of(uint8_t pda)
{
	return (pda + 1u) * 4;
}

int tcp_error(struct tcp_err *err, enum tcp_fes fes, uint32_t fei, const char *what)
{
	*err = (struct tcp_err){.fes = (uint16_t)fes, .fei = fei, .what = what};
	return -EPROTO;
}

/* ---- decoding ---- */

static bool is_ic(uint8_t type)
{
	return type == TCP_ICREQ || type == TCP_ICRESP;
}

static bool is_term(uint8_t type)
{
	return type == TCP_H2C_TERM || type == TCP_C2H_TERM;
}

static int check_type(const struct tcp_rules *r, uint8_t type, struct tcp_err *err)
{
	if (type >= sizeof(kinds) / sizeof(kinds[0]) || !kinds[type].hlen)
		return tcp_error(err, TCP_FES_FIELD, TCP_OFF_TYPE, "unknown PDU type");
	if (kinds[type].to_target != r->target)
		return tcp_error(err, TCP_FES_FIELD, TCP_OFF_TYPE, "PDU type of our own direction");
	if (is_term(type))
		return 0;
	if (is_ic(type) && r->ic_done)
		return tcp_error(err, TCP_FES_SEQUENCE, 0, "connection initialized twice");
	if (!is_ic(type) && !r->ic_done)
		return tcp_error(err, TCP_FES_SEQUENCE, 0,
				 "PDU before the connection is initialized");
	return 0;
}

/*
 * Term-reqs have neither digests nor a data offset: data follows the header (3.6.2.4). One that is
 * wrong itself ends the connection without a word (NVMe over Fabrics 1.1, 7.4.7).
 */
static int term_layout(const struct common_header *h, struct tcp_pdu *pdu, struct tcp_err *err)
{
	uint32_t plen = le32toh(h->plen);

	if (h->hlen != TCP_TERM_LEN)
		return tcp_error(err, TCP_FES_NONE, TCP_OFF_HLEN, "header length of a term-req");
	if (plen < TCP_TERM_LEN || plen > TCP_TERM_MAX)
		return tcp_error(err, TCP_FES_NONE, TCP_OFF_PLEN, "length of a term-req");
	pdu->head_len = TCP_TERM_LEN;
	pdu->data_len = plen - TCP_TERM_LEN;
	return 0;
}

/*
 * Where the data is and how long, from a common header with a good type. Of several fields in error
 * the first is told (NVMe over Fabrics 1.1, 7.4.7), so they are judged in their order.
 */
static int layout(const struct tcp_rules *r, const struct common_header *h, struct tcp_pdu *pdu,
		  struct tcp_err *err)
{
	const struct pdu_kind *k = &kinds[h->type];
	bool hdgst = r->hdgst && k->digests;
	uint32_t plen = le32toh(h->plen);
	unsigned head = k->hlen + (hdgst ? TCP_DIGEST_LEN : 0);
	unsigned trail = r->ddgst ? TCP_DIGEST_LEN : 0;
	bool data = k->carries_data && (h->type != TCP_CAPSULE_CMD || plen > head);

	if (is_term(h->type))
		return term_layout(h, pdu, err);
	if (k->digests && !!(h->flags & TCP_F_HDGST) != hdgst)
		return tcp_error(err, TCP_FES_FIELD, TCP_OFF_FLAGS, "header digest flag");
	if (data && !!(h->flags & TCP_F_DDGST) != r->ddgst)
		return tcp_error(err, TCP_FES_FIELD, TCP_OFF_FLAGS, "data digest flag");
	if (h->hlen != k->hlen)
		return tcp_error(err, TCP_FES_FIELD, TCP_OFF_HLEN, "header length");
	if (data && (h->pdo < head || h->pdo % align_of(r->pda)))
		return tcp_error(err, TCP_FES_FIELD, TCP_OFF_PDO, "data offset");
	if (data ? plen <= h->pdo + trail : plen != head)
		return tcp_error(err, TCP_FES_FIELD, TCP_OFF_PLEN, "PDU length");
	pdu->head_len = (uint16_t)head;
	if (!data)
		return 0;
	pdu->head_len = h->pdo;
	pdu->data_len = plen - h->pdo - trail;
	pdu->ddgst = r->ddgst;
	return 0;
}

static int decode_ic(const struct tcp_rules *r, const uint8_t *b, struct tcp_pdu *pdu,
		     struct tcp_err *err)
{
	if (get16(b + TCP_OFF_PFV))
		return tcp_error(err, TCP_FES_PARAM, TCP_OFF_PFV, "PDU format version");
	pdu->ic.pda = b[TCP_OFF_PDA];
	if (pdu->ic.pda > TCP_PDA_MAX)
		return tcp_error(err, TCP_FES_FIELD, TCP_OFF_PDA, "PDU data alignment");
	pdu->ic.hdgst = b[TCP_OFF_DGST] & TCP_ICREQ_HDGST;
	pdu->ic.ddgst = b[TCP_OFF_DGST] & TCP_ICREQ_DDGST;
	pdu->ic.max = get32(b + TCP_OFF_MAXH2CDATA);
	if (!r->target && (pdu->ic.max < TCP_MIN_H2C_DATA || pdu->ic.max % 4))
		return tcp_error(err, TCP_FES_FIELD, TCP_OFF_MAXH2CDATA, "MAXH2CDATA");
	return 0;
}

static int decode_transfer(const struct tcp_rules *r, const uint8_t *b, struct tcp_pdu *pdu,
			   struct tcp_err *err)
{
	pdu->cccid = get16(b + TCP_OFF_CCCID);
	pdu->ttag = get16(b + TCP_OFF_TTAG);
	pdu->off = get32(b + TCP_OFF_DATAO);
	pdu->len = get32(b + TCP_OFF_DATAL);
	if (pdu->type == TCP_R2T)
		return 0;
	if (pdu->len != pdu->data_len)
		return tcp_error(err, TCP_FES_FIELD, TCP_OFF_PLEN, "PDU length against DATAL");
	if (pdu->type == TCP_H2C_DATA && pdu->len > r->max_data)
		return tcp_error(err, TCP_FES_LIMIT, 0, "more data than MAXH2CDATA");
	if (pdu->type == TCP_C2H_DATA &&
	    (pdu->flags & (TCP_F_SUCCESS | TCP_F_LAST)) == TCP_F_SUCCESS)
		return tcp_error(err, TCP_FES_FIELD, TCP_OFF_FLAGS, "SUCCESS without LAST_PDU");
	return 0;
}

static int check_hdgst(const struct tcp_pdu *pdu, struct tcp_err *err)
{
	uint8_t hlen = pdu->head[TCP_OFF_HLEN];
	uint32_t got = get32(pdu->head + hlen);

	if (got != digest(pdu->head, hlen))
		return tcp_error(err, TCP_FES_HDGST, got, "header digest");
	return 0;
}

int tcp_pdu_decode(const struct tcp_rules *r, const uint8_t *buf, size_t len, struct tcp_pdu *pdu,
		   struct tcp_err *err)
{
	struct common_header h;
	int e;

	if (len < TCP_CH_LEN)
		return TCP_CH_LEN;
	memcpy(&h, buf, sizeof(h));
	pdu->type = h.type;
	pdu->flags = h.flags;
	pdu->ddgst = false;
	pdu->data_len = 0;
	pdu->head = buf;
	e = check_type(r, h.type, err);
	if (!e)
		e = layout(r, &h, pdu, err);
	if (e)
		return e;
	if (len < pdu->head_len)
		return pdu->head_len;
	if (r->hdgst && kinds[h.type].digests) {
		e = check_hdgst(pdu, err);
		if (e)
			return e;
	}
	switch (h.type) {
	case TCP_ICREQ:
	case TCP_ICRESP:
		return decode_ic(r, buf, pdu, err);
	case TCP_H2C_DATA:
	case TCP_C2H_DATA:
	case TCP_R2T:
		return decode_transfer(r, buf, pdu, err);
	case TCP_H2C_TERM:
	case TCP_C2H_TERM:
		pdu->term.fes = get16(buf + 8);
		pdu->term.fei = get32(buf + 10);
		return 0;
	default:
		return 0;
	}
}

/* ---- against the command ---- */

static int check_range(const struct tcp_pdu *pdu, const struct tcp_xfer *x, struct tcp_err *err)
{
	if (pdu->off > x->end || pdu->len > x->end - pdu->off)
		return tcp_error(err, TCP_FES_RANGE, 0, "data past the end");
	if (pdu->off != x->next)
		return tcp_error(err, TCP_FES_SEQUENCE, 0, "data out of order");
	return 0;
}

int tcp_check_h2c_data(const struct tcp_pdu *pdu, const struct tcp_xfer *x, struct tcp_err *err)
{
	int e;

	if (!x)
		return tcp_error(err, TCP_FES_FIELD, TCP_OFF_TTAG, "transfer tag names no R2T");
	if (pdu->cccid != x->cccid)
		return tcp_error(err, TCP_FES_FIELD, TCP_OFF_CCCID, "CID is not the tag's");
	e = check_range(pdu, x, err);
	if (e)
		return e;
	if (!!(pdu->flags & TCP_F_LAST) != (pdu->len == x->end - x->next))
		return tcp_error(err, TCP_FES_SEQUENCE, 0, "LAST_PDU flag");
	return 0;
}

int tcp_check_c2h_data(const struct tcp_pdu *pdu, const struct tcp_xfer *x, struct tcp_err *err)
{
	int e;

	if (!x)
		return tcp_error(err, TCP_FES_FIELD, TCP_OFF_CCCID,
				 "data for a CID without a read");
	e = check_range(pdu, x, err);
	if (e)
		return e;
	if (pdu->flags & TCP_F_SUCCESS && pdu->len != x->end - x->next)
		return tcp_error(err, TCP_FES_FIELD, TCP_OFF_FLAGS, "SUCCESS before the last data");
	return 0;
}

int tcp_check_r2t(const struct tcp_pdu *pdu, const struct tcp_xfer *x, bool busy,
		  struct tcp_err *err)
{
	if (!x)
		return tcp_error(err, TCP_FES_FIELD, TCP_OFF_CCCID,
				 "R2T for a CID without a write");
	if (busy)
		return tcp_error(err, TCP_FES_LIMIT, 0, "R2T while another is served");
	if (!pdu->len)
		return tcp_error(err, TCP_FES_RANGE, 0, "R2T for nothing");
	return check_range(pdu, x, err);
}

uint16_t tcp_sgl_check(const struct nvme_sqe *sqe, uint32_t icd_len, uint32_t *data_len)
{
	enum nvme_dir dir = nvme_sqe_dir(sqe);
	uint32_t len = le32toh(sqe->sgl.length);

	*data_len = 0;
	if (dir != NVME_DIR_H2C && icd_len)
		return NVME_ST_INVALID_FIELD;
	/* What the SGL of a command without data says is of no interest. */
	if (dir == NVME_DIR_NONE || dir == NVME_DIR_BIDI || (!len && !icd_len))
		return 0;
	if (!(sqe->flags & NVME_PSDT_MASK) || (sqe->flags & NVME_PSDT_MASK) == NVME_PSDT_MASK)
		return NVME_ST_INVALID_FIELD;
	switch (sqe->sgl.type) {
	case NVME_SGL_DATA_OFFSET:
		if (dir != NVME_DIR_H2C)
			return NVME_STATUS(0, NVME_SC_SGL_INVALID_TYPE) | NVME_DNR;
		/* ICDOFF is 0: the data starts where the capsule's data starts. */
		if (sqe->sgl.addr)
			return NVME_STATUS(0, NVME_SC_SGL_INVALID_OFFSET) | NVME_DNR;
		if (len != icd_len)
			return NVME_STATUS(0, NVME_SC_SGL_INVALID_DATA) | NVME_DNR;
		break;
	case NVME_SGL_TRANSPORT:
		if (icd_len)
			return NVME_STATUS(0, NVME_SC_SGL_INVALID_TYPE) | NVME_DNR;
		break;
	default:
		return NVME_STATUS(0, NVME_SC_SGL_INVALID_TYPE) | NVME_DNR;
	}
	*data_len = len;
	return 0;
}

/* ---- encoding ---- */

/* Completes a head whose header is written: common header, digest, padding. */
static unsigned finish(uint8_t *b, const struct tcp_wire *w, enum tcp_pdu_type type, uint8_t flags,
		       uint32_t data_len)
{
	unsigned hlen = kinds[type].hlen;
	unsigned head = hlen + (w->hdgst ? TCP_DIGEST_LEN : 0);
	unsigned pdo = 0;
	uint32_t plen = head;

	if (data_len) {
		unsigned align = align_of(w->pda);

		pdo = (head + align - 1) / align * align;
		plen = pdo + data_len + (w->ddgst ? TCP_DIGEST_LEN : 0);
		memset(b + head, 0, pdo - head);
	}
	b[TCP_OFF_TYPE] = (uint8_t)type;
	b[TCP_OFF_FLAGS] =
		flags | (w->hdgst ? TCP_F_HDGST : 0) | (w->ddgst && data_len ? TCP_F_DDGST : 0);
	b[TCP_OFF_HLEN] = (uint8_t)hlen;
	b[TCP_OFF_PDO] = (uint8_t)pdo;
	put32(b + TCP_OFF_PLEN, plen);
	if (w->hdgst)
		put32(b + hlen, digest(b, hlen));
	return data_len ? pdo : head;
}

unsigned tcp_put_ic(uint8_t *b, enum tcp_pdu_type type, uint8_t pda, bool hdgst, bool ddgst,
		    uint32_t max)
{
	static const struct tcp_wire plain;

	memset(b, 0, TCP_IC_LEN);
	b[TCP_OFF_PDA] = pda;
	b[TCP_OFF_DGST] = (hdgst ? TCP_ICREQ_HDGST : 0) | (ddgst ? TCP_ICREQ_DDGST : 0);
	put32(b + TCP_OFF_MAXH2CDATA, max);
	return finish(b, &plain, type, 0, 0);
}

unsigned tcp_put_cmd(uint8_t *b, const struct tcp_wire *w, const struct nvme_sqe *sqe,
		     uint32_t data_len)
{
	memcpy(b + TCP_CH_LEN, sqe, sizeof(*sqe));
	return finish(b, w, TCP_CAPSULE_CMD, 0, data_len);
}

unsigned tcp_put_resp(uint8_t *b, const struct tcp_wire *w, const struct nvme_cqe *cqe)
{
	memcpy(b + TCP_CH_LEN, cqe, sizeof(*cqe));
	return finish(b, w, TCP_CAPSULE_RESP, 0, 0);
}

static void put_transfer(uint8_t *b, uint16_t cccid, uint16_t ttag, uint32_t off, uint32_t len)
{
	put16(b + TCP_OFF_CCCID, cccid);
	put16(b + TCP_OFF_TTAG, ttag);
	put32(b + TCP_OFF_DATAO, off);
	put32(b + TCP_OFF_DATAL, len);
	put32(b + TCP_OFF_DATAL + 4, 0);
}

unsigned tcp_put_data(uint8_t *b, const struct tcp_wire *w, enum tcp_pdu_type type, uint8_t flags,
		      uint16_t cccid, uint16_t ttag, uint32_t off, uint32_t len)
{
	put_transfer(b, cccid, ttag, off, len);
	return finish(b, w, type, flags, len);
}

unsigned tcp_put_r2t(uint8_t *b, const struct tcp_wire *w, uint16_t cccid, uint16_t ttag,
		     uint32_t off, uint32_t len)
{
	put_transfer(b, cccid, ttag, off, len);
	return finish(b, w, TCP_R2T, 0, 0);
}

unsigned tcp_put_term(uint8_t *b, enum tcp_pdu_type type, const struct tcp_err *err,
		      const uint8_t *bad, size_t bad_len)
{
	size_t n = bad_len < TCP_TERM_MAX - TCP_TERM_LEN ? bad_len : TCP_TERM_MAX - TCP_TERM_LEN;

	memset(b, 0, TCP_TERM_LEN);
	b[TCP_OFF_TYPE] = (uint8_t)type;
	b[TCP_OFF_HLEN] = TCP_TERM_LEN;
	put32(b + TCP_OFF_PLEN, (uint32_t)(TCP_TERM_LEN + n));
	put16(b + 8, err->fes);
	put32(b + 10, err->fei);
	memcpy(b + TCP_TERM_LEN, bad, n);
	return (unsigned)(TCP_TERM_LEN + n);
}

const char *tcp_fes_name(enum tcp_pdu_type type, uint16_t fes)
{
	switch (fes) {
	case TCP_FES_NONE:
		return "ended without a term-req";
	case TCP_FES_FIELD:
		return "Invalid PDU Header Field";
	case TCP_FES_SEQUENCE:
		return "PDU Sequence Error";
	case TCP_FES_HDGST:
		return "Header Digest Error";
	case TCP_FES_RANGE:
		return "Data Transfer Out of Range";
	case TCP_FES_LIMIT:
		return type == TCP_H2C_TERM ? "R2T Limit Exceeded" : "Data Transfer Limit Exceeded";
	case TCP_FES_PARAM:
		return "Unsupported Parameter";
	default:
		return "unknown error";
	}
}
