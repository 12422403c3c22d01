/*
 * Threads that call and retry through one budget. What they did is then compared with the bound,
 * and with the plain steps made one after the other in an order that explains what each saw.
 */
#include "unit.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/ns.h"
#include "base/rng.h"
#include "core/budget_mt.h"
#include "dies.h"

#define THREADS 4
#define ROUNDS  60000

static struct budget budget;
static _Atomic int64_t clock_ns; /* a virtual one: each thread moves it, and some read it late */
static pthread_barrier_t start;

struct worker {
    struct rng rng;
    pthread_t thread;
    uint64_t calls, taken, refused, refunded;
    int64_t tick_ns_max;
    bool wants_refunds;
};

static struct worker worker[THREADS];

static int64_t look(struct worker *w)
{
    int64_t now_ns = atomic_fetch_add(&clock_ns, rng_range_ns(&w->rng, 0, w->tick_ns_max));
    return ns_max(0, now_ns - rng_range_ns(&w->rng, 0, HF_MS(3)));
}

static void *work(void *argument)
{
    struct worker *w = argument;
    uint64_t held = 0;
    pthread_barrier_wait(&start);
    for (int i = 0; i < ROUNDS; i++) {
        ++w->calls;
        budget_deposit(&budget, look(w));
        if (rng_below(&w->rng, 2) == 0) {
            if (budget_try_withdraw(&budget, look(w))) {
                ++w->taken;
                ++held;
            } else {
                ++w->refused;
            }
        }
        if (w->wants_refunds && held > 0 && rng_below(&w->rng, 3) == 0) {
            budget_refund(&budget);
            ++w->refunded;
            --held;
        }
    }
    return NULL;
}

/* Runs the workers; leaves in `total` what all of them did. */
static void run(const struct budget_config *config, int64_t tick_ns_max, bool wants_refunds,
                struct worker *total)
{
    atomic_store(&clock_ns, 0);
    budget_init(&budget, config, 0);
    pthread_barrier_init(&start, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        worker[i] = (struct worker){.tick_ns_max = tick_ns_max, .wants_refunds = wants_refunds};
        rng_init(&worker[i].rng, (uint64_t)i);
        assert_int_equal(pthread_create(&worker[i].thread, NULL, work, &worker[i]), 0);
    }
    *total = (struct worker){0};
    for (int i = 0; i < THREADS; i++) {
        pthread_join(worker[i].thread, NULL);
        total->calls += worker[i].calls;
        total->taken += worker[i].taken;
        total->refused += worker[i].refused;
        total->refunded += worker[i].refunded;
    }
    pthread_barrier_destroy(&start);
}

static void check_bound(const struct budget_config *config, const struct worker *total)
{
    double allowed =
        (double)config->share_ppm / 1e6 * (double)total->calls +
        (double)config->reserve_per_second * ((double)atomic_load(&clock_ns) / (double)HF_SEC(1)) +
        (double)config->burst;
    assert_true((double)(total->taken - total->refunded) <= allowed);
}

static void check_counters(const struct worker *total)
{
    struct budget_view view;
    budget_view(&budget, atomic_load(&clock_ns), &view);
    assert_int_equal(view.withdrawn, total->taken);
    assert_int_equal(view.refused, total->refused);
    assert_int_equal(view.refunded, total->refunded);
    assert_true(view.deposited <= total->calls);
    assert_true(view.tokens_milli <= budget.config.burst * 1000);
}

static void budget_mt__threads_together_stay_within_the_bound(void **state)
{
    (void)state;
    static const struct budget_config configs[] = {
        {200000, 3, 100}, {100000, 0, 1}, {1000000, 0, 3}, {0, 10000, 10}, {500000, 100, 10000}};
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        struct worker total;
        run(&configs[i], HF_US(2), i % 2 == 0, &total);
        check_bound(&configs[i], &total);
        check_counters(&total);
    }
}

static void budget_mt__no_token_is_lost_or_made_between_threads(void **state)
{
    (void)state;
    /* The clock stands still and deposits bring nothing, so nothing is ever cut off: the sum is
     * exact, in whatever order the threads came. */
    const struct budget_config config = {.share_ppm = 0, .reserve_per_second = 0, .burst = 10000};
    struct worker total;
    run(&config, 0, true, &total);
    struct budget_view view;
    budget_view(&budget, 0, &view);
    assert_int_equal(view.tokens_milli, 10000 * 1000 - (total.taken - total.refunded) * 1000);
    check_counters(&total);
}

static void budget_mt__what_deposits_bring_is_all_given_out(void **state)
{
    (void)state;
    /* Half of the calls ask, a fifth of them can be served: the bucket is empty nearly always, so
     * every deposit counts, and what was given out plus what is left is what came in. */
    const struct budget_config config = {
        .share_ppm = 200000, .reserve_per_second = 0, .burst = 500};
    struct worker total;
    run(&config, 0, false, &total);
    struct budget_view view;
    budget_view(&budget, 0, &view);
    assert_int_equal(view.deposited * 200 + 500 * 1000, total.taken * 1000 + view.tokens_milli);
    assert_true(view.deposited >=
                total.calls - 2000); /* all but those of the full bucket at first */
    assert_true(total.refused > 0);
}

/* ---- one thread is the sequential model ---- */

static void budget_mt__one_thread_does_what_the_steps_do(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    const struct budget_config config = {.share_ppm = 300000, .reserve_per_second = 20, .burst = 4};
    budget_init(&budget, &config, HF_SEC(1));
    uint64_t model = budget_word_init(&config, HF_SEC(1));
    uint64_t next, out = 0;
    int64_t now_ns = HF_SEC(1);
    for (int i = 0; i < 100000; i++) {
        now_ns += rng_range_ns(&rng, 0, HF_MS(8));
        switch (rng_below(&rng, 4)) {
        case 0:
            budget_deposit(&budget, now_ns);
            if (budget_step_deposit(&config, model, now_ns, &next))
                model = next;
            break;
        case 1:
            if (out > 0) {
                --out;
                budget_refund(&budget);
                if (budget_step_refund(&config, model, &next))
                    model = next;
            }
            break;
        default: {
            bool expected = budget_step_withdraw(&config, model, now_ns, &next);
            if (expected)
                model = next;
            assert_int_equal(budget_try_withdraw(&budget, now_ns), expected);
            out += expected;
        }
        }
        assert_int_equal(atomic_load(&budget.word), model);
    }
}

static void refund_nothing(void *argument)
{
    budget_refund(argument);
}

static void budget_mt__a_refund_without_a_withdrawal_is_a_bug(void **state)
{
    (void)state;
    const struct budget_config config = budget_config_default();
    budget_init(&budget, &config, 0);
    assert_true(dies(refund_nothing, &budget));
    assert_true(budget_try_withdraw(&budget, 0));
    budget_refund(&budget);
    assert_true(dies(refund_nothing, &budget));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budget_mt__threads_together_stay_within_the_bound),
        cmocka_unit_test(budget_mt__no_token_is_lost_or_made_between_threads),
        cmocka_unit_test(budget_mt__what_deposits_bring_is_all_given_out),
        cmocka_unit_test(budget_mt__one_thread_does_what_the_steps_do),
        cmocka_unit_test(budget_mt__a_refund_without_a_withdrawal_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
