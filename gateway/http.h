/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server of the status page and the metrics: read-only, a few fixed documents (see
 * http_site.h). Control loop only.
 */
#ifndef GATEWAY_HTTP_H
#define GATEWAY_HTTP_H

#include "transport/addr.h"

struct gateway;
struct http;

#define HTTP_MAX_HEAD	     8192u /* bytes of a request */
#define HTTP_MAX_CONNECTIONS 64u   /* one more ends the one that has been quiet for longest */
#define HTTP_MAX_PENDING     (64ull << 20) /* bytes of answers that have not left; more: 503 */
/* From the first byte of a request to its last, and the same for its answer. */
#define HTTP_TIMEOUT_MS 10000u
#define HTTP_IDLE_MS	90000u /* between requests; scrapers come once a minute */
/* Making answers may take one part in so many of control's time. */
#define HTTP_TIME_SHARE 4u

/* Listens at @addr. Returns NULL after logging why. */
struct http *http_open(struct gateway *gw, const struct addr *addr);
/* Where it listens. */
const struct addr *http_addr(const struct http *http);
/* Ends all connections; NULL is right too. */
void http_close(struct http *http);

#endif
