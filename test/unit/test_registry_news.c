#include "unit.h"

#include <stdio.h>

#include "base/rng.h"
#include "core/registry.h"
#include "registry_fixture.h"

#define START_NS HF_SEC(1000)

/* Collects, and expects exactly one thing more. */
static struct registry_change next_only(struct registry *r, uint64_t *cursor, int64_t now_ns)
{
    struct registry_change change, more;
    registry_collect(r, now_ns);
    assert_true(registry_changes_next(r, cursor, &change));
    assert_false(registry_changes_next(r, cursor, &more));
    return change;
}

static void expect_nothing(struct registry *r, uint64_t *cursor, int64_t now_ns)
{
    struct registry_change change;
    registry_collect(r, now_ns);
    assert_false(registry_changes_next(r, cursor, &change));
}

static void registry_news__a_change_of_a_breaker_is_told_once_to_each_consumer(void **state)
{
    (void)state;
    struct registry_config config = small_config(3, 0);
    struct registry *r = new_registry(&config, START_NS);
    uint64_t one = 0, other = 0;
    struct registry_change change;
    expect_nothing(r, &one, START_NS); /* not even of the overflow entry, which was disabled */
    struct registry_entry *entry = pin(r, REGISTRY_BREAKER, "db.orders", START_NS);
    open_it(entry->breaker, START_NS + 5);
    assert_false(registry_changes_next(r, &one, &change)); /* not collected yet */
    change = next_only(r, &one, START_NS + 9);
    assert_int_equal(change.news, REGISTRY_BREAKER_CHANGED);
    assert_int_equal(change.number, 1);
    assert_int_equal(change.at_ns, START_NS + 5);
    assert_string_equal(change.name, "db.orders");
    assert_int_equal(change.kind, REGISTRY_BREAKER);
    assert_int_equal(change.breaker.from, BREAKER_CLOSED);
    assert_int_equal(change.breaker.to, BREAKER_OPEN);
    assert_int_equal(change.breaker.cause, BREAKER_CAUSE_CONSECUTIVE);
    assert_int_equal(change.missed, 0);
    expect_nothing(r, &one, START_NS + 10);
    assert_true(registry_changes_next(r, &other, &change));
    assert_int_equal(change.number, 1);
    expect_nothing(r, &other, START_NS + 11);
    free(r);
}

static void registry_news__changes_of_many_come_in_the_order_of_time(void **state)
{
    (void)state;
    struct registry_config config = small_config(20, 0);
    config.changes_max = 1000;
    config.breaker.history = 100;
    struct registry *r = new_registry(&config, START_NS);
    struct registry_entry *entries[20];
    struct rng rng;
    rng_init(&rng, 2);
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "b%d", i);
        entries[i] = pin(r, REGISTRY_BREAKER, name, START_NS);
    }
    uint64_t cursor = 0, told = 0;
    for (int round = 0; round < 300; round++) {
        int64_t now_ns = START_NS + round * 1000;
        uint64_t made = rng_below(&rng, 40);
        for (uint64_t i = 0; i < made; i++) {
            struct breaker *breaker = entries[rng_below(&rng, 20)]->breaker;
            now_ns += (int64_t)rng_below(&rng, 3); /* some at the same time */
            breaker_force(breaker, BREAKER_FORCED_OPEN, now_ns);
            breaker_reset(breaker, now_ns);
        }
        registry_collect(r, now_ns);
        struct registry_change change;
        int64_t before_ns = 0;
        while (registry_changes_next(r, &cursor, &change)) {
            assert_int_equal(change.number, ++told);
            assert_int_equal(change.missed, 0);
            assert_true(change.at_ns >= before_ns);
            before_ns = change.at_ns;
        }
        /* Nobody's own changes were put in another order. */
        uint32_t generations[20] = {0};
        for (uint64_t again = cursor > 30 ? cursor - 30 : 0;
             registry_changes_next(r, &again, &change);) {
            int64_t which;
            assert_int_equal(sv_to_int(sv_from_cstr(change.name + 1), 0, 19, &which), SV_NUMBER_OK);
            assert_true(change.breaker.generation > generations[which]);
            generations[which] = change.breaker.generation;
        }
    }
    assert_true(told > 3000);
    free(r);
}

static void registry_news__a_slow_consumer_is_told_how_much_it_missed(void **state)
{
    (void)state;
    struct registry_config config = small_config(3, 0);
    config.changes_max = 4;
    struct registry *r = new_registry(&config, START_NS);
    struct breaker *breaker = pin(r, REGISTRY_BREAKER, "a", START_NS)->breaker;
    uint64_t cursor = 0;
    struct registry_change change;
    for (int i = 0; i < 5; i++) {
        breaker_force(breaker, i % 2 ? BREAKER_DISABLED : BREAKER_FORCED_OPEN, START_NS + i);
        registry_collect(r, START_NS + i);
    }
    assert_true(registry_changes_next(r, &cursor, &change));
    assert_int_equal(change.number, 2);
    assert_int_equal(change.missed, 1);
    for (uint64_t number = 3; number <= 5; number++) {
        assert_true(registry_changes_next(r, &cursor, &change));
        assert_int_equal(change.number, number);
        assert_int_equal(change.missed, 0);
    }
    expect_nothing(r, &cursor, START_NS + 9);
    uint64_t ahead = 99; /* of another registry */
    assert_false(registry_changes_next(r, &ahead, &change));
    free(r);
}

static void registry_news__what_a_breaker_forgot_between_collections_is_counted(void **state)
{
    (void)state;
    struct registry_config config = small_config(3, 0); /* which remember five changes */
    struct registry *r = new_registry(&config, START_NS);
    struct breaker *breaker = pin(r, REGISTRY_BREAKER, "a", START_NS)->breaker;
    for (int i = 0; i < 8; i++)
        breaker_force(breaker, i % 2 ? BREAKER_DISABLED : BREAKER_FORCED_OPEN, START_NS + i);
    registry_collect(r, START_NS + 9);
    uint64_t cursor = 0;
    struct registry_change change;
    assert_true(registry_changes_next(r, &cursor, &change));
    assert_int_equal(change.missed, 3);
    assert_int_equal(change.at_ns, START_NS + 3);
    free(r);
}

static void registry_news__more_than_the_ring_holds_at_once_loses_the_rest(void **state)
{
    (void)state;
    struct registry_config config = small_config(4, 0);
    config.changes_max = 3;
    struct registry *r = new_registry(&config, START_NS);
    static const char *const names[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++)
        breaker_force(pin(r, REGISTRY_BREAKER, names[i], START_NS)->breaker, BREAKER_DISABLED,
                      START_NS + 9 - i);
    registry_collect(r, START_NS + 9);
    uint64_t cursor = 0;
    struct registry_change change;
    for (uint64_t number = 2; number <= 4; number++) {
        assert_true(registry_changes_next(r, &cursor, &change));
        assert_int_equal(change.number, number);
        assert_int_equal(change.at_ns, START_NS + 4 + (int64_t)number);
        assert_int_equal(change.missed, number == 2);
    }
    free(r);
}

static void registry_news__an_evicted_breaker_leaves_its_history_behind(void **state)
{
    (void)state;
    struct registry_config config = small_config(1, 0);
    struct registry *r = new_registry(&config, START_NS);
    struct registry_entry *entry = pin(r, REGISTRY_BREAKER, "a", START_NS);
    open_it(entry->breaker, START_NS);
    breaker_reset(entry->breaker, START_NS + 1);
    registry_unpin(r, entry, START_NS);
    int64_t now_ns = START_NS + config.idle_ns;
    assert_false(pin(r, REGISTRY_BREAKER, "b", now_ns)->is_overflow);
    open_it(entry->breaker, now_ns);
    registry_collect(r, now_ns);
    static const char *const names[] = {"a", "a", "b"};
    static const enum breaker_state to[] = {BREAKER_OPEN, BREAKER_CLOSED, BREAKER_OPEN};
    uint64_t cursor = 0;
    struct registry_change change;
    for (int i = 0; i < 3; i++) {
        assert_true(registry_changes_next(r, &cursor, &change));
        assert_string_equal(change.name, names[i]);
        assert_int_equal(change.breaker.to, to[i]);
        assert_int_equal(change.missed, 0);
    }
    assert_false(registry_changes_next(r, &cursor, &change));
    free(r);
}

static void registry_news__a_bulkhead_is_full_or_free_when_two_looks_agree(void **state)
{
    (void)state;
    struct registry_config config = small_config(0, 2);
    struct registry *r = new_registry(&config, START_NS);
    struct bulkhead *bulkhead = pin(r, REGISTRY_BULKHEAD, "a", START_NS)->bulkhead;
    struct bulkhead_permit permits[2] = {{0}};
    uint64_t cursor = 0;
    assert_true(bulkhead_try(bulkhead, START_NS, &permits[0]));
    expect_nothing(r, &cursor, START_NS);
    expect_nothing(r, &cursor, START_NS);
    assert_true(bulkhead_try(bulkhead, START_NS, &permits[1]));
    expect_nothing(r, &cursor, START_NS + 1);
    assert_true(bulkhead_release(bulkhead, &permits[1], START_NS)); /* only for a moment */
    expect_nothing(r, &cursor, START_NS + 2);
    assert_true(bulkhead_try(bulkhead, START_NS, &permits[1]));
    expect_nothing(r, &cursor, START_NS + 3);
    struct registry_change change = next_only(r, &cursor, START_NS + 4);
    assert_int_equal(change.news, REGISTRY_BULKHEAD_FULL);
    assert_int_equal(change.kind, REGISTRY_BULKHEAD);
    assert_string_equal(change.name, "a");
    assert_int_equal(change.at_ns, START_NS + 4);
    assert_int_equal(change.bulkhead.in_use, 2);
    assert_int_equal(change.bulkhead.limit, 2);
    assert_true(bulkhead_release(bulkhead, &permits[1], START_NS));
    expect_nothing(r, &cursor, START_NS + 6);
    change = next_only(r, &cursor, START_NS + 7);
    assert_int_equal(change.news, REGISTRY_BULKHEAD_FREE);
    assert_int_equal(change.bulkhead.in_use, 1);
    expect_nothing(r, &cursor, START_NS + 8);
    free(r);
}

static void registry_news__a_new_bulkhead_is_not_taken_for_the_one_before_it(void **state)
{
    (void)state;
    struct registry_config config = small_config(0, 1);
    struct registry *r = new_registry(&config, START_NS);
    struct registry_entry *entry = pin(r, REGISTRY_BULKHEAD, "a", START_NS);
    struct bulkhead_permit permits[2] = {{0}};
    uint64_t cursor = 0;
    assert_true(bulkhead_try(entry->bulkhead, START_NS, &permits[0]));
    assert_true(bulkhead_try(entry->bulkhead, START_NS, &permits[1]));
    expect_nothing(r, &cursor, START_NS);
    assert_int_equal(next_only(r, &cursor, START_NS).news, REGISTRY_BULKHEAD_FULL);
    assert_true(bulkhead_release(entry->bulkhead, &permits[0], START_NS));
    assert_true(bulkhead_release(entry->bulkhead, &permits[1], START_NS));
    registry_unpin(r, entry, START_NS);
    assert_false(pin(r, REGISTRY_BULKHEAD, "b", START_NS + config.idle_ns)->is_overflow);
    expect_nothing(r, &cursor, START_NS + config.idle_ns);
    expect_nothing(r, &cursor, START_NS + config.idle_ns);
    free(r);
}

static void registry_news__a_breaker_made_anew_leaves_its_history_behind(void **state)
{
    (void)state;
    struct registry_config config = small_config(2, 0);
    struct registry *r = new_registry(&config, START_NS);
    struct registry_entry *entry = pin(r, REGISTRY_BREAKER, "a", START_NS);
    struct registry_change change;
    uint64_t cursor = 0;
    breaker_force(entry->breaker, BREAKER_FORCED_OPEN, START_NS);
    breaker_reset(entry->breaker, START_NS);
    struct breaker_config counted = config.breaker;
    counted.window_kind = WINDOW_COUNT;
    assert_int_equal(registry_set_breaker(r, SV("a"), &counted, START_NS, NULL, NULL), HF_OK);
    assert_true(registry_changes_next(r, &cursor, &change));
    assert_int_equal(change.news, REGISTRY_CONFIGURED);
    assert_int_equal(change.count, 1); /* though it is not done yet */
    registry_unpin(r, entry, START_NS);
    pin(r, REGISTRY_BREAKER, "a", START_NS);
    assert_false(entry->is_outdated);
    for (int i = 0; i < 2; i++) {
        assert_true(registry_changes_next(r, &cursor, &change));
        assert_int_equal(change.news, REGISTRY_BREAKER_CHANGED);
    }
    open_it(entry->breaker, START_NS);
    assert_int_equal(next_only(r, &cursor, START_NS).breaker.to, BREAKER_OPEN);
    free(r);
}

static void registry_news__overflowing_is_told_when_it_begins_and_when_it_is_over(void **state)
{
    (void)state;
    struct registry_config config = small_config(0, 0);
    struct registry *r = new_registry(&config, START_NS);
    uint64_t cursor = 0;
    expect_nothing(r, &cursor, START_NS);
    touch(r, REGISTRY_BULKHEAD, "a", START_NS);
    touch(r, REGISTRY_BULKHEAD, "b", START_NS);
    struct registry_change change = next_only(r, &cursor, START_NS + 1);
    assert_int_equal(change.news, REGISTRY_OVERFLOWING);
    assert_int_equal(change.kind, REGISTRY_BULKHEAD);
    assert_int_equal(change.count, 2);
    touch(r, REGISTRY_BULKHEAD, "c", START_NS);
    expect_nothing(r, &cursor, START_NS + HF_SEC(5));
    expect_nothing(r, &cursor, START_NS + HF_SEC(15) - 1);
    change = next_only(r, &cursor, START_NS + HF_SEC(15));
    assert_int_equal(change.news, REGISTRY_FITTING);
    expect_nothing(r, &cursor, START_NS + HF_SEC(99));
    touch(r, REGISTRY_BREAKER, "", START_NS); /* a bad name is no lack of places */
    expect_nothing(r, &cursor, START_NS + HF_SEC(99));
    free(r);
}

static void registry_news__profiles_and_ladders_are_news_too(void **state)
{
    (void)state;
    struct registry_config config = small_config(3, 3);
    struct registry *r = new_registry(&config, START_NS);
    uint64_t cursor = 0;
    touch(r, REGISTRY_BREAKER, "db.a", START_NS);
    touch(r, REGISTRY_BREAKER, "db.b", START_NS);
    assert_int_equal(registry_set_breaker(r, SV("db.*"), &config.breaker, START_NS + 1, NULL, NULL),
                     HF_OK);
    struct registry_change change = next_only(r, &cursor, START_NS + 1);
    assert_int_equal(change.news, REGISTRY_CONFIGURED);
    assert_string_equal(change.name, "db.*");
    assert_int_equal(change.kind, REGISTRY_BREAKER);
    assert_int_equal(change.count, 2);
    assert_int_equal(registry_set_bulkhead(r, SV("x"), &config.bulkhead, START_NS + 2, NULL, NULL),
                     HF_OK);
    change = next_only(r, &cursor, START_NS + 2);
    assert_string_equal(change.name, "x");
    assert_int_equal(change.kind, REGISTRY_BULKHEAD);
    assert_int_equal(change.count, 0);
    assert_int_equal(registry_drop(r, REGISTRY_BREAKER, SV("db.*"), START_NS + 3, NULL, NULL),
                     HF_OK);
    change = next_only(r, &cursor, START_NS + 3);
    assert_string_equal(change.name, "db.*");
    assert_int_equal(change.count, 2);

    const struct degrade_change moved = {
        .at_ns = START_NS + 4, .from = DEGRADE_FULL, .to = DEGRADE_READ_ONLY};
    registry_note_degrade(r, SV("main"), &moved);
    change = next_only(r, &cursor, START_NS + 4);
    assert_int_equal(change.news, REGISTRY_DEGRADED);
    assert_string_equal(change.name, "main");
    assert_int_equal(change.at_ns, START_NS + 4);
    assert_int_equal(change.degrade.to, DEGRADE_READ_ONLY);
    char longest[REGISTRY_NAME_BYTES + 20];
    memset(longest, 'x', sizeof longest);
    registry_note_degrade(r, sv_from(longest, sizeof longest), &moved);
    change = next_only(r, &cursor, START_NS + 4);
    assert_int_equal(strlen(change.name), REGISTRY_NAME_BYTES - 1);
    free(r);
}

static void registry_news__kinds_and_news_have_names(void **state)
{
    (void)state;
    assert_string_equal(registry_kind_name(REGISTRY_BREAKER), "breaker");
    assert_string_equal(registry_kind_name(REGISTRY_BULKHEAD), "bulkhead");
    for (int i = 0; i < REGISTRY_NEWS; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(registry_news_name((enum registry_news)i),
                                    registry_news_name((enum registry_news)j));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registry_news__a_change_of_a_breaker_is_told_once_to_each_consumer),
        cmocka_unit_test(registry_news__changes_of_many_come_in_the_order_of_time),
        cmocka_unit_test(registry_news__a_slow_consumer_is_told_how_much_it_missed),
        cmocka_unit_test(registry_news__what_a_breaker_forgot_between_collections_is_counted),
        cmocka_unit_test(registry_news__more_than_the_ring_holds_at_once_loses_the_rest),
        cmocka_unit_test(registry_news__an_evicted_breaker_leaves_its_history_behind),
        cmocka_unit_test(registry_news__a_bulkhead_is_full_or_free_when_two_looks_agree),
        cmocka_unit_test(registry_news__a_new_bulkhead_is_not_taken_for_the_one_before_it),
        cmocka_unit_test(registry_news__a_breaker_made_anew_leaves_its_history_behind),
        cmocka_unit_test(registry_news__overflowing_is_told_when_it_begins_and_when_it_is_over),
        cmocka_unit_test(registry_news__profiles_and_ladders_are_news_too),
        cmocka_unit_test(registry_news__kinds_and_news_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
