/* SPDX-License-Identifier: Apache-2.0 */
/* KEY=VALUE words as they would stand in the configuration. */
#ifndef CLI_PAIRS_H
#define CLI_PAIRS_H

#include <jansson.h>

/*
 * Sets a member of @o by the word. A value is a number, true or false where it looks like that, an
 * array, object or string where it begins as JSON writes those, and a string of what it is
 * otherwise. Ends the program when the word is no such pair.
 */
void pair_set(json_t *o, const char *word);

#endif
