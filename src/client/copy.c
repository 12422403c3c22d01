/*
 * COPY, both ways: a task of a transaction, its own one where the caller brings none.
 *
 *     FROM STDIN   STARTING --> PUTTING, parked between pieces --> ENDING --> COMMIT of its own
 *     TO STDOUT    STARTING --> GETTING, parked between pieces --> ENDING --> COMMIT of its own
 *
 * A COPY of its own is a transaction of its own for the sake of the truth: should the connection be
 * lost while it is being committed, what became of it is found out like for any other. BEGIN goes
 * ahead of it, so it costs two round trips more.
 *
 * Bounded memory, and back-pressure. Inwards, no piece is taken before the line has taken the one
 * before, but for what fits in libpq's buffer; large pieces are cut. Outwards, a row is taken out
 * of libpq's buffer before more is read from the line, so a caller who is slow stops the server. (A
 * row itself must fit in memory, as with libpq.)
 *
 * While rows go in, libpq does not say that the server has refused one: that is told by the end.
 * The server reads on and throws away until then.
 */
#include <libpq-fe.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/container_of.h"
#include "client/db.h"
#include "client/errors.h"
#include "client/options.h"
#include "client/rows.h"
#include "client/tx.h"

#define PIECE_MAX 65536

enum copy_state {
    COPY_STARTING,
    COPY_PUTTING,
    COPY_GETTING,
    COPY_ENDING,
    COPY_OVER, /* nothing can be done with it any more but hf_copy_end() */
};

struct hf_copy {
    struct tx_task task;
    struct hf_db *db;
    struct hf_tx *tx; /* NULL: it has gone */
    bool owns_tx;
    enum copy_state state;
    bool is_sent; /* the command, or the end of the data */
    const char *sql;
    const char *data; /* what is being put */
    size_t size;
    bool is_ending; /* hf_copy_end() was called */
    const char *give_up;
    char *piece; /* libpq's; what hf_copy_get() gave */
    int piece_size;
    bool is_drained; /* TO STDOUT: all of it came */
    uint64_t rows;
    int code; /* once it is OVER: what came of it, and what went wrong */
    struct hf_error error;
};

static PGconn *pg_of(const struct hf_tx *tx)
{
    return tx->call->conn->conn.pg;
}

static void free_piece(struct hf_copy *copy)
{
    if (copy->piece != NULL)
        PQfreemem(copy->piece);
    copy->piece = NULL;
}

/* ---- ends ---- */

static enum tx_task_step over(struct hf_copy *copy)
{
    copy->state = COPY_OVER;
    return TX_TASK_DONE;
}

static enum tx_task_step lost(struct hf_copy *copy, struct hf_tx *tx)
{
    error_set(&tx->error, HF_E_LOST, "%s", PQerrorMessage(pg_of(tx)));
    tx->call->conn->is_broken = true;
    tx_fail(tx, (struct outcome){.code = OUTCOME_CONN_LOST}, NULL);
    return over(copy);
}

static void refused(struct hf_tx *tx, const PGresult *result)
{
    struct outcome_facts facts = {0};
    struct outcome outcome = conn_result_outcome(result, &facts);
    error_from_result(&tx->error, result);
    if (facts.is_fatal)
        tx->call->conn->is_broken = true;
    tx_fail(tx, outcome, &facts);
}

static enum tx_task_step no_copy(struct hf_copy *copy, struct hf_tx *tx)
{
    error_set(&tx->error, HF_E_USAGE, "hf_copy_start() takes one COPY from or to the client");
    tx->call->conn->is_broken = true;
    tx_fail(tx, (struct outcome){.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate_pack("42601")},
            NULL);
    return over(copy);
}

/* ---- steps ---- */

/* Sends what libpq has, reads what has come. */
static enum conn_step pump(struct hf_tx *tx)
{
    struct call_wait *wait = &tx->call->wait;
    struct conn *conn = &tx->call->conn->conn;
    enum conn_step step = conn_pump(conn, wait->ready, NULL);
    *wait = (struct call_wait){.fd = conn_fd(conn), .events = conn->wants, .deadline_ns = HF_NEVER};
    return step;
}

static enum tx_task_step turn_starting(struct hf_copy *copy, struct hf_tx *tx)
{
    if (!copy->is_sent) {
        tx->call->wait.ready = 0;
        if (PQsendQuery(pg_of(tx), copy->sql) == 0)
            return lost(copy, tx);
        copy->is_sent = true;
    }
    if (pump(tx) == CONN_WAITS)
        return TX_TASK_WAITS;
    PGresult *result = PQgetResult(pg_of(tx));
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT) {
        PQclear(result);
        copy->state = status == PGRES_COPY_IN ? COPY_PUTTING : COPY_GETTING;
        return TX_TASK_PARKED;
    }
    if (status != PGRES_FATAL_ERROR) {
        PQclear(result);
        return no_copy(copy, tx);
    }
    if (PQstatus(pg_of(tx)) == CONNECTION_BAD && result == NULL)
        return lost(copy, tx);
    refused(tx, result);
    PQclear(result);
    copy->state = COPY_ENDING; /* the server is ready again after a word more */
    return TX_TASK_WAITS;
}

/* 1: all of the piece is with libpq or the line; 0: the line is full; -1: it is lost. */
static int push(struct hf_copy *copy, PGconn *pg)
{
    for (;;) {
        int unsent = PQflush(pg);
        if (unsent != 0)
            return unsent < 0 ? -1 : 0;
        if (copy->size == 0)
            return 1;
        size_t size = copy->size < PIECE_MAX ? copy->size : PIECE_MAX;
        int rc = PQputCopyData(pg, copy->data, (int)size);
        if (rc <= 0)
            return rc;
        copy->data += size;
        copy->size -= size;
    }
}

static enum tx_task_step turn_putting(struct hf_copy *copy, struct hf_tx *tx)
{
    PGconn *pg = pg_of(tx);
    /* Notices are read away, and the end of the connection is noticed. */
    if ((tx->call->wait.ready & ~POLLOUT) != 0 && PQconsumeInput(pg) == 0)
        return lost(copy, tx);
    int rc = push(copy, pg);
    if (rc < 0 || PQstatus(pg) == CONNECTION_BAD)
        return lost(copy, tx);
    if (rc > 0)
        return TX_TASK_PARKED;
    tx->call->wait =
        (struct call_wait){.fd = PQsocket(pg), .events = POLLIN | POLLOUT, .deadline_ns = HF_NEVER};
    return TX_TASK_WAITS;
}

/* The next row, if it is there. True: one, or the end, or a loss; false: not yet. */
static bool pull(struct hf_copy *copy, PGconn *pg)
{
    free_piece(copy);
    copy->piece_size = PQgetCopyData(pg, &copy->piece, 1);
    if (copy->piece_size < 0)
        copy->is_drained = true;
    return copy->piece_size != 0;
}

static enum tx_task_step turn_getting(struct hf_copy *copy, struct hf_tx *tx)
{
    PGconn *pg = pg_of(tx);
    if (pull(copy, pg))
        return TX_TASK_PARKED;
    if (tx->call->wait.ready != 0) {
        if (PQconsumeInput(pg) == 0)
            return lost(copy, tx);
        if (pull(copy, pg))
            return TX_TASK_PARKED;
    }
    tx->call->wait =
        (struct call_wait){.fd = PQsocket(pg), .events = POLLIN, .deadline_ns = HF_NEVER};
    return TX_TASK_WAITS;
}

/* TO STDOUT: what nobody wants is read away. False: there is more to come. */
static bool drain(struct hf_copy *copy, struct hf_tx *tx)
{
    while (!copy->is_drained) {
        if (pull(copy, pg_of(tx)))
            continue;
        if (tx->call->wait.ready == 0 || PQconsumeInput(pg_of(tx)) == 0)
            break;
        tx->call->wait.ready = 0;
    }
    free_piece(copy);
    return copy->is_drained || PQstatus(pg_of(tx)) == CONNECTION_BAD;
}

static enum tx_task_step turn_ending(struct hf_copy *copy, struct hf_tx *tx)
{
    PGconn *pg = pg_of(tx);
    while (pump(tx) != CONN_WAITS) {
        PGresult *result = PQgetResult(pg);
        if (result == NULL)
            return over(copy);
        ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_COMMAND_OK)
            copy->rows = rows_affected_of(result);
        else if (status != PGRES_FATAL_ERROR) {
            PQclear(result);
            return no_copy(copy, tx); /* a second one, in the same text */
        } else if (!tx->has_step_failed)
            refused(tx, result);
        PQclear(result);
        if (PQstatus(pg) == CONNECTION_BAD) {
            tx->call->conn->is_broken = true;
            return over(copy);
        }
        tx->call->wait.ready = 0;
    }
    return TX_TASK_WAITS;
}

/* hf_copy_end(): the last word in this direction. */
static enum tx_task_step turn_last(struct hf_copy *copy, struct hf_tx *tx)
{
    PGconn *pg = pg_of(tx);
    if (copy->state == COPY_GETTING) {
        if (!drain(copy, tx)) {
            tx->call->wait =
                (struct call_wait){.fd = PQsocket(pg), .events = POLLIN, .deadline_ns = HF_NEVER};
            return TX_TASK_WAITS;
        }
    } else {
        int rc = PQputCopyEnd(pg, copy->give_up);
        if (rc < 0)
            return lost(copy, tx);
        if (rc == 0)
            return turn_putting(copy, tx);
    }
    copy->state = COPY_ENDING;
    tx->call->wait.ready = 0;
    return turn_ending(copy, tx);
}

static enum tx_task_step turn(struct tx_task *task, struct hf_tx *tx)
{
    struct hf_copy *copy = container_of(task, struct hf_copy, task);
    switch (copy->state) {
    case COPY_STARTING: {
        enum tx_task_step step = turn_starting(copy, tx);
        return copy->state == COPY_ENDING ? turn_ending(copy, tx) : step;
    }
    case COPY_PUTTING:
        return copy->is_ending ? turn_last(copy, tx) : turn_putting(copy, tx);
    case COPY_GETTING:
        return copy->is_ending ? turn_last(copy, tx) : turn_getting(copy, tx);
    case COPY_ENDING:
        return turn_ending(copy, tx);
    case COPY_OVER:
        break;
    }
    return TX_TASK_DONE;
}

/* The transaction goes without us. */
static void cut(struct tx_task *task)
{
    struct hf_copy *copy = container_of(task, struct hf_copy, task);
    copy->state = COPY_OVER;
    if (!copy->owns_tx)
        copy->tx = NULL;
}

/* ---- starting ---- */

static int open_own(struct hf_copy *copy, const char *sql, const struct hf_call_options *options,
                    struct hf_error *err)
{
    struct hf_tx_options as_tx = {
        .is_read_only = db_intent(copy->db, sql, options) == ROUTE_READ,
        .consistency = options->consistency,
        .staleness_ms = options->staleness_ms,
        .deadline_ms = options->deadline_ms,
        .session = options->session,
        .cancel = options->cancel,
        .operation = options->operation,
    };
    int code = tx_open(copy->db, &as_tx, true, &copy->tx, err);
    if (code == HF_SUCCESS)
        copy->tx->logic_attempt = copy->tx->attempt;
    return code;
}

/* Between enter and leave. */
static int start(struct hf_copy *copy, struct hf_tx *tx, const char *sql,
                 const struct hf_call_options *options, struct hf_error *err)
{
    int code = tx_check(tx, err);
    if (code != HF_SUCCESS)
        return code;
    tx->statement = (struct exec_statement){
        .may_write = !tx->is_read_only && db_intent(tx->db, sql, options) == ROUTE_WRITE};
    tx->task = &copy->task;
    copy->sql = sql;
    code = tx_do(tx, TX_TASK, err);
    copy->sql = NULL;
    if (code != HF_SUCCESS)
        tx->task = NULL; /* the COPY is freed now, and may never have had its turn */
    return code;
}

static int begin(struct hf_copy *copy, struct hf_db *db, struct hf_tx *tx, const char *sql,
                 const struct hf_call_options *options, struct hf_error *err)
{
    copy->db = db;
    copy->tx = tx;
    copy->owns_tx = tx == NULL;
    int code = copy->owns_tx ? open_own(copy, sql, options, err) : tx_enter(tx, err);
    if (code != HF_SUCCESS)
        return code;
    code = start(copy, copy->tx, sql, options, err);
    if (code == HF_SUCCESS || !copy->owns_tx)
        tx_leave(copy->owns_tx ? copy->tx : tx);
    else
        tx_close(copy->tx);
    return code;
}

int hf_copy_start(struct hf_db *db, struct hf_tx *tx, const char *sql,
                  const struct hf_call_options *options, struct hf_copy **out, struct hf_error *err)
{
    static const struct hf_call_options none;
    struct hf_err why;
    if (out == NULL || sql == NULL)
        return error_set(err, HF_E_USAGE, "hf_copy_start() needs a statement and a place");
    *out = NULL;
    if (options == NULL)
        options = &none;
    if (options_check_call(options, &why) != HF_OK)
        return error_from_err(err, HF_E_USAGE, &why);
    int code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    /* Not from the db's allocator, as a transaction: it may be ended after hf_close(). */
    struct hf_copy *copy = calloc(1, sizeof *copy);
    if (copy == NULL) {
        code = error_set(err, HF_E_MEMORY, "out of memory for a COPY");
    } else {
        copy->task = (struct tx_task){.turn = turn, .cut = cut};
        code = begin(copy, db, tx, sql, options, err);
    }
    db_leave(db);
    if (code != HF_SUCCESS)
        free(copy);
    else
        *out = copy;
    return code;
}

/* ---- pieces ---- */

/* Turns the COPY, between enter and leave; remembers how it ended. */
static int run(struct hf_copy *copy, struct hf_error *err)
{
    struct hf_error error;
    int code = tx_do(copy->tx, TX_TASK, &error);
    if (copy->state == COPY_OVER || code != HF_SUCCESS) {
        copy->state = COPY_OVER;
        copy->code = code;
        copy->error = error;
    }
    if (code != HF_SUCCESS && err != NULL)
        *err = error;
    return code;
}

/* It has ended: how. */
static int say_over(const struct hf_copy *copy, struct hf_error *err)
{
    if (copy->code != HF_SUCCESS && err != NULL)
        *err = copy->error;
    return copy->code;
}

/* Takes the transaction, if the COPY is one of this direction, and not broken. */
static int enter(struct hf_copy *copy, enum copy_state wanted, struct hf_error *err)
{
    if (copy == NULL)
        return error_set(err, HF_E_USAGE, "there is no COPY");
    if (copy->tx == NULL)
        return error_set(err, HF_E_USAGE, "the COPY's transaction has ended");
    int code = tx_enter(copy->tx, err);
    if (code != HF_SUCCESS)
        return code;
    if (copy->state == COPY_OVER)
        code = say_over(copy, err);
    else if (copy->state != wanted)
        code = error_set(err, HF_E_USAGE, "this COPY goes in the other direction");
    if (code != HF_SUCCESS)
        tx_leave(copy->tx);
    return code;
}

int hf_copy_put(struct hf_copy *copy, const void *data, size_t size, struct hf_error *err)
{
    int code = enter(copy, COPY_PUTTING, err);
    if (code != HF_SUCCESS)
        return code;
    copy->data = data;
    copy->size = size;
    /* Mostly the line takes it at once, and the engine need not turn for that. */
    if (copy->state == COPY_OVER)
        code = error_set(err, HF_E_USAGE, "the COPY has ended");
    else if (tx_is_cancelled(copy->tx) || push(copy, pg_of(copy->tx)) != 1)
        code = run(copy, err);
    copy->size = 0;
    tx_leave(copy->tx);
    return code;
}

/* TO STDOUT: all has come; did it end well? */
static int finish(struct hf_copy *copy, struct hf_error *err)
{
    copy->is_ending = true;
    return run(copy, err);
}

int hf_copy_get(struct hf_copy *copy, const void **data, size_t *size, struct hf_error *err)
{
    if (data == NULL || size == NULL) {
        error_set(err, HF_E_USAGE, "hf_copy_get() needs places for the piece and its size");
        return -1;
    }
    *data = NULL;
    *size = 0;
    if (enter(copy, COPY_GETTING, err) != HF_SUCCESS)
        return -1;
    int code = HF_SUCCESS;
    if (copy->state != COPY_OVER && (tx_is_cancelled(copy->tx) || !pull(copy, pg_of(copy->tx))))
        code = run(copy, err);
    bool is_row = code == HF_SUCCESS && copy->state != COPY_OVER && copy->piece_size > 0;
    if (is_row) {
        *data = copy->piece;
        *size = (size_t)copy->piece_size;
    } else if (code == HF_SUCCESS && copy->state != COPY_OVER) {
        code = finish(copy, err);
    }
    tx_leave(copy->tx);
    return code != HF_SUCCESS ? -1 : is_row ? 1 : 0;
}

/* ---- the end ---- */

static int end_task(struct hf_copy *copy, const char *give_up, struct hf_error *err)
{
    if (copy->state == COPY_OVER)
        return say_over(copy, err);
    copy->give_up = give_up;
    /* Rows that nobody wants are not worth their way: the server is told to stop. */
    struct hf_tx *tx = copy->tx;
    hf_assert(tx != NULL); /* it was entered */
    if (copy->state == COPY_GETTING && give_up != NULL)
        tx->step_deadline_ns = 0;
    int code = finish(copy, err);
    tx->step_deadline_ns = HF_NEVER;
    return code;
}

/* Given up as the caller wanted: the server says so by an error. */
static bool is_given_up(const struct hf_copy *copy, const char *give_up)
{
    return give_up != NULL && strcmp(copy->error.sqlstate, "57014") == 0;
}

int hf_copy_end(struct hf_copy *copy, const char *give_up, uint64_t *rows, struct hf_error *err)
{
    if (rows != NULL)
        *rows = 0;
    if (copy == NULL)
        return error_set(err, HF_E_USAGE, "there is no COPY");
    struct hf_tx *tx = copy->tx;
    int code = tx != NULL ? tx_enter(tx, err)
                          : error_set(err, HF_E_USAGE, "the COPY's transaction has ended");
    if (code == HF_SUCCESS) {
        code = end_task(copy, give_up, err);
        bool is_good = code == HF_SUCCESS && give_up == NULL;
        if (code != HF_SUCCESS && is_given_up(copy, give_up))
            code = HF_SUCCESS;
        if (!copy->owns_tx)
            tx_leave(tx);
        else
            code = tx_end(tx, is_good, code, err);
        if (is_good && code == HF_SUCCESS && rows != NULL)
            *rows = copy->rows;
    } else if (tx != NULL && atomic_load(&tx->owner) == TX_GONE) {
        tx->task = NULL;
        if (copy->owns_tx)
            tx_free(tx);
    }
    free_piece(copy);
    free(copy);
    return code;
}
