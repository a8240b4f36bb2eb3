/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/replace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What names are made from others by. */
#define TEMP_SUFFIX ".tmp"

static int write_all(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left) {
		ssize_t n = write(fd, text, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		left -= (size_t)n;
	}
	return fsync(fd) ? -errno : 0;
}

/*
 * An owner can only be given by root, a group by its members: where it cannot be, the mode decides
 * who may do what with the file, and that is kept.
 */
static int keep_attributes(int fd, const struct stat *old)
{
	struct stat made;

	if (fstat(fd, &made))
		return -errno;
	if (made.st_uid != old->st_uid && fchown(fd, old->st_uid, (gid_t)-1) && errno != EPERM)
		return -errno;
	if (made.st_gid != old->st_gid && fchown(fd, (uid_t)-1, old->st_gid) && errno != EPERM)
		return -errno;
	return fchmod(fd, old->st_mode & 0777) ? -errno : 0;
}

static int write_temp(int dirfd, const char *temp, const struct stat *old, const char *text)
{
	int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
	int fd = openat(dirfd, temp, flags, old ? 0600 : 0644);
	int e;

	if (fd < 0)
		return -errno;
	e = old ? keep_attributes(fd, old) : 0;
	if (!e)
		e = write_all(fd, text);
	if (close(fd) && !e)
		e = -errno;
	return e;
}

/* A second name for the old file; in two steps, so that the one before it is there until then. */
static int keep_old(int dirfd, const char *name, const char *temp, const char *backup)
{
	if (unlinkat(dirfd, temp, 0) && errno != ENOENT)
		return -errno;
	if (linkat(dirfd, name, dirfd, temp, 0) || renameat(dirfd, temp, dirfd, backup))
		return -errno;
	unlinkat(dirfd, temp, 0); /* it is still there when the backup was that file already */
	return 0;
}

static bool make_name(char *to, const char *name)
{
	return snprintf(to, NAME_MAX + 1, "%s" TEMP_SUFFIX, name) <= NAME_MAX;
}

int replace_file(int dirfd, const char *name, const char *text, const char *backup)
{
	char temp[NAME_MAX + 1], backup_temp[NAME_MAX + 1];
	struct stat old;
	bool is_there = !fstatat(dirfd, name, &old, AT_SYMLINK_NOFOLLOW);
	bool is_file = is_there && S_ISREG(old.st_mode);
	int e;

	if (!is_there && errno != ENOENT)
		return -errno;
	if (!make_name(temp, name) || (backup && !make_name(backup_temp, backup)))
		return -ENAMETOOLONG;
	e = write_temp(dirfd, temp, is_file ? &old : NULL, text);
	if (!e && is_there && backup)
		e = keep_old(dirfd, name, backup_temp, backup);
	if (!e && renameat(dirfd, temp, dirfd, name))
		e = -errno;
	if (e) {
		unlinkat(dirfd, temp, 0);
		return e;
	}
	/* The new name is not there for good before the folder is on disk too. */
	return fsync(dirfd) ? -errno : 0;
}
