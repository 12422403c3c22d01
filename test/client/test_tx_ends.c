/*
 * Transactions that others end: the deadline, a cancel, hf_close(), a longjmp() out of the work.
 */
#include "tx_rig.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct tx_rig rig;

/* Time for a connection, BEGIN and an INSERT on a busy machine; and what is far more than an end
 * needs, but less than the server would sleep. */
#define DEADLINE_MS 1500
#define PATIENCE_MS 30000

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

static const char ASLEEP[] =
    "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%sleep%' "
    "AND pid <> pg_backend_pid()";

static int slow_work(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    (void)arg;
    assert_ok(insert(tx, 1, err), err);
    return hf_tx_exec(tx, "SELECT pg_sleep(60)", NULL, NULL, NULL, err);
}

static void tx_ends__the_deadline_ends_it_and_nothing_stays(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    int64_t began = tx_rig_ms();
    assert_code(
        hf_tx(db, &(struct hf_tx_options){.deadline_ms = DEADLINE_MS}, slow_work, NULL, &err),
        HF_E_DEADLINE, &err);
    assert_in_range(tx_rig_ms() - began, DEADLINE_MS - 50, PATIENCE_MS);
    while (rig_number(server(), ASLEEP) > 0)
        assert_in_range(tx_rig_ms() - began, 0, PATIENCE_MS); /* the server was told to stop, too */
    hf_close(db);
    assert_int_equal(tx_rig_count(server()), 0);
}

static void tx_ends__one_statements_own_deadline(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_tx *tx;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
    assert_ok(insert(tx, 1, &err), &err);
    int64_t began = tx_rig_ms();
    assert_code(
        hf_tx_exec(tx, "SELECT pg_sleep(60)", NULL, HF_WITH(.deadline_ms = 600), NULL, &err),
        HF_E_DEADLINE, &err);
    assert_in_range(tx_rig_ms() - began, 550, PATIENCE_MS);
    assert_code(insert(tx, 2, &err), HF_E_SERVER, &err); /* it waits for its rollback ... */
    hf_tx_rollback(tx);
    assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
    assert_ok(hf_tx_savepoint(tx, &err), &err);
    assert_code(
        hf_tx_exec(tx, "SELECT pg_sleep(60)", NULL, HF_WITH(.deadline_ms = 600), NULL, &err),
        HF_E_DEADLINE, &err);
    assert_ok(hf_tx_rollback_to(tx, &err), &err); /* ... and lives after one to a savepoint */
    assert_ok(insert(tx, 3, &err), &err);
    assert_ok(hf_tx_commit(tx, &err), &err);
    hf_close(db);
    assert_int_equal(tx_rig_count(server()), 1);
}

/* Once the server sleeps. */
static void *fire_soon(void *cancel)
{
    int64_t began = tx_rig_ms();
    while (rig_number(server(), ASLEEP) == 0 && tx_rig_ms() - began < PATIENCE_MS)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    hf_cancel_fire(cancel);
    return NULL;
}

static void tx_ends__a_cancel_ends_it(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_cancel *cancel;
    pthread_t thread;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_cancel_new(&cancel, &err), &err);
    assert_int_equal(pthread_create(&thread, NULL, fire_soon, cancel), 0);
    int64_t began = tx_rig_ms();
    assert_code(hf_tx(db, &(struct hf_tx_options){.cancel = cancel}, slow_work, NULL, &err),
                HF_E_CANCELLED, &err);
    assert_in_range(tx_rig_ms() - began, 0, PATIENCE_MS);
    pthread_join(thread, NULL);
    hf_cancel_free(cancel);
    hf_close(db);
    assert_int_equal(tx_rig_count(server()), 0);
}

/* The owner sits in code of its own while the deadline passes. */
static void tx_ends__an_idle_owner_loses_the_connection_at_the_deadline(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_tx *tx;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_tx_begin(db, &(struct hf_tx_options){.deadline_ms = DEADLINE_MS}, &tx, &err),
              &err);
    assert_ok(insert(tx, 1, &err), &err);
    int64_t began = tx_rig_ms();
    while (rig_number(server(), "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in "
                                "transaction'") > 0)
        assert_in_range(tx_rig_ms() - began, 0, PATIENCE_MS);
    assert_code(insert(tx, 2, &err), HF_E_DEADLINE, &err);
    assert_code(hf_tx_commit(tx, &err), HF_E_DEADLINE, &err);
    hf_close(db);
    assert_int_equal(tx_rig_count(server()), 0);
}

/* Owners who are slow say nothing of the server. */
static void tx_ends__an_idle_owner_does_not_open_the_breaker(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_options options = {
        .breaker = {.trip = HF_TRIP_CONSECUTIVE, .failure_threshold = 2, .slow_ms = 500}};
    struct hf_db *db = tx_rig_open(&rig, &options);
    for (int i = 0; i < 3; i++) {
        struct hf_tx *tx;
        struct timespec pause = {.tv_sec = 1, .tv_nsec = 100000000};
        assert_ok(hf_tx_begin(db, &(struct hf_tx_options){.deadline_ms = 1000}, &tx, &err), &err);
        assert_ok(insert(tx, i, &err), &err);
        nanosleep(&pause, NULL);
        assert_code(hf_tx_commit(tx, &err), HF_E_DEADLINE, &err);
        struct hf_endpoint endpoint;
        assert_int_equal(hf_endpoints(db, &endpoint, 1), 1);
        assert_string_equal(endpoint.breaker, "closed");
        assert_string_equal(endpoint.health, "up");
    }
    hf_close(db);
    assert_int_equal(tx_rig_count(server()), 0);
}

/* ---- longjmp ---- */

static jmp_buf jump_to;

static int jump_out(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    (void)arg;
    assert_ok(insert(tx, 1, err), err);
    longjmp(jump_to, 1);
}

static __attribute__((noinline)) void run_and_jump(struct hf_db *db,
                                                   const struct hf_tx_options *options)
{
    hf_tx(db, options, jump_out, NULL, NULL);
}

static long idle_in_transaction(void)
{
    return rig_number(server(), "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in "
                                "transaction'");
}

static void tx_ends__a_work_left_by_longjmp_is_undone_by_the_next_call(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    if (setjmp(jump_to) == 0)
        run_and_jump(db, NULL);
    assert_int_equal(idle_in_transaction(), 1);
    int id = 2; /* no savepoint of the one that was left */
    assert_ok(hf_tx(db, NULL, insert_one, &id, &err), &err);
    assert_int_equal(idle_in_transaction(), 0);
    assert_int_equal(rig_number(server(), "SELECT sum(id) FROM t"), 2);
    hf_close(db);
}

static void tx_ends__a_work_left_by_longjmp_is_undone_by_hf_close(void **state)
{
    (void)state;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    if (setjmp(jump_to) == 0)
        run_and_jump(db, NULL);
    hf_close(db);
    assert_int_equal(tx_rig_count(server()), 0);
}

static void tx_ends__a_work_left_by_longjmp_is_undone_at_its_deadline(void **state)
{
    (void)state;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    struct hf_tx_options options = {.deadline_ms = DEADLINE_MS};
    if (setjmp(jump_to) == 0)
        run_and_jump(db, &options);
    int64_t began = tx_rig_ms();
    while (idle_in_transaction() > 0)
        assert_in_range(tx_rig_ms() - began, 0, PATIENCE_MS);
    assert_int_equal(tx_rig_count(server()), 0);
    hf_close(db);
}

static void *jump_in_thread(void *db)
{
    jmp_buf here;
    memcpy(&here, &jump_to, sizeof here); /* one thread at a time uses jump_to */
    if (setjmp(jump_to) == 0)
        run_and_jump(db, NULL);
    return NULL;
}

static void tx_ends__a_work_left_by_longjmp_is_undone_when_its_thread_ends(void **state)
{
    (void)state;
    pthread_t thread;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_int_equal(pthread_create(&thread, NULL, jump_in_thread, db), 0);
    pthread_join(thread, NULL);
    int64_t began = tx_rig_ms();
    while (idle_in_transaction() > 0)
        assert_in_range(tx_rig_ms() - began, 0, PATIENCE_MS);
    hf_close(db);
    assert_int_equal(tx_rig_count(server()), 0);
}

/* ---- closing ---- */

static int close_inside(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    struct hf_db *db = arg;
    assert_ok(insert(tx, 1, err), err);
    hf_close(db);
    assert_code(insert(tx, 2, err), HF_E_CLOSED, err);
    return 0;
}

static void tx_ends__hf_close_ends_what_is_open(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_tx *tx;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
    assert_ok(insert(tx, 1, &err), &err);
    hf_close(db);
    assert_code(hf_tx_commit(tx, &err), HF_E_CLOSED, &err);
    assert_int_equal(tx_rig_count(server()), 0);
    db = tx_rig_open(&rig, NULL);
    assert_code(hf_tx(db, NULL, close_inside, db, &err), HF_E_CLOSED, &err);
    assert_int_equal(tx_rig_count(server()), 0);
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
        cmocka_unit_test(tx_ends__the_deadline_ends_it_and_nothing_stays),
        cmocka_unit_test(tx_ends__one_statements_own_deadline),
        cmocka_unit_test(tx_ends__a_cancel_ends_it),
        cmocka_unit_test(tx_ends__an_idle_owner_loses_the_connection_at_the_deadline),
        cmocka_unit_test(tx_ends__an_idle_owner_does_not_open_the_breaker),
        cmocka_unit_test(tx_ends__a_work_left_by_longjmp_is_undone_by_the_next_call),
        cmocka_unit_test(tx_ends__a_work_left_by_longjmp_is_undone_by_hf_close),
        cmocka_unit_test(tx_ends__a_work_left_by_longjmp_is_undone_at_its_deadline),
        cmocka_unit_test(tx_ends__a_work_left_by_longjmp_is_undone_when_its_thread_ends),
        cmocka_unit_test(tx_ends__hf_close_ends_what_is_open),
    };
    return cmocka_run_group_tests(tests, begin_rig, end_rig);
}
