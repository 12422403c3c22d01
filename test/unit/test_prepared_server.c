#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "wire/prepared_server.h"

static struct prepared_server *make(uint16_t statements_max)
{
    struct prepared_server *server = malloc(prepared_server_size(statements_max));
    assert_non_null(server);
    prepared_server_init(server, statements_max);
    return server;
}

/* The ids from the one used last to the one used longest ago. */
static void expect_order(const struct prepared_server *server, const uint32_t *ids, uint16_t count)
{
    uint16_t slot = server->newest, before = PREPARED_NO_SLOT;
    assert_int_equal(server->count, count);
    for (uint16_t i = 0; i < count; i++) {
        assert_int_equal(server->slot[slot].id, ids[i]);
        assert_int_equal(server->slot[slot].newer, before);
        before = slot;
        slot = server->slot[slot].older;
    }
    assert_int_equal(slot, PREPARED_NO_SLOT);
    assert_int_equal(server->oldest, before);
}

static void prepared_server__statements_stand_in_the_order_of_use(void **state)
{
    (void)state;
    struct prepared_server *server = make(3);
    expect_order(server, NULL, 0);
    uint16_t first = prepared_server_add(server, 10);
    prepared_server_add(server, 20);
    prepared_server_add(server, 30);
    expect_order(server, (uint32_t[]){30, 20, 10}, 3);
    prepared_server_touch(server, first);
    expect_order(server, (uint32_t[]){10, 30, 20}, 3);
    prepared_server_touch(server, first);
    prepared_server_touch(server, prepared_server_find(server, 30));
    expect_order(server, (uint32_t[]){30, 10, 20}, 3);
    prepared_server_remove(server, first);
    expect_order(server, (uint32_t[]){30, 20}, 2);
    assert_int_equal(prepared_server_find(server, 10), PREPARED_NO_SLOT);
    prepared_server_remove(server, prepared_server_find(server, 30));
    prepared_server_remove(server, prepared_server_find(server, 20));
    expect_order(server, NULL, 0);
    free(server);
}

static void prepared_server__ids_that_fall_together_are_told_apart(void **state)
{
    (void)state;
    struct prepared_server *server = make(100);
    for (uint32_t i = 0; i < 100; i++)
        prepared_server_add(server, i * server->slots);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(server->slot[prepared_server_find(server, i * server->slots)].id,
                         i * server->slots);
    for (uint32_t i = 0; i < 100; i += 2)
        prepared_server_remove(server, prepared_server_find(server, i * server->slots));
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(prepared_server_find(server, i * server->slots) == PREPARED_NO_SLOT,
                         i % 2 == 0);
    free(server);
}

static void prepared_server__there_are_slots_for_what_may_come_back(void **state)
{
    (void)state;
    struct prepared_server *server = make(1);
    for (uint32_t i = 0; i < 1 + PREPARED_CHANGES_MAX; i++)
        prepared_server_add(server, i);
    assert_int_equal(server->free, PREPARED_NO_SLOT);
    for (uint32_t i = 0; i < 1 + PREPARED_CHANGES_MAX; i++)
        assert_int_not_equal(prepared_server_find(server, i), PREPARED_NO_SLOT);
    free(server);
}

static void prepared_server__changes_leave_in_the_order_in_which_they_came(void **state)
{
    (void)state;
    struct prepared_server *server = make(1);
    uint32_t next = 1;
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 1 + round % PREPARED_CHANGES_MAX; i++) {
            struct prepared_change *change = prepared_server_push(server, PREPARED_ADDS);
            assert_int_equal(change->bits, PREPARED_ADDS);
            assert_int_equal(change->name, UINT16_MAX);
            assert_true(change->id == UINT32_MAX && change->before == UINT32_MAX);
        }
        assert_int_equal(prepared_server_room(server),
                         PREPARED_CHANGES_MAX - 1 - round % PREPARED_CHANGES_MAX);
        while (server->changes_used > 0) {
            assert_int_equal(prepared_server_change(server, 0)->tag, next++);
            prepared_server_pop(server);
        }
    }
    free(server);
}

static void prepared_server__tags_begin_anew_before_they_would_mean_something_else(void **state)
{
    (void)state;
    struct prepared_server *server = make(1);
    server->last_tag = INT32_MAX - 1;
    assert_int_equal(prepared_server_push(server, 0)->tag, INT32_MAX);
    assert_int_equal(prepared_server_push(server, 0)->tag, 1);
    free(server);
}

static void prepared_server__a_connection_costs_a_few_kilobytes(void **state)
{
    (void)state;
    assert_true(prepared_server_size(200) <= 232 * 14 + 32 * 20 + 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prepared_server__statements_stand_in_the_order_of_use),
        cmocka_unit_test(prepared_server__ids_that_fall_together_are_told_apart),
        cmocka_unit_test(prepared_server__there_are_slots_for_what_may_come_back),
        cmocka_unit_test(prepared_server__changes_leave_in_the_order_in_which_they_came),
        cmocka_unit_test(prepared_server__tags_begin_anew_before_they_would_mean_something_else),
        cmocka_unit_test(prepared_server__a_connection_costs_a_few_kilobytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
