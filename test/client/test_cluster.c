/*
 * A primary and a standby: where statements go, what a session sees, and what becomes of pooled
 * connections when the standby is promoted.
 */
#include "../unit/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "holdfast.h"
#include "pg_rig.h"

static struct rig rig;
static struct hf_db *db;
static struct hf_error err;
static struct hf_rows *rows;

#define PATIENCE_MS 60000

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

static void good(int code)
{
    if (code != HF_SUCCESS)
        fail_msg("%s: %s | %s", hf_code_name(code), err.message, err.detail);
}

/* Where a statement went: 0 is the first server of the rig. */
static int where(const char *sql, const struct hf_call_options *options)
{
    char name[64];
    good(hf_query(db, sql, NULL, options, &rows, &err));
    int at = -1;
    for (size_t i = 0; i < rig.count; i++) {
        snprintf(name, sizeof name, "127.0.0.1:%d", rig.servers[i].port);
        if (strcmp(name, hf_rows_endpoint(rows)) == 0)
            at = (int)i;
    }
    hf_rows_free(rows);
    return at;
}

/* The watcher has to see first what the server has. */
static void wait_at(const char *sql, const struct hf_call_options *options, int wanted)
{
    int64_t deadline = now_ms() + PATIENCE_MS;
    while (where(sql, options) != wanted) {
        assert_true(now_ms() < deadline);
        sleep_ms(20);
    }
}

static int begin(void **state)
{
    (void)state;
    char text[200];
    rig_begin(&rig, 1);
    snprintf(text, sizeof text, "host=127.0.0.1,127.0.0.1 port=%d,%d user=postgres dbname=postgres",
             rig.servers[0].port, rig.servers[1].port);
    struct hf_options options = {
        .conninfo = text, .deadline_ms = 120000, .start_ms = 60000, .hold_ms = 90000};
    good(hf_open_with(&db, &options, &err));
    /* Both are known, and the standby is close enough. */
    wait_at("SELECT 1", HF_WITH(.intent = HF_READ), 1);
    good(hf_exec(db, "CREATE TABLE t (i int)", NULL, NULL, NULL, &err));
    rig_wait_replayed(&rig.servers[0], &rig.servers[1]);
    return 0;
}

static int end(void **state)
{
    (void)state;
    hf_close(db);
    rig_end(&rig);
    return 0;
}

static void cluster__reads_go_to_the_replica_and_writes_to_the_primary(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        wait_at("SELECT count(*) FROM t", NULL, 1);
        assert_int_equal(where("SELECT count(*) FROM t", HF_WITH(.intent = HF_WRITE)), 0);
        assert_int_equal(where("SELECT count(*) FROM t", HF_WITH(.consistency = HF_PRIMARY)), 0);
        assert_int_equal(where("INSERT INTO t VALUES (1) RETURNING i", NULL), 0);
        assert_int_equal(where("SELECT i FROM t FOR UPDATE", NULL), 0);
        rig_wait_replayed(&rig.servers[0], &rig.servers[1]);
    }
}

static void cluster__a_session_sees_its_own_writes_wherever_it_reads(void **state)
{
    (void)state;
    struct hf_session *session, *other;
    char token[HF_TOKEN_BYTES];
    good(hf_session_new(db, &session, &err));
    good(hf_session_new(db, &other, &err));
    rig_sql(&rig.servers[1], "SELECT pg_wal_replay_pause()", NULL, 0);
    for (int i = 100; i < 110; i++) {
        good(hf_exec(db, "INSERT INTO t VALUES ($1::int)", HF_PARAMS(hf_int(i)),
                     HF_WITH(.session = session), NULL, &err));
        good(hf_query(db, "SELECT max(i) FROM t", NULL, HF_WITH(.session = session), &rows, &err));
        assert_int_equal(hf_rows_next(rows, NULL), 1);
        assert_int_equal(hf_rows_int(rows, 0), i);
        hf_rows_free(rows);
    }
    /* Who was not promised anything may read what is older. */
    wait_at("SELECT max(i) FROM t", HF_WITH(.session = other), 1);
    good(hf_session_token(session, token, &err));
    good(hf_session_adopt(other, token, &err));
    assert_int_equal(where("SELECT max(i) FROM t", HF_WITH(.session = other)), 0);
    rig_sql(&rig.servers[1], "SELECT pg_wal_replay_resume()", NULL, 0);
    rig_wait_replayed(&rig.servers[0], &rig.servers[1]);
    wait_at("SELECT max(i) FROM t", HF_WITH(.session = other), 1);
    hf_session_free(session);
    hf_session_free(other);
}

static void cluster__a_read_that_writes_after_all_is_learned(void **state)
{
    (void)state;
    good(hf_exec(db,
                 "CREATE FUNCTION sly() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN "
                 "PERFORM set_config(''transaction_read_only'', ''off'', true); RETURN "
                 "nextval(''s'')::int; END'; CREATE SEQUENCE s; CREATE VIEW innocent AS "
                 "SELECT nextval('s') AS n",
                 NULL, NULL, NULL, &err));
    rig_wait_replayed(&rig.servers[0], &rig.servers[1]);
    /* By the grammar it is a read; the replica says 25006; it runs on the primary. */
    assert_int_equal(where("SELECT n FROM innocent", NULL), 0);
    assert_int_equal(where("SELECT n FROM innocent", NULL), 0);
}

static _Atomic bool is_over;
static _Atomic int acknowledged, unknown, failed;

static void *write_on(void *arg)
{
    (void)arg;
    struct hf_error why;
    while (!is_over) {
        int code = hf_exec(db, "INSERT INTO t VALUES (1000)", NULL, NULL, NULL, &why);
        if (code == HF_SUCCESS)
            ++acknowledged;
        else if (code == HF_E_UNKNOWN)
            ++unknown;
        else
            ++failed;
        sleep_ms(5);
    }
    return NULL;
}

static void cluster__writers_go_on_with_the_promoted_server(void **state)
{
    (void)state;
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, write_on, NULL);
    int64_t begun = now_ms();
    while (acknowledged < 20) {
        assert_true(now_ms() - begun < PATIENCE_MS);
        sleep_ms(5);
    }
    rig_kill(&rig.servers[0]);
    rig_promote(&rig.servers[1]);
    int before = acknowledged;
    int64_t deadline = now_ms() + PATIENCE_MS;
    while (acknowledged < before + 50) {
        assert_true(now_ms() < deadline);
        sleep_ms(20);
    }
    is_over = true;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    print_message("%d acknowledged, %d unknown, %d failed\n", (int)acknowledged, (int)unknown,
                  (int)failed);
    assert_int_equal(failed, 0); /* they were held while there was no primary */
    assert_true(unknown <= 3);   /* one at most was under way in each thread */
    assert_int_equal(where("SELECT 1", HF_WITH(.intent = HF_WRITE)), 1);
    assert_int_equal(where("SELECT 1", NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cluster__reads_go_to_the_replica_and_writes_to_the_primary),
        cmocka_unit_test(cluster__a_session_sees_its_own_writes_wherever_it_reads),
        cmocka_unit_test(cluster__a_read_that_writes_after_all_is_learned),
        cmocka_unit_test(cluster__writers_go_on_with_the_promoted_server),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
