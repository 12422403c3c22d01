#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "proxy/ident.h"

static enum hf_rc read_maps(struct ident **ident, const char *text, struct mem *mem,
                            struct hf_err *err)
{
    *ident = NULL;
    return ident_new(ident, sv_from_cstr(text), mem, err);
}

static void ident__what_is_wrong_is_said_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"m", "line 1: there is no name of the system"},
        {"\n# x\nm name", "line 3: there is no user"},
        {"m name user more", "line 1: \"more\" is one word too many"},
        {"m a,b user", "line 1: there is more than one name of the system"},
        {"m \"\" user", "line 1: \"\" is no name"},
        {"m name \"\"", "line 1: \"\" is no name"},
        {"m name +group",
         "line 1: \"+group\" is a group, and the proxy does not know who is in it"},
        {"m / user", "line 1: \"\" is no regular expression here"},
        {"m /( user", "line 1: \"(\" has a branch that is nothing"},
        {"m /(a user", NULL},
        {"m /a\\d user", "line 1: \"a\\d\" has a backslash before a letter or digit"},
        {"m /(a)\\1 user", "line 1: \"(a)\\1\" has a backslash before a letter or digit"},
        {"m /a{1,9} user", "line 1: there is more than one name of the system"},
        {"m \"/a{1,9}\" user", "line 1: \"a{1,9}\" counts in braces"},
        {"m /(?:a) user", "line 1: \"(?:a)\" has a (?"},
        {"m /a++ user", "line 1: \"a++\" repeats what repeats"},
        {"m /(a*b)* user", "line 1: \"(a*b)*\" repeats what repeats"},
        {"m /((a?)b)+ user", "line 1: \"((a?)b)+\" repeats what repeats"},
        {"m /((((((((((a)))))))))) user",
         "line 1: \"((((((((((a))))))))))\" has parentheses too deep in others"},
        {"m /(a|)* user", "line 1: \"(a|)*\" has a branch that is nothing"},
        {"m /()* user", "line 1: \"()*\" has a branch that is nothing"},
        {"m /a| user", "line 1: \"a|\" has a branch that is nothing"},
        {"m /^* user", "line 1: \"^*\" repeats what is nothing"},
        {"m /(^a)* user", "line 1: \"(^a)*\" has ^ or $ in parentheses"},
        {"m /a)* user", "line 1: \"a)*\" closes a parenthesis that is not open"},
        {"m /^a$ \\1", "line 1: \"^a$\" has no parentheses for \\1 to stand for"},
        {"m name /[", NULL},
        {"m \"name user", "line 1: a quote is not closed"},
        {"include file x", "line 1: \"include\" is not supported"},
    };
    struct mem mem;
    struct ident *ident;
    struct hf_err err;
    mem_init(&mem, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (read_maps(&ident, cases[i].text, &mem, &err) == HF_OK)
            fail_msg("taken: %s", cases[i].text);
        if (cases[i].message == NULL)
            assert_non_null(strstr(err.message, "is no regular expression: "));
        else
            assert_string_equal(err.message, cases[i].message);
        assert_null(ident);
    }
    mem_deinit(&mem);
}

static const char maps[] = "# a comment\n"
                           "staff \"Ann Smith\" ann\n"
                           "staff /^(.*)@example\\.com$ \\1\n"
                           "staff /^adm-([a-z]+)$ \"dba_\\1_x\"\n"
                           "ops   root  all\n"
                           "ops   daemon \"all\"\n"
                           "many  bob  bob\n"
                           "many  bob  robert\n"
                           "many  jim  \"/^jim[0-9]+$\"\n"
                           "raw   plain \\1\n"
                           "loose /smith  smith\n"
                           "opt   /^x(y)?$ \"a\\1b\"\n"
                           "class /^([]*+[:alpha:]]+)-[^]*]*\\*+$ \\1\n";

static void ident__a_line_of_the_map_decides(void **state)
{
    (void)state;
    static const struct {
        const char *map, *name, *user;
        bool fits;
    } cases[] = {
        {"", "bob", "bob", true},
        {"", "bob", "Bob", false},
        {"", "bob", "bobby", false},
        {"", "", "", false},
        {"staff", "Ann Smith", "ann", true},
        {"staff", "Ann Smith", "Ann Smith", false},
        {"staff", "ann", "ann", false},
        {"staff", "eve@example.com", "eve", true},
        {"staff", "eve@example.com", "ann", false},
        {"staff", "eve@example.com.evil", "eve", false},
        {"staff", "eve@example-com", "eve", false},
        {"staff", "@example.com", "eve", false},
        {"staff", "adm-zoe", "dba_zoe_x", true},
        {"staff", "adm-zoe", "dba_zoe_", false},
        {"staff", "adm-zoe", "dba_zo_x", false},
        {"staff", "adm-", "dba__x", false},
        {"ops", "root", "whoever", true},
        {"ops", "Root", "whoever", false},
        {"ops", "daemon", "all", true},
        {"ops", "daemon", "whoever", false},
        {"many", "bob", "bob", true},
        {"many", "bob", "robert", true},
        {"many", "bob", "jim1", false},
        {"many", "jim", "jim42", true},
        {"many", "jim", "jim", false},
        {"raw", "plain", "\\1", true}, /* no regex: \1 is a name as any other */
        {"loose", "A. blacksmith", "smith", true},
        {"opt", "xy", "ayb", true},
        {"opt", "x", "ab", true}, /* parentheses that took no part stand for nothing */
        {"class", "b]*-+**", "b]*", true},
        {"class", "b]*-]*", "b]*", false},
        {"none", "bob", "bob", false},
    };
    struct mem mem;
    struct ident *ident;
    struct hf_err err;
    mem_init(&mem, 0);
    assert_int_equal(read_maps(&ident, maps, &mem, &err), HF_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (ident_match(ident, sv_from_cstr(cases[i].map), sv_from_cstr(cases[i].name),
                        sv_from_cstr(cases[i].user)) != cases[i].fits)
            fail_msg("case %zu: %s %s %s", i, cases[i].map, cases[i].name, cases[i].user);
    assert_true(ident_has(ident, SV("ops")));
    assert_false(ident_has(ident, SV("op")));
    ident_free(ident);
    mem_deinit(&mem);
}

static void ident__names_that_cannot_be_looked_at_whole_fit_nothing(void **state)
{
    (void)state;
    static char longest[IDENT_NAME_MAX + 1];
    struct mem mem;
    struct ident *ident;
    struct hf_err err;
    memset(longest, 'a', sizeof longest - 1);
    mem_init(&mem, 0);
    assert_int_equal(read_maps(&ident, "m /^a all\n", &mem, &err), HF_OK);
    assert_true(ident_match(ident, SV("m"), sv_from(longest, IDENT_NAME_MAX - 1), SV("u")));
    assert_false(ident_match(ident, SV("m"), sv_from(longest, IDENT_NAME_MAX), SV("u")));
    assert_false(ident_match(ident, SV("m"), SV("a\0b"), SV("u")));
    assert_false(ident_match(ident, SV("m"), SV("a"), SV("u\0v")));
    ident_free(ident);
    mem_deinit(&mem);
}

static void ident__maps_are_bounded(void **state)
{
    (void)state;
    static const char line[] = "m a b\n";
    static char text[(IDENT_LINES_MAX + 1) * (sizeof line - 1) + 1];
    struct mem mem;
    struct ident *ident;
    struct hf_err err;
    for (size_t i = 0; i <= IDENT_LINES_MAX; i++)
        memcpy(text + i * (sizeof line - 1), line, sizeof line);
    mem_init(&mem, 0);
    assert_int_equal(read_maps(&ident, text, &mem, &err), HF_RC_LIMIT);
    assert_string_equal(err.message, "line 10001: there are more than 10000 lines");
    assert_int_equal(ident_new(&ident, sv_from(text, IDENT_TEXT_MAX + 1), &mem, NULL), HF_RC_LIMIT);
    mem_deinit(&mem);
}

static void ident__every_allocation_may_fail(void **state)
{
    (void)state;
    struct mem mem;
    struct ident *ident;
    mem_init(&mem, 0);
    for (uint64_t nth = 1; nth <= 4; nth++) {
        mem_fail_nth(&mem, nth);
        assert_int_not_equal(read_maps(&ident, maps, &mem, NULL), HF_OK);
    }
    mem_fail_nth(&mem, 5);
    assert_int_equal(read_maps(&ident, maps, &mem, NULL), HF_OK);
    ident_free(ident);
    ident_free(NULL);
    mem_deinit(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ident__what_is_wrong_is_said_with_its_line),
        cmocka_unit_test(ident__a_line_of_the_map_decides),
        cmocka_unit_test(ident__names_that_cannot_be_looked_at_whole_fit_nothing),
        cmocka_unit_test(ident__maps_are_bounded),
        cmocka_unit_test(ident__every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
