#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "sql/lex.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const char kind_letters[] = {
    [LEX_WORD] = 'w',   [LEX_QUOTED] = 'q',     [LEX_QUOTED_ESC] = 'Q', [LEX_INTEGER] = 'i',
    [LEX_NUMBER] = 'n', [LEX_STRING] = 's',     [LEX_STRING_ESC] = 'S', [LEX_NATIONAL] = 'N',
    [LEX_BITS] = 'b',   [LEX_HEX_BITS] = 'x',   [LEX_PARAM] = '$',      [LEX_OPERATOR] = 'o',
    [LEX_OPEN] = '(',   [LEX_CLOSE] = ')',      [LEX_COMMA] = ',',      [LEX_SEMICOLON] = ';',
    [LEX_DOT] = '.',    [LEX_DOTS] = 'd',       [LEX_COLON] = ':',      [LEX_CAST] = 'c',
    [LEX_OTHER] = '?',  [LEX_OPEN_ENDED] = '!',
};

/* "w[select] i[1]" */
static void describe(struct sv text, const struct lex_rules *rules, char *out, size_t size)
{
    struct lex lex;
    struct lex_token token;
    size_t used = 0;
    out[0] = '\0';
    lex_init(&lex, text, rules);
    while (lex_next(&lex, &token) != LEX_END) {
        const struct sv part = lex_text(&lex, &token);
        const int n = snprintf(out + used, size - used, "%s%c[%.*s]", used > 0 ? " " : "",
                               kind_letters[token.kind], (int)part.size, part.data);
        assert_in_range(n, 1, size - used - 1);
        used += (size_t)n;
    }
}

struct lexed {
    const char *text;
    const char *tokens;
};

static void check(const struct lexed *cases, size_t count, const struct lex_rules *rules)
{
    char out[1024];
    for (size_t i = 0; i < count; i++) {
        describe(sv_from_cstr(cases[i].text), rules, out, sizeof out);
        if (strcmp(out, cases[i].tokens) != 0)
            fail_msg("%s\n  gives    %s\n  and not  %s", cases[i].text, out, cases[i].tokens);
    }
}

static const struct lex_rules standard = {0};

static void lex__words_and_names_end_where_the_server_ends_them(void **state)
{
    (void)state;
    static const struct lexed cases[] = {
        {"select a1_$b", "w[select] w[a1_$b]"},
        {"_x \xc3\xa4\xc3\xb6", "w[_x] w[\xc3\xa4\xc3\xb6]"},
        {"\"a\"\"b\".\"c d\"", "q[\"a\"\"b\"] .[.] q[\"c d\"]"},
        {"U&\"d!0061\" UESCAPE '!'", "Q[U&\"d!0061\"] w[UESCAPE] s['!']"},
        {"u & \"x\"", "w[u] o[&] q[\"x\"]"},
        {"a.b . c..d", "w[a] .[.] w[b] .[.] w[c] d[..] w[d]"},
        {"a$$b$$", "w[a$$b$$]"},
        {"be'x'", "w[be] s['x']"},
    };
    check(cases, COUNT(cases), &standard);
}

static void lex__strings_of_all_kinds(void **state)
{
    (void)state;
    static const struct lexed cases[] = {
        {"'' 'it''s' '\\'", "s[''] s['it''s'] s['\\']"},
        {"E'a\\'b' e'\\\\'", "s[E'a\\'b'] s[e'\\\\']"},
        {"B'01' x'1F' N'n''n' U&'\\0061'", "b[B'01'] x[x'1F'] N[N'n''n'] S[U&'\\0061']"},
        {"b'1''0'", "b[b'1'] s['0']"},
        {"$$a$b$$ $t$ $$ $T$ $t$", "s[$$a$b$$] s[$t$ $$ $T$ $t$]"},
        {"$a$x$b$a$", "s[$a$x$b$a$]"},
        {"$\xc3\xa4$x$\xc3\xa4$", "s[$\xc3\xa4$x$\xc3\xa4$]"},
        {"$1a$ $12 $1$$x$$", "$[$1] w[a$] $[$12] $[$1] s[$$x$$]"},
        {"$ a", "?[$] w[a]"},
        {"$1x", "$[$1] w[x]"},
    };
    check(cases, COUNT(cases), &standard);
}

static void lex__a_string_goes_on_after_a_line_end(void **state)
{
    (void)state;
    static const struct lexed cases[] = {
        {"'a'\n'b'", "s['a'\n'b']"},
        {"'a' \r\n\t 'b'", "s['a' \r\n\t 'b']"},
        {"'a' -- note\n 'b'", "s['a' -- note\n 'b']"},
        {"'a'\n-- note\n'b'", "s['a'\n-- note\n'b']"},
        {"'a' 'b'", "s['a'] s['b']"},
        {"'a' /* \n */ 'b'", "s['a'] s['b']"},
        {"'a'\n/* */ 'b'", "s['a'] s['b']"},
        {"E'a'\n'\\''", "s[E'a'\n'\\'']"},
        {"b'0'\n'1'", "b[b'0'\n'1']"},
        {"$$a$$\n'b'", "s[$$a$$] s['b']"},
        {"'a'\nE'b'", "s['a'] s[E'b']"},
        {"'a' -- note", "s['a']"},
    };
    check(cases, COUNT(cases), &standard);
}

static void lex__backslashes_escape_where_the_server_says_so(void **state)
{
    (void)state;
    static const struct lex_rules old = {.backslash_escapes = true};
    static const struct lexed cases[] = {
        {"'a\\'b' c", "s['a\\'b'] w[c]"},
        {"n'\\'' x", "N[n'\\''] w[x]"},
        {"U&'\\'", "S[U&'\\']"},
        {"\"\\\" x", "q[\"\\\"] w[x]"},
    };
    check(cases, COUNT(cases), &old);
}

static void lex__numbers(void **state)
{
    (void)state;
    static const struct lexed cases[] = {
        {"1 12 1.5 .5 1. 1e10 1.5E-3 .5e+1", "i[1] i[12] n[1.5] n[.5] n[1.] n[1e10] n[1.5E-3] "
                                             "n[.5e+1]"},
        {"1e 1e+ 1.e", "i[1] w[e] i[1] w[e] o[+] n[1.] w[e]"},
        {"1..2", "i[1] d[..] i[2]"},
        {"0x1F 0o17 0b1 0x_1 1_000 1_000.5_0", "i[0x1F] i[0o17] i[0b1] i[0x_1] i[1_000] "
                                               "n[1_000.5_0]"},
        {"0xg 1__0 1_ 1._5", "i[0] w[xg] i[1] w[__0] i[1] w[_] n[1.] w[_5]"},
        {"1from", "i[1] w[from]"},
        {"a.1", "w[a] n[.1]"},
        {"1.2.3", "n[1.2] n[.3]"},
    };
    check(cases, COUNT(cases), &standard);
}

static void lex__operators_end_where_comments_and_signs_begin(void **state)
{
    (void)state;
    static const struct lexed cases[] = {
        {"a<>b a!=b a>=b a=>b", "w[a] o[<>] w[b] w[a] o[!=] w[b] w[a] o[>=] w[b] w[a] o[=>] w[b]"},
        {"1=-1", "i[1] o[=] o[-] i[1]"},
        {"1@-1 *+- <-", "i[1] o[@-] i[1] o[*] o[+] o[-] o[<] o[-]"},
        {"a/b a-b a- -b", "w[a] o[/] w[b] w[a] o[-] w[b] w[a] o[-] o[-] w[b]"},
        {"a+/* x */b", "w[a] o[+] w[b]"},
        {"a+--x\nb", "w[a] o[+] w[b]"},
        {"a*/* x */ b", "w[a] o[*] w[b]"},
        {"j->>'k' j ?| a #>> b", "w[j] o[->>] s['k'] w[j] o[?|] w[a] o[#>>] w[b]"},
        {"a::b a : : b c:=1", "w[a] c[::] w[b] w[a] :[:] :[:] w[b] w[c] :[:=] i[1]"},
        {"([{}])", "([(] ([[] ?[{] ?[}] )[]] )[)]"},
        {"a,b;", "w[a] ,[,] w[b] ;[;]"},
    };
    check(cases, COUNT(cases), &standard);
}

static void lex__comments_nest_and_are_nothing(void **state)
{
    (void)state;
    static const struct lexed cases[] = {
        {"a /* b /* c */ d */ e", "w[a] w[e]"},
        {"a -- b\nc -- d\re -- f", "w[a] w[c] w[e]"},
        {"/**//***/a/*/**/*/", "w[a]"},
        {"-- only", ""},
        {" \t\f\v\r\n", ""},
        {"", ""},
    };
    check(cases, COUNT(cases), &standard);
}

static void lex__what_has_no_end_reaches_to_the_end(void **state)
{
    (void)state;
    static const struct lexed cases[] = {
        {"a 'b c", "w[a] ![\'b c]"},
        {"E'\\", "![E'\\]"},
        {"a \"b", "w[a] ![\"b]"},
        {"U&\"b", "![U&\"b]"},
        {"a /* b /* */ c", "w[a] ![/* b /* */ c]"},
        {"$x$ $x", "![$x$ $x]"},
        {"'a'\n'b", "!['a'\n'b]"},
    };
    check(cases, COUNT(cases), &standard);
}

/* Whatever the bytes are, tokens come in order, do not overlap, are not empty, and end. */
static void lex__any_bytes_give_tokens(void **state)
{
    (void)state;
    static const char alphabet[] = "a1'\"$-/*\\.:;eExXbBuU&_ \n@+<([])\x80\x00,";
    struct rng rng;
    rng_init(&rng, 4711);
    for (int round = 0; round < 20000; round++) {
        char text[24];
        const size_t size = (size_t)rng_below(&rng, sizeof text);
        for (size_t i = 0; i < size; i++)
            text[i] = alphabet[rng_below(&rng, sizeof alphabet - 1)];
        const struct lex_rules rules = {.backslash_escapes = round % 2 == 0};
        struct lex lex;
        struct lex_token token;
        size_t at = 0;
        lex_init(&lex, sv_from(text, size), &rules);
        while (lex_next(&lex, &token) != LEX_END) {
            assert_true(token.begin >= at && token.end > token.begin && token.end <= size);
            at = token.end;
        }
        assert_int_equal(lex_next(&lex, &token), LEX_END);
    }
}

static void lex__the_first_comment_is_found_at_the_beginning_only(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *comment;
    } cases[] = {
        {"/* a */ select", " a "},
        {" \n/*a*/", "a"},
        {"/*a/*b*/c*/", "a/*b*/c"},
        {"select /* a */", ""},
        {"-- x\n/* a */", ""},
        {"/* a", ""},
        {"", ""},
        {"/**/", ""},
        {"; /* a */", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct sv found = lex_first_comment(sv_from_cstr(cases[i].text));
        assert_true(sv_eq(found, sv_from_cstr(cases[i].comment)));
    }
}

static void lex__encodings_whose_bytes_can_mislead_are_known(void **state)
{
    (void)state;
    static const char *const safe[] = {"UTF8", "utf8", "LATIN1", "EUC_JP", "SQL_ASCII", "WIN1252"};
    static const char *const unsafe[] = {"SJIS",  "BIG5",           "GBK", "UHC", "GB18030",
                                         "JOHAB", "SHIFT_JIS_2004", "",    "UTF9"};
    for (size_t i = 0; i < COUNT(safe); i++)
        assert_true(lex_encoding_is_safe(sv_from_cstr(safe[i])));
    for (size_t i = 0; i < COUNT(unsafe); i++)
        assert_false(lex_encoding_is_safe(sv_from_cstr(unsafe[i])));
}

static void lex__rules_come_from_what_the_server_reports(void **state)
{
    (void)state;
    struct lex_rules rules = lex_rules_of(SV("UTF8"), SV("on"));
    assert_true(!rules.backslash_escapes && !rules.is_unreadable);
    rules = lex_rules_of(SV("SJIS"), SV("off"));
    assert_true(rules.backslash_escapes && rules.is_unreadable);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lex__words_and_names_end_where_the_server_ends_them),
        cmocka_unit_test(lex__strings_of_all_kinds),
        cmocka_unit_test(lex__a_string_goes_on_after_a_line_end),
        cmocka_unit_test(lex__backslashes_escape_where_the_server_says_so),
        cmocka_unit_test(lex__numbers),
        cmocka_unit_test(lex__operators_end_where_comments_and_signs_begin),
        cmocka_unit_test(lex__comments_nest_and_are_nothing),
        cmocka_unit_test(lex__what_has_no_end_reaches_to_the_end),
        cmocka_unit_test(lex__any_bytes_give_tokens),
        cmocka_unit_test(lex__the_first_comment_is_found_at_the_beginning_only),
        cmocka_unit_test(lex__encodings_whose_bytes_can_mislead_are_known),
        cmocka_unit_test(lex__rules_come_from_what_the_server_reports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
