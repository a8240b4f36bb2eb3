/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines; see log.h. */
#include "transport/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_LEN 2048

_Atomic unsigned log_debugging;
static _Atomic int level_now = LOG_INFO;
static _Atomic unsigned categories_now;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool to_journal;

static const char *const level_names[] = {
	[LOG_EMERG] = "emergency", [LOG_ALERT] = "alert",     [LOG_CRIT] = "critical",
	[LOG_ERR] = "error",	   [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice",
	[LOG_INFO] = "info",	   [LOG_DEBUG] = "debug",
};

static const char *const debug_names[DEBUG_COUNT] = {
	[DEBUG_TCP] = "tcp",	     [DEBUG_RDMA] = "rdma",
	[DEBUG_FABRICS] = "fabrics", [DEBUG_UPSTREAM] = "upstream",
	[DEBUG_PATH] = "path",	     [DEBUG_ANA] = "ana",
	[DEBUG_IO] = "io",	     [DEBUG_CONFIG] = "config",
	[DEBUG_RPC] = "rpc",
};

/* ---- what is logged ---- */

static void settle(void)
{
	unsigned categories = log_level() >= LOG_DEBUG ? DEBUG_ALL : log_debug_categories();

	atomic_store_explicit(&log_debugging, categories, memory_order_relaxed);
}

void log_set_level(int level)
{
	atomic_store_explicit(&level_now, level, memory_order_relaxed);
	settle();
}

void log_set_debug(unsigned categories)
{
	atomic_store_explicit(&categories_now, categories, memory_order_relaxed);
	settle();
}

unsigned log_debug_categories(void)
{
	return atomic_load_explicit(&categories_now, memory_order_relaxed);
}

const char *debug_name(enum debug_category c)
{
	return debug_names[c];
}

static unsigned one_category(const char *name, size_t len)
{
	if (len == 3 && !strncmp(name, "all", len))
		return DEBUG_ALL;
	for (unsigned c = 0; c < DEBUG_COUNT; c++)
		if (!strncmp(debug_names[c], name, len) && !debug_names[c][len])
			return 1u << c;
	return 0;
}

bool debug_parse(const char *names, unsigned *categories, const char **unknown)
{
	*categories = 0;
	if (!strcmp(names, "none"))
		return true;
	for (;; names++) {
		size_t len = strcspn(names, ",");
		unsigned one = one_category(names, len);

		*unknown = names;
		*categories |= one;
		names += len;
		if (!one)
			return false;
		if (!*names)
			return true;
	}
}

const char *log_level_name(int level)
{
	return level_names[level];
}

int log_level(void)
{
	return atomic_load_explicit(&level_now, memory_order_relaxed);
}

/* ---- lines ---- */

/* systemd.exec(5): JOURNAL_STREAM names the device and inode of the journal's socket. */
static void find_journal(void)
{
	const char *env = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (env && sscanf(env, "%llu:%llu", &dev, &ino) == 2 && !fstat(STDERR_FILENO, &st))
		to_journal = st.st_dev == dev && st.st_ino == ino;
}

static size_t prefix(char *buf, size_t size, int level)
{
	struct timespec ts;
	struct tm tm;
	size_t n;

	pthread_once(&once, find_journal);
	if (to_journal)
		return (size_t)snprintf(buf, size, "<%d>", level);
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(buf, size, "%FT%T", &tm);
	n += (size_t)snprintf(buf + n, size - n, ".%03ldZ %s: ", ts.tv_nsec / 1000000,
			      level_names[level & LOG_PRIMASK]);
	return n;
}

/* @suffix is cut last: it follows the text even when that is too long. */
static void emit(int level, const char *fmt, va_list ap, const char *suffix)
{
	char buf[LINE_MAX_LEN];
	size_t tail = strlen(suffix) + 1; /* and the newline */
	size_t start, n;
	int len;

	start = n = prefix(buf, sizeof(buf), level);
	len = vsnprintf(buf + n, sizeof(buf) - tail - n, fmt, ap);
	if (len < 0)
		return;
	n += (size_t)len;
	if (n > sizeof(buf) - tail - 1)
		n = sizeof(buf) - tail - 1;
	/* Names come from peers: they must not be able to fake a line or drive a terminal. */
	for (size_t i = start; i < n; i++)
		if ((unsigned char)buf[i] < ' ' || buf[i] == 0x7f)
			buf[i] = '?';
	memcpy(buf + n, suffix, tail - 1);
	n += tail - 1;
	buf[n++] = '\n';
	/* Nobody is left to tell when this fails. */
	if (write(STDERR_FILENO, buf, n) < 0)
		return;
}

void log_line(int level, const char *fmt, ...)
{
	int e = errno;
	va_list ap;

	if (level > log_level())
		return;
	va_start(ap, fmt);
	emit(level, fmt, ap, "");
	va_end(ap);
	errno = e;
}

void log_debug_line(enum debug_category c, const char *fmt, ...)
{
	char with_name[256];
	int e = errno;
	va_list ap;

	snprintf(with_name, sizeof(with_name), "%s: %s", debug_names[c], fmt);
	va_start(ap, fmt);
	emit(LOG_DEBUG, with_name, ap, "");
	va_end(ap);
	errno = e;
}

void log_limited(struct log_limit *l, int level, const char *fmt, ...)
{
	char suffix[64] = "";
	unsigned long now, last, dropped;
	struct timespec ts;
	int e = errno;
	va_list ap;

	if (level > log_level())
		return;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	now = (unsigned long)ts.tv_sec + 1; /* 0 is "never" */
	last = atomic_load_explicit(&l->last, memory_order_relaxed);
	if (last == now ||
	    !atomic_compare_exchange_strong_explicit(&l->last, &last, now, memory_order_relaxed,
						     memory_order_relaxed)) {
		atomic_fetch_add_explicit(&l->dropped, 1, memory_order_relaxed);
		return;
	}
	dropped = atomic_exchange_explicit(&l->dropped, 0, memory_order_relaxed);
	if (dropped)
		snprintf(suffix, sizeof(suffix), " (and %lu like it before)", dropped);
	va_start(ap, fmt);
	emit(level, fmt, ap, suffix);
	va_end(ap);
	errno = e;
}
