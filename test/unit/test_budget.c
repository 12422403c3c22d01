/*
 * The steps of the budget: their bound on a random walk and on every word that a small
 * configuration reaches.
 */
#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include "base/ns.h"
#include "base/rng.h"
#include "core/budget.h"

static struct hf_err err;

/* ---- configuration ---- */

static void budget__the_default_configuration_passes_its_check(void **state)
{
    (void)state;
    struct budget_config config = budget_config_default();
    assert_int_equal(budget_config_check(&config, &err), HF_OK);
    assert_int_equal(config.share_ppm, 200000);
    assert_int_equal(config.reserve_per_second, 3);
    assert_int_equal(config.burst, 100);
}

static void budget__a_configuration_out_of_range_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct budget_config config;
        enum hf_rc rc;
        const char *says;
    } cases[] = {
        {{0, 0, 1}, HF_OK, ""},
        {{1000000, 10000, 10000}, HF_OK, ""},
        {{1000, 1, 1}, HF_OK, ""},
        {{-1000, 1, 1}, HF_RC_INVALID, "share"},
        {{1001000, 1, 1}, HF_RC_INVALID, "share"},
        {{1500, 1, 1}, HF_RC_INVALID, "0.1%"},
        {{0, 10001, 1}, HF_RC_INVALID, "reserve"},
        {{0, 0, 0}, HF_RC_INVALID, "burst"},
        {{0, 0, 10001}, HF_RC_INVALID, "burst"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        err_clear(&err);
        assert_int_equal(budget_config_check(&cases[i].config, &err), cases[i].rc);
        assert_non_null(strstr(err.message, cases[i].says));
    }
}

/* ---- steps ---- */

/* A budget of its own, so that the tests read as what happens. */
struct bucket {
    struct budget_config config;
    uint64_t word;
    int64_t now_ns;
};

static struct bucket bucket(int64_t share_ppm, uint32_t reserve, uint32_t burst, int64_t now_ns)
{
    struct bucket b = {{share_ppm, reserve, burst}, 0, now_ns};
    b.word = budget_word_init(&b.config, now_ns);
    return b;
}

static bool deposit(struct bucket *b)
{
    return budget_step_deposit(&b->config, b->word, b->now_ns, &b->word);
}

static bool withdraw(struct bucket *b)
{
    return budget_step_withdraw(&b->config, b->word, b->now_ns, &b->word);
}

static bool refund(struct bucket *b)
{
    return budget_step_refund(&b->config, b->word, &b->word);
}

static uint32_t tokens(const struct bucket *b)
{
    return budget_word_tokens(&b->config, b->word, b->now_ns);
}

static void budget__begins_full_and_gives_out_its_burst(void **state)
{
    (void)state;
    struct bucket b = bucket(0, 0, 7, HF_SEC(5));
    assert_true(budget_word_is_full(b.word, 7));
    assert_int_equal(tokens(&b), 7000);
    for (int i = 0; i < 7; i++)
        assert_true(withdraw(&b));
    assert_false(withdraw(&b));
    assert_int_equal(tokens(&b), 0);
}

static void budget__a_full_one_takes_nothing_in(void **state)
{
    (void)state;
    struct bucket b = bucket(200000, 3, 5, 0);
    uint64_t before = b.word;
    b.now_ns = HF_SEC(100);
    assert_false(deposit(&b));
    assert_false(refund(&b));
    assert_int_equal(b.word, before);
}

static void budget__five_calls_at_a_fifth_earn_one_retry(void **state)
{
    (void)state;
    struct bucket b = bucket(200000, 0, 1, 0);
    assert_true(withdraw(&b));
    for (int i = 0; i < 5; i++) {
        assert_false(withdraw(&b));
        assert_true(deposit(&b));
    }
    assert_true(budget_word_is_full(b.word, 1));
    assert_true(withdraw(&b));
    assert_false(withdraw(&b));
}

static void budget__a_refused_retry_takes_nothing(void **state)
{
    (void)state;
    struct bucket b = bucket(500000, 0, 1, 0);
    withdraw(&b);
    deposit(&b);
    uint64_t before = b.word;
    assert_false(withdraw(&b));
    assert_int_equal(b.word, before);
}

static void budget__the_reserve_is_what_it_says_to_the_millisecond(void **state)
{
    (void)state;
    struct bucket b = bucket(0, 3, 2, HF_SEC(1));
    withdraw(&b);
    withdraw(&b);
    b.now_ns = HF_SEC(1) + HF_MS(333);
    assert_int_equal(tokens(&b), 999);
    assert_false(withdraw(&b));
    b.now_ns = HF_SEC(1) + HF_MS(334);
    assert_true(withdraw(&b));
    assert_int_equal(tokens(&b), 2);
}

static void budget__a_share_of_a_millisecond_is_never_credited(void **state)
{
    (void)state;
    /* Begun just after a whole millisecond, asked just after the next one: no millisecond passed.
     */
    struct bucket b = bucket(0, 10000, 1, HF_MS(5) + 1);
    withdraw(&b);
    b.now_ns = HF_MS(6);
    assert_int_equal(tokens(&b), 0);
    b.now_ns = HF_MS(7);
    assert_int_equal(tokens(&b), 1000);
}

static void budget__a_deposit_credits_the_time_as_well(void **state)
{
    (void)state;
    struct bucket b = bucket(100000, 1, 1, 0);
    withdraw(&b);
    b.now_ns = HF_MS(900);
    assert_true(deposit(&b));
    assert_true(budget_word_is_full(b.word, 1)); /* the next deposit costs one load */
}

static void budget__a_time_before_the_last_one_credits_nothing(void **state)
{
    (void)state;
    struct bucket b = bucket(0, 10, 10, HF_SEC(10));
    for (int i = 0; i < 10; i++)
        withdraw(&b);
    b.now_ns = HF_SEC(11);
    assert_true(withdraw(&b));
    b.now_ns = HF_SEC(1);
    assert_int_equal(tokens(&b), 9000);
    assert_true(withdraw(&b));
    b.now_ns = HF_SEC(11); /* the second that was credited is not credited again */
    assert_int_equal(tokens(&b), 8000);
}

static void budget__years_of_silence_fill_it_once(void **state)
{
    (void)state;
    struct bucket b = bucket(0, 10000, 4, HF_SEC(1));
    withdraw(&b);
    b.now_ns = HF_SEC(3600) * 24 * 365 * 15;
    assert_int_equal(tokens(&b), 4000);
    for (int i = 0; i < 4; i++)
        assert_true(withdraw(&b));
    assert_false(withdraw(&b));
}

static void budget__the_clock_of_the_word_goes_round_after_35_years(void **state)
{
    (void)state;
    const int64_t round_ns = HF_MS(INT64_C(1) << 40);
    struct bucket b = bucket(0, 1, 4, round_ns - HF_SEC(1));
    withdraw(&b);
    withdraw(&b);
    b.now_ns = round_ns + HF_SEC(0);
    assert_int_equal(tokens(&b), 3000);
    assert_true(withdraw(&b));
    b.now_ns = round_ns + HF_SEC(1);
    assert_int_equal(tokens(&b), 3000);
}

static void budget__a_refund_gives_back_one_retry_and_never_more_than_fits(void **state)
{
    (void)state;
    struct bucket b = bucket(300000, 0, 2, 0);
    withdraw(&b);
    withdraw(&b);
    assert_true(refund(&b));
    assert_int_equal(tokens(&b), 1000);
    deposit(&b);
    assert_true(refund(&b));
    assert_int_equal(tokens(&b), 2000);
    assert_false(refund(&b));
}

/* ---- the bound ---- */

/* share * calls + reserve * time + burst, in tokens; times that go back count as standing still. */
static double bound(const struct bucket *b, uint64_t calls, int64_t spent_ns)
{
    return (double)b->config.share_ppm / 1e6 * (double)calls +
           (double)b->config.reserve_per_second * (double)spent_ns / 1e9 + (double)b->config.burst;
}

static void budget__retries_stay_within_the_bound_on_a_random_walk(void **state)
{
    (void)state;
    struct rng rng;
    for (uint64_t seed = 0; seed < 300; seed++) {
        rng_init(&rng, seed);
        int64_t begin_ns = rng_range_ns(&rng, 0, HF_SEC(1000));
        struct bucket b =
            bucket((int64_t)rng_below(&rng, 1001) * 1000, (uint32_t)rng_below(&rng, 50),
                   (uint32_t)rng_below(&rng, 20) + 1, begin_ns);
        int64_t latest_ns = begin_ns;
        uint64_t calls = 0, out = 0, ran = 0;
        for (int i = 0; i < 3000; i++) {
            /* Threads bring times that are late by up to 50 ms. */
            latest_ns += rng_range_ns(&rng, 0, HF_MS(2));
            b.now_ns = ns_max(begin_ns, latest_ns - rng_range_ns(&rng, 0, HF_MS(50)));
            uint64_t choice = rng_below(&rng, 4);
            if (choice == 0) {
                ++calls;
                deposit(&b);
            } else if (choice == 1 && out > 0) {
                --out;
                refund(&b);
            } else if (withdraw(&b)) {
                ++out;
            }
            if (out > 0 && rng_below(&rng, 3) == 0) {
                --out;
                ++ran;
            }
            assert_true((double)(ran + out) <= bound(&b, calls, latest_ns - begin_ns) + 1e-6);
        }
    }
}

static void budget__what_the_bound_allows_is_given(void **state)
{
    (void)state;
    /* 1000 calls a second, all failing and each asking for a retry, for 60 s: a fifth of them, the
     * reserve and the burst. */
    struct bucket b = bucket(200000, 3, 100, 0);
    uint64_t given = 0;
    for (int i = 0; i < 60000; i++) {
        b.now_ns = HF_MS(i);
        deposit(&b);
        given += withdraw(&b);
    }
    /* The first call's deposit finds the bucket full; the rest is rounding. */
    assert_in_range(given, 12000 + 180 + 100 - 2, 12000 + 180 + 100);
}

/* ---- every word of a small configuration ---- */

enum {
    SMALL_MS = 6,    /* milliseconds that pass at most */
    SMALL_CALLS = 3, /* deposits at most */
    SMALL_OUT = 12,  /* tokens out at most */
};

/* Where a path can be: the time, the time credited, deposits made, tokens out, tokens left. */
struct small {
    struct budget_config config;
    bool seen[SMALL_MS + 1][SMALL_MS + 1][SMALL_CALLS + 1][SMALL_OUT + 1][3001];
    uint64_t places;
};

static void explore(struct small *small, uint64_t word, int ms, int calls, int out)
{
    uint32_t left = (uint32_t)(word & 0xffffff);
    int64_t allowed = small->config.share_ppm / 1000 * calls +
                      (int64_t)small->config.reserve_per_second * ms +
                      (int64_t)small->config.burst * 1000;
    assert_true(left <= small->config.burst * 1000);
    assert_true((int64_t)out * 1000 + left <= allowed);
    bool *seen = &small->seen[ms][word >> 24][calls][out][left];
    if (*seen)
        return;
    *seen = true;
    ++small->places;
    uint64_t next;
    for (int late = 0; late <= ms; late++) { /* a thread may bring any earlier time */
        int64_t now_ns = HF_MS(ms - late);
        if (calls < SMALL_CALLS && budget_step_deposit(&small->config, word, now_ns, &next))
            explore(small, next, ms, calls + 1, out);
        if (budget_step_withdraw(&small->config, word, now_ns, &next))
            explore(small, next, ms, calls, out + 1);
    }
    if (out > 0 && budget_step_refund(&small->config, word, &next))
        explore(small, next, ms, calls, out - 1);
    if (ms < SMALL_MS)
        explore(small, word, ms + 1, calls, out);
}

static void budget__the_bound_holds_on_every_path_of_a_small_one(void **state)
{
    (void)state;
    static struct small small;
    static const struct budget_config configs[] = {
        {700000, 400, 1}, {1000000, 0, 2}, {0, 900, 2}, {300000, 250, 3}};
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        memset(&small, 0, sizeof small);
        small.config = configs[i];
        explore(&small, budget_word_init(&small.config, 0), 0, 0, 0);
        assert_true(small.places > 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budget__the_default_configuration_passes_its_check),
        cmocka_unit_test(budget__a_configuration_out_of_range_is_refused),
        cmocka_unit_test(budget__begins_full_and_gives_out_its_burst),
        cmocka_unit_test(budget__a_full_one_takes_nothing_in),
        cmocka_unit_test(budget__five_calls_at_a_fifth_earn_one_retry),
        cmocka_unit_test(budget__a_refused_retry_takes_nothing),
        cmocka_unit_test(budget__the_reserve_is_what_it_says_to_the_millisecond),
        cmocka_unit_test(budget__a_share_of_a_millisecond_is_never_credited),
        cmocka_unit_test(budget__a_deposit_credits_the_time_as_well),
        cmocka_unit_test(budget__a_time_before_the_last_one_credits_nothing),
        cmocka_unit_test(budget__years_of_silence_fill_it_once),
        cmocka_unit_test(budget__the_clock_of_the_word_goes_round_after_35_years),
        cmocka_unit_test(budget__a_refund_gives_back_one_retry_and_never_more_than_fits),
        cmocka_unit_test(budget__retries_stay_within_the_bound_on_a_random_walk),
        cmocka_unit_test(budget__what_the_bound_allows_is_given),
        cmocka_unit_test(budget__the_bound_holds_on_every_path_of_a_small_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
