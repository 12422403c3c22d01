#include "unit.h"

#include <string.h>

#include "sql/catalog.h"
#include "sql/catalog_builtin.h"
#include "sql/judge.h"

static _Alignas(16) char memory[1 << 20];

/* What the server says to them is tested where there is one: test/integration/test_sql_class.py. */
static void catalog_query__what_is_asked_is_itself_a_read(void **state)
{
    (void)state;
    static const struct lex_rules standard = {0};
    const char *texts[] = {catalog_query(USES_FUNCTION), catalog_query(USES_RELATION),
                           catalog_query(USES_OPERATOR), catalog_query(USES_TYPE),
                           catalog_fingerprint_query()};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct judge *judge = judge_init(memory, 16, 1, NULL, NULL);
        assert_true(judge_size(16) <= sizeof memory);
        const struct verdict *verdict = judge_afresh(judge, sv_from_cstr(texts[i]), &standard);
        if (verdict->is != VERDICT_READ)
            fail_msg("%s: %s", verdict_reason_name(verdict->reason), verdict->subject);
    }
    assert_null(catalog_query(USES_WITH));
}

/* A name on the list is there because its function is volatile; some came after PostgreSQL 15. */
static void catalog_query__harmless_functions_are_volatile(void **state)
{
    (void)state;
    size_t count = 0, newer = 0;
    for (const char *const *name = catalog_harmless(); *name != NULL; name++, count++) {
        const char letter = catalog_builtin_function(sv_from_cstr(*name));
        if (letter == '\0')
            newer++;
        else
            assert_int_equal(letter, 'v');
        assert_non_null(strstr(catalog_query(USES_RELATION), *name));
    }
    assert_true(count > 10 && newer == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(catalog_query__what_is_asked_is_itself_a_read),
        cmocka_unit_test(catalog_query__harmless_functions_are_volatile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
