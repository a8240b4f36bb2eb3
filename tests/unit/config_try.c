/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/config_try.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *try_said;
static struct gw_config *loaded;

void try_end(void)
{
	config_free(loaded);
	loaded = NULL;
	free(try_said);
	try_said = NULL;
}

static void write_file(char *name, const char *bytes, size_t len)
{
	int fd = mkstemp(name);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

/* Takes "NAME:" from the start of each line. */
static void strip(char *report, const char *name)
{
	size_t n = strlen(name);
	char *to = report;

	for (char *line = report, *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		assert_non_null(end);
		assert_memory_equal(line, name, n);
		assert_int_equal(line[n], ':');
		memmove(to, line + n + 1, (size_t)(end - line) - n);
		to += (size_t)(end - line) - n;
	}
	*to = '\0';
}

struct gw_config *try_bytes(const char *bytes, size_t len)
{
	char name[] = "/tmp/nvmegw-config-XXXXXX";
	size_t size;
	FILE *err;

	try_end();
	write_file(name, bytes, len);
	err = open_memstream(&try_said, &size);
	loaded = config_load(name, err);
	fclose(err);
	unlink(name);
	strip(try_said, name);
	/* Either all is well, or there is something to read. */
	assert_int_equal(!loaded, try_said[0] != '\0');
	return loaded;
}

struct gw_config *try_text(const char *text)
{
	return try_bytes(text, strlen(text));
}

struct gw_config *try_good(const char *text)
{
	try_text(text);
	assert_string_equal(try_said, "");
	assert_non_null(loaded);
	return loaded;
}

void try_refused(const char *text, const char *said)
{
	try_text(text);
	assert_string_equal(try_said, said);
	assert_null(loaded);
}

/* ---- one member at a time ---- */

static const struct {
	unsigned line;
	const char *path;
} places[] = {
	[TRY_LISTENER] = {2, "$.listeners[0]"},
	[TRY_SUBSYSTEM] = {3, "$.subsystems[0]"},
	[TRY_TCP] = {4, "$.subsystems[0].upstreams[0]"},
	[TRY_FILE] = {5, "$.subsystems[0].upstreams[1]"},
	[TRY_TOP] = {6, "$"},
};

char *try_with(enum try_place place, const char *key, const char *value)
{
	char *member[TRY_PLACES] = {"", "", "", "", ""}, *made = NULL, *text;

	if (key) {
		assert_true(asprintf(&made, ", \"%s\": %s", key, value) > 0);
		member[place] = made;
	}
	assert_true(asprintf(&text,
			     "{\"listeners\": [{\"transport\": \"tcp\", \"traddr\": \"127.0.0.1\"\n"
			     "%s}], \"subsystems\": [{\"nqn\": \"" TRY_NQN "\"\n"
			     "%s, \"upstreams\": [{\"transport\": \"tcp\", \"nqn\": \"" TRY_ARRAY
			     "\", \"traddr\": \"192.0.2.1\"\n"
			     "%s}, {\"transport\": \"file\", \"path\": \"/some/disk\"\n"
			     "%s}]}]\n"
			     "%s}\n",
			     member[TRY_LISTENER], member[TRY_SUBSYSTEM], member[TRY_TCP],
			     member[TRY_FILE], member[TRY_TOP]) > 0);
	free(made);
	return text;
}

struct gw_config *try_good_with(enum try_place place, const char *key, const char *value)
{
	char *text = try_with(place, key, value);
	struct gw_config *cfg = try_text(text);

	free(text);
	if (!cfg)
		fail_msg("%s: %s is refused: %s", key, value, try_said);
	return cfg;
}

void try_refused_with(enum try_place place, const char *key, const char *value, const char *message)
{
	const char *form = strchr(key, '-') ? "%u: %s[\"%s\"]: %s\n" : "%u: %s.%s: %s\n";
	char *text = try_with(place, key, value), *said;

	assert_true(asprintf(&said, form, places[place].line, places[place].path, key, message) >
		    0);
	try_refused(text, said);
	free(text);
	free(said);
}

void *try_struct(const struct gw_config *cfg, enum try_place place)
{
	struct subsys_cfg *ss = &cfg->subsystems[0];

	switch (place) {
	case TRY_LISTENER:
		return &cfg->listeners[0];
	case TRY_SUBSYSTEM:
		return ss;
	case TRY_TCP:
		return &ss->upstreams[0];
	case TRY_FILE:
		return &ss->upstreams[1];
	default:
		return (void *)cfg;
	}
}
