#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/ns.h"
#include "base/rng.h"
#include "base/units.h"

typedef enum hf_rc parse_fn(struct sv text, int64_t *out, struct hf_err *err);
typedef const char *print_fn(int64_t value, char out[UNITS_TEXT_MAX]);

struct accepted {
    const char *text;
    int64_t value;
    const char *printed;
};

struct refused {
    const char *text;
    const char *message; /* some words of it */
};

static void check_accepted(parse_fn *parse, print_fn *print, const struct accepted *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int64_t value = -12345;
        struct hf_err err = {0};
        char out[UNITS_TEXT_MAX];
        if (parse(sv_from_cstr(cases[i].text), &value, &err) != HF_OK)
            fail_msg("%s", err.message);
        assert_int_equal(value, cases[i].value);
        assert_string_equal(print(value, out), cases[i].printed);
    }
}

/* Refusals name what was written and what is wrong, give an example, and leave the result alone. */
static void check_refused(parse_fn *parse, const char *example, const struct refused *cases,
                          size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int64_t value = -12345;
        struct hf_err err = {0};
        assert_int_equal(parse(sv_from_cstr(cases[i].text), &value, &err), HF_RC_INVALID);
        assert_int_equal(value, -12345);
        assert_string_equal(err.sqlstate, "22023");
        if (strstr(err.message, cases[i].message) == NULL)
            fail_msg("\"%s\" lacks \"%s\"", err.message, cases[i].message);
        assert_non_null(strstr(err.hint, example));
        assert_int_equal(parse(sv_from_cstr(cases[i].text), &value, NULL), HF_RC_INVALID);
    }
}

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void units__durations_are_read_and_printed(void **state)
{
    (void)state;
    static const struct accepted cases[] = {
        {"100ms", HF_MS(100), "100ms"},
        {"5s", HF_SEC(5), "5s"},
        {"1h30min", HF_SEC(5400), "90min"},
        {"1d2h3min4s5ms6us7ns", INT64_C(93784005006007), "93784005006007ns"},
        {"2d", HF_SEC(172800), "2d"},
        {"1.5s", HF_MS(1500), "1500ms"},
        {"1.50000000000000000000000s", HF_MS(1500), "1500ms"},
        {"0.25h", HF_SEC(900), "15min"},
        {"1.5h30min", HF_SEC(7200), "2h"},
        {"0.000000001s", 1, "1ns"},
        {"0.000000000125d", 10800, "10800ns"},
        {"250us", HF_US(250), "250us"},
        {"0", 0, "0"},
        {"0.0", 0, "0"},
        {"0s", 0, "0"},
        {" 1 h 30 min ", HF_SEC(5400), "90min"},
        {"60s", HF_SEC(60), "1min"},
        {"never", HF_NEVER, "never"},
        {" never ", HF_NEVER, "never"},
        {"106751d", HF_SEC(INT64_C(9223286400)), "106751d"},
        {"9223372036854775806ns", INT64_MAX - 1, "9223372036854775806ns"},
        {"9223372036854775807ns", HF_NEVER, "never"},
    };
    check_accepted(units_parse_duration, units_print_duration, cases, COUNT(cases));
}

static void units__bad_durations_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct refused cases[] = {
        {"", "\"\" is not a duration: it is empty"},
        {"  ", "it is empty"},
        {NULL, "it is empty"},
        {"100", "\"100\" is not a duration: the unit is missing"},
        {"0.5", "the unit is missing"},
        {"1h30", "a unit is missing"},
        {"0 0", "a unit is missing"},
        {"-5s", "it is negative"},
        {"5sec", "there is no unit \"sec\""},
        {"5S", "there is no unit \"S\""},
        {"5s!", "there is no unit \"s!\""},
        {"5s xyz", "there is no number at \"xyz\""},
        {"s", "there is no number at \"s\""},
        {"+5s", "there is no number at \"+5s\""},
        {".5s", "there is no number at \".5s\""},
        {"5.s", "there is no number at \"5.s\""},
        {"1.", "there is no number at \"1.\""},
        {"nevermore", "there is no number at"},
        {"30min1h", "units must go from large to small, not to \"h\""},
        {"1s1s", "units must go from large to small, not to \"s\""},
        {"0.5ns", "finer than a nanosecond"},
        {"1.0000000001s", "finer than a nanosecond"},
        {"106752d", "longer than 106751d"},
        {"9223372036854775808ns", "longer than 106751d"},
        {"99999999999999999999999999s", "longer than 106751d"},
        {"106751d24h", "longer than 106751d"},
        {"106751.99999d", "longer than 106751d"},
    };
    check_refused(units_parse_duration, "100ms", cases, COUNT(cases));
}

static void units__sizes_are_read_and_printed(void **state)
{
    (void)state;
    static const struct accepted cases[] = {
        {"8kB", 8192, "8kB"},
        {"512MB", INT64_C(512) << 20, "512MB"},
        {"1GB", INT64_C(1) << 30, "1GB"},
        {"1024MB", INT64_C(1) << 30, "1GB"},
        {"1.5GB", INT64_C(1536) << 20, "1536MB"},
        {"2TB", INT64_C(2) << 40, "2TB"},
        {"100B", 100, "100B"},
        {"100", 100, "100B"},
        {"0", 0, "0"},
        {"8 kB", 8192, "8kB"},
        {"0.5kB", 512, "512B"},
        {"8388607TB", INT64_C(8388607) << 40, "8388607TB"},
        {"9223372036854775807", INT64_MAX, "9223372036854775807B"},
    };
    check_accepted(units_parse_size, units_print_size, cases, COUNT(cases));
}

static void units__bad_sizes_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct refused cases[] = {
        {"", "\"\" is not a size: it is empty"},  {"-1", "it is negative"},
        {"8KB", "there is no unit \"KB\""},       {"8mb", "there is no unit \"mb\""},
        {"8s", "there is no unit \"s\""},         {"8kB9", "a unit is missing"},
        {"0.1kB", "not a whole number of bytes"}, {"1.5", "not a whole number of bytes"},
        {"8388608TB", "more than 8388607TB"},     {"9223372036854775808", "more than 8388607TB"},
    };
    check_refused(units_parse_size, "512MB", cases, COUNT(cases));
}

static void units__percentages_are_read_and_printed(void **state)
{
    (void)state;
    static const struct accepted cases[] = {
        {"20%", 200000, "20%"},
        {"0.5%", 5000, "0.5%"},
        {"0.2", 200000, "20%"},
        {"20 %", 200000, "20%"},
        {"100%", 1000000, "100%"},
        {"250%", 2500000, "250%"},
        {"0", 0, "0%"},
        {"0%", 0, "0%"},
        {"0.0001%", 1, "0.0001%"},
        {"0.000001", 1, "0.0001%"},
        {"0.999999", 999999, "99.9999%"},
        {"12.0450%", 120450, "12.045%"},
        {"922337203685477.5807%", INT64_MAX, "922337203685477.5807%"},
    };
    check_accepted(units_parse_percent, units_print_percent, cases, COUNT(cases));
}

static void units__bad_percentages_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct refused cases[] = {
        {"", "\"\" is not a percentage: it is empty"},
        {"20", "\"20\" is not a percentage: the unit is missing"},
        {"1", "the unit is missing"}, /* 1 % or 100 %? */
        {"1.5", "the unit is missing"},
        {"-20%", "it is negative"},
        {"20%%", "there is no unit \"%%\""},
        {"1%2%", "units must go from large to small"},
        {"20ppm", "there is no unit \"ppm\""},
        {"0.00001%", "finer than 0.0001%"},
        {"0.0000001", "finer than 0.0001%"},
        {"922337203685477.5808%", "too large"},
    };
    check_refused(units_parse_percent, "20%", cases, COUNT(cases));
}

static void units__integers_are_read_and_printed(void **state)
{
    (void)state;
    static const struct accepted good[] = {
        {"42", 42, "42"},
        {" -1 ", -1, "-1"},
        {"0", 0, "0"},
        {"-9223372036854775808", INT64_MIN, "-9223372036854775808"},
    };
    check_accepted(units_parse_int, units_print_int, good, COUNT(good));
    static const struct refused bad[] = {
        {"", "\"\" is not an integer"},
        {"1.5", "\"1.5\" is not an integer"},
        {"1k", "\"1k\" is not an integer"},
    };
    check_refused(units_parse_int, "42", bad, COUNT(bad));
    static const struct refused large[] = {{"9223372036854775808", "does not fit into 64 bits"}};
    check_refused(units_parse_int, "", large, COUNT(large));
}

static void units__booleans_are_read_and_printed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool value;
    } cases[] = {{"on", true},  {"off", false}, {"true", true}, {"FALSE", false},
                 {"Yes", true}, {"no", false},  {" 1 ", true},  {"0", false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        bool value = !cases[i].value;
        struct hf_err err;
        assert_int_equal(units_parse_bool(sv_from_cstr(cases[i].text), &value, &err), HF_OK);
        assert_int_equal(value, cases[i].value);
    }
    static const char *const bad[] = {"", "2", "onn", "o", "enabled"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        bool value = true;
        struct hf_err err;
        assert_int_equal(units_parse_bool(sv_from_cstr(bad[i]), &value, &err), HF_RC_INVALID);
        assert_true(value);
        assert_non_null(strstr(err.message, "is not a boolean"));
        assert_non_null(strstr(err.hint, "on or off"));
    }
    assert_string_equal(units_print_bool(true), "on");
    assert_string_equal(units_print_bool(false), "off");
}

static void units__what_is_printed_reads_back(void **state)
{
    (void)state;
    static const struct {
        parse_fn *parse;
        print_fn *print;
        int64_t round[3];
    } kinds[] = {
        {units_parse_duration, units_print_duration, {HF_MS(1), HF_SEC(1), HF_SEC(3600)}},
        {units_parse_size, units_print_size, {1024, 1 << 20, 1 << 30}},
        {units_parse_percent, units_print_percent, {10, 1000, 10000}},
        {units_parse_int, units_print_int, {10, 1000, 1000000}},
    };
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < 40000; i++) {
        size_t k = rng_below(&rng, COUNT(kinds));
        /* Any magnitude, half of the time a multiple of some unit. */
        int64_t value = (int64_t)(rng_u64(&rng) >> 1 >> rng_below(&rng, 63)), back = -1;
        if (rng_below(&rng, 2) == 0) {
            int64_t unit = kinds[k].round[rng_below(&rng, 3)];
            value = value / unit * unit;
        }
        char out[UNITS_TEXT_MAX], again[UNITS_TEXT_MAX];
        struct hf_err err;
        kinds[k].print(value, out);
        if (kinds[k].parse(sv_from_cstr(out), &back, &err) != HF_OK)
            fail_msg("%s", err.message);
        assert_int_equal(back, value);
        assert_string_equal(kinds[k].print(back, again), out);
    }
}

static void units__negative_numbers_print_with_a_sign(void **state)
{
    (void)state;
    char out[UNITS_TEXT_MAX];
    assert_string_equal(units_print_duration(-HF_MS(5), out), "-5ms");
    assert_string_equal(units_print_duration(INT64_MIN, out), "-9223372036854775808ns");
    assert_string_equal(units_print_size(-2048, out), "-2kB");
    assert_string_equal(units_print_size(INT64_MIN, out), "-8388608TB");
    assert_string_equal(units_print_percent(-5000, out), "-0.5%");
    assert_string_equal(units_print_percent(INT64_MIN, out), "-922337203685477.5808%");
}

static void units__a_very_long_text_is_refused_in_a_readable_message(void **state)
{
    (void)state;
    char text[5000];
    memset(text, '7', sizeof text);
    int64_t value;
    struct hf_err err;
    assert_int_equal(units_parse_duration(sv_from(text, sizeof text), &value, &err), HF_RC_INVALID);
    assert_non_null(strstr(err.message, "7\" is not a duration: the unit is missing"));
    memset(text, 'x', sizeof text);
    assert_int_equal(units_parse_duration(sv_from(text, sizeof text), &value, &err), HF_RC_INVALID);
    assert_non_null(strstr(err.message, "x\" is not a duration: there is no number at \"xxx"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units__durations_are_read_and_printed),
        cmocka_unit_test(units__bad_durations_are_refused_with_the_reason),
        cmocka_unit_test(units__sizes_are_read_and_printed),
        cmocka_unit_test(units__bad_sizes_are_refused_with_the_reason),
        cmocka_unit_test(units__percentages_are_read_and_printed),
        cmocka_unit_test(units__bad_percentages_are_refused_with_the_reason),
        cmocka_unit_test(units__integers_are_read_and_printed),
        cmocka_unit_test(units__booleans_are_read_and_printed),
        cmocka_unit_test(units__what_is_printed_reads_back),
        cmocka_unit_test(units__negative_numbers_print_with_a_sign),
        cmocka_unit_test(units__a_very_long_text_is_refused_in_a_readable_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
