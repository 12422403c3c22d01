#include "pg/conn.h"

#include <libpq-fe.h>
#include <poll.h>
#include <string.h>

#include "base/bug.h"
#include "base/ns.h"
#include "os/clock.h"
#include "pg/conn_int.h"

#define UNASKED_READS_MAX 16

/* ---- connecting ---- */

/* Notices of the server would otherwise be printed to stderr by libpq. */
static void drop_notice(void *unused, const PGresult *notice)
{
    (void)unused;
    (void)notice;
}

enum conn_step conn_start(struct conn *conn, const struct conn_param *params, int64_t deadline_ns,
                          struct hf_err *err)
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

    memset(conn, 0, sizeof *conn);
    conn->interrupt_fd = -1;
    conn->deadline_ns = deadline_ns;
    conn->phase = CONNECTION_STARTED;
    conn->pg = PQconnectStartParams(keys, values, 1);
    if (conn->pg == NULL) {
        conn->outcome =
            (struct outcome){.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate_pack("53200")};
        err_set(err, HF_RC_LIMIT, "53200", "out of memory");
        return CONN_FAILED;
    }
    if (PQstatus(conn->pg) == CONNECTION_BAD) {
        conn_fail_connecting(conn, err);
        return CONN_FAILED;
    }
    PQsetNoticeReceiver(conn->pg, drop_notice, NULL);
    PQsetErrorVerbosity(conn->pg, PQERRORS_VERBOSE); /* until it is open: see conn_fail.c */
    conn_trace_begin(conn);
    conn->wants = POLLOUT; /* libpq's order: pretend that it last said "writing" */
    return CONN_WAITS;
}

static bool is_ready(const struct conn *conn)
{
    struct pollfd file = {.fd = PQsocket(conn->pg), .events = conn->wants};
    return poll(&file, 1, 0) > 0;
}

enum conn_step conn_connect(struct conn *conn, int64_t now_ns, struct hf_err *err)
{
    hf_assert(conn_is_open(conn));
    /* libpq takes a call for the news that the descriptor is ready, also if it is not. */
    if (!is_ready(conn)) {
        if (now_ns < conn->deadline_ns)
            return CONN_WAITS;
        conn_close(conn);
        conn->outcome = (struct outcome){.code = OUTCOME_CONNECT_TIMEOUT};
        err_set(err, HF_RC_AGAIN, "57014", "timeout expired while connecting");
        err_hint(err, "Nothing has answered there in time: check the server, the network and the "
                      "firewall.");
        return CONN_FAILED;
    }
    conn->phase = (int)PQstatus(conn->pg);
    switch (PQconnectPoll(conn->pg)) {
    case PGRES_POLLING_READING:
        conn->wants = POLLIN;
        return CONN_WAITS;
    case PGRES_POLLING_WRITING:
        conn->wants = POLLOUT;
        return CONN_WAITS;
    case PGRES_POLLING_OK:
        conn_trace_end(conn);
        PQsetErrorVerbosity(conn->pg, PQERRORS_DEFAULT);
        PQsetnonblocking(conn->pg, 1);
        return CONN_DONE;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE: /* not used by libpq any more */
        break;
    }
    conn_fail_connecting(conn, err);
    return CONN_FAILED;
}

bool conn_take_back(struct conn *conn)
{
    PGnotify *notification;
    PQsetNoticeReceiver(conn->pg, drop_notice, NULL);
    PQsetErrorVerbosity(conn->pg, PQERRORS_DEFAULT);
    PQsetErrorContextVisibility(conn->pg, PQSHOW_CONTEXT_ERRORS);
    PQuntrace(conn->pg);
    while ((notification = PQnotifies(conn->pg)) != NULL)
        PQfreemem(notification);
    return PQstatus(conn->pg) == CONNECTION_OK && PQsetnonblocking(conn->pg, 1) == 0;
}

void conn_close(struct conn *conn)
{
    conn_trace_end(conn);
    PQfinish(conn->pg); /* NULL is fine */
    conn->pg = NULL;
    conn->wants = 0;
}

/* ---- open ---- */

int conn_fd(const struct conn *conn)
{
    return PQsocket(conn->pg);
}

enum conn_role conn_role(const struct conn *conn)
{
    const char *standby = PQparameterStatus(conn->pg, "in_hot_standby");
    if (standby == NULL)
        return CONN_ROLE_UNKNOWN;
    return strcmp(standby, "on") == 0 ? CONN_ROLE_STANDBY : CONN_ROLE_PRIMARY;
}

static enum conn_step read_on(struct conn *conn, short ready, bool is_sending, struct hf_err *err)
{
    const bool is_read = (ready & ~POLLOUT) == 0 || PQconsumeInput(conn->pg) == 1;
    if (!is_read || PQstatus(conn->pg) == CONNECTION_BAD) {
        conn->outcome = (struct outcome){.code = OUTCOME_CONN_LOST};
        conn_fail_text(err, HF_RC_PEER, PQerrorMessage(conn->pg));
        return CONN_FAILED;
    }
    if (PQisBusy(conn->pg) == 0)
        return CONN_DONE;
    conn->wants = is_sending ? POLLIN | POLLOUT : POLLIN;
    return CONN_WAITS;
}

enum conn_step conn_pump(struct conn *conn, short ready, struct hf_err *err)
{
    return read_on(conn, ready, PQflush(conn->pg) == 1, err);
}

enum conn_step conn_pump_answer(struct conn *conn, short ready, struct hf_err *err)
{
    return conn->wants == POLLIN ? read_on(conn, ready, false, err) : conn_pump(conn, ready, err);
}

enum conn_step conn_sent(struct conn *conn, struct hf_err *err)
{
    const int left = PQflush(conn->pg);
    if (left < 0 || PQstatus(conn->pg) == CONNECTION_BAD)
        return conn_pump(conn, 0, err);
    conn->wants = left > 0 ? POLLIN | POLLOUT : POLLIN;
    return CONN_WAITS;
}

bool conn_is_usable(struct conn *conn)
{
    if (PQstatus(conn->pg) != CONNECTION_OK)
        return false;
    /* What the server tells unasked is read and parsed; if these were its last words, the end
     * follows on their heels. */
    for (int reads = 0; reads < UNASKED_READS_MAX; reads++) {
        struct pollfd file = {.fd = PQsocket(conn->pg), .events = POLLIN};
        if (poll(&file, 1, 0) <= 0)
            return true;
        if (PQconsumeInput(conn->pg) == 0 || PQisBusy(conn->pg) != 0)
            return false;
    }
    return PQstatus(conn->pg) == CONNECTION_OK;
}

/* ---- waiting ---- */

enum readiness {
    READY,
    LATE,
    INTERRUPTED,
};

static enum readiness wait_for(const struct conn *conn, int64_t deadline_ns, short *ready)
{
    for (;;) {
        struct pollfd files[2] = {
            {.fd = PQsocket(conn->pg), .events = conn->wants},
            {.fd = conn->interrupt_fd, .events = POLLIN},
        };
        const int64_t left_ns = deadline_ns - clock_now();
        if (left_ns <= 0)
            return LATE;
        poll(files, 2, (int)ns_min(left_ns / HF_MS(1) + 1, 60000));
        if (files[1].revents != 0)
            return INTERRUPTED;
        *ready = files[0].revents;
        if (*ready != 0)
            return READY;
    }
}

static enum hf_rc give_up(struct conn *conn, enum readiness why, const char *what,
                          struct hf_err *err)
{
    conn_close(conn);
    if (why == INTERRUPTED) {
        conn->outcome = (struct outcome){.code = OUTCOME_CANCELLED};
        return err_set(err, HF_RC_AGAIN, "57014", "interrupted while %s", what);
    }
    conn->outcome = (struct outcome){.code = OUTCOME_TIMEOUT};
    err_set(err, HF_RC_AGAIN, "57014", "timeout expired while %s", what);
    return err_hint(err,
                    "Nothing has answered there in time: check the server, the network and the "
                    "firewall.");
}

enum hf_rc conn_open(struct conn *conn, const struct conn_param *params, int64_t deadline_ns,
                     int interrupt_fd, struct hf_err *err)
{
    struct hf_err own;
    struct hf_err *told = err != NULL ? err : &own;
    enum conn_step step = conn_start(conn, params, deadline_ns, told);
    conn->interrupt_fd = interrupt_fd;
    while (step == CONN_WAITS) {
        short ready;
        if (wait_for(conn, deadline_ns, &ready) == INTERRUPTED)
            return give_up(conn, INTERRUPTED, "connecting", told);
        step = conn_connect(conn, clock_now(), told);
    }
    return step == CONN_DONE ? HF_OK : told->rc;
}

/* Sends what is queued and waits until a result can be taken. A connection that breaks is ready
 * too: PQgetResult will say how. */
static enum readiness await_result(struct conn *conn, int64_t deadline_ns)
{
    short ready = 0;
    struct hf_err unused;
    while (conn_pump(conn, ready, &unused) == CONN_WAITS) {
        const enum readiness how = wait_for(conn, deadline_ns, &ready);
        if (how != READY)
            return how;
    }
    return READY;
}

enum hf_rc conn_query(struct conn *conn, const char *sql, const char *const *values,
                      int64_t deadline_ns, PGresult **rows, struct hf_err *err)
{
    int count = 0;
    while (values != NULL && values[count] != NULL)
        count++;
    *rows = NULL;
    hf_assert(conn_is_open(conn));
    if (PQsendQueryParams(conn->pg, sql, count, NULL, values, NULL, NULL, 0) == 0) {
        enum hf_rc rc = conn_fail_text(err, HF_RC_PEER, PQerrorMessage(conn->pg));
        conn_close(conn);
        conn->outcome = (struct outcome){.code = OUTCOME_CONN_LOST};
        return rc;
    }
    /* With the extended protocol there is one result and then NULL; a broken connection adds
     * another that says so. */
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
        *rows = conn_keep_result(*rows, next);
    }
    conn->outcome = conn_result_outcome(*rows, NULL);
    if (conn->outcome.code == OUTCOME_SUCCESS)
        return HF_OK;
    enum hf_rc rc = conn_result_error(conn, *rows, err);
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
