/*
 * A call: one guarded piece of work on a server, from its start to its answer. The engine of the
 * whole library: there is no second way to run anything. It never blocks: it does what can be done
 * and says what it waits for. Who drives it is another matter:
 *
 *     blocking      call_drive(): poll() on the caller's own thread            (client/drive.h)
 *     asynchronous  an epoll over any number of calls, on the loop's thread    (client/call_loop.h)
 *     left behind   the same kind of loop, on the reaper's thread              (client/reaper.h)
 *
 * The engine carries out what the guard (core/guard.h) orders. What the work itself is (a
 * statement, a transaction, COPY, a pipeline, a loan) comes in as `struct call_ops`: functions that
 * talk to a connection, never wait and never decide.
 *
 *                 RUN                        begin, turn                      DONE
 *   call_start ---------> a connection: idle ------------> at work, or PARKED ----> answered
 *        ^                one, or connecting,                |    ^                  (or tried
 *        |                role proved                        |    | call_resume()     again)
 *        '-- from db_call_new()                              v    |
 *                                                          CALL_ENDED
 *
 * PARKED is for work whose next step is somebody else's: between two statements of a transaction
 * the call holds its connection and waits for nothing but its deadline. Its owner tells the work
 * what to do next and calls call_resume(), which calls `turn`.
 *
 * STOPPING. When the deadline passes, the caller cancels or the db is closed, the engine sends a
 * cancel request beside the connection and goes on calling `turn` until the work says CALL_ENDED;
 * `is_stopping` tells the work so (it must not park or begin anything new). A call that is parked
 * is ended at once: its connection is closed, and the server rolls back. What does not end within
 * CALL_STOP_NS_MAX is closed too. At the deadline the answer comes first: then the call is
 * CALL_LEFT, its driver gives it to the reaper and forgets it, and permits and connection come back
 * when the server has really stopped.
 *
 * Rules for the functions of call_ops
 *  1. They never wait. To wait they set call->wait and return CALL_WAITS.
 *  2. After DONE nothing of the caller's memory (statement, parameters, options) is touched. An op
 *     can tell by call->is_answered.
 *  3. At CALL_ENDED `call->ended` says how; and where that is an error of the server or of the
 *     connection, call->error was filled. The connection is looked at by the engine: idle, outside
 *     of a transaction and with nothing under way, it goes back to the pool, else it is closed.
 *  4. Before anything is sent that may change data, nothing need be said: the guard takes the worst
 *     for granted from `begin` on. While the engine connects it tells the guard that nothing was
 *     sent.
 *
 * Threads: a call belongs to its driver. Other threads may only call call_wake().
 */
#ifndef HF_CLIENT_CALL_H
#define HF_CLIENT_CALL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/ns.h"
#include "base/timerq.h"
#include "client/client_pool.h"
#include "client/client_statements.h"
#include "core/guard.h"
#include "holdfast.h"
#include "pg/cancel_request.h"

struct call;
struct hf_db;
struct operation;
struct loop;
struct pg_result; /* libpq's PGresult */

/* A server that does not react to a cancel request for so long loses the connection. */
#define CALL_STOP_NS_MAX HF_SEC(2)

/* A cancel request that reaches the server before the statement does stops nothing. So it is sent
 * again until the statement has ended. */
#define CALL_CANCEL_AGAIN_NS HF_MS(100)

/* Bytes for the work's own state inside of the call. */
#define CALL_ROOM 256

enum call_step {
    CALL_WAITS,  /* for call->wait */
    CALL_PARKED, /* for its owner */
    CALL_ENDED,  /* the attempt is over: call->ended */
};

/* What the work waits for. The deadline is its own, HF_NEVER for none: the call's is the engine's.
 */
struct call_wait {
    int fd;       /* -1: none */
    short events; /* POLLIN, POLLOUT */
    short ready;  /* during `turn`: what poll() said of fd; 0: nothing */
    int64_t deadline_ns;
};

struct call_ending {
    struct outcome outcome;     /* of the attempt */
    struct outcome_facts facts; /* idempotent and can_replay are filled in by the guard */
    int64_t server_delay_ns;
};

struct call_ops {
    /* call->conn is open, in the right role and idle: begin. Once for each attempt. */
    enum call_step (*begin)(struct call *call);
    /* What was waited for is there, or call_resume(). */
    enum call_step (*turn)(struct call *call);
    /* The engine ends the attempt itself (a parked call that is stopped, a server that reacts to
     * nothing): free what the attempt holds. The connection is closed afterwards, and what was done
     * is what call->facts say. NULL: nothing is held. */
    void (*cut)(struct call *call);
    /* A parked call that is stopped is cancelled and turned to its end like one at work, instead of
     * being cut. */
    bool drains_when_parked;
    /* An old result: true if there is one (`is_stale_ok`: and its age is no matter, since no server
     * can be asked). NULL: never. */
    bool (*find_cached)(struct call *call, bool is_stale_ok);
    /* The search for the outcome of a COMMIT whose answer was lost; no permit and no connection is
     * held. It sets call->resolution before CALL_ENDED, and may use call->wait as above. NULL:
     * nobody can know. `resolve_stop` gives the search up; nothing of it may remain. */
    enum call_step (*resolve_begin)(struct call *call, int64_t deadline_ns);
    enum call_step (*resolve_turn)(struct call *call);
    void (*resolve_stop)(struct call *call);
    /* DONE: the last moment at which the caller's memory may be used. NULL: nothing to do. */
    void (*answered)(struct call *call);
    /* Nothing is outstanding any more and the call object goes back: free call->work. NULL:
     * nothing.
     */
    void (*over)(struct call *call);
};

enum call_state {
    CALL_IS_FREE,
    CALL_IS_GOING,
    CALL_IS_PARKED,
    CALL_IS_DONE, /* answered, nothing outstanding */
    CALL_IS_LEFT, /* answered, the attempt is still out: for the reaper */
    CALL_IS_OVER, /* what was left behind has ended */
};

/* Where the engine is within an attempt. */
enum call_phase {
    CALL_NO_ATTEMPT,
    CALL_CONNECTING,
    CALL_PROVING,  /* pg_is_in_recovery(), of servers that do not report their role */
    CALL_CLEANING, /* DISCARD ALL, after somebody had it on loan */
    CALL_WORKING,
    CALL_RESOLVING,
    CALL_RESOLVED, /* resolution is there, the guard has not heard it */
};

/* Where the time of a call goes. */
enum call_spend {
    CALL_SPEND_QUEUED, /* for a permit, or held for a server that fits */
    CALL_SPEND_CONNECTING,
    CALL_SPEND_SERVER,
    CALL_SPEND_BACKOFF, /* and the search for a COMMIT's outcome */
    CALL_SPENDS
};

/* News from other threads, bits of call.news. */
enum call_news {
    CALL_NEWS_GRANTED = 1, /* the bulkhead's queue gave it a permit */
    CALL_NEWS_VIEW = 2,    /* a new snapshot */
    CALL_NEWS_CLOSING = 4, /* hf_close() */
};

/* A driver's copy of the snapshot, brought up to date before each decision. */
struct call_view {
    uint64_t seen;
    struct snapshot snapshot;
};

/* Empty: knows no server. */
void call_view_init(struct call_view *view);

/* One registration with an epoll; used by client/call_loop.c only. */
struct call_watch {
    struct call *call; /* NULL: of a struct loop_extra */
    int fd;            /* -1: none */
    short events;
};

/* Every call touches what stands before `error`, so that lies together; few touch the rest. */
struct call {
    struct guard_call guard; /* reason and numbers of the call: guard_reason(&call->guard) */
    struct guard_lane lane;  /* of this object, kept from call to call */
    struct hf_db *db;
    enum call_state state;
    enum call_phase phase;

    /* The work. */
    const struct call_ops *ops;
    void *work;           /* its own; may point to `room` */
    struct pconn *conn;   /* while an attempt runs; NULL before and after */
    uint32_t endpoint;    /* of the attempt */
    uint32_t wait_serial; /* another one: wait.fd may be another file under the same number */
    struct call_wait wait;
    struct call_ending ended;
    /* What an attempt that is cut off now leaves: the worst from `begin` on, the work may know
     * better. */
    struct outcome_facts facts;
    bool is_stopping;
    bool has_ended; /* the work has; only the cancel request is still out */
    bool is_cancelling;
    bool was_cancelled; /* CANCEL has been fed */
    bool was_unsent;    /* the guard was told that nothing is sent yet */
    bool is_answered;
    bool was_recalled; /* answered by the result cache without being started */
    bool is_abandoned; /* the reaper has it: nothing of the caller's may be touched */
    bool is_watching;  /* it is in db->watching: its driver's own note, read without the lock */
    struct operation *operation;         /* that the caller named; NULL: none */
    uint64_t held_before, queued_before; /* of lane.stats when it began */

    /* The answer, from CALL_IS_DONE or CALL_IS_LEFT on; `error` belongs to it too. */
    enum guard_result result;
    enum call_spend spending; /* what the time since mark_ns goes into */
    struct outcome outcome;
    int64_t started_ns;
    int64_t mark_ns;
    int64_t spent_ns[CALL_SPENDS];

    /* Who drives it. */
    struct loop *loop;      /* NULL: a blocking caller */
    struct hf_call *owner;  /* who hears of its steps in a struct hf_loop: client/async.h */
    struct call_view *view; /* its driver's, or its own */
    struct call_view *own_view;
    struct hf_cancel *user_cancel;
    _Atomic int64_t sleeps_until_ns; /* blocked without a timer until then: client/nudge.h */
    int wake_fd;                     /* the object's own eventfd, for a blocking driver */
    _Atomic int wake_at;             /* the eventfd that wakes its driver */
    _Atomic uint32_t news;           /* enum call_news */
    _Alignas(16) unsigned char room[CALL_ROOM];
    struct statement_memo memo; /* of whoever had it last: with a thread of its own, the same */

    struct hf_error error; /* of the last attempt; call_answer() makes the answer of it */
    enum guard_resolution resolution;
    uint32_t watched_serial; /* client/call_loop.c's */
    struct call_watch watches[3];
    struct timer timer;
    struct list_node link;     /* in its loop, or among the free */
    struct list_node watching; /* in db->watching: wants to hear of new snapshots */
    struct list_node all;      /* in db->calls */
    struct cancel cancel;      /* under way beside the connection */
    struct pg_result *answer;  /* to a statement of the engine's own */
    int64_t stop_by_ns, cancel_again_ns;
};

/* ---- its owner ---- */

/* Starts a call that db_call_new() gave. `guard` is db->guard or db->tx_guard. Afterwards `state`
 * says how far it came. */
void call_start(struct call *call, struct guard *guard, const struct call_ops *ops, void *work,
                const struct guard_request *request);

/* A parked call goes on: calls ops->turn. */
void call_resume(struct call *call);

/* The caller wants it to end. */
void call_stop(struct call *call);

/* The answer as the public API gives it: HF_SUCCESS, or a code and `err` filled (may be NULL). */
int call_answer(const struct call *call, struct hf_error *err);

/* ---- its driver ---- */

#define CALL_POLLS_MAX 4

/* What it waits for now: descriptors in the order connection (or search), cancel request, the
 * caller's hf_cancel, each -1 if there is none; and when to come at the latest. */
struct call_wants {
    int fd[3];
    short events[3];
    int64_t deadline_ns;
};
void call_wants(const struct call *call, struct call_wants *wants);

/* Does whatever is due: to be called when something waited for is there (`ready`: what poll() said
 * of the first descriptor), when its eventfd was written, or at its deadline. Harmless at any other
 * time. */
void call_turn(struct call *call, short ready);

/* Of its last attempt. From the view, since servers that are learnt later are named nowhere else;
 * SNAPSHOT_NAME_BYTES. */
static inline const char *call_endpoint_name(const struct call *call)
{
    return call->view->snapshot.endpoints[call->endpoint].name;
}

/* ---- any thread ---- */

void call_wake(struct call *call, enum call_news news);

#endif
