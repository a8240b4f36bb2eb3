/* SPDX-License-Identifier: Apache-2.0 */
/* The state folder and its file, as a whole: what is in it is state.c's business. */
#ifndef GATEWAY_STATE_FILE_H
#define GATEWAY_STATE_FILE_H

#include <jansson.h>
#include <stdbool.h>

#define STATE_FILE "nsids.json"

struct state_dir {
	const char *path;
	int fd, lock; /* -1: closed */
};

/* Makes the folder if it is missing, and locks it. False after logging why not. */
bool state_dir_open(struct state_dir *d, const char *path);
void state_dir_close(struct state_dir *d);

/* *doc: the file's contents, NULL when there is no file. False after logging what is wrong. */
bool state_file_read(const struct state_dir *d, json_t **doc);
/* What to do about a damaged file, as a log line. */
void state_file_damaged(const struct state_dir *d, const char *what);
/*
 * Replaces the file: after a crash at any moment there is the old one or the new one. Blocks on the
 * disk, any thread. Returns 0 or -errno.
 */
int state_file_write(const struct state_dir *d, const char *text);

#endif
