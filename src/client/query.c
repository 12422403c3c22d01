#include "client/query.h"

#include <libpq-fe.h>
#include <string.h>

#include "base/bug.h"
#include "base/ns.h"
#include "client/cancel_token.h"
#include "client/db.h"
#include "client/drive.h"
#include "client/errors.h"
#include "client/fallback.h"
#include "client/pipeline.h"
#include "client/record.h"
#include "os/clock.h"
#include "pg/watcher.h"

/* ---- the work ---- */

static void end_exec(struct query *query)
{
    if (query->has_exec)
        exec_end(&query->exec);
    query->has_exec = false;
}

static void keep_result(struct query *query)
{
    if (query->result != NULL)
        PQclear(query->result);
    query->result = query->exec.result;
    query->exec.result = NULL;
}

/* A replica has refused it: it writes after all. The next attempt goes to the primary, and so does
 * the statement from now on. */
static void learn(struct call *call)
{
    struct query *query = query_of(call);
    struct guard_request *request = &call->guard.request;
    struct outcome outcome = call->ended.outcome;
    if (!query->is_auto || request->route.intent != ROUTE_READ || call->is_answered ||
        outcome.code != OUTCOME_SQLSTATE || outcome.sqlstate != sqlstate_pack("25006"))
        return;
    db_learn_write(call->db, &query->statement);
    request->route.intent = ROUTE_WRITE;
    request->operation = DEGRADE_WRITE;
    query->statement.may_write = true;
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
            learn(call);
            return CALL_ENDED;
        }
    }
}

static enum call_step begin(struct call *call)
{
    struct query *query = query_of(call);
    if (query->result != NULL)
        PQclear(query->result); /* of the attempt before */
    query->result = NULL;
    call->facts.may_write = query->statement.may_write;
    call->facts.commit_sent = query->statement.may_write;
    call->facts.commits_inside = query->statement.commits_inside;
    if (query->recall != NULL)
        recall_asks(query->recall, &call->guard, &call->view->snapshot);
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
    if (query->result != NULL)
        PQclear(query->result);
    query->result = NULL;
    mem_free(&call->db->mem, query->copy);
    query->copy = NULL;
    recall_free(query->recall);
    query->recall = NULL;
}

/* The level of degradation lets old results be shown: not while only health checks or people are
 * let in. */
static bool may_recall(const struct call *call)
{
    struct hf_db *db = call->db;
    watcher_refresh(db->watcher, &call->view->seen, &call->view->snapshot);
    return degrade_config_allows(&db->ladder, (enum degrade_level)call->view->snapshot.level,
                                 DEGRADE_CACHED_READ);
}

/* What the server itself has said of the statement is an answer, and no reason for an old one. */
static bool find_cached(struct call *call, bool is_stale_ok)
{
    const enum outcome_kind kind = outcome_rule(call->guard.outcome)->kind;
    return is_stale_ok && kind != OUTCOME_KIND_QUERY && kind != OUTCOME_KIND_CONTENTION &&
           may_recall(call) && recall_fallback(query_of(call)->recall);
}

static const struct call_ops query_ops = {
    .begin = begin,
    .turn = turn,
    .cut = cut,
    .drains_when_parked = true,
    .find_cached = find_cached,
    .answered = answered,
    .over = over,
};

/* ---- starting ---- */

static const struct hf_call_options no_options;

/* A fresh result is in the cache. A blocking caller waits for whoever asks the same already. */
static bool is_recalled(const struct call *call, const struct query *query,
                        const struct guard_request *request)
{
    if (query->recall == NULL || !may_recall(call))
        return false;
    const int64_t deadline_ns = request->deadline_ns != 0
                                    ? request->deadline_ns
                                    : ns_add(clock_now(), call->db->config.deadline_ns);
    return recall_first(query->recall, call->loop == NULL, deadline_ns, call->user_cancel);
}

/* An answer without a call: it takes no permit and asks nobody. */
HF_COLD static void serve_recalled(struct call *call, struct query *query)
{
    call->ops = &query_ops;
    call->work = query;
    call->was_recalled = true;
    call->is_answered = true;
    call->result = GUARD_SERVED_CACHED;
    call->state = CALL_IS_DONE;
    record_count(&call->db->record->from_cache);
    operations_count(call->operation, GUARD_SERVED_CACHED, 0);
}

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

    if (cancel_token_refuses(options->cancel, err))
        return HF_E_CANCELLED;
    _Static_assert(sizeof(struct query) <= CALL_ROOM, "the room of a call must hold a query");
    struct query *query = (void *)call->room;
    *query = (struct query){
        .session = options->session != NULL ? options->session : &db->session,
        .is_auto = options->intent == HF_AUTO,
        .statement =
            {
                .sql = sql,
                .params = params,
                .format = options->format,
                .chunk_rows = options->chunk_rows,
                .no_prepare = options->no_prepare,
            },
    };
    enum route_intent intent = db_judge(db, &call->memo, options, &query->statement);
    struct guard_request request;
    db_request(db, intent, options, &request);
    call->user_cancel = options->cancel;
    call->operation = operations_find(&db->record->operations, options->operation);
    query->recall = recall_new(db, sql, params, options, &request.route);
    if (is_recalled(call, query, &request))
        serve_recalled(call, query);
    else
        call_start(call, request.cache_ok ? &db->cached_guard : &db->guard, &query_ops, query,
                   &request);
    return HF_SUCCESS;
}

/* ---- blocking ---- */

struct hf_rows *query_rows(struct call *call)
{
    struct query *query = query_of(call);
    struct pg_result *result = query->result;
    if (query->recall != NULL && query->recall->has_found)
        return recall_rows(query->recall);
    const char *endpoint = call_endpoint_name(call);
    query->result = NULL;
    if (call->state == CALL_IS_PARKED)
        return rows_stream(result, endpoint, call);
    struct hf_rows *rows = rows_take(result, endpoint);
    if (rows != NULL)
        recall_keep(query->recall, rows->body);
    return rows;
}

bool query_has_fallback(struct call *call, int code)
{
    struct recall *recall = query_of(call)->recall;
    if (recall == NULL || !fallbacks_may_answer(code) || !may_recall(call) ||
        !recall_fallback(recall))
        return false;
    call->result = GUARD_SERVED_CACHED;
    return true;
}

struct hf_rows *query_chunk(struct call *call)
{
    struct query *query = query_of(call);
    struct pg_result *result = query->result;
    query->result = NULL;
    return rows_take(result, call_endpoint_name(call));
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
    if (call == NULL) {
        error_set(err, HF_E_MEMORY, "out of memory for a call");
        return HF_E_MEMORY;
    }
    int code = query_start(call, sql, params, options, err);
    if (code != HF_SUCCESS) {
        db_call_free(call);
        return code;
    }
    call_drive(call);
    if (call->state != CALL_IS_PARKED)
        code = call_answer(call, err);
    if (code != HF_SUCCESS && query_has_fallback(call, code))
        code = HF_SUCCESS;
    if (options != NULL && options->decision != NULL)
        db_decision(call, options->decision);
    if (code != HF_SUCCESS)
        drive_release(call);
    else
        *out = call;
    return code;
}

/* The program's own answer where no server has one. */
HF_COLD static int fall_back(struct hf_db *db, const char *sql,
                             const struct hf_call_options *options, const struct hf_error *why,
                             struct hf_rows **rows, struct hf_error *err)
{
    struct fallback fallback;
    struct hf_error said;
    error_clear(&said);
    if (fallbacks_may_answer(why->code) &&
        fallbacks_find(&db->record->fallbacks, options != NULL ? options->operation : NULL,
                       &fallback) &&
        fallback.call(sql, why, fallback.arg, rows, &said) == 0 && *rows != NULL) {
        record_count(&db->record->from_fallback);
        return HF_SUCCESS;
    }
    hf_rows_free(*rows);
    *rows = NULL;
    if (err != NULL)
        *err = *why;
    return why->code;
}

/* A write whose outcome shall be found out: another way, see client/pipeline.h. */
static bool finds_outcome(struct hf_db *db, const char *sql, const struct hf_call_options *options)
{
    return options != NULL && options->finds_outcome && sql != NULL &&
           db_intent(db, sql, options) == ROUTE_WRITE;
}

HF_COLD static int found_rows(const struct pipeline_answer *answer, struct hf_rows **rows,
                              struct hf_error *err)
{
    *rows = rows_take(answer->result, answer->endpoint);
    return *rows != NULL ? HF_SUCCESS
                         : error_set(err, HF_E_MEMORY, "out of memory for the rows of the result");
}

int hf_query(struct hf_db *db, const char *sql, const struct hf_params *params,
             const struct hf_call_options *options, struct hf_rows **rows, struct hf_error *err)
{
    struct call *call = NULL;
    if (rows == NULL)
        return error_set(err, HF_E_USAGE, "hf_query() needs a place for the rows");
    *rows = NULL;
    int code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    if (finds_outcome(db, sql, options)) {
        struct pipeline_answer answer;
        code = pipeline_one(db, sql, params, options, &answer, err);
        if (code == HF_SUCCESS)
            code = found_rows(&answer, rows, err);
        db_leave(db);
        return code;
    }
    struct hf_error why;
    code = run(db, sql, params, options, &call, &why);
    if (code == HF_SUCCESS)
        code = give_rows(call, rows, err);
    else
        code = fall_back(db, sql, options, &why, rows, err);
    db_leave(db);
    return code;
}

/* No chunks and no old results where nobody looks at rows. */
static const struct hf_call_options *whole(const struct hf_call_options *options,
                                           struct hf_call_options *copy)
{
    if (options == NULL || (options->chunk_rows == 0 && options->cache == HF_CACHE_OFF))
        return options;
    *copy = *options;
    copy->chunk_rows = 0;
    copy->cache = HF_CACHE_OFF;
    return copy;
}

int hf_exec(struct hf_db *db, const char *sql, const struct hf_params *params,
            const struct hf_call_options *options, uint64_t *affected, struct hf_error *err)
{
    struct call *call = NULL;
    struct hf_call_options copy;
    if (affected != NULL)
        *affected = 0;
    int code = db_enter(db, err);
    if (code != HF_SUCCESS)
        return code;
    if (finds_outcome(db, sql, options)) {
        struct pipeline_answer answer;
        code = pipeline_one(db, sql, params, options, &answer, err);
        if (code == HF_SUCCESS) {
            if (affected != NULL)
                *affected = rows_affected_of(answer.result);
            PQclear(answer.result);
        }
        db_leave(db);
        return code;
    }
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
    if (db_is_forked(db))
        return;
    db_stay(db); /* also while it is closing */
    call_stop(stream);
    drive_release(stream);
    db_leave(db);
}
