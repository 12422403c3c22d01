/*
 * Exec: one statement on one open connection, without waiting and without judging. What a call does
 * with a single statement, and a transaction with each of its own.
 *
 *     exec_begin(&exec, conn, &statement)         sends
 *     while ((step = exec_turn(&exec, &wait)) == EXEC_WAITS)
 *         poll wait.fd for wait.events
 *     EXEC_ROWS: exec.result holds the next rows (chunk_rows): take it (set it NULL), turn again
 *     EXEC_DONE: exec.result is the last result or NULL, exec.ended says how it went
 *
 * Statements with parameters are prepared by the connection once they have come for the second
 * time; see client/client_statements.h. The error "cached plan must not change result type" and a
 * statement that the server has lost come out with facts.is_stale_statement set and are forgotten
 * here, so that running it once more, outside of a transaction, cures it; who may do that is not
 * decided here.
 *
 * After EXEC_DONE nothing is outstanding on the connection, unless it is lost.
 *
 * The text and the parameters are used until exec_begin() and the turns before the statement is
 * sent are over (`is_sent`), never after.
 */
#ifndef HF_CLIENT_EXEC_H
#define HF_CLIENT_EXEC_H

#include <stdbool.h>
#include <stdint.h>

#include "client/call.h"
#include "client/client_pool.h"
#include "client/client_statements.h"
#include "core/outcome.h"
#include "holdfast.h"

struct pg_result; /* libpq's PGresult */

struct exec_statement {
    const char *sql;
    const struct hf_params *params; /* NULL: none; then `sql` may be several statements */
    int32_t format;                 /* of the results: enum hf_format */
    uint32_t chunk_rows;            /* 0: all at once */
    bool no_prepare;

    /* Made by db_judge(). */
    struct statement_key key; /* of text and types */
    bool has_key;             /* else it is made of them */
    bool may_write;
    bool commits_inside;
    bool leaves_traces; /* in the session: nobody else gets the connection uncleaned */
    uint8_t is;         /* enum verdict_class */
};

enum exec_step {
    EXEC_WAITS,
    EXEC_ROWS,
    EXEC_DONE,
};

struct exec {
    struct pconn *conn;
    struct exec_statement statement;
    struct hf_error *error;   /* borrowed: filled where the server or the connection failed */
    struct pg_result *result; /* the taker's once taken, else freed by exec_end() */
    struct pg_result *chunk;  /* rows gathered so far */
    struct call_ending ended; /* outcome and facts, from EXEC_DONE on */
    int phase;                /* of exec.c */
    uint32_t slot;            /* of the statement among the prepared */
    bool is_stopped;          /* set by its owner: the statement is not sent any more */
    bool is_sent;             /* the statement's text and parameters are not needed any more */
    bool rows_shown;          /* EXEC_ROWS has been returned */
    bool was_just_sent;       /* by begin_phase(): nothing was read since */
    char evicted[STATEMENTS_NAME_BYTES];
};

/* Sends what can be sent. `error` must live as long as `exec`. */
void exec_begin(struct exec *exec, struct pconn *conn, const struct exec_statement *statement,
                struct hf_error *error);
/* `wait` also carries in what poll() said of the descriptor (`ready`). */
enum exec_step exec_turn(struct exec *exec, struct call_wait *wait);
/* Frees what was not taken. */
void exec_end(struct exec *exec);

#endif
