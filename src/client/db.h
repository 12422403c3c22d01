/*
 * A database as this process has it open: what all calls of one struct hf_db share.
 *
 *     hf_open_with: options (client/options.h) -> where (client/where.h): an endpoint for each host
 *                   -> breakers, bulkheads, pools, guards -> watcher (pg/watcher.h) -> reaper
 *                   -> waits for the first server (client/open.c)
 *
 * Each public function begins with db_enter() and ends with db_leave(): that is how hf_close()
 * knows when nobody is inside any more, how a child of fork() is recognised, and where nothing is
 * left to do about both.
 *
 * Locks, each held for a few instructions and none while another is taken, something is called back
 * or I/O is done:
 *     db.lock                 free and living calls, who watches for snapshots; not the calls in
 *                             db.places, each of which is one thread's and changes hands atomically
 *     endpoint.queue_lock     the queue of that endpoint's bulkhead: guard_apply_locked()
 *     pool.lock               its idle connections
 */
#ifndef HF_CLIENT_DB_H
#define HF_CLIENT_DB_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "client/call.h"
#include "client/client_pool.h"
#include "client/options.h"
#include "client/session.h"
#include "client/txs.h"
#include "core/degrade.h"
#include "core/guard.h"
#include "core/snapshot.h"
#include "holdfast.h"
#include "os/mem.h"
#include "pg/conn.h"

struct cache;
struct events;
struct exec_statement;
struct intents;
struct nudge;
struct reaper;
struct record;
struct watcher;

/* What there is of each server, by its index in the snapshot. */
struct db_endpoint {
    char name[SNAPSHOT_NAME_BYTES]; /* "host:port"; "": learnt later, then views name it */
    struct breaker *breaker;
    struct bulkhead *bulkhead;
    pthread_mutex_t queue_lock;
    struct pool pool;
};

/* Plain counts of what calls did, added up when each ends. */
struct db_counts {
    _Atomic uint64_t results[GUARD_RESULTS]; /* calls by their end */
    _Atomic uint64_t cancelled;
    _Atomic uint64_t more_attempts; /* attempts beyond the first of each call */
    _Atomic uint64_t unattempted;   /* calls without any */
    _Atomic uint64_t held, queued;
};

/* Where a thread leaves its call object and finds it again, with all that it remembers, without the
 * lock and on a cache line of its own. Two threads whose numbers fall together may both find it
 * empty or taken: then there are the free calls. */
#define DB_PLACES 32

#define DB_CLOSING (UINT32_C(1) << 31) /* in hf_db.inside */

struct db_place {
    struct call *_Atomic call;
    char apart[64 - sizeof(void *)];
};

struct hf_db {
    struct mem mem;
    struct client_config config;         /* its connection string is wiped: see `conninfo` */
    char conninfo[CLIENT_CONNINFO_SIZE]; /* without hosts; holds secrets */
    const _Atomic uint32_t *alive;       /* client/alive.h */
    uint64_t seed;                       /* of chance, from the system's */
    uint64_t secret;                     /* of statements' keys: constant */

    /* Deciding. */
    struct guard guard;                /* single statements, COPY, pipelines */
    struct guard cached_guard;         /* the same for those that take an old result */
    struct guard tx_guard;             /* transactions: the same but for its retries */
    struct guard lease_guard;          /* connections on loan: the same without breakers */
    struct budget *budget, *tx_budget; /* NULL: retries are not budgeted */
    struct bulkhead *hold;
    struct degrade_config ladder; /* for calls that take an old result: refused at once else */
    struct degrade_config
        patient; /* for all others: where the level may rise by itself, they wait */
    struct route_policy policy;
    uint8_t zone; /* the caller's own */

    /* Servers. */
    struct watcher *watcher;
    uint32_t endpoint_count; /* places that have what they need, fixed when it is opened */
    struct db_endpoint endpoints[SNAPSHOT_ENDPOINTS_MAX];

    /* Calls. */
    pthread_mutex_t lock;
    struct list free_calls;
    struct db_place places[DB_PLACES];
    struct list calls;    /* all there are */
    struct list watching; /* calls that hear of new snapshots */
    /* Public functions under way, and calls left to the reaper; DB_CLOSING from hf_close() on. Who
     * leaves touches nothing of the database afterwards, since it may be freed then: but for the
     * last one while it is closing, whom hf_close() waits for. */
    _Atomic uint32_t inside;
    pthread_cond_t quiet;
    bool is_quiet; /* under the lock: that last one has left */
    struct reaper *reaper;
    struct nudge *nudge;

    struct txs txs;
    struct hf_session session; /* that of all calls which bring none */
    struct db_counts counts;
    struct intents *intents;
    struct cache *cache;   /* NULL: none */
    struct events *events; /* NULL: nobody listens */
    struct record *record; /* client/record.h */
};

/* ---- around each public function ---- */

/* HF_SUCCESS, or HF_E_CLOSED, HF_E_FORKED, HF_E_USAGE (NULL) with `err` filled; after a failure
 * without db_leave(). */
int db_enter(struct hf_db *db, struct hf_error *err);
void db_leave(struct hf_db *db);
/* Once more inside, for work that goes on after the function returned; ends with db_leave(). */
void db_stay(struct hf_db *db);
bool db_is_forked(const struct hf_db *db);
static inline bool db_is_closing(const struct hf_db *db)
{
    return (atomic_load_explicit(&db->inside, memory_order_relaxed) & DB_CLOSING) != 0;
}

/* ---- calls ---- */

/* A call for a blocking caller, to be started. NULL: no memory. Ends with drive_release(). */
struct call *db_call_new(struct hf_db *db);
/* One that has no driver yet: loop_own() goes next. */
struct call *db_call_bare(struct hf_db *db);
/* It is CALL_IS_DONE or CALL_IS_OVER, or was never started. */
void db_call_free(struct call *call);

/* What HF_AUTO is for this statement; other intents as they are. */
enum route_intent db_intent(struct hf_db *db, const char *sql,
                            const struct hf_call_options *options);

/* The same, and all that is to be known of the statement for running it: fills in what exec.h's
 * struct has beyond the caller's own words. */
enum route_intent db_judge(struct hf_db *db, struct statement_memo *memo,
                           const struct hf_call_options *options, struct exec_statement *statement);

/* A replica refused as a write what was taken for a read. */
void db_learn_write(struct hf_db *db, const struct exec_statement *statement);

/* A request as the options of a call say it, the session's promise in it. */
void db_request(struct hf_db *db, enum route_intent intent, const struct hf_call_options *options,
                struct guard_request *request);

/* How the call went, for whoever asked. */
void db_decision(const struct call *call, struct hf_decision *decision);

/* Adds up what an answered call did. */
void db_count(const struct call *call);

/* ---- of the drivers ---- */

/* Begins to connect to an endpoint. */
enum conn_step HF_MUST_USE db_connect(struct hf_db *db, uint32_t endpoint, struct conn *conn,
                                      int64_t deadline_ns, struct hf_err *err);

/* The same for loading the catalogue, on a thread that may wait. */
enum hf_rc HF_MUST_USE db_connect_catalog(struct hf_db *db, uint32_t endpoint, struct conn *conn,
                                          int64_t deadline_ns, int interrupt_fd,
                                          struct hf_err *err);

/* Calls that wait for a snapshot look at the new one. */
void db_wake_watching(struct hf_db *db);
/* Goes once through every lock under which calls are woken. */
void db_fence(struct hf_db *db);

#endif
