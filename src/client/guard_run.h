/*
 * hf_guard_run(): any function behind the same guard that statements have.
 *
 *     core/guard.h decides. Its snapshot has one endpoint, which is always well: with the layers
 *     degrade, cache and route idle, what is left are deadline, retry and budget, bulkhead and
 *     breaker, in that order.
 *
 * The call lives on the stack of the thread that runs it; nothing is allocated. A thread that must
 * wait for a place sleeps on a condition of its own, which the thread that leaves signals. By hand
 * (hf_guard_enter) the call must outlive the function that admitted it: it is allocated, and the
 * permit points to it.
 *
 * A function cannot be stopped. What its limit and the deadline do is: it is not started again once
 * one of them has passed, it is told how much time is left, and it counts as slow, while it still
 * runs, from breaker.slow_ns on.
 *
 * What this header offers is for metrics.c; the functions themselves are in holdfast.h.
 */
#ifndef HF_CLIENT_GUARD_RUN_H
#define HF_CLIENT_GUARD_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/breaker_mt.h"
#include "core/bulkhead_mt.h"
#include "core/guard.h"
#include "holdfast.h"

struct guard_run_view {
    char name[SNAPSHOT_NAME_BYTES];
    uint64_t calls, results[GUARD_RESULTS], attempts, retries, queued, fallbacks;
    uint64_t events_dropped;
    struct breaker_view breaker;
    struct bulkhead_view bulkhead;
};

void guard_run_view(struct hf_guard *guard, struct guard_run_view *view);

/* How long the function took, of all its runs. 19 kB: not for the stack. */
void guard_run_executions(struct hf_guard *guard, struct hist *out);

/* False in a child after fork(). */
bool guard_run_is_here(const struct hf_guard *guard);

struct mem *guard_run_mem(struct hf_guard *guard);

#endif
