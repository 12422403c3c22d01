/*
 * What can be seen and steered from outside, against a real server: statistics, metrics, events,
 * errors, decisions; levels, breakers and drains by hand; opening from a file.
 */
#include "seen_rig.h"

#include <sys/wait.h>

/* ---- seeing ---- */

static void seen__statistics_count_what_was_done(void **state)
{
    (void)state;
    struct hf_db *db = open_db((struct hf_options){0});
    struct hf_stats stats;
    struct hf_tx *tx;
    for (int i = 0; i < 10; i++)
        assert_non_null(ask(db, "SELECT 1", NULL, NULL, NULL));
    assert_null(ask(db, "SELECT nonsense", NULL, NULL, NULL));
    assert_success(hf_tx_begin(db, NULL, &tx, &err));
    assert_success(hf_tx_exec(tx, "SELECT 1", NULL, NULL, NULL, &err));
    assert_success(hf_tx_commit(tx, &err));
    assert_success(hf_tx_begin(db, NULL, &tx, &err));
    assert_success(hf_tx_exec(tx, "SELECT 1", NULL, NULL, NULL, &err));
    hf_tx_rollback(tx);
    hf_stats(db, &stats);
    assert_int_equal(stats.failed, 1);
    assert_int_equal(stats.refused, 0);
    assert_int_equal(stats.unknown, 0);
    assert_int_equal(stats.transactions, 2);
    assert_int_equal(stats.committed, 1);
    assert_int_equal(stats.rolled_back, 1);
    assert_int_equal(stats.calls, 13);
    assert_int_equal(stats.succeeded, 12);
    assert_int_equal(stats.attempts, 13);
    assert_true(stats.connects >= 1);
    assert_true(stats.latency_p50_us > 0 && stats.latency_p50_us <= stats.latency_p99_us);
    assert_true(stats.latency_p99_us <= stats.latency_max_us);
    assert_true(stats.memory_bytes > 10000);
    assert_int_equal(stats.level, HF_LEVEL_FULL);
    hf_stats(NULL, &stats);
    assert_int_equal(stats.calls, 0);
    hf_close(db);
}

static void seen__an_endpoint_tells_what_is_known_of_it(void **state)
{
    (void)state;
    char name[64];
    struct hf_db *db = open_db((struct hf_options){0});
    struct hf_endpoint endpoint;
    assert_non_null(ask(db, "SELECT 1", NULL, NULL, NULL));
    assert_int_equal(hf_endpoints(db, NULL, 0), 1);
    assert_int_equal(hf_endpoints(db, &endpoint, 1), 1);
    endpoint_name(name);
    assert_string_equal(endpoint.name, name);
    assert_string_equal(endpoint.role, "primary");
    assert_string_equal(endpoint.health, "up");
    assert_string_equal(endpoint.breaker, "closed");
    assert_int_equal(endpoint.timeline, 1);
    assert_true(endpoint.lsn > 0);
    assert_int_equal(endpoint.lag_ms, 0);
    assert_int_equal(endpoint.busy, 0);
    assert_int_equal(endpoint.idle, 1);
    hf_close(db);
}

static void seen__the_metrics_are_a_page_that_prometheus_takes(void **state)
{
    (void)state;
    char series[128], name[64];
    double value = -1;
    struct hf_db *db = open_db(with_hooks());
    for (int i = 0; i < 3; i++)
        assert_non_null(ask(db, "SELECT 1", HF_WITH(.operation = "one"), NULL, NULL));
    const size_t needed = hf_metrics(db, NULL, 0);
    char *page = malloc(needed + 1000);
    assert_true(hf_metrics(db, page, needed + 1000) > 1000);
    prom_check(page);
    assert_null(strstr(page, PASSWORD));
    assert_true(prom_value(page, "holdfast_calls_total{result=\"served\"}", &value));
    assert_int_equal((int)value, 3);
    assert_true(prom_value(page, "holdfast_call_seconds_count", &value));
    assert_int_equal((int)value, 3);
    assert_true(prom_value(page, "holdfast_level{level=\"full\"}", &value) && value == 1);
    assert_true(prom_value(
        page, "holdfast_operation_calls_total{operation=\"one\",result=\"served\"}", &value));
    assert_int_equal((int)value, 3);
    endpoint_name(name);
    snprintf(series, sizeof series, "holdfast_endpoint_primary{endpoint=\"%s\"}", name);
    assert_true(prom_value(page, series, &value) && value == 1);
    /* Cut at a line where it does not fit. */
    assert_true(hf_metrics(db, page, 700) > 700);
    prom_check(page);
    assert_true(strlen(page) < 700);
    assert_int_equal(hf_metrics(NULL, page, 700), 0);
    assert_string_equal(page, "");
    free(page);
    hf_close(db);
}

static int works(const struct hf_work *work, void *arg, struct hf_error *error)
{
    (void)work;
    (void)arg;
    (void)error;
    return HF_WORK_DONE;
}

static void seen__a_guards_metrics_are_one_too(void **state)
{
    (void)state;
    struct hf_guard *guard;
    double value = -1;
    static char page[20000];
    assert_success(hf_guard_new(&guard, &(struct hf_guard_options){.name = "mail \"x\""}, &err));
    assert_success(hf_guard_run(guard, works, NULL, &err));
    assert_true(hf_guard_metrics(guard, page, sizeof page) < sizeof page);
    prom_check(page);
    assert_true(prom_value(
        page, "holdfast_guard_calls_total{guard=\"mail \\\"x\\\"\",result=\"served\"}", &value));
    assert_int_equal((int)value, 1);
    assert_int_equal(hf_guard_metrics(NULL, page, sizeof page), 0);
    hf_guard_free(guard);
}

static void seen__a_servers_error_arrives_with_all_its_parts(void **state)
{
    (void)state;
    char text[300];
    struct hf_db *db = open_db((struct hf_options){0});
    assert_success(hf_exec(db,
                           "DROP TABLE IF EXISTS part; CREATE TABLE part (id int PRIMARY KEY); "
                           "INSERT INTO part VALUES (7)",
                           NULL, NULL, NULL, &err));
    assert_int_equal(hf_exec(db, "INSERT INTO part VALUES (7)", NULL, NULL, NULL, &err),
                     HF_E_SERVER);
    assert_string_equal(err.sqlstate, "23505");
    assert_string_equal(err.constraint, "part_pkey");
    assert_string_equal(err.detail, "Key (id)=(7) already exists.");
    assert_false(err.may_repeat);
    assert_int_equal(err.attempts, 1);
    endpoint_name(text);
    assert_string_equal(err.endpoint, text);
    assert_int_equal(hf_exec(db, "SELECT 1 +", NULL, NULL, NULL, &err), HF_E_SERVER);
    assert_string_equal(err.sqlstate, "42601");
    assert_int_equal(err.position, 11);
    hf_error_text(&err, text, sizeof text);
    assert_non_null(strstr(text, "SQLSTATE 42601: syntax error"));
    hf_close(db);
}

static void seen__a_decision_says_where_a_call_went_and_why(void **state)
{
    (void)state;
    char name[64];
    struct hf_decision decision;
    struct hf_db *db = open_db((struct hf_options){0});
    assert_non_null(
        ask(db, "SELECT 1", HF_WITH(.intent = HF_READ, .decision = &decision), NULL, NULL));
    endpoint_name(name);
    assert_string_equal(decision.endpoint, name);
    assert_string_equal(decision.class_name, "read");
    assert_int_equal(decision.attempts, 1);
    assert_true(decision.server_ns > 0 && decision.total_ns >= decision.server_ns);
    assert_false(decision.was_cached || decision.was_held || decision.was_resolved);
    assert_true(strlen(decision.reason) > 0);
    hf_close(db);
}

/* ---- by hand ---- */

static void seen__a_level_by_hand_refuses_what_it_does_not_allow(void **state)
{
    (void)state;
    struct hf_options options = with_hooks();
    options.hold_ms = -1;
    struct hf_db *db = open_db(options);
    assert_int_equal(hf_level(db), HF_LEVEL_FULL);
    assert_success(hf_level_force(db, HF_LEVEL_READ_ONLY, 0, &err));
    assert_int_equal(hf_level(db), HF_LEVEL_READ_ONLY);
    assert_non_null(ask(db, "SELECT 1", HF_WITH(.intent = HF_READ), NULL, NULL));
    assert_int_equal(
        hf_exec(db, "CREATE TABLE never (n int)", NULL, HF_WITH(.intent = HF_WRITE), NULL, &err),
        HF_E_LEVEL);
    assert_true(err.may_repeat);
    /* Old results are for where nobody is left to ask, and not for where nobody is to be asked. */
    bool is_stale = false;
    const struct hf_call_options *cached = HF_WITH(.intent = HF_READ, .cache = HF_CACHE_FALLBACK);
    assert_string_equal(ask(db, "SELECT 'kept'", cached, NULL, NULL), "kept");
    assert_success(hf_level_force(db, HF_LEVEL_CACHED_ONLY, 0, &err));
    int64_t age_ms;
    assert_string_equal(ask(db, "SELECT 'kept'", cached, &age_ms, &is_stale), "kept");
    assert_true(is_stale);
    assert_success(hf_level_force(db, HF_LEVEL_MAINTENANCE, 0, &err));
    assert_null(ask(db, "SELECT 'kept'", cached, NULL, NULL));
    assert_int_equal(err.code, HF_E_LEVEL);
    assert_null(ask(db, "SELECT 1", HF_WITH(.intent = HF_READ), NULL, NULL));
    assert_int_equal(err.code, HF_E_LEVEL);
    hf_level_release(db);
    wait_event(HF_EVENT_LEVEL, "full", 0);
    assert_non_null(ask(db, "SELECT 1", NULL, NULL, NULL));
    assert_int_equal(hf_level_force(db, 5, 0, &err), HF_E_USAGE);
    assert_int_equal(hf_level_force(db, HF_LEVEL_READ_ONLY, -1, &err), HF_E_USAGE);
    /* For a time. */
    assert_success(hf_level_force(db, HF_LEVEL_MAINTENANCE, 1000, &err));
    assert_null(ask(db, "SELECT 1", HF_WITH(.intent = HF_READ), NULL, NULL));
    const int64_t until = now_ms() + 30000;
    while (hf_level(db) != HF_LEVEL_FULL && now_ms() < until)
        usleep(2000);
    assert_int_equal(hf_level(db), HF_LEVEL_FULL);
    assert_string_equal(hf_level_name(HF_LEVEL_CACHED_ONLY), "cached_only");
    assert_string_equal(hf_level_name(17), "unknown");
    hf_close(db);
}

static void seen__a_breaker_by_hand_refuses_until_it_is_reset(void **state)
{
    (void)state;
    char name[64];
    struct hf_endpoint endpoint;
    struct hf_db *db = open_db(with_hooks());
    endpoint_name(name);
    assert_success(hf_breaker_force(db, name, true, &err));
    assert_null(ask(db, "SELECT 1", NULL, NULL, NULL));
    assert_int_equal(err.code, HF_E_OPEN);
    assert_int_equal(err.attempts, 0);
    hf_endpoints(db, &endpoint, 1);
    assert_string_equal(endpoint.breaker, "forced_open");
    wait_event(HF_EVENT_BREAKER, "forced_open", 0);
    assert_success(hf_breaker_reset(db, name, &err));
    assert_non_null(ask(db, "SELECT 1", NULL, NULL, NULL));
    wait_event(HF_EVENT_BREAKER, "closed", 0);
    assert_success(hf_breaker_force(db, name, false, &err));
    hf_endpoints(db, &endpoint, 1);
    assert_string_equal(endpoint.breaker, "disabled");
    assert_int_equal(hf_breaker_force(db, "nobody:1", true, &err), HF_E_USAGE);
    assert_string_equal(err.message, "there is no server \"nobody:1\"");
    hf_close(db);
}

static void seen__a_drained_server_gets_nothing_new(void **state)
{
    (void)state;
    char name[64];
    struct hf_endpoint endpoint;
    struct hf_options options = with_hooks();
    options.hold_ms = -1;
    struct hf_db *db = open_db(options);
    endpoint_name(name);
    assert_success(hf_endpoint_drain(db, name, true, &err));
    const int64_t until = now_ms() + 30000;
    do
        hf_endpoints(db, &endpoint, 1);
    while (!endpoint.is_drained && now_ms() < until);
    assert_true(endpoint.is_drained);
    assert_null(ask(db, "SELECT 1", NULL, NULL, NULL));
    assert_true(err.code == HF_E_NOBODY || err.code == HF_E_LEVEL);
    assert_success(hf_endpoint_drain(db, name, false, &err));
    while (ask(db, "SELECT 1", NULL, NULL, NULL) == NULL && now_ms() < until + 30000)
        usleep(2000);
    assert_non_null(ask(db, "SELECT 1", NULL, NULL, NULL));
    assert_int_equal(hf_endpoint_drain(db, NULL, true, &err), HF_E_USAGE);
    hf_close(db);
}

/* What a child of fork() is told by each of these functions: nothing, and that it is a child. */
static bool child_is_told(struct hf_db *db, const char *name)
{
    struct hf_stats stats;
    struct hf_endpoint endpoint;
    char page[100] = "x";
    hf_stats(db, &stats);
    hf_level_release(db);
    hf_cache_clear(db, NULL);
    return stats.calls == 0 && hf_endpoints(db, &endpoint, 1) == 0 &&
           hf_metrics(db, page, sizeof page) == 0 && page[0] == '\0' &&
           hf_level(db) == HF_LEVEL_FULL &&
           hf_level_force(db, HF_LEVEL_READ_ONLY, 0, &err) == HF_E_FORKED &&
           hf_breaker_force(db, name, true, &err) == HF_E_FORKED &&
           hf_breaker_reset(db, name, &err) == HF_E_FORKED &&
           hf_endpoint_drain(db, name, true, &err) == HF_E_FORKED &&
           hf_fallback_set(db, "x", NULL, NULL, &err) == HF_E_FORKED;
}

static void seen__a_child_sees_nothing_and_changes_nothing(void **state)
{
    (void)state;
    char name[64];
    int status = 0;
    struct hf_db *db = open_db((struct hf_options){0});
    assert_non_null(ask(db, "SELECT 1", NULL, NULL, NULL));
    endpoint_name(name);
    const pid_t child = fork();
    if (child == 0) {
        const bool is_told = child_is_told(db, name);
        hf_close(db);
        _exit(is_told ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(hf_level(db), HF_LEVEL_FULL);
    assert_non_null(ask(db, "SELECT 1", NULL, NULL, NULL));
    hf_close(db);
}

/* ---- what calls tell ---- */

static void *sleep_two_seconds(void *arg)
{
    struct hf_rows *rows;
    struct hf_error error;
    if (hf_query(arg, "SELECT pg_sleep(2)", NULL, HF_WITH(.intent = HF_READ), &rows, &error) !=
        HF_SUCCESS)
        return NULL;
    hf_rows_free(rows);
    return arg;
}

/* Starts it, and returns once the server runs it. */
static void begin_to_sleep(struct hf_db *db, pthread_t *thread)
{
    const char *asleep = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(2)' "
                         "AND state = 'active'";
    const int64_t until = now_ms() + 30000;
    assert_int_equal(pthread_create(thread, NULL, sleep_two_seconds, db), 0);
    while (rig_number(server(), asleep) == 0 && now_ms() < until)
        usleep(2000);
}

static void seen__a_full_server_is_told_of_and_a_free_one(void **state)
{
    (void)state;
    pthread_t thread;
    void *slept;
    struct hf_options options = with_hooks();
    options.pool.size_max = 1;
    options.bulkhead.queue_max = -1;
    struct hf_db *db = open_db(options);
    begin_to_sleep(db, &thread);
    assert_null(ask(db, "SELECT 1", NULL, NULL, NULL));
    assert_int_equal(err.code, HF_E_BUSY);
    assert_string_equal(err.sqlstate, "53300");
    wait_event(HF_EVENT_BULKHEAD, "full", 0);
    pthread_join(thread, &slept);
    assert_ptr_equal(slept, db);
    assert_non_null(ask(db, "SELECT 1", NULL, NULL, NULL));
    wait_event(HF_EVENT_BULKHEAD, "free", 0);
    hf_close(db);
}

static void seen__a_retry_and_a_slow_call_are_told_of(void **state)
{
    (void)state;
    pthread_t thread;
    void *slept;
    struct hf_stats stats;
    struct hf_options options = with_hooks();
    options.hooks.slow_ms = 100;
    struct hf_db *db = open_db(options);
    begin_to_sleep(db, &thread);
    rig_sql(server(),
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE query = 'SELECT pg_sleep(2)' AND pid <> pg_backend_pid()",
            NULL, 0);
    pthread_join(thread, &slept);
    assert_ptr_equal(slept, db); /* a read runs again */
    wait_event(HF_EVENT_RETRY, "", 0);
    wait_event(HF_EVENT_SLOW, "", 0);
    hf_stats(db, &stats);
    assert_true(stats.retries >= 1);
    hf_close(db);
}

static void seen__no_message_of_a_failed_open_shows_the_password(void **state)
{
    (void)state;
    static const char *const strings[] = {
        "postgresql://app:" PASSWORD "@127.0.0.1:1/shop?connect_timeout=1",
        "host=127.0.0.1 port=1 password=" PASSWORD,
        "host=127.0.0.1 password='" PASSWORD,
        "postgresql://app:" PASSWORD "@[::1",
        "host=127.0.0.1 " PASSWORD,
        "postgresql://127.0.0.1/x?" PASSWORD "=1",
        "host=127.0.0.1 port=" PASSWORD,
    };
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        struct hf_db *db;
        char text[1000];
        const struct hf_options options = {
            .conninfo = strings[i], .start_ms = 100, .hooks = {.on_log = on_log}};
        heard.used = 0;
        memset(heard.all, 0, sizeof heard.all);
        assert_true(hf_open_with(&db, &options, &err) != HF_SUCCESS);
        assert_null(db);
        hf_error_text(&err, text, sizeof text);
        if (strstr(text, PASSWORD) != NULL || strstr(err.detail, PASSWORD) != NULL ||
            strstr(err.hint, PASSWORD) != NULL || strstr(heard.all, PASSWORD) != NULL)
            fail_msg("number %zu: %s; %s; %s", i, text, err.detail, err.hint);
    }
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void seen__a_database_opens_from_a_file(void **state)
{
    (void)state;
    char path[100], text[400];
    struct hf_db *db;
    snprintf(path, sizeof path, "%s/holdfast.yml", rig.folder);
    snprintf(text, sizeof text,
             "databases: {postgres: {hosts: \"127.0.0.1:%d\", user: postgres, password: %s}}\n"
             "library: {deadline: 2s, conninfo: application_name=fromfile}\n",
             server()->port, PASSWORD);
    write_file(path, text);
    assert_success(hf_open(&db, path, &err));
    assert_string_equal(ask(db, "SELECT current_setting('application_name')", NULL, NULL, NULL),
                        "fromfile");
    /* The file's deadline holds ... */
    assert_null(ask(db, "SELECT pg_sleep(20)", HF_WITH(.intent = HF_READ), NULL, NULL));
    assert_int_equal(err.code, HF_E_DEADLINE);
    hf_close(db);
    /* ... unless the struct says otherwise. */
    const struct hf_options options = {
        .file = path, .database = "postgres", .deadline_ms = 30000, .profile = HF_PROFILE_BATCH};
    assert_success(hf_open_with(&db, &options, &err));
    assert_non_null(ask(db, "SELECT pg_sleep(2.5)", HF_WITH(.intent = HF_READ), NULL, NULL));
    hf_close(db);
    write_file(path, "library: {deadlin: 3s}\n");
    assert_int_equal(hf_open(&db, path, &err), HF_E_CONFIG);
    assert_non_null(strstr(err.message, "holdfast.yml:1:11: library.deadlin"));
    write_file(path, "library: {deadline: 3s}\n");
    assert_int_equal(hf_open(&db, path, &err), HF_E_CONFIG);
    assert_non_null(strstr(err.message, "says nowhere where the database is"));
    assert_int_equal(hf_open(&db, "/tmp/no/such.yaml", &err), HF_E_CONFIG);
    assert_int_equal(hf_open(NULL, path, &err), HF_E_USAGE);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seen__statistics_count_what_was_done),
        cmocka_unit_test(seen__an_endpoint_tells_what_is_known_of_it),
        cmocka_unit_test(seen__the_metrics_are_a_page_that_prometheus_takes),
        cmocka_unit_test(seen__a_guards_metrics_are_one_too),
        cmocka_unit_test(seen__a_servers_error_arrives_with_all_its_parts),
        cmocka_unit_test(seen__a_decision_says_where_a_call_went_and_why),
        cmocka_unit_test(seen__a_level_by_hand_refuses_what_it_does_not_allow),
        cmocka_unit_test(seen__a_breaker_by_hand_refuses_until_it_is_reset),
        cmocka_unit_test(seen__a_drained_server_gets_nothing_new),
        cmocka_unit_test(seen__a_child_sees_nothing_and_changes_nothing),
        cmocka_unit_test(seen__a_full_server_is_told_of_and_a_free_one),
        cmocka_unit_test(seen__a_retry_and_a_slow_call_are_told_of),
        cmocka_unit_test(seen__no_message_of_a_failed_open_shows_the_password),
        cmocka_unit_test(seen__a_database_opens_from_a_file),
    };
    return cmocka_run_group_tests(tests, seen_begin, seen_end);
}
