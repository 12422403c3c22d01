/*
 * A single statement as the work of a call: hf_query(), hf_exec() and hf_loop_query() are this.
 *
 *     begin: exec_begin on the connection    turn: exec_turn    chunk: parked, rows shown
 *
 * The state lives in the call's own room, so that a query allocates nothing.
 */
#ifndef HF_CLIENT_QUERY_H
#define HF_CLIENT_QUERY_H

#include "client/call.h"
#include "client/exec.h"
#include "client/recall.h"
#include "client/rows.h"

struct query {
    struct exec exec;
    struct exec_statement statement;
    struct hf_session *session; /* whose write it was */
    struct pg_result *result;   /* once served, or the chunk that is to be shown */
    struct recall *recall;      /* its turn at the result cache; NULL: it has none */
    void *copy;    /* text and parameters, where the caller does not wait; freed at the end */
    bool is_auto;  /* nobody said that it is a read; a server may know better */
    bool has_exec; /* an attempt is under way */
};

/* Starts it in `call`, which db_call_new() gave. HF_SUCCESS, or what is wrong with the options. */
int query_start(struct call *call, const char *sql, const struct hf_params *params,
                const struct hf_call_options *options, struct hf_error *err);

static inline struct query *query_of(struct call *call)
{
    return call->work;
}

/* The rows of a call that was served, or parked with a chunk; NULL: no memory. They take the
 * result; a chunk's call goes on with the rows. */
struct hf_rows *query_rows(struct call *call);

/* A result is there to make rows of. */
static inline bool query_has_rows(struct call *call)
{
    const struct query *query = query_of(call);
    return query->result != NULL || (query->recall != NULL && query->recall->has_found);
}

/* The answer is this code: true if there is an old result instead, of which query_rows() makes
 * rows.
 */
bool query_has_fallback(struct call *call, int code);

/* The same for a chunk whose call goes on by itself, without the rows. */
struct hf_rows *query_chunk(struct call *call);

/* For rows.c: brings rows->stream's next chunk into `rows`; at the end rows->stream is NULL. */
int query_next_chunk(struct hf_rows *rows, struct hf_error *err);
/* Nobody wants the rest: it is cancelled and drained by the reaper. */
void query_abandon(struct call *stream);

#endif
