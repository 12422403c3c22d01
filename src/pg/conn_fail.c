/*
 * Why a connection or a statement failed: libpq's words turned into an hf_err for people and an
 * outcome for the guard.
 *
 * Of a failed connect libpq keeps nothing but text. Three things in it do not depend on anybody's
 * language. With verbosity PQERRORS_VERBOSE the server's SQLSTATE stands after the severity, always
 * as ":  28P01: ". What the system said is strerror()'s text, which can be asked for again. And how
 * far the connecting had come is told by PQstatus(). What is left over is taken for a lost
 * connection.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "base/sv.h"
#include "pg/conn_int.h"

#define TEXT_SIZE 2048

/* ---- for people ---- */

/* What people can do about the failures they meet when connecting. libpq gives only words for them,
 * and those of a server that speaks English; elsewhere there is no hint. The first row that is
 * found counts. */
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
enum hf_rc conn_fail_text(struct hf_err *err, enum hf_rc rc, const char *text)
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
    if (err != NULL)
        advise(err, text);
    return rc;
}

/* ---- the text of a failed connect ---- */

static bool is_code(const char *text)
{
    for (int i = 0; i < 5; i++)
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'A' && text[i] <= 'Z')))
            return false;
    return text[5] == ':' && text[6] == ' ';
}

/* "LOCATION:  auth_failed, auth.c:333", which the verbose form adds; the first word is translated,
 * the rest is not. */
static bool is_location(const char *line, size_t size)
{
    size_t digits = 0;
    while (digits < size && line[size - 1 - digits] >= '0' && line[size - 1 - digits] <= '9')
        digits++;
    return digits > 0 && size > digits + 3 && memcmp(line + size - digits - 3, ".c:", 3) == 0;
}

/* Copies libpq's text without what only the verbose form has; returns the last SQLSTATE that stood
 * in it, 0 if none. Several, where several hosts were tried. */
static uint32_t take_code(const char *text, char out[TEXT_SIZE])
{
    uint32_t sqlstate = 0;
    size_t used = 0;
    while (*text != '\0' && used < TEXT_SIZE - 1) {
        const char *end = strchrnul(text, '\n');
        if (is_location(text, (size_t)(end - text))) {
            text = *end == '\n' ? end + 1 : end;
            continue;
        }
        for (; text <= end && *text != '\0' && used < TEXT_SIZE - 1; text++) {
            if (used >= 3 && memcmp(out + used - 3, ":  ", 3) == 0 && is_code(text)) {
                char code[6] = {0};
                memcpy(code, text, 5);
                sqlstate = sqlstate_pack(code);
                text += 7;
            }
            out[used++] = *text;
        }
    }
    out[used] = '\0';
    return sqlstate;
}

/* ---- for the guard ---- */

static bool says_errno(const char *text, const int *numbers, size_t count)
{
    char words[128];
    for (size_t i = 0; i < count; i++) {
        /* The GNU form: it may answer with a string of its own. */
        const char *said = strerror_r(numbers[i], words, sizeof words);
        if (strstr(text, said) != NULL)
            return true;
    }
    return false;
}

static bool says_no_name(const char *text)
{
    static const int numbers[] = {EAI_NONAME, EAI_AGAIN, EAI_FAIL, EAI_NODATA, EAI_SYSTEM};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (strstr(text, gai_strerror(numbers[i])) != NULL)
            return true;
    return false;
}

#define SAYS(text, ...)                                                                            \
    says_errno(text, (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

static enum outcome_code classify(const struct conn *conn, const char *text)
{
    if (conn->phase == CONNECTION_SSL_STARTUP) {
        const bool is_cut =
            SAYS(text, ECONNRESET, EPIPE, ETIMEDOUT) || strstr(text, "EOF detected") != NULL;
        return is_cut ? OUTCOME_CONN_LOST : OUTCOME_TLS_FAILED;
    }
    if (conn->phase == CONNECTION_CHECK_WRITABLE || conn->phase == CONNECTION_CHECK_STANDBY ||
        conn->phase == CONNECTION_CHECK_TARGET)
        return OUTCOME_WRONG_ROLE;
    if (SAYS(text, ECONNREFUSED, ENOENT))
        return OUTCOME_CONNECT_REFUSED;
    if (SAYS(text, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN, EADDRNOTAVAIL))
        return OUTCOME_UNREACHABLE;
    if (SAYS(text, ETIMEDOUT))
        return OUTCOME_CONNECT_TIMEOUT;
    if (says_no_name(text))
        return OUTCOME_RESOLVE_FAILED;
    return OUTCOME_CONN_LOST;
}

void conn_fail_connecting(struct conn *conn, struct hf_err *err)
{
    char text[TEXT_SIZE];
    uint32_t sqlstate = take_code(PQerrorMessage(conn->pg), text);
    /* libpq itself gives up where a password is asked for and there is none. */
    if (sqlstate == 0 && PQconnectionNeedsPassword(conn->pg))
        sqlstate = sqlstate_pack("28P01");
    conn_fail_text(err, HF_RC_PEER, text);
    conn->outcome = (struct outcome){.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate};
    if (sqlstate == 0)
        conn->outcome.code = classify(conn, text);
    else if (err != NULL)
        sqlstate_unpack(sqlstate, err->sqlstate);
    conn_close(conn);
}

/* ---- how a statement ended ---- */

static const char *field(const PGresult *result, int code)
{
    const char *text = PQresultErrorField(result, code);
    return text != NULL ? text : "";
}

static bool is_error(const PGresult *result)
{
    const ExecStatusType status = PQresultStatus(result);
    return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE;
}

PGresult *conn_keep_result(PGresult *kept, PGresult *next)
{
    if (kept != NULL && conn_result_outcome(kept, NULL).code == OUTCOME_SQLSTATE) {
        PQclear(next);
        return kept;
    }
    PQclear(kept);
    return next;
}

struct outcome conn_result_outcome(const PGresult *result, struct outcome_facts *facts)
{
    if (result != NULL && !is_error(result))
        return (struct outcome){.code = OUTCOME_SUCCESS};
    if (result != NULL && PQresultStatus(result) == PGRES_BAD_RESPONSE)
        return (struct outcome){.code = OUTCOME_PROTOCOL};
    /* The server sends severity and SQLSTATE; what libpq reports itself has neither. */
    const char *severity = result != NULL ? field(result, PG_DIAG_SEVERITY_NONLOCALIZED) : "";
    const uint32_t sqlstate = result != NULL ? sqlstate_pack(field(result, PG_DIAG_SQLSTATE)) : 0;
    if (severity[0] == '\0' || sqlstate == 0)
        return (struct outcome){.code = OUTCOME_CONN_LOST};
    if (facts != NULL)
        facts->is_fatal = strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0;
    return (struct outcome){.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate};
}

enum hf_rc conn_result_error(const struct conn *conn, const PGresult *result, struct hf_err *err)
{
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    if (message == NULL) {
        const char *text = PQresultErrorMessage(result);
        return conn_fail_text(err, HF_RC_PEER, text[0] != '\0' ? text : PQerrorMessage(conn->pg));
    }
    err_set(err, HF_RC_PEER, PQresultErrorField(result, PG_DIAG_SQLSTATE), "%s", message);
    if (detail != NULL)
        err_detail(err, "%s", detail);
    if (hint != NULL)
        err_hint(err, "%s", hint);
    return HF_RC_PEER;
}

bool conn_result_is_stale_statement(const PGresult *result)
{
    if (result == NULL)
        return false;
    const char *sqlstate = field(result, PG_DIAG_SQLSTATE);
    return strcmp(sqlstate, "26000") == 0 ||
           (strcmp(sqlstate, "0A000") == 0 &&
            strcmp(field(result, PG_DIAG_SOURCE_FUNCTION), "RevalidateCachedQuery") == 0);
}
