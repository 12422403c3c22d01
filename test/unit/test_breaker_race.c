/*
 * A breaker under threads that are stopped at chosen places (weave.h). Many short lives, in which
 * everything is counted by the test as well, and the bound on probes is watched at every step.
 * test_breaker_mt.c runs the same with real threads.
 */
#include "weave.h"

/* After the atomics of weave.h: the code under test is compiled with them. */
#include "core/breaker_mt.c" // NOLINT(bugprone-suspicious-include): its atomics are replaced here

#include "unit.h"

#include "breaker_rig.h"

#define RUNS        2000
#define CALLS       30
#define HELD_MAX    3
#define GENERATIONS 4096
#define STEP_NS     HF_MS(1)

enum {
    GOODS,
    BADS,
    NEUTRALS,
    REFUSED,
    OBSERVED,
    PROBES,
    CHANGES,
    WRONG,
};

static struct weave_fiber fibers[WEAVE_FIBERS_MAX];
static unsigned callers_left;
static int64_t now_ns;
static uint32_t probes_out[GENERATIONS];
static uint32_t probes_max;

static uint64_t sum_of(unsigned which)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < WEAVE_FIBERS_MAX; i++)
        sum += fibers[i].counts[which];
    return sum;
}

/* Trips easily, is open for 10 ms, waits 8 ms for a probe. A step of time is 1 ms. */
static struct breaker_config nervous(uint64_t seed)
{
    struct breaker_config config = rig_config();
    config.failure_threshold = seed % 3 == 0 ? 0 : 2;
    config.slow_ns = HF_MS(10);
    config.window_ns = HF_MS(50);
    config.open_ns = HF_MS(10);
    config.open_ns_max = HF_MS(20);
    config.probe_ns = HF_MS(8);
    config.half_open_calls = 1 + (uint32_t)(seed % 2);
    config.history = seed % 4 == 1 ? 2 : 1000;
    config.is_monitor = seed % 7 == 0;
    config.window_kind = seed % 5 == 0 ? WINDOW_COUNT : WINDOW_TIME;
    config.window_calls = 6;
    return config;
}

static void note_probe(struct weave_fiber *self, const struct breaker_permit *permit, int change)
{
    if (!breaker_permit_is_probe(permit))
        return;
    probes_out[permit->generation] += (uint32_t)change;
    self->counts[WRONG] += probes_out[permit->generation] > probes_max;
}

static void end_one(struct weave_fiber *self, const struct breaker_permit *permit)
{
    uint64_t draw = rng_below(&self->rng, 100);
    enum outcome_verdict verdict = draw < 40 ? BAD : draw < 90 ? GOOD : NEUTRAL;
    note_probe(self, permit, -1);
    breaker_record(b, permit, verdict, now_ns += STEP_NS);
    ++self->counts[verdict == GOOD ? GOODS : verdict == BAD ? BADS : NEUTRALS];
}

static void call_some(struct weave_fiber *self)
{
    struct breaker_permit held[HELD_MAX];
    unsigned count = 0;
    for (int i = 0; i < CALLS || count > 0; i++) {
        if (i < CALLS && count < HELD_MAX) {
            if (breaker_admit(b, now_ns += STEP_NS, &held[count])) {
                self->counts[PROBES] += breaker_permit_is_probe(&held[count]);
                self->counts[OBSERVED] += held[count].role == BREAKER_ROLE_OBSERVER;
                note_probe(self, &held[count++], 1);
            } else {
                ++self->counts[REFUSED];
            }
        }
        if (count > 0 && (i >= CALLS || count == HELD_MAX || rng_below(&self->rng, 2) == 0)) {
            unsigned which = (unsigned)rng_below(&self->rng, count);
            end_one(self, &held[which]);
            held[which] = held[--count];
        }
    }
    --callers_left;
}

/* Every change, in order, each from where the last one led. One whose thread was stopped before it
 * was written may be missed, but never be told wrong. */
static void follow(struct weave_fiber *self)
{
    struct breaker_change change;
    uint32_t cursor = 0;
    int64_t last_ns = 0;
    enum breaker_state state = BREAKER_CLOSED;
    for (bool was_over = false; !was_over; weave_step()) {
        was_over = callers_left == 0;
        breaker_tick(b, now_ns);
        while (breaker_changes_next(b, &cursor, &change)) {
            self->counts[CHANGES] += 1 + change.missed;
            self->counts[WRONG] += change.missed == 0 && change.from != state;
            self->counts[WRONG] += change.cause == BREAKER_CAUSE_NONE || change.at_ns > now_ns ||
                                   change.at_ns < last_ns || change.generation != cursor;
            last_ns = change.at_ns;
            state = change.to;
        }
    }
}

static void meddle(struct weave_fiber *self)
{
    while (callers_left > 0) {
        int64_t at_ns = now_ns += STEP_NS;
        switch (rng_below(&self->rng, 5)) {
        case 0:
            breaker_force(b, BREAKER_DISABLED, at_ns);
            break;
        case 1:
            breaker_force(b, BREAKER_FORCED_OPEN, at_ns);
            break;
        case 2:
            breaker_trip(b, HF_MS(5), at_ns);
            break;
        default:
            breaker_reset(b, at_ns);
        }
        for (uint64_t i = rng_below(&self->rng, 200); i > 0; i--)
            weave_step();
    }
}

static void make(uint64_t seed, unsigned callers)
{
    struct breaker_config config = nervous(seed);
    memset(fibers, 0, sizeof fibers);
    memset(probes_out, 0, sizeof probes_out);
    probes_max = config.half_open_calls;
    now_ns = 0;
    callers_left = callers;
    rig_make(&config, 0);
    for (unsigned i = 0; i < callers; i++)
        fibers[i].work = call_some;
}

static void assert_conserved(uint64_t seed)
{
    struct breaker_view view = view_at(now_ns);
    if (view.total.calls != sum_of(GOODS) + sum_of(BADS) || view.total.failures != sum_of(BADS) ||
        view.neutral != sum_of(NEUTRALS) || view.rejected != sum_of(REFUSED) ||
        view.probes != sum_of(PROBES) || sum_of(WRONG) != 0 || view.leases != 0)
        fail_msg("seed %llu: %llu calls of %llu, %llu failed of %llu, %llu probes of %llu, %u "
                 "leases out, %llu wrong",
                 (unsigned long long)seed, (unsigned long long)view.total.calls,
                 (unsigned long long)(sum_of(GOODS) + sum_of(BADS)),
                 (unsigned long long)view.total.failures, (unsigned long long)sum_of(BADS),
                 (unsigned long long)view.probes, (unsigned long long)sum_of(PROBES), view.leases,
                 (unsigned long long)sum_of(WRONG));
    assert_int_equal(view.in_flight, 0);
    assert_true(breaker_generation(b) < GENERATIONS);
}

/* One more result, so that the window has turned; then no closed breaker sits over a full window
 * that should have opened it. */
static void assert_judged(uint64_t seed)
{
    struct breaker_permit permit;
    if (breaker_admit(b, now_ns, &permit))
        breaker_record(b, &permit, GOOD, now_ns);
    struct breaker_view view = view_at(now_ns);
    const struct breaker_rates rates = {
        b->failure_rate_ppm,
        b->slow_rate_ppm,
        b->min_calls,
    };
    if (view.state == BREAKER_CLOSED &&
        breaker_judge(&rates, view.window.calls, view.window.failures, view.window.slow) !=
            BREAKER_CAUSE_NONE)
        fail_msg("seed %llu: closed, with %llu of %llu failed and %llu slow",
                 (unsigned long long)seed, (unsigned long long)view.window.failures,
                 (unsigned long long)view.window.calls, (unsigned long long)view.window.slow);
}

static void breaker_race__counts_permits_and_changes_are_conserved(void **state)
{
    (void)state;
    uint64_t changes = 0, probes = 0;
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        make(seed, 3);
        fibers[3].work = follow;
        weave_run(fibers, 4, seed);
        assert_conserved(seed);
        if (sum_of(CHANGES) != breaker_generation(b) && b->history > 2)
            fail_msg("seed %llu: %llu changes told, %u made", (unsigned long long)seed,
                     (unsigned long long)sum_of(CHANGES), breaker_generation(b));
        assert_int_equal(view_at(now_ns).would_reject, sum_of(OBSERVED));
        assert_judged(seed);
        changes += sum_of(CHANGES);
        probes += sum_of(PROBES);
    }
    /* These were lives. */
    assert_true(changes > 5 * RUNS && probes > 3 * RUNS);
}

static void breaker_race__hands_do_not_break_what_is_conserved(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        make(seed, 2);
        fibers[2].work = meddle;
        fibers[3].work = follow;
        weave_run(fibers, 4, seed);
        assert_conserved(seed);
        assert_judged(seed);
    }
}

/* Four bad results at once, and it takes four: whoever is stopped where, it opens. */
static void fail_once(struct weave_fiber *self)
{
    struct breaker_permit permit;
    (void)self;
    if (breaker_admit(b, HF_SEC(1), &permit))
        breaker_record(b, &permit, BAD, HF_SEC(1));
}

static void breaker_race__the_last_of_several_failures_opens_it(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        struct breaker_config config = rig_config();
        make(seed, 0);
        config.failure_threshold = seed % 2 == 0 ? 4 : 0;
        config.min_calls = 4;
        config.window_kind = seed % 4 < 2 ? WINDOW_COUNT : WINDOW_TIME;
        rig_make(&config, 0);
        for (unsigned i = 0; i < 4; i++)
            fibers[i].work = fail_once;
        weave_run(fibers, 4, seed);
        if (breaker_state(b) != BREAKER_OPEN || breaker_generation(b) != 1)
            fail_msg("seed %llu: %s after four failures", (unsigned long long)seed,
                     breaker_state_name(breaker_state(b)));
    }
}

/* The good call that fills the minimum, in any order with the bad ones. */
static void succeed_once(struct weave_fiber *self)
{
    struct breaker_permit permit;
    (void)self;
    if (breaker_admit(b, HF_SEC(1), &permit))
        breaker_record(b, &permit, GOOD, HF_SEC(1));
}

static void breaker_race__whoever_fills_the_minimum_opens_it(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        struct breaker_config config = rig_config();
        make(seed, 0);
        config.window_kind = seed % 2 == 0 ? WINDOW_COUNT : WINDOW_TIME;
        rig_make(&config, 0);
        for (unsigned i = 0; i < 4; i++)
            fibers[i].work = i < 2 ? succeed_once : fail_once;
        weave_run(fibers, 4, seed);
        if (breaker_state(b) != BREAKER_OPEN)
            fail_msg("seed %llu: not open at two failures of four", (unsigned long long)seed);
    }
}

static void reset_when_all_is_recorded(struct weave_fiber *self)
{
    struct window_sum sum = {0};
    (void)self;
    for (; sum.failures < 3 && breaker_state(b) == BREAKER_CLOSED; weave_step())
        window_sum(&b->window, HF_SEC(1), &sum);
    breaker_reset(b, HF_SEC(1));
}

/* What was judged before a reset is void after it, even if whoever judged was stopped between. */
static void breaker_race__a_trip_judged_before_a_reset_is_void_after_it(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        struct breaker_config config = rig_config();
        make(seed, 0);
        config.min_calls = 3;
        rig_make(&config, 0);
        for (unsigned i = 0; i < 4; i++)
            fibers[i].work = i < 3 ? fail_once : reset_when_all_is_recorded;
        weave_run(fibers, 4, seed);
        if (breaker_state(b) != BREAKER_CLOSED)
            fail_msg("seed %llu: open after a reset", (unsigned long long)seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(breaker_race__counts_permits_and_changes_are_conserved),
        cmocka_unit_test(breaker_race__hands_do_not_break_what_is_conserved),
        cmocka_unit_test(breaker_race__the_last_of_several_failures_opens_it),
        cmocka_unit_test(breaker_race__whoever_fills_the_minimum_opens_it),
        cmocka_unit_test(breaker_race__a_trip_judged_before_a_reset_is_void_after_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
