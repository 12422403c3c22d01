/*
 * Fair ranks in a bulkhead's queue, in a small world of its own: so many permits, flows of clients
 * that ask again as soon as they are served, and time that is counted in services.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/container_of.h"
#include "base/ns.h"
#include "core/bulkhead_mt.h"
#include "core/fair_mt.h"

#define PERMITS 4
#define CLIENTS 200

struct one {
    struct bulkhead_waiter waiter;
    uint64_t flow;
    uint32_t weight;
    int64_t asked_at; /* in services of all */
};

struct world {
    void *memory;
    struct bulkhead *bulkhead;
    struct fair fair;
    struct one clients[CLIENTS];
    uint32_t count;
    struct bulkhead_permit running[PERMITS];
    struct one *who[PERMITS];
    int64_t services;
    int64_t served[FAIR_SLOTS];
    int64_t longest[FAIR_SLOTS]; /* wait, in services of all */
};

static void ask(struct world *world, struct one *one)
{
    one->asked_at = world->services;
    one->waiter.rank = fair_join(&world->fair, one->flow, one->weight);
    enum bulkhead_answer answer = bulkhead_enter(world->bulkhead, &one->waiter, 1, 0, HF_NEVER);
    assert_int_equal(answer, BULKHEAD_QUEUED);
}

static void setup(struct world *world)
{
    struct bulkhead_config config = bulkhead_config_default();
    memset(world, 0, sizeof *world);
    config.limit = PERMITS;
    config.queue_max = CLIENTS;
    config.has_histograms = false;
    config.refuses_hopeless = false;
    world->memory = aligned_alloc(BULKHEAD_ALIGN, (bulkhead_size(&config) + BULKHEAD_ALIGN - 1) /
                                                      BULKHEAD_ALIGN * BULKHEAD_ALIGN);
    assert_non_null(world->memory);
    world->bulkhead = bulkhead_init(world->memory, &config, 1);
    for (int i = 0; i < PERMITS; i++)
        assert_true(bulkhead_try(world->bulkhead, 1, &world->running[i]));
}

static void add(struct world *world, uint64_t flow, uint32_t weight, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct one *one = &world->clients[world->count++];
        one->flow = flow;
        one->weight = weight;
        ask(world, one);
    }
}

/* Permits end in turn; who was served asks again. */
static void run(struct world *world, int64_t services)
{
    for (int64_t i = 0; i < services; i++) {
        int at = (int)(i % PERMITS);
        struct one *before = world->who[at];
        struct bulkhead_waiter *waiter =
            bulkhead_hand_over(world->bulkhead, &world->running[at], 1);
        assert_non_null(waiter);
        struct one *one = container_of(waiter, struct one, waiter);
        fair_served(&world->fair, waiter->rank);
        world->services++;
        world->served[one->flow]++;
        int64_t waited = world->services - one->asked_at;
        if (waited > world->longest[one->flow])
            world->longest[one->flow] = waited;
        world->running[at] = waiter->permit;
        world->who[at] = one;
        if (before != NULL)
            ask(world, before);
    }
}

static void fair__weights_of_three_to_one_give_three_to_one(void **state)
{
    (void)state;
    struct world world;
    setup(&world);
    add(&world, 1, 300, 30);
    add(&world, 2, 100, 30);
    run(&world, 4000);
    assert_in_range(world.served[1], 2960, 3040);
    assert_in_range(world.served[2], 960, 1040);
    free(world.memory);
}

static void fair__a_noisy_flow_delays_a_calm_one_by_its_share_and_not_by_its_length(void **state)
{
    (void)state;
    struct world world;
    setup(&world);
    add(&world, 1, 100, 150);
    run(&world, 500); /* the noisy one has been at it for a while */
    add(&world, 2, 100, 2);
    run(&world, 2000);
    /* Two clients that ask again at once get what they can use of their half: first in, first out
     * would have let each wait for 150 others. */
    assert_true(world.longest[2] <= 4);
    assert_true(world.longest[1] >= 140);
    assert_true(world.served[2] >= 600);
    free(world.memory);
}

static void fair__who_was_away_has_saved_up_nothing(void **state)
{
    (void)state;
    struct world world;
    setup(&world);
    add(&world, 1, 100, 50);
    run(&world, 3000);
    add(&world, 2, 100, 50);
    int64_t before = world.served[1];
    run(&world, 200);
    assert_in_range(world.served[1] - before, 95, 105);
    free(world.memory);
}

static void fair__within_a_flow_it_is_first_in_first_out(void **state)
{
    (void)state;
    struct world world;
    setup(&world);
    add(&world, 3, 7, 20);
    for (int i = 0; i < 20; i++) {
        struct bulkhead_waiter *waiter = bulkhead_hand_over(world.bulkhead, &world.running[0], 1);
        assert_ptr_equal(waiter, &world.clients[i].waiter);
        world.running[0] = waiter->permit;
    }
    free(world.memory);
}

static void fair__ranks_decide_behind_those_who_have_none(void **state)
{
    (void)state;
    static const uint64_t ranks[] = {0, 40, 20, 20, 10, 0, 30};
    static const size_t order[] = {0, 5, 4, 2, 3, 1};
    struct world world;
    setup(&world);
    for (size_t i = 0; i < 7; i++) {
        struct bulkhead_waiter *waiter = &world.clients[i].waiter;
        waiter->rank = ranks[i];
        assert_int_equal(bulkhead_enter(world.bulkhead, waiter, 1, 0, HF_NEVER), BULKHEAD_QUEUED);
    }
    assert_int_equal(bulkhead_waiting(world.bulkhead), 7);
    assert_true(bulkhead_withdraw(world.bulkhead, &world.clients[6].waiter, 1)); /* the middle */
    for (size_t i = 0; i < 6; i++) {
        struct bulkhead_waiter *next = &world.clients[order[i]].waiter;
        assert_ptr_equal(bulkhead_first(world.bulkhead), next);
        assert_ptr_equal(bulkhead_hand_over(world.bulkhead, &world.running[0], 1), next);
        world.running[0] = next->permit;
    }
    /* And one that has waited too long goes as all others do. */
    struct bulkhead_waiter *late = &world.clients[1].waiter;
    assert_int_equal(bulkhead_enter(world.bulkhead, late, 1, 0, 5), BULKHEAD_QUEUED);
    assert_ptr_equal(bulkhead_pop_expired(world.bulkhead, 6), late);
    assert_int_equal(bulkhead_waiting(world.bulkhead), 0);
    free(world.memory);
}

static void fair__ranks_are_never_zero_and_the_clock_never_goes_back(void **state)
{
    (void)state;
    struct fair fair = {0};
    assert_int_equal(fair_join(&fair, 5, FAIR_WEIGHT_MAX), FAIR_UNIT / FAIR_WEIGHT_MAX);
    fair_served(&fair, 100);
    fair_served(&fair, 50);
    fair_served(&fair, 0);
    assert_int_equal(fair_join(&fair, 6, 1), 100 + FAIR_UNIT);
    /* Flows that meet in a slot go on behind each other. */
    assert_int_equal(fair_join(&fair, 6 + FAIR_SLOTS, 1), 100 + 2 * FAIR_UNIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fair__weights_of_three_to_one_give_three_to_one),
        cmocka_unit_test(fair__a_noisy_flow_delays_a_calm_one_by_its_share_and_not_by_its_length),
        cmocka_unit_test(fair__who_was_away_has_saved_up_nothing),
        cmocka_unit_test(fair__within_a_flow_it_is_first_in_first_out),
        cmocka_unit_test(fair__ranks_decide_behind_those_who_have_none),
        cmocka_unit_test(fair__ranks_are_never_zero_and_the_clock_never_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
