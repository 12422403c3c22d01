#include "unit.h"

#include "pg/watcher.h"

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/ns.h"
#include "os/clock.h"

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found);
void __real_freeaddrinfo(struct addrinfo *found);
void __wrap_freeaddrinfo(struct addrinfo *found);

/* What the name service knows of "db.test": addresses, or nothing. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *known[4];
static _Atomic int asked;

static void set_known(const char *first, const char *second)
{
    pthread_mutex_lock(&lock);
    known[0] = first;
    known[1] = second;
    pthread_mutex_unlock(&lock);
}

int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found)
{
    struct addrinfo **end = found;
    int failed = EAI_NONAME;
    if (strcmp(host, "db.test") != 0)
        return __real_getaddrinfo(host, port, hints, found);
    ++asked;
    pthread_mutex_lock(&lock);
    for (int i = 0; known[i] != NULL; i++) {
        failed = __real_getaddrinfo(known[i], port, hints, end);
        if (failed != 0)
            break;
        end = &(*end)->ai_next;
    }
    pthread_mutex_unlock(&lock);
    return failed;
}

/* The list was put together from several, and is given back one by one. */
void __wrap_freeaddrinfo(struct addrinfo *found)
{
    while (found != NULL) {
        struct addrinfo *next = found->ai_next;
        found->ai_next = NULL;
        __real_freeaddrinfo(found);
        found = next;
    }
}

static struct mem mem;

static struct watcher *watch(bool expand_names)
{
    const struct watcher_config config = {
        .conninfo = "host=db.test port=1 passfile=/nonexistent",
        .resolve_ns = HF_MS(20),
        .expand_names = expand_names,
        .sampler = {.retry_ns = HF_MS(5), .retry_ns_max = HF_MS(10)},
    };
    struct watcher *watcher;
    struct hf_err err;
    mem_init(&mem, 0);
    asked = 0;
    assert_int_equal(watcher_new(&watcher, &config, &mem, &err), HF_OK);
    return watcher;
}

static void stop(struct watcher *watcher)
{
    watcher_free(watcher);
    mem_deinit(&mem);
}

static void pause_a_moment(void)
{
    clock_sleep_until(clock_now() + HF_MS(2));
}

static void await_address(struct watcher *watcher, uint32_t at, const char *address)
{
    struct watcher_target target = {.host = ""};
    const int64_t until_ns = clock_now() + HF_SEC(60);
    while (!watcher_target(watcher, at, &target) || strcmp(target.hostaddr, address) != 0) {
        assert_true(clock_now() < until_ns);
        pause_a_moment();
    }
}

static void await_news(struct watcher *watcher, const char *text)
{
    struct watcher_news news;
    uint64_t cursor = 0;
    const int64_t until_ns = clock_now() + HF_SEC(60);
    for (;;) {
        while (watcher_news(watcher, &cursor, &news, NULL))
            if (strcmp(news.text, text) == 0)
                return;
        assert_true(clock_now() < until_ns);
        pause_a_moment();
    }
}

static void watcher_members__an_endpoint_follows_its_name_to_another_address(void **state)
{
    (void)state;
    struct watcher_target target;
    set_known("127.0.0.1", NULL);
    struct watcher *watcher = watch(false);
    await_address(watcher, 0, "127.0.0.1");
    assert_true(watcher_target(watcher, 0, &target));
    assert_string_equal(target.name, "db.test:1");
    assert_string_equal(target.host, "db.test"); /* what certificates are for */
    set_known("127.0.0.2", NULL);
    await_address(watcher, 0, "127.0.0.2");
    assert_true(watcher_target(watcher, 0, &target));
    assert_int_equal(target.incarnation, 1); /* the same endpoint elsewhere */
    stop(watcher);
}

static void watcher_members__a_lookup_that_fails_leaves_all_as_it_was(void **state)
{
    (void)state;
    struct watcher_target target;
    set_known("127.0.0.1", NULL);
    struct watcher *watcher = watch(false);
    await_address(watcher, 0, "127.0.0.1");
    set_known(NULL, NULL);
    const int before = asked;
    while (asked < before + 2)
        pause_a_moment();
    assert_true(watcher_target(watcher, 0, &target));
    assert_string_equal(target.hostaddr, "127.0.0.1");
    stop(watcher);
}

static void watcher_members__a_name_without_an_address_is_down_and_asked_for_again(void **state)
{
    (void)state;
    struct topology_endpoint known_of;
    set_known(NULL, NULL);
    struct watcher *watcher = watch(false);
    assert_true(watcher_wait(watcher, 0, clock_now() + HF_SEC(60)));
    assert_true(watcher_describe(watcher, 0, &known_of));
    assert_int_equal(known_of.health, ENDPOINT_DOWN);
    assert_int_equal(known_of.outcome.code, OUTCOME_RESOLVE_FAILED);
    set_known("127.0.0.1", NULL);
    await_address(watcher, 0, "127.0.0.1");
    stop(watcher);
}

static void watcher_members__where_one_address_refuses_the_next_one_is_tried(void **state)
{
    (void)state;
    set_known("127.0.0.1", "127.0.0.2");
    struct watcher *watcher = watch(false);
    await_address(watcher, 0, "127.0.0.1");
    await_address(watcher, 0, "127.0.0.2");
    await_address(watcher, 0, "127.0.0.1");
    stop(watcher);
}

static void watcher_members__the_addresses_of_a_name_can_be_endpoints_that_come_and_go(void **state)
{
    (void)state;
    struct watcher_target target;
    set_known("127.0.0.1", "127.0.0.2");
    struct watcher *watcher = watch(true);
    await_address(watcher, 1, "127.0.0.2");
    assert_true(watcher_target(watcher, 1, &target));
    assert_string_equal(target.name, "127.0.0.2:1");
    assert_string_equal(target.host, "db.test");
    set_known("127.0.0.1", "127.0.0.3");
    await_news(watcher, "127.0.0.3:1 is a member now");
    await_news(watcher, "127.0.0.2:1 is no member any more");
    assert_false(watcher_target(watcher, 1, &target));
    set_known(NULL, NULL); /* who cannot be looked up is not gone */
    const int before = asked;
    while (asked < before + 2)
        pause_a_moment();
    assert_true(watcher_target(watcher, 0, &target));
    assert_true(watcher_target(watcher, 2, &target));
    stop(watcher);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(watcher_members__an_endpoint_follows_its_name_to_another_address),
        cmocka_unit_test(watcher_members__a_lookup_that_fails_leaves_all_as_it_was),
        cmocka_unit_test(watcher_members__a_name_without_an_address_is_down_and_asked_for_again),
        cmocka_unit_test(watcher_members__where_one_address_refuses_the_next_one_is_tried),
        cmocka_unit_test(
            watcher_members__the_addresses_of_a_name_can_be_endpoints_that_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
