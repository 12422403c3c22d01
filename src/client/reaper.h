/*
 * The reaper: a thread that ends what callers left behind, and keeps the pools.
 *
 *     drive_release(call), answered but not over ----> its loop: cancel, drain or close, permits
 *     back every REAPER_SWEEP_NS --------------------------> pool_sweep() of each server, size_min
 *     kept the watcher's ear ------------------------------> calls that wait hear of the new
 *     snapshot the watcher's news, breakers' changes ----------> record_news()
 *
 * It is a loop (client/call_loop.h) with a thread around it, all signals blocked.
 */
#ifndef HF_CLIENT_REAPER_H
#define HF_CLIENT_REAPER_H

#include "base/err.h"
#include "base/ns.h"
#include "client/call.h"

#define REAPER_SWEEP_NS HF_SEC(1)

struct hf_db;
struct reaper;

enum hf_rc HF_MUST_USE reaper_new(struct reaper **reaper, struct hf_db *db, struct hf_err *err);

/* Stops and joins the thread; calls it still has are cut. NULL is fine. */
void reaper_free(struct reaper *reaper);

/* In a child after fork(): frees the memory, touches nothing else. */
void reaper_forget(struct reaper *reaper);

/* The call is the reaper's from now on, in whatever state. Any thread. */
void reaper_take(struct reaper *reaper, struct call *call);

#endif
