#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "base/sv.h"

static void assert_sv(struct sv view, const char *expected)
{
    assert_int_equal(view.size, strlen(expected));
    assert_true(sv_eq(view, sv_from_cstr(expected)));
}

static void sv__views_compare_by_content(void **state)
{
    (void)state;
    char copy[] = "abc";
    assert_true(sv_eq(SV("abc"), sv_from_cstr(copy)));
    assert_false(sv_eq(SV("abc"), SV("abd")));
    assert_false(sv_eq(SV("abc"), SV("ab")));
    assert_true(sv_eq(sv_from_cstr(NULL), SV("")));
    assert_true(sv_eq(sv_from("a\0b", 3), SV("a\0b")));
    assert_false(sv_eq(SV("a\0b"), SV("a\0c")));
    static const struct sv in_a_table[] = {SV_INIT("one"), SV_INIT("")};
    assert_sv(in_a_table[0], "one");
    assert_sv(in_a_table[1], "");
}

static void sv__case_is_ignored_for_ascii_letters_only(void **state)
{
    (void)state;
    assert_true(sv_eq_nocase(SV("AbZ"), SV("aBz")));
    assert_false(sv_eq_nocase(SV("abc"), SV("abcd")));
    assert_false(sv_eq_nocase(SV("abc"), SV("abd")));
    assert_false(sv_eq_nocase(SV("@["), SV("`{"))); /* beside the letters, 32 apart */
    assert_false(sv_eq_nocase(SV("\xc4"), SV("\xe4")));
}

static void sv__prefixes_and_suffixes_are_found(void **state)
{
    (void)state;
    assert_true(sv_starts_with(SV("host=a"), SV("host")));
    assert_true(sv_starts_with(SV("host"), SV("")));
    assert_false(sv_starts_with(SV("host"), SV("hosts")));
    assert_false(sv_starts_with(SV("host"), SV("hast")));
    assert_true(sv_ends_with(SV("a.conf"), SV(".conf")));
    assert_true(sv_ends_with(SV("a"), SV("")));
    assert_true(sv_ends_with(sv_from_cstr(NULL), SV("")));
    assert_false(sv_ends_with(SV("conf"), SV(".conf")));
    assert_false(sv_ends_with(SV("a.cong"), SV(".conf")));
}

static void sv__find_take_and_drop_stay_inside(void **state)
{
    (void)state;
    assert_int_equal(sv_find(SV("a=b=c"), '='), 1);
    assert_int_equal(sv_find(SV("abc"), '='), 3);
    assert_int_equal(sv_find(sv_from_cstr(NULL), '='), 0);
    assert_sv(sv_take(SV("abc"), 2), "ab");
    assert_sv(sv_take(SV("abc"), 9), "abc");
    assert_sv(sv_drop(SV("abc"), 2), "c");
    assert_sv(sv_drop(SV("abc"), 0), "abc");
    assert_sv(sv_drop(SV("abc"), 9), "");
    assert_sv(sv_drop(sv_from_cstr(NULL), 9), "");
}

static void sv__trim_takes_blanks_from_both_ends_only(void **state)
{
    (void)state;
    assert_sv(sv_trim(SV(" \t\r\n a b \n")), "a b");
    assert_sv(sv_trim(SV("a")), "a");
    assert_sv(sv_trim(SV("  ")), "");
    assert_sv(sv_trim(sv_from_cstr(NULL)), "");
}

static void sv__split_gives_every_field_once(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *fields[4];
    } cases[] = {
        {"a,,b", {"a", "", "b", NULL}}, {"a,", {"a", "", NULL}},
        {",", {"", "", NULL}},          {"", {"", NULL}},
        {"abc", {"abc", NULL}},         {NULL, {NULL}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sv rest = sv_from_cstr(cases[i].text), field;
        size_t n = 0;
        while (sv_split(&rest, ',', &field)) {
            if (cases[i].fields[n] == NULL)
                fail_msg("too many fields in \"%s\"", cases[i].text);
            else
                assert_sv(field, cases[i].fields[n++]);
        }
        assert_null(cases[i].fields[n]);
    }
}

static void sv__integers_are_read_whole_and_within_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t min, max;
        enum sv_number result;
        int64_t value;
    } cases[] = {
        {"0", 0, 9, SV_NUMBER_OK, 0},
        {"+7", 0, 9, SV_NUMBER_OK, 7},
        {"-7", -9, 9, SV_NUMBER_OK, -7},
        {"007", 0, 9, SV_NUMBER_OK, 7},
        {"10", 0, 9, SV_NUMBER_RANGE, 0},
        {"-1", 0, 9, SV_NUMBER_RANGE, 0},
        {"9223372036854775807", INT64_MIN, INT64_MAX, SV_NUMBER_OK, INT64_MAX},
        {"-9223372036854775808", INT64_MIN, INT64_MAX, SV_NUMBER_OK, INT64_MIN},
        {"9223372036854775808", INT64_MIN, INT64_MAX, SV_NUMBER_RANGE, 0},
        {"-9223372036854775809", INT64_MIN, INT64_MAX, SV_NUMBER_RANGE, 0},
        {"99999999999999999999999", INT64_MIN, INT64_MAX, SV_NUMBER_RANGE, 0},
        {"99999999999999999999999x", INT64_MIN, INT64_MAX, SV_NUMBER_NONE, 0},
        {"", 0, 9, SV_NUMBER_NONE, 0},
        {"-", -9, 9, SV_NUMBER_NONE, 0},
        {"+-1", -9, 9, SV_NUMBER_NONE, 0},
        {"1 ", 0, 9, SV_NUMBER_NONE, 0},
        {"1:", 0, 9, SV_NUMBER_NONE, 0},
        {"1/", 0, 9, SV_NUMBER_NONE, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value = 12345;
        enum sv_number result =
            sv_to_int(sv_from_cstr(cases[i].text), cases[i].min, cases[i].max, &value);
        assert_int_equal(result, cases[i].result);
        assert_int_equal(value, result == SV_NUMBER_OK ? cases[i].value : 12345);
    }
}

static void sv__printed_integers_read_back(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < 20000; i++) {
        int64_t value = (int64_t)rng_u64(&rng) >> rng_below(&rng, 64), back = 0;
        char text[32];
        snprintf(text, sizeof text, "%lld", (long long)value);
        assert_int_equal(sv_to_int(sv_from_cstr(text), INT64_MIN, INT64_MAX, &back), SV_NUMBER_OK);
        assert_int_equal(back, value);
    }
}

static void sv__copy_terminates_and_refuses_what_does_not_fit(void **state)
{
    (void)state;
    char out[4];
    assert_true(sv_copy(SV("abc"), out, sizeof out));
    assert_string_equal(out, "abc");
    assert_true(sv_copy(sv_from_cstr(NULL), out, sizeof out));
    assert_string_equal(out, "");
    memcpy(out, "xyz", 4);
    assert_false(sv_copy(SV("abcd"), out, sizeof out));
    assert_string_equal(out, "");
    memcpy(out, "xyz", 4);
    assert_false(sv_copy(SV("a\0b"), out, sizeof out));
    assert_string_equal(out, "");
    assert_false(sv_copy(SV(""), out, 0));
}

static void sv__printing_is_bounded(void **state)
{
    (void)state;
    char longer[200], out[300];
    memset(longer, 'x', sizeof longer);
    snprintf(out, sizeof out, "<" SV_FMT ">", SV_ARG(sv_from(longer, sizeof longer)));
    assert_int_equal(strlen(out), SV_PRINT_MAX + 2);
    snprintf(out, sizeof out, "<" SV_FMT ">", SV_ARG(SV("abc")));
    assert_string_equal(out, "<abc>");
    snprintf(out, sizeof out, "<" SV_FMT ">", SV_ARG(sv_from_cstr(NULL)));
    assert_string_equal(out, "<>");
}

static void sv__quoted_text_loses_its_quotes(void **state)
{
    (void)state;
    static const struct {
        const char *from, *text, *rest; /* text NULL: it is refused */
    } cases[] = {
        {"\"a\"", "a", ""},
        {"\"a\" = 1", "a", " = 1"},
        {"\"\"", "", ""},
        {"\"a \"\"b\"\"\"c", "a \"b\"", "c"},
        {"\"\"\"\"", "\"", ""},
        {"\"a\" \"b\"", "a", " \"b\""},
        {"", NULL, ""},
        {"a", NULL, "a"},
        {" \"a\"", NULL, " \"a\""},
        {"\"", NULL, "\""},
        {"\"a", NULL, "\"a"},
        {"\"a\"\"", NULL, "\"a\"\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[32];
        struct sv rest = sv_from_cstr(cases[i].from), text = SV("?");
        assert_int_equal(sv_take_quoted(&rest, out, &text), cases[i].text != NULL);
        assert_sv(rest, cases[i].rest);
        assert_sv(text, cases[i].text != NULL ? cases[i].text : "?");
    }
}

static void sv__quoted_text_may_be_read_in_place(void **state)
{
    (void)state;
    char line[] = "\"a\"\"b\" c";
    struct sv rest = sv_from_cstr(line), text;
    assert_true(sv_take_quoted(&rest, line, &text));
    assert_sv(text, "a\"b");
    assert_sv(rest, " c");
}

static void sv__hexadecimal_digits_are_read(void **state)
{
    (void)state;
    const char digits[] = "0123456789abcdef", capitals[] = "0123456789ABCDEF";
    for (int i = 0; i < 16; i++) {
        assert_int_equal(sv_hex_digit(digits[i]), i);
        assert_int_equal(sv_hex_digit(capitals[i]), i);
    }
    for (const char *other = "/:@G`g \x80"; *other != '\0'; other++)
        assert_int_equal(sv_hex_digit(*other), -1);
}

static void sv__distance_counts_single_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        unsigned max, distance;
    } cases[] = {
        {"timeout", "timeout", 3, 0},
        {"timeout", "timeuot", 3, 1}, /* two neighbours swapped */
        {"timeout", "timout", 3, 1},  /* one missing */
        {"timeout", "timeoutt", 3, 1},
        {"timeout", "timeoux", 3, 1},
        {"Timeout", "TIMEOUT", 3, 0},
        {"kitten", "sitting", 9, 3},
        {"", "abc", 9, 3},
        {"abc", "", 9, 3},
        {"", "", 9, 0},
        {"abcdef", "uvwxyz", 2, 3}, /* beyond the bound: max + 1 */
        {"abc", "abcdef", 2, 3},
        {"abc", "abcdef", 3, 3},
        {"ca", "abc", 9, 3}, /* nothing is edited twice: not 2 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sv a = sv_from_cstr(cases[i].a), b = sv_from_cstr(cases[i].b);
        assert_int_equal(sv_distance(a, b, cases[i].max), cases[i].distance);
        assert_int_equal(sv_distance(b, a, cases[i].max), cases[i].distance);
    }
}

static void sv__distance_of_long_words_is_beyond_the_bound(void **state)
{
    (void)state;
    char longer[SV_DISTANCE_SIZE_MAX + 1];
    memset(longer, 'x', sizeof longer);
    struct sv fits = sv_from(longer, SV_DISTANCE_SIZE_MAX);
    struct sv too_long = sv_from(longer, sizeof longer);
    assert_int_equal(sv_distance(fits, fits, 2), 0);
    assert_int_equal(sv_distance(fits, SV(""), 100), SV_DISTANCE_SIZE_MAX);
    assert_int_equal(sv_distance(too_long, fits, 2), 3);
    assert_int_equal(sv_distance(fits, too_long, 2), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sv__views_compare_by_content),
        cmocka_unit_test(sv__case_is_ignored_for_ascii_letters_only),
        cmocka_unit_test(sv__prefixes_and_suffixes_are_found),
        cmocka_unit_test(sv__find_take_and_drop_stay_inside),
        cmocka_unit_test(sv__trim_takes_blanks_from_both_ends_only),
        cmocka_unit_test(sv__split_gives_every_field_once),
        cmocka_unit_test(sv__integers_are_read_whole_and_within_bounds),
        cmocka_unit_test(sv__printed_integers_read_back),
        cmocka_unit_test(sv__copy_terminates_and_refuses_what_does_not_fit),
        cmocka_unit_test(sv__printing_is_bounded),
        cmocka_unit_test(sv__quoted_text_loses_its_quotes),
        cmocka_unit_test(sv__quoted_text_may_be_read_in_place),
        cmocka_unit_test(sv__hexadecimal_digits_are_read),
        cmocka_unit_test(sv__distance_counts_single_mistakes),
        cmocka_unit_test(sv__distance_of_long_words_is_beyond_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
