#include "client/db.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/container_of.h"
#include "base/ns.h"
#include "base/rng.h"
#include "client/alive.h"
#include "client/call_loop.h"
#include "client/errors.h"
#include "client/exec.h"
#include "client/intents.h"
#include "client/record.h"
#include "client/threads.h"
#include "client/tx_stack.h"
#include "core/bulkhead_mt.h"
#include "os/clock.h"
#include "pg/catalog_load.h"
#include "pg/watcher.h"
#include "sql/verdict.h"

/* ---- in and out ---- */

bool db_is_forked(const struct hf_db *db)
{
    return !alive_here(db->alive);
}

void db_stay(struct hf_db *db)
{
    atomic_fetch_add(&db->inside, 1);
}

int db_enter(struct hf_db *db, struct hf_error *err)
{
    if (db == NULL)
        return error_set(err, HF_E_USAGE, "there is no struct hf_db");
    if (db_is_forked(db)) {
        error_set(err, HF_E_FORKED, "this database was opened by the parent process");
        error_hint(err, "Open another one after fork(); of this one the child may only call "
                        "hf_close().");
        return HF_E_FORKED;
    }
    tx_stack_sweep();
    if ((atomic_fetch_add(&db->inside, 1) & DB_CLOSING) == 0)
        return HF_SUCCESS;
    db_leave(db);
    return error_set(err, HF_E_CLOSED, "hf_close() has been called for this database");
}

void db_leave(struct hf_db *db)
{
    if (atomic_fetch_sub(&db->inside, 1) != (DB_CLOSING | 1))
        return;
    pthread_mutex_lock(&db->lock);
    db->is_quiet = true;
    pthread_cond_signal(&db->quiet);
    pthread_mutex_unlock(&db->lock);
}

/* ---- calls ---- */

static struct call *make_call(struct hf_db *db)
{
    struct call *call = mem_alloc(&db->mem, sizeof *call);
    if (call == NULL)
        return NULL;
    call->db = db;
    call->wake_fd = -1;
    atomic_init(&call->sleeps_until_ns, HF_NEVER);
    call->cancel.fd = -1;
    call->wait.fd = -1;
    for (int i = 0; i < 3; i++)
        call->watches[i] = (struct call_watch){.call = call, .fd = -1};
    pthread_mutex_lock(&db->lock);
    route_state_init(&call->lane.route, ++db->seed);
    list_push_back(&db->calls, &call->all);
    pthread_mutex_unlock(&db->lock);
    return call;
}

static struct call *_Atomic *own_place(struct hf_db *db)
{
    return &db->places[threads_number() % DB_PLACES].call;
}

static struct call *take_free(struct hf_db *db)
{
    struct call *call = atomic_exchange_explicit(own_place(db), NULL, memory_order_acquire);
    if (call != NULL)
        return call;
    pthread_mutex_lock(&db->lock);
    struct list_node *node = list_pop_front(&db->free_calls);
    pthread_mutex_unlock(&db->lock);
    return node != NULL ? container_of(node, struct call, link) : make_call(db);
}

struct call *db_call_bare(struct hf_db *db)
{
    struct call *call = take_free(db);
    if (call == NULL)
        return NULL;
    call->state = CALL_IS_GOING;
    call->phase = CALL_NO_ATTEMPT;
    call->is_answered = false;
    call->is_abandoned = false;
    call->was_cancelled = false;
    call->was_recalled = false;
    call->operation = NULL;
    call->held_before = call->lane.stats.held;
    call->queued_before = call->lane.stats.queued;
    call->owner = NULL;
    call->user_cancel = NULL;
    if (call->error.code != HF_SUCCESS) {
        call->error.message[0] = '\0';
        call->error.code = HF_SUCCESS;
    }
    call->spending = CALL_SPEND_QUEUED;
    memset(call->spent_ns, 0, sizeof call->spent_ns);
    atomic_store_explicit(&call->news, 0, memory_order_relaxed);
    return call;
}

static bool make_own_view(struct call *call)
{
    if (call->own_view == NULL) {
        call->own_view = mem_alloc(&call->db->mem, sizeof *call->own_view);
        if (call->own_view == NULL)
            return false;
        call_view_init(call->own_view);
    }
    if (call->wake_fd < 0)
        call->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return call->wake_fd >= 0;
}

struct call *db_call_new(struct hf_db *db)
{
    struct call *call = db_call_bare(db);
    if (call == NULL)
        return NULL;
    if (!make_own_view(call)) {
        db_call_free(call);
        return NULL;
    }
    call->loop = NULL;
    call->view = call->own_view;
    /* A locked instruction, which is hardly ever needed: mostly a blocking caller had it before. */
    if (atomic_load_explicit(&call->wake_at, memory_order_relaxed) != call->wake_fd)
        atomic_store(&call->wake_at, call->wake_fd);
    return call;
}

void db_call_free(struct call *call)
{
    struct hf_db *db = call->db;
    if (call->ops != NULL && call->ops->over != NULL)
        call->ops->over(call);
    call->ops = NULL;
    call->work = NULL;
    call->loop = NULL;
    call->state = CALL_IS_FREE;
    hf_assert(call->conn == NULL && !call->is_watching);
    struct call *none = NULL;
    if (atomic_compare_exchange_strong_explicit(own_place(db), &none, call, memory_order_release,
                                                memory_order_relaxed))
        return;
    pthread_mutex_lock(&db->lock);
    list_push_front(&db->free_calls, &call->link);
    pthread_mutex_unlock(&db->lock);
}

void db_wake_watching(struct hf_db *db)
{
    pthread_mutex_lock(&db->lock);
    list_for_each(node, &db->watching)
        call_wake(container_of(node, struct call, watching), CALL_NEWS_VIEW);
    pthread_mutex_unlock(&db->lock);
}

void db_fence(struct hf_db *db)
{
    pthread_mutex_lock(&db->lock);
    pthread_mutex_unlock(&db->lock);
    for (uint32_t i = 0; i < db->endpoint_count; i++) {
        pthread_mutex_lock(&db->endpoints[i].queue_lock);
        pthread_mutex_unlock(&db->endpoints[i].queue_lock);
    }
}

/* ---- requests ---- */

static enum route_intent route_of(const struct hf_call_options *options, enum route_intent judged)
{
    if (options->intent == HF_READ)
        return ROUTE_READ;
    return options->intent == HF_WRITE ? ROUTE_WRITE : judged;
}

enum route_intent db_judge(struct hf_db *db, struct statement_memo *memo,
                           const struct hf_call_options *options, struct exec_statement *statement)
{
    statement->key = statement_key_again(memo, db->secret, statement->sql, statement->params);
    statement->has_key = true;
    struct intent intent = intents_of(db->intents, statement->key, statement->sql);
    enum route_intent route = route_of(options, intent.route);
    statement->may_write = route == ROUTE_WRITE;
    statement->commits_inside = (intent.traits & VERDICT_COMMITS_INSIDE) != 0;
    statement->leaves_traces = intent_leaves_traces(&intent);
    statement->is = intent.is;
    return route;
}

enum route_intent db_intent(struct hf_db *db, const char *sql,
                            const struct hf_call_options *options)
{
    struct exec_statement statement = {.sql = sql};
    struct statement_memo memo = {.size = 0};
    return db_judge(db, &memo, options, &statement);
}

void db_learn_write(struct hf_db *db, const struct exec_statement *statement)
{
    intents_learn(db->intents, statement->key, statement->sql);
}

static enum route_consistency consistency_of(const struct hf_db *db, int32_t asked)
{
    switch (asked) {
    case HF_SESSION:
        return ROUTE_SESSION;
    case HF_BOUNDED:
        return ROUTE_BOUNDED;
    case HF_ANY_AGE:
        return ROUTE_ANY_AGE;
    case HF_PRIMARY:
        return ROUTE_PRIMARY;
    default:
        return db->config.route.consistency;
    }
}

void db_request(struct hf_db *db, enum route_intent intent, const struct hf_call_options *options,
                struct guard_request *request)
{
    struct hf_session *session = options->session != NULL ? options->session : &db->session;
    enum route_consistency consistency = consistency_of(db, options->consistency);
    *request = (struct guard_request){
        .route =
            {
                .intent = intent,
                .consistency = consistency,
                .staleness_ns_max = options->staleness_ms > 0 ? HF_MS(options->staleness_ms)
                                                              : db->config.route.staleness_ns,
                .zone = db->zone,
                .policy = &db->policy,
            },
        .operation = intent == ROUTE_READ ? DEGRADE_READ : DEGRADE_WRITE,
        .deadline_ns =
            options->deadline_ms > 0 ? ns_add(clock_now(), HF_MS(options->deadline_ms)) : 0,
        .priority = (uint8_t)options->priority, /* options_check_call() */
        .idempotent = options->is_idempotent,
        .cache_ok = options->cache != HF_CACHE_OFF && intent == ROUTE_READ,
    };
    if (intent == ROUTE_READ && consistency == ROUTE_SESSION)
        request->route.promise = session_promise(session);
}

/* ---- what became of a call ---- */

void db_count(const struct call *call)
{
    struct db_counts *counts = &call->db->counts;
    atomic_fetch_add_explicit(&counts->results[call->result], 1, memory_order_relaxed);
    uint32_t attempts = call->guard.attempts;
    if (attempts > 1)
        atomic_fetch_add_explicit(&counts->more_attempts, attempts - 1, memory_order_relaxed);
    if (attempts == 0)
        atomic_fetch_add_explicit(&counts->unattempted, 1, memory_order_relaxed);
    if (call->was_cancelled)
        atomic_fetch_add_explicit(&counts->cancelled, 1, memory_order_relaxed);
    if (call->lane.stats.held != call->held_before)
        atomic_fetch_add_explicit(&counts->held, 1, memory_order_relaxed);
    if (call->lane.stats.queued != call->queued_before)
        atomic_fetch_add_explicit(&counts->queued, 1, memory_order_relaxed);
    record_call(call);
}

void db_decision(const struct call *call, struct hf_decision *decision)
{
    const struct guard_reason *reason = &call->guard.reason;
    const struct snapshot *view = &call->view->snapshot;
    if (call->was_recalled) {
        *decision = (struct hf_decision){.level = view->level, .was_cached = true};
        snprintf(decision->class_name, sizeof decision->class_name, "read");
        snprintf(decision->reason, sizeof decision->reason,
                 "a fresh result was in the cache, and no server was asked");
        return;
    }
    *decision = (struct hf_decision){
        .attempts = call->guard.attempts,
        .level = view->level,
        .queued_ns = call->spent_ns[CALL_SPEND_QUEUED],
        .connected_ns = call->spent_ns[CALL_SPEND_CONNECTING],
        .server_ns = call->spent_ns[CALL_SPEND_SERVER],
        .backoff_ns = call->spent_ns[CALL_SPEND_BACKOFF],
        .total_ns = call->guard.now_ns - call->started_ns,
        .was_cached = call->result == GUARD_SERVED_CACHED,
        .was_resolved = reason->why == GUARD_WHY_COMMIT_PROVED,
        .was_held = call->lane.stats.held != call->held_before,
    };
    bool is_read = call->guard.request.route.intent == ROUTE_READ;
    snprintf(decision->class_name, sizeof decision->class_name, "%s", is_read ? "read" : "write");
    if (reason->endpoint < view->count)
        snprintf(decision->endpoint, sizeof decision->endpoint, "%s",
                 view->endpoints[reason->endpoint].name);
    struct hf_err told;
    guard_reason_error(reason, view, &told);
    error_scrub(decision->reason, sizeof decision->reason, told.message);
}

/* ---- connecting ---- */

/* `params` ends with NULL. What `options` says goes before the user's own. */
static void fill_params(struct hf_db *db, const struct watcher_target *target, const char *options,
                        struct conn_param *params)
{
    const struct conn_param list[] = {
        {"dbname", db->conninfo},
        {"host", target->host},
        {"hostaddr", target->hostaddr},
        {"port", target->port},
        {"target_session_attrs", "any"},
        {"fallback_application_name", "holdfast"},
        {options != NULL ? "options" : NULL, options},
        {NULL, NULL},
    };
    memcpy(params, list, sizeof list);
}

enum conn_step db_connect(struct hf_db *db, uint32_t endpoint, struct conn *conn,
                          int64_t deadline_ns, struct hf_err *err)
{
    struct watcher_target target;
    if (!watcher_target(db->watcher, endpoint, &target)) {
        conn->outcome = (struct outcome){.code = OUTCOME_RESOLVE_FAILED};
        err_set(err, HF_RC_AGAIN, "08001", "%s is no server of this database any more",
                db->endpoints[endpoint].name);
        return CONN_FAILED;
    }
    struct conn_param params[CONN_PARAMS_MAX + 1];
    fill_params(db, &target, NULL, params);
    return conn_start(conn, params, deadline_ns, err);
}

enum hf_rc db_connect_catalog(struct hf_db *db, uint32_t endpoint, struct conn *conn,
                              int64_t deadline_ns, int interrupt_fd, struct hf_err *err)
{
    struct watcher_target target;
    struct conn_param params[CONN_PARAMS_MAX + 1];
    if (!watcher_target(db->watcher, endpoint, &target))
        return err_set(err, HF_RC_AGAIN, "08001", "%s is no server of this database any more",
                       db->endpoints[endpoint].name);
    fill_params(db, &target, CATALOG_LOAD_OPTIONS, params);
    return conn_open(conn, params, deadline_ns, interrupt_fd, err);
}
