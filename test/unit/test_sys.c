#include "unit.h"

#include "os/sys.h"

#include <errno.h>
#include <string.h>

static void sys__errors_become_words_codes_and_hints(void **state)
{
    (void)state;
    const struct {
        int error_number;
        enum hf_rc rc;
        const char *sqlstate;
        const char *message;
        bool has_hint;
    } cases[] = {
        {ENOENT, HF_RC_MISSING, "58P01", "could not open \"x\": no such file or directory", false},
        {EACCES, HF_RC_DENIED, "42501", "could not open \"x\": permission denied", false},
        {ENOSPC, HF_RC_AGAIN, "53100", "could not open \"x\": the disk is full", true},
        {EMFILE, HF_RC_LIMIT, "53000", "could not open \"x\": too many open files in this program",
         true},
        {EXDEV, HF_RC_IO, "58030", "could not open \"x\": Invalid cross-device link", false},
        {123456, HF_RC_IO, "58030", "could not open \"x\": unknown error", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hf_err err;
        assert_int_equal(sys_fail(&err, cases[i].error_number, "could not open \"%s\"", "x"),
                         cases[i].rc);
        assert_string_equal(err.sqlstate, cases[i].sqlstate);
        assert_string_equal(err.message, cases[i].message);
        assert_int_equal(err.hint[0] != '\0', cases[i].has_hint);
        assert_non_null(strstr(err.file, "test_sys.c"));
    }
    assert_int_equal(sys_fail(NULL, ENOSPC, "x"), HF_RC_AGAIN);
}

static void sys__a_long_message_still_says_something(void **state)
{
    (void)state;
    struct hf_err err;
    char longer[1000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(sys_fail(&err, ENOSPC, "%s", longer), HF_RC_AGAIN);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sys__errors_become_words_codes_and_hints),
        cmocka_unit_test(sys__a_long_message_still_says_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
