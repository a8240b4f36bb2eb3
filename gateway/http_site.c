/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/http_site.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/http_page.h"
#include "gateway/metrics.h"
#include "gateway/rpc_methods.h"

#define TEXT "text/plain; charset=utf-8"
/* What a document may do that is not the page: nothing. */
#define NO_CONTENT "default-src 'none'; frame-ancestors 'none'"

static char *dup_text(const char *text)
{
	char *s = strdup(text);

	if (!s)
		abort();
	return s;
}

/* ---- documents ---- */

json_t *http_state(struct gateway *gw)
{
	static const char *const parts[][2] = {
		{"status", "status"},
		{"paths", "path.list"},
		{"namespaces", "namespace.list"},
		{"controllers", "controller.list"},
	};
	json_t *state = json_object(), *params = json_object();
	struct rpc_error err;

	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		json_object_set_new(state, parts[i][0],
				    rpc_method(parts[i][1])->call(gw, params, &err));
	json_decref(params);
	return state;
}

static char *page(struct gateway *gw)
{
	return dup_text(http_page());
}

static char *state_text(struct gateway *gw)
{
	json_t *state = http_state(gw);
	char *text = json_dumps(state, JSON_COMPACT | JSON_REAL_PRECISION(15));

	json_decref(state);
	if (!text)
		abort();
	return text;
}

static char *metrics(struct gateway *gw)
{
	json_t *state = http_state(gw);
	char *text = metrics_text(state);

	json_decref(state);
	return text;
}

static const struct {
	const char *path, *type;
	char *(*make)(struct gateway *gw);
} documents[] = {
	{"/", "text/html; charset=utf-8", page},
	{"/state.json", "application/json", state_text},
	{"/metrics", "text/plain; version=0.0.4; charset=utf-8", metrics},
};

/* ---- problems ---- */

static const struct {
	unsigned status;
	const char *text;
} problems[] = {
	{400, "This is no HTTP request.\n"},
	{404, "There are / (the status page), /state.json and /metrics.\n"},
	{405, "Everything here is read-only: GET and HEAD are all that there is.\n"},
	{413, "Nothing here takes a body.\n"},
	{421, "This is reached by its address or as localhost, not by another name.\n"},
	{431, "The request is too long.\n"},
	{503, "Too much is on its way to those who have asked before. Try again.\n"},
	{505, "This is HTTP/1.1.\n"},
};

void http_problem(unsigned status, struct http_document *d)
{
	const char *text = "";

	for (unsigned i = 0; i < sizeof(problems) / sizeof(problems[0]); i++)
		if (problems[i].status == status)
			text = problems[i].text;
	*d = (struct http_document){status, TEXT, NO_CONTENT, dup_text(text), strlen(text)};
}

void http_document(struct gateway *gw, const struct http_request *r, struct http_document *d)
{
	if (!r->get && !r->head) {
		http_problem(405, d);
		return;
	}
	if (r->body) {
		http_problem(413, d);
		return;
	}
	for (unsigned i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
		if (strcmp(documents[i].path, r->path))
			continue;
		*d = (struct http_document){200, documents[i].type, NO_CONTENT,
					    documents[i].make(gw), 0};
		d->len = strlen(d->body);
		if (documents[i].make == page)
			d->policy = http_page_policy();
		return;
	}
	http_problem(404, d);
}
