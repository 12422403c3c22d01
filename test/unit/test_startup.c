#include "unit.h"

#include <string.h>

#include "wire/build.h"
#include "wire/bytes.h"
#include "wire/startup.h"

/* A packet as text: length word, code word, and the rest. */
static struct sv put_packet(char *block, uint32_t length, uint32_t code, struct sv rest)
{
    bytes_put_u32(block, length);
    bytes_put_u32(block + 4, code);
    if (rest.size > 0)
        memcpy(block + 8, rest.data, rest.size);
    return sv_from(block, 8 + rest.size);
}

/* The same with the right length. */
static struct sv packet_of(char *block, uint32_t code, struct sv rest)
{
    return put_packet(block, (uint32_t)(8 + rest.size), code, rest);
}

#define FULL                                                                                       \
    "user\0ann\0database\0shop\0options\0-c a=b\0application_name\0psql\0"                         \
    "client_encoding\0UTF8\0\0"

static void startup__a_session_is_read_at_every_split(void **state)
{
    (void)state;
    char block[256];
    struct sv whole = packet_of(block, STARTUP_VERSION(3, 0), SV(FULL));
    for (size_t size = 0; size <= whole.size; size++) {
        struct startup startup;
        struct startup_packet packet;
        startup_init(&startup);
        enum startup_kind kind = startup_read(&startup, sv_take(whole, size), &packet);
        assert_int_equal(kind, size < whole.size ? STARTUP_MORE : STARTUP_SESSION);
        kind = startup_read(&startup, whole, &packet);
        assert_int_equal(kind, STARTUP_SESSION);
        assert_int_equal(packet.size, whole.size);
        assert_int_equal(packet.session.version, STARTUP_VERSION(3, 0));
        assert_false(startup_must_negotiate(&packet.session));
        assert_true(sv_eq(packet.session.user, SV("ann")));
        assert_true(sv_eq(packet.session.database, SV("shop")));
        assert_true(sv_eq(packet.session.options, SV("-c a=b")));
        assert_int_equal(packet.session.replication, STARTUP_REPLICATION_NONE);
    }
}

static void startup__parameters_come_one_by_one_with_what_they_are_for(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value;
        enum startup_parameter_kind kind;
    } expected[] = {
        {"user", "ann", STARTUP_USER},
        {"_pq_.greased", "", STARTUP_PROTOCOL},
        {"database", "", STARTUP_DATABASE},
        {"replication", "database", STARTUP_REPLICATION},
        {"options", "-e", STARTUP_OPTIONS},
        {"DateStyle", "ISO", STARTUP_SETTING},
        {"User", "not the user", STARTUP_SETTING},
        {"user", "bob", STARTUP_USER},
    };
    enum {
        COUNT = sizeof expected / sizeof expected[0]
    };
    struct build_parameter parameters[COUNT];
    char block[512];
    struct buffer buffer;
    struct startup startup;
    struct startup_packet packet;
    struct startup_parameter parameter;
    for (size_t i = 0; i < COUNT; i++)
        parameters[i] = (struct build_parameter){sv_from_cstr(expected[i].name),
                                                 sv_from_cstr(expected[i].value)};
    buffer_init(&buffer, block, sizeof block);
    assert_int_equal(build_startup(&buffer, STARTUP_VERSION(3, 2), parameters, COUNT), HF_OK);
    startup_init(&startup);
    assert_int_equal(startup_read(&startup, buffer_view(&buffer), &packet), STARTUP_SESSION);
    assert_true(sv_eq(packet.session.user, SV("bob"))); /* the last one counts */
    assert_true(sv_eq(packet.session.database, SV("bob")));
    assert_int_equal(packet.session.replication, STARTUP_REPLICATION_DATABASE);
    assert_int_equal(packet.session.unknown_options, 1);
    assert_true(startup_must_negotiate(&packet.session));
    struct sv rest = packet.session.parameters;
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(startup_parameter_next(&rest, &parameter));
        assert_int_equal(parameter.kind, expected[i].kind);
        assert_true(sv_eq(parameter.name, parameters[i].name));
        assert_true(sv_eq(parameter.value, parameters[i].value));
    }
    assert_false(startup_parameter_next(&rest, &parameter));
}

static void startup__versions_are_negotiated_down_and_only_within_3(void **state)
{
    (void)state;
    static const struct {
        unsigned major, minor;
        unsigned spoken; /* minor; 99: refused */
    } cases[] = {
        {3, 0, 0},  {3, 1, 1},  {3, 2, 2},  {3, 3, 2},       {3, 9999, 2},
        {2, 0, 99}, {4, 0, 99}, {0, 0, 99}, {0xffff, 0, 99}, {1234, 5677, 99},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char block[64];
        struct startup startup;
        struct startup_packet packet;
        struct hf_err err;
        uint32_t version = STARTUP_VERSION(cases[i].major, cases[i].minor);
        struct sv whole = packet_of(block, version, SV("user\0ann\0\0"));
        startup_init(&startup);
        enum startup_kind kind = startup_read(&startup, whole, &packet);
        if (cases[i].spoken == 99) {
            assert_int_equal(kind, STARTUP_BAD);
            assert_int_equal(startup_error(&startup, &err), HF_RC_PEER);
            assert_string_equal(err.sqlstate, "0A000");
            continue;
        }
        assert_int_equal(kind, STARTUP_SESSION);
        assert_int_equal(packet.session.version, STARTUP_VERSION(3, cases[i].spoken));
        assert_int_equal(startup_must_negotiate(&packet.session),
                         cases[i].spoken != cases[i].minor);
    }
}

/* Packets that are refused, each with the number of bytes that suffice to see it. */
static const struct {
    const char *message;
    const char *sqlstate;
    uint32_t length; /* 0: what it is */
    uint32_t code;
    struct sv rest;
    size_t enough; /* 0: the whole packet */
} refused[] = {
    {"invalid length of startup packet", "08P01", 7, STARTUP_VERSION(3, 0), SV_INIT(""), 4},
    {"invalid length of startup packet", "08P01", 10001, STARTUP_VERSION(3, 0), SV_INIT(""), 4},
    {"invalid length of startup packet", "08P01", 0xffffffff, 0, SV_INIT(""), 4},
    {"invalid length of startup packet", "08P01", 0x47455420, 0, SV_INIT(""), 4}, /* "GET " */
    {"invalid length of startup packet", "08P01", 9, STARTUP_CODE_SSL, SV_INIT(""), 8},
    {"invalid length of startup packet", "08P01", 12, STARTUP_CODE_GSSENC, SV_INIT(""), 8},
    {"unsupported frontend protocol 2.0: server supports 3.0 to 3.2", "0A000", 296, 2 << 16,
     SV_INIT(""), 8},
    {"invalid length of query cancel packet", "08P01", 15, STARTUP_CODE_CANCEL, SV_INIT(""), 8},
    {"invalid length of query cancel packet", "08P01", 269, STARTUP_CODE_CANCEL, SV_INIT(""), 8},
    {"received unencrypted data after encryption request", "08P01", 8, STARTUP_CODE_SSL,
     SV_INIT("\0"), 9},
    {"received unencrypted data after encryption request", "08P01", 8, STARTUP_CODE_GSSENC,
     SV_INIT("p"), 9},
    {"invalid startup packet layout: expected terminator as last byte", "08P01", 0,
     STARTUP_VERSION(3, 0), SV_INIT(""), 0},
    {"invalid startup packet layout: expected terminator as last byte", "08P01", 0,
     STARTUP_VERSION(3, 0), SV_INIT("user\0ann\0"), 0},
    {"invalid startup packet layout: expected terminator as last byte", "08P01", 0,
     STARTUP_VERSION(3, 0), SV_INIT("user\0ann"), 0},
    {"invalid startup packet layout: expected terminator as last byte", "08P01", 0,
     STARTUP_VERSION(3, 0), SV_INIT("user\0ann\0\0x"), 0},
    {"invalid startup packet layout: expected terminator as last byte", "08P01", 0,
     STARTUP_VERSION(3, 0), SV_INIT("user\0ann\0database\0"), 0},
    {"no PostgreSQL user name specified in startup packet", "28000", 0, STARTUP_VERSION(3, 0),
     SV_INIT("\0"), 0},
    {"no PostgreSQL user name specified in startup packet", "28000", 0, STARTUP_VERSION(3, 0),
     SV_INIT("user\0\0database\0x\0\0"), 0},
    {"invalid value for parameter \"replication\"", "22023", 0, STARTUP_VERSION(3, 0),
     SV_INIT("user\0ann\0replication\0maybe\0\0"), 0},
};

static void startup__what_is_wrong_is_refused_as_soon_as_it_is_seen(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char block[512] = {0};
        struct startup startup;
        struct startup_packet packet;
        struct hf_err err;
        struct sv rest = refused[i].rest;
        uint32_t length = refused[i].length != 0 ? refused[i].length : (uint32_t)rest.size + 8;
        struct sv whole = put_packet(block, length, refused[i].code, rest);
        size_t enough = refused[i].enough != 0 ? refused[i].enough : whole.size;
        startup_init(&startup);
        for (size_t size = 0; size < enough && refused[i].enough <= 8; size++)
            assert_int_equal(startup_read(&startup, sv_take(whole, size), &packet), STARTUP_MORE);
        assert_int_equal(startup_error(&startup, &err), HF_OK);
        assert_int_equal(startup_read(&startup, sv_take(whole, enough), &packet), STARTUP_BAD);
        assert_int_equal(startup_error(&startup, &err), HF_RC_PEER);
        assert_string_equal(err.message, refused[i].message);
        assert_string_equal(err.sqlstate, refused[i].sqlstate);
        /* The first error is the last word. */
        whole = packet_of(block, STARTUP_VERSION(3, 0), SV("user\0ann\0\0"));
        assert_int_equal(startup_read(&startup, whole, &packet), STARTUP_BAD);
    }
}

static void startup__the_longest_packet_has_10000_bytes(void **state)
{
    (void)state;
    static char block[STARTUP_SIZE_MAX];
    static const char head[] = "user\0ann\0padding";
    struct startup startup;
    struct startup_packet packet;
    memset(block, 'x', sizeof block);
    bytes_put_u32(block, sizeof block);
    bytes_put_u32(block + 4, STARTUP_VERSION(3, 0));
    memcpy(block + 8, head, sizeof head);
    memset(block + sizeof block - 2, 0, 2);
    startup_init(&startup);
    struct sv whole = sv_from(block, sizeof block);
    assert_int_equal(startup_read(&startup, sv_take(whole, 9999), &packet), STARTUP_MORE);
    assert_int_equal(startup_read(&startup, whole, &packet), STARTUP_SESSION);
}

static void startup__a_cancel_request_carries_a_key_of_4_to_256_bytes(void **state)
{
    (void)state;
    char key[STARTUP_CANCEL_KEY_MAX], block[512];
    memset(key, 'k', sizeof key);
    for (size_t size = STARTUP_CANCEL_KEY_MIN; size <= sizeof key; size += 63) {
        struct buffer buffer;
        struct startup startup;
        struct startup_packet packet;
        buffer_init(&buffer, block, sizeof block);
        assert_int_equal(build_cancel(&buffer, 0xdeadbeef, sv_from(key, size)), HF_OK);
        struct sv whole = buffer_view(&buffer);
        startup_init(&startup);
        for (size_t cut = 0; cut < whole.size; cut++)
            assert_int_equal(startup_read(&startup, sv_take(whole, cut), &packet), STARTUP_MORE);
        /* Bytes behind it change nothing. */
        whole.size++;
        assert_int_equal(startup_read(&startup, whole, &packet), STARTUP_CANCEL);
        assert_int_equal(packet.pid, 0xdeadbeef);
        assert_true(sv_eq(packet.key, sv_from(key, size)));
        assert_int_equal(packet.size, 12 + size);
    }
}

/* What each step of a connection's beginning is: S SSLRequest, G GSSENCRequest, T the first byte of
 * a TLS record, U a StartupMessage, C a CancelRequest, e encryption begins. The last one decides.
 */
static const struct {
    const char *steps;
    enum startup_kind last;
} openings[] = {
    {"U", STARTUP_SESSION},    {"SU", STARTUP_SESSION},   {"GU", STARTUP_SESSION},
    {"GSU", STARTUP_SESSION},  {"SGU", STARTUP_SESSION},  {"SeU", STARTUP_SESSION},
    {"GSeU", STARTUP_SESSION}, {"C", STARTUP_CANCEL},     {"SeC", STARTUP_CANCEL},
    {"GSC", STARTUP_CANCEL},   {"T", STARTUP_DIRECT_TLS}, {"TeU", STARTUP_SESSION},
    {"TeC", STARTUP_CANCEL},   {"SS", STARTUP_BAD},       {"GG", STARTUP_BAD},
    {"SGS", STARTUP_BAD},      {"GSG", STARTUP_BAD},      {"SeS", STARTUP_BAD},
    {"SeG", STARTUP_BAD},      {"TeS", STARTUP_BAD},      {"TeG", STARTUP_BAD},
    {"ST", STARTUP_MORE},      {"GT", STARTUP_MORE},      {"TeT", STARTUP_MORE},
};

static void startup__requests_for_encryption_come_in_either_order_and_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof openings / sizeof openings[0]; i++) {
        char block[64];
        struct startup startup;
        struct startup_packet packet;
        enum startup_kind kind = STARTUP_MORE;
        startup_init(&startup);
        for (const char *step = openings[i].steps; *step != '\0'; step++) {
            struct sv whole = SV("\x16");
            if (*step == 'e') {
                startup_encrypted(&startup);
                continue;
            }
            if (*step == 'S')
                whole = packet_of(block, STARTUP_CODE_SSL, SV(""));
            else if (*step == 'G')
                whole = packet_of(block, STARTUP_CODE_GSSENC, SV(""));
            else if (*step == 'U')
                whole = packet_of(block, STARTUP_VERSION(3, 0), SV("user\0ann\0\0"));
            else if (*step == 'C')
                whole = packet_of(block, STARTUP_CODE_CANCEL, SV("pid.key."));
            kind = startup_read(&startup, whole, &packet);
            assert_int_equal(packet.size, *step == 'T' || kind == STARTUP_BAD ? 0 : whole.size);
        }
        assert_int_equal(kind, openings[i].last);
    }
    /* What began like TLS too late is a packet of absurd length. */
    struct startup startup;
    struct startup_packet packet;
    char block[64];
    startup_init(&startup);
    startup_read(&startup, packet_of(block, STARTUP_CODE_SSL, SV("")), &packet);
    assert_int_equal(startup_read(&startup, SV("\x16\3\1\1"), &packet), STARTUP_BAD);
}

static void startup__replication_is_a_boolean_or_a_database(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum startup_replication replication;
        bool is_bad;
    } cases[] = {
        {"database", STARTUP_REPLICATION_DATABASE, false},
        {"true", STARTUP_REPLICATION_PHYSICAL, false},
        {"T", STARTUP_REPLICATION_PHYSICAL, false},
        {"on", STARTUP_REPLICATION_PHYSICAL, false},
        {"1", STARTUP_REPLICATION_PHYSICAL, false},
        {"ye", STARTUP_REPLICATION_PHYSICAL, false},
        {"false", STARTUP_REPLICATION_NONE, false},
        {"of", STARTUP_REPLICATION_NONE, false},
        {"n", STARTUP_REPLICATION_NONE, false},
        {"0", STARTUP_REPLICATION_NONE, false},
        {"o", 0, true},
        {"", 0, true},
        {"truely", 0, true},
        {"Database", 0, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char block[128];
        struct buffer buffer;
        struct startup startup;
        struct startup_packet packet;
        struct build_parameter parameters[] = {
            {SV("user"), SV("ann")},
            {SV("replication"), sv_from_cstr(cases[i].text)},
        };
        buffer_init(&buffer, block, sizeof block);
        assert_int_equal(build_startup(&buffer, STARTUP_VERSION(3, 0), parameters, 2), HF_OK);
        startup_init(&startup);
        enum startup_kind kind = startup_read(&startup, buffer_view(&buffer), &packet);
        assert_int_equal(kind, cases[i].is_bad ? STARTUP_BAD : STARTUP_SESSION);
        if (!cases[i].is_bad)
            assert_int_equal(packet.session.replication, cases[i].replication);
    }
}

/* Options and what they say, as lines "NAME|VALUE" for settings, "!WORD" for what is none and
 * "?TEXT" for what is wrong. The escapes are what libpq's callers write: PGOPTIONS, psycopg, JDBC.
 */
static const struct {
    const char *options, *expected;
} option_cases[] = {
    {"", ""},
    {" \t\n ", ""},
    {"-c geqo=off", "geqo|off\n"},
    {"-cgeqo=off", "geqo|off\n"},
    {"--geqo=off", "geqo|off\n"},
    {"  -c  geqo=off  -c a.b=c ", "geqo|off\na.b|c\n"},
    {"-c search_path=a,\\ b", "search_path|a, b\n"},
    {"--search-path=a\\ \\\\b", "search_path|a \\b\n"},
    {"-c work-mem=a-b", "work_mem|a-b\n"},
    {"-c x=", "x|\n"},
    {"-c x=a=b", "x|a=b\n"},
    {"-c a\\=b", "a|b\n"},
    {"\\-c a=b", "a|b\n"},
    {"-c a=b+c%20d", "a|b+c%20d\n"},
    {"-c a=b\\", "a|b\n"},
    {"-c\va=b\f-c\rc=d", "a|b\nc|d\n"},
    {"-S 64 -e", "!-S\n!64\n!-e\n"},
    {"-c", "?\n"},
    {"-c x", "?x\n"},
    {"-cx", "?x\n"},
    {"--x", "?x\n"},
    {"--", "?\n"},
    {"-c =x", "?=x\n"},
    {"-", "!-\n"},
    {"\\\\", "!\\\n"},
};

static void startup__options_are_split_as_the_server_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof option_cases / sizeof option_cases[0]; i++) {
        char scratch[64], block[128];
        struct buffer out;
        struct startup_option option;
        struct sv rest = sv_from_cstr(option_cases[i].options);
        buffer_init(&out, block, sizeof block);
        while (startup_option_next(&rest, scratch, &option)) {
            if (option.kind == STARTUP_OPTION_SETTING)
                assert_true(buffer_append(&out, option.name) && buffer_append(&out, SV("|")));
            else
                assert_true(
                    buffer_append(&out, option.kind == STARTUP_OPTION_SWITCH ? SV("!") : SV("?")));
            assert_true(buffer_append(&out, option.value) && buffer_append(&out, SV("\n")));
        }
        assert_true(sv_eq(buffer_view(&out), sv_from_cstr(option_cases[i].expected)));
        assert_int_equal(rest.size, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(startup__a_session_is_read_at_every_split),
        cmocka_unit_test(startup__parameters_come_one_by_one_with_what_they_are_for),
        cmocka_unit_test(startup__versions_are_negotiated_down_and_only_within_3),
        cmocka_unit_test(startup__what_is_wrong_is_refused_as_soon_as_it_is_seen),
        cmocka_unit_test(startup__the_longest_packet_has_10000_bytes),
        cmocka_unit_test(startup__a_cancel_request_carries_a_key_of_4_to_256_bytes),
        cmocka_unit_test(startup__requests_for_encryption_come_in_either_order_and_once),
        cmocka_unit_test(startup__replication_is_a_boolean_or_a_database),
        cmocka_unit_test(startup__options_are_split_as_the_server_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
