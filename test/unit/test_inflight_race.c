/*
 * Calls in flight under threads that are stopped at chosen places (weave.h): whoever takes a call
 * out of the ring, it is taken out once, and the call is told.
 */
#include "weave.h"

/* After the atomics of weave.h: the code under test is compiled with them. */
#include "core/inflight.c" // NOLINT(bugprone-suspicious-include): its atomics are replaced here

#include "unit.h"

#include <string.h>

#define RUNS     2000
#define CALLS    12
#define HELD_MAX 3

static struct inflight ring;
static int64_t now_ns, step_ns;
static struct weave_fiber fibers[WEAVE_FIBERS_MAX];
static unsigned workers_left;
static uint32_t generation;

enum {
    BEGUN,
    SWEPT, /* by this fiber, and counted as slow */
    TOLD,  /* calls that were told so when they ended */
    UNCOUNTED,
    STALE,
    WRONG,
};

static uint64_t sum_of(unsigned which)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < WEAVE_FIBERS_MAX; i++)
        sum += fibers[i].counts[which];
    return sum;
}

static void end_one(struct weave_fiber *self, uint32_t stamp, uint32_t of)
{
    /* As the breaker does it: who finds that its generation is over asks no more. What is told
     * while it ends is void. */
    bool was_told = of == generation && inflight_end(&ring, stamp);
    if (of == generation)
        self->counts[TOLD] += was_told;
    else
        ++self->counts[STALE];
}

static void begin_and_end(struct weave_fiber *self)
{
    uint32_t held[HELD_MAX], of[HELD_MAX];
    unsigned count = 0;
    for (int i = 0; i < CALLS || count > 0; i++) {
        uint32_t overdue = inflight_sweep(&ring, generation, now_ns += step_ns);
        if (i < CALLS && count < HELD_MAX) {
            of[count] = generation;
            held[count] = inflight_begin(&ring, of[count], now_ns, &overdue);
            ++self->counts[BEGUN];
            self->counts[UNCOUNTED] += held[count++] == 0;
        }
        self->counts[SWEPT] += overdue;
        if (count == HELD_MAX || i >= CALLS || rng_below(&self->rng, 2) == 0) {
            unsigned which = (unsigned)rng_below(&self->rng, count);
            now_ns += step_ns;
            end_one(self, held[which], of[which]);
            of[which] = of[--count];
            held[which] = held[count];
        }
    }
    --workers_left;
}

static void make(int64_t step, unsigned workers)
{
    memset(fibers, 0, sizeof fibers);
    now_ns = 0;
    step_ns = step;
    generation = 1;
    workers_left = workers;
    inflight_init(&ring, INFLIGHT_SLOW_NS_MIN, 0);
    for (unsigned i = 0; i < workers; i++)
        fibers[i].work = begin_and_end;
}

/* A slice is 2^17 ns and a call slow after 7.6 of them: from many calls in a slice to a ring of
 * slices between two. */
static const int64_t steps[] = {10000, 100000, 400000, 1000000};

static void inflight_race__each_call_is_taken_out_once(void **state)
{
    (void)state;
    uint64_t swept = 0;
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        make(steps[seed % 4], 4);
        weave_run(fibers, 4, seed);
        if (sum_of(SWEPT) != sum_of(TOLD) || inflight_count(&ring, 1) != 0)
            fail_msg("seed %llu: %llu swept, %llu told, %u left", (unsigned long long)seed,
                     (unsigned long long)sum_of(SWEPT), (unsigned long long)sum_of(TOLD),
                     inflight_count(&ring, 1));
        assert_int_equal(sum_of(BEGUN), 4 * CALLS);
        swept += sum_of(SWEPT);
    }
    assert_true(swept > RUNS);
}

/* What is left in a slot of an earlier generation must not be there for a later one. */
static void change_generation(struct weave_fiber *self)
{
    while (workers_left > 0) {
        if (rng_below(&self->rng, 40) == 0)
            ++generation;
        weave_step();
    }
}

static void inflight_race__generations_keep_their_calls_apart(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        make(steps[seed % 4], 3);
        fibers[3].work = change_generation;
        weave_run(fibers, 4, seed);
        /* Told without having been swept: never. Swept, and then too late to be told: perhaps. */
        if (sum_of(TOLD) > sum_of(SWEPT) || sum_of(SWEPT) > sum_of(TOLD) + sum_of(STALE))
            fail_msg("seed %llu: %llu swept, %llu told, %llu stale", (unsigned long long)seed,
                     (unsigned long long)sum_of(SWEPT), (unsigned long long)sum_of(TOLD),
                     (unsigned long long)sum_of(STALE));
        ++generation;
        assert_int_equal(inflight_count(&ring, generation), 0);
    }
}

/* A deadline that is kept always moves on: nobody ticks at one instant for ever. */
static void tick(struct weave_fiber *self)
{
    while (workers_left > 0) {
        int64_t due_ns = inflight_deadline(&ring, generation);
        /* What has begun is due soon, even if it began before what was swept already. */
        self->counts[WRONG] += due_ns != HF_NEVER && due_ns > now_ns + 2 * INFLIGHT_SLOW_NS_MIN;
        if (due_ns <= now_ns)
            self->counts[SWEPT] += inflight_sweep(&ring, generation, now_ns);
        weave_step();
    }
}

static void inflight_race__a_deadline_that_is_kept_moves_on(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        make(steps[seed % 4], 3);
        fibers[3].work = tick;
        weave_run(fibers, 4, seed);
        assert_int_equal(sum_of(SWEPT), sum_of(TOLD));
        assert_int_equal(sum_of(WRONG), 0);
        uint32_t overdue = 0;
        inflight_begin(&ring, 1, now_ns, &overdue);
        int64_t due_ns = inflight_deadline(&ring, 1);
        assert_true(due_ns >= now_ns + INFLIGHT_SLOW_NS_MIN &&
                    due_ns < now_ns + 2 * INFLIGHT_SLOW_NS_MIN);
        assert_int_equal(overdue + inflight_sweep(&ring, 1, due_ns), 1);
        assert_true(inflight_deadline(&ring, 1) == HF_NEVER);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inflight_race__each_call_is_taken_out_once),
        cmocka_unit_test(inflight_race__generations_keep_their_calls_apart),
        cmocka_unit_test(inflight_race__a_deadline_that_is_kept_moves_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
