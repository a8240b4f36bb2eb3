/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/TCP as initiator, inside: what connecting (tcp_ini_connect.c) and carrying commands
 * (tcp_initiator.c) share.
 */
#ifndef TRANSPORT_TCP_INITIATOR_H
#define TRANSPORT_TCP_INITIATOR_H

#include "transport/initiator.h"
#include "transport/tcp_sock.h"

enum tcp_ini_phase {
	INI_DIALING,   /* TCP handshake */
	INI_ICREQ,     /* ICReq on its way, ICResp awaited */
	INI_CONNECT,   /* the Fabrics Connect is out */
	INI_CONNECTED, /* the hook will tell */
	INI_LIVE,
	INI_DEAD, /* the hook will close and tell, if it has not */
};

/* tx->kind */
enum tcp_ini_tx { INI_TX_ICREQ, INI_TX_CONNECT, INI_TX_CMD, INI_TX_DATA };

/* A CID is a slot number with a generation above it, so that a late or repeated answer to an
 * earlier command does not pass for one to the present. */
#define INI_SLOT_BITS 12
#define INI_SLOT_MASK ((1u << INI_SLOT_BITS) - 1)

struct ini_slot {
	struct request *req; /* NULL: free */
	uint16_t cid;	     /* of the present or last command */
	uint16_t next;	     /* in the list of free slots */
	uint16_t ttag;	     /* of the R2T being served */
};

struct tcp_ini {
	struct ini_qpair qp;
	struct tcp_sock s;
	enum tcp_ini_phase phase;
	bool has_sock; /* s is in use; before that the socket is dial's */
	bool told;     /* connected() with an error, or lost(), has been called */
	struct loop_hook event;

	struct ini_slot *slots; /* sq_size of them */
	uint16_t free;
	struct request *rx; /* whose data is being received */
	bool rx_last;	    /* ...in a PDU whose SUCCESS flag stands for the response */
	uint32_t icd_max;   /* bytes of in-capsule data */
	uint32_t max_h2c;   /* the controller's MAXH2CDATA */

	/* connecting */
	struct ini_params params;
	struct loop_fd dial;
	struct loop_timer timer;
	struct request *connect; /* carries the Connect; not of a pool, which may be empty */
	struct tx icreq;
	struct nvme_cqe connect_cqe;

	int error;    /* -errno of the end */
	bool refused; /* it was the Connect's status, in connect_cqe */
	uint16_t term_len;
	uint8_t term[TCP_TERM_MAX];
	char reason[128];
};

/* Ends it: nothing more is sent or received, and the hook tells. */
__attribute__((format(printf, 3, 4))) void tcp_ini_fail(struct tcp_ini *t, int error,
							const char *fmt, ...);
/* The controller broke the protocol in the PDU given. */
void tcp_ini_violation(struct tcp_ini *t, const struct tcp_pdu *pdu, const struct tcp_err *err);

extern const struct tcp_sock_ops tcp_ini_sock_ops;

/* ---- connecting ---- */
/* 0, or -errno when there is nothing to wait for. */
int tcp_ini_dial(struct tcp_ini *t);
void tcp_ini_icresp(struct tcp_ini *t, const struct tcp_pdu *pdu);
void tcp_ini_connect_resp(struct tcp_ini *t, const struct tcp_pdu *pdu);
/* Lets go of what only connecting needs. */
void tcp_ini_connect_fini(struct tcp_ini *t);

#endif
