#include "unit.h"

#include "core/registry.h"
#include "registry_fixture.h"

#define START_NS HF_SEC(1000)

static struct breaker_config threshold(uint32_t failures)
{
    struct breaker_config config = small_config(0, 0).breaker;
    config.failure_threshold = failures;
    return config;
}

static struct bulkhead_config limit(uint32_t permits)
{
    struct bulkhead_config config = small_config(0, 0).bulkhead;
    config.limit = permits;
    return config;
}

static void set_threshold(struct registry *r, const char *pattern, uint32_t failures)
{
    const struct breaker_config config = threshold(failures);
    assert_int_equal(registry_set_breaker(r, sv_from_cstr(pattern), &config, START_NS, NULL, NULL),
                     HF_OK);
}

/* How many failures in a row it takes. */
static uint32_t failures_to_open(struct breaker *breaker)
{
    uint32_t failures = 0;
    breaker_reset(breaker, START_NS);
    while (breaker_state(breaker) == BREAKER_CLOSED) {
        call(breaker, OUTCOME_VERDICT_FAILURE, START_NS);
        ++failures;
    }
    return failures;
}

static void registry_profile__the_closest_pattern_decides(void **state)
{
    (void)state;
    struct registry_config config = small_config(10, 0);
    struct registry *r = new_registry(&config, START_NS);
    set_threshold(r, "db.*", 4);
    set_threshold(r, "db.orders*", 5);
    set_threshold(r, "db.orders", 6);
    static const struct {
        const char *name;
        uint32_t failures;
    } cases[] = {{"db", 3},         {"x.db.a", 3},   {"db.", 4}, {"db.users", 4}, {"db.orders", 6},
                 {"db.orders2", 5}, {"db.order", 4}, {"D", 3},   {"db.*", 4}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct breaker_config *chosen =
            registry_breaker_config(r, sv_from_cstr(cases[i].name));
        assert_int_equal(chosen->failure_threshold, cases[i].failures);
        struct registry_entry *entry = pin(r, REGISTRY_BREAKER, cases[i].name, START_NS);
        assert_false(entry->is_overflow);
        assert_int_equal(failures_to_open(entry->breaker), cases[i].failures);
    }
    /* Kinds have patterns of their own. */
    assert_int_equal(registry_bulkhead_config(r, SV("db.orders"))->limit, 2);
    free(r);
}

static void registry_profile__setting_one_changes_those_who_live_and_keeps_their_state(void **state)
{
    (void)state;
    struct registry_config config = small_config(10, 0);
    struct registry *r = new_registry(&config, START_NS);
    struct registry_entry *open = pin(r, REGISTRY_BREAKER, "db.a", START_NS);
    struct registry_entry *counting = pin(r, REGISTRY_BREAKER, "db.b", START_NS);
    struct registry_entry *other = pin(r, REGISTRY_BREAKER, "other", START_NS);
    touch(r, REGISTRY_BREAKER, "db.unpinned", START_NS);
    open_it(open->breaker, START_NS);
    call(counting->breaker, OUTCOME_VERDICT_FAILURE, START_NS);
    call(counting->breaker, OUTCOME_VERDICT_FAILURE, START_NS);
    const struct breaker_config five = threshold(5);
    struct registry_applied applied;
    assert_int_equal(registry_set_breaker(r, SV("db.*"), &five, START_NS, &applied, NULL), HF_OK);
    assert_int_equal(applied.changed, 3);
    assert_int_equal(applied.outdated, 0);
    assert_int_equal(breaker_state(open->breaker), BREAKER_OPEN);
    call(counting->breaker, OUTCOME_VERDICT_FAILURE, START_NS);
    call(counting->breaker, OUTCOME_VERDICT_FAILURE, START_NS);
    assert_int_equal(breaker_state(counting->breaker), BREAKER_CLOSED);
    call(counting->breaker, OUTCOME_VERDICT_FAILURE, START_NS); /* the fifth in the row */
    assert_int_equal(breaker_state(counting->breaker), BREAKER_OPEN);
    assert_int_equal(failures_to_open(other->breaker), 3);
    free(r);
}

static void registry_profile__a_name_can_be_configured_alone_and_be_let_go_again(void **state)
{
    (void)state;
    struct registry_config config = small_config(10, 0);
    struct registry *r = new_registry(&config, START_NS);
    struct registry_entry *a = pin(r, REGISTRY_BREAKER, "a", START_NS);
    struct registry_entry *b = pin(r, REGISTRY_BREAKER, "b", START_NS);
    struct registry_applied applied;
    set_threshold(r, "*", 4);
    set_threshold(r, "a", 7);
    assert_int_equal(failures_to_open(a->breaker), 7);
    assert_int_equal(failures_to_open(b->breaker), 4);
    assert_int_equal(registry_drop(r, REGISTRY_BREAKER, SV("a"), START_NS, &applied, NULL), HF_OK);
    assert_int_equal(applied.changed, 1);
    assert_int_equal(failures_to_open(a->breaker), 4);
    free(r);
}

static void registry_profile__dropping_one_leaves_those_of_closer_patterns_alone(void **state)
{
    (void)state;
    struct registry_config config = small_config(10, 0);
    struct registry *r = new_registry(&config, START_NS);
    set_threshold(r, "d*", 4);
    set_threshold(r, "db.*", 5);
    set_threshold(r, "db.a", 6);
    struct registry_entry *a = pin(r, REGISTRY_BREAKER, "db.a", START_NS);
    struct registry_entry *b = pin(r, REGISTRY_BREAKER, "db.b", START_NS);
    struct registry_applied applied;
    assert_int_equal(registry_drop(r, REGISTRY_BREAKER, SV("db.*"), START_NS, &applied, NULL),
                     HF_OK);
    assert_int_equal(applied.changed, 1);
    assert_int_equal(failures_to_open(a->breaker), 6);
    assert_int_equal(failures_to_open(b->breaker), 4);
    free(r);
}

static void registry_profile__it_outlives_the_entries_it_is_for(void **state)
{
    (void)state;
    struct registry_config config = small_config(1, 0);
    struct registry *r = new_registry(&config, START_NS);
    set_threshold(r, "a", 4);
    touch(r, REGISTRY_BREAKER, "a", START_NS);
    touch(r, REGISTRY_BREAKER, "b", START_NS + config.idle_ns);
    struct registry_entry *a = pin(r, REGISTRY_BREAKER, "a", START_NS + 2 * config.idle_ns);
    assert_false(a->is_overflow);
    assert_int_equal(failures_to_open(a->breaker), 4);
    free(r);
}

/* ---- what cannot be changed at once ---- */

static void registry_profile__a_breaker_of_another_shape_waits_until_it_can_be_made_anew(
    void **state)
{
    (void)state;
    struct registry_config config = small_config(2, 0);
    struct registry *r = new_registry(&config, START_NS);
    struct registry_entry *entry = pin(r, REGISTRY_BREAKER, "a", START_NS);
    struct breaker_config counted = threshold(4);
    counted.window_kind = WINDOW_COUNT;
    struct registry_applied applied;
    call(entry->breaker, OUTCOME_VERDICT_FAILURE, START_NS);
    assert_int_equal(registry_set_breaker(r, SV("a"), &counted, START_NS, &applied, NULL), HF_OK);
    assert_int_equal(applied.outdated, 1);
    assert_true(entry->is_outdated);
    struct registry_stats stats;

    /* Pinned by somebody else, then alone but with a failure in its window, then at last. */
    pin(r, REGISTRY_BREAKER, "a", START_NS);
    assert_true(entry->is_outdated);
    registry_unpin(r, entry, START_NS);
    registry_unpin(r, entry, START_NS);
    pin(r, REGISTRY_BREAKER, "a", START_NS);
    assert_true(entry->is_outdated);
    registry_unpin(r, entry, START_NS);
    int64_t later_ns = START_NS + HF_SEC(60);
    assert_ptr_equal(pin(r, REGISTRY_BREAKER, "a", later_ns), entry);
    assert_false(entry->is_outdated);
    assert_int_equal(failures_to_open(entry->breaker), 4);
    registry_stats(r, &stats);
    assert_int_equal(stats.remade, 1);
    free(r);
}

static void registry_profile__going_back_makes_an_outdated_breaker_fit_again(void **state)
{
    (void)state;
    struct registry_config config = small_config(2, 0);
    struct registry *r = new_registry(&config, START_NS);
    struct registry_entry *entry = pin(r, REGISTRY_BREAKER, "a", START_NS);
    struct breaker_config counted = threshold(4);
    counted.window_kind = WINDOW_COUNT;
    assert_int_equal(registry_set_breaker(r, SV("a"), &counted, START_NS, NULL, NULL), HF_OK);
    assert_true(entry->is_outdated);
    assert_int_equal(registry_drop(r, REGISTRY_BREAKER, SV("a"), START_NS, NULL, NULL), HF_OK);
    assert_false(entry->is_outdated);
    free(r);
}

static void registry_profile__a_pinned_bulkhead_is_left_to_its_driver(void **state)
{
    (void)state;
    struct registry_config config = small_config(0, 4);
    struct registry *r = new_registry(&config, START_NS);
    struct registry_entry *held = pin(r, REGISTRY_BULKHEAD, "db.held", START_NS);
    touch(r, REGISTRY_BULKHEAD, "db.free", START_NS);
    struct registry_entry *free_one = registry_find(r, REGISTRY_BULKHEAD, SV("db.free"));
    const struct bulkhead_config nine = limit(9);
    struct registry_applied applied;
    assert_int_equal(registry_set_bulkhead(r, SV("db.*"), &nine, START_NS, &applied, NULL), HF_OK);
    assert_int_equal(applied.changed, 1);
    assert_int_equal(applied.outdated, 1);
    assert_int_equal(bulkhead_limit(free_one->bulkhead), 9);
    assert_int_equal(registry_set_bulkhead(r, SV("x"), &nine, START_NS, NULL, NULL), HF_OK);
    assert_int_equal(registry_drop(r, REGISTRY_BULKHEAD, SV("x"), START_NS, &applied, NULL), HF_OK);
    assert_int_equal(applied.outdated, 0); /* it was none of those that "x" was for */
    assert_int_equal(bulkhead_limit(held->bulkhead), 2);

    uint32_t cursor = 0;
    assert_ptr_equal(registry_outdated(r, &cursor), held);
    bulkhead_configure(held->bulkhead, registry_bulkhead_config(r, sv_from_cstr(held->name)),
                       START_NS);
    registry_configured(r, held);
    assert_null(registry_outdated(r, &cursor));
    cursor = 0;
    assert_null(registry_outdated(r, &cursor));
    assert_int_equal(bulkhead_limit(held->bulkhead), 9);
    free(r);
}

static void registry_profile__a_bulkhead_let_go_before_its_driver_came_is_changed_when_pinned(
    void **state)
{
    (void)state;
    struct registry_config config = small_config(0, 4);
    struct registry *r = new_registry(&config, START_NS);
    struct registry_entry *entry = pin(r, REGISTRY_BULKHEAD, "a", START_NS);
    const struct bulkhead_config nine = limit(9);
    assert_int_equal(registry_set_bulkhead(r, SV("*"), &nine, START_NS, NULL, NULL), HF_OK);
    registry_unpin(r, entry, START_NS);
    uint32_t cursor = 0;
    assert_null(registry_outdated(r, &cursor));
    pin(r, REGISTRY_BULKHEAD, "a", START_NS);
    assert_int_equal(bulkhead_limit(entry->bulkhead), 9);
    assert_false(entry->is_outdated);
    free(r);
}

/* ---- refusals ---- */

static void registry_profile__what_cannot_be_set_changes_nothing(void **state)
{
    (void)state;
    struct registry_config config = small_config(2, 2);
    struct registry *r = new_registry(&config, START_NS);
    struct registry_entry *entry = pin(r, REGISTRY_BREAKER, "a", START_NS);
    struct breaker_config wrong = threshold(4), large = threshold(4);
    struct bulkhead_config wrong_limit = limit(9), large_one = limit(9);
    struct hf_err err;
    char longest[REGISTRY_NAME_BYTES + 1];
    memset(longest, 'x', sizeof longest);
    longest[REGISTRY_NAME_BYTES - 1] = '*';
    wrong.half_open_calls = 0;
    large.history = 1000;
    wrong_limit.wait_ns_max = -1;
    large_one.has_histograms = true;
    assert_int_equal(registry_set_breaker(r, SV("a"), &wrong, START_NS, NULL, &err), HF_RC_INVALID);
    assert_int_equal(registry_set_breaker(r, SV("a"), &large, START_NS, NULL, &err), HF_RC_LIMIT);
    assert_int_equal(registry_set_bulkhead(r, SV("a"), &wrong_limit, START_NS, NULL, &err),
                     HF_RC_INVALID);
    assert_int_equal(registry_set_bulkhead(r, SV("a"), &large_one, START_NS, NULL, &err),
                     HF_RC_LIMIT);
    const struct breaker_config four = threshold(4);
    const struct sv patterns[] = {SV(""), SV("a\0b"), sv_from(longest, REGISTRY_NAME_BYTES)};
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++)
        assert_int_equal(registry_set_breaker(r, patterns[i], &four, START_NS, NULL, &err),
                         HF_RC_INVALID);
    assert_int_equal(failures_to_open(entry->breaker), 3);
    assert_int_equal(registry_breaker_config(r, SV("a"))->failure_threshold, 3);
    free(r);
}

static void registry_profile__there_are_as_many_as_were_asked_for(void **state)
{
    (void)state;
    struct registry_config config = small_config(2, 2); /* four profiles */
    struct registry *r = new_registry(&config, START_NS);
    const struct breaker_config four = threshold(4);
    const struct bulkhead_config nine = limit(9);
    set_threshold(r, "a", 4);
    set_threshold(r, "a*", 4);
    set_threshold(r, "b", 4);
    assert_int_equal(registry_set_bulkhead(r, SV("a"), &nine, START_NS, NULL, NULL), HF_OK);
    assert_int_equal(registry_set_breaker(r, SV("c"), &four, START_NS, NULL, NULL), HF_RC_LIMIT);
    set_threshold(r, "a", 5); /* there already, and those for "*" are besides */
    set_threshold(r, "*", 5);
    assert_int_equal(registry_drop(r, REGISTRY_BREAKER, SV("a"), START_NS, NULL, NULL), HF_OK);
    set_threshold(r, "c", 4);
    assert_int_equal(registry_breaker_config(r, SV("ab"))->failure_threshold, 4);
    assert_int_equal(registry_breaker_config(r, SV("b"))->failure_threshold, 4);
    free(r);
}

static void registry_profile__only_what_is_there_can_be_dropped(void **state)
{
    (void)state;
    struct registry_config config = small_config(2, 2);
    struct registry *r = new_registry(&config, START_NS);
    struct hf_err err;
    set_threshold(r, "a", 4);
    assert_int_equal(registry_drop(r, REGISTRY_BREAKER, SV("*"), START_NS, NULL, &err),
                     HF_RC_INVALID);
    assert_int_equal(registry_drop(r, REGISTRY_BULKHEAD, SV("*"), START_NS, NULL, &err),
                     HF_RC_INVALID);
    assert_int_equal(registry_drop(r, REGISTRY_BREAKER, SV("a*"), START_NS, NULL, &err),
                     HF_RC_MISSING);
    assert_int_equal(registry_drop(r, REGISTRY_BULKHEAD, SV("a"), START_NS, NULL, &err),
                     HF_RC_MISSING);
    assert_int_equal(registry_drop(r, REGISTRY_BREAKER, SV(""), START_NS, NULL, &err),
                     HF_RC_INVALID);
    assert_int_equal(registry_drop(r, REGISTRY_BREAKER, SV("a"), START_NS, NULL, &err), HF_OK);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registry_profile__the_closest_pattern_decides),
        cmocka_unit_test(
            registry_profile__setting_one_changes_those_who_live_and_keeps_their_state),
        cmocka_unit_test(registry_profile__a_name_can_be_configured_alone_and_be_let_go_again),
        cmocka_unit_test(registry_profile__dropping_one_leaves_those_of_closer_patterns_alone),
        cmocka_unit_test(registry_profile__it_outlives_the_entries_it_is_for),
        cmocka_unit_test(
            registry_profile__a_breaker_of_another_shape_waits_until_it_can_be_made_anew),
        cmocka_unit_test(registry_profile__going_back_makes_an_outdated_breaker_fit_again),
        cmocka_unit_test(registry_profile__a_pinned_bulkhead_is_left_to_its_driver),
        cmocka_unit_test(
            registry_profile__a_bulkhead_let_go_before_its_driver_came_is_changed_when_pinned),
        cmocka_unit_test(registry_profile__what_cannot_be_set_changes_nothing),
        cmocka_unit_test(registry_profile__there_are_as_many_as_were_asked_for),
        cmocka_unit_test(registry_profile__only_what_is_there_can_be_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
