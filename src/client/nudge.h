/*
 * Nudge: a thread that wakes blocked callers shortly before their deadlines.
 *
 * A poll() with a timeout sets a timer of the kernel and takes it back, which costs 0.6 us of CPU:
 * as much as all that guards the call. Nearly no call ever comes near its deadline. So a blocking
 * driver whose deadline is further away than NUDGE_FAR_NS polls without a timeout and says so
 * (call.sleeps_until_ns); this thread looks at all calls every NUDGE_LOOK_NS and writes the eventfd
 * of those whose deadline has come near. They wake, and wait for the rest with a timer of their
 * own. So deadlines are as exact as ever.
 *
 * It runs no hook and waits for nothing, so nobody's code can make it late.
 */
#ifndef HF_CLIENT_NUDGE_H
#define HF_CLIENT_NUDGE_H

#include "base/err.h"
#include "base/ns.h"

#define NUDGE_LOOK_NS HF_MS(500)
#define NUDGE_NEAR_NS HF_SEC(2) /* nudged when less is left */
#define NUDGE_FAR_NS  HF_SEC(4) /* may sleep without a timer if more is left */

struct hf_db;
struct nudge;

enum hf_rc HF_MUST_USE nudge_new(struct nudge **nudge, struct hf_db *db, struct hf_err *err);
/* Stops and joins the thread. NULL is fine. */
void nudge_free(struct nudge *nudge);
/* In a child after fork(). */
void nudge_forget(struct nudge *nudge);

#endif
