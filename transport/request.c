/* SPDX-License-Identifier: Apache-2.0 */
/* Access to a request's data, whatever segments it is in. */
#include "transport/request.h"

#include <assert.h>
#include <string.h>

#include <isa-l/crc.h>

/* The memory from @off on, and how much of @len is in one piece there. */
static uint8_t *run_at(const struct request *req, uint32_t off, uint32_t len, uint32_t *n)
{
	uint32_t in = off & (SEG_SIZE - 1);

	assert(off >> SEG_SHIFT < req->nsegs);
	*n = SEG_SIZE - in < len ? SEG_SIZE - in : len;
	return (uint8_t *)req->segs[off >> SEG_SHIFT] + in;
}

unsigned request_iov(const struct request *req, uint32_t off, uint32_t len, struct iovec *iov,
		     unsigned max)
{
	unsigned n = 0;
	uint32_t run;

	for (; len && n < max; n++, off += run, len -= run) {
		iov[n].iov_base = run_at(req, off, len, &run);
		iov[n].iov_len = run;
	}
	return n;
}

void request_copy_in(struct request *req, uint32_t off, const void *src, uint32_t len)
{
	const uint8_t *from = src;
	uint32_t run;

	for (; len; off += run, from += run, len -= run) {
		uint8_t *to = run_at(req, off, len, &run);

		memcpy(to, from, run);
	}
}

void request_copy_out(const struct request *req, uint32_t off, void *dst, uint32_t len)
{
	uint8_t *to = dst;
	uint32_t run;

	for (; len; off += run, to += run, len -= run) {
		const uint8_t *from = run_at(req, off, len, &run);

		memcpy(to, from, run);
	}
}

void request_zero(struct request *req, uint32_t off, uint32_t len)
{
	uint32_t run;

	for (; len; off += run, len -= run) {
		uint8_t *to = run_at(req, off, len, &run);

		memset(to, 0, run);
	}
}

uint32_t request_crc32c(const struct request *req, uint32_t off, uint32_t len)
{
	uint32_t crc = ~0u, run;

	for (; len; off += run, len -= run) {
		uint8_t *p = run_at(req, off, len, &run);

		crc = crc32_iscsi(p, (int)run, crc);
	}
	return ~crc;
}
