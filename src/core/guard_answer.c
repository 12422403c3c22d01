/*
 * How a call ends, and how it gives back what it holds.
 */
#include "core/guard_int.h"

#include "base/bug.h"
#include "base/ns.h"

struct guard_action *guard_push(struct guard_call *call, enum guard_action_kind kind)
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

struct guard_reason *guard_because(struct guard_call *call, enum guard_why why)
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

void guard_release(struct guard_call *call, struct bulkhead_permit *permit)
{
    struct bulkhead *bulkhead = call->guard->endpoints[call->endpoint].bulkhead;
    if (bulkhead == NULL || bulkhead_release(bulkhead, permit, call->now_ns))
        return;
    uint8_t slot = call->given_back_next++ % GUARD_GIVEN_BACK_MAX;
    hf_assert(!call->given_back[slot].is_held);
    call->given_back[slot] = *permit;
    *permit = (struct bulkhead_permit){0};
    guard_push(call, GUARD_ACT_HAND_OVER)->given_back = slot;
}

void guard_leave_hold(struct guard_call *call)
{
    if (!call->has_hold)
        return;
    bool freed = bulkhead_release(call->guard->hold, &call->hold_permit, call->now_ns);
    hf_assert(freed); /* nobody ever queues for a place in the hold */
    call->has_hold = false;
}

void guard_finish(struct guard_call *call, enum guard_result result, enum guard_state state)
{
    if (call->has_token) {
        budget_refund(call->guard->budget);
        call->has_token = false;
    }
    guard_leave_hold(call);
    call->reason.waited_ns = call->now_ns - call->started_ns;
    ++call->lane->stats.results[result];
    call->state = state;
    struct guard_action *done = guard_push(call, GUARD_ACT_DONE);
    done->result = result;
    done->outcome = call->outcome;
    done->last = state == GUARD_OVER;
}

void guard_end(struct guard_call *call)
{
    call->state = GUARD_OVER;
    guard_push(call, GUARD_ACT_FREE)->last = true;
}

void guard_give_up(struct guard_call *call, enum guard_why why)
{
    guard_because(call, why);
    guard_leave_hold(call);
    if (call->request.cache_ok && why != GUARD_WHY_CANCELLED && why != GUARD_WHY_DEADLINE) {
        call->state = GUARD_CACHING;
        guard_push(call, GUARD_ACT_CACHE);
        return;
    }
    guard_finish(call, call->attempts == 0 ? GUARD_REFUSED : GUARD_FAILED, GUARD_OVER);
}

void guard_refuse(struct guard_call *call, enum guard_why why, enum outcome_code code)
{
    /* After an attempt has failed, its own error says more than the reason why it is not tried
     * again. */
    if (call->attempts == 0)
        call->outcome = (struct outcome){.code = code};
    guard_give_up(call, why);
}
