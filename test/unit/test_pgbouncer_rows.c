#include "unit.h"

#include <string.h>

#include "config/pgbouncer_rows.h"

/* That a carried row has one of ours is asserted where it is looked up. */
static void pgbouncer_rows__every_setting_has_one_fate_and_words_for_it(void **state)
{
    (void)state;
    size_t count = 0;
    for (int section = 0; section < INI_SECTION_COUNT; section++) {
        const struct pgbouncer_table *table = pgbouncer_table((enum ini_section)section);
        for (size_t i = 0; i < table->count; i++) {
            const struct pgbouncer_row *row = &table->rows[i];
            const struct sv name = sv_from_cstr(row->name);
            assert_ptr_equal(pgbouncer_row_find((enum ini_section)section, name), row);
            if (row->fate == PGBOUNCER_CARRIED)
                assert_non_null(pgbouncer_row_ours(row));
            else if (!sv_eq(name, SV("host")) && !sv_eq(name, SV("port")))
                assert_int_equal(row->note[strlen(row->note) - 1], '.');
        }
        count += section == INI_PGBOUNCER ? table->count : 0;
    }
    assert_true(count > 100); /* PgBouncer 1.25 has 104, one of them for Windows */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pgbouncer_rows__every_setting_has_one_fate_and_words_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
