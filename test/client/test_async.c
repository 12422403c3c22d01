/*
 * The asynchronous interface against a real server: many statements at a time in one loop, chunks,
 * callbacks that start more, cancelling, deadlines, waiting for a place, and loops that are freed
 * with everything under way.
 */
#include "../unit/unit.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "holdfast.h"
#include "pg_rig.h"

static struct rig rig;
static struct hf_db *db;
static struct hf_loop *loop;
static struct hf_error err;

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void good(int code)
{
    if (code != HF_SUCCESS)
        fail_msg("%s: %s | %s", hf_code_name(code), err.message, err.detail);
}

static struct hf_db *open_pool(int size)
{
    char text[200];
    struct hf_db *opened;
    snprintf(text, sizeof text, "host=127.0.0.1 port=%d user=postgres dbname=postgres",
             rig.servers[0].port);
    /* Nothing here is about these limits, and a server may need long to start. */
    struct hf_options options = {.conninfo = text,
                                 .pool = {.size_max = size},
                                 .deadline_ms = 90000,
                                 .start_ms = 60000,
                                 .hold_ms = 60000};
    good(hf_open_with(&opened, &options, &err));
    return opened;
}

static int begin(void **state)
{
    (void)state;
    rig_begin(&rig, 0);
    db = open_pool(4);
    good(hf_loop_new(db, &loop, &err));
    return 0;
}

static int end(void **state)
{
    (void)state;
    hf_loop_free(loop);
    hf_close(db);
    rig_end(&rig);
    return 0;
}

/* Below the 60 s that a server sleeps for calls which must not wait for it, and much for a machine
 * that has other work. */
#define PATIENCE_MS 30000

/* Until nothing is pending. False: it took longer than a busy machine may take. */
static bool run(void)
{
    int64_t deadline = now_ms() + PATIENCE_MS;
    while (hf_loop_pending(loop) > 0) {
        int64_t left = deadline - now_ms();
        int64_t wait = hf_loop_timeout_ms(loop);
        struct pollfd file = {.fd = hf_loop_fd(loop), .events = POLLIN};
        if (left <= 0)
            return false;
        poll(&file, 1, (int)(wait < 0 || wait > left ? left : wait));
        hf_turn(loop);
    }
    return true;
}

/* What callbacks have told. */
struct heard {
    int ends, chunks, code;
    int64_t rows, sum, more; /* `more`: statements to start from the callback */
    char sqlstate[6];
    char message[1100];
};

static void hear(struct hf_call *call, int code, struct hf_rows *rows, const struct hf_error *why,
                 void *arg)
{
    struct heard *heard = arg;
    assert_non_null(call);
    assert_int_equal(code, why->code);
    heard->code = code;
    memcpy(heard->sqlstate, why->sqlstate, sizeof heard->sqlstate);
    snprintf(heard->message, sizeof heard->message, "%s | %s", why->message, why->detail);
    if (rows != NULL) {
        ++heard->chunks;
        heard->rows += hf_rows_count(rows);
        while (hf_rows_next(rows, NULL) > 0)
            heard->sum += hf_rows_int(rows, 0);
        hf_rows_free(rows);
    }
    if (heard->more > 0) {
        --heard->more;
        good(hf_loop_query(loop, "SELECT $1::int", HF_PARAMS(hf_int(1)), NULL, hear, heard, NULL,
                           &err));
    }
}

static void hear_end(struct hf_call *call, int code, struct hf_rows *rows,
                     const struct hf_error *why, void *arg)
{
    ++((struct heard *)arg)->ends;
    hear(call, code, rows, why, arg);
}

static void async__many_statements_share_few_connections(void **state)
{
    (void)state;
    struct heard heard = {0};
    for (int i = 1; i <= 40; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        good(hf_loop_query(loop, "SELECT $1::int", HF_PARAMS(hf_text(text)), NULL, hear_end, &heard,
                           NULL, &err));
        memset(text, 'x', sizeof text); /* parameters are copied */
    }
    assert_int_equal(hf_loop_pending(loop), 40);
    assert_int_equal(heard.ends, 0); /* nobody is called back but by hf_turn() */
    assert_true(run());
    assert_int_equal(heard.ends, 40);
    assert_int_equal(heard.sum, 820);
    struct hf_endpoint endpoint;
    hf_endpoints(db, &endpoint, 1);
    assert_true(endpoint.open <= 4);
}

static void async__callbacks_may_start_statements(void **state)
{
    (void)state;
    struct heard heard = {.more = 500};
    good(hf_loop_query(loop, "SELECT 0", NULL, NULL, hear, &heard, NULL, &err));
    assert_true(run());
    assert_int_equal(heard.rows, 501);
}

static void async__chunks_come_one_by_one_and_the_end_without_rows(void **state)
{
    (void)state;
    static const struct {
        int rows, chunks;
    } cases[] = {{10, 3}, {8, 3}, {4, 2}, {3, 1}, {0, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct heard heard = {0};
        good(hf_loop_query(loop, "SELECT i FROM generate_series(1, $1::int) i",
                           HF_PARAMS(hf_int(cases[i].rows)), HF_WITH(.chunk_rows = 4), hear_end,
                           &heard, NULL, &err));
        assert_true(run());
        assert_int_equal(heard.rows, cases[i].rows);
        assert_int_equal(heard.chunks, cases[i].chunks);
        assert_int_equal(heard.ends, heard.chunks + 1);
        assert_int_equal(heard.code, HF_SUCCESS);
    }
}

static void async__errors_and_wrong_use_are_told(void **state)
{
    (void)state;
    struct heard heard = {0};
    struct hf_call *call;
    good(hf_loop_query(loop, "SELECT nothing", NULL, NULL, hear_end, &heard, NULL, &err));
    assert_true(run());
    assert_int_equal(heard.code, HF_E_SERVER);
    assert_string_equal(heard.sqlstate, "42703");
    assert_int_equal(hf_loop_query(loop, NULL, NULL, NULL, hear, &heard, &call, &err), HF_E_USAGE);
    assert_null(call);
    assert_int_equal(
        hf_loop_query(loop, "SELECT 1", NULL, HF_WITH(.format = 9), hear, &heard, &call, &err),
        HF_E_USAGE);
    assert_int_equal(hf_loop_pending(loop), 0);
    assert_int_equal(hf_turn(loop), 0);
    assert_int_equal(hf_turn(NULL), 0);
}

static void async__a_cancelled_call_ends_soon(void **state)
{
    (void)state;
    struct heard heard = {0};
    struct hf_call *call;
    good(hf_loop_query(loop, "SELECT pg_sleep(60)", NULL, NULL, hear_end, &heard, &call, &err));
    int64_t until = now_ms() + 100;
    while (now_ms() < until)
        hf_turn(loop);
    assert_int_equal(heard.ends, 0);
    hf_call_cancel(call);
    hf_call_cancel(call);
    assert_true(run());
    assert_int_equal(heard.code, HF_E_CANCELLED);
    assert_int_equal(heard.ends, 1);
}

static void *fire_soon(void *cancel)
{
    struct timespec t = {.tv_nsec = 100000000};
    nanosleep(&t, NULL);
    hf_cancel_fire(cancel);
    return NULL;
}

static void async__one_cancel_stops_many_calls(void **state)
{
    (void)state;
    struct heard heard = {0};
    struct hf_cancel *cancel;
    pthread_t thread;
    good(hf_cancel_new(&cancel, &err));
    /* More than there are connections: some run, some wait for a place. */
    for (int i = 0; i < 10; i++)
        good(hf_loop_query(loop, "SELECT pg_sleep(60)", NULL, HF_WITH(.cancel = cancel), hear_end,
                           &heard, NULL, &err));
    pthread_create(&thread, NULL, fire_soon, cancel);
    assert_true(run());
    pthread_join(thread, NULL);
    assert_int_equal(heard.ends, 10);
    assert_int_equal(heard.code, HF_E_CANCELLED);
    hf_cancel_free(cancel);
}

static void async__a_deadline_is_kept_and_frees_the_place(void **state)
{
    (void)state;
    struct heard heard = {0};
    int64_t begun = now_ms();
    for (int i = 0; i < 8; i++)
        good(hf_loop_query(loop, "SELECT pg_sleep(60)", NULL, HF_WITH(.deadline_ms = 200), hear_end,
                           &heard, NULL, &err));
    assert_true(run());
    assert_true(now_ms() - begun >= 199);
    assert_int_equal(heard.ends, 8);
    assert_int_equal(heard.code, HF_E_DEADLINE);
    /* Nobody turns the loop now, and the connections are freed all the same. */
    struct hf_endpoint endpoint;
    int64_t deadline = now_ms() + PATIENCE_MS;
    while (hf_endpoints(db, &endpoint, 1) == 1 && endpoint.busy > 0)
        assert_true(now_ms() < deadline);
    struct heard after = {0};
    good(hf_loop_query(loop, "SELECT 5", NULL, NULL, hear_end, &after, NULL, &err));
    assert_true(run());
    assert_int_equal(after.sum, 5);
}

struct other {
    struct hf_db *db;
    int code;
    struct hf_error err;
};

static void *query_blocking(void *arg)
{
    struct other *other = arg;
    other->code = hf_exec(other->db, "SELECT pg_sleep(0.05)", NULL, HF_WITH(.intent = HF_READ),
                          NULL, &other->err);
    return NULL;
}

/* Places are handed over between a loop and blocking threads, both ways. */
static void async__waits_in_the_same_queue_as_threads(void **state)
{
    (void)state;
    struct heard heard = {0};
    struct other others[8];
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) {
        others[i] = (struct other){.db = db};
        pthread_create(&threads[i], NULL, query_blocking, &others[i]);
        good(
            hf_loop_query(loop, "SELECT pg_sleep(0.05)", NULL, NULL, hear_end, &heard, NULL, &err));
    }
    assert_true(run());
    assert_int_equal(heard.ends, 8);
    assert_int_equal(heard.code, HF_SUCCESS);
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(others[i].code, HF_SUCCESS);
    }
}

static void async__a_freed_loop_tells_everybody_and_leaves_nothing(void **state)
{
    (void)state;
    struct heard heard = {0};
    struct hf_loop *kept = loop;
    good(hf_loop_new(db, &loop, &err));
    for (int i = 0; i < 7; i++)
        good(hf_loop_query(loop, "SELECT pg_sleep(60)", NULL, NULL, hear_end, &heard, NULL, &err));
    good(hf_loop_query(loop, "SELECT i FROM generate_series(1, 100000) i", NULL,
                       HF_WITH(.chunk_rows = 1), hear_end, &heard, NULL, &err));
    hf_turn(loop);
    int64_t begun = now_ms();
    hf_loop_free(loop);
    hf_loop_free(NULL);
    loop = kept;
    assert_true(now_ms() - begun < PATIENCE_MS);
    assert_int_equal(heard.ends, 8);
    assert_int_equal(heard.code, HF_E_CANCELLED);
    int64_t deadline = now_ms() + PATIENCE_MS;
    while (rig_number(&rig.servers[0], "SELECT count(*) FROM pg_stat_activity WHERE state = "
                                       "'active' AND query LIKE 'SELECT pg_sleep%'") > 0)
        assert_true(now_ms() < deadline);
}

static void async__a_lost_server_is_waited_for(void **state)
{
    (void)state;
    struct heard heard = {0};
    rig_kill(&rig.servers[0]);
    for (int i = 0; i < 6; i++)
        good(hf_loop_query(loop, "SELECT 1", NULL, NULL, hear_end, &heard, NULL, &err));
    hf_turn(loop);
    rig_start(&rig.servers[0]);
    assert_true(run());
    assert_int_equal(heard.ends, 6);
    if (heard.sum != 6)
        fail_msg("%d: %s", (int)heard.sum, heard.message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(async__many_statements_share_few_connections),
        cmocka_unit_test(async__callbacks_may_start_statements),
        cmocka_unit_test(async__chunks_come_one_by_one_and_the_end_without_rows),
        cmocka_unit_test(async__errors_and_wrong_use_are_told),
        cmocka_unit_test(async__a_cancelled_call_ends_soon),
        cmocka_unit_test(async__one_cancel_stops_many_calls),
        cmocka_unit_test(async__a_deadline_is_kept_and_frees_the_place),
        cmocka_unit_test(async__waits_in_the_same_queue_as_threads),
        cmocka_unit_test(async__a_freed_loop_tells_everybody_and_leaves_nothing),
        cmocka_unit_test(async__a_lost_server_is_waited_for),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
