/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters with one writing thread and any number of readers. Relaxed atomics: on every machine we
 * run on they compile to the plain loads and stores they replace, without a data race.
 */
#ifndef TRANSPORT_STATS_H
#define TRANSPORT_STATS_H

#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint64_t stat_t;

static inline void stat_add(stat_t *s, uint64_t n)
{
	atomic_store_explicit(s, atomic_load_explicit(s, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static inline void stat_sub(stat_t *s, uint64_t n)
{
	stat_add(s, (uint64_t)0 - n);
}

static inline void stat_set(stat_t *s, uint64_t n)
{
	atomic_store_explicit(s, n, memory_order_relaxed);
}

static inline uint64_t stat_get(const stat_t *s)
{
	return atomic_load_explicit((stat_t *)s, memory_order_relaxed);
}

#endif
