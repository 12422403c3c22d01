#include "unit.h"

#include <string.h>

#include "base/ns.h"
#include "core/guard.h"

static struct hf_err told(struct guard_reason reason, const struct snapshot *view)
{
    struct hf_err err;
    if (reason.until_ns == 0)
        reason.until_ns = HF_NEVER;
    guard_reason_error(&reason, view, &err);
    return err;
}

static struct outcome sqlstate(const char *code)
{
    return (struct outcome){.code = OUTCOME_SQLSTATE, .sqlstate = sqlstate_pack(code)};
}

static void guard_reason__each_is_told_in_words_with_a_sqlstate(void **state)
{
    (void)state;
    for (int why = GUARD_WHY_NONE; why < GUARD_WHYS; why++) {
        struct hf_err err = told(
            (struct guard_reason){.why = (enum guard_why)why, .outcome = sqlstate("57P01")}, NULL);
        assert_int_equal(strlen(err.sqlstate), 5);
        assert_true(strlen(err.message) > 5);
        assert_true(err.message[strlen(err.message) - 1] != '.');
        assert_null(strchr(err.message, '%'));
        assert_true(strlen(err.detail) > 5);
        assert_true(strlen(guard_why_name((enum guard_why)why)) > 3);
    }
}

static void guard_reason__names_the_endpoint_that_is_meant(void **state)
{
    (void)state;
    struct snapshot view;
    snapshot_init(&view);
    snapshot_add(&view, "db1");
    struct guard_reason reason = {.why = GUARD_WHY_BULKHEAD_FULL,
                                  .outcome = {.code = OUTCOME_BULKHEAD_FULL}};
    struct hf_err err = told(reason, &view);
    assert_string_equal(err.message, "too many calls are running and waiting on \"db1\"");
    assert_string_equal(err.sqlstate, "53300");
    assert_true(strlen(err.hint) > 10);
    reason.endpoint = GUARD_NO_ENDPOINT;
    assert_non_null(strstr(told(reason, &view).message, "the endpoint"));
}

static void guard_reason__an_unknown_commit_is_08007_and_a_proved_abort_is_retryable(void **state)
{
    (void)state;
    struct outcome lost = {.code = OUTCOME_CONN_LOST};
    struct hf_err err =
        told((struct guard_reason){.why = GUARD_WHY_UNRESOLVED, .outcome = lost}, NULL);
    assert_string_equal(err.sqlstate, "08007");
    err = told((struct guard_reason){.why = GUARD_WHY_ABORT_PROVED, .outcome = lost}, NULL);
    assert_string_equal(err.sqlstate, "40000");
}

static void guard_reason__the_detail_has_the_numbers(void **state)
{
    (void)state;
    struct guard_reason reason = {
        .why = GUARD_WHY_RETRY,
        .attempts = 3,
        .waited_ns = HF_MS(1250),
        .at_ns = HF_SEC(5),
        .until_ns = HF_SEC(5) + HF_MS(83) + 4711,
        .outcome = sqlstate("40001"),
    };
    struct hf_err err = told(reason, NULL);
    assert_string_equal(err.sqlstate, "40001");
    assert_string_equal(err.message, "trying again after SQLSTATE 40001");
    assert_non_null(strstr(err.detail, "attempts: 3"));
    assert_non_null(strstr(err.detail, "waited: 1250ms"));
    assert_non_null(strstr(err.detail, "next in 83ms"));
}

static void guard_reason__states_have_names(void **state)
{
    (void)state;
    for (int i = GUARD_IDLE; i <= GUARD_OVER; i++)
        assert_true(strlen(guard_state_name((enum guard_state)i)) > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guard_reason__each_is_told_in_words_with_a_sqlstate),
        cmocka_unit_test(guard_reason__names_the_endpoint_that_is_meant),
        cmocka_unit_test(guard_reason__an_unknown_commit_is_08007_and_a_proved_abort_is_retryable),
        cmocka_unit_test(guard_reason__the_detail_has_the_numbers),
        cmocka_unit_test(guard_reason__states_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
