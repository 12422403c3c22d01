#include "unit.h"

#include <stdlib.h>

#include "base/rng.h"
#include "dies.h"
#include "proxy/tally.h"

#define CAPACITY 4
#define NAMES    6

static struct tally tally;

static int begin(void **state)
{
    *state = malloc(tally_size(CAPACITY));
    assert_non_null(*state);
    tally_init(&tally, *state, CAPACITY);
    return 0;
}

static int end(void **state)
{
    free(*state);
    return 0;
}

static void tally__a_limit_holds_for_its_name_alone(void **state)
{
    (void)state;
    assert_true(tally_try(&tally, 7, 2));
    assert_true(tally_try(&tally, 7, 2));
    assert_false(tally_try(&tally, 7, 2));
    assert_int_equal(tally_count(&tally, 7), 2);
    assert_true(tally_try(&tally, 8, 2));
    tally_return(&tally, 7);
    assert_true(tally_try(&tally, 7, 2));
    assert_false(tally_try(&tally, 7, 2));
}

static void tally__a_limit_of_zero_is_none(void **state)
{
    (void)state;
    for (uint32_t i = 1; i <= 1000; i++) {
        assert_true(tally_try(&tally, 7, 0));
        assert_int_equal(tally_count(&tally, 7), i);
    }
    assert_false(tally_try(&tally, 7, 1)); /* a limit that came with a reload */
}

static void tally__a_name_whose_count_is_zero_leaves_its_place(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        for (uint64_t hash = 0; hash < CAPACITY; hash++)
            assert_true(tally_try(&tally, hash, 0));
        assert_false(tally_try(&tally, CAPACITY, 0));
        assert_int_equal(tally_count(&tally, CAPACITY), 0);
        for (uint64_t hash = 0; hash < CAPACITY; hash++)
            tally_return(&tally, hash);
    }
}

static void return_unknown(void *unused)
{
    (void)unused;
    tally_return(&tally, 7);
}

static void tally__what_was_not_taken_cannot_be_returned(void **state)
{
    (void)state;
    assert_true(dies(return_unknown, NULL));
}

static void tally__random_steps_agree_with_plain_counters(void **state)
{
    (void)state;
    struct rng rng;
    uint32_t counts[NAMES] = {0};
    uint32_t known = 0;
    rng_init(&rng, 1);
    for (int i = 0; i < 20000; i++) {
        uint64_t name = rng_below(&rng, NAMES);
        uint32_t limit = (uint32_t)rng_below(&rng, 4);
        uint64_t hash = rng_hash(name, 0);
        if (rng_below(&rng, 2) == 0) {
            bool is_expected =
                counts[name] > 0 ? limit == 0 || counts[name] < limit : known < CAPACITY;
            assert_int_equal(tally_try(&tally, hash, limit), is_expected);
            known += is_expected && counts[name] == 0;
            counts[name] += is_expected;
        } else if (counts[name] > 0) {
            tally_return(&tally, hash);
            counts[name]--;
            known -= counts[name] == 0;
        }
        assert_int_equal(tally_count(&tally, hash), counts[name]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tally__a_limit_holds_for_its_name_alone, begin, end),
        cmocka_unit_test_setup_teardown(tally__a_limit_of_zero_is_none, begin, end),
        cmocka_unit_test_setup_teardown(tally__a_name_whose_count_is_zero_leaves_its_place, begin,
                                        end),
        cmocka_unit_test_setup_teardown(tally__what_was_not_taken_cannot_be_returned, begin, end),
        cmocka_unit_test_setup_teardown(tally__random_steps_agree_with_plain_counters, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
