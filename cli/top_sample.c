/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/top_sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cell.h"
#include "cli/member.h"
#include "multipath/latency.h"

#define NSEC 1000000000ull

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC + (uint64_t)ts.tv_nsec;
}

/* ---- samples ---- */

static json_t *index_of(const json_t *paths)
{
	json_t *index = json_object(), *p;
	size_t i;

	json_array_foreach((json_t *)paths, i, p) {
		char *name = format("%s %s", text_of(p, "subsystem"), text_of(p, "path"));

		json_object_set(index, name, p);
		free(name);
	}
	return index;
}

static const json_t *before(const struct sample *from, const json_t *path)
{
	char *name = format("%s %s", text_of(path, "subsystem"), text_of(path, "path"));
	const json_t *p = json_object_get(from->index, name);

	free(name);
	return p;
}

int sample_take(struct sample *s, struct client *c)
{
	int status;

	*s = (struct sample){0};
	status = client_ask(c, "path.list", json_object(), &s->paths);
	if (!status)
		status = client_ask(c, "namespace.list", json_object(), &s->namespaces);
	s->ns = now();
	s->index = index_of(s->paths);
	return status;
}

void sample_free(struct sample *s)
{
	json_decref(s->paths);
	json_decref(s->namespaces);
	json_decref(s->index);
	*s = (struct sample){0};
}

/* ---- what was done in between ---- */

struct work {
	uint64_t commands, read_bytes, write_bytes, latency_us, inflight;
	uint64_t histogram[LATENCY_BUCKETS];
};

/* Counters begin anew when a path joins a namespace anew. */
static uint64_t grown(uint64_t old, uint64_t new)
{
	return new > old ? new - old : 0;
}

static uint64_t more(const json_t *old, const json_t *new, const char *key)
{
	return grown((uint64_t)number_of(old, key), (uint64_t)number_of(new, key));
}

static uint64_t bucket(const json_t *path, unsigned b)
{
	return (uint64_t)json_integer_value(
		json_array_get(json_object_get(path, "latency_histogram"), b));
}

static void add_path(struct work *w, const json_t *old, const json_t *new)
{
	w->inflight += (uint64_t)number_of(new, "inflight");
	if (!old)
		return;
	w->commands +=
		more(old, new, "reads") + more(old, new, "writes") + more(old, new, "others");
	w->read_bytes += more(old, new, "read_bytes");
	w->write_bytes += more(old, new, "write_bytes");
	w->latency_us += more(old, new, "total_latency_us");
	for (unsigned b = 0; b < LATENCY_BUCKETS; b++)
		w->histogram[b] += grown(bucket(old, b), bucket(new, b));
}

static void add_work(struct work *sum, const struct work *w)
{
	sum->commands += w->commands;
	sum->read_bytes += w->read_bytes;
	sum->write_bytes += w->write_bytes;
	sum->latency_us += w->latency_us;
	sum->inflight += w->inflight;
	for (unsigned b = 0; b < LATENCY_BUCKETS; b++)
		sum->histogram[b] += w->histogram[b];
}

static void put(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void put_work(json_t *o, const struct work *w, double seconds)
{
	put(o, "iops", (uint64_t)((double)w->commands / seconds + 0.5));
	put(o, "read_bytes_per_second", (uint64_t)((double)w->read_bytes / seconds));
	put(o, "write_bytes_per_second", (uint64_t)((double)w->write_bytes / seconds));
	put(o, "mean_latency_us", w->commands ? w->latency_us / w->commands : 0);
	put(o, "p99_latency_us", latency_percentile(w->histogram, 99));
	put(o, "inflight", w->inflight);
}

/* The members of the namespace or path that are shown as they are. */
static json_t *named(const json_t *of, const char *const keys[])
{
	json_t *o = json_object();

	for (; *keys; keys++)
		json_object_set(o, *keys, json_object_get(of, *keys));
	return o;
}

static char *namespace_key(const json_t *of)
{
	return format("%s %d", text_of(of, "subsystem"), (int)number_of(of, "nsid"));
}

static json_t *places_of(const json_t *namespaces)
{
	json_t *places = json_object(), *ns;
	size_t i;

	json_array_foreach((json_t *)namespaces, i, ns) {
		char *key = namespace_key(ns);

		json_object_set_new(places, key, json_integer((json_int_t)i));
		free(key);
	}
	return places;
}

static json_t *path_row(const struct work *w, const json_t *path, double seconds)
{
	static const char *const keys[] = {"path", "subsystem", "nsid", "state", NULL};
	json_t *o = named(path, keys);

	put_work(o, w, seconds);
	return o;
}

/* Where its namespace is in the list; false: it has none there. */
static bool namespace_of(const json_t *places, const json_t *path, size_t *place)
{
	char *key = namespace_key(path);
	const json_t *v = json_object_get(places, key);

	free(key);
	*place = (size_t)json_integer_value(v);
	return v;
}

static json_t *namespace_row(const struct work *w, const json_t *ns, double seconds)
{
	static const char *const keys[] = {"nsid",	   "subsystem", "ana_state", "paths",
					   "usable_paths", "held",	"fenced",    NULL};
	json_t *o = named(ns, keys);

	put_work(o, w, seconds);
	return o;
}

static uint64_t sum_of(const json_t *rows, const char *key)
{
	uint64_t sum = 0;
	const json_t *row;
	size_t i;

	json_array_foreach((json_t *)rows, i, row)
		sum += (uint64_t)number_of(row, key);
	return sum;
}

static json_t *total_row(const struct work *w, const json_t *namespaces, double seconds)
{
	json_t *o = json_object();

	put_work(o, w, seconds);
	put(o, "held", sum_of(namespaces, "held"));
	put(o, "fenced", sum_of(namespaces, "fenced"));
	return o;
}

/* Adds what each path did to the sums, of its namespace and of all. */
static json_t *path_rows(const struct sample *from, const struct sample *to, double seconds,
			 struct work *of_namespaces, struct work *total)
{
	json_t *rows = json_array(), *places = places_of(to->namespaces), *path;
	size_t i, place;

	json_array_foreach(to->paths, i, path) {
		struct work w = {0};

		add_path(&w, before(from, path), path);
		add_work(total, &w);
		if (namespace_of(places, path, &place))
			add_work(&of_namespaces[place], &w);
		json_array_append_new(rows, path_row(&w, path, seconds));
	}
	json_decref(places);
	return rows;
}

json_t *sample_rates(const struct sample *from, const struct sample *to)
{
	double seconds = (double)(to->ns - from->ns) / NSEC;
	struct work *sums = calloc(json_array_size(to->namespaces) + 1, sizeof(*sums));
	struct work total = {0};
	json_t *paths, *namespaces = json_array(), *ns;
	size_t i;

	if (!sums)
		abort();
	paths = path_rows(from, to, seconds, sums, &total);
	json_array_foreach(to->namespaces, i, ns)
		json_array_append_new(namespaces, namespace_row(&sums[i], ns, seconds));
	free(sums);
	return json_pack("{s:f, s:o, s:o, s:o}", "seconds", seconds, "total",
			 total_row(&total, namespaces, seconds), "namespaces", namespaces, "paths",
			 paths);
}
