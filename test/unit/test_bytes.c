#include "unit.h"

#include <string.h>

#include "wire/bytes.h"

static void bytes__integers_stand_most_significant_byte_first(void **state)
{
    (void)state;
    char at[4];
    bytes_put_u32(at, 0x80fe017fU);
    assert_memory_equal(at, "\x80\xfe\x01\x7f", 4);
    assert_int_equal(bytes_u32(at), 0x80fe017fU);
    bytes_put_u16(at, 0xfe80U);
    assert_memory_equal(at, "\xfe\x80", 2);
    assert_int_equal(bytes_u16(at), 0xfe80U);
    bytes_put_u32_little(at, 0x80fe017fU);
    assert_memory_equal(at, "\x7f\x01\xfe\x80", 4);
    assert_int_equal(bytes_u32_little(at), 0x80fe017fU);
}

static void bytes__a_reader_takes_fields_in_a_row(void **state)
{
    (void)state;
    struct reader r = reader_of(SV("\x07\x01\x02\xff\xff\xff\xfename\0\0abc"));
    assert_int_equal(reader_u8(&r), 7);
    assert_int_equal(reader_u16(&r), 0x0102);
    assert_int_equal(reader_u32(&r), 0xfffffffeU);
    assert_true(sv_eq(reader_cstr(&r), SV("name")));
    assert_true(sv_eq(reader_cstr(&r), SV("")));
    assert_true(sv_eq(reader_bytes(&r, 0), SV("")));
    assert_true(sv_eq(reader_bytes(&r, 3), SV("abc")));
    assert_int_equal(r.left, 0);
    assert_false(r.is_short);
    assert_int_equal(reader_bytes(&r, 0).size, 0);
    assert_false(r.is_short);
}

/* Each field type against every length that is too short for it. */
static void bytes__what_is_missing_is_never_read_and_never_forgotten(void **state)
{
    (void)state;
    for (size_t size = 0; size < 4; size++) {
        struct reader r = reader_of(sv_from("\xff\xff\xff\xff", size));
        assert_int_equal(reader_u32(&r), 0);
        assert_true(r.is_short);
        assert_int_equal(reader_u8(&r), 0);
        assert_int_equal(reader_bytes(&r, 0).size, 0);
        assert_true(r.is_short);
    }
    struct reader one = reader_of(SV("\xff")), none = reader_of(sv_from(NULL, 0));
    assert_int_equal(reader_u16(&one), 0);
    assert_int_equal(reader_u8(&one), 0);
    assert_int_equal(reader_bytes(&none, 0).size, 0);
    assert_false(none.is_short);
    assert_int_equal(reader_u8(&none), 0);
    assert_true(none.is_short);

    struct reader open = reader_of(SV("no end"));
    assert_int_equal(reader_cstr(&open).size, 0);
    assert_true(open.is_short);
    assert_int_equal(reader_bytes(&open, SIZE_MAX).size, 0);
    struct reader empty = reader_of(sv_from(NULL, 0));
    assert_int_equal(reader_cstr(&empty).size, 0);
    assert_true(empty.is_short);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes__integers_stand_most_significant_byte_first),
        cmocka_unit_test(bytes__a_reader_takes_fields_in_a_row),
        cmocka_unit_test(bytes__what_is_missing_is_never_read_and_never_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
