/*
 * How a transaction begins and ends, and who may touch it meanwhile.
 */
#include <libpq-fe.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bug.h"
#include "client/cancel_token.h"
#include "client/db.h"
#include "client/drive.h"
#include "client/errors.h"
#include "client/options.h"
#include "client/reaper.h"
#include "client/record.h"
#include "client/tx.h"
#include "client/tx_stack.h"
#include "os/clock.h"

/* ---- the transactions of a database ---- */

void txs_init(struct txs *txs)
{
    pthread_mutex_init(&txs->lock, NULL);
    list_init(&txs->open);
    atomic_init(&txs->may_probe, TXS_UNKNOWN);
}

void txs_deinit(struct txs *txs)
{
    hf_assert(list_is_empty(&txs->open));
    pthread_mutex_destroy(&txs->lock);
}

static void enlist(struct hf_tx *tx)
{
    pthread_mutex_lock(&tx->db->txs.lock);
    list_push_back(&tx->db->txs.open, &tx->link);
    pthread_mutex_unlock(&tx->db->txs.lock);
    if (db_is_closing(tx->db)) /* hf_close() may have looked before */
        atomic_store(&tx->is_wanted, true);
}

static void delist(struct hf_tx *tx)
{
    pthread_mutex_lock(&tx->db->txs.lock);
    if (list_is_linked(&tx->link))
        list_remove(&tx->link);
    pthread_mutex_unlock(&tx->db->txs.lock);
}

/* TAKING is this thread's own. From GONE on the owner may free the transaction. */
static void take_away(struct hf_tx *tx, enum hf_code why)
{
    struct call *call = tx->call;
    struct hf_db *db = tx->db;
    struct tx_seat *seat = call->work;
    seat->tx = NULL;
    atomic_store(&tx->gone, (int)why);
    atomic_store(&tx->owner, TX_GONE);
    reaper_take(db->reaper, call);
    db_leave(db);
}

static bool try_take(struct hf_tx *tx)
{
    int outside = TX_OUTSIDE;
    return atomic_compare_exchange_strong(&tx->owner, &outside, TX_TAKING);
}

/* One to be taken away, off the list; NULL: no more. */
static struct hf_tx *next_to_reap(struct txs *txs, int64_t now_ns, bool all)
{
    struct hf_tx *found = NULL;
    pthread_mutex_lock(&txs->lock);
    list_for_each(node, &txs->open) {
        struct hf_tx *tx = container_of(node, struct hf_tx, link);
        if (!all && now_ns < tx->deadline_ns)
            continue;
        /* In this order: its owner looks the other way round when leaving. */
        if (all)
            atomic_store(&tx->is_wanted, true);
        if (try_take(tx)) {
            found = tx;
            list_remove(node);
            break;
        }
    }
    pthread_mutex_unlock(&txs->lock);
    return found;
}

void txs_reap(struct hf_db *db, int64_t now_ns, bool all)
{
    struct hf_tx *tx;
    while ((tx = next_to_reap(&db->txs, now_ns, all)) != NULL)
        take_away(tx, all ? HF_E_CLOSED : HF_E_DEADLINE);
}

/* ---- beginning ---- */

#define CALL_MS_MAX (INT64_C(1000) * 86400 * 365) /* a year: what is longer is a mistake */

static int check_options(const struct hf_tx_options *options, struct hf_error *err)
{
    if (options->isolation < HF_ISOLATION_DEFAULT || options->isolation > HF_SERIALIZABLE)
        return error_set(err, HF_E_USAGE, "there is no isolation level %d", options->isolation);
    if (options->deadline_ms < 0 || options->deadline_ms > CALL_MS_MAX)
        return error_set(err, HF_E_USAGE, "a deadline of %lld ms is none",
                         (long long)options->deadline_ms);
    if (options->is_deferrable &&
        (options->isolation != HF_SERIALIZABLE || !options->is_read_only)) {
        error_set(err, HF_E_USAGE, "only a serializable, read-only transaction is deferrable");
        return HF_E_USAGE;
    }
    return HF_SUCCESS;
}

static void make_request(struct hf_db *db, const struct hf_tx_options *options, bool is_by_hand,
                         struct guard_request *request)
{
    struct hf_call_options as_call = {
        .consistency = options->consistency,
        .staleness_ms = options->staleness_ms,
        .deadline_ms = options->deadline_ms,
        .session = options->session,
    };
    db_request(db, options->is_read_only ? ROUTE_READ : ROUTE_WRITE, &as_call, request);
    if (request->deadline_ns == 0)
        request->deadline_ns = ns_add(clock_now(), db->config.deadline_ns);
    /* A standby cannot give that isolation. */
    if (options->isolation == HF_SERIALIZABLE)
        request->route.consistency = ROUTE_PRIMARY;
    request->in_transaction = true;
    request->can_replay = !is_by_hand;
}

static void override(struct client_retry_config *policy, const struct hf_retry_options *asked)
{
    if (asked->attempts_max > 0)
        policy->attempts_max = (uint32_t)asked->attempts_max;
    if (asked->initial_ms > 0)
        policy->initial_ns = HF_MS(asked->initial_ms);
    if (asked->cap_ms > 0)
        policy->cap_ns = HF_MS(asked->cap_ms);
}

/* A policy of its own costs a copy of the guard, which is but a list of what it borrows. A deadline
 * that goes beyond the limit of an attempt was meant: then there is no such limit. */
static int make_guard(struct hf_tx *tx, const struct hf_tx_options *options, struct hf_error *err)
{
    struct tx_seat *seat = tx->call->work;
    const struct hf_retry_options *retry = &options->retry;
    bool is_long = HF_MS(options->deadline_ms) > tx->db->tx_guard.config.attempt_ns_max;
    if (!is_long && retry->attempts_max == 0 && retry->initial_ms == 0 && retry->cap_ms == 0 &&
        retry->budget_percent == 0)
        return HF_SUCCESS;
    struct guard *guard = mem_alloc(&tx->db->mem, sizeof *guard);
    if (guard == NULL)
        return error_set(err, HF_E_MEMORY, "out of memory for a transaction");
    seat->own_guard = guard;
    *guard = tx->db->tx_guard;
    if (is_long)
        guard->config.attempt_ns_max = HF_NEVER;
    if (retry->budget_percent < 0)
        guard->budget = NULL;
    struct client_retry_config policy = tx->db->config.tx_retry;
    override(&policy, retry);
    options_retry(&policy, &guard->config.retry);
    struct hf_err why;
    if (retry_config_check(&guard->config.retry, &why) != HF_OK)
        return error_from_err(err, HF_E_USAGE, &why);
    return HF_SUCCESS;
}

static const struct hf_tx_options no_options;

int tx_new(struct hf_db *db, const struct hf_tx_options *options, bool is_by_hand,
           struct call *call, struct hf_tx **out, struct hf_error *err)
{
    _Static_assert(sizeof(struct tx_seat) <= CALL_ROOM, "the room of a call must hold a seat");
    *out = NULL;
    if (options == NULL)
        options = &no_options;
    int code = check_options(options, err);
    if (code != HF_SUCCESS)
        return code;
    if (cancel_token_refuses(options->cancel, err))
        return HF_E_CANCELLED;
    /* Not from the db's allocator: an owner that never came back may have it when the db has been
     * closed. */
    struct hf_tx *tx = calloc(1, sizeof *tx);
    if (tx == NULL)
        return error_set(err, HF_E_MEMORY, "out of memory for a transaction");
    struct tx_seat *seat = (void *)call->room;
    *seat = (struct tx_seat){.tx = tx};
    call->work = seat;
    call->ops = tx_ops();
    call->user_cancel = options->cancel;
    call->operation = operations_find(&db->record->operations, options->operation);
    tx->db = db;
    tx->call = call;
    tx->session = options->session != NULL ? options->session : &db->session;
    tx->decision = options->decision;
    tx->isolation = options->isolation;
    tx->is_read_only = options->is_read_only;
    tx->is_deferrable = options->is_deferrable;
    tx->is_by_hand = is_by_hand;
    tx->step_deadline_ns = HF_NEVER;
    atomic_init(&tx->owner, TX_INSIDE);
    make_request(db, options, is_by_hand, &tx->request);
    tx->deadline_ns = tx->request.deadline_ns;
    code = make_guard(tx, options, err);
    if (code != HF_SUCCESS) {
        seat->owns_tx = true; /* it goes with the call */
        return code;
    }
    db_stay(db);
    *out = tx;
    return HF_SUCCESS;
}

void tx_start(struct hf_tx *tx)
{
    const struct tx_seat *seat = tx->call->work;
    struct guard *guard = seat->own_guard != NULL ? seat->own_guard : &tx->db->tx_guard;
    call_start(tx->call, guard, tx_ops(), tx->call->work, &tx->request);
}

int tx_open(struct hf_db *db, const struct hf_tx_options *options, bool is_by_hand,
            struct hf_tx **out, struct hf_error *err)
{
    *out = NULL;
    struct call *call = db_call_new(db);
    if (call == NULL)
        return error_set(err, HF_E_MEMORY, "out of memory for a call");
    struct hf_tx *tx;
    int code = tx_new(db, options, is_by_hand, call, &tx, err);
    if (code != HF_SUCCESS) {
        db_call_free(call);
        return code;
    }
    hf_assert(tx != NULL);
    tx_start(tx);
    call_drive(call);
    if (call->state != CALL_IS_PARKED) {
        code = call_answer(call, err);
        tx_close(tx);
        return code;
    }
    enlist(tx);
    *out = tx;
    return HF_SUCCESS;
}

/* ---- ending ---- */

void tx_free(struct hf_tx *tx)
{
    if (tx->task != NULL)
        tx->task->cut(tx->task);
    tx_rows_cut(tx);
    PQclear(tx->result);
    free(tx);
}

void tx_close(struct hf_tx *tx)
{
    struct call *call = tx->call;
    struct hf_db *db = tx->db;
    delist(tx);
    if (call->state == CALL_IS_PARKED || call->state == CALL_IS_GOING)
        call_stop(call);
    if (tx->decision != NULL)
        db_decision(call, tx->decision);
    /* What is still out after the answer works on with it. */
    struct tx_seat *seat = call->work;
    seat->owns_tx = true;
    tx_rows_cut(tx);
    PQclear(tx->result);
    tx->result = NULL;
    drive_release(call);
    db_leave(db);
}

/* ---- around the public functions ---- */

static int say_gone(const struct hf_tx *tx, struct hf_error *err)
{
    int why = atomic_load(&tx->gone);
    if (why == HF_E_CLOSED)
        return error_set(err, why, "hf_close() has ended the transaction");
    return error_set(err, why, "the transaction's deadline has passed, and it was rolled back");
}

int tx_enter(struct hf_tx *tx, struct hf_error *err)
{
    if (tx == NULL)
        return error_set(err, HF_E_USAGE, "there is no transaction");
    tx_stack_sweep();
    for (;;) {
        int owner = TX_OUTSIDE;
        if (atomic_compare_exchange_strong(&tx->owner, &owner, TX_INSIDE))
            break;
        if (owner == TX_GONE)
            return say_gone(tx, err);
        if (owner == TX_INSIDE)
            return error_set(err, HF_E_USAGE,
                             "the transaction is in use by another thread, or "
                             "asynchronous");
        sched_yield();
    }
    if (!db_is_forked(tx->db))
        return HF_SUCCESS;
    atomic_store(&tx->owner, TX_OUTSIDE);
    return error_set(err, HF_E_FORKED, "this transaction was begun by the parent process");
}

void tx_leave(struct hf_tx *tx)
{
    atomic_store(&tx->owner, TX_OUTSIDE);
    if (!atomic_load(&tx->is_wanted) || !try_take(tx))
        return;
    delist(tx);
    take_away(tx, HF_E_CLOSED);
}

int tx_check(struct hf_tx *tx, struct hf_error *err)
{
    const struct call *call = tx->call;
    if (call->state != CALL_IS_PARKED) {
        int code = call_answer(call, err);
        return code != HF_SUCCESS ? code : error_set(err, HF_E_USAGE, "the transaction has ended");
    }
    if (tx->attempt != tx->logic_attempt)
        return error_set(err, HF_E_LOST, "the transaction was ended by the limit of an attempt");
    if (tx->stage != TX_STAGE_NEW)
        return error_set(err, HF_E_USAGE,
                         "a COPY or rows that stream must be ended before the transaction goes on");
    if (tx->has_failure) {
        error_set(err, HF_E_SERVER, "the transaction has failed and waits for its rollback");
        if (err != NULL)
            snprintf(err->sqlstate, sizeof err->sqlstate, "25P02");
        error_detail(err, "What failed: %s", tx->failure_error.message);
        return HF_E_SERVER;
    }
    return HF_SUCCESS;
}

bool tx_is_cancelled(const struct hf_tx *tx)
{
    const struct hf_cancel *cancel = tx->call->user_cancel;
    return cancel != NULL && cancel_token_is_fired(cancel);
}

int tx_do(struct hf_tx *tx, enum tx_todo todo, struct hf_error *err)
{
    struct call *call = tx->call;
    uint32_t attempt = tx->attempt;
    tx_begin_step(tx, todo);
    if (clock_now() >= tx->deadline_ns || tx_is_cancelled(tx))
        call_turn(call, 0); /* nobody has told it yet: it ends here, and nothing is sent */
    call_resume(call);
    call_drive(call);
    if (call->state != CALL_IS_PARKED || tx->attempt != attempt) {
        int code = call->state == CALL_IS_PARKED ? HF_E_LOST : call_answer(call, err);
        if (code == HF_E_LOST && call->state == CALL_IS_PARKED)
            error_set(err, code, "the transaction was ended by the limit of an attempt");
        return code;
    }
    if (!tx->has_step_failed)
        return HF_SUCCESS;
    if (err != NULL)
        *err = tx->error;
    return tx->error.code;
}
