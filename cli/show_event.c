/* SPDX-License-Identifier: Apache-2.0 */
/* One event as a line for people. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cell.h"
#include "cli/member.h"
#include "cli/show.h"

#define TYPE_WIDTH 19 /* of "host.disconnected", and a gap */

static char *of_path(const json_t *e)
{
	char *nsid = cell_text(e, "nsid"), *s;

	if (says(e, "type", "path.ana"))
		s = format("%s: ANA state %s", text_of(e, "path"), text_of(e, "ana_state"));
	else if (says(e, "type", "path.admin"))
		s = format("%s: %s, weight %d", text_of(e, "path"), text_of(e, "admin"),
			   (int)number_of(e, "weight"));
	else
		s = format("%s of namespace %s: %s", text_of(e, "path"), nsid, text_of(e, "state"));
	free(nsid);
	return s;
}

static char *of_namespace(const json_t *e)
{
	return format("%d of %s: %s, %d usable paths, %" JSON_INTEGER_FORMAT " blocks of %d bytes",
		      (int)number_of(e, "nsid"), text_of(e, "subsystem"), text_of(e, "ana_state"),
		      (int)number_of(e, "usable_paths"), number_of(e, "blocks"),
		      (int)number_of(e, "block_size"));
}

static char *of_upstream(const json_t *e)
{
	return format("%s: %s", text_of(e, "upstream"), text_of(e, "state"));
}

static char *of_host(const json_t *e)
{
	return format("%s from %s, controller %d of %s", text_of(e, "hostnqn"), text_of(e, "peer"),
		      (int)number_of(e, "cntlid"), text_of(e, "subsystem"));
}

static char *of_policy(const json_t *e)
{
	if (is_null(e, "nsid"))
		return format("%s for every namespace of %s", text_of(e, "policy"),
			      text_of(e, "subsystem"));
	return format("%s for namespace %d of %s", text_of(e, "policy"), (int)number_of(e, "nsid"),
		      text_of(e, "subsystem"));
}

static char *of_config(const json_t *e)
{
	if (says(e, "type", "config.refused"))
		return format("%s", text_of(e, "file"));
	return format("%s, %d changes", text_of(e, "file"), (int)number_of(e, "changes"));
}

static char *of_daemon(const json_t *e)
{
	return format("nvmegwd %s", text_of(e, "version"));
}

/* By what comes before the dot. */
static const struct {
	const char *group;
	char *(*say)(const json_t *event);
} groups[] = {
	{"path.", of_path},	{"namespace.", of_namespace}, {"upstream.", of_upstream},
	{"host.", of_host},	{"policy.", of_policy},	      {"config.", of_config},
	{"daemon.", of_daemon},
};

void show_event(const json_t *event)
{
	const char *type = text_of(event, "type"), *reason = text_of(event, "reason");

	text_print(text_of(event, "time"), COLOUR_NONE, 0, false);
	printf("  ");
	text_print(type, COLOUR_HEAD, TYPE_WIDTH, false);
	for (unsigned i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		char *text;

		if (strncmp(type, groups[i].group, strlen(groups[i].group)))
			continue;
		text = groups[i].say(event);
		text_print(text, COLOUR_NONE, 0, false);
		free(text);
	}
	if (*reason) {
		printf(": ");
		text_print(reason, COLOUR_NONE, 0, false);
	}
	putchar('\n');
}
