#include "unit.h"

#include <stdio.h>

#include "base/rng.h"
#include "core/registry.h"
#include "dies.h"
#include "registry_fixture.h"

#define START_NS HF_SEC(1000)

static struct registry_stats stats_of(struct registry *r)
{
    struct registry_stats stats;
    registry_stats(r, &stats);
    return stats;
}

static void registry__a_name_is_one_entry_however_often_it_is_pinned(void **state)
{
    (void)state;
    struct registry_config config = small_config(3, 3);
    struct registry *r = new_registry(&config, START_NS);
    struct registry_entry *one = pin(r, REGISTRY_BREAKER, "db.orders", START_NS);
    struct registry_entry *other = pin(r, REGISTRY_BREAKER, "db.users", START_NS);
    struct registry_entry *crowd = pin(r, REGISTRY_BULKHEAD, "db.orders", START_NS);
    assert_ptr_equal(pin(r, REGISTRY_BREAKER, "db.orders", START_NS + 9), one);
    assert_int_equal(one->used_at_ns, START_NS + 9);
    assert_ptr_not_equal(one, other);
    assert_string_equal(one->name, "db.orders");
    assert_int_equal(one->pins, 2);
    assert_true(one->breaker != NULL && one->bulkhead == NULL && !one->is_overflow);
    assert_true(crowd->breaker == NULL && crowd->bulkhead != NULL && !crowd->is_overflow);
    assert_ptr_equal(registry_find(r, REGISTRY_BULKHEAD, SV("db.orders")), crowd);
    assert_null(registry_find(r, REGISTRY_BULKHEAD, SV("db.users")));
    assert_int_equal(stats_of(r).added, 3);
    assert_int_equal(stats_of(r).entries[REGISTRY_BREAKER], 2);
    assert_int_equal(stats_of(r).entries[REGISTRY_BULKHEAD], 1);
    free(r);
}

static void registry__an_unpinned_entry_stays_with_all_it_knows(void **state)
{
    (void)state;
    struct registry_config config = small_config(2, 0);
    struct registry *r = new_registry(&config, START_NS);
    struct registry_entry *entry = pin(r, REGISTRY_BREAKER, "a", START_NS);
    open_it(entry->breaker, START_NS);
    registry_unpin(r, entry, START_NS);
    assert_int_equal(stats_of(r).unpinned[REGISTRY_BREAKER], 1);
    assert_ptr_equal(pin(r, REGISTRY_BREAKER, "a", START_NS + 1), entry);
    assert_int_equal(stats_of(r).unpinned[REGISTRY_BREAKER], 0);
    assert_int_equal(breaker_state(entry->breaker), BREAKER_OPEN);
    free(r);
}

static void unpin_twice(void *argument)
{
    struct registry *r = argument;
    struct registry_entry *entry = pin(r, REGISTRY_BREAKER, "a", START_NS);
    registry_unpin(r, entry, START_NS);
    registry_unpin(r, entry, START_NS);
}

static void registry__an_unpin_too_many_stops_the_program(void **state)
{
    (void)state;
    struct registry_config config = small_config(2, 0);
    struct registry *r = new_registry(&config, START_NS);
    assert_true(dies(unpin_twice, r));
    free(r);
}

static void registry__a_name_that_cannot_be_kept_gets_the_overflow_entry(void **state)
{
    (void)state;
    struct registry_config config = small_config(3, 3);
    struct registry *r = new_registry(&config, START_NS);
    char name[REGISTRY_NAME_BYTES + 1];
    memset(name, 'x', sizeof name);
    struct registry_entry *longest =
        registry_pin(r, REGISTRY_BREAKER, sv_from(name, REGISTRY_NAME_BYTES - 1), START_NS);
    assert_false(longest->is_overflow);
    assert_int_equal(strlen(longest->name), REGISTRY_NAME_BYTES - 1);
    const struct sv bad[] = {sv_from(name, REGISTRY_NAME_BYTES), SV(""), SV("a\0b")};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_true(registry_pin(r, REGISTRY_BREAKER, bad[i], START_NS)->is_overflow);
    assert_int_equal(stats_of(r).misnamed, 3);
    assert_int_equal(stats_of(r).overflowed, 0);
    assert_int_equal(stats_of(r).entries[REGISTRY_BREAKER], 1);
    free(r);
}

/* ---- full ---- */

static void registry__when_it_is_full_names_share_one_that_refuses_nobody(void **state)
{
    (void)state;
    struct registry_config config = small_config(1, 1);
    struct registry *r = new_registry(&config, START_NS);
    pin(r, REGISTRY_BREAKER, "a", START_NS);
    pin(r, REGISTRY_BULKHEAD, "a", START_NS);
    struct registry_entry *bad = pin(r, REGISTRY_BREAKER, "bad", START_NS);
    struct registry_entry *good = pin(r, REGISTRY_BREAKER, "good", START_NS);
    assert_ptr_equal(bad, good);
    assert_true(bad->is_overflow);
    struct breaker_permit lease;
    for (int i = 0; i < 1000; i++)
        call(bad->breaker, OUTCOME_VERDICT_FAILURE, START_NS + i);
    assert_true(breaker_admit(good->breaker, START_NS + 1000, &lease));

    struct registry_entry *crowd = pin(r, REGISTRY_BULKHEAD, "crowd", START_NS);
    struct bulkhead_permit permit = {0};
    for (int i = 0; i < 10000; i++)
        assert_true(bulkhead_try(crowd->bulkhead, START_NS, &permit));
    assert_int_equal(stats_of(r).overflowed, 3);
    /* Its pins are counted, and letting it go does not make it a place for others. */
    assert_int_equal(bad->pins, 2);
    registry_unpin(r, bad, START_NS);
    registry_unpin(r, good, START_NS);
    assert_int_equal(stats_of(r).unpinned[REGISTRY_BREAKER], 0);
    assert_true(pin(r, REGISTRY_BREAKER, "bad", START_NS + HF_SEC(999))->is_overflow);
    free(r);
}

static void registry__without_places_every_name_overflows(void **state)
{
    (void)state;
    struct registry_config config = small_config(0, 0);
    struct registry *r = new_registry(&config, START_NS);
    assert_true(pin(r, REGISTRY_BREAKER, "a", START_NS)->is_overflow);
    assert_true(pin(r, REGISTRY_BULKHEAD, "a", START_NS)->is_overflow);
    assert_null(registry_find(r, REGISTRY_BREAKER, SV("a")));
    registry_collect(r, START_NS);
    free(r);
}

static void registry__the_longest_unused_makes_room(void **state)
{
    (void)state;
    struct registry_config config = small_config(3, 0);
    struct registry *r = new_registry(&config, START_NS);
    int64_t now_ns = START_NS;
    touch(r, REGISTRY_BREAKER, "a", now_ns++);
    touch(r, REGISTRY_BREAKER, "b", now_ns++);
    touch(r, REGISTRY_BREAKER, "c", now_ns++);
    touch(r, REGISTRY_BREAKER, "a", now_ns++);
    struct registry_entry *held = pin(r, REGISTRY_BREAKER, "b", now_ns++);

    now_ns += config.idle_ns - 4; /* c was let go 3 ns before; one too early */
    assert_true(pin(r, REGISTRY_BREAKER, "d", now_ns)->is_overflow);
    assert_false(pin(r, REGISTRY_BREAKER, "d", now_ns + 1)->is_overflow);
    assert_false(is_there(r, REGISTRY_BREAKER, "c"));
    now_ns += config.idle_ns;
    assert_false(pin(r, REGISTRY_BREAKER, "e", now_ns)->is_overflow);
    assert_false(is_there(r, REGISTRY_BREAKER, "a"));
    assert_ptr_equal(registry_find(r, REGISTRY_BREAKER, SV("b")), held);
    assert_true(pin(r, REGISTRY_BREAKER, "f", now_ns + HF_SEC(3600))->is_overflow);
    assert_int_equal(stats_of(r).evicted, 2);
    free(r);
}

/* What an entry may be in when its place is wanted; whether it may be forgotten. */
enum trouble {
    FINE,
    OLD_FAILURE, /* out of the window by now */
    OPEN,
    HALF_OPEN,
    FORCED,
    DISABLED,
    JUST_FAILED,
    JUST_SLOW,
    CALL_OUT,
    CROWDED,
    TROUBLES
};

static void bring_into(struct registry_entry *entry, enum trouble trouble, int64_t now_ns)
{
    struct breaker_permit permit;
    struct bulkhead_permit place;
    switch (trouble) {
    case FINE:
        call(entry->breaker, OUTCOME_VERDICT_SUCCESS, now_ns);
        return;
    case OLD_FAILURE:
        call(entry->breaker, OUTCOME_VERDICT_FAILURE, now_ns - HF_SEC(100));
        return;
    case OPEN:
        open_it(entry->breaker, now_ns);
        return;
    case HALF_OPEN:
        open_it(entry->breaker, now_ns - HF_SEC(5));
        assert_true(breaker_admit(entry->breaker, now_ns, &permit));
        return;
    case FORCED:
        breaker_force(entry->breaker, BREAKER_FORCED_OPEN, now_ns);
        return;
    case DISABLED:
        breaker_force(entry->breaker, BREAKER_DISABLED, now_ns);
        return;
    case JUST_FAILED:
        call(entry->breaker, OUTCOME_VERDICT_FAILURE, now_ns);
        return;
    case JUST_SLOW:
        assert_true(breaker_admit(entry->breaker, now_ns - HF_SEC(6), &permit));
        breaker_record(entry->breaker, &permit, OUTCOME_VERDICT_SUCCESS, now_ns);
        return;
    case CALL_OUT:
        assert_true(breaker_admit(entry->breaker, now_ns, &permit));
        return;
    case CROWDED:
        assert_true(bulkhead_try(entry->bulkhead, now_ns, &place));
        return;
    case TROUBLES:
        return;
    }
}

static void registry__nobody_in_trouble_is_forgotten(void **state)
{
    (void)state;
    for (enum trouble trouble = FINE; trouble < TROUBLES; trouble++) {
        struct registry_config config = small_config(1, 1);
        struct registry *r = new_registry(&config, START_NS);
        enum registry_kind kind = trouble == CROWDED ? REGISTRY_BULKHEAD : REGISTRY_BREAKER;
        int64_t now_ns = START_NS + HF_SEC(1000);
        struct registry_entry *entry = pin(r, kind, "a", START_NS);
        bring_into(entry, trouble, now_ns);
        registry_unpin(r, entry, START_NS);
        bool is_forgotten = !pin(r, kind, "b", now_ns)->is_overflow;
        assert_int_equal(is_forgotten, trouble <= OLD_FAILURE);
        assert_int_equal(is_there(r, kind, "a"), !is_forgotten);
        free(r);
    }
}

static void registry__a_crowd_in_trouble_does_not_hide_those_behind_it(void **state)
{
    (void)state;
    enum {
        CROWD = 3 * REGISTRY_LOOKS
    };
    struct registry_config config = small_config(CROWD + 1, 0);
    struct registry *r = new_registry(&config, START_NS);
    char name[16];
    for (int i = 0; i < CROWD; i++) {
        snprintf(name, sizeof name, "bad%d", i);
        struct registry_entry *entry = pin(r, REGISTRY_BREAKER, name, START_NS);
        breaker_force(entry->breaker, BREAKER_FORCED_OPEN, START_NS);
        registry_unpin(r, entry, START_NS);
    }
    touch(r, REGISTRY_BREAKER, "good", START_NS);
    /* Each try looks at so many and no more. */
    for (int tries = 0; tries < 3; tries++)
        assert_true(pin(r, REGISTRY_BREAKER, "new", START_NS + HF_SEC(61))->is_overflow);
    assert_false(pin(r, REGISTRY_BREAKER, "new", START_NS + HF_SEC(61))->is_overflow);
    assert_false(is_there(r, REGISTRY_BREAKER, "good"));
    assert_true(is_there(r, REGISTRY_BREAKER, "bad0"));
    free(r);
}

static void registry__a_place_that_is_used_again_starts_anew(void **state)
{
    (void)state;
    struct registry_config config = small_config(1, 1);
    struct registry *r = new_registry(&config, START_NS);
    struct registry_entry *entry = pin(r, REGISTRY_BREAKER, "a", START_NS);
    struct registry_entry *crowd = pin(r, REGISTRY_BULKHEAD, "a", START_NS);
    struct bulkhead_permit permit = {0};
    struct breaker_view view;
    call(entry->breaker, OUTCOME_VERDICT_SUCCESS, START_NS);
    assert_true(bulkhead_try(crowd->bulkhead, START_NS, &permit));
    assert_true(bulkhead_release(crowd->bulkhead, &permit, START_NS));
    registry_unpin(r, entry, START_NS);
    registry_unpin(r, crowd, START_NS);
    int64_t now_ns = START_NS + config.idle_ns;
    assert_ptr_equal(pin(r, REGISTRY_BREAKER, "b", now_ns), entry);
    assert_ptr_equal(pin(r, REGISTRY_BULKHEAD, "b", now_ns), crowd);
    breaker_view(entry->breaker, now_ns, &view);
    assert_int_equal(view.total.calls, 0);
    assert_int_equal(view.changed_at_ns, now_ns);
    struct bulkhead_view seen;
    bulkhead_view(crowd->bulkhead, now_ns, &seen);
    assert_int_equal(seen.accepted, 0);
    free(r);
}

static void registry__breakers_do_not_come_back_in_step(void **state)
{
    (void)state;
    struct registry_config config = small_config(2, 0);
    struct registry *r = new_registry(&config, START_NS);
    struct breaker *a = pin(r, REGISTRY_BREAKER, "a", START_NS)->breaker;
    struct breaker *b = pin(r, REGISTRY_BREAKER, "b", START_NS)->breaker;
    open_it(a, START_NS);
    open_it(b, START_NS);
    assert_int_not_equal(breaker_retry_at(a), breaker_retry_at(b));
    free(r);
}

/* ---- enumerating ---- */

static void registry__each_shows_all_of_a_kind_and_the_overflow_last(void **state)
{
    (void)state;
    struct registry_config config = small_config(3, 2);
    struct registry *r = new_registry(&config, START_NS);
    pin(r, REGISTRY_BREAKER, "x", START_NS);
    pin(r, REGISTRY_BREAKER, "a", START_NS);
    pin(r, REGISTRY_BULKHEAD, "m", START_NS);
    static const char *const expected[][4] = {{"x", "a", "(other breakers)", NULL},
                                              {"m", "(other bulkheads)", NULL}};
    for (int kind = 0; kind < REGISTRY_KINDS; kind++) {
        uint32_t cursor = 0;
        for (int i = 0; expected[kind][i] != NULL; i++)
            assert_string_equal(registry_each(r, (enum registry_kind)kind, &cursor)->name,
                                expected[kind][i]);
        assert_null(registry_each(r, (enum registry_kind)kind, &cursor));
        assert_null(registry_each(r, (enum registry_kind)kind, &cursor));
    }
    free(r);
}

static void registry__each_sees_whoever_stays_once_while_others_come_and_go(void **state)
{
    (void)state;
    struct registry_config config = small_config(8, 0);
    config.idle_ns = 0;
    struct registry *r = new_registry(&config, START_NS);
    struct rng rng;
    char name[16];
    rng_init(&rng, 3);
    static const char *const staying[] = {"s0", "s1", "s2"};
    for (int i = 0; i < 3; i++) {
        touch(r, REGISTRY_BREAKER, "filler", START_NS);
        pin(r, REGISTRY_BREAKER, staying[i], START_NS);
    }
    for (int run = 0; run < 200; run++) {
        uint32_t cursor = 0;
        int seen[3] = {0}, order = -1;
        struct registry_entry *entry;
        while ((entry = registry_each(r, REGISTRY_BREAKER, &cursor)) != NULL) {
            for (int i = 0; i < 3; i++)
                if (strcmp(entry->name, staying[i]) == 0) {
                    ++seen[i];
                    assert_true(i > order);
                    order = i;
                }
            snprintf(name, sizeof name, "t%u", (unsigned)rng_below(&rng, 20));
            touch(r, REGISTRY_BREAKER, name, START_NS + run);
        }
        assert_true(seen[0] == 1 && seen[1] == 1 && seen[2] == 1);
    }
    assert_true(stats_of(r).evicted > 100);
    free(r);
}

/* ---- configuration ---- */

static void spoil(struct registry_config *config, int how)
{
    switch (how) {
    case 0:
        config->entries_max[REGISTRY_BREAKER] = REGISTRY_ENTRIES_MAX + 1;
        return;
    case 1:
        config->entries_max[REGISTRY_BULKHEAD] = REGISTRY_ENTRIES_MAX + 1;
        return;
    case 2:
        config->profiles_max = REGISTRY_PROFILES_MAX + 1;
        return;
    case 3:
        config->changes_max = 0;
        return;
    case 4:
        config->changes_max = REGISTRY_CHANGES_MAX + 1;
        return;
    case 5:
        config->idle_ns = -1;
        return;
    case 6:
        config->room[REGISTRY_BREAKER] = 1;
        return;
    case 7:
        config->room[REGISTRY_BULKHEAD] = bulkhead_size(&config->bulkhead) - 1;
        return;
    case 8:
        config->breaker.half_open_calls = 0;
        return;
    case 9:
        config->bulkhead.wait_ns_max = -1;
        return;
    }
}

static void registry__a_configuration_is_checked(void **state)
{
    (void)state;
    for (int how = -1; how < 10; how++) {
        struct hf_err err;
        struct registry_config config = registry_config_default();
        spoil(&config, how);
        assert_int_equal(registry_config_check(&config, &err) == HF_OK, how < 0);
    }
}

static void registry__room_for_larger_profiles_can_be_asked_for(void **state)
{
    (void)state;
    struct registry_config config = small_config(10, 10);
    size_t size = registry_size(&config);
    config.room[REGISTRY_BREAKER] = breaker_size(&config.breaker) + 6400;
    assert_int_equal(registry_size(&config), size + 11 * 6400);
    config.room[REGISTRY_BULKHEAD] = bulkhead_size(&config.bulkhead) + 640;
    assert_int_equal(registry_size(&config), size + 11 * (6400 + 640));
}

/* ---- against a model that remembers everything ---- */

enum {
    MODEL_NAMES = 40,
    MODEL_PLACES = 8,
    MODEL_PINS = 200
};

struct model_name {
    struct registry_entry *entry; /* NULL: not there */
    uint32_t pins;
    int64_t used_at_ns;
    bool is_bad; /* forced open */
};

struct model {
    struct registry *r;
    struct registry_config config;
    int64_t now_ns;
    struct model_name names[MODEL_NAMES];
    struct {
        struct registry_entry *entry;
        int name;
    } pins[MODEL_PINS];
    int pin_count;
    uint64_t overflows, evictions;
};

static bool may_be_evicted(const struct model *model, const struct model_name *name)
{
    return name->entry != NULL && name->pins == 0 && !name->is_bad &&
           model->now_ns - name->used_at_ns >= model->config.idle_ns;
}

static void model_pin(struct model *model, int which)
{
    char text[16];
    snprintf(text, sizeof text, "name%d", which);
    struct model_name *name = &model->names[which];
    uint32_t used = 0, evictable = 0;
    for (int i = 0; i < MODEL_NAMES; i++) {
        used += model->names[i].entry != NULL;
        evictable += may_be_evicted(model, &model->names[i]);
    }
    struct registry_entry *entry = pin(model->r, REGISTRY_BREAKER, text, model->now_ns);
    if (name->entry != NULL) {
        assert_ptr_equal(entry, name->entry);
    } else if (used == MODEL_PLACES && evictable == 0) {
        assert_true(entry->is_overflow);
        ++model->overflows;
    } else if (!entry->is_overflow) {
        /* Who had the place before, if anybody, was evictable. */
        for (int i = 0; i < MODEL_NAMES; i++)
            if (model->names[i].entry == entry) {
                assert_true(used == MODEL_PLACES && may_be_evicted(model, &model->names[i]));
                model->names[i] = (struct model_name){NULL, 0, 0, false};
                ++model->evictions;
            }
        name->entry = entry;
    } else {
        /* Only because somebody who is not idle stood in front of the evictable ones. */
        assert_true(used == MODEL_PLACES);
        ++model->overflows;
    }
    if (!entry->is_overflow) {
        ++name->pins;
        name->used_at_ns = model->now_ns;
    }
    model->pins[model->pin_count].entry = entry;
    model->pins[model->pin_count++].name = which;
}

static void model_unpin(struct model *model, int which)
{
    struct registry_entry *entry = model->pins[which].entry;
    struct model_name *name = &model->names[model->pins[which].name];
    registry_unpin(model->r, entry, model->now_ns);
    if (!entry->is_overflow) {
        --name->pins;
        name->used_at_ns = model->now_ns;
    }
    model->pins[which] = model->pins[--model->pin_count];
}

static void model_check(struct model *model)
{
    uint32_t used = 0, unpinned = 0;
    for (int i = 0; i < MODEL_NAMES; i++) {
        char text[16];
        snprintf(text, sizeof text, "name%d", i);
        struct model_name *name = &model->names[i];
        assert_ptr_equal(registry_find(model->r, REGISTRY_BREAKER, sv_from_cstr(text)),
                         name->entry);
        if (name->entry == NULL)
            continue;
        assert_string_equal(name->entry->name, text);
        assert_int_equal(name->entry->pins, name->pins);
        assert_int_equal(breaker_state(name->entry->breaker) == BREAKER_FORCED_OPEN, name->is_bad);
        ++used;
        unpinned += name->pins == 0;
    }
    struct registry_stats stats = stats_of(model->r);
    assert_int_equal(stats.entries[REGISTRY_BREAKER], used);
    assert_int_equal(stats.unpinned[REGISTRY_BREAKER], unpinned);
    assert_int_equal(stats.overflowed, model->overflows);
    assert_int_equal(stats.evicted, model->evictions);
}

static void registry__random_use_agrees_with_the_model(void **state)
{
    (void)state;
    static struct model model;
    struct rng rng;
    rng_init(&rng, 12);
    model = (struct model){.config = small_config(MODEL_PLACES, 2), .now_ns = START_NS};
    model.config.idle_ns = 40;
    model.r = new_registry(&model.config, START_NS);
    for (int step = 0; step < 40000; step++) {
        int which = (int)rng_below(&rng, MODEL_NAMES);
        struct model_name *name = &model.names[which];
        uint64_t dice = rng_below(&rng, 10);
        model.now_ns += (int64_t)rng_below(&rng, 10);
        bool is_calm = step / 1000 % 2 == 0;
        if (dice < (is_calm ? 2U : 5U) && model.pin_count < MODEL_PINS) {
            model_pin(&model, which);
        } else if (dice < 9 && model.pin_count > 0) {
            model_unpin(&model, (int)rng_below(&rng, (uint64_t)model.pin_count));
        } else if (name->entry != NULL && name->is_bad != (rng_below(&rng, 3) == 0)) {
            name->is_bad = !name->is_bad;
            if (name->is_bad)
                breaker_force(name->entry->breaker, BREAKER_FORCED_OPEN, model.now_ns);
            else
                breaker_reset(name->entry->breaker, model.now_ns);
        }
        model_check(&model);
    }
    assert_true(model.overflows > 1000 && model.evictions > 1000);
    free(model.r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registry__a_name_is_one_entry_however_often_it_is_pinned),
        cmocka_unit_test(registry__an_unpinned_entry_stays_with_all_it_knows),
        cmocka_unit_test(registry__an_unpin_too_many_stops_the_program),
        cmocka_unit_test(registry__a_name_that_cannot_be_kept_gets_the_overflow_entry),
        cmocka_unit_test(registry__when_it_is_full_names_share_one_that_refuses_nobody),
        cmocka_unit_test(registry__without_places_every_name_overflows),
        cmocka_unit_test(registry__the_longest_unused_makes_room),
        cmocka_unit_test(registry__nobody_in_trouble_is_forgotten),
        cmocka_unit_test(registry__a_crowd_in_trouble_does_not_hide_those_behind_it),
        cmocka_unit_test(registry__a_place_that_is_used_again_starts_anew),
        cmocka_unit_test(registry__breakers_do_not_come_back_in_step),
        cmocka_unit_test(registry__each_shows_all_of_a_kind_and_the_overflow_last),
        cmocka_unit_test(registry__each_sees_whoever_stays_once_while_others_come_and_go),
        cmocka_unit_test(registry__a_configuration_is_checked),
        cmocka_unit_test(registry__room_for_larger_profiles_can_be_asked_for),
        cmocka_unit_test(registry__random_use_agrees_with_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
