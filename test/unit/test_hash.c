#include "unit.h"

#include <string.h>

#include "base/hash.h"

static void hash__bytes_give_the_published_siphash_1_3(void **state)
{
    (void)state;
    /* The authors' vectors: key 00 01 .. 0f, message 00 01 .. of each length. Nineteen lengths
     * cover none, one and two whole words with every remainder. */
    static const uint64_t expected[] = {
        UINT64_C(0xabac0158050fc4dc), UINT64_C(0xc9f49bf37d57ca93), UINT64_C(0x82cb9b024dc7d44d),
        UINT64_C(0x8bf80ab8e7ddf7fb), UINT64_C(0xcf75576088d38328), UINT64_C(0xdef9d52f49533b67),
        UINT64_C(0xc50d2b50c59f22a7), UINT64_C(0xd3927d989bb11140), UINT64_C(0x369095118d299a8e),
        UINT64_C(0x25a48eb36c063de4), UINT64_C(0x79de85ee92ff097f), UINT64_C(0x70c118c1f94dc352),
        UINT64_C(0x78a384b157b4d9a2), UINT64_C(0x306f760c1229ffa7), UINT64_C(0x605aa111c0f95d34),
        UINT64_C(0xd320d86d2a519956), UINT64_C(0xcc4fdd1a7d908b66), UINT64_C(0x9cf2689063dbd80c),
        UINT64_C(0x8ffc389cb473e63e)};
    const struct hash_key key = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    char message[32];
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (char)i;
    for (size_t size = 0; size < sizeof expected / sizeof expected[0]; size++)
        assert_int_equal(hash_bytes(&key, sv_from(message, size)), expected[size]);
    assert_int_equal(hash_bytes(&key, sv_from(NULL, 0)), expected[0]);
}

static void hash__high_bytes_are_not_sign_extended(void **state)
{
    (void)state;
    /* hash(b"\xff\xfe...") of CPython 3.11 with PYTHONHASHSEED=0, which is SipHash-1-3 of key 0. */
    const struct hash_key key = {0, 0};
    assert_int_equal(hash_bytes(&key, SV("\xff\xfe\xfd")), UINT64_C(0x1a3b5eca76d772b7));
    assert_int_equal(hash_bytes(&key, SV("\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\x80")),
                     UINT64_C(0x7e371ebec7a4fa3));
}

static void hash__the_key_decides(void **state)
{
    (void)state;
    struct hash_key one = hash_key_from_seed(1), same = hash_key_from_seed(1);
    struct hash_key two = hash_key_from_seed(2);
    assert_int_equal(hash_bytes(&one, SV("holdfast")), hash_bytes(&same, SV("holdfast")));
    assert_int_not_equal(hash_bytes(&one, SV("holdfast")), hash_bytes(&two, SV("holdfast")));
    assert_int_equal(hash_u64(&one, 7), hash_u64(&same, 7));
    assert_int_not_equal(hash_u64(&one, 7), hash_u64(&two, 7));
}

static void hash__neighbouring_numbers_spread_over_all_bits(void **state)
{
    (void)state;
    struct hash_key key = hash_key_from_seed(3);
    /* Over 4096 numbers each of the 64 bits is set half of the time; standard deviation is 32. */
    int set[64] = {0};
    for (uint64_t i = 0; i < 4096; i++)
        for (int bit = 0; bit < 64; bit++)
            set[bit] += (int)(hash_u64(&key, i) >> bit & 1);
    for (int bit = 0; bit < 64; bit++)
        assert_in_range(set[bit], 2048 - 160, 2048 + 160);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash__bytes_give_the_published_siphash_1_3),
        cmocka_unit_test(hash__high_bytes_are_not_sign_extended),
        cmocka_unit_test(hash__the_key_decides),
        cmocka_unit_test(hash__neighbouring_numbers_spread_over_all_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
