/*
 * The window on one thread: its edges one by one, and long random runs against a plain sequential
 * model, which remembers every outcome in a list and counts by walking it.
 */
#include "unit.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/ns.h"
#include "base/rng.h"
#include "core/window_mt.h"
#include "dies.h"

static struct window *window_new(const struct window_config *config, int64_t now_ns)
{
    size_t bytes = (window_size(config) + WINDOW_ALIGN - 1) / WINDOW_ALIGN * WINDOW_ALIGN;
    void *memory = aligned_alloc(WINDOW_ALIGN, bytes);
    assert_non_null(memory);
    memset(memory, 0xa5, bytes); /* so that it shows if something relies on zeroed memory */
    return window_init(memory, config, now_ns);
}

static const struct window_config ten_seconds = {
    .kind = WINDOW_TIME,
    .span_ns = HF_SEC(10),
    .slices = 10,
};
static const struct window_config last_five = {.kind = WINDOW_COUNT, .calls = 5};

/* ---- the model ---- */

#define MODEL_MAX 20000

struct outcome_seen {
    int64_t at_ns;
    bool is_failed, is_slow, is_evidence;
    uint64_t duration_ns;
};

static struct model {
    struct window_config config;
    struct outcome_seen list[MODEL_MAX];
    size_t count, from; /* from: the first after the last reset */
    struct window_sum aside;
    int64_t latest_ns; /* of the slices that were begun */
} model;

/* Nanoseconds of a slice, told a second time: doubled until `slices` of them cover the span. */
static int64_t model_width(void)
{
    int64_t width = 1;
    while (width * model.config.slices < model.config.span_ns)
        width *= 2;
    return width;
}

static int64_t model_slices(void)
{
    int64_t slices = 0;
    while (slices * model_width() < model.config.span_ns)
        slices++;
    return slices;
}

static void model_begin(const struct window_config *config, int64_t now_ns)
{
    memset(&model, 0, sizeof model);
    model.config = *config;
    model.latest_ns = now_ns;
}

static void model_record(struct outcome_seen seen, int64_t now_ns)
{
    assert_true(model.count < MODEL_MAX);
    if (model.config.kind == WINDOW_TIME)
        model.latest_ns = ns_max(model.latest_ns, now_ns);
    seen.at_ns = ns_max(now_ns, model.latest_ns / model_width() * model_width());
    model.list[model.count++] = seen;
}

static bool model_holds(const struct outcome_seen *seen, size_t nth, int64_t now_ns)
{
    if (model.config.kind == WINDOW_COUNT)
        return nth + model.config.calls >= model.count;
    int64_t slice = ns_max(now_ns, model.latest_ns) / model_width();
    return seen->at_ns / model_width() >= slice - model_slices();
}

static void model_add(struct window_sum *sum, const struct outcome_seen *seen)
{
    sum->calls += 1;
    sum->failures += seen->is_failed;
    sum->slow += seen->is_slow;
    sum->duration_ns += model.config.has_durations ? seen->duration_ns : 0;
}

static void assert_sums(struct window *w, int64_t now_ns)
{
    struct window_sum expected = {0}, total = model.aside, sum;
    for (size_t i = 0; i < model.count; i++) {
        if (i >= model.from && model_holds(&model.list[i], i, now_ns))
            model_add(&expected, &model.list[i]);
        if (!model.list[i].is_evidence)
            model_add(&total, &model.list[i]);
    }
    window_sum(w, now_ns, &sum);
    assert_memory_equal(&sum, &expected, sizeof sum);
    window_total(w, &sum);
    assert_memory_equal(&sum, &total, sizeof sum);
    /* The hint may be wrong in one direction only. */
    if (expected.failures + expected.slow > 0)
        assert_true(window_may_hold_bad(w, now_ns));
}

/* Steps of all sizes, so that slices are shared, crossed, skipped, and whole windows pass; now and
 * then backwards. */
static int64_t random_step(struct rng *rng)
{
    int64_t width = model_width();
    switch (rng_below(rng, 12)) {
    case 0:
        return rng_range_ns(rng, 0, 30 * width);
    case 1:
        return width;
    case 2:
        return -rng_range_ns(rng, 0, 2 * width);
    case 3:
        return 0;
    default:
        return rng_range_ns(rng, 0, width / 2);
    }
}

static void random_act(struct rng *rng, struct window *w, int64_t now_ns)
{
    struct outcome_seen seen = {
        .is_failed = rng_below(rng, 4) == 0,
        .is_slow = rng_below(rng, 5) == 0,
        .duration_ns = rng_below(rng, 1000000),
    };
    uint64_t act = rng_below(rng, 100);
    if (act == 0) {
        window_reset(w);
        model.from = model.count;
    } else if (act == 1) {
        uint32_t slow = 1 + (uint32_t)rng_below(rng, 9);
        window_evidence(w, slow, now_ns);
        for (uint32_t i = 0; i < slow; i++)
            model_record((struct outcome_seen){.is_slow = true, .is_evidence = true}, now_ns);
    } else if (act == 2) {
        const struct window_sum aside = {.calls = 1, .failures = 1, .duration_ns = 5};
        window_aside(w, &aside);
        model_add(&model.aside, &(struct outcome_seen){.is_failed = true, .duration_ns = 5});
    } else {
        window_record(w, seen.is_failed, seen.is_slow, (int64_t)seen.duration_ns, now_ns);
        model_record(seen, now_ns);
    }
}

static void random_run(uint64_t seed, const struct window_config *config)
{
    struct rng rng;
    rng_init(&rng, seed);
    int64_t now_ns = rng_range_ns(&rng, 0, HF_SEC(100));
    struct window *w = window_new(config, now_ns);
    model_begin(config, now_ns);
    for (int i = 0; i < 1500; i++) {
        now_ns = ns_max(now_ns + random_step(&rng), 0);
        random_act(&rng, w, now_ns);
        if (rng_below(&rng, 4) == 0)
            assert_sums(w, ns_max(now_ns + random_step(&rng), 0));
    }
    free(w);
}

static void window__agrees_with_the_sequential_model(void **state)
{
    (void)state;
    static const struct window_config configs[] = {
        {.kind = WINDOW_TIME, .span_ns = HF_SEC(10), .slices = 10},
        {.kind = WINDOW_TIME, .span_ns = HF_MS(10), .slices = 60, .has_durations = true},
        {.kind = WINDOW_TIME, .span_ns = HF_SEC(86400), .slices = 2},
        {.kind = WINDOW_TIME, .span_ns = INT64_C(1) << 30, .slices = 32},
        {.kind = WINDOW_TIME, .span_ns = (INT64_C(1) << 30) + 1, .slices = 32},
        {.kind = WINDOW_TIME, .span_ns = HF_MS(77), .slices = 7},
        {.kind = WINDOW_TIME, .span_ns = INT64_C(15) << 20, .slices = 15},
        {.kind = WINDOW_COUNT, .calls = 1},
        {.kind = WINDOW_COUNT, .calls = 2, .has_durations = true},
        {.kind = WINDOW_COUNT, .calls = 100},
        {.kind = WINDOW_COUNT, .calls = 777, .has_durations = true},
    };
    for (uint64_t i = 0; i < sizeof configs / sizeof configs[0]; i++)
        for (uint64_t seed = 0; seed < 6; seed++)
            random_run(seed * 100 + i, &configs[i]);
}

/* ---- edges ---- */

static void assert_sum(struct window *w, int64_t now_ns, uint64_t calls, uint64_t failures,
                       uint64_t slow)
{
    struct window_sum sum;
    window_sum(w, now_ns, &sum);
    assert_int_equal(sum.calls, calls);
    assert_int_equal(sum.failures, failures);
    assert_int_equal(sum.slow, slow);
}

static void assert_total(struct window *w, uint64_t calls, uint64_t failures, uint64_t slow)
{
    struct window_sum sum;
    window_total(w, &sum);
    assert_int_equal(sum.calls, calls);
    assert_int_equal(sum.failures, failures);
    assert_int_equal(sum.slow, slow);
}

static void window__holds_its_span_and_at_most_two_slices_more(void **state)
{
    (void)state;
    static const struct window_config configs[] = {
        {.kind = WINDOW_TIME, .span_ns = HF_SEC(10), .slices = 10},
        {.kind = WINDOW_TIME, .span_ns = HF_SEC(60), .slices = 60},
        {.kind = WINDOW_TIME, .span_ns = HF_MS(10), .slices = 2},
        {.kind = WINDOW_TIME, .span_ns = INT64_C(1) << 24, .slices = 2},
    };
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        int64_t span = configs[i].span_ns, slice = span / configs[i].slices * 2;
        for (int64_t begin = 0; begin < slice; begin += slice / 7) {
            struct window *w = window_new(&configs[i], begin);
            window_record(w, true, false, 0, begin);
            assert_sum(w, begin + span - 1, 1, 1, 0);
            assert_sum(w, begin + span + 2 * slice, 0, 0, 0);
            assert_false(window_may_hold_bad(w, begin + span + 2 * slice));
            assert_total(w, 1, 1, 0);
            free(w);
        }
    }
}

static void window__the_last_n_outcomes_are_exactly_n(void **state)
{
    (void)state;
    struct window *w = window_new(&last_five, 0);
    window_record(w, true, false, 0, 0);
    window_record(w, false, true, 0, 0);
    for (int i = 0; i < 3; i++)
        window_record(w, false, false, 0, 0);
    assert_sum(w, HF_SEC(999), 5, 1, 1);
    window_record(w, false, false, 0, 0);
    assert_sum(w, 0, 5, 0, 1);
    assert_true(window_may_hold_bad(w, 0));
    window_record(w, true, true, 0, 0);
    assert_sum(w, 0, 5, 1, 1);
    for (int i = 0; i < 4; i++)
        window_record(w, false, false, 0, 0);
    assert_sum(w, 0, 5, 1, 1);
    window_record(w, false, false, 0, 0);
    assert_sum(w, 0, 5, 0, 0);
    assert_false(window_may_hold_bad(w, 0));
    assert_total(w, 12, 2, 2);
    free(w);
}

static void window__evidence_is_in_the_window_and_asides_are_in_the_totals(void **state)
{
    (void)state;
    const struct window_config *configs[] = {&ten_seconds, &last_five};
    for (size_t i = 0; i < 2; i++) {
        struct window *w = window_new(configs[i], 0);
        window_record(w, true, false, 0, 0);
        window_evidence(w, 2, 0);
        window_aside(w, &(struct window_sum){.calls = 3, .failures = 2, .slow = 1});
        assert_sum(w, 0, 3, 1, 2);
        assert_total(w, 4, 3, 1);
        free(w);
    }
}

static void window__more_evidence_than_it_holds_fills_it(void **state)
{
    (void)state;
    struct window *w = window_new(&last_five, 0);
    window_record(w, true, false, 0, 0);
    window_evidence(w, 1003, 0);
    assert_sum(w, 0, 5, 0, 5);
    assert_total(w, 1, 1, 0);
    window_record(w, false, false, 0, 0);
    assert_sum(w, 0, 5, 0, 4);
    free(w);
}

static void window__time_that_runs_backwards_stands_still(void **state)
{
    (void)state;
    struct window *w = window_new(&ten_seconds, HF_SEC(100));
    window_record(w, true, false, 0, HF_SEC(100));
    assert_int_equal(window_time_backwards(w), 0);
    window_record(w, true, false, 0, HF_SEC(50));
    window_record(w, true, false, 0, -1);
    assert_int_equal(window_time_backwards(w), 2);
    assert_sum(w, HF_SEC(100), 3, 3, 0);
    assert_sum(w, HF_SEC(10), 3, 3, 0);
    assert_sum(w, HF_SEC(109), 3, 3, 0);
    /* A thread that is a little behind at the edge of a slice is no clock that ran backwards. */
    window_record(w, false, false, 0, INT64_C(100) << 30);
    window_record(w, false, false, 0, (INT64_C(100) << 30) - 1);
    assert_int_equal(window_time_backwards(w), 2);
    free(w);
}

static void window__a_clock_before_zero_is_taken_for_zero(void **state)
{
    (void)state;
    struct window *w = window_new(&ten_seconds, -HF_SEC(5));
    window_record(w, true, false, 0, -HF_SEC(5));
    assert_sum(w, HF_SEC(9), 1, 1, 0);
    free(w);
}

static void window__a_window_can_change_its_shape_in_its_memory(void **state)
{
    (void)state;
    struct window *w = window_new(&ten_seconds, 0);
    struct window_config config = ten_seconds;
    window_record(w, true, false, 0, 0);
    assert_true(window_reshape(w, &config, 0)); /* the same: nothing happens */
    assert_sum(w, 0, 1, 1, 0);
    config.span_ns = HF_MS(100);
    assert_true(window_reshape(w, &config, HF_SEC(1)));
    assert_sum(w, HF_SEC(1), 0, 0, 0);
    window_record(w, false, true, 0, HF_SEC(1));
    assert_sum(w, HF_SEC(1) + HF_MS(100) - 1, 1, 0, 1);
    assert_sum(w, HF_SEC(1) + HF_MS(140), 0, 0, 0);
    config.span_ns = HF_SEC(3600);
    assert_true(window_reshape(w, &config, HF_SEC(2)));
    window_record(w, true, false, 0, HF_SEC(2));
    assert_sum(w, HF_SEC(3601), 1, 1, 0);
    assert_total(w, 3, 2, 1);

    config.slices = 60;
    assert_false(window_reshape(w, &config, 0));
    config.slices = 10;
    config.has_durations = true;
    assert_false(window_reshape(w, &config, 0));
    assert_false(window_reshape(w, &last_five, 0));
    assert_sum(w, HF_SEC(2), 1, 1, 0);
    free(w);
}

static void window__a_count_can_change_within_its_room(void **state)
{
    (void)state;
    struct window *w = window_new(&last_five, 0);
    struct window_config config = last_five;
    for (int i = 0; i < 5; i++)
        window_record(w, true, true, 0, 0);
    assert_true(window_reshape(w, &config, 0));
    assert_sum(w, 0, 5, 5, 5);
    config.calls = 2;
    assert_true(window_reshape(w, &config, 0));
    assert_sum(w, 0, 0, 0, 0);
    for (int i = 0; i < 5; i++)
        window_record(w, i == 0 || i == 4, false, 0, 0);
    assert_sum(w, 0, 2, 1, 0);
    config.calls = WINDOW_CALLS_ROOM;
    assert_true(window_reshape(w, &config, 0));
    for (int i = 0; i < 2 * WINDOW_CALLS_ROOM; i++)
        window_record(w, true, false, 0, 0);
    assert_sum(w, 0, WINDOW_CALLS_ROOM, WINDOW_CALLS_ROOM, 0);
    config.calls = WINDOW_CALLS_ROOM + 1;
    assert_false(window_reshape(w, &config, 0));
    free(w);
}

static void window__impossible_configurations_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct window_config config;
        bool is_good;
    } cases[] = {
        {{.kind = WINDOW_COUNT, .calls = 0}, false},
        {{.kind = WINDOW_COUNT, .calls = 1}, true},
        {{.kind = WINDOW_COUNT, .calls = WINDOW_CALLS_MAX}, true},
        {{.kind = WINDOW_COUNT, .calls = WINDOW_CALLS_MAX + 1}, false},
        {{.kind = WINDOW_TIME, .span_ns = WINDOW_SPAN_NS_MIN - 1, .slices = 10}, false},
        {{.kind = WINDOW_TIME, .span_ns = WINDOW_SPAN_NS_MIN, .slices = 60}, true},
        {{.kind = WINDOW_TIME, .span_ns = WINDOW_SPAN_NS_MAX, .slices = 2}, true},
        {{.kind = WINDOW_TIME, .span_ns = WINDOW_SPAN_NS_MAX + 1, .slices = 2}, false},
        {{.kind = WINDOW_TIME, .span_ns = HF_SEC(1), .slices = 1}, false},
        {{.kind = WINDOW_TIME, .span_ns = HF_SEC(1), .slices = 61}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hf_err err;
        enum hf_rc rc = window_config_check(&cases[i].config, &err);
        assert_int_equal(rc, cases[i].is_good ? HF_OK : HF_RC_INVALID);
        if (!cases[i].is_good)
            assert_non_null(strstr(err.message, "window"));
    }
}

static void init_at_odd_place(void *memory)
{
    window_init((char *)memory + 8, &last_five, 0);
}

static void window__memory_at_an_odd_place_is_a_bug(void **state)
{
    (void)state;
    alignas(WINDOW_ALIGN) static char memory[4096];
    assert_true(dies(init_at_odd_place, memory));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(window__agrees_with_the_sequential_model),
        cmocka_unit_test(window__holds_its_span_and_at_most_two_slices_more),
        cmocka_unit_test(window__the_last_n_outcomes_are_exactly_n),
        cmocka_unit_test(window__evidence_is_in_the_window_and_asides_are_in_the_totals),
        cmocka_unit_test(window__more_evidence_than_it_holds_fills_it),
        cmocka_unit_test(window__time_that_runs_backwards_stands_still),
        cmocka_unit_test(window__a_clock_before_zero_is_taken_for_zero),
        cmocka_unit_test(window__a_window_can_change_its_shape_in_its_memory),
        cmocka_unit_test(window__a_count_can_change_within_its_room),
        cmocka_unit_test(window__impossible_configurations_are_refused),
        cmocka_unit_test(window__memory_at_an_odd_place_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
