#include "client/exec.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/ns.h"
#include "client/arrays.h"
#include "client/errors.h"
#include "os/mem.h"

enum phase {
    PHASE_DEALLOCATE, /* one that was prepared makes room */
    PHASE_PREPARE,
    PHASE_STATEMENT,
    PHASE_OVER,
};

/* ---- ends ---- */

static struct exec_statement *statement_of(struct exec *exec)
{
    return &exec->statement;
}

static enum exec_step over(struct exec *exec, struct outcome outcome)
{
    const struct exec_statement *statement = statement_of(exec);
    exec->phase = PHASE_OVER;
    exec->ended.outcome = outcome;
    exec->ended.facts.sent = true;
    exec->ended.facts.may_write = statement->may_write;
    exec->ended.facts.commits_inside = statement->commits_inside;
    exec->ended.facts.rows_shown = exec->rows_shown;
    if (exec->chunk != NULL)
        PQclear(exec->chunk);
    exec->chunk = NULL;
    return EXEC_DONE;
}

/* What stands before the statement is done, and the statement is not wanted any more. */
HF_COLD static enum exec_step never_sent(struct exec *exec)
{
    over(exec, (struct outcome){.code = OUTCOME_CANCELLED});
    exec->ended.facts = (struct outcome_facts){0};
    return EXEC_DONE;
}

HF_COLD static enum exec_step lost(struct exec *exec)
{
    exec->conn->is_broken = true;
    return over(exec, (struct outcome){.code = OUTCOME_CONN_LOST});
}

/* Nothing went out: libpq refused it, or there is no memory. */
HF_COLD static enum exec_step not_sent(struct exec *exec)
{
    PGconn *pg = exec->conn->conn.pg;
    if (PQstatus(pg) == CONNECTION_BAD) {
        error_set(exec->error, HF_E_LOST, "%s", PQerrorMessage(pg));
        over(exec, (struct outcome){.code = OUTCOME_SEND_FAILED});
    } else {
        error_set(exec->error, HF_E_USAGE, "%s", PQerrorMessage(pg));
        over(exec, (struct outcome){.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate_pack("42000")});
    }
    exec->ended.facts = (struct outcome_facts){0};
    exec->conn->is_broken = true;
    return EXEC_DONE;
}

/* ---- sending ---- */

static int send_with(struct exec *exec, const struct arrays *a)
{
    const struct exec_statement *statement = statement_of(exec);
    PGconn *pg = exec->conn->conn.pg;
    const char *name =
        exec->slot == STATEMENTS_NONE ? "" : statements_name(exec->conn->statements, exec->slot);
    if (exec->phase == PHASE_PREPARE)
        return PQsendPrepare(pg, name, statement->sql, a->count, a->types);
    if (exec->slot != STATEMENTS_NONE)
        return PQsendQueryPrepared(pg, name, a->count, a->values, a->lengths, a->formats,
                                   statement->format);
    return PQsendQueryParams(pg, statement->sql, a->count, a->types, a->values, a->lengths,
                             a->formats, statement->format);
}

static int send_with_params(struct exec *exec)
{
    struct arrays arrays;
    if (!arrays_make(&arrays, exec->statement.params, exec->conn->pool->mem))
        return 0;
    int is_sent = send_with(exec, &arrays);
    arrays_free(&arrays);
    return is_sent;
}

static int send_phase(struct exec *exec)
{
    const struct exec_statement *statement = statement_of(exec);
    PGconn *pg = exec->conn->conn.pg;
    if (exec->phase == PHASE_DEALLOCATE) {
        char text[STATEMENTS_NAME_BYTES + 16];
        snprintf(text, sizeof text, "DEALLOCATE %s", exec->evicted);
        return PQsendQuery(pg, text);
    }
    /* Without parameters several statements may stand in the text, and only the simple protocol
     * takes them. */
    if (statement->params == NULL && statement->format == HF_TEXT)
        return PQsendQuery(pg, statement->sql);
    return send_with_params(exec);
}

static enum exec_step begin_phase(struct exec *exec, int phase)
{
    exec->phase = phase;
    if (send_phase(exec) == 0)
        return not_sent(exec);
    exec->was_just_sent = true;
    if (phase == PHASE_STATEMENT) {
        exec->is_sent = true;
        if (exec->statement.chunk_rows > 0)
            PQsetSingleRowMode(exec->conn->conn.pg);
    }
    return EXEC_WAITS;
}

/* Where the statement stands among the prepared ones of this connection. */
static int first_phase(struct exec *exec)
{
    const struct exec_statement *statement = statement_of(exec);
    struct pconn *conn = exec->conn;
    exec->slot = STATEMENTS_NONE;
    if (statement->no_prepare || statement->params == NULL)
        return PHASE_STATEMENT;
    if (conn->statements == NULL)
        conn->statements = statements_new(conn->pool->mem);
    if (conn->statements == NULL)
        return PHASE_STATEMENT;
    enum statements_verdict verdict;
    struct statement_key key = statement->key;
    if (!statement->has_key)
        key = statement_key_of(conn->pool->seed, statement->sql, statement->params);
    uint32_t slot = statements_use(conn->statements, key, &verdict, exec->evicted);
    if (verdict == STATEMENTS_PLAIN)
        return PHASE_STATEMENT;
    exec->slot = slot;
    if (verdict == STATEMENTS_READY)
        return PHASE_STATEMENT;
    return exec->evicted[0] != '\0' ? PHASE_DEALLOCATE : PHASE_PREPARE;
}

void exec_begin(struct exec *exec, struct pconn *conn, const struct exec_statement *statement,
                struct hf_error *error)
{
    *exec = (struct exec){.conn = conn, .statement = *statement, .error = error};
    if (statement->leaves_traces)
        conn->is_dirty = true;
    begin_phase(exec, first_phase(exec));
}

/* ---- receiving ---- */

static bool is_error(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE;
}

static bool is_copy(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

/* One row more in the chunk. A row comes as a result of its own: gathering copies it once. */
static bool gather(struct exec *exec, const PGresult *row)
{
    if (exec->chunk == NULL)
        exec->chunk = PQcopyResult(row, PG_COPYRES_ATTRS);
    if (exec->chunk == NULL)
        return false;
    int at = PQntuples(exec->chunk);
    int columns = PQnfields(row);
    if (columns == 0)
        return true;
    for (int i = 0; i < columns; i++) {
        bool is_null = PQgetisnull(row, 0, i) != 0;
        /* libpq copies the bytes and leaves the value as it is. */
        if (PQsetvalue(exec->chunk, at, i, is_null ? NULL : PQgetvalue(row, 0, i),
                       is_null ? -1 : PQgetlength(row, 0, i)) == 0)
            return false;
    }
    return true;
}

static void keep_last(struct exec *exec, PGresult *result)
{
    if (exec->result != NULL)
        PQclear(exec->result);
    exec->result = result;
}

/* The statement's own answer, or a step's before it, has come to its end. */
static enum exec_step phase_ended(struct exec *exec)
{
    struct pconn *conn = exec->conn;
    PGresult *result = exec->result;
    if (!is_error(result)) {
        if (exec->phase == PHASE_STATEMENT) {
            if (exec->chunk != NULL)
                keep_last(exec, exec->chunk); /* the rest of the rows; the end itself has none */
            exec->chunk = NULL;
            return over(exec, (struct outcome){.code = OUTCOME_SUCCESS});
        }
        if (exec->phase == PHASE_PREPARE)
            statements_prepared(conn->statements, exec->slot);
        keep_last(exec, NULL);
        if (exec->is_stopped)
            return never_sent(exec);
        return begin_phase(exec, exec->phase == PHASE_DEALLOCATE ? PHASE_PREPARE : PHASE_STATEMENT);
    }
    struct outcome_facts facts = {0};
    struct outcome outcome = conn_result_outcome(result, &facts);
    error_from_result(exec->error, result);
    if (exec->slot != STATEMENTS_NONE) {
        bool is_stale = exec->phase == PHASE_STATEMENT && conn_result_is_stale_statement(result);
        bool is_gone = outcome.sqlstate == sqlstate_pack("26000");
        facts.is_stale_statement = is_stale;
        if (is_stale || exec->phase == PHASE_PREPARE)
            statements_forget(conn->statements, exec->slot, is_gone);
    }
    if (PQstatus(conn->conn.pg) == CONNECTION_BAD || facts.is_fatal)
        conn->is_broken = true;
    keep_last(exec, NULL);
    bool was_statement = exec->phase == PHASE_STATEMENT;
    over(exec, outcome);
    exec->ended.facts.is_fatal = facts.is_fatal;
    exec->ended.facts.is_stale_statement = facts.is_stale_statement;
    if (!was_statement)
        exec->ended.facts.may_write = false; /* preparing changes nothing */
    return EXEC_DONE;
}

/* COPY needs other functions than these. The connection is closed rather than talked out of it. */
HF_COLD static enum exec_step refuse_copy(struct exec *exec)
{
    error_set(exec->error, HF_E_USAGE, "COPY from or to the client needs hf_copy_start()");
    exec->conn->is_broken = true;
    return over(exec,
                (struct outcome){.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate_pack("0A000")});
}

HF_COLD static enum exec_step out_of_memory(struct exec *exec)
{
    error_set(exec->error, HF_E_MEMORY, "out of memory for the rows of the result");
    exec->conn->is_broken = true;
    return over(exec,
                (struct outcome){.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate_pack("53200")});
}

static enum exec_step show_chunk(struct exec *exec)
{
    keep_last(exec, exec->chunk);
    exec->chunk = NULL;
    exec->rows_shown = true;
    return EXEC_ROWS;
}

/* Takes one result that is there. EXEC_WAITS: go on. */
static enum exec_step take_result(struct exec *exec, PGresult *result)
{
    if (is_copy(result)) {
        PQclear(result);
        return refuse_copy(exec);
    }
    if (PQresultStatus(result) == PGRES_SINGLE_TUPLE) {
        bool is_kept = gather(exec, result);
        PQclear(result);
        if (!is_kept)
            return out_of_memory(exec);
        bool is_full = (uint32_t)PQntuples(exec->chunk) >= exec->statement.chunk_rows;
        return is_full ? show_chunk(exec) : EXEC_WAITS;
    }
    /* The first error is the answer; libpq adds one of its own when the connection ends too. */
    if (exec->result != NULL && is_error(exec->result))
        PQclear(result);
    else
        keep_last(exec, result);
    return EXEC_WAITS;
}

static enum exec_step drained(struct exec *exec)
{
    PGconn *pg = exec->conn->conn.pg;
    if (exec->result == NULL) {
        error_set(exec->error, HF_E_LOST, "%s", PQerrorMessage(pg));
        return lost(exec);
    }
    if (PQstatus(pg) == CONNECTION_BAD && !is_error(exec->result)) {
        /* All of the answer came, but not the word that the server is ready again. */
        exec->conn->is_broken = true;
    }
    return phase_ended(exec);
}

static enum conn_step pump(struct exec *exec, short ready)
{
    struct conn *conn = &exec->conn->conn;
    const bool was_just_sent = exec->was_just_sent;
    exec->was_just_sent = false;
    return was_just_sent ? conn_sent(conn, NULL) : conn_pump_answer(conn, ready, NULL);
}

enum exec_step exec_turn(struct exec *exec, struct call_wait *wait)
{
    struct conn *conn = &exec->conn->conn;
    short ready = wait->ready;
    bool is_lost = false;
    while (exec->phase != PHASE_OVER) {
        /* Of a lost connection only what had come before is taken. */
        enum conn_step pumped = is_lost ? CONN_FAILED : pump(exec, ready);
        is_lost = pumped == CONN_FAILED;
        if (pumped == CONN_WAITS) {
            *wait = (struct call_wait){
                .fd = conn_fd(conn), .events = conn->wants, .deadline_ns = HF_NEVER};
            return EXEC_WAITS;
        }
        ready = 0;
        PGresult *result = PQgetResult(conn->pg);
        enum exec_step step = result != NULL ? take_result(exec, result) : drained(exec);
        if (step != EXEC_WAITS)
            return step;
    }
    return EXEC_DONE;
}

void exec_end(struct exec *exec)
{
    /* Mostly there is nothing: a test is cheaper than a call into a shared library. */
    if (exec->result != NULL)
        PQclear(exec->result);
    if (exec->chunk != NULL)
        PQclear(exec->chunk);
    exec->result = NULL;
    exec->chunk = NULL;
}
