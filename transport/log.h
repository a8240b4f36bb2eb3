/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines to stderr (journald reads them there), one write each, any thread. Levels are syslog's;
 * under systemd a line starts with "<N>" so that journald keeps the level.
 */
#ifndef TRANSPORT_LOG_H
#define TRANSPORT_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <syslog.h>

/*
 * Lines above @level are dropped; the default is LOG_INFO. LOG_DEBUG is all categories of debug
 * lines, whatever else is set.
 */
void log_set_level(int level);
int log_level(void);
/* LOG_ERR .. LOG_DEBUG, as in the configuration */
const char *log_level_name(int level);

/* What debug lines are about. Each category is logged for itself, none at first. */
enum debug_category {
	DEBUG_TCP,
	DEBUG_RDMA,
	DEBUG_FABRICS,
	DEBUG_UPSTREAM,
	DEBUG_PATH,
	DEBUG_ANA,
	DEBUG_IO,
	DEBUG_CONFIG,
	DEBUG_RPC,
	DEBUG_COUNT,
};
#define DEBUG_ALL ((1u << DEBUG_COUNT) - 1)
const char *debug_name(enum debug_category c);
/* A bit for each name in a list with commas, or "all" or "none"; false: *@unknown is not one. */
bool debug_parse(const char *names, unsigned *categories, const char **unknown);
void log_set_debug(unsigned categories);
unsigned log_debug_categories(void);

__attribute__((format(printf, 2, 3))) void log_line(int level, const char *fmt, ...);

#define log_err(...)	log_line(LOG_ERR, __VA_ARGS__)
#define log_warn(...)	log_line(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)	log_line(LOG_INFO, __VA_ARGS__)

/* A bit for each category that is logged now. */
extern _Atomic unsigned log_debugging;
__attribute__((format(printf, 2, 3))) void log_debug_line(enum debug_category c, const char *fmt,
							  ...);
/* One load and a branch that is never taken, where I/O comes by. */
#define log_debug(category, ...)                                                                  \
	do {                                                                                      \
		if (__builtin_expect(atomic_load_explicit(&log_debugging, memory_order_relaxed) & \
					     1u << DEBUG_##category,                              \
				     0))                                                          \
			log_debug_line(DEBUG_##category, __VA_ARGS__);                            \
	} while (0)

/* At most one line a second per call site; the next one says how many were dropped. */
struct log_limit {
	_Atomic unsigned long last, dropped;
};
__attribute__((format(printf, 3, 4))) void log_limited(struct log_limit *l, int level,
						       const char *fmt, ...);
#define log_ratelimited(level, ...)                       \
	do {                                              \
		static struct log_limit limit_;           \
		log_limited(&limit_, level, __VA_ARGS__); \
	} while (0)

#endif
