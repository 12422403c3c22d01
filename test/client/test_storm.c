/*
 * Eight threads, two loops, a pool of four: statements that are served, refused, cancelled, cut off
 * by deadlines, left in the middle of a stream, while the server is restarted under them and
 * frozen. Whatever happens, every call ends by its deadline, every number that was acknowledged is
 * there exactly once, and closing leaves nothing. To be run under ThreadSanitizer, too.
 */
#include "../unit/unit.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "holdfast.h"
#include "pg_rig.h"

#define THREADS  8
#define LOOPS    2
#define STORM_MS 4000
/* Beyond its deadline a call may be late by that: eight threads on few cores that may have other
 * work, too. Who forgot a deadline is never back. */
#define LATE_MS 15000
#define NUMBERS 2000000

static struct rig rig;
static struct hf_db *db;
static _Atomic int next_number, acknowledged, unknown, served, failed;
static _Atomic bool is_over;
static _Atomic unsigned char is_acknowledged[NUMBERS];

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

static void note(int code)
{
    if (code == HF_SUCCESS)
        ++served;
    else
        ++failed;
}

static void write_number(int64_t deadline_ms)
{
    int number = ++next_number;
    struct hf_error err;
    int64_t begun = now_ms();
    int code = hf_exec(db, "INSERT INTO numbers VALUES ($1::int)", HF_PARAMS(hf_int(number)),
                       HF_WITH(.deadline_ms = deadline_ms), NULL, &err);
    if (now_ms() - begun > deadline_ms + LATE_MS) {
        fprintf(stderr, "late by %lld ms\n", (long long)(now_ms() - begun - deadline_ms));
        abort();
    }
    if (code == HF_SUCCESS) {
        ++acknowledged;
        is_acknowledged[number] = 1;
    }
    if (code == HF_E_UNKNOWN)
        ++unknown;
    note(code);
}

static void read_some(unsigned *seed, struct hf_cancel *cancel)
{
    struct hf_rows *rows;
    struct hf_error err;
    unsigned draw = (unsigned)rand_r(seed);
    struct hf_call_options options = {.deadline_ms = 50 + draw % 500, .intent = HF_READ};
    if (draw % 3 == 0)
        options.chunk_rows = 5;
    if (draw % 7 == 0)
        options.cancel = cancel;
    if (draw % 11 == 0)
        hf_cancel_fire(cancel);
    int code = hf_query(db, "SELECT i, pg_sleep(0.0002) FROM generate_series(1, $1::int) i",
                        HF_PARAMS(hf_int(draw % 50)), &options, &rows, &err);
    note(code);
    if (code == HF_SUCCESS) {
        for (unsigned i = 0; i < draw % 20; i++)
            hf_rows_next(rows, &err);
        hf_rows_free(rows);
    }
    hf_cancel_reset(cancel);
}

static void *storm(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    struct hf_cancel *cancel;
    struct hf_error err;
    if (hf_cancel_new(&cancel, &err) != HF_SUCCESS)
        abort();
    while (!is_over) {
        if (rand_r(&seed) % 2 == 0)
            write_number(100 + rand_r(&seed) % 3000);
        else
            read_some(&seed, cancel);
    }
    hf_cancel_free(cancel);
    return NULL;
}

static void hear(struct hf_call *call, int code, struct hf_rows *rows, const struct hf_error *err,
                 void *arg)
{
    (void)call;
    (void)err;
    (void)arg;
    note(code);
    hf_rows_free(rows);
}

static void *storm_in_loop(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    struct hf_loop *loop;
    struct hf_error err;
    if (hf_loop_new(db, &loop, &err) != HF_SUCCESS)
        abort();
    while (!is_over) {
        struct hf_call *call = NULL;
        while (hf_loop_pending(loop) < 6)
            hf_loop_query(loop, "SELECT pg_sleep($1::float8)",
                          HF_PARAMS(hf_double(rand_r(&seed) % 20 / 1000.0)),
                          HF_WITH(.deadline_ms = 10 + rand_r(&seed) % 200, .intent = HF_READ), hear,
                          NULL, &call, &err);
        if (rand_r(&seed) % 5 == 0)
            hf_call_cancel(call);
        struct pollfd file = {.fd = hf_loop_fd(loop), .events = POLLIN};
        int64_t wait = hf_loop_timeout_ms(loop);
        poll(&file, 1, wait < 0 || wait > 50 ? 50 : (int)wait);
        hf_turn(loop);
    }
    hf_loop_free(loop);
    return NULL;
}

static void storm__ends_with_every_acknowledged_number_there_once(void **state)
{
    (void)state;
    pthread_t threads[THREADS + LOOPS];
    char text[200];
    struct hf_error err;
    rig_begin(&rig, 0);
    snprintf(text, sizeof text, "host=127.0.0.1 port=%d user=postgres dbname=postgres",
             rig.servers[0].port);
    struct hf_options options = {.conninfo = text, .pool = {.size_max = 4}};
    if (hf_open_with(&db, &options, &err) != HF_SUCCESS)
        fail_msg("%s (%s)", err.message, err.detail);
    assert_int_equal(hf_exec(db, "CREATE TABLE numbers (n int)", NULL, NULL, NULL, &err),
                     HF_SUCCESS);
    for (uintptr_t i = 0; i < THREADS + LOOPS; i++)
        pthread_create(&threads[i], NULL, i < THREADS ? storm : storm_in_loop, (void *)(i + 1));
    sleep_ms(STORM_MS / 4);
    rig_kill(&rig.servers[0]);
    sleep_ms(200);
    rig_start(&rig.servers[0]);
    sleep_ms(STORM_MS / 4);
    rig_freeze(&rig.servers[0]);
    sleep_ms(300);
    rig_thaw(&rig.servers[0]);
    sleep_ms(STORM_MS / 4);
    rig_sql(&rig.servers[0],
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
            "'holdfast'",
            NULL, 0);
    sleep_ms(STORM_MS / 4);
    for (int i = 0; i < 600 && (served <= 100 || acknowledged <= 10); i++)
        sleep_ms(100); /* a slow machine */
    is_over = true;
    for (int i = 0; i < THREADS + LOOPS; i++)
        pthread_join(threads[i], NULL);
    print_message("%d served, %d failed, %d of %d writes acknowledged, %d unknown\n", (int)served,
                  (int)failed, (int)acknowledged, (int)next_number, (int)unknown);
    assert_true(served > 100 && acknowledged > 10);

    assert_int_equal(
        rig_number(&rig.servers[0], "SELECT count(*) - count(DISTINCT n) FROM numbers"), 0);
    char counts[160];
    snprintf(counts, sizeof counts, "SELECT count(*) FROM numbers WHERE n <= %d", (int)next_number);
    long there = rig_number(&rig.servers[0], counts);
    assert_true(there >= acknowledged && there <= acknowledged + unknown);
    for (int i = 1; i <= next_number; i++) {
        if (is_acknowledged[i] == 0)
            continue;
        struct hf_rows *rows;
        assert_int_equal(hf_query(db, "SELECT 1 FROM numbers WHERE n = $1::int",
                                  HF_PARAMS(hf_int(i)), NULL, &rows, &err),
                         HF_SUCCESS);
        assert_int_equal(hf_rows_count(rows), 1);
        hf_rows_free(rows);
    }
    hf_close(db);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(storm__ends_with_every_acknowledged_number_there_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
