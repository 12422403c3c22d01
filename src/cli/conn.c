#include "cli/conn.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/ns.h"
#include "base/sv.h"
#include "os/clock.h"

/* What people can do about the failures they meet when connecting. libpq gives no SQLSTATE for
 * them, only words, and those of a server that speaks English; elsewhere there is no hint. The
 * first row that is found counts. */
static const struct {
    const char *words;
    const char *hint;
} advice[] = {
    {"Connection refused", "Is PostgreSQL running there, on that port, and does listen_addresses "
                           "let it listen on that address?"},
    {"No such file or directory",
     "Is PostgreSQL running, and is that its unix_socket_directories?"},
    {"could not translate host name", "Check the spelling of the host, and the name service."},
    {"No route to host", "Check the address, the network and the firewall."},
    {"Network is unreachable", "Check the address and the network."},
    {"timeout expired", "Check the address and the firewall: nothing answers there."},
    {"Connection timed out", "Check the address and the firewall: nothing answers there."},
    {"password authentication failed",
     "Check user and password; PGPASSWORD, ~/.pgpass or passfile= are safer places than a URL."},
    {"no password supplied",
     "Give the password by PGPASSWORD, ~/.pgpass or passfile= in the connection string."},
    {"no pg_hba.conf entry", "Let this user in from this machine, in pg_hba.conf of the server."},
    {"Peer authentication failed", "Run this as the user of that name, or connect over TCP with a "
                                   "password."},
    {"does not support SSL", "Use sslmode=prefer, or switch SSL on at the server."},
    {"certificate verify failed", "sslrootcert= must hold the server's certificate authority."},
    {"too many clients", "Raise max_connections, or end idle sessions."},
    {"remaining connection slots", "Raise max_connections, or end idle sessions."},
    {"starting up", "Wait a moment and try again: the server is starting."},
    {"shutting down", "The server is being stopped; try again when it is back."},
    {"in recovery mode", "Wait a moment and try again: the server is recovering from a crash."},
    {"role \"", "Check the user; without one, libpq takes your name on this machine."},
    {"database \"", "Check the database; without one, libpq takes the user's name."},
    {"password file", "chmod 600 the password file: libpq overlooks one that others may read."},
};

static void advise(struct hf_err *err, const char *text)
{
    for (size_t i = 0; i < sizeof advice / sizeof advice[0]; i++) {
        if (strstr(text, advice[i].words) != NULL) {
            err_hint(err, "%s", advice[i].hint);
            return;
        }
    }
}

/* libpq's text has several lines: the first is the message, the second facts or advice. */
static enum hf_rc fail_with_libpq(struct hf_err *err, enum hf_rc rc, const char *text)
{
    struct sv rest = sv_from_cstr(text);
    struct sv first;
    struct sv second = sv_from(NULL, 0);
    sv_split(&rest, '\n', &first);
    if (rest.data != NULL)
        sv_split(&rest, '\n', &second);
    first = sv_trim(first);
    second = sv_trim(second);
    if (first.size == 0)
        first = SV("the connection was lost");
    err_set(err, rc, "08006", "%.*s", (int)first.size, first.data);
    if (second.size > 0)
        err_detail(err, "%.*s", (int)second.size, second.data);
    advise(err, text);
    return rc;
}

static enum hf_rc fail_with_result(struct hf_err *err, const PGresult *rows)
{
    const char *sqlstate = PQresultErrorField(rows, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(rows, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(rows, PG_DIAG_MESSAGE_DETAIL);
    const char *hint = PQresultErrorField(rows, PG_DIAG_MESSAGE_HINT);
    if (message == NULL)
        return fail_with_libpq(err, HF_RC_PEER, PQresultErrorMessage(rows));
    err_set(err, HF_RC_PEER, sqlstate, "%s", message);
    if (detail != NULL)
        err_detail(err, "%s", detail);
    if (hint != NULL)
        err_hint(err, "%s", hint);
    return HF_RC_PEER;
}

enum readiness {
    READY,
    LATE,
    INTERRUPTED,
};

static enum readiness wait_for(const struct conn *conn, short events, int64_t deadline_ns)
{
    for (;;) {
        struct pollfd files[2] = {
            {.fd = PQsocket(conn->pg), .events = events},
            {.fd = conn->interrupt_fd, .events = POLLIN},
        };
        const int64_t left_ns = deadline_ns - clock_now();
        if (left_ns <= 0)
            return LATE;
        poll(files, 2, (int)ns_min(left_ns / HF_MS(1) + 1, 60000));
        if (files[1].revents != 0)
            return INTERRUPTED;
        if (files[0].revents != 0)
            return READY;
    }
}

static enum hf_rc give_up(struct conn *conn, enum readiness why, const char *what,
                          struct hf_err *err)
{
    conn_close(conn);
    if (why == INTERRUPTED)
        return err_set(err, HF_RC_AGAIN, "57014", "interrupted while %s", what);
    err_set(err, HF_RC_AGAIN, "57014", "timeout expired while %s", what);
    return err_hint(err,
                    "Nothing has answered there in time: check the server, the network and the "
                    "firewall.");
}

static enum hf_rc finish_connecting(struct conn *conn, int64_t deadline_ns, struct hf_err *err)
{
    /* libpq's order: pretend that it last said "writing". */
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state != PGRES_POLLING_OK) {
        const short events = state == PGRES_POLLING_WRITING ? POLLOUT : POLLIN;
        const enum readiness how = wait_for(conn, events, deadline_ns);
        if (how != READY)
            return give_up(conn, how, "connecting", err);
        state = PQconnectPoll(conn->pg);
        if (state == PGRES_POLLING_FAILED) {
            enum hf_rc rc = fail_with_libpq(err, HF_RC_PEER, PQerrorMessage(conn->pg));
            conn_close(conn);
            return rc;
        }
    }
    return HF_OK;
}

/* Notices of the server would otherwise be printed to stderr by libpq. */
static void drop_notice(void *unused, const PGresult *notice)
{
    (void)unused;
    (void)notice;
}

enum hf_rc conn_open(struct conn *conn, const struct conn_param *params, int64_t deadline_ns,
                     int interrupt_fd, struct hf_err *err)
{
    const char *keys[CONN_PARAMS_MAX + 1];
    const char *values[CONN_PARAMS_MAX + 1];
    size_t count = 0;
    for (; params[count].key != NULL; count++) {
        hf_assert(count < CONN_PARAMS_MAX);
        keys[count] = params[count].key;
        values[count] = params[count].value;
    }
    keys[count] = NULL;
    values[count] = NULL;

    *conn =
        (struct conn){.pg = PQconnectStartParams(keys, values, 1), .interrupt_fd = interrupt_fd};
    if (conn->pg == NULL)
        return err_set(err, HF_RC_LIMIT, "53200", "out of memory");
    if (PQstatus(conn->pg) == CONNECTION_BAD) {
        enum hf_rc rc = fail_with_libpq(err, HF_RC_PEER, PQerrorMessage(conn->pg));
        conn_close(conn);
        return rc;
    }
    PQsetNoticeReceiver(conn->pg, drop_notice, NULL);
    return finish_connecting(conn, deadline_ns, err);
}

/* Sends what is queued and waits until a result is complete. */
static enum readiness await_result(struct conn *conn, int64_t deadline_ns)
{
    bool is_sending = true;
    for (;;) {
        if (is_sending)
            is_sending = PQflush(conn->pg) == 1;
        if (!is_sending && PQisBusy(conn->pg) == 0)
            return READY;
        const short events = is_sending ? POLLIN | POLLOUT : POLLIN;
        enum readiness how = wait_for(conn, events, deadline_ns);
        if (how != READY)
            return how;
        if (PQconsumeInput(conn->pg) == 0)
            return READY; /* the connection is broken, and PQgetResult will say how */
    }
}

enum hf_rc conn_query(struct conn *conn, const char *sql, const char *const *values,
                      int64_t deadline_ns, PGresult **rows, struct hf_err *err)
{
    int count = 0;
    while (values != NULL && values[count] != NULL)
        count++;
    *rows = NULL;
    hf_assert(conn_is_open(conn));
    PQsetnonblocking(conn->pg, 1);
    if (PQsendQueryParams(conn->pg, sql, count, NULL, values, NULL, NULL, 0) == 0) {
        enum hf_rc rc = fail_with_libpq(err, HF_RC_PEER, PQerrorMessage(conn->pg));
        conn_close(conn);
        return rc;
    }
    /* With the extended protocol there is one result and then NULL; a broken connection adds
     * another that says so. The last one counts. */
    for (;;) {
        enum readiness how = await_result(conn, deadline_ns);
        if (how != READY) {
            PQclear(*rows);
            *rows = NULL;
            return give_up(conn, how, "waiting for an answer", err);
        }
        PGresult *next = PQgetResult(conn->pg);
        if (next == NULL)
            break;
        PQclear(*rows);
        *rows = next;
    }
    const ExecStatusType status = PQresultStatus(*rows);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return HF_OK;
    enum hf_rc rc = *rows != NULL ? fail_with_result(err, *rows)
                                  : fail_with_libpq(err, HF_RC_PEER, PQerrorMessage(conn->pg));
    PQclear(*rows);
    *rows = NULL;
    if (PQstatus(conn->pg) == CONNECTION_BAD)
        conn_close(conn);
    return rc;
}

enum hf_rc conn_run(struct conn *conn, const char *sql, const char *const *values,
                    int64_t deadline_ns, struct hf_err *err)
{
    PGresult *rows;
    enum hf_rc rc = conn_query(conn, sql, values, deadline_ns, &rows, err);
    PQclear(rows);
    return rc;
}

void conn_close(struct conn *conn)
{
    PQfinish(conn->pg); /* NULL is fine */
    conn->pg = NULL;
}
