#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "wire/bytes.h"
#include "wire/message.h"

/* Every parser behind one signature: what it read, printed as one line of `field|field`. */
static void print(struct buffer *out, struct sv text)
{
    assert_true(buffer_append(out, text.data != NULL ? text : SV("NULL")));
    assert_true(buffer_append(out, SV("|")));
}

static void print_number(struct buffer *out, uint64_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    print(out, sv_from_cstr(text));
}

static void print_list(struct buffer *out, struct sv list)
{
    struct sv text;
    while (message_list_next(&list, &text))
        print(out, text);
}

static enum message_rc parse_client(char type, struct message message, struct buffer *out)
{
    struct message_parse parse;
    struct message_bind bind;
    struct message_target target;
    struct message_execute execute;
    struct message_sasl sasl;
    struct sv text;
    enum message_rc rc;
    switch (type) {
    case 'Q':
        rc = message_query(message, &text);
        print(out, text);
        return rc;
    case 'P':
        rc = message_parse(message, &parse);
        print(out, parse.name);
        print(out, parse.text);
        print_number(out, parse.types.size);
        return rc;
    case 'B':
        rc = message_bind(message, &bind);
        print(out, bind.portal);
        print(out, bind.statement);
        return rc;
    case 'D':
        rc = message_target(message, &target);
        print(out, sv_from(&target.kind, 1));
        print(out, target.name);
        return rc;
    case 'E':
        rc = message_execute(message, &execute);
        print(out, execute.portal);
        print_number(out, execute.rows_max);
        return rc;
    case 'f':
        rc = message_text(message, &text);
        print(out, text);
        return rc;
    default:
        rc = message_sasl(message, &sasl);
        print(out, sasl.mechanism);
        print(out, sasl.data);
        return rc;
    }
}

static enum message_rc parse_server_login(char type, struct message message, struct buffer *out)
{
    struct message_auth auth;
    struct message_negotiate negotiate;
    struct message_parameter parameter;
    struct message_key key;
    enum message_rc rc;
    switch (type) {
    case 'R':
        rc = message_auth(message, &auth);
        print_number(out, auth.kind);
        if (auth.kind == 10)
            print_list(out, auth.data);
        else
            print(out, auth.data);
        return rc;
    case 'v':
        rc = message_negotiate(message, &negotiate);
        print_number(out, negotiate.version);
        print_list(out, negotiate.options);
        return rc;
    case 'S':
        rc = message_parameter(message, &parameter);
        print(out, parameter.name);
        print(out, parameter.value);
        return rc;
    default:
        rc = message_key(message, &key);
        print_number(out, key.pid);
        print_number(out, key.key.size);
        return rc;
    }
}

static enum message_rc parse_server(char type, struct message message, struct buffer *out)
{
    struct message_error error;
    struct message_notification notification;
    struct message_copy copy;
    struct sv text, columns[3] = {{0}};
    enum message_rc rc;
    char status;
    switch (type) {
    case 'Z':
        rc = message_ready(message, &status);
        print(out, sv_from(&status, 1));
        return rc;
    case 'E':
        rc = message_error_fields(message, &error);
        print(out, error.severity);
        print(out, error.sqlstate);
        print(out, error.message);
        print(out, error.detail);
        print(out, error.hint);
        print(out, error.routine);
        return rc;
    case 'A':
        rc = message_notification(message, &notification);
        print_number(out, notification.pid);
        print(out, notification.channel);
        print(out, notification.payload);
        return rc;
    case 'G':
        rc = message_copy(message, &copy);
        print_number(out, copy.is_binary);
        print_number(out, copy.formats.size);
        return rc;
    case 'C':
        rc = message_text(message, &text);
        print(out, text);
        return rc;
    case 'D':
        rc = message_row(message, columns, 3);
        for (int i = 0; i < 3; i++)
            print(out, columns[i]);
        return rc;
    default:
        return parse_server_login(type, message, out);
    }
}

/* From a block of exactly that size, so that the sanitizer sees a read behind it. */
static enum message_rc parse(enum frame_side side, char type, struct sv body, bool is_whole,
                             char printed[256])
{
    char *exact = malloc(body.size > 0 ? body.size : 1);
    struct message message = {sv_from(exact, body.size), is_whole};
    struct buffer out;
    assert_non_null(exact);
    if (body.size > 0)
        memcpy(exact, body.data, body.size);
    buffer_init(&out, printed, 255);
    enum message_rc rc = side == FRAME_FRONTEND ? parse_client(type, message, &out)
                                                : parse_server(type, message, &out);
    printed[buffer_held(&out)] = '\0';
    free(exact);
    return rc;
}

#define F FRAME_FRONTEND
#define B FRAME_BACKEND

static const struct {
    enum frame_side side;
    char type;
    struct sv body;
    const char *fields;
    size_t enough; /* as many bytes tell all that is asked; 0: all of them */
} good[] = {
    {F, 'Q', SV_INIT("select 1\0"), "select 1|", 0},
    {F, 'Q', SV_INIT("\0"), "|", 0},
    {F, 'P', SV_INIT("s1\0select $1\0\0\2\0\0\0\x17\0\0\0\x19"), "s1|select $1|8|", 0},
    {F, 'P', SV_INIT("\0\0\0\0"), "||0|", 0},
    {F, 'B', SV_INIT("c1\0s1\0\0\0\0\1\0\0\0\1x\0\0"), "c1|s1|", 6},
    {F, 'B', SV_INIT("\0\0\0\0\0\0\0\0"), "||", 2},
    {F, 'D', SV_INIT("Ss1\0"), "S|s1|", 0},
    {F, 'D', SV_INIT("P\0"), "P||", 0},
    {F, 'E', SV_INIT("c1\0\0\0\0\x64"), "c1|100|", 0},
    {F, 'E', SV_INIT("\0\xff\xff\xff\xff"), "|4294967295|", 0},
    {F, 'f', SV_INIT("no more\0"), "no more|", 0},
    {F, 'p', SV_INIT("SCRAM-SHA-256\0\0\0\0\3n,,"), "SCRAM-SHA-256|n,,|", 0},
    {F, 'p', SV_INIT("X\0\0\0\0\0"), "X||", 0},
    {F, 'p', SV_INIT("X\0\xff\xff\xff\xff"), "X|NULL|", 0},
    {B, 'R', SV_INIT("\0\0\0\0"), "0||", 0},
    {B, 'R', SV_INIT("\0\0\0\5salt"), "5|salt|", 0},
    {B, 'R', SV_INIT("\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"),
     "10|SCRAM-SHA-256-PLUS|SCRAM-SHA-256|", 0},
    {B, 'v', SV_INIT("\0\3\0\2\0\0\0\2_pq_.a\0_pq_.b\0"), "196610|_pq_.a|_pq_.b|", 0},
    {B, 'v', SV_INIT("\0\3\0\0\0\0\0\0"), "196608|", 0},
    {B, 'S', SV_INIT("TimeZone\0UTC\0"), "TimeZone|UTC|", 0},
    {B, 'K', SV_INIT("\0\0\1\2four"), "258|4|", 0},
    {B, 'Z', SV_INIT("I"), "I|", 0},
    {B, 'Z', SV_INIT("T"), "T|", 0},
    {B, 'Z', SV_INIT("E"), "E|", 0},
    {B, 'E', SV_INIT("SFEHLER\0VERROR\0C42P01\0Mno table\0Dwhy\0Hwhat\0Ff.c\0L1\0Rparse\0\0"),
     "ERROR|42P01|no table|why|what|parse|", 0},
    {B, 'E', SV_INIT("SFATAL\0Mold\0\0"), "FATAL|NULL|old|NULL|NULL|NULL|", 0},
    {B, 'E', SV_INIT("Ca\0Cb\0?odd\0\0"), "NULL|a|NULL|NULL|NULL|NULL|", 0},
    {B, 'E', SV_INIT("C\0\0"), "NULL||NULL|NULL|NULL|NULL|", 0},
    {B, 'E', SV_INIT("\0"), "NULL|NULL|NULL|NULL|NULL|NULL|", 0},
    {B, 'A', SV_INIT("\0\0\0\x09jobs\0run\0"), "9|jobs|run|", 0},
    {B, 'G', SV_INIT("\1\0\2\0\1\0\1"), "1|4|", 0},
    {B, 'G', SV_INIT("\0\0\0"), "0|0|", 0},
    {B, 'C', SV_INIT("SELECT 1\0"), "SELECT 1|", 0},
    {B, 'D', SV_INIT("\0\3\0\0\0\1x\xff\xff\xff\xff\0\0\0\0"), "x|NULL||", 0},
};

/* Whole, cut anywhere, cut anywhere but said to be whole, and with a byte too many. */
static void message__fields_are_read_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char printed[256], longer[256];
        struct sv body = good[i].body;
        size_t enough = good[i].enough != 0 ? good[i].enough : body.size;
        assert_int_equal(parse(good[i].side, good[i].type, body, true, printed), MESSAGE_OK);
        assert_string_equal(printed, good[i].fields);
        for (size_t size = 0; size < body.size; size++) {
            struct sv cut = sv_take(body, size);
            enum message_rc rc = parse(good[i].side, good[i].type, cut, false, printed);
            assert_int_equal(rc, size < enough ? MESSAGE_MORE : MESSAGE_OK);
            /* Data without a length of its own may end anywhere. */
            if (good[i].type == 'R' && size >= 4)
                continue;
            rc = parse(good[i].side, good[i].type, cut, true, printed);
            assert_int_equal(rc, size < enough ? MESSAGE_BAD : MESSAGE_OK);
        }
        if (good[i].enough != 0 || good[i].type == 'R' || good[i].type == 'K')
            continue;
        memcpy(longer, body.data, body.size);
        longer[body.size] = '\0';
        struct sv more = sv_from(longer, body.size + 1);
        assert_int_equal(parse(good[i].side, good[i].type, more, true, printed), MESSAGE_BAD);
    }
}

static const struct {
    enum frame_side side;
    char type;
    struct sv body;
} bad[] = {
    {F, 'D', SV_INIT("Xs1\0")},
    {F, 'D', SV_INIT("\0s1\0")},
    {F, 'P', SV_INIT("s1\0select 1\0\xff\xff")},
    {F, 'P', SV_INIT("s1\0select 1\0\0\1\0\0\0")},
    {F, 'p', SV_INIT("X\0\xff\xff\xff\xfe")},
    {F, 'p', SV_INIT("X\0\x7f\xff\xff\xffy")},
    {B, 'Z', SV_INIT("X")},
    {B, 'K', SV_INIT("\0\0\0\1abc")},
    {B, 'v', SV_INIT("\0\3\0\0\xff\xff\xff\xff")},
    {B, 'v', SV_INIT("\0\3\0\0\0\0\0\0_pq_.a\0")},
    {B, 'G', SV_INIT("\0\xff\xff\0\0")},
    {B, 'D', SV_INIT("\0\2\0\0\0\0\0\0\0\0")},
    {B, 'D', SV_INIT("\0\4\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")},
    {B, 'D', SV_INIT("\xff\xff")},
    {B, 'D', SV_INIT("\0\3\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")},
    {B, 'D', SV_INIT("\0\3\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff")},
};

static void message__what_lies_about_itself_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char printed[256];
        assert_int_equal(parse(bad[i].side, bad[i].type, bad[i].body, true, printed), MESSAGE_BAD);
    }
    /* What cannot become right is not waited for. */
    struct message_target target;
    assert_int_equal(message_target((struct message){SV("X"), false}, &target), MESSAGE_BAD);
}

static void message__a_query_shows_its_beginning(void **state)
{
    (void)state;
    struct sv text;
    struct message message = {SV("select 1 from a long text"), false};
    assert_int_equal(message_query(message, &text), MESSAGE_MORE);
    assert_true(sv_eq(text, message.body));
    message.body = SV("select\0 1");
    assert_int_equal(message_query(message, &text), MESSAGE_MORE);
    assert_true(sv_eq(text, SV("select")));
}

static void message__an_error_shows_what_came_first(void **state)
{
    (void)state;
    struct message_error error;
    struct message message = {SV("SFATAL\0VFATAL\0C57P01\0Mterminating conn"), false};
    assert_int_equal(message_error_fields(message, &error), MESSAGE_MORE);
    assert_true(message_error_is_fatal(&error));
    assert_true(sv_eq(error.sqlstate, SV("57P01")));
    assert_null(error.message.data);
    message = (struct message){SV("SPANIK\0VPANIC\0\0"), true};
    assert_int_equal(message_error_fields(message, &error), MESSAGE_OK);
    assert_true(message_error_is_fatal(&error));
    message = (struct message){SV("SFATAL\0VERROR\0\0"), true};
    assert_int_equal(message_error_fields(message, &error), MESSAGE_OK);
    assert_false(message_error_is_fatal(&error));
}

/* Both names of a Bind at their limit and one beyond, ended and unended. */
static void message__names_have_a_limit(void **state)
{
    (void)state;
    char name[600];
    struct message_bind bind;
    struct message_parse parse;
    struct hf_err err;
    memset(name, 'n', sizeof name);
    struct message unended = {sv_from(name, MESSAGE_NAME_MAX), false};
    assert_int_equal(message_bind(unended, &bind), MESSAGE_MORE);
    unended.body.size++;
    assert_int_equal(message_bind(unended, &bind), MESSAGE_LONG);
    assert_int_equal(message_parse(unended, &parse), MESSAGE_LONG);
    name[MESSAGE_NAME_MAX] = '\0';
    name[2 * MESSAGE_NAME_MAX + 1] = '\0';
    struct message ended = {sv_from(name, sizeof name), false};
    assert_int_equal(message_bind(ended, &bind), MESSAGE_OK);
    assert_int_equal(bind.portal.size, MESSAGE_NAME_MAX);
    assert_int_equal(bind.statement.size, MESSAGE_NAME_MAX);
    name[2 * MESSAGE_NAME_MAX + 1] = 'n';
    name[2 * MESSAGE_NAME_MAX + 2] = '\0';
    assert_int_equal(message_bind(ended, &bind), MESSAGE_LONG);
    assert_int_equal(message_explain(MESSAGE_LONG, FRAME_FRONTEND, 'B', &err), HF_RC_PEER);
    assert_string_equal(err.sqlstate, "54000");
    assert_string_equal(err.message, "name too long in client message Bind");
}

static void message__a_violation_is_explained(void **state)
{
    (void)state;
    struct hf_err err;
    assert_int_equal(message_explain(MESSAGE_OK, FRAME_BACKEND, 'Z', &err), HF_OK);
    assert_int_equal(message_explain(MESSAGE_MORE, FRAME_BACKEND, 'Z', &err), HF_OK);
    assert_int_equal(message_explain(MESSAGE_BAD, FRAME_BACKEND, 'Z', &err), HF_RC_PEER);
    assert_string_equal(err.sqlstate, "08P01");
    assert_string_equal(err.message, "invalid format of server message ReadyForQuery");
    assert_int_equal(message_explain(MESSAGE_BAD, FRAME_FRONTEND, '?', &err), HF_RC_PEER);
    assert_string_equal(err.message, "invalid format of client message unknown");
}

static void message__a_name_is_replaced_apart_or_in_place(void **state)
{
    (void)state;
    static const struct {
        struct sv message, expected;
        const char *to;
    } cases[] = {
        {SV_INIT("B\0\0\0\x11p\0s123\0values"), SV_INIT("B\0\0\0\x0fp\0h1\0values"), "h1"},
        {SV_INIT("B\0\0\0\x11p\0s123\0values"), SV_INIT("B\0\0\0\x11p\0h123\0values"), "h123"},
        {SV_INIT("B\0\0\0\x11p\0s123\0values"), SV_INIT("B\0\0\0\x0dp\0\0values"), ""},
        {SV_INIT("B\0\0\0\x11p\0s123\0values"), SV_INIT("B\0\0\0\x15p\0holdfast\0values"),
         "holdfast"},
        {SV_INIT("B\0\0\0\x0d\0\0values"), SV_INIT("B\0\0\0\x0f\0h1\0values"), "h1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[64], place[64];
        struct sv to = sv_from_cstr(cases[i].to), bytes = cases[i].message;
        struct message_bind bind;
        struct message message = {sv_drop(bytes, FRAME_HEADER_SIZE), true};
        assert_int_equal(message_bind(message, &bind), MESSAGE_OK);
        size_t head = message_head_size(bytes, bind.statement);
        size_t size = head - bind.statement.size + to.size;
        assert_int_equal(message_rename(bytes, bind.statement, to, out, size - 1), 0);
        assert_int_equal(message_rename(bytes, bind.statement, to, out, sizeof out), size);
        assert_memory_equal(out, cases[i].expected.data, size);
        assert_memory_equal(bytes.data + head, cases[i].expected.data + size, bytes.size - head);
        if (to.size > bind.statement.size)
            continue;
        memcpy(place, bytes.data, bytes.size);
        message.body.data = place + FRAME_HEADER_SIZE;
        assert_int_equal(message_bind(message, &bind), MESSAGE_OK);
        size_t later = bind.statement.size - to.size;
        bytes.data = place;
        assert_int_equal(message_rename(bytes, bind.statement, to, place + later, head), size);
        assert_memory_equal(place + later, cases[i].expected.data, cases[i].expected.size);
    }
}

static void message__tags_tell_rows(void **state)
{
    (void)state;
    static const struct {
        const char *tag;
        uint64_t rows;
        bool tells;
    } cases[] = {
        {"SELECT 12", 12, true},
        {"INSERT 0 5", 5, true},
        {"COPY 18446744073709551616", 0, false},
        {"COPY 9223372036854775807", INT64_MAX, true},
        {"BEGIN", 0, false},
        {"CREATE TABLE", 0, false},
        {"7", 0, false},
        {"UPDATE -1", 0, false},
        {"UPDATE ", 0, false},
        {"", 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t rows = 0;
        assert_int_equal(message_tag_rows(sv_from_cstr(cases[i].tag), &rows), cases[i].tells);
        assert_int_equal(rows, cases[i].rows);
    }
}

static void message__a_part_gives_its_body(void **state)
{
    (void)state;
    struct frame frame;
    struct frame_part part;
    frame_init(&frame, FRAME_FRONTEND, FRAME_SESSION);
    assert_int_equal(frame_look(&frame, SV("Q\0\0\0\x07xy\0Q"), &part), FRAME_PART);
    struct message message = message_of(&part);
    assert_true(sv_eq(message.body, SV("xy\0")));
    assert_true(message.is_whole);
    assert_int_equal(frame_look(&frame, SV("Q\0\0\0\x07"), &part), FRAME_PART);
    message = message_of(&part);
    assert_int_equal(message.body.size, 0);
    assert_false(message.is_whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message__fields_are_read_and_nothing_else),
        cmocka_unit_test(message__what_lies_about_itself_is_refused),
        cmocka_unit_test(message__a_query_shows_its_beginning),
        cmocka_unit_test(message__an_error_shows_what_came_first),
        cmocka_unit_test(message__names_have_a_limit),
        cmocka_unit_test(message__a_violation_is_explained),
        cmocka_unit_test(message__a_name_is_replaced_apart_or_in_place),
        cmocka_unit_test(message__tags_tell_rows),
        cmocka_unit_test(message__a_part_gives_its_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
