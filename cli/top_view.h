/* SPDX-License-Identifier: Apache-2.0 */
/* What nvmegw top shows: rates as text. */
#ifndef CLI_TOP_VIEW_H
#define CLI_TOP_VIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct top_view {
	size_t sort; /* in the table of keys */
	bool reversed;
	size_t first; /* path at the top of the list */
	double delay; /* seconds between looks */
	size_t lines; /* of a screen; 0: as many as there are, and no keys */
};

/* The key that rows are sorted by; the same once more turns the order round. False: no such key. */
bool top_view_key(struct top_view *v, int key);
/* Prints a frame of what sample_rates() gave. */
void top_view_print(struct top_view *v, const json_t *rates);

#endif
