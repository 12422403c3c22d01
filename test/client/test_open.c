/*
 * Opening a database, with what can be wrong about it; its end, in this process and in a child.
 */
#include "../unit/unit.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "holdfast.h"
#include "pg_rig.h"

static struct rig rig;
static struct hf_db *db;
static struct hf_error err;

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

static struct hf_db *open_with(struct hf_options options, const char *more)
{
    char text[300];
    struct hf_db *opened;
    snprintf(text, sizeof text, "host=127.0.0.1 port=%d user=postgres dbname=postgres %s",
             rig.servers[0].port, more);
    options.conninfo = text;
    good(hf_open_with(&opened, &options, &err));
    return opened;
}

static int begin(void **state)
{
    (void)state;
    rig_begin(&rig, 0);
    db = open_with((struct hf_options){0}, "");
    return 0;
}

static int end(void **state)
{
    (void)state;
    hf_close(db);
    rig_end(&rig);
    return 0;
}

/* ---- what is wrong and will stay wrong ---- */

static void open__what_stays_wrong_is_told_at_once(void **state)
{
    (void)state;
    static const struct {
        const char *more;
        int code;
        const char *sqlstate;
    } cases[] = {
        {"dbname=nowhere", HF_E_CONNECT, "3D000"},
        {"user=nobody", HF_E_CONNECT, "28000"},
        {"sslmode=perhaps", HF_E_CONFIG, "F0000"},
        {"prot=1", HF_E_CONFIG, "F0000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[300];
        struct hf_db *opened = db;
        snprintf(text, sizeof text, "host=127.0.0.1 port=%d user=postgres dbname=postgres %s",
                 rig.servers[0].port, cases[i].more);
        int64_t begun = now_ms();
        int code = hf_open(&opened, text, &err);
        if (code != cases[i].code)
            fail_msg("%s: %s: %s", cases[i].more, hf_code_name(code), err.message);
        assert_null(opened);
        assert_string_equal(err.sqlstate, cases[i].sqlstate);
        assert_false(err.may_repeat);
        assert_true(now_ms() - begun < 10000);
    }
    assert_int_equal(hf_open(NULL, "host=x", &err), HF_E_USAGE);
}

static void open__options_out_of_range_name_the_field(void **state)
{
    (void)state;
    struct hf_db *opened;
    struct hf_options options = {.conninfo = "host=127.0.0.1",
                                 .pool = {.size_min = 9, .size_max = 3}};
    assert_int_equal(hf_open_with(&opened, &options, &err), HF_E_CONFIG);
    assert_non_null(strstr(err.message, "size_min"));
    options = (struct hf_options){.conninfo = "host=127.0.0.1", .profile = 77};
    assert_int_equal(hf_open_with(&opened, &options, &err), HF_E_CONFIG);
    assert_null(opened);
}

/* ---- a database that is still coming up ---- */

static int count_starts(const char *why, int64_t waited_ms, void *arg)
{
    assert_true(why[0] != '\0' && waited_ms >= 0);
    return ++*(int *)arg == 3;
}

static void open__waits_and_tells_and_may_be_given_up(void **state)
{
    (void)state;
    char text[100];
    int starts = 0;
    struct hf_db *opened;
    snprintf(text, sizeof text, "host=127.0.0.1 port=%d user=postgres", rig_free_port());
    struct hf_options options = {
        .conninfo = text, .start_ms = 20000, .hooks = {.on_start = count_starts, .arg = &starts}};
    int64_t begun = now_ms();
    assert_int_equal(hf_open_with(&opened, &options, &err), HF_E_CANCELLED);
    assert_int_equal(starts, 3);
    assert_true(now_ms() - begun >= 1400 && now_ms() - begun < 20000);
    options.hooks.on_start = NULL;
    options.start_ms = 700;
    begun = now_ms();
    assert_int_equal(hf_open_with(&opened, &options, &err), HF_E_CONNECT);
    assert_true(err.may_repeat);
    assert_true(now_ms() - begun >= 690 && now_ms() - begun < 20000);
}

static void open__need_not_wait_at_all(void **state)
{
    (void)state;
    char text[100];
    struct hf_db *opened;
    snprintf(text, sizeof text, "host=127.0.0.1 port=%d user=postgres", rig_free_port());
    struct hf_options options = {.conninfo = text, .start_ms = -1};
    int64_t begun = now_ms();
    good(hf_open_with(&opened, &options, &err));
    assert_true(now_ms() - begun < 20000);
    begun = now_ms();
    int code = hf_exec(opened, "SELECT 1", NULL, HF_WITH(.deadline_ms = 300), NULL, &err);
    assert_true(code == HF_E_DEADLINE || code == HF_E_NOBODY || code == HF_E_CONNECT);
    assert_true(now_ms() - begun < 20000);
    hf_close(opened);
}

static void *start_soon(void *arg)
{
    (void)arg;
    sleep_ms(700);
    rig_start(&rig.servers[0]);
    return NULL;
}

static void open__is_there_when_the_server_is(void **state)
{
    (void)state;
    pthread_t thread;
    rig_stop(&rig.servers[0]);
    int64_t begun = now_ms();
    pthread_create(&thread, NULL, start_soon, NULL);
    struct hf_db *opened = open_with((struct hf_options){.start_ms = 90000}, "");
    assert_true(now_ms() - begun >= 600);
    good(hf_exec(opened, "SELECT 1", NULL, NULL, NULL, &err));
    hf_close(opened);
    pthread_join(thread, NULL);
}

/* With every limit of memory it opens and works, or says that there is none, and leaves nothing. */
static void open__with_any_limit_of_memory_it_works_or_says_so(void **state)
{
    (void)state;
    int refused = 0, opened_well = 0;
    for (int64_t limit = 1000; limit < 2000000; limit += limit < 60000 ? 1500 : 40000) {
        char text[300];
        struct hf_db *opened;
        snprintf(text, sizeof text, "host=127.0.0.1 port=%d user=postgres dbname=postgres",
                 rig.servers[0].port);
        struct hf_options options = {.conninfo = text, .memory_max = limit};
        int code = hf_open_with(&opened, &options, &err);
        if (code == HF_SUCCESS) {
            code = hf_exec(opened, "SELECT $1::int", HF_PARAMS(hf_int(1)), NULL, NULL, &err);
            ++opened_well;
            hf_close(opened);
        }
        if (code != HF_SUCCESS) {
            assert_int_equal(code, HF_E_MEMORY);
            ++refused;
        }
    }
    assert_true(refused > 20 && opened_well > 10);
}

static void open__many_times_over_leaves_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct hf_db *opened = open_with((struct hf_options){0}, "");
        if (i % 2 == 0)
            good(hf_exec(opened, "SELECT 1", NULL, NULL, NULL, &err));
        hf_close(opened);
    }
    int64_t deadline = now_ms() + 30000;
    while (rig_number(&rig.servers[0], "SELECT count(*) FROM pg_stat_activity WHERE "
                                       "application_name LIKE 'holdfast%'") > 3)
        assert_true(now_ms() < deadline);
}

/* ---- fork and close ---- */

static void fork__the_child_is_told_and_the_parent_unharmed(void **state)
{
    (void)state;
    good(hf_exec(db, "SELECT 1", NULL, NULL, NULL, &err));
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct hf_session *session;
        struct hf_rows *rows;
        int wrong = hf_exec(db, "SELECT 1", NULL, NULL, NULL, &err) != HF_E_FORKED;
        wrong |= hf_query(db, "SELECT 1", NULL, NULL, &rows, &err) != HF_E_FORKED;
        wrong |= hf_session_new(db, &session, &err) != HF_E_FORKED;
        hf_close(db);
        _exit(wrong);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    struct hf_stats before, after;
    hf_stats(db, &before);
    for (int i = 0; i < 5; i++)
        good(hf_exec(db, "SELECT 1", NULL, NULL, NULL, &err));
    hf_stats(db, &after);
    assert_int_equal(before.connects, after.connects); /* its connections were left alone */
}

struct holder {
    struct hf_db *db;
    int code;
    struct hf_error err;
};

static void *hold_long(void *arg)
{
    struct holder *holder = arg;
    holder->code = hf_exec(holder->db, "SELECT pg_sleep(60)", NULL, HF_WITH(.intent = HF_READ),
                           NULL, &holder->err);
    return NULL;
}

static void close__ends_what_other_threads_wait_for(void **state)
{
    (void)state;
    /* Two run, two wait in the queue. */
    struct hf_db *closing = open_with((struct hf_options){.pool = {.size_max = 2}}, "");
    struct holder holders[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        holders[i] = (struct holder){.db = closing};
        pthread_create(&threads[i], NULL, hold_long, &holders[i]);
    }
    struct hf_endpoint endpoint;
    int64_t deadline = now_ms() + 30000;
    while (hf_endpoints(closing, &endpoint, 1) == 1 && endpoint.busy + endpoint.waiting < 4)
        assert_true(now_ms() < deadline);
    int64_t begun = now_ms();
    hf_close(closing);
    assert_true(now_ms() - begun < 20000);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(holders[i].code, HF_E_CLOSED);
    }
    hf_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open__what_stays_wrong_is_told_at_once),
        cmocka_unit_test(open__options_out_of_range_name_the_field),
        cmocka_unit_test(open__waits_and_tells_and_may_be_given_up),
        cmocka_unit_test(open__need_not_wait_at_all),
        cmocka_unit_test(open__is_there_when_the_server_is),
        cmocka_unit_test(open__with_any_limit_of_memory_it_works_or_says_so),
        cmocka_unit_test(open__many_times_over_leaves_nothing),
        cmocka_unit_test(fork__the_child_is_told_and_the_parent_unharmed),
        cmocka_unit_test(close__ends_what_other_threads_wait_for),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
