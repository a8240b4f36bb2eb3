/* SPDX-License-Identifier: Apache-2.0 */
/* A file that is replaced is there, whatever happens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/replace_file.h"

static char folder[64];
static int dirfd;

static int setup(void **state)
{
	strcpy(folder, "/tmp/test_replace.XXXXXX");
	assert_non_null(mkdtemp(folder));
	dirfd = open(folder, O_RDONLY | O_DIRECTORY);
	return dirfd < 0;
}

static int teardown(void **state)
{
	static const char *const names[] = {"f", "f.bak", "f.tmp", "f.bak.tmp"};

	for (unsigned i = 0; i < 4; i++)
		if (unlinkat(dirfd, names[i], 0))
			unlinkat(dirfd, names[i], AT_REMOVEDIR);
	close(dirfd);
	return rmdir(folder);
}

static void holds(const char *name, const char *text)
{
	int fd = openat(dirfd, name, O_RDONLY);
	char buf[64] = "";

	assert_true(fd >= 0);
	assert_int_equal(read(fd, buf, sizeof(buf) - 1), strlen(text));
	assert_string_equal(buf, text);
	close(fd);
}

static bool is_there(const char *name)
{
	return !faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW);
}

static void is_replaced(void **state)
{
	struct stat st;

	assert_int_equal(replace_file(dirfd, "f", "one", "f.bak"), 0);
	assert_false(is_there("f.bak"));
	assert_int_equal(fchmodat(dirfd, "f", 0604, 0), 0);
	assert_int_equal(replace_file(dirfd, "f", "two", "f.bak"), 0);
	holds("f", "two");
	holds("f.bak", "one");
	assert_int_equal(fstatat(dirfd, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0604);
	assert_int_equal(replace_file(dirfd, "f", "three", "f.bak"), 0);
	holds("f.bak", "two");
	assert_int_equal(replace_file(dirfd, "f", "four", NULL), 0);
	holds("f.bak", "two");
	assert_false(is_there("f.tmp"));
}

static void owner_is_kept(void **state)
{
	struct stat st;

	if (geteuid())
		skip();
	assert_int_equal(replace_file(dirfd, "f", "one", NULL), 0);
	assert_int_equal(fchownat(dirfd, "f", 1, 2, 0), 0);
	assert_int_equal(replace_file(dirfd, "f", "two", "f.bak"), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(fstatat(dirfd, i ? "f.bak" : "f", &st, 0), 0);
		assert_int_equal(st.st_uid, 1);
		assert_int_equal(st.st_gid, 2);
	}
}

/* As a full disk: what can be written is less than there is to write. */
static void full_disk(void **state)
{
	struct rlimit old, little;

	assert_int_equal(replace_file(dirfd, "f", "one", NULL), 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	little = old;
	little.rlim_cur = 2;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
	assert_int_equal(replace_file(dirfd, "f", "three", "f.bak"), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	holds("f", "one");
	assert_false(is_there("f.tmp"));
	assert_false(is_there("f.bak"));
}

static void what_is_in_the_way(void **state)
{
	assert_int_equal(replace_file(dirfd, "f", "one", NULL), 0);
	assert_int_equal(symlinkat("f", dirfd, "f.tmp"), 0);
	assert_int_equal(replace_file(dirfd, "f", "two", "f.bak"), -ELOOP);
	holds("f", "one");
	unlinkat(dirfd, "f.tmp", 0);
	assert_int_equal(mkdirat(dirfd, "f.bak", 0755), 0);
	assert_int_equal(replace_file(dirfd, "f", "two", "f.bak"), -EISDIR);
	holds("f", "one");
	assert_false(is_there("f.tmp"));
}

/* Left by a crash between the steps. */
static void leftovers(void **state)
{
	assert_int_equal(replace_file(dirfd, "f", "one", NULL), 0);
	assert_int_equal(replace_file(dirfd, "f.tmp", "half of", NULL), 0);
	assert_int_equal(replace_file(dirfd, "f.bak.tmp", "half of another", NULL), 0);
	assert_int_equal(replace_file(dirfd, "f", "two", "f.bak"), 0);
	holds("f.bak", "one");
	holds("f", "two");
	assert_false(is_there("f.bak.tmp"));
}

static void names_too_long(void **state)
{
	char name[256];

	memset(name, 'x', 255);
	name[255] = '\0';
	assert_int_equal(replace_file(dirfd, name, "one", NULL), -ENAMETOOLONG);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(is_replaced),	       T(owner_is_kept), T(full_disk),
		T(what_is_in_the_way), T(leftovers),	 T(names_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
