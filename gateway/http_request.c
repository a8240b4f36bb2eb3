/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/http_request.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "transport/addr.h"

/* A part of the request's text. */
struct span {
	const char *at;
	size_t len;
};

static bool span_is(struct span s, const char *text)
{
	return s.len == strlen(text) && !strncasecmp(s.at, text, s.len);
}

static struct span trim(struct span s)
{
	while (s.len && (*s.at == ' ' || *s.at == '\t')) {
		s.at++;
		s.len--;
	}
	while (s.len && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* Takes what is before the first @c, and the @c, off the front; all of it when there is none. */
static struct span split(struct span *rest, char c)
{
	const char *end = memchr(rest->at, c, rest->len);
	struct span s = {rest->at, end ? (size_t)(end - rest->at) : rest->len};
	size_t used = s.len + (end ? 1 : 0);

	rest->at += used;
	rest->len -= used;
	return s;
}

static struct span next_line(struct span *rest)
{
	struct span line = split(rest, '\n');

	if (line.len && line.at[line.len - 1] == '\r')
		line.len--;
	return line;
}

static void copy(char *to, size_t size, struct span s)
{
	size_t n = s.len < size - 1 ? s.len : size - 1;

	memcpy(to, s.at, n);
	to[n] = '\0';
}

size_t http_head_len(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] != '\n')
			continue;
		if (i + 1 < len && text[i + 1] == '\n')
			return i + 2;
		if (i + 2 < len && text[i + 1] == '\r' && text[i + 2] == '\n')
			return i + 3;
	}
	return 0;
}

static void parse_request_line(struct span line, struct http_request *r)
{
	struct span method = split(&line, ' '), target = split(&line, ' ');

	/* RFC 9110, 9.1: methods are case-sensitive. */
	r->get = method.len == 3 && !memcmp(method.at, "GET", 3);
	r->head = method.len == 4 && !memcmp(method.at, "HEAD", 4);
	r->keep = span_is(line, "HTTP/1.1");
	if (!method.len || !target.len || *target.at != '/')
		r->problem = 400;
	else if (!r->keep && !span_is(line, "HTTP/1.0"))
		r->problem = line.len > 5 && !strncmp(line.at, "HTTP/", 5) ? 505 : 400;
	copy(r->path, sizeof(r->path), split(&target, '?'));
}

static void parse_host(struct span value, struct http_request *r)
{
	if (r->host[0] || value.len >= sizeof(r->host)) {
		r->problem = 400;
	} else if (value.len && *value.at == '[') {
		value.at++;
		value.len--;
		copy(r->host, sizeof(r->host), split(&value, ']'));
	} else {
		copy(r->host, sizeof(r->host), split(&value, ':'));
	}
}

static void parse_connection(struct span value, struct http_request *r)
{
	while (value.len)
		if (span_is(trim(split(&value, ',')), "close"))
			r->keep = false;
}

static void parse_field(struct span line, struct http_request *r)
{
	bool colon = memchr(line.at, ':', line.len);
	struct span name = split(&line, ':'), value = trim(line);

	if (!colon || !name.len || memchr(name.at, ' ', name.len) ||
	    memchr(name.at, '\t', name.len))
		r->problem = 400;
	else if (span_is(name, "host"))
		parse_host(value, r);
	else if (span_is(name, "connection"))
		parse_connection(value, r);
	else if (span_is(name, "transfer-encoding") ||
		 (span_is(name, "content-length") && !span_is(value, "0")))
		r->body = true;
}

void http_parse(const char *text, size_t len, struct http_request *r)
{
	struct span rest = {text, len}, line;

	*r = (struct http_request){0};
	if (memchr(text, '\0', len)) {
		r->problem = 400;
		return;
	}
	parse_request_line(next_line(&rest), r);
	while (!r->problem && (line = next_line(&rest)).len)
		parse_field(line, r);
	if (!r->problem && r->keep && !r->host[0])
		r->problem = 400; /* RFC 9112, 3.2 */
	/* Bodies are not read, and after a problem it is anybody's guess where the next one begins.
	 */
	if (r->problem || r->body)
		r->keep = false;
}

bool http_host_is_local(const char *host)
{
	struct addr a;

	return !strcasecmp(host, "localhost") || addr_parse(&a, host, "1") == 0;
}
