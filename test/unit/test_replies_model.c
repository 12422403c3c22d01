#include "unit.h"

#include <stdio.h>

#include "base/rng.h"

/* Says which seed it was: a failure is then the same again with `TRIAL_SEED=n`. */
static uint64_t trial_seed;
#define TRIAL_CHECK(condition)                                                                     \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("seed %llu, line %d: does not hold: %s", (unsigned long long)trial_seed,      \
                     __LINE__, #condition);                                                        \
    } while (0)

#include "replies_trial.h"

static uint32_t draw(void *context, uint32_t n)
{
    return (uint32_t)rng_below(context, n);
}

enum {
    TRIALS = 20000,
    TURNS = 200
};

static void replies_model__verdicts_are_true_in_any_order_of_events(void **state)
{
    (void)state;
    static struct trial trial;
    uint64_t ended_well = 0, ambiguous = 0, requests = 0;
    for (trial_seed = 1; trial_seed <= TRIALS; trial_seed++) {
        struct rng rng;
        rng_init(&rng, trial_seed);
        trial_init(&trial, draw, &rng);
        trial_go(&trial, TURNS);
        ended_well += !trial.is_over;
        ambiguous += trial.ambiguous;
        requests += trial.count;
    }
    /* That it can give up must not mean that it mostly does. */
    printf("%d trials, %llu requests: %llu ended at rest, %llu ambiguous\n", TRIALS,
           (unsigned long long)requests, (unsigned long long)ended_well,
           (unsigned long long)ambiguous);
    assert_true(ended_well > TRIALS / 2);
    assert_true(ambiguous < TRIALS / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_model__verdicts_are_true_in_any_order_of_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
