#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/sv.h"
#include "core/commit.h"
#include "dies.h"

#define V15 150004
#define V12 120011

static const char *const probe_row[COMMIT_PROBE_COLUMNS] = {
    "4294967999", "1/944AB8", "t", "0000000200000001000000A0", "0/3000148", "1795282619915390"};

/* ---- the probe ---- */

static void commit_text__each_server_gets_a_probe_in_its_own_words(void **state)
{
    (void)state;
    assert_non_null(strstr(commit_probe_sql(V15, COMMIT_MARK_AUTO), "pg_current_xact_id_if_"));
    assert_non_null(strstr(commit_probe_sql(V12, COMMIT_MARK_AUTO), "txid_current_if_assigned"));
    assert_non_null(strstr(commit_probe_sql(130000, COMMIT_MARK_AUTO), "pg_current_xact_id_if_"));
    assert_non_null(commit_probe_sql(COMMIT_SERVER_MIN, COMMIT_MARK_AUTO));
    assert_null(commit_probe_sql(90624, COMMIT_MARK_AUTO));
    assert_non_null(strstr(commit_probe_check_sql(V15), "pg_current_xact_id_if_assigned"));
    assert_non_null(strstr(commit_probe_check_sql(V12), "txid_current_if_assigned"));
    assert_null(commit_probe_check_sql(90624));
}

static void ask_for_another_mark(void *unused)
{
    (void)unused;
    (void)commit_probe_sql(V15, (enum commit_mark)3);
}

static void commit_text__the_mark_is_left_where_it_may_be(void **state)
{
    (void)state;
    const char *automatic = commit_probe_sql(V15, COMMIT_MARK_AUTO);
    assert_non_null(strstr(automatic, "pg_logical_emit_message"));
    assert_non_null(strstr(automatic, "wal_level"));
    const char *always = commit_probe_sql(V15, COMMIT_MARK_ALWAYS);
    assert_non_null(strstr(always, "pg_logical_emit_message"));
    assert_null(strstr(always, "wal_level"));
    assert_null(strstr(commit_probe_sql(V15, COMMIT_MARK_NEVER), "pg_logical_emit_message"));
    assert_true(dies(ask_for_another_mark, NULL));
}

static void commit_text__a_probe_is_read(void **state)
{
    (void)state;
    struct commit_probe probe;
    assert_int_equal(commit_probe_read(&probe, probe_row, NULL), HF_OK);
    assert_int_equal(probe.xid, UINT64_C(4294967999));
    assert_int_equal(probe.lsn, UINT64_C(0x100944AB8));
    assert_true(probe.is_marked);
    assert_int_equal(probe.at.timeline, 2);
    assert_int_equal(probe.at.recovered_lsn, 0x3000148);
    assert_int_equal(probe.at.started_us, INT64_C(1795282619915390));
}

static void commit_text__a_transaction_without_an_id_needs_no_more(void **state)
{
    (void)state;
    const char *const row[COMMIT_PROBE_COLUMNS] = {NULL, NULL, "f", NULL, NULL, "12"};
    struct commit_probe probe;
    memset(&probe, 0x5a, sizeof probe);
    assert_int_equal(commit_probe_read(&probe, row, NULL), HF_OK);
    assert_int_equal(probe.xid, 0);
    assert_int_equal(probe.at.timeline, 0);
}

static void commit_text__a_row_that_is_no_probe_is_refused(void **state)
{
    (void)state;
    static const struct {
        int column;
        const char *value;
    } cases[] = {
        {0, "x"},
        {0, "0"},
        {0, "-1"},
        {1, NULL},
        {1, "0/0"},
        {1, "1"},
        {1, "/"},
        {1, "1/"},
        {1, "g/1"},
        {1, "123456789/1"},
        {2, NULL},
        {2, "true"},
        {3, NULL},
        {3, "00000002"},
        {3, "0000000000000001000000A0"},
        {3, "0000000x00000001000000A0"},
        {4, "nothing"},
        {5, NULL},
        {5, "0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *row[COMMIT_PROBE_COLUMNS];
        memcpy(row, probe_row, sizeof row);
        row[cases[i].column] = cases[i].value;
        struct commit_probe probe;
        struct hf_err err;
        assert_int_equal(commit_probe_read(&probe, row, &err), HF_RC_PEER);
        assert_string_equal(err.sqlstate, "08P01");
        assert_int_equal(probe.xid, 0);
    }
}

/* ---- the status ---- */

static const char *const status_row[COMMIT_COLUMNS_MAX] = {
    "f", "00000003000000010000000a", NULL, "7", "7710680136496193089", "t", "committed"};

static void commit_text__an_answer_is_read(void **state)
{
    (void)state;
    struct commit_answer answer;
    assert_true(commit_answer_read(&answer, status_row));
    assert_false(answer.is_in_recovery);
    assert_true(answer.is_synchronous);
    assert_int_equal(answer.system_id, UINT64_C(7710680136496193089));
    assert_int_equal(answer.at.timeline, 3);
    assert_int_equal(answer.at.recovered_lsn, 0);
    assert_int_equal(answer.at.started_us, 7);
    assert_int_equal(answer.status, COMMIT_STATUS_COMMITTED);
}

static void commit_text__each_status_has_its_word(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        enum commit_status status;
    } cases[] = {
        {"committed", COMMIT_STATUS_COMMITTED}, {"aborted", COMMIT_STATUS_ABORTED},
        {"in progress", COMMIT_STATUS_RUNNING}, {"future", COMMIT_STATUS_FUTURE},
        {NULL, COMMIT_STATUS_EXPIRED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *row[COMMIT_COLUMNS_MAX];
        struct commit_answer answer;
        memcpy(row, status_row, sizeof row);
        row[6] = cases[i].word;
        assert_true(commit_answer_read(&answer, row));
        assert_int_equal(answer.status, cases[i].status);
    }
}

static void commit_text__of_a_standby_only_its_cluster_is_asked(void **state)
{
    (void)state;
    const char *const row[COMMIT_COLUMNS_MAX] = {"t", NULL, "0/5", "7", "-5", "f", NULL};
    struct commit_answer answer;
    assert_true(commit_answer_read(&answer, row));
    assert_true(answer.is_in_recovery);
    assert_int_equal(answer.system_id, (uint64_t)INT64_C(-5));
    assert_int_equal(answer.at.timeline, 0);
}

static void commit_text__a_row_that_is_no_answer_is_refused(void **state)
{
    (void)state;
    static const struct {
        int column;
        const char *value;
    } cases[] = {
        {0, NULL},    {0, "x"},  {1, NULL}, {1, "3"},  {2, "x"},   {3, NULL},
        {3, "never"}, {4, NULL}, {4, "x"},  {5, NULL}, {5, "yes"}, {6, "maybe"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *row[COMMIT_COLUMNS_MAX];
        struct commit_answer answer;
        memcpy(row, status_row, sizeof row);
        row[cases[i].column] = cases[i].value;
        assert_false(commit_answer_read(&answer, row));
    }
}

/* ---- histories ---- */

static enum hf_rc read_history(struct commit_history *history, uint32_t timeline, const char *text)
{
    return commit_history_read(history, timeline, sv_from_cstr(text), NULL);
}

static void commit_text__a_history_is_read(void **state)
{
    (void)state;
    struct commit_history history;
    assert_int_equal(read_history(&history, 4,
                                  "# by hand\n"
                                  "1\t0/A000110\tno recovery target specified\n"
                                  "\n"
                                  "  3\t1/0\tbefore transaction 7\r\n"),
                     HF_OK);
    assert_true(history.is_whole);
    assert_int_equal(history.timeline, 4);
    assert_int_equal(history.count, 2);
    assert_int_equal(history.switches[0].timeline, 1);
    assert_int_equal(history.switches[0].lsn, 0xA000110);
    assert_int_equal(history.switches[1].timeline, 3);
    assert_int_equal(history.switches[1].lsn, UINT64_C(1) << 32);
}

static void commit_text__the_first_timeline_has_an_empty_history(void **state)
{
    (void)state;
    struct commit_history history;
    assert_int_equal(read_history(&history, 1, ""), HF_OK);
    assert_true(history.is_whole);
    assert_int_equal(read_history(&history, 2, ""), HF_OK);
    assert_false(history.is_whole);
}

static void commit_text__of_a_history_out_of_order_nothing_is_believed(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "1 0/2\n1 0/3\n",
        "2 0/2\n1 0/3\n",
        "1 0/3\n2 0/2\n",
        "5 0/2\n",
        "6 0/2\n",
        "0 0/2\n",
        "1\n",
        "1 0-2\n",
        "-1 0/2\n",
        "x\n",
        "1 0/2\n\001\n",
        "99999999999 0/1\n",
        "1 0/000000000000000000000000001\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct commit_history history;
        struct hf_err err;
        assert_int_equal(commit_history_read(&history, 5, sv_from_cstr(texts[i]), &err),
                         HF_RC_PEER);
        assert_false(history.is_whole);
    }
}

static void commit_text__a_very_long_history_keeps_its_end(void **state)
{
    (void)state;
    char text[COMMIT_SWITCHES_MAX * 24] = "";
    struct commit_history history;
    for (int i = 1; i <= COMMIT_SWITCHES_MAX + 3; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%d\t0/%X\tx\n", i, (unsigned)i);
    assert_int_equal(read_history(&history, 200, text), HF_OK);
    assert_false(history.is_whole);
    assert_int_equal(history.count, COMMIT_SWITCHES_MAX);
    assert_int_equal(history.switches[0].timeline, 4);
    assert_int_equal(history.switches[COMMIT_SWITCHES_MAX - 1].timeline, COMMIT_SWITCHES_MAX + 3);
}

/* ---- questions ---- */

static void ask_another_question(void *commit)
{
    char sql[COMMIT_SQL_BYTES];
    commit_sql(commit, COMMIT_QUERIES, V15, sql);
}

static void commit_text__a_question_names_the_transaction(void **state)
{
    (void)state;
    struct commit commit;
    char sql[COMMIT_SQL_BYTES];
    commit_init(&commit, NULL);
    commit.probe.xid = UINT64_C(4294967999); /* 703 in the second epoch */
    commit_sql(&commit, COMMIT_QUERY_STATUS, V15, sql);
    assert_non_null(strstr(sql, "pg_xact_status(CAST('4294967999' AS"));
    assert_non_null(strstr(sql, "age(CAST('703' AS"));
    assert_true(strlen(sql) < COMMIT_SQL_BYTES - 20);
    commit_sql(&commit, COMMIT_QUERY_STATUS, V12, sql);
    assert_non_null(strstr(sql, "txid_status(4294967999)"));
    commit_sql(&commit, COMMIT_QUERY_END, V15, sql);
    assert_non_null(strstr(sql, "backend_xid = CAST('703' AS"));
    commit_sql(&commit, COMMIT_QUERY_CONFIRM, V15, sql);
    assert_non_null(strstr(sql, "pg_logical_emit_message(true"));
    assert_true(dies(ask_another_question, &commit));
}

static void commit_text__the_longest_question_fits(void **state)
{
    (void)state;
    struct commit commit;
    char sql[COMMIT_SQL_BYTES];
    commit_init(&commit, NULL);
    commit.probe.xid = UINT64_MAX;
    for (int query = 0; query < COMMIT_QUERIES; query++) {
        commit_sql(&commit, (enum commit_query)query, V15, sql);
        assert_true(strlen(sql) < COMMIT_SQL_BYTES - 1);
    }
}

static void commit_text__a_history_is_asked_of_our_function_first(void **state)
{
    (void)state;
    struct commit commit;
    char sql[COMMIT_SQL_BYTES];
    commit_init(&commit, NULL);
    commit.history_of = 26;
    commit.history_tries = 1;
    commit_sql(&commit, COMMIT_QUERY_HISTORY, V15, sql);
    assert_string_equal(sql, "SELECT holdfast.timeline_history(26)");
    commit.history_tries = 2;
    commit_sql(&commit, COMMIT_QUERY_HISTORY, V15, sql);
    assert_non_null(strstr(sql, "pg_wal/0000001A.history"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commit_text__each_server_gets_a_probe_in_its_own_words),
        cmocka_unit_test(commit_text__the_mark_is_left_where_it_may_be),
        cmocka_unit_test(commit_text__a_probe_is_read),
        cmocka_unit_test(commit_text__a_transaction_without_an_id_needs_no_more),
        cmocka_unit_test(commit_text__a_row_that_is_no_probe_is_refused),
        cmocka_unit_test(commit_text__an_answer_is_read),
        cmocka_unit_test(commit_text__each_status_has_its_word),
        cmocka_unit_test(commit_text__of_a_standby_only_its_cluster_is_asked),
        cmocka_unit_test(commit_text__a_row_that_is_no_answer_is_refused),
        cmocka_unit_test(commit_text__a_history_is_read),
        cmocka_unit_test(commit_text__the_first_timeline_has_an_empty_history),
        cmocka_unit_test(commit_text__of_a_history_out_of_order_nothing_is_believed),
        cmocka_unit_test(commit_text__a_very_long_history_keeps_its_end),
        cmocka_unit_test(commit_text__a_question_names_the_transaction),
        cmocka_unit_test(commit_text__the_longest_question_fits),
        cmocka_unit_test(commit_text__a_history_is_asked_of_our_function_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
