#include "unit.h"

#include "cli/watch_url.h"

#include <string.h>

#include "base/ns.h"

/* A look at the server, at a second, and what shall be told of it; NULL: nothing. */
struct look {
    enum watch_state state;
    int64_t second;
    const char *text;
};

static void expect_story(const struct look *looks)
{
    struct watch watch = {.state = WATCH_UNKNOWN};
    for (size_t i = 0; looks[i].state != WATCH_UNKNOWN; i++) {
        char text[WATCH_TEXT_SIZE] = "";
        struct watch_outcome outcome = {.state = looks[i].state, .at_ns = HF_SEC(looks[i].second)};
        if (outcome.state == WATCH_DOWN)
            err_set(&outcome.err, HF_RC_PEER, "08006", "connection refused");
        const bool is_told = watch_step(&watch, &outcome, text);
        assert_int_equal(is_told, looks[i].text != NULL);
        if (is_told)
            assert_string_equal(text, looks[i].text);
    }
}

static void watch_url__only_changes_are_told(void **state)
{
    (void)state;
    expect_story((const struct look[]){
        {WATCH_PRIMARY, 1, "up: primary"},
        {WATCH_PRIMARY, 2, NULL},
        {WATCH_DOWN, 3, "down: connection refused"},
        {WATCH_DOWN, 4, NULL},
        {WATCH_PRIMARY, 8, "up again after 5.0 s: primary"},
        {WATCH_PRIMARY, 9, NULL},
        {WATCH_UNKNOWN, 0, NULL},
    });
}

static void watch_url__a_change_of_role_is_told_also_behind_an_outage(void **state)
{
    (void)state;
    expect_story((const struct look[]){
        {WATCH_REPLICA, 1, "up: replica"},
        {WATCH_PRIMARY, 2, "changed its role: primary, was replica"},
        {WATCH_DOWN, 3, "down: connection refused"},
        {WATCH_REPLICA, 5, "up again after 2.0 s: replica, which it was not before"},
        {WATCH_DOWN, 6, "down: connection refused"},
        {WATCH_REPLICA, 7, "up again after 1.0 s: replica"},
        {WATCH_UNKNOWN, 0, NULL},
    });
}

static void watch_url__a_story_may_begin_with_an_outage(void **state)
{
    (void)state;
    expect_story((const struct look[]){
        {WATCH_DOWN, 1, "down: connection refused"},
        {WATCH_PRIMARY, 3, "up again after 2.0 s: primary"},
        {WATCH_UNKNOWN, 0, NULL},
    });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(watch_url__only_changes_are_told),
        cmocka_unit_test(watch_url__a_change_of_role_is_told_also_behind_an_outage),
        cmocka_unit_test(watch_url__a_story_may_begin_with_an_outage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
