/*
 * One attempt of a call: a connection of the endpoint that the guard chose, the proof of its role,
 * the work, its end; and the search for the outcome of a COMMIT. Used by client/call.c only, which
 * owns the order of things: these functions change call->phase and never feed the guard, but for
 * the two that report.
 *
 *     attempt_begin: an idle connection -----------------------> CLEANING? -> WORKING
 *                    none: CONNECTING -> PROVING (its role) -----------------'
 *     an end anywhere: call->has_ended, call->ended -> attempt_report()
 */
#ifndef HF_CLIENT_ATTEMPT_H
#define HF_CLIENT_ATTEMPT_H

#include "client/call.h"

void attempt_begin(struct call *call);
/* What it waited for is there. */
void attempt_turn(struct call *call, short ready);
/* STOP. */
HF_COLD void attempt_stop(struct call *call);
/* It has not stopped: another cancel request, unless one is still on its way. */
HF_COLD void attempt_cancel_again(struct call *call);
/* The cancel request goes on. */
HF_COLD void attempt_turn_cancel(struct call *call);
/* The connection is given up: the server has not reacted in time. */
HF_COLD void attempt_cut(struct call *call);
/* ENDED to the guard, the connection back to the pool. */
void attempt_report(struct call *call);

HF_COLD void resolve_begin(struct call *call, int64_t deadline_ns);
/* RESOLVED to the guard. */
HF_COLD void resolve_report(struct call *call);

/* ---- of call.c, for these ---- */

const struct snapshot *call_view(struct call *call);
/* PROGRESS to the guard, of call->facts. */
void call_tell_facts(struct call *call);

#endif
