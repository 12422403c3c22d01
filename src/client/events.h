/*
 * Events and log lines on their way to the caller's hooks.
 *
 *     calls, watcher --events_tell()--> ring --events_deliver()--> hooks.on_event, hooks.on_log
 *
 * Hooks run without any lock of the library, in the order in which things were told, one at a time:
 * whoever tells something delivers what waits, unless another thread is at it already, who then
 * delivers this, too. So a hook that is slow delays no lock, and no two threads are in the hooks of
 * one database at once.
 *
 * The ring is of fixed size. What does not fit, because a hook is slower than the news, is counted
 * and told of in the next log line: memory is bounded and no call ever waits for a hook.
 *
 * Log lines are limited: EVENTS_LINES_MAX of each kind in a second, and the next line allowed says
 * how many were kept back. on_event gets every event.
 *
 * No text holds a secret: names are endpoints', details are the guard's. What else comes from
 * outside passes events_redact().
 */
#ifndef HF_CLIENT_EVENTS_H
#define HF_CLIENT_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ns.h"
#include "holdfast.h"
#include "os/mem.h"

#define EVENTS_RING      128
#define EVENTS_LINES_MAX 5 /* of a kind in a second */

struct events;

/* `*events` is NULL where there is no hook to be called: every function here takes that. */
enum hf_rc events_new(struct events **events, const struct hf_hooks *hooks, struct mem *mem,
                      struct hf_err *err) HF_MUST_USE;
/* Nobody may be in it. */
void events_free(struct events *events);

/* True if somebody listens to events or log lines: what costs something to say need not be said
 * otherwise. */
bool events_wants(const struct events *events);

/* Something happened, at `now_ns`: kept for delivery. Any thread; may be called under locks. */
void events_tell(struct events *events, int64_t now_ns, const struct hf_event *event);
/* A line for the log alone. */
void events_log(struct events *events, int64_t now_ns, int level, const char *format, ...)
    HF_PRINTF(4, 5);
/* Calls the hooks for what waits. Never under a lock. */
void events_deliver(struct events *events);

/* Told, but dropped because the ring was full. */
uint64_t events_dropped(struct events *events);

/* A connection string without its secrets: passwords in every form that libpq takes are replaced by
 * ***; where the text is no connection string at all, nothing of it is shown. Returns out. */
char *events_redact(const char *conninfo, char *out, size_t size);

const char *events_kind_name(int kind); /* "breaker"; "event" beyond the last */

#endif
