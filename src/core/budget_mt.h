/*
 * Budget for many threads: what callers use. core/budget.h says what it is and proves its bound;
 * here are the compare-and-swap loops around its steps.
 *
 *     budget_deposit(b, now_ns);                   each call, with its first attempt
 *     ...the attempt failed, and the policy says: again after 80 ms...
 *     if (budget_try_withdraw(b, now_ns))          now, not in 80 ms
 *         wait, then attempt;
 *     else
 *         the original error is the answer;
 *     ...the caller went away during the 80 ms...
 *     budget_refund(b);
 *
 * Any thread may call anything but budget_init(). Times may come from different threads in any
 * order. Nothing waits: a failed exchange means that another thread's succeeded.
 */
#ifndef HF_CORE_BUDGET_MT_H
#define HF_CORE_BUDGET_MT_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bug.h"
#include "core/budget.h"

struct budget {
    alignas(64) _Atomic uint64_t word;
    struct budget_config config; /* constant; on the word's line, since each deposit reads both */
    alignas(64) _Atomic uint64_t deposited;
    _Atomic uint64_t withdrawn;
    _Atomic uint64_t refused;
    _Atomic uint64_t refunded;
};

struct budget_view {
    uint32_t tokens_milli; /* thousandths of a token */
    uint64_t deposited; /* first attempts that found room in the bucket; a full one counts none */
    uint64_t withdrawn;
    uint64_t refused;
    uint64_t refunded;
};

/* Before it is shared. The configuration has passed its check. */
static inline void budget_init(struct budget *b, const struct budget_config *config, int64_t now_ns)
{
    b->config = *config;
    atomic_init(&b->word, budget_word_init(config, now_ns));
    atomic_init(&b->deposited, 0);
    atomic_init(&b->withdrawn, 0);
    atomic_init(&b->refused, 0);
    atomic_init(&b->refunded, 0);
}

/* A first attempt begins. One load while the bucket is full, which it is while all is well. */
static inline void budget_deposit(struct budget *b, int64_t now_ns)
{
    uint64_t word = atomic_load_explicit(&b->word, memory_order_relaxed);
    uint64_t next;
    do {
        if (budget_word_is_full(word, b->config.burst) ||
            !budget_step_deposit(&b->config, word, now_ns, &next))
            return;
    } while (!atomic_compare_exchange_weak_explicit(&b->word, &word, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    atomic_fetch_add_explicit(&b->deposited, 1, memory_order_relaxed);
}

/* A retry is decided: takes its token, or refuses. */
static inline bool budget_try_withdraw(struct budget *b, int64_t now_ns)
{
    uint64_t word = atomic_load_explicit(&b->word, memory_order_relaxed);
    uint64_t next;
    do {
        if (!budget_step_withdraw(&b->config, word, now_ns, &next)) {
            atomic_fetch_add_explicit(&b->refused, 1, memory_order_relaxed);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&b->word, &word, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    atomic_fetch_add_explicit(&b->withdrawn, 1, memory_order_relaxed);
    return true;
}

/* A retry whose token was taken will not run. Once for each withdrawal at most: more refunds than
 * withdrawals would be tokens out of nothing, and are a bug. */
static inline void budget_refund(struct budget *b)
{
    /* Acquire and release chain the refunds: each sees the withdrawals of all before it. */
    uint64_t before = atomic_fetch_add_explicit(&b->refunded, 1, memory_order_acq_rel);
    hf_assert(before < atomic_load_explicit(&b->withdrawn, memory_order_relaxed));
    uint64_t word = atomic_load_explicit(&b->word, memory_order_relaxed);
    uint64_t next;
    do {
        if (!budget_step_refund(&b->config, word, &next))
            return;
    } while (!atomic_compare_exchange_weak_explicit(&b->word, &word, next, memory_order_relaxed,
                                                    memory_order_relaxed));
}

/* What it holds and has counted; while others use it, figures of slightly different moments. */
static inline void budget_view(struct budget *b, int64_t now_ns, struct budget_view *view)
{
    uint64_t word = atomic_load_explicit(&b->word, memory_order_relaxed);
    view->tokens_milli = budget_word_tokens(&b->config, word, now_ns);
    view->deposited = atomic_load_explicit(&b->deposited, memory_order_relaxed);
    view->withdrawn = atomic_load_explicit(&b->withdrawn, memory_order_relaxed);
    view->refused = atomic_load_explicit(&b->refused, memory_order_relaxed);
    view->refunded = atomic_load_explicit(&b->refunded, memory_order_relaxed);
}

#endif
