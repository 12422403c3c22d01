/*
 * The bulkhead under threads that are stopped at chosen places (weave.h): between any two atomic
 * operations another thread may do its part, also inside what is done under the lock.
 */
#include "weave.h"

/* After the atomics of weave.h: the code under test is compiled with them. */
#include "core/bulkhead_mt.c" // NOLINT(bugprone-suspicious-include): its atomics are replaced here

#include "unit.h"

#define CALLS     10
#define FORGOTTEN 1000000 /* looks, after which a caller is sure that nobody will wake it */

static _Alignas(BULKHEAD_ALIGN) char memory[sizeof(struct bulkhead)];
static struct bulkhead *b;
static struct weave_fiber fibers[WEAVE_FIBERS_MAX];
static struct bulkhead_waiter waiters[WEAVE_FIBERS_MAX];
static int64_t now_ns;
static uint32_t inside, inside_max, callers_left;
static bool is_locked;

enum {
    RAN,
    REFUSED,
    GAVE_UP,
    LOST, /* waited without end */
};

/* ---- a driver ---- */

static void lock(void)
{
    while (is_locked)
        weave_step();
    is_locked = true;
}

static void unlock(void)
{
    is_locked = false;
}

/* Waiters look at their state themselves, so there is nobody to wake. */
static void serve_waiters(void)
{
    while (bulkhead_pop_granted(b, now_ns) != NULL)
        ;
}

static bool wait_for_permit(struct weave_fiber *self, struct bulkhead_waiter *waiter)
{
    uint64_t patience = self->index % 2 == 0 ? FORGOTTEN : rng_below(&self->rng, 40);
    while (waiter->state != BULKHEAD_WAITER_GRANTED && patience > 0) {
        --patience;
        weave_step();
    }
    self->counts[LOST] += self->index % 2 == 0 && patience == 0;
    lock();
    bool was_waiting = bulkhead_withdraw(b, waiter, now_ns);
    unlock();
    self->counts[GAVE_UP] += was_waiting;
    return !was_waiting;
}

static bool get_permit(struct weave_fiber *self, struct bulkhead_permit *permit)
{
    if (bulkhead_try(b, ++now_ns, permit))
        return true;
    struct bulkhead_waiter *waiter = &waiters[self->index];
    lock();
    enum bulkhead_answer answer =
        bulkhead_enter(b, waiter, ++now_ns, (uint8_t)rng_below(&self->rng, 2), HF_NEVER);
    unlock();
    bool has_permit =
        answer == BULKHEAD_GRANTED || (answer == BULKHEAD_QUEUED && wait_for_permit(self, waiter));
    self->counts[REFUSED] += answer != BULKHEAD_GRANTED && answer != BULKHEAD_QUEUED;
    *permit = waiter->permit;
    return has_permit;
}

static void give_back(struct weave_fiber *self, struct bulkhead_permit *permit)
{
    permit->ending = BULKHEAD_RAN;
    if (rng_below(&self->rng, 4) != 0 && bulkhead_release(b, permit, ++now_ns))
        return;
    lock();
    bulkhead_hand_over(b, permit, ++now_ns);
    serve_waiters();
    unlock();
}

static void call_often(struct weave_fiber *self)
{
    for (int i = 0; i < CALLS; i++) {
        struct bulkhead_permit permit;
        if (!get_permit(self, &permit))
            continue;
        inside_max = ++inside > inside_max ? inside : inside_max;
        for (uint64_t steps = rng_below(&self->rng, 6); steps > 0; steps--)
            weave_step();
        --inside;
        ++self->counts[RAN];
        give_back(self, &permit);
    }
    --callers_left;
}

static void resize_often(struct weave_fiber *self)
{
    while (callers_left > 0) {
        lock();
        bulkhead_resize(b, 1 + (uint32_t)rng_below(&self->rng, 3), ++now_ns);
        serve_waiters();
        unlock();
        for (int i = 0; i < 20; i++)
            weave_step();
    }
}

/* ---- the frame of each case ---- */

static struct bulkhead_config config_of(uint32_t limit)
{
    struct bulkhead_config config = bulkhead_config_default();
    config.limit = limit;
    config.queue_max = 2;
    config.has_histograms = false;
    config.refuses_hopeless = false;
    return config;
}

/* Runs the callers, and a resizer beside them if there is one, to their end. */
static void run(const struct bulkhead_config *config, unsigned callers, bool has_resizer,
                uint64_t seed)
{
    memset(fibers, 0, sizeof fibers);
    memset(waiters, 0, sizeof waiters);
    now_ns = 0;
    inside = inside_max = 0;
    is_locked = false;
    callers_left = callers;
    rng_init(&weave.rng, seed); /* by which weak exchanges fail, outside of a run too */
    b = bulkhead_init(memory, config, 0);
    for (unsigned i = 0; i < callers; i++)
        fibers[i].work = call_often;
    if (has_resizer)
        fibers[callers].work = resize_often;
    weave_run(fibers, callers + has_resizer, seed);

    uint64_t ran = 0, refused = 0, gave_up = 0, lost = 0;
    for (unsigned i = 0; i < callers; i++) {
        ran += fibers[i].counts[RAN];
        refused += fibers[i].counts[REFUSED];
        gave_up += fibers[i].counts[GAVE_UP];
        lost += fibers[i].counts[LOST];
    }
    if (lost > 0)
        fail_msg("seed %llu: somebody was never served", (unsigned long long)seed);
    struct bulkhead_view view;
    bulkhead_view(b, now_ns, &view);
    if (ran + refused + gave_up != (uint64_t)callers * CALLS || view.in_use != 0 ||
        view.waiting != 0 || view.completed != ran || view.cancelled != gave_up ||
        bulkhead_word_has_waiters(b->word))
        fail_msg("seed %llu: %u in use, %u waiting at the end", (unsigned long long)seed,
                 view.in_use, view.waiting);
}

/* ---- cases ---- */

static void bulkhead_race__a_fixed_limit_holds_and_nobody_is_forgotten(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 6000; seed++) {
        struct bulkhead_config config = config_of(1 + (uint32_t)(seed % 2));
        run(&config, 2 + (unsigned)(seed % 3), false, seed);
        if (inside_max > config.limit)
            fail_msg("seed %llu: %u inside", (unsigned long long)seed, inside_max);
    }
}

static void bulkhead_race__a_limit_that_is_changed_by_hand_forgets_nobody(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 4000; seed++) {
        struct bulkhead_config config = config_of(2);
        run(&config, 3, true, seed);
        assert_true(inside_max <= 3);
        assert_int_equal(b->order, 0);
        assert_int_equal(b->limit_wanted, bulkhead_limit(b));
    }
}

/* A window ends with every operation, so the limit moves by itself all the time. */
static void bulkhead_race__an_adaptive_limit_forgets_nobody(void **state)
{
    (void)state;
    uint64_t windows = 0;
    for (uint64_t seed = 0; seed < 6000; seed++) {
        struct bulkhead_config config = config_of(2);
        config.is_adaptive = true;
        config.adapt =
            (struct adapt_config){.limit_min = 1, .limit_max = 3, .samples_min = 1, .window_ns = 1};
        run(&config, 3, seed % 2 == 0, seed);
        assert_true(inside_max <= 3);
        assert_int_equal(b->order, 0);
        assert_in_range(bulkhead_limit(b), 1, 3);
        if (seed % 2 != 0) /* an order in force may be more than was wanted in between */
            assert_true(bulkhead_limit(b) <= b->limit_wanted);
        windows += b->adapt.windows;
        bulkhead_resize(b, 3, now_ns);
        assert_int_equal(bulkhead_limit(b), 3);
    }
    assert_true(windows > 6000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bulkhead_race__a_fixed_limit_holds_and_nobody_is_forgotten),
        cmocka_unit_test(bulkhead_race__a_limit_that_is_changed_by_hand_forgets_nobody),
        cmocka_unit_test(bulkhead_race__an_adaptive_limit_forgets_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
