/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/units.h"

#define GAP 2u /* spaces between columns */

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

/* ---- cells ---- */

static uint64_t number(const json_t *row, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(row, key));
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

	return format("%s", units_count(buf, number(row, key)));
}

char *cell_bytes(const json_t *row, const char *key)
{
	char buf[UNITS_MAX];

	return format("%s", units_bytes(buf, number(row, key)));
}

char *cell_ago(const json_t *row, const char *key)
{
	char buf[UNITS_MAX];

	return format("%s ago", units_time(buf, json_number_value(json_object_get(row, key))));
}

char *cell_latency(const json_t *row, const char *key)
{
	char buf[UNITS_MAX];

	return format("%s", units_latency(buf, number(row, key)));
}

/* ---- tables ---- */

struct grid {
	const struct column *columns;
	size_t nr_columns, nr_rows;
	char **cells; /* by row, then column */
	unsigned *widths;
	bool *shown;
};

static char *cell(const struct grid *g, size_t row, size_t column)
{
	return g->cells[row * g->nr_columns + column];
}

static void *array(size_t n, size_t size)
{
	void *p = calloc(n + 1, size);

	if (!p)
		abort();
	return p;
}

static bool varied(const struct grid *g, size_t column)
{
	for (size_t r = 1; r < g->nr_rows; r++)
		if (strcmp(cell(g, r, column), cell(g, 0, column)))
			return true;
	return false;
}

static void fill(struct grid *g, const json_t *rows)
{
	g->cells = array(g->nr_rows * g->nr_columns, sizeof(g->cells[0]));
	g->widths = array(g->nr_columns, sizeof(g->widths[0]));
	g->shown = array(g->nr_columns, sizeof(g->shown[0]));
	for (size_t c = 0; c < g->nr_columns; c++) {
		const struct column *col = &g->columns[c];

		g->widths[c] = text_width(col->title);
		for (size_t r = 0; r < g->nr_rows; r++) {
			char *text = col->cell(json_array_get(rows, r), col->key);
			unsigned width = text_width(text);

			g->cells[r * g->nr_columns + c] = text;
			if (width > g->widths[c])
				g->widths[c] = width;
		}
		g->shown[c] = !col->if_varied || varied(g, c);
	}
}

/* The title row when @row is NULL. Lines do not end in spaces. */
static void print_row(const struct grid *g, const json_t *row, size_t r)
{
	for (size_t c = 0; c < g->nr_columns; c++) {
		const struct column *col = &g->columns[c];
		const char *text = row ? cell(g, r, c) : col->title;
		bool last = c + 1 == g->nr_columns;
		enum colour colour = COLOUR_HEAD;

		if (!g->shown[c] || (last && !*text))
			continue;
		if (row)
			colour = col->colour ? col->colour(row) : COLOUR_NONE;
		if (c)
			text_print("", COLOUR_NONE, GAP, false);
		text_print(text, colour, last && !col->right ? 0 : g->widths[c], col->right);
	}
	putchar('\n');
}

void table_print(const json_t *rows, const struct column *columns, const char *none)
{
	struct grid g = {.columns = columns, .nr_rows = json_array_size(rows)};

	if (!g.nr_rows) {
		puts(none);
		return;
	}
	while (columns[g.nr_columns].title)
		g.nr_columns++;
	fill(&g, rows);
	print_row(&g, NULL, 0);
	for (size_t r = 0; r < g.nr_rows; r++)
		print_row(&g, json_array_get(rows, r), r);
	for (size_t i = 0; i < g.nr_rows * g.nr_columns; i++)
		free(g.cells[i]);
	free(g.cells);
	free(g.widths);
	free(g.shown);
}

/* ---- single objects ---- */

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}

static cell_fn cell_of(const char *key)
{
	if (ends_with(key, "_bytes"))
		return cell_bytes;
	if (ends_with(key, "_us"))
		return cell_latency;
	return ends_with(key, "_seconds") ? cell_ago : cell_text;
}

/* The unit is in the value. */
static char *label(const char *key)
{
	static const char *const units[] = {"_bytes", "_us", "_seconds"};
	char *s = format("%s", key);

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (ends_with(s, units[i]))
			s[strlen(s) - strlen(units[i])] = 0;
	for (char *c = s; *c; c++)
		if (*c == '_')
			*c = ' ';
	return s;
}

void table_print_object(const json_t *object)
{
	unsigned width = 0;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value) {
		unsigned n = text_width(key);

		width = n > width ? n : width;
	}
	json_object_foreach((json_t *)object, key, value) {
		char *name = label(key), *text = cell_of(key)(object, key);

		text_print(name, COLOUR_HEAD, width + GAP, false);
		text_print(text, COLOUR_NONE, 0, false);
		putchar('\n');
		free(name);
		free(text);
	}
}
