/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/replace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What names are made from others by. */
#define TEMP_SUFFIX ".tmp"

struct text {
	const char *bytes;
	size_t len;
};

static int write_all(int fd, struct text t)
{
	while (t.len) {
		ssize_t n = write(fd, t.bytes, t.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		t.bytes += n;
		t.len -= (size_t)n;
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

static int write_temp(int dirfd, const char *temp, const struct stat *old, struct text text)
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

/* The @size bytes that there were when it was looked at. */
static int read_all(int fd, char *text, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, text + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ESTALE; /* it has become shorter */
		len += (size_t)n;
	}
	return 0;
}

/*
 * A copy and no second name for the same file: that is only given to whoever may write to it
 * (fs.protected_hardlinks), and the file may be root's.
 */
static int keep_old(int dirfd, const char *name, const struct stat *old, const char *temp,
		    const char *backup)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), e;
	size_t size = (size_t)old->st_size;
	char *text;

	if (fd < 0)
		return -errno;
	text = malloc(size + 1);
	e = text ? read_all(fd, text, size) : -ENOMEM;
	close(fd);
	if (!e)
		e = write_temp(dirfd, temp, old, (struct text){text, size});
	free(text);
	if (!e && renameat(dirfd, temp, dirfd, backup))
		e = -errno;
	if (e)
		unlinkat(dirfd, temp, 0);
	return e;
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
	e = write_temp(dirfd, temp, is_file ? &old : NULL, (struct text){text, strlen(text)});
	if (!e && is_file && backup)
		e = keep_old(dirfd, name, &old, backup_temp, backup);
	if (!e && renameat(dirfd, temp, dirfd, name))
		e = -errno;
	if (e) {
		unlinkat(dirfd, temp, 0);
		return e;
	}
	/* The new name is not there for good before the folder is on disk too. */
	return fsync(dirfd) ? -errno : 0;
}
