/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal as a screen to draw on with keys that are read one by one. However the program ends,
 * the terminal is what it was: at exit, by any signal that can be caught, and when it is stopped.
 */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

/* False: standard input and output are not both a terminal. */
bool terminal_enter(void);
/* Nothing happens when it has not been entered. */
void terminal_leave(void);

struct terminal_size {
	unsigned rows, columns;
};
struct terminal_size terminal_size(void);

/* Puts the text there, a line of it in a line of the screen, cut to what fits. */
void terminal_draw(const char *text, size_t len);

enum key { KEY_NONE, KEY_UP = 256, KEY_DOWN, KEY_END };
/*
 * Waits up to @ms for a key: its character, KEY_UP or KEY_DOWN; KEY_NONE: none has come, or the
 * screen has to be drawn anew; KEY_END: none will come any more.
 */
int terminal_key(int ms);

#endif
