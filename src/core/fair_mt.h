/*
 * Fair: ranks by which those who wait are served in fair shares, whoever asks most.
 *
 * Self-clocked fair queueing (Golestani 1994). Each waiter belongs to a flow (a group of clients)
 * with a weight. On joining it gets a rank, a place on a clock that runs by service and not by
 * time:
 *
 *     rank = max(clock, last rank of its flow) + FAIR_UNIT / weight
 *     clock = rank of whoever is served
 *
 * and the lowest rank is served first (core/bulkhead.h). So while flows wait they are served in
 * the ratio of their weights, however many waiters each has; a flow that has been away begins
 * at the clock, and can neither save up its share nor be made to pay for shares nobody wanted.
 *
 * Bound: while a flow of weight w waits among flows whose weights sum to W, its next waiter is
 * served after at most W / w + (number of flows) others: a noisy flow with thousands of waiters
 * delays a calm one by its weight's share, not by its length.
 *
 * Many queues may share one clock (a pool's parts do), and then their ranks can be compared. Flows
 * are numbers; FAIR_SLOTS of them are told apart, and two that meet share their rank: they are
 * served together as one flow of either's weight, never worse than without this.
 *
 * Any thread, no lock: two that join at the same moment may get the same rank, which is a tie like
 * any other; the clock never goes back. Nothing is written while nobody waits.
 */
#ifndef HF_CORE_FAIR_MT_H
#define HF_CORE_FAIR_MT_H

#include <stdatomic.h>
#include <stdint.h>

#define FAIR_SLOTS      64
#define FAIR_UNIT       (UINT64_C(1) << 20) /* of rank, that a waiter of weight 1 costs */
#define FAIR_WEIGHT_MAX 10000

struct fair {
    _Atomic uint64_t clock;
    _Atomic uint64_t last[FAIR_SLOTS]; /* rank, by flow */
};

/* A struct full of zero bytes is ready. */

/* The rank of one more waiter of a flow; never 0. `weight` from 1 to FAIR_WEIGHT_MAX. */
static inline uint64_t fair_join(struct fair *fair, uint64_t flow, uint32_t weight)
{
    _Atomic uint64_t *last = &fair->last[flow % FAIR_SLOTS];
    uint64_t clock = atomic_load_explicit(&fair->clock, memory_order_relaxed);
    uint64_t before = atomic_load_explicit(last, memory_order_relaxed), rank;
    do
        rank = (before > clock ? before : clock) + FAIR_UNIT / weight;
    while (!atomic_compare_exchange_weak_explicit(last, &before, rank, memory_order_relaxed,
                                                  memory_order_relaxed));
    return rank;
}

/* One with this rank is served. 0, of one that had none, changes nothing. */
static inline void fair_served(struct fair *fair, uint64_t rank)
{
    uint64_t clock = atomic_load_explicit(&fair->clock, memory_order_relaxed);
    while (clock < rank &&
           !atomic_compare_exchange_weak_explicit(&fair->clock, &clock, rank, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

#endif
