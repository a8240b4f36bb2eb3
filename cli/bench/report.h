/* SPDX-License-Identifier: Apache-2.0 */
/* What nvmegw-bench prints: text for people, one JSON object a line for scripts. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "cli/bench/gen.h"

/* The queues are up; printed with --idle only. */
void report_connected(const struct options *o);
/* @at: ns since the load began; @len: ns that the interval lasted. */
void report_interval(const struct options *o, const struct gen_interval *ivl, uint64_t at,
		     uint64_t len);
/* @error: what ended the run early, or NULL. */
void report_result(const struct options *o, const struct gen_result *r, const char *error);

#endif
