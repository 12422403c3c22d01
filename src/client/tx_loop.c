/*
 * Transactions in the caller's loop, step by step: the same, driven by client/call_loop.h.
 *
 *     hf_loop_begin -----> call in the loop, parked ---> done(), hf_call_tx()
 *     hf_loop_tx_query --> a step: resumed, parked ----> done(), rows
 *     hf_loop_commit ----> a step: resumed, answered --> done(); both are freed
 *
 * The call belongs to the loop all the time, so the deadline is kept also while nothing is asked.
 * When it ends before its owner says so, the transaction is GONE and waits for its owner, who frees
 * it by a commit or a rollback. Who comes last of the two, owner and call, frees it.
 */
#include <libpq-fe.h>
#include <sys/eventfd.h>

#include "client/async.h"
#include "client/db.h"
#include "client/errors.h"
#include "client/rows.h"
#include "client/statement_copy.h"
#include "client/tx.h"
#include "os/clock.h"

/* ---- ends ---- */

void tx_drop(struct hf_tx *tx)
{
    if (atomic_fetch_sub(&tx->holders, 1) == 1)
        tx_free(tx);
}

/* Its owner has done with it. On the loop's thread, as all that touches the link. */
static void leave(struct hf_tx *tx)
{
    if (list_is_linked(&tx->link))
        list_remove(&tx->link);
    tx_drop(tx);
}

static void free_copy(struct hf_tx *tx)
{
    mem_free(&tx->db->mem, tx->copy);
    tx->copy = NULL;
}

/* A step has ended: how it went, its rows. */
static int step_result(struct hf_tx *tx, struct hf_rows **rows, struct hf_error *err)
{
    if (tx->has_step_failed) {
        *err = tx->error;
        PQclear(tx->result);
        tx->result = NULL;
        return tx->error.code;
    }
    error_clear(err);
    if (tx->result == NULL)
        return HF_SUCCESS;
    *rows = rows_take(tx->result, call_endpoint_name(tx->call));
    tx->result = NULL;
    return *rows != NULL ? HF_SUCCESS
                         : error_set(err, HF_E_MEMORY, "out of memory for the rows of the result");
}

/* ---- what hf_turn() calls ---- */

static void begun(struct hf_call *call)
{
    struct call *engine = call->engine;
    struct hf_tx *tx = call->tx;
    struct hf_error err;
    if (engine->state == CALL_IS_GOING)
        return;
    if (engine->state == CALL_IS_PARKED) {
        tx->logic_attempt = tx->attempt;
        tx->runs = 1;
        error_clear(&err);
        async_end(call, HF_SUCCESS, NULL, &err);
        return;
    }
    int code = call_answer(engine, &err);
    leave(tx); /* nobody has ever seen it */
    call->tx = NULL;
    call->engine = NULL;
    async_release(call->loop, engine);
    async_end(call, code, NULL, &err);
}

static void stepped(struct hf_call *call)
{
    struct call *engine = call->engine;
    struct hf_tx *tx = call->tx;
    struct hf_error err;
    struct hf_rows *rows = NULL;
    if (engine->state == CALL_IS_GOING)
        return;
    int code;
    if (engine->state == CALL_IS_PARKED && tx->attempt == tx->logic_attempt) {
        code = step_result(tx, &rows, &err);
        free_copy(tx);
        if (call->decision != NULL)
            db_decision(engine, call->decision);
    } else {
        /* It waits for its owner; the call may work on with it, on the reaper's thread. */
        code = call_answer(engine, &err);
        atomic_store(&tx->gone, code != HF_SUCCESS ? code : HF_E_CANCELLED);
        atomic_store(&tx->owner, TX_GONE);
        call->engine = NULL;
        async_release(call->loop, engine);
    }
    async_end(call, code, rows, &err);
}

static void ended(struct hf_call *call)
{
    struct call *engine = call->engine;
    struct hf_error err;
    int code = HF_SUCCESS;
    error_clear(&err);
    if (engine != NULL) {
        if (engine->state == CALL_IS_GOING)
            return;
        code = call_answer(engine, &err);
        if (call->tx->decision != NULL)
            db_decision(engine, call->tx->decision);
        leave(call->tx);
        call->engine = NULL;
        async_release(call->loop, engine);
    }
    call->tx = NULL;
    async_end(call, code, NULL, &err);
}

void tx_loop_forget(struct hf_loop *loop)
{
    struct list_node *node;
    while ((node = list_pop_front(&loop->transactions)) != NULL)
        tx_drop(container_of(node, struct hf_tx, link));
}

/* ---- starting ---- */

static int start(struct hf_loop *loop, const struct hf_tx_options *options, struct hf_call *call,
                 struct hf_error *err)
{
    struct call *engine = db_call_bare(loop->loop.db);
    if (engine == NULL)
        return error_set(err, HF_E_MEMORY, "out of memory for a call");
    loop_own(&loop->loop, engine);
    int code = tx_new(loop->loop.db, options, true, engine, &call->tx, err);
    if (code != HF_SUCCESS) {
        db_call_free(engine);
        return code;
    }
    call->tx->loop = loop;
    atomic_init(&call->tx->holders, 2);
    list_push_back(&loop->transactions, &call->tx->link);
    async_attach(call, engine);
    tx_start(call->tx);
    loop_add(&loop->loop, engine);
    return HF_SUCCESS;
}

int hf_loop_begin(struct hf_loop *loop, const struct hf_tx_options *options, hf_done *done,
                  void *arg, struct hf_error *err)
{
    if (loop == NULL || done == NULL)
        return error_set(err, HF_E_USAGE, "hf_loop_begin() needs a loop and a function to call");
    int code = async_check(loop, err);
    if (code == HF_SUCCESS)
        code = db_enter(loop->loop.db, err);
    if (code != HF_SUCCESS)
        return code;
    struct hf_call *call = async_new(loop, begun, done, arg);
    if (call == NULL) {
        code = error_set(err, HF_E_MEMORY, "out of memory for a call");
    } else {
        code = start(loop, options, call, err);
        if (code != HF_SUCCESS)
            async_drop(call);
    }
    db_leave(loop->loop.db);
    return code;
}

/* Nothing else is under way in it, and it is one of a loop. */
static int check(struct hf_tx *tx, struct hf_error *err)
{
    if (tx == NULL)
        return error_set(err, HF_E_USAGE, "there is no transaction");
    if (tx->loop != NULL && tx->loop->is_ending)
        return async_check(tx->loop, err); /* which ends and frees it */
    if (atomic_load(&tx->owner) == TX_GONE)
        return error_set(err, atomic_load(&tx->gone), "the transaction has ended");
    if (tx->loop == NULL || tx->call->owner != NULL)
        return error_set(err, HF_E_USAGE,
                         tx->loop == NULL ? "the transaction is not one of a loop"
                                          : "a statement of the transaction is under way");
    return HF_SUCCESS;
}

/* One step of it as a call of its own. */
static int begin_step(struct hf_tx *tx, enum tx_todo todo, struct hf_call *call)
{
    call->tx = tx;
    async_attach(call, tx->call);
    tx_begin_step(tx, todo);
    if (clock_now() >= tx->deadline_ns)
        call_turn(tx->call, 0); /* it ends here, and nothing is sent */
    call_resume(tx->call);
    async_touch(call);
    return HF_SUCCESS;
}

/* Whom to tell. */
struct listener {
    hf_done *done;
    void *arg;
};

static int start_statement(struct hf_tx *tx, const char *sql, const struct hf_params *params,
                           const struct hf_call_options *options, const struct listener *listener,
                           struct hf_error *err)
{
    static const struct hf_call_options none;
    if (options == NULL)
        options = &none;
    int code = tx_check(tx, err);
    if (code != HF_SUCCESS)
        return code;
    struct hf_call_options whole = *options;
    whole.chunk_rows = 0;
    struct statement_copy *copy = statement_copy_new(&tx->db->mem, sql, params);
    struct hf_call *call =
        copy != NULL ? async_new(tx->loop, stepped, listener->done, listener->arg) : NULL;
    if (call == NULL) {
        mem_free(&tx->db->mem, copy);
        return error_set(err, HF_E_MEMORY, "out of memory for a statement");
    }
    code = tx_set_statement(tx, copy->sql, &copy->params, &whole, err);
    if (code != HF_SUCCESS) {
        mem_free(&tx->db->mem, copy);
        async_drop(call);
        return code;
    }
    tx->copy = copy;
    call->decision = options->decision;
    return begin_step(tx, TX_STATEMENT, call);
}

/* NOLINTNEXTLINE(readability-function-size): the public header's, which names each of them */
int hf_loop_tx_query(struct hf_tx *tx, const char *sql, const struct hf_params *params,
                     const struct hf_call_options *options, hf_done *done, void *arg,
                     struct hf_error *err)
{
    int code = check(tx, err);
    if (code != HF_SUCCESS)
        return code;
    if (sql == NULL)
        return error_set(err, HF_E_USAGE, "there is no statement");
    struct hf_db *db = tx->db;
    code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    code = start_statement(tx, sql, params, options, &(struct listener){done, arg}, err);
    db_leave(db);
    return code;
}

/* Nothing is left to be done: `done` is called by the next turn all the same. */
static void end_later(struct hf_loop *loop, struct hf_call *call)
{
    list_push_back(&loop->ended, &call->ended);
    eventfd_write(loop->loop.wake_fd, 1);
}

static int end(struct hf_tx *tx, enum tx_todo todo, hf_done *done, void *arg, struct hf_error *err)
{
    int code = check(tx, err);
    if (tx != NULL && tx->loop != NULL && tx->loop->is_ending)
        return code;
    bool is_gone = tx != NULL && atomic_load(&tx->owner) == TX_GONE;
    if (code != HF_SUCCESS && (!is_gone || todo == TX_COMMIT)) {
        if (is_gone)
            leave(tx);
        return code;
    }
    struct hf_loop *loop = tx->loop;
    struct hf_call *call = async_new(loop, ended, done, arg);
    if (call == NULL)
        return error_set(err, HF_E_MEMORY, "out of memory for a call");
    if (is_gone) {
        leave(tx);
        end_later(loop, call);
        return HF_SUCCESS;
    }
    if (tx->call->state == CALL_IS_PARKED)
        return begin_step(tx, todo, call);
    call->tx = tx;
    async_attach(call, tx->call);
    end_later(loop, call);
    return HF_SUCCESS;
}

int hf_loop_commit(struct hf_tx *tx, hf_done *done, void *arg, struct hf_error *err)
{
    return end(tx, TX_COMMIT, done, arg, err);
}

int hf_loop_rollback(struct hf_tx *tx, hf_done *done, void *arg, struct hf_error *err)
{
    return end(tx, TX_ROLLBACK, done, arg, err);
}
