#include "unit.h"

#include "client/tx_text.h"
#include "holdfast.h"

static void tx_text__begin_says_what_was_asked_for(void **state)
{
    (void)state;
    static const struct {
        int32_t isolation;
        bool is_read_only, is_deferrable;
        const char *text;
    } cases[] = {
        {HF_ISOLATION_DEFAULT, false, false, "BEGIN"},
        {HF_READ_COMMITTED, false, false, "BEGIN ISOLATION LEVEL READ COMMITTED"},
        {HF_REPEATABLE_READ, true, false, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
        {HF_SERIALIZABLE, true, true, "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE"},
        {HF_ISOLATION_DEFAULT, true, false, "BEGIN READ ONLY"},
    };
    char out[TX_TEXT_SIZE];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(
            tx_text_begin(out, cases[i].isolation, cases[i].is_read_only, cases[i].is_deferrable),
            cases[i].text);
}

static void tx_text__savepoints_have_names_of_their_own(void **state)
{
    (void)state;
    char out[TX_TEXT_SIZE];
    assert_string_equal(tx_text_savepoint(out, "SAVEPOINT", 1), "SAVEPOINT hf_1");
    assert_string_equal(tx_text_savepoint(out, "ROLLBACK TO SAVEPOINT", UINT32_MAX),
                        "ROLLBACK TO SAVEPOINT hf_4294967295");
}

static void tx_text__only_what_is_certainly_one_statement_is_single(void **state)
{
    (void)state;
    assert_true(tx_text_is_single("SELECT 1"));
    assert_true(tx_text_is_single("SELECT 1;"));
    assert_true(tx_text_is_single("SELECT 1 ; \n"));
    assert_true(tx_text_is_single(""));
    assert_false(tx_text_is_single("SELECT 1; SELECT 2"));
    assert_false(tx_text_is_single("SELECT 1;;"));
    assert_false(tx_text_is_single("SELECT ';' || x"));
    assert_false(tx_text_is_single("SELECT 1; -- and no more"));
}

static void tx_text__changes_are_known_by_their_first_word(void **state)
{
    (void)state;
    assert_true(tx_text_is_change("INSERT INTO t VALUES (1)"));
    assert_true(tx_text_is_change("\n  update t SET a = 1"));
    assert_true(tx_text_is_change("Delete\tFROM t"));
    assert_true(tx_text_is_change("MERGE INTO t USING s ON true WHEN MATCHED THEN DO NOTHING"));
    assert_false(tx_text_is_change("SELECT 1"));
    assert_false(tx_text_is_change("inserted"));
    assert_false(tx_text_is_change(""));
    assert_false(tx_text_is_change("WITH x AS (INSERT INTO t VALUES (1)) SELECT 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tx_text__begin_says_what_was_asked_for),
        cmocka_unit_test(tx_text__savepoints_have_names_of_their_own),
        cmocka_unit_test(tx_text__only_what_is_certainly_one_statement_is_single),
        cmocka_unit_test(tx_text__changes_are_known_by_their_first_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
