#include "unit.h"

#include "sql/catalog_builtin.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct known {
    const char *name;
    char volatility;
};

static void catalog_builtin__functions_are_known(void **state)
{
    (void)state;
    static const struct known cases[] = {
        {"abs", 'i'},
        {"xpath_exists", 'i'},
        {"now", 's'},
        {"count", 'i'},
        {"abbrev", 'i'},
        {"to_char", 's'},
        {"random", 'v'},
        {"nextval", 'v'},
        {"set_config", 'v'},
        {"pg_sleep", 'v'},
        {"f", '\0'},
        {"", '\0'},
        {"a", '\0'},
        {"zzz", '\0'},
        {"abs acos", '\0'},
        {"ab", '\0'},
        {"query_to_xml", 'v'},
        {"generate_series", 's'},
        {"current_setting", 's'},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(catalog_builtin_function(sv_from_cstr(cases[i].name)),
                         cases[i].volatility);
}

static void catalog_builtin__operators_are_known(void **state)
{
    (void)state;
    static const struct known cases[] = {
        {"=", 's'}, {"!~~*", 'i'}, {"~~", 'i'}, {"@@@@", '\0'}, {"", '\0'},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(catalog_builtin_operator(sv_from_cstr(cases[i].name)),
                         cases[i].volatility);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(catalog_builtin__functions_are_known),
        cmocka_unit_test(catalog_builtin__operators_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
