/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers for people. */
#ifndef CLI_UNITS_H
#define CLI_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define UNITS_MAX 32 /* bytes that each of these writes at most */

/* "512 B", "1.5 GiB" */
char *units_bytes(char buf[UNITS_MAX], uint64_t bytes);
/* "99999", "123k", "4.56M" */
char *units_count(char buf[UNITS_MAX], uint64_t n);
/* "3 s", "5 min", "2 h", "8 d" */
char *units_time(char buf[UNITS_MAX], double seconds);
/* "850 us", "12.3 ms" */
char *units_latency(char buf[UNITS_MAX], uint64_t us);

#endif
