/* SPDX-License-Identifier: Apache-2.0 */
/* A change of the configuration is answered when it has taken effect, or its time is over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "gateway/apply.h"
#include "gateway/controller.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/fake_upstream.h"

#define OTHER_NQN "nqn.2014-08.org.example:other"
#define PATIENCE  (20 * NSEC_PER_SEC)
#define TICK_US	  200
/* An apply looks every 10 ms whether it is done: so many ticks are several looks. */
#define TICKS	250
#define SLOW_US 100000

/* ---- instead of libc's ---- */

static _Atomic uint64_t skew; /* ns that have passed without anybody waiting */
static atomic_bool disk_hangs, disk_is_slow, is_syncing;

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int r = (int)syscall(SYS_clock_gettime, id, ts);

	ts->tv_sec += (time_t)(atomic_load(&skew) / NSEC_PER_SEC);
	return r;
}

int fsync(int fd)
{
	while (atomic_load(&disk_hangs))
		usleep(TICK_US);
	if (atomic_load(&disk_is_slow)) {
		atomic_store(&is_syncing, true);
		usleep(SLOW_US);
		atomic_store(&is_syncing, false);
	}
	return (int)syscall(SYS_fsync, fd);
}

/* ---- what is to become of the configuration ---- */

static struct gw_config next;
static struct subsys_cfg subsystems[2];
static struct upstream_cfg upstreams[3], others[2];
static struct subsys_namespace_cfg namespace;
static char hosts[1][NVMF_NQN_MAX + 1] = {"nqn.2014-08.org.example:another"};
static char folder[64];

static struct {
	unsigned times, usable;
	uint32_t nsid;
	bool refused;
	char text[1024]; /* why, or the notes */
	unsigned notes;
} done;

static struct upstream_cfg fake_at(unsigned port)
{
	struct upstream_cfg up = gw_upstream_cfg[0];
	char text[8];

	snprintf(text, sizeof(text), "%u", port);
	snprintf(up.mp.name, sizeof(up.mp.name), "up%u", port);
	assert_int_equal(addr_parse(&up.mp.addr, "127.0.0.1", text), 0);
	return up;
}

static void defaults(void)
{
	gw_defaults();
	memset(&done, 0, sizeof(done));
	memset(&namespace, 0, sizeof(namespace));
	atomic_store(&skew, 0);
	atomic_store(&disk_hangs, false);
	atomic_store(&disk_is_slow, false);
	strcpy(folder, "/tmp/test_apply.XXXXXX");
	assert_non_null(mkdtemp(folder));
	next = gw_cfg;
	next.subsystems = subsystems;
	subsystems[0] = subsystems[1] = gw_subsys_cfg;
	for (unsigned i = 0; i < 3; i++)
		upstreams[i] = fake_at(1 + i);
	for (unsigned i = 0; i < 2; i++)
		others[i] = fake_at(4 + i);
	subsystems[0].upstreams = upstreams;
	subsystems[1].upstreams = others;
	strcpy(subsystems[1].mp.nqn, OTHER_NQN);
}

static int setup(void **state)
{
	defaults();
	gw_start(2);
	return 0;
}

/* NSIDs are saved. */
static int setup_state(void **state)
{
	defaults();
	snprintf(gw_cfg.state_dir, sizeof(gw_cfg.state_dir), "%s/state", folder);
	gw_start(0);
	for (unsigned i = 0; i < 10000 && gw_usable() < 2; i++) {
		gw_spin(1);
		usleep(TICK_US);
	}
	assert_int_equal(gw_usable(), 2);
	return 0;
}

/* The other subsystem too. */
static int setup_two(void **state)
{
	defaults();
	gw_cfg.subsystems = subsystems;
	gw_cfg.nr_subsystems = 2;
	subsystems[0].nr_upstreams = 2;
	gw_start(2);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	atomic_store(&disk_hangs, false);
	atomic_store(&disk_is_slow, false);
	gw_end();
	snprintf(command, sizeof(command), "rm -r %s", folder);
	assert_int_equal(system(command), 0);
	return 0;
}

/* ---- the change ---- */

static void on_taken(void *arg)
{
}

static void add_text(const char *text)
{
	strncat(done.text, text, sizeof(done.text) - strlen(done.text) - 1);
	strncat(done.text, "\n", sizeof(done.text) - strlen(done.text) - 1);
}

/* As it is at this very moment, not some turns later. */
static void on_done(void *arg, const char *why, json_t *notes)
{
	const json_t *note;
	size_t i;

	done.times++;
	done.refused = why;
	done.usable = gw_usable();
	done.nsid = TAILQ_EMPTY(&gw_ss->mp->heads) ? 0 : gw_nsid();
	if (why)
		add_text(why);
	json_array_foreach(notes, i, note)
		add_text(json_string_value(note));
	done.notes = (unsigned)json_array_size(notes);
	json_decref(notes);
}

static void start(void)
{
	static const struct apply_ops ops = {.taken = on_taken, .done = on_done};

	memset(&done, 0, sizeof(done));
	apply_start(gw, &next, &ops, NULL);
}

static void finish(void)
{
	uint64_t begun = loop_now_exact(gw->control);

	while (!done.times && loop_now_exact(gw->control) - begun < PATIENCE) {
		gw_spin(1);
		usleep(TICK_US);
	}
	assert_int_equal(done.times, 1);
}

/* Time passes, and not a sign of the worker. */
static void worker_stalls(unsigned ticks)
{
	while (ticks--) {
		loop_turn(gw->control, false);
		usleep(TICK_US);
	}
}

static void stalls_for(unsigned seconds)
{
	atomic_fetch_add(&skew, seconds * NSEC_PER_SEC);
	worker_stalls(TICKS);
}

static const struct path *path_of(unsigned port)
{
	struct upstream *up = upstream_find(gw_ss->mp, upstreams[port - 1].mp.name);

	return up ? TAILQ_FIRST(&up->paths) : NULL;
}

/* ---- paths ---- */

static void other_nsid(void)
{
	namespace.ident.has_uuid = true;
	memset(namespace.ident.uuid, 5, 16);
	namespace.nsid = 7;
	namespace.policy = MP_POLICY_COUNT;
	subsystems[0].nr_upstreams = 2;
	subsystems[0].namespaces = &namespace;
	subsystems[0].nr_namespaces = 1;
}

static void namespace_has_its_new_nsid(void **state)
{
	other_nsid();
	start();
	finish();
	assert_int_equal(done.usable, 2);
	assert_int_equal(done.nsid, 7);
	assert_int_equal(done.notes, 0);
}

/* Its commands are waited for, but not for ever. */
static void namespace_that_does_not_leave(void **state)
{
	other_nsid();
	start();
	worker_stalls(TICKS);
	assert_string_equal(path_of(1)->reason, "it has left, and its commands have not all ended");
	stalls_for(3);
	assert_int_equal(done.times, 0);
	stalls_for(3);
	assert_int_equal(done.times, 1);
	assert_int_equal(done.notes, 1);
	assert_non_null(strstr(done.text, "2 paths are not in use yet, like up1/1: it has left"));
	for (unsigned i = 0; i < 100 && gw_usable() < 2; i++)
		gw_spin(1);
	assert_int_equal(gw_usable(), 2);
}

static void add_third(void)
{
	fake_ctrls[3].ns[1].uuid_fill = 6; /* nobody has seen it before */
	subsystems[0].nr_upstreams = 3;
}

static void nsid_of_a_new_namespace_is_saved(void **state)
{
	add_third();
	atomic_store(&disk_hangs, true);
	start();
	for (unsigned i = 0; i < 10000 && !path_of(3); i++) {
		gw_spin(1);
		usleep(TICK_US);
	}
	assert_non_null(path_of(3));
	for (unsigned i = 0; i < TICKS; i++) {
		gw_spin(1);
		usleep(TICK_US);
	}
	assert_string_equal(path_of(3)->reason, "its new NSID is being saved");
	assert_int_equal(done.times, 0);
	atomic_store(&disk_hangs, false);
	finish();
	assert_int_equal(done.usable, 3);
	assert_int_equal(done.notes, 0);
}

static void disk_that_hangs(void **state)
{
	add_third();
	atomic_store(&disk_hangs, true);
	start();
	for (unsigned i = 0; i < 10000 && !path_of(3); i++) {
		gw_spin(1);
		usleep(TICK_US);
	}
	atomic_fetch_add(&skew, 6 * NSEC_PER_SEC);
	finish();
	assert_int_equal(done.usable, 2);
	assert_int_equal(done.notes, 1);
	assert_non_null(strstr(done.text, "1 paths are not in use yet, like up3/1: its new NSID"));
	atomic_store(&disk_hangs, false);
}

/* ---- subsystems ---- */

static const struct subsystem *other(void)
{
	return TAILQ_NEXT(gw_ss, link);
}

static unsigned usable_of_other(void)
{
	const struct head *h = TAILQ_FIRST(&other()->mp->heads);

	return h ? h->usable[0] : 0;
}

static void new_subsystem_is_there(void **state)
{
	next.nr_subsystems = 2;
	subsystems[0].nr_upstreams = 2;
	start();
	for (unsigned i = 0; i < 10000 && !other(); i++)
		worker_stalls(1);
	assert_non_null(other());
	worker_stalls(TICKS);
	assert_int_equal(done.times, 0);
	finish();
	assert_int_equal(usable_of_other(), 2);
	assert_int_equal(done.notes, 0);
}

static void new_subsystem_without_its_upstreams(void **state)
{
	fake_ctrls[4].down = fake_ctrls[5].silent = true;
	next.nr_subsystems = 2;
	subsystems[0].nr_upstreams = 2;
	start();
	for (unsigned i = 0; i < 10000 && !other(); i++)
		worker_stalls(1);
	assert_non_null(other());
	stalls_for(6);
	assert_int_equal(done.times, 1);
	assert_int_equal(done.notes, 2);
	assert_non_null(strstr(done.text, "upstream up4 is not connected: "));
	assert_non_null(strstr(done.text, "upstream up5 is not connected"));
}

/* ---- hosts ---- */

static void deny(void)
{
	subsystems[0].nr_upstreams = 2;
	subsystems[0].allow_any_host = false;
	subsystems[0].allowed_hosts = hosts;
	subsystems[0].nr_allowed_hosts = 1;
}

static void denied_host_has_gone(void **state)
{
	struct tgt_qpair *admin = host_controller(FAKE_GW_NQN);

	host_io_queue(admin, 1);
	deny();
	start();
	for (unsigned i = 0; i < 10000 && host_is_open(admin); i++)
		worker_stalls(1);
	worker_stalls(TICKS);
	assert_int_equal(gw_ss->nr_controllers, 1);
	assert_int_equal(done.times, 0);
	finish();
	assert_int_equal(gw_ss->nr_controllers, 0);
	assert_int_equal(done.notes, 0);
}

static void denied_host_that_does_not_go(void **state)
{
	host_io_queue(host_controller(FAKE_GW_NQN), 1);
	deny();
	start();
	worker_stalls(TICKS);
	stalls_for(6);
	assert_int_equal(done.times, 1);
	assert_int_equal(done.notes, 1);
	assert_non_null(strstr(done.text, "1 controllers of hosts that are no longer allowed have "
					  "not ended yet, like 1 of " FAKE_HOSTNQN));
}

/* ---- subsystems that go ---- */

static void subsystem_that_has_gone(void **state)
{
	next.nr_subsystems = 1;
	start();
	worker_stalls(TICKS);
	assert_null(other());
	assert_int_equal(done.times, 0);
	finish();
	assert_true(TAILQ_EMPTY(&gw->leaving));
	assert_int_equal(done.notes, 0);
}

/* Nor is it waited for for ever, and until it has gone there is none of its name. */
static void subsystem_that_does_not_go(void **state)
{
	struct tgt_qpair *admin = host_controller(OTHER_NQN);

	host_io_queue(admin, 1);
	next.nr_subsystems = 1;
	start();
	worker_stalls(TICKS);
	stalls_for(10);
	assert_int_equal(done.times, 0);
	stalls_for(4);
	assert_int_equal(done.times, 1);
	assert_int_equal(done.notes, 1);
	assert_non_null(strstr(done.text, "subsystem " OTHER_NQN " has not ended yet"));
	next.nr_subsystems = 2;
	start();
	worker_stalls(TICKS);
	assert_int_equal(done.times, 1);
	assert_true(done.refused);
	assert_non_null(strstr(done.text, OTHER_NQN));
	for (unsigned i = 0; i < 100 && !TAILQ_EMPTY(&gw->leaving); i++)
		gw_spin(1);
	assert_true(TAILQ_EMPTY(&gw->leaving));
	start();
	finish();
	assert_false(done.refused);
	assert_int_equal(usable_of_other(), 2);
}

/* The end of the gateway is that of what leaves, too. */
static void ends_while_a_subsystem_goes(void **state)
{
	host_io_queue(host_controller(OTHER_NQN), 1);
	next.nr_subsystems = 1;
	start();
	worker_stalls(TICKS);
	stalls_for(14);
	assert_int_equal(done.times, 1);
	assert_false(TAILQ_EMPTY(&gw->leaving));
}

/* ---- the end of the gateway ---- */

/* A configuration that is gone when its apply is done, like one that has been read from a file. */
struct short_lived {
	struct gw_config cfg;
	struct subsys_cfg subsystems[2];
	struct upstream_cfg file;
};

static void free_config(void *arg, const char *why, json_t *notes)
{
	assert_string_equal(why, "the gateway is stopping");
	assert_false(atomic_load(&is_syncing));
	json_decref(notes);
	free(arg);
	done.times++;
}

static void set_file(struct upstream_cfg *up)
{
	snprintf(up->file_path, sizeof(up->file_path), "%s/disk", folder);
	up->file = (struct file_ns_config){
		.path = up->file_path,
		.subnqn = OTHER_NQN,
		.cntlid = 1,
		.block_size = 512,
		.size = 1 << 20,
		.ana_state = NVME_ANA_STATE_OPTIMIZED,
	};
	up->is_file = true;
}

static void ends_while_files_are_opened(void **state)
{
	static const struct apply_ops ops = {.taken = on_taken, .done = free_config};
	struct short_lived *s = malloc(sizeof(*s));
	struct apply *a;

	assert_non_null(s);
	subsystems[0].nr_upstreams = 2;
	*s = (struct short_lived){next, {subsystems[0], subsystems[1]}, others[0]};
	set_file(&s->file);
	s->subsystems[1].upstreams = &s->file;
	s->subsystems[1].nr_upstreams = 1;
	s->cfg.subsystems = s->subsystems;
	s->cfg.nr_subsystems = 2;
	atomic_store(&disk_is_slow, true);
	a = apply_start(gw, &s->cfg, &ops, s);
	while (!atomic_load(&is_syncing))
		usleep(TICK_US);
	apply_abandon(a);
	assert_int_equal(done.times, 1);
	gw_spin(1);
	assert_null(other());
}

/* ---- all ---- */

#define TEST(name, how) cmocka_unit_test_setup_teardown(name, how, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(namespace_has_its_new_nsid, setup),
		TEST(namespace_that_does_not_leave, setup),
		TEST(nsid_of_a_new_namespace_is_saved, setup_state),
		TEST(disk_that_hangs, setup_state),
		TEST(new_subsystem_is_there, setup),
		TEST(new_subsystem_without_its_upstreams, setup),
		TEST(denied_host_has_gone, setup),
		TEST(denied_host_that_does_not_go, setup),
		TEST(subsystem_that_has_gone, setup_two),
		TEST(subsystem_that_does_not_go, setup_two),
		TEST(ends_while_a_subsystem_goes, setup_two),
		TEST(ends_while_files_are_opened, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
