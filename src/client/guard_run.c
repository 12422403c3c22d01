/*
 * The driver of a guarded function: run() carries out what the guard orders until nothing is
 * outstanding, wait_for() sleeps where the guard waits.
 *
 * What a function's result is to the guard: FAILED is taken for a lost connection outside of a
 * transaction, of work that is harmless to repeat: it counts against the breaker, and it is
 * retried. REFUSED is taken for the caller's own cancellation: it says nothing of what is behind
 * the function, and nothing is repeated.
 */
#include "client/guard_run.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bug.h"
#include "base/container_of.h"
#include "base/ns.h"
#include "base/rng.h"
#include "client/alive.h"
#include "client/errors.h"
#include "client/events.h"
#include "client/options.h"
#include "os/clock.h"
#include "os/entropy.h"
#include "os/mem.h"

#define ALIGN 64

struct hf_guard {
    struct mem mem; /* events, and calls by hand */
    const _Atomic uint32_t *alive;
    struct guard guard; /* of hf_guard_run() */
    struct guard once;  /* of hf_guard_enter(), which cannot repeat anything */
    struct budget budget;
    struct breaker *breaker; /* in the same block of memory, as is the bulkhead */
    struct bulkhead *bulkhead;
    struct snapshot view;       /* one endpoint, always well; constant */
    pthread_mutex_t queue_lock; /* over the bulkhead's queue, and run.was_granted */
    hf_fallback *fallback;
    int64_t slow_ns;
    uint64_t seed;
    _Atomic uint64_t draws;

    struct events *events;
    pthread_mutex_t news_lock; /* over news_cursor */
    uint32_t news_cursor;      /* of the breaker's history */
    _Atomic uint32_t news_generation;
    _Atomic bool was_full;

    /* Written by each call, and so on a line of their own. Calls and attempts follow from them. */
    _Alignas(ALIGN) _Atomic uint64_t results[GUARD_RESULTS];
    _Atomic uint64_t retries, queued, fallbacks;
};

/* One call, until nothing of it is outstanding. */
struct run {
    struct guard_call call; /* must not move while it waits */
    struct guard_lane lane;
    struct hf_guard *guard;
    pthread_cond_t granted;
    bool has_condition;
    bool was_granted; /* under queue_lock */
    bool is_admitted; /* RUN was ordered, and the work has not been run */
    int64_t run_until_ns;
    int64_t began_ns, now_ns;
    enum guard_result result;
};

/* ---- life ---- */

static size_t rounded(size_t size)
{
    return (size + ALIGN - 1) / ALIGN * ALIGN;
}

static void make_view(struct hf_guard *guard, const char *name)
{
    snapshot_init(&guard->view);
    struct snapshot_endpoint *endpoint =
        snapshot_add(&guard->view, name != NULL && name[0] != '\0' ? name : "guard");
    endpoint->role = ENDPOINT_PRIMARY;
    endpoint->health = ENDPOINT_UP;
    endpoint->accepts_reads = true;
    endpoint->accepts_writes = true;
    snapshot_seal(&guard->view);
}

static void make_guards(struct hf_guard *guard, const struct client_config *config)
{
    struct guard_config run;
    struct budget_config budget;
    const bool has_budget = options_budget(&config->retry, &budget);
    options_guard(config, &config->retry, &run);
    run.retry = retry_config_default();
    options_retry(&config->retry, &run.retry);
    run.hold_ns_max = 0; /* there is no other server to wait for */
    run.open_hold_ns_max = 0;
    budget_init(&guard->budget, &budget, clock_now());
    guard_init(&guard->guard, &run);
    guard->guard.budget = has_budget ? &guard->budget : NULL;
    guard->guard.endpoints[0] =
        (struct guard_endpoint){.breaker = guard->breaker, .bulkhead = guard->bulkhead};
    guard->once = guard->guard;
    guard->once.config.retry.attempts_max = 1;
}

/* The guard, its breaker and its bulkhead, in this order, in one block. NULL: no memory. */
static struct hf_guard *make(const struct client_config *config)
{
    struct breaker_config breaker;
    struct bulkhead_config bulkhead;
    options_breaker(config, &breaker);
    options_bulkhead(config, 0, &bulkhead);
    const size_t breaker_at = rounded(sizeof(struct hf_guard));
    const size_t bulkhead_at = breaker_at + rounded(breaker_size(&breaker));
    const size_t size = bulkhead_at + rounded(bulkhead_size(&bulkhead));
    char *block = aligned_alloc(ALIGN, size);
    if (block == NULL)
        return NULL;
    memset(block, 0, size);
    struct hf_guard *guard = (struct hf_guard *)(void *)block;
    const int64_t now_ns = clock_now();
    guard->seed = entropy_seed();
    guard->breaker = breaker_init(block + breaker_at, &breaker, guard->seed, now_ns);
    guard->bulkhead = bulkhead_init(block + bulkhead_at, &bulkhead, now_ns);
    if (config->breaker.is_disabled)
        breaker_force(guard->breaker, BREAKER_DISABLED, now_ns);
    make_guards(guard, config);
    mem_init(&guard->mem, 0);
    pthread_mutex_init(&guard->queue_lock, NULL);
    pthread_mutex_init(&guard->news_lock, NULL);
    return guard;
}

/* Nothing that was before it began is news. */
static void skip_news(struct hf_guard *guard)
{
    struct breaker_change change;
    while (breaker_changes_next(guard->breaker, &guard->news_cursor, &change)) {
    }
    atomic_store(&guard->news_generation, breaker_generation(guard->breaker));
}

int hf_guard_new(struct hf_guard **out, const struct hf_guard_options *options,
                 struct hf_error *err)
{
    static const struct hf_guard_options defaults;
    struct client_config config;
    struct hf_err why;
    if (out == NULL)
        return error_set(err, HF_E_USAGE, "hf_guard_new() needs a place for the guard");
    *out = NULL;
    if (options == NULL)
        options = &defaults;
    if (options_for_guard(&config, options, &why) != HF_OK)
        return error_from_err(err, HF_E_CONFIG, &why);
    struct hf_guard *guard = make(&config);
    if (guard == NULL)
        return error_set(err, HF_E_MEMORY, "out of memory for a guard");
    make_view(guard, options->name);
    guard->fallback = options->fallback;
    guard->slow_ns = config.slow_ns;
    guard->alive = alive_new(&why);
    if (guard->alive == NULL ||
        events_new(&guard->events, &options->hooks, &guard->mem, &why) != HF_OK) {
        hf_guard_free(guard);
        return error_from_err(err, HF_E_MEMORY, &why);
    }
    skip_news(guard);
    *out = guard;
    return HF_SUCCESS;
}

void hf_guard_free(struct hf_guard *guard)
{
    if (guard == NULL)
        return;
    const bool is_child = guard->alive != NULL && !alive_here(guard->alive);
    events_free(guard->events);
    alive_free(guard->alive);
    pthread_mutex_destroy(&guard->queue_lock);
    pthread_mutex_destroy(&guard->news_lock);
    if (!is_child) /* which has copies of permits that the parent's threads hold */
        mem_deinit(&guard->mem);
    free(guard);
}

/* ---- news ---- */

static void tell_breaker(struct hf_guard *guard)
{
    struct breaker_change change;
    pthread_mutex_lock(&guard->news_lock);
    atomic_store(&guard->news_generation, breaker_generation(guard->breaker));
    while (breaker_changes_next(guard->breaker, &guard->news_cursor, &change))
        events_tell(guard->events, change.at_ns,
                    &(struct hf_event){.kind = HF_EVENT_BREAKER,
                                       .name = guard->view.endpoints[0].name,
                                       .from = breaker_state_name(change.from),
                                       .to = breaker_state_name(change.to),
                                       .detail = breaker_cause_text(change.cause)});
    pthread_mutex_unlock(&guard->news_lock);
}

static void tell_simple(struct hf_guard *guard, int64_t now_ns, int kind, const char *to,
                        const char *detail, int64_t duration_ns)
{
    events_tell(guard->events, now_ns,
                &(struct hf_event){.kind = kind,
                                   .name = guard->view.endpoints[0].name,
                                   .to = to,
                                   .detail = detail,
                                   .duration_ms = duration_ns / HF_MS(1)});
}

static void tell_bulkhead(struct hf_guard *guard, const struct run *run)
{
    const enum guard_why why = guard_reason(&run->call)->why;
    const bool is_full = why == GUARD_WHY_BULKHEAD_FULL || why == GUARD_WHY_QUEUE_TIMEOUT;
    if (is_full && !atomic_exchange(&guard->was_full, true))
        tell_simple(guard, run->now_ns, HF_EVENT_BULKHEAD, "full",
                    "calls are refused, or wait in vain for a place", 0);
    else if (!is_full && atomic_load_explicit(&guard->was_full, memory_order_relaxed) &&
             bulkhead_in_use(guard->bulkhead) < bulkhead_limit(guard->bulkhead) &&
             atomic_exchange(&guard->was_full, false))
        tell_simple(guard, run->now_ns, HF_EVENT_BULKHEAD, "free", "there are places again", 0);
}

/* What the end of a call brings to light. */
static void tell(struct hf_guard *guard, const struct run *run)
{
    if (guard->events == NULL)
        return;
    const int64_t took_ns = run->now_ns - run->began_ns;
    if (breaker_generation(guard->breaker) !=
        atomic_load_explicit(&guard->news_generation, memory_order_relaxed))
        tell_breaker(guard);
    tell_bulkhead(guard, run);
    if (took_ns >= guard->slow_ns)
        tell_simple(guard, run->now_ns, HF_EVENT_SLOW, "", "the call took long", took_ns);
    events_deliver(guard->events);
}

static void tell_retry(struct run *run)
{
    struct hf_guard *guard = run->guard;
    const struct guard_reason *reason = guard_reason(&run->call);
    char detail[96];
    if (guard->events == NULL || run->call.state != GUARD_BACKOFF)
        return;
    snprintf(detail, sizeof detail, "attempt %u failed, the next one is in %lld ms",
             reason->attempts, (long long)((reason->until_ns - reason->at_ns) / HF_MS(1)));
    tell_simple(guard, run->now_ns, HF_EVENT_RETRY, "", detail, 0);
    events_deliver(guard->events);
}

/* ---- driving ---- */

static struct guard_event event_of(struct run *run, enum guard_event_kind kind)
{
    run->now_ns = clock_now();
    return (struct guard_event){.kind = kind, .now_ns = run->now_ns, .view = &run->guard->view};
}

static void feed(struct run *run, enum guard_event_kind kind)
{
    const struct guard_event event = event_of(run, kind);
    guard_feed(&run->call, &event);
}

/* Its turn has come. Under the lock. */
static void wake(struct guard_call *granted)
{
    struct run *run = container_of(granted, struct run, call);
    run->was_granted = true;
    pthread_cond_signal(&run->granted);
}

static void at_queue(struct run *run, const struct guard_action *action)
{
    struct hf_guard *guard = run->guard;
    if (action->kind == GUARD_ACT_ENTER && !run->has_condition) {
        pthread_condattr_t attr;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&run->granted, &attr);
        pthread_condattr_destroy(&attr);
        run->has_condition = true;
    }
    const struct guard_event event = event_of(run, GUARD_EV_TICK);
    pthread_mutex_lock(&guard->queue_lock);
    struct guard_call *granted = guard_apply_locked(&run->call, action, &event);
    for (; granted != NULL; granted = guard_next_granted(&guard->guard, 0, run->now_ns))
        wake(granted);
    pthread_mutex_unlock(&guard->queue_lock);
}

static void carry_out(struct run *run, const struct guard_action *action)
{
    switch (action->kind) {
    case GUARD_ACT_RUN:
        run->is_admitted = true;
        run->run_until_ns = action->deadline_ns;
        return;
    case GUARD_ACT_ENTER:
    case GUARD_ACT_WITHDRAW:
    case GUARD_ACT_HAND_OVER:
        at_queue(run, action);
        return;
    case GUARD_ACT_DONE:
        run->result = action->result;
        return;
    case GUARD_ACT_TELL: /* nobody watches what is behind a function */
    case GUARD_ACT_STOP: /* never ordered: TICK is not fed while the function runs */
    case GUARD_ACT_RESOLVE:
    case GUARD_ACT_CACHE:
    case GUARD_ACT_FREE:
        return;
    }
}

static void wait_for_place(struct run *run)
{
    struct hf_guard *guard = run->guard;
    const int64_t until_ns = guard_deadline(&run->call);
    const struct timespec until = {.tv_sec = until_ns / HF_SEC(1), .tv_nsec = until_ns % HF_SEC(1)};
    pthread_mutex_lock(&guard->queue_lock);
    while (!run->was_granted && clock_now() < until_ns)
        pthread_cond_timedwait(&run->granted, &guard->queue_lock, &until);
    const bool was_granted = run->was_granted;
    run->was_granted = false;
    pthread_mutex_unlock(&guard->queue_lock);
    feed(run, was_granted ? GUARD_EV_GRANTED : GUARD_EV_TICK);
}

/* Until the guard wants the function run, or the call is over. */
static void drive(struct run *run)
{
    for (;;) {
        struct guard_action action;
        while (!run->is_admitted && guard_next(&run->call, &action))
            carry_out(run, &action);
        if (run->is_admitted || run->call.state == GUARD_OVER)
            return;
        if (run->call.state == GUARD_QUEUED || run->call.state == GUARD_LEAVING) {
            wait_for_place(run);
        } else {
            clock_sleep_until(guard_deadline(&run->call));
            feed(run, GUARD_EV_TICK);
        }
    }
}

static void start(struct run *run, struct hf_guard *guard, struct guard *decider)
{
    static const struct guard_request request = {
        .route = {.intent = ROUTE_WRITE}, .operation = DEGRADE_WRITE, .idempotent = true};
    run->guard = guard;
    run->lane.stats = (struct guard_stats){0}; /* its route needs no chance for one endpoint */
    run->has_condition = false;
    run->was_granted = false;
    run->is_admitted = false;
    guard_call_init(&run->call, decider, &run->lane);
    struct guard_event event = event_of(run, GUARD_EV_START);
    event.request = &request;
    run->began_ns = run->now_ns;
    guard_feed(&run->call, &event);
    drive(run);
}

/* The function has ended. */
static void settle(struct run *run, int work_result)
{
    struct hf_guard *guard = run->guard;
    struct guard_event event = event_of(run, GUARD_EV_ENDED);
    run->is_admitted = false;
    if (work_result == HF_WORK_DONE) {
        event.outcome.code = OUTCOME_SUCCESS;
    } else {
        event.outcome.code = work_result == HF_WORK_REFUSED ? OUTCOME_CANCELLED : OUTCOME_CONN_LOST;
        event.facts.sent = work_result != HF_WORK_REFUSED;
        event.random = rng_hash(guard->seed, atomic_fetch_add(&guard->draws, 1));
    }
    guard_feed(&run->call, &event);
    tell_retry(run);
    drive(run);
}

static void count(_Atomic uint64_t *counter, uint64_t more)
{
    if (more > 0)
        atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

static void finish(struct run *run)
{
    struct hf_guard *guard = run->guard;
    const struct guard_stats *stats = &run->lane.stats;
    if (run->has_condition)
        pthread_cond_destroy(&run->granted);
    count(&guard->results[run->result], 1);
    count(&guard->retries, stats->retries);
    count(&guard->queued, stats->queued);
    tell(guard, run);
}

/* ---- answers ---- */

static int check(const struct hf_guard *guard, struct hf_error *err)
{
    if (guard == NULL)
        return error_set(err, HF_E_USAGE, "there is no guard");
    if (!alive_here(guard->alive))
        return error_set(err, HF_E_FORKED,
                         "the guard belongs to another process, of which this one is a child");
    return HF_SUCCESS;
}

/* The function itself said no, and what it said in `last` is the answer. */
static int answer_of_work(const struct run *run, int work_result, const struct hf_error *last,
                          struct hf_error *err)
{
    if (err == NULL)
        return HF_E_CALLBACK;
    const char *message =
        last->message[0] != '\0' ? last->message : "the guarded function has failed";
    error_set(err, HF_E_CALLBACK, "%s", message);
    error_detail(err, "%s", last->detail);
    error_hint(err, "%s", last->hint);
    if (last->sqlstate[0] != '\0')
        memcpy(err->sqlstate, last->sqlstate, sizeof err->sqlstate);
    err->callback = work_result;
    err->attempts = guard_reason(&run->call)->attempts;
    err->may_repeat = work_result != HF_WORK_REFUSED;
    snprintf(err->endpoint, sizeof err->endpoint, "%s", run->guard->view.endpoints[0].name);
    return HF_E_CALLBACK;
}

static int answer(const struct run *run, int work_result, const struct hf_error *last,
                  struct hf_error *err)
{
    const struct guard_reason *reason = guard_reason(&run->call);
    if (run->result == GUARD_SERVED)
        return HF_SUCCESS;
    if (reason->attempts > 0 && work_result != HF_WORK_DONE)
        return answer_of_work(run, work_result, last, err);
    return error_from_guard(err, run->result, reason, &run->guard->view, NULL);
}

static int fall_back(struct hf_guard *guard, int code, void *arg, const struct hf_error *why,
                     struct hf_error *err)
{
    struct hf_error said;
    error_clear(&said);
    if (guard->fallback(why, arg, &said) == 0) {
        count(&guard->fallbacks, 1);
        return HF_SUCCESS;
    }
    if (err != NULL)
        *err = *why;
    return code;
}

int hf_guard_run(struct hf_guard *guard, hf_guard_work *work, void *arg, struct hf_error *err)
{
    struct run run;
    struct hf_error last;
    int work_result = HF_WORK_DONE;
    int code = check(guard, err);
    if (code != HF_SUCCESS)
        return code;
    if (work == NULL)
        return error_set(err, HF_E_USAGE, "there is no function to be run");
    start(&run, guard, &guard->guard);
    while (run.is_admitted) {
        const struct hf_work told = {.attempt = guard_reason(&run.call)->attempts,
                                     .remaining_ms =
                                         ns_max(0, run.run_until_ns - run.now_ns) / HF_MS(1)};
        error_clear(&last);
        work_result = work(&told, arg, &last);
        settle(&run, work_result);
    }
    finish(&run);
    if (run.result == GUARD_SERVED)
        return HF_SUCCESS;
    if (guard->fallback == NULL)
        return answer(&run, work_result, &last, err);
    struct hf_error why;
    code = answer(&run, work_result, &last, &why);
    return fall_back(guard, code, arg, &why, err);
}

/* ---- by hand ---- */

_Static_assert(sizeof(struct run *) <= sizeof(((struct hf_permit *)0)->opaque[0]),
               "a permit holds a pointer");

static struct run *run_of(const struct hf_permit *permit)
{
    return (struct run *)(uintptr_t)permit->opaque[0];
}

int hf_guard_enter(struct hf_guard *guard, struct hf_permit *permit, struct hf_error *err)
{
    if (permit == NULL)
        return error_set(err, HF_E_USAGE, "hf_guard_enter() needs a place for the permit");
    memset(permit, 0, sizeof *permit);
    int code = check(guard, err);
    if (code != HF_SUCCESS)
        return code;
    struct run *run = mem_alloc(&guard->mem, sizeof *run);
    if (run == NULL)
        return error_set(err, HF_E_MEMORY, "out of memory for a permit");
    start(run, guard, &guard->once);
    if (run->is_admitted) {
        permit->opaque[0] = (uint64_t)(uintptr_t)run;
        return HF_SUCCESS;
    }
    finish(run);
    code = answer(run, HF_WORK_DONE, NULL, err);
    mem_free(&guard->mem, run);
    return code;
}

void hf_guard_leave(struct hf_guard *guard, struct hf_permit *permit, int work_result)
{
    if (guard == NULL || permit == NULL || run_of(permit) == NULL)
        return;
    struct run *run = run_of(permit);
    memset(permit, 0, sizeof *permit);
    if (alive_here(guard->alive)) {
        settle(run, work_result);
        finish(run);
    }
    mem_free(&guard->mem, run);
}

bool hf_guard_left(struct hf_guard *guard, struct hf_permit *permit, bool is_good)
{
    hf_guard_leave(guard, permit, is_good ? HF_WORK_DONE : HF_WORK_FAILED);
    return is_good;
}

/* ---- seeing ---- */

void guard_run_view(struct hf_guard *guard, struct guard_run_view *view)
{
    const int64_t now_ns = clock_now();
    memset(view, 0, sizeof *view);
    memcpy(view->name, guard->view.endpoints[0].name, sizeof view->name);
    for (size_t i = 0; i < GUARD_RESULTS; i++) {
        view->results[i] = atomic_load(&guard->results[i]);
        view->calls += view->results[i];
    }
    view->retries = atomic_load(&guard->retries);
    /* Each call that was not refused began with one. */
    view->attempts = view->calls - view->results[GUARD_REFUSED] + view->retries;
    view->queued = atomic_load(&guard->queued);
    view->fallbacks = atomic_load(&guard->fallbacks);
    view->events_dropped = events_dropped(guard->events);
    breaker_view(guard->breaker, now_ns, &view->breaker);
    pthread_mutex_lock(&guard->queue_lock);
    bulkhead_view(guard->bulkhead, now_ns, &view->bulkhead);
    pthread_mutex_unlock(&guard->queue_lock);
}

void guard_run_executions(struct hf_guard *guard, struct hist *out)
{
    pthread_mutex_lock(&guard->queue_lock);
    bulkhead_executions(guard->bulkhead, out);
    pthread_mutex_unlock(&guard->queue_lock);
}

bool guard_run_is_here(const struct hf_guard *guard)
{
    return alive_here(guard->alive);
}

struct mem *guard_run_mem(struct hf_guard *guard)
{
    return &guard->mem;
}
