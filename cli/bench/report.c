/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "cli/bench/report.h"

static double us(uint64_t ns)
{
	return (double)ns / 1e3;
}

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

static double sec(uint64_t ns)
{
	return (double)ns / 1e9;
}

static double per_second(uint64_t n, uint64_t ns)
{
	return ns ? (double)n / sec(ns) : 0;
}

static double cpu_seconds(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
	       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
}

/* Takes the reference. */
static void print_json(json_t *obj)
{
	if (!obj)
		abort();
	json_dumpf(obj, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	putchar('\n');
	fflush(stdout);
	json_decref(obj);
}

void report_connected(const struct options *o)
{
	if (o->json) {
		print_json(json_pack("{ss si}", "type", "connected", "queues", (int)o->queues));
		return;
	}
	printf("%u queues connected\n", o->queues);
	fflush(stdout);
}

void report_interval(const struct options *o, const struct gen_interval *ivl, uint64_t at,
		     uint64_t len)
{
	double iops = per_second(ivl->ios, len), rate = per_second(ivl->bytes, len);

	if (o->json) {
		print_json(json_pack("{ss sf sf sf sf sf sI}", "type", "interval", "seconds",
				     sec(at), "iops", iops, "bytes_per_second", rate,
				     "longest_pause_ms", ms(ivl->longest_pause),
				     "longest_latency_ms", ms(ivl->longest_latency), "errors",
				     (json_int_t)ivl->errors));
		return;
	}
	printf("%6.1f s  %8.0f IOPS  %8.1f MB/s  pause %7.1f ms  latency %7.1f ms  errors %" PRIu64
	       "\n",
	       sec(at), iops, rate / 1e6, ms(ivl->longest_pause), ms(ivl->longest_latency),
	       ivl->errors);
	fflush(stdout);
}

static const char *status_name(const struct gen_status *s, char *buf, size_t len)
{
	if (s->status == 0xffff)
		return "connection lost";
	snprintf(buf, len, "0x%x", s->status);
	return buf;
}

static json_t *statuses(const struct gen_result *r)
{
	json_t *obj = json_object();
	char buf[16];

	for (unsigned i = 0; i < r->nr_statuses; i++)
		json_object_set_new(obj, status_name(&r->statuses[i], buf, sizeof(buf)),
				    json_integer((json_int_t)r->statuses[i].count));
	return obj;
}

static json_t *latencies(const struct hist *h)
{
	return json_pack("{sf sf sf sf sf}", "mean", h->count ? us(h->sum) / (double)h->count : 0.0,
			 "p50", us(hist_percentile(h, 50)), "p99", us(hist_percentile(h, 99)),
			 "p99.9", us(hist_percentile(h, 99.9)), "max", us(h->max));
}

static void result_json(const struct options *o, const struct gen_result *r, const char *error)
{
	json_t *obj = json_pack(
		"{ss ss? sf sI sI sI sI sf sf so sf sI so sI sI sI sI sI sI sf}", "type", "result",
		"error", error, "seconds", sec(r->elapsed), "ios", (json_int_t)r->ios, "reads",
		(json_int_t)r->reads, "writes", (json_int_t)r->writes, "bytes",
		(json_int_t)r->bytes, "iops", per_second(r->ios, r->elapsed), "bytes_per_second",
		per_second(r->bytes, r->elapsed), "latency_us", latencies(&r->latency),
		"longest_pause_ms", ms(r->longest_pause), "errors", (json_int_t)r->errors,
		"errors_by_status", statuses(r), "retries", (json_int_t)r->retries, "unfinished",
		(json_int_t)r->unfinished, "blocks_verified", (json_int_t)r->blocks_checked,
		"verify_failures", (json_int_t)r->verify_failures, "readback_ios",
		(json_int_t)r->readback_ios, "seed", (json_int_t)o->seed, "cpu_seconds",
		cpu_seconds());

	print_json(obj);
}

static void result_text(const struct options *o, const struct gen_result *r, const char *error)
{
	const struct hist *h = &r->latency;
	char buf[16];

	if (error)
		printf("FAILED: %s\n", error);
	if (error && !r->ios)
		return;
	printf("%" PRIu64 " reads, %" PRIu64
	       " writes of %u bytes in %.2f s: %.0f IOPS, %.1f MB/s\n",
	       r->reads, r->writes, o->bs, sec(r->elapsed), per_second(r->ios, r->elapsed),
	       per_second(r->bytes, r->elapsed) / 1e6);
	printf("latency us: p50 %.1f  p99 %.1f  p99.9 %.1f  max %.1f\n", us(hist_percentile(h, 50)),
	       us(hist_percentile(h, 99)), us(hist_percentile(h, 99.9)), us(h->max));
	printf("longest pause %.1f ms, retries %" PRIu64 ", errors %" PRIu64 ", own CPU %.2f s\n",
	       ms(r->longest_pause), r->retries, r->errors, cpu_seconds());
	for (unsigned i = 0; i < r->nr_statuses; i++)
		printf("  status %s: %" PRIu64 "\n", status_name(&r->statuses[i], buf, sizeof(buf)),
		       r->statuses[i].count);
	if (o->verify)
		printf("verify: %" PRIu64 " blocks checked, %" PRIu64 " wrong reads; %" PRIu64
		       " I/Os read back at the end\n",
		       r->blocks_checked, r->verify_failures, r->readback_ios);
	if (r->unfinished)
		printf("%u I/Os never came back\n", r->unfinished);
}

void report_result(const struct options *o, const struct gen_result *r, const char *error)
{
	if (o->json)
		result_json(o, r, error);
	else
		result_text(o, r, error);
}
