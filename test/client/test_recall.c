/*
 * Old results and made-up ones, against a real server that is killed and stopped: the cache, single
 * questions of many askers, fallbacks, and that nothing told of an outage shows the password.
 */
#include "seen_rig.h"

/* ---- the cache while all is well ---- */

static void recall__a_fresh_result_is_served_without_asking(void **state)
{
    (void)state;
    char first[200];
    int64_t age_ms = -1;
    bool is_stale = true;
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

static void recall__parameters_formats_and_texts_are_told_apart(void **state)
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

static void recall__a_session_sees_its_own_write_and_not_the_cache(void **state)
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

static void recall__many_askers_ask_the_server_once(void **state)
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

static void recall__an_outage_is_bridged_told_and_over(void **state)
{
    (void)state;
    int64_t age_ms = 0;
    bool is_stale = false;
    int asked = 0, declined = 0;
    char page[60000];
    struct hf_options options = with_hooks();
    options.deadline_ms = 3000;
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
    wait_event(HF_EVENT_ENDPOINT, "up", lost);
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

static void recall__a_server_that_hangs_is_bridged_too(void **state)
{
    (void)state;
    int64_t age_ms = 0;
    bool is_stale = false;
    struct hf_options options = with_hooks();
    options.deadline_ms = 2000;
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
    assert_in_range(took, 0, 10000);
    hf_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recall__a_fresh_result_is_served_without_asking),
        cmocka_unit_test(recall__parameters_formats_and_texts_are_told_apart),
        cmocka_unit_test(recall__a_session_sees_its_own_write_and_not_the_cache),
        cmocka_unit_test(recall__many_askers_ask_the_server_once),
        cmocka_unit_test(recall__an_outage_is_bridged_told_and_over),
        cmocka_unit_test(recall__a_server_that_hangs_is_bridged_too),
    };
    return cmocka_run_group_tests(tests, seen_begin, seen_end);
}
