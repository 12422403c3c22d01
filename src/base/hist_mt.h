/*
 * The histogram that many threads record into: base/hist.h with atomic counters.
 *
 * Any thread may record and any thread may take a snapshot, at any time and without waiting.
 * Recording is one relaxed addition, and a compare-and-swap when the duration is a new minimum or
 * maximum. All orders are relaxed: a counter carries no message to another thread.
 *
 * Invariants
 *  1. No recorded duration is lost or counted twice: once the recorders are done, the snapshot
 *     equals the histogram that one thread would have made.
 *  2. A snapshot taken meanwhile is a true struct hist (count equals the sum of its buckets, the
 *     minimum and maximum lie in its outermost buckets) and holds everything that was recorded
 *     before it began; of what is being recorded during it, any part.
 */
#ifndef HF_BASE_HIST_MT_H
#define HF_BASE_HIST_MT_H

#include <stdatomic.h>

#include "base/hist.h"

struct hist_mt {
    _Atomic int64_t min_ns;
    _Atomic int64_t max_ns;
    _Atomic uint64_t buckets[HIST_BUCKETS];
};

/* Before it is shared. */
static inline void hist_mt_init(struct hist_mt *hist)
{
    atomic_init(&hist->min_ns, INT64_MAX);
    atomic_init(&hist->max_ns, -1);
    for (size_t i = 0; i < HIST_BUCKETS; i++)
        atomic_init(&hist->buckets[i], 0);
}

static inline void hist_mt_record(struct hist_mt *hist, int64_t ns)
{
    if (ns < 0)
        ns = 0;
    atomic_fetch_add_explicit(&hist->buckets[hist_index(ns)], 1, memory_order_relaxed);
    /* A failed exchange reloads the extreme and looks again: each further round means that another
     * thread has just moved it. */
    int64_t extreme = atomic_load_explicit(&hist->min_ns, memory_order_relaxed);
    while (ns < extreme &&
           !atomic_compare_exchange_weak_explicit(&hist->min_ns, &extreme, ns, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
    extreme = atomic_load_explicit(&hist->max_ns, memory_order_relaxed);
    while (ns > extreme &&
           !atomic_compare_exchange_weak_explicit(&hist->max_ns, &extreme, ns, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}

/* Overwrites `out` with what was recorded so far. The recorders are not disturbed. */
static inline void hist_mt_snapshot(struct hist_mt *hist, struct hist *out)
{
    for (size_t i = 0; i < HIST_BUCKETS; i++)
        out->buckets[i] = atomic_load_explicit(&hist->buckets[i], memory_order_relaxed);
    hist_recount(out, atomic_load_explicit(&hist->min_ns, memory_order_relaxed),
                 atomic_load_explicit(&hist->max_ns, memory_order_relaxed));
}

#endif
