/*
 * What the files of conn share: how libpq's words become an error and an outcome (conn_fail.c), and
 * how the key of a session is learned (conn_trace.c).
 */
#ifndef HF_PG_CONN_INT_H
#define HF_PG_CONN_INT_H

#include "pg/conn.h"

/* Fills err from libpq's text. */
enum hf_rc conn_fail_text(struct hf_err *err, enum hf_rc rc, const char *text);

/* Fills err and conn->outcome for a connect that failed, from the connection's last words, and
 * closes it. */
void conn_fail_connecting(struct conn *conn, struct hf_err *err);

/* Of the results of one statement the one that counts: the last, but what the server said goes
 * before what libpq adds when the connection then breaks. Frees the other. */
struct pg_result *conn_keep_result(struct pg_result *kept, struct pg_result *next);

/* libpq is made to tell its messages, one a line; to be begun before the first step. */
void conn_trace_begin(struct conn *conn);

/* Ends it; true if the key was heard. Harmless if it was not begun. */
bool conn_trace_end(struct conn *conn);

#endif
