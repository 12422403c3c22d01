#include "unit.h"

#include <string.h>

#include "base/secret.h"

static void secret__prints_as_three_stars(void **state)
{
    (void)state;
    struct secret secret = {0};
    assert_false(secret_is_set(&secret));
    assert_string_equal(secret_print(&secret), "");
    assert_int_equal(secret_set(&secret, SV("open sesame"), NULL), HF_OK);
    assert_true(secret_is_set(&secret));
    assert_string_equal(secret_print(&secret), "***");
    assert_true(sv_eq(secret_reveal(&secret), SV("open sesame")));
    assert_string_equal(secret_reveal(&secret).data, "open sesame");
}

static void secret__an_unfit_text_keeps_the_old_one_and_is_not_quoted(void **state)
{
    (void)state;
    struct secret secret = {0};
    struct hf_err err;
    char text[SECRET_SIZE_MAX + 1];
    memset(text, 'q', sizeof text);
    assert_int_equal(secret_set(&secret, sv_from(text, SECRET_SIZE_MAX), &err), HF_OK);
    assert_int_equal(secret_set(&secret, sv_from(text, sizeof text), &err), HF_RC_LIMIT);
    assert_string_equal(err.message, "the secret has 256 bytes, at most 255 are allowed");
    assert_int_equal(secret_set(&secret, SV("qq\0q"), &err), HF_RC_INVALID);
    assert_string_equal(err.message, "the secret contains a zero byte");
    assert_int_equal(secret_reveal(&secret).size, SECRET_SIZE_MAX);
    assert_int_equal(strlen(secret.data), SECRET_SIZE_MAX);
}

static void secret__wiping_and_replacing_leave_nothing_of_the_old_one(void **state)
{
    (void)state;
    struct secret secret = {0}, expected = {0};
    assert_int_equal(secret_set(&secret, SV("a long password"), NULL), HF_OK);
    assert_int_equal(secret_set(&secret, SV("short"), NULL), HF_OK);
    expected.size = 5;
    memcpy(expected.data, "short", 5);
    assert_memory_equal(&secret, &expected, sizeof secret);
    memset(&expected, 0, sizeof expected);
    secret_wipe(&secret);
    assert_memory_equal(&secret, &expected, sizeof secret);
    assert_int_equal(secret_set(&secret, SV("x"), NULL), HF_OK);
    assert_int_equal(secret_set(&secret, SV(""), NULL), HF_OK);
    assert_memory_equal(&secret, &expected, sizeof secret);
}

static void secret__compares_by_content(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool is_equal;
    } cases[] = {
        {"abc", "abc", true}, {"abc", "abd", false}, {"xbc", "abc", false},
        {"abc", "ab", false}, {"", "", true},        {"", "a", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct secret a = {0}, b = {0};
        assert_int_equal(secret_set(&a, sv_from_cstr(cases[i].a), NULL), HF_OK);
        assert_int_equal(secret_set(&b, sv_from_cstr(cases[i].b), NULL), HF_OK);
        assert_int_equal(secret_eq(&a, &b), cases[i].is_equal);
        assert_int_equal(secret_eq(&b, &a), cases[i].is_equal);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secret__prints_as_three_stars),
        cmocka_unit_test(secret__an_unfit_text_keeps_the_old_one_and_is_not_quoted),
        cmocka_unit_test(secret__wiping_and_replacing_leave_nothing_of_the_old_one),
        cmocka_unit_test(secret__compares_by_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
