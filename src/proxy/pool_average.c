#include "proxy/pool_average.h"

#include "base/ns.h"
#include "proxy/pool.h"

/* Every counter of struct pool_stats is a 64-bit number, so that what is done to all of them is
 * done in one place: here. */
#define COUNTERS (sizeof(struct pool_stats) / sizeof(uint64_t))

union counters {
    struct pool_stats stats;
    uint64_t numbers[COUNTERS];
};

_Static_assert(sizeof(union counters) == sizeof(struct pool_stats), "nothing but counters");

void pool_stats_add(struct pool_stats *sum, const struct pool_stats *stats)
{
    union counters to = {.stats = *sum}, from = {.stats = *stats};
    for (size_t i = 0; i < COUNTERS; i++)
        to.numbers[i] += from.numbers[i];
    *sum = to.stats;
}

void pool_average_tick(struct pool_part *part, int64_t now_ns)
{
    struct pool_average *average = &part->average;
    if (average->newer_ns == 0) { /* the first tick: everything before it counts as of now */
        average->newer_ns = now_ns;
        average->older_ns = now_ns;
    }
    if (ns_add(average->newer_ns, POOL_AVERAGE_PERIOD_NS) > now_ns)
        return;
    average->older = average->newer;
    average->older_ns = average->newer_ns;
    average->newer = part->stats;
    average->newer_ns = now_ns;
}

int64_t pool_average_since(const struct pool_part *part, int64_t now_ns, struct pool_stats *out)
{
    union counters now = {.stats = part->stats}, older = {.stats = part->average.older};
    for (size_t i = 0; i < COUNTERS; i++)
        now.numbers[i] -= older.numbers[i];
    *out = now.stats;
    return part->average.older_ns != 0 ? now_ns - part->average.older_ns : 0;
}
