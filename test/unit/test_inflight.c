/*
 * Calls in flight on one thread: what is overdue when, who is told, and long random runs against a
 * list of calls. Threads are in test_window_mt.c.
 */
#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include "base/ns.h"
#include "base/rng.h"
#include "core/inflight_mt.h"

#define SLOW_NS HF_SEC(5)

static struct inflight ring;

static uint32_t begin(uint32_t generation, int64_t now_ns)
{
    uint32_t overdue = 0;
    uint32_t stamp = inflight_begin(&ring, generation, now_ns, &overdue);
    assert_int_equal(overdue, 0);
    return stamp;
}

static void inflight__a_hanging_call_is_overdue_between_the_limit_and_a_quarter_more(void **state)
{
    (void)state;
    static const int64_t limits[] = {
        INFLIGHT_SLOW_NS_MIN,   HF_MS(7),         HF_SEC(1),    HF_SEC(5),
        (INT64_C(1) << 32) - 1, INT64_C(1) << 32, HF_SEC(86400)};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        int64_t slow = limits[i];
        for (int64_t at = 0; at < slow; at += slow / 13) {
            inflight_init(&ring, slow, 0);
            uint32_t stamp = begin(1, at);
            assert_int_not_equal(stamp, 0);
            assert_int_equal(inflight_sweep(&ring, 1, at + slow - 1), 0);
            assert_int_equal(inflight_count(&ring, 1), 1);
            int64_t due = inflight_deadline(&ring, 1);
            assert_true(due >= at + slow && due <= at + slow + slow / 4);
            assert_int_equal(inflight_sweep(&ring, 1, due - 1), 0);
            assert_int_equal(inflight_sweep(&ring, 1, due), 1);
            assert_int_equal(inflight_count(&ring, 1), 0);
            assert_true(inflight_deadline(&ring, 1) == HF_NEVER);
            assert_true(inflight_end(&ring, stamp));
        }
    }
}

static void inflight__a_call_that_ends_is_no_evidence(void **state)
{
    (void)state;
    inflight_init(&ring, SLOW_NS, 0);
    uint32_t quick = begin(1, 0), slow = begin(1, 0);
    assert_int_equal(inflight_count(&ring, 1), 2);
    assert_false(inflight_end(&ring, quick));
    assert_false(inflight_end(&ring, slow));
    assert_int_equal(inflight_sweep(&ring, 1, HF_SEC(60)), 0);
}

static void inflight__off_counts_nothing(void **state)
{
    (void)state;
    inflight_init(&ring, HF_NEVER, HF_SEC(1));
    uint32_t stamp = begin(1, HF_SEC(1));
    assert_int_equal(stamp, 0);
    assert_false(inflight_is_due(&ring, HF_SEC(86400)));
    assert_int_equal(inflight_sweep(&ring, 1, HF_SEC(86400)), 0);
    assert_true(inflight_deadline(&ring, 1) == HF_NEVER);
    assert_false(inflight_end(&ring, stamp));
}

static void inflight__calls_of_another_generation_are_neither_evidence_nor_in_the_way(void **state)
{
    (void)state;
    inflight_init(&ring, SLOW_NS, 0);
    begin(1, 0);
    begin(1, 0);
    uint32_t later = begin(2, 0); /* the same slot */
    assert_int_equal(inflight_count(&ring, 1), 0);
    assert_int_equal(inflight_count(&ring, 2), 1);
    /* One that slept through the change is not counted, and takes nobody's place. */
    assert_int_equal(begin(1, 0), 0);
    assert_int_equal(begin(2, 0), later);
    begin(2, HF_SEC(2));
    assert_int_equal(inflight_sweep(&ring, 3, HF_SEC(20)), 0);
    assert_int_equal(inflight_count(&ring, 2), 0);
}

static void inflight__a_sweeper_of_an_earlier_generation_takes_nothing_from_a_later_one(
    void **state)
{
    (void)state;
    inflight_init(&ring, SLOW_NS, 0);
    uint32_t stamp = begin(2, 0);
    int64_t due_ns = inflight_deadline(&ring, 2);
    assert_int_equal(inflight_sweep(&ring, 1, due_ns), 0);
    assert_int_equal(inflight_count(&ring, 2), 1);
    /* It is late by a slice, and neither lost nor due for ever. */
    int64_t again_ns = inflight_deadline(&ring, 2);
    assert_true(again_ns > due_ns && again_ns <= due_ns + SLOW_NS / 4);
    assert_int_equal(inflight_sweep(&ring, 2, again_ns), 1);
    assert_true(inflight_end(&ring, stamp));
}

static void inflight__generations_are_ordered_where_they_turn(void **state)
{
    (void)state;
    inflight_init(&ring, SLOW_NS, 0);
    begin(255, 0);
    assert_int_not_equal(begin(256, 0), 0);
    assert_int_equal(inflight_count(&ring, 256), 1);
    assert_int_equal(begin(255, 0), 0);
}

static void inflight__a_thread_far_behind_is_not_counted(void **state)
{
    (void)state;
    inflight_init(&ring, SLOW_NS, 0);
    begin(1, HF_SEC(100));
    assert_int_equal(inflight_sweep(&ring, 1, HF_SEC(100)), 0);
    /* Its calls would be overdue, and so never wait for a sweep of their own. */
    assert_int_equal(begin(1, HF_SEC(90)), 0);
    assert_int_not_equal(begin(1, HF_SEC(96)), 0);
}

/* Nobody swept, and a slot comes round: its calls are evidence. */
static void inflight__a_newcomer_takes_over_what_nobody_swept(void **state)
{
    (void)state;
    inflight_init(&ring, SLOW_NS, 0);
    const int64_t round = INT64_C(16) << 30; /* 16 slices of 2^30 ns */
    uint32_t first = begin(1, 0), second = begin(1, 0), overdue = 0;
    uint32_t stamp = inflight_begin(&ring, 1, round, &overdue);
    assert_int_equal(overdue, 2);
    assert_int_equal(inflight_count(&ring, 1), 1);
    assert_true(inflight_end(&ring, first));
    assert_true(inflight_end(&ring, second));
    assert_int_equal(inflight_count(&ring, 1), 1);
    /* A ring behind: the place is taken by what is newer. */
    assert_int_equal(begin(1, 0), 0);
    assert_false(inflight_end(&ring, stamp));
}

static void inflight__after_a_very_long_time_everything_is_overdue(void **state)
{
    (void)state;
    /* Slices have 19 bits in a stamp: half of them is 3.3 days. */
    static const int64_t sleeps[] = {HF_SEC(86400), HF_SEC(86400) * 4, HF_SEC(86400) * 7,
                                     HF_SEC(86400) * 14, HF_SEC(86400) * 3650};
    for (size_t i = 0; i < sizeof sleeps / sizeof sleeps[0]; i++) {
        inflight_init(&ring, SLOW_NS, 0);
        begin(1, HF_SEC(1));
        begin(1, HF_SEC(3));
        assert_int_equal(inflight_sweep(&ring, 1, sleeps[i]), 2);
    }
}

static void inflight__another_limit_of_the_same_shape_keeps_what_is_under_way(void **state)
{
    (void)state;
    inflight_init(&ring, HF_SEC(5), 0);
    uint32_t stamp = begin(1, 0);
    inflight_configure(&ring, HF_SEC(6), 0);
    assert_int_equal(inflight_count(&ring, 1), 1);
    assert_int_equal(inflight_sweep(&ring, 1, HF_SEC(6)), 0);
    assert_int_equal(inflight_sweep(&ring, 1, HF_SEC(6) + HF_MS(1074)), 1);
    assert_true(inflight_end(&ring, stamp));
}

static void inflight__another_shape_forgets_and_judges_at_the_end(void **state)
{
    (void)state;
    static const int64_t others[] = {HF_MS(1), HF_SEC(60), HF_NEVER};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        inflight_init(&ring, SLOW_NS, 0);
        uint32_t quick = begin(1, 0), slow = begin(1, 0);
        inflight_configure(&ring, others[i], HF_SEC(1));
        assert_int_equal(inflight_count(&ring, 1), 0);
        assert_int_equal(inflight_sweep(&ring, 1, HF_SEC(100)), 0);
        assert_false(inflight_end(&ring, quick));
        assert_false(inflight_end(&ring, slow));
        inflight_configure(&ring, SLOW_NS, HF_SEC(100));
        uint32_t stamp = begin(1, HF_SEC(100));
        assert_int_not_equal(stamp, 0);
        assert_false(inflight_end(&ring, stamp));
    }
}

/* ---- against a list ---- */

#define CALLS_MAX 64

struct call {
    uint32_t stamp;
    uint32_t generation;
    int64_t begun_ns;
    bool is_swept;
};

static struct call calls[CALLS_MAX];
static size_t call_count;

static void sweep_both(uint32_t generation, int64_t now_ns, int64_t width)
{
    uint32_t expected = 0;
    for (size_t i = 0; i < call_count; i++) {
        bool is_overdue = (calls[i].begun_ns / width + 1) * width + SLOW_NS <= now_ns;
        if (calls[i].generation == generation && is_overdue && !calls[i].is_swept) {
            calls[i].is_swept = true;
            ++expected;
        }
    }
    assert_int_equal(inflight_sweep(&ring, generation, now_ns), expected);
}

static void end_one(struct rng *rng, uint32_t generation)
{
    size_t i = (size_t)rng_below(rng, call_count);
    if (calls[i].generation == generation) /* others end without asking, as the breaker does it */
        assert_int_equal(inflight_end(&ring, calls[i].stamp), calls[i].is_swept);
    calls[i] = calls[--call_count];
}

static void inflight__agrees_with_a_list_of_calls(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        int64_t width = 1;
        while (width * 2 <= SLOW_NS / 4)
            width *= 2;
        int64_t now_ns = rng_range_ns(&rng, 0, HF_SEC(1000));
        uint32_t generation = 1;
        inflight_init(&ring, SLOW_NS, now_ns);
        call_count = 0;
        for (int i = 0; i < 3000; i++) {
            now_ns += rng_range_ns(&rng, 0, rng_below(&rng, 20) == 0 ? 3 * SLOW_NS : width / 4);
            sweep_both(generation, now_ns, width);
            uint64_t act = rng_below(&rng, 100);
            if (act == 0) {
                ++generation;
            } else if (act < 50 && call_count < CALLS_MAX) {
                uint32_t stamp = begin(generation, now_ns);
                assert_int_not_equal(stamp, 0);
                calls[call_count++] = (struct call){stamp, generation, now_ns, false};
            } else if (call_count > 0) {
                end_one(&rng, generation);
            }
            uint32_t young = 0;
            for (size_t k = 0; k < call_count; k++)
                young += calls[k].generation == generation && !calls[k].is_swept;
            assert_int_equal(inflight_count(&ring, generation), young);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inflight__a_hanging_call_is_overdue_between_the_limit_and_a_quarter_more),
        cmocka_unit_test(inflight__a_call_that_ends_is_no_evidence),
        cmocka_unit_test(inflight__off_counts_nothing),
        cmocka_unit_test(inflight__calls_of_another_generation_are_neither_evidence_nor_in_the_way),
        cmocka_unit_test(
            inflight__a_sweeper_of_an_earlier_generation_takes_nothing_from_a_later_one),
        cmocka_unit_test(inflight__generations_are_ordered_where_they_turn),
        cmocka_unit_test(inflight__a_thread_far_behind_is_not_counted),
        cmocka_unit_test(inflight__a_newcomer_takes_over_what_nobody_swept),
        cmocka_unit_test(inflight__after_a_very_long_time_everything_is_overdue),
        cmocka_unit_test(inflight__another_limit_of_the_same_shape_keeps_what_is_under_way),
        cmocka_unit_test(inflight__another_shape_forgets_and_judges_at_the_end),
        cmocka_unit_test(inflight__agrees_with_a_list_of_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
