/*
 * What a database remembers of its calls, and what it tells of them: counters, latencies, and the
 * news for the hooks.
 *
 *     an answered call ----record_call()----> latency, slow calls, full bulkheads, its breaker
 *     an attempt to come --record_retry()---> HF_EVENT_RETRY
 *     a COMMIT searched ---record_resolved()> HF_EVENT_RESOLVED
 *     the reaper ----------record_news()----> the watcher's news (roles, health, levels) and what
 *                                             breakers did without a call of ours
 *
 * None of these is called under a lock: they deliver what they tell (client/events.h).
 *
 * Counting is a relaxed addition for each call. Hooks that nobody set cost one comparison.
 */
#ifndef HF_CLIENT_RECORD_H
#define HF_CLIENT_RECORD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hist_mt.h"
#include "client/fallback.h"
#include "client/operations.h"
#include "core/guard.h"
#include "core/snapshot.h"

struct call;
struct hf_db;

struct record_endpoint {
    uint32_t breaker_cursor;          /* under news_lock */
    _Atomic uint32_t breaker_changes; /* generation up to which its changes were told */
    _Atomic bool was_full;
};

struct record {
    struct hist_mt latency;      /* of answered calls, whatever the answer */
    _Atomic uint64_t from_cache; /* answered without a call: HF_CACHE_FIRST */
    _Atomic uint64_t from_fallback;
    _Atomic uint64_t transactions, committed, rolled_back, tx_retries;
    _Atomic uint64_t resolved_committed, resolved_aborted, resolved_unknown;
    struct fallbacks fallbacks;
    struct operations operations;
    pthread_mutex_t news_lock; /* over the cursors */
    uint64_t watcher_cursor;
    struct record_endpoint endpoints[SNAPSHOT_ENDPOINTS_MAX];
};

enum hf_rc record_new(struct record **record, struct hf_db *db, struct hf_err *err) HF_MUST_USE;
/* NULL is allowed. */
void record_free(struct record *record, struct hf_db *db);

static inline void record_count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

void record_call(const struct call *call);
/* After the guard heard of an attempt's end: nothing, unless it wants another one. */
void record_retry(const struct call *call);
/* A transaction was answered; `was_commit`: COMMIT was what ended it. */
void record_transaction(const struct call *call, bool was_commit);
void record_resolved(const struct call *call, enum guard_resolution resolution);
void record_news(struct hf_db *db);

#endif
