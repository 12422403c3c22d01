#include "client/commit_search.h"

#include <libpq-fe.h>
#include <poll.h>

#include "client/attempt.h"
#include "client/db.h"
#include "os/clock.h"
#include "pg/watcher.h"

/* ---- the machine ---- */

static void feed(struct commit_search *search, struct commit_event *event)
{
    event->now_ns = clock_now();
    event->view = call_view(search->call);
    commit_feed(&search->machine, event);
}

static void failed(struct commit_search *search)
{
    search->state = COMMIT_SEARCH_IDLE;
    PQclear(search->answer);
    search->answer = NULL;
    conn_close(&search->conn);
    feed(search,
         &(struct commit_event){.kind = COMMIT_EV_FAILED, .number = search->question.number});
}

static void answered(struct commit_search *search)
{
    const char *values[COMMIT_COLUMNS_MAX] = {NULL};
    PGresult *answer = search->answer;
    int columns = PQnfields(answer);
    if (PQresultStatus(answer) != PGRES_TUPLES_OK || PQntuples(answer) != 1 ||
        columns > COMMIT_COLUMNS_MAX) {
        failed(search);
        return;
    }
    for (int i = 0; i < columns; i++)
        values[i] = PQgetisnull(answer, 0, i) != 0 ? NULL : PQgetvalue(answer, 0, i);
    search->state = COMMIT_SEARCH_IDLE;
    feed(search, &(struct commit_event){.kind = COMMIT_EV_RESULT,
                                        .number = search->question.number,
                                        .values = values});
    PQclear(answer);
    search->answer = NULL;
}

/* ---- one question ---- */

static void ask(struct commit_search *search)
{
    char sql[COMMIT_SQL_BYTES];
    PGconn *pg = search->conn.pg;
    commit_sql(&search->machine, search->question.query, PQserverVersion(pg), sql);
    search->state = COMMIT_SEARCH_ASKING;
    if (PQsendQuery(pg, sql) == 0)
        failed(search);
}

static void turn_connecting(struct commit_search *search, enum conn_step step)
{
    search->state = COMMIT_SEARCH_CONNECTING;
    ++search->call->wait_serial; /* libpq may have another file under the same number */
    if (step == CONN_DONE)
        ask(search);
    else if (step == CONN_FAILED)
        failed(search);
}

static void turn_asking(struct commit_search *search, short ready)
{
    while (conn_pump(&search->conn, ready, NULL) != CONN_WAITS) {
        ready = 0;
        PGresult *next = PQgetResult(search->conn.pg);
        if (next == NULL) {
            answered(search);
            return;
        }
        if (search->answer == NULL)
            search->answer = next;
        else
            PQclear(next);
    }
}

/* A new question takes the place of one that is still out, whose connection is then of no use. */
static void begin_question(struct commit_search *search, const struct commit_action *question)
{
    if (search->state != COMMIT_SEARCH_IDLE || search->endpoint != question->endpoint)
        conn_close(&search->conn);
    PQclear(search->answer);
    search->answer = NULL;
    search->question = *question;
    search->endpoint = question->endpoint;
    search->state = COMMIT_SEARCH_IDLE;
    if (conn_is_open(&search->conn)) {
        ask(search);
        return;
    }
    struct hf_err unused;
    turn_connecting(search, db_connect(search->call->db, question->endpoint, &search->conn,
                                       question->deadline_ns, &unused));
}

/* ---- driving ---- */

static void wait_for_it(struct commit_search *search)
{
    struct call_wait *wait = &search->call->wait;
    int64_t look_ns = ns_add(clock_now(), COMMIT_SEARCH_LOOK_NS);
    *wait = (struct call_wait){.fd = -1,
                               .deadline_ns = ns_min(commit_deadline(&search->machine), look_ns)};
    if (search->state == COMMIT_SEARCH_IDLE)
        return;
    wait->fd = conn_fd(&search->conn);
    wait->events = search->conn.wants;
    if (search->state == COMMIT_SEARCH_CONNECTING)
        wait->deadline_ns = ns_min(wait->deadline_ns, search->conn.deadline_ns);
}

/* Carries out what was ordered. */
static enum call_step pursue(struct commit_search *search)
{
    struct commit_action action;
    while (commit_next(&search->machine, &action)) {
        if (action.kind == COMMIT_ACT_DONE) {
            search->call->resolution = action.resolution;
            commit_search_stop(search);
            return CALL_ENDED;
        }
        begin_question(search, &action);
    }
    wait_for_it(search);
    return CALL_WAITS;
}

enum call_step commit_search_begin(struct commit_search *search, struct call *call,
                                   const struct commit_begin *begin)
{
    *search = (struct commit_search){.call = call, .endpoint = begin->endpoint};
    struct topology_endpoint known;
    struct commit_begin full = *begin;
    if (watcher_describe(call->db->watcher, begin->endpoint, &known) && known.has_answer)
        full.system_id = known.answer.system_identifier;
    commit_init(&search->machine, NULL);
    feed(search, &(struct commit_event){.kind = COMMIT_EV_BEGIN, .begin = &full});
    return pursue(search);
}

enum call_step commit_search_turn(struct commit_search *search)
{
    short ready = search->call->wait.ready;
    if (search->state == COMMIT_SEARCH_CONNECTING) {
        struct hf_err unused;
        turn_connecting(search, conn_connect(&search->conn, clock_now(), &unused));
    } else if (search->state == COMMIT_SEARCH_ASKING) {
        turn_asking(search, ready);
    }
    feed(search, &(struct commit_event){.kind = COMMIT_EV_VIEW});
    feed(search, &(struct commit_event){.kind = COMMIT_EV_TICK});
    return pursue(search);
}

void commit_search_stop(struct commit_search *search)
{
    if (search->call == NULL)
        return;
    PQclear(search->answer);
    search->answer = NULL;
    conn_close(&search->conn);
    search->call = NULL;
}
