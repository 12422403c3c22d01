#include "client/script.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/ns.h"
#include "client/arrays.h"
#include "client/client_statements.h"
#include "client/errors.h"

static PGconn *pg_of(const struct script *script)
{
    return script->conn->conn.pg;
}

void script_init(struct script *script, struct pconn *conn, struct script_item *items, size_t count,
                 struct hf_error *error)
{
    *script = (struct script){.conn = conn,
                              .items = items,
                              .count = count,
                              .failed = SCRIPT_NONE,
                              .outcome = {.code = OUTCOME_SUCCESS},
                              .error = error};
    for (size_t i = 0; i < count; i++) {
        items[i].result = NULL;
        items[i].slot = STATEMENTS_NONE;
        items[i].answers = 0;
        items[i].was_prepared = false;
    }
}

/* ---- ends ---- */

/* Those that were to be prepared and whose answer never came: the server does not have them. */
static void forget_unanswered(struct script *script)
{
    for (size_t i = script->answered; i < script->count; i++) {
        struct script_item *item = &script->items[i];
        if (item->slot != STATEMENTS_NONE && item->was_prepared && item->answers > 1)
            statements_forget(script->conn->statements, item->slot, true);
    }
}

static enum script_step over(struct script *script)
{
    script->is_over = true;
    forget_unanswered(script);
    return SCRIPT_DONE;
}

static void fail(struct script *script, struct outcome outcome)
{
    if (script->failed != SCRIPT_NONE)
        return;
    script->failed = script->answered;
    script->outcome = outcome;
}

/* What had been answered stands: a COMMIT whose word came in just before the end is committed. */
static enum script_step lost(struct script *script)
{
    script->conn->is_broken = true;
    if (script->failed == SCRIPT_NONE && script->is_closed && script->answered == script->count)
        return over(script);
    if (script->failed == SCRIPT_NONE)
        error_set(script->error, HF_E_LOST, "%s", PQerrorMessage(pg_of(script)));
    fail(script, (struct outcome){.code = OUTCOME_CONN_LOST});
    return over(script);
}

/* libpq would not take it: too many parameters, no memory. Half of the script is out, so the
 * connection goes. */
static enum script_step refused(struct script *script)
{
    PGconn *pg = pg_of(script);
    if (PQstatus(pg) == CONNECTION_BAD)
        return lost(script);
    error_set(script->error, HF_E_USAGE, "%s", PQerrorMessage(pg));
    fail(script, (struct outcome){.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate_pack("42000")});
    script->conn->is_broken = true;
    return over(script);
}

/* ---- sending ---- */

static size_t weight(const struct script_item *item)
{
    size_t bytes = strlen(item->sql) + 64;
    for (size_t i = 0; item->params != NULL && i < item->params->count; i++) {
        const struct hf_param *p = &item->params->list[i];
        if (p->length >= 0 && p->value != NULL)
            bytes += p->format == HF_BINARY ? (size_t)p->length : strlen(p->value);
        bytes += 8;
    }
    return bytes;
}

static bool send_command(PGconn *pg, const char *sql)
{
    return PQsendQueryParams(pg, sql, 0, NULL, NULL, NULL, NULL, 0) == 1;
}

/* Finds its place among the prepared statements and sends what has to come before it. */
static bool send_preparation(struct script *script, struct script_item *item,
                             const struct arrays *a)
{
    struct pconn *conn = script->conn;
    if (conn->statements == NULL)
        conn->statements = statements_new(conn->pool->mem);
    if (conn->statements == NULL)
        return true;
    enum statements_verdict verdict;
    char evicted[STATEMENTS_NAME_BYTES];
    struct statement_key key = statement_key_of(conn->pool->seed, item->sql, item->params);
    uint32_t slot = statements_use(conn->statements, key, &verdict, evicted);
    if (verdict == STATEMENTS_PLAIN)
        return true;
    item->slot = slot;
    if (verdict == STATEMENTS_READY)
        return true;
    if (evicted[0] != '\0') {
        char text[STATEMENTS_NAME_BYTES + 16];
        snprintf(text, sizeof text, "DEALLOCATE %s", evicted);
        ++item->answers;
        if (!send_command(pg_of(script), text))
            return false;
    }
    ++item->answers;
    item->was_prepared = true;
    return PQsendPrepare(pg_of(script), statements_name(conn->statements, slot), item->sql,
                         a->count, a->types) == 1;
}

static bool send_itself(struct script *script, struct script_item *item, const struct arrays *a)
{
    PGconn *pg = pg_of(script);
    if (item->is_kept && !send_preparation(script, item, a))
        return false;
    ++item->answers;
    if (item->slot != STATEMENTS_NONE)
        return PQsendQueryPrepared(pg, statements_name(script->conn->statements, item->slot),
                                   a->count, a->values, a->lengths, a->formats, item->format) == 1;
    return PQsendQueryParams(pg, item->sql, a->count, a->types, a->values, a->lengths, a->formats,
                             item->format) == 1;
}

static bool send_item(struct script *script, struct script_item *item)
{
    struct arrays arrays;
    if (!arrays_make(&arrays, item->params, script->conn->pool->mem))
        return false;
    bool is_sent = send_itself(script, item, &arrays);
    arrays_free(&arrays);
    script->queued += weight(item);
    return is_sent && (!item->is_flushed || PQsendFlushRequest(pg_of(script)) == 1);
}

/* Gives libpq as much as may wait there. */
static bool send_some(struct script *script)
{
    while (script->sent < script->count && script->queued < SCRIPT_QUEUED_MAX) {
        if (!send_item(script, &script->items[script->sent]))
            return false;
        ++script->sent;
    }
    if (script->sent < script->count || script->is_closed)
        return true;
    script->is_closed = true;
    return PQpipelineSync(pg_of(script)) == 1;
}

/* ---- receiving ---- */

/* COPY cannot run in a script: its connection cannot be talked out of it. */
static void take_copy(struct script *script)
{
    error_set(script->error, HF_E_USAGE, "COPY from or to the client needs hf_copy_start()");
    fail(script, (struct outcome){.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate_pack("0A000")});
    script->conn->is_broken = true;
}

static void take_error(struct script *script, struct script_item *item, const PGresult *result)
{
    struct pconn *conn = script->conn;
    if (script->failed != SCRIPT_NONE)
        return;
    fail(script, conn_result_outcome(result, &script->facts));
    error_from_result(script->error, result);
    if (script->facts.is_fatal)
        conn->is_broken = true;
    if (item->slot == STATEMENTS_NONE || item->answers != 1)
        return;
    if (conn_result_is_stale_statement(result)) {
        script->facts.is_stale_statement = true;
        statements_forget(conn->statements, item->slot,
                          script->outcome.sqlstate == sqlstate_pack("26000"));
    }
}

static void take(struct script *script, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    if (script->answered == script->count) { /* last words, after all that was asked */
        script->conn->is_broken = true;
        PQclear(result);
        return;
    }
    struct script_item *item = &script->items[script->answered];
    if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE) {
        take_error(script, item, result);
    } else if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
        take_copy(script);
    } else if (item->answers == 1 && status != PGRES_PIPELINE_ABORTED) {
        PQclear(item->result);
        item->result = result;
        return;
    } else if (item->was_prepared && item->answers == 2 && status == PGRES_COMMAND_OK) {
        statements_prepared(script->conn->statements, item->slot);
    }
    PQclear(result);
}

/* libpq says NULL after each answer: those of the preparation come first. */
static void answer_ended(struct script *script)
{
    struct script_item *item = &script->items[script->answered];
    bool is_skipped = script->failed != SCRIPT_NONE && item->result == NULL;
    if (is_skipped && item->was_prepared && item->answers == 2 &&
        script->failed <= script->answered)
        statements_forget(script->conn->statements, item->slot, true);
    if (--item->answers == 0)
        ++script->answered;
}

/* Takes what has come. False: nothing more will come. */
static bool gather(struct script *script)
{
    PGconn *pg = pg_of(script);
    while (!script->conn->is_broken && PQisBusy(pg) == 0) {
        if (script->answered == script->sent && !script->is_closed)
            return true; /* nothing is owed */
        PGresult *result = PQgetResult(pg);
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
            PQclear(result);
            return false;
        }
        if (result != NULL)
            take(script, result);
        else if (PQstatus(pg) == CONNECTION_BAD || script->answered == script->sent)
            return false;
        else
            answer_ended(script);
    }
    return !script->conn->is_broken;
}

enum script_step script_turn(struct script *script, struct call_wait *wait)
{
    PGconn *pg = pg_of(script);
    bool is_first = !script->is_begun;
    if (script->is_over)
        return SCRIPT_DONE;
    if (is_first && PQenterPipelineMode(pg) == 0)
        return refused(script);
    script->is_begun = true;
    int unsent;
    do {
        if (!send_some(script))
            return refused(script);
        unsent = PQflush(pg);
        if (unsent == 0)
            script->queued = 0;
    } while (unsent == 0 && !script->is_closed);
    bool is_lost = unsent < 0;
    if (!is_first && PQconsumeInput(pg) == 0)
        is_lost = true;
    if (!is_first && !gather(script)) {
        if (PQstatus(pg) == CONNECTION_BAD || script->conn->is_broken)
            return lost(script);
        if (PQexitPipelineMode(pg) == 0)
            return refused(script);
        return over(script);
    }
    if (is_lost || PQstatus(pg) == CONNECTION_BAD)
        return lost(script);
    *wait = (struct call_wait){.fd = PQsocket(pg),
                               .events = unsent > 0 ? POLLIN | POLLOUT : POLLIN,
                               .deadline_ns = HF_NEVER};
    return SCRIPT_WAITS;
}

void script_end(struct script *script)
{
    for (size_t i = 0; i < script->count; i++) {
        PQclear(script->items[i].result);
        script->items[i].result = NULL;
    }
}
