#include "unit.h"

#include "config/pgbouncer_value.h"

static void pgbouncer_value__seconds_have_fractions(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {
        {"0", 0},          {"5", 5000000000},   {"5.0", 5000000000},         {"0.25", 250000000},
        {".5", 500000000}, {"-1", -1000000000}, {"1.0000000019", 1000000001}};
    int64_t ns = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(pgbouncer_value_seconds(sv_from_cstr(cases[i].text), &ns));
        assert_int_equal(ns, cases[i].ns);
    }
    static const char *const wrong[] = {"", ".", "x", "1.x", "1s", "1e3", "99999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(pgbouncer_value_seconds(sv_from_cstr(wrong[i]), &ns));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pgbouncer_value__seconds_have_fractions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
