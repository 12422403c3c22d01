/*
 * Which databases the console has closed.
 */
#include "unit.h"

#include <stdio.h>

#include "proxy/gate.h"

static struct gates gates;

static int setup(void **state)
{
    (void)state;
    gates = (struct gates){0};
    return 0;
}

static void gate__what_was_set_is_found_until_it_is_cleared(void **state)
{
    (void)state;
    assert_true(gates_set(&gates, SV("app"), GATE_PAUSED));
    assert_true(gates_set(&gates, SV("app"), GATE_DISABLED));
    assert_true(gates_set(&gates, SV("other"), GATE_DISABLED));
    assert_int_equal(gates_find(&gates, SV("app")), GATE_PAUSED | GATE_DISABLED);
    assert_int_equal(gates_find(&gates, SV("ap")), 0);
    assert_int_equal(gates_count(&gates, GATE_DISABLED), 2);
    gates_clear(&gates, SV("app"), GATE_PAUSED);
    assert_int_equal(gates_find(&gates, SV("app")), GATE_DISABLED);
    gates_clear(&gates, SV("app"), GATE_DISABLED);
    gates_clear(&gates, SV("nobody"), GATE_DISABLED);
    assert_int_equal(gates_find(&gates, SV("app")), 0);
    assert_int_equal(gates_find(&gates, SV("other")), GATE_DISABLED);
    assert_int_equal(gates.count, 1);
}

static void gate__all_together_have_one_more(void **state)
{
    (void)state;
    assert_false(gates_is_paused(&gates, SV("app")));
    gates.all = GATE_ALL_PAUSED;
    assert_true(gates_is_paused(&gates, SV("app")));
    gates.all = GATE_ALL_SUSPENDED; /* not listened to, but not paused */
    assert_false(gates_is_paused(&gates, SV("app")));
    assert_true(gates_set(&gates, SV("app"), GATE_PAUSED));
    assert_true(gates_is_paused(&gates, SV("app")));
    assert_false(gates_is_paused(&gates, SV("other")));
}

static void gate__one_more_than_there_is_room_for_is_refused(void **state)
{
    (void)state;
    char name[PROXY_NAME_SIZE + 1] = "";
    for (int i = 0; i < GATES_MAX; i++) {
        snprintf(name, sizeof name, "db%d", i);
        assert_true(gates_set(&gates, sv_from_cstr(name), GATE_PAUSED));
    }
    assert_false(gates_set(&gates, SV("more"), GATE_PAUSED));
    assert_true(gates_set(&gates, SV("db7"), GATE_DISABLED));
    gates_clear(&gates, SV("db3"), GATE_PAUSED);
    for (size_t i = 0; i < PROXY_NAME_SIZE; i++)
        name[i] = 'x';
    name[PROXY_NAME_SIZE] = '\0';
    assert_false(gates_set(&gates, sv_from_cstr(name), GATE_PAUSED));
    assert_true(gates_set(&gates, SV("more"), GATE_PAUSED));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(gate__what_was_set_is_found_until_it_is_cleared, setup),
        cmocka_unit_test_setup(gate__all_together_have_one_more, setup),
        cmocka_unit_test_setup(gate__one_more_than_there_is_room_for_is_refused, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
