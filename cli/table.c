/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>

#define GAP 2u /* spaces between columns */

struct grid {
	const struct column *columns;
	size_t nr_columns, nr_rows;
	char **cells; /* by row, then column */
	unsigned *widths;
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

static void fill(struct grid *g, const json_t *rows)
{
	g->cells = array(g->nr_rows * g->nr_columns, sizeof(g->cells[0]));
	g->widths = array(g->nr_columns, sizeof(g->widths[0]));
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
	}
}

/* With @last in its last column the row is wider than the terminal. */
static bool too_wide(const struct grid *g, const char *last)
{
	unsigned terminal = text_terminal_width(), width = text_width(last);

	for (size_t c = 0; c + 1 < g->nr_columns; c++)
		width += g->widths[c] + GAP;
	return terminal && width > terminal;
}

/* The last cell of a row, not padded: lines do not end in spaces. */
static void print_last(const struct grid *g, const char *text, enum colour colour, bool title)
{
	bool below = too_wide(g, text);

	if (!*text || (title && below))
		return;
	if (below)
		putchar('\n');
	text_print("", COLOUR_NONE, below ? 2 * GAP : GAP, false);
	text_print(text, colour, 0, false);
}

/* The title row when @row is NULL. */
static void print_row(const struct grid *g, const json_t *row, size_t r)
{
	for (size_t c = 0; c < g->nr_columns; c++) {
		const struct column *col = &g->columns[c];
		const char *text = row ? cell(g, r, c) : col->title;
		enum colour colour = COLOUR_HEAD;

		if (row)
			colour = col->colour ? col->colour(row) : COLOUR_NONE;
		if (c + 1 == g->nr_columns && !col->right) {
			print_last(g, text, colour, !row);
			continue;
		}
		if (c)
			text_print("", COLOUR_NONE, GAP, false);
		text_print(text, colour, g->widths[c], col->right);
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
}

/* The rows by what they say of @key, in the order in which that comes up. */
static json_t *grouped(const json_t *rows, const char *key)
{
	json_t *groups = json_object(), *row;
	size_t i;

	json_array_foreach((json_t *)rows, i, row) {
		const char *name = json_string_value(json_object_get(row, key));

		name = name ? name : "";
		if (!json_object_get(groups, name))
			json_object_set_new(groups, name, json_array());
		json_array_append(json_object_get(groups, name), row);
	}
	return groups;
}

static void print_group(const char *name, const json_t *rows, const struct column *columns)
{
	text_print(name, COLOUR_NONE, 0, false);
	puts(":");
	table_print(rows, columns, NULL);
}

void table_print_by(const json_t *rows, const char *key, const struct column *columns,
		    const char *none)
{
	json_t *groups = grouped(rows, key), *group;
	size_t left = json_object_size(groups);
	const char *name;

	if (left < 2) {
		table_print(rows, columns, none);
		json_decref(groups);
		return;
	}
	json_object_foreach(groups, name, group) {
		print_group(name, group, columns);
		if (--left)
			putchar('\n');
	}
	json_decref(groups);
}

/* ---- single objects ---- */

static unsigned titles_width(const struct column *columns)
{
	unsigned width = 0;

	for (const struct column *c = columns; c->title; c++) {
		unsigned n = text_width(c->title);

		width = n > width ? n : width;
	}
	return width;
}

void table_print_object(const json_t *object, const struct column *columns)
{
	unsigned width = titles_width(columns);

	for (const struct column *c = columns; c->title; c++) {
		char *text = c->cell ? c->cell(object, c->key) : NULL;

		if (text) {
			text_print(c->title, COLOUR_HEAD, width + GAP, false);
			text_print(text, c->colour ? c->colour(object) : COLOUR_NONE, 0, false);
		}
		if (text || !c->cell)
			putchar('\n');
		free(text);
	}
}
