/*
 * Transactions against a real server: what is sent, what is kept, what is undone.
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

static int insert(struct hf_tx *tx, int id, struct hf_error *err)
{
    return hf_tx_exec(tx, "INSERT INTO t VALUES ($1, 0)", HF_PARAMS(hf_int(id)), NULL, NULL, err);
}

static int insert_one(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    return insert(tx, *(const int *)arg, err);
}

/* ---- the plain way ---- */

static void tx__what_the_work_did_is_there_when_it_says_yes(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    int id = 1;
    assert_ok(hf_tx(db, NULL, insert_one, &id, &err), &err);
    assert_int_equal(tx_rig_count(server()), 1);
    hf_close(db);
}

static int say_no(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    int id = 1;
    assert_ok(insert_one(tx, &id, err), err);
    return *(const int *)arg;
}

static void tx__a_work_that_says_no_leaves_nothing(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    int answer = 42;
    assert_code(hf_tx(db, NULL, say_no, &answer, &err), HF_E_CALLBACK, &err);
    assert_int_equal(err.callback, 42);
    assert_int_equal(tx_rig_count(server()), 0);
    hf_close(db);
}

static int look_and_count(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    struct hf_rows *rows;
    int code = hf_tx_query(tx, "SELECT count(*), sum(v) FROM t WHERE id > $1", HF_PARAMS(hf_int(0)),
                           NULL, &rows, err);
    if (code != HF_SUCCESS)
        return code;
    assert_int_equal(hf_rows_next(rows, err), 1);
    *(int64_t *)arg = hf_rows_int(rows, 0);
    hf_rows_free(rows);
    return 0;
}

static void tx__rows_come_out_of_a_transaction(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    int id = 5;
    int64_t count = 0;
    assert_ok(hf_tx(db, NULL, insert_one, &id, &err), &err);
    assert_ok(
        hf_tx(db, &(struct hf_tx_options){.is_read_only = true}, look_and_count, &count, &err),
        &err);
    assert_int_equal(count, 1);
    hf_close(db);
}

static int do_nothing(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    (void)tx;
    (void)arg;
    (void)err;
    return 0;
}

static void tx__a_work_without_a_statement_sends_nothing(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    int id = 1;
    assert_ok(hf_tx(db, NULL, insert_one, &id, &err), &err); /* the connection is there now */
    long before = rig_number(server(), "SELECT xact_commit FROM pg_stat_database WHERE datname = "
                                       "'postgres'");
    assert_ok(hf_tx(db, NULL, do_nothing, NULL, &err), &err);
    assert_true(before > 0);
    hf_close(db);
}

/* ---- by hand ---- */

static void tx__by_hand_commit_keeps_and_rollback_does_not(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_tx *tx;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
    assert_ok(insert(tx, 1, &err), &err);
    assert_int_equal(tx_rig_count(server()), 0);
    assert_ok(hf_tx_commit(tx, &err), &err);
    assert_int_equal(tx_rig_count(server()), 1);
    assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
    assert_ok(insert(tx, 2, &err), &err);
    hf_tx_rollback(tx);
    assert_int_equal(tx_rig_count(server()), 1);
    hf_close(db);
}

static void tx__savepoints_by_hand(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_tx *tx;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
    assert_ok(insert(tx, 1, &err), &err);
    assert_ok(hf_tx_savepoint(tx, &err), &err);
    assert_ok(insert(tx, 2, &err), &err);
    assert_ok(hf_tx_savepoint(tx, &err), &err);
    assert_ok(insert(tx, 3, &err), &err);
    assert_ok(hf_tx_rollback_to(tx, &err), &err); /* 3 is gone */
    assert_ok(hf_tx_savepoint(tx, &err), &err);
    assert_ok(insert(tx, 4, &err), &err);
    assert_ok(hf_tx_release(tx, &err), &err); /* 4 stays */
    assert_ok(hf_tx_release(tx, &err), &err); /* 2 stays */
    assert_code(hf_tx_release(tx, &err), HF_E_USAGE, &err);
    assert_code(hf_tx_rollback_to(tx, &err), HF_E_USAGE, &err);
    assert_ok(hf_tx_commit(tx, &err), &err);
    assert_int_equal(rig_number(server(), "SELECT sum(id) FROM t"), 1 + 2 + 4);
    hf_close(db);
}

static void tx__an_error_is_undone_by_its_savepoint(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_tx *tx;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
    assert_ok(hf_tx_savepoint(tx, &err), &err);
    assert_ok(insert(tx, 1, &err), &err);
    assert_code(insert(tx, 1, &err), HF_E_SERVER, &err);
    assert_string_equal(err.sqlstate, "23505");
    assert_code(insert(tx, 2, &err), HF_E_SERVER, &err); /* it waits for its rollback */
    assert_string_equal(err.sqlstate, "25P02");
    assert_ok(hf_tx_rollback_to(tx, &err), &err);
    assert_ok(insert(tx, 3, &err), &err);
    assert_ok(hf_tx_commit(tx, &err), &err);
    assert_int_equal(rig_number(server(), "SELECT sum(id) FROM t"), 3);
    hf_close(db);
}

static void tx__commit_after_an_error_says_what_failed_and_keeps_nothing(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_tx *tx;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
    assert_ok(insert(tx, 1, &err), &err);
    assert_code(insert(tx, 1, NULL), HF_E_SERVER, NULL);
    assert_code(hf_tx_commit(tx, &err), HF_E_SERVER, &err);
    assert_string_equal(err.sqlstate, "23505");
    assert_int_equal(tx_rig_count(server()), 0);
    hf_close(db);
}

static void tx__many_savepoints_need_no_room_of_their_own(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_tx *tx;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
    for (int i = 0; i < 50; i++)
        assert_ok(hf_tx_savepoint(tx, &err), &err);
    assert_ok(insert(tx, 1, &err), &err);
    for (int i = 0; i < 49; i++)
        assert_ok(hf_tx_release(tx, &err), &err);
    assert_ok(insert(tx, 2, &err), &err);
    assert_ok(hf_tx_rollback_to(tx, &err), &err);
    assert_ok(insert(tx, 3, &err), &err);
    assert_ok(hf_tx_commit(tx, &err), &err);
    assert_int_equal(rig_number(server(), "SELECT sum(id) FROM t"), 3);
    hf_close(db);
}

static void tx__several_statements_in_one_text(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_tx *tx;
    uint64_t affected = 0;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
    assert_ok(hf_tx_exec(tx, "INSERT INTO t VALUES (1, 1); INSERT INTO t VALUES (2, 2), (3, 3)",
                         NULL, NULL, &affected, &err),
              &err);
    assert_int_equal(affected, 2);
    assert_ok(hf_tx_commit(tx, &err), &err);
    assert_int_equal(tx_rig_count(server()), 3);
    hf_close(db);
}

static void tx__a_statement_that_ends_the_transaction_is_an_error(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_tx *tx;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
    assert_ok(insert(tx, 1, &err), &err);
    assert_code(hf_tx_exec(tx, "COMMIT", NULL, NULL, NULL, &err), HF_E_USAGE, &err);
    assert_code(insert(tx, 2, &err), HF_E_SERVER, &err);
    assert_code(hf_tx_commit(tx, &err), HF_E_USAGE, &err);
    hf_close(db);
}

static void tx__copy_as_a_statement_is_refused(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_tx *tx;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
    assert_code(hf_tx_exec(tx, "COPY t FROM STDIN", NULL, NULL, NULL, &err), HF_E_USAGE, &err);
    hf_tx_rollback(tx);
    assert_int_equal(tx_rig_count(server()), 0);
    hf_close(db);
}

static void tx__isolation_and_access_are_what_was_asked_for(void **state)
{
    (void)state;
    static const struct {
        struct hf_tx_options options;
        const char *isolation, *read_only, *deferrable;
    } cases[] = {
        {{0}, "read committed", "off", "off"},
        {{.isolation = HF_REPEATABLE_READ}, "repeatable read", "off", "off"},
        {{.isolation = HF_SERIALIZABLE, .is_read_only = true, .is_deferrable = true},
         "serializable",
         "on",
         "on"},
    };
    struct hf_error err;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hf_tx *tx;
        struct hf_rows *rows;
        assert_ok(hf_tx_begin(db, &cases[i].options, &tx, &err), &err);
        assert_ok(hf_tx_query(tx,
                              "SELECT current_setting('transaction_isolation'), "
                              "current_setting('transaction_read_only'), "
                              "current_setting('transaction_deferrable')",
                              NULL, NULL, &rows, &err),
                  &err);
        assert_int_equal(hf_rows_next(rows, NULL), 1);
        assert_string_equal(hf_rows_text(rows, 0), cases[i].isolation);
        assert_string_equal(hf_rows_text(rows, 1), cases[i].read_only);
        assert_string_equal(hf_rows_text(rows, 2), cases[i].deferrable);
        hf_rows_free(rows);
        assert_ok(hf_tx_commit(tx, &err), &err);
    }
    struct hf_tx *tx;
    assert_code(hf_tx_begin(db, &(struct hf_tx_options){.isolation = 9}, &tx, &err), HF_E_USAGE,
                &err);
    assert_code(hf_tx_begin(db, &(struct hf_tx_options){.is_deferrable = true}, &tx, &err),
                HF_E_USAGE, &err);
    hf_close(db);
}

/* ---- round trips ---- */

static uint64_t packets_of(struct hf_db *db, hf_tx_work *work, void *arg)
{
    struct hf_error err;
    uint64_t before = cutter_packets(rig.cutter);
    assert_ok(hf_tx(db, NULL, work, arg, &err), &err);
    return cutter_packets(rig.cutter) - before;
}

static int insert_nested(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    return hf_tx_nested(tx, NULL, insert_one, arg, err);
}

/* Samplers ask the server too, ten times a second; so the least of many is what counts. */
static void tx__a_transaction_costs_no_round_trip_more_than_it_must(void **state)
{
    (void)state;
    struct hf_db *db = tx_rig_open(&rig, &(struct hf_options){.route = {.interval_ms = 1000}});
    uint64_t plain = 100, nested = 100;
    for (int i = 1; i < 1000 && (plain > 2 || nested > 2); i += 2) {
        int ids[] = {i, i + 1};
        uint64_t now = packets_of(db, insert_one, &ids[0]);
        plain = now < plain ? now : plain;
        now = packets_of(db, insert_nested, &ids[1]);
        nested = now < nested ? now : nested;
    }
    assert_int_equal(plain, 2);  /* BEGIN with the INSERT and the probe; COMMIT */
    assert_int_equal(nested, 2); /* the savepoint in the first, its release not at all */
    hf_close(db);
}

/* ---- nested ---- */

struct nest {
    struct hf_db *db;
    int inner_answer; /* of the inner work */
    int inner_code;   /* of the inner hf_tx() */
    bool is_independent;
};

static int inner_work(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    const struct nest *nest = arg;
    assert_ok(insert(tx, 2, err), err);
    return nest->inner_answer;
}

static int outer_work(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    struct nest *nest = arg;
    struct hf_error inner;
    assert_ok(insert(tx, 1, err), err);
    nest->inner_code =
        hf_tx(nest->db, &(struct hf_tx_options){.is_independent = nest->is_independent}, inner_work,
              nest, &inner);
    assert_ok(insert(tx, 3, err), err);
    return 0;
}

static void tx__nested_without_a_word_is_a_savepoint(void **state)
{
    (void)state;
    struct hf_error err;
    struct nest nest = {.db = tx_rig_open(&rig, NULL)};
    assert_ok(hf_tx(nest.db, NULL, outer_work, &nest, &err), &err);
    assert_int_equal(nest.inner_code, HF_SUCCESS);
    assert_int_equal(rig_number(server(), "SELECT sum(id) FROM t"), 1 + 2 + 3);
    hf_close(nest.db);
    nest = (struct nest){.db = tx_rig_open(&rig, NULL), .inner_answer = 7};
    assert_ok(hf_tx(nest.db, NULL, outer_work, &nest, &err), &err);
    assert_int_equal(nest.inner_code, HF_E_CALLBACK);
    assert_int_equal(rig_number(server(), "SELECT sum(id) FROM t"), 1 + 3);
    hf_close(nest.db);
}

static int independent_outer(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    outer_work(tx, arg, err);
    return 1;
}

static void tx__an_independent_one_is_kept_whatever_becomes_of_the_outer(void **state)
{
    (void)state;
    struct hf_error err;
    struct nest nest = {.db = tx_rig_open(&rig, NULL), .is_independent = true};
    assert_code(hf_tx(nest.db, NULL, independent_outer, &nest, &err), HF_E_CALLBACK, &err);
    assert_int_equal(rig_number(server(), "SELECT sum(id) FROM t"), 2);
    hf_close(nest.db);
}

static int failing_inner(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    (void)arg;
    insert(tx, 1, err);
    insert(tx, 1, err);
    return 0; /* it does not look */
}

static int tolerant_outer(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    struct hf_error inner;
    (void)arg;
    assert_code(hf_tx_nested(tx, NULL, failing_inner, NULL, &inner), HF_E_SERVER, &inner);
    return insert(tx, 9, err);
}

static void tx__an_inner_work_that_does_not_look_is_undone_all_the_same(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_tx(db, NULL, tolerant_outer, NULL, &err), &err);
    assert_int_equal(rig_number(server(), "SELECT sum(id) FROM t"), 9);
    hf_close(db);
}

/* ---- repetition ---- */

struct race {
    struct hf_db *db;
    pthread_barrier_t *meet;
    int id;
    uint32_t attempts;
};

/* Reads the sum and writes it: two of these at once cannot both be right. */
static int write_skew(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    struct race *race = arg;
    int64_t count;
    int code = look_and_count(tx, &count, err);
    race->attempts = hf_tx_attempt(tx);
    if (race->attempts == 1)
        pthread_barrier_wait(race->meet);
    if (code == HF_SUCCESS)
        code = hf_tx_exec(tx, "INSERT INTO t VALUES ($1, $2)",
                          HF_PARAMS(hf_int(race->id), hf_int(count)), NULL, NULL, err);
    return code;
}

static void *run_race(void *arg)
{
    struct race *race = arg;
    struct hf_error err;
    assert_ok(hf_tx(race->db, &(struct hf_tx_options){.isolation = HF_SERIALIZABLE}, write_skew,
                    race, &err),
              &err);
    return NULL;
}

static void tx__a_serialization_failure_runs_the_work_again(void **state)
{
    (void)state;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    pthread_barrier_t meet;
    pthread_t other;
    pthread_barrier_init(&meet, NULL, 2);
    struct race races[2] = {{.db = db, .meet = &meet, .id = 1}, {.db = db, .meet = &meet, .id = 2}};
    assert_int_equal(pthread_create(&other, NULL, run_race, &races[0]), 0);
    run_race(&races[1]);
    pthread_join(other, NULL);
    pthread_barrier_destroy(&meet);
    assert_int_equal(races[0].attempts + races[1].attempts, 3);
    assert_int_equal(rig_number(server(), "SELECT count(DISTINCT v) FROM t"), 2);
    hf_close(db);
}

/* Each takes one row, meets the other, and wants the other's. */
static int cross(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    struct race *race = arg;
    int code = hf_tx_exec(tx, "UPDATE t SET v = v + 1 WHERE id = $1", HF_PARAMS(hf_int(race->id)),
                          NULL, NULL, err);
    race->attempts = hf_tx_attempt(tx);
    if (race->attempts == 1)
        pthread_barrier_wait(race->meet);
    if (code == HF_SUCCESS)
        code = hf_tx_exec(tx, "UPDATE t SET v = v + 1 WHERE id = $1",
                          HF_PARAMS(hf_int(3 - race->id)), NULL, NULL, err);
    return code;
}

static void *run_cross(void *arg)
{
    struct race *race = arg;
    struct hf_error err;
    assert_ok(hf_tx(race->db, NULL, cross, race, &err), &err);
    return NULL;
}

static void tx__the_victim_of_a_deadlock_runs_again(void **state)
{
    (void)state;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    rig_sql(server(), "INSERT INTO t VALUES (1, 0), (2, 0)", NULL, 0);
    pthread_barrier_t meet;
    pthread_t other;
    pthread_barrier_init(&meet, NULL, 2);
    struct race races[2] = {{.db = db, .meet = &meet, .id = 1}, {.db = db, .meet = &meet, .id = 2}};
    assert_int_equal(pthread_create(&other, NULL, run_cross, &races[0]), 0);
    run_cross(&races[1]);
    pthread_join(other, NULL);
    pthread_barrier_destroy(&meet);
    assert_int_equal(races[0].attempts + races[1].attempts, 3);
    assert_int_equal(rig_number(server(), "SELECT sum(v) FROM t"), 4);
    hf_close(db);
}

static int always_serialization(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    *(uint32_t *)arg = hf_tx_attempt(tx);
    return hf_tx_exec(tx, "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$", NULL,
                      NULL, NULL, err);
}

static void tx__repetition_ends_and_says_how_often_it_was_tried(void **state)
{
    (void)state;
    struct hf_error err;
    uint32_t attempts = 0;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    struct hf_tx_options options = {.retry = {.attempts_max = 4, .initial_ms = 1, .cap_ms = 2}};
    assert_code(hf_tx(db, &options, always_serialization, &attempts, &err), HF_E_SERVER, &err);
    assert_string_equal(err.sqlstate, "40001");
    assert_int_equal(attempts, 4);
    assert_int_equal(err.attempts, 4);
    hf_close(db);
}

struct lock_try {
    int runs;
    struct hf_db *db;
};

static int lock_work(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    struct lock_try *lock = arg;
    if (++lock->runs == 2)
        rig_sql(server(),
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_locks WHERE locktype = "
                "'relation' AND relation = 't'::regclass AND mode = "
                "'AccessExclusiveLock'",
                NULL, 0);
    return hf_tx_exec(tx, "LOCK TABLE t IN SHARE MODE NOWAIT", NULL, NULL, NULL, err);
}

static int lock_outer(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    assert_ok(hf_tx_exec(tx, "SELECT 1", NULL, NULL, NULL, err), err);
    return hf_tx_nested(tx,
                        &(struct hf_tx_options){.retry_savepoint = true,
                                                .retry = {.attempts_max = 5, .initial_ms = 20}},
                        lock_work, arg, err);
}

static void tx__a_nested_work_waits_for_a_lock_from_its_savepoint(void **state)
{
    (void)state;
    struct hf_error err;
    struct lock_try lock = {.db = tx_rig_open(&rig, NULL)};
    struct hf_db *holder = tx_rig_open(&rig, NULL);
    struct hf_tx *tx;
    assert_ok(hf_tx_begin(holder, NULL, &tx, &err), &err);
    assert_ok(hf_tx_exec(tx, "LOCK TABLE t", NULL, NULL, NULL, &err), &err);
    assert_ok(hf_tx(lock.db, NULL, lock_outer, &lock, &err), &err);
    assert_true(lock.runs >= 2);
    hf_tx_rollback(tx);
    hf_close(holder);
    hf_close(lock.db);
}

/* ---- rows in chunks ---- */

static void tx__rows_stream_and_the_transaction_goes_on(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_tx *tx;
    struct hf_rows *rows;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
    for (int with_params = 0; with_params < 2; with_params++) {
        int64_t sum = 0;
        assert_ok(hf_tx_query(tx,
                              with_params ? "SELECT generate_series(1, $1::int)"
                                          : "SELECT generate_series(1, 10000)",
                              with_params ? HF_PARAMS(hf_int(10000)) : NULL,
                              HF_WITH(.chunk_rows = 64), &rows, &err),
                  &err);
        assert_int_equal(hf_rows_count(rows), -1);
        while (hf_rows_next(rows, &err) == 1) {
            sum += hf_rows_int(rows, 0);
            if (sum == 1)
                assert_code(insert(tx, 1, &err), HF_E_USAGE, &err); /* it is busy with the rows */
        }
        assert_int_equal(sum, 10000 * 10001 / 2);
        hf_rows_free(rows);
        assert_ok(insert(tx, 1 + with_params, &err), &err);
    }
    /* Of a thousand one is enough. */
    assert_ok(hf_tx_query(tx, "SELECT generate_series(1, 1000)", NULL, HF_WITH(.chunk_rows = 10),
                          &rows, &err),
              &err);
    assert_int_equal(hf_rows_next(rows, &err), 1);
    hf_rows_free(rows);
    assert_ok(insert(tx, 3, &err), &err);
    assert_ok(hf_tx_commit(tx, &err), &err);
    assert_int_equal(tx_rig_count(server()), 3);
    hf_close(db);
}

static void tx__rows_that_stream_say_when_they_are_cut_short(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_tx *tx;
    struct hf_rows *rows;
    int code;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
    assert_ok(hf_tx_query(tx, "SELECT 1 / (500 - i) FROM generate_series(1, 1000) i", NULL,
                          HF_WITH(.chunk_rows = 10), &rows, &err),
              &err);
    while ((code = hf_rows_next(rows, &err)) == 1)
        ;
    assert_int_equal(code, -1);
    assert_string_equal(err.sqlstate, "22012");
    assert_int_equal(hf_rows_next(rows, &err), -1);
    hf_rows_free(rows);
    hf_tx_rollback(tx);
    assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
    assert_ok(hf_tx_query(tx, "SELECT generate_series(1, 1000)", NULL, HF_WITH(.chunk_rows = 10),
                          &rows, &err),
              &err);
    assert_code(hf_tx_commit(tx, &err), HF_E_USAGE, &err);
    while ((code = hf_rows_next(rows, &err)) == 1)
        ;
    assert_int_equal(code, -1);
    hf_rows_free(rows);
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
        cmocka_unit_test(tx__what_the_work_did_is_there_when_it_says_yes),
        cmocka_unit_test(tx__a_work_that_says_no_leaves_nothing),
        cmocka_unit_test(tx__rows_come_out_of_a_transaction),
        cmocka_unit_test(tx__a_work_without_a_statement_sends_nothing),
        cmocka_unit_test(tx__by_hand_commit_keeps_and_rollback_does_not),
        cmocka_unit_test(tx__savepoints_by_hand),
        cmocka_unit_test(tx__an_error_is_undone_by_its_savepoint),
        cmocka_unit_test(tx__commit_after_an_error_says_what_failed_and_keeps_nothing),
        cmocka_unit_test(tx__many_savepoints_need_no_room_of_their_own),
        cmocka_unit_test(tx__several_statements_in_one_text),
        cmocka_unit_test(tx__a_statement_that_ends_the_transaction_is_an_error),
        cmocka_unit_test(tx__copy_as_a_statement_is_refused),
        cmocka_unit_test(tx__isolation_and_access_are_what_was_asked_for),
        cmocka_unit_test(tx__a_transaction_costs_no_round_trip_more_than_it_must),
        cmocka_unit_test(tx__nested_without_a_word_is_a_savepoint),
        cmocka_unit_test(tx__an_independent_one_is_kept_whatever_becomes_of_the_outer),
        cmocka_unit_test(tx__an_inner_work_that_does_not_look_is_undone_all_the_same),
        cmocka_unit_test(tx__a_serialization_failure_runs_the_work_again),
        cmocka_unit_test(tx__the_victim_of_a_deadlock_runs_again),
        cmocka_unit_test(tx__repetition_ends_and_says_how_often_it_was_tried),
        cmocka_unit_test(tx__rows_stream_and_the_transaction_goes_on),
        cmocka_unit_test(tx__rows_that_stream_say_when_they_are_cut_short),
        cmocka_unit_test(tx__a_nested_work_waits_for_a_lock_from_its_savepoint),
    };
    return cmocka_run_group_tests(tests, begin_rig, end_rig);
}
