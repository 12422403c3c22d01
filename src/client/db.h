/*
 * A database as this process has it open: what all calls of one struct hf_db share.
 *
 *     hf_open_with: options (client/options.h) -> where (client/where.h): an endpoint for each host
 *                   -> breakers, bulkheads, pools, guards -> watcher (pg/watcher.h) -> reaper
 *                   -> waits for the first server (client/open.c)
 *
 * Each public function begins with db_enter() and ends with db_leave(): that is how hf_close() knows
 * when nobody is inside any more, how a child of fork() is recognised, and where nothing is left to
 * do about both.
 *
 * Locks, each held for a few instructions and none while another is taken, something is called back
 * or I/O is done:
 *     db.lock                 free and living calls, who watches for snapshots
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
#include "client/errors.h"
#include "client/events.h"
#include "client/options.h"
#include "client/pool.h"
#include "client/session.h"
#include "core/degrade.h"
#include "core/guard.h"
#include "core/snapshot.h"
#include "holdfast.h"
#include "os/mem.h"
#include "pg/conn.h"

struct cache;
struct reaper;
struct watcher;

/* What there is of each server, by its index in the snapshot. */
struct db_endpoint {
    char name[SNAPSHOT_NAME_BYTES]; /* "host:port" */
    struct breaker *breaker;
    struct bulkhead *bulkhead;
    pthread_mutex_t queue_lock;
    struct pool pool;
};

/* Plain counts of what calls did, added up when each ends. */
struct db_counts {
    _Atomic uint64_t calls, results[GUARD_RESULTS], cancelled, attempts, retries, held, queued;
};

struct hf_db {
    struct mem mem;
    struct client_config config;   /* without the secrets: wiped once the endpoints are made */
    const _Atomic uint32_t *alive; /* a page that a child of fork() sees as zeros */

    /* Deciding. */
    struct guard guard;                /* single statements, COPY, pipelines, loans */
    struct guard tx_guard;             /* transactions: the same but for its retries */
    struct budget *budget, *tx_budget; /* NULL: retries are not budgeted */
    struct bulkhead *hold;
    struct degrade_config ladder;
    struct route_policy policy;
    uint8_t zone; /* the caller's own */

    /* Servers. */
    struct watcher *watcher;
    _Atomic uint32_t endpoint_count; /* only grows */
    struct db_endpoint endpoints[SNAPSHOT_ENDPOINTS_MAX];

    /* Calls. */
    pthread_mutex_t lock;
    struct list free_calls;
    struct list calls;       /* all there are */
    struct list watching;    /* calls that hear of new snapshots */
    pthread_cond_t quiet;    /* `inside` or `going` has fallen to 0 */
    _Atomic uint32_t inside; /* public functions under way, and calls that go on */
    _Atomic bool is_closing;
    struct reaper *reaper;

    struct hf_session session; /* that of all calls which bring none */
    struct db_counts counts;
    struct cache *cache; /* NULL: none */
    struct events *events;
};

/* ---- around each public function ---- */

/* HF_SUCCESS, or HF_E_CLOSED, HF_E_FORKED, HF_E_USAGE (NULL) with `err` filled; after a failure
 * without db_leave(). */
int db_enter(struct hf_db *db, struct hf_error *err);
void db_leave(struct hf_db *db);
bool db_is_forked(const struct hf_db *db);

/* ---- calls ---- */

/* A call to start, fields of the last one cleared; NULL: no memory. Goes back by itself if it was
 * left to the reaper, else by db_call_free() once it is CALL_IS_DONE. */
struct call *db_call_new(struct hf_db *db);
void db_call_free(struct call *call);

/* A request as the options of a call say it, the session's promise in it. `intent` is what was made
 * of HF_AUTO. */
void db_request(struct hf_db *db, enum route_intent intent, const struct hf_call_options *options,
                struct guard_request *request);

/* The snapshot now: valid until db_view_done(). */
const struct snapshot *db_view(struct hf_db *db);
void db_view_done(struct hf_db *db, const struct snapshot *view);

/* The connection parameters of an endpoint, for conn_start(); `params` holds at least
 * CONN_PARAMS_MAX + 1. They live as long as the db. */
void db_conn_params(struct hf_db *db, uint32_t endpoint, struct conn_param *params);

#endif
