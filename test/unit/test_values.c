#include "unit.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "client/values.h"
#include "holdfast.h"

static struct value text(const char *bytes, uint32_t type)
{
    return (struct value){.bytes = bytes, .size = strlen(bytes), .type = type};
}

static void values__text_reads_as_the_number_it_is(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t type;
        int64_t whole;
        double number;
        bool is_true;
    } cases[] = {
        {"0", VALUE_INT4, 0, 0, false},
        {"-42", VALUE_INT8, -42, -42, true},
        {"9223372036854775807", VALUE_INT8, INT64_MAX, 9223372036854775807.0, true},
        {"-9223372036854775808", VALUE_INT8, INT64_MIN, -9223372036854775808.0, true},
        {"9223372036854775808", 1700, 0, 9223372036854775808.0, true}, /* fits no integer */
        {"999999999999999999", VALUE_INT8, 999999999999999999, 999999999999999999.0, true},
        {"1000000000000000000", VALUE_INT8, 1000000000000000000, 1e18, true},
        {"-99999999999999999", VALUE_INT8, -99999999999999999, -99999999999999999.0, true},
        {"-999999999999999999", VALUE_INT8, -999999999999999999, -999999999999999999.0, true},
        {"007", VALUE_TEXT, 7, 7, true},
        {"-0", VALUE_TEXT, 0, 0, false},
        {"+5", VALUE_TEXT, 5, 5, true},
        {" 5", VALUE_TEXT, 5, 5, true},
        {"-", VALUE_TEXT, 0, 0, false},
        {"12.75", 1700, 12, 12.75, true},
        {"-0.5", VALUE_FLOAT8, 0, -0.5, true},
        {"1e3", VALUE_FLOAT8, 1000, 1000, true},
        {"1e300", VALUE_FLOAT8, 0, 1e300, true},
        {"t", VALUE_BOOL, 1, 1, true},
        {"f", VALUE_BOOL, 0, 0, false},
        {"true", VALUE_TEXT, 0, 0, true},
        {"", VALUE_TEXT, 0, 0, false},
        {"12 apples", VALUE_TEXT, 0, 0, false},
        {"abc", VALUE_TEXT, 0, 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct value value = text(cases[i].text, cases[i].type);
        assert_int_equal(value_int(&value), cases[i].whole);
        assert_true(value_double(&value) == cases[i].number);
        assert_int_equal(value_bool(&value), cases[i].is_true);
    }
    struct value nan = text("NaN", VALUE_FLOAT8);
    assert_true(isnan(value_double(&nan)));
    assert_int_equal(value_int(&nan), 0);
    assert_false(value_bool(&nan));
}

static void values__binary_reads_by_its_type(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        uint32_t type;
        int64_t whole;
        double number;
    } cases[] = {
        {"\x80\0\0\0\0\0\0\0", 8, VALUE_INT8, INT64_MIN, -9223372036854775808.0},
        {"\xff\xff\xff\xfe", 4, VALUE_INT4, -2, -2},
        {"\xff\xff\xff\xfe", 4, VALUE_OID, 4294967294, 4294967294.0},
        {"\x01\x00", 2, VALUE_INT2, 256, 256},
        {"\x01", 1, VALUE_BOOL, 1, 1},
        {"\x3f\xf8\0\0\0\0\0\0", 8, VALUE_FLOAT8, 1, 1.5},
        {"\xc0\x20\0\0", 4, VALUE_FLOAT4, -2, -2.5},
        {"\x01\x02", 2, VALUE_INT4, 0, 0}, /* not of its size */
        {"\x01\x02\x03\x04", 4, VALUE_BYTEA, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct value value = {cases[i].bytes, cases[i].size, cases[i].type, true};
        assert_int_equal(value_int(&value), cases[i].whole);
        assert_true(value_double(&value) == cases[i].number);
        assert_int_equal(value_bool(&value), cases[i].number != 0);
    }
}

static void values__params_are_what_the_server_reads(void **state)
{
    (void)state;
    assert_string_equal(hf_int(INT64_MIN).small, "-9223372036854775808");
    assert_string_equal(hf_double(0.1).small, "0.10000000000000001");
    assert_string_equal(hf_double((double)NAN).small, "NaN");
    assert_string_equal(hf_double(-(double)INFINITY).small, "-Infinity");
    assert_string_equal(hf_double(DBL_MAX).small, "1.7976931348623157e+308");
    assert_string_equal(hf_bool(true).small, "t");
    assert_string_equal(hf_bool(false).small, "f");
    assert_int_equal(hf_null().length, -1);
    assert_int_equal(hf_text(NULL).length, -1);
    assert_string_equal(hf_text("x").value, "x");
    assert_int_equal(hf_bytes("abc", 3).length, 3);
    assert_int_equal(hf_bytes("abc", 3).format, HF_BINARY);
    assert_int_equal(hf_bytes(NULL, 3).length, -1);
    assert_int_equal(hf_bytes(NULL, 0).length, 0); /* empty, and no NULL */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values__text_reads_as_the_number_it_is),
        cmocka_unit_test(values__binary_reads_by_its_type),
        cmocka_unit_test(values__params_are_what_the_server_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
