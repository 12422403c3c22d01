/*
 * A breaker under several threads. Each thread counts for itself what it did and was told; when all
 * are done, the breaker's counters must say the same. While they run, the bound on probes is
 * watched by counters of the test, and one thread reads the stream of changes.
 */
#include "unit.h"

#include <stdatomic.h>

#include "breaker_rig.h"
#include "crew.h"

#define TIMES       60000
#define HELD_MAX    8
#define GENERATIONS (1U << 16) /* more than a test makes */

enum {
    GOODS,
    BADS,
    NEUTRALS,
    REFUSED,
    PROBES,
    OBSERVED,
    BREACHES, /* of what must hold at any time */
};

static _Atomic int64_t shared_now_ns;
static _Atomic unsigned at_work;
static _Atomic uint32_t probes_out[GENERATIONS];
static uint32_t probes_max;

static int64_t tick_tock(void)
{
    return atomic_fetch_add(&shared_now_ns, HF_US(20));
}

static void begin(const struct breaker_config *config, unsigned workers)
{
    rig_make(config, 0);
    atomic_store(&shared_now_ns, 0);
    atomic_store(&at_work, workers);
    for (size_t i = 0; i < GENERATIONS; i++)
        atomic_store_explicit(&probes_out[i], 0, memory_order_relaxed);
    probes_max = config->half_open_calls;
}

/* Trips and recovers all the time: 20 ms open, 10 ms for a probe; time moves by 20 us a step. */
static struct breaker_config restless(void)
{
    struct breaker_config config = rig_config();
    config.failure_threshold = 4;
    config.slow_ns = HF_MS(2);
    config.window_ns = HF_MS(50);
    config.open_ns = HF_MS(20);
    config.open_ns_max = HF_MS(40);
    config.open_jitter_ppm = 100000;
    config.probe_ns = HF_MS(10);
    config.history = 500;
    return config;
}

/* A probe is out for the test from after its admission until before its result, so never longer
 * than for the breaker. */
static void note_probe(struct crew_member *self, const struct breaker_permit *permit, bool is_out)
{
    if (!breaker_permit_is_probe(permit) || permit->generation >= GENERATIONS)
        return;
    _Atomic uint32_t *out = &probes_out[permit->generation];
    if (!is_out)
        atomic_fetch_sub(out, 1);
    else if (atomic_fetch_add(out, 1) >= probes_max)
        ++self->counts[BREACHES];
}

static void end_one(struct crew_member *self, const struct breaker_permit *permit, bool is_stormy)
{
    uint64_t draw = rng_below(&self->rng, 100);
    enum outcome_verdict verdict = draw < (is_stormy ? 60 : 3) ? BAD : draw < 95 ? GOOD : NEUTRAL;
    note_probe(self, permit, false);
    breaker_record(b, permit, verdict, tick_tock());
    ++self->counts[verdict == GOOD ? GOODS : verdict == BAD ? BADS : NEUTRALS];
}

static void call_at_random(struct crew_member *self)
{
    struct breaker_permit held[HELD_MAX];
    unsigned count = 0;
    for (int i = 0; i < TIMES || count > 0; i++) {
        bool is_stormy = i / 500 % 2 == 1;
        if (i < TIMES && count < HELD_MAX) {
            if (breaker_admit(b, tick_tock(), &held[count])) {
                self->counts[PROBES] += breaker_permit_is_probe(&held[count]);
                self->counts[OBSERVED] += held[count].role == BREAKER_ROLE_OBSERVER;
                note_probe(self, &held[count++], true);
            } else {
                ++self->counts[REFUSED];
            }
        }
        while (count > 0 && (i >= TIMES || count == HELD_MAX || rng_below(&self->rng, 3) != 0)) {
            unsigned which = (unsigned)rng_below(&self->rng, count);
            end_one(self, &held[which], is_stormy);
            held[which] = held[--count];
        }
    }
    atomic_fetch_sub(&at_work, 1);
}

static bool is_over(void)
{
    return atomic_load(&at_work) == 0;
}

/* Reads every change, and ticks as a driver would. */
static void follow(struct crew_member *self)
{
    uint32_t cursor = 0;
    enum breaker_state state = BREAKER_CLOSED;
    struct breaker_change change;
    for (bool was_over = false; !was_over;) {
        was_over = is_over();
        breaker_tick(b, atomic_load(&shared_now_ns));
        while (breaker_changes_next(b, &cursor, &change)) {
            self->counts[0] += 1;
            self->counts[1] += change.missed;
            /* Each change begins where the one before has ended: one winner for each. */
            self->counts[BREACHES] += change.missed == 0 && change.from != state;
            self->counts[BREACHES] += change.cause == BREAKER_CAUSE_NONE;
            state = change.to;
        }
    }
}

static void assert_conserved(const struct crew_member *crew, unsigned callers)
{
    struct breaker_view view = view_at(atomic_load(&shared_now_ns));
    uint64_t good = crew_sum(crew, callers, GOODS), bad = crew_sum(crew, callers, BADS);
    assert_int_equal(view.total.calls, good + bad);
    assert_int_equal(view.total.failures, bad);
    assert_int_equal(view.successes_total, good);
    assert_int_equal(view.neutral, crew_sum(crew, callers, NEUTRALS));
    assert_int_equal(view.rejected, crew_sum(crew, callers, REFUSED));
    assert_int_equal(view.probes, crew_sum(crew, callers, PROBES));
    assert_int_equal(crew_sum(crew, callers, BREACHES), 0);
    /* No permit is out any more. */
    assert_int_equal(view.in_flight, 0);
    if (view.state == BREAKER_HALF_OPEN)
        assert_int_equal(view.leases, 0);
    for (size_t i = 0; i < GENERATIONS; i++)
        assert_int_equal(atomic_load_explicit(&probes_out[i], memory_order_relaxed), 0);
}

static void breaker_mt__counts_permits_and_changes_are_conserved(void **state)
{
    (void)state;
    void (*const works[])(struct crew_member *) = {call_at_random, call_at_random, call_at_random,
                                                   follow};
    for (uint64_t i = 0; i < 4; i++) {
        struct breaker_config config = restless();
        struct crew_member crew[4];
        config.window_kind = i % 2 == 0 ? WINDOW_TIME : WINDOW_COUNT;
        config.window_calls = 20;
        config.half_open_calls = i < 2 ? 1 : 3;
        begin(&config, 3);
        crew_run(crew, 4, 10 * i, works);
        assert_conserved(crew, 3);
        assert_int_equal(crew[3].counts[BREACHES], 0);
        assert_int_equal(crew[3].counts[0] + crew[3].counts[1], breaker_generation(b));
        assert_int_equal(view_at(0).would_reject, 0);
        /* It did live: many changes, most of them read, and calls of all kinds. */
        assert_true(breaker_generation(b) > 100);
        assert_true(crew[3].counts[0] > 50);
        assert_true(crew_sum(crew, 3, REFUSED) > 100 && crew_sum(crew, 3, PROBES) > 50);
    }
}

static void breaker_mt__in_monitor_mode_everybody_passes(void **state)
{
    (void)state;
    void (*const works[])(struct crew_member *) = {call_at_random, call_at_random, follow};
    struct breaker_config config = restless();
    struct crew_member crew[3];
    config.is_monitor = true;
    begin(&config, 2);
    crew_run(crew, 3, 50, works);
    assert_conserved(crew, 2);
    assert_int_equal(crew_sum(crew, 2, REFUSED), 0);
    assert_int_equal(crew_sum(crew, 2, OBSERVED), view_at(0).would_reject);
    assert_true(view_at(0).would_reject > 100);
}

/* An operator who cannot keep his hands still. */
static void meddle(struct crew_member *self)
{
    struct breaker_config config = restless();
    while (!is_over()) {
        int64_t now_ns = tick_tock();
        switch (rng_below(&self->rng, 8)) {
        case 0:
            breaker_force(b, BREAKER_FORCED_OPEN, now_ns);
            break;
        case 1:
            breaker_force(b, BREAKER_DISABLED, now_ns);
            break;
        case 2:
            breaker_trip(b, rng_range_ns(&self->rng, 0, HF_MS(30)), now_ns);
            break;
        case 3:
            config.slow_ns = HF_MS(1) << rng_below(&self->rng, 4);
            config.slow_rate_ppm = rng_below(&self->rng, 3) == 0 ? 0 : 500000;
            config.window_ns = HF_MS(20) << rng_below(&self->rng, 4);
            config.min_calls = 1 + (uint32_t)rng_below(&self->rng, 20);
            self->counts[BREACHES] += breaker_configure(b, &config, now_ns, NULL) != HF_OK;
            break;
        default:
            breaker_reset(b, now_ns);
        }
        for (uint64_t i = rng_below(&self->rng, 500); i > 0; i--)
            tick_tock();
    }
}

static void breaker_mt__hands_and_live_changes_lose_nothing(void **state)
{
    (void)state;
    void (*const works[])(struct crew_member *) = {call_at_random, call_at_random, meddle, follow};
    struct breaker_config config = restless();
    struct crew_member crew[4];
    begin(&config, 2);
    crew_run(crew, 4, 70, works);
    assert_conserved(crew, 2);
    assert_int_equal(crew[2].counts[BREACHES], 0);
    assert_int_equal(crew[3].counts[BREACHES], 0);
}

/* Everybody wants to be the probe; nobody gives the lease back. */
static void rush(struct crew_member *self)
{
    struct breaker_permit permit;
    for (int i = 0; i < 1000; i++)
        self->counts[PROBES] += breaker_admit(b, HF_SEC(11), &permit);
}

static void breaker_mt__of_a_crowd_that_rushes_in_only_the_probes_get_in(void **state)
{
    (void)state;
    void (*const works[])(struct crew_member *) = {rush, rush, rush, rush};
    for (uint32_t bound = 1; bound <= BREAKER_LEASES; bound++)
        for (uint64_t i = 0; i < 20; i++) {
            struct breaker_config config = rig_config();
            struct crew_member crew[4];
            config.half_open_calls = bound;
            begin(&config, 4);
            breaker_trip(b, HF_SEC(10), 0);
            crew_run(crew, 4, i, works);
            assert_int_equal(crew_sum(crew, 4, PROBES), bound);
            assert_int_equal(view_at(HF_SEC(11)).leases, bound);
            assert_int_equal(breaker_generation(b), 2);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(breaker_mt__counts_permits_and_changes_are_conserved),
        cmocka_unit_test(breaker_mt__in_monitor_mode_everybody_passes),
        cmocka_unit_test(breaker_mt__hands_and_live_changes_lose_nothing),
        cmocka_unit_test(breaker_mt__of_a_crowd_that_rushes_in_only_the_probes_get_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
