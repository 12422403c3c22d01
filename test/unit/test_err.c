#include "unit.h"

#include <string.h>
#include <wchar.h>

#include "base/err.h"

static void err__set_fills_every_field(void **state)
{
    (void)state;
    struct hf_err err;
    memset(&err, 0x5a, sizeof err);
    assert_int_equal(err_set(&err, HF_RC_LIMIT, "53300", "too many %s", "clients"), HF_RC_LIMIT);
    assert_string_equal(err.sqlstate, "53300");
    assert_string_equal(err.message, "too many clients");
    assert_string_equal(err.detail, "");
    assert_string_equal(err.hint, "");
    assert_string_equal(err.file + strlen(err.file) - strlen("test_err.c"), "test_err.c");
    assert_true(err.line > 0);
}

static void err__detail_hint_and_context_keep_the_code(void **state)
{
    (void)state;
    struct hf_err err;
    err_set(&err, HF_RC_IO, NULL, "could not read");
    assert_int_equal(err_detail(&err, "%d of %d bytes came", 3, 9), HF_RC_IO);
    assert_int_equal(err_hint(&err, "try again"), HF_RC_IO);
    assert_int_equal(err_while(&err, "opening \"%s\"", "x"), HF_RC_IO);
    assert_string_equal(err.sqlstate, "XX000");
    assert_string_equal(err.message, "opening \"x\": could not read");
    assert_string_equal(err.detail, "3 of 9 bytes came");
    assert_string_equal(err.hint, "try again");
}

static void err__long_text_is_cut_and_terminated(void **state)
{
    (void)state;
    struct hf_err err;
    char longer[600];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    err_set(&err, HF_RC_INVALID, "42601", "%s", longer);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    err_while(&err, "%s", longer);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

static void err__cleared_it_is_nobodys_failure(void **state)
{
    (void)state;
    struct hf_err err, empty;
    memset(&empty, 0, sizeof empty);
    err_set(&err, HF_RC_IO, "58030", "could not read");
    err_clear(&err);
    assert_int_equal(err.rc, HF_OK);
    assert_memory_equal(&err, &empty, sizeof err);
}

static void err__text_that_cannot_be_printed_is_left_out(void **state)
{
    (void)state;
    /* The one failure of vsnprintf: a wide character that the locale, here C, does not have. */
    static const wchar_t euro[] = {0x20ac, 0};
    struct hf_err err;
    assert_int_equal(err_set(&err, HF_RC_IO, "58030", "costs %ls", euro), HF_RC_IO);
    assert_string_equal(err.message, "");
    assert_string_equal(err.sqlstate, "58030");
}

static void err__a_missing_err_still_returns_a_failure(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, HF_RC_PEER, "08P01", "x"), HF_RC_PEER);
    assert_int_not_equal(err_detail(NULL, "x"), HF_OK);
    assert_int_not_equal(err_hint(NULL, "x"), HF_OK);
    assert_int_not_equal(err_while(NULL, "x"), HF_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err__set_fills_every_field),
        cmocka_unit_test(err__detail_hint_and_context_keep_the_code),
        cmocka_unit_test(err__long_text_is_cut_and_terminated),
        cmocka_unit_test(err__cleared_it_is_nobodys_failure),
        cmocka_unit_test(err__text_that_cannot_be_printed_is_left_out),
        cmocka_unit_test(err__a_missing_err_still_returns_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
