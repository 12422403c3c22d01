#include "unit.h"

#define RIG_CHECK(condition) assert_true(condition)
#include "prepared_script.h"

static void prepared_settle__discarding_empties_both_maps(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {"P:a=select1 S . Q=discard . B:a S", "P:hf_0 S Q B:a S", "1 Z C Z 26000 Z", {0}},
        {"P:a=select1 S . P:=discard B: E S . P:a=select1 S",
         "P:hf_0 S P B E S P:hf_0 S",
         "1 Z 1 2 C Z 1 Z",
         {0}},
        /* It cannot run in a transaction block. */
        {"P:a=select1 S . Q=begin . Q=discard . Q=rollback . B:a S",
         "P:hf_0 S Q Q Q B:hf_0 S",
         "1 Z C Z 25001 Z C Z 2 Z",
         {0}},
        /* Another client finds its statements, and they are prepared again. */
        {"P:a=select1 S . @1 P:a=select1 S Q=discard . @0 B:a S",
         "P:hf_0 S S Q P:hf_0 B:hf_0 S",
         "1 Z 2 Z",
         {0}},
        /* What was sent behind it is there. */
        {"P:a=select1 S . Q=discard P:b=select1 B:b E S . P:a=select2 S . B:b S",
         "P:hf_0 S Q C:hf_0 P:hf_0 B:hf_0 E S P:hf_1 S B:hf_0 S",
         "1 Z C Z 1 2 D C Z 1 Z 2 Z",
         {0}},
        {"P:a=select1 S . Q=discard C:a P:b=select2 S . B:a S",
         "P:hf_0 S Q P:hf_1 S B:a S",
         "1 Z C Z 3 1 Z 26000 Z",
         {0}},
        {"P:a=select1 S . Q=discard P:a=select2 S . B:a E S",
         "P:hf_0 S Q P:hf_0 S B:hf_0 E S",
         "1 Z C Z 1 Z 2 D C Z",
         {0}},
        /* In one pipeline: the Parse that was to fail succeeds. */
        {"P:a=select1 S . P:=discard B: E P:a=select1 S . B:a E S",
         "P:hf_0 S P B E P:hf_0 S B:hf_0 E S",
         "1 Z 1 2 C 1 Z 2 D C Z",
         {0}},
        /* What took the place of another one is there, and the other one is not. */
        {"P:a=select1 S . Q=discard P:b=select2 S . P:a=select1 S",
         "P:hf_0 S Q C:hf_0 P:hf_1 S C:hf_1 P:hf_0 S",
         "1 Z C Z 1 Z 1 Z",
         {.statements_max = 1}},
    };
    SCRIPT_RUN_ALL(scripts);
}

static void prepared_settle__a_changed_table_is_prepared_anew(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {"P:a=select1 S . !select1 B:a S . B:a E S",
         "P:hf_0 S B:hf_0 S C:hf_0 P:hf_0 B:hf_0 E S",
         "1 Z 0A000 Z 2 D C Z",
         {0}},
        {"P:a=select1 S . !select1 D:a S . D:a S",
         "P:hf_0 S D:hf_0 S C:hf_0 P:hf_0 D:hf_0 S",
         "1 Z 0A000 Z t T Z",
         {0}},
        /* For another client too, and once. */
        {"P:a=select1 S . !select1 B:a S . @1 P:b=select1 B:b B:b S",
         "P:hf_0 S B:hf_0 S C:hf_0 P:hf_0 B:hf_0 B:hf_0 S",
         "1 2 2 Z",
         {0}},
        /* It is not forgotten if the server skips what was to cure it. */
        {"P:a=select1 S . !select1 B:a S . B:x B:a S . B:a S",
         "P:hf_0 S B:hf_0 S B:x C:hf_0 P:hf_0 B:hf_0 S C:hf_0 P:hf_0 B:hf_0 S",
         "1 Z 0A000 Z 26000 Z 2 Z",
         {0}},
        /* It was to be closed already: there is nothing to forget. */
        {"P:a=select1 S . !select1 B:a B:hf_0 S . B:a S",
         "P:hf_0 S B:hf_0 C:hf_0 B:hf_0 S C:hf_0 P:hf_0 B:hf_0 S",
         "1 Z 0A000 Z 2 Z",
         {0}},
    };
    SCRIPT_RUN_ALL(scripts);
}

static void prepared_settle__commands_that_discard_are_known_by_their_tags(void **state)
{
    (void)state;
    assert_true(prepared_is_discard(SV("DISCARD ALL")));
    assert_true(prepared_is_discard(SV("DEALLOCATE ALL")));
    assert_false(prepared_is_discard(SV("DEALLOCATE")));
    assert_false(prepared_is_discard(SV("DISCARD PLANS")));
    assert_false(prepared_is_discard(SV("DISCARD ALL 1")));
    assert_false(prepared_is_discard(SV("")));
}

static void prepared_settle__only_such_errors_are_stale(void **state)
{
    (void)state;
    static const struct {
        const char *sqlstate, *routine, *message;
        bool is_stale;
    } cases[] = {
        {"0A000", "RevalidateCachedQuery", "gecachter Plan darf ...", true},
        {"0A000", "", "cached plan must not change result type", true},
        {"0A000", "transformSelectStmt", "not supported", false},
        {"26000", "FetchPreparedStatement", "", true},
        {"42P01", "RevalidateCachedQuery", "", false},
        {"", "", "", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct message_error error = {.sqlstate = sv_from_cstr(cases[i].sqlstate),
                                      .routine = sv_from_cstr(cases[i].routine),
                                      .message = sv_from_cstr(cases[i].message)};
        assert_int_equal(prepared_is_stale(&error), cases[i].is_stale);
    }
}

static void prepared_settle__a_client_may_leave_in_the_middle(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {"P:a=select1 S . gone B:a S", "P:hf_0 S B:a S", "26000 Z", {0}},
        /* The second Parse was never answered; what the server has is known. */
        {"P:a=select1 S . P:b=select2 , gone P:c=select2 S", "P:hf_0 S P:hf_1 S S", "1 Z", {0}},
        /* What was to be answered here is not heard of again. */
        {"P:a=select1 S . B:x P:b=select1 C:a P:c=select2 C:b , gone P:a=select2 S",
         "P:hf_0 S B:x P:hf_1 S P:hf_1 S",
         "1 Z",
         {0}},
        {"P:a=select1 P:a=select1 , gone P:a=select2 S", "P:hf_0 P:hf_0 S P:hf_1 S", "1 Z", {0}},
        {"P:a=select1 S . P:=discard B: E P:a=select1 , gone P:b=select1 S",
         "P:hf_0 S P B E P:hf_0 S S",
         "1 Z",
         {0}},
        {"P:a=select1 S . P:b=select2 C:a , lost B:a S . B:b S",
         "P:hf_0 S P:hf_1 P:hf_0 B:hf_0 S B:b S",
         "1 Z 2 Z 26000 Z",
         {0}},
    };
    SCRIPT_RUN_ALL(scripts);
}

/* It deallocated the statement by SQL, of which we know nothing. */
static void prepared_settle__a_parse_that_was_to_fail_and_does_not_is_one(void **state)
{
    (void)state;
    static struct rig rig;
    rig_init(&rig, script_config((struct rig_config){0}));
    struct rig_client *client = &rig.clients[0];
    rig_say_words(client, (struct rig_words){.type = 'P', .name = SV("a"), .text = "select1"});
    rig_say_words(client, (struct rig_words){.type = 'S'});
    rig_run(&rig);
    struct prepared prepared = rig_meet(&rig, client, &rig.servers[0]);
    uint16_t name = prepared_client_find(client->prepared, &rig.key, SV("a"));
    struct prepared_change *change = prepared_server_push(prepared.server, PREPARED_DUPLICATES);
    change->name = name;
    change->id = client->prepared->names[name].id;
    statements_hold(&rig.store, change->id);
    prepared_done(&prepared, change->tag);
    assert_int_equal(prepared.server->count, 1);
    assert_int_equal(client->prepared->count, 1);
    rig_deinit(&rig);
}

static void prepared_settle__errors_of_ours_say_what_to_do(void **state)
{
    (void)state;
    static struct rig rig;
    struct rig_config config = {.names_max = 1, .is_limited = true};
    const struct {
        uint16_t bits;
        const char *error;    /* the server's */
        const char *sqlstate; /* of ours, or NULL: the server's stands */
    } cases[] = {
        {PREPARED_REFUSES_NAME, "26000", "53400"},
        {PREPARED_REFUSES_NAME, "57014", NULL},
        {PREPARED_REFUSES_TEXT, "26000", "53200"},
        {PREPARED_REFUSES_TEXT, "57014", NULL},
        {PREPARED_DUPLICATES, "26000", NULL},
        {PREPARED_DUPLICATES, "42P05", NULL},
        {PREPARED_ADDS, "42P05", NULL},
    };
    rig_init(&rig, script_config(config));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hf_err err;
        struct message_error error = {.sqlstate = sv_from_cstr(cases[i].error)};
        struct prepared prepared = rig_meet(&rig, NULL, &rig.servers[0]);
        struct prepared_change *change = prepared_server_push(prepared.server, cases[i].bits);
        uint32_t id = STATEMENTS_NONE;
        while (statements_add(&rig.store, SV("select"), SV(""), &id) == STATEMENTS_WANT)
            rig_grow_store(&rig);
        change->id = id;
        if (cases[i].bits != PREPARED_DUPLICATES)
            statements_release(&rig.store, id);
        /* Not what was used: a relay may ask without looking. */
        prepared_forget(prepared.server, change->tag);
        bool is_ours = prepared_failed(&prepared, change->tag, &error, &err);
        assert_int_equal(is_ours, cases[i].sqlstate != NULL);
        if (is_ours) {
            assert_string_equal(err.sqlstate, cases[i].sqlstate);
            assert_true(err.detail[0] != '\0' && err.hint[0] != '\0');
        }
    }
    rig_deinit(&rig);
}

/* A statement that is held once, by the caller. */
static uint32_t add_text(struct statements *store, struct sv text)
{
    uint32_t id;
    while (statements_add(store, text, SV(""), &id) == STATEMENTS_WANT) {
        struct statements_want want = statements_want(store);
        free(statements_give(store, malloc(want.size), want));
    }
    return id;
}

static void prepared_settle__sql_gives_and_takes_names(void **state)
{
    (void)state;
    static uint64_t memory[64];
    struct statements store;
    const struct hash_key key = hash_key_from_seed(1);
    struct prepared_client *client = (struct prepared_client *)memory;
    struct prepared_room room = {4, 64};
    struct prepared prepared = {.store = &store, .key = &key};
    assert_false(prepared_is_defined(&prepared, SV("a"))); /* who has no map has no names */
    assert_true(prepared_client_size(room) <= sizeof memory);
    prepared_client_init(client, room, &key, NULL);
    prepared.client = client;
    statements_init(&store, key, SIZE_MAX);

    prepared_define(&prepared, SV("a"), add_text(&store, SV("select 1")));
    prepared_define(&prepared, SV("b"), add_text(&store, SV("select 1")));
    assert_true(prepared_is_defined(&prepared, SV("a")));
    assert_int_equal(store.count, 1);

    /* What it meant before is let go. */
    prepared_define(&prepared, SV("b"), add_text(&store, SV("select 2")));
    assert_int_equal(store.count, 2);
    prepared_undefine(&prepared, SV("a"));
    assert_false(prepared_is_defined(&prepared, SV("a")));
    assert_true(prepared_is_defined(&prepared, SV("b")));
    assert_int_equal(store.count, 1);
    prepared_undefine(&prepared, SV("a"));
    prepared_undefine(&prepared, SV("b"));
    assert_int_equal(store.count, 0);
    assert_int_equal(client->count, 0);
    for (void *block; (block = statements_deinit(&store)) != NULL;)
        free(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prepared_settle__discarding_empties_both_maps),
        cmocka_unit_test(prepared_settle__a_changed_table_is_prepared_anew),
        cmocka_unit_test(prepared_settle__commands_that_discard_are_known_by_their_tags),
        cmocka_unit_test(prepared_settle__only_such_errors_are_stale),
        cmocka_unit_test(prepared_settle__a_client_may_leave_in_the_middle),
        cmocka_unit_test(prepared_settle__a_parse_that_was_to_fail_and_does_not_is_one),
        cmocka_unit_test(prepared_settle__errors_of_ours_say_what_to_do),
        cmocka_unit_test(prepared_settle__sql_gives_and_takes_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
