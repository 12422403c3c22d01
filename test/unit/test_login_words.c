#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "login_rig.h"

/*
 * What a server says beside the authentication, in every place, and how much of it.
 */
static struct login_rig rig;

static int open_rig(void **state)
{
    (void)state;
    rig_init(&rig);
    rig_begin(&rig);
    return 0;
}

static void again(void)
{
    rig_init(&rig);
    rig_begin(&rig);
}

/* ---- The server's own errors ---- */

#define SAID(code, text) "SFATAL\0VFATAL\0C" code "\0M" text "\0\0"

static void says_error(struct sv fields)
{
    struct build build = build_begin(&rig.said, 'E');
    build_bytes(&build, fields);
    assert_int_equal(build_end(&build), HF_OK);
}

static void login_words__an_error_is_the_servers_own(void **state)
{
    (void)state;
    static const struct {
        struct sv fields;
        enum hf_rc rc;
        const char *sqlstate, *message, *detail, *hint;
    } cases[] = {
        {SV_INIT(SAID("57P03", "the database system is starting up")), HF_RC_AGAIN, "57P03",
         "the database system is starting up", "", ""},
        {SV_INIT(SAID("53300", "sorry, too many clients already")), HF_RC_AGAIN, "53300",
         "sorry, too many clients already", "", ""},
        {SV_INIT(SAID("57P01", "terminating")), HF_RC_AGAIN, "57P01", "terminating", "", ""},
        {SV_INIT(SAID("08006", "lost")), HF_RC_AGAIN, "08006", "lost", "", ""},
        {SV_INIT(SAID("08P01", "what?")), HF_RC_PEER, "08P01", "what?", "", ""},
        {SV_INIT(SAID("28P01", "no")), HF_RC_DENIED, "28P01", "no", "", ""},
        {SV_INIT(SAID("28000", "no")), HF_RC_DENIED, "28000", "no", "", ""},
        {SV_INIT("C3D000\0Mno \"x\"\0Dd\0Hh\0\0"), HF_RC_PEER, "3D000", "no \"x\"", "d", "h"},
        {SV_INIT("Mno code\0\0"), HF_RC_PEER, "08004", "no code", "", ""},
        {SV_INIT("C42\0Mshort code\0\0"), HF_RC_PEER, "08004", "short code", "", ""},
        {SV_INIT("\0"), HF_RC_PEER, "08004", "the server gave no reason", "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int is_late = 0; is_late < 2; is_late++) {
            again();
            if (is_late)
                rig_auth(&rig, BUILD_AUTH_OK, SV(""));
            struct sv before = buffer_view(&rig.said);
            says_error(cases[i].fields);
            struct sv whole = sv_drop(buffer_view(&rig.said), before.size);
            login_feed(&rig.login, buffer_view(&rig.said), &rig.out, &rig.event);
            rig_expect_failure(&rig, cases[i].rc, cases[i].sqlstate);
            assert_string_equal(rig.login.err.message, cases[i].message);
            assert_string_equal(rig.login.err.detail, cases[i].detail);
            assert_string_equal(rig.login.err.hint, cases[i].hint);
            assert_true(sv_eq(rig.event.message, whole));
            assert_int_equal(rig.event.consumed, buffer_held(&rig.said));
        }
}

static void login_words__of_a_long_error_the_beginning_is_told(void **state)
{
    (void)state;
    static char fields[LOGIN_MESSAGE_MAX];
    struct build build = build_begin(&rig.said, 'E');
    memset(fields, 'x', sizeof fields);
    build_bytes(&build, SV("C57P03\0Mnot yet\0D"));
    build_bytes(&build, sv_from(fields, sizeof fields));
    build_bytes(&build, SV("\0"));
    assert_int_equal(build_end(&build), HF_OK);
    struct sv said = buffer_view(&rig.said);
    login_feed(&rig.login, sv_take(said, LOGIN_MESSAGE_MAX - 1), &rig.out, &rig.event);
    assert_int_equal(rig.event.kind, LOGIN_MORE);
    login_feed(&rig.login, sv_take(said, LOGIN_MESSAGE_MAX), &rig.out, &rig.event);
    rig_expect_failure(&rig, HF_RC_AGAIN, "57P03");
    assert_string_equal(rig.login.err.message, "not yet");
    assert_int_equal(rig.event.message.size, 0);
}

static void login_words__a_long_text_is_cut(void **state)
{
    (void)state;
    static char fields[1000];
    memset(fields, 'x', sizeof fields);
    for (size_t i = 0; i < 3; i++) {
        fields[i * 300] = "MDH"[i];
        fields[i * 300 + 299] = '\0';
    }
    fields[900] = '\0';
    says_error(sv_from(fields, 901));
    assert_int_equal(rig_next(&rig), LOGIN_FAILED);
    assert_int_equal(strlen(rig.login.err.message), 255);
    assert_int_equal(strlen(rig.login.err.detail), 255);
    assert_int_equal(strlen(rig.login.err.hint), 255);
}

static void login_words__who_is_encrypted_already_has_nothing_else_to_try(void **state)
{
    (void)state;
    rig_init(&rig);
    rig.config.sslmode = LOGIN_SSL_ALLOW;
    rig.config.is_encrypted = true;
    rig_begin(&rig);
    says_error(SV(SAID("28000", "no")));
    assert_int_equal(rig_next(&rig), LOGIN_FAILED);
    assert_int_equal(login_again(&rig.login), LOGIN_AGAIN_NO);
}

static void login_words__what_the_mode_allows_is_tried_again(void **state)
{
    (void)state;
    static const struct {
        enum login_sslmode mode;
        bool is_local, is_encrypted;
        const char *code;
        enum login_again again;
    } cases[] = {
        {LOGIN_SSL_PREFER, false, true, "28000", LOGIN_AGAIN_PLAIN},
        {LOGIN_SSL_PREFER, false, true, "28P01", LOGIN_AGAIN_NO},
        {LOGIN_SSL_PREFER, false, true, "57P03", LOGIN_AGAIN_NO},
        {LOGIN_SSL_PREFER, false, false, "28000", LOGIN_AGAIN_NO},
        {LOGIN_SSL_ALLOW, false, false, "28000", LOGIN_AGAIN_TLS},
        {LOGIN_SSL_ALLOW, true, false, "28000", LOGIN_AGAIN_NO},
        {LOGIN_SSL_ALLOW, false, false, "3D000", LOGIN_AGAIN_NO},
        {LOGIN_SSL_DISABLE, false, false, "28000", LOGIN_AGAIN_NO},
        {LOGIN_SSL_REQUIRE, false, true, "28000", LOGIN_AGAIN_NO},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int is_late = 0; is_late < 2; is_late++) {
            const struct scram_binding none = {0};
            char fields[32];
            rig_init(&rig);
            rig.config.sslmode = cases[i].mode;
            rig.config.is_local = cases[i].is_local;
            rig_begin(&rig);
            if (cases[i].mode >= LOGIN_SSL_PREFER) {
                rig_says(&rig, cases[i].is_encrypted ? SV("S") : SV("N"));
                rig_next(&rig);
                assert_int_equal(login_again(&rig.login),
                                 cases[i].is_encrypted && cases[i].mode == LOGIN_SSL_PREFER
                                     ? LOGIN_AGAIN_PLAIN /* if the handshake fails */
                                     : LOGIN_AGAIN_NO);
            }
            if (cases[i].is_encrypted)
                assert_int_equal(login_encrypted(&rig.login, &none, &rig.out), HF_OK);
            if (is_late)
                rig_auth(&rig, BUILD_AUTH_OK, SV(""));
            int size = snprintf(fields, sizeof fields, "C%s%cMno%c", cases[i].code, 0, 0);
            says_error(sv_from(fields, (size_t)size + 1));
            assert_int_equal(rig_next(&rig), LOGIN_FAILED);
            assert_int_equal(login_again(&rig.login), is_late ? LOGIN_AGAIN_NO : cases[i].again);
        }
}

static void login_words__a_server_that_cannot_fork_says_so_in_old_words(void **state)
{
    (void)state;
    rig_says(&rig, SV("Ecould not fork new process for connection: Out of memory\n\0"));
    assert_int_equal(rig_next(&rig), LOGIN_FAILED);
    rig_expect_failure(&rig, HF_RC_AGAIN, "53000");
    assert_string_equal(rig.login.err.message,
                        "could not fork new process for connection: Out of memory");
}

/* ---- What is no login ---- */

static void login_words__words_out_of_place_are_refused(void **state)
{
    (void)state;
    static const struct {
        bool is_accepted;
        struct sv bytes;
    } cases[] = {
        {false, SV_INIT("HTTP/1.1 400 Bad Request\r\n")},
        {false, SV_INIT("Z\0\0\0\5I")},
        {false, SV_INIT("E\0\0\0\4")}, /* not even the words of protocol 2 */
        {false, SV_INIT("K\0\0\0\x0c\0\0\0\1abcd")},
        {false, SV_INIT("D\0\0\0\6\0\0")},
        {false, SV_INIT("R\0\0\0\x8\0\0\0\x0b")}, /* SASLContinue, and nobody has begun */
        {false, SV_INIT("R\0\0\0\x8\0\0\0\x0c")},
        {false, SV_INIT("R\0\0\0\5a")},
        {false, SV_INIT("S\0\0\0\6ab")},
        {false, SV_INIT("v\0\0\0\x0c\0\3\0\0\0\0\0\1")}, /* one option, and none there */
        {true, SV_INIT("R\0\0\0\x8\0\0\0\0")},
        {true, SV_INIT("R\0\0\0\x8\0\0\0\3")},
        {true, SV_INIT("v\0\0\0\x0c\0\3\0\0\0\0\0\0")},
        {true, SV_INIT("Z\0\0\0\5x")},
        {true, SV_INIT("Z\0\0\0\5T")}, /* nobody has begun a transaction */
        {true, SV_INIT("Z\0\0\0\5E")},
        {true, SV_INIT("T\0\0\0\6\0\0")},
        {true, SV_INIT("K\0\0\0\x0d\0\0\0\1abcde")}, /* protocol 3.0 has keys of four bytes */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        again();
        if (cases[i].is_accepted)
            rig_auth(&rig, BUILD_AUTH_OK, SV(""));
        rig_says(&rig, cases[i].bytes);
        assert_int_equal(rig_next(&rig), LOGIN_FAILED);
        rig_expect_failure(&rig, HF_RC_PEER, "08P01");
        assert_int_equal(rig.event.message.size, 0);
    }
}

static void login_words__notices_and_parameters_come_at_any_moment(void **state)
{
    (void)state;
    static const struct sv notice = SV_INIT("N\0\0\0\x0cMhello\0\0");
    rig.config.is_local = true;
    for (int i = 0; i < 3; i++) {
        rig_says(&rig, notice);
        assert_int_equal(build_parameter_status(&rig.said, SV("a"), SV("b")), HF_OK);
        if (i == 0)
            rig_auth(&rig, BUILD_AUTH_CLEARTEXT, SV(""));
        if (i == 1)
            rig_auth(&rig, BUILD_AUTH_OK, SV(""));
        login_feed(&rig.login, buffer_view(&rig.said), &rig.out, &rig.event);
        assert_int_equal(rig.event.kind, LOGIN_NOTICE);
        assert_true(sv_eq(rig.event.message, notice));
        rig_take(&rig);
        assert_int_equal(rig_next(&rig), LOGIN_PARAMETER);
        assert_int_equal(rig_next(&rig), LOGIN_MORE);
    }
    assert_int_equal(build_ready(&rig.said, 'I'), HF_OK);
    assert_int_equal(rig_next(&rig), LOGIN_READY);
    assert_int_equal(login_key(&rig.login).size, 0);
    assert_int_equal(rig.login.pid, 0);
}

/* ---- The version ---- */

static void login_words__less_may_be_spoken_than_was_asked_for(void **state)
{
    (void)state;
    static const struct build_parameter option = {SV_INIT("_pq_.mine"), SV_INIT("1")};
    static const struct {
        uint32_t asked;
        struct sv body;
        bool is_good;
        uint32_t version;
    } cases[] = {
        {STARTUP_VERSION(3, 2), SV_INIT("\0\3\0\0\0\0\0\0"), true, STARTUP_VERSION(3, 0)},
        {STARTUP_VERSION(3, 2), SV_INIT("\0\3\0\1\0\0\0\0"), true, STARTUP_VERSION(3, 1)},
        {STARTUP_VERSION(3, 2), SV_INIT("\0\3\0\0\0\0\0\1_pq_.mine\0"), true,
         STARTUP_VERSION(3, 0)},
        {STARTUP_VERSION(3, 0), SV_INIT("\0\3\0\0\0\0\0\1_pq_.mine\0"), true,
         STARTUP_VERSION(3, 0)},
        {STARTUP_VERSION(3, 2), SV_INIT("\0\3\0\2\0\0\0\0"), false, 0}, /* nothing is less */
        {STARTUP_VERSION(3, 2), SV_INIT("\0\3\0\3\0\0\0\0"), false, 0},
        {STARTUP_VERSION(3, 0), SV_INIT("\0\3\0\2\0\0\0\0"), false, 0},
        {STARTUP_VERSION(3, 2), SV_INIT("\0\2\0\0\0\0\0\0"), false, 0},
        {STARTUP_VERSION(3, 2), SV_INIT("\0\3\0\0\0\0\0\1_pq_.other\0"), false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig_init(&rig);
        rig.config.version = cases[i].asked;
        rig.config.parameters = &option;
        rig.config.parameter_count = 1;
        rig_begin(&rig);
        struct build build = build_begin(&rig.said, 'v');
        build_bytes(&build, cases[i].body);
        assert_int_equal(build_end(&build), HF_OK);
        assert_int_equal(rig_next(&rig), cases[i].is_good ? LOGIN_NEGOTIATED : LOGIN_FAILED);
        if (!cases[i].is_good) {
            rig_expect_failure(&rig, HF_RC_PEER, "08P01");
            continue;
        }
        assert_int_equal(rig.login.version, cases[i].version);
        build = build_begin(&rig.said, 'v');
        build_bytes(&build, cases[i].body);
        assert_int_equal(build_end(&build), HF_OK);
        assert_int_equal(rig_next(&rig), LOGIN_FAILED); /* once is enough */
    }
}

static void login_words__a_newer_version_has_longer_keys(void **state)
{
    (void)state;
    char key[STARTUP_CANCEL_KEY_MAX];
    memset(key, 'k', sizeof key);
    rig_init(&rig);
    rig.config.version = STARTUP_VERSION(3, 2);
    rig_begin(&rig);
    rig_auth(&rig, BUILD_AUTH_OK, SV(""));
    assert_int_equal(build_backend_key(&rig.said, 1, sv_from(key, sizeof key)), HF_OK);
    assert_int_equal(rig_next(&rig), LOGIN_KEY);
    assert_true(sv_eq(login_key(&rig.login), sv_from(key, sizeof key)));
    /* The last one counts, as in libpq. */
    assert_int_equal(build_backend_key(&rig.said, 2, SV("abcd")), HF_OK);
    assert_int_equal(rig_next(&rig), LOGIN_KEY);
    assert_true(sv_eq(login_key(&rig.login), SV("abcd")));
    assert_int_equal(rig.login.pid, 2);
}

/* ---- How much ---- */

static void login_words__a_server_may_not_talk_for_ever(void **state)
{
    (void)state;
    rig_auth(&rig, BUILD_AUTH_OK, SV(""));
    assert_int_equal(rig_next(&rig), LOGIN_MORE);
    for (int i = 1; i < LOGIN_MESSAGES_MAX; i++) {
        assert_int_equal(build_parameter_status(&rig.said, SV("a"), SV("b")), HF_OK);
        assert_int_equal(rig_next(&rig), LOGIN_PARAMETER);
    }
    assert_int_equal(build_parameter_status(&rig.said, SV("a"), SV("b")), HF_OK);
    assert_int_equal(rig_next(&rig), LOGIN_FAILED);
    rig_expect_failure(&rig, HF_RC_LIMIT, "54000");
}

/* The header of a message of this size. */
static void says_header(char type, uint32_t size)
{
    char header[FRAME_HEADER_SIZE] = {type};
    bytes_put_u32(header + 1, size - 1);
    rig_says(&rig, sv_from(header, sizeof header));
}

static void login_words__sizes_have_limits(void **state)
{
    (void)state;
    static const struct {
        char type;
        uint32_t size;
        enum login_kind kind;
    } cases[] = {
        {'S', LOGIN_MESSAGE_MAX, LOGIN_MORE},       {'S', LOGIN_MESSAGE_MAX + 1, LOGIN_FAILED},
        {'R', LOGIN_MESSAGE_MAX + 1, LOGIN_FAILED}, {'N', LOGIN_MESSAGE_MAX + 1, LOGIN_MORE},
        {'N', LOGIN_BYTES_MAX, LOGIN_MORE},         {'N', LOGIN_BYTES_MAX + 1, LOGIN_FAILED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        again();
        says_header(cases[i].type, cases[i].size);
        assert_int_equal(rig_next(&rig), cases[i].kind);
        if (cases[i].kind == LOGIN_FAILED)
            rig_expect_failure(&rig, HF_RC_LIMIT, "54000");
    }
}

static void login_words__a_long_notice_passes_unseen(void **state)
{
    (void)state;
    static char text[1000];
    uint32_t size = 3 * LOGIN_MESSAGE_MAX, left = size - FRAME_HEADER_SIZE;
    memset(text, 'x', sizeof text);
    for (int notices = 0; notices < 2; notices++) {
        says_header('N', size);
        for (uint32_t at = 0; at < left; at += sizeof text) {
            rig_says(&rig, sv_take(sv_from(text, sizeof text), left - at));
            if (at + sizeof text < left) {
                assert_int_equal(rig_next(&rig), LOGIN_MORE);
                assert_int_equal(buffer_held(&rig.said), 0);
            }
        }
    }
    rig_accepts(&rig);
    rig_expect_ready(&rig);
    assert_true(rig.login.bytes > 2 * size);
}

static void login_words__it_does_not_matter_how_the_bytes_arrive(void **state)
{
    (void)state;
    char said[256];
    enum login_kind kinds[8] = {LOGIN_MORE};
    size_t count = 0, seen = 0, from = 0;
    rig_says(&rig, SV("N\0\0\0\x0cMhello\0\0"));
    rig_accepts(&rig);
    rig_says(&rig, SV("Z and what follows is not ours"));
    struct sv all = buffer_view(&rig.said);
    memcpy(said, all.data, all.size);
    do
        kinds[count] = rig_next(&rig);
    while (kinds[count++] != LOGIN_READY);
    size_t used = all.size - buffer_held(&rig.said);
    assert_int_equal(buffer_held(&rig.said), 30);
    again();
    for (size_t end = 0; end <= used;) {
        login_feed(&rig.login, sv_from(said + from, end - from), &rig.out, &rig.event);
        from += rig.event.consumed;
        if (rig.event.kind == LOGIN_MORE) {
            end++;
            continue;
        }
        assert_int_equal(rig.event.kind, kinds[seen++]);
        if (rig.event.kind == LOGIN_READY)
            break;
    }
    assert_int_equal(seen, count);
    assert_int_equal(from, used);
}

/* ---- The end ---- */

static void login_words__the_end_is_the_end(void **state)
{
    (void)state;
    rig_accepts(&rig);
    rig_expect_ready(&rig);
    rig_says(&rig, SV("E and more"));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rig_next(&rig), LOGIN_READY);
        assert_int_equal(rig.event.consumed, 0);
        login_work(&rig.login, &rig.out, &rig.event);
        assert_int_equal(rig.event.kind, LOGIN_READY);
    }
    login_wipe(&rig.login);
    assert_int_equal(rig_next(&rig), LOGIN_FAILED);
    static const struct login wiped;
    assert_memory_equal(&rig.login, &wiped, sizeof wiped);
}

static void login_words__no_room_for_an_answer_is_a_failure(void **state)
{
    (void)state;
    static const struct {
        enum build_auth kind;
        struct sv data;
    } cases[] = {
        {BUILD_AUTH_CLEARTEXT, SV_INIT("")},
        {BUILD_AUTH_MD5, SV_INIT("salt")},
        {BUILD_AUTH_SASL, SV_INIT("SCRAM-SHA-256\0\0")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer small;
        char block[10];
        rig_init(&rig);
        rig.config.is_local = true;
        rig_begin(&rig);
        rig_auth(&rig, cases[i].kind, cases[i].data);
        buffer_init(&small, block, sizeof block);
        login_feed(&rig.login, buffer_view(&rig.said), &small, &rig.event);
        rig_expect_failure(&rig, HF_RC_LIMIT, "54000");
    }
    struct buffer none;
    char block[10];
    buffer_init(&none, block, sizeof block);
    assert_int_equal(login_begin(&rig.login, &rig.config, &none), HF_RC_LIMIT);
    rig.config.sslmode = LOGIN_SSL_REQUIRE;
    rig.config.is_local = false;
    buffer_init(&none, block, 7);
    assert_int_equal(login_begin(&rig.login, &rig.config, &none), HF_RC_LIMIT);
    rig_begin(&rig);
    buffer_clear(&rig.said);
    rig_says(&rig, SV("S"));
    assert_int_equal(rig_next(&rig), LOGIN_START_TLS);
    assert_int_equal(login_encrypted(&rig.login, &rig.config.binding, &none), HF_RC_LIMIT);
    assert_int_equal(rig_next(&rig), LOGIN_FAILED);
}

/* Rows are passed over, of any length; what the session reports is told. */
static void login_words__a_query_of_ours_is_run_before_anybody_is_told(void **state)
{
    (void)state;
    static char row[LOGIN_MESSAGE_MAX + 100];
    memset(row, 'x', sizeof row - 1);
    rig_init(&rig);
    rig.config.query = SV("SET TimeZone TO 'UTC'");
    rig_begin(&rig);
    rig_accepts(&rig);
    assert_int_equal(rig_next(&rig), LOGIN_PARAMETER);
    assert_int_equal(rig_next(&rig), LOGIN_KEY);
    assert_int_equal(rig_next(&rig), LOGIN_MORE);
    assert_int_equal(buffer_held(&rig.out), 5 + rig.config.query.size + 1);
    assert_int_equal(buffer_view(&rig.out).data[0], 'Q');
    rig_says(&rig, SV("T\0\0\0\6\0\0"));
    rig_says(&rig, SV("D\0\0\x40\x6d\0\1\0\0\x40\x63"));
    rig_says(&rig, sv_from(row, sizeof row - 1));
    rig_says(&rig, SV("C\0\0\0\10SET\0"));
    assert_int_equal(build_parameter_status(&rig.said, SV("TimeZone"), SV("CET")), HF_OK);
    assert_int_equal(rig_next(&rig), LOGIN_PARAMETER);
    assert_true(sv_eq(rig.event.value, SV("CET")));
    assert_int_equal(rig_next(&rig), LOGIN_MORE);
    assert_int_equal(build_ready(&rig.said, 'I'), HF_OK);
    assert_int_equal(rig_next(&rig), LOGIN_READY);
}

static void login_words__a_query_of_ours_that_fails_is_a_failure(void **state)
{
    (void)state;
    static const struct {
        struct sv said;
        enum hf_rc rc;
        const char *sqlstate, *message;
    } cases[] = {
        {SV_INIT("E\0\0\0\22C42P01\0Mnone\0\0"), HF_RC_PEER, "42P01", "connect_query failed: none"},
        {SV_INIT("G\0\0\0\7\0\0\0"), HF_RC_INVALID, "0A000", "connect_query cannot copy"},
        {SV_INIT("Z\0\0\0\5T"), HF_RC_PEER, "08P01",
         "the server ends the login inside a transaction"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig_init(&rig);
        rig.config.query = SV("SELECT 1");
        rig_begin(&rig);
        rig_accepts(&rig);
        while (rig_next(&rig) != LOGIN_MORE)
            continue;
        rig_says(&rig, cases[i].said);
        assert_int_equal(rig_next(&rig), LOGIN_FAILED);
        rig_expect_failure(&rig, cases[i].rc, cases[i].sqlstate);
        assert_string_equal(rig.login.err.message, cases[i].message);
        assert_true(rig.login.is_in_query);
    }
}

static void login_words__a_query_of_ours_needs_room(void **state)
{
    (void)state;
    char block[10];
    struct buffer small;
    rig_init(&rig);
    rig.config.query = SV("SELECT 1");
    rig_begin(&rig);
    rig_auth(&rig, BUILD_AUTH_OK, SV(""));
    assert_int_equal(build_ready(&rig.said, 'I'), HF_OK);
    buffer_init(&small, block, sizeof block);
    login_feed(&rig.login, buffer_view(&rig.said), &small, &rig.event);
    rig_expect_failure(&rig, HF_RC_LIMIT, "54000");
}

/* The proof is what does not fit, with keys at hand and after the work. */
static void login_words__no_room_for_the_proof_is_a_failure(void **state)
{
    (void)state;
    struct scram_keys keys = case_keys();
    struct scram_verifier verifier = case_verifier();
    char block[10];
    struct buffer small;
    for (int has_keys = 0; has_keys < 2; has_keys++) {
        rig_init(&rig);
        rig.config.keys = has_keys ? &keys : NULL;
        rig.config.verifier = has_keys ? &verifier : NULL;
        rig_begin(&rig);
        assert_int_equal(build_auth_sasl(&rig.said, false), HF_OK);
        assert_int_equal(rig_next(&rig), LOGIN_MORE);
        rig_auth(&rig, BUILD_AUTH_SASL_CONTINUE, SV(CASE_CHALLENGE));
        buffer_init(&small, block, sizeof block);
        login_feed(&rig.login, buffer_view(&rig.said), &small, &rig.event);
        while (rig.event.kind == LOGIN_WORK)
            login_work(&rig.login, &small, &rig.event);
        rig_expect_failure(&rig, HF_RC_LIMIT, "54000");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(login_words__an_error_is_the_servers_own, open_rig),
        cmocka_unit_test_setup(login_words__of_a_long_error_the_beginning_is_told, open_rig),
        cmocka_unit_test_setup(login_words__a_long_text_is_cut, open_rig),
        cmocka_unit_test_setup(login_words__a_query_of_ours_is_run_before_anybody_is_told,
                               open_rig),
        cmocka_unit_test_setup(login_words__a_query_of_ours_that_fails_is_a_failure, open_rig),
        cmocka_unit_test_setup(login_words__a_query_of_ours_needs_room, open_rig),
        cmocka_unit_test_setup(login_words__who_is_encrypted_already_has_nothing_else_to_try,
                               open_rig),
        cmocka_unit_test_setup(login_words__what_the_mode_allows_is_tried_again, open_rig),
        cmocka_unit_test_setup(login_words__a_server_that_cannot_fork_says_so_in_old_words,
                               open_rig),
        cmocka_unit_test_setup(login_words__words_out_of_place_are_refused, open_rig),
        cmocka_unit_test_setup(login_words__notices_and_parameters_come_at_any_moment, open_rig),
        cmocka_unit_test_setup(login_words__less_may_be_spoken_than_was_asked_for, open_rig),
        cmocka_unit_test_setup(login_words__a_newer_version_has_longer_keys, open_rig),
        cmocka_unit_test_setup(login_words__a_server_may_not_talk_for_ever, open_rig),
        cmocka_unit_test_setup(login_words__sizes_have_limits, open_rig),
        cmocka_unit_test_setup(login_words__a_long_notice_passes_unseen, open_rig),
        cmocka_unit_test_setup(login_words__it_does_not_matter_how_the_bytes_arrive, open_rig),
        cmocka_unit_test_setup(login_words__the_end_is_the_end, open_rig),
        cmocka_unit_test_setup(login_words__no_room_for_an_answer_is_a_failure, open_rig),
        cmocka_unit_test_setup(login_words__no_room_for_the_proof_is_a_failure, open_rig),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
