/*
 * Pipelines: many statements, one round trip, all or nothing.
 */
#include "tx_rig.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct tx_rig rig;

static const struct rig_server *server(void)
{
    return &rig.servers.servers[0];
}

static void add_insert(struct hf_pipeline *pipeline, int id)
{
    struct hf_error err;
    assert_ok(hf_pipeline_add(pipeline, "INSERT INTO t VALUES ($1, $2) RETURNING id",
                              HF_PARAMS(hf_int(id), hf_int(id * 10)), &err),
              &err);
}

static struct hf_pipeline *new_pipeline(struct hf_db *db, struct hf_tx *tx)
{
    struct hf_error err;
    struct hf_pipeline *pipeline;
    assert_ok(hf_pipeline_new(db, tx, NULL, &pipeline, &err), &err);
    return pipeline;
}

static void expect_id(struct hf_pipeline *pipeline, int id)
{
    struct hf_error err;
    struct hf_rows *rows;
    assert_int_equal(hf_pipeline_next(pipeline, &rows, &err), 1);
    assert_int_equal(hf_rows_next(rows, &err), 1);
    assert_int_equal(hf_rows_int(rows, 0), id);
    hf_rows_free(rows);
}

static void pipeline__each_statement_has_its_rows_in_order(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_rows *rows;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    struct hf_pipeline *pipeline = new_pipeline(db, NULL);
    for (int i = 1; i <= 40; i++)
        add_insert(pipeline, i);
    assert_ok(hf_pipeline_add(pipeline, "SELECT sum(id) FROM t", NULL, &err), &err);
    assert_int_equal(hf_pipeline_next(pipeline, &rows, &err), -1); /* not run yet */
    assert_ok(hf_pipeline_run(pipeline, &err), &err);
    assert_code(hf_pipeline_run(pipeline, &err), HF_E_USAGE, &err);
    assert_code(hf_pipeline_add(pipeline, "SELECT 1", NULL, &err), HF_E_USAGE, &err);
    for (int i = 1; i <= 40; i++)
        expect_id(pipeline, i);
    expect_id(pipeline, 40 * 41 / 2);
    assert_int_equal(hf_pipeline_next(pipeline, &rows, &err), 0);
    hf_pipeline_free(pipeline);
    assert_int_equal(tx_rig_count(server()), 40);
    hf_close(db);
}

static void pipeline__an_error_in_the_middle_undoes_all_and_says_which(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_rows *rows;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    struct hf_pipeline *pipeline = new_pipeline(db, NULL);
    add_insert(pipeline, 1);
    add_insert(pipeline, 2);
    add_insert(pipeline, 1);
    add_insert(pipeline, 3);
    assert_code(hf_pipeline_run(pipeline, &err), HF_E_SERVER, &err);
    assert_string_equal(err.sqlstate, "23505");
    expect_id(pipeline, 1);
    expect_id(pipeline, 2);
    assert_int_equal(hf_pipeline_next(pipeline, &rows, &err), -1);
    assert_string_equal(err.sqlstate, "23505");
    assert_int_equal(hf_pipeline_next(pipeline, &rows, &err), -1);
    assert_non_null(strstr(err.message, "statement 3"));
    assert_int_equal(hf_pipeline_next(pipeline, &rows, &err), 0);
    hf_pipeline_free(pipeline);
    assert_int_equal(tx_rig_count(server()), 0);
    /* The connection is as good as before. */
    assert_ok(hf_exec(db, "SELECT 1", NULL, NULL, NULL, &err), &err);
    hf_close(db);
}

static void pipeline__within_a_transaction_it_shares_its_fate(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_tx *tx;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
    struct hf_pipeline *pipeline = new_pipeline(db, tx);
    add_insert(pipeline, 1);
    add_insert(pipeline, 2);
    assert_ok(hf_pipeline_run(pipeline, &err), &err);
    expect_id(pipeline, 1);
    hf_pipeline_free(pipeline);
    assert_int_equal(tx_rig_count(server()), 0);
    assert_ok(hf_tx_savepoint(tx, &err), &err);
    pipeline = new_pipeline(db, tx);
    add_insert(pipeline, 3);
    add_insert(pipeline, 1);
    assert_code(hf_pipeline_run(pipeline, &err), HF_E_SERVER, &err);
    hf_pipeline_free(pipeline);
    assert_ok(hf_tx_rollback_to(tx, &err), &err);
    assert_ok(hf_tx_commit(tx, &err), &err);
    assert_int_equal(rig_number(server(), "SELECT sum(id) FROM t"), 3);
    hf_close(db);
}

/* Past the cutter, which forwards in one direction at a time and would block itself. */
static struct hf_db *open_directly(void)
{
    char conninfo[160];
    struct hf_error err;
    struct hf_db *db;
    snprintf(conninfo, sizeof conninfo,
             "host=127.0.0.1 port=%d user=postgres dbname=postgres sslmode=disable",
             server()->port);
    assert_ok(hf_open(&db, conninfo, &err), &err);
    return db;
}

/* The server's answers fill the line while we still send: who only sends would wait for ever. */
static void pipeline__much_in_both_directions_at_once_does_not_block(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_rows *rows;
    size_t size = (size_t)1 << 20;
    char *text = malloc(size + 1);
    assert_non_null(text);
    memset(text, 'x', size);
    text[size] = '\0';
    struct hf_db *db = open_directly();
    struct hf_pipeline *pipeline = new_pipeline(db, NULL);
    for (int i = 0; i < 10; i++)
        assert_ok(hf_pipeline_add(pipeline, "SELECT repeat($1::text, 10)", HF_PARAMS(hf_text(text)),
                                  &err),
                  &err);
    free(text);
    assert_ok(hf_pipeline_run(pipeline, &err), &err);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(hf_pipeline_next(pipeline, &rows, &err), 1);
        assert_int_equal(hf_rows_next(rows, &err), 1);
        assert_int_equal(hf_rows_length(rows, 0), size * 10);
        hf_rows_free(rows);
    }
    hf_pipeline_free(pipeline);
    hf_close(db);
}

static void pipeline__ten_thousand_statements(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    struct hf_pipeline *pipeline = new_pipeline(db, NULL);
    for (int i = 1; i <= 10000; i++)
        add_insert(pipeline, i);
    assert_ok(hf_pipeline_run(pipeline, &err), &err);
    for (int i = 1; i <= 10000; i++)
        expect_id(pipeline, i);
    hf_pipeline_free(pipeline);
    assert_int_equal(tx_rig_count(server()), 10000);
    hf_close(db);
}

static uint64_t packets_of_one(struct hf_db *db, int id)
{
    struct hf_error err;
    struct hf_pipeline *pipeline = new_pipeline(db, NULL);
    add_insert(pipeline, id);
    add_insert(pipeline, id + 1);
    uint64_t before = cutter_packets(rig.cutter);
    assert_ok(hf_pipeline_run(pipeline, &err), &err);
    uint64_t packets = cutter_packets(rig.cutter) - before;
    hf_pipeline_free(pipeline);
    return packets;
}

static void pipeline__costs_one_round_trip_and_has_its_probe(void **state)
{
    (void)state;
    struct hf_db *db = tx_rig_open(&rig, &(struct hf_options){.route = {.interval_ms = 1000}});
    uint64_t least = 100;
    for (int i = 1; i < 1000 && least > 1; i += 2) {
        uint64_t now = packets_of_one(db, i);
        least = now < least ? now : least;
    }
    assert_int_equal(least, 1);
    hf_close(db);
}

/* ---- losses ---- */

static const struct {
    enum cut cut;
    const char *text;
} breaks[] = {
    {CUT_REQUEST, "COMMIT"},    /* nothing of it was seen: run again */
    {CUT_LAST_REPLY, "COMMIT"}, /* the probe's answer came, that of COMMIT did not */
};

static void pipeline__a_lost_answer_ends_in_the_truth(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof breaks / sizeof breaks[0]; i++) {
        struct hf_error err;
        struct hf_db *db = tx_rig_open(&rig, NULL);
        packets_of_one(db, 100); /* a connection, and the right to probe */
        struct hf_pipeline *pipeline = new_pipeline(db, NULL);
        add_insert(pipeline, 1);
        add_insert(pipeline, 2);
        cutter_arm(rig.cutter, breaks[i].cut, breaks[i].text);
        int code = hf_pipeline_run(pipeline, &err);
        if (breaks[i].cut == CUT_REQUEST) {
            /* Nobody knows whether the packet arrived, and its probe was in it. */
            assert_code(code, HF_E_UNKNOWN, &err);
            assert_int_equal(tx_rig_count(server()), 2);
        } else {
            assert_ok(code, &err);
            expect_id(pipeline, 1);
            expect_id(pipeline, 2);
            assert_int_equal(tx_rig_count(server()), 4);
        }
        hf_pipeline_free(pipeline);
        hf_close(db);
    }
}

/* A single statement, sent like a pipeline of one. */
static void pipeline__a_single_write_may_have_its_outcome_found(void **state)
{
    (void)state;
    struct hf_call_options options = {.finds_outcome = true};
    for (int is_found = 0; is_found < 2; is_found++) {
        struct hf_error err;
        struct hf_rows *rows;
        uint64_t affected = 0;
        struct hf_db *db = tx_rig_open(&rig, NULL);
        options.finds_outcome = is_found == 1;
        for (int i = 1; i < 4; i++)
            assert_ok(hf_exec(db, "INSERT INTO t VALUES ($1, 0)", HF_PARAMS(hf_int(i)), &options,
                              &affected, &err),
                      &err);
        assert_int_equal(affected, 1);
        cutter_arm(rig.cutter, is_found ? CUT_LAST_REPLY : CUT_REPLY,
                   is_found ? "COMMIT" : "INSERT");
        int code = hf_query(db, "INSERT INTO t SELECT $1::int, 0 RETURNING id",
                            HF_PARAMS(hf_int(9)), &options, &rows, &err);
        if (is_found == 0) {
            assert_code(code, HF_E_UNKNOWN, &err);
            assert_null(rows);
        } else {
            assert_ok(code, &err);
            assert_int_equal(hf_rows_next(rows, &err), 1);
            assert_int_equal(hf_rows_int(rows, 0), 9);
            hf_rows_free(rows);
            assert_int_equal(tx_rig_count(server()), 4);
        }
        hf_close(db);
    }
}

static void *end_lock(void *arg)
{
    struct timespec pause = {.tv_nsec = 200000000};
    nanosleep(&pause, NULL);
    rig_sql(server(),
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type "
            "= 'Lock'",
            NULL, 0);
    hf_tx_rollback(arg);
    return NULL;
}

static void pipeline__runs_again_when_its_backend_was_ended(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_tx *holder;
    pthread_t thread;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    packets_of_one(db, 100);
    assert_ok(hf_tx_begin(db, NULL, &holder, &err), &err);
    assert_ok(hf_tx_exec(holder, "LOCK TABLE t", NULL, NULL, NULL, &err), &err);
    struct hf_pipeline *pipeline = new_pipeline(db, NULL);
    add_insert(pipeline, 1);
    assert_int_equal(pthread_create(&thread, NULL, end_lock, holder), 0);
    assert_ok(hf_pipeline_run(pipeline, &err), &err);
    pthread_join(thread, NULL);
    expect_id(pipeline, 1);
    hf_pipeline_free(pipeline);
    assert_int_equal(tx_rig_count(server()), 3);
    hf_close(db);
}

static void pipeline__its_deadline(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_rows *rows;
    struct hf_pipeline *pipeline;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    struct hf_call_options options = {.deadline_ms = 300, .intent = HF_READ};
    assert_ok(hf_pipeline_new(db, NULL, &options, &pipeline, &err), &err);
    assert_ok(hf_pipeline_add(pipeline, "SELECT 1", NULL, &err), &err);
    assert_ok(hf_pipeline_add(pipeline, "SELECT pg_sleep(60)", NULL, &err), &err);
    int64_t began = tx_rig_ms();
    assert_code(hf_pipeline_run(pipeline, &err), HF_E_DEADLINE, &err);
    assert_in_range(tx_rig_ms() - began, 250, 30000);
    assert_int_equal(hf_pipeline_next(pipeline, &rows, &err), -1);
    hf_pipeline_free(pipeline);
    hf_close(db);
}

static int begin_rig(void **state)
{
    (void)state;
    tx_rig_begin(&rig, 0);
    return 0;
}

static int end_rig(void **state)
{
    (void)state;
    tx_rig_end(&rig);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipeline__each_statement_has_its_rows_in_order),
        cmocka_unit_test(pipeline__an_error_in_the_middle_undoes_all_and_says_which),
        cmocka_unit_test(pipeline__within_a_transaction_it_shares_its_fate),
        cmocka_unit_test(pipeline__much_in_both_directions_at_once_does_not_block),
        cmocka_unit_test(pipeline__ten_thousand_statements),
        cmocka_unit_test(pipeline__costs_one_round_trip_and_has_its_probe),
        cmocka_unit_test(pipeline__a_lost_answer_ends_in_the_truth),
        cmocka_unit_test(pipeline__a_single_write_may_have_its_outcome_found),
        cmocka_unit_test(pipeline__runs_again_when_its_backend_was_ended),
        cmocka_unit_test(pipeline__its_deadline),
    };
    return cmocka_run_group_tests(tests, begin_rig, end_rig);
}
