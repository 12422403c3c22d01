#include "client/query.h"

#include <libpq-fe.h>
#include <string.h>

#include "base/bug.h"
#include "base/ns.h"
#include "client/db.h"
#include "client/drive.h"
#include "os/clock.h"

/* ---- the work ---- */

static void end_exec(struct query *query)
{
    if (query->has_exec)
        exec_end(&query->exec);
    query->has_exec = false;
}

static void keep_result(struct query *query)
{
    PQclear(query->result);
    query->result = query->exec.result;
    query->exec.result = NULL;
}

static enum call_step turn(struct call *call)
{
    struct query *query = query_of(call);
    query->exec.is_stopped = call->is_stopping;
    for (;;) {
        switch (exec_turn(&query->exec, &call->wait)) {
        case EXEC_WAITS:
            return CALL_WAITS;
        case EXEC_ROWS:
            keep_result(query);
            call->facts.rows_shown = true;
            if (!call->is_stopping)
                return CALL_PARKED;
            call->wait.ready = 0;
            break; /* nobody wants them any more: on to the end */
        case EXEC_DONE:
            keep_result(query);
            call->ended = query->exec.ended;
            end_exec(query);
            return CALL_ENDED;
        }
    }
}

static enum call_step begin(struct call *call)
{
    struct query *query = query_of(call);
    PQclear(query->result); /* of the attempt before */
    query->result = NULL;
    exec_begin(&query->exec, call->conn, &query->statement, &call->error);
    query->has_exec = true;
    call->wait.ready = 0;
    return turn(call);
}

static void cut(struct call *call)
{
    end_exec(query_of(call));
}

static void answered(struct call *call)
{
    struct query *query = query_of(call);
    bool was_write = call->guard.request.route.intent == ROUTE_WRITE;
    if (was_write && call->result != GUARD_REFUSED && !call->is_abandoned)
        session_wrote(query->session, clock_now());
}

static void over(struct call *call)
{
    struct query *query = query_of(call);
    end_exec(query);
    PQclear(query->result);
    query->result = NULL;
    mem_free(&call->db->mem, query->copy);
    query->copy = NULL;
}

const struct call_ops query_ops = {
    .begin = begin,
    .turn = turn,
    .cut = cut,
    .drains_when_parked = true,
    .answered = answered,
    .over = over,
};

/* ---- starting ---- */

static const struct hf_call_options no_options;

int query_start(struct call *call, const char *sql, const struct hf_params *params,
                const struct hf_call_options *options, struct hf_error *err)
{
    struct hf_db *db = call->db;
    struct hf_err why;
    if (sql == NULL)
        return error_set(err, HF_E_USAGE, "there is no statement");
    if (options == NULL)
        options = &no_options;
    else if (options_check_call(options, &why) != HF_OK)
        return error_from_err(err, HF_E_USAGE, &why);
    if (params != NULL && (params->count == 0 || params->list == NULL))
        params = NULL;
    if (params != NULL && params->count > UINT16_MAX)
        return error_set(err, HF_E_USAGE, "a statement takes at most 65535 parameters");

    _Static_assert(sizeof(struct query) <= CALL_ROOM, "the room of a call must hold a query");
    struct query *query = (void *)call->room;
    enum route_intent intent = db_intent(db, sql, options);
    *query = (struct query){
        .session = options->session != NULL ? options->session : &db->session,
        .statement =
            {
                .sql = sql,
                .params = params,
                .format = options->format,
                .chunk_rows = options->chunk_rows,
                .no_prepare = options->no_prepare,
                .may_write = intent == ROUTE_WRITE,
                .commits_inside = intent == ROUTE_WRITE && params == NULL,
            },
    };
    struct guard_request request;
    db_request(db, intent, options, &request);
    call->user_cancel = options->cancel;
    call_start(call, &db->guard, &query_ops, query, &request);
    return HF_SUCCESS;
}

/* ---- blocking ---- */

struct hf_rows *query_rows(struct call *call)
{
    struct query *query = query_of(call);
    struct pg_result *result = query->result;
    const char *endpoint = call->db->endpoints[call->endpoint].name;
    query->result = NULL;
    if (call->state == CALL_IS_PARKED)
        return rows_stream(result, endpoint, call);
    return rows_take(result, endpoint);
}

struct hf_rows *query_chunk(struct call *call)
{
    struct query *query = query_of(call);
    struct pg_result *result = query->result;
    query->result = NULL;
    return rows_take(result, call->db->endpoints[call->endpoint].name);
}

static int give_rows(struct call *call, struct hf_rows **rows, struct hf_error *err)
{
    bool is_stream = call->state == CALL_IS_PARKED;
    *rows = query_rows(call);
    if (*rows == NULL) {
        query_abandon(call);
        return error_set(err, HF_E_MEMORY, "out of memory for the rows of the result");
    }
    if (!is_stream)
        drive_release(call);
    return HF_SUCCESS;
}

/* Runs it to its answer, or to its first chunk. On success the call is the caller's. */
static int run(struct hf_db *db, const char *sql, const struct hf_params *params,
               const struct hf_call_options *options, struct call **out, struct hf_error *err)
{
    struct call *call = db_call_new(db);
    if (call == NULL)
        return error_set(err, HF_E_MEMORY, "out of memory for a call");
    int code = query_start(call, sql, params, options, err);
    if (code != HF_SUCCESS) {
        db_call_free(call);
        return code;
    }
    call_drive(call);
    if (options != NULL && options->decision != NULL)
        db_decision(call, options->decision);
    if (call->state != CALL_IS_PARKED)
        code = call_answer(call, err);
    if (code != HF_SUCCESS)
        drive_release(call);
    else
        *out = call;
    return code;
}

int hf_query(struct hf_db *db, const char *sql, const struct hf_params *params,
             const struct hf_call_options *options, struct hf_rows **rows, struct hf_error *err)
{
    struct call *call;
    if (rows == NULL)
        return error_set(err, HF_E_USAGE, "hf_query() needs a place for the rows");
    *rows = NULL;
    int code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    code = run(db, sql, params, options, &call, err);
    if (code == HF_SUCCESS)
        code = give_rows(call, rows, err);
    db_leave(db);
    return code;
}

/* No chunks where nobody looks at rows. */
static const struct hf_call_options *whole(const struct hf_call_options *options,
                                           struct hf_call_options *copy)
{
    if (options == NULL || options->chunk_rows == 0)
        return options;
    *copy = *options;
    copy->chunk_rows = 0;
    return copy;
}

int hf_exec(struct hf_db *db, const char *sql, const struct hf_params *params,
            const struct hf_call_options *options, uint64_t *affected, struct hf_error *err)
{
    struct call *call;
    struct hf_call_options copy;
    if (affected != NULL)
        *affected = 0;
    int code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    code = run(db, sql, params, whole(options, &copy), &call, err);
    if (code == HF_SUCCESS) {
        if (affected != NULL)
            *affected = rows_affected_of(query_of(call)->result);
        drive_release(call);
    }
    db_leave(db);
    return code;
}

/* ---- streaming ---- */

static int end_stream(struct hf_rows *rows, struct hf_error *err)
{
    struct call *call = rows->stream;
    struct query *query = query_of(call);
    int code = call_answer(call, err);
    rows->stream = NULL;
    if (code == HF_SUCCESS) {
        struct pg_result *last = query->result;
        query->result = NULL;
        if (last != NULL && !rows_go_on(rows, last))
            code = error_set(err, HF_E_MEMORY, "out of memory for the rows of the result");
    }
    drive_release(call);
    return code;
}

int query_next_chunk(struct hf_rows *rows, struct hf_error *err)
{
    struct call *call = rows->stream;
    struct hf_db *db = call->db;
    int code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    call_resume(call);
    call_drive(call);
    if (call->state != CALL_IS_PARKED) {
        code = end_stream(rows, err);
    } else {
        struct query *query = query_of(call);
        struct pg_result *chunk = query->result;
        query->result = NULL;
        if (!rows_go_on(rows, chunk))
            code = error_set(err, HF_E_MEMORY, "out of memory for the rows of the result");
    }
    db_leave(db);
    return code;
}

void query_abandon(struct call *stream)
{
    struct hf_db *db = stream->db;
    if (db_enter(db, NULL) == HF_E_FORKED)
        return;
    call_stop(stream);
    drive_release(stream);
    db_leave(db);
}
