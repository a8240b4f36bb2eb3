/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* The other screen, without a cursor, and back. */
#define SCREEN_ON  "\033[?1049h\033[?25l"
#define SCREEN_OFF "\033[?25h\033[?1049l"
#define HOME	   "\033[H"
#define CLEAR_LINE "\033[0m\033[K"
#define CLEAR_REST "\033[J"

static struct termios before;
static volatile sig_atomic_t entered;

/* ---- in and out; both may run in a signal handler ---- */

static void write_all(const char *text)
{
	/* Nobody is left to tell when this fails. */
	if (write(STDOUT_FILENO, text, strlen(text)) < 0)
		return;
}

static void take_over(void)
{
	struct termios raw = before;

	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
	write_all(SCREEN_ON);
	entered = true;
}

void terminal_leave(void)
{
	if (!entered)
		return;
	entered = false;
	write_all(SCREEN_OFF);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
}

/* ---- signals ---- */

/* As if it had not been caught, once the terminal is in order. */
static void on_end(int signo)
{
	terminal_leave();
	raise(signo); /* its action is the default one again */
}

static void on_stop(int signo)
{
	int e = errno;

	terminal_leave();
	raise(SIGSTOP);
	take_over();
	errno = e;
}

/* Only there to end a wait. */
static void on_resize(int signo)
{
}

static void catch_signals(void)
{
	static const int ends[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGPIPE,
				   SIGSEGV, SIGBUS,  SIGABRT, SIGFPE,  SIGILL};
	struct sigaction end = {.sa_handler = on_end, .sa_flags = SA_RESETHAND};
	struct sigaction stop = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
	struct sigaction resize = {.sa_handler = on_resize};

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		sigaction(ends[i], &end, NULL);
	sigaction(SIGTSTP, &stop, NULL);
	sigaction(SIGWINCH, &resize, NULL);
}

bool terminal_enter(void)
{
	if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &before))
		return false;
	catch_signals();
	atexit(terminal_leave);
	take_over();
	return true;
}

/* ---- drawing ---- */

struct terminal_size terminal_size(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row || !size.ws_col)
		return (struct terminal_size){24, 80};
	return (struct terminal_size){size.ws_row, size.ws_col};
}

/* Bytes of the line that fit into so many columns; colours take none. */
static size_t fitting(const char *line, size_t len, unsigned columns)
{
	unsigned n = 0;

	for (size_t i = 0; i < len; i++) {
		if (line[i] == '\033') {
			while (i + 1 < len && line[i] != 'm')
				i++;
			continue;
		}
		n += (line[i] & 0xc0) != 0x80;
		if (n > columns)
			return i;
	}
	return len;
}

void terminal_draw(const char *text, size_t len)
{
	struct terminal_size size = terminal_size();
	const char *end = text + len;

	fputs(HOME, stdout);
	for (unsigned row = 0; row < size.rows && text < end; row++) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((newline ? newline : end) - text);

		if (row)
			fputs("\r\n", stdout);
		fwrite(text, 1, fitting(text, n, size.columns), stdout);
		fputs(CLEAR_LINE, stdout);
		text += n + 1;
	}
	fputs(CLEAR_REST, stdout);
	fflush(stdout);
}

/* ---- keys ---- */

/* Read and not taken yet: several may come at once. */
static struct {
	char bytes[64];
	size_t n;
} keys;

static int take_key(size_t n, int key)
{
	keys.n -= n;
	memmove(keys.bytes, keys.bytes + n, keys.n);
	return key;
}

/* Arrows are an escape, a bracket or an O, and a letter. */
static int next_key(void)
{
	const char *k = keys.bytes;

	if (keys.n >= 3 && k[0] == '\033' && (k[1] == '[' || k[1] == 'O')) {
		if (k[2] == 'A')
			return take_key(3, KEY_UP);
		return take_key(3, k[2] == 'B' ? KEY_DOWN : KEY_NONE);
	}
	return take_key(1, (unsigned char)k[0]);
}

int terminal_key(int ms)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
	ssize_t n;

	if (keys.n)
		return next_key();
	if (poll(&in, 1, ms) <= 0)
		return KEY_NONE;
	n = read(STDIN_FILENO, keys.bytes, sizeof(keys.bytes));
	if (n <= 0)
		return n < 0 && errno == EINTR ? KEY_NONE : KEY_END;
	keys.n = (size_t)n;
	return next_key();
}
