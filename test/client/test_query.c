/*
 * Statements against a real server: rows in all their forms, parameters, errors, chunks, prepared
 * statements, deadlines, cancelling, connections that the server has closed.
 */
#include "../unit/unit.h"

#include <libpq-fe.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "holdfast.h"
#include "pg_rig.h"

static struct rig rig;
static struct hf_db *db;
static struct hf_error err;
static struct hf_rows *rows;

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void sleep_ms(int64_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static void conninfo(char out[200], const char *more)
{
    snprintf(out, 200, "host=127.0.0.1 port=%d user=postgres dbname=postgres %s",
             rig.servers[0].port, more);
}

static struct hf_db *open_with(struct hf_options options)
{
    char text[200];
    struct hf_db *opened;
    conninfo(text, "");
    options.conninfo = text;
    if (hf_open_with(&opened, &options, &err) != HF_SUCCESS)
        fail_msg("hf_open_with: %s (%s)", err.message, err.detail);
    return opened;
}

static void good(int code)
{
    if (code != HF_SUCCESS)
        fail_msg("%s: %s | %s", hf_code_name(code), err.message, err.detail);
}

static void exec(const char *sql)
{
    good(hf_exec(db, sql, NULL, HF_WITH(.intent = HF_WRITE), NULL, &err));
}

/* The first value of the first row, as a number. */
static int64_t number(const char *sql)
{
    good(hf_query(db, sql, NULL, NULL, &rows, &err));
    assert_int_equal(hf_rows_next(rows, NULL), 1);
    int64_t value = hf_rows_int(rows, 0);
    hf_rows_free(rows);
    return value;
}

static int begin(void **state)
{
    (void)state;
    rig_begin(&rig, 0);
    db = open_with((struct hf_options){0});
    return 0;
}

static int end(void **state)
{
    (void)state;
    hf_close(db);
    rig_end(&rig);
    return 0;
}

/* ---- rows and parameters ---- */

static void query__rows_come_in_order_and_end(void **state)
{
    (void)state;
    good(hf_query(db, "SELECT i, 'row ' || i FROM generate_series(1, 3) i", NULL, NULL, &rows,
                  &err));
    assert_int_equal(hf_rows_count(rows), 3);
    assert_int_equal(hf_rows_columns(rows), 2);
    assert_string_equal(hf_rows_name(rows, 0), "i");
    assert_int_equal(hf_rows_column(rows, "?column?"), 1);
    assert_int_equal(hf_rows_column(rows, "none"), -1);
    assert_int_equal(hf_rows_type(rows, 0), 23);
    assert_true(hf_rows_is_null(rows, 0)); /* before the first row */
    assert_string_equal(hf_rows_text(rows, 0), "");
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(hf_rows_next(rows, &err), 1);
        assert_int_equal(hf_rows_int(rows, 0), i);
    }
    assert_string_equal(hf_rows_text(rows, 1), "row 3");
    assert_int_equal(hf_rows_length(rows, 1), 5);
    assert_string_equal(hf_rows_text(rows, 2), ""); /* no such column */
    assert_int_equal(hf_rows_next(rows, &err), 0);
    assert_int_equal(hf_rows_next(rows, &err), 0);
    assert_string_equal(hf_rows_text(rows, 1), ""); /* behind the last row */
    char name[64];
    snprintf(name, sizeof name, "127.0.0.1:%d", rig.servers[0].port);
    assert_string_equal(hf_rows_endpoint(rows), name);
    bool is_stale = true;
    assert_int_equal(hf_rows_age_ms(rows, &is_stale), 0);
    assert_false(is_stale);
    hf_rows_free(rows);
}

static void query__parameters_of_every_kind_arrive(void **state)
{
    (void)state;
    static const char bytes[] = {1, 0, 2, (char)255};
    for (int format = HF_TEXT; format <= HF_BINARY; format++) {
        good(hf_query(db,
                      "SELECT $1::bigint, $2::text, $3::float8, $4::bool, $5::bytea, $6::text, "
                      "$7::int2, $8::int4, $9::float4",
                      HF_PARAMS(hf_int(INT64_MIN), hf_text("it's"), hf_double(0.1), hf_bool(true),
                                hf_bytes(bytes, sizeof bytes), hf_null(), hf_int(-2), hf_int(7),
                                hf_double(-1.5)),
                      HF_WITH(.format = format), &rows, &err));
        assert_int_equal(hf_rows_next(rows, NULL), 1);
        assert_int_equal(hf_rows_int(rows, 0), INT64_MIN);
        assert_string_equal(hf_rows_text(rows, 1), "it's");
        assert_true(hf_rows_double(rows, 2) == 0.1);
        assert_true(hf_rows_bool(rows, 3));
        assert_true(hf_rows_is_null(rows, 5));
        assert_int_equal(hf_rows_int(rows, 6), -2);
        assert_int_equal(hf_rows_int(rows, 7), 7);
        assert_true(hf_rows_double(rows, 8) == -1.5);
        assert_int_equal(hf_rows_int(rows, 8), -1);
        if (format == HF_BINARY) {
            assert_int_equal(hf_rows_length(rows, 4), sizeof bytes);
            assert_memory_equal(hf_rows_text(rows, 4), bytes, sizeof bytes);
        } else {
            assert_string_equal(hf_rows_text(rows, 4), "\\x010002ff");
        }
        hf_rows_free(rows);
    }
}

static void query__numbers_ignore_the_programs_locale(void **state)
{
    (void)state;
    if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL && setlocale(LC_ALL, "C.UTF-8") == NULL)
        skip();
    good(hf_query(db, "SELECT $1::float8 * 2, 'NaN'::float8, $2::float8",
                  HF_PARAMS(hf_double(1.25), hf_double(-1.0 / 0.0)), NULL, &rows, &err));
    setlocale(LC_ALL, "C");
    assert_int_equal(hf_rows_next(rows, NULL), 1);
    assert_true(hf_rows_double(rows, 0) == 2.5);
    assert_true(hf_rows_double(rows, 1) != hf_rows_double(rows, 1));
    assert_int_equal(hf_rows_int(rows, 1), 0);
    assert_string_equal(hf_rows_text(rows, 2), "-Infinity");
    hf_rows_free(rows);
}

static void query__a_hundred_parameters_are_as_good_as_one(void **state)
{
    (void)state;
    static struct hf_param list[100];
    static char sql[2000] = "SELECT 0";
    for (int i = 0; i < 100; i++) {
        list[i] = hf_int(i);
        snprintf(sql + strlen(sql), sizeof sql - strlen(sql), " + $%d::int", i + 1);
    }
    struct hf_params params = {list, 100};
    for (int i = 0; i < 4; i++) { /* plain, being prepared, prepared */
        good(hf_query(db, sql, &params, NULL, &rows, &err));
        assert_int_equal(hf_rows_next(rows, NULL), 1);
        assert_int_equal(hf_rows_int(rows, 0), 4950);
        hf_rows_free(rows);
    }
}

static void exec__says_how_many_rows_it_touched(void **state)
{
    (void)state;
    uint64_t affected = 99;
    good(hf_exec(db, "CREATE TABLE touched (i int)", NULL, NULL, &affected, &err));
    assert_int_equal(affected, 0);
    good(hf_exec(db, "INSERT INTO touched SELECT generate_series(1, $1::int)", HF_PARAMS(hf_int(5)),
                 NULL, &affected, &err));
    assert_int_equal(affected, 5);
    good(hf_exec(db, "DELETE FROM touched; INSERT INTO touched VALUES (1), (2)", NULL, NULL,
                 &affected, &err));
    assert_int_equal(affected, 2); /* the last one counts */
    good(hf_query(db, "UPDATE touched SET i = i + 1 RETURNING i", NULL, NULL, &rows, &err));
    assert_int_equal(hf_rows_affected(rows), 2);
    hf_rows_free(rows);
}

static void rows__made_by_hand_read_like_others(void **state)
{
    (void)state;
    static const char *const names[] = {"id", "name"};
    static const char *const values[] = {"1", "one", "2", NULL};
    good(hf_rows_make(names, 2, values, 2, &rows, &err));
    assert_int_equal(hf_rows_count(rows), 2);
    assert_int_equal(hf_rows_next(rows, NULL), 1);
    assert_int_equal(hf_rows_int(rows, 0), 1);
    assert_string_equal(hf_rows_text(rows, hf_rows_column(rows, "name")), "one");
    assert_int_equal(hf_rows_next(rows, NULL), 1);
    assert_true(hf_rows_is_null(rows, 1));
    assert_int_equal(hf_rows_next(rows, NULL), 0);
    hf_rows_free(rows);
    assert_int_equal(hf_rows_make(names, 0, values, 2, &rows, &err), HF_E_USAGE);
    assert_null(rows);
}

static void rows__outlive_their_database(void **state)
{
    (void)state;
    struct hf_db *short_lived = open_with((struct hf_options){0});
    good(hf_query(short_lived, "SELECT 'still here'", NULL, NULL, &rows, &err));
    hf_close(short_lived);
    assert_int_equal(hf_rows_next(rows, NULL), 1);
    assert_string_equal(hf_rows_text(rows, 0), "still here");
    hf_rows_free(rows);
}

/* ---- errors ---- */

static void query__an_error_names_all_the_server_said(void **state)
{
    (void)state;
    exec("CREATE TABLE parent (id int PRIMARY KEY CONSTRAINT small CHECK (id < 10))");
    assert_int_equal(hf_query(db, "SELECT nothing", NULL, NULL, &rows, &err), HF_E_SERVER);
    assert_null(rows);
    assert_string_equal(err.sqlstate, "42703");
    assert_int_equal(err.position, 8);
    assert_int_equal(err.attempts, 1);
    assert_false(err.may_repeat);
    assert_int_equal(
        hf_exec(db, "INSERT INTO parent VALUES ($1)", HF_PARAMS(hf_int(10)), NULL, NULL, &err),
        HF_E_SERVER);
    assert_string_equal(err.constraint, "small");
    assert_string_equal(err.sqlstate, "23514");
    /* The connection is as good as before. */
    assert_int_equal(number("SELECT 7"), 7);
}

static void query__wrong_use_is_told_and_harmless(void **state)
{
    (void)state;
    const struct hf_call_options bad[] = {
        {.intent = 17}, {.format = 5}, {.consistency = -3}, {.priority = 99}, {.cache = 8},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(hf_query(db, "SELECT 1", NULL, &bad[i], &rows, &err), HF_E_USAGE);
    assert_int_equal(hf_query(db, NULL, NULL, NULL, &rows, &err), HF_E_USAGE);
    assert_int_equal(hf_query(db, "SELECT 1", NULL, NULL, NULL, &err), HF_E_USAGE);
    assert_int_equal(hf_query(NULL, "SELECT 1", NULL, NULL, &rows, &err), HF_E_USAGE);
    assert_int_equal(hf_exec(db, "COPY (SELECT 1) TO STDOUT", NULL, NULL, NULL, &err), HF_E_USAGE);
    exec("CREATE TABLE copied (i int)");
    assert_int_equal(hf_exec(db, "COPY copied FROM STDIN", NULL, NULL, NULL, &err), HF_E_USAGE);
    assert_int_equal(number("SELECT count(*) FROM copied"), 0);
    hf_rows_free(NULL);
    assert_int_equal(hf_rows_count(NULL), 0);
}

static void query__an_unfinished_transaction_is_not_handed_on(void **state)
{
    (void)state;
    exec("CREATE TABLE unfinished (i int)");
    exec("BEGIN; INSERT INTO unfinished VALUES (1)");
    assert_int_equal(number("SELECT count(*) FROM unfinished"), 0);
}

static void query__what_a_statement_leaves_in_the_session_is_cleaned(void **state)
{
    (void)state;
    static const char *const traces[] = {
        "SET application_name = 'left behind'",
        "SELECT set_config('application_name', 'left behind', false)",
    };
    for (size_t i = 0; i < sizeof traces / sizeof traces[0]; i++) {
        good(hf_exec(db, traces[i], NULL, NULL, NULL, &err));
        assert_int_equal(
            number("SELECT (current_setting('application_name') = 'left behind')::int"), 0);
    }
    good(hf_exec(db, "CREATE TEMP TABLE mine (i int)", NULL, NULL, NULL, &err));
    assert_int_equal(number("SELECT (to_regclass('mine') IS NULL)::int"), 1);
}

/* ---- chunks ---- */

static void chunks__bring_all_rows_in_bounded_pieces(void **state)
{
    (void)state;
    static const struct {
        int rows, chunk;
    } cases[] = {{0, 3}, {1, 3}, {3, 3}, {4, 3}, {9, 3}, {10, 1}, {5, 100}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        good(hf_query(db, "SELECT i FROM generate_series(1, $1::int) i",
                      HF_PARAMS(hf_int(cases[i].rows)),
                      HF_WITH(.chunk_rows = (uint32_t)cases[i].chunk), &rows, &err));
        int64_t sum = 0, count = 0;
        int more;
        while ((more = hf_rows_next(rows, &err)) > 0) {
            sum += hf_rows_int(rows, 0);
            ++count;
        }
        assert_int_equal(more, 0);
        assert_int_equal(count, cases[i].rows);
        assert_int_equal(sum, (int64_t)cases[i].rows * (cases[i].rows + 1) / 2);
        assert_int_equal(hf_rows_count(rows), count);
        hf_rows_free(rows);
    }
}

static void chunks__an_error_after_rows_is_told_where_it_comes(void **state)
{
    (void)state;
    good(hf_query(db, "SELECT 1 / (5 - i) FROM generate_series(1, 9) i", NULL,
                  HF_WITH(.chunk_rows = 2), &rows, &err));
    int count = 0, more;
    while ((more = hf_rows_next(rows, &err)) > 0)
        ++count;
    assert_int_equal(more, -1);
    assert_true(count >= 2 && count <= 4);
    assert_string_equal(err.sqlstate, "22012");
    hf_rows_free(rows);
    assert_int_equal(number("SELECT 3"), 3);
}

static void chunks__freed_in_the_middle_are_cancelled(void **state)
{
    (void)state;
    struct hf_stats before, after;
    for (int i = 0; i < 5; i++) {
        good(hf_query(db, "SELECT repeat('x', 1000) FROM generate_series(1, 1000000)", NULL,
                      HF_WITH(.chunk_rows = 10), &rows, &err));
        assert_int_equal(hf_rows_next(rows, &err), 1);
        assert_int_equal(hf_rows_count(rows), -1);
        int64_t begun = now_ms();
        hf_rows_free(rows);
        assert_true(now_ms() - begun < 20000);
    }
    hf_stats(db, &before);
    assert_int_equal(number("SELECT 4"), 4);
    hf_stats(db, &after);
    /* The server ends them too. */
    int64_t deadline = now_ms() + 30000;
    while (rig_number(&rig.servers[0], "SELECT count(*) FROM pg_stat_activity WHERE state = "
                                       "'active' AND query LIKE 'SELECT repeat%'") > 0)
        assert_true(now_ms() < deadline);
}

/* ---- prepared statements ---- */

static void prepared__many_texts_fit_through_a_small_table(void **state)
{
    (void)state;
    struct hf_db *one = open_with((struct hf_options){.pool = {.size_max = 1}});
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 200; i++) {
            char sql[64];
            snprintf(sql, sizeof sql, "SELECT $1::int + %d", i);
            /* Three times in a row: plain, being prepared, prepared. */
            for (int n = 0; n < 3; n++) {
                good(hf_query(one, sql, HF_PARAMS(hf_int(1)), NULL, &rows, &err));
                assert_int_equal(hf_rows_next(rows, NULL), 1);
                assert_int_equal(hf_rows_int(rows, 0), i + 1);
                hf_rows_free(rows);
            }
        }
    }
    good(hf_query(one, "SELECT count(*) FROM pg_prepared_statements", NULL, NULL, &rows, &err));
    assert_int_equal(hf_rows_next(rows, NULL), 1);
    assert_true(hf_rows_int(rows, 0) >= 32 && hf_rows_int(rows, 0) <= 64);
    hf_rows_free(rows);
    hf_close(one);
}

static void prepared__a_changed_table_and_a_lost_statement_are_cured(void **state)
{
    (void)state;
    struct hf_db *one = open_with((struct hf_options){.pool = {.size_max = 1}});
    exec("CREATE TABLE changing (a int)");
    exec("INSERT INTO changing VALUES (1)");
    static const char *const between[] = {
        "ALTER TABLE changing ADD COLUMN b int DEFAULT 2",
        "DEALLOCATE ALL",
        "ALTER TABLE changing ALTER COLUMN a TYPE text",
    };
    for (int round = -1; round < 3; round++) {
        if (round >= 0)
            good(hf_exec(one, between[round], NULL, HF_WITH(.intent = HF_WRITE), NULL, &err));
        for (int i = 0; i < 4; i++) {
            good(hf_query(one, "SELECT * FROM changing WHERE a::text = $1::text",
                          HF_PARAMS(hf_text("1")), NULL, &rows, &err));
            assert_int_equal(hf_rows_count(rows), 1);
            assert_int_equal(hf_rows_columns(rows), round < 0 ? 1 : 2);
            hf_rows_free(rows);
        }
    }
    hf_close(one);
}

static void prepared__the_same_text_with_other_types_is_another_statement(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct hf_param typed = hf_int(12);
        typed.type = i % 2 == 0 ? 23 : 25;
        good(hf_query(db, "SELECT pg_typeof($1)::text", HF_PARAMS(typed), NULL, &rows, &err));
        assert_int_equal(hf_rows_next(rows, NULL), 1);
        assert_string_equal(hf_rows_text(rows, 0), i % 2 == 0 ? "integer" : "text");
        hf_rows_free(rows);
    }
}

/* ---- deadlines and cancelling ---- */

static void deadline__is_kept_and_the_connection_comes_back(void **state)
{
    (void)state;
    struct hf_db *one = open_with((struct hf_options){.pool = {.size_max = 1}});
    for (int i = 0; i < 3; i++) {
        int64_t begun = now_ms();
        int code = hf_exec(one, "SELECT pg_sleep(60)", NULL,
                           HF_WITH(.deadline_ms = 200, .intent = HF_READ), NULL, &err);
        int64_t took = now_ms() - begun;
        assert_int_equal(code, HF_E_DEADLINE);
        assert_true(err.may_repeat);
        assert_true(took >= 199 && took < 20000);
        /* The only connection is freed by the reaper, and serves the next call. */
        good(hf_query(one, "SELECT 1", NULL, NULL, &rows, &err));
        hf_rows_free(rows);
    }
    struct hf_endpoint endpoint;
    assert_int_equal(hf_endpoints(one, &endpoint, 1), 1);
    assert_int_equal(endpoint.open, 1);
    hf_close(one);
}

static void deadline__of_a_write_is_an_unknown_outcome(void **state)
{
    (void)state;
    assert_int_equal(hf_exec(db, "CREATE TABLE slow AS SELECT pg_sleep(60)::text", NULL,
                             HF_WITH(.deadline_ms = 1000), NULL, &err),
                     HF_E_UNKNOWN);
    assert_string_equal(err.sqlstate, "08007");
    assert_false(err.may_repeat);
}

static void *fire_soon(void *cancel)
{
    sleep_ms(100);
    hf_cancel_fire(cancel);
    return NULL;
}

static struct hf_cancel *of_signal;

static void on_alarm(int number_of_signal)
{
    (void)number_of_signal;
    hf_cancel_fire(of_signal);
}

static void cancel__stops_calls_now_and_later_until_reset(void **state)
{
    (void)state;
    struct hf_cancel *cancel;
    pthread_t thread;
    good(hf_cancel_new(&cancel, &err));
    pthread_create(&thread, NULL, fire_soon, cancel);
    int64_t begun = now_ms();
    assert_int_equal(hf_exec(db, "SELECT pg_sleep(60)", NULL,
                             HF_WITH(.cancel = cancel, .intent = HF_READ), NULL, &err),
                     HF_E_CANCELLED);
    assert_true(now_ms() - begun < 25000);
    pthread_join(thread, NULL);
    begun = now_ms();
    assert_int_equal(
        hf_exec(db, "SELECT pg_sleep(60)", NULL, HF_WITH(.cancel = cancel), NULL, &err),
        HF_E_CANCELLED);
    assert_true(now_ms() - begun < 25000);
    hf_cancel_reset(cancel);
    good(hf_exec(db, "SELECT 1", NULL, HF_WITH(.cancel = cancel), NULL, &err));
    hf_cancel_free(cancel);
    hf_cancel_free(NULL);
}

static void cancel__may_be_fired_by_a_signal_handler(void **state)
{
    (void)state;
    good(hf_cancel_new(&of_signal, &err));
    struct sigaction action = {.sa_handler = on_alarm}, before;
    sigaction(SIGALRM, &action, &before);
    ualarm(100000, 0);
    int64_t begun = now_ms();
    assert_int_equal(hf_exec(db, "SELECT pg_sleep(60)", NULL,
                             HF_WITH(.cancel = of_signal, .intent = HF_READ), NULL, &err),
                     HF_E_CANCELLED);
    assert_true(now_ms() - begun < 25000);
    sigaction(SIGALRM, &before, NULL);
    hf_cancel_free(of_signal);
}

/* ---- the pool ---- */

static void pool__connections_the_server_closed_are_not_used(void **state)
{
    (void)state;
    exec("CREATE TABLE appended (i int)");
    for (int i = 0; i < 10; i++) {
        exec("INSERT INTO appended VALUES (1)");
        rig_sql(&rig.servers[0],
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = "
                "'client backend' AND pid <> pg_backend_pid() AND application_name = 'holdfast'",
                NULL, 0);
        while (rig_number(&rig.servers[0], "SELECT count(*) FROM pg_stat_activity WHERE "
                                           "application_name = 'holdfast'") > 0)
            sleep_ms(10);
        sleep_ms(20);
    }
    exec("INSERT INTO appended VALUES (1)"); /* none of these was an unknown outcome */
    assert_int_equal(number("SELECT count(*) FROM appended"), 11);
}

struct holder {
    struct hf_db *db;
    const char *sql; /* NULL: 0.3 s */
    int code;
    int64_t took_ms;
    struct hf_error err;
};

static void *hold(void *arg)
{
    struct holder *holder = arg;
    int64_t begun = now_ms();
    const char *sql = holder->sql != NULL ? holder->sql : "SELECT pg_sleep(0.3)";
    holder->code = hf_exec(holder->db, sql, NULL, HF_WITH(.intent = HF_READ), NULL, &holder->err);
    holder->took_ms = now_ms() - begun;
    return NULL;
}

static void pool__who_finds_it_full_waits_for_a_place(void **state)
{
    (void)state;
    struct hf_db *two = open_with((struct hf_options){.pool = {.size_max = 2}});
    struct holder holders[6];
    pthread_t threads[6];
    int64_t begun = now_ms();
    for (int i = 0; i < 6; i++) {
        holders[i] = (struct holder){.db = two};
        pthread_create(&threads[i], NULL, hold, &holders[i]);
    }
    for (int i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(holders[i].code, HF_SUCCESS);
    }
    int64_t took = now_ms() - begun;
    assert_true(took >= 890);
    struct hf_endpoint endpoint;
    hf_endpoints(two, &endpoint, 1);
    assert_true(endpoint.open <= 2);
    hf_close(two);
}

static void pool__a_queue_that_is_full_refuses_at_once(void **state)
{
    (void)state;
    struct hf_db *one = open_with((struct hf_options){
        .pool = {.size_max = 1}, .bulkhead = {.queue_max = 1, .wait_ms = 60000}});
    struct holder holders[2];
    pthread_t threads[2];
    struct hf_tx *locker;
    good(hf_tx_begin(db, NULL, &locker, &err));
    good(hf_tx_exec(locker, "SELECT pg_advisory_xact_lock(1)", NULL, NULL, NULL, &err));
    for (int i = 0; i < 2; i++) {
        holders[i] = (struct holder){.db = one, .sql = "SELECT pg_advisory_xact_lock(1)"};
        pthread_create(&threads[i], NULL, hold, &holders[i]);
    }
    struct hf_endpoint endpoint;
    int64_t begun = now_ms();
    while (hf_endpoints(one, &endpoint, 1) == 1 && endpoint.busy + endpoint.waiting < 2)
        assert_true(now_ms() - begun < 30000);
    begun = now_ms();
    assert_int_equal(hf_exec(one, "SELECT 1", NULL, HF_WITH(.intent = HF_READ), NULL, &err),
                     HF_E_BUSY);
    assert_true(now_ms() - begun < 20000); /* at once, and not when a place is free */
    assert_string_equal(err.sqlstate, "53300");
    hf_tx_rollback(locker);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(holders[i].code, HF_SUCCESS);
    }
    hf_close(one);
}

static void pool__idle_and_old_connections_are_closed(void **state)
{
    (void)state;
    struct hf_db *brief = open_with(
        (struct hf_options){.pool = {.size_max = 4, .idle_ms = 200, .lifetime_ms = 60000}});
    struct hf_endpoint endpoint;
    good(hf_exec(brief, "SELECT 1", NULL, NULL, NULL, &err));
    hf_endpoints(brief, &endpoint, 1);
    assert_int_equal(endpoint.open, 1);
    assert_int_equal(endpoint.idle, 1);
    int64_t deadline = now_ms() + 30000;
    while (hf_endpoints(brief, &endpoint, 1) == 1 && endpoint.open > 0) {
        assert_true(now_ms() < deadline);
        sleep_ms(50);
    }
    hf_close(brief);
}

static void pool__keeps_its_minimum_open(void **state)
{
    (void)state;
    struct hf_db *warm = open_with((struct hf_options){.pool = {.size_max = 4, .size_min = 3}});
    struct hf_endpoint endpoint;
    int64_t deadline = now_ms() + 30000;
    while (hf_endpoints(warm, &endpoint, 1) == 1 && endpoint.idle < 3) {
        assert_true(now_ms() < deadline);
        sleep_ms(50);
    }
    assert_int_equal(endpoint.open, 3);
    hf_close(warm);
}

/* ---- loans and sessions ---- */

static void lease__is_a_connection_of_libpq_and_comes_back_clean(void **state)
{
    (void)state;
    struct hf_lease *lease;
    good(hf_lease_take(db, NULL, &lease, &err));
    PGconn *pg = (PGconn *)hf_lease_pg(lease);
    PGresult *result = PQexec(pg, "SET application_name = 'on loan'; LISTEN news");
    assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
    PQclear(result);
    hf_lease_give(lease, false);
    for (int i = 0; i < 3; i++)
        assert_int_equal(number("SELECT count(*) FROM pg_listening_channels()"), 0);
    good(hf_lease_take(db, HF_WITH(.intent = HF_READ), &lease, &err));
    result = PQexec((PGconn *)hf_lease_pg(lease), "BEGIN");
    PQclear(result);
    hf_lease_give(lease, false); /* inside of a transaction: closed */
    good(hf_lease_take(db, NULL, &lease, &err));
    hf_lease_give(lease, true);
    hf_lease_give(NULL, false);
    assert_int_equal(number("SELECT 5"), 5);
}

static void session__a_token_carries_what_was_written(void **state)
{
    (void)state;
    struct hf_session *mine, *other;
    char token[HF_TOKEN_BYTES], again[HF_TOKEN_BYTES];
    good(hf_session_new(db, &mine, &err));
    good(hf_session_new(db, &other, &err));
    good(hf_session_token(mine, token, &err)); /* nothing written: promises nothing */
    good(hf_exec(db, "CREATE TABLE written (i int)", NULL, HF_WITH(.session = mine), NULL, &err));
    good(hf_session_token(mine, token, &err));
    good(hf_session_adopt(other, token, &err));
    good(
        hf_query(db, "SELECT count(*) FROM written", NULL, HF_WITH(.session = other), &rows, &err));
    hf_rows_free(rows);
    good(hf_session_token(other, again, &err));
    assert_true(strlen(again) > 0);
    assert_int_equal(hf_session_adopt(other, "h1.nonsense", &err), HF_E_USAGE);
    assert_int_equal(hf_session_adopt(NULL, token, &err), HF_E_USAGE);
    hf_session_free(mine);
    hf_session_free(other);
    hf_session_free(NULL);
}

/* ---- what a statement is ---- */

static void class_of(const char *sql, char out[24])
{
    struct hf_decision decision;
    good(hf_exec(db, sql, NULL, HF_WITH(.decision = &decision), NULL, &err));
    memcpy(out, decision.class_name, 24);
}

static void intent__a_function_of_the_application_is_learned_from_the_catalogue(void **state)
{
    (void)state;
    char is[24];
    exec("CREATE FUNCTION harmless(i int) RETURNS int STABLE LANGUAGE sql AS 'SELECT i'");
    exec("CREATE FUNCTION harmful(i int) RETURNS int VOLATILE LANGUAGE sql AS 'SELECT i'");
    class_of("SELECT abs(1)", is);
    assert_string_equal(is, "read");
    class_of("SELECT harmless(1)", is);
    assert_string_equal(is, "write"); /* who knows */
    int64_t deadline = now_ms() + 60000;
    while (strcmp(is, "read") != 0) {
        assert_true(now_ms() < deadline);
        sleep_ms(100);
        class_of("SELECT harmless(1)", is);
    }
    class_of("SELECT harmful(1)", is);
    assert_string_equal(is, "write");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query__rows_come_in_order_and_end),
        cmocka_unit_test(query__parameters_of_every_kind_arrive),
        cmocka_unit_test(query__numbers_ignore_the_programs_locale),
        cmocka_unit_test(query__a_hundred_parameters_are_as_good_as_one),
        cmocka_unit_test(exec__says_how_many_rows_it_touched),
        cmocka_unit_test(rows__made_by_hand_read_like_others),
        cmocka_unit_test(rows__outlive_their_database),
        cmocka_unit_test(query__an_error_names_all_the_server_said),
        cmocka_unit_test(query__wrong_use_is_told_and_harmless),
        cmocka_unit_test(query__an_unfinished_transaction_is_not_handed_on),
        cmocka_unit_test(query__what_a_statement_leaves_in_the_session_is_cleaned),
        cmocka_unit_test(chunks__bring_all_rows_in_bounded_pieces),
        cmocka_unit_test(chunks__an_error_after_rows_is_told_where_it_comes),
        cmocka_unit_test(chunks__freed_in_the_middle_are_cancelled),
        cmocka_unit_test(prepared__many_texts_fit_through_a_small_table),
        cmocka_unit_test(prepared__a_changed_table_and_a_lost_statement_are_cured),
        cmocka_unit_test(prepared__the_same_text_with_other_types_is_another_statement),
        cmocka_unit_test(deadline__is_kept_and_the_connection_comes_back),
        cmocka_unit_test(deadline__of_a_write_is_an_unknown_outcome),
        cmocka_unit_test(cancel__stops_calls_now_and_later_until_reset),
        cmocka_unit_test(cancel__may_be_fired_by_a_signal_handler),
        cmocka_unit_test(pool__connections_the_server_closed_are_not_used),
        cmocka_unit_test(pool__who_finds_it_full_waits_for_a_place),
        cmocka_unit_test(pool__a_queue_that_is_full_refuses_at_once),
        cmocka_unit_test(pool__idle_and_old_connections_are_closed),
        cmocka_unit_test(pool__keeps_its_minimum_open),
        cmocka_unit_test(lease__is_a_connection_of_libpq_and_comes_back_clean),
        cmocka_unit_test(session__a_token_carries_what_was_written),
        cmocka_unit_test(intent__a_function_of_the_application_is_learned_from_the_catalogue),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
