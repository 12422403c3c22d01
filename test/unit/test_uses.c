#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "sql/uses.h"

static void uses__each_name_is_there_once(void **state)
{
    (void)state;
    static struct uses uses;
    uses_init(&uses);
    uses_add(&uses, USES_FUNCTION, SV("s"), SV("f"));
    uses_add(&uses, USES_FUNCTION, SV("s"), SV("f"));
    uses_add(&uses, USES_FUNCTION, SV(""), SV("f"));
    uses_add(&uses, USES_RELATION, SV("s"), SV("f"));
    assert_int_equal(uses.count, 3);
    assert_true(sv_eq(uses_schema(&uses, 0), SV("s")) && sv_eq(uses_name(&uses, 0), SV("f")));
    assert_true(sv_eq(uses_schema(&uses, 1), SV("")));
    assert_int_equal(uses.names[2].kind, USES_RELATION);
    assert_int_equal(uses.left_out, 0);
}

static void uses__a_relation_may_be_a_with_query(void **state)
{
    (void)state;
    static struct uses uses;
    uses_init(&uses);
    uses_add(&uses, USES_RELATION, SV(""), SV("x"));
    uses_add(&uses, USES_RELATION, SV("s"), SV("x"));
    uses_add(&uses, USES_RELATION, SV(""), SV("y"));
    uses_add(&uses, USES_WITH, SV(""), SV("x"));
    assert_true(uses_is_with(&uses, 0));
    assert_false(uses_is_with(&uses, 1));
    assert_false(uses_is_with(&uses, 2));
    assert_false(uses_is_with(&uses, 3));
}

static void uses__what_does_not_fit_is_counted(void **state)
{
    (void)state;
    static struct uses uses;
    char name[USES_NAME_SIZE + 8];
    memset(name, 'x', sizeof name);
    uses_init(&uses);
    uses_add(&uses, USES_FUNCTION, SV(""), sv_from(name, USES_NAME_SIZE));
    assert_int_equal(uses.left_out, 1);
    for (int i = 0; i < USES_NAMES_MAX + 5; i++) {
        const int size = snprintf(name, sizeof name, "f%d", i);
        uses_add(&uses, USES_FUNCTION, SV(""), sv_from(name, (size_t)size));
    }
    assert_int_equal(uses.count, USES_NAMES_MAX);
    assert_int_equal(uses.left_out, 6);
    uses_init(&uses);
    for (int i = 0; i < 40; i++) {
        memset(name, 'a' + i % 26, 250);
        name[0] = (char)('a' + i / 26);
        uses_add(&uses, USES_TYPE, SV(""), sv_from(name, 250));
    }
    assert_int_equal(uses.count + uses.left_out, 40);
    assert_int_equal(uses.count, USES_TEXT_SIZE / 250);
}

static void uses__kinds_have_names(void **state)
{
    (void)state;
    for (int kind = 0; kind < USES_KINDS; kind++)
        assert_non_null(uses_kind_name((enum uses_kind)kind));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uses__each_name_is_there_once),
        cmocka_unit_test(uses__a_relation_may_be_a_with_query),
        cmocka_unit_test(uses__what_does_not_fit_is_counted),
        cmocka_unit_test(uses__kinds_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
