/*
 * The window under threads that are stopped at chosen places. See weave.h; test_window_mt.c runs
 * the same with real threads.
 */
#include "weave.h"

/* After the atomics of weave.h: the code under test is compiled with them. Little room for cells,
 * because emptying many of them would take most of the steps. */
#include "core/window_mt.h"
#undef WINDOW_CALLS_ROOM
#define WINDOW_CALLS_ROOM 8
#include "core/window.c" // NOLINT(bugprone-suspicious-include): its atomics are replaced here

#include "unit.h"

#include <string.h>

#define RECORDS 12
#define RUNS    2000

static struct window *w;
static alignas(WINDOW_ALIGN) unsigned char memory[65536];
static int64_t now_ns, step_ns;
static struct weave_fiber fibers[WEAVE_FIBERS_MAX];
static unsigned recorders_left;
static struct {
    int64_t slice; /* it was recorded in this one, or in a later one */
    bool is_failed, has_ended;
} records[WEAVE_FIBERS_MAX * RECORDS];

enum {
    CALLS,
    FAILURES,
    SLOW,
    ENDED, /* calls that are recorded for certain */
    WRONG,
};

static int64_t tick_tock(void)
{
    return now_ns += step_ns;
}

static uint64_t sum_of(unsigned which)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < WEAVE_FIBERS_MAX; i++)
        sum += fibers[i].counts[which];
    return sum;
}

static void record_some(struct weave_fiber *self)
{
    for (int i = 0; i < RECORDS; i++) {
        bool is_failed = rng_below(&self->rng, 2) == 0, is_slow = rng_below(&self->rng, 2) == 0;
        unsigned which = self->index * RECORDS + (unsigned)i;
        self->counts[CALLS] += 1;
        self->counts[FAILURES] += is_failed;
        self->counts[SLOW] += is_slow;
        records[which].slice = window_turn_slice(w->turn);
        records[which].is_failed = is_failed;
        window_record(w, is_failed, is_slow, 1, tick_tock());
        records[which].has_ended = true;
        self->counts[ENDED] += 1;
    }
    --recorders_left;
}

static void make(const struct window_config *config, int64_t step, unsigned recorders)
{
    memset(memory, 0xa5, sizeof memory);
    memset(fibers, 0, sizeof fibers);
    memset(records, 0, sizeof records);
    assert_true(window_size(config) <= sizeof memory);
    now_ns = 0;
    step_ns = step;
    recorders_left = recorders;
    w = window_init(memory, config, 0);
    for (unsigned i = 0; i < recorders; i++)
        fibers[i].work = record_some;
}

static void assert_total(uint64_t seed)
{
    struct window_sum total;
    window_total(w, &total);
    if (total.calls != sum_of(CALLS) || total.failures != sum_of(FAILURES) ||
        total.slow != sum_of(SLOW) || sum_of(WRONG) != 0)
        fail_msg("seed %llu: total %llu/%llu/%llu of %llu/%llu/%llu, %llu wrong looks",
                 (unsigned long long)seed, (unsigned long long)total.calls,
                 (unsigned long long)total.failures, (unsigned long long)total.slow,
                 (unsigned long long)sum_of(CALLS), (unsigned long long)sum_of(FAILURES),
                 (unsigned long long)sum_of(SLOW), (unsigned long long)sum_of(WRONG));
}

static bool is_credible(const struct window_sum *sum)
{
    return sum->failures <= sum->calls && sum->slow <= sum->calls && sum->calls <= sum_of(CALLS);
}

/* Of a window that is longer than the run: all that has ended is there, and nothing that has not
 * begun. */
static void look_at_all(struct weave_fiber *self)
{
    struct window_sum sum;
    while (recorders_left > 0) {
        uint64_t ended = sum_of(ENDED);
        window_sum(w, now_ns, &sum);
        self->counts[WRONG] += sum.calls < ended || !is_credible(&sum);
        weave_step();
    }
}

static void window_race__what_has_ended_is_in_the_window(void **state)
{
    (void)state;
    static const struct window_config config = {
        .kind = WINDOW_TIME, .span_ns = INT64_C(40) << 20, .slices = 40};
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        make(&config, INT64_C(1) << 20, 3);
        fibers[3].work = look_at_all;
        weave_run(fibers, 4, seed);
        assert_total(seed);
    }
}

static void look_at_totals(struct weave_fiber *self)
{
    struct window_sum total, before = {0};
    while (recorders_left > 0) {
        window_total(w, &total);
        self->counts[WRONG] += total.calls < before.calls || total.slow < before.slow ||
                               total.failures < before.failures || !is_credible(&total);
        before = total;
        weave_step();
    }
}

static struct window_sum ended_since(int64_t slice)
{
    struct window_sum sum = {0};
    for (unsigned i = 0; i < WEAVE_FIBERS_MAX * RECORDS; i++) {
        sum.calls += records[i].has_ended && records[i].slice >= slice;
        sum.failures += records[i].has_ended && records[i].slice >= slice && records[i].is_failed;
    }
    return sum;
}

/* Of a short window: all that had ended before the look began, in a slice that the window still
 * holds when the look is over; and if nobody is turning, nothing that had ended before the slice
 * before the window. The look may be stopped at any place while many slices pass. */
static void look_at_the_last(struct weave_fiber *self)
{
    static uint64_t ended_at[64]; /* by slice of time: calls that had ended when it began */
    struct window_sum sum, least[64];
    memset(ended_at, 0xff, sizeof ended_at);
    while (recorders_left > 0) {
        int64_t from_ns = now_ns, slice = now_ns >> 24;
        uint64_t turn = w->turn;
        bool is_busy = (turn & WINDOW_TURN_BUSY) != 0;
        bool is_turned = !is_busy && slice == window_turn_slice(turn);
        if (is_turned && ended_at[slice] == UINT64_MAX)
            ended_at[slice] = sum_of(ENDED);
        for (int64_t i = 0; i < 64; i++)
            least[i] = ended_since(i);
        window_sum(w, from_ns, &sum);
        int64_t first = ns_max(slice, window_turn_slice(w->turn)) - 2;
        if (is_busy && w->turn == turn)
            first = ns_min(first, window_turn_slice(turn));
        first = ns_max(first, 0);
        self->counts[WRONG] += sum.calls < least[first].calls ||
                               sum.failures < least[first].failures || !is_credible(&sum);
        int64_t old = slice - 3;
        if (is_turned && old >= 0 && ended_at[old] != UINT64_MAX)
            self->counts[WRONG] += sum.calls > sum_of(CALLS) - ended_at[old];
        weave_step();
    }
}

static void window_race__a_short_window_holds_what_is_young_and_nothing_old(void **state)
{
    (void)state;
    static const struct window_config config = {
        .kind = WINDOW_TIME, .span_ns = INT64_C(2) << 24, .slices = 2};
    for (uint64_t seed = 0; seed < 2 * RUNS; seed++) {
        make(&config, INT64_C(1) << (22 + seed % 3), 3);
        fibers[3].work = look_at_the_last;
        weave_run(fibers, 4, seed);
        assert_total(seed);
    }
}

static void add_evidence(struct weave_fiber *self)
{
    while (recorders_left > 0)
        window_evidence(w, 1 + (uint32_t)rng_below(&self->rng, 3), tick_tock());
}

static void window_race__evidence_never_makes_a_total_fall(void **state)
{
    (void)state;
    static const struct window_config configs[] = {
        {.kind = WINDOW_TIME, .span_ns = INT64_C(2) << 24, .slices = 2},
        {.kind = WINDOW_COUNT, .calls = 3},
    };
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        make(&configs[seed % 2], INT64_C(1) << 20, 2);
        fibers[2].work = add_evidence;
        fibers[3].work = look_at_totals;
        weave_run(fibers, 4, seed);
        assert_total(seed);
    }
}

/* ---- cells ---- */

static void assert_cells_are_good(uint32_t calls, uint64_t seed)
{
    struct window_sum sum;
    for (uint32_t i = 0; i < calls; i++)
        window_record(w, false, false, 1, 0);
    window_sum(w, 0, &sum);
    if (sum.calls != calls || sum.failures != 0 || sum.slow != 0 || sum.duration_ns != calls ||
        window_may_hold_bad(w, 0))
        fail_msg("seed %llu: %llu failed, %llu slow after %u good ones", (unsigned long long)seed,
                 (unsigned long long)sum.failures, (unsigned long long)sum.slow, calls);
}

static void window_race__two_threads_in_one_cell_book_what_they_change(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        uint32_t calls = 1 + (uint32_t)(seed % 4);
        const struct window_config config = {
            .kind = WINDOW_COUNT, .calls = calls, .has_durations = true};
        make(&config, 1, 4);
        weave_run(fibers, 4, seed);
        assert_total(seed);
        assert_cells_are_good(calls, seed);
    }
}

static void reshape_cells(struct weave_fiber *self)
{
    struct window_config config = {.kind = WINDOW_COUNT, .has_durations = true};
    while (recorders_left > 0) {
        config.calls = 1 + (uint32_t)rng_below(&self->rng, 8);
        window_reshape(w, &config, 0);
        weave_step();
    }
}

static void window_race__cells_beyond_a_smaller_window_keep_nothing(void **state)
{
    (void)state;
    static const struct window_config config = {
        .kind = WINDOW_COUNT, .calls = 8, .has_durations = true};
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        make(&config, 1, 3);
        fibers[3].work = reshape_cells;
        weave_run(fibers, 4, seed);
        assert_total(seed);
        uint32_t calls = w->calls_max;
        assert_cells_are_good(calls, seed);
    }
}

static struct window_config wanted;

static void reshape_time(struct weave_fiber *self)
{
    while (recorders_left > 0) {
        wanted.span_ns = INT64_C(2) << (24 + rng_below(&self->rng, 4));
        window_reshape(w, &wanted, tick_tock());
        weave_step();
    }
}

static void look_for_nonsense(struct weave_fiber *self)
{
    struct window_sum sum;
    while (recorders_left > 0) {
        window_sum(w, now_ns, &sum);
        self->counts[WRONG] += !is_credible(&sum);
        weave_step();
    }
}

static void window_race__shapes_change_under_everybodys_hands(void **state)
{
    (void)state;
    static const struct window_config config = {
        .kind = WINDOW_TIME, .span_ns = INT64_C(2) << 24, .slices = 2};
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        make(&config, INT64_C(1) << 22, 2);
        wanted = config;
        fibers[2].work = reshape_time;
        fibers[3].work = look_for_nonsense;
        weave_run(fibers, 4, seed);
        assert_total(seed);
        assert_int_equal((w->turn ^ turn_at(&wanted, 0)) & SHAPE_MASK, 0);
        assert_int_equal(w->turn & WINDOW_TURN_BUSY, 0);
        /* And it works as before. */
        int64_t later_ns = now_ns + HF_SEC(10);
        struct window_sum sum;
        window_record(w, true, false, 0, later_ns);
        window_sum(w, later_ns, &sum);
        assert_int_equal(sum.calls, 1);
        assert_int_equal(sum.failures, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(window_race__what_has_ended_is_in_the_window),
        cmocka_unit_test(window_race__a_short_window_holds_what_is_young_and_nothing_old),
        cmocka_unit_test(window_race__evidence_never_makes_a_total_fall),
        cmocka_unit_test(window_race__two_threads_in_one_cell_book_what_they_change),
        cmocka_unit_test(window_race__cells_beyond_a_smaller_window_keep_nothing),
        cmocka_unit_test(window_race__shapes_change_under_everybodys_hands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
