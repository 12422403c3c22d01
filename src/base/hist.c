#include "base/hist.h"

#include <string.h>

void hist_reset(struct hist *hist)
{
    memset(hist, 0, sizeof *hist);
    hist->min_ns = INT64_MAX;
    hist->max_ns = -1;
}

void hist_merge(struct hist *into, const struct hist *from)
{
    for (size_t i = 0; i < HIST_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    into->count += from->count;
    if (from->min_ns < into->min_ns)
        into->min_ns = from->min_ns;
    if (from->max_ns > into->max_ns)
        into->max_ns = from->max_ns;
}

int64_t hist_min_ns(const struct hist *hist)
{
    return hist->count > 0 ? hist->min_ns : 0;
}

int64_t hist_max_ns(const struct hist *hist)
{
    return hist->count > 0 ? hist->max_ns : 0;
}

/* The inverse of hist_index(): the smallest duration of a bucket. Rows 0 and 1 are both 1 ns wide,
 * because row 0 holds the numbers that have too few bits to drop one. */
static int64_t bucket_from(size_t index)
{
    size_t row = index >> HIST_SUB_BITS;
    size_t drop = row > 0 ? row - 1 : 0;
    return (int64_t)(index - (drop << HIST_SUB_BITS)) << drop;
}

/* The largest. */
static int64_t bucket_last(size_t index)
{
    return index < HIST_OVERFLOW ? bucket_from(index + 1) - 1 : INT64_MAX;
}

static int64_t fit(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

void hist_recount(struct hist *hist, int64_t min_ns, int64_t max_ns)
{
    size_t lowest = HIST_BUCKETS, highest = 0;
    hist->count = 0;
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        if (hist->buckets[i] == 0)
            continue;
        hist->count += hist->buckets[i];
        lowest = i < lowest ? i : lowest;
        highest = i;
    }
    bool is_empty = hist->count == 0;
    hist->min_ns = is_empty ? INT64_MAX : fit(min_ns, bucket_from(lowest), bucket_last(lowest));
    hist->max_ns = is_empty ? -1 : fit(max_ns, bucket_from(highest), bucket_last(highest));
}

/* What stands for all durations of a bucket: its middle, but never less than the minimum or more
 * than the maximum, so that the ends are exact. */
static int64_t bucket_value(const struct hist *hist, size_t index)
{
    int64_t from = bucket_from(index);
    int64_t middle = index < HIST_OVERFLOW ? from + (bucket_last(index) - from + 1) / 2 : INT64_MAX;
    return fit(middle, hist->min_ns, hist->max_ns);
}

int64_t hist_mean_ns(const struct hist *hist)
{
    if (hist->count == 0)
        return 0;
    /* In floating point: the sum of an hour's waits of ten thousand clients leaves int64 in days,
     * and what a double rounds is far below the error of a bucket. */
    double sum = 0;
    for (size_t i = 0; i < HIST_BUCKETS; i++)
        if (hist->buckets[i] > 0)
            sum += (double)hist->buckets[i] * (double)bucket_value(hist, i);
    double mean = sum / (double)hist->count;
    /* Not only for rounding: (double)INT64_MAX is 2^63, which an int64 cannot hold. */
    return mean < (double)hist->max_ns ? (int64_t)mean : hist->max_ns;
}

int64_t hist_quantile_ns(const struct hist *hist, double q)
{
    if (hist->count == 0)
        return 0;
    if (!(q > 0))
        return hist->min_ns;
    if (q >= 1)
        return hist->max_ns;
    /* The rank, from 1, of the duration that is asked for: q * count rounded up, since "at least
     * the share q". A hair less, because 0.07 * 100 comes out a hair above 7; then rounding up is
     * rounding down and adding 1. */
    uint64_t rank = (uint64_t)(q * (double)hist->count * (1 - 1e-12)) + 1;
    uint64_t seen = 0;
    for (size_t i = 0; i < HIST_OVERFLOW; i++) {
        seen += hist->buckets[i];
        if (seen >= rank)
            return bucket_value(hist, i);
    }
    return hist->max_ns;
}

bool hist_next(const struct hist *hist, size_t *cursor, struct hist_bucket *out)
{
    size_t i = *cursor;
    while (i < HIST_BUCKETS && hist->buckets[i] == 0)
        i++;
    *cursor = i + 1;
    if (i >= HIST_BUCKETS)
        return false;
    *out = (struct hist_bucket){bucket_from(i), bucket_last(i), hist->buckets[i]};
    return true;
}
