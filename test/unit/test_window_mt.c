/*
 * Windows and calls in flight under several threads. Time is a shared counter that the threads
 * move, so slices turn while others record, and each thread's time is a little behind. What must
 * hold is demanded while they run, and exact equality when they are done.
 */
#include "unit.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/ns.h"
#include "core/inflight_mt.h"
#include "core/window_mt.h"
#include "crew.h"

#define TIMES 40000 /* of each thread */

static struct window *w;
static struct inflight ring;
static _Atomic int64_t shared_now_ns;
static _Atomic bool is_over;
static int64_t step_ns;
static uint64_t times;     /* that record_at_random() records */
static uint64_t calls_max; /* that a sum may show */

enum {
    CALLS,
    FAILURES,
    SLOW,
    DURATION,
};

static int64_t tick_tock(void)
{
    return atomic_fetch_add(&shared_now_ns, step_ns);
}

static void make(const struct window_config *config, int64_t step)
{
    size_t bytes = (window_size(config) + WINDOW_ALIGN - 1) / WINDOW_ALIGN * WINDOW_ALIGN;
    void *memory = aligned_alloc(WINDOW_ALIGN, bytes);
    assert_non_null(memory);
    w = window_init(memory, config, 0);
    step_ns = step;
    times = TIMES;
    calls_max = UINT64_MAX;
    atomic_store(&shared_now_ns, 0);
    atomic_store(&is_over, false);
}

static void record_at_random(struct crew_member *self)
{
    for (uint64_t i = 0; i < times; i++) {
        bool is_failed = rng_below(&self->rng, 8) == 0, is_slow = rng_below(&self->rng, 8) == 0;
        int64_t duration_ns = (int64_t)rng_below(&self->rng, 100);
        window_record(w, is_failed, is_slow, duration_ns, tick_tock());
        self->counts[CALLS] += 1;
        self->counts[FAILURES] += is_failed;
        self->counts[SLOW] += is_slow;
        self->counts[DURATION] += (uint64_t)duration_ns;
    }
    atomic_store(&is_over, true);
}

static void add_evidence(struct crew_member *self)
{
    while (!atomic_load(&is_over))
        window_evidence(w, 1 + (uint32_t)rng_below(&self->rng, 3), tick_tock());
}

static void reset_now_and_then(struct crew_member *self)
{
    while (!atomic_load(&is_over)) {
        window_reset(w);
        for (uint64_t i = rng_below(&self->rng, 1000); i > 0; i--)
            tick_tock();
    }
}

/* What holds at any time: more of nothing than there are calls, and totals that do not fall. */
static void look(struct crew_member *self)
{
    struct window_sum sum, total, before = {0};
    while (!atomic_load(&is_over)) {
        uint64_t turn = atomic_load(&w->turn);
        window_sum(w, atomic_load(&shared_now_ns), &sum);
        /* While one that turns is stopped in the middle, the window shows what is older too. */
        bool is_steady = (turn & WINDOW_TURN_BUSY) == 0 && turn == atomic_load(&w->turn);
        window_total(w, &total);
        /* cmocka's own checks are not for threads: the test adds these up. */
        self->counts[0] += sum.failures > sum.calls || sum.slow > sum.calls ||
                           (is_steady && sum.calls > calls_max);
        self->counts[1] += total.calls < before.calls || total.failures < before.failures ||
                           total.slow < before.slow;
        self->counts[2] += total.failures > total.calls;
        before = total;
    }
}

static void assert_total_is(const struct crew_member *crew, unsigned recorders, bool has_durations)
{
    struct window_sum total;
    window_total(w, &total);
    assert_int_equal(total.calls, crew_sum(crew, recorders, CALLS));
    assert_int_equal(total.failures, crew_sum(crew, recorders, FAILURES));
    assert_int_equal(total.slow, crew_sum(crew, recorders, SLOW));
    assert_int_equal(total.duration_ns, has_durations ? crew_sum(crew, recorders, DURATION) : 0);
}

static void assert_looked_well(const struct crew_member *looker)
{
    for (int i = 0; i < 3; i++)
        assert_int_equal(looker->counts[i], 0);
}

static void window_mt__nothing_is_lost_while_slices_turn(void **state)
{
    (void)state;
    static const struct window_config config = {
        .kind = WINDOW_TIME, .span_ns = HF_MS(10), .slices = 10, .has_durations = true};
    void (*const works[])(struct crew_member *) = {record_at_random, record_at_random,
                                                   record_at_random, look};
    /* From thousands of calls in a slice to a whole window between two calls. */
    static const int64_t steps[] = {HF_US(1), HF_US(300), HF_MS(7), HF_MS(30)};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct crew_member crew[4];
        make(&config, steps[i]);
        /* Ten slices of 2^20 ns and the one under way. Each step of time is a call; each of the
         * threads may be stopped between its time and its record. */
        calls_max = (uint64_t)((INT64_C(11) << 20) / steps[i]) + 4;
        times = i == 0 ? 8 * TIMES : TIMES;
        crew_run(crew, 4, i, works);
        assert_total_is(crew, 3, true);
        assert_looked_well(&crew[3]);
        struct window_sum sum;
        int64_t now_ns = atomic_load(&shared_now_ns);
        window_sum(w, now_ns + HF_MS(20), &sum);
        assert_int_equal(sum.calls, 0);
        free(w);
    }
}

static void window_mt__a_window_that_holds_all_of_it_shows_all_of_it(void **state)
{
    (void)state;
    static const struct window_config config = {
        .kind = WINDOW_TIME, .span_ns = HF_SEC(60), .slices = 60};
    void (*const works[])(struct crew_member *) = {record_at_random, record_at_random,
                                                   record_at_random};
    struct crew_member crew[3];
    make(&config, HF_US(400));
    crew_run(crew, 3, 7, works);
    struct window_sum sum;
    window_sum(w, atomic_load(&shared_now_ns), &sum);
    assert_int_equal(sum.calls, crew_sum(crew, 3, CALLS));
    assert_int_equal(sum.failures, crew_sum(crew, 3, FAILURES));
    assert_int_equal(sum.slow, crew_sum(crew, 3, SLOW));
    free(w);
}

static void assert_nothing_bad_is_left(uint32_t calls)
{
    struct window_sum sum;
    for (uint32_t i = 0; i < calls; i++)
        window_record(w, false, false, 3, 0);
    window_sum(w, 0, &sum);
    assert_int_equal(sum.calls, calls);
    assert_int_equal(sum.failures, 0);
    assert_int_equal(sum.slow, 0);
    assert_int_equal(sum.duration_ns, 3 * calls);
    assert_false(window_may_hold_bad(w, 0));
}

/* Few cells, so that threads meet in them all the time. */
static void window_mt__what_cells_hold_is_booked_exactly(void **state)
{
    (void)state;
    void (*const works[])(struct crew_member *) = {record_at_random, record_at_random,
                                                   record_at_random, look};
    static const uint32_t sizes[] = {1, 2, 5, 1000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const struct window_config config = {
            .kind = WINDOW_COUNT, .calls = sizes[i], .has_durations = true};
        struct crew_member crew[4];
        make(&config, 1);
        times = 4 * TIMES;
        crew_run(crew, 4, 20 + i, works);
        assert_total_is(crew, 3, true);
        assert_looked_well(&crew[3]);
        assert_nothing_bad_is_left(sizes[i]);
        free(w);
    }
}

static void reshape_now_and_then(struct crew_member *self)
{
    struct window_config config = {.kind = WINDOW_COUNT, .has_durations = true};
    while (!atomic_load(&is_over)) {
        config.calls = 1 + (uint32_t)rng_below(&self->rng, 20);
        window_reshape(w, &config, 0);
    }
}

static void window_mt__cells_beyond_a_smaller_window_keep_nothing(void **state)
{
    (void)state;
    static const struct window_config config = {
        .kind = WINDOW_COUNT, .calls = 20, .has_durations = true};
    void (*const works[])(struct crew_member *) = {record_at_random, record_at_random,
                                                   reshape_now_and_then};
    struct crew_member crew[3];
    make(&config, 1);
    crew_run(crew, 3, 40, works);
    assert_total_is(crew, 2, true);
    struct window_config other = config;
    other.calls = 3; /* neither what it was, so the window is empty, nor ever above */
    window_reshape(w, &other, 0);
    assert_nothing_bad_is_left(3);
    free(w);
}

static void reshape_time(struct crew_member *self)
{
    struct window_config config = {.kind = WINDOW_TIME, .slices = 10, .has_durations = true};
    while (!atomic_load(&is_over)) {
        config.span_ns = HF_MS(10) << rng_below(&self->rng, 6);
        window_reshape(w, &config, tick_tock());
    }
}

static void window_mt__resets_shapes_and_evidence_do_not_touch_the_totals(void **state)
{
    (void)state;
    static const struct window_config time = {
        .kind = WINDOW_TIME, .span_ns = HF_MS(10), .slices = 10, .has_durations = true};
    static const struct window_config count = {.kind = WINDOW_COUNT, .calls = 5};
    void (*const others[])(struct crew_member *) = {reset_now_and_then, reshape_time, add_evidence,
                                                    add_evidence};
    for (int i = 0; i < 4; i++) {
        void (*const works[])(struct crew_member *) = {record_at_random, others[i], look};
        struct crew_member crew[3];
        make(i < 3 ? &time : &count, HF_US(100));
        crew_run(crew, 3, 60 + (uint64_t)i, works);
        assert_total_is(crew, 1, i < 3);
        assert_looked_well(&crew[2]);
        free(w);
    }
}

/* ---- calls in flight ---- */

#define HELD_MAX 50

enum {
    BEGUN,
    SWEPT,      /* and counted as slow, by this thread */
    TOLD_SWEPT, /* ended, and was told so */
    UNCOUNTED,
};

/* Some calls end at once, some are held until many others have begun, and some of those hang. */
static void begin_and_end(struct crew_member *self)
{
    uint32_t held[HELD_MAX]; /* stamps */
    unsigned count = 0;
    for (int i = 0; i < TIMES || count > 0; i++) {
        int64_t now_ns = tick_tock();
        uint32_t overdue = inflight_sweep(&ring, 1, now_ns);
        if (i < TIMES && count < HELD_MAX) {
            held[count] = inflight_begin(&ring, 1, now_ns, &overdue);
            ++self->counts[BEGUN];
            self->counts[UNCOUNTED] += held[count++] == 0;
        }
        self->counts[SWEPT] += overdue;
        if (count == HELD_MAX || i >= TIMES || rng_below(&self->rng, 2) == 0) {
            unsigned which = (unsigned)rng_below(&self->rng, count);
            tick_tock();
            self->counts[TOLD_SWEPT] += inflight_end(&ring, held[which]);
            held[which] = held[--count];
        }
    }
}

static void window_mt__each_call_in_flight_is_taken_out_once(void **state)
{
    (void)state;
    void (*const works[])(struct crew_member *) = {begin_and_end, begin_and_end, begin_and_end};
    /* Calls that rarely hang, often, and nearly always. */
    static const int64_t steps[] = {HF_US(1), HF_US(5), HF_US(60)};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct crew_member crew[3];
        inflight_init(&ring, INFLIGHT_SLOW_NS_MIN, 0);
        step_ns = steps[i];
        atomic_store(&shared_now_ns, 0);
        crew_run(crew, 3, 80 + i, works);
        assert_int_equal(crew_sum(crew, 3, BEGUN), 3 * TIMES);
        assert_int_equal(crew_sum(crew, 3, SWEPT), crew_sum(crew, 3, TOLD_SWEPT));
        assert_int_equal(inflight_count(&ring, 1), 0);
        assert_true(inflight_deadline(&ring, 1) == HF_NEVER);
        assert_true(crew_sum(crew, 3, SWEPT) > 0);
        /* Only a thread that was stopped for a millisecond of shared time is not counted. */
        assert_true(crew_sum(crew, 3, UNCOUNTED) < TIMES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(window_mt__nothing_is_lost_while_slices_turn),
        cmocka_unit_test(window_mt__a_window_that_holds_all_of_it_shows_all_of_it),
        cmocka_unit_test(window_mt__what_cells_hold_is_booked_exactly),
        cmocka_unit_test(window_mt__cells_beyond_a_smaller_window_keep_nothing),
        cmocka_unit_test(window_mt__resets_shapes_and_evidence_do_not_touch_the_totals),
        cmocka_unit_test(window_mt__each_call_in_flight_is_taken_out_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
