/*
 * A libpq connection in which nothing waits for ever. The only wrapper of libpq in the product: who
 * has a loop drives it without blocking, who has not uses the functions that wait, which are thin
 * loops over the same steps.
 *
 *     waiting    rc = conn_open(&conn, params, clock_now() + HF_SEC(5), stop_fd, &err);
 *                rc = conn_query(&conn, "SELECT $1::int + 1", (const char *[]){"41", NULL},
 *                                deadline_ns, &rows, &err);
 *                ... PQgetvalue(rows, 0, 0) ...     PQclear(rows);
 *
 *     stepping   step = conn_start(&conn, params, deadline_ns, &err);
 *                while (step == CONN_WAITS) {
 *                    poll conn_fd(&conn) for conn.wants, at most until conn.deadline_ns
 *                    step = conn_connect(&conn, clock_now(), &err);
 *                }
 *                PQsendQueryParams(conn.pg, ...)
 *                ready = 0;
 *                while ((step = conn_pump(&conn, ready, &err)) == CONN_WAITS)
 *                    ready = what poll says of conn_fd(&conn), asked for conn.wants
 *                PQgetResult(conn.pg) ...
 *
 * What is in between (statements, results, pipelines, COPY) is libpq's own interface on `conn.pg`.
 *
 * The file descriptor may be another one after each step of connecting (libpq tries one address
 * after the other), so whoever uses epoll registers it anew each time.
 *
 *     closed --conn_start--> connecting --conn_connect: DONE--> open
 *       ^                        |                               |
 *       '---- FAILED ------------'      <--- conn_close, a loss -'
 *
 * Failures come in two forms at a time. `err` is for people: message and detail are the server's or
 * libpq's, the hint says what to do, and none of them can contain the password. `conn.outcome` is
 * for the guard: core/outcome.h's code, with the SQLSTATE that the server refused the session with;
 * libpq keeps that to itself, and it is found out here in a way that no language setting changes.
 * After a failed connect nothing was sent, so the facts that belong to it are all false.
 *
 * Names. libpq looks host names up itself, which no deadline reaches: conn_start() may then wait as
 * long as the resolver is set up to try. Give "hostaddr" beside "host" where that must not be; the
 * watcher publishes the addresses that it found (pg/watcher.h).
 *
 * After a timeout or an interruption of a function that waits, the connection is closed: its state
 * is unknown, and finding out would mean waiting.
 *
 * Threads: one at a time. A conn must not move in memory while it is connecting. Signals: SIGPIPE
 * is blocked by libpq while it writes.
 */
#ifndef HF_PG_CONN_H
#define HF_PG_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/outcome.h"
#include "pg/cancel_request.h"

/* libpq's PGconn and PGresult, by the names that need no header of libpq. */
struct pg_conn;
struct pg_result;

/* Private. Listens to libpq while it connects, for the key that it does not tell otherwise. */
struct conn_trace {
    void *stream;
    size_t used;
    char line[128];
};

enum conn_step {
    CONN_WAITS,  /* poll conn_fd() for conn.wants, then step again */
    CONN_DONE,   /* what was begun is there */
    CONN_FAILED, /* `err` and conn.outcome say why; while connecting: it is closed */
};

struct conn {
    struct pg_conn *pg;     /* NULL when closed; results and statements by libpq's functions */
    int interrupt_fd;       /* ends the functions that wait when it can be read; -1: none */
    short wants;            /* POLLIN, POLLOUT: what the last step waits for */
    int64_t deadline_ns;    /* of connecting: step again then, whatever the descriptor says */
    struct outcome outcome; /* how it ended, after CONN_FAILED */
    struct cancel_key key; /* names this session in a cancel request; copy it to use it elsewhere */

    /* private */
    int phase; /* of connecting: libpq's ConnStatusType before the last step */
    struct conn_trace trace;
};

/* A connection parameter as libpq names them. A list ends with a NULL key; a later one overrides an
 * earlier one, and "dbname" may be a whole connection string. NULL or "" as value: not given. */
struct conn_param {
    const char *key;
    const char *value;
};

#define CONN_PARAMS_MAX 16

/* ---- Without waiting ---- */

/* Begins to connect. Whatever conn held is overwritten: a closed or fresh one, please. */
enum conn_step HF_MUST_USE conn_start(struct conn *conn, const struct conn_param *params,
                                      int64_t deadline_ns, struct hf_err *err);

/* The next step of connecting: when the descriptor is ready, or the deadline has come. */
enum conn_step HF_MUST_USE conn_connect(struct conn *conn, int64_t now_ns, struct hf_err *err);

/* Of an open connection with something under way: sends what is queued, and reads if `ready` (what
 * poll said; 0 if it was not asked) says that there is something. DONE: PQgetResult() will not
 * wait. FAILED: the connection is lost; PQgetResult() still gives what had come before, then
 * libpq's own result that says so. Close it when done with that. */
enum conn_step HF_MUST_USE conn_pump(struct conn *conn, short ready, struct hf_err *err);

/* The same for what has been sent this moment: of its answer nothing can be there, so it is not
 * looked for: WAITS, or FAILED. */
enum conn_step HF_MUST_USE conn_sent(struct conn *conn, struct hf_err *err);

/* conn_pump() after that: what conn_sent() found to be sent is not sent again. */
enum conn_step HF_MUST_USE conn_pump_answer(struct conn *conn, short ready, struct hf_err *err);

/* What an open connection is polled by; -1 if it has none. */
int conn_fd(const struct conn *conn);

/* An open connection that nobody uses: has it ended meanwhile? Reads what has come (notices,
 * changed parameters, notifications) and never waits. False: it is lost, close it. */
bool conn_is_usable(struct conn *conn);

enum conn_role {
    CONN_ROLE_UNKNOWN, /* a server before 14 does not report it: ask pg_is_in_recovery() */
    CONN_ROLE_PRIMARY,
    CONN_ROLE_STANDBY,
};

/* What the server says of itself, without asking: it reports each change. */
enum conn_role conn_role(const struct conn *conn);

/* Somebody had libpq's own handle of an open connection: what can be set in libpq itself, which no
 * server resets (who hears notices, traces, how errors are worded), is again as conn_start() left
 * it, and notifications that came for him are dropped. False: close it. */
bool conn_take_back(struct conn *conn);

/* Harmless if it is closed already. `outcome` stays readable. */
void conn_close(struct conn *conn);

static inline bool conn_is_open(const struct conn *conn)
{
    return conn->pg != NULL;
}

/* ---- How a statement ended ---- */

/* SUCCESS for everything that is no error, SQLSTATE for what the server said, CONN_LOST for NULL
 * and for libpq's own errors. facts->is_fatal is set as the server said it; `facts` may be NULL.
 * Timeouts and cancellations of our own are the caller's to tell. */
struct outcome conn_result_outcome(const struct pg_result *result, struct outcome_facts *facts);

/* The same for people: fills err from a result that is an error, or from the connection's last
 * words if `result` has none or is NULL. Returns err's code. */
enum hf_rc conn_result_error(const struct conn *conn, const struct pg_result *result,
                             struct hf_err *err);

/* The error is about a prepared statement that must be prepared anew: it is not there (26000), or
 * its result type has changed (0A000 from RevalidateCachedQuery). See facts.is_stale_statement. */
bool conn_result_is_stale_statement(const struct pg_result *result);

/* ---- Waiting ---- */

/* Fails with HF_RC_AGAIN if the deadline came or interrupt_fd (-1: none) can be read, and with
 * HF_RC_PEER otherwise. On failure the connection is closed. */
enum hf_rc HF_MUST_USE conn_open(struct conn *conn, const struct conn_param *params,
                                 int64_t deadline_ns, int interrupt_fd, struct hf_err *err);

/* One statement, `values` for $1 ... ends with NULL (or is NULL). `*rows` is the caller's to
 * PQclear(); it is NULL after a failure. */
enum hf_rc HF_MUST_USE conn_query(struct conn *conn, const char *sql, const char *const *values,
                                  int64_t deadline_ns, struct pg_result **rows, struct hf_err *err);

/* The same for a statement whose rows do not matter. */
enum hf_rc HF_MUST_USE conn_run(struct conn *conn, const char *sql, const char *const *values,
                                int64_t deadline_ns, struct hf_err *err);

#endif
