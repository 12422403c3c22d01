#include "unit.h"

#include <string.h>

#include "core/commit.h"

static void commit_reason__every_name_is_there_and_is_one(void **state)
{
    (void)state;
    for (int i = 0; i < COMMIT_WHYS; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(commit_why_name((enum commit_why)i),
                                    commit_why_name((enum commit_why)j));
    for (int i = 1; i <= COMMIT_OVER; i++)
        assert_string_not_equal(commit_state_name((enum commit_state)i), commit_state_name(0));
    for (int i = 1; i < COMMIT_QUERIES; i++)
        assert_string_not_equal(commit_query_name((enum commit_query)i), commit_query_name(0));
}

static void commit_reason__an_unknown_outcome_is_told_as_one(void **state)
{
    (void)state;
    struct commit_reason reason = {.resolution = GUARD_UNRESOLVED,
                                   .why = COMMIT_WHY_STILL_RUNNING,
                                   .endpoint = 1,
                                   .timeline = 4,
                                   .queries = 12,
                                   .searched_ns = HF_MS(2500) + 77};
    struct snapshot view;
    struct hf_err err;
    snapshot_init(&view);
    snapshot_add(&view, "db1");
    snapshot_add(&view, "db2");
    commit_reason_error(&reason, &view, &err);
    assert_string_equal(err.sqlstate, "08007");
    assert_string_equal(err.message, "could not find out whether the transaction was committed: "
                                     "its backend still has the transaction open");
    assert_string_equal(err.detail, "searched: 2500ms; questions: 12; asked last: \"db2\"; its "
                                    "timeline: 4.");
    assert_true(strlen(err.hint) > 0);
    commit_reason_error(&reason, NULL, &err);
    assert_non_null(strstr(err.detail, "asked last: endpoint 1;"));
}

static void commit_reason__each_resolution_has_its_sqlstate(void **state)
{
    (void)state;
    struct commit_reason reason = {.why = COMMIT_WHY_CUT_OFF, .endpoint = GUARD_NO_ENDPOINT};
    struct hf_err err;
    reason.resolution = GUARD_ABORTED;
    commit_reason_error(&reason, NULL, &err);
    assert_string_equal(err.sqlstate, "40000");
    assert_int_equal(err.rc, HF_RC_AGAIN);
    assert_non_null(strstr(err.detail, "asked last: nobody;"));
    reason.resolution = GUARD_COMMITTED;
    reason.why = COMMIT_WHY_RECORDED;
    commit_reason_error(&reason, NULL, &err);
    assert_string_equal(err.sqlstate, "00000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commit_reason__every_name_is_there_and_is_one),
        cmocka_unit_test(commit_reason__an_unknown_outcome_is_told_as_one),
        cmocka_unit_test(commit_reason__each_resolution_has_its_sqlstate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
