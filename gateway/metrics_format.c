/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/metrics_format.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void grow(struct metrics_out *out, size_t need)
{
	size_t size = out->size ? out->size : 256;

	while (size < need)
		size *= 2;
	if (size == out->size)
		return;
	out->text = realloc(out->text, size);
	if (!out->text)
		abort();
	out->size = size;
}

void metrics_put(struct metrics_out *out, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	grow(out, out->len + 1);
	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(out->text + out->len, out->size - out->len, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	if ((size_t)n >= out->size - out->len) {
		grow(out, out->len + (size_t)n + 1);
		vsnprintf(out->text + out->len, (size_t)n + 1, fmt, again);
	}
	va_end(again);
	out->len += (size_t)n;
}

static void put_char(struct metrics_out *out, char c)
{
	grow(out, out->len + 2);
	out->text[out->len++] = c;
	out->text[out->len] = '\0';
}

void metrics_put_label(struct metrics_out *labels, const char *name, const char *value)
{
	metrics_put(labels, "%s%s=\"", labels->len ? "," : "", name);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"' || *value == '\n')
			put_char(labels, '\\');
		put_char(labels, *value == '\n' ? 'n' : *value);
	}
	put_char(labels, '"');
}

void metrics_put_family(struct metrics_out *out, const char *name, const char *type,
			const char *help)
{
	metrics_put(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_put_name(struct metrics_out *out, const char *name, const char *labels)
{
	if (labels && *labels)
		metrics_put(out, "%s{%s} ", name, labels);
	else
		metrics_put(out, "%s ", name);
}

void metrics_put_histogram(struct metrics_out *out, const char *name, const char *labels,
			   const uint64_t *counts, unsigned n, double sum)
{
	const char *comma = labels && *labels ? "," : "";
	uint64_t below = 0;

	if (!labels)
		labels = "";
	for (unsigned i = 0; i + 1 < n; i++) {
		below += counts[i];
		metrics_put(out, "%s_bucket{%s%sle=\"%.9g\"} %" PRIu64 "\n", name, labels, comma,
			    (double)(2ull << i) / 1e6, below);
	}
	below += counts[n - 1];
	metrics_put(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma, below);
	metrics_put(out, "%s_sum%s%s%s %.9g\n", name, *labels ? "{" : "", labels,
		    *labels ? "}" : "", sum);
	metrics_put(out, "%s_count%s%s%s %" PRIu64 "\n", name, *labels ? "{" : "", labels,
		    *labels ? "}" : "", below);
}
