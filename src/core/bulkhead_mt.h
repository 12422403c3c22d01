/*
 * Bulkhead for many threads: what drivers use. core/bulkhead.h says what it is and why it is right;
 * here are the compare-and-swap loops around its steps, and the calls under the caller's lock.
 *
 *     if (bulkhead_try(b, now_ns, &permit)) {                     no lock
 *         run();
 *         permit.ending = BULKHEAD_RAN;
 *         if (!bulkhead_release(b, &permit, now_ns)) {            somebody waits
 *             lock();
 *             first = bulkhead_hand_over(b, &permit, now_ns);     wake it; may be NULL
 *             while ((waiter = bulkhead_pop_granted(b, now_ns)))  and these
 *                 ...
 *             unlock();
 *         }
 *     } else {
 *         lock();
 *         answer = bulkhead_enter(b, &waiter, now_ns, priority, wait_until_ns);
 *         unlock();
 *         GRANTED: waiter.permit is ours. QUEUED: sleep until woken or until bulkhead_deadline().
 *     }
 *
 * Which calls need the lock is said once, by the two halves of this file. Two rules for drivers:
 *  1. After hand_over, resize and configure, call pop_granted until NULL before unlocking: an
 *     adaptive limit may have been waiting to grow. (With a fixed one hand_over leaves nothing.)
 *  2. At bulkhead_deadline(), call pop_expired until NULL, or let each operation withdraw its own
 *     waiter when its wait is over. Both may be mixed.
 *
 * Time that runs backwards counts as standing still, and is counted.
 *
 * The adaptive limit. Each release adds its sample to one word; whoever finds the window over
 * claims the word by a compare-and-swap, updates struct adapt alone, sets the new limit, and opens
 * the next window. Samples that come meanwhile (some tens of ns) are dropped. A limit that grows
 * while calls wait cannot be set without the lock: it is left in `limit_wanted` for the next call
 * under it, which is never far, because every release hands over while somebody waits. A limit set
 * by hand is left in `order` for the claimer; claimer and orderer each write before they look at
 * what the other writes, so one of them carries it out.
 */
#ifndef HF_CORE_BULKHEAD_MT_H
#define HF_CORE_BULKHEAD_MT_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bug.h"
#include "base/hist.h"
#include "base/hist_mt.h"
#include "base/ns.h"
#include "core/adapt.h"
#include "core/bulkhead.h"

/* Of the memory: what the fast path writes shares no cache line with the rest. */
#define BULKHEAD_ALIGN 64
/* | limit: what struct bulkhead.order holds. */
#define BULKHEAD_ORDER (UINT64_C(1) << 32)

struct bulkhead {
    /* Of the fast path. */
    alignas(BULKHEAD_ALIGN) _Atomic uint64_t word;
    _Atomic int64_t exec_ns_max;
    _Atomic int64_t mean_exec_ns;
    struct hist_mt *executions; /* inside the same memory; NULL without histograms */
    _Atomic uint64_t completed; /* without histograms, which know it themselves */
    _Atomic bool is_adaptive;
    /* Of the fast path, rarely. */
    alignas(BULKHEAD_ALIGN) _Atomic uint64_t unused;
    _Atomic uint64_t overloaded;
    _Atomic uint64_t overruns;
    _Atomic uint64_t time_backwards;
    /* Of the adaptive limit. */
    alignas(BULKHEAD_ALIGN) _Atomic uint64_t samples;
    _Atomic int64_t window_begun_ns; /* struct adapt_window */
    _Atomic int64_t window_due_ns;
    _Atomic uint32_t window_samples;
    _Atomic uint32_t limit_wanted;
    _Atomic uint32_t limit_min; /* config.adapt, for those who do not hold the lock */
    _Atomic uint32_t limit_max;
    _Atomic uint32_t samples_min;
    _Atomic int64_t window_ns;
    _Atomic uint64_t order;       /* BULKHEAD_ORDER | a limit set by hand; 0 for none */
    _Atomic uint32_t high_before; /* high-water mark of the windows before this one */
    struct adapt adapt;           /* of whoever claimed `samples` */
    _Atomic uint64_t adapt_seen;  /* what bulkhead_view() shows of it: see bulkhead_adapt() */
    /* Under the lock. */
    alignas(BULKHEAD_ALIGN) struct bulkhead_queue queue;
    struct bulkhead_config config;
    struct hist *waits; /* of those that waited and were granted; inside the same memory or NULL */
    int64_t now_ns;     /* the latest time seen */
    uint64_t queued;
    uint64_t granted_late;
    uint64_t refused[BULKHEAD_ANSWERS];
    struct bulkhead_reason reason;
};

/* ---- life ---- */

/* Bytes for one bulkhead, aligned to BULKHEAD_ALIGN. */
size_t bulkhead_size(const struct bulkhead_config *config);
/* In memory of that size, which stays the caller's. The configuration has passed its check. */
struct bulkhead *bulkhead_init(void *memory, const struct bulkhead_config *config, int64_t now_ns);

/* ---- any thread, without the lock ---- */

/* Closes the window of the adaptive limit if it is over, and carries out an order. Called by the
 * functions below when it may be time. */
void bulkhead_adapt(struct bulkhead *b, int64_t now_ns);

static inline void bulkhead_fill(struct bulkhead *b, int64_t now_ns, struct bulkhead_permit *out)
{
    int64_t exec_ns_max = atomic_load_explicit(&b->exec_ns_max, memory_order_relaxed);
    *out = (struct bulkhead_permit){
        .granted_ns = now_ns,
        .exec_deadline_ns = ns_add(now_ns, exec_ns_max),
        .ending = BULKHEAD_UNUSED,
        .is_held = true,
    };
}

/* Takes a permit if there is room and nobody waits. Who is refused here is not counted as refused:
 * that is bulkhead_enter()'s, which a caller that cannot wait may call with no time left. */
static inline bool bulkhead_try(struct bulkhead *b, int64_t now_ns, struct bulkhead_permit *out)
{
    uint64_t word = atomic_load_explicit(&b->word, memory_order_relaxed);
    uint64_t next;
    do {
        if (!bulkhead_step_try(word, &next))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&b->word, &word, next, memory_order_acquire,
                                                    memory_order_relaxed));
    bulkhead_fill(b, now_ns, out);
    return true;
}

static inline void bulkhead_sample(struct bulkhead *b, const struct bulkhead_permit *permit,
                                   int64_t ran_ns, int64_t now_ns)
{
    struct adapt_window window = {
        .begun_ns = atomic_load_explicit(&b->window_begun_ns, memory_order_relaxed),
        .due_ns = atomic_load_explicit(&b->window_due_ns, memory_order_relaxed),
        .samples = atomic_load_explicit(&b->window_samples, memory_order_relaxed),
    };
    if (permit->granted_ns < window.begun_ns)
        return;
    bool is_overload = permit->ending == BULKHEAD_OVERLOADED;
    uint64_t word = atomic_load_explicit(&b->samples, memory_order_relaxed);
    uint64_t next;
    do {
        next = adapt_step_sample(word, ran_ns, is_overload);
    } while (next != word &&
             !atomic_compare_exchange_weak_explicit(&b->samples, &word, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    if (adapt_window_is_due(&window, next, now_ns))
        bulkhead_adapt(b, now_ns);
}

/* Books an operation that has ended. */
static inline void bulkhead_book(struct bulkhead *b, const struct bulkhead_permit *permit,
                                 int64_t now_ns)
{
    if (permit->ending == BULKHEAD_UNUSED) {
        atomic_fetch_add_explicit(&b->unused, 1, memory_order_relaxed);
        return;
    }
    int64_t ran_ns = now_ns - permit->granted_ns;
    if (ran_ns < 0) {
        ran_ns = 0;
        atomic_fetch_add_explicit(&b->time_backwards, 1, memory_order_relaxed);
    }
    if (b->executions != NULL)
        hist_mt_record(b->executions, ran_ns);
    else
        atomic_fetch_add_explicit(&b->completed, 1, memory_order_relaxed);
    if (now_ns > permit->exec_deadline_ns)
        atomic_fetch_add_explicit(&b->overruns, 1, memory_order_relaxed);
    if (permit->ending == BULKHEAD_OVERLOADED)
        atomic_fetch_add_explicit(&b->overloaded, 1, memory_order_relaxed);
    /* A load and a store: when two threads meet here one of them is forgotten, which an average of
     * many can bear, and a locked instruction is saved. */
    int64_t mean_ns = atomic_load_explicit(&b->mean_exec_ns, memory_order_relaxed);
    mean_ns = mean_ns == 0 ? ran_ns : mean_ns + (ran_ns - mean_ns) / 16;
    atomic_store_explicit(&b->mean_exec_ns, ns_max(mean_ns, 1), memory_order_relaxed);
    if (atomic_load_explicit(&b->is_adaptive, memory_order_relaxed))
        bulkhead_sample(b, permit, ran_ns, now_ns);
}

/* Gives a permit back. False: calls wait, and the permit is still held; call bulkhead_hand_over()
 * under the lock. */
static inline bool bulkhead_release(struct bulkhead *b, struct bulkhead_permit *permit,
                                    int64_t now_ns)
{
    hf_assert(permit->is_held);
    uint64_t word = atomic_load_explicit(&b->word, memory_order_relaxed);
    uint64_t next;
    do {
        hf_assert(bulkhead_word_in_use(word) > 0);
        if (!bulkhead_step_release(word, &next))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&b->word, &word, next, memory_order_release,
                                                    memory_order_relaxed));
    permit->is_held = false;
    bulkhead_book(b, permit, now_ns);
    return true;
}

static inline uint32_t bulkhead_in_use(struct bulkhead *b)
{
    return bulkhead_word_in_use(atomic_load_explicit(&b->word, memory_order_relaxed));
}

static inline uint32_t bulkhead_limit(struct bulkhead *b)
{
    return bulkhead_word_limit(atomic_load_explicit(&b->word, memory_order_relaxed));
}

/* ---- under the lock ---- */

/* Asks for a permit, and to wait for one until `wait_until_ns` (or wait_ns_max) if there is none.
 * GRANTED: waiter->permit is the caller's. QUEUED: the waiter must not move. Else it is IDLE. The
 * numbers behind the answer are in waiter->reason. */
enum bulkhead_answer bulkhead_enter(struct bulkhead *b, struct bulkhead_waiter *waiter,
                                    int64_t now_ns, uint8_t priority, int64_t wait_until_ns);

/* Gives a permit back like bulkhead_release(), and passes it on: returns the waiter that got it,
 * its permit filled in, or NULL if there was none. Never refuses. */
struct bulkhead_waiter *bulkhead_hand_over(struct bulkhead *b, struct bulkhead_permit *permit,
                                           int64_t now_ns);

/* The next waiter for which there is room, its permit filled in; NULL if there is none. */
struct bulkhead_waiter *bulkhead_pop_granted(struct bulkhead *b, int64_t now_ns);

/* Takes a waiter out of the queue. True: it holds nothing. False: it had been granted, and its
 * permit is to be used or released. */
bool bulkhead_withdraw(struct bulkhead *b, struct bulkhead_waiter *waiter, int64_t now_ns);

/* The next waiter whose wait limit has passed, out of the queue; NULL if there is none. */
struct bulkhead_waiter *bulkhead_pop_expired(struct bulkhead *b, int64_t now_ns);

/* When to ask for expired waiters again; HF_NEVER if nobody waits. */
int64_t bulkhead_deadline(const struct bulkhead *b);

/* Another limit, at once; 0 closes. An adaptive limit (put between its bounds) goes on from there.
 * What runs, runs on. */
void bulkhead_resize(struct bulkhead *b, uint32_t limit, int64_t now_ns);

/* Another configuration, which has passed its check. Permits, waiters and counters stay, and so
 * does has_histograms; an adaptive limit that stays adaptive keeps what it has learnt. */
void bulkhead_configure(struct bulkhead *b, const struct bulkhead_config *config, int64_t now_ns);

uint32_t bulkhead_waiting(const struct bulkhead *b);
/* The one to be served next; NULL if nobody waits. */
const struct bulkhead_waiter *bulkhead_first(const struct bulkhead *b);
/* Of the last bulkhead_enter(). Those of the fast path leave none. */
const struct bulkhead_reason *bulkhead_reason(const struct bulkhead *b);
void bulkhead_view(struct bulkhead *b, int64_t now_ns, struct bulkhead_view *view);
/* How long those who got a permit had waited (at once: 0) and how long executions took. Empty
 * without histograms. */
void bulkhead_waits(struct bulkhead *b, struct hist *out);
void bulkhead_executions(struct bulkhead *b, struct hist *out);

#endif
