#include "unit.h"

#include <string.h>

#include "sql/verdict.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void verdict__the_class_says_where_to(void **state)
{
    (void)state;
    static const struct {
        struct verdict verdict;
        enum route_intent intent;
    } cases[] = {
        {{.is = VERDICT_NOTHING}, ROUTE_ANY},
        {{.is = VERDICT_UTILITY}, ROUTE_ANY},
        {{.is = VERDICT_READ}, ROUTE_READ},
        {{.is = VERDICT_TRANSACTION}, ROUTE_ANY},
        {{.is = VERDICT_SESSION}, ROUTE_ANY},
        {{.is = VERDICT_LOCKS}, ROUTE_WRITE},
        {{.is = VERDICT_WRITE}, ROUTE_WRITE},
        {{.is = VERDICT_TEMPORARY}, ROUTE_WRITE},
        {{.is = VERDICT_DDL}, ROUTE_WRITE},
        {{.is = VERDICT_SESSION, .traits = VERDICT_LISTENS}, ROUTE_WRITE},
        {{.is = VERDICT_SESSION, .traits = VERDICT_PREPARES}, ROUTE_WRITE},
        {{.is = VERDICT_SESSION, .traits = VERDICT_SETS}, ROUTE_ANY},
        {{.is = VERDICT_SESSION, .traits = VERDICT_HOLDS_CURSOR}, ROUTE_WRITE},
        {{.is = VERDICT_READ, .traits = VERDICT_COPIES_OUT}, ROUTE_READ},
        {{.is = VERDICT_READ, .traits = VERDICT_ASKS_SERVER}, ROUTE_ANY},
        {{.is = VERDICT_WRITE, .traits = VERDICT_ASKS_SERVER}, ROUTE_WRITE},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(verdict_intent(&cases[i].verdict), cases[i].intent);
}

static void verdict__only_what_is_stronger_changes_it(void **state)
{
    (void)state;
    struct verdict verdict = {.is = VERDICT_READ, .traits = VERDICT_COPIES_OUT};
    verdict_strengthen(&verdict, VERDICT_WRITE, VERDICT_BY_VOLATILE, SV("f"));
    assert_int_equal(verdict.is, VERDICT_WRITE);
    assert_string_equal(verdict.subject, "f");
    verdict_strengthen(&verdict, VERDICT_WRITE, VERDICT_BY_UNKNOWN, SV("g"));
    verdict_strengthen(&verdict, VERDICT_READ, VERDICT_BY_STATEMENT, SV("SELECT"));
    assert_int_equal(verdict.reason, VERDICT_BY_VOLATILE);
    assert_string_equal(verdict.subject, "f");
    assert_int_equal(verdict.traits, VERDICT_COPIES_OUT);
}

static void verdict__a_long_subject_is_cut(void **state)
{
    (void)state;
    char name[200];
    struct verdict verdict = {0};
    memset(name, 'x', sizeof name);
    verdict_strengthen(&verdict, VERDICT_READ, VERDICT_BY_STATEMENT, sv_from(name, sizeof name));
    assert_int_equal(strlen(verdict.subject), VERDICT_SUBJECT_SIZE - 1);
    verdict_strengthen(&verdict, VERDICT_WRITE, VERDICT_BY_STATEMENT, SV(""));
    assert_string_equal(verdict.subject, "");
}

static void verdict__everything_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < VERDICT_CLASSES; i++)
        assert_non_null(verdict_class_name((enum verdict_class)i));
    for (int i = 0; i < VERDICT_REASONS; i++)
        assert_non_null(verdict_reason_name((enum verdict_reason)i));
    for (int i = 0; i <= VERDICT_TX_SET; i++)
        assert_non_null(verdict_tx_name((enum verdict_tx_verb)i));
    for (uint32_t trait = 1; trait <= VERDICT_ASKS_SERVER; trait <<= 1)
        assert_non_null(verdict_trait_name(trait));
    assert_null(verdict_trait_name((uint32_t)VERDICT_ASKS_SERVER << 1));
    assert_null(verdict_trait_name(0));
    assert_string_equal(verdict_trait_name(VERDICT_ASKS_SERVER), "asks about the server itself");
    assert_string_equal(verdict_trait_name(VERDICT_HAS_SEVERAL), "several statements");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdict__the_class_says_where_to),
        cmocka_unit_test(verdict__only_what_is_stronger_changes_it),
        cmocka_unit_test(verdict__a_long_subject_is_cut),
        cmocka_unit_test(verdict__everything_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
