/* SPDX-License-Identifier: Apache-2.0 */
/* What went wrong, on stderr. A message names the thing and the next step. */
#ifndef CLI_COMPLAIN_H
#define CLI_COMPLAIN_H

/* Exit statuses. */
#define EXIT_REFUSED	 1 /* the daemon says no, or the result cannot be written */
#define EXIT_USAGE	 2
#define EXIT_UNREACHABLE 3

__attribute__((format(printf, 1, 2))) void complain(const char *fmt, ...);
/* The same, and ends the program with EXIT_USAGE. */
__attribute__((noreturn, format(printf, 1, 2))) void bad_usage(const char *fmt, ...);

#endif
