/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines to stderr (journald reads them there), one write each, any thread. Levels are syslog's;
 * under systemd a line starts with "<N>" so that journald keeps the level.
 */
#ifndef TRANSPORT_LOG_H
#define TRANSPORT_LOG_H

#include <syslog.h>

/* Lines above @level are dropped; the default is LOG_INFO. */
void log_set_level(int level);
int log_level(void);

__attribute__((format(printf, 2, 3))) void log_line(int level, const char *fmt, ...);

#define log_err(...)	log_line(LOG_ERR, __VA_ARGS__)
#define log_warn(...)	log_line(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)	log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                    \
	do {                                              \
		if (log_level() >= LOG_DEBUG)             \
			log_line(LOG_DEBUG, __VA_ARGS__); \
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
