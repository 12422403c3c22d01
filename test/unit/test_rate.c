/*
 * Rate: its bound for whoever comes when, its order, and what a refund gives back.
 */
#include "unit.h"

#include <string.h>

#include "base/ns.h"
#include "base/rng.h"
#include "core/rate_mt.h"

static struct hf_err err;

static void rate__a_configuration_out_of_range_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct rate_config config;
        enum hf_rc rc;
        const char *says;
    } cases[] = {
        {{0, 1}, HF_OK, ""},
        {{RATE_PER_SECOND_MAX, RATE_BURST_MAX}, HF_OK, ""},
        {{RATE_PER_SECOND_MAX + 1, 1}, HF_RC_INVALID, "the rate"},
        {{1, 0}, HF_RC_INVALID, "burst"},
        {{1, RATE_BURST_MAX + 1}, HF_RC_INVALID, "burst"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        err_clear(&err);
        assert_int_equal(rate_config_check(&cases[i].config, &err), cases[i].rc);
        assert_non_null(strstr(err.message, cases[i].says));
    }
}

static void rate__a_burst_goes_at_once_and_the_next_ones_keep_their_distance(void **state)
{
    (void)state;
    struct rate rate;
    int64_t wait_ns, now_ns = HF_SEC(1000);
    rate_init(&rate, &(struct rate_config){.per_second = 10, .burst = 3}, now_ns);
    for (int i = 0; i < 3; i++) {
        assert_true(rate_try_take(&rate, now_ns, 0, &wait_ns));
        assert_int_equal(wait_ns, 0);
    }
    assert_false(rate_try_take(&rate, now_ns, 0, &wait_ns));
    assert_int_equal(wait_ns, HF_MS(100));
    /* Who is ready to wait stands in line. */
    for (int i = 1; i <= 4; i++) {
        assert_true(rate_try_take(&rate, now_ns, HF_SEC(1), &wait_ns));
        assert_int_equal(wait_ns, i * HF_MS(100));
    }
    assert_false(rate_is_idle(&rate, now_ns));
    assert_true(rate_is_idle(&rate, now_ns + HF_MS(700)));
    /* After that the burst is whole again. */
    now_ns += HF_SEC(10);
    for (int i = 0; i < 3; i++)
        assert_true(rate_try_take(&rate, now_ns, 0, &wait_ns));
    assert_false(rate_try_take(&rate, now_ns, 0, &wait_ns));
}

static void rate__none_is_no_limit(void **state)
{
    (void)state;
    struct rate rate;
    int64_t wait_ns;
    rate_init(&rate, &(struct rate_config){.per_second = 0, .burst = 1}, 0);
    for (int i = 0; i < 1000; i++)
        assert_true(rate_try_take(&rate, 0, 0, &wait_ns));
    assert_true(rate_is_idle(&rate, 0));
}

static void rate__what_is_refunded_can_be_taken_again(void **state)
{
    (void)state;
    struct rate rate;
    int64_t wait_ns;
    rate_init(&rate, &(struct rate_config){.per_second = 1, .burst = 1}, 0);
    assert_true(rate_try_take(&rate, 0, 0, &wait_ns));
    assert_true(rate_try_take(&rate, 0, HF_SEC(9), &wait_ns));
    assert_int_equal(wait_ns, HF_SEC(1));
    rate_refund(&rate);
    assert_true(rate_try_take(&rate, 0, HF_SEC(9), &wait_ns));
    assert_int_equal(wait_ns, HF_SEC(1));
}

static void rate__another_pace_keeps_what_is_remembered(void **state)
{
    (void)state;
    struct rate rate;
    int64_t wait_ns;
    rate_init(&rate, &(struct rate_config){.per_second = 1, .burst = 1}, 0);
    assert_true(rate_try_take(&rate, 0, 0, &wait_ns));
    rate_configure(&rate, &(struct rate_config){.per_second = 100, .burst = 1});
    assert_false(rate_try_take(&rate, 0, 0, &wait_ns));
    assert_int_equal(wait_ns, HF_SEC(1)); /* the old distance was taken already */
    assert_true(rate_try_take(&rate, HF_SEC(1), 0, &wait_ns));
    assert_false(rate_try_take(&rate, HF_SEC(1), 0, &wait_ns));
    assert_int_equal(wait_ns, HF_MS(10));
}

/* Invariant 1: of all that go in any span, no more than the burst and the span's share. */
static void rate__no_span_has_more_than_its_share_whoever_comes_when(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rng rng;
        const struct rate_config config = {.per_second = 50, .burst = 5};
        struct rate rate;
        int64_t went_ns[400], now_ns = HF_SEC(1), wait_ns;
        int count = 0;
        rng_init(&rng, seed);
        rate_init(&rate, &config, now_ns);
        for (int i = 0; i < 1000 && count < 400; i++) {
            now_ns += rng_range_ns(&rng, 0, HF_MS(12));
            if (rate_try_take(&rate, now_ns, rng_range_ns(&rng, 0, HF_MS(60)), &wait_ns))
                went_ns[count++] = now_ns + wait_ns;
        }
        assert_true(count > 100);
        for (int i = 0; i < count; i++) {
            for (int j = i; j < count; j++) {
                assert_true(i == j || went_ns[j] >= went_ns[j - 1]);
                assert_true(j - i + 1 <= 5 + (went_ns[j] - went_ns[i]) / HF_MS(20));
            }
        }
    }
}

static void rate__a_step_that_is_refused_leaves_the_word(void **state)
{
    (void)state;
    const struct rate_pace pace = rate_pace_of(&(struct rate_config){.per_second = 4, .burst = 2});
    int64_t next, wait_ns;
    assert_int_equal(pace.interval_ns, HF_MS(250));
    assert_int_equal(pace.tolerance_ns, HF_MS(250));
    assert_false(rate_step_take(&pace, HF_SEC(5), HF_SEC(1), HF_SEC(1), &next, &wait_ns));
    assert_int_equal(next, HF_SEC(5));
    assert_int_equal(wait_ns, HF_SEC(4) - HF_MS(250));
    assert_int_equal(rate_step_refund(&pace, HF_SEC(5)), HF_SEC(5) - HF_MS(250));
    assert_true(rate_word_is_idle(1, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rate__a_configuration_out_of_range_is_refused),
        cmocka_unit_test(rate__a_burst_goes_at_once_and_the_next_ones_keep_their_distance),
        cmocka_unit_test(rate__none_is_no_limit),
        cmocka_unit_test(rate__what_is_refunded_can_be_taken_again),
        cmocka_unit_test(rate__another_pace_keeps_what_is_remembered),
        cmocka_unit_test(rate__no_span_has_more_than_its_share_whoever_comes_when),
        cmocka_unit_test(rate__a_step_that_is_refused_leaves_the_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
