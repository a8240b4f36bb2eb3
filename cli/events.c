/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/events.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/complain.h"
#include "cli/csv.h"
#include "cli/member.h"
#include "cli/show.h"

/* ---- output ---- */

static void print_line(const json_t *o)
{
	json_dumpf(o, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
	putchar('\n');
}

struct watch {
	const struct options *o;
	struct client *client;
	struct csv csv;
};

static void print_event(const struct watch *w, const json_t *event)
{
	switch (w->o->output) {
	case OUTPUT_CSV:
		csv_print(&w->csv, event);
		break;
	case OUTPUT_JSON:
		print_line(event);
		break;
	default:
		show_event(event);
	}
}

static void print_lost(const struct watch *w, const json_t *lost)
{
	if (w->o->output == OUTPUT_JSON)
		print_line(lost);
	else
		complain("%d events are lost: they came faster than they were taken",
			 (int)number_of(lost, "lost"));
}

static void print_notification(const struct watch *w, const json_t *line)
{
	const json_t *params = json_object_get(line, "params");

	if (says(line, "method", "event"))
		print_event(w, params);
	else if (says(line, "method", "events.lost"))
		print_lost(w, params);
}

/* ---- waiting ---- */

/*
 * Somebody wants the end. At once, as it may be in the middle of writing to a pipe that nobody
 * reads; what has been printed of whole events was flushed.
 */
static void on_signal(int number)
{
	_exit(0);
}

static void set_signals(void)
{
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGPIPE, SIG_IGN);
}

enum wait { WAIT_MORE, WAIT_END, WAIT_FAILED };

/* The end is wanted when whoever reads what is printed has had enough. */
static enum wait wait_for_more(const struct client *c)
{
	struct pollfd fds[] = {
		{.fd = client_fd(c), .events = POLLIN},
		{.fd = STDOUT_FILENO}, /* for the end of a pipe alone */
	};

	if (fflush(stdout))
		return errno == EPIPE ? WAIT_END : WAIT_FAILED;
	if (poll(fds, 2, -1) < 0)
		return errno == EINTR ? WAIT_MORE : WAIT_FAILED;
	return fds[1].revents & POLLERR ? WAIT_END : WAIT_MORE;
}

static int follow(const struct watch *w)
{
	json_t *line;

	for (;;) {
		while ((line = client_line(w->client))) {
			print_notification(w, line);
			json_decref(line);
		}
		switch (wait_for_more(w->client)) {
		case WAIT_END:
			return 0;
		case WAIT_FAILED:
			complain("cannot write the events: %s", strerror(errno));
			return EXIT_REFUSED;
		case WAIT_MORE:
			break;
		}
		if (!client_hear(w->client)) {
			complain("the daemon at %s has gone", w->o->socket);
			return EXIT_UNREACHABLE;
		}
	}
}

static int subscribe(const struct watch *w, json_t *params)
{
	json_t *result, *event;
	int status = client_ask(w->client, "events.subscribe", params, &result);
	size_t i;

	if (status)
		return status;
	/* Also to a script, which would miss what it makes happen before. */
	complain("listening for events");
	json_array_foreach(json_object_get(result, "events"), i, event)
		print_event(w, event);
	json_decref(result);
	return 0;
}

/* Takes over @params. */
static int watch(const struct watch *w, json_t *params)
{
	int status = subscribe(w, params);

	return status ? status : follow(w);
}

int events_run(const struct options *o, json_t *params)
{
	struct watch w = {.o = o, .client = client_open(o->socket)};
	int status = w.client ? 0 : EXIT_UNREACHABLE;

	set_signals();
	if (!status && o->output == OUTPUT_CSV)
		status = csv_begin(&w.csv, w.client, "events.subscribe", "events");
	if (!status)
		status = watch(&w, json_incref(params));
	json_decref(params);
	csv_end(&w.csv);
	if (w.client)
		client_close(w.client);
	return status;
}
