/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Results as comma-separated values (RFC 4180, but for lines that end as usual here): a header with
 * the names of the members, and a row for each object. What is no single value is left out, but for
 * lists of such, which are one with spaces between.
 */
#ifndef CLI_CSV_H
#define CLI_CSV_H

#include <jansson.h>

#include "cli/client.h"

struct csv {
	json_t *methods; /* owns what the columns are of */
	json_t *columns; /* name: schema */
};

/**
 * csv_begin() - print the header for what @method gives
 * @rows: the member of its result that has the rows; NULL: the result itself
 *
 * It is the daemon's schema that says which columns there are, so that they are the same whatever
 * the rows are. 0, or an exit status when there is no CSV: then it has been said why.
 */
int csv_begin(struct csv *csv, struct client *c, const char *method, const char *rows);
/* One row, or one for each element of an array. */
void csv_print(const struct csv *csv, const json_t *rows);
void csv_end(struct csv *csv);

#endif
