#include "unit.h"

#include "base/rng.h"

static void rng__the_first_numbers_of_a_seed_never_change(void **state)
{
    (void)state;
    /* The published first outputs of xoshiro256** seeded by splitmix64 from 0. */
    static const uint64_t expected[] = {UINT64_C(0x99ec5f36cb75f2b4), UINT64_C(0xbf6e1f784956452a),
                                        UINT64_C(0x1a5f849d4933e6e0)};
    struct rng rng;
    rng_init(&rng, 0);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(rng_u64(&rng), expected[i]);
}

static void rng__the_hash_is_the_splitmix64_sequence(void **state)
{
    (void)state;
    /* The published first outputs of splitmix64 for the seed 1234567. */
    static const uint64_t expected[] = {
        UINT64_C(6457827717110365317), UINT64_C(3203168211198807973), UINT64_C(9817491932198370423),
        UINT64_C(4593380528125082431), UINT64_C(16408922859458223821)};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(rng_hash(1234567, i), expected[i]);
}

static void rng__the_derived_draws_of_a_seed_never_change(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 42);
    assert_int_equal(rng_below(&rng, 1000), 742);
    assert_int_equal(rng_below(&rng, 3), 0);
    assert_int_equal(rng_range_ns(&rng, 5, 1000000), 322198);
    assert_true(rng_unit(&rng) == 0x1d9715a8e0766cp-53);
}

static void rng__equal_seeds_agree_and_different_seeds_part(void **state)
{
    (void)state;
    struct rng a, b, c;
    rng_init(&a, 7);
    rng_init(&b, 7);
    rng_init(&c, 8);
    int same = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t draw = rng_u64(&a);
        assert_int_equal(draw, rng_u64(&b));
        same += draw == rng_u64(&c);
    }
    assert_int_equal(same, 0);
}

static void rng__below_falls_evenly_on_every_value(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 1);
    enum {
        N = 7,
        DRAWS = 70000
    };
    int seen[N] = {0};
    for (int i = 0; i < DRAWS; i++)
        seen[rng_below(&rng, N)]++;
    /* 10,000 expected on each, standard deviation 93: five of them on either side. */
    for (int i = 0; i < N; i++)
        assert_in_range(seen[i], 9535, 10465);
}

static void rng__below_is_unbiased_where_a_plain_remainder_is_not(void **state)
{
    (void)state;
    /* For n = 3 * 2^62 a plain remainder would fall on the lowest third half of the time. */
    struct rng rng;
    rng_init(&rng, 2);
    int lowest = 0;
    for (int i = 0; i < 30000; i++)
        lowest += rng_below(&rng, UINT64_C(3) << 62) < UINT64_C(1) << 62;
    assert_in_range(lowest, 9590, 10410);
}

static void rng__below_one_is_always_zero(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 3);
    for (int i = 0; i < 10; i++)
        assert_int_equal(rng_below(&rng, 1), 0);
}

static void rng__unit_stays_in_its_interval_and_fills_it(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 4);
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        double x = rng_unit(&rng);
        assert_true(x >= 0 && x < 1);
        sum += x;
    }
    assert_true(sum > 49500 && sum < 50500);
}

static void rng__range_reaches_both_ends(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    int low = 0, high = 0;
    for (int i = 0; i < 1000; i++) {
        int64_t draw = rng_range_ns(&rng, 10, 13);
        assert_in_range(draw, 10, 13);
        low += draw == 10;
        high += draw == 13;
    }
    assert_true(low > 0 && high > 0);
    assert_int_equal(rng_range_ns(&rng, 9, 9), 9);
    assert_true(rng_range_ns(&rng, 0, INT64_MAX) >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rng__the_first_numbers_of_a_seed_never_change),
        cmocka_unit_test(rng__the_hash_is_the_splitmix64_sequence),
        cmocka_unit_test(rng__the_derived_draws_of_a_seed_never_change),
        cmocka_unit_test(rng__equal_seeds_agree_and_different_seeds_part),
        cmocka_unit_test(rng__below_falls_evenly_on_every_value),
        cmocka_unit_test(rng__below_is_unbiased_where_a_plain_remainder_is_not),
        cmocka_unit_test(rng__below_one_is_always_zero),
        cmocka_unit_test(rng__unit_stays_in_its_interval_and_fills_it),
        cmocka_unit_test(rng__range_reaches_both_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
