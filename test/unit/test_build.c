#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "wire/build.h"
#include "wire/startup.h"

/* Each message once, by its bytes. */
static enum hf_rc build_number(int number, struct buffer *out)
{
    static const struct build_parameter parameters[] = {{SV_INIT("user"), SV_INIT("ann")},
                                                        {SV_INIT("x"), SV_INIT("")}};
    switch (number) {
    case 0:
        return build_empty(out, 'S');
    case 1:
        return build_auth(out, BUILD_AUTH_OK, SV(""));
    case 2:
        return build_auth(out, BUILD_AUTH_CLEARTEXT, SV(""));
    case 3:
        return build_auth(out, BUILD_AUTH_MD5, SV("\0\1\2\3"));
    case 4:
        return build_auth_sasl(out, true);
    case 5:
        return build_auth_sasl(out, false);
    case 6:
        return build_auth(out, BUILD_AUTH_SASL_CONTINUE, SV("r=x"));
    case 7:
        return build_auth(out, BUILD_AUTH_SASL_FINAL, SV("v=y"));
    case 8:
        return build_negotiate(out, STARTUP_VERSION(3, 2), SV("a\0b\0_pq_.x\0y\0_pq_.z\0\0\0"));
    case 9:
        return build_negotiate(out, STARTUP_VERSION(3, 0), SV("user\0ann\0\0"));
    case 10:
        return build_parameter_status(out, SV("TimeZone"), SV("UTC"));
    case 11:
        return build_backend_key(out, 258, SV("12345678"));
    case 12:
        return build_ready(out, 'T');
    case 13:
        return build_startup(out, STARTUP_VERSION(3, 2), parameters, 2);
    case 14:
        return build_request(out, STARTUP_CODE_SSL);
    case 15:
        return build_cancel(out, 258, SV("abcd"));
    case 16:
        return build_password(out, SV("secret"));
    case 17:
        return build_sasl_initial(out, SV("SCRAM-SHA-256"), SV("n,,"));
    case 18:
        return build_sasl_response(out, SV("c=biws"));
    case 19:
        return build_query(out, SV("select 1"));
    case 20:
        return build_parse(out, SV("s1"), SV("select 1"));
    case 21:
        return build_copy_fail(out, SV("gone"));
    default:
        return build_close_statement(out, SV("s1"));
    }
}

static const struct sv built[] = {
    SV_INIT("S\0\0\0\4"),
    SV_INIT("R\0\0\0\x08\0\0\0\0"),
    SV_INIT("R\0\0\0\x08\0\0\0\3"),
    SV_INIT("R\0\0\0\x0c\0\0\0\5\0\1\2\3"),
    SV_INIT("R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"),
    SV_INIT("R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"),
    SV_INIT("R\0\0\0\x0b\0\0\0\x0br=x"),
    SV_INIT("R\0\0\0\x0b\0\0\0\x0cv=y"),
    SV_INIT("v\0\0\0\x1a\0\3\0\2\0\0\0\2_pq_.x\0_pq_.z\0"),
    SV_INIT("v\0\0\0\x0c\0\3\0\0\0\0\0\0"),
    SV_INIT("S\0\0\0\x11TimeZone\0UTC\0"),
    SV_INIT("K\0\0\0\x10\0\0\1\2"
            "12345678"),
    SV_INIT("Z\0\0\0\5T"),
    SV_INIT("\0\0\0\x15\0\3\0\2user\0ann\0x\0\0\0"),
    SV_INIT("\0\0\0\x08\x04\xd2\x16\x2f"),
    SV_INIT("\0\0\0\x10\x04\xd2\x16\x2e\0\0\1\2abcd"),
    SV_INIT("p\0\0\0\x0bsecret\0"),
    SV_INIT("p\0\0\0\x19SCRAM-SHA-256\0\0\0\0\3n,,"),
    SV_INIT("p\0\0\0\x0a"
            "c=biws"),
    SV_INIT("Q\0\0\0\x0dselect 1\0"),
    SV_INIT("P\0\0\0\x12s1\0select 1\0\0\0"),
    SV_INIT("f\0\0\0\x09gone\0"),
    SV_INIT("C\0\0\0\x08Ss1\0"),
};

enum {
    BUILT = sizeof built / sizeof built[0]
};

static void build__messages_are_what_the_protocol_says(void **state)
{
    (void)state;
    for (int i = 0; i < BUILT; i++) {
        char block[128];
        struct buffer out;
        buffer_init(&out, block, sizeof block);
        assert_int_equal(build_number(i, &out), HF_OK);
        assert_int_equal(buffer_held(&out), built[i].size);
        assert_memory_equal(out.block, built[i].data, built[i].size);
    }
}

/* Every message into every room that is too small for it, behind bytes that must stay. */
static void build__a_message_fits_whole_or_not_at_all(void **state)
{
    (void)state;
    for (int i = 0; i < BUILT; i++)
        for (size_t room = 0; room <= built[i].size; room++) {
            char block[128], guard[128];
            struct buffer out;
            memset(block, '#', sizeof block);
            memset(guard, '#', sizeof guard);
            buffer_init(&out, block, 3 + room);
            assert_true(buffer_append(&out, SV("abc")));
            enum hf_rc rc = build_number(i, &out);
            assert_int_equal(rc, room < built[i].size ? HF_RC_LIMIT : HF_OK);
            assert_int_equal(buffer_held(&out), rc == HF_OK ? 3 + room : 3);
            assert_memory_equal(block, "abc", 3);
            assert_memory_equal(block + 3 + room, guard, sizeof block - 3 - room);
        }
}

/* Room at the front of the buffer counts too, and is made use of in the middle of a message. */
static void build__consumed_room_is_used(void **state)
{
    (void)state;
    for (size_t consumed = 0; consumed <= 40; consumed++) {
        char block[64];
        struct buffer out;
        buffer_init(&out, block, sizeof block);
        assert_true(buffer_append(&out, SV("0123456789012345678901234567890123456789kept")));
        buffer_consume(&out, consumed);
        enum hf_rc rc = build_query(&out, SV("a text of 40 bytes, no more and no fewer"));
        assert_int_equal(rc, consumed < 26 ? HF_RC_LIMIT : HF_OK);
        struct sv view = sv_drop(buffer_view(&out), 40 - consumed);
        assert_true(sv_starts_with(view, SV("kept")));
        if (rc == HF_OK)
            assert_true(sv_eq(sv_drop(view, 4), SV("Q\0\0\0\x2d"
                                                   "a text of 40 bytes, no more and no fewer\0")));
    }
}

static void build__a_text_with_a_zero_byte_is_refused(void **state)
{
    (void)state;
    char block[128];
    struct buffer out;
    struct build_parameter smuggled = {SV("user"), SV("ann\0database\0postgres")};
    struct build_parameter nameless = {SV(""), SV("x")};
    buffer_init(&out, block, sizeof block);
    assert_int_equal(build_query(&out, SV("a\0b")), HF_RC_INVALID);
    assert_int_equal(build_parameter_status(&out, SV("a"), SV("\0")), HF_RC_INVALID);
    assert_int_equal(build_startup(&out, STARTUP_VERSION(3, 0), &smuggled, 1), HF_RC_INVALID);
    assert_int_equal(build_startup(&out, STARTUP_VERSION(3, 0), &nameless, 1), HF_RC_INVALID);
    assert_int_equal(buffer_held(&out), 0);
    /* The first failure is the one that is told. */
    buffer_init(&out, block, 8);
    assert_int_equal(build_query(&out, SV("long, with a zero: \0")), HF_RC_INVALID);
    assert_int_equal(build_parameter_status(&out, SV("too long"), SV("\0")), HF_RC_LIMIT);
}

static void build__an_error_is_told_to_people_and_to_programs(void **state)
{
    (void)state;
    char block[512];
    struct buffer out;
    struct hf_err err;
    err_set_at(&err, HF_RC_LIMIT, "53300", "a/b/pool.c", 42, "the pool is full");
    err_detail(&err, "There are 20 connections.");
    err_hint(&err, "Raise pool_size.");
    buffer_init(&out, block, sizeof block);
    assert_int_equal(build_error(&out, BUILD_FATAL, &err), HF_OK);
    assert_true(sv_eq(buffer_view(&out),
                      SV("E\0\0\0\x65SFATAL\0VFATAL\0C53300\0Mthe pool is full\0"
                         "DThere are 20 connections.\0HRaise pool_size.\0Fpool.c\0L42\0\0")));
    buffer_clear(&out);
    assert_int_equal(err_set_at(&err, HF_RC_LIMIT, NULL, NULL, 0, "x"), HF_RC_LIMIT);
    assert_int_equal(build_error(&out, BUILD_WARNING, &err), HF_OK);
    assert_true(sv_eq(buffer_view(&out), SV("N\0\0\0\x21SWARNING\0VWARNING\0CXX000\0Mx\0\0")));
    buffer_clear(&out);
    assert_int_equal(err_set_at(&err, HF_RC_LIMIT, NULL, "main.c", 7, "x"), HF_RC_LIMIT);
    assert_int_equal(build_error(&out, BUILD_ERROR, &err), HF_OK);
    assert_true(sv_starts_with(buffer_view(&out), SV("E")));
    assert_true(sv_ends_with(buffer_view(&out), SV("Fmain.c\0L7\0\0")));
}

static const struct {
    const char *text, *expected;
} texts[] = {
    {"plain\n\t", "plain\n\t"},
    {"\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80"},
    {"\xef\xbf\xbf\xf4\x8f\xbf\xbf\xed\x9f\xbf", "\xef\xbf\xbf\xf4\x8f\xbf\xbf\xed\x9f\xbf"},
    {"j\xfcrgen", "j?rgen"},    /* Latin 1 */
    {"cut \xe2\x82", "cut ??"}, /* in the middle */
    {"cut \xf0\x9f\x98", "cut ???"},
    {"\xc0\x80\xc1\xbf", "????"}, /* overlong */
    {"\xe0\x9f\xbf\xf0\x8f\xbf\xbf", "???????"},
    {"\xed\xa0\x80", "???"},                /* a surrogate */
    {"\xf4\x90\x80\x80\xf5\x80", "??????"}, /* beyond the end */
    {"\x80\xc3z", "??z"},
};

static void build__errors_are_valid_utf8(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char block[128], expected[128];
        struct buffer out;
        struct hf_err err;
        err_set_at(&err, HF_RC_INVALID, "22023", NULL, 0, "%s", texts[i].text);
        buffer_init(&out, block, sizeof block);
        assert_int_equal(build_error(&out, BUILD_NOTICE, &err), HF_OK);
        snprintf(expected, sizeof expected, "M%s", texts[i].expected);
        struct sv tail = sv_drop(buffer_view(&out), 28);
        assert_true(sv_eq(sv_take(tail, strlen(expected)), sv_from_cstr(expected)));
        assert_int_equal(tail.size, strlen(expected) + 2);
    }
}

/* Whoever needs a message that is not among those above puts it together from its parts. */
static void build__any_message_is_put_together_from_parts(void **state)
{
    (void)state;
    char block[64];
    struct buffer out;
    buffer_init(&out, block, sizeof block);
    struct build message = build_begin(&out, 'x');
    build_u8(&message, 1);
    build_u16(&message, 0x0203);
    build_u32(&message, 0x04050607);
    build_bytes(&message, SV("ab"));
    build_cstr(&message, SV("c"));
    assert_int_equal(build_end(&message), HF_OK);
    static const char expected[] = "x\0\0\0\017\1\2\3\4\5\6\7abc";
    assert_int_equal(buffer_held(&out), sizeof expected);
    assert_memory_equal(block, expected, sizeof expected);

    buffer_init(&out, block, sizeof block);
    message = build_begin_startup(&out);
    build_u16(&message, 0x0809);
    assert_int_equal(build_end(&message), HF_OK);
    assert_int_equal(buffer_held(&out), 6);
    assert_memory_equal(block, "\0\0\0\6\10\11", 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(build__messages_are_what_the_protocol_says),
        cmocka_unit_test(build__any_message_is_put_together_from_parts),
        cmocka_unit_test(build__a_message_fits_whole_or_not_at_all),
        cmocka_unit_test(build__consumed_room_is_used),
        cmocka_unit_test(build__a_text_with_a_zero_byte_is_refused),
        cmocka_unit_test(build__an_error_is_told_to_people_and_to_programs),
        cmocka_unit_test(build__errors_are_valid_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
