#include "unit.h"

#include <string.h>

#include "base/buffer.h"
#include "wire/channels.h"

static void channels__texts_that_matter_are_told_from_others(void **state)
{
    static const struct {
        const char *text;
        bool matters;
    } cases[] = {
        {"", false},
        {"l", false},
        {"SELECT 1", false},
        {"INSERT INTO t VALUES ('beg in')", false},
        {"NOTIFY a", false},
        {"LISTE", false},
        {"LISTEN a", true},
        {"  unListen *", true},
        {"SELECT 1; LISTEN", true},
        {"SELECT * FROM pg_listening_channels()", true},
        {"BEGIN", true},
        {"begi; begin", true},
        {"start TRANSACTION", true},
        {"SELECT 'restarted'", true}, /* for nothing */
        {"ststart", true},
        {"lilisten", true},
        {"nlisten", true},
        {"listelisten", true},
        {"xxxxnlisten a", true},
        {"lislislisten", true},
        {"tenlist", false},
        {"xxxxxLiStEnxxxxx", true},
        {"liste n", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(channels_may_matter(sv_from_cstr(cases[i].text)), cases[i].matters);
}

static void channels__a_message_asks_for_many_with_their_names_quoted(void **state)
{
    char bytes[512];
    struct buffer out;
    static const char expected[] = "LISTEN \"a\";UNLISTEN \"B c\";LISTEN \"say \"\"hi\"\"\";";
    (void)state;
    buffer_init(&out, bytes, sizeof bytes);
    struct build query = build_begin(&out, 'Q');
    assert_true(channels_fit(&query));
    channels_ask(&query, CHANNELS_LISTEN, SV("a"));
    channels_ask(&query, CHANNELS_UNLISTEN, SV("B c"));
    channels_ask(&query, CHANNELS_LISTEN, SV("say \"hi\""));
    assert_int_equal(channels_end(&query), HF_OK);
    struct sv view = buffer_view(&out);
    assert_int_equal(view.size, 5 + sizeof expected);
    assert_int_equal(view.data[0], 'Q');
    assert_int_equal((unsigned char)view.data[4], 4 + sizeof expected);
    assert_memory_equal(view.data + 5, expected, sizeof expected);
}

static void channels__what_fits_always_does(void **state)
{
    char bytes[1024], name[63];
    struct buffer out;
    size_t count = 0;
    (void)state;
    memset(name, '"', sizeof name);
    buffer_init(&out, bytes, sizeof bytes);
    struct build query = build_begin(&out, 'Q');
    for (; channels_fit(&query); count++)
        channels_ask(&query, CHANNELS_UNLISTEN, sv_from(name, sizeof name));
    assert_int_equal(channels_end(&query), HF_OK);
    assert_in_range(count, 6, 8);
}

static void channels__without_room_nothing_is_said(void **state)
{
    char bytes[16];
    struct buffer out;
    (void)state;
    buffer_init(&out, bytes, sizeof bytes);
    struct build query = build_begin(&out, 'Q');
    assert_false(channels_fit(&query));
    channels_ask(&query, CHANNELS_LISTEN, SV("a_channel"));
    assert_int_equal(channels_end(&query), HF_RC_LIMIT);
    assert_int_equal(buffer_held(&out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(channels__texts_that_matter_are_told_from_others),
        cmocka_unit_test(channels__a_message_asks_for_many_with_their_names_quoted),
        cmocka_unit_test(channels__what_fits_always_does),
        cmocka_unit_test(channels__without_room_nothing_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
