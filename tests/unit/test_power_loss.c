/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file is replaced, and the power fails. What the code asks of the kernel is noted, and after
 * each step every state is looked at that a disk may then be in: of what has not been synced any
 * part may be there or not, names in any combination, contents not at all, half, or whole. Each
 * must have the old file or the new one; once the replacement has been reported, the new one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gateway/replace_file.h"

#define MAX_FILES   8
#define MAX_CHANGES 10
#define MAX_FDS	    64

enum { F, BAK, TMP, BAK_TMP, NAMES };
static const char *const names[NAMES] = {"f", "f.bak", "f.tmp", "f.bak.tmp"};

/* What a name stands for; 0: nothing. Numbers are those of files[]. */
typedef int table_t[NAMES];

/* A change of the folder that is there whole or not at all: one or two names. */
struct change {
	int name[2], file[2], n;
};

static struct {
	char text[64], synced[64];
} files[MAX_FILES];
static int nr_files, file_of_fd[MAX_FDS];
static table_t on_disk, now;
static struct change changes[MAX_CHANGES];
static int nr_changes;

static char folder[64];
static int dirfd;
static bool watching;
static unsigned states, damaged, missing;
static const char *allowed, *allowed_too; /* contents of F; NULL: it may be missing */

/* ---- what a disk may have after a power failure ---- */

/* True when the contents may be nothing but @text: they are synced, and that. */
static bool can_only_be(int file, const char *text)
{
	return text && !strcmp(files[file].text, text) && !strcmp(files[file].synced, text);
}

static void judge(const table_t t)
{
	states++;
	if (!t[F])
		missing += allowed && allowed_too;
	else if (!can_only_be(t[F], allowed) && !can_only_be(t[F], allowed_too))
		damaged++;
	if (t[BAK] && !can_only_be(t[BAK], "older") && !can_only_be(t[BAK], "old"))
		damaged++;
	if (on_disk[BAK] && !t[BAK])
		missing++;
}

static void look(void)
{
	if (!watching)
		return;
	for (unsigned subset = 0; subset < 1u << nr_changes; subset++) {
		table_t t;

		memcpy(t, on_disk, sizeof(t));
		for (int i = 0; i < nr_changes; i++)
			for (int j = 0; subset & 1u << i && j < changes[i].n; j++)
				t[changes[i].name[j]] = changes[i].file[j];
		judge(t);
	}
}

/* ---- what the code does ---- */

static int name_of(const char *name)
{
	for (int i = 0; i < NAMES; i++)
		if (!strcmp(name, names[i]))
			return i;
	fail_msg("a file named %s", name);
	return -1;
}

static void apply(struct change c)
{
	assert_in_range(nr_changes, 0, MAX_CHANGES - 1);
	changes[nr_changes++] = c;
	for (int j = 0; j < c.n; j++)
		now[c.name[j]] = c.file[j];
	look();
}

static int new_file(void)
{
	assert_in_range(nr_files, 0, MAX_FILES - 2);
	return ++nr_files;
}

/* Instead of libc's, for the files of the folder. */
int openat(int fd, const char *path, int flags, ...)
{
	int got = (int)syscall(SYS_openat, fd, path, flags, 0600), name;

	if (got < 0 || fd != dirfd)
		return got;
	name = name_of(path);
	if (!now[name])
		apply((struct change){{name}, {new_file()}, 1});
	if (flags & O_TRUNC) {
		files[now[name]].text[0] = '\0';
		look();
	}
	assert_in_range(got, 0, MAX_FDS - 1);
	file_of_fd[got] = now[name];
	return got;
}

ssize_t write(int fd, const void *data, size_t len)
{
	ssize_t n = syscall(SYS_write, fd, data, len);

	if (n > 0 && fd >= 0 && fd < MAX_FDS && file_of_fd[fd]) {
		strncat(files[file_of_fd[fd]].text, data, (size_t)n);
		look();
	}
	return n;
}

int close(int fd)
{
	if (fd >= 0 && fd < MAX_FDS)
		file_of_fd[fd] = 0;
	return (int)syscall(SYS_close, fd);
}

int fsync(int fd)
{
	if (fd == dirfd) {
		memcpy(on_disk, now, sizeof(now));
		nr_changes = 0;
	} else {
		strcpy(files[file_of_fd[fd]].synced, files[file_of_fd[fd]].text);
	}
	look();
	return 0;
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	int e = (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
	int a = name_of(from), b = name_of(to);

	if (!e && now[a] != now[b]) /* two names of one file are left as they are */
		apply((struct change){{b, a}, {now[a], 0}, 2});
	return e;
}

int unlinkat(int fd, const char *path, int flags)
{
	int e = (int)syscall(SYS_unlinkat, fd, path, flags);

	if (!e && fd == dirfd)
		apply((struct change){{name_of(path)}, {0}, 1});
	return e;
}

/* ---- set-up ---- */

static int setup(void **state)
{
	watching = false;
	nr_files = nr_changes = 0;
	memset(files, 0, sizeof(files));
	memset(on_disk, 0, sizeof(on_disk));
	memset(now, 0, sizeof(now));
	states = damaged = missing = 0;
	strcpy(folder, "/tmp/test_power.XXXXXX");
	assert_non_null(mkdtemp(folder));
	dirfd = open(folder, O_RDONLY | O_DIRECTORY);
	return dirfd < 0;
}

static int teardown(void **state)
{
	watching = false;
	for (int i = 0; i < NAMES; i++)
		if (now[i])
			unlinkat(dirfd, names[i], 0);
	close(dirfd);
	return rmdir(folder);
}

static void there_is(int name, const char *text, bool synced)
{
	int fd = openat(dirfd, names[name], O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	if (synced)
		fsync(fd);
	close(fd);
	fsync(dirfd);
}

/* @replace is all right with the power failing at any time. */
static void replaced_by(int (*replace)(void), bool was_there)
{
	allowed = was_there ? "old" : NULL;
	allowed_too = "new";
	watching = true;
	look();
	assert_int_equal(replace(), 0);
	allowed = allowed_too;
	look();
	watching = false;
}

static int carefully(void)
{
	return replace_file(dirfd, "f", "new", NULL);
}

static int with_backup(void)
{
	return replace_file(dirfd, "f", "new", "f.bak");
}

static void survives(void)
{
	assert_int_equal(damaged, 0);
	assert_int_equal(missing, 0);
	assert_true(states >= 5);
}

/* ---- tests ---- */

static void the_first_of_its_name(void **state)
{
	replaced_by(carefully, false);
	survives();
}

static void in_place_of_another(void **state)
{
	there_is(F, "old", true);
	replaced_by(carefully, true);
	survives();
	replaced_by(carefully, true);
	survives();
}

static void after_a_failure_in_the_middle(void **state)
{
	there_is(F, "old", true);
	there_is(TMP, "hal", false);
	replaced_by(carefully, true);
	survives();
}

static void with_the_old_one_kept(void **state)
{
	there_is(F, "old", true);
	replaced_by(with_backup, true);
	survives();
}

static void with_an_older_one_there(void **state)
{
	there_is(F, "old", true);
	there_is(BAK, "older", true);
	there_is(BAK_TMP, "old", true);
	replaced_by(with_backup, true);
	survives();
	assert_string_equal(files[now[BAK]].text, "old");
}

/* ---- that it would be seen ---- */

static int in_place(void)
{
	int fd = openat(dirfd, "f", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (write(fd, "new", 3) != 3)
		return -1;
	fsync(fd);
	return close(fd);
}

static int write_temp(bool sync)
{
	int fd = openat(dirfd, "f.tmp", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (write(fd, "new", 3) != 3)
		return -1;
	if (sync)
		fsync(fd);
	return close(fd) || renameat(dirfd, "f.tmp", dirfd, "f") ? -1 : 0;
}

static int without_sync(void)
{
	return write_temp(false) || fsync(dirfd);
}

static int without_sync_of_the_folder(void)
{
	return write_temp(true);
}

static int removed_first(void)
{
	unlinkat(dirfd, "f", 0);
	return write_temp(true) || fsync(dirfd);
}

static void careless_ways_are_found(void **state)
{
	static int (*const ways[])(void) = {in_place, without_sync, without_sync_of_the_folder,
					    removed_first};

	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		teardown(state);
		setup(state);
		there_is(F, "old", true);
		replaced_by(ways[i], true);
		if (!damaged && !missing)
			fail_msg("way %u passes for careful", i);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_first_of_its_name),	  T(in_place_of_another),
		T(after_a_failure_in_the_middle), T(with_the_old_one_kept),
		T(with_an_older_one_there),	  T(careless_ways_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
