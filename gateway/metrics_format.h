/* SPDX-License-Identifier: Apache-2.0 */
/* The text format of Prometheus (version 0.0.4), line by line. */
#ifndef GATEWAY_METRICS_FORMAT_H
#define GATEWAY_METRICS_FORMAT_H

#include <stddef.h>
#include <stdint.h>

/* Text that grows; all zero: empty. Its memory is the owner's to free. */
struct metrics_out {
	char *text; /* with a zero at its end, once something was put */
	size_t len, size;
};

__attribute__((format(printf, 2, 3))) void metrics_put(struct metrics_out *out, const char *fmt,
						       ...);
/* name="value" with what has a meaning in values escaped, and a comma before all but the first. */
void metrics_put_label(struct metrics_out *labels, const char *name, const char *value);

/* The two lines before the samples of a family. */
void metrics_put_family(struct metrics_out *out, const char *name, const char *type,
			const char *help);
/* The start of a sample, up to its value. @labels: as made above, or NULL. */
void metrics_put_name(struct metrics_out *out, const char *name, const char *labels);
/*
 * All samples of a histogram of times in seconds: @counts[i] took less than 2^(i+1) microseconds
 * and no less than half of that, the last one of @n all that is more.
 */
void metrics_put_histogram(struct metrics_out *out, const char *name, const char *labels,
			   const uint64_t *counts, unsigned n, double sum);

#endif
