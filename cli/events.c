/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/events.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/complain.h"
#include "cli/member.h"
#include "cli/show.h"

/* ---- output ---- */

static void print_line(const json_t *o)
{
	json_dumpf(o, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
	putchar('\n');
}

static void print_event(const struct options *o, const json_t *event)
{
	if (o->output == OUTPUT_JSON)
		print_line(event);
	else
		show_event(event);
}

static void print_lost(const struct options *o, const json_t *lost)
{
	if (o->output == OUTPUT_JSON)
		print_line(lost);
	else
		complain("%d events are lost: they came faster than they were taken",
			 (int)number_of(lost, "lost"));
}

static void print_notification(const struct options *o, const json_t *line)
{
	const json_t *params = json_object_get(line, "params");

	if (says(line, "method", "event"))
		print_event(o, params);
	else if (says(line, "method", "events.lost"))
		print_lost(o, params);
}

/* ---- waiting ---- */

/* Readable once somebody wants the end. */
static int signals_open(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		abort();
	return fd;
}

enum wait { WAIT_MORE, WAIT_END, WAIT_FAILED };

/* The end is wanted when somebody says so, or when whoever reads what is printed has had enough. */
static enum wait wait_for_more(const struct client *c, int signals)
{
	struct pollfd fds[] = {
		{.fd = client_fd(c), .events = POLLIN},
		{.fd = signals, .events = POLLIN},
		{.fd = STDOUT_FILENO}, /* for the end of a pipe alone */
	};

	if (fflush(stdout))
		return errno == EPIPE ? WAIT_END : WAIT_FAILED;
	if (poll(fds, 3, -1) < 0)
		return errno == EINTR ? WAIT_MORE : WAIT_FAILED;
	return fds[1].revents || fds[2].revents & POLLERR ? WAIT_END : WAIT_MORE;
}

static int follow(const struct options *o, struct client *c, int signals)
{
	json_t *line;

	for (;;) {
		while ((line = client_line(c))) {
			print_notification(o, line);
			json_decref(line);
		}
		switch (wait_for_more(c, signals)) {
		case WAIT_END:
			return 0;
		case WAIT_FAILED:
			complain("cannot write the events: %s", strerror(errno));
			return EXIT_REFUSED;
		case WAIT_MORE:
			break;
		}
		if (!client_hear(c)) {
			complain("the daemon at %s has gone", o->socket);
			return EXIT_UNREACHABLE;
		}
	}
}

static int subscribe(const struct options *o, struct client *c, json_t *params)
{
	json_t *result, *event;
	int status = client_ask(c, "events.subscribe", params, &result);
	size_t i;

	if (status)
		return status;
	json_array_foreach(json_object_get(result, "events"), i, event)
		print_event(o, event);
	json_decref(result);
	return 0;
}

int events_run(const struct options *o, json_t *params)
{
	struct client *c = client_open(o->socket);
	int status, signals;

	if (!c) {
		json_decref(params);
		return EXIT_UNREACHABLE;
	}
	status = subscribe(o, c, params);
	if (!status) {
		signals = signals_open();
		status = follow(o, c, signals);
		close(signals);
	}
	client_close(c);
	return status;
}
