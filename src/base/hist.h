/*
 * Latency histogram in fixed memory: how often each duration came, to a known relative error, from
 * 1 ns to more than an hour.
 *
 * Buckets are log-linear, after Gil Tene's HdrHistogram: every power of two is cut into 64 buckets
 * of equal width.
 *
 *     0 1 2 ... 127 | 128 130 ... 254 | 256 260 ... 508 | ... | 2^41 ... 2^42-1 | 2^42 and more
 *       1 ns wide   |    2 ns wide    |    4 ns wide    |     |                 |  one bucket
 *
 * Invariants
 *  1. A bucket is at most 1/64 as wide as the numbers in it are large. What is reported is its
 *     middle, so a quantile or a mean differs from the true one by at most 1/128 (0.8 %); below
 *     128 ns it is exact. Count, minimum and maximum are always exact.
 *  2. Merging is exact: hist_merge(a, b) equals the histogram of all durations of a and b.
 *  3. The sum of all buckets is the count.
 *
 * HIST_RANGE_NS (73 minutes) and more fall into one last bucket; a quantile that lands there is
 * reported as the maximum, and the mean counts it as the maximum. A negative duration, which only a
 * clock that went backwards can make, counts as 0. Recording is an index by shifts, three
 * increments and two comparisons: no division, no loop, no floating point.
 *
 * A struct hist has one owner. Many threads record into a struct hist_mt (base/hist_mt.h) and its
 * snapshot is a struct hist. The size is 19 kB: keep it inside what it measures, off the stack.
 */
#ifndef HF_BASE_HIST_H
#define HF_BASE_HIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bits.h"

#define HIST_SUB_BITS   6                               /* 64 buckets to a power of two */
#define HIST_RANGE_BITS 42                              /* of the first number that overflows */
#define HIST_RANGE_NS   (INT64_C(1) << HIST_RANGE_BITS) /* 4398 s */
#define HIST_OVERFLOW   (((HIST_RANGE_BITS - HIST_SUB_BITS) + 1) << HIST_SUB_BITS) /* its index */
#define HIST_BUCKETS    (HIST_OVERFLOW + 1)

struct hist {
    uint64_t count;
    int64_t min_ns; /* INT64_MAX while empty: read it through hist_min_ns() */
    int64_t max_ns; /* -1 while empty */
    uint64_t buckets[HIST_BUCKETS];
};

/* Index of the bucket of a duration >= 0.
 *
 * The highest HIST_SUB_BITS + 1 bits of the number are kept; how many were dropped says in which
 * row of 64 it lies. Setting the lowest of those bits before taking the logarithm puts all numbers
 * below 128 into rows of width 1 without a case of their own. */
static inline size_t hist_index(int64_t ns)
{
    uint64_t v = (uint64_t)ns;
    unsigned drop = bits_log2(v | (UINT64_C(1) << HIST_SUB_BITS)) - HIST_SUB_BITS;
    size_t index = ((size_t)drop << HIST_SUB_BITS) + (size_t)(v >> drop);
    return index < HIST_OVERFLOW ? index : HIST_OVERFLOW;
}

void hist_reset(struct hist *hist);

/* Counts `times` equal durations. */
static inline void hist_record_n(struct hist *hist, int64_t ns, uint64_t times)
{
    if (times == 0)
        return;
    if (ns < 0)
        ns = 0;
    hist->buckets[hist_index(ns)] += times;
    hist->count += times;
    if (ns < hist->min_ns)
        hist->min_ns = ns;
    if (ns > hist->max_ns)
        hist->max_ns = ns;
}

static inline void hist_record(struct hist *hist, int64_t ns)
{
    hist_record_n(hist, ns, 1);
}

/* Adds everything that `from` holds to `into`. */
void hist_merge(struct hist *into, const struct hist *from);

/* 0 while the histogram is empty, here and below. */
int64_t hist_min_ns(const struct hist *hist);
int64_t hist_max_ns(const struct hist *hist);
int64_t hist_mean_ns(const struct hist *hist);

/* The smallest recorded duration that at least the share q of all of them does not exceed: 0.5 is
 * the median, 0.99 the 99th percentile; q <= 0 gives the minimum and q >= 1 the maximum. */
int64_t hist_quantile_ns(const struct hist *hist, double q);

struct hist_bucket {
    int64_t from_ns; /* the smallest duration that falls into it */
    int64_t last_ns; /* the largest */
    uint64_t count;
};

/* The buckets that are not empty, from small to large. `*cursor` starts at 0; false at the end.
 *
 *     size_t cursor = 0;
 *     while (hist_next(hist, &cursor, &bucket)) ...
 */
bool hist_next(const struct hist *hist, size_t *cursor, struct hist_bucket *out);

/* For whoever filled `buckets` from elsewhere (a snapshot, a file): sets the count, and the minimum
 * and maximum as near to those given as the lowest and highest bucket allow. */
void hist_recount(struct hist *hist, int64_t min_ns, int64_t max_ns);

#endif
