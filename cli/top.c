/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A few escape sequences that every terminal of the last decades knows are all that is needed here,
 * so there is no curses: it would be a second way to put text on a terminal beside the one of the
 * tables, and larger than what it replaced.
 */
#include "cli/top.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/client.h"
#include "cli/complain.h"
#include "cli/terminal.h"
#include "cli/top_sample.h"
#include "cli/top_view.h"

#define DELAY_MIN 0.1 /* seconds */
#define DELAY_MAX 3600.0

struct top {
	const struct options *o;
	struct client *client;
	struct top_view view;
	unsigned long left; /* frames; ULONG_MAX: no end */
	struct sample last;
	json_t *rates; /* since the one before */
};

/* ---- options ---- */

static double delay_of(const struct options *o)
{
	const char *value = o->value[OPTION_DELAY];
	double delay;
	char *end;

	if (!value)
		return 1;
	delay = strtod(value, &end);
	if (end == value || *end || !(delay >= DELAY_MIN && delay <= DELAY_MAX))
		bad_usage("--delay %s: %g to %g seconds are expected", value, DELAY_MIN, DELAY_MAX);
	return delay;
}

static unsigned long count_of(const struct options *o)
{
	const char *value = o->value[OPTION_FRAMES];
	unsigned long n;
	char *end;

	if (!value)
		return (unsigned long)-1;
	errno = 0;
	n = strtoul(value, &end, 10);
	if (errno || end == value || *end || *value == '-' || !n)
		bad_usage("--count %s: how often is expected, from 1 on", value);
	return n;
}

/* ---- looks ---- */

static int look(struct top *t)
{
	struct sample s;
	int status = sample_take(&s, t->client);

	if (status) {
		sample_free(&s);
		return status;
	}
	json_decref(t->rates);
	t->rates = t->last.ns ? sample_rates(&t->last, &s) : NULL;
	sample_free(&t->last);
	t->last = s;
	return 0;
}

/* ---- as lines ---- */

static void print_frame(struct top *t)
{
	if (t->o->output == OUTPUT_JSON) {
		json_dumpf(t->rates, stdout,
			   JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6));
		putchar('\n');
	} else {
		top_view_print(&t->view, t->rates);
		putchar('\n');
	}
}

static void rest(double seconds)
{
	struct timespec ts = {.tv_sec = (time_t)seconds};

	ts.tv_nsec = (long)((seconds - (double)ts.tv_sec) * 1e9);
	nanosleep(&ts, NULL);
}

static int run_batch(struct top *t)
{
	while (t->left--) {
		int status;

		rest(t->view.delay);
		status = look(t);
		if (status)
			return status;
		print_frame(t);
		if (fflush(stdout)) {
			complain("cannot write the result: %s", strerror(errno));
			return EXIT_REFUSED;
		}
	}
	return 0;
}

/* ---- on a screen ---- */

/*
 * Tables are printed to standard output, and a frame has to be cut to the screen: so it is caught
 * in memory first. glibc lets that variable be set.
 */
static void draw(struct top *t)
{
	FILE *terminal = stdout;
	char *text = NULL;
	size_t len = 0;

	if (!t->rates)
		return;
	t->view.lines = terminal_size().rows;
	stdout = open_memstream(&text, &len);
	if (!stdout)
		abort();
	top_view_print(&t->view, t->rates);
	fclose(stdout);
	stdout = terminal;
	terminal_draw(text, len);
	free(text);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* False: it is to end. */
static bool take_key(struct top *t, int key)
{
	switch (key) {
	case KEY_END:
	case 'q':
		return false;
	case KEY_UP:
		t->view.first -= t->view.first > 0;
		return true;
	case KEY_DOWN:
		t->view.first++;
		return true;
	default:
		top_view_key(&t->view, key);
		return true;
	}
}

static bool wait_for_keys(struct top *t)
{
	uint64_t until = now_ms() + (uint64_t)(t->view.delay * 1000), now;

	for (; (now = now_ms()) < until; draw(t))
		if (!take_key(t, terminal_key((int)(until - now))))
			return false;
	return true;
}

static int run_screen(struct top *t)
{
	while (t->left--) {
		int status;

		if (!wait_for_keys(t))
			return 0;
		status = look(t);
		if (status)
			return status;
		draw(t);
	}
	return 0;
}

/* ---- both ---- */

static int run(struct top *t)
{
	bool batch = t->o->value[OPTION_BATCH] || t->o->output == OUTPUT_JSON;
	int status = look(t);

	if (status)
		return status;
	if (batch)
		return run_batch(t);
	if (!terminal_enter()) {
		complain("top: no terminal; --batch prints instead");
		return EXIT_USAGE;
	}
	status = run_screen(t);
	terminal_leave();
	return status;
}

int top_run(const struct options *o, json_t *params)
{
	struct top t = {.o = o, .view.delay = delay_of(o), .left = count_of(o)};
	int status = EXIT_UNREACHABLE;

	json_decref(params);
	if (o->output == OUTPUT_CSV)
		bad_usage("top has several tables and therefore no CSV; --output json has all");
	t.client = client_open(o->socket);
	if (t.client) {
		status = run(&t);
		client_close(t.client);
	}
	sample_free(&t.last);
	json_decref(t.rates);
	return status;
}
