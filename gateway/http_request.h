/* SPDX-License-Identifier: Apache-2.0 */
/* The head of an HTTP/1.x request (RFC 9112), as far as a server of a few fixed documents needs it.
 */
#ifndef GATEWAY_HTTP_REQUEST_H
#define GATEWAY_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

struct http_request {
	unsigned problem; /* status code of the answer that it deserves; 0: it is well-formed */
	bool get, head;	  /* the method; neither: another one */
	bool body;	  /* more than a head follows */
	bool keep;	  /* the connection may go on after the answer */
	char path[64];	  /* without the query; cut when it is longer than any that there is */
	char host[256];	  /* without the port and the brackets of an IPv6 address; "": not said */
};

/* Bytes of the head at the start of @text, up to and with its empty line; 0: it is not all there.
 */
size_t http_head_len(const char *text, size_t len);
/* Parses a head of @len bytes. */
void http_parse(const char *text, size_t len, struct http_request *r);
/* An IP address in digits, or localhost: no name that somebody else's DNS could lead here. */
bool http_host_is_local(const char *host);

#endif
