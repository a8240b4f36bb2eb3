/* SPDX-License-Identifier: Apache-2.0 */
/* The socket engine of NVMe/TCP. See tcp_sock.h. */
#include "transport/tcp_sock.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/tcp_linger.h"

/* Per turn and socket, so that one busy peer does not starve the others */
#define RX_TURN_CALLS 4
#define RX_TURN_BYTES (512u * 1024)
#define TX_TURN_CALLS 4

/* Read-ahead behind the data at hand. It costs a copy of what it brings, so it is small when PDUs
 * are big. */
#define RX_AHEAD      (64u * 1024)
#define RX_AHEAD_BULK (4u * 1024)
#define RX_BULK	      (16u * 1024)

#define TX_IOVS	     128
#define TX_COPY_MAX  1024u /* shorter data is copied: cheaper than an iovec of its own */
#define TX_STAGE_MAX (64u * 1024)
/* A term-req does not wait for more unsent output than this. */
#define LAST_WORDS_MAX (64u * 1024)

/* All spilled bytes of the process. Near the limit sockets read exactly, which needs no spill. */
#define SPILL_LIMIT (16u * 1024 * 1024)
static atomic_size_t spilled;

static_assert(RX_AHEAD + TCP_HEAD_MAX <= LOOP_SCRATCH_SIZE);
static_assert(TX_STAGE_MAX <= LOOP_SCRATCH_SIZE);

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void watch(struct tcp_sock *s)
{
	unsigned want = 0;

	if (!s->dead) {
		if (tcp_sock_reading(s))
			want |= LOOP_READ;
		if (s->full)
			want |= LOOP_WRITE;
	}
	if (want != s->watch.want)
		loop_fd_want(&s->watch, want);
}

/* ---- receiving ---- */

void tcp_rx_into(struct tcp_sock *s, struct request *req, uint32_t off)
{
	s->rx_req = req;
	s->rx_start = s->rx_off = off;
}

static void data_end(struct tcp_sock *s)
{
	bool good = true;

	if (s->rx_ddgst && s->rx_req) {
		uint32_t got;

		memcpy(&got, s->rx_trail, sizeof(got));
		good = le32toh(got) ==
		       request_crc32c(s->rx_req, s->rx_start, s->rx_off - s->rx_start);
	}
	s->rx_trail_len = 0;
	s->rx_ddgst = false;
	s->ops->data(s, good);
}

static void data_landed(struct tcp_sock *s, uint32_t n)
{
	s->rx_off += n;
	s->rx_left -= n;
	if (s->rx_req && s->ops->landed)
		s->ops->landed(s, n);
	if (!s->rx_left && !s->rx_ddgst)
		data_end(s);
}

/* Takes data and digest from the @n bytes at @p; returns how many it took. */
static size_t take_data(struct tcp_sock *s, const uint8_t *p, size_t n)
{
	size_t took = 0;

	if (s->rx_left) {
		took = min_size(n, s->rx_left);
		if (s->rx_req)
			request_copy_in(s->rx_req, s->rx_off, p, (uint32_t)took);
		data_landed(s, (uint32_t)took);
	}
	if (!s->dead && !s->rx_left && s->rx_ddgst && took < n) {
		size_t t = min_size(n - took, TCP_DIGEST_LEN - s->rx_trail_len);

		memcpy(s->rx_trail + s->rx_trail_len, p + took, t);
		s->rx_trail_len += (uint8_t)t;
		took += t;
		if (s->rx_trail_len == TCP_DIGEST_LEN)
			data_end(s);
	}
	return took;
}

/* Keeps what cannot be used yet: 0, or -ENOMEM. */
static int keep(struct tcp_sock *s, const uint8_t *p, size_t n)
{
	if (n <= sizeof(s->hdr)) {
		memmove(s->hdr, p, n);
		s->hdr_len = (uint16_t)n;
		return 0;
	}
	s->spill = malloc(n);
	if (!s->spill)
		return -ENOMEM;
	memcpy(s->spill, p, n);
	s->spill_len = n;
	atomic_fetch_add_explicit(&spilled, n, memory_order_relaxed);
	return 0;
}

static void spill_free(uint8_t *spill, size_t n)
{
	if (!spill)
		return;
	free(spill);
	atomic_fetch_sub_explicit(&spilled, n, memory_order_relaxed);
}

static void begin_data(struct tcp_sock *s, const struct tcp_pdu *pdu)
{
	s->rx_left = pdu->data_len;
	s->rx_ddgst = pdu->ddgst;
	s->bulk = pdu->data_len >= RX_BULK;
}

/* The header in error goes into the term-req: as long as it says it is, if that can be. */
static void bad_pdu(struct tcp_sock *s, const struct tcp_err *err, const uint8_t *p, size_t n)
{
	size_t len = p[TCP_OFF_HLEN] < TCP_CH_LEN ? TCP_CH_LEN : p[TCP_OFF_HLEN];

	s->ops->bad(s, err, p, min_size(n, len));
}

/* Works through @n bytes that start where the last ones ended. */
static void parse(struct tcp_sock *s, const uint8_t *p, size_t n)
{
	while (n) {
		struct tcp_pdu pdu;
		struct tcp_err err;
		int r;

		if (s->rx_left || s->rx_ddgst) {
			size_t took = take_data(s, p, n);

			if (s->dead)
				return;
			p += took;
			n -= took;
			continue;
		}
		r = tcp_pdu_decode(&s->rules, p, n, &pdu, &err);
		if (r < 0) {
			bad_pdu(s, &err, p, n);
			return;
		}
		if (!r) {
			s->rx_req = NULL;
			s->blocked = s->ops->pdu(s, &pdu) == TCP_RX_BLOCK;
			if (s->dead)
				return;
		}
		if (r || s->blocked) {
			s->hdr_need = (uint16_t)r;
			r = keep(s, p, n);
			if (r)
				s->ops->lost(s, r);
			return;
		}
		p += pdu.head_len;
		n -= pdu.head_len;
		if (pdu.data_len)
			begin_data(s, &pdu);
	}
}

/* How much to ask for behind the data at hand. */
static size_t read_ahead(const struct tcp_sock *s)
{
	if (!s->exact)
		return s->bulk ? RX_AHEAD_BULK : RX_AHEAD;
	if (s->rx_left || s->rx_ddgst) {
		size_t n = s->rx_ddgst ? TCP_DIGEST_LEN - s->rx_trail_len : 0u;

		return s->rx_req ? n : n + min_size(s->rx_left, RX_AHEAD);
	}
	/* After initialization no PDU is shorter than 24 bytes. */
	return (s->hdr_len < TCP_DATA_LEN ? TCP_DATA_LEN : s->hdr_need) - s->hdr_len;
}

/* One receive call of at most @budget bytes; returns how many it took, or 0 when that was all. */
static size_t read_once(struct tcp_sock *s, size_t budget)
{
	struct iovec iov[REQUEST_MAX_SEGS + 2];
	uint8_t *scratch = loop_scratch(s->loop);
	size_t direct = 0, ask, got;
	unsigned n = 0;
	ssize_t r;

	if (s->rx_left && s->rx_req) {
		direct = min_size(s->rx_left, budget);
		n = request_iov(s->rx_req, s->rx_off, (uint32_t)direct, iov, REQUEST_MAX_SEGS + 1);
	}
	ask = direct;
	memcpy(scratch, s->hdr, s->hdr_len);
	if (direct == s->rx_left || !s->rx_req) {
		size_t ahead = read_ahead(s);

		iov[n++] = (struct iovec){scratch + s->hdr_len, ahead};
		ask += ahead;
	}
	r = n == 1 ? recv(s->fd, iov[0].iov_base, iov[0].iov_len, 0) : readv(s->fd, iov, (int)n);
	if (r <= 0) {
		if (!r)
			s->ops->lost(s, 0);
		else if (errno != EAGAIN && errno != EINTR)
			s->ops->lost(s, -errno);
		return 0;
	}
	got = (size_t)r;
	stat_add(s->rx_bytes, got);
	if (direct)
		data_landed(s, (uint32_t)min_size(got, direct));
	if (got > direct && !s->dead) {
		size_t have = s->hdr_len + got - direct;

		s->hdr_len = 0;
		parse(s, scratch, have);
	}
	return got < ask ? 0 : got;
}

static void on_readable(struct tcp_sock *s)
{
	size_t budget = RX_TURN_BYTES;

	for (unsigned i = 0; i < RX_TURN_CALLS && budget; i++) {
		size_t n;

		s->exact = s->ops->scarce &&
			   (atomic_load_explicit(&spilled, memory_order_relaxed) > SPILL_LIMIT ||
			    s->ops->scarce(s));
		n = read_once(s, budget);
		if (!n || s->dead || !tcp_sock_reading(s))
			break;
		budget -= min_size(n, budget);
	}
}

void tcp_sock_resume(struct tcp_sock *s)
{
	uint8_t *spill = s->spill;
	size_t n = s->spill_len;

	if (!s->blocked || s->dead)
		return;
	s->blocked = false;
	if (spill) {
		s->spill = NULL;
		s->spill_len = 0;
		parse(s, spill, n);
		spill_free(spill, n);
	} else {
		n = s->hdr_len;
		s->hdr_len = 0;
		parse(s, s->hdr, n);
	}
	if (s->dead)
		return;
	watch(s);
	s->ops->turn(s);
}

bool tcp_sock_half(const struct tcp_sock *s)
{
	return tcp_sock_reading(s) && (s->hdr_len || s->rx_left || s->rx_ddgst);
}

/* ---- sending ---- */

/* What one sendmsg() is put together in. */
struct gather {
	struct iovec iov[TX_IOVS];
	unsigned n;
	uint8_t *stage, *stage_end;
	size_t bytes;
};

/* Room for @len bytes on the stage, which the last piece may already end at. */
static uint8_t *gather_room(struct gather *g, size_t len)
{
	struct iovec *last = g->n ? &g->iov[g->n - 1] : NULL;
	uint8_t *p = g->stage;

	if (last && (uint8_t *)last->iov_base + last->iov_len == p)
		last->iov_len += len;
	else
		g->iov[g->n++] = (struct iovec){p, len};
	g->stage += len;
	g->bytes += len;
	return p;
}

static void gather_flat(struct gather *g, const uint8_t *p, size_t len)
{
	memcpy(gather_room(g, len), p, len);
}

static void gather_data(struct gather *g, const struct request *req, uint32_t off, uint32_t len)
{
	unsigned n;

	if (len <= TX_COPY_MAX) {
		request_copy_out(req, off, gather_room(g, len), len);
		return;
	}
	n = request_iov(req, off, len, g->iov + g->n, TX_IOVS - g->n);
	for (unsigned i = 0; i < n; i++)
		g->bytes += g->iov[g->n + i].iov_len;
	g->n += n;
}

/* Adds what is left of @tx; false when it did not fit. */
static bool gather_tx(struct gather *g, const struct tx *tx)
{
	uint32_t done = tx->done, size = tcp_tx_size(tx);
	size_t before = g->bytes;

	if (g->n + 3 > TX_IOVS ||
	    g->stage_end - g->stage <
		    (ptrdiff_t)(sizeof(tx->hdr) + TX_COPY_MAX + sizeof(tx->trail)))
		return false;
	if (done < tx->hdr_len) {
		gather_flat(g, tx->hdr + done, tx->hdr_len - done);
		done = tx->hdr_len;
	}
	if (done < tx->hdr_len + tx->len) {
		uint32_t skip = done - tx->hdr_len;

		gather_data(g, tx->req, tx->off + skip, tx->len - skip);
		done = tx->done + (uint32_t)(g->bytes - before);
		if (done < tx->hdr_len + tx->len || g->n == TX_IOVS)
			return done == size;
	}
	if (done < size)
		gather_flat(g, tx->trail + (done - tx->hdr_len - tx->len), size - done);
	return true;
}

static void gather_all(struct tcp_sock *s, struct gather *g)
{
	struct tx *tx;

	g->n = 0;
	g->bytes = 0;
	g->stage = loop_scratch(s->loop);
	g->stage_end = g->stage + TX_STAGE_MAX;
	TAILQ_FOREACH(tx, &s->txq, link) {
		if (!(tx->kind & TCP_TX_SEALED)) {
			s->ops->seal(s, tx);
			tx->kind |= TCP_TX_SEALED;
		}
		if (!gather_tx(g, tx))
			return;
	}
}

/* @n bytes have left. Callbacks only once the queue is right again. */
static void consume(struct tcp_sock *s, size_t n)
{
	struct tx_list done = TAILQ_HEAD_INITIALIZER(done);
	struct tx *tx;

	s->tx_pending -= n;
	stat_add(s->tx_bytes, n);
	while (n) {
		size_t left;

		tx = TAILQ_FIRST(&s->txq);
		left = tcp_tx_size(tx) - tx->done;
		if (n < left) {
			tx->done += (uint32_t)n;
			break;
		}
		n -= left;
		tx->done += (uint32_t)left; /* so that no callback takes it back */
		TAILQ_REMOVE(&s->txq, tx, link);
		TAILQ_INSERT_TAIL(&done, tx, link);
	}
	/* A run on the local list may only be touched until its own callback. */
	while ((tx = TAILQ_FIRST(&done))) {
		TAILQ_REMOVE(&done, tx, link);
		tx->queued = false;
		if (!s->dead)
			s->ops->sent(s, tx);
	}
}

static void flush(struct tcp_sock *s)
{
	for (unsigned i = 0; i < TX_TURN_CALLS && !TAILQ_EMPTY(&s->txq); i++) {
		struct gather g;
		struct msghdr msg = {0};
		ssize_t r;

		gather_all(s, &g);
		msg.msg_iov = g.iov;
		msg.msg_iovlen = g.n;
		r = sendmsg(s->fd, &msg, MSG_NOSIGNAL);
		if (r < 0 && errno != EAGAIN && errno != EINTR) {
			s->ops->lost(s, -errno);
			return;
		}
		if (r > 0)
			consume(s, (size_t)r);
		if (s->dead)
			return;
		if (r < (ssize_t)g.bytes)
			break;
	}
	/* Also when the bound of the turn was hit: the event comes in the next one. */
	s->full = !TAILQ_EMPTY(&s->txq);
	watch(s);
	s->ops->turn(s);
}

static void on_flush(void *arg)
{
	struct tcp_sock *s = arg;

	if (!s->dead && !s->full)
		flush(s);
}

void tcp_tx_queue(struct tcp_sock *s, struct tx *tx)
{
	assert(!tx->queued);
	tx->done = 0;
	if (s->dead)
		return;
	tx->queued = true;
	s->tx_pending += tcp_tx_size(tx);
	TAILQ_INSERT_TAIL(&s->txq, tx, link);
	if (!s->full)
		loop_hook_queue(s->loop, &s->flush);
}

bool tcp_tx_unqueue(struct tcp_sock *s, struct tx *tx)
{
	if (!tx->queued || tx->done)
		return false;
	tx->queued = false;
	s->tx_pending -= tcp_tx_size(tx);
	TAILQ_REMOVE(&s->txq, tx, link);
	return true;
}

unsigned tcp_data_head(const struct tcp_wire *w, unsigned hlen)
{
	unsigned align = (w->pda + 1u) * 4;

	return (hlen + (w->hdgst ? TCP_DIGEST_LEN : 0) + align - 1) / align * align;
}

/* ---- life ---- */

static void on_event(void *arg, unsigned events)
{
	struct tcp_sock *s = arg;

	if (s->dead)
		return;
	if (events & LOOP_WRITE) {
		s->full = false;
		flush(s);
		return;
	}
	on_readable(s);
	if (s->dead)
		return;
	watch(s);
	s->ops->turn(s);
}

void tcp_sock_init(struct tcp_sock *s, struct loop *loop, int fd, const struct tcp_sock_ops *ops,
		   stat_t *rx_bytes, stat_t *tx_bytes)
{
	memset(s, 0, sizeof(*s));
	s->ops = ops;
	s->fd = fd;
	s->rx_bytes = rx_bytes;
	s->tx_bytes = tx_bytes;
	TAILQ_INIT(&s->txq);
	tcp_sock_attach(s, loop);
}

void tcp_sock_attach(struct tcp_sock *s, struct loop *loop)
{
	s->loop = loop;
	loop_fd_init(&s->watch, loop, s->fd, on_event, s);
	loop_hook_init(&s->flush, on_flush, s);
}

void tcp_sock_start(struct tcp_sock *s)
{
	watch(s);
}

void tcp_sock_detach(struct tcp_sock *s)
{
	assert(TAILQ_EMPTY(&s->txq) && !s->hdr_len && !s->rx_left && !s->spill);
	loop_hook_cancel(s->loop, &s->flush);
	loop_fd_fini(&s->watch);
}

void tcp_sock_stop(struct tcp_sock *s)
{
	s->dead = true;
	watch(s);
	loop_hook_cancel(s->loop, &s->flush);
}

void tcp_sock_pause(struct tcp_sock *s, bool pause)
{
	if (s->paused == pause)
		return;
	s->paused = pause;
	watch(s);
}

/* What is left of a run that has begun to leave, and @term behind it; NULL when that is too much.
 */
static uint8_t *last_words(const struct tcp_sock *s, const uint8_t *term, size_t term_len,
			   size_t *len)
{
	const struct tx *tx = TAILQ_FIRST(&s->txq);
	uint32_t left = tx && tx->done ? tcp_tx_size(tx) - tx->done : 0;
	uint32_t done = tx ? tx->done : 0;
	uint8_t *b, *p;

	if (left > LAST_WORDS_MAX)
		return NULL;
	b = p = malloc(left + term_len);
	if (!b)
		return NULL;
	if (left && done < tx->hdr_len) {
		memcpy(p, tx->hdr + done, tx->hdr_len - done);
		p += tx->hdr_len - done;
		done = tx->hdr_len;
	}
	if (left && done < tx->hdr_len + tx->len) {
		uint32_t skip = done - tx->hdr_len;

		request_copy_out(tx->req, tx->off + skip, p, tx->len - skip);
		p += tx->len - skip;
		done = tx->hdr_len + tx->len;
	}
	if (left) {
		uint32_t n = tcp_tx_size(tx) - done;

		memcpy(p, tx->trail + tx->trail_len - n, n);
		p += n;
	}
	memcpy(p, term, term_len);
	*len = left + term_len;
	return b;
}

void tcp_sock_close(struct tcp_sock *s, const uint8_t *term, size_t term_len)
{
	uint8_t *words = NULL;
	size_t len = 0;
	struct tx *tx;

	tcp_sock_stop(s);
	loop_fd_fini(&s->watch);
	if (term_len)
		words = last_words(s, term, term_len, &len);
	while ((tx = TAILQ_FIRST(&s->txq))) {
		TAILQ_REMOVE(&s->txq, tx, link);
		tx->queued = false;
	}
	s->tx_pending = 0;
	spill_free(s->spill, s->spill_len);
	s->spill = NULL;
	if (words)
		tcp_linger(s->loop, s->fd, words, len);
	else
		close(s->fd);
	s->fd = -1;
}

void tcp_sock_options(int fd)
{
	int one = 1;

	/* Batching is ours, at the end of the turn: nothing may wait for an ACK. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
}
