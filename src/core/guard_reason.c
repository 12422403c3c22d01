/*
 * The guard's reasons in words: one place, so that a log line, an ErrorResponse, explain and the
 * dashboard say the same thing. Messages follow PostgreSQL's rules; the numbers go into the detail,
 * the advice into the hint.
 */
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/ns.h"
#include "base/units.h"
#include "core/guard.h"

/* How a reason is told. A message with %s gets the endpoint's name, or what ended the last attempt.
 */
struct telling {
    enum guard_why why; /* its own index, for the check in guard_reason_error() */
    const char *name;
    const char *message;
    const char *hint;
};

static const struct telling tellings[GUARD_WHYS] = {
    {GUARD_WHY_NONE, "none", "nothing was decided yet", ""},
    {GUARD_WHY_ROUTED, "routed", "running on %s", ""},
    {GUARD_WHY_QUEUED, "queued", "waiting for a free place on %s", ""},
    {GUARD_WHY_HELD, "held", "waiting for an endpoint that fits", ""},
    {GUARD_WHY_RETRY, "retry", "trying again after %s", ""},
    {GUARD_WHY_RESOLVING, "resolving", "finding out whether the lost commit took effect", ""},
    {GUARD_WHY_UNRESOLVED, "unresolved", "could not find out whether the transaction was committed",
     "Look for the transaction's effect before doing it again."},
    {GUARD_WHY_FROM_CACHE, "from_cache", "answered from the last good result", ""},
    {GUARD_WHY_SUCCEEDED, "succeeded", "served by %s", ""},
    {GUARD_WHY_COMMIT_PROVED, "commit_proved",
     "the commit's answer was lost, and the commit was found", ""},
    {GUARD_WHY_ABORT_PROVED, "abort_proved", "the transaction was certainly not committed",
     "It is safe to run the whole transaction again."},
    {GUARD_WHY_NOT_REPEATABLE, "not_repeatable", "failed with %s, which forbids running it again",
     "Only the application knows whether to repeat it."},
    {GUARD_WHY_RETRY_SPENT, "retry_spent", "failed with %s and has no retries left",
     "The fault lasts longer than the retry policy bears; see what the endpoints report."},
    {GUARD_WHY_BUDGET_SPENT, "budget_spent", "failed with %s, and the retry budget is spent",
     "Many calls are failing at once: more retries would add to the load that makes them fail."},
    {GUARD_WHY_BREAKER_OPEN, "breaker_open", "the circuit breaker is open",
     "Repair what makes the calls fail; the breaker tries the endpoint again by itself."},
    {GUARD_WHY_BULKHEAD_FULL, "bulkhead_full", "too many calls are running and waiting on %s",
     "Make the calls shorter or fewer, or raise the limit or the queue of the bulkhead."},
    {GUARD_WHY_QUEUE_TIMEOUT, "queue_timeout", "no place became free in time on %s",
     "Make the calls shorter or fewer, or raise the limit of the bulkhead or the wait."},
    {GUARD_WHY_NO_ENDPOINT, "no_endpoint", "no endpoint fits the call",
     "See the state of the endpoints; a write needs a reachable primary."},
    {GUARD_WHY_HOLD_FULL, "hold_full",
     "no endpoint fits the call, and too many calls are waiting for one already",
     "Raise the limit of held calls if waiting is better than an error here."},
    {GUARD_WHY_LEVEL, "level", "the service is degraded and does not allow this operation now",
     "It recovers by itself when the endpoints do, unless the level was pinned by hand."},
    {GUARD_WHY_DEADLINE, "deadline", "the deadline of the call has passed",
     "Give the call more time, or find out where the time went."},
    {GUARD_WHY_ATTEMPT_LIMIT, "attempt_limit", "%s did not answer within the limit of an attempt",
     ""},
    {GUARD_WHY_CANCELLED, "cancelled", "cancelled by the caller", ""},
};

const char *guard_why_name(enum guard_why why)
{
    hf_assert((unsigned)why < GUARD_WHYS);
    return tellings[why].name;
}

const char *guard_state_name(enum guard_state state)
{
    static const char *const names[] = {
        [GUARD_IDLE] = "idle",           [GUARD_HOLDING] = "holding", [GUARD_ENTERING] = "entering",
        [GUARD_QUEUED] = "queued",       [GUARD_LEAVING] = "leaving", [GUARD_RUNNING] = "running",
        [GUARD_STOPPING] = "stopping",   [GUARD_ENDING] = "ending",   [GUARD_BACKOFF] = "backoff",
        [GUARD_RESOLVING] = "resolving", [GUARD_CACHING] = "caching", [GUARD_OVER] = "over",
    };
    hf_assert((unsigned)state < sizeof names / sizeof names[0]);
    return names[state];
}

/* A duration for people: whole seconds from ten of them, then milliseconds, then microseconds. */
static const char *about(int64_t ns, char out[UNITS_TEXT_MAX])
{
    int64_t unit = ns < HF_MS(10) ? HF_US(1) : ns < HF_SEC(10) ? HF_MS(1) : HF_SEC(1);
    return units_print_duration(ns < 0 ? 0 : ns - ns % unit, out);
}

/* "primary db1", or a plain word where the reason means none or the view does not know it. */
static void endpoint_text(const struct guard_reason *reason, const struct snapshot *view, char *out,
                          size_t size)
{
    if (view == NULL || reason->endpoint >= view->count)
        snprintf(out, size, "the endpoint");
    else
        snprintf(out, size, "\"%s\"", view->endpoints[reason->endpoint].name);
}

static void outcome_text(struct outcome outcome, char *out, size_t size)
{
    char sqlstate[6];
    if (outcome.code == OUTCOME_SQLSTATE) {
        sqlstate_unpack(outcome.sqlstate, sqlstate);
        snprintf(out, size, "SQLSTATE %s", sqlstate);
    } else {
        snprintf(out, size, "%s", outcome_rule(outcome)->sentence);
    }
}

/* Which SQLSTATE a client is told. What ended the last attempt, where there was one; else the
 * refusal's own. */
static const char *reason_sqlstate(const struct guard_reason *reason, char out[6])
{
    if (reason->why == GUARD_WHY_UNRESOLVED)
        return "08007";
    if (reason->why == GUARD_WHY_ABORT_PROVED)
        return "40000";
    return outcome_sqlstate(reason->outcome, out);
}

void guard_reason_error(const struct guard_reason *reason, const struct snapshot *view,
                        struct hf_err *err)
{
    hf_assert((unsigned)reason->why < GUARD_WHYS);
    const struct telling *telling = &tellings[reason->why];
    hf_assert(telling->why == reason->why);

    char endpoint[80], ended[160], sqlstate[6], waited[UNITS_TEXT_MAX], until[UNITS_TEXT_MAX];
    endpoint_text(reason, view, endpoint, sizeof endpoint);
    outcome_text(reason->outcome, ended, sizeof ended);
    bool tells_outcome = reason->why == GUARD_WHY_RETRY || reason->why == GUARD_WHY_RETRY_SPENT ||
                         reason->why == GUARD_WHY_NOT_REPEATABLE ||
                         reason->why == GUARD_WHY_BUDGET_SPENT;
    const char *subject = tells_outcome ? ended : endpoint;
    const char *mark = strstr(telling->message, "%s");
    if (mark == NULL)
        err_set(err, HF_RC_AGAIN, reason_sqlstate(reason, sqlstate), "%s", telling->message);
    else
        err_set(err, HF_RC_AGAIN, reason_sqlstate(reason, sqlstate), "%.*s%s%s",
                (int)(mark - telling->message), telling->message, subject, mark + 2);

    about(reason->waited_ns, waited);
    if (reason->until_ns == HF_NEVER)
        err_detail(err, "attempts: %u; waited: %s; last: %s; route: %s.", reason->attempts, waited,
                   ended, route_reason_name(reason->route));
    else
        err_detail(err, "attempts: %u; waited: %s; last: %s; route: %s; next in %s.",
                   reason->attempts, waited, ended, route_reason_name(reason->route),
                   about(reason->until_ns - reason->at_ns, until));
    err_hint(err, "%s", telling->hint);
}
