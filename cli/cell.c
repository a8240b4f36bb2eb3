/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cell.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/member.h"
#include "cli/units.h"

char *format(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		abort();
	va_end(ap);
	return s;
}

char *cell_text(const json_t *row, const char *key)
{
	const json_t *v = json_object_get(row, key);

	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_STRING:
		return format("%s", json_string_value(v));
	case JSON_INTEGER:
		return format("%" JSON_INTEGER_FORMAT, json_integer_value(v));
	case JSON_REAL:
		return format("%.3f", json_real_value(v));
	case JSON_TRUE:
		return format("yes");
	case JSON_FALSE:
		return format("no");
	default:
		return format("-");
	}
}

char *cell_count(const json_t *row, const char *key)
{
	char buf[UNITS_MAX];

	return format("%s", units_count(buf, (uint64_t)number_of(row, key)));
}

char *cell_bytes(const json_t *row, const char *key)
{
	char buf[UNITS_MAX];

	return format("%s", units_bytes(buf, (uint64_t)number_of(row, key)));
}

char *cell_ago(const json_t *row, const char *key)
{
	char buf[UNITS_MAX];

	return format("%s ago", units_time(buf, json_number_value(json_object_get(row, key))));
}

char *cell_latency(const json_t *row, const char *key)
{
	char buf[UNITS_MAX];

	return (uint64_t)number_of(row, key)
		       ? format("%s", units_latency(buf, (uint64_t)number_of(row, key)))
		       : format("-");
}

char *cell_ms(const json_t *row, const char *key)
{
	return format("%" JSON_INTEGER_FORMAT " ms", number_of(row, key));
}

char *cell_if_said(const json_t *row, const char *key)
{
	return *text_of(row, key) ? format("%s", text_of(row, key)) : NULL;
}

char *cell_address(const json_t *row, const char *key)
{
	const char *host = text_of(row, "traddr");

	if (is_null(row, "trsvcid"))
		return format("%s", host);
	return format(strchr(host, ':') ? "[%s]:%d" : "%s:%d", host,
		      (int)number_of(row, "trsvcid"));
}

char *cell_share(const json_t *row, const char *key)
{
	char *part = format("%s_%s", strcmp(key, "upstreams") ? "usable" : "live", key), *s;

	s = format("%d/%d", (int)number_of(row, part), (int)number_of(row, key));
	free(part);
	return s;
}
