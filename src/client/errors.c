/*
 * One table says for each code which SQLSTATE it has where nobody else brought one, and whether a
 * repetition can help. What the guard decided goes through a second table, from its reason to the
 * code; where the reason is only that no retry is left, the outcome of the last attempt decides.
 */
#include "client/errors.h"

#include <libpq-fe.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"

/* What follows from a code alone. */
struct code_row {
    int code; /* its own index, for the check in row_of() */
    const char *name;
    const char *sqlstate;
    bool may_repeat; /* of a failure of our own: nothing took effect, and the reason may pass */
};

static const struct code_row codes[] = {
    {HF_SUCCESS, "HF_SUCCESS", "00000", false},
    {HF_E_USAGE, "HF_E_USAGE", "22023", false},
    {HF_E_CONFIG, "HF_E_CONFIG", "F0000", false},
    {HF_E_MEMORY, "HF_E_MEMORY", "53200", true},
    {HF_E_SERVER, "HF_E_SERVER", "XX000", false},
    {HF_E_CONNECT, "HF_E_CONNECT", "08001", true},
    {HF_E_LOST, "HF_E_LOST", "08006", true},
    {HF_E_PROTOCOL, "HF_E_PROTOCOL", "08P01", false},
    {HF_E_OPEN, "HF_E_OPEN", "57P03", true},
    {HF_E_BUSY, "HF_E_BUSY", "53300", true},
    {HF_E_NOBODY, "HF_E_NOBODY", "57P03", true},
    {HF_E_LEVEL, "HF_E_LEVEL", "57P03", true},
    {HF_E_DEADLINE, "HF_E_DEADLINE", "57014", true},
    {HF_E_CANCELLED, "HF_E_CANCELLED", "57014", false},
    {HF_E_UNKNOWN, "HF_E_UNKNOWN", "08007", false},
    {HF_E_CALLBACK, "HF_E_CALLBACK", "40000", false},
    {HF_E_FORKED, "HF_E_FORKED", "55000", false},
    {HF_E_CLOSED, "HF_E_CLOSED", "08003", false},
};

#define CODES (sizeof codes / sizeof codes[0])

static const struct code_row *row_of(int code)
{
    hf_assert(code >= 0 && (size_t)code < CODES && codes[code].code == code);
    return &codes[code];
}

const char *hf_code_name(int code)
{
    return code >= 0 && (size_t)code < CODES ? row_of(code)->name : "HF_E_?";
}

const char *hf_error_text(const struct hf_error *err, char *text, size_t size)
{
    if (text == NULL || size == 0)
        return "";
    if (err == NULL || err->code == HF_SUCCESS) {
        snprintf(text, size, "no error");
        return text;
    }
    char where[sizeof err->endpoint + 40] = "";
    if (err->attempts > 0 && err->endpoint[0] != '\0')
        snprintf(where, sizeof where, " (attempt %u, %s)", err->attempts, err->endpoint);
    else if (err->attempts > 0)
        snprintf(where, sizeof where, " (attempt %u)", err->attempts);
    snprintf(text, size, "%s%s: %s%s", err->sqlstate[0] != '\0' ? "SQLSTATE " : "",
             err->sqlstate[0] != '\0' ? err->sqlstate : hf_code_name(err->code), err->message,
             where);
    return text;
}

/* ---- text ---- */

void error_scrub(char *out, size_t size, const char *text)
{
    size_t used = 0;
    hf_assert(size > 0);
    for (const char *at = text != NULL ? text : ""; *at != '\0' && used + 1 < size; at++) {
        const unsigned char c = (unsigned char)*at;
        /* libpq's messages end in a line break, and a message is one line. Bytes from 128 up are
         * letters of some encoding. */
        const bool is_text = c >= 0x20 && c != 0x7f;
        if (is_text || (used > 0 && out[used - 1] != ' '))
            out[used++] = is_text ? *at : ' ';
    }
    while (used > 0 && out[used - 1] == ' ')
        used--;
    out[used] = '\0';
}

static void set_sqlstate(struct hf_error *err, const char *sqlstate)
{
    snprintf(err->sqlstate, sizeof err->sqlstate, "%s", sqlstate);
}

/* A formatted text, scrubbed. */
static void HF_PRINTF(3, 0) set_text(char *out, size_t size, const char *format, va_list args)
{
    char raw[512];
    vsnprintf(raw, sizeof raw, format, args);
    error_scrub(out, size, raw);
}

void error_clear(struct hf_error *err)
{
    if (err != NULL)
        memset(err, 0, sizeof *err);
}

/* Everything but the words. */
static void begin(struct hf_error *err, int code)
{
    const struct code_row *row = row_of(code);
    error_clear(err);
    err->code = code;
    err->may_repeat = row->may_repeat;
    set_sqlstate(err, row->sqlstate);
}

int error_set(struct hf_error *err, int code, const char *format, ...)
{
    if (err == NULL)
        return code;
    va_list args;
    begin(err, code);
    va_start(args, format);
    set_text(err->message, sizeof err->message, format, args);
    va_end(args);
    return code;
}

void error_detail(struct hf_error *err, const char *format, ...)
{
    if (err == NULL)
        return;
    va_list args;
    va_start(args, format);
    set_text(err->detail, sizeof err->detail, format, args);
    va_end(args);
}

void error_hint(struct hf_error *err, const char *format, ...)
{
    if (err == NULL)
        return;
    va_list args;
    va_start(args, format);
    set_text(err->hint, sizeof err->hint, format, args);
    va_end(args);
}

int error_from_err(struct hf_error *err, int code, const struct hf_err *from)
{
    if (err == NULL)
        return code;
    begin(err, code);
    if (from->rc == HF_OK)
        return code;
    /* XX000 stands where the lower layer had none: then the code's own says more. */
    if (from->sqlstate[0] != '\0' && strcmp(from->sqlstate, "XX000") != 0)
        set_sqlstate(err, from->sqlstate);
    error_scrub(err->message, sizeof err->message, from->message);
    error_scrub(err->detail, sizeof err->detail, from->detail);
    error_scrub(err->hint, sizeof err->hint, from->hint);
    return code;
}

/* ---- what the server said ---- */

static void copy_field(char *out, size_t size, const PGresult *result, int field)
{
    error_scrub(out, size, PQresultErrorField(result, field));
}

int error_from_result(struct hf_error *err, const struct pg_result *result)
{
    if (err == NULL)
        return HF_E_SERVER;
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
    begin(err, sqlstate != NULL ? HF_E_SERVER : HF_E_LOST);
    if (sqlstate == NULL) {
        /* libpq made it up: the connection is gone, or what came was no protocol. */
        error_scrub(err->message, sizeof err->message, PQresultErrorMessage(result));
        return err->code;
    }
    set_sqlstate(err, sqlstate);
    copy_field(err->message, sizeof err->message, result, PG_DIAG_MESSAGE_PRIMARY);
    copy_field(err->detail, sizeof err->detail, result, PG_DIAG_MESSAGE_DETAIL);
    copy_field(err->hint, sizeof err->hint, result, PG_DIAG_MESSAGE_HINT);
    copy_field(err->constraint, sizeof err->constraint, result, PG_DIAG_CONSTRAINT_NAME);
    err->position = position != NULL ? (int32_t)strtol(position, NULL, 10) : 0;
    return err->code;
}

int error_code_of(struct outcome outcome)
{
    switch (outcome.code) {
    case OUTCOME_SUCCESS:
        return HF_SUCCESS;
    case OUTCOME_SQLSTATE:
        return HF_E_SERVER;
    case OUTCOME_RESOLVE_FAILED:
    case OUTCOME_CONNECT_REFUSED:
    case OUTCOME_UNREACHABLE:
    case OUTCOME_CONNECT_TIMEOUT:
    case OUTCOME_TLS_FAILED:
    case OUTCOME_WRONG_ROLE:
        return HF_E_CONNECT;
    case OUTCOME_SEND_FAILED:
    case OUTCOME_CONN_LOST:
        return HF_E_LOST;
    case OUTCOME_TIMEOUT:
    case OUTCOME_DEADLINE:
        return HF_E_DEADLINE;
    case OUTCOME_CANCELLED:
        return HF_E_CANCELLED;
    case OUTCOME_PROTOCOL:
        return HF_E_PROTOCOL;
    case OUTCOME_BREAKER_OPEN:
        return HF_E_OPEN;
    case OUTCOME_BULKHEAD_FULL:
    case OUTCOME_QUEUE_TIMEOUT:
        return HF_E_BUSY;
    case OUTCOME_DEGRADED:
        return HF_E_LEVEL;
    case OUTCOME_NO_ENDPOINT:
        return HF_E_NOBODY;
    case OUTCOME_CODES:
        break;
    }
    return HF_E_PROTOCOL;
}

/* ---- what the guard decided ---- */

/* The code of a reason; HF_SUCCESS where the outcome of the last attempt decides. */
static int code_of_why(const struct guard_reason *reason)
{
    switch (reason->why) {
    case GUARD_WHY_UNRESOLVED:
        return HF_E_UNKNOWN;
    case GUARD_WHY_ABORT_PROVED:
        return HF_E_LOST;
    case GUARD_WHY_DEADLINE:
    case GUARD_WHY_ATTEMPT_LIMIT:
        return HF_E_DEADLINE;
    case GUARD_WHY_CANCELLED:
        return HF_E_CANCELLED;
    case GUARD_WHY_LEVEL:
        return HF_E_LEVEL;
    case GUARD_WHY_BREAKER_OPEN:
        return HF_E_OPEN;
    case GUARD_WHY_BULKHEAD_FULL:
    case GUARD_WHY_QUEUE_TIMEOUT:
        return HF_E_BUSY;
    case GUARD_WHY_NO_ENDPOINT:
    case GUARD_WHY_HOLD_FULL:
        return HF_E_NOBODY;
    case GUARD_WHY_NONE:
    case GUARD_WHY_ROUTED:
    case GUARD_WHY_QUEUED:
    case GUARD_WHY_HELD:
    case GUARD_WHY_RETRY:
    case GUARD_WHY_RESOLVING:
    case GUARD_WHY_FROM_CACHE:
    case GUARD_WHY_SUCCEEDED:
    case GUARD_WHY_COMMIT_PROVED:
    case GUARD_WHY_NOT_REPEATABLE:
    case GUARD_WHY_RETRY_SPENT:
    case GUARD_WHY_BUDGET_SPENT:
    case GUARD_WHYS:
        break;
    }
    return HF_SUCCESS;
}

static int code_of_call(enum guard_result result, const struct guard_reason *reason)
{
    if (result == GUARD_UNKNOWN)
        return HF_E_UNKNOWN;
    const int why = code_of_why(reason);
    return why != HF_SUCCESS ? why : error_code_of(reason->outcome);
}

/* Nothing took effect, and the reason may pass. */
static bool may_repeat(int code, enum guard_result result, const struct guard_reason *reason)
{
    if (code == HF_E_UNKNOWN || code == HF_E_CANCELLED)
        return false;
    if (result == GUARD_REFUSED || reason->attempts == 0)
        return row_of(code)->may_repeat;
    if (reason->why == GUARD_WHY_ABORT_PROVED || code == HF_E_DEADLINE)
        return true; /* a write that may have taken effect is HF_E_UNKNOWN */
    return reason->may == OUTCOME_MAY_ATTEMPT || reason->may == OUTCOME_MAY_TRANSACTION;
}

/* The attempt's own words go before the guard's: a refusal to repeat is not what went wrong. */
static bool says_more(int code, const struct guard_reason *reason, const struct hf_error *last)
{
    return last != NULL && last->message[0] != '\0' && code_of_why(reason) == HF_SUCCESS &&
           last->code == code;
}

static void tell_attempt(struct hf_error *err, const struct hf_error *last,
                         const struct hf_err *told)
{
    set_sqlstate(err, last->sqlstate);
    memcpy(err->message, last->message, sizeof err->message);
    memcpy(err->constraint, last->constraint, sizeof err->constraint);
    err->position = last->position;
    const char *detail = last->detail[0] != '\0' ? last->detail : told->detail;
    const char *hint = last->hint[0] != '\0' ? last->hint : told->hint;
    error_scrub(err->detail, sizeof err->detail, detail);
    error_scrub(err->hint, sizeof err->hint, hint);
}

int error_from_guard(struct hf_error *err, enum guard_result result,
                     const struct guard_reason *reason, const struct snapshot *view,
                     const struct hf_error *last)
{
    int code = code_of_call(result, reason);
    if (code == HF_E_SERVER && last != NULL && last->code == HF_E_MEMORY)
        code = HF_E_MEMORY; /* our own, which the guard knows by the server's SQLSTATE for it */
    if (err == NULL)
        return code;
    /* The caller may have collected the attempt's error where the answer goes. */
    struct hf_error attempt = {0};
    if (last != NULL)
        attempt = *last;
    struct hf_err told;
    guard_reason_error(reason, view, &told);
    error_from_err(err, code, &told);
    if (code == HF_E_UNKNOWN)
        set_sqlstate(err, row_of(code)->sqlstate);
    if (says_more(code, reason, &attempt))
        tell_attempt(err, &attempt, &told);
    else if (attempt.message[0] != '\0')
        error_detail(err, "%s Last error: %s", told.detail, attempt.message);
    err->attempts = reason->attempts;
    err->may_repeat = may_repeat(code, result, reason);
    if (view != NULL && reason->endpoint < view->count && reason->attempts > 0)
        snprintf(err->endpoint, sizeof err->endpoint, "%s", view->endpoints[reason->endpoint].name);
    return code;
}
