#include "unit.h"

#include "pg/watcher.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ns.h"
#include "os/clock.h"

static struct mem mem;

static struct watcher *watch(const char *conninfo)
{
    const struct watcher_config config = {.conninfo = conninfo};
    struct watcher *watcher;
    struct hf_err err;
    assert_int_equal(watcher_new(&watcher, &config, &mem, &err), HF_OK);
    return watcher;
}

static int make_mem(void **state)
{
    (void)state;
    mem_init(&mem, 0);
    return 0;
}

static int drop_mem(void **state)
{
    (void)state;
    mem_deinit(&mem); /* aborts if something was not given back */
    return 0;
}

static void watcher__the_hosts_of_a_connection_string_are_the_endpoints(void **state)
{
    (void)state;
    static const struct {
        const char *conninfo;
        struct {
            const char *name, *host, *hostaddr, *port;
        } targets[3];
    } cases[] = {
        {"host=127.0.0.1 port=1", {{"127.0.0.1:1", "127.0.0.1", "127.0.0.1", "1"}}},
        {"postgresql://u:p@127.0.0.1:1,127.0.0.2:2/db?sslmode=disable",
         {{"127.0.0.1:1", "127.0.0.1", "127.0.0.1", "1"},
          {"127.0.0.2:2", "127.0.0.2", "127.0.0.2", "2"}}},
        {"host=127.0.0.1,::1,/nowhere port=1",
         {{"127.0.0.1:1", "127.0.0.1", "127.0.0.1", "1"},
          {"[::1]:1", "::1", "::1", "1"},
          {"/nowhere:1", "/nowhere", "", "1"}}},
        {"host=a.invalid,b.invalid hostaddr=127.0.0.1,127.0.0.1 port=1,2",
         {{"a.invalid:1", "a.invalid", "127.0.0.1", "1"},
          {"b.invalid:2", "b.invalid", "127.0.0.1", "2"}}},
        {"hostaddr=127.0.0.1 port=1", {{"127.0.0.1:1", "127.0.0.1", "127.0.0.1", "1"}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct watcher *watcher = watch(cases[i].conninfo);
        struct watcher_target target;
        uint32_t at = 0;
        for (; at < 3 && cases[i].targets[at].name != NULL; at++) {
            assert_true(watcher_target(watcher, at, &target));
            assert_string_equal(target.name, cases[i].targets[at].name);
            assert_string_equal(target.host, cases[i].targets[at].host);
            assert_string_equal(target.hostaddr, cases[i].targets[at].hostaddr);
            assert_string_equal(target.port, cases[i].targets[at].port);
            assert_int_equal(target.incarnation, 1);
        }
        assert_false(watcher_target(watcher, at, &target));
        watcher_free(watcher);
    }
}

static void watcher__configured_endpoints_go_before_those_of_the_string(void **state)
{
    (void)state;
    const struct watcher_endpoint endpoints[] = {
        {.host = "127.0.0.3", .port = 1, .weight = 5, .tier = 1, .zone = 2},
        {.host = "name.invalid", .hostaddr = "127.0.0.4", .refuses_writes = true},
    };
    const struct watcher_config config = {
        .conninfo = "host=elsewhere user=u", .endpoints = endpoints, .endpoint_count = 2};
    struct watcher *watcher;
    struct watcher_target target;
    struct topology_endpoint described;
    struct hf_err err;
    assert_int_equal(watcher_new(&watcher, &config, &mem, &err), HF_OK);
    assert_true(watcher_target(watcher, 1, &target));
    assert_string_equal(target.name, "name.invalid:5432");
    assert_string_equal(target.hostaddr, "127.0.0.4");
    assert_true(watcher_describe(watcher, 0, &described));
    assert_int_equal(described.member.weight, 5);
    assert_int_equal(described.member.tier, 1);
    assert_int_equal(described.member.zone, 2);
    assert_false(watcher_describe(watcher, 2, &described));
    watcher_free(watcher);
    watcher_free(NULL);
}

static void watcher__a_bad_string_is_refused_without_being_quoted(void **state)
{
    (void)state;
    struct watcher_config config = {.conninfo = "host=a secret_word"};
    struct watcher *watcher;
    struct hf_err err;
    char hosts[512] = "host=127.0.0.1";
    size_t used = strlen(hosts);
    assert_int_equal(watcher_new(&watcher, &config, &mem, &err), HF_RC_INVALID);
    assert_null(watcher);
    assert_null(strstr(err.message, "secret_word"));
    for (int i = 0; i < SNAPSHOT_ENDPOINTS_MAX; i++)
        used += (size_t)snprintf(hosts + used, sizeof hosts - used, ",127.0.0.1");
    config.conninfo = hosts;
    assert_int_equal(watcher_new(&watcher, &config, &mem, &err), HF_RC_LIMIT);
    config.conninfo = "host=127.0.0.1";
    config.topology.down_ns = -1;
    assert_int_equal(watcher_new(&watcher, &config, &mem, &err), HF_RC_INVALID);
}

static void watcher__each_allocation_can_fail(void **state)
{
    (void)state;
    const struct watcher_config config = {.conninfo = "host=127.0.0.1 port=1",
                                          .patroni_url = "http://127.0.0.1:1"};
    for (uint64_t nth = 1;; nth++) {
        struct watcher *watcher;
        struct hf_err err;
        mem_fail_nth(&mem, nth);
        const enum hf_rc rc = watcher_new(&watcher, &config, &mem, &err);
        mem_fail_nth(&mem, 0);
        watcher_free(watcher);
        if (rc == HF_OK) {
            assert_true(nth > 2);
            return;
        }
        assert_int_equal(rc, HF_RC_LIMIT);
    }
}

static void watcher__all_down_is_published_and_told_by_ear_wait_and_news(void **state)
{
    (void)state;
    struct watcher *watcher = watch("host=127.0.0.1,127.0.0.2 port=1 passfile=/nonexistent");
    struct watcher_ear ear;
    struct watcher_news news;
    struct snapshot view;
    struct hf_err err;
    uint64_t seen = 0, cursor = 0, missed = 9;
    assert_int_equal(watcher_ear_open(watcher, &ear, &err), HF_OK);
    watcher_listen(&ear);
    assert_true(watcher_wait(watcher, 0, clock_now() + HF_SEC(60)));
    assert_true(watcher_refresh(watcher, &seen, &view));
    assert_int_equal(view.count, 2);
    assert_int_equal(view.up, 0);
    struct pollfd file = {.fd = ear.fd, .events = POLLIN};
    assert_int_equal(poll(&file, 1, 60000), 1);
    watcher_listen(&ear); /* empties it */
    assert_true(watcher_news(watcher, &cursor, &news, &missed));
    assert_int_equal(missed, 0);
    assert_string_equal(news.text, "127.0.0.1:1 is a member now");
    assert_string_equal(news.name, "127.0.0.1:1");
    /* What is still to be told comes, and then nothing does. */
    const int64_t until_ns = clock_now() + HF_SEC(60);
    while (watcher_wait(watcher, seen, clock_now() + HF_MS(5)) && clock_now() < until_ns)
        watcher_refresh(watcher, &seen, &view);
    assert_true(clock_now() < until_ns);
    watcher_ear_close(watcher, &ear);
    watcher_free(watcher);
}

static _Atomic int told;

static void count_news(const struct watcher_news *news, void *arg)
{
    assert_ptr_equal(arg, &told);
    if (news->what.kind == TOPOLOGY_NEWS_ADDED)
        ++told;
}

static void watcher__a_callback_hears_each_piece_of_news(void **state)
{
    (void)state;
    const struct watcher_config config = {
        .conninfo = "host=127.0.0.1,127.0.0.2 port=1", .on_news = count_news, .on_news_arg = &told};
    struct watcher *watcher;
    struct hf_err err;
    told = 0;
    assert_int_equal(watcher_new(&watcher, &config, &mem, &err), HF_OK);
    const int64_t until_ns = clock_now() + HF_SEC(60);
    while (told < 2 && clock_now() < until_ns)
        clock_sleep_until(clock_now() + HF_MS(1));
    watcher_free(watcher);
    assert_int_equal(told, 2);
}

/* What everybody may do at any time, from several threads at once. */
static void *use(void *argument)
{
    struct watcher *watcher = argument;
    struct watcher_target target;
    struct watcher_news news;
    struct watcher_ear ear;
    struct hf_err err;
    struct snapshot *view = calloc(1, sizeof *view);
    uint64_t seen = 0, cursor = 0;
    if (view == NULL || watcher_ear_open(watcher, &ear, &err) != HF_OK)
        abort();
    for (int i = 0; i < 300; i++) {
        const uint32_t at = (uint32_t)i % 3;
        watcher_refresh(watcher, &seen, view);
        watcher_tell(watcher, at, (enum outcome_endpoint)(i % (OUTCOME_EP_CORRUPT + 1)));
        watcher_drain(watcher, at, i % 2 == 0);
        watcher_target(watcher, at, &target);
        watcher_news(watcher, &cursor, &news, NULL);
        watcher_listen(&ear);
        if (i % 50 == 0) {
            watcher_pin(watcher, DEGRADE_MAINTENANCE, HF_NEVER);
            watcher_unpin(watcher);
            watcher_wait(watcher, seen, clock_now() + HF_MS(5));
        }
    }
    watcher_ear_close(watcher, &ear);
    free(view);
    return NULL;
}

static void watcher__threads_may_do_everything_at_once(void **state)
{
    (void)state;
    struct watcher *watcher = watch("host=127.0.0.1,127.0.0.2 port=1 passfile=/nonexistent");
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use, watcher), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    watcher_free(watcher);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_mem, drop_mem)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(watcher__the_hosts_of_a_connection_string_are_the_endpoints),
        CASE(watcher__configured_endpoints_go_before_those_of_the_string),
        CASE(watcher__a_bad_string_is_refused_without_being_quoted),
        CASE(watcher__each_allocation_can_fail),
        CASE(watcher__all_down_is_published_and_told_by_ear_wait_and_news),
        CASE(watcher__a_callback_hears_each_piece_of_news),
        CASE(watcher__threads_may_do_everything_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
