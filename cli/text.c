/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char *const start[] = {
	[COLOUR_NONE] = "",
	[COLOUR_GOOD] = "\033[32m",
	[COLOUR_BAD] = "\033[31m",
	[COLOUR_HEAD] = "\033[1m",
};

/* See no-color.org. */
static bool in_colour(void)
{
	const char *no = getenv("NO_COLOR");

	return !(no && *no) && isatty(STDOUT_FILENO);
}

unsigned text_terminal_width(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) ? 0 : size.ws_col;
}

/* In UTF-8 every byte but those that go on with a character begins one. */
static bool begins(char c)
{
	return (c & 0xc0) != 0x80;
}

unsigned text_width(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += begins(*text);
	return n;
}

/* C0, DEL, and C1 as UTF-8 encodes it. */
static bool is_control(const char *c)
{
	unsigned char first = (unsigned char)c[0], second = (unsigned char)c[1];

	return first < ' ' || first == 0x7f || (first == 0xc2 && second < 0xa0);
}

const char *text_put_char(const char *c)
{
	if (!is_control(c)) {
		putchar(*c);
		return c + 1;
	}
	putchar('?');
	return c[1] && !begins(c[1]) ? c + 2 : c + 1;
}

static void put(const char *text)
{
	while (*text)
		text = text_put_char(text);
}

static void pad(unsigned n)
{
	printf("%*s", (int)n, "");
}

void text_print(const char *text, enum colour colour, unsigned width, bool right)
{
	unsigned own = text_width(text), spaces = width > own ? width - own : 0;
	bool coloured = colour != COLOUR_NONE && in_colour();

	if (right)
		pad(spaces);
	fputs(coloured ? start[colour] : "", stdout);
	put(text);
	fputs(coloured ? "\033[0m" : "", stdout);
	if (!right)
		pad(spaces);
}
