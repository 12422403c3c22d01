/*
 * The draw of route_choose(): weights, load, warm-up, rounds.
 */
#include "unit.h"

#include <stdbool.h>

#include "base/rng.h"
#include "core/route.h"
#include "route_four.h"

struct tally {
    uint32_t chosen[SNAPSHOT_ENDPOINTS_MAX];
};

static void choose_often(struct snapshot *view, const struct route_request *request, int times,
                         struct tally *tally)
{
    struct route_state state;
    struct route_decision decision;
    route_state_init(&state, 42);
    snapshot_seal(view);
    *tally = (struct tally){{0}};
    for (int i = 0; i < times; i++) {
        assert_true(route_choose(view, request, &state, &decision));
        ++tally->chosen[decision.endpoint];
    }
}

/* Within five standard deviations of n * share: the seed is fixed, so it holds always or never. */
static bool is_about(uint32_t count, double n, double share)
{
    double off = (double)count - n * share;
    return off * off <= 25 * n * share * (1 - share) + 1;
}

static void route__weights_share_the_calls_at_rest(void **state)
{
    (void)state;
    static const uint32_t idle[SNAPSHOT_ENDPOINTS_MAX];
    struct snapshot view;
    struct tally tally;
    struct route_policy policy = route_policy_default();
    four(&view);
    view.endpoints[1].weight = 1;
    view.endpoints[2].weight = 2;
    view.endpoints[3].weight = 5;
    struct route_request request = {.policy = &policy};
    for (int way = 0; way < 6; way++) {
        policy.balance = way % 2 ? ROUTE_RANDOM : ROUTE_LEAST_OF_TWO;
        request.load = way % 3 ? idle : NULL;
        request.avoid = way >= 4 ? BIT(3) : 0; /* part of a tier: no alias table */
        choose_often(&view, &request, 100000, &tally);
        double all = way >= 4 ? 3 : 8;
        assert_true(is_about(tally.chosen[1], 100000, 1 / all));
        assert_true(is_about(tally.chosen[2], 100000, 2 / all));
        assert_int_equal(tally.chosen[0], 0);
        assert_true(tally.chosen[1] + tally.chosen[2] + tally.chosen[3] == 100000);
    }
}

static void route__a_stuck_replica_gets_nothing_while_others_are_free(void **state)
{
    (void)state;
    struct snapshot view;
    struct tally tally;
    uint32_t load[SNAPSHOT_ENDPOINTS_MAX] = {0, 50, 3, 3};
    for (uint32_t excluded = 0; excluded <= BIT(3); excluded += BIT(3)) {
        four(&view);
        const struct route_request request = {.load = load, .exclude = excluded};
        choose_often(&view, &request, 10000, &tally);
        assert_int_equal(tally.chosen[1], 0);
        assert_true(tally.chosen[2] > 4000);
    }
}

/* Calls come and go: `calls` are always out, and each step one of them ends and another begins.
 * Gives the mean load, and the largest seen after the beginning. */
static void run_closed_loop(struct snapshot *view, struct route_policy *policy, uint32_t calls,
                            double mean[SNAPSHOT_ENDPOINTS_MAX], uint32_t *most)
{
    uint32_t load[SNAPSHOT_ENDPOINTS_MAX] = {0}, at[256];
    double sum[SNAPSHOT_ENDPOINTS_MAX] = {0};
    struct route_request request = {.load = load, .policy = policy};
    struct route_state state;
    struct route_decision decision;
    struct rng rng;
    rng_init(&rng, 3);
    route_state_init(&state, 4);
    snapshot_seal(view);
    *most = 0;
    for (uint32_t i = 0; i < 20000 + calls; i++) {
        uint32_t call = i < calls ? i : (uint32_t)rng_below(&rng, calls);
        if (i >= calls)
            --load[at[call]];
        assert_true(route_choose(view, &request, &state, &decision));
        at[call] = decision.endpoint;
        ++load[decision.endpoint];
        for (uint32_t e = 0; e < view->count && i >= calls; e++) {
            sum[e] += load[e];
            *most = load[e] > *most ? load[e] : *most;
        }
    }
    for (uint32_t e = 0; e < view->count; e++)
        mean[e] = sum[e] / 20000;
}

static void eight_replicas(struct snapshot *view)
{
    snapshot_init(view);
    view->made_at_ns = NOW_NS;
    for (char name[] = "a"; name[0] <= 'h'; name[0]++) {
        struct snapshot_endpoint *endpoint = snapshot_add(view, name);
        endpoint->role = ENDPOINT_REPLICA;
        endpoint->health = ENDPOINT_UP;
        endpoint->accepts_reads = true;
    }
}

static void route__two_choices_keep_the_longest_queue_short(void **state)
{
    (void)state;
    struct snapshot view;
    struct route_policy policy = route_policy_default();
    double mean[SNAPSHOT_ENDPOINTS_MAX];
    uint32_t most_of_two, most_of_one;
    eight_replicas(&view);
    run_closed_loop(&view, &policy, 64, mean, &most_of_two);
    policy.balance = ROUTE_RANDOM;
    run_closed_loop(&view, &policy, 64, mean, &most_of_one);
    assert_in_range(most_of_two, 8, 12);
    assert_true(most_of_one > 16);
}

static void route__load_settles_in_proportion_to_weight(void **state)
{
    (void)state;
    struct snapshot view;
    struct route_policy policy = route_policy_default();
    double mean[SNAPSHOT_ENDPOINTS_MAX];
    uint32_t most;
    eight_replicas(&view);
    view.count = 3;
    view.endpoints[1].weight = 2;
    view.endpoints[2].weight = 5;
    run_closed_loop(&view, &policy, 80, mean, &most);
    assert_true(mean[0] > 9 && mean[0] < 11);
    assert_true(mean[1] > 18.5 && mean[1] < 21.5);
    assert_true(mean[2] > 48 && mean[2] < 52);
}

static void route__a_returned_replica_warms_up_instead_of_drawing_every_call(void **state)
{
    (void)state;
    struct snapshot view;
    struct tally tally;
    uint32_t load[SNAPSHOT_ENDPOINTS_MAX] = {0, 1, 20, 20};
    four(&view);
    const struct route_request request = {.load = load};
    choose_often(&view, &request, 3000, &tally);
    assert_true(tally.chosen[1] > 1800); /* nearly empty: wins whenever it is drawn */
    view.warm_up_ns = HF_SEC(10);
    view.endpoints[1].returned_at_ns = NOW_NS - HF_MS(10);
    load[1] = 3; /* 3 at a tenth of the weight is more than 20 at all of it */
    choose_often(&view, &request, 3000, &tally);
    assert_int_equal(tally.chosen[1], 0);
    choose_often(&view, &(struct route_request){.load = NULL}, 21000, &tally);
    assert_true(is_about(tally.chosen[1], 21000, 102 / 2150.0));
}

static void route__round_robin_spreads_the_heavy_one_evenly(void **state)
{
    (void)state;
    struct snapshot view;
    struct route_state lane;
    struct route_decision decision;
    struct route_policy policy = route_policy_default();
    policy.balance = ROUTE_ROUND_ROBIN;
    const struct route_request request = {.policy = &policy};
    four(&view);
    view.endpoints[1].weight = 5;
    snapshot_seal(&view);
    route_state_init(&lane, 1);
    for (int i = 0; i < 70; i++) {
        static const uint32_t round[] = {1, 1, 2, 1, 3, 1, 1};
        assert_true(route_choose(&view, &request, &lane, &decision));
        assert_int_equal(decision.endpoint, round[i % 7]);
    }
}

static void route__round_robin_goes_on_when_endpoints_come_and_go(void **state)
{
    (void)state;
    struct snapshot view;
    struct route_state lane;
    struct route_decision decision;
    struct route_policy policy = route_policy_default();
    struct rng rng;
    policy.balance = ROUTE_ROUND_ROBIN;
    rng_init(&rng, 8);
    route_state_init(&lane, 1);
    eight_replicas(&view);
    uint32_t chosen[8] = {0};
    for (int i = 0; i < 80000; i++) {
        struct route_request request = {.policy = &policy, .exclude = BIT(rng_below(&rng, 8))};
        snapshot_seal(&view);
        assert_true(route_choose(&view, &request, &lane, &decision));
        ++chosen[decision.endpoint];
    }
    for (int i = 0; i < 8; i++)
        assert_in_range(chosen[i], 9900, 10100);
}

static void route__the_same_seed_makes_the_same_choices(void **state)
{
    (void)state;
    struct snapshot view;
    four(&view);
    snapshot_seal(&view);
    struct route_state one, two;
    route_state_init(&one, 77);
    route_state_init(&two, 77);
    const struct route_request request = {.now_ns = NOW_NS};
    for (int i = 0; i < 100; i++) {
        struct route_decision a, b;
        route_choose(&view, &request, &one, &a);
        route_choose(&view, &request, &two, &b);
        assert_int_equal(a.endpoint, b.endpoint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(route__weights_share_the_calls_at_rest),
        cmocka_unit_test(route__a_stuck_replica_gets_nothing_while_others_are_free),
        cmocka_unit_test(route__two_choices_keep_the_longest_queue_short),
        cmocka_unit_test(route__load_settles_in_proportion_to_weight),
        cmocka_unit_test(route__a_returned_replica_warms_up_instead_of_drawing_every_call),
        cmocka_unit_test(route__round_robin_spreads_the_heavy_one_evenly),
        cmocka_unit_test(route__round_robin_goes_on_when_endpoints_come_and_go),
        cmocka_unit_test(route__the_same_seed_makes_the_same_choices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
