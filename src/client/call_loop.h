/*
 * The asynchronous driver: an epoll over any number of calls, on one thread. The public struct
 * hf_loop (client/async.c) and the reaper are this.
 *
 *     loop_add(loop, call)         the call is the loop's from now on
 *     loop_turn(loop, until_ns)    waits so long for something to do (0: not at all), does it
 *     loop->turned(loop, call)     told after each step of a call that does not go on by itself:
 *                                  parked, done, left or over. It may free the call
 *                                  (loop_remove() first), resume it, and add others
 *
 * Descriptors of libpq may change under the same number while it connects, so a call says by
 * `wait_serial` when a number may mean another file than before.
 *
 * Wake-ups by other threads (permits, snapshots, hf_close) come through one eventfd; the loop then
 * looks at the calls that wait for such news. loop_deinit() goes once through every lock under
 * which calls are woken, so that no wake-up is on its way to a descriptor that is closed.
 *
 * Threads: one, but for call_wake().
 */
#ifndef HF_CLIENT_CALL_LOOP_H
#define HF_CLIENT_CALL_LOOP_H

#include <sys/epoll.h>

#include "base/err.h"
#include "base/list.h"
#include "base/timerq.h"
#include "client/call.h"

enum {
    LOOP_EVENTS_AT_ONCE = 64
};

struct hf_db;
struct loop;

/* Something else that the loop's owner waits for. Zeroed, then loop_watch(). */
struct loop_extra {
    struct call_watch watch; /* the loop's */
    void (*ready)(struct loop *loop, struct loop_extra *extra);
};

struct loop {
    struct hf_db *db;
    int epoll_fd, wake_fd;
    struct list calls;
    size_t count;
    struct timerq timers;
    struct call_view view;
    void (*turned)(struct loop *loop, struct call *call);
    void *arg;
    /* What the kernel has said in this turn: [event_at, event_count) is still to be looked at. */
    int event_at, event_count;
    struct epoll_event events[LOOP_EVENTS_AT_ONCE];
};

enum hf_rc HF_MUST_USE loop_init(struct loop *loop, struct hf_db *db, struct hf_err *err);
/* No call may be in it. */
void loop_deinit(struct loop *loop);
/* In a child after fork(): closes the descriptors. */
void loop_forget(struct loop *loop);

/* Watches one more descriptor, or the same for other events; each time anew, since its number may
 * mean another file than before. */
void loop_watch(struct loop *loop, struct loop_extra *extra, int fd, short events);
void loop_unwatch(struct loop *loop, struct loop_extra *extra);

/* A call fresh from db_call_bare(), before call_start(): so that it is woken here. */
void loop_own(struct loop *loop, struct call *call);
/* Drives it from now on, whatever state it is in; `turned` may be called at once. */
void loop_add(struct loop *loop, struct call *call);
/* It has changed by its owner's hand (call_resume, call_stop). */
void loop_touch(struct loop *loop, struct call *call);
void loop_remove(struct loop *loop, struct call *call);

/* One of its descriptors (as in call_wants) is about to be closed, or to be another call's: the
 * engine says so before, since afterwards the number may be somebody else's. Any driver's call. */
void loop_let_go(struct call *call, int which);
/* It was closed already (libpq does so with a connection that is lost). */
void loop_has_gone(struct call *call, int which);

/* When to turn if no descriptor is ready; HF_NEVER. */
int64_t loop_deadline(const struct loop *loop);
void loop_turn(struct loop *loop, int64_t until_ns);

#endif
