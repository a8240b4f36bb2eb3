/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/top_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/member.h"
#include "cli/show.h"
#include "cli/table.h"
#include "cli/units.h"

/* ---- order ---- */

static const struct sort {
	char key;
	const char *name;
	const char *members[2]; /* numbers of which the sum counts; NULL: the name */
} sorts[] = {
	{'i', "iops", {"iops"}},
	{'b', "bandwidth", {"read_bytes_per_second", "write_bytes_per_second"}},
	{'m', "mean", {"mean_latency_us"}},
	{'9', "99th", {"p99_latency_us"}},
	{'f', "in flight", {"inflight"}},
	{'n', "name", {NULL}},
};
#define SORTS (sizeof(sorts) / sizeof(sorts[0]))

bool top_view_key(struct top_view *v, int key)
{
	for (size_t i = 0; i < SORTS; i++) {
		if (sorts[i].key != key)
			continue;
		v->reversed = v->sort == i && !v->reversed;
		v->sort = i;
		v->first = 0;
		return true;
	}
	return false;
}

struct row {
	const json_t *o;
	json_int_t value;
	size_t place; /* in the list as it came, which is by name */
};

/* The most first. */
static int compare(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->value != y->value)
		return x->value < y->value ? 1 : -1;
	return x->place < y->place ? -1 : 1;
}

static json_t *sorted(const struct top_view *v, const json_t *list)
{
	size_t n = json_array_size(list);
	struct row *rows = calloc(n + 1, sizeof(*rows));
	json_t *out = json_array();

	if (!rows)
		abort();
	for (size_t i = 0; i < n; i++) {
		rows[i] = (struct row){json_array_get(list, i), 0, i};
		for (unsigned m = 0; m < 2 && sorts[v->sort].members[m]; m++)
			rows[i].value += number_of(rows[i].o, sorts[v->sort].members[m]);
	}
	qsort(rows, n, sizeof(*rows), compare);
	for (size_t i = 0; i < n; i++)
		json_array_append(out, (json_t *)rows[v->reversed ? n - 1 - i : i].o);
	free(rows);
	return out;
}

/* ---- tables ---- */

static char *cell_rate(const json_t *row, const char *key)
{
	char *bytes = cell_bytes(row, key), *s = format("%s/s", bytes);

	free(bytes);
	return s;
}

static enum colour waiting_colour(const json_t *row)
{
	return number_of(row, "held") ? COLOUR_BAD : COLOUR_NONE;
}

#define WORK_COLUMNS                                                             \
	{"IOPS", "iops", cell_count, .right = true},                             \
		{"READ", "read_bytes_per_second", cell_rate, .right = true},     \
		{"WRITTEN", "write_bytes_per_second", cell_rate, .right = true}, \
		{"MEAN", "mean_latency_us", cell_latency, .right = true},        \
		{"P99", "p99_latency_us", cell_latency, .right = true},          \
	{                                                                        \
		"INFLIGHT", "inflight", cell_count, .right = true                \
	}

/* They begin with what is only there when there are several. */
static const struct column namespace_columns[] = {
	{.title = "SUBSYSTEM", .key = "subsystem", .cell = cell_text},
	{"NS", "nsid", cell_text, .right = true},
	{.title = "STATE", .key = "ana_state", .cell = cell_text},
	{"PATHS", "paths", cell_share, .right = true, .colour = show_paths_colour},
	WORK_COLUMNS,
	{"HELD", "held", cell_count, .right = true, .colour = waiting_colour},
	{"FENCED", "fenced", cell_count, .right = true},
	{0},
};

static const struct column path_columns[] = {
	{.title = "SUBSYSTEM", .key = "subsystem", .cell = cell_text},
	{.title = "PATH", .key = "path", .cell = cell_text},
	{"NS", "nsid", cell_text, .right = true},
	{"STATE", "state", cell_text, .colour = show_state_colour},
	WORK_COLUMNS,
	{0},
};

static json_t *part(const json_t *list, size_t first, size_t n)
{
	json_t *out = json_array();

	for (size_t i = first; i < first + n && i < json_array_size(list); i++)
		json_array_append(out, json_array_get(list, i));
	return out;
}

/* ---- the frame ---- */

static void print_keys(const struct top_view *v)
{
	printf("q quit, sort: ");
	for (size_t i = 0; i < SORTS; i++) {
		const char *order = v->reversed ? " (least first)" : " (most first)";
		bool chosen = i == v->sort;
		char *text = format("%c %s%s", sorts[i].key, sorts[i].name, chosen ? order : "");

		fputs(i ? ", " : "", stdout);
		text_print(text, chosen ? COLOUR_HEAD : COLOUR_NONE, 0, false);
		free(text);
	}
	putchar('\n');
}

static void print_head(const struct top_view *v, const json_t *rates)
{
	const json_t *total = json_object_get(rates, "total");
	char *iops = cell_count(total, "iops"), *read = cell_rate(total, "read_bytes_per_second");
	char *written = cell_rate(total, "write_bytes_per_second");
	char *mean = cell_latency(total, "mean_latency_us");
	char *p99 = cell_latency(total, "p99_latency_us");
	char clock[16];
	time_t t = time(NULL);
	struct tm tm;

	strftime(clock, sizeof(clock), "%T", localtime_r(&t, &tm));
	printf("nvmegw top  %s  every %g s\n", clock, v->delay);
	printf("%s IOPS, %s read, %s written, %s mean, %s 99th, %d in flight, %d held, %d "
	       "fenced\n",
	       iops, read, written, mean, p99, (int)number_of(total, "inflight"),
	       (int)number_of(total, "held"), (int)number_of(total, "fenced"));
	free(iops);
	free(read);
	free(written);
	free(mean);
	free(p99);
}

static bool several_subsystems(const json_t *paths)
{
	const char *first = text_of(json_array_get(paths, 0), "subsystem");
	const json_t *p;
	size_t i;

	json_array_foreach((json_t *)paths, i, p)
		if (!says(p, "subsystem", first))
			return true;
	return false;
}

/* @more: how many lines there would be besides. */
static void print_table(json_t *rows, const struct column *columns, const char *none, size_t more)
{
	putchar('\n');
	table_print(rows, columns, none);
	if (more)
		printf("and %zu more\n", more);
	json_decref(rows);
}

#define HEAD_LINES  3
#define TABLE_LINES 3 /* an empty one, the titles, how many more there are */

/* Paths get what namespaces leave, and these take a third at most. */
static size_t namespace_lines(const struct top_view *v, size_t n)
{
	size_t most = v->lines / 3 > TABLE_LINES ? v->lines / 3 - TABLE_LINES : 1;

	return v->lines && n > most ? most : n;
}

static size_t path_lines(const struct top_view *v, size_t namespaces, size_t n)
{
	size_t used = HEAD_LINES + TABLE_LINES + namespaces + TABLE_LINES;
	size_t most = v->lines > used ? v->lines - used : 1;

	return v->lines && n > most ? most : n;
}

void top_view_print(struct top_view *v, const json_t *rates)
{
	json_t *namespaces = sorted(v, json_object_get(rates, "namespaces"));
	json_t *paths = sorted(v, json_object_get(rates, "paths"));
	size_t nr_namespaces = json_array_size(namespaces), nr_paths = json_array_size(paths);
	size_t n = namespace_lines(v, nr_namespaces), p = path_lines(v, n, nr_paths);
	unsigned left_out = !several_subsystems(paths);

	if (v->first > nr_paths - p)
		v->first = nr_paths - p;
	print_head(v, rates);
	if (v->lines)
		print_keys(v);
	print_table(part(namespaces, 0, n), namespace_columns + left_out,
		    "There are no namespaces.", nr_namespaces - n);
	print_table(part(paths, v->first, p), path_columns + left_out, "There are no paths.",
		    nr_paths - p - v->first);
	json_decref(namespaces);
	json_decref(paths);
}
