/*
 * One function for each state, and three that the states share: place() finds an endpoint, settle()
 * takes an ended attempt apart, finish() answers. Each state function is total: what means nothing
 * there is counted and ignored.
 *
 * What a call may hold, and who gives it back:
 *     bulkhead permit + breaker permit   from begin_attempt() to settle(), or to abandon_attempt()
 *     place in guard.hold                from hold() to leave_hold(), called by whatever ends the
 * holding budget token                       from try_again() to begin_attempt(), which spends it,
 * or finish(), which refunds it
 */
#include "core/guard.h"

#include "base/bug.h"
#include "base/container_of.h"
#include "base/ns.h"

/* Those who know when asking again makes sense may say "now", again and again: the simulator found
 * a held call that asked every nanosecond. */
#define ASK_AGAIN_NS_MIN HF_MS(1)

#define BIT(endpoint) (UINT32_C(1) << (endpoint))

struct guard_config guard_config_default(void)
{
    return (struct guard_config){
        .retry = retry_config_database(),
        .ladder = NULL,
        .call_ns = HF_SEC(30),
        .attempt_ns_max = HF_NEVER,
        .queue_ns_max = HF_SEC(5),
        .hold_ns_max = HF_SEC(10),
        .open_hold_ns_max = HF_MS(250),
        .resolve_ns_max = HF_SEC(10),
        .blame_ns_min = HF_MS(100),
    };
}

enum hf_rc guard_config_check(const struct guard_config *config, struct hf_err *err)
{
    if (retry_config_check(&config->retry, err) != HF_OK)
        return err_while(err, "in the guard's retry policy");
    if (config->call_ns <= 0 || config->attempt_ns_max <= 0)
        return err_set(err, HF_RC_INVALID, "22023", "call and attempt limits must be above zero");
    if (config->queue_ns_max < 0 || config->hold_ns_max < 0 || config->open_hold_ns_max < 0 ||
        config->resolve_ns_max < 0)
        return err_set(err, HF_RC_INVALID, "22023", "wait limits of a guard must not be negative");
    return HF_OK;
}

void guard_init(struct guard *guard, const struct guard_config *config)
{
    *guard = (struct guard){.config = *config};
}

void guard_call_init(struct guard_call *call, struct guard *guard, struct guard_lane *lane)
{
    *call = (struct guard_call){.guard = guard, .lane = lane, .state = GUARD_IDLE};
}

/* ---- actions ---- */

static struct guard_action *push(struct guard_call *call, enum guard_action_kind kind)
{
    hf_assert(call->action_count < GUARD_ACTIONS_MAX);
    uint32_t at = (call->action_first + call->action_count++) % GUARD_ACTIONS_MAX;
    struct guard_action *action = &call->actions[at];
    action->kind = kind;
    action->endpoint = call->endpoint;
    action->attempt = call->attempts;
    action->last = false;
    return action;
}

static struct guard_reason *because(struct guard_call *call, enum guard_why why)
{
    struct guard_reason *reason = &call->reason;
    reason->why = why;
    reason->at_ns = call->now_ns;
    reason->until_ns = HF_NEVER;
    reason->attempts = call->attempts;
    reason->endpoint = call->endpoint;
    reason->outcome = call->outcome;
    return reason;
}

/* Gives a permit back; where calls wait, somebody under the lock must hand it over. */
static void release(struct guard_call *call, struct bulkhead_permit *permit)
{
    struct bulkhead *bulkhead = call->guard->endpoints[call->endpoint].bulkhead;
    if (bulkhead == NULL || bulkhead_release(bulkhead, permit, call->now_ns))
        return;
    uint8_t slot = call->given_back_next++ % GUARD_GIVEN_BACK_MAX;
    hf_assert(!call->given_back[slot].is_held);
    call->given_back[slot] = *permit;
    *permit = (struct bulkhead_permit){0};
    push(call, GUARD_ACT_HAND_OVER)->given_back = slot;
}

static void leave_hold(struct guard_call *call)
{
    if (!call->has_hold)
        return;
    bool freed = bulkhead_release(call->guard->hold, &call->hold_permit, call->now_ns);
    hf_assert(freed); /* nobody ever queues for a place in the hold */
    call->has_hold = false;
}

/* Answers the caller. `state` is GUARD_OVER, or GUARD_ENDING while something is still outstanding.
 */
static void finish(struct guard_call *call, enum guard_result result, enum guard_state state)
{
    if (call->has_token) {
        budget_refund(call->guard->budget);
        call->has_token = false;
    }
    leave_hold(call);
    call->reason.waited_ns = call->now_ns - call->started_ns;
    ++call->lane->stats.results[result];
    call->state = state;
    struct guard_action *done = push(call, GUARD_ACT_DONE);
    done->result = result;
    done->outcome = call->outcome;
    done->last = state == GUARD_OVER;
}

/* What was still out when the caller got its answer has come back. */
static void end(struct guard_call *call)
{
    call->state = GUARD_OVER;
    push(call, GUARD_ACT_FREE)->last = true;
}

/* Nothing more can be attempted: an old result if one is welcome, else the answer. */
static void give_up(struct guard_call *call, enum guard_why why)
{
    because(call, why);
    leave_hold(call);
    if (call->request.cache_ok && why != GUARD_WHY_CANCELLED && why != GUARD_WHY_DEADLINE) {
        call->state = GUARD_CACHING;
        push(call, GUARD_ACT_CACHE);
        return;
    }
    finish(call, call->attempts == 0 ? GUARD_REFUSED : GUARD_FAILED, GUARD_OVER);
}

static void refuse(struct guard_call *call, enum guard_why why, enum outcome_code code)
{
    /* After an attempt has failed, its own error says more than the reason why it is not tried
     * again. */
    if (call->attempts == 0)
        call->outcome = (struct outcome){.code = code};
    give_up(call, why);
}

/* ---- placing: find an endpoint, take its permits, run ---- */

static void begin_attempt(struct guard_call *call)
{
    const struct guard_config *config = &call->guard->config;
    leave_hold(call);
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
    push(call, GUARD_ACT_RUN)->deadline_ns = call->attempt_deadline_ns;
}

/* What stands between a call and an endpoint, collected while candidates are tried. */
struct obstacles {
    uint32_t full;            /* an endpoint whose bulkhead is full, or GUARD_NO_ENDPOINT */
    int64_t breaker_retry_ns; /* when the first of the refusing breakers may be asked again */
    bool breaker_refused;
    uint32_t races; /* breakers that changed their mind between the look and the permit */
};

static void note_breaker(const struct breaker *breaker, struct obstacles *in_the_way)
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
    release(call, &call->permit);
    note_breaker(breaker, in_the_way);
    ++in_the_way->races;
    return false;
}

/* Waits for the view to change, for at most the hold limit; refuses if it may not. */
static void hold(struct guard_call *call, int64_t limit_ns, int64_t ask_again_ns,
                 enum guard_why why, enum outcome_code code)
{
    if (call->held_since_ns == HF_NEVER)
        call->held_since_ns = call->now_ns;
    int64_t until = ns_min(ns_add(call->held_since_ns, limit_ns), call->deadline_ns);
    if (call->now_ns >= until) {
        refuse(call, why, code);
        return;
    }
    if (!call->has_hold && call->guard->hold != NULL) {
        if (!bulkhead_try(call->guard->hold, call->now_ns, &call->hold_permit)) {
            refuse(call, GUARD_WHY_HOLD_FULL, code);
            return;
        }
        call->has_hold = true;
    }
    ++call->lane->stats.held;
    call->state = GUARD_HOLDING;
    call->wait_until_ns = ns_min(until, ns_max(ask_again_ns, call->now_ns + ASK_AGAIN_NS_MIN));
    because(call, GUARD_WHY_HELD)->until_ns = until;
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

static void enter_queue(struct guard_call *call, uint32_t endpoint)
{
    call->endpoint = endpoint;
    call->wait_until_ns =
        ns_min(call->deadline_ns, ns_add(call->now_ns, call->guard->config.queue_ns_max));
    call->state = GUARD_ENTERING;
    push(call, GUARD_ACT_ENTER)->deadline_ns = call->wait_until_ns;
}

/* The level of degradation has the first word. */
static bool is_allowed(const struct guard_call *call, const struct snapshot *view)
{
    const struct degrade_config *ladder = call->guard->config.ladder;
    return ladder == NULL ||
           degrade_config_allows(ladder, (enum degrade_level)view->level, call->request.operation);
}

static void fall_back(struct guard_call *call, const struct snapshot *view)
{
    const struct guard_config *config = &call->guard->config;
    call->endpoint = GUARD_NO_ENDPOINT;
    call->reason.level = view->level;
    if (degrade_config_fallback(config->ladder, (enum degrade_level)view->level,
                                call->request.operation) == DEGRADE_FALLBACK_WAIT)
        hold(call, config->hold_ns_max, HF_NEVER, GUARD_WHY_LEVEL, OUTCOME_DEGRADED);
    else
        refuse(call, GUARD_WHY_LEVEL, OUTCOME_DEGRADED);
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
        request->exclude |= BIT(last->endpoint);
    }
    request->load = NULL;
    if (has_begun)
        because(call, GUARD_WHY_ROUTED)->route = last->reason;
    return has_begun;
}

static void place(struct guard_call *call, const struct guard_event *event)
{
    hf_assert(event->view != NULL);
    if (call->now_ns >= call->deadline_ns) {
        refuse(call, GUARD_WHY_DEADLINE, OUTCOME_DEADLINE);
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

/* Whether the endpoint that the call has waited for is still the right place, as far as a view can
 * tell. */
static bool still_fits(struct guard_call *call, const struct snapshot *view)
{
    call->request.route.now_ns = call->now_ns;
    return is_allowed(call, view) && route_allows(view, &call->request.route, call->endpoint);
}

/* A permit came after waiting: the world, and the caller's mind, may have changed meanwhile. */
static void use_grant(struct guard_call *call, const struct guard_event *event)
{
    call->permit = call->waiter.permit;
    if (call->wants_cancel) {
        release(call, &call->permit);
        refuse(call, GUARD_WHY_CANCELLED, OUTCOME_CANCELLED);
        return;
    }
    if (call->now_ns >= call->deadline_ns || !still_fits(call, event->view)) {
        release(call, &call->permit);
        place(call, event);
        return;
    }
    struct obstacles in_the_way = {.full = GUARD_NO_ENDPOINT, .breaker_retry_ns = HF_NEVER};
    if (admit(call, &in_the_way))
        because(call, GUARD_WHY_ROUTED);
    else
        place(call, event);
}

/* ---- an attempt has ended ---- */

static void try_again(struct guard_call *call, const struct guard_event *event,
                      enum outcome_may may, enum outcome_kind kind)
{
    const struct guard_config *config = &call->guard->config;
    struct retry_ask ask = {
        .now_ns = call->now_ns,
        .deadline_ns = call->deadline_ns,
        .kind = kind,
        .may = may,
        .server_delay_ns = event->server_delay_ns,
        .random = event->random,
        .is_cancelled = call->wants_cancel,
    };
    int64_t at_ns;
    enum retry_verdict verdict = retry_next(&config->retry, &call->retry, &ask, &at_ns);
    call->reason.may = may;
    call->reason.retry = verdict;
    if (verdict != RETRY_AGAIN) {
        give_up(call,
                may == OUTCOME_MAY_NOTHING ? GUARD_WHY_NOT_REPEATABLE : GUARD_WHY_RETRY_SPENT);
        return;
    }
    if (call->guard->budget != NULL) {
        if (!budget_try_withdraw(call->guard->budget, call->now_ns)) {
            give_up(call, GUARD_WHY_BUDGET_SPENT);
            return;
        }
        call->has_token = true;
    }
    call->held_since_ns = HF_NEVER;
    call->state = GUARD_BACKOFF;
    call->wait_until_ns = at_ns;
    because(call, GUARD_WHY_RETRY)->until_ns = at_ns;
    if (at_ns <= call->now_ns)
        place(call, event);
}

static void resolve(struct guard_call *call)
{
    call->state = GUARD_RESOLVING;
    call->wait_until_ns =
        ns_min(call->deadline_ns, ns_add(call->now_ns, call->guard->config.resolve_ns_max));
    because(call, GUARD_WHY_RESOLVING)->until_ns = call->wait_until_ns;
    push(call, GUARD_ACT_RESOLVE)->deadline_ns = call->wait_until_ns;
}

/* Both permits go back, the breaker hears the verdict, the watchers hear the evidence. */
static void put_back(struct guard_call *call, const struct outcome_rule *rule)
{
    struct breaker *breaker = call->guard->endpoints[call->endpoint].breaker;
    enum outcome_verdict verdict = outcome_verdict_of(rule, &call->facts);
    if (call->was_cut && verdict == OUTCOME_VERDICT_FAILURE)
        verdict = OUTCOME_VERDICT_NEUTRAL; /* we cut it short ourselves: that says nothing of the
                                              endpoint */
    if (breaker != NULL)
        breaker_record(breaker, &call->lease, verdict, call->now_ns);
    bool is_overload = rule->kind == OUTCOME_KIND_OVERLOAD || call->outcome.code == OUTCOME_TIMEOUT;
    call->permit.ending = is_overload && !call->was_cut ? BULKHEAD_OVERLOADED : BULKHEAD_RAN;
    release(call, &call->permit);
    enum outcome_endpoint evidence = outcome_evidence(rule, &call->facts);
    if (evidence > OUTCOME_EP_ALIVE && !call->was_cut)
        push(call, GUARD_ACT_TELL)->evidence = evidence;
}

/* What the attempt's end is taken for: our own limit, if that is why it was stopped. */
static struct outcome ending_of(const struct guard_call *call, const struct guard_event *event)
{
    if (call->was_limit && event->outcome.code != OUTCOME_SUCCESS)
        return (struct outcome){.code = OUTCOME_TIMEOUT};
    return event->outcome;
}

static void settle(struct guard_call *call, const struct guard_event *event)
{
    call->facts = event->facts;
    call->facts.idempotent = call->request.idempotent;
    call->facts.can_replay = call->request.can_replay;
    call->outcome = ending_of(call, event);
    const struct outcome_rule *rule = outcome_rule(call->outcome);
    put_back(call, rule);
    if (call->outcome.code == OUTCOME_SUCCESS) {
        because(call, GUARD_WHY_SUCCEEDED);
        finish(call, GUARD_SERVED, GUARD_OVER);
        return;
    }
    call->tried |= BIT(call->endpoint);
    enum outcome_may may = outcome_repeat(rule, &call->facts);
    if (may == OUTCOME_MAY_RESOLVE)
        resolve(call);
    else if (call->wants_cancel)
        give_up(call, GUARD_WHY_CANCELLED);
    else
        try_again(call, event, may, rule->kind);
}

/* ---- the states ---- */

static void ignore(struct guard_call *call)
{
    ++call->lane->stats.ignored;
}

static void in_idle(struct guard_call *call, const struct guard_event *event)
{
    if (event->kind != GUARD_EV_START) {
        ignore(call);
        return;
    }
    hf_assert(call->action_count == 0);
    call->request = *event->request;
    call->now_ns = event->now_ns;
    call->started_ns = event->now_ns;
    call->deadline_ns = call->request.deadline_ns != 0
                            ? call->request.deadline_ns
                            : ns_add(event->now_ns, call->guard->config.call_ns);
    call->held_since_ns = HF_NEVER;
    call->retry = (struct retry){0};
    call->attempts = 0;
    call->tried = 0;
    call->has_token = false;
    call->has_hold = false;
    call->wants_cancel = false;
    ++call->lane->stats.calls;
    place(call, event);
}

static void in_holding(struct guard_call *call, const struct guard_event *event)
{
    switch (event->kind) {
    case GUARD_EV_VIEW:
        place(call, event);
        return;
    case GUARD_EV_TICK:
        if (call->now_ns >= call->wait_until_ns)
            place(call, event);
        return;
    case GUARD_EV_CANCEL:
        refuse(call, GUARD_WHY_CANCELLED, OUTCOME_CANCELLED);
        return;
    case GUARD_EV_START:
    case GUARD_EV_ENTERED:
    case GUARD_EV_GRANTED:
    case GUARD_EV_WITHDRAWN:
    case GUARD_EV_PROGRESS:
    case GUARD_EV_ENDED:
    case GUARD_EV_RESOLVED:
    case GUARD_EV_CACHED:
        ignore(call);
    }
}

static void leave_queue(struct guard_call *call)
{
    call->state = GUARD_LEAVING;
    push(call, GUARD_ACT_WITHDRAW);
}

static void in_entering(struct guard_call *call, const struct guard_event *event)
{
    if (event->kind == GUARD_EV_CANCEL) {
        call->wants_cancel = true;
        return;
    }
    if (event->kind != GUARD_EV_ENTERED) {
        ignore(call);
        return;
    }
    switch (event->answer) {
    case BULKHEAD_GRANTED:
        use_grant(call, event);
        return;
    case BULKHEAD_QUEUED:
        ++call->lane->stats.queued;
        call->state = GUARD_QUEUED;
        because(call, GUARD_WHY_QUEUED)->until_ns = call->wait_until_ns;
        if (call->wants_cancel)
            leave_queue(call);
        return;
    case BULKHEAD_REFUSED_FULL:
    case BULKHEAD_REFUSED_HOPELESS:
    case BULKHEAD_REFUSED_LIMIT:
        call->reason.answer = event->answer;
        refuse(call, GUARD_WHY_BULKHEAD_FULL, OUTCOME_BULKHEAD_FULL);
        return;
    case BULKHEAD_ANSWERS:
        ignore(call);
    }
}

static void in_queued(struct guard_call *call, const struct guard_event *event)
{
    switch (event->kind) {
    case GUARD_EV_GRANTED:
        use_grant(call, event);
        return;
    case GUARD_EV_TICK:
        if (call->now_ns >= call->wait_until_ns)
            leave_queue(call);
        return;
    case GUARD_EV_VIEW:
        if (!still_fits(call, event->view))
            leave_queue(call);
        return;
    case GUARD_EV_CANCEL:
        call->wants_cancel = true;
        leave_queue(call);
        return;
    case GUARD_EV_START:
    case GUARD_EV_ENTERED:
    case GUARD_EV_WITHDRAWN:
    case GUARD_EV_PROGRESS:
    case GUARD_EV_ENDED:
    case GUARD_EV_RESOLVED:
    case GUARD_EV_CACHED:
        ignore(call);
    }
}

/* Out of the queue without a permit: by its wait limit, by its deadline, by the caller, or since
 * the role moved. */
static void left_queue(struct guard_call *call, const struct guard_event *event)
{
    if (call->wants_cancel)
        refuse(call, GUARD_WHY_CANCELLED, OUTCOME_CANCELLED);
    else if (call->now_ns >= call->deadline_ns)
        refuse(call, GUARD_WHY_DEADLINE, OUTCOME_DEADLINE);
    else if (call->now_ns >= call->wait_until_ns)
        refuse(call, GUARD_WHY_QUEUE_TIMEOUT, OUTCOME_QUEUE_TIMEOUT);
    else
        place(call, event);
}

static void in_leaving(struct guard_call *call, const struct guard_event *event)
{
    if (event->kind == GUARD_EV_WITHDRAWN && event->was_waiting) {
        left_queue(call, event);
    } else if (event->kind == GUARD_EV_GRANTED) {
        use_grant(call, event); /* the grant overtook the withdrawal */
    } else if (event->kind == GUARD_EV_TICK && call->now_ns >= call->deadline_ns) {
        call->outcome = (struct outcome){.code = OUTCOME_DEADLINE};
        because(call, GUARD_WHY_DEADLINE);
        finish(call, call->attempts == 0 ? GUARD_REFUSED : GUARD_FAILED, GUARD_ENDING);
    } else if (event->kind == GUARD_EV_CANCEL) {
        call->wants_cancel = true;
    } else if (event->kind != GUARD_EV_WITHDRAWN) {
        ignore(call);
    }
}

static void stop(struct guard_call *call)
{
    ++call->lane->stats.stopped;
    call->state = GUARD_STOPPING;
    push(call, GUARD_ACT_STOP);
}

/* The deadline passes while the attempt is out: the caller is answered now, the permits follow with
 * ENDED. */
static void answer_at_deadline(struct guard_call *call)
{
    if (call->state == GUARD_RUNNING) {
        int64_t given_ns = call->deadline_ns - call->attempt_started_ns;
        call->was_limit = given_ns >= call->guard->config.blame_ns_min;
        call->was_cut = !call->was_limit;
        stop(call);
    }
    bool is_unknown = call->facts.commit_sent && call->facts.may_write;
    call->outcome = (struct outcome){.code = OUTCOME_TIMEOUT};
    because(call, GUARD_WHY_DEADLINE);
    finish(call, is_unknown ? GUARD_UNKNOWN : GUARD_FAILED, GUARD_ENDING);
}

static void in_running(struct guard_call *call, const struct guard_event *event)
{
    switch (event->kind) {
    case GUARD_EV_ENDED:
        settle(call, event);
        return;
    case GUARD_EV_PROGRESS:
        call->facts = event->facts;
        return;
    case GUARD_EV_TICK:
        if (call->now_ns >= call->deadline_ns) {
            answer_at_deadline(call);
        } else if (call->state == GUARD_RUNNING && call->now_ns >= call->attempt_deadline_ns) {
            call->was_limit = true;
            because(call, GUARD_WHY_ATTEMPT_LIMIT);
            stop(call);
        }
        return;
    case GUARD_EV_CANCEL:
        call->wants_cancel = true;
        if (call->state == GUARD_RUNNING) {
            call->was_cut = true;
            stop(call);
        }
        return;
    case GUARD_EV_VIEW:
        return; /* a running attempt is not disturbed by news; its own ending tells more */
    case GUARD_EV_START:
    case GUARD_EV_ENTERED:
    case GUARD_EV_GRANTED:
    case GUARD_EV_WITHDRAWN:
    case GUARD_EV_RESOLVED:
    case GUARD_EV_CACHED:
        ignore(call);
    }
}

/* Answered, but an attempt, a grant, a resolution or a look into the cache is still out. */
static void in_ending(struct guard_call *call, const struct guard_event *event)
{
    switch (event->kind) {
    case GUARD_EV_ENDED:
        put_back(call, outcome_rule(ending_of(call, event)));
        end(call);
        return;
    case GUARD_EV_GRANTED:
        call->permit = call->waiter.permit;
        release(call, &call->permit);
        end(call);
        return;
    case GUARD_EV_RESOLVED:
    case GUARD_EV_CACHED:
        end(call);
        return;
    case GUARD_EV_TICK:
    case GUARD_EV_VIEW:
    case GUARD_EV_PROGRESS:
    case GUARD_EV_CANCEL:
        return;
    case GUARD_EV_START:
    case GUARD_EV_ENTERED:
    case GUARD_EV_WITHDRAWN:
        ignore(call);
    }
}

static void in_backoff(struct guard_call *call, const struct guard_event *event)
{
    if (event->kind == GUARD_EV_TICK) {
        if (call->now_ns >= call->wait_until_ns)
            place(call, event);
    } else if (event->kind == GUARD_EV_CANCEL) {
        call->wants_cancel = true;
        give_up(call, GUARD_WHY_CANCELLED);
    } else if (event->kind != GUARD_EV_VIEW) {
        ignore(call);
    }
}

static void resolved(struct guard_call *call, const struct guard_event *event)
{
    ++call->lane->stats.resolved;
    switch (event->resolution) {
    case GUARD_COMMITTED:
        because(call, GUARD_WHY_COMMIT_PROVED);
        finish(call, GUARD_SERVED, GUARD_OVER);
        return;
    case GUARD_ABORTED: {
        /* Proved not to have happened, so it may run again: a statement by us, a transaction by
         * whoever can. */
        enum outcome_may may = OUTCOME_MAY_ATTEMPT;
        if (call->facts.rows_shown)
            may = OUTCOME_MAY_NOTHING;
        else if (call->facts.in_transaction)
            may = call->facts.can_replay ? OUTCOME_MAY_TRANSACTION : OUTCOME_MAY_NOTHING;
        because(call, GUARD_WHY_ABORT_PROVED);
        if (call->wants_cancel || may == OUTCOME_MAY_NOTHING)
            finish(call, GUARD_FAILED, GUARD_OVER);
        else
            try_again(call, event, may, OUTCOME_KIND_TRANSIENT);
        return;
    }
    case GUARD_UNRESOLVED:
        because(call, GUARD_WHY_UNRESOLVED);
        finish(call, GUARD_UNKNOWN, GUARD_OVER);
    }
}

static void in_resolving(struct guard_call *call, const struct guard_event *event)
{
    switch (event->kind) {
    case GUARD_EV_RESOLVED:
        resolved(call, event);
        return;
    case GUARD_EV_TICK:
        if (call->now_ns >= call->wait_until_ns) {
            because(call, GUARD_WHY_UNRESOLVED);
            finish(call, GUARD_UNKNOWN, GUARD_ENDING);
        }
        return;
    case GUARD_EV_CANCEL:
        call->wants_cancel = true; /* the truth is still worth having, and the search is bounded */
        return;
    case GUARD_EV_VIEW:
        return;
    case GUARD_EV_START:
    case GUARD_EV_ENTERED:
    case GUARD_EV_GRANTED:
    case GUARD_EV_WITHDRAWN:
    case GUARD_EV_PROGRESS:
    case GUARD_EV_ENDED:
    case GUARD_EV_CACHED:
        ignore(call);
    }
}

static void in_caching(struct guard_call *call, const struct guard_event *event)
{
    enum guard_result without = call->attempts == 0 ? GUARD_REFUSED : GUARD_FAILED;
    if (event->kind == GUARD_EV_CACHED) {
        if (event->was_hit) {
            because(call, GUARD_WHY_FROM_CACHE);
            finish(call, GUARD_SERVED_CACHED, GUARD_OVER);
        } else {
            finish(call, without, GUARD_OVER);
        }
    } else if (event->kind == GUARD_EV_TICK) {
        if (call->now_ns >= call->deadline_ns)
            finish(call, without, GUARD_ENDING);
    } else if (event->kind != GUARD_EV_VIEW && event->kind != GUARD_EV_CANCEL) {
        ignore(call);
    }
}

static void in_over(struct guard_call *call, const struct guard_event *event)
{
    if (event->kind == GUARD_EV_START)
        in_idle(call, event);
    else if (event->kind != GUARD_EV_TICK && event->kind != GUARD_EV_VIEW &&
             event->kind != GUARD_EV_CANCEL)
        ignore(call);
}

void guard_feed(struct guard_call *call, const struct guard_event *event)
{
    if (event->now_ns > call->now_ns)
        call->now_ns = event->now_ns;
    else if (event->now_ns < call->now_ns)
        ++call->lane->stats.time_backwards;
    switch (call->state) {
    case GUARD_IDLE:
        in_idle(call, event);
        return;
    case GUARD_HOLDING:
        in_holding(call, event);
        return;
    case GUARD_ENTERING:
        in_entering(call, event);
        return;
    case GUARD_QUEUED:
        in_queued(call, event);
        return;
    case GUARD_LEAVING:
        in_leaving(call, event);
        return;
    case GUARD_RUNNING:
    case GUARD_STOPPING:
        in_running(call, event);
        return;
    case GUARD_ENDING:
        in_ending(call, event);
        return;
    case GUARD_BACKOFF:
        in_backoff(call, event);
        return;
    case GUARD_RESOLVING:
        in_resolving(call, event);
        return;
    case GUARD_CACHING:
        in_caching(call, event);
        return;
    case GUARD_OVER:
        in_over(call, event);
    }
}

int64_t guard_deadline(const struct guard_call *call)
{
    switch (call->state) {
    case GUARD_IDLE:
    case GUARD_ENDING:
    case GUARD_OVER:
        return HF_NEVER;
    case GUARD_RUNNING:
        return call->attempt_deadline_ns; /* never after the call's deadline */
    case GUARD_ENTERING:
    case GUARD_LEAVING:
    case GUARD_STOPPING:
    case GUARD_CACHING:
        return call->deadline_ns;
    case GUARD_HOLDING:
    case GUARD_QUEUED:
    case GUARD_BACKOFF:
    case GUARD_RESOLVING:
        return ns_min(call->wait_until_ns, call->deadline_ns);
    }
    return HF_NEVER;
}

const struct guard_reason *guard_reason(const struct guard_call *call)
{
    return &call->reason;
}

static struct guard_call *call_of(struct bulkhead_waiter *waiter)
{
    return waiter == NULL ? NULL : container_of(waiter, struct guard_call, waiter);
}

struct guard_call *guard_apply_locked(struct guard_call *call, const struct guard_action *action,
                                      const struct guard_event *event)
{
    struct bulkhead *bulkhead = call->guard->endpoints[action->endpoint].bulkhead;
    struct guard_event answer = *event;
    if (action->kind == GUARD_ACT_ENTER) {
        answer.kind = GUARD_EV_ENTERED;
        answer.answer = bulkhead_enter(bulkhead, &call->waiter, event->now_ns,
                                       call->request.priority, action->deadline_ns);
        guard_feed(call, &answer);
        return NULL;
    }
    if (action->kind == GUARD_ACT_WITHDRAW) {
        answer.kind = GUARD_EV_WITHDRAWN;
        answer.was_waiting = bulkhead_withdraw(bulkhead, &call->waiter, event->now_ns);
        guard_feed(call, &answer);
        return NULL;
    }
    hf_assert(action->kind == GUARD_ACT_HAND_OVER);
    struct bulkhead_permit *permit = &call->given_back[action->given_back];
    return call_of(bulkhead_hand_over(bulkhead, permit, event->now_ns));
}

struct guard_call *guard_next_granted(struct guard *guard, uint32_t endpoint, int64_t now_ns)
{
    return call_of(bulkhead_pop_granted(guard->endpoints[endpoint].bulkhead, now_ns));
}
