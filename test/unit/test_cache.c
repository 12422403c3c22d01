/*
 * The result cache: what is served, to whom, how old; one answer for many askers; bounded memory.
 */
#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "client/cache.h"
#include "os/clock.h"

#define NOW HF_SEC(1000)

/* ---- values: counted, so that a leak or a second drop shows ---- */

struct body {
    _Atomic int holders;
    int number;
};

static _Atomic int alive;

static void body_hold(void *what)
{
    atomic_fetch_add(&((struct body *)what)->holders, 1);
}

static void body_drop(void *what)
{
    const int before = atomic_fetch_sub(&((struct body *)what)->holders, 1);
    hf_assert(before > 0);
    if (before == 1)
        atomic_fetch_sub(&alive, 1);
}

#define BODIES 600
static struct body bodies[BODIES];
static _Atomic int bodies_used;

static struct cache_value body_new(int number, size_t size)
{
    const int n = atomic_fetch_add(&bodies_used, 1);
    hf_assert(n < BODIES);
    struct body *body = &bodies[n];
    body->number = number;
    atomic_store(&body->holders, 1);
    atomic_fetch_add(&alive, 1);
    return (struct cache_value){body, size, body_hold, body_drop};
}

/* ---- a cache for each test ---- */

static struct mem mem;
static struct cache *cache;
static struct hf_err err;

static void open_cache(size_t bytes_max)
{
    const struct cache_config config = {.bytes_max = bytes_max, .seed = 7};
    atomic_store(&bodies_used, 0);
    atomic_store(&alive, 0);
    mem_init(&mem, 0);
    assert_int_equal(cache_new(&cache, &config, &mem, &err), HF_OK);
}

static void close_cache(void)
{
    cache_free(cache);
    mem_deinit(&mem);
    assert_int_equal(atomic_load(&alive), 0);
}

static struct cache_ask ask_at(const char *key, int64_t at_ns)
{
    return (struct cache_ask){
        .key = sv_from_cstr(key), .asked_ns = at_ns, .ttl_ns = HF_SEC(60), .stale_ns = HF_SEC(600)};
}

/* Keeps `number` under `key`, as a leader does. */
static void put(const char *key, const char *operation, int number, size_t size, int64_t at_ns)
{
    struct cache_ask ask = ask_at(key, at_ns);
    struct cache_value value = body_new(number, size);
    ask.operation = sv_from_cstr(operation);
    cache_begin(cache, &ask);
    cache_put(cache, &ask, &value, at_ns);
    value.drop(value.what);
}

/* The number found as a fresh one, or -1. */
static int get(const char *key, int64_t at_ns)
{
    struct cache_ask ask = ask_at(key, at_ns);
    struct cache_found found;
    const enum cache_answer answer = cache_ask(cache, &ask, &found);
    if (answer != CACHE_HIT) {
        cache_leave(cache, &ask);
        return -1;
    }
    const int number = ((struct body *)found.value.what)->number;
    found.value.drop(found.value.what);
    return number;
}

static struct cache_stats stats(void)
{
    struct cache_stats now;
    cache_stats(cache, &now);
    return now;
}

/* ---- what is served ---- */

static void cache__a_result_is_fresh_for_its_time_and_no_longer(void **state)
{
    (void)state;
    open_cache(1 << 20);
    assert_int_equal(get("k", NOW), -1);
    put("k", "", 1, 100, NOW);
    assert_int_equal(get("k", NOW), 1);
    assert_int_equal(get("k", NOW + HF_SEC(60)), 1);
    assert_int_equal(get("k", NOW + HF_SEC(60) + 1), -1);
    assert_int_equal(stats().hits, 2);
    assert_int_equal(stats().misses, 2);
    close_cache();
}

static void cache__a_fallback_may_be_stale_and_says_so(void **state)
{
    (void)state;
    open_cache(1 << 20);
    put("k", "", 1, 100, NOW);
    struct cache_ask ask = ask_at("k", NOW);
    struct cache_found found;
    cache_begin(cache, &ask);
    assert_true(cache_fallback(cache, &ask, NOW + HF_SEC(30), &found));
    assert_false(found.is_stale);
    found.value.drop(found.value.what);
    assert_true(cache_fallback(cache, &ask, NOW + HF_SEC(660), &found));
    assert_true(found.is_stale);
    assert_int_equal(found.age_ns, HF_SEC(660));
    found.value.drop(found.value.what);
    assert_false(cache_fallback(cache, &ask, NOW + HF_SEC(661), &found));
    struct cache_ask other = ask_at("other", NOW);
    cache_begin(cache, &other);
    assert_false(cache_fallback(cache, &other, NOW, &found));
    assert_int_equal(stats().stale, 2);
    close_cache();
}

static void cache__keys_that_differ_in_a_byte_are_different(void **state)
{
    (void)state;
    open_cache(1 << 20);
    put("app@shop\nSELECT 1", "", 1, 100, NOW);
    put("boss@shop\nSELECT 1", "", 2, 100, NOW);
    assert_int_equal(get("app@shop\nSELECT 1", NOW), 1);
    assert_int_equal(get("boss@shop\nSELECT 1", NOW), 2);
    assert_int_equal(get("app@shop\nSELECT 2", NOW), -1);
    close_cache();
}

static void cache__a_session_is_not_served_what_may_miss_its_write(void **state)
{
    (void)state;
    open_cache(1 << 20);
    put("k", "", 1, 100, NOW);
    struct cache_ask ask = ask_at("k", NOW + HF_SEC(2));
    struct cache_found found;
    ask.newer_ns = NOW + HF_SEC(1);
    assert_int_equal(cache_ask(cache, &ask, &found), CACHE_LEAD);
    cache_leave(cache, &ask);
    assert_int_equal(get("k", NOW + HF_SEC(2)), 1); /* others are */
    /* A replica's answer, which contains less than what was there when it was asked. */
    struct cache_value value = body_new(2, 100);
    assert_int_equal(cache_ask(cache, &ask, &found), CACHE_LEAD);
    cache_put(cache, &ask, &value, NOW);
    assert_int_equal(cache_ask(cache, &ask, &found), CACHE_LEAD);
    cache_put(cache, &ask, &value, NOW + HF_SEC(1));
    assert_int_equal(cache_ask(cache, &ask, &found), CACHE_HIT);
    found.value.drop(found.value.what);
    value.drop(value.what);
    close_cache();
}

static void cache__of_two_results_the_one_asked_for_later_stays(void **state)
{
    (void)state;
    open_cache(1 << 20);
    put("k", "", 2, 100, NOW + 5);
    put("k", "", 1, 100, NOW); /* was slower */
    assert_int_equal(get("k", NOW + 5), 2);
    put("k", "", 3, 100, NOW + 6);
    assert_int_equal(get("k", NOW + 6), 3);
    assert_int_equal(stats().entries, 1);
    close_cache();
}

/* ---- clearing ---- */

static void cache__clearing_forgets_an_operation_or_all(void **state)
{
    (void)state;
    open_cache(1 << 20);
    put("a", "list", 1, 100, NOW);
    put("b", "item", 2, 100, NOW);
    put("c", "", 3, 100, NOW);
    cache_clear(cache, SV("list"));
    assert_int_equal(get("a", NOW), -1);
    assert_int_equal(get("b", NOW), 2);
    cache_clear(cache, SV(""));
    assert_int_equal(get("b", NOW), -1);
    assert_int_equal(get("c", NOW), -1);
    assert_int_equal(stats().entries, 0);
    assert_int_equal(stats().bytes, 0);
    close_cache();
}

static void cache__what_was_asked_for_before_a_clear_is_not_kept(void **state)
{
    (void)state;
    open_cache(1 << 20);
    struct cache_ask ask = ask_at("k", NOW);
    struct cache_found found;
    assert_int_equal(cache_ask(cache, &ask, &found), CACHE_LEAD);
    cache_clear(cache, SV(""));
    struct cache_value value = body_new(1, 100);
    cache_put(cache, &ask, &value, NOW);
    value.drop(value.what);
    assert_int_equal(get("k", NOW), -1);
    close_cache();
}

static void cache__a_value_being_renewed_is_forgotten_by_a_clear_too(void **state)
{
    (void)state;
    open_cache(1 << 20);
    put("k", "", 1, 100, NOW);
    struct cache_ask ask = ask_at("k", NOW + HF_SEC(100));
    struct cache_found found;
    assert_int_equal(cache_ask(cache, &ask, &found), CACHE_LEAD);
    cache_clear(cache, SV(""));
    assert_false(cache_fallback(cache, &ask, NOW + HF_SEC(100), &found));
    cache_leave(cache, &ask);
    close_cache();
}

/* ---- bounded ---- */

static void cache__what_was_used_longest_ago_goes_first(void **state)
{
    (void)state;
    char key[16];
    open_cache(64 << 10);
    for (int i = 0; i < 8; i++) {
        snprintf(key, sizeof key, "k%d", i);
        put(key, "", i, 7 << 10, NOW);
    }
    assert_int_equal(get("k0", NOW), 0); /* used again */
    put("k8", "", 8, 7 << 10, NOW);
    assert_int_equal(get("k0", NOW), 0);
    assert_int_equal(get("k1", NOW), -1);
    assert_int_equal(get("k8", NOW), 8);
    assert_true(stats().bytes <= 64 << 10);
    assert_true(stats().evicted >= 1);
    close_cache();
}

static void cache__one_big_result_does_not_push_out_the_others(void **state)
{
    (void)state;
    open_cache(64 << 10);
    put("small", "", 1, 100, NOW);
    put("big", "", 2, (8 << 10) + 1, NOW);
    assert_int_equal(get("big", NOW), -1);
    assert_int_equal(get("small", NOW), 1);
    close_cache();
}

static void cache__many_small_ones_are_bounded_in_number(void **state)
{
    (void)state;
    char key[16];
    open_cache(64 << 10); /* room for 64 entries */
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "k%d", i);
        put(key, "", i, 1, NOW);
    }
    assert_int_equal(stats().entries, 64);
    assert_int_equal(get("k199", NOW), 199);
    assert_int_equal(get("k0", NOW), -1);
    close_cache();
}

static void cache__without_memory_nothing_is_kept_and_nothing_breaks(void **state)
{
    (void)state;
    open_cache(1 << 20);
    mem_fail_nth(&mem, 1);
    put("k", "", 1, 100, NOW);
    assert_int_equal(stats().entries, 0);
    put("k", "", 1, 100, NOW);
    assert_int_equal(get("k", NOW), 1);
    close_cache();
    const struct cache_config config = {.bytes_max = 1 << 20};
    for (uint64_t nth = 1; nth <= 4; nth++) {
        mem_init(&mem, 0);
        mem_fail_nth(&mem, nth);
        assert_int_equal(cache_new(&cache, &config, &mem, &err), HF_RC_LIMIT);
        assert_null(cache);
        mem_deinit(&mem);
    }
}

/* ---- one answer for many ---- */

static void cache__who_comes_second_follows_the_first(void **state)
{
    (void)state;
    open_cache(1 << 20);
    struct cache_ask first = ask_at("k", NOW), second = ask_at("k", NOW + 1);
    struct cache_found found;
    assert_int_equal(cache_ask(cache, &first, &found), CACHE_LEAD);
    assert_int_equal(cache_ask(cache, &second, &found), CACHE_FOLLOW);
    struct cache_ask other = ask_at("other", NOW);
    assert_int_equal(cache_ask(cache, &other, &found), CACHE_LEAD);
    cache_leave(cache, &other);
    cache_leave(cache, &first);
    /* The first has failed: the second leads. */
    assert_int_equal(cache_ask(cache, &second, &found), CACHE_LEAD);
    cache_leave(cache, &second);
    assert_int_equal(stats().bytes, 0);
    close_cache();
}

static void cache__a_leader_that_is_lost_is_taken_over(void **state)
{
    (void)state;
    open_cache(1 << 20);
    struct cache_ask lost = ask_at("k", NOW), next = ask_at("k", NOW + CACHE_LEAD_NS);
    struct cache_found found;
    assert_int_equal(cache_ask(cache, &lost, &found), CACHE_LEAD);
    assert_int_equal(cache_ask(cache, &next, &found), CACHE_LEAD);
    /* What the lost one brings late neither ends the other's lead nor replaces anything newer. */
    cache_leave(cache, &lost);
    struct cache_ask third = ask_at("k", NOW + CACHE_LEAD_NS + 1);
    assert_int_equal(cache_ask(cache, &third, &found), CACHE_FOLLOW);
    cache_leave(cache, &next);
    close_cache();
}

static void cache__what_somebody_fetches_is_not_pushed_out(void **state)
{
    (void)state;
    char key[16];
    open_cache(64 << 10);
    put("k", "", 1, 7 << 10, NOW);
    struct cache_ask leader = ask_at("k", NOW + HF_SEC(70)), second = leader;
    struct cache_found found;
    assert_int_equal(cache_ask(cache, &leader, &found), CACHE_LEAD);
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "k%d", i);
        put(key, "", i, 7 << 10, NOW);
    }
    assert_int_equal(cache_ask(cache, &second, &found), CACHE_FOLLOW);
    cache_leave(cache, &leader);
    close_cache();
}

static void cache__a_follower_gives_up_at_its_deadline(void **state)
{
    (void)state;
    open_cache(1 << 20);
    struct cache_ask first = ask_at("k", clock_now()), second = first;
    struct cache_found found;
    assert_int_equal(cache_ask(cache, &first, &found), CACHE_LEAD);
    assert_int_equal(cache_ask(cache, &second, &found), CACHE_FOLLOW);
    const int64_t until_ns = clock_now() + HF_MS(20);
    assert_int_equal(cache_follow(cache, &second, until_ns, &found), CACHE_FOLLOW);
    assert_true(clock_now() >= until_ns);
    cache_leave(cache, &first);
    close_cache();
}

#define ASKERS 8
#define ROUNDS 60

static _Atomic int asked_servers; /* how often the "server" was asked */
static pthread_barrier_t barrier;

/* Eight threads want the same key in each round; the leader of a round "asks a server". */
static void *ask_often(void *arg)
{
    (void)arg;
    for (int round = 0; round < ROUNDS; round++) {
        char key[16];
        snprintf(key, sizeof key, "round%d", round);
        pthread_barrier_wait(&barrier);
        struct cache_ask ask = ask_at(key, clock_now());
        struct cache_found found;
        enum cache_answer answer = cache_ask(cache, &ask, &found);
        if (answer == CACHE_FOLLOW)
            answer = cache_follow(cache, &ask, clock_now() + HF_SEC(20), &found);
        if (answer == CACHE_LEAD) {
            struct cache_value value = body_new(round, 10);
            atomic_fetch_add(&asked_servers, 1);
            cache_put(cache, &ask, &value, ask.asked_ns);
            value.drop(value.what);
        } else {
            hf_assert(answer == CACHE_HIT);
            hf_assert(((struct body *)found.value.what)->number == round);
            found.value.drop(found.value.what);
        }
    }
    return NULL;
}

static void cache__many_threads_ask_a_server_once(void **state)
{
    (void)state;
    pthread_t threads[ASKERS];
    open_cache(1 << 20);
    atomic_store(&asked_servers, 0);
    pthread_barrier_init(&barrier, NULL, ASKERS);
    for (int i = 0; i < ASKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, NULL), 0);
    for (int i = 0; i < ASKERS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&barrier);
    assert_int_equal(atomic_load(&asked_servers), ROUNDS);
    close_cache();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cache__a_result_is_fresh_for_its_time_and_no_longer),
        cmocka_unit_test(cache__a_fallback_may_be_stale_and_says_so),
        cmocka_unit_test(cache__keys_that_differ_in_a_byte_are_different),
        cmocka_unit_test(cache__a_session_is_not_served_what_may_miss_its_write),
        cmocka_unit_test(cache__of_two_results_the_one_asked_for_later_stays),
        cmocka_unit_test(cache__clearing_forgets_an_operation_or_all),
        cmocka_unit_test(cache__what_was_asked_for_before_a_clear_is_not_kept),
        cmocka_unit_test(cache__a_value_being_renewed_is_forgotten_by_a_clear_too),
        cmocka_unit_test(cache__what_was_used_longest_ago_goes_first),
        cmocka_unit_test(cache__one_big_result_does_not_push_out_the_others),
        cmocka_unit_test(cache__many_small_ones_are_bounded_in_number),
        cmocka_unit_test(cache__without_memory_nothing_is_kept_and_nothing_breaks),
        cmocka_unit_test(cache__who_comes_second_follows_the_first),
        cmocka_unit_test(cache__a_leader_that_is_lost_is_taken_over),
        cmocka_unit_test(cache__what_somebody_fetches_is_not_pushed_out),
        cmocka_unit_test(cache__a_follower_gives_up_at_its_deadline),
        cmocka_unit_test(cache__many_threads_ask_a_server_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
