/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/csv.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/complain.h"
#include "cli/member.h"
#include "cli/text.h"

/* ---- fields ---- */

static void put_quoted(const char *text)
{
	putchar('"');
	while (*text) {
		if (*text == '"')
			putchar('"');
		text = text_put_char(text);
	}
	putchar('"');
}

static void put_text(const char *text)
{
	bool plain = true;

	for (const char *c = text; *c; c++)
		plain &= *c > ' ' && *c < 0x7f && *c != '"' && *c != ',';
	if (plain)
		fputs(text, stdout);
	else
		put_quoted(text);
}

static void put_value(const json_t *v)
{
	const json_t *item;
	size_t i;

	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_STRING:
		put_text(json_string_value(v));
		break;
	case JSON_INTEGER:
		printf("%" JSON_INTEGER_FORMAT, json_integer_value(v));
		break;
	case JSON_REAL:
		printf("%.15g", json_real_value(v));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		fputs(json_is_true(v) ? "true" : "false", stdout);
		break;
	case JSON_ARRAY:
		json_array_foreach((json_t *)v, i, item) {
			fputs(i ? " " : "", stdout);
			put_value(item);
		}
		break;
	default:
		break;
	}
}

/* ---- columns ---- */

static bool is_column(const json_t *schema)
{
	if (says(schema, "type", "array"))
		return is_column(json_object_get(schema, "items"));
	return !says(schema, "type", "object");
}

static json_t *columns_of(const json_t *schema)
{
	json_t *columns = json_object(), *its;
	const char *name;

	if (says(schema, "type", "array"))
		schema = json_object_get(schema, "items");
	json_object_foreach(json_object_get(schema, "properties"), name, its)
		if (is_column(its))
			json_object_set(columns, name, its);
	return columns;
}

static const json_t *result_schema(const json_t *methods, const char *method)
{
	const json_t *m;
	size_t i;

	json_array_foreach((json_t *)methods, i, m)
		if (says(m, "method", method))
			return json_object_get(m, "result");
	return NULL;
}

static void print_header(const struct csv *csv)
{
	const char *comma = "", *name;
	json_t *schema;

	json_object_foreach(csv->columns, name, schema) {
		printf("%s%s", comma, name);
		comma = ",";
	}
	putchar('\n');
}

int csv_begin(struct csv *csv, struct client *c, const char *method, const char *rows)
{
	int status = client_ask(c, "method.list", json_object(), &csv->methods);
	const json_t *schema;

	if (status)
		return status;
	schema = result_schema(csv->methods, method);
	if (rows)
		schema = json_object_get(json_object_get(schema, "properties"), rows);
	csv->columns = columns_of(schema);
	if (json_object_size(csv->columns)) {
		print_header(csv);
		return 0;
	}
	complain("%s has no columns that are always the same, and therefore no CSV; --output json "
		 "has all",
		 method);
	csv_end(csv);
	return EXIT_USAGE;
}

static void print_row(const struct csv *csv, const json_t *row)
{
	const char *comma = "", *name;
	json_t *schema;

	json_object_foreach(csv->columns, name, schema) {
		fputs(comma, stdout);
		put_value(json_object_get(row, name));
		comma = ",";
	}
	putchar('\n');
}

void csv_print(const struct csv *csv, const json_t *rows)
{
	const json_t *row;
	size_t i;

	if (!json_is_array(rows))
		print_row(csv, rows);
	json_array_foreach((json_t *)rows, i, row)
		print_row(csv, row);
}

void csv_end(struct csv *csv)
{
	json_decref(csv->columns);
	json_decref(csv->methods);
	*csv = (struct csv){0};
}
