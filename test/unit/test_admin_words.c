/*
 * What somebody types at the console.
 */
#include "unit.h"

#include <string.h>

#include "proxy/admin_words.h"

static void admin_words__commands_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *verb, *argument, *value; /* NULL value: none */
    } cases[] = {
        {"SHOW POOLS", "SHOW", "POOLS", NULL},
        {"  show\n\tpools ; ", "show", "pools", NULL},
        {"PAUSE", "PAUSE", "", NULL},
        {"pause;", "pause", "", NULL},
        {"PAUSE \"my \"\"db\"\"\"", "PAUSE", "my \"db\"", NULL},
        {"KILL_CLIENT 12", "KILL_CLIENT", "12", NULL},
        {"SET pool_size = 30", "SET", "pool_size", "30"},
        {"set pools.pool_size=30;", "set", "pools.pool_size", "30"},
        {"SET a TO 'x''y z'", "SET", "a", "x'y z"},
        {"SET a to x", "SET", "a", "x"},
        {"SET a TO'x'", "SET", "a", "x"},
        {"SET a = 10%", "SET", "a", "10%"},
        {"SET a = /etc/x,y", "SET", "a", "/etc/x,y"},
        {"SET a = ''", "SET", "a", ""},
        {"SET a = \"b c\"", "SET", "a", "b c"},
        {"-- a comment\nSHOW /* another */ POOLS -- one more", "SHOW", "POOLS", NULL},
        {"SHOW TRANSACTION  ISOLATION LEVEL", "SHOW", "TRANSACTION ISOLATION LEVEL", NULL},
        {"PAUSE a-b.c", "PAUSE", "a-b.c", NULL},
        {"PAUSE a--b", "PAUSE", "a", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct admin_words words;
        const char *value = cases[i].value;
        assert_int_equal(admin_words_parse(&words, sv_from_cstr(cases[i].text)), ADMIN_WORDS_OK);
        assert_string_equal(words.verb, cases[i].verb);
        assert_string_equal(words.argument, cases[i].argument);
        assert_int_equal(words.has_value, value != NULL);
        assert_string_equal(words.value, value != NULL ? value : "");
    }
}

static void admin_words__what_is_no_command_is_said_to_be_none(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum admin_words_rc rc;
    } cases[] = {
        {"", ADMIN_WORDS_NONE},
        {" ; ", ADMIN_WORDS_NONE},
        {"/* open", ADMIN_WORDS_NONE},
        {"SHOW POOLS; SHOW STATS", ADMIN_WORDS_BAD},
        {";;", ADMIN_WORDS_BAD},
        {"PAUSE a b", ADMIN_WORDS_BAD},
        {"PAUSE 'a'", ADMIN_WORDS_BAD},
        {"PAUSE \"a", ADMIN_WORDS_BAD},
        {"SET a", ADMIN_WORDS_BAD},
        {"SET a b", ADMIN_WORDS_BAD},
        {"SET a =", ADMIN_WORDS_BAD},
        {"SET a = b c", ADMIN_WORDS_BAD},
        {"SET a = 'b", ADMIN_WORDS_BAD},
        {"SET a toast", ADMIN_WORDS_BAD},
        {"SHOW (", ADMIN_WORDS_BAD},
        {"=", ADMIN_WORDS_BAD},
        {"a_verb_that_is_longer_than_any_of_them", ADMIN_WORDS_LENGTH},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct admin_words words;
        assert_int_equal(admin_words_parse(&words, sv_from_cstr(cases[i].text)), cases[i].rc);
    }
}

static void admin_words__words_have_a_longest(void **state)
{
    (void)state;
    struct admin_words words;
    char text[ADMIN_VALUE_SIZE + 64];
    for (size_t size = 100; size < 200; size++) {
        memcpy(text, "SHOW ", 5);
        memset(text + 5, 'x', size);
        bool fits = size < ADMIN_ARGUMENT_SIZE;
        assert_int_equal(admin_words_parse(&words, sv_from(text, 5 + size)),
                         fits ? ADMIN_WORDS_OK : ADMIN_WORDS_LENGTH);
        text[5 + size / 2] = ' '; /* as two words it has the same limit */
        assert_int_equal(admin_words_parse(&words, sv_from(text, 5 + size)),
                         fits ? ADMIN_WORDS_OK : ADMIN_WORDS_LENGTH);
    }
    memcpy(text, "SET a='", 7);
    memset(text + 7, 'x', ADMIN_VALUE_SIZE);
    text[7 + ADMIN_VALUE_SIZE] = '\'';
    assert_int_equal(admin_words_parse(&words, sv_from(text, 8 + ADMIN_VALUE_SIZE)),
                     ADMIN_WORDS_LENGTH);
    text[6 + ADMIN_VALUE_SIZE] = '\'';
    assert_int_equal(admin_words_parse(&words, sv_from(text, 7 + ADMIN_VALUE_SIZE)),
                     ADMIN_WORDS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(admin_words__commands_are_taken_apart),
        cmocka_unit_test(admin_words__what_is_no_command_is_said_to_be_none),
        cmocka_unit_test(admin_words__words_have_a_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
