/*
 * The blocking driver: poll() around a call, on the thread of whoever wants its answer.
 *
 *     call = db_call_new(db);
 *     call_start(call, &db->guard, &ops, work, &request);
 *     call_drive(call);
 *     CALL_IS_PARKED: the work is the owner's turn; then call_resume(call); call_drive(call);
 *     else:           code = call_answer(call, err); drive_release(call);
 */
#ifndef HF_CLIENT_DRIVE_H
#define HF_CLIENT_DRIVE_H

#include "client/call.h"

/* Returns when the call is parked or answered, not later than its deadline. */
void call_drive(struct call *call);

/* After the answer: gives the call back, or to the reaper what is left of it. */
void drive_release(struct call *call);

#endif
