/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/config_json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- messages ---- */

#define QUOTE_MAX (CFG_SHOW_MAX - 2)

/* One line, not too long. */
static char *quote(const char *text, char buf[QUOTE_MAX])
{
	const size_t room = QUOTE_MAX - sizeof("...");
	size_t n = 0;

	while (text[n] && n < room) {
		buf[n] = (unsigned char)text[n] < ' ' || text[n] == 0x7f ? '?' : text[n];
		n++;
	}
	if (text[n]) {
		while (n && ((unsigned char)text[n] & 0xc0) == 0x80)
			n--; /* not within a character */
		strcpy(buf + n, "...");
	} else {
		buf[n] = '\0';
	}
	return buf;
}

static bool plain_key(const char *key)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
				      "0123456789";

	return *key && !key[strspn(key, letters)];
}

static void print_path(const struct cfg_node *n, FILE *err)
{
	char buf[QUOTE_MAX];

	if (!n->parent) {
		fputc('$', err);
		return;
	}
	print_path(n->parent, err);
	if (!n->key)
		fprintf(err, "[%u]", n->index);
	else if (plain_key(n->key))
		fprintf(err, ".%s", quote(n->key, buf));
	else
		fprintf(err, "[\"%s\"]", quote(n->key, buf));
}

static void report(const struct cfg_node *n, unsigned line, const char *fmt, va_list ap)
{
	FILE *err = n->doc->err;

	if (++n->doc->problems == CFG_PROBLEMS_MAX + 1)
		fprintf(err, "%s: there are more problems, expected fewer\n", n->doc->file);
	if (n->doc->problems > CFG_PROBLEMS_MAX)
		return;
	fprintf(err, "%s:%u: ", n->doc->file, line);
	print_path(n, err);
	fputs(": ", err);
	vfprintf(err, fmt, ap);
	fputc('\n', err);
}

void cfg_problem(const struct cfg_node *n, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(n, n->line, fmt, ap);
	va_end(ap);
}

void cfg_key_problem(const struct cfg_node *n, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(n, n->key_line, fmt, ap);
	va_end(ap);
}

/* Never like an integer. */
static void show_real(double v, char buf[CFG_SHOW_MAX])
{
	snprintf(buf, CFG_SHOW_MAX, "%.15g", v);
	if (!strpbrk(buf, ".e"))
		strcat(buf, ".0");
}

char *cfg_show(const struct cfg_node *n, char buf[CFG_SHOW_MAX])
{
	static const char *const words[] = {
		[JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_TRUE] = "true",
		[JSON_FALSE] = "false",	     [JSON_NULL] = "null",
	};
	char quoted[QUOTE_MAX];

	switch (json_typeof(n->value)) {
	case JSON_STRING:
		snprintf(buf, CFG_SHOW_MAX, "\"%s\"", quote(json_string_value(n->value), quoted));
		break;
	case JSON_INTEGER:
		snprintf(buf, CFG_SHOW_MAX, "%lld", (long long)json_integer_value(n->value));
		break;
	case JSON_REAL:
		show_real(json_real_value(n->value), buf);
		break;
	default:
		strcpy(buf, words[json_typeof(n->value)]);
	}
	return buf;
}

/* ---- positions ---- */

/*
 * jansson has accepted the text and keeps members in the file's order, so a walk along the text
 * and one along the values meet the same things at the same time. What is left to know of JSON is
 * where a value begins and ends.
 */
struct cursor {
	const char *p;
	unsigned line;
};

static void skip_between(struct cursor *c)
{
	for (;; c->p++) {
		if (*c->p == '\n')
			c->line++;
		else if (!*c->p || !strchr(" \t\r,:", *c->p))
			return;
	}
}

static void skip_string(struct cursor *c)
{
	for (c->p++; *c->p != '"'; c->p++)
		if (*c->p == '\\')
			c->p++;
	c->p++;
}

static void skip_scalar(struct cursor *c)
{
	if (*c->p == '"') {
		skip_string(c);
		return;
	}
	while (*c->p && !strchr(" \t\r\n,:]}", *c->p))
		c->p++;
}

static void locate(struct cfg_node *n, struct cursor *c);

static void add_children(struct cfg_node *n, size_t count)
{
	if (!count)
		return;
	n->children = calloc(count, sizeof(n->children[0]));
	if (!n->children)
		abort();
	n->nr = (unsigned)count;
	for (unsigned i = 0; i < n->nr; i++) {
		n->children[i].doc = n->doc;
		n->children[i].parent = n;
		n->children[i].index = i;
	}
}

static void locate_members(struct cfg_node *n, struct cursor *c)
{
	struct cfg_node *child = n->children;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)n->value, key, value) {
		child->value = value;
		child->key = key;
		skip_between(c);
		child->key_line = c->line;
		skip_string(c);
		locate(child++, c);
	}
}

static void locate_elements(struct cfg_node *n, struct cursor *c)
{
	for (unsigned i = 0; i < n->nr; i++) {
		n->children[i].value = json_array_get(n->value, i);
		locate(&n->children[i], c);
	}
}

static void locate(struct cfg_node *n, struct cursor *c)
{
	skip_between(c);
	n->line = c->line;
	if (!json_is_object(n->value) && !json_is_array(n->value)) {
		skip_scalar(c);
		return;
	}
	c->p++;
	if (json_is_object(n->value)) {
		add_children(n, json_object_size(n->value));
		locate_members(n, c);
	} else {
		add_children(n, json_array_size(n->value));
		locate_elements(n, c);
	}
	skip_between(c);
	c->p++;
}

/* ---- the document ---- */

static bool refuse_file(struct cfg_doc *doc, const char *what, const char *why)
{
	doc->problems++;
	fprintf(doc->err, "%s: %s: %s\n", doc->file, what, why);
	return false;
}

/* Up to one byte more than allowed, and a terminating zero; false with errno. */
static bool read_all(int fd, char **text, size_t *len)
{
	size_t room = 0;

	*len = 0;
	for (;;) {
		ssize_t r;

		if (*len == room) {
			room = room ? 2 * room : 16384;
			*text = realloc(*text, room + 1);
			if (!*text)
				abort();
		}
		r = read(fd, *text + *len, room - *len);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return false;
		*len += (size_t)r;
		(*text)[*len] = '\0';
		if (!r || *len > CFG_FILE_MAX)
			return true;
	}
}

static bool read_file(struct cfg_doc *doc, char **text, size_t *len)
{
	int fd = open(doc->file, O_RDONLY | O_CLOEXEC), e;
	bool ok;

	if (fd < 0)
		return refuse_file(doc, "cannot open", strerror(errno));
	ok = read_all(fd, text, len);
	e = errno;
	close(fd);
	if (!ok)
		return refuse_file(doc, "cannot read", strerror(e));
	if (*len > CFG_FILE_MAX)
		return refuse_file(doc, "too large", "expected at most 16 MiB");
	return true;
}

/* jansson overlooks some of them, and the walk along the text would end there. */
static bool has_zero(struct cfg_doc *doc, const char *text, size_t len)
{
	const char *zero = memchr(text, '\0', len);
	unsigned line = 1;

	if (!zero)
		return false;
	for (const char *p = text; p < zero; p++)
		line += *p == '\n';
	doc->problems++;
	fprintf(doc->err, "%s:%u: there is a zero byte, expected correct JSON\n", doc->file, line);
	return true;
}

static void refuse_text(struct cfg_doc *doc, const json_error_t *e)
{
	bool twice = json_error_code(e) == json_error_duplicate_key;
	char buf[QUOTE_MAX];

	doc->problems++;
	fprintf(doc->err, "%s:%d: %s, expected %s\n", doc->file, e->line > 0 ? e->line : 1,
		quote(e->text, buf), twice ? "each key once" : "correct JSON");
}

static bool parse(struct cfg_doc *doc, const char *text, size_t len)
{
	struct cursor c = {.p = text, .line = 1};
	json_error_t e;

	if (has_zero(doc, text, len))
		return false;
	doc->json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e);
	if (!doc->json) {
		refuse_text(doc, &e);
		return false;
	}
	doc->root.doc = doc;
	doc->root.value = doc->json;
	locate(&doc->root, &c);
	return true;
}

bool cfg_doc_parse(struct cfg_doc *doc, const char *name, const char *text, size_t len, FILE *err)
{
	*doc = (struct cfg_doc){.file = name, .err = err};
	return parse(doc, text, len);
}

bool cfg_doc_load(struct cfg_doc *doc, const char *file, FILE *err)
{
	char *text = NULL;
	size_t len;
	bool ok;

	*doc = (struct cfg_doc){.file = file, .err = err};
	ok = read_file(doc, &text, &len) && parse(doc, text, len);
	free(text);
	return ok;
}

static void free_children(struct cfg_node *n)
{
	for (unsigned i = 0; i < n->nr; i++)
		free_children(&n->children[i]);
	free(n->children);
}

void cfg_doc_free(struct cfg_doc *doc)
{
	free_children(&doc->root);
	json_decref(doc->json);
}

const struct cfg_node *cfg_member(const struct cfg_node *n, const char *key)
{
	if (!json_is_object(n->value))
		return NULL;
	for (unsigned i = 0; i < n->nr; i++)
		if (!strcmp(n->children[i].key, key))
			return &n->children[i];
	return NULL;
}
