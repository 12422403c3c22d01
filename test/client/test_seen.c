/*
 * What can be seen and steered from outside, against a real server: statistics, metrics, events,
 * errors, decisions; levels, breakers and drains by hand; the cache and the fallbacks in an outage.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../unit/prom_check.h"
#include "holdfast.h"
#include "pg_rig.h"

#define PASSWORD "s3cret-and-never-shown"

static struct rig rig;
static struct hf_error err;

/* ---- what the hooks heard ---- */

#define HEARD_MAX 400

static struct {
    pthread_mutex_t lock;
    size_t count;
    struct {
        int kind;
        char name[64], from[24], to[24];
    } list[HEARD_MAX];
    char all[200000]; /* every text that a hook was given */
    size_t used;
} heard = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void keep_text(const char *text)
{
    const size_t size = strlen(text);
    if (heard.used + size + 2 < sizeof heard.all) {
        memcpy(heard.all + heard.used, text, size);
        heard.used += size;
        heard.all[heard.used++] = '\n';
    }
}

static void on_event(const struct hf_event *event, void *arg)
{
    (void)arg;
    pthread_mutex_lock(&heard.lock);
    if (heard.count < HEARD_MAX) {
        heard.list[heard.count].kind = event->kind;
        snprintf(heard.list[heard.count].name, 64, "%s", event->name);
        snprintf(heard.list[heard.count].from, 24, "%s", event->from);
        snprintf(heard.list[heard.count++].to, 24, "%s", event->to);
    }
    keep_text(event->detail);
    pthread_mutex_unlock(&heard.lock);
}

static void on_log(int level, const char *line, void *arg)
{
    (void)level;
    (void)arg;
    pthread_mutex_lock(&heard.lock);
    keep_text(line);
    pthread_mutex_unlock(&heard.lock);
}

/* The place of the first such event from `since` on, or -1. */
static int find_event(int kind, const char *to, int since)
{
    int found = -1;
    pthread_mutex_lock(&heard.lock);
    for (size_t i = (size_t)since; i < heard.count && found < 0; i++)
        if (heard.list[i].kind == kind && strcmp(heard.list[i].to, to) == 0)
            found = (int)i;
    pthread_mutex_unlock(&heard.lock);
    return found;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int wait_event(int kind, const char *to, int since)
{
    const int64_t until = now_ms() + 30000;
    int found;
    while ((found = find_event(kind, to, since)) < 0 && now_ms() < until)
        usleep(5000);
    if (found < 0)
        fail_msg("no event of kind %d to %s", kind, to);
    return found;
}

/* ---- a database ---- */

static struct rig_server *server(void)
{
    return &rig.servers[0];
}

static struct hf_db *open_db(struct hf_options options)
{
    char conninfo[200];
    struct hf_db *db;
    snprintf(conninfo, sizeof conninfo,
             "host=127.0.0.1 port=%d user=postgres dbname=postgres password=" PASSWORD,
             server()->port);
    options.conninfo = conninfo;
    heard.count = 0;
    if (hf_open_with(&db, &options, &err) != HF_SUCCESS)
        fail_msg("%s (%s)", err.message, err.detail);
    return db;
}

static struct hf_options with_hooks(void)
{
    return (struct hf_options){.deadline_ms = 5000,
                               .hooks = {.on_event = on_event, .on_log = on_log}};
}

/* One value, as text; NULL and `err` filled if there is none. */
static const char *ask(struct hf_db *db, const char *sql, const struct hf_call_options *options,
                       int64_t *age_ms, bool *is_stale)
{
    static char value[200];
    struct hf_rows *rows;
    if (hf_query(db, sql, NULL, options, &rows, &err) != HF_SUCCESS)
        return NULL;
    assert_int_equal(hf_rows_next(rows, &err), 1);
    snprintf(value, sizeof value, "%s", hf_rows_text(rows, 0));
    if (age_ms != NULL)
        *age_ms = hf_rows_age_ms(rows, is_stale);
    hf_rows_free(rows);
    return value;
}

static void endpoint_name(char name[64])
{
    snprintf(name, 64, "127.0.0.1:%d", server()->port);
}

static void assert_success(int code)
{
    if (code != HF_SUCCESS)
        fail_msg("%s: %s (%s)", hf_code_name(code), err.message, err.detail);
}

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
    assert_success(hf_level_force(db, HF_LEVEL_MAINTENANCE, 50, &err));
    assert_null(ask(db, "SELECT 1", HF_WITH(.intent = HF_READ), NULL, NULL));
    const int64_t until = now_ms() + 20000;
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
    assert_true(find_event(HF_EVENT_BREAKER, "forced_open", 0) >= 0);
    assert_success(hf_breaker_reset(db, name, &err));
    assert_non_null(ask(db, "SELECT 1", NULL, NULL, NULL));
    assert_true(find_event(HF_EVENT_BREAKER, "closed", 0) >= 0);
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
    const int64_t until = now_ms() + 10000;
    do
        hf_endpoints(db, &endpoint, 1);
    while (!endpoint.is_drained && now_ms() < until);
    assert_true(endpoint.is_drained);
    assert_null(ask(db, "SELECT 1", NULL, NULL, NULL));
    assert_true(err.code == HF_E_NOBODY || err.code == HF_E_LEVEL);
    assert_success(hf_endpoint_drain(db, name, false, &err));
    while (ask(db, "SELECT 1", NULL, NULL, NULL) == NULL && now_ms() < until + 10000)
        usleep(2000);
    assert_non_null(ask(db, "SELECT 1", NULL, NULL, NULL));
    assert_int_equal(hf_endpoint_drain(db, NULL, true, &err), HF_E_USAGE);
    hf_close(db);
}

/* ---- the cache while all is well ---- */

static void seen__a_fresh_result_is_served_without_asking(void **state)
{
    (void)state;
    char first[200];
    int64_t age_ms;
    bool is_stale;
    struct hf_stats stats;
    struct hf_decision decision;
    struct hf_db *db = open_db((struct hf_options){0});
    const struct hf_call_options *cached = HF_WITH(.intent = HF_READ, .cache = HF_CACHE_FIRST,
                                                   .operation = "now", .decision = &decision);
    const char *sql = "SELECT clock_timestamp()::text";
    snprintf(first, sizeof first, "%s", ask(db, sql, cached, &age_ms, &is_stale));
    assert_int_equal(age_ms, 0);
    assert_string_equal(ask(db, sql, cached, &age_ms, &is_stale), first);
    assert_false(is_stale);
    assert_true(decision.was_cached);
    assert_int_equal(decision.attempts, 0);
    hf_stats(db, &stats);
    assert_int_equal(stats.cache_hits, 1);
    assert_int_equal(stats.cache_entries, 1);
    assert_int_equal(stats.from_cache, 1);
    assert_true(stats.cache_bytes > 0);
    /* Another operation's clearing leaves it, its own does not. */
    hf_cache_clear(db, "other");
    assert_string_equal(ask(db, sql, cached, NULL, NULL), first);
    hf_cache_clear(db, "now");
    assert_string_not_equal(ask(db, sql, cached, NULL, NULL), first);
    hf_close(db);
}

static void seen__parameters_formats_and_texts_are_told_apart(void **state)
{
    (void)state;
    struct hf_db *db = open_db((struct hf_options){0});
    const struct hf_call_options *cached = HF_WITH(.intent = HF_READ, .cache = HF_CACHE_FIRST);
    struct hf_rows *rows;
    static const char *const values[] = {"a", "b", NULL, ""};
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 4; i++) {
            assert_success(hf_query(db, "SELECT coalesce($1::text, 'null') || '!'",
                                    HF_PARAMS(hf_text(values[i])), cached, &rows, &err));
            char wanted[8];
            snprintf(wanted, sizeof wanted, "%s!", values[i] != NULL ? values[i] : "null");
            assert_int_equal(hf_rows_next(rows, &err), 1);
            assert_string_equal(hf_rows_text(rows, 0), wanted);
            assert_int_equal(hf_rows_age_ms(rows, NULL) >= 0, 1);
            hf_rows_free(rows);
        }
    }
    struct hf_stats stats;
    hf_stats(db, &stats);
    assert_int_equal(stats.cache_hits, 4);
    assert_int_equal(stats.cache_entries, 4);
    hf_close(db);
}

static void seen__a_session_sees_its_own_write_and_not_the_cache(void **state)
{
    (void)state;
    struct hf_db *db = open_db((struct hf_options){0});
    const struct hf_call_options *cached = HF_WITH(.intent = HF_READ, .cache = HF_CACHE_FIRST);
    assert_success(hf_exec(db,
                           "DROP TABLE IF EXISTS own; CREATE TABLE own (n int); "
                           "INSERT INTO own VALUES (1)",
                           NULL, NULL, NULL, &err));
    assert_string_equal(ask(db, "SELECT n FROM own", cached, NULL, NULL), "1");
    assert_string_equal(ask(db, "SELECT n FROM own", cached, NULL, NULL), "1");
    assert_success(hf_exec(db, "UPDATE own SET n = 2", NULL, NULL, NULL, &err));
    assert_string_equal(ask(db, "SELECT n FROM own", cached, NULL, NULL), "2");
    /* Somebody else's write it need not see. */
    rig_sql(server(), "UPDATE own SET n = 3", NULL, 0);
    assert_string_equal(ask(db, "SELECT n FROM own", cached, NULL, NULL), "2");
    hf_close(db);
}

#define ASKERS 8

static void *ask_slow(void *arg)
{
    struct hf_rows *rows;
    struct hf_error error;
    if (hf_query(arg, "SELECT count(*) FROM (SELECT pg_sleep(0.3)) AS s", NULL,
                 HF_WITH(.intent = HF_READ, .cache = HF_CACHE_FIRST), &rows, &error) != HF_SUCCESS)
        return NULL;
    hf_rows_free(rows);
    return arg;
}

static void seen__many_askers_ask_the_server_once(void **state)
{
    (void)state;
    pthread_t threads[ASKERS];
    struct hf_stats stats;
    struct hf_db *db = open_db((struct hf_options){0});
    for (int i = 0; i < ASKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_slow, db), 0);
    for (int i = 0; i < ASKERS; i++) {
        void *answer;
        pthread_join(threads[i], &answer);
        assert_ptr_equal(answer, db);
    }
    hf_stats(db, &stats);
    assert_int_equal(stats.attempts, 1);
    assert_int_equal(stats.succeeded, ASKERS);
    hf_close(db);
}

/* ---- an outage ---- */

static int weather(const char *sql, const struct hf_error *why, void *arg, struct hf_rows **rows,
                   struct hf_error *error)
{
    static const char *const names[] = {"sky"};
    static const char *const values[] = {"as you see it"};
    ++*(int *)arg;
    assert_non_null(sql);
    assert_true(why->code != HF_SUCCESS && strlen(why->message) > 0);
    return hf_rows_make(names, 1, values, 1, rows, error);
}

static int declines(const char *sql, const struct hf_error *why, void *arg, struct hf_rows **rows,
                    struct hf_error *error)
{
    (void)sql;
    (void)why;
    (void)rows;
    (void)error;
    ++*(int *)arg;
    return 1;
}

static void seen__an_outage_is_bridged_told_and_over(void **state)
{
    (void)state;
    int64_t age_ms = 0;
    bool is_stale = false;
    int asked = 0, declined = 0;
    char page[60000];
    struct hf_options options = with_hooks();
    options.deadline_ms = 800;
    struct hf_db *db = open_db(options);
    const struct hf_call_options *menu =
        HF_WITH(.intent = HF_READ, .cache = HF_CACHE_FALLBACK, .operation = "menu");
    assert_success(hf_fallback_set(db, "weather", weather, &asked, &err));
    assert_success(hf_fallback_set(db, "*", declines, &declined, &err));
    assert_int_equal(hf_fallback_set(db, "", weather, NULL, &err), HF_E_USAGE);
    assert_string_equal(ask(db, "SELECT 'soup'", menu, &age_ms, &is_stale), "soup");
    assert_false(is_stale);
    rig_kill(server());
    wait_event(HF_EVENT_ENDPOINT, "down", 0);
    /* An old result, a made-up one, and an honest refusal. */
    usleep(20000);
    assert_string_equal(ask(db, "SELECT 'soup'", menu, &age_ms, &is_stale), "soup");
    assert_true(is_stale);
    assert_in_range(age_ms, 20, 60000);
    assert_string_equal(ask(db, "SELECT 'sun'", HF_WITH(.operation = "weather"), NULL, NULL),
                        "as you see it");
    assert_int_equal(asked, 1);
    assert_null(ask(db, "SELECT 'never asked'", menu, NULL, NULL));
    assert_true(declined >= 1);
    assert_true(err.may_repeat);
    char text[600];
    pthread_mutex_lock(&heard.lock);
    keep_text(hf_error_text(&err, text, sizeof text));
    keep_text(err.detail);
    keep_text(err.hint);
    pthread_mutex_unlock(&heard.lock);
    const int lost = wait_event(HF_EVENT_LEVEL, "cached_only", 0);
    assert_int_equal(hf_level(db), HF_LEVEL_CACHED_ONLY);
    /* What the server says itself is an answer: no old result hides it. */
    rig_start(server());
    wait_event(HF_EVENT_LEVEL, "full", lost);
    assert_string_equal(ask(db, "SELECT 'soup'", menu, &age_ms, &is_stale), "soup");
    assert_false(is_stale);
    assert_null(ask(db, "SELECT 1/0", menu, NULL, NULL));
    assert_string_equal(err.sqlstate, "22012");
    assert_true(find_event(HF_EVENT_ENDPOINT, "up", lost) >= 0);
    struct hf_stats stats;
    hf_stats(db, &stats);
    assert_int_equal(stats.fallbacks, 1);
    assert_true(stats.cache_stale >= 1);
    assert_true(hf_metrics(db, page, sizeof page) < sizeof page);
    hf_close(db);
    /* Of all that was told, nothing shows the password. */
    assert_null(strstr(heard.all, PASSWORD));
    assert_null(strstr(page, PASSWORD));
}

static void seen__a_server_that_hangs_is_bridged_too(void **state)
{
    (void)state;
    int64_t age_ms = 0;
    bool is_stale = false;
    struct hf_options options = with_hooks();
    options.deadline_ms = 400;
    struct hf_db *db = open_db(options);
    const struct hf_call_options *menu =
        HF_WITH(.intent = HF_READ, .cache = HF_CACHE_FALLBACK, .operation = "menu");
    assert_string_equal(ask(db, "SELECT 'soup'", menu, NULL, NULL), "soup");
    rig_freeze(server());
    const int64_t began = now_ms();
    const char *answer = ask(db, "SELECT 'soup'", menu, &age_ms, &is_stale);
    const int64_t took = now_ms() - began;
    rig_thaw(server());
    assert_non_null(answer);
    assert_string_equal(answer, "soup");
    assert_true(is_stale);
    assert_in_range(took, 0, 2000);
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
             "library: {deadline: 300ms, conninfo: application_name=fromfile}\n",
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
        .file = path, .database = "postgres", .deadline_ms = 20000, .profile = HF_PROFILE_BATCH};
    assert_success(hf_open_with(&db, &options, &err));
    assert_non_null(ask(db, "SELECT pg_sleep(0.6)", HF_WITH(.intent = HF_READ), NULL, NULL));
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

static int begin(void **state)
{
    (void)state;
    rig_begin(&rig, 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    rig_end(&rig);
    return 0;
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
        cmocka_unit_test(seen__a_fresh_result_is_served_without_asking),
        cmocka_unit_test(seen__parameters_formats_and_texts_are_told_apart),
        cmocka_unit_test(seen__a_session_sees_its_own_write_and_not_the_cache),
        cmocka_unit_test(seen__many_askers_ask_the_server_once),
        cmocka_unit_test(seen__an_outage_is_bridged_told_and_over),
        cmocka_unit_test(seen__a_server_that_hangs_is_bridged_too),
        cmocka_unit_test(seen__no_message_of_a_failed_open_shows_the_password),
        cmocka_unit_test(seen__a_database_opens_from_a_file),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
