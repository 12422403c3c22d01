/*
 * Pipelines: many statements in one round trip, as a task of a transaction.
 *
 * Without a transaction of the caller's it has one of its own, all in the same packet: BEGIN, the
 * statements, the probe, COMMIT. So it is as atomic as an implicit transaction would be, costs the
 * same round trip, and what became of it is found out should the answer be lost. And since it holds
 * its own logic, it is run again whenever it is proved that nothing of it took effect, by the same
 * rules as hf_tx().
 *
 * Results are kept until they are asked for: all of them, so memory is that of the answers.
 */
#include "client/pipeline.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "base/container_of.h"
#include "client/db.h"
#include "client/errors.h"
#include "client/operations.h"
#include "client/options.h"
#include "client/rows.h"
#include "client/statement_copy.h"
#include "client/tx.h"

#define ROOM_FIRST 16
#define ROOM_OWN   (TX_PENDING_MAX + 3) /* words, the question whether to probe, probe, COMMIT */
#define ADDED_MAX  1000000

struct hf_pipeline {
    struct tx_task task;
    struct hf_db *db;
    struct hf_tx *tx; /* the caller's; NULL: one of its own */
    struct hf_call_options options;
    char operation[OPERATIONS_NAME_BYTES]; /* that of the options: a copy */
    bool may_write, was_run;
    size_t count, room;
    struct statement_copy **statements;
    struct script_item *items; /* of the run: words, the statements, more words */
    size_t item_count, first;  /* where the statements begin among them */
    size_t probe;
    struct script script;
    bool is_begun; /* the script */
    size_t failed; /* index of the statement that failed; SCRIPT_NONE: none of them */
    size_t next;   /* to be given by hf_pipeline_next() */
    int code;      /* of the run */
    struct hf_error error;
    char endpoint[SNAPSHOT_NAME_BYTES];
};

/* ---- the task ---- */

static void take_words(struct hf_pipeline *pipeline, struct hf_tx *tx)
{
    struct script_item *items = pipeline->items;
    size_t count = tx_take_pending(tx, items);
    pipeline->first = count;
    for (size_t i = 0; i < pipeline->count; i++) {
        const struct statement_copy *copy = pipeline->statements[i];
        items[count++] = (struct script_item){
            .sql = copy->sql,
            .params = &copy->params,
            .format = pipeline->options.format,
            .is_kept = copy->params.count > 0 && !pipeline->options.no_prepare,
        };
    }
    pipeline->probe = SCRIPT_NONE;
    if (pipeline->tx == NULL) {
        size_t probe;
        size_t more = tx_take_commit(tx, items + count, &probe);
        pipeline->probe = probe != SCRIPT_NONE ? count + probe : SCRIPT_NONE;
        count += more;
    }
    pipeline->item_count = count;
}

static void begin_script(struct hf_pipeline *pipeline, struct hf_tx *tx)
{
    take_words(pipeline, tx);
    tx->call->wait.ready = 0;
    script_init(&pipeline->script, tx->call->conn, pipeline->items, pipeline->item_count,
                &tx->error);
    pipeline->is_begun = true;
    pipeline->failed = SCRIPT_NONE;
    memcpy(pipeline->endpoint, call_endpoint_name(tx->call), sizeof pipeline->endpoint);
}

static enum tx_task_step turn(struct tx_task *task, struct hf_tx *tx)
{
    struct hf_pipeline *pipeline = container_of(task, struct hf_pipeline, task);
    struct script *script = &pipeline->script;
    if (!pipeline->is_begun)
        begin_script(pipeline, tx);
    if (script_turn(script, &tx->call->wait) == SCRIPT_WAITS)
        return TX_TASK_WAITS;
    pipeline->is_begun = false;
    if (pipeline->probe != SCRIPT_NONE && pipeline->items[pipeline->probe].result != NULL)
        tx_take_probe(tx, pipeline->items[pipeline->probe].result);
    if (script->failed == SCRIPT_NONE)
        return TX_TASK_DONE;
    size_t end = pipeline->first + pipeline->count;
    if (script->failed >= pipeline->first && script->failed < end)
        pipeline->failed = script->failed - pipeline->first;
    /* COMMIT is the last word: where the server stopped before it, it was never begun. */
    bool was_refused = script->outcome.code == OUTCOME_SQLSTATE;
    bool is_begun = script->sent == pipeline->item_count &&
                    !(was_refused && script->failed + 1 < pipeline->item_count);
    if (!is_begun)
        tx->call->facts.commit_sent = false;
    tx_fail(tx, script->outcome, &script->facts);
    return TX_TASK_DONE;
}

static void free_results(struct hf_pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->item_count; i++) {
        PQclear(pipeline->items[i].result);
        pipeline->items[i].result = NULL;
    }
}

static void cut(struct tx_task *task)
{
    struct hf_pipeline *pipeline = container_of(task, struct hf_pipeline, task);
    pipeline->is_begun = false;
    free_results(pipeline);
}

/* ---- making it ---- */

int hf_pipeline_new(struct hf_db *db, struct hf_tx *tx, const struct hf_call_options *options,
                    struct hf_pipeline **out, struct hf_error *err)
{
    struct hf_err why;
    if (out == NULL)
        return error_set(err, HF_E_USAGE, "hf_pipeline_new() needs a place for the pipeline");
    *out = NULL;
    if (options_check_call(options, &why) != HF_OK)
        return error_from_err(err, HF_E_USAGE, &why);
    int code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    struct hf_pipeline *pipeline = mem_alloc(&db->mem, sizeof *pipeline);
    if (pipeline == NULL) {
        code = error_set(err, HF_E_MEMORY, "out of memory for a pipeline");
    } else {
        pipeline->task =
            (struct tx_task){.turn = turn, .cut = cut, .is_script = true, .ends_tx = tx == NULL};
        pipeline->db = db;
        pipeline->tx = tx;
        if (options != NULL)
            pipeline->options = *options;
        sv_copy(sv_take(sv_from_cstr(pipeline->options.operation), sizeof pipeline->operation - 1),
                pipeline->operation, sizeof pipeline->operation);
        pipeline->options.operation = pipeline->operation;
        *out = pipeline;
    }
    db_leave(db);
    return code;
}

/* Room for one more; twice as much each time. */
static bool grow(struct hf_pipeline *pipeline)
{
    struct mem *mem = &pipeline->db->mem;
    if (pipeline->count < pipeline->room)
        return true;
    size_t room = pipeline->room == 0 ? ROOM_FIRST : pipeline->room * 2;
    struct statement_copy **list = mem_alloc_array(mem, room, sizeof(void *));
    if (list == NULL)
        return false;
    for (size_t i = 0; i < pipeline->count; i++)
        list[i] = pipeline->statements[i];
    mem_free(mem, (void *)pipeline->statements);
    pipeline->statements = list;
    pipeline->room = room;
    return true;
}

int hf_pipeline_add(struct hf_pipeline *pipeline, const char *sql, const struct hf_params *params,
                    struct hf_error *err)
{
    if (pipeline == NULL || sql == NULL)
        return error_set(err, HF_E_USAGE, "hf_pipeline_add() needs a pipeline and a statement");
    if (pipeline->was_run || pipeline->count == ADDED_MAX)
        return error_set(err, HF_E_USAGE, "a pipeline takes up to %d statements, before it is run",
                         ADDED_MAX);
    if (params != NULL && params->count > UINT16_MAX)
        return error_set(err, HF_E_USAGE, "a statement takes at most 65535 parameters");
    int code = db_enter(pipeline->db, err);
    if (code != HF_SUCCESS)
        return code;
    struct statement_copy *copy = statement_copy_new(&pipeline->db->mem, sql, params);
    if (copy == NULL || !grow(pipeline)) {
        mem_free(&pipeline->db->mem, copy);
        code = error_set(err, HF_E_MEMORY, "out of memory for another statement");
    } else {
        pipeline->statements[pipeline->count++] = copy;
        pipeline->may_write =
            pipeline->may_write || db_intent(pipeline->db, sql, &pipeline->options) == ROUTE_WRITE;
    }
    db_leave(pipeline->db);
    return code;
}

/* ---- running it ---- */

static int run_in(struct hf_pipeline *pipeline, struct hf_tx *tx, struct hf_error *err)
{
    bool may_write = pipeline->may_write && !tx->is_read_only;
    /* Once for each database it is not known yet whether there may be a probe. */
    if (may_write && atomic_load(&tx->db->txs.may_probe) == TXS_UNKNOWN) {
        tx->statement = (struct exec_statement){0};
        int code = tx_do(tx, TX_STATEMENT, err);
        if (code != HF_SUCCESS)
            return code;
    }
    tx->task = &pipeline->task;
    tx->may_write = tx->may_write || may_write;
    return tx_do(tx, TX_TASK, err);
}

static int run_in_callers(struct hf_pipeline *pipeline, struct hf_error *err)
{
    struct hf_tx *tx = pipeline->tx;
    int code = tx_enter(tx, err);
    if (code != HF_SUCCESS)
        return code;
    code = tx_check(tx, err);
    if (code == HF_SUCCESS)
        code = run_in(pipeline, tx, err);
    tx_leave(tx);
    return code;
}

static int run_in_own(struct hf_pipeline *pipeline, struct hf_error *err)
{
    struct hf_tx *tx;
    const struct hf_call_options *options = &pipeline->options;
    struct hf_tx_options as_tx = {
        .is_read_only = !pipeline->may_write,
        .consistency = options->consistency,
        .staleness_ms = options->staleness_ms,
        .deadline_ms = options->deadline_ms,
        .session = options->session,
        .cancel = options->cancel,
        .operation = options->operation,
    };
    int code = tx_open(pipeline->db, &as_tx, false, &tx, err);
    if (code != HF_SUCCESS)
        return code;
    do {
        /* What an attempt before this one brought is of a transaction that never was. */
        free_results(pipeline);
        tx->logic_attempt = tx->attempt;
        ++tx->runs;
        code = run_in(pipeline, tx, err);
        code = tx_conclude(tx, code == HF_SUCCESS, err);
    } while (tx->call->state == CALL_IS_PARKED && tx->attempt != tx->logic_attempt);
    if (options->decision != NULL)
        db_decision(tx->call, options->decision);
    tx_close(tx);
    return code;
}

int hf_pipeline_run(struct hf_pipeline *pipeline, struct hf_error *err)
{
    struct hf_error error;
    if (pipeline == NULL)
        return error_set(err, HF_E_USAGE, "there is no pipeline");
    if (pipeline->was_run || pipeline->count == 0)
        return error_set(err, HF_E_USAGE, "a pipeline is run once, with a statement at least");
    int code = db_enter(pipeline->db, err);
    if (code != HF_SUCCESS)
        return code;
    pipeline->was_run = true;
    pipeline->failed = SCRIPT_NONE;
    pipeline->items =
        mem_alloc_array(&pipeline->db->mem, pipeline->count + ROOM_OWN, sizeof *pipeline->items);
    if (pipeline->items == NULL)
        code = error_set(&error, HF_E_MEMORY, "out of memory for a pipeline");
    else if (pipeline->tx != NULL)
        code = run_in_callers(pipeline, &error);
    else
        code = run_in_own(pipeline, &error);
    pipeline->code = code;
    if (code != HF_SUCCESS) {
        pipeline->error = error;
        if (err != NULL)
            *err = error;
    }
    db_leave(pipeline->db);
    return code;
}

/* ---- one statement ---- */

int pipeline_one(struct hf_db *db, const char *sql, const struct hf_params *params,
                 const struct hf_call_options *options, struct pipeline_answer *answer,
                 struct hf_error *err)
{
    struct script_item items[1 + ROOM_OWN] = {{0}};
    struct statement_copy statement = {.sql = sql};
    struct statement_copy *list[] = {&statement};
    if (params != NULL)
        statement.params = *params;
    struct hf_pipeline pipeline = {
        .task = {.turn = turn, .cut = cut, .is_script = true, .ends_tx = true},
        .db = db,
        .options = *options,
        .may_write = true,
        .count = 1,
        .statements = list,
        .items = items,
    };
    int code = run_in_own(&pipeline, err);
    if (code == HF_SUCCESS) {
        answer->result = items[pipeline.first].result;
        memcpy(answer->endpoint, pipeline.endpoint, sizeof answer->endpoint);
        items[pipeline.first].result = NULL;
    }
    free_results(&pipeline);
    return code;
}

/* ---- results ---- */

static int say_failed(const struct hf_pipeline *pipeline, size_t index, struct hf_error *err)
{
    if (pipeline->failed == index || pipeline->failed == SCRIPT_NONE) {
        if (err != NULL)
            *err = pipeline->error;
        return -1;
    }
    error_set(err, HF_E_SERVER, "skipped, since statement %zu of the pipeline had failed",
              pipeline->failed + 1);
    error_detail(err, "What failed: %s", pipeline->error.message);
    return -1;
}

int hf_pipeline_next(struct hf_pipeline *pipeline, struct hf_rows **rows, struct hf_error *err)
{
    if (rows != NULL)
        *rows = NULL;
    if (pipeline == NULL || rows == NULL || !pipeline->was_run) {
        error_set(err, HF_E_USAGE, "hf_pipeline_next() needs a pipeline that was run, and a place");
        return -1;
    }
    if (pipeline->next == pipeline->count)
        return 0;
    size_t index = pipeline->next++;
    if (pipeline->code != HF_SUCCESS && index >= pipeline->failed)
        return say_failed(pipeline, index, err);
    struct pg_result *result =
        pipeline->items != NULL ? pipeline->items[pipeline->first + index].result : NULL;
    if (result == NULL)
        return say_failed(pipeline, index, err);
    pipeline->items[pipeline->first + index].result = NULL;
    *rows = rows_take(result, pipeline->endpoint);
    if (*rows != NULL)
        return 1;
    error_set(err, HF_E_MEMORY, "out of memory for the rows of the result");
    return -1;
}

void hf_pipeline_free(struct hf_pipeline *pipeline)
{
    if (pipeline == NULL)
        return;
    struct mem *mem = &pipeline->db->mem;
    if (pipeline->items != NULL)
        free_results(pipeline);
    for (size_t i = 0; i < pipeline->count; i++)
        mem_free(mem, pipeline->statements[i]);
    mem_free(mem, (void *)pipeline->statements);
    mem_free(mem, pipeline->items);
    mem_free(mem, pipeline);
}
