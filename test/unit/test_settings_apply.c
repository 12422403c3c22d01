#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "wire/frame.h"
#include "wire/message.h"
#include "wire/settings.h"

struct shop {
    struct settings store;
    void *memory;
    char block[4096];
    struct buffer out;
};

static int open_shop(void **state)
{
    struct settings_config config = {.entries_max = SETTINGS_ENTRIES_MIN,
                                     .bytes_max = SETTINGS_BYTES_MIN,
                                     .key = hash_key_from_seed(7)};
    struct shop *shop = malloc(sizeof *shop);
    assert_non_null(shop);
    shop->memory = malloc(settings_size(&config));
    assert_non_null(shop->memory);
    settings_init(&shop->store, shop->memory, &config);
    buffer_init(&shop->out, shop->block, sizeof shop->block);
    *state = shop;
    return 0;
}

/* Every set that a test has made must have been dropped. */
static int close_shop(void **state)
{
    struct shop *shop = *state;
    uint32_t left = shop->store.map.count;
    free(shop->memory);
    free(shop);
    return left == 0 ? 0 : -1;
}

/* The set of "name=value|name=value". */
static uint32_t made(struct settings *store, struct sv text)
{
    struct settings_edit edit = settings_edit_begin(store, 0);
    struct sv word, name;
    uint32_t set;
    while (text.size > 0 && sv_split(&text, '|', &word)) {
        sv_split(&word, '=', &name);
        settings_edit_put(&edit, name, word);
    }
    assert_int_equal(settings_edit_end(&edit, &set), HF_OK);
    return set;
}

/* ---- SQL ---- */

#define CALL(name, value) "pg_catalog.set_config(" name "," value ",false)IS NULL"

static const struct diff_case {
    struct sv have, want, text;
} diff_cases[] = {
    {SV_INIT(""), SV_INIT("application_name=psql"), SV_INIT("SET application_name TO 'psql';")},
    {SV_INIT("application_name=psql"), SV_INIT(""), SV_INIT("RESET application_name;")},
    {SV_INIT("application_name=a"), SV_INIT("APPLICATION_NAME=b"),
     SV_INIT("SET application_name TO 'b';")},
    {SV_INIT("timezone=a"), SV_INIT("datestyle=b"),
     SV_INIT("SET DateStyle TO 'b';RESET TimeZone;")},
    /* Lists of identifiers, own names and names that nobody knows go through set_config(). */
    {SV_INIT(""), SV_INIT("search_path=\"$user\", public"),
     SV_INIT("SELECT " CALL("'search_path'", "'\"$user\", public'"))},
    {SV_INIT("a.b=1|c=2|d=3"), SV_INIT("d=3|c=4"),
     SV_INIT("SELECT " CALL("'a.b'", "NULL") "," CALL("'c'", "'4'"))},
    {SV_INIT("search_path=x"), SV_INIT("TimeZone=UTC"),
     SV_INIT("SET TimeZone TO 'UTC';SELECT " CALL("'search_path'", "NULL"))},
    /* An empty value is not none. */
    {SV_INIT("x="), SV_INIT("x=1"), SV_INIT("SELECT " CALL("'x'", "'1'"))},
    {SV_INIT("x=1"), SV_INIT("x="), SV_INIT("SELECT " CALL("'x'", "''"))},
    {SV_INIT(""), SV_INIT("application_name="), SV_INIT("SET application_name TO '';")},
    /* Literals. */
    {SV_INIT(""), SV_INIT("application_name=it's"), SV_INIT("SET application_name TO 'it''s';")},
    {SV_INIT(""), SV_INIT("application_name=\\'"), SV_INIT("SET application_name TO E'\\x5c''';")},
    {SV_INIT(""), SV_INIT("application_name=\x95\\"),
     SV_INIT("SET application_name TO E'\\x95\\x5c';")},
    {SV_INIT(""), SV_INIT("application_name=a\tb\nc\x7f"),
     SV_INIT("SET application_name TO E'a\\x09b\\x0ac\\x7f';")},
    {SV_INIT(""), SV_INIT("x');DROP TABLE t;--\\=1"),
     SV_INIT("SELECT " CALL("E'x'');DROP TABLE t;--\\x5c'", "'1'"))},
    /* Who acts: what is there is taken back first, what is wanted comes last, the role behind the
     * authorization, which would reset it. */
    {SV_INIT("role=a|x=1"), SV_INIT("TimeZone=UTC"),
     SV_INIT(
         "SELECT " CALL("'role'", "NULL") ";SET TimeZone TO 'UTC';SELECT " CALL("'x'", "NULL"))},
    {SV_INIT(""), SV_INIT("role=a|session_authorization=b|x=1"),
     SV_INIT("SELECT " CALL("'x'", "'1'") "," CALL("'session_authorization'",
                                                   "'b'") "," CALL("'role'", "'a'"))},
    {SV_INIT("role=a"), SV_INIT("role=b"),
     SV_INIT("SELECT " CALL("'role'", "NULL") "," CALL("'role'", "'b'"))},
    {SV_INIT("role=a|x=1"), SV_INIT("role=a|x=2"), SV_INIT("SELECT " CALL("'x'", "'2'"))},
    {SV_INIT("role=a|session_authorization=b"), SV_INIT("role=a"),
     SV_INIT("SELECT " CALL("'role'", "NULL") "," CALL("'session_authorization'",
                                                       "NULL") "," CALL("'role'", "'a'"))},
};

static void settings_apply__a_difference_is_written_as_sql(void **state)
{
    struct shop *shop = *state;
    for (size_t i = 0; i < sizeof diff_cases / sizeof diff_cases[0]; i++) {
        uint32_t have = made(&shop->store, diff_cases[i].have);
        uint32_t want = made(&shop->store, diff_cases[i].want);
        struct frame frame;
        struct frame_part part;
        struct sv text;
        assert_int_equal(settings_diff(&shop->store, have, want, &shop->out), HF_OK);
        frame_init(&frame, FRAME_FRONTEND, FRAME_SESSION);
        assert_int_equal(frame_look(&frame, buffer_view(&shop->out), &part), FRAME_PART);
        assert_int_equal(part.type, 'Q');
        assert_int_equal(part.bytes.size, buffer_held(&shop->out));
        assert_int_equal(message_query(message_of(&part), &text), MESSAGE_OK);
        if (!sv_eq(text, diff_cases[i].text))
            fail_msg("case %zu: %.*s", i, (int)text.size, text.data);
        buffer_clear(&shop->out);
        settings_drop(&shop->store, have);
        settings_drop(&shop->store, want);
    }
}

static void settings_apply__no_difference_is_no_message(void **state)
{
    struct shop *shop = *state;
    uint32_t set = made(&shop->store, SV("TimeZone=UTC"));
    assert_int_equal(settings_diff(&shop->store, set, set, &shop->out), HF_OK);
    assert_int_equal(settings_diff(&shop->store, 0, 0, &shop->out), HF_OK);
    assert_int_equal(settings_status(&shop->store, set, set, &shop->out), HF_OK);
    assert_int_equal(settings_status(&shop->store, set, 0, &shop->out), HF_OK);
    assert_int_equal(buffer_held(&shop->out), 0);
    settings_drop(&shop->store, set);
}

static void settings_apply__too_little_room_leaves_the_buffer_as_it_was(void **state)
{
    struct shop *shop = *state;
    uint32_t have = made(&shop->store, SV("role=a|TimeZone=UTC|z=1"));
    uint32_t want = made(&shop->store, SV("search_path='|application_name=\xff|z=2"));
    assert_int_equal(settings_diff(&shop->store, have, want, &shop->out), HF_OK);
    size_t diff_size = buffer_held(&shop->out);
    buffer_clear(&shop->out);
    assert_int_equal(settings_status(&shop->store, have, want, &shop->out), HF_OK);
    size_t status_size = buffer_held(&shop->out);
    for (size_t room = 0; room <= diff_size; room++) {
        char block[1024];
        struct buffer small;
        buffer_init(&small, block, room);
        assert_int_equal(settings_diff(&shop->store, have, want, &small),
                         room < diff_size ? HF_RC_LIMIT : HF_OK);
        assert_int_equal(buffer_held(&small), room < diff_size ? 0 : diff_size);
        buffer_init(&small, block, room);
        assert_int_equal(settings_status(&shop->store, have, want, &small),
                         room < status_size ? HF_RC_LIMIT : HF_OK);
        assert_int_equal(buffer_held(&small), room < status_size ? 0 : status_size);
    }
    settings_drop(&shop->store, have);
    settings_drop(&shop->store, want);
}

static void settings_apply__a_client_is_told_what_is_new_to_it(void **state)
{
    struct shop *shop = *state;
    uint32_t was = made(&shop->store, SV("a=1|b=2|c=3|d=4")), now = 0, next;
    const struct sv told[] = {SV("A=1"), SV("b=5"), SV("E=6")};
    struct frame frame;
    struct frame_part part;
    struct message_parameter parameter;
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        assert_int_equal(
            settings_told(&shop->store, now, sv_take(told[i], 1), sv_drop(told[i], 2), &next),
            HF_OK);
        settings_drop(&shop->store, now);
        now = next;
    }
    assert_int_equal(settings_status(&shop->store, was, now, &shop->out), HF_OK);
    frame_init(&frame, FRAME_BACKEND, FRAME_SESSION);
    for (size_t i = 1; i < sizeof told / sizeof told[0]; i++) {
        assert_int_equal(frame_look(&frame, buffer_view(&shop->out), &part), FRAME_PART);
        assert_int_equal(message_parameter(message_of(&part), &parameter), MESSAGE_OK);
        assert_true(sv_eq(parameter.name, sv_take(told[i], 1)));
        assert_true(sv_eq(parameter.value, sv_drop(told[i], 2)));
        frame_take(&frame, part.bytes.size);
        buffer_consume(&shop->out, part.bytes.size);
    }
    assert_int_equal(buffer_held(&shop->out), 0);
    settings_drop(&shop->store, was);
    settings_drop(&shop->store, now);
}

static void settings_apply__what_cannot_change_in_a_session_is_known(void **state)
{
    (void)state;
    assert_true(settings_can_follow(SV("application_name")));
    assert_true(settings_can_follow(SV("session_authorization")));
    assert_true(settings_can_follow(SV("who.knows")));
    assert_true(settings_can_follow(SV("")));
    assert_false(settings_can_follow(SV("server_version")));
    assert_false(settings_can_follow(SV("IS_SUPERUSER")));
    assert_false(settings_can_follow(SV("log_connections")));
}

/* ---- StartupMessages ---- */

static const struct startup_case {
    struct sv options, parameters, set;
    uint32_t fixed;
    const char *first;
} startup_cases[] = {
    {SV_INIT(""), SV_INIT("user\0u\0database\0d\0"), SV_INIT(""), 0, ""},
    {SV_INIT(""), SV_INIT("user\0u\0application_name\0psql\0TimeZone\0UTC\0"),
     SV_INIT("application_name=psql|timezone=UTC"), 0, ""},
    {SV_INIT("-c a=1 --b-c=2 -cd=3\\ 4"), SV_INIT("user\0u\0"), SV_INIT("a=1|b_c=2|d=3 4"), 0, ""},
    /* A parameter counts more than a word of options, and of two the later one. */
    {SV_INIT("-c a=1 -c b=2 -c b=3"),
     SV_INIT("A\0"
             "5\0"),
     SV_INIT("a=5|b=3"), 0, ""},
    {SV_INIT(""),
     SV_INIT("a\0"
             "5\0a\0"
             "6\0"),
     SV_INIT("a=6"), 0, ""},
    {SV_INIT(""), SV_INIT("_pq_.x\0y\0replication\0off\0options\0-c z=1\0"), SV_INIT(""), 0, ""},
    {SV_INIT("-e -c a=1 -S 64"), SV_INIT(""), SV_INIT("a=1"), 3, "-e"},
    {SV_INIT("-c log_connections=on"),
     SV_INIT("ignore_system_indexes\0on\0a\0"
             "1\0"),
     SV_INIT("a=1"), 2, "log_connections"},
};

static void settings_apply__a_startup_message_is_a_set(void **state)
{
    struct shop *shop = *state;
    for (size_t i = 0; i < sizeof startup_cases / sizeof startup_cases[0]; i++) {
        const struct startup_case *c = &startup_cases[i];
        struct startup_session session = {.options = c->options, .parameters = c->parameters};
        struct settings_startup startup;
        uint32_t set = made(&shop->store, c->set);
        assert_int_equal(settings_startup(&shop->store, &session, &startup, NULL), HF_OK);
        assert_int_equal(startup.set, set);
        assert_int_equal(startup.fixed, c->fixed);
        assert_string_equal(startup.fixed_first, c->first);
        settings_drop(&shop->store, set);
        settings_drop(&shop->store, startup.set);
    }
}

static void settings_apply__a_switch_without_its_value_is_an_error_of_the_client(void **state)
{
    struct shop *shop = *state;
    static const struct {
        struct sv options;
        const char *message;
    } cases[] = {
        {SV_INIT("-c a=1 -c b"), "-c b requires a value"},
        {SV_INIT("--name"), "-c name requires a value"},
        {SV_INIT("-c"), "-c  requires a value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct startup_session session = {.options = cases[i].options, .parameters = SV("c\0d\0")};
        struct settings_startup startup;
        struct hf_err err;
        assert_int_equal(settings_startup(&shop->store, &session, &startup, &err), HF_RC_INVALID);
        assert_string_equal(err.message, cases[i].message);
        assert_string_equal(err.sqlstate, "42601");
        assert_int_equal(startup.set, 0);
    }
}

static void settings_apply__a_startup_message_with_too_much_is_refused(void **state)
{
    struct shop *shop = *state;
    struct settings_startup startup;
    struct hf_err err;
    char parameters[(SETTINGS_COUNT_MAX + 1) * 5];
    for (int i = 0; i <= SETTINGS_COUNT_MAX; i++) {
        const char one[] = {'n', (char)('A' + i / 16), (char)('!' + i % 16), '\0', '\0'};
        memcpy(parameters + i * 5, one, sizeof one);
    }
    struct startup_session session = {.parameters = sv_from(parameters, sizeof parameters)};
    assert_int_equal(settings_startup(&shop->store, &session, &startup, &err), HF_RC_LIMIT);
    assert_string_equal(err.sqlstate, "53200");
    assert_int_equal(startup.set, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_shop, close_shop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(settings_apply__a_difference_is_written_as_sql),
        TEST(settings_apply__no_difference_is_no_message),
        TEST(settings_apply__too_little_room_leaves_the_buffer_as_it_was),
        TEST(settings_apply__a_client_is_told_what_is_new_to_it),
        TEST(settings_apply__what_cannot_change_in_a_session_is_known),
        TEST(settings_apply__a_startup_message_is_a_set),
        TEST(settings_apply__a_switch_without_its_value_is_an_error_of_the_client),
        TEST(settings_apply__a_startup_message_with_too_much_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
