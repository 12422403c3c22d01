/*
 * Guard: one call's life. The heart: it composes the other deciders and owns none of their state.
 *
 * A call is a read, a write, a transaction, or any guarded function. The driver tells the guard
 * what happened, the guard answers what to do next; drivers (blocking, asynchronous, proxy,
 * simulator) differ only in how they carry the orders out. Nothing here reads a clock, allocates,
 * locks, or calls out.
 *
 * The layers, outermost first, and why in this order (the argument is in ARCHITECTURE.md):
 *
 *     deadline -> degrade -> cache fallback -> retry and budget -> route -> bulkhead -> breaker
 *     -> attempt
 *
 * The breaker is asked twice: a look while routing, so that nobody queues for an endpoint that
 * would refuse anyway, and for the permit last of all, after the bulkhead, so that a probe lease is
 * never held by a call that then waits.
 *
 *   IDLE --START--> (route) --fits, and has room-----------------> RUNNING --ENDED--> (decide)
 *                    |  ^ |                                         ^                    |
 *        nobody fits |  | | bulkhead full                           |          DONE <----+
 *                    v  | '-----> ENTERING ---> QUEUED --granted----'       BACKOFF <----+
 *                 HOLDING            |            |                    RESOLVING <-------+
 *             until VIEW, TICK       '------------'--> LEAVING           CACHING <-------'
 *
 *   BACKOFF leads to (route) again. What stops an attempt (its limit, the call's deadline, the
 *   caller) leads to STOPPING, and after the deadline to ENDING.
 *
 * Invariants
 *  1. Every call is answered (DONE) exactly once, not later than its deadline, provided TICK is fed
 *     at guard_deadline().
 *  2. A bulkhead permit belongs to the operation: it is released when the driver says ENDED, even
 *     after DONE. `last` in an action says that nothing is outstanding and the memory may be used
 *     again.
 *  3. Each admitted breaker permit is recorded exactly once.
 *  4. Nothing is repeated that outcome_repeat() does not allow, and no retry starts without a token
 *     of the budget.
 *  5. A write is never run on an endpoint that the view does not call the primary.
 *  6. At most GUARD_ACTIONS_MAX actions wait in a call; the driver drains them after each event.
 *
 * What a driver owes, besides feeding and carrying out
 *  - Where the view calls an endpoint the primary, a new connection to it must prove to be one
 * (in_hot_standby, or pg_is_in_recovery) before anything runs there; if it is none, the attempt has
 * ENDED with OUTCOME_WRONG_ROLE. A view is always a little old: the simulator found a session that
 * read a former primary and missed its own write.
 *  - A connection from before a change of role (snapshot_endpoint.role_generation) is not used
 * again.
 *
 * Threads: a call and its lane belong to one thread at a time. A guard is shared; its breakers,
 * bulkheads and budget are the *_mt kind. What needs a lock (a bulkhead's queue) is left to the
 * driver as an action: see guard_apply_locked().
 */
#ifndef HF_CORE_GUARD_H
#define HF_CORE_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/breaker_mt.h"
#include "core/budget_mt.h"
#include "core/bulkhead_mt.h"
#include "core/degrade.h"
#include "core/outcome.h"
#include "core/retry.h"
#include "core/route.h"
#include "core/snapshot.h"

#define GUARD_ACTIONS_MAX    8
#define GUARD_GIVEN_BACK_MAX 4 /* of which at most so many hand a permit over */

struct guard_config {
    struct retry_config retry;
    const struct degrade_config
        *ladder;     /* what each level allows; NULL: levels are ignored; borrowed for ever */
    int64_t call_ns; /* deadline of a call that brings none */
    int64_t attempt_ns_max; /* an attempt's own limit, HF_NEVER for none */
    int64_t queue_ns_max;   /* longest wait in a bulkhead's queue */
    int64_t hold_ns_max; /* longest wait for a fitting endpoint (a failover); 0 refuses at once */
    int64_t open_hold_ns_max; /* longest wait on open breakers, for the watch to notice what they
                                 noticed */
    int64_t resolve_ns_max;   /* longest search for the outcome of a lost COMMIT */
    int64_t blame_ns_min;     /* an attempt cut off by the caller's own deadline counts against the
                               * endpoint only if it     was given at least this long: an impatient
                               * caller     must not open everybody's breaker */
};

/* 30 s a call, no attempt limit of its own, 5 s in a queue, 10 s of hold, 250 ms on open breakers
 * (two samplings and a little), 10 s to resolve, blame from 100 ms, the database retry policy. */
struct guard_config guard_config_default(void);
enum hf_rc guard_config_check(const struct guard_config *config, struct hf_err *err);

/* What a guard uses of each endpoint; index as in the snapshot. A NULL breaker or bulkhead admits
 * everything. */
struct guard_endpoint {
    struct breaker *breaker;   /* borrowed */
    struct bulkhead *bulkhead; /* borrowed */
};

/* Shared, constant after guard_init but for what its parts do atomically. */
struct guard {
    struct guard_config config;
    struct guard_endpoint endpoints[SNAPSHOT_ENDPOINTS_MAX];
    struct budget *budget; /* borrowed; NULL: retries are not budgeted */
    struct bulkhead
        *hold; /* borrowed; bounds how many calls may be held at once; NULL: unbounded */
};

struct guard_request {
    struct route_request
        route; /* intent, consistency, promise, zone ...; exclude, avoid and load are the guard's */
    enum degrade_operation operation;
    int64_t deadline_ns; /* absolute; 0: now + config.call_ns */
    uint8_t priority;    /* 0 is served first */
    bool idempotent;     /* running it twice is harmless, the caller vouches */
    bool can_replay;     /* the driver can run the whole transaction again, logic included */
    bool in_transaction; /* what runs is an explicit transaction, or part of one */
    bool cache_ok;       /* an old result is better than none */
};

enum guard_event_kind {
    GUARD_EV_START,     /* .request, .view */
    GUARD_EV_TICK,      /* .view; time has passed */
    GUARD_EV_VIEW,      /* .view; a new snapshot was published */
    GUARD_EV_ENTERED,   /* .answer of bulkhead_enter */
    GUARD_EV_GRANTED,   /* .view; the waiter got its permit */
    GUARD_EV_WITHDRAWN, /* .was_waiting, as bulkhead_withdraw said */
    GUARD_EV_PROGRESS,  /* .facts as they are now: sent, COMMIT sent, rows shown ... */
    GUARD_EV_ENDED,     /* .outcome, .facts, .view, .server_delay_ns; the attempt is over and holds
                           nothing any more */
    GUARD_EV_RESOLVED,  /* .resolution, .view */
    GUARD_EV_CACHED,    /* .was_hit */
    GUARD_EV_CANCEL,    /* the caller wants it to end; what was done stays done */
};

enum guard_resolution {
    GUARD_COMMITTED,
    GUARD_ABORTED,
    GUARD_UNRESOLVED,
};

struct guard_event {
    enum guard_event_kind kind;
    int64_t now_ns;
    uint64_t random;                     /* for backoff; any 64 bits */
    const struct snapshot *view;         /* valid during the feed only */
    const struct guard_request *request; /* copied */
    enum bulkhead_answer answer;
    struct outcome outcome;
    struct outcome_facts facts;
    int64_t server_delay_ns; /* "come back after", as the server said; 0 none */
    enum guard_resolution resolution;
    bool was_waiting;
    bool was_hit;
};

enum guard_action_kind {
    GUARD_ACT_RUN,   /* .endpoint, .deadline_ns, .attempt: start the attempt; answer with ENDED */
    GUARD_ACT_STOP,  /* cancel the running attempt; ENDED must still come */
    GUARD_ACT_ENTER, /* .endpoint: guard_apply_locked() under the driver's lock */
    GUARD_ACT_WITHDRAW,  /* .endpoint: guard_apply_locked() under the driver's lock */
    GUARD_ACT_HAND_OVER, /* .endpoint: guard_apply_locked() under the driver's lock */
    GUARD_ACT_TELL,      /* .endpoint, .evidence: what this ending says of the endpoint, for whoever
                            watches it */
    GUARD_ACT_RESOLVE,   /* .endpoint (where COMMIT was sent), .deadline_ns: find the outcome, as
                          core/commit.h does; answer with RESOLVED, once, also when it is late */
    GUARD_ACT_CACHE,     /* look for the last good result; answer with CACHED */
    GUARD_ACT_DONE,      /* .result, .outcome: answer the caller */
    GUARD_ACT_FREE,      /* what was still running after DONE has ended */
};

enum guard_result {
    GUARD_SERVED,
    GUARD_SERVED_CACHED,
    GUARD_FAILED, /* attempted, and it certainly did not take effect, or the server's own error says
                     what happened */
    GUARD_REFUSED, /* never attempted */
    GUARD_UNKNOWN, /* a commit whose outcome could not be found out in time: 08007 */
    GUARD_RESULTS
};

struct guard_action {
    enum guard_action_kind kind;
    uint32_t endpoint;
    uint32_t attempt; /* 1 for the first */
    enum outcome_endpoint evidence;
    int64_t deadline_ns;
    struct outcome outcome;
    enum guard_result result;
    uint8_t given_back; /* HAND_OVER: which permit of the call */
    bool last;          /* nothing of this call is outstanding after this action */
};

/* What one thread keeps: routing state and plain counters, read by their owner only. */
struct guard_stats {
    uint64_t calls;
    uint64_t results[GUARD_RESULTS];
    uint64_t attempts, retries, held, queued, resolved, stopped;
    uint64_t ignored;        /* events that had no meaning in their state */
    uint64_t time_backwards; /* events whose time lay before an earlier one's; clamped */
};

struct guard_lane {
    struct guard_stats stats;
    struct route_state route; /* ends with what only ROUTE_ROUND_ROBIN touches */
};

/* Why the guard did what it did last. Log lines, metrics, error DETAILs and explain all read this
 * one record. */
enum guard_why {
    GUARD_WHY_NONE,
    GUARD_WHY_ROUTED, /* .route says why there */
    GUARD_WHY_QUEUED, /* the bulkhead was full; .until_ns is the wait limit */
    GUARD_WHY_HELD,   /* waiting for a fitting endpoint; .until_ns */
    GUARD_WHY_RETRY,  /* .outcome, next attempt at .until_ns */
    GUARD_WHY_RESOLVING,
    GUARD_WHY_UNRESOLVED,
    GUARD_WHY_FROM_CACHE,
    GUARD_WHY_SUCCEEDED,
    GUARD_WHY_COMMIT_PROVED, /* the answer was lost, the commit was found */
    GUARD_WHY_ABORT_PROVED,
    GUARD_WHY_NOT_REPEATABLE, /* .outcome forbids it */
    GUARD_WHY_RETRY_SPENT,    /* .retry says which bound */
    GUARD_WHY_BUDGET_SPENT,
    GUARD_WHY_BREAKER_OPEN,  /* .until_ns: when asking again makes sense */
    GUARD_WHY_BULKHEAD_FULL, /* .answer */
    GUARD_WHY_QUEUE_TIMEOUT,
    GUARD_WHY_NO_ENDPOINT, /* .route */
    GUARD_WHY_HOLD_FULL,
    GUARD_WHY_LEVEL, /* .level does not allow it */
    GUARD_WHY_DEADLINE,
    GUARD_WHY_ATTEMPT_LIMIT,
    GUARD_WHY_CANCELLED,
    GUARD_WHYS
};

struct guard_reason {
    enum guard_why why;
    int64_t at_ns;
    int64_t until_ns;
    int64_t waited_ns; /* since the call began */
    uint32_t attempts; /* begun so far */
    uint32_t endpoint; /* GUARD_NO_ENDPOINT if none is meant */
    struct outcome outcome;
    enum outcome_may may;
    enum retry_verdict retry;
    enum bulkhead_answer answer;
    enum route_reason route;
    int level;
};

#define GUARD_NO_ENDPOINT UINT32_MAX

enum guard_state {
    GUARD_IDLE,
    GUARD_HOLDING,
    GUARD_ENTERING,
    GUARD_QUEUED,
    GUARD_LEAVING,
    GUARD_RUNNING,
    GUARD_STOPPING, /* told to stop, not yet answered */
    GUARD_ENDING,   /* answered, the attempt still out */
    GUARD_BACKOFF,
    GUARD_RESOLVING,
    GUARD_CACHING,
    GUARD_OVER,
};

/* One call. In the caller's memory; its fields are the guard's. Must not move between ENTER and
 * GRANTED/WITHDRAWN. */
struct guard_call {
    struct guard *guard;     /* borrowed */
    struct guard_lane *lane; /* borrowed */
    enum guard_state state;
    int64_t now_ns; /* latest time seen, never goes back */
    int64_t started_ns, deadline_ns, attempt_started_ns, attempt_deadline_ns, wait_until_ns;
    int64_t held_since_ns; /* HF_NEVER: not held since the last attempt */
    int64_t open_since_ns; /* HF_NEVER: not held, or not because of open breakers */
    struct guard_request request;
    struct outcome_facts facts;
    struct outcome outcome; /* of the last attempt, or why it was refused */
    enum outcome_may may;
    struct retry retry;
    uint32_t endpoint, attempts, tried; /* tried: a bit for each endpoint that failed this call */
    bool has_token; /* a budget token was taken for an attempt that has not begun */
    bool has_hold;  /* a place in guard.hold is taken */
    bool wants_cancel;
    bool was_cut; /* STOP was ordered for the caller's sake: its ending says nothing of the endpoint
                   */
    bool was_limit; /* STOP was ordered because the attempt's limit passed */
    struct breaker_permit lease;
    struct bulkhead_permit permit;
    struct guard_reason reason;
    uint32_t action_first, action_count;
    struct guard_action actions[GUARD_ACTIONS_MAX];
    /* Of calls that wait: last, so that what every call touches lies together. */
    struct bulkhead_permit hold_permit;
    struct bulkhead_permit given_back[GUARD_GIVEN_BACK_MAX]; /* on their way: HAND_OVER */
    uint8_t given_back_next;
    struct bulkhead_waiter waiter;
};

void guard_init(struct guard *guard, const struct guard_config *config);

/* Makes `call` ready for START. A call whose last action was `last` may be started again without
 * it. */
void guard_call_init(struct guard_call *call, struct guard *guard, struct guard_lane *lane);

void guard_feed(struct guard_call *call, const struct guard_event *event);
static inline bool guard_next(struct guard_call *call, struct guard_action *action)
{
    if (call->action_count == 0)
        return false;
    *action = call->actions[call->action_first];
    /* From the start again where that is possible: the same memory is warm. */
    call->action_first =
        --call->action_count == 0 ? 0 : (call->action_first + 1) % GUARD_ACTIONS_MAX;
    return true;
}
int64_t guard_deadline(const struct guard_call *call);
const struct guard_reason *guard_reason(const struct guard_call *call);

/*
 * Carries out ENTER, WITHDRAW or HAND_OVER on the bulkhead's queue and feeds the answer to `call`.
 * The caller holds its lock for that bulkhead (single-threaded drivers need none). Returns the call
 * that was granted a permit by a hand-over, to be fed GRANTED by whoever drives it, outside the
 * lock; NULL if nobody was. An adaptive limit may have grown meanwhile: before unlocking ask
 * guard_next_granted() until it says NULL.
 */
struct guard_call *guard_apply_locked(struct guard_call *call, const struct guard_action *action,
                                      const struct guard_event *event);
struct guard_call *guard_next_granted(struct guard *guard, uint32_t endpoint, int64_t now_ns);

/* The reason as a message, detail and hint with a fitting SQLSTATE. `view` names the endpoints and
 * may be NULL. */
void guard_reason_error(const struct guard_reason *reason, const struct snapshot *view,
                        struct hf_err *err);

const char *guard_why_name(enum guard_why why);
const char *guard_state_name(enum guard_state state);

#endif
