/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket engine that NVMe/TCP's two roles share: bytes to PDUs, and queued runs of bytes to
 * gathered writes. It knows the codec and request data, but nothing of commands.
 *
 * Receiving: PDU data goes from the socket straight into the request's segments; what follows it
 * goes into the loop's scratch in the same call, so that many small PDUs cost one call. A
 * connection keeps no more than a partial header. Work per turn is bounded.
 *
 * Sending: runs (struct tx) are queued and leave together at the end of the turn.
 *
 * The owner frees a tcp_sock only outside of its callbacks (from a hook), after tcp_sock_stop() or
 * without.
 */
#ifndef TRANSPORT_TCP_SOCK_H
#define TRANSPORT_TCP_SOCK_H

#include "transport/loop.h"
#include "transport/request.h"
#include "transport/stats.h"
#include "transport/tcp_pdu.h"

struct tcp_sock;

enum tcp_rx_verdict {
	TCP_RX_GO,
	TCP_RX_BLOCK, /* no resources: present the same PDU again at tcp_sock_resume() */
};

struct tcp_sock_ops {
	/*
	 * A PDU's head is there, good by itself. Its data goes where tcp_rx_into() says, called
	 * from here; without that it is skipped.
	 */
	enum tcp_rx_verdict (*pdu)(struct tcp_sock *s, const struct tcp_pdu *pdu);
	/* True while pdu() may have to block soon: then no further is read than the PDU at hand.
	 * Optional, for those that block. */
	bool (*scarce)(struct tcp_sock *s);
	/* @n bytes of data are in their place, not yet proven by a digest; optional. */
	void (*landed)(struct tcp_sock *s, uint32_t n);
	/* All data of the PDU is in; @good: the digest, if there is one, matches. Also for skipped
	 * data (then always good). */
	void (*data)(struct tcp_sock *s, bool good);
	/* Completes the header of a run that is about to leave (header and trailer); optional. For
	 * runs without TCP_TX_SEALED in their kind. */
	void (*seal)(struct tcp_sock *s, struct tx *tx);
	/* All of the run has been handed to the kernel; it is no longer queued. */
	void (*sent)(struct tcp_sock *s, struct tx *tx);
	/* The socket was read, or output has left: the end of one callback's work. */
	void (*turn)(struct tcp_sock *s);
	/* The peer broke the protocol; @head is the header in error. */
	void (*bad)(struct tcp_sock *s, const struct tcp_err *err, const uint8_t *head, size_t len);
	/* The connection is gone: -errno, or 0 when the peer closed it. */
	void (*lost)(struct tcp_sock *s, int error);
};

#define TCP_TX_SEALED 0x80u /* of tx->kind */

struct tcp_sock {
	const struct tcp_sock_ops *ops;
	struct loop *loop;
	struct loop_fd watch;
	struct loop_hook flush;
	stat_t *rx_bytes, *tx_bytes; /* the owner's counters */
	int fd;
	bool dead;    /* stopped: no more callbacks */
	bool blocked; /* a PDU waits for tcp_sock_resume() */
	bool paused;  /* the owner wants no reading: tcp_sock_pause() */
	bool exact;   /* reading no further than the PDU at hand */
	bool full;    /* the kernel took no more: waiting for it */
	bool bulk;    /* PDUs are big: little read-ahead */

	struct tcp_rules rules;
	struct tcp_wire wire;

	/* receiving: either a header or data is incomplete */
	bool rx_ddgst;
	uint8_t rx_trail_len;	/* digest bytes there are */
	uint16_t hdr_len;	/* header bytes there are */
	uint16_t hdr_need;	/* how many it takes to go on */
	struct request *rx_req; /* where data goes; NULL: nowhere */
	uint32_t rx_start, rx_off, rx_left;
	uint8_t rx_trail[TCP_DIGEST_LEN];
	uint8_t hdr[TCP_HEAD_MAX];
	uint8_t *spill; /* what was read behind a blocked PDU, from that PDU on */
	size_t spill_len;

	/* sending */
	struct tx_list txq;
	size_t tx_pending; /* bytes queued and not taken by the kernel */
};

/* @fd: a non-blocking TCP socket, from now on the engine's. Nothing is watched yet. */
void tcp_sock_init(struct tcp_sock *s, struct loop *loop, int fd, const struct tcp_sock_ops *ops,
		   stat_t *rx_bytes, stat_t *tx_bytes);
/* Starts (or goes on) to read. */
void tcp_sock_start(struct tcp_sock *s);
/* Off its loop, with nothing queued or half received; tcp_sock_attach() goes on elsewhere. */
void tcp_sock_detach(struct tcp_sock *s);
void tcp_sock_attach(struct tcp_sock *s, struct loop *loop);
/* No more callbacks. */
void tcp_sock_stop(struct tcp_sock *s);
/*
 * Closes the socket and forgets what was queued. With @term (a term-req) what has begun to leave is
 * completed and the term-req follows, in the background, as far as the peer takes it.
 */
void tcp_sock_close(struct tcp_sock *s, const uint8_t *term, size_t term_len);

void tcp_sock_pause(struct tcp_sock *s, bool pause);
/* Presents the blocked PDU again, then goes on with what was behind it. Not from a callback. */
void tcp_sock_resume(struct tcp_sock *s);
/* True while what the peer sends is taken. */
static inline bool tcp_sock_reading(const struct tcp_sock *s)
{
	return !s->blocked && !s->paused;
}

/* True when part of a PDU is here and it is up to the peer that the rest comes. */
bool tcp_sock_half(const struct tcp_sock *s);

/* At least so many bytes more it takes to go on with that PDU. */
static inline uint32_t tcp_sock_lacks(const struct tcp_sock *s)
{
	if (s->hdr_len)
		return s->hdr_need > s->hdr_len ? s->hdr_need - s->hdr_len : 1;
	return s->rx_left + (s->rx_ddgst ? TCP_DIGEST_LEN - s->rx_trail_len : 0u);
}

/* From ops->pdu: the data of this PDU belongs at @off of @req. */
void tcp_rx_into(struct tcp_sock *s, struct request *req, uint32_t off);

static inline uint32_t tcp_tx_size(const struct tx *tx)
{
	return tx->hdr_len + tx->len + tx->trail_len;
}

/* The run's header, data range and trailer are set; it leaves at the end of the turn. */
void tcp_tx_queue(struct tcp_sock *s, struct tx *tx);
/* Takes back a run that has not begun to leave: true. */
bool tcp_tx_unqueue(struct tcp_sock *s, struct tx *tx);
/* Bytes of the head of a data PDU with @hlen of header, which only the connection decides. */
unsigned tcp_data_head(const struct tcp_wire *w, unsigned hlen);

/* TCP options that both roles want. */
void tcp_sock_options(int fd);

#endif
