/*
 * One function for each state, and three that the states share: place() finds an endpoint, settle()
 * takes an ended attempt apart, finish() answers. Each state function is total: what means nothing
 * there is counted and ignored.
 *
 * What a call may hold, and who gives it back:
 *     bulkhead permit + breaker permit   from begin_attempt() to put_back()
 *     place in guard.hold                from hold() to leave_hold(), called by whatever ends it
 *     budget token                       from try_again() to begin_attempt(), which spends it, or
 *                                        finish(), which refunds it
 */
#include "core/guard.h"

#include "base/bug.h"
#include "base/container_of.h"
#include "base/ns.h"
#include "core/guard_int.h"

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

/* ---- an attempt has ended ---- */

HF_COLD static void try_again(struct guard_call *call, const struct guard_event *event,
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
        guard_give_up(call, may == OUTCOME_MAY_NOTHING ? GUARD_WHY_NOT_REPEATABLE
                                                       : GUARD_WHY_RETRY_SPENT);
        return;
    }
    if (call->guard->budget != NULL) {
        if (!budget_try_withdraw(call->guard->budget, call->now_ns)) {
            guard_give_up(call, GUARD_WHY_BUDGET_SPENT);
            return;
        }
        call->has_token = true;
    }
    call->held_since_ns = HF_NEVER;
    call->open_since_ns = HF_NEVER;
    call->state = GUARD_BACKOFF;
    call->wait_until_ns = at_ns;
    guard_because(call, GUARD_WHY_RETRY)->until_ns = at_ns;
    if (at_ns <= call->now_ns)
        guard_place(call, event);
}

HF_COLD static void resolve(struct guard_call *call)
{
    call->state = GUARD_RESOLVING;
    call->wait_until_ns =
        ns_min(call->deadline_ns, ns_add(call->now_ns, call->guard->config.resolve_ns_max));
    guard_because(call, GUARD_WHY_RESOLVING)->until_ns = call->wait_until_ns;
    guard_push(call, GUARD_ACT_RESOLVE)->deadline_ns = call->wait_until_ns;
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
    guard_release(call, &call->permit);
    enum outcome_endpoint evidence = outcome_evidence(rule, &call->facts);
    if (evidence > OUTCOME_EP_ALIVE && !call->was_cut)
        guard_push(call, GUARD_ACT_TELL)->evidence = evidence;
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
        guard_because(call, GUARD_WHY_SUCCEEDED);
        guard_finish(call, GUARD_SERVED, GUARD_OVER);
        return;
    }
    call->tried |= GUARD_BIT(call->endpoint);
    enum outcome_may may = outcome_repeat(rule, &call->facts);
    if (may == OUTCOME_MAY_RESOLVE)
        resolve(call);
    else if (call->wants_cancel)
        guard_give_up(call, GUARD_WHY_CANCELLED);
    else
        try_again(call, event, may, rule->kind);
}

/* ---- the states ---- */

HF_COLD static void ignore(struct guard_call *call)
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
    call->open_since_ns = HF_NEVER;
    call->retry = (struct retry){0};
    call->attempts = 0;
    call->tried = 0;
    call->has_token = false;
    call->has_hold = false;
    call->wants_cancel = false;
    ++call->lane->stats.calls;
    guard_place(call, event);
}

HF_COLD static void in_holding(struct guard_call *call, const struct guard_event *event)
{
    switch (event->kind) {
    case GUARD_EV_VIEW:
        guard_place(call, event);
        return;
    case GUARD_EV_TICK:
        if (call->now_ns >= call->wait_until_ns)
            guard_place(call, event);
        return;
    case GUARD_EV_CANCEL:
        guard_refuse(call, GUARD_WHY_CANCELLED, OUTCOME_CANCELLED);
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
    guard_push(call, GUARD_ACT_WITHDRAW);
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
        guard_use_grant(call, event);
        return;
    case BULKHEAD_QUEUED:
        ++call->lane->stats.queued;
        call->state = GUARD_QUEUED;
        guard_because(call, GUARD_WHY_QUEUED)->until_ns = call->wait_until_ns;
        if (call->wants_cancel)
            leave_queue(call);
        return;
    case BULKHEAD_REFUSED_FULL:
    case BULKHEAD_REFUSED_HOPELESS:
    case BULKHEAD_REFUSED_LIMIT:
        call->reason.answer = event->answer;
        guard_refuse(call, GUARD_WHY_BULKHEAD_FULL, OUTCOME_BULKHEAD_FULL);
        return;
    case BULKHEAD_ANSWERS:
        ignore(call);
    }
}

static void in_queued(struct guard_call *call, const struct guard_event *event)
{
    switch (event->kind) {
    case GUARD_EV_GRANTED:
        guard_use_grant(call, event);
        return;
    case GUARD_EV_TICK:
        if (call->now_ns >= call->wait_until_ns)
            leave_queue(call);
        return;
    case GUARD_EV_VIEW:
        if (!guard_still_fits(call, event->view))
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
HF_COLD static void left_queue(struct guard_call *call, const struct guard_event *event)
{
    if (call->wants_cancel)
        guard_refuse(call, GUARD_WHY_CANCELLED, OUTCOME_CANCELLED);
    else if (call->now_ns >= call->deadline_ns)
        guard_refuse(call, GUARD_WHY_DEADLINE, OUTCOME_DEADLINE);
    else if (call->now_ns >= call->wait_until_ns)
        guard_refuse(call, GUARD_WHY_QUEUE_TIMEOUT, OUTCOME_QUEUE_TIMEOUT);
    else
        guard_place(call, event);
}

HF_COLD static void in_leaving(struct guard_call *call, const struct guard_event *event)
{
    if (event->kind == GUARD_EV_WITHDRAWN && event->was_waiting) {
        left_queue(call, event);
    } else if (event->kind == GUARD_EV_GRANTED) {
        guard_use_grant(call, event); /* the grant overtook the withdrawal */
    } else if (event->kind == GUARD_EV_TICK && call->now_ns >= call->deadline_ns) {
        call->outcome = (struct outcome){.code = OUTCOME_DEADLINE};
        guard_because(call, GUARD_WHY_DEADLINE);
        guard_finish(call, call->attempts == 0 ? GUARD_REFUSED : GUARD_FAILED, GUARD_ENDING);
    } else if (event->kind == GUARD_EV_CANCEL) {
        call->wants_cancel = true;
    } else if (event->kind != GUARD_EV_WITHDRAWN) {
        ignore(call);
    }
}

HF_COLD static void stop(struct guard_call *call)
{
    ++call->lane->stats.stopped;
    call->state = GUARD_STOPPING;
    guard_push(call, GUARD_ACT_STOP);
}

/* The deadline passes while the attempt is out: the caller is answered now, the permits follow with
 * ENDED. */
HF_COLD static void answer_at_deadline(struct guard_call *call)
{
    if (call->state == GUARD_RUNNING) {
        int64_t given_ns = call->deadline_ns - call->attempt_started_ns;
        call->was_limit = given_ns >= call->guard->config.blame_ns_min;
        call->was_cut = !call->was_limit;
        stop(call);
    }
    bool is_unknown = call->facts.commit_sent && call->facts.may_write;
    call->outcome = (struct outcome){.code = OUTCOME_TIMEOUT};
    guard_because(call, GUARD_WHY_DEADLINE);
    guard_finish(call, is_unknown ? GUARD_UNKNOWN : GUARD_FAILED, GUARD_ENDING);
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
            guard_because(call, GUARD_WHY_ATTEMPT_LIMIT);
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
HF_COLD static void in_ending(struct guard_call *call, const struct guard_event *event)
{
    switch (event->kind) {
    case GUARD_EV_ENDED:
        put_back(call, outcome_rule(ending_of(call, event)));
        guard_end(call);
        return;
    case GUARD_EV_GRANTED:
        call->permit = call->waiter.permit;
        guard_release(call, &call->permit);
        guard_end(call);
        return;
    case GUARD_EV_RESOLVED:
    case GUARD_EV_CACHED:
        guard_end(call);
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

HF_COLD static void in_backoff(struct guard_call *call, const struct guard_event *event)
{
    if (event->kind == GUARD_EV_TICK) {
        if (call->now_ns >= call->wait_until_ns)
            guard_place(call, event);
    } else if (event->kind == GUARD_EV_CANCEL) {
        call->wants_cancel = true;
        guard_give_up(call, GUARD_WHY_CANCELLED);
    } else if (event->kind != GUARD_EV_VIEW) {
        ignore(call);
    }
}

HF_COLD static void resolved(struct guard_call *call, const struct guard_event *event)
{
    ++call->lane->stats.resolved;
    switch (event->resolution) {
    case GUARD_COMMITTED:
        guard_because(call, GUARD_WHY_COMMIT_PROVED);
        guard_finish(call, GUARD_SERVED, GUARD_OVER);
        return;
    case GUARD_ABORTED: {
        /* Proved not to have happened, so it may run again: a statement by us, a transaction by
         * whoever can. */
        enum outcome_may may = OUTCOME_MAY_ATTEMPT;
        if (call->facts.rows_shown || call->facts.commits_inside)
            may = OUTCOME_MAY_NOTHING;
        else if (call->facts.in_transaction)
            may = call->facts.can_replay ? OUTCOME_MAY_TRANSACTION : OUTCOME_MAY_NOTHING;
        guard_because(call, GUARD_WHY_ABORT_PROVED);
        if (call->wants_cancel || may == OUTCOME_MAY_NOTHING)
            guard_finish(call, GUARD_FAILED, GUARD_OVER);
        else
            try_again(call, event, may, OUTCOME_KIND_TRANSIENT);
        return;
    }
    case GUARD_UNRESOLVED:
        guard_because(call, GUARD_WHY_UNRESOLVED);
        guard_finish(call, GUARD_UNKNOWN, GUARD_OVER);
    }
}

HF_COLD static void in_resolving(struct guard_call *call, const struct guard_event *event)
{
    switch (event->kind) {
    case GUARD_EV_RESOLVED:
        resolved(call, event);
        return;
    case GUARD_EV_TICK:
        if (call->now_ns >= call->wait_until_ns) {
            guard_because(call, GUARD_WHY_UNRESOLVED);
            guard_finish(call, GUARD_UNKNOWN, GUARD_ENDING);
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

HF_COLD static void in_caching(struct guard_call *call, const struct guard_event *event)
{
    enum guard_result without = call->attempts == 0 ? GUARD_REFUSED : GUARD_FAILED;
    if (event->kind == GUARD_EV_CACHED) {
        if (event->was_hit) {
            guard_because(call, GUARD_WHY_FROM_CACHE);
            guard_finish(call, GUARD_SERVED_CACHED, GUARD_OVER);
        } else {
            guard_finish(call, without, GUARD_OVER);
        }
    } else if (event->kind == GUARD_EV_TICK) {
        if (call->now_ns >= call->deadline_ns)
            guard_finish(call, without, GUARD_ENDING);
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
