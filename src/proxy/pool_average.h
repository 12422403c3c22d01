/*
 * Averages of what a part of a pool does, over the last minute or two, as PgBouncer shows them:
 * from the counters as they were when the period before the running one began.
 *
 *     | older        | newer        | now
 *     |--- period ---|--- period ---|------ ...        average = (now - older) / time between
 *
 * Kept with each part and moved on by its worker's tick once a second; costs a comparison there.
 */
#ifndef HF_PROXY_POOL_AVERAGE_H
#define HF_PROXY_POOL_AVERAGE_H

#include <stdint.h>

struct pool_part;
struct pool_stats;

#define POOL_AVERAGE_PERIOD_NS HF_SEC(60) /* PgBouncer's stats_period */

/* A tick of its worker. */
void pool_average_tick(struct pool_part *part, int64_t now_ns);

/* What was counted since, and for how long. */
int64_t pool_average_since(const struct pool_part *part, int64_t now_ns, struct pool_stats *out);

/* Adds one's numbers to another's. */
void pool_stats_add(struct pool_stats *sum, const struct pool_stats *stats);

#endif
