#include "unit.h"

#include <string.h>

#include "base/ns.h"
#include "sql/hint.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct hint read(const char *text)
{
    return hint_read(sv_from_cstr(text));
}

static void hint__intents_and_consistencies_are_read(void **state)
{
    (void)state;
    struct hint hint = read("/* holdfast: intent=write, consistency=bounded:5s */ SELECT 1");
    assert_true(hint.is_there && !hint.is_wrong && hint.has_intent && hint.has_consistency);
    assert_int_equal(hint.intent, ROUTE_WRITE);
    assert_int_equal(hint.consistency, ROUTE_BOUNDED);
    assert_int_equal(hint.staleness_ns_max, HF_SEC(5));
    hint = read("\n /*holdfast:Intent=READ consistency=Any*/SELECT 1");
    assert_int_equal(hint.intent, ROUTE_READ);
    assert_int_equal(hint.consistency, ROUTE_ANY_AGE);
    assert_int_equal(read("/*holdfast:consistency=session*/").consistency, ROUTE_SESSION);
    assert_int_equal(read("/*holdfast:consistency=primary*/").consistency, ROUTE_PRIMARY);
    hint = read("/* holdfast: intent=auto */");
    assert_true(hint.is_there && !hint.is_wrong && !hint.has_intent && !hint.has_consistency);
    assert_true(read("/* holdfast: */").is_there);
}

static void hint__only_the_very_beginning_counts(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "SELECT 1 /* holdfast: intent=write */",
        "-- holdfast: intent=write\nSELECT 1",
        "/* note */ /* holdfast: intent=write */ SELECT 1",
        "/* holdfast: intent=write",
        "/* not holdfast: intent=write */",
        "; /* holdfast: intent=write */",
        "",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        const struct hint hint = read(texts[i]);
        assert_false(hint.is_there || hint.is_wrong || hint.has_intent || hint.has_consistency);
    }
}

static void hint__one_mistake_spoils_all_of_it(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "/* holdfast: intent=writ */",
        "/* holdfast: intent */",
        "/* holdfast: intent= */",
        "/* holdfast: intent=write, color=red */",
        "/* holdfast: consistency=bounded */",
        "/* holdfast: consistency=bounded:soon */",
        "/* holdfast: consistency=bounded: */",
        "/* holdfast: intent=write consistency=all */",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        const struct hint hint = read(texts[i]);
        assert_true(hint.is_there && hint.is_wrong);
        assert_false(hint.has_intent || hint.has_consistency);
    }
}

static void hint__a_long_one_is_wrong(void **state)
{
    (void)state;
    char text[HINT_SIZE_MAX + 64];
    memset(text, ' ', sizeof text);
    memcpy(text, "/*holdfast:intent=write", 23);
    memcpy(text + sizeof text - 3, ",*/", 3);
    struct hint hint = hint_read(sv_from(text, sizeof text));
    assert_true(hint.is_there && hint.is_wrong && !hint.has_intent);
    memcpy(text + HINT_SIZE_MAX - 4, ",*/ ", 4);
    hint = hint_read(sv_from(text, sizeof text));
    assert_true(hint.is_there && !hint.is_wrong && hint.has_intent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hint__intents_and_consistencies_are_read),
        cmocka_unit_test(hint__only_the_very_beginning_counts),
        cmocka_unit_test(hint__one_mistake_spoils_all_of_it),
        cmocka_unit_test(hint__a_long_one_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
