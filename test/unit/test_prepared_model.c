#include "unit.h"

#include "base/rng.h"

#define RIG_CHECK(condition) assert_true(condition)
#include "prepared_walk.h"

/*
 * Many clients and few server connections, against what a PostgreSQL of each client's own would
 * answer. See prepared_rig.h for what is checked at every step.
 */

static uint32_t chance(void *context, uint32_t n)
{
    return (uint32_t)rng_below(context, n);
}

static void walk_with(struct walk_weather weather, uint64_t seeds)
{
    static struct walk walk;
    for (uint64_t seed = 0; seed < seeds; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        walk.chance = chance;
        walk.context = &rng;
        walk_through(&walk, weather, 4);
    }
}

static void prepared__clients_get_what_a_server_of_their_own_would_say(void **state)
{
    (void)state;
    walk_with((struct walk_weather){0}, 300);
}

static void prepared__errors_at_any_place_leave_the_maps_true(void **state)
{
    (void)state;
    walk_with((struct walk_weather){.timeouts = true}, 300);
}

static void prepared__clients_and_servers_may_go_at_any_time(void **state)
{
    (void)state;
    walk_with((struct walk_weather){.departures = true}, 150);
    walk_with((struct walk_weather){.losses = true, .departures = true}, 150);
}

static void prepared__changed_tables_are_prepared_anew(void **state)
{
    (void)state;
    walk_with((struct walk_weather){.alters = true}, 150);
    walk_with((struct walk_weather){true, true, true, true}, 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prepared__errors_at_any_place_leave_the_maps_true),
        cmocka_unit_test(prepared__clients_and_servers_may_go_at_any_time),
        cmocka_unit_test(prepared__changed_tables_are_prepared_anew),
        cmocka_unit_test(prepared__clients_get_what_a_server_of_their_own_would_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
