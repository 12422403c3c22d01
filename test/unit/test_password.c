#include "unit.h"

#include <string.h>

#include "wire/password.h"

#define STORED "md59d792a3a8853c2411afb9163d088c036" /* secret, of ann */
#define ANSWER "md59009ce60b9ca97f1e752376843d1309e" /* to the salt 1 2 3 4 */

static void password__kinds_are_told_apart_by_their_text(void **state)
{
    (void)state;
    static const struct {
        const char *secret;
        enum password_kind kind;
    } cases[] = {
        {STORED, PASSWORD_MD5},
        {"md59d792a3a8853c2411afb9163d088c03", PASSWORD_PLAIN},
        {"md59D792a3a8853c2411afb9163d088c036", PASSWORD_PLAIN},
        {"md69d792a3a8853c2411afb9163d088c036", PASSWORD_PLAIN},
        {"md59d792a3a8853c2411afb9163d088c03g", PASSWORD_PLAIN},
        {"SCRAM-SHA-256$4096:x", PASSWORD_SCRAM},
        {"SCRAM-SHA-256", PASSWORD_PLAIN},
        {"secret", PASSWORD_PLAIN},
        {"", PASSWORD_PLAIN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(password_kind(sv_from_cstr(cases[i].secret)), cases[i].kind);
}

static void password__md5_as_postgresql_hashes_it(void **state)
{
    (void)state;
    char stored[PASSWORD_MD5_SIZE], answer[PASSWORD_MD5_SIZE];
    password_md5_store(SV("secret"), SV("ann"), stored);
    assert_memory_equal(stored, STORED, PASSWORD_MD5_SIZE);
    password_md5_answer(stored, "\1\2\3\4", answer);
    assert_memory_equal(answer, ANSWER, PASSWORD_MD5_SIZE);
}

static const struct {
    const char *secret, *user, *answer;
    bool is_good;
} md5_cases[] = {
    {"secret", "ann", ANSWER, true},
    {STORED, "ann", ANSWER, true},
    {STORED, "anyone", ANSWER, true}, /* the name is within */
    {"secret", "bob", ANSWER, false},
    {"Secret", "ann", ANSWER, false},
    {"secret", "ann", ANSWER "0", false},
    {"secret", "ann", "md59009ce60b9ca97f1e752376843d1309", false},
    {"secret", "ann", "md58009ce60b9ca97f1e752376843d1309e", false},
    {"secret", "ann", STORED, false},
    {"secret", "ann", "secret", false},
    {"secret", "ann", "", false},
    {"SCRAM-SHA-256$4096:x", "ann", ANSWER, false},
};

static void password__md5_answers_are_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof md5_cases / sizeof md5_cases[0]; i++)
        assert_int_equal(password_md5_check(sv_from_cstr(md5_cases[i].secret),
                                            sv_from_cstr(md5_cases[i].user), "\1\2\3\4",
                                            sv_from_cstr(md5_cases[i].answer)),
                         md5_cases[i].is_good);
    assert_false(password_md5_check(SV("secret"), SV("ann"), "\1\2\3\5", SV(ANSWER)));
}

static void password__plain_ones_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *secret, *password;
        bool is_good;
    } cases[] = {
        {"secret", "secret", true}, {STORED, "secret", true},
        {"secret", "secre", false}, {"secret", "secret!", false},
        {"secret", "", false},      {STORED, STORED, false},
        {STORED, "Secret", false},  {"SCRAM-SHA-256$1:x", "SCRAM-SHA-256$1:x", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(password_plain_check(sv_from_cstr(cases[i].secret), SV("ann"),
                                              sv_from_cstr(cases[i].password)),
                         cases[i].is_good);
}

static void password__no_secret_is_matched_by_nothing(void **state)
{
    (void)state;
    char stored[PASSWORD_MD5_SIZE], answer[PASSWORD_MD5_SIZE];
    password_md5_store(SV(""), SV("ann"), stored);
    password_md5_answer(stored, "\1\2\3\4", answer);
    assert_false(password_plain_check(SV(""), SV("ann"), SV("")));
    assert_false(password_md5_check(SV(""), SV("ann"), "\1\2\3\4", sv_from(answer, sizeof answer)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(password__kinds_are_told_apart_by_their_text),
        cmocka_unit_test(password__md5_as_postgresql_hashes_it),
        cmocka_unit_test(password__md5_answers_are_checked),
        cmocka_unit_test(password__plain_ones_are_checked),
        cmocka_unit_test(password__no_secret_is_matched_by_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
