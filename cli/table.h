/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of JSON objects. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <jansson.h>
#include <stdbool.h>

#include "cli/cell.h"
#include "cli/text.h"

struct column {
	const char *title;
	const char *key;
	cell_fn cell;
	bool right;
	enum colour (*colour)(const json_t *row);
};

/*
 * Columns end with one without a title. An empty list says @none. On a terminal that is too narrow
 * for a row its last cell, when it is text, goes on a line of its own.
 */
void table_print(const json_t *rows, const struct column *columns, const char *none);

/* A table for each value of the member @key, under that value when there are several. */
void table_print_by(const json_t *rows, const char *key, const struct column *columns,
		    const char *none);

/*
 * One object, a column a line. Those whose cells are NULL are left out; one without a function for
 * its cell is an empty line.
 */
void table_print_object(const json_t *object, const struct column *columns);

#endif
