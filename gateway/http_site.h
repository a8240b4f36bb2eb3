/* SPDX-License-Identifier: Apache-2.0 */
/* What the HTTP server has: the status page, the state that it shows, the metrics. */
#ifndef GATEWAY_HTTP_SITE_H
#define GATEWAY_HTTP_SITE_H

#include <jansson.h>
#include <stddef.h>

#include "gateway/http_request.h"

struct gateway;

struct http_document {
	unsigned status;
	const char *type;   /* of the body */
	const char *policy; /* Content-Security-Policy */
	char *body;	    /* with a zero at its end */
	size_t len;
};

/* The document that @r asks for, or one that says why there is none; its body is to be freed. */
void http_document(struct gateway *gw, const struct http_request *r, struct http_document *d);
/* The same for a request that could not be answered. */
void http_problem(unsigned status, struct http_document *d);

/*
 * All of the daemon's state: the results of the methods "status", "path.list", "namespace.list" and
 * "controller.list" of the control socket as "status", "paths", "namespaces" and "controllers".
 */
json_t *http_state(struct gateway *gw);

#endif
