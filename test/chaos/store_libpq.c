/*
 * The store over plain libpq, as a careful application does it by hand: all hosts in the connection
 * string, target_session_attrs, timeouts wherever libpq and the server have one, and the usual
 * loop that connects again and repeats when a connection is lost or the server says that it is
 * going. What that is worth is what the chaos test shows beside libholdfast.
 *
 * A seat has two connections: one to whoever accepts writes, one to a standby if there is any.
 * Which reads go to the latter is the application's choice: only those that may be old, or with
 * CHAOS_SPREAD in the environment all that do not ask for the primary, as one does to spread load.
 */
#include "store.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    ATTEMPTS_MAX = 3,
    PAUSE_US = 100000,
    CONNINFO_BYTES = 1024,
};

struct store {
    char for_writes[CONNINFO_BYTES];
    char for_reads[CONNINFO_BYTES];
    bool is_spread;
};

struct seat {
    const struct store *store;
    PGconn *writing;
    PGconn *reading;
};

/* How one attempt ended, as far as libpq can tell. */
enum ending {
    ENDED_WELL,
    ENDED_BADLY, /* the server said so, or it was never asked */
    ENDED_LOST,  /* the connection went away before the COMMIT was sent */
    ENDED_DARK,  /* and after it: nobody knows */
};

static void tell(struct told *told, const PGconn *conn, const PGresult *result)
{
    const char *state = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;

    snprintf(told->code, sizeof(told->code), "%s",
             PQstatus(conn) == CONNECTION_OK ? "server" : "lost");
    snprintf(told->sqlstate, sizeof(told->sqlstate), "%s", state != NULL ? state : "");
    snprintf(told->endpoint, sizeof(told->endpoint), "%s", PQhost(conn) ? PQhost(conn) : "");
    snprintf(told->words, sizeof(told->words), "%s", PQerrorMessage(conn));
}

struct store *store_open(const char *conninfo, struct told *told)
{
    static const char more[] = "connect_timeout=2 tcp_user_timeout=5000 "
                               "options='-c statement_timeout=5000'";
    struct store *store = calloc(1, sizeof(*store));

    if (store == NULL)
        return NULL;
    told->words[0] = '\0';
    snprintf(store->for_writes, sizeof(store->for_writes), "%s %s target_session_attrs=read-write",
             conninfo, more);
    snprintf(store->for_reads, sizeof(store->for_reads),
             "%s %s target_session_attrs=prefer-standby", conninfo, more);
    store->is_spread = getenv("CHAOS_SPREAD") != NULL;
    return store;
}

void store_close(struct store *store)
{
    free(store);
}

struct seat *seat_new(struct store *store)
{
    struct seat *seat = calloc(1, sizeof(*seat));

    if (seat == NULL)
        abort();
    seat->store = store;
    return seat;
}

void seat_free(struct seat *seat)
{
    PQfinish(seat->writing);
    PQfinish(seat->reading);
    free(seat);
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool connect_if_needed(PGconn **conn, const char *conninfo, struct told *told)
{
    if (*conn != NULL && PQstatus(*conn) == CONNECTION_OK)
        return true;
    PQfinish(*conn);
    *conn = PQconnectdb(conninfo);
    if (PQstatus(*conn) == CONNECTION_OK)
        return true;
    tell(told, *conn, NULL);
    return false;
}

/* The server is going away or is no primary any more: another connection may do better. */
static bool is_going(const char *sqlstate)
{
    return strncmp(sqlstate, "57P", 3) == 0 || strcmp(sqlstate, "25006") == 0;
}

static enum ending run(PGconn *conn, const char *sql, const char *const *values, int count,
                       bool is_last, struct told *told)
{
    PGresult *result = PQexecParams(conn, sql, count, NULL, values, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(result);
    enum ending ending = ENDED_WELL;

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        tell(told, conn, result);
        ending = PQstatus(conn) == CONNECTION_OK ? ENDED_BADLY : is_last ? ENDED_DARK : ENDED_LOST;
    }
    PQclear(result);
    return ending;
}

static enum ending write_once(PGconn *conn, enum way way, const char *const *values,
                              struct told *told)
{
    static const char *const transaction[] = {"BEGIN", "INSERT INTO chaos_row VALUES ($1, $2)",
                                              "INSERT INTO chaos_twin VALUES ($1, $2)", "COMMIT"};
    enum ending ending = ENDED_WELL;

    if (way == WAY_STATEMENT)
        return run(conn, transaction[1], values, 2, true, told);
    for (int i = 0; i < 4 && ending == ENDED_WELL; i++)
        ending = run(conn, transaction[i], values, i == 1 || i == 2 ? 2 : 0, i == 3, told);
    if (ending == ENDED_BADLY)
        PQclear(PQexec(conn, "ROLLBACK"));
    return ending;
}

enum answer seat_write(struct seat *seat, enum way way, struct row row, int deadline_ms,
                       struct told *told)
{
    int64_t until_ms = now_ms() + deadline_ms;
    enum answer answer = ANSWER_NOT_DONE;
    char texts[2][24];
    const char *values[] = {texts[0], texts[1]};

    snprintf(texts[0], sizeof(texts[0]), "%d", row.writer);
    snprintf(texts[1], sizeof(texts[1]), "%lld", (long long)row.number);
    for (int attempt = 0; attempt < ATTEMPTS_MAX && now_ms() < until_ms; attempt++) {
        enum ending ending;

        if (attempt > 0)
            usleep(PAUSE_US);
        if (!connect_if_needed(&seat->writing, seat->store->for_writes, told))
            continue;
        ending = write_once(seat->writing, way, values, told);
        if (ending == ENDED_WELL)
            return ANSWER_DONE;
        if (ending == ENDED_DARK)
            answer = ANSWER_UNKNOWN;
        else if (ending == ENDED_BADLY && !is_going(told->sqlstate))
            return answer;
        PQfinish(seat->writing);
        seat->writing = NULL;
    }
    return answer;
}

bool seat_share(struct seat *seat, int writer)
{
    (void)seat;
    (void)writer;
    return true; /* there is nothing to hand over */
}

enum answer seat_read(struct seat *seat, enum promise promise, struct row row, int deadline_ms,
                      bool *found, struct told *told)
{
    bool is_relaxed = seat->store->is_spread ? promise != PROMISE_PRIMARY
                                             : promise == PROMISE_BOUNDED || promise == PROMISE_ANY;
    PGconn **conn = is_relaxed ? &seat->reading : &seat->writing;
    const char *conninfo = is_relaxed ? seat->store->for_reads : seat->store->for_writes;
    int64_t until_ms = now_ms() + deadline_ms;
    char sql[128];

    snprintf(sql, sizeof(sql), "SELECT 1 FROM chaos_row WHERE writer = %d AND number = %lld",
             row.writer, (long long)row.number);
    for (int attempt = 0; attempt < ATTEMPTS_MAX && now_ms() < until_ms; attempt++) {
        PGresult *result;
        bool is_good;

        if (attempt > 0)
            usleep(PAUSE_US);
        if (!connect_if_needed(conn, conninfo, told))
            continue;
        result = PQexec(*conn, sql);
        is_good = PQresultStatus(result) == PGRES_TUPLES_OK;
        *found = is_good && PQntuples(result) > 0;
        if (!is_good)
            tell(told, *conn, result);
        PQclear(result);
        if (is_good)
            return ANSWER_DONE;
        PQfinish(*conn);
        *conn = NULL;
    }
    return ANSWER_NOT_DONE;
}
