/*
 * A libpq connection in which nothing waits for ever: every call has a deadline and can be
 * interrupted, connecting included.
 *
 *     if (conn_open(&conn, params, clock_now() + HF_SEC(5), stop_fd, err) != HF_OK) ...
 *     rc = conn_query(&conn, "SELECT $1::int + 1", (const char *[]){"41", NULL}, deadline,
 *                     &rows, err);
 *     ... PQgetvalue(rows, 0, 0) ...
 *     PQclear(rows);
 *
 * Errors come as hf_err: message and detail are the server's or libpq's, the hint says what to do,
 * and none of them can contain the password. After a timeout or an interruption the connection is
 * closed: its state is unknown, and finding out would mean waiting.
 *
 * The name of the host is looked up by libpq itself, which no deadline reaches: that takes as long
 * as the resolver is set up to try.
 */
#ifndef HF_CLI_CONN_H
#define HF_CLI_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* libpq's PGconn and PGresult, by the names that need no header of libpq. */
struct pg_conn;
struct pg_result;

struct conn {
    struct pg_conn *pg; /* NULL when closed */
    int interrupt_fd;
};

/* A connection parameter as libpq names them. A list ends with a NULL key; a later one overrides an
 * earlier one, and "dbname" may be a whole connection string. */
struct conn_param {
    const char *key;
    const char *value;
};

#define CONN_PARAMS_MAX 12

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

/* Harmless if it is closed already. */
void conn_close(struct conn *conn);

static inline bool conn_is_open(const struct conn *conn)
{
    return conn->pg != NULL;
}

#endif
