/*
 * Transactions in the caller's own loop.
 */
#include "tx_rig.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

static struct tx_rig rig;

/* Time for a connection, BEGIN and an INSERT on a busy machine; and what is far more than an end
 * needs. */
#define DEADLINE_MS 1500
#define PATIENCE_MS 30000

static const struct rig_server *server(void)
{
    return &rig.servers.servers[0];
}

/* What the last callback said. */
struct said {
    int times, code;
    struct hf_tx *tx;
    int64_t value; /* first column of the first row */
    struct hf_error err;
};

static void hear(struct hf_call *call, int code, struct hf_rows *rows, const struct hf_error *err,
                 void *arg)
{
    struct said *said = arg;
    ++said->times;
    said->code = code;
    said->err = *err;
    if (hf_call_tx(call) != NULL)
        said->tx = hf_call_tx(call);
    if (rows != NULL && hf_rows_next(rows, NULL) == 1)
        said->value = hf_rows_int(rows, 0);
    hf_rows_free(rows);
}

/* Turns the loop until it was called back so often. */
static void turn_until(struct hf_loop *loop, const struct said *said, int times)
{
    int64_t began = tx_rig_ms();
    while (said->times < times) {
        struct pollfd file = {.fd = hf_loop_fd(loop), .events = POLLIN};
        int64_t timeout = hf_loop_timeout_ms(loop);
        poll(&file, 1, timeout < 0 || timeout > 1000 ? 1000 : (int)timeout);
        hf_turn(loop);
        assert_in_range(tx_rig_ms() - began, 0, PATIENCE_MS);
    }
}

static struct hf_tx *begin(struct hf_loop *loop, const struct hf_tx_options *options,
                           struct said *said)
{
    struct hf_error err;
    *said = (struct said){0};
    assert_ok(hf_loop_begin(loop, options, hear, said, &err), &err);
    turn_until(loop, said, 1);
    assert_ok(said->code, &said->err);
    assert_non_null(said->tx);
    return said->tx;
}

static int query(struct hf_loop *loop, struct hf_tx *tx, const char *sql, int id, struct said *said)
{
    struct hf_error err;
    said->times = 0;
    assert_ok(hf_loop_tx_query(tx, sql, HF_PARAMS(hf_int(id)), NULL, hear, said, &err), &err);
    turn_until(loop, said, 1);
    return said->code;
}

static int commit(struct hf_loop *loop, struct hf_tx *tx, struct said *said)
{
    struct hf_error err;
    said->times = 0;
    assert_ok(hf_loop_commit(tx, hear, said, &err), &err);
    turn_until(loop, said, 1);
    return said->code;
}

static void rollback(struct hf_loop *loop, struct hf_tx *tx, struct said *said)
{
    struct hf_error err;
    said->times = 0;
    assert_ok(hf_loop_rollback(tx, hear, said, &err), &err);
    turn_until(loop, said, 1);
}

static const char insert_sql[] = "INSERT INTO t VALUES ($1, 7) RETURNING v";

static void tx_loop__commit_keeps_and_rollback_does_not(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_loop *loop;
    struct said said;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_loop_new(db, &loop, &err), &err);
    struct hf_tx *tx = begin(loop, NULL, &said);
    assert_ok(query(loop, tx, insert_sql, 1, &said), &said.err);
    assert_int_equal(said.value, 7);
    assert_int_equal(tx_rig_count(server()), 0);
    assert_ok(commit(loop, tx, &said), &said.err);
    assert_int_equal(tx_rig_count(server()), 1);
    tx = begin(loop, NULL, &said);
    assert_ok(query(loop, tx, insert_sql, 2, &said), &said.err);
    rollback(loop, tx, &said);
    assert_ok(said.code, &said.err);
    assert_int_equal(tx_rig_count(server()), 1);
    assert_int_equal(hf_loop_pending(loop), 0);
    hf_loop_free(loop);
    hf_close(db);
}

static void tx_loop__an_error_waits_for_its_end(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_loop *loop;
    struct said said;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_loop_new(db, &loop, &err), &err);
    struct hf_tx *tx = begin(loop, NULL, &said);
    assert_ok(query(loop, tx, insert_sql, 1, &said), &said.err);
    assert_code(query(loop, tx, insert_sql, 1, &said), HF_E_SERVER, &said.err);
    assert_string_equal(said.err.sqlstate, "23505");
    assert_code(hf_loop_tx_query(tx, "SELECT 1", NULL, NULL, hear, &said, &err), HF_E_SERVER, &err);
    assert_code(commit(loop, tx, &said), HF_E_SERVER, &said.err);
    assert_string_equal(said.err.sqlstate, "23505");
    assert_int_equal(tx_rig_count(server()), 0);
    hf_loop_free(loop);
    hf_close(db);
}

static void tx_loop__one_statement_at_a_time_and_not_by_blocking_functions(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_loop *loop;
    struct said said;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_loop_new(db, &loop, &err), &err);
    struct hf_tx *tx = begin(loop, NULL, &said);
    assert_code(hf_tx_exec(tx, "SELECT 1", NULL, NULL, NULL, &err), HF_E_USAGE, &err);
    said.times = 0;
    assert_ok(hf_loop_tx_query(tx, "SELECT pg_sleep(0.1)", NULL, NULL, hear, &said, &err), &err);
    assert_code(hf_loop_tx_query(tx, "SELECT 1", NULL, NULL, hear, &said, &err), HF_E_USAGE, &err);
    assert_code(hf_loop_commit(tx, hear, &said, &err), HF_E_USAGE, &err);
    turn_until(loop, &said, 1);
    rollback(loop, tx, &said);
    hf_loop_free(loop);
    hf_close(db);
}

#define MANY 10

static void tx_loop__many_at_once(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_loop *loop;
    struct said said[MANY];
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_loop_new(db, &loop, &err), &err);
    for (int i = 0; i < MANY; i++)
        begin(loop, NULL, &said[i]);
    for (int i = 0; i < MANY; i++) {
        said[i].times = 0;
        assert_ok(hf_loop_tx_query(said[i].tx, insert_sql, HF_PARAMS(hf_int(i)), NULL, hear,
                                   &said[i], &err),
                  &err);
    }
    for (int i = 0; i < MANY; i++) {
        turn_until(loop, &said[i], 1);
        assert_ok(said[i].code, &said[i].err);
        assert_ok(commit(loop, said[i].tx, &said[i]), &said[i].err);
    }
    assert_int_equal(tx_rig_count(server()), MANY);
    hf_loop_free(loop);
    hf_close(db);
}

static void tx_loop__its_deadline_while_nothing_is_asked(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_loop *loop;
    struct said said;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_loop_new(db, &loop, &err), &err);
    struct hf_tx *tx = begin(loop, &(struct hf_tx_options){.deadline_ms = DEADLINE_MS}, &said);
    assert_ok(query(loop, tx, insert_sql, 1, &said), &said.err);
    int64_t began = tx_rig_ms();
    while (rig_number(server(), "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in "
                                "transaction'") > 0) {
        hf_turn(loop);
        assert_in_range(tx_rig_ms() - began, 0, PATIENCE_MS);
    }
    assert_code(hf_loop_tx_query(tx, "SELECT 1", NULL, NULL, hear, &said, &err), HF_E_DEADLINE,
                &err);
    assert_code(hf_loop_commit(tx, hear, &said, &err), HF_E_DEADLINE, &err); /* frees it */
    hf_loop_free(loop);
    hf_close(db);
    assert_int_equal(tx_rig_count(server()), 0);
}

static void tx_loop__its_deadline_during_a_statement(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_loop *loop;
    struct said said;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_loop_new(db, &loop, &err), &err);
    struct hf_tx *tx = begin(loop, &(struct hf_tx_options){.deadline_ms = DEADLINE_MS}, &said);
    assert_ok(query(loop, tx, insert_sql, 1, &said), &said.err);
    said.times = 0;
    assert_ok(hf_loop_tx_query(tx, "SELECT pg_sleep(20)", NULL, NULL, hear, &said, &err), &err);
    int64_t began = tx_rig_ms();
    turn_until(loop, &said, 1);
    assert_in_range(tx_rig_ms() - began, 0, 15000);
    assert_code(said.code, HF_E_DEADLINE, &said.err);
    rollback(loop, tx, &said);
    while (rig_number(server(), "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND "
                                "query LIKE '%sleep%' AND pid <> pg_backend_pid()") > 0)
        assert_in_range(tx_rig_ms() - began, 0, 15000); /* the server was told to stop, too */
    hf_loop_free(loop);
    hf_close(db);
    assert_int_equal(tx_rig_count(server()), 0);
}

static void tx_loop__a_lost_commit_is_resolved(void **state)
{
    (void)state;
    static const enum cut cuts[] = {CUT_REPLY, CUT_REQUEST};
    for (size_t i = 0; i < 2; i++) {
        struct hf_error err;
        struct hf_loop *loop;
        struct said said;
        struct hf_db *db = tx_rig_open(&rig, NULL);
        assert_ok(hf_loop_new(db, &loop, &err), &err);
        struct hf_tx *tx = begin(loop, NULL, &said);
        assert_ok(query(loop, tx, insert_sql, 1, &said), &said.err);
        assert_ok(commit(loop, tx, &said), &said.err);
        tx = begin(loop, NULL, &said);
        assert_ok(query(loop, tx, insert_sql, 2, &said), &said.err);
        cutter_arm(rig.cutter, cuts[i], "COMMIT");
        int code = commit(loop, tx, &said);
        if (cuts[i] == CUT_REPLY)
            assert_ok(code, &said.err);
        else
            assert_true(code != HF_SUCCESS && code != HF_E_UNKNOWN && said.err.may_repeat);
        assert_int_equal(tx_rig_count(server()), cuts[i] == CUT_REPLY ? 2 : 1);
        hf_loop_free(loop);
        hf_close(db);
    }
}

static void tx_loop__what_is_open_ends_with_its_loop(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_loop *loop;
    struct said said, other;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_loop_new(db, &loop, &err), &err);
    struct hf_tx *tx = begin(loop, NULL, &said);
    assert_ok(query(loop, tx, insert_sql, 1, &said), &said.err);
    tx = begin(loop, NULL, &other);
    other.times = 0;
    assert_ok(hf_loop_tx_query(tx, "SELECT pg_sleep(20)", NULL, NULL, hear, &other, &err), &err);
    hf_loop_free(loop);
    assert_int_equal(other.times, 1);
    assert_int_equal(other.code, HF_E_CANCELLED);
    hf_close(db);
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
        cmocka_unit_test(tx_loop__commit_keeps_and_rollback_does_not),
        cmocka_unit_test(tx_loop__an_error_waits_for_its_end),
        cmocka_unit_test(tx_loop__one_statement_at_a_time_and_not_by_blocking_functions),
        cmocka_unit_test(tx_loop__many_at_once),
        cmocka_unit_test(tx_loop__its_deadline_while_nothing_is_asked),
        cmocka_unit_test(tx_loop__its_deadline_during_a_statement),
        cmocka_unit_test(tx_loop__a_lost_commit_is_resolved),
        cmocka_unit_test(tx_loop__what_is_open_ends_with_its_loop),
    };
    return cmocka_run_group_tests(tests, begin_rig, end_rig);
}
