/*
 * Rate for many threads: what callers use. core/rate.h says what it is; here are the
 * compare-and-swap loops around its steps.
 *
 *     if (!rate_try_take(r, now_ns, patience_ns, &wait_ns))
 *         refuse: it would have taken wait_ns;
 *     else if (wait_ns > 0)
 *         sleep, then go; or rate_refund(r) if it will not go after all;
 *
 * Any thread may call anything but rate_init(). rate_configure() changes the pace of what comes
 * from then on; what is remembered stays.
 */
#ifndef HF_CORE_RATE_MT_H
#define HF_CORE_RATE_MT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/rate.h"

struct rate {
    _Atomic int64_t word;
    _Atomic int64_t interval_ns;
    _Atomic int64_t tolerance_ns;
};

/* The configuration has passed its check. */
static inline void rate_configure(struct rate *r, const struct rate_config *config)
{
    struct rate_pace pace = rate_pace_of(config);
    atomic_store_explicit(&r->interval_ns, pace.interval_ns, memory_order_relaxed);
    atomic_store_explicit(&r->tolerance_ns, pace.tolerance_ns, memory_order_relaxed);
}

static inline void rate_init(struct rate *r, const struct rate_config *config, int64_t now_ns)
{
    atomic_init(&r->word, now_ns);
    rate_configure(r, config);
}

static inline struct rate_pace rate_pace_now(struct rate *r)
{
    return (struct rate_pace){
        .interval_ns = atomic_load_explicit(&r->interval_ns, memory_order_relaxed),
        .tolerance_ns = atomic_load_explicit(&r->tolerance_ns, memory_order_relaxed),
    };
}

static inline bool rate_try_take(struct rate *r, int64_t now_ns, int64_t wait_ns_max,
                                 int64_t *wait_ns)
{
    const struct rate_pace pace = rate_pace_now(r);
    int64_t word = atomic_load_explicit(&r->word, memory_order_relaxed), next;
    do {
        if (!rate_step_take(&pace, word, now_ns, wait_ns_max, &next, wait_ns))
            return false;
    } while (next != word &&
             !atomic_compare_exchange_weak_explicit(&r->word, &word, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

static inline void rate_refund(struct rate *r)
{
    const struct rate_pace pace = rate_pace_now(r);
    int64_t word = atomic_load_explicit(&r->word, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&r->word, &word, rate_step_refund(&pace, word),
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

static inline bool rate_is_idle(struct rate *r, int64_t now_ns)
{
    return rate_word_is_idle(atomic_load_explicit(&r->word, memory_order_relaxed), now_ns);
}

#endif
