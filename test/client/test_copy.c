/*
 * COPY in and out: big, slow, refused, lost.
 */
#include "tx_rig.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define BIG_ROWS 1000000
#define ROW_SIZE 100

static struct tx_rig rig;

static const struct rig_server *server(void)
{
    return &rig.servers.servers[0];
}

/* Resident memory of this process. */
static long resident_kb(void)
{
    char line[128] = "";
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    char *second = strchr(line, ' ');
    assert_non_null(second);
    return strtol(second, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024);
}

/* A sanitizer keeps what was freed for a while, and notes on every byte. */
#if defined(__SANITIZE_ADDRESS__)
#define GROWTH_KB_MAX (512L << 10)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define GROWTH_KB_MAX (512L << 10)
#endif
#endif
#ifndef GROWTH_KB_MAX
#define GROWTH_KB_MAX 4096L
#endif

static void make_big(struct hf_db *db)
{
    struct hf_error err;
    assert_ok(hf_exec(db, "DROP TABLE IF EXISTS big; CREATE UNLOGGED TABLE big (line text)", NULL,
                      NULL, NULL, &err),
              &err);
}

static void put_text(struct hf_copy *copy, const char *text)
{
    struct hf_error err;
    assert_ok(hf_copy_put(copy, text, strlen(text), &err), &err);
}

static void copy__rows_go_in_and_come_out(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_copy *copy;
    uint64_t rows = 0;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_copy_start(db, NULL, "COPY t FROM STDIN", NULL, &copy, &err), &err);
    put_text(copy, "1\t10\n2\t2");
    put_text(copy, "0\n");
    put_text(copy, "");
    assert_ok(hf_copy_end(copy, NULL, &rows, &err), &err);
    assert_int_equal(rows, 2);
    assert_int_equal(rig_number(server(), "SELECT sum(v) FROM t"), 30);
    const void *data;
    size_t size;
    char all[64] = "";
    assert_ok(hf_copy_start(db, NULL, "COPY t TO STDOUT", NULL, &copy, &err), &err);
    int code;
    while ((code = hf_copy_get(copy, &data, &size, &err)) == 1)
        strncat(all, data, size);
    assert_int_equal(code, 0);
    assert_int_equal(hf_copy_get(copy, &data, &size, &err), 0); /* and again */
    assert_string_equal(all, "1\t10\n2\t20\n");
    assert_ok(hf_copy_end(copy, NULL, &rows, &err), &err);
    assert_int_equal(rows, 2);
    hf_close(db);
}

static void copy__within_a_transaction_it_shares_its_fate(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_copy *copy;
    struct hf_tx *tx;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    for (int keep = 0; keep < 2; keep++) {
        assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
        assert_ok(hf_tx_savepoint(tx, &err), &err);
        assert_ok(hf_copy_start(db, tx, "COPY t FROM STDIN", NULL, &copy, &err), &err);
        put_text(copy, "1\t10\n");
        assert_code(hf_tx_exec(tx, "SELECT 1", NULL, NULL, NULL, &err), HF_E_USAGE, &err);
        assert_ok(hf_copy_end(copy, NULL, NULL, &err), &err);
        assert_ok(hf_tx_exec(tx, "UPDATE t SET v = 11", NULL, NULL, NULL, &err), &err);
        if (keep == 0)
            hf_tx_rollback(tx);
        else
            assert_ok(hf_tx_commit(tx, &err), &err);
        assert_int_equal(tx_rig_count(server()), keep);
    }
    hf_close(db);
}

static void copy__what_is_given_up_leaves_nothing(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_copy *copy;
    struct hf_tx *tx;
    const void *data;
    size_t size;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_copy_start(db, NULL, "COPY t FROM STDIN", NULL, &copy, &err), &err);
    put_text(copy, "1\t10\n");
    assert_ok(hf_copy_end(copy, "changed my mind", NULL, &err), &err);
    assert_int_equal(tx_rig_count(server()), 0);
    /* Within a transaction, down to a savepoint. */
    assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
    assert_ok(hf_tx_savepoint(tx, &err), &err);
    assert_ok(hf_copy_start(db, tx, "COPY t FROM STDIN", NULL, &copy, &err), &err);
    put_text(copy, "1\t10\n");
    assert_ok(hf_copy_end(copy, "no", NULL, &err), &err);
    assert_ok(hf_tx_rollback_to(tx, &err), &err);
    /* Outwards: of more rows than the day is long one is enough. */
    assert_ok(hf_tx_savepoint(tx, &err), &err);
    assert_ok(hf_copy_start(db, tx, "COPY (SELECT generate_series(1, 1000000000000)) TO STDOUT",
                            NULL, &copy, &err),
              &err);
    assert_int_equal(hf_copy_get(copy, &data, &size, &err), 1);
    int64_t began = tx_rig_ms();
    assert_ok(hf_copy_end(copy, "enough", NULL, &err), &err);
    assert_in_range(tx_rig_ms() - began, 0, 20000);
    assert_ok(hf_tx_rollback_to(tx, &err), &err);
    assert_ok(hf_tx_exec(tx, "INSERT INTO t VALUES (7, 7)", NULL, NULL, NULL, &err), &err);
    assert_ok(hf_tx_commit(tx, &err), &err);
    assert_int_equal(tx_rig_count(server()), 1);
    hf_close(db);
}

static void copy__each_refusal_is_told_where_it_can_be(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_copy *copy;
    const void *data;
    size_t size;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_code(hf_copy_start(db, NULL, "COPY nowhere FROM STDIN", NULL, &copy, &err), HF_E_SERVER,
                &err);
    assert_string_equal(err.sqlstate, "42P01");
    assert_null(copy);
    assert_code(hf_copy_start(db, NULL, "SELECT 1", NULL, &copy, &err), HF_E_USAGE, &err);
    assert_ok(hf_copy_start(db, NULL, "COPY t FROM STDIN", NULL, &copy, &err), &err);
    assert_int_equal(hf_copy_get(copy, &data, &size, &err), -1);
    assert_int_equal(err.code, HF_E_USAGE);
    put_text(copy, "1\tnot a number\n");
    assert_code(hf_copy_end(copy, NULL, NULL, &err), HF_E_SERVER, &err);
    assert_string_equal(err.sqlstate, "22P02");
    /* In the middle of what comes out. */
    assert_ok(hf_copy_start(db, NULL,
                            "COPY (SELECT 1 / (500 - i) FROM generate_series(1, 1000) i) TO STDOUT",
                            NULL, &copy, &err),
              &err);
    int code, count = 0;
    while ((code = hf_copy_get(copy, &data, &size, &err)) == 1)
        ++count;
    assert_int_equal(code, -1);
    assert_int_equal(count, 499);
    assert_string_equal(err.sqlstate, "22012");
    assert_code(hf_copy_end(copy, NULL, NULL, &err), HF_E_SERVER, &err);
    assert_string_equal(err.sqlstate, "22012");
    assert_int_equal(tx_rig_count(server()), 0);
    hf_close(db);
}

static void copy__a_hundred_megabytes_in_and_out_need_no_memory(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_copy *copy;
    uint64_t rows = 0;
    char row[ROW_SIZE + 1];
    memset(row, 'x', ROW_SIZE);
    struct hf_db *db = tx_rig_open(&rig, NULL);
    make_big(db);
    struct hf_call_options long_one = {.deadline_ms = 600000};
    assert_ok(hf_copy_start(db, NULL, "COPY big FROM STDIN", &long_one, &copy, &err), &err);
    long before = resident_kb();
    for (int i = 0; i < BIG_ROWS; i++) {
        snprintf(row, sizeof row, "%099d", i);
        row[ROW_SIZE - 1] = '\n';
        assert_ok(hf_copy_put(copy, row, ROW_SIZE, &err), &err);
    }
    assert_ok(hf_copy_end(copy, NULL, &rows, &err), &err);
    assert_int_equal(rows, BIG_ROWS);
    assert_true(resident_kb() - before < GROWTH_KB_MAX);
    const void *data;
    size_t size;
    uint64_t bytes = 0;
    assert_ok(hf_copy_start(db, NULL, "COPY big TO STDOUT", &long_one, &copy, &err), &err);
    int code;
    while ((code = hf_copy_get(copy, &data, &size, &err)) == 1)
        bytes += size;
    assert_int_equal(code, 0);
    assert_int_equal(bytes, (uint64_t)BIG_ROWS * ROW_SIZE);
    assert_ok(hf_copy_end(copy, NULL, &rows, &err), &err);
    assert_true(resident_kb() - before < GROWTH_KB_MAX);
    hf_close(db);
}

static void copy__one_piece_may_be_big(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_copy *copy;
    uint64_t rows = 0;
    size_t size = (size_t)20 << 20;
    char *data = malloc(size);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++)
        data[i] = i % 64 == 63 ? '\n' : 'a';
    struct hf_db *db = tx_rig_open(&rig, NULL);
    make_big(db);
    assert_ok(hf_copy_start(db, NULL, "COPY big FROM STDIN", NULL, &copy, &err), &err);
    long before = resident_kb();
    assert_ok(hf_copy_put(copy, data, size, &err), &err);
    assert_true(resident_kb() - before < GROWTH_KB_MAX);
    assert_ok(hf_copy_end(copy, NULL, &rows, &err), &err);
    assert_int_equal(rows, size / 64);
    free(data);
    hf_close(db);
}

/* ---- time and losses ---- */

static void copy__a_server_that_takes_nothing_is_not_waited_for_beyond_the_deadline(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_copy *copy;
    char data[4096];
    memset(data, 'x', sizeof data);
    data[sizeof data - 1] = '\n';
    struct hf_db *db = tx_rig_open(&rig, NULL);
    make_big(db);
    assert_ok(hf_copy_start(db, NULL, "COPY big FROM STDIN",
                            &(struct hf_call_options){.deadline_ms = 2500}, &copy, &err),
              &err);
    rig_freeze(server());
    int64_t began = tx_rig_ms();
    int code = HF_SUCCESS;
    for (int i = 0; code == HF_SUCCESS && i < 100000; i++)
        code = hf_copy_put(copy, data, sizeof data, &err);
    assert_true(code == HF_E_DEADLINE || code == HF_E_LOST);
    assert_in_range(tx_rig_ms() - began, 0, 20000);
    assert_code(hf_copy_end(copy, NULL, NULL, NULL), code, NULL);
    rig_thaw(server());
    hf_close(db);
    assert_int_equal(rig_number(server(), "SELECT count(*) FROM big"), 0);
}

static void copy__the_line_breaks_in_the_middle(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_copy *copy;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_copy_start(db, NULL, "COPY t FROM STDIN", NULL, &copy, &err), &err);
    put_text(copy, "1\t1\n");
    cutter_arm(rig.cutter, CUT_REQUEST, "2\t2");
    put_text(copy, "2\t2\n");
    int code = hf_copy_end(copy, NULL, NULL, &err);
    assert_true(code == HF_E_LOST);
    assert_int_equal(tx_rig_count(server()), 0);
    hf_close(db);
}

static void copy__its_commit_is_resolved_like_any(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_copy *copy;
    uint64_t rows = 0;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_copy_start(db, NULL, "COPY t FROM STDIN", NULL, &copy, &err), &err);
    put_text(copy, "1\t1\n2\t2\n");
    cutter_arm(rig.cutter, CUT_LAST_REPLY, "COMMIT");
    assert_ok(hf_copy_end(copy, NULL, &rows, &err), &err);
    assert_int_equal(rows, 2);
    assert_int_equal(tx_rig_count(server()), 2);
    hf_close(db);
}

static void copy__a_transaction_that_ends_first_takes_it_along(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_copy *copy;
    struct hf_tx *tx;
    struct hf_db *db = tx_rig_open(&rig, NULL);
    assert_ok(hf_tx_begin(db, NULL, &tx, &err), &err);
    assert_ok(hf_copy_start(db, tx, "COPY t FROM STDIN", NULL, &copy, &err), &err);
    put_text(copy, "1\t1\n");
    assert_code(hf_tx_commit(tx, &err), HF_E_USAGE, &err);
    assert_code(hf_copy_put(copy, "2\t2\n", 4, &err), HF_E_USAGE, &err);
    assert_code(hf_copy_end(copy, NULL, NULL, &err), HF_E_USAGE, &err);
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
        cmocka_unit_test(copy__rows_go_in_and_come_out),
        cmocka_unit_test(copy__within_a_transaction_it_shares_its_fate),
        cmocka_unit_test(copy__what_is_given_up_leaves_nothing),
        cmocka_unit_test(copy__each_refusal_is_told_where_it_can_be),
        cmocka_unit_test(copy__a_hundred_megabytes_in_and_out_need_no_memory),
        cmocka_unit_test(copy__one_piece_may_be_big),
        cmocka_unit_test(copy__a_server_that_takes_nothing_is_not_waited_for_beyond_the_deadline),
        cmocka_unit_test(copy__the_line_breaks_in_the_middle),
        cmocka_unit_test(copy__its_commit_is_resolved_like_any),
        cmocka_unit_test(copy__a_transaction_that_ends_first_takes_it_along),
    };
    return cmocka_run_group_tests(tests, begin_rig, end_rig);
}
