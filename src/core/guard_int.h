/*
 * What the files of the guard share with each other: guard.c has the states, guard_place.c finds an
 * endpoint and begins the attempt, guard_answer.c gives answers and gives back what a call holds.
 */
#ifndef HF_CORE_GUARD_INT_H
#define HF_CORE_GUARD_INT_H

#include "core/guard.h"

#define GUARD_BIT(endpoint) (UINT32_C(1) << (endpoint))

/* ---- guard_answer.c ---- */

/* One action more, for the call's endpoint and attempt. */
struct guard_action *guard_push(struct guard_call *call, enum guard_action_kind kind);

/* Begins the reason for what is decided now. */
struct guard_reason *guard_because(struct guard_call *call, enum guard_why why);

/* Gives a permit back; where calls wait, somebody under the lock must hand it over. */
void guard_release(struct guard_call *call, struct bulkhead_permit *permit);
void guard_leave_hold(struct guard_call *call);

/* Answers the caller. `state` is GUARD_OVER, or GUARD_ENDING while something is still outstanding.
 */
void guard_finish(struct guard_call *call, enum guard_result result, enum guard_state state);

/* What was still out when the caller got its answer has come back. */
HF_COLD void guard_end(struct guard_call *call);

/* Nothing more can be attempted: an old result if one is welcome, else the answer. */
HF_COLD void guard_give_up(struct guard_call *call, enum guard_why why);
HF_COLD void guard_refuse(struct guard_call *call, enum guard_why why, enum outcome_code code);

/* ---- guard_place.c ---- */

/* Finds an endpoint and runs there, queues for one, is held until there is one, or refuses. */
void guard_place(struct guard_call *call, const struct guard_event *event);

/* Whether the endpoint that the call has waited for is still the right place, as far as a view can
 * tell. */
bool guard_still_fits(struct guard_call *call, const struct snapshot *view);

/* A permit came after waiting: the world, and the caller's mind, may have changed meanwhile. */
void guard_use_grant(struct guard_call *call, const struct guard_event *event);

#endif
