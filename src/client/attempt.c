#include "client/attempt.h"

#include <libpq-fe.h>
#include <string.h>

#include "base/bug.h"
#include "base/rng.h"
#include "client/call_loop.h"
#include "client/client_statements.h"
#include "client/db.h"
#include "client/errors.h"
#include "client/record.h"
#include "core/outcome.h"
#include "os/clock.h"

/* The watcher was told of what failed, and looks at once; this much later it has. */
#define LOOKED_NS HF_MS(250)

/* ---- ends ---- */

HF_COLD static void end(struct call *call, enum outcome_code code)
{
    call->ended = (struct call_ending){.outcome = {.code = code}, .facts = call->facts};
    call->has_ended = true;
}

static void let_go(struct call *call, const struct pconn *conn)
{
    if (call->loop == NULL)
        return;
    if (conn_fd(&conn->conn) < 0)
        loop_has_gone(call, 0);
    else
        loop_let_go(call, 0);
}

HF_COLD static void drop_connection(struct call *call)
{
    if (call->conn == NULL)
        return;
    let_go(call, call->conn);
    pool_drop(call->conn->pool, call->conn);
    call->conn = NULL;
}

/* Not a byte of the work was sent. */
HF_COLD static void end_before_work(struct call *call, struct outcome outcome)
{
    drop_connection(call);
    call->ended = (struct call_ending){.outcome = outcome};
    call->has_ended = true;
}

static void take_step(struct call *call, enum call_step step)
{
    if (step == CALL_ENDED)
        call->has_ended = true;
    else if (step == CALL_PARKED)
        call->state = CALL_IS_PARKED;
}

/* ---- the work ---- */

static void work_begin(struct call *call)
{
    call->phase = CALL_WORKING;
    ++call->wait_serial;
    /* As the guard takes it from RUN on. */
    bool may_write = call->guard.request.route.intent != ROUTE_READ;
    call->facts = (struct outcome_facts){
        .sent = true,
        .may_write = may_write,
        .in_transaction = call->guard.request.in_transaction,
        .commit_sent = may_write && !call->guard.request.in_transaction,
    };
    if (call->was_unsent)
        call_tell_facts(call);
    call->was_unsent = false;
    take_step(call, call->ops->begin(call));
}

/* ---- a connection that is not ready for work yet ---- */

HF_COLD static void wait_for_conn(struct call *call)
{
    const struct conn *conn = &call->conn->conn;
    ++call->wait_serial; /* libpq may have closed one socket and opened the next */
    call->wait =
        (struct call_wait){.fd = conn_fd(conn), .events = conn->wants, .deadline_ns = HF_NEVER};
    if (call->phase == CALL_CONNECTING)
        call->wait.deadline_ns = conn->deadline_ns;
}

/* Nothing of the work is sent while we connect: the guard must know, or a deadline that passes now
 * would leave a write's outcome unknown. */
HF_COLD static void say_unsent(struct call *call)
{
    call->facts = (struct outcome_facts){0};
    call->was_unsent = true;
    call_tell_facts(call);
}

HF_COLD static void begin_statement(struct call *call, enum call_phase phase, const char *sql)
{
    call->phase = phase;
    if (!call->was_unsent)
        say_unsent(call);
    if (PQsendQuery(call->conn->conn.pg, sql) == 0) {
        error_set(&call->error, HF_E_LOST, "%s", PQerrorMessage(call->conn->conn.pg));
        end_before_work(call, (struct outcome){.code = OUTCOME_SEND_FAILED});
        return;
    }
    attempt_turn(call, 0);
}

/* The view says that it is the primary; a view is always a little old, so it must say so itself. */
HF_COLD static void prove_role(struct call *call, enum conn_role role)
{
    const struct snapshot *view = call_view(call);
    bool is_wanted = view->endpoints[call->endpoint].role == ENDPOINT_PRIMARY;
    if (is_wanted && role == CONN_ROLE_STANDBY) {
        error_set(&call->error, HF_E_CONNECT, "%s is not the primary any more",
                  call_endpoint_name(call));
        end_before_work(call, (struct outcome){.code = OUTCOME_WRONG_ROLE});
        return;
    }
    call->conn->is_proved = true;
    work_begin(call);
}

HF_COLD static void connected(struct call *call)
{
    enum conn_role role = conn_role(&call->conn->conn);
    if (role == CONN_ROLE_UNKNOWN)
        begin_statement(call, CALL_PROVING, "SELECT pg_catalog.pg_is_in_recovery()");
    else
        prove_role(call, role);
}

HF_COLD static void connect_failed(struct call *call, const struct hf_err *err)
{
    struct outcome outcome = call->conn->conn.outcome;
    atomic_fetch_add_explicit(&call->conn->pool->stats.connects_failed, 1, memory_order_relaxed);
    error_from_err(&call->error, error_code_of(outcome), err);
    end_before_work(call, outcome);
    /* A write has nowhere else to go. In the first moments of a crash its few attempts would be
     * spent before the watcher has looked; once it has, the call is held for a primary instead. */
    if (call->guard.request.route.intent != ROUTE_READ)
        call->ended.server_delay_ns = LOOKED_NS;
}

HF_COLD static void turn_connecting(struct call *call, enum conn_step step,
                                    const struct hf_err *err)
{
    if (step == CONN_WAITS)
        wait_for_conn(call);
    else if (step == CONN_FAILED)
        connect_failed(call, err);
    else
        connected(call);
}

HF_COLD static void connect_begin(struct call *call, struct pool *pool, uint64_t role_generation)
{
    struct hf_db *db = call->db;
    int64_t now_ns = clock_now();
    call->phase = CALL_CONNECTING;
    say_unsent(call);
    call->conn = pool_make(pool, role_generation, now_ns);
    if (call->conn == NULL) {
        error_set(&call->error, HF_E_MEMORY, "out of memory for another connection");
        end_before_work(
            call, (struct outcome){.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate_pack("53200")});
        return;
    }
    atomic_fetch_add_explicit(&pool->stats.connects, 1, memory_order_relaxed);
    int64_t deadline_ns =
        ns_min(call->guard.attempt_deadline_ns, ns_add(now_ns, db->config.pool.connect_timeout_ns));
    struct hf_err err;
    enum conn_step step = db_connect(db, call->endpoint, &call->conn->conn, deadline_ns, &err);
    turn_connecting(call, step, &err);
}

void attempt_begin(struct call *call)
{
    const struct snapshot *view = call_view(call);
    struct pool *pool = &call->db->endpoints[call->endpoint].pool;
    uint64_t role_generation = view->endpoints[call->endpoint].role_generation;
    call->has_ended = false;
    call->conn = pool_take(pool, role_generation, call->guard.now_ns);
    if (call->conn == NULL)
        connect_begin(call, pool, role_generation);
    else if (!call->conn->is_proved)
        connected(call);
    else if (call->conn->is_dirty)
        begin_statement(call, CALL_CLEANING, "DISCARD ALL");
    else
        work_begin(call);
}

/* The answer to a statement of our own: true once it is there, the first result in `*result`. */
HF_COLD static bool take_answer(struct call *call, short ready, PGresult **result)
{
    struct conn *conn = &call->conn->conn;
    while (conn_pump(conn, ready, NULL) != CONN_WAITS) {
        ready = 0;
        PGresult *next = PQgetResult(conn->pg);
        if (next == NULL) {
            *result = call->answer;
            call->answer = NULL;
            return true;
        }
        if (call->answer == NULL)
            call->answer = next;
        else
            PQclear(next);
    }
    wait_for_conn(call);
    return false;
}

HF_COLD static void turn_statement(struct call *call, short ready)
{
    PGresult *result;
    if (!take_answer(call, ready, &result))
        return;
    struct outcome outcome = conn_result_outcome(result, NULL);
    if (outcome.code != OUTCOME_SUCCESS) {
        error_from_result(&call->error, result);
        end_before_work(call, outcome);
    } else if (call->phase == CALL_CLEANING) {
        /* What it was still notified of is nobody's now. */
        call->conn->is_dirty = !conn_take_back(&call->conn->conn);
        if (call->conn->statements != NULL)
            statements_clear(call->conn->statements);
        work_begin(call);
    } else {
        /* Whatever else it says, or nothing, proves no primary. */
        bool is_primary = PQntuples(result) > 0 && PQnfields(result) > 0 &&
                          strcmp(PQgetvalue(result, 0, 0), "f") == 0;
        prove_role(call, is_primary ? CONN_ROLE_PRIMARY : CONN_ROLE_STANDBY);
    }
    PQclear(result);
}

HF_COLD static void turn_resolving(struct call *call)
{
    ++call->wait_serial;
    if (call->ops->resolve_turn(call) == CALL_ENDED)
        call->phase = CALL_RESOLVED;
}

void attempt_turn(struct call *call, short ready)
{
    call->wait.ready = ready;
    switch (call->phase) {
    case CALL_CONNECTING: {
        struct hf_err err;
        loop_let_go(call, 0); /* libpq may close it and open another one */
        turn_connecting(call, conn_connect(&call->conn->conn, clock_now(), &err), &err);
        return;
    }
    case CALL_PROVING:
    case CALL_CLEANING:
        turn_statement(call, ready);
        return;
    case CALL_WORKING:
        take_step(call, call->ops->turn(call));
        return;
    case CALL_RESOLVING:
        turn_resolving(call);
        return;
    case CALL_NO_ATTEMPT:
    case CALL_RESOLVED:
        return;
    }
}

/* ---- stopping ---- */

HF_COLD static void end_cancel(struct call *call)
{
    loop_let_go(call, 1);
    cancel_close(&call->cancel);
    call->is_cancelling = false;
}

void attempt_cut(struct call *call)
{
    if (call->phase == CALL_NO_ATTEMPT || call->phase == CALL_RESOLVING)
        return;
    end_cancel(call);
    if (call->has_ended) {
        /* Only the cancel request was still out, and where it hits is not known. */
        drop_connection(call);
        return;
    }
    if (call->phase == CALL_WORKING) {
        if (call->ops->cut != NULL)
            call->ops->cut(call);
        drop_connection(call);
        end(call, OUTCOME_CANCELLED);
    } else {
        PQclear(call->answer);
        call->answer = NULL;
        end_before_work(call, (struct outcome){.code = call->phase == CALL_CONNECTING
                                                           ? OUTCOME_CONNECT_TIMEOUT
                                                           : OUTCOME_CANCELLED});
    }
    call->state = call->is_answered ? CALL_IS_LEFT : CALL_IS_GOING;
}

void attempt_stop(struct call *call)
{
    call->is_stopping = true;
    int64_t now_ns = clock_now();
    call->stop_by_ns = ns_add(now_ns, CALL_STOP_NS_MAX);
    call->cancel_again_ns = ns_add(now_ns, CALL_CANCEL_AGAIN_NS);
    bool is_parked = call->state == CALL_IS_PARKED;
    bool is_at_work = call->phase == CALL_WORKING && !call->has_ended &&
                      (!is_parked || call->ops->drains_when_parked);
    if (!is_at_work || cancel_start(&call->cancel, &call->conn->conn.key) == CANCEL_FAILED) {
        attempt_cut(call);
        return;
    }
    call->is_cancelling = true;
    if (is_parked) {
        call->state = call->is_answered ? CALL_IS_LEFT : CALL_IS_GOING;
        attempt_turn(call, 0);
    }
}

void attempt_cancel_again(struct call *call)
{
    call->cancel_again_ns = ns_add(clock_now(), CALL_CANCEL_AGAIN_NS);
    if (call->phase != CALL_WORKING || call->has_ended || call->is_cancelling)
        return;
    call->is_cancelling = cancel_start(&call->cancel, &call->conn->conn.key) != CANCEL_FAILED;
}

void attempt_turn_cancel(struct call *call)
{
    loop_let_go(call, 1); /* it closes its descriptor by itself */
    if (cancel_turn(&call->cancel) != CANCEL_WAITS)
        end_cancel(call);
}

/* ---- reports ---- */

static bool is_clean(const struct pconn *conn)
{
    return !conn->is_broken && PQtransactionStatus(conn->conn.pg) == PQTRANS_IDLE &&
           PQpipelineStatus(conn->conn.pg) == PQ_PIPELINE_OFF;
}

void attempt_report(struct call *call)
{
    int64_t now_ns = clock_now();
    struct pconn *conn = call->conn;
    call->conn = NULL;
    call->has_ended = false;
    call->is_stopping = false;
    call->phase = CALL_NO_ATTEMPT;
    if (conn != NULL) {
        let_go(call, conn);
        if (is_clean(conn))
            pool_give(conn->pool, conn, now_ns);
        else
            pool_drop(conn->pool, conn);
    }
    struct guard_event event = {
        .kind = GUARD_EV_ENDED,
        .now_ns = now_ns,
        .view = call_view(call),
        .outcome = call->ended.outcome,
        .facts = call->ended.facts,
        .server_delay_ns = call->ended.server_delay_ns,
    };
    if (event.outcome.code != OUTCOME_SUCCESS)
        event.random = rng_u64(&call->lane.route.rng);
    guard_feed(&call->guard, &event);
    record_retry(call);
}

/* ---- the outcome of a COMMIT ---- */

void resolve_begin(struct call *call, int64_t deadline_ns)
{
    call->phase = CALL_RESOLVING;
    ++call->wait_serial;
    call->resolution = GUARD_UNRESOLVED;
    call->wait = (struct call_wait){.fd = -1, .deadline_ns = HF_NEVER};
    if (call->ops->resolve_begin == NULL ||
        call->ops->resolve_begin(call, deadline_ns) == CALL_ENDED)
        call->phase = CALL_RESOLVED;
}

void resolve_report(struct call *call)
{
    if (call->phase == CALL_RESOLVING)
        call->ops->resolve_stop(call);
    call->phase = CALL_NO_ATTEMPT;
    struct guard_event event = {
        .kind = GUARD_EV_RESOLVED,
        .now_ns = clock_now(),
        .random = rng_u64(&call->lane.route.rng),
        .view = call_view(call),
        .resolution = call->resolution,
    };
    guard_feed(&call->guard, &event);
    record_resolved(call, event.resolution);
}
