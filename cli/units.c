/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/units.h"

#include <stdio.h>

/* Three digits. */
static void scaled(char buf[UNITS_MAX], double v, const char *space, const char *unit)
{
	int decimals = v < 9.995 ? 2 : v < 99.95 ? 1 : 0;

	/* What is whole is shown so. */
	if (v == (double)(uint64_t)v)
		decimals = 0;
	snprintf(buf, UNITS_MAX, "%.*f%s%s", decimals, v, space, unit);
}

char *units_bytes(char buf[UNITS_MAX], uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double v = (double)bytes;
	unsigned u = 0;

	for (; v >= 1024; u++)
		v /= 1024;
	scaled(buf, v, " ", units[u]);
	return buf;
}

char *units_count(char buf[UNITS_MAX], uint64_t n)
{
	static const char *const units[] = {"", "k", "M", "G", "T", "P", "E"};
	double v = (double)n;
	unsigned u = 0;

	if (n >= 100000)
		for (; v >= 1000; u++)
			v /= 1000;
	scaled(buf, v, "", units[u]);
	return buf;
}

char *units_time(char buf[UNITS_MAX], double seconds)
{
	if (seconds < 120)
		snprintf(buf, UNITS_MAX, "%.0f s", seconds);
	else if (seconds < 7200)
		snprintf(buf, UNITS_MAX, "%.0f min", seconds / 60);
	else if (seconds < 172800)
		snprintf(buf, UNITS_MAX, "%.0f h", seconds / 3600);
	else
		snprintf(buf, UNITS_MAX, "%.0f d", seconds / 86400);
	return buf;
}

char *units_latency(char buf[UNITS_MAX], uint64_t us)
{
	if (us < 1000)
		snprintf(buf, UNITS_MAX, "%u us", (unsigned)us);
	else
		scaled(buf, (double)us / 1000, " ", "ms");
	return buf;
}
