#include "unit.h"

#include <stdalign.h>
#include <string.h>

#include "base/ns.h"
#include "base/rng.h"
#include "core/adapt.h"
#include "core/bulkhead_mt.h"
#include "crowd.h"

static alignas(BULKHEAD_ALIGN) char memory[sizeof(struct bulkhead)];
static struct crowd crowd;

/* ---- configuration ---- */

static void adapt__the_default_configuration_is_valid(void **state)
{
    (void)state;
    struct adapt_config config = adapt_config_default();
    struct hf_err err;
    assert_int_equal(adapt_config_check(&config, &err), HF_OK);
}

static void adapt__a_configuration_out_of_range_is_refused(void **state)
{
    (void)state;
    struct adapt_config bad[7];
    for (size_t i = 0; i < 7; i++)
        bad[i] = adapt_config_default();
    bad[0].limit_min = 0;
    bad[1].limit_min = bad[1].limit_max + 1;
    bad[2].limit_max = ADAPT_LIMIT_MAX + 1;
    bad[3].samples_min = 9;
    bad[4].samples_min = 10001;
    bad[5].window_ns = 0;
    bad[6].window_ns = HF_NEVER;
    for (size_t i = 0; i < 7; i++) {
        struct hf_err err;
        assert_int_equal(adapt_config_check(&bad[i], &err), HF_RC_INVALID);
        assert_string_equal(err.sqlstate, "22023");
        assert_int_equal(adapt_config_check(&bad[i], NULL), HF_RC_INVALID);
    }
}

/* ---- logarithms ---- */

static void adapt__logarithms_grow_and_are_exact_for_powers_of_two(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 62; i++) {
        assert_int_equal(adapt_log2(INT64_C(1) << i), (uint64_t)i << 16);
        assert_int_equal(adapt_exp2_ns((uint64_t)i << 16), INT64_C(1) << i);
    }
    uint64_t last = 0;
    for (int64_t ns = 1; ns < HF_SEC(1000); ns += 1 + ns / 1000) {
        assert_true(adapt_log2(ns) >= last);
        last = adapt_log2(ns);
        int64_t back = adapt_exp2_ns(last);
        int64_t error = back > ns ? back - ns : ns - back;
        assert_true(error <= 1 + ns / 100);
    }
    assert_int_equal(adapt_log2(0), 0);
    assert_int_equal(adapt_log2(-5), 0);
    assert_int_equal(adapt_exp2_ns(adapt_log2(HF_NEVER)), HF_NEVER);
}

/* ---- samples ---- */

static void adapt__samples_add_up_in_one_word(void **state)
{
    (void)state;
    uint64_t word = adapt_step_sample(0, 1024, false);
    word = adapt_step_sample(word, 4096, false);
    assert_int_equal(adapt_word_count(word), 2);
    assert_int_equal(adapt_word_mean(word), 11 << 16);
    word = adapt_step_sample(word, 1, true);
    assert_int_equal(adapt_word_count(word), 2);
    assert_int_equal(adapt_word_overloads(word), 1);
    assert_int_equal(adapt_word_mean(word), 11 << 16);
    word |= ADAPT_CLAIMED;
    assert_true(adapt_step_sample(word, 1024, false) == word);
    assert_true(adapt_step_sample(word, 1024, true) == word);
}

static void adapt__a_full_word_takes_no_more(void **state)
{
    (void)state;
    uint64_t word = 0;
    for (int i = 0; i < ADAPT_SAMPLES_MAX; i++)
        word = adapt_step_sample(adapt_step_sample(word, HF_NEVER, false), 1, true);
    assert_int_equal(adapt_word_count(word), ADAPT_SAMPLES_MAX);
    assert_int_equal(adapt_word_overloads(word), ADAPT_OVERLOADS_MAX);
    assert_in_range(adapt_word_mean(word), adapt_log2(HF_NEVER) - 64, adapt_log2(HF_NEVER));
    assert_true(adapt_step_sample(word, 1, false) == word);
    assert_true(adapt_step_sample(word, 1, true) == word);
}

/* A word as `count` samples of `ran_ns` and some overloads leave it. */
static uint64_t word_of(uint32_t count, int64_t ran_ns, uint32_t overloads)
{
    return count * (adapt_log2(ran_ns) >> (16 - ADAPT_SUM_PLACES)) |
           (uint64_t)count << ADAPT_COUNT_AT | (uint64_t)overloads << ADAPT_OVER_AT;
}

static void adapt__a_window_is_long_enough_and_has_enough_samples(void **state)
{
    (void)state;
    struct adapt_config config = adapt_config_default();
    const int64_t begun = HF_SEC(1), due = HF_SEC(1) + config.window_ns;
    const struct {
        uint32_t limit;
        uint64_t word;
        int64_t now_ns;
        bool is_due;
    } cases[] = {
        {200, word_of(200, HF_MS(1), 0), due, true},
        {200, word_of(199, HF_MS(1), 0), due, false},
        {200, word_of(200, HF_MS(1), 0), due - 1, false},
        {200, word_of(200, HF_MS(1), 0) | ADAPT_CLAIMED, due, false},
        {5, word_of(35, HF_MS(1), 0), due, true}, /* a small limit needs fewer */
        {5, word_of(34, HF_MS(1), 0), due, false},
        {200, word_of(0, 1, 20), due, true}, /* an overload counts for ten */
        {200, word_of(9, 1, 19), due, false},
        {200, word_of(200, HF_SEC(1), 0), begun + HF_MS(4100), true}, /* four mean durations */
        {200, word_of(200, HF_SEC(1), 0), begun + HF_MS(3900), false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct adapt_window window = adapt_window_open(&config, cases[i].limit, begun);
        assert_int_equal(adapt_window_is_due(&window, cases[i].word, cases[i].now_ns),
                         cases[i].is_due);
    }
}

/* ---- one window after the other ---- */

/* An adaptive limit that has just measured 1 ms while not crowded. */
static struct adapt measured_of(const struct adapt_config *config, uint32_t limit)
{
    struct adapt adapt;
    adapt_init(&adapt, config, limit);
    assert_int_equal(adapt.verdict, ADAPT_BEGUN);
    uint32_t dip = adapt_close(&adapt, config, word_of(100, HF_MS(1), 0), limit);
    assert_int_equal(adapt.verdict, ADAPT_DIPPED);
    assert_int_equal(dip, adapt_clamp(config, limit / 2 - 2));
    assert_int_equal(adapt_close(&adapt, config, word_of(100, HF_MS(1), 0), dip), limit);
    assert_int_equal(adapt.verdict, ADAPT_MEASURED);
    return adapt;
}

static void adapt__the_crowd_decides(void **state)
{
    (void)state;
    struct adapt_config config = adapt_config_default();
    const struct {
        uint32_t limit;
        uint64_t word;
        uint32_t peak;
        uint32_t next;
        enum adapt_verdict verdict;
    } cases[] = {
        /* alpha is 13 and beta 27 where 100 ran */
        {100, word_of(100, HF_US(1000), 0), 100, 113, ADAPT_GREW},
        {100, word_of(100, HF_US(1120), 0), 100, 113, ADAPT_GREW},
        {100, word_of(100, HF_US(1180), 0), 100, 100, ADAPT_KEPT},
        {100, word_of(100, HF_US(1350), 0), 100, 100, ADAPT_KEPT},
        {100, word_of(100, HF_US(2000), 0), 100, 81, ADAPT_SHRANK}, /* half of 50 - 13 */
        {100, word_of(100, HF_MS(1000), 0), 100, 57, ADAPT_SHRANK},
        {100, word_of(100, HF_US(500), 0), 100, 113, ADAPT_GREW},
        {100, word_of(100, HF_US(1000), 0), 130, 113, ADAPT_GREW}, /* a debt is no peak */
        /* not reached: no growth, but a crowd is a crowd */
        {100, word_of(100, HF_US(1000), 0), 99, 100, ADAPT_IDLE},
        {100, word_of(100, HF_US(1350), 0), 60, 100, ADAPT_IDLE},
        {100, word_of(100, HF_US(2000), 0), 60, 49, ADAPT_SHRANK},
        /* overload: more than one in 32 */
        {100, word_of(961, HF_MS(1), 31), 100, 113, ADAPT_GREW},
        {100, word_of(960, HF_MS(1), 31), 100, 90, ADAPT_CUT},
        {100, word_of(0, 1, 10), 100, 90, ADAPT_CUT},
        {100, word_of(0, 1, 10), 50, 45, ADAPT_CUT},
        {11, word_of(0, 1, 10), 11, 9, ADAPT_CUT},
        /* the bounds */
        {200, word_of(100, HF_MS(1), 0), 200, 200, ADAPT_GREW},
        {198, word_of(100, HF_MS(1), 0), 198, 200, ADAPT_GREW},
        {7, word_of(100, HF_MS(1000), 0), 7, 5, ADAPT_SHRANK},
        {6, word_of(0, 1, 10), 6, 5, ADAPT_CUT},
        {6, word_of(0, 1, 10), 1, 5, ADAPT_CUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct adapt adapt = measured_of(&config, cases[i].limit);
        assert_int_equal(adapt_close(&adapt, &config, cases[i].word, cases[i].peak), cases[i].next);
        assert_int_equal(adapt.verdict, cases[i].verdict);
        assert_int_equal(adapt.limit, cases[i].next);
    }
}

static void adapt__what_is_measured_in_a_dip_is_judged_at_once(void **state)
{
    (void)state;
    struct adapt_config config = adapt_config_default();
    struct adapt adapt;
    adapt_init(&adapt, &config, 100);
    assert_int_equal(adapt_close(&adapt, &config, word_of(100, HF_MS(4), 0), 100), 48);
    /* Half as many took half as long: the crowd was ours. */
    assert_int_equal(adapt_close(&adapt, &config, word_of(100, HF_MS(2), 0), 48), 81);
    assert_int_equal(adapt.verdict, ADAPT_SHRANK);
    assert_int_equal(adapt.phase, ADAPT_STEADY);
    /* An overload ends a dip. */
    adapt_init(&adapt, &config, 100);
    adapt_close(&adapt, &config, word_of(100, HF_MS(4), 0), 100);
    assert_int_equal(adapt_close(&adapt, &config, word_of(0, 1, 10), 48), 90);
    assert_int_equal(adapt.phase, ADAPT_STEADY);
}

static void adapt__a_slower_server_is_told_from_a_crowd(void **state)
{
    (void)state;
    struct adapt_config config = adapt_config_default();
    struct adapt adapt = measured_of(&config, 100);
    for (int i = 0; i < 3; i++)
        adapt_close(&adapt, &config, word_of(100, HF_US(1250), 0), 100);
    assert_int_equal(adapt.limit, 100);
    /* Everything takes ten times as long now. It might be us; but the second time we ask. */
    uint64_t slow = word_of(100, HF_MS(10), 0);
    uint32_t shrunk = adapt_close(&adapt, &config, slow, 100);
    assert_int_equal(adapt.verdict, ADAPT_SHRANK);
    assert_int_equal(adapt_close(&adapt, &config, slow, shrunk), shrunk / 2 - 2);
    assert_int_equal(adapt.verdict, ADAPT_DIPPED);
    assert_int_equal(adapt_close(&adapt, &config, slow, shrunk), shrunk);
    assert_int_equal(adapt.verdict, ADAPT_MEASURED);
    for (int i = 0; i < 3; i++)
        adapt_close(&adapt, &config, slow, adapt.limit);
    assert_true(adapt.limit > shrunk + 9);
}

static void adapt__a_faster_server_is_believed_at_once(void **state)
{
    (void)state;
    struct adapt_config config = adapt_config_default();
    struct adapt adapt = measured_of(&config, 100);
    adapt_close(&adapt, &config, word_of(100, HF_US(900), 0), 100);
    assert_in_range(adapt.unloaded, adapt_log2(HF_US(990)), adapt_log2(HF_US(1010)));
    adapt_close(&adapt, &config, word_of(100, HF_US(500), 0), 100);
    assert_in_range(adapt.unloaded, adapt_log2(HF_US(495)), adapt_log2(HF_US(505)));
    assert_int_equal(adapt.dip_interval, 4);
}

/* Closes windows of a limit that is reached until it dips; returns how many did not. */
static unsigned windows_until_dip(struct adapt *adapt, const struct adapt_config *config,
                                  uint64_t word)
{
    for (unsigned windows = 0;; windows++) {
        adapt_close(adapt, config, word, adapt->limit);
        if (adapt->phase == ADAPT_DIP)
            return windows;
    }
}

static void adapt__dips_become_rare_and_news_make_them_frequent(void **state)
{
    (void)state;
    struct adapt_config config = adapt_config_default();
    struct adapt adapt;
    adapt_init(&adapt, &config, 100);
    uint64_t steady = word_of(100, HF_US(1250), 0), unloaded = word_of(100, HF_US(1000), 0);
    const unsigned intervals[] = {0, 4, 8, 16, 32, 32};
    for (size_t i = 0; i < sizeof intervals / sizeof intervals[0]; i++) {
        assert_int_equal(windows_until_dip(&adapt, &config, steady), intervals[i]);
        adapt_close(&adapt, &config, unloaded, 48);
    }
    windows_until_dip(&adapt, &config, steady);
    adapt_close(&adapt, &config, word_of(100, HF_US(2000), 0), 48);
    assert_int_equal(adapt.dip_interval, 4);
    windows_until_dip(&adapt, &config, word_of(100, HF_US(2500), 0));
    windows_until_dip(&adapt, &config, word_of(100, HF_US(2500), 0));
    adapt_close(&adapt, &config, unloaded, 48); /* so there was a crowd */
    assert_int_equal(adapt.verdict, ADAPT_SHRANK);
    assert_int_equal(adapt.dip_interval, 4);
}

static void adapt__without_pressure_there_are_no_dips(void **state)
{
    (void)state;
    struct adapt_config config = adapt_config_default();
    struct adapt adapt = measured_of(&config, 100);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(adapt_close(&adapt, &config, word_of(100, HF_US(1100), 0), 60), 100);
        assert_int_equal(adapt.verdict, ADAPT_IDLE);
    }
}

static void adapt__quiet_times_are_measurements(void **state)
{
    (void)state;
    struct adapt_config config = adapt_config_default();
    struct adapt adapt = measured_of(&config, 100);
    adapt_close(&adapt, &config, word_of(100, HF_MS(3), 0), 5);
    assert_in_range(adapt.unloaded, adapt_log2(HF_US(2970)), adapt_log2(HF_US(3030)));
    assert_int_equal(adapt.age, 1);
    assert_int_equal(adapt.limit, 100);
}

static void adapt__the_floor_is_left_without_a_dip(void **state)
{
    (void)state;
    struct adapt_config config = adapt_config_default();
    struct adapt adapt;
    adapt_init(&adapt, &config, config.limit_min);
    for (uint32_t i = 1; i <= 20; i++) {
        uint32_t limit = adapt_close(&adapt, &config, word_of(100, HF_MS(7), 0), adapt.limit);
        assert_true(limit >= config.limit_min);
    }
    assert_true(adapt.limit > 2 * config.limit_min);
}

static void adapt__operations_that_take_no_time_are_known_too(void **state)
{
    (void)state;
    struct adapt_config config = adapt_config_default();
    struct adapt adapt;
    adapt_init(&adapt, &config, 100);
    adapt_close(&adapt, &config, word_of(100, 0, 0), 100);
    adapt_close(&adapt, &config, word_of(100, 0, 0), 48);
    adapt_close(&adapt, &config, word_of(100, 0, 0), 100);
    assert_int_equal(adapt.verdict, ADAPT_GREW);
}

static void adapt__a_closed_limit_stays_closed(void **state)
{
    (void)state;
    struct adapt_config config = adapt_config_default();
    struct adapt adapt;
    adapt_init(&adapt, &config, 0);
    assert_int_equal(adapt_close(&adapt, &config, word_of(100, HF_MS(7), 0), 5), 0);
    assert_int_equal(adapt_close(&adapt, &config, word_of(0, 1, 99), 5), 0);
}

static void adapt__bounds_hold_for_any_samples_and_equal_ones_give_equal_limits(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 7);
    struct adapt_config config = adapt_config_default();
    struct adapt one, other;
    adapt_init(&one, &config, 50);
    adapt_init(&other, &config, 50);
    for (int i = 0; i < 100000; i++) {
        if (rng_below(&rng, 1000) == 0) { /* another configuration */
            config.limit_min = 1 + (uint32_t)rng_below(&rng, 50);
            config.limit_max = config.limit_min + (uint32_t)rng_below(&rng, 500);
        }
        uint32_t overloads = rng_below(&rng, 4) == 0 ? (uint32_t)rng_below(&rng, 20) : 0;
        uint32_t samples = (overloads > 0 ? 0 : 1) + (uint32_t)rng_below(&rng, 1000);
        int64_t ran_ns = (int64_t)(rng_u64(&rng) >> (1 + rng_below(&rng, 63)));
        uint64_t word = word_of(samples, ran_ns, overloads);
        uint32_t peak = (uint32_t)rng_below(&rng, 2 * one.limit);
        uint32_t limit = adapt_close(&one, &config, word, peak);
        assert_in_range(limit, config.limit_min, config.limit_max);
        assert_in_range(one.limit, config.limit_min, config.limit_max);
        assert_int_equal(limit, adapt_close(&other, &config, word, peak));
        assert_memory_equal(&one, &other, sizeof one);
    }
}

static void adapt__verdicts_have_names(void **state)
{
    (void)state;
    for (int i = 0; i < ADAPT_VERDICTS; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(adapt_verdict_name((enum adapt_verdict)i),
                                    adapt_verdict_name((enum adapt_verdict)j));
}

/* ---- inside a bulkhead ---- */

#define WAITERS 8
static struct bulkhead_waiter waiter[WAITERS];

static struct bulkhead_config adaptive_config_of(uint32_t limit)
{
    struct bulkhead_config config = bulkhead_config_default();
    config.limit = limit;
    config.has_histograms = false;
    config.is_adaptive = true;
    config.adapt.limit_min = 2;
    config.adapt.limit_max = 40;
    return config;
}

static struct bulkhead_view view_of(struct bulkhead *b)
{
    struct bulkhead_view view;
    bulkhead_view(b, 0, &view);
    return view;
}

static void adapt__a_limit_set_by_hand_stays_within_bounds(void **state)
{
    (void)state;
    struct bulkhead_config config = adaptive_config_of(100);
    struct bulkhead *b = bulkhead_init(memory, &config, 0);
    assert_int_equal(bulkhead_limit(b), 40);
    bulkhead_resize(b, 1, 0);
    assert_int_equal(bulkhead_limit(b), 2);
    bulkhead_resize(b, 0, 0); /* closed is closed */
    assert_int_equal(bulkhead_limit(b), 0);
}

static void adapt__a_new_configuration_keeps_what_was_learnt(void **state)
{
    (void)state;
    struct bulkhead_config config = adaptive_config_of(10);
    struct bulkhead *b = bulkhead_init(memory, &config, 0);
    config.limit = 20; /* where it would start */
    config.queue_max = 3;
    config.adapt.limit_max = 30;
    bulkhead_configure(b, &config, 0);
    assert_int_equal(bulkhead_limit(b), 10);
    config.adapt.limit_max = 8;
    bulkhead_configure(b, &config, 0);
    assert_int_equal(bulkhead_limit(b), 8);
    config.limit = 0;
    bulkhead_configure(b, &config, 0);
    assert_int_equal(bulkhead_limit(b), 0);
    config.limit = 5;
    bulkhead_configure(b, &config, 0);
    assert_int_equal(bulkhead_limit(b), 5);
    config.is_adaptive = false;
    config.limit = 100;
    bulkhead_configure(b, &config, 0);
    assert_int_equal(bulkhead_limit(b), 100);
    assert_false(view_of(b).is_adaptive);
}

/* Gives the samples of a window to a bulkhead that is full for that time; returns its end. */
static int64_t fill_window(struct bulkhead *b, int64_t now_ns, int64_t run_ns)
{
    static struct bulkhead_permit busy[40];
    uint64_t windows = view_of(b).windows;
    uint32_t limit = bulkhead_limit(b);
    for (int i = 0; i < 100 && view_of(b).windows == windows; i++) {
        for (uint32_t j = 0; j < limit; j++)
            assert_true(bulkhead_try(b, now_ns, &busy[j]));
        now_ns += run_ns;
        for (uint32_t j = 0; j < limit; j++) {
            busy[j].ending = BULKHEAD_RAN;
            assert_true(bulkhead_release(b, &busy[j], now_ns));
        }
    }
    assert_true(view_of(b).windows == windows + 1);
    return now_ns;
}

static void adapt__a_limit_that_grows_serves_those_who_wait(void **state)
{
    (void)state;
    struct bulkhead_config config = adaptive_config_of(10);
    memset(waiter, 0, sizeof waiter);
    struct bulkhead *b = bulkhead_init(memory, &config, 0);
    int64_t now = fill_window(b, 0, HF_MS(50));
    assert_int_equal(view_of(b).verdict, ADAPT_DIPPED);
    assert_int_equal(bulkhead_limit(b), 3);
    now = fill_window(b, now, HF_MS(50));
    assert_int_equal(view_of(b).verdict, ADAPT_MEASURED);
    assert_int_equal(view_of(b).high_water, 10); /* of all windows, not of the dip */
    assert_int_equal(bulkhead_limit(b), 10);
    /* Ten take as long as five did, so there is room for more; but now calls wait, and the limit is
     * not raised past them by whoever happens to close the window. */
    static struct bulkhead_permit busy[10];
    for (size_t i = 0; i < 10; i++)
        assert_true(bulkhead_try(b, now, &busy[i]));
    for (size_t i = 0; i < WAITERS; i++)
        assert_int_equal(bulkhead_enter(b, &waiter[i], now, 0, HF_NEVER), BULKHEAD_QUEUED);
    uint64_t windows = view_of(b).windows;
    for (size_t i = 0; view_of(b).windows == windows; i++) {
        now += i % 10 == 0 ? HF_MS(50) : 0;
        busy[i % 10].ending = BULKHEAD_RAN;
        struct bulkhead_waiter *next = bulkhead_hand_over(b, &busy[i % 10], now);
        assert_ptr_equal(next, &waiter[i % WAITERS]);
        busy[i % 10] = waiter[i % WAITERS].permit;
        assert_int_equal(bulkhead_enter(b, &waiter[i % WAITERS], now, 0, HF_NEVER),
                         BULKHEAD_QUEUED);
    }
    assert_int_equal(view_of(b).verdict, ADAPT_GREW);
    assert_int_equal(bulkhead_limit(b), 10);
    assert_non_null(bulkhead_pop_granted(b, now));
    assert_non_null(bulkhead_pop_granted(b, now));
    assert_null(bulkhead_pop_granted(b, now));
    assert_int_equal(bulkhead_limit(b), 12);
    assert_int_equal(bulkhead_in_use(b), 12);
}

static void adapt__an_order_given_while_a_window_is_closed_is_carried_out(void **state)
{
    (void)state;
    struct bulkhead_config config = adaptive_config_of(30);
    struct bulkhead *b = bulkhead_init(memory, &config, 0);
    struct bulkhead_waiter nobody = {0};
    /* Another thread has claimed the window; the order is in force all the same ... */
    atomic_store(&b->samples, ADAPT_CLAIMED);
    bulkhead_resize(b, 20, 5);
    assert_int_equal(bulkhead_limit(b), 20);
    assert_true(bulkhead_withdraw(b, &nobody, 5));
    assert_int_equal(bulkhead_limit(b), 20);
    /* ... sets what it found before it could know better, opens the next one, and looks again. */
    atomic_store(&b->limit_wanted, 9);
    atomic_store(&b->word, UINT64_C(9) << BULKHEAD_LIMIT_AT);
    atomic_store(&b->samples, 0);
    bulkhead_adapt(b, 5);
    assert_int_equal(bulkhead_limit(b), 20);
    assert_int_equal(b->adapt.limit, 20);
    assert_true(bulkhead_withdraw(b, &nobody, 5));
    assert_int_equal(bulkhead_limit(b), 20);
}

/* ---- with a server behind it ---- */

/* A server that is asked for more than it can do, behind a limit that starts from `start`. */
static void saturate(uint32_t capacity, int64_t work_ns, enum crowd_mix mix, uint32_t start,
                     uint64_t seed)
{
    struct bulkhead_config config = bulkhead_config_default();
    config.is_adaptive = true;
    config.has_histograms = false;
    config.limit = start;
    config.adapt.limit_max = 1000;
    memset(&crowd, 0, sizeof crowd);
    crowd.capacity = capacity;
    crowd.work_ns = work_ns;
    crowd.mix = mix;
    crowd.clients = 2 * capacity + 60;
    crowd.think_ns = work_ns / 2;
    crowd_begin(&crowd, bulkhead_init(memory, &config, 0), seed);
}

struct course {
    uint32_t lowest, highest; /* of the limit, dips left out */
    double mean;
    double throughput; /* as a share of what the server can do */
    double refused;    /* as a share of all calls */
};

/* Lets the crowd run for some time and watches. */
static struct course watch(int64_t for_ns)
{
    struct bulkhead *b = crowd.bulkhead;
    struct course course = {.lowest = UINT32_MAX};
    struct bulkhead_view before = view_of(b);
    uint64_t served = crowd.served;
    const int looks = 200;
    for (int i = 0; i < looks; i++) {
        crowd_until(&crowd, crowd.now_ns + for_ns / looks);
        uint32_t limit = b->adapt.limit;
        course.lowest = limit < course.lowest ? limit : course.lowest;
        course.highest = limit > course.highest ? limit : course.highest;
        course.mean += (double)limit / looks;
    }
    struct bulkhead_view after = view_of(b);
    served = crowd.served - served;
    uint64_t refused = after.refused[BULKHEAD_REFUSED_FULL] + after.timed_out -
                       before.refused[BULKHEAD_REFUSED_FULL] - before.timed_out;
    course.refused = (double)refused / (double)(refused + served);
    course.throughput = (double)served * (double)crowd.work_ns / crowd.capacity / (double)for_ns;
    return course;
}

static void print_course(const char *what, const struct course *course)
{
    print_message("%s %5.0f of %3.0f ms: limit %3u .. %3u, on average %5.1f, throughput %.2f\n",
                  what, crowd.capacity, (double)crowd.work_ns / 1e6, course->lowest,
                  course->highest, course->mean, course->throughput);
}

static void adapt__the_limit_settles_between_the_capacity_and_twice_that(void **state)
{
    (void)state;
    const struct {
        uint32_t capacity;
        int64_t work_ns;
        enum crowd_mix mix;
        uint32_t start;
    } cases[] = {
        {4, HF_MS(5), CROWD_EVEN, 20},      {4, HF_MS(5), CROWD_RANDOM, 200},
        {10, HF_MS(10), CROWD_EVEN, 5},     {10, HF_MS(10), CROWD_RANDOM, 20},
        {10, HF_MS(10), CROWD_MIXED, 20},   {10, HF_MS(200), CROWD_RANDOM, 50},
        {50, HF_MS(10), CROWD_EVEN, 1000},  {50, HF_MS(10), CROWD_RANDOM, 20},
        {50, HF_MS(30), CROWD_MIXED, 5},    {200, HF_MS(20), CROWD_EVEN, 20},
        {200, HF_MS(20), CROWD_MIXED, 800}, {200, HF_MS(50), CROWD_RANDOM, 20},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        saturate(cases[i].capacity, cases[i].work_ns, cases[i].mix, cases[i].start, i);
        watch(ns_max(HF_SEC(20), 800 * cases[i].work_ns));
        struct course course = watch(ns_max(HF_SEC(20), 400 * cases[i].work_ns));
        print_course("capacity", &course);
        double capacity = cases[i].capacity;
        assert_true(course.mean >= capacity);
        assert_true(course.mean <= 2 * capacity + 2);
        assert_true(course.lowest >= 0.7 * capacity);
        assert_true(course.highest <= 2.5 * capacity + 3);
        assert_true(course.throughput > 0.92);
    }
}

static void adapt__a_limit_under_steady_overload_does_not_run_away(void **state)
{
    (void)state;
    saturate(20, HF_MS(50), CROWD_RANDOM, 20, 1);
    watch(HF_SEC(40));
    struct course course = watch(HF_SEC(600));
    print_course("ten minutes at", &course);
    assert_true(course.highest <= 50);
    assert_true(course.lowest >= 16);
}

static void adapt__the_limit_follows_a_capacity_that_falls_and_returns(void **state)
{
    (void)state;
    saturate(80, HF_MS(10), CROWD_RANDOM, 20, 1);
    watch(HF_SEC(30));
    crowd.capacity = 20;
    watch(HF_SEC(10));
    struct course low = watch(HF_SEC(20));
    print_course("fallen to", &low);
    assert_true(low.highest <= 45);
    crowd.capacity = 80;
    watch(HF_SEC(10));
    struct course high = watch(HF_SEC(20));
    print_course("back at", &high);
    assert_true(high.lowest >= 70);
    assert_true(high.highest <= 160);
}

static void adapt__a_server_that_gets_slower_keeps_its_limit(void **state)
{
    (void)state;
    const int64_t slower_ns[] = {HF_MS(15), HF_MS(40), HF_MS(200)};
    for (size_t i = 0; i < sizeof slower_ns / sizeof slower_ns[0]; i++) {
        saturate(50, HF_MS(10), CROWD_RANDOM, 20, i);
        watch(HF_SEC(30));
        crowd.work_ns = slower_ns[i];
        struct course change = watch(HF_SEC(30));
        struct course after = watch(HF_SEC(30));
        print_course("slower", &after);
        assert_true(change.lowest >= 20);
        assert_true(after.mean >= 45);
        crowd.work_ns = HF_MS(10);
        watch(HF_SEC(10));
        struct course again = watch(HF_SEC(10));
        assert_true(again.highest <= 100);
        assert_true(again.mean >= 50);
    }
}

static void adapt__steady_healthy_load_is_left_alone(void **state)
{
    (void)state;
    for (enum crowd_mix mix = CROWD_EVEN; mix <= CROWD_MIXED; mix++) {
        saturate(100, HF_MS(10), mix, 100, 3);
        crowd.clients = 120; /* of whom half think, so about 60 run */
        crowd.think_ns = HF_MS(10);
        watch(HF_SEC(5));
        struct course course = watch(HF_SEC(40));
        print_course("healthy", &course);
        assert_true(course.lowest >= 60);
        assert_true(course.refused < 0.001);
    }
}

static void adapt__the_servers_own_limit_is_found_by_its_refusals(void **state)
{
    (void)state;
    saturate(200, HF_MS(10), CROWD_RANDOM, 20, 1);
    crowd.overload_above = 50; /* max_connections, say */
    watch(HF_SEC(60));
    struct course course = watch(HF_SEC(60));
    print_course("50 connections to", &course);
    assert_true(course.highest <= 70);
    assert_true(course.lowest >= 35);
}

static void adapt__stray_failures_do_not_bring_the_limit_down(void **state)
{
    (void)state;
    saturate(50, HF_MS(10), CROWD_RANDOM, 20, 1);
    crowd.stray_timeouts = 0.01;
    watch(HF_SEC(20));
    struct course course = watch(HF_SEC(60));
    print_course("one in a hundred fails,", &course);
    assert_true(course.lowest >= 45);
}

static void adapt__the_same_load_gives_the_same_course(void **state)
{
    (void)state;
    struct course courses[2];
    memset(courses, 0, sizeof courses);
    for (size_t i = 0; i < 2; i++) {
        saturate(30, HF_MS(10), CROWD_MIXED, 20, 5);
        courses[i] = watch(HF_SEC(20));
    }
    assert_memory_equal(&courses[0], &courses[1], sizeof courses[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adapt__the_default_configuration_is_valid),
        cmocka_unit_test(adapt__a_configuration_out_of_range_is_refused),
        cmocka_unit_test(adapt__logarithms_grow_and_are_exact_for_powers_of_two),
        cmocka_unit_test(adapt__samples_add_up_in_one_word),
        cmocka_unit_test(adapt__a_full_word_takes_no_more),
        cmocka_unit_test(adapt__a_window_is_long_enough_and_has_enough_samples),
        cmocka_unit_test(adapt__the_crowd_decides),
        cmocka_unit_test(adapt__what_is_measured_in_a_dip_is_judged_at_once),
        cmocka_unit_test(adapt__a_slower_server_is_told_from_a_crowd),
        cmocka_unit_test(adapt__a_faster_server_is_believed_at_once),
        cmocka_unit_test(adapt__dips_become_rare_and_news_make_them_frequent),
        cmocka_unit_test(adapt__without_pressure_there_are_no_dips),
        cmocka_unit_test(adapt__quiet_times_are_measurements),
        cmocka_unit_test(adapt__the_floor_is_left_without_a_dip),
        cmocka_unit_test(adapt__operations_that_take_no_time_are_known_too),
        cmocka_unit_test(adapt__a_closed_limit_stays_closed),
        cmocka_unit_test(adapt__bounds_hold_for_any_samples_and_equal_ones_give_equal_limits),
        cmocka_unit_test(adapt__verdicts_have_names),
        cmocka_unit_test(adapt__a_limit_set_by_hand_stays_within_bounds),
        cmocka_unit_test(adapt__a_new_configuration_keeps_what_was_learnt),
        cmocka_unit_test(adapt__a_limit_that_grows_serves_those_who_wait),
        cmocka_unit_test(adapt__an_order_given_while_a_window_is_closed_is_carried_out),
        cmocka_unit_test(adapt__the_limit_settles_between_the_capacity_and_twice_that),
        cmocka_unit_test(adapt__a_limit_under_steady_overload_does_not_run_away),
        cmocka_unit_test(adapt__the_limit_follows_a_capacity_that_falls_and_returns),
        cmocka_unit_test(adapt__a_server_that_gets_slower_keeps_its_limit),
        cmocka_unit_test(adapt__steady_healthy_load_is_left_alone),
        cmocka_unit_test(adapt__the_servers_own_limit_is_found_by_its_refusals),
        cmocka_unit_test(adapt__stray_failures_do_not_bring_the_limit_down),
        cmocka_unit_test(adapt__the_same_load_gives_the_same_course),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
