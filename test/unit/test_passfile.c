#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/file.h"
#include "os/passfile.h"

static const struct passfile_key key = {
    .host = SV_INIT("db1"),
    .port = SV_INIT("5432"),
    .database = SV_INIT("app"),
    .user = SV_INIT("bob"),
};

static void passfile__the_first_line_that_fits_is_the_one(void **state)
{
    (void)state;
    static const struct {
        const char *text, *password;
    } cases[] = {
        {"", ""},
        {"db1:5432:app:bob:x", "x"},
        {"db1:5432:app:bob:x\n", "x"},
        {"db1:5432:app:bob:x\r\n", "x"},
        {"db1:5432:app:bob:x:comment", "x"},
        {"db1:5432:app:bob:", ""},
        {"*:*:*:*:x\ndb1:5432:app:bob:y", "x"},
        {"db2:5432:app:bob:x\ndb1:5433:app:bob:x\ndb1:5432:ap:bob:x\ndb1:5432:app:bo:x\n"
         "db1:5432:app:bob:y",
         "y"},
        {"#db1:5432:app:bob:x\n*:5432:*:bob:y", "y"},
        {"db1:5432:app:bob:a\\:b\\\\c\\d", "a:b\\cd"},
        {"db\\1:5432:app:bob:x", "x"},
        {"\\*:5432:app:bob:x", ""},
        {"**:5432:app:bob:x", ""},
        {"db1:5432:app", ""},
        {"db1:5432:app:bob", ""},
        {"db1", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct secret password = {0};
        struct hf_err err;
        assert_int_equal(passfile_search(sv_from_cstr(cases[i].text), &key, &password, &err),
                         HF_OK);
        if (!sv_eq(secret_reveal(&password), sv_from_cstr(cases[i].password)))
            fail_msg("case %zu: \"%s\"", i, password.data);
    }
}

static void passfile__what_is_too_long_is_refused(void **state)
{
    (void)state;
    char text[2048];
    struct secret password = {0};
    struct hf_err err;
    snprintf(text, sizeof text, "*:*:*:*:%0300d", 0);
    assert_int_equal(passfile_search(sv_from_cstr(text), &key, &password, &err), HF_RC_LIMIT);
    snprintf(text, sizeof text, "*:*:*:*:%0600d", 0);
    assert_int_equal(passfile_search(sv_from_cstr(text), &key, &password, &err), HF_RC_LIMIT);
    snprintf(text, sizeof text, "%0600d:*:*:*:x", 0);
    assert_int_equal(passfile_search(sv_from_cstr(text), &key, &password, &err), HF_OK);
    assert_false(secret_is_set(&password));
}

static void passfile__a_file_that_others_may_read_is_refused(void **state)
{
    (void)state;
    char dir[] = "/tmp/test_passfile.XXXXXX", path[64];
    struct secret password = {0};
    struct hf_err err;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/pgpass", dir);
    assert_int_equal(passfile_find(path, &key, &password, &err), HF_OK);
    assert_false(secret_is_set(&password));
    assert_int_equal(file_write(path, "*:*:*:*:x\n", 0644, &err), HF_OK);
    assert_int_equal(passfile_find(path, &key, &password, &err), HF_RC_DENIED);
    assert_non_null(strstr(err.hint, "chmod 600"));
    assert_false(secret_is_set(&password));
    assert_int_equal(file_write(path, "*:*:*:*:x\n", 0600, &err), HF_OK);
    assert_int_equal(passfile_find(path, &key, &password, &err), HF_OK);
    assert_true(sv_eq(secret_reveal(&password), SV("x")));
    assert_int_equal(passfile_find("/dev/null", &key, &password, &err), HF_OK);
    assert_int_equal(file_remove_tree(dir, &err), HF_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passfile__the_first_line_that_fits_is_the_one),
        cmocka_unit_test(passfile__what_is_too_long_is_refused),
        cmocka_unit_test(passfile__a_file_that_others_may_read_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
