#include "unit.h"

#define RIG_CHECK(condition) assert_true(condition)
#include "prepared_script.h"

static void prepared__a_text_is_prepared_once_on_a_server(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {"P:a=select1 S", "P:hf_0 S", "1 Z", {0}},
        {"P:a=select1 B:a E S", "P:hf_0 B:hf_0 E S", "1 2 D C Z", {0}},
        {"P:a=select1 D:a S", "P:hf_0 D:hf_0 S", "1 t T Z", {0}},
        /* The same client, another name; another client; twice in one pipeline. */
        {"P:a=select1 S . P:b=select1 B:b E S", "P:hf_0 S B:hf_0 E S", "1 Z 1 2 D C Z", {0}},
        {"P:a=select1 S . @1 P:a=select1 B:a E S", "P:hf_0 S B:hf_0 E S", "1 2 D C Z", {0}},
        {"P:a=select1 P:b=select1 B:b E S", "P:hf_0 B:hf_0 E S", "1 1 2 D C Z", {0}},
        /* A name that is closed is free; the server keeps the statement. */
        {"P:a=select1 S . C:a S . P:a=select1 S", "P:hf_0 S S S", "1 Z 3 Z 1 Z", {0}},
        {"P:a=select1 S . C:a P:a=select2 S", "P:hf_0 S P:hf_1 S", "1 Z 3 1 Z", {0}},
        /* The next client finds what one that has left has prepared. */
        {"P:a=select1 S . gone P:b=select1 S", "P:hf_0 S S", "1 Z", {0}},
    };
    SCRIPT_RUN_ALL(scripts);
}

static void prepared__what_has_no_name_passes(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {"P:=select1 B: D: E C: S", "P B D E C S", "1 2 t T D C 3 Z", {0}},
        {"P:a=select1 Cp:a B:a S", "P:hf_0 Cp:a B:hf_0 S", "1 3 2 Z", {0}},
    };
    SCRIPT_RUN_ALL(scripts);
}

static void prepared__what_a_server_lacks_is_prepared_ahead(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {"P:a=select1 S . lost B:a E S", "P:hf_0 S P:hf_0 B:hf_0 E S", "1 Z 2 D C Z", {0}},
        {"P:a=select1 S . lost D:a B:a S", "P:hf_0 S P:hf_0 D:hf_0 B:hf_0 S", "1 Z t T 2 Z", {0}},
        /* What fails there fails for the client; and was not prepared. */
        {"P:a=select1 S . lost Q=begin . Q=fail . B:a S . Q=rollback . B:a S",
         "P:hf_0 S Q Q P:hf_0 B:hf_0 S Q P:hf_0 B:hf_0 S",
         "1 Z C Z 22012 Z 25P02 Z C Z 2 Z",
         {0}},
    };
    SCRIPT_RUN_ALL(scripts);
}

static void prepared__the_one_used_longest_ago_is_closed(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {"P:a=select1 P:b=select2 S . P:c=select3 S",
         "P:hf_0 P:hf_1 S C:hf_0 P:hf_2 S",
         "1 1 Z 1 Z",
         {.statements_max = 2}},
        {"P:a=select1 P:b=select2 B:a S . P:c=select3 S",
         "P:hf_0 P:hf_1 B:hf_0 S C:hf_1 P:hf_2 S",
         "1 1 2 Z 1 Z",
         {.statements_max = 2}},
        /* And prepared again for who wants it. */
        {"P:a=select1 S . P:b=select2 S . B:a S",
         "P:hf_0 S C:hf_0 P:hf_1 S C:hf_1 P:hf_0 B:hf_0 S",
         "1 Z 1 Z 2 Z",
         {.statements_max = 1}},
        /* Not before it is known that it is there. */
        {"P:a=select1 B:a P:b=select2 B:b S",
         "P:hf_0 B:hf_0 H C:hf_0 P:hf_1 B:hf_1 S",
         "1 2 1 2 Z",
         {.statements_max = 1}},
        /* A Close of ours that was skipped has closed nothing. */
        {"P:a=select1 S . B:x P:b=select2 S . B:a S",
         "P:hf_0 S B:x C:hf_0 P:hf_1 S B:hf_0 S",
         "1 Z 26000 Z 2 Z",
         {.statements_max = 1}},
        {"P:a=select1 S . P:b=bad S . B:a S",
         "P:hf_0 S C:hf_0 P:hf_1 S P:hf_0 B:hf_0 S",
         "1 Z 42601 Z 2 Z",
         {.statements_max = 1}},
    };
    SCRIPT_RUN_ALL(scripts);
}

static void prepared__a_name_that_is_taken_is_told_so(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {"P:a=select1 P:a=select1 S", "P:hf_0 P:hf_0 S", "1 42P05 Z", {0}},
        {"P:a=select1 P:a=select2 S", "P:hf_0 P:hf_1 P:hf_1 S", "1 42P05 Z", {0}},
        /* PostgreSQL looks at the text first. */
        {"P:a=select1 P:a=bad S", "P:hf_0 P:hf_1 P:hf_1 S", "1 42601 Z", {0}},
        /* The old statement is still there. */
        {"P:a=select1 P:a=select2 S . B:a E S",
         "P:hf_0 P:hf_1 P:hf_1 S B:hf_0 E S",
         "1 42P05 Z 2 D C Z",
         {0}},
        /* Whether the first Parse failed is known only after the Sync. */
        {"P:a=bad S P:a=select1 S", "P:hf_0 S P:hf_0 S", "42601 Z 1 Z", {0}},
        {"P:a=select1 S P:a=select1 S", "P:hf_0 S P:hf_0 S", "1 Z 42P05 Z", {0}},
    };
    SCRIPT_RUN_ALL(scripts);
}

static void prepared__an_unknown_name_is_refused_by_the_server(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {"B:a S", "B:a S", "26000 Z", {0}},
        {"D:a S", "D:a S", "26000 Z", {0}},
        {"P:a=select1 C:a B:a S", "P:hf_0 B:a S", "1 3 26000 Z", {0}},
        {"C:a S", "S", "3 Z", {0}},
        {"P:a=bad B:a S . B:a S", "P:hf_0 B:hf_0 S B:a S", "42601 Z 26000 Z", {0}},
        /* Even if we have called something so. */
        {"P:a=select1 S . B:hf_0 S", "P:hf_0 S C:hf_0 B:hf_0 S", "1 Z 26000 Z", {0}},
        {"P:a=select1 S . D:hf_0 S . B:a S",
         "P:hf_0 S C:hf_0 D:hf_0 S P:hf_0 B:hf_0 S",
         "1 Z 26000 Z 2 Z",
         {0}},
        {"P:a=select1 S . B:hf_00 S . B:hf_ S . B:hf_zzzzzzz S . B:hf_zzzzzz S . B:hf_A S",
         "P:hf_0 S B:hf_00 S B:hf_ S B:hf_zzzzzzz S B:hf_zzzzzz S B:hf_A S",
         "1 Z 26000 Z 26000 Z 26000 Z 26000 Z 26000 Z",
         {0}},
    };
    SCRIPT_RUN_ALL(scripts);
}

static void prepared__a_parse_in_a_failed_transaction_is_for_the_server_to_judge(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {"P:a=select1 S . Q=begin Q=fail . P:b=select1 S . Q=rollback . B:a S",
         "P:hf_0 S Q Q C:hf_0 P:hf_0 S Q P:hf_0 B:hf_0 S",
         "1 Z C Z 22012 Z 25P02 Z C Z 2 Z",
         {0}},
        /* Whether it has failed is not known yet. */
        {"P:a=select1 S . Q=begin . Q=fail P:b=select1 S . Q=rollback",
         "P:hf_0 S Q Q C:hf_0 P:hf_0 S Q",
         "1 Z C Z 22012 Z 25P02 Z C Z",
         {0}},
        {"P:a=rollback S . Q=begin . Q=fail . P:b=rollback B:b E S",
         "P:hf_0 S Q Q C:hf_0 P:hf_0 B:hf_0 E S",
         "1 Z C Z 22012 Z 1 2 C Z",
         {0}},
        /* What was sent in the same part of the pipeline need not be sent again. */
        {"Q=begin P:a=select1 P:b=select1 S", "Q P:hf_0 S", "C Z 1 1 Z", {0}},
    };
    SCRIPT_RUN_ALL(scripts);
}

static void prepared__what_is_uncertain_waits(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {"P:a=bad S B:a S", "P:hf_0 S B:a S", "42601 Z 26000 Z", {0}},
        {"P:a=select1 S B:a E S", "P:hf_0 S B:hf_0 E S", "1 Z 2 D C Z", {0}},
        {"P:a=select1 S . B:x C:a S C:a S . B:a S",
         "P:hf_0 S B:x S S B:a S",
         "1 Z 26000 Z 3 Z 26000 Z",
         {0}},
        /* A short queue of replies: what it lacks is asked for by a Flush. */
        {"P:a=select1 B:a E B:a E S",
         "P:hf_0 B:hf_0 E H H B:hf_0 E S",
         "1 2 D C 2 D C Z",
         {.runs = 4}},
    };
    SCRIPT_RUN_ALL(scripts);
}

static void prepared__what_the_server_skips_changes_nothing(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {"B:x . P:a=select1 C:a B:a S . B:a S", "B:x P:a C:a B:a S B:a S", "26000 Z 26000 Z", {0}},
        {"P:a=select1 S . B:x . C:a S . B:a S",
         "P:hf_0 S B:x C:a S B:hf_0 S",
         "1 Z 26000 Z 2 Z",
         {0}},
        {"P:a=select1 S . B:x C:a S . B:a S", "P:hf_0 S B:x S B:hf_0 S", "1 Z 26000 Z 2 Z", {0}},
        {"B:x P:a=select1 P:b=select1 S . B:b S", "B:x P:hf_0 S B:b S", "26000 Z 26000 Z", {0}},
    };
    SCRIPT_RUN_ALL(scripts);
}

static void prepared__limits_refuse_in_their_turn(void **state)
{
    (void)state;
    static const struct rig_config two = {.names_max = 2, .is_limited = true};
    /* The index and one chunk, and no room for another index. */
    static const struct rig_config small = {.bytes_max = 34000, .is_limited = true};
    static const struct rig_config none = {.bytes_max = 100, .is_limited = true};
    const struct script scripts[] = {
        {"P:a=select1 P:b=select1 P:c=select1 B:a S . B:a S", "P:hf_0 H D:hf_ B:hf_0 S B:hf_0 S",
         "1 1 53400 Z 2 Z", two},
        /* One that is being closed does not count. */
        {"P:a=select1 P:b=select1 C:a P:c=select1 S", "P:hf_0 H S", "1 1 3 1 Z", two},
        {"P:a=select1 B:a S", "D:hf_ B:a S", "53200 Z", none},
        {"P:a=select1 B:a S", "P:hf_0 B:hf_0 S", "1 2 Z", small},
    };
    SCRIPT_RUN_ALL(scripts);
}

/* Ids of one digit and of two, letters among them; and more changes in a pipeline than can wait for
 * their answers. */
static void prepared__many_statements_have_names_of_their_own(void **state)
{
    (void)state;
    static struct rig rig;
    enum {
        N = 60
    };
    char name[8], text[16];
    rig_init(&rig, script_config((struct rig_config){0}));
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < N; i++) {
            snprintf(name, sizeof name, "s%d", i);
            snprintf(text, sizeof text, "select%d", i);
            struct rig_words words = {"PBC"[turn], 'S', sv_from_cstr(name), text, false};
            rig_say_words(&rig.clients[0], words);
        }
        rig_say_words(&rig.clients[0], (struct rig_words){.type = 'S'});
        rig_run(&rig);
        assert_int_equal(rig.servers[0].prepared->count, N);
    }
    /* Names of ours that nobody may use, or that are none. */
    static const char *const strangers[] = {"hf_a", "hf_z", "hf_10", "hf_1n",
                                            "hf_/", "hf_{", "hf_:"};
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        struct rig_words words = {.type = 'B', .name = sv_from_cstr(strangers[i])};
        rig_say_words(&rig.clients[0], words);
        rig_say_words(&rig.clients[0], (struct rig_words){.type = 'S'});
        rig_run(&rig);
    }
    assert_int_equal(rig.servers[0].prepared->count, N - 4);
    rig_deinit(&rig);
}

static void prepared__portals_are_none_of_our_business(void **state)
{
    (void)state;
    static struct rig rig;
    struct message_target target = {'P', SV("hf_0")};
    struct prepared_plan plan;
    rig_init(&rig, script_config((struct rig_config){0}));
    struct prepared prepared = rig_meet(&rig, &rig.clients[0], &rig.servers[0]);
    assert_int_equal(prepared_describe(&prepared, &target, &plan), PREPARED_PASS);
    assert_int_equal(plan.count, 1);
    assert_true(plan.requests[0].type == 'D' && plan.requests[0].target == 'P');
    assert_int_equal(prepared_close(&prepared, &target, &plan), PREPARED_PASS);
    assert_true(plan.requests[0].type == 'C' && plan.requests[0].target == 'P');
    rig_deinit(&rig);
}

static bool is_noted(struct rig *rig, const char *name)
{
    struct prepared prepared = rig_meet(rig, &rig->clients[0], &rig->servers[0]);
    struct message_bind bind = {.statement = sv_from_cstr(name)};
    struct prepared_plan plan;
    assert_int_equal(prepared_bind(&prepared, &bind, &plan), PREPARED_RENAME);
    return plan.is_noted;
}

static void run_words(struct rig *rig, const char *words)
{
    struct sv rest = sv_from_cstr(words), word;
    int speaker = 0;
    while (sv_split(&rest, ' ', &word))
        script_do(rig, &speaker, word);
    rig_run(rig);
}

/* Also where the server has lost it and gets it again, or it is closed to make room. */
static void prepared__a_bind_of_a_noted_text_is_told(void **state)
{
    (void)state;
    static struct rig rig;
    rig_init(&rig, script_config((struct rig_config){.statements_max = 2}));
    run_words(&rig, "P:a=select1 S . P:b=select2 S .");
    assert_false(is_noted(&rig, "a"));
    statements_note(&rig.store, 0);
    run_words(&rig, "lost B:a B:b S .");
    assert_true(is_noted(&rig, "a"));
    assert_false(is_noted(&rig, "b"));
    run_words(&rig, "P:c=select3 S . B:b S . B:a S .");
    assert_true(is_noted(&rig, "a"));
    run_words(&rig, "P:d=select1 S .");
    assert_true(is_noted(&rig, "d"));
    run_words(&rig, "C:a C:d S . lost P:e=select1 S .");
    assert_false(is_noted(&rig, "e"));
    rig_deinit(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prepared__a_text_is_prepared_once_on_a_server),
        cmocka_unit_test(prepared__what_has_no_name_passes),
        cmocka_unit_test(prepared__what_a_server_lacks_is_prepared_ahead),
        cmocka_unit_test(prepared__the_one_used_longest_ago_is_closed),
        cmocka_unit_test(prepared__a_name_that_is_taken_is_told_so),
        cmocka_unit_test(prepared__an_unknown_name_is_refused_by_the_server),
        cmocka_unit_test(prepared__a_parse_in_a_failed_transaction_is_for_the_server_to_judge),
        cmocka_unit_test(prepared__what_is_uncertain_waits),
        cmocka_unit_test(prepared__what_the_server_skips_changes_nothing),
        cmocka_unit_test(prepared__limits_refuse_in_their_turn),
        cmocka_unit_test(prepared__many_statements_have_names_of_their_own),
        cmocka_unit_test(prepared__portals_are_none_of_our_business),
        cmocka_unit_test(prepared__a_bind_of_a_noted_text_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
