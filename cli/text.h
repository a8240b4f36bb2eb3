/* SPDX-License-Identifier: Apache-2.0 */
/* Text to the terminal: safe, aligned, in colour where that is wanted. */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stdbool.h>

enum colour { COLOUR_NONE, COLOUR_GOOD, COLOUR_BAD, COLOUR_HEAD };

/* Columns that the text takes, one per character. */
unsigned text_width(const char *text);

/* 0: standard output is no terminal, or one that does not say. */
unsigned text_terminal_width(void);

/*
 * Prints @text in @colour, padded with spaces to @width columns. Control characters show as
 * question marks: some of the text is what peers said.
 */
void text_print(const char *text, enum colour colour, unsigned width, bool right);

/* Prints the byte, or a question mark for a control character. Returns what comes after it. */
const char *text_put_char(const char *c);

#endif
