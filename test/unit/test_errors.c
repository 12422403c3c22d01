/*
 * struct hf_error from everything that can fail: each code is reachable, and what is told is what
 * happened.
 */
#include "unit.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/ns.h"
#include "client/errors.h"
#include "holdfast.h"

static struct hf_error error;

/* ---- names and text ---- */

static void errors__every_code_has_its_name(void **state)
{
    (void)state;
    assert_string_equal(hf_code_name(HF_SUCCESS), "HF_SUCCESS");
    assert_string_equal(hf_code_name(HF_E_BUSY), "HF_E_BUSY");
    assert_string_equal(hf_code_name(HF_E_CLOSED), "HF_E_CLOSED");
    assert_string_equal(hf_code_name(HF_E_CLOSED + 1), "HF_E_?");
    assert_string_equal(hf_code_name(-1), "HF_E_?");
}

static void errors__the_text_is_one_line_with_where_and_how_often(void **state)
{
    (void)state;
    char text[200], small[12];
    assert_string_equal(hf_error_text(NULL, text, sizeof text), "no error");
    error_set(&error, HF_E_BUSY, "too many calls");
    assert_string_equal(hf_error_text(&error, text, sizeof text), "SQLSTATE 53300: too many calls");
    error.attempts = 3;
    assert_string_equal(hf_error_text(&error, text, sizeof text),
                        "SQLSTATE 53300: too many calls (attempt 3)");
    snprintf(error.endpoint, sizeof error.endpoint, "%s", "db2:5432");
    assert_string_equal(hf_error_text(&error, text, sizeof text),
                        "SQLSTATE 53300: too many calls (attempt 3, db2:5432)");
    assert_string_equal(hf_error_text(&error, small, sizeof small), "SQLSTATE 53");
    error.sqlstate[0] = '\0';
    error.attempts = 0;
    assert_string_equal(hf_error_text(&error, text, sizeof text), "HF_E_BUSY: too many calls");
    assert_string_equal(hf_error_text(&error, NULL, 0), "");
}

static void errors__each_code_has_a_sqlstate_and_says_whether_to_repeat(void **state)
{
    (void)state;
    const struct {
        int code;
        const char *sqlstate;
        bool may_repeat;
    } rows[] = {
        {HF_E_USAGE, "22023", false},     {HF_E_CONFIG, "F0000", false},
        {HF_E_MEMORY, "53200", true},     {HF_E_SERVER, "XX000", false},
        {HF_E_CONNECT, "08001", true},    {HF_E_LOST, "08006", true},
        {HF_E_PROTOCOL, "08P01", false},  {HF_E_OPEN, "57P03", true},
        {HF_E_BUSY, "53300", true},       {HF_E_NOBODY, "57P03", true},
        {HF_E_LEVEL, "57P03", true},      {HF_E_DEADLINE, "57014", true},
        {HF_E_CANCELLED, "57014", false}, {HF_E_UNKNOWN, "08007", false},
        {HF_E_CALLBACK, "40000", false},  {HF_E_FORKED, "55000", false},
        {HF_E_CLOSED, "08003", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memset(&error, 0xff, sizeof error);
        assert_int_equal(error_set(&error, rows[i].code, "number %zu", i), rows[i].code);
        assert_int_equal(error.code, rows[i].code);
        assert_string_equal(error.sqlstate, rows[i].sqlstate);
        assert_int_equal(error.may_repeat, rows[i].may_repeat);
        assert_int_equal(error.attempts, 0);
        assert_string_equal(error.endpoint, "");
        assert_string_equal(error.detail, "");
        assert_int_equal(error.position, 0);
    }
}

static void errors__nobody_need_want_the_words(void **state)
{
    (void)state;
    const struct hf_err from = {.rc = HF_RC_AGAIN};
    const struct guard_reason reason = {.why = GUARD_WHY_LEVEL};
    error_clear(NULL);
    assert_int_equal(error_set(NULL, HF_E_USAGE, "x"), HF_E_USAGE);
    error_detail(NULL, "x");
    error_hint(NULL, "x");
    assert_int_equal(error_from_err(NULL, HF_E_CONFIG, &from), HF_E_CONFIG);
    assert_int_equal(error_from_result(NULL, NULL), HF_E_SERVER);
    assert_int_equal(error_from_guard(NULL, GUARD_REFUSED, &reason, NULL, NULL), HF_E_LEVEL);
}

static void errors__control_characters_reach_no_log(void **state)
{
    (void)state;
    char out[16];
    error_scrub(out, sizeof out, "a\r\nb\tc\x1b[0m\x7f \n");
    assert_string_equal(out, "a b c [0m");
    error_scrub(out, sizeof out, "\n\n caf\xc3\xa9");
    assert_string_equal(out, " caf\xc3\xa9");
    error_scrub(out, 4, "abcdef");
    assert_string_equal(out, "abc");
    error_scrub(out, sizeof out, NULL);
    assert_string_equal(out, "");
}

/* ---- from a lower layer ---- */

static void errors__a_lower_layers_words_are_kept(void **state)
{
    (void)state;
    struct hf_err from;
    err_set(&from, HF_RC_PEER, "28P01", "password authentication failed for user \"app\"");
    err_detail(&from, "the detail");
    err_hint(&from, "the hint");
    assert_int_equal(error_from_err(&error, HF_E_CONNECT, &from), HF_E_CONNECT);
    assert_string_equal(error.sqlstate, "28P01");
    assert_string_equal(error.message, "password authentication failed for user \"app\"");
    assert_string_equal(error.detail, "the detail");
    assert_string_equal(error.hint, "the hint");
    err_set(&from, HF_RC_AGAIN, NULL, "no SQLSTATE of its own");
    error_from_err(&error, HF_E_CONNECT, &from);
    assert_string_equal(error.sqlstate, "08001");
    const struct hf_err empty = {0};
    error_from_err(&error, HF_E_MEMORY, &empty);
    assert_string_equal(error.message, "");
    assert_string_equal(error.sqlstate, "53200");
}

/* A result that is no answer of a server has no fields. Those of real answers are tested against
 * real servers: libpq offers no way to make one. */
static void errors__a_result_without_fields_is_a_lost_connection(void **state)
{
    (void)state;
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_FATAL_ERROR);
    assert_int_equal(error_from_result(&error, result), HF_E_LOST);
    assert_string_equal(error.sqlstate, "08006");
    PQclear(result);
}

/* ---- from the guard ---- */

static const struct outcome server_error = {.code = OUTCOME_SQLSTATE};

static void errors__each_reason_has_its_code(void **state)
{
    (void)state;
    const struct {
        enum guard_result result;
        enum guard_why why;
        enum outcome_code outcome;
        enum outcome_may may;
        uint32_t attempts;
        int code;
        bool may_repeat;
    } rows[] = {
        {GUARD_REFUSED, GUARD_WHY_BREAKER_OPEN, OUTCOME_BREAKER_OPEN, 0, 0, HF_E_OPEN, true},
        {GUARD_REFUSED, GUARD_WHY_BULKHEAD_FULL, OUTCOME_BULKHEAD_FULL, 0, 0, HF_E_BUSY, true},
        {GUARD_REFUSED, GUARD_WHY_QUEUE_TIMEOUT, OUTCOME_QUEUE_TIMEOUT, 0, 0, HF_E_BUSY, true},
        {GUARD_REFUSED, GUARD_WHY_NO_ENDPOINT, OUTCOME_NO_ENDPOINT, 0, 0, HF_E_NOBODY, true},
        {GUARD_REFUSED, GUARD_WHY_HOLD_FULL, OUTCOME_NO_ENDPOINT, 0, 0, HF_E_NOBODY, true},
        {GUARD_REFUSED, GUARD_WHY_LEVEL, OUTCOME_DEGRADED, 0, 0, HF_E_LEVEL, true},
        {GUARD_REFUSED, GUARD_WHY_DEADLINE, OUTCOME_DEADLINE, 0, 0, HF_E_DEADLINE, true},
        {GUARD_FAILED, GUARD_WHY_DEADLINE, OUTCOME_TIMEOUT, 0, 1, HF_E_DEADLINE, true},
        {GUARD_UNKNOWN, GUARD_WHY_DEADLINE, OUTCOME_TIMEOUT, 0, 1, HF_E_UNKNOWN, false},
        {GUARD_UNKNOWN, GUARD_WHY_UNRESOLVED, OUTCOME_CONN_LOST, 0, 1, HF_E_UNKNOWN, false},
        {GUARD_FAILED, GUARD_WHY_ABORT_PROVED, OUTCOME_CONN_LOST, 0, 1, HF_E_LOST, true},
        {GUARD_FAILED, GUARD_WHY_CANCELLED, OUTCOME_CANCELLED, 0, 1, HF_E_CANCELLED, false},
        {GUARD_REFUSED, GUARD_WHY_CANCELLED, OUTCOME_CANCELLED, 0, 0, HF_E_CANCELLED, false},
        {GUARD_FAILED, GUARD_WHY_NOT_REPEATABLE, OUTCOME_SQLSTATE, OUTCOME_MAY_NOTHING, 1,
         HF_E_SERVER, false},
        {GUARD_FAILED, GUARD_WHY_RETRY_SPENT, OUTCOME_SQLSTATE, OUTCOME_MAY_TRANSACTION, 3,
         HF_E_SERVER, true},
        {GUARD_FAILED, GUARD_WHY_BUDGET_SPENT, OUTCOME_CONN_LOST, OUTCOME_MAY_ATTEMPT, 1, HF_E_LOST,
         true},
        {GUARD_FAILED, GUARD_WHY_RETRY_SPENT, OUTCOME_CONNECT_REFUSED, OUTCOME_MAY_ATTEMPT, 5,
         HF_E_CONNECT, true},
        {GUARD_FAILED, GUARD_WHY_NOT_REPEATABLE, OUTCOME_PROTOCOL, OUTCOME_MAY_NOTHING, 1,
         HF_E_PROTOCOL, false},
        {GUARD_FAILED, GUARD_WHY_RETRY_SPENT, OUTCOME_TIMEOUT, OUTCOME_MAY_ATTEMPT, 2,
         HF_E_DEADLINE, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct guard_reason reason = {.why = rows[i].why,
                                            .until_ns = HF_NEVER,
                                            .attempts = rows[i].attempts,
                                            .endpoint = GUARD_NO_ENDPOINT,
                                            .outcome = {.code = rows[i].outcome},
                                            .may = rows[i].may};
        int code = error_from_guard(&error, rows[i].result, &reason, NULL, NULL);
        if (code != rows[i].code || error.code != code || error.may_repeat != rows[i].may_repeat)
            fail_msg("%s: %s, may repeat %d", guard_why_name(rows[i].why), hf_code_name(code),
                     error.may_repeat);
        assert_int_equal(error.attempts, rows[i].attempts);
        if (code == HF_E_UNKNOWN)
            assert_string_equal(error.sqlstate, "08007");
    }
}

static void errors__an_outcome_alone_has_a_code(void **state)
{
    (void)state;
    for (int code = 0; code < OUTCOME_CODES; code++) {
        const struct outcome outcome = {.code = (enum outcome_code)code};
        assert_int_equal(error_code_of(outcome) == HF_SUCCESS, code == OUTCOME_SUCCESS);
    }
    assert_int_equal(error_code_of((struct outcome){.code = OUTCOME_WRONG_ROLE}), HF_E_CONNECT);
    assert_int_equal(error_code_of((struct outcome){.code = OUTCOME_NO_ENDPOINT}), HF_E_NOBODY);
    assert_int_equal(error_code_of((struct outcome){.code = OUTCOME_DEGRADED}), HF_E_LEVEL);
    assert_int_equal(error_code_of((struct outcome){.code = OUTCOME_BREAKER_OPEN}), HF_E_OPEN);
    assert_int_equal(error_code_of((struct outcome){.code = OUTCOME_QUEUE_TIMEOUT}), HF_E_BUSY);
    assert_int_equal(error_code_of((struct outcome){.code = OUTCOME_CANCELLED}), HF_E_CANCELLED);
    assert_int_equal(error_code_of((struct outcome){.code = OUTCOME_DEADLINE}), HF_E_DEADLINE);
}

static void errors__the_attempts_own_words_come_first(void **state)
{
    (void)state;
    struct snapshot view;
    snapshot_init(&view);
    snapshot_add(&view, "db1:5432");
    struct outcome outcome = server_error;
    outcome.sqlstate = sqlstate_pack("23505");
    const struct guard_reason reason = {
        .why = GUARD_WHY_NOT_REPEATABLE, .until_ns = HF_NEVER, .attempts = 1, .outcome = outcome};
    struct hf_error last;
    error_set(&last, HF_E_SERVER, "duplicate key value");
    snprintf(last.sqlstate, sizeof last.sqlstate, "%s", "23505");
    snprintf(last.constraint, sizeof last.constraint, "%s", "item_pkey");
    last.position = 7;
    error_detail(&last, "Key (id)=(7) already exists.");
    assert_int_equal(error_from_guard(&error, GUARD_FAILED, &reason, &view, &last), HF_E_SERVER);
    assert_string_equal(error.message, "duplicate key value");
    assert_string_equal(error.sqlstate, "23505");
    assert_string_equal(error.detail, "Key (id)=(7) already exists.");
    assert_string_equal(error.constraint, "item_pkey");
    assert_int_equal(error.position, 7);
    assert_string_equal(error.endpoint, "db1:5432");
    assert_false(error.may_repeat);
    /* The same struct may be both. */
    error_from_guard(&last, GUARD_FAILED, &reason, &view, &last);
    assert_memory_equal(&last, &error, sizeof error);
}

static void errors__a_refusal_after_failures_tells_the_last_one_in_its_detail(void **state)
{
    (void)state;
    const struct guard_reason reason = {.why = GUARD_WHY_DEADLINE,
                                        .until_ns = HF_NEVER,
                                        .attempts = 4,
                                        .outcome = {.code = OUTCOME_TIMEOUT}};
    struct hf_error last;
    error_set(&last, HF_E_CONNECT, "connection refused");
    assert_int_equal(error_from_guard(&error, GUARD_FAILED, &reason, NULL, &last), HF_E_DEADLINE);
    assert_string_equal(error.message, "the deadline of the call has passed");
    assert_non_null(strstr(error.detail, "attempts: 4"));
    assert_non_null(strstr(error.detail, "Last error: connection refused"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors__every_code_has_its_name),
        cmocka_unit_test(errors__the_text_is_one_line_with_where_and_how_often),
        cmocka_unit_test(errors__each_code_has_a_sqlstate_and_says_whether_to_repeat),
        cmocka_unit_test(errors__nobody_need_want_the_words),
        cmocka_unit_test(errors__control_characters_reach_no_log),
        cmocka_unit_test(errors__a_lower_layers_words_are_kept),
        cmocka_unit_test(errors__a_result_without_fields_is_a_lost_connection),
        cmocka_unit_test(errors__each_reason_has_its_code),
        cmocka_unit_test(errors__an_outcome_alone_has_a_code),
        cmocka_unit_test(errors__the_attempts_own_words_come_first),
        cmocka_unit_test(errors__a_refusal_after_failures_tells_the_last_one_in_its_detail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
