/* SPDX-License-Identifier: Apache-2.0 */
/* NSIDs that survive restarts: given out, remembered, written, and what goes wrong with the disk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gateway/state.h"
#include "gateway/state_file.h"
#include "transport/log.h"

#define NQN	  "nqn.2014-08.org.example:gw"
#define OTHER	  "nqn.2014-08.org.example:other"
#define FILE_TEXT "{\"version\": 1, \"subsystems\": {\"" NQN "\": "
#define WAIT	  (20 * NSEC_PER_SEC)

static char base[] = "/tmp/nvmegw-state-XXXXXX";
static char dir[64];
static struct loop *loop;
static struct state *s;
static unsigned tried, files_before;

/* ---- the order in which things go to the disk, and its failures ---- */

static char order[64];
static int fsync_error, rename_error;
static ino_t inode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_ino;
}

static void note(char c)
{
	size_t n = strlen(order);

	if (n < sizeof(order) - 1)
		order[n] = c;
}

/* Instead of libc's: (f)ile, state (d)irectory, its (p)arent. */
int fsync(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	note(S_ISREG(st.st_mode)	   ? 'f'
	     : st.st_ino == inode_of(dir)  ? 'd'
	     : st.st_ino == inode_of(base) ? 'p'
					   : '?');
	errno = fsync_error;
	return fsync_error ? -1 : (int)syscall(SYS_fsync, fd);
}

/* Instead of libc's: (r)ename */
int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	note('r');
	errno = rename_error;
	return rename_error ? -1 : (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
}

/* ---- set-up ---- */

static char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void clear_dir(void)
{
	static const char *const names[] = {STATE_FILE, STATE_FILE ".tmp", "lock"};

	for (unsigned i = 0; i < 3; i++)
		if (unlink(path_of(names[i])))
			rmdir(path_of(names[i]));
	if (rmdir(dir))
		unlink(dir);
}

static unsigned open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int setup(void **state)
{
	files_before = open_files();
	strcpy(base + sizeof(base) - 7, "XXXXXX");
	if (!mkdtemp(base))
		return -1;
	snprintf(dir, sizeof(dir), "%s/state", base);
	loop = loop_new(0, -1);
	tried = 0;
	memset(order, 0, sizeof(order));
	fsync_error = rename_error = 0;
	log_set_level(LOG_EMERG);
	return !loop;
}

static int teardown(void **state)
{
	state_close(s);
	s = NULL;
	loop_free(loop);
	clear_dir();
	if (open_files() != files_before) {
		print_error("%u files are open, not %u\n", open_files(), files_before);
		return -1;
	}
	return rmdir(base);
}

static void on_tried(void *arg)
{
	assert_ptr_equal(arg, &tried);
	tried++;
}

static void open_state(void)
{
	s = state_open(loop, dir, on_tried, &tried);
	assert_non_null(s);
}

static void close_state(void)
{
	state_close(s);
	s = NULL;
}

/* ---- what is logged ---- */

static char said[1024];
static int log_fd, stderr_fd;

static void start_to_listen(void)
{
	log_fd = memfd_create("log", 0);
	stderr_fd = dup(STDERR_FILENO);
	log_set_level(LOG_INFO);
	dup2(log_fd, STDERR_FILENO);
}

static void stop_to_listen(void)
{
	ssize_t n = pread(log_fd, said, sizeof(said) - 1, 0);

	dup2(stderr_fd, STDERR_FILENO);
	log_set_level(LOG_EMERG);
	close(log_fd);
	close(stderr_fd);
	said[n < 0 ? 0 : n] = '\0';
}

static void refused_with(const char *what)
{
	struct state *got;

	start_to_listen();
	got = state_open(loop, dir, on_tried, &tried);
	stop_to_listen();
	assert_null(got);
	if (!strstr(said, what))
		fail_msg("\"%s\" is not in: %s", what, said);
}

static void turn_until_tried(unsigned n)
{
	uint64_t end = loop_now_exact(loop) + WAIT;

	while (tried < n && loop_now_exact(loop) < end)
		loop_turn(loop, true);
	assert_int_equal(tried, n);
}

static void put(const char *name, const char *text)
{
	FILE *f;

	mkdir(dir, 0755);
	f = fopen(path_of(name), "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void file_is(const char *text)
{
	char buf[2048];
	FILE *f = fopen(path_of(STATE_FILE), "r");
	size_t n;

	assert_non_null(f);
	n = fread(buf, 1, sizeof(buf) - 1, f);
	buf[n] = '\0';
	fclose(f);
	assert_string_equal(buf, text);
}

/* ---- asking ---- */

static uint32_t max = 1024, reserved;

static bool is_reserved(const void *arg, uint32_t nsid)
{
	assert_ptr_equal(arg, &reserved);
	return nsid == reserved;
}

static struct ns_ident uuid_ident(uint8_t fill)
{
	struct ns_ident id = {.has_uuid = true};

	memset(id.uuid, fill, sizeof(id.uuid));
	return id;
}

static uint32_t ask_ident(const char *nqn, const struct ns_ident *id, bool *waiting)
{
	struct state_nsid_rules rules = {max, is_reserved, &reserved};

	*waiting = false;
	return state_nsid(s, nqn, id, &rules, waiting);
}

/* The NSID, as one to wait for or not. */
static void nsid_is(const char *nqn, uint8_t fill, uint32_t nsid, bool waits)
{
	struct ns_ident id = uuid_ident(fill);
	bool waiting;

	assert_int_equal(ask_ident(nqn, &id, &waiting), nsid);
	assert_int_equal(waiting, waits);
}

static struct state_info info(void)
{
	struct state_info i;

	state_info(s, &i);
	return i;
}

/* ---- giving out and remembering ---- */

static void test_in_memory(void **state)
{
	strcpy(dir, "");
	open_state();
	nsid_is(NQN, 1, 1, false);
	nsid_is(NQN, 2, 2, false);
	nsid_is(NQN, 1, 1, false);
	assert_int_equal(info().namespaces, 2);
	assert_int_equal(info().writes, 0);
	assert_false(info().saved);
	close_state();
	open_state();
	nsid_is(NQN, 2, 1, false);
	close_state();
	snprintf(dir, sizeof(dir), "%s/state", base);
}

static void test_remembered(void **state)
{
	open_state();
	assert_true(info().saved);
	nsid_is(NQN, 1, 1, true);
	nsid_is(NQN, 2, 2, true);
	nsid_is(OTHER, 2, 1, true);
	close_state();
	open_state();
	/* Whoever comes first. */
	nsid_is(NQN, 3, 3, true);
	nsid_is(NQN, 2, 2, false);
	nsid_is(OTHER, 3, 2, true);
	nsid_is(OTHER, 2, 1, false);
	nsid_is(NQN, 1, 1, false);
	assert_int_equal(info().namespaces, 5);
}

static void test_file_format(void **state)
{
	struct ns_ident id = uuid_ident(0xab);
	struct ns_ident none = {.subnqn = "nqn.2014-08.org.example:array", .nsid = 7};
	struct ns_ident by_nguid = {.has_nguid = true}, by_eui64 = {.has_eui64 = true};
	bool waiting;

	id.has_nguid = id.has_eui64 = true;
	memset(id.nguid, 0x0c, sizeof(id.nguid));
	memset(id.eui64, 0xde, sizeof(id.eui64));
	open_state();
	assert_int_equal(ask_ident(NQN, &id, &waiting), 1);
	assert_int_equal(ask_ident(NQN, &none, &waiting), 2);
	nsid_is(OTHER, 1, 1, true);
	close_state();
	file_is("{\n"
		"  \"version\": 1,\n"
		"  \"subsystems\": {\n"
		"    \"" NQN "\": [\n"
		"      {\n"
		"        \"nsid\": 1,\n"
		"        \"uuid\": \"abababab-abab-abab-abab-abababababab\",\n"
		"        \"nguid\": \"0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c\",\n"
		"        \"eui64\": \"dededededededede\"\n"
		"      },\n"
		"      {\n"
		"        \"nsid\": 2,\n"
		"        \"upstream_nqn\": \"nqn.2014-08.org.example:array\",\n"
		"        \"upstream_nsid\": 7\n"
		"      }\n"
		"    ],\n"
		"    \"" OTHER "\": [\n"
		"      {\n"
		"        \"nsid\": 1,\n"
		"        \"uuid\": \"01010101-0101-0101-0101-010101010101\"\n"
		"      }\n"
		"    ]\n"
		"  }\n"
		"}");
	open_state();
	assert_int_equal(ask_ident(NQN, &none, &waiting), 2);
	assert_false(waiting);
	none.nsid = 8;
	assert_int_equal(ask_ident(NQN, &none, &waiting), 3);
	none.nsid = 7;
	none.subnqn[5] ^= 1;
	assert_int_equal(ask_ident(NQN, &none, &waiting), 4);
	assert_int_equal(ask_ident(NQN, &id, &waiting), 1);
	assert_false(waiting);
	memcpy(by_nguid.nguid, id.nguid, sizeof(id.nguid));
	assert_int_equal(ask_ident(NQN, &by_nguid, &waiting), 1);
	memcpy(by_eui64.eui64, id.eui64, sizeof(id.eui64));
	assert_int_equal(ask_ident(NQN, &by_eui64, &waiting), 1);
}

/* A discovery log names upstreams by any bytes; that must not damage the file. */
static void test_hostile_nqns(void **state)
{
	struct ns_ident id[5] = {
		{.subnqn = "a \"b\\\n\x01\x7f", .nsid = 1},
		{.subnqn = "\xff\xfe%", .nsid = 1},
		{.subnqn = "%ff%fe%25", .nsid = 1},
		{.nsid = 1},
		{.nsid = 2},
	};
	bool waiting;

	memset(id[3].subnqn, 0x80, NVMF_NQN_MAX);
	memset(id[4].subnqn, '%', NVMF_NQN_MAX);
	for (unsigned round = 0; round < 2; round++) {
		open_state();
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(ask_ident(NQN, &id[i], &waiting), i + 1);
		assert_int_equal(waiting, !round);
		assert_int_equal(info().namespaces, 5);
		close_state();
	}
}

/* With more identifiers later: the same one, by any of them, from then on. */
static void test_learns(void **state)
{
	struct ns_ident id = uuid_ident(1), by_eui = {.has_eui64 = true, .eui64 = {9}};
	bool waiting;

	open_state();
	nsid_is(NQN, 1, 1, true);
	turn_until_tried(1);
	id.has_eui64 = true;
	id.eui64[0] = 9;
	assert_int_equal(ask_ident(NQN, &id, &waiting), 1);
	assert_false(waiting);
	assert_false(info().saved);
	turn_until_tried(2);
	assert_true(info().saved);
	close_state();
	open_state();
	assert_int_equal(ask_ident(NQN, &by_eui, &waiting), 1);
	nsid_is(NQN, 1, 1, false);
	assert_int_equal(info().writes, 0);
	/* One that agrees in part is another. */
	id.eui64[0] = 8;
	assert_int_equal(ask_ident(NQN, &id, &waiting), 2);
	nsid_is(NQN, 1, 1, false);
}

static void test_reserved(void **state)
{
	open_state();
	reserved = 1;
	nsid_is(NQN, 1, 2, true);
	nsid_is(NQN, 2, 3, true);
	turn_until_tried(2);
	/* Reserved later: that namespace moves, and the others stay. */
	reserved = 2;
	nsid_is(NQN, 2, 3, false);
	nsid_is(NQN, 1, 1, true);
	close_state();
	reserved = 0;
	open_state();
	nsid_is(NQN, 3, 2, true);
	nsid_is(NQN, 1, 1, false);
	nsid_is(NQN, 2, 3, false);
}

static void test_exhausted(void **state)
{
	open_state();
	max = 3;
	reserved = 2;
	nsid_is(NQN, 1, 1, true);
	nsid_is(NQN, 2, 3, true);
	nsid_is(NQN, 3, 0, false);
	assert_int_equal(info().namespaces, 2);
	nsid_is(OTHER, 3, 1, true);
	/* A remembered one stays although it would not be given out now. */
	max = 1;
	turn_until_tried(2);
	nsid_is(NQN, 2, 3, false);
	nsid_is(NQN, 3, 0, false);
	/* Nowhere to move to: it keeps what it has on disk, but must not be used. */
	reserved = 1;
	nsid_is(NQN, 1, 0, false);
	reserved = 0;
	nsid_is(NQN, 1, 1, false);
	max = 1024;
}

/* ---- writing ---- */

static void test_waits_for_the_disk(void **state)
{
	open_state();
	assert_string_equal(order, "p");
	memset(order, 0, sizeof(order));
	nsid_is(NQN, 1, 1, true);
	nsid_is(NQN, 1, 1, true);
	assert_int_equal(tried, 0);
	assert_false(info().saved);
	turn_until_tried(1);
	assert_string_equal(order, "frd");
	assert_true(info().saved);
	assert_int_equal(info().error, 0);
	nsid_is(NQN, 1, 1, false);
	assert_int_equal(info().writes, 1);
	assert_int_not_equal(access(path_of(STATE_FILE ".tmp"), F_OK), 0);
	/* Nothing new: nothing is written. */
	close_state();
	assert_string_equal(order, "frd");
	open_state();
	assert_string_equal(order, "frd");
}

/* What changes while a write is under way is in the next one. */
static void test_changes_meanwhile(void **state)
{
	open_state();
	nsid_is(NQN, 1, 1, true);
	nsid_is(NQN, 2, 2, true);
	nsid_is(NQN, 3, 3, true);
	assert_int_equal(info().writes, 1);
	turn_until_tried(1);
	nsid_is(NQN, 1, 1, false);
	nsid_is(NQN, 2, 2, true);
	assert_int_equal(info().writes, 2);
	turn_until_tried(2);
	nsid_is(NQN, 3, 3, false);
	assert_true(info().saved);
	assert_int_equal(info().writes, 2);
}

/* Also with its message still in the loop, which comes after the state has gone. */
static void test_closes_in_the_middle(void **state)
{
	open_state();
	nsid_is(NQN, 1, 1, true);
	close_state();
	assert_string_equal(order, "pfrd"); /* the write under way was enough */
	open_state();
	nsid_is(NQN, 2, 2, true);
	nsid_is(NQN, 4, 3, true);
	close_state();
	assert_string_equal(order, "pfrdfrdfrd");
	open_state();
	loop_turn(loop, false);
	assert_int_equal(tried, 0);
	nsid_is(NQN, 2, 2, false);
	nsid_is(NQN, 4, 3, false);
	nsid_is(NQN, 3, 4, true);
}

/* Its contents are of no account, whatever a crash has left in it. */
static void test_left_over_file(void **state)
{
	put(STATE_FILE ".tmp", "{\"version\": 1, \"subsys, and much more than will be written: "
			       "..............................................................."
			       "...............................................................");
	open_state();
	nsid_is(NQN, 1, 1, true);
	close_state();
	file_is("{\n"
		"  \"version\": 1,\n"
		"  \"subsystems\": {\n"
		"    \"" NQN "\": [\n"
		"      {\n"
		"        \"nsid\": 1,\n"
		"        \"uuid\": \"01010101-0101-0101-0101-010101010101\"\n"
		"      }\n"
		"    ]\n"
		"  }\n"
		"}");
}

/* ---- write errors ---- */

/* Exported all the same once it has been tried. */
static void write_fails(int error)
{
	uint64_t writes;

	turn_until_tried(tried + 1);
	writes = info().writes;
	nsid_is(NQN, 2, 2, false);
	assert_false(info().saved);
	assert_int_equal(info().error, error);
	assert_int_equal(info().writes, writes); /* not for every question */
}

/* All that is new, when the next one comes. */
static void written_with_the_next(void)
{
	nsid_is(NQN, 3, 3, true);
	turn_until_tried(tried + 1);
	assert_true(info().saved);
	assert_int_equal(info().error, 0);
	close_state();
	open_state();
	nsid_is(NQN, 1, 1, false);
	nsid_is(NQN, 2, 2, false);
	nsid_is(NQN, 3, 3, false);
}

static void first_is_saved(void)
{
	open_state();
	nsid_is(NQN, 1, 1, true);
	turn_until_tried(1);
}

static void test_cannot_open(void **state)
{
	first_is_saved();
	mkdir(path_of(STATE_FILE ".tmp"), 0755);
	nsid_is(NQN, 2, 2, true);
	write_fails(EISDIR);
	rmdir(path_of(STATE_FILE ".tmp"));
	written_with_the_next();
}

static void test_cannot_write(void **state)
{
	struct rlimit old, small = {.rlim_cur = 100};

	first_is_saved();
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	small.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
	nsid_is(NQN, 2, 2, true);
	write_fails(EFBIG);
	setrlimit(RLIMIT_FSIZE, &old);
	signal(SIGXFSZ, SIG_DFL);
	/* The old file is as it was. */
	file_is("{\n"
		"  \"version\": 1,\n"
		"  \"subsystems\": {\n"
		"    \"" NQN "\": [\n"
		"      {\n"
		"        \"nsid\": 1,\n"
		"        \"uuid\": \"01010101-0101-0101-0101-010101010101\"\n"
		"      }\n"
		"    ]\n"
		"  }\n"
		"}");
	written_with_the_next();
}

static void test_cannot_sync(void **state)
{
	first_is_saved();
	memset(order, 0, sizeof(order));
	fsync_error = EIO;
	nsid_is(NQN, 2, 2, true);
	write_fails(EIO);
	/* What may not be on disk does not replace what is. */
	assert_string_equal(order, "f");
	fsync_error = 0;
	written_with_the_next();
}

static void test_cannot_rename(void **state)
{
	first_is_saved();
	rename_error = EDQUOT;
	nsid_is(NQN, 2, 2, true);
	write_fails(EDQUOT);
	rename_error = 0;
	written_with_the_next();
}

/* Not even a thread for it: that is told in the same way. */
static void test_no_thread(void **state)
{
	pthread_attr_t old, huge;

	first_is_saved();
	assert_int_equal(pthread_getattr_default_np(&old), 0);
	pthread_attr_init(&huge);
	pthread_attr_setstacksize(&huge, 1ul << 46);
	assert_int_equal(pthread_setattr_default_np(&huge), 0);
	nsid_is(NQN, 2, 2, true);
	assert_int_equal(pthread_setattr_default_np(&old), 0);
	pthread_attr_destroy(&huge);
	pthread_attr_destroy(&old);
	write_fails(EAGAIN);
	written_with_the_next();
}

/* And of itself, until it works. */
static void test_tries_again(void **state)
{
	const char *failed, *worked;

	first_is_saved();
	rename_error = EIO;
	nsid_is(NQN, 2, 2, true);
	start_to_listen();
	turn_until_tried(tried + 1);
	turn_until_tried(tried + 1);
	rename_error = 0;
	turn_until_tried(tried + 1);
	stop_to_listen();
	assert_true(info().saved);
	assert_int_equal(info().error, 0);
	/* Each told once. */
	failed = strstr(said, "/" STATE_FILE ": not written: Input/output error; ");
	worked = strstr(said, "/" STATE_FILE ": written again");
	assert_true(failed && worked && failed < worked);
	assert_null(strstr(failed + 1, "/" STATE_FILE ": not written"));
	assert_null(strstr(worked + 1, "/" STATE_FILE ": written again"));
}

/* The last word is at the end. */
static void test_close_writes_what_failed(void **state)
{
	first_is_saved();
	rename_error = EIO;
	nsid_is(NQN, 2, 2, true);
	write_fails(EIO);
	rename_error = 0;
	close_state();
	open_state();
	nsid_is(NQN, 2, 2, false);
	rename_error = EIO;
	nsid_is(NQN, 3, 3, true);
	close_state();
	rename_error = 0;
	open_state();
	nsid_is(NQN, 2, 2, false);
	nsid_is(NQN, 4, 3, true);
}

/* ---- folders ---- */

static void test_one_daemon(void **state)
{
	open_state();
	refused_with("/state: in use by a running nvmegwd; stop that one, or give this one "
		     "another \"state_dir\"");
	nsid_is(NQN, 1, 1, true);
	close_state();
	open_state();
	nsid_is(NQN, 1, 1, false);
}

static void test_no_folder(void **state)
{
	FILE *f = fopen(dir, "w");

	fclose(f);
	refused_with("/state: Not a directory; \"state_dir\" must be a folder");
	unlink(dir);
	strcat(dir, "/deeper");
	refused_with("/state/deeper: cannot be made: No such file or directory; make it by hand, "
		     "or set another \"state_dir\"");
	*strrchr(dir, '/') = '\0';
	/* Made, but who knows for how long. */
	fsync_error = EIO;
	refused_with("/state: made, but not for good: Input/output error");
	fsync_error = 0;
	rmdir(dir);
	mkdir(dir, 0755);
	mkdir(path_of("lock"), 0755);
	refused_with("/state/lock: Is a directory; \"state_dir\" must be a folder that the daemon "
		     "may write to");
}

/* Puts a read-only mount over the folder, for this process alone. */
static bool make_read_only(void)
{
	const unsigned long ro = MS_REMOUNT | MS_BIND | MS_RDONLY;

	return !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount(dir, dir, NULL, MS_BIND, NULL) && !mount(NULL, dir, NULL, ro, NULL);
}

/* What is known is served, and what is new is exported without being remembered. */
static void test_read_only_file_system(void **state)
{
	first_is_saved();
	close_state();
	if (!make_read_only())
		skip();
	open_state();
	nsid_is(NQN, 1, 1, false);
	nsid_is(NQN, 2, 2, true);
	write_fails(EROFS);
	refused_with("/state: in use by a running nvmegwd");
	close_state();
	umount(dir);
}

/* ---- damaged files ---- */

static void test_damaged(void **state)
{
#define NS(entry) FILE_TEXT "[" entry "]}}"
#define UUID	  "\"uuid\": \"01010101-0101-0101-0101-010101010101\""
	static const struct {
		const char *text, *said;
	} bad[] = {
		{"", "line 1: '[' or '{' expected near end of file"},
		{FILE_TEXT "[", "line 1: ']' expected near end of file"},
		{"{\n\"version\": 1,\n", "line 3: string or '}' expected near end of file"},
		{"{\"version\": 1,\n\"version\": 1}", "line 2: duplicate object key"},
		{"[]", "Expected object, got array"},
		{"{}", "Object item not found: version"},
		{"{\"version\": \"1\", \"subsystems\": {}}", "Expected integer, got string"},
		{"{\"version\": 2, \"nsids\": {}}", "version 2 is not known to this nvmegwd"},
		{"{\"version\": 0, \"subsystems\": {}}", "version 0 is not known"},
		{"{\"version\": 1}", "Object item not found: subsystems"},
		{"{\"version\": 1, \"subsystems\": []}", "\"subsystems\" is no object"},
		{"{\"version\": 1, \"subsystems\": {}, \"x\": 1}", "left unpacked: x"},
		{"{\"version\": 1, \"subsystems\": {\"a\": 1}}", "\"a\" is no NQN with a list"},
		{NS("1"), "\"" NQN "\", entry 1: missing, unknown or wrong fields"},
		{NS(UUID), "line 1: "},
		{NS("{" UUID "}"), "entry 1: missing, unknown or wrong fields"},
		{NS("{\"nsid\": 1.0, " UUID "}"), "entry 1: missing, unknown or wrong fields"},
		{NS("{\"nsid\": 1, \"size\": 1, " UUID "}"), "entry 1: missing, unknown or wrong"},
		{NS("{\"nsid\": 1, \"uuid\": null}"), "entry 1: missing, unknown or wrong fields"},
		{NS("{\"nsid\": 0, " UUID "}"), "entry 1: an NSID that cannot be"},
		{NS("{\"nsid\": -1, " UUID "}"), "entry 1: an NSID that cannot be"},
		{NS("{\"nsid\": 4294967295, " UUID "}"), "entry 1: an NSID that cannot be"},
		{NS("{\"nsid\": 4294967297, " UUID "}"), "entry 1: an NSID that cannot be"},
		{NS("{\"nsid\": 1, " UUID "}, {\"nsid\": 1, \"eui64\": \"1111111111111111\"}"),
		 "entry 2: an NSID given twice"},
		{NS("{\"nsid\": 1, \"uuid\": \"01010101-0101-0101-0101-01010101010\"}"),
		 "entry 1: an identifier that cannot be read"},
		{NS("{\"nsid\": 1, \"nguid\": \"0101010101010101010101010101010g\"}"),
		 "entry 1: an identifier that cannot be read"},
		{NS("{\"nsid\": 1, \"eui64\": \"010101010101010\"}"),
		 "entry 1: an identifier that cannot be read"},
		{NS("{\"nsid\": 1}"), "entry 1: it does not say which namespace it is for"},
		{NS("{\"nsid\": 1, \"upstream_nqn\": \"a\"}"), "entry 1: it does not say which"},
		{NS("{\"nsid\": 1, \"upstream_nsid\": 1}"), "entry 1: it does not say which"},
		{NS("{\"nsid\": 1, \"upstream_nqn\": \"a\", \"upstream_nsid\": 4294967295}"),
		 "entry 1: it does not say which"},
		{NS("{\"nsid\": 1, \"upstream_nqn\": \"a\", \"upstream_nsid\": 1, " UUID "}"),
		 "entry 1: it does not say which"},
		{NS("{\"nsid\": 1, \"upstream_nqn\": \"a\", " UUID "}"),
		 "entry 1: it does not say which"},
		{NS("{\"nsid\": 1, \"upstream_nsid\": 1, " UUID "}"),
		 "entry 1: it does not say which"},
		{NS("{\"nsid\": 1, \"upstream_nqn\": \"\", \"upstream_nsid\": 1}"),
		 "entry 1: an identifier that cannot be read"},
		{NS("{\"nsid\": 1, \"upstream_nqn\": \"a%0\", \"upstream_nsid\": 1}"),
		 "entry 1: an identifier that cannot be read"},
		{NS("{\"nsid\": 1, \"upstream_nqn\": \"a%\", \"upstream_nsid\": 1}"),
		 "entry 1: an identifier that cannot be read"},
		{NS("{\"nsid\": 1, \"upstream_nqn\": \"a%00b\", \"upstream_nsid\": 1}"),
		 "entry 1: an identifier that cannot be read"},
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put(STATE_FILE, bad[i].text);
		refused_with(bad[i].said);
		refused_with("/" STATE_FILE ": ");
		refused_with("Restore it from a backup, or remove it if hosts may see namespaces "
			     "under other NSIDs");
		file_is(bad[i].text);
	}
}

static void test_long_nqns(void **state)
{
	char nqn[NVMF_NQN_MAX + 2] = "", text[1024];

	memset(nqn, 'n', NVMF_NQN_MAX);
	open_state();
	nsid_is(nqn, 1, 1, true);
	close_state();
	open_state();
	nsid_is(nqn, 1, 1, false);
	close_state();
	strcat(nqn, "n");
	snprintf(text, sizeof(text), "{\"version\": 1, \"subsystems\": {\"%s\": []}}", nqn);
	put(STATE_FILE, text);
	refused_with("is no NQN with a list");
	snprintf(text, sizeof(text),
		 FILE_TEXT "[{\"nsid\": 1, \"upstream_nqn\": \"%s\", \"upstream_nsid\": 1}]}}",
		 nqn);
	put(STATE_FILE, text);
	refused_with("entry 1: an identifier that cannot be read");
}

static void test_unreadable(void **state)
{
	mkdir(dir, 0755);
	mkdir(path_of(STATE_FILE), 0755);
	refused_with("/" STATE_FILE ": ");
	rmdir(path_of(STATE_FILE));
	assert_int_equal(symlink(STATE_FILE, path_of(STATE_FILE)), 0);
	refused_with("/" STATE_FILE ": Too many levels of symbolic links; it holds the NSIDs");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_in_memory),
		T(test_remembered),
		T(test_file_format),
		T(test_hostile_nqns),
		T(test_learns),
		T(test_reserved),
		T(test_exhausted),
		T(test_waits_for_the_disk),
		T(test_changes_meanwhile),
		T(test_closes_in_the_middle),
		T(test_left_over_file),
		T(test_cannot_open),
		T(test_cannot_write),
		T(test_cannot_sync),
		T(test_cannot_rename),
		T(test_no_thread),
		T(test_tries_again),
		T(test_close_writes_what_failed),
		T(test_one_daemon),
		T(test_no_folder),
		T(test_read_only_file_system),
		T(test_damaged),
		T(test_long_nqns),
		T(test_unreadable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
