#include "unit.h"

#include "cli/subcommand.h"

#include <ctype.h>
#include <string.h>

#include "base/opt_check.h"

static void subcommand__every_row_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < subcommand_count(); i++) {
        const struct subcommand *row = subcommand_at(i);
        struct hf_err err;
        assert_ptr_equal(subcommand_find(sv_from_cstr(row->name)), row);
        assert_non_null(row->run);
        assert_true(islower((unsigned char)row->summary[0]));
        assert_int_not_equal(row->summary[strlen(row->summary) - 1], '.');
        assert_int_equal(row->description[strlen(row->description) - 1], '.');
        assert_int_equal(row->operand == NULL, row->operand_sentence == NULL);
        if (opt_check(&row->options, row->config_size, &err) != HF_OK)
            fail_msg("%s: %s", row->name, err.message);
        for (size_t k = 0; k < sizeof row->examples / sizeof row->examples[0]; k++) {
            const struct subcommand_example *example = &row->examples[k];
            assert_int_equal(example->line == NULL, example->sentence == NULL);
            if (example->line == NULL)
                continue;
            assert_non_null(strstr(example->line, row->name));
            assert_int_equal(example->sentence[strlen(example->sentence) - 1], '.');
        }
    }
}

static void subcommand__a_misspelt_name_gets_a_suggestion_that_exists(void **state)
{
    (void)state;
    const struct {
        struct sv name;
        const char *hint;
    } cases[] = {
        {SV_INIT("dmeo"), "Did you mean \"demo\"?"},
        {SV_INIT("HLP"), "Did you mean \"help\"?"},
        {SV_INIT("something-else"), "holdfast --help lists them."},
        {SV_INIT(""), "holdfast --help lists them."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hf_err err;
        assert_null(subcommand_find(cases[i].name));
        assert_int_equal(subcommand_unknown(cases[i].name, &err), HF_RC_INVALID);
        assert_non_null(strstr(err.message, "unknown subcommand \""));
        assert_string_equal(err.hint, cases[i].hint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subcommand__every_row_is_sound),
        cmocka_unit_test(subcommand__a_misspelt_name_gets_a_suggestion_that_exists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
