/*
 * Placing: find an endpoint, take its permits, run. Called for a new call, after a backoff, and
 * whenever something that the call has waited for has changed.
 */
#include "core/guard_int.h"

#include "base/bug.h"
#include "base/ns.h"

/* Those who know when asking again makes sense may say "now", again and again: the simulator found
 * a held call that asked every nanosecond. */
#define ASK_AGAIN_NS_MIN HF_MS(1)

static void begin_attempt(struct guard_call *call)
{
    const struct guard_config *config = &call->guard->config;
    guard_leave_hold(call);
    if (call->attempts++ == 0) {
        if (call->guard->budget != NULL)
            budget_deposit(call->guard->budget, call->now_ns);
    } else {
        ++call->lane->stats.retries;
    }
    ++call->lane->stats.attempts;
    call->has_token = false;
    /* Until the driver says more, the worst is assumed: everything was sent. */
    bool may_write = call->request.route.intent != ROUTE_READ;
    call->facts = (struct outcome_facts){
        .sent = true,
        .may_write = may_write,
        .in_transaction = call->request.in_transaction,
        .commit_sent = may_write && !call->request.in_transaction,
    };
    call->was_limit = false;
    call->was_cut = false;
    call->attempt_started_ns = call->now_ns;
    call->attempt_deadline_ns =
        ns_min(call->deadline_ns,
               ns_min(ns_add(call->now_ns, config->attempt_ns_max), call->permit.exec_deadline_ns));
    call->state = GUARD_RUNNING;
    guard_push(call, GUARD_ACT_RUN)->deadline_ns = call->attempt_deadline_ns;
}

/* What stands between a call and an endpoint, collected while candidates are tried. */
struct obstacles {
    uint32_t full;            /* an endpoint whose bulkhead is full, or GUARD_NO_ENDPOINT */
    int64_t breaker_retry_ns; /* when the first of the refusing breakers may be asked again */
    bool breaker_refused;
    uint32_t races; /* breakers that changed their mind between the look and the permit */
};

HF_COLD static void note_breaker(const struct breaker *breaker, struct obstacles *in_the_way)
{
    in_the_way->breaker_refused = true;
    in_the_way->breaker_retry_ns = ns_min(in_the_way->breaker_retry_ns, breaker_retry_at(breaker));
}

/* The bulkhead's permit is held; the breaker is asked last. False: refused, and the permit is on
 * its way back. */
static bool admit(struct guard_call *call, struct obstacles *in_the_way)
{
    struct breaker *breaker = call->guard->endpoints[call->endpoint].breaker;
    if (breaker == NULL || breaker_admit(breaker, call->now_ns, &call->lease)) {
        begin_attempt(call);
        return true;
    }
    guard_release(call, &call->permit);
    note_breaker(breaker, in_the_way);
    ++in_the_way->races;
    return false;
}

/* Open breakers have a limit of their own, from when they became what a call waits for: one that
 * was held for a primary meets them as it comes back, and they are closed in the next moment. It
 * stays bounded, since the other causes are counted from the first of them. */
static int64_t held_since(struct guard_call *call, bool is_on_breakers)
{
    if (call->held_since_ns == HF_NEVER)
        call->held_since_ns = call->now_ns;
    if (!is_on_breakers)
        call->open_since_ns = HF_NEVER;
    else if (call->open_since_ns == HF_NEVER)
        call->open_since_ns = call->now_ns;
    return is_on_breakers ? call->open_since_ns : call->held_since_ns;
}

/* Waits for the view to change, for at most the hold limit; refuses if it may not. */
HF_COLD static void hold(struct guard_call *call, int64_t limit_ns, int64_t ask_again_ns,
                         enum guard_why why, enum outcome_code code)
{
    int64_t since_ns = held_since(call, why == GUARD_WHY_BREAKER_OPEN);
    int64_t until = ns_min(ns_add(since_ns, limit_ns), call->deadline_ns);
    if (call->now_ns >= until) {
        guard_refuse(call, why, code);
        return;
    }
    if (!call->has_hold && call->guard->hold != NULL) {
        if (!bulkhead_try(call->guard->hold, call->now_ns, &call->hold_permit)) {
            guard_refuse(call, GUARD_WHY_HOLD_FULL, code);
            return;
        }
        call->has_hold = true;
    }
    ++call->lane->stats.held;
    call->state = GUARD_HOLDING;
    call->wait_until_ns = ns_min(until, ns_max(ask_again_ns, call->now_ns + ASK_AGAIN_NS_MIN));
    guard_because(call, GUARD_WHY_HELD)->until_ns = until;
}

/* Tries the endpoint that route chose. True: the attempt has begun. */
static bool try_endpoint(struct guard_call *call, uint32_t endpoint, struct obstacles *in_the_way)
{
    struct guard_endpoint *use = &call->guard->endpoints[endpoint];
    if (use->breaker != NULL && breaker_state(use->breaker) != BREAKER_CLOSED &&
        !breaker_would_admit(use->breaker, call->now_ns)) {
        note_breaker(use->breaker, in_the_way);
        return false;
    }
    call->endpoint = endpoint;
    call->permit = (struct bulkhead_permit){.exec_deadline_ns = HF_NEVER};
    if (use->bulkhead != NULL && !bulkhead_try(use->bulkhead, call->now_ns, &call->permit)) {
        if (in_the_way->full == GUARD_NO_ENDPOINT)
            in_the_way->full = endpoint;
        return false;
    }
    return admit(call, in_the_way);
}

HF_COLD static void enter_queue(struct guard_call *call, uint32_t endpoint)
{
    call->endpoint = endpoint;
    call->wait_until_ns =
        ns_min(call->deadline_ns, ns_add(call->now_ns, call->guard->config.queue_ns_max));
    call->state = GUARD_ENTERING;
    guard_push(call, GUARD_ACT_ENTER)->deadline_ns = call->wait_until_ns;
}

/* The level of degradation has the first word. */
static bool is_allowed(const struct guard_call *call, const struct snapshot *view)
{
    const struct degrade_config *ladder = call->guard->config.ladder;
    return ladder == NULL ||
           degrade_config_allows(ladder, (enum degrade_level)view->level, call->request.operation);
}

HF_COLD static void fall_back(struct guard_call *call, const struct snapshot *view)
{
    const struct guard_config *config = &call->guard->config;
    call->endpoint = GUARD_NO_ENDPOINT;
    call->reason.level = view->level;
    if (degrade_config_fallback(config->ladder, (enum degrade_level)view->level,
                                call->request.operation) == DEGRADE_FALLBACK_WAIT)
        hold(call, config->hold_ns_max, HF_NEVER, GUARD_WHY_LEVEL, OUTCOME_DEGRADED);
    else
        guard_refuse(call, GUARD_WHY_LEVEL, OUTCOME_DEGRADED);
}

/* How busy each endpoint is: what its bulkhead has out. */
static void read_load(const struct guard *guard, const struct snapshot *view, uint32_t *load)
{
    for (uint32_t i = 0; i < view->count; i++) {
        struct bulkhead *bulkhead = guard->endpoints[i].bulkhead;
        load[i] = bulkhead != NULL ? bulkhead_in_use(bulkhead) : 0;
    }
}

/* Asks route for one endpoint after the other until one takes the call. False: none did, `last`
 * says why route has no more of them. */
static bool begin_somewhere(struct guard_call *call, const struct snapshot *view,
                            struct obstacles *in_the_way, struct route_decision *last)
{
    uint32_t load[SNAPSHOT_ENDPOINTS_MAX];
    struct route_request *request = &call->request.route;
    request->now_ns = call->now_ns;
    request->exclude = 0;
    request->avoid = call->tried;
    if (request->intent != ROUTE_WRITE) {
        read_load(call->guard, view, load);
        request->load = load;
    }
    bool has_begun = false;
    /* Each lost race leaves a permit to be handed over, so they are bounded; a second one is
     * contention enough. */
    while (!has_begun && in_the_way->races < 2 &&
           route_choose(view, request, &call->lane->route, last)) {
        has_begun = try_endpoint(call, last->endpoint, in_the_way);
        request->exclude |= GUARD_BIT(last->endpoint);
    }
    request->load = NULL;
    if (has_begun)
        guard_because(call, GUARD_WHY_ROUTED)->route = last->reason;
    return has_begun;
}

void guard_place(struct guard_call *call, const struct guard_event *event)
{
    hf_assert(event->view != NULL);
    if (call->now_ns >= call->deadline_ns) {
        guard_refuse(call, GUARD_WHY_DEADLINE, OUTCOME_DEADLINE);
        return;
    }
    if (!is_allowed(call, event->view)) {
        fall_back(call, event->view);
        return;
    }
    struct obstacles in_the_way = {.full = GUARD_NO_ENDPOINT, .breaker_retry_ns = HF_NEVER};
    struct route_decision decision;
    if (begin_somewhere(call, event->view, &in_the_way, &decision))
        return;
    if (in_the_way.full != GUARD_NO_ENDPOINT) {
        enter_queue(call, in_the_way.full);
        return;
    }
    call->endpoint = GUARD_NO_ENDPOINT;
    const struct guard_config *config = &call->guard->config;
    if (in_the_way.breaker_refused) {
        hold(call, config->open_hold_ns_max, in_the_way.breaker_retry_ns, GUARD_WHY_BREAKER_OPEN,
             OUTCOME_BREAKER_OPEN);
        return;
    }
    call->reason.route = decision.reason;
    hold(call, config->hold_ns_max, decision.ask_again_ns, GUARD_WHY_NO_ENDPOINT,
         OUTCOME_NO_ENDPOINT);
}

bool guard_still_fits(struct guard_call *call, const struct snapshot *view)
{
    call->request.route.now_ns = call->now_ns;
    return is_allowed(call, view) && route_allows(view, &call->request.route, call->endpoint);
}

void guard_use_grant(struct guard_call *call, const struct guard_event *event)
{
    call->permit = call->waiter.permit;
    if (call->wants_cancel) {
        guard_release(call, &call->permit);
        guard_refuse(call, GUARD_WHY_CANCELLED, OUTCOME_CANCELLED);
        return;
    }
    if (call->now_ns >= call->deadline_ns || !guard_still_fits(call, event->view)) {
        guard_release(call, &call->permit);
        guard_place(call, event);
        return;
    }
    struct obstacles in_the_way = {.full = GUARD_NO_ENDPOINT, .breaker_retry_ns = HF_NEVER};
    if (admit(call, &in_the_way))
        guard_because(call, GUARD_WHY_ROUTED);
    else
        guard_place(call, event);
}
