/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/replace_file.h"
#include "transport/log.h"

#define LOCK_FILE "lock"

/* ---- the folder ---- */

/* On a file system that has become read-only, service goes on with what is there. */
static int open_lock(int dirfd)
{
	int fd = openat(dirfd, LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 && errno == EROFS)
		fd = openat(dirfd, LOCK_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd;
}

static bool take_lock(struct state_dir *d)
{
	d->lock = open_lock(d->fd);
	if (d->lock < 0) {
		log_err("%s/" LOCK_FILE ": %s; \"state_dir\" must be a folder that the daemon may "
			"write to",
			d->path, strerror(errno));
		return false;
	}
	if (!flock(d->lock, LOCK_EX | LOCK_NB))
		return true;
	if (errno == EWOULDBLOCK)
		log_err("%s: in use by a running nvmegwd; stop that one, or give this one another "
			"\"state_dir\"",
			d->path);
	else
		log_err("%s/" LOCK_FILE ": cannot be locked: %s", d->path, strerror(errno));
	return false;
}

/* A new folder is only there after a crash if the one around it is on disk too. */
static int sync_parent(int dirfd)
{
	int fd = openat(dirfd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC), e;

	if (fd < 0)
		return -errno;
	e = fsync(fd) ? -errno : 0;
	close(fd);
	return e;
}

static bool open_dir(struct state_dir *d)
{
	bool made = !mkdir(d->path, 0755);
	int e;

	if (!made && errno != EEXIST) {
		log_err("%s: cannot be made: %s; make it by hand, or set another \"state_dir\"",
			d->path, strerror(errno));
		return false;
	}
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->fd < 0) {
		log_err("%s: %s; \"state_dir\" must be a folder", d->path, strerror(errno));
		return false;
	}
	e = made ? sync_parent(d->fd) : 0;
	if (e)
		log_err("%s: made, but not for good: %s", d->path, strerror(-e));
	return !e;
}

bool state_dir_open(struct state_dir *d, const char *path)
{
	*d = (struct state_dir){.path = path, .fd = -1, .lock = -1};
	if (open_dir(d) && take_lock(d))
		return true;
	state_dir_close(d);
	return false;
}

void state_dir_close(struct state_dir *d)
{
	if (d->fd >= 0)
		close(d->fd);
	if (d->lock >= 0)
		close(d->lock);
	d->fd = d->lock = -1;
}

/* ---- the file ---- */

void state_file_damaged(const struct state_dir *d, const char *what)
{
	log_err("%s/" STATE_FILE
		": %s; it holds the NSIDs of all namespaces, so nothing is started "
		"without it. Restore it from a backup, or remove it if hosts may see namespaces "
		"under other NSIDs",
		d->path, what);
}

bool state_file_read(const struct state_dir *d, json_t **doc)
{
	int fd = openat(d->fd, STATE_FILE, O_RDONLY | O_CLOEXEC);
	json_error_t e;
	char what[256];

	*doc = NULL;
	if (fd < 0 && errno == ENOENT)
		return true;
	if (fd < 0) {
		state_file_damaged(d, strerror(errno));
		return false;
	}
	*doc = json_loadfd(fd, JSON_REJECT_DUPLICATES, &e);
	close(fd);
	if (*doc)
		return true;
	snprintf(what, sizeof(what), "line %d: %s", e.line, e.text);
	state_file_damaged(d, what);
	return false;
}

int state_file_write(const struct state_dir *d, const char *text)
{
	return replace_file(d->fd, STATE_FILE, text, NULL);
}
