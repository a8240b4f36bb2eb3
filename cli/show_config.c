/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations, and what has been or would be changed. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/member.h"
#include "cli/show.h"

/* As it stands in a file; what peers said may be in it, hence ASCII. */
static void print_value(const json_t *value)
{
	char *text =
		json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));

	fputs(text ? text : "?", stdout);
	free(text);
}

static void print_key(const json_t *key, bool first)
{
	printf("%s %s ", first ? ":" : ",", text_of(key, "key"));
	print_value(json_object_get(key, "from"));
	printf(" -> ");
	print_value(json_object_get(key, "to"));
	if (!says(key, "takes", "nothing"))
		printf(" (%s)", text_of(key, "takes"));
}

/* The subsystem goes without saying when it is the name. */
static void print_name(const json_t *change)
{
	const char *what = text_of(change, "what"), *subsystem = text_of(change, "subsystem");

	if (says(change, "change", "moved"))
		printf("the order of the %s", what);
	else
		printf("%s", what);
	if (*text_of(change, "name")) {
		putchar(' ');
		text_print(text_of(change, "name"), COLOUR_NONE, 0, false);
	}
	if (*subsystem && strcmp(what, "subsystem"))
		printf(" of %s", subsystem);
}

static void print_change(const json_t *change)
{
	const json_t *keys = json_object_get(change, "keys"), *key;
	size_t i;

	printf("%c ", says(change, "change", "added")	  ? '+'
		      : says(change, "change", "removed") ? '-'
							  : '~');
	print_name(change);
	json_array_foreach((json_t *)keys, i, key)
		print_key(key, i == 0);
	if (!json_array_size(keys) && says(change, "takes", "a restart"))
		printf(" (a restart)");
	putchar('\n');
}

static size_t print_changes(const json_t *result)
{
	const json_t *changes = json_object_get(result, "changes"), *change;
	size_t i;

	json_array_foreach((json_t *)changes, i, change)
		print_change(change);
	return json_array_size(changes);
}

void show_config_check(const json_t *result)
{
	printf("%s: ok\n", text_of(result, "file"));
}

void show_config_diff(const json_t *result)
{
	if (!print_changes(result))
		printf("%s: it is what runs\n", text_of(result, "file"));
	else if (is(result, "restart"))
		printf("%s: it takes a restart, and \"nvmegw config apply\" refuses it\n",
		       text_of(result, "file"));
}

static void print_notes(const json_t *result)
{
	const json_t *notes = json_object_get(result, "notes"), *note;
	size_t i;

	json_array_foreach((json_t *)notes, i, note) {
		text_print(json_string_value(note), COLOUR_NONE, 0, false);
		putchar('\n');
	}
}

void show_config_apply(const json_t *result)
{
	if (!print_changes(result))
		printf("%s: it is what runs already\n", text_of(result, "file"));
	print_notes(result);
}

void show_config_edit(const json_t *result)
{
	print_changes(result);
	print_notes(result);
	puts("\"nvmegw config save\" keeps it for the next start");
}

void show_config(const json_t *result)
{
	json_dumpf(result, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));
	putchar('\n');
}

void show_config_save(const json_t *result)
{
	printf("%s: written", text_of(result, "file"));
	if (!is_null(result, "backup"))
		printf("; what it was is in %s", text_of(result, "backup"));
	putchar('\n');
}
