/*
 * Transactions of blocking callers: hf_tx() and its kin.
 */
#include "client/tx.h"

#include <libpq-fe.h>

#include "base/rng.h"
#include "client/db.h"
#include "client/drive.h"
#include "client/errors.h"
#include "client/options.h"
#include "client/rows.h"
#include "client/tx_stack.h"
#include "core/retry.h"
#include "os/clock.h"

#define NESTED_ATTEMPTS   3
#define NESTED_INITIAL_NS HF_MS(50)
#define NESTED_CAP_NS     HF_SEC(1)

static const struct hf_tx_options no_options;
static const struct hf_call_options no_call_options;

/* ---- statements ---- */

int tx_set_statement(struct hf_tx *tx, const char *sql, const struct hf_params *params,
                     const struct hf_call_options *options, struct hf_error *err)
{
    struct hf_err why;
    if (sql == NULL)
        return error_set(err, HF_E_USAGE, "there is no statement");
    if (options_check_call(options, &why) != HF_OK)
        return error_from_err(err, HF_E_USAGE, &why);
    if (params != NULL && (params->count == 0 || params->list == NULL))
        params = NULL;
    if (params != NULL && params->count > UINT16_MAX)
        return error_set(err, HF_E_USAGE, "a statement takes at most 65535 parameters");
    bool may_write = !tx->is_read_only && db_intent(tx->db, sql, options) == ROUTE_WRITE;
    tx->statement = (struct exec_statement){
        .sql = sql,
        .params = params,
        .format = options->format,
        .chunk_rows = options->chunk_rows,
        .no_prepare = options->no_prepare,
        .may_write = may_write,
    };
    tx->step_deadline_ns =
        options->deadline_ms > 0 ? ns_add(clock_now(), HF_MS(options->deadline_ms)) : HF_NEVER;
    return HF_SUCCESS;
}

/* Runs it; on success the result is in tx->result. */
static int run_statement(struct hf_tx *tx, const char *sql, const struct hf_params *params,
                         const struct hf_call_options *options, struct hf_error *err)
{
    if (options == NULL)
        options = &no_call_options;
    int code = tx_check(tx, err);
    if (code == HF_SUCCESS)
        code = tx_set_statement(tx, sql, params, options, err);
    if (code != HF_SUCCESS)
        return code;
    struct hf_cancel *of_tx = tx->call->user_cancel;
    if (options->cancel != NULL)
        tx->call->user_cancel = options->cancel;
    code = tx_do(tx, TX_STATEMENT, err);
    tx->call->user_cancel = of_tx;
    tx->step_deadline_ns = HF_NEVER;
    if (options->decision != NULL)
        db_decision(tx->call, options->decision);
    if (code != HF_SUCCESS) {
        PQclear(tx->result);
        tx->result = NULL;
    }
    return code;
}

int hf_tx_query(struct hf_tx *tx, const char *sql, const struct hf_params *params,
                const struct hf_call_options *options, struct hf_rows **rows, struct hf_error *err)
{
    if (rows == NULL)
        return error_set(err, HF_E_USAGE, "hf_tx_query() needs a place for the rows");
    *rows = NULL;
    int code = tx_enter(tx, err);
    if (code != HF_SUCCESS)
        return code;
    code = run_statement(tx, sql, params, options, err);
    if (code == HF_SUCCESS) {
        *rows = tx_rows_begin(tx);
        if (*rows == NULL)
            code = error_set(err, HF_E_MEMORY, "out of memory for the rows of the result");
    }
    tx_leave(tx);
    return code;
}

int hf_tx_exec(struct hf_tx *tx, const char *sql, const struct hf_params *params,
               const struct hf_call_options *options, uint64_t *affected, struct hf_error *err)
{
    if (affected != NULL)
        *affected = 0;
    int code = tx_enter(tx, err);
    if (code != HF_SUCCESS)
        return code;
    struct hf_call_options whole = options != NULL ? *options : no_call_options;
    whole.chunk_rows = 0;
    code = run_statement(tx, sql, params, &whole, err);
    if (code == HF_SUCCESS && affected != NULL)
        *affected = rows_affected_of(tx->result);
    PQclear(tx->result);
    tx->result = NULL;
    tx_leave(tx);
    return code;
}

uint32_t hf_tx_attempt(const struct hf_tx *tx)
{
    return tx != NULL ? tx->runs : 0;
}

/* ---- by hand ---- */

int hf_tx_begin(struct hf_db *db, const struct hf_tx_options *options, struct hf_tx **tx,
                struct hf_error *err)
{
    if (tx == NULL)
        return error_set(err, HF_E_USAGE, "hf_tx_begin() needs a place for the transaction");
    *tx = NULL;
    int code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    code = tx_open(db, options, true, tx, err);
    if (code == HF_SUCCESS) {
        (*tx)->logic_attempt = (*tx)->attempt;
        (*tx)->runs = 1;
        tx_leave(*tx);
    }
    db_leave(db);
    return code;
}

/* COMMIT or ROLLBACK, and what came of it. The attempt is ended by it in any case, but for what is
 * not ended yet: that is cut off by tx_close(). */
static int conclude(struct hf_tx *tx, enum tx_todo todo, struct hf_error *err)
{
    bool is_ours = tx->call->state == CALL_IS_PARKED && tx->attempt == tx->logic_attempt;
    if (is_ours && tx->stage != TX_STAGE_NEW)
        return error_set(err, HF_E_USAGE,
                         "the transaction was rolled back, since a COPY or rows "
                         "that stream had not been ended");
    if (is_ours)
        tx_do(tx, todo, NULL);
    if (tx->call->state == CALL_IS_PARKED)
        return HF_SUCCESS;
    int code = call_answer(tx->call, err);
    if (code == HF_SUCCESS || !tx->has_failure || tx->failure_error.code != HF_E_USAGE)
        return code;
    /* The caller's own mistake is told as that, not by the SQLSTATE that the guard was given. */
    if (err != NULL)
        *err = tx->failure_error;
    return HF_E_USAGE;
}

int tx_conclude(struct hf_tx *tx, bool is_good, struct hf_error *err)
{
    return conclude(tx, is_good ? TX_COMMIT : TX_ROLLBACK, err);
}

int tx_end(struct hf_tx *tx, bool is_good, int code, struct hf_error *err)
{
    /* What failed first is told, unless COMMIT knows better. */
    if (is_good)
        code = conclude(tx, TX_COMMIT, err);
    else
        conclude(tx, TX_ROLLBACK, NULL);
    tx_close(tx);
    return code;
}

int hf_tx_commit(struct hf_tx *tx, struct hf_error *err)
{
    int code = tx_enter(tx, err);
    if (code != HF_SUCCESS) {
        if (tx != NULL && atomic_load(&tx->owner) == TX_GONE)
            tx_free(tx);
        return code;
    }
    return tx_end(tx, true, HF_SUCCESS, err);
}

void hf_tx_rollback(struct hf_tx *tx)
{
    if (tx == NULL)
        return;
    if (tx_enter(tx, NULL) != HF_SUCCESS) {
        if (atomic_load(&tx->owner) == TX_GONE)
            tx_free(tx);
        return;
    }
    tx_end(tx, false, HF_SUCCESS, NULL);
}

/* ---- savepoints ---- */

/* Sends what is pending, where there is no room for more. */
static int make_room(struct hf_tx *tx, struct hf_error *err)
{
    if (tx->pending_count < TX_PENDING_MAX)
        return HF_SUCCESS;
    tx->statement = (struct exec_statement){0};
    return tx_do(tx, TX_STATEMENT, err);
}

static int push(struct hf_tx *tx, struct hf_error *err)
{
    int code = tx_check(tx, err);
    if (code == HF_SUCCESS)
        code = make_room(tx, err);
    if (code == HF_SUCCESS)
        tx_push_level(tx);
    return code;
}

static int pop(struct hf_tx *tx, struct hf_error *err)
{
    int code = tx_check(tx, err);
    if (code == HF_SUCCESS && tx->level == 0)
        return error_set(err, HF_E_USAGE, "there is no savepoint to release");
    if (code == HF_SUCCESS)
        code = make_room(tx, err);
    if (code == HF_SUCCESS)
        tx_pop_level(tx);
    return code;
}

static int undo(struct hf_tx *tx, struct hf_error *err)
{
    bool can_undo = tx->call->state == CALL_IS_PARKED && tx->attempt == tx->logic_attempt &&
                    tx->place != TX_DEAD && tx->todo == TX_NOTHING;
    if (!can_undo) {
        int code = tx_check(tx, err);
        return code != HF_SUCCESS ? code : error_set(err, HF_E_USAGE, "the transaction has ended");
    }
    if (tx->level == 0)
        return error_set(err, HF_E_USAGE, "there is no savepoint to roll back to");
    return tx_drop_unsent(tx) ? HF_SUCCESS : tx_do(tx, TX_ROLLBACK_TO, err);
}

static int by_hand(struct hf_tx *tx, int (*what)(struct hf_tx *, struct hf_error *),
                   struct hf_error *err)
{
    int code = tx_enter(tx, err);
    if (code != HF_SUCCESS)
        return code;
    code = what(tx, err);
    tx_leave(tx);
    return code;
}

int hf_tx_savepoint(struct hf_tx *tx, struct hf_error *err)
{
    return by_hand(tx, push, err);
}

int hf_tx_release(struct hf_tx *tx, struct hf_error *err)
{
    return by_hand(tx, pop, err);
}

int hf_tx_rollback_to(struct hf_tx *tx, struct hf_error *err)
{
    return by_hand(tx, undo, err);
}

/* ---- works ---- */

/* What a work that said no is answered with: the failure of whoever it asked, or its own word. */
static int say_no(int result, const struct hf_error *said, struct hf_error *err)
{
    int code = said->code;
    if (code == HF_SUCCESS)
        code = error_set(err, HF_E_CALLBACK, "the work returned %d", result);
    else if (err != NULL)
        *err = *said;
    if (code == HF_E_CALLBACK && said->message[0] != '\0' && err != NULL)
        error_set(err, code, "%s", said->message);
    if (err != NULL)
        err->callback = result;
    return code;
}

/* A work was left by an exception, a longjmp() or the end of its thread. */
static void left(struct hf_tx *tx, uint32_t level)
{
    (void)level;
    hf_tx_rollback(tx);
}

static void left_nested(struct hf_tx *tx, uint32_t level)
{
    while (tx_enter(tx, NULL) == HF_SUCCESS) {
        bool is_done = tx->level <= level || undo(tx, NULL) != HF_SUCCESS;
        tx_leave(tx);
        if (is_done)
            return;
    }
}

/* Calls the work once and ends what it was in. True: it is to be called again. */
static bool run_work(struct hf_tx *tx, hf_tx_work *work, void *arg, struct hf_error *err, int *code)
{
    int result = 0;
    struct hf_error said;
    error_clear(&said);
    tx->logic_attempt = tx->attempt;
    ++tx->runs;
    tx_leave(tx);
    struct tx_stack_entry entry = {tx->db, tx, left, 0};
    bool was_called = tx_stack_call(&entry, work, arg, &said, &result);
    *code = tx_enter(tx, err);
    if (*code != HF_SUCCESS) {
        tx_free(tx);
        return false;
    }
    *code = conclude(tx, was_called && result == 0 ? TX_COMMIT : TX_ROLLBACK, err);
    if (was_called && tx->call->state == CALL_IS_PARKED && tx->attempt != tx->logic_attempt)
        return true;
    tx_close(tx);
    if (!was_called)
        *code =
            error_set(err, HF_E_USAGE, "more than %d transactions within each other", TX_STACK_MAX);
    else if (*code == HF_SUCCESS && result != 0)
        *code = say_no(result, &said, err);
    return false;
}

static int run_top(struct hf_db *db, const struct hf_tx_options *options, hf_tx_work *work,
                   void *arg, struct hf_error *err)
{
    struct hf_tx *tx;
    int code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    code = tx_open(db, options, false, &tx, err);
    db_leave(db); /* the transaction holds it open, until it is closed or taken away */
    if (code != HF_SUCCESS)
        return code;
    while (run_work(tx, work, arg, err, &code))
        ;
    return code;
}

int hf_tx(struct hf_db *db, const struct hf_tx_options *options, hf_tx_work *work, void *arg,
          struct hf_error *err)
{
    if (work == NULL)
        return error_set(err, HF_E_USAGE, "hf_tx() needs a function to call");
    if (options == NULL)
        options = &no_options;
    enum tx_stack_place place = tx_stack_sweep();
    struct hf_tx *outer = tx_stack_find(db);
    if (outer != NULL && !options->is_independent) {
        if (place == TX_STACK_UNSURE) {
            error_set(err, HF_E_USAGE,
                      "cannot tell whether the work of the transaction around is still under way");
            error_hint(err, "Say it with hf_tx_nested(), or ask for one of its own with "
                            "is_independent.");
            return HF_E_USAGE;
        }
        return hf_tx_nested(outer, options, work, arg, err);
    }
    return run_top(db, options, work, arg, err);
}

/* ---- nested ---- */

/* What a repetition from the savepoint can help against: the lock that was not to be had, or the
 * deadlock whose victim we were, is undone with the savepoint and may not come again. A
 * snapshot that is too old (40001) stays so until the whole begins anew. */
static bool can_help(const struct hf_tx *tx)
{
    const struct call_ending *failure = &tx->failure;
    return tx->has_failure && tx->place == TX_FAILED && failure->outcome.code == OUTCOME_SQLSTATE &&
           (failure->outcome.sqlstate == sqlstate_pack("40P01") ||
            failure->outcome.sqlstate == sqlstate_pack("55P03"));
}

static struct retry_config nested_policy(const struct hf_retry_options *options)
{
    struct retry_config policy = retry_config_transaction();
    struct client_retry_config asked = {
        .attempts_max =
            options->attempts_max > 0 ? (uint32_t)options->attempts_max : NESTED_ATTEMPTS,
        .initial_ns = options->initial_ms > 0 ? HF_MS(options->initial_ms) : NESTED_INITIAL_NS,
        .cap_ns = options->cap_ms > 0 ? HF_MS(options->cap_ms) : NESTED_CAP_NS,
    };
    options_retry(&asked, &policy);
    return policy;
}

/* Waits as the policy says. False: not again. */
static bool wait_again(struct hf_tx *tx, const struct retry_config *policy, struct retry *retry)
{
    const struct outcome_rule *rule = outcome_rule(tx->failure.outcome);
    struct retry_ask ask = {
        .now_ns = clock_now(),
        .deadline_ns = tx->deadline_ns,
        .kind = rule->kind,
        .may = OUTCOME_MAY_TRANSACTION,
        .random = rng_u64(&tx->call->lane.route.rng),
    };
    int64_t at_ns;
    if (retry_next(policy, retry, &ask, &at_ns) != RETRY_AGAIN)
        return false;
    clock_sleep_until(at_ns);
    return true;
}

/* A nested work, while it is run again and again. */
struct nested {
    hf_tx_work *work;
    void *arg;
    const struct retry_config *policy; /* NULL: it is not */
    struct retry retry;
    int code; /* what came of it */
};

/* Leaves the levels that the work opened, its own included: kept, or undone after a failure. */
static bool leave_levels(struct hf_tx *tx, uint32_t level, struct nested *nested,
                         struct hf_error *err)
{
    while (tx->level > level) {
        bool is_good = nested->code == HF_SUCCESS;
        int code = is_good ? pop(tx, err) : undo(tx, NULL);
        if (is_good)
            nested->code = code;
        if (code != HF_SUCCESS)
            return false;
    }
    return true;
}

/* Calls the work in a level of its own, between enter and leave. True: call it again. */
static bool run_nested(struct hf_tx *tx, struct nested *nested, struct hf_error *err)
{
    int result = 0;
    struct hf_error said;
    error_clear(&said);
    nested->code = push(tx, err);
    if (nested->code != HF_SUCCESS)
        return false;
    uint32_t level = tx->level - 1;
    tx_leave(tx);
    struct tx_stack_entry entry = {tx->db, tx, left_nested, level};
    bool was_called = tx_stack_call(&entry, nested->work, nested->arg, &said, &result);
    nested->code = tx_enter(tx, err);
    if (nested->code != HF_SUCCESS)
        return false;
    if (!was_called)
        nested->code =
            error_set(err, HF_E_USAGE, "more than %d transactions within each other", TX_STACK_MAX);
    else if (result != 0)
        nested->code = say_no(result, &said, err);
    else
        nested->code = tx_check(tx, err); /* a statement that failed, whatever the work says */
    bool is_again = nested->code != HF_SUCCESS && nested->policy != NULL && can_help(tx);
    return leave_levels(tx, level, nested, err) && is_again &&
           wait_again(tx, nested->policy, &nested->retry);
}

int hf_tx_nested(struct hf_tx *tx, const struct hf_tx_options *options, hf_tx_work *work, void *arg,
                 struct hf_error *err)
{
    if (work == NULL)
        return error_set(err, HF_E_USAGE, "hf_tx_nested() needs a function to call");
    if (options == NULL)
        options = &no_options;
    struct retry_config policy = nested_policy(&options->retry);
    struct nested nested = {
        .work = work, .arg = arg, .policy = options->retry_savepoint ? &policy : NULL};
    int code = tx_enter(tx, err);
    if (code != HF_SUCCESS)
        return code;
    while (run_nested(tx, &nested, err))
        ;
    if (atomic_load(&tx->owner) == TX_INSIDE)
        tx_leave(tx);
    return nested.code;
}
