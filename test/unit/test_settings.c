#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "wire/settings.h"

enum {
    ENTRIES = 4096,
    BYTES = 65536,
};

/* A store with its memory. */
struct shop {
    struct settings store;
    void *memory;
};

static struct shop *shop_new(uint32_t entries, uint32_t bytes)
{
    struct settings_config config = {
        .entries_max = entries, .bytes_max = bytes, .key = hash_key_from_seed(7)};
    struct shop *shop = malloc(sizeof *shop);
    assert_non_null(shop);
    shop->memory = malloc(settings_size(&config));
    assert_non_null(shop->memory);
    settings_init(&shop->store, shop->memory, &config);
    return shop;
}

static int open_shop(void **state)
{
    *state = shop_new(ENTRIES, BYTES);
    return 0;
}

static int close_shop(void **state)
{
    struct shop *shop = *state;
    free(shop->memory);
    free(shop);
    return 0;
}

static struct settings *store_of(void **state)
{
    return &((struct shop *)*state)->store;
}

/* The set of "name=value,name=value". */
static uint32_t made(struct settings *store, const char *text)
{
    struct settings_edit edit = settings_edit_begin(store, 0);
    struct sv rest = sv_from_cstr(text), word, name;
    uint32_t set;
    while (rest.size > 0 && sv_split(&rest, ',', &word)) {
        sv_split(&word, '=', &name);
        settings_edit_put(&edit, name, word);
    }
    assert_int_equal(settings_edit_end(&edit, &set), HF_OK);
    return set;
}

static uint32_t with(struct settings *store, uint32_t set, const char *name, const char *value)
{
    uint32_t out;
    assert_int_equal(settings_with(store, set, sv_from_cstr(name), sv_from_cstr(value), &out),
                     HF_OK);
    return out;
}

static void assert_value(const struct settings *store, uint32_t set, const char *name,
                         const char *value)
{
    struct sv found = settings_find(store, set, sv_from_cstr(name));
    if (value == NULL) {
        assert_null(found.data);
        return;
    }
    assert_non_null(found.data);
    assert_true(sv_eq(found, sv_from_cstr(value)));
}

static void assert_nothing_left(const struct settings *store)
{
    assert_int_equal(store->map.count, 0);
    assert_int_equal(store->bytes_live, 0);
    assert_int_equal(store->sets, 0);
}

static void settings__equal_sets_have_equal_handles(void **state)
{
    struct settings *store = store_of(state);
    static const char *const same[] = {
        "a=1,b=2,c=3", "c=3,b=2,a=1", "A=1,B=2,C=3", "a=9,b=2,c=3,a=1", "b=2,c=3,a=2,C=3,A=1",
    };
    static const char *const others[] = {"a=1,b=2", "a=1,b=2,c=4", "a=1,b=2,d=3", "a=1,b=2,c=3,d="};
    uint32_t set = made(store, same[0]);
    assert_int_not_equal(set, 0);
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        uint32_t other = made(store, same[i]);
        assert_int_equal(other, set);
        settings_drop(store, other);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        uint32_t other = made(store, others[i]);
        assert_int_not_equal(other, set);
        settings_drop(store, other);
    }
    assert_int_equal(store->sets, 1);
    settings_drop(store, set);
    assert_nothing_left(store);
}

static void settings__what_is_in_a_set_is_found(void **state)
{
    struct settings *store = store_of(state);
    uint32_t set = made(store, "TimeZone=UTC,application_name=,my.Own=x y"), cursor = 0;
    struct sv name, value;
    size_t seen = 0;
    assert_value(store, set, "timezone", "UTC");
    assert_value(store, set, "APPLICATION_NAME", "");
    assert_value(store, set, "my.own", "x y");
    assert_value(store, set, "DateStyle", NULL);
    assert_value(store, set, "", NULL);
    assert_value(store, 0, "timezone", NULL);
    while (settings_each(store, set, &cursor, &name, &value)) {
        assert_true(sv_eq(settings_find(store, set, name), value));
        seen++;
    }
    assert_int_equal(seen, 3);
    cursor = 0;
    assert_false(settings_each(store, 0, &cursor, &name, &value));
    settings_drop(store, set);
}

static void settings__a_name_too_long_for_any_set_is_in_none(void **state)
{
    struct settings *store = store_of(state);
    static char name[SETTINGS_NAME_MAX + 1];
    uint32_t set = made(store, "a=1"), out;
    memset(name, 'n', sizeof name);
    assert_null(settings_find(store, set, sv_from(name, sizeof name)).data);
    assert_int_equal(settings_without(store, set, sv_from(name, sizeof name), &out), HF_OK);
    assert_int_equal(out, set);
    settings_drop(store, out);
    settings_drop(store, set);
}

static void settings__differences_are_walked(void **state)
{
    struct settings *store = store_of(state);
    static const struct {
        const char *have, *want, *changes;
    } cases[] = {
        {"", "", ""},
        {"a=1", "a=1", ""},
        {"", "a=1", "a:->1 "},
        {"a=1", "", "a:1-> "},
        {"a=1,b=2,c=3", "a=1,b=4,c=3", "b:2->4 "},
        {"a=1,b=2", "b=2,c=3", "a:1-> c:->3 "},
        {"c=3", "a=1,b=2,c=3", "a:->1 b:->2 "},
        {"a=1,c=3", "b=2", "a:1-> b:->2 c:3-> "},
        {"a=", "b=", "a:''-> b:->'' "},
    };
    uint32_t order = made(store, "a=0,b=0,c=0");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t have = made(store, cases[i].have), want = made(store, cases[i].want);
        struct settings_walk walk = {0};
        struct settings_change change;
        char text[128] = "";
        size_t size = 0;
        while (settings_change_next(store, have, want, &walk, &change)) {
            const char *had = change.had.data != NULL && change.had.size == 0 ? "''" : "";
            const char *wanted = change.want.data != NULL && change.want.size == 0 ? "''" : "";
            size += (size_t)snprintf(text + size, sizeof text - size,
                                     SV_FMT ":" SV_FMT "%s->" SV_FMT "%s ", SV_ARG(change.name),
                                     SV_ARG(change.had), had, SV_ARG(change.want), wanted);
        }
        assert_string_equal(text, cases[i].changes);
        settings_drop(store, have);
        settings_drop(store, want);
    }
    settings_drop(store, order);
    assert_nothing_left(store);
}

static void settings__a_change_taken_back_is_the_set_before_it(void **state)
{
    struct settings *store = store_of(state);
    uint32_t a = made(store, "a=1,b=2"), b, c, d;
    b = with(store, a, "B", "3");
    assert_int_not_equal(b, a);
    assert_value(store, a, "b", "2");
    assert_value(store, b, "b", "3");
    c = with(store, b, "b", "2");
    assert_int_equal(c, a);
    assert_int_equal(settings_without(store, c, SV("nothing"), &d), HF_OK);
    assert_int_equal(d, a);
    settings_drop(store, b);
    settings_drop(store, d);
    assert_int_equal(settings_without(store, a, SV("A"), &b), HF_OK);
    assert_int_equal(settings_without(store, b, SV("b"), &d), HF_OK);
    assert_int_equal(d, 0);
    settings_drop(store, b);
    settings_drop(store, c);
    settings_drop(store, a);
    assert_nothing_left(store);
}

static void settings__ten_thousand_clients_of_one_kind_cost_one_set(void **state)
{
    struct settings *store = store_of(state);
    uint32_t first = made(store, "application_name=app,TimeZone=UTC,DateStyle=ISO");
    uint32_t bytes = store->bytes_live, entries = store->map.count;
    for (int i = 0; i < 9999; i++)
        assert_int_equal(made(store, "application_name=app,TimeZone=UTC,DateStyle=ISO"), first);
    assert_int_equal(store->bytes_live, bytes);
    assert_int_equal(store->map.count, entries);
    for (int i = 0; i < 10000; i++)
        settings_drop(store, first);
    assert_nothing_left(store);
}

static void settings__a_name_of_its_own_costs_a_client_little(void **state)
{
    struct settings *store = store_of(state);
    uint32_t base = made(store, "application_name=x,TimeZone=UTC,DateStyle=ISO"), sets[100];
    uint32_t bytes = store->bytes_live;
    for (int i = 0; i < 100; i++) {
        char value[32];
        snprintf(value, sizeof value, "worker-%d", i);
        sets[i] = with(store, base, "application_name", value);
    }
    assert_in_range((store->bytes_live - bytes) / 100, 1, 48);
    for (int i = 0; i < 100; i++)
        settings_drop(store, sets[i]);
    settings_drop(store, base);
    assert_nothing_left(store);
}

static void settings__a_name_is_spelled_as_the_server_does(void **state)
{
    struct settings *store = store_of(state);
    uint32_t set = made(store, "timezone=UTC"), told, cursor = 0;
    struct sv name, value;
    assert_int_equal(settings_told(store, 0, SV("TimeZone"), SV("Europe/Rome"), &told), HF_OK);
    assert_true(settings_each(store, set, &cursor, &name, &value));
    assert_true(sv_eq(name, SV("TimeZone")));
    assert_int_equal(with(store, 0, "TIMEZONE", "UTC"), set);
    cursor = 0;
    assert_true(settings_each(store, set, &cursor, &name, &value));
    assert_true(sv_eq(name, SV("TimeZone")));
    assert_int_equal(settings_told(store, 0, SV(""), SV("x"), &cursor), HF_RC_INVALID);
    settings_drop(store, set);
    settings_drop(store, set);
    settings_drop(store, told);
    assert_nothing_left(store);
}

static void settings__what_cannot_be_a_setting_is_refused(void **state)
{
    struct settings *store = store_of(state);
    static char text[SETTINGS_VALUE_MAX + 1];
    memset(text, 'x', sizeof text);
    const struct {
        struct sv name, value;
        enum hf_rc rc;
    } cases[] = {
        {SV(""), SV("v"), HF_RC_INVALID},
        {SV("a\0b"), SV("v"), HF_RC_INVALID},
        {SV("a"), SV("v\0w"), HF_RC_INVALID},
        {sv_from(text, SETTINGS_NAME_MAX), SV("v"), HF_OK},
        {sv_from(text, SETTINGS_NAME_MAX + 1), SV("v"), HF_RC_LIMIT},
        {SV("a"), sv_from(text, SETTINGS_VALUE_MAX), HF_OK},
        {SV("a"), sv_from(text, SETTINGS_VALUE_MAX + 1), HF_RC_LIMIT},
    };
    uint32_t set = made(store, "a=1,b=2");
    uint32_t live = store->bytes_live;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t out = 77;
        assert_int_equal(settings_with(store, set, cases[i].name, cases[i].value, &out),
                         cases[i].rc);
        if (cases[i].rc != HF_OK)
            assert_int_equal(out, 0);
        settings_drop(store, out);
        assert_int_equal(store->bytes_live, live);
    }
    settings_drop(store, set);
    assert_nothing_left(store);
}

static void settings__the_first_failure_of_an_edit_is_its_last_word(void **state)
{
    struct settings *store = store_of(state);
    uint32_t set = made(store, "a=1"), out;
    struct settings_edit edit = settings_edit_begin(store, set);
    settings_edit_put(&edit, SV("b"), SV("2"));
    settings_edit_put(&edit, SV(""), SV("3"));
    settings_edit_put(&edit, SV("c"), SV("4"));
    settings_edit_remove(&edit, SV("a"));
    assert_int_equal(settings_edit_end(&edit, &out), HF_RC_INVALID);
    assert_int_equal(out, 0);
    settings_drop(store, set);
    assert_nothing_left(store);
}

static void settings__a_set_has_its_limit(void **state)
{
    struct settings *store = store_of(state);
    struct settings_edit edit = settings_edit_begin(store, 0);
    uint32_t set, out;
    char name[16];
    for (int i = 0; i < SETTINGS_COUNT_MAX; i++) {
        snprintf(name, sizeof name, "n%d", i);
        settings_edit_put(&edit, sv_from_cstr(name), SV("v"));
    }
    assert_int_equal(settings_edit_end(&edit, &set), HF_OK);
    assert_int_equal(settings_with(store, set, SV("more"), SV("v"), &out), HF_RC_LIMIT);
    assert_int_equal(settings_with(store, set, SV("n5"), SV("w"), &out), HF_OK);
    settings_drop(store, out);
    settings_drop(store, set);
    assert_nothing_left(store);
}

/* Fills the store with sets of their own until it refuses, and returns how many there are. */
static uint32_t fill(struct settings *store, uint32_t *sets, uint32_t max, size_t value_size)
{
    static char value[SETTINGS_VALUE_MAX];
    memset(value, 'v', sizeof value);
    for (uint32_t i = 0; i < max; i++) {
        int size = snprintf(value, sizeof value, "%u", i);
        value[size] = 'v';
        if (settings_with(store, 0, SV("name"), sv_from(value, value_size), &sets[i]) != HF_OK)
            return i;
    }
    fail_msg("the store never refuses");
    return max;
}

static void settings__a_full_store_refuses_and_changes_nothing(void **state)
{
    (void)state;
    static uint32_t sets[20000];
    static const struct {
        uint32_t entries, bytes, least;
        size_t value_size;
    } cases[] = {
        {256, 1 << 20, 120, 10},                            /* no entries left */
        {10000, SETTINGS_BYTES_MIN, 15, 1000},              /* no bytes left */
        {10000, SETTINGS_BYTES_MIN, 1, SETTINGS_VALUE_MAX}, /* the longest value fits once */
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct shop *shop = shop_new(cases[c].entries, cases[c].bytes);
        struct settings *store = &shop->store;
        for (int round = 0; round < 3; round++) {
            uint32_t count = fill(store, sets, 20000, cases[c].value_size);
            assert_in_range(count, cases[c].least, 19999);
            assert_int_equal(store->sets, count);
            assert_in_range(store->bytes_live, 0, store->bytes_max);
            for (uint32_t i = 0; i < count; i++) {
                char start[16];
                snprintf(start, sizeof start, "%uv", i);
                assert_true(
                    sv_starts_with(settings_find(store, sets[i], SV("name")), sv_from_cstr(start)));
            }
            for (uint32_t i = 0; i < count; i++)
                settings_drop(store, sets[(i + 3) % count]);
            assert_int_equal(store->bytes_live, 0);
            assert_int_equal(store->map.count, 0);
        }
        void *closed = shop;
        close_shop(&closed);
    }
}

static void settings__a_set_lives_as_long_as_somebody_has_it(void **state)
{
    struct settings *store = store_of(state);
    uint32_t set = made(store, "a=1");
    settings_keep(store, set);
    settings_keep(store, 0);
    settings_drop(store, 0);
    settings_drop(store, set);
    assert_value(store, set, "a", "1");
    settings_drop(store, set);
    assert_nothing_left(store);
}

/* There is room for the last pair, but not for the set around it. */
static void settings__a_set_that_does_not_fit_leaves_nothing_behind(void **state)
{
    (void)state;
    struct shop *shop = shop_new(SETTINGS_ENTRIES_MIN, SETTINGS_BYTES_MIN);
    struct settings *store = &shop->store;
    uint32_t held = made(store, "n0=v"), set;
    struct settings_edit edit = settings_edit_begin(store, 0);
    char name[16];
    /* Three entries are taken. The first pair is there, the others take two entries each. */
    for (int i = 0; i <= (SETTINGS_ENTRIES_MIN - 4) / 2; i++) {
        snprintf(name, sizeof name, "n%d", i);
        settings_edit_put(&edit, sv_from_cstr(name), SV("v"));
    }
    assert_int_equal(edit.failure, HF_OK);
    assert_int_equal(store->map.count, SETTINGS_ENTRIES_MIN - 1);
    assert_int_equal(settings_edit_end(&edit, &set), HF_RC_LIMIT);
    assert_int_equal(set, 0);
    assert_value(store, held, "n0", "v");
    settings_drop(store, held);
    assert_nothing_left(store);
    void *closed = shop;
    close_shop(&closed);
}

/* A value that looks different from each place on. */
static struct sv long_value(char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        text[i] = (char)('!' + i % 89 + (i / 89 % 4));
    return sv_from(text, size);
}

/* The store is closed up by the very call that is given a view into it, and what the view shows
 * moves by a few bytes only, so that its old place shows something else. */
static void settings__views_into_the_store_may_be_given_to_it(void **state)
{
    (void)state;
    static char text[16000];
    struct shop *shop = shop_new(4096, SETTINGS_BYTES_MIN);
    struct settings *store = &shop->store;
    uint32_t front = made(store, "garbage=at the front"), kept, middle, end, copy, cursor = 0;
    struct sv name, value;
    assert_int_equal(settings_with(store, 0, SV("Kept.Name"), long_value(text, 6000), &kept),
                     HF_OK);
    assert_int_equal(settings_with(store, 0, SV("middle"), long_value(text, 16000), &middle),
                     HF_OK);
    assert_int_equal(settings_with(store, 0, SV("end"), long_value(text, 5500), &end), HF_OK);
    settings_drop(store, front);
    settings_drop(store, middle);
    uint32_t before = store->bytes_end;
    assert_true(settings_each(store, kept, &cursor, &name, &value));
    assert_int_equal(settings_with(store, 0, SV("copy"), value, &copy), HF_OK);
    assert_true(store->bytes_end < before);
    assert_true(sv_eq(settings_find(store, copy, SV("copy")), long_value(text, 6000)));
    assert_true(sv_eq(settings_find(store, kept, SV("kept.name")), long_value(text, 6000)));
    settings_drop(store, kept);
    settings_drop(store, end);
    settings_drop(store, copy);
    assert_nothing_left(store);
    void *closed = shop;
    close_shop(&closed);
}

static void settings__a_set_moves_to_another_store(void **state)
{
    struct settings *from = store_of(state);
    struct shop *shop = shop_new(1000, SETTINGS_BYTES_MIN);
    struct settings *to = &shop->store;
    char block[256];
    struct buffer out;
    uint32_t there = made(to, "z=1,y=2"), set = made(from, "x=,y=2,Z=1"), copied, packed;
    assert_int_equal(settings_copy(from, set, to, &copied), HF_OK);
    assert_value(to, copied, "x", "");
    assert_value(to, copied, "y", "2");
    assert_int_equal(with(to, there, "x", ""), copied);
    buffer_init(&out, block, sizeof block);
    assert_int_equal(settings_pack(from, set, &out), HF_OK);
    assert_int_equal(settings_unpack(to, buffer_view(&out), &packed), HF_OK);
    assert_int_equal(packed, copied);
    for (size_t room = 0; room < buffer_held(&out); room++) {
        struct buffer small;
        buffer_init(&small, block, room);
        assert_int_equal(settings_pack(from, set, &small), HF_RC_LIMIT);
        assert_int_equal(buffer_held(&small), 0);
    }
    assert_int_equal(settings_copy(from, 0, to, &packed), HF_OK);
    assert_int_equal(packed, 0);
    settings_drop(from, set);
    void *closed = shop;
    close_shop(&closed);
}

static void settings__bytes_that_are_no_set_are_refused(void **state)
{
    struct settings *store = store_of(state);
    const struct sv bad[] = {SV("a"), SV("a\0"), SV("a\0b"), SV("a\0b\0c\0"), SV("\0b\0")};
    uint32_t out;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(settings_unpack(store, bad[i], &out), HF_RC_INVALID);
    assert_int_equal(settings_unpack(store, SV(""), &out), HF_OK);
    assert_int_equal(out, 0);
    assert_nothing_left(store);
}

/* Against a plain model: a few sets as arrays, changed at random in a store that is small enough to
 * be closed up often. */
enum {
    SETS = 24,
    NAMES = 6,
};

struct model {
    uint32_t handle;
    unsigned values[NAMES]; /* 0: not there */
};

/* The text that stands for a value: short ones and long ones. */
static struct sv value_text(unsigned value, char text[512])
{
    int size = snprintf(text, 512, "%0*u", (int)(value % 7 == 0 ? value % 400 : 1), value);
    return sv_from(text, (size_t)size);
}

static void check_model(const struct settings *store, const struct model *models)
{
    for (size_t i = 0; i < SETS; i++) {
        for (size_t n = 0; n < NAMES; n++) {
            char name[] = {'n', (char)('0' + n)}, text[512];
            struct sv found = settings_find(store, models[i].handle, sv_from(name, 2));
            assert_int_equal(found.data != NULL, models[i].values[n] != 0);
            if (found.data != NULL)
                assert_true(sv_eq(found, value_text(models[i].values[n], text)));
        }
        for (size_t j = 0; j < i; j++)
            assert_int_equal(models[i].handle == models[j].handle,
                             memcmp(models[i].values, models[j].values, sizeof models[i].values) ==
                                 0);
    }
}

static void settings__a_store_does_what_plain_arrays_do(void **state)
{
    (void)state;
    struct shop *shop = shop_new(SETTINGS_ENTRIES_MIN, SETTINGS_BYTES_MIN);
    struct settings *store = &shop->store;
    struct model models[SETS] = {{0}};
    struct rng rng;
    rng_init(&rng, 11);
    for (int step = 0; step < 20000; step++) {
        struct model *model = &models[rng_below(&rng, SETS)];
        unsigned n = (unsigned)rng_below(&rng, NAMES), value = (unsigned)rng_below(&rng, 40);
        char name[] = {"nN"[rng_below(&rng, 2)], (char)('0' + n)}, text[512];
        uint32_t out;
        enum hf_rc rc = value == 0 ? settings_without(store, model->handle, sv_from(name, 2), &out)
                                   : settings_with(store, model->handle, sv_from(name, 2),
                                                   value_text(value, text), &out);
        assert_int_equal(rc, HF_OK);
        settings_drop(store, model->handle);
        model->handle = out;
        model->values[n] = value;
        if (step % 16 == 0)
            check_model(store, models);
    }
    for (size_t i = 0; i < SETS; i++)
        settings_drop(store, models[i].handle);
    assert_int_equal(store->map.count, 0);
    assert_int_equal(store->bytes_live, 0);
    void *closed = shop;
    close_shop(&closed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_shop, close_shop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(settings__equal_sets_have_equal_handles),
        TEST(settings__what_is_in_a_set_is_found),
        TEST(settings__a_name_too_long_for_any_set_is_in_none),
        TEST(settings__differences_are_walked),
        TEST(settings__a_change_taken_back_is_the_set_before_it),
        TEST(settings__ten_thousand_clients_of_one_kind_cost_one_set),
        TEST(settings__a_name_of_its_own_costs_a_client_little),
        TEST(settings__a_name_is_spelled_as_the_server_does),
        TEST(settings__what_cannot_be_a_setting_is_refused),
        TEST(settings__the_first_failure_of_an_edit_is_its_last_word),
        TEST(settings__a_set_has_its_limit),
        cmocka_unit_test(settings__a_full_store_refuses_and_changes_nothing),
        TEST(settings__a_set_lives_as_long_as_somebody_has_it),
        cmocka_unit_test(settings__a_set_that_does_not_fit_leaves_nothing_behind),
        cmocka_unit_test(settings__views_into_the_store_may_be_given_to_it),
        TEST(settings__a_set_moves_to_another_store),
        TEST(settings__bytes_that_are_no_set_are_refused),
        cmocka_unit_test(settings__a_store_does_what_plain_arrays_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
